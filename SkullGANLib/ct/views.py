"""A volume at a glance: three views through its middle, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from SkullGANLib.ct.volume import Volume
from SkullGANLib.segments.sheet import write_png

HEIGHT = 240
WINDOW_HU = (-1000.0, 1500.0)  # coarse voxels of thin bone lie far below its HU


def three_views(volume: Volume) -> np.ndarray:
    """Axial, coronal and sagittal view, (240, width) uint8 of square pixels; -1000 HU is black, 1500 HU white."""
    import cv2

    hu, (x_mm, y_mm, z_mm) = volume.hu, volume.spacing_mm
    slices, rows, columns = hu.shape
    aside = min(columns // 2 + round(8 / x_mm), columns - 1)  # beside the falx
    views = (
        (hu[slices // 3], y_mm, x_mm),
        (hu[::-1, rows // 2], z_mm, x_mm),
        (hu[::-1, :, aside], z_mm, y_mm),
    )
    images = []
    for view, row_mm, column_mm in views:
        low, high = WINDOW_HU
        grey = np.clip((view.astype(np.float32) - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        width = round(HEIGHT * view.shape[1] * column_mm / (view.shape[0] * row_mm))
        images.append(cv2.resize(grey, (max(width, 1), HEIGHT), interpolation=cv2.INTER_AREA))
    return np.concatenate(images, axis=1)


def write_views(path: str | Path, views: Sequence[np.ndarray]) -> Path:
    """Write the views of some volumes below each other."""
    width = max(image.shape[1] for image in views)
    return write_png(path, np.concatenate([np.pad(image, ((0, 4), (0, width - image.shape[1]))) for image in views]))
