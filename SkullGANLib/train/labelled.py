"""The training set of a family that draws from label maps: images and labels move through training together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SkullGANLib.ct.label_names import names_a_side
from SkullGANLib.errors import InputError
from SkullGANLib.models.draws import DATA_ORDER, HELD_OUT, image_rng
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.slices import adjacent, around
from SkullGANLib.segments.store import masks_file
from SkullGANLib.train.data import TrainingData

_LOOKED_AT = 200  # slices that tell whether what has no label is empty


class LabelledData(TrainingData):
    """Slices with a label set, in the order of training; what samples are judged with are held-out slices.

    Nothing is mirrored where a label is named left or right.

    Args:
        paths: as for ``TrainingData``.
        label_set: of the sets; not needed where they have one.
        labels: names of the labels in the order of the network's channels, to go on with a model that knows some;
            those of the sets if not given.
        neighbours: label slices before and behind each that come along. The outermost slice stands in for those that
            are missing.
        **given: as for ``TrainingData``.

    Attributes:
        labels: names in the order of the network's channels.
        slice_mm: usual distance of neighbouring slices; None where the table has no positions.

    Raises:
        InputError: as ``TrainingData``; no label set, several, or a label that the model does not know.
    """

    conditioned = paired = True

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        label_set: str | None = None,
        labels: Sequence[str] = (),
        neighbours: int = 0,
        **given: Any,
    ) -> None:
        super().__init__(paths, **given)
        if self._shrink > 1:
            raise InputError(
                f"The slices of the training data have {self.size * self._shrink} pixels, the network makes "
                f"{self.size}: a model of label maps draws slices as large as those that it was trained on.",
                f"Take --set network.size={self.size * self._shrink}, or prepare or import the data at {self.size} "
                "pixels.",
            )
        sets = [SegmentDataset.open(path) for path in paths]
        self.label_set = _label_set(sets, label_set)
        self.labels, self._channels = _channels([each.labels(self.label_set) for each in sets], tuple(labels))
        if names_a_side(self.labels):
            self.mirror = False  # a mirrored left side would be called right
        self._label_arrays = [each.label_sets[self.label_set] for each in sets]
        self._neighbours = neighbours
        self._behind, self._before, self.slice_mm = adjacent(sets)
        hashes = [each.meta.sha256[masks_file(self.label_set)] for each in sets]
        digest = hashlib.sha256(" ".join([self.fingerprint, *hashes, *self.labels]).encode())
        self.fingerprint = digest.hexdigest()
        planes = {str(plane) for each in sets for plane in np.unique(each.table["plane"])} - {""}
        self.card |= {"label_set": self.label_set, "slice_mm": self.slice_mm, "blank_background": self._is_blank()}
        self.card["plane"] = planes.pop() if len(planes) == 1 else ""
        rows = self._held_rows if len(self._held_rows) > 1 else self._rows
        self._shown = image_rng(self.seed, HELD_OUT, 0).permutation(rows)

    def condition(self, first: int, count: int) -> torch.Tensor:
        """(count, slices, size, size) uint8 channel numbers of images ``first`` and following, on the device."""
        places = [self._place(first + k) for k in range(count)]
        labels = self._labels(self._rows[[number for number, _ in places]])
        for own, (_, mirrored) in zip(labels, places, strict=True):
            if mirrored:
                own[:] = own[..., ::-1].copy()
        return torch.from_numpy(labels).to(self.device)

    def held_out(self, first: int, count: int) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """Some slices of subjects outside the training part and their labels; None without any."""
        if not len(self._held_rows):
            return None
        rngs = (image_rng(self.seed, DATA_ORDER, first + k) for k in range(count))
        rows = self._held_rows[[rng.integers(len(self._held_rows)) for rng in rngs]]
        images = self.window.to_unit(torch.from_numpy(self._read(rows)))[:, None]
        return images.to(self.device), torch.from_numpy(self._labels(rows)).to(self.device)

    def drawn_condition(self, seed: int, indices: Iterable[int]) -> np.ndarray:
        """(n, slices, size, size) uint8: the labels of ``reference``, again from the start where these are fewer."""
        return self._labels(self._shown[[i % len(self._shown) for i in indices]])

    def reference(self, count: int) -> np.ndarray:
        """Up to ``count`` held-out slices, else training ones, (n, size, size) float32 HU; always the same ones."""
        return self._read(self._shown[:count])

    def _labels(self, rows: np.ndarray) -> np.ndarray:
        """(n, slices, size, size) uint8 channel numbers of (set, row) pairs, neighbours around the middle."""
        out = np.empty((len(rows), 2 * self._neighbours + 1, self.size, self.size), np.uint8)
        for k, (source, row) in enumerate(rows):
            near = around(np.array([row]), self._before[source], self._behind[source], self._neighbours)[0]
            for place, each in enumerate(near):
                out[k, place] = self._own(source, each)
        return out

    def _own(self, source: int, row: int) -> np.ndarray:
        return self._channels[source][self._label_arrays[source][row]]

    def _find_bone(self) -> tuple[float, bool]:
        return 0.0, False  # labels say where something is: no pixel is taken for background by its HU

    def _is_blank(self) -> bool:
        """Whether what has no label is the background throughout, as in skull segments."""
        rows = self._rows[:: max(1, len(self._rows) // _LOOKED_AT)]
        pairs = ((self._arrays[source][row], self._label_arrays[source][row]) for source, row in rows)
        return all((hu[labels == 0] == self.background_hu).all() for hu, labels in pairs)


def _label_set(sets: Sequence[SegmentDataset], wanted: str | None) -> str:
    shared = sorted(set.intersection(*(set(each.label_sets) for each in sets)))
    if wanted is not None and wanted in shared:
        return wanted
    there = ", ".join(shared) or "none in all"
    if wanted is not None:
        raise InputError(f"The training data have no label set {wanted}; they have: {there}.", "Choose another.")
    if not shared:
        raise InputError(
            "The training data have no label maps (masks.npy), which this family draws from.",
            "Add the layers of skull segments (skullgan dataset layers), import pairs of image and labels, or choose "
            "another preset.",
        )
    if len(shared) > 1:
        raise InputError(f"The training data have several label sets: {there}.", f"Say --set label_set={shared[0]}.")
    return shared[0]


def _channels(names: Sequence[dict[int, str]], known: tuple[str, ...]) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Names in the order of channels, and for each set the channel of each value."""
    found = tuple(dict.fromkeys(name for each in names for name in each.values()))
    unknown = [name for name in found if known and name not in known]
    if unknown:
        raise InputError(
            f"The model does not know the labels {', '.join(unknown)}; it knows: {', '.join(known)}.",
            "Start from another model, or name the labels alike.",
        )
    order = known or found
    if not order:
        raise InputError("No pixel of the training data has a label.", "Check the label maps.")
    tables = []
    for each in names:
        table = np.zeros(256, np.uint8)
        for value, name in each.items():
            table[value] = order.index(name) + 1
        tables.append(table)
    return order, tables
