"""Grids of segments as one picture: the same window and layout wherever segments are shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from SkullGANLib.errors import InputError, ResourceError
from SkullGANLib.files import replace_file

_GROUND, _INK = 40, 235  # grey levels of the space between tiles and of the titles
_TITLE_PX = 16
_FONT_SCALE, _SMALLEST_FONT_SCALE = 0.42, 0.34


def contact_sheet(
    hu: np.ndarray,
    *,
    columns: int = 8,
    titles: Sequence[str] | None = None,
    window_hu: tuple[float, float] = (0, 2700),
    scale: int = 1,
    border: int = 2,
) -> np.ndarray:
    """Lay segments out in rows, in their order, on dark grey.

    Args:
        hu: (N, H, W) HU, or one segment (H, W); or (N, H, W, 3) uint8 RGB, shown as it is.
        columns: tiles in a row.
        titles: N short texts, written above their tiles; cut where too wide.
        window_hu: HU shown black and white; values beyond are clipped, NaN is black.
        scale: whole-number magnification; pixels stay square and sharp.
        border: pixels between tiles.

    Returns:
        uint8 (rows, columns), or (rows, columns, 3) for RGB tiles.

    Raises:
        InputError: no segments, an odd shape, or not as many titles as segments.
    """
    tiles = _grey_tiles(np.asarray(hu), window_hu)
    n = len(tiles)
    if n == 0:
        raise InputError("There are no segments to show.", "Choose at least one.")
    if titles is not None and len(titles) != n:
        raise InputError(f"{len(titles)} titles for {n} segments.", "Give one title for each segment.")
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    columns = max(1, min(columns, n))
    height, width = tiles.shape[1:3]
    title_px = _TITLE_PX if titles is not None else 0
    step_y, step_x = height + title_px + border, width + border
    rows = -(-n // columns)
    sheet = np.full((rows * step_y + border, columns * step_x + border, *tiles.shape[3:]), _GROUND, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = border + i // columns * step_y, border + i % columns * step_x
        if titles is not None:
            _write_title(sheet[top : top + title_px, left : left + width], str(titles[i]))
        sheet[top + title_px : top + title_px + height, left : left + width] = tile
    return sheet


def titled_rows(sheets: Mapping[str, np.ndarray]) -> np.ndarray:
    """Sheets one below the other, each under its title in ASCII, as wide as the widest."""
    width = max(sheet.shape[1] for sheet in sheets.values())
    parts = []
    for title, sheet in sheets.items():
        gap = [(0, 0), (0, width - sheet.shape[1]), *[(0, 0)] * (sheet.ndim - 2)]
        parts += [captioned(np.empty((0, width, *sheet.shape[2:]), np.uint8), title)]
        parts += [np.pad(sheet, gap, constant_values=_GROUND)]
    return np.concatenate(parts)


def captioned(sheet: np.ndarray, text: str) -> np.ndarray:
    """A sheet with a line of text below it, in ASCII."""
    band = np.full((_TITLE_PX + 4, *sheet.shape[1:]), _GROUND, np.uint8)
    _write_title(band, text)
    return np.concatenate([sheet, band])


def write_png(path: str | Path, image: np.ndarray) -> Path:
    """Write a picture as PNG, in one step and under any name.

    Args:
        path: file to write; folders are made.
        image: uint8 (H, W) grey or (H, W, 3) RGB.

    Raises:
        InputError: not uint8 or not such a shape.
    """
    import cv2

    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise InputError(f"A picture of shape {image.shape} and type {image.dtype}.", "Give uint8 (H, W) or (H, W, 3).")
    done, code = cv2.imencode(".png", image if image.ndim == 2 else image[..., ::-1])
    if not done:
        raise ResourceError(f"{path} could not be encoded as PNG.", "Try a smaller picture.")
    with replace_file(path) as temporary:
        temporary.write_bytes(code.tobytes())
    return Path(path)


def _grey_tiles(hu: np.ndarray, window_hu: tuple[float, float]) -> np.ndarray:
    if hu.ndim == 4 and hu.shape[-1] == 3 and hu.dtype == np.uint8:
        return hu
    if hu.ndim == 2:
        hu = hu[None]
    if hu.ndim != 3:
        raise InputError(f"Segments of shape {hu.shape} cannot be shown.", "Give (N, rows, columns) HU.")
    low, high = window_hu
    if not high > low:
        raise InputError(f"The window {low} to {high} HU is empty.", "Give the darker HU first, then the brighter.")
    unit = (hu.astype(np.float32) - low) / (high - low)
    return (np.clip(np.nan_to_num(unit), 0, 1) * 255 + 0.5).astype(np.uint8)


def _write_title(band: np.ndarray, text: str) -> None:
    import cv2

    plain = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    text = "".join(plain).encode("ascii", "replace").decode()  # OpenCV's fonts know ASCII only
    font, width = cv2.FONT_HERSHEY_SIMPLEX, band.shape[1] - 4
    font_scale = _FONT_SCALE
    if cv2.getTextSize(text, font, font_scale, 1)[0][0] > width:
        font_scale = _SMALLEST_FONT_SCALE
    if cv2.getTextSize(text, font, font_scale, 1)[0][0] > width:
        while text and cv2.getTextSize(text + "..", font, font_scale, 1)[0][0] > width:
            text = text[:-1]
        text += ".."
    canvas = np.ascontiguousarray(band)
    ink = (_INK,) * 3 if band.ndim == 3 else _INK
    cv2.putText(canvas, text, (2, band.shape[0] - 4), font, font_scale, ink, 1, cv2.LINE_AA)
    band[:] = canvas
