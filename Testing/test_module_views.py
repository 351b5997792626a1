"""What slice views show, taken from the pixels and matrices of real slice logics."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import slicer
import vtk
from scipy.spatial.transform import Rotation
from slicer import util
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

import slicer_host
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError

sys.path.append(str(slicer_host.MODULE_FOLDER))
from SkullGANSlicer import geometry, scene, views

OBLIQUE = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix()


@pytest.fixture
def slices():
    """The logics of the red, green and yellow slice views, by name."""
    made = slicer_host.sliceLogics()
    for logic in made.values():
        node = logic.GetSliceNode()
        node.SetFieldOfView(250, 250 / 1.5, 1)
        node.SetXYZOrigin(0, 0, 0)
    return made


@pytest.fixture
def bare(slices, monkeypatch):
    """A scene without an application around it."""
    monkeypatch.delattr(slicer, "app")
    monkeypatch.setattr(slicer, "mrmlScene", slicer.vtkMRMLScene())
    return slicer.mrmlScene


def grey(node):
    """Slicer starts with a grey colour table; the bare scene has none."""
    colours = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode")
    colours.SetTypeToGrey()
    node.GetDisplayNode().SetAndObserveColorNodeID(colours.GetID())
    return node


def picture(logic):
    """(rows, columns, 4) what a slice view shows, first row on top."""
    logic.UpdatePipeline()
    producer = logic.GetImageDataConnection().GetProducer()
    producer.Update()
    image = producer.GetOutputDataObject(0)
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1]


def row_of(index_to_lps):
    """The columns of a segment's place, for pixels of 1 mm."""
    vectors = {"corner": index_to_lps[:3, 3], "right": index_to_lps[:3, 0], "down": index_to_lps[:3, 1]}
    return {f"{part}_{axis}": v for part, xs in vectors.items() for axis, v in zip("xyz", xs, strict=True)}


def placed(shift=(30.0, -40.0, 50.0)):
    oblique = np.eye(4)
    oblique[:3, :3], oblique[:3, 3] = OBLIQUE, shift
    return row_of(oblique)


def test_the_red_view_shows_the_first_row_on_top_and_the_first_column_left(slices):
    hu = np.zeros((3, 8, 8), np.int16)
    hu[1] = 300 * np.arange(8)[:, None] + 30 * np.arange(8)
    node = grey(scene.showSegments(hu, 0.45, name="segments"))
    views.showVolume(node)
    views.jumpToSlice(node, 1)
    shown = picture(slices["Red"])
    pixel = 1 / slices["Red"].GetSliceNode().GetXYToRAS().GetElement(1, 1) * 0.45
    at = (np.arange(8) - 3.5) * pixel
    seen = shown[np.ix_(np.round(99.5 + at).astype(int), np.round(149.5 + at).astype(int))][..., 0]
    np.testing.assert_allclose(seen, hu[1] / 2700 * 255, atol=1.5)
    views.jumpToSlice(node, 2)
    assert picture(slices["Red"])[..., 0].max() == 0


@pytest.mark.parametrize("mode", ["colour", "grey", "clear"])
def test_a_picture_stands_upright_in_its_colours(tmp_path, slices, mode):
    pixels = np.zeros((6, 9, {"colour": 3, "grey": 1, "clear": 4}[mode]), np.uint8)
    pixels[0], pixels[:, 0], pixels[-1, -1] = 200, 90, 255
    if mode != "grey":
        pixels[0, :, 1] = 40
    flipped = np.ascontiguousarray(pixels[::-1])
    image = vtk.vtkImageData()
    image.SetDimensions(9, 6, 1)
    image.GetPointData().SetScalars(numpy_to_vtk(flipped.reshape(54, -1), deep=True))
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(tmp_path / "violin.png"))
    writer.SetInputData(image)
    writer.Write()
    node = scene.showPicture(tmp_path / "violin.png", name="Distributions")
    node.GetDisplayNode().SetInterpolate(False)
    views.showVolume(node)
    views.jumpToSlice(node, 0)
    shown = picture(slices["Red"])
    pixel = 1 / slices["Red"].GetSliceNode().GetXYToRAS().GetElement(1, 1)
    rows = np.round(99.5 + (np.arange(6) - 2.5) * pixel).astype(int)
    columns = np.round(149.5 + (np.arange(9) - 4.0) * pixel).astype(int)
    expected = np.repeat(pixels, 3, axis=2) if mode == "grey" else pixels[..., :3]
    np.testing.assert_allclose(shown[np.ix_(rows, columns)][..., :3], expected, atol=1)


def on_screen(node, lps):
    """Pixels from the left, pixels from the top and mm off the plane of a position in a slice view."""
    ras_to_xy = np.linalg.inv(util.arrayFromVTKMatrix(node.GetXYToRAS()))
    x, y, _ = (ras_to_xy @ [*(np.asarray(lps) * (-1, -1, 1)), 1])[:3]
    slice_to_ras = util.arrayFromVTKMatrix(node.GetSliceToRAS())
    off = (np.asarray(lps) * (-1, -1, 1) - slice_to_ras[:3, 3]) @ slice_to_ras[:3, 2]
    return x, node.GetDimensions()[1] - y, off


def test_the_red_view_turns_into_the_plane_of_the_cut(slices):
    row = placed()
    to_lps = geometry.segmentMatrix(row, 0.45, 1.0)
    red = slices["Red"].GetSliceNode()
    red.SetXYZOrigin(40, 30, 0)  # as after panning
    views.jumpToSegment(row, 0.45, 128)
    pixel_mm = 80 / 200
    for (i, j), side in {(0, 0): (-1, -1), (127, 0): (1, -1), (0, 127): (-1, 1)}.items():
        x, y, off = on_screen(red, (to_lps @ [i, j, 0, 1])[:3])
        assert off == pytest.approx(0, abs=1e-9)
        assert (x, y) == pytest.approx((150 + side[0] * 63.5 * 0.45 / pixel_mm, 100 + side[1] * 63.5 * 0.45 / pixel_mm))
    assert red.GetFieldOfView()[:2] == pytest.approx((120, 80))


def test_the_other_views_cut_the_bone_at_right_angles(slices):
    row = placed()
    to_lps = geometry.segmentMatrix(row, 0.45, 1.0)
    views.jumpToSegment(row, 0.45, 128)
    frames = {name: util.arrayFromVTKMatrix(logic.GetSliceNode().GetSliceToRAS()) for name, logic in slices.items()}
    for frame in frames.values():
        np.testing.assert_allclose(frame[:3, :3].T @ frame[:3, :3], np.eye(3), atol=1e-9)
    normals = np.stack([frame[:3, 2] for frame in frames.values()])
    np.testing.assert_allclose(np.abs(normals @ normals.T), np.eye(3), atol=1e-9)
    bone = (to_lps @ [63.5, 18, 0, 1])[:3]
    for name in ("Green", "Yellow"):
        assert on_screen(slices[name].GetSliceNode(), bone) == pytest.approx((150, 100, 0), abs=1e-6)
    outside = (to_lps @ [63.5, 0, 0, 1])[:3]
    assert on_screen(slices["Green"].GetSliceNode(), outside)[1] < 90  # outer surface up there too
    rightward = (to_lps @ [100, 18, 0, 1])[:3]
    assert on_screen(slices["Yellow"].GetSliceNode(), rightward)[0] > 160
    with pytest.raises(InputError, match="no place"):
        views.jumpToSegment({}, 0.45, 128)


@pytest.mark.parametrize("sign", [1, -1])
def test_scrolling_up_leads_towards_right_front_or_top(slices, sign):
    row = {name: value * sign if name.startswith("right") else value for name, value in placed().items()}
    views.jumpToSegment(row, 0.45, 128)
    normal = util.arrayFromVTKMatrix(slices["Red"].GetSliceNode().GetSliceToRAS())[:3, 2]
    assert normal.max() == np.abs(normal).max()


def test_the_red_view_of_a_head_shows_the_segment_itself(slices):
    """A head whose HU are a known function of place, and the segment that function gives in an oblique plane."""
    head = Volume(np.zeros((60, 60, 60), np.float32), (1.5,) * 3, (-45.0, -45.0, -45.0))
    field = lambda p: 1350 + 12 * p[..., 0] - 9 * p[..., 1] + 15 * p[..., 2]  # noqa: E731
    index = np.moveaxis(np.indices(head.shape), 0, -1)
    ct = scene.showVolume(head.with_array(field(head.zyx_to_lps(index)).astype(np.float32)), name="ct")
    grey(ct).GetDisplayNode().SetWindowLevelMinMax(0, 2700)
    row = placed((0.0, 0.0, 0.0))
    centre = geometry.segmentMatrix(row, 0.45, 1.0) @ [31.5, 31.5, 0, 1]
    row = placed(-centre[:3])
    views.showVolume(ct)
    views.jumpToSegment(row, 0.45, 64)
    shown = picture(slices["Red"])[..., 0]
    j, i = np.indices((64, 64))
    lps = np.moveaxis(geometry.segmentMatrix(row, 0.45, 1.0) @ np.stack([i, j, 0 * i, 1 + 0 * i]).reshape(4, -1), 0, -1)
    expected = field(lps[:, :3]).reshape(64, 64) / 2700 * 255
    at = (np.arange(64) - 31.5) * 0.45 / (80 / 200)
    seen = shown[np.ix_(np.round(99.5 + at).astype(int), np.round(149.5 + at).astype(int))]
    np.testing.assert_allclose(seen, expected, atol=2)
    assert np.ptp(expected) > 50


def test_jumping_to_a_slice_brings_the_view_back_and_keeps_the_zoom_afterwards(slices):
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved = np.eye(4)
    moved[:3, 3] = 100, 200, 300
    parent.SetMatrixTransformToParent(util.vtkMatrixFromArray(moved))
    node = scene.showSegments(np.zeros((20, 128, 128), np.int16), 0.45, name="segments")
    node.SetAndObserveTransformNodeID(parent.GetID())
    red, green = slices["Red"].GetSliceNode(), slices["Green"].GetSliceNode()
    middle = geometry.volumeFromNode(node).zyx_to_lps([7, 63.5, 63.5])
    views.jumpToSegment(placed(middle - 28.6 * OBLIQUE[:, :2].sum(1)), 0.45, 128)  # in sight, but oblique
    kept = util.arrayFromVTKMatrix(green.GetSliceToRAS())
    views.jumpToSlice(node, 7)
    assert red.GetOrientation() == "Axial"
    assert red.GetSliceOffset() == pytest.approx(300 + 7 * 3.1)
    width, height, _ = red.GetFieldOfView()
    assert height == pytest.approx(128 * 0.45 * 1.05)
    assert width == pytest.approx(height * 1.5)
    np.testing.assert_array_equal(util.arrayFromVTKMatrix(green.GetSliceToRAS()), kept)
    red.SetFieldOfView(30, 20, 1)
    red.SetXYZOrigin(3, 4, 0)
    views.jumpToSlice(node, 8)
    assert red.GetSliceOffset() == pytest.approx(300 + 8 * 3.1)
    assert red.GetFieldOfView()[:2] == (30, 20)
    assert red.GetXYZOrigin()[:2] == (3, 4)
    red.GetSliceToRAS().SetElement(0, 3, 5000.0)
    red.UpdateMatrices()
    views.jumpToSlice(node, 9)
    assert red.GetFieldOfView()[1] == pytest.approx(height)
    for k in (-1, 20):
        with pytest.raises(InputError, match="no slice"):
            views.jumpToSlice(node, k)


@pytest.mark.parametrize("application", [True, False])
def test_a_volume_shows_in_all_views(slices, monkeypatch, application):
    logic = slicer.app.applicationLogic()
    if not application:
        monkeypatch.delattr(slicer, "app")
    node = scene.showSegments(np.zeros((2, 8, 8), np.int16), 0.45, name="segments")
    views.showVolume(node, fit=False)
    assert slices["Red"].GetSliceNode().GetFieldOfView()[0] == 250
    views.showVolume(node)
    assert (logic.GetSelectionNode().GetActiveVolumeID() == node.GetID()) == application
    for view in slices.values():
        assert view.GetSliceCompositeNode().GetBackgroundVolumeID() == node.GetID()
        assert view.GetSliceNode().GetFieldOfView()[0] < 20


def test_a_scene_without_views_is_left_in_peace(bare):
    node = scene.showSegments(np.zeros((2, 8, 8), np.int16), 0.45, name="segments")
    before = slicer.mrmlScene.GetNumberOfNodes()
    views.showVolume(node)
    views.jumpToSlice(node, 1)
    views.jumpToSegment(placed(), 0.45, 128)
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_a_view_without_presets_turns_to_axial_too(bare):
    node = scene.showSegments(np.zeros((2, 8, 8), np.int16), 0.45, name="segments")
    view = bare.AddNewNodeByClass("vtkMRMLSliceNode")
    views.jumpToSegment(placed(), 0.45, 128)
    views.jumpToSlice(node, 1)
    axes = util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, :3]
    np.testing.assert_allclose(axes, np.diag([-1, 1, 1]), atol=1e-12)
