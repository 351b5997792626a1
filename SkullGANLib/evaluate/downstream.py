"""Whether synthetic segments are of use: tasks learnt from real, synthetic and both, tried on held-out subjects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.bootstrap import Resampling, figure_of, resampling_of
from SkullGANLib.evaluate.convolutions import check_size
from SkullGANLib.evaluate.downstream_plot import draw_arms
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, Figure, MetricResult, metric, picture, spread
from SkullGANLib.evaluate.tasks import TASKS, Score, Task
from SkullGANLib.progress import report
from SkullGANLib.segments.splits import split_by_subject
from SkullGANLib.words import few

SEEDS = 3
MOST, LEAST, TRIED = 500, 20, 1000
"""Training segments of either kind (more where the rarest class needs them), the fewest of one class, and the most that
a task is tried on."""
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
GAINS = {"gain_over_few": ("few_filled", "few"), "gain_over_real": ("real_and_synthetic", "real")}
"""What synthetic segments add to few real ones and to all of them: score of the first arm less that of the second."""

Arms = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Parts:
    """Whom a task is learnt from and whom it is tried on: real sets without a common subject, and the synthetic one."""

    training: EvaluatedSet
    test: EvaluatedSet
    synthetic: EvaluatedSet


@dataclass(frozen=True)
class Trial:
    """A task that can be tried.

    Attributes:
        task: what is learnt.
        targets: the truth for the training, the test and the synthetic set.
        strata: the classes of each, nan for segments that are left out.
        test: rows of the test set to be tried on.
        names: of the classes or labels.
    """

    task: Task
    targets: list[np.ndarray]
    strata: list[np.ndarray]
    test: np.ndarray
    names: dict[int, str]


@dataclass(frozen=True)
class Settings:
    """How the networks are trained.

    Attributes:
        seeds: trainings of every arm.
        steps: of each; as many as the task takes if None.
        device: of torch.
    """

    seeds: int = SEEDS
    steps: int | None = None
    device: Any = "cpu"


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
    share = counts / counts.sum()
    most = max(MOST, np.ceil(LEAST / share.min()))
    total = min(most, counts.sum(), (drawn * counts.sum() / counts).min())
    sizes = np.floor(total * counts / counts.sum() + 1e-9).astype(int)
    if sizes.min() < LEAST:
        return None
    of_real, of_synthetic = generator.spawn(2)  # so that real ones are the same beside every synthetic set
    turn = of_real.permutation(len(subjects))[np.unique(subjects, return_inverse=True)[1].reshape(-1)]
    parts: list[list[np.ndarray]] = [[], [], [], []]
    for each, size in zip(classes, sizes, strict=True):
        few = max(round(FEW * size), 1)
        chosen = of_real.permutation(np.flatnonzero(real == each))[:size]
        chosen = chosen[np.argsort(turn[chosen], kind="stable")]  # subject after subject
        others = of_synthetic.permutation(np.flatnonzero(synthetic == each))[:size]
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
    return try_tasks(given, TASKS.values())


def try_tasks(given: EvaluationInput, tasks: Iterable[Task], settings: Settings | None = None) -> MetricResult:
    """Learn every task from every arm, and try it on held-out subjects.

    Args:
        given: the sets; ``real`` is what is tried on where it is held out, else some of its subjects are.
        tasks: what to learn; one that these sets do not allow is left out, in words.
        settings: of the trainings.

    Returns:
        Figures named TASK_ARM and TASK_GAIN, see ``ARMS`` and ``GAINS``; none where nothing could be tried.

    Raises:
        InputError: segments smaller than 32 pixels.
    """
    settings = settings or Settings()
    check_size(given.real.hu)
    parts, result = _parts(given)
    trials = [] if parts is None else _trials(given, parts, tasks, result)
    for done, trial in enumerate(trials):
        task = trial.task
        scores, details = _try_arms(given, parts, trial, settings, (done, len(trials)))
        draws = [resampling_of(parts.test.take(trial.test)), Resampling(settings.seeds)]
        for arm, of_arm in scores.items():
            result.figures[f"{task.name}_{arm}"] = _figure(of_arm, draws, given.seed, details[arm])
        for gain, (more, less) in GAINS.items():
            differences = [lambda w, a=a, b=b: a(w) - b(w) for a, b in zip(scores[more], scores[less], strict=True)]
            result.figures[f"{task.name}_{gain}"] = _figure(differences, draws, given.seed, {})
        result.warnings += _warnings(task, result.figures)
    return result


def gain_words(task: Task, gain: str, figure: Figure) -> str:
    """What synthetic segments add to a task, in one sentence that claims no more than the interval shows."""
    more, less = (ARMS[arm] for arm in GAINS[gain])
    words = f"{task.title}: {more} against {less}: {round(figure.value, 3) + 0.0:+.3f} {task.measure}"
    if figure.interval is None:
        return f"{words}, and no interval: nothing is shown."
    low, high = (round(end, 3) + 0.0 for end in figure.interval)  # as the reader sees them, without -0
    verdict = (
        "synthetic segments help."
        if low > 0
        else "synthetic segments do harm here."
        if high < 0
        else "the interval holds 0, so no difference is shown."
    )
    return f"{words} ({low:+.3f} to {high:+.3f}): {verdict}"


def _warnings(task: Task, figures: dict[str, Figure]) -> list[str]:
    found, few = [], figures[f"{task.name}_few"].value
    if few is not None and few > EASY:
        found.append(
            f"{task.title}: 10 % of the real segments reach {few:.3f} {task.measure} already, so this task says little "
            "about the use of synthetic ones."
        )
    for gain, (more, less) in GAINS.items():
        figure = figures[f"{task.name}_{gain}"]
        if figure.interval is not None and figure.value < -HARM and figure.interval[1] < 0:
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
        if not apart.any():
            result.left_out.append(
                "Downstream use is not tried: all subjects of the training part are in the test part, too. Split again "
                "with skullgan dataset split --by subject."
            )
            return None, result
        training = given.training if apart.all() else given.training.take(np.flatnonzero(apart))
        return Parts(training, given.real, _apart(given.synthetic, given.real, result)), result
    if len(np.unique(subjects)) < LEAST_SUBJECTS:
        result.left_out.append(
            f"Downstream use is not tried: no subjects are held out, and to hold some out takes {LEAST_SUBJECTS}."
        )
        return None, result
    part = split_by_subject(subjects, {"train": 1 - TEST_SHARE, "test": TEST_SHARE}, given.seed)
    training, test = (given.real.take(np.flatnonzero(part == each)) for each in ("train", "test"))
    result.warnings.append(
        "Downstream use: the real set has not both a part train and a part test, so some of its subjects were held out "
        "for the trial, whatever part they are of. If the model was trained on them, the arms with synthetic segments "
        "are flattered."
    )
    return Parts(training, test, _apart(given.synthetic, test, result)), result


def _apart(synthetic: EvaluatedSet, test: EvaluatedSet, result: MetricResult) -> EvaluatedSet:
    """The synthetic set, as of head phantoms, without the subjects that tasks are tried on."""
    shared = np.zeros(len(synthetic)) if synthetic.subjects is None else np.isin(synthetic.subjects, test.subjects)
    if not shared.any():
        return synthetic
    result.warnings.append(
        f"Downstream use: {shared.sum()} synthetic segments are of subjects held out for the trial and are left out."
    )
    return synthetic.take(np.flatnonzero(~shared))


def _trials(given: EvaluationInput, parts: Parts, tasks: Iterable[Task], result: MetricResult) -> list[Trial]:
    """The tasks that can be tried; of the others, the result is told why not."""
    found = []
    for task in tasks:
        try:
            trial, words = _trial(given, parts, task)
        except InputError as error:
            trial, words = None, f"{error.message} {error.advice}"
        if trial is None:
            result.left_out.append(f"The task '{task.title}' is not tried: {words}")
        else:
            found.append(trial)
            result.warnings += [words] * bool(words)
    return found


def _trial(given: EvaluationInput, parts: Parts, task: Task) -> tuple[Trial | None, str]:
    """The task as it can be tried, and which classes are left out; or None, and why."""
    targets = [task.targets(given, parts.training, of) for of in (parts.training, parts.test, parts.synthetic)]
    if any(each is None for each in targets):
        return None, f"it {task.lacking}."
    strata, names = [np.asarray(task.strata(each), float) for each in targets], dict(task.names(given))
    untold = int((~np.isfinite(strata[0])).sum()) if task.name == "class" else 0
    tested = np.flatnonzero(np.isfinite(strata[1]))
    tested = tested[spread(len(tested), TRIED)]
    thinned = np.full(len(strata[1]), np.nan)
    thinned[tested] = strata[1][tested]
    strata[1] = thinned
    counts = [{each: (of == each).sum() for each in np.unique(of[np.isfinite(of)])} for of in strata]
    known = sorted(counts[0].keys() | counts[1].keys())
    rare = [each for each in known if any(of.get(each, 0) < n for of, n in zip(counts, (LEAST, 1, LEAST), strict=True))]
    strata = [np.where(np.isin(each, rare), np.nan, each) for each in strata]
    chosen = choose_arms(strata[0], strata[2], parts.training.subjects, np.random.default_rng(given.seed))
    named = [str(names[each]) for each in rare if each in names]
    called = f" (too few: {few(named)})" if named and len(known) > 1 else ""
    if chosen is None or len(known) - len(rare) < min(2, len(known)):
        mix = " of each class, in the class mix of the real ones, and some of each in the test part"
        words = f"it takes {LEAST} real and {LEAST} synthetic training segments{mix * (len(known) > 1)}{called}."
        return None, words
    words = f"{task.title}: a set has too few segments of, and this task leaves out, {few(named)}." if named else ""
    if untold:
        words = f"{words} Classes: {untold} real training segments have none and are left out.".strip()
    return Trial(task, targets, strata, np.flatnonzero(np.isfinite(strata[1])), names), words


def _try_arms(
    given: EvaluationInput, parts: Parts, trial: Trial, settings: Settings, of: tuple[int, int]
) -> tuple[dict[str, list[Score]], dict[str, dict[str, Any]]]:
    """For each arm, the score of each training as a function of the weights of the test segments; and its details."""
    task, (real_truth, test_truth, synthetic_truth) = trial.task, trial.targets
    asked, truth = parts.test.hu[trial.test], test_truth[trial.test]
    scores: dict[str, list[Score]] = {arm: [] for arm in ARMS}
    each_part: dict[str, list[dict[float, float]]] = {arm: [] for arm in ARMS}
    details: dict[str, dict[str, Any]] = {}
    for run in range(settings.seeds):
        draw = np.random.default_rng([given.seed, run])
        chosen = choose_arms(trial.strata[0], trial.strata[2], parts.training.subjects, draw)
        for i, (arm, (real, synthetic)) in enumerate(chosen.items()):
            hu = np.concatenate([np.asarray(parts.training.hu[real]), np.asarray(parts.synthetic.hu[synthetic])])
            learnt = np.concatenate([real_truth[real], synthetic_truth[synthetic]])
            done = (of[0] * settings.seeds + run) * len(ARMS) + i

            def told(step: int, steps: int, done: int = done) -> None:
                total = of[1] * settings.seeds * len(ARMS)
                report(given.progress, 100 * done + 100 * step // steps, 100 * total, f"Learning: {task.title}")

            found = task.learn(
                hu,
                learnt,
                asked,
                names=trial.names,
                seed=given.seed + run,
                steps=settings.steps,
                device=settings.device,
                told=told,
            )
            scores[arm].append(task.score(truth, found))
            if task.parts is not None:
                ones = np.ones(len(truth))
                each_part[arm].append({value: score(ones) for value, score in task.parts(truth, found).items()})
            details[arm] = {"real": len(real), "synthetic": len(synthetic)}
    for arm, runs in each_part.items():
        for value in runs[0] if runs and len(runs[0]) > 1 else ():
            name = trial.names.get(value, f"{value:g}")
            details[arm][f"{task.measure} of {name}"] = round(float(np.mean([run[value] for run in runs])), 4)
    return scores, details


def _figure(scores: list[Score], draws: list[Resampling], seed: int, detail: dict) -> Figure:
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
    draw_arms(TASKS.values(), results["downstream"].figures, ARMS, path)
