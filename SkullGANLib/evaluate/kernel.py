"""How far apart two sets of images are, without a trained network: kernel distance on layout and texture features."""

from __future__ import annotations

import numpy as np

CELLS, TEXTURE_CELLS = 16, 8  # of the grids on which brightness and texture are described

_LEAST_SPREAD, _OUTLIER = 0.2, 5.0


def layout_and_texture(images: np.ndarray) -> np.ndarray:
    """Describe images by what is where, and how rough it is there at each scale.

    Args:
        images: (n, size, size) with a size that is a power of two or that 16 divides.

    Returns:
        (n, d) float32: means over a grid of 16 x 16 cells, and for each scale, from the finest to two pixels per cell,
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
    while rest.shape[-1] > cells and rest.shape[-1] % 2 == 0:
        coarse = _means(rest, rest.shape[-1] // 2)
        lost = rest - coarse.repeat(2, 1).repeat(2, 2)
        parts.append(np.sqrt(_means(lost**2, TEXTURE_CELLS)).reshape(n, -1))
        rest = coarse
    return np.concatenate([_means(rest, cells).reshape(n, -1), *parts], 1)


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
    kernel = [((a @ b.T) / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    n, m = len(x), len(y)
    within = [(k.sum() - np.trace(k)) / (count * (count - 1)) for k, count in ((kernel[0], n), (kernel[1], m))]
    return float(sum(within) - 2 * kernel[2].mean())


def _means(images: np.ndarray, cells: int) -> np.ndarray:
    """(n, size, size) averaged to (n, cells, cells)."""
    n, size = len(images), images.shape[-1]
    return images.reshape(n, cells, size // cells, cells, size // cells).mean((2, 4))
