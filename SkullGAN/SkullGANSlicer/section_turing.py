"""Evaluate, visual test: readers see real and synthetic segments one by one and say which is which."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from SkullGANLib.jobs import Job, JobState

from .inputs import holdsSegments
from .section import Section
from .turing import MAKE, MARK, ShownImage
from .widgets import allow

if TYPE_CHECKING:
    from SkullGANLib.evaluate.turing_answers import Session

    from .panel import Panel

REAL, SYNTHETIC = "real", "synthetic"


class TuringSection(Section):
    """Two data sets, a folder and a reader; the buttons of the answers; the result."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._session: Session | None = None
        self._left: tuple[str, str] = ("", "")  # folder and reader of a test that the closing of a scene interrupted
        self._image = ShownImage()
        self._since = 0.0
        self._notes: list[str] = []
        ui, bindings = self.ui, panel.bindings
        for widget, name in ((ui.turingRealPathLineEdit, "turingRealPath"), (ui.turingPathLineEdit, "turingPath"),
                             (ui.turingSyntheticPathLineEdit, "turingSyntheticPath")):  # fmt: skip
            bindings.path(widget, name)
        ui.turingButton.clicked.connect(lambda checked=False: panel.toggle(MAKE, self.onStart))
        ui.turingRealButton.clicked.connect(lambda checked=False: self.onAnswer(REAL))
        ui.turingSyntheticButton.clicked.connect(lambda checked=False: self.onAnswer(SYNTHETIC))
        ui.turingUndoButton.clicked.connect(lambda checked=False: self.onUndo())
        ui.turingResultButton.clicked.connect(lambda checked=False: panel.toggle(MARK, self.onResult))
        self._shortcuts = self._makeShortcuts()
        self.logic.shown.connect(self.onShown)

    def update(self) -> None:
        ui, parameters, running = self.ui, self.parameters, self._session is not None
        if running and not self._image.visible:  # something else came into the view, or the image was deleted
            self._show()
        elif any(self._left):  # the closing of the scene has emptied the parameters
            if not parameters.turingReader:
                parameters.turingPath, parameters.turingReader = self._left
            self._left = ("", "")
        for widget in (ui.turingRealPathLineEdit, ui.turingSyntheticPathLineEdit, ui.turingPathLineEdit,
                       ui.turingCountSpinBox, ui.turingReaderLineEdit):  # fmt: skip
            widget.enabled = not running
        for shortcut in self._shortcuts:
            shortcut.enabled = running
        self._updateStart(running)
        why = "" if running else _("Start or continue a test first.")
        allow(ui.turingRealButton, why, _("This image comes from a scan (key R or left arrow)."))
        allow(ui.turingSyntheticButton, why, _("This image was generated (key S or right arrow)."))
        if running and not self._session.done:
            why = _("Nothing is answered yet.")
        allow(ui.turingUndoButton, why, _("Take the last answer back (key U)."))
        why = _("Pause the test first.") if running else "" if self._made() else _("There is no test in the folder.")
        if not why and not any(Path(parameters.turingPath).glob("answers-*.csv")):
            why = _("Nobody has answered yet.")
        self.startButton(
            ui.turingResultButton, MARK, _("Result"), why, _("Mark the answers of all readers who have finished.")
        )

    def pause(self) -> None:
        """Stop showing images; all answers are on disk."""
        session = self._session
        if session is None:
            return
        if slicer.mrmlScene.IsClosing():
            self._left = str(session.test.path), session.reader
        self._stop()
        self.ui.turingLabel.text = _("{reader}: paused, {done} of {count} images answered.").format(
            reader=session.reader, done=session.done, count=len(session.test)
        )

    def forget(self) -> None:
        self._image.remove()

    def cleanup(self) -> None:
        self._stop()
        self.logic.shown.disconnect(self.onShown)
        for shortcut in self._shortcuts:
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []

    def onStart(self) -> None:
        """Start, continue or pause."""
        parameters = self.parameters
        if self._session is not None:
            self.pause()
        elif self._made():
            self._begin()
        else:
            self._notes = []
            self.logic.makeTest(
                self._real(), self._synthetic(), parameters.turingPath, count=parameters.turingCount, wait=False
            )

    def onAnswer(self, said: str) -> None:
        """The reader has decided."""
        self._change(lambda session: session.answer(said, time.monotonic() - self._since))

    def onUndo(self) -> None:
        """Take the last answer back and show its image again."""
        self._change(lambda session: session.undo())

    def onResult(self) -> None:
        self.logic.markTest(self.parameters.turingPath, wait=False)

    def onShown(self, what: str, value: Any) -> None:
        """Results came into the scene: those of a test, or of something else, which must not stay in the view."""
        if what == "visual test":
            self.ui.turingLabel.text = "\n".join([*value["words"], *value["warnings"]])
        else:
            self._fit()

    def jobFinished(self, job: Job) -> None:
        if job.title == MAKE and job.state is JobState.DONE:
            self._notes = self.notes(job)
            if self.parameters is not None and job.value == Path(self.parameters.turingPath).expanduser():
                self.panel.attempt(self._begin)

    def _begin(self) -> None:
        session = self.logic.takeTest(self.parameters.turingPath, self.parameters.turingReader)
        if session.image is None:
            self._finished(session)
            return
        self._session = session
        self._show()
        qt.QTimer.singleShot(0, self._fit)  # once the view has the size that its new layout gives it

    def _change(self, change: Callable[[Session], Any]) -> None:
        """Do something with the answers and show the image that comes next."""
        if self._session is not None and self.parameters is not None:
            self.panel.attempt(lambda: (change(self._session), self._next()))

    def _next(self) -> None:
        session = self._session
        if session is not None and session.image is None:
            self._stop()
            self._finished(session)
        elif session is not None:
            self._show()

    def _show(self) -> None:
        session = self._session
        self._fit()
        words = _("{reader}: image {number} of {count}").format(
            reader=session.reader, number=session.done + 1, count=len(session.test)
        )
        self.ui.turingLabel.text = "\n".join([words, *self._notes])
        self._since = time.monotonic()

    def _fit(self) -> None:
        """Show the same image again, as large as the view allows."""
        if self._session is not None:
            self._image.show(self._session.test.images[self._session.image], self._session.test.spacing_mm)

    def _stop(self) -> None:
        self._session = None
        for shortcut in self._shortcuts:
            shortcut.enabled = False
        self._image.remove()

    def _finished(self, session: Session) -> None:
        self.ui.turingLabel.text = _("{reader}: all {count} images answered.").format(
            reader=session.reader, count=len(session.test)
        )

    def _updateStart(self, running: bool) -> None:
        button, why = self.ui.turingButton, self._why()
        if running:
            button.text = _("Pause")
            allow(button, "", _("Stop here; the answers are kept, and Continue goes on."))
        elif self._made():
            begun = os.path.isfile(self._answers())
            button.text = _("Continue") if begun else _("Start")
            allow(button, why, _("Show the next image.") if begun else _("Show the images of the test in the folder."))
        else:
            self.startButton(button, MAKE, _("Start"), why, _("Draw the images and show the first."))

    def _made(self) -> bool:
        return os.path.isfile(os.path.join(self.parameters.turingPath, "turing.json"))

    def _answers(self) -> str:
        name = f"answers-{self.parameters.turingReader.strip().lower()}.csv"
        return os.path.join(self.parameters.turingPath, name)

    def _real(self) -> str:
        return self.parameters.turingRealPath or self.parameters.realPath

    def _synthetic(self) -> str:
        return self.parameters.turingSyntheticPath or self.parameters.evaluatedPath

    def _why(self) -> str:
        parameters = self.parameters
        if not parameters.turingPath:
            return _("Choose a folder for the test.")
        for path, words in ((self._real(), _("real")), (self._synthetic(), _("synthetic"))):
            if self._made():
                break
            if not path:
                return _("Choose the {which} data set.").format(which=words)
            if not holdsSegments(path):
                return _("The folder of the {which} data set holds none.").format(which=words)
        return "" if parameters.turingReader.strip() else _("Give the reader a pseudonym.")

    def _makeShortcuts(self) -> list[Any]:
        """Keys for the answers, which work while a test runs; none without a main window."""
        window, made = slicer.util.mainWindow(), []
        actions = (
            (("R", "Left"), lambda: self.onAnswer(REAL)),
            (("S", "Right"), lambda: self.onAnswer(SYNTHETIC)),
            (("U",), self.onUndo),
        )
        for keys, action in actions if window is not None else ():
            for key in keys:
                shortcut = qt.QShortcut(window)
                shortcut.setKey(qt.QKeySequence(key))
                shortcut.autoRepeat = False  # a key held down is one answer
                shortcut.enabled = False
                shortcut.connect("activated()", action)
                made.append(shortcut)
        return made
