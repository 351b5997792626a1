"""Finding the skull vault in a head CT: where the head is, how it lies, and the two edges of the bone.

Table, head holder, pillow, clothes and inserts never enter because the vault is looked for from inside the head: the
cavity is what bone encloses, and the vault is the layer of bone around it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from SkullGANLib.ct.anatomy import MEAN_HALF_AXES_MM, vault_floor
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.prepare.cavity import bone_share, find_cavity
from SkullGANLib.prepare.edges import coarse_outer_edge, vault_edges
from SkullGANLib.prepare.frame import MAX_TURN_DEG, HeadFrame, fit_head_frame, rigid
from SkullGANLib.prepare.shell import PolarGrid, Shell
from SkullGANLib.progress import Progress, report

ABOVE_FIRST, LOWEST = 0.25, -0.3  # heights, in half axes, of the surface that the frame is fitted to
HEAD_SIZE = (0.55, 1.3)  # half axes against the adult mean, from a newborn to the largest head
MAX_CRANIAL_INDEX = 1.0  # breadth over length; 0.7 to 0.95 in nearly all heads


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
        InputError: no closed skull vault in the volume, nothing of a head's size, or a mask of another shape or
            without voxels.
    """
    if mask is not None:
        volume = _as_bone(volume, mask)
    report(progress, 0, 4, "Finding the skull")
    coarse = bone_share(volume)
    cavity = find_cavity(coarse)
    report(progress, 1, 4, "Finding the skull")
    frame, notes = _frame(coarse, cavity, head_to_lps)
    report(progress, 2, 4, "Finding the skull")
    grid = PolarGrid()
    start = coarse_outer_edge(coarse, cavity, frame, PolarGrid(2 * grid.step_deg)).repeat(2, axis=0).repeat(2, axis=1)
    report(progress, 3, 4, "Finding the skull")
    shell = vault_edges(volume, frame, grid, start)
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


def _frame(coarse: Volume, cavity: np.ndarray, head_to_lps: np.ndarray | None) -> tuple[HeadFrame, tuple[str, ...]]:
    """The head frame by fitting the mean vault to the coarse outer edge, again from each better frame.

    The first fit sees only what is well above the face, since the head may lie turned.
    """
    centre = coarse.zyx_to_lps(np.array(ndimage.center_of_mass(cavity))) + np.array([0, 0, 5])
    start = rigid(np.eye(3), centre) if head_to_lps is None else np.asarray(head_to_lps, float)
    frame = HeadFrame(start, np.array(MEAN_HALF_AXES_MM))
    grid = PolarGrid(step_deg=4)
    for fit in range(4):
        points = grid.directions() * coarse_outer_edge(coarse, cavity, frame, grid)[..., None]
        _, y, z = np.moveaxis(frame.normalised(points), -1, 0)
        lowest = ABOVE_FIRST if fit == 0 else np.maximum(vault_floor(y), LOWEST)
        frame = fit_head_frame(frame.to_lps(points[points.any(axis=-1) & (z > lowest)]), frame)
    if head_to_lps is not None:
        return HeadFrame(start, frame.half_axes_mm, frame.residual_mm), ()
    size = frame.half_axes_mm / MEAN_HALF_AXES_MM
    if size.min() < HEAD_SIZE[0] or size.max() > HEAD_SIZE[1]:
        raise InputError(
            "What bone encloses in this volume does not have the size of a head.",
            "Use a CT of the whole head in HU, or give the head frame with --head-frame.",
        )
    turn = np.abs(frame.rotation_deg).max()
    breadth, length, _ = frame.half_axes_mm
    if turn > MAX_TURN_DEG:
        return frame, (f"The head lies turned by {turn:.0f} degrees; check the regions or give a head frame.",)
    if breadth > MAX_CRANIAL_INDEX * length:
        return frame, ("The head seems broader than long, as when it lies on a side; give a head frame.",)
    return frame, ()
