"""What synthetic segments may be used for: tasks with labels for real and synthetic segments alike, known by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from SkullGANLib.evaluate.asked import ASKED
from SkullGANLib.evaluate.bootstrap import Comparison
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput
from SkullGANLib.evaluate.task_classifier import classify


def area(labels: np.ndarray, scores: np.ndarray) -> Callable[[np.ndarray], float]:
    """Area under the ROC curve of some segments, as a function of how often each counts.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) higher for class 1.

    Returns:
        Takes (n,) weights; nan where one class has none.
    """
    positive = labels == 1
    comparison = Comparison(scores[~positive], scores[positive])

    def of(weights: np.ndarray) -> float:
        with np.errstate(invalid="ignore", divide="ignore"):
            return comparison.auc(weights[~positive], weights[positive])

    return of


@dataclass(frozen=True)
class Task:
    """Something to learn from segments and to be tried on held-out subjects.

    Attributes:
        name, title: in figures, and for the reader.
        targets: (input, real training set, set) to the truth for each segment of the set, (n, ...), or None where the
            set has none. Thresholds come from the training set alone.
        lacking: what is missing where ``targets`` gives None, in words.
        learn: (training HU, their truth, HU of others, seed, told) to what is found in the others, as ``classify``.
        score: (truth, found) to a function of weights, one for each segment.
        strata: of targets, (n,) classes whose mix is the same in every arm; nan for segments to leave out.
        measure, chance: what the score is called, and its value for a guess, None where there is none.
    """

    name: str
    title: str
    targets: Callable[[EvaluationInput, EvaluatedSet, EvaluatedSet], np.ndarray | None]
    lacking: str
    learn: Callable[..., np.ndarray] = classify
    score: Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], float]] = area
    strata: Callable[[np.ndarray], np.ndarray] = np.asarray
    measure: str = "AUC"
    chance: float | None = 0.5


def _region(given: EvaluationInput, training: EvaluatedSet, of: EvaluatedSet) -> np.ndarray | None:
    for column in ("region", f"{ASKED}region"):
        region = of.table.get(column, np.empty(0))
        if np.isin(["temporal", "parietal"], region).all():
            return np.where(region == "temporal", 1.0, np.where(region == "parietal", 0.0, np.nan))
    return None


def _above_median(measure: str) -> Callable[[EvaluationInput, EvaluatedSet, EvaluatedSet], np.ndarray]:
    def targets(given: EvaluationInput, training: EvaluatedSet, of: EvaluatedSet) -> np.ndarray:
        threshold = np.nanmedian(given.feature("measures", training)[measure])
        values = given.feature("measures", of)[measure]
        return np.where(np.isfinite(values), values > threshold, np.nan)

    return targets


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
    )
}
"""By name; a further task is a further entry."""
