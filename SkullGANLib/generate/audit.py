"""The gate before synthetic segments leave the house: none may be a copy of one that the model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from SkullGANLib import __version__
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.closest import Prepared
from SkullGANLib.evaluate.copies import (
    COPY_RATIO,
    LEAST_YARDSTICK_HU,
    LONGEST_YARDSTICK_HU,
    look_for_copies,
    make_yardstick,
    rule_words,
)
from SkullGANLib.evaluate.memorisation import share_flagged
from SkullGANLib.evaluate.registry import EvaluatedSet
from SkullGANLib.models.card import ModelCard
from SkullGANLib.progress import Progress
from SkullGANLib.segments.arrays import block_means
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.table import CopiesChoice, stack_tables


class CheckedSet(BaseModel):
    """A data set that segments were checked against: its fingerprint, and how much of it was training data.

    ``trained_on`` tells whether the model says that it was trained on this very set; None where it says nothing.
    """

    model_config = ConfigDict(extra="forbid")

    fingerprint: str
    kind: str
    segments: int
    subjects: int
    trained_on: bool | None


class CopyAudit(BaseModel):
    """What a check for copies found, as it travels with the segments.

    Attributes:
        against: the data sets.
        not_checked: sets that the model was trained on and that were not among them.
        rule: when a segment is called a copy, in words.
        ratio, least_yardstick_hu, longest_yardstick_hu: the numbers in it.
        yardstick: whose segments it was measured by: "held-out subjects", "other subjects", or "none".
        honest: how many these were.
        checked, flagged, share, interval: segments drawn, copies among them, their share and its 95 % interval.
        images: numbers of the images flagged, as the seed counts them.
        classes: class asked for to copies and segments drawn, for a model with classes.
        copies: what was done with them: drop or keep; "refuse" where there were none to do anything with.
        notes: what to know before trusting this, as sentences.
        library_version: of this library.
    """

    model_config = ConfigDict(extra="forbid")

    against: list[CheckedSet]
    not_checked: int = 0
    rule: str
    ratio: float = COPY_RATIO
    least_yardstick_hu: float = LEAST_YARDSTICK_HU
    longest_yardstick_hu: float = LONGEST_YARDSTICK_HU
    yardstick: str
    honest: int = 0
    checked: int
    flagged: int
    share: float
    interval: tuple[float, float]
    images: list[int]
    classes: dict[str, tuple[int, int]] = {}
    copies: CopiesChoice = "refuse"
    notes: list[str] = []
    library_version: str = __version__

    def sentence(self) -> str:
        """The outcome in one line."""
        compared = sum(each.segments for each in self.against)
        what = (
            f"{self.flagged or 'None'} of {self.checked} segments {'are copies' if self.flagged > 1 else 'is a copy'}"
        )
        return f"{what} of training segments ({compared} compared)."


def audit_copies(
    hu: np.ndarray,
    card: ModelCard,
    sets: Sequence[SegmentDataset],
    *,
    first: int = 0,
    progress: Progress | None = None,
) -> tuple[CopyAudit, np.ndarray]:
    """Check drawn segments against what the model was trained on.

    Args:
        hu: (N, size, size) HU, as drawn.
        card: of the model.
        sets: the data sets it was trained on, whole: the part ``train`` is what copies are looked for in, and the other
            parts tell how close segments of other heads come.
        first: number of the first image.
        progress: told the segments compared.

    Returns:
        The audit, and which segments are copies, (N,) bool.

    Raises:
        InputError: no set, or one of another pixel spacing, size or background.
    """
    if not sets:
        raise InputError("There is nothing to check against.", "Give the data set that the model was trained on.")
    parts = [_parts(each, hu.shape[1], card) for each in sets]
    training = _joined("training", [part for part, _ in parts])
    others = [other for _, other in parts if len(other)]
    prepared = Prepared(training.hu, progress=progress)
    held_out = _joined("real", others) if others else None
    yardstick = make_yardstick(training, prepared, held_out, progress=progress)
    found = look_for_copies(Prepared(hu, progress=progress), prepared, yardstick, progress=progress)
    figure, flagged = share_flagged(found.flagged), found.flagged
    known = card.training.get("data_sets", [])
    checked = [
        CheckedSet(
            fingerprint=each.fingerprint,
            kind=each.meta.kind,
            segments=len(part),
            subjects=len(np.unique(part.table["subject"])),
            trained_on=each.fingerprint in known if known else None,
        )
        for each, (part, _) in zip(sets, parts, strict=True)
    ]
    missed = len(set(known) - {each.fingerprint for each in sets})
    audit = CopyAudit(
        against=checked,
        not_checked=missed,
        rule=f"Copies of training segments are {rule_words(yardstick)}.",
        yardstick=yardstick.kind,
        honest=0 if yardstick.rows is None else len(yardstick.rows),
        checked=len(hu),
        flagged=int(flagged.sum()),
        share=figure.value,
        interval=figure.interval,
        images=(first + np.flatnonzero(flagged)).tolist(),
        notes=_notes(checked, missed, yardstick.caution),
    )
    return audit, flagged


def kept_rows(audit: CopyAudit, flagged: np.ndarray, copies: CopiesChoice) -> np.ndarray:
    """Rows of the segments to write; notes in the audit what was done with copies.

    Args:
        audit, flagged: from ``audit_copies``.
        copies: refuse, drop or keep.

    Raises:
        InputError: there are copies and they are to be refused, or all are copies and they are to be dropped.
    """
    audit.copies = copies
    if not flagged.any() or copies == "keep":
        return np.arange(len(flagged))
    if copies == "drop" and not flagged.all():
        return np.flatnonzero(~flagged)
    numbers = ", ".join(map(str, audit.images[:10])) + (", ..." if audit.flagged > 10 else "")
    raise InputError(
        f"{audit.sentence()} {audit.rule} Images {numbers}. Nothing was written.",
        "A model that copies was trained on too little, or for too long."
        + (" Leave the copies out with --copies drop, or mark them with keep." if copies == "refuse" else ""),
    )


def audited(
    hu: np.ndarray,
    conditions: Mapping[str, np.ndarray],
    card: ModelCard,
    sets: Sequence[SegmentDataset],
    copies: CopiesChoice,
    *,
    first: int = 0,
    progress: Progress | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray], CopyAudit, dict[str, Any]]:
    """Check drawn segments and do about copies what was asked for.

    Args:
        hu, card, sets, first, progress: see ``audit_copies``.
        conditions: name to the (N,) values that the images were asked for.
        copies: see ``kept_rows``.

    Returns:
        Segments and conditions to write, the audit, and what ``write_segments`` is to be told beside.
    """
    audit, flagged = audit_copies(hu, card, sets, first=first, progress=progress)
    words = conditions.get("class", np.empty(0, str))
    audit.classes = {str(w): (int(flagged[words == w].sum()), int((words == w).sum())) for w in np.unique(words)}
    rows = kept_rows(audit, flagged, copies)
    told: dict[str, Any] = {"facts": {"audit": audit.model_dump(mode="json")}}
    if len(rows) < len(hu):
        told["images"] = first + rows
    if copies == "keep":
        told["columns"] = {"copy": flagged.astype(np.int64)}
    return hu[rows], {name: values[rows] for name, values in conditions.items()}, audit, told


def _parts(dataset: SegmentDataset, size: int, card: ModelCard) -> tuple[EvaluatedSet, EvaluatedSet]:
    """What is trained on of a set, and what is held out, at the model's size."""
    times, rest = divmod(dataset.meta.size, size)
    if rest or not np.isclose(dataset.meta.spacing_mm * times, card.spacing_mm, rtol=1e-3):
        raise InputError(
            f"The model draws {size}x{size} pixels of {card.spacing_mm:g} mm, the data set has "
            f"{dataset.meta.size}x{dataset.meta.size} of {dataset.meta.spacing_mm:g} mm.",
            "Give the data set that the model was trained on.",
        )
    if dataset.meta.background_hu != card.background_hu:
        raise InputError(
            f"The background of the model is {card.background_hu:g} HU, that of the data set "
            f"{dataset.meta.background_hu:g} HU.",
            "Give the data set that the model was trained on.",
        )
    split, sound = dataset.table["split"], dataset.table["quality"] == "ok"
    trained = split == "train" if (split == "train").any() else np.ones(len(dataset), bool)
    held_out = sound & ~trained & (split != "")
    if not (sound & trained).any():
        raise InputError("The data set holds no segment to train on.", "Check its columns split and quality.")
    return tuple(_part(dataset, np.flatnonzero(rows), times) for rows in (sound & trained, held_out))


def _part(dataset: SegmentDataset, rows: np.ndarray, times: int) -> EvaluatedSet:
    hu = dataset.hu[rows]
    if times > 1:  # as in training
        size = dataset.meta.size // times
        hu = np.array([block_means(each, times) for each in hu], np.float32).reshape(-1, size, size)
    table = {name: dataset.table[name][rows] for name in ("index", "subject")}
    return EvaluatedSet("training", hu, dataset.fingerprint, table, rows, dataset.meta.kind)


def _joined(name: str, sets: Sequence[EvaluatedSet]) -> EvaluatedSet:
    if len(sets) == 1:
        return sets[0]
    return EvaluatedSet(
        name,
        np.concatenate([each.hu for each in sets]),
        "+".join(each.fingerprint for each in sets),
        stack_tables([each.table for each in sets]),
        kind="real",
    )


def _notes(checked: Sequence[CheckedSet], missed: int, caution: str) -> list[str]:
    found = []
    if any(each.trained_on is None for each in checked):
        found.append("The model does not say which data set it was trained on.")
    others = sum(each.trained_on is False for each in checked)
    if others:
        found.append(
            f"{others} of {len(checked)} data sets checked against {'is' if others == 1 else 'are'} not what the model "
            "says it was trained on (the fingerprint is another)."
        )
    if missed:
        found.append(
            f"The model was trained on {missed} data set{'s' if missed > 1 else ''} that it was not checked against."
        )
    if caution:
        found.append(caution)
    return found
