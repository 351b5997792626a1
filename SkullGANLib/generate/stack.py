"""A patch of the skull vault as a CT volume, drawn slice by slice from a model of single segments.

The slices of a walk (``generate.walk``) are placed on the outer surface of a head (``generate.patch``). Segments of a
data set are cut within some 25 degrees of the surface normal, mostly 10; here they stand upright on the surface.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.ndimage import gaussian_filter1d

from SkullGANLib.ct.anatomy import MEAN_HALF_AXES_MM
from SkullGANLib.ct.phantom import HeadPhantom
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.generate.patch import Patch, curved_volume, flat_volume, middle_of
from SkullGANLib.generate.unroll import Unrolled, unroll
from SkullGANLib.generate.walk import draw_walk, walk_values
from SkullGANLib.models.conditions import Values
from SkullGANLib.models.folder import Model
from SkullGANLib.progress import Progress

LENGTH_MM = 2.5  # with these two the shipped phantom model steps from slice to slice as phantoms do
SMOOTHING_MM = 2.0
ALONG = {"axial": (0, 0, 1), "coronal": (0, -1, 0), "sagittal": (1, 0, 0)}
"""From slice to slice, so that the columns of a segment run as ``prepare.cut`` lays them."""
UPRIGHT = 0.45  # least sine of the angle between the normal of a plane and that of the surface
GRAIN_SLICES, GRAIN_MM = 64, 2.5  # slices whose mean shows it, and how fine it is


@dataclass(frozen=True)
class StackOptions:
    """What volumes of slices are to be.

    Attributes:
        slices: how many.
        spacing_mm: between their middles, along the outer surface; voxels are as large as the model's pixels.
        layout: ``curved`` on the outer surface of a head, HU interpolated between the slices; ``flat`` is the plain
            stack of the images as drawn, side by side, each with its own curvature.
        asked: conditions of the model, see ``generate.walk.walk_values``; region, side and plane also say where on the
            head the patch lies and how the slices run.
        radius_mm: of a sphere to lie on, in place of the head phantom of seed + number of the volume.
        outside_hu: HU outside the head: 0 is the background of segments, -1000 air.
        seed: of all that is drawn.
        device: see ``generate.sample.generate_segments``.
    """

    slices: int = 48
    spacing_mm: float = 1.0
    layout: str = "curved"
    asked: Mapping[str, str] = field(default_factory=dict)
    radius_mm: float | None = None
    outside_hu: float = 0.0
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what makes no volume.

        Raises:
            InputError: an impossible value.
        """
        n, mm = self.slices, self.spacing_mm
        if n < 2 or not (math.isfinite(mm) and 0.05 <= mm <= 20):
            raise InputError(f"{n} slices {mm:g} mm apart make no volume.", "Use at least 2, and 0.05 to 20 mm.")
        if self.layout not in ("curved", "flat"):
            raise InputError(f"There is no layout {self.layout!r}.", "Choose curved or flat.")
        if self.radius_mm is not None and not 30 <= self.radius_mm <= 500:
            raise InputError(f"A radius of {self.radius_mm:g} mm is not that of a head.", "Give 30 to 500 mm.")
        if not -1024 <= self.outside_hu <= 3000:
            raise InputError(f"{self.outside_hu:g} HU lie outside no head.", "Give 0, or -1000 for air.")
        if self.seed < 0:
            raise InputError("Seeds count from 0.", "Correct it.")


@dataclass(frozen=True, eq=False)
class Stack:
    """One volume of slices.

    Attributes:
        volume: float32 HU, where the patch lies on an upright head about the origin.
        bone: the slices rolled out, as they lie in the volume.
        patch: where they lie.
        values: what each slice was asked to be.
    """

    volume: Volume
    bone: Unrolled
    patch: Patch
    values: Values


class StackPlan:
    """A volume before its slices are drawn: where it lies and what is asked of each slice.

    Args:
        model: of segments, from ``load_model``.
        options: of the volume.
        number: of the volume; those of one seed differ.

    Raises:
        InputError: a condition that the model cannot be asked for, slices that lie flat on the surface, a patch that
            reaches round the head.
    """

    def __init__(self, model: Model, options: StackOptions, number: int = 0) -> None:
        if model.family.masks:
            raise InputError("The model draws from label maps, not segments.", "Use volume from-labels.")
        self.model, self.options, self.number = model, options, number
        n, card = options.slices, model.card
        self.positions_mm = (np.arange(n) - (n - 1) / 2) * options.spacing_mm
        self.values = walk_values(card, options.asked, n, seed=options.seed, number=number)
        usual = {"region": "parietal", "side": "left", "plane": "axial"}
        region, side, plane = (str(self.values[k][0]) if k in self.values else word for k, word in usual.items())
        head = HeadPhantom(options.seed + number) if options.radius_mm is None else None
        outward = middle_of(region, side, np.array(MEAN_HALF_AXES_MM) if head is None else head.parameters.half_axes_mm)
        along = np.array(ALONG[plane], float)
        if np.linalg.norm(np.cross(along, outward)) < UPRIGHT:
            raise InputError(f"A {plane} slice lies flat on the {region} bone.", "Ask for another plane.")
        length_mm = n * options.spacing_mm if options.layout == "curved" else options.spacing_mm
        radius = head.outer_radius if head else lambda at: np.full(at.shape[:-1], float(options.radius_mm))
        self.patch = Patch.around(radius, outward, along, (length_mm, model.network.size * card.spacing_mm))
        if head is not None and "thickness_mm" in self.values and "thickness_mm" not in options.asked:
            thickness, known = head.thickness_mm(self.patch.middles(self.positions_mm)), card.conditions["thickness_mm"]
            varied = self.values["thickness_mm"] * thickness / thickness.mean()
            self.values["thickness_mm"] = np.clip(varied, known.minimum, known.maximum)

    def slices(self, length_mm: float, *, progress: Progress | None = None) -> tuple[np.ndarray, Unrolled]:
        """The images of a walk of a correlation length, (n, size, size) HU, and the same rolled out for the layout.

        Raises:
            InputError: an impossible length, or a model that draws no bone.
            ResourceError: not enough memory.
        """
        hu = self._drawn(self.positions_mm, length_mm, self.values, progress)
        bone = rolled_out(hu, self.model.card.spacing_mm)
        if self.options.layout == "flat":
            return hu, bone
        return hu, replace(bone, hu=np.maximum(bone.hu - self.grain, 0))

    @cached_property
    def grain(self) -> np.ndarray:
        """(levels, m) HU of fine pattern that all slices of the model share, as it does the flat field of a detector.

        Bone has no such pattern; it would run through all slices as straight lines.
        """
        some = np.linspace(0, self.options.slices - 1, GRAIN_SLICES).round().astype(int)
        values = {name: curve[some] for name, curve in self.values.items()}
        bone = rolled_out(self._drawn(np.arange(GRAIN_SLICES) * 100.0, 1.0, values, None), self.model.card.spacing_mm)
        mean = bone.hu.mean(axis=0)
        return mean - gaussian_filter1d(mean, GRAIN_MM / bone.step_mm, axis=1, mode="nearest")

    def stack(
        self, length_mm: float = LENGTH_MM, smoothing_mm: float = SMOOTHING_MM, **given: Progress | None
    ) -> Stack:
        """Draw the slices and place them.

        Args:
            length_mm: correlation length of the walk.
            smoothing_mm: standard deviation of the Gaussian that smooths the thickness; for the layout curved.
            **given: ``progress``, told the slices drawn and placed.
        """
        if not (math.isfinite(smoothing_mm) and smoothing_mm >= 0):
            raise InputError(f"A smoothing of {smoothing_mm:g} mm is none.", "Give 0 or a positive number of mm.")
        options = self.options
        hu, bone = self.slices(length_mm, **given)
        if options.layout == "flat":
            volume = flat_volume(hu, bone.pixel_mm, options.spacing_mm, self.patch, options.outside_hu)
        else:
            bone = bone.smoothed(smoothing_mm, options.spacing_mm)
            volume = curved_volume(bone, options.spacing_mm, self.patch, options.outside_hu, **given)
        return Stack(volume, bone, self.patch, self.values)

    def _drawn(
        self, positions_mm: np.ndarray, length_mm: float, values: Values, progress: Progress | None
    ) -> np.ndarray:
        of = {"seed": self.options.seed, "number": self.number, "device": self.options.device}
        return draw_walk(self.model, positions_mm, length_mm, values=values, **of, progress=progress)


def rolled_out(hu: np.ndarray, pixel_mm: float) -> Unrolled:
    """Slices rolled out; one that shows no bone from side to side is left to its nearest neighbour.

    Raises:
        InputError: more than half of them do not.
    """
    bone, kept = unroll(hu, pixel_mm)
    if len(kept) < len(hu) / 2:
        raise InputError(
            f"Only {len(kept)} of {len(hu)} slices show bone from side to side.", "Choose another model or conditions."
        )
    if len(kept) < len(hu):
        warnings.warn(
            f"{len(hu) - len(kept)} of {len(hu)} slices show no bone from side to side; their neighbours stand in.",
            stacklevel=2,
        )
    nearest = np.abs(np.arange(len(hu))[:, None] - kept).argmin(axis=1)
    return replace(bone, hu=bone.hu[nearest], thickness_mm=bone.thickness_mm[nearest])
