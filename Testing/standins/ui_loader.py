"""`qt.QUiLoader`: reads a .ui file with Qt's own loader and puts stand-ins where it names widgets of CTK and MRML."""

import xml.etree.ElementTree as ElementTree

import shiboken6
from PySide6 import QtCore, QtUiTools, QtWidgets

from . import ctk_widgets, mrml_widgets
from .properties import unwrap, wrap
from .qt_module import setToolTip

WIDGETS = ctk_widgets.WIDGETS | mrml_widgets.WIDGETS
roots: list[
    QtWidgets.QWidget
] = []  # kept till `clear`: Python's garbage collector must not take one while it is painted


def clear() -> None:
    """Let all that was loaded go."""
    for root in roots:
        if shiboken6.isValid(root):
            root.deleteLater()
    roots.clear()


class _Loader(QtUiTools.QUiLoader):
    def __init__(self):
        super().__init__()
        self.made, self.unknown = [], []

    def createWidget(self, className, parent=None, name=""):
        if className not in WIDGETS:
            widget = super().createWidget(className, parent, name)
            if widget is None or not widget.inherits(className):
                self.unknown.append(className)
            return widget
        widget = WIDGETS[className](parent)
        widget.setObjectName(name)
        self.made.append(widget)  # Python's half of the widget would be lost otherwise
        return widget


class QUiLoader:
    """Stands for QUiLoader. RuntimeError on a widget, a property or a connection that does not exist."""

    standsFor = "QUiLoader"

    def load(self, file, parent=None):
        tree = ElementTree.fromstring(bytes(unwrap(file).readAll().data()))
        links = [{part.tag: part.text for part in link} for link in tree.iter("connection")]
        for connections in tree.findall("connections"):
            tree.remove(connections)
        expected = [(w.get("name"), w.get("class"), _properties(w)) for w in tree.iter("widget")]
        loader, buffer = _Loader(), QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        buffer.open(QtCore.QIODevice.ReadOnly)
        root = loader.load(buffer, unwrap(parent))
        if loader.unknown:
            raise RuntimeError(f"no stand-in for {', '.join(loader.unknown)}")
        root._made = loader.made
        roots.append(root)
        names = {
            root.objectName(): root,
            **{child.objectName(): child for child in root.findChildren(QtWidgets.QWidget)},
        }
        for name, className, properties in expected:
            for wrong in [p for p in properties if names[name].metaObject().indexOfProperty(p) < 0]:
                raise RuntimeError(f"{name} is a {className}, which has no property {wrong}")
        for widget in names.values():
            setToolTip(widget, widget.toolTip())
        for widget in loader.made:
            if getattr(widget, "_collapsed", False):
                widget._hideInside()
        for link in links:
            sender, receiver = wrap(names[link["sender"]]), wrap(names[link["receiver"]])
            sender.connect(link["signal"], receiver, link["slot"])
        return wrap(root)


def _properties(widget) -> list[str]:
    """Names of the declared properties of a widget's element; enumerations of stand-ins become numbers."""
    known = getattr(WIDGETS.get(widget.get("class")), "ENUMS", {})
    for item in widget.findall("property"):
        for kind in item.findall("set") + item.findall("enum"):
            names = [name.rsplit("::", 1)[-1] for name in kind.text.split("|")]
            if known and all(name in known for name in names):
                number = sum({known[name] for name in names})
                item.remove(kind)
                ElementTree.SubElement(item, "number").text = str(number)
    return [p.get("name") for p in widget.findall("property") if p.get("stdset") != "0"]
