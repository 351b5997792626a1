"""The labelling network: from the feature maps of a generator to a label for each pixel.

After BigDatasetGAN (D. Li et al., CVPR 2022): maps are taken in three groups, low, middle and high resolution, brought
to one width by 1 x 1 convolutions, and joined from coarse to fine by residual blocks whose batch normalisation depends
on the class, here on all conditions of the model.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional as F

WIDTHS = (128, 64, 32)
"""Channels of the groups, coarse to fine; a generator with narrower maps has as many as the widest of a group."""


class HeadNetwork(BaseModel):
    """What it takes to build a labelling network.

    Attributes:
        maps: channels and side in pixels of each feature map, coarse to fine; the last is the image.
        classes: the background and the labels.
        condition: columns of the condition; 0 for none.
        widths: channels of the three groups.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    maps: tuple[tuple[int, int], ...] = Field(min_length=2)
    classes: int = Field(ge=2)
    condition: int = Field(0, ge=0)
    widths: tuple[int, int, int] = WIDTHS

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of the maps of each group: thirds, the image with the finest."""
        parts = np.array_split(np.arange(len(self.maps) - 1), 3)
        parts[-1] = np.append(parts[-1], len(self.maps) - 1)
        return tuple(tuple(part.tolist()) for part in parts if len(part))


class ConditionalNorm(nn.Module):
    """Batch normalisation whose scale and shift are linear in the condition (V. Dumoulin et al., ICLR 2017)."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.shift = None
        if condition:
            self.shift = nn.Linear(condition, 2 * channels, bias=False)
            nn.init.zeros_(self.shift.weight)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) and (B, k) to (B, C, H, W)."""
        x = self.norm(x)
        if self.shift is None:
            return x
        scale, shift = self.shift(condition)[:, :, None, None].chunk(2, 1)
        return x * (1 + scale) + shift


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, each after normalisation and rectifier, added to a 1 x 1 convolution of the input."""

    def __init__(self, before: int, after: int, condition: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([ConditionalNorm(width, condition) for width in (before, after)])
        self.first = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(B, before, H, W) and (B, k) to (B, after, H, W)."""
        y = self.first(F.relu(self.norms[0](x, condition)))
        return self.skip(x) + self.second(F.relu(self.norms[1](y, condition)))


class LabelHead(nn.Module):
    """Feature maps and condition to scores of the background and each label."""

    def __init__(self, network: HeadNetwork) -> None:
        super().__init__()
        self.network, before = network, 0
        self.entries, self.narrow, self.blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for members, most in zip(network.groups, network.widths, strict=False):
            width = min(most, max(network.maps[k][0] for k in members))
            self.entries.extend(Entry(network.maps[k][0], width) for k in members)
            if before:
                self.narrow.append(nn.Conv2d(before, width, 1, bias=False))
            self.blocks.append(ResidualBlock(2 * width if before else width, width, network.condition))
            before = width
        self.norm = ConditionalNorm(before, network.condition)
        self.last = nn.Conv2d(before, network.classes, 1)

    def forward(self, maps: tuple[torch.Tensor, ...], condition: torch.Tensor) -> torch.Tensor:
        """(B, channels, h, w) each and (B, k) to (B, classes, size, size)."""
        x = None
        for number, (members, block) in enumerate(zip(self.network.groups, self.blocks, strict=True)):
            side = self.network.maps[members[-1]][1]
            joined = sum(_enlarged(self.entries[k](maps[k]), side) for k in members)
            if x is not None:
                joined = torch.cat([_enlarged(self.narrow[number - 1](x), side), joined], 1)
            x = block(joined, condition)
        return self.last(F.relu(self.norm(x, condition)))


class Entry(nn.Module):
    """A 1 x 1 convolution of a map, whose channels are first brought to mean 0 and variance 1."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(before, 1, 1))
        self.register_buffer("scale", torch.ones(before, 1, 1))
        self.convolution = nn.Conv2d(before, after, 1)

    def fit(self, maps: torch.Tensor) -> None:
        """Take mean and variance from (n, C, h, w) maps."""
        variance, mean = torch.var_mean(maps, (0, 2, 3), correction=0)
        self.mean.copy_(mean[:, None, None])
        self.scale.copy_(torch.rsqrt(variance + 1e-8)[:, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, before, h, w) to (B, after, h, w)."""
        return self.convolution((x - self.mean) * self.scale)


def _enlarged(x: torch.Tensor, side: int) -> torch.Tensor:
    return x if x.shape[2] == side else F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
