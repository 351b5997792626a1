"""Several labelling networks that learn from the same painted images: where they disagree, the label is uncertain.

Ensemble and filter as in BigDatasetGAN (D. Li et al., CVPR 2022). Pairs of features and labels cannot be varied as
pairs of image and label can: a mirrored image has other features than the mirrored ones of the image, since a generator
knows left from right, and no latent is known that would draw it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.convolutions import own_random_state
from SkullGANLib.evaluate.segmenter import check_labels, cross_entropy_and_dice, dice
from SkullGANLib.labelling.features import Features
from SkullGANLib.labelling.head import WIDTHS, HeadNetwork, LabelHead
from SkullGANLib.models.device import adam, memory_advice, resolve_device
from SkullGANLib.progress import Progress, report

HEADS = 5
STEPS, STEPS_ON_GPU = 150, 5000
"""On a processor as many as take minutes; labels of head phantoms gain less than a hundredth of Dice by more."""
BATCH, RATE, BETAS = 4, 3e-3, (0.9, 0.999)
"""The original's rate of 1e-3 needs three times as many steps; this one falls to 0 along a cosine."""
PARTS, LEAST_HELD_OUT = 5, 10
"""Each network leaves out one of so many parts of the images, where there are at least so many images."""
DROP = 0.1
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Labeller:
    """An ensemble of labelling networks.

    Attributes:
        heads: in use, all built of the same ``HeadNetwork``.
        labels: value to name of what they can draw.
        held_out_dice: label to the mean Dice over painted images of the networks that had not seen them, nan where
            none shows it; empty where the images were too few to leave some out.
    """

    heads: tuple[LabelHead, ...]
    labels: dict[int, str]
    held_out_dice: dict[int, float] = field(default_factory=dict)

    def label(self, features: Features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Label maps and how sure the ensemble is of them.

        Args:
            features: of some images of the model that the labeller belongs to, at least one.

        Returns:
            (n, size, size) uint8 labels, 0 for background; (n, size, size) float32 Jensen-Shannon divergence of the
            networks in each pixel, in nats; and (n,) float32 uncertainty, see ``image_uncertainty``.
        """
        parts = [
            self._label(features.take(np.arange(k, min(k + BATCH, len(features)))))
            for k in range(0, len(features), BATCH)
        ]
        found, divergence, uncertainty = (torch.cat(each).cpu().numpy() for each in zip(*parts, strict=True))
        return np.array([0, *self.labels], np.uint8)[found], divergence, uncertainty

    @torch.no_grad()
    def _label(self, features: Features) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        device = features.maps[0].device
        shares = torch.stack([head.to(device)(features.maps, features.condition).softmax(1) for head in self.heads])
        found, divergence = shares.mean(0).argmax(1), jensen_shannon(shares)
        any_label = (shares.argmax(2) > 0).any(0)
        return found, divergence, image_uncertainty(divergence, found > 0, any_label)


def jensen_shannon(shares: torch.Tensor) -> torch.Tensor:
    """How far the networks disagree: the entropy of their mean less the mean of their entropies.

    Args:
        shares: (networks, n, classes, H, W), probabilities of the classes.

    Returns:
        (n, H, W) nats: 0 where all agree, at most the logarithm of the number of networks or classes.
    """
    return (_entropy(shares.mean(0)) - _entropy(shares).mean(0)).clamp_min(0)


def image_uncertainty(divergence: torch.Tensor, labelled: torch.Tensor, any_label: torch.Tensor) -> torch.Tensor:
    """(n,) mean of the divergence (n, H, W) over the pixels with a label, (n, H, W) bool.

    In an image without any, the mean is over the pixels that at least one network gives a label, ``any_label``; 0 where
    none does.
    """
    labelled = torch.where(labelled.flatten(1).any(1)[:, None, None], labelled, any_label)
    return (divergence * labelled).sum((1, 2)) / labelled.sum((1, 2)).clamp_min(1)


def most_certain(uncertainty: np.ndarray, count: int) -> np.ndarray:
    """Positions of the ``count`` least uncertain images, ascending."""
    return np.sort(np.argsort(uncertainty, kind="stable")[:count])


def usual_steps(device: str = "auto") -> int:
    """Steps of a network on ``device``, unless something else is asked for."""
    return STEPS if resolve_device(device).type == "cpu" else STEPS_ON_GPU


def train_labeller(
    features: Features,
    masks: np.ndarray,
    labels: Mapping[int, str],
    *,
    heads: int = HEADS,
    steps: int | None = None,
    seed: int = 0,
    widths: Sequence[int] = WIDTHS,
    device: str = "auto",
    progress: Progress | None = None,
) -> tuple[Labeller, np.ndarray, np.ndarray]:
    """Train an ensemble on painted images, with cross-entropy and soft Dice.

    Each network has first weights and an order of the images of its own, and of 10 images or more leaves another fifth
    out: over these the Dice is measured. On the processor, the same seed, images, torch and number of threads give the
    same networks; the random state of torch is left as it was.

    Args:
        features: of the painted images.
        masks: (n, size, size) whole numbers: 0 for background, else a label.
        labels: value, 1 to 255, to name.
        heads: networks.
        steps: of each network, 4 images each; 5,000 on a GPU and 150 on a processor if not given.
        seed: of the first network; the next one has the next.
        widths: channels of the three groups of feature maps.
        device: auto, cpu, cuda, cuda:N or mps.
        progress: told the steps.

    Returns:
        The labeller, and (n, size, size) uint8 what networks that had not seen an image find in it; where no network
        left it out, what all find together; and (n,) bool, which images a network left out.

    Raises:
        InputError: no image is painted, shapes that do not fit, or masks with other values than ``labels`` has.
        ResourceError: not enough memory.
    """
    where, masks = resolve_device(device), np.asarray(masks)
    if masks.shape != features.hu.shape:
        raise InputError(
            f"The masks have the shape {masks.shape}, the images {features.hu.shape}.", "Give a mask for each image."
        )
    labels = {value: name for value, name in check_labels(masks, labels).items() if (masks == value).any()}
    if not labels:
        raise InputError("None of the images is painted.", "Paint the labels in some of them first.")
    if heads < 1 or (steps is not None and steps < 1):
        raise InputError(f"{heads} networks of {steps} steps cannot be trained.", "Ask for at least one of each.")
    steps = steps or usual_steps(device)
    channel = np.zeros(256, np.uint8)
    channel[[*labels]] = np.arange(1, len(labels) + 1)
    truth = torch.from_numpy(channel[masks]).long()
    network = HeadNetwork(
        maps=features.shapes, classes=len(labels) + 1, condition=features.condition.shape[1], widths=tuple(widths)
    )
    parts = np.random.default_rng(seed).permutation(len(features)) % PARTS
    if len(features) < LEAST_HELD_OUT:
        parts[:] = PARTS  # none of them is ever left out
    trained, found, scores = [], np.zeros(masks.shape, np.uint8), {value: [] for value in labels}
    seen_by_all = np.ones(len(features), bool)
    with memory_advice("Train on another device, or on a model of smaller images."):
        for number in range(heads):
            held_out, learnt = (np.flatnonzero(each) for each in (parts == number % PARTS, parts != number % PARTS))
            told = _Told(progress, number * steps, heads * steps)
            trained.append(_train_head(network, features, truth, learnt, seed + number, steps, where, told))
            if len(held_out):
                seen_by_all[held_out] = False
                found[held_out] = Labeller((trained[-1],), labels).label(features.take(held_out, where))[0]
                for value, each in dice(found[held_out], masks[held_out], labels).items():
                    scores[value].extend(each[np.isfinite(each)])
        known = {value: float(np.mean(each)) if each else float("nan") for value, each in scores.items()}
        labeller = Labeller(tuple(trained), labels, {} if seen_by_all.all() else known)
        if seen_by_all.any():
            rest = np.flatnonzero(seen_by_all)
            found[rest] = labeller.label(features.take(rest, where))[0]
    for head in trained:
        head.cpu()
    return labeller, found, ~seen_by_all


@dataclass(frozen=True)
class _Told:
    """Progress of one training of several."""

    progress: Progress | None
    before: int
    total: int

    def __call__(self, step: int, **values: float) -> None:
        report(self.progress, self.before + step, self.total, "Training labelling networks", **values)


def _train_head(
    network: HeadNetwork,
    features: Features,
    truth: torch.Tensor,
    rows: np.ndarray,
    seed: int,
    steps: int,
    device: torch.device,
    told: _Told,
) -> LabelHead:
    with own_random_state(seed):
        head = LabelHead(network)
    for entry, maps in zip(head.entries, features.maps, strict=True):
        entry.fit(maps[rows])
    head = head.to(device, memory_format=torch.channels_last).train()
    optimizer = adam(head, RATE, BETAS)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draw, order = np.random.default_rng(seed), np.empty(0, int)
    for step in range(steps):
        if len(order) < min(BATCH, len(rows)):
            order = draw.permutation(rows)
        chosen, order = order[:BATCH], order[BATCH:]
        batch = features.take(chosen, device)
        loss = cross_entropy_and_dice(head(batch.maps, batch.condition), truth[chosen].to(device))
        told(step, loss=float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    told(steps)
    return head.eval().requires_grad_(False)


def _entropy(shares: torch.Tensor) -> torch.Tensor:
    """Over the classes, the third axis from the end."""
    return -(shares * shares.clamp_min(_TINY).log()).sum(-3)
