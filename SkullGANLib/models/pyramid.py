"""A pyramid of small GANs that learns one CT volume, from coarse to fine, in 3D or with its slices as channels.

CT-GAN (github.com/larry-11/CT-GAN), which carries SinGAN (T. R. Shaham et al., ICCV 2019) over to CT. Its networks and
sizes, with the voxels of the volume in their true proportions and noise at every scale.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.interpolate import CubicSpline
from torch import nn
from torch.nn import functional as F

from SkullGANLib.models.draws import PYRAMID_RECONSTRUCTION, PYRAMID_WARP, image_rng

Shape = tuple[int, int, int]

_SLOPE = 0.2
_LAYERS = 5
SLAB_VOXELS = 4_000_000  # drawn at a time: half a gigabyte for a map of 32 channels in float32
FEWEST = 4  # voxels along an axis of the coarsest scale
_HALVINGS = 3  # of a 2D generator


class PyramidNetwork(BaseModel):
    """The networks of all scales.

    Attributes:
        dimensions: 3 for convolutions in space; 2 for convolutions in the slice, the slices being channels.
        shapes: (slices, rows, columns) of each scale, from coarse to fine.
        noise: standard deviation of the noise at each scale, in parts of the window; 1 at the coarsest.
        places: whether the networks are told where in the volume they are; its layout then stays in what is drawn.
        channels: of the generators.
        judge_channels: of the discriminators.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimensions: Literal[2, 3] = 3
    shapes: tuple[Shape, ...] = Field(min_length=1)
    noise: tuple[float, ...] = ()
    places: bool = False
    channels: int = Field(32, ge=1)
    judge_channels: int = Field(16, ge=1)

    @model_validator(mode="after")
    def _slices_stay(self) -> PyramidNetwork:
        if self.dimensions == 2 and len({shape[0] for shape in self.shapes}) > 1:
            raise ValueError("in 2D all scales have the same slices")
        return self

    @property
    def size(self) -> int:
        """Longest side of the finest scale in voxels."""
        return max(self.shapes[-1])


def scale_shapes(
    voxels: Shape,
    spacing_mm: Sequence[float],
    *,
    smallest: int = 28,
    largest: int = 140,
    factor: float = 1.5,
    dimensions: int = 3,
) -> tuple[Shape, ...]:
    """Shapes of the scales for a volume, from coarse to fine.

    Args:
        voxels: (slices, rows, columns) of the volume.
        spacing_mm: of its voxels along (slice, row, column).
        smallest, largest: longest side of the coarsest scale and about that of the finest, in voxels. None is finer
            than the smallest side of the volume's voxels.
        factor: between one scale and the next.
        dimensions: 3 for cubic voxels at every scale; 2 to leave the slices as they are.

    Raises:
        ValueError: the volume is smaller than the coarsest scale, or that would have less than ``FEWEST`` voxels along
            a side.
    """
    extents = [n * mm for n, mm in zip(voxels, spacing_mm, strict=True)]
    first = 3 - dimensions
    longest = max(range(first, 3), key=lambda axis: extents[axis])
    resolved = round(extents[longest] / min(spacing_mm[first:]))
    if resolved < smallest:
        raise ValueError(f"resolves {resolved} voxels along its longest side, and the coarsest scale takes {smallest}")
    sides = [smallest]
    while round(sides[-1] * factor) <= min(largest * 1.05, resolved):
        sides.append(max(round(sides[-1] * factor), sides[-1] + 1))
    shapes = [
        (*voxels[:first], *(round(extents[axis] * side / extents[longest]) for axis in range(first, 3)))
        for side in sides
    ]
    if min(shapes[0]) < FEWEST:
        raise ValueError(
            f"would have {min(shapes[0])} voxels along one side of its coarsest scale, and it takes {FEWEST}"
        )
    return tuple(shapes)


def warped(
    images: torch.Tensor, extents_mm: Sequence[float], deviation_mm: float, seed: int, index: int
) -> torch.Tensor:
    """A volume smoothly deformed: random shifts on a grid of 4 x 4 x 4 points, cubic between them along each axis.

    Args:
        images: (1, 1, Z, Y, X) or (1, Z, Y, X).
        extents_mm: of the volume along (slice, row, column).
        deviation_mm: standard deviation of the shifts along each axis.
        seed, index: the same ones deform alike.
    """
    volume = images if images.dim() == 5 else images[None]
    sides = volume.shape[2:]
    shifts = image_rng(seed, PYRAMID_WARP, index).standard_normal((3, 4, 4, 4), np.float32)
    grid = torch.from_numpy(_between(shifts, sides)) * deviation_mm
    lines = [torch.linspace(-1 + 1 / n, 1 - 1 / n, n) for n in sides]
    places = torch.stack(torch.meshgrid(*lines, indexing="ij"))
    places = places + 2 * grid / torch.tensor(list(extents_mm), dtype=torch.float32).reshape(3, 1, 1, 1)
    at = places.flip(0).permute(1, 2, 3, 0)[None].to(images.device)  # grid_sample counts (x, y, z)
    moved = F.grid_sample(volume, at, mode="bilinear", padding_mode="border", align_corners=False)
    return moved if images.dim() == 5 else moved[0]


def _between(shifts: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """(3, 4, 4, 4) shifts at every voxel, (3, *sides) float32."""
    for axis, side in enumerate(sides, start=1):
        spline = CubicSpline(np.linspace(0, 1, shifts.shape[axis]), shifts, axis=axis, bc_type="natural")
        shifts = spline(np.linspace(0, 1, side))
    return shifts.astype(np.float32)


def with_places(images: torch.Tensor) -> torch.Tensor:
    """With a channel for each axis in space that says where a voxel lies, from -1 to 1: volumes as by ``resized``."""
    count, sides = images.shape[0], images.shape[2:]
    lines = [torch.linspace(-1, 1, n, device=images.device, dtype=images.dtype) for n in sides]
    grids = torch.stack(torch.meshgrid(*lines, indexing="ij"))[None].expand(count, -1, *[-1] * len(sides))
    return torch.cat([images, grids], 1)


def resized(images: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Volumes at another scale, linearly between voxel centres, without aliasing where they shrink.

    Args:
        images: (N, 1, slices, rows, columns), or (N, slices, rows, columns) with the slices as channels.
        shape: (slices, rows, columns) to get.
    """
    in_space = images.dim() == 5
    wanted, held = shape if in_space else shape[1:], images.shape[2:]
    if tuple(held) == tuple(wanted):
        return images
    if all(new <= old for new, old in zip(wanted, held, strict=True)) and not in_space:
        return F.interpolate(images, wanted, mode="bilinear", antialias=True)
    if in_space and any(new < old for new, old in zip(wanted, held, strict=True)):
        images = _smoothed(images, wanted)
    return F.interpolate(images, wanted, mode="trilinear" if in_space else "bilinear", align_corners=False)


def _smoothed(images: torch.Tensor, wanted: Sequence[int]) -> torch.Tensor:
    """Blurred along each axis by as much as it is about to shrink."""
    for axis, (new, old) in enumerate(zip(wanted, images.shape[2:], strict=True), start=2):
        sigma = 0.5 * max(old / new - 1, 0)
        if sigma < 0.05:
            continue
        reach = max(1, round(3 * sigma))
        line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=images.device) / sigma) ** 2)
        shape = [1, 1, 1, 1, 1]
        shape[axis] = len(line)
        padding = [0, 0, 0, 0, 0, 0]
        padding[2 * (4 - axis)] = padding[2 * (4 - axis) + 1] = reach
        images = F.conv3d(F.pad(images, padding, mode="replicate"), (line / line.sum()).reshape(shape))
    return images


class SpaceGenerator(nn.Module):
    """Detail that one scale adds to what the coarser ones have made: five 3x3x3 convolutions.

    The zeros are set around the volume, not around the layers' maps: they tell voxels near the border where they are.
    Large volumes are drawn slab by slab, with the same outcome, so that the maps of one slab have to fit into memory.
    """

    def __init__(self, channels: int, places: bool = False) -> None:
        super().__init__()
        self.places = places
        widths = [4 if places else 1] + [channels] * (_LAYERS - 1)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv3d(before, after, 3), nn.BatchNorm3d(after), nn.LeakyReLU(_SLOPE, inplace=True)]
        self.body = nn.Sequential(*layers, nn.Conv3d(widths[-1], 1, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, Z, Y, X) to the same, in -1 to 1."""
        x = F.pad(with_places(x) if self.places else x, [_LAYERS] * 6)
        slices = max(1, SLAB_VOXELS // (x.shape[0] * x.shape[3] * x.shape[4]))
        if self.training or torch.is_grad_enabled() or x.shape[2] - 2 * _LAYERS <= slices:
            return torch.tanh(self.body(x).float())
        starts = range(0, x.shape[2] - 2 * _LAYERS, slices)
        slabs = [self.body(x[:, :, start : start + slices + 2 * _LAYERS]) for start in starts]
        return torch.tanh(torch.cat(slabs, 2).float())


class SliceGenerator(nn.Module):
    """The same with slices as channels: down and up by eight, without skips."""

    def __init__(self, slices: int, channels: int, places: bool = False) -> None:
        super().__init__()
        self.places = places
        before = slices + 2 * places
        layers: list[nn.Module] = []
        for stage in range(_HALVINGS):
            layers += [*_pair(channels if stage else before, channels), nn.MaxPool2d(2)]
        for _ in range(_HALVINGS):
            layers += [nn.ConvTranspose2d(channels, channels, 3, 2, 1, 1), *_pair(channels, channels)]
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, slices, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, Z, Y, X) to the same."""
        x = with_places(x) if self.places else x
        least = 2**_HALVINGS
        fitted = (
            F.interpolate(x, [max(least, n) for n in x.shape[2:]], mode="nearest") if min(x.shape[2:]) < least else x
        )
        return F.interpolate(self.body(fitted).float(), x.shape[2:], mode="bilinear", align_corners=False)


def _pair(before: int, after: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in (before, after):
        layers += [nn.Conv2d(width, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return layers


class PatchDiscriminator(nn.Module):
    """How real each neighbourhood of 11 voxels looks: five convolutions, in space or in the slice."""

    def __init__(self, dimensions: int, before: int, channels: int, places: bool = False) -> None:
        super().__init__()
        self.places = places
        before += dimensions * places
        convolution, norm = (nn.Conv3d, nn.BatchNorm3d) if dimensions == 3 else (nn.Conv2d, nn.BatchNorm2d)
        layers: list[nn.Module] = [convolution(before, channels, 3, padding=1), nn.LeakyReLU(_SLOPE, inplace=True)]
        for _ in range(_LAYERS - 2):
            layers += [
                convolution(channels, channels, 3, padding=1),
                norm(channels),
                nn.LeakyReLU(_SLOPE, inplace=True),
            ]
        self.body = nn.Sequential(*layers, convolution(channels, 1, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Volumes to scores of the same size, without channels: about 1 for real, 0 for generated."""
        return self.body(with_places(x) if self.places else x).float()


class Pyramid(nn.Module):
    """The generators of all scales, one after the other.

    Attributes:
        scales: the generators, coarse to fine.
    """

    def __init__(self, network: PyramidNetwork) -> None:
        super().__init__()
        self.network = network
        self.scales = nn.ModuleList(build_scale(network) for _ in network.shapes)

    def forward(
        self, noises: Sequence[torch.Tensor], image: torch.Tensor | None = None, *, first: int = 0
    ) -> torch.Tensor:
        """Draw volumes.

        Args:
            noises: for each scale from ``first`` on, (N, 1, Z, Y, X) or (N, Z, Y, X) of that scale.
            image: what the scale below ``first`` has made, in 0 to 1, of any size; None at the coarsest.
            first: scale to begin with.

        Returns:
            (N, 1, Z, Y, X), or (N, Z, Y, X) in 2D: the last of these scales, in 0 to 1 and a little beyond.
        """
        for scale, noise in enumerate(noises, start=first):
            image = self.refined(scale, noise, image)
        return image

    def refined(self, scale: int, noise: torch.Tensor, below: torch.Tensor | None) -> torch.Tensor:
        """What one scale makes of noise and of what the one below has made."""
        generator = self.scales[scale]
        if below is None:
            return generator(noise)
        below = resized(below, tuple(noise.shape[-3:]))
        return generator(below + noise) + below


def build_scale(network: PyramidNetwork) -> nn.Module:
    """A fresh generator of one scale; those of all scales are alike."""
    if network.dimensions == 3:
        return SpaceGenerator(network.channels, network.places)
    return SliceGenerator(network.shapes[0][0], network.channels, network.places)


def build_judge(network: PyramidNetwork) -> nn.Module:
    """A fresh discriminator of one scale."""
    before = 1 if network.dimensions == 3 else network.shapes[0][0]
    return PatchDiscriminator(network.dimensions, before, network.judge_channels, network.places)


def batch_shape(network: PyramidNetwork, shape: Shape) -> tuple[int, ...]:
    """Shape of one volume of a scale as the networks take it."""
    return (1, *shape) if network.dimensions == 2 else (1, 1, *shape)


def normals(seed: int, stream: int, index: int, network: PyramidNetwork, shape: Shape) -> torch.Tensor:
    """Standard normal noise for a scale of that shape, on the CPU; it depends on (seed, stream, index) alone."""
    wanted = batch_shape(network, shape)
    return torch.from_numpy(image_rng(seed, stream, index).standard_normal(wanted, np.float32))


def fixed_noise(network: PyramidNetwork, seed: int, number: int) -> torch.Tensor:
    """What the volume itself is rebuilt from: always the same noise at the coarsest scale, none above."""
    if number:
        return torch.zeros(batch_shape(network, network.shapes[number]))
    return normals(seed, PYRAMID_RECONSTRUCTION, 0, network, network.shapes[0])


def rebuilt(pyramid: Pyramid, seed: int, count: int) -> torch.Tensor:
    """The volume learnt with ``seed``, as the first ``count`` scales rebuild it from its fixed noise."""
    device = next(pyramid.parameters()).device
    return pyramid([fixed_noise(pyramid.network, seed, number).to(device) for number in range(count)])


class VolumeFamily:
    """An entry of the registry that makes volumes; ``generate.volume`` and ``train.pyramid`` work with it."""

    network, volumes = PyramidNetwork, True
    conditions: tuple[str, ...] = ()

    def __init__(self, dimensions: int) -> None:
        self.dimensions, self.name = dimensions, f"pyramid{dimensions}d"
        self.title = "Pyramid of GANs that learns one CT volume " + (
            "in 3D" if dimensions == 3 else "with its slices as channels"
        )

    def build_generator(self, network: PyramidNetwork) -> Pyramid:
        """Fresh generators of all scales."""
        return Pyramid(network)

    def build_discriminator(self, network: PyramidNetwork) -> nn.Module:
        """A fresh discriminator of the finest scale."""
        return build_judge(network)


FAMILY = VolumeFamily(3), VolumeFamily(2)
