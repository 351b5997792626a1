"""Trials of downstream use as a folder: every score as table and JSON, one picture, and in words what they show."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from SkullGANLib import __version__
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.bootstrap import FEW_SUBJECTS
from SkullGANLib.evaluate.checks import check_origin
from SkullGANLib.evaluate.downstream import ARMS, GAINS, SEEDS, Settings, gain_words, try_tasks
from SkullGANLib.evaluate.downstream_plot import draw_arms
from SkullGANLib.evaluate.inputs import Source, comparable_sets, prepare_input
from SkullGANLib.evaluate.registry import EvaluatedSet, Figure, MetricResult
from SkullGANLib.evaluate.report import SetCard, set_card
from SkullGANLib.evaluate.summary import interval_words, number_words
from SkullGANLib.evaluate.tasks import Task
from SkullGANLib.files import replace_folder, write_json
from SkullGANLib.progress import Progress
from SkullGANLib.segments.arrays import npy_sha256
from SkullGANLib.segments.table import stack_tables

FORMAT, VERSION = "skullgan-downstream", 1
RESULT_FILE, TABLE_FILE, PICTURE_FILE = "downstream.json", "downstream.csv", "downstream.png"
HEADINGS = ("task", "measure", "arm", "training", "score", "low", "high", "real", "synthetic", "segments", "subjects")


class TaskResult(BaseModel):
    """How well a task was learnt.

    Attributes:
        title: for the reader.
        measure, chance: what the score is called, and its value for a guess, None where there is none.
        arms: score of each arm; its detail has the training segments and the score of each training.
        gains: what synthetic segments add, see ``downstream.GAINS``.
        findings: the same in words.
    """

    model_config = ConfigDict(extra="forbid")

    title: str
    measure: str
    chance: float | None
    arms: dict[str, Figure]
    gains: dict[str, Figure]
    findings: list[str]


class DownstreamResult(BaseModel):
    """The content of ``downstream.json``.

    Attributes:
        library: version of this library.
        seed: of every random draw but those of the trainings.
        seeds: of the trainings of each arm.
        spacing_mm: pixel size of all sets.
        sets: what was given, by name, with its content hash; "real" is tried on, in part or as a whole.
        label_sets: of each set, name to the hash of its file.
        tasks: by name.
        warnings: what the reader must know before trusting a score, as sentences.
        left_out: what was not tried, and why, as sentences.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal["skullgan-downstream"] = FORMAT
    version: int = VERSION
    library: str = __version__
    seed: int
    seeds: list[int]
    spacing_mm: float
    sets: dict[str, SetCard]
    label_sets: dict[str, dict[str, str]]
    tasks: dict[str, TaskResult] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    left_out: list[str] = Field(default_factory=list)


def report_downstream(
    real: Source,
    synthetic: Sequence[Source],
    out: str | Path,
    tasks: Sequence[Task],
    *,
    settings: Settings | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DownstreamResult:
    """Try what synthetic segments are good for and write the folder, in one step.

    Tasks are tried on the part ``test`` of the real set and learnt from its part ``train``; where it has not both, on
    some of its subjects and from the others.

    Args:
        real: a data set with known subjects.
        synthetic: one data set or array, or several, which are taken together and then without their label sets.
        out: folder to make: ``downstream.json``, ``downstream.csv`` and ``downstream.png``.
        tasks: what to learn, see ``tasks.TASKS``.
        settings: of the trainings.
        seed: same seed, same scores on the processor.
        overwrite: whether such a folder at ``out`` may be replaced.
        progress: told the trainings.

    Raises:
        InputError: sets that do not fit each other, no subjects to hold out, no task that can be tried, or a folder
            that may not be replaced.
    """
    settings = settings or Settings()
    given, warnings, _ = prepare_input(real, synthetic[0], seed=seed, progress=progress)
    cards = given.every_set
    if len(synthetic) > 1:
        further = {f"synthetic {number}": each for number, each in enumerate(synthetic[1:], start=2)}
        sets, _, more = comparable_sets({"real": real, **further})
        warnings += more
        cards |= {name: sets[name] for name in further}
        given.synthetic = _together([given.synthetic, *(sets[name] for name in further)])
    with replace_folder(out, overwrite=overwrite, marker=RESULT_FILE) as folder:
        found = try_tasks(given, tasks, settings)
        if not found.figures:
            raise InputError(
                " ".join(found.left_out), "Give sets that have what is missing, or more segments, or try another task."
            )
        result = DownstreamResult(
            seed=seed,
            seeds=[seed + run for run in range(settings.seeds)],
            spacing_mm=given.spacing_mm,
            sets={name: set_card(each) for name, each in cards.items()},
            label_sets={
                name: {label_set: npy_sha256(masks) for label_set, masks in each.label_sets.items()}
                for name, each in cards.items()
            },
            tasks={task.name: _result(task, found) for task in tasks if f"{task.name}_real" in found.figures},
            warnings=list(dict.fromkeys(check_origin(given) + warnings + found.warnings + _trust(found, settings))),
            left_out=found.left_out,
        )
        write_json(folder / RESULT_FILE, result.model_dump(mode="json"))
        with open(folder / TABLE_FILE, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([HEADINGS, *_rows(result)])
        draw_arms(tasks, found.figures, ARMS, folder / PICTURE_FILE)
    return result


def result_lines(result: DownstreamResult) -> list[str]:
    """The scores as tables for people, and what they show."""
    lines = []
    for task in result.tasks.values():
        first = task.arms["real"]
        guess = "" if task.chance is None else f", {task.chance:g} by chance"
        people = "subject" if first.subjects == 1 else "subjects"
        lines.append(f"{task.title}: {task.measure} on {first.n} segments of {first.subjects} held-out {people}{guess}")
        rows = [("learnt from", "real", "synthetic", task.measure, "95 % interval", "trainings")]
        for arm, figure in task.arms.items():
            counts = [str(figure.detail[of]) for of in ("real", "synthetic")]
            trainings = " ".join(number_words(score) for score in figure.detail["trainings"])
            rows.append((ARMS[arm], *counts, number_words(figure.value), interval_words(figure) or "-", trainings))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        lines += [f"  {sentence.removeprefix(f'{task.title}: ')}" for sentence in task.findings]
    return lines


def _result(task: Task, found: MetricResult) -> TaskResult:
    gains = {gain: found.figures[f"{task.name}_{gain}"] for gain in GAINS}
    return TaskResult(
        title=task.title,
        measure=task.measure,
        chance=task.chance,
        arms={arm: found.figures[f"{task.name}_{arm}"] for arm in ARMS},
        gains=gains,
        findings=[gain_words(task, gain, figure) for gain, figure in gains.items()],
    )


def _trust(found: MetricResult, settings: Settings) -> list[str]:
    """Sentences on what makes intervals too narrow."""
    sentences, subjects = [], min(figure.subjects or 0 for figure in found.figures.values())
    if subjects < FEW_SUBJECTS:
        sentences.append(f"Tasks are tried on {subjects} held-out subjects only: intervals are too narrow.")
    if settings.seeds < SEEDS:
        times = ("once", "twice")[settings.seeds - 1]
        sentences.append(f"Each arm is learnt {times} only; take at least {SEEDS} seeds.")
    return sentences


def _rows(result: DownstreamResult) -> Iterator[list]:
    """A row for each training of each arm and gain, and one for their mean, which has the interval."""
    for name, task in result.tasks.items():
        for arm, figure in {**task.arms, **task.gains}.items():
            start = [name, task.measure, arm]
            of = [figure.detail.get("real"), figure.detail.get("synthetic"), figure.n, figure.subjects]
            for seed, score in zip(result.seeds, figure.detail["trainings"], strict=True):
                yield [*start, seed, score, "", "", *of]
            yield [*start, "mean", figure.value, *(figure.interval or ("", "")), *of]


def _together(sets: list[EvaluatedSet]) -> EvaluatedSet:
    """Several synthetic sets as one, without their label sets."""
    tables = [{"index": np.arange(len(each)), **each.table} for each in sets]
    kinds = {each.kind for each in sets}
    return EvaluatedSet(
        sets[0].name,
        np.concatenate([np.asarray(each.hu) for each in sets]),
        hashlib.sha256(" ".join(each.fingerprint for each in sets).encode()).hexdigest(),
        stack_tables(tables),
        kind=kinds.pop() if len(kinds) == 1 else "synthetic",
    )
