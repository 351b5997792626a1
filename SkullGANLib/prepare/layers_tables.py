"""How deep the two tables of the skull reach, from the run of HU below its two surfaces.

A table ends half way between its own HU and those of the diploe. In a scan a thin table never shows its own HU, since
blur mixes it with the soft tissue beyond the surface; that loss is known and made good first. The ends are then drawn
along the bone, where there is contrast to see them by.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

OUTER, DIPLOE, INNER = 1, 2, 3
STEP_MM = 0.15
DEPTHS_MM = (np.arange(30, dtype=np.float32) + np.float32(0.5)) * np.float32(STEP_MM)
THICKEST_MM = 3.5  # of a table
LARGEST_SHARE = 0.48  # of the bone that one table takes where a diploe shows
THINNEST_MM = 0.5  # of a diploe; what is left between two tables is less than can be seen
MIDDLE = np.linspace(0.38, 0.62, 8, dtype=np.float32)  # shares of the depth at which the diploe is looked for
NEAR_SURFACE_MM = 0.35  # where interpolation mixes in what is not bone
SOFT_HU = 20.0  # of what lies beyond the surfaces
ROUNDS = 3
LEAST_CONTRAST = 0.02  # of table and diploe, against the table; noise alone shows less
FAINT = 5e-4  # weight of a place without contrast

AlongBone = Callable[[np.ndarray, np.ndarray], np.ndarray]


def table_ends(
    from_outer: np.ndarray,
    from_inner: np.ndarray,
    middle: np.ndarray,
    thickness_mm: np.ndarray,
    smooth: AlongBone,
    blur_mm: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Depth at which the tables end, outer and inner one, each counted from its own surface.

    Args:
        from_outer: (..., 30) HU at ``DEPTHS_MM`` below the outer surface, averaged along the bone.
        from_inner: (..., 30) the same from the inner surface.
        middle: (..., 8) HU at the shares ``MIDDLE`` of the thickness, averaged along the bone.
        thickness_mm: (...).
        smooth: takes values and weights (...) and gives their weighted mean along the bone.
        blur_mm: sigma of the point spread, with what voxels add to it.

    Returns:
        (...) mm each. Bone without contrast around has no diploe: there both are half of the thickness. In no place
        do they add up to more than the thickness.
    """
    diploe_hu = middle.mean(-1)
    found = [_end(profile, diploe_hu, thickness_mm, blur_mm) for profile in (from_outer, from_inner)]
    outer, inner = (smooth(end, contrast + FAINT) for end, contrast in found)
    diploe_mm = thickness_mm - outer - inner
    joined = np.where(diploe_mm < THINNEST_MM, thickness_mm / np.maximum(outer + inner, 1e-3), 1)
    return outer * joined, inner * joined


def _end(
    profile: np.ndarray, diploe_hu: np.ndarray, thickness_mm: np.ndarray, blur_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where one table ends (mm), and its contrast to the diploe, 0 where there is none to see."""
    half = LARGEST_SHARE * thickness_mm
    deepest = np.minimum(half, THICKEST_MM)[..., None]
    in_table = (DEPTHS_MM >= NEAR_SURFACE_MM) & (deepest >= DEPTHS_MM)
    lost = 1 - ndtr(DEPTHS_MM / blur_mm).astype(np.float32)  # share of the table's place that blur gives away
    peak_hu = _peak(profile, in_table, diploe_hu)
    contrast = (peak_hu - diploe_hu) / np.maximum(peak_hu, 1)
    for _ in range(ROUNDS):
        whole = profile + (peak_hu - SOFT_HU)[..., None] * lost
        peak_hu = _peak(whole, in_table, diploe_hu)
    level = (peak_hu + diploe_hu) / 2
    top = np.where(in_table, whole, -np.inf).argmax(-1)
    below = (whole <= level[..., None]) & (np.arange(len(DEPTHS_MM)) >= top[..., None])
    k = np.where(below.any(-1), below.argmax(-1), len(DEPTHS_MM) - 1)
    high, low = (np.take_along_axis(whole, i[..., None], -1)[..., 0] for i in (np.maximum(k - 1, 0), k))
    end = (k - 0.5 + np.clip((high - level) / np.maximum(high - low, 1e-3), 0, 1)) * STEP_MM
    seen = contrast > LEAST_CONTRAST
    end = np.where(seen, np.minimum(end, half), thickness_mm / 2)
    return end.astype(np.float32), np.where(seen, contrast - LEAST_CONTRAST, 0).astype(np.float32)


def _peak(profile: np.ndarray, where: np.ndarray, default: np.ndarray) -> np.ndarray:
    peak = np.where(where, profile, -np.inf).max(-1)
    return np.where(np.isfinite(peak), peak, default)


def layer_of(
    below_outer_mm: np.ndarray, above_inner_mm: np.ndarray, outer_mm: np.ndarray, inner_mm: np.ndarray
) -> np.ndarray:
    """1 outer table, 2 diploe or 3 inner table of points in the bone, uint8.

    Args:
        below_outer_mm: depth of the points below the outer surface.
        above_inner_mm: their distance from the inner surface.
        outer_mm: where the outer table ends, from ``table_ends``.
        inner_mm: where the inner table ends.
    """
    beyond_outer, beyond_inner = below_outer_mm - outer_mm, above_inner_mm - inner_mm
    layers = np.where((beyond_outer > 0) & (beyond_inner > 0), np.uint8(DIPLOE), np.uint8(OUTER))
    layers[(beyond_inner <= 0) & (beyond_inner <= beyond_outer)] = INNER
    return layers
