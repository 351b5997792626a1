"""Label maps in the panel: what is segmented, cut into slices, and drawn; when each can be used and what it starts."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from test_module_panel import makeDesk, tip
from test_module_panel_volumes import DRAWN, options

from SkullGANLib.ct.label_names import header_names

desk = pytest.fixture(makeDesk)


def segmentation(name="layers"):
    from SkullGANLib.ct.volume import Volume
    from SkullGANSlicer import scene

    values = np.zeros((4, 6, 8), np.uint8)
    values[1:3, 1:4, 2:6], values[1:3, 4:5, 2:6] = 1, 2
    return scene.showLabels(Volume(values), {1: "outer table", 2: "diploe"}, name=name)


def handed(desk):
    """Where a child puts the label map that it was handed."""
    return desk.folder / "handed.seg.nrrd"


@pytest.fixture
def ui(desk):
    """The panel with a head in the scene and a model of label maps chosen."""
    desk.head()
    desk.open()
    path = desk.model(
        "labels-run/model", family="patch-cgan", network={"size": 128, "labels": ["outer table", "diploe"]}
    )
    desk.parameters.model, desk.parameters.modelPath = "folder", str(path)
    ui = desk.ui
    ui.generateCollapsibleButton.collapsed = ui.labelMapsCollapsibleButton.collapsed = False
    return ui


def test_a_phantom_is_offered_as_a_scan_and_a_synthetic_volume_is_not(desk):
    for name, kind in (("drawn", "synthetic volume"), ("phantom", "phantom head")):
        desk.head(name).SetAttribute("SkullGAN.kind", kind)
    desk.open()
    assert desk.parameters.labelledVolume.GetName() == "phantom"


def test_a_model_of_label_maps_brings_its_own_choices(desk, ui):
    assert ui.fromLabelsWidget.visible
    assert not ui.segmentsWidget.visible
    assert not ui.volumesWidget.visible
    assert "Draws from label maps of outer table, diploe." in ui.modelLabel.text
    assert tip(ui.generateButton) == "The model that is chosen draws from label maps."
    assert (ui.fromLabelsButton.enabled, tip(ui.fromLabelsButton)) == (False, "Choose the segmentation to draw.")
    desk.parameters.modelPath = str(desk.model())
    assert ui.segmentsWidget.visible
    assert not ui.fromLabelsWidget.visible


def test_what_is_chosen_reaches_the_child_and_the_ct_comes_into_the_scene(desk, ui):
    from SkullGANLib.ct.io import write_volume
    from SkullGANLib.ct.volume import Volume

    path, given = write_volume(Volume(np.zeros((6, 6, 6), np.int16)), desk.folder / "made.nrrd"), handed(desk)
    desk.script("volume", f"shutil.copy(arguments[2], {str(given)!r})\n" + DRAWN % str(path))
    node = segmentation()
    desk.parameters.drawnSegmentation, desk.parameters.fromLabelsCount, desk.parameters.seed = node, 2, 7
    nodes = desk.press(ui.fromLabelsButton).value
    assert desk.errors == []
    (call,) = desk.calls("volume")
    assert header_names(given) == {1: "outer table", 2: "diploe"}
    given = options(call)
    assert call[1] == "from-labels"
    assert (given["--count"], given["--seed"]) == ("2", "7")
    assert given["--out"] == desk.parameters.fromLabelsPath
    assert [each.GetNodeReference("SkullGAN.source") for each in nodes] == [node, node]


def test_a_head_is_segmented_and_the_segmentation_chosen_for_what_comes_next(desk, ui):
    import SimpleITK as sitk

    values = np.zeros((4, 6, 8), np.uint8)
    values[1:3, 1:4, 2:6] = 1
    image = sitk.GetImageFromArray(values)
    for key, value in {"LabelValue": "1", "Name": "outer table", "ID": "a", "Layer": "0"}.items():
        image.SetMetaData(f"Segment0_{key}", value)
    path = str(desk.folder / "made.seg.nrrd")
    sitk.WriteImage(image, path)
    told = {"labels": "x", "notes": ["Tables are thick."]}
    code = f"shutil.copy({path!r}, option('--out'))\nsay(result={told!r})"
    desk.script("volume", code)
    assert (ui.headLabelsButton.enabled, ui.importPairButton.enabled) == (True, False)
    assert tip(ui.importPairButton) == "Choose its segmentation."
    node = desk.press(ui.headLabelsButton).value
    assert desk.errors == []
    assert node.GetName() == "head layers"
    assert desk.parameters.labelledSegmentation is node
    assert desk.parameters.drawnSegmentation is node
    assert ui.labelMapsLabel.text == "Tables are thick."
    assert ui.importPairButton.enabled
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert node.GetNodeReference(role) is desk.parameters.labelledVolume


def test_a_head_that_was_bent_meanwhile_does_not_lend_its_grid(desk, ui):
    from SkullGANLib.ct.volume import Volume
    from SkullGANLib.prepare.layers_files import write_labels

    values = np.zeros((4, 6, 8), np.uint8)
    values[1:3, 1:4, 2:6] = 1
    path = str(write_labels(Volume(values), desk.folder / "made.seg.nrrd"))
    code = f"shutil.copy({path!r}, option('--out'))\nsay(result={{'notes': []}})"
    desk.waiting(ui.headLabelsButton, "volume", code)
    grid = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "bent")
    desk.parameters.labelledVolume.SetAndObserveTransformNodeID(grid.GetID())
    desk.release("go")
    desk.idle()
    node = desk.logic.job.value
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert node.GetNodeReference(role) is None
    ui.headLabelsButton.click()
    ((text, _),) = desk.errors
    assert text.startswith('"head" lies below a transform that bends space.')


def test_slices_are_still_handed_over_where_the_scene_was_closed_meanwhile(desk, ui):
    from SkullGANLib.ct.volume import Volume
    from SkullGANSlicer import scene

    made = desk.dataset("made")
    code = f"shutil.copytree({str(made.path)!r}, option('--out'))\nsay(result={{'notes': []}})"
    desk.parameters.labelledSegmentation = segmentation()
    desk.parameters.labelledVolume = scene.showVolume(Volume(np.zeros((4, 6, 8), np.int16)), name="ct")
    desk.waiting(ui.importPairButton, "dataset", code)
    out = desk.parameters.labelledPath
    slicer.mrmlScene.Clear(0)
    desk.release("go")
    desk.idle()
    assert desk.errors == []
    assert str(desk.logic.job.value.path) == out


def test_slices_are_cut_and_offered_to_train_on(desk, ui):
    from SkullGANLib.ct.volume import Volume
    from SkullGANLib.segments.dataset import SegmentDataset
    from SkullGANSlicer import scene

    made = SegmentDataset.create(desk.folder / "made", np.zeros((3, 64, 64), np.int16), None, kind="real")
    labels = handed(desk)
    code = f"""
shutil.copy(os.path.join(arguments[2], "patient-001", "label.seg.nrrd"), {str(labels)!r})
shutil.copytree({str(made.path)!r}, option("--out"))
say(result={{"notes": ["One only."]}})
"""
    desk.script("dataset", code)
    desk.parameters.labelledSegmentation, desk.parameters.sliceSize = segmentation(), 64
    desk.parameters.labelledVolume = scene.showVolume(Volume(np.zeros((4, 6, 8), np.int16)), name="ct")
    dataset = desk.press(ui.importPairButton).value
    assert desk.errors == []
    (call,) = desk.calls("dataset")
    given = options(call)
    assert call[1] == "import-pairs"
    assert (given["--size"], given["--plane"]) == ("64", "axial")
    assert given["--kind"] == "real"
    assert header_names(labels) == {1: "outer table", 2: "diploe"}
    assert desk.parameters.trainDataPath == str(dataset.path)
    assert "3 slices with label maps" in ui.labelMapsLabel.text
    assert "One only." in ui.labelMapsLabel.text


def test_a_model_is_compared_with_the_real_data_set_of_section_4(desk, ui):
    assert tip(ui.compareLabelsButton) == "Choose a real data set with label maps in section 4."
    real = desk.dataset("real")
    desk.parameters.realPath, desk.parameters.split = str(real.path), "test"
    code = """
os.makedirs(option("--out"))
with open(os.path.join(option("--out"), "conditional.csv"), "w") as file:
    file.write("value,label,figure,number,unit,low,high,slices,subjects\\n1,diploe,mae,52.5,HU,50,,7,3\\n")
say(result={"report": option("--out"), "page": "x", "warnings": ["Two subjects only."]})
"""
    desk.script("evaluate", code)
    table = desk.press(ui.compareLabelsButton).value
    assert desk.errors == []
    given = options(desk.calls("evaluate")[0])
    assert (given["--labels"], given["--model"]) == (str(real.path), desk.parameters.modelPath)
    assert (given["--split"], given["--out"]) == ("test", desk.parameters.reportPath)
    assert table.GetTable().GetValueByName(0, "number").ToDouble() == 52.5
    assert "Two subjects only." in ui.modelLabel.text


@pytest.mark.parametrize(
    ("name", "title", "command"),
    [("headLabelsButton", "Layers of the head", "volume"), ("fromLabelsButton", "CT from labels", "volume")],
)
def test_each_can_be_cancelled_and_the_others_wait_for_it(desk, ui, name, title, command):
    desk.parameters.drawnSegmentation = segmentation()
    button = getattr(ui, name)
    text = button.text
    desk.waiting(button, command)
    assert (button.text, button.enabled) == ("Cancel", True)
    said = {(each.enabled, tip(each)) for each in (ui.trainButton, ui.previewButton)}
    assert said == {(False, f"{title} is still running. Cancel it first.")}
    button.click()
    desk.idle()
    assert (button.text, desk.errors) == (text, [])
