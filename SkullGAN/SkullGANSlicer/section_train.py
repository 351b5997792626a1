"""2. Train: a data set in, a model out; watched, cancelled and resumed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from SkullGANLib.jobs import Job, JobState

from .plots import LivePlot
from .scene import makeFolder
from .section import FOLDER, Section
from .widgets import allow, fillChoices, showPicture
from .words import duration, forPanel

if TYPE_CHECKING:
    from .panel import Panel

SAMPLE_WIDTH = 420
PLOT_POINTS = 1000  # in a training; Slicer draws all of them anew for each


class TrainSection(Section):
    """Choices from the registry, the estimate, and what a running training shows."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._plot: LivePlot | None = None
        self._sample = ""
        self._estimate: Job | None = None
        self._estimated: Any = None  # the choices that the estimate is for
        self._timed = False  # whether that estimate was made
        self._startAfterwards: Callable[[], Any] | None = None
        self._drawn = 0  # images at the newest point of the plot
        ui, bindings = self.ui, panel.bindings
        for widget, name in ((ui.trainDataPathLineEdit, "trainDataPath"), (ui.initPathLineEdit, "initPath"),
                             (ui.pretrainPathLineEdit, "pretrainPath"), (ui.runPathLineEdit, "runPath")):  # fmt: skip
            bindings.path(widget, name)
        for widget, name in ((ui.familyComboBox, "family"), (ui.presetComboBox, "preset"), (ui.initComboBox, "init"),
                             (ui.deviceComboBox, "device")):  # fmt: skip
            bindings.choice(widget, name)
        ui.initFileButton.clicked.connect(lambda checked=False: panel.browse("initPath", _("Choose a model")))
        ui.trainButton.clicked.connect(lambda checked=False: panel.toggle("Train", self.onTrain))
        ui.estimateButton.clicked.connect(lambda checked=False: panel.attempt(self.onEstimate))
        ui.openRunButton.clicked.connect(lambda checked=False: panel.openPath(panel.saved().runPath))

    def update(self) -> None:
        parameters = self.parameters
        self._fillChoices()
        for widget in (self.ui.initPathLineEdit, self.ui.initFileButton):
            widget.enabled = parameters.init == FOLDER
        resumes = self._resumes()
        if self._asked() != self._estimated:
            self.ui.estimateLabel.text = ""
        why = self.panel.status.whyNoTorch() or self._why()
        whyNoRun = "" if parameters.runPath else _("Choose a folder for the run.")
        if self._startAfterwards is not None:
            self.ui.trainButton.text = _("Cancel")
            allow(self.ui.trainButton, "", _("Do not start after all; a few steps are being timed."))
        else:
            self.startButton(
                self.ui.trainButton,
                "Train",
                _("Resume") if resumes else _("Train"),
                why or whyNoRun or (self._whyNotResume() if resumes else ""),
                _("Go on with the run in the folder.") if resumes else _("Start the training."),
            )
        allow(
            self.ui.estimateButton,
            _("An estimate is being made.") if self._isEstimating() else self.panel.why(why),
            _("Time a few steps on the device and say what the training needs."),
        )
        there = os.path.isdir(parameters.runPath)
        allow(
            self.ui.openRunButton, "" if there else _("The run folder does not exist yet."), _("Show the run's folder.")
        )

    def cleanup(self) -> None:
        self._stopEstimate()

    def onTrain(self) -> None:
        """Start, or resume; a new training is preceded by an estimate, unless one was made for the same choices.

        Pressed again while that estimate is being made, it calls the training off.
        """
        if self._startAfterwards is not None:
            self._stopEstimate()
            self.ui.estimateLabel.text = ""
            self._estimated = None
            return
        parameters, options = self.parameters, self._options()
        data, out = parameters.trainDataPath, parameters.runPath

        def start() -> None:
            self._sample = ""
            self.logic.train(data, out, **options, wait=False)

        if self._resumes() or (self._timed and self._asked() == self._estimated):
            self._stopEstimate()
            start()
            return
        if not (self._isEstimating() and self._asked() == self._estimated):
            self.onEstimate()
        self._startAfterwards = start  # as chosen now, whatever is chosen or shown meanwhile

    def onEstimate(self) -> None:
        if self.parameters is None:  # the scene is being closed
            return
        self._stopEstimate()
        asked = self._asked()
        self._estimate = self.logic.estimate(
            self.parameters.trainDataPath, **self._options(), wait=False, finished=self.onEstimated
        )
        self._estimated, self._timed = asked, False
        self.ui.estimateLabel.text = _("Timing a few steps...")

    def onEstimated(self, job: Job) -> None:
        start, self._startAfterwards = self._startAfterwards, None
        self._timed = job.state is JobState.DONE and "memory_gib" in job.result
        text = estimateText(job.result) if self._timed else forPanel(str(job.error or ""))
        self.ui.estimateLabel.text = text
        if start is not None and job.error is not None:
            self.panel.showError(job.error)
        if start is not None and self._timed and self._mayStart(job.result):
            self.panel.attempt(start)
        self.panel.update()

    def _isEstimating(self) -> bool:
        return self._estimate is not None and self._estimate.running

    def _stopEstimate(self) -> None:
        self._startAfterwards = None
        if self._isEstimating():
            self._estimate.finished.disconnect(self.onEstimated)
            self._estimate.kill()

    def _mayStart(self, found: dict[str, Any]) -> bool:
        text = _("{words}\n\nStart anyway?").format(words=estimateText(found, rich=False))
        return found.get("fits", True) or slicer.util.confirmYesNoDisplay(text, windowTitle="SkullGAN")

    def jobStarted(self, job: Job) -> None:
        if job.title == "Train":
            self.ui.speedLabel.text = ""
            self._plot, self._drawn = None, 0
            if self.panel.saved().showLosses:
                self._plot = LivePlot("SkullGAN losses", "images", "loss", makeFolder(_("SkullGAN training")))

    def jobProgressed(self, job: Job) -> None:
        if job.title != "Train":
            return
        progress, values = job.progress, job.progress.values
        if "images_per_second" in values:
            self.ui.speedLabel.text = _("{seen:,} of {total:,} images, {speed:.0f} images/s, {left} left").format(
                seen=progress.value,
                total=progress.maximum,
                speed=values["images_per_second"],
                left=duration(values.get("remaining_s", 0)),
            )
        if progress.value < self._drawn:  # the pre-training is over
            self._drawn = 0
        losses = {name.replace("_", " "): value for name, value in values.items() if name.startswith("loss")}
        if losses and self._plot is not None and progress.value >= self._drawn + progress.maximum / PLOT_POINTS:
            isNew, self._drawn = self._plot.chart is None, progress.value
            self._plot.append(progress.value, **losses)
            if isNew:
                showPlot(self._plot)
        self._showSample(values.get("sample", ""))

    def jobFinished(self, job: Job) -> None:
        if job.title != "Train":
            return
        if job.value is not None:
            samples = job.value.samples
            self._showSample(str(samples[-1]) if samples else "")
            self.ui.speedLabel.text = " ".join([self.ui.speedLabel.text, *self.notes(job)]).strip()
            self.panel.generate.offer(job.value.model)
        self._plot = None

    def _showSample(self, path: str) -> None:
        if path and path != self._sample and showPicture(self.ui.sampleLabel, path, SAMPLE_WIDTH):
            self._sample = path

    def _fillChoices(self) -> None:
        found = self.panel.status.found
        families = [(family["title"], family["name"]) for family in found.get("families", [])]
        parameters = self.parameters
        fillChoices(self.ui.familyComboBox, families or [("Recommended", "relativistic")], parameters.family)
        presets = [
            (f"{preset['name']}: {preset['title']}" if preset.get("title") else preset["name"], preset["name"])
            for preset in found.get("presets", [])
            if preset["family"] == self.parameters.family
        ]
        if presets and parameters.preset not in (name for _title, name in presets):  # of another family
            parameters.preset = presets[0][1]
        fillChoices(self.ui.presetComboBox, presets or [("recommended-XS", "recommended-XS")], parameters.preset)
        shipped = self.panel.generate.shipped()
        fillChoices(
            self.ui.initComboBox,
            [(_("fresh weights"), ""), *((path.name, str(path)) for path in shipped), (_("a folder or file"), FOLDER)],
            parameters.init,
        )
        devices = [(_("automatic"), "auto")]
        for device in found.get("devices", []):
            words = f"{device['name']}: {device['title']}"
            if "free_gib" in device:
                words += _(", {free:.1f} GiB free").format(free=device["free_gib"])
            devices.append((words, device["name"]))
        fillChoices(self.ui.deviceComboBox, devices, parameters.device)

    def _options(self) -> dict[str, Any]:
        parameters = self.parameters
        init = parameters.initPath if parameters.init == FOLDER else parameters.init
        return {
            "preset": parameters.preset,
            "device": parameters.device,
            "images": parameters.images or None,
            "init": init or None,
            "pretrain": parameters.pretrainPath or None,
            "settings": settingsOf(parameters.trainSettings),
        }

    def _asked(self) -> Any:
        """The choices that memory and time depend on."""
        return (self.parameters.trainDataPath, *map(str, self._options().values()))

    def _resumes(self) -> bool:
        return os.path.isfile(os.path.join(self.parameters.runPath, "options.json"))

    def _whyNotResume(self) -> str:
        """Why the run in the folder cannot go on with these choices."""
        parameters, (preset, length, seen) = self.parameters, runState(self.parameters.runPath)
        if preset and preset != parameters.preset:
            words = _("The folder holds a run of the preset {preset}: choose that preset, or another folder.")
            return words.format(preset=preset)
        if length and seen >= (parameters.images or length):
            return _("The run in the folder has finished: raise Length to go on with it, or choose another folder.")
        return ""

    def _why(self) -> str:
        parameters = self.parameters
        if not parameters.trainDataPath:
            return _("Choose the data set to learn from.")
        if not os.path.isfile(os.path.join(parameters.trainDataPath, "dataset.json")):
            return _("The folder under Data set holds no segment data set.")
        if parameters.pretrainPath and not os.path.isfile(os.path.join(parameters.pretrainPath, "dataset.json")):
            return _("The folder under Pre-train on holds no data set.")
        if parameters.init == FOLDER and not os.path.exists(parameters.initPath):
            return _("Choose the model to start from.")
        return ""


def settingsOf(text: str) -> dict[str, str]:
    """Further options as they are typed: key=value with blanks between, which may also stand within a list."""
    words = re.split(r"\s+(?=[\w.]+\s*=)", text.strip())
    parts = (word.partition("=") for word in words if word)
    return {key.strip(): value.strip() for key, _equals, value in parts}


def runState(folder: str) -> tuple[str, int, int]:
    """Preset, length in images (0 where it is given in epochs) and images seen at the newest checkpoint of a run."""
    try:
        with open(os.path.join(folder, "options.json"), encoding="utf-8") as file:
            options = json.load(file)["options"]
        checkpoints = os.listdir(os.path.join(folder, "checkpoints"))
        seen = max((int(name) for name in checkpoints if name.isdecimal()), default=0)
        return str(options["preset"]), int(options["images"] or 0), seen
    except (OSError, ValueError, KeyError, TypeError):  # the training says what is wrong with it
        return "", 0, 0


def estimateText(found: dict[str, Any], *, rich: bool = True) -> str:
    """What a dry run found, as sentences; what does not fit stands out where the text is rich."""
    words = _("About {memory:.1f} GiB of memory").format(memory=found["memory_gib"])
    if found.get("free_gib") is not None:
        words += _(" ({free:.1f} GiB are free)").format(free=found["free_gib"])
    if found.get("seconds") is not None:  # not timed where the memory is too small
        words += _("; {images:,} images at {speed:.1f} images/s take about {time} on {device}").format(
            images=found["images"],
            speed=found["images_per_second"],
            time=duration(found["seconds"]),
            device=found["device"],
        )
    words += "."
    if found.get("fits", True):
        return words
    return f"<b>{words}</b> {found['advice']}" if rich else f"{words}\n{found['advice']}"


def showPlot(plot: LivePlot) -> None:
    """Bring a plot into the view layout, where there is one."""
    plots = getattr(slicer.modules, "plots", None)
    if plots is not None and slicer.app.layoutManager() is not None:
        plots.logic().ShowChartInLayout(plot.chart)
