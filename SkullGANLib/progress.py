"""How long work tells where it stands and learns that it should stop."""

from __future__ import annotations

from typing import Protocol

from SkullGANLib.errors import Cancelled


class Progress(Protocol):
    """What every long function takes; the command line and the Slicer module each bring their own."""

    def update(self, done: int, total: int, message: str = "", **values: float | str) -> None:
        """Report that ``done`` of ``total`` steps are finished; ``values`` are figures worth showing."""

    def cancelled(self) -> bool:
        """True once the user has asked to stop."""


def report(progress: Progress | None, done: int, total: int, message: str = "", **values: float | str) -> None:
    """Update ``progress`` if there is one.

    Raises:
        Cancelled: when the user has asked to stop.
    """
    if progress is None:
        return
    progress.update(done, total, message, **values)
    if progress.cancelled():
        raise Cancelled
