"""The panel: what its sections share, who may start a job, and what is said when something goes wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SkullGANLib.errors import Cancelled, SkullGANError
from SkullGANLib.jobs import Job, JobState

from .annotations import ANNOTATION, LABELLED, LEARNING
from .class_folders import CLASSES, IMPORT
from .datasets import REDUCTION
from .downstream import TRIAL
from .inputs import KIND_ATTRIBUTE, PHANTOM_HEAD
from .label_maps import COMPARISON, LAYERS, PAIRS, TRANSLATION
from .section_annotate import AnnotateSection
from .section_classes import ClassesSection
from .section_downstream import DownstreamSection
from .section_evaluate import EvaluateSection
from .section_folders import FoldersSection
from .section_generate import GenerateSection
from .section_job import JobSection
from .section_labels import LabelsSection
from .section_prepare import PrepareSection
from .section_reduce import ReduceSection
from .section_status import StatusSection
from .section_train import TrainSection
from .section_turing import TuringSection
from .section_volumes import VolumesSection
from .section_walk import WalkSection
from .turing import MAKE, MARK
from .volume_tools import ABLATION, ACOUSTIC, CALVARIUM, MAPS, STACKS
from .volumes import GENERATION, TRAINING
from .walks import WALK
from .widgets import Bindings
from .words import forPanel

ERROR_LINES = 40
# titles of the jobs that have a button here
CANCELLABLE = ("Preview", "Prepare", "Train", "Generate", "Export", "Evaluate", MAKE, MARK, TRAINING, GENERATION)
CANCELLABLE += (CALVARIUM, MAPS, ACOUSTIC, STACKS, ABLATION)
CANCELLABLE += (LAYERS, PAIRS, TRANSLATION, COMPARISON, ANNOTATION, LEARNING, LABELLED)
CANCELLABLE += (IMPORT, CLASSES, TRIAL, REDUCTION, WALK)
FOLDERS = {
    "datasetPath": "segments",
    "runPath": "run",
    "syntheticPath": "synthetic",
    "volumeRunPath": "volume-run",
    "volumesPath": "volumes",
    "labelledPath": "slices",
    "classSetPath": "classes",
    "fromLabelsPath": "from-labels",
    "labellerPath": "labeller",
    "labelledSetPath": "labelled",
    "exportPath": "export",
    "reportPath": "report",
    "downstreamPath": "downstream",
    "turingPath": "visual-test",
}


class Panel:
    """All sections of the panel.

    Attributes:
        ui: the widgets by name.
        logic: does the work.
        parameters: the parameter node, None while the scene is being closed or the module is not shown.
        moduleFolder: of SkullGAN.py.
    """

    def __init__(self, ui: Any, logic: Any, moduleFolder: str) -> None:
        self.ui, self.logic, self.moduleFolder = ui, logic, Path(moduleFolder)
        self.parameters: Any = None
        self.bindings = Bindings(lambda: self.parameters)
        self._updating = False
        self.status = StatusSection(self)
        self.job = JobSection(self)
        self.prepare = PrepareSection(self)
        self.folders = FoldersSection(self)
        self.train = TrainSection(self)
        self.generate = GenerateSection(self)
        self.classes = ClassesSection(self)
        self.volumes = VolumesSection(self)
        self.labels = LabelsSection(self)
        self.annotate = AnnotateSection(self)
        self.walk = WalkSection(self)
        self.reduce = ReduceSection(self)
        self.evaluate = EvaluateSection(self)
        self.downstream = DownstreamSection(self)
        self.turing = TuringSection(self)
        self.sections = [self.status, self.job, self.prepare, self.train, self.generate, self.volumes, self.evaluate]
        self.sections += [self.folders, self.classes, self.labels, self.annotate, self.walk]
        self.sections += [self.reduce, self.downstream, self.turing]
        logic.started.connect(self.onJobStarted)
        if logic.busy:  # the module was reloaded while a job runs
            self.onJobStarted(logic.job)

    # life -------------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The module is shown."""
        self.status.enter()
        self.update()

    def cleanup(self) -> None:
        """The module is closed or reloaded; a running job goes on."""
        self.logic.started.disconnect(self.onJobStarted)
        if self.logic.job is not None:
            self.logic.job.progressed.disconnect(self.onJobProgressed)
            self.logic.job.logged.disconnect(self.job.jobLogged)
            self.logic.job.finished.disconnect(self.onJobFinished)
        for section in self.sections:
            section.cleanup()

    def setDefaults(self, parameters: Any) -> None:
        """Fill in what a new parameter node lacks, to save clicks."""
        if not parameters.defaultsSet:
            parameters.defaultsSet = True
            for name, folder in FOLDERS.items():
                if not getattr(parameters, name):
                    setattr(parameters, name, freeFolder(home(), folder))
        if not any(parameters.volumes) and not parameters.scansPath:
            first = next(filter(isHead, slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")), None)
            if first is not None and first is not parameters.offeredVolume:  # once: the user may not want it
                parameters.offeredVolume = first
                parameters.volumes = [first]
                parameters.learntVolume = parameters.learntVolume or first
                parameters.toolVolume = parameters.toolVolume or first
                parameters.labelledVolume = parameters.labelledVolume or first

    def setParameters(self, parameters: Any) -> None:
        """Work with another parameter node, or with none."""
        self.parameters = parameters
        for section in self.sections if parameters is None else ():
            section.pause()
        self.update()

    def forgetResults(self) -> None:
        """The scene was closed: what the tables pointed at is gone."""
        for section in self.sections:
            section.forget()

    def update(self) -> None:
        """Bring widgets, buttons and tooltips up to date."""
        if self.parameters is None or self._updating:
            return
        self._updating = True
        try:
            self.bindings.refresh()
            for section in self.sections:
                section.update()
        finally:
            self._updating = False

    # jobs -------------------------------------------------------------------------------------------------------------

    def why(self, *reasons: str) -> str:
        """The first reason against starting a job, as a sentence; empty when there is none."""
        busy = self.logic.busyAsSeen
        if busy and self.logic.job.title in CANCELLABLE:
            busy = _("{busy} Cancel it first.").format(busy=busy)
        return next(filter(None, (self.status.why(), busy, *reasons)), "")

    def toggle(self, title: str, start: Callable[[], Any]) -> None:
        """What a start button does: start, or cancel the job of this title."""
        if self.parameters is None:  # the scene is being closed
            return
        job = self.logic.job
        if job is not None and job.running and job.title == title:
            job.cancel()
            self.update()
            return
        self.attempt(start)

    def attempt(self, action: Callable[[], Any]) -> Any:
        """Do something and show its error, if any, in two lines with the details folded away."""
        try:
            return action()
        except Cancelled:
            return None
        except SkullGANError as error:
            self.showError(error)
        except OSError as error:
            text = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ") + "."
            self.showError(SkullGANError(text, _("Check that the path exists and that you may write there.")))
        except Exception as error:
            import traceback

            text = _("Something unexpected happened: {error}").format(error=f"{type(error).__name__}: {error}")
            slicer.util.errorDisplay(text, detailedText=traceback.format_exc())
        finally:
            self.update()
        return None

    def onJobStarted(self, job: Job) -> None:
        """A job was started here or in the console."""
        job.progressed.connect(self.onJobProgressed)
        job.logged.connect(self.job.jobLogged)
        job.finished.connect(self.onJobFinished)
        for section in self.sections:
            section.jobStarted(job)
        self.update()

    def onJobProgressed(self, job: Job) -> None:
        for section in self.sections:
            section.jobProgressed(job)

    def onJobFinished(self, job: Job) -> None:
        for section in self.sections:
            section.jobFinished(job)
        self.update()
        if job.state is JobState.FAILED and not job.awaited:
            self.showError(job.error, job.log_text(ERROR_LINES))

    def showError(self, error: SkullGANError, details: str = "") -> None:
        """The two lines of an error in a dialog; the log behind its details button."""
        options = {"detailedText": details} if details else {}
        text = forPanel(f"{error.message}\n\n{error.advice}".strip())
        slicer.util.errorDisplay(text, windowTitle="SkullGAN", **options)

    def mayReplace(self, folder: str, marker: str) -> bool:
        """Whether a result may be written to a folder: true unless one is there that the user wants to keep."""
        what = _("an earlier result")
        if not os.path.exists(os.path.join(folder, marker)):
            return True
        try:
            with open(os.path.join(folder, marker), encoding="utf-8") as file:
                facts = json.load(file)
            words = _("a data set of {n} {kind} segments")
            what = words.format(n=facts["counts"]["segments"], kind=facts["kind"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # a report, an export, or something damaged
        text = _("{folder} holds {what}. Replace it?").format(folder=folder, what=what)
        return slicer.util.confirmYesNoDisplay(text, windowTitle="SkullGAN")

    def saved(self) -> Any:
        """The parameter node, also while another module is shown."""
        return self.parameters if self.parameters is not None else self.logic.getParameterNode()

    def browse(self, name: str, caption: str) -> None:
        """Let the user choose a file for a path that may be a folder too."""
        if self.parameters is None:
            return
        path = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), caption, getattr(self.parameters, name))
        if path:
            setattr(self.parameters, name, path)

    def openPath(self, path: str | Path) -> None:
        """Show a file or folder with the program that the system has for it."""
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))


def home() -> str:
    """Where results go unless the user says otherwise."""
    try:
        return str(Path.home() / "SkullGAN")
    except RuntimeError:  # no home, as some services have it
        return os.path.join(slicer.app.temporaryPath, "SkullGAN")


def freeFolder(parent: str, name: str) -> str:
    """The first of ``name-1``, ``name-2``, ... that does not exist, so that no earlier result is in the way."""
    number = 1
    while os.path.exists(os.path.join(parent, f"{name}-{number}")):
        number += 1
    return os.path.join(parent, f"{name}-{number}")


def isHead(node: Any) -> bool:
    """Whether a volume may be a scan: no label map, no picture, none of the module's own volumes of segments."""
    kind = node.GetAttribute(KIND_ATTRIBUTE)
    return node.GetClassName() == "vtkMRMLScalarVolumeNode" and (not kind or kind == PHANTOM_HEAD)
