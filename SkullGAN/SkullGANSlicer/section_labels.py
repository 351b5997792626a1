"""From label maps to CT: the group of section 1 that makes slices with label maps, and the part of section 3 that draws
CT of a segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from SkullGANLib.jobs import Job, JobState

from .inputs import holdsSegments
from .label_maps import COMPARISON, LAYERS, PAIRS, TRANSLATION
from .section import Section
from .words import forPanel

if TYPE_CHECKING:
    from .panel import Panel


class LabelsSection(Section):
    """What is segmented and cut into slices, and what is drawn of a segmentation."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        ui, bindings = self.ui, panel.bindings
        bindings.path(ui.labelledPathLineEdit, "labelledPath")
        bindings.path(ui.fromLabelsPathLineEdit, "fromLabelsPath")
        ui.headLabelsButton.clicked.connect(lambda checked=False: panel.toggle(LAYERS, self.onHeadLabels))
        ui.importPairButton.clicked.connect(lambda checked=False: panel.toggle(PAIRS, self.onImport))
        ui.fromLabelsButton.clicked.connect(lambda checked=False: panel.toggle(TRANSLATION, self.onGenerate))
        ui.compareLabelsButton.clicked.connect(lambda checked=False: panel.toggle(COMPARISON, self.onCompare))
        ui.fromLabelsWidget.visible = False

    def update(self) -> None:
        parameters, ui = self.parameters, self.ui
        noVolume = "" if parameters.labelledVolume is not None else _("Choose a CT volume.")
        tip = _("Segment the CT into the layers of its skull, brain, scalp and other bone.")
        self.startButton(ui.headLabelsButton, LAYERS, _("Segment the head"), noVolume, tip)
        why = noVolume or ("" if parameters.labelledSegmentation is not None else _("Choose its segmentation."))
        why = why or ("" if parameters.labelledPath else _("Choose a folder for the data set."))
        tip = _("Cut the CT and its segmentation into slices to train from labels on.")
        self.startButton(ui.importPairButton, PAIRS, _("Make data set of slices"), why, tip)
        labels = self.panel.generate.labels
        ui.fromLabelsWidget.visible = bool(labels)
        why = self.panel.status.whyNoTorch()
        if not labels:
            why = why or _("Choose a model that draws from label maps.")
        why = why or ("" if parameters.drawnSegmentation is not None else _("Choose the segmentation to draw."))
        why = why or ("" if parameters.fromLabelsPath else _("Choose a folder for the volumes."))
        tip = _("Draw CT of the visible segments into the scene, where they lie.")
        self.startButton(ui.fromLabelsButton, TRANSLATION, _("Generate CT from segmentation"), why, tip)
        why = self.panel.status.whyNoTorch()
        if not holdsSegments(parameters.realPath):
            why = why or _("Choose a real data set with label maps in section 4.")
        why = why or ("" if parameters.reportPath else _("Choose a folder for the report in section 4."))
        tip = _(
            "Draw CT from the label maps of the real data set of section 4, and compare it label by label with its "
            "images."
        )
        self.startButton(ui.compareLabelsButton, COMPARISON, _("Compare with real data set"), why, tip)

    def forget(self) -> None:
        self.ui.labelMapsLabel.text = ""

    def onHeadLabels(self) -> None:
        self.logic.headLabels(self.parameters.labelledVolume, wait=False)

    def onImport(self) -> None:
        parameters = self.parameters
        if self.panel.mayReplace(parameters.labelledPath, "dataset.json"):
            self.logic.importPairs(
                [(parameters.labelledVolume, parameters.labelledSegmentation)],
                parameters.labelledPath,
                size=parameters.sliceSize,
                overwrite=True,
                wait=False,
            )

    def onGenerate(self) -> None:
        parameters = self.parameters
        if self.panel.mayReplace(parameters.fromLabelsPath, "volumes.json"):
            self.logic.generateFromLabels(
                self.panel.generate.modelPath(),
                parameters.drawnSegmentation,
                volume=parameters.gridVolume,
                count=parameters.fromLabelsCount,
                seed=parameters.seed,
                out=parameters.fromLabelsPath,
                device=parameters.device,
                overwrite=True,
                wait=False,
            )

    def onCompare(self) -> None:
        parameters = self.parameters
        if self.panel.mayReplace(parameters.reportPath, "conditional.json"):
            self.logic.evaluateLabels(
                self.panel.generate.modelPath(),
                parameters.realPath,
                parameters.reportPath,
                split=parameters.split,
                seed=parameters.seed,
                device=parameters.device,
                overwrite=True,
                wait=False,
            )

    def jobStarted(self, job: Job) -> None:
        if job.title in (LAYERS, PAIRS):
            self.ui.labelMapsLabel.text = ""

    def jobFinished(self, job: Job) -> None:
        parameters, notes = self.panel.saved(), self.notes(job)
        if job.title == LAYERS and job.value is not None:
            self.ui.labelMapsLabel.text = " ".join(notes)
            parameters.labelledSegmentation = job.value
            parameters.drawnSegmentation = parameters.drawnSegmentation or job.value
        elif job.title == PAIRS and job.state is JobState.DONE:
            words = _("{count} slices with label maps in {folder}; train on them with the preset patch-small.")
            said = words.format(count=len(job.value), folder=job.value.path)
            self.ui.labelMapsLabel.text = " ".join([said, *notes])
            parameters.trainDataPath = str(job.value.path)
        elif job.title == COMPARISON and job.value is not None:
            said = _("The figures of each label are in a table of the scene; Open report shows them with pictures.")
            self.ui.modelLabel.text = " ".join([said, *map(forPanel, job.result.get("warnings", []))])
            self.panel.update()
        elif job.title == TRANSLATION and job.state is JobState.DONE:
            self.ui.modelLabel.text = " ".join([self.panel.generate.words, *notes])
