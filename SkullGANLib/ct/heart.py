"""A parametric CT angiography of the heart with ground truth: an organ other than the head to learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from SkullGANLib.ct import phantom_scanner
from SkullGANLib.ct.heart_chest import Chest
from SkullGANLib.ct.heart_paint import HeartPainter
from SkullGANLib.ct.heart_parameters import HeartParameters
from SkullGANLib.ct.heart_parts import HEART_LABELS, Heart
from SkullGANLib.ct.volume import Volume
from SkullGANLib.progress import Progress

__all__ = ["HEART_LABELS", "HeartParameters", "HeartPhantom", "PhantomHeart"]

SLICES_AT_ONCE = 4
FIELD_CENTRE_MM = (6.0, 0.0, 18.0)  # of the field of view in the chest frame: apex to aortic arch


@dataclass(frozen=True, eq=False)
class PhantomHeart:
    """A scan of the phantom.

    Attributes:
        volume: HU, int16.
        labels: what each voxel centre lies in, uint8, see ``HEART_LABELS``; 0 elsewhere.
        chest_to_lps: (4, 4) rigid matrix from the chest frame (``ct.heart_parts``) to LPS, mm.
        parameters: the subject.
    """

    volume: Volume
    labels: Volume
    chest_to_lps: np.ndarray
    parameters: HeartParameters


class HeartPhantom:
    """One subject.

    Args:
        seed: chooses the subject and every detail of its lungs and texture.
        parameters: the subject, if it is not to be drawn from the seed.
    """

    def __init__(self, seed: int, parameters: HeartParameters | None = None) -> None:
        self.seed = seed
        self.parameters = HeartParameters.sample(seed) if parameters is None else parameters
        self.heart = Heart(self.parameters)
        self.chest = Chest(seed, self.parameters)

    def render(
        self,
        shape: tuple[int, int, int] = (160, 256, 256),
        spacing_mm: tuple[float, float, float] = (0.9, 0.9, 0.9),
        *,
        rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
        translation_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
        blur_mm: float = 0.6,
        noise_hu: float = 18.0,
        progress: Progress | None = None,
    ) -> PhantomHeart:
        """Scan the phantom with contrast, the field of view about the heart, as cardiac CT has it.

        A slice thicker than 1.2 mm shows the mean over its thickness; labels are those of the voxel centres.

        Args:
            shape: (slices, rows, columns); slices from below upwards.
            spacing_mm: (x, y, z).
            rotation_deg: turns of the chest about x, y and z, in this order, in LPS.
            translation_mm: shift of the chest in LPS.
            blur_mm: sigma of the scanner's point spread, mm.
            noise_hu: standard deviation of the noise.
            progress: told after each block of slices.

        Raises:
            InputError: a shape, spacing, blur or noise that no scan has.
            Cancelled: ``progress`` asked to stop.
        """
        phantom_scanner.check_scan(shape, spacing_mm, blur_mm, noise_hu)
        chest_to_lps = np.eye(4)
        chest_to_lps[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
        chest_to_lps[:3, 3] = translation_mm
        index_to_lps = np.diag([*spacing_mm, 1.0])
        half = (np.array(shape[::-1]) - 1) / 2
        index_to_lps[:3, 3] = np.array(FIELD_CENTRE_MM) - half * np.array(spacing_mm)

        painter = HeartPainter(self.heart, self.chest, self.seed, chest_to_lps, index_to_lps)
        volume, labels = phantom_scanner.scanned(
            painter,
            shape,
            spacing_mm,
            blur_mm=blur_mm,
            noise_hu=noise_hu,
            seed=[self.seed, 13],
            slices_at_once=SLICES_AT_ONCE,
            message="Painting the heart",
            progress=progress,
        )
        geometry = {
            "spacing_mm": tuple(float(s) for s in spacing_mm),
            "origin_mm": tuple(float(v) for v in index_to_lps[:3, 3]),
        }
        acquisition = {"modality": "CT", "manufacturer": "SkullGAN phantom", "kvp": 100.0, "kernel": "soft"}
        return PhantomHeart(
            Volume(volume, acquisition=acquisition, **geometry),
            Volume(labels, **geometry),
            chest_to_lps,
            self.parameters,
        )
