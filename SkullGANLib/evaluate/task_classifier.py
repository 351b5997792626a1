"""A small convolutional classifier of segments, trained in seconds: what downstream use is tried with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from SkullGANLib.evaluate.convolutions import as_input, crops, mirrored_at_random, own_random_state, scorer, scores

if TYPE_CHECKING:
    import torch

SIZE = 64
"""Pixels that segments are averaged down to."""
STEPS, BATCH, RATE, DECAY = 600, 32, 2e-3, 1e-2
WIDTHS = (16, 32, 64, 64)
SHIFT, CONTRAST = 4, 0.1
"""Largest shift in pixels and change of contrast of a training image: neither changes what it is asked for."""


def classify(
    hu: np.ndarray,
    labels: np.ndarray,
    asked: np.ndarray,
    *,
    seed: int = 0,
    told: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Train on some segments and say how likely others are of class 1.

    Every training takes the same number of steps, however many segments there are, and sees them mirrored, shifted
    and with more or less contrast, wherever they come from.

    Args:
        hu: (n, H, W) HU.
        labels: (n,) 0 or 1.
        asked: (m, H, W) HU.
        seed: of the first weights, the order of the segments and their changes.
        told: called with the number of steps done and of all.

    Returns:
        (m,) float64 log-odds.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    images, truth = _small(hu), torch.from_numpy(np.asarray(labels, np.float32))
    generator = torch.Generator().manual_seed(seed)
    with own_random_state(seed):
        network = scorer(WIDTHS).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    for step in range(STEPS):
        if told is not None and step % 10 == 0:
            told(step, STEPS)
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        loss = binary_cross_entropy_with_logits(network(_varied(images[chosen], generator))[:, 0], truth[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return scores(network, _small(asked)).numpy().astype(np.float64)


def _small(hu: np.ndarray) -> torch.Tensor:
    """(n, 1, h, w) of about 64 pixels each way, by means over whole pixels."""
    from torch.nn.functional import avg_pool2d

    step = max(1, round(min(hu.shape[1:]) / SIZE))
    return avg_pool2d(as_input(hu), step, ceil_mode=True)


def _varied(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirrored, shifted and of other contrast, at random."""
    import torch

    rows, columns = torch.randint(-SHIFT, SHIFT + 1, (2, len(images)), generator=generator)
    images = mirrored_at_random(crops(images, rows, columns, tuple(images.shape[2:])), generator)
    contrast = 1 + CONTRAST * (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1)
    return (images * contrast).contiguous(memory_format=torch.channels_last)
