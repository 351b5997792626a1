"""Places: between the nodes of the scene (RAS, parent transforms) and the library (LPS, world).

The one file in which RAS becomes LPS and back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS to LPS, and LPS to RAS
OUTSIDE, TURNED = 1e-6, 0.5  # voxels: by which centres may lie outside of an ROI; by which its faces may lean
STRAIGHT = 1e-4  # cosine between two axes of a grid up to which they count as perpendicular
RIGID = 1e-3  # as ``skullgan prepare --head-frame`` demands
BINARY_LABELMAP = "Binary labelmap"


def flipPoints(points: np.ndarray) -> np.ndarray:
    """(..., 3) positions or directions in LPS as RAS, or the other way round."""
    return np.asarray(points, float) * FLIP.diagonal()[:3]


def volumeFromNode(node: Any) -> Volume:
    """A volume node as a volume in the world: its parent transforms are part of the geometry.

    Args:
        node: ``vtkMRMLScalarVolumeNode`` or label map.

    Returns:
        ``hu`` is the node's own array, without a copy, if that is uint8, int16 or float32 and no parent transform
        bends space; else a copy as int16 or float32, resampled where it has to be.

    Raises:
        InputError: no node, no image, a colour image, or a sheared grid.
    """
    requireScalars(node)
    with _straightened(node) as straight:
        matrix = FLIP @ _ijkToWorld(straight)
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        direction = matrix[:3, :3] / np.maximum(spacing, 1e-12)
        if spacing.min() < 1e-6 or not np.allclose(direction.T @ direction, np.eye(3), atol=STRAIGHT):
            raise InputError(
                f'The voxels of "{node.GetName()}" are sheared or flat, so that its slices do not lie straight above '
                "each other.",
                "Take it out of its transform, or resample it on a straight grid (module Crop Volume).",
            )
        hu = _compact(slicer.util.arrayFromVolume(straight))
        return Volume(hu, tuple(spacing.tolist()), tuple(matrix[:3, 3].tolist()), direction)


def setGeometry(node: Any, index_to_lps: np.ndarray) -> None:
    """Give a volume node its place.

    Args:
        node: volume node.
        index_to_lps: (4, 4) from (column, row, slice, 1) to LPS mm.
    """
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(FLIP @ np.asarray(index_to_lps, float)))


def labelsFromSegmentation(
    segmentationNode: Any, volumeNode: Any, segmentIds: Iterable[str] | None = None
) -> np.ndarray:
    """Where the segments of a segmentation lie in a volume; the parent transforms of both count.

    Args:
        segmentationNode: ``vtkMRMLSegmentationNode``.
        volumeNode: the volume whose grid is wanted.
        segmentIds: segments to unite; the visible ones if not given.

    Returns:
        (slice, row, column) uint8 as ``volumeFromNode(volumeNode).hu``: 1 in any of the segments, else 0.

    Raises:
        InputError: no such segments, or nothing of them inside the volume.
    """
    requireKind(segmentationNode, "vtkMRMLSegmentationNode", "segmentation node")
    requireScalars(volumeNode)
    if segmentationNode is None:
        raise InputError("No segmentation is chosen.", "Choose one, or leave the automatic skull mask.")
    name, segmentation = segmentationNode.GetName(), segmentationNode.GetSegmentation()
    ids = _segmentIds(segmentationNode) if segmentIds is None else list(segmentIds)
    if unknown := [one for one in ids if segmentation.GetSegment(one) is None]:
        raise InputError(f'"{name}" has no segment "{unknown[0]}".', "Choose among the segments that it has.")
    if not ids:
        raise InputError(f'"{name}" has no visible segment.', "Draw the skull in it, or make its segment visible.")
    if not segmentation.CreateRepresentation(BINARY_LABELMAP):
        raise InputError(f'"{name}" cannot be turned into voxels.', "Draw it again in the module Segment Editor.")
    with _straightened(volumeNode) as straight:
        shape = straight.GetImageData().GetDimensions()[::-1]
        merged = _merged(segmentationNode, ids, straight).GetPointData().GetScalars()
    labels = np.zeros(shape, np.uint8)
    if merged is not None:
        np.not_equal(vtk_to_numpy(merged).reshape(shape), 0, out=labels, casting="unsafe")
    if not labels.any():
        raise InputError(
            f'The segments of "{name}" are empty or lie outside of "{volumeNode.GetName()}".',
            "Draw the skull in them, and check that both lie in the same place.",
        )
    return labels


def labelMapFromSegmentation(segmentationNode: Any, volumeNode: Any = None) -> tuple[Volume, dict[int, str]]:
    """The visible segments of a segmentation as a label map in the world, and which label is which segment.

    Args:
        segmentationNode: ``vtkMRMLSegmentationNode``.
        volumeNode: on whose grid; on the segmentation's own if not given.

    Returns:
        Volume of uint8 labels from 1 on, in the order of the segments, later ones over earlier ones; and label to name.

    Raises:
        InputError: no segmentation, no visible segment, all of them empty or outside of the volume, or more than 255.
    """
    requireKind(segmentationNode, "vtkMRMLSegmentationNode", "segmentation node")
    if segmentationNode is None:
        raise InputError("No segmentation is chosen.", "Choose one.")
    name, segmentation = segmentationNode.GetName(), segmentationNode.GetSegmentation()
    ids = _segmentIds(segmentationNode)
    if not 0 < len(ids) < 256:
        raise InputError(f'"{name}" has {len(ids)} visible segments.', "Draw some, or hide those that are too many.")
    if not segmentation.CreateRepresentation(BINARY_LABELMAP):
        raise InputError(f'"{name}" cannot be turned into voxels.', "Draw it again in the module Segment Editor.")
    if volumeNode is not None:
        requireScalars(volumeNode)
        with _straightened(volumeNode) as straight:
            merged = _merged(segmentationNode, ids, straight)
            matrix, shape = FLIP @ _ijkToWorld(straight), straight.GetImageData().GetDimensions()[::-1]
    else:
        parent = segmentationNode.GetParentTransformNode()
        if parent is not None and not parent.IsTransformToWorldLinear():
            raise InputError(
                f'"{name}" lies below a transform that bends space.', "Choose the CT volume it belongs to."
            )
        merged, matrix = _mergedOnOwnGrid(segmentationNode, ids)
        shape = merged.GetDimensions()[::-1]
    scalars = merged.GetPointData().GetScalars()
    values = np.zeros(shape, np.uint8) if scalars is None else vtk_to_numpy(scalars).reshape(shape).astype(np.uint8)
    if not values.any():
        raise InputError(f'The segments of "{name}" are empty.', "Draw them in the module Segment Editor.")
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    labels = Volume(values, tuple(spacing.tolist()), tuple(matrix[:3, 3].tolist()), matrix[:3, :3] / spacing)
    return labels, {k: segmentation.GetSegment(one).GetName() for k, one in enumerate(ids, start=1)}


def headFrameFromTransform(transformNode: Any) -> np.ndarray:
    """The head frame that a transform node stands for: its own frame, placed in the world.

    A child of the node whose axes are the patient's (x left, y back, z up, in LPS) comes to lie as the head does.

    Args:
        transformNode: linear transform node; its own parents count.

    Returns:
        (4, 4) from the head frame to LPS mm, as ``skullgan prepare --head-frame`` makes it of the saved transform.

    Raises:
        InputError: none is chosen, or it is not of rotation and translation only.
    """
    requireKind(transformNode, "vtkMRMLTransformNode", "transform node")
    if transformNode is None:
        raise InputError("No transform is chosen.", "Choose one, or leave the automatic head frame.")
    matrix = FLIP @ _toWorld(transformNode) @ FLIP
    turn = matrix[:3, :3]
    if (
        not transformNode.IsTransformToWorldLinear()
        or not np.allclose(turn @ turn.T, np.eye(3), atol=RIGID)
        or np.linalg.det(turn) < 0
    ):
        raise InputError(
            f'The head frame "{transformNode.GetName()}" is not a rigid transform.',
            "Use rotation and translation only.",
        )
    return matrix


def segmentPlace(row: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a segment was cut.

    Args:
        row: one row of a segment table, column name to value.

    Returns:
        Centre of pixel (0, 0), unit vector along a row of pixels, unit vector along a column: (3,) LPS each.

    Raises:
        InputError: the segment was not cut out of a scan.
    """
    place = np.array(
        [[float(row.get(f"{part}_{axis}", np.nan)) for axis in "xyz"] for part in ("corner", "right", "down")]
    )
    if not np.isfinite(place).all():
        raise InputError("This segment has no place in a head.", "Choose one that was cut out of a scan.")
    return place[0], place[1], place[2]


def segmentMatrix(row: Mapping[str, Any], spacing_mm: float, thickness_mm: float) -> np.ndarray:
    """(4, 4) from (column, row, slice, 1) to LPS mm of a segment as a volume of one slice, where it was cut.

    Args:
        row: one row of a segment table.
        spacing_mm: of the segment's pixels.
        thickness_mm: of the slice, whose middle is the cutting plane.

    Raises:
        InputError: the segment was not cut out of a scan.
    """
    corner, right, down = segmentPlace(row)
    matrix = np.eye(4)
    matrix[:3] = np.stack([right * spacing_mm, down * spacing_mm, np.cross(right, down) * thickness_mm, corner], axis=1)
    return matrix


def boxInRoi(volume: Volume, roiNode: Any) -> tuple[np.ndarray, str]:
    """The voxels of a volume inside an ROI.

    Args:
        volume: from ``volumeFromNode``.
        roiNode: ``vtkMRMLMarkupsROINode``; its parent transforms count.

    Returns:
        (2, 3) int: slice, row and column of the first and of the last voxel whose centre lies inside. Of an ROI that is
        turned against the voxels it is the bounding box along these, and a sentence says so; otherwise an empty one.

    Raises:
        InputError: no ROI node, one without size, or no voxel inside.
    """
    requireKind(roiNode, "vtkMRMLMarkupsROINode", "ROI node")
    name, half = roiNode.GetName(), np.array(roiNode.GetSize()) / 2
    if half.min() <= 0:
        raise InputError(f'The ROI "{name}" has no size.', "Place it around the part of the volume that is wanted.")
    toNode, world = roiNode.GetObjectToNodeMatrix(), [0.0, 0.0, 0.0]
    corners = []
    for signs in np.ndindex(2, 2, 2):
        corner = toNode.MultiplyPoint([*(half * (2 * np.array(signs) - 1)), 1.0])
        roiNode.TransformPointToWorld(corner[:3], world)
        corners.append(list(world))
    corners = volume.lps_to_zyx(flipPoints(corners))
    low, high = corners.min(axis=0), corners.max(axis=0)
    first = np.maximum(np.ceil(low - OUTSIDE), 0).astype(int)
    last = np.minimum(np.floor(high + OUTSIDE), np.array(volume.shape) - 1).astype(int)
    if (last < first).any():
        raise InputError(
            f'The ROI "{name}" holds no voxel of the volume.', "Move it over the part of the volume that is wanted."
        )
    box = np.array([first, last])
    if np.minimum(corners - low, high - corners).max() <= TURNED:
        return box, ""
    sizes = " x ".join(map(str, last - first + 1))
    return box, f'The ROI "{name}" is turned against the voxels: its bounding box of {sizes} of them is taken.'


def requireKind(node: Any, kind: str, what: str) -> None:
    """Refuse what is not a node of a class; nothing at all is refused in other words.

    Raises:
        InputError: it is not; ``what`` says what was wanted.
    """
    if node is not None and not getattr(node, "IsA", lambda _: False)(kind):
        raise InputError(f"{node!r} is no {what}.", f"Give a {what} of the scene.")


def requireScalars(node: Any) -> None:
    """Refuse what is no volume node, and one without an image or with colours.

    Raises:
        InputError: it is.
    """
    if node is None:
        raise InputError("No volume is chosen.", "Choose a CT volume.")
    if not getattr(node, "IsA", lambda kind: False)("vtkMRMLVolumeNode"):
        raise InputError(f"{node!r} is no volume.", "Give a scalar volume node, or the path of a scan.")
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        raise InputError(f'"{node.GetName()}" holds no image.', "Load it again, or choose another volume.")
    if image.GetNumberOfScalarComponents() != 1:
        raise InputError(
            f'"{node.GetName()}" is a colour image.',
            "Choose a CT volume with one value, in Hounsfield units, per voxel.",
        )


@contextmanager
def _straightened(node: Any) -> Iterator[Any]:
    """The node itself, or a temporary one without parent transform where that bends space."""
    parent = node.GetParentTransformNode()
    if parent is None or parent.IsTransformToWorldLinear():
        yield node
        return
    clone = getattr(slicer, node.GetClassName())()
    clone.SetHideFromEditors(True)
    node.GetScene().AddNode(clone)
    try:
        clone.SetName(node.GetName())
        clone.CopyOrientation(node)
        clone.SetAndObserveImageData(node.GetImageData())
        clone.SetAndObserveTransformNodeID(parent.GetID())
        clone.HardenTransform()
        yield clone
    finally:
        node.GetScene().RemoveNode(clone)


def _toWorld(parent: Any) -> np.ndarray:
    """(4, 4) from below a linear transform node, or None, to the world, in RAS mm."""
    matrix = vtk.vtkMatrix4x4()
    if parent is not None:
        parent.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _ijkToWorld(node: Any) -> np.ndarray:
    """(4, 4) from (column, row, slice, 1) to RAS mm in the world, for a node whose transforms are linear."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return _toWorld(node.GetParentTransformNode()) @ slicer.util.arrayFromVTKMatrix(matrix)


def _merged(segmentationNode: Any, ids: list[str], volumeNode: Any) -> Any:
    """An image on the grid of a volume with the labels of segments, from 1 on in their order."""
    parent = segmentationNode.GetParentTransformNode()
    if parent is None or parent.IsTransformToWorldLinear():
        # on the volume's grid as the segmentation sees it: with two transforms Slicer itself resamples twice
        grid = slicer.vtkOrientedImageData()
        grid.SetExtent(volumeNode.GetImageData().GetExtent())
        seen = np.linalg.inv(_toWorld(parent)) @ _ijkToWorld(volumeNode)
        grid.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(seen))
        return _mergedOn(segmentationNode, ids, grid)
    merged = slicer.vtkOrientedImageData()
    slicer.vtkSlicerSegmentationsModuleLogic.GenerateMergedLabelmapInReferenceGeometry(
        segmentationNode, volumeNode, _strings(ids), slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY, merged
    )
    return merged


def _mergedOn(segmentationNode: Any, ids: list[str], grid: Any) -> Any:
    """The same on a grid that lies where the segmentation does, below no or the same transform."""
    merged, extent = slicer.vtkOrientedImageData(), slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
    segmentationNode.GenerateMergedLabelmapForAllSegments(merged, extent, grid, _strings(ids))
    return merged


def _strings(values: list[str]) -> vtk.vtkStringArray:
    array = vtk.vtkStringArray()
    for value in values:
        array.InsertNextValue(value)
    return array


def _mergedOnOwnGrid(segmentationNode: Any, ids: list[str]) -> tuple[Any, np.ndarray]:
    """An image with the labels of segments, from 1 on, on the grid that the segmentation was drawn on; and (4, 4) from
    its (column, row, slice, 1) to LPS mm in the world.
    """
    segmentation, grid = segmentationNode.GetSegmentation(), slicer.vtkOrientedImageData()
    known = segmentation.GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    if not known:
        known = segmentation.DetermineCommonLabelmapGeometry(slicer.vtkSegmentation.EXTENT_UNION_OF_SEGMENTS, None)
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(known, grid, False)
    merged = _mergedOn(segmentationNode, ids, grid)
    matrix = vtk.vtkMatrix4x4()
    merged.GetImageToWorldMatrix(matrix)
    first = slicer.util.arrayFromVTKMatrix(matrix)
    low = np.array([*merged.GetExtent()[::2], 1.0])
    first[:, 3] = first @ low
    return merged, FLIP @ _toWorld(segmentationNode.GetParentTransformNode()) @ first


def _compact(values: np.ndarray) -> np.ndarray:
    """Values in a type that the library knows."""
    if values.dtype in (np.uint8, np.int16, np.float32):
        return values
    if values.dtype.kind in "iu" and values.min() >= -32768 and values.max() <= 32767:
        return values.astype(np.int16)
    return values.astype(np.float32)


def _segmentIds(segmentationNode: Any) -> list[str]:
    display = segmentationNode.GetDisplayNode()
    if display is not None:
        return list(display.GetVisibleSegmentIDs())
    return list(segmentationNode.GetSegmentation().GetSegmentIDs())
