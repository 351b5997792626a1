"""The heart phantom's chambers and great vessels as signed distances.

The chest frame is LPS with its origin near the crux of the heart: x to the patient's left, y to the back, z up, mm.
Chambers are ellipsoids and tubes, cut by the planes of the valves and by each other's walls, so that they touch only
where blood flows from one into the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from SkullGANLib.ct.heart_parameters import HeartParameters
from SkullGANLib.ct.phantom_canvas import Tube, smooth_union

HEART_LABELS = {
    1: "left ventricle",
    2: "right ventricle",
    3: "left atrium",
    4: "right atrium",
    5: "myocardium",
    6: "pulmonary artery",
    7: "aorta",
}

APEX = np.array([0.58, -0.62, -0.53]) / np.linalg.norm([0.58, -0.62, -0.53])  # direction of the long axis
BASE = np.array([12.0, 2.0, 8.0])  # middle of the left ventricle's valve plane
TO_RIGHT = np.array([-0.79, -0.60, -0.15])  # about across the long axis, out of the septum into the right ventricle
TO_RIGHT = TO_RIGHT - (TO_RIGHT @ APEX) * APEX
TO_RIGHT /= np.linalg.norm(TO_RIGHT)
DOWN = np.cross(APEX, TO_RIGHT)
LV_AXES = np.stack([APEX, TO_RIGHT, DOWN])
MITRAL = np.array([0.47, 0.78, -0.40])  # from the middle of the valve plane to the mitral valve
TRICUSPID, TRICUSPID_NORMAL = np.array([-21.0, -14.0, -8.0]), np.array([0.78, -0.58, -0.23])
PULMONARY, PULMONARY_NORMAL = np.array([14.0, -46.0, 38.0]), np.array([0.10, 0.58, 0.81])
DESCENDING = ((31.0, 58.0, 72.0), (29.0, 64.0, 50.0), (27.0, 65.0, 0.0), (22.0, 64.0, -110.0))

ATRIAL_WALL_MM, RV_WALL_MM, VESSEL_WALL_MM = 2.0, 3.5, 1.5
GAP_MM = 2.2  # between chambers that do not open into each other
CREASE_MM = 22.0  # width over which fat fills the grooves of the heart
RIM_SHARE = 0.9  # of the wall's thickness, over which its edge at the valves is rounded
APICAL_SHARE = 0.75  # thickness of the apex as a share of the wall


@dataclass(frozen=True, eq=False)
class Egg:
    """An ellipsoid turned in space: ``axes`` (3, 3) has its unit axes as rows."""

    centre: np.ndarray
    axes: np.ndarray
    radii: tuple[float, float, float]

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points (3, ...), negative inside; exact at the surface, close to it near by."""
        off = [p - np.float32(c) for p, c in zip(points, self.centre, strict=True)]
        size = slope = np.float32(0)
        for axis, radius in zip(self.axes.astype(np.float32), self.radii, strict=True):
            along = (axis[0] * off[0] + axis[1] * off[1] + axis[2] * off[2]) / np.float32(radius)
            size = size + along * along
            slope = slope + (along / np.float32(radius)) ** 2
        size, slope = np.sqrt(size), np.sqrt(slope)
        return size * (size - 1) / np.maximum(slope, np.float32(1e-4))


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane through ``point``; positive on the side ``normal`` points to."""

    point: np.ndarray
    normal: np.ndarray

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points (3, ...)."""
        normal = (self.normal / np.linalg.norm(self.normal)).astype(np.float32)
        return sum(n * (p - np.float32(c)) for n, p, c in zip(normal, points, self.point, strict=True))


class Heart:
    """One subject's heart in the chest frame.

    Attributes:
        veins: tubes of blood without a label: pulmonary veins, superior and inferior vena cava, with the name of the
            chamber they enter.
    """

    def __init__(self, parameters: HeartParameters) -> None:
        p = self.parameters = parameters
        turn = Rotation.from_euler("xyz", (p.pitch_deg, p.roll_deg, p.yaw_deg), degrees=True).as_matrix()
        self._turn = turn * p.scale
        radius, length = p.lv_radius_mm, p.lv_length_mm
        middle, half = 0.3 * length, 0.7 * length
        self._base = self._plane(BASE, APEX)
        self._cavity = self._egg(BASE + middle * APEX, LV_AXES, (half, radius, radius))
        apex, across = half + APICAL_SHARE * p.wall_mm, radius + p.wall_mm
        self._outer = self._egg(BASE + middle * APEX, LV_AXES, (apex, across, across))
        self._papillary = [
            self._tube(
                [BASE + 0.32 * length * APEX + 0.50 * side, BASE + 0.72 * length * APEX + 0.66 * side],
                (2.6, 4.2),
            )
            for side in (-radius * TO_RIGHT * 0.9 + radius * DOWN * 0.55, -radius * TO_RIGHT * 0.2 - radius * DOWN)
        ]
        mitral = MITRAL - (MITRAL @ APEX) * APEX
        mitral /= np.linalg.norm(mitral)
        atrium, s = np.array([5.0, 31.0, 14.0]), p.la_scale
        self._la = [
            self._egg(atrium, np.eye(3), (33 * s, 20 * s, 25 * s)),
            self._tube([atrium, BASE + 8 * mitral + 2 * APEX], (17 * s, 0.63 * radius)),
        ]
        self._la_appendage = self._tube([(33, 17, 22), (43, -3, 30), (41, -16, 32)], (8.5 * s, 9.0 * s, 6.5))
        s = p.ra_scale
        self._ra = self._egg(np.array([-40.0, 6.0, -3.0]), np.eye(3), (24 * s, 26 * s, 33 * s))
        self._ra_inflow = self._tube([(-40, 6, -3), TRICUSPID + 3 * TRICUSPID_NORMAL], (15.0, 14.0))
        self._ra_appendage = self._tube([(-38, -10, 16), (-26, -28, 26), (-20, -35, 28)], (13 * s, 10 * s, 7))
        self._tricuspid = self._plane(TRICUSPID, TRICUSPID_NORMAL)
        across = radius + p.wall_mm  # the septum's right side
        centre = BASE + 0.36 * length * APEX + (across + p.rv_width_mm - 32) * TO_RIGHT - 3 * DOWN
        self._rv = self._egg(centre, LV_AXES, (0.6 * length, 32.0, 37.0))
        self._rv_inflow = self._tube([TRICUSPID - 3 * TRICUSPID_NORMAL, centre], (14.0, 17.0))
        r = p.pulmonary_radius_mm
        conus = [centre + 4 * TO_RIGHT - 8 * DOWN, (10, -47, 14), PULMONARY]
        self._conus = self._tube(conus, (20.0, 1.35 * r, 1.05 * r))
        self._valve = self._plane(PULMONARY, PULMONARY_NORMAL)
        self._pulmonary = [
            self._tube([PULMONARY, (17, -27, 57), (18, -4, 65)], (1.05 * r, 1.08 * r, r)),
            self._tube([(17, 0, 64), (-4, 20, 59), (-24, 23, 55), (-48, 20, 49)], (0.8 * r, 0.78 * r, 0.74 * r, 7.5)),
            self._tube([(19, -2, 65), (38, 18, 67), (54, 34, 60)], (0.82 * r, 0.76 * r, 7.5)),
        ]
        r = p.aorta_radius_mm
        root = BASE - 9 * mitral
        ascending = [root + 2 * APEX, (-1, -8, 24), (-8, -10, 37), (-14, -9, 58), (-10, 1, 81), (6, 15, 93)]
        body = [*map(self._place, ascending), np.array([24.0, 37.0, 89.0]), np.array(DESCENDING[0])]
        shares = (0.86, 1.1, 0.98, 1.04, 0.97, 0.9, 0.84, 0.8)
        self._aorta = Tube(tuple(map(tuple, body)), tuple(r * p.scale * share for share in shares))
        veins = {
            "left atrium": [
                ([(-18, 30, 22), (-36, 27, 29), (-58, 22, 38)], (8, 7, 5)),
                ([(-16, 40, 6), (-36, 46, 1), (-60, 54, -6)], (8, 7, 5)),
                ([(26, 30, 26), (44, 27, 34), (62, 20, 42)], (8, 7, 5)),
                ([(24, 41, 8), (42, 45, 4), (62, 50, -2)], (8, 7, 5)),
            ],
            "right atrium": [
                ([(-36, 6, 22), (-37, 5, 44), (-34, 2, 66), (-30, -2, 120)], (10.5, 9.5, 9, 9)),
                ([(-34, 16, -26), (-32, 20, -46), (-30, 24, -110)], (12, 12, 12)),
            ],
        }
        self.veins = [(name, self._tube(*tube)) for name, tubes in veins.items() for tube in tubes]
        self.descending = Tube(DESCENDING, tuple(r * p.scale * share for share in (0.8, 0.78, 0.76, 0.72)))
        self.coronaries = self._coronaries()

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Opposite corners of a box around chambers, great vessels and their fat, mm."""
        return np.array([-92.0, -92.0, -82.0]), np.array([98.0, 92.0, 128.0])

    def solids(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """Signed distances of points (3, ...): the names of ``HEART_LABELS``, ``wall`` (all muscle and vessel walls
        with what they enclose) and ``sac`` (the same with its fat).

        The labelled solids do not overlap.
        """
        p = self.parameters
        base, valve, tricuspid = (plane.distance(points) for plane in (self._base, self._valve, self._tricuspid))
        cavity = np.maximum(self._cavity.distance(points), -base)
        outer = _smooth_cut(self._outer.distance(points), -base, RIM_SHARE * p.wall_mm * p.scale)
        aorta = np.maximum(self._aorta.distance(points), base)
        left = smooth_union(self._la[0].distance(points), self._la[1].distance(points), 10.0)
        left = smooth_union(np.maximum(left, base), self._la_appendage.distance(points), 4.0)
        left = np.maximum(left, np.maximum(-outer, GAP_MM - aorta))
        right = smooth_union(self._rv.distance(points), self._conus.distance(points), 14.0)
        right = smooth_union(right, self._rv_inflow.distance(points), 8.0)
        right = np.maximum(np.maximum(right, valve), np.maximum(-outer, GAP_MM + 1 - aorta))
        right = np.maximum(right, -tricuspid)
        pulmonary = self._pulmonary[0].distance(points)
        for branch in self._pulmonary[1:]:
            pulmonary = smooth_union(pulmonary, branch.distance(points), 6.0)
        pulmonary = np.maximum(np.maximum(pulmonary, -valve), GAP_MM - aorta)
        left = np.maximum(left, GAP_MM - pulmonary)
        atrium = smooth_union(self._ra.distance(points), self._ra_inflow.distance(points), 8.0)
        atrium = np.maximum(atrium, tricuspid)
        appendage = np.maximum(self._ra_appendage.distance(points), GAP_MM + 1 - right)
        atrium = smooth_union(atrium, appendage, 5.0)
        atrium = np.maximum(atrium, np.maximum(GAP_MM - left, GAP_MM - aorta))
        atrium = np.maximum(atrium, np.maximum(-right, 1.5 - outer))
        atrium = np.maximum(atrium, GAP_MM - pulmonary)
        wall = outer
        thick = ((right, RV_WALL_MM), (atrium, ATRIAL_WALL_MM), (left, ATRIAL_WALL_MM))
        for solid, mm in (*thick, (aorta, VESSEL_WALL_MM), (pulmonary, VESSEL_WALL_MM)):
            wall = np.minimum(wall, solid - np.float32(mm))
        sac = outer
        for solid in (right, atrium, left, pulmonary, aorta):
            sac = smooth_union(sac, solid, CREASE_MM)
        return {
            "left ventricle": cavity,
            "right ventricle": right,
            "left atrium": left,
            "right atrium": atrium,
            "myocardium": np.maximum(outer, -cavity),
            "pulmonary artery": pulmonary,
            "aorta": aorta,
            "wall": wall,
            "sac": sac - np.float32(p.fat_mm),
        }

    def papillary(self, points: np.ndarray) -> np.ndarray:
        """Signed distance to the papillary muscles, which belong to the cavity in label maps."""
        return np.minimum(*(muscle.distance(points) for muscle in self._papillary))

    def _coronaries(self) -> list[Tube]:
        """Left anterior descending, circumflex and right artery, laid on the surface of the muscle."""
        front = [BASE + t * APEX + 34 * (0.62 * TO_RIGHT - 0.78 * DOWN) for t in (2, 20, 40, 58)]
        courses = (
            ([(6, -18, 28), (16, -22, 28), *front], 2.0),
            ([(16, -22, 28), (34, -10, 24), (44, 8, 10), (40, 22, -8)], 1.7),
            ([(-10, -22, 26), (-22, -30, 16), (-28, -32, -4), (-24, -22, -26), (-8, -2, -30)], 1.8),
        )
        tubes = []
        for course, radius in courses:
            line = np.array([self._place(np.asarray(point, float)) for point in course])
            steps = np.linspace(0, len(line) - 1, 4 * len(line))
            line = np.stack([np.interp(steps, np.arange(len(line)), column) for column in line.T], axis=1)
            for _ in range(12):
                line += 0.6 * (radius + 0.8 - self._wall(line))[:, None] * self._outward(line)
                line[1:-1] = 0.5 * line[1:-1] + 0.25 * (line[:-2] + line[2:])
            radii = np.linspace(1.0, 0.6, len(line)) * radius
            tubes.append(Tube(tuple(map(tuple, line)), tuple(radii)))
        return tubes

    def _wall(self, line: np.ndarray) -> np.ndarray:
        return self.solids(line.T.astype(np.float32))["wall"]

    def _outward(self, line: np.ndarray) -> np.ndarray:
        slope = [self._wall(line + step) - self._wall(line - step) for step in np.eye(3)]
        normal = np.stack(slope, axis=1)
        return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-3)

    def _place(self, point: np.ndarray) -> np.ndarray:
        return self._turn @ np.asarray(point, float)

    def _plane(self, point: np.ndarray, normal: np.ndarray) -> Plane:
        return Plane(self._place(point), self._place(normal))

    def _egg(self, centre: np.ndarray, axes: np.ndarray, radii: tuple[float, float, float]) -> Egg:
        scale = self.parameters.scale
        return Egg(self._place(centre), axes @ self._turn.T / scale, tuple(scale * r for r in radii))

    def _tube(self, points: list, radii: tuple[float, ...]) -> Tube:
        placed = tuple(tuple(self._place(np.asarray(p, float))) for p in points)
        return Tube(placed, tuple(self.parameters.scale * r for r in radii))


def _smooth_cut(a: np.ndarray, b: np.ndarray, width_mm: float) -> np.ndarray:
    """Distance to what two solids share, with the edge rounded over ``width_mm``."""
    return -smooth_union(-a, -b, width_mm)
