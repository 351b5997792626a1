"""What a reader must be told before trusting a comparison, in words."""

from __future__ import annotations

import numpy as np

from SkullGANLib.evaluate.bootstrap import FEW_SUBJECTS
from SkullGANLib.evaluate.radiological import BONE_THRESHOLD_HU, COLUMNS
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, spread
from SkullGANLib.segments.splits import subjects_in_several_parts

FEW_SEGMENTS = 100
CUT_OFF, IN_SEGMENTS = 0.001, 0.1
"""A window is said to cut bone off where more than this share of the bone pixels, in more than that share of the
segments, sit at the largest value of all."""
HIGHEST_HU = 4096
"""Of scanners that write 12 bits; metal alone goes beyond."""
_LOOKED_AT = 500


def check_sets(given: EvaluationInput) -> list[str]:
    """Sentences on too few segments or subjects, subjects in both sets, odd kinds, cut values and odd segments."""
    return [
        *check_origin(given),
        *_subjects(given),
        *(sentence for each in given.sets for sentence in _values(each)),
        *(sentence for each in given.sets for sentence in _content(given, each)),
    ]


def check_split(subjects: np.ndarray, split: np.ndarray) -> list[str]:
    """A sentence if subjects stand in more than one part of a data set; both arrays are (N,)."""
    leaking = subjects_in_several_parts({"subject": subjects, "split": split})
    if not leaking:
        return []
    return [
        f"Subject leak: {len(leaking)} subjects of the real set stand in more than one of its parts, so its test part "
        "is not held out."
    ]


def check_origin(given: EvaluationInput) -> list[str]:
    """Sentences on what the sets say of themselves and does not fit what they were given as."""
    found = []
    if given.real.fingerprint == given.synthetic.fingerprint:
        found.append("Both sets are the same: this report compares a set with itself.")
    if given.real.kind in ("synthetic", "artificial"):
        found.append(f"The set given as real says of itself that it is {given.real.kind}.")
    if given.real.kind == "phantom":
        found.append("The real set comes from head phantoms, not from patients.")
    if given.training.kind and given.real.kind and given.training.kind != given.real.kind:
        found.append(
            f"The training set is of kind {given.training.kind}, the real set of kind {given.real.kind}: what is "
            "learnt from the one or measured by it (two-sample test, encoder, copies) says little about the other."
        )
    if given.synthetic.kind == "real":
        found.append("The set given as synthetic says of itself that it is real.")
    parts = set(given.real.table.get("split", np.empty(0, str)).tolist())
    if given.real.split == "train":
        found.append(
            "The real set is the training part: agreeing with it does not show that the model does well on new heads."
        )
    elif given.real.split == "all" and "train" in parts:
        found.append("The real set holds the training part too: compare with its test part for an honest figure.")
    return found


def _subjects(given: EvaluationInput) -> list[str]:
    found = []
    subjects = given.real.subjects
    if subjects is None:
        found.append(
            "The subjects of the real set are not known: single segments were resampled, so that its intervals are "
            "too narrow."
        )
    else:
        count = len(np.unique(subjects))
        if count == 1:
            found.append("The real set comes from one subject: there is no interval, and nothing is said about others.")
        elif count < FEW_SUBJECTS:
            found.append(f"The real set comes from {count} subjects only: its intervals are too narrow.")
        if given.synthetic.subjects is not None:
            shared = np.intersect1d(subjects, given.synthetic.subjects)
            if len(shared):
                found.append(f"{len(shared)} subjects stand in both sets.")
    if given.synthetic.subjects is not None and len(np.unique(given.synthetic.subjects)) == 1:
        found.append("The synthetic set names a single subject: there is no interval.")
    return found


def _values(each: EvaluatedSet) -> list[str]:
    found = []
    if len(each) < FEW_SEGMENTS:
        found.append(f"The {each.name} set has {len(each)} segments only; take at least {FEW_SEGMENTS}.")
    hu = np.asarray(each.hu[spread(len(each), _LOOKED_AT)])
    if hu.max() > HIGHEST_HU:
        found.append(f"The {each.name} set reaches {hu.max():,.0f} HU, and no bone does: are these values HU?")
    at_end = hu == max(hu.max(), BONE_THRESHOLD_HU)
    share = at_end.sum() / max((hu > BONE_THRESHOLD_HU).sum(), 1)
    if share > CUT_OFF and at_end.any((1, 2)).mean() > IN_SEGMENTS:
        found.append(
            f"{100 * share:.1f} % of the bone pixels of the {each.name} set sit at its largest value, {hu.max():g} HU: "
            "its intensity window cuts bone off there."
        )
    return found


def _content(given: EvaluationInput, each: EvaluatedSet) -> list[str]:
    measured = given.feature("measures", each)
    bone = measured["bone_columns"]
    flagged = each.table.get("quality", np.full(len(each), "ok")) != "ok"
    found = []
    for count, words in (
        ((bone == 0).sum(), "hold no bone and are left out"),
        (flagged.sum(), "are flagged in their table and compared all the same"),
        (
            ((bone > 0) & (bone < COLUMNS)).sum(),
            "do not span the width of the image: columns without bone are left out",
        ),
        (
            (measured["cut_columns"] > 0).sum(),
            "touch the top or bottom of the image, where thickness cannot be measured",
        ),
    ):
        if count:
            found.append(f"{count} of {len(each)} {each.name} segments {words}.")
    return found
