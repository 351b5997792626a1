"""The phantom's skull as a shell: surface, thickness and tables as maps over directions, HU as a function of depth.

Depth is measured along the surface normal at the foot of each point, so that the ground truth is what a ruler held
square to the bone would read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from SkullGANLib.ct import anatomy
from SkullGANLib.ct.phantom_fields import (
    Noise3D,
    grid_directions,
    look_up,
    normals_of,
    pack,
    smooth_field,
)
from SkullGANLib.ct.phantom_parameters import PhantomParameters

THICKNESS_RANGE_MM = (2.2, 13.0)
TABLE_SHARE = (0.41, 0.36)  # most of the thickness that the outer and the inner table take
SQUEEZE_IN_DEPTH = 1.5  # marrow spaces are flatter across the shell than along it
EDGE_MM = 0.35  # tables grade into the diploe over this length
ROUGHNESS_MM = 0.25  # of the border between tables and diploe
INTERDIGITATION_MM = 1.3
BEVEL_MM = 5.0  # the squama overlaps the parietal bone
FAR_MM = 9.0  # distances to sutures and grooves are not followed further
# Branches of the middle meningeal artery on the inner table, in half axes.
MENINGEAL = (
    ((0.80, -0.25, -0.5), (0.95, -0.32, -0.15), (0.93, -0.28, 0.25), (0.80, -0.18, 0.58), (0.5, -0.1, 0.85)),
    ((0.95, -0.32, -0.15), (0.97, 0.05, 0.05), (0.90, 0.4, 0.25), (0.72, 0.6, 0.5)),
    ((0.93, -0.28, 0.25), (0.88, 0.12, 0.45), (0.7, 0.3, 0.68)),
)


@dataclass
class Depth:
    """Where points lie in the shell: depth below the outer surface (mm), foot on it, normal there; each as float32."""

    mm: np.ndarray
    foot: np.ndarray
    normal: np.ndarray

    def take(self, chosen: np.ndarray) -> Depth:
        """The points ``chosen`` of a list of points."""
        return Depth(self.mm[chosen], self.foot[:, chosen], self.normal[:, chosen])


class Foot(NamedTuple):
    """Values of the maps at the feet of points: lengths in mm, and factors of the HU of tables and diploe."""

    thickness_mm: np.ndarray
    outer_mm: np.ndarray
    inner_mm: np.ndarray
    suture_mm: np.ndarray
    suture_wave_mm: np.ndarray
    table_factor: np.ndarray
    diploe_factor: np.ndarray


class SkullShell:
    """Maps of one subject's skull.

    Args:
        seed: chooses the smooth variation and the texture.
        parameters: the subject.
    """

    def __init__(self, seed: int, parameters: PhantomParameters) -> None:
        self.parameters = p = parameters
        rng = np.random.default_rng([seed, 2])
        directions = grid_directions()
        self.fine = Noise3D(rng, p.texture_mm)
        radius = self._radius_map(rng, directions)
        self._surface = pack(radius, *np.moveaxis(normals_of(radius), -1, 0))
        points = radius[..., None] * directions
        thickness = self._thickness_map(rng, directions, points)
        tables = [
            _smooth_minimum(mm * (1 + 0.15 * smooth_field(rng, directions, 0.16)), share * thickness, 0.3)
            for mm, share in zip((p.outer_table_mm, p.inner_table_mm), TABLE_SHARE, strict=True)
        ]
        suture, nearest = self._distance(points, self._sutures())
        wave = 0.55 * self.fine.at(*np.moveaxis(points, -1, 0), scale=2.2)
        bevel = np.where(nearest == list(anatomy.sutures()).index("squamosal"), BEVEL_MM, 0)
        wave += 0.55 * self.fine.at(*np.moveaxis(points, -1, 0), scale=5.0)
        scalp = p.scalp_mm * (1 + 0.08 * smooth_field(rng, directions, 0.4))
        scalp = (
            scalp
            + 5.0 * anatomy.hill(directions, (1, -0.35, -0.3), 0.35)
            + 2.5 * anatomy.hill(directions, (0, 1, -0.6), 0.3)
        )
        self._scalp = pack(scalp)
        self._thickness = pack(thickness, *tables)
        tables_hu, diploe_hu = (1 + s * smooth_field(rng, directions, 0.25) for s in (0.03, 0.10))
        self._details = pack(suture - 0.4 * bevel, INTERDIGITATION_MM * wave + bevel, tables_hu, diploe_hu)

    def _radius_map(self, rng: np.random.Generator, directions: np.ndarray) -> np.ndarray:
        p = self.parameters
        radius = anatomy.vault_radius(directions, p.half_axes_mm)
        field = smooth_field(rng, directions, 0.55)
        mirrored = field[:, (-np.arange(720) + 360) % 720]  # longitude -> 180 degrees - longitude
        relief = p.bumps_mm * 0.7 * (field + mirrored) + p.asymmetry_mm * 0.7 * (field - mirrored)
        return radius + relief - _pose_part(relief, directions, np.array(p.half_axes_mm))

    def _thickness_map(self, rng: np.random.Generator, directions: np.ndarray, points: np.ndarray) -> np.ndarray:
        p = self.parameters
        share = 1 + p.thickness_variation * smooth_field(rng, directions, 0.35)
        share = share - p.temporal_thinning * anatomy.hill(directions, (1, -0.03, -0.3), 0.42)
        share = share + p.occipital_thickening * anatomy.hill(directions, (0, 1, -0.1), 0.4)
        share = share + 0.5 * p.occipital_thickening * anatomy.hill(directions, (0, 1, -0.3), 0.14)
        share = (
            share
            + 0.1 * anatomy.hill(directions, (0, -1, 0.6), 0.4)
            - 0.12 * anatomy.hill(directions, (0.5, 1, -0.75), 0.25)
        )
        parietal = self._region(points) == anatomy.PARIETAL
        weight = np.hypot(directions[..., 0], directions[..., 1])
        share = share / np.average(share[parietal], weights=weight[parietal])
        thickness = p.thickness_mm * share + 0.22 * self.fine.at(*np.moveaxis(points, -1, 0), scale=9.0)
        thickness = thickness + 5.0 * p.sinus_size * anatomy.hill(directions, (0, -1, 0.0), 0.16)
        # Grooves of the inner table: the superior sagittal sinus and the middle meningeal artery.
        sulcus = np.exp(-((points[..., 0] / 4.0) ** 2)) * _step(directions[..., 2], 0.15, 0.3)
        crest = np.exp(-((points[..., 0] / 2.0) ** 2)) * anatomy.hill(directions, (0, -1, 0.25), 0.2)
        thickness = thickness - 1.0 * sulcus + 2.5 * crest
        low, high = THICKNESS_RANGE_MM
        thickness = _smooth_minimum(thickness, high, 0.8)
        thickness = -_smooth_minimum(-thickness, -low, 0.5)
        for branch in MENINGEAL:
            groove, _ = self._distance(points, [_polyline(np.array(branch) * p.half_axes_mm)])
            thickness = thickness - np.minimum(0.9, 0.22 * thickness) * np.exp(-((groove / 1.2) ** 2))
        return thickness

    def _sutures(self) -> list[np.ndarray]:
        """Polylines (n, 3) in mm on the left side and in the middle."""
        axes = self.parameters.half_axes_mm
        lines = []
        for side_view in anatomy.sutures().values():
            y, z = side_view.T
            rest = 1 - np.abs(y) ** anatomy.ROUNDNESS - np.abs(z) ** anatomy.ROUNDNESS
            x = np.maximum(rest, 0) ** (1 / anatomy.ROUNDNESS)
            lines.append(_polyline(np.stack([x, y, z], axis=-1) * axes))
        bregma, lambda_ = lines[0][0] * (0, 1, 1), lines[1][0] * (0, 1, 1)
        arc = [bregma * (1 - s) + lambda_ * s for s in np.linspace(0, 1, 20)]
        lines.append(_polyline(np.array([a / np.linalg.norm(a) * 80 for a in arc])))
        return lines

    def _distance(self, points: np.ndarray, lines: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Signed distance in mm from lines on the surface and their mirror images to points (361, 720, 3).

        Returns:
            The distance, its sign the same on both sides of the head, ``FAR_MM`` where no line is near; and the index
            of the nearest line, -1 where none is near.
        """
        on_surface, across, index = [], [], []
        for number, line in enumerate(lines):
            for side in (1, -1) if np.abs(line[:, 0]).max() > 1 else (1,):
                here = line * (side, 1, 1)
                radius = look_up(*here.T.astype(np.float32), self._surface)[0]
                here = here / np.linalg.norm(here, axis=1, keepdims=True) * radius[:, None]
                on_surface.append(here)
                across.append(side * np.cross(np.gradient(here, axis=0), here))
                index.append(np.full(len(here), number))
        on_surface, across, index = (np.concatenate(v) for v in (on_surface, across, index))
        flat = points.reshape(-1, 3)
        distance, nearest = cKDTree(on_surface).query(flat, distance_upper_bound=FAR_MM)
        found = np.flatnonzero(nearest < len(on_surface))
        nearest = nearest[found]
        side = np.einsum("ij,ij->i", across[nearest], flat[found] - on_surface[nearest])
        signed, which = np.full(len(flat), FAR_MM), np.full(len(flat), -1)
        signed[found] = np.copysign(distance[found], side)
        which[found] = index[nearest]
        return signed.reshape(points.shape[:-1]), which.reshape(points.shape[:-1])

    def _region(self, points: np.ndarray) -> np.ndarray:
        return anatomy.region_of(points / self.parameters.half_axes_mm)

    def region(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Index into ``anatomy.REGIONS`` of the outer surface in the directions of points."""
        radius = look_up(x, y, z, self._surface)[0] / np.sqrt(x * x + y * y + z * z)
        return self._region(np.stack([x, y, z], axis=-1) * radius[..., None])

    def outer(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """(4, ...): distance of the outer surface from the origin (mm) and its unit normal, in given directions."""
        return look_up(x, y, z, self._surface)

    def outer_and_scalp(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """(5, ...): as ``outer``, and the thickness of the soft tissue over the bone, mm."""
        return look_up(x, y, z, self._surface, self._scalp)

    def layers(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """(3, ...): thickness of the bone, of its outer and of its inner table, mm."""
        return look_up(x, y, z, self._thickness)

    def at_foot(self, depth: Depth) -> Foot:
        """What the maps say where ``depth`` has its feet."""
        return Foot(*look_up(*depth.foot, self._thickness, self._details))

    def depth(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Depth:
        """Depth of points below the outer surface along its normal, good to some hundredths of a millimetre.

        One step of Newton's method: the foot of the first estimate corrects for the curvature.
        """
        point = np.stack([x, y, z]).astype(np.float32)
        mm, normal = self._first_depth(point)
        error, normal = self._first_depth(point + normal * mm)
        mm = mm + error
        return Depth(mm, point + normal * mm, normal)

    def _first_depth(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        surface = look_up(*point, self._surface)
        radius = np.sqrt((point**2).sum(axis=0))
        cosine = (surface[1:] * point).sum(axis=0) / radius
        return (surface[0] - radius) * cosine, surface[1:]

    def hu(self, depth: Depth, foot: Foot, voxel_mm: float) -> np.ndarray:
        """HU of bone at points inside the shell, before the scanner's blur and noise.

        Args:
            depth: from ``depth``.
            foot: from ``at_foot``.
            voxel_mm: width over which an edge is averaged.
        """
        p = self.parameters
        rough = np.float32(ROUGHNESS_MM) * self.fine.at(*depth.foot, scale=1.8)
        edge = np.float32(max(voxel_mm, EDGE_MM))
        outer = ramp((foot.outer_mm + rough - depth.mm) / edge)
        inner = np.minimum(ramp((depth.mm - foot.thickness_mm + foot.inner_mm - rough) / edge), 1 - outer)
        hu = (1 - outer - inner) * np.float32(p.diploe_hu) * foot.diploe_factor * self._texture(depth)
        hu += (outer * np.float32(p.outer_hu) + inner * np.float32(p.inner_hu)) * foot.table_factor
        hu *= 1 - self.suture(depth, foot)
        return hu + self.sinus(depth, foot) * (-1000 - hu)

    def suture(self, depth: Depth, foot: Foot) -> np.ndarray:
        """Share of bone that is missing in a suture, 0 to 0.85: winding outside, straight at the inner table."""
        if self.parameters.suture_mm == 0:
            return np.zeros_like(depth.mm)
        inward = np.clip(depth.mm / foot.thickness_mm, 0, 1)
        offset = foot.suture_mm + foot.suture_wave_mm * (1 - np.float32(0.8) * inward)
        offset /= np.float32(0.6 * self.parameters.suture_mm)
        return np.float32(0.85) * np.exp(-offset * offset)

    def sinus(self, depth: Depth, foot: Foot) -> np.ndarray:
        """Share of air of the frontal sinus, between the tables above the root of the nose."""
        size = self.parameters.sinus_size
        if size == 0:
            return np.zeros_like(depth.mm)
        x, y, z = depth.foot
        # Two lobes and a septum between them.
        across, up = (np.abs(x - 1.5) - 8 * size) / (7.5 * size), (z + 2 - 0.3 * np.abs(x)) / (14 * size)
        half = np.maximum(foot.thickness_mm / 2 - 1.5, 0.1)
        lobe = np.sqrt(across**2 + up**2 + ((depth.mm - foot.thickness_mm / 2) / half) ** 4) - 1
        return np.where(y < -40, ramp(-lobe * half / np.float32(0.6)), 0)

    def _texture(self, depth: Depth) -> np.ndarray:
        """Cancellous bone against its mean: marrow spaces, patches some millimetres wide, venous channels."""
        p = self.parameters
        place = depth.foot - np.float32(SQUEEZE_IN_DEPTH) * depth.mm * depth.normal
        pores = self.fine.at(*place)
        patches = self.fine.at(*place, scale=3.2)
        channel = self.fine.at(*depth.foot, scale=7.0)
        texture = 1 + np.float32(p.texture_contrast) * (np.float32(0.8) * np.tanh(pores) + np.float32(0.5) * patches)
        texture -= np.float32(0.9 * p.texture_contrast) * np.exp(-((channel / np.float32(0.16)) ** 2))
        return np.maximum(texture, np.float32(0.12))


def _pose_part(relief: np.ndarray, directions: np.ndarray, half_axes_mm: np.ndarray) -> np.ndarray:
    """The part of a relief that another pose or size of the mean vault would show as well.

    Without it the head frame would not be that of the head's own shape, and there would be no true pose to find.
    """
    small = 1e-3
    mean = anatomy.vault_radius(directions, half_axes_mm)
    normal = normals_of(mean)
    modes = list(np.moveaxis(normal / np.sum(normal * directions, axis=-1, keepdims=True), -1, 0))
    for axis in np.eye(3):
        turned = directions + small * np.cross(axis, directions)
        modes.append((anatomy.vault_radius(turned, half_axes_mm) - mean) / small)
        modes.append((anatomy.vault_radius(directions, half_axes_mm * (1 + small * axis)) - mean) / small)
    modes = np.stack(modes, axis=-1)
    weight = np.sqrt(np.hypot(directions[..., 0], directions[..., 1])) * (directions[..., 2] > -0.4)
    some = (slice(None, None, 6), slice(None, None, 6))
    matrix, target = (modes * weight[..., None])[some].reshape(-1, 9), (relief * weight)[some].ravel()
    return modes @ np.linalg.lstsq(matrix, target, rcond=None)[0]


def ramp(value: np.ndarray) -> np.ndarray:
    """Share of a voxel that lies inside an edge ``value`` voxels away."""
    return np.clip(value + np.float32(0.5), 0, 1)


def _smooth_minimum(a: np.ndarray, b: np.ndarray | float, width: float) -> np.ndarray:
    return 0.5 * (a + b - np.sqrt((a - b) ** 2 + width**2))


def _step(value: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _polyline(points: np.ndarray) -> np.ndarray:
    """A smooth line through points (n, 3), sampled every 0.3 mm or so."""
    from scipy.interpolate import PchipInterpolator

    chord = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return PchipInterpolator(chord, points)(np.arange(0, chord[-1], 0.3))
