"""How well a model keeps to label maps it has not seen: CT drawn from those of a data set against its own images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.generate.translate import channels_of, translate_slices
from SkullGANLib.generate.translate_files import label_slices
from SkullGANLib.models.folder import Model
from SkullGANLib.progress import Progress
from SkullGANLib.segments.dataset import SegmentDataset

if TYPE_CHECKING:
    from SkullGANLib.evaluate.conditional import ConditionalResult

DRAWS = 3
_LEARNT = 1500  # slices that the segmenter learns from


def compare_with_labels(
    model: Model,
    dataset: SegmentDataset,
    out: str | Path,
    *,
    training: SegmentDataset | None = None,
    split: str = "auto",
    draws: int = DRAWS,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ConditionalResult:
    """Draw CT from the label maps of a data set, compare it with the CT they belong to, and write a report.

    Mask consistency needs a segmenter, which learns from real slices of other subjects: the part ``train`` of
    ``training``, or all of it where it is not split.

    Args:
        model: of a family that draws from label maps.
        dataset: real slices with label maps.
        out: folder of the report.
        training: slices that the segmenter learns from; ``dataset`` itself where that has a part ``train``.
        split: part of ``dataset`` to compare with; ``auto``: ``test`` where there is one, else all.
        draws: CTs of each label map, for the diversity across noise; at least 1.
        seed: of the noise, of the segmenter and of the bootstrap.
        device: see ``generate_segments``.
        overwrite: whether a report at ``out`` may be replaced.
        progress: told what is done.

    Raises:
        InputError: no slices in that part, labels unknown to the model, or another pixel size.
    """
    from SkullGANLib.evaluate.conditional import evaluate_conditional
    from SkullGANLib.evaluate.conditional_report import write_conditional_report
    from SkullGANLib.evaluate.segmenter import train_segmenter

    rows = _part(dataset, split)
    labels, _, name = label_slices(model, dataset, rows)
    masks, real = labels[:, model.network.neighbours], np.asarray(dataset.hu[rows], np.float32)
    names = dict(enumerate(model.network.labels, start=1))
    window_hu = model.window.minimum_hu, model.window.maximum_hu
    drawn = [
        translate_slices(model, labels, seed=seed + k, device=device, progress=progress) for k in range(max(1, draws))
    ]
    segmenter, facts = None, {"model_hash": model.hash, "dataset": dataset.fingerprint, "split": split, "seed": seed}
    source = training if training is not None else dataset if (dataset.table["split"] == "train").any() else None
    if source is not None:
        learnt = source.filter(quality="ok", split="train" if (source.table["split"] == "train").any() else None)
        learnt = learnt[~np.isin(source.table["subject"][learnt], dataset.table["subject"][rows])]
        learnt = np.random.default_rng(seed).permutation(learnt)[:_LEARNT]
        if not len(learnt):
            raise InputError(
                "The segmenter has no slices of other subjects to learn from.",
                "Give others with --training, or split the data set by subject.",
            )
        table = channels_of(model, source.labels(name))
        segmenter = train_segmenter(
            np.asarray(source.hu[learnt], np.float32),
            table[source.label_sets[name][learnt]],
            names,
            window_hu=window_hu,
            subjects=source.table["subject"][learnt],
            seed=seed,
            progress=progress,
        )
        facts["segmenter_slices"] = len(learnt)
    result = evaluate_conditional(
        drawn[0],
        real,
        masks,
        dataset.table["subject"][rows],
        names,
        window_hu=window_hu,
        consistent=segmenter,
        draws=drawn if draws > 1 else None,
        seed=seed,
        progress=progress,
    )
    if segmenter is None:
        result.notes.append("Mask consistency was not measured: there were no other subjects to learn segmenting from.")
    write_conditional_report(result, out, drawn[0], real, masks, facts=facts, overwrite=overwrite)
    return result


def _part(dataset: SegmentDataset, split: str) -> np.ndarray:
    known = set(dataset.table["split"]) - {""}
    wanted = ("test" if "test" in known else None) if split == "auto" else None if split == "all" else split
    rows = dataset.filter(quality="ok", split=wanted)
    if not len(rows):
        raise InputError(
            f"The data set has no usable slices in its part {split}.", f"Parts: {', '.join(sorted(known)) or 'none'}."
        )
    return rows
