"""The closest of many segments to another one, also where that is mirrored, shifted by some pixels or noisy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.radiological import refuse_non_finite
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.arrays import block_means

BLUR_PX = 1.0
"""Of a Gaussian before anything is compared: of 20 HU of noise, 6 remain."""
SURFACE_HU = 300.0
"""The outer surface is the first pixel of a column above this."""
BONE_HU = 100.0
"""Pixels of the blurred image above this count as bone."""
TOP_ROW = 10
"""To this row the outer surface is moved before segments are compared."""
REACH_PX = 3
"""Segments are shifted against each other by up to this much, after that, to find how they fit best."""
MARGIN_PX = 6
"""Columns left out at either side, where shifted bone has left the image, and the blur of what came in instead."""
CELL_PX = 4
"""For the first look at all pairs, segments are means over squares of this size."""
COARSE_SHIFTS_PX = tuple((down, right) for down in (-1, 0, 1) for right in (-2, 0, 2))
SMALLEST_PX = 48
"""Smaller segments hold too little of the bone: of 32 pixels, other heads looked like copies."""
CANDIDATES = 8
CHUNK = 256


@dataclass(frozen=True)
class Closest:
    """The closest reference of each of M queries.

    Attributes:
        index: (M,) int64 row of the reference; -1 where there is none that may be compared.
        distance_hu: (M,) float64; infinite where there is none, or no bone.
        mirrored: (M,) bool, whether the reference matches when mirrored left to right.
        candidates: (M, k) int64 rows of the closest at first look, each of them as 2 row + mirrored; -1 for none.
    """

    index: np.ndarray
    distance_hu: np.ndarray
    mirrored: np.ndarray
    candidates: np.ndarray


class Prepared:
    """Segments as they are compared: blurred and with their outer surface at one row, and cells for a first look.

    Args:
        hu: (N, H, W) HU; may be memory-mapped.
        progress: told the segments looked at.

    Attributes:
        hu: as given; ``positions`` in it are those of the segments.
        cells: (N, rows, columns) float32 means over squares, for a first look.
        height: rows of the images from the top that hold any bone.

    Raises:
        InputError: pixels that are not finite, or too few of them.
    """

    def __init__(self, hu: np.ndarray, *, progress: Progress | None = None) -> None:
        if min(hu.shape[1:]) < SMALLEST_PX:
            raise InputError(f"{too_small(hu)}.", "Compare larger ones.")
        refuse_non_finite(hu)
        self.hu, self.positions, self.height, parts = hu, np.arange(len(hu)), 0, []
        for start in range(0, len(hu), CHUNK):
            report(progress, start, len(hu), "Looking at the segments")
            images = self.images(np.arange(start, min(start + CHUNK, len(hu))))
            self.height = max(self.height, int(np.flatnonzero(images.any((0, 2))).max(initial=-1)) + 1)
            parts.append(_cells(images))
        self.cells = np.concatenate(parts) if parts else np.empty((0, 0, 0), np.float32)

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, rows: np.ndarray) -> Prepared:
        """Some of them, in the order of ``rows``."""
        some = copy.copy(self)
        some.positions, some.cells = self.positions[rows], self.cells[rows]
        return some

    def images(self, rows: np.ndarray) -> np.ndarray:
        """(n, H + 2 reach, W) float32 HU, blurred, the mean outer surface at one row, background 0."""
        import cv2

        height, width = self.hu.shape[1:]
        out = np.zeros((len(rows), height + 2 * REACH_PX, width), np.float32)
        for i, row in enumerate(self.positions[rows]):
            image = cv2.GaussianBlur(np.maximum(np.asarray(self.hu[row], np.float32), 0), (0, 0), BLUR_PX)
            up = _surface_row(image) - TOP_ROW
            moved = image[max(up, 0) : height + min(up, 0)]
            first = REACH_PX + max(-up, 0)
            out[i, first : first + len(moved)] = moved
        return out


def too_small(hu: np.ndarray) -> str:
    """Why segments of this size cannot be told from copies, without a full stop; empty where they can."""
    if min(hu.shape[1:]) >= SMALLEST_PX:
        return ""
    return f"Segments of {hu.shape[1]}x{hu.shape[2]} pixels hold too little detail to tell a copy from another head"


def first_look(queries: Prepared, rows: np.ndarray, references: Prepared) -> np.ndarray:
    """Sums of squared differences between cells, at the best of a few shifts: (n, N, 2), the second mirrored."""
    images, cells = queries.images(rows), references.cells
    flat = cells.reshape(len(cells), -1)
    used = flat.any(axis=0)  # the lower half of the image is empty
    flat = flat[:, used]
    square, best = np.einsum("ij,ij->i", flat, flat), np.full((len(rows), len(cells), 2), np.inf, np.float32)
    for shift in COARSE_SHIFTS_PX:
        view = _cells(images, *shift)
        for mirrored, each in enumerate((view, view[:, :, ::-1])):
            each = each.reshape(len(rows), -1)
            found = square - 2 * (each[:, used] @ flat.T) + np.einsum("ij,ij->i", each, each)[:, None]
            np.minimum(best[:, :, mirrored], found, out=best[:, :, mirrored])
    return best


def find_closest(
    queries: Prepared,
    references: Prepared,
    *,
    allowed: Callable[[np.ndarray], np.ndarray] | None = None,
    progress: Progress | None = None,
    message: str = "Looking for copies",
) -> Closest:
    """The closest reference of each query.

    The distance is the root mean square difference over all pixels that are bone in one of the two, once both are
    blurred, the reference is mirrored or not, and shifted to where it fits best. All pairs are looked at coarsely, the
    best few of each query exactly.

    Args:
        queries, references: of the same height and width.
        allowed: takes (n,) rows of queries and says which references each may be compared with: (n, N) bool.
        progress: told the queries done.

    Raises:
        InputError: different sizes.
    """
    if len(references) and queries.hu.shape[1:] != references.hu.shape[1:]:
        raise InputError(
            f"Segments of {queries.hu.shape[1:]} pixels cannot be compared with those of {references.hu.shape[1:]}.",
            "Both need the same height and width.",
        )
    found = Closest(
        np.full(len(queries), -1),
        np.full(len(queries), np.inf),
        np.zeros(len(queries), bool),
        np.full((len(queries), CANDIDATES), -1),
    )
    height = max(queries.height, references.height, TOP_ROW) + REACH_PX
    for start in range(0, len(queries), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(queries)))
        report(progress, start, len(queries), message)
        looks = first_look(queries, rows, references)
        if allowed is not None:
            looks[~allowed(rows)] = np.inf
        codes = _best(looks.reshape(len(rows), -1))
        found.candidates[rows, : codes.shape[1]] = codes
        images = queries.images(rows)[:, :height]
        needed, place = np.unique(codes // 2, return_inverse=True)
        others, place = references.images(np.maximum(needed, 0))[:, :height], place.reshape(codes.shape)
        for i, row in enumerate(rows):
            if i % 16 == 0:
                report(progress, int(row), len(queries), message)
            for code, position in zip(codes[i], place[i], strict=True):
                if code < 0:
                    continue
                other = others[position][:, ::-1] if code % 2 else others[position]
                distance = aligned_distance(images[i], other)
                if distance < found.distance_hu[row]:
                    found.distance_hu[row], found.index[row], found.mirrored[row] = distance, code // 2, code % 2
    return found


def aligned_distance(image: np.ndarray, other: np.ndarray) -> float:
    """Root mean square difference in HU over the bone of either, shifted to the best fit, to a fraction of a pixel.

    The whole pixels are tried out; what remains of the shift is fitted to first order by least squares (Lucas and
    Kanade, 1981).

    Args:
        image, other: (H, W) float32 from ``Prepared.images``.
    """
    import cv2

    inner = slice(MARGIN_PX, image.shape[1] - MARGIN_PX)
    part = image[REACH_PX:-REACH_PX, inner]
    window = other[:, MARGIN_PX - REACH_PX : other.shape[1] - MARGIN_PX + REACH_PX]
    errors = cv2.matchTemplate(np.ascontiguousarray(window), np.ascontiguousarray(part), cv2.TM_SQDIFF)
    down, right = np.unravel_index(errors.argmin(), errors.shape)
    place = np.s_[down : down + part.shape[0], right : right + part.shape[1]]
    fitted = window[place]
    down_slope, right_slope = np.gradient(fitted)
    bone = (part > BONE_HU) | (fitted > BONE_HU)
    count = int(bone.sum())
    if not count:
        return np.inf
    difference = (part - fitted)[bone].astype(np.float64)
    slopes = np.stack([down_slope[bone], right_slope[bone]]).astype(np.float64)
    normal = slopes @ slopes.T
    normal[[0, 1], [0, 1]] += 1e-6 * np.trace(normal) + 1e-9
    step = np.clip(np.linalg.solve(normal, slopes @ difference), -1, 1)
    rest = difference - step @ slopes
    return float(np.sqrt(min(rest @ rest, difference @ difference) / count))


def _surface_row(image: np.ndarray) -> int:
    inner = image[:, MARGIN_PX:-MARGIN_PX] > SURFACE_HU
    first = inner.argmax(0)[inner.any(0)]
    return int(np.rint(first.mean())) if len(first) else TOP_ROW


def _cells(images: np.ndarray, down: int = 0, right: int = 0) -> np.ndarray:
    """(n, rows, columns) float32 means over squares of shifted images, inside the margins."""
    height, width = images.shape[1:]
    rows, columns = (height - 2 * REACH_PX) // CELL_PX, (width - 2 * MARGIN_PX) // CELL_PX
    top, left = REACH_PX - down, (width - columns * CELL_PX) // 2 - right
    return block_means(images[:, top : top + rows * CELL_PX, left : left + columns * CELL_PX], CELL_PX)


def _best(looks: np.ndarray) -> np.ndarray:
    """Columns of the smallest values of each row, the smallest first: (n, up to ``CANDIDATES``), -1 for none."""
    keep = min(CANDIDATES, looks.shape[1])
    codes = np.argpartition(looks, keep - 1, axis=1)[:, :keep] if keep else np.empty((len(looks), 0), np.int64)
    best = np.take_along_axis(looks, codes, 1)
    order = np.argsort(best, axis=1, kind="stable")
    codes, best = np.take_along_axis(codes, order, 1), np.take_along_axis(best, order, 1)
    return np.where(np.isfinite(best), codes, -1)
