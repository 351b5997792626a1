"""Parameters and widgets of the panel, both ways; what a saved scene brings back; what a closed one takes away."""

from __future__ import annotations

import typing

import pytest
from test_module_panel import STARTS, cells, makeDesk, tip
from test_module_panel_volume_parameters import NODES as VOLUME_NODES
from test_module_panel_volume_parameters import VALUES as VOLUME_VALUES

import slicer_host

desk = pytest.fixture(makeDesk)

CHECKED = {f"{name}CheckBox": name for name in ("axial", "coronal", "sagittal", "temporal", "parietal", "frontal")}
CHECKED |= {"occipitalCheckBox": "occipital", "plotCheckBox": "showLosses", "artificialCheckBox": "artificial"}
CHECKED |= {"judgeCheckBox": "askDiscriminator", "windowCheckBox": "classWindow"}
CHECKED |= {"dropDuplicatesCheckBox": "dropDuplicates", "downstreamQuickCheckBox": "downstreamQuick"}
VALUES = {  # widget: parameter, a value of it
    "intervalSlider": ("intervalMm", 6.2),
    "huOffsetSpinBox": ("huOffset", -1024),
    "imagesSpinBox": ("images", 12_345),
    "countSpinBox": ("count", 7),
    "seedSpinBox": ("seed", 99),
    "turingCountSpinBox": ("turingCount", 30),
    "sliceSizeSpinBox": ("sliceSize", 192),
    "fromLabelsCountSpinBox": ("fromLabelsCount", 3),
    "paintedCountSpinBox": ("paintedCount", 30),
    "labelledCountSpinBox": ("labelledCount", 500),
    "classSizeSpinBox": ("classSize", 256),
    "classSpacingSpinBox": ("classSpacingMm", 0.625),
    "blackSpinBox": ("blackHu", -500),
    "whiteSpinBox": ("whiteHu", 1500),
    "downstreamSeedsSpinBox": ("downstreamSeeds", 5),
    "varietySpinBox": ("variety", 70),
    "centresSpinBox": ("centres", 3),
    "walkFramesSpinBox": ("walkFrames", 48),
    "walkPerSecondSpinBox": ("walkPerSecond", 12),
}
PATHS = ["scansPath", "datasetPath", "trainDataPath", "initPath", "pretrainPath", "runPath", "modelPath"]
PATHS += ["auditPath", "syntheticPath", "exportPath", "realPath", "evaluatedPath", "controlPath", "reportPath"]
PATHS += ["turingRealPath", "turingSyntheticPath", "turingPath", "labelledPath", "fromLabelsPath"]
PATHS += ["labellerPath", "labelledSetPath", "downstreamPath"]
PATHS += ["classFoldersPath", "subjectsPath", "classSetPath", "classedPath"]
CHOICES = {  # widget: parameter, index, value
    "presetComboBox": ("preset", 1, "paper"),
    "familyComboBox": ("family", 1, "other"),
    "deviceComboBox": ("device", 2, "cuda:0"),
    "initComboBox": ("init", 1, "folder"),
    "formatComboBox": ("exportFormat", 3, "png"),
    "splitComboBox": ("split", 4, "test"),
    "downstreamTaskComboBox": ("downstreamTask", 5, "segment"),
}
NODES = {
    "maskSelector": ("skullMask", "vtkMRMLSegmentationNode"),
    "headFrameSelector": ("headFrame", "vtkMRMLLinearTransformNode"),
    "labelledVolumeSelector": ("labelledVolume", "vtkMRMLScalarVolumeNode"),
    "labelledSegmentationSelector": ("labelledSegmentation", "vtkMRMLSegmentationNode"),
    "drawnSegmentationSelector": ("drawnSegmentation", "vtkMRMLSegmentationNode"),
    "gridVolumeSelector": ("gridVolume", "vtkMRMLScalarVolumeNode"),
    "paintedVolumeSelector": ("paintedVolume", "vtkMRMLScalarVolumeNode"),
    "paintedSegmentationSelector": ("paintedSegmentation", "vtkMRMLSegmentationNode"),
}
ELSEWHERE = {"turingReader", "trainSettings", "volumes", "offeredVolume", "defaultsSet", "model", "conditions"}
ELSEWHERE |= {"paintedLabels"}  # in test_module_panel_annotate.py
ELSEWHERE |= {"classes"}  # in test_module_panel_classes.py
ELSEWHERE |= {"subjectPattern", "classColumns"}  # in test_module_panel_folders.py
ELSEWHERE |= {*VOLUME_VALUES, *VOLUME_NODES}  # in test_module_panel_volume_parameters.py


def test_every_parameter_has_its_widget_in_these_tests():
    slicer_host.start(gui=True)
    module = slicer_host.load_module()
    tested = [*CHECKED.values(), *PATHS, *ELSEWHERE]
    tested += [entry[0] for table in (VALUES, CHOICES, NODES) for entry in table.values()]
    assert sorted(tested) == sorted(typing.get_type_hints(module.SkullGANParameterNode))


@pytest.mark.parametrize("widget", CHECKED)
def test_a_check_box_and_its_parameter_follow_each_other(desk, widget):
    box, name = getattr(desk.open().ui, widget), CHECKED[widget]
    before = getattr(desk.parameters, name)
    assert box.checked == before
    box.checked = not before
    assert getattr(desk.parameters, name) == (not before)
    setattr(desk.parameters, name, before)
    assert box.checked == before


@pytest.mark.parametrize("widget", VALUES)
def test_a_number_and_its_parameter_follow_each_other(desk, widget):
    (name, value), box = VALUES[widget], getattr(desk.open().ui, widget)
    before = getattr(desk.parameters, name)
    assert box.value == before
    box.value = value
    assert getattr(desk.parameters, name) == value
    setattr(desk.parameters, name, before)
    assert box.value == before


@pytest.mark.parametrize("name", PATHS)
def test_a_path_and_its_parameter_follow_each_other(desk, name):
    line = getattr(desk.open().ui, f"{name}LineEdit")
    assert line.currentPath == getattr(desk.parameters, name)
    line.currentPath = "/some/where"
    assert getattr(desk.parameters, name) == "/some/where"
    setattr(desk.parameters, name, "")
    assert line.currentPath == ""


@pytest.mark.parametrize("name", ["scansPath", "initPath", "modelPath"])
def test_a_file_is_chosen_with_the_button_beside_a_path(desk, name):
    ui = desk.open().ui
    desk.parameters.init = desk.parameters.model = "folder"
    button = getattr(ui, name.replace("Path", "FileButton"))
    slicer_host.answers["getOpenFileName"] = "/some/file.nrrd"
    button.click()
    assert getattr(ui, f"{name}LineEdit").currentPath == getattr(desk.parameters, name) == "/some/file.nrrd"
    slicer_host.answers["getOpenFileName"] = ""  # the dialog was closed
    button.click()
    assert getattr(desk.parameters, name) == "/some/file.nrrd"


@pytest.mark.parametrize("widget", CHOICES)
def test_a_choice_and_its_parameter_follow_each_other(desk, widget):
    (name, index, value), box = CHOICES[widget], getattr(desk.open().ui, widget)
    before = getattr(desk.parameters, name)
    assert box.currentIndex == 0
    box.currentIndex = index
    assert getattr(desk.parameters, name) == value
    setattr(desk.parameters, name, before)
    assert box.currentIndex == 0


@pytest.mark.parametrize("widget", NODES)
def test_a_node_and_its_parameter_follow_each_other(desk, widget):
    import slicer

    (name, kind), box = NODES[widget], getattr(desk.open().ui, widget)
    node = slicer.mrmlScene.AddNewNodeByClass(kind)
    assert box.currentNode() is None
    box.setCurrentNode(node)
    assert getattr(desk.parameters, name) is node
    setattr(desk.parameters, name, None)
    assert box.currentNode() is None
    setattr(desk.parameters, name, node)
    assert box.currentNode() is node
    slicer.mrmlScene.RemoveNode(node)
    assert getattr(desk.parameters, name) is None


def test_the_chosen_volumes_and_their_parameter_follow_each_other(desk):
    import qt
    import slicer

    first, second, third = (desk.head(name) for name in ("first", "second", "third"))
    box = desk.open().ui.volumesSelector
    assert list(desk.parameters.volumes) == list(box.checkedNodes()) == [first]
    box.setCheckState(second, qt.Qt.Checked)
    box.setCheckState(first, qt.Qt.Unchecked)
    assert list(desk.parameters.volumes) == [second]
    desk.parameters.volumes = [second, third]
    assert list(box.checkedNodes()) == [second, third]
    slicer.mrmlScene.RemoveNode(second)
    assert list(box.checkedNodes()) == [third]
    assert [node for node in desk.parameters.volumes if node is not None] == [third]
    assert desk.ui.previewButton.enabled


def test_the_model_and_its_parameter_follow_each_other(desk):
    path = str(desk.model("home/run/model"))
    box = desk.open().ui.modelComboBox
    assert (box.currentIndex, desk.parameters.model) == (0, path)
    box.currentIndex = 1
    assert desk.parameters.model == "folder"
    desk.parameters.model = path
    assert box.currentIndex == 0


def test_folders_are_proposed_where_nothing_is_yet_and_once_only(desk):
    import slicer

    (desk.folder / "home" / "segments-1").mkdir(parents=True)
    widget = desk.open()
    assert desk.parameters.datasetPath == str(desk.folder / "home" / "segments-2")
    assert desk.parameters.runPath == str(desk.folder / "home" / "run-1")
    desk.ui.datasetPathLineEdit.currentPath = ""  # the user does not want it
    widget.parent.exit()
    widget.parent.enter()
    assert desk.parameters.datasetPath == ""
    slicer.mrmlScene.Clear(0)
    assert desk.parameters.datasetPath == str(desk.folder / "home" / "segments-2")


def test_a_volume_is_proposed_once_only(desk):
    desk.head()
    widget = desk.open()
    desk.parameters.volumes = []  # the user does not want it
    widget.parent.exit()
    widget.parent.enter()
    assert list(desk.parameters.volumes) == []


# a scene saved and loaded ---------------------------------------------------------------------------------------------

CONDITIONS = {"sdr": {"kind": "number", "mean": 0.6, "std": 0.1, "minimum": 0.3, "maximum": 0.8}}
CONDITIONS |= {"region": {"kind": "category", "values": ["temporal", "parietal"], "share": [2, 1]}}


def filled(desk) -> dict:
    """Set every parameter to something of its own; gives what they are now."""
    import slicer

    parameters = desk.parameters
    for name in CHECKED.values():
        setattr(parameters, name, not getattr(parameters, name))
    for name, value in VALUES.values():
        setattr(parameters, name, value)
    for name, _, value in CHOICES.values():
        setattr(parameters, name, value)
    parameters.family, parameters.preset = "relativistic", "paper"
    for name in PATHS:
        setattr(parameters, name, f"/saved/{name}")
    for name, kind in NODES.values():
        setattr(parameters, name, slicer.mrmlScene.AddNewNodeByClass(kind, f"saved {name}"))
    parameters.volumes = [desk.head("saved one"), desk.head("saved two")]
    parameters.model = "folder"
    parameters.modelPath = str(desk.model("conditional", conditions=CONDITIONS))
    parameters.conditions = '{"region": "parietal", "sdr": [0.4, 0.5]}'
    return values(parameters)


def values(parameters) -> dict:
    """Every parameter, nodes by their names."""
    names = typing.get_type_hints(type(parameters))
    found = {name: getattr(parameters, name) for name in names}
    found = {name: value.GetName() if hasattr(value, "GetName") else value for name, value in found.items()}
    return found | {"volumes": [node.GetName() for node in parameters.volumes]}


@pytest.mark.parametrize("load", ["Import", "Connect"])  # into an empty scene; as Slicer loads one
def test_a_saved_scene_brings_everything_back(desk, load):
    import slicer

    desk.head("other")
    ui, scene = desk.open().ui, slicer.mrmlScene
    saved = filled(desk)
    scene.SetURL(str(desk.folder / "scene.mrml"))
    assert scene.Commit() == 1
    scene.Clear(0)
    assert desk.parameters.count == 64
    assert desk.parameters.volumes == []
    assert (ui.axialCheckBox.checked, ui.countSpinBox.value) == (True, 64)
    getattr(scene, load)()
    assert values(desk.parameters) == saved
    for widget, (name, _) in VALUES.items():
        assert getattr(ui, widget).value == saved[name]
    for widget, name in CHECKED.items():
        assert getattr(ui, widget).checked == saved[name]
    for name in PATHS:
        assert getattr(ui, f"{name}LineEdit").currentPath == saved[name]
    for widget, (name, _) in NODES.items():
        assert getattr(ui, widget).currentNode().GetName() == f"saved {name}"
    assert [node.GetName() for node in ui.volumesSelector.checkedNodes()] == ["saved one", "saved two"]
    assert (ui.presetComboBox.currentIndex, ui.deviceComboBox.currentIndex, ui.splitComboBox.currentIndex) == (1, 2, 4)


def test_what_a_saved_scene_asks_of_a_model_is_shown_and_asked(desk):
    import slicer

    ui, scene = desk.open().ui, slicer.mrmlScene
    filled(desk)
    scene.SetURL(str(desk.folder / "scene.mrml"))
    scene.Commit()
    desk.parameters.conditions = "{}"
    scene.Clear(0)
    scene.Import()
    desk.script("generate", "sys.exit(2)")
    desk.parameters.syntheticPath = str(desk.folder / "out")
    desk.parameters.auditPath = ""
    desk.press(ui.generateButton)
    call = desk.calls("generate")[-1]
    assert [call[i + 1] for i, word in enumerate(call) if word == "--condition"] == ["sdr=0.4:0.5", "region=parietal"]


def test_the_conditions_of_a_model_follow_their_parameter(desk):
    desk.open()
    filled(desk)
    assert desk.panel.generate.asked() == {"region": "parietal", "sdr": [0.4, 0.5]}
    desk.parameters.conditions = "{}"
    assert desk.panel.generate.asked() == {}


# a closed scene -------------------------------------------------------------------------------------------------------


def test_a_closed_scene_empties_the_tables_and_leaves_the_panel_usable(desk):
    import slicer

    ui = desk.ready()
    desk.logic.show(desk.dataset("shown"))
    ui.segmentsTable.setCurrentCell(1, 0)
    ui.piecesTable.setCurrentCell(1, 0)
    assert ui.placeButton.enabled
    slicer.mrmlScene.Clear(0)
    assert (cells(ui.piecesTable), cells(ui.segmentsTable), cells(ui.metricsTable)) == ([[]], [[]], [[]])
    assert (ui.placeButton.enabled, ui.prepareLabel.text) == (False, "")
    assert tip(ui.exportButton) == "Generate segments first."
    assert tip(ui.previewButton) == "Choose a CT volume of the scene, or scans on disk."
    assert desk.parameters.parameterNode is slicer.mrmlScene.GetSingletonNode("SkullGAN", "vtkMRMLScriptedModuleNode")
    desk.parameters.volumes = [desk.head()]
    desk.script("prepare", "sys.exit(2)")
    desk.press(ui.previewButton)
    assert desk.errors == []


def test_a_scene_closed_while_another_module_is_shown_does_not_bring_the_parameters_back(desk):
    import slicer

    widget = desk.open()
    widget.parent.exit()
    slicer.mrmlScene.Clear(0)
    assert desk.parameters is None
    for column in ("piecesTable", "segmentsTable"):
        getattr(desk.ui, column).setCurrentCell(0, 0)
    widget.parent.enter()
    assert desk.parameters.count == 64
    assert desk.ui.countSpinBox.value == 64


def test_whatever_is_touched_while_the_scene_is_being_closed_nothing_is_raised(desk):
    import slicer

    ui, scene = desk.ready(), slicer.mrmlScene
    buttons = [*STARTS, "exportButton", "placeButton", "openRunButton", "openReportButton", "refreshButton"]
    (desk.folder / "new run").mkdir()
    desk.logic.show(desk.dataset("shown"))
    ui.piecesTable.setCurrentCell(1, 0)
    touched = []

    def touch(caller, event):
        assert desk.parameters is None
        for name in PATHS:
            getattr(ui, f"{name}LineEdit").currentPath = "/elsewhere"
        for widget, (_, index, _) in CHOICES.items():
            getattr(ui, widget).currentIndex = index
        for widget, (_, value) in VALUES.items():
            getattr(ui, widget).value = value
        for table in (ui.piecesTable, ui.segmentsTable):
            table.setCurrentCell(0, 0)
        for name in buttons:
            getattr(ui, name).enabled = True
            getattr(ui, name).click()
            touched.append(name)

    tag = scene.AddObserver(scene.StartCloseEvent, touch, -1.0)
    scene.Clear(0)
    scene.RemoveObserver(tag)
    assert touched == buttons
    slicer_host.checkSlots()
    assert desk.errors == []
    assert desk.logic.job is None


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("title", ["Preview", "Prepare", "Generate", "Evaluate", "Export"])
def test_a_scene_closed_in_the_middle_of_a_job_takes_no_results(desk, title, shown):
    import slicer

    ui = desk.ready()
    button = getattr(ui, f"{title.lower()}Button")
    command = {"Preview": "prepare", "Export": "dataset"}.get(title, title.lower())
    made = desk.dataset("made").path
    ends = f"hand({str(made)!r})" if title in ("Prepare", "Generate", "Evaluate") else "say(result={'out': 'there'})"
    desk.waiting(button, command, ends)
    if not shown:
        desk.widget.parent.exit()
    slicer.mrmlScene.Clear(0)
    if shown:
        assert button.text == "Cancel"
    desk.release("go")
    desk.idle()
    if not shown:
        desk.widget.parent.enter()
    assert ui.jobLabel.text == f"{title}: done" or title == "Export"
    assert desk.errors == []
    assert slicer.util.getNodesByClass("vtkMRMLVolumeNode") + slicer.util.getNodesByClass("vtkMRMLTableNode") == []
    assert (ui.piecesTable.rowCount, ui.segmentsTable.rowCount, ui.metricsTable.rowCount) == (0, 0, 0)
    assert button.text == title
    desk.parameters.volumes = [desk.head()]
    desk.script("prepare", "sys.exit(2)")
    desk.press(ui.previewButton)
