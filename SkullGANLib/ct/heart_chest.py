"""What lies around the heart phantom: lungs and their vessels, mediastinum, chest wall, bones, upper abdomen."""

from __future__ import annotations

import numpy as np

from SkullGANLib.ct.heart_parameters import HeartParameters
from SkullGANLib.ct.heart_parts import Egg
from SkullGANLib.ct.phantom_canvas import Tube, smooth_union

RIB_STEP_MM, RIB_DROP_MM = 26.0, 115.0  # from one rib to the next; how far a rib falls from the spine to its front end
VERTEBRA_MM, DISC_MM = 25.0, 5.0
CORTEX_MM = 1.6
PULMONARY_BRANCHES, GENERATIONS = 15, 4
HILA = ((-50.0, 21.0, 46.0), (55.0, 30.0, 50.0))

AIR, FAT, MUSCLE, SKIN = -1000.0, -100.0, 55.0, 20.0


class Chest:
    """One subject's chest in the chest frame of ``heart_parts``; distances of points (3, ...), negative inside."""

    def __init__(self, seed: int, parameters: HeartParameters) -> None:
        self.parameters = parameters
        rng = np.random.default_rng([seed, 12])
        scale = parameters.chest_scale
        self._wall_mm = 12 + 0.4 * parameters.chest_fat_mm
        self._cage = (126 * scale, 83 * scale, 9.0)  # half breadth, half depth, y of the middle
        depth = parameters.chest_fat_mm
        self._skin = (self._cage[0] + 22 + depth, self._cage[1] + 30 + 0.55 * depth, 15.0)
        self.rib_phase_mm, self.vertebra_phase_mm = rng.uniform(0, RIB_STEP_MM), rng.uniform(0, VERTEBRA_MM)
        liver, left = rng.normal(0, 5), rng.normal(0, 5)
        self.liver = Egg(np.array([-58.0, 4.0, -118 + liver]), np.eye(3), (104.0, 104.0, 88.0))
        self.left_dome = Egg(np.array([56.0, 2.0, -131 + left]), np.eye(3), (96.0, 98.0, 90.0))
        self.oesophagus = Tube(((4, 57, 120), (8, 57, 40), (9, 56, 0), (12, 50, -120)), (6.5, 7, 7, 8))
        self.trachea = Tube(((-5, 42, 140), (-4, 43, 78)), (9.0, 9.0))
        self.bronchi = [
            Tube(((-4, 43, 76), (-24, 39, 60), (-52, 30, 44)), (8.0, 7.0, 5.0)),
            Tube(((-3, 43, 76), (24, 44, 58), (52, 42, 42)), (7.5, 6.0, 4.5)),
        ]
        self.vessels = [vessel for k in (0, 1) for vessel in _tree(rng, np.array(HILA[k]), -1 if k == 0 else 1)]

    def skin(self, points: np.ndarray) -> np.ndarray:
        """The body."""
        return _barrel(points, *self._skin)

    def cage(self, points: np.ndarray) -> np.ndarray:
        """What the ribs enclose."""
        return _barrel(points, *self._cage)

    def muscle(self, points: np.ndarray, cage: np.ndarray) -> np.ndarray:
        """Chest wall without fat: thin at the sides, thick beside the spine and over the front of the upper ribs."""
        x, y, z = points
        spine = np.exp(-((x / 52) ** 2)) * _above(y, 40, 30) * 30
        breast = np.exp(-(((np.abs(x) - 62) / 34) ** 2)) * _above(-y, 30, 30) * _above(z, -20, 60) * 14
        return cage - (12 + spine + breast).astype(np.float32)

    def mediastinum(self, points: np.ndarray, sac: np.ndarray, cage: np.ndarray) -> np.ndarray:
        """Everything between the lungs: heart with its fat, great vessels, spine, and both halves' meeting in front."""
        x, y, z = points
        spine = np.sqrt((x / np.float32(1.15)) ** 2 + (y - 90) ** 2) - np.float32(23)
        middle = np.sqrt((x / np.float32(1.5) - 4) ** 2 + ((y - 52) / np.float32(1.4)) ** 2) - np.float32(13)
        front = np.sqrt((x / np.float32(2.2)) ** 2 + (y + 74) ** 2) - np.float32(7)
        upper = np.sqrt((x / np.float32(1.35)) ** 2 + ((y - 14) / np.float32(1.5)) ** 2) - np.float32(25)
        upper = np.maximum(upper, 60 - z)
        joined = sac
        for part, width in ((middle, 16.0), (spine, 14.0), (front, 16.0), (upper, 16.0)):
            joined = smooth_union(joined, part, width)
        return np.maximum(joined, cage)

    def abdomen(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances to the liver and to what lies under the left dome of the diaphragm."""
        return self.liver.distance(points), self.left_dome.distance(points)

    def bones(self, points: np.ndarray, cage: np.ndarray) -> list[tuple[np.ndarray, float, float]]:
        """Distance, HU of the cortex, HU of the marrow, for ribs, sternum and vertebrae."""
        x, y, z = points
        share = self.parameters.bone_hu
        turn = np.arctan2(np.abs(x), (y - np.float32(self._cage[2])) * np.float32(1.4)) / np.float32(np.pi)
        level = z + np.float32(RIB_DROP_MM) * turn + np.float32(self.rib_phase_mm)
        level = np.mod(level, np.float32(RIB_STEP_MM)) - np.float32(RIB_STEP_MM / 2)
        out = cage - np.float32(6)
        rib = (np.sqrt((out / np.float32(4.2)) ** 2 + (level / np.float32(6.5)) ** 2) - 1) * np.float32(4.2)
        cartilage = np.maximum(rib, np.float32(0.8) - turn)
        rib = np.maximum(rib, turn - np.float32(0.8))
        rib = np.maximum(rib, np.float32(0.1) - turn)
        front = -self._cage[1] + self._cage[2] - 7
        wide = 15 + 6 * _above(z, 55, 20)
        sternum = np.sqrt((x / wide.astype(np.float32)) ** 2 + ((y - np.float32(front)) / 6) ** 2) - 1
        sternum = np.maximum(sternum * 6, -z - 38)
        place = np.mod(z + np.float32(self.vertebra_phase_mm), np.float32(VERTEBRA_MM)) - np.float32(VERTEBRA_MM / 2)
        waist = 1 + np.float32(0.0009) * place * place
        body = (np.sqrt((x / 18) ** 2 + ((y - 88) / 15) ** 2) - waist) * 15
        disc = np.float32(VERTEBRA_MM / 2 - DISC_MM / 2) - np.abs(place)
        body_bone = np.maximum(body, -disc)
        canal = np.sqrt((x / np.float32(1.15)) ** 2 + (y - 110) ** 2)
        arch = np.maximum(np.abs(canal - 11) - np.float32(2.6), np.abs(place) - 9)
        process = np.maximum(np.abs(x) - np.float32(3.2), np.abs(y - 127) - 13)
        process = np.maximum(process, np.abs(place + 0.35 * (y - 115)) - 7)
        wing = np.sqrt((y - 111 - np.float32(0.2) * np.abs(x)) ** 2 + (place / np.float32(1.4)) ** 2) - np.float32(4.4)
        wing = np.maximum(np.maximum(wing, np.abs(x) - 36), 11 - np.abs(x))
        back = np.maximum(np.minimum(np.minimum(arch, wing), process), np.float32(8.4) - canal)
        return [
            (np.maximum(body, disc), 85.0, 85.0),
            (cartilage, 110.0, 110.0),
            (rib, 780.0 * share, 260.0 * share),
            (sternum, 480.0 * share, 150.0 * share),
            (smooth_union(body_bone, back, 3.0), 620.0 * share, 190.0 * share),
        ]

    def cord(self, points: np.ndarray) -> np.ndarray:
        """The spinal canal."""
        return np.sqrt((points[0] / np.float32(1.15)) ** 2 + (points[1] - 110) ** 2) - np.float32(8.4)


def _barrel(points: np.ndarray, half_breadth: float, half_depth: float, middle_y: float) -> np.ndarray:
    """Signed distance to a column along z whose section is a super-ellipse, close to true near the surface."""
    x, y = np.abs(points[0]) + np.float32(1e-3), np.abs(points[1] - np.float32(middle_y)) + np.float32(1e-3)
    a, b = np.float32(half_breadth), np.float32(half_depth)
    along, across = _power(x / a), _power(y / b)
    size = (along + across) ** np.float32(1 / 2.5)
    slope = np.sqrt((along / x) ** 2 + (across / y) ** 2) * size / (along + across)
    return (size - 1) / slope


def _power(value: np.ndarray) -> np.ndarray:
    """``value`` to the power of 2.5, the roundness of a chest."""
    return value * value * np.sqrt(value)


def _above(value: np.ndarray, middle: float, width: float) -> np.ndarray:
    """0 well below ``middle``, 1 well above it."""
    return np.clip((value - np.float32(middle)) / np.float32(width) + np.float32(0.5), 0, 1)


def _tree(rng: np.random.Generator, hilum: np.ndarray, side: int) -> list[Tube]:
    """Vessels that leave one hilum and fork on their way to the pleura."""
    found, growing = [], []
    for k in range(PULMONARY_BRANCHES):
        height = -1.5 + 2.3 * (k + 0.5) / PULMONARY_BRANCHES
        course = np.array([side * rng.uniform(0.5, 1.0), rng.uniform(-0.8, 0.8), height])
        growing.append((hilum + rng.normal(0, 4, 3), course / np.linalg.norm(course), rng.uniform(2.8, 4.2)))
    for generation in range(GENERATIONS):
        forks = []
        for start, course, radius in growing:
            length = rng.uniform(24, 34) * 0.92**generation
            points = [start]
            for _ in range(2):
                course = course + rng.normal(0, 0.13, 3)
                course = course / np.linalg.norm(course)
                points.append(points[-1] + course * length / 2)
            found.append(Tube(tuple(map(tuple, points)), (radius, 0.92 * radius, 0.84 * radius)))
            for share in (0.74, 0.62, 0.5):
                turned = course + rng.normal(0, 0.45, 3)
                forks.append((points[-1], turned / np.linalg.norm(turned), radius * share))
        growing = [fork for fork in forks if fork[2] > 0.45]
    return found
