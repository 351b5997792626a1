"""What drawing from label maps leaves: volumes with their origin, and labelled data sets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SkullGANLib.ct.label_names import read_labels, whole_heart_names
from SkullGANLib.ct.views import three_views, write_views
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.generate.translate import channels_of, translate_slices
from SkullGANLib.generate.volumes import write_numbered, write_origin
from SkullGANLib.models.card import SPACING_TOLERANCE
from SkullGANLib.models.folder import Model
from SkullGANLib.progress import Progress
from SkullGANLib.segments.arrays import label_values
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.slices import adjacent, around
from SkullGANLib.words import few

PREVIEWED = 3
_NUMBER = re.compile(r"label \d+")  # a label that came without a name
_KEPT = ("plane", "region", "side", "position_mm", "rotation_deg")  # of the table of the labels


def read_label_map(path: Path, model: Model, said: Mapping[int, str]) -> tuple[Volume, dict[int, str], list[str]]:
    """A label map, what the values that occur in it stand for, and what a user should know of that.

    Where neither the file nor the user names any value, those of MM-WHS are known; any other value, such as 3, stands
    for "label 3" if the model knows that, else for the model's third label.

    Args:
        path: of the file.
        model: that is to draw it.
        said: value to name by the user, before what the file says; an empty name for a value that is no label.

    Raises:
        InputError: no label map, or labels that the model does not know.
        FormatError: the file cannot be read.
    """
    labels, found = read_labels(path)
    present, named, notes = label_values(labels.hu), {**found, **said}, []
    if not any(named.values()):
        named |= whole_heart_names([value for value in present if value not in named])
    known, names = model.network.labels, {value: named.get(value, f"label {value}") for value in present}
    if not any(named.values()):
        numbered = {name for name in known if _NUMBER.fullmatch(name)}
        by_order = {
            value: name
            for value, name in enumerate(known, start=1)
            if value in names and value not in named and not {name, names[value]} & numbered
        }
        names |= by_order
        if by_order:
            notes.append(f"The file does not name its labels: {_listed(by_order, 'is taken for')}.")
    channels = channels_of(model, names)
    numbers = {value: f"{channels[value]} {name}" for value, name in names.items() if channels[value] not in (0, value)}
    if max(numbers, default=0) > len(known):
        notes.append(f"The labels are drawn, and shown, with the model's numbers: {_listed(numbers, 'as')}.")
    return labels, names, notes


def _listed(words: Mapping[int, str], between: str) -> str:
    return few([f"{value} {between} {word}" for value, word in words.items()])


def spread_rows(source: SegmentDataset, count: int, first: int = 0) -> np.ndarray:
    """``count`` rows of a data set, ascending, spread over its subjects and over the slices of each; all where it has
    fewer.

    Args:
        source: the data set.
        count: rows wanted.
        first: rows to pass over, for further ones of the same order.
    """
    subjects = np.unique(source.table["subject"], return_inverse=True)[1].reshape(-1)
    turn = np.empty(len(source), int)
    for number in range(subjects.max() + 1):
        own = np.flatnonzero(subjects == number)
        begin = int(_halved(number + 1) * len(own))  # elsewhere in each subject
        turn[own] = np.argsort(np.argsort([_halved((k - begin) % len(own)) for k in range(len(own))]))
    return np.sort(np.lexsort((subjects, turn))[first : first + count])


def _halved(number: int) -> float:
    """Van der Corput's sequence: 0, 1/2, 1/4, 3/4, 1/8, ..."""
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
        names: value to name of the labels that occur.
        folder: to write to.
        model: that drew them.
        file_format: ending of the files, such as ``nrrd``.
        facts: how they were drawn; ``seed`` is that of the first, the next one has the next.

    Returns:
        What a user should know of the volumes.
    """
    channels = channels_of(model, names)
    shown, files, notes = {"Labels": [three_views(labels.with_array(channels[labels.hu]), labels=True)]}, [], {}
    for number, volume in enumerate(volumes):
        files.append(write_numbered(volume, folder, number, file_format) | {"seed": facts["seed"] + number})
        notes |= dict.fromkeys(volume.notes)
        if number < PREVIEWED:
            shown[f"Volume {number + 1}"] = [three_views(volume)]
    write_origin(folder, model, facts, files)
    write_views(folder / "preview.png", shown, names=labels_drawn(model, names))
    return list(notes)


def labels_drawn(model: Model, names: Mapping[int, str]) -> dict[int, str]:
    """Those of a model's labels, by their number, that a label map with these names has."""
    channels = channels_of(model, names)
    return {k: model.network.labels[k - 1] for k in sorted({int(channels[value]) for value in names} - {0})}


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
        seed: of the noise; that of a slice has the number of its row.
        device: see ``generate_segments``.
        overwrite: whether a data set at ``out`` may be replaced.
        progress: told the slices drawn.

    Raises:
        InputError: labels that the model does not know, no label set, or another pixel size.
    """
    rows = np.arange(len(source)) if rows is None else np.asarray(rows)
    labels, kept, name = label_slices(model, source, rows)
    hu = translate_slices(model, labels, seed=seed, numbers=rows, device=device, progress=progress)
    table = {column: source.table[column][rows] for column in _KEPT if column in source.table}
    table |= {"subject": np.full(len(rows), "synthetic"), "image": rows}
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
    (behind,), (before,), _ = adjacent([source])
    near, values = around(rows, before, behind, model.network.neighbours), source.label_sets[name]
    given, present = values[near], set(label_values(values[np.unique(near)]))
    names = {value: called for value, called in source.labels(name).items() if value in present}
    table = channels_of(model, names, option="dataset import-pairs --label-names")
    if abs(source.meta.spacing_mm / model.card.spacing_mm - 1) > SPACING_TOLERANCE:
        raise InputError(
            f"The label maps have pixels of {source.meta.spacing_mm:g} mm, the model draws {model.card.spacing_mm:g} "
            "mm.",
            "Import them with the model's spacing, or choose another model.",
        )
    return table[given], values[rows], name
