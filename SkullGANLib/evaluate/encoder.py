"""The library's own encoder: features of skull segments, learned without labels from the real training segments.

Method: VICReg (A. Bardes, J. Ponce, Y. LeCun, ICLR 2022). Two windows of one segment, each shifted along the bone,
mirrored, a little brighter or darker, noisier and with a hidden patch, are to get the same description; different
segments are not. Beside the last block, the first two are averaged, too: they see grain and sharpness. White noise
shows from some 100 HU on; below that it drowns in the grain of the bone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SkullGANLib.errors import InputError, ResourceError
from SkullGANLib.evaluate.convolutions import (
    HIGHEST_HU,
    HU_PER_UNIT,
    as_input,
    check_size,
    convolutions,
    crops,
    mirrored_at_random,
    own_random_state,
)
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, feature, spread
from SkullGANLib.files import cache_folder, replace_file, write_tensors
from SkullGANLib.progress import Progress, report

if TYPE_CHECKING:
    import torch

RECIPE = "1"
"""Part of the name of the cached weights and of the features: raise it when the code below changes them."""
WIDTHS, POOLED = (16, 32, 64, 96), (0, 1, 3)
"""Channels of the blocks, and the blocks whose means over the image are the features."""
IMAGES, STEPS, BATCH, EPOCHS = 2000, 200, 128, 20
"""At most so many training segments, evenly spread, and so many steps; a small set is seen ``EPOCHS`` times."""
RATE, DECAY = 2e-3, 1e-4
INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0
"""Weights of the three terms, as in the paper; that of the variance is shared by the two views."""
PROJECTED = 256
BRIGHTNESS, NOISE, HIDDEN = 0.03, 0.01, 0.25
"""Largest change of brightness, largest noise in 1000 HU, and side of the hidden patch as a share of the window."""
LEAST_SPREAD = 0.05
"""Of the root mean square spread of all features: one that hardly varies must not rule."""
SETTINGS = (
    *(WIDTHS, POOLED, IMAGES, STEPS, BATCH, EPOCHS, RATE, DECAY, INVARIANCE, VARIANCE, COVARIANCE, PROJECTED),
    *(BRIGHTNESS, NOISE, HIDDEN, LEAST_SPREAD, HU_PER_UNIT, HIGHEST_HU),
)
"""Part of the name of the cached weights, too."""


@dataclass(frozen=True)
class Encoder:
    """A trained encoder.

    Attributes:
        weights: of the blocks, and ``mean`` and ``spread`` of the features of the training segments.
        hash: SHA-256 of the weights, by which figures made with them are known.
    """

    weights: dict[str, torch.Tensor]
    hash: str

    def __call__(self, hu: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        """Describe segments.

        Args:
            hu: (n, H, W) HU, at least 32 x 32 pixels; may be memory-mapped.
            progress: told the segments done.

        Returns:
            (n, 144) float32, each feature with mean 0 and standard deviation 1 over the training segments.
        """
        network = convolutions(WIDTHS)
        network.load_state_dict({k: v for k, v in self.weights.items() if k not in ("mean", "spread")})
        pooled = _pooled(network, hu, progress)
        return ((pooled - self.weights["mean"]) / self.weights["spread"]).numpy()


@feature("encoded", version=RECIPE)
def encoded(given: EvaluationInput, of: EvaluatedSet) -> np.ndarray:
    """(n, 144) float32 features of a set by the encoder of the training segments."""
    encoder = encoder_of(given)
    try:
        return encoder(of.hu, given.progress)
    except InputError as error:
        raise InputError(f"The {of.name} set: {error.message}", error.advice) from error


def encoder_of(given: EvaluationInput) -> Encoder:
    """The encoder of the training segments of an evaluation: from this run, from the disk, or trained now.

    Trained once for each training set, seed, recipe and size; the weights are kept in ``files.cache_folder``. A file
    there that is damaged is replaced; a folder that cannot be written is done without.

    Raises:
        InputError: segments of less than 32 x 32 pixels, or pixels that are not finite.
    """
    check_size(given.training.hu)
    parts = [RECIPE, SETTINGS, given.training.fingerprint, given.seed, *given.training.hu.shape[1:]]
    name = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    key = (given.training.fingerprint, f"encoder:{name}")
    if key not in given.cache:
        path = cache_folder() / f"encoder-{name}.safetensors"
        try:
            encoder = _stored(path.read_bytes())
        except OSError:
            encoder = None
        if encoder is None:
            encoder = train_encoder(given.training.hu, seed=given.seed, progress=given.progress)
            _store(path, encoder)
        given.cache[key] = encoder
    return given.cache[key]


def train_encoder(hu: np.ndarray, *, seed: int = 0, progress: Progress | None = None) -> Encoder:
    """Train an encoder on real segments.

    The same seed, segments, processor, torch and number of threads give the same bits; elsewhere the weights differ in
    the last digits. The random state of torch is left as it was.

    Args:
        hu: (n, H, W) HU, at least 32 x 32 pixels; may be memory-mapped.
        seed: of the first weights, of the choice of segments and of the views.
        progress: told the steps.
    """
    import torch
    from torch import nn

    hu = hu[spread(len(hu), IMAGES)]
    images = as_input(hu)
    batch = min(BATCH, max(8, len(images)))
    steps = min(STEPS, EPOCHS * -(-len(images) // batch))
    generator = torch.Generator().manual_seed(seed)
    with own_random_state(seed):
        network = convolutions(WIDTHS)
        projector = nn.Sequential(
            nn.Linear(WIDTHS[-1], PROJECTED), nn.BatchNorm1d(PROJECTED), nn.ReLU(), nn.Linear(PROJECTED, PROJECTED)
        )
    weights = [*network.parameters(), *projector.parameters()]
    optimizer = torch.optim.AdamW(weights, RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    centre = _centre_row(images)
    for step in range(steps):
        report(progress, step, steps, "Learning what real segments look like")
        chosen = images[torch.randint(len(images), (batch,), generator=generator)]
        views = torch.cat([_view(chosen, centre, generator) for _ in range(2)])
        loss = vicreg_loss(*projector(network(views).mean((2, 3))).chunk(2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    found = _pooled(network, hu, progress)
    deviation = found.std(0, correction=0)
    least = LEAST_SPREAD * float(deviation.square().mean().sqrt())
    moments = {
        "mean": found.mean(0),
        "spread": deviation.clamp_min(least) if least > 1e-6 else torch.ones(len(deviation)),
    }
    return _encoder({key: value.contiguous() for key, value in (network.state_dict() | moments).items()})


def vicreg_loss(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The loss of VICReg for two views of a batch, each (n, d); all terms are means over the d numbers."""
    import torch

    loss = INVARIANCE * (first - second).square().mean()
    for view in (first, second):
        centred = view - view.mean(0)
        covariance = centred.T @ centred / (len(view) - 1)
        variance = covariance.diagonal()
        loss = loss + VARIANCE / 2 * torch.relu(1 - (variance + 1e-4).sqrt()).mean()
        loss = loss + COVARIANCE * (covariance.square().sum() - variance.square().sum()) / view.shape[1]
    return loss


def _view(images: torch.Tensor, centre: float, generator: torch.Generator) -> torch.Tensor:
    """A window of half the size near the bone, changed at random."""
    import torch

    n, (height, width) = len(images), images.shape[2:]
    size = [max(32, side // 2) for side in (height, width)]

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    rows = (centre - size[0] / 2 + (draw(n) - 0.5) * size[0] / 4).round().long().clamp(0, height - size[0])
    columns = (draw(n) * (width - size[1] + 1)).long()
    view = mirrored_at_random(crops(images, rows, columns, (size[0], size[1])), generator)
    view = view * (1 + BRIGHTNESS * (2 * draw(n, 1, 1, 1) - 1))
    view = view + NOISE * draw(n, 1, 1, 1) * torch.randn(view.shape, generator=generator)
    return _hide_patch(view, draw(n, 2))


def _hide_patch(view: torch.Tensor, corner: torch.Tensor) -> torch.Tensor:
    import torch

    inside = []
    for axis, side in enumerate(view.shape[2:]):
        distance = torch.arange(side) / side - corner[:, axis, None]
        inside.append((distance >= 0) & (distance < HIDDEN))
    return torch.where(inside[0][:, None, :, None] & inside[1][:, None, None, :], 0, view)


def _centre_row(images: torch.Tensor) -> float:
    """Row about which the bone lies; the middle where there is none."""
    import torch

    weight = images.mean((0, 1, 3), dtype=torch.float64)
    total = float(weight.sum())
    return float(weight @ torch.arange(len(weight), dtype=torch.float64)) / total if total else len(weight) / 2


def _pooled(network: torch.nn.Sequential, hu: np.ndarray, progress: Progress | None) -> torch.Tensor:
    """(n, d) means of the blocks ``POOLED`` over the image, with the running statistics of normalisation."""
    import torch

    network.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(hu), BATCH):
            report(progress, start, len(hu), "Describing segments")
            images, means = as_input(hu[start : start + BATCH]), []
            for i, block in enumerate(network):
                images = block(images)
                if i in POOLED:
                    means.append(images.mean((2, 3)))
            parts.append(torch.cat(means, 1))
    return torch.cat(parts)


def _encoder(weights: dict[str, torch.Tensor]) -> Encoder:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].numpy().tobytes())
    return Encoder(weights, digest.hexdigest())


def _store(path: Path, encoder: Encoder) -> None:
    try:
        with replace_file(path) as temporary:
            write_tensors(temporary, encoder.weights, {"sha256": encoder.hash})
    except (OSError, ResourceError):
        pass  # the next evaluation trains it again


def _stored(content: bytes) -> Encoder | None:
    """The encoder in a file of the cache, or None where that is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        encoder = _encoder(load(content))
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        whole = header["__metadata__"]["sha256"] == encoder.hash
        encoder(np.zeros((1, 32, 32), np.float32))  # of another shape or number format it would fail in use
        return encoder if whole else None
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError):
        return None
