"""Whole volumes: the group of section 2 that learns one, the part of section 3 that draws others, and its tools."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from SkullGANLib.jobs import Job, JobState

from .section import Section
from .section_train import SAMPLE_WIDTH, settingsOf
from .volume_tools import ABLATION, ACOUSTIC, CALVARIUM, MAPS, STACKS
from .volumes import GENERATION, TRAINING
from .widgets import allow, fillChoices, showPicture

if TYPE_CHECKING:
    from .panel import Panel

SHOWN = (("thickness_mm", 1), ("sdr", 2))  # of the maps, and digits
ABLATION_SUFFIX = "-ablation"  # of the folder beside that of the run


class VolumesSection(Section):
    """What is learnt, how far it is, and how others are drawn."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        ui, bindings = self.ui, panel.bindings
        bindings.path(ui.volumeRunPathLineEdit, "volumeRunPath")
        bindings.path(ui.volumesPathLineEdit, "volumesPath")
        bindings.choice(ui.dimensionsComboBox, "volumeDimensions")
        bindings.choice(ui.volumePresetComboBox, "volumePreset")
        ui.makeRoiButton.clicked.connect(lambda checked=False: panel.attempt(self.onMakeRoi))
        ui.trainVolumeButton.clicked.connect(lambda checked=False: panel.toggle(TRAINING, self.onTrain))
        ui.generateVolumesButton.clicked.connect(lambda checked=False: panel.toggle(GENERATION, self.onGenerate))
        ui.calvariumButton.clicked.connect(lambda checked=False: panel.toggle(CALVARIUM, self.onCalvarium))
        ui.mapsButton.clicked.connect(lambda checked=False: panel.toggle(MAPS, self.onMaps))
        ui.acousticButton.clicked.connect(lambda checked=False: panel.toggle(ACOUSTIC, self.onAcoustic))
        ui.stackButton.clicked.connect(lambda checked=False: panel.toggle(STACKS, self.onStack))
        ui.ablationButton.clicked.connect(lambda checked=False: panel.toggle(ABLATION, self.onAblation))
        ui.volumesWidget.visible = False

    def update(self) -> None:
        parameters, ui = self.parameters, self.ui
        dimensions = [(_("in space (3D)"), "3"), (_("slices as channels (2D)"), "2")]
        fillChoices(ui.dimensionsComboBox, dimensions, parameters.volumeDimensions)
        presets = [
            (_("demo: four small scales, minutes on a processor"), "demo"),
            (_("full: up to 140 voxels, for a GPU"), "full"),
            (_("ct-gan: as published"), "ct-gan"),
        ]
        fillChoices(ui.volumePresetComboBox, presets, parameters.volumePreset)
        noVolume = "" if parameters.learntVolume is not None else _("Choose the CT volume to learn.")
        allow(ui.makeRoiButton, noVolume, _("Make an ROI around the volume, to be made smaller in the views."))
        resumes = os.path.isfile(os.path.join(parameters.volumeRunPath, "options.json"))
        noRun = "" if parameters.volumeRunPath else _("Choose a folder for the run.")
        why = self.panel.status.whyNoTorch() or noVolume or noRun
        self.startButton(
            ui.trainVolumeButton,
            TRAINING,
            _("Resume") if resumes else _("Train on the volume"),
            why,
            _("Go on with the run in the folder.") if resumes else _("Learn the volume, scale by scale."),
        )
        tip = _("Train without and with each loss, three times each, and compare in tables: takes twelve trainings.")
        self.startButton(ui.ablationButton, ABLATION, _("Ablation"), why, tip)
        self._updateGenerate()
        self._updateTools()

    def _updateGenerate(self) -> None:
        parameters, ui, scales = self.parameters, self.ui, self.panel.generate.scales
        ui.volumesWidget.visible = bool(scales)
        why = self.panel.status.whyNoTorch()
        if not scales:
            why = why or _("Choose a model that was trained on a volume.")
        elif parameters.firstScale >= len(scales):
            words = _("The model has the scales 0 to {last}: vary from one of these.")
            why = why or words.format(last=len(scales) - 1)
        why = why or ("" if parameters.volumesPath else _("Choose a folder for the volumes."))
        tip = _("Draw volumes into the scene and show the first beside the one learnt.")
        self.startButton(ui.generateVolumesButton, GENERATION, _("Generate volumes into scene"), why, tip)
        varied = _("Only a new volume has a size of its own: vary from scale 0.") if parameters.firstScale else ""
        tip = _("Size of a new volume, as a multiple of the one learnt; voxels stay as large.")
        allow(ui.sizeFactorSpinBox, varied, tip)
        new = "" if parameters.firstScale else _("A new volume has no source: vary from a scale above 0.")
        tip = _("Optional: a CT whose coarse structure is kept, and which gets the detail of the volume learnt.")
        allow(ui.sourceSelector, new, tip)

    def _updateTools(self) -> None:
        ui, why = self.ui, "" if self.parameters.toolVolume is not None else _("Choose a CT volume.")
        tip = _("Make a volume of the skull cap alone, without face and table, which is better learnt and mapped.")
        self.startButton(ui.calvariumButton, CALVARIUM, _("Cut out calvarium"), why, tip)
        tip = _("Make a model of the outer surface of a calvarium, coloured by thickness; SDR and HU are in it, too.")
        self.startButton(ui.mapsButton, MAPS, _("Surface maps"), why, tip)
        tip = _("Write density, sound speed and attenuation into a new folder, to simulate ultrasound.")
        self.startButton(ui.acousticButton, ACOUSTIC, _("Acoustic export..."), why, tip)
        card = self.panel.generate.card
        why = self.panel.status.whyNoTorch()
        if card is None or self.panel.generate.scales or self.panel.generate.labels:
            why = why or _("Choose a model of segments above.")
        tip = _("Walk the chosen model of segments along a head, and assemble its slices to patches of calvarium.")
        self.startButton(ui.stackButton, STACKS, _("Stack segments"), why, tip)

    def forget(self) -> None:
        self.ui.volumeTrainingLabel.text = self.ui.toolsLabel.text = ""

    def onMakeRoi(self) -> None:
        if self.parameters is not None:
            self.parameters.learntRoi = self.logic.makeRoi(self.parameters.learntVolume)

    def onTrain(self) -> None:
        parameters = self.parameters
        self.logic.trainVolume(
            parameters.learntVolume,
            parameters.volumeRunPath,
            roi=parameters.learntRoi,
            dimensions=int(parameters.volumeDimensions),
            preset=parameters.volumePreset,
            device=parameters.device,
            settings=settingsOf(parameters.volumeSettings),
            wait=False,
        )

    def onAblation(self) -> None:
        """Into a folder beside that of the run; what stands there goes on."""
        parameters = self.parameters
        self.logic.ablation(
            parameters.learntVolume,
            f"{parameters.volumeRunPath}{ABLATION_SUFFIX}",
            roi=parameters.learntRoi,
            dimensions=parameters.volumeDimensions,
            preset=parameters.volumePreset,
            device=parameters.device,
            settings=settingsOf(parameters.volumeSettings),
            wait=False,
        )

    def onGenerate(self) -> None:
        parameters = self.parameters
        if self.panel.mayReplace(parameters.volumesPath, "volumes.json"):
            source = parameters.sourceVolume if parameters.firstScale else None
            self.logic.generateVolumes(
                self.panel.generate.modelPath(),
                count=parameters.volumeCount,
                seed=parameters.seed,
                enlarged=self._enlarged(),
                first_scale=parameters.firstScale,
                source=source,
                beside=parameters.learntVolume if source is None else source,
                out=parameters.volumesPath,
                device=parameters.device,
                overwrite=True,
                wait=False,
            )

    def onCalvarium(self) -> None:
        self.logic.cropCalvarium(self.parameters.toolVolume, wait=False)

    def onMaps(self) -> None:
        self.logic.surfaceMaps(self.parameters.toolVolume, wait=False)

    def onAcoustic(self) -> None:
        from .panel import freeFolder

        caption, start = _("Choose where to make the folder"), os.path.dirname(self.parameters.volumesPath)
        parent = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), caption, start)
        if parent and self.parameters is not None:
            self.logic.acousticExport(self.parameters.toolVolume, freeFolder(parent, "acoustic"), wait=False)

    def onStack(self) -> None:
        parameters, model = self.parameters, self.panel.generate.modelPath()
        given = {"count": parameters.volumeCount, "seed": parameters.seed, "device": parameters.device}
        self.logic.stackVolumes(model, **given, wait=False)

    def _enlarged(self) -> Any:
        """The size asked for; slices that are channels stay as many."""
        factor = 1.0 if self.parameters.firstScale else self.parameters.sizeFactor
        return (1.0, factor, factor) if self.panel.generate.card.network.get("dimensions") == 2 else factor

    def jobStarted(self, job: Job) -> None:
        if job.title in (TRAINING, ABLATION):
            self.ui.volumeTrainingLabel.text = ""
        elif job.title in (CALVARIUM, MAPS, ACOUSTIC, STACKS):
            self.ui.toolsLabel.text = ""

    def jobProgressed(self, job: Job) -> None:
        if job.title != TRAINING:
            return
        values = job.progress.values
        if "sample" in values:  # at the end of each scale
            showPicture(self.ui.volumeSampleLabel, values["sample"], SAMPLE_WIDTH)
        if losses := lossText(values):
            self.ui.volumeTrainingLabel.text = losses

    def jobFinished(self, job: Job) -> None:
        if job.title == TRAINING and job.state is JobState.DONE:
            self.ui.volumeTrainingLabel.text = " ".join(self.notes(job))
            self.panel.generate.offer(job.value.model)
        elif job.title == CALVARIUM and job.value is not None:
            self.ui.toolsLabel.text = " ".join(self.notes(job))
            self.panel.saved().toolVolume = job.value  # the next thing is to map it
        elif job.title == MAPS and job.value is not None:
            self.ui.toolsLabel.text = mapsText(job.result)
        elif job.title == ABLATION and job.value is not None:
            words = _("Tables and pictures are in {folder}; the figures of each training are in tables of the scene.")
            told = [words.format(folder=job.value), *self.notes(job)]
            self.ui.volumeTrainingLabel.text = " ".join(told)
        elif job.title == STACKS and job.value is not None:
            self.ui.toolsLabel.text = stackText(job.result, self.notes(job))
        elif job.title == ACOUSTIC and job.value is not None:
            self.ui.toolsLabel.text = _("Written to {folder}.").format(folder=job.value)


def mapsText(result: dict[str, Any]) -> str:
    """Median and 5th to 95th percentile of the maps of a calvarium."""
    (told,) = result["calvaria"].values()
    mm, sdr = ("{median:.{d}f} ({p5:.{d}f} to {p95:.{d}f})".format(d=d, **told[name]) for name, d in SHOWN)
    return _("Thickness in mm: {mm}; SDR: {sdr}.").format(mm=mm, sdr=sdr)


def stackText(result: dict[str, Any], notes: list[str]) -> str:
    """How much the slices of a stack differ from their neighbours, and what else is to be read."""
    found = result["continuity"]
    said = _("Slices {mm:g} mm apart differ by {hu:.0f} HU.").format(mm=found["distance_mm"], hu=found["step_hu"])
    return " ".join([said, *notes])


def lossText(values: dict[str, Any]) -> str:
    """The losses among the figures that came with the progress of a training."""
    losses = {name: value for name, value in values.items() if name not in ("remaining_s", "sample")}
    return ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
