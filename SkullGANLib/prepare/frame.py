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
PRIOR_WEIGHT = 0.3
STRAY_MM = 9.0
TURN_COST = 0.02  # mm per squared degree


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

    Rotation, origin and the three half axes are free; distances enter by Huber's loss, so that stray points do not
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
        return np.concatenate([distances(p), PRIOR_WEIGHT * np.sqrt(len(points_lps_mm)) * shape])

    begin = np.zeros(9)
    begin[6:9] = np.log(start.half_axes_mm / mean_axes)
    best = least_squares(cost, begin, loss="huber", f_scale=2.0, x_scale=np.array([0.1] * 3 + [5.0] * 3 + [0.1] * 3))
    frame = frame_of(best.x)
    return HeadFrame(frame.head_to_lps, frame.half_axes_mm, float(np.median(np.abs(distances(best.x)))))


def align_with_cranial_length(frame: HeadFrame, profile: np.ndarray) -> HeadFrame:
    """Turn a frame about its left-right axis, and move its origin, onto the maximum cranial length.

    The maximum length from glabella to opisthocranion is craniometry's long axis of a head. It is flat about its
    maximum, so a turn away from the fitted frame costs ``TURN_COST`` per squared degree.

    Args:
        frame: the frame fitted to the vault.
        profile: (n, 3) head-frame points of the vault's outer surface in the mid-sagittal plane.
    """
    near = np.abs(np.linalg.norm(profile, axis=1) - vault_radius(_unit(profile), frame.half_axes_mm)) < STRAY_MM
    y, z = profile[near, 1], profile[near, 2]
    if near.sum() < 20 or y.min() > -0.8 * frame.half_axes_mm[1] or y.max() < 0.8 * frame.half_axes_mm[1]:
        return frame
    turns = np.arange(-15, 15.5, 0.5)
    along = np.outer(np.cos(np.deg2rad(turns)), y) + np.outer(np.sin(np.deg2rad(turns)), z)
    up = np.outer(np.cos(np.deg2rad(turns)), z) - np.outer(np.sin(np.deg2rad(turns)), y)
    best = int(np.argmax(np.ptp(along, axis=1) - TURN_COST * turns**2))
    front, back = int(along[best].argmin()), int(along[best].argmax())
    origin = np.array([0.0, (along[best, front] + along[best, back]) / 2, (up[best, front] + up[best, back]) / 2])
    turn = Rotation.from_euler("x", turns[best], degrees=True).as_matrix()
    matrix = rigid(frame.head_to_lps[:3, :3] @ turn, frame.to_lps(turn @ origin))
    half_axes = np.array([frame.half_axes_mm[0], np.ptp(along[best]) / 2, up[best].max() - origin[2]])
    return HeadFrame(matrix, half_axes, frame.residual_mm)


def _unit(points: np.ndarray) -> np.ndarray:
    return points / np.linalg.norm(points, axis=-1, keepdims=True)
