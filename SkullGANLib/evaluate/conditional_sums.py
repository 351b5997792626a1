"""Sums over the pixels of each label in each slice, and figures of them with intervals over subjects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from SkullGANLib.evaluate.bootstrap import Resampling, figure_of
from SkullGANLib.evaluate.registry import Figure


class Regions:
    """The pixels of each value in some slices.

    Args:
        masks: (slices, H, W) whole numbers, all of them among ``values``.
        values: from 0 to 255.

    Attributes:
        counts: (slices, values) pixels.
    """

    def __init__(self, masks: np.ndarray, values: list[int]) -> None:
        place = np.zeros(256, np.int64)
        place[values] = np.arange(len(values))
        masks = np.asarray(masks, np.uint8)
        self._shape = len(masks), len(values)
        self._at = place[masks] + len(values) * np.arange(len(masks))[:, None, None]
        self.counts = self.sums(np.ones(masks.shape))

    def sums(self, pixels: np.ndarray) -> np.ndarray:
        """(slices, values) sums of (slices, H, W) numbers."""
        return np.bincount(self._at.ravel(), pixels.ravel(), self._shape[0] * self._shape[1]).reshape(self._shape)

    def spreads(self, pixels: np.ndarray) -> np.ndarray:
        """Sums of squared differences from the mean of the value in the slice."""
        means = self.sums(pixels) / np.maximum(self.counts, 1)
        return self.sums((pixels - means.ravel()[self._at]) ** 2)


class SubjectSums:
    """Figures of numbers that add up over the slices of a subject, with intervals over subjects.

    Args:
        subjects: (n,) of the slices; None where they are not known, which leaves no interval.
        n: slices.
        seed: of the bootstrap.

    Attributes:
        count: of subjects; 1 where they are not known.
        group: (n,) number of the subject of each slice.
    """

    def __init__(self, subjects: np.ndarray | None, n: int, seed: int) -> None:
        names, group = (np.zeros(1), np.zeros(n, int)) if subjects is None else np.unique(subjects, return_inverse=True)
        self.known, self.count, self.group, self.seed = subjects is not None, len(names), group.reshape(-1), seed

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(n,) numbers of slices as (subjects,) sums."""
        return np.bincount(self.group, values, self.count)

    def figure(self, statistic: Callable[[np.ndarray], float], shown: np.ndarray, unit: str = "") -> Figure:
        """A figure of (subjects,) weights, behind which stand the slices where ``shown``, (n,), is true."""
        n, subjects = int(shown.sum()), len(np.unique(self.group[shown]))
        of = Resampling(self.count, np.arange(self.count))
        with np.errstate(invalid="ignore", divide="ignore"):
            if not np.isfinite(statistic(np.ones(self.count))):
                return Figure(value=None, unit=unit, n=n, seed=self.seed)
            found = figure_of(statistic, [of], unit=unit, seed=self.seed)
        changes = {"n": n, "subjects": subjects if self.known else None}
        if subjects < 2:  # of all that were drawn, one alone would have a say
            changes |= {"interval": None, "resampled": None}
        return found.model_copy(update=changes)

    def ratio(self, over: np.ndarray, under: np.ndarray, unit: str = "") -> Figure:
        """Sum of ``over``, (n,), by that of ``under``, which is 0 in slices that do not count."""
        a, b = self.sums(over), self.sums(under)
        return self.figure(lambda w: (w @ a) / (w @ b), under > 0, unit)
