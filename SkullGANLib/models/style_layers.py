"""Layers of a style-based generator: those of StyleGAN2 (T. Karras et al., CVPR 2020) in plain torch."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from SkullGANLib.models.device import full_precision
from SkullGANLib.models.draws import KeyedNoise, keyed_normals

FIRST = 16
"""Pixels of the stem, the smallest size."""
_SLOPE = 0.2
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))


class Noise(KeyedNoise):
    """White noise, one for an image, added to each of its maps as strongly as is learnt for it.

    A strength for each map (StyleGAN, T. Karras et al., CVPR 2019) makes maps of texture beside maps of outlines; one
    for all of them (StyleGAN2) roughens outlines or is unlearnt. They begin with some: from none hardly anything is
    learnt, since noise of either sign does the same.
    """

    _BEGINS = 0.05

    def __init__(self, number: int, width: int) -> None:
        super().__init__()
        self.number, self.strength = number, nn.Parameter(self._BEGINS * torch.randn(width, 1, 1))

    def forward(self, x: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) maps and (B,) keys to maps."""
        noise = keyed_normals(keys, self.number, (1, *x.shape[2:]), x.device, x.dtype)
        return torch.addcmul(x, noise, self.strength.to(x.dtype))


class Layer(nn.Module):
    """A 3 x 3 convolution whose inputs the style weighs, noise, and a leaky rectifier."""

    def __init__(self, before: int, after: int, style: int, number: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(style, before)
        nn.init.ones_(self.modulation.bias)
        self.weight = nn.Parameter(torch.randn(after, before, 3, 3))
        self.bias, self.noise = nn.Parameter(torch.zeros(after)), Noise(number, after)

    def forward(self, x: torch.Tensor, style: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """(B, before, H, W), (B, style) and (B,) noise keys to (B, after, H, W).

        Weighing the inputs before a common convolution and the outputs after it is the same as a convolution with
        weights of its own for each image (equations 1 to 3 of StyleGAN2). Beyond the border coarse maps are zero, from
        which layers know where they are; fine ones go on, since zeros would leave streaks in bone that spans the image.
        """
        scale = self.modulation(style)
        weight = self.weight / math.sqrt(self.weight[0].numel())
        with full_precision(x.device):
            squares = scale.float().square() @ weight.float().square().sum((2, 3)).T
            demodulation = _GAIN * torch.rsqrt(squares + 1e-8)  # the gain passes through the rectifier
        x = x * scale[:, :, None, None].to(x.dtype)
        if x.shape[-1] > FIRST:
            x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight)
        else:
            x = F.conv2d(x, weight, padding=1)
        bias = self.bias[:, None, None].to(x.dtype)
        x = self.noise(torch.addcmul(bias, x, demodulation[:, :, None, None].to(x.dtype)), keys)
        return F.leaky_relu(x, _SLOPE, inplace=True)


class ToImage(nn.Module):
    """What a resolution adds to the image: a 1 x 1 convolution weighed by the style; a finer one nothing at first."""

    def __init__(self, width: int, style: int, *, begins: bool) -> None:
        super().__init__()
        self.modulation = nn.Linear(style, width)
        nn.init.ones_(self.modulation.bias)
        self.weight = nn.Parameter(torch.randn(1, width, 1, 1) if begins else torch.zeros(1, width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """(B, width, H, W) to (B, 1, H, W)."""
        scale = self.modulation(style)[:, :, None, None] / math.sqrt(self.weight.shape[1])
        return F.conv2d(x * scale.to(x.dtype), self.weight, self.bias).float()


class Linear(nn.Module):
    """A linear layer whose weights learn a hundred times slower than others (StyleGAN, section 2 and appendix C)."""

    _RATE = 0.01

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before) / self._RATE)
        self.bias = nn.Parameter(torch.zeros(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, before) to (B, after)."""
        return F.linear(x, self.weight * (self._RATE / math.sqrt(self.weight.shape[1])), self.bias * self._RATE)


def normalised(x: torch.Tensor) -> torch.Tensor:
    """(B, length) vectors to a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def rectified(x: torch.Tensor) -> torch.Tensor:
    """A leaky rectifier that keeps the mean square of normal values."""
    return F.leaky_relu(x, _SLOPE) * _GAIN


def doubled(x: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) to (B, C, 2 H, 2 W), linearly in between."""
    with full_precision(x.device):
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
