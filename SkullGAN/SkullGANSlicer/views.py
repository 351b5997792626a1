"""What the slice views show: a volume, one of its slices, or the plane that a segment was cut in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from SkullGANLib.errors import InputError

from . import geometry

VIEW_MM = 80.0  # the square of 58 mm and some of what lies around it
BONE_ROW = 18 / 128  # the middle of the bone in a segment: it begins at row 10 of 128 and is some 15 rows deep
MARGIN = 1.05
LAYOUT_NAMES = ("Red", "Green", "Yellow")
SIDE_BY_SIDE = (
    slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView,
    slicer.vtkMRMLLayoutNode.SlicerLayoutThreeOverThreeView,
)
"""Layouts with these three in a row."""
COMPARISON = 7351  # any number that neither Slicer nor another extension gives a layout
_SLICE_VIEW = (
    '<item><view class="vtkMRMLSliceNode" singletontag="{name}">'
    '<property name="orientation" action="default">Axial</property>'
    '<property name="viewlabel" action="default">{letter}</property>'
    '<property name="viewcolor" action="default">{colour}</property></view></item>'
)
COMPARISON_LAYOUT = (
    '<layout type="vertical" split="true"><item><layout type="horizontal">'
    + _SLICE_VIEW.format(name="Red", letter="R", colour="#F34A33")
    + _SLICE_VIEW.format(name="Green", letter="G", colour="#6EB04B")
    + '</layout></item><item><view class="vtkMRMLViewNode" singletontag="1">'
    '<property name="viewlabel" action="default">1</property></view></item></layout>'
)
"""Two slice views side by side, and a 3D view below."""


def showVolume(volumeNode: Any, fit: bool = True) -> None:
    """Show a volume behind everything else in all slice views.

    Args:
        volumeNode: volume node of the scene.
        fit: also turn, centre and zoom the views so that all of it shows.
    """
    application = getattr(slicer, "app", None)
    logic = application.applicationLogic() if application is not None else None
    selection = logic.GetSelectionNode() if logic is not None else None
    if selection is not None:
        selection.SetActiveVolumeID(volumeNode.GetID())
        logic.PropagateBackgroundVolumeSelection(int(fit))
        return
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(volumeNode.GetID())
    if fit:
        for node in _sliceNodes():
            _fit(node, volumeNode, _toWorld(volumeNode, _middle(volumeNode)))


def showSideBySide(volumeNodes: Sequence[Any]) -> None:
    """Show up to three volumes, each whole and upright in a slice view of its own, next to each other.

    Args:
        volumeNodes: of the scene; for the red, the green and the yellow view.
    """
    application = getattr(slicer, "app", None)
    manager = application.layoutManager() if application is not None else None
    if manager is not None and manager.layout not in SIDE_BY_SIDE:
        manager.setLayout(SIDE_BY_SIDE[0])
    composites = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
    for node, volumeNode in zip(_sliceNodes(), volumeNodes, strict=False):
        composite = composites.get(node.GetLayoutName())
        if composite is not None:
            composite.SetBackgroundVolumeID(volumeNode.GetID())
        _turnToAxial(node)
        _fit(node, volumeNode, _toWorld(volumeNode, _middle(volumeNode)))


def compareVolumes(volumeNode: Any, drawnNode: Any) -> None:
    """Show the same slice of two volumes side by side, and the 3D view below; scrolling one view moves the other.

    Args:
        volumeNode: for the red view.
        drawnNode: for the green view; both show as much as there is of it.
    """
    application = getattr(slicer, "app", None)
    manager = application.layoutManager() if application is not None else None
    if manager is not None:
        layouts = manager.layoutLogic().GetLayoutNode()
        if not layouts.IsLayoutDescription(COMPARISON):
            layouts.AddLayoutDescription(COMPARISON, COMPARISON_LAYOUT)
        manager.setLayout(COMPARISON)
    slices = {node.GetLayoutName(): node for node in _sliceNodes()}
    composites = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
    centre = _toWorld(drawnNode, _middle(drawnNode))
    for name, node in (("Red", volumeNode), ("Green", drawnNode)):
        if name in composites:
            composites[name].SetBackgroundVolumeID(node.GetID())
            composites[name].SetLinkedControl(False)  # until both show the same
        if name in slices:
            _turnToAxial(slices[name])
            _fit(slices[name], drawnNode, centre)
    for name in ("Red", "Green"):
        if name in composites:
            composites[name].SetForegroundVolumeID(None)
            composites[name].SetLinkedControl(True)
    if manager is not None:
        manager.resetThreeDViews()


def jumpToSlice(volumeNode: Any, k: int, fit: bool = False) -> None:
    """Show slice ``k`` of a volume of segments in the axial (red) view.

    The view turns back to axial. It is centred and zoomed only where it would not show the slice, or with ``fit``.

    Raises:
        InputError: the volume has no such slice.
    """
    image = volumeNode.GetImageData()
    slices = 0 if image is None else image.GetDimensions()[2]
    if not 0 <= k < slices:
        raise InputError(f'"{volumeNode.GetName()}" has no slice {k}.', f"It has {slices}; the first is 0.")
    centre = _toWorld(volumeNode, [*_middle(volumeNode)[:2], k])
    for node in _sliceNodes()[:1]:
        before = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
        _turnToAxial(node)
        turned = not np.allclose(before[:3, :3], slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, :3])
        offset = (centre - before[:3, 3]) @ before[:3, :2] - node.GetXYZOrigin()[:2]
        if fit or turned or (np.abs(offset) > np.array(node.GetFieldOfView()[:2]) / 2).any():
            _fit(node, volumeNode, centre)
        else:
            node.JumpSliceByOffsetting(*centre)


def jumpToSegment(row: Mapping[str, Any], spacing_mm: float, size: int) -> None:
    """Show the place of a segment in the head.

    The red view shows the plane of the cut, as the segment looks. The others cut the bone there at right angles: the
    green one across the segment, the yellow one along the surface. Further views repeat these in turn.

    Args:
        row: one row of a segment table, column name to value.
        spacing_mm: of the segment's pixels.
        size: pixels along a side.

    Raises:
        InputError: the segment was not cut out of a scan.
    """
    corner, right, down = (geometry.flipPoints(part) for part in geometry.segmentPlace(row))
    normal = np.cross(right, down)
    normal *= np.sign(normal[np.abs(normal).argmax()])  # scrolling up goes right, forward or up, as in other views
    middle = (size - 1) / 2 * spacing_mm
    centre = corner + middle * (right + down)
    bone = corner + middle * right + BONE_ROW * size * spacing_mm * down
    planes = (
        (right, -down, normal, centre),
        (normal, -down, right, bone),
        (right, normal, -down, bone),
    )
    for index, node in enumerate(_sliceNodes()):
        _aim(node, np.stack(planes[index % len(planes)], axis=1), (VIEW_MM, VIEW_MM))


def _sliceNodes() -> list[Any]:
    """All slice nodes; red, green and yellow first."""
    rank = {name: index for index, name in enumerate(LAYOUT_NAMES)}
    return sorted(
        slicer.util.getNodesByClass("vtkMRMLSliceNode"), key=lambda node: rank.get(node.GetLayoutName(), len(rank))
    )


def _turnToAxial(node: Any) -> None:
    if node.HasSliceOrientationPreset("Axial"):
        node.SetOrientationToAxial()
        return
    axial = vtk.vtkMatrix3x3()
    node.GetAxialSliceToRASMatrix(axial)
    matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
    matrix[:3, :3] = slicer.util.arrayFromVTKMatrix(axial)
    _setSliceToRas(node, matrix)


def _fit(node: Any, volumeNode: Any, centre: np.ndarray) -> None:
    """Centre a view, as it is turned, on a point, so wide that all of a volume shows."""
    axes = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, :3]
    nx, ny, nz = volumeNode.GetImageData().GetDimensions()
    corners = [[i, j, k] for i in (-0.5, nx - 0.5) for j in (-0.5, ny - 0.5) for k in (-0.5, nz - 0.5)]
    away = (np.array([_toWorld(volumeNode, corner) for corner in corners]) - centre) @ axes[:, :2]
    _aim(node, np.column_stack([axes, centre]), 2 * MARGIN * np.abs(away).max(axis=0))


def _aim(node: Any, frame: np.ndarray, shown_mm: tuple[float, float]) -> None:
    """Turn a view so that its x, y, normal and middle are the columns of ``frame``, and that so much shows."""
    was = node.StartModify()
    _setSliceToRas(node, np.vstack([frame, [0, 0, 0, 1]]))
    node.SetSliceOrigin(0, 0, 0)
    width, height, _ = node.GetDimensions()
    per_pixel = max(shown_mm[0] / max(width, 1), shown_mm[1] / max(height, 1))
    node.SetFieldOfView(max(width, 1) * per_pixel, max(height, 1) * per_pixel, node.GetFieldOfView()[2])
    node.UpdateMatrices()
    node.EndModify(was)


def _setSliceToRas(node: Any, matrix: np.ndarray) -> None:
    slicer.util.updateVTKMatrixFromArray(node.GetSliceToRAS(), matrix)
    node.UpdateMatrices()


def _middle(volumeNode: Any) -> list[float]:
    return [(n - 1) / 2 for n in volumeNode.GetImageData().GetDimensions()]


def _toWorld(volumeNode: Any, ijk: list[float]) -> np.ndarray:
    """(3,) RAS mm in the world of a voxel position (column, row, slice)."""
    matrix, world = vtk.vtkMatrix4x4(), [0.0, 0.0, 0.0]
    volumeNode.GetIJKToRASMatrix(matrix)
    volumeNode.TransformPointToWorld(matrix.MultiplyPoint([*ijk, 1.0])[:3], world)
    return np.array(world)
