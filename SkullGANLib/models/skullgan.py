"""SkullGAN (arXiv 2308.00206): the paper's generator and discriminator, and what the loop needs to train them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from SkullGANLib.models.draws import SAMPLE, keyed_normals, uniform_latents
from SkullGANLib.models.skullgan_recipe import SkullGANRecipe, SkullGANTrainer

_BYTES = 4  # of a float32
_WORKSPACE = 1.25  # what convolutions take beyond weights and maps, measured on the paper's network


class SkullGANNetwork(BaseModel):
    """Widths of both networks; the defaults are the paper's (192,002,304 and 11,164,353 parameters).

    Attributes:
        latent: length of z.
        generator: channels after main1, main2, ...; each but the first doubles the map, which starts at 4x4.
        tail: channels of the 3x3 convolutions that follow at full size; one more leads to the single output channel.
        noise: whether the generator has its two noise layers.
        discriminator: channels of the strided convolutions; each halves the map, down to 4x4.
        weight_std: standard deviation of initial convolution weights (paper 0.01); ``fan_in`` is 1/sqrt(inputs of an
            output), which narrow networks need to start at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    latent: int = Field(200, ge=1)
    generator: tuple[int, ...] = (4096, 2048, 1024, 512, 256, 128)
    tail: tuple[int, ...] = (64, 32, 16)
    noise: bool = True
    discriminator: tuple[int, ...] = (64, 128, 256, 512, 1024)
    weight_std: Annotated[float, Field(gt=0)] | Literal["fan_in"] = 0.01

    @model_validator(mode="after")
    def _sizes_agree(self) -> SkullGANNetwork:
        if len(self.generator) != len(self.discriminator) + 1 or len(self.generator) < 2:
            raise ValueError("generator must have one entry more than discriminator, and at least two")
        if len(self.tail) != 3 or min((*self.generator, *self.tail, *self.discriminator)) < 1:
            raise ValueError("tail has three entries, and every width is at least 1")
        return self

    @property
    def size(self) -> int:
        """Height and width of the images in pixels."""
        return 4 * 2 ** (len(self.generator) - 1)


class NoiseLayer(nn.Module):
    """Noise inside the maps, active at inference too (paper, Fig. 3; released code).

    Per image and channel, with M the maximum and s the standard deviation over the map: out = x + c n s, where c is x
    with entries below -M/2 or above M/4 set to 0, and n is standard normal.
    """

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) maps and (B,) keys that fix each image's noise."""
        peak = x.detach().amax((2, 3), keepdim=True)
        centred = x - x.mean((2, 3), keepdim=True)
        variance = centred.square().sum((2, 3), keepdim=True) / (x[0, 0].numel() - 1)  # torch.std is far slower
        spread = variance.clamp_min(1e-20).sqrt()  # the root's slope at 0 is infinite
        noise = keyed_normals(keys, self.layer, tuple(x.shape[1:]), x.device).to(x.dtype)
        noise.masked_fill_((x < -peak / 2) | (x > peak / 4), 0)
        return x + x * noise * spread


class Generator(nn.Module):
    """z to an image; parameter names are those of the released weights (main1..., conv1...conv4)."""

    def __init__(self, network: SkullGANNetwork) -> None:
        super().__init__()
        widths = network.generator
        self.main1 = _up(network.latent, widths[0], stride=1)
        for stage, (before, after) in enumerate(pairwise(widths), start=2):
            self.add_module(f"main{stage}", _up(before, after, last=stage == len(widths)))
        self.stages = len(widths)
        for number, (before, after) in enumerate(pairwise((widths[-1], *network.tail, 1)), start=1):
            self.add_module(f"conv{number}", nn.Conv2d(before, after, 3, 1, 1, bias=number < 4))
        self.noise = nn.ModuleList([NoiseLayer(0), NoiseLayer(1)] if network.noise else [])

    def forward(self, z: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Draw images.

        Args:
            z: (B, latent) in U(-1, 1).
            keys: (B,) int64 in [0, 2^31), the noise of each image.

        Returns:
            (B, 1, size, size) in [-1, 1].
        """
        x = z[:, :, None, None]
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"main{stage}")(x)
        x = self.noise[0](x, keys) if len(self.noise) else x
        x = self.conv2(self.conv1(x))
        x = self.noise[1](x, keys) if len(self.noise) else x
        return torch.tanh(self.conv4(self.conv3(x)))


class Discriminator(nn.Module):
    """Image to the logit of being real; the paper's sigmoid of it is in the loss and in ``SkullGAN.realness``."""

    def __init__(self, network: SkullGANNetwork) -> None:
        super().__init__()
        widths = network.discriminator
        layers: list[nn.Module] = [nn.Conv2d(1, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, size, size) in [-1, 1] to (B,) logits."""
        return self.main(images).flatten()


def _up(before: int, after: int, *, stride: int = 2, last: bool = False) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(before, after, 4, stride, 1 if stride == 2 else 0, bias=False)
    return nn.Sequential(convolution) if last else nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(True))


@torch.no_grad()
def initialise(module: nn.Module, weight_std: float | str) -> nn.Module:
    """Convolution weights N(0, std), BN weights N(1, 0.01), BN biases 0; convolution biases stay at torch's default."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.normal_(1.0, 0.01)
            layer.bias.zero_()
        elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            taps = layer.kernel_size[0] * layer.kernel_size[1]
            if isinstance(layer, nn.ConvTranspose2d):
                taps /= layer.stride[0] * layer.stride[1]
            fan_in = layer.in_channels * taps
            layer.weight.normal_(0.0, fan_in**-0.5 if weight_std == "fan_in" else weight_std)
    return module


class SkullGAN:
    """The family's entry in the registry; see ``registry.Family`` for what each part is."""

    name = "skullgan"
    title = "SkullGAN (the paper's network and narrower ones)"
    network = SkullGANNetwork
    recipe = SkullGANRecipe
    trainer = SkullGANTrainer
    conditions: tuple[str, ...] = ()

    def build_generator(self, network: SkullGANNetwork) -> Generator:
        """A freshly initialised generator."""
        return initialise(Generator(network), network.weight_std)

    def build_discriminator(self, network: SkullGANNetwork) -> Discriminator:
        """A freshly initialised discriminator."""
        return initialise(Discriminator(network), network.weight_std)

    def latent(
        self, network: SkullGANNetwork, seed: int, indices: Iterable[int], stream: int = SAMPLE
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, latent) z and (n,) noise keys of the images ``indices`` of ``seed``, on the CPU."""
        return uniform_latents(seed, stream, indices, network.latent)

    def sample(
        self,
        generator: Generator,
        network: SkullGANNetwork,
        seed: int,
        indices: Iterable[int],
        condition: torch.Tensor | None = None,
        stream: int = SAMPLE,
    ) -> torch.Tensor:
        """(n, 1, size, size) images in [-1, 1] on the generator's device; this family takes no condition."""
        z, keys = self.latent(network, seed, indices, stream)
        return generator(z.to(next(generator.parameters()).device, non_blocking=True), keys)

    def realness(self, discriminator: Discriminator, images: torch.Tensor) -> torch.Tensor:
        """(n,) probability of being real; in train mode, never mix sets in one batch."""
        return torch.sigmoid(discriminator(images))

    def feature_maps(self, network: SkullGANNetwork) -> tuple[str, ...]:
        """Names of the generator's modules whose outputs serve label synthesis, coarse to fine."""
        return (*(f"main{stage}" for stage in range(1, len(network.generator) + 1)), "conv2")

    def memory(self, network: SkullGANNetwork, batch: int, *, training: bool) -> int:
        """Estimated bytes of device memory: weights and maps, in training also gradients, Adam's moments and EMA."""
        with torch.device("meta"):
            weights = [sum(p.numel() for p in net(network).parameters()) for net in (Generator, Discriminator)]
        size = network.size
        up = sum(width * (4 * 2**stage) ** 2 for stage, width in enumerate(network.generator))
        tail = (sum(network.tail) + 1) * size**2
        noise = (network.generator[-1] + network.tail[1]) * size**2 * network.noise
        if not training:
            widest = max(network.generator[-1] + network.tail[0], network.generator[-1] * (1 + 2 * network.noise))
            return int(_WORKSPACE * _BYTES * (weights[0] + batch * 2 * widest * size**2))
        down = sum(width * (size // 2**stage) ** 2 for stage, width in enumerate(network.discriminator, start=1))
        maps = 3 * up + 2 * tail + 5 * noise + 2 * 3 * down
        return int(_WORKSPACE * _BYTES * (5 * weights[0] + 4 * weights[1] + batch * maps))


FAMILY = SkullGAN()
