"""Figures of a run: averaged into lines of ``stats.jsonl``, and a cheap measure of how good a snapshot is."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np


class Statistics:
    """Collects the figures of steps and writes their means as one line of JSON for each interval.

    Args:
        path: of ``stats.jsonl``; lines of images that a resumed run has yet to see again are cut off.
        seen: images seen so far.
    """

    def __init__(self, path: Path, seen: int = 0) -> None:
        self.path = path
        self._values: dict[str, list[float]] = defaultdict(list)
        lines = read_stats(path)
        self.seconds = lines[-1]["seconds"] if lines else 0.0
        kept = [line for line in lines if line["images"] <= seen]
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
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line


def read_stats(path: str | Path) -> list[dict[str, float]]:
    """The whole lines of a ``stats.jsonl``; one that a killed process left half written is skipped."""
    path, lines = Path(path), []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def pixel_kernel_distance(one: np.ndarray, other: np.ndarray, *, cells: int = 16) -> float:
    """Unbiased squared kernel distance between two sets of images, averaged to ``cells`` x ``cells``.

    The kernel is that of KID (Binkowski et al. 2018), (x y / d + 1)^3, on pixels in place of network features: cheap,
    and enough to tell a good snapshot from a bad one. It is no measure to report.

    Args:
        one, other: (n, H, W) and (m, H, W) images in [-1, 1], n and m at least 2.

    Returns:
        About 0 for two draws from one distribution; can be slightly negative.
    """
    x, y = (_cells(images, cells) for images in (one, other))
    inner = [((a @ b.T) / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    n, m = len(x), len(y)
    within_x = (inner[0].sum() - np.trace(inner[0])) / (n * (n - 1))
    within_y = (inner[1].sum() - np.trace(inner[1])) / (m * (m - 1))
    return float(within_x + within_y - 2 * inner[2].mean())


def _cells(images: np.ndarray, cells: int) -> np.ndarray:
    n, height, width = images.shape
    step_y, step_x = max(1, height // cells), max(1, width // cells)
    cropped = images[:, : height // step_y * step_y, : width // step_x * step_x].astype(np.float64)
    return cropped.reshape(n, height // step_y, step_y, width // step_x, step_x).mean((2, 4)).reshape(n, -1)
