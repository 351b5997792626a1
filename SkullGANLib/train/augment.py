"""Augmentation of what the discriminator sees, real and drawn alike, as strong as held-out subjects show to be needed.

T. Karras et al., "Training generative adversarial networks with limited data" (NeurIPS 2020): what a discriminator has
learnt by heart shows in how much lower it rates real images that it has not been trained on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from SkullGANLib.models.device import full_precision
from SkullGANLib.models.draws import AUGMENT, image_rng
from SkullGANLib.models.registry import Unchanged

TRANSLATION, ROTATION_DEG, SCALE = 0.125, 10.0, 0.1  # largest share of the width, angle and change of size
BRIGHTNESS, CONTRAST, CUTOUT = 0.2, 0.2, 0.25  # largest shift in [-1, 1], change of contrast, and side of the square
_DRAWS = 14
_STRETCH = 8  # batches between two adjustments


class Augmentation(Unchanged):
    """Random geometry, brightness, contrast and a hidden square, each with the same adapted probability.

    Image n of a seed is changed in the same way on every device and for every batch size.

    Args:
        seed: of the run.
        limit: highest probability; 0 switches augmentation off.
        target: r that the probability is steered to. Of the gaps by which the discriminator judges training and
            held-out images more real than drawn ones of the same conditions, r = 1 - gap(held out) / gap(train):
            0 where it knows training images no better, 1 where held-out ones are as good as drawn ones to it.
        ramp_images: images in which the probability can rise from 0 to 1.
        background: value of pixels that come in from beyond the border, in [-1, 1].

    Attributes:
        probability: of each change, 0 at first.
        overfit: r as last measured; NaN before.
    """

    def __init__(
        self, seed: int, *, limit: float = 0.5, target: float = 0.5, ramp_images: float = 1e5, background: float = -1.0
    ) -> None:
        self.seed, self.limit, self.target, self.ramp_images = seed, limit, target, ramp_images
        self.background = background
        self.probability, self.overfit = 0.0, math.nan
        self._sums, self._count, self._images = np.zeros(2), 0, 0

    def numbers(self, first: int, count: int, stream: int = 0) -> torch.Tensor | None:
        """Of images ``first`` and following of the run.

        Returns:
            (count, 15): the draws of each image and, last, the probability; None where nothing is changed.
        """
        if self.probability == 0 or self.limit == 0:
            return None
        rngs = (image_rng(self.seed, AUGMENT + stream, n) for n in range(first, first + count))
        draws = [np.append(rng.random(_DRAWS, np.float32), np.float32(self.probability)) for rng in rngs]
        return torch.from_numpy(np.stack(draws))

    def applied(self, images: torch.Tensor, numbers: torch.Tensor | None) -> torch.Tensor:
        """Images (B, 1, H, W) in [-1, 1] changed differentiably by ``numbers``, which are on their device."""
        if numbers is None:
            return images
        return augmented(images, numbers[:, :_DRAWS], numbers[:, _DRAWS:], self.background)

    def observe(self, gap: float | None, gap_held_out: float | None, batch_size: int) -> None:
        """Take in the mean gaps of a step; they are not always there. Adjusts every few that are."""
        self._images += batch_size
        if gap is None or gap_held_out is None:
            return
        self._sums += (gap, gap_held_out)
        self._count += 1
        if self._count < _STRETCH:
            return
        gap, gap_held_out = self._sums / self._count
        self.overfit = float(1 - gap_held_out / gap) if gap > 0 else 0.0  # it tells nothing apart: not overfitted
        step = math.copysign(self._images / self.ramp_images, self.overfit - self.target)
        self.probability = min(max(self.probability + step, 0.0), self.limit)
        self._sums, self._count, self._images = np.zeros(2), 0, 0

    def state(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        overfit = None if math.isnan(self.overfit) else self.overfit
        values = {"probability": self.probability, "overfit": overfit, "sums": self._sums.tolist()}
        return values | {"count": self._count, "images": self._images}

    def load_state(self, values: dict[str, Any]) -> None:
        """Take back what ``state`` gave."""
        self.probability, self._sums = values["probability"], np.array(values["sums"])
        self.overfit = math.nan if values["overfit"] is None else values["overfit"]
        self._count, self._images = values["count"], values["images"]


def augmented(
    images: torch.Tensor, draws: torch.Tensor, probability: float | torch.Tensor, background: float
) -> torch.Tensor:
    """Images changed by given random numbers.

    Args:
        images: (B, 1, H, W) float in [-1, 1].
        draws: (B, 14) uniform in [0, 1): six decide what is done, eight how much.
        probability: of each change, one or (B, 1); of mirroring, half of it.
        background: value beyond the border.

    Returns:
        (B, 1, H, W) float32.
    """
    done = draws[:, :6] < probability
    done[:, :1] = draws[:, :1] < probability / 2  # half of them mirrored would hide the side wholly from the model
    done = done.to(images.dtype)
    much = (draws[:, 6:] * 2 - 1).to(images.dtype)  # -1 to 1
    flip = 1 - 2 * done[:, 0]
    angle = done[:, 1] * much[:, 0] * math.radians(ROTATION_DEG)
    zoom = (1 + SCALE) ** (-done[:, 2] * much[:, 1])
    shift = done[:, 3:4] * much[:, 2:4] * 2 * TRANSLATION  # grid coordinates span 2 across the image
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rows = torch.stack([cos * flip, -sin, shift[:, 0], sin * flip, cos, shift[:, 1]], 1).view(-1, 2, 3)
    above = images.float() - background
    rows = rows.float()
    if images.device.type == "mps":  # not every torch can take grid_sample's gradient there
        above, rows = above.cpu(), rows.cpu()
    with full_precision(images.device):
        grid = F.affine_grid(rows, list(above.shape), align_corners=False)
        above = F.grid_sample(above, grid, mode="bilinear", padding_mode="zeros", align_corners=False).to(images.device)
    contrast = (1 + CONTRAST) ** (done[:, 4] * much[:, 4])
    brightness = done[:, 4] * much[:, 5] * BRIGHTNESS
    out = above * contrast[:, None, None, None] + background + brightness[:, None, None, None]
    return _hidden(out, done[:, 5], much[:, 6:8], background)


def _hidden(images: torch.Tensor, chosen: torch.Tensor, centre: torch.Tensor, background: float) -> torch.Tensor:
    """The chosen images with a square, CUTOUT of the width on each side and centred anywhere, set to background."""
    lines = [torch.linspace(-1, 1, n, device=images.device) for n in images.shape[2:]]
    near = [(line[None] - centre[:, k, None]).abs() < CUTOUT for k, line in enumerate(lines)]
    inside = (near[0][:, None, :, None] & near[1][:, None, None, :]) & (chosen > 0)[:, None, None, None]
    return images.masked_fill(inside, background)
