"""Copies of training segments among synthetic ones: distance to the training set against that of other people's."""

from __future__ import annotations

import numpy as np

from SkullGANLib.evaluate.bootstrap import Resampling, exact_share, figure_of, resampling_of, weighted_moments
from SkullGANLib.evaluate.closest import Prepared, too_small
from SkullGANLib.evaluate.copies import (
    COPY_RATIO,
    LEAST_YARDSTICK_HU,
    Copies,
    Yardstick,
    false_alarms,
    look_for_copies,
    make_yardstick,
    rule_words,
)
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, Figure, MetricResult, feature, metric, spread
from SkullGANLib.evaluate.sift import Points, most_matches

MATCHED = 250
"""Points of detail are matched for so many segments of each set, and for all that are called copies up to as many."""
FALSE_ALARMS = 0.01


def share_flagged(flagged: np.ndarray, *, detail: dict | None = None) -> Figure:
    """Share of segments that are called copies, with its exact interval."""
    count = int(flagged.sum())
    return exact_share(
        count,
        len(flagged),
        resampled="none: exact for independent segments",
        detail={"flagged": count, "below": COPY_RATIO, **(detail or {})},
    )


@feature("aligned")
def aligned(given: EvaluationInput, of: EvaluatedSet) -> Prepared:
    """The segments of a set, ready to be compared wherever in the image they lie."""
    return Prepared(of.hu, progress=given.progress)


def yardstick_of(given: EvaluationInput) -> Yardstick:
    """How close honest segments come to the training set; found once for each input."""
    key = (given.real.fingerprint, f"yardstick:{given.training.fingerprint}")
    if key not in given.cache:
        training, held_out = given.feature("aligned", given.training), given.real if given.held_out else None
        given.cache[key] = make_yardstick(given.training, training, held_out, progress=given.progress)
    return given.cache[key]


def find_copies(given: EvaluationInput) -> Copies:
    """What ``look_for_copies`` finds of the synthetic set; found once for each input."""
    key = (given.synthetic.fingerprint, f"copies:{given.training.fingerprint}:{given.real.fingerprint}")
    if key not in given.cache:
        queries, training = (given.feature("aligned", each) for each in (given.synthetic, given.training))
        given.cache[key] = look_for_copies(queries, training, yardstick_of(given), progress=given.progress)
    return given.cache[key]


@metric(
    "memorisation",
    title="Copies of training segments",
    group="memorisation",
    highlights=("copies",),
    aim="0, or no more than among held-out ones",
)
def memorisation(given: EvaluationInput) -> MetricResult:
    """Share of synthetic segments that are copies: closer to a training segment than half of what other heads come.

    The distance ratio of a segment is its distance from the closest training segment, mirrored copies included, over
    the distance that held-out segments which look like it keep from theirs. So a plain piece of bone, to which many
    heads have something similar, is measured by plain pieces, and an odd one by odd ones. Before any two segments
    are compared they are blurred and laid upon each other, so that a copy which is noised, shifted or mirrored stays
    one. Without held-out segments those of the other subjects of the training set stand in.
    """
    if why := too_small(given.synthetic.hu):
        return MetricResult(left_out=[f"Copies of training segments: {why}."])
    copies, yardstick = find_copies(given), yardstick_of(given)
    closest, flagged, synthetic = copies.closest, copies.flagged, given.synthetic
    result = MetricResult(columns={"synthetic": _columns(copies, given.training)})
    detail = {"yardstick": yardstick.kind, "training": len(given.training)}
    result.figures["copies"] = share_flagged(flagged, detail=detail).model_copy(update={"seed": given.seed})
    found = np.flatnonzero(np.isfinite(closest.distance_hu))  # the others hold no bone
    if len(found):
        draws, least = resampling_of(synthetic.take(found)), int(copies.ratio.argmin())
        rows = {"synthetic_row": int(synthetic.rows[least]), "real_row": int(given.training.rows[closest.index[least]])}
        if yardstick.closest is not None:
            result.figures["ratio"] = median_figure(copies.ratio[found], draws, given)
            smallest = Figure(value=float(copies.ratio[least]), n=len(found), seed=given.seed, detail=rows)
            result.figures["ratio_smallest"] = smallest
        result.figures["distance"] = median_figure(closest.distance_hu[found], draws, given, "HU")
    if yardstick.closest is None:
        result.left_out.append(
            f"The distance ratio: {yardstick.why} Only segments less than {COPY_RATIO * LEAST_YARDSTICK_HU:g} HU from "
            "a training segment are called copies."
        )
    else:
        _held_out(given, yardstick, result)
    _sift(given, copies, yardstick, result)
    if flagged.any():
        result.warnings.insert(0, copies_words(flagged, synthetic.rows, yardstick))
        if yardstick.closest is not None and yardstick.caution:
            result.warnings.insert(1, yardstick.caution)
    return result


def copies_words(flagged: np.ndarray, rows: np.ndarray, yardstick: Yardstick) -> str:
    """A warning that some segments are copies: how many, which, by what rule."""
    count, shown = int(flagged.sum()), ", ".join(str(row) for row in rows[flagged][:10])
    return (
        f"Memorised: {count} of {len(flagged)} synthetic segments {'is a copy' if count == 1 else 'are copies'} of "
        f"training segments, {rule_words(yardstick)} (rows {shown}{', ...' if count > 10 else ''}). Do not hand "
        "them out."
    )


def median_figure(values: np.ndarray, draws: Resampling, given: EvaluationInput, unit: str = "") -> Figure:
    """Median of values, with its interval."""
    order = np.argsort(values, kind="stable")
    return figure_of(
        lambda weights: weighted_moments(values[order], weights[order])[2], [draws], unit=unit, seed=given.seed
    )


def _columns(copies: Copies, training: EvaluatedSet) -> dict[str, np.ndarray]:
    found, index = copies.closest, copies.closest.index
    return {
        "copy": copies.flagged.astype(np.int64),
        "copy_ratio": np.where(np.isfinite(copies.ratio), copies.ratio, np.nan),
        "copy_distance_hu": np.where(np.isfinite(found.distance_hu), found.distance_hu, np.nan),
        "copy_row": np.where(index < 0, -1, training.rows[index]),
        "copy_mirrored": found.mirrored.astype(np.int64),
    }


def _held_out(given: EvaluationInput, yardstick: Yardstick, result: MetricResult) -> None:
    """The figures of honest segments beside: how often the rule is wrong."""
    honest = given.real if given.held_out else given.training
    alarms, asked = false_alarms(yardstick, progress=given.progress), honest.take(yardstick.rows)
    wrong = alarms.flagged.astype(float)
    share = figure_of(lambda weights: weights @ wrong / weights.sum(), [resampling_of(asked)], seed=given.seed)
    exact = share_flagged(alarms.flagged)
    if not wrong.any():  # resampling nothing says nothing
        share = share.model_copy(update={"interval": exact.interval, "resampled": exact.resampled})
    result.figures["held_out_copies"] = share.model_copy(update={"detail": exact.detail})
    found = np.flatnonzero(np.isfinite(alarms.closest.distance_hu))
    if len(found):
        distance, draws = alarms.closest.distance_hu[found], resampling_of(asked.take(found))
        result.figures["held_out_distance"] = median_figure(distance, draws, given, "HU")
    if wrong.mean() > FALSE_ALARMS:
        result.warnings.append(
            f"{int(wrong.sum())} of {len(wrong)} segments of {yardstick.kind} would be called copies, too: some heads "
            "may stand on both sides, under two names."
        )


def _sift(given: EvaluationInput, copies: Copies, yardstick: Yardstick, result: MetricResult) -> None:
    """Points of detail shared with the closest training segments: of synthetic and of honest segments."""
    references = Points(given.training.hu)
    chosen = np.union1d(spread(len(given.synthetic), MATCHED), np.flatnonzero(copies.flagged)[:MATCHED])
    todo = [("", given.synthetic, copies.closest, chosen, chosen)]
    if yardstick.closest is not None:
        honest, some = given.real if given.held_out else given.training, spread(len(yardstick.rows), MATCHED)
        todo.append(("held_out_", honest, yardstick.closest, some, yardstick.rows[some]))
    for prefix, of, closest, at, rows in todo:
        codes = np.stack([2 * closest.index[at] + closest.mirrored[at], closest.candidates[at, 0]], axis=1)
        codes[closest.index[at] < 0] = -1
        matches, points = most_matches(of.hu[rows], references, codes, progress=given.progress)
        columns = result.columns.setdefault(of.name, {})
        for name, values in (("sift_matches", matches), ("sift_points", points)):
            columns[name] = np.full(len(of), np.nan)
            columns[name][rows] = values
        result.figures[f"{prefix}sift_matches"] = median_figure(
            matches.astype(float), resampling_of(of.take(rows)), given
        )
        result.figures[f"{prefix}sift_largest"] = Figure(value=int(matches.max()), n=len(matches), seed=given.seed)
    if len(chosen) < len(given.synthetic):
        result.left_out.append(
            f"Points of detail (SIFT) of all but {len(chosen)} of {len(given.synthetic)} synthetic segments, for time."
        )
