"""A volume at a glance: three views through its middle and one from outside, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from SkullGANLib.ct.render import rendered
from SkullGANLib.ct.volume import Volume
from SkullGANLib.segments.label_colours import coloured, legend
from SkullGANLib.segments.sheet import captioned, write_png

HEIGHT = 240
RENDERED = 160  # pixels of the view from outside before it is enlarged: its cost grows with their cube
WINDOW_HU = (-1000.0, 1500.0)  # coarse voxels of thin bone lie far below its HU


def at_a_glance(volume: Volume) -> np.ndarray:
    """Three views and the bone from the left front: (240, width) uint8; bone is drawn from 300 HU on."""
    import cv2

    outside = cv2.resize(rendered(volume, size=RENDERED), (HEIGHT, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return np.concatenate([three_views(volume), outside], axis=1)


def three_views(volume: Volume, window_hu: tuple[float, float] = WINDOW_HU, *, labels: bool = False) -> np.ndarray:
    """Axial, coronal and sagittal view, (240, width) uint8 of square pixels; ``window_hu`` are black and white.

    Label maps are (240, width, 3), each label in its colour. Of a single slice there is one view.
    """
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
    for view, row_mm, column_mm in [each for each in views if min(each[0].shape) > 1] or views[:1]:
        low, high = window_hu
        grey = np.clip((view.astype(np.float32) - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        shown, kind = (coloured(view), cv2.INTER_NEAREST) if labels else (grey, cv2.INTER_AREA)
        width = round(HEIGHT * view.shape[1] * column_mm / (view.shape[0] * row_mm))
        images.append(cv2.resize(shown, (max(width, 1), HEIGHT), interpolation=kind))
    return np.concatenate(images, axis=1)


def write_views(
    path: str | Path, rows: Mapping[str, Sequence[np.ndarray]], *, names: Mapping[int, str] | None = None
) -> Path:
    """Write rows of pictures from ``at_a_glance``, grey or in colours, each with its caption below.

    Args:
        path: of the PNG.
        rows: caption to pictures side by side.
        names: value to name of the labels that are shown in colours, for a legend at the end.
    """
    joined = {words: np.concatenate(images, axis=1) for words, images in rows.items()}
    width = max(image.shape[1] for image in joined.values())
    if any(image.ndim == 3 for image in joined.values()):
        joined = {w: image if image.ndim == 3 else np.repeat(image[..., None], 3, -1) for w, image in joined.items()}
    padded = {
        words: np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0))[: image.ndim])
        for words, image in joined.items()
    }
    parts = [captioned(image, words) for words, image in padded.items()]
    return write_png(path, np.concatenate([*parts, *legend(names or {}, width)]))
