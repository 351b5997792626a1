"""What the model's own discriminator takes for real, as in the paper; the gap between training and test tells the most.

Published (arXiv 2308.00206, at 0.5): training 97.1 %, test 56.5 %, synthetic 55.9 %, control and artificial about 0 %.
"""

from __future__ import annotations

import numpy as np

from SkullGANLib.evaluate.bootstrap import Resampling, auc_figure, figure_of, resampling_of
from SkullGANLib.evaluate.registry import EvaluationInput, Figure, MetricResult, metric, spread
from SkullGANLib.progress import report

PUBLISHED = {
    "training": 0.971,
    "real": 0.565,
    "synthetic": 0.559,
    "control": 0.0,
    "idealised": 0.0,
    "unrealistic": 0.0,
}
OVERFITTED_GAP = 0.10
"""A discriminator that calls this much more of its training set real than of held-out subjects knows it by heart."""


JUDGED = 800
"""At most so many segments of each set are shown to the discriminator, spread evenly over it."""


@metric("discriminator", title="The model's discriminator", group="separability")
def discriminator(given: EvaluationInput) -> MetricResult:
    """Share of each set called real at 0.5, the gap between training and held-out, and the AUC of membership."""
    if given.judge is None:
        return MetricResult()
    result, ways = MetricResult(), {"": given.judge.realness, "_batchwise": given.judge.batchwise}
    shown = {name: spread(len(each), JUDGED) for name, each in given.every_set.items()}
    draws = {name: resampling_of(given.every_set[name].take(rows)) for name, rows in shown.items()}
    for done, (way, realness) in enumerate(ways.items()):
        if realness is None:
            continue
        scores = {}
        for further, (name, each) in enumerate(given.every_set.items()):
            report(given.progress, done * len(shown) + further, 2 * len(shown), "Asking the discriminator")
            scores[name] = np.asarray(realness(each.hu[shown[name]]), np.float64)
            if lost := int((~np.isfinite(scores[name])).sum()):
                sentence = f"it gives no number for {lost} of {len(scores[name])} segments of the {name} set"
                return MetricResult(left_out=[f"What the discriminator takes for real: {sentence}."])
            column = np.full(len(each), np.nan)
            column[shown[name]] = scores[name]
            result.columns.setdefault(name, {})[f"realness{way}"] = column
        result.figures |= {f"{name}{way}": figure for name, figure in _figures(given, scores, draws).items()}
    result.warnings += _warnings(result.figures)
    return result


def _figures(given: EvaluationInput, scores: dict[str, np.ndarray], draws: dict[str, Resampling]) -> dict[str, Figure]:
    figures = {}
    for name, found in scores.items() if given.judge.absolute else ():
        called = (found >= 0.5).astype(float)
        published = {"published": PUBLISHED[name]} if given.held_out or name != "real" else {}
        figures[f"{name}_called_real"] = figure_of(
            lambda w, c=called: w @ c / w.sum(), [draws[name]], seed=given.seed, detail=published
        )
    for name in [name for name in scores if name not in ("real", "training")]:
        pair = [draws[name], draws["real"]]
        figures[f"{name}_auc"] = auc_figure(scores[name], scores["real"], pair, seed=given.seed)
    if given.held_out:
        pair = [draws["real"], draws["training"]]
        figures["membership"] = auc_figure(scores["real"], scores["training"], pair, seed=given.seed)
        if given.judge.absolute:
            figures["gap"] = _gap(scores, pair[::-1], given.seed)
    return figures


def _gap(scores: dict[str, np.ndarray], pair: list[Resampling], seed: int) -> Figure:
    called = [(scores[name] >= 0.5).astype(float) for name in ("training", "real")]
    return figure_of(
        lambda a, b: a @ called[0] / a.sum() - b @ called[1] / b.sum(),
        pair,
        seed=seed,
        detail={"published": PUBLISHED["training"] - PUBLISHED["real"]},
    )


def _warnings(figures: dict[str, Figure]) -> list[str]:
    gaps = [figures[name].value for name in ("gap", "gap_batchwise") if name in figures]
    if gaps and max(gaps) > OVERFITTED_GAP:
        return [
            f"Over-fitted discriminator: it calls {100 * max(gaps):.0f} points more of its training set real than of "
            "held-out subjects (published: 41). What it says of synthetic segments is no measure of their quality."
        ]
    membership = figures.get("membership")
    if membership is not None and membership.interval is not None and membership.interval[0] > 0.5:
        return [
            f"The discriminator tells training from held-out subjects (AUC {membership.value:.2f}), so its scores give "
            "away who was in the training set: do not hand it out with the generator."
        ]
    return []
