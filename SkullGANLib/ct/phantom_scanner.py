"""What lies around the head and what the scanner adds: head holder and table, blur, noise, streaks of metal."""

from __future__ import annotations

import numpy as np

from SkullGANLib.ct.phantom_shell import ramp

HU_RANGE = (-1024, 3071)
CUP_RADIUS_MM = 104.0
CUP_WALL_MM = 4.5
PAD_MM = 6.0
NOISE_SIGMA_PIXELS = 0.65  # of the reconstruction kernel in the slice


def holder(x: np.ndarray, y: np.ndarray, back_mm: float, middle_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """HU and share of head holder and table at LPS x and y.

    A U-shaped cup (a light core between dense rims) with a foam pad on which the head rests, on a flat table.

    Args:
        x, y: LPS mm.
        back_mm: y of the hindmost point of the head.
        middle_mm: x of the middle of the holder.
    """
    x = x - np.float32(middle_mm)
    bottom = np.float32(back_mm + PAD_MM)
    centre = bottom - np.float32(CUP_RADIUS_MM)
    below = np.maximum(y - centre, 0)
    out = np.sqrt(x * x + below * below) - np.float32(CUP_RADIUS_MM)
    wall = np.abs(out - CUP_WALL_MM / 2) - np.float32(CUP_WALL_MM / 2)
    wall = np.maximum(wall, centre - 20 - y)
    core = ramp(-(wall + 1.1) / 0.8)
    pad = np.maximum(np.maximum(out, -out - 12), centre + 45 - y)
    table = np.abs(y - (bottom + CUP_WALL_MM + 22)) - 14
    table = np.maximum(table, np.abs(x) - 210)
    rim = ramp((1.5 + table) / 0.8)
    hu = np.where(wall < 0.5, 130 - 480 * core, np.where(pad < 0, -960, -930 + 950 * rim)).astype(np.float32)
    share = np.maximum(np.maximum(ramp(-wall / 0.8), ramp(-pad)), ramp(-table / 0.8))
    return hu, share.astype(np.float32)


def blur(hu: np.ndarray, sigma_voxels: tuple[float, float, float]) -> None:
    """Blur (slice, row, column) float32 in place by the scanner's point spread, a Gaussian; sigma as (x, y, z)."""
    import cv2
    from scipy.ndimage import gaussian_filter1d

    in_x, in_y, in_z = sigma_voxels
    if max(in_x, in_y) > 0.05:
        for image in hu:
            cv2.GaussianBlur(image, _odd(in_x, in_y), max(in_x, 1e-3), image, max(in_y, 1e-3), cv2.BORDER_REPLICATE)
    if in_z > 0.05:
        for rows in np.array_split(np.arange(hu.shape[1]), 8):
            part = hu[:, rows[0] : rows[-1] + 1] if len(rows) else hu[:, :0]
            part[...] = gaussian_filter1d(part, in_z, axis=0, mode="nearest", truncate=3.5)


def _odd(in_x: float, in_y: float) -> tuple[int, int]:
    return tuple(2 * int(np.ceil(3.5 * s)) + 1 for s in (in_x, in_y))


def noise(shape: tuple[int, int], seed: list[int]) -> np.ndarray:
    """Noise of one slice with standard deviation 1: white noise seen through the reconstruction kernel."""
    import cv2

    white = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    size = 2 * int(np.ceil(3.5 * NOISE_SIGMA_PIXELS)) + 1
    kernel = cv2.getGaussianKernel(size, NOISE_SIGMA_PIXELS)
    # A bone kernel lifts high frequencies: the smooth part counts for less than the rest.
    seen = cv2.GaussianBlur(white, (size, size), NOISE_SIGMA_PIXELS)
    seen -= np.float32(0.35) * cv2.GaussianBlur(white, (15, 15), 2.2)
    return seen / np.float32(float((kernel**2).sum()) * 0.93)


def streaks(
    shape: tuple[int, int, int], centre: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """HU of the streaks around a metal filling, in the plane of the slices.

    Args:
        shape: (slices, rows, columns) of the result.
        centre: array index of the filling.
        spacing_mm: (x, y, z).
        rng: chooses the directions of the streaks.
    """
    z, y, x = (
        ((np.arange(n) - c) * s).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, c, s) in enumerate(zip(shape, centre, spacing_mm[::-1], strict=True))
    )
    angle, distance = np.arctan2(y, x), np.hypot(x, y)
    rays = np.zeros_like(angle)
    for wave in range(1, 14):
        rays += np.float32(rng.normal(0, 1)) * np.cos(np.float32(2 * wave) * angle + np.float32(rng.uniform(0, 6.28)))
    return 5400 / (distance + 6) * np.clip(distance / 4, 0, 1) * rays * np.exp(-((z / 3) ** 2))
