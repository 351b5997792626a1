"""The widgets that stand for CTK's and MRML's, .ui files, and parameters bound to widgets."""

import importlib

import pytest

import slicer_host

pytest.importorskip("PySide6", reason="the stand-ins of the panel need PySide6")
slicer = pytest.importorskip("slicer", reason="the stand-ins need slicer-core")
slicer_host.start(gui=True)
ctk, qt, vtk = (importlib.import_module(name) for name in ("ctk", "qt", "vtk"))
probes = importlib.import_module("standins.probes")
parameters, volume = probes.parameters, probes.volume


@pytest.fixture(autouse=True)
def _fresh():
    slicer_host.start(gui=True)
    slicer_host.reset()
    yield
    slicer_host.checkSlots()


@pytest.fixture
def load(tmp_path):
    def load(text=probes.UI):
        (tmp_path / "Probe.ui").write_text(text, encoding="utf-8")
        widget = slicer.util.loadUI(str(tmp_path / "Probe.ui"))
        load.root = widget
        return slicer.util.childWidgetVariables(widget)

    return load


@pytest.fixture
def node_box():
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(slicer.mrmlScene)
    return box


# widgets of CTK and MRML


def test_a_collapsed_section_hides_what_is_in_it_and_gives_it_back_as_it_should_be(load):
    ui = load()
    load.root.show()
    got = []
    ui.section.contentsCollapsed.connect(got.append)
    assert not ui.label.visible
    ui.label.visible = False
    ui.node.visible = True
    assert not ui.node.visible
    ui.section.collapsed = False
    assert ui.node.visible
    assert not ui.label.visible
    ui.section.click()
    assert (ui.section.collapsed, ui.node.visible, got) == (True, False, [False, True])


def test_any_text_is_a_path_and_an_emptied_line_is_told_by_its_validity_alone(tmp_path):
    box, valid, paths = ctk.ctkPathLineEdit(), [], []
    box.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Writable
    box.validInputChanged.connect(valid.append)
    box.currentPathChanged.connect(paths.append)
    for path in (str(tmp_path), __file__, ""):
        box.currentPath = path
        assert box.currentPath == path
    assert (valid, paths) == ([True, False], [str(tmp_path), __file__])
    slicer_host.answers["ctkPathLineEdit.browse"] = "/chosen"
    box.browse()
    assert box.currentPath == "/chosen"


def test_a_slider_keeps_its_value_in_its_range():
    slider, got = ctk.ctkSliderWidget(), []
    slider.minimum, slider.maximum, slider.value = -10, 10, 7.25
    slider.valueChanged.connect(got.append)
    slider.maximum = 5
    slider.setValue(-20)
    assert (got, slider.value) == ([5.0, -10.0], -10.0)


def test_a_range_has_two_ends_in_order():
    widget, got = ctk.ctkRangeWidget(), []
    widget.minimum, widget.maximum = 10, 20
    widget.valuesChanged.connect(lambda low, high: got.append((low, high)))
    widget.minimumValue = 12
    widget.maximumValue = 11
    widget.setValues(14, 30)
    assert got == [(12, 20), (11, 11), (14, 20)]


def test_a_node_box_lists_the_nodes_of_its_classes(node_box):
    got = []
    node_box.connect("currentNodeChanged(vtkMRMLNode*)", got.append)
    node_box.connect("currentNodeChanged(bool)", got.append)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    hidden = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
    hidden.UnRegister(None)
    hidden.SetHideFromEditors(True)
    slicer.mrmlScene.AddNode(hidden)
    assert node_box.nodeCount() == 0
    first = volume()
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    assert node_box.currentNode() is first
    assert got == [first, True]
    assert node_box.nodeFromIndex(1) is labels
    node_box.showChildNodeTypes = False
    assert node_box.nodeCount() == 1
    slicer.mrmlScene.RemoveNode(first)
    assert node_box.currentNodeID == ""
    assert got[2:] == [None, False]


def test_a_node_box_may_have_none(node_box):
    node_box.noneEnabled = True
    node = volume()
    assert node_box.currentNode() is None
    node_box.currentNodeID = node.GetID()
    assert node_box.currentNode() is node
    node_box.setCurrentNode(None)
    assert node_box.currentNode() is None
    other = slicer.vtkMRMLScene()
    node_box.setMRMLScene(other)
    assert node_box.nodeCount() == 0


def test_a_node_box_makes_nodes(node_box):
    node = node_box.addNode("vtkMRMLScalarVolumeNode")
    assert node_box.currentNode() is node
    assert node.GetScene() is slicer.mrmlScene
    assert node_box.addNode("vtkMRMLModelNode") is None


def test_nodes_are_checked_and_stay_checked_while_others_come_and_go():
    box, changes = slicer.qMRMLCheckableNodeComboBox(), []
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(slicer.mrmlScene)
    first, second = volume(), volume()
    box.checkedNodesChanged.connect(lambda: changes.append(box.checkedNodes()))
    box.setCheckState(second, qt.Qt.Checked)
    slicer.mrmlScene.RemoveNode(first)
    third = volume()
    assert box.checkedNodes() == (second,)
    assert box.uncheckedNodes() == (third,)
    assert box.checkState(third) == qt.Qt.Unchecked
    slicer.mrmlScene.RemoveNode(second)
    assert box.noneChecked()
    assert changes == [(second,), ()]


# .ui files


def test_a_ui_file_gives_named_widgets_connected_to_the_scene(load):
    ui = load()
    load.root.setMRMLScene(slicer.mrmlScene)
    assert ui.node.mrmlScene() is slicer.mrmlScene
    assert ui.node.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    assert ui.node.property("SlicerParameterName") == "vol"
    assert ui.path.filters == ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Readable
    assert ui.apply.toolTip == "<p>Go</p>"
    assert ui.section.text == "Section"


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ('"collapsed"', '"closed"', "section is a ctkCollapsibleButton, which has no property closed"),
        ('"ctkPathLineEdit"', '"ctkPathEdit"', "no stand-in for ctkPathEdit"),
        ("mrmlSceneChanged(", "sceneChanged(", "has no signal sceneChanged"),
        ("setMRMLScene(", "setScene(", "has no attribute named 'setScene'"),
    ],
)
def test_a_mistake_in_a_ui_file_is_an_error(load, right, wrong, words):
    with pytest.raises((RuntimeError, AttributeError), match=words.replace("(", r"\(")):
        load(probes.UI.replace(right, wrong))


# parameter node


def test_parameters_survive_saving_and_loading_of_the_scene(tmp_path):
    p, node = parameters(), volume()
    p.vol, p.vols, p.o, p.x, p.e = node, [node, volume()], node, 3.5, probes.E.B
    p.d["k"] = 7
    p.path = tmp_path
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.Commit()
    slicer.mrmlScene.Clear(0)
    assert parameters().x == 2.0
    slicer.mrmlScene.Connect()
    p = parameters()
    assert [p.vol.GetName(), len(p.vols), p.o is p.vol, p.x, p.e.name, p.d["k"]] == ["CT", 2, True, 3.5, "B", 7]
    assert p.path == tmp_path


def test_lists_and_dictionaries_are_written_when_they_change():
    p, node, seen = parameters(), volume(), []
    p.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: seen.append(event))
    p.vols.append(node)
    p.d["one"] = 1
    assert (list(parameters().vols), dict(parameters().d), len(seen)) == ([node], {"one": 1}, 2)
    with pytest.raises(TypeError):
        p.vols.append("no node")
    assert len(p.vols) == 1


@pytest.mark.parametrize(("name", "value"), [("s", 5), ("flag", 1), ("n", 2.0), ("vol", "CT"), ("path", "/data")])
def test_a_parameter_takes_values_of_its_type_only(name, value):
    with pytest.raises(TypeError):
        setattr(parameters(), name, value)


def test_parameters_and_widgets_follow_each_other_until_disconnected(load):
    p, ui = parameters(), load()
    load.root.setMRMLScene(slicer.mrmlScene)
    tag = p.connectGui(ui)
    assert p.vol is None
    node = volume()
    assert p.vol is node
    p.vol = None
    assert ui.node.currentNode() is None
    p.disconnectGui(tag)
    p.vol = node
    assert ui.node.currentNode() is None
    ui.node.setCurrentNode(node)
    p.vol = None
    assert ui.node.currentNode() is node


def test_a_parameter_that_is_not_bounded_has_no_slider():
    @slicer.parameterNodeWrapper.parameterNodeWrapper
    class Free:
        number: float
        text: str

    free = Free(probes.ProbeLogic().getParameterNode())
    with pytest.raises(RuntimeError, match="unbounded"):
        free.connectParametersToGui({"number": ctk.ctkSliderWidget()})
    with pytest.raises(RuntimeError, match="Choice"):
        free.connectParametersToGui({"text": qt.QComboBox()})
