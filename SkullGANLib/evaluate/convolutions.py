"""The small convolutional networks of an evaluation: how segments enter them, how they are built, and how views vary.

They run on the processor, so that the same seed gives the same figures on the same machine with as many threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.radiological import refuse_non_finite

if TYPE_CHECKING:
    import torch

HIGHEST_HU = 2700.0
"""Above the densest cortical bone; what lies below 0 HU, such as a background of air, is as good as nothing."""
HU_PER_UNIT = 1000.0
LEAST_SIZE = 32


def as_input(hu: np.ndarray, low: float = 0.0, high: float = HIGHEST_HU) -> torch.Tensor:
    """HU, rounded to whole numbers and clipped to a window, as input of a network.

    Whole numbers, because a real set is stored as such: the fractions alone would give a synthetic set away.

    Args:
        hu: (n, H, W) HU.
        low, high: the window in HU.

    Returns:
        (n, 1, H, W) float32 in thousands of HU above ``low``, so that the border continues a background at ``low``.

    Raises:
        InputError: pixels that are not finite.
    """
    import torch

    hu = np.asarray(hu, np.float32)
    refuse_non_finite(hu)
    window = np.clip(np.rint(hu), low, high) - low
    return torch.from_numpy(window / np.float32(HU_PER_UNIT))[:, None]


def check_size(hu: np.ndarray) -> None:
    """Refuse segments that are too small for the networks.

    Raises:
        InputError: a side of less than 32 pixels.
    """
    if min(hu.shape[1:]) < LEAST_SIZE:
        raise InputError(
            f"Segments of {hu.shape[1]} x {hu.shape[2]} pixels are too small for a network to judge.",
            f"Take segments of at least {LEAST_SIZE} x {LEAST_SIZE} pixels, or leave this metric out.",
        )


def convolutions(widths: tuple[int, ...]) -> torch.nn.Sequential:
    """A block of convolution, batch normalisation and ReLU for each width, each halving the resolution."""
    from torch import nn

    blocks, before = [], 1
    for width in widths:
        kernel = 5 if before == 1 else 3
        convolution = nn.Conv2d(before, width, kernel, stride=2, padding=kernel // 2, bias=False)
        blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU()))
        before = width
    return nn.Sequential(*blocks)


def scorer(widths: tuple[int, ...], outputs: int = 1) -> torch.nn.Sequential:
    """A network of such blocks that gives each image some numbers, (n, outputs): one is the log odds of a class."""
    from torch import nn

    return nn.Sequential(convolutions(widths), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], outputs))


def scores(network: torch.nn.Module, images: torch.Tensor, batch: int = 128) -> torch.Tensor:
    """The number that a ``scorer`` gives each image, (n,), or several, (n, outputs); in use and not in training."""
    import torch

    network.eval()
    with torch.no_grad():
        found = torch.cat([network(part) for part in images.split(batch)])
    return found[:, 0] if found.shape[1] == 1 else found


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Draw first weights from ``seed`` within the block and leave the random state of torch as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the graphics cards, too
        yield


def crops(images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cut a window of ``size`` pixels out of each image.

    Args:
        images: (n, 1, H, W).
        rows, columns: (n,) first row and column of each window; a window that leaves the image repeats its border.
        size: rows and columns of the windows.
    """
    import torch

    row = (rows[:, None] + torch.arange(size[0])).clamp(0, images.shape[2] - 1)
    column = (columns[:, None] + torch.arange(size[1])).clamp(0, images.shape[3] - 1)
    return images[torch.arange(len(images))[:, None, None], 0, row[:, :, None], column[:, None, :]][:, None]


def mirrored_at_random(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image as it is or, in half of the draws, left and right exchanged."""
    import torch

    chosen = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return torch.where(chosen, images.flip(3), images)
