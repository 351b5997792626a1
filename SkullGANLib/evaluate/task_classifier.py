"""A small convolutional classifier of segments, trained in seconds: what downstream use is tried with."""

from __future__ import annotations

import math
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
AT_ONCE = 256
SHIFT, CONTRAST = 4, 0.1
"""Largest shift in pixels and change of contrast of a training image: neither changes what it is asked for."""


def classify(
    hu: np.ndarray,
    labels: np.ndarray,
    asked: np.ndarray,
    *,
    seed: int = 0,
    steps: int | None = None,
    mirror: bool = True,
    device: str | torch.device = "cpu",
    told: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Train on some segments and say how likely others are of each class.

    Every training takes the same number of steps, however many segments there are, and sees them mirrored, shifted
    and with more or less contrast, wherever they come from.

    Args:
        hu: (n, H, W) HU.
        labels: (n,) numbers of two classes or more.
        asked: (m, H, W) HU.
        seed: of the first weights, the order of the segments and their changes.
        steps: of 32 segments each; 600 if not given.
        mirror: whether a mirrored segment is of the same class; it is not where classes are of one side.
        device: of torch.
        told: called with the number of steps done and of all.

    Returns:
        float64 log-odds: (m,) of the higher of two classes; (m, k) of each of k in ascending order, against all others.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

    steps = STEPS if steps is None else steps
    classes, truth = np.unique(labels, return_inverse=True)
    two = len(classes) <= 2
    images, truth = _small(hu), torch.from_numpy(truth.reshape(-1).astype(np.float32 if two else np.int64))
    generator = torch.Generator().manual_seed(seed)
    with own_random_state(seed):
        network = scorer(WIDTHS, 1 if two else len(classes)).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        if told is not None and step % 10 == 0:
            told(step, steps)
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        found, wanted = network(_varied(images[chosen], generator, mirror).to(device)), truth[chosen].to(device)
        loss = binary_cross_entropy_with_logits(found[:, 0], wanted) if two else cross_entropy(found, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    found = scores(network, _small(asked).to(device)).cpu().double()
    return (found if two else _log_odds(found)).numpy()


def _log_odds(scores: torch.Tensor) -> torch.Tensor:
    """(m, k) log-odds of each class against all others, from what a softmax would turn into probabilities."""
    import torch

    return torch.cat([_against_others(part) for part in scores.split(AT_ONCE)])


def _against_others(scores: torch.Tensor) -> torch.Tensor:
    others = scores[:, None].repeat(1, scores.shape[1], 1)
    others.diagonal(dim1=1, dim2=2).fill_(-math.inf)
    return scores - others.logsumexp(2)


def _small(hu: np.ndarray) -> torch.Tensor:
    """(n, 1, h, w) of about 64 pixels each way, by means over whole pixels."""
    import torch
    from torch.nn.functional import avg_pool2d

    step = max(1, round(min(hu.shape[1:]) / SIZE))
    parts = (hu[start : start + AT_ONCE] for start in range(0, len(hu), AT_ONCE))
    return torch.cat([avg_pool2d(as_input(part), step, ceil_mode=True) for part in parts])


def _varied(images: torch.Tensor, generator: torch.Generator, mirror: bool) -> torch.Tensor:
    """Mirrored if allowed, shifted and of other contrast, at random."""
    import torch

    rows, columns = torch.randint(-SHIFT, SHIFT + 1, (2, len(images)), generator=generator)
    images = crops(images, rows, columns, tuple(images.shape[2:]))
    images = mirrored_at_random(images, generator) if mirror else images
    contrast = 1 + CONTRAST * (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1)
    return (images * contrast).contiguous(memory_format=torch.channels_last)
