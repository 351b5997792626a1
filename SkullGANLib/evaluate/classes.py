"""Whether a class-conditional model draws the class that it is asked for, and how well it draws each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SkullGANLib.ct.label_names import names_a_side
from SkullGANLib.evaluate.asked import ASKED
from SkullGANLib.evaluate.bootstrap import figure_of, resampling_of
from SkullGANLib.evaluate.convolutions import LEAST_SIZE
from SkullGANLib.evaluate.fidelity import NEIGHBOURS, precision_recall
from SkullGANLib.evaluate.fidelity_metrics import LEAST, MOST, encoded_features
from SkullGANLib.evaluate.kernel import KernelComparison
from SkullGANLib.evaluate.plots import new_figure, save_figure
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, MetricResult, metric, picture, spread
from SkullGANLib.evaluate.task_classifier import classify
from SkullGANLib.progress import report
from SkullGANLib.words import few

REPEATS = 100
LOW_CEILING = 0.8
"""Where the classifier knows fewer real segments than that, it cannot say much of synthetic ones."""
FALLS_SHORT = 0.1
SHOWN, IN_ROW = 12, 6
"""Classes and segments of each that the picture shows."""


def classes_of(of: EvaluatedSet) -> np.ndarray | None:
    """(N,) the class of each segment, or the one it was asked to be; None where a set has none."""
    for column in ("class", f"{ASKED}class"):
        found = of.table.get(column)
        if found is not None and len(found) and (found.astype(str) != "").any():
            return found.astype(str)
    return None


def shared_classes(given: EvaluationInput) -> list[str]:
    """Classes that real and synthetic set have in common, with enough segments of each; in alphabetical order."""
    sets = [classes_of(each) for each in (given.training, given.real, given.synthetic)]
    if any(each is None for each in sets):
        return []
    counts = [dict(zip(*np.unique(each, return_counts=True), strict=True)) for each in sets]
    return [name for name in sorted(counts[0]) if name and all(count.get(name, 0) >= LEAST for count in counts)]


def confusion(asked: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """(k, k) share of the segments of each class, a row, that were taken for each.

    Args:
        asked, found: (n,) numbers of classes.
        classes: k.
    """
    counts = np.zeros((classes, classes))
    np.add.at(counts, (asked, found), 1)
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


@metric(
    "classes",
    title="Class consistency",
    group="conditions",
    highlights=("consistency",),
    aim="as high as real ones",
)
def classes(given: EvaluationInput) -> MetricResult:
    """How often a classifier of real training segments takes a synthetic one for the class it was asked to be."""
    result, names = MetricResult(), shared_classes(given)
    if len(names) < 2:
        if why := _too_few_classes(given):
            result.left_out.append(f"Class consistency: {why}")
        return result
    training, where = _of_classes(given.training, names)
    asked = {each.name: _of_classes(each, names) for each in given.sets}
    told = given.progress
    hu = np.concatenate([np.asarray(each.hu) for each, _ in asked.values()])
    scores = classify(
        np.asarray(training.hu), where, hu, seed=given.seed, mirror=not names_a_side(names),
        told=lambda step, steps: report(told, step, steps, "Learning the classes"),
    )  # fmt: skip
    found = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
    start = 0
    for each, truth in asked.values():
        part, start = found[start : start + len(each)], start + len(each)
        right, prefix = part == truth, "" if each.name == "synthetic" else "real_"
        detail = {"classes": names, "confusion": confusion(truth, part, len(names)).round(4).tolist()}
        draws = [resampling_of(each)]

        def share(weights: np.ndarray, right: np.ndarray = right, truth: np.ndarray = truth) -> float:
            shares = [weights[truth == k] @ right[truth == k] / weights[truth == k].sum() for k in np.unique(truth)]
            return float(np.nanmean(shares))

        with np.errstate(invalid="ignore"):
            result.figures[f"{prefix}consistency"] = figure_of(share, draws, seed=given.seed, detail=detail)
    result.warnings += _warnings(result, given.held_out)
    return result


@metric("class_fidelity", title="Fidelity of each class", group="fidelity", highlights=("worst_distance",), aim="0")
def class_fidelity(given: EvaluationInput) -> MetricResult:
    """Kernel distance, precision and recall within each class, on the encoder's features."""
    result, names = MetricResult(), shared_classes(given)
    if not names or min(given.training.hu.shape[1:]) < LEAST_SIZE:
        return result
    for name in names:
        pair = [each.take(np.flatnonzero(classes_of(each) == name)).at_most(MOST) for each in given.sets]
        x, y = (encoded_features(given, each) for each in pair)
        compared = KernelComparison(x, y, pair[0].subjects, pair[1].subjects)
        draws = [resampling_of(each) for each in pair]
        figure = figure_of(compared.distance, draws, seed=given.seed, repeats=REPEATS)
        precision, recall = precision_recall(x, y) if min(len(x), len(y)) > NEIGHBOURS else (np.nan, np.nan)
        figure.detail.update({"class": name, "precision": round(precision, 4), "recall": round(recall, 4)})
        result.figures[f"distance_{name}"] = figure
    worst = max(result.figures.values(), key=lambda figure: np.nan if figure.value is None else figure.value)
    result.figures["worst_distance"] = worst.model_copy(deep=True)
    return result


def _too_few_classes(given: EvaluationInput) -> str:
    """Why less than two classes can be compared; nothing where no set has any."""
    sets = {each.name: classes_of(each) for each in given.sets}
    without = [name for name, each in sets.items() if each is None]
    if len(without) == len(sets):
        return ""
    if without:
        column = f"{ASKED}class" if "synthetic" in without else "class"
        return f"the {without[0]} set has no classes, in the column {column}."
    real, drawn = (sorted({*each} - {""}) for each in sets.values())
    shared = [name for name in real if name in drawn]
    if len(shared) < 2:
        return f"the sets share fewer than two classes: real ones are {few(real)}, synthetic ones {few(drawn)}."
    return f"it takes two classes with {LEAST} real, held-out and synthetic segments each."


def _of_classes(of: EvaluatedSet, names: list[str]) -> tuple[EvaluatedSet, np.ndarray]:
    """At most about ``MOST`` segments of these classes, some of each, and the number of the class of each."""
    known = classes_of(of)
    rows = np.flatnonzero(np.isin(known, names))
    if len(rows) > MOST:
        each = max(MOST // len(names), LEAST)
        parts = [np.flatnonzero(known == name) for name in names]
        rows = np.sort(np.concatenate([part[spread(len(part), each)] for part in parts]))
    return of.take(rows), np.searchsorted(names, known[rows])


def _warnings(result: MetricResult, held_out: bool) -> list[str]:
    found, (drawn, real) = [], (result.figures[name].value for name in ("consistency", "real_consistency"))
    if held_out and real < LOW_CEILING:
        found.append(
            f"The classes are hard to tell apart: of real held-out segments the classifier knows {100 * real:.0f} %, "
            "so class consistency says little."
        )
    elif drawn < real - FALLS_SHORT:
        found.append(
            f"A classifier takes {100 * drawn:.0f} % of the synthetic segments for the class that they were asked to "
            f"be, but {100 * real:.0f} % of the real ones for their own: look at the confusion matrix."
        )
    if not held_out:
        found.append("Class consistency: the classifier learnt from the real segments that it is compared on.")
    return found


@picture("classes.png", title="Which class segments are taken for", needs=("classes",), group="conditions")
def confusion_picture(given: EvaluationInput, results: dict[str, MetricResult], path: Path) -> None:
    """Two matrices: of real segments and of synthetic ones; rows are what they are, columns what they are taken for."""
    figures = results["classes"].figures
    names = figures["consistency"].detail["classes"]
    side = max(4.0, 0.55 * len(names) + 1.5)
    figure = new_figure(2 * side + 3, side + 1.5)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, key, title in zip(
        panels, ("real_consistency", "consistency"), ("Real segments", "Synthetic segments"), strict=True
    ):
        shares = np.array(figures[key].detail["confusion"])
        axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        if len(names) <= SHOWN:
            for row, column in np.ndindex(*shares.shape):
                shade = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", color=shade)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=11)
        axes.set_yticks(range(len(names)), names, fontsize=11)
        axes.set_title(f"{title}: {100 * figures[key].value:.0f} % as their class", fontsize=14)
        axes.set_xlabel("taken for (%)", fontsize=12)
    panels[0].set_ylabel("class", fontsize=12)
    save_figure(figure, path)


@picture("class_examples.png", title="Each class, real and synthetic", needs=("classes",), group="conditions")
def examples_picture(given: EvaluationInput, results: dict[str, MetricResult], path: Path) -> None:
    """A row for each class: real segments on the left, synthetic ones on the right, all in one window."""
    names = results["classes"].figures["consistency"].detail["classes"][:SHOWN]
    hu = [[np.asarray(each.hu[rows]) for each, rows in _chosen(given, name)] for name in names]
    low, high = (float(v) for v in np.percentile(np.concatenate([row[0] for row in hu]), [0.5, 99.8]))
    figure = new_figure(2 * IN_ROW * 1.25 + 2, 1.25 * len(names) + 0.8)
    panels = np.atleast_2d(
        figure.subplots(len(names), 2 * IN_ROW + 1, width_ratios=[1] * IN_ROW + [0.3] + [1] * IN_ROW)
    )
    for row, name in enumerate(names):
        for axes in panels[row]:
            axes.set_axis_off()
        for side in (0, 1):
            for column, image in enumerate(hu[row][side]):
                panels[row, side * (IN_ROW + 1) + column].imshow(image, cmap="gray", vmin=low, vmax=high)
        panels[row, 0].text(-0.1, 0.5, name, transform=panels[row, 0].transAxes, ha="right", va="center", fontsize=11)
    for side, title in enumerate(("real", "synthetic")):
        panels[0, side * (IN_ROW + 1) + IN_ROW // 2].set_title(title, fontsize=13)
    save_figure(figure, path)


def _chosen(given: EvaluationInput, name: str) -> list[tuple[EvaluatedSet, np.ndarray]]:
    found = []
    for each in given.sets:
        rows = np.flatnonzero(classes_of(each) == name)
        found.append((each, rows[spread(len(rows), IN_ROW)]))
    return found
