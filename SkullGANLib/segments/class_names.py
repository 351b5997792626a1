"""The column ``class`` of a data set: how classes are called, and classes made of what its table says already."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.table import count_values, nearest_name, read_table

CLASS = "class"
_BREAKING = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of characters, ends of lines and paragraphs


def class_name(levels: Iterable[str]) -> str:
    """The name of a class, from the folders it lies in or the words that make it: ``CT/skull/temporal``.

    Any script and spaces within a word are kept, in composed form (NFC). A comma or a control character becomes a
    space: commas separate classes in lists.

    Raises:
        InputError: nothing of a word is left.
    """
    words = [" ".join("".join(map(_kept, unicodedata.normalize("NFC", level))).split()) for level in levels]
    if not all(words):
        raise InputError(f"{'/'.join(levels)!r} cannot name a class.", "Use words of letters and digits.")
    return "/".join(words)


def classes_of(dataset: SegmentDataset) -> np.ndarray:
    """(N,) class of each segment, empty where it has none.

    Raises:
        InputError: the data set has no classes.
    """
    if CLASS not in dataset.table:
        columns = "asked_class" if "asked_class" in dataset.table else "region,side"
        raise InputError(
            f"{dataset.path or 'The data set'} has no classes.",
            f"Make them of what its table says: skullgan dataset classes PATH --by {columns}.",
        )
    return dataset.table[CLASS].astype(str)


def column_of_words(dataset: SegmentDataset, name: str) -> np.ndarray:
    """(N,) words of a column, empty where it has none.

    Raises:
        InputError: no such column, or one of measured numbers.
    """
    if name == CLASS:
        return classes_of(dataset)
    if name not in dataset.table:
        near = nearest_name(name, dataset.table)
        raise InputError(f'There is no column "{name}".', f'Did you mean "{near}"?')
    column = dataset.table[name]
    if column.dtype.kind == "f" or name == "index":
        raise InputError(f"The column {name} holds numbers, no words.", "Choose one of words, such as region or side.")
    return column.astype(str)


def classes_by(
    dataset: SegmentDataset, columns: Sequence[str], names: Mapping[str, str] | None = None, *, overwrite: bool = False
) -> dict[str, int]:
    """Write the column ``class``, made of other columns: region and side give ``temporal/left``.

    Args:
        dataset: changed in place.
        columns: of words, or of whole numbers that stand for them; a segment that lacks one of them has no class.
        names: made class to another name for it, see ``rename_classes``.
        overwrite: whether classes that are there may be replaced.

    Returns:
        Class to number of segments; those without one are called ``-``.

    Raises:
        InputError: no such column, one of measured numbers, no class at all, or classes that may not be replaced.
    """
    _check_free(dataset, overwrite)
    if len({*columns}) < len(columns):
        raise InputError("A column makes one part of a class.", "Name each column once.")
    levels = [column_of_words(dataset, name).tolist() for name in columns]
    made = np.array([class_name(row) if all(row) else "" for row in zip(*levels, strict=True)], dtype=str)
    if not made.any():
        raise InputError(f"No segment has {' and '.join(columns)}.", "Make classes of other columns.")
    return _write(dataset, made, names)


def classes_from(
    dataset: SegmentDataset, file: str | Path, names: Mapping[str, str] | None = None, *, overwrite: bool = False
) -> dict[str, int]:
    """Write the column ``class``, read from a table with the columns index and class and a row for each segment.

    Args:
        dataset: changed in place.
        file: CSV; an empty cell is no class.
        names, overwrite: see ``classes_by``.

    Raises:
        InputError: not as many rows as segments, or classes that may not be replaced.
        FormatError: no such table.
    """
    _check_free(dataset, overwrite)
    if not Path(file).is_file():
        raise FormatError(f"There is no file {file}.", "Check the path.")
    table = read_table(file)
    if CLASS not in table:
        raise FormatError(
            f"{file} has no column class.", "Give a CSV with the columns index and class, separated by commas."
        )
    given = table[CLASS]
    if len(given) != len(dataset):
        raise InputError(f"{file} has {len(given)} rows for {len(dataset)} segments.", "Give a row for each segment.")
    return _write(dataset, np.array([class_name(name.split("/")) if name else "" for name in given]), names)


def rename_classes(dataset: SegmentDataset, names: Mapping[str, str]) -> dict[str, int]:
    """Give classes of a data set other names; several may get the same one.

    Args:
        dataset: changed in place.
        names: old name to new one.

    Raises:
        InputError: no classes, or none of that name.
    """
    return _write(dataset, classes_of(dataset), names)


def parse_renaming(texts: Iterable[str]) -> dict[str, str]:
    """``old=new`` of the command line as old and new name; of several ``=`` the first one counts.

    Raises:
        InputError: it does not read like that.
    """
    names = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not (old and equals and new):
            raise InputError(f"{text!r} does not rename a class.", "Write for example temporal/left=left temple.")
        if names.setdefault(old, new) != new:
            raise InputError(f"The class {old} gets two names.", "Name each class once.")
    return names


def _kept(character: str) -> str:
    return " " if character == "," or unicodedata.category(character) in _BREAKING else character


def _check_free(dataset: SegmentDataset, overwrite: bool) -> None:
    if not overwrite and CLASS in dataset.table and (classes_of(dataset) != "").any():
        raise InputError(
            "The data set has classes already.", "Ask for them to be overwritten (--overwrite), or rename them."
        )


def _write(dataset: SegmentDataset, classes: np.ndarray, names: Mapping[str, str] | None) -> dict[str, int]:
    known = sorted({*classes.tolist()} - {""})
    for old in names or {}:
        if old not in known:
            near = difflib.get_close_matches(old, known, n=1)
            advice = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known[:20])}."
            raise InputError(f"There is no class {old}.", advice)
    new = {old: class_name(name.split("/")) for old, name in (names or {}).items()}
    dataset.set_columns({CLASS: np.array([new.get(name, name) for name in classes.tolist()], dtype=str)})
    return count_values(dataset.table, CLASS)
