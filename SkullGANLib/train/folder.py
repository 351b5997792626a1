"""What all trainings ask of their folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from SkullGANLib.errors import InputError

FORMAT, VERSION, OPTIONS_FILE = "skullgan-run", 1, "options.json"
"""Of the options of a run of images, which lie in its folder."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other programs from training into the same folder; a crash ends that too.

    Raises:
        InputError: one does.
    """
    with suppress(OSError):  # refused later, in words
        folder.parent.mkdir(parents=True, exist_ok=True)
    if not folder.parent.is_dir():
        yield
        return
    from filelock import FileLock, Timeout

    path = folder.parent / f".{folder.name}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"Another program is training into {folder}.", "Wait for it, cancel it, or choose another --out."
        ) from error
    try:
        yield
    finally:
        lock.release()
        path.unlink(missing_ok=True)
