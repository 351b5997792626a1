"""What all commands share: how errors, cancelling and progress reach the screen or the calling process."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from SkullGANLib.errors import Cancelled, InputError, SkullGANError
from SkullGANLib.jobs import EVENT_PREFIX

if TYPE_CHECKING:
    from SkullGANLib.evaluate.inputs import Source

EXIT_FAILED, EXIT_CANCELLED = 1, 2


class _Stop:
    """Becomes true on SIGINT, SIGTERM or when the sentinel file appears; a second SIGINT stops at once."""

    def __init__(self, sentinel: Path | None) -> None:
        self.sentinel = sentinel
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __call__(self) -> bool:
        self.asked = self.asked or (self.sentinel is not None and self.sentinel.exists())
        return self.asked


class EventProgress:
    """Prints one line of ASCII JSON per update, at most ten a second, for a parent process to read."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        self.cancelled = stop
        self._last = 0.0

    def update(self, done: int, total: int, message: str = "", **values: float | str) -> None:
        now = time.monotonic()
        if done < total and now - self._last < 0.1:
            return
        self._last = now
        emit(value=done, maximum=total, message=message, **values)

    def result(self, **values: object) -> None:
        """Hand what came out to the calling program."""
        emit(result=values)

    def close(self) -> None:
        """Nothing to end."""


class BarProgress:
    """A tqdm bar on standard error, one for each message."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        self.cancelled = stop
        self._bar = None
        self._message = None

    def update(self, done: int, total: int, message: str = "", **values: float | str) -> None:
        from tqdm import tqdm

        if self._bar is None or message != self._message or total != self._bar.total:
            self.close()
            self._bar = tqdm(total=total, initial=0, desc=message, dynamic_ncols=True, leave=True, mininterval=0.2)
            self._message = message
        if values:
            self._bar.set_postfix(values, refresh=False)
        self._bar.update(done - self._bar.n)

    def result(self, **values: object) -> None:
        """A person reads the words of the command instead."""

    def close(self) -> None:
        """End the bar, keeping its last state on the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def emit(**event: object) -> None:
    """Print one event line for a parent process."""
    sys.stdout.write(EVENT_PREFIX + json.dumps(event, ensure_ascii=True, default=float) + "\n")
    sys.stdout.flush()


def numbers(text: str, kind: type, option: str) -> tuple:
    """Three positive numbers of an option, in which one stands for all.

    Raises:
        InputError: it is neither.
    """
    try:
        values = tuple(kind(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        values = ()
    if len(values) == 1:
        values *= 3
    if len(values) != 3 or min(values) <= 0:
        raise InputError(f"{option} {text} is not understood.", "Give one positive number, or three with commas.")
    return values


class FloatRange(click.FloatRange):
    """A range of numbers to which ``nan`` does not belong."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number.

        Raises:
            BadParameter: it is none, or outside.
        """
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


def copies_option(words: str) -> Callable:
    """``--copies``: what to do about segments that are copies of training segments, explained by ``words``."""
    choices = click.Choice(["refuse", "drop", "keep"])
    return click.option("--copies", default="refuse", show_default=True, type=choices, help=words)


def truncation_options(function: Callable) -> Callable:
    """The options ``--truncation`` and ``--centres``, for ``generate.classes.towards_middle``."""
    function = click.option(
        "--centres",
        default=1,
        show_default=True,
        type=click.IntRange(1, 256),
        help="Middles of a class for --truncation, by k-means; each image goes to the nearest.",
    )(function)
    return click.option(
        "--truncation",
        default=1.0,
        show_default=True,
        type=FloatRange(0, 1),
        help="Of a model with classes: less than 1 draws images towards the middle of their class, with less variety.",
    )(function)


def command(function: Callable) -> Callable:
    """Give a click command ``--events``, ``--cancel-file`` and ``--debug``, and a ``progress`` argument.

    Exit code 0 is done, 1 failed (one line of what, one of what to do), 2 cancelled with the work in hand saved.
    With ``--events`` the end is reported as an event too.
    """

    @click.option(
        "--events", is_flag=True, help=f"Print progress for a calling program: lines of '{EVENT_PREFIX}' and JSON."
    )
    @click.option(
        "--cancel-file",
        type=click.Path(path_type=Path),
        help="Stop cleanly as soon as this file exists.",
    )
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(function)
    def wrapper(*args, events: bool, cancel_file: Path | None, debug: bool, **kwargs):
        if int(os.environ.get("RANK", 0)):  # of several processes the first one speaks; all can fail
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        stop = _Stop(cancel_file)
        progress = EventProgress(stop) if events else BarProgress(stop)
        try:
            function(*args, progress=progress, **kwargs)
        except (Cancelled, KeyboardInterrupt):
            _finish(progress, events, EXIT_CANCELLED, canceled=True)
            trains = click.get_current_context().command.name == "train"
            what = "what was finished is saved" if trains else "nothing is left half done"
            click.echo(f"Stopped as asked; {what}.", err=True)
            sys.exit(EXIT_CANCELLED)
        except SkullGANError as error:
            _fail(error.message, error.advice, progress, events, debug)
        except MemoryError:
            _fail("Out of memory.", "Use a smaller batch, fewer jobs or a smaller volume.", progress, events, debug)
        except OSError as error:
            _fail(
                f"{error.strerror or error}: {error.filename or ''}".rstrip(": "),
                _os_advice(error),
                progress,
                events,
                debug,
            )
        _finish(progress, events, 0, success=True)

    return wrapper


def _os_advice(error: OSError) -> str:
    import errno

    if error.errno in (errno.ENOSPC, errno.EFBIG):
        return "Free some disk space and run the same command again."
    return "Check that the path exists and that you may read and write there."


def _fail(message: str, advice: str, progress: BarProgress | EventProgress, events: bool, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    _finish(progress, events, EXIT_FAILED, success=False, error=message, advice=advice)
    click.echo(f"Error: {message}", err=True)
    if advice:
        click.echo(advice, err=True)
    sys.exit(EXIT_FAILED)


def _finish(progress: BarProgress | EventProgress, events: bool, code: int, **event: object) -> None:
    progress.close()
    if events:
        emit(exit_code=code, **event)


@contextlib.contextmanager
def notes() -> Iterator[list[str]]:
    """Show what the library warns of as notes on the screen, at once and each only once; gives the list of them."""
    told: list[str] = []
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, UserWarning):
                usual(message, category, *place, **more)
            elif str(message) not in told:
                told.append(str(message))
                click.echo(f"Note: {message}")

        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield told


def open_segments(path: Path) -> Source:
    """The segments that a command is given: a data set folder, verified, or a ``.npy`` array."""
    from SkullGANLib.segments.arrays import open_npy
    from SkullGANLib.segments.dataset import SegmentDataset

    if path.suffix.lower() == ".npy":
        return open_npy(path)
    if path.is_file():
        raise InputError(f"{path} is neither a data set folder nor a .npy array.", "Give one of the two.")
    return SegmentDataset.open(path, verify=True)
