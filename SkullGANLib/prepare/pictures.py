"""Pictures by which a person checks a preparation: what was kept, what was rejected and why, where on the head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from SkullGANLib.ct.volume import Volume
from SkullGANLib.prepare.cut import PIXEL_MM, SIZE, TOP_ROW, Placement
from SkullGANLib.prepare.run import PreparedVolume
from SkullGANLib.prepare.skull import Skull
from SkullGANLib.segments.sheet import contact_sheet, write_png

SHEET_TILES = 96
COLOURS = {
    "temporal": (255, 110, 90),
    "parietal": (110, 220, 120),
    "frontal": (110, 160, 255),
    "occipital": (240, 210, 90),
}
REJECTED = (120, 120, 130)
STEP_MM = 1.5
SCALE = 4
REACH_MM = (92.0, 118.0, 102.0)


def write_sheets(folder: Path, hu: np.ndarray, table: dict[str, np.ndarray]) -> list[Path]:
    """``kept.png`` and ``rejected.png``: up to 96 of each, evenly spread, each under its place or its reason.

    Args:
        folder: where to write.
        hu: (n, 128, 128) HU.
        table: columns plane, region, side, position_mm and quality of length n.
    """
    ok = table["quality"] == "ok"
    place = [
        f"{plane[:3]} {region[:4]} {side[0]} {position:+.0f}"
        for plane, region, side, position in zip(
            table["plane"], table["region"], table["side"], table["position_mm"], strict=True
        )
    ]
    written = []
    for name, chosen, titles in (("kept", ok, place), ("rejected", ~ok, list(table["quality"]))):
        indices = np.flatnonzero(chosen)
        if len(indices) == 0:
            continue
        if len(indices) > SHEET_TILES:
            indices = indices[np.linspace(0, len(indices) - 1, SHEET_TILES).round().astype(int)]
        top = float(max(np.percentile(hu[indices], 99.9), 500))
        sheet = contact_sheet(hu[indices], titles=[titles[i] for i in indices], window_hu=(0, top))
        written.append(write_png(folder / f"{name}.png", sheet))
    return written


def where_picture(volume: Volume, prepared: PreparedVolume) -> np.ndarray:
    """The head as a radiograph, from the right, axially and from the left, with each segment as a line along its bone.

    Returns:
        (height, width, 3) uint8.
    """
    import cv2

    axes = [np.arange(-r, r + STEP_MM / 2, STEP_MM, dtype=np.float32) for r in REACH_MM]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    index = np.moveaxis(prepared.skull.frame.to_index(volume, np.stack([x, y, z], -1)), -1, 0)
    hu = ndimage.map_coordinates(volume.hu, index, output=np.float32, order=1, cval=-1000.0)
    bone = np.clip(hu, 150, 2000) - 150
    half = len(axes[0]) // 2
    lines = [_line(prepared.skull, p) for p in prepared.placements]
    kept = prepared.kept
    views = []
    for title, depth, (h, v), flip, sides in (
        ("right side", bone[:half].mean(0), (1, 2), True, ("right",)),
        ("axial, as in CT", bone[:, :, len(axes[2]) // 2 :].mean(2), (0, 1), False, ("left", "right")),
        ("left side", bone[half:].mean(0), (1, 2), False, ("left",)),
    ):
        image = depth.T[::-1] if v == 2 else depth.T
        image = image / max(float(np.percentile(image, 99.5)), 1.0)
        canvas = cv2.cvtColor((np.clip(image, 0, 1) ** 0.7 * 190).astype(np.uint8), cv2.COLOR_GRAY2RGB)
        canvas = cv2.resize(canvas, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_LINEAR)
        for accept in (False, True):
            for i, place in enumerate(prepared.placements):
                if kept[i] != accept or place.side not in sides:
                    continue
                across = (lines[i][:, h] + REACH_MM[h]) * SCALE / STEP_MM
                up = (REACH_MM[v] - lines[i][:, v] if v == 2 else lines[i][:, v] + REACH_MM[v]) * SCALE / STEP_MM
                colour = COLOURS[place.region] if accept else REJECTED
                cv2.polylines(
                    canvas, [np.stack([across, up], 1).round().astype(np.int32)], False, colour, 1, cv2.LINE_AA
                )
        canvas = np.ascontiguousarray(canvas[:, ::-1]) if flip else canvas
        if title.startswith("axial"):
            for mark, x in (("R", 8), ("L", canvas.shape[1] - 24)):
                cv2.putText(canvas, mark, (x, canvas.shape[0] // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 1)
        cv2.putText(canvas, title, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
        views.append(canvas)
    height = max(len(v) for v in views)
    row = np.hstack([np.pad(v, ((0, height - len(v)), (0, 4), (0, 0))) for v in views])
    return np.vstack([row, _legend(row.shape[1], kept, prepared.table["region"])])


def _line(skull: Skull, place: Placement) -> np.ndarray:
    """(n, 3) head-frame points along a segment's outer edge."""
    across = np.linspace(0, (SIZE - 1) * PIXEL_MM, 12)[:, None]
    points = place.corner_mm + across * place.right + TOP_ROW * PIXEL_MM * place.down
    for _ in range(4):  # down to the bone; the edge is nearly level, so this settles at once
        above = np.linalg.norm(points, axis=1) - skull.shell.at(skull.shell.outer_mm, points[None])[0]
        points = points + above[:, None] * place.down
    return points


def _legend(width: int, kept: np.ndarray, region: np.ndarray) -> np.ndarray:
    import cv2

    band = np.zeros((30, width, 3), np.uint8)
    x = 10
    entries = [
        (f"{name}: {int((kept & (region == name)).sum())} kept", colour)
        for name, colour in COLOURS.items()
        if (region == name).any()
    ]
    for text, colour in [*entries, (f"rejected: {int((~kept).sum())}", REJECTED)]:
        cv2.line(band, (x, 15), (x + 24, 15), colour, 3)
        cv2.putText(band, text, (x + 32, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (230, 230, 230), 1, cv2.LINE_AA)
        x += 60 + 10 * len(text)
    return band
