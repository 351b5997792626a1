"""Bone in 3D as a picture: the surface at a threshold, lit from the viewer's side."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SkullGANLib.ct.volume import Volume

SIZE = 240
BONE_HU = 300.0
_AMBIENT = 0.15


def rendered(
    volume: Volume,
    *,
    threshold_hu: float = BONE_HU,
    azimuth_deg: float = 35.0,
    elevation_deg: float = 15.0,
    size: int = SIZE,
) -> np.ndarray:
    """A volume seen from outside, in parallel projection; the corners of its box may lie outside.

    Args:
        volume: CT in HU.
        threshold_hu: at which the surface is drawn, found between voxels.
        azimuth_deg: of the viewer: 0 looks at the face, 90 at the patient's left.
        elevation_deg: of the viewer above the horizon.
        size: of the picture in pixels.

    Returns:
        (size, size) uint8; black where no ray meets the surface.
    """
    half_mm = 0.4 * float(np.linalg.norm(volume.extents_mm))
    steps = np.linspace(-half_mm, half_mm, size)
    pixel_mm = steps[1] - steps[0]
    right, up, inwards = _axes(np.radians(azimuth_deg), np.radians(elevation_deg))
    to_index = np.linalg.inv(_index_matrix(volume))  # mm to (slice, row, column)
    matrix = to_index @ np.stack([inwards, -up, right], 1)
    start = (np.array(volume.shape) - 1) / 2 + matrix @ np.full(3, steps[0])
    hu, shape = np.asarray(volume.hu, np.float32), (size, size, size)
    cube = ndimage.affine_transform(hu, matrix * pixel_mm, start, shape, order=1, mode="constant", cval=-1000)
    return _shaded(cube, threshold_hu)


def _index_matrix(volume: Volume) -> np.ndarray:
    """Columns: mm in LPS for a step along (slice, row, column)."""
    origin = volume.zyx_to_lps(np.zeros(3))
    return np.stack([volume.zyx_to_lps(step) - origin for step in np.eye(3)], 1)


def _axes(azimuth: float, elevation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """To the right and up in the picture, and away from the viewer, in LPS (left, back, up)."""
    inwards = np.array([-np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation), -np.sin(elevation)])
    right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    return right, np.cross(right, inwards), inwards


def _shaded(cube: np.ndarray, threshold: float) -> np.ndarray:
    """The first surface along axis 0, brighter where it faces the viewer, darker where it lies deep."""
    solid = cube >= threshold
    met, at = solid.any(0), solid.argmax(0)
    rows, columns = np.indices(met.shape)
    before = np.maximum(at - 1, 0)  # within thin bone the slope may lead out again
    inside, outside = cube[at, rows, columns], cube[before, rows, columns]
    depth = at - np.clip((inside - threshold) / np.maximum(inside - outside, 1e-3), 0, 1)
    smooth = ndimage.gaussian_filter(cube, 1.0)
    slopes = np.stack(np.gradient(smooth))[:, before, rows, columns]
    facing = slopes[0] / np.maximum(np.linalg.norm(slopes, axis=0), 1e-3)
    near = 1 - 0.5 * depth / len(cube)
    grey = 255 * (_AMBIENT + (1 - _AMBIENT) * facing.clip(0, 1)) * near
    return np.where(met, grey, 0).astype(np.uint8)
