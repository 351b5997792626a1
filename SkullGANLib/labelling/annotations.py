"""What a user has painted: label maps of images that a model drew, and the features of these images computed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SkullGANLib.ct.label_names import HIGHEST, read_labels
from SkullGANLib.errors import InputError
from SkullGANLib.labelling.features import Features, draw_features, require_latents
from SkullGANLib.models.card import Category
from SkullGANLib.models.conditions import encode
from SkullGANLib.models.folder import Model
from SkullGANLib.progress import Progress
from SkullGANLib.segments.arrays import label_values
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.pairs import STRUCTURES
from SkullGANLib.segments.store import TISSUE_LABELS, TISSUES, masks_file

DIFFERENCE = 0.005  # of the window, mean over an image; bfloat16 and other devices stay well below
_OFFSET = "Segmentation_ReferenceImageExtentOffset"  # where 3D Slicer's cropped segmentation begins: column, row, slice


@dataclass(frozen=True, eq=False)
class Annotations:
    """Painted images.

    Attributes:
        rows: (n,) of the data set, those that count.
        masks: (n, size, size) uint8, 0 for background.
        labels: value to name.
        label_set: what the label maps are called.
        empty: how many of them have no label and are said to have none.
        left_out: how many images nobody has painted.
    """

    rows: np.ndarray
    masks: np.ndarray
    labels: dict[int, str]
    label_set: str
    empty: int
    left_out: int


def find_annotations(
    dataset: SegmentDataset,
    *,
    masks: str | Path | None = None,
    names: Mapping[int, str] | None = None,
    label_set: str | None = None,
    with_empty: bool = False,
) -> Annotations:
    """The label maps of a data set, or those of a file.

    Args:
        dataset: of the images.
        masks: NRRD, NIfTI or MHA file, or segmentation of 3D Slicer, with the label map of an image in each slice.
        names: value to name, where the file does not say it; an empty one for a value that is no label.
        label_set: of the data set; or what that of a file is to be called: ``tissues`` for outer table, diploe and
            inner table, else ``structures``, if not given.
        with_empty: whether an image without a label has none in truth; else it counts as not painted.

    Raises:
        InputError: no label set, or several and none was named; no image is painted; or a label map of another shape.
        FormatError: the file cannot be read.
    """
    if masks is not None:
        found, labels = _read_masks(Path(masks), dataset.hu.shape, names or {})
        label_set = label_set or (TISSUES if labels == TISSUE_LABELS else STRUCTURES)
    else:
        label_set = label_set or _only_label_set(dataset)
        labels, found = dataset.labels(label_set), dataset.label_sets[label_set]
    masks_file(label_set)  # refuses what cannot name one
    painted = np.array([image.any() for image in found])
    if not painted.any():
        raise InputError(
            f"None of the {len(dataset)} images is painted.",
            "Paint the labels in some of them first, in 3D Slicer's Segment Editor for example.",
        )
    rows = np.arange(len(dataset)) if with_empty else np.flatnonzero(painted)
    chosen = np.asarray(found[rows])
    labels = {value: name for value, name in labels.items() if (chosen == value).any()}
    return Annotations(rows, chosen, labels, label_set, int((~painted[rows]).sum()), int(len(dataset) - len(rows)))


def features_of(
    model: Model, dataset: SegmentDataset, rows: np.ndarray, *, device: str = "auto", progress: Progress | None = None
) -> Features:
    """The features of images that the model drew, from what their data set remembers of them.

    Args:
        model: that drew them.
        dataset: as ``skullgan label images`` or ``skullgan generate`` wrote it; any selection of it will do.
        rows: of the images.
        device: auto, cpu, cuda, cuda:N or mps.
        progress: told the images drawn.

    Raises:
        InputError: images of another model, without their numbers and seed, or that the model draws otherwise now.
        ResourceError: not enough memory.
    """
    require_latents(model)
    meta, table = dataset.meta, dataset.table
    if meta.model_hash != model.hash:
        drawn = "another model drew the images" if meta.model_hash else "no model is known to have drawn the images"
        raise InputError(
            f"A labeller learns from images of its own model, but {drawn}.",
            "Give the model that drew them, or draw images with 'skullgan label images' and paint these.",
        )
    asked = {name: f"asked_{name}" for name in model.card.conditions}
    lacking = [name for name in ("image", *asked.values()) if name not in table]
    if lacking or meta.seed is None:
        raise InputError(
            f"The data set does not say how its images were drawn: it lacks {', '.join(lacking) or 'the seed'}.",
            "Draw images with 'skullgan label images' and paint these.",
        )
    values = {name: _values(table[column][rows], model, name) for name, column in asked.items()}
    features = draw_features(
        model,
        table["image"][rows].tolist(),
        seed=meta.seed,
        condition=encode(model.card.conditions, values) if values else None,
        device=device,
        progress=progress,
    )
    if features.hu.shape[1:] == dataset.hu.shape[1:]:
        apart = np.abs(features.hu - dataset.hu[rows]).mean((1, 2)) / model.window.range_hu
        if apart.max() <= DIFFERENCE:
            return features
    raise InputError(
        "The images are not those that the model draws for their seed and conditions, so their features are not known.",
        "Paint images as 'skullgan label images' draws them, without truncation and unchanged.",
    )


def _values(column: np.ndarray, model: Model, name: str) -> np.ndarray:
    return column.astype(str) if isinstance(model.card.conditions[name], Category) else column.astype(float)


def _only_label_set(dataset: SegmentDataset) -> str:
    if len(dataset.label_sets) == 1:
        return next(iter(dataset.label_sets))
    if dataset.label_sets:
        raise InputError(
            f"The data set has several label sets: {', '.join(sorted(dataset.label_sets))}.",
            "Name one with --label-set.",
        )
    raise InputError(
        "The images have no label maps.",
        "Paint them and give the label maps as a file (--masks), with an image in each slice.",
    )


def _read_masks(path: Path, shape: tuple[int, int, int], names: Mapping[int, str]) -> tuple[np.ndarray, dict[int, str]]:
    volume, known = read_labels(path)
    named, found = {**known, **names}, volume.hu
    found = np.where(np.isin(found, [value for value, name in named.items() if not name]), 0, found)
    if found.max() > HIGHEST:
        raise InputError(f"{path} has labels beyond {HIGHEST}.", f"Number them from 1 to {HIGHEST}.")
    found = found.astype(np.uint8)
    if found.shape != shape:
        found = _placed(path, found, shape)
    return found, {value: named.get(value, f"label {value}") for value in label_values(found)}


def _placed(path: Path, part: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A cropped segmentation of 3D Slicer on the whole stack."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    begin = reader.GetMetaData(_OFFSET).split()[::-1] if reader.HasMetaDataKey(_OFFSET) else []
    if len(begin) == 3 and any(begin := [int(number) for number in begin]):
        ends = [a + n for a, n in zip(begin, part.shape, strict=True)]
        if min(begin) >= 0 and all(b <= n for b, n in zip(ends, shape, strict=True)):
            whole = np.zeros(shape, np.uint8)
            whole[tuple(slice(a, b) for a, b in zip(begin, ends, strict=True))] = part
            return whole
    raise InputError(
        f"{path} has the shape {part.shape} (slices, rows, columns), the images {shape}.",
        "Paint on the stack of all images as 'skullgan dataset export' writes it, and keep its size.",
    )
