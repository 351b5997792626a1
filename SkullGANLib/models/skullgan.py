"""SkullGAN (arXiv 2308.00206): the paper's generator and discriminator, and what the loop needs to train them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from SkullGANLib.models.draws import SAMPLE, KeyedNoise, keyed_normals, uniform_latents
from SkullGANLib.models.parallel import BatchNorm
from SkullGANLib.models.skullgan_recipe import SkullGANRecipe, SkullGANTrainer

_BYTES = 4  # of a float32
_PRODUCT_SIZE = 8  # largest map whose transposed convolution is faster as one matrix product
_BASE = 0.1 * 2**30  # what torch's convolutions take for themselves, bytes
_WORKSPACE, _COPIES = 1.25, 1.1  # what convolutions take beyond float32 maps, and a step beyond the weights; measured
_CACHE = 8 * 2**20  # bytes of maps that a processor has at hand while it passes over them several times


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


class NoiseLayer(KeyedNoise):
    """Noise inside the maps, active at inference too (paper, Fig. 3; released code).

    Per image and channel, with M the maximum and s the standard deviation over the map: out = x + c n s, where c is x
    with entries below -M/2 or above M/4 set to 0, and n is standard normal.
    """

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) maps and (B,) keys that fix each image's noise."""
        if x.device.type != "cpu" or torch.is_grad_enabled():
            return self._noisy(x, keys)
        # as few images at a time as stay in the processor's cache: up to three times as fast
        few = max(1, _CACHE * len(x) // (x.numel() * x.element_size()))
        return torch.cat([self._noisy(*part) for part in zip(x.split(few), keys.split(few), strict=True)])

    def _noisy(self, x: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        peak = x.detach().amax((2, 3), keepdim=True)
        above = peak > 0  # below it, every entry is cut off
        part = x * torch.where(above, -1 / peak, 0)
        part = F.threshold(-F.threshold(part, -0.25, 0.0), -0.5, 0.0)  # c / M, without a comparison of its own
        noise = keyed_normals(keys, self.layer, tuple(x.shape[1:]), x.device, x.dtype)
        return x + part * noise * (peak.clamp_min(0) * _spread(x)).to(x.dtype)


def _spread(x: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each map, (B, C, 1, 1) float32; torch.std is far slower."""
    count = x.shape[2] * x.shape[3]
    centre = x.mean((2, 3), keepdim=True, dtype=torch.float32)
    square = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True, dtype=torch.float32).square()
    return ((square - count * centre**2) / (count - 1)).clamp_min(1e-20).sqrt()  # the root's slope at 0 is infinite


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
        return torch.tanh(self.conv4(self.conv3(self.maps(z, keys))))

    def maps(self, z: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """All but the last two convolutions: (B, channels, size, size)."""
        x = z[:, :, None, None]
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"main{stage}")(x)
        x = self.noise[0](x, keys) if len(self.noise) else x
        x = self.conv2(self.conv1(x))
        return self.noise[1](x, keys) if len(self.noise) else x


class FoldedGenerator(Generator):
    """A generator for drawing only: batch statistics folded into the convolutions, all but the last two in bfloat16."""

    def __init__(self, network: SkullGANNetwork, generator: Generator, dtype: torch.dtype) -> None:
        with torch.device("meta"):
            super().__init__(network)
        self.load_state_dict(generator.state_dict(), assign=True)
        self.eval()
        for stage in range(1, self.stages):
            convolution, norm, rectifier = self.get_submodule(f"main{stage}")
            folded = fuse_conv_bn_eval(convolution, norm, transpose=True)
            self.add_module(f"main{stage}", nn.Sequential(folded, rectifier))
        self.to(dtype, memory_format=torch.channels_last).requires_grad_(False)
        self.conv3.float()
        self.conv4.float()
        self.dtype = dtype

    def forward(self, z: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """As ``Generator.forward``."""
        return torch.tanh(self.conv4(self.conv3(self.maps(z.to(self.dtype), keys).float())))


class Discriminator(nn.Module):
    """Image to the logit of being real; the paper's sigmoid of it is in the loss and in ``SkullGAN.realness``."""

    def __init__(self, network: SkullGANNetwork) -> None:
        super().__init__()
        widths = network.discriminator
        layers: list[nn.Module] = [nn.Conv2d(1, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, 2, 1), BatchNorm(after), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, size, size) in [-1, 1] to (B,) logits."""
        return self.main(images).flatten()


class Doubling(nn.ConvTranspose2d):
    """A transposed convolution of kernel 4, stride 2, padding 1; on a CPU, one matrix product where maps are small.

    There, the weights are many and the positions few, and torch's own takes up to three times as long to draw and ten
    times to train.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', 2H, 2W)."""
        n, channels, height, width = x.shape
        if x.device.type != "cpu" or height > _PRODUCT_SIZE:
            return super().forward(x)
        weight = self.weight.permute(0, 2, 3, 1).reshape(channels, -1)  # no copy where channels are last
        taps = (x.permute(0, 2, 3, 1).reshape(-1, channels) @ weight).view(n, height, width, 4, 4, -1)
        out = taps.new_zeros(n, 2 * height + 2, 2 * width + 2, self.out_channels)
        for row in range(4):
            for column in range(4):
                out[:, row : row + 2 * height : 2, column : column + 2 * width : 2] += taps[:, :, :, row, column]
        out = out[:, 1:-1, 1:-1] if self.bias is None else out[:, 1:-1, 1:-1] + self.bias.to(out.dtype)
        return out.permute(0, 3, 1, 2)


def _up(before: int, after: int, *, stride: int = 2, last: bool = False) -> nn.Sequential:
    kind, padding = (Doubling, 1) if stride == 2 else (nn.ConvTranspose2d, 0)
    convolution = kind(before, after, 4, stride, padding, bias=False)
    return nn.Sequential(convolution) if last else nn.Sequential(convolution, BatchNorm(after), nn.ReLU(True))


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
    absolute, volumes, masks, grows, uniform = True, False, False, False, True

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
        return generator(z.to(next(generator.parameters()).device), keys)

    def for_drawing(self, generator: Generator, network: SkullGANNetwork, bfloat16: bool) -> nn.Module:
        """The generator as it draws fastest; the given one keeps its weights."""
        return FoldedGenerator(network, generator, torch.bfloat16 if bfloat16 else torch.float32)

    def realness(self, discriminator: Discriminator, images: torch.Tensor) -> torch.Tensor:
        """(n,) probability of being real; in train mode, never mix sets in one batch."""
        return torch.sigmoid(discriminator(images))

    def feature_maps(self, network: SkullGANNetwork) -> tuple[str, ...]:
        """Names of the generator's modules whose outputs serve label synthesis, coarse to fine."""
        return (*(f"main{stage}" for stage in range(1, len(network.generator) + 1)), "conv2")

    def memory(self, network: SkullGANNetwork, batch: int, *, training: bool, bfloat16: bool = False) -> int:
        """Estimated bytes of device memory: weights and maps, in training also gradients, Adam's moments and EMA."""
        with torch.device("meta"):
            weights = [sum(p.numel() for p in net(network).parameters()) for net in (Generator, Discriminator)]
        size = network.size
        up = sum(width * (4 * 2**stage) ** 2 for stage, width in enumerate(network.generator))
        tail = (sum(network.tail) + 1) * size**2
        noise = (network.generator[-1] + network.tail[1]) * size**2 * network.noise
        map_bytes = 2 if bfloat16 else _WORKSPACE * _BYTES
        if not training:
            widest = max(network.generator[-1] + network.tail[0], network.generator[-1] * (1 + 2 * network.noise))
            return int(_BASE + _WORKSPACE * _BYTES * weights[0] + map_bytes * batch * 2 * widest * size**2)
        down = sum(width * (size // 2**stage) ** 2 for stage, width in enumerate(network.discriminator, start=1))
        maps = 3 * up + 2 * tail + 5 * noise + 2 * 3 * down
        return int(_BASE + _COPIES * _BYTES * (5 * weights[0] + 4 * weights[1]) + map_bytes * batch * maps)


FAMILY = SkullGAN()
