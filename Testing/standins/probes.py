"""Things to do with widgets, nodes and parameters whose outcome a real 3D Slicer was asked for.

`slicer_host.start()` must have been called.
"""

import enum
import pathlib
import re
from functools import cache, partial
from typing import Annotated

import ctk
import numpy as np
import qt
import slicer
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

UI = """<ui version="4.0"><class>Probe</class><widget class="qMRMLWidget" name="Probe"><layout class="QVBoxLayout">
<item><widget class="ctkCollapsibleButton" name="section"><property name="text"><string>Section</string></property>
 <property name="collapsed"><bool>true</bool></property><layout class="QFormLayout">
 <item row="0" column="0"><widget class="QLabel" name="label"><property name="text"><string>Words</string></property>
  </widget></item>
 <item row="0" column="1"><widget class="qMRMLNodeComboBox" name="node"><property name="nodeTypes"><stringlist>
  <string>vtkMRMLScalarVolumeNode</string></stringlist></property><property name="SlicerParameterName" stdset="0">
  <string>vol</string></property></widget></item></layout></widget></item>
<item><widget class="ctkPathLineEdit" name="path"><property name="filters"><set>ctkPathLineEdit::Dirs|
 ctkPathLineEdit::Readable</set></property></widget></item>
<item><widget class="QPushButton" name="apply"><property name="toolTip"><string>Go</string></property></widget></item>
</layout></widget><connections><connection><sender>Probe</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>node</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""


class Text:
    """An answer known by its text, or by a pattern of it."""

    def __init__(self, pattern):
        self.pattern = pattern

    def __eq__(self, other):
        return re.fullmatch(self.pattern, str(other), re.DOTALL) is not None


def answer(question):
    """What a question gives; of an error, its text."""
    try:
        return question()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def raised(text):
    return Text(re.escape(text))


class E(enum.Enum):
    A = "a"
    B = "b"


@parameterNodeWrapper
class P:
    vol: slicer.vtkMRMLScalarVolumeNode
    vols: list[slicer.vtkMRMLScalarVolumeNode]
    x: Annotated[float, WithinRange(0, 5)] = 2.0
    n: Annotated[int, WithinRange(1, 100)] = 3
    s: str = "hi"
    c: Annotated[str, Choice(["p", "q"])] = "p"
    e: E = E.A
    path: pathlib.Path
    flag: bool = True
    d: dict[str, int]
    o: slicer.vtkMRMLScalarVolumeNode | None


class ProbeLogic(ScriptedLoadableModuleLogic):
    pass


def parameters() -> P:
    return P(ProbeLogic().getParameterNode())


def default(name):
    return getattr(parameters(), name)


def connect(**widgets):
    return parameters().connectParametersToGui(widgets)


def connects(name, widget):
    return connect(**{name.split()[0]: widget()})


def clicks(*connections, before=lambda button, slot: None):
    """What slots of a button get in a click."""
    button, got = qt.QPushButton("x"), []
    slot = lambda *args: got.append(args)  # noqa: E731
    made = [connect(button, slot) for connect in connections]
    return (*made, button.click(), got)


def by_name(button, slot):
    return button.connect("clicked(bool)", slot)


def by_attribute(button, slot):
    return button.clicked.connect(slot)


def disconnected():
    button, got = qt.QPushButton(), []
    slot = got.append
    button.clicked.connect(slot)
    gone = button.clicked.disconnect(slot)
    button.click()
    assert got == []
    return gone


def volume():
    return slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16), name="CT")


def after(make, *steps):
    """The results of steps done one after the other with an object; a pair is a property to be set."""
    thing = make()
    return tuple(setattr(thing, *step) if isinstance(step, tuple) else step(thing) for step in steps)


def get(name):
    return lambda thing: getattr(thing, name)


def call(name, *args):
    return lambda thing: getattr(thing, name)(*args)


def process(step):
    return child_process()[step]


@cache
def child_process():
    """A child process that says something and ends with 3."""
    child, finished = qt.QProcess(), []
    environment = qt.QProcessEnvironment.systemEnvironment()
    answers = {"env insert": (environment.insert("A", "1"), child.setProcessEnvironment(environment))}
    answers["finished.connect"] = child.finished.connect(lambda *args: finished.append(tuple(map(repr, args))))
    child.finished.connect(partial(lambda *args: finished.append(tuple(map(repr, args))), "s"))
    answers["readyReadStandardOutput.connect"] = child.readyReadStandardOutput.connect(lambda: None)
    answers["setProcessChannelMode"] = child.setProcessChannelMode(qt.QProcess.MergedChannels)
    answers["start"] = child.start("sh", ["-c", "printf 'h\\303\\251llo 1\\nerr\\n'; exit 3"])
    answers["waitForFinished"] = child.waitForFinished()
    answers["finished args"] = finished
    out = child.readAllStandardOutput()
    answers["out type"] = (type(out).__name__, out.data())
    answers["exitCode"] = (child.exitCode(), child.exitStatus(), child.state())
    answers["state compare"] = child.state() == qt.QProcess.NotRunning
    return answers


def timer_fired():
    fired = []
    qt.QTimer.singleShot(0, lambda: fired.append(1))
    slicer.app.processEvents()
    return fired


def own_signal():
    class Sender(qt.QObject):
        sent = qt.Signal(int)

    sender, got = Sender(), []
    sender.sent.connect(got.append)
    sender.sent.emit(3)
    return got


def hierarchy(question):
    node = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return question(node)


def moved_item():
    def move(node):
        item, folder = node.GetItemByDataNode(volume()), node.CreateFolderItem(node.GetSceneItemID(), "f")
        return node.SetItemParent(item, folder), node.GetItemParent(item)

    return hierarchy(move)


def table(columns):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    slicer.util.updateTableFromArray(node, columns)
    return node


def structured():
    return table(np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]))


def window_level():
    volume_node = volume()
    display = volume_node.GetDisplayNode()
    return display.SetAutoWindowLevel(False), display.SetWindowLevel(2500, 500), display.GetWindow()


def from_widgets():
    p = parameters()
    names = {"n": qt.QSpinBox(), "flag": qt.QCheckBox(), "s": qt.QLineEdit(), "c": qt.QComboBox()}
    names["path"] = ctk.ctkPathLineEdit()
    p.connectParametersToGui(names)
    names["n"].value, names["flag"].checked, names["s"].text = 50, False, "yo"
    names["c"].currentIndex, names["path"].currentPath = 1, "/data"
    return p.n, p.flag, p.s, p.c, p.path


def connected(name, widget, *questions):
    connect(**{name: widget})
    return tuple(question(widget) for question in questions)


def items(widget):
    return [widget.itemText(index) for index in range(widget.count)]


def kept_after_close():
    p = parameters()
    p.vol = volume()
    return slicer.mrmlScene.Clear(0), p.vol


def a_label(widget):
    pixmap = qt.QPixmap(4, 4)
    return widget.setPixmap(pixmap), (widget.pixmap.width(), widget.pixmap.height())


def picture():
    path = f"{slicer.app.temporaryPath}/picture.png"
    image = qt.QImage(4, 4, qt.QImage.Format_RGB32)
    image.save(path)
    return not qt.QPixmap(path).isNull()
