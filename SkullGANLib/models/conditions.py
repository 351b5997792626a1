"""What a user asks of samples, as values of each image and as the numbers that a conditional network takes."""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
from scipy.special import ndtr, ndtri

from SkullGANLib.errors import InputError
from SkullGANLib.models.card import Category, Condition, ModelCard, Number
from SkullGANLib.models.draws import CONDITION, image_rng

Values = dict[str, np.ndarray]


def parse_conditions(texts: Iterable[str]) -> dict[str, str]:
    """``name=value`` of the command line as name and value.

    Raises:
        InputError: there is no ``=``, or a name stands there twice.
    """
    asked: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or not value:
            raise InputError(
                f"{text!r} is no condition.", "Write for example region=temporal, sdr=0.45 or sdr=0.3:0.6."
            )
        if name in asked:
            raise InputError(f"The condition {name} is given twice.", "Give each once; a range is written 0.3:0.6.")
        asked[name] = value
    return asked


def condition_values(
    card: ModelCard, asked: Mapping[str, str | float], n: int, *, seed: int = 0, first: int = 0
) -> Values:
    """What each of ``n`` images is asked to be; image i of a seed is asked the same in every part of a set.

    Args:
        card: of a model; its ``conditions`` say what can be asked.
        asked: name to word, number, or ``low:high``, which is spread evenly over the ``n`` images. What is not asked
            is drawn from the statistics of the training set: words by their share, numbers from a normal distribution
            cut off at the smallest and largest value, given all that is settled already: thick bone is denser, and
            temporal bone thinner, where they are so in the training set.
        n: images.
        seed, first: of the images.

    Returns:
        Every condition of the card, in its order: (n,) words, or float64 numbers in their own unit. Empty for a model
        without conditions.

    Warns:
        UserWarning: a number beyond those of the training set.

    Raises:
        InputError: a condition that the model does not know, or a value that it cannot be asked for.
    """
    for name in asked:
        if name not in card.conditions:
            raise _unknown(name, card)
    if not card.conditions:
        return {}
    chances = np.array([image_rng(seed, CONDITION, first + i).random(len(card.conditions)) for i in range(n)])
    values = {name: _asked(name, card.conditions[name], str(asked[name]), n) for name in asked}
    order = sorted(enumerate(card.conditions.items()), key=lambda item: isinstance(item[1][1], Number))
    for column, (name, condition) in order:  # words first: they shift the numbers
        if name in asked:
            continue
        if isinstance(condition, Category):
            values[name] = _word(condition, chances[:, column])
        else:
            centre, spread = _given(card, name, values, n)
            values[name] = _number_drawn(condition, centre, spread, chances[:, column])
    return {name: values[name] for name in card.conditions}


def encode(conditions: Mapping[str, Condition], values: Mapping[str, np.ndarray]) -> np.ndarray:
    """What the network takes: words one-hot, numbers standardised, side by side in the order of the card.

    Args:
        conditions: of the model's card.
        values: from ``condition_values``, or columns of a table; an empty word is none of the known ones, and NaN
            counts as the mean.

    Returns:
        (n, ``columns(conditions)``) float32.
    """
    parts = []
    for name, condition in conditions.items():
        found = np.asarray(values[name])
        if isinstance(condition, Category):
            parts.append(found[:, None] == np.array(condition.values))
        else:
            parts.append(np.nan_to_num((found[:, None] - condition.mean) / condition.std))
    return np.concatenate(parts, axis=1).astype(np.float32)


def columns(conditions: Mapping[str, Condition]) -> int:
    """Numbers that describe the conditions of one image; 0 for a model without conditions."""
    return sum(len(each.values) if isinstance(each, Category) else 1 for each in conditions.values())


def _asked(name: str, condition: Condition, text: str, n: int) -> np.ndarray:
    if isinstance(condition, Category):
        if text not in condition.values:
            raise InputError(f"{name} cannot be {text!r}.", f"Choose one of: {', '.join(condition.values)}.")
        return np.full(n, text)
    numbers = [_number(name, part, condition) for part in text.split(":")]
    if len(numbers) > 2:
        raise InputError(f"{name} cannot be {text!r}.", "Give a number, or a range such as 0.3:0.6.")
    if min(numbers) < condition.minimum or max(numbers) > condition.maximum:
        warnings.warn(
            f"{name} {text} lies beyond the training set ({_range(condition)}): the model has seen nothing like it.",
            stacklevel=3,
        )
    return np.linspace(numbers[0], numbers[-1], n)


def _number(name: str, text: str, condition: Number) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        advice = f"Give a number or a range; the training set has {_range(condition)}."
        raise InputError(f"{name} cannot be {text!r}.", advice)
    return number


def _range(condition: Number) -> str:
    return f"{condition.minimum:.4g} to {condition.maximum:.4g} {condition.unit}".rstrip()


def _word(condition: Category, chances: np.ndarray) -> np.ndarray:
    reached = np.cumsum(condition.share) / sum(condition.share)
    place = np.searchsorted(reached, chances, side="right")
    return np.array(condition.values)[np.minimum(place, len(condition.values) - 1)]


def _number_drawn(condition: Number, centre: np.ndarray, spread: float, chances: np.ndarray) -> np.ndarray:
    """Values at the quantiles ``chances`` of a normal distribution, cut off where the training set ends.

    Args:
        condition: to be drawn.
        centre: (n,) and ``spread`` of the distribution in standard deviations of the training set from its mean.
        spread: see ``centre``.
        chances: (n,) in [0, 1).
    """
    ends = [(end - condition.mean) / condition.std for end in (condition.minimum, condition.maximum)]
    centre = np.clip(centre, *ends)  # far outside, both ends of the tail are numerically one
    low, high = (ndtr((end - centre) / spread) for end in ends)
    drawn = centre + spread * ndtri(low + chances * (high - low))
    return np.clip(condition.mean + condition.std * np.clip(drawn, *ends), condition.minimum, condition.maximum)


def _given(card: ModelCard, name: str, values: Values, n: int) -> tuple[np.ndarray, float]:
    """Mean (n,) and standard deviation of a standardised number, given what is settled: linear regression on it."""
    if not card.condition_covariance or not card.condition_mean:
        return np.zeros(n), 1.0
    means, covariance, at, known, mine = np.array(card.condition_mean), np.array(card.condition_covariance), 0, [], 0
    for other, condition in card.conditions.items():
        width = len(condition.values) if isinstance(condition, Category) else 1
        known += range(at, at + width) if other in values else []
        mine = at if other == name else mine
        at += width
    settled = {other: condition for other, condition in card.conditions.items() if other in values}
    if not settled:
        return np.full(n, means[mine]), float(np.sqrt(max(covariance[mine, mine], 1e-4)))
    slopes = np.linalg.pinv(covariance[np.ix_(known, known)], rcond=1e-6) @ covariance[known, mine]
    left = covariance[mine, mine] - covariance[mine, known] @ slopes
    return means[mine] + (encode(settled, values) - means[known]) @ slopes, float(np.sqrt(max(left, 1e-4)))


def _unknown(name: str, card: ModelCard) -> InputError:
    if not card.conditions:
        return InputError(f"This model, of the family {card.family}, takes no conditions.", "Leave them out.")
    near = difflib.get_close_matches(name, card.conditions, n=1)
    known = ", ".join(card.conditions)
    advice = f"Did you mean {near[0]}? " if near else ""
    return InputError(f"The model cannot be asked for {name!r}.", f"{advice}It takes: {known}.")
