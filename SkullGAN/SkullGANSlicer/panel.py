"""The panel: what its sections share, who may start a job, and what is said when something goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SkullGANLib.errors import Cancelled, SkullGANError
from SkullGANLib.jobs import Job, JobState

from .section_evaluate import EvaluateSection
from .section_generate import GenerateSection
from .section_job import JobSection
from .section_prepare import PrepareSection
from .section_status import StatusSection
from .section_train import TrainSection
from .widgets import Bindings
from .words import withoutDashes

ERROR_LINES = 40
HOME = Path.home() / "SkullGAN"  # where results go unless the user says otherwise
FOLDERS = {
    "datasetPath": "segments",
    "runPath": "run",
    "syntheticPath": "synthetic",
    "exportPath": "export",
    "reportPath": "report",
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
        self.train = TrainSection(self)
        self.generate = GenerateSection(self)
        self.evaluate = EvaluateSection(self)
        self.sections = [self.status, self.job, self.prepare, self.train, self.generate, self.evaluate]
        logic.started.append(self.onJobStarted)
        if logic.busy:  # the module was reloaded while a job runs
            self.onJobStarted(logic.job)
        slicer.app.connect("aboutToQuit()", self.onQuit)

    # life -------------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The module is shown."""
        self.status.enter()
        self.update()

    def cleanup(self) -> None:
        """The module is closed or reloaded; a running job goes on."""
        slicer.app.disconnect("aboutToQuit()", self.onQuit)
        for section in self.sections:
            section.cleanup()

    def onQuit(self) -> None:
        """Slicer ends: the job saves its work and ends too."""
        if self.logic.busy:
            self.logic.job.stop()

    def setDefaults(self, parameters: Any) -> None:
        """Fill in what a new parameter node lacks, to save clicks."""
        for name, folder in FOLDERS.items():
            if not getattr(parameters, name):
                setattr(parameters, name, str(HOME / folder))
        if not any(parameters.volumes) and not parameters.scansPath:
            first = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            if first is not None and not first.IsA("vtkMRMLLabelMapVolumeNode"):
                parameters.volumes = [first]

    def setParameters(self, parameters: Any) -> None:
        """Work with another parameter node, or with none."""
        self.parameters = parameters
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
        busy = self.logic.busy
        return next(
            filter(None, (self.status.why(), busy and _("{busy} Cancel it first.").format(busy=busy), *reasons)), ""
        )

    def toggle(self, title: str, start: Callable[[], Any]) -> None:
        """What a start button does: start, or cancel the job of this title."""
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
        except Exception as error:
            import traceback

            text = _("Something unexpected happened: {error}").format(error=f"{type(error).__name__}: {error}")
            slicer.util.errorDisplay(text, detailedText=traceback.format_exc())
        finally:
            self.update()
        return None

    def onJobStarted(self, job: Job) -> None:
        """A job was started here or in the console."""
        job.progressed.append(self.onJobProgressed)
        job.finished.append(self.onJobFinished)
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
        if job.state is JobState.FAILED:
            self.showError(job.error, job.log_text(ERROR_LINES))

    def showError(self, error: SkullGANError, details: str = "") -> None:
        """The two lines of an error in a dialog; the log behind its details button."""
        options = {"detailedText": details} if details else {}
        text = withoutDashes(f"{error.message}\n\n{error.advice}".strip())
        slicer.util.errorDisplay(text, windowTitle="SkullGAN", **options)

    def mayReplace(self, folder: str, marker: str) -> bool:
        """Whether a result may be written to a folder: true unless one is there that the user wants to keep."""
        if not (Path(folder) / marker).exists():
            return True
        text = _("{folder} holds an earlier result. Replace it?").format(folder=folder)
        return slicer.util.confirmYesNoDisplay(text, windowTitle="SkullGAN")

    def openPath(self, path: str | Path) -> None:
        """Show a file or folder with the program that the system has for it."""
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))
