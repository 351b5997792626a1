"""An image and its label map from files, on one grid, the labels with the numbers that a data set gives them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from SkullGANLib.ct import checks
from SkullGANLib.ct.headers import is_dicom, read_headers
from SkullGANLib.ct.heart_parts import HEART_LABELS
from SkullGANLib.ct.io import read_volume
from SkullGANLib.ct.label_names import HIGHEST, HIGHEST_VALUE, header_names, whole_heart_names
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.progress import Progress
from SkullGANLib.segments.pairs_layouts import Pair

SAME_PLACE_MM = 0.05
_HEART = {name: number for number, name in HEART_LABELS.items()}


class LabelNumbers:
    """Which number a structure has in the data set, whatever its value in each file.

    A structure keeps the value of the file that brings it first, where that is free; those of MM-WHS, whose values go
    beyond 255, are numbered as in ``ct.heart_parts.HEART_LABELS``.

    Attributes:
        names: number to name.
    """

    def __init__(self) -> None:
        self.names: dict[int, str] = {}

    def renumber(self, values: np.ndarray, names: Mapping[int, str], *, all_named: bool) -> np.ndarray:
        """Label values of a file as uint8 numbers of the data set.

        Args:
            values: whole numbers from 0, for no label, of an integer type.
            names: value to name, empty for a value that is no label; none for values that MM-WHS alone has.
            all_named: whether a value without a name is refused; else it is called by its number.

        Raises:
            InputError: no label map, no label, more than 255 structures, or a value without a name.
        """
        there = label_values(values)
        if not any(names.values()):
            names = {**whole_heart_names([value for value in there if value not in names]), **names}
        unknown = [value for value in there if value not in names]
        if unknown and all_named:
            raise InputError(
                f"its labels hold values without a name: {', '.join(map(str, unknown))}",
                f"Name them, or leave them out: --label-names {','.join(f'{value}=' for value in unknown)}",
            )
        whole_heart = max(names, default=0) > HIGHEST and set(names.values()) <= {*_HEART, ""}
        called = {value: names.get(value, f"label {value}") for value in there}
        if not any(called.values()):
            raise InputError("all its labels are said to be none", "Say in --label-names which to keep.")
        table = np.zeros(there[-1] + 1, np.uint8)
        for value, name in called.items():
            if name:
                table[value] = self._number(name, _HEART[name] if whole_heart else value)
        return table[values]

    def _number(self, name: str, wanted: int) -> int:
        for number, known in self.names.items():
            if known == name:
                return number
        free = (n for n in (wanted, *range(1, HIGHEST + 1)) if n <= HIGHEST and n not in self.names)
        number = next(free, None)
        if number is None:
            raise InputError(f"there are more than {HIGHEST} structures", "Join some of them.")
        self.names[number] = name
        return number


def whole_numbers(labels: Volume) -> Volume:
    """A label map of an integer type.

    Raises:
        InputError: it holds no label, or other values than whole numbers from 0 to 65535.
    """
    label_values(labels.hu)
    return labels if labels.hu.dtype.kind in "ui" else labels.with_array(labels.hu.astype(np.uint16))


def label_values(values: np.ndarray) -> list[int]:
    """The values of a label map but 0, ascending.

    Raises:
        InputError: it holds none, or other values than whole numbers from 0 to 65535.
    """
    found = np.zeros(HIGHEST_VALUE + 1, bool)
    for image in values:
        if image.min() < 0 or not image.max() <= HIGHEST_VALUE or (image != np.rint(image)).any():
            raise InputError(f"its labels are no whole numbers from 0 to {HIGHEST_VALUE}", "Give a label map.")
        found[image.astype(np.int32).ravel()] = True
    there = np.flatnonzero(found[1:]) + 1
    if not len(there):
        raise InputError("its label map is empty", "Label something in it.")
    return there.tolist()


def read_image(
    path: Path,
    *,
    hu_offset: float = 0.0,
    window_hu: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> Volume:
    """The CT of a pair; a ``.dcm`` file may also hold a single slice or an 8-bit picture of one.

    Args:
        path: NIfTI, NRRD, MHA or DICOM file, or folder of DICOM slices.
        hu_offset: added to all values.
        window_hu: HU minimum and range that the values 0 to 255 of a picture stand for.
        progress: reported to while slices are read.

    Raises:
        InputError: MR or another thing that is no CT, or a picture without a window.
        FormatError: a damaged file.
    """
    if path.suffix.lower() != ".dcm":
        volume = read_volume(path, hu_offset=hu_offset, progress=progress)
        usual = checks.scan_notes(volume)  # they are about skulls
        return replace(volume, notes=tuple(note for note in volume.notes if note not in usual))
    volume, modality, notes = _read_dicom(path)
    if modality and modality not in ("CT", "OT", "SC"):
        raise InputError(f"its modality is {modality}, not CT", "Give CT in Hounsfield units.")
    hu = volume.hu
    if hu.min() >= 0 and hu.max() <= HIGHEST:
        if window_hu is None:
            raise InputError(
                "it holds the values 0 to 255 of a picture, no Hounsfield units",
                "Say with --window which HU these stand for: the minimum and the range.",
            )
        hu = hu.astype(np.float32) / HIGHEST * np.float32(window_hu[1]) + np.float32(window_hu[0])
    else:
        hu = hu.astype(np.float32) + np.float32(hu_offset)
        notes += checks.value_notes(hu, known_ct=modality == "CT")
    return replace(volume, hu=hu, acquisition={"modality": "CT"}, notes=tuple(notes))


def read_labels_of(pair: Pair, image: Volume) -> tuple[Volume, dict[int, str]]:
    """The label map of a pair with the values of its file, and what these stand for where the file says so."""
    if pair.labels.suffix.lower() == ".dcm":
        volume, _, _ = _read_dicom(pair.labels)
        # Headers of such files seldom say where they lie; of one shape they are one slice.
        return (image.with_array(volume.hu) if volume.shape == image.shape else volume), {}
    names = header_names(pair.labels)
    return read_volume(pair.labels, labels=True), names


def onto_image(labels: Volume, image: Volume, called: str) -> Volume:
    """A label map on the grid of its image, by nearest neighbour where it lies on another.

    Warns:
        UserWarning: it lay on another grid, or reaches out of the image.

    Raises:
        InputError: the two do not overlap.
    """
    if labels.shape == image.shape and np.allclose(labels.index_to_lps, image.index_to_lps, atol=SAME_PLACE_MM):
        return image.with_array(labels.hu)
    import SimpleITK as sitk

    grid = image.with_array(np.empty(image.shape, np.uint8)).to_sitk()
    moved = sitk.GetArrayFromImage(sitk.Resample(labels.to_sitk(), grid, sitk.Transform(), sitk.sitkNearestNeighbor))
    before = np.count_nonzero(labels.hu) * np.prod(labels.spacing_mm)
    kept = np.count_nonzero(moved) * np.prod(image.spacing_mm) / before
    if kept == 0:
        raise InputError("its labels do not overlap the image", "Check that both are of one scan and one place.")
    words = f"{called}: the labels lie on another grid than the image and were brought to it by place in the patient."
    if kept < 0.95:
        words += f" {1 - kept:.0%} of the labelled volume lies outside the image."
    warnings.warn(words, stacklevel=2)
    return image.with_array(moved)


def field_of_view_mm(path: Path, plane_axes: tuple[int, int]) -> float | None:
    """The larger side of the slices of a file, from its header; None if that cannot be read.

    Args:
        path: of an image.
        plane_axes: the two of the LPS axes (0 x, 1 y, 2 z) that the slices span.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    if path.is_dir():  # of DICOM slices, of which one is enough
        path = next((f for f in sorted(path.rglob("*")) if f.is_file() and is_dicom(f)), path)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    sides = np.array(reader.GetSize()[:3]) * np.array(reader.GetSpacing()[:3])
    turned = np.abs(np.array(reader.GetDirection()).reshape((reader.GetDimension(),) * 2)[:3, :3])
    return float(max(sides[turned[axis].argmax()] for axis in plane_axes))


def _read_dicom(path: Path) -> tuple[Volume, str, list[str]]:
    """Values after rescaling, modality, notes."""
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise FormatError(f"{path.name} cannot be read", "Copy it again from its source.") from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise InputError(f"{path.name} is in colour", "Give one value in each pixel.")
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image)
    header = next(iter(read_headers(path)), None)
    if header is None:
        raise FormatError(f"{path.name} is no DICOM image", "Copy it again from its source.")
    notes = [] if min(header.pixel_spacing_mm) > 0 else ["The header says no pixel spacing: 1 mm is assumed."]
    return Volume.from_sitk(image), header.modality, notes
