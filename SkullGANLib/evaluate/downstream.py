"""Whether synthetic segments are of use: tasks learnt from real, synthetic and both, tried on held-out subjects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SkullGANLib.evaluate.bootstrap import Resampling, figure_of, resampling_of
from SkullGANLib.evaluate.convolutions import check_size
from SkullGANLib.evaluate.plots import COLOURS, new_figure, save_figure
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, Figure, MetricResult, metric, picture, spread
from SkullGANLib.evaluate.tasks import TASKS, Task
from SkullGANLib.progress import report
from SkullGANLib.segments.splits import split_by_subject

SEEDS = 3
MOST, LEAST, TRIED = 500, 20, 1000
"""Training segments of either kind, the fewest of one class, and the most that a task is tried on."""
FEW = 0.1
TEST_SHARE, LEAST_SUBJECTS = 0.3, 4
"""Of a real set that is not split, and how many subjects it must have for that."""
ARMS = {
    "real": "100 % real",
    "few": "10 % real",
    "few_filled": "10 % real + 90 % synthetic",
    "real_and_synthetic": "100 % real + as many synthetic",
    "synthetic": "synthetic only",
}
"""What a task is learnt from, and how the report calls it."""
HARM, EASY = 0.01, 0.98
"""A smaller loss is not worth a warning; where few real segments reach the second, little is left to gain."""
LEFT = 0.9
"""The axis begins here or before, so that a hundredth does not look like a gulf."""
GAINS = {"gain_over_few": ("few_filled", "few"), "gain_over_real": ("real_and_synthetic", "real")}
"""What synthetic segments add to few real ones and to all of them: score of the first arm less that of the second."""

Arms = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Parts:
    """Whom a task is learnt from and whom it is tried on: real sets without a common subject, and the synthetic one."""

    training: EvaluatedSet
    test: EvaluatedSet
    synthetic: EvaluatedSet


def choose_arms(
    real: np.ndarray, synthetic: np.ndarray, subjects: np.ndarray, generator: np.random.Generator
) -> Arms | None:
    """Which segments each arm learns from: as many in all and of each class, but for those that add or take away.

    Ten per cent of the real segments are those of about ten per cent of the subjects, as when only few are scanned.

    Args:
        real, synthetic: (n,) and (m,) classes; nan for segments to leave out.
        subjects: (n,) of the real ones.
        generator: draws the segments.

    Returns:
        Name of the arm to positions of its real and its synthetic segments; None where a class has too few.
    """
    classes, counts = np.unique(real[np.isfinite(real)], return_counts=True)
    drawn = np.array([(synthetic == each).sum() for each in classes])
    if not len(classes):
        return None
    total = min(MOST, counts.sum(), (drawn * counts.sum() / counts).min())
    sizes = np.floor(total * counts / counts.sum() + 1e-9).astype(int)
    if sizes.min() < LEAST:
        return None
    turn = generator.permutation(len(subjects))[np.unique(subjects, return_inverse=True)[1].reshape(-1)]
    parts: list[list[np.ndarray]] = [[], [], [], []]
    for each, size in zip(classes, sizes, strict=True):
        few = max(round(FEW * size), 1)
        chosen = generator.permutation(np.flatnonzero(real == each))[:size]
        chosen = chosen[np.argsort(turn[chosen], kind="stable")]  # subject after subject
        others = generator.permutation(np.flatnonzero(synthetic == each))[:size]
        for part, rows in zip(parts, (chosen, chosen[:few], others, others[: size - few]), strict=True):
            part.append(rows)
    all_real, few_real, all_synthetic, filling = (np.sort(np.concatenate(part)) for part in parts)
    none = np.empty(0, np.int64)
    return {
        "real": (all_real, none),
        "few": (few_real, none),
        "few_filled": (few_real, filling),
        "real_and_synthetic": (all_real, all_synthetic),
        "synthetic": (none, all_synthetic),
    }


@metric(
    "downstream",
    title="Downstream use",
    needs=("measures",),
    default=False,
    group="use",
    highlights=tuple(f"{task}_gain_over_few" for task in TASKS),
    aim="above 0",
)
def downstream(given: EvaluationInput) -> MetricResult:
    """The score of every arm of every task on held-out subjects, and what synthetic segments add."""
    check_size(given.real.hu)
    parts, result = _parts(given)
    ready = {} if parts is None else _ready(given, parts, result)
    for done, (task, targets, test) in enumerate(ready.values()):
        scores, sizes = _try_arms(given, parts, task, targets, test, (done, len(ready)))
        draws = [resampling_of(parts.test.take(test)), Resampling(SEEDS)]
        for arm, of_arm in scores.items():
            detail = dict(zip(("real", "synthetic"), sizes[arm], strict=True))
            result.figures[f"{task.name}_{arm}"] = _figure(of_arm, draws, given.seed, detail)
        for gain, (more, less) in GAINS.items():
            differences = [lambda w, a=a, b=b: a(w) - b(w) for a, b in zip(scores[more], scores[less], strict=True)]
            result.figures[f"{task.name}_{gain}"] = _figure(differences, draws, given.seed, {})
        result.warnings += _warnings(task, result.figures)
    return result


def _warnings(task: Task, figures: dict[str, Figure]) -> list[str]:
    found, few = [], figures[f"{task.name}_few"].value
    if few > EASY:
        found.append(
            f"{task.title}: 10 % of the real segments reach {few:.3f} {task.measure} already, so this task says little "
            "about the use of synthetic ones."
        )
    for gain, (more, less) in GAINS.items():
        figure = figures[f"{task.name}_{gain}"]
        if figure.value < -HARM and figure.interval is not None and figure.interval[1] < 0:
            found.append(
                f"{task.title}: {ARMS[more]} does worse than {ARMS[less]}, by {-figure.value:.3f} {task.measure}: "
                "synthetic segments do harm here."
            )
    return found


def _parts(given: EvaluationInput) -> tuple[Parts | None, MetricResult]:
    """Real subjects to learn from and others to try on; None, and words, where that cannot be had."""
    result, subjects = MetricResult(), given.real.subjects
    if subjects is None or given.training.subjects is None:
        result.left_out.append("Downstream use is not tried: it needs real subjects held out, and they are not known.")
        return None, result
    if given.held_out:
        apart = ~np.isin(given.training.subjects, subjects)
        if not apart.all():
            result.warnings.append(
                f"Downstream use: {(~apart).sum()} training segments are of subjects of the real set and are left out."
            )
        training = given.training if apart.all() else given.training.take(np.flatnonzero(apart))
        return Parts(training, given.real, given.synthetic), result
    if len(np.unique(subjects)) < LEAST_SUBJECTS:
        result.left_out.append(
            f"Downstream use is not tried: no subjects are held out, and to hold some out takes {LEAST_SUBJECTS}."
        )
        return None, result
    part = split_by_subject(subjects, {"train": 1 - TEST_SHARE, "test": TEST_SHARE}, given.seed)
    training, test = (given.real.take(np.flatnonzero(part == each)) for each in ("train", "test"))
    result.warnings.append(
        "Downstream use: the real set is not split, so some of its subjects were held out for the trial. If the model "
        "was trained on them, the arms with synthetic segments are flattered."
    )
    return Parts(training, test, given.synthetic), result


Ready = tuple[Task, list[np.ndarray], np.ndarray]


def _ready(given: EvaluationInput, parts: Parts, result: MetricResult) -> dict[str, Ready]:
    """The tasks that can be tried, with the truth for training, test and synthetic set and the rows to be tried on."""
    ready = {}
    for task in TASKS.values():
        targets = [task.targets(given, parts.training, of) for of in (parts.training, parts.test, parts.synthetic)]
        if any(each is None for each in targets):
            result.left_out.append(f"The task '{task.title}' is not tried: it {task.lacking}.")
            continue
        strata = [task.strata(each) for each in targets]
        known = np.flatnonzero(np.isfinite(strata[1]))
        test = known[spread(len(known), TRIED)]
        tried, learnt = np.unique(strata[1][test]), np.unique(strata[0][np.isfinite(strata[0])])
        arms = choose_arms(strata[0], strata[2], parts.training.subjects, np.random.default_rng(given.seed))
        if arms is None or not np.array_equal(tried, learnt):
            result.left_out.append(
                f"The task '{task.title}' is not tried: it takes {LEAST} real and {LEAST} synthetic training segments "
                "of each class, in the class mix of the real ones, and some of each in the test part."
            )
            continue
        ready[task.name] = task, targets, test
    return ready


def _try_arms(
    given: EvaluationInput, parts: Parts, task: Task, targets: list[np.ndarray], test: np.ndarray, of: tuple[int, int]
) -> tuple[dict[str, list[Callable]], dict[str, tuple[int, int]]]:
    """For each arm, the score of each training as a function of the weights of the test segments; and its sizes."""
    asked, truth = parts.test.hu[test], targets[1][test]
    scores: dict[str, list[Callable]] = {arm: [] for arm in ARMS}
    sizes = {}
    for run in range(SEEDS):
        draw = np.random.default_rng([given.seed, run])
        chosen = choose_arms(task.strata(targets[0]), task.strata(targets[2]), parts.training.subjects, draw)
        for i, (arm, (real, synthetic)) in enumerate(chosen.items()):
            hu = np.concatenate([np.asarray(parts.training.hu[real]), np.asarray(parts.synthetic.hu[synthetic])])
            learnt = np.concatenate([targets[0][real], targets[2][synthetic]])
            done = (of[0] * SEEDS + run) * len(ARMS) + i

            def told(step: int, steps: int, done: int = done) -> None:
                total = of[1] * SEEDS * len(ARMS)
                report(given.progress, 100 * done + 100 * step // steps, 100 * total, f"Learning: {task.title}")

            found = task.learn(hu, learnt, asked, seed=given.seed + run, told=told)
            scores[arm].append(task.score(truth, found))
            sizes[arm] = len(real), len(synthetic)
    return scores, sizes


def _figure(scores: list[Callable], draws: list[Resampling], seed: int, detail: dict) -> Figure:
    """The mean over the trainings, with an interval over subjects of the test part and over trainings."""
    figure = figure_of(
        lambda weights, runs: float(runs @ [score(weights) for score in scores] / runs.sum()),
        draws,
        seed=seed,
        detail=detail | {"trainings": [round(score(np.ones(draws[0].n)), 4) for score in scores]},
    )
    over = None if figure.interval is None else f"test {draws[0].by} and trainings"
    return figure.model_copy(update={"n": draws[0].n, "resampled": over})


@picture(
    "downstream.png",
    title="What tasks learn from real, synthetic and mixed segments",
    needs=("downstream",),
    group="use",
)
def downstream_picture(given: EvaluationInput, results: dict[str, MetricResult], path: Path) -> None:
    """A panel for each task; arms one below the other, mean and interval, and a dot for each training."""
    figures = results["downstream"].figures
    tasks = [task for task in TASKS.values() if f"{task.name}_real" in figures]
    figure = new_figure(4.6 + 4.4 * len(tasks), 4.4)
    figure.get_layout_engine().set(wspace=0.08)
    panels = np.atleast_1d(figure.subplots(1, len(tasks), sharex=True, sharey=True))
    for axes, task in zip(panels, tasks, strict=True):
        found = {arm: figures[f"{task.name}_{arm}"] for arm in ARMS}
        axes.axvline(found["real"].value, color=COLOURS["real"], linewidth=1, linestyle="--")
        for place, each in enumerate(found.values()):
            real, synthetic = each.detail["real"], each.detail["synthetic"]
            left = COLOURS["real" if real else "synthetic"]
            right = COLOURS["synthetic" if synthetic else "real"]
            if each.interval is not None:
                axes.hlines(place, *each.interval, color="0.25", linewidth=2)
            axes.plot(each.detail["trainings"], [place + 0.25] * SEEDS, ".", color="0.55", markersize=6)
            axes.plot(
                each.value, place, "o", markersize=12, fillstyle="left", markerfacecolor=left,
                markerfacecoloralt=right, markeredgecolor="black",
            )  # fmt: skip
        axes.set_title(f"{task.title}\n100 % are {found['real'].detail['real']} segments", fontsize=15, pad=10)
        guess = "" if task.chance is None else f" ({task.chance:g} by chance)"
        axes.set_xlabel(f"{task.measure} on held-out subjects{guess}", fontsize=13)
        axes.set_yticks(range(len(ARMS)), list(ARMS.values()), fontsize=14)
        axes.tick_params(axis="x", labelsize=12)
        axes.locator_params(axis="x", nbins=5)
        axes.set_ylim(len(ARMS) - 0.4, -0.6)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(min(axes.get_xlim()[0], LEFT), 1.005)
    save_figure(figure, path)
