"""What the values of a label map stand for: in the header of a segmentation of 3D Slicer, or as a user says it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from SkullGANLib.ct.io import read_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError

_MOST, _MOST_NAMED = 255, 65535  # in a label map here, and in those of others


def read_labels(path: str | Path) -> tuple[Volume, dict[int, str]]:
    """A label map and, of a segmentation of 3D Slicer (``.seg.nrrd``), what its values stand for.

    Returns:
        Volume of uint8 values, and value to name; empty where the file says nothing.

    Raises:
        InputError: values that are no labels, or segments that overlap.
        FormatError: the file cannot be read.
    """
    names = header_names(Path(path))
    volume = read_volume(path, labels=True)
    values = volume.hu
    if not np.array_equal(values, np.rint(values)) or values.min() < 0 or values.max() > _MOST:
        raise InputError(
            f"{path} is no label map: its values run from {values.min():g} to {values.max():g}.",
            f"Give whole numbers from 0 to {_MOST}, 0 for no label.",
        )
    return volume.with_array(values.astype(np.uint8)), names


def header_names(path: Path) -> dict[int, str]:
    """Value to name of a ``.seg.nrrd``; empty for other files.

    Raises:
        InputError: segments that overlap, so that a voxel may have several.
    """
    if not path.name.lower().endswith(".seg.nrrd") or not path.is_file():
        return {}
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    facts = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    numbers = [key.removesuffix("_LabelValue") for key in facts if key.endswith("_LabelValue")]
    if len({facts.get(f"{number}_Layer", "0") for number in numbers}) > 1:
        raise InputError(
            f"The segments of {path} overlap.", "In 3D Slicer, export the segmentation as a label map volume."
        )
    return {int(facts[f"{n}_LabelValue"]): facts.get(f"{n}_Name", n) for n in numbers}


def parse_names(text: str) -> dict[int, str]:
    """``1=outer table,2=diploe`` as value to name.

    Raises:
        InputError: it does not read like that.
    """
    names = {}
    for part in text.split(","):
        value, equals, name = part.partition("=")
        if not equals or not value.strip().isdecimal() or not 0 < int(value) <= _MOST_NAMED or not name.strip():
            raise InputError(f"{part.strip()!r} does not name a label.", "Write value=name, as in 1=outer table.")
        names[int(value)] = name.strip()
    return names


def names_a_side(names: Iterable[str]) -> bool:
    """Whether a label is named left or right, as a word of its own: mirrored, it would be called by the wrong side."""
    words = (re.findall(r"[^\W\d_]+", name.casefold()) for name in names)
    return any({"left", "right"} & set(each) for each in words)
