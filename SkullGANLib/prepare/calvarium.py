"""The calvarium of a head CT on its own: the skull cap in a box, upright, without table, face and skull base.

It is cut off where the saw goes at an autopsy: from a finger's breadth above the glabella, clear of the orbits, to the
inion, clear of the neck's muscles. Both are found with the head frame.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from SkullGANLib.ct.checks import require_finite, value_notes
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.prepare.frame import HeadFrame, rigid
from SkullGANLib.prepare.shell import PolarGrid, Shell
from SkullGANLib.prepare.skull import Skull, find_skull
from SkullGANLib.progress import Progress, report

FOREHEAD = np.array([0.0, -1.0, 0.2])  # in half axes, as in ct.anatomy: some 15 mm above the glabella
INION = np.array([0.0, 1.0, -0.28])
AIR_HU = -1000
SPACING_MM = (0.3, 4.0)
MARGIN_MM = 10.0  # around the bone; nowhere but over the temporal muscle is the scalp thicker
OPEN_AIR_HU = -400.0
THICKEST_SCALP_MM = 20.0
HOLDER_MM, HOLDER_DEG = 2.0, 45.0  # what stands out from the scalp around by more is not scalp
RIM_MM = 1.0  # of blur around the bone
SOFT_HU, SOFT_MM = 40.0, 6.0  # of what takes the place of brain and scalp
BENEATH_MM = 5.0
UNSURE_MM = 12.0  # from the expected surface, bone is kept where no two clear edges were found, as at a sinus
UNSEEN, MOST_UNSEEN = 0.01, 0.25


def crop_calvarium(
    volume: Volume,
    *,
    spacing_mm: float = 1.5,
    bone_only: bool = False,
    skull: Skull | None = None,
    progress: Progress | None = None,
) -> Volume:
    """The calvarium of a head CT, in HU where it lies in the patient.

    The box stands on the plane of the cut: its columns run to the patient's left, its rows to the back, its slices
    upwards. It reaches 10 mm beyond the bone, but ends below with the plane, so that the lowest slice shows the cut.

    Args:
        volume: head CT in HU, any spacing and orientation.
        spacing_mm: of the cubic voxels; at 1.5 mm the largest adult fits the 140 voxels that a pyramid learns. Where
            it is coarser than the scan, the scan is blurred to it.
        bone_only: brain and scalp become 40 HU, the scalp 6 mm thick, which leaves less to learn, and what is around
            a dry skull becomes air; the bone and its blurred edges stay as they are. What lies outside the skin is
            air in either case.
        skull: the vault, if it was found before.
        progress: told the steps.

    Returns:
        int16 volume; its notes say what is odd.

    Raises:
        InputError: no CT in HU, no closed skull vault, a good part of it not in the scan, or a senseless spacing.
    """
    if not SPACING_MM[0] <= spacing_mm <= SPACING_MM[1]:
        raise InputError(
            f"Voxels of {spacing_mm:g} mm are no use for a calvarium.",
            f"Give a spacing from {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm.",
        )
    require_finite(volume.hu)
    value_notes(volume.hu, known_ct="modality" in volume.acquisition)  # refuses what is no CT
    skull = skull or find_skull(volume, progress=progress)
    report(progress, 0, 2, "Cutting out the calvarium")
    frame, shell = skull.frame, skull.shell
    standing = cut_frame(frame)
    low, high = _box(standing, frame, shell)
    size = np.ceil((high - low) / spacing_mm).astype(int)
    grid = Volume(
        np.broadcast_to(np.int16(0), tuple(size[::-1])),
        (spacing_mm,) * 3,
        tuple((standing[:3, :3] @ (low + spacing_mm / 2) + standing[:3, 3]).tolist()),
        standing[:3, :3],
    )
    hu, seen = _resampled(volume, grid)
    report(progress, 1, 2, "Cutting out the calvarium")
    skin_mm = None if bone_only else _skin(volume, frame, shell)
    blur_mm = max(spacing_mm, *volume.spacing_mm)
    soft_hu = SOFT_HU if _has_brain(volume, frame, shell) else AIR_HU
    within = unseen = 0
    for k, section in enumerate(hu):
        index = np.stack(np.meshgrid(k, *map(np.arange, hu.shape[1:]), indexing="ij"), -1)[0]
        row, column, radius = shell.grid.coordinates(frame.from_lps(grid.zyx_to_lps(index)))
        outer = shell.grid.lookup(shell.outer_mm, row, column)
        if bone_only:
            depth = np.minimum(outer - radius, radius - shell.grid.lookup(shell.inner_mm, row, column))
            unsure = shell.grid.lookup(shell.covered, row, column) < 0.5
            depth[unsure] = np.where(np.abs(outer - radius) < UNSURE_MM, 0.0, -np.inf)[unsure]
            section[:] = _bone_alone(section, depth, radius - outer, blur_mm, soft_hu)
        else:
            section[radius > shell.grid.lookup(skin_mm, row, column) + spacing_mm] = AIR_HU
        within += np.count_nonzero(radius < outer)
        unseen += np.count_nonzero((radius < outer) & ~seen[k])
    report(progress, 2, 2, "Cutting out the calvarium")
    notes = [*volume.notes, *skull.notes]
    if unseen > MOST_UNSEEN * within:
        raise InputError(
            f"The scan does not show {unseen / within:.0%} of the calvarium.",
            "Use a CT of the whole head; what is a calvarium already needs no cropping.",
        )
    if unseen > UNSEEN * within:
        notes.append(f"The scan does not show {unseen / within:.0%} of the calvarium, which are air here.")
    rounded = np.rint(np.clip(hu, -32768, 32767)).astype(np.int16)
    return replace(grid, hu=rounded, acquisition=volume.acquisition, notes=tuple(notes))


def cut_frame(frame: HeadFrame) -> np.ndarray:
    """(4, 4) rigid matrix to LPS mm from axes to the left, to the back along the plane of the cut, and up from it.

    The origin lies on the forehead.
    """
    forehead, inion = FOREHEAD * frame.half_axes_mm, INION * frame.half_axes_mm
    back = (inion - forehead) / np.linalg.norm(inion - forehead)
    left = np.array([1.0, 0.0, 0.0])
    turn = np.stack([left, back, np.cross(left, back)], axis=1)
    return rigid(frame.head_to_lps[:3, :3] @ turn, frame.to_lps(forehead))


def _box(standing: np.ndarray, frame: HeadFrame, shell: Shell) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of the bone above the plane, with the margin, in the frame of the plane, mm."""
    edge = frame.to_lps(shell.grid.directions()[shell.covered] * shell.outer_mm[shell.covered][:, None])
    local = (edge - standing[:3, 3]) @ standing[:3, :3]
    local = local[local[:, 2] > 0]
    low, high = local.min(axis=0) - MARGIN_MM, local.max(axis=0) + MARGIN_MM
    low[2] = 0
    return low, high


def _resampled(volume: Volume, grid: Volume) -> tuple[np.ndarray, np.ndarray]:
    """HU (float32) on another grid, air where the volume has none, and where it has any."""
    import SimpleITK as sitk

    corners = volume.lps_to_zyx(grid.zyx_to_lps(np.array(list(np.ndindex(2, 2, 2))) * (np.array(grid.shape) - 1)))
    reach = 3 * grid.spacing_mm[0] / np.array(volume.spacing_mm[::-1]) + 1
    last = np.array(volume.shape) - 1
    first = np.clip(np.floor(corners.min(axis=0) - reach), 0, last).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0) + reach), first, last).astype(int)
    image = sitk.Cast(volume.part(tuple(first), tuple(last)).to_sitk(), sitk.sitkFloat32)
    old = np.array(volume.spacing_mm)
    blur_mm = np.sqrt(np.maximum(grid.spacing_mm[0] ** 2 - old**2, 0)) / np.sqrt(8 * np.log(2))
    for axis, sigma in enumerate(blur_mm):
        if sigma > 0.3 * old[axis] and image.GetSize()[axis] >= 4:  # the least that the filter takes
            image = sitk.RecursiveGaussian(
                image, float(sigma), False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis
            )
    reference = sitk.Image([int(n) for n in grid.shape[::-1]], sitk.sitkUInt8)
    reference.SetSpacing(grid.spacing_mm)
    reference.SetOrigin(grid.origin_mm)
    reference.SetDirection(np.asarray(grid.direction).ravel().tolist())
    low, high = float(volume.hu.min()), float(volume.hu.max())
    unknown = 2 * high + 1e6
    # A cubic spline, since between coarse slices a straight line has no steepest place.
    hu = sitk.GetArrayFromImage(sitk.Resample(image, reference, sitk.Transform(), sitk.sitkBSpline, unknown))
    seen = hu < unknown / 2
    return np.where(seen, hu.clip(low, high), np.float32(AIR_HU)), seen


def _skin(volume: Volume, frame: HeadFrame, shell: Shell) -> np.ndarray:
    """(psi, phi) mm from the origin of the head frame to the skin; where a holder lies against it, as around there."""
    step = 4
    coarse = PolarGrid(step * shell.grid.step_deg)
    outer = shell.outer_mm[::step, step // 2 :: step]
    out_mm = np.arange(1.0, THICKEST_SCALP_MM + 1)
    points = coarse.directions()[:, :, None, :] * (outer[..., None] + out_mm)[..., None]
    index = np.moveaxis(frame.to_index(volume, points), -1, 0)
    hu = ndimage.map_coordinates(volume.hu, index, output=np.float32, order=1, cval=AIR_HU)
    air = hu < OPEN_AIR_HU
    scalp = np.where(air.any(axis=-1), out_mm[air.argmax(axis=-1)], THICKEST_SCALP_MM)
    width = round(HOLDER_DEG / coarse.step_deg)
    around = np.pad(scalp, ((width, width), (0, 0)), mode="wrap")
    around = ndimage.median_filter(around, width, mode="nearest")[width:-width]
    scalp = np.minimum(scalp, around + HOLDER_MM)
    fine = scalp.repeat(step, axis=0).repeat(step, axis=1)
    return shell.outer_mm + ndimage.gaussian_filter(fine, step, mode=("wrap", "nearest"))


def _has_brain(volume: Volume, frame: HeadFrame, shell: Shell) -> bool:
    """Whether anything but air lies beneath the bone."""
    step = 8
    beneath = shell.grid.directions() * (shell.inner_mm - BENEATH_MM)[..., None]
    index = frame.to_index(volume, beneath[shell.covered][::step]).T
    hu = ndimage.map_coordinates(volume.hu, index, output=np.float32, order=1, cval=AIR_HU)
    return bool(np.median(hu) > OPEN_AIR_HU)


def _bone_alone(
    hu: np.ndarray, depth_mm: np.ndarray, beyond_mm: np.ndarray, blur_mm: float, soft_hu: float
) -> np.ndarray:
    """Bone with its blurred edges in uniform soft tissue, by depth within the bone and height above it."""
    air = np.clip((beyond_mm - SOFT_MM) / blur_mm + 0.5, 0, 1)
    around = soft_hu + air * (AIR_HU - soft_hu)
    edge = np.where(depth_mm > -(RIM_MM + 1.5 * blur_mm), np.maximum(hu, around), around)
    return np.where(depth_mm > blur_mm, hu, edge)
