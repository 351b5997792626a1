"""From painted images to the folder of a labeller: the way that the command line and others share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from SkullGANLib.evaluate.registry import spread
from SkullGANLib.files import check_replaceable
from SkullGANLib.labelling.annotations import features_of, find_annotations
from SkullGANLib.labelling.ensemble import HEADS, train_labeller, usual_steps
from SkullGANLib.labelling.files import CARD_FILE, LabellerCard, save_labeller
from SkullGANLib.labelling.picture import SHOWN, draw_samples
from SkullGANLib.models.folder import Model
from SkullGANLib.progress import Progress
from SkullGANLib.segments.dataset import SegmentDataset


def train_on_painted(
    model: Model,
    dataset: SegmentDataset,
    out: str | Path,
    *,
    masks: str | Path | None = None,
    names: Mapping[int, str] | None = None,
    label_set: str | None = None,
    with_empty: bool = False,
    heads: int = HEADS,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> LabellerCard:
    """Train a labeller on the painted images of a data set and write its folder, in one step.

    Args:
        model: that drew the images.
        dataset: of the images.
        out: folder to make.
        masks, names, label_set, with_empty: see ``annotations.find_annotations``.
        heads, steps, seed, device: see ``ensemble.train_labeller``.
        overwrite: whether a labeller at ``out`` may be replaced.
        progress: told the steps.

    Raises:
        InputError: a folder that may not be replaced, no painted image, or images that the model did not draw.
        FormatError: label maps that cannot be read.
        ResourceError: not enough memory, or the disk is full.
    """
    check_replaceable(out, overwrite=overwrite, marker=CARD_FILE)
    steps = steps or usual_steps(device)
    painted = find_annotations(dataset, masks=masks, names=names, label_set=label_set, with_empty=with_empty)
    features = features_of(model, dataset, painted.rows, device=device, progress=progress)
    labeller, found, unseen = train_labeller(
        features, painted.masks, painted.labels, heads=heads, steps=steps, seed=seed, device=device, progress=progress
    )
    shown = np.flatnonzero(unseen) if unseen.any() else np.arange(len(features))
    shown = shown[spread(len(shown), SHOWN)]
    _, divergence, _ = labeller.label(features.take(shown))
    picture = draw_samples(
        features.hu[shown],
        painted.masks[shown],
        found[shown],
        divergence,
        labeller.labels,
        model.window,
        unseen=unseen.any(),
    )
    return save_labeller(
        out,
        labeller,
        picture=picture,
        overwrite=overwrite,
        model_hash=model.hash,
        family=model.card.family,
        label_set=painted.label_set,
        annotated=len(features),
        empty=painted.empty,
        left_out=painted.left_out,
        steps=steps,
        seed=seed,
    )
