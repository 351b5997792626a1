"""A style-based generator for several classes that grows from 16 pixels on: each size learns on top of the frozen ones.

Class-conditional images as RadImageGAN makes them (Z. Liu et al., arXiv:2312.05953), with the parts of StyleGAN-XL (A.
Sauer et al., SIGGRAPH 2022) that matter for small sets of grey images: a mapping of latent and class to a style, a
stem that is frozen before finer layers are put on it, and a discriminator on frozen features (``models.style_judge``).
Its layers are in ``models.style_layers``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from SkullGANLib.models.device import full_precision
from SkullGANLib.models.draws import CALIBRATION, SAMPLE, normal_latents, normal_latents_and_keys
from SkullGANLib.models.style_judge import Discriminator
from SkullGANLib.models.style_layers import FIRST, Layer, Linear, ToImage, doubled, normalised, rectified
from SkullGANLib.models.style_recipe import StyleRecipe, StyleTrainer

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
        self.first, self.second = Linear(joined, network.style), Linear(network.style, network.style)

    def forward(self, z: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        """(B, latent) and (B, classes) shares of each class to (B, style)."""
        with full_precision(z.device):
            x = normalised(z.float())
            if self.embed is not None:
                x = torch.cat([x, normalised(self.embed(condition.float() @ self.described))], 1)
            return rectified(self.second(rectified(self.first(x))))


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
            x = x if size == 4 else doubled(x)
            x = self.get_submodule(f"block{size}")(x, style, keys)
            added = self.get_submodule(f"image{size}")(x, style)
            image = added if image is None else doubled(image) + added
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
