"""Results of the library as nodes of the scene: volumes, tables, segmentations, models, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import FormatError, InputError

from . import geometry, segmentations

BONE_HU = (0.0, 2700.0)  # from the background of a segment to the densest cortical bone of an adult
HEAD_HU = (-300.0, 1700.0)  # fat and skin dark, cortical bone not yet white
AWAY_MM = 1000.0  # to the left of any head: else outlines drawn in the head would cross segments and pictures
TICK_MM = 4.0  # of the mark on the outer side of a cutting square
PLATE_MM = 0.2  # thickness of a cutting square: a slice exactly in its plane would not cut a flat one
KEPT, REJECTED = (0.0, 0.62, 0.45), (0.9, 0.5, 0.0)
COLOURS = (  # told apart by colour-blind people too (Okabe and Ito 2008)
    (0.0, 0.45, 0.70),
    (0.84, 0.37, 0.0),
    (0.0, 0.62, 0.45),
    (0.80, 0.47, 0.65),
    (0.90, 0.62, 0.0),
    (0.34, 0.71, 0.91),
    (0.35, 0.35, 0.35),
)


def makeFolder(name: str) -> int:
    """A new folder of the subject hierarchy; its item, or 0 where there is no subject hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return 0 if hierarchy is None else hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), name)


def putInFolder(node: Any, folder: int) -> None:
    """Move a node into a folder made by ``makeFolder``; 0 leaves it where it is."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if not folder or hierarchy is None:
        return
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, folder)
    else:
        hierarchy.CreateItem(folder, node)


def showSegments(hu: np.ndarray, spacing_mm: float, *, name: str, slice_mm: float = 3.1, folder: int = 0) -> Any:
    """Segments as the slices of one volume, upright in the axial view.

    Args:
        hu: (N, rows, columns) or (rows, columns) HU; int16 and uint8 are kept, all else becomes float32.
        spacing_mm: of the pixels.
        name: of the node.
        slice_mm: distance at which the slices are shown; segments have no depth of their own.
        folder: made by ``makeFolder``.

    Returns:
        ``vtkMRMLScalarVolumeNode``.

    Raises:
        InputError: no segment.
    """
    hu = hu[None] if hu.ndim == 2 else hu
    if hu.ndim != 3 or hu.size == 0:
        raise InputError("There is no segment to show.", "Choose a data set that holds some.")
    return _scalarVolume(hu, _away(spacing_mm, spacing_mm, slice_mm), BONE_HU, name, folder)


def showVolume(volume: Volume, *, name: str, folder: int = 0) -> Any:
    """A head CT as ``vtkMRMLScalarVolumeNode``."""
    node = _scalarVolume(volume.hu, volume.index_to_lps, HEAD_HU, name, folder)
    node.GetDisplayNode().SetInterpolate(True)
    return node


def placeSegment(
    hu: np.ndarray, row: Mapping[str, Any], *, spacing_mm: float, thickness_mm: float, name: str, folder: int = 0
) -> Any:
    """A segment where it was cut, as an oblique volume of one slice that lets the head show around the bone.

    Args:
        hu: (rows, columns) HU.
        row: its row of the segment table, column name to value.
        spacing_mm: of the pixels.
        thickness_mm: of the slice, whose middle is the cutting plane.
        name: of the node.
        folder: made by ``makeFolder``.

    Returns:
        ``vtkMRMLScalarVolumeNode``.

    Raises:
        InputError: the segment was not cut out of a scan.
    """
    matrix = geometry.segmentMatrix(row, spacing_mm, thickness_mm)
    node = _scalarVolume(np.asarray(hu)[None], matrix, BONE_HU, name, folder)
    display = node.GetDisplayNode()
    display.SetThreshold(1, np.iinfo(np.int16).max)
    display.SetApplyThreshold(True)
    return node


def showTable(columns: Mapping[str, np.ndarray], *, name: str, folder: int = 0) -> Any:
    """Columns as a table to read.

    Args:
        columns: name to (n,) text, whole numbers, numbers or bool.
        name: of the node.
        folder: made by ``makeFolder``.

    Returns:
        ``vtkMRMLTableNode``, locked.

    Raises:
        InputError: columns of different lengths.
    """
    arrays = {column: np.asarray(values) for column, values in columns.items()}
    if len({array.shape for array in arrays.values()}) > 1 or any(array.ndim != 1 for array in arrays.values()):
        raise InputError(f'The columns of "{name}" have different lengths.', "Give one value for each row.")
    table = vtk.vtkTable()
    for column, values in arrays.items():
        table.AddColumn(_vtkColumn(column, values))
    return lockedTable(table, name, folder)


def lockedTable(table: vtk.vtkTable, name: str, folder: int) -> Any:
    """A table node around a VTK table, to read but not to edit, headed by the names of its columns."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    node.SetAndObserveTable(table)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    putInFolder(node, folder)
    return node


def tableColumns(node: Any) -> dict[str, np.ndarray]:
    """The columns of a table node: text, int64, float64 and bool arrays of length n (copies)."""
    table = node.GetTable()
    columns = {}
    for index in range(table.GetNumberOfColumns()):
        column = table.GetColumn(index)
        if isinstance(column, vtk.vtkStringArray):
            values = np.array([column.GetValue(i) for i in range(column.GetNumberOfValues())], dtype=str)
        elif isinstance(column, vtk.vtkBitArray):
            values = np.array([column.GetValue(i) for i in range(column.GetNumberOfValues())], dtype=bool)
        else:
            values = vtk_to_numpy(column)
            values = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
        columns[column.GetName()] = values
    return columns


def showLabels(labels: Volume, names: Mapping[int, str], *, name: str, folder: int = 0, surfaces: bool = True) -> Any:
    """A label map as a segmentation: outlines in slices, surfaces in 3D.

    Args:
        labels: uint8 labels.
        names: label to the name of its segment; other labels are left out.
        name: of the node.
        folder: made by ``makeFolder``.
        surfaces: whether it is shown in 3D.

    Returns:
        ``vtkMRMLSegmentationNode`` with a segment for each of the labels that occurs, in the order of ``names``.

    Raises:
        InputError: none of the labels occurs.
    """
    counts = np.bincount(np.asarray(labels.hu, np.uint8).ravel(), minlength=256)
    present = [label for label in names if counts[label]]
    if not present:
        raise InputError(f'"{name}" holds none of the labels wanted.', "Choose another label map.")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    image, whole = _labelImage(labels, present)
    segmentation = node.GetSegmentation()
    segmentation.SetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(), whole)
    for index, label in enumerate(present):
        segment = slicer.vtkSegment()
        segment.SetName(names[label])
        segment.SetColor(*COLOURS[index % len(COLOURS)])
        segment.SetLabelValue(label)
        segment.AddRepresentation(segmentations.BINARY_LABELMAP, image)
        segmentation.AddSegment(segment)
    display = node.GetDisplayNode()
    display.SetVisibility2DFill(False)
    display.SetVisibility2DOutline(True)
    if surfaces:
        node.CreateClosedSurfaceRepresentation()
    putInFolder(node, folder)
    return node


def emptySegmentation(volumeNode: Any, names: Sequence[str], *, name: str) -> Any:
    """``vtkMRMLSegmentationNode`` on the grid of a volume with an empty segment for each name, to be painted."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    for index, each in enumerate(names):
        node.GetSegmentation().AddEmptySegment(each, each, COLOURS[index % len(COLOURS)])
    return node


def showPieces(table: Mapping[str, np.ndarray], *, name: str, spacing_mm: float, size: int, folder: int = 0) -> Any:
    """Where segments were cut: a square for each, kept ones green, the others orange.

    Each is a thin plate with a pointed mark on its outer side. 3D views draw its edges, slices the line along which
    they cross it.

    Args:
        table: of segments or candidates; of quality ``ok`` are the kept ones. Rows without a place are left out.
        name: of the node.
        spacing_mm: of the segments' pixels.
        size: pixels along a side.
        folder: made by ``makeFolder``.

    Returns:
        ``vtkMRMLModelNode`` in RAS, with the cell array ``kept``.

    Raises:
        InputError: no row has a place.
    """
    parts = ("corner", "right", "down")
    empty = np.full(len(next(iter(table.values()), ())), np.nan)
    place = np.stack([[np.asarray(table.get(f"{part}_{a}", empty), float) for a in "xyz"] for part in parts])
    placed = np.isfinite(place).all(axis=(0, 1))
    if not placed.any():
        raise InputError(f'Nothing of "{name}" has a place in a head.', "Choose segments that were cut out of a scan.")
    corner, right, down = np.moveaxis(place, 2, 1)[:, placed]
    corner = corner - spacing_mm / 2 * (right + down)  # the outer corner of its first pixel
    mesh, cells = _plates(*(geometry.flipPoints(vectors) for vectors in (corner, right, down)), size * spacing_mm)
    kept = np.asarray(table.get("quality", np.full(placed.shape, "ok"))) == "ok"
    scalars = numpy_to_vtk(np.repeat(kept[placed], cells).astype(np.uint8), deep=True)
    scalars.SetName("kept")
    mesh.GetCellData().SetScalars(scalars)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", name)
    node.SetSelectable(False)
    node.SetAndObservePolyData(mesh)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetRepresentation(display.WireframeRepresentation)
    display.SetLighting(False)
    display.SetLineWidth(2)
    display.SetAndObserveColorNodeID(colourTable("SkullGAN pieces", {"rejected": REJECTED, "kept": KEPT}).GetID())
    display.SetActiveScalar("kept", vtk.vtkAssignAttribute.CELL_DATA)
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    display.SetScalarRange(0, 1)
    display.SetScalarVisibility(True)
    display.SetVisibility2D(True)
    display.SetSliceIntersectionThickness(2)
    putInFolder(node, folder)
    return node


def showPicture(path: str | Path, *, name: str, folder: int = 0) -> Any:
    """A PNG file as a colour volume of one slice, upright in the axial view, 1 mm per pixel.

    Returns:
        ``vtkMRMLVectorVolumeNode``.

    Raises:
        FormatError: there is none, or it is not a PNG.
    """
    path = Path(path)
    reader = vtk.vtkPNGReader()
    if not path.is_file() or not reader.CanReadFile(str(path)):
        raise FormatError(f"There is no PNG picture at {path}.", "Make it again.")
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutput()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars())
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    width, height, _ = image.GetDimensions()
    pixels = pixels.reshape(1, height, width, -1)[:, ::-1]  # VTK begins below
    colours = pixels[..., :3] if pixels.shape[-1] >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", name)
    return _fill(node, colours, _away(1.0, 1.0, 1.0), (0.0, 255.0), folder)


def _away(*spacing_mm: float) -> np.ndarray:
    """(4, 4) index to LPS of what has no place in a head: in the axial view row 0 is on top, column 0 on the left."""
    matrix = np.diag([*spacing_mm, 1.0])
    matrix[0, 3] = AWAY_MM
    return matrix


def _scalarVolume(
    hu: np.ndarray, index_to_lps: np.ndarray, window_hu: tuple[float, float], name: str, folder: int
) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    if hu.dtype not in (np.uint8, np.int16, np.float32):
        hu = hu.astype(np.float32)
    node = _fill(node, hu, index_to_lps, window_hu, folder)
    node.GetDisplayNode().SetInterpolate(False)
    return node


def _fill(node: Any, values: np.ndarray, index_to_lps: np.ndarray, window: tuple[float, float], folder: int) -> Any:
    """Image, place and window of a volume node; the window first, so that none is derived from all voxels."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(*window)
    geometry.setGeometry(node, index_to_lps)
    slicer.util.updateVolumeFromArray(node, values)
    putInFolder(node, folder)
    return node


def _vtkColumn(name: str, values: np.ndarray) -> vtk.vtkAbstractArray:
    kind = values.dtype.kind
    if kind == "f":
        column = numpy_to_vtk(values.astype(np.float64), deep=True)
    elif kind in "iu" and (not values.size or max(abs(int(values.min())), abs(int(values.max()))) < 2**31):
        column = numpy_to_vtk(values.astype(np.int32), deep=True, array_type=vtk.VTK_INT)
    elif kind in "iu":
        column = numpy_to_vtk(values.astype(np.int64), deep=True, array_type=vtk.VTK_LONG_LONG)
    else:
        column = vtk.vtkBitArray() if kind == "b" else vtk.vtkStringArray()
        for value in values.tolist():
            column.InsertNextValue(value if kind == "b" else str(value))
    column.SetName(name)
    return column


def _labelImage(labels: Volume, present: list[int]) -> tuple[Any, str]:
    """The part of a label map around the labels wanted, and the geometry of all of it in Slicer's own words."""
    keep = np.zeros(256, np.uint8)
    keep[present] = present
    values = keep[np.asarray(labels.hu, np.uint8)]
    spans = []
    for axis in range(3):
        used = np.flatnonzero(values.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append((int(used[0]), int(used[-1]) + 1))
    part = np.ascontiguousarray(values[tuple(slice(*span) for span in spans)])
    matrix = slicer.util.vtkMatrixFromArray(geometry.FLIP @ labels.index_to_lps)
    image, whole = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    image.SetExtent([index for low, high in spans[::-1] for index in (low, high - 1)])
    whole.SetExtent([index for n in labels.shape[::-1] for index in (0, n - 1)])
    for one in (image, whole):
        one.SetImageToWorldMatrix(matrix)
    image.GetPointData().SetScalars(numpy_to_vtk(part.ravel(), deep=True))
    return image, slicer.vtkSegmentationConverter.SerializeImageGeometry(whole)


def _plates(corner: np.ndarray, right: np.ndarray, down: np.ndarray, side_mm: float) -> tuple[vtk.vtkPolyData, int]:
    """Squares of (n, 3) corners and directions, each with a mark on its upper side, and the number of cells of each."""
    half, middle = TICK_MM / 2, side_mm / 2
    square = [(0, 0), (side_mm, 0), (side_mm, side_mm), (0, side_mm)]
    tick = [(middle - half, 0), (middle + half, 0), (middle, -TICK_MM)]
    normal, points, cells = np.cross(right, down), [], []
    for outline in (square, tick):
        first, k = len(points), len(outline)
        for sign in (1, -1):
            points += [corner + x * right + y * down + sign * PLATE_MM / 2 * normal for x, y in outline]
        front, back = list(range(first, first + k)), list(range(first + k, first + 2 * k))
        cells += [front, back[::-1]]
        cells += [[front[i], back[i], back[i - k + 1], front[i - k + 1]] for i in range(k)]
    n, each = len(corner), len(points)
    lengths = np.tile([len(cell) for cell in cells], n)
    corners = np.concatenate(cells) + each * np.arange(n)[:, None]
    polygons = vtk.vtkCellArray()
    polygons.SetData(
        numpy_to_vtkIdTypeArray(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), deep=True),
        numpy_to_vtkIdTypeArray(corners.ravel().astype(np.int64), deep=True),
    )
    mesh, positions = vtk.vtkPolyData(), vtk.vtkPoints()
    positions.SetData(numpy_to_vtk(np.stack(points, axis=1).reshape(-1, 3), deep=True))
    mesh.SetPoints(positions)
    mesh.SetPolys(polygons)
    return mesh, len(cells)


def colourTable(name: str, colours: Mapping[str, Sequence[float]]) -> Any:
    """A colour table, one of a name for the whole scene.

    Args:
        name: of the node.
        colours: label to red, green and blue, 0 to 1, from the lowest value up.
    """
    kind = "vtkMRMLColorTableNode"
    table = slicer.mrmlScene.GetFirstNode(name, kind)
    if table is None:
        table = slicer.mrmlScene.AddNewNodeByClass(kind, name)
        table.SetTypeToUser()
        table.SetNumberOfColors(len(colours))
        for index, (label, colour) in enumerate(colours.items()):
            table.SetColor(index, label, *colour)
    return table
