"""Density, sound speed and attenuation of a head from its Hounsfield units: the medium of an ultrasound simulation.

Bone follows a published relation, chosen by name; water, soft tissue and air are constants. No relation is known to be
right for every scanner: sound speed differs by some 15 % between them, so each says where it comes from.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from SkullGANLib.ct.acoustic_tissues import AIR, BONE, BONE_HU, find_materials, isotropic
from SkullGANLib.ct.checks import require_finite, value_notes
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError, ResourceError
from SkullGANLib.progress import Progress, report

DB_PER_NP = 20 / np.log(10)
MOST_CORTICAL_HU = 2000.0  # upper end of skull HU in transcranial simulation; denser voxels are teeth, metal or noise
CORTICAL_QUANTILE = 0.999
FAINT_CORTICAL_HU = 1200.0
POINTS_PER_WAVELENGTH = 6.0
FREQUENCY_MHZ = (0.02, 20.0)
SPACING_MM = (0.05, 5.0)
MOST_VOXELS = 400_000_000
UNEVEN = 1.05

Law: TypeAlias = Callable[[np.ndarray, float], np.ndarray]
"""From HU of bone, between 0 and that of solid cortical bone, and that HU, to a property of the same shape."""


@dataclass(frozen=True)
class Material:
    """A homogeneous material: kg/m3, m/s, dB/(MHz^y cm), y, and the source of these."""

    density: float
    sound_speed: float
    alpha: float
    alpha_power: float
    source: str


_SKULL2MEDIUM = "constants of skull2medium (B. E. Treeby, k-Wave)"
MATERIALS = {
    "water": Material(1000.0, 1500.0, 2.17e-3, 2.0, "Aubry et al. 2003; attenuation: " + _SKULL2MEDIUM),
    "soft tissue": Material(
        1045.0, 1550.0, 0.59, 1.2, "brain of the IT'IS tissue properties database 4.0, " + _SKULL2MEDIUM
    ),
    "air": Material(1.16, 343.0, 0.0, 2.0, _SKULL2MEDIUM + ", density as in nature"),
}
"""What is not bone, in the order of the labels of a materials map with bone left out."""


@dataclass(frozen=True)
class Relation:
    """How the Hounsfield units of skull bone become acoustic properties.

    Attributes:
        density: law of the density, kg/m3.
        sound_speed: law of the longitudinal sound speed, m/s.
        attenuation: law of the attenuation at 1 MHz, dB/cm; it grows as frequency to the power ``alpha_power``.
        alpha_power: y.
        citations: where the laws were published, one sentence each.
        valid_for: scans and bone that they hold for.
        kvp: tube voltage of the scans that they were fitted to; None where HU are scaled to each scan's bone.
    """

    density: Law
    sound_speed: Law
    attenuation: Law
    alpha_power: float
    citations: tuple[str, ...]
    valid_for: str
    kvp: float | None = None


def porosity(hu: np.ndarray, cortical_hu: float) -> np.ndarray:
    """Share of a voxel of bone that is not mineral: 1 at 0 HU, 0 in solid cortical bone (Aubry et al. 2003, eq. 3)."""
    return 1 - np.clip(np.asarray(hu, float) / cortical_hu, 0, 1)


def schneider_density(hu: np.ndarray) -> np.ndarray:
    """Mass density in kg/m3 of tissue at any HU: four straight lines through the tissues of Schneider et al. 1996.

    Slopes and intercepts are those that k-Wave's ``hounsfield2density`` fits, over HU + 1000.
    """
    scaled = np.asarray(hu, float) + 1000
    piece = np.searchsorted((930.0, 1098.0, 1260.0), scaled, side="right")
    slope = np.array((1.025793066, 0.908270969, 0.510836932, 0.662537091))
    intercept = np.array((-5.680404, 103.615146, 539.997719, 348.855518))
    return slope[piece] * scaled + intercept[piece]


def _between(low: float, high: float) -> Law:
    return lambda hu, cortical_hu: low + (high - low) * (1 - porosity(hu, cortical_hu))


def _aubry_attenuation(hu: np.ndarray, cortical_hu: float) -> np.ndarray:
    return 0.2 + (8.0 - 0.2) * np.sqrt(porosity(hu, cortical_hu))


def _schneider(hu: np.ndarray, cortical_hu: float) -> np.ndarray:
    return schneider_density(hu)


def _speed_of_density(hu: np.ndarray, cortical_hu: float) -> np.ndarray:
    return 1500 + (3100 - 1500) * (schneider_density(hu) - 1000) / (2200 - 1000)


def _webb(slope: float, intercept: float, alpha_np_cm: float, decay_per_hu: float, alpha_power: float, kernel: str):
    def at(hu: np.ndarray) -> np.ndarray:
        return np.maximum(np.asarray(hu, float), BONE_HU)

    return Relation(
        _schneider,
        lambda hu, cortical_hu: intercept + slope * at(hu),
        lambda hu, cortical_hu: DB_PER_NP * alpha_np_cm * np.exp(-decay_per_hu * at(hu)),
        alpha_power,
        (_CITED["webb speed"], _CITED["webb attenuation"], _CITED["schneider"]),
        f"GE scanner, 120 kV, {kernel} kernel, voxels of 0.5 x 0.5 x 0.6 mm; fitted to means over samples of ex vivo "
        f"skull at 0.5 to 2.25 MHz, so the attenuation of single porous voxels is an extrapolation (held below "
        f"{BONE_HU:g} HU). The density is not of these authors.",
        kvp=120.0,
    )


_CITED = {
    "aubry": "Aubry, Tanter, Pernot, Thomas, Fink: Experimental demonstration of noninvasive transskull adaptive "
    "focusing based on prior computed tomography scans. J. Acoust. Soc. Am. 113, 84-93 (2003). "
    "doi:10.1121/1.1529663.",
    "marsac": "Marsac et al.: Ex vivo optimisation of a heterogeneous speed of sound model of the human skull for "
    "non-invasive transcranial focused ultrasound at 1 MHz. Int. J. Hyperthermia 33, 635-645 (2017).",
    "schneider": "Density: Schneider, Pedroni, Lomax: The calibration of CT Hounsfield units for radiotherapy "
    "treatment planning. Phys. Med. Biol. 41, 111-124 (1996), as fitted by k-Wave's hounsfield2density.",
    "pinton": "Attenuation: Pinton, Aubry, Bossy, Muller, Pernot, Tanter: Attenuation, scattering, and absorption of "
    "ultrasound in the skull bone. Med. Phys. 39, 299-307 (2012). doi:10.1118/1.3668316.",
    "webb speed": "Sound speed: Webb et al.: Measurements of the relationship between CT Hounsfield units and acoustic "
    "velocity and how it changes with photon energy and reconstruction method. IEEE Trans. Ultrason. Ferroelectr. "
    "Freq. Control 65, 1111-1124 (2018). doi:10.1109/TUFFC.2018.2827899.",
    "webb attenuation": "Attenuation: Webb, Leung, Ghanouni, Dahl, Pelc, Butts Pauly: Acoustic attenuation: "
    "multifrequency measurement and relationship to CT and MR imaging. IEEE Trans. Ultrason. Ferroelectr. Freq. "
    "Control 68, 1532-1545 (2021). doi:10.1109/TUFFC.2020.3039743.",
}

RELATIONS: dict[str, Relation] = {
    "aubry": Relation(
        _between(1000, 2200),
        _between(1500, 3100),
        _aubry_attenuation,
        1.0,
        (_CITED["aubry"],),
        "Human skull, any clinical CT: HU are scaled to the densest bone of the scan, which stands for tube voltage "
        "and kernel. Attenuation is read as 0.2 to 8 dB/(MHz cm), linear in frequency, and falls with density.",
    ),
    "marsac": Relation(
        _between(1000, 2700),
        _between(1500, 3000),
        _aubry_attenuation,
        1.0,
        (_CITED["marsac"], "Attenuation: " + _CITED["aubry"]),
        "Human skull ex vivo at 1 MHz; HU are scaled to the densest bone of the scan. Its authors give no attenuation: "
        "that of Aubry et al. 2003 is used.",
    ),
    "schneider": Relation(
        _schneider,
        _speed_of_density,
        lambda hu, cortical_hu: np.full(np.shape(hu), 13.3),
        1.0,
        (
            _CITED["schneider"],
            "Sound speed: 1500 to 3100 m/s in line with a density of 1000 to 2200 kg/m3, the ends of "
            + _CITED["aubry"],
            _CITED["pinton"],
        ),
        "HU as they are, not scaled to the scan: tissues of known composition up to 1400 HU on a scanner for "
        "radiotherapy; dense bone is an extrapolation, and a soft kernel or another tube voltage shifts it. One "
        "attenuation for all bone, of the whole skull at 1 MHz, taken as linear in frequency.",
    ),
    "webb-bone": _webb(0.75, 1320.0, 26.0, 0.0016, 1.3, "bone"),
    "webb-soft": _webb(0.98, 1240.0, 24.0, 0.0018, 1.2, "standard (soft tissue)"),
}
"""By name. The constants are checked against open code that cites the same papers: ``aubry``, ``marsac`` and ``webb-*``
(rows "GE, 120 kV" of the authors' tables, attenuation in Np/cm at 1 MHz) against BabelBrain, ``aubry`` also against
PRESTUS, whose units of attenuation it shares, ``schneider`` against hounsfield2density and skull2medium of k-Wave."""


@dataclass(frozen=True, eq=False)
class AcousticMaps:
    """The medium of a simulation, on the grid of ``volume``.

    Attributes:
        volume: the CT on this grid.
        density: (slice, row, column) float32, kg/m3.
        sound_speed: the same, m/s.
        alpha: the same, dB/(MHz^y cm): attenuation is alpha * (frequency in MHz)^y. Bone obeys this at all frequencies;
            water and soft tissue have another y, and their alpha is right at ``frequency_mhz``.
        alpha_power: y.
        materials: the same shape, uint8: 0 water, 1 soft tissue, 2 bone, 3 air.
        relation: its name in ``RELATIONS``.
        frequency_mhz: of the ultrasound.
        cortical_hu: HU taken for solid cortical bone; denser voxels count as that.
        notes: sentences a user should read.
    """

    volume: Volume
    density: np.ndarray
    sound_speed: np.ndarray
    alpha: np.ndarray
    alpha_power: float
    materials: np.ndarray
    relation: str
    frequency_mhz: float
    cortical_hu: float
    notes: tuple[str, ...] = ()

    @property
    def attenuation_db_cm(self) -> np.ndarray:
        """Attenuation at ``frequency_mhz``, dB/cm."""
        return self.alpha * np.float32(self.frequency_mhz**self.alpha_power)

    @property
    def attenuation_np_m(self) -> np.ndarray:
        """Attenuation at ``frequency_mhz``, Np/m."""
        return self.attenuation_db_cm * np.float32(100 / DB_PER_NP)

    @property
    def points_per_wavelength(self) -> float:
        """Voxels in the shortest wavelength, along the coarsest axis; air is left out."""
        slowest = np.min(self.sound_speed, where=self.materials != AIR, initial=np.inf)
        return float(slowest / (self.frequency_mhz * 1e3 * max(self.volume.spacing_mm)))


def relation_named(name: str) -> Relation:
    """The relation called ``name``.

    Raises:
        InputError: there is none.
    """
    if name not in RELATIONS:
        near = difflib.get_close_matches(name, RELATIONS, 1)
        advice = f"Did you mean {near[0]}? " if near else ""
        raise InputError(f"There is no relation '{name}'.", f"{advice}Choose one of {', '.join(RELATIONS)}.")
    return RELATIONS[name]


def acoustic_maps(
    volume: Volume,
    relation: str = "aubry",
    *,
    frequency_mhz: float = 0.5,
    spacing_mm: float | None = None,
    outside: str = "water",
    keep_air: bool = False,
    cortical_hu: float | None = None,
    progress: Progress | None = None,
) -> AcousticMaps:
    """Map a head CT to density, sound speed and attenuation.

    Bone is what reaches 300 HU in the head, with the pores that it encloses. The head is the largest body, so that the
    table and the head holder become water.

    Args:
        volume: head CT in HU.
        relation: name in ``RELATIONS``.
        frequency_mhz: of the ultrasound.
        spacing_mm: cubic voxels to resample the CT to first; by default its own.
        outside: "water", as for a transducer coupled to the skin, or "tissue": what is outside the head, and what is
            below -200 HU within it.
        keep_air: leave air enclosed by the head as air.
        cortical_hu: HU of solid cortical bone; by default those that 0.1 % of the bone exceeds, at most 2000.
        progress: told the steps.

    Raises:
        InputError: no CT, no numbers, no bone, or an option out of range.
        ResourceError: more voxels than a computer holds.
    """
    law = relation_named(relation)
    _check(volume, frequency_mhz, spacing_mm, outside, cortical_hu)
    notes = value_notes(volume.hu, known_ct="modality" in volume.acquisition)
    notes = [note for note in notes if note not in volume.notes]
    report(progress, 0, 3, "Mapping to acoustic properties")
    grid = volume if spacing_mm is None else isotropic(volume, spacing_mm)
    report(progress, 1, 3, "Mapping to acoustic properties")
    materials = find_materials(grid.hu, grid.spacing_mm[::-1], outside=outside, keep_air=keep_air)
    bone = materials == BONE
    hu = grid.hu[bone].astype(float)
    if not hu.size:
        raise InputError(
            f"There is no bone in this volume: nothing of a skull's size reaches {BONE_HU:g} HU.",
            "Give a CT of a head in Hounsfield units; if a constant was added to the values, take it away first.",
        )
    report(progress, 2, 3, "Mapping to acoustic properties")
    solid = cortical_hu or float(min(np.quantile(hu, CORTICAL_QUANTILE), MOST_CORTICAL_HU))
    hu = np.clip(hu, 0, solid)
    water, tissue, air = MATERIALS.values()
    others = (water, tissue, water, air)  # by label; bone is filled in below

    def filled(of_material: Callable[[Material], float], of_bone: np.ndarray) -> np.ndarray:
        values = np.array([of_material(each) for each in others], np.float32)[materials]
        values[bone] = of_bone
        return values

    maps = AcousticMaps(
        volume=grid,
        density=filled(lambda each: each.density, law.density(hu, solid)),
        sound_speed=filled(lambda each: each.sound_speed, law.sound_speed(hu, solid)),
        alpha=filled(
            lambda each: each.alpha * frequency_mhz ** (each.alpha_power - law.alpha_power), law.attenuation(hu, solid)
        ),
        alpha_power=law.alpha_power,
        materials=materials,
        relation=relation,
        frequency_mhz=frequency_mhz,
        cortical_hu=solid,
    )
    report(progress, 3, 3, "Mapping to acoustic properties")
    return replace(maps, notes=(*notes, *_remarks(maps, volume, law, cortical_hu is None)))


def _check(
    volume: Volume, frequency_mhz: float, spacing_mm: float | None, outside: str, cortical_hu: float | None
) -> None:
    if volume.hu.ndim != 3 or min(volume.hu.shape) < 2:
        raise InputError("A simulation needs a volume of several slices.", "Give a head CT, not a segment or a slice.")
    require_finite(volume.hu)
    for name, unit, value, (low, high) in (
        ("frequency", "MHz", frequency_mhz, FREQUENCY_MHZ),
        ("spacing", "mm", spacing_mm, SPACING_MM),
        ("HU of cortical bone", "HU", cortical_hu, (BONE_HU, 4000.0)),
    ):
        if value is not None and not low <= value <= high:
            raise InputError(f"A {name} of {value:g} {unit} cannot be used.", f"Give {low:g} to {high:g} {unit}.")
    if outside not in ("water", "tissue"):
        raise InputError(f"Outside the head there cannot be '{outside}'.", "Choose water or tissue.")
    voxels = np.prod(volume.shape) if spacing_mm is None else np.prod(volume.extents_mm) / spacing_mm**3
    if voxels > MOST_VOXELS:
        raise ResourceError(
            f"The maps would have {voxels / 1e6:.0f} million voxels.", "Use a coarser spacing, or crop the CT first."
        )


def _remarks(maps: AcousticMaps, scanned: Volume, law: Relation, by_scan: bool) -> list[str]:
    notes = []
    spacing, points = maps.volume.spacing_mm, maps.points_per_wavelength
    if points < POINTS_PER_WAVELENGTH - 1e-3:
        needed = max(spacing) * points / POINTS_PER_WAVELENGTH
        notes.append(
            f"At {1000 * maps.frequency_mhz:g} kHz the shortest wavelength covers {points:.1f} voxels, and a "
            f"simulation needs about {POINTS_PER_WAVELENGTH:g}: use a spacing of {needed:.2g} mm, or a lower frequency."
        )
    if max(spacing) > UNEVEN * min(spacing):
        size = " x ".join(f"{mm:.3g}" for mm in spacing)
        notes.append(f"The voxels are not cubes ({size} mm): most simulations want cubes, so give a spacing.")
    if max(spacing) < 0.5 * max(scanned.spacing_mm):
        notes.append(
            f"The grid is finer than the scan ({max(scanned.spacing_mm):.3g} mm): thin bone stays as blurred as it was."
        )
    if by_scan and law.kvp is None and maps.cortical_hu < FAINT_CORTICAL_HU:
        notes.append(
            f"The densest bone has only {maps.cortical_hu:.0f} HU and is taken for solid cortical bone; if it is not "
            "(a plastic phantom, a thick slice, a soft kernel), give the HU of cortical bone of this scanner."
        )
    kvp = scanned.acquisition.get("kvp")
    if law.kvp is not None and kvp is not None and float(kvp) != law.kvp:
        notes.append(f"This relation holds for {law.kvp:g} kV, and the scan was made at {float(kvp):g} kV.")
    if np.any(maps.materials == AIR):
        notes.append("Air is kept: its step in density can make a simulation unstable, and its waves are not resolved.")
    return notes
