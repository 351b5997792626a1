"""How far apart two sets of images are, without a trained network: kernel distance on layout and texture features."""

from __future__ import annotations

import numpy as np

from SkullGANLib.segments.arrays import block_means

CELLS, TEXTURE_CELLS = 16, 8  # of the grids on which brightness and texture are described

_LEAST_SPREAD, _OUTLIER = 0.2, 5.0
LEAST_SUBJECTS = 4
"""With fewer, a mean over pairs of different subjects says nothing: of two subjects there is one such pair."""


def layout_and_texture(images: np.ndarray) -> np.ndarray:
    """Describe images by what is where, and how rough it is there at each scale.

    Args:
        images: (n, size, size) with a size that is a power of two or that 16 divides.

    Returns:
        (n, d) float32: means over a grid of 16 x 16 cells, and for each scale, as long as 16 cells divide it,
        the root mean square over 8 x 8 cells of what halving the resolution loses (a Haar pyramid).

    Raises:
        ValueError: another size.
    """
    rest = np.asarray(images, np.float32)
    n, size = len(rest), rest.shape[-1]
    cells = min(CELLS, size)
    if rest.ndim != 3 or rest.shape[1] != size or size % cells:
        raise ValueError(f"images of shape {rest.shape}: squares of a multiple of {CELLS} pixels are needed")
    parts = []
    while rest.shape[-1] > cells and rest.shape[-1] % (2 * cells) == 0:
        coarse = block_means(rest, 2)
        lost = rest - coarse.repeat(2, 1).repeat(2, 2)
        parts.append(np.sqrt(block_means(lost**2, lost.shape[-1] // TEXTURE_CELLS)).reshape(n, -1))
        rest = coarse
    return np.concatenate([block_means(rest, rest.shape[-1] // cells).reshape(n, -1), *parts], 1)


def kernel_distance(features: np.ndarray, reference: np.ndarray) -> float:
    """Unbiased squared kernel distance (KID, Binkowski et al. 2018), with the kernel (x y / d + 1)^3.

    Features are standardised with mean and standard deviation of the reference, so that none rules by its unit, and cut
    off at 5 standard deviations, so that no outlier rules by the cube. A feature that hardly varies, such as a cell of
    nothing but background, counts as varying a fifth as much as the others do.

    Args:
        features: (n, d), n at least 2.
        reference: (m, d), m at least 2: real ones.

    Returns:
        About 0 for two draws from one distribution; can be slightly negative.
    """
    centre, spread = reference.mean(0), reference.std(0)
    spread = np.maximum(spread, max(_LEAST_SPREAD * float(np.sqrt((spread**2).mean())), 1e-12))
    x, y = (np.clip((part - centre).astype(np.float64) / spread, -_OUTLIER, _OUTLIER) for part in (features, reference))
    return polynomial_kernel_distance(x, y)


def polynomial_kernel_distance(
    first: np.ndarray,
    second: np.ndarray,
    first_subjects: np.ndarray | None = None,
    second_subjects: np.ndarray | None = None,
) -> float:
    """Unbiased squared kernel distance of features as they are, with the kernel (x y / d + 1)^3.

    Args:
        first, second: (n, d) and (m, d), at least 2 each.
        first_subjects, second_subjects: see :class:`KernelComparison`.
    """
    comparison = KernelComparison(first, second, first_subjects, second_subjects)
    return comparison.distance(np.ones(len(first)), np.ones(len(second)))


class KernelComparison:
    """The kernel distance of two sets as a function of weights; the kernel is computed once.

    Args:
        first, second: (n, d) and (m, d) features, at least 2 each.
        first_subjects, second_subjects: pseudonyms, where known. Pairs of segments of one subject are then left out,
            from ``LEAST_SUBJECTS`` on: they are more alike than two draws are, so that the distance of few subjects
            would not be unbiased.
    """

    def __init__(
        self,
        first: np.ndarray,
        second: np.ndarray,
        first_subjects: np.ndarray | None = None,
        second_subjects: np.ndarray | None = None,
    ) -> None:
        x, y = (np.asarray(part, np.float64) for part in (first, second))
        self._within = [PairMean(_kernel(a, a), of) for a, of in ((x, first_subjects), (y, second_subjects))]
        self._across = self._within[0].gather(self._within[1].gather(_kernel(x, y).T).T)

    def distance(self, first: np.ndarray, second: np.ndarray) -> float:
        """The distance, each segment counted as often as its weight says; segments of one subject weigh the same."""
        a, b = (pairs.of_groups(w) for pairs, w in zip(self._within, (first, second), strict=True))
        across = a @ self._across @ b / (first.sum() * second.sum())
        return float(self._within[0].mean(first) + self._within[1].mean(second) - 2 * across)


class PairMean:
    """The mean over all pairs of different subjects as a function of weights; of different segments where unknown.

    Args:
        pairs: (n, n) a number for each pair of segments.
        subjects: (n,) pseudonyms; None where unknown. Fewer than ``LEAST_SUBJECTS`` count as unknown.
    """

    def __init__(self, pairs: np.ndarray, subjects: np.ndarray | None = None) -> None:
        groups = np.arange(len(pairs)) if subjects is None else np.unique(subjects, return_inverse=True)[1].reshape(-1)
        if groups.max(initial=0) + 1 < LEAST_SUBJECTS:
            groups = np.arange(len(pairs))
        self._order = np.argsort(groups, kind="stable")
        self._starts = np.flatnonzero(np.diff(groups[self._order], prepend=-1))
        self._sizes = np.diff(self._starts, append=len(pairs))
        self._sums = self.gather(self.gather(pairs).T)
        np.fill_diagonal(self._sums, 0)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """(n, k) numbers of segments, added up to (groups, k)."""
        return np.add.reduceat(rows[self._order], self._starts, axis=0)

    def of_groups(self, weights: np.ndarray) -> np.ndarray:
        """(n,) weights of segments to those of their groups, within which they are equal."""
        return weights[self._order[self._starts]]

    def mean(self, weights: np.ndarray) -> float:
        """The mean; nan where the weights leave a single subject."""
        weight = self.of_groups(weights)
        counts = weight * self._sizes
        pairs = counts.sum() ** 2 - counts @ counts
        return float(weight @ self._sums @ weight / pairs) if pairs > 0 else np.nan


def subset_deviation(first: np.ndarray, second: np.ndarray, *, seed: int = 0, subsets: int = 100) -> float:
    """Standard deviation of the kernel distance over random subsets of at most 500 of each set, as KID is published."""
    size, generator = min(500, len(first) // 2, len(second) // 2), np.random.default_rng(seed)
    if size < 2:
        return float("nan")
    drawn = [[part[generator.choice(len(part), size, False)] for part in (first, second)] for _ in range(subsets)]
    return float(np.std([polynomial_kernel_distance(*pair) for pair in drawn]))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3
