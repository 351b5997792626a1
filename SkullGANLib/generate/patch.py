"""Slices placed on the outer surface of a head: where each voxel of a volume lies on it, and below it.

Neighbouring segments agree in what lies how deep below which place of the outer surface, not in curvature and tilt,
which every segment has of its own: each is rolled out along its outer surface first (``generate.unroll``) and then bent
onto the head's. So the outer surface of the bone is that of the head, and no step in it betrays a slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from SkullGANLib.ct.anatomy import REGIONS, region_of, vault_radius
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.generate.unroll import Unrolled
from SkullGANLib.prepare.cut import SIZE, TOP_ROW
from SkullGANLib.progress import Progress, report

Radius = Callable[[np.ndarray], np.ndarray]
"""Distance in mm of a surface from the origin of the head frame, in directions (..., 3) of length 1."""

FARTHEST_DEG = 80.0  # of the first and last slice from the middle one
GRID_DEG = 0.5
MARGIN_MM = 3.0
STEPS_TO_FOOT = 3
OBLIQUE = 1.5  # longest way through a layer along a ray from the middle of the head, of its thickness
DIRECTIONS = 20_000  # that the middle of a bone is found from


@dataclass(frozen=True, eq=False)
class Patch:
    """Part of a head's surface, with slices that stand on it: radial planes that share an axis through the head.

    Attributes:
        radius: the surface.
        outward: (3,) direction of the middle of the patch, seen from the middle of the head.
        along: (3,) at right angles to that, from one slice to the next.
        theta, phi: angles of the grid, of the planes and within a plane.
        surface: (theta, phi, 3) float32 points of it, head frame, mm.
        normals: (theta, phi, 3) float32, outward.
        along_mm: (theta,) arc length over the middles of the slices.
        across_mm: (theta, phi) float32 arc length within the plane.
    """

    radius: Radius
    outward: np.ndarray
    along: np.ndarray
    theta: np.ndarray
    phi: np.ndarray
    surface: np.ndarray
    normals: np.ndarray
    along_mm: np.ndarray
    across_mm: np.ndarray

    @property
    def across(self) -> np.ndarray:
        """(3,) direction in which the columns of a segment run; outward, across and along are right-handed."""
        return np.cross(self.along, self.outward)

    @classmethod
    def around(cls, radius: Radius, outward: np.ndarray, along: np.ndarray, size_mm: tuple[float, float]) -> Patch:
        """The patch of a size (along, across) about the middle ``outward``.

        Raises:
            InputError: it would reach round the head.
        """
        outward = outward / np.linalg.norm(outward)
        along = along - (along @ outward) * outward
        along /= np.linalg.norm(along)
        middle_mm = float(radius(outward[None])[0])
        reaches = [np.rad2deg(mm / 2 / (0.85 * middle_mm)) for mm in size_mm]
        if max(reaches) > FARTHEST_DEG:
            raise InputError(
                f"A patch of {size_mm[0]:.0f} x {size_mm[1]:.0f} mm reaches round the head.",
                "Ask for fewer slices, a smaller spacing, or the layout flat.",
            )
        theta, phi = (
            np.deg2rad(np.arange(-n, n + 1) * GRID_DEG) for n in (math.ceil(r / GRID_DEG) + 4 for r in reaches)
        )
        patch = cls(radius, outward, along, theta, phi, *[np.empty(0)] * 4)
        directions = patch.directions(*np.meshgrid(theta, phi, indexing="ij"))
        surface = directions * radius(directions)[..., None]
        normals = np.cross(np.gradient(surface, axis=0), np.gradient(surface, axis=1))
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        normals *= np.sign((normals * directions).sum(-1, keepdims=True))
        arcs = _arc(surface[:, len(phi) // 2], len(theta) // 2), _arc(np.swapaxes(surface, 0, 1), len(phi) // 2).T
        parts = (surface.astype(np.float32), normals.astype(np.float32), arcs[0], arcs[1].astype(np.float32))
        return cls(radius, outward, along, theta, phi, *parts)

    def directions(self, theta: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """(..., 3) unit vectors at angles of the patch."""
        theta, phi = theta[..., None], phi[..., None]
        return np.cos(phi) * (np.cos(theta) * self.outward + np.sin(theta) * self.along) + np.sin(phi) * self.across

    def middles(self, along_mm: np.ndarray) -> np.ndarray:
        """(n, 3) unit vectors to the middles of slices."""
        theta = np.interp(along_mm, self.along_mm, self.theta)
        return self.directions(theta, np.zeros_like(theta))

    def below(self, points: np.ndarray) -> np.ndarray:
        """(n,) mm from head-frame points to the surface along the ray from the middle of the head, negative outside."""
        surface = self._at(self.surface, self._place(points))
        return np.linalg.norm(surface, axis=1) - np.linalg.norm(points, axis=1)

    def coordinates(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance along, distance across and depth below the surface, mm, of head-frame points (n, 3).

        The foot of a point is where the normal of the surface runs through it.
        """
        foot = points = np.asarray(points, np.float32)
        for _ in range(STEPS_TO_FOOT):
            place = self._place(foot)
            surface, normal = (self._at(values, place) for values in (self.surface, self.normals))
            depth = ((surface - points) * normal).sum(-1)
            foot = points + depth[:, None] * normal
        place = self._place(foot)
        along = np.interp(place[0], np.arange(len(self.theta)), self.along_mm)
        return along, self._at(self.across_mm[..., None], place)[:, 0], depth

    def _place(self, points: np.ndarray) -> np.ndarray:
        """(2, n) row and column of the grid."""
        x, y, z = (points @ axis.astype(np.float32) for axis in (self.outward, self.along, self.across))
        theta, phi = np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))
        return np.stack([(a - grid[0]) / (grid[1] - grid[0]) for a, grid in ((theta, self.theta), (phi, self.phi))])

    @staticmethod
    def _at(values: np.ndarray, place: np.ndarray) -> np.ndarray:
        parts = [map_coordinates(part, place, order=1, mode="nearest") for part in np.moveaxis(values, -1, 0)]
        return np.stack(parts, axis=-1)


def curved_volume(
    bone: Unrolled, spacing_mm: float, patch: Patch, outside_hu: float = 0.0, *, progress: Progress | None = None
) -> Volume:
    """Slices bent onto a surface: each voxel looks up its slice, its place on the surface and its depth.

    Args:
        bone: the slices, in their order along the patch.
        spacing_mm: between them.
        patch: to lay them on.
        outside_hu: beyond the outer surface.
        progress: told the slices of the volume.

    Returns:
        Float32 HU with cubic voxels of the size of a pixel, axes along those of the head.
    """
    n, levels, m = bone.hu.shape
    pixel, half_mm = bone.pixel_mm, (m - 1) / 2 * bone.step_mm
    deepest = float(bone.thickness_mm.max()) + MARGIN_MM
    reach = (n - 1) / 2 * spacing_mm
    shown = (np.abs(patch.along_mm) <= reach + MARGIN_MM)[:, None] & (np.abs(patch.across_mm) <= half_mm + MARGIN_MM)
    ends = np.concatenate([(patch.surface - depth * patch.normals)[shown] for depth in (-MARGIN_MM, deepest)])
    first, last = np.floor(ends.min(0) / pixel) * pixel, ends.max(0)
    axes = [np.arange(int((b - a) / pixel) + 1) * pixel + a for a, b in zip(first, last, strict=True)]
    hu = np.zeros([len(axis) for axis in axes[::-1]], np.float32)
    y, x = np.meshgrid(axes[1], axes[0], indexing="ij")
    for k, z in enumerate(axes[2]):
        report(progress, k, len(hu), "Placing slices")
        points = np.stack([x.ravel(), y.ravel(), np.full(x.size, z)], axis=1).astype(np.float32)
        below = patch.below(points)
        row = np.where(below < 0, outside_hu, 0).astype(np.float32)
        some = np.flatnonzero((below > -2 * pixel) & (below < OBLIQUE * deepest))
        along, across, depth = patch.coordinates(points[some])
        at = np.stack([along / spacing_mm + (n - 1) / 2, (across + half_mm) / bone.step_mm])
        thickness = map_coordinates(bone.thickness_mm, at, order=1, mode="nearest")
        level = np.clip(depth / np.maximum(thickness, 1e-3), 0, 1) * (levels - 1)
        value = map_coordinates(bone.hu, [at[0], level, at[1]], order=1, mode="nearest")
        beyond = np.maximum(np.abs(along) - reach - spacing_mm / 2, np.abs(across) - half_mm - bone.step_mm / 2)
        share = bone.cover(depth, thickness) * np.clip(0.5 - beyond / pixel, 0, 1)
        row[some] = value * share + outside_hu * np.clip(0.5 - depth / pixel, 0, 1)
        hu[k] = row.reshape(x.shape)
    report(progress, len(hu), len(hu), "Placing slices")
    return Volume(hu, (pixel,) * 3, tuple(first.tolist()))


def flat_volume(hu: np.ndarray, pixel_mm: float, spacing_mm: float, patch: Patch, outside_hu: float = 0.0) -> Volume:
    """The images as drawn (n, size, size) side by side, on the plane that touches the middle of a patch."""
    n, size, _ = hu.shape
    hu = hu.copy()
    hu[np.cumsum(hu != 0, axis=1) == 0] = outside_hu
    direction = np.stack([patch.across, -patch.outward, patch.along], axis=1)
    volume = Volume(hu, (pixel_mm, pixel_mm, spacing_mm), (0.0, 0.0, 0.0), direction)
    top = patch.outward * float(patch.radius(patch.outward[None])[0])
    origin = top - volume.zyx_to_lps(np.array([(n - 1) / 2, TOP_ROW * size / SIZE, (size - 1) / 2]))
    return Volume(hu, volume.spacing_mm, tuple(origin.tolist()), direction)


def middle_of(region: str, side: str, half_axes_mm: np.ndarray) -> np.ndarray:
    """(3,) unit vector from the middle of a head to the middle of one of its bones."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((DIRECTIONS, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points = directions * vault_radius(directions, half_axes_mm)[:, None] / half_axes_mm
    inside = (region_of(points) == REGIONS.index(region)) & ((points[:, 0] >= 0) == (side == "left"))
    middle = directions[inside].mean(0)
    return middle / np.linalg.norm(middle)


def _arc(points: np.ndarray, middle: int) -> np.ndarray:
    """Arc length along the first axis of points (n, ..., 3), 0 at ``middle``."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    arc = np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps, axis=0)])
    return arc - arc[middle]
