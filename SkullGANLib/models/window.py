"""The map between Hounsfield units and the [-1, 1] that the networks see; part of every model."""

from __future__ import annotations

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
        one_piece: all but the largest piece of each image becomes background, too, and what that piece encloses stays
            as it was drawn, however dark.

    Returns:
        (n, H, W) float32 HU.
    """
    hu = window.to_hu(unit[:, 0].float().clamp(-1, 1)).cpu().numpy()
    if floor_hu > 0:
        is_bone = hu >= background_hu + floor_hu
        if one_piece:
            for mask in is_bone:
                mask[:] = largest_piece(mask)
        np.copyto(hu, background_hu, where=~is_bone)
    return hu


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest piece of one (H, W) mask that hangs together over edges and corners, with its holes filled.

    Holes count as such, too, where the left or right side of the image cuts through them.
    """
    sides = np.pad(_outlined(mask), ((0, 0), (1, 1)))
    for outside, edge in ((0, 1), (-1, -2)):
        rows = np.flatnonzero(sides[:, edge])
        if rows.size:
            sides[rows[0] : rows[-1] + 1, outside] = True
    return _outlined(sides)[:, 1:-1]


def _outlined(mask: np.ndarray) -> np.ndarray:
    import cv2

    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    piece = np.zeros(mask.shape, np.uint8)
    if outlines:
        largest = max(outlines, key=lambda outline: (cv2.contourArea(outline), len(outline)))
        cv2.drawContours(piece, [largest], -1, 1, cv2.FILLED)
    return piece > 0


AUTHORS_WINDOW = IntensityWindow(minimum_hu=0.0, range_hu=2734.53)  # of the released SkullGAN weights
