"""What every section of the panel is: a part that follows the parameter node and the job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from .widgets import allow
from .words import forPanel

if TYPE_CHECKING:
    from SkullGANLib.jobs import Job

    from .panel import Panel


FOLDER = "folder"  # of a choice of models: "a folder or file", given by the path below it


class Section:
    """Base of the sections; each overrides what it needs.

    Attributes:
        panel: what the section belongs to.
        ui: the widgets by name.
        logic: does the work.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel, self.ui, self.logic = panel, panel.ui, panel.logic

    @property
    def parameters(self) -> Any:
        """The parameter node, or None."""
        return self.panel.parameters

    def update(self) -> None:
        """Bring buttons and tooltips up to date; called while there is a parameter node."""

    def pause(self) -> None:
        """The module is left, or the scene is about to be closed."""

    def forget(self) -> None:
        """The scene was closed."""

    def cleanup(self) -> None:
        """The panel goes away."""

    def jobStarted(self, job: Job) -> None:
        """A job has started."""

    def jobProgressed(self, job: Job) -> None:
        """A job has told how far it is."""

    def jobFinished(self, job: Job) -> None:
        """A job has ended."""

    def notes(self, job: Job) -> list[str]:
        """What the user should read about what a job has made, in the words of the panel."""
        return [forPanel(note) for note in job.result.get("notes", [])]

    def startButton(self, button: Any, title: str, text: str, why: str, tip: str) -> None:
        """Show a button as the start or, while the job of this title runs, as the cancel button."""
        job = self.logic.job
        if job is not None and job.running and job.title == title:
            button.text = _("Cancelling...") if job.cancelling else _("Cancel")
            allow(
                button,
                _("The work in hand is being saved.") if job.cancelling else "",
                _("Save the work in hand and stop."),
            )
        else:
            button.text = text
            allow(button, self.panel.why(why), tip)
