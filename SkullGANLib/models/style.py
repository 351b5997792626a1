"""A style-based generator for several classes that grows from 16 pixels on: each size learns on top of the frozen ones.

Class-conditional images as RadImageGAN makes them (Z. Liu et al., arXiv:2312.05953), with the parts of StyleGAN-XL (A.
Sauer et al., SIGGRAPH 2022) that matter for small sets of grey images: a mapping of latent and class to a style, a
stem that is frozen before finer layers are put on it, and a discriminator on frozen features (``models.style_judge``).
The layers are those of StyleGAN2 (T. Karras et al., CVPR 2020) in plain torch, with noise for what is grain.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional as F

from SkullGANLib.models.device import full_precision
from SkullGANLib.models.draws import (
    CALIBRATION,
    SAMPLE,
    KeyedNoise,
    keyed_normals,
    normal_latents,
    normal_latents_and_keys,
)
from SkullGANLib.models.style_judge import Discriminator
from SkullGANLib.models.style_recipe import StyleRecipe, StyleTrainer

FIRST = 16
"""Pixels of the stem, the smallest size."""
_SLOPE = 0.2
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))
_MAPPED = 1000  # latents whose styles tell the middle of a class
_BYTES = 4  # of a float32
_BASE = 0.1 * 2**30  # what torch's convolutions take for themselves, bytes


class HandedIn(BaseModel):
    """A feature network by the file that it comes in; see ``models.features``.

    Attributes:
        sha256: of the file.
        maps: channels and stride of each of its maps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    maps: tuple[tuple[int, int], ...] = Field(min_length=2)


class StyleNetwork(BaseModel):
    """Both networks; the defaults are the full size, for 512 pixels.

    Attributes:
        size: height and width of the images.
        condition: classes, as columns of the condition; 0 for a model without. Training sets it from the data.
        latent: length of z; the class is brought to the same length.
        style: length of the style that every layer gets.
        base, widest: a layer of r x r positions has base / r channels, at most ``widest``.
        stem_layers: layers up to 16 pixels.
        head_layers: layers of each further size.
        frozen: size up to which the generator no longer learns; 0 while it learns throughout.
        classes: how the class reaches the mapping: by the ``means`` of its images in the discriminator's frozen
            features, or as vectors ``learned`` from scratch.
        description: length of a class's description, for ``means``.
        judged: pixels that the discriminator's features look at; smaller images are enlarged.
        features: channels of its frozen features, each at half the resolution of the one before.
        handed_in: network of one's own that gives the discriminator its features, none where they are the library's;
            training sets it from ``--features``.
        mixed: channels that each of these is mixed to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Literal[16, 32, 64, 128, 256, 512] = 512
    condition: int = Field(0, ge=0)
    latent: int = Field(64, ge=1)
    style: int = Field(512, ge=1)
    base: int = Field(16384, ge=16)
    widest: int = Field(256, ge=1)
    stem_layers: int = Field(7, ge=5)
    head_layers: int = Field(4, ge=1)
    frozen: Literal[0, 16, 32, 64, 128, 256] = 0
    classes: Literal["means", "learned"] = "means"
    description: int = Field(144, ge=1)
    judged: int = Field(64, ge=32)
    features: tuple[int, ...] = Field((16, 32, 64, 96), min_length=2)
    handed_in: HandedIn | None = None
    mixed: int = Field(64, ge=1)

    @property
    def scales(self) -> tuple[tuple[int, int], ...]:
        """Channels and stride of the maps that the discriminator looks at, fine to coarse."""
        if self.handed_in is not None:
            return self.handed_in.maps
        return tuple((width, 2 ** (k + 1)) for k, width in enumerate(self.features))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Resolutions with layers of their own, from 4 up."""
        return tuple(2**k for k in range(2, self.size.bit_length()))

    def channels(self, size: int) -> int:
        """Of the layers of a resolution."""
        return max(1, min(self.widest, self.base // size))

    def layers(self, size: int) -> int:
        """How many a resolution has: the stem begins with one and then two, and ends with the rest."""
        return {4: 1, 8: 2, FIRST: self.stem_layers - 3}.get(size, self.head_layers)


class Mapping(nn.Module):
    """Latent and class to a style; two layers, as of StyleGAN-XL."""

    def __init__(self, network: StyleNetwork) -> None:
        super().__init__()
        self.embed = None
        if network.condition:
            wide = network.description if network.classes == "means" else network.latent
            described = torch.randn(network.condition, wide)
            if network.classes == "means":
                self.register_buffer("described", described)
            else:
                self.described = nn.Parameter(described)
            self.embed = nn.Linear(wide, network.latent)
        joined = network.latent * (1 + bool(network.condition))
        self.first, self.second = _Linear(joined, network.style), _Linear(network.style, network.style)

    def forward(self, z: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        """(B, latent) and (B, classes) shares of each class to (B, style)."""
        with full_precision(z.device):
            x = _normalised(z.float())
            if self.embed is not None:
                x = torch.cat([x, _normalised(self.embed(condition.float() @ self.described))], 1)
            return _rectified(self.second(_rectified(self.first(x))))


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
        noise = keyed_normals(keys, self.number, (1, *x.shape[2:]), x.device)
        return torch.addcmul(x, noise.to(x.dtype), self.strength.to(x.dtype))


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


class Block(nn.Module):
    """The layers of one resolution."""

    def __init__(self, network: StyleNetwork, size: int, number: int) -> None:
        super().__init__()
        width, before = network.channels(size), network.channels(size // 2)
        self.layers = nn.ModuleList(
            Layer(width if k else before, width, network.style, number + k) for k in range(network.layers(size))
        )

    def forward(self, x: torch.Tensor, style: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """(B, before, H, W) to (B, width, H, W)."""
        for layer in self.layers:
            x = layer(x, style, keys)
        return x


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


class Generator(nn.Module):
    """Latent, noise and class to an image; each resolution adds to the enlarged image of the one before.

    Attributes:
        truncation: 1 for styles as they come, less for styles drawn towards the middle of their class, or the nearest
            of its ``centres``.
        centres: of the styles of a class, by k-means; 1 for its mean.
    """

    def __init__(self, network: StyleNetwork) -> None:
        super().__init__()
        self.truncation, self.centres, self.latent = 1.0, 1, network.latent
        self.sizes, self.mapping, number = network.sizes, Mapping(network), 0
        self.start = nn.Parameter(torch.randn(1, network.channels(2), 4, 4))
        for size in self.sizes:
            block = Block(network, size, number)
            image = ToImage(network.channels(size), network.style, begins=size <= FIRST)
            self.add_module(f"block{size}", block.requires_grad_(size > network.frozen))
            self.add_module(f"image{size}", image.requires_grad_(size > network.frozen))
            number += network.layers(size)
        if network.frozen:
            self.mapping.requires_grad_(False)
            self.start.requires_grad_(False)
        self._middles: dict[bytes, np.ndarray] = {}

    def forward(self, z: torch.Tensor, keys: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Draw images.

        Args:
            z: (B, latent), standard normal.
            keys: (B,) of the noise, see ``models.draws.keyed_normals``.
            condition: (B, classes), one-hot, or shares of several classes for something in between.

        Returns:
            (B, 1, size, size), roughly in [-1, 1].
        """
        style = self.mapping(z, condition)
        if self.truncation != 1:
            style = self._towards_middle(style, condition)
        style = style.to(self.start.dtype)
        x, image = self.start.expand(len(z), -1, -1, -1), None
        x = x.contiguous(memory_format=torch.channels_last) if x.device.type != "mps" else x
        for size in self.sizes:
            x = x if size == 4 else _doubled(x)
            x = self.get_submodule(f"block{size}")(x, style, keys)
            added = self.get_submodule(f"image{size}")(x, style)
            image = added if image is None else _doubled(image) + added
        return image

    def _towards_middle(self, style: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        middle = torch.empty_like(style)
        for k in range(len(style)):
            asked = None if condition is None else condition[k]
            centres = torch.from_numpy(self._middle(asked)).to(style)
            middle[k] = centres[(centres - style[k]).square().sum(1).argmin()]
        return middle + self.truncation * (style - middle)

    @torch.no_grad()
    def _middle(self, asked: torch.Tensor | None) -> np.ndarray:
        """(centres, style) of the class asked for."""
        key = b"" if asked is None else asked.cpu().numpy().tobytes()
        if key not in self._middles:
            device = self.mapping.first.weight.device
            z = normal_latents(0, CALIBRATION, range(_MAPPED), self.latent).to(device)
            many = None if asked is None else asked.expand(_MAPPED, -1)
            styles = self.mapping(z, many).cpu().numpy()
            found = styles.mean(0, keepdims=True)
            if self.centres > 1:
                from sklearn.cluster import KMeans

                found = KMeans(self.centres, n_init=1, random_state=0).fit(styles).cluster_centers_
            self._middles[key] = found.astype(np.float32)
        return self._middles[key]


class _Linear(nn.Module):
    """A linear layer whose weights learn a hundred times slower than others (StyleGAN, section 2 and appendix C)."""

    _RATE = 0.01

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before) / self._RATE)
        self.bias = nn.Parameter(torch.zeros(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, before) to (B, after)."""
        return F.linear(x, self.weight * (self._RATE / math.sqrt(self.weight.shape[1])), self.bias * self._RATE)


def _normalised(x: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def _rectified(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, _SLOPE) * _GAIN


def _doubled(x: torch.Tensor) -> torch.Tensor:
    with full_precision(x.device):
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Style:
    """The family's entry in the registry; see ``registry.Family`` for what each part is."""

    name = "style"
    title = "Several classes, growing from 16 pixels up to 512; for labelled images, too"
    network = StyleNetwork
    recipe = StyleRecipe
    trainer = StyleTrainer
    conditions: tuple[str, ...] = ("class",)
    absolute, volumes, masks, grows, uniform = False, False, False, True, False

    def build_generator(self, network: StyleNetwork) -> Generator:
        """A freshly initialised generator."""
        return Generator(network)

    def build_discriminator(self, network: StyleNetwork) -> Discriminator:
        """A freshly initialised discriminator; its features are what ``train.growing`` makes them."""
        return Discriminator(network)

    def latent(
        self, network: StyleNetwork, seed: int, indices: Iterable[int], stream: int = SAMPLE
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, latent) z and (n,) noise keys of the images ``indices`` of ``seed``, on the CPU."""
        return normal_latents_and_keys(seed, stream, indices, network.latent)

    def sample(
        self,
        generator: Generator,
        network: StyleNetwork,
        seed: int,
        indices: Iterable[int],
        condition: torch.Tensor | None = None,
        stream: int = SAMPLE,
    ) -> torch.Tensor:
        """(n, 1, size, size) images on the generator's device; of no class in particular where none is asked for."""
        z, keys = self.latent(network, seed, indices, stream)
        device = generator.start.device
        if network.condition and condition is None:
            condition = torch.full((len(z), network.condition), 1 / network.condition)
        return generator(z.to(device), keys, None if condition is None else condition.to(device))

    def truncated(self, generator: Generator, truncation: float, centres: int = 1) -> Generator:
        """A copy that draws styles towards the middle of their class: less variety, fewer odd images.

        Args:
            generator: stays as it is.
            truncation: 1 for none, 0 for the middle itself.
            centres: of the styles of a class (k-means); each image is drawn towards the nearest.
        """
        changed = copy.deepcopy(generator)
        changed.truncation, changed.centres, changed._middles = float(truncation), int(centres), {}
        return changed

    def for_drawing(self, generator: Generator, network: StyleNetwork, bfloat16: bool) -> Generator:
        """A copy in the memory order that convolutions like best, its layers in bfloat16 where asked for."""
        changed = copy.deepcopy(generator).to(memory_format=torch.channels_last)
        if bfloat16:
            mapping, changed.mapping = changed.mapping, nn.Identity()  # what it says is of full precision
            changed.to(torch.bfloat16).mapping = mapping
        return changed

    def realness(self, discriminator: Discriminator, images: torch.Tensor) -> torch.Tensor:
        """(n,) the mean logit squashed to 0..1, whatever the class; hinge logits mean something against each other."""
        return torch.sigmoid(discriminator(images, None))

    def feature_maps(self, network: StyleNetwork) -> tuple[str, ...]:
        """Names of the generator's modules whose outputs serve label synthesis, coarse to fine."""
        return tuple(f"block{size}" for size in network.sizes)

    def memory(self, network: StyleNetwork, batch: int, *, training: bool, bfloat16: bool = False) -> int:
        """Estimated bytes of device memory."""
        with torch.device("meta"):
            weights = sum(p.numel() for net in (Generator, Discriminator) for p in net(network).parameters())
        maps = sum(network.channels(s) * s**2 * network.layers(s) for s in network.sizes)
        seen = sum(w * (max(network.judged, network.size) // stride) ** 2 for w, stride in network.scales)
        each = batch * (2 if bfloat16 else 4)
        if not training:
            return int(_BASE + _BYTES * weights + each * 6 * network.channels(network.size) * network.size**2)
        return int(_BASE + 5 * _BYTES * weights + each * (5 * maps + 8 * seen))


FAMILY = Style()
