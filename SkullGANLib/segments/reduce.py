"""A data set at fewer pixels, as a small model sees it in training: what its images are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.files import check_replaceable
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.arrays import SMALLEST_PX, block_means
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.meta import META_FILE

_BLOCK = 256  # segments at a time


def reduce(
    dataset: SegmentDataset,
    path: str | Path,
    size: int,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SegmentDataset:
    """Write a data set with fewer, larger pixels: means over squares, and of label maps the label in their middle.

    Args:
        dataset: to be reduced.
        path: folder to make.
        size: height and width in pixels, of which those of the data set are a whole multiple.
        overwrite: whether a data set at ``path`` may be replaced.
        progress: told the segments done.

    Raises:
        InputError: no whole multiple or too few pixels, or a folder that may not be replaced.
    """
    whole = dataset.meta.size
    if size < SMALLEST_PX or size >= whole or whole % size:
        sizes = [whole // k for k in range(2, whole // SMALLEST_PX + 1) if whole % k == 0]
        advice = f"Choose one of: {', '.join(map(str, sizes))}." if sizes else "Choose another data set."
        raise InputError(f"{whole} pixels cannot be reduced to {size}.", advice)
    check_replaceable(path, overwrite=overwrite, marker=META_FILE)
    side = whole // size
    hu = np.empty((len(dataset), size, size), dataset.hu.dtype)
    for start in range(0, len(dataset), _BLOCK):
        report(progress, start, len(dataset), "Reducing segments")
        means = block_means(np.asarray(dataset.hu[start : start + _BLOCK], np.float32), side)
        hu[start : start + _BLOCK] = np.rint(means) if hu.dtype == np.int16 else means
    middle = slice(side // 2, None, side)
    facts = dataset.meta.origin()
    return SegmentDataset.create(
        path,
        hu,
        dataset.table,
        kind=facts["kind"],
        spacing_mm=dataset.meta.spacing_mm * side,
        background_hu=dataset.meta.background_hu,
        sources=facts["sources"],
        masks={name: np.asarray(labels[:, middle, middle]) for name, labels in dataset.label_sets.items()},
        labels=facts["labels"],
        model_hash=facts["model_hash"],
        seed=facts["seed"],
        extra={**facts["extra"], "reduced_from": dataset.fingerprint},
        overwrite=overwrite,
        progress=progress,
    )
