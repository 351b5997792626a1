"""What a pyramid that learnt one CT is worth: how well it rebuilds it, and how its samples differ from it.

Functions of arrays (slices, rows, columns) on [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SkullGANLib.evaluate.fidelity import frechet_distance
from SkullGANLib.evaluate.reconstruction import RADIUS, mse, psnr, ssim

NEIGHBOURHOOD = 3  # voxels along each side
_MOST = 200_000  # neighbourhoods


def rebuilding(made: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """``mse``, ``psnr`` in dB and, with a window of 11 x 11 x 11 voxels, ``ssim`` of a rebuilt volume.

    ``ssim`` is missing where a side has fewer than 11 voxels.
    """
    figures = {"mse": mse(made, real, volume=True), "psnr": psnr(made, real, volume=True)}
    if min(real.shape) > 2 * RADIUS:
        figures["ssim"] = ssim(made, real, volume=True)
    return figures


def diversity(samples: Sequence[np.ndarray], inside: np.ndarray) -> float:
    """Standard deviation of each voxel across samples, meant over those ``inside``; 0 for samples that are all alike.

    Args:
        samples: two or more volumes of one shape.
        inside: boolean mask of that shape.
    """
    return float(np.std([sample[inside] for sample in samples], axis=0, ddof=1).mean())


def single_image_frechet(sample: np.ndarray, real: np.ndarray) -> float:
    """Frechet distance between the neighbourhoods of one volume and those of another.

    As the single image FID of SinGAN (T. R. Shaham et al., ICCV 2019, section 4), on the 27 voxels of each
    neighbourhood instead of a layer of Inception, which knows no volumes. It asks whether the samples are made of the
    same pieces at this scale, wherever these lie.
    """
    return frechet_distance(_neighbourhoods(sample), _neighbourhoods(real))


def _neighbourhoods(volume: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(volume, [min(NEIGHBOURHOOD, n) for n in volume.shape])
    flat = windows.reshape(-1, int(np.prod(windows.shape[3:])))
    return flat[:: max(1, len(flat) // _MOST)]
