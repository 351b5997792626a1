"""The training set as an endless stream in which image n of a seed is always the same one."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.registry import spread
from SkullGANLib.models.card import Category, Condition, Number
from SkullGANLib.models.conditions import encode
from SkullGANLib.models.device import free_memory
from SkullGANLib.models.draws import CONDITION, DATA_ORDER, HELD_OUT, image_rng
from SkullGANLib.models.window import IntensityWindow, largest_piece
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.arrays import block_means
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.splits import split_by_subject

_BLOCK = 256  # segments between two reports while looking for the extremes
_RESIDENT_SHARE = 0.25  # of the device's free memory
_SAMPLED = 500  # segments that tell the bone floor
_WHOLE = 0.98  # share of them whose bone is one piece, from which on that of drawn ones is, too
_FEWEST = 4  # subjects of which one can be spared
_LEAST_OF_CLASS = 10  # images by which a class is known
_SIDE = re.compile(r"(?<![^\W\d_])(left|right)(?![^\W\d_])", re.IGNORECASE)  # as a word of a class


class TrainingData:
    """Segments of one or several data sets, in the order of training.

    Only good segments (quality ``ok``) take part, and where a set is split only those of its part ``train``. Snapshots
    are judged by those of its part ``val``, else by some subjects set aside, and never by its part ``test``.

    Args:
        paths: data set folders; all of one pixel spacing and size.
        seed: of the order and of the mirroring.
        mirror: flip half of the images left to right.
        window_hu: minimum and maximum HU; those of the segments if not given.
        size: height and width of the images, of which the segments' are a whole multiple; the segments' own if not
            given. Smaller ones are means over squares of pixels.
        conditions: columns of the table that the model can be asked for, or, to go on with a model that knows some
            already, that model's own.
        balance: how far classes with few images are drawn more often: 0 as they come, 1 all classes as often.
        hold_out: share of the training subjects to set aside where there is no part ``val`` and they are four or more.
        device: where batches are wanted; the set is kept there whole if that takes at most a quarter of what is free.
        progress: told the segments looked at.

    Attributes:
        window: HU to [-1, 1].
        conditions: name to what a ``ModelCard`` says of it, for each of those asked for that varies in the data.
        condition_mean, condition_covariance: of the columns they are encoded in, for the card.
        bone_floor_hu: what all but 1 % of the bone pixels exceed, between 10 HU and half of the median.
        one_piece: whether the bone of nearly every image is one, without holes; for both see ``ModelCard``.
        fingerprint: SHA-256 over the sets and the rows used.
        card: what a model should say of its training set.
        paired: whether what samples are asked for is that of ``reference``, so that each can be set beside a real one.

    Raises:
        InputError: no set, none of it usable, sets that do not fit together, or a single HU value throughout.
    """

    paired = False

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        seed: int = 0,
        mirror: bool = True,
        window_hu: tuple[float, float] | None = None,
        size: int | None = None,
        conditions: Sequence[str] | Mapping[str, Condition] = (),
        balance: float = 0.0,
        hold_out: float = 0.0,
        device: torch.device | str = "cpu",
        progress: Progress | None = None,
    ) -> None:
        if not paths:
            raise InputError("There is no training data.", "Give a segment data set with --data.")
        sets = [SegmentDataset.open(path, verify=True) for path in paths]
        for name in ("spacing_mm", "size", "background_hu"):
            values = sorted({getattr(each.meta, name) for each in sets})
            if len(values) > 1:
                raise InputError(f"The data sets differ in {name}: {values}.", "Train on sets that agree.")
        rows, held_out = _held_apart(sets, hold_out, seed)
        if not sum(map(len, rows)):
            raise InputError("No segment of the training data is usable.", "Check its columns split and quality.")
        self.seed, self.mirror = seed, mirror
        self.spacing_mm, self.size, self.background_hu = (
            sets[0].meta.spacing_mm,
            sets[0].meta.size,
            sets[0].meta.background_hu,
        )
        self._shrink = whole_multiple(self.size, size or self.size)
        self.size, self.spacing_mm = self.size // self._shrink, self.spacing_mm * self._shrink
        self._arrays = [each.hu for each in sets]
        self._rows = np.concatenate([np.stack([np.full(len(r), k), r], 1) for k, r in enumerate(rows)])
        self._held_rows = np.concatenate([np.stack([np.full(len(r), k), r], 1) for k, r in enumerate(held_out)])
        digest = hashlib.sha256("".join(each.fingerprint for each in sets).encode() + self._rows.tobytes())
        self.fingerprint = digest.hexdigest()
        self.window = self._find_window(progress) if window_hu is None else _window(*window_hu)
        self.bone_floor_hu, self.one_piece = self._find_bone()
        self.card = {
            "fingerprint": self.fingerprint,
            "data_sets": [each.fingerprint for each in sets],
            "kinds": sorted({each.meta.kind for each in sets}),
            "segments": len(self),
            "subjects": len(np.unique(_column(sets, rows, "subject"))),
            "held_out_segments": len(self._held_rows),
            "held_out_subjects": len(np.unique(_column(sets, held_out, "subject"))),
        }
        wanted = {*conditions, "plane"}
        table, other = ({name: _column(sets, chosen, name) for name in wanted} for chosen in (rows, held_out))
        if isinstance(conditions, Mapping):
            self.conditions = {name: restated(each, table[name], name) for name, each in conditions.items()}
        else:
            found = {name: condition_of(table[name], name) for name in conditions}
            self.conditions = {name: each for name, each in found.items() if each is not None}
        self._encoded, self._mirrored, self._held_encoded = (
            encode(self.conditions, part) if self.conditions else np.empty((len(self), 0), np.float32)
            for part in (table, table | _other_side(table), other)
        )
        if "class" in self.conditions and (unnamed := int((table["class"] == "").sum())):
            warnings.warn(
                f"{unnamed} of {len(self)} training segments have no class: they are learnt as of none.", stacklevel=3
            )
        if self.mirror and not _sides_paired(self.conditions.get("class")):
            self.mirror = False  # a mirrored left side would be called left
        self._share = _balanced(table.get("class"), balance)
        self.condition_mean, self.condition_covariance = _moments(self._encoded)
        self._epoch, self._order = -1, (np.empty(0, int), np.empty(0, bool))
        self.device = torch.device(device)
        self._pixels = self._resident()

    @property
    def conditioned(self) -> bool:
        """Whether images come with what they are."""
        return bool(self.conditions)

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, first: int, count: int) -> torch.Tensor:
        """Images ``first`` to ``first + count`` of the stream.

        Returns:
            (count, 1, size, size) float32 on the device, in [-1, 1]; beyond where a given window is narrower.
        """
        numbers, mirrored = map(np.array, zip(*(self._place(first + k) for k in range(count)), strict=True))
        if self._pixels is None:
            hu = torch.from_numpy(self._read(self._rows[numbers])).to(self.device)
        else:
            hu = self._pixels[torch.from_numpy(numbers).to(self.device)].float()
        if mirrored.any():
            turned = torch.from_numpy(mirrored).to(self.device)[:, None, None]
            hu = torch.where(turned, hu.flip(-1), hu)
        return self.window.to_unit(hu)[:, None]

    def held_out(self, first: int, count: int) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """Some images of subjects outside the training part and their conditions; None without any.

        Args:
            first: images of the stream that were drawn before.
            count: of them; each is any of the held-out ones.
        """
        if not len(self._held_rows):
            return None
        rngs = (image_rng(self.seed, HELD_OUT, first + k) for k in range(count))
        numbers = np.array([rng.integers(len(self._held_rows)) for rng in rngs])
        images = self.window.to_unit(torch.from_numpy(self._read(self._held_rows[numbers])))[:, None]
        condition = torch.from_numpy(self._held_encoded[numbers]).to(self.device) if self.conditions else None
        return images.to(self.device), condition

    def condition(self, first: int, count: int) -> torch.Tensor:
        """What images ``first`` to ``first + count`` of the stream are, (count, k) float32 on the device; see
        ``models.conditions``.

        A mirrored piece of the left side is one of the right, unless cut sagittally: that turns front to back.
        """
        places = [self._place(first + k) for k in range(count)]
        rows = np.stack([(self._mirrored if mirrored else self._encoded)[number] for number, mirrored in places])
        return torch.from_numpy(rows).to(self.device)

    def drawn_condition(self, seed: int, indices: Iterable[int]) -> np.ndarray:
        """(n, k) float32: for each image number what a training image drawn by it is; what samples are judged with."""
        return np.stack([self._encoded[image_rng(seed, CONDITION, i).integers(len(self))] for i in indices])

    def _place(self, index: int) -> tuple[int, bool]:
        """Row of the training set that is image ``index`` of the stream, and whether it is mirrored."""
        epoch, place = divmod(index, len(self))
        if epoch != self._epoch:
            rng = image_rng(self.seed, DATA_ORDER, epoch)
            order, turned = rng.permutation(len(self)), rng.random(len(self)) < 0.5
            if self._share is not None:  # as often as due, to the nearest whole number
                reached = np.cumsum(self._share[order])
                places = (np.arange(len(self)) + rng.random()) * reached[-1] / len(self)
                order = rng.permutation(order[np.minimum(np.searchsorted(reached, places), len(self) - 1)])
            self._epoch, self._order = epoch, (order, turned)
        return self._order[0][place], bool(self.mirror and self._order[1][place])

    def reference(self, count: int) -> np.ndarray:
        """Up to ``count`` held-out segments, else training ones, (n, size, size) float32 HU; always the same ones."""
        rows = self._held_rows if len(self._held_rows) > 1 else self._rows
        return self._read(rows[np.linspace(0, len(rows) - 1, min(count, len(rows)), dtype=int)])

    def training_images(self, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Some training segments, of all classes alike where there are more than ``count``.

        Args:
            count: segments; more where a class would have less than ten of those that it has.
            size: pixels; where they are no whole part of the data's, the segments stay as large as they are.

        Returns:
            (n, size, size) float32 HU and (n, k) their conditions.
        """
        chosen = np.arange(len(self))
        if len(self) > count:
            kinds = np.unique(self._encoded, axis=0, return_inverse=True)[1].reshape(-1)
            parts = [np.flatnonzero(kinds == kind) for kind in range(kinds.max() + 1)]
            each = max(count // len(parts), _LEAST_OF_CLASS)
            chosen = np.sort(np.concatenate([part[spread(len(part), each)] for part in parts]))
        whole = self._arrays[0].shape[-1]
        return self._read(self._rows[chosen], whole // size if whole % size == 0 else 1), self._encoded[chosen]

    def _read(self, rows: np.ndarray, shrink: int | None = None) -> np.ndarray:
        """(n, size, size) float32 HU of (set, row) pairs, from the disk."""
        shrink = shrink or self._shrink
        size = self._arrays[0].shape[-1] // shrink
        hu = np.empty((len(rows), size, size), np.float32)
        for k, (source, row) in enumerate(rows):
            whole = self._arrays[source][row]
            hu[k] = whole if shrink == 1 else block_means(whole, shrink)
        return hu

    def _resident(self) -> torch.Tensor | None:
        """All training images on the device, or None where they would take too much of its memory."""
        kinds = {array.dtype for array in self._arrays}
        kept = kinds.pop() if len(kinds) == 1 and self._shrink == 1 else np.dtype(np.float32)
        if len(self) * self.size**2 * kept.itemsize > _RESIDENT_SHARE * free_memory(self.device):
            return None
        pixels = torch.empty(len(self), self.size, self.size, dtype=torch.from_numpy(np.empty(0, kept)).dtype)
        for start in range(0, len(self), _BLOCK):
            pixels[start : start + _BLOCK] = torch.from_numpy(self._read(self._rows[start : start + _BLOCK]))
        return pixels.to(self.device)

    def _find_window(self, progress: Progress | None) -> IntensityWindow:
        low, high = np.inf, -np.inf
        for start in range(0, len(self), _BLOCK):
            for source, row in self._rows[start : start + _BLOCK]:
                hu = self._arrays[source][row]
                low, high = min(low, float(hu.min())), max(high, float(hu.max()))
            report(progress, min(start + _BLOCK, len(self)), len(self), "Reading the training data")
        return _window(low, high)

    def _find_bone(self) -> tuple[float, bool]:
        hu = self._read(self._rows[:: max(1, len(self) // _SAMPLED)])
        is_bone = hu > self.background_hu
        if not is_bone.any():
            return 10.0, False
        faintest, median = np.percentile(hu[is_bone] - self.background_hu, [1, 50])
        one_piece = np.mean([np.array_equal(mask, largest_piece(mask)) for mask in is_bone]) >= _WHOLE
        return max(10.0, min(float(faintest), 0.5 * float(median))), bool(one_piece)


def training_rows(dataset: SegmentDataset) -> np.ndarray:
    """Row numbers that may be trained on: quality ``ok``, and of the part ``train`` where the set has one."""
    split = dataset.table["split"]
    return dataset.filter(quality="ok", split="train" if (split == "train").any() else None)


def training_size(paths: Sequence[Path], hold_out: float = 0.0, seed: int = 0) -> int:
    """Segments of some sets that ``TrainingData`` would train on."""
    return sum(map(len, _held_apart([SegmentDataset.open(path) for path in paths], hold_out, seed)[0]))


def _held_apart(sets: Sequence[SegmentDataset], share: float, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Row numbers of each set to train on, and those to judge snapshots by."""
    rows = [training_rows(each) for each in sets]
    held_out = [
        each.filter(quality="ok", split="val") if (each.table["split"] == "train").any() else np.empty(0, int)
        for each in sets
    ]
    subjects = _column(sets, rows, "subject")
    if any(map(len, held_out)) or share == 0 or len(np.unique(subjects)) < _FEWEST:
        return rows, held_out
    aside = split_by_subject(subjects, {"train": 1 - share, "val": share}, seed) == "val"
    parts = np.split(aside, np.cumsum([len(r) for r in rows])[:-1])
    pairs = list(zip(rows, parts, strict=True))
    return [r[~part] for r, part in pairs], [r[part] for r, part in pairs]


def _column(sets: Sequence[SegmentDataset], rows: Sequence[np.ndarray], name: str) -> np.ndarray:
    if name == "class":  # not in every set, and text even where all classes are numbers
        columns = [np.asarray(each.table.get(name, np.full(len(each), ""))).astype(str) for each in sets]
    else:
        columns = [each.table[name] for each in sets]
    return np.concatenate([column[r] for column, r in zip(columns, rows, strict=True)])


def _balanced(classes: np.ndarray | None, balance: float) -> np.ndarray | None:
    """(n,) how often each image is due, by the images of its class to the power of ``-balance``."""
    if classes is None or not balance:
        return None
    _, place, counts = np.unique(classes, return_inverse=True, return_counts=True)
    return counts[place.reshape(-1)].astype(float) ** -balance


def _swapped(name: str) -> str:
    """A class of the other side."""
    return _SIDE.sub(lambda found: {"left": "right", "right": "left"}[found[0].lower()], name)


def _sides_paired(classes: Condition | None) -> bool:
    """Whether each class of one side has its counterpart, which a mirrored image belongs to."""
    return classes is None or all(_swapped(word) in classes.values for word in classes.values)


def condition_of(column: np.ndarray, name: str) -> Condition | None:
    """What a column of the table says of the training set; None where it is empty or the same throughout."""
    if column.dtype.kind not in "iuf":
        words, counts = np.unique(column[column != ""], return_counts=True)
        if len(words) < 2:
            return None
        return Category(values=[str(word) for word in words], share=(counts / counts.sum()).tolist())
    known = column[np.isfinite(column)].astype(float)
    if not len(known) or not known.std() > 0:
        return None
    unit = next((unit for suffix, unit in (("_mm", "mm"), ("_hu", "HU")) if name.endswith(suffix)), "")
    facts = {"mean": known.mean(), "std": known.std(), "minimum": known.min(), "maximum": known.max()}
    return Number(unit=unit, **{key: float(value) for key, value in facts.items()})


def restated(condition: Condition, column: np.ndarray, name: str) -> Condition:
    """A model's condition for another training set: what the network takes stays, shares and limits are the set's.

    Warns:
        UserWarning: the set has words that the model does not know.
    """
    if isinstance(condition, Category):
        counts = [int((column == word).sum()) for word in condition.values]
        unknown = sorted({str(word) for word in column if word} - set(condition.values))
        if unknown:
            known, words = ", ".join(condition.values), ", ".join(unknown)
            warnings.warn(f"The model knows no {name} but {known}: {words} is shown to it as none.", stacklevel=2)
        if not sum(counts):
            return condition
        return condition.model_copy(update={"share": tuple(np.array(counts) / sum(counts))})
    known = column[np.isfinite(column)].astype(float)
    if not len(known):
        return condition
    return condition.model_copy(update={"minimum": float(known.min()), "maximum": float(known.max())})


def _moments(encoded: np.ndarray) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Mean and covariance of the columns of (n, k) conditions, rounded to what a card needs."""
    if len(encoded) < 2 or not encoded.shape[1]:
        return (), ()
    columns = encoded.astype(np.float64)
    covariance = np.atleast_2d(np.cov(columns.T)).round(5).tolist()
    return tuple(columns.mean(0).round(5).tolist()), tuple(map(tuple, covariance))


def _other_side(table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns that mirroring changes, for the mirrored images; sagittal ones stay on their side."""
    turned = table["plane"] != "sagittal"
    columns = {name: table[name] for name in ("side", "class") if name in table}
    return {name: np.where(turned, np.array([_swapped(w) for w in words]), words) for name, words in columns.items()}


def whole_multiple(of: int, size: int) -> int:
    """How many times ``size`` goes into ``of``.

    Raises:
        InputError: no whole number of times.
    """
    if size > of or of % size:
        raise InputError(
            f"The network makes images of {size} pixels, of which the data's {of} are no whole multiple.",
            f"Choose a preset for {of} pixels, or give data of {size}: dataset import-pairs --size {size}, and "
            "import-classes alike, make images anew.",
        )
    return of // size


def _window(low: float, high: float) -> IntensityWindow:
    if not high > low:
        raise InputError(
            f"The intensity window {low} to {high} HU is empty.", "Check the data set, or give --window-hu."
        )
    return IntensityWindow(minimum_hu=low, range_hu=high - low)
