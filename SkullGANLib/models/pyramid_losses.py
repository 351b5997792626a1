"""What the pyramid's generators are trained by: reality, reconstruction, projections, bone.

Volumes are (N, 1, Z, Y, X) or (N, Z, Y, X), in 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch.nn import functional as F

Projection = Literal["mean", "max", "first_slice"]
Judged = Literal["mean", "each"]
GENERATED_TARGET = 0.9  # score that a generator aims at


def judge_loss(real: torch.Tensor, fake: torch.Tensor, judged: Judged = "mean") -> torch.Tensor:
    """Least squares (X. Mao et al., ICCV 2017) of the scores of real and generated volumes.

    ``mean`` is what the released code of CT-GAN squares: one figure for a volume, so good neighbourhoods may make up
    for bad ones. ``each`` asks it of every neighbourhood.
    """
    return _missed(real, 1, judged) + _missed(fake, 0, judged)


def adversarial_loss(fake: torch.Tensor, judged: Judged = "mean") -> torch.Tensor:
    """How far the scores of generated volumes are from passing."""
    return _missed(fake, GENERATED_TARGET, judged)


def _missed(scores: torch.Tensor, target: float, judged: Judged) -> torch.Tensor:
    return ((scores.mean() if judged == "mean" else scores) - target).square().mean()


def reconstruction_loss(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean squared difference."""
    return F.mse_loss(made, real)


def projection_loss(made: torch.Tensor, real: torch.Tensor, projection: Projection = "mean") -> torch.Tensor:
    """Mean squared difference of the projections along the three axes, summed.

    ``first_slice`` is what the released code of CT-GAN compares: the outermost slice of each axis, which is air.
    """
    total = made.new_zeros(())
    for axis in (-3, -2, -1):
        pair = [_projected(each, axis, projection) for each in (made, real)]
        total = total + F.mse_loss(*pair)
    return total


def _projected(volume: torch.Tensor, axis: int, projection: Projection) -> torch.Tensor:
    if projection == "mean":
        return volume.mean(axis)
    if projection == "max":
        return volume.amax(axis)
    return volume.select(axis, 0)


def soft_bone(threshold: float, width: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """A bone mask that can be differentiated: sigmoid((value - threshold) / width), both in parts of the window."""
    return lambda volume: torch.sigmoid((volume - threshold) / width)


def segmentation_loss(
    made: torch.Tensor, real: torch.Tensor, segment: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """1 less the Dice coefficient of what ``segment`` finds in both; any torch module will do that gives 0 to 1."""
    found, wanted = segment(made), segment(real)
    both = (found * wanted).sum()
    return 1 - 2 * both / (found.sum() + wanted.sum()).clamp_min(1e-6)
