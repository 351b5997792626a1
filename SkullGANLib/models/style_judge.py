"""The discriminator of the family ``style``: small heads on frozen features of real images.

Projected GAN (A. Sauer et al., NeurIPS 2021): an encoder that has learnt without labels what real images look like
describes an image at several scales; fixed random convolutions mix the channels of each scale and then the scales, so
that no head sees everything and none can be fooled by pleasing one scale; a head for each scale judges.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from SkullGANLib.evaluate.convolutions import convolutions, scorer
from SkullGANLib.models.device import full_precision

_SLOPE = 0.2
_BEYOND = 0.1
SCALE = 1.35
"""The features see (x + 1) times this, 0 to 2.7 as the library's encoder does."""


class _Head(nn.Module):
    """Judges one scale: convolutions with spectral normalisation down to 4 x 4 positions, a logit at each."""

    def __init__(self, width: int, size: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(max(1, size // 4).bit_length() - 1):
            layers += [spectral_norm(nn.Conv2d(width, width, 4, 2, 1)), nn.LeakyReLU(_SLOPE)]
        layers += [spectral_norm(nn.Conv2d(width, width, 3, 1, 1)), nn.LeakyReLU(_SLOPE)]
        self.layers = nn.Sequential(*layers)
        self.last = spectral_norm(nn.Conv2d(width, width if classes else 1, 1))
        self.embed = nn.Linear(classes, width) if classes else None

    def forward(self, x: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        """(B, width, s, s) and (B, classes) to (B, some 16) logits; without a condition, of no class."""
        x = self.last(self.layers(x)).flatten(2).float()
        if self.embed is None:
            return x[:, 0]
        if condition is None:
            condition = x.new_full((len(x), self.embed.in_features), 1 / self.embed.in_features)
        with full_precision(x.device):
            return (x * self.embed(condition.float())[:, :, None]).sum(1) / math.sqrt(x.shape[1])


class Discriminator(nn.Module):
    """Frozen features, fixed mixing and a head for each scale; higher for real images.

    Attributes:
        features: what gives the scales: blocks of the library's encoder one after the other, or a network handed in.
        classifier: logits of the classes, frozen, which guides the generator; empty weights until one is trained.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        mixed = network.mixed
        self.judged, self.classified = max(network.judged, network.size), network.judged
        if network.handed_in:
            from SkullGANLib.models.features import RecordedFeatures  # torch.export takes a second to import

            self.features: nn.Module = RecordedFeatures()
        else:
            self.features = convolutions(network.features)
        self.mix = nn.ModuleList(nn.Conv2d(width, mixed, 1, bias=False) for width, _ in network.scales)
        self.blend = nn.ModuleList(nn.Conv2d(mixed, mixed, 3, padding=1, bias=False) for _ in network.scales)
        for convolution in (*self.mix, *self.blend):
            nn.init.kaiming_normal_(convolution.weight)
        sizes = [self.judged // stride for _, stride in network.scales]
        self.heads = nn.ModuleList(_Head(mixed, size, network.condition) for size in sizes)
        self.classifier = scorer(network.features, max(network.condition, 1))
        for frozen in (self.features, self.mix, self.blend, self.classifier):
            frozen.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Discriminator:
        """The heads learn; what is frozen stays as in use."""
        super().train(mode)
        self.features.eval()
        self.classifier.eval()
        return self

    def seen(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) in [-1, 1] as the features take them, at least ``judged`` pixels wide."""
        return self._enlarged(images.float(), self.judged)

    def _enlarged(self, images: torch.Tensor, least: int) -> torch.Tensor:
        inside = images.clamp(-1, 1)
        images = inside + _BEYOND * (images - inside)  # far outside, features would grow without bounds
        if images.shape[-1] < least:
            images = F.interpolate(images, size=(least, least), mode="bilinear", align_corners=False)
        return (images + 1) * SCALE

    def scales(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The mixed features of each scale, fine to coarse."""
        maps = [mix(x) for x, mix in zip(self._described(self.seen(images)), self.mix, strict=True)]
        blended = [self.blend[-1](maps[-1])]
        for level in range(len(maps) - 2, -1, -1):
            coarser = F.interpolate(blended[0], size=maps[level].shape[2:], mode="bilinear", align_corners=False)
            blended.insert(0, self.blend[level](maps[level] + coarser))
        return blended

    def _described(self, x: torch.Tensor) -> list[torch.Tensor]:
        if not isinstance(self.features, nn.Sequential):
            return self.features(x / SCALE - 1)
        return list(itertools.accumulate(self.features, lambda x, block: block(x), initial=x))[1:]

    def logits(self, images: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        """(B, n) logits, those of all heads side by side."""
        maps = self.scales(images)
        return torch.cat([head(x, condition) for head, x in zip(self.heads, maps, strict=True)], 1)

    def forward(self, images: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """(B, 1, size, size) and (B, classes) to (B,) mean logits."""
        return self.logits(images, condition).mean(1)

    def class_logits(self, images: torch.Tensor) -> torch.Tensor:
        """(B, classes) what the classifier makes of images, which it sees with as many pixels as it has learnt from."""
        images = images.float()
        if images.shape[-1] > self.classified:
            images = F.interpolate(images, size=(self.classified,) * 2, mode="area")
        return self.classifier(self._enlarged(images, self.classified)).float()
