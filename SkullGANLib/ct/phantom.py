"""A parametric head CT with ground truth: real enough to prepare segments from, known well enough to test with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from SkullGANLib.ct import anatomy, phantom_scanner
from SkullGANLib.ct.phantom_fields import grid_directions
from SkullGANLib.ct.phantom_paint import HeadPainter
from SkullGANLib.ct.phantom_parameters import PhantomParameters
from SkullGANLib.ct.phantom_parts import LABELS, MeanHead, base_distance
from SkullGANLib.ct.phantom_shell import Depth, Foot, SkullShell
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress

__all__ = ["LABELS", "HeadPhantom", "PhantomHead", "PhantomParameters"]

SLICES_AT_ONCE = 6
MARGIN_ABOVE_MM = 6.0
FIELD_CENTRE_Y_MM = -4.0  # the nose reaches further forward than the occiput backward
PROFILE_STEP_MM = 0.1
CLEARANCE_MM = 2.0


@dataclass(frozen=True, eq=False)
class PhantomHead:
    """A scan of the phantom.

    Attributes:
        volume: HU, int16.
        labels: what each voxel centre lies in, uint8, see ``LABELS``.
        head_to_lps: (4, 4) rigid matrix from the head frame to LPS, mm.
        slice_origins_mm: (slices, 3) LPS positions of the first voxel of each slice. With a tilted gantry these do not
            follow from the volume, whose direction is that of the tilted slices.
        parameters: the subject.
    """

    volume: Volume
    labels: Volume
    head_to_lps: np.ndarray
    slice_origins_mm: np.ndarray
    parameters: PhantomParameters


class HeadPhantom:
    """One subject, as functions of direction and position in the head frame (``ct.anatomy``).

    Directions are (..., 3) vectors of any length. The truth holds at the outer surface point in that direction, and
    thickness is measured along the normal there.

    Args:
        seed: chooses the subject and every detail of its texture.
        parameters: the subject, if it is not to be drawn from the seed.
    """

    def __init__(self, seed: int, parameters: PhantomParameters | None = None) -> None:
        self.seed = seed
        self.parameters = PhantomParameters.sample(seed) if parameters is None else parameters
        self.shell = SkullShell(seed, self.parameters)
        self._mean_head = MeanHead(seed, self.parameters)

    def outer_radius(self, directions: np.ndarray) -> np.ndarray:
        """(...) mm from the origin to the outer surface of the skull."""
        return self.shell.outer(*_xyz(directions))[0]

    def normals(self, directions: np.ndarray) -> np.ndarray:
        """(..., 3) outward unit normals of the outer surface."""
        normal = np.moveaxis(self.shell.outer(*_xyz(directions))[1:], 0, -1)
        return normal / np.linalg.norm(normal, axis=-1, keepdims=True)

    def thickness_mm(self, directions: np.ndarray) -> np.ndarray:
        """(...) thickness of the bone along the normal."""
        return self.shell.layers(*_xyz(directions))[0]

    def layers(self, directions: np.ndarray) -> np.ndarray:
        """(..., 3) thickness of outer table, diploe and inner table, mm."""
        thickness, outer, inner = self.shell.layers(*_xyz(directions))
        return np.stack([outer, thickness - outer - inner, inner], axis=-1)

    def region(self, directions: np.ndarray) -> np.ndarray:
        """(...) index into ``ct.anatomy.REGIONS``; 0 below the vault."""
        return self.shell.region(*_xyz(directions))

    def side(self, directions: np.ndarray) -> np.ndarray:
        """(...) "left" or "right" of the patient."""
        return np.where(np.asarray(directions)[..., 0] >= 0, "left", "right")

    def free(self, directions: np.ndarray) -> np.ndarray:
        """(...) whether the shell stands alone there: vault without base, face or sinus bone grown onto it.

        Only there is the thickness of all bone the thickness of the shell.
        """
        radius, *normal = self.shell.outer(*_xyz(directions))
        normal, thickness = np.stack(normal), self.thickness_mm(directions)
        surface = _xyz(directions) / np.linalg.norm(directions, axis=-1) * radius
        _, bone_outside = base_distance(self._mean_head(surface + CLEARANCE_MM * normal))
        floor, bone_inside = base_distance(self._mean_head(surface - (thickness + CLEARANCE_MM) * normal))
        sinus = self.shell.sinus(*self._at_depth(surface - normal * thickness / 2)) > 0
        clear = np.minimum(bone_outside, np.minimum(bone_inside, -floor - CLEARANCE_MM)) > CLEARANCE_MM
        return (self.region(directions) > 0) & clear & ~sinus

    def _at_depth(self, points: np.ndarray) -> tuple[Depth, Foot]:
        depth = self.shell.depth(*points.astype(np.float32))
        return depth, self.shell.at_foot(depth)

    def profiles(self, directions: np.ndarray, blur_mm: float = 0.45) -> np.ndarray:
        """Noise-free HU along the inward normal, blurred as the scanner would.

        The blur along the surface is taken by Gauss-Hermite quadrature over nine neighbouring normals.

        Args:
            directions: (n, 3).
            blur_mm: sigma of the point spread.

        Returns:
            (n, depth) HU; depth in steps of 0.1 mm, from 2 mm outside the bone; 50 HU outside, 8 HU inside.
        """
        radius, *normal = self.shell.outer(*_xyz(directions))
        normal = np.stack(normal)
        point = _xyz(directions) / np.linalg.norm(directions, axis=-1) * radius
        across = np.cross(normal, np.array([0.36, 0.48, 0.8]), axis=0)
        across /= np.linalg.norm(across, axis=0)
        along = np.cross(normal, across, axis=0)
        depth_mm = np.arange(-2, float(self.thickness_mm(directions).max()) + 2, PROFILE_STEP_MM, dtype=np.float32)
        total = np.zeros((point.shape[1], len(depth_mm)), np.float32)
        nodes = ((0.0, 2 / 3), (np.sqrt(3) * blur_mm, 1 / 6), (-np.sqrt(3) * blur_mm, 1 / 6))
        for a, weight_a in nodes:
            for b, weight_b in nodes:
                shifted = point + a * across + b * along
                sample = shifted[:, :, None] - normal[:, :, None] * depth_mm
                total += np.float32(weight_a * weight_b) * self._bone_hu(sample.reshape(3, -1)).reshape(total.shape)
        return gaussian_filter1d(total, blur_mm / PROFILE_STEP_MM, axis=1, mode="nearest")

    def _bone_hu(self, points: np.ndarray) -> np.ndarray:
        depth, foot = self._at_depth(points)
        bone = self.shell.hu(depth, foot, PROFILE_STEP_MM)
        return np.where(depth.mm < 0, 50, np.where(depth.mm > foot.thickness_mm, 8, bone)).astype(np.float32)

    def sdr(self, directions: np.ndarray, blur_mm: float = 0.45) -> np.ndarray:
        """Skull density ratio along the normals: trough between the two cortical peaks over the maximum, (n,).

        Noise-free; where the tables have merged into one peak the ratio is 1 (Chang et al. 2016; SkullGAN, eq. 2).
        """
        profiles = self.profiles(directions, blur_mm)
        middle = ((2 + self.thickness_mm(directions) / 2) / PROFILE_STEP_MM).astype(int)
        ratio = np.empty(len(profiles))
        for i, (profile, half) in enumerate(zip(profiles, middle, strict=True)):
            outer, inner = int(profile[:half].argmax()), half + int(profile[half:].argmax())
            ratio[i] = max(profile[outer : inner + 1].min(), 0) / profile.max()
        return ratio

    def summary(self, spacing_deg: float = 4.0, blur_mm: float = 0.45) -> dict[str, dict[str, float]]:
        """Mean true thickness (mm) and skull density ratio of each region of the vault, and of all of it."""
        step = max(1, round(spacing_deg / 0.5))
        directions = grid_directions()[::step, ::step].reshape(-1, 3)
        weight = np.hypot(directions[:, 0], directions[:, 1])
        region = self.region(directions)
        keep = (region > 0) & (weight > 0.05)
        directions, weight, region = directions[keep], weight[keep], region[keep]
        thickness, sdr = self.thickness_mm(directions), self.sdr(directions, blur_mm)
        chosen = {anatomy.REGIONS[k]: region == k for k in range(1, 5)} | {"vault": region > 0}
        return {
            name: {
                "thickness_mm": round(float(np.average(thickness[mask], weights=weight[mask])), 3),
                "sdr": round(float(np.average(sdr[mask], weights=weight[mask])), 3),
            }
            for name, mask in chosen.items()
        }

    def render(
        self,
        *,
        shape: tuple[int, int, int] = (160, 256, 256),
        spacing_mm: tuple[float, float, float] = (0.9, 0.9, 0.9),
        rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
        translation_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
        table: bool = True,
        blur_mm: float = 0.45,
        noise_hu: float = 25.0,
        gantry_tilt_deg: float = 0.0,
        metal: bool = False,
        progress: Progress | None = None,
    ) -> PhantomHead:
        """Scan the phantom.

        The field of view is centred on the head from side to side and front to back; its top lies a little above the
        vertex, so that fewer slices leave out neck and face. A slice thicker than 1.2 mm shows the mean over its
        thickness; labels are always those of the voxel centres.

        Args:
            shape: (slices, rows, columns).
            spacing_mm: (x, y, z); with a tilted gantry z is the feed of the table between slices.
            rotation_deg: turns of the head about x (pitch), y (roll) and z (yaw), in this order, in LPS.
            translation_mm: shift of the head in LPS.
            table: whether head holder and table are there.
            blur_mm: sigma of the scanner's point spread, mm.
            noise_hu: standard deviation of the noise.
            gantry_tilt_deg: turn of the slice planes about x.
            metal: whether there are dental fillings with streaks.
            progress: told after each block of slices.

        Raises:
            InputError: a shape, spacing, blur, noise or tilt that no scan has.
            Cancelled: ``progress`` asked to stop.
        """
        phantom_scanner.check_scan(shape, spacing_mm, blur_mm, noise_hu)
        if abs(gantry_tilt_deg) > 35:
            raise InputError(f"No gantry tilts by {gantry_tilt_deg:g} degrees.", "Give -35 to 35 degrees.")
        head_to_lps = np.eye(4)
        head_to_lps[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
        head_to_lps[:3, 3] = translation_mm
        tilt = np.radians(gantry_tilt_deg)
        direction = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
        index_to_lps = np.eye(4)
        index_to_lps[:3, :2] = direction[:, :2] * np.array(spacing_mm[:2])
        index_to_lps[2, 2] = spacing_mm[2]
        top_mm = self.parameters.height_mm + self.parameters.scalp_mm + MARGIN_ABOVE_MM
        middle = np.array([0, FIELD_CENTRE_Y_MM, top_mm - (shape[0] - 1) / 2 * spacing_mm[2]])
        half = (np.array(shape[::-1]) - 1) / 2
        index_to_lps[:3, 3] = middle - index_to_lps[:3, :3] @ half

        painter = HeadPainter(self.shell, self.seed, head_to_lps, index_to_lps, table, metal)
        volume, labels = phantom_scanner.scanned(
            painter,
            shape,
            spacing_mm,
            blur_mm=blur_mm,
            noise_hu=noise_hu,
            seed=[self.seed, 3],
            slices_at_once=SLICES_AT_ONCE,
            message="Painting the head",
            progress=progress,
        )

        across_mm = spacing_mm[2] * float(np.cos(tilt))
        geometry = {
            "spacing_mm": (float(spacing_mm[0]), float(spacing_mm[1]), across_mm),
            "origin_mm": tuple(float(v) for v in index_to_lps[:3, 3]),
            "direction": direction,
        }
        origins = index_to_lps[:3, 3] + np.arange(shape[0])[:, None] * index_to_lps[:3, 2]
        acquisition = {"modality": "CT", "manufacturer": "SkullGAN phantom", "kvp": 120.0, "kernel": "bone"}
        return PhantomHead(
            Volume(volume, acquisition=acquisition, **geometry),
            Volume(labels, **geometry),
            head_to_lps,
            origins,
            self.parameters,
        )


def _xyz(directions: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.asarray(directions, np.float32), -1, 0)
