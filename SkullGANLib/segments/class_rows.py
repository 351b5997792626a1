"""Images on their way into a data set: in a file, not in memory, and which of them are copies of one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_BLOCK = 1 << 24
_INT16 = np.iinfo(np.int16)


class RowFile:
    """Images one after the other in a file: int16 until one does not fit, from then on float32."""

    def __init__(self, folder: Path, size: int) -> None:
        """Begin a file in ``folder`` for (size, size) images."""
        self._folder, self._size, self._dtype = folder, size, np.dtype(np.int16)
        self._file = open(folder / "int16", "wb")  # noqa: SIM115

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()

    def append(self, image: np.ndarray) -> None:
        """Add (size, size) float32."""
        if self._dtype == np.int16:
            fits = image.min() >= _INT16.min and image.max() <= _INT16.max
            if not fits or (image != np.rint(image)).any():
                self._widen()
        self._file.write(image.astype(self._dtype).tobytes())

    def chosen(self, rows: np.ndarray) -> np.ndarray:
        """The images of ``rows``, ascending, as (n, size, size) int16 or float32, memory-mapped; the others are lost.

        To be called once, when the file is closed.
        """
        images = np.memmap(self._file.name, self._dtype, "r+").reshape(-1, self._size, self._size)
        if len(rows) < len(images):
            for place, row in enumerate(rows):
                images[place] = images[row]
        return images[: len(rows)]

    def _widen(self) -> None:
        self._file.close()
        narrow, self._dtype = self._file.name, np.dtype(np.float32)
        self._file = open(self._folder / "float32", "wb")  # noqa: SIM115
        with open(narrow, "rb") as file:
            while block := file.read(_BLOCK):
                self._file.write(np.frombuffer(block, np.int16).astype(np.float32).tobytes())
        Path(narrow).unlink()


def copies(digests: Sequence[str], classes: Sequence[str]) -> tuple[list[list[int]], list[list[int]]]:
    """Rows of the same content.

    Args:
        digests: of the content of each row.
        classes: of each row.

    Returns:
        Groups of rows, each of two or more: those that lie in several classes, and those that lie in one.
    """
    same: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        same.setdefault(digest, []).append(row)
    groups: tuple[list[list[int]], list[list[int]]] = [], []
    for rows in same.values():
        if len(rows) > 1:
            groups[len({classes[row] for row in rows}) == 1].append(rows)
    return groups
