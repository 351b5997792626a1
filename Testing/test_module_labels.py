"""From segmentation node to volume node: label maps in the module's logic, real MRML, real child processes."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from slicer import util
from test_patch_cgan import NAMES, TINY, data, rings  # noqa: F401 a fixture

from SkullGANLib.ct.io import read_volume
from SkullGANLib.ct.label_names import read_labels
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError, SkullGANError
from SkullGANLib.prepare.layers_files import write_labels
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
def segmentations(module):
    from SkullGANSlicer import segmentations

    return segmentations


def turned(degrees=90.0, shift=(5.0, 0.0, -7.0)):
    """A transform node that turns about the patient's long axis and shifts."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix, angle = np.eye(4), np.radians(degrees)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = shift
    node.SetMatrixTransformToParent(util.vtkMatrixFromArray(matrix))
    return node, matrix


def sheared():
    """A transform node that lets slices lie askew above each other, about where the rings are."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[0, 2:] = 0.3, -0.3 * ORIGIN_MM[2]
    node.SetMatrixTransformToParent(util.vtkMatrixFromArray(matrix))
    return node


def bending():
    """A transform node that bends space."""
    bend = vtk.vtkThinPlateSplineTransform()
    bend.SetBasisToR()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for point in np.indices((2, 2, 2)).reshape(3, -1).T * 50.0:
        source.InsertNextPoint(point)
        target.InsertNextPoint(point * [1 + 0.1 * (point[2] > 0), 1, 1])
    bend.SetSourceLandmarks(source)
    bend.SetTargetLandmarks(target)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    node.SetAndObserveTransformToParent(bend)
    return node


def withoutGrid(**boxes):
    """A segmentation that does not know its grid, of filled boxes of 2 mm voxels: name to extent."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "boxes")
    node.CreateDefaultDisplayNodes()
    for name, extent in boxes.items():
        image, segment = slicer.vtkOrientedImageData(), slicer.vtkSegment()
        image.SetExtent(extent)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        image.GetPointData().GetScalars().Fill(1)
        image.SetImageToWorldMatrix(util.vtkMatrixFromArray(np.diag([2.0, 2.0, 2.0, 1.0])))
        segment.SetName(name)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment, name)
    return node


# segmentations as label maps ------------------------------------------------------------------------------------------


def test_segments_become_labels_on_the_grid_they_were_drawn_on(segmentations, labels, segmentation):
    found, names = segmentations.labelMapFromSegmentation(segmentation)
    assert names == {1: "ring", 2: "core"}
    assert (found.spacing_mm, found.origin_mm) == (SPACING_MM, ORIGIN_MM)
    assert np.array_equal(found.hu, np.searchsorted([0, 3, 5], labels.hu))


def test_hidden_segments_are_left_out(segmentations, labels, segmentation):
    display = segmentation.GetDisplayNode()
    ring = segmentation.GetSegmentation().GetSegmentIdBySegmentName("ring")
    display.SetSegmentVisibility(ring, False)
    found, names = segmentations.labelMapFromSegmentation(segmentation)
    assert names == {1: "core"}
    assert np.array_equal(found.hu == 1, labels.hu == 5)


def test_transforms_of_the_segmentation_and_of_the_volume_both_count(segmentations, labels, segmentation):
    from SkullGANSlicer import scene

    transform, matrix = turned()
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    found, _ = segmentations.labelMapFromSegmentation(segmentation)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    np.testing.assert_allclose(found.index_to_lps, flip @ matrix @ flip @ labels.index_to_lps, atol=1e-6)
    volume = scene.showVolume(Volume(np.zeros(labels.shape, np.int16), SPACING_MM, ORIGIN_MM), name="grid")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    same, _ = segmentations.labelMapFromSegmentation(segmentation, volume)
    assert np.array_equal(same.hu, np.searchsorted([0, 3, 5], labels.hu))


def test_segmentations_that_cannot_be_drawn_are_refused_in_words(segmentations, segmentation):
    with pytest.raises(InputError, match="No segmentation is chosen"):
        segmentations.labelMapFromSegmentation(None)
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing")
    with pytest.raises(InputError, match="0 visible segments"):
        segmentations.labelMapFromSegmentation(empty)
    empty.GetSegmentation().AddEmptySegment("a", "a")
    with pytest.raises(InputError, match='"nothing"'):
        segmentations.labelMapFromSegmentation(empty)
    with pytest.raises(InputError, match="segmentation node"):
        segmentations.labelMapFromSegmentation(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))


def test_labels_of_sheared_grids_are_refused(segmentations, labels, segmentation):
    from SkullGANSlicer import scene

    volume = scene.showVolume(Volume(np.zeros(labels.shape, np.int16), SPACING_MM, ORIGIN_MM), name="ct")
    transform = sheared()
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match='"drawn by hand" are sheared') as error:
        segmentations.labelMapFromSegmentation(segmentation)
    assert "CT volume it belongs to" in error.value.advice
    assert segmentations.labelMapFromSegmentation(segmentation, volume)[0].shape == labels.shape
    volume.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match='"ct" are sheared'):
        segmentations.labelMapFromSegmentation(segmentation, volume)


def test_segments_that_lie_outside_are_told_from_empty_ones(segmentations, labels, segmentation):
    from SkullGANSlicer import scene

    elsewhere = Volume(np.zeros(labels.shape, np.int16), SPACING_MM, (900.0, 0.0, 0.0))
    with pytest.raises(InputError, match='"drawn by hand" are empty or lie outside of "ct"') as error:
        segmentations.labelMapFromSegmentation(segmentation, scene.showVolume(elsewhere, name="ct"))
    assert "same place" in error.value.advice
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    node = withoutGrid(box=[0, 3, 0, 3, 0, 3])
    node.GetSegmentation().SetConversionParameter(name, "1;0;0;500;0;1;0;0;0;0;1;0;0;0;0;1;0;9;0;9;0;9;")
    with pytest.raises(InputError, match="outside of its own grid"):
        segmentations.labelMapFromSegmentation(node)


def test_a_segmentation_of_no_grid_gets_that_of_its_visible_segments_with_a_margin(segmentations):
    node = withoutGrid(near=[4, 6, 5, 8, -2, 2], far=[90, 99, 5, 8, -2, 2])
    node.GetDisplayNode().SetSegmentVisibility("far", False)
    found, names = segmentations.labelMapFromSegmentation(node)
    assert names == {1: "near"}
    assert found.spacing_mm == (2, 2, 2)
    assert found.shape == (7, 6, 5)
    assert (found.hu[1:-1, 1:-1, 1:-1] == 1).all()
    assert found.hu.sum() == 5 * 4 * 3
    np.testing.assert_allclose(found.zyx_to_lps([1, 1, 1]), (-8, -10, -4))  # the box's own first voxel


def test_a_segment_without_a_name_is_called_by_its_id(segmentations, segmentation):
    core = segmentation.GetSegmentation().GetSegmentIdBySegmentName("core")
    segmentation.GetSegmentation().GetSegment(core).SetName("  ")
    assert segmentations.labelMapFromSegmentation(segmentation)[1] == {1: "ring", 2: core}


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
    assert [node.GetAttribute("SkullGAN.seed") for node in (one, two)] == ["4", "5"]  # each with its own
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
    (drawn,) = logic.generateFromLabels(run, node, names={"table": "ring", "core": ""}, device="cpu")
    hu = util.arrayFromVolume(drawn)
    assert hu[labels.hu == 3].mean() > 500
    assert hu[labels.hu == 5].mean() < -500  # left out


@pytest.mark.parametrize(
    ("suffix", "names"),
    [
        (".seg.nrrd", {"table": "ring", "core": ""}),
        (".nii.gz", {"3": "ring", "5": ""}),  # which does not name its labels
        (".nrrd", {3: "ring", 5: ""}),
    ],
)
def test_labels_of_a_file_are_told_by_name_or_by_value(logic, run, labels, tmp_path, suffix, names):
    file = write_labels(labels, tmp_path / f"labels{suffix}", {3: "table", 5: "core"})
    (drawn,) = logic.generateFromLabels(run, str(file), names=names, device="cpu")
    hu = util.arrayFromVolume(drawn)
    assert hu[labels.hu == 3].mean() > 500
    assert hu[labels.hu == 5].mean() < -500  # left out


def test_any_words_reach_the_model_as_they_are(logic, run, labels):
    from SkullGANSlicer import scene

    node = scene.showLabels(labels, {3: "table, outer=1", 5: "core"}, name="any words")
    core = node.GetSegmentation().GetSegmentIdBySegmentName("core")
    node.GetSegmentation().GetSegment(core).SetName("")
    with pytest.raises(SkullGANError) as error:
        logic.generateFromLabels(run, node, device="cpu")
    assert f"does not know the labels table, outer=1 (1), {core} (2);" in error.value.message


def test_slicer_and_the_library_read_segments_of_any_words_with_colours_that_differ(module, tmp_path):
    values = np.zeros((3, 4, 5), np.uint8)
    words = {1: 'a, b=c; "q"', 2: "äußere Tafel – 骨", 3: "back\\slash", 4: "two\n lines", 7: "", 9: "nowhere"}
    values[1, :, 1:3] = np.array([1, 2, 3, 4])[:, None]
    values[2, 0, 0] = 7
    path = write_labels(Volume(values), tmp_path / "labels.seg.nrrd", words)
    expected = {**words, 4: "two lines", 7: "label 7"}
    del expected[9]
    found, names = read_labels(path)
    assert names == expected
    assert np.array_equal(found.hu, values)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    segments = [node.GetSegmentation().GetNthSegment(k) for k in range(node.GetSegmentation().GetNumberOfSegments())]
    assert {segment.GetLabelValue(): segment.GetName() for segment in segments} == expected
    assert len({segment.GetColor() for segment in segments}) == len(expected)


# layers of a head -----------------------------------------------------------------------------------------------------


def test_a_head_below_a_transform_that_bends_space_is_not_segmented(logic, labels):
    from SkullGANSlicer import scene

    volume = scene.showVolume(Volume(np.zeros(labels.shape, np.int16)), name="ct")
    volume.SetAndObserveTransformNodeID(bending().GetID())
    with pytest.raises(InputError, match='"ct" lies below a transform that bends space') as error:
        logic.headLabels(volume)
    assert "Harden" in error.value.advice
    assert logic.job is None or logic.job.title != "Layers of the head"


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
    assert dataset.meta.kind == "real"
    with pytest.raises(InputError, match="no pair"):
        logic.importPairs([], tmp_path / "none")
    with pytest.raises(InputError, match="No volume is chosen"):
        logic.importPairs([(None, segmentation)], tmp_path / "none")


def test_structures_of_a_data_set_are_called_as_the_segments_whatever_their_words(logic, labels, tmp_path):
    from SkullGANSlicer import scene

    volume = scene.showVolume(Volume(np.where(labels.hu > 0, 500, -1000).astype(np.int16), SPACING_MM), name="ct")
    node = scene.showLabels(Volume(labels.hu, SPACING_MM), {5: "core", 3: "table, outer=1"}, name="any words")
    core = node.GetSegmentation().GetSegmentIdBySegmentName("core")
    node.GetSegmentation().GetSegment(core).SetName(" ")
    dataset = logic.importPairs([(volume, node)], tmp_path / "any", size=64)
    assert dataset.labels("structures") == {1: core, 2: "table, outer=1"}
    dataset = logic.importPairs([(volume, node)], tmp_path / "one", size=64, names={core: "", "table, outer=1": "ring"})
    assert list(dataset.labels("structures").values()) == ["ring"]


def test_structures_of_several_patients_are_told_apart_by_name(logic, labels, tmp_path):
    from SkullGANSlicer import scene

    pairs, hu = [], np.where(labels.hu == 3, 800, np.where(labels.hu == 5, 100, -1000)).astype(np.int16)
    for number, order in enumerate(({3: "ring", 5: "core"}, {5: "core", 3: "ring"})):
        volume = scene.showVolume(Volume(hu + np.int16(number), SPACING_MM), name="ct")
        pairs.append((volume, scene.showLabels(Volume(labels.hu, SPACING_MM), order, name="segments")))
    dataset = logic.importPairs(pairs, tmp_path / "two", size=64)
    assert dataset.labels("structures") == {1: "ring", 2: "core"}
    assert len(set(dataset.table["subject"])) == 2
    masks, inside = dataset.label_sets["structures"], dataset.hu > 600
    assert (masks[inside] == 1).all()


def test_the_kind_of_a_data_set_is_that_of_its_volumes_or_as_it_is_said(logic, run, labels, segmentation, tmp_path):
    from SkullGANSlicer import scene, scene_volumes

    real = scene.showVolume(Volume(np.full(labels.shape, 40, np.int16), SPACING_MM, ORIGIN_MM), name="ct")
    (drawn,) = logic.generateFromLabels(run, segmentation, device="cpu")
    made = {"size": 64, "overwrite": True}
    assert logic.importPairs([(drawn, segmentation)], tmp_path / "set", **made).meta.kind == "synthetic"
    both = [(drawn, segmentation), (real, segmentation)]
    with pytest.raises(InputError, match="several kinds: real, synthetic"):
        logic.importPairs(both, tmp_path / "set", **made)
    assert logic.importPairs(both, tmp_path / "set", kind="artificial", **made).meta.kind == "artificial"
    real.SetAttribute("SkullGAN.kind", "phantom head")
    vault = scene.showVolume(Volume(np.full(labels.shape, 40, np.int16)), name="part of it")
    vault.SetAttribute("SkullGAN.kind", "calvarium")
    assert scene_volumes.datasetKind(vault) == "real"
    scene_volumes.refer(vault, real)
    assert scene_volumes.datasetKind(vault) == "phantom"


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
