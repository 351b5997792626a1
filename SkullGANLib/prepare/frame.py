"""The head frame: the patient's own axes, found from the shape of the vault or given as a transform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from SkullGANLib.ct.anatomy import MEAN_HALF_AXES_MM, vault_radius
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError

MAX_TURN_DEG = 45.0
SHAPE_SPREAD = 0.05  # standard deviation of the logarithm of the vault's proportions between adults
PRIOR_WEIGHT = 0.4  # mm; a vault's own relief of 1.5 mm in some 50 independent places
STRAY_MM = 2.0


@dataclass(frozen=True, eq=False)
class HeadFrame:
    """Axes and size of one head.

    Attributes:
        head_to_lps: (4, 4) rigid matrix from head-frame mm (x left, y back, z up) to LPS mm.
        half_axes_mm: (3,) half breadth, half length and height of the vault.
        residual_mm: median distance between the vault and the mean vault in this frame.
    """

    head_to_lps: np.ndarray
    half_axes_mm: np.ndarray
    residual_mm: float = 0.0

    def to_lps(self, points: np.ndarray) -> np.ndarray:
        """LPS mm of head-frame points (..., 3)."""
        return points @ self.head_to_lps[:3, :3].T + self.head_to_lps[:3, 3]

    def to_index(self, volume: Volume, points: np.ndarray) -> np.ndarray:
        """Array indices (slice, row, column) in ``volume`` of head-frame points (..., 3), float32."""
        matrix = (np.linalg.inv(volume.index_to_lps) @ self.head_to_lps).astype(np.float32)
        return (np.asarray(points, np.float32) @ matrix[:3, :3].T + matrix[:3, 3])[..., ::-1]

    def from_lps(self, points: np.ndarray) -> np.ndarray:
        """Head-frame mm of LPS points (..., 3)."""
        return (points - self.head_to_lps[:3, 3]) @ self.head_to_lps[:3, :3]

    def normalised(self, points: np.ndarray) -> np.ndarray:
        """Head-frame points divided by the half axes, as ``ct.anatomy.region_of`` takes them."""
        return points / self.half_axes_mm

    @property
    def rotation_deg(self) -> tuple[float, float, float]:
        """Pitch, roll and yaw of the head against the LPS axes, degrees."""
        return tuple(float(a) for a in Rotation.from_matrix(self.head_to_lps[:3, :3]).as_euler("xyz", degrees=True))


def rigid(rotation: np.ndarray, origin_mm: np.ndarray) -> np.ndarray:
    """(4, 4) matrix of a rotation and the position of the origin."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, origin_mm
    return matrix


def fit_head_frame(points_lps_mm: np.ndarray, start: HeadFrame) -> HeadFrame:
    """Fit the mean vault to points on the outer surface of a skull.

    Rotation, origin and the three half axes are free; distances enter by a robust loss, so that stray points do not
    pull. The half axes are held loosely near their mean, which decides where the points do not.

    Args:
        points_lps_mm: (n, 3) LPS points on the outer surface of the vault.
        start: frame to start from.

    Raises:
        InputError: fewer than 50 points.
    """
    if len(points_lps_mm) < 50:
        raise InputError(
            "Too little of a skull vault was found to tell how the head lies.",
            "Give a transform with --head-frame, or check that this is a head CT in HU.",
        )
    mean_axes = np.array(MEAN_HALF_AXES_MM)

    def frame_of(p: np.ndarray) -> HeadFrame:
        rotation = start.head_to_lps[:3, :3] @ Rotation.from_rotvec(p[:3]).as_matrix()
        return HeadFrame(rigid(rotation, start.head_to_lps[:3, 3] + p[3:6]), mean_axes * np.exp(p[6:9]))

    def distances(p: np.ndarray) -> np.ndarray:
        frame = frame_of(p)
        local = frame.from_lps(points_lps_mm)
        radius = np.linalg.norm(local, axis=1)
        return radius - vault_radius(_unit(local), frame.half_axes_mm)

    def cost(p: np.ndarray) -> np.ndarray:
        shape = (p[6:9] - p[6:9].mean()) / SHAPE_SPREAD
        stray = distances(p) / STRAY_MM
        robust = STRAY_MM * np.sign(stray) * np.sqrt(2 * (np.sqrt(1 + stray**2) - 1))  # pseudo-Huber
        return np.concatenate([robust, PRIOR_WEIGHT * np.sqrt(len(points_lps_mm)) * shape])

    begin = np.zeros(9)
    begin[6:9] = np.log(start.half_axes_mm / mean_axes)
    best = least_squares(cost, begin, x_scale=np.array([0.1] * 3 + [5.0] * 3 + [0.1] * 3))
    frame = frame_of(best.x)
    return HeadFrame(frame.head_to_lps, frame.half_axes_mm, float(np.median(np.abs(distances(best.x)))))


def _unit(points: np.ndarray) -> np.ndarray:
    return points / np.linalg.norm(points, axis=-1, keepdims=True)
