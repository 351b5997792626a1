"""How close one cloud of features lies to another, and how much of it is covered: functions of arrays and weights.

Each class computes once what does not change (neighbours, distances), so that an interval costs little.
"""

from __future__ import annotations

import numpy as np

from SkullGANLib.errors import InputError

NEIGHBOURS = 5


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Frechet distance of two Gaussians fitted to features (Heusel et al., NeurIPS 2017, eq. 6).

    It is too high by a part that grows as the sets get smaller: compare only figures of sets of equal size.

    Args:
        first, second: (n, d) and (m, d), at least 2 each.
    """
    return frechet_of_weights(first, second, np.ones(len(first)), np.ones(len(second)))


def frechet_of_weights(
    first: np.ndarray, second: np.ndarray, first_weights: np.ndarray, second_weights: np.ndarray
) -> float:
    """The Frechet distance where each segment counts as often as its weight says; the weights are (n,) and (m,)."""
    mean_1, covariance_1 = _moments(first, first_weights)
    mean_2, covariance_2 = _moments(second, second_weights)
    values, vectors = np.linalg.eigh(covariance_1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ covariance_2 @ root).clip(0)).sum()
    apart = mean_1 - mean_2
    return float(max(apart @ apart + np.trace(covariance_1) + np.trace(covariance_2) - 2 * shared, 0))


def _moments(features: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features, total = np.asarray(features, np.float64), weights.sum()
    mean = weights @ features / total
    centred = features - mean
    return mean, (centred.T * weights) @ centred / (total - 1)


def precision_recall(real: np.ndarray, synthetic: np.ndarray, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Share of synthetic segments among the real ones, and of real among the synthetic ones (Kynkaanniemi et al. 2019).

    Args:
        real, synthetic: (n, d) and (m, d), more than ``k`` each.
        k: a segment reaches as far as its ``k``-th nearest neighbour in its own set.
    """
    precision, recall, _, _ = Neighbourhoods(real, synthetic, k).shares(np.ones(len(real)), np.ones(len(synthetic)))
    return float(precision), float(recall)


def density_coverage(real: np.ndarray, synthetic: np.ndarray, k: int = NEIGHBOURS) -> tuple[float, float]:
    """How densely synthetic segments lie where real ones do, 1 being as densely as these, and the share of real
    segments with a synthetic one nearby (Naeem et al. 2020); arguments as of :func:`precision_recall`."""
    _, _, density, coverage = Neighbourhoods(real, synthetic, k).shares(np.ones(len(real)), np.ones(len(synthetic)))
    return float(density), float(coverage)


class Neighbourhoods:
    """Who lies within reach of whom; found once.

    The reach of a segment stays what it is in the whole set; where weights leave segments out, it is not widened.

    Args:
        real, synthetic: (n, d) and (m, d) features.
        k: neighbours that decide the reach.

    Raises:
        InputError: a set without more than ``k`` segments.
    """

    def __init__(self, real: np.ndarray, synthetic: np.ndarray, k: int = NEIGHBOURS) -> None:
        if min(len(real), len(synthetic)) <= k:
            raise InputError(
                f"{len(real)} real and {len(synthetic)} synthetic segments are too few for {k} neighbours.",
                f"Take more than {k} of each.",
            )
        across = distances(real, synthetic)
        self.k = k
        self._near_real = (across <= _reach(real, k)[:, None]).astype(np.float32)
        self._near_synthetic = (across <= _reach(synthetic, k)[None, :]).astype(np.float32)

    def shares(self, real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
        """Precision, recall, density and coverage, each segment counted as often as its weight says.

        Args:
            real, synthetic: (n,) and (m,) weights.
        """
        a, b = real.astype(np.float32), synthetic.astype(np.float32)
        around = a @ self._near_real  # for each synthetic segment, the real ones that reach it
        precision = synthetic @ (around > 0) / synthetic.sum()
        recall = real @ (self._near_synthetic @ b > 0) / real.sum()
        density = synthetic @ around * len(real) / (self.k * synthetic.sum() * real.sum())
        coverage = real @ (self._near_real @ b > 0) / real.sum()
        return np.array([precision, recall, density, coverage])


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) Euclidean distances of (n, d) and (m, d) features; within one set, 0 from each to itself."""
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    middle = x.mean(0)
    x, y = x - middle, y - middle
    square = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * (x @ y.T)
    if first is second:
        np.fill_diagonal(square, 0)
    return np.sqrt(square.clip(0))


def _reach(features: np.ndarray, k: int) -> np.ndarray:
    return np.partition(distances(features, features), k, axis=1)[:, k]  # at 0 stands the segment itself
