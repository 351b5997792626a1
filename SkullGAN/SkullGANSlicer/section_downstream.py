"""The group of section 4 that tries whether the synthetic segments are of use for learning a task."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from .downstream import SEGMENT, TRIAL
from .inputs import holdsSegments
from .section import Section
from .widgets import allow, fillChoices, fillTable
from .words import forPanel

if TYPE_CHECKING:
    from .panel import Panel

QUICK_STEPS = 60  # of a training that is to show that all works


class DownstreamSection(Section):
    """The task, how often it is learnt, and the scores."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        ui, bindings = self.ui, panel.bindings
        bindings.path(ui.downstreamPathLineEdit, "downstreamPath")
        bindings.choice(ui.downstreamTaskComboBox, "downstreamTask")
        ui.downstreamButton.clicked.connect(lambda checked=False: panel.toggle(TRIAL, self.onTry))
        ui.openDownstreamButton.clicked.connect(lambda checked=False: panel.attempt(self.onOpen))
        self.logic.shown.connect(self.onShown)
        self.forget()

    def update(self) -> None:
        parameters, ui = self.parameters, self.ui
        choices = [
            (_("Tell apart: all that the sets allow"), "all"),
            (_("Tell apart: temporal and parietal bone"), "region"),
            (_("Tell apart: low and high skull density ratio"), "density"),
            (_("Tell apart: thin and thick bone"), "thickness"),
            (_("Tell apart: the classes"), "class"),
            (_("Segment: label maps, which both sets need"), SEGMENT),
        ]
        fillChoices(ui.downstreamTaskComboBox, choices, parameters.downstreamTask)
        ui.downstreamSeedsSpinBox.enabled = not parameters.downstreamQuick
        tip = _("Learn the task from each mix of segments, and try it on held-out subjects.")
        self.startButton(ui.downstreamButton, TRIAL, _("Try the task"), self._why(), tip)
        there = os.path.isfile(os.path.join(parameters.downstreamPath, "downstream.json"))
        why = "" if there else _("There is no result in the folder yet.")
        allow(ui.openDownstreamButton, why, _("Open the folder of the result."))

    def cleanup(self) -> None:
        self.logic.shown.disconnect(self.onShown)

    def forget(self) -> None:
        fillTable(self.ui.downstreamTable, {})
        self.ui.downstreamTable.visible = False
        self.ui.downstreamLabel.text = ""

    def onTry(self) -> None:
        parameters = self.parameters
        if self.panel.mayReplace(parameters.downstreamPath, "downstream.json"):
            quick = parameters.downstreamQuick
            self.logic.tryTask(
                parameters.realPath,
                parameters.evaluatedPath,
                parameters.downstreamPath,
                task=parameters.downstreamTask,
                seeds=1 if quick else parameters.downstreamSeeds,
                steps=QUICK_STEPS if quick else None,
                device=parameters.device,
                overwrite=True,
                wait=False,
            )

    def onShown(self, what: str, value: Any) -> None:
        """Scores came into the scene, asked for here or in the console."""
        if what != "downstream":
            return
        headings = (_("task"), _("learnt from"), _("score"), _("95 % interval"))
        columns = {name: [row[j] for row in value["rows"]] for j, name in enumerate(headings)}
        fillTable(self.ui.downstreamTable, columns)
        self.ui.downstreamTable.visible = True
        left = [_("Left out: {what}").format(what=what) for what in value["left_out"]]
        self.ui.downstreamLabel.text = " ".join(map(forPanel, [*value["findings"], *value["warnings"], *left]))

    def onOpen(self) -> None:
        self.panel.openPath(self.panel.saved().downstreamPath)

    def _why(self) -> str:
        parameters = self.parameters
        if why := self.panel.status.whyNoTorch():
            return why
        for path, words in ((parameters.realPath, _("real")), (parameters.evaluatedPath, _("synthetic"))):
            if not holdsSegments(path):
                return _("Choose the {which} data set above.").format(which=words)
        return "" if parameters.downstreamPath else _("Choose a folder for the result.")
