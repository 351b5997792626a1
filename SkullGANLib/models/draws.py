"""Random numbers that depend on (seed, stream, image) alone: not on device, batch size or what was drawn before."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from torch import nn

# Streams of one seed, so that no two uses share numbers.
SAMPLE, FAKES, GENERATOR_STEP, DATA_ORDER, CALIBRATION, CONDITION, HELD_OUT, HELD_OUT_FAKES = range(8)
AUGMENT = 8  # and the next ones
PYRAMID, PYRAMID_RECONSTRUCTION, PYRAMID_SAMPLE, PYRAMID_WARP = range(32, 36)
WALK = 48

_STARTS = 1 << 22  # places in a table of normals where the noise of an image can begin


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


class KeyedNoise(nn.Module):
    """A layer, called with maps and the (n,) keys of the images, that adds something linear in their noise."""


def normal_latents_and_keys(
    seed: int, stream: int, indices: Iterable[int], size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """As ``normal_latents``, and (n,) int64 keys for ``keyed_normals``."""
    latents, keys = [], []
    for index in indices:
        rng = image_rng(seed, stream, index)
        latents.append(rng.standard_normal(size, np.float32))
        keys.append(rng.integers(2**31))
    return torch.from_numpy(np.stack(latents)), torch.tensor(keys, dtype=torch.int64)


def keyed_normals(
    keys: torch.Tensor,
    layer: int,
    shape: tuple[int, int, int],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Standard normal numbers, the same for one key on every device and in every batch, at the speed of copying.

    Each image adds two stretches of two fixed tables; where they begin is hashed from its key. Two images share a
    stretch by chance (one in four million), and both stretches practically never.

    Args:
        keys: (n,) int64 in [0, 2^31).
        layer: number of the noise layer, so that layers of one image differ.
        shape: (channels, height, width).
        device: where they are needed.
        dtype: float32, or bfloat16 for the same numbers rounded.

    Returns:
        (n, channels, height, width), channels last in memory.
    """
    channels, height, width = shape
    count = channels * height * width
    tables = _tables(max(_STARTS // 2, 1 << (count - 1).bit_length()), device, dtype)
    normals = torch.empty(len(keys), count, dtype=dtype, device=device)
    for image, key in enumerate(keys.tolist()):
        first, second = (_hash(key ^ _hash(2 * layer + k + 1)) % _STARTS for k in (0, 1))
        torch.add(tables[0, first : first + count], tables[1, second : second + count], out=normals[image])
    return normals.view(len(keys), height, width, channels).permute(0, 3, 1, 2)


@lru_cache(maxsize=4)
def _tables(longest: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """(2, _STARTS + longest) normals of variance 1/2; longer tables begin with the shorter ones."""
    rngs = [np.random.Generator(np.random.Philox(key=number)) for number in (1, 2)]
    rows = [rng.standard_normal(_STARTS + longest, np.float32) for rng in rngs]
    return (torch.from_numpy(np.stack(rows)) * 0.5**0.5).to(device, dtype)


def _hash(bits: int) -> int:
    """Mix 32 bits: C. Wellons' lowbias32."""
    bits = ((bits ^ bits >> 16) * 0x7FEB352D) & 0xFFFFFFFF
    bits = ((bits ^ bits >> 15) * 0x846CA68B) & 0xFFFFFFFF
    return bits ^ bits >> 16
