"""Progress and log of the running job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from SkullGANLib.jobs import Job, JobState

from .section import Section
from .widgets import allow
from .words import duration

if TYPE_CHECKING:
    from .panel import Panel

LOG_SECONDS, LOG_SHOWN = 1.0, 200


class JobSection(Section):
    """The bar, the line beside it and the log."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._logShown = 0.0
        self.ui.copyLogButton.clicked.connect(self.onCopyLog)
        self.ui.saveLogButton.clicked.connect(self.onSaveLog)

    def update(self) -> None:
        why = "" if self.logic.job is not None else _("There is no log before the first job.")
        allow(self.ui.copyLogButton, why, _("Copy the log."))
        allow(self.ui.saveLogButton, why, _("Save the whole log to a file."))

    def jobStarted(self, job: Job) -> None:
        self.ui.jobLabel.text = _("{title}: starting").format(title=job.title)
        self.ui.jobProgressBar.maximum = 0  # a bar that moves without saying how far
        self.ui.logText.setPlainText("")

    def jobProgressed(self, job: Job) -> None:
        progress = job.progress
        words = [progress.message or job.title]
        if "remaining_s" in progress.values:
            words.append(_("{time} left").format(time=duration(progress.values["remaining_s"])))
        self.ui.jobLabel.text = ", ".join(words)
        self.ui.jobProgressBar.maximum = progress.maximum
        self.ui.jobProgressBar.value = progress.value

    def jobLogged(self, job: Job) -> None:
        """The child has printed something."""
        if time.monotonic() - self._logShown > LOG_SECONDS:
            self._showLog(job)

    def jobFinished(self, job: Job) -> None:
        words = {
            JobState.DONE: _("{title}: done"),
            JobState.CANCELLED: _("{title}: cancelled; what was finished is saved")
            if job.title == "Train"
            else _("{title}: cancelled"),
            JobState.FAILED: _("{title}: failed"),
        }
        self.ui.jobLabel.text = words[job.state].format(title=job.title)
        self.ui.jobProgressBar.maximum = 1
        self.ui.jobProgressBar.value = int(job.state is JobState.DONE)
        self._showLog(job)

    def onCopyLog(self, checked: bool = False) -> None:
        slicer.app.clipboard().setText(self.logic.job.log_text())

    def onSaveLog(self, checked: bool = False) -> None:
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Save the log"), "skullgan-log.txt")
        if path:
            self.panel.attempt(lambda: self.logic.job.save_log(path))

    def _showLog(self, job: Job) -> None:
        self._logShown = time.monotonic()
        self.ui.logText.setPlainText(job.log_text(LOG_SHOWN))
        bar = self.ui.logText.verticalScrollBar()
        bar.value = bar.maximum  # the newest line is the one that counts
