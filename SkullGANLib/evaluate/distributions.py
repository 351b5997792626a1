"""Two sets side by side: mean, spread, Kolmogorov-Smirnov and Wasserstein-1 distance of every radiological figure."""

from __future__ import annotations

from typing import Any

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.bootstrap import REPEATS, Comparison, Resampling, bootstrap, known_subjects, weighted_moments
from SkullGANLib.evaluate.radiological import UNITS, measure_segments
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, Figure, MetricResult, feature, metric

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


P_TOO_SMALL = (
    "The p of each Kolmogorov-Smirnov test takes segments as independent; those of one head are not, so it is too "
    "small."
)


def compare(
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    unit: str = "",
    real_subjects: np.ndarray | None = None,
    synthetic_subjects: np.ndarray | None = None,
    seed: int = 0,
    repeats: int = REPEATS,
    name: str = "synthetic",
) -> MetricResult:
    """Describe two samples of one quantity and how far they lie apart.

    The p of the Kolmogorov-Smirnov test takes all segments as independent, which segments of one head are not: with
    few subjects it is too small.

    Args:
        real, synthetic: (n,) and (m,) values; those not finite are left out, and ``n`` counts the others.
        unit: of the values.
        real_subjects, synthetic_subjects: pseudonyms to resample over; None where unknown.
        seed, repeats: of the bootstrap.
        name: of the second sample.

    Returns:
        Figures ``real_mean``, ``real_sd``, ``real_median``, the same for ``synthetic``, ``difference`` (of the means,
        synthetic less real), ``ks`` (detail: ``p``) and ``wasserstein``.

    Raises:
        InputError: fewer than two values in one of the samples.
    """
    from scipy.stats import ks_2samp, wasserstein_distance

    samples, figures = [], {}
    for which, values, subjects in (("real", real, real_subjects), (name, synthetic, synthetic_subjects)):
        values = np.asarray(values, np.float64)
        known = np.isfinite(values)
        if known.sum() < 2:
            if known.all():
                raise InputError(f"The {which} set has {len(values)} segment only.", "Compare sets of two or more.")
            raise InputError(
                f"Only {int(known.sum())} of {len(values)} {which} segments could be measured.",
                "Look at them: they hold no bone, or not what is asked for.",
            )
        order = np.argsort(values[known], kind="stable")
        sample = values[known][order], Resampling(len(order), None if subjects is None else subjects[known][order])
        samples.append(sample)
        figures |= _moments(which, *sample, unit, seed, repeats)

    (first, first_draws), (second, second_draws) = samples
    comparison = Comparison(first, second)

    def apart(first_weights: np.ndarray, second_weights: np.ndarray) -> np.ndarray:
        means = first_weights @ first / first_weights.sum(), second_weights @ second / second_weights.sum()
        return np.append(comparison.distances(first_weights, second_weights), means[1] - means[0])

    test = ks_2samp(first, second)
    found = {
        "ks": (test.statistic, "", {"p": float(test.pvalue)}),
        "wasserstein": (wasserstein_distance(first, second), unit, {}),
        "difference": (second.mean() - first.mean(), unit, {}),
    }
    centre = np.array([value for value, _, _ in found.values()])  # resampled samples are further apart
    intervals = bootstrap(apart, [first_draws, second_draws], seed=seed, repeats=repeats, centre=centre)
    if intervals is not None:
        intervals[:2] = intervals[:2].clip(0)
    for i, (kind, (value, figure_unit, detail)) in enumerate(found.items()):
        figures[kind] = Figure(
            value=float(value),
            unit=figure_unit,
            interval=None if intervals is None else tuple(intervals[i].tolist()),
            n=len(first) + len(second),
            subjects=known_subjects([first_draws, second_draws]),
            resampled=None if intervals is None else f"real {first_draws.by}, {name} {second_draws.by}",
            seed=seed,
            detail=detail,
        )
    return MetricResult(figures=figures, warnings=[] if real_subjects is None else [P_TOO_SMALL])


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
def measures(given: EvaluationInput, of: EvaluatedSet) -> dict[str, Any]:
    """The radiological figures of every segment, see :func:`measure_segments`, and the curvature in 1/m."""
    try:
        found = measure_segments(of.hu, given.spacing_mm, progress=given.progress)
    except InputError as error:
        raise InputError(f"The {of.name} set: {error.message}", error.advice) from error
    found["curvature_per_m"] = 1000 / found["curvature_radius_mm"]
    return found


def _register(name: str, title: str) -> None:
    unit = {**UNITS, "curvature_per_m": "1/m"}[name]

    @metric(name, title=title, unit=unit, needs=("measures",), headline=name in HEADLINE, group="distributions")
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
        for each in [*given.every_set.values()][2:] if name in HEADLINE else ():
            columns[each.name] = {name: given.feature("measures", each)[name]}
            result.figures.update(_another(each, columns[each.name][name], values[0], given, unit))
        return result.model_copy(update={"columns": columns})


def _another(
    each: EvaluatedSet, values: np.ndarray, real: np.ndarray, given: EvaluationInput, unit: str
) -> dict[str, Figure]:
    """Mean and spread of a further set, and how far from the real one it lies."""
    against = compare(
        real,
        values,
        unit=unit,
        real_subjects=given.real.subjects,
        synthetic_subjects=each.subjects,
        seed=given.seed,
        name=each.name,
    ).figures
    return {
        f"{each.name}_{kind}": against[f"{each.name}_{kind}" if kind in ("mean", "sd") else kind]
        for kind in ("mean", "sd", "ks", "wasserstein")
    }


for _name, _title in MEASURES.items():
    _register(_name, _title)
