"""Whole volumes in the panel: what is learnt, how far it is, what a model of volumes can be asked for."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from slicer import util
from test_module_panel import boxItems, makeDesk, tip

import slicer_host

desk = pytest.fixture(makeDesk)

SHAPES = [[8, 9, 10], [12, 13, 15], [18, 20, 22]]
LEARNT = {"shape": [20, 22, 24], "spacing_mm": [1, 1, 1], "origin_mm": [0, 0, 0], "direction": np.eye(3).tolist()}
DRAWN = """
import json
out = option("--out")
os.makedirs(out, exist_ok=True)
files = []
for k in range(int(option("--count"))):
    name = f"volume-{k + 1:04d}.nrrd"
    shutil.copy(%r, os.path.join(out, name))
    files.append({"file": name, "image": k, "sha256": "0" * 64})
facts = {"format": "skullgan-volumes", "version": 1, "family": "pyramid3d", "model_hash": "abc", "seed": 4}
with open(os.path.join(out, "volumes.json"), "w") as file:
    json.dump({**facts, "first_scale": 0, "source": None, "files": files}, file)
say(result={"volumes": out})
"""


@pytest.fixture
def ui(desk):
    """The panel with a volume to learn; section 2 and 3 are open."""
    head = desk.head()
    desk.open()
    desk.parameters.learntVolume = head
    desk.ui.trainCollapsibleButton.collapsed = desk.ui.generateCollapsibleButton.collapsed = False
    desk.ui.learnVolumeCollapsibleButton.collapsed = False
    return desk.ui


def volumeModel(desk, name="volume-run/model", dimensions=3):
    """A model of volumes of which only the card can be read; it is chosen."""
    network = {"dimensions": dimensions, "shapes": SHAPES}
    limits = "Learnt from one volume."
    family = f"pyramid{dimensions}d"
    path = desk.model(name, family=family, network=network, training={"volume": LEARNT}, limits=limits, spacing_mm=3.2)
    desk.parameters.model, desk.parameters.modelPath = "folder", str(path)
    return str(path)


def options(call) -> dict[str, str]:
    """Options of the newest child; of one that is given several times the last."""
    return {word: call[i + 1] for i, word in enumerate(call[:-1]) if word.startswith("--")}


# learning -------------------------------------------------------------------------------------------------------------


def test_the_choices_reach_the_child_and_the_roi_as_a_box(desk, ui):
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "region")
    roi.SetSize(4.0, 3.0, 2.0)
    roi.SetCenterWorld(3.5, 3.5, 4.5)
    ui.learntRoiSelector.setCurrentNode(roi)
    ui.dimensionsComboBox.currentIndex, ui.volumePresetComboBox.currentIndex, ui.deviceComboBox.currentIndex = 1, 2, 1
    ui.volumeSettingsLineEdit.text = "largest=12 iterations=[1, 2]"
    ui.volumeRunPathLineEdit.currentPath = str(desk.folder / "my run")
    desk.script("volume", "assert os.path.isfile(arguments[2])\nsys.exit(2)")
    desk.press(ui.trainVolumeButton)
    (call,) = desk.calls("volume")
    assert call[1] == "train"
    assert call[2].endswith("volume-1.nrrd")
    # the 8 voxels of the node along each axis have their centres at 0 to 7 mm
    given = {"--out": str(desk.folder / "my run"), "--dimensions": "2", "--preset": "ct-gan", "--device": "cpu"}
    given |= {"--seed": "0", "--box": "4,5,2,5,2,5", "--set": "iterations=[1, 2]"}
    assert options(call) == given
    assert "largest=12" in call
    ui.learntRoiSelector.setCurrentNode(None)
    desk.press(ui.trainVolumeButton)
    assert "--box" not in desk.calls("volume")[1]


def test_presets_are_those_of_the_command_line(ui):
    from SkullGANLib.cli.volume import PRESETS

    assert {data for _, data in boxItems(ui.volumePresetComboBox)} == set(PRESETS)


def test_an_roi_is_made_around_the_volume_and_chosen(desk, ui):
    desk.parameters.learntVolume = None
    assert (ui.makeRoiButton.enabled, tip(ui.makeRoiButton)) == (False, "Choose the CT volume to learn.")
    desk.parameters.learntVolume = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    ui.makeRoiButton.click()
    roi = ui.learntRoiSelector.currentNode()
    assert desk.parameters.learntRoi is roi
    assert roi.GetSize() == (8.0, 8.0, 8.0)
    assert list(roi.GetCenterWorld()) == [3.5, 3.5, 3.5]


def test_an_roi_beside_the_volume_is_refused_in_two_lines(desk, ui):
    roi = desk.logic.makeRoi(desk.parameters.learntVolume)
    roi.SetCenterWorld(100.0, 0.0, 0.0)
    desk.parameters.learntRoi = roi
    ui.trainVolumeButton.click()
    words = (
        'The ROI "Part to learn" holds no voxel of the volume.\n\nMove it over the part of the volume that is wanted.'
    )
    assert desk.errors == [(words, "")]
    assert "volume" not in desk.started
    roi.SetCenterWorld(3.5, 3.5, 3.5)
    desk.script("volume", "sys.exit(2)")
    desk.press(ui.trainVolumeButton)
    assert options(desk.calls("volume")[0])["--box"] == "0,7,0,7,0,7"


def test_the_train_button_says_what_is_missing(desk, ui):
    button = ui.trainVolumeButton
    assert (button.enabled, button.text, tip(button)) == (
        True, "Train on the volume", "Learn the volume, scale by scale.",
    )  # fmt: skip
    desk.parameters.volumeRunPath = ""
    assert (button.enabled, tip(button)) == (False, "Choose a folder for the run.")
    desk.parameters.learntVolume = None
    assert (button.enabled, tip(button)) == (False, "Choose the CT volume to learn.")


def test_a_run_in_the_folder_is_resumed(desk, ui):
    (desk.folder / "earlier").mkdir()
    (desk.folder / "earlier" / "options.json").write_text("{}")
    desk.parameters.volumeRunPath = str(desk.folder / "earlier")
    assert (ui.trainVolumeButton.text, tip(ui.trainVolumeButton)) == ("Resume", "Go on with the run in the folder.")


def test_the_ablation_goes_beside_the_run_with_what_is_chosen_for_it(desk, ui):
    code = """
import json
out = option("--out")
os.makedirs(out)
run = {"seed": 0, "psnr": 20.5, "ssim": None}
with open(os.path.join(out, "ablation-3d.json"), "w") as file:
    json.dump({"dimensions": 3, "runs": {"A": [run], "B": [run]}}, file)
say(result={"ablation": out})
"""
    desk.script("ablation", code)
    desk.parameters.volumeRunPath, desk.parameters.volumeSettings = str(desk.folder / "run"), "largest=30"
    desk.parameters.learntRoi = desk.logic.makeRoi(desk.parameters.learntVolume)
    assert (ui.ablationButton.text, ui.ablationButton.enabled) == ("Ablation", True)
    out = desk.press(ui.ablationButton).value
    assert (desk.errors, out) == ([], desk.folder / "run-ablation")
    given = options(desk.calls("ablation")[0])
    assert (given["--dimensions"], given["--preset"], given["--set"]) == ("3", "demo", "largest=30")
    assert given["--box"].startswith("0,")
    assert str(out) in ui.volumeTrainingLabel.text
    (table,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert (table.GetName(), table.GetNumberOfRows()) == ("head ablation 3D", 2)
    desk.parameters.volumeRunPath = ""
    assert (ui.ablationButton.enabled, tip(ui.ablationButton)) == (False, "Choose a folder for the run.")


def test_progress_is_told_by_scale_and_the_job_can_be_cancelled(desk, ui):
    figures = "remaining_s=300, adversarial=0.25, reconstruction=0.0123"
    desk.script("volume", f"say(value=30, maximum=90, message='Training scale 2 of 3', {figures})\nwait('go')")
    ui.trainVolumeButton.click()
    desk.until(lambda: ui.volumeTrainingLabel.text)
    assert ui.volumeTrainingLabel.text == "adversarial 0.25, reconstruction 0.0123"
    assert ui.jobLabel.text == "Training scale 2 of 3, 5 min left"
    assert (ui.jobProgressBar.value, ui.jobProgressBar.maximum) == (30, 90)
    assert (ui.trainVolumeButton.text, ui.trainVolumeButton.enabled) == ("Cancel", True)
    assert not ui.trainButton.enabled
    assert tip(ui.makeRoiButton) == "Make an ROI around the volume, to be made smaller in the views."
    volumeModel(desk)
    assert tip(ui.generateVolumesButton) == "Volume training is still running. Cancel it first."
    ui.trainVolumeButton.click()
    assert ui.trainVolumeButton.text == "Cancelling..."
    desk.idle()
    assert ui.trainVolumeButton.text == "Train on the volume"
    assert desk.errors == []


def test_the_model_learnt_is_offered_and_the_notes_are_shown(desk, ui):
    source = volumeModel(desk, "made/model")
    picture = desk.folder / "scale-1.png"
    image = vtk.vtkImageData()
    image.SetDimensions(840, 30, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(picture))
    writer.SetInputData(image)
    writer.Write()
    code = f"say(value=90, maximum=90, message='Training', sample={str(picture)!r})\n"
    code += f"shutil.copytree({source!r}, os.path.join(option('--out'), 'model'))\n"
    code += "say(result={'model': 'there', 'notes': ['3 scales.']})"
    desk.script("volume", code)
    desk.parameters.model = "folder"
    desk.press(ui.trainVolumeButton)
    assert ui.volumeTrainingLabel.text == "3 scales."
    assert ui.volumeSampleLabel.pixmap.width() == 420
    path = str(desk.folder / "home" / "volume-run-1" / "model")
    assert desk.parameters.model == path
    assert ("volume-run-1, trained here", path) in boxItems(ui.modelComboBox)
    assert ui.volumesWidget.visible


def test_of_a_turned_roi_the_panel_tells_that_its_bounding_box_was_learnt(desk, ui):
    roi = desk.logic.makeRoi(desk.parameters.learntVolume)
    matrix = np.eye(4)
    matrix[:2, :2] = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    matrix[:3, 3] = 3.5
    roi.SetAndObserveObjectToNodeMatrix(util.vtkMatrixFromArray(matrix))
    roi.SetSize(4.0, 4.0, 4.0)
    desk.parameters.learntRoi = roi
    desk.script("volume", "say(result={'model': 'there', 'notes': ['3 scales.']})")
    desk.press(ui.trainVolumeButton)
    assert options(desk.calls("volume")[0])["--box"] == "2,5,1,6,1,6"  # a diagonal of 5.7 mm
    note = 'The ROI "Part to learn" is turned against the voxels: its bounding box of 4 x 6 x 6 of them is taken.'
    assert ui.volumeTrainingLabel.text == f"{note} 3 scales."


def test_a_training_that_fails_is_told_in_two_lines(desk, ui):
    words = "say(exit_code=1, error='The volume of 2 x 2 x 2 voxels is too small.', advice='Give more of it.')"
    desk.script("volume", f"{words}\nsys.exit(1)")
    before = desk.parameters.model
    desk.press(ui.trainVolumeButton)
    assert [text for text, _ in desk.errors] == ["The volume of 2 x 2 x 2 voxels is too small.\n\nGive more of it."]
    assert desk.parameters.model == before


# drawing --------------------------------------------------------------------------------------------------------------


def test_a_model_of_volumes_brings_its_own_choices_in_place_of_those_for_segments(desk, ui):
    desk.parameters.model, desk.parameters.modelPath = "folder", str(desk.model())
    assert (ui.segmentsWidget.visible, ui.volumesWidget.visible) == (True, False)
    volumeModel(desk)
    assert (ui.segmentsWidget.visible, ui.volumesWidget.visible) == (False, True)
    words = "Draws volumes of 18 x 20 x 22 voxels of about 3.2 mm, in 3 scales. Learnt from one volume."
    assert ui.modelLabel.text == words
    assert tip(ui.generateButton) == "The model that is chosen draws volumes."
    assert tip(ui.judgeCheckBox) == "The model that is chosen in section 3 draws volumes."
    desk.parameters.modelPath = str(desk.folder / "run" / "model")
    assert (ui.segmentsWidget.visible, ui.volumesWidget.visible) == (True, False)
    assert tip(ui.generateVolumesButton) == "Choose a model that was trained on a volume."


def test_what_makes_no_sense_together_is_disabled_with_the_reason(desk, ui):
    volumeModel(desk)
    assert ui.generateVolumesButton.enabled
    assert ui.sizeFactorSpinBox.enabled
    assert (ui.sourceSelector.enabled, tip(ui.sourceSelector)) == (
        False, "A new volume has no source: vary from a scale above 0.",
    )  # fmt: skip
    ui.firstScaleSpinBox.value = 2
    assert ui.sourceSelector.enabled
    assert (ui.sizeFactorSpinBox.enabled, tip(ui.sizeFactorSpinBox)) == (
        False, "Only a new volume has a size of its own: vary from scale 0.",
    )  # fmt: skip
    ui.firstScaleSpinBox.value = 3
    assert (ui.generateVolumesButton.enabled, tip(ui.generateVolumesButton)) == (
        False, "The model has the scales 0 to 2: vary from one of these.",
    )  # fmt: skip
    ui.firstScaleSpinBox.value = 0
    assert ui.firstScaleSpinBox.text == "0: a new volume"
    desk.parameters.volumesPath = ""
    assert tip(ui.generateVolumesButton) == "Choose a folder for the volumes."


@pytest.mark.parametrize(("dimensions", "sizes"), [(3, "1.5"), (2, "1.0,1.5,1.5")])
def test_what_is_asked_of_a_new_volume_reaches_the_child(desk, ui, dimensions, sizes):
    path = volumeModel(desk, dimensions=dimensions)
    desk.script("volume", "sys.exit(2)")
    ui.volumeCountSpinBox.value, ui.sizeFactorSpinBox.value, ui.seedSpinBox.value = 3, 1.5, 42
    ui.sourceSelector.setCurrentNode(desk.parameters.learntVolume)
    desk.press(ui.generateVolumesButton)
    (call,) = desk.calls("volume")
    given = {"--model": path, "--out": desk.parameters.volumesPath, "--count": "3", "--seed": "42"}
    given |= {"--enlarged": sizes, "--first-scale": "0", "--device": "auto"}
    assert options(call) == given
    assert call[-1] == "--overwrite"


def test_what_is_asked_of_a_varied_volume_reaches_the_child(desk, ui):
    volumeModel(desk)
    ui.sizeFactorSpinBox.value, ui.firstScaleSpinBox.value = 1.5, 2
    desk.script("volume", "if '--source' in arguments: assert os.path.isfile(option('--source'))\nsys.exit(2)")
    desk.press(ui.generateVolumesButton)
    given = options(desk.calls("volume")[0])
    assert (given["--first-scale"], given["--enlarged"], "--source" in given) == ("2", "1.0", False)
    ui.sourceSelector.setCurrentNode(desk.parameters.learntVolume)
    desk.press(ui.generateVolumesButton)
    assert options(desk.calls("volume")[1])["--source"].endswith("volume-1.nrrd")
    assert desk.errors == []


def test_the_volumes_come_into_the_scene_beside_the_one_learnt(desk, ui):
    from SkullGANLib.ct.io import write_volume
    from SkullGANLib.ct.volume import Volume
    from SkullGANSlicer import views

    hu = np.arange(512, dtype=np.int16).reshape(8, 8, 8)
    path = write_volume(Volume(hu, (2.0, 2.0, 2.0), (-5.0, 3.0, 9.0)), desk.folder / "made.nrrd")
    volumeModel(desk)
    desk.script("volume", DRAWN % str(path))
    ui.volumeCountSpinBox.value = 2
    drawn = desk.press(ui.generateVolumesButton).value
    assert [np.array_equal(util.arrayFromVolume(node), hu) for node in drawn] == [True, True]
    assert drawn[0].GetOrigin() == (5.0, -3.0, 9.0)
    assert [node.GetAttribute("SkullGAN.modelHash") for node in drawn] == ["abc", "abc"]
    assert slicer.app.layoutManager().layout == views.COMPARISON
    shown = {node.GetLayoutName(): node for node in util.getNodesByClass("vtkMRMLSliceCompositeNode")}
    assert shown["Red"].GetBackgroundVolumeID() == desk.parameters.learntVolume.GetID()
    assert shown["Green"].GetBackgroundVolumeID() == drawn[0].GetID()
    assert ui.segmentsTable.rowCount == 0
    # they are there already: asked first
    slicer_host.answers["confirmYesNoDisplay"] = False
    before = desk.logic.job
    ui.generateVolumesButton.click()
    assert desk.logic.job is before
    assert "holds an earlier result" in slicer_host.shown[-1][1]


def test_a_scene_closed_meanwhile_takes_no_volumes_and_leaves_the_panel_usable(desk, ui):
    path = volumeModel(desk)
    desk.script("volume", "say(value=1, maximum=2, message='Generating')\nwait('go')\nsay(result={'volumes': 'x'})")
    ui.generateVolumesButton.click()
    desk.until(lambda: ui.jobLabel.text.startswith("Generating"))
    slicer.mrmlScene.Clear(0)
    desk.release("go")
    desk.idle()
    assert desk.errors == []
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    desk.parameters.learntVolume = desk.head()
    desk.parameters.model, desk.parameters.modelPath = "folder", path
    assert ui.generateVolumesButton.enabled
