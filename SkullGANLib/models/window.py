"""The map between Hounsfield units and the [-1, 1] that the networks see; part of every model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array")  # numpy array, torch tensor or number


class IntensityWindow(BaseModel):
    """One global minimum and range for a whole training set: x = ((hu - minimum) / range - 0.5) / 0.5.

    Attributes:
        minimum_hu: HU that becomes -1; the background of segments is 0 HU.
        range_hu: width of the window; ``minimum_hu + range_hu`` becomes 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum_hu: float
    range_hu: float = Field(gt=0)

    @property
    def maximum_hu(self) -> float:
        """HU that becomes 1."""
        return self.minimum_hu + self.range_hu

    def to_unit(self, hu: Array) -> Array:
        """HU to [-1, 1]; values outside the window fall outside."""
        return (hu - self.minimum_hu) * (2.0 / self.range_hu) - 1.0

    def to_hu(self, unit: Array) -> Array:
        """[-1, 1] to HU."""
        return (unit + 1.0) * (0.5 * self.range_hu) + self.minimum_hu


def exported_hu(
    unit: torch.Tensor, window: IntensityWindow, background_hu: float, floor_hu: float, *, one_piece: bool = False
) -> np.ndarray:
    """Images as they are handed out: clamped to the window, and what is not bone exactly the background.

    Args:
        unit: (n, 1, H, W) images of a generator, [-1, 1] and a little beyond, on any device.
        window: of the model.
        background_hu: value of pixels that are not bone.
        floor_hu: pixels less than this above the background become background; 0 leaves every pixel as it is.
        one_piece: all but the largest piece of each image becomes background, too.

    Returns:
        (n, H, W) float32 HU.
    """
    hu = window.to_hu(unit[:, 0].float().clamp(-1, 1))
    if floor_hu > 0:
        hu.masked_fill_(hu < background_hu + floor_hu, background_hu)
    out = hu.cpu().numpy()
    if one_piece and floor_hu > 0:
        with ThreadPoolExecutor() as pool:
            for image, (labels, areas) in zip(out, pool.map(pieces, out != background_hu), strict=True):
                if len(areas) > 1:
                    image[labels != 1 + areas.argmax()] = background_hu
    return out


def pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What hangs together, over edges and corners, in one (H, W) mask.

    Returns:
        (H, W) numbers of the pieces from 1, 0 elsewhere, and the pixels of each piece.
    """
    import cv2

    _, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return labels, facts[1:, cv2.CC_STAT_AREA]


AUTHORS_WINDOW = IntensityWindow(minimum_hu=0.0, range_hu=2734.53)  # of the released SkullGAN weights
