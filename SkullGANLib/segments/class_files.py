"""Images in a folder for each class: which files they are, and what is in one, whatever its format."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from SkullGANLib.ct import checks
from SkullGANLib.ct.headers import is_dicom, read_headers
from SkullGANLib.ct.pixels import read_slices
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.segments.class_names import class_name
from SkullGANLib.segments.pairs_layouts import PARTS, files_below
from SkullGANLib.segments.photographs import SUFFIXES

Scale = Literal["grey", "stored", "hu", "other"]

DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")
_GREY = 255
_ADVICE = "Give a folder with a folder of images for each class: PNG, JPEG, TIFF, BMP, WebP or DICOM."

SERIES = "series "
"""Begins what stands for the person of a DICOM file without a patient."""


@dataclass(frozen=True)
class ClassFile:
    """A file of images of one class.

    Attributes:
        file: where it is.
        name: path below the folder of all, with ``/``; never enters a data set.
        folder: path of the class.
        class_name: what it is called, see ``class_names.class_name``.
        split: part of the split that the folders put it in, or empty.
    """

    file: Path
    name: str
    folder: str
    class_name: str
    split: str = ""


@dataclass(frozen=True, eq=False)
class ClassImage:
    """One image of a file.

    Attributes:
        values: (rows, columns) of uint8, uint16, int16 or float32.
        scale: what the values are: ``grey`` levels of 0 to 255, numbers as ``stored`` in a picture of more bits, ``hu``
            of CT in DICOM, or what ``other`` DICOM files hold.
        colour: what became grey: ``equal`` channels, ``different`` ones, or nothing.
        spacing_mm: distance of pixels, or None where the file does not say it.
        person: what a DICOM file tells patients apart by; never enters a data set.
        inverted: whether the file shows low values white (MONOCHROME1), and they were turned round.
    """

    values: np.ndarray
    scale: Scale
    colour: Literal["", "equal", "different"] = ""
    spacing_mm: float | None = None
    person: str = ""
    inverted: bool = False


def find_class_files(source: str | Path, levels: int | None = None) -> tuple[list[ClassFile], list[str]]:
    """The files of images below the folders of ``source``, sorted by name.

    Folders train, val and test (or training, validation, testing) at the top, with nothing beside them, are parts of
    a split, and classes begin below them.

    Args:
        source: the folder; hidden files and files of other formats are passed over.
        levels: how many folders make a class; deeper ones only sort its images. None: all.

    Returns:
        The files, and the names of images that lie in no folder and so in no class.

    Raises:
        InputError: no folder, no image, or no folder for each class.
    """
    root = Path(source).expanduser()
    if not root.is_dir():
        raise InputError(f"{root} is a file." if root.exists() else f"There is no folder {root}.", _ADVICE)
    files = [(file, file.relative_to(root).parts) for file in files_below(root) if _is_image(file)]
    if not files:
        raise InputError(f"There are no images in {root}.", _ADVICE)
    loose = [_shown(parts) for _, parts in files if len(parts) == 1]
    inside = [(file, parts) for file, parts in files if len(parts) > 1]
    if not inside:
        raise InputError(f"The images lie in {root} itself, not in a folder for each class.", _ADVICE)
    in_parts = all(parts[0].lower() in PARTS and len(parts) > 2 for _, parts in inside)
    found = []
    for file, parts in inside:
        folders = parts[in_parts:-1][:levels]
        split = PARTS[parts[0].lower()] if in_parts else ""
        found.append(ClassFile(file, _shown(parts), _shown(folders), class_name(folders), split))
    return found, loose


def read_images(file: Path) -> list[ClassImage]:
    """The images of a file: one, or as many as a TIFF has pages or a DICOM file frames.

    Raises:
        InputError: colour in DICOM, or values that are no numbers.
        FormatError: not an image, or damaged.
        ResourceError: a decoder is missing.
    """
    images = _pictures(file) if file.suffix.lower() in SUFFIXES else _slices(file)
    for image in images:
        if not np.isfinite(image.values).all():
            raise InputError(f"{file.name} holds values that are no numbers.", "Mend them or take it away.")
    return images


def _is_image(file: Path) -> bool:
    if file.suffix.lower() in (*SUFFIXES, *DICOM_SUFFIXES):
        return True
    try:
        return file.name.upper() != "DICOMDIR" and is_dicom(file)
    except OSError:
        return False


def _shown(parts: tuple[str, ...]) -> str:
    """A path as text in composed form, also where its bytes are no UTF-8."""
    return unicodedata.normalize("NFC", "/".join(parts)).encode("utf-8", "replace").decode()


def _pictures(file: Path) -> list[ClassImage]:
    import cv2

    content, pages = np.fromfile(file, np.uint8), ()
    try:
        if file.suffix.lower() in (".tif", ".tiff"):
            _, pages = cv2.imdecodemulti(content, cv2.IMREAD_UNCHANGED)
        elif content.size:
            pages = [cv2.imdecode(content, cv2.IMREAD_UNCHANGED)]
    except cv2.error:  # too large, or damaged in a way that the decoder raises on
        pages = ()
    if not len(pages) or pages[0] is None:
        raise FormatError(f"{file.name} is no picture, or damaged.", "Copy it again from its source.")
    return [_picture(page) for page in pages]


def _picture(page: np.ndarray) -> ClassImage:
    import cv2

    if page.dtype not in (np.uint8, np.uint16, np.int16):
        page = page.astype(np.float32)
    scale = "grey" if page.dtype == np.uint8 else "stored"
    if page.ndim == 2:
        return ClassImage(page, scale)
    channels = page[..., :3]
    if (channels == channels[..., :1]).all():
        return ClassImage(np.ascontiguousarray(channels[..., 0]), scale, "equal")
    if channels.dtype == np.int16:
        channels = channels.astype(np.float32)
    grey = cv2.cvtColor(np.ascontiguousarray(channels), cv2.COLOR_BGR2GRAY)
    return ClassImage(grey, scale, "different")


def _slices(file: Path) -> list[ClassImage]:
    headers = read_headers(file)
    if not headers or not headers[0].rows:
        raise FormatError(f"{file.name} is no DICOM image.", "Copy it again from its source, or take it away.")
    first = headers[0]
    if first.samples != 1:
        raise InputError(f"{file.name} is in colour.", "Save it as a grey picture.")
    values, _ = read_slices(headers)
    scale = "hu" if first.modality == "CT" and not first.secondary_capture else "other"
    if scale == "hu":
        for image in values:
            checks.clear_padding(image[None])
    elif first.modality != "MR" and values.min() >= 0 and values.max() <= _GREY:  # a picture in a DICOM file
        scale, values = "grey", values.astype(np.uint8)
    spacing = float(np.mean(first.pixel_spacing_mm)) or None
    patient, white_is_low = _patient_and_shading(file)
    inverted = white_is_low and scale != "hu"  # HU say what they are, however they are shown
    if inverted:
        values = _GREY - values if scale == "grey" else values.max() + values.min() - values
    person = patient or f"{SERIES}{first.series_uid}"
    return [ClassImage(image, scale, "", spacing, person, inverted) for image in values]


def _patient_and_shading(file: Path) -> tuple[str, bool]:
    """The patient, and whether low values are shown white."""
    import pydicom

    tags = ["PatientID", "PhotometricInterpretation"]
    header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
    return str(header.get("PatientID") or "").strip(), header.get("PhotometricInterpretation") == "MONOCHROME1"
