"""A small network that learns to draw label maps into CT slices: it shows whether a generated CT follows its map.

A U-Net (O. Ronneberger et al., MICCAI 2015) of half a million weights, trained on real slices in about a minute.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from SkullGANLib.ct.label_names import names_a_side
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.convolutions import as_input, crops, mirrored_at_random, own_random_state
from SkullGANLib.evaluate.radiological import refuse_non_finite
from SkullGANLib.evaluate.registry import spread
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.splits import split_by_segment, split_by_subject

if TYPE_CHECKING:
    import torch

Labels = Mapping[int, str]

WIDTHS = (16, 32, 64, 128)
DIVISOR = 2 ** (len(WIDTHS) - 1)
"""A side of a slice is a multiple of this, since the network halves it so often."""
STEPS, BATCH, RATE, DECAY = 300, 8, 5e-3, 1e-3
CHECK, PATIENCE = 25, 5
"""Steps between two looks at the held-out slices, and looks without a better one until training ends."""
HELD_OUT, MOST_HELD_OUT = 0.15, 64
"""Share of the slices, of whole subjects where these are known, and the most that are looked at: of larger slices,
as many as have as many pixels."""
PATCH = 128
"""Of larger slices, a window of so many pixels each way is shown at a time, so that a step costs no more."""
SHIFT, BRIGHTNESS, CONTRAST = 1 / 16, 0.02, 0.05
"""Largest shift, as a share of the width, and change of the HU, as a share of the window and of themselves."""
SMOOTH = 1.0
"""Pixels added to both sides of the soft Dice, so that a label absent from a batch costs next to nothing."""
AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A trained network.

    Attributes:
        network: in use; a window of HU to a score for the background and each label.
        labels: value to name of what it can draw.
        window_hu: lowest and highest HU it tells apart.
        held_out_dice: label to mean Dice over the slices held out of its training that show it; nan where none does.
    """

    network: torch.nn.Module
    labels: dict[int, str]
    window_hu: tuple[float, float]
    held_out_dice: dict[int, float]

    def segment(self, hu: np.ndarray) -> np.ndarray:
        """Label maps of slices.

        Args:
            hu: (n, H, W) HU; sides are multiples of 8.

        Returns:
            (n, H, W) uint8: 0 for background, else a label.

        Raises:
            InputError: another shape, or pixels that are not finite.
        """
        check_slices(hu)
        values = np.array([0, *self.labels], np.uint8)
        parts = [scores.argmax(1).cpu().numpy() for scores in _asked(self.network, hu, self.window_hu)]
        return values[np.concatenate(parts)] if parts else np.zeros(np.shape(hu), np.uint8)


def train_segmenter(
    hu: np.ndarray,
    masks: np.ndarray,
    labels: Labels,
    *,
    window_hu: tuple[float, float],
    subjects: np.ndarray | None = None,
    seed: int = 0,
    steps: int = STEPS,
    patience: int | None = PATIENCE,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Segmenter:
    """Train a U-Net on slices and their label maps, with cross-entropy and soft Dice.

    Slices are mirrored (unless a label is named left or right), shifted and made a little lighter or darker. A share
    of them is held out; the weights that did best there count. On the processor, the same seed, slices, torch and
    number of threads give the same network; the random state of torch is left as it was.

    Args:
        hu: (n, H, W) HU; sides are multiples of 8; may be memory-mapped.
        masks: (n, H, W) whole numbers: 0 for background, else a label.
        labels: value, 1 to 255, to name; 0 is the background, named or not.
        window_hu: lowest and highest HU to tell apart.
        subjects: (n,) pseudonyms, so that whole subjects are held out; single slices if not given.
        seed: of the first weights, the order of the slices and their changes.
        steps: at most so many, of 8 slices each.
        patience: looks at the held-out slices, every 25 steps, without a better one until training ends; None for no
            such end.
        device: of torch.
        progress: told the steps.

    Raises:
        InputError: fewer than two slices, shapes that do not fit, pixels that are not finite, a window without width,
            or masks with other values than ``labels`` has.
    """
    import torch

    labels = check_labels(masks, labels)
    check_slices(hu, masks)
    window_hu = check_window(window_hu)
    if len(hu) < 2:
        raise InputError("Fewer than two slices to learn from.", "Give at least two slices with their masks.")
    masks = np.asarray(masks, np.uint8)
    for start in range(0, len(hu), AT_ONCE):
        refuse_non_finite(np.asarray(hu[start : start + AT_ONCE], np.float32))
    learnt, held_out = _parts(np.shape(hu), subjects, seed)
    channel = np.zeros(256, np.uint8)
    channel[[*labels]] = np.arange(1, len(labels) + 1)
    mirror = not names_a_side(labels.values())
    draw, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    with own_random_state(seed):
        network = _network(len(labels) + 1).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=max(steps, 2))
    best, best_loss, waited, order = copy.deepcopy(network), np.inf, 0, np.empty(0, int)
    for step in range(steps):
        report(progress, step, steps, "Training a network to segment")
        if len(order) < min(BATCH, len(learnt)):
            order = draw.permutation(learnt)
        chosen, order = np.sort(order[:BATCH]), order[BATCH:]
        images, truth = _varied(
            as_input(hu[chosen], *window_hu), torch.from_numpy(channel[masks[chosen]]), window_hu, mirror, generator
        )
        network.train()
        loss = cross_entropy_and_dice(network(images.to(device)), truth.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % CHECK == 0 or step + 1 == steps:
            found = _held_out_loss(network, hu[held_out], channel[masks[held_out]], window_hu)
            waited = 0 if found < best_loss else waited + 1
            if found < best_loss:
                best, best_loss = copy.deepcopy(network), found
            if waited == patience:
                break
    best.eval()
    trained = Segmenter(best, labels, window_hu, {})
    found = dice(trained.segment(hu[held_out]), masks[held_out], labels)
    return replace(trained, held_out_dice={label: _mean(values) for label, values in found.items()})


def dice(
    masks: np.ndarray, truth: np.ndarray, labels: Sequence[int] | Labels, subjects: np.ndarray | None = None
) -> dict[int, np.ndarray]:
    """Agreement of label maps: twice the pixels that have a label in both, over those in the one and in the other.

    A label that is in neither map says nothing: its value is nan, to be left out of means. In one of them only: 0.

    Args:
        masks, truth: (n, H, W) whole numbers.
        labels: values to look for.
        subjects: (n,) names; the pixels of all slices of a subject count together. Each slice alone if not given.

    Returns:
        Label to (n,) float64 from 0 to 1; with ``subjects`` one value for each, in the order of ``np.unique``.

    Raises:
        InputError: shapes that do not fit.
    """
    masks, truth = np.asarray(masks), np.asarray(truth)
    fits = masks.shape == truth.shape and masks.ndim == 3
    if not fits or (subjects is not None and np.shape(subjects) != masks.shape[:1]):
        what = "" if subjects is None else f" or subjects of shape {np.shape(subjects)}"
        raise InputError(
            f"Label maps of shape {masks.shape} do not fit those of shape {truth.shape}{what}.",
            "Give two arrays (slices, rows, columns) of one shape, and a subject for each slice.",
        )
    group = np.arange(len(masks)) if subjects is None else np.unique(subjects, return_inverse=True)[1].reshape(-1)
    found = {}
    for label in labels:
        first, second = masks == label, truth == label
        both, sizes = (
            np.bincount(group, pixels)
            for pixels in ((first & second).sum((1, 2)), first.sum((1, 2)) + second.sum((1, 2)))
        )
        with np.errstate(invalid="ignore"):
            found[label] = 2 * both / sizes
    return found


def check_slices(hu: np.ndarray, masks: np.ndarray | None = None) -> None:
    """Refuse slices that the network cannot take.

    Raises:
        InputError: not (n, H, W), sides that are no multiples of 8, or masks of another shape.
    """
    shape = np.shape(hu)
    if len(shape) != 3 or any(side % DIVISOR or not side for side in shape[1:]):
        raise InputError(
            f"Slices of shape {shape} cannot be segmented.",
            f"Give an array (slices, rows, columns) with rows and columns that are multiples of {DIVISOR}.",
        )
    if masks is not None and np.shape(masks) != shape:
        raise InputError(
            f"The masks are of shape {np.shape(masks)}, the slices of shape {shape}.", "Give one mask for each slice."
        )


def check_labels(masks: np.ndarray, labels: Labels) -> dict[int, str]:
    """The labels in ascending order, without the background.

    Raises:
        InputError: no labels, values beyond 1 to 255, masks of fractions, or with values that have no name.
    """
    known = {int(value): str(labels[value]) for value in sorted(labels) if value != 0}
    if not known or min(known) < 1 or max(known) > 255:
        raise InputError(f"The labels are {list(known) or 'none'}.", "Give names for values from 1 to 255.")
    if np.asanyarray(masks).dtype.kind not in "iub":
        raise InputError(f"The masks are of type {np.asanyarray(masks).dtype}.", "Give whole numbers, such as uint8.")
    odd = sorted({*np.unique(masks).tolist()} - {0, *known})
    if odd:
        words = ", ".join(map(str, odd[:5])) + ("" if len(odd) <= 5 else " and more")
        raise InputError(f"The masks hold values without a name: {words}.", "Name every value, or set those to 0.")
    return known


def check_window(window_hu: tuple[float, float]) -> tuple[float, float]:
    """The lowest and the highest HU as numbers.

    Raises:
        InputError: they are not finite, or the second is not above the first.
    """
    low, high = map(float, window_hu)
    if not (np.isfinite([low, high]).all() and low < high):
        raise InputError(f"The window runs from {low:g} to {high:g} HU.", "Give a lower and a higher value in HU.")
    return low, high


def _network(classes: int) -> torch.nn.Module:
    import torch
    from torch import nn

    def block(before: int, after: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for width in (before, after):
            layers += [nn.Conv2d(width, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        """Down three times by pooling, up again by transposed convolutions, each level joined with its like."""

        def __init__(self) -> None:
            super().__init__()
            pairs = list(itertools.pairwise(WIDTHS))
            self.first = block(1, WIDTHS[0])
            self.down = nn.ModuleList([nn.Sequential(nn.MaxPool2d(2), block(a, b)) for a, b in pairs])
            self.up = nn.ModuleList([nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in reversed(pairs)])
            self.joined = nn.ModuleList([block(2 * a, a) for a, _ in reversed(pairs)])
            self.last = nn.Conv2d(WIDTHS[0], classes, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            levels = [self.first(images)]
            for down in self.down:
                levels.append(down(levels[-1]))
            found = levels.pop()
            for up, joined in zip(self.up, self.joined, strict=True):
                found = joined(torch.cat([levels.pop(), up(found)], 1))
            return self.last(found)

    return UNet()


def _parts(shape: tuple[int, ...], subjects: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ascending positions to learn from, and of the held-out slices."""
    shares = {"learnt": 1 - HELD_OUT, "held_out": HELD_OUT}
    if subjects is not None and len(np.unique(subjects)) > 1:
        part = split_by_subject(np.asarray(subjects), shares, seed)
    else:
        part = split_by_segment(shape[0], shares, seed)
        part[0] = part[0] if (part == "held_out").any() else "held_out"
    held_out = np.flatnonzero(part == "held_out")
    most = max(1, MOST_HELD_OUT * PATCH**2 // max(PATCH**2, shape[1] * shape[2]))
    return np.flatnonzero(part == "learnt"), held_out[spread(len(held_out), most)]


def _varied(
    images: torch.Tensor,
    truth: torch.Tensor,
    window_hu: tuple[float, float],
    mirror: bool,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Slices (b, 1, H, W) or windows of them, changed at random, and their channels (b, H, W) moved alike, as int64."""
    import torch

    whole = images.shape[2:]
    size = tuple(min(side, PATCH) for side in whole)
    most = max(1, round(SHIFT * size[1]))
    moves = [
        torch.randint(-most, side - part + most + 1, (len(images),), generator=generator)
        for side, part in zip(whole, size, strict=True)
    ]
    both = torch.cat([crops(each, *moves, size) for each in (images, truth[:, None].float())], 1)
    if mirror:
        both = mirrored_at_random(both, generator)
    lighter, stronger = 2 * torch.rand(2, len(images), 1, 1, 1, generator=generator) - 1
    span = (window_hu[1] - window_hu[0]) / 1000
    images = both[:, :1] * (1 + CONTRAST * stronger) + BRIGHTNESS * span * lighter
    return images.contiguous(memory_format=torch.channels_last), both[:, 1].long()


def cross_entropy_and_dice(scores: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, and one less the soft Dice of each label over the pixels of the whole batch."""
    import torch
    from torch.nn.functional import cross_entropy, one_hot

    shares = scores.softmax(1)[:, 1:]
    wanted = one_hot(truth, scores.shape[1]).movedim(3, 1)[:, 1:].to(shares)
    both, sizes = (each.sum((0, 2, 3)) for each in (shares * wanted, shares + wanted))
    return cross_entropy(scores, truth) + torch.mean(1 - (2 * both + SMOOTH) / (sizes + SMOOTH))


def _held_out_loss(network: Any, hu: np.ndarray, truth: np.ndarray, window_hu: tuple[float, float]) -> float:
    import torch

    network.eval()
    scores = torch.cat(list(_asked(network, hu, window_hu)))
    return float(cross_entropy_and_dice(scores, torch.from_numpy(truth).to(scores.device).long()))


def _asked(network: Any, hu: np.ndarray, window_hu: tuple[float, float]) -> Iterator[torch.Tensor]:
    """Scores of some slices at a time."""
    import torch

    device = next(network.parameters()).device
    with torch.no_grad():
        for start in range(0, len(hu), AT_ONCE):
            yield network(as_input(hu[start : start + AT_ONCE], *window_hu).to(device))


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
