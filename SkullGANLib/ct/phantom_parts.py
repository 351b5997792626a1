"""The parts of the head that are not its vault: face, skull base, jaw, spine, air spaces, as a table of solids.

Positions are in the head frame of a mean head (x left, y back, z up, mm): glabella (0, -90, 0), nasion (0, -87, -10),
ear canal (60, 8, -46), basion (0, 0, -60), opisthion (0, 36, -60), teeth at z = -85, chin (0, -92, -112).
Parts are painted in the order of the table; ``paired`` ones on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from SkullGANLib.ct.anatomy import MEAN_HALF_AXES_MM
from SkullGANLib.ct.phantom_canvas import Ellipsoid, Shape, Slab, Tube, mirrored, smooth_union
from SkullGANLib.ct.phantom_parameters import PhantomParameters

LABELS = {
    "air": 0,
    "outer_table": 1,
    "diploe": 2,
    "inner_table": 3,
    "brain": 4,
    "csf": 5,
    "soft_tissue": 6,
    "skull_base": 7,
    "mandible": 8,
    "teeth": 9,
    "vertebra": 10,
    "sinus": 11,
    "suture": 12,
    "table": 13,
    "metal": 14,
}


class MeanHead:
    """Where points of a subject lie in the mean head: scaled by its size, the face longer or shorter, bent a little.

    Args:
        seed: chooses the bends.
        parameters: the subject.
    """

    def __init__(self, seed: int, parameters: PhantomParameters) -> None:
        self.scale = (np.array(MEAN_HALF_AXES_MM) / parameters.half_axes_mm).astype(np.float32)
        self.face = np.float32(1 - 1 / parameters.face_scale)
        self.bends = np.random.default_rng([seed, 5]).uniform(0, 2 * np.pi, 3).astype(np.float32)

    def __call__(self, head: np.ndarray) -> np.ndarray:
        """(3, ...) positions in the mean head of head-frame points; within ``SLACK_MM`` of the scaled ones."""
        x, y, z = (h * s for h, s in zip(head, self.scale, strict=True))
        y = y - self.face * np.minimum(y + 40, 0)
        z = z - self.face * np.clip(z + 40, -70, 0)
        a, b, c = self.bends
        return np.stack(
            [
                x + np.float32(1.2) * np.sin(y / 19 + a) * np.sin(z / 23 + b),
                y + np.float32(1.0) * np.sin(x / 17 + c) * np.sin(z / 15 + a),
                z + np.float32(1.0) * np.sin(x / 15 + b) * np.sin(y / 18 + c),
            ]
        )


@dataclass(frozen=True)
class Part:
    """A solid, what it is made of and the label it gets."""

    shape: Shape
    material: str
    label: str
    paired: bool = False

    def shapes(self) -> tuple[Shape, ...]:
        """The solid, and its mirror image if it is paired."""
        return (self.shape, mirrored(self.shape)) if self.paired else (self.shape,)


FACE = Ellipsoid((0, -46, -42), (64, 52, 50))
JAW = Ellipsoid((0, -38, -82), (52, 52, 40))
CHIN = Ellipsoid((0, -80, -110), (20, 18, 14))
NOSE = Tube(((0, -92, -10), (0, -98, -28), (0, -107, -46), (0, -98, -54)), (5, 6.5, 9, 10))
LIPS = Ellipsoid((0, -86, -76), (26, 14, 12))
NECK = Tube(((0, 22, -30), (0, 28, -110), (0, 34, -220)), (55, 54, 58))
LIDS = Ellipsoid((33, -68, -26), (21, 23, 19))
CHEEK = Ellipsoid((40, -62, -50), (24, 22, 20))
EAR = Ellipsoid((76, 14, -38), (4, 16, 30), -25)

# Solids that the scalp is joined with to make the skin, and the length over which the crease between them is filled.
SKIN = (
    (FACE, 14),
    (JAW, 16),
    (NECK, 18),
    (CHIN, 10),
    (NOSE, 6),
    (LIPS, 6),
    *((side, width) for shape, width in ((LIDS, 8), (CHEEK, 12), (EAR, 4)) for side in (shape, mirrored(shape))),
)

TEMPORAL_FOSSA = Ellipsoid((37, -20, -24), (25, 25, 20))
POSTERIOR_FOSSA = Ellipsoid((0, 37, -30), (54, 45, 34))
SELLA = Ellipsoid((0, -24, -25), (7, 6, 6))
FOSSAE = (TEMPORAL_FOSSA, mirrored(TEMPORAL_FOSSA), POSTERIOR_FOSSA, SELLA)


def fossa_plane(points: np.ndarray) -> np.ndarray:
    """Distance to the space above the anterior fossa and its level further back, negative inside.

    The floor bulges over the orbits, dips at the cribriform plate and falls towards the occiput; joined with
    ``FOSSAE`` this is the floor of the skull's cavity.
    """
    x, y, z = points
    distance = -z - 13 + 4 * np.exp(-(((np.abs(x) - 30) / 14) ** 2)) - 5 * np.exp(-((x / 7) ** 2))
    return distance - np.float32(0.3) * np.maximum(y + 40, 0)


def _arch(z: float, radius: float) -> Tube:
    side = ((29, -46), (28, -58), (25, -69), (18, -79), (9, -85.5))
    around = (*side, (0, -87.5), *((-x, y) for x, y in side[::-1]))
    return Tube(tuple((x, y, z) for x, y in around), (radius,) * len(around))


def _ring(centre: tuple[float, float, float], half_x: float, half_y: float, radius: float) -> Tube:
    turns = np.linspace(0, 2 * np.pi, 13)
    x, y, z = centre
    return Tube(tuple((x + half_x * np.sin(t), y + half_y * np.cos(t), z) for t in turns), (radius,) * 13)


def _teeth() -> list[Part]:
    places = ((4, -87), (11, -84.5), (17, -80), (21.5, -74), (25, -67.5), (27, -60), (28.5, -51.5))
    widths = (3.2, 2.9, 3.4, 3.3, 3.5, 4.5, 4.6)
    parts = []
    for (x, y), r in zip(places, widths, strict=True):
        for edge, neck, root in ((-85.5, -79, -69), (-86.5, -93, -102)):
            crown = ((x, y, edge + np.sign(edge + 86) * r * 0.8), (x, y, neck))
            parts.append(Part(Tube(crown, (r, r * 0.9)), "enamel", "teeth", True))
            core = (crown[0], (x, y, neck), (x * 0.97, y, root))
            parts.append(Part(Tube(core, (r - 1.6, r * 0.7, 1.2)), "dentine", "teeth", True))
    return parts


def _spine() -> list[Part]:
    parts = [
        Part(_ring((0, 22, -75), 24, 21, 4.5), "bone", "vertebra"),
        Part(Ellipsoid((20, 10, -73), (9, 10, 7)), "bone", "vertebra", True),
        Part(Tube(((0, 6, -66), (0, 8, -92)), (5.0, 6.0)), "bone", "vertebra"),
    ]
    for level in range(6):
        z, y = -95 - 17 * level, 10 + 1.5 * level
        parts += [
            Part(Ellipsoid((0, y, z), (12, 9.5, 7.2)), "bone", "vertebra"),
            Part(_ring((0, y + 15, z), 18, 14, 4), "bone", "vertebra"),
            Part(Ellipsoid((20, y + 9, z), (8, 7, 8)), "bone", "vertebra", True),
            Part(Tube(((0, y + 28, z - 2), (0, y + 44, z - 7)), (4, 4.5)), "bone", "vertebra"),
        ]
    return parts


BONES = (
    # Skull base: sphenoid, clivus, petrous pyramid, mastoid, styloid, condyle, pterygoid.
    Part(Ellipsoid((0, -28, -36), (18, 17, 14)), "bone", "skull_base"),
    Part(Tube(((0, -16, -24), (0, -10, -40), (0, -3, -57)), (8, 9, 6)), "bone", "skull_base"),
    Part(Tube(((60, 19, -47), (38, 6, -38), (15, -9, -38)), (9, 10, 6)), "bone", "skull_base", True),
    Part(Tube(((57, 22, -44), (57, 23, -54), (54, 20, -70)), (11, 12, 6)), "bone", "skull_base", True),
    Part(Tube(((56, 28, -46), (45, 46, -52)), (8, 4)), "bone", "skull_base", True),
    Part(Tube(((40, 6, -54), (38, 1, -80)), (2.5, 1.2)), "bone", "skull_base", True),
    Part(Ellipsoid((18, 5, -63), (6, 11, 6), -20), "bone", "skull_base", True),
    Part(Tube(((13, -38, -46), (14, -41, -60), (14, -39, -76)), (4, 2, 2)), "bone", "skull_base", True),
    Part(Tube(((15, -36, -46), (20, -33, -60), (21, -31, -72)), (4, 1.6, 1.5)), "bone", "skull_base", True),
    Part(Ellipsoid((44, -42, -30), (9, 8, 20), -35), "bone", "skull_base", True),
    # Face: maxilla, alveolar arch, palate, ethmoid, orbit, cheek bone and arch, rims, nose.
    Part(Ellipsoid((0, -68, -60), (36, 21, 19)), "bone", "skull_base"),
    Part(_arch(-74, 5.5), "bone", "skull_base"),
    Part(Slab((0, -65, -71), (24, 19, 1.5)), "bone", "skull_base"),
    Part(Ellipsoid((0, -60, -26), (13, 26, 13)), "bone", "skull_base"),
    Part(Ellipsoid((31, -57, -26), (19, 30, 17), 20), "bone", "skull_base", True),
    Part(Tube(((24, -79, -50), (44, -70, -48), (55, -58, -47)), (5, 8, 5)), "bone", "skull_base", True),
    Part(
        Tube(((55, -58, -47), (63, -40, -45), (66, -22, -44), (62, -4, -43)), (5, 2.8, 2.4, 4)),
        "bone",
        "skull_base",
        True,
    ),
    Part(Tube(((44, -70, -47), (48, -69, -28), (44, -66, -14)), (5, 3.5, 4)), "bone", "skull_base", True),
    Part(Tube(((8, -86, -14), (28, -82, -14), (44, -69, -15)), (4, 3.5, 4)), "bone", "skull_base", True),
    Part(Tube(((0, -87, -8), (3, -90, -16)), (5, 3)), "bone", "skull_base", True),
    Part(Ellipsoid((8.5, -86.5, -26), (1.6, 10, 19), -38), "bone", "skull_base", True),
    Part(Tube(((14, -82, -34), (17, -80, -52)), (2, 4)), "bone", "skull_base", True),
    # Lower jaw.
    Part(Ellipsoid((50, -3, -51), (9, 4.5, 5)), "bone", "mandible", True),
    Part(Tube(((50, -3, -52), (49, -4, -70), (47, -8, -94)), (4.0, 4.0, 5)), "bone", "mandible", True),
    Part(Ellipsoid((48, -16, -80), (4, 15, 22)), "bone", "mandible", True),
    Part(Tube(((46, -31, -52), (47, -26, -74)), (1.8, 3.5)), "bone", "mandible", True),
    Part(
        Tube(((47, -9, -95), (40, -35, -104), (28, -62, -109), (12, -82, -111), (0, -86, -111)), (5, 6, 7, 8, 8)),
        "bone",
        "mandible",
        True,
    ),
    Part(_arch(-100, 5.5), "bone", "mandible"),
    *_spine(),
)

CONTENTS = (
    Part(Ellipsoid((36, 5, -38), (10, 6, 6), 35), "petrous", "skull_base", True),
    Part(Tube(((57, 22, -44), (57, 23, -54), (54, 20, -66)), (8.5, 9.5, 5)), "cells", "skull_base", True),
    *_teeth(),
    # Orbits.
    Part(Ellipsoid((31, -60, -26), (17.5, 32, 15.5), 20), "fat", "soft_tissue", True),
    Part(Tube(((32, -66, -26), (22, -50, -25), (13, -38, -24)), (2.2, 2.2, 2.2)), "muscle", "soft_tissue", True),
    Part(Tube(((43, -74, -26), (40, -60, -26), (18, -40, -24)), (1.5, 2.6, 1.5)), "muscle", "soft_tissue", True),
    Part(Tube(((21, -74, -26), (20, -60, -26), (13, -40, -24)), (1.5, 2.6, 1.5)), "muscle", "soft_tissue", True),
    Part(Tube(((32, -74, -14), (29, -60, -14), (14, -40, -22)), (1.5, 2.5, 1.5)), "muscle", "soft_tissue", True),
    Part(Tube(((32, -74, -38), (29, -60, -38), (14, -40, -27)), (1.5, 2.5, 1.5)), "muscle", "soft_tissue", True),
    Part(Ellipsoid((32, -77, -26), (12.2, 12.2, 12.2)), "muscle", "soft_tissue", True),
    Part(Ellipsoid((32, -77, -26), (11, 11, 11)), "water", "soft_tissue", True),
    Part(Ellipsoid((32, -86, -26), (4.5, 2.2, 4.5)), "lens", "soft_tissue", True),
    # Air spaces, with the turbinates and the septum in them.
    Part(Ellipsoid((24, -63, -56), (11, 17, 15)), "air", "sinus", True),
    Part(Ellipsoid((8, -28, -36), (6.8, 11, 9)), "air", "sinus", True),
    Part(Ellipsoid((6.5, -60, -25), (6.2, 23, 10)), "septa", "sinus", True),
    Part(Ellipsoid((6.3, -68, -56), (5.8, 26, 13)), "air", "sinus", True),
    Part(Ellipsoid((4, -70, -40), (2.8, 20, 12)), "air", "sinus", True),
    Part(Tube(((7.5, -82, -61), (7, -52, -61)), (2.8, 3.2)), "muscle", "soft_tissue", True),
    Part(Tube(((6.5, -76, -50), (6, -54, -49)), (1.8, 2.2)), "muscle", "soft_tissue", True),
    Part(Tube(((8, -80, -61), (8, -54, -61)), (0.6, 0.6)), "bone", "skull_base", True),
    Part(Tube(((6, -92, -54), (6, -104, -58)), (4, 3.5)), "air", "sinus", True),
    Part(Slab((0.6, -64, -46), (0.45, 22, 23)), "thin_bone", "skull_base"),
    Part(Ellipsoid((0, -32, -60), (13, 9, 13)), "air", "sinus"),
    Part(Tube(((0, -28, -66), (0, -20, -100), (0, -22, -128)), (7, 7, 9)), "air", "sinus"),
    Part(Tube(((0, -26, -128), (0, -24, -220)), (5, 9)), "air", "sinus"),
    Part(Tube(((84, 9, -49), (68, 9, -51), (49, 8, -49)), (5, 3.4, 3.2)), "air", "sinus", True),
    Part(Ellipsoid((46, 6, -47), (2.5, 5, 6)), "air", "sinus", True),
    # Spinal canal and the cord in it.
    Part(Tube(((0, 18, -50), (0, 18, -66), (0, 23, -90), (0, 32, -220)), (15, 14, 9, 8)), "water", "csf"),
    Part(Tube(((0, 14, -44), (0, 18, -66), (0, 23, -90), (0, 32, -220)), (9, 7, 5.5, 5)), "brain", "brain"),
)

INSIDE = (
    Part(Tube(((9, -32, 18), (9, -12, 30), (12, 12, 30), (22, 26, 16)), (5, 4.5, 5, 6)), "water", "csf", True),
    Part(Tube(((22, 26, 16), (26, 44, 12)), (6, 2)), "water", "csf", True),
    Part(Tube(((22, 26, 16), (29, 8, -6), (30, -8, -14)), (5, 2.5, 2)), "water", "csf", True),
    Part(Slab((0, -6, 10), (1.8, 13, 10)), "water", "csf"),
    Part(Ellipsoid((0, 26, -30), (7, 5, 9)), "water", "csf"),
    Part(Slab((0, 10, 58), (0.7, 100, 30)), "dura", "brain"),
    Part(Slab((0, 70, 20), (0.7, 30, 30)), "dura", "brain"),
)


def base_distance(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of mean-head points (3, ...) to the space above the floor of the skull and to the nearest base bone."""
    cavity = reduce(lambda d, shape: smooth_union(d, shape.distance(points), 5), FOSSAE, fossa_plane(points))
    bones = [shape.distance(points) for part in BONES if part.label == "skull_base" for shape in part.shapes()]
    return cavity, np.minimum.reduce(bones)
