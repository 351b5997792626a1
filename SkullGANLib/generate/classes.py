"""Which classes a set is asked for, how many images of each, and the way from one class to another."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.generate.walk import draw_walk
from SkullGANLib.models.card import Category, ModelCard
from SkullGANLib.models.conditions import condition_values, encode
from SkullGANLib.models.folder import Model
from SkullGANLib.progress import Progress

CLASS, ALL = "class", "all"
_KEY_EVERY = 20  # frames between two latents of a walk


def known_classes(card: ModelCard) -> tuple[str, ...]:
    """The classes of a model.

    Raises:
        InputError: it has none.
    """
    condition = card.conditions.get(CLASS)
    if not isinstance(condition, Category):
        raise InputError(
            f"The model, of the family {card.family}, has no classes.",
            "Ask for conditions with --condition, or train one of the family style on a data set with classes.",
        )
    return condition.values


def classes_asked(
    card: ModelCard, texts: Sequence[str], count: int, conditions: Mapping[str, object] = MappingProxyType({})
) -> np.ndarray:
    """The class of each image of a set.

    Args:
        card: of a model with classes.
        texts: names of classes, each followed by ``=`` and a number of images where that is not ``count``; ``all``
            stands for every class.
        count: images of each class without a number of its own.
        conditions: asked for besides.

    Returns:
        (n,) names, class after class in the order asked for.

    Raises:
        InputError: a class that the model does not know, one asked for twice, or a number that is none.
    """
    if CLASS in conditions:
        raise InputError("The class is asked for twice.", "Use --class or --condition, not both.")
    known, asked = known_classes(card), {}
    for text in texts:
        name, number = _parts(text, known, count)
        for each in known if name == ALL and ALL not in known else (name,):
            if each not in known:
                near = difflib.get_close_matches(each, known, n=1, cutoff=0.4)
                listed = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
                advice = f"Did you mean {near[0]}? " if near else ""
                raise InputError(f"The model knows no class {each!r}.", f"{advice}It knows: {listed}.")
            if each in asked:
                raise InputError(f"The class {each} is asked for twice.", "Name each once.")
            asked[each] = number
    return np.repeat(list(asked), list(asked.values()))


def _parts(text: str, known: Sequence[str], count: int) -> tuple[str, int]:
    name, equals, number = text.rpartition("=")
    if text in known or not equals:  # a name may hold an equals sign
        return text.strip(), count
    if not number.strip().isdecimal() or int(number) < 1:
        raise InputError(f"{text!r} names no number of images.", "Write for example temporal/left=50.")
    return name.strip(), int(number)


def towards_middle(model: Model, truncation: float, centres: int = 1) -> Model:
    """The model with styles drawn towards the middle of their class: less variety, fewer odd images.

    Args:
        model: of the family ``style``.
        truncation: 1 for none, 0 for the middle itself.
        centres: of the styles of a class (k-means); each image is drawn towards the nearest.

    Raises:
        InputError: a model of another family.
    """
    if not model.family.grows:
        raise InputError(
            f"Images of the family {model.card.family} cannot be drawn towards the middle.", "Leave --truncation out."
        )
    return replace(model, generator=model.family.truncated(model.generator, truncation, centres))


def draw_between(
    model: Model,
    classes: Sequence[str],
    frames: int,
    *,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> np.ndarray:
    """Images along a smooth walk through what a model can draw, from class to class.

    Args:
        model: from ``load_model``.
        classes: to pass, in equal times, the shares of two changing evenly on the way from one to the next; one class
            to stay in it; none for a model without classes, or to keep to one class drawn by ``seed``.
        frames: images.
        seed: of the latents and of conditions other than the class.
        device: see ``generate.sample.generate_segments``.
        progress: told the images drawn.

    Returns:
        (frames, size, size) float32 HU.

    Raises:
        InputError: a class that the model does not know or with a number, or less than two frames.
    """
    if frames < 2:
        raise InputError("A walk has at least two images.", "Ask for more frames.")
    condition = None
    if model.card.conditions:
        values = condition_values(model.card, {}, 1, seed=seed)
        fixed = encode(model.card.conditions, values)
        condition = np.repeat(fixed, frames, axis=0)
        if classes:
            names = classes_asked(model.card, classes, 1)
            if len(set(names)) < len(names):
                raise InputError("A walk passes each class once and stays in none.", "Name the classes alone.")
            ends = np.concatenate([encode(model.card.conditions, values | {CLASS: np.array([n])}) for n in names])
            place = np.linspace(0, len(ends) - 1, frames)
            before = np.minimum(place.astype(int), max(len(ends) - 2, 0))
            share = (place - before)[:, None]
            condition = (1 - share) * ends[before] + share * ends[np.minimum(before + 1, len(ends) - 1)]
    elif classes:
        known_classes(model.card)
    return draw_walk(
        model, np.arange(frames), _KEY_EVERY, condition=condition, seed=seed, device=device, progress=progress
    )
