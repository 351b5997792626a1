"""Where things lie: nodes under transforms against the library's LPS volumes, checked against sums done by hand."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest
import slicer
import vtk
from scipy.spatial.transform import Rotation
from slicer import util
from vtk.util.numpy_support import numpy_to_vtk

import slicer_host
from SkullGANLib.cli.prepare import read_head_frame
from SkullGANLib.errors import InputError

sys.path.append(str(slicer_host.MODULE_FOLDER))
from SkullGANSlicer import geometry, segmentations

TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(autouse=True)
def host():
    slicer_host.start(gui=False)
    slicer_host.reset()


def matrix(rotation_deg=(0, 0, 0), shift_mm=(0, 0, 0), scale=(1, 1, 1)):
    made = np.eye(4)
    made[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix() * np.array(scale, float)
    made[:3, 3] = shift_mm
    return made


def transform(to_parent, parent=None):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(util.vtkMatrixFromArray(to_parent))
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def volume(values, ijk_to_ras=None, parent=None, kind="vtkMRMLScalarVolumeNode"):
    node = slicer.mrmlScene.AddNewNodeByClass(kind, "head")
    util.updateVolumeFromArray(node, values)
    node.SetIJKToRASMatrix(util.vtkMatrixFromArray(np.eye(4) if ijk_to_ras is None else ijk_to_ras))
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def box(values, ijk_to_ras, name="box", node=None):
    """A segment of a segmentation node where an array is not 0."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(values.shape[::-1])
    image.SetImageToWorldMatrix(util.vtkMatrixFromArray(ijk_to_ras))
    scalars = numpy_to_vtk(values.astype(np.uint8).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.AddRepresentation("Binary labelmap", image)
    node = node or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "skull")
    node.CreateDefaultDisplayNodes()
    node.GetSegmentation().AddSegment(segment, name)
    return node


def test_a_whole_ct_comes_without_a_copy():
    node = volume(np.zeros((140, 512, 512), np.int16))
    found = geometry.volumeFromNode(node)
    assert found.hu.dtype == np.int16
    assert np.shares_memory(found.hu, util.arrayFromVolume(node))


def test_ras_becomes_lps():
    ijk_to_ras = np.diag([0.5, -0.6, 2.0, 1.0])
    ijk_to_ras[:3, 3] = 10, 20, 30
    found = geometry.volumeFromNode(volume(np.zeros((2, 3, 4), np.int16), ijk_to_ras))
    assert found.spacing_mm == pytest.approx((0.5, 0.6, 2.0))
    assert found.origin_mm == pytest.approx((-10, -20, 30))
    np.testing.assert_allclose(found.direction, np.diag([-1, 1, 1]), atol=1e-12)


def test_all_parent_transforms_are_folded_in():
    outer = transform(matrix((10, -20, 30), (5, 6, 7)))
    inner = transform(matrix((-40, 15, 5), (-3, 2, 1)), outer)
    ijk_to_ras = matrix((3, 4, 5), (11, 12, 13), (0.5, 0.5, 1.25))
    node = volume(np.zeros((3, 4, 5), np.float32), ijk_to_ras, inner)
    found = geometry.volumeFromNode(node)
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld((ijk_to_ras @ [4, 3, 2, 1])[:3], world)
    np.testing.assert_allclose(found.zyx_to_lps([2, 3, 4]), np.array(world) * (-1, -1, 1), atol=1e-9)
    assert found.spacing_mm == pytest.approx((0.5, 0.5, 1.25))
    assert np.shares_memory(found.hu, util.arrayFromVolume(node))


def test_what_set_geometry_writes_volume_from_node_reads():
    node = volume(np.zeros((3, 4, 5), np.int16))
    index_to_lps = matrix((30, -12, 7), (1, -2, 3), (0.7, 0.8, 2.0))
    geometry.setGeometry(node, index_to_lps)
    np.testing.assert_allclose(geometry.volumeFromNode(node).index_to_lps, index_to_lps, atol=1e-9)
    stored = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(stored)
    np.testing.assert_allclose(util.arrayFromVTKMatrix(stored), TO_LPS @ index_to_lps, atol=1e-9)


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        (np.uint8, 3, np.uint8),
        (np.int32, -1024, np.int16),
        (np.uint16, 60000, np.float32),
        (np.float64, 0.5, np.float32),
    ],
)
def test_other_number_types_become_those_of_the_library(dtype, value, expected):
    found = geometry.volumeFromNode(volume(np.full((2, 2, 2), value, dtype)))
    assert found.hu.dtype == expected
    assert (found.hu == value).all()


def test_a_transform_that_bends_space_is_followed_on_a_copy():
    values = np.zeros((40, 40, 40), np.int16)
    values[17:20, 9:12, 24:27] = 1000
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for point in np.indices((2, 2, 2)).reshape(3, -1).T * 39.0:
        source.InsertNextPoint(point)
        target.InsertNextPoint(point + np.array([6 * (point[2] > 0), 0, -5 * (point[0] > 0) * (point[1] > 0)]))
    bend = vtk.vtkThinPlateSplineTransform()
    bend.SetBasisToR()
    bend.SetSourceLandmarks(source)
    bend.SetTargetLandmarks(target)
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    parent.SetAndObserveTransformToParent(bend)
    node = volume(values, None, parent)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    found = geometry.volumeFromNode(node)
    gc.collect()
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert (util.arrayFromVolume(node) == values).all()
    weights = found.hu / found.hu.sum()
    middle = found.zyx_to_lps([(weights * index).sum() for index in np.indices(found.shape)])
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld([25, 10, 18], world)
    assert np.linalg.norm(np.array(world) - [25, 10, 18]) > 2
    np.testing.assert_allclose(middle, np.array(world) * (-1, -1, 1), atol=0.3)


def test_a_sheared_grid_is_refused():
    with pytest.raises(InputError, match="sheared"):
        geometry.volumeFromNode(
            volume(np.zeros((2, 2, 2), np.int16), matrix((0, 0, 30)), transform(matrix(scale=(1, 2, 1))))
        )


def test_a_scaled_grid_is_no_sheared_one():
    node = volume(np.zeros((2, 2, 2), np.int16), None, transform(matrix(scale=(1, 2, 3))))
    assert geometry.volumeFromNode(node).spacing_mm == pytest.approx((1, 2, 3))


def test_nodes_without_a_ct_are_refused_in_words():
    with pytest.raises(InputError, match="No volume is chosen"):
        geometry.volumeFromNode(None)
    with pytest.raises(InputError, match="holds no image"):
        geometry.volumeFromNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))
    with pytest.raises(InputError, match="colour image"):
        geometry.volumeFromNode(volume(np.zeros((2, 2, 2, 3), np.uint8), kind="vtkMRMLVectorVolumeNode"))


def test_labels_of_a_segmentation_follow_both_transforms():
    """A box of 20 x 24 x 28 mm, turned one way, on the grid of a volume turned another way."""
    filled = np.zeros((40, 40, 40), np.uint8)
    filled[6:34, 8:32, 10:30] = 1
    box_to_world = matrix((15, 25, -10), (4, -3, 2))
    skull = box(filled, np.eye(4))
    skull.SetAndObserveTransformNodeID(transform(box_to_world).GetID())
    ijk_to_ras, to_world = matrix(scale=(0.8, 0.9, 1.5)), matrix((-20, 10, 30))
    to_world[:3, 3] = (box_to_world @ [19.5, 19.5, 19.5, 1] - to_world @ ijk_to_ras @ [35, 30, 20, 1])[:3]
    node = volume(np.zeros((40, 60, 70), np.int16), ijk_to_ras, transform(to_world))
    labels = segmentations.labelsFromSegmentation(skull, node)
    assert labels.dtype == np.uint8
    k, j, i = np.indices(labels.shape)
    back = np.linalg.inv(box_to_world) @ to_world @ ijk_to_ras

    def inside(offset):
        x, y, z = np.einsum("ab,b...->a...", back, np.stack([i + offset, j + offset, k + offset, np.ones_like(i)]))[:3]
        return (abs(x - 19.5) < 10) & (abs(y - 19.5) < 12) & (abs(z - 19.5) < 14)

    def dice(truth):
        return 2 * (truth & (labels > 0)).sum() / (truth.sum() + labels.sum())

    assert labels.sum() * 0.8 * 0.9 * 1.5 == pytest.approx(20 * 24 * 28, rel=0.02)
    assert dice(inside(0)) > 0.995
    assert dice(inside(0.5)) < 0.98


def test_visible_segments_are_united_and_the_hidden_left_out():
    node = volume(np.zeros((6, 6, 6), np.int16))
    parts = np.zeros((3, 6, 6, 6), np.uint8)
    parts[0, 1:3], parts[1, 2:4], parts[2, 5] = 1, 1, 1
    skull = None
    for index, part in enumerate(parts):
        skull = box(part, np.eye(4), f"part {index}", skull)
    skull.GetDisplayNode().SetSegmentVisibility("part 2", False)
    labels = segmentations.labelsFromSegmentation(skull, node)
    np.testing.assert_array_equal(labels, parts[:2].any(0))
    np.testing.assert_array_equal(segmentations.labelsFromSegmentation(skull, node, ["part 2"]), parts[2])


def test_an_empty_segmentation_is_refused_with_advice():
    node = volume(np.zeros((6, 6, 6), np.int16))
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "skull")
    with pytest.raises(InputError, match="no visible segment") as error:
        segmentations.labelsFromSegmentation(empty, node)
    assert error.value.advice
    with pytest.raises(InputError, match="No segmentation"):
        segmentations.labelsFromSegmentation(None, node)
    elsewhere = box(np.ones((3, 3, 3)), matrix(shift_mm=(100, 0, 0)))
    with pytest.raises(InputError, match="outside"):
        segmentations.labelsFromSegmentation(elsewhere, node)
    with pytest.raises(InputError, match='no segment "brain"'):
        segmentations.labelsFromSegmentation(elsewhere, node, ["brain"])
    empty.GetSegmentation().AddEmptySegment("nothing")
    with pytest.raises(InputError, match="empty"):
        segmentations.labelsFromSegmentation(empty, node)


def test_labels_fit_the_volume_also_where_a_transform_bends_space():
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    bend = vtk.vtkThinPlateSplineTransform()
    bend.SetBasisToR()
    for points, stretch in ((vtk.vtkPoints(), 1.0), (vtk.vtkPoints(), 1.5)):
        for point in np.indices((2, 2, 2)).reshape(3, -1).T * 5.0:
            points.InsertNextPoint(point * [stretch, 1, 1])
        bend.SetSourceLandmarks(points) if stretch == 1 else bend.SetTargetLandmarks(points)
    parent.SetAndObserveTransformToParent(bend)
    node = volume(np.zeros((6, 6, 6), np.int16), None, parent)
    labels = segmentations.labelsFromSegmentation(box(np.ones((6, 6, 2)), np.eye(4)), node)
    found = geometry.volumeFromNode(node)
    assert labels.shape == found.shape != (6, 6, 6)
    inside = found.zyx_to_lps(np.argwhere(labels))[:, 0]  # x runs to the right, so down in LPS
    assert inside.min() >= -1.5
    assert inside.max() <= 0.5


@pytest.mark.parametrize("suffix", ["tfm", "h5"])
def test_a_head_frame_is_the_one_that_prepare_reads_from_the_saved_transform(tmp_path, suffix):
    node = transform(matrix((20, -30, 40), (7, 8, 9)))
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(tmp_path / f"head.{suffix}"))
    assert storage.WriteData(node)
    found = geometry.headFrameFromTransform(node)
    np.testing.assert_allclose(found, read_head_frame(tmp_path / f"head.{suffix}"), atol=1e-6)
    np.testing.assert_allclose(found, TO_LPS @ matrix((20, -30, 40), (7, 8, 9)) @ TO_LPS, atol=1e-9)
    assert not np.allclose(found, np.linalg.inv(found), atol=0.1)


def test_the_head_frame_of_a_nested_transform_is_its_place_in_the_world():
    outer, inner = matrix((0, 0, 90), (1, 2, 3)), matrix((15, 0, 0), (0, 0, 50))
    found = geometry.headFrameFromTransform(transform(inner, transform(outer)))
    np.testing.assert_allclose(found, TO_LPS @ outer @ inner @ TO_LPS, atol=1e-9)


def test_only_a_rigid_transform_is_a_head_frame():
    for bad in (transform(matrix(scale=(1, 1, 1.1))), transform(matrix(scale=(-1, 1, 1)))):
        with pytest.raises(InputError, match="not a rigid"):
            geometry.headFrameFromTransform(bad)
    grid = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "bent")
    with pytest.raises(InputError, match="not a rigid"):
        geometry.headFrameFromTransform(grid)
    with pytest.raises(InputError, match="No transform"):
        geometry.headFrameFromTransform(None)


def test_the_matrix_of_a_segment_goes_by_pixels_along_its_own_axes():
    corner, right, down = [10.0, -20.0, 30.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]
    row = {f"{part}_{a}": v for part, xs in zip(("corner", "right", "down"), (corner, right, down), strict=True)
           for a, v in zip("xyz", xs, strict=True)}  # fmt: skip
    found = geometry.segmentMatrix(row, 0.45, 2.0)
    np.testing.assert_allclose(found @ [0, 0, 0, 1], [*corner, 1])
    np.testing.assert_allclose(found @ [127, 0, 0, 1], [10, -20 + 127 * 0.45, 30, 1])
    np.testing.assert_allclose(found @ [0, 10, 0, 1], [10, -20, 30 - 4.5, 1])
    np.testing.assert_allclose(found @ [0, 0, 1, 0], [-2, 0, 0, 0])
    with pytest.raises(InputError, match="no place"):
        geometry.segmentMatrix({**row, "down_y": np.nan}, 0.45, 2.0)
    with pytest.raises(InputError, match="no place"):
        geometry.segmentMatrix({"region": "parietal"}, 0.45, 2.0)
