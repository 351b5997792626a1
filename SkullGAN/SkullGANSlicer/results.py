"""What the logic hands out: a training run, a preview."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PIXEL_MM = 0.45  # of the pieces of a preview


@dataclass(frozen=True)
class Run:
    """A training run on disk.

    Attributes:
        path: its folder; training into it again resumes it.
    """

    path: Path

    @property
    def model(self) -> Path:
        """The folder of the model so far."""
        return self.path / "model"

    @property
    def samples(self) -> list[Path]:
        """Pictures of samples, the oldest first."""
        return sorted((self.path / "samples").glob("*.png"))

    def statistics(self) -> list[dict[str, float]]:
        """What was logged: images seen, losses, images per second."""
        lines = (self.path / "stats.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


@dataclass(frozen=True)
class Preview:
    """What ``preview`` found in one volume.

    Attributes:
        source: the volume node, or the path of the scan.
        segmentation: node of the skull vault.
        pieces: model node with the outline of every cutting square.
        tableNode: one row for each piece, with the reason against it where there is one.
        rows: the same table, column name to array; positions in LPS mm of the world.
        hu: (n, 128, 128) int16 HU of the pieces.
        kept: number of pieces good enough for a data set.
        notes: sentences worth reading.
    """

    source: Any
    segmentation: Any
    pieces: Any
    tableNode: Any
    rows: dict[str, np.ndarray]
    hu: np.ndarray
    kept: int
    notes: tuple[str, ...]
