"""What synthetic segments may be used for: tasks with labels for real and synthetic segments alike, known by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from SkullGANLib.ct.label_names import names_a_side
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.asked import ASKED
from SkullGANLib.evaluate.bootstrap import Comparison
from SkullGANLib.evaluate.classes import classes_of
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput
from SkullGANLib.evaluate.segmenter import check_slices
from SkullGANLib.evaluate.task_classifier import classify
from SkullGANLib.evaluate.task_segmenter import overlaps, segment
from SkullGANLib.segments.store import TISSUES
from SkullGANLib.words import few

Score = Callable[[np.ndarray], float]
"""Takes how often each segment counts; nan where that leaves nothing to tell."""


def areas(labels: np.ndarray, scores: np.ndarray) -> dict[float, Score]:
    """Area under the ROC curve of each class against all others.

    Args:
        labels: (n,) numbers of classes.
        scores: of two classes (n,), higher for the higher one; of k (n, k), higher for each class in ascending order.

    Returns:
        Class to its score; of two classes the higher one alone, since the other has the same.
    """
    classes = np.unique(labels)
    if scores.ndim == 1:
        return {float(classes[-1]): _area(labels == classes[-1], scores)}
    return {float(each): _area(labels == each, column) for each, column in zip(classes, scores.T, strict=True)}


def area(labels: np.ndarray, scores: np.ndarray) -> Score:
    """Area under the ROC curve, of several classes the mean over each against all others (macro average)."""
    return mean_score(areas(labels, scores))


def overlap(truth: np.ndarray, found: np.ndarray) -> Score:
    """Mean over labels of the Dice of label maps (n, H, W)."""
    return mean_score(overlaps(truth, found))


def mean_score(scores: Mapping[float, Score]) -> Score:
    """The mean of some scores, but for those that have nothing to tell."""

    def of(weights: np.ndarray) -> float:
        found = np.array([score(weights) for score in scores.values()])
        known = found[np.isfinite(found)]
        return float(known.mean()) if len(known) else float("nan")

    return of


def _learn_classes(*given: np.ndarray, names: Mapping[int, str], **options) -> np.ndarray:
    return classify(*given, mirror=not names_a_side(names.values()), **options)


def _no_names(given: EvaluationInput) -> dict[int, str]:
    return {}


@dataclass(frozen=True)
class Task:
    """Something to learn from segments and to be tried on held-out subjects.

    Attributes:
        name, title: in figures, and for the reader.
        targets: (input, real training set, set) to the truth for each segment of the set, (n, ...), or None where the
            set has none. Thresholds come from the training set alone. What does not fit together is an ``InputError``.
        lacking: what is missing where ``targets`` gives None, in words.
        learn: (training HU, their truth, HU of others, and by name ``names``, ``seed``, ``steps``, ``device``,
            ``told``) to what is found in the others, as ``classify`` and ``segment``.
        score: (truth, found) to a function of weights, one for each segment.
        parts: (truth, found) to the scores of which that is the mean, by class or label; None where it is but one.
        names: what the classes or labels are called; empty where the title says it.
        strata: of targets, (n,) classes whose mix is the same in every arm; nan for segments to leave out.
        measure, chance: what the score is called, and its value for a guess, None where there is none.
    """

    name: str
    title: str
    targets: Callable[[EvaluationInput, EvaluatedSet, EvaluatedSet], np.ndarray | None]
    lacking: str
    learn: Callable[..., np.ndarray] = _learn_classes
    score: Callable[[np.ndarray, np.ndarray], Score] = area
    parts: Callable[[np.ndarray, np.ndarray], Mapping[float, Score]] | None = None
    names: Callable[[EvaluationInput], Mapping[int, str]] = _no_names
    strata: Callable[[np.ndarray], np.ndarray] = np.asarray
    measure: str = "AUC"
    chance: float | None = 0.5


def _area(positive: np.ndarray, scores: np.ndarray) -> Score:
    comparison = Comparison(scores[~positive], scores[positive])

    def of(weights: np.ndarray) -> float:
        with np.errstate(invalid="ignore", divide="ignore"):
            return comparison.auc(weights[~positive], weights[positive])

    return of


def _region(given: EvaluationInput, training: EvaluatedSet, of: EvaluatedSet) -> np.ndarray | None:
    for column in ("region", f"{ASKED}region"):
        region = of.table.get(column, np.empty(0))
        if np.isin(["temporal", "parietal"], region).all():
            return np.where(region == "temporal", 1.0, np.where(region == "parietal", 0.0, np.nan))
    return None


def _above_median(measure: str) -> Callable[[EvaluationInput, EvaluatedSet, EvaluatedSet], np.ndarray | None]:
    def targets(given: EvaluationInput, training: EvaluatedSet, of: EvaluatedSet) -> np.ndarray | None:
        known, values = (given.feature("measures", each)[measure] for each in (training, of))
        if not np.isfinite(known).any():
            return None
        return np.where(np.isfinite(values), values > np.nanmedian(known), np.nan)

    return targets


def _classes(of: EvaluatedSet) -> list[str]:
    found = classes_of(of)
    return [""] * len(of) if found is None else found.tolist()


def _class_names(given: EvaluationInput) -> dict[int, str]:
    return dict(enumerate(sorted({*_classes(given.training)} - {""})))


def _class(given: EvaluationInput, training: EvaluatedSet, of: EvaluatedSet) -> np.ndarray | None:
    numbers = {name: number for number, name in _class_names(given).items()}
    unknown = sorted({*_classes(given.synthetic)} - {"", *numbers})
    if len(numbers) > 1 and unknown:
        raise InputError(
            f"The synthetic set has classes that the real training segments lack: {few(unknown)}.",
            "Leave these out with 'skullgan dataset filter', or call them as in the real set.",
        )
    found = np.array([numbers.get(each, np.nan) for each in _classes(of)], float)
    return found if len(numbers) > 1 and np.isfinite(found).any() else None


def _labels(given: EvaluationInput, name: str | None) -> tuple[str, dict[int, str]] | None:
    """The label set that both sets have, or the one called ``name``, and its labels; None where there is none."""
    sets = {"real": given.training, "synthetic": given.synthetic}
    for which, each in sets.items() if name is not None else ():
        if name not in each.label_sets:
            raise InputError(
                f"The {which} set has no label set {name}; it has: {', '.join(each.label_sets) or 'none'}.",
                "Name a label set that both sets have, or add masks of that name to the set.",
            )
    shared = [each for each in given.training.label_sets if each in given.synthetic.label_sets]
    name = name or (TISSUES if TISSUES in shared else shared[0] if shared else None)
    if name is None:
        return None
    real, synthetic = (dict(each.labels[name]) for each in sets.values())
    unknown = [word for value, word in synthetic.items() if value not in real]
    if unknown:
        raise InputError(
            f"The synthetic masks have labels that the real ones lack: {few(unknown)}.",
            "Give masks of the same labels, or another label set.",
        )
    for value, word in synthetic.items():
        if word != real[value] and f"label {value}" not in (word, real[value]):  # which says that it has no name
            raise InputError(
                f"In the label set {name}, {value} stands for {real[value]} in the real set and for {word} in the "
                "synthetic one.",
                "Number and name the labels alike in both.",
            )
    return name, real


def layers_task(label_set: str | None = None) -> Task:
    """Segmentation of a label set; of the layers of the skull, or what labels both sets have, if none is named."""

    def targets(given: EvaluationInput, training: EvaluatedSet, of: EvaluatedSet) -> np.ndarray | None:
        chosen = _labels(given, label_set)
        if chosen is None or chosen[0] not in of.label_sets:
            return None
        check_slices(of.hu)
        found = of.masks(chosen[0])
        return found if found.any() else None

    return Task(
        "layers",
        "Segmentation of layers" if label_set in (None, TISSUES) else f"Segmentation of {label_set}",
        targets,
        "needs masks of the same label set in the real and in the synthetic set, and some label in them",
        learn=segment,
        score=overlap,
        parts=overlaps,
        names=lambda given: _labels(given, label_set)[1],
        strata=lambda masks: np.zeros(len(masks)),
        measure="Dice",
        chance=None,
    )


TASKS = {
    task.name: task
    for task in (
        Task(
            "region",
            "Temporal or parietal bone",
            _region,
            "needs temporal and parietal segments, named in the column region or, of synthetic ones, asked_region",
        ),
        Task("density", "Skull density ratio above the median", _above_median("sdr"), "needs bone"),
        Task("thickness", "Thickness above the median", _above_median("thickness_mm"), "needs bone"),
        Task(
            "class",
            "Classes",
            _class,
            "needs two classes or more, named in the column class or, of synthetic segments, asked_class",
            parts=areas,
            names=_class_names,
        ),
        layers_task(),
    )
}
"""By name; a further task is a further entry."""
