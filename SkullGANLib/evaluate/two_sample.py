"""Can anything tell synthetic from real? A small network, trained afresh for each pair of sets, tries.

Classifier two-sample test (D. Lopez-Paz, M. Oquab, ICLR 2017): it is shown real training heads and part of the
synthetic segments, and is asked about heads and segments that it has not seen. An area under the ROC curve of 0.5 means
that it cannot tell. Four radiologists were right in 60 % of cases (third version of the paper, arXiv 2308.00206).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from SkullGANLib.evaluate.bootstrap import auc_figure, resampling_of
from SkullGANLib.evaluate.classifier import train_classifier
from SkullGANLib.evaluate.convolutions import check_size
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, MetricResult, metric, spread
from SkullGANLib.segments.splits import split_by_segment, split_by_subject

SHOWN, CHECKED = 0.6, 0.15
"""Share of a set that is shown, and share of that on which training is watched."""
MOST_SHOWN, MOST_ASKED = 1500, 2500
"""At most so many segments of a set, evenly spread."""
LEAST = 10
"""Fewer segments than this in a part of a set prove nothing."""
LEAST_SUBJECTS = 4
"""Real heads to learn from. What was learnt of fewer may mislead about others: with two or three, sets that differ at a
glance had areas of 0.17 to 0.4. Real heads against other real heads take as many to be asked about, too."""
CAUGHT = 0.99
"""A classifier worth its name tells the artificial set from a real one at least so well."""


@dataclass(frozen=True)
class Parts:
    """One set, apart.

    Attributes:
        shown: what the classifier learns from.
        checked: what tells when it has learnt enough.
        asked: what it is judged by.
    """

    shown: EvaluatedSet
    checked: EvaluatedSet
    asked: EvaluatedSet


@metric(
    "two_sample",
    title="Two-sample test",
    group="separability",
    headline=True,
    highlights=("auc",),
    aim="0.5",
)
def two_sample(given: EvaluationInput) -> MetricResult:
    """Area under the ROC curve of classifiers trained afresh, on unseen heads; over 0.5 where the sets differ.

    The interval is that of the heads and segments asked about; another draw of those shown is not part of it.
    """
    check_size(given.real.hu)
    result = MetricResult()
    real = _real_parts(given, result)
    if real is None:
        return result
    _few_heads(real, result)
    artificial = _joined(given.idealised, given.unrealistic)
    for name, other in (("auc", given.synthetic), ("control_auc", given.control), ("artificial_auc", artificial)):
        if other is not None:
            _test(given, result, name, real, _parted(other, given.seed))
    if _has_floor(given, result):
        training, held_out = (_parted(each, given.seed) for each in (given.training, given.real))
        _test(given, result, "floor", training, held_out)
    found = result.figures.get("artificial_auc")
    if found is not None and found.value < CAUGHT:
        result.warnings.append(
            f"The two-sample test tells even the artificial set from the real one only with an AUC of "
            f"{found.value:.2f}: with so few segments, a low AUC of the synthetic set says little."
        )
    return result


def _test(given: EvaluationInput, result: MetricResult, name: str, real: Parts, other: Parts) -> None:
    """Train on both sets, add the figure ``name``, and for the synthetic set the scores of its segments."""
    sets = [(part.shown, part.checked, part.asked) for part in (real, other)]
    smallest = min(min(len(each[0]), len(each[2])) for each in sets)
    if smallest < LEAST or min(len(each[1]) for each in sets) < 1:
        result.left_out.append(
            f"Two-sample test of the {other.asked.name} set: a part of one of the sets has {smallest} segments, and it "
            f"takes {LEAST}."
        )
        return
    shown, checked = _balanced(real.shown, other.shown), _balanced(real.checked, other.checked)
    asked = [part.asked for part in (real, other)]
    scores = train_classifier(
        tuple(each.hu for each in shown),
        tuple(each.hu for each in checked),
        tuple(each.hu for each in asked),
        seed=given.seed,
        progress=given.progress,
    )
    right = np.mean([(scores[0] < 0).mean(), (scores[1] >= 0).mean()])
    detail = {"accuracy": float(right), "shown": 2 * len(shown[0])}
    if name == "auc":
        detail["published"] = "four radiologists, 60 % right"
        for each, found in zip(asked, scores, strict=True):
            column = np.full(len(given.every_set[each.name]), np.nan)
            column[np.isin(given.every_set[each.name].rows, each.rows)] = found
            result.columns[each.name] = {"two_sample_score": column}
    figure = auc_figure(*scores, [resampling_of(each) for each in asked], seed=given.seed, detail=detail)
    result.figures[name] = figure
    if figure.interval is not None and figure.interval[1] < 0.5:
        result.warnings.append(
            f"Two-sample test of the {other.asked.name} set: an AUC below 0.5 is no better than 0.5. What was learnt "
            "of the heads shown misleads about those asked about: there are too few heads, or one stands on both sides."
        )
    if figure.interval is None:
        result.left_out.append(_no_interval(asked))


def _real_parts(given: EvaluationInput, result: MetricResult) -> Parts | None:
    """Heads of the training part to learn from and held-out ones to be asked about, else the real set, parted."""
    if given.held_out:
        training = given.training
        shown, checked = _apart(training, np.arange(len(training)), 1 - CHECKED, given.seed)
        return Parts(
            _some(training, shown, MOST_SHOWN), _some(training, checked, MOST_SHOWN), given.real.at_most(MOST_ASKED)
        )
    subjects = given.real.subjects
    if subjects is not None and len(np.unique(subjects)) == 1:
        result.left_out.append(
            "Two-sample test: the real set comes from one subject, and a classifier that has learnt from a head cannot "
            "be asked about the same one."
        )
        return None
    if subjects is None:
        result.warnings.append(
            "The two-sample test was asked about real segments of heads that it may have learnt from, since subjects "
            "are not known: its AUC is too high."
        )
    return _parted(given.real, given.seed)


def _few_heads(real: Parts, result: MetricResult) -> None:
    """Say so where there are few real heads to learn from."""
    learnt = [each.subjects for each in (real.shown, real.checked)]
    heads = 0 if any(subjects is None for subjects in learnt) else len(np.unique(np.concatenate(learnt)))
    if 0 < heads < LEAST_SUBJECTS:
        result.warnings.append(
            f"The two-sample test learnt from so few real heads ({heads}) that only a high AUC counts: it takes what "
            "is peculiar to them for what is real, and a low AUC says nothing."
        )


def _has_floor(given: EvaluationInput, result: MetricResult) -> bool:
    """Whether real heads can be tested against other real heads; says so where not."""
    if not given.held_out:
        result.left_out.append(
            "The two-sample test stands without its floor, real heads against other real heads: no part of the real "
            "set is marked as training."
        )
        return False
    counts = [0 if each.subjects is None else len(np.unique(each.subjects)) for each in (given.training, given.real)]
    if min(counts) < LEAST_SUBJECTS:
        result.left_out.append(
            f"The floor of the two-sample test, real heads against other real heads, takes {LEAST_SUBJECTS} known "
            "subjects each in the training and in the held-out part."
        )
        return False
    return True


def _parted(each: EvaluatedSet, seed: int) -> Parts:
    rest, asked = _apart(each, np.arange(len(each)), SHOWN, seed)
    shown, checked = _apart(each, rest, 1 - CHECKED, seed + 1)
    return Parts(_some(each, shown, MOST_SHOWN), _some(each, checked, MOST_SHOWN), _some(each, asked, MOST_ASKED))


def _apart(each: EvaluatedSet, rows: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two parts of ``rows`` without a subject in common where there are several, the first with ``share`` of them."""
    shares, subjects = {"first": share, "second": 1 - share}, each.subjects
    several = subjects is not None and len(np.unique(subjects[rows])) > 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part = split_by_subject(subjects[rows], shares, seed) if several else split_by_segment(len(rows), shares, seed)
    return rows[part == "first"], rows[part == "second"]


def _some(each: EvaluatedSet, rows: np.ndarray, most: int) -> EvaluatedSet:
    """The segments at ``rows``, at most so many: only these are read."""
    return each.take(rows[spread(len(rows), most)])


def _balanced(first: EvaluatedSet, second: EvaluatedSet) -> tuple[EvaluatedSet, EvaluatedSet]:
    n = min(len(first), len(second))
    return first.at_most(n), second.at_most(n)


def _joined(idealised: EvaluatedSet | None, unrealistic: EvaluatedSet | None) -> EvaluatedSet | None:
    halves = [each for each in (idealised, unrealistic) if each is not None]
    if not halves:
        return None
    name = ":".join(each.fingerprint for each in halves)
    return EvaluatedSet("artificial", np.concatenate([each.hu for each in halves]), name, kind="artificial")


def _no_interval(asked: list[EvaluatedSet]) -> str:
    alone = next(each for each in asked if resampling_of(each).by is None)
    return f"Two-sample test: no interval, since the part of the {alone.name} set that is asked about has one subject."
