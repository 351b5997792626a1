"""Cutting planes through the vault, and the stretches of one bone on each that fill a segment.

The paper (arXiv 2308.00206, section on data) takes a slice every 3.1 mm in the axial, coronal and sagittal planes,
masks temporal and parietal bone and turns each piece to lie level. Here the place of a segment is found first, on the
outer edge of the vault, and the original values are sampled once, at that place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SkullGANLib.ct.anatomy import REGIONS, region_of
from SkullGANLib.prepare.skull import Skull

PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
SIDES = ("left", "right")
SIZE = 128
PIXEL_MM = 0.45
TOP_ROW = 10.5  # highest row of the outer edge, measured on the authors' figure
ARC_STEP_MM = 0.45
MIDLINE_MM = 2.0  # the sagittal suture and the sinus below it are neither left nor right
MIDDLE = 1


@dataclass(frozen=True, eq=False)
class Placement:
    """Where one segment lies.

    Attributes:
        plane: axial, coronal or sagittal, of the head frame.
        position_mm: signed distance of the plane from the origin of the head frame.
        region: temporal, parietal, frontal or occipital.
        side: left or right.
        rotation_deg: angle by which the piece was turned within its plane to lie level.
        obliquity_deg: mean angle between the plane and the surface normal; a cut at an angle makes bone look thick.
        region_share: part of the stretch that lies in the region and side named.
        corner_mm: (3,) head-frame position of the centre of pixel (0, 0).
        right: (3,) unit vector along a row, from column 0 on.
        down: (3,) unit vector along a column, from the outer surface inward.
    """

    plane: str
    position_mm: float
    region: str
    side: str
    rotation_deg: float
    obliquity_deg: float
    region_share: float
    corner_mm: np.ndarray
    right: np.ndarray
    down: np.ndarray

    def points(self, size: int = SIZE, pixel_mm: float = PIXEL_MM) -> np.ndarray:
        """(size, size, 3) float32 head-frame positions of the pixel centres."""
        steps = np.arange(size, dtype=np.float32) * np.float32(pixel_mm)
        across, inward = steps[None, :, None], steps[:, None, None]
        return (self.corner_mm + across * self.right + inward * self.down).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Contour:
    """The outer edge of the vault on one plane, evenly spaced along its arc, and what lies at each point."""

    plane: str
    position_mm: float
    points: np.ndarray  # (n, 3) head frame
    outward: np.ndarray  # (n, 3) unit normals of the surface
    label: np.ndarray  # (n,) region * 2 + side, MIDDLE near the mid-plane, 0 where there is no vault


def find_placements(
    skull: Skull,
    *,
    planes: tuple[str, ...] = tuple(PLANES),
    regions: tuple[str, ...] = ("temporal", "parietal"),
    interval_mm: float = 3.1,
    stride_mm: float = SIZE * PIXEL_MM,
    min_region_share: float = 0.8,
) -> list[Placement]:
    """Places of all segments on parallel planes through the vault.

    Args:
        skull: the vault and its frame.
        planes: names out of ``PLANES``.
        regions: names out of ``ct.anatomy.REGIONS``.
        interval_mm: distance between parallel planes.
        stride_mm: distance along the arc between segments of one bone on one plane; the default lets none overlap.
        min_region_share: least part of a stretch that must lie in the region and side it is named after.
    """
    wanted = {REGIONS.index(r) * 2 + s: (r, SIDES[s]) for r in regions for s in range(2)}
    found = []
    for plane in planes:
        reach = float(skull.frame.half_axes_mm[PLANES[plane]]) + 10
        count = int(reach / interval_mm)
        for position in np.arange(-count, count + 1) * interval_mm:
            contour = _contour(skull, plane, float(position))
            if contour is not None:
                found += _on_contour(contour, wanted, stride_mm, min_region_share)
    return found


def _axes(plane: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In-plane axes u, v and the normal n of a plane, in the head frame."""
    n = np.eye(3)[PLANES[plane]]
    u, v = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[plane]
    return np.eye(3)[u], np.eye(3)[v], n


def _contour(skull: Skull, plane: str, position_mm: float) -> _Contour | None:
    """Follow the outer edge on a plane by rays from the plane's own middle."""
    shell = skull.shell
    u, v, n = _axes(plane)
    angles = np.deg2rad(np.arange(0, 360, 1.0))
    rays = np.cos(angles)[:, None] * u + np.sin(angles)[:, None] * v
    radii = np.arange(1.0, 125.0, 2.0)
    samples = position_mm * n + radii[:, None] * rays[:, None, :]
    beyond = np.linalg.norm(samples, axis=-1) - shell.at(shell.outer_mm, samples)
    inside = beyond <= 0
    if inside[:, 0].mean() < 0.9:
        return None
    last = np.argmax(~inside, axis=1) - 1
    rows = np.arange(len(rays))
    here, there = beyond[rows, last], beyond[rows, np.minimum(last + 1, len(radii) - 1)]
    edge = radii[last] + (radii[1] - radii[0]) * np.clip(-here / np.maximum(there - here, 1e-6), 0, 1)
    points = position_mm * n + edge[:, None] * rays
    points[last < 0] = position_mm * n
    return _even(skull, plane, position_mm, points)


def _even(skull: Skull, plane: str, position_mm: float, points: np.ndarray) -> _Contour | None:
    """The closed polyline resampled at even arc steps, with normals and region labels."""
    ring = np.concatenate([points, points[:1]])
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))])
    if arc[-1] < 2 * SIZE * PIXEL_MM:
        return None
    at = np.arange(0, arc[-1], ARC_STEP_MM)
    even = np.stack([np.interp(at, arc, ring[:, k]) for k in range(3)], axis=1)
    shell = skull.shell
    normal = np.stack([shell.at(component, even) for component in np.moveaxis(shell.normals, -1, 0)], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    region = region_of(skull.frame.normalised(even)).astype(int)
    label = region * 2 + (even[:, 0] < 0)
    label[np.abs(even[:, 0]) < MIDLINE_MM] = MIDDLE
    label[(region == 0) | (shell.at(shell.covered, even) < 0.5)] = 0
    return _Contour(plane, position_mm, even, normal, label)


def _on_contour(
    contour: _Contour, wanted: dict[int, tuple[str, str]], stride_mm: float, min_share: float
) -> list[Placement]:
    """Spread segments over each run of places where one region and side fills enough of the stretch."""
    width = round(SIZE * PIXEL_MM / ARC_STEP_MM)
    n = len(contour.points)
    found = []
    for code, (region, side) in wanted.items():
        own = np.concatenate([contour.label == code] * 3).astype(float)
        covered = np.concatenate([contour.label > 0] * 3).astype(float)
        kernel = np.ones(width) / width
        share = np.convolve(own, kernel, "same")[n : 2 * n]
        whole = np.convolve(covered, kernel, "same")[n : 2 * n]
        good = (share >= min_share) & (whole > 0.999)
        for run in _runs(good):
            length = (len(run) - 1) * ARC_STEP_MM
            count = 1 + int(length / stride_mm)
            for k in range(count):
                middle = run[round((len(run) - 1) / 2 + (k - (count - 1) / 2) * stride_mm / ARC_STEP_MM)]
                place = _place(contour, int(middle), region, side, float(share[middle]))
                if place is not None:
                    found.append(place)
    return found


def _runs(good: np.ndarray) -> list[np.ndarray]:
    """Index runs of True on a ring."""
    if not good.any():
        return []
    if good.all():
        return [np.arange(len(good))]
    start = int(np.argmin(good))
    order = np.roll(np.arange(len(good)), -start)
    indices = order[good[order]]
    position = np.flatnonzero(good[order])
    return np.split(indices, np.flatnonzero(np.diff(position) > 1) + 1)


def _place(contour: _Contour, middle: int, region: str, side: str, share: float) -> Placement | None:
    """Lay a frame of pixels over the contour about ``middle``, level with the piece that it shows."""
    n = len(contour.points)
    half_mm = SIZE * PIXEL_MM / 2
    reach = round(1.6 * half_mm / ARC_STEP_MM)
    window = (middle + np.arange(-reach, reach + 1)) % n
    points, centre = contour.points[window], contour.points[middle]
    across = points[-1] - points[0]
    for _ in range(3):  # the tilt depends on which part shows, and that on the tilt
        across /= np.linalg.norm(across) + 1e-9
        along = (points - centre) @ across
        shown = np.abs(along) <= half_mm
        if along[shown].min() > -half_mm + PIXEL_MM or along[shown].max() < half_mm - PIXEL_MM:
            return None
        spread = points[shown] - points[shown].mean(0)
        _, _, axes = np.linalg.svd(spread, full_matrices=False)
        across = axes[0] * np.sign(axes[0] @ across)
    u, v, normal = _axes(contour.plane)
    outward = contour.outward[window[shown]]
    up = np.cross(across, normal)
    up *= np.sign(up @ outward.mean(0))
    height = (points[shown] - centre) @ up
    corner = centre - (half_mm - PIXEL_MM / 2) * across + (height.max() + TOP_ROW * PIXEL_MM) * up
    obliquity = np.rad2deg(np.arcsin(np.clip(np.abs(outward @ normal), 0, 1))).mean()
    rotation = np.rad2deg(np.arctan2(across @ v, across @ u))
    return Placement(
        contour.plane, contour.position_mm, region, side, float(rotation), float(obliquity), share, corner, across, -up
    )
