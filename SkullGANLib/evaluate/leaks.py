"""Leaks between the parts of a data set: subjects in two of them, and segments of one that have a copy in another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.closest import Prepared, find_closest, too_small
from SkullGANLib.evaluate.copies import Copies, Yardstick, make_yardstick, rule_words
from SkullGANLib.evaluate.memorisation import share_flagged, yardstick_of
from SkullGANLib.evaluate.registry import (
    EvaluatedSet,
    EvaluationInput,
    Figure,
    MetricResult,
    metric,
)
from SkullGANLib.progress import Progress
from SkullGANLib.segments.splits import subjects_in_several_parts
from SkullGANLib.segments.table import UNKNOWN_SUBJECT

Part = tuple[str, np.ndarray, np.ndarray, Prepared]
"""Name, (n,) subjects, (n,) rows and segments of a part of a data set."""


@dataclass(frozen=True)
class Leaks:
    """What was found.

    Attributes:
        parts: name to number of segments.
        subjects: pseudonyms that stand in more than one part.
        unknown: segments whose subject is not known: of those nothing can be said.
        pairs: near-duplicates as a table: ``part``, ``row``, ``subject`` of one segment, ``other_part``, ``other_row``,
            ``other_subject`` of the closest of another part, ``distance_hu``, ``ratio``, ``mirrored``; the closest
            pairs first.
        yardstick: by which they are called near-duplicates.
    """

    parts: dict[str, int]
    subjects: list[str]
    unknown: int
    pairs: dict[str, np.ndarray]
    yardstick: Yardstick

    def __len__(self) -> int:
        return len(self.pairs["row"])

    def __bool__(self) -> bool:
        return bool(self.subjects) or len(self) > 0

    @property
    def doubt(self) -> str:
        """Why a subject may stand in two parts all the same; empty where none can."""
        if not self.unknown:
            return ""
        return (
            f"The subjects of {self.unknown} of {sum(self.parts.values())} segments are not known, so a head that "
            "stands in two parts may go unseen."
        )

    def sentences(self) -> list[str]:
        """What was found, in words; none where nothing was."""
        found = []
        if self.subjects:
            one = len(self.subjects) == 1
            found.append(
                f"Subject leak: {len(self.subjects)} subject{' stands' if one else 's stand'} in more than one part: "
                f"{_few(self.subjects)}."
            )
        if len(self):
            both = zip(self.pairs["row"], self.pairs["other_row"], strict=True)
            one = len(self) == 1
            found.append(
                f"Near-duplicates: {len(self)} segment{' has' if one else 's have'} a copy in another part, "
                f"{rule_words(self.yardstick)} (rows {_few([f'{a} and {b}' for a, b in both])})."
            )
        return found


def find_leaks(each: EvaluatedSet, *, progress: Progress | None = None) -> Leaks:
    """Compare the parts of a data set, as its column ``split`` has them, with each other.

    Every segment is compared with all of every other part, as copies are: blurred, shifted, mirrored. Neighbouring
    slices of one head are no leak as long as they stand in one part.

    Args:
        each: the whole set; its table has the columns ``subject`` and ``split``.
        progress: told the segments compared.

    Raises:
        InputError: fewer than two parts.
    """
    split = each.table["split"]
    names = [str(name) for name in np.unique(split) if name]
    if len(names) < 2:
        raise InputError(
            f"The data set has {'one part only' if names else 'no parts'}, so nothing can leak from one to another.",
            "Split it first.",
        )
    rows = {name: np.flatnonzero(split == name) for name in names}
    whole = Prepared(each.hu, progress=progress)
    yardstick = make_yardstick(each, whole, None, progress=progress)
    found = []
    for pair in combinations(names, 2):
        few, many = (
            (name, each.table["subject"][rows[name]], each.rows[rows[name]], whole.take(rows[name]))
            for name in sorted(pair, key=lambda name: len(rows[name]))
        )
        found.append(_near_duplicates(few, many, yardstick, progress))
    pairs = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    order = np.argsort(pairs["ratio"], kind="stable")
    return Leaks(
        {name: len(rows[name]) for name in names},
        subjects_in_several_parts(each.table),
        int((~_known(each.table["subject"][split != ""])).sum()),
        {name: column[order] for name, column in pairs.items()},
        yardstick,
    )


@metric("leaks", title="Leaks between training and held-out", group="memorisation")
def leaks(given: EvaluationInput) -> MetricResult:
    """Subjects that stand in the training and in the held-out part, and held-out segments with a copy in training."""
    if not given.held_out or too_small(given.real.hu):
        return MetricResult()
    real, parts, yardstick = given.real, {"held-out": given.real, "training": given.training}, yardstick_of(given)
    names = [each.table.get("subject", np.full(len(each), "unknown")) for each in parts.values()]
    both = (
        (part, of_part, each.rows, given.feature("aligned", each))
        for (part, each), of_part in zip(parts.items(), names, strict=True)
    )
    pairs = _near_duplicates(*both, yardstick, given.progress)
    known = [_known(of_part) for of_part in names]
    shared = np.intersect1d(*(of_part[of_known] for of_part, of_known in zip(names, known, strict=True))).tolist()
    counts = {part: len(each) for part, each in parts.items()}
    told = [] if real.source == given.training.source else shared  # of one data set, check_split has said so
    found = Leaks(counts, told, int((~np.concatenate(known)).sum()), pairs, yardstick)
    duplicates = share_flagged(np.isin(real.rows, pairs["row"])).model_copy(update={"seed": given.seed})
    result = MetricResult(figures={"near_duplicates": duplicates}, warnings=found.sentences())
    if all(each.any() for each in known):
        result.figures["subjects"] = Figure(value=len(shared), n=int(np.concatenate(known).sum()), seed=given.seed)
    if found.doubt:
        result.left_out.append(found.doubt)
    result.columns["real"] = {"duplicate_row": np.full(len(real), -1)}
    result.columns["real"]["duplicate_row"][np.searchsorted(real.rows, pairs["row"])] = pairs["other_row"]
    return result


def _known(subjects: np.ndarray) -> np.ndarray:
    """(n,) bool: whose head a segment is of."""
    return ~np.isin(subjects, [*UNKNOWN_SUBJECT])


def _near_duplicates(few: Part, many: Part, yardstick: Yardstick, progress: Progress | None) -> dict[str, np.ndarray]:
    """Pairs of a segment of one part and its closest of the other, as a table; see ``Leaks``."""
    (part, subjects, rows, queries), (other, other_subjects, other_rows, references) = few, many
    closest = find_closest(queries, references, progress=progress, message=f"Comparing {part} with {other}")
    copies = Copies(closest, yardstick.at(queries, progress=progress))
    at = np.flatnonzero(copies.flagged)
    there = closest.index[at]
    return {
        "part": np.full(len(at), part),
        "row": rows[at],
        "subject": subjects[at],
        "other_part": np.full(len(at), other),
        "other_row": other_rows[there],
        "other_subject": other_subjects[there],
        "distance_hu": closest.distance_hu[at],
        "ratio": copies.ratio[at],
        "mirrored": closest.mirrored[at].astype(np.int64),
    }


def _few(words: list[str], most: int = 10) -> str:
    return ", ".join(words[:most]) + (", ..." if len(words) > most else "")
