"""Thickness, skull density ratio and HU of a calvarium all over its surface, real or generated.

Each direction from the middle of the head is one measurement along the normal of the outer surface. The skull density
ratio is that of segments (``evaluate.radiological``). The surfaces are where HU change most steeply, as in
``prepare.edges``: in the coarse voxels of generated volumes that place is nearer to the truth than half of the cortical
HU, and it is the same in tissue and in air.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, cKDTree

from SkullGANLib.ct.checks import require_finite, value_notes
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.radiological import BONE_THRESHOLD_HU, COLUMNS, measure_columns
from SkullGANLib.progress import Progress, report

BONE, HOLE, CUT = range(3)
STATES = ("bone", "hole", "cut")
"""Of a direction: measured; no bone there; bone that the volume's border cuts off or that has no end."""
STEP_DEG = (0.5, 10.0)
LOWEST_DEG = -25.0
WHOLE_HEAD_MM = 130.0  # a calvarium is up to 115 mm high
WHOLE_SHARE = 0.8
PIECE_SHARE = 0.02  # of the largest piece of bone; smaller ones are no skull
SAMPLE_MM = 0.2
OUTSIDE_MM, INSIDE_MM = 6.0, 28.0  # how far a profile reaches from the outer surface
GAP_MM = 6.0  # of diploe without bone that is still spanned, as in prepare.edges
DENT_MM = 12.0  # a surface that lies deeper than its surroundings belongs to something behind a hole
NEAR = 13  # directions that tell the normal, the one in the middle included
AROUND = 60
EDGE_MM = 1.5  # between the place of half of the cortical HU and the steepest place of an edge


@dataclass(frozen=True, eq=False)
class SurfaceMaps:
    """What was measured in each of n directions.

    Attributes:
        directions: (n, 3) unit vectors to the patient's left, back and up, along the axes of the volume.
        triangles: (m, 3) int, triples of directions that are neighbours, anticlockwise seen from outside.
        state: (n,) uint8 index into ``STATES``.
        points_mm: (n, 3) LPS mm, on the outer surface.
        normals: (n, 3) outward unit normals there, LPS.
        thickness_mm: (n,) along the normal, between the places where HU change most steeply.
        sdr: (n,) skull density ratio, the trough between the two cortical peaks over the higher one.
        mean_hu: (n,) HU between both surfaces.
        centre_mm: (3,) LPS mm, where the directions start.
        step_deg: between neighbouring directions.
        threshold_hu: what counts as bone.
        voxel_mm: (x, y, z) of the volume; SDR and thickness of coarse voxels are too high.
        notes: sentences a user should read.

    All measurements are nan where ``state`` is not bone.
    """

    directions: np.ndarray
    triangles: np.ndarray
    state: np.ndarray
    points_mm: np.ndarray
    normals: np.ndarray
    thickness_mm: np.ndarray
    sdr: np.ndarray
    mean_hu: np.ndarray
    centre_mm: np.ndarray
    step_deg: float
    threshold_hu: float
    voxel_mm: tuple[float, float, float]
    notes: tuple[str, ...] = ()

    @property
    def bone(self) -> np.ndarray:
        """(n,) bool; where bone was measured."""
        return self.state == BONE

    @property
    def azimuth_deg(self) -> np.ndarray:
        """(n,) 0 in front, 90 at the patient's left, 180 behind."""
        return np.rad2deg(np.arctan2(self.directions[:, 0], -self.directions[:, 1]))

    @property
    def elevation_deg(self) -> np.ndarray:
        """(n,) above the horizon; 90 at the vertex."""
        return np.rad2deg(np.arcsin(np.clip(self.directions[:, 2], -1, 1)))

    def values(self) -> dict[str, np.ndarray]:
        """The three maps by name."""
        return {"thickness_mm": self.thickness_mm, "sdr": self.sdr, "mean_hu": self.mean_hu}

    def summary(self) -> dict[str, Any]:
        """How many directions were measured, and ``median``, ``p5`` and ``p95`` of each map over these.

        ``bone_share`` is that of the directions in which the volume could show bone: with it or with a hole.
        """
        counts = {name: int((self.state == code).sum()) for code, name in enumerate(STATES)}
        figures = {}
        for name, values in self.values().items():
            levels = np.quantile(values[self.bone], (0.05, 0.5, 0.95))
            figures[name] = dict(zip(("p5", "median", "p95"), np.round(levels, 3).tolist(), strict=True))
        share = counts["bone"] / (counts["bone"] + counts["hole"])
        return {"directions": counts, "bone_share": round(share, 4), **figures}


def surface_maps(
    volume: Volume,
    *,
    step_deg: float = 2.0,
    threshold_hu: float = BONE_THRESHOLD_HU,
    progress: Progress | None = None,
) -> SurfaceMaps:
    """Measure a calvarium in evenly spread directions from its middle.

    A ray towards the middle finds the outer surface, its neighbours the normal there, and the profile of HU along the
    normal is measured: bone runs from its first to its last sample above the threshold, diploe of up to 6 mm between
    them included.

    Args:
        volume: CT of a calvarium in HU, as from ``prepare.calvarium.crop_calvarium``; any spacing. Its axes are taken
            for those of the head.
        step_deg: between neighbouring directions.
        threshold_hu: what counts as bone.
        progress: told the steps.

    Raises:
        InputError: no CT in HU, no bone, a whole head instead of its calvarium, or a senseless step.
    """
    if not STEP_DEG[0] <= step_deg <= STEP_DEG[1]:
        raise InputError(
            f"Directions {step_deg:g} degrees apart are no use.",
            f"Give a step from {STEP_DEG[0]:g} to {STEP_DEG[1]:g} degrees.",
        )
    require_finite(volume.hu)
    value_notes(volume.hu, known_ct="modality" in volume.acquisition)  # refuses what is no CT
    report(progress, 0, 3, "Mapping the calvarium")
    volume, bone = _skull_alone(volume, threshold_hu)
    axes = _head_axes(np.asarray(volume.direction))
    centre = _centre(volume, bone, axes)
    local, triangles = _directions(step_deg)
    outward = local @ axes.T
    report(progress, 1, 3, "Mapping the calvarium")
    surface, state = _outer_surface(volume, centre, outward, threshold_hu)
    if (state == BONE).sum() < NEAR:
        raise InputError(
            "No bone surrounds the middle of this volume.", "Give the CT of a calvarium: skullgan volume calvarium."
        )
    normals = _normals(surface, outward)
    report(progress, 2, 3, "Mapping the calvarium")
    depth, measured = _along_normals(volume, surface, normals, threshold_hu)
    state[(state == BONE) & ~np.isfinite(measured["thickness_mm"])] = CUT
    known = state == BONE
    if not known.any():
        raise InputError(
            "All bone in this volume is cut off by its border.", "Give a larger part of the skull, with a margin."
        )
    points = np.where(known[:, None], surface + normals * (OUTSIDE_MM - depth)[:, None], np.nan)
    report(progress, 3, 3, "Mapping the calvarium")
    share, notes = known.sum() / (known.sum() + (state == HOLE).sum()), volume.notes
    if share < WHOLE_SHARE:
        notes = (*notes, f"Only {share:.0%} of directions show bone: this is no whole calvarium.")
    return SurfaceMaps(
        directions=local,
        triangles=triangles,
        state=state,
        points_mm=points,
        normals=np.where(known[:, None], normals, np.nan),
        **{name: np.where(known, values, np.nan) for name, values in measured.items()},
        centre_mm=centre,
        step_deg=step_deg,
        threshold_hu=threshold_hu,
        voxel_mm=tuple(volume.spacing_mm),
        notes=notes,
    )


def _skull_alone(volume: Volume, threshold_hu: float) -> tuple[Volume, np.ndarray]:
    """The volume without loose pieces of bone, float32, and where its bone is."""
    bone = volume.hu >= threshold_hu
    labels, count = ndimage.label(bone, np.ones((3, 3, 3)))
    if not count:
        raise InputError(
            f"There is no bone in this volume: nothing has {threshold_hu:g} HU.", "Give a CT of a calvarium in HU."
        )
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = (sizes >= PIECE_SHARE * sizes.max())[labels]
    return volume.with_array(np.where(bone & ~kept, np.float32(0), volume.hu.astype(np.float32))), kept


def _head_axes(direction: np.ndarray) -> np.ndarray:
    """(3, 3) columns: the axes of the volume that run most to the patient's left, back and up, in LPS."""
    orders = itertools.permutations(range(3))
    axes = direction[:, max(orders, key=lambda order: np.abs(np.diag(direction[:, order])).prod())]
    return axes * np.sign(np.diag(axes))


def _centre(volume: Volume, bone: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The middle of the bone from side to side and front to back, as far below its top as that of a sphere would be."""
    edges = [np.flatnonzero(bone.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    corners = volume.zyx_to_lps(np.array([[edge[i] for edge, i in zip(edges, c, strict=True)] for c in _CORNERS]))
    low, high = (corners @ axes).min(axis=0), (corners @ axes).max(axis=0)
    breadth, length, height = high - low
    if height > WHOLE_HEAD_MM:
        raise InputError(
            f"The bone in this volume is {height:.0f} mm high, which is more than a calvarium.",
            "Crop the scan to its calvarium first: skullgan volume calvarium.",
        )
    middle = (low + high) / 2
    middle[2] = high[2] - min((breadth + length) / 4, height)
    return axes @ middle


_CORNERS = [(i, j, k) for i in (0, -1) for j in (0, -1) for k in (0, -1)]


def _directions(step_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """Directions of a Fibonacci spiral over the upper part of a sphere, each for an equal area, and their mesh."""
    count = round(4 * np.pi / np.deg2rad(step_deg) ** 2)
    k = np.arange(count)
    z, turn = 1 - (2 * k + 1) / count, k * np.pi * (3 - np.sqrt(5))
    sphere = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)
    upper = int(np.count_nonzero(z >= np.sin(np.deg2rad(LOWEST_DEG))))
    triangles = ConvexHull(sphere).simplices
    triangles = triangles[(triangles < upper).all(axis=1)]
    a, b, c = sphere[triangles].transpose(1, 0, 2)
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), a + b + c) < 0
    triangles[inward] = triangles[inward][:, ::-1]
    return sphere[:upper], triangles


def _sample(volume: Volume, points_mm: np.ndarray, order: int = 1) -> np.ndarray:
    """HU at LPS points (..., 3), float32, nan outside the volume; for order 3 the volume is one of coefficients."""
    index = np.moveaxis(volume.lps_to_zyx(points_mm), -1, 0)
    return ndimage.map_coordinates(volume.hu, index, order=order, cval=np.nan, prefilter=False)


def _outer_surface(
    volume: Volume, centre: np.ndarray, outward: np.ndarray, threshold_hu: float
) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) LPS points where rays from outside first meet bone, nan where they do not, and the state of each.

    Where the volume begins further in than bone around lies, what is missing is cut off, else there is a hole.
    """
    step = min(volume.spacing_mm) / 2
    corners = volume.zyx_to_lps(np.array(list(np.ndindex(2, 2, 2))) * (np.array(volume.shape) - 1))
    radii = np.arange(np.linalg.norm(corners - centre, axis=1).max(), 2 * step, -step)
    hu = np.stack([_sample(volume, centre + outward * radius) for radius in radii], axis=1)
    solid = hu >= threshold_hu
    met, at = solid.any(axis=1), np.maximum(solid.argmax(axis=1), 1)
    rays = np.arange(len(hu))
    inside, before = hu[rays, at], np.nan_to_num(hu[rays, at - 1], nan=0.0)
    share = np.clip((inside - threshold_hu) / np.maximum(inside - before, 1e-3), 0, 1)
    radius = np.where(met, radii[at] + share * step, np.nan)

    _, around = cKDTree(outward).query(outward, min(AROUND, len(outward)))
    anywhere = np.nanmedian(radius) if met.any() else np.inf
    usual = np.nanmedian(np.where(met[around].any(axis=1)[:, None], radius[around], anywhere), axis=1)
    radius[radius < usual - DENT_MM] = np.nan
    shown = np.isfinite(hu)
    begins = np.where(shown.any(axis=1), radii[shown.argmax(axis=1)], 0)
    state = np.where(np.isfinite(radius), BONE, np.where(begins > usual, HOLE, CUT)).astype(np.uint8)
    return centre + outward * radius[:, None], state


def _normals(points: np.ndarray, outward: np.ndarray) -> np.ndarray:
    """(n, 3) outward unit normals of the planes through neighbouring points."""
    normals = np.array(outward)
    known = np.flatnonzero(np.isfinite(points[:, 0]))
    _, near = cKDTree(points[known]).query(points[known], min(NEAR, len(known)))
    spread = points[known][near] - points[known][near].mean(axis=1, keepdims=True)
    _, axes = np.linalg.eigh(spread.transpose(0, 2, 1) @ spread)
    normal = axes[:, :, 0]
    normals[known] = normal * np.sign(np.sum(normal * outward[known], axis=1, keepdims=True))
    return normals


def _along_normals(
    volume: Volume, surface: np.ndarray, normals: np.ndarray, threshold_hu: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Depth of the outer surface on each profile, mm, and the measurements; nan where bone is not whole."""
    depth = np.arange(0, OUTSIDE_MM + INSIDE_MM, SAMPLE_MM)
    here = np.isfinite(surface[:, 0])
    start = np.where(here[:, None], surface, 0) + OUTSIDE_MM * normals
    spline = volume.with_array(ndimage.spline_filter(volume.hu, 3, output=np.float32, mode="mirror"))
    hu = np.stack([_sample(spline, start - mm * normals, 3) for mm in depth], axis=1)
    samples = np.arange(len(depth))
    solid = hu >= threshold_hu
    solid[:, depth < OUTSIDE_MM - volume.spacing_mm[0]] = False
    first = solid.argmax(axis=1)
    near = ndimage.maximum_filter1d(solid.astype(np.uint8), 2 * round(GAP_MM / SAMPLE_MM) + 1, axis=1) > 0
    beyond = ~near & (samples > first[:, None])
    stop = np.where(beyond.any(axis=1), beyond.argmax(axis=1), len(depth))
    solid &= samples < stop[:, None]
    last = len(depth) - 1 - solid[:, ::-1].argmax(axis=1)
    margin = round(max(volume.spacing_mm) / SAMPLE_MM)
    at_bone = (samples >= first[:, None] - margin) & (samples <= last[:, None] + margin)
    whole = here & solid.any(axis=1) & ~(np.isnan(hu) & at_bone).any(axis=1)

    # Other bone outside and behind is blanked, so that the definitions of segments see this one layer alone.
    alone = np.where(near & (samples < stop[:, None]) & (samples > first[:, None] - margin - 1), hu, np.minimum(hu, 0))
    alone = np.nan_to_num(alone)
    images = np.zeros((-(-len(hu) // COLUMNS) * COLUMNS, len(depth)), np.float32)
    images[: len(hu)] = alone
    found = measure_columns(
        images.reshape(-1, COLUMNS, len(depth)).transpose(0, 2, 1), SAMPLE_MM, threshold_hu=threshold_hu
    )
    outer, inner, sdr = (each.ravel()[: len(hu)] for each in (found.outer_row, found.inner_row, found.sdr))
    outer, inner = _steepest(np.nan_to_num(hu), outer, 1), _steepest(np.nan_to_num(hu), inner, -1)
    with np.errstate(invalid="ignore"):
        between = (samples >= outer[:, None]) & (samples <= inner[:, None])
        mean = np.where(between, alone, 0).sum(axis=1) / np.maximum(between.sum(axis=1), 1)
        thickness = np.where(whole & (inner > outer), (inner - outer) * SAMPLE_MM, np.nan)
    return outer * SAMPLE_MM, {"thickness_mm": thickness, "sdr": sdr, "mean_hu": mean}


def _steepest(hu: np.ndarray, near: np.ndarray, way: int) -> np.ndarray:
    """Sample near ``near`` (n,) at which each profile rises (``way`` 1) or falls (-1) most; nan where that is nan."""
    slope = way * np.diff(hu, axis=1)
    apart = np.abs(np.arange(slope.shape[1]) + 0.5 - near[:, None])
    k = np.where(apart <= EDGE_MM / SAMPLE_MM, slope, -np.inf).argmax(axis=1).clip(1, slope.shape[1] - 2)
    before, peak, after = (slope[np.arange(len(hu)), k + i] for i in (-1, 0, 1))
    vertex = np.clip(0.5 * (before - after) / np.minimum(before - 2 * peak + after, -1e-3), -0.5, 0.5)
    return np.where(np.isfinite(near), k + 0.5 + vertex, np.nan)
