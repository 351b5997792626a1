"""The segment data set: a folder of standard files that prepare writes and every other step reads."""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.files import replace_folder, restore_interrupted, sha256_of
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments import store
from SkullGANLib.segments.arrays import check_segments, finite_blocks, label_values, npy_sha256
from SkullGANLib.segments.meta import META_FILE, DatasetMeta, Kind, parse_meta
from SkullGANLib.segments.splits import split_by_segment, split_by_subject
from SkullGANLib.segments.table import Table, complete_table, nearest_name, select_rows, stack_tables, table_bytes

LabelSets = Mapping[str, np.ndarray]
LabelNames = Mapping[str, Mapping[int, str]]


class SegmentDataset:
    """Segments, their table and what is known of their origin.

    Attributes:
        path: the folder; None for a selection that lives in memory.
        meta: the content of ``dataset.json``.
        hu: (N, size, size) int16 or float32 HU, memory-mapped read-only; size is 128 but in small presets.
        table: column name to array of length N; see ``segments.table.COLUMNS``.
        label_sets: name to (N, size, size) uint8, memory-mapped.
    """

    def __init__(
        self, path: Path | None, meta: DatasetMeta, hu: np.ndarray, table: Table, label_sets: LabelSets
    ) -> None:
        self.path, self.meta, self.hu, self.table = path, meta, hu, table
        self.label_sets = dict(label_sets)

    def __len__(self) -> int:
        return len(self.hu)

    def __repr__(self) -> str:
        return (
            f"<{self.meta.kind} data set of {len(self)} segments, {self.meta.counts['subjects']} subjects, {self.path}>"
        )

    @property
    def masks(self) -> np.ndarray | None:
        """(N, size, size) uint8: 0 background, 1 outer table, 2 diploe, 3 inner table; None where there are none."""
        return self.label_sets.get(store.TISSUES)

    def labels(self, name: str = store.TISSUES) -> dict[int, str]:
        """What the values of a label set stand for; a value without a name is called by its number.

        Raises:
            InputError: there is no such label set.
        """
        if name not in self.label_sets:
            there = ", ".join(sorted(self.label_sets)) or "none"
            raise InputError(f"The data set has no label set {name}; it has: {there}.", "Choose another, or add masks.")
        known = self.meta.labels.get(name, store.TISSUE_LABELS if name == store.TISSUES else {})
        found = label_values(self.label_sets[name])
        return {value: known.get(value, f"label {value}") for value in sorted({*found, *known} - {0})}

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the array and the table: two sets of the same fingerprint hold the same segments and facts."""
        hashes = self.meta.sha256 or {
            store.HU_FILE: npy_sha256(self.hu),
            store.TABLE_FILE: hashlib.sha256(table_bytes(self.table)).hexdigest(),
        }
        return store.content_hash(hashes)

    @classmethod
    def create(
        cls,
        path: str | Path,
        hu: np.ndarray,
        table: Mapping[str, Any] | None,
        *,
        kind: Kind,
        spacing_mm: float = 0.45,
        background_hu: float = 0.0,
        sources: Sequence[str | dict] = (),
        masks: np.ndarray | LabelSets | None = None,
        labels: LabelNames | None = None,
        model_hash: str | None = None,
        seed: int | None = None,
        extra: dict | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> SegmentDataset:
        """Write a data set, in one step: until it is whole, what was at ``path`` stays.

        Args:
            path: folder to make.
            hu: (N, size, size) HU; int16 is kept, every other type becomes float32.
            table: columns of length N; missing ones are filled (``segments.table.complete_table``).
            kind: real, synthetic, artificial or phantom.
            spacing_mm: pixel spacing.
            background_hu: value of every pixel that is not bone.
            sources: what the segments were made from: pseudonyms or dictionaries of facts (sha256 of the volume,
                kernel, kVp); never paths or anything of a patient.
            masks: (N, size, size) uint8 tissue labels, or several label sets by name.
            labels: label set to what its values stand for; not needed of the tissues.
            model_hash: for synthetic sets, the generator's hash.
            seed: seed the set was drawn with.
            extra: further facts for ``dataset.json``.
            overwrite: whether a data set at ``path`` may be replaced.
            progress: told the segments written.

        Raises:
            InputError: shapes that do not fit, non-finite values, patient data, or a folder that may not be replaced.
            ResourceError: the disk is full.
        """
        hu = check_segments(hu)
        label_sets = _named(masks)
        facts = {
            "kind": kind,
            "spacing_mm": spacing_mm,
            "background_hu": background_hu,
            "sources": list(sources),
            "labels": {name: dict(names) for name, names in (labels or {}).items()},
            "model_hash": model_hash,
            "seed": seed,
            "extra": extra or {},
        }
        parts = {name: [labels] for name, labels in label_sets.items()}
        with replace_folder(path, overwrite=overwrite, marker=META_FILE) as folder:
            store.write_folder(folder, [hu], complete_table(table, len(hu)), parts, facts, progress=progress)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False, progress: Progress | None = None) -> SegmentDataset:
        """Open a data set; arrays are memory-mapped, not read.

        Args:
            path: the folder.
            verify: also check every hash and value, see ``verify``.
            progress: told the bytes checked.

        Raises:
            FormatError: not a data set, of a newer version, incomplete, damaged, or its parts do not fit together.
        """
        path = Path(path)
        restore_interrupted(path)
        if not path.is_dir():
            raise FormatError(f"There is no data set at {path}.", "Check the path: a data set is a folder.")
        dataset = cls(path, *store.read_folder(path))
        if verify:
            dataset.verify(progress=progress)
        return dataset

    def verify(self, *, progress: Progress | None = None) -> SegmentDataset:
        """Check every file against its hash and every value for being finite; gives the data set back.

        Raises:
            FormatError: a file differs from what was written, or holds NaN or infinity.
        """
        for name, expected in self.meta.sha256.items():
            if sha256_of(self.path / name, progress=progress) != expected:
                raise FormatError(
                    f"{self.path / name} has changed since it was written (its hash is another).",
                    "Take a whole copy of the data set, or make it again.",
                )
        try:
            for _ in finite_blocks([self.hu], self.hu.dtype):
                report(progress, 1, 1, "Checking values")
        except InputError as error:
            raise FormatError(f"{self.path or 'The data set'}: {error.message}", error.advice) from error
        return self

    def append(
        self,
        hu: np.ndarray,
        table: Mapping[str, Any] | None,
        masks: np.ndarray | LabelSets | None = None,
        *,
        sources: Sequence[str | dict] = (),
        progress: Progress | None = None,
    ) -> None:
        """Add segments at the end; the set on disk is replaced in one step.

        Args:
            hu: (n, size, size) HU; one float array makes the whole set float32.
            table: columns of length n.
            masks: needed where the set has label sets, by the same names.
            sources: further sources.
            progress: told the segments written.

        Raises:
            InputError: as ``create``; another size; label sets that the set lacks or misses; a set changed meanwhile.
        """
        hu = check_segments(hu)
        label_sets = _named(masks)
        if hu.shape[1:] != self.hu.shape[1:]:
            raise InputError(f"The set holds {self.hu.shape[1:]} segments, not {hu.shape[1:]}.", "Resample them first.")
        if set(label_sets) != set(self.label_sets):
            raise InputError(
                f"The set has the label sets {sorted(self.label_sets)}, the new segments {sorted(label_sets)}.",
                "Give the same ones.",
            )
        table = stack_tables([self.table, complete_table(table, len(hu))])
        parts = {name: [self.label_sets[name], labels] for name, labels in label_sets.items()}
        facts = self.meta.origin()
        facts["sources"] = [*facts["sources"], *(source for source in sources if source not in facts["sources"])]
        self._rewrite(table, facts, [self.hu, hu], parts, progress)

    def select(self, mask_or_indices: np.ndarray | Sequence[int], path: str | Path | None = None) -> SegmentDataset:
        """Some of the segments, as a new data set: at ``path``, or in memory.

        Args:
            mask_or_indices: (N,) bool, or row numbers in the order wanted.
            path: folder to make; None keeps the selection in memory.

        Raises:
            InputError: nothing is selected, a row does not exist, or ``path`` exists already.
        """
        indices = np.asarray(mask_or_indices)
        if indices.dtype == bool and indices.shape == (len(self),):
            indices = np.flatnonzero(indices)
        if indices.size == 0:
            raise InputError("No segment is selected.", "Widen the choice.")
        if indices.dtype.kind not in "iu" or indices.ndim != 1 or indices.min() < 0 or indices.max() >= len(self):
            raise InputError(
                f"The selection does not fit {len(self)} segments.", "Give row numbers, or one bool for each."
            )
        table = select_rows(self.table, indices)
        hu, label_sets = self.hu[indices], {name: labels[indices] for name, labels in self.label_sets.items()}
        if path is not None:
            return SegmentDataset.create(path, hu, table, masks=label_sets, **self.meta.origin())
        meta = self.meta.model_copy(update={"counts": store.count(table), "sha256": {}})
        return SegmentDataset(None, meta, hu, table, label_sets)

    def add_labels(
        self,
        name: str,
        labels: np.ndarray,
        names: Mapping[int, str] | None = None,
        *,
        progress: Progress | None = None,
    ) -> None:
        """Add a label set, or put another in its place; the set on disk is replaced in one step.

        Args:
            name: of the label set.
            labels: (N, size, size) uint8.
            names: what its values stand for; not needed of the tissues.
            progress: told the segments written.

        Raises:
            InputError: another shape, or a selection that lives in memory only.
        """
        facts = self.meta.origin()
        facts["labels"] = {**facts["labels"], **({name: dict(names)} if names else {})}
        parts = {key: [value] for key, value in {**self.label_sets, name: labels}.items()}
        self._rewrite(self.table, facts, [self.hu], parts, progress)

    def filter(self, **wanted: str | float | Sequence | None) -> np.ndarray:
        """Row numbers of the segments whose columns hold one of the wanted values.

        Args:
            **wanted: column name (region, side, plane, split, quality, subject, ...) to a value or a list of values;
                None leaves that column open.

        Returns:
            (n,) int64, ascending; empty where none fits.

        Raises:
            InputError: no such column.
        """
        keep = np.ones(len(self), bool)
        for name, values in wanted.items():
            if name not in self.table:
                raise InputError(f'There is no column "{name}".', f'Did you mean "{nearest_name(name, self.table)}"?')
            if values is not None:
                keep &= np.isin(self.table[name], np.atleast_1d(values))
        return np.flatnonzero(keep)

    def split(self, fractions: Mapping[str, float] | None = None, by: str = "subject", seed: int = 0) -> dict[str, int]:
        """Write the column ``split``.

        Args:
            fractions: part to share, adding up to 1; half ``train`` and half ``test`` if not given.
            by: ``subject`` keeps each person in one part; ``paper`` shuffles segments as the paper did, so that a
                person can be in several parts.
            seed: the same seed gives the same parts.

        Returns:
            Part to number of segments.

        Raises:
            InputError: shares that do not add up to 1, or another ``by``.
        """
        fractions = dict(fractions or {"train": 0.5, "test": 0.5})
        if by not in ("subject", "paper"):
            raise InputError(f'"{by}" is no way to split.', "Split by subject, or as the paper by segment (paper).")
        if by == "subject":
            parts = split_by_subject(self.table["subject"], fractions, seed)
        else:
            parts = split_by_segment(len(self), fractions, seed)
        self.set_columns({"split": parts}, split={"by": by, "seed": seed, "fractions": fractions})
        return {name: int((parts == name).sum()) for name in fractions}

    def set_columns(self, columns: Mapping[str, Any], **extra: Any) -> None:
        """Write columns of the table, new ones or in place of those there; the arrays stay as they are.

        Args:
            columns: name to N values.
            **extra: further facts for ``dataset.json``, in place of those of the same name.

        Raises:
            InputError: as ``create``, or a set changed meanwhile.
        """
        facts = self.meta.origin()
        facts["extra"] = {**facts["extra"], **extra}
        table = complete_table({**self.table, **columns}, len(self))
        if self.path is None:
            self.table = table
            self.__dict__.pop("fingerprint", None)
        else:
            self._rewrite(table, facts)

    def _rewrite(
        self,
        table: Table,
        facts: dict[str, Any],
        hu_parts: store.Parts | None = None,
        label_parts: Mapping[str, store.Parts] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Replace the folder. Arrays not given anew are linked, not copied; so is what a user has put beside them."""
        if self.path is None:
            raise InputError("This selection lives in memory only.", "Give select() a path to write it.")
        arrays = {name: value for name, value in self.meta.sha256.items() if name.endswith(".npy")}
        anew = {store.TABLE_FILE, META_FILE, *(arrays if hu_parts else ())}
        with replace_folder(self.path, marker=META_FILE) as folder:
            if parse_meta(self.path) != self.meta:
                raise InputError(f"{self.path} was changed by another program.", "Open it again and repeat.")
            shutil.copytree(
                self.path,
                folder,
                copy_function=store.link_or_copy,
                ignore=lambda root, names: anew if Path(root) == self.path else set(),
                dirs_exist_ok=True,
            )
            if hu_parts:
                store.write_folder(folder, hu_parts, table, label_parts or {}, facts, progress=progress)
            else:
                store.write_table_and_meta(
                    folder, table, facts, size=self.meta.size, dtype=self.meta.dtype, array_hashes=arrays
                )
        new = SegmentDataset.open(self.path)
        self.meta, self.hu, self.table, self.label_sets = new.meta, new.hu, new.table, new.label_sets
        self.__dict__.pop("fingerprint", None)


def _named(masks: np.ndarray | LabelSets | None) -> dict[str, np.ndarray]:
    if masks is None:
        return {}
    return dict(masks) if isinstance(masks, Mapping) else {store.TISSUES: np.asarray(masks)}
