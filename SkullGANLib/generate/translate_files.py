"""What drawing from label maps leaves: volumes with their origin, and labelled data sets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SkullGANLib.ct.label_names import numbered, read_labels
from SkullGANLib.ct.views import three_views, write_views
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.generate.translate import SPACING_TOLERANCE, channels_of, translate_slices
from SkullGANLib.generate.volumes import write_numbered, write_origin
from SkullGANLib.models.folder import Model
from SkullGANLib.progress import Progress
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.slices import adjacent, around

PREVIEWED, LISTED = 3, 6
_NUMBERED = re.compile(r"label (\d+)")  # as a label without a name is called
_KEPT = ("plane", "region", "side", "position_mm", "rotation_deg")  # of the table of the labels


def read_label_map(path: Path, model: Model, said: Mapping[int, str]) -> tuple[Volume, dict[int, str], list[str]]:
    """A label map for a model: its values as uint8, what they stand for, and what a user should know of that.

    Args:
        path: of the file.
        model: whose labels count, in their order or by their number ("label 3"), where neither the file nor the user
            says what the values stand for.
        said: value to name by the user; an empty name for a value that is no label.

    Raises:
        InputError: no label map, or one with too many labels.
        FormatError: the file cannot be read.
    """
    labels, found = read_labels(path)
    notes, named = [], any(said.values())
    if not found and not named:
        numbers = [_NUMBERED.fullmatch(name) for name in model.network.labels]
        found = dict(enumerate(model.network.labels, start=1))
        if all(numbers):
            found = {int(number[1]): number[0] for number in numbers}
        listed = [f"{value} is taken for {name}" for value, name in found.items()]
        more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
        notes.append(f"The file does not say what its labels are: {', '.join(listed[:LISTED])}{more}.")
    labels_8, names = numbered(labels, {**found, **said})
    if labels.hu.max() > np.iinfo(np.uint8).max:
        notes.append("Labels have new numbers: " + ", ".join(f"{value} {name}" for value, name in names.items()) + ".")
    return labels_8, names, notes


def spread_rows(source: SegmentDataset, count: int, first: int = 0) -> np.ndarray:
    """``count`` rows of a data set, spread over its subjects and their slices; all where it has fewer.

    Args:
        source: the data set.
        count: rows wanted.
        first: rows to pass over, for further ones of the same order.
    """
    subjects = source.table["subject"]
    turn, subject = np.empty(len(source), int), np.unique(subjects, return_inverse=True)[1].reshape(-1)
    for each in np.unique(subject):
        own = np.flatnonzero(subject == each)
        turn[own] = np.argsort(np.argsort([_reversed_bits(k) for k in range(len(own))]))  # halves, quarters, ...
    rows = np.lexsort((subject, turn))[first : first + count]
    return np.sort(rows)


def _reversed_bits(number: int) -> float:
    """Van der Corput's sequence: 0, 1/2, 1/4, 3/4, ..."""
    value, part = 0.0, 0.5
    while number:
        value, part, number = value + part * (number & 1), part / 2, number >> 1
    return value


def write_translated(
    volumes: Iterable[Volume],
    labels: Volume,
    names: Mapping[int, str],
    folder: Path,
    model: Model,
    file_format: str,
    facts: Mapping[str, Any],
) -> list[str]:
    """Write volumes as they are drawn from one label map, ``volumes.json`` and ``preview.png`` with the labels on top.

    Args:
        volumes: drawn from ``model``.
        labels: that they were drawn from.
        names: value to name of the labels.
        folder: to write to.
        model: that drew them.
        file_format: ending of the files, such as ``nrrd``.
        facts: how they were drawn; ``seed`` is that of the first, the next one has the next.

    Returns:
        What a user should know of the volumes.
    """
    shown, files, notes = {"Labels": [three_views(labels, labels=True)]}, [], {}
    for number, volume in enumerate(volumes):
        files.append(write_numbered(volume, folder, number, file_format) | {"seed": facts["seed"] + number})
        notes |= dict.fromkeys(volume.notes)
        if number < PREVIEWED:
            shown[f"Volume {number + 1}"] = [three_views(volume)]
    write_origin(folder, model, facts, files)
    write_views(folder / "preview.png", shown, names=names)
    return list(notes)


def translate_dataset(
    model: Model,
    source: SegmentDataset,
    out: str | Path,
    *,
    rows: Sequence[int] | None = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SegmentDataset:
    """Draw a CT slice for each label map of a data set, and write both as a data set of kind ``synthetic``.

    Args:
        model: of a family that draws from label maps.
        source: with the label set that the model was trained on.
        out: folder to make.
        rows: of ``source`` to draw; all if not given.
        seed: of the noise; slice i of ``rows`` has number i.
        device: see ``generate_segments``.
        overwrite: whether a data set at ``out`` may be replaced.
        progress: told the slices drawn.

    Raises:
        InputError: labels that the model does not know, no label set, or another pixel size.
    """
    rows = np.arange(len(source)) if rows is None else np.asarray(rows)
    labels, kept, name = label_slices(model, source, rows)
    hu = translate_slices(model, labels, seed=seed, device=device, progress=progress)
    table = {column: source.table[column][rows] for column in _KEPT if column in source.table}
    table |= {"subject": np.full(len(rows), "synthetic"), "image": np.arange(len(rows))}
    return SegmentDataset.create(
        out,
        hu,
        table,
        kind="synthetic",
        spacing_mm=source.meta.spacing_mm,
        background_hu=model.card.background_hu,
        sources=[{"labels_of": source.fingerprint}],
        masks={name: kept},
        labels={name: source.labels(name)},
        model_hash=model.hash,
        seed=seed,
        overwrite=overwrite,
        progress=progress,
    )


def label_slices(model: Model, source: SegmentDataset, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Label maps of a data set as a model takes them, as they are, and the name of the label set.

    Returns:
        (n, slices, H, W) uint8 channels with neighbours, (n, H, W) uint8 values of the set, name.

    Raises:
        InputError: no such label set, a label unknown to the model, or another pixel size.
    """
    name = model.card.training.get("label_set", "")
    if name not in source.label_sets and len(source.label_sets) == 1:
        (name,) = source.label_sets
    table = channels_of(model, source.labels(name))
    if abs(source.meta.spacing_mm / model.card.spacing_mm - 1) > SPACING_TOLERANCE:
        raise InputError(
            f"The label maps have pixels of {source.meta.spacing_mm:g} mm, the model draws {model.card.spacing_mm:g} "
            "mm.",
            "Import them with the model's spacing, or choose another model.",
        )
    (behind,), (before,), _ = adjacent([source])
    near, values = around(rows, before, behind, model.network.neighbours), source.label_sets[name]
    return table[values[near]], values[rows], name
