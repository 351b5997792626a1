"""A small network that is trained to tell two sets of segments apart, and scores segments it has not seen."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from SkullGANLib.evaluate.convolutions import as_input, crops, mirrored_at_random, own_random_state, scorer, scores
from SkullGANLib.evaluate.radiological import refuse_non_finite
from SkullGANLib.progress import Progress, report

if TYPE_CHECKING:
    import torch

Pair = tuple[np.ndarray, np.ndarray]

WIDTHS = (16, 32, 64, 96)
BATCH = 64
STEPS, EPOCHS = 600, 100
"""At most so many steps, and for small sets so many times through what is shown."""
CHECK, PATIENCE = 40, 10
"""Steps between two looks at the loss on what is checked, and looks without a better one until training ends."""
LEAST_GAIN = 0.002
"""A loss lower by less than this is none to wait for."""
RATE, DECAY = 1e-3, 1e-2
MEMORY = 0.95
"""Of the running average of the weights, which is what is checked and kept, with normalisation of its own."""
SHIFT_ROWS, SHIFT_COLUMNS = 2, 8
"""Largest shifts of a segment while training, in pixels of 128; the same for both sets."""
MARGIN = 8
"""Rows kept above and below what differs between segments; the rest is background in every one of them."""


def train_classifier(
    shown: Pair, checked: Pair, asked: Pair, *, seed: int = 0, progress: Progress | None = None
) -> Pair:
    """Train on two sets and score two others.

    Both sets are rounded to whole HU and clipped to the range that they share, so that neither the number format nor
    the intensity window of a model gives them away. The same seed, segments, processor, torch and number of threads
    give the same scores. The random state of torch is left as it was.

    Args:
        shown: two arrays (n, H, W) HU to learn from, of the first and of the second set, of about equal length.
        checked: two more; training ends when the loss on these no longer falls, and the best weights count.
        asked: two more that are scored.
        seed: of the first weights, the order and the small shifts.
        progress: told the steps.

    Returns:
        Log odds of belonging to the second set, of either array in ``asked``.

    Raises:
        InputError: pixels that are not finite.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

    for hu in (*shown, *checked, *asked):
        refuse_non_finite(hu)
    low, high, rows = common_window([*shown, *checked, *asked])
    images, truth = _labelled(shown, low, high, rows)
    trial, trial_truth = _labelled(checked, low, high, rows)
    generator = torch.Generator().manual_seed(seed)
    with own_random_state(seed):
        network = scorer(WIDTHS)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(MEMORY))
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    batches = -(-len(images) // BATCH)
    steps = min(STEPS, EPOCHS * batches)
    best, best_loss, waited, order = None, np.inf, 0, images[:0]
    for step in range(steps):
        report(progress, step, steps, "Training a classifier to tell the sets apart")
        if step % batches == 0:
            order = torch.randperm(len(images), generator=generator)
        chosen = order[step % batches :: batches]
        logits = network(_shifted(images[chosen], generator))[:, 0]
        loss = binary_cross_entropy_with_logits(logits, truth[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(network)
        if (step + 1) % CHECK == 0 or step + 1 == steps:
            update_bn(images.split(2 * BATCH), average)
            found = float(binary_cross_entropy_with_logits(scores(average, trial), trial_truth))
            waited = 0 if found < best_loss - LEAST_GAIN else waited + 1
            if found < best_loss:
                best, best_loss = copy.deepcopy(average.module), found
            if waited == PATIENCE:
                break
    return tuple(scores(best, as_input(hu[:, rows], low, high)).double().numpy() for hu in asked)


def common_window(sets: list[np.ndarray]) -> tuple[float, float, slice]:
    """The range in HU that the first and the second set share, and the rows in which segments differ.

    Args:
        sets: (n, H, W) arrays, by turns of the first and of the second set.

    Returns:
        Lowest and highest HU: of all segments where the two ranges have nothing in common. Then the rows.
    """
    low, high = (np.array([f(hu, axis=(0, 2)) for hu in sets]).round() for f in (np.min, np.max))  # (sets, rows)
    lows, highs = ([f(of[i::2]) for i in (0, 1)] for f, of in ((np.min, low), (np.max, high)))
    window = (max(lows), min(highs)) if max(lows) < min(highs) else (min(lows), max(highs))
    differing = np.flatnonzero(high.max(0) > low.min(0))
    if not len(differing):
        return *map(float, window), slice(None)
    return *map(float, window), slice(max(differing[0] - MARGIN, 0), differing[-1] + MARGIN + 1)


def _labelled(pair: Pair, low: float, high: float, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    images = torch.cat([as_input(hu[:, rows], low, high) for hu in pair])
    return images, torch.cat([torch.full((len(hu),), float(i)) for i, hu in enumerate(pair)])


def _shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirrored at random and moved by a few pixels."""
    import torch

    moves = []
    for most in (SHIFT_ROWS, SHIFT_COLUMNS):
        most = max(1, most * images.shape[3] // 128)
        moves.append(torch.randint(-most, most + 1, (len(images),), generator=generator))
    return mirrored_at_random(crops(images, *moves, tuple(images.shape[2:])), generator)
