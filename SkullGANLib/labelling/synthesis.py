"""Images to paint, spread over what a model can draw, and images with the labels that a labeller finds in them."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.generate.classes import CLASS
from SkullGANLib.generate.sample import check_count
from SkullGANLib.labelling.ensemble import BATCH, DROP, Labeller, most_certain
from SkullGANLib.labelling.features import feature_batches
from SkullGANLib.models.card import Category, ModelCard
from SkullGANLib.models.conditions import Values, condition_values, encode
from SkullGANLib.models.folder import Model
from SkullGANLib.progress import Progress, report

MOST_DROPPED = 0.9


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images with labels, the most uncertain left out.

    Attributes:
        hu: (n, size, size) float32 HU.
        masks: (n, size, size) uint8, 0 for background.
        uncertainty: (n,) float32, see ``ensemble.image_uncertainty``.
        images: (n,) numbers of the images, ascending.
        conditions: name to the (n,) values they were asked for.
        dropped: (m,) float32, the uncertainty of those left out.
    """

    hu: np.ndarray
    masks: np.ndarray
    uncertainty: np.ndarray
    images: np.ndarray
    conditions: Values
    dropped: np.ndarray


def spread_conditions(
    card: ModelCard, asked: Mapping[str, str | float], n: int, *, seed: int = 0, first: int = 0
) -> Values:
    """What images to be painted are asked to be: every class or combination of words about as often as any other.

    Args:
        card: of a model.
        asked: see ``condition_values``; what is not asked for is spread, numbers are drawn as in the training set,
            given the words.
        n: images.
        seed, first: of the images.

    Returns:
        As ``condition_values``.

    Raises:
        InputError: a condition that the model does not know, or a value that it cannot be asked for.
    """
    values = condition_values(card, asked, n, seed=seed, first=first)
    words = {k: c.values for k, c in card.conditions.items() if isinstance(c, Category) and k not in asked}
    many = list(itertools.product(*words.values()))
    turns = [k % len(many) if len(many) <= n else k * len(many) // n for k in range(n)]
    rows = []
    for k, turn in enumerate(turns):
        settled = {name: values[name][k] for name in asked} | dict(zip(words, many[turn], strict=True))
        rows.append(condition_values(card, settled, 1, seed=seed, first=first + k))
    return {name: np.concatenate([row[name] for row in rows]) for name in values}


def draw_labelled(
    model: Model,
    labeller: Labeller,
    count: int,
    *,
    seed: int = 0,
    first: int = 0,
    asked: Mapping[str, str | float] | None = None,
    classes: np.ndarray | None = None,
    drop: float = DROP,
    device: str = "auto",
    progress: Progress | None = None,
) -> Labelled:
    """Draw images with labels; of ``count / (1 - drop)`` images the ``count`` least uncertain ones.

    Args:
        model: that drew the images the labeller learnt from.
        labeller: from ``train_labeller`` or ``labelling.files.load_labeller``.
        count: images that remain; where ``classes`` are given, as many as these.
        seed, first: of the images; image i of a seed is the one that ``generate_segments`` draws in float32.
        asked: see ``condition_values``.
        classes: class of each image that remains, from ``generate.classes.classes_asked``; the most uncertain of each
            class are left out.
        drop: share of the images drawn that is left out, at most 0.9.
        device: auto, cpu, cuda, cuda:N or mps.
        progress: told the images done.

    Raises:
        InputError: impossible numbers, conditions that are not the model's, or a model without latents.
        ResourceError: not enough memory.
    """
    if count < 1 or not 0 <= drop <= MOST_DROPPED:
        raise InputError(
            f"{count} images of which {drop:g} are dropped cannot be drawn.",
            f"Ask for at least one image, and drop a share from 0 to {MOST_DROPPED}.",
        )
    groups = {"": count} if classes is None else Counter(classes.tolist())
    drawn = {name: math.ceil(round(number / (1 - drop), 6)) for name, number in groups.items()}
    group, total = np.repeat(list(drawn), list(drawn.values())), sum(drawn.values())
    check_count(model, total)
    values = condition_values(model.card, asked or {}, total, seed=seed, first=first)
    if classes is not None:
        values[CLASS] = group
    condition = encode(model.card.conditions, values) if values else None
    size = model.network.size
    hu, masks = np.empty((total, size, size), np.float32), np.empty((total, size, size), np.uint8)
    uncertainty, done = np.empty(total, np.float32), 0
    for part in feature_batches(model, range(first, first + total), seed=seed, condition=condition, device=device):
        for rows in np.array_split(np.arange(len(part)), -(-len(part) // BATCH)):
            report(progress, done, total, "Drawing labelled images")
            place = slice(done, done + len(rows))
            hu[place] = part.hu[rows]
            masks[place], _, uncertainty[place] = labeller.label(part.take(rows))
            done += len(rows)
    report(progress, done, total, "Drawing labelled images")
    members = {name: np.flatnonzero(group == name) for name in groups}
    kept = np.sort(np.concatenate([rows[most_certain(uncertainty[rows], groups[k])] for k, rows in members.items()]))
    left = np.setdiff1d(np.arange(total), kept)
    return Labelled(
        hu[kept],
        masks[kept],
        uncertainty[kept],
        first + kept,
        {name: each[kept] for name, each in values.items()},
        uncertainty[left],
    )
