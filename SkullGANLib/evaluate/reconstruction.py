"""How well images are reconstructed, in 2D and 3D: squared error, signal-to-noise ratio and structural similarity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.bootstrap import Resampling, figure_of
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, Figure, MetricResult, metric
from SkullGANLib.progress import report

SIGMA, RADIUS = 1.5, 5
"""Of the Gaussian window of the structural similarity, in pixels: 11 wide."""
K1, K2 = 0.01, 0.03
WINDOW_HU = (0.0, 3000.0)
"""HU shown as 0 and 1: skull segments lie on a background of 0, and dense cortical bone ends below the other end."""
COUNTERPART = "real_row"
"""Column of a synthetic set that names the row of the real set which a segment reconstructs; negative for none."""
CHUNK = 64


def mse(first: np.ndarray, second: np.ndarray, *, volume: bool = False) -> np.ndarray | float:
    """Mean squared difference of images on [0, 1].

    Args:
        first, second: (H, W) images, (N, H, W) batches of them, or with ``volume`` (D, H, W) or (N, D, H, W); real
            numbers from 0 to 1.
        volume: whether an image has three dimensions.

    Returns:
        A number, or (N,) float64 for a batch.

    Raises:
        InputError: different or unfitting shapes, values that are not finite or lie beyond [0, 1].
    """
    return _for_each(_mse, first, second, volume)


def psnr(first: np.ndarray, second: np.ndarray, *, volume: bool = False) -> np.ndarray | float:
    """Peak signal-to-noise ratio 10 log10(1 / MSE) in dB; infinite for images that are the same.

    Arguments, shapes and errors as for :func:`mse`.
    """
    with np.errstate(divide="ignore"):
        found = -10 * np.log10(mse(first, second, volume=volume))
    return found if np.ndim(found) else float(found)


def ssim(first: np.ndarray, second: np.ndarray, *, volume: bool = False) -> np.ndarray | float:
    """Structural similarity (Wang et al. 2004): Gaussian window of 11 pixels, sigma 1.5, K1 0.01, K2 0.03, range 1.

    Means, variances and covariance are weighted with the window; the border that the window does not fit into is left
    out of the mean. With ``volume`` the window is a cube. 1 for images that are the same.

    Arguments, shapes and errors as for :func:`mse`; each side of an image needs 11 pixels.
    """
    return _for_each(_ssim, first, second, volume, least=2 * RADIUS + 1)


def _mse(first: np.ndarray, second: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return ((first - second) ** 2).mean(axes)


def _ssim(first: np.ndarray, second: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    def local(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, SIGMA, radius=RADIUS, axes=axes)

    mean_1, mean_2 = local(first), local(second)
    variances = (local(first * first) - mean_1**2) + (local(second * second) - mean_2**2)
    covariance = local(first * second) - mean_1 * mean_2
    c1, c2 = K1**2, K2**2
    found = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    found /= (mean_1**2 + mean_2**2 + c1) * (variances + c2)
    inside = (slice(None), *(slice(RADIUS, -RADIUS) for _ in axes))
    return found[inside].mean(axes)


def _for_each(
    function: Callable, first: np.ndarray, second: np.ndarray, volume: bool, least: int = 1
) -> np.ndarray | float:
    """``function`` of some images at a time, as float64."""
    first, second = np.asanyarray(first), np.asanyarray(second)
    dimensions = 3 if volume else 2
    if first.shape != second.shape or first.ndim not in (dimensions, dimensions + 1):
        shape = "(depth, height, width)" if volume else "(height, width)"
        raise InputError(
            f"Images of shape {first.shape} cannot be compared with images of shape {second.shape}.",
            f"Give two of the same shape {shape}, or two batches of them.",
        )
    if not first.size or min(first.shape[-dimensions:]) < least:
        raise InputError(
            f"Images of shape {first.shape[-dimensions:]} are too small to compare.",
            f"There must be at least one, of at least {least} pixels each way.",
        )
    single = first.ndim == dimensions
    batches = [each[None] if single else each for each in (first, second)]
    axes, step = tuple(range(1, dimensions + 1)), 1 if volume else CHUNK
    parts = []
    for start in range(0, len(batches[0]), step):
        pair = [np.asarray(each[start : start + step], np.float64) for each in batches]
        for which, images in zip(("first", "second"), pair, strict=True):
            _check_values(which, images)
        parts.append(function(*pair, axes))
    found = np.concatenate(parts)
    return float(found[0]) if single else found


def _check_values(which: str, images: np.ndarray) -> None:
    odd = images.size - np.isfinite(images).sum()
    if odd:
        raise InputError(f"{odd} pixels of the {which} images are not finite.", "Mend them, or leave those images out.")
    if images.min() < 0 or images.max() > 1:
        raise InputError(
            f"The {which} images hold values from {images.min():g} to {images.max():g}.",
            "Map them to the range from 0 to 1 first.",
        )


def on_unit_range(hu: np.ndarray) -> np.ndarray:
    """HU of any shape as float64 from 0 to 1; what lies beyond the window is cut off."""
    low, high = WINDOW_HU
    return np.clip((np.asarray(hu, np.float64) - low) / (high - low), 0, 1)


@metric("reconstruction", title="Reconstruction", group="fidelity", highlights=("ssim", "psnr"))
def reconstruction(given: EvaluationInput) -> MetricResult:
    """MSE, PSNR and SSIM of synthetic segments against the real ones that they reconstruct, where they name them."""
    if COUNTERPART not in given.synthetic.table:
        return MetricResult()
    of, real, missing = _counterparts(given)
    result = MetricResult()
    if missing:
        result.left_out.append(
            f"{missing} synthetic segments have no counterpart among the real ones compared here, so nothing is said "
            "of how well they are reconstructed."
        )
    if not len(of):
        return result
    measured = {"mse": (mse, ""), "psnr": (psnr, "dB"), "ssim": (ssim, "")}
    values = {name: np.empty(len(of)) for name in measured}
    for start in range(0, len(of), CHUNK):
        report(given.progress, start, len(of), "Comparing reconstructions")
        some = slice(start, start + CHUNK)
        pair = on_unit_range(given.synthetic.hu[of[some]]), on_unit_range(real.hu[some])
        for name, (function, _) in measured.items():
            values[name][some] = function(*pair)
    result.columns["synthetic"] = {}
    for name, (_, unit) in measured.items():
        result.figures[name] = _mean(values[name], real.subjects, unit, given.seed)
        column = result.columns["synthetic"][f"reconstruction_{name}"] = np.full(len(given.synthetic), np.nan)
        column[of] = values[name]
    same = int(np.isinf(values["psnr"]).sum())
    if same:
        result.warnings.append(
            f"{same} of {len(of)} reconstructions are the same as their real segment, pixel by pixel: their "
            "signal-to-noise ratio is infinite and left out of the mean."
        )
    return result


def _counterparts(given: EvaluationInput) -> tuple[np.ndarray, EvaluatedSet, int]:
    """Positions in the synthetic set, the real segments they reconstruct, and how many there are none for."""
    wanted = given.synthetic.table[COUNTERPART]
    if wanted.dtype.kind not in "iuf":
        raise InputError(
            f"The column {COUNTERPART} of the synthetic set holds text.", "It names a row of the real set, as a number."
        )
    order = np.argsort(given.real.rows, kind="stable")
    place = np.minimum(np.searchsorted(given.real.rows[order], wanted), len(order) - 1)
    found = given.real.rows[order[place]] == wanted
    of = np.flatnonzero(found)
    return of, given.real.take(order[place[of]]), len(wanted) - len(of)


def _mean(values: np.ndarray, subjects: np.ndarray | None, unit: str, seed: int) -> Figure:
    known = np.isfinite(values)
    if not known.any():
        return Figure(value=None, unit=unit, seed=seed)
    values, subjects = values[known], None if subjects is None else subjects[known]
    return figure_of(lambda w: w @ values / w.sum(), [Resampling(len(values), subjects)], unit=unit, seed=seed)
