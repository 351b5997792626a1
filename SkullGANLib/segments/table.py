"""The table of a segment data set: one row for each segment, one typed column for each fact about it."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from SkullGANLib.errors import FormatError, InputError

Table = dict[str, np.ndarray]

COLUMNS: dict[str, tuple[type, str]] = {
    "index": (int, "row of segments.npy"),
    "subject": (str, "pseudonym of the person; the same person has the same pseudonym everywhere"),
    "volume": (str, "pseudonym of the CT volume"),
    "plane": (str, "axial, coronal or sagittal"),
    "region": (str, "temporal, parietal, frontal or occipital"),
    "side": (str, "left or right"),
    "position_mm": (float, "where along the plane's normal the slice lies"),
    "rotation_deg": (float, "turn that laid the bone level"),
    "split": (str, "train, test or another part; empty when not split"),
    "sdr": (float, "skull density ratio"),
    "thickness_mm": (float, "mean vertical thickness"),
    "intensity_hu": (float, "mean of the pixels above 10 HU"),
    "quality": (str, "ok, or what is wrong with the segment"),
}
CLASS_COLUMNS = ("class", "asked_class")  # further columns that are text even where every class is a number
_LABEL = re.compile(r"-?0\d|\d{16,}|.*_")  # text that Python would read as a number
UNKNOWN_SUBJECT = {"", "unknown"}
CopiesChoice = Literal["refuse", "drop", "keep"]
"""What to do about segments marked as copies of training segments: write nothing, leave them out, or write them too."""
DEFAULT_TEXT = {"subject": "unknown", "quality": "ok"}  # every other text is empty, every other number not measured


def complete_table(table: Mapping[str, Iterable] | None, n: int) -> Table:
    """A table with all of ``COLUMNS`` first, in their order, then the further columns of ``table``.

    Args:
        table: columns of length ``n``; missing ones are filled (``DEFAULT_TEXT``, else NaN or empty text).
            Booleans become 0 and 1. ``index`` is always the row number.
        n: number of segments.

    Returns:
        int64, float64 and text (``<U``) columns of length ``n``.

    Raises:
        InputError: a column has another length, or values that do not fit its type, or infinity.
    """
    table = dict(table or {})
    table["index"] = np.arange(n)
    complete = {}
    for name in [*COLUMNS, *(name for name in table if name not in COLUMNS)]:
        if name not in table:
            table[name] = _empty_column(name, n)
        column = np.asarray(table[name])
        if column.shape != (n,):
            raise InputError(
                f'The column "{name}" has shape {column.shape}, but there are {n} segments.',
                "Give one value for each segment.",
            )
        complete[name] = _typed(name, column)
    return complete


def write_table(path: str | Path, table: Mapping[str, np.ndarray]) -> None:
    """Write a table as UTF-8 CSV. Floats keep all their digits; NaN is an empty cell."""
    Path(path).write_bytes(table_bytes(table))


def table_bytes(table: Mapping[str, np.ndarray]) -> bytes:
    """The bytes ``write_table`` writes."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(_cells(name, column) for name, column in table.items()), strict=True))
    return file.getvalue().encode()


def read_table(path: str | Path) -> Table:
    """Read a table, typed as in ``COLUMNS``; classes are text, further columns int, else float, else text, by
    what they hold.

    Raises:
        FormatError: missing, not UTF-8 CSV, rows of unequal length, rows out of order, or text where numbers belong.
    """
    path = Path(path)
    try:
        rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True))
    except FileNotFoundError as error:
        raise FormatError(f"{path.name} is missing in {path.parent}.", "Take a whole copy of the data set.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} is not a UTF-8 CSV table ({error}).", "Save it as CSV in UTF-8.") from error
    if not rows or not any(rows[0]):
        raise FormatError(f"{path} is empty.", "Take a whole copy of the data set.")
    names, cells = rows[0], rows[1:]
    if len(set(names)) < len(names):
        raise FormatError(f"{path} has two columns of the same name.", "Rename one of them.")
    for number, row in enumerate(cells, start=2):
        if len(row) != len(names):
            raise FormatError(
                f"Row {number} of {path} has {len(row)} cells, the heading {len(names)}.", "Mend or remove that row."
            )
    columns = zip(*cells, strict=True) if cells else [()] * len(names)
    try:
        table = {name: _parse(name, column) for name, column in zip(names, columns, strict=True)}
        if "index" in table and not np.array_equal(table["index"], np.arange(len(cells))):
            raise FormatError(f"The rows of {path} are out of order.", "Sort them by the column index, from 0.")
        return complete_table(table, len(cells))
    except InputError as error:
        raise FormatError(f"{path}: {error.message}", error.advice) from error


def select_rows(table: Mapping[str, np.ndarray], indices: np.ndarray) -> Table:
    """The rows ``indices`` of a table, numbered anew."""
    return complete_table({name: column[indices] for name, column in table.items()}, len(indices))


def stack_tables(tables: Sequence[Mapping[str, np.ndarray]]) -> Table:
    """Tables one under the other; a column that one of them lacks is empty there."""
    lengths = [len(table["index"]) for table in tables]
    names = dict.fromkeys(name for table in tables for name in table)
    stacked = {}
    for name in names:
        kinds = {table[name].dtype.kind for table in tables if name in table}
        text = "U" in kinds
        parts = [
            _as_text(table[name]) if text and name in table else table.get(name, np.full(n, "" if text else np.nan))
            for table, n in zip(tables, lengths, strict=True)
        ]
        stacked[name] = np.concatenate(parts)
    return complete_table(stacked, sum(lengths))


def marked_copies(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) bool: the segments that an audit has marked as copies of training segments, in the column ``copy``."""
    return np.asarray(table.get("copy", np.zeros(len(table["index"])))) == 1


def count_values(table: Mapping[str, np.ndarray], column: str) -> dict[str, int]:
    """How often each value of a column occurs, in alphabetical order; an empty one is called ``-``."""
    values, counts = np.unique(table[column], return_counts=True)
    return {str(value) or "-": int(count) for value, count in zip(values, counts, strict=True)}


def nearest_name(name: str, table: Mapping[str, np.ndarray]) -> str:
    """The column whose name is most like ``name``."""
    return difflib.get_close_matches(name, table, n=1, cutoff=0)[0]


def _empty_column(name: str, n: int) -> np.ndarray:
    return np.full(n, DEFAULT_TEXT.get(name, "")) if COLUMNS[name][0] is str else np.full(n, np.nan)


def _typed(name: str, column: np.ndarray) -> np.ndarray:
    wanted = COLUMNS[name][0] if name in COLUMNS else None
    try:
        if wanted is str or (wanted is None and column.dtype.kind not in "biuf"):
            return _as_text(column)
        column = column.astype(np.float64 if wanted is float or column.dtype.kind == "f" else np.int64)
    except (TypeError, ValueError) as error:
        raise InputError(f'The column "{name}" holds what is no number ({error}).', "Give numbers or NaN.") from error
    if np.isinf(column).any():
        raise InputError(f'The column "{name}" holds infinity.', "Give NaN where a value could not be measured.")
    return column


def _as_text(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "O":
        column = np.array(["" if value is None else str(value) for value in column])
    return column.astype(str) if column.size else column.astype("<U1")


def _cells(name: str, column: np.ndarray) -> list[str]:
    if column.dtype.kind == "f":
        missing = (
            "" if name in COLUMNS else "nan"
        )  # says that a further column holds numbers even where all are missing
        return [missing if value != value else repr(value) for value in column.tolist()]
    return [str(value) for value in column.tolist()]


def _parse(name: str, cells: tuple[str, ...]) -> np.ndarray:
    wanted = str if name in CLASS_COLUMNS else COLUMNS[name][0] if name in COLUMNS else None
    if wanted is str:
        return np.array(cells, dtype=str) if cells else np.empty(0, "<U1")
    if wanted is float or (wanted is None and any(cells)):
        numbers = _numbers(cells)
        if numbers is not None:
            whole = wanted is None and all(cell.lstrip("-").isdecimal() for cell in cells)
            return np.array([int(cell) for cell in cells]) if whole else numbers
    if wanted is int:
        try:
            return np.array([int(cell) for cell in cells], dtype=np.int64)
        except ValueError as error:
            raise InputError(f'The column "{name}" holds what is no whole number.', "Mend those cells.") from error
    if wanted is float:
        raise InputError(f'The column "{name}" holds what is no number.', "Mend those cells.")
    return np.array(cells, dtype=str) if cells else np.empty(0, "<U1")


def _numbers(cells: tuple[str, ...]) -> np.ndarray | None:
    """Cells as numbers, an empty one as NaN; None where one is text, such as the labels 007 and 1_2."""
    if any(_LABEL.match(cell) for cell in cells):
        return None
    try:
        numbers = np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return None
    return None if np.isinf(numbers).any() else numbers
