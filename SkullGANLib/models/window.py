"""The map between Hounsfield units and the [-1, 1] that the networks see; part of every model."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

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


def exported_hu(unit: np.ndarray, window: IntensityWindow, background_hu: float, floor_hu: float) -> np.ndarray:
    """Images as they are handed out: clamped to the window, and what is not bone exactly the background.

    Args:
        unit: images of a generator, [-1, 1] and a little beyond.
        window: of the model.
        background_hu: value of pixels that are not bone.
        floor_hu: pixels less than this above the background become background; 0 leaves every pixel as it is.

    Returns:
        HU, of the same shape and type.
    """
    hu = window.to_hu(np.clip(unit, -1, 1))
    if floor_hu > 0:
        hu[hu < background_hu + floor_hu] = background_hu
    return hu


AUTHORS_WINDOW = IntensityWindow(minimum_hu=0.0, range_hu=2734.53)  # of the released SkullGAN weights
