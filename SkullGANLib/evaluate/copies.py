"""Which segments are copies of others: their distance measured by how close segments of other people come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SkullGANLib.evaluate.closest import CHUNK, Closest, Prepared, find_closest, first_look
from SkullGANLib.evaluate.registry import EvaluatedSet, spread
from SkullGANLib.progress import Progress, report

COPY_RATIO = 0.5
"""Below this share of the distance that other people's segments keep, a segment is called a copy."""
NEIGHBOURS = 5
POOL = 1000
"""At most so many honest segments are measured, spread evenly over their set."""
LEAST_YARDSTICK_HU, LONGEST_YARDSTICK_HU = 100.0, 200.0
"""No yardstick is shorter or longer. Segments of two heads were at least 130 HU apart, in head phantoms and in scans at
0.45 mm, and a copy 50 HU at most. The first matters where the yardstick itself is spoilt by copies, or where there is
none; the other where the honest heads are few and unlike: two scans of different scanners are up to 500 HU apart."""
FEW_SUBJECTS = 5
"""With fewer honest subjects the yardstick is of their heads as much as of people."""


@dataclass(frozen=True)
class Yardstick:
    """How close segments come to the training set whose heads are not in it.

    Attributes:
        kind: "held-out subjects", "other subjects" of the training set, or "none".
        why: where there is none, why, as a sentence.
        rows: (P,) positions of the honest segments in their set.
        looks: the honest segments.
        subjects: (P,) whole number for each subject; a number of its own for each segment where they are not known.
        closest: of the honest segments in the training set, their own subjects left out.
    """

    kind: str
    why: str = ""
    rows: np.ndarray | None = None
    looks: Prepared | None = None
    subjects: np.ndarray | None = None
    closest: Closest | None = None

    @property
    def caution(self) -> str:
        """What to know before trusting what is measured with it, as a sentence; empty where nothing is."""
        if self.closest is None:
            return f"Copies are told by their distance alone. {self.why}"
        subjects = len(np.unique(self.subjects))
        if subjects >= FEW_SUBJECTS:
            return ""
        return (
            f"How close honest segments come was measured on {subjects} subjects only: segments that merely resemble "
            "training ones may be called copies. Look at the pairs."
        )

    def at(self, queries: Prepared, *, own: np.ndarray | None = None, progress: Progress | None = None) -> np.ndarray:
        """The length of the yardstick where each query lies: (M,) HU.

        The median of the distances that the most similar honest segments keep from the training set, one of each
        subject as far as there are subjects enough, so that a single head that stands on both sides does not count.

        Args:
            queries: to be measured.
            own: (M,) the queries' subjects, numbered as ``subjects``, which are left out; None for none.
            progress: told the queries done.
        """
        lengths = np.full(len(queries), LEAST_YARDSTICK_HU)
        if self.closest is None:
            return lengths
        known = np.isfinite(self.closest.distance_hu)
        for start in range(0, len(queries), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(queries)))
            report(progress, start, len(queries), "Measuring how close other people's segments come")
            for row, look in zip(rows, first_look(queries, rows, self.looks).min(axis=2), strict=True):
                usable = np.flatnonzero(known if own is None else known & (self.subjects != own[row]))
                near = usable[_one_of_each(look[usable], self.subjects[usable])]
                if len(near):
                    lengths[row] = float(np.median(self.closest.distance_hu[near]))
        return lengths.clip(LEAST_YARDSTICK_HU, LONGEST_YARDSTICK_HU)


@dataclass(frozen=True)
class Copies:
    """What was found of M segments.

    Attributes:
        closest: segment of the training set, its distance, whether mirrored.
        yardstick_hu: (M,) distance that other people's segments keep.
    """

    closest: Closest
    yardstick_hu: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """(M,) distance over yardstick; infinite for a segment without bone."""
        return self.closest.distance_hu / self.yardstick_hu

    @property
    def flagged(self) -> np.ndarray:
        """(M,) bool: called a copy."""
        return self.ratio < COPY_RATIO


def make_yardstick(
    training: EvaluatedSet, prepared: Prepared, held_out: EvaluatedSet | None, *, progress: Progress | None = None
) -> Yardstick:
    """Measure how close honest segments come to the training set.

    Args:
        training: the training set.
        prepared: its segments.
        held_out: segments of other heads; None to take those of the training set, each against the other subjects.
        progress: told the segments done.
    """
    honest = training if held_out is None else held_out
    if held_out is None:
        if training.subjects is None:
            return Yardstick("none", "The subjects of the training set are not known, and no part of it is held out.")
        if len(np.unique(training.subjects)) < 2:
            return Yardstick("none", "The training set is of a single subject, and no part of it is held out.")
    rows = spread(len(honest), POOL)
    both = [None if honest.subjects is None else honest.subjects[rows], training.subjects]
    allowed, subjects = None, np.arange(len(rows))
    if both[0] is not None:
        subjects = np.unique(both[0], return_inverse=True)[1].reshape(-1)
        if both[1] is not None:

            def allowed(chosen: np.ndarray) -> np.ndarray:
                return both[0][chosen][:, None] != both[1][None, :]

    looks = Prepared(honest.hu[rows])
    closest = find_closest(
        looks, prepared, allowed=allowed, progress=progress, message="Measuring how close other people's segments come"
    )
    return Yardstick("other subjects" if held_out is None else "held-out subjects", "", rows, looks, subjects, closest)


def look_for_copies(
    queries: Prepared, training: Prepared, yardstick: Yardstick, *, progress: Progress | None = None
) -> Copies:
    """Compare each query with the training set: its distance, and the yardstick where it lies."""
    closest = find_closest(queries, training, progress=progress)
    return Copies(closest, yardstick.at(queries, progress=progress))


def false_alarms(yardstick: Yardstick, *, progress: Progress | None = None) -> Copies:
    """The same of the honest segments themselves, each without its own subject's part in the yardstick."""
    return Copies(yardstick.closest, yardstick.at(yardstick.looks, own=yardstick.subjects, progress=progress))


def rule_words(yardstick: Yardstick) -> str:
    """By what rule a segment is called a copy."""
    if yardstick.closest is None:
        return f"less than {COPY_RATIO * LEAST_YARDSTICK_HU:g} HU away from the closest one"
    whose = "held-out" if yardstick.kind == "held-out subjects" else "other"
    return (
        f"less than {COPY_RATIO:g} times as far from the closest one as similar segments of {whose} subjects are, "
        f"{COPY_RATIO * LONGEST_YARDSTICK_HU:g} HU at most"
    )


def _one_of_each(looks: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Positions of the ``NEIGHBOURS`` most similar, the best of each subject first, then the second best."""
    order = np.argsort(looks, kind="stable")
    by_subject = np.argsort(subjects[order], kind="stable")
    ordered = subjects[order][by_subject]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    rank = np.empty(len(order), int)
    rank[by_subject] = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return order[np.argsort(rank, kind="stable")[:NEIGHBOURS]]
