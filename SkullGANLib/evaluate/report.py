"""Compare a synthetic with a real set and write what was found as a folder: JSON, CSV, PNG and one HTML page."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from SkullGANLib import __version__
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.evaluate.checks import check_sets, check_split
from SkullGANLib.evaluate.page import report_page
from SkullGANLib.evaluate.plots import histograms
from SkullGANLib.evaluate.registry import (
    PICTURES,
    EvaluatedSet,
    EvaluationInput,
    MetricResult,
    choose_metrics,
    compute,
)
from SkullGANLib.files import read_document, replace_folder, write_json
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.table import write_table

FORMAT, VERSION = "skullgan-report", 1
REPORT_FILE = "metrics.json"
DEFAULT_SPACING_MM = 0.45

Source = SegmentDataset | np.ndarray


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


class Report(BaseModel):
    """The content of ``metrics.json``.

    Attributes:
        library: version of this library.
        seed: of every random draw.
        spacing_mm: pixel size of both sets.
        real, synthetic: what was compared.
        metrics: results by registered name, in the order of the report.
        warnings: what the reader must know before trusting a figure, as sentences.
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
    metrics: dict[str, MetricResult] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    pictures: list[Picture] = Field(default_factory=list)


def evaluate_datasets(
    real: Source,
    synthetic: Source,
    out: str | Path,
    *,
    split: str = "all",
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
        split: part of the real set to compare with: all, or train or test where it is split. Copies are looked for
            among all real segments, or among its training segments when ``split`` is test.
        metrics: registered names; all that take part by default if not given.
        spacing_mm: pixel size of sets given as arrays; that of the other set, or 0.45, if not given.
        seed: same seed, same report.
        overwrite: whether a report at ``out`` may be replaced.
        progress: told how far each metric is.

    Raises:
        InputError: empty sets, another size or pixel spacing, pixels that are not finite, sets without bone, an
            unknown metric or split, or a folder that may not be replaced.
    """
    chosen = choose_metrics(metrics)
    given, warnings = prepare_input(real, synthetic, split=split, spacing_mm=spacing_mm, seed=seed, progress=progress)
    with replace_folder(out, overwrite=overwrite, marker=REPORT_FILE) as folder:
        results: dict[str, MetricResult] = {}
        for done, entry in enumerate(chosen):
            report(progress, done, len(chosen), "Computing metrics", metric=entry.name)
            result = compute(entry, given)
            if result.figures:  # else it does not apply to these sets
                results[entry.name] = result
        warnings += check_sets(given)
        warnings += [warning for result in results.values() for warning in result.warnings]
        written = Report(
            seed=seed,
            spacing_mm=given.spacing_mm,
            real=_card(given.real, real),
            synthetic=_card(given.synthetic, synthetic),
            metrics=results,
            warnings=list(dict.fromkeys(warnings)),
            pictures=_draw(given, results, folder, progress),
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


def prepare_input(
    real: Source,
    synthetic: Source,
    *,
    split: str = "all",
    spacing_mm: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[EvaluationInput, list[str]]:
    """What metrics are given, and warnings about how it was chosen; arguments and errors as in `evaluate_datasets`."""
    known = {
        name: source.meta.spacing_mm
        for name, source in (("real", real), ("synthetic", synthetic))
        if isinstance(source, SegmentDataset)
    }
    wanted = [*known.values(), *([] if spacing_mm is None else [spacing_mm])]
    if wanted and not np.allclose(wanted, wanted[0], rtol=1e-3):
        spacings = ", ".join(f"{name} {value:g} mm" for name, value in known.items())
        raise InputError(
            f"The pixel spacings differ ({spacings}{'' if spacing_mm is None else f', asked for {spacing_mm:g} mm'}).",
            "Prepare or generate both sets at the same spacing.",
        )
    chosen_mm = float(wanted[0]) if wanted else DEFAULT_SPACING_MM
    warnings = []
    if len(known) < 2 and spacing_mm is None:
        which = f"the {({'real', 'synthetic'} - set(known)).pop()} set" if known else "both sets"
        warnings.append(f"The pixel spacing of {which} is not stated; {chosen_mm:g} mm is assumed.")
    sets = _as_set("real", real, split), _as_set("synthetic", synthetic, "all")
    if sets[0].hu.shape[1:] != sets[1].hu.shape[1:]:
        sizes = ["x".join(map(str, each.hu.shape[1:])) for each in sets]
        raise InputError(
            f"The real segments have {sizes[0]} pixels, the synthetic ones {sizes[1]}.", "Both need the same size."
        )
    training = None
    if isinstance(real, SegmentDataset):
        warnings += check_split(real.table["subject"], real.table["split"])
    if split == "test" and np.isin("train", real.table["split"]):
        training = _as_set("training", real, "train")
    return EvaluationInput(*sets, chosen_mm, seed, training, progress), warnings


def _as_set(name: str, source: Source, split: str) -> EvaluatedSet:
    if isinstance(source, SegmentDataset):
        if split == "all":
            return EvaluatedSet(name, source.hu, source.fingerprint, source.table, kind=source.meta.kind)
        rows = np.flatnonzero(source.table["split"] == split)
        if not len(rows):
            parts = ", ".join(sorted(set(source.table["split"].tolist()) - {""})) or "none"
            raise InputError(f"The {name} set has no part '{split}' (its parts: {parts}).", "Split it, or use all.")
        table = {column: values[rows] for column, values in source.table.items()}
        fingerprint = f"{source.fingerprint}:{split}"
        return EvaluatedSet(name, source.hu[rows], fingerprint, table, rows, source.meta.kind, split)
    hu = np.asanyarray(source)
    if hu.ndim == 4 and hu.shape[1] == 1:
        hu = hu[:, 0]
    if hu.ndim != 3 or not len(hu):
        raise InputError(
            f"The {name} set has shape {hu.shape}.", "Give at least one segment, as (N, height, width) HU."
        )
    if split != "all":
        raise InputError(f"A plain array has no part '{split}'.", "Give a data set that is split, or use all.")
    digest = hashlib.sha256(f"{hu.dtype.str} {hu.shape}".encode())
    for start in range(0, len(hu), 512):
        digest.update(np.ascontiguousarray(hu[start : start + 512]).data)
    return EvaluatedSet(name, hu, digest.hexdigest())


def _card(given: EvaluatedSet, source: Source) -> SetCard:
    return SetCard(
        kind=given.kind,
        segments=len(given),
        subjects=None if given.subjects is None else len(np.unique(given.subjects)),
        split=given.split,
        size_px=given.hu.shape[1:],
        sha256=source.fingerprint if isinstance(source, SegmentDataset) else given.fingerprint,
    )


def _draw(
    given: EvaluationInput, results: dict[str, MetricResult], folder: Path, progress: Progress | None
) -> list[Picture]:
    pictures = [entry for entry in PICTURES.values() if set(entry.needs) <= set(results)]
    for done, entry in enumerate(pictures):
        report(progress, done, len(pictures), "Drawing")
        entry.function(given, results, folder / entry.name)
    return [Picture(file=entry.name, title=entry.title) for entry in pictures]


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
    """One row for each segment of either set; a column that one of them lacks is empty there."""
    columns: dict[str, dict[str, np.ndarray]] = {each.name: {} for each in given.sets}
    for result in results.values():
        for name, found in result.columns.items():
            columns[name] |= found
    empty = {each.name: np.full(len(each), "") for each in given.sets}
    table = {
        "set": np.repeat([each.name for each in given.sets], [len(each) for each in given.sets]),
        "row": np.concatenate([each.rows for each in given.sets]),
        "subject": np.concatenate([each.table.get("subject", empty[each.name]) for each in given.sets]),
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
