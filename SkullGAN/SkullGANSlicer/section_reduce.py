"""The part of section 4 that brings two data sets of different pixels together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from slicer.i18n import tr as _

from SkullGANLib.errors import SkullGANError
from SkullGANLib.files import read_json
from SkullGANLib.jobs import Job, JobState

from .datasets import REDUCTION
from .section import Section

if TYPE_CHECKING:
    from .panel import Panel

META_FILE = "dataset.json"
SETS = ("realPath", "evaluatedPath")  # parameters of those that are compared
SMALLEST_PX = 32  # of a data set


class ReduceSection(Section):
    """A sentence and a button, shown only where the pixels differ."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._reducing = ""
        self.ui.reduceButton.clicked.connect(lambda checked=False: panel.toggle(REDUCTION, self.onReduce))
        for widget in (self.ui.pixelsLabel, self.ui.reduceButton):
            widget.visible = False

    def update(self) -> None:
        ui, spacings = self.ui, [mm for mm, _size in self._pixels()]
        differ = all(spacings) and not np.isclose(*spacings, rtol=1e-3)
        for widget in (ui.pixelsLabel, ui.reduceButton):
            widget.visible = differ
        if not differ:
            return
        words = _("The pixels differ: {real:g} mm in the real data set, {synthetic:g} mm in the synthetic one.")
        ui.pixelsLabel.text = words.format(real=spacings[0], synthetic=spacings[1])
        _name, size = self._finer()
        why = "" if size else _("One pixel is no whole multiple of the other: make one of the data sets anew.")
        words = _("Write the finer data set with {size} x {size} pixels into a folder beside it, and compare that one.")
        self.startButton(ui.reduceButton, REDUCTION, _("Reduce pixels"), why, words.format(size=size))

    def onReduce(self) -> None:
        name, size = self._finer()
        path = getattr(self.parameters, name)
        out = f"{Path(path)}-{size}px"
        if self.panel.mayReplace(out, META_FILE):
            self._reducing = path
            self.logic.reduce(path, size, out, overwrite=True, wait=False)

    def jobFinished(self, job: Job) -> None:
        """Compare the data set that was made, where the user has not chosen another one meanwhile."""
        if job.title != REDUCTION:
            return
        parameters, source, self._reducing = self.panel.saved(), self._reducing, ""
        for name in SETS if source and job.state is JobState.DONE else ():
            if getattr(parameters, name) == source:
                setattr(parameters, name, job.result["dataset"])

    def _pixels(self) -> list[tuple[float, int]]:
        return [pixels(getattr(self.parameters, name)) for name in SETS]

    def _finer(self) -> tuple[str, int]:
        """Parameter of the data set of finer pixels, and how many it may have along a side; 0 where none will do."""
        (real, _real), (synthetic, _synthetic) = found = self._pixels()
        index = int(synthetic < real)
        size, side = found[index][1], max(real, synthetic) / min(real, synthetic)
        whole = np.isclose(side, round(side), rtol=1e-3) and not size % round(side)
        size = size // round(side) if whole else 0
        return SETS[index], size if size >= SMALLEST_PX else 0


def pixels(path: str) -> tuple[float, int]:
    """Pixel size in mm and pixels along a side of a data set; zeros where there is none."""
    try:
        facts = read_json(os.path.join(path, META_FILE)) if path else {}
        return float(facts["spacing_mm"]), int(facts["size"])
    except (SkullGANError, OSError, ValueError, KeyError, TypeError):
        return 0.0, 0
