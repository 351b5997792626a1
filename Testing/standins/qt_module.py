"""The module `qt`, and what Slicer's application or the test does differently from Qt alone."""

import inspect
import types

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from .properties import HOOKS, Signal, standIn
from .records import answers, shown
from .values import PROPERTY_HOOKS


def setToolTip(widget, text: str) -> None:
    """Slicer's application turns plain tool tips into rich ones so that they wrap."""
    rich = text and not QtGui.Qt.mightBeRichText(text)
    widget.setToolTip(QtGui.Qt.convertFromPlainText(text, QtGui.Qt.WhiteSpaceNormal) if rich else text)


def _setVisible(widget, visible: bool) -> None:
    """A collapsed section keeps what becomes of the widgets in it for when it is opened."""
    keep = getattr(widget.parentWidget(), "_keepVisibility", None) if isinstance(widget, QtWidgets.QWidget) else None
    widget.setVisible(visible) if keep is None or not keep(widget, visible) else None


def dialog(name: str, cancelled=0):
    """A function that records a dialog instead of waiting for a person, and returns what `answers` says."""

    def ask(*args):
        shown.append((name, args))
        return answers.get(name, cancelled)

    return ask


def _run(box, *args):
    shown.append((type(box).__name__, getattr(box, "text", box.windowTitle)()))
    return answers.get(type(box).__name__, 0)


PROPERTY_HOOKS |= {"toolTip": setToolTip, "visible": _setVisible}
HOOKS |= {
    "setToolTip": setToolTip,
    "setVisible": _setVisible,
    "setHidden": lambda widget, hidden: _setVisible(widget, not hidden),
    "show": lambda widget: _setVisible(widget, True),
    "hide": lambda widget: _setVisible(widget, False),
    "exec_": _run,
    "exec": _run,
    **{("QFileDialog", n): dialog(n, "") for n in ("getExistingDirectory", "getOpenFileName", "getSaveFileName")},
    ("QFileDialog", "getOpenFileNames"): dialog("getOpenFileNames", ()),
    **{("QMessageBox", n): dialog(n) for n in ("about", "critical", "information", "question", "warning")},
    ("QDesktopServices", "openUrl"): dialog("openUrl", True),
}


class QtModule(types.ModuleType):
    """The module `qt`: every class of Qt's that PySide6 has, as a stand-in."""

    Signal = Signal

    def __getattr__(self, name):
        for library in (QtWidgets, QtGui, QtCore, QtUiTools):
            found = getattr(library, name, None)
            if inspect.isclass(found) and name.startswith("Q"):
                return standIn(found)
        raise AttributeError(f"module 'qt' has no attribute '{name}'")
