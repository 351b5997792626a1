"""Which voxels of a head CT are water, soft tissue, bone and air, and the CT on cubic voxels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SkullGANLib.ct.volume import Volume

WATER, TISSUE, BONE, AIR = range(4)
BONE_HU = 300.0  # lower end of skull HU in transcranial simulation (Marsac et al. 2017)
BODY_HU = -200.0
COARSE_MM = 2.0
THIN_MM = 6.0  # half of what a sheet measures that is not taken for part of a body: table, holder, mask
REACH_MM = 10.0
NOSTRIL_MM = 6.0  # half the width of a mouth of a cavity; air that lies nowhere deeper is not enclosed
SPECK_MM3 = 20.0
PORE_ML = 5.0


def find_materials(
    hu: np.ndarray, spacing_mm: tuple[float, float, float], *, outside: str = "water", keep_air: bool = False
) -> np.ndarray:
    """Label each voxel of a head CT.

    Args:
        hu: (slice, row, column).
        spacing_mm: in the same order.
        outside: "water" or "tissue": what is not the head, and what is below -200 HU in it.
        keep_air: label what is below -200 HU within the head as air.

    Returns:
        uint8 (slice, row, column): 0 water, 1 soft tissue, 2 bone, 3 air.
    """
    body, bone = hu > BODY_HU, hu >= BONE_HU
    reach, within = _head(body, bone, spacing_mm)
    materials = np.full(hu.shape, TISSUE if outside == "tissue" else WATER, np.uint8)
    inside = reach & body
    materials[inside] = TISSUE
    materials[inside & _whole_bone(bone & inside, spacing_mm)] = BONE
    if keep_air:
        materials[within & ~body] = AIR
    return materials


def isotropic(volume: Volume, spacing_mm: float) -> Volume:
    """The volume on cubic voxels about the same centre, along the same axes, float32.

    Linear interpolation; along axes that become coarser after a Gaussian blur to the new resolution.
    """
    import SimpleITK as sitk

    image = sitk.Cast(volume.to_sitk(), sitk.sitkFloat32)
    old = np.array(volume.spacing_mm)
    for axis, sigma in enumerate(np.sqrt(np.maximum(spacing_mm**2 - old**2, 0)) / np.sqrt(8 * np.log(2))):
        if sigma > 0.3 * old[axis]:
            image = sitk.RecursiveGaussian(
                image, float(sigma), False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis
            )
    size = np.maximum(1, np.rint(np.array(volume.extents_mm[::-1]) / spacing_mm)).astype(int)
    first = (np.array(volume.shape[::-1]) - 1) / 2 - (size - 1) / 2 * spacing_mm / old  # index of the new first voxel
    resample = sitk.ResampleImageFilter()
    resample.SetSize(size.tolist())
    resample.SetOutputSpacing([float(spacing_mm)] * 3)
    resample.SetOutputOrigin(image.TransformContinuousIndexToPhysicalPoint(first.tolist()))
    resample.SetOutputDirection(image.GetDirection())
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetUseNearestNeighborExtrapolator(True)
    return Volume.from_sitk(resample.Execute(image), acquisition=volume.acquisition, notes=volume.notes)


def _head(body: np.ndarray, bone: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Where the head can be, a voxel of the coarse grid beyond its skin, and what it encloses."""
    steps = [max(1, int(COARSE_MM / mm)) for mm in spacing_mm]
    pick = tuple(slice(step // 2, None, step) for step in steps)
    size_mm = [step * mm for step, mm in zip(steps, spacing_mm, strict=True)]
    coarse = body[pick]
    seed = _largest(ndimage.binary_opening(coarse, _ball(THIN_MM, size_mm))) | _largest(bone[pick])
    grown = ndimage.binary_dilation(seed, iterations=max(1, round(REACH_MM / max(size_mm))), mask=coarse)
    ball = _ball(NOSTRIL_MM, size_mm)
    margin = [(n // 2, n // 2) for n in ball.shape]
    closed = ndimage.binary_dilation(np.pad(grown, margin, mode="edge"), ball)
    closed = np.stack([ndimage.binary_fill_holes(section) for section in closed])
    closed = ndimage.binary_erosion(closed, ball, border_value=1)
    within = closed[tuple(slice(low, -high or None) for low, high in margin)] | grown
    reach = ndimage.binary_dilation(grown, ndimage.generate_binary_structure(3, 3)) | within
    deep = ndimage.binary_erosion(within, ball, border_value=1)
    air = ndimage.binary_propagation(deep & ~coarse, mask=within & ~coarse)
    inner = (ndimage.binary_dilation(air) | deep) & ndimage.binary_erosion(within, border_value=1)
    return _fine(reach, steps, body.shape), _fine(inner, steps, body.shape)


def _whole_bone(bone: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Bone without specks of noise, and with the pores that it encloses."""
    voxel_mm3 = float(np.prod(spacing_mm))
    labels, _ = ndimage.label(bone)
    kept = np.bincount(labels.ravel()) >= SPECK_MM3 / voxel_mm3
    kept[0] = False
    bone = kept[labels]
    labels, _ = ndimage.label(~bone)
    pores = np.bincount(labels.ravel()) < 1000 * PORE_ML / voxel_mm3
    pores[0] = True  # bone itself
    return pores[labels] if bone.any() else bone


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    return labels == 1 + np.bincount(labels.ravel())[1:].argmax() if count else mask


def _ball(radius_mm: float, spacing_mm: list[float]) -> np.ndarray:
    reach = [int(radius_mm / mm) for mm in spacing_mm]
    offsets = np.ogrid[tuple(slice(-n, n + 1) for n in reach)]
    return sum((offset * mm) ** 2 for offset, mm in zip(offsets, spacing_mm, strict=True)) <= radius_mm**2


def _fine(coarse: np.ndarray, steps: list[int], shape: tuple[int, int, int]) -> np.ndarray:
    for axis, (step, n) in enumerate(zip(steps, shape, strict=True)):
        coarse = np.take(coarse, np.minimum(np.arange(n) // step, coarse.shape[axis] - 1), axis=axis)
    return coarse
