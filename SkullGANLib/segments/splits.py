"""Who goes into training and who into test: whole subjects, or as the paper did, single segments."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.segments.table import UNKNOWN_SUBJECT

_TRIALS = 64


def split_by_subject(subjects: np.ndarray, fractions: Mapping[str, float], seed: int = 0) -> np.ndarray:
    """Put every subject into one part, the parts as near the asked shares of segments as whole subjects allow.

    Many orders are drawn; in each the next subject goes where most is missing, then subjects move or trade places
    while that helps. The best result counts. No part stays empty while there are subjects enough; a single subject
    goes into the largest part, with a warning.

    Args:
        subjects: (N,) pseudonym of each segment.
        fractions: part to share, adding up to 1.
        seed: the same seed gives the same parts.

    Returns:
        (N,) name of the part of each segment.

    Raises:
        InputError: shares that are negative or do not add up to 1.
    """
    names, shares = _checked(fractions)
    _, subject, sizes = np.unique(subjects, return_inverse=True, return_counts=True)
    wanted = int((shares > 0).sum())
    if len(sizes) == 1 < wanted:
        warnings.warn(f"One subject only: all in {names[shares.argmax()]}.", stacklevel=2)
    elif len(sizes) < wanted:
        warnings.warn(f"{len(sizes)} subjects cannot fill {wanted} parts; some stay empty.", stacklevel=2)
    targets, rng = shares * sizes.sum(), np.random.default_rng(seed)
    best, best_distance = None, np.inf
    for _ in range(_TRIALS):
        part = _improve(_greedy(sizes, targets, rng.permutation(len(sizes))), sizes, targets)
        distance = float(np.abs(np.bincount(part, sizes, len(targets)) - targets).sum())
        if distance < best_distance:
            best, best_distance = part, distance
        if distance <= wanted / 2:  # half a segment in each part: whole segments come no nearer
            break
    return names[best[subject]]


def split_by_segment(n: int, fractions: Mapping[str, float], seed: int = 0) -> np.ndarray:
    """Shuffle segments whatever their subject, as the paper did: halves of one head can stand on both sides.

    Args:
        n: number of segments.
        fractions: part to share, adding up to 1.
        seed: the same seed gives the same parts.

    Returns:
        (n,) name of the part of each segment.
    """
    names, shares = _checked(fractions)
    ends = np.rint(np.cumsum(shares) * n).astype(int)
    parts = np.repeat(names, np.diff(ends, prepend=0))
    return np.random.default_rng(seed).permutation(parts)


def subjects_in_several_parts(table: Mapping[str, np.ndarray]) -> list[str]:
    """Pseudonyms in several parts of the column ``split``; segments of no part or no known subject do not count."""
    placed = (table["split"] != "") & ~np.isin(table["subject"], [*UNKNOWN_SUBJECT])
    pairs = np.unique(np.stack([table["subject"][placed], table["split"][placed]]), axis=1)
    subjects, counts = np.unique(pairs[0], return_counts=True)
    return subjects[counts > 1].tolist()


def _checked(fractions: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    names, shares = np.array(list(fractions), dtype=str), np.array(list(fractions.values()), dtype=float)
    if len(names) == 0 or not np.all(shares >= 0) or abs(shares.sum() - 1) > 1e-6 or "" in names:
        raise InputError(f"The shares {dict(fractions)} do not add up to 1.", "Give for example train=0.5 test=0.5.")
    return names, shares / shares.sum()


def _greedy(sizes: np.ndarray, targets: np.ndarray, order: np.ndarray) -> np.ndarray:
    """One subject for each part, the largest part first; then each next one where most is missing."""
    part, missing = np.empty(len(sizes), int), targets.copy()
    first = [chosen for chosen in np.argsort(-targets, kind="stable") if targets[chosen] > 0]
    for i, subject in enumerate(order):
        part[subject] = first[i] if i < len(first) else missing.argmax()
        missing[part[subject]] -= sizes[subject]
    return part


def _improve(part: np.ndarray, sizes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Take the best move of a subject, or trade between two, until none brings the parts nearer to the targets."""
    part, n_parts = part.copy(), len(targets)
    while True:
        excess = np.bincount(part, sizes, n_parts) - targets
        # Moving the size s from part a to part b changes the sum of squared errors by 2 s (s - excess_a + excess_b).
        move = 2 * sizes[:, None] * (sizes[:, None] - excess[part][:, None] + excess[None, :])
        move[np.arange(len(part)), part] = 0
        move[:, targets == 0] = np.inf
        move[(np.bincount(part, minlength=n_parts) == 1)[part]] = np.inf  # leaves no part empty
        net = sizes[:, None] - sizes[None, :]
        trade = 2 * net * (net - excess[part][:, None] + excess[part][None, :])
        trade[part[:, None] == part[None, :]] = 0
        if min(move.min(), trade.min()) > -1e-9:
            return part
        if move.min() <= trade.min():
            subject, to = np.unravel_index(move.argmin(), move.shape)
            part[subject] = to
        else:
            one, other = np.unravel_index(trade.argmin(), trade.shape)
            part[one], part[other] = part[other], part[one]
