"""What makes one heart differ from another: the parameters of the heart phantom, their ranges and sources.

Sources: [K] Kawel-Boehm et al., J Cardiovasc Magn Reson 22:87, 2020 (ventricles, atria, wall); [W] Wolak et al., JACC
Cardiovasc Imaging 1:200, 2008 (ascending aorta 33 mm, 29-41 mm, in CT); [T] Truong et al., Circ Cardiovasc Imaging
5:147, 2012 (pulmonary trunk 25 mm, 21-29 mm); values without a letter are textbook anatomy or what CT angiography
shows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from SkullGANLib.errors import InputError

# Mean, standard deviation, lowest, highest.
_RANGES = {
    "scale": (1.0, 0.05, 0.85, 1.15),
    "lv_radius_mm": (23.5, 1.6, 19.0, 29.0),
    "lv_length_mm": (74.0, 4.0, 62.0, 88.0),
    "wall_mm": (9.5, 1.2, 6.5, 14.0),
    "rv_width_mm": (30.0, 2.5, 23.0, 38.0),
    "la_scale": (1.0, 0.08, 0.8, 1.3),
    "ra_scale": (1.0, 0.07, 0.8, 1.25),
    "aorta_radius_mm": (15.0, 1.2, 11.5, 19.0),
    "pulmonary_radius_mm": (12.5, 1.0, 10.0, 16.0),
    "pitch_deg": (0.0, 4.0, -9.0, 9.0),
    "roll_deg": (0.0, 4.0, -9.0, 9.0),
    "yaw_deg": (0.0, 6.0, -13.0, 13.0),
    "fat_mm": (5.0, 1.5, 2.0, 9.0),
    "left_hu": (370.0, 45.0, 260.0, 480.0),
    "right_share": (0.6, 0.18, 0.3, 1.0),
    "myocardium_hu": (100.0, 10.0, 75.0, 125.0),
    "lung_hu": (-860.0, 15.0, -900.0, -800.0),
    "chest_scale": (1.0, 0.035, 0.9, 1.1),
    "chest_fat_mm": (14.0, 4.0, 5.0, 26.0),
    "bone_hu": (1.0, 0.1, 0.7, 1.3),
}


@dataclass(frozen=True)
class HeartParameters:
    """One subject, at the end of diastole; ``sample`` draws within usual adults.

    Attributes:
        scale: size of heart and great vessels against the mean.
        lv_radius_mm, lv_length_mm: of the left ventricle's cavity: largest radius, valve plane to apex [K].
        wall_mm: thickness of the left ventricle's myocardium [K].
        rv_width_mm: septum to free wall of the right ventricle [K].
        la_scale, ra_scale: size of the atria against the mean [K].
        aorta_radius_mm, pulmonary_radius_mm: of ascending aorta [W] and pulmonary trunk [T].
        pitch_deg, roll_deg, yaw_deg: turns of the heart in the chest about x (left), y (back) and z (up).
        fat_mm: epicardial fat over the muscle.
        left_hu: contrast-filled left ventricle, left atrium and aorta.
        right_share: enhancement of the right heart as a share of that of the left; the pulmonary artery lies between.
        myocardium_hu: enhanced myocardium.
        lung_hu: lung between its vessels.
        chest_scale: size of the chest against the mean.
        chest_fat_mm: fat under the skin.
        bone_hu: factor on the HU of all bones.

    Raises:
        InputError: a value that no adult has.
    """

    scale: float
    lv_radius_mm: float
    lv_length_mm: float
    wall_mm: float
    rv_width_mm: float
    la_scale: float
    ra_scale: float
    aorta_radius_mm: float
    pulmonary_radius_mm: float
    pitch_deg: float
    roll_deg: float
    yaw_deg: float
    fat_mm: float
    left_hu: float
    right_share: float
    myocardium_hu: float
    lung_hu: float
    chest_scale: float
    chest_fat_mm: float
    bone_hu: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            low, high = _RANGES[name][2:]
            if not low <= value <= high:
                raise InputError(f"The phantom's {name} is {value:g}.", f"Give a value from {low:g} to {high:g}.")

    @classmethod
    def sample(cls, seed: int) -> HeartParameters:
        """Draw one adult. The same seed gives the same values everywhere."""
        rng = np.random.default_rng([seed, 11])
        drawn = {}
        for name, (mean, spread, low, high) in _RANGES.items():
            drawn[name] = float(np.clip(mean + spread * np.clip(rng.standard_normal(), -2, 2), low, high))
        return cls(**drawn)

    def as_dict(self) -> dict[str, float]:
        """Names and values, for JSON."""
        return {name: round(value, 4) for name, value in asdict(self).items()}
