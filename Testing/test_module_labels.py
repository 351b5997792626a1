"""From segmentation node to volume node: label maps in the module's logic, real MRML, real child processes."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from slicer import util
from test_patch_cgan import NAMES, TINY, data, rings  # noqa: F401 a fixture

from SkullGANLib.ct.io import read_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError, SkullGANError
from SkullGANLib.train.options import load_options
from SkullGANLib.train.run import train

SPACING_MM, ORIGIN_MM = (2.0, 2.0, 3.0), (130.0, -90.0, 210.0)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):  # noqa: F811
    return train(
        load_options("patch-small", {**TINY, "data": [data.path], "out": tmp_path_factory.mktemp("x") / "run"})
    )


@pytest.fixture(scope="module")
def labels():
    masks = rings(5, seed=11)[1]
    masks[:2, 20:] = 0  # another shape in each direction
    return Volume(masks, SPACING_MM, ORIGIN_MM)


@pytest.fixture
def segmentation(module, labels):
    from SkullGANSlicer import scene

    return scene.showLabels(labels, NAMES, name="drawn by hand")


@pytest.fixture
def geometry(module):
    from SkullGANSlicer import geometry

    return geometry


def turned(degrees=90.0, shift=(5.0, 0.0, -7.0)):
    """A transform node that turns about the patient's long axis and shifts."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix, angle = np.eye(4), np.radians(degrees)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = shift
    node.SetMatrixTransformToParent(util.vtkMatrixFromArray(matrix))
    return node, matrix


# segmentations as label maps ------------------------------------------------------------------------------------------


def test_segments_become_labels_on_the_grid_they_were_drawn_on(geometry, labels, segmentation):
    found, names = geometry.labelMapFromSegmentation(segmentation)
    assert names == {1: "ring", 2: "core"}
    assert (found.spacing_mm, found.origin_mm) == (SPACING_MM, ORIGIN_MM)
    assert np.array_equal(found.hu, np.searchsorted([0, 3, 5], labels.hu))


def test_hidden_segments_are_left_out(geometry, labels, segmentation):
    display = segmentation.GetDisplayNode()
    ring = segmentation.GetSegmentation().GetSegmentIdBySegmentName("ring")
    display.SetSegmentVisibility(ring, False)
    found, names = geometry.labelMapFromSegmentation(segmentation)
    assert names == {1: "core"}
    assert np.array_equal(found.hu == 1, labels.hu == 5)


def test_transforms_of_the_segmentation_and_of_the_volume_both_count(geometry, labels, segmentation):
    from SkullGANSlicer import scene

    transform, matrix = turned()
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    found, _ = geometry.labelMapFromSegmentation(segmentation)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    np.testing.assert_allclose(found.index_to_lps, flip @ matrix @ flip @ labels.index_to_lps, atol=1e-6)
    volume = scene.showVolume(Volume(np.zeros(labels.shape, np.int16), SPACING_MM, ORIGIN_MM), name="grid")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    same, _ = geometry.labelMapFromSegmentation(segmentation, volume)
    assert np.array_equal(same.hu, np.searchsorted([0, 3, 5], labels.hu))


def test_segmentations_that_cannot_be_drawn_are_refused_in_words(geometry, segmentation):
    with pytest.raises(InputError, match="No segmentation is chosen"):
        geometry.labelMapFromSegmentation(None)
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing")
    with pytest.raises(InputError, match="0 visible segments"):
        geometry.labelMapFromSegmentation(empty)
    empty.GetSegmentation().AddEmptySegment("a", "a")
    with pytest.raises(InputError, match='"nothing"'):
        geometry.labelMapFromSegmentation(empty)
    with pytest.raises(InputError, match="segmentation node"):
        geometry.labelMapFromSegmentation(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))


# CT from segmentations ------------------------------------------------------------------------------------------------


def test_ct_of_a_segmentation_comes_where_it_lies(logic, run, labels, segmentation, tmp_path):
    one, two = logic.generateFromLabels(run, segmentation, count=2, seed=4, out=tmp_path / "ct", device="cpu")
    hu = util.arrayFromVolume(one)
    assert hu.shape == labels.shape
    assert np.array_equal(hu, read_volume(tmp_path / "ct" / "volume-0001.nrrd", labels=True).hu)
    assert hu[labels.hu == 3].mean() > 500 > 350 > hu[labels.hu == 5].mean() > -200
    assert hu[labels.hu == 0].mean() < -800
    assert (hu != util.arrayFromVolume(two)).any()
    assert one.GetOrigin() == pytest.approx((-130, 90, 210))
    assert one.GetAttribute("SkullGAN.seed") == "4"
    assert one.GetAttribute("SkullGAN.family") == "patch-cgan"
    assert one.GetNodeReference("SkullGAN.source") is segmentation
    again = logic.generateFromLabels(run, segmentation, seed=4, device="cpu")[0]
    assert np.array_equal(util.arrayFromVolume(again), hu)


def test_ct_comes_on_the_grid_of_a_volume_where_one_is_given(logic, run, labels, segmentation):
    from SkullGANSlicer import scene

    grid = Volume(np.zeros((8, 40, 36), np.int16), (2.0, 2.0, 3.0), tuple(np.subtract(ORIGIN_MM, (4, 6, 3)).tolist()))
    volume = scene.showVolume(grid, name="grid")
    (node,) = logic.generateFromLabels(run, segmentation, volume=volume, device="cpu")
    hu = util.arrayFromVolume(node)
    assert hu.shape == grid.shape
    inside = hu[1:6, 3:35, 2:34]
    assert inside[labels.hu == 3].mean() > 500
    assert hu[7].mean() < -800  # beyond the segmentation


def test_an_edit_of_the_segmentation_changes_the_ct_there(logic, run, labels, segmentation):
    from SkullGANSlicer import scene

    edited = labels.hu.copy()
    edited[:, :, 16:] = np.where(edited[:, :, 16:] == 5, 3, edited[:, :, 16:])  # half of the core becomes ring
    other = scene.showLabels(Volume(edited, SPACING_MM, ORIGIN_MM), NAMES, name="edited")
    before, after = (
        util.arrayFromVolume(logic.generateFromLabels(run, each, seed=1, device="cpu")[0]).astype(float)
        for each in (segmentation, other)
    )
    changed = edited != labels.hu
    assert (after - before)[changed].mean() > 300
    assert np.abs((after - before)[:, :, :10]).mean() < 30


def test_segments_of_other_names_are_told_or_refused(logic, run, labels):
    from SkullGANSlicer import scene

    node = scene.showLabels(labels, {3: "table", 5: "core"}, name="other names")
    with pytest.raises(SkullGANError, match=r"does not know the labels table \(1\); it knows: ring, core"):
        logic.generateFromLabels(run, node, device="cpu")
    (drawn,) = logic.generateFromLabels(run, node, names={"table": "ring"}, device="cpu")
    assert util.arrayFromVolume(drawn)[labels.hu == 3].mean() > 500


# data sets from the scene ---------------------------------------------------------------------------------------------


def test_a_volume_and_its_segmentation_become_slices_to_train_on(logic, labels, segmentation, tmp_path):
    from SkullGANSlicer import scene

    hu = np.where(labels.hu == 3, 800, np.where(labels.hu == 5, 100, -1000)).astype(np.int16)
    volume = scene.showVolume(Volume(hu, SPACING_MM, ORIGIN_MM), name="ct")
    dataset = logic.importPairs([(volume, segmentation)], tmp_path / "slices", size=64, spacing_mm=2.0)
    assert dataset.labels("structures") == {1: "ring", 2: "core"}
    assert len(dataset) == 5
    masks = dataset.label_sets["structures"]
    assert dataset.hu[masks == 1].mean() == pytest.approx(800, abs=80)
    assert dataset.hu[masks == 2].mean() == pytest.approx(100, abs=80)
    with pytest.raises(InputError, match="no pair"):
        logic.importPairs([], tmp_path / "none")


def test_a_model_is_compared_label_by_label_into_a_table(logic, run, data, tmp_path):  # noqa: F811
    from SkullGANSlicer.scene import tableColumns

    table = logic.evaluateLabels(run, data.path, tmp_path / "report", device="cpu")
    columns = tableColumns(table)
    rows = zip(*(columns[name] for name in ("label", "figure", "number")), strict=True)
    of = {(label, figure): value for label, figure, value in rows}
    assert of["ring", "mean_real"] == pytest.approx(800, abs=40)
    assert of["ring", "mean_generated"] == pytest.approx(800, abs=200)
    assert of["core", "dice_real"] > 0.8
    assert (tmp_path / "report" / "report.html").is_file()
