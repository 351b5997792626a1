"""Random numbers that depend on (seed, stream, image) alone: not on device, batch size or what was drawn before."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch

# Streams of one seed, so that no two uses share numbers.
SAMPLE, FAKES, GENERATOR_STEP, DATA_ORDER, CALIBRATION, CONDITION = range(6)


def image_rng(seed: int, stream: int, index: int) -> np.random.Generator:
    """The generator of one image: Philox (Salmon et al. 2011) with key (seed, stream) and the image in its counter."""
    key = np.array([seed, stream], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, index], np.uint64)))


def uniform_latents(seed: int, stream: int, indices: Iterable[int], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and noise keys of some images.

    Returns:
        (n, size) float32 in U(-1, 1), and (n,) int64 keys for ``keyed_normals``; both on the CPU.
    """
    latents, keys = [], []
    for index in indices:
        rng = image_rng(seed, stream, index)
        latents.append(rng.random(size, np.float32) * 2 - 1)
        keys.append(rng.integers(2**31))
    return torch.from_numpy(np.stack(latents)), torch.tensor(keys, dtype=torch.int64)


def normal_latents(seed: int, stream: int, indices: Iterable[int], size: int) -> torch.Tensor:
    """(n, size) float32 standard normal latents of some images, on the CPU."""
    rows = [image_rng(seed, stream, index).standard_normal(size, np.float32) for index in indices]
    return torch.from_numpy(np.stack(rows))


def keyed_normals(keys: torch.Tensor, layer: int, shape: tuple[int, int, int], device: torch.device) -> torch.Tensor:
    """Standard normal numbers, the same for one key on every device (to rounding) and in every batch.

    Each pair comes from 32 hashed bits by Box and Muller's transform with 16 bits for the radius and 16 for the
    angle, so values end at 4.9 standard deviations. The hash is C. Wellons' lowbias32.

    Args:
        keys: (n,) int64 in [0, 2^31).
        layer: number of the noise layer, so that layers of one image differ.
        shape: (channels, height, width) with an even number of elements.
        device: where to draw.

    Returns:
        (n, channels, height, width) float32.
    """
    half = shape[0] * shape[1] * shape[2] // 2
    base = _positions(half, layer, device)
    normals = torch.empty(len(keys), 2, half, device=device)
    rows = 1 if device.type == "cpu" else len(keys)  # on a CPU one image at a time stays in the cache
    for images in torch.arange(len(keys)).split(rows):
        bits = _hash(base ^ keys[images].to(device, torch.int32)[:, None])
        radius = ((bits >> 16) & 0xFFFF).float().add_(0.5).mul_(1 / 65536).log_().mul_(-2).sqrt_()
        angle = bits.bitwise_and_(0xFFFF).float().mul_(2 * torch.pi / 65536)
        torch.mul(angle.cos(), radius, out=normals[images[0] : images[-1] + 1, 0])
        torch.mul(angle.sin_(), radius, out=normals[images[0] : images[-1] + 1, 1])
    return normals.view(len(keys), *shape)


@lru_cache(maxsize=4)
def _positions(count: int, layer: int, device: torch.device) -> torch.Tensor:
    """Hashed element numbers of a layer, (count,) int32."""
    return _hash(torch.arange(count, dtype=torch.int32, device=device) + layer * 0x01000000)


def _hash(bits: torch.Tensor) -> torch.Tensor:
    """Mix int32 in place; products wrap, and shifts are made logical by their masks."""
    bits ^= (bits >> 16).bitwise_and_(0xFFFF)
    bits *= 0x7FEB352D
    bits ^= (bits >> 15).bitwise_and_(0x1FFFF)
    bits *= 0x846CA68B - 2**32
    bits ^= (bits >> 16).bitwise_and_(0xFFFF)
    return bits
