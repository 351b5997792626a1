"""Finding the skull vault in a head CT: where the head is, how it lies, and the two edges of the bone.

Table, head holder, pillow, clothes and inserts never enter because the vault is looked for from inside the head: the
cavity is what bone encloses, the bone is the layer around it, and its edges lie where the attenuation has fallen half
way from the local cortical peak to what is beyond.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SkullGANLib.ct.anatomy import vault_floor, vault_radius
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.prepare.frame import MAX_TURN_DEG, HeadFrame, fit_head_frame, rigid
from SkullGANLib.prepare.shell import PolarGrid, Shell
from SkullGANLib.progress import Progress, report

BONE_HU = 300.0
COARSE_MM = 2.0
BONE_SHARE = 0.3
OUTSIDE_HU = -3000.0  # stands for what the scan does not show
GAP_MM = 6.0  # diploe and porous bone below BONE_HU that still counts as bone when more bone follows inward
MAX_THICKNESS_MM = 22.0
ENCLOSED_OF_18 = 13
REACH_MM = 170.0
CAVITY_ML = (250.0, 2600.0)
FINE_STEP_MM = 0.3
OUTER_STRAY_MM, INNER_STRAY_MM = 2.5, 3.0
BELOW_FLOOR = 0.12  # how far below the vault's floor, in half axes, the edges are still followed


@dataclass(frozen=True, eq=False)
class Skull:
    """The vault of one head: its frame, its two edges, and what a user should know about how it was found."""

    frame: HeadFrame
    shell: Shell
    notes: tuple[str, ...] = ()


def find_skull(
    volume: Volume,
    *,
    mask: np.ndarray | None = None,
    head_to_lps: np.ndarray | None = None,
    progress: Progress | None = None,
) -> Skull:
    """Find the vault in a head CT.

    Args:
        volume: HU, any spacing and orientation.
        mask: (slice, row, column) bool; the skull as the user sees it, in place of the automatic edges.
        head_to_lps: (4, 4) rigid head frame, in place of the automatic one; its origin lies midway between glabella
            and opisthocranion.
        progress: told the steps.

    Raises:
        InputError: no closed skull vault in the volume, or a mask of another shape or without voxels.
    """
    if mask is not None:
        volume = _as_bone(volume, mask)
    report(progress, 0, 4, "Finding the skull")
    coarse = _coarse(volume)
    bone = coarse.hu > BONE_SHARE
    cavity = _cavity(bone, coarse)
    report(progress, 1, 4, "Finding the skull")
    frame, notes = _frame(coarse, cavity, head_to_lps)
    report(progress, 2, 4, "Finding the skull")
    grid = PolarGrid()
    start = _coarse_outer(coarse, cavity, frame, PolarGrid(2 * grid.step_deg)).repeat(2, axis=0).repeat(2, axis=1)
    report(progress, 3, 4, "Finding the skull")
    shell = _fine_edges(volume, frame, grid, start)
    report(progress, 4, 4, "Finding the skull")
    return Skull(frame, shell, notes)


def skull_mask(volume: Volume, skull: Skull) -> np.ndarray:
    """(slice, row, column) bool: voxels whose centre lies in the vault."""
    mask = np.zeros(volume.shape, bool)
    vertices = skull.frame.to_lps(skull.shell.grid.directions().reshape(-1, 3) * skull.shell.outer_mm.reshape(-1, 1))
    corners = volume.lps_to_zyx(vertices[skull.shell.covered.ravel()])
    low = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, volume.shape)
    to_head = np.linalg.inv(skull.frame.head_to_lps) @ volume.index_to_lps

    def fill(k: int) -> None:
        rows, columns = np.meshgrid(np.arange(low[1], high[1]), np.arange(low[2], high[2]), indexing="ij")
        index = np.stack([columns, rows, np.full_like(rows, k)], -1).astype(np.float32)
        points = index @ to_head[:3, :3].T.astype(np.float32) + to_head[:3, 3].astype(np.float32)
        mask[k, low[1] : high[1], low[2] : high[2]] = skull.shell.contains(points)

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(low[0], high[0])))
    return mask


def _as_bone(volume: Volume, mask: np.ndarray) -> Volume:
    """A volume in which the user's mask is the only bone, with an edge exactly half way at its border."""
    mask = np.asarray(mask) > 0
    if mask.shape != volume.shape:
        raise InputError(
            f"The skull mask has {mask.shape} voxels and the scan {volume.shape}.",
            "Give a mask with the geometry of the scan.",
        )
    if not mask.any():
        raise InputError("The skull mask is empty.", "Draw the skull first, or leave the mask out.")
    return volume.with_array(np.where(mask, np.int16(1000), np.int16(0)))


def _coarse(volume: Volume) -> Volume:
    """Share of bone in each cell of a 2 mm grid along the LPS axes, float32 in [0, 1].

    The share, not the mean HU, keeps a thin temporal bone that lies between air or fluid.
    """
    import SimpleITK as sitk

    image = sitk.Cast(volume.to_sitk() > BONE_HU, sitk.sitkFloat32)
    image = sitk.BinShrink(image, [max(1, int(COARSE_MM / s)) for s in volume.spacing_mm])
    corners = _corners(image)
    low, high = corners.min(0), corners.max(0)
    size = [int(n) + 1 for n in np.ceil((high - low) / COARSE_MM)]
    grid = (low.tolist(), [COARSE_MM] * 3, np.eye(3).ravel().tolist())
    return Volume.from_sitk(sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, *grid, 0.0))


def _corners(image) -> np.ndarray:
    size = np.array(image.GetSize()) - 1
    return np.array(
        [image.TransformIndexToPhysicalPoint([int(i) for i in np.array(c) * size]) for c in np.ndindex(2, 2, 2)]
    )


def _cavity(bone: np.ndarray, coarse: Volume) -> np.ndarray:
    """The cranial cavity: what sees bone in most of 18 directions, so that a burr hole or a seam does not open it."""
    seen = sum(
        _sees(bone, direction) for direction in np.ndindex(3, 3, 3) if np.abs(np.subtract(direction, 1)).sum() in (1, 2)
    )
    enclosed = (seen >= ENCLOSED_OF_18) & ~bone
    opened = ndimage.binary_opening(enclosed, ndimage.generate_binary_structure(3, 1), iterations=4)
    labels, count = ndimage.label(opened)
    voxel_ml = COARSE_MM**3 / 1000
    best, best_score = None, 0.0
    if count:
        sizes = np.bincount(labels.ravel())[1:] * voxel_ml
        for index in np.flatnonzero(sizes > CAVITY_ML[0]) + 1:
            part = labels == index
            score = _encloses(bone, part, coarse)
            if sizes[index - 1] < CAVITY_ML[1] and score * sizes[index - 1] > best_score:
                best, best_score = part, score * sizes[index - 1]
    if best is None:
        raise InputError(
            "No closed skull vault was found in the volume.",
            "Use a CT of the whole head in HU; for a partly imaged or opened skull give a mask with --mask.",
        )
    return best


def _sees(bone: np.ndarray, direction: tuple[int, int, int]) -> np.ndarray:
    """True where bone lies within reach from a voxel in ``direction``, given as steps + 1 along each axis."""
    step = np.subtract(direction, 1)
    axis = int(np.flatnonzero(step)[0])
    others = np.delete(step, axis)
    sweep = np.moveaxis(bone, axis, 0)[:: -step[axis]]
    seen = np.zeros(sweep.shape, bool)
    reach = int(REACH_MM / COARSE_MM / np.linalg.norm(step))
    distance = np.full(sweep.shape[1:], reach, np.int16)
    for k in range(len(sweep)):
        if k:
            distance = _shifted(distance, -others, reach) + 1
        distance[sweep[k]] = 0
        seen[k] = distance < reach
    return np.moveaxis(seen[:: -step[axis]], 0, axis)


def _shifted(plane: np.ndarray, by: np.ndarray, fill: int) -> np.ndarray:
    """``plane`` moved by -1, 0 or 1 along each of its axes."""
    result = np.full_like(plane, fill)
    target = tuple(slice(max(b, 0), n + min(b, 0)) for b, n in zip(by, plane.shape, strict=True))
    source = tuple(slice(max(-b, 0), n + min(-b, 0)) for b, n in zip(by, plane.shape, strict=True))
    result[target] = plane[source]
    return result


def _encloses(bone: np.ndarray, part: np.ndarray, coarse: Volume) -> float:
    """Share of the upward directions from the middle of ``part`` that meet bone within 120 mm."""
    centre = np.array(ndimage.center_of_mass(part))
    directions = PolarGrid(step_deg=6).directions()
    radii = np.arange(10, 120, COARSE_MM) / COARSE_MM
    upward = directions[directions[..., 2] > 0]
    samples = centre + radii[:, None, None] * upward[..., ::-1]
    hit = ndimage.map_coordinates(bone.astype(np.float32), np.moveaxis(samples, -1, 0), order=0).max(axis=0) > 0.5
    return float(hit.mean())


def _frame(coarse: Volume, cavity: np.ndarray, head_to_lps: np.ndarray | None) -> tuple[HeadFrame, tuple[str, ...]]:
    """The head frame by fitting the mean vault to the coarse outer surface, three times from ever better rays."""
    from SkullGANLib.ct.anatomy import MEAN_HALF_AXES_MM

    centre = coarse.zyx_to_lps(np.array(ndimage.center_of_mass(cavity)))
    frame = HeadFrame(rigid(np.eye(3), centre + np.array([0, 0, 5])), np.array(MEAN_HALF_AXES_MM))
    if head_to_lps is not None:
        frame = HeadFrame(np.asarray(head_to_lps, float), frame.half_axes_mm)
    given = frame.head_to_lps
    grid = PolarGrid(step_deg=4)
    for floor in (0.25, 0.0, 0.0, 0.0):
        outer = _coarse_outer(coarse, cavity, frame, grid)
        directions = grid.directions()
        points = directions * outer[..., None]
        height = frame.normalised(points)[..., 2]
        use = (outer > 0) & (
            height > floor + np.maximum(vault_floor(frame.normalised(points)[..., 1]), -0.3) * (floor == 0)
        )
        frame = fit_head_frame(frame.to_lps(points[use]), frame)
    if head_to_lps is not None:
        return HeadFrame(given, frame.half_axes_mm, frame.residual_mm), ()
    turn = np.abs(frame.rotation_deg).max()
    notes = ()
    if turn > MAX_TURN_DEG:
        notes = (f"The head lies turned by {turn:.0f} degrees; check the regions or give a head frame.",)
    return frame, notes


def _coarse_outer(coarse: Volume, cavity: np.ndarray, frame: HeadFrame, grid: PolarGrid) -> np.ndarray:
    """(psi, phi) distance of the outer bone edge on the coarse grid; 0 where a ray meets no bone after the cavity."""
    radii = np.arange(20.0, 135.0, 1.0)
    directions = grid.directions()
    points = directions[:, :, None, :] * radii[:, None]
    index = np.moveaxis(frame.to_index(coarse, points), -1, 0)
    share = ndimage.map_coordinates(coarse.hu, index, order=1)
    inside = ndimage.map_coordinates(cavity.astype(np.uint8), index, order=0) > 0
    last_inside = np.where(inside.any(-1), len(radii) - 1 - np.argmax(inside[..., ::-1], -1), 0)
    steps = np.arange(len(radii))
    bone = (share > BONE_SHARE) & (steps >= last_inside[..., None])
    # the layer around the cavity ends where no more bone follows within the gap
    gap = int(GAP_MM)
    near = ndimage.maximum_filter1d(bone.astype(np.uint8), 2 * gap + 1, axis=-1) > 0
    start = np.where(bone.any(-1), np.argmax(bone, -1), len(radii))
    start = np.where(start - last_inside > 25, len(radii), start)
    broken = ~near & (steps > start[..., None])
    end = np.where(broken.any(-1), np.argmax(broken, -1), len(radii))
    layer = bone & (steps < end[..., None]) & (steps < start[..., None] + MAX_THICKNESS_MM)
    outer = np.where(layer.any(-1), len(radii) - 1 - np.argmax(layer[..., ::-1], -1), -1)
    return np.where(outer >= 0, radii[outer] + 0.5, 0.0) * inside.any(-1)


def _fine_edges(volume: Volume, frame: HeadFrame, grid: PolarGrid, start: np.ndarray) -> Shell:
    """Both edges of the bone to a fraction of a voxel, from the original values along each ray."""
    directions = grid.directions().astype(np.float32)
    mean = frame.normalised(directions * vault_radius(directions, frame.half_axes_mm)[..., None])
    wanted = (start > 0) & (mean[..., 2] > vault_floor(mean[..., 1]) - BELOW_FLOOR)
    rays = np.argwhere(wanted)
    outer, inner = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    offsets = np.arange(-MAX_THICKNESS_MM - 3, 7.0, FINE_STEP_MM, dtype=np.float32)

    def measure(part: np.ndarray) -> None:
        rows, columns = part.T
        radii = start[rows, columns][:, None].astype(np.float32) + offsets
        points = directions[rows, columns][:, None, :] * radii[..., None]
        index = np.moveaxis(frame.to_index(volume, points), -1, 0)
        hu = ndimage.map_coordinates(volume.hu, index, output=np.float32, order=1, cval=OUTSIDE_HU)
        outer[rows, columns], inner[rows, columns] = _half_level_edges(hu, radii, start[rows, columns])

    with ThreadPoolExecutor() as pool:
        list(pool.map(measure, np.array_split(rays, max(1, len(rays) // 4000))))
    return _smooth_shell(grid, outer, inner, wanted, vault_radius(directions, frame.half_axes_mm))


def _half_level_edges(hu: np.ndarray, radii: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outer and inner edge of the bone layer on rays, where HU is half way from cortical peak to surroundings.

    Args:
        hu: (rays, samples) from inside out.
        radii: (rays, samples) mm.
        expected: (rays,) mm, the outer edge to within 3 mm.

    Returns:
        (rays,) mm each; 0 where there is no bone or the layer does not end.
    """
    samples = np.arange(hu.shape[1])
    width = lambda mm: max(1, round(mm / FINE_STEP_MM))  # noqa: E731
    bone = (hu > BONE_HU) & (radii <= expected[:, None] + 3.0)
    found = bone.any(axis=1)
    last = hu.shape[1] - 1 - np.argmax(bone[:, ::-1], axis=1)
    near = ndimage.maximum_filter1d(bone.astype(np.uint8), 2 * width(GAP_MM) + 1, axis=1) > 0
    broken = ~near & (samples < last[:, None])
    stop = np.where(broken.any(axis=1), hu.shape[1] - 1 - np.argmax(broken[:, ::-1], axis=1), -1)
    layer = bone & (samples > stop[:, None])
    first = np.argmax(layer, axis=1)

    def edge(at: np.ndarray, outward: int) -> np.ndarray:
        depths = np.arange(-width(4.5), width(4.0) + 1)  # samples inward from the edge
        columns = np.clip(at[:, None] - outward * depths, 0, hu.shape[1] - 1)
        values = np.take_along_axis(hu, columns, axis=1)
        rise = np.diff(values, axis=1)
        rising = (rise > 0) & (depths[:-1] >= -width(2.0)) & (depths[:-1] <= width(1.5))
        slope = np.where(rising, rise, 0)
        k = np.clip(np.argmax(slope, axis=1), 1, slope.shape[1] - 2)
        ray = np.arange(len(hu))
        l, m, h = slope[ray, k - 1], slope[ray, k], slope[ray, k + 1]
        shift = np.clip(0.5 * (l - h) / np.minimum(l - 2 * m + h, -1e-3), -0.5, 0.5)
        depth = depths[0] + k + 0.5 + shift
        shown = values[:, : width(4.5) - width(1.0)].min(axis=1) > OUTSIDE_HU / 2
        position = np.take_along_axis(radii, at[:, None], axis=1)[:, 0] - outward * depth * FINE_STEP_MM
        return np.where(rising.any(axis=1) & shown, position, 0.0)

    good = found & broken.any(axis=1)
    return np.where(good, edge(last, 1), 0.0), np.where(good, edge(first, -1), 0.0)


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
