"""Labelled images from a few painted ones: the part of section 3 that draws images to paint, learns from what was
painted, and draws labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from SkullGANLib.jobs import Job, JobState

from .annotations import ANNOTATION, LABELLED, LEARNING
from .section import Section

if TYPE_CHECKING:
    from .panel import Panel


class AnnotateSection(Section):
    """Annotate, learn, generate labelled."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        ui, bindings = self.ui, panel.bindings
        bindings.path(ui.labellerPathLineEdit, "labellerPath")
        bindings.path(ui.labelledSetPathLineEdit, "labelledSetPath")
        ui.annotateButton.clicked.connect(lambda checked=False: panel.toggle(ANNOTATION, self.onAnnotate))
        ui.learnLabelsButton.clicked.connect(lambda checked=False: panel.toggle(LEARNING, self.onLearn))
        ui.generateLabelledButton.clicked.connect(lambda checked=False: panel.toggle(LABELLED, self.onGenerate))

    def update(self) -> None:
        parameters, ui = self.parameters, self.ui
        wrong = self._whyNoModel()
        why = wrong or ("" if self._names() else _("Name what is to be painted."))
        tip = _(
            "Draw images into the scene, with an empty segment for each label, to be painted in the module Segment "
            "Editor."
        )
        self.startButton(ui.annotateButton, ANNOTATION, _("Annotate"), why, tip)
        why = wrong or ("" if parameters.paintedVolume is not None else _("Choose the images that were painted."))
        why = why or ("" if parameters.paintedSegmentation is not None else _("Choose what was painted on them."))
        why = why or ("" if parameters.labellerPath else _("Choose a folder for what is learnt."))
        tip = _("Learn to label what the model draws, from the images that were painted.")
        self.startButton(ui.learnLabelsButton, LEARNING, _("Learn"), why, tip)
        learnt = bool(parameters.labellerPath) and (Path(parameters.labellerPath) / "labeller.json").is_file()
        why = wrong or ("" if learnt else _("Choose the folder of a labeller, or learn one."))
        why = why or ("" if parameters.labelledSetPath else _("Choose a folder for the labelled images."))
        tip = _("Draw images with their label maps into the scene.")
        self.startButton(ui.generateLabelledButton, LABELLED, _("Generate labelled"), why, tip)

    def forget(self) -> None:
        self.ui.annotateLabel.text = ""

    def onAnnotate(self) -> None:
        parameters = self.parameters
        self.logic.annotate(
            self.panel.generate.modelPath(),
            self._names(),
            count=parameters.paintedCount,
            seed=parameters.seed,
            device=parameters.device,
            wait=False,
        )

    def onLearn(self) -> None:
        parameters = self.parameters
        if self.panel.mayReplace(parameters.labellerPath, "labeller.json"):
            self.logic.learnLabels(
                self.panel.generate.modelPath(),
                parameters.paintedVolume,
                parameters.paintedSegmentation,
                parameters.labellerPath,
                device=parameters.device,
                overwrite=True,
                wait=False,
            )

    def onGenerate(self) -> None:
        parameters = self.parameters
        if self.panel.mayReplace(parameters.labelledSetPath, "dataset.json"):
            self.logic.generateLabelled(
                self.panel.generate.modelPath(),
                parameters.labellerPath,
                count=parameters.labelledCount,
                seed=parameters.seed + 1,  # not the images that were painted
                conditions=self.panel.generate.asked(),
                classes=self.panel.classes.asked(),
                **self.panel.classes.truncation(),
                out=parameters.labelledSetPath,
                device=parameters.device,
                overwrite=True,
                wait=False,
            )

    def jobStarted(self, job: Job) -> None:
        if job.title in (ANNOTATION, LEARNING, LABELLED):
            self.ui.annotateLabel.text = ""

    def jobFinished(self, job: Job) -> None:
        parameters, notes = self.panel.saved(), self.notes(job)
        if job.state is not JobState.DONE or job.value is None:
            return
        if job.title == ANNOTATION:
            parameters.paintedVolume, parameters.paintedSegmentation = job.value
            said = _("Paint each image in the module Segment Editor, an image in each slice; then press Learn.")
            self.ui.annotateLabel.text = " ".join([said, *notes])
        elif job.title == LEARNING:
            result = job.result
            words = _("Learnt from {count} images; {left} without a painted pixel were left out.")
            said = words.format(count=result.get("painted", 0), left=result.get("left_out", 0))
            dice = [f"{name} {value:.2f}" for name, value in (result.get("held_out_dice") or {}).items() if value]
            if dice:
                said += " " + _("Dice over images that a network had not seen: {dice}.").format(dice=", ".join(dice))
            self.ui.annotateLabel.text = said
            self.panel.update()
        elif job.title == LABELLED:
            words = _("{count} labelled images, the surest of {drawn} drawn.")
            said = words.format(count=job.result.get("segments", 0), drawn=job.result.get("drawn", 0))
            self.ui.annotateLabel.text = " ".join([said, *notes])

    def _names(self) -> list[str]:
        return [name.strip() for name in self.parameters.paintedLabels.split(",") if name.strip()]

    def _whyNoModel(self) -> str:
        return self.panel.status.whyNoTorch() or self.panel.generate.whyNoModel()
