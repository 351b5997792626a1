"""Walk through a model's latents and conditions along a head, so that neighbouring slices go over into each other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import nn

from SkullGANLib.errors import InputError
from SkullGANLib.generate.sample import check_count, fitting_batch
from SkullGANLib.models.card import ModelCard
from SkullGANLib.models.conditions import Values, columns, condition_values, encode
from SkullGANLib.models.device import memory_advice, resolve_device, uses_bfloat16
from SkullGANLib.models.draws import WALK, KeyedNoise
from SkullGANLib.models.folder import Model
from SkullGANLib.models.window import exported_hu
from SkullGANLib.progress import Progress, report

_KEYS = 1 << 24  # key points that one walk may have
_REACH = 3.0  # correlation lengths, beyond which a key point has no weight


def draw_walk(
    model: Model,
    positions_mm: np.ndarray,
    length_mm: float,
    *,
    values: Mapping[str, np.ndarray] | None = None,
    condition: np.ndarray | None = None,
    seed: int = 0,
    number: int = 0,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> np.ndarray:
    """Segments at positions along a head, each a function of its position alone.

    Key points lie a correlation length apart, each with a latent of its own. The latent at a position is the sum of
    those around it with weights whose squares add up to 1: the slerp of two latents, extended to several so that the
    path has no corner at a key point. Every latent on it is distributed as in training, and those of two positions a
    distance d apart have the correlation exp(-d^2 / (2 length^2)), to 0.02. Latents in U(-1, 1) move as the normal
    numbers of the same quantiles. The noise inside a SkullGAN generator moves in the same way and along the same key
    points: held, it would draw lines through all slices, drawn anew it would part each slice from the next.

    Args:
        model: from ``load_model``.
        positions_mm: (n,) along the walk.
        length_mm: correlation length; the longer, the more alike are neighbouring slices.
        values: each condition of the model's card, (n,) at the positions; for a model with conditions.
        condition: in place of ``values`` what the network takes, (n, k), such as shares of two classes.
        seed: of the latents.
        number: of the walk; those of one seed differ.
        device, precision: see ``generate.sample.generate_segments``.
        progress: told the slices drawn.

    Returns:
        (n, size, size) float32 HU, cleaned as ``generate_segments`` does.

    Raises:
        InputError: positions or a length that are no numbers, conditions that are not the model's.
        ResourceError: not enough memory.
    """
    if model.family.masks:
        raise InputError("The model draws CT from label maps.", "Take one that draws from latents alone.")
    positions = np.asarray(positions_mm, float)
    _check(positions, length_mm, seed, number)
    condition = _encoded(model, values, len(positions)) if condition is None else np.asarray(condition, np.float32)
    check_count(model, len(positions))
    network, card, where = model.network, model.card, resolve_device(device)
    hu = np.empty((len(positions), network.size, network.size), np.float32)
    size = fitting_batch(model, where)
    with memory_advice("Draw fewer slices."), torch.no_grad():
        generator = model.family.for_drawing(model.generator.to(where).eval(), network, uses_bfloat16(precision, where))
        layers = _walking_noise(generator)
        for start in range(0, len(positions), size):
            report(progress, start, len(positions), "Drawing images")
            part = slice(start, start + size)
            keys, weights = key_weights(positions[part] / length_mm)
            indices = [number * _KEYS + _KEYS // 2 + key for key in keys]
            latents, *noise_keys = model.family.latent(network, seed, indices, WALK)
            latents = mixed(latents.numpy(), weights, uniform=model.family.uniform)
            given = [torch.from_numpy(latents).to(where)]
            if noise_keys:
                for layer in layers:
                    layer.keys, layer.weights = noise_keys[0], torch.from_numpy(weights)
                given.append(torch.zeros(len(latents), dtype=torch.int64))  # the layers know better
            if condition is not None:
                given.append(torch.from_numpy(condition[part]).to(where))
            images = generator(*given)
            hu[part] = exported_hu(
                images, model.window, card.background_hu, card.bone_floor_hu, one_piece=card.one_piece
            )
    report(progress, len(positions), len(positions), "Drawing images")
    return hu


def walk_values(card: ModelCard, asked: Mapping[str, str], n: int, *, seed: int = 0, number: int = 0) -> Values:
    """What each of ``n`` slices of a walk is asked to be.

    Args:
        card: of a model.
        asked: name to word, number, or ``first:last``, from the first slice to the last. The rest is drawn once for the
            whole walk (``models.conditions.condition_values``), for its slices are of one bone; only the plane is
            axial.
        n: slices.
        seed, number: of the walk.

    Returns:
        Every condition of the card, (n,); empty for a model without.

    Warns:
        UserWarning: a number beyond those of the training set.

    Raises:
        InputError: a condition that the model cannot be asked for.
    """
    plane = card.conditions.get("plane")
    if plane is not None and "axial" in plane.values:
        asked = {"plane": "axial", **asked}
    curves = condition_values(card, asked, n, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # told by now
        middles = {name: str(curves[name][n // 2]) for name in asked}
        drawn = condition_values(card, middles, 1, seed=seed, first=number)
    return {name: curves[name] if name in asked else np.repeat(value, n) for name, value in drawn.items()}


def key_weights(positions: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Key points around positions in correlation lengths, and their weights.

    Returns:
        K whole numbers, where the key points lie; (n, K) float32, the squares of each row adding up to 1.
    """
    keys = np.arange(math.floor(positions.min() - _REACH), math.ceil(positions.max() + _REACH) + 1)
    distance = np.abs(positions[:, None] - keys)
    weights = np.where(distance <= _REACH, np.exp(-(distance**2)), 0)
    used = weights.any(axis=0)
    weights = weights[:, used] / np.linalg.norm(weights, axis=1, keepdims=True)
    return keys[used].tolist(), weights.astype(np.float32)


def mixed(latents: np.ndarray, weights: np.ndarray, *, uniform: bool) -> np.ndarray:
    """(n, size) float32 latents on the way between (K, size) ones; see ``draw_walk``."""
    if not uniform:
        return weights @ latents
    quantiles = np.clip((latents.astype(float) + 1) / 2, 1e-7, 1 - 1e-7)
    return (2 * ndtr(weights @ ndtri(quantiles)) - 1).astype(np.float32)


class _WalkingNoise(nn.Module):
    """A noise layer whose noise is a mixture of that of several keys; a layer's output is linear in its noise."""

    def __init__(self, layer: KeyedNoise) -> None:
        super().__init__()
        self.layer = layer
        self.keys, self.weights = torch.empty(0), torch.empty(0)

    def forward(self, x: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) maps; the keys of the images are not looked at."""
        out = x.clone()
        for key, weight in zip(self.keys, self.weights.T, strict=True):
            some = torch.nonzero(weight)[:, 0].to(x.device)
            part = x[some]
            noise = self.layer(part, key.expand(len(some))) - part
            out[some] += weight[some.cpu()].to(x.device, x.dtype)[:, None, None, None] * noise
        return out


def _walking_noise(generator: nn.Module) -> list[_WalkingNoise]:
    """Replace the noise layers of a generator, a copy made for drawing."""
    found = [
        (parent, name, child)
        for parent in generator.modules()
        for name, child in parent.named_children()
        if isinstance(child, KeyedNoise)
    ]
    layers = []
    for parent, name, child in found:
        layers.append(_WalkingNoise(child))
        parent.add_module(name, layers[-1])
    return layers


def _check(positions: np.ndarray, length_mm: float, seed: int, number: int) -> None:
    if positions.ndim != 1 or not len(positions) or not np.isfinite(positions).all():
        raise InputError("The positions of the slices are no list of numbers.", "Give mm along the head.")
    if not (math.isfinite(length_mm) and length_mm > 0):
        raise InputError(f"A correlation length of {length_mm:g} mm is none.", "Give a positive number of mm.")
    if np.abs(positions).max() / length_mm > _KEYS / 2 - 10:
        raise InputError(
            f"A correlation length of {length_mm:g} mm is too short for such a way.", "Give a longer one, or fewer mm."
        )
    if seed < 0 or number < 0:
        raise InputError("Seeds and numbers of volumes count from 0.", "Correct them.")


def _encoded(model: Model, values: Mapping[str, np.ndarray] | None, n: int) -> np.ndarray | None:
    conditions = model.card.conditions
    if not columns(conditions):
        if values:
            raise InputError(f"This model, of the family {model.card.family}, takes no conditions.", "Leave them out.")
        return None
    missing = [name for name in conditions if name not in (values or {})]
    if missing:
        raise InputError(f"The walk has no {missing[0]}.", f"Give a curve for each of: {', '.join(conditions)}.")
    for name in conditions:
        if np.shape(values[name]) != (n,):
            raise InputError(f"The curve of {name} does not have a value for each of {n} slices.", "Give one each.")
    return encode(conditions, values)
