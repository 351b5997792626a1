"""The nearest real segment of each synthetic one by mean squared pixel difference: is anything a copy?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.bootstrap import Resampling, bootstrap, weighted_moments
from SkullGANLib.evaluate.radiological import refuse_non_finite
from SkullGANLib.evaluate.registry import EvaluationInput, Figure, MetricResult, metric
from SkullGANLib.progress import Progress, report

CANDIDATES = 8
"""Single precision ranks the pairs, so this many of the best are compared again in double precision."""
CHUNK = 512
COPY_RMSE_HU = 20.0
"""Below this root mean square difference a synthetic segment is called a copy: less than the noise of a CT."""


@dataclass(frozen=True)
class Nearest:
    """The nearest reference of each of M queries.

    Attributes:
        index: (M,) int64 row of the reference.
        mse_hu2: (M,) float64 mean squared difference in HU^2, exact for the pair.
        mirrored: (M,) bool, whether the reference matches when mirrored left to right.
    """

    index: np.ndarray
    mse_hu2: np.ndarray
    mirrored: np.ndarray


def nearest_by_mse(
    queries: np.ndarray,
    references: np.ndarray,
    *,
    mirrored: bool = False,
    chunk: int = CHUNK,
    progress: Progress | None = None,
) -> Nearest:
    """Find the reference with the smallest mean squared pixel difference from each query.

    Args:
        queries: (M, H, W) HU.
        references: (N, H, W) HU; may be memory-mapped.
        mirrored: compare with the mirrored references too.
        chunk: segments held in memory at a time, of either set.
        progress: told after every block of pairs.

    Returns:
        Of equal distances (of up to ``CANDIDATES``) the reference with the lowest row wins, and of one reference the
        copy as it is.

    Raises:
        InputError: different sizes, no references, or pixels that are not finite.
    """
    if queries.ndim != 3 or queries.shape[1:] != references.shape[1:] or not len(references):
        raise InputError(
            f"Segments of shape {queries.shape} cannot be compared with those of shape {references.shape}.",
            "Both need the same height and width, and there must be at least one to compare with.",
        )
    refuse_non_finite(queries)
    refuse_non_finite(references)
    starts = range(0, len(queries), chunk)
    blocks = len(starts) * len(range(0, len(references), chunk))
    parts, done = [], 0
    for start in starts:
        block = np.asarray(queries[start : start + chunk], np.float32)
        best = np.empty((len(block), 0), np.int64), np.empty((len(block), 0), np.float32)
        for first in range(0, len(references), chunk):
            others = np.asarray(references[first : first + chunk], np.float32)
            best = _keep_best(best, *_distances(block, others, first, mirrored))
            done += 1
            report(progress, done, blocks, "Looking for the nearest real segments")
        parts.append(_exact(block, references, best[0]))
    return Nearest(*(np.concatenate(each) for each in zip(*parts, strict=True))) if parts else _nothing()


def difference_maps(queries: np.ndarray, references: np.ndarray, found: Nearest) -> np.ndarray:
    """Query less its nearest reference, mirrored where the match was: (M, H, W) float32 HU."""
    return np.asarray(queries, np.float32) - matched(references, found)


def matched(references: np.ndarray, found: Nearest) -> np.ndarray:
    """The nearest references as they were compared, mirrored where the match was: (M, H, W) float32 HU."""
    chosen = np.asarray(references[found.index], np.float32)
    chosen[found.mirrored] = chosen[found.mirrored, :, ::-1]
    return chosen


def _distances(block: np.ndarray, others: np.ndarray, first: int, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Codes (2 row + mirrored) and squared distances, less the query's own square, which changes no ranking."""
    flat = others.reshape(len(others), -1)
    square = np.einsum("ij,ij->i", flat, flat)
    views = [block, block[:, :, ::-1]] if mirrored else [block]
    distances = [square - 2 * (view.reshape(len(block), -1) @ flat.T) for view in views]
    rows = 2 * np.arange(first, first + len(others))
    return np.concatenate([rows + i for i in range(len(views))]), np.concatenate(distances, axis=1)


def _keep_best(
    best: tuple[np.ndarray, np.ndarray], codes: np.ndarray, distances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    codes = np.concatenate([best[0], np.broadcast_to(codes, distances.shape)], axis=1)
    distances = np.concatenate([best[1], distances], axis=1)
    if distances.shape[1] <= CANDIDATES:
        return codes, distances
    keep = np.argpartition(distances, CANDIDATES - 1, axis=1)[:, :CANDIDATES]
    return np.take_along_axis(codes, keep, 1), np.take_along_axis(distances, keep, 1)


def _exact(block: np.ndarray, references: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes = np.sort(codes, axis=1)  # the lowest row first, so that argmin settles ties
    errors = np.empty(codes.shape)
    for column, code in enumerate(codes.T):
        pairs = Nearest(code // 2, np.empty(0), code % 2 == 1)
        errors[:, column] = (difference_maps(block, references, pairs).astype(np.float64) ** 2).mean((1, 2))
    best = errors.argmin(1)[:, None]
    code = np.take_along_axis(codes, best, 1)[:, 0]
    return code // 2, np.take_along_axis(errors, best, 1)[:, 0], code % 2 == 1


def _nothing() -> Nearest:
    return Nearest(np.empty(0, np.int64), np.empty(0), np.empty(0, bool))


@metric("nearest", title="Nearest real segment", unit="HU", group="memorisation")
def nearest_real(given: EvaluationInput) -> MetricResult:
    """Root mean square distance of each synthetic segment from the nearest segment a model may have seen."""
    found = find_nearest(given)
    rmse = np.sqrt(found.mse_hu2)
    resampling = Resampling(len(rmse), given.synthetic.subjects)
    ordered = np.argsort(rmse, kind="stable")
    interval = bootstrap(
        lambda weights: weighted_moments(rmse[ordered], weights[ordered])[2:],
        [resampling],
        seed=given.seed,
    )
    common = {"n": len(rmse), "subjects": resampling.subjects, "seed": given.seed}
    copies = int((rmse < COPY_RMSE_HU).sum())
    figures = {
        "median": Figure(
            value=float(np.median(rmse)),
            unit="HU",
            interval=None if interval is None else tuple(interval[0].tolist()),
            resampled=resampling.by,
            **common,
        ),
        "smallest": Figure(
            value=float(rmse.min()),
            unit="HU",
            detail={
                "synthetic_row": int(given.synthetic.rows[rmse.argmin()]),
                "real_row": int(given.training.rows[found.index[rmse.argmin()]]),
            },
            **common,
        ),
        "copies": Figure(value=copies, detail={"below_hu": COPY_RMSE_HU}, **common),
    }
    warnings = []
    if copies:
        warnings.append(
            f"{copies} of {len(rmse)} synthetic segments differ from a real one by less than {COPY_RMSE_HU:g} HU (root "
            "mean square): take them for copies."
        )
    columns = {
        "nearest_row": given.training.rows[found.index],
        "nearest_mse_hu2": found.mse_hu2,
        "nearest_mirrored": found.mirrored.astype(np.int64),
    }
    return MetricResult(figures=figures, warnings=warnings, columns={"synthetic": columns})


def find_nearest(given: EvaluationInput) -> Nearest:
    """The nearest training segment of every synthetic one, mirrored copies included; found once for each input."""
    key = (given.synthetic.fingerprint, f"nearest:{given.training.fingerprint}")
    if key not in given.cache:
        given.cache[key] = nearest_by_mse(given.synthetic.hu, given.training.hu, mirrored=True, progress=given.progress)
    return given.cache[key]
