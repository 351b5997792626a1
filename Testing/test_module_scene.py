"""Results in a real MRML scene: what a viewer of Slicer would get, checked against what went in."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
import slicer
import vtk
from scipy import ndimage
from scipy.spatial.transform import Rotation
from slicer import util
from vtk.util.numpy_support import vtk_to_numpy

import slicer_host
from SkullGANLib.ct.phantom import HeadPhantom
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.prepare.run import PrepareOptions, prepare_volume

sys.path.append(str(slicer_host.MODULE_FOLDER))
from SkullGANSlicer import geometry, plots, scene, segmentations

OBLIQUE = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix()


@pytest.fixture(autouse=True)
def host():
    slicer_host.start(gui=False)
    slicer_host.reset()


def matrix(call):
    made = vtk.vtkMatrix4x4()
    call(made)
    return util.arrayFromVTKMatrix(made)


def row_of(index_to_lps):
    """The columns of a segment's place, for pixels of 1 mm."""
    vectors = {"corner": index_to_lps[:3, 3], "right": index_to_lps[:3, 0], "down": index_to_lps[:3, 1]}
    return {f"{part}_{axis}": v for part, xs in vectors.items() for axis, v in zip("xyz", xs, strict=True)}


def placed(shift=(30.0, -40.0, 50.0)):
    oblique = np.eye(4)
    oblique[:3, :3], oblique[:3, 3] = OBLIQUE, shift
    return row_of(oblique)


def in_folder(node, folder):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder


# segments, volumes, pictures ------------------------------------------------------------------------------------------


def test_segments_keep_their_type_and_get_a_bone_window():
    hu = np.arange(2 * 4 * 5, dtype=np.int16).reshape(2, 4, 5)
    node = scene.showSegments(hu, 0.45, name="segments", slice_mm=3.1)
    assert util.arrayFromVolume(node).dtype == np.int16
    np.testing.assert_array_equal(util.arrayFromVolume(node), hu)
    assert node.GetSpacing() == pytest.approx((0.45, 0.45, 3.1))
    display = node.GetDisplayNode()
    assert not display.GetAutoWindowLevel()
    assert not display.GetInterpolate()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == scene.BONE_HU
    assert util.arrayFromVolume(scene.showSegments(hu[0] / 2, 0.45, name="one")).dtype == np.float32
    with pytest.raises(InputError, match="no segment"):
        scene.showSegments(hu[:0], 0.45, name="none")


def test_ten_thousand_segments_show_in_two_seconds():
    hu = np.zeros((10_000, 128, 128), np.int16)
    start = time.perf_counter()
    scene.showSegments(hu, 0.45, name="many")
    assert time.perf_counter() - start < 2


def test_a_volume_comes_back_as_it_was_shown():
    volume = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), (0.5, 0.6, 1.25), (7.0, 8.0, 9.0), OBLIQUE)
    back = geometry.volumeFromNode(scene.showVolume(volume, name="head"))
    np.testing.assert_array_equal(back.hu, volume.hu)
    np.testing.assert_allclose(back.index_to_lps, volume.index_to_lps, atol=1e-9)


def test_a_picture_that_is_none_is_refused(tmp_path):
    (tmp_path / "x.png").write_text("no picture")
    for path in (tmp_path / "x.png", tmp_path / "missing.png"):
        with pytest.raises(FormatError, match="no PNG"):
            scene.showPicture(path, name="x")


# tables ---------------------------------------------------------------------------------------------------------------


def test_a_table_comes_back_as_it_was_shown():
    columns = {
        "index": np.arange(4),
        "region": np.array(["temporal", "", "pariétal, left", "frontal"]),
        "sdr": np.array([0.5, np.nan, -1e-9, 1e20]),
        "kept": np.array([True, False, True, True]),
        "seed": np.array([2**40, -1, 0, 5]),
    }
    node = scene.showTable(columns, name="table")
    kinds = [node.GetTable().GetColumnByName(name).GetDataType() for name in columns]
    assert kinds == [vtk.VTK_INT, vtk.VTK_STRING, vtk.VTK_DOUBLE, vtk.VTK_BIT, vtk.VTK_LONG_LONG]
    back = scene.tableColumns(node)
    assert list(back) == list(columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(back[name], values)
        assert back[name].dtype.kind == values.dtype.kind
    assert node.GetLocked()
    assert node.GetUseColumnTitleAsColumnHeader()
    assert node.GetCellText(2, 1) == "pariétal, left"


def test_a_table_survives_in_its_file(tmp_path):
    node = scene.showTable({"region": np.array(["left", "right"]), "sdr": np.array([0.25, 0.5])}, name="table")
    storage = slicer.vtkMRMLTableStorageNode()
    storage.SetFileName(str(tmp_path / "table.tsv"))
    assert storage.WriteData(node)
    assert (tmp_path / "table.tsv").read_text().split() == ["region", "sdr", "left", "0.25", "right", "0.5"]


def test_empty_and_uneven_tables():
    empty = scene.showTable({"region": np.array([], dtype=str), "index": np.array([], dtype=int)}, name="empty")
    assert [len(values) for values in scene.tableColumns(empty).values()] == [0, 0]
    with pytest.raises(InputError, match="different lengths"):
        scene.showTable({"a": np.arange(3), "b": np.arange(4)}, name="uneven")


# label maps and cutting squares ---------------------------------------------------------------------------------------


def test_labels_become_named_segments_where_they_lie():
    values = np.zeros((8, 9, 10), np.uint8)
    values[2:5, 3:6, 1:9], values[5:7, 3:6, 4], values[0, 0, 0] = 3, 7, 9
    labels = Volume(values, (0.5, 0.6, 1.25), (11.0, -12.0, 13.0), OBLIQUE)
    node = scene.showLabels(labels, {7: "inner table", 3: "outer table", 5: "absent"}, name="skull")
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetNthSegment(i) for i in range(segmentation.GetNumberOfSegments())]
    assert [segment.GetName() for segment in segments] == ["inner table", "outer table"]
    assert segments[0].GetColor() != segments[1].GetColor()
    grid = scene.showVolume(labels, name="grid")
    for index, label in enumerate((7, 3)):
        found = segmentations.labelsFromSegmentation(node, grid, [segmentation.GetNthSegmentID(index)])
        np.testing.assert_array_equal(found, values == label)
    surface = node.GetClosedSurfaceInternalRepresentation(segmentation.GetNthSegmentID(1))
    bounds = np.array([surface.GetPoint(i) for i in range(surface.GetNumberOfPoints())])
    middle = labels.zyx_to_lps([3, 4, 4.5]) * (-1, -1, 1)
    np.testing.assert_allclose((bounds.max(0) + bounds.min(0)) / 2, middle, atol=0.1)
    display = node.GetDisplayNode()
    assert display.GetVisibility2DOutline()
    assert not display.GetVisibility2DFill()


def test_showing_labels_leaves_no_helper_nodes_behind():
    before = slicer.mrmlScene.GetNumberOfNodes()
    labels = Volume(np.ones((2, 2, 2), np.uint8))
    scene.showLabels(labels, {1: "bone"}, name="skull")
    assert slicer.mrmlScene.GetNumberOfNodes() == before + 2  # the segmentation and its display node
    with pytest.raises(InputError, match="none of the labels"):
        scene.showLabels(labels, {2: "air"}, name="skull")
    assert slicer.mrmlScene.GetNumberOfNodes() == before + 2


def pieces(qualities=("ok", "cut obliquely", "ok")):
    rows = [placed((30.0 * i, -40.0, 50.0)) for i in range(len(qualities))]
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {**table, "quality": np.array(qualities)}


def crossing(node, origin, normal):
    """Lines that a slice view draws of a model: (n, 2, 3) ends, and the value by which each is coloured."""
    plane, cutter, flat = vtk.vtkPlane(), vtk.vtkPlaneCutter(), vtk.vtkGeometryFilter()
    plane.SetOrigin(origin)
    plane.SetNormal(normal)
    cutter.SetPlane(plane)
    cutter.SetInputConnection(node.GetDisplayNode().GetOutputMeshConnection())
    flat.SetInputConnection(cutter.GetOutputPort())
    flat.Update()
    found = flat.GetOutput()
    ends = [[found.GetPoint(found.GetCell(i).GetPointId(j)) for j in (0, 1)] for i in range(found.GetNumberOfCells())]
    return np.array(ends), vtk_to_numpy(found.GetCellData().GetScalars())


def test_cutting_squares_lie_where_the_segments_were_cut():
    node = scene.showPieces(pieces(), name="squares", spacing_mm=1.0, size=20)
    points = vtk_to_numpy(node.GetPolyData().GetPoints().GetData()).reshape(3, -1, 3)
    pixel_to_lps = geometry.segmentMatrix(placed((30.0, -40.0, 50.0)), 1.0, 1.0)
    local = np.linalg.inv(pixel_to_lps) @ np.vstack([points[1].T * [[-1], [-1], [1]], np.ones(len(points[1]))])
    assert local[0].min() == pytest.approx(-0.5)
    assert local[0].max() == pytest.approx(19.5)
    assert local[1].max() == pytest.approx(19.5)
    assert local[1].min() == pytest.approx(-0.5 - scene.TICK_MM)  # the mark, on the outer side only
    assert local[0][local[1].argmin()] == pytest.approx(9.5)
    assert np.abs(local[2]).max() == pytest.approx(scene.PLATE_MM / 2)


def test_cutting_squares_show_in_slices_also_in_their_own_plane():
    node = scene.showPieces(pieces(), name="squares", spacing_mm=1.0, size=20)
    right, down, normal = (OBLIQUE[:, k] * (-1, -1, 1) for k in range(3))
    middle = np.array([30.0, -40.0, 50.0]) * (-1, -1, 1) + 9.5 * (right + down)  # of the second square

    def seen(lines):
        near = np.linalg.norm(lines.mean(1) - middle, axis=1) < 16
        return np.linalg.norm(lines[near, 1] - lines[near, 0], axis=1).sum()

    in_plane, _ = crossing(node, middle, normal)
    assert seen(in_plane) == pytest.approx(4 * 20 + scene.TICK_MM * (1 + np.sqrt(5)), abs=0.1)
    across, _ = crossing(node, middle + right, right)
    assert seen(across) == pytest.approx(2 * (20 + scene.TICK_MM / 2), abs=1)
    _, values = crossing(node, middle, np.cross([1, 0, 0], normal))  # through all three
    np.testing.assert_array_equal(np.unique(values), [0, 1])


def test_cutting_squares_are_coloured_by_what_became_of_them():
    node = scene.showPieces(pieces(), name="squares", spacing_mm=1.0, size=20)
    kept = vtk_to_numpy(node.GetPolyData().GetCellData().GetArray("kept")).reshape(3, -1)
    np.testing.assert_array_equal(kept.all(1), [True, False, True])
    np.testing.assert_array_equal(kept.any(1), [True, False, True])
    display = node.GetDisplayNode()
    assert display.GetScalarVisibility()
    assert display.GetActiveScalarName() == "kept"
    assert display.GetActiveAttributeLocation() == vtk.vtkAssignAttribute.CELL_DATA
    assert display.GetScalarRange() == (0, 1)
    colour = [0.0] * 4
    table = display.GetColorNode().GetLookupTable()
    table.SetTableRange(*display.GetScalarRange())
    for value, expected in ((0, scene.REJECTED), (1, scene.KEPT)):
        colour = [0.0] * 3
        table.GetColor(value, colour)
        assert colour == pytest.approx(expected, abs=0.01)
    assert display.GetVisibility2D()
    assert not node.GetSelectable()
    again = scene.showPieces(pieces(), name="again", spacing_mm=1.0, size=20)
    assert again.GetDisplayNode().GetColorNode() is display.GetColorNode()


def test_rows_without_a_place_have_no_square():
    table = pieces()
    table["down_z"] = np.array([np.nan, 0.5, 0.5])
    node = scene.showPieces(table, name="squares", spacing_mm=1.0, size=20)
    assert vtk_to_numpy(node.GetPolyData().GetCellData().GetArray("kept")).reshape(2, -1).mean(1).tolist() == [0, 1]
    with pytest.raises(InputError, match="has a place"):
        scene.showPieces({"region": np.array(["parietal"])}, name="synthetic", spacing_mm=1.0, size=20)


# places in a head -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def head():
    """The upper half of a turned head, in flat voxels."""
    return HeadPhantom(2).render(
        shape=(64, 410, 330), spacing_mm=(0.5, 0.5, 1.25), rotation_deg=(8, -6, 10), table=False
    )


def test_a_placed_segment_overlays_the_ct(head):
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    to_world = np.eye(4)
    to_world[:3, :3], to_world[:3, 3] = Rotation.from_euler("xyz", (-15, 5, 25), degrees=True).as_matrix(), (9, -17, 23)
    parent.SetMatrixTransformToParent(util.vtkMatrixFromArray(to_world))
    ct = scene.showVolume(head.volume, name="ct")
    ct.SetAndObserveTransformNodeID(parent.GetID())

    options = PrepareOptions(planes=("axial",), interval_mm=12.0)
    prepared = prepare_volume(geometry.volumeFromNode(ct), options)
    kept = np.flatnonzero(prepared.kept)
    assert len(kept) >= 4
    world_to_ijk = np.linalg.inv(to_world @ matrix(ct.GetIJKToRASMatrix))
    coefficients = ndimage.spline_filter(head.volume.hu.astype(np.float32), order=3, mode="nearest")
    j, i = np.indices((128, 128))
    for index in kept:
        row = {name: column[index] for name, column in prepared.table.items()}
        node = scene.placeSegment(prepared.hu[index], row, spacing_mm=0.45, thickness_mm=1.0, name="placed")
        ijk_to_ras = matrix(node.GetIJKToRASMatrix)
        corner = np.array([row["corner_x"], row["corner_y"], row["corner_z"]])
        np.testing.assert_allclose(ijk_to_ras[:3, 3], corner * (-1, -1, 1), atol=1e-9)
        place = prepared.placements[index]
        far = prepared.skull.frame.to_lps(place.corner_mm + 127 * 0.45 * (place.right + place.down))
        np.testing.assert_allclose(ijk_to_ras @ [127, 127, 0, 1], [*(far * (-1, -1, 1)), 1], atol=2e-3)
        hu = util.arrayFromVolume(node)[0]
        bone = hu > 0

        def difference(shift_px, matrix=ijk_to_ras, hu=hu, bone=bone):
            ras = matrix @ np.stack([i[bone] + shift_px[0], j[bone] + shift_px[1], 0 * i[bone], np.ones(bone.sum())])
            sampled = ndimage.map_coordinates(
                coefficients, (world_to_ijk @ ras)[2::-1], order=3, mode="nearest", prefilter=False
            )
            return np.sqrt(np.mean((np.clip(sampled, 0, None) - hu[bone]) ** 2))

        assert difference((0, 0)) < 0.5  # rounding to whole HU alone gives 0.29
        half_a_voxel = 0.25 / 0.45
        assert min(difference((half_a_voxel, 0)), difference((0, half_a_voxel))) > 20


def test_a_placed_segment_lets_the_head_show_around_the_bone():
    node = scene.placeSegment(np.full((8, 8), 900, np.int16), placed(), spacing_mm=1.0, thickness_mm=2.0, name="placed")
    assert node.GetImageData().GetDimensions() == (8, 8, 1)
    assert node.GetSpacing() == pytest.approx((1, 1, 2))
    display = node.GetDisplayNode()
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == 1
    with pytest.raises(InputError, match="no place"):
        scene.placeSegment(np.zeros((8, 8)), {"region": "frontal"}, spacing_mm=1.0, thickness_mm=2.0, name="synthetic")


# folders --------------------------------------------------------------------------------------------------------------


def test_all_that_is_made_lies_in_the_folder(tmp_path):
    folder = scene.makeFolder("results")
    hu = np.zeros((2, 8, 8), np.int16)
    writer, image = vtk.vtkPNGWriter(), vtk.vtkImageData()
    image.SetDimensions(2, 2, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    writer.SetFileName(str(tmp_path / "x.png"))
    writer.SetInputData(image)
    writer.Write()
    chart = plots.showLines(np.arange(2), {"a": np.arange(2)}, name="chart", xTitle="x", yTitle="y", folder=folder)
    made = [
        scene.showSegments(hu, 0.45, name="a", folder=folder),
        scene.showVolume(Volume(hu), name="b", folder=folder),
        scene.placeSegment(hu[0], placed(), spacing_mm=1.0, thickness_mm=1.0, name="c", folder=folder),
        scene.showTable({"x": np.arange(2)}, name="d", folder=folder),
        scene.showLabels(Volume(np.ones((2, 2, 2), np.uint8)), {1: "bone"}, name="e", folder=folder),
        scene.showPieces(pieces(), name="f", spacing_mm=1.0, size=20, folder=folder),
        scene.showPicture(tmp_path / "x.png", name="g", folder=folder),
        chart,
        chart.GetNthPlotSeriesNode(0),
        chart.GetNthPlotSeriesNode(0).GetTableNode(),
    ]
    assert all(in_folder(node, folder) for node in made)
    other = scene.makeFolder("other")
    scene.putInFolder(made[0], other)
    assert in_folder(made[0], other)
    scene.putInFolder(made[0], 0)
    assert in_folder(made[0], other)
