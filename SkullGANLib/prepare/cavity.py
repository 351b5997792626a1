"""The cranial cavity on a coarse grid: what bone encloses, whatever stands around the head."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.prepare.shell import PolarGrid

BONE_HU = 300.0
COARSE_MM = 2.0
BONE_SHARE = 0.3  # of a coarse cell, above which it counts as bone
ENCLOSED_OF_18 = 13
REACH_MM = 170.0
CAVITY_ML = (250.0, 2600.0)


def bone_share(volume: Volume) -> Volume:
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


def find_cavity(coarse: Volume) -> np.ndarray:
    """The cranial cavity: what sees bone in most of 18 directions, so that a burr hole or a seam does not open it.

    Args:
        coarse: share of bone, from ``bone_share``.

    Returns:
        Bool array of the coarse grid's shape.

    Raises:
        InputError: nothing of the size of a cranial cavity is enclosed by bone.
    """
    bone = coarse.hu > BONE_SHARE
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
            score = _encloses(bone, part)
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


def _encloses(bone: np.ndarray, part: np.ndarray) -> float:
    """Share of the upward directions from the middle of ``part`` that meet bone within 120 mm."""
    centre = np.array(ndimage.center_of_mass(part))
    directions = PolarGrid(step_deg=6).directions()
    radii = np.arange(10, 120, COARSE_MM) / COARSE_MM
    upward = directions[directions[..., 2] > 0]
    samples = centre + radii[:, None, None] * upward[..., ::-1]
    hit = ndimage.map_coordinates(bone.astype(np.float32), np.moveaxis(samples, -1, 0), order=0).max(axis=0) > 0.5
    return float(hit.mean())


def _corners(image) -> np.ndarray:
    size = np.array(image.GetSize()) - 1
    return np.array(
        [image.TransformIndexToPhysicalPoint([int(i) for i in np.array(c) * size]) for c in np.ndindex(2, 2, 2)]
    )
