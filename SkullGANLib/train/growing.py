"""How the family ``style`` starts and grows: its frozen features, its classes and, size after size, its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.convolutions import HIGHEST_HU, own_random_state
from SkullGANLib.evaluate.encoder import WIDTHS, train_encoder
from SkullGANLib.models.draws import DATA_ORDER, image_rng
from SkullGANLib.models.folder import Model
from SkullGANLib.models.style import FIRST, Generator, StyleNetwork
from SkullGANLib.models.style_judge import SCALE, Discriminator
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train.data import TrainingData
from SkullGANLib.train.options import TrainOptions

STAGE = "stage-"
"""Begins the names of the folders of smaller sizes."""
LOOKED_AT = 2000  # training images from which features and classifier are learnt
_STEPS, _BATCH, _RATE = 300, 32, 2e-3  # of the classifier


def stages(options: TrainOptions, initial: Model | None) -> list[TrainOptions]:
    """The trainings of smaller sizes that come before, each in a folder ``stage-<pixels>`` of the run.

    Args:
        options: of the whole training.
        initial: the model that it starts from; what that has learnt already is not trained again.
    """
    size = options.network_options.size
    first = FIRST if initial is None else 2 * initial.network.size
    sizes = [2**k for k in range(first.bit_length() - 1, size.bit_length() - 1)] if options.grow_images else []
    found: list[TrainOptions] = []
    for each in sizes:
        before = found[-1].out if found else options.init
        found.append(_stage(options, each, before, out=options.out / f"{STAGE}{each:03d}", images=options.grow_images))
    return found


def last_stage(options: TrainOptions, before: Path | None) -> TrainOptions:
    """The training of the final size, on what has grown so far."""
    return _stage(options, options.network_options.size, before) if before is not None else options


def _stage(options: TrainOptions, size: int, before: Path | None, **changes: Any) -> TrainOptions:
    network = {**options.network, "size": size, "frozen": 0 if size == FIRST or before is None else size // 2}
    epochs = {"epochs": None} if "images" in changes else {}
    values = options.model_dump() | {"network": network, "init": before} | epochs | changes
    return TrainOptions(**values)


def grown(generator: Generator, discriminator: Discriminator, smaller: Model) -> None:
    """Take over what a model of half the size has learnt: all its layers, features and classifier.

    The heads of the discriminator stay where both look at images of the same size; else they begin anew.
    """
    _take(generator, smaller.generator.state_dict())
    if smaller.discriminator is not None:
        same = smaller.discriminator.judged == discriminator.judged
        kept = smaller.discriminator.state_dict()
        _take(discriminator, {k: v for k, v in kept.items() if same or not k.startswith("heads.")})


def _take(network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    missing = network.load_state_dict(weights, strict=False)
    if missing.unexpected_keys:
        raise InputError(
            "The model to start from has other layers than the options describe.", "Train with its preset."
        )


def prepare(
    generator: Generator,
    discriminator: Discriminator,
    options: TrainOptions,
    data: TrainingData,
    progress: Progress | None = None,
) -> None:
    """Fill in what the networks do not learn against each other, from the training images alone.

    The discriminator's features are the library's encoder, trained without labels; a class is described by the mean of
    its images' features; a classifier, on the same kind of network, learns the classes.

    Args:
        generator, discriminator: freshly built.
        options: of the run.
        data: of the run; the images looked at are those that it trains on, at the size that the features look at.
        progress: told the steps.
    """
    network: StyleNetwork = options.network_options
    if network.features != WIDTHS:
        raise InputError(
            f"The library's encoder has blocks of {list(WIDTHS)} channels, not {list(network.features)}.",
            "Leave network.features out.",
        )
    looked = _looked_at(options, data, network)
    hu, classes = looked.training_images(LOOKED_AT)
    window = looked.window
    grey = np.clip((hu - window.minimum_hu) / window.range_hu, 0, 1) * HIGHEST_HU  # 0 to 2.7 as the features see it
    encoder = train_encoder(grey, seed=options.seed, progress=progress)
    blocks = {name: value for name, value in encoder.weights.items() if name not in ("mean", "spread")}
    discriminator.features.load_state_dict(blocks)
    if not network.condition:
        return
    if network.classes == "means":
        described = encoder(grey, progress)
        shares = classes.T / np.maximum(classes.sum(0), 1)[:, None]
        generator.mapping.described.copy_(torch.from_numpy(shares @ described))
    if options.recipe_options.guidance and network.condition > 1:
        unit = torch.from_numpy(grey / HIGHEST_HU * 2 - 1).float()[:, None]
        _learn_classes(discriminator, unit, torch.from_numpy(classes), options.seed, progress)


def _looked_at(options: TrainOptions, data: TrainingData, network: StyleNetwork) -> TrainingData:
    """The same training images at the size that the features look at, or the nearest above that the data allow."""
    whole = SegmentDataset.open(options.data[0]).meta.size
    size = max(network.judged, network.size)
    size = size if whole % size == 0 else whole
    if size == data.size:
        return data
    window = data.window.minimum_hu, data.window.maximum_hu
    given = {"seed": options.seed, "mirror": options.mirror, "hold_out": options.hold_out, "window_hu": window}
    return TrainingData(options.data, conditions=data.conditions, size=size, **given)


def _learn_classes(
    discriminator: Discriminator, images: torch.Tensor, classes: torch.Tensor, seed: int, progress: Progress | None
) -> None:
    """Train the classifier, classes alike in weight, on images shifted and lightened at random."""
    network = discriminator.classifier
    with own_random_state(seed):
        for layer in network.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
    network.requires_grad_(True).train()
    known = torch.nonzero(classes.sum(1) > 0)[:, 0].numpy()
    each = classes[known].argmax(1).numpy()
    share = 1 / np.bincount(each, minlength=classes.shape[1])[each]
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS)
    for step in range(_STEPS):
        report(progress, step, _STEPS, "Learning the classes")
        rng = image_rng(seed, DATA_ORDER, (1 << 40) + step)
        chosen = torch.from_numpy(rng.choice(known, _BATCH, p=share / share.sum()))
        rows, columns = (int(shift) for shift in rng.integers(-4, 5, 2))
        batch = images[chosen].roll((rows, columns), (2, 3)) * (1 + 0.05 * rng.standard_normal())
        loss = F.cross_entropy(network((batch + 1) * SCALE), classes[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.requires_grad_(False).eval()
