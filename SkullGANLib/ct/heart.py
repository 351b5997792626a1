"""A parametric CT angiography of the heart with ground truth: an organ other than the head to learn from."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from SkullGANLib.ct import phantom_scanner
from SkullGANLib.ct.heart_chest import Chest
from SkullGANLib.ct.heart_paint import HeartPainter
from SkullGANLib.ct.heart_parameters import HeartParameters
from SkullGANLib.ct.heart_parts import HEART_LABELS, Heart
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress, report

__all__ = ["HEART_LABELS", "HeartParameters", "HeartPhantom", "PhantomHeart"]

SLICES_AT_ONCE = 4
THREADS = 2
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
        _check(shape, spacing_mm, blur_mm, noise_hu)
        chest_to_lps = np.eye(4)
        chest_to_lps[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
        chest_to_lps[:3, 3] = translation_mm
        index_to_lps = np.diag([*spacing_mm, 1.0])
        half = (np.array(shape[::-1]) - 1) / 2
        index_to_lps[:3, 3] = np.array(FIELD_CENTRE_MM) - half * np.array(spacing_mm)

        hu, labels = np.empty(shape, np.float32), np.empty(shape, np.uint8)
        painter = HeartPainter(self.heart, self.chest, self.seed, chest_to_lps, index_to_lps)
        starts = range(0, shape[0], SLICES_AT_ONCE)
        with ThreadPoolExecutor(THREADS) as pool:
            tasks = [pool.submit(painter.paint, hu, labels, k, min(k + SLICES_AT_ONCE, shape[0])) for k in starts]
            try:
                for done, task in enumerate(tasks):
                    report(progress, done, len(tasks), "Painting the heart")
                    task.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        phantom_scanner.blur(hu, tuple(blur_mm / s for s in spacing_mm))
        volume = np.empty(shape, np.int16)
        for k, image in enumerate(hu):
            if noise_hu > 0:
                image += np.float32(noise_hu) * phantom_scanner.noise(image.shape, [self.seed, 13, k])
            volume[k] = np.rint(np.clip(image, *phantom_scanner.HU_RANGE))
        report(progress, len(tasks), len(tasks), "Painting the heart")
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


def _check(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], blur_mm: float, noise_hu: float
) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"A volume of {shape} voxels is empty.", "Give three positive numbers: slices, rows, columns.")
    if len(spacing_mm) != 3 or not all(0.1 <= s <= 10 for s in spacing_mm):
        raise InputError(f"The spacing {spacing_mm} mm is no scanner's.", "Give x, y and z from 0.1 to 10 mm.")
    if not (0 <= blur_mm <= 5 and 0 <= noise_hu <= 1000):
        raise InputError("Blur or noise is out of range.", "Give a blur of 0 to 5 mm and a noise of 0 to 1000 HU.")
