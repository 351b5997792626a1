"""One job at a time for everything of this module, and the memory of the scene it was started in."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import slicer

from SkullGANLib import jobs, needed
from SkullGANLib.errors import InputError, ResourceError
from SkullGANLib.jobs import Hook, Job

from .timer import callAtQuit, callEvery

Finished = Callable[[Job], Any]
POLL_MS = 100
WITHOUT_SCENE = ("Train", "Volume training", "Acoustic export", "Export", "Split")
WITHOUT_SCENE += ("Import of pairs", "Import of classes", "Classes", "Reduction")
"""Titles of the jobs whose results need no scene."""

# kept with the library, which a reload of the module leaves alone
_current: list[Job | None] = jobs.__dict__.setdefault("_current_of_slicer", [None])
_started: Hook = jobs.__dict__.setdefault("_started_of_slicer", Hook())
_shown: Hook = jobs.__dict__.setdefault("_shown_of_slicer", Hook())


class JobRunner:
    """Starts child processes and hands back what comes of them.

    Attributes:
        started: hook called with every job that starts, whoever starts it.
        shown: hook called with (what, value) once results of a job are in the scene.
    """

    def __init__(self) -> None:
        self.started, self.shown = _started, _shown
        callAtQuit("SkullGAN jobs", _stopJob)
        self._kept: list[tempfile.TemporaryDirectory] = []

    @property
    def job(self) -> Job | None:
        """The newest job, None before the first."""
        return _current[0]

    @property
    def busy(self) -> str:
        """Why no job can start now, as a sentence; empty when one can."""
        if self.job is not None:
            self.job.poll()
        return self.busyAsSeen

    @property
    def busyAsSeen(self) -> str:
        """The same as of the last look at the child, so that no job ends while the panel tells of it."""
        job = self.job
        return f"{job.title} is still running." if job is not None and job.running else ""

    def temporary(self, name: str) -> Path:
        """A folder that does not exist yet and lasts as long as this object."""
        self._kept.append(tempfile.TemporaryDirectory(prefix="skullgan-", ignore_cleanup_errors=True))
        return Path(self._kept[-1].name) / name

    def _run(
        self,
        title: str,
        arguments: Sequence[Any],
        load: Callable[[dict[str, Any]], Any],
        wait: bool,
        finished: Finished | None,
        files: tempfile.TemporaryDirectory | None = None,
    ) -> Any:
        """Start a job; ``files`` is what it needs on disk, and is removed once it has ended."""
        if self.busy:
            raise InputError(self.busy, "Wait for it, or cancel it, and start again.")
        closed = _SceneWatch()

        def loadUnlessClosed(result: dict[str, Any]) -> Any:
            # results belong to the scene the job was started in; the files are on disk whatever happens
            return None if closed.happened and title not in WITHOUT_SCENE else load(result)

        job = _current[0] = self._start(title, arguments, loadUnlessClosed)
        job.finished.connect(lambda _: closed.stop())
        if files is not None:
            job.finished.connect(lambda _: files.cleanup())
        self.started(job)
        if finished is not None:
            job.finished.connect(finished)
        return self._waited(job) if wait else self._watched(job)

    def _query(self, title: str, arguments: Sequence[Any], wait: bool, finished: Finished | None) -> Any:
        job = self._start(title, arguments, None)
        if finished is not None:
            job.finished.connect(finished)
        return self._waited(job) if wait else self._watched(job)

    def _start(self, title: str, arguments: Sequence[Any], load: Any) -> Job:
        missing = needed.missing(in_slicer=True)
        if missing:
            names = ", ".join(missing)
            raise ResourceError(f"Python packages are missing: {names}.", "Press Install in the SkullGAN module.")
        return Job([str(a) for a in arguments], title=title, load=load)

    def _waited(self, job: Job) -> Any:
        application = getattr(slicer, "app", None)
        try:
            return job.wait(tick=getattr(application, "processEvents", None))
        except KeyboardInterrupt:
            job.cancel()
            raise

    def _watched(self, job: Job) -> Job:
        stop = callEvery(POLL_MS, job.poll)
        job.finished.connect(lambda _: stop())
        return job


def _stopJob() -> None:
    if _current[0] is not None and _current[0].running:
        _current[0].stop()


class _SceneWatch:
    """Whether the scene was closed since this was made."""

    def __init__(self) -> None:
        self.happened = False
        self._scene = slicer.mrmlScene
        self._tag = self._scene.AddObserver(self._scene.StartCloseEvent, self._onClose)

    def _onClose(self, caller: Any, event: Any) -> None:
        self.happened = True

    def stop(self) -> None:
        self._scene.RemoveObserver(self._tag)
