"""The artificial set of the paper: images that fool the radiological metrics without being skulls.

Half is idealised, the simplest model of a skull (outer table, diploe, inner table, all smooth); half is unrealistic,
plainly no skull. Both have the skull density ratio, thickness and intensity of real segments (arXiv 2308.00206).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.files import check_replaceable
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.meta import META_FILE
from SkullGANLib.segments.patterns import IDEALISED, UNREALISTIC, Shape, draw_shape
from SkullGANLib.segments.table import Table, complete_table

METRICS = ("sdr", "thickness_mm", "intensity_hu")
# 23 patients treated for tremor, clinical bone kernels (AANS 2025, Rush University): 0.38 to 0.79.
SDR_MEAN, SDR_SD, SDR_RANGE = 0.54, 0.10, (0.30, 0.90)
# Thickness: CT of 100 adults ("Morphometric measurement of cranial vault thickness", tertiary hospital, Nepal).
# Density: CT of 604 adults ("Reference measurements for average human neurocranial bone density"): highest in the
# temporal squama, falling with thickness. The parietal mode and both widths are estimates.
TEMPORAL = {"thickness_mm": (4.71, 1.34), "intensity_hu": (1323.0, 90.0)}
PARIETAL = {"thickness_mm": (7.04, 1.43), "intensity_hu": (980.0, 90.0)}
THICKNESS_RANGE_MM = (2.5, 14.0)

_TABLES_SHARE = 0.45  # of the thickness; more where the intensity asks for it
_BRIGHTEST_HU = 2700.0
_STEPS = 8
_BLOCK = 250


def artificial_segments(
    reference: Mapping[str, np.ndarray] | None = None,
    n_ideal: int = 500,
    n_unrealistic: int = 500,
    seed: int = 0,
    size: int = 128,
    spacing_mm: float = 0.45,
    *,
    progress: Progress | None = None,
) -> tuple[np.ndarray, Table]:
    """Draw idealised and unrealistic segments whose SDR, thickness and intensity follow those of real ones.

    Each image takes the three figures of one real segment, so that they keep their joint distribution, and is
    corrected until ``evaluate.radiological.measure_segments`` reads those figures.

    Args:
        reference: table of real segments with ``sdr``, ``thickness_mm`` and ``intensity_hu``; None takes
            distributions from the literature, with the two modes of intensity of temporal and parietal bone.
        n_ideal: number of idealised images.
        n_unrealistic: number of unrealistic images.
        seed: the same seed gives the same set.
        size: rows and columns.
        spacing_mm: pixel spacing.
        progress: told the images made.

    Returns:
        (n_ideal + n_unrealistic, size, size) float32 HU, idealised first, and the table: the three figures as measured,
        ``group`` idealised or unrealistic, ``pattern`` the name of the drawing, each image its own subject.

    Raises:
        InputError: a reference without those columns or without a single measured row; fewer than one image.
    """
    n = n_ideal + n_unrealistic
    if n < 1 or min(n_ideal, n_unrealistic) < 0:
        raise InputError(f"{n_ideal} idealised and {n_unrealistic} unrealistic images.", "Ask for at least one.")
    rng = np.random.default_rng(seed)
    wanted = np.concatenate(
        [
            typical_measures(count, rng) if reference is None else draw_measures(reference, count, rng)
            for count in (n_ideal, n_unrealistic)
        ]
    )
    wanted[:, 1] = np.clip(wanted[:, 1], 3 * spacing_mm, size * spacing_mm / 3)
    names = [*np.resize(IDEALISED, n_ideal), *np.resize(UNREALISTIC, n_unrealistic)]
    hu, found = np.empty((n, size, size), np.float32), np.empty((n, len(METRICS)))
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        shapes = [
            draw_shape(name, size, thickness / spacing_mm, rng)
            for name, thickness in zip(names[rows], wanted[rows, 1], strict=True)
        ]
        hu[rows], found[rows] = _fit(Shape.stack(shapes), wanted[rows], spacing_mm)
        report(progress, min(start + _BLOCK, n), n, "Drawing artificial segments")
    table = {
        "subject": np.array([f"artificial-{i:04d}" for i in range(n)]),
        "group": np.repeat(["idealised", "unrealistic"], [n_ideal, n_unrealistic]),
        "pattern": np.array(names),
        **{name: found[:, column] for column, name in enumerate(METRICS)},
    }
    return hu, complete_table(table, n)


def make_artificial_dataset(
    path: str | Path,
    real: SegmentDataset | None = None,
    *,
    n_ideal: int = 500,
    n_unrealistic: int = 500,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SegmentDataset:
    """Write an artificial set of the same size and spacing as ``real``, measured where its table lacks the figures.

    Args:
        path: folder to make.
        real: data set to match; None takes distributions from the literature at 128 pixels of 0.45 mm.
        n_ideal: number of idealised images.
        n_unrealistic: number of unrealistic images.
        seed: the same seed gives the same set.
        overwrite: whether a data set at ``path`` may be replaced.
        progress: told the images made.

    Raises:
        InputError: see ``artificial_segments`` and ``SegmentDataset.create``.
    """
    from SkullGANLib.evaluate.radiological import measure_segments

    check_replaceable(path, overwrite=overwrite, marker=META_FILE)
    reference, size, spacing_mm, sources = None, 128, 0.45, []
    if real is not None:
        reference, size, spacing_mm = real.table, real.meta.size, real.meta.spacing_mm
        sources = [{"matched_to": real.fingerprint}]
        if any(np.isnan(reference[name]).all() for name in METRICS):
            reference = measure_segments(real.hu, spacing_mm, progress=progress)
    hu, table = artificial_segments(reference, n_ideal, n_unrealistic, seed, size, spacing_mm, progress=progress)
    return SegmentDataset.create(
        path, hu, table, kind="artificial", spacing_mm=spacing_mm, sources=sources, seed=seed, overwrite=overwrite
    )


def draw_measures(reference: Mapping[str, np.ndarray], n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 3) SDR, thickness in mm and intensity in HU: rows of a reference, each drawn as often as any other.

    Raises:
        InputError: a column is missing, or no row has all three figures.
    """
    missing = [name for name in METRICS if name not in reference]
    if missing:
        raise InputError(
            f"The reference has no column {missing[0]}.", "Give a table with sdr, thickness_mm, intensity_hu."
        )
    rows = np.stack([np.asarray(reference[name], float) for name in METRICS], axis=1)
    rows = rows[np.isfinite(rows).all(1) & (rows > 0).all(1)]
    if len(rows) == 0:
        raise InputError("No segment of the reference has been measured.", "Measure it first (skullgan evaluate).")
    rows[:, 0] = np.minimum(rows[:, 0], 1)
    order = np.concatenate([rng.permutation(len(rows)) for _ in range(-(-n // len(rows)))])
    return rows[order[:n]]


def typical_measures(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 3) SDR, thickness in mm and intensity in HU as the literature gives them; half temporal, half parietal."""
    temporal = rng.permutation(n) < n / 2
    columns = [np.clip(rng.normal(SDR_MEAN, SDR_SD, n), *SDR_RANGE)]
    for name in METRICS[1:]:
        drawn = np.where(temporal, rng.normal(*TEMPORAL[name], n), rng.normal(*PARIETAL[name], n))
        columns.append(np.clip(drawn, *THICKNESS_RANGE_MM) if name == "thickness_mm" else drawn)
    return np.stack(columns, axis=1)


def _fit(shape: Shape, wanted: np.ndarray, spacing_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw with the closed form, then correct what is drawn by what is measured; the nearest attempt counts."""
    from SkullGANLib.evaluate.radiological import measure_segments

    sdr, thickness_mm, intensity_hu = wanted.T
    thickness_px = thickness_mm / spacing_mm
    mass = intensity_hu * (1 + 1 / thickness_px)  # the two half-filled edge pixels count as bone
    tables = np.clip((mass / _BRIGHTEST_HU - sdr) / np.maximum(1 - sdr, 1e-3), _TABLES_SHARE, 0.8)
    peak_hu, ratio = mass / (tables + (1 - tables) * sdr), sdr.copy()
    best, best_found, best_error = None, None, np.full(len(wanted), np.inf)
    for _ in range(_STEPS):
        hu = shape.render(thickness_px, tables, peak_hu, ratio)
        measured = measure_segments(hu, spacing_mm)
        found = np.stack([measured[name] for name in METRICS], axis=1)
        error = np.nan_to_num(np.abs(found / wanted - 1), nan=np.inf).max(axis=1)
        if best is None:
            best, best_found = hu.copy(), found.copy()
        nearer = error < best_error
        best[nearer], best_found[nearer], best_error[nearer] = hu[nearer], found[nearer], error[nearer]
        factor = np.nan_to_num(wanted / found, nan=1)
        ratio = np.clip(ratio * factor[:, 0], 0, 1)
        thickness_px = np.maximum(thickness_px + (thickness_mm - np.nan_to_num(found[:, 1])) / spacing_mm, 1)
        peak_hu = peak_hu * factor[:, 2]
    return best, best_found
