"""What the panel says of copies of training segments among those drawn, and what it asks before they are exported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from SkullGANLib.errors import SkullGANError

if TYPE_CHECKING:
    from SkullGANLib.segments.dataset import SegmentDataset


def trainedOn(card: Any, path: str) -> bool:
    """Whether a model says that it was trained on the data set in this folder."""
    known = card.training.get("data_sets", ())
    if not known or not os.path.isfile(os.path.join(path, "dataset.json")):
        return False
    from SkullGANLib.segments.meta import parse_meta
    from SkullGANLib.segments.store import content_hash

    try:  # from the json alone: a long table takes too long to read in a window
        return content_hash(parse_meta(Path(path)).sha256) in known
    except (SkullGANError, KeyError):
        return False


def auditWords(dataset: SegmentDataset) -> str:
    """Whether the segments were checked for copies, and what came of it."""
    if dataset.meta.kind != "synthetic":
        return ""
    audit = dataset.meta.extra.get("audit")
    if not isinstance(audit, dict):
        return _(
            "Not checked against training data: choose the data set that the model was trained on under "
            "Check against, and generate again."
        )
    words = (
        _("Audit: {flagged} of {checked} segments are copies of training segments.")
        if audit.get("flagged")
        else _("Audit: none of {checked} segments is a copy of a training segment.")
    )
    left_out = _("They were left out.") if audit.get("flagged") and audit.get("copies") == "drop" else ""
    words = words.format(flagged=audit.get("flagged"), checked=audit.get("checked"))
    return " ".join(filter(None, [words, left_out, *audit.get("notes", [])]))


def askAboutCopies(flagged: np.ndarray) -> str:
    """What to do about copies in an export: ``drop`` or ``keep``; empty to cancel. Asks only where there are any."""
    if not flagged.any():
        return "refuse"
    text = _(
        "{n} of {all} segments are copies of segments that the model was trained on. They may show the bone of a "
        "patient.\n\nLeave them out of the export? Press No to export them all the same."
    ).format(n=int(flagged.sum()), all=len(flagged))
    buttons = qt.QMessageBox.Yes | qt.QMessageBox.No | qt.QMessageBox.Cancel
    answer = slicer.util.messageBox(text, windowTitle="SkullGAN", icon=qt.QMessageBox.Question, standardButtons=buttons)
    if answer == qt.QMessageBox.No:
        return "keep"
    return "drop" if answer in (qt.QMessageBox.Yes, qt.QMessageBox.Ok) else ""  # Ok: nobody is there to be asked
