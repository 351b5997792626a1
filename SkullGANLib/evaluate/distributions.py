"""Two sets side by side: mean, spread, Kolmogorov-Smirnov and Wasserstein-1 distance, bootstrapped over subjects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.radiological import UNITS, measure_segments
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, Figure, MetricResult, feature, metric
from SkullGANLib.progress import Progress

REPEATS = 1000
LEVEL = 0.95
FEW_SUBJECTS = 10
"""Over 10 subjects the 95 % interval of a mean covers the truth in 90 % of trials, over 30 in 93 %; below, worse."""

MEASURES = {
    "sdr": "Skull density ratio",
    "thickness_mm": "Mean thickness",
    "intensity_hu": "Mean intensity",
    "thickness_normal_mm": "Mean thickness along the normal",
    "outer_table_mm": "Outer table",
    "diploe_mm": "Diploe",
    "inner_table_mm": "Inner table",
    "bone_fraction": "Bone fraction",
    "curvature_per_m": "Curvature of the outer surface",
}
HEADLINE = ("sdr", "thickness_mm", "intensity_hu")


class Resampling:
    """Bootstrap draws of one set: whole subjects where they are known, else single segments.

    Args:
        n: number of segments.
        subjects: (n,) pseudonyms, or None where unknown.

    Attributes:
        by: "subjects", "segments", or None where a single subject leaves nothing to resample.
        subjects: how many subjects there are; None where unknown.
    """

    def __init__(self, n: int, subjects: np.ndarray | None = None) -> None:
        self.n = n
        groups = np.arange(n) if subjects is None else np.unique(subjects, return_inverse=True)[1].reshape(-1)
        self._groups, self._count = groups, int(groups.max(initial=-1)) + 1
        self.subjects = None if subjects is None else self._count
        self.by = None if self._count < 2 else "segments" if subjects is None else "subjects"

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """How often each segment stands in one bootstrap sample: (n,) float64 of whole numbers."""
        drawn = np.bincount(generator.integers(self._count, size=self._count), minlength=self._count)
        return drawn[self._groups].astype(np.float64)


def bootstrap(
    statistic: Callable[..., np.ndarray], resamplings: list[Resampling], *, seed: int = 0, repeats: int = REPEATS
) -> np.ndarray | None:
    """Percentile bootstrap intervals at the 95 % level.

    Args:
        statistic: takes one array of weights for each set and returns k numbers.
        resamplings: the sets, each drawn independently.
        seed: same seed, same interval.
        repeats: number of draws.

    Returns:
        (k, 2) low and high; None where a set has nothing to resample.
    """
    if any(resampling.by is None for resampling in resamplings):
        return None
    draws = np.array(list(_draws(statistic, resamplings, seed, repeats)))
    return np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).T


def _draws(statistic: Callable, resamplings: list[Resampling], seed: int, repeats: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    for _ in range(repeats):
        yield statistic(*(resampling.draw(generator) for resampling in resamplings))


def weighted_moments(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean, standard deviation (n - 1) and median of ``values``, ascending, each counted ``weights`` times."""
    total = weights.sum()
    mean = weights @ values / total
    sd = np.sqrt(weights @ (values - mean) ** 2 / (total - 1)) if total > 1 else np.nan
    reached = np.cumsum(weights)
    low, high = np.searchsorted(reached, [total / 2, total / 2 + 0.5])
    median = (values[low] + values[min(high, len(values) - 1)]) / 2
    return np.array([mean, sd, median])


class Comparison:
    """The distances of two samples as functions of weights, sorted once for all bootstrap draws.

    Args:
        first, second: (n,) and (m,) finite numbers.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray) -> None:
        pooled = np.concatenate([first, second])
        self._order = np.argsort(pooled, kind="stable")
        ordered = pooled[self._order]
        self._step = np.diff(ordered)
        self._last = np.append(self._step > 0, True)
        self._is_first = self._order < len(first)

    def distances(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Kolmogorov-Smirnov and Wasserstein-1 distance of the samples weighted by ``first`` and ``second``."""
        signed = np.concatenate([first / first.sum(), -second / second.sum()])[self._order]
        gap = np.abs(np.cumsum(signed))
        return np.array([gap[self._last].max(), gap[:-1] @ self._step])


def compare(
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    unit: str = "",
    real_subjects: np.ndarray | None = None,
    synthetic_subjects: np.ndarray | None = None,
    seed: int = 0,
    repeats: int = REPEATS,
) -> MetricResult:
    """Describe two samples of one quantity and how far they lie apart.

    The p of the Kolmogorov-Smirnov test takes all segments as independent, which segments of one head are not: with
    few subjects it is too small.

    Args:
        real, synthetic: (n,) and (m,) values; those not finite are left out, and ``n`` counts the others.
        unit: of the values.
        real_subjects, synthetic_subjects: pseudonyms to resample over; None where unknown.
        seed, repeats: of the bootstrap.

    Returns:
        Figures ``real_mean``, ``real_sd``, ``real_median``, the same for ``synthetic``, ``difference`` (of the means,
        synthetic less real), ``ks`` (detail: ``p``) and ``wasserstein``.

    Raises:
        InputError: fewer than two values in one of the samples.
    """
    from scipy.stats import ks_2samp, wasserstein_distance

    samples, figures = [], {}
    for name, values, subjects in (
        ("real", real, real_subjects),
        ("synthetic", synthetic, synthetic_subjects),
    ):
        values = np.asarray(values, np.float64)
        known = np.isfinite(values)
        if known.sum() < 2:
            raise InputError(
                f"Only {int(known.sum())} of {len(values)} {name} segments could be measured.",
                "Look at them: they hold no bone, or not what is asked for.",
            )
        order = np.argsort(values[known], kind="stable")
        sample = values[known][order], Resampling(len(order), None if subjects is None else subjects[known][order])
        samples.append(sample)
        figures |= _moments(name, *sample, unit, seed, repeats)

    (first, first_draws), (second, second_draws) = samples
    comparison = Comparison(first, second)

    def apart(first_weights: np.ndarray, second_weights: np.ndarray) -> np.ndarray:
        means = first_weights @ first / first_weights.sum(), second_weights @ second / second_weights.sum()
        return np.append(comparison.distances(first_weights, second_weights), means[1] - means[0])

    intervals = bootstrap(apart, [first_draws, second_draws], seed=seed, repeats=repeats)
    test = ks_2samp(first, second)
    found = {
        "ks": (test.statistic, "", {"p": float(test.pvalue)}),
        "wasserstein": (wasserstein_distance(first, second), unit, {}),
        "difference": (second.mean() - first.mean(), unit, {}),
    }
    for i, (name, (value, figure_unit, detail)) in enumerate(found.items()):
        figures[name] = Figure(
            value=float(value),
            unit=figure_unit,
            interval=None if intervals is None else tuple(intervals[i].tolist()),
            n=len(first) + len(second),
            subjects=first_draws.subjects,
            resampled=None if intervals is None else f"real {first_draws.by}, synthetic {second_draws.by}",
            seed=seed,
            detail=detail,
        )
    return MetricResult(figures=figures)


def _moments(
    name: str, values: np.ndarray, resampling: Resampling, unit: str, seed: int, repeats: int
) -> dict[str, Figure]:
    found = weighted_moments(values, np.ones(len(values)))
    intervals = bootstrap(lambda weights: weighted_moments(values, weights), [resampling], seed=seed, repeats=repeats)
    return {
        f"{name}_{kind}": Figure(
            value=float(found[i]),
            unit=unit,
            interval=None if intervals is None else tuple(intervals[i].tolist()),
            n=len(values),
            subjects=resampling.subjects,
            resampled=resampling.by if intervals is not None else None,
            seed=seed,
        )
        for i, kind in enumerate(("mean", "sd", "median"))
    }


@feature("measures")
def measures(of: EvaluatedSet, spacing_mm: float, progress: Progress | None = None) -> dict[str, Any]:
    """The radiological figures of every segment, see :func:`measure_segments`, and the curvature in 1/m."""
    try:
        found = measure_segments(of.hu, spacing_mm, progress=progress)
    except InputError as error:
        raise InputError(f"The {of.name} set: {error.message}", error.advice) from error
    found["curvature_per_m"] = 1000 / found["curvature_radius_mm"]
    return found


def _register(name: str, title: str) -> None:
    unit = {**UNITS, "curvature_per_m": "1/m"}[name]

    @metric(name, title=title, unit=unit, needs=("measures",), headline=name in HEADLINE)
    def radiological(given: EvaluationInput) -> MetricResult:
        values = [given.feature("measures", each)[name] for each in given.sets]
        if name not in HEADLINE and min(np.isfinite(each).sum() for each in values) < 2:
            return MetricResult(warnings=[f"{title}: too few segments have one to compare."])
        result = compare(
            *values,
            unit=unit,
            real_subjects=given.real.subjects,
            synthetic_subjects=given.synthetic.subjects,
            seed=given.seed,
        )
        columns = {each.name: {name: found} for each, found in zip(given.sets, values, strict=True)}
        return result.model_copy(update={"columns": columns})


for _name, _title in MEASURES.items():
    _register(_name, _title)
