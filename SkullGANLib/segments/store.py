"""How a segment data set lies in its folder: which file holds what, and what must agree."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SkullGANLib.errors import FormatError, InputError, ResourceError
from SkullGANLib.files import write_json
from SkullGANLib.progress import Progress
from SkullGANLib.segments.arrays import open_npy, write_npy
from SkullGANLib.segments.meta import META_FILE, DatasetMeta, build_meta, parse_meta
from SkullGANLib.segments.privacy import refuse_patient_data
from SkullGANLib.segments.table import Table, read_table, table_bytes

HU_FILE, TABLE_FILE = "segments.npy", "segments.csv"
TISSUES = "tissues"  # the label set in masks.npy: 1 outer table, 2 diploe, 3 inner table
TISSUE_LABELS = {1: "outer table", 2: "diploe", 3: "inner table"}
_MASKS = re.compile(r"masks(?:-(?P<name>[a-z0-9_]+))?\.npy")
_ATTEMPTS = 5

Parts = Sequence[np.ndarray]


def write_folder(
    folder: Path,
    hu_parts: Parts,
    table: Table,
    label_parts: Mapping[str, Parts],
    facts: Mapping[str, Any],
    *,
    progress: Progress | None = None,
) -> None:
    """Write all files of a data set.

    Args:
        folder: an empty folder.
        hu_parts: arrays (n_i, size, size) that follow each other.
        table: complete, see ``segments.table.complete_table``.
        label_parts: label set to arrays shaped as ``hu_parts``.
        facts: of the origin, see ``DatasetMeta.origin``.
        progress: told the segments written.

    Raises:
        InputError: patient data, non-finite values or label sets of another shape.
    """
    shape = (sum(len(part) for part in hu_parts), *hu_parts[0].shape[1:])
    dtype = "int16" if all(part.dtype == np.int16 for part in hu_parts) else "float32"
    check_facts(table, facts)
    hashes = {}
    for name, parts in label_parts.items():
        _check_labels(name, parts, shape)
        hashes[masks_file(name)] = write_npy(folder / masks_file(name), parts, np.uint8)
    hashes[HU_FILE] = write_npy(folder / HU_FILE, hu_parts, dtype, progress=progress)
    write_table_and_meta(folder, table, facts, size=shape[1], dtype=dtype, array_hashes=hashes)


def write_table_and_meta(
    folder: Path, table: Table, facts: Mapping[str, Any], *, size: int, dtype: str, array_hashes: Mapping[str, str]
) -> None:
    """Write ``segments.csv`` and ``dataset.json`` beside arrays that are there already."""
    check_facts(table, facts)
    content = table_bytes(table)
    (folder / TABLE_FILE).write_bytes(content)
    hashes = {**array_hashes, TABLE_FILE: hashlib.sha256(content).hexdigest()}
    meta = build_meta(size=size, dtype=dtype, counts=count(table), sha256=hashes, **facts)
    write_json(folder / META_FILE, meta.model_dump())


def read_folder(path: Path) -> tuple[DatasetMeta, np.ndarray, Table, dict[str, np.ndarray]]:
    """Facts, HU, table and label sets of a folder, of one and the same generation.

    Raises:
        FormatError: a part is missing, damaged, or does not fit the others.
        ResourceError: another process keeps replacing the folder.
    """
    for _ in range(_ATTEMPTS):  # another process may replace the folder between two files
        meta = parse_meta(path)
        try:
            parts = _read_parts(path, meta)
        except FormatError:
            if parse_meta(path) == meta:
                raise
        else:
            if parse_meta(path) == meta:
                return meta, *parts
    raise ResourceError(f"{path} is being replaced by another program all the time.", "Wait until that is done.")


def content_hash(hashes: Mapping[str, str]) -> str:
    """The fingerprint of a data set, from the SHA-256 of its files as ``dataset.json`` has them."""
    return hashlib.sha256(f"{hashes[HU_FILE]} {hashes[TABLE_FILE]}".encode()).hexdigest()


def count(table: Table) -> dict[str, int]:
    """Number of segments and subjects."""
    return {"segments": len(table["index"]), "subjects": len(np.unique(table["subject"]))}


def masks_file(name: str) -> str:
    """File that holds the label set ``name``."""
    file = "masks.npy" if name == TISSUES else f"masks-{name}.npy"
    if not _MASKS.fullmatch(file):
        raise InputError(f'"{name}" cannot name a label set.', "Use small letters, digits and underscores.")
    return file


def check_facts(table: Table, facts: Mapping[str, Any]) -> None:
    """Raise ``InputError`` if the table or the facts tell anything of a patient."""
    refuse_patient_data(table, [facts["sources"], facts["extra"]])


def link_or_copy(source: str, target: str) -> None:
    """A second name for a file that is never changed in place; a copy where the disk knows no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _read_parts(path: Path, meta: DatasetMeta) -> tuple[np.ndarray, Table, dict[str, np.ndarray]]:
    for needed in (HU_FILE, TABLE_FILE):
        if needed not in meta.sha256:
            raise FormatError(f"{path / META_FILE} does not name {needed}.", "Take a whole copy of the data set.")
    shape = (meta.counts.get("segments"), meta.size, meta.size)
    hu = _open_as(path / HU_FILE, np.dtype(meta.dtype), shape)
    table = read_table(path / TABLE_FILE)
    if len(table["index"]) != len(hu):
        raise FormatError(
            f"The table of {path} has {len(table['index'])} rows for {len(hu)} segments.",
            "Take a whole copy of the data set.",
        )
    label_sets = {}
    for name in meta.sha256:
        if match := _MASKS.fullmatch(name):
            label_sets[match["name"] or TISSUES] = _open_as(path / name, np.dtype(np.uint8), shape)
        elif name not in (HU_FILE, TABLE_FILE):
            raise FormatError(f'{path / META_FILE} names the unknown file "{name}".', "Update SkullGAN.")
    return hu, table, label_sets


def _open_as(path: Path, dtype: np.dtype, shape: tuple) -> np.ndarray:
    array = open_npy(path)
    if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
        raise FormatError(
            f"{path} holds {array.dtype} {array.shape}, {META_FILE} says {dtype} {shape}.",
            "Take a whole copy of the data set.",
        )
    return array


def _check_labels(name: str, parts: Parts, shape: tuple) -> None:
    found = (sum(len(part) for part in parts), *parts[0].shape[1:])
    if found != shape or any(part.dtype.kind not in "bui" for part in parts):
        raise InputError(
            f"The label set {name} is {parts[0].dtype} {found}, the segments {shape}.",
            "Give whole-number labels of the same shape.",
        )
    for part in parts:
        if part.dtype not in (np.uint8, np.bool_) and (part.min() < 0 or part.max() > 255):
            raise InputError(f"The label set {name} has labels outside 0 to 255.", "Number the labels anew.")
