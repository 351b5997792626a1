"""The recommended model: a small residual GAN with the relativistic loss, for few data, that can be asked for things.

Networks and loss follow the recipe of N. Huang et al., "The GAN is dead; long live the GAN! A modern GAN baseline"
(NeurIPS 2024, R3GAN), scaled down to one channel and a few thousand images.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn
from torch.nn import functional as F

from SkullGANLib.models.convolution import TwiceDifferentiable
from SkullGANLib.models.device import full_precision
from SkullGANLib.models.draws import SAMPLE, normal_latents
from SkullGANLib.models.relativistic_recipe import RelativisticRecipe, RelativisticTrainer

_SLOPE = 0.2
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))  # keeps the variance through a leaky rectifier (He et al. 2015)
_BYTES = 4  # of a float32
_BASE = 0.1 * 2**30  # what torch's convolutions take for themselves, bytes
_KEPT_MAPS = 33  # as large as a block's, that a training step keeps for each block; measured
_LOW_PRECISION_STAGES = 4  # the finest ones; what lies below is cheap and decides


class RelativisticNetwork(BaseModel):
    """Widths of both networks; the defaults are size M for 128 x 128 pixels.

    Attributes:
        latent: length of z.
        embedding: length of the condition's linear embedding, which joins z.
        condition: columns that describe the conditions of an image; 0 for a model that cannot be asked. Training sets
            it from the data.
        widths: channels of the stages from 4 x 4 positions up, each twice as wide as the one before.
        blocks: residual blocks of a stage.
        group: channels in a group of the 3x3 convolutions.
        patch: pixels of the image along each side of a position of the last stage; 2 makes images of twice the size
            for about the time of the smaller ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    latent: int = Field(64, ge=1)
    embedding: int = Field(64, ge=1)
    condition: int = Field(0, ge=0)
    widths: tuple[int, ...] = (384, 384, 384, 192, 96, 48)
    blocks: int = Field(2, ge=1)
    group: int = Field(16, ge=1)
    patch: Literal[1, 2, 4] = 1

    @model_validator(mode="after")
    def _groups_divide(self) -> RelativisticNetwork:
        if len(self.widths) < 2 or any(width < 1 or 2 * width % self.group for width in self.widths):
            raise ValueError("widths has at least two entries, and group divides twice each of them")
        return self

    @property
    def size(self) -> int:
        """Height and width of the images in pixels."""
        return 4 * 2 ** (len(self.widths) - 1) * self.patch


class Block(nn.Module):
    """x plus a bottleneck turned inside out: 1x1 to twice the channels, grouped 3x3, 1x1 back, which starts at 0."""

    def __init__(self, width: int, group: int, blocks_in_all: int, kind: type[nn.Conv2d] = nn.Conv2d) -> None:
        super().__init__()
        inner, scale = 2 * width, _GAIN * blocks_in_all**-0.25
        self.widen = _convolution(width, inner, 1, scale, bias=True, kind=kind)
        self.mix = _convolution(inner, inner, 3, scale, groups=inner // group, bias=True, kind=kind)
        self.narrow = _convolution(inner, width, 1, 0.0, kind=kind)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same."""
        y = F.leaky_relu(self.widen(x), _SLOPE, inplace=True)
        y = F.leaky_relu(self.mix(y), _SLOPE, inplace=True)
        return x + self.narrow(y)


class Generator(nn.Module):
    """z and condition to an image; the output has no bounds, and is clamped where HU are made of it."""

    def __init__(self, network: RelativisticNetwork) -> None:
        super().__init__()
        widths, blocks = network.widths, network.blocks * len(network.widths)
        self.embed = nn.Linear(network.condition, network.embedding, bias=False) if network.condition else None
        joined = network.latent + network.embedding * bool(network.condition)
        self.basis = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.first = nn.Parameter(torch.randn(joined, widths[0]) / math.sqrt(joined))
        for stage, width in enumerate(widths):
            layers = [Block(width, network.group, blocks) for _ in range(network.blocks)]
            if stage and widths[stage - 1] != width:
                layers.insert(0, _convolution(widths[stage - 1], width, 1, 1.0))
            self.add_module(f"stage{stage}", nn.Sequential(*layers))
        self.stages, self.patch = len(widths), network.patch
        self.last = _convolution(widths[-1], network.patch**2, 1, 1.0)

    def forward(self, z: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Draw images.

        Args:
            z: (B, latent), standard normal.
            condition: (B, k) as ``models.conditions.encode`` makes it, for a conditional network.

        Returns:
            (B, 1, size, size), roughly in [-1, 1].
        """
        z = z.to(self.first.dtype)
        with full_precision(z.device):
            if self.embed is not None:
                z = torch.cat([z, self.embed(condition.to(z.dtype))], 1)
            x = _in_order_of(self.stage0, self.basis * (z @ self.first)[:, :, None, None])
        for stage in range(self.stages):
            with _precise(z.device, self.stages - stage > _LOW_PRECISION_STAGES):
                x = resample(x, 2.0) if stage else x
                x = self.get_submodule(f"stage{stage}")(x)
        return F.pixel_shuffle(self.last(x), self.patch).float()


class Discriminator(nn.Module):
    """The generator's mirror image: an image and what it was asked to be, to one number, higher for real ones.

    Conditional by projection (T. Miyato and M. Koyama, "cGANs with projection discriminator", ICLR 2018): the product
    of the image's features with the condition's embedding, whose bias is the part that no condition changes.
    """

    def __init__(self, network: RelativisticNetwork) -> None:
        super().__init__()
        widths, blocks = network.widths[::-1], network.blocks * len(network.widths)
        self.patch = network.patch
        kind = TwiceDifferentiable  # for the gradient penalties
        self.first = _convolution(network.patch**2, widths[0], 1, 1.0)
        for stage, width in enumerate(widths):
            layers = [Block(width, network.group, blocks, kind) for _ in range(network.blocks)]
            if stage + 1 < len(widths) and widths[stage + 1] != width:
                layers.append(_convolution(width, widths[stage + 1], 1, 1.0, kind=kind))
            self.add_module(f"stage{stage}", nn.Sequential(*layers))
        self.stages = len(widths)
        self.basis = nn.Parameter(torch.randn(widths[-1], 4, 4) / 4)
        features = network.embedding if network.condition else 1
        self.last = nn.Linear(widths[-1], features, bias=False)
        self.embed = nn.Linear(network.condition, network.embedding) if network.condition else None
        if self.embed is not None:
            nn.init.zeros_(self.embed.bias)

    def forward(self, images: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """(B, 1, size, size) and (B, k) to (B,) logits."""
        x = self._widened(F.pixel_unshuffle(images, self.patch))
        for stage in range(self.stages):
            with _precise(x.device, stage >= _LOW_PRECISION_STAGES):
                x = x.to(self.basis.dtype) if stage >= _LOW_PRECISION_STAGES else x
                x = resample(x, 0.5) if stage else x
                x = self.get_submodule(f"stage{stage}")(x)
        with full_precision(x.device):
            basis = self.basis.permute(1, 2, 0).contiguous()  # channels last, so that the gradient is, too
            features = self.last((x.to(basis.dtype).permute(0, 2, 3, 1) * basis).sum((1, 2)))
            if self.embed is None:
                return features[:, 0]
            return (features * self.embed(condition)).sum(1) / math.sqrt(features.shape[1])

    def _widened(self, x: torch.Tensor) -> torch.Tensor:
        """The first 1x1 convolution, as a matrix product: torch's loses the memory order of one-channel images."""
        x = F.linear(x.permute(0, 2, 3, 1), self.first.weight.flatten(1)).permute(0, 3, 1, 2)
        return _in_order_of(self.stage0, x)


def _in_order_of(stage: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Maps in the memory order of a stage's weights: the residual sums keep that of the first maps to the end."""
    last = stage[0].mix.weight.is_contiguous(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def _precise(device: torch.device, coarse: bool) -> AbstractContextManager:
    return full_precision(device) if coarse else nullcontext()


def resample(x: torch.Tensor, factor: float) -> torch.Tensor:
    """(B, C, H, W) to twice or half the height and width: linear between pixel centres, or means of 2 x 2.

    R3GAN smooths with [1, 2, 1] in both directions; the means of 2 x 2 cost less, and one call does each.
    """
    with full_precision(x.device):  # autocast would turn bfloat16 into float32 on a GPU
        return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def _convolution(
    before: int,
    after: int,
    kernel: int,
    scale: float,
    groups: int = 1,
    *,
    bias: bool = False,
    kind: type[nn.Conv2d] = nn.Conv2d,
) -> nn.Conv2d:
    """Weights N(0, scale^2 / inputs of an output), or 0 where ``scale`` is; biases 0."""
    layer = kind(before, after, kernel, padding=kernel // 2, groups=groups, bias=bias)
    fan_in = before // groups * kernel**2
    with torch.no_grad():
        layer.weight.normal_(0.0, scale / math.sqrt(fan_in)) if scale else layer.weight.zero_()
        if bias:
            layer.bias.zero_()
    return layer


class Relativistic:
    """The family's entry in the registry; see ``registry.Family`` for what each part is."""

    name = "relativistic"
    title = "Recommended: small relativistic GAN that can be asked for region, thickness and more"
    network = RelativisticNetwork
    recipe = RelativisticRecipe
    trainer = RelativisticTrainer
    conditions: tuple[str, ...] = ("plane", "region", "side", "sdr", "thickness_mm", "intensity_hu")
    absolute, volumes, masks, grows, uniform = False, False, False, False, False

    def build_generator(self, network: RelativisticNetwork) -> Generator:
        """A freshly initialised generator."""
        return Generator(network)

    def build_discriminator(self, network: RelativisticNetwork) -> Discriminator:
        """A freshly initialised discriminator."""
        return Discriminator(network)

    def latent(
        self, network: RelativisticNetwork, seed: int, indices: Iterable[int], stream: int = SAMPLE
    ) -> tuple[torch.Tensor]:
        """(n, latent) z of the images ``indices`` of ``seed``, on the CPU."""
        return (normal_latents(seed, stream, indices, network.latent),)

    def sample(
        self,
        generator: Generator,
        network: RelativisticNetwork,
        seed: int,
        indices: Iterable[int],
        condition: torch.Tensor | None = None,
        stream: int = SAMPLE,
    ) -> torch.Tensor:
        """(n, 1, size, size) images on the generator's device.

        Without a condition a conditional network gets zeros: numbers at their mean, and of no region, side or plane.
        """
        (z,) = self.latent(network, seed, indices, stream)
        device = next(generator.parameters()).device
        if network.condition and condition is None:
            condition = torch.zeros(len(z), network.condition)
        condition = None if condition is None else condition.to(device)
        return generator(z.to(device), condition)

    def for_drawing(self, generator: Generator, network: RelativisticNetwork, bfloat16: bool) -> Generator:
        """A copy in the memory order that convolutions like best, in bfloat16 where asked for."""
        dtype = torch.bfloat16 if bfloat16 else torch.float32
        return copy.deepcopy(generator).to(dtype, memory_format=torch.channels_last)

    def realness(self, discriminator: Discriminator, images: torch.Tensor) -> torch.Tensor:
        """(n,) the logit squashed to 0..1; relativistic logits mean something only against each other."""
        k = 0 if discriminator.embed is None else discriminator.embed.in_features
        condition = images.new_zeros(len(images), k) if k else None
        return torch.sigmoid(discriminator(images, condition))

    def feature_maps(self, network: RelativisticNetwork) -> tuple[str, ...]:
        """Names of the generator's modules whose outputs serve label synthesis, coarse to fine."""
        return tuple(f"stage{stage}" for stage in range(len(network.widths)))

    def memory(self, network: RelativisticNetwork, batch: int, *, training: bool, bfloat16: bool = False) -> int:
        """Estimated bytes of device memory; the step with penalties on real and drawn images needs most."""
        with torch.device("meta"):
            weights = [sum(p.numel() for p in net(network).parameters()) for net in (Generator, Discriminator)]
        pixels, size = [(4 * 2**stage) ** 2 for stage in range(len(network.widths))], 2 if bfloat16 else 4
        if not training:
            return int(_BASE + _BYTES * weights[0] + size * batch * 8 * network.widths[-1] * pixels[-1])
        maps = sum(w * p for w, p in zip(network.widths, pixels, strict=True)) * network.blocks
        return int(_BASE + _BYTES * (5 * weights[0] + 4 * weights[1]) + size * batch * _KEPT_MAPS * maps)


FAMILY = Relativistic()
