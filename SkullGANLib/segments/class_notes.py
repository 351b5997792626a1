"""What a user should know of a folder of images before they are taken for one data set, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from SkullGANLib.segments.class_files import ClassImage
from SkullGANLib.segments.exchange import PLAUSIBLE_HU
from SkullGANLib.words import counted, few

_MUCH = 2  # times, between the smallest and the largest image
_ALIKE = 1.1  # times, between the finest and the coarsest pixels
FEWEST = 2


class ClassNotes:
    """Counts what is odd about images, as they are read.

    Attributes:
        scales: how many images hold which kind of values.
        spacings_mm: of pixels after resampling, where files say it.
        unreadable: name and reason of files that were left out.
    """

    def __init__(self, size: int) -> None:
        """Start with no image; they become ``size`` pixels across."""
        self._size = size
        self.scales: Counter[str] = Counter()
        self.spacings_mm: list[float] = []
        self.unreadable: list[tuple[str, str]] = []
        self._colours: Counter[str] = Counter()
        self._sides: Counter[int] = Counter()
        self._cut = self._inverted = 0
        self._stored: list[float] = []

    def add(self, image: ClassImage) -> None:
        """Count an image in."""
        rows, columns = image.values.shape
        side = min(rows, columns)
        self.scales[image.scale] += 1
        self._colours[image.colour] += 1
        self._sides[side] += 1
        self._inverted += image.inverted
        self._cut += rows != columns
        if image.spacing_mm:
            self.spacings_mm.append(image.spacing_mm * side / self._size)
        if image.scale == "stored":
            ends = [*self._stored, float(image.values.min()), float(image.values.max())]
            self._stored = [min(ends), max(ends)]

    def sentences(
        self, counts: Mapping[str, int], alone: int, *, windowed: bool = False, hu_offset: float = 0.0
    ) -> list[str]:
        """All there is to say.

        Args:
            counts: class to number of images in the data set.
            alone: files that count as a subject of their own.
            windowed: whether it was said which HU grey levels stand for.
            hu_offset: added to the values of pictures with more than 8 bits.
        """
        return [
            *self._files(),
            *self._shapes(),
            *self._values(windowed, hu_offset),
            *_subjects(alone),
            *_small(counts),
        ]

    def _files(self) -> list[str]:
        if not self.unreadable:
            return []
        files = counted(len(self.unreadable), "file cannot be read and is", "files cannot be read and are")
        reasons = few([f"{name} ({reason.rstrip('.')})" for name, reason in self.unreadable])
        return [f"{files} left out: {reasons}."]

    def _shapes(self) -> list[str]:
        told = []
        if coloured := self._colours["equal"] + self._colours["different"]:
            beyond = f" ({n} with channels that differ)" if (n := self._colours["different"]) else ""
            told.append(f"{_images(coloured, 'was in colour and', 'were in colour and')} became grey{beyond}.")
        if self._cut:
            told.append(f"{_images(self._cut, 'was', 'were')} not square: the middle is kept.")
        least, most = min(self._sides), max(self._sides)
        if most > _MUCH * least:
            told.append(
                f"Images {least} to {most} pixels across became {self._size}: classes may be told apart by sharpness."
            )
        elif smaller := sum(n for side, n in self._sides.items() if side < self._size):
            told.append(f"{_images(smaller, 'was', 'were')} enlarged to {self._size} pixels; the smallest has {least}.")
        if self.spacings_mm and max(self.spacings_mm) > _ALIKE * min(self.spacings_mm):
            least, most = min(self.spacings_mm), max(self.spacings_mm)
            told.append(f"Pixels of {least:.3g} to {most:.3g} mm are in one data set: structures differ in scale.")
        return told

    def _values(self, windowed: bool, hu_offset: float) -> list[str]:
        told = []
        if self.scales["stored"]:
            low, high = (value + hu_offset for value in self._stored)
            offset = f" plus {hu_offset:g}" if hu_offset else ""
            doubt = "" if PLAUSIBLE_HU[0] <= low <= high <= PLAUSIBLE_HU[1] else "; these are perhaps no HU"
            told.append(
                "Pictures of more than 8 bits do not say what their values mean: they are taken for HU as they are"
                f"{offset}, from {low:g} to {high:g}{doubt}."
            )
        elif hu_offset:
            told.append("There is no picture of more than 8 bits: the offset was of no use.")
        if windowed and not self.scales["grey"]:
            told.append("There is no image of 8 bits: the window was of no use.")
        if self._inverted:
            told.append(f"{_images(self._inverted, 'shows', 'show')} low values white (MONOCHROME1): turned round.")
        if other := self.scales["other"]:
            told.append(f"{_images(other, 'is', 'are')} DICOM but no CT: values are kept as they are, and are no HU.")
        return told


def _images(n: int, one: str, several: str) -> str:
    return counted(n, f"image {one}", f"images {several}")


def _subjects(alone: int) -> Sequence[str]:
    if not alone:
        return []
    return [
        f"{counted(alone, 'file or series counts as a subject', 'files or series count as a subject each')}, since "
        "nothing says who is shown: a split is then by image. Say it with --subjects or --subject-pattern."
    ]


def _small(counts: Mapping[str, int]) -> list[str]:
    small = [f"{name} ({n})" for name, n in sorted(counts.items()) if n < FEWEST]
    return [f"Classes of fewer than {FEWEST} images: {few(small)}."] if small else []
