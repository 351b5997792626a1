"""What makes one head differ from another: the parameters of the head phantom, their ranges and sources.

Sources: [M] Moreira-Gonzalez, Papay, Zins, Plast Reconstr Surg 117:1964, 2006 (thickness of the calvaria, 5.3-7.5 mm
on average, 3-12 mm over heads and sites); [L] Lillie et al., J Bone Miner Res 31:299, 2016 (tables 1-2 mm);
[C] Chang et al., J Neurosurg 124:411, 2016 (skull density ratio 0.3-0.9 over patients); [H] Howells, Cranial Variation
in Man, 1973 (size); [S] Hori et al., J Invest Dermatol 58:396, 1972 (scalp); values without a letter are textbook
anatomy or what clinical CT shows.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

import numpy as np

from SkullGANLib.ct.anatomy import MEAN_HALF_AXES_MM
from SkullGANLib.errors import InputError

LIMITS = {
    "half_breadth_mm": (62.0, 82.0),
    "half_length_mm": (78.0, 102.0),
    "height_mm": (64.0, 84.0),
    "thickness_mm": (4.5, 9.0),
    "temporal_thinning": (0.3, 0.65),
    "occipital_thickening": (0.1, 0.5),
    "thickness_variation": (0.0, 0.15),
    "outer_table_mm": (1.0, 2.2),
    "inner_table_mm": (0.8, 1.8),
    "outer_hu": (1300.0, 2100.0),
    "inner_hu": (1200.0, 2000.0),
    "diploe_hu": (350.0, 1350.0),
    "texture_mm": (0.8, 2.0),
    "texture_contrast": (0.0, 0.6),
    "asymmetry_mm": (0.0, 2.0),
    "bumps_mm": (0.0, 2.0),
    "scalp_mm": (3.0, 9.0),
    "suture_mm": (0.0, 1.6),
    "sinus_size": (0.0, 1.4),
    "pneumatisation": (0.0, 1.0),
    "face_scale": (0.94, 1.06),
}


@dataclass(frozen=True)
class PhantomParameters:
    """One subject. ``LIMITS`` holds what each value may be; ``sample`` draws within usual adults.

    Attributes:
        half_breadth_mm, half_length_mm, height_mm: size of the vault's outer surface; height above the head frame's
            origin [H].
        thickness_mm: mean thickness of the parietal bone [M].
        temporal_thinning: share by which the temporal squama is thinner than the parietal bone [M].
        occipital_thickening: share by which the bone is thicker towards the inion [M].
        thickness_variation: standard deviation of the smooth variation of thickness over one head, as a share [M].
        outer_table_mm, inner_table_mm: thickness of the tables in thick bone; in thin bone they merge [L].
        outer_hu, inner_hu: HU of the tables before the scanner's blur.
        diploe_hu: mean HU of the diploe; with the tables it makes the skull density ratio [C].
        texture_mm: correlation length of the marrow spaces along the shell.
        texture_contrast: standard deviation of the texture as a share of ``diploe_hu``.
        asymmetry_mm, bumps_mm: standard deviation of the odd and of the even departure from the mean vault.
        scalp_mm: thickness of the scalp on the vertex [S].
        suture_mm: width of the sutures; 0 is a skull with closed sutures.
        sinus_size: size of the frontal sinus against the average; 0 is none.
        pneumatisation: share of air in the mastoid.
        face_scale: size of the face against the average.
    """

    half_breadth_mm: float = MEAN_HALF_AXES_MM[0]
    half_length_mm: float = MEAN_HALF_AXES_MM[1]
    height_mm: float = MEAN_HALF_AXES_MM[2]
    thickness_mm: float = 6.5
    temporal_thinning: float = 0.5
    occipital_thickening: float = 0.25
    thickness_variation: float = 0.06
    outer_table_mm: float = 1.6
    inner_table_mm: float = 1.3
    outer_hu: float = 1750.0
    inner_hu: float = 1600.0
    diploe_hu: float = 750.0
    texture_mm: float = 1.25
    texture_contrast: float = 0.38
    asymmetry_mm: float = 0.8
    bumps_mm: float = 1.0
    scalp_mm: float = 5.5
    suture_mm: float = 1.0
    sinus_size: float = 0.9
    pneumatisation: float = 0.6
    face_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a value that no head has.

        Raises:
            InputError: a value is not a number or lies outside ``LIMITS``.
        """
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(f"The phantom's {name} is {value:g}.", f"Give a value from {low:g} to {high:g}.")

    @property
    def half_axes_mm(self) -> np.ndarray:
        """(3,) half breadth, half length and height, as ``ct.anatomy.vault_radius`` takes them."""
        return np.array([self.half_breadth_mm, self.half_length_mm, self.height_mm])

    @classmethod
    def sample(cls, seed: int) -> PhantomParameters:
        """Draw one adult. The same seed gives the same values everywhere."""
        rng = np.random.default_rng([seed, 1])
        size = rng.normal(1, 0.025)

        def normal(mean: float, spread: float) -> float:
            return mean + spread * float(np.clip(rng.standard_normal(), -2, 2))

        breadth, length, height = (float(size) * normal(a, 0.025 * a) for a in MEAN_HALF_AXES_MM)
        outer_hu = normal(1720, 110)
        # Density of the diploe is what differs most between patients and decides their skull density ratio.
        diploe_hu = float(np.clip(outer_hu * rng.triangular(0.33, 0.46, 0.86), 400, 1300))
        values = {
            "half_breadth_mm": breadth,
            "half_length_mm": length,
            "height_mm": height,
            "thickness_mm": normal(6.5, 0.7),
            "temporal_thinning": normal(0.5, 0.05),
            "occipital_thickening": normal(0.28, 0.07),
            "thickness_variation": normal(0.07, 0.02),
            "outer_table_mm": normal(1.6, 0.15),
            "inner_table_mm": normal(1.3, 0.12),
            "outer_hu": outer_hu,
            "inner_hu": outer_hu - normal(130, 40),
            "diploe_hu": diploe_hu,
            "texture_mm": normal(1.25, 0.12),
            "texture_contrast": normal(0.38, 0.05),
            "asymmetry_mm": normal(0.7, 0.25),
            "bumps_mm": normal(1.0, 0.25),
            "scalp_mm": normal(5.5, 0.8),
            "suture_mm": max(0.0, normal(0.95, 0.15)),
            "sinus_size": max(0.0, normal(0.85, 0.25)),
            "pneumatisation": normal(0.55, 0.15),
            "face_scale": normal(1.0, 0.025),
        }
        return cls(**{name: float(np.clip(value, *LIMITS[name])) for name, value in values.items()})

    def as_dict(self) -> dict[str, float]:
        """Names and values, for JSON."""
        return {name: round(value, 4) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, float]) -> PhantomParameters:
        """The parameters of ``as_dict``.

        Raises:
            InputError: an unknown name or an impossible value.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InputError(f"The phantom has no parameter {unknown[0]}.", f"Known are {', '.join(sorted(known))}.")
        return cls(**values)
