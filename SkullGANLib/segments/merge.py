"""Several data sets as one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from SkullGANLib.errors import InputError
from SkullGANLib.files import replace_folder
from SkullGANLib.progress import Progress
from SkullGANLib.segments import store
from SkullGANLib.segments.class_names import CLASS
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.meta import META_FILE, Kind
from SkullGANLib.segments.table import stack_tables


def merge(
    datasets: Sequence[SegmentDataset],
    path: str | Path,
    *,
    kind: Kind | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SegmentDataset:
    """Write several data sets as one, in their order.

    The same pseudonym in two sets is taken for the same person, so that a split by subject stays honest. Label sets
    are kept where all have them, ``model_hash`` and ``seed`` where all agree, and the column ``split`` as it is.

    Args:
        datasets: at least one.
        path: folder to make.
        kind: of the new set; needed where the kinds differ.
        overwrite: whether a data set at ``path`` may be replaced.
        progress: told the segments written.

    Warns:
        UserWarning: label maps that not all sets have, sets without classes beside others, or one set twice.

    Raises:
        InputError: different spacing, size, background or, without ``kind``, kind.
    """
    if not datasets:
        raise InputError("There is nothing to merge.", "Give at least one data set.")
    metas = [dataset.meta for dataset in datasets]
    for name in ("spacing_mm", "size", "background_hu", *(() if kind else ("kind",))):
        values = list(dict.fromkeys(getattr(meta, name) for meta in metas))
        if len(values) > 1:
            advice = "Say which kind the new set is." if name == "kind" else "Merge only sets that agree in it."
            raise InputError(f"The data sets differ in {name}: {', '.join(map(str, values))}.", advice)
    facts = metas[0].origin() | {"kind": kind or metas[0].kind, "sources": [], "extra": {}}
    for meta in metas:
        facts["sources"] += [source for source in meta.sources if source not in facts["sources"]]
    for name in ("model_hash", "seed"):
        if len({getattr(meta, name) for meta in metas}) > 1:
            facts[name] = None
    shared = set.intersection(*(set(dataset.label_sets) for dataset in datasets))
    for name in sorted(shared):
        if any(meta.labels.get(name, {}) != metas[0].labels.get(name, {}) for meta in metas):
            raise InputError(f"The labels {name} do not mean the same in all.", "Number and name them alike first.")
    _note_losses(datasets, shared)
    facts["labels"] = {name: names for name, names in metas[0].labels.items() if name in shared}
    label_parts = {name: [dataset.label_sets[name] for dataset in datasets] for name in sorted(shared)}
    table = stack_tables([dataset.table for dataset in datasets])
    with replace_folder(path, overwrite=overwrite, marker=META_FILE) as folder:
        store.write_folder(folder, [dataset.hu for dataset in datasets], table, label_parts, facts, progress=progress)
    return SegmentDataset.open(path)


def _note_losses(datasets: Sequence[SegmentDataset], shared: set[str]) -> None:
    """Say what the merged set will not have, or have twice."""
    lost = sorted(set.union(*(set(dataset.label_sets) for dataset in datasets)) - shared)
    if lost:
        warnings.warn(f"Label maps that not all sets have are left out: {', '.join(lost)}.", stacklevel=3)
    without = sum(len(dataset) for dataset in datasets if CLASS not in dataset.table)
    if 0 < without < sum(map(len, datasets)):
        warnings.warn(
            f"{without} segments are of sets without classes and have none here. What they were asked to be becomes "
            "their class before they are merged: 'skullgan dataset classes PATH --by asked_class'.",
            stacklevel=3,
        )
    prints = [dataset.fingerprint for dataset in datasets]
    if len({*prints}) < len(prints):
        warnings.warn("The same data set was given twice: its segments are there twice.", stacklevel=3)
