"""How label maps are shown: the colours of labels, and greys of the same kind to set beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from SkullGANLib.segments.sheet import captioned

_BLOCK, _ENTRY = 24, 180  # pixels of a colour in a legend, and of a colour with its name
LABEL_COLOURS = np.array(
    [
        (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
        (204, 121, 167), (153, 153, 153), (110, 60, 160), (140, 90, 40), (255, 190, 190), (0, 70, 60),
    ],
    np.uint8,
)  # fmt: skip
"""Of labels 1, 2, ... and again from the first; seven are those of M. Okabe and K. Ito (2008), which the colour-blind
can tell apart."""


def coloured(labels: np.ndarray) -> np.ndarray:
    """(..., H, W) numbers of labels to (..., H, W, 3) uint8 colours; 0 is black."""
    found = LABEL_COLOURS[(np.asarray(labels).astype(int) - 1) % len(LABEL_COLOURS)]
    return np.where(np.asarray(labels)[..., None] > 0, found, np.uint8(0))


def grey(hu: np.ndarray, window_hu: tuple[float, float]) -> np.ndarray:
    """(..., H, W) HU to (..., H, W, 3) uint8 greys; ``window_hu`` are black and white."""
    low, high = window_hu
    unit = np.clip((np.asarray(hu, np.float32) - low) / (high - low), 0, 1)
    return np.repeat((unit * 255 + 0.5).astype(np.uint8)[..., None], 3, -1)


def legend(names: Mapping[int, str], width: int) -> list[np.ndarray]:
    """Lines of (h, width, 3) uint8 with each label's colour, value and name, side by side where there is room."""
    entries, columns = [], max(1, width // _ENTRY)
    room = width // columns
    for value, name in names.items():
        words = captioned(np.empty((0, room - _BLOCK, 3), np.uint8), f"{value} {name}")
        block = np.full((len(words), _BLOCK, 3), words[0, 0])
        block[3:-3, 4:-2] = coloured(np.array([[value]]))[0, 0]
        entries.append(np.concatenate([block, words], axis=1))
    lines = [np.concatenate(entries[k : k + columns], axis=1) for k in range(0, len(entries), columns)]
    return [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), mode="edge") for line in lines]
