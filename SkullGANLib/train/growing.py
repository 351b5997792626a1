"""How the family ``style`` starts and grows: its frozen features, its classes and, size after size, its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.convolutions import HIGHEST_HU, own_random_state
from SkullGANLib.evaluate.encoder import POOLED, WIDTHS, train_encoder
from SkullGANLib.files import sha256_of
from SkullGANLib.models.draws import DATA_ORDER, image_rng
from SkullGANLib.models.folder import Model
from SkullGANLib.models.parallel import copy_from_first, rank
from SkullGANLib.models.style import Generator, HandedIn, StyleNetwork
from SkullGANLib.models.style_judge import Discriminator
from SkullGANLib.models.style_layers import FIRST
from SkullGANLib.progress import Progress, report
from SkullGANLib.train.data import TrainingData
from SkullGANLib.train.options import TrainOptions

STAGE = "stage-"
"""Begins the names of the folders of smaller sizes."""
LOOKED_AT = 2000  # training images from which features and classifier are learnt
_STEPS, _BATCH, _RATE = 300, 32, 2e-3  # of the classifier


def with_features(options: TrainOptions, initial: Model | None) -> TrainOptions:
    """The options with what the network knows of the feature network handed in.

    Raises:
        InputError: the file is missing, its network gives no maps, or the model has learnt with another.
        FormatError: it holds no recorded network.
    """
    given = None
    if options.features is not None:
        from SkullGANLib.models.features import read_features  # torch.export takes a second to import

        if not options.features.is_file():
            raise InputError(f"There is no feature network {options.features}.", "Check --features.")
        _, maps = read_features(options.features.read_bytes(), str(options.features))
        given = HandedIn(sha256=sha256_of(options.features), maps=maps)
    if initial is not None and initial.network.handed_in != given:
        learnt = "a feature network handed in" if initial.network.handed_in else "the library's own features"
        raise InputError(
            f"{options.init} has learnt with {learnt}.",
            "Give the same file with --features." if initial.network.handed_in else "Leave --features out.",
        )
    return options.with_network(handed_in=given)


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
        changes = {"out": options.out / f"{STAGE}{each:03d}", "images": options.grow_images, "epochs": None}
        found.append(_stage(options, each, before, frozen=0 if each == FIRST else each // 2, **changes))
    return found


def last_stage(options: TrainOptions, before: Path | None, size: int) -> TrainOptions:
    """The training of the final size on what has grown so far, a model of ``size`` pixels, if anything has."""
    return options if before is None else _stage(options, options.network_options.size, before, frozen=size)


def _stage(options: TrainOptions, size: int, before: Path | None, *, frozen: int, **changes: Any) -> TrainOptions:
    network = {**options.network, "size": size, "frozen": frozen}
    return TrainOptions(**{**options.model_dump(), "network": network, "init": before, **changes})


def grown(generator: Generator, discriminator: Discriminator, smaller: Model) -> None:
    """Take over what a smaller model has learnt: all its layers, features and classifier.

    The networks are of the same options but for their size. The heads of the discriminator stay where both look at
    images of the same size; else they begin anew.
    """
    generator.load_state_dict(smaller.generator.state_dict(), strict=False)
    if smaller.discriminator is not None:
        same = smaller.discriminator.judged == discriminator.judged
        kept = smaller.discriminator.state_dict()
        discriminator.load_state_dict(
            {name: value for name, value in kept.items() if same or not name.startswith("heads.")}, strict=False
        )


def prepare(
    generator: Generator,
    discriminator: Discriminator,
    options: TrainOptions,
    data: TrainingData,
    progress: Progress | None = None,
) -> None:
    """Fill in what the networks do not learn against each other, from the training images alone.

    The discriminator's features are the library's encoder, trained without labels, unless a network was handed in; a
    class is described by the mean of its images' features in that encoder; a classifier, on the same kind of network,
    learns the classes.

    Args:
        generator, discriminator: freshly built.
        options: of the run.
        data: of the run; the images looked at are those that it trains on, at the size that the features look at.
        progress: told the steps.
    """
    network: StyleNetwork = options.network_options
    described = sum(WIDTHS[block] for block in POOLED)
    if network.features != WIDTHS or (network.classes == "means" and network.description != described):
        raise InputError(
            f"The library's encoder has blocks of {list(WIDTHS)} channels and {described} features.",
            "Leave network.features and network.description out.",
        )
    if rank() == 0:  # on other machines the last digits would differ
        _learn(generator, discriminator, options, data, progress)
    for each in (generator, discriminator):
        copy_from_first(each)


def _learn(
    generator: Generator,
    discriminator: Discriminator,
    options: TrainOptions,
    data: TrainingData,
    progress: Progress | None,
) -> None:
    network: StyleNetwork = options.network_options
    hu, classes = data.training_images(LOOKED_AT, discriminator.judged)
    window = data.window
    grey = np.clip((hu - window.minimum_hu) / window.range_hu, 0, 1) * HIGHEST_HU  # 0 to 2.7 as the features see it
    encoder = train_encoder(grey, seed=options.seed, progress=progress)
    if network.handed_in is None:
        blocks = {name: value for name, value in encoder.weights.items() if name not in ("mean", "spread")}
        discriminator.features.load_state_dict(blocks)
    if not network.condition:
        return
    if network.classes == "means":
        described = encoder(grey, progress)
        shares = classes.T / np.maximum(classes.sum(0), 1)[:, None]
        generator.mapping.described.copy_(torch.from_numpy(shares @ described))
    if network.condition > 1:
        unit = torch.from_numpy(grey / HIGHEST_HU * 2 - 1).float()[:, None]
        _learn_classes(discriminator, unit, torch.from_numpy(classes), options.seed, progress)


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
        loss = F.cross_entropy(discriminator.class_logits(batch), classes[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.requires_grad_(False).eval()
