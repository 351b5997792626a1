"""Painting solids into a block of voxels with sub-voxel edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from SkullGANLib.ct.phantom_shell import ramp

SLACK_MM = 6.0  # points may lie this far from where ``to_index`` puts them

Point = tuple[float, float, float]


@dataclass
class Canvas:
    """A block of voxels and where they lie.

    Attributes:
        points: (3, ...) head-frame positions of the voxel centres, mm, float32.
        hu: (...) float32, changed in place.
        labels: (...) uint8, changed in place.
        to_index: (4, 4) from head-frame mm to array indices of ``hu``.
        voxel_mm: width over which edges are averaged.
        place: where the block lies in the canvas it was cut from.
    """

    points: np.ndarray
    hu: np.ndarray
    labels: np.ndarray
    to_index: np.ndarray
    voxel_mm: float
    place: tuple[slice, ...] = ()

    def within(self, low: np.ndarray, high: np.ndarray) -> Canvas | None:
        """The part of the canvas that holds the box from ``low`` to ``high`` (mm), as views; None if it holds none."""
        centre, half = (low + high) / 2, (high - low) / 2 + self.voxel_mm + SLACK_MM
        middle = self.to_index[:3, :3] @ centre + self.to_index[:3, 3]
        reach = np.abs(self.to_index[:3, :3]) @ half
        begin = np.maximum(np.floor(middle - reach), 0).astype(int)
        end = np.minimum(np.ceil(middle + reach) + 1, self.hu.shape).astype(int)
        if (end <= begin).any():
            return None
        block = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
        shifted = self.to_index.copy()
        shifted[:3, 3] -= begin
        points = self.points[(slice(None), *block)]
        return Canvas(points, self.hu[block], self.labels[block], shifted, self.voxel_mm, block)

    def paint(self, distance_mm: np.ndarray, hu: np.ndarray | float, label: int | None) -> None:
        """Fill where ``distance_mm`` is negative, mixing the voxels that the edge cuts."""
        self.hu += ramp(-distance_mm / np.float32(self.voxel_mm)) * (hu - self.hu)
        if label is not None:
            self.labels[distance_mm < 0] = label


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid along the axes of the head, or with its long axis turned by ``yaw_deg`` about the z axis."""

    centre: Point
    radii: Point
    yaw_deg: float = 0.0

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Opposite corners of a box around it, mm."""
        reach = np.full(3, max(self.radii)) if self.yaw_deg else np.array(self.radii)
        return np.array(self.centre) - reach, np.array(self.centre) + reach

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points (3, ...), negative inside; exact at the surface, close to it near by."""
        x, y, z = (p - np.float32(c) for p, c in zip(points, self.centre, strict=True))
        if self.yaw_deg:
            cosine, sine = np.float32(np.cos(np.radians(self.yaw_deg))), np.float32(np.sin(np.radians(self.yaw_deg)))
            x, y = cosine * x + sine * y, cosine * y - sine * x
        a, b, c = (np.float32(r) for r in self.radii)
        x, y, z = x / a, y / b, z / c
        size = np.sqrt(x * x + y * y + z * z)
        slope = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
        return size * (size - 1) / np.maximum(slope, np.float32(1e-4))


@dataclass(frozen=True)
class Tube:
    """A chain of rods through ``points`` whose radius changes from one to the next."""

    points: tuple[Point, ...]
    radii: tuple[float, ...]

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Opposite corners of a box around it, mm."""
        points, radii = np.array(self.points), np.array(self.radii)[:, None]
        return (points - radii).min(axis=0), (points + radii).max(axis=0)

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points (3, ...), negative inside."""
        best = None
        ends = np.array(self.points, np.float32)
        for a, b, ra, rb in zip(ends[:-1], ends[1:], self.radii[:-1], self.radii[1:], strict=True):
            along = b - a
            place = sum((points[k] - a[k]) * along[k] for k in range(3)) / np.float32(along @ along)
            place = np.clip(place, 0, 1)
            off = sum((points[k] - a[k] - place * along[k]) ** 2 for k in range(3))
            rod = np.sqrt(off) - (np.float32(ra) + place * np.float32(rb - ra))
            best = rod if best is None else smooth_union(best, rod, 2.0)
        return best


@dataclass(frozen=True)
class Slab:
    """A box with sides along the axes of the head."""

    centre: Point
    half: Point

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Opposite corners, mm."""
        return np.array(self.centre) - self.half, np.array(self.centre) + self.half

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points (3, ...), negative inside; a lower bound outside the corners."""
        x, y, z = (
            np.abs(p - np.float32(c)) - np.float32(h) for p, c, h in zip(points, self.centre, self.half, strict=True)
        )
        return np.maximum(np.maximum(x, y), z)


Shape = Ellipsoid | Tube | Slab
Material = Callable[[Canvas, np.ndarray], "np.ndarray | float"]


def mirrored(shape: Shape) -> Shape:
    """The same shape on the other side of the head."""

    def flip(p: Point) -> Point:
        return (-p[0], p[1], p[2])

    if isinstance(shape, Tube):
        return replace(shape, points=tuple(flip(p) for p in shape.points))
    if isinstance(shape, Ellipsoid):
        return replace(shape, centre=flip(shape.centre), yaw_deg=-shape.yaw_deg)
    return replace(shape, centre=flip(shape.centre))


def smooth_union(a: np.ndarray, b: np.ndarray, width_mm: float) -> np.ndarray:
    """Distance to the union of two solids with the crease filled over ``width_mm`` (polynomial smooth minimum)."""
    near = np.maximum(np.float32(width_mm) - np.abs(a - b), 0)
    return np.minimum(a, b) - near * near * np.float32(0.25 / width_mm)


def join(canvas: Canvas, distance: np.ndarray, shape: Shape, width_mm: float) -> None:
    """Add a solid to the distance field of others, in place, where it is near enough to matter."""
    low, high = shape.bounds()
    block = canvas.within(low - width_mm, high + width_mm)
    if block is not None:
        here = distance[block.place]
        here[...] = smooth_union(here, shape.distance(block.points), width_mm)
