"""What looks odd about a volume's values: said to the user before it turns up as a strange thickness or density."""

from __future__ import annotations

import numpy as np

from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError

AIR_HU = -1024
NO_AIR_HU = -200  # a volume that never goes below holds neither air nor fat, or no Hounsfield units
SOFT_TISSUE_HU = (-150, 250)
SOFT_SHARE = 0.25  # of what is denser than air in a head; plain MR stays below, a plastic phantom just above
SHIFT_HU = 1024  # stored values of a 12-bit scanner lie this much above Hounsfield units
CLIPPED_HU, CLIPPED_VOXELS = 2500, 20
COARSE_MM = 3.0


def clear_padding(hu: np.ndarray) -> str | None:
    """Set the constant with which scanners fill the corners outside the field of view (-2000, -3024 ...) to air.

    Only one constant below -1024 HU that holds most voxels below -1024 HU counts as padding: dark streaks beside
    metal vary. Changes ``hu`` in place.

    Args:
        hu: (slice, row, column) int16 or float32.

    Returns:
        A note for the user, or None if there was no padding.
    """
    lowest = hu.min()
    if lowest >= AIR_HU:
        return None
    padding = hu == lowest
    count = np.count_nonzero(padding)
    if count < 1e-3 * hu.size or count < 0.5 * np.count_nonzero(hu < AIR_HU):
        return None
    hu[padding] = AIR_HU
    return padding_note(lowest)


def padding_note(value_hu: float) -> str:
    """The sentence that tells of replaced padding."""
    return f"Outside the field of view the scanner wrote {value_hu:g}; this was set to {AIR_HU} HU (air)."


def require_finite(hu: np.ndarray) -> None:
    """Refuse a volume with values that are no numbers.

    Raises:
        InputError: naming how many there are.
    """
    if np.issubdtype(hu.dtype, np.floating) and not np.isfinite(hu).all():
        count = int(hu.size - np.count_nonzero(np.isfinite(hu)))
        raise InputError(
            f"{count} of {hu.size} voxels hold no number (NaN or infinite).",
            f"Write the volume again with those voxels set to air ({AIR_HU}).",
        )


def value_notes(hu: np.ndarray, *, known_ct: bool) -> list[str]:
    """Say whether the values look like Hounsfield units.

    Args:
        hu: (slice, row, column).
        known_ct: True if a header says that this is CT; then oddities are noted, never refused.

    Raises:
        InputError: when they do not, and no header vouches for them.
    """
    notes = []
    low, high = float(hu.min()), float(hu.max())
    sample = hu[:: max(1, hu.shape[0] // 64), ::4, ::4] if hu.size > 1_000_000 else hu
    if low > NO_AIR_HU:
        notes.append(_without_air(sample, low, high, known_ct))
    elif _share(sample, SOFT_TISSUE_HU) < 0.01:
        notes.append(_without_soft_tissue(sample))
    at_top = np.count_nonzero(hu == hu.max())
    if high >= CLIPPED_HU and at_top >= CLIPPED_VOXELS:
        notes.append(
            f"Values end at {high:.0f} HU, which {at_top} voxels reach: dense bone, teeth or metal "
            "may be denser in truth than the file can say."
        )
    return notes


def scan_notes(volume: Volume) -> list[str]:
    """Say what limits measurements of thin bone: an unknown kernel, coarse voxels."""
    notes = []
    if "kernel" not in volume.acquisition:
        notes.append(
            "The reconstruction kernel is not known: if it was one for soft tissue, thin bone appears thicker and "
            "less dense than with a bone kernel."
        )
    if max(volume.spacing_mm) > COARSE_MM + 0.01:
        size = " x ".join(f"{s:.3g}" for s in volume.spacing_mm)
        notes.append(f"The voxels are coarse ({size} mm): the layers of the skull cannot be told apart.")
    return notes


def _share(hu: np.ndarray, window: tuple[float, float]) -> float:
    return np.count_nonzero((hu >= window[0]) & (hu <= window[1])) / hu.size


def _border(hu: np.ndarray) -> np.ndarray:
    return np.concatenate([hu[:, [0, -1]].ravel(), hu[:, :, [0, -1]].ravel()])


def _without_air(hu: np.ndarray, low: float, high: float, known_ct: bool) -> str:
    body = hu[hu > 0.5 * SHIFT_HU]
    soft = tuple(s + SHIFT_HU for s in SOFT_TISSUE_HU)
    air_outside = np.mean(np.abs(_border(hu)) < 0.2 * SHIFT_HU) > 0.5
    if high > 1500 and air_outside and body.size and _share(body, soft) > SOFT_SHARE:
        return (
            f"The values look shifted by {SHIFT_HU}: air lies at 0 where -1000 HU is expected. "
            f"If so, read it with --hu-offset -{SHIFT_HU}."
        )
    if not known_ct and (low >= 0 or high - low < 500):
        raise InputError(
            f"This does not look like CT in Hounsfield units: values run from {low:g} to {high:g}, and nothing is as "
            "dark as air (-1000).",
            "Give CT in Hounsfield units, not MR, a label map or an image rescaled for display; "
            "if a constant was added to the values, take it away with --hu-offset.",
        )
    return f"There is no air in this volume: values run from {low:g} to {high:g} HU. It may be cropped or rescaled."


def _without_soft_tissue(hu: np.ndarray) -> str:
    note = f"Hardly any voxel has the density of soft tissue ({SOFT_TISSUE_HU[0]} to {SOFT_TISSUE_HU[1]} HU)."
    body = hu[hu > hu.min() + 0.5 * SHIFT_HU]
    if body.size and _share(body, tuple(s - SHIFT_HU for s in SOFT_TISSUE_HU)) > SOFT_SHARE:
        return f"{note} The values look shifted by -{SHIFT_HU}; if so, read it with --hu-offset {SHIFT_HU}."
    return f"{note} The head may have been cut away, or the values rescaled."
