"""The averaged generator: what a run samples from and hands out."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn


class AveragedNetwork:
    """Exponential moving average of a network's weights.

    Args:
        network: whose weights are averaged; copied as the start.
        half_life_images: images after which a weight's share has halved.
        share: limits the half-life to this share of the images seen, so that a young run forgets its beginnings.

    Attributes:
        network: the averaged copy, in eval mode.
    """

    def __init__(self, network: nn.Module, half_life_images: float, share: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.half_life_images, self.share = half_life_images, share

    @torch.no_grad()
    def update(self, network: nn.Module, seen: int, batch_size: int) -> None:
        """Take in ``network`` after a batch, when ``seen`` images have been drawn in all."""
        half_life = max(min(self.half_life_images, self.share * seen), 1e-9)
        weight = 1 - 0.5 ** (batch_size / half_life)
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), weight)

    @torch.no_grad()
    def settle(self, draw: Callable[[nn.Module, range], object], images: int, batch_size: int) -> None:
        """Measure anew the batch statistics that belong to the averaged weights.

        The running statistics of the trained network belong to other weights, and their average to none.

        Args:
            draw: called with the network, in train mode, and image numbers.
            images: to draw in all.
            batch_size: images drawn at once.
        """
        layers = [layer for layer in self.network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
        if not layers:
            return
        usual = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # plain mean over all batches
            layer.train()
        for start in range(0, images - images % batch_size or images, batch_size):
            draw(self.network, range(start, start + batch_size))
        for layer, momentum in zip(layers, usual, strict=True):
            layer.momentum = momentum
        self.network.eval()
