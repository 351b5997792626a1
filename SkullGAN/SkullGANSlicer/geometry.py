"""Places: between the nodes of the scene (RAS, parent transforms) and the library (LPS, world).

The one file in which RAS becomes LPS and back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS to LPS, and LPS to RAS
OUTSIDE, TURNED = 1e-6, 0.5  # voxels: by which centres may lie outside of an ROI; by which its faces may lean
STRAIGHT = 1e-4  # cosine between two axes of a grid up to which they count as perpendicular
RIGID = 1e-3  # as ``skullgan prepare --head-frame`` demands


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
    with straightened(node) as straight:
        hu = _compact(slicer.util.arrayFromVolume(straight))
        return volumeOn(hu, ijkToWorld(straight), node.GetName())


def volumeOn(
    values: np.ndarray,
    ijk_to_ras: np.ndarray,
    name: str,
    advice: str = "Take it out of its transform, or resample it on a straight grid (module Crop Volume).",
) -> Volume:
    """Voxels on a grid of the world.

    Args:
        values: (slice, row, column).
        ijk_to_ras: (4, 4) from (column, row, slice, 1) to RAS mm in the world.
        name: of the node they are from.
        advice: what to do where they cannot be used.

    Raises:
        InputError: a sheared or flat grid.
    """
    matrix = FLIP @ ijk_to_ras
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    direction = matrix[:3, :3] / np.maximum(spacing, 1e-12)
    if spacing.min() < 1e-6 or not np.allclose(direction.T @ direction, np.eye(3), atol=STRAIGHT):
        raise InputError(
            f'The voxels of "{name}" are sheared or flat, so that its slices do not lie straight above each other.',
            advice,
        )
    return Volume(values, tuple(spacing.tolist()), tuple(matrix[:3, 3].tolist()), direction)


def setGeometry(node: Any, index_to_lps: np.ndarray) -> None:
    """Give a volume node its place.

    Args:
        node: volume node.
        index_to_lps: (4, 4) from (column, row, slice, 1) to LPS mm.
    """
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(FLIP @ np.asarray(index_to_lps, float)))


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
    matrix = FLIP @ toWorld(transformNode) @ FLIP
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


def isStraight(node: Any) -> bool:
    """Whether no transform above a node bends space."""
    parent = node.GetParentTransformNode()
    return parent is None or bool(parent.IsTransformToWorldLinear())


def requireStraight(node: Any, advice: str) -> None:
    """Refuse a node below a transform that bends space.

    Raises:
        InputError: it is; ``advice`` says what to do.
    """
    if not isStraight(node):
        raise InputError(f'"{node.GetName()}" lies below a transform that bends space.', advice)


@contextmanager
def straightened(node: Any) -> Iterator[Any]:
    """The node itself, or a temporary one without parent transform where that bends space."""
    if isStraight(node):
        yield node
        return
    clone = getattr(slicer, node.GetClassName())()
    clone.SetHideFromEditors(True)
    node.GetScene().AddNode(clone)
    try:
        clone.SetName(node.GetName())
        clone.CopyOrientation(node)
        clone.SetAndObserveImageData(node.GetImageData())
        clone.SetAndObserveTransformNodeID(node.GetParentTransformNode().GetID())
        clone.HardenTransform()
        yield clone
    finally:
        node.GetScene().RemoveNode(clone)


def toWorld(parent: Any) -> np.ndarray:
    """(4, 4) from below a linear transform node, or None, to the world, in RAS mm."""
    matrix = vtk.vtkMatrix4x4()
    if parent is not None:
        parent.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def ijkToWorld(node: Any) -> np.ndarray:
    """(4, 4) from (column, row, slice, 1) to RAS mm in the world, for a node whose transforms are linear."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return toWorld(node.GetParentTransformNode()) @ slicer.util.arrayFromVTKMatrix(matrix)


def _compact(values: np.ndarray) -> np.ndarray:
    """Values in a type that the library knows."""
    if values.dtype in (np.uint8, np.int16, np.float32):
        return values
    if values.dtype.kind in "iu" and values.min() >= -32768 and values.max() <= 32767:
        return values.astype(np.int16)
    return values.astype(np.float32)
