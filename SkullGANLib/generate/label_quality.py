"""How well a model keeps to label maps it has not seen: CT drawn from those of a data set against its own images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.files import check_replaceable
from SkullGANLib.generate.translate import channels_of, translate_slices
from SkullGANLib.generate.translate_files import label_slices
from SkullGANLib.models.card import SPACING_TOLERANCE
from SkullGANLib.models.folder import Model
from SkullGANLib.progress import Progress
from SkullGANLib.segments.dataset import SegmentDataset

if TYPE_CHECKING:
    from SkullGANLib.evaluate.conditional import ConditionalResult

DRAWS = 3
_LEARNT = 1500  # slices that the segmenter learns from
_NOT_REAL = {
    "phantom": "phantoms",
    "synthetic": "images that a model drew",
    "artificial": "artificial images",
    "pictures": "pictures",
}


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
    ``training``, or all of it where it is not split. Where none is given and ``dataset`` has no others itself, mask
    consistency is not measured, and that is noted. Whatever is refused is refused before anything is drawn.

    Args:
        model: of a family that draws from label maps.
        dataset: real slices with label maps.
        out: folder of the report.
        training: slices that the segmenter learns from; ``dataset`` itself if not given.
        split: part of ``dataset`` to compare with; ``auto``: ``test`` where there is one, else all.
        draws: CTs of each label map, for the diversity across noise; at least 1.
        seed: of the noise, of the segmenter and of the bootstrap.
        device: see ``generate_segments``.
        overwrite: whether a report at ``out`` may be replaced.
        progress: told what is done.

    Raises:
        InputError: a folder that may not be replaced; no slices in that part, no label on them, labels unknown to the
            model, or another pixel size; of ``training`` also no slices of other subjects, or labels that it lacks.
    """
    from SkullGANLib.evaluate.conditional import evaluate_conditional
    from SkullGANLib.evaluate.conditional_report import MARKER, write_conditional_report
    from SkullGANLib.evaluate.segmenter import train_segmenter

    check_replaceable(out, overwrite=overwrite, marker=MARKER)
    rows = _part(dataset, split)
    labels, _, _ = label_slices(model, dataset, rows)
    masks, real = labels[:, model.network.neighbours], np.asarray(dataset.hu[rows], np.float32)
    if not masks.any():
        raise InputError("The slices to compare have no label.", "Choose another part, or add label maps.")
    subjects, notes = dataset.table["subject"][rows], _notes(model, dataset, rows)
    try:
        learnt = _to_learn_from(model, dataset if training is None else training, masks, subjects, seed)
    except InputError as error:
        if training is not None:
            raise
        learnt = None
        notes.append(f"Mask consistency was not measured. {error.message} {error.advice}")
    names = dict(enumerate(model.network.labels, start=1))
    window_hu = model.window.minimum_hu, model.window.maximum_hu
    drawn = [
        translate_slices(model, labels, seed=seed + k, device=device, progress=progress) for k in range(max(1, draws))
    ]
    segmenter, facts = None, {"model_hash": model.hash, "dataset": dataset.fingerprint, "split": split, "seed": seed}
    if learnt is not None:
        hu, truth, others = learnt
        segmenter = train_segmenter(
            hu, truth, names, window_hu=window_hu, subjects=others, seed=seed, progress=progress
        )
        facts["segmenter_slices"] = len(hu)
    result = evaluate_conditional(
        drawn[0],
        real,
        masks,
        subjects,
        names,
        window_hu=window_hu,
        consistent=segmenter,
        draws=drawn if draws > 1 else None,
        seed=seed,
        progress=progress,
    )
    result.notes[:0] = notes
    write_conditional_report(result, out, drawn[0], real, masks, facts=facts, overwrite=overwrite)
    return result


def _to_learn_from(
    model: Model, source: SegmentDataset, masks: np.ndarray, subjects: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slices (n, H, W) HU, their label maps (n, H, W) in the model's channels, and their subjects (n,).

    Args:
        masks, subjects: of the slices to compare.

    Raises:
        InputError: no slices of other subjects, or such as would teach the segmenter what does not hold for ``masks``.
    """
    from SkullGANLib.evaluate.segmenter import check_slices

    check_slices(masks)
    rows = source.filter(quality="ok", split="train" if (source.table["split"] == "train").any() else None)
    rows = rows[~np.isin(source.table["subject"][rows], subjects)]
    if len(rows) < 2:
        raise InputError("The segmenter has no slices of other subjects to learn from.", "Give others with --training.")
    own, wanted = source.meta.spacing_mm, model.card.spacing_mm
    if abs(own / wanted - 1) > SPACING_TOLERANCE:
        raise InputError(
            f"The slices of --training have pixels of {own:g} mm, those to compare of {wanted:g} mm: what a segmenter "
            "learns from the former does not hold for the latter.",
            f"Import them with pixels of {wanted:g} mm, or leave --training out.",
        )
    rows = np.random.default_rng(seed).permutation(rows)[:_LEARNT]
    labels, _, name = label_slices(model, source, rows)
    known = channels_of(model, source.labels(name))
    lacking = [label for k, label in enumerate(model.network.labels, 1) if k not in known and (masks == k).any()]
    if lacking:
        raise InputError(
            f"The label maps of --training do not know {', '.join(lacking)}, which a segmenter would "
            "learn to take for background.",
            "Give slices with the same labels as those to compare, or leave --training out.",
        )
    hu = np.asarray(source.hu[rows], np.float32)
    check_slices(hu)
    return hu, labels[:, model.network.neighbours], source.table["subject"][rows]


def _notes(model: Model, dataset: SegmentDataset, rows: np.ndarray) -> list[str]:
    """What the choice of slices means for the figures."""
    notes, seen = [], int((dataset.table["split"][rows] != "test").sum())
    if seen and dataset.fingerprint in model.card.training.get("data_sets", ()):
        notes.append(
            f"The model was trained with this data set, and {seen} of {len(rows)} slices are not of its part test: it "
            "draws what it has seen better than what is new to it. Split by subject before training, and compare with "
            "the part test."
        )
    if dataset.meta.kind in _NOT_REAL:
        notes.append(f"What is called real here are {_NOT_REAL[dataset.meta.kind]}: nothing is said of real CT.")
    notes.append(
        "Whether the model has kept slices it learnt from is not asked: the label map gives the shape, so that "
        "likeness to one of them is no sign of a copy."
    )
    return notes


def _part(dataset: SegmentDataset, split: str) -> np.ndarray:
    known = set(dataset.table["split"]) - {""}
    wanted = ("test" if "test" in known else None) if split == "auto" else None if split == "all" else split
    rows = dataset.filter(quality="ok", split=wanted)
    if not len(rows):
        raise InputError(
            f"The data set has no usable slices in its part {split}.", f"Parts: {', '.join(sorted(known)) or 'none'}."
        )
    return rows
