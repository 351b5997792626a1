"""Where the bones of the skull vault lie: a mean outer surface and the borders between its regions.

The head frame has its origin midway between glabella and opisthocranion, x to the patient's left, y to the back,
z up (LPS axes of an upright head). Positions are divided by the half axes of the vault, (half breadth, half length,
height above the origin), so that one map fits every head.

Landmarks follow craniometry: nasion-bregma chord 110 mm and bregma-lambda chord 112 mm on a vault 180 mm long
(W. W. Howells, Cranial Variation in Man, 1973); squama 45 mm high above the ear canal; pterion 35-40 mm behind and
asterion 50 mm behind the middle of the head (Gray's Anatomy).
"""

from __future__ import annotations

import numpy as np

REGIONS = ("none", "temporal", "parietal", "frontal", "occipital")
TEMPORAL, PARIETAL, FRONTAL, OCCIPITAL = 1, 2, 3, 4

MEAN_HALF_AXES_MM = (72.0, 90.0, 74.0)
ROUNDNESS = 2.25  # exponent of the super-ellipsoid; 2 is an ellipsoid
BACKWARD_WIDENING = 0.07  # the vault is widest behind its middle
BACKWARD_RISE = 0.03
# Hills and hollows of the mean vault: centre (mirrored where off the middle), height in mm, width.
RELIEF = (
    ((0.42, -1.0, 0.02), 2.0, 0.20),  # brow
    ((0.0, 1.0, -0.28), 2.0, 0.14),  # inion
    ((0.95, -0.75, -0.10), -2.5, 0.22),  # temple
    ((0.0, -0.8, 0.65), -3.0, 0.35),  # slope of the forehead
    ((0.0, 0.62, 0.75), -1.5, 0.30),  # slope above lambda
)

# Borders as seen from the side, in (y, z) of half axes, from top to bottom.
_CORONAL = np.array([(-0.17, 1.05), (-0.33, 0.50), (-0.44, -0.08), (-0.42, -0.60), (-0.40, -1.0)])
_LAMBDOID = np.array([(0.96, 0.40), (0.82, 0.05), (0.58, -0.42), (0.48, -0.62), (0.40, -1.0)])
_SQUAMOSAL = np.array([(-0.44, -0.08), (-0.28, 0.06), (-0.06, 0.11), (0.16, 0.03), (0.38, -0.24), (0.58, -0.42)])
TEMPORAL_FLOOR = -0.62  # the ear canal
_FLOOR = np.array([(-1.2, -0.12), (-0.75, -0.16), (-0.44, -0.62), (0.48, -0.62), (0.85, -0.45), (1.2, -0.40)])


def vault_radius(directions: np.ndarray, half_axes_mm: np.ndarray) -> np.ndarray:
    """Distance from the origin of the head frame to the mean outer surface.

    Args:
        directions: (..., 3) unit vectors in the head frame.
        half_axes_mm: (3,) half breadth, half length, height.

    Returns:
        (...) mm.
    """
    x, y, z = np.moveaxis(np.maximum(np.abs(directions), 1e-6), -1, 0)
    back = directions[..., 1]
    breadth, length, height = half_axes_mm
    total = (x / (breadth * (1 + BACKWARD_WIDENING * back))) ** ROUNDNESS
    total += (y / length) ** ROUNDNESS + (z / (height * (1 + BACKWARD_RISE * back))) ** ROUNDNESS
    radius = total ** (-1 / ROUNDNESS)
    for centre, height_mm, width in RELIEF:
        radius = radius + height_mm * hill(directions, centre, width)
    return radius


def hill(directions: np.ndarray, centre: tuple[float, float, float], width: float) -> np.ndarray:
    """A Gaussian hill of height 1 around ``centre`` and, for a centre off the middle, around its mirror image.

    Args:
        directions: (..., 3) unit vectors.
        centre: a vector of any length.
        width: as an angle, radians.
    """
    middle = np.asarray(centre, float) / np.linalg.norm(centre)
    hills = [np.exp((directions @ (middle * (sign, 1, 1)) - 1) / width**2) for sign in (1, -1)]
    return np.maximum(*hills)


def region_of(points: np.ndarray) -> np.ndarray:
    """Region of points on the outer surface.

    Args:
        points: (..., 3) head-frame positions divided by the half axes.

    Returns:
        (...) uint8 index into ``REGIONS``; 0 below the vault (face, skull base).
    """
    _, y, z = np.moveaxis(np.asarray(points), -1, 0)
    region = np.full(y.shape, PARIETAL, np.uint8)
    squamosal = np.interp(y, _SQUAMOSAL[:, 0], _SQUAMOSAL[:, 1])
    region[(z < squamosal) & (z >= TEMPORAL_FLOOR)] = TEMPORAL
    region[y < np.interp(-z, -_CORONAL[:, 1], _CORONAL[:, 0])] = FRONTAL
    region[y > np.interp(-z, -_LAMBDOID[:, 1], _LAMBDOID[:, 0])] = OCCIPITAL
    region[z < vault_floor(y)] = 0
    return region


def vault_floor(y: np.ndarray) -> np.ndarray:
    """Lowest height that still belongs to the vault, at ``y``; both in half axes."""
    return np.interp(y, _FLOOR[:, 0], _FLOOR[:, 1])


def sutures() -> dict[str, np.ndarray]:
    """The borders seen from the side: name to (n, 2) polyline of (y, z) in half axes."""
    return {"coronal": _CORONAL[:3], "lambdoid": _LAMBDOID[:3], "squamosal": _SQUAMOSAL}
