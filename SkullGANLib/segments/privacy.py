"""What may not enter a data set: anything by which a patient could be found again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from SkullGANLib.errors import InputError

_PATIENT_FIELD = re.compile(
    r"patient|birth|dob$|^name$|^age$|^sex$|^mrn$|^ssn$|^id$|accession|physician|operator|institution|hospital|address"
    r"|phone|(instance|series|study|class|reference)uid$|^uid$|study(date|time|id|desc)|series(date|time|desc)|(acquisition|content|scan)(date|time)"
    r"|comment|^(file|folder|source)?(name|path)$"
)
_PSEUDONYM = re.compile(r"[\w.+@:-]{0,64}")
_IDENTIFIER = re.compile(r"\d{6,}|\d+(\.\d+){3,}|(18|19|20)\d\d([-.])\d\d?\3\d\d?|\d\d?([-.])\d\d?\4(18|19|20)\d\d")
_PATH = re.compile(r"~|\.{0,2}[\\/]|[A-Za-z]:[\\/]|file:|.*[\\/].*\.\w{2,6}$")


def pseudonym(name_or_uid: str, salt: str) -> str:
    """A name that cannot be led back to the person without the salt.

    Args:
        name_or_uid: what identifies the person or the volume.
        salt: a secret of the site that prepares the data; the same salt gives the same person the same pseudonym.

    Returns:
        ``s-`` and 8 hexadecimal digits (keyed BLAKE2b).
    """
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    return "s-" + hashlib.blake2b(name_or_uid.encode(), digest_size=4, key=key).hexdigest()


def refuse_patient_data(table: Mapping[str, np.ndarray], facts: Iterable[Any] = ()) -> None:
    """Raise if the table or the sources tell anything of a patient or of where a file lay.

    Args:
        table: columns ``subject`` and ``volume`` must hold pseudonyms: one word, not a long number, date or UID.
        facts: strings, numbers and nested dictionaries or lists that go into ``dataset.json``.

    Raises:
        InputError: a column or key named after a patient field, a pseudonym that is none, or a file-system path.
    """
    for name in table:
        _check_field(name)
    for name in ("subject", "volume"):
        for value in np.unique(table.get(name, np.empty(0, str))):
            _check_pseudonym(name, str(value))
    for name, column in table.items():
        if column.dtype.kind == "U" and np.char.find(column, "^").max(initial=-1) >= 0:
            raise InputError(
                f'The column "{name}" holds a name as DICOM writes it.', "Use pseudonyms such as s-1a2b3c4d."
            )
    for fact in facts:
        _check_fact(fact)


def _check_field(name: str) -> None:
    if _PATIENT_FIELD.search(re.sub(r"[\W_]", "", str(name)).lower()):
        raise InputError(
            f'"{name}" is named like a field of a patient or a file.', "A data set holds pseudonyms only: leave it out."
        )


def _check_pseudonym(column: str, value: str) -> None:
    if not _PSEUDONYM.fullmatch(value) or _IDENTIFIER.fullmatch(value):
        raise InputError(
            f'The {column} "{value}" does not look like a pseudonym.',
            "Use short words without spaces, such as subject-001 or s-1a2b3c4d.",
        )


def _check_fact(fact: Any) -> None:
    if isinstance(fact, Mapping):
        for key, value in fact.items():
            _check_field(key)
            _check_fact(value)
    elif isinstance(fact, (list, tuple)):
        for value in fact:
            _check_fact(value)
    elif isinstance(fact, str) and (_PATH.match(fact) or "^" in fact):
        raise InputError(f'"{fact}" is a path or a name.', "Name a source by its pseudonym and the sha256 of its file.")
