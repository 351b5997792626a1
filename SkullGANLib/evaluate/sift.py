"""How many points of detail two segments share, by SIFT (Lowe, 2004): a copy shares most, another head hardly any."""

from __future__ import annotations

import numpy as np

from SkullGANLib.progress import Progress, report

ENLARGED = 2
"""Segments are enlarged this much first: in 128 pixels few points are large enough for a descriptor."""
WINDOW_HU = (0.0, 2700.0)
"""Shown black and white to SIFT, which takes 8-bit images."""
RATIO = 0.75
"""Lowe's ratio test: a match counts if the second best is further away by more than this."""


class Points:
    """Descriptors of segments, found once each.

    Args:
        hu: (N, H, W) HU; may be memory-mapped.
    """

    def __init__(self, hu: np.ndarray) -> None:
        import cv2

        self.hu, self._sift = hu, cv2.SIFT_create()
        self._known: dict[tuple[int, bool], np.ndarray] = {}

    def of(self, row: int, mirrored: bool = False) -> np.ndarray:
        """(k, 128) float32 descriptors of one segment."""
        key = (int(row), bool(mirrored))
        if key not in self._known:
            self._known[key] = self._find(np.asarray(self.hu[key[0]], np.float32)[:, :: -1 if mirrored else 1])
        return self._known[key]

    def _find(self, hu: np.ndarray) -> np.ndarray:
        import cv2

        low, high = WINDOW_HU
        image = ((hu - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
        image = image[: int(np.flatnonzero(image.any(1)).max(initial=0)) + 8]
        image = cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
        found = self._sift.detectAndCompute(image, None)[1]
        return np.empty((0, 128), np.float32) if found is None else found


def matches(first: np.ndarray, second: np.ndarray) -> int:
    """How many descriptors of the second are matched by one of the first, by the ratio test.

    One that is matched several times counts once: where it has few, all the odd points of the other fall to the same.

    Args:
        first, second: (k, 128) and (m, 128) descriptors.
    """
    if not len(first) or len(second) < 2:
        return 0
    square = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * first @ second.T
    best, next_best = np.partition(np.maximum(square, 0), 1, axis=1)[:, :2].T
    return len(np.unique(square.argmin(axis=1)[best < RATIO**2 * next_best]))


def most_matches(
    queries: np.ndarray, references: Points, candidates: np.ndarray, *, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The largest number of matches of each query with any of its candidates.

    Args:
        queries: (M, H, W) HU.
        references: to be matched with.
        candidates: (M, k) codes 2 row + mirrored, as in ``Closest``; -1 for none.

    Returns:
        (M,) int64 numbers of matches, and (M,) numbers of points in the query.
    """
    own = Points(queries)
    found, points = np.zeros(len(queries), np.int64), np.zeros(len(queries), np.int64)
    for i, codes in enumerate(candidates):
        if i % 16 == 0:
            report(progress, i, len(queries), "Matching points of detail")
        first = own.of(i)
        points[i] = len(first)
        for code in codes[codes >= 0]:
            found[i] = max(found[i], matches(first, references.of(code // 2, code % 2 == 1)))
    return found, points
