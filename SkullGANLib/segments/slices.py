"""Which segments of a data set are slices of one volume, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SkullGANLib.segments.dataset import SegmentDataset

_FARTHEST = 1.5  # times the usual distance, beyond which a slice is no neighbour
_SAME = ("subject", "volume", "plane", "region", "side")


def adjacent(sets: Sequence[SegmentDataset]) -> tuple[list[np.ndarray], list[np.ndarray], float | None]:
    """Of each set, the row of the slice behind each, (N,), and that of the slice before, and how many mm these usually
    are apart; a slice without one has itself.
    """
    chains, gaps = [], [np.empty(0)]
    for number, each in enumerate(sets):
        position = each.table["position_mm"].astype(float)
        groups: dict[tuple, list[int]] = {}
        for row, key in enumerate(zip(*(each.table[name] for name in _SAME), strict=True)):
            groups.setdefault(key, []).append(row)
        for rows in groups.values():
            order = np.array(rows)[np.argsort(position[rows], kind="stable")]
            chains.append((number, order, np.diff(position[order])))
            gaps.append(chains[-1][2])
    known = np.concatenate(gaps)
    known = known[np.isfinite(known) & (known > 0)]
    usual = float(np.median(known)) if len(known) else None
    behind, before = ([np.arange(len(each)) for each in sets] for _ in range(2))
    for number, order, steps in chains if usual else ():
        near = np.flatnonzero((steps > 0) & (steps < _FARTHEST * usual))
        behind[number][order[near]] = order[near + 1]
        before[number][order[near + 1]] = order[near]
    return behind, before, usual


def around(rows: np.ndarray, before: np.ndarray, behind: np.ndarray, reach: int) -> np.ndarray:
    """(n, 2 * reach + 1) rows of the slices around each of ``rows``, (n,), in their order."""
    columns = [rows]
    for _ in range(reach):
        columns = [before[columns[0]], *columns, behind[columns[-1]]]
    return np.stack(columns, 1)
