"""The two edges of the bone along rays from the middle of the head, first coarsely, then to a fraction of a voxel.

An edge lies where the attenuation rises most steeply. Unlike half of the local peak, that place hardly moves when a
cortical table is thinner than the scanner's blur.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage

from SkullGANLib.ct.anatomy import vault_floor, vault_radius
from SkullGANLib.ct.volume import Volume
from SkullGANLib.prepare.cavity import BONE_HU, BONE_SHARE
from SkullGANLib.prepare.frame import HeadFrame
from SkullGANLib.prepare.shell import PolarGrid, Shell

OUTSIDE_HU = -3000.0  # stands for what the scan does not show
GAP_MM = 6.0  # diploe and porous bone below BONE_HU that still counts as bone when more bone follows inward
MAX_THICKNESS_MM = 22.0
MAX_LINING_MM = 25.0  # between the cavity, whose corners are rounded, and the bone around it
STEP_MM = 0.3
AROUND_MM, LOOK_OUT_MM, LOOK_IN_MM, SHOWN_MM = 4.5, 2.0, 1.5, 1.0
OUTER_STRAY_MM, INNER_STRAY_MM = 2.5, 3.0
BELOW_FLOOR = 0.12  # how far below the vault's floor, in half axes, the edges are still followed


def coarse_outer_edge(coarse: Volume, cavity: np.ndarray, frame: HeadFrame, grid: PolarGrid) -> np.ndarray:
    """Distance of the outer edge of the layer of bone around the cavity, good to 2 mm.

    Args:
        coarse: share of bone, from ``cavity.bone_share``.
        cavity: bool array of the same shape, from ``cavity.find_cavity``.
        frame: where the rays start and how they are turned.
        grid: the directions.

    Returns:
        (psi, phi) mm; 0 where a ray meets no bone after the cavity.
    """
    radii = np.arange(20.0, 135.0, 1.0)
    directions = grid.directions()
    points = directions[:, :, None, :] * radii[:, None]
    index = np.moveaxis(frame.to_index(coarse, points), -1, 0)
    share = ndimage.map_coordinates(coarse.hu, index, order=1)
    inside = ndimage.map_coordinates(cavity.astype(np.uint8), index, order=0) > 0
    last_inside = np.where(inside.any(-1), len(radii) - 1 - np.argmax(inside[..., ::-1], -1), 0)
    steps = np.arange(len(radii))
    bone = (share > BONE_SHARE) & (steps >= last_inside[..., None])
    # The layer around the cavity ends where no more bone follows within the gap.
    gap = int(GAP_MM)
    near = ndimage.maximum_filter1d(bone.astype(np.uint8), 2 * gap + 1, axis=-1) > 0
    start = np.where(bone.any(-1), np.argmax(bone, -1), len(radii))
    start = np.where(start - last_inside > MAX_LINING_MM, len(radii), start)
    broken = ~near & (steps > start[..., None])
    end = np.where(broken.any(-1), np.argmax(broken, -1), len(radii))
    layer = bone & (steps < end[..., None]) & (steps < start[..., None] + MAX_THICKNESS_MM)
    outer = np.where(layer.any(-1), len(radii) - 1 - np.argmax(layer[..., ::-1], -1), -1)
    return np.where(outer >= 0, radii[outer] + 0.5, 0.0) * inside.any(-1)


def vault_edges(volume: Volume, frame: HeadFrame, grid: PolarGrid, start: np.ndarray) -> Shell:
    """Both edges of the vault to a fraction of a voxel, from the original values along each ray.

    Args:
        volume: HU.
        frame: the head frame.
        grid: the directions.
        start: (psi, phi) mm, the outer edge to within 3 mm, 0 where there is none.
    """
    directions = grid.directions().astype(np.float32)
    mean = frame.normalised(directions * vault_radius(directions, frame.half_axes_mm)[..., None])
    wanted = (start > 0) & (mean[..., 2] > vault_floor(mean[..., 1]) - BELOW_FLOOR)
    rays = np.argwhere(wanted)
    outer, inner = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    offsets = np.arange(-MAX_THICKNESS_MM - 3, 7.0, STEP_MM, dtype=np.float32)

    def measure(part: np.ndarray) -> None:
        rows, columns = part.T
        radii = start[rows, columns][:, None].astype(np.float32) + offsets
        points = directions[rows, columns][:, None, :] * radii[..., None]
        index = np.moveaxis(frame.to_index(volume, points), -1, 0)
        hu = ndimage.map_coordinates(volume.hu, index, output=np.float32, order=1, cval=OUTSIDE_HU)
        outer[rows, columns], inner[rows, columns] = _steepest_edges(hu, radii, start[rows, columns])

    with ThreadPoolExecutor() as pool:
        list(pool.map(measure, np.array_split(rays, max(1, len(rays) // 4000))))
    return _smooth_shell(grid, outer, inner, wanted, vault_radius(directions, frame.half_axes_mm))


def _steepest_edges(hu: np.ndarray, radii: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outer and inner edge of the bone layer on rays.

    Args:
        hu: (rays, samples) from inside out, every ``STEP_MM``.
        radii: (rays, samples) mm.
        expected: (rays,) mm, the outer edge to within 3 mm.

    Returns:
        (rays,) mm each; 0 where there is no bone, the layer does not end, or the scan ends at it.
    """
    samples = np.arange(hu.shape[1])
    bone = (hu > BONE_HU) & (radii <= expected[:, None] + 3.0)
    last = hu.shape[1] - 1 - np.argmax(bone[:, ::-1], axis=1)
    near = ndimage.maximum_filter1d(bone.astype(np.uint8), 2 * _steps(GAP_MM) + 1, axis=1) > 0
    broken = ~near & (samples < last[:, None])
    stop = hu.shape[1] - 1 - np.argmax(broken[:, ::-1], axis=1)
    first = np.argmax(bone & (samples > stop[:, None]), axis=1)
    whole = bone.any(axis=1) & broken.any(axis=1)
    return tuple(np.where(whole, _steepest(hu, radii, at, way), 0.0) for at, way in ((last, 1), (first, -1)))


def _steepest(hu: np.ndarray, radii: np.ndarray, at: np.ndarray, outward: int) -> np.ndarray:
    """Where HU rises most steeply, going inward past sample ``at`` of each ray; 0 where that is not shown."""
    depth = np.arange(-_steps(AROUND_MM), _steps(LOOK_IN_MM) + 2)  # samples inward from ``at``
    columns = np.clip(at[:, None] - outward * depth, 0, hu.shape[1] - 1)
    values = np.take_along_axis(hu, columns, axis=1)
    rise = np.diff(values, axis=1)
    rise[:, : _steps(AROUND_MM) - _steps(LOOK_OUT_MM)] = 0
    rays = np.arange(len(hu))
    k = np.clip(np.argmax(rise, axis=1), 1, rise.shape[1] - 2)
    before, peak, after = (np.maximum(rise[rays, k + i], 0) for i in (-1, 0, 1))
    vertex = np.clip(0.5 * (before - after) / np.minimum(before - 2 * peak + after, -1e-3), -0.5, 0.5)
    shown = values[:, _steps(AROUND_MM) - _steps(SHOWN_MM)] > OUTSIDE_HU / 2
    edge = radii[rays, at] - outward * (depth[0] + k + 0.5 + vertex) * STEP_MM
    return np.where(shown & (peak > 0), edge, 0.0)


def _steps(mm: float) -> int:
    return max(1, round(mm / STEP_MM))


def _smooth_shell(
    grid: PolarGrid, outer: np.ndarray, inner: np.ndarray, wanted: np.ndarray, mean_outer: np.ndarray
) -> Shell:
    """Drop edges that stand out from their neighbourhood, fill small holes, take out the ripple of single rays.

    Beyond the vault the outer edge runs over into the mean vault, so that it stays one closed surface.
    """
    trusted = (inner > 0) & (outer > inner)
    for values, tolerance in ((outer, OUTER_STRAY_MM), (inner, INNER_STRAY_MM)):
        trusted &= np.abs(values - _fill(values, trusted, 6.0, mean_outer)) < tolerance
    covered = wanted & (_blur(trusted, 4.0) > 0.25)
    outer, inner = (_blur(np.where(trusted, v, _fill(v, trusted, 3.0, mean_outer)), 0.9) for v in (outer, inner))
    return Shell(grid, outer, inner, covered, trusted & covered)


def _fill(values: np.ndarray, known: np.ndarray, sigma: float, default: np.ndarray) -> np.ndarray:
    """Gaussian mean over the known neighbours of each direction; ``default`` far from all of them."""
    faint = 1e-3
    return (_blur(np.where(known, values, 0), sigma) + faint * default) / (_blur(known, sigma) + faint)


def _blur(values: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(values.astype(np.float32), sigma, mode=("wrap", "nearest"))
