"""``skullgan downstream``: are synthetic images of use for learning a task?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from SkullGANLib.cli import common
from SkullGANLib.progress import Progress

if TYPE_CHECKING:
    from SkullGANLib.evaluate.tasks import Task

CLASSIFICATION = ("region", "density", "thickness", "class")
path = click.Path(path_type=Path)


def _options(function: Callable) -> Callable:
    """What both commands can be told."""
    for option in reversed(
        (
            click.option(
                "--seeds", default=3, show_default=True, type=click.IntRange(1), help="Trainings of each arm."
            ),
            click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the first training."),
            click.option("--steps", type=click.IntRange(2), help="Steps of each training, the same for every arm."),
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps."),
            click.option("--out", required=True, type=path, help="Folder to make."),
            click.option("--overwrite", is_flag=True, help="Replace such a folder that is there already."),
        )
    ):
        function = option(function)
    return function


@click.group(short_help="Try what synthetic images are good for: learn a task with and without them.")
def downstream() -> None:
    """Try what synthetic images are good for: learn a task with and without them.

    A task is learnt from all real images, from a tenth of them, from that tenth filled up with synthetic ones, from
    all real and as many synthetic ones, and from synthetic ones alone, every time in as many steps. It is tried on
    held-out subjects: on the part test of REAL, or on subjects set aside where REAL is not split.
    """


@downstream.command(short_help="Learn to classify images.")
@click.argument("real", type=path)
@click.argument("synthetic", type=path, nargs=-1, required=True)
@click.option(
    "--task",
    "names",
    multiple=True,
    default=["all"],
    show_default=True,
    type=click.Choice([*CLASSIFICATION, "all"]),
    help="What to learn; may be given several times. class: the column class (of synthetic images: asked_class).",
)
@_options
@common.command
def classify(
    real: Path, synthetic: tuple[Path, ...], names: tuple[str, ...], progress: Progress, **options: object
) -> None:
    """Learn to classify images; the score is the AUC, of several classes the mean of each against all others.

    REAL is a data set, SYNTHETIC data sets or .npy arrays that are taken together.
    """
    from SkullGANLib.evaluate.tasks import TASKS

    chosen = CLASSIFICATION if "all" in names else dict.fromkeys(names)
    _try(real, synthetic, [TASKS[name] for name in chosen], progress, **options)


@downstream.command(short_help="Learn to segment images.")
@click.argument("real", type=path)
@click.argument("synthetic", type=path)
@click.option("--label-set", default="tissues", show_default=True, help="Masks to learn; both sets need them.")
@_options
@common.command
def segment(real: Path, synthetic: Path, label_set: str, progress: Progress, **options: object) -> None:
    """Learn to segment images; the score is the Dice, the mean over labels.

    REAL and SYNTHETIC are data sets with masks.
    """
    from SkullGANLib.evaluate.tasks import layers_task

    _try(real, (synthetic,), [layers_task(label_set)], progress, **options)


def _try(
    real: Path,
    synthetic: tuple[Path, ...],
    tasks: list[Task],
    progress: Progress,
    *,
    seeds: int,
    seed: int,
    steps: int | None,
    device: str,
    out: Path,
    overwrite: bool,
) -> None:
    from SkullGANLib.evaluate.downstream import Settings
    from SkullGANLib.evaluate.downstream_report import (
        PICTURE_FILE,
        RESULT_FILE,
        TABLE_FILE,
        report_downstream,
        result_lines,
    )
    from SkullGANLib.models.device import resolve_device

    found = report_downstream(
        common.open_segments(real),
        [common.open_segments(each) for each in synthetic],
        out,
        tasks,
        settings=Settings(seeds, steps, resolve_device(device)),
        seed=seed,
        overwrite=overwrite,
        progress=progress,
    )
    findings = [sentence for task in found.tasks.values() for sentence in task.findings]
    progress.result(
        folder=str(out),
        table=str(out / TABLE_FILE),
        picture=str(out / PICTURE_FILE),
        findings=findings,
        warnings=found.warnings,
        left_out=found.left_out,
    )
    progress.close()
    for line in result_lines(found):
        click.echo(line)
    for warning in found.warnings:
        click.echo(f"Note: {warning}")
    for sentence in found.left_out:
        click.echo(f"Left out: {sentence}")
    click.echo(f"Every score is in {out / TABLE_FILE} and {RESULT_FILE}, the picture is {PICTURE_FILE}.")
