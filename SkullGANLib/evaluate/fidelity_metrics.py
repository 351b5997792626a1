"""Fidelity and diversity as metrics: Frechet and kernel distance, precision and recall, on the library's own features.

Beside each figure stands its floor, the same figure of real training against real held-out segments: a distance that
heads have from each other cannot be less between synthetic and real ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from SkullGANLib.evaluate.bootstrap import bootstrap, known_subjects, resampling_of
from SkullGANLib.evaluate.encoder import encoder_of
from SkullGANLib.evaluate.fidelity import NEIGHBOURS, Neighbourhoods, distances, frechet_of_weights
from SkullGANLib.evaluate.kernel import (
    LEAST_SUBJECTS,
    KernelComparison,
    PairMean,
    polynomial_kernel_distance,
    subset_deviation,
)
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, Figure, MetricResult, metric
from SkullGANLib.progress import report

MOST, LEAST = 2500, 10
"""At most so many segments of each set, evenly spread; fewer than the second prove nothing."""
REPEATS = 200
"""Bootstrap draws; a thousand move the ends of an interval by a few per cent of its width."""
PUBLISHED = "FID 49 (third version of the paper); of Inception features, so on another scale"
NO_FLOOR = (
    "Fidelity and diversity stand without their floor, real training against held-out segments: no part of the real "
    "set is marked as training."
)


@metric(
    "frechet",
    title="Frechet distance",
    group="fidelity",
    headline=True,
    highlights=("distance", "above_floor"),
    aim="as low as the floor",
)
def frechet(given: EvaluationInput) -> MetricResult:
    """Of Gaussians fitted to the encoder's features; biased by the number of segments, so floor and figure have the
    same number."""
    result = frechet_result(given, encoded_features, {"encoder": encoder_name(given)})
    if "distance" in result.figures:
        result.figures["distance"].detail["published"] = PUBLISHED
        real, others = compared_sets(given)
        features, fewest = encoded_features(given, real).shape[1], min(len(real), len(others[""]))
        if fewest <= features:
            result.warnings.append(
                f"The Frechet distance of {fewest} segments, fewer than the encoder has features ({features}), is "
                "mostly their small number: look at the kernel distance."
            )
    return result


def frechet_result(
    given: EvaluationInput,
    features: Callable[[EvaluationInput, EvaluatedSet], np.ndarray],
    detail: dict[str, Any],
    repeats: int = REPEATS,
) -> MetricResult:
    """The Frechet distance of every pair on any features; ``detail`` goes to each figure.

    The time of each of the ``repeats`` of the bootstrap grows with the cube of the number of features.
    """

    def compare(real: EvaluatedSet, other: EvaluatedSet) -> tuple[Callable, dict[str, Any]]:
        x, y = features(given, real), features(given, other)
        return lambda a, b: np.array([frechet_of_weights(x, y, a, b)]), {}

    return _compared(given, ("distance",), compare, detail, (0, np.inf), repeats=repeats)


@metric(
    "kernel",
    title="Kernel distance",
    group="fidelity",
    headline=True,
    highlights=("distance", "above_floor"),
    aim="0",
)
def kernel(given: EvaluationInput) -> MetricResult:
    """Unbiased (KID), 0 for one distribution. Pairs of segments of one head are left out where heads are known."""

    def compare(real: EvaluatedSet, other: EvaluatedSet) -> tuple[Callable, dict[str, Any]]:
        x, y = encoded_features(given, real), encoded_features(given, other)
        found = KernelComparison(x, y, real.subjects, other.subjects)
        deviation = subset_deviation(x, y, seed=given.seed)
        detail = {"with_pairs_of_one_head": polynomial_kernel_distance(x, y)} if real.subjects is not None else {}
        if not np.isnan(deviation):
            detail["sd_over_subsets"] = deviation
        return lambda a, b: np.array([found.distance(a, b)]), detail

    result = _compared(given, ("distance",), compare, {"encoder": encoder_name(given)})
    subjects = given.real.subjects
    if result.figures and subjects is not None and len(np.unique(subjects)) < LEAST_SUBJECTS:
        result.warnings.append(
            f"The kernel distance of fewer than {LEAST_SUBJECTS} real heads is too high: it counts pairs of segments "
            "of one head, which are more alike than those of two."
        )
    return result


@metric(
    "precision_recall",
    title="Precision and recall",
    group="fidelity",
    highlights=("precision", "recall"),
    aim="as high as the floor",
)
def precision_recall_metric(given: EvaluationInput) -> MetricResult:
    """Precision, recall, density and coverage with 5 neighbours."""

    def compare(real: EvaluatedSet, other: EvaluatedSet) -> tuple[Callable, dict[str, Any]]:
        return Neighbourhoods(encoded_features(given, real), encoded_features(given, other)).shares, {}

    parts = ("precision", "recall", "density", "coverage")
    detail = {"encoder": encoder_name(given), "neighbours": NEIGHBOURS}
    return _compared(given, parts, compare, detail, (0, [1, 1, np.inf, 1]))


@metric(
    "diversity", title="Diversity", group="fidelity", highlights=("distance_ratio", "modes"), aim="1, or the floor's"
)
def diversity(given: EvaluationInput) -> MetricResult:
    """Mean distance of two segments, of different heads where known, over that of real ones; and modes covered."""

    def compare(real: EvaluatedSet, other: EvaluatedSet) -> tuple[Callable, dict[str, Any]]:
        features = [encoded_features(given, each) for each in (real, other)]
        pairs = [PairMean(distances(f, f), each.subjects) for f, each in zip(features, (real, other), strict=True)]

        def statistic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            means = pairs[0].mean(a), pairs[1].mean(b)
            return np.array([*means, means[1] / means[0] if means[0] > 0 else np.nan])

        return statistic, {}

    parts = ("real_distance", "distance", "distance_ratio")
    result = _compared(given, parts, compare, {"encoder": encoder_name(given)})
    for name in [name for name in result.figures if name.endswith("_real_distance")]:
        del result.figures[name]  # the same for every pair
    modes = _modes(given)
    if modes is None:
        result.left_out.append("Modes covered: not both sets say of which region or side their segments are.")
    else:
        result.figures["modes"] = modes
    return result


def compared_sets(given: EvaluationInput) -> tuple[EvaluatedSet, dict[str, EvaluatedSet]]:
    """The real segments that are looked at, and by prefix of its figures every set that is compared with them.

    The synthetic set has the prefix "", the training segments "floor"; these two have equal numbers of segments.
    """
    n = min(len(given.synthetic), MOST, *([len(given.training)] if given.held_out else []))
    others = {"": given.synthetic.at_most(n)}
    if given.held_out:
        others["floor"] = given.training.at_most(n)
    for each in (given.control, given.idealised, given.unrealistic):
        if each is not None:
            others[each.name] = each.at_most(n)
    return given.real.at_most(MOST), others


def encoded_features(given: EvaluationInput, of: EvaluatedSet) -> np.ndarray:
    """Features of the library's encoder, see ``encoder.encoded``."""
    return given.feature("encoded", of)


def encoder_name(given: EvaluationInput) -> str:
    """Beginning of the hash of the encoder's weights."""
    return encoder_of(given).hash[:16]


def _compared(
    given: EvaluationInput,
    parts: tuple[str, ...],
    compare: Callable[[EvaluatedSet, EvaluatedSet], tuple[Callable, dict[str, Any]]],
    detail: dict[str, Any],
    limits: tuple[float, float | list[float]] = (-np.inf, np.inf),
    repeats: int = REPEATS,
) -> MetricResult:
    """The figures ``parts`` of every pair of sets; of a distance also what it is more than its floor.

    Each set needs ``LEAST`` segments, the training set too, since features are learnt from it. A set that is smaller
    than the one the floor was found with has a floor of its own size in its detail.

    Args:
        given: the input.
        parts: names of the numbers that a statistic returns.
        compare: takes the real and another set and returns a function of both sets' weights, and further details.
        detail: of all figures.
        limits: lowest and highest that the figures can be.
        repeats: bootstrap draws; none for no intervals.
    """
    real, others = compared_sets(given)
    result = MetricResult(left_out=[] if given.held_out else [NO_FLOOR])
    statistics: dict[str, Callable] = {}
    for prefix, other in others.items():
        small = min(real, other, given.training, key=len)
        if len(small) < LEAST:
            names = ", ".join(parts).replace("_", " ")
            result.left_out.append(
                f"No {names} of the {other.name} set: it takes {LEAST} segments, and the {small.name} set has "
                f"{len(small)}."
            )
            continue
        statistics[prefix], more = compare(real, other)
        figures = _figures(given, statistics[prefix], [real, other], detail | more, limits, repeats)
        if len(other) < len(others.get("floor", [])):
            same_size = given.training.at_most(len(other))
            values = compare(real, same_size)[0](np.ones(len(real)), np.ones(len(same_size)))
            for figure, value in zip(figures, values.tolist(), strict=True):
                figure.detail["floor_at_this_size"] = value
        names = [_figure_name(prefix, part, len(parts)) for part in parts]
        result.figures |= dict(zip(names, figures, strict=True))
    if parts == ("distance",) and {"", "floor"} <= set(statistics):
        sets, both = [real, others[""], others["floor"]], (statistics[""], statistics["floor"])
        above = _figures(given, lambda a, b, c: both[0](a, b) - both[1](a, c), sets, detail, repeats=repeats)
        (result.figures["above_floor"],) = above
    result.warnings += _warnings(given, [real, *others.values()])
    return result


def _figures(
    given: EvaluationInput,
    statistic: Callable[..., np.ndarray],
    sets: list[EvaluatedSet],
    detail: dict[str, Any],
    limits: tuple[float, float | list[float]] = (-np.inf, np.inf),
    repeats: int = REPEATS,
) -> list[Figure]:
    """A figure for each number of a function of the weights of ``sets``."""
    draws, count = [resampling_of(each) for each in sets], iter(range(repeats + 1))

    def told(*weights: np.ndarray) -> np.ndarray:
        report(given.progress, next(count), max(repeats, 1), "Resampling")
        return statistic(*weights)

    values = told(*(np.ones(each.n) for each in draws))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what is not finite has no interval
        intervals = bootstrap(told, draws, seed=given.seed, repeats=repeats, centre=values) if repeats else None
    if intervals is not None:
        intervals = intervals.T.clip(*limits).T
    found = []
    for i, value in enumerate(values):
        known = bool(np.isfinite(value))
        over = " and ".join(f"{each.name} {draw.by}" for each, draw in zip(sets, draws, strict=True))
        figure = Figure(
            value=float(value) if known else None,
            interval=None if intervals is None or not known else tuple(intervals[i].tolist()),
            n=sum(map(len, sets)),
            subjects=known_subjects(draws),
            resampled=None if intervals is None else over,
            seed=given.seed,
            detail=detail | {each.name: len(each) for each in sets},
        )
        found.append(figure)
    return found


def _figure_name(prefix: str, part: str, parts: int) -> str:
    if not prefix:
        return part
    return prefix if prefix == "floor" and parts == 1 else f"{prefix}_{part}"


def _warnings(given: EvaluationInput, sets: list[EvaluatedSet]) -> list[str]:
    alike = [each.name for each in sets if len(each) > 1 and np.ptp(encoded_features(given, each), axis=0).max() == 0]
    return [
        f"All segments of the {name} set look the same to the encoder, so its distances say little." for name in alike
    ]


def _modes(given: EvaluationInput) -> Figure | None:
    """Share of the real modes (region and side) that occur in the synthetic set."""
    real, synthetic = _mode_of(given.real), _mode_of(given.synthetic)
    if real is None or synthetic is None:
        return None
    wanted = np.setdiff1d(real, [""])
    if not len(wanted) or not (synthetic != "").any():
        return None
    member = synthetic[:, None] == wanted
    draws = [resampling_of(given.synthetic)]
    interval = bootstrap(lambda w: np.array([(w @ member > 0).mean()]), draws, seed=given.seed, repeats=REPEATS)
    missing = [str(mode) for mode, found in zip(wanted, member.any(0), strict=True) if not found]
    return Figure(
        value=float(member.any(0).mean()),
        interval=None if interval is None else tuple(interval[0].tolist()),
        n=len(synthetic),
        resampled=None if interval is None else draws[0].by,
        seed=given.seed,
        detail={"modes": len(wanted)} | ({"missing": ", ".join(missing)} if missing else {}),
    )


def _mode_of(each: EvaluatedSet) -> np.ndarray | None:
    """(n,) "parietal left" and so on, empty where not known; of what was asked for where the set says that."""
    columns = [each.table.get(f"asked_{name}", each.table.get(name)) for name in ("region", "side")]
    columns = [column.astype(str) for column in columns if column is not None and len(column)]
    if not columns:
        return None
    known = np.all([column != "" for column in columns], axis=0)
    return np.where(known, [" ".join(parts) for parts in zip(*columns, strict=True)], "")
