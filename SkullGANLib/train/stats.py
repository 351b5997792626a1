"""Figures of a run, averaged into lines of ``stats.jsonl``."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from SkullGANLib.errors import ResourceError


class Statistics:
    """Collects the figures of steps and writes their means as one line of JSON for each interval.

    Args:
        path: of ``stats.jsonl``; lines of images that a resumed run has yet to see again are cut off.
        seen: images seen so far.
        tensorboard: write the figures into ``tensorboard`` beside the file, too.
        silent: write nothing, as all but the first of several processes.

    Raises:
        ResourceError: TensorBoard is asked for and not installed.
    """

    def __init__(self, path: Path, seen: int = 0, *, tensorboard: bool = False, silent: bool = False) -> None:
        self.path, self.silent = path, silent
        self._board = _board(path.with_name("tensorboard"), seen) if tensorboard and not silent else None
        self._values: dict[str, list[float]] = defaultdict(list)
        lines = read_stats(path)
        self.seconds = lines[-1]["seconds"] if lines else 0.0
        kept = [line for line in lines if line["images"] <= seen]
        if silent:
            return
        if len(kept) < len(lines) or (path.exists() and not path.read_text(encoding="utf-8").endswith("\n")):
            path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def add(self, figures: dict[str, float]) -> None:
        """Take in the figures of one step."""
        for name, value in figures.items():
            self._values[name].append(value)

    def write(self, **facts: float) -> dict[str, float]:
        """Append a line with ``facts`` and the means since the last line; returns it."""
        line = {**facts, **{name: math.fsum(values) / len(values) for name, values in self._values.items()}}
        self._values.clear()
        if self.silent:
            return line
        for name, value in line.items() if self._board else ():
            if name != "images":
                self._board.add_scalar(name, value, int(line["images"]))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line

    def close(self) -> None:
        """Write out what TensorBoard's writer still holds."""
        if self._board:
            self._board.close()


def _board(folder: Path, seen: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ResourceError(
            "TensorBoard is not installed.", 'Install it with: pip install "SkullGANLib[tracking]".'
        ) from error
    return SummaryWriter(folder, purge_step=seen)


def read_stats(path: str | Path) -> list[dict[str, float]]:
    """The whole lines of a ``stats.jsonl``; one that a killed process left half written is skipped."""
    path, lines = Path(path), []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
