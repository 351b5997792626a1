"""The stand-ins behave as 3D Slicer 5.12.3 did when it was asked, and offer nothing that it has not."""

import functools
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import slicer_host

pytest.importorskip("PySide6", reason="the stand-ins of the panel need PySide6")
slicer = pytest.importorskip("slicer", reason="the stand-ins need slicer-core")
slicer_host.start(gui=True)
ctk, qt, vtk = (importlib.import_module(name) for name in ("ctk", "qt", "vtk"))
application, ctk_widgets, mrml_widgets, probes, replays = (
    importlib.import_module(f"standins.{name}")
    for name in ("application", "ctk_widgets", "mrml_widgets", "probes", "replays")
)
volume = probes.volume

FACTS = Path(__file__).parents[2] / "shared" / "slicer-facts.json"
MODULE = """
import slicer
from slicer.ScriptedLoadableModule import *
class Tried(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Tried"
class TriedWidget(ScriptedLoadableModuleWidget):
    entered = cleaned = False
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/Tried.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
    def enter(self):
        self.entered = True
    def cleanup(self):
        self.cleaned = True
"""


@pytest.fixture(autouse=True)
def _fresh():
    slicer_host.start(gui=True)
    slicer_host.reset()
    yield
    slicer_host.checkSlots()


@pytest.mark.parametrize("question", replays.REPLAYS)
def test_the_stand_ins_answer_as_slicer_did(question):
    ask, expected = replays.REPLAYS[question]
    assert expected == probes.answer(ask)


@pytest.mark.skipif(not FACTS.exists(), reason="the answers of a real 3D Slicer do not lie beside this repository")
def test_every_answer_of_the_real_slicer_is_replayed_word_for_word_or_explained():
    facts = {}
    for part in json.loads(FACTS.read_text(encoding="utf-8")).values():
        facts |= part if isinstance(part, dict) else {}
    assert facts.keys() == replays.REPLAYS.keys() | replays.ELSEWHERE.keys()
    assert not replays.REPLAYS.keys() & replays.ELSEWHERE.keys()
    for question, (_, expected) in replays.REPLAYS.items():
        assert (
            expected == facts[question] if isinstance(expected, probes.Text) else facts[question] == repr(expected)
        ), question


# nothing that the real ones have not


@pytest.mark.parametrize("widget", [*ctk_widgets.WIDGETS.values(), *mrml_widgets.WIDGETS.values()])
def test_each_widget_names_the_class_it_stands_for(widget):
    standin = getattr(ctk if widget.__name__.startswith("ctk") else slicer, widget.__name__)
    assert standin.standsFor == widget.__name__ == standin().className()
    assert issubclass(standin, qt.QWidget)


@pytest.mark.parametrize("strict", application.Strict.__subclasses__() + application.Emitter.__subclasses__())
def test_each_object_of_the_application_names_the_class_it_stands_for(strict):
    assert strict is application.Emitter or strict.standsFor.startswith(("q", "slicer."))


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (ctk.ctkSliderWidget, "setRange"),  # C++ functions that PythonQt does not see
        (ctk.ctkCollapsibleButton, "setCollapsed"),
        (ctk.ctkPathLineEdit, "setFilters"),
        (ctk.ctkPathLineEdit, "path"),
        (ctk.ctkDoubleSpinBox, "setRange"),
        (slicer.qMRMLNodeComboBox, "nodes"),
        (slicer.qMRMLNodeComboBox, "count"),
        (slicer.qMRMLNodeComboBox, "checkedNodes"),
        (slicer.qMRMLCheckableNodeComboBox, "setCheckedNodes"),
        (qt.QPushButton, "plainText"),
        (qt.QLabel, "clicked"),
        (qt.QTableWidgetItem, "value"),
        (lambda: qt, "QNonsense"),
        (lambda: qt, "QtWidgets"),
        (lambda: qt.Qt, "Nonsense"),
        (lambda: ctk, "ctkNonsense"),
        (lambda: slicer.app, "nonsense"),
        (lambda: slicer.app.layoutManager(), "nonsense"),
        (lambda: slicer.modules, "nonsense"),
        (lambda: slicer.modules.volumes, "nonsense"),
        (lambda: slicer, "tempDirectory"),  # slicer-core shows slicer.util's functions there too
    ],
)
def test_what_the_real_one_has_not_is_an_error(thing, name):
    thing = thing()
    with pytest.raises(AttributeError):
        getattr(thing, name)
    if isinstance(thing, (qt.QObject, qt.QTableWidgetItem, application.Strict)) and thing is not slicer.modules:
        with pytest.raises(AttributeError):
            setattr(thing, name, 1)


@pytest.mark.parametrize(
    ("widget", "name", "value"),
    [
        (qt.QLabel, "text", 5),
        (qt.QLabel, "text", None),
        (qt.QLabel, "text", Path("/data")),
        (qt.QCheckBox, "checked", 1),
        (qt.QSpinBox, "value", 2.5),
        (qt.QSpinBox, "value", "2"),
        (qt.QDoubleSpinBox, "value", "2"),
        (qt.QLabel, "alignment", "left"),
        (qt.QLabel, "pixmap", "picture.png"),
        (qt.QLabel, "sizeHint", qt.QSize(1, 1)),  # cannot be written
        (qt.QPushButton, "setText", print),
        (qt.QPushButton, "clicked", print),
        (ctk.ctkPathLineEdit, "currentPath", Path("/data")),
        (ctk.ctkSliderWidget, "value", None),
        (slicer.qMRMLNodeComboBox, "nodeTypes", "vtkMRMLScalarVolumeNode"),
        (slicer.qMRMLNodeComboBox, "currentNodeID", None),
    ],
)
def test_a_value_that_does_not_fit_is_an_error(widget, name, value):
    with pytest.raises(AttributeError):
        setattr(widget(), name, value)


@pytest.mark.parametrize(
    ("widget", "name", "arguments"),
    [
        (qt.QPushButton, "setText", (5,)),
        (qt.QPushButton, "setText", ()),
        (qt.QLabel, "setAlignment", ("left",)),
        (ctk.ctkPathLineEdit, "setCurrentPath", (5,)),
        (slicer.qMRMLNodeComboBox, "setCurrentNode", ("vtkMRMLScalarVolumeNode1",)),
        (slicer.qMRMLCheckableNodeComboBox, "setCheckState", (None, 2)),
    ],
)
def test_arguments_that_do_not_fit_are_an_error(widget, name, arguments):
    with pytest.raises(ValueError, match="with wrong arguments"):
        getattr(widget(), name)(*arguments)


def test_a_path_is_no_text_for_qt():
    with pytest.raises(TypeError, match="use str"):
        qt.QLineEdit().setText(Path("/data"))


def test_a_widget_that_is_gone_says_so():
    parent = qt.QWidget()
    child = qt.QLabel("text", parent)
    del parent
    with pytest.raises(ValueError, match="destroyed QLabel"):
        _ = child.text


# signals


def test_a_slot_gets_as_many_arguments_as_it_takes():
    button, got = qt.QPushButton(), []

    class Receiver:
        def none(self):
            got.append("none")

        def one(self, checked=True):
            got.append(checked)

    receiver = Receiver()
    button.clicked.connect(receiver.none)
    button.clicked.connect(receiver.one)
    button.connect("clicked()", receiver.one)
    button.clicked.connect(functools.partial(lambda *args: got.append(args), "first"))
    button.click()
    assert got == ["none", False, True, ("first", False)]


@pytest.mark.parametrize(
    ("widget", "name"),
    [
        (qt.QPushButton, "clicked(int)"),
        (qt.QPushButton, "pushed()"),
        (qt.QLabel, "setText(QString)"),
        (slicer.qMRMLNodeComboBox, "currentNodeChanged(int)"),
        (slicer.qMRMLNodeComboBox, "currentNode()"),
        (lambda: slicer.app, "started()"),
    ],
)
def test_a_signal_that_does_not_exist_cannot_be_connected(widget, name):
    with pytest.raises(AttributeError, match="has no signal"):
        widget().connect(name, print)


def test_an_error_in_a_slot_is_kept_and_goes_no_further(capsys):
    button = qt.QPushButton()
    button.clicked.connect(lambda: 1 / 0)
    button.click()
    assert "ZeroDivisionError" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        slicer_host.checkSlots()
    slicer_host.slotErrors.clear()


def test_signals_can_be_blocked_and_connected_to_slots_of_widgets():
    slider, label = ctk.ctkSliderWidget(), qt.QLabel()
    box, got = qt.QCheckBox(), []
    slider.connect("valueChanged(double)", got.append)
    slider.blockSignals(True)
    slider.value = 3
    slider.blockSignals(False)
    slider.value = 4
    assert got == [4.0]
    box.connect("toggled(bool)", label, "setEnabled(bool)")
    box.checked = True
    box.checked = False
    assert not label.enabled


# the host


def test_dialogs_are_recorded_and_answered():
    assert slicer.util.confirmYesNoDisplay("Really?", windowTitle="Question")
    slicer_host.answers.update(confirmYesNoDisplay=False, getExistingDirectory="/data", QMessageBox=qt.QMessageBox.Ok)
    assert not slicer.util.confirmYesNoDisplay("Really?")
    assert slicer.util.errorDisplay("Wrong", detailedText="why") is None
    assert qt.QFileDialog.getExistingDirectory(None, "Folder") == "/data"
    assert qt.QFileDialog.getOpenFileName(None, "File") == ""
    assert qt.QDesktopServices.openUrl(qt.QUrl("file:///data"))
    box = qt.QMessageBox()
    box.text = "Sure?"
    assert box.exec_() == qt.QMessageBox.Ok
    names = ["confirmYesNoDisplay"] * 2 + ["errorDisplay", "getExistingDirectory", "getOpenFileName", "openUrl"]
    assert [name for name, _ in slicer_host.shown] == [*names, "QMessageBox"]
    assert slicer_host.shown[2] == ("errorDisplay", "Wrong")
    with pytest.raises(TypeError):
        slicer.util.errorDisplay()


@pytest.mark.parametrize(("testing", "shown"), [(True, []), (False, [("errorDisplay", "It failed.\n\nboom")])])
def test_an_error_is_displayed_when_slicer_does_not_test(testing, shown):
    slicer_host.setTesting(testing)
    with pytest.raises(ValueError, match="boom"), slicer.util.tryWithErrorDisplay("It failed.", waitCursor=True):
        raise ValueError("boom")
    assert slicer_host.shown == shown


def test_without_a_gui_there_is_no_qt_and_no_layout():
    slicer_host.start(gui=False)
    for name in ("qt", "ctk"):
        with pytest.raises(ImportError):
            __import__(name)
    assert slicer.app.layoutManager() is None
    assert slicer.util.mainWindow() is None
    assert slicer.util.confirmOkCancelDisplay("Go on?")
    assert Path(slicer.util.tempDirectory()).is_dir()
    scene = slicer.mrmlScene
    slicer_host.start(gui=True)
    assert (sys.modules["qt"], slicer.mrmlScene) == (qt, scene)
    assert slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetOrientation() == "Axial"
    assert slicer.util.mainWindow().className() == "qSlicerMainWindow"


def test_nothing_is_ever_installed():
    slicer.packaging.pip_ensure(["no-such-package-at-all"], requester="Test")
    assert [function for function, _ in slicer_host.installs] == ["pip_ensure"]  # as in Slicer when it tests
    slicer.packaging.pip_ensure(["no-such-package-at-all"], skip_in_testing=False)
    slicer_host.answers["confirmOkCancelDisplay"] = False
    with pytest.raises(RuntimeError, match="declined"):
        slicer.packaging.pip_ensure(["no-such-package-at-all"], skip_in_testing=False)
    assert slicer_host.installs[2] == ("pip_install", ["no-such-package-at-all"])
    slicer_host.setPyTorchUtils(True)
    import PyTorchUtils

    assert PyTorchUtils.PyTorchUtilsLogic().installTorch(torchVersionRequirement=">=2.4") is None
    slicer_host.setPackaging(False)
    with pytest.raises(ImportError):
        __import__("slicer.packaging")
    slicer_host.reset()
    with pytest.raises(ImportError):
        __import__("PyTorchUtils")
    assert not slicer.packaging.pip_check("no-such-package-at-all")
    assert slicer.packaging.pip_check("numpy>1")


def test_a_reset_leaves_nothing_behind():
    slicer.app.settings().setValue("key", 1)
    slicer.app._logic.GetSliceLogics().GetItemAsObject(0).GetSliceNode().SetOrientation("Coronal")
    volume()
    slicer_host.reset()
    assert not slicer.app.settings().contains("key")
    assert slicer.util.getNodesByClass("vtkMRMLVolumeNode") == []
    assert [node.GetOrientation() for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")] == [
        "Axial",
        "Coronal",
        "Sagittal",
    ]


def test_a_module_is_loaded_opened_pictured_and_reloaded(tmp_path, monkeypatch):
    (tmp_path / "Resources" / "UI").mkdir(parents=True)
    (tmp_path / "Resources" / "UI" / "Tried.ui").write_text(probes.UI, encoding="utf-8")
    (tmp_path / "Tried.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.setattr(slicer_host, "MODULE_FOLDER", tmp_path)
    panel = slicer_host.open_panel("Tried")
    assert slicer.modules.tried.title == "Tried"
    assert slicer.util.modulePath("Tried") == str(tmp_path / "Tried.py")
    assert panel.entered
    assert panel.parent.isEntered
    assert panel.ui.node.mrmlScene() is slicer.mrmlScene
    panel.ui.section.collapsed = False
    dark = []
    for text in ("", "Words that are drawn"):
        panel.ui.label.text = text
        slicer_host.screenshot(panel, tmp_path / "panel.png")
        image = qt.QImage(str(tmp_path / "panel.png"))
        pixels = [image.pixelColor(x, y).lightness() for x in range(0, image.width(), 2) for y in range(image.height())]
        dark.append(sum(np.array(pixels) < 100))
    assert dark[1] > dark[0] + 50
    slicer.util.reloadScriptedModule("Tried")
    assert panel.cleaned
    assert slicer.modules.TriedWidget is not panel
    assert slicer.modules.TriedWidget.entered
    delattr(slicer.modules, "tried")


def test_the_subject_hierarchy_and_the_slices_are_there_as_when_slicer_has_started():
    scene = slicer.mrmlScene
    names = [node.GetLayoutName() for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")]
    assert names == ["Red", "Green", "Yellow"]
    assert scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode") == 3
    assert scene.GetNumberOfNodesByClass("vtkMRMLSubjectHierarchyNode") == 1
    assert probes.ProbeLogic().getParameterNode() is probes.ProbeLogic().getParameterNode()
    slicer.util.setSliceViewerLayers(background=volume(), fit=True)
    assert {node.GetBackgroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")} == {
        "vtkMRMLScalarVolumeNode1"
    }
