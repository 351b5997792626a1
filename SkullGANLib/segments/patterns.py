"""Drawings for the artificial set: bands of two tables and a diploe, laid out like a skull or plainly not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

IDEALISED = ("straight", "arc")
UNREALISTIC = ("zigzag", "wave", "battlement", "shreds", "checker", "blocks", "wedges", "stairs", "chevron")

_TOP_ROW = 10.0  # of 128: where the highest bone of a segment lies
_LONGEST_SAG = 35.0  # of 128: how far the ends of a curved segment hang down


@dataclass(frozen=True)
class Shape:
    """The outline of N drawings; every array is (N, columns).

    Attributes:
        top_row: row of the upper edge.
        stretch: thickness over the mean thickness; 0 is a gap.
        gain: brightness over the mean brightness.
        shift: moves the diploe up (-1: against the upper edge) or down (1); 0 is the middle.
    """

    top_row: np.ndarray
    stretch: np.ndarray
    gain: np.ndarray
    shift: np.ndarray

    @classmethod
    def stack(cls, shapes: Sequence[Shape]) -> Shape:
        """Drawings one after the other."""
        return cls(*(np.stack([getattr(shape, field.name) for shape in shapes]) for field in fields(cls)))

    def render(
        self, thickness_px: np.ndarray, tables: np.ndarray, peak_hu: np.ndarray, ratio: np.ndarray
    ) -> np.ndarray:
        """Draw with area sampling: an edge pixel holds the share that is bone.

        Args:
            thickness_px: (N,) mean thickness.
            tables: (N,) share of the thickness that the two tables take together.
            peak_hu: (N,) HU of the tables.
            ratio: (N,) HU of the diploe over that of the tables.

        Returns:
            (N, columns, columns) float32 HU, background 0.
        """
        thickness = thickness_px[:, None] * self.stretch
        bottom = self.top_row + thickness
        table = thickness * tables[:, None] / 2
        upper = self.top_row + table * (1 + 0.6 * self.shift)
        lower = bottom - table * (1 - 0.6 * self.shift)
        rows = np.arange(self.top_row.shape[1])[None, :, None]
        bone, diploe = _coverage(rows, self.top_row, bottom), _coverage(rows, upper, lower)
        bright = (peak_hu[:, None] * self.gain)[:, None, :]
        return (bright * (bone - (1 - ratio)[:, None, None] * diploe)).astype(np.float32)


def draw_shape(name: str, size: int, thickness_px: float, rng: np.random.Generator) -> Shape:
    """One drawing, at random within its pattern.

    Args:
        name: one of ``IDEALISED`` or ``UNREALISTIC``.
        size: rows and columns.
        thickness_px: mean thickness, so that the drawing stays inside the image.
        rng: source of chance.
    """
    scale = size / 128
    column = np.arange(size)
    top, stretch, gain, shift = np.full(size, _TOP_ROW * scale), np.ones(size), np.ones(size), np.zeros(size)
    room = max(size - 4 * scale - top[0] - 1.4 * thickness_px, 0)

    def period(low: float, high: float) -> int:
        return max(4, round(rng.uniform(low, high) * scale))

    def height(low: float, high: float) -> float:
        return min(rng.uniform(low, high) * scale, room)

    if name == "arc":
        middle = size * rng.uniform(0.4, 0.6)
        top = top + height(8, _LONGEST_SAG) * ((column - middle) / (size / 2)) ** 2 / 1.44
    elif name == "zigzag":
        phase = (column / period(16, 40) + rng.uniform()) % 1
        top = top + height(15, 45) * np.abs(2 * phase - 1)
    elif name == "wave":
        top = top + height(15, 45) * (1 + np.sin(2 * np.pi * (column / period(14, 36) + rng.uniform()))) / 2
    elif name == "battlement":
        top = top + height(15, 60) * (column // period(6, 20) % 2)
    elif name == "shreds":
        strip = column // period(4, 12)
        top = top + rng.uniform(0, height(50, 80), strip.max() + 1)[strip]
    elif name == "checker":
        odd = column // period(6, 14) % 2
        top, shift, gain = top + height(0, 50), 2.0 * odd - 1, np.where(odd, 1.12, 0.88)
    elif name == "blocks":
        block = column // period(8, 18)
        stretch = np.where(block % 2 == 0, 1.0, 0.0)
        top = top + height(20, 80) * (block // 2 % 2)
    elif name == "wedges":
        stretch = 0.6 + 0.8 * ((column / period(20, 44)) % 1)
    elif name == "stairs":
        step = period(10, 24)
        top = top + height(50, 90) * (column // step) / (size // step)
        top = top if rng.uniform() < 0.5 else top[::-1]
    elif name == "chevron":
        top = top + height(50, 90) * (1 - np.abs(column - size / 2) / (size / 2))
    return Shape(top, stretch, gain, shift)


def _coverage(rows: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Share of each pixel (row - 0.5 to row + 0.5) that lies between two edges; (N, rows, columns)."""
    return np.clip(np.minimum(rows + 0.5, end[:, None]) - np.maximum(rows - 0.5, start[:, None]), 0, 1)
