"""The status line: what the library finds in a process of its own, and a button for what is missing."""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from SkullGANLib import needed
from SkullGANLib.errors import SkullGANError
from SkullGANLib.jobs import Job, JobState

from . import install
from .section import Section
from .widgets import allow

if TYPE_CHECKING:
    from .panel import Panel


class StatusSection(Section):
    """Asks once when the panel is first shown, and again after an installation or on demand.

    Attributes:
        found: what ``skullgan doctor`` found; empty until then.
        missing: requirements of Python packages that are not met.
    """

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self.found: dict[str, Any] = {}
        self._query: Job | None = None
        self.missing, self._noTorch = needed.missing(in_slicer=True), needed.torch_version() is None
        self.ui.installButton.clicked.connect(self.onInstall)
        self.ui.refreshButton.clicked.connect(self.ask)

    def enter(self) -> None:
        """The module is shown."""
        if not self.found and (self._query is None or not self._query.running):
            self.ask()

    def ask(self, checked: bool = False) -> None:
        """Look again; the answer comes later."""
        self.missing, self._noTorch = needed.missing(in_slicer=True), needed.torch_version() is None
        if self.missing:
            self.found = {}
            self._say(_("Python packages are missing: {names}.").format(names=", ".join(self.missing)))
        else:
            self._say(_("Looking at this machine..."))
            self._stopQuery()
            try:
                self._query = self.logic.doctor(wait=False, finished=self.onAnswer)
            except SkullGANError as error:
                self._say(str(error))
        self.panel.update()

    def onAnswer(self, job: Job) -> None:
        if job.state is not JobState.DONE:
            self._say(str(job.error or _("The question was cancelled.")))
            return
        self.found = job.result
        self._say(*statusLines(self.found))
        self.panel.update()

    def why(self) -> str:
        """Why nothing can be started, as a sentence; empty when all is there."""
        return _("Python packages are missing: press Install at the top.") if self.missing else ""

    def whyNoTorch(self) -> str:
        """Why nothing can be trained or generated."""
        return _("torch is missing: press Install at the top.") if self._noTorch else ""

    def update(self) -> None:
        lacking = {"missing": self.missing, "torch": self._noTorch, "replace": self._wrongTorch()}
        self.ui.installButton.visible = any(lacking.values())
        self.ui.installButton.text = _("Repair torch") if lacking["replace"] else _("Install")
        allow(self.ui.installButton, self.logic.busyAsSeen, install.explanation(**lacking))

    def onInstall(self, checked: bool = False) -> None:
        replace = self._wrongTorch()
        self.panel.attempt(lambda: install.install(self.missing, torch=self._noTorch, replace=replace))
        self.ask()
        if replace and "torch" in sys.modules:
            self._say(_("Start Slicer anew: the torch that was replaced is still loaded."))

    def _wrongTorch(self) -> bool:
        """Whether another build of torch would mend what the doctor found."""
        return any(problem.get("wrong_torch") for problem in self.found.get("problems", []))

    def cleanup(self) -> None:
        self._stopQuery()

    def _stopQuery(self) -> None:
        if self._query is not None and self._query.running:
            self._query.finished.disconnect(self.onAnswer)
            self._query.kill()

    def _say(self, *lines: str) -> None:
        self.ui.statusLabel.text = "<br>".join(lines)


def statusLines(found: dict[str, Any]) -> list[str]:
    """What ``doctor`` found, as lines of rich text: device, torch and memory, then problems with their mending."""
    devices = found.get("devices", [])
    gpus = [d for d in devices if d["name"] != "cpu"]
    words = [_device(d) for d in gpus] or [_("CPU, {n} cores").format(n=found.get("cores", "?"))]
    torch = found.get("torch")
    words.append(f"torch {torch}" if torch else _("no torch"))
    memory = found.get("memory_gib", {})
    if memory.get("free") is not None:
        words.append(_("{free:.0f} of {total:.0f} GiB memory free").format(**memory))
    lines = [html.escape("; ".join(words))]
    for problem in found.get("problems", []):
        lines.append(f"<b>{html.escape(problem['what'])}</b> {html.escape(problem['mend'])}")
    return lines


def _device(device: dict[str, Any]) -> str:
    if "total_gib" not in device:
        return str(device["title"])
    return _("{title}, {free:.0f} of {total:.0f} GiB free").format(
        title=device["title"], free=device["free_gib"], total=device["total_gib"]
    )
