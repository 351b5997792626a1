"""Whom each image of a folder of classes shows, so that no person stands on both sides of a split."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.segments.class_files import SERIES
from SkullGANLib.segments.privacy import refuse_patient_data
from SkullGANLib.segments.table import UNKNOWN_SUBJECT, read_table
from SkullGANLib.words import counted, few

_DIGITS = 12  # of a pseudonym: among a million images two of one name have a chance of 1 in 500


class Subjects:
    """Pseudonyms: those of a table, else made from the content of a person's first image, as ``prepare`` makes them.

    What tells persons apart is asked in this order: a table, a pattern in the file's path, the patient of a DICOM
    file; else each file is a person of its own. Neither path nor patient can be found in a pseudonym that is made.

    Attributes:
        alone: files, or series of DICOM slices, that count as a person of their own.
    """

    def __init__(self, names: Sequence[str], table: str | Path | None = None, pattern: str | None = None) -> None:
        """See whom the files show.

        Args:
            names: paths of the files below the folder of all, with ``/``.
            table: CSV with the columns file and subject, and perhaps split.
            pattern: regular expression, looked for in the paths; its group ``subject``, else its first group, else
                all that it finds, tells persons apart.

        Warns:
            UserWarning: rows of the table without a file, or files that the pattern does not fit.

        Raises:
            InputError: both are given, a file or a subject is missing in the table, a subject is no pseudonym, or the
                pattern is none or fits no file.
        """
        if table is not None and pattern is not None:
            raise InputError("Subjects come from a table or from a pattern, not from both.", "Leave one of them out.")
        self.alone = 0
        self._named: dict[tuple[str, str], str] = {}
        self._listed = _read_list(Path(table), names) if table is not None else None
        self._matched = _matches(pattern, names) if pattern is not None else {}

    def subject(self, name: str, person: str, digest: str) -> str:
        """The pseudonym of an image.

        Args:
            name: path of its file.
            person: the patient of a DICOM file; where it names none, ``SERIES`` and the series; or empty.
            digest: hexadecimal hash of its content.
        """
        if self._listed is not None:
            return self._listed[name][0]
        if name in self._matched:
            key = ("pattern", self._matched[name])
        else:
            key = ("patient", person) if person else ("file", name)
            self.alone += (not person or person.startswith(SERIES)) and key not in self._named
        return self._named.setdefault(key, f"s-{digest[:_DIGITS]}")

    def split(self, name: str) -> str:
        """The part of the split that the table puts a file in, or empty."""
        return self._listed[name][1] if self._listed is not None else ""


def _read_list(path: Path, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    if not path.is_file():
        raise FormatError(f"There is no file {path}.", "Check the path.")
    table = read_table(path)
    if "file" not in table:
        raise FormatError(f"{path} has no column file.", "Give a CSV with the columns file and subject.")
    given = [unicodedata.normalize("NFC", name) for name in table["file"].astype(str)]
    files = [name.replace("\\", "/").removeprefix("./") for name in given]
    if len(set(files)) < len(files):
        twice = next(name for name in files if files.count(name) > 1)
        raise InputError(f"{path} names {twice} twice.", "Give each file one row.")
    refuse_patient_data({"subject": table["subject"]})
    rows = zip(files, table["subject"].tolist(), table["split"].tolist(), strict=True)
    listed = {name: (subject, split) for name, subject, split in rows if subject not in UNKNOWN_SUBJECT}
    missing = [name for name in names if name not in listed]
    if missing:
        raise InputError(
            f"{path} names no subject of {counted(len(missing), 'image', 'images')}: {few(missing)}.",
            f"Give each file a row with its path below the folder, such as {missing[0]}, and a subject.",
        )
    if more := sorted({*files} - {*names}):
        names_none = counted(len(more), f"row of {path.name} names", f"rows of {path.name} name")
        warnings.warn(f"{names_none} no image here: {few(more)}.", stacklevel=4)
    return listed


def _matches(pattern: str, names: Sequence[str]) -> dict[str, str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"{pattern!r} is no regular expression ({error}).", "Write for example patient(\\d+)."
        ) from error
    found = {name: match for name in names if (match := expression.search(name))}
    group = "subject" if "subject" in expression.groupindex else min(expression.groups, 1)
    matched = {name: match[group] for name, match in found.items() if match[group]}
    if not matched:
        raise InputError(f"The pattern {pattern!r} fits no path, such as {names[0]}.", "Correct it.")
    if len(matched) < len(names):
        others = [name for name in names if name not in matched]
        warnings.warn(
            f"The pattern of subjects does not fit {counted(len(others), 'image', 'images')}: {few(others)}.",
            stacklevel=4,
        )
    return matched
