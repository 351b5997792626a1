"""What a labeller has learnt, as one picture: images, what was painted, what was found, and where it is uncertain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.segments.label_colours import coloured, grey, legend
from SkullGANLib.segments.sheet import contact_sheet

SHOWN = 8
_TILE, _IMAGES_IN_A_ROW = 128, 2  # pixels of a tile, at least
_WHITE = 0.2  # nats; the largest there can be is the logarithm of the number of networks or classes
_STRENGTH = 0.6  # of colours laid over an image


def overlaid(hu: np.ndarray, masks: np.ndarray, window: IntensityWindow) -> np.ndarray:
    """(..., H, W) HU with labels in colour over them, (..., H, W, 3) uint8."""
    below, above = grey(hu, (window.minimum_hu, window.maximum_hu)), coloured(masks)
    mixed = (1 - _STRENGTH) * below + _STRENGTH * above
    return np.where(np.asarray(masks)[..., None] > 0, mixed.round().astype(np.uint8), below)


def draw_samples(
    hu: np.ndarray,
    painted: np.ndarray,
    found: np.ndarray,
    divergence: np.ndarray,
    labels: Mapping[int, str],
    window: IntensityWindow,
    *,
    unseen: bool,
) -> np.ndarray:
    """Some images in rows, each with its labels beside it.

    Args:
        hu: (n, H, W) HU.
        painted, found: (n, H, W) labels.
        divergence: (n, H, W) nats, white from 0.2 on.
        labels: value to name.
        window: HU shown black and white.
        unseen: whether ``found`` is of networks that had not seen the image.

    Returns:
        uint8 RGB.
    """
    bare, uncertain = grey(hu, (window.minimum_hu, window.maximum_hu)), grey(divergence, (0.0, _WHITE))
    tiles = np.stack([bare, overlaid(hu, painted, window), overlaid(hu, found, window), uncertain], 1)
    titles = ("image", "painted", "found unseen" if unseen else "found", "uncertainty")
    sheet = contact_sheet(
        tiles.reshape(-1, *tiles.shape[2:]),
        columns=_IMAGES_IN_A_ROW * len(titles),
        titles=titles * len(tiles),
        scale=max(1, _TILE // tiles.shape[3]),
    )
    return np.concatenate([sheet, *legend(labels, sheet.shape[1])])
