"""Questions that were put to a real 3D Slicer 5.12.3 with what it answered (`REPLAYS`), and those that are not for
stand-ins, with the reason (`ELSEWHERE`). `slicer_host.start()` must have been called.
"""

import pathlib
import re
from functools import partial

import ctk
import numpy as np
import qt
import slicer

from .probes import (
    E,
    P,
    Text,
    a_label,
    after,
    by_attribute,
    by_name,
    call,
    clicks,
    connect,
    connected,
    connects,
    default,
    disconnected,
    from_widgets,
    get,
    hierarchy,
    items,
    kept_after_close,
    moved_item,
    own_signal,
    parameters,
    picture,
    process,
    raised,
    structured,
    table,
    timer_fired,
    volume,
    window_level,
)

button = partial(qt.QPushButton, "x")
volumes = ("nodeTypes", ["vtkMRMLScalarVolumeNode"])
INTEGER = Text(r"\d+")
SOME_NODE = Text("<.*vtkMRMLTableNode.*|vtkMRMLTableNode.*")


def no_connector(kind, widget):
    """The text is cut in the facts."""
    return Text(f"RuntimeError: Unable to create GUI connector from datatype '{kind}' to widget type '{widget}'?.*")


VOLUMES = r"list\[.*vtkMRMLScalarVolumeNode\]"
REPLAYS = {
    "prop text": (lambda: button().text, "x"),
    "call text()": (lambda: button().text(), raised("TypeError: 'str' object is not callable")),
    "setattr enabled False then isEnabled()": (
        lambda: after(button, ("enabled", False), get("enabled"), call("isEnabled")),
        (None, False, False),
    ),
    "setEnabled": (lambda: after(button, call("setEnabled", True), get("enabled")), (None, True)),
    "setText": (lambda: after(button, call("setText", "y"), get("text")), (None, "y")),
    "property('text')": (lambda: qt.QPushButton("y").property("text"), "y"),
    "setProperty": (lambda: after(button, call("setProperty", "text", "z"), get("text")), (True, "z")),
    "clicked.connect": (lambda: clicks(by_attribute)[0], True),
    "click": (lambda: clicks(by_attribute)[1:], (None, [(False,)])),
    "connect('clicked(bool)')": (lambda: clicks(by_attribute, by_name)[1:], (True, None, [(False,), (False,)])),
    "clicked.disconnect(f)": (disconnected, True),
    "set unknown attribute": (
        lambda: setattr(button(), "nonsense", 1),
        raised(
            "AttributeError: 'nonsense' does not exist on QPushButton and creating new attributes on C++ objects is "
            "not allowed"
        ),
    ),
    "get unknown attribute": (
        lambda: button().nonsense2,
        raised("AttributeError: QPushButton has no attribute named 'nonsense2'"),
    ),
    "toolTip prop": (lambda: after(button, ("toolTip", "why"), get("toolTip")), (None, "<p>why</p>")),
    "checkbox checked": (
        lambda: after(qt.QCheckBox, ("checked", True), get("checked"), call("isChecked")),
        (None, True, True),
    ),
    "combobox": (
        lambda: after(
            qt.QComboBox,
            call("addItem", "a", "d"),
            call("addItem", "b", "e"),
            *map(get, ("count", "currentText", "currentIndex")),
            call("itemData", 0),
            get("currentData"),
        ),
        (None, None, 2, "a", 0, "d", "d"),
    ),
    "spin": (lambda: after(qt.QSpinBox, ("maximum", 5), ("value", 9), get("value")), (None, None, 5)),
    "progress": (
        lambda: after(qt.QProgressBar, ("maximum", 10), ("value", 4), get("value"), get("maximum")),
        (None, None, 4, 10),
    ),
    "plain text": (
        lambda: after(qt.QPlainTextEdit, call("setPlainText", "hi"), call("toPlainText"), get("plainText")),
        (None, "hi", "hi"),
    ),
    "ctkSliderWidget": (
        lambda: after(
            ctk.ctkSliderWidget, ("maximum", 5), ("value", 9), *map(get, ("value", "decimals", "singleStep"))
        ),
        (None, None, 5.0, 2, 1.0),
    ),
    "ctkCollapsibleButton": (
        lambda: after(ctk.ctkCollapsibleButton, get("collapsed"), ("collapsed", True), get("collapsed"), get("text")),
        (False, None, True, ""),
    ),
    "ctkPathLineEdit": (
        lambda: repr(after(ctk.ctkPathLineEdit, ("currentPath", "/data"), get("currentPath"), get("filters"))),
        Text(r"\(None, '/data', .*\)"),
    ),
    "qMRMLNodeComboBox": (
        lambda: after(
            slicer.qMRMLNodeComboBox,
            call("setMRMLScene", slicer.mrmlScene),
            volumes,
            get("nodeTypes"),
            call("currentNode"),
            get("currentNodeID"),
            get("noneEnabled"),
        ),
        (None, None, ("vtkMRMLScalarVolumeNode",), None, "", False),
    ),
    "qMRMLCheckableNodeComboBox": (
        lambda: after(
            slicer.qMRMLCheckableNodeComboBox,
            call("setMRMLScene", slicer.mrmlScene),
            volumes,
            call("checkedNodes"),
        ),
        (None, None, ()),
    ),
    "isinstance list from checkedNodes": (lambda: type(slicer.qMRMLCheckableNodeComboBox().checkedNodes()), tuple),
    "SH item auto": (lambda: hierarchy(lambda node: node.GetItemByDataNode(volume())), INTEGER),
    "SH folder": (lambda: hierarchy(lambda node: node.CreateFolderItem(node.GetSceneItemID(), "f")), INTEGER),
    "SH table auto": (lambda: hierarchy(lambda node: node.GetItemByDataNode(structured())), INTEGER),
    "subject hierarchy move": (lambda: str(moved_item()), Text(r"\(None, \d+\)")),
    "display node auto": (lambda: volume().GetDisplayNode() is not None, True),
    "QTimer.singleShot": (lambda: qt.QTimer.singleShot(0, lambda: None), None),
    "timer fired": (timer_fired, [1]),
    "timer interval prop": (
        lambda: after(qt.QTimer, ("interval", 50), get("interval"), call("stop")),
        (None, 50, None),
    ),
    "qt.Signal": (own_signal, [3]),
    "settings": (lambda: slicer.util.settingsValue("SkullGAN/nothing", False, slicer.util.toBool), False),
    "slicer.packaging": (
        lambda: [name for name in dir(slicer.packaging) if "pip" in name or "requirements" in name],
        ["_to_requirements", "load_requirements", "pip_check", "pip_ensure", "pip_install", "pip_uninstall"],
    ),
    "plots layout": (lambda: slicer.modules.plots.logic().GetLayoutWithPlot(3), 37),
    "QFileDialog": (lambda: str(qt.QFileDialog), Text(re.escape("<class 'PythonQt.QtGui.QFileDialog'>"))),
    "QUrl.fromLocalFile": (lambda: qt.QUrl.fromLocalFile("/data/x").toString(), "file:///data/x"),
    "QPixmap from file": (picture, True),
    "QTableWidget": (
        lambda: after(
            qt.QTableWidget,
            ("rowCount", 2),
            ("columnCount", 1),
            get("rowCount"),
            call("setItem", 0, 0, qt.QTableWidgetItem("a")),
            lambda widget: widget.item(0, 0).text(),
        ),
        (None, None, 2, None, "a"),
    ),
    "label pixmap": (lambda: str(a_label(qt.QLabel())), Text(r"\(None, (\(4, 4\)|QPixmap \(Pixmap 4, 4\))\)")),
    "Qt.UserRole": (lambda: qt.Qt.UserRole, 256),
    "enum AlignCenter": (lambda: qt.Qt.AlignCenter, 132),
    "setSliceViewerLayers": (lambda: slicer.util.setSliceViewerLayers(background=volume(), fit=True), None),
    "class made": (lambda: str(P), Text(r"<class '.*\.P'>")),
    "default vols": (lambda: str(parameters().vols), Text(re.escape("ObservedList([])"))),
    "default path": (lambda: parameters().path, pathlib.PosixPath()),
    "default d": (lambda: str(parameters().d), Text(re.escape("ObservedDict({})"))),
    "x=9": (
        lambda: setattr(parameters(), "x", 9),
        raised("ValueError: Value must be within range [0, 5], is 9"),
    ),
    "c=z": (
        lambda: setattr(parameters(), "c", "z"),
        raised("ValueError: Value is z, but must be in one of the following: ['p', 'q']"),
    ),
    "unknown attr": (lambda: setattr(parameters(), "misspelt", 1), None),
    "combo c filled": (lambda: connected("c", qt.QComboBox(), items)[0], ["p", "q"]),
    "combo e filled": (lambda: connected("e", qt.QComboBox(), items)[0], ["A", "B"]),
    "spin range set": (lambda: connected("n", qt.QSpinBox(), get("minimum"), get("maximum")), (1, 100)),
    "slider range set": (lambda: connected("x", ctk.ctkSliderWidget(), get("minimum"), get("maximum")), (0.0, 5.0)),
    "gui->param": (from_widgets, (50, False, "yo", "q", pathlib.PosixPath("/data"))),
    "connect vols qMRMLCheckableNodeComboBox": (
        lambda: connect(vols=slicer.qMRMLCheckableNodeComboBox()),
        no_connector(VOLUMES, "<class 'PythonQt.qMRMLWidgets.qMRMLCheckableNodeComboBox'>"),
    ),
    "connect flag QRadioButton": (
        lambda: connect(flag=qt.QRadioButton()),
        no_connector("<class 'bool'>", "<class 'PythonQt.QtGui.QRadioButton'>"),
    ),
    "connect flag ctkCollapsibleButton": (
        lambda: connect(flag=ctk.ctkCollapsibleButton()),
        no_connector("<class 'bool'>", "<class 'PythonQt.CTKWidgets.ctkCollapsibleButton'>"),
    ),
    "connect s QPlainTextEdit": (
        lambda: connect(s=qt.QPlainTextEdit()),
        no_connector("<class 'str'>", "<class 'PythonQt.QtGui.QPlainTextEdit'>"),
    ),
    "scene clear keeps": (kept_after_close, (None, None)),
    "logic pn": (lambda: parameters().parameterNode.GetName(), "Probe"),
    "updateTable structured": (structured, SOME_NODE),
    "cols": (lambda: [structured().GetTable().GetColumnName(i) for i in range(2)], ["a", "b"]),
    "updateTable 2D names": (lambda: table(np.zeros((2, 2))), SOME_NODE),
    "slicer.util.plot": (
        lambda: slicer.util.plot(np.zeros((3, 2)), 0, show=False).GetClassName(),
        "vtkMRMLPlotChartNode",
    ),
    "seg import": (lambda: slicer.modules.segmentations.logic(), Text("[<]?.*vtkSlicerSegmentationsModuleLogic.*")),
    "wl": (window_level, (None, None, 2500.0)),
    "save mrb": (lambda: slicer.util.saveScene(f"{slicer.app.temporaryPath}/scene.mrb", {}), True),
    "PyTorchUtils": (
        lambda: __import__("PyTorchUtils"),
        raised("ModuleNotFoundError: No module named 'PyTorchUtils'"),
    ),
}
DEFAULTS = {"vol": None, "x": 2.0, "n": 3, "s": "hi", "c": "p", "e": E.A, "flag": True, "o": None}
CONNECT = {
    "vol": slicer.qMRMLNodeComboBox,
    "x": ctk.ctkSliderWidget,
    "x QDoubleSpinBox": qt.QDoubleSpinBox,
    "x ctkDoubleSpinBox": ctk.ctkDoubleSpinBox,
    "n": qt.QSpinBox,
    "n QSlider": qt.QSlider,
    "s": qt.QLineEdit,
    "s QTextEdit": qt.QTextEdit,
    "c": qt.QComboBox,
    "e": qt.QComboBox,
    "path": ctk.ctkPathLineEdit,
    "flag": qt.QCheckBox,
    "flag QPushButton": qt.QPushButton,
}
PROCESS = {
    "env insert": (None, None),
    "finished.connect": True,
    "readyReadStandardOutput.connect": True,
    "setProcessChannelMode": None,
    "start": None,
    "waitForFinished": True,
    "finished args": [("3", "0"), ("'s'", "3", "0")],
    "out type": ("QByteArray", b"h\xc3\xa9llo 1\nerr\n"),
    "exitCode": (3, 0, 0),
    "state compare": True,
}
REPLAYS |= {f"default {name}": (partial(default, name), value) for name, value in DEFAULTS.items()}
REPLAYS |= {f"connect {name}": (partial(connects, name, widget), INTEGER) for name, widget in CONNECT.items()}
REPLAYS |= {step: (partial(process, step), value) for step, value in PROCESS.items()}
NOT_IN_THE_PANEL = "the panel has no such widget"
OWN_MRML = "slicer-core's own, not a stand-in"
ELSEWHERE = {
    "qMRMLSubjectHierarchyTreeView": NOT_IN_THE_PANEL,
    "qMRMLPlotView": NOT_IN_THE_PANEL,
    "qMRMLTableView": NOT_IN_THE_PANEL,
    "connect vols qMRMLSubjectHierarchyComboBox": NOT_IN_THE_PANEL,
    "connect path ctkDirectoryButton": NOT_IN_THE_PANEL,
    "connect flag ctkCheckablePushButton": NOT_IN_THE_PANEL,
    "connect x qMRMLSliderWidget": NOT_IN_THE_PANEL,
    "connect x qMRMLSpinBox": NOT_IN_THE_PANEL,
    "connect c ctkComboBox": NOT_IN_THE_PANEL,
    "SetSliceToRASByNTP": OWN_MRML,
    "JumpSlice": OWN_MRML,
    "markups": OWN_MRML,
    "export nrrd": "file formats are Slicer's readers and writers, which the module does not call",
    "volumerendering preset": "a file in Slicer's share folder",
    "VolumeProperty presets file": "a file in Slicer's share folder",
    "sys.executable": "a path of that Slicer",
    "which PythonSlicer": "a path of that Slicer",
    "slicer.app.slicerHome": "a path of that Slicer",
    "dialog testing": "whether that Slicer ran its tests; the host can do both",
    "tryWithErrorDisplay": "the text of a Python function",
    "QDesktopServices": "the text of a function; that it is recorded is tested below",
    "torch in process": "what was installed in that Slicer",
    "console process": "slicer.util's own, which the module does not call",
}
