"""Segments rolled out along their outer surface, so that slices of any curvature can lie side by side.

A segment shows a stretch of bone with the curvature of its own slice, laid level, its highest point some ten rows
below the upper edge. Side by side, slices of slightly different curvature would make steps in the surface. What bone is
like at a place depends on how far that lies along the outer surface and how deep below it, so that is what is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import make_smoothing_spline
from scipy.ndimage import gaussian_filter, map_coordinates, median_filter

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.radiological import CHUNK, measure_columns

LEVELS = 65  # of relative depth; half a pixel or less in all but the thickest bone
ACROSS = 2  # samples along the surface for each pixel, so that sampling them again blurs little
STIFFNESS_MM3 = 3.5  # of the smoothing spline: bends of less than some 10 mm are taken for noise of the edge
FEWEST_COLUMNS = 12  # of the 32 measured


@dataclass(frozen=True, eq=False)
class Unrolled:
    """Bone by slice, relative depth and distance along the outer surface.

    Attributes:
        hu: (n, levels, m) float32 HU, from the outer surface (level 0) to the inner one; the outermost pixel on either
            side, which is half background, shows what lies next to it.
        thickness_mm: (n, m) between the surfaces, along the normal of the outer one.
        step_mm: between two of the m places, which lie about the middle of the segment.
        pixel_mm: of the segments.
    """

    hu: np.ndarray
    thickness_mm: np.ndarray
    step_mm: float
    pixel_mm: float

    def smoothed(self, sigma_mm: float, spacing_mm: float) -> Unrolled:
        """The same bone with its thickness smoothed by a Gaussian, as much across slices that far apart as along."""
        if not sigma_mm:
            return self
        sigmas = sigma_mm / spacing_mm, sigma_mm / self.step_mm
        return replace(self, thickness_mm=gaussian_filter(self.thickness_mm, sigmas, mode="nearest"))

    def at_depths(self, depth_mm: np.ndarray) -> np.ndarray:
        """(n, depths, m) float32 HU at depths below the outer surface, 0 outside the bone."""
        levels = self.hu.shape[1]
        thickness = self.thickness_mm[:, None, :]
        level = np.clip(depth_mm[:, None] / np.maximum(thickness, 1e-3), 0, 1) * (levels - 1)
        below = np.minimum(level.astype(int), levels - 2)
        share = (level - below).astype(np.float32)
        upper, lower = (np.take_along_axis(self.hu, below + k, axis=1) for k in (0, 1))
        return (upper + share * (lower - upper)) * self.cover(depth_mm[:, None], thickness)

    def cover(self, depth_mm: np.ndarray, thickness_mm: np.ndarray) -> np.ndarray:
        """Part of a pixel at a depth that lies between the surfaces of bone of a thickness, float32."""
        beyond = np.maximum(-depth_mm, depth_mm - thickness_mm)
        return np.clip(0.5 - beyond / self.pixel_mm, 0, 1).astype(np.float32)


def unroll(hu: np.ndarray, pixel_mm: float) -> tuple[Unrolled, np.ndarray]:
    """Roll segments out.

    The outer surface is a smoothing spline through the half-peak edges of ``evaluate.radiological``, the depth is
    measured along its normal.

    Args:
        hu: (n, size, size) HU, outer surface up, background 0.
        pixel_mm: pixel size.

    Returns:
        The k segments that show a surface, and (k,) their numbers.

    Raises:
        InputError: none of them does.
    """
    size = hu.shape[-1]
    x = np.arange(size) - (size - 1) / 2
    u = np.arange(-(size - 1) / 2, size / 2, 1 / ACROSS)
    parts, thicknesses, numbers = [], [], []
    for start in range(0, len(hu), CHUNK):
        chunk = np.asarray(hu[start : start + CHUNK], np.float32)
        found = measure_columns(chunk, pixel_mm)
        at = found.columns - (size - 1) / 2
        for number, image in enumerate(chunk):
            edges = [_curve(at, rows[number], x, pixel_mm) for rows in (found.outer_row, found.inner_row)]
            if edges[0] is None or edges[1] is None:
                continue
            values, thickness = _sampled(image, x, u, *edges)
            parts.append(values)
            thicknesses.append(thickness * pixel_mm)
            numbers.append(start + number)
    if not parts:
        raise InputError("None of the segments shows bone from side to side.", "Choose another model or data set.")
    bone = Unrolled(np.stack(parts), np.stack(thicknesses).astype(np.float32), pixel_mm / ACROSS, pixel_mm)
    return bone, np.array(numbers)


def _curve(at: np.ndarray, rows: np.ndarray, x: np.ndarray, pixel_mm: float) -> np.ndarray | None:
    """A smooth curve through the rows of a surface that are known, at all columns ``x``."""
    known = np.isfinite(rows)
    if known.sum() < FEWEST_COLUMNS or np.ptp(at[known]) < 0.8 * np.ptp(at):
        return None
    calm = median_filter(rows[known], 3, mode="nearest")
    spline = make_smoothing_spline(at[known] * pixel_mm, calm, lam=STIFFNESS_MM3)
    return spline(x * pixel_mm)


def _sampled(
    image: np.ndarray, x: np.ndarray, u: np.ndarray, outer: np.ndarray, inner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(levels, m) HU below the places ``u`` of the outer surface, and the (m,) thickness there, in pixels."""
    slope = np.gradient(outer)
    length = np.hypot(1, slope)
    arc = np.concatenate([[0], np.cumsum((length[1:] + length[:-1]) / 2)])
    column = np.interp(u, arc - np.interp(0, x, arc), x)
    row, slope = np.interp(column, x, outer), np.interp(column, x, slope)
    upright = np.maximum(np.interp(column, x, inner) - row, 2.0)
    lean = np.interp(column, x, np.gradient((outer + inner) / 2))
    thickness = upright / np.hypot(1, lean)
    depth = np.clip(np.linspace(0, 1, LEVELS)[:, None] * thickness, 1.0, thickness - 1.0)
    across, down = -slope / np.hypot(1, slope), 1 / np.hypot(1, slope)
    at = [row + depth * down, column + depth * across + (len(x) - 1) / 2]
    return map_coordinates(image, at, order=1, mode="nearest"), thickness
