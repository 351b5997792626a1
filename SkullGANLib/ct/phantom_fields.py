"""Fields the head phantom is drawn from: maps over all directions, smooth random variation, the texture of bone.

Everything is a function of the position in the head frame, so that each pose, spacing and tilt shows one anatomy.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

STEP_DEG = 0.5
NOISE_SIZE = 128
NOISE_SIGMA = 2.2  # voxels; linear interpolation then stays smooth


def grid_directions() -> np.ndarray:
    """Unit vectors of the latitude-longitude grid, (361, 720, 3): latitude -90 to 90, longitude from -180 degrees."""
    latitude = np.radians(np.arange(-90, 90 + STEP_DEG / 2, STEP_DEG))[:, None]
    longitude = np.radians(np.arange(-180, 180, STEP_DEG))[None]
    flat = np.cos(latitude)
    return np.stack(
        [flat * np.cos(longitude), flat * np.sin(longitude), np.broadcast_to(np.sin(latitude), (361, 720))], axis=-1
    )


def pack(*maps: np.ndarray) -> np.ndarray:
    """Up to four (361, 720) maps as one float32 array ready for ``look_up``, with the seam closed."""
    packed = np.stack(maps, axis=-1).astype(np.float32)
    return np.ascontiguousarray(np.concatenate([packed, packed[:, :1]], axis=1))


def look_up(x: np.ndarray, y: np.ndarray, z: np.ndarray, *packed: np.ndarray) -> np.ndarray:
    """Bilinear values of packed maps in the directions of points.

    Args:
        x, y, z: equally shaped coordinates in the head frame; their length does not matter.
        packed: each (361, 721, C) from ``pack``, C up to 4.

    Returns:
        (sum of C, ...) float32.
    """
    import cv2

    shape, size = x.shape, x.size
    per_radian = np.float32(180 / np.pi / STEP_DEG)
    column = (np.arctan2(y, x) + np.float32(np.pi)) * per_radian
    row = (np.arctan2(z, np.sqrt(x * x + y * y)) + np.float32(np.pi / 2)) * per_radian
    # cv2.remap takes no image side of 32768 or more.
    column, row = (np.pad(v.astype(np.float32).ravel(), (0, -size % 4096)).reshape(-1, 4096) for v in (column, row))
    values = np.empty((sum(p.shape[2] for p in packed), column.size), np.float32)
    for begin in range(0, len(column), 30000):
        part = slice(begin, begin + 30000)
        first = 0
        for maps in packed:
            here = cv2.remap(maps, column[part], row[part], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            count = maps.shape[2]
            values[first : first + count, begin * 4096 : begin * 4096 + here.size // count] = here.reshape(-1, count).T
            first += count
    return values[:, :size].reshape(len(values), *shape)


def normals_of(radius: np.ndarray) -> np.ndarray:
    """Outward unit normals (361, 720, 3) of the surface r = radius(direction)."""
    directions = grid_directions()
    step = np.radians(STEP_DEG)
    by_latitude = np.gradient(radius, step, axis=0)
    by_longitude = (np.roll(radius, -1, axis=1) - np.roll(radius, 1, axis=1)) / (2 * step)
    flat = np.maximum(np.hypot(directions[..., 0], directions[..., 1]), 1e-9)
    east = np.stack([-directions[..., 1] / flat, directions[..., 0] / flat, np.zeros_like(flat)], axis=-1)
    north = np.cross(directions, east)
    # The gradient of r - R(direction) is direction - (surface gradient of R) / R.
    normal = directions - (by_latitude[..., None] * north + (by_longitude / flat)[..., None] * east) / radius[..., None]
    for pole, next_to_it in ((0, 1), (-1, -2)):
        normal[pole] = normal[next_to_it].mean(axis=0)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def smooth_field(rng: np.random.Generator, directions: np.ndarray, length: float, waves: int = 32) -> np.ndarray:
    """A stationary Gaussian field on the unit sphere by random Fourier features (Rahimi and Recht, 2007).

    Args:
        rng: source of the waves.
        directions: (..., 3) unit vectors.
        length: correlation length as a share of the radius.
        waves: number of cosines.

    Returns:
        (...) values with mean near 0 and standard deviation near 1.
    """
    frequency = rng.standard_normal((3, waves)).astype(np.float32) / np.float32(length)
    phase = rng.uniform(0, 2 * np.pi, waves).astype(np.float32)
    return np.sqrt(2 / waves) * np.cos(directions.astype(np.float32) @ frequency + phase).sum(axis=-1)


class Noise3D:
    """A periodic Gaussian noise with a correlation length, looked up at any point.

    Args:
        rng: source of the noise.
        correlation_mm: distance at which the autocorrelation has fallen to 1/e.
    """

    def __init__(self, rng: np.random.Generator, correlation_mm: float) -> None:
        noise = rng.standard_normal((NOISE_SIZE,) * 3, dtype=np.float32)
        noise = ndimage.gaussian_filter(noise, NOISE_SIGMA, mode="wrap", truncate=3)
        self.values = (noise - noise.mean()) / noise.std()
        # A Gaussian kernel of sigma s gives an autocorrelation exp(-r^2 / 4 s^2).
        self.voxel_mm = correlation_mm / (2 * NOISE_SIGMA)

    def at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """Values at points in mm; ``scale`` stretches the correlation length."""
        factor = np.float32(1 / (self.voxel_mm * scale))
        # Fixed turning: the lattice of the noise never runs along the axes of the head.
        turned = [0.8 * x - 0.6 * y, 0.48 * x + 0.64 * y - 0.6 * z, 0.36 * x + 0.48 * y + 0.8 * z]
        points = np.stack([np.ravel(t) for t in turned]).astype(np.float32) * factor
        values = ndimage.map_coordinates(self.values, points, order=1, mode="grid-wrap")
        return values.reshape(np.shape(x))
