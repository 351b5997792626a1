"""Run a command of this library in a child process, watched and cancelled from a program that must not block.

The child prints progress as lines of a prefix and JSON (``cli.common``); its output goes to a file that ``poll`` reads
on, so that no pipe can fill, no thread is needed and nothing of the log is lost. Only the standard library is used:
this runs inside 3D Slicer before anything else is installed.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import enum
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SkullGANLib.errors import Cancelled, SkullGANError

EVENT_PREFIX = "@SKULLGAN "
LOG_LINES, LOG_LINE_LENGTH = 2_000, 2_000  # kept in memory; the file has everything
READ_BYTES = 4 * 2**20  # in one poll, so that a flood of log does not freeze a window
POLL_SECONDS = 0.05
CANCEL_SECONDS, TERMINATE_SECONDS = 60.0, 5.0  # to save the work in hand; to end after being told to
QUIT_SECONDS = 10.0  # to save the work in hand when the parent itself ends


class JobState(enum.Enum):
    """Where a job stands."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass
class JobProgress:
    """The newest progress of a job.

    Attributes:
        value, maximum: steps done and in all; maximum 0 while that is not known.
        message: what is being done.
        values: figures that came with it, such as losses and images per second.
    """

    value: int = 0
    maximum: int = 0
    message: str = ""
    values: dict[str, Any] = field(default_factory=dict)


class Hook(list):
    """Functions to call when something happens, in the order they were connected; an error in one is logged."""

    def connect(self, function: Callable[..., Any]) -> None:
        """Call ``function`` from now on."""
        self.append(function)

    def disconnect(self, function: Callable[..., Any]) -> None:
        """Call ``function`` no more; nothing happens where it was not connected."""
        if function in self:
            self.remove(function)

    def __call__(self, *arguments: Any) -> None:
        """Call them all."""
        for function in list(self):
            try:
                function(*arguments)
            except Exception:  # the others must hear of it whatever one does
                logging.getLogger(__name__).exception("%s failed", getattr(function, "__qualname__", function))


class Job:
    """One command of the library in a child process, started at once.

    Attributes:
        title: what the job is, in a word or two.
        state: running, done, cancelled or failed.
        progress: the newest ``JobProgress``.
        progressed: called with the job whenever progress was read.
        logged: called with the job whenever lines were added to the log.
        finished: called with the job once it has ended, in whatever way.
        result: what the command handed back, a dict.
        value: what ``load`` made of the result, once done.
        error: why the job failed, None otherwise.
        log: the last lines the child printed, without the events.
        log_path: file with the whole output.
        awaited: whether somebody waits for it, who is told its error.
    """

    def __init__(
        self,
        arguments: Sequence[str | os.PathLike[str]],
        *,
        title: str = "",
        load: Callable[[dict[str, Any]], Any] | None = None,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        cancel_seconds: float = CANCEL_SECONDS,
    ) -> None:
        """Start the child.

        Args:
            arguments: of the command line, such as ``["train", "--data", folder]``.
            title: for people.
            load: called in ``poll`` with the result once the child has succeeded, or has failed in part and handed
                back what there is; what it returns becomes ``value``, and an error from it makes the job fail.
            environment: variables for the child on top of this process's own, which stays as it is.
            command: what to run in place of this library's command line.
            cancel_seconds: time the child has for saving after ``cancel`` before it is ended.

        Raises:
            SkullGANError: the child cannot be started.
        """
        self.title = title or str(next(iter(arguments), "job"))
        self.state = JobState.RUNNING
        self.progress = JobProgress()
        self.progressed, self.logged, self.finished = Hook(), Hook(), Hook()
        self.awaited = False
        self.result: dict[str, Any] = {}
        self.value: Any = None
        self.error: SkullGANError | None = None
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._load = load
        self._folder = tempfile.TemporaryDirectory(prefix="skullgan-job-", ignore_cleanup_errors=True)
        self.log_path = Path(self._folder.name) / "log.txt"
        self._sentinel = Path(self._folder.name) / "cancel"
        self._events: list[dict[str, Any]] = []
        self._has_new_log = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._asked_at: float | None = None
        self._told_to_end = False
        self._reported = False  # whether the child said how it ended
        self._cancel_seconds = cancel_seconds
        self._polling = False
        line = list(command or [python_executable(), "-m", "SkullGANLib"]) + [os.fspath(a) for a in arguments]
        if command is None:
            line += ["--events", "--cancel-file", str(self._sentinel)]
        self._process = self._start(line, environment or {})
        self._reader = open(self.log_path, "rb")  # noqa: SIM115 (closed when the job ends)
        atexit.register(self.stop)

    def _start(self, line: list[str], environment: Mapping[str, str]) -> subprocess.Popen:
        own_group = (
            {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
            if os.name == "nt"
            else {"start_new_session": True}
        )
        try:
            with open(self.log_path, "wb") as output:
                return subprocess.Popen(
                    line,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**child_environment(), **environment},
                    **own_group,
                )
        except OSError as error:
            raise SkullGANError(
                f"The child process for {self.title} could not be started ({error}).",
                "Check that there is disk space and that the installation is complete.",
            ) from error

    @property
    def running(self) -> bool:
        """Whether the job has not ended yet."""
        return self.state is JobState.RUNNING

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to stop and has not ended yet."""
        return self.running and self._asked_at is not None

    def cancel(self) -> None:
        """Ask the child to save its work and stop; it is ended when it does not in time. Returns at once."""
        if self.running and self._asked_at is None:
            self._asked_at = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk: the child is ended without saving
                self._sentinel.touch()

    def kill(self) -> None:
        """End the child and everything it started, now."""
        if self.running:
            self._asked_at = self._asked_at or time.monotonic()
            self._signal_tree(hard=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=TERMINATE_SECONDS)
            self.poll()

    def stop(self) -> None:
        """Cancel, give the child a few seconds to save, and end it: for when this process itself ends."""
        self.cancel()
        end = time.monotonic() + QUIT_SECONDS
        while self.poll() and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        self.kill()

    def poll(self) -> bool:
        """Read what is new, call the hooks, and say whether the job is still running. Never blocks."""
        if not self.running or self._polling:
            return self.running
        self._polling = True
        try:
            ended = self._has_ended()  # asked before reading, so that the tail is read
            self._read(everything=ended)
            self._enforce_cancel()
            if ended:
                self._finish(self._process.returncode)
        finally:
            self._polling = False
        return self.running

    def wait(self, timeout: float | None = None, tick: Callable[[], object] | None = None) -> Any:
        """Wait for the end and return ``value`` (the result where nothing is to be loaded).

        Args:
            timeout: in seconds; None waits for ever.
            tick: called again and again, such as ``slicer.app.processEvents``.

        Raises:
            SkullGANError: the job failed.
            Cancelled: it was cancelled.
            TimeoutError: it still runs.
        """
        self.awaited = True
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll():
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"{self.title} is still running after {timeout:g} s.")
            if tick is not None:
                tick()
            time.sleep(POLL_SECONDS)
        if self.state is JobState.CANCELLED:
            raise Cancelled(f"{self.title} was cancelled.")
        if self.error is not None:
            raise self.error
        return self.value

    def log_text(self, lines: int | None = None) -> str:
        """The last ``lines`` lines of the log, all that are kept if None."""
        kept = list(self.log)
        return "\n".join(kept if lines is None else kept[-lines:])

    def save_log(self, path: str | os.PathLike[str]) -> Path:
        """Copy the whole output to a file."""
        return Path(shutil.copyfile(self.log_path, path))

    def _has_ended(self) -> bool:
        if self._process.poll() is None:
            return False
        if os.name == "nt" or not self._told_to_end or self._overdue() > 2 * TERMINATE_SECONDS:
            return True
        try:  # a launcher ends at once; what it has launched may still be saving
            os.killpg(self._process.pid, 0)
        except OSError:
            return True
        return False

    def _overdue(self) -> float:
        """Seconds since the time for saving ran out; negative before."""
        return -1.0 if self._asked_at is None else time.monotonic() - self._asked_at - self._cancel_seconds

    def _read(self, *, everything: bool) -> None:
        while chunk := self._reader.read(READ_BYTES):
            self._take(self._decoder.decode(chunk))
            if not everything:
                break
        if everything:
            self._take(self._decoder.decode(b"", final=True) + "\n")
        if self._has_new_log:
            self._has_new_log = False
            self.logged(self)
        events, self._events = self._events, []
        for event in events:
            self._apply(event)

    def _take(self, text: str) -> None:
        *lines, self._line = re.split(r"[\r\n]+", self._line + text)
        for line in lines:
            event = parse_event(line)
            if event is not None:
                self._events.append(event)
            elif line.strip():
                self.log.append(line[:LOG_LINE_LENGTH])
                self._has_new_log = True
        if len(self._line) > READ_BYTES:  # no end of line for megabytes: not ours, and not worth memory
            self.log.append(self._line[:LOG_LINE_LENGTH])
            self._line = ""

    def _apply(self, event: dict[str, Any]) -> None:
        if isinstance(event.get("result"), dict):
            self.result.update(event["result"])
        elif "exit_code" in event:
            self._reported = True
            if event.get("error"):
                self.error = SkullGANError(str(event["error"]), str(event.get("advice") or ""))
        else:
            values = {key: v for key, v in event.items() if key not in ("value", "maximum", "message")}
            value, maximum = (int(event.get(key) or 0) for key in ("value", "maximum"))
            self.progress = JobProgress(value, maximum, str(event.get("message", "")), values)
            self.progressed(self)

    def _enforce_cancel(self) -> None:
        if self._overdue() > TERMINATE_SECONDS:
            self._signal_tree(hard=True)
        elif self._overdue() > 0 and not self._told_to_end:
            self._told_to_end = True
            self._signal_tree(hard=False)

    def _signal_tree(self, *, hard: bool) -> None:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if os.name == "nt":
                force = ["/F"] if hard else []
                line = ["taskkill", *force, "/T", "/PID", str(self._process.pid)]
                subprocess.run(line, capture_output=True, creationflags=subprocess.CREATE_NO_WINDOW, check=False)
            else:
                os.killpg(self._process.pid, signal.SIGKILL if hard else signal.SIGTERM)

    def _finish(self, code: int) -> None:
        self._reader.close()
        atexit.unregister(self.stop)
        if code == 0:
            self.state = JobState.DONE
            self._load_value()
        elif code == 2 or self._asked_at is not None:
            self.state, self.error = JobState.CANCELLED, None
        else:
            if self.result and self._load is not None:  # of several scans some may have served
                self._load_value()
            self.state = JobState.FAILED
            self.error = self.error or _crash(self.title, code, list(self.log), self._reported)
        self.finished(self)

    def _load_value(self) -> None:
        try:
            self.value = self.result if self._load is None else self._load(self.result)
        except SkullGANError as error:
            self._fail(error)
        except Exception as error:  # the hooks must run whatever happens here
            words = f"The result of {self.title} could not be loaded ({type(error).__name__}: {error})."
            failure = SkullGANError(words, "The files are on disk; load them by hand.")
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, error: SkullGANError) -> None:
        self.state = JobState.FAILED
        self.error = self.error or error


def parse_event(line: str) -> dict[str, Any] | None:
    """The content of an event line; None for any other line, and for one that is cut off."""
    start = line.find(EVENT_PREFIX)  # a bar or a warning without an end of line may stand before it
    if start < 0:
        return None
    try:
        event = json.loads(line[start + len(EVENT_PREFIX) :])
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def python_executable() -> str:
    """The interpreter for child processes: Slicer's own launcher inside Slicer."""
    return shutil.which("PythonSlicer") or sys.executable


def child_environment() -> dict[str, str]:
    """This process's environment with what the child needs: the library on its path, and output that comes at once."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }


def _crash(title: str, code: int, log: list[str], reported: bool) -> SkullGANError:
    launcher = [line for line in log if "exit abnormally" in line]  # Slicer's launcher ends with 1 whatever happened
    words = [line.strip() for line in log if line not in launcher]
    if code == -signal.SIGTERM or (os.name != "nt" and code == -signal.SIGKILL) or (launcher and not reported):
        return SkullGANError(
            f"{title}: the child process was ended from outside, or has crashed.",
            "If nobody ended it, memory ran out: close other programs, or use a smaller batch or volume.",
        )
    usage = next((line for line in reversed(words) if line.startswith("Error: ")), None)
    if usage is not None and not reported:  # of the command line, before the command began
        return SkullGANError(usage.removeprefix("Error: "), "Give another value.")
    reason = f"signal {-code}" if code < 0 else f"exit code {code}"
    last = f" Its last words: {words[-1]}" if words else ""
    return SkullGANError(f"{title}: the child process ended with {reason}.{last}", "The log says more.")
