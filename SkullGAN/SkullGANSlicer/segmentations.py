"""Segmentations as label maps: which of its segments each voxel of a grid belongs to, wherever both lie."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError

from . import geometry

BINARY_LABELMAP = "Binary labelmap"
MOST_SEGMENTS = 255  # that a label map of 8 bits tells apart


def labelsFromSegmentation(
    segmentationNode: Any, volumeNode: Any, segmentIds: Iterable[str] | None = None
) -> np.ndarray:
    """Where the segments of a segmentation lie in a volume; the parent transforms of both count.

    Args:
        segmentationNode: ``vtkMRMLSegmentationNode``.
        volumeNode: the volume whose grid is wanted.
        segmentIds: segments to unite; the visible ones if not given.

    Returns:
        (slice, row, column) uint8 as ``geometry.volumeFromNode(volumeNode).hu``: 1 in any of the segments, else 0.

    Raises:
        InputError: no such segments, or nothing of them inside the volume.
    """
    geometry.requireKind(segmentationNode, "vtkMRMLSegmentationNode", "segmentation node")
    geometry.requireScalars(volumeNode)
    if segmentationNode is None:
        raise InputError("No segmentation is chosen.", "Choose one, or leave the automatic skull mask.")
    name, segmentation = segmentationNode.GetName(), segmentationNode.GetSegmentation()
    ids = _visible(segmentationNode) if segmentIds is None else list(segmentIds)
    if unknown := [one for one in ids if segmentation.GetSegment(one) is None]:
        raise InputError(f'"{name}" has no segment "{unknown[0]}".', "Choose among the segments that it has.")
    if not ids:
        raise InputError(f'"{name}" has no visible segment.', "Draw the skull in it, or make its segment visible.")
    _requireVoxels(segmentationNode)
    with geometry.straightened(volumeNode) as straight:
        labels = (_array(_mergedInVolume(segmentationNode, ids, straight)) != 0).view(np.uint8)
    if not labels.any():
        raise _nothing(name, volumeNode, "Draw the skull in them")
    return labels


def labelMapFromSegmentation(segmentationNode: Any, volumeNode: Any = None) -> tuple[Volume, dict[int, str]]:
    """The visible segments of a segmentation as a label map in the world, and which label is which segment.

    Args:
        segmentationNode: ``vtkMRMLSegmentationNode``.
        volumeNode: on whose grid; on the segmentation's own if not given.

    Returns:
        Volume of uint8 labels from 1 on, in the order of the segments, later ones over earlier ones; and label to name,
        which is the segment's ID where it has none.

    Raises:
        InputError: no segmentation, no visible segment, all of them empty or outside of the volume, more than 255, or
            a sheared grid.
    """
    geometry.requireKind(segmentationNode, "vtkMRMLSegmentationNode", "segmentation node")
    if segmentationNode is None:
        raise InputError("No segmentation is chosen.", "Choose one.")
    name, ids = segmentationNode.GetName(), _visible(segmentationNode)
    if not 0 < len(ids) <= MOST_SEGMENTS:
        raise InputError(f'"{name}" has {len(ids)} visible segments.', "Draw some, or hide those that are too many.")
    _requireVoxels(segmentationNode)
    if volumeNode is not None:
        geometry.requireScalars(volumeNode)
        with geometry.straightened(volumeNode) as straight:
            values = _array(_mergedInVolume(segmentationNode, ids, straight)).astype(np.uint8)
            labels = geometry.volumeOn(values, geometry.ijkToWorld(straight), volumeNode.GetName())
    else:
        geometry.requireStraight(segmentationNode, "Choose the CT volume it belongs to.")
        merged, ijk_to_ras = _mergedOnOwnGrid(segmentationNode, ids)
        advice = "Take it out of its transform, or choose the CT volume it belongs to."
        labels = geometry.volumeOn(_array(merged).astype(np.uint8), ijk_to_ras, name, advice)
    if not labels.hu.any():
        raise _nothing(name, volumeNode, "Draw them in the module Segment Editor")
    segmentation = segmentationNode.GetSegmentation()
    return labels, {k: segmentation.GetSegment(one).GetName().strip() or one for k, one in enumerate(ids, start=1)}


def _visible(segmentationNode: Any) -> list[str]:
    """IDs of the segments that are shown; of all where nothing says which are."""
    display = segmentationNode.GetDisplayNode()
    if display is not None:
        return list(display.GetVisibleSegmentIDs())
    return list(segmentationNode.GetSegmentation().GetSegmentIDs())


def _requireVoxels(segmentationNode: Any) -> None:
    """Let Slicer make a binary label map of surfaces, where that is not there yet."""
    if not segmentationNode.GetSegmentation().CreateRepresentation(BINARY_LABELMAP):
        raise InputError(
            f'"{segmentationNode.GetName()}" cannot be turned into voxels.',
            "Draw it again in the module Segment Editor.",
        )


def _nothing(name: str, volumeNode: Any, draw: str) -> InputError:
    if volumeNode is None:
        return InputError(
            f'The segments of "{name}" are empty or lie outside of its own grid.',
            f"{draw}, or choose the CT volume they belong to.",
        )
    return InputError(
        f'The segments of "{name}" are empty or lie outside of "{volumeNode.GetName()}".',
        f"{draw}, and check that both lie in the same place.",
    )


def _array(image: Any) -> np.ndarray:
    """(slice, row, column) values of a merged label map; 0 throughout where Slicer has given it none."""
    shape, scalars = image.GetDimensions()[::-1], image.GetPointData().GetScalars()
    return np.zeros(shape, np.uint8) if scalars is None else vtk_to_numpy(scalars).reshape(shape)


def _mergedInVolume(segmentationNode: Any, ids: list[str], volumeNode: Any) -> Any:
    """An image on the grid of a volume with the labels of segments, from 1 on in their order."""
    if geometry.isStraight(segmentationNode):
        # on the volume's grid as the segmentation sees it: with two transforms Slicer itself resamples twice
        grid = slicer.vtkOrientedImageData()
        grid.SetExtent(volumeNode.GetImageData().GetExtent())
        toWorld = geometry.toWorld(segmentationNode.GetParentTransformNode())
        seen = np.linalg.inv(toWorld) @ geometry.ijkToWorld(volumeNode)
        grid.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(seen))
        return _mergedOn(segmentationNode, ids, grid)
    merged = slicer.vtkOrientedImageData()
    slicer.vtkSlicerSegmentationsModuleLogic.GenerateMergedLabelmapInReferenceGeometry(
        segmentationNode, volumeNode, _strings(ids), slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY, merged
    )
    return merged


def _mergedOnOwnGrid(segmentationNode: Any, ids: list[str]) -> tuple[Any, np.ndarray]:
    """An image with the labels of segments, from 1 on, on the grid that the segmentation was drawn on, and (4, 4) from
    its (column, row, slice, 1) to RAS mm in the world.

    Where nothing says what that grid was, it is that of the finest segment, as large as the segments and one voxel more
    on each side.
    """
    segmentation, converter = segmentationNode.GetSegmentation(), slicer.vtkSegmentationConverter
    known = segmentation.GetConversionParameter(converter.GetReferenceImageGeometryParameterName())
    if not known:
        extent = slicer.vtkSegmentation.EXTENT_UNION_OF_EFFECTIVE_SEGMENTS_PADDED
        known = segmentation.DetermineCommonLabelmapGeometry(extent, _strings(ids))
    grid = slicer.vtkOrientedImageData()
    if known:
        converter.DeserializeImageGeometry(known, grid, False)
    merged = grid if grid.IsEmpty() else _mergedOn(segmentationNode, ids, grid)
    matrix = vtk.vtkMatrix4x4()
    merged.GetImageToWorldMatrix(matrix)
    first = slicer.util.arrayFromVTKMatrix(matrix)
    low = np.array([*merged.GetExtent()[::2], 1.0])
    first[:, 3] = first @ low
    return merged, geometry.toWorld(segmentationNode.GetParentTransformNode()) @ first


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
