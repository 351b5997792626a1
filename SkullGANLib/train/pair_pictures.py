"""Pictures of a training from label maps: labels, drawn and real side by side, and the drawn ones over the training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SkullGANLib.segments.label_colours import coloured, grey
from SkullGANLib.segments.sheet import captioned, contact_sheet, write_png

SHOWN = 6
STRIP_FILE = "strip.png"
_STEPS = 8  # of the training in a strip


def write_pairs(
    folder: Path, seen: int, labels: np.ndarray, drawn: np.ndarray, real: np.ndarray, window_hu: tuple[float, float]
) -> Path:
    """Write the picture of a moment of a training, and put it into the strip over the training.

    Args:
        folder: of the samples.
        seen: images seen.
        labels: (n, H, W) numbers of labels.
        drawn, real: (n, H, W) HU.
        window_hu: shown black and white.

    Returns:
        The picture of the moment: a row for each slice, of its labels, the drawn and the real image.
    """
    columns = [coloured(labels), grey(drawn, window_hu), grey(real, window_hu)]
    tiles = np.stack(columns, 1).reshape(-1, *columns[0].shape[1:])
    path = folder / f"{seen:010d}.png"
    shown = f"labels, drawn, real; {window_hu[0]:.0f} to {window_hu[1]:.0f} HU; {seen} images seen"
    write_png(path, captioned(contact_sheet(tiles, columns=6 if len(drawn) > 1 else 3), shown))
    np.save(folder / f"{seen:010d}.npy", columns[1][:2])
    _write_strip(folder, columns[0][:2], columns[2][:2])
    return path


def _write_strip(folder: Path, labels: np.ndarray, real: np.ndarray) -> None:
    """Two slices over the training: their labels, what was drawn at some moments, and the real images."""
    files = sorted(folder.glob("*.npy"))
    chosen = [files[k] for k in np.unique(np.linspace(0, len(files) - 1, _STEPS).round().astype(int))]
    columns = [labels, *(np.load(file) for file in chosen), real]
    titles = ["labels", *(str(int(file.stem)) for file in chosen), "real"]
    tiles = np.stack(columns, 1).reshape(-1, *labels.shape[1:])
    write_png(folder / STRIP_FILE, contact_sheet(tiles, columns=len(columns), titles=titles * len(labels)))
