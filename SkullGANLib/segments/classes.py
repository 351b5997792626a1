"""A folder of images for each class, of any organ and modality, as a data set with the column ``class``."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from SkullGANLib.errors import FormatError, InputError, SkullGANError
from SkullGANLib.files import check_replaceable
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.arrays import LARGEST_PX, SMALLEST_PX
from SkullGANLib.segments.class_files import ClassFile, ClassImage, find_class_files, read_images
from SkullGANLib.segments.class_names import CLASS
from SkullGANLib.segments.class_notes import ClassNotes
from SkullGANLib.segments.class_rows import RowFile, copies
from SkullGANLib.segments.class_subjects import Subjects
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.exchange import PIXEL_MM
from SkullGANLib.segments.meta import META_FILE, Kind
from SkullGANLib.segments.photographs import centred_square
from SkullGANLib.segments.privacy import refuse_patient_data
from SkullGANLib.segments.splits import subjects_in_several_parts
from SkullGANLib.words import counted, few

AIR_HU = -1000.0
WHITE = 255
Duplicates = Literal["refuse", "drop"]


def import_classes(
    source: str | Path,
    path: str | Path,
    *,
    size: int = 128,
    kind: Kind | None = None,
    spacing_mm: float | None = None,
    background_hu: float | None = None,
    window_hu: tuple[float, float] | None = None,
    hu_offset: float = 0.0,
    subjects: str | Path | None = None,
    subject_pattern: str | None = None,
    duplicates: Duplicates = "refuse",
    levels: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SegmentDataset:
    """Make a data set of a folder that holds a folder of images for each class, as RadImageNet does.

    A class is called by its folders below ``source``: ``CT/skull/temporal``. An image becomes the largest square about
    its centre, colour becomes grey, and every square is resampled to one size: means of pixels where it shrinks,
    linear interpolation where it grows. CT in DICOM comes in Hounsfield units, other DICOM values as they are; 8-bit
    images are grey levels of 0 to 255 unless a window says which HU these stand for; values of pictures of more bits
    are taken as they are, plus ``hu_offset``. They stay whole numbers where the file holds such.

    Images of the same pixels in two classes contradict each other: they are refused, or all left out. Within a class
    such copies stay, or all but the first are left out.

    Args:
        source: folder of PNG, JPEG, TIFF, BMP, WebP or DICOM, with any folders below.
        path: data set to make.
        size: rows and columns of its images, 32 to 512.
        kind: of the data set; None: ``pictures`` where all are grey levels, else ``real``.
        spacing_mm: of pixels in the data set; None: the median of what DICOM files say, else 0.45.
        background_hu: value of what is no tissue; None: air (-1000) where there is CT in DICOM, else black.
        window_hu: HU that black and white of 8-bit images stand for.
        hu_offset: added to the values of pictures of more than 8 bits.
        subjects: CSV with the columns file (path below ``source``), subject (pseudonym) and perhaps split.
        subject_pattern: regular expression that finds in a file's path what tells persons apart. Without both, the
            patient of a DICOM file does, and every other file is a person of its own.
        duplicates: what to do about images of the same pixels.
        levels: how many folders make a class; None: all.
        overwrite: whether a data set at ``path`` may be replaced.
        progress: told the files read.

    Warns:
        UserWarning: files left out, what became grey, was cut off or resampled by much, values without a stated
            meaning, copies, persons that are not known, and classes of fewer than two images.

    Raises:
        InputError: no folder for each class, values on two scales without a window, one image in two classes, or
            options that cannot be used.
        FormatError: none of the files can be read.
    """
    if not SMALLEST_PX <= size <= LARGEST_PX:
        raise InputError(f"Images cannot be {size} pixels across.", f"Give {SMALLEST_PX} to {LARGEST_PX}.")
    if window_hu is not None and not window_hu[1] > window_hu[0]:
        raise InputError("The window is empty.", "Give the HU of black first, then the higher one of white.")
    check_replaceable(path, overwrite=overwrite, marker=META_FILE)
    files, loose = find_class_files(source, levels)
    if loose:
        lie = counted(len(loose), "image lies in no class and is", "images lie in no class and are")
        warnings.warn(f"{lie} left out: {few(loose)}.", stacklevel=2)
    _check_classes(files)
    people = Subjects([file.name for file in files], subjects, subject_pattern)
    path, notes, rows = Path(path), ClassNotes(size), []
    with tempfile.TemporaryDirectory(dir=path.resolve().parent, prefix=".classes-") as folder:
        with RowFile(Path(folder), size) as written:
            scales = _Scales(window_hu, hu_offset)
            for done, file in enumerate(files):
                report(progress, done, len(files), "Reading images")
                try:
                    images = read_images(file.file)
                except (SkullGANError, OSError) as error:
                    notes.unreadable.append((file.name, str(getattr(error, "message", error))))
                    continue
                for image in images:
                    written.append(scales.square(file, image, size))
                    rows.append(_row(file, image, people))
                    notes.add(image)
        report(progress, len(files), len(files), "Reading images")
        if not rows:
            raise FormatError(f"None of the {len(files)} files can be read: {notes.unreadable[0][1]}", "Check them.")
        kept = _without_copies(rows, duplicates)
        table = {name: [getattr(rows[k], name) for k in kept] for name in ("subject", "split")}
        table[CLASS] = [rows[k].file.class_name for k in kept]
        if both := subjects_in_several_parts({name: np.asarray(table[name]) for name in table}):
            warnings.warn(f"{len(both)} subjects stand in several parts of the split: {few(both)}.", stacklevel=2)
        counts = dict.fromkeys((file.class_name for file in files), 0) | Counter(table[CLASS])
        windowed = window_hu is not None
        for sentence in notes.sentences(counts, people.alone, windowed=windowed, hu_offset=hu_offset):
            warnings.warn(sentence, stacklevel=2)
        usual_mm = round(float(np.median(notes.spacings_mm)), 4) if notes.spacings_mm else PIXEL_MM
        values = written.chosen(kept)
        made = SegmentDataset.create(
            path, values, table,
            kind=kind or ("pictures" if notes.scales.keys() == {"grey"} and not windowed else "real"),
            spacing_mm=usual_mm if spacing_mm is None else spacing_mm,
            background_hu=scales.background_hu if background_hu is None else background_hu,
            sources=[{"images": len(kept), "sha256": _digest("".join(rows[k].digest for k in kept).encode())}],
            extra={"import": {"scales": dict(notes.scales), "window_hu": window_hu, "hu_offset": hu_offset}},
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
        del values  # Windows deletes no file that is open
    return made


@dataclass(frozen=True)
class _Row:
    """An image that was read."""

    file: ClassFile
    digest: str
    subject: str
    split: str


class _Scales:
    """What brings all images to one scale of values.

    Attributes:
        background_hu: of the images so far: air, or what black stands for.
    """

    def __init__(self, window_hu: tuple[float, float] | None, hu_offset: float) -> None:
        self._window_hu, self._hu_offset = window_hu, hu_offset
        self._first: dict[str, str] = {}

    def square(self, file: ClassFile, image: ClassImage, size: int) -> np.ndarray:
        """An image as (size, size) float32 in the units of the data set.

        Raises:
            InputError: grey levels and other values without a window, or HU and what is none.
        """
        self._first.setdefault(image.scale, file.name)
        if self._window_hu is None and "grey" in self._first and len(self._first) > 1:
            other = next(name for scale, name in self._first.items() if scale != "grey")
            raise InputError(
                f"{self._first['grey']} holds grey levels of 0 to 255, {other} other values: no common scale.",
                "Say with --window-hu which HU black and white of 8-bit images stand for, or import them apart.",
            )
        if {"hu", "other"} <= self._first.keys():
            raise InputError(
                f"{self._first['hu']} holds HU of CT, {self._first['other']} values that are none: no common scale.",
                "Import CT and what is no CT apart.",
            )
        square = centred_square(image.values.astype(np.float32), size)
        if image.scale == "grey" and self._window_hu is not None:
            low, high = self._window_hu
            square = low + square * np.float32((high - low) / WHITE)
        elif image.scale == "stored":
            square += np.float32(self._hu_offset)
        return square if image.values.dtype.kind == "f" else np.rint(square)

    @property
    def background_hu(self) -> float:
        if "hu" in self._first:
            return AIR_HU
        return float(self._window_hu[0]) if "grey" in self._first and self._window_hu else 0.0


def _check_classes(files: Sequence[ClassFile]) -> None:
    """Before anything is read: two folders of one name, and names that may not enter or had to change."""
    folders: dict[str, str] = {}
    for file in files:
        if folders.setdefault(file.class_name, file.folder) != file.folder:
            both = f"{folders[file.class_name]!r} and {file.folder!r}"
            raise InputError(f"The folders {both} would be one class, {file.class_name}.", "Rename one of them.")
    refuse_patient_data({CLASS: np.array(list(folders))})
    if changed := [f"{folder!r} is called {name}" for name, folder in folders.items() if folder != name]:
        warnings.warn(f"Classes hold no commas, control characters or needless spaces: {few(changed)}.", stacklevel=3)


def _row(file: ClassFile, image: ClassImage, people: Subjects) -> _Row:
    values = np.ascontiguousarray(image.values)
    digest = _digest(f"{values.dtype} {values.shape} ".encode() + values.tobytes())
    return _Row(file, digest, people.subject(file.name, image.person, digest), people.split(file.name) or file.split)


def _without_copies(rows: Sequence[_Row], duplicates: Duplicates) -> np.ndarray:
    """Rows to keep, ascending.

    Raises:
        InputError: one image lies in two classes and that is refused, or nothing else is left.
    """
    mixed, same = copies([row.digest for row in rows], [row.file.class_name for row in rows])
    if mixed and duplicates == "refuse":
        shown = [" = ".join(rows[k].file.name for k in group) for group in mixed]
        raise InputError(
            f"{counted(len(mixed), 'image lies', 'images lie')} in several classes: {few(shown)}.",
            "An image cannot be of two classes: correct the folders, or leave all of these out (--duplicates drop).",
        )
    more = [k for group in same for k in group[1:]]
    gone = {*more, *(k for group in mixed for k in group)} if duplicates == "drop" else set()
    if mixed:
        warnings.warn(f"{len(gone) - len(more)} images whose copies lie in other classes are left out.", stacklevel=3)
    if more:
        are = counted(len(more), "image is a copy of another", "images are copies of others")
        does = "left out" if duplicates == "drop" else "kept (--duplicates drop leaves them out)"
        warnings.warn(f"{are} of the class, such as {rows[more[0]].file.name}: {does}.", stacklevel=3)
    if len(gone) == len(rows):
        raise InputError("Every image lies in several classes: none is left.", "Correct the folders.")
    return np.array([k for k in range(len(rows)) if k not in gone])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
