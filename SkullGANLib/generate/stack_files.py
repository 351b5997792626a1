"""What ``skullgan volume stack`` leaves: volumes, their origin, pictures, and how continuous they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from SkullGANLib.ct.render import rendered
from SkullGANLib.ct.views import write_views
from SkullGANLib.files import write_json
from SkullGANLib.generate.continuity import (
    STEPS,
    Curve,
    at_distance,
    compared_at,
    continuity_picture,
    walk_curve,
    write_curves,
)
from SkullGANLib.generate.stack import Stack
from SkullGANLib.generate.volumes import write_numbered, write_origin
from SkullGANLib.models.folder import Model

HEIGHT = 240
WINDOW_HU = (-200.0, 2000.0)
SHOWN = 4
CURVES = 6
ENLARGED = 4  # pixels of a picture for each mm of the bone rolled out


def write_stacks(
    stacks: Iterable[Stack],
    folder: Path,
    model: Model,
    file_format: str,
    facts: Mapping[str, Any],
    *,
    spacing_mm: float,
    real: Curve | None = None,
) -> dict[str, Any]:
    """Write volumes as they are drawn, with ``volumes.json``, ``preview.png`` and ``continuity`` .json, .csv and .png.

    Args:
        stacks: drawn from ``model``.
        folder: to write to.
        model: that they were drawn from.
        file_format: ending of the files, such as ``nrrd``.
        facts: how they were drawn.
        spacing_mm: of the slices.
        real: how real neighbours differ, to compare with.

    Returns:
        The content of ``continuity.json``.
    """
    cuts = "axial, coronal, sagittal" if facts.get("layout") != "flat" else "a slice, two cuts across the slices"
    distance_mm = spacing_mm if real is None else compared_at(real, spacing_mm)
    shown, files, told, curves = {}, [], [], {} if real is None else {"real": real}
    for number, stack in enumerate(stacks):
        entry = write_numbered(stack.volume, folder, number, file_format)
        curve = walk_curve(stack.bone, spacing_mm)
        asked = {name: _told(values) for name, values in stack.values.items()}
        files.append({**entry, "conditions": asked})
        told.append({"file": entry["file"], **_steps(curve, distance_mm, real)})
        if number < CURVES:
            curves[f"volume {number + 1}"] = curve
        if number < SHOWN:
            shown[f"Volume {number + 1}: {cuts}, from outside"] = [_cuts(stack), _outside(stack)]
            shown[f"Volume {number + 1}, rolled out: outer table, diploe, a slice, across the slices"] = [
                _rolled(stack, spacing_mm)
            ]
    write_origin(folder, model, facts, files)
    means = {name: float(np.mean([each[name] for each in told])) for name in told[0] if name != "file"}
    continuity = {"distance_mm": distance_mm, **means, "volumes": told}
    if real is not None:
        at = int(np.argmax(real["distance_mm"] >= distance_mm))
        continuity["real"] = {name: float(values[at]) for name, values in real.items() if name != "distance_mm"}
    write_json(folder / "continuity.json", continuity)
    write_curves(folder / "continuity.csv", curves)
    continuity_picture(folder / "continuity.png", curves)
    write_views(folder / "preview.png", shown)
    return continuity


def _told(values: np.ndarray) -> str | float | list[float]:
    """What the slices were asked: one value, or where it changes one of each."""
    plain = values.tolist()
    if isinstance(plain[0], str):
        return plain[0]
    plain = [round(value, 4) for value in plain]
    return plain if len(set(plain)) > 1 else plain[0]


def _steps(curve: Curve, distance_mm: float, real: Curve | None) -> dict[str, float]:
    """Steps of a volume, that within its slices, and the ratios to those of real bone."""
    found = dict(zip(STEPS, at_distance(curve, distance_mm), strict=True))
    found["within_hu"] = float(np.interp(distance_mm, curve["distance_mm"], curve["within_hu"]))
    if real is not None:
        wanted = at_distance(real, distance_mm)
        found["ratio"], found["thickness_ratio"] = (
            found[name] / max(value, 1e-6) for name, value in zip(STEPS, wanted, strict=True)
        )
    return found


def _grey(hu: np.ndarray, height: int, width: int) -> np.ndarray:
    import cv2

    low, high = WINDOW_HU
    grey = np.clip((hu.astype(np.float32) - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    return cv2.resize(grey, (max(1, width), max(1, height)), interpolation=cv2.INTER_LINEAR)


def _cuts(stack: Stack) -> np.ndarray:
    """Three cuts through the middle of the bone, (240, width) uint8, square pixels."""
    volume, patch = stack.volume, stack.patch
    n, m = stack.bone.thickness_mm.shape
    half_mm = float(stack.bone.thickness_mm[n // 2, m // 2]) / 2
    surface_mm = float(patch.radius(patch.outward[None])[0])
    middle = np.clip(volume.lps_to_zyx(patch.outward * (surface_mm - half_mm)).round(), 0, np.array(volume.shape) - 1)
    z, y, x = middle.astype(int)
    images = []
    x_mm, y_mm, z_mm = volume.spacing_mm
    for cut, row_mm, column_mm in (
        (volume.hu[z], y_mm, x_mm),
        (volume.hu[::-1, y], z_mm, x_mm),
        (volume.hu[::-1, :, x], z_mm, y_mm),
    ):
        rows, columns = cut.shape[0] * row_mm, cut.shape[1] * column_mm
        images.append(np.pad(_grey(cut, HEIGHT, round(HEIGHT * columns / rows)), ((0, 0), (0, 4)), constant_values=90))
    return np.concatenate(images, axis=1)


def _outside(stack: Stack) -> np.ndarray:
    x, y, z = stack.patch.outward
    azimuth, elevation = np.degrees([np.arctan2(x, -y), np.arcsin(z)])
    return rendered(stack.volume, azimuth_deg=float(azimuth) + 20, elevation_deg=float(elevation) - 15, size=HEIGHT)


def _rolled(stack: Stack, spacing_mm: float) -> np.ndarray:
    """Parallel to the surface in the outer table and in the middle, along a slice, and across all slices."""
    bone = stack.bone
    n, levels, m = bone.hu.shape
    depth_mm = np.arange(-2, max(15.0, float(bone.thickness_mm.max()) + 2), bone.step_mm)
    slices = bone.at_depths(depth_mm)
    deep, wide, long = (round(mm * ENLARGED) for mm in (np.ptp(depth_mm), m * bone.step_mm, n * spacing_mm))
    pictures = [
        *(_grey(bone.hu[:, level], long, wide) for level in (levels // 10, levels // 2)),
        _grey(slices[n // 2], deep, wide),
        _grey(slices[:, :, m // 2].T, deep, long),
    ]
    height = max(len(picture) for picture in pictures)
    padded = [np.pad(each, ((0, height - len(each)), (0, 4)), constant_values=90) for each in pictures]
    return np.concatenate(padded, axis=1)
