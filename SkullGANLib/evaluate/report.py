"""Compare a synthetic with a real set and write what was found as a folder: JSON, CSV, PNG and one HTML page."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from SkullGANLib import __version__
from SkullGANLib.errors import FormatError
from SkullGANLib.evaluate.checks import check_sets
from SkullGANLib.evaluate.inputs import Source, prepare_input
from SkullGANLib.evaluate.page import report_page
from SkullGANLib.evaluate.plots import histograms
from SkullGANLib.evaluate.registry import (
    PICTURES,
    EvaluatedSet,
    EvaluationInput,
    Judge,
    MetricResult,
    choose_metrics,
    compute,
    in_order,
)
from SkullGANLib.files import read_document, replace_folder, write_json
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.table import write_table

FORMAT, VERSION = "skullgan-report", 1
REPORT_FILE = "metrics.json"


class SetCard(BaseModel):
    """What was compared: which set, how much of it, and its content hash."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    segments: int
    subjects: int | None
    split: str
    size_px: tuple[int, int]
    sha256: str


class Picture(BaseModel):
    """A PNG of the report."""

    file: str
    title: str
    group: str = "other"


class Report(BaseModel):
    """The content of ``metrics.json``.

    Attributes:
        library: version of this library.
        seed: of every random draw.
        spacing_mm: pixel size of both sets.
        real, synthetic: what was compared.
        others: further sets by name: training, control, idealised, unrealistic.
        metrics: results by registered name, in the order of the report.
        warnings: what the reader must know before trusting a figure, as sentences.
        left_out: what was not computed, and why, as sentences.
        seconds: of the whole evaluation.
        pictures: files beside ``metrics.json``.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal["skullgan-report"] = FORMAT
    version: int = VERSION
    library: str = __version__
    seed: int
    spacing_mm: float
    real: SetCard
    synthetic: SetCard
    others: dict[str, SetCard] = Field(default_factory=dict)
    metrics: dict[str, MetricResult] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    left_out: list[str] = Field(default_factory=list)
    seconds: float = 0.0
    pictures: list[Picture] = Field(default_factory=list)


def evaluate_datasets(
    real: Source,
    synthetic: Source,
    out: str | Path,
    *,
    training: Source | None = None,
    control: Source | None = None,
    artificial: Source | Literal["auto"] | None = None,
    judge: Judge | None = None,
    split: str = "auto",
    metrics: list[str] | None = None,
    spacing_mm: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Compare two sets and write the report folder, in one step.

    Args:
        real, synthetic: data sets, or (N, H, W) or (N, 1, H, W) HU arrays.
        out: folder to make; ``metrics.json``, ``summary.csv``, ``segments.csv`` (a row for each segment),
            ``distributions.csv`` (histograms of the radiological figures), pictures and ``report.html``.
        training: real segments the model was trained on, where they are no part of ``real``.
        control: segments of a model without pre-training, the paper's control.
        artificial: the paper's artificial set, idealised and unrealistic, of kind ``artificial``; ``"auto"`` draws 500
            of each with the figures of the real segments.
        judge: the discriminator of the model.
        split: part of the real set to compare with: all, train, test, or auto: test where the set is split, else all.
            Copies are looked for among all real segments, or among its training segments where that is test.
        metrics: registered names; all that take part by default if not given.
        spacing_mm: pixel size of sets given as arrays; that of the other set, or 0.45, if not given.
        seed: same seed, same report.
        overwrite: whether a report at ``out`` may be replaced.
        progress: told how far each metric is.

    Raises:
        InputError: empty sets, another size or pixel spacing, pixels that are not finite, sets without bone, an
            unknown metric or split, or a folder that may not be replaced.
    """
    start = time.perf_counter()
    chosen = choose_metrics(metrics)
    given, warnings, left_out = prepare_input(
        real,
        synthetic,
        training=training,
        control=control,
        artificial=artificial,
        judge=judge,
        split=split,
        spacing_mm=spacing_mm,
        seed=seed,
        progress=progress,
    )
    with replace_folder(out, overwrite=overwrite, marker=REPORT_FILE) as folder:
        results: dict[str, MetricResult] = {}
        for done, entry in enumerate(chosen):
            report(progress, done, len(chosen), "Computing metrics", metric=entry.name)
            result = compute(entry, given)
            warnings += result.warnings
            left_out += result.left_out
            if result.figures:  # else it does not apply to these sets
                results[entry.name] = result
        cards = {name: set_card(each) for name, each in given.every_set.items()}
        written = Report(
            seed=seed,
            spacing_mm=given.spacing_mm,
            real=cards.pop("real"),
            synthetic=cards.pop("synthetic"),
            others=cards,
            metrics=results,
            warnings=list(dict.fromkeys(check_sets(given) + warnings)),
            left_out=list(dict.fromkeys(left_out)),
            pictures=_draw(given, results, folder, progress),
            seconds=time.perf_counter() - start,
        )
        write_json(folder / REPORT_FILE, written.model_dump(mode="json"))
        _write_summary(folder / "summary.csv", results)
        write_table(folder / "segments.csv", _segment_table(given, results))
        write_table(folder / "distributions.csv", histograms(results))
        (folder / "report.html").write_text(report_page(written, folder), encoding="utf-8")
    report(progress, len(chosen), len(chosen), "Computing metrics")
    return written


def read_report(path: str | Path) -> Report:
    """Read the ``metrics.json`` of a report folder; values for single segments stay in ``segments.csv``.

    Raises:
        FormatError: missing, damaged, not a report, or of a newer version.
    """
    content = read_document(Path(path) / REPORT_FILE, format=FORMAT, version=VERSION, what="report")
    try:
        return Report.model_validate(content)
    except ValidationError as error:
        raise FormatError(f"{path} is damaged: {error.errors()[0]['msg']}.", "Evaluate again.") from error


def set_card(given: EvaluatedSet) -> SetCard:
    """What a set says of itself."""
    return SetCard(
        kind=given.kind,
        segments=len(given),
        subjects=None if given.subjects is None else len(np.unique(given.subjects)),
        split=given.split,
        size_px=given.hu.shape[1:],
        sha256=given.source,
    )


def _draw(
    given: EvaluationInput, results: dict[str, MetricResult], folder: Path, progress: Progress | None
) -> list[Picture]:
    pictures = [entry for entry in in_order(PICTURES) if set(entry.needs) <= set(results)]
    for done, entry in enumerate(pictures):
        report(progress, done, len(pictures), "Drawing")
        entry.function(given, results, folder / entry.name)
    return [Picture(file=entry.name, title=entry.title, group=entry.group) for entry in pictures]


def _write_summary(path: Path, results: dict[str, MetricResult]) -> None:
    heading = ["metric", "figure", "value", "unit", "low", "high", "n", "subjects", "resampled", "seed", "p"]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heading)
        for result in results.values():
            for name, figure in result.figures.items():
                row = [result.name, name, figure.value, figure.unit, *(figure.interval or ("", ""))]
                row += [figure.n, figure.subjects, figure.resampled, figure.seed, figure.detail.get("p")]
                writer.writerow(row)


def _segment_table(given: EvaluationInput, results: dict[str, MetricResult]) -> dict[str, np.ndarray]:
    """One row for each segment of every set that has columns; a column that a set lacks is empty there."""
    columns: dict[str, dict[str, np.ndarray]] = {name: {} for name in given.every_set}
    for result in results.values():
        for name, found in result.columns.items():
            columns[name] |= found
    sets = [given.every_set[name] for name, found in columns.items() if found or name in ("real", "synthetic")]
    columns = {each.name: columns[each.name] for each in sets}
    empty = {each.name: np.full(len(each), "") for each in sets}
    table = {
        "set": np.repeat([each.name for each in sets], [len(each) for each in sets]),
        "row": np.concatenate([each.rows for each in sets]),
        "subject": np.concatenate([each.table.get("subject", empty[each.name]) for each in sets]),
    }
    for name in dict.fromkeys(name for found in columns.values() for name in found):
        if all(name in found for found in columns.values()):
            table[name] = np.concatenate([found[name] for found in columns.values()])
        else:
            parts = [_text(found[name]) if name in found else empty[each] for each, found in columns.items()]
            table[name] = np.concatenate(parts)
    return table


def _text(column: np.ndarray) -> np.ndarray:
    return np.where(column == column, column.astype(str), "")
