"""What each voxel of a head CT is: the three layers of the vault, brain, scalp, other bone, air.

The layers come from the same rule as those of a segment, along rays from the middle of the head and averaged over the
surface in both directions, so that a voxel's own noise and marrow spaces do not show in them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from SkullGANLib.ct import acoustic_tissues as tissues
from SkullGANLib.ct.anatomy import region_of
from SkullGANLib.ct.checks import require_finite, value_notes
from SkullGANLib.ct.volume import Volume
from SkullGANLib.prepare.cavity import BONE_SHARE, COARSE_MM, bone_share, find_cavity
from SkullGANLib.prepare.frame import HeadFrame
from SkullGANLib.prepare.layers_tables import DEPTHS_MM, DIPLOE, INNER, MIDDLE, OUTER, layer_of, table_ends
from SkullGANLib.prepare.quality import largest_piece
from SkullGANLib.prepare.shell import Shell
from SkullGANLib.prepare.skull import Skull, find_skull
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.store import TISSUE_LABELS

if TYPE_CHECKING:
    from SkullGANLib.ct.phantom import PhantomHead

AIR, BRAIN, SCALP, OTHER_BONE = 0, 4, 5, 6
HEAD_LABELS: dict[int, str] = {AIR: "air", **TISSUE_LABELS, BRAIN: "brain", SCALP: "scalp", OTHER_BONE: "other bone"}
"""What the values of a head label map stand for."""
FAT_HU = -30.0  # brain is denser, even where streaks darken it
AIR_HU = -400.0  # in the vault: a sinus, not marrow
SKIN_HU = -450.0  # half way from air to skin
RIM_HU = 500.0  # half way from soft tissue to bone
FILM_HU = 0.0  # half way from air to bone
SQUARE = np.ones((3, 3), np.uint8)
MARROW_MM = 3.0  # widest space between bone that is marrow and no soft tissue
PROFILE_SIGMA, END_SIGMA = 2.0, 4.0  # rays of the polar grid, some 1.2 mm apart
POINT_SPREAD_MM, VOXEL_SIGMA = 0.45, 0.5  # of a scanner; of what a voxel and interpolation in it add, in voxels
CORNERS = 3  # cells of 2 mm by which the cavity, found rounded, grows back into its corners
BESIDE = 2  # cells around it in which the vault's inner edge, known better, says where it ends
NARROW = 4  # cells; what hangs together by less than twice that is not one room
REGROWN = 2  # cells more than that by which the largest room grows back into its corners
# Lowest places of the cavity, (y, z) in half axes: over the orbits, at the temporal poles, at the foramen magnum.
FLOOR = np.array([(-0.55, -0.35), (-0.48, -0.62), (-0.35, -1.0)])
BLURRED_MM = 2.0
EMPTY_SHARE = 0.5  # of the cavity
FACE_ON = 0.3  # cosine of ray and normal below which a depth along the ray says little of that along the normal
TRUTH = {
    "outer_table": OUTER,
    "diploe": DIPLOE,
    "inner_table": INNER,
    "suture": OUTER,  # where no other bone is near
    "brain": BRAIN,
    "csf": BRAIN,
    "soft_tissue": SCALP,
    "skull_base": OTHER_BONE,
    "mandible": OTHER_BONE,
    "teeth": OTHER_BONE,
    "metal": OTHER_BONE,
    "vertebra": OTHER_BONE,
}
"""What the phantom's labels become; all others are air."""
BESIDE_SUTURE = 5  # voxels


@dataclass(frozen=True, eq=False)
class _Layers:
    """Maps (psi, phi) of a shell: where there is vault, where its tables end (mm), cosine of ray and normal."""

    shell: Shell
    vault: np.ndarray
    outer_end_mm: np.ndarray
    inner_end_mm: np.ndarray
    cosine: np.ndarray


def head_labels(volume: Volume, *, skull: Skull | None = None, progress: Progress | None = None) -> Volume:
    """Label a head CT; what the values stand for is ``HEAD_LABELS``.

    The vault is told into outer table, diploe and inner table. Other bone is what does not belong to it: skull base,
    face, mandible, teeth, vertebrae. Brain is all that is neither bone nor air within the skull, scalp all that is
    neither outside of it. Air, sinuses, head holder and table are 0.

    Args:
        volume: head CT in HU, any spacing and orientation.
        skull: the vault, if it was found before.
        progress: told the steps.

    Returns:
        uint8 volume of the same geometry; its notes say what is odd, as with an empty skull.

    Raises:
        InputError: no CT in HU, or no closed skull vault.
    """
    require_finite(volume.hu)
    value_notes(volume.hu, known_ct="modality" in volume.acquisition)  # refuses what is no CT
    skull = skull or find_skull(volume, progress=progress)
    report(progress, 0, 3, "Labelling the head")
    layers = _find_layers(volume, skull)
    report(progress, 1, 3, "Labelling the head")
    cavity = _whole_cavity(volume, skull.frame)
    materials = tissues.find_materials(volume.hu, volume.spacing_mm[::-1], keep_air=True)
    report(progress, 2, 3, "Labelling the head")
    labels = np.array([AIR, SCALP, OTHER_BONE, AIR], np.uint8)[materials]
    inside = np.zeros(2, np.int64)
    kernel = _disc(MARROW_MM / 2, volume.spacing_mm)
    to_head = np.linalg.inv(skull.frame.head_to_lps) @ volume.index_to_lps

    def fill(k: int) -> np.ndarray:
        return _fill(labels[k], volume.hu[k], cavity[k], k, to_head, layers, kernel)

    with ThreadPoolExecutor() as pool:
        for counts in pool.map(fill, range(len(labels))):
            inside += counts
    report(progress, 3, 3, "Labelling the head")
    return replace(volume, hu=labels, acquisition={}, notes=skull.notes + _remarks(volume, *inside))


def true_head_labels(head: PhantomHead) -> Volume:
    """The phantom's own truth as a head label map.

    A suture becomes the layer of the bone nearest to it. Cerebrospinal fluid counts as brain; sinuses, head holder and
    table as air; fillings as other bone.

    Returns:
        uint8 volume of the scan's geometry.
    """
    from SkullGANLib.ct.phantom import LABELS

    new = np.zeros(max(LABELS.values()) + 1, np.uint8)
    for name, label in TRUTH.items():
        new[LABELS[name]] = label
    labels = new[head.labels.hu]
    suture = head.labels.hu == LABELS["suture"]
    beside = ndimage.binary_dilation(suture, iterations=BESIDE_SUTURE) & ~suture & (labels >= OUTER) & (labels <= INNER)
    if beside.any():
        spacing_mm = head.labels.spacing_mm[::-1]
        _, nearest = cKDTree(np.argwhere(beside) * spacing_mm).query(np.argwhere(suture) * spacing_mm)
        labels[suture] = labels[beside][nearest]
    return head.labels.with_array(labels)


def _find_layers(volume: Volume, skull: Skull) -> _Layers:
    """Where the tables end in every direction in which there is vault."""
    shell, frame = skull.shell, skull.frame
    directions = shell.grid.directions().astype(np.float32)
    cosine = np.clip((shell.normals * directions).sum(-1), FACE_ON, 1).astype(np.float32)
    thickness_mm = ((shell.outer_mm - shell.inner_mm) * cosine).astype(np.float32)
    outer, inner = shell.outer_mm[..., None], shell.inner_mm[..., None]
    radii = (
        outer - DEPTHS_MM / cosine[..., None],
        inner + DEPTHS_MM / cosine[..., None],
        outer - MIDDLE * (outer - inner),
    )
    known = shell.trusted.astype(np.float32)

    def sampled(radius: np.ndarray) -> np.ndarray:
        values = np.zeros(radius.shape, np.float32)
        at = frame.to_index(volume, directions[shell.covered][:, None] * radius[shell.covered][..., None])
        values[shell.covered] = ndimage.map_coordinates(
            volume.hu, np.moveaxis(at, -1, 0), output=np.float32, order=1, mode="nearest"
        )
        return _over_surface(values, known[..., None], PROFILE_SIGMA)

    with ThreadPoolExecutor() as pool:
        profiles = list(pool.map(sampled, radii))
    blur_mm = float(np.hypot(POINT_SPREAD_MM, VOXEL_SIGMA * np.mean(volume.spacing_mm)))
    ends = table_ends(*profiles, thickness_mm, lambda v, w: _over_surface(v, w * known, END_SIGMA), blur_mm)
    surface = frame.normalised(directions * outer)
    vault = shell.covered & (_over_surface(known, np.ones_like(known), PROFILE_SIGMA) > 0.5) & (region_of(surface) > 0)
    return _Layers(shell, largest_piece(vault), *ends, cosine)


def _over_surface(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Weighted Gaussian mean over neighbouring directions; psi goes round."""
    weight = weight + np.float32(1e-6)
    blurred = [
        ndimage.gaussian_filter(each, sigma, axes=(0, 1), mode=("wrap", "nearest"), output=np.float32)
        for each in (values * weight, weight)
    ]
    return blurred[0] / blurred[1]


def _whole_cavity(volume: Volume, frame: HeadFrame) -> np.ndarray:
    """(slice, row, column) uint8: 2 in the cranial cavity with its corners, 1 up to some 4 mm around it."""
    import SimpleITK as sitk

    coarse = bone_share(volume)
    cavity = find_cavity(coarse)
    room = ndimage.binary_dilation(cavity, iterations=CORNERS, mask=coarse.hu < BONE_SHARE)
    # What bone encloses beneath hangs together with the cavity at the foramen magnum, the orbital fissures and wherever
    # bone is too thin to show. Where there is a brain, fat and air tell orbits and nose from it.
    steps = [max(1, int(COARSE_MM / mm)) for mm in volume.spacing_mm]
    image = sitk.BinShrink(sitk.Cast(volume.to_sitk(), sitk.sitkFloat32), steps)
    image = sitk.Resample(image, coarse.to_sitk(), sitk.Transform(), sitk.sitkLinear, -1000.0)
    hu = ndimage.gaussian_filter(sitk.GetArrayFromImage(image), 1.0)
    if np.median(hu[cavity]) > FAT_HU:
        room &= hu > FAT_HU
    for k, section in enumerate(room):
        index = np.stack(np.meshgrid(k, *map(np.arange, section.shape), indexing="ij"), -1)[0]
        _, y, z = np.moveaxis(frame.normalised(frame.from_lps(coarse.zyx_to_lps(index))), -1, 0)
        section[z < np.interp(y, *FLOOR.T)] = False
    core, count = ndimage.label(ndimage.binary_erosion(room, iterations=NARROW))
    if count:
        core = core == 1 + np.bincount(core.ravel())[1:].argmax()
        room = ndimage.binary_dilation(core, iterations=NARROW + REGROWN, mask=room)
    image = coarse.with_array(room.astype(np.float32) + ndimage.binary_dilation(room, iterations=BESIDE)).to_sitk()
    fine = sitk.Resample(image, volume.to_sitk(), sitk.Transform(), sitk.sitkLinear, 0.0)
    return np.rint(sitk.GetArrayViewFromImage(fine)).astype(np.uint8)


def _fill(
    labels: np.ndarray,
    hu: np.ndarray,
    cavity: np.ndarray,
    k: int,
    to_head: np.ndarray,
    layers: _Layers,
    kernel: np.ndarray,
) -> np.ndarray:
    """Label one slice in place; gives the voxels of brain and of air within the skull."""
    shell, lookup = layers.shell, layers.shell.grid.lookup
    rows, columns = np.meshgrid(*map(np.arange, labels.shape), indexing="ij")
    index = np.stack([columns, rows, np.full_like(rows, k)], -1).astype(np.float32)
    rotation, shift = to_head[:3, :3].T.astype(np.float32), to_head[:3, 3].astype(np.float32)
    row, column, radius = shell.grid.coordinates(index @ rotation + shift)
    outer, inner, share = (lookup(m, row, column) for m in (shell.outer_mm, shell.inner_mm, layers.vault))
    beneath = share > 0.5
    vault = beneath & (radius <= outer) & (radius >= inner)
    within = np.where(beneath, (radius < inner) & (cavity > 0), cavity > 1)
    _mend_edges(labels, hu, vault, within, kernel)
    brain, air = (within & ~vault & (labels == label) for label in (SCALP, AIR))
    labels[brain] = BRAIN
    at = row[vault], column[vault]
    cosine, outer_end, inner_end = (lookup(m, *at) for m in (layers.cosine, layers.outer_end_mm, layers.inner_end_mm))
    below, above = (outer[vault] - radius[vault]) * cosine, (radius[vault] - inner[vault]) * cosine
    layer = layer_of(below, above, outer_end, inner_end)
    layer[hu[vault] < AIR_HU] = AIR
    labels[vault] = layer
    return np.array([brain.sum(), air.sum()])


def _mend_edges(labels: np.ndarray, hu: np.ndarray, vault: np.ndarray, within: np.ndarray, kernel: np.ndarray) -> None:
    """Give the voxels at the edges of skin and bone to what fills more than half of them, in place.

    Blurred edges of bone in air pass through the HU of soft tissue, spongy bone holds marrow: neither is scalp.
    """
    import cv2

    def beside(mask: np.ndarray) -> np.ndarray:
        return cv2.dilate(mask.astype(np.uint8), SQUARE) > 0

    labels[(labels == AIR) & (hu > SKIN_HU) & beside(labels == SCALP)] = SCALP
    bone = (labels == OTHER_BONE) | vault
    soft, air = (labels == SCALP) & ~vault, (labels == AIR) & ~vault
    film = soft & (cv2.morphologyEx(soft.astype(np.uint8), cv2.MORPH_OPEN, SQUARE) == 0) & beside(bone) & beside(air)
    labels[film] = np.where((hu[film] > FILM_HU) & ~within[film], OTHER_BONE, AIR)
    rim = (labels == OTHER_BONE) & (hu < RIM_HU) & (cv2.erode(bone.astype(np.uint8), SQUARE) == 0)
    rim &= beside(bone & (hu >= RIM_HU)) & beside(soft & ~film) & ~beside(air)  # a thin plate keeps its own voxels
    labels[rim] = SCALP
    closed = cv2.morphologyEx((bone & ~rim).astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    labels[(labels == SCALP) & ~within & closed] = OTHER_BONE


def _disc(radius_mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    reach = [int(radius_mm / mm) for mm in spacing_mm[1::-1]]
    y, x = np.ogrid[tuple(slice(-n, n + 1) for n in reach)]
    return ((y * spacing_mm[1]) ** 2 + (x * spacing_mm[0]) ** 2 <= radius_mm**2).astype(np.uint8)


def _remarks(volume: Volume, brain: int, air: int) -> tuple[str, ...]:
    """What the user should know before trusting the labels."""
    notes = []
    if air > EMPTY_SHARE * (brain + air):
        share = f"{air / (brain + air):.0%}"
        notes.append(f"The skull is empty: {share} of its cavity is air. What else stands in it is labelled brain.")
    if max(volume.spacing_mm) > BLURRED_MM:
        notes.append(
            f"Voxels over {BLURRED_MM:g} mm blur the layers of the skull into one: where no diploe shows, the bone is "
            "halved between the tables."
        )
    return tuple(notes)
