"""From image slices, wherever a scanner put them, to a regular grid with perpendicular axes.

Slices go missing, lie at changing distances, or move sideways when the gantry is tilted; a volume knows none of that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SkullGANLib.ct.checks import AIR_HU
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress, report

EVEN_MM, EVEN_SHARE = 0.05, 0.02  # positions are rounded in headers; less than this is no unevenness
WIDE = 1.5  # gaps of more typical distances than this lack slices
NEAR_WHOLE = 0.25  # a gap this near to a whole number of distances has lost slices; others are uneven
FEW_WIDE = 3, 0.25  # more wide gaps than this (count, share) are a change of distance, not lost slices
WIDEST_GAP_MM = 25.0  # no interpolation bridges more
SIDEWAYS_PIXELS = 0.1  # smaller shifts over the whole stack are rounding


@dataclass(frozen=True)
class SliceGrid:
    """A regular grid and how to fill it from n slices sorted along their normal.

    Attributes:
        spacing_mm: distance of the grid's slices.
        lower: (m,) for each grid slice the index of the given slice at or below it.
        weight: (m,) share of the given slice above it; 0 copies the lower slice unchanged.
        shift_px: (n, 2) by how many (rows, columns) each given slice is moved.
        pad_px: ((top, bottom), (left, right)) rows and columns added so that nothing is moved out of the picture.
        tilt_deg: angle between the line along which the slices advance and their normal.
        notes: what was done, in sentences for the user; empty when the slices already are the grid.
    """

    spacing_mm: float
    lower: np.ndarray
    weight: np.ndarray
    shift_px: np.ndarray
    pad_px: tuple[tuple[int, int], tuple[int, int]]
    tilt_deg: float
    notes: tuple[str, ...]

    def fill(self, slices: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        """Put slices on the grid: cubic within the plane where they move sideways, linear between slices.

        Args:
            slices: (n, rows, columns) int16 or float32 HU.
            progress: reported to once a slice.

        Returns:
            (m, rows + padding, columns + padding) of the same dtype; the array itself if nothing is to be done.
        """
        moves = bool(np.any(self.shift_px))
        if not moves and not self.weight.any() and len(self.lower) == len(slices):
            return slices
        (top, bottom), (left, right) = self.pad_px
        shape = (len(self.lower), slices.shape[1] + top + bottom, slices.shape[2] + left + right)
        filled = np.empty(shape, slices.dtype)
        placed: dict[int, np.ndarray] = {}
        for k, (below, weight) in enumerate(zip(self.lower, self.weight, strict=True)):
            needed = (below, below + 1) if weight else (below,)
            placed = {i: placed[i] if i in placed else self._place(slices[i], i) for i in needed}
            image = placed[below]
            if weight:
                image = (1 - weight) * image + weight * placed[below + 1]
            filled[k] = np.rint(image) if np.issubdtype(filled.dtype, np.integer) else image
            report(progress, k + 1, len(filled), "Putting slices on a regular grid")
        return filled

    def _place(self, image: np.ndarray, index: int) -> np.ndarray:
        image = np.pad(image.astype(np.float32), self.pad_px, constant_values=AIR_HU)
        if not self.shift_px[index].any():
            return image
        whole = np.floor(self.shift_px[index]).astype(int)
        moved = np.roll(image, whole, axis=(0, 1))  # the padding has room for it
        for axis, part in enumerate(self.shift_px[index] - whole):
            if part > 1e-4:
                moved = _shift_by_part(moved, axis, part)
        # a cubic rings at the edge of padding and metal; no scanner measured those values
        return np.clip(moved, image.min(), image.max())


def _shift_by_part(image: np.ndarray, axis: int, part: float) -> np.ndarray:
    """Move an image by 0 <= ``part`` < 1 of a pixel along an axis (Keys' cubic convolution, 1981, a = -1/2)."""
    from scipy import ndimage

    a = np.abs(np.array([2.0, 1.0, 0.0, -1.0]) - part)
    taps = np.where(a <= 1, 1.5 * a**3 - 2.5 * a**2 + 1, -0.5 * a**3 + 2.5 * a**2 - 4 * a + 2)
    return ndimage.correlate1d(image, taps, axis=axis, mode="nearest")


def plan_grid(offsets_mm: np.ndarray, pixel_spacing_mm: tuple[float, float], where_mm: np.ndarray) -> SliceGrid:
    """Find the regular grid nearest to where the slices lie.

    Args:
        offsets_mm: (n, 3) corner of each slice relative to the first one's: along its columns' direction of increase
            (x of the image), along its rows' (y of the image), and along the normal; the last strictly increasing.
        pixel_spacing_mm: (between rows, between columns).
        where_mm: (n,) coordinate by which a user knows each slice, for the notes.

    Raises:
        InputError: when the slices cannot be one volume (a gap too wide to bridge, or frames that do not overlap).
    """
    distance = offsets_mm[:, 2]
    gaps = np.diff(distance)
    typical = _typical(gaps)
    if gaps.max() > max(WIDEST_GAP_MM, WIDE * typical):
        at = int(gaps.argmax())
        raise InputError(
            f"The slices leave a gap of {gaps[at]:.0f} mm between {where_mm[at]:.1f} and {where_mm[at + 1]:.1f} mm.",
            "Complete the series, or put the slices on either side of the gap into folders of their own.",
        )
    steps = np.maximum(np.rint(gaps / typical), 1).astype(int)
    index = np.concatenate([[0], np.cumsum(steps)])
    spacing = distance[-1] / index[-1]
    even = np.abs(distance - index * spacing).max() <= max(EVEN_MM, EVEN_SHARE * spacing)
    notes = _missing_notes(gaps, steps, typical, where_mm)
    wide_zone = not notes and bool(np.any(gaps > WIDE * typical))
    if even:
        grid, known = np.arange(index[-1] + 1), index
    else:
        spacing = typical
        grid, known = np.arange(int(distance[-1] / spacing + 1e-3) + 1), distance / spacing
    if wide_zone or not even:
        notes.append(
            f"The distance between slices varies from {gaps.min():.3g} to {gaps.max():.3g} mm: the volume was "
            f"resampled (linearly) to an even {spacing:.3g} mm."
        )
    lower = np.clip(np.searchsorted(known, grid, side="right") - 1, 0, len(known) - 1)
    above = np.minimum(lower + 1, len(known) - 1)
    weight = np.where(above > lower, (grid - known[lower]) / np.maximum(known[above] - known[lower], 1e-9), 0.0)
    weight[weight < 1e-6] = 0.0
    shift_px, pad_px, tilt_deg = _sideways(offsets_mm, pixel_spacing_mm, notes)
    return SliceGrid(float(spacing), lower, weight, shift_px, pad_px, tilt_deg, tuple(notes))


def _typical(gaps: np.ndarray) -> float:
    """The median distance, or that of a finer zone if a quarter of the slices lie there."""
    typical = np.quantile(gaps, 0.5, method="lower")
    fine = gaps[gaps < typical / WIDE]
    return float(np.median(fine) if len(fine) >= 0.25 * len(gaps) else typical)


def _missing_notes(gaps: np.ndarray, steps: np.ndarray, typical: float, where_mm: np.ndarray) -> list[str]:
    whole = np.abs(gaps / typical - steps) < NEAR_WHOLE
    wide = np.flatnonzero((gaps >= WIDE * typical) & (steps > 1) & whole)
    count, share = FEW_WIDE
    if len(wide) == 0 or len(wide) > max(count, share * len(gaps)):
        return []
    places = []
    for at in wide:
        n = steps[at] - 1
        places.append(f"{n} between {where_mm[at]:.1f} and {where_mm[at + 1]:.1f} mm")
    lost = int((steps[wide] - 1).sum())
    return [
        f"{lost} {'slice is' if lost == 1 else 'slices are'} missing: {'; '.join(places)}. "
        "What lies there was interpolated from the neighbouring slices and is no measurement."
    ]


def _sideways(
    offsets_mm: np.ndarray, pixel_spacing_mm: tuple[float, float], notes: list[str]
) -> tuple[np.ndarray, tuple[tuple[int, int], tuple[int, int]], float]:
    """Shifts within the plane, the room they need, and the tilt they amount to."""
    sideways_mm = offsets_mm[:, [1, 0]]
    shift_px = sideways_mm / pixel_spacing_mm
    if np.abs(shift_px).max() < SIDEWAYS_PIXELS:
        return np.zeros_like(shift_px), ((0, 0), (0, 0)), 0.0
    pad_px = tuple((int(np.ceil(max(0, -s.min()))), int(np.ceil(max(0, s.max())))) for s in shift_px.T)
    slope = np.linalg.lstsq(offsets_mm[:, 2:], sideways_mm, rcond=None)[0][0]
    tilt_deg = float(np.degrees(np.arctan(np.hypot(*slope))))
    if tilt_deg > 60:
        raise InputError(
            "The slice positions run along the slices instead of across them.",
            "The positions in the headers are wrong; export the series again from its source.",
        )
    rest = np.abs(sideways_mm - offsets_mm[:, 2:] * slope).max()
    if rest <= max(pixel_spacing_mm):
        notes.append(
            f"The gantry was tilted by {tilt_deg:.1f} degrees against the direction of the table: each slice was "
            "moved to where it lay, so that the volume has perpendicular axes and true shape."
        )
    else:
        notes.append(
            f"The slices are shifted against each other by up to {np.abs(sideways_mm).max():.1f} mm within their "
            "plane: each was moved to where it lay."
        )
    return shift_px, pad_px, tilt_deg
