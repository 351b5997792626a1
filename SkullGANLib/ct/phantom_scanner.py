"""How phantoms are scanned, and what lies around the head: head holder and table, blur, noise, streaks of metal."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from SkullGANLib.ct.phantom_shell import ramp
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress, report

THREADS = 2

HU_RANGE = (-1024, 3071)
CUP_RADIUS_MM = 104.0
CUP_WALL_MM = 4.5
PAD_MM = 6.0
NOISE_SIGMA_PIXELS = 0.65  # of the reconstruction kernel in the slice


class Painter(Protocol):
    """What paints slices of a phantom, several at the same time."""

    def paint(self, hu: np.ndarray, labels: np.ndarray, first: int, last: int) -> None:
        """Fill slices ``first`` to ``last`` of (slice, row, column) HU and labels."""


def check_scan(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], blur_mm: float, noise_hu: float
) -> None:
    """Refuse what no scan has.

    Raises:
        InputError: an impossible shape, spacing, blur or noise.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"A volume of {shape} voxels is empty.", "Give three positive numbers: slices, rows, columns.")
    if len(spacing_mm) != 3 or not all(0.1 <= s <= 10 for s in spacing_mm):
        raise InputError(f"The spacing {spacing_mm} mm is no scanner's.", "Give x, y and z from 0.1 to 10 mm.")
    if not (0 <= blur_mm <= 5 and 0 <= noise_hu <= 1000):
        raise InputError("Blur or noise is out of range.", "Give a blur of 0 to 5 mm and a noise of 0 to 1000 HU.")


def scanned(
    painter: Painter,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    *,
    blur_mm: float,
    noise_hu: float,
    seed: list[int],
    slices_at_once: int,
    message: str,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Paint a phantom, blur it and add noise.

    Args:
        painter: of the phantom.
        shape: (slices, rows, columns).
        spacing_mm: (x, y, z).
        blur_mm: sigma of the point spread, mm.
        noise_hu: standard deviation of the noise.
        seed: of the noise, to which the number of the slice is appended.
        slices_at_once: in a block.
        message: that goes with the progress.
        progress: told after each block.

    Returns:
        int16 HU and uint8 labels.

    Raises:
        Cancelled: ``progress`` asked to stop.
    """
    hu, labels = np.empty(shape, np.float32), np.empty(shape, np.uint8)
    starts = range(0, shape[0], slices_at_once)
    with ThreadPoolExecutor(THREADS) as pool:
        tasks = [pool.submit(painter.paint, hu, labels, k, min(k + slices_at_once, shape[0])) for k in starts]
        try:
            for done, task in enumerate(tasks):
                report(progress, done, len(tasks), message)
                task.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    blur(hu, tuple(blur_mm / s for s in spacing_mm))
    volume = np.empty(shape, np.int16)
    for k, image in enumerate(hu):
        if noise_hu > 0:
            image += np.float32(noise_hu) * noise(image.shape, [*seed, k])
        volume[k] = np.rint(np.clip(image, *HU_RANGE))
    report(progress, len(tasks), len(tasks), message)
    return volume, labels


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
