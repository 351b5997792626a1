"""``skullgan evaluate``: compare synthetic with real segments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from SkullGANLib.cli import common
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress

if TYPE_CHECKING:
    from SkullGANLib.evaluate.report import Report

_TOLD = ("mae", "bias", "sd_ratio", "dice_generated", "dice_real", "diversity", "psnr", "ssim")


@click.command(short_help="Compare synthetic with real segments.")
@click.option("--real", type=click.Path(path_type=Path), help="Data set or .npy of real segments.")
@click.option("--synthetic", type=click.Path(path_type=Path), help="Data set or .npy of synthetic ones.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="In place of both, for a --model that draws from label maps: data set whose label maps are drawn and whose "
    "images the drawn ones are compared with.",
)
@click.option(
    "--training",
    type=click.Path(path_type=Path),
    help="Real segments the model was trained on, elsewhere; with --labels, slices of other subjects that teach the "
    "segmenter behind mask consistency. Of a split set its part train.",
)
@click.option("--control", type=click.Path(path_type=Path), help="Segments of a model without pre-training.")
@click.option("--artificial", metavar="auto|PATH", help="Artificial set that fools the radiological figures.")
@click.option("--model", type=click.Path(path_type=Path), help="Model or run whose discriminator is to judge the sets.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Report folder to make.")
@click.option(
    "--split",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "all", "train", "val", "test"]),
    help="Part of the real set to compare with; auto: test where it is split.",
)
@click.option("--metric", "metrics", multiple=True, help="Compute only this metric; may be given several times.")
@click.option("--spacing", "spacing_mm", type=float, help="Pixel size in mm of a .npy array.  [default: 0.45]")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Seed of the bootstrap and of the examples shown.",
)
@click.option("--device", default="auto", show_default=True, help="For --model: auto, cpu, cuda, cuda:1 or mps.")
@click.option("--overwrite", is_flag=True, help="Replace a report that is there already.")
@common.command
def evaluate(
    real: Path | None,
    synthetic: Path | None,
    labels: Path | None,
    training: Path | None,
    control: Path | None,
    artificial: str | None,
    model: Path | None,
    out: Path,
    split: str,
    metrics: tuple[str, ...],
    spacing_mm: float | None,
    seed: int,
    device: str,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Compare synthetic with real segments and write a report folder.

    The folder holds report.html, metrics.json, summary.csv, segments.csv, distributions.csv and the pictures.
    """
    if labels is not None:
        if model is None or real is not None or synthetic is not None:
            raise InputError("--labels goes with --model, without --real and --synthetic.", "Give these two.")
        _compare(labels, model, training, out, split, seed, device, overwrite, progress)
        return
    if real is None or synthetic is None:
        raise InputError("It is not clear what to compare.", "Give --real and --synthetic, or --labels and --model.")
    from SkullGANLib.evaluate.report import evaluate_datasets

    if model is not None:
        from SkullGANLib.generate.realness import discriminator_of

    found = evaluate_datasets(
        common.open_segments(real),
        common.open_segments(synthetic),
        out,
        training=None if training is None else common.open_segments(training),
        control=None if control is None else common.open_segments(control),
        artificial=artificial if artificial in (None, "auto") else common.open_segments(Path(artificial)),
        judge=None if model is None else discriminator_of(model, device),
        split=split,
        metrics=list(metrics) or None,
        spacing_mm=spacing_mm,
        seed=seed,
        overwrite=overwrite,
        progress=progress,
    )
    progress.result(
        report=str(out), page=str(out / "report.html"), summary=str(out / "summary.csv"), warnings=found.warnings
    )
    progress.close()
    _print(found, out)


def _compare(
    labels: Path,
    folder: Path,
    training: Path | None,
    out: Path,
    split: str,
    seed: int,
    device: str,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Compare what a model draws from label maps with the images these belong to."""
    from SkullGANLib.generate.label_quality import compare_with_labels
    from SkullGANLib.models.folder import load_model, shipped_model
    from SkullGANLib.segments.dataset import SegmentDataset

    found = compare_with_labels(
        load_model(shipped_model(folder)),
        SegmentDataset.open(labels, verify=True),
        out,
        training=None if training is None else SegmentDataset.open(training, verify=True),
        split=split,
        seed=seed,
        device=device,
        overwrite=overwrite,
        progress=progress,
    )
    page = out / "report.html"
    progress.result(report=str(out), page=str(page), warnings=found.notes)
    progress.close()
    for title, figures in [
        *((label.name, label.figures) for label in found.labels.values()),
        ("all pixels", found.overall),
    ]:
        known = {name: figure.value for name, figure in figures.items() if name in _TOLD and figure.value is not None}
        told = [f"{name} {value:.3g}" for name, value in known.items()]
        click.echo(f"{title}: {', '.join(told)}")
    for note in found.notes:
        click.echo(f"Note: {note}")
    click.echo(f"Figures, their intervals and pictures: {page}")


def _print(report: Report, out: Path) -> None:
    from SkullGANLib.evaluate.summary import (
        HEADINGS,
        figure_words,
        headline_rows,
        highlight_words,
        highlights,
        interval_words,
        name_words,
        number_words,
        p_words,
    )

    decisive = highlights(report)
    for highlight in decisive:
        click.echo(highlight_words(highlight))
    rows = [HEADINGS]
    for title, *figures in headline_rows(report):
        p = p_words(figures[2].detail["p"])
        values = [number_words(figure.value, figure.unit) for figure in figures]
        intervals = [f"({interval_words(figure)})" if figure.interval else "" for figure in figures]
        rows += [(title, *values[:3], p, values[3]), ("", *intervals[:3], "", intervals[3])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if len(rows) > 1 else ():
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if len(rows) == 1 and not decisive:  # nothing but metrics of which no single figure decides
        for result in report.metrics.values():
            for name, figure in result.figures.items():
                click.echo(f"{result.title}: {name_words(name)} {figure_words(figure)}")
    if report.metrics:
        click.echo("In brackets: 95 % intervals.")
    for warning in report.warnings:
        click.echo(f"Note: {warning}")
    for sentence in report.left_out:
        click.echo(f"Left out: {sentence}")
    click.echo(f"Pictures and the page report.html are in {out}.")
