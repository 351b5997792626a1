"""Which cut-out pieces can serve as segments, and in words why the others cannot."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

OK = "ok"
METAL_HU = 3000.0
AIR_HU = -100.0
AIR_PIXELS = 6
MAX_DEPTH_SHARE = 0.7  # bone further down than this share of the image belongs to the far side of a small ring
HOLE_SHARE = 0.6  # of its neighbours' peaks, below which a column belongs to a suture, a seam or a hole
SLANT = 10
JOINED_SHARE = 2.0
HOLE_REACH = 12  # columns to either side that a column is compared with
UNCLEAR_SHARE = 0.9
MIN_THICKNESS_MM = 1.5
OUTER_JUMP, INNER_JUMP = 5, 9  # rows between neighbouring columns that no smooth bone edge makes


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a (rows, columns) bool mask."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    return labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))


def judge(
    hu: np.ndarray,
    mask: np.ndarray,
    shown: np.ndarray,
    trusted_share: float,
    obliquity_deg: float,
    max_obliquity_deg: float,
    thickness_mm: float,
) -> str:
    """``ok`` or the reason against one piece.

    Args:
        hu: (rows, columns) HU as sampled, not masked.
        mask: (rows, columns) bool, the bone.
        shown: (rows, columns) bool, where the scan has values.
        trusted_share: part of the piece whose edges were seen and not filled in.
        obliquity_deg: angle between cutting plane and surface normal.
        max_obliquity_deg: largest angle allowed.
        thickness_mm: mean thickness, NaN where it could not be measured.
    """
    if not shown[mask].all():
        return "outside the field of view"
    if not mask.any(axis=0).all():
        return "does not span the width"
    if obliquity_deg > max_obliquity_deg:
        return "cut obliquely"
    if mask[round(MAX_DEPTH_SHARE * len(mask)) :].any():
        return "too curved"
    if (hu[mask] >= METAL_HU).sum() >= 3:
        return "metal"
    inside = ndimage.binary_erosion(mask, iterations=2, border_value=1)
    if (hu[inside] < AIR_HU).sum() >= AIR_PIXELS:
        return "air cells or a gap"
    if has_hole(hu, mask):
        return "suture or hole"
    if is_joined(mask):
        return "joined by other bone"
    if not thickness_mm >= MIN_THICKNESS_MM:
        return "too thin"
    if trusted_share < UNCLEAR_SHARE or is_ragged(mask):
        return "edges unclear"
    return OK


def has_hole(hu: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a dark line runs through the bone from edge to edge, as at a suture, a seam or a burr hole.

    The line is one where the peaks of the outer and of the inner half of the bone both fall far below those of their
    neighbours, no more than ``SLANT`` columns apart, since sutures run through the bone at a slant.
    """
    middle = (np.argmax(mask, axis=0) + len(mask) - np.argmax(mask[::-1], axis=0)) / 2
    outer = mask & (np.arange(len(mask))[:, None] < middle)
    near = [ndimage.binary_dilation(_dips(hu, half), iterations=SLANT // 2) for half in (outer, mask & ~outer)]
    return bool((near[0] & near[1]).any() or _dips(hu, mask).any())


def _dips(hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(columns,) bool: where the peak inside the mask falls far below those of the neighbouring columns."""
    peak = np.where(mask, hu, -np.inf).max(axis=0)
    return peak < HOLE_SHARE * ndimage.median_filter(peak, size=2 * HOLE_REACH + 1, mode="nearest")


def is_joined(mask: np.ndarray) -> bool:
    """Whether some column is so much thicker than the others that bone of the skull base must lie in it."""
    thickness = mask.sum(axis=0)
    return bool(thickness.max() > JOINED_SHARE * np.median(thickness))


def is_ragged(mask: np.ndarray) -> bool:
    """Whether the outer or the inner edge jumps between neighbouring columns of a mask that spans the width."""
    outer = np.argmax(mask, axis=0)
    inner = len(mask) - 1 - np.argmax(mask[::-1], axis=0)
    return bool(np.abs(np.diff(outer)).max() >= OUTER_JUMP or np.abs(np.diff(inner)).max() >= INNER_JUMP)
