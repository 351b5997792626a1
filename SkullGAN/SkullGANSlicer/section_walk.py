"""The group of section 3 that shows what lies between the images of a model, as a video and to be played in Slicer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from SkullGANLib.jobs import Job, JobState

from .section import Section
from .walks import WALK

if TYPE_CHECKING:
    from .panel import Panel

SUFFIX = ".mp4"
NAMED = 6  # classes; of more only the ends


class WalkSection(Section):
    """How long the walk is, what it passes, and where the video is."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self.ui.walkButton.clicked.connect(lambda checked=False: panel.toggle(WALK, self.onWalk))

    def update(self) -> None:
        ui = self.ui
        tip = _("Draw the images of the walk, write them as a video, and play them in the scene.")
        self.startButton(ui.walkButton, WALK, _("Make video..."), self._why(), tip)
        ui.walkWayLabel.text = self._way()

    def forget(self) -> None:
        self.ui.walkLabel.text = ""

    def onWalk(self) -> None:
        caption, kinds = _("Save the video"), _("Video (*.mp4);;Animated picture (*.png)")
        offered = os.path.join(os.path.dirname(self.parameters.syntheticPath), f"walk{SUFFIX}")
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), caption, offered, kinds)
        if not path or self.parameters is None:
            return
        parameters, named = self.parameters, bool(Path(path).suffix)
        self.logic.walk(
            self.panel.generate.modelPath(),
            path if named else path + SUFFIX,
            classes=list(self.panel.classes.asked()),
            frames=parameters.walkFrames,
            per_second=parameters.walkPerSecond,
            seed=parameters.seed,
            device=parameters.device,
            overwrite=named,  # which the dialog has asked for
            wait=False,
        )

    def jobStarted(self, job: Job) -> None:
        if job.title == WALK:
            self.ui.walkLabel.text = ""

    def jobFinished(self, job: Job) -> None:
        if job.title == WALK and job.state is JobState.DONE:
            words = _("The video is {path}. The toolbar Sequence browser plays its frames here.")
            self.ui.walkLabel.text = words.format(path=job.result["out"])

    def _way(self) -> str:
        """What the walk passes."""
        classes, checked = self.panel.generate.classes, list(self.panel.classes.asked())
        if not classes:
            return _("From one image to another.")
        if not checked:
            return _("No class is checked above: it stays in one, drawn by the seed.")
        if len(checked) == 1:
            return _("Stays in {name}.").format(name=checked[0])
        if len(checked) > NAMED:
            return _("From {first} through {n} classes to {last}.").format(
                first=checked[0], n=len(checked) - 2, last=checked[-1]
            )
        return _("From {names}.").format(names=_(" to ").join(checked))

    def _why(self) -> str:
        wrong = self.panel.status.whyNoTorch() or self.panel.generate.whyNoModel()
        if not wrong and os.path.isfile(self.panel.generate.modelPath()):
            return _("Released weights have no card to tell what they draw: choose a model folder.")
        return wrong
