"""The patch-based conditional GAN: label maps to CT slices.

Source of the sizes: M. Habijan's pix2pix for the whole heart, github.com/mhabijan/medical_images_generation. Its masks
are one channel of raw label numbers; here each label has a channel of its own, neighbouring slices come along, and
noise gives several CTs to one label map.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn
from torch.nn import functional as F

from SkullGANLib.models.draws import SAMPLE, keyed_normals, uniform_latents
from SkullGANLib.models.parallel import BatchNorm
from SkullGANLib.models.patch_cgan_recipe import PatchRecipe, PatchTrainer

_WIDEST = 512  # of the discriminator
_GROUP = 16  # channels that are normalised together
_BASE, _BYTES = 300 * 2**20, 4


class PatchNetwork(BaseModel):
    """Network options; the defaults are those of the original with its skips.

    Attributes:
        size: height and width of the slices in pixels; a generator draws any multiple of ``2 ** len(widths)``.
        labels: names of the labels, in the order of their channels; 0, what has none, comes before them.
        neighbours: slices before and behind that the generator is shown the labels of.
        widths: channels on the way down, each step half as large; on the way up they come in reverse.
        norm: ``batch``, over the images of a batch, or ``group``, over groups of channels of each image. Slices of a
            batch hold different labels, so that the batch statistics of training are not those of drawing: images then
            come out hatched.
        skips: maps on the way down are joined to those on the way up.
        noise: channels of noise beside the labels, from which several CTs of one label map come.
        dropout: share of the channels dropped after each of the first three steps up, in drawing as in training.
        head: channels at full size in which labels and noise come together once more before the image; 0 for none.
        patch: scores of the discriminator along one side of 256 pixels, a power of two.
        judge_width: first channels of the discriminator.
        judge_sees_labels: whether it judges images together with their labels, or alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(256, ge=32, le=512)
    labels: tuple[str, ...] = ()
    neighbours: int = Field(0, ge=0, le=3)
    widths: tuple[int, ...] = Field((64, 128, 256, 512, 512, 512, 512), min_length=2)
    norm: Literal["batch", "group"] = "batch"
    skips: bool = True
    noise: int = Field(0, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    head: int = Field(0, ge=0)
    patch: int = 16
    judge_width: int = Field(64, ge=1)
    judge_sees_labels: bool = True

    @property
    def multiple(self) -> int:
        """Sides of slices are multiples of this."""
        return 2 ** len(self.widths)

    @property
    def slices(self) -> int:
        """Label slices that one image is drawn from."""
        return 2 * self.neighbours + 1

    @property
    def channels(self) -> int:
        """Channels of the labels of one slice, one for no label included."""
        return len(self.labels) + 1

    @model_validator(mode="after")
    def _fits(self) -> PatchNetwork:
        if self.size % self.multiple:
            halved = f"a multiple of {self.multiple}, which the {len(self.widths)} widths halve"
            raise ValueError(f"size must be {halved}; the next is {-(-self.size // self.multiple) * self.multiple}")
        if self.patch < 2 or self.patch & (self.patch - 1) or self.patch >= self.size:
            raise ValueError("patch must be a power of two below size")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels must differ")
        return self


class Same(nn.Conv2d):
    """A convolution of an even kernel that keeps the size: one more row and column is padded behind than before."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        return super().forward(F.pad(x, (1, 2, 1, 2)))


class Down(nn.Sequential):
    """Half the size."""

    def __init__(self, before: int, after: int, norm: str | None) -> None:
        layers = [nn.Conv2d(before, after, 4, 2, 1)]
        super().__init__(*layers, *([] if norm is None else [_norm(norm, after)]), nn.LeakyReLU(0.2))


class Up(nn.Sequential):
    """Twice the size."""

    def __init__(self, before: int, after: int, norm: str) -> None:
        super().__init__(nn.ConvTranspose2d(before, after, 4, 2, 1), Same(after, after), nn.ReLU(), _norm(norm, after))


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return BatchNorm(channels, momentum=0.2)
    return nn.GroupNorm(max(1, channels // _GROUP), channels)


class Generator(nn.Module):
    """Labels and noise to an image."""

    def __init__(self, network: PatchNetwork) -> None:
        super().__init__()
        self.network = network
        widths, given = network.widths, network.channels * network.slices + network.noise
        self.down = nn.ModuleList(
            Down(before, after, network.norm if step else None)
            for step, (before, after) in enumerate(pairwise((given, *widths)))
        )
        up = tuple(reversed(widths[:-1]))
        joined = [widths[-1], *(width * (2 if network.skips else 1) for width in up)]
        self.up = nn.ModuleList(Up(before, after, network.norm) for before, after in zip(joined[:-1], up, strict=True))
        last = network.head or 1
        self.last = nn.ConvTranspose2d(joined[-1], last, 4, 2, 1)
        if network.head:
            self.head = nn.Sequential(
                nn.Conv2d(last + given, last, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(last, 1, 3, 1, 1)
            )
        else:
            self.head = Same(1, 1)

    def forward(self, labels: torch.Tensor, keys: torch.Tensor, shares: torch.Tensor | None = None) -> torch.Tensor:
        """Draw.

        Args:
            labels: (B, slices, H, W) uint8 numbers of labels, 0 for none; the slice drawn is the middle one.
            keys: (B,) int64 of the noise, or (B, m) where it is a mixture of several noises.
            shares: (m,) of each noise in the mixture; their squares add up to 1.

        Returns:
            (B, 1, H, W) in [-1, 1].
        """
        network = self.network
        noises = _Noises(keys, shares, self.last.weight)
        x = one_hot(labels, network.channels, self.last.weight.dtype)
        if network.noise:
            x = torch.cat([x, noises((network.noise, *labels.shape[2:]), 0)], 1)
        given, maps = x, []
        for step in self.down:
            x = step(x)
            maps.append(x)
        for step, block in enumerate(self.up):
            x = block(x)
            if network.dropout and step < 3:
                x = self._dropped(x, noises, step)
            if network.skips:
                x = torch.cat([x, maps[-2 - step]], 1)
        x = self.last(x)
        if network.head:
            x = torch.cat([F.leaky_relu(x, 0.2), given.to(x.dtype)], 1)
        return torch.tanh(self.head(x).float())

    def _dropped(self, x: torch.Tensor, noises: _Noises, step: int) -> torch.Tensor:
        """Some channels of each image gone; which ones is up to its key, so that an image can be drawn again."""
        share = self.network.dropout
        limit = float(torch.special.ndtri(torch.tensor(share)))
        kept = noises((x.shape[1], 1, 1), step + 1) > limit
        return x * (kept / (1 - share)).to(x.dtype)


class _Noises:
    """Normal numbers of the keys of a batch."""

    def __init__(self, keys: torch.Tensor, shares: torch.Tensor | None, like: torch.Tensor) -> None:
        self.keys = keys if keys.dim() == 2 else keys[:, None]
        self.shares = [1.0] if shares is None else shares.tolist()
        self.device, self.dtype = like.device, like.dtype

    def __call__(self, shape: tuple[int, int, int], layer: int) -> torch.Tensor:
        parts = (
            share * keyed_normals(keys, layer, shape, self.device, self.dtype)
            for share, keys in zip(self.shares, self.keys.T, strict=True)
        )
        return sum(parts)


class Discriminator(nn.Module):
    """Image and labels to a map of scores, each of a patch of 94 pixels with four halvings."""

    def __init__(self, network: PatchNetwork) -> None:
        super().__init__()
        self.network = network
        steps = int(math.log2(network.patch))
        widths = [min(_WIDEST, network.judge_width * 2**step) for step in range(steps)]
        given = 1 + network.channels * network.judge_sees_labels
        self.main = nn.Sequential(
            *(
                Down(before, after, network.norm if step else None)
                for step, (before, after) in enumerate(pairwise((given, *widths)))
            ),
            Same(widths[-1], 1),
        )

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) in [-1, 1] and (B, slices, H, W) labels to (B, 1, h, w) scores."""
        if self.network.judge_sees_labels:
            middle = self.network.neighbours
            own = one_hot(labels[:, middle : middle + 1], self.network.channels, images.dtype)
            images = torch.cat([images, own], 1)
        return self.main(images)


def one_hot(labels: torch.Tensor, channels: int, dtype: torch.dtype) -> torch.Tensor:
    """(B, S, H, W) numbers below ``channels`` to (B, S * channels, H, W) zeros and ones, channels last in memory."""
    n, slices, height, width = labels.shape
    numbers = torch.arange(channels, device=labels.device, dtype=labels.dtype)
    found = labels.permute(0, 2, 3, 1).contiguous()[..., None] == numbers
    return found.to(dtype).view(n, height, width, slices * channels).permute(0, 3, 1, 2)


class PatchCGAN:
    """The family's entry in the registry; see ``registry.Family`` for what each part is."""

    name = "patch-cgan"
    title = "Patch-based conditional GAN (label map to CT)"
    network = PatchNetwork
    recipe = PatchRecipe
    trainer = PatchTrainer
    conditions: tuple[str, ...] = ()
    absolute, volumes, masks, grows, uniform = False, False, True, False, False

    def build_generator(self, network: PatchNetwork) -> Generator:
        """A freshly initialised generator."""
        return Generator(network)

    def build_discriminator(self, network: PatchNetwork) -> Discriminator:
        """A freshly initialised discriminator."""
        return Discriminator(network)

    def latent(
        self, network: PatchNetwork, seed: int, indices: Iterable[int], stream: int = SAMPLE
    ) -> tuple[torch.Tensor]:
        """(n,) noise keys of the images ``indices`` of ``seed``, on the CPU."""
        return (uniform_latents(seed, stream, indices, 1)[1],)

    def sample(
        self,
        generator: Generator,
        network: PatchNetwork,
        seed: int,
        indices: Iterable[int],
        condition: torch.Tensor | None = None,
        stream: int = SAMPLE,
    ) -> torch.Tensor:
        """(n, 1, H, W) images in [-1, 1] of the labels ``condition``, (n, slices, H, W) uint8; without any, of none."""
        (keys,) = self.latent(network, seed, indices, stream)
        device = next(generator.parameters()).device
        if condition is None:
            condition = torch.zeros(len(keys), network.slices, network.size, network.size, dtype=torch.uint8)
        return generator(condition.to(device), keys)

    def for_drawing(self, generator: Generator, network: PatchNetwork, bfloat16: bool) -> nn.Module:
        """The generator as it draws fastest; the given one stays as it is."""
        return Drawing(generator, bfloat16)

    def realness(self, discriminator: Discriminator, images: torch.Tensor) -> torch.Tensor:
        """Not known of an image without its labels: half for each."""
        return images.new_full((len(images),), 0.5)

    def feature_maps(self, network: PatchNetwork) -> tuple[str, ...]:
        """Names of the generator's modules whose outputs serve label synthesis, coarse to fine."""
        return (*(f"up.{step}" for step in range(len(network.widths) - 1)), "last")

    def memory(self, network: PatchNetwork, batch: int, *, training: bool, bfloat16: bool = False) -> int:
        """Estimated bytes of device memory: weights and maps, in training also gradients, Adam's moments and EMA."""
        with torch.device("meta"):
            weights = [sum(p.numel() for p in net(network).parameters()) for net in (Generator, Discriminator)]
        pixels = network.size**2
        given = network.channels * network.slices + network.noise
        maps = given + sum(width / 4 ** (step + 1) for step, width in enumerate(network.widths)) * (6 + network.skips)
        maps += 4 * max(network.head, 1) + given * (network.head > 0)
        map_bytes = 2 if bfloat16 else _BYTES
        if not training:
            return int(_BASE + 2 * _BYTES * weights[0] + map_bytes * batch * pixels * maps)
        widths = [min(_WIDEST, network.judge_width * 2**step) for step in range(int(math.log2(network.patch)))]
        judged = 1 + network.channels + sum(width / 4 ** (step + 1) for step, width in enumerate(widths)) * 3
        total = 2 * maps + 3 * judged
        return int(_BASE + _BYTES * (6 * weights[0] + 4 * weights[1]) + map_bytes * batch * pixels * total)


class Drawing(nn.Module):
    """A generator that draws in bfloat16 where that is faster."""

    def __init__(self, generator: Generator, bfloat16: bool) -> None:
        super().__init__()
        self.generator, self.bfloat16 = generator.to(memory_format=torch.channels_last), bfloat16

    def forward(self, labels: torch.Tensor, keys: torch.Tensor, shares: torch.Tensor | None = None) -> torch.Tensor:
        """As ``Generator.forward``."""
        with torch.autocast(labels.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.generator(labels, keys, shares)


FAMILY = PatchCGAN()
