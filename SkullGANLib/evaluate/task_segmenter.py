"""A small U-Net that learns to draw the label maps of segments, and how far what it draws agrees with the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from SkullGANLib.evaluate.segmenter import DIVISOR, check_slices, dice, train_segmenter

if TYPE_CHECKING:
    import torch

STEPS = 150
"""Of 8 segments each: what follows brings a hundredth of Dice on head phantoms, and there are many trainings."""


class _Told:
    """Hands the steps of a training on to a function; that function ends it, if it has to, by raising ``Cancelled``."""

    def __init__(self, told: Callable[[int, int], None]) -> None:
        self._told = told

    def update(self, done: int, total: int, message: str = "", **values: float | str) -> None:
        self._told(done, total)

    def cancelled(self) -> bool:
        return False


def segment(
    hu: np.ndarray,
    masks: np.ndarray,
    asked: np.ndarray,
    *,
    names: Mapping[int, str],
    seed: int = 0,
    steps: int | None = None,
    device: str | torch.device = "cpu",
    told: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Train on some segments and draw the label maps of others.

    Every training takes the same number of steps, however many segments there are, and keeps the weights that did
    best on 15 % of its own segments. Rows that are empty in all segments are left away.

    Args:
        hu: (n, H, W) HU.
        masks: (n, H, W) whole numbers, 0 for background.
        asked: (m, H, W) HU.
        names: value to name of every label in ``masks``.
        seed: of the first weights, the order of the segments and their changes.
        steps: of 8 segments each; 150 if not given.
        device: of torch.
        told: called with the number of steps done and of all.

    Returns:
        (m, H, W) uint8.

    Raises:
        InputError: sides that are no multiples of 8, pixels that are not finite, or a label without a name.
    """
    check_slices(hu, masks)
    lowest, highest = (float(np.rint(limit(hu))) for limit in (np.min, np.max))
    rows = _rows([hu, asked], lowest)
    trained = train_segmenter(
        hu[:, rows],
        masks[:, rows],
        names,
        window_hu=(lowest, max(highest, lowest + 1)),
        seed=seed,
        steps=STEPS if steps is None else steps,
        patience=None,
        device=device,
        progress=None if told is None else _Told(told),
    )
    found = np.zeros(np.shape(asked), np.uint8)
    found[:, rows] = trained.segment(asked[:, rows])
    return found


def overlaps(truth: np.ndarray, found: np.ndarray) -> dict[int, Callable[[np.ndarray], float]]:
    """Dice of each label of the truth, as a function of how often each segment counts.

    Args:
        truth, found: (n, H, W) whole numbers, 0 for background.

    Returns:
        Label to a function of (n,) weights: the mean over the segments in which the truth or what was found has that
        label; nan where none has.
    """
    return {
        int(label): _mean_of(each)
        for label, each in dice(found, truth, [label for label in np.unique(truth) if label]).items()
    }


def _mean_of(values: np.ndarray) -> Callable[[np.ndarray], float]:
    known = np.isfinite(values)
    values = values[known]

    def of(weights: np.ndarray) -> float:
        total = weights[known].sum()
        return float(weights[known] @ values / total) if total > 0 else float("nan")

    return of


def _rows(sets: list[np.ndarray], lowest: float) -> slice:
    """The rows in which segments differ from their background, and some around them, so many that the network fits."""
    size = sets[0].shape[1]
    content = np.flatnonzero(np.any([(np.asarray(hu) > lowest + 0.5).any((0, 2)) for hu in sets], axis=0))
    if not len(content):
        return slice(0, size)
    first, last = max(content[0] - DIVISOR, 0), min(content[-1] + DIVISOR + 1, size)
    count = min(-(-(last - first) // DIVISOR) * DIVISOR, size)
    first = min(first, size - count)
    return slice(int(first), int(first + count))
