"""What the values of a label map stand for: as a file says it, what lies beside it, or a user."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from SkullGANLib.ct.io import read_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import FormatError, InputError, SkullGANError
from SkullGANLib.files import read_json

HIGHEST, HIGHEST_VALUE = 255, 65535  # of labels in a data set, and of values in files
PHANTOM_FILE = "phantom.json"

MM_WHS_LABELS = {
    500: "left ventricle",
    600: "right ventricle",
    420: "left atrium",
    550: "right atrium",
    205: "myocardium",
    850: "pulmonary artery",
    820: "aorta",
}
"""Values in the label maps of the whole-heart segmentation challenge MM-WHS (Zhuang et al., Medical Image Analysis
58:101537, 2019), as its organisers list them: blood cavities of ventricles and atria, myocardium of the left ventricle,
ascending aorta, pulmonary artery up to its bifurcation."""


def read_labels(path: str | Path) -> tuple[Volume, dict[int, str]]:
    """A label map and what its values stand for, where that is known.

    A segmentation of 3D Slicer (``.seg.nrrd``) says it itself, files of ``skullgan phantom`` have ``phantom.json``
    beside them.

    Returns:
        Volume of uint8 values, of uint16 ones where a value is beyond 255; and value to name, empty where nothing is
        known.

    Raises:
        InputError: values that are no labels, or segments that overlap.
        FormatError: the file cannot be read.
    """
    path = Path(path).expanduser()
    names = header_names(path) or phantom_names(path.parent, path.name)
    volume = read_volume(path, labels=True)
    values = volume.hu
    if not np.array_equal(values, np.rint(values)) or values.min() < 0 or values.max() > HIGHEST_VALUE:
        raise InputError(
            f"{path} is no label map: its values run from {values.min():g} to {values.max():g}.",
            f"Give whole numbers from 0 to {HIGHEST_VALUE}, 0 for no label.",
        )
    values = values.astype(np.uint8 if values.max() <= HIGHEST else np.uint16)
    return volume.with_array(values), names


def whole_heart_names(values: Sequence[int]) -> dict[int, str]:
    """The names of MM-WHS where all values of a label map are its own, and one at least is beyond 255; else empty."""
    return dict(MM_WHS_LABELS) if max(values, default=0) > HIGHEST and MM_WHS_LABELS.keys() >= set(values) else {}


def phantom_names(folder: Path, file: str | None = None) -> dict[int, str]:
    """Value to name in the label maps of a folder that ``skullgan phantom`` has written; empty for other folders.

    Args:
        folder: that may hold ``phantom.json``.
        file: name of a file that has to be one of those written; any if not given.
    """
    if not (folder / PHANTOM_FILE).is_file():
        return {}
    try:
        facts = read_json(folder / PHANTOM_FILE)
        listed = {name for group in ("heads", "hearts") for each in facts.get(group, ()) for name in each["files"]}
        if facts.get("format") != "skullgan-phantom" or (file is not None and file not in listed):
            return {}
        return {int(value): name.replace("_", " ") for name, value in facts["labels"].items() if value}
    except (SkullGANError, AttributeError, KeyError, TypeError, ValueError):
        return {}  # another program's file


def header_names(path: Path) -> dict[int, str]:
    """Value to name of a ``.seg.nrrd``; empty for other files.

    Raises:
        InputError: segments that overlap, so that a voxel may have several.
        FormatError: the file cannot be read, or has a segment whose label value is no whole number.
    """
    if not path.name.lower().endswith(".seg.nrrd") or not path.is_file():
        return {}
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise FormatError(
            f"{path.name} cannot be read.", "The file is damaged or not what its name says; write or copy it again."
        ) from error
    facts = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    segments = [key.removesuffix("_LabelValue") for key in facts if key.endswith("_LabelValue")]
    if len({facts.get(f"{segment}_Layer", "0") for segment in segments}) > 1:
        raise InputError(
            f"The segments of {path} overlap.", "In 3D Slicer, export the segmentation as a label map volume."
        )
    names = {}
    for segment in segments:
        value, name = facts[f"{segment}_LabelValue"].strip(), facts.get(f"{segment}_Name", "").strip()
        if not value.isdecimal():
            raise FormatError(
                f'The segment "{name or segment}" of {path} has the label value {value!r}, which is no whole number.',
                "Save the segmentation again in 3D Slicer, or export it as a label map volume.",
            )
        names[int(value)] = name or f"label {int(value)}"
    return names


def parse_names(text: str) -> dict[int, str]:
    """``1=outer table,2=diploe,3=`` as value to name; an empty name stands for a value that is no label.

    Raises:
        InputError: it does not read like that, or names a value or a label twice.
    """
    names: dict[int, str] = {}
    for part in text.split(","):
        value, equals, name = part.partition("=")
        if not equals or not value.strip().isdecimal() or not 0 < int(value) <= HIGHEST_VALUE:
            raise InputError(f"{part.strip()!r} does not name a label.", "Write value=name, as in 1=outer table.")
        if int(value) in names:
            raise InputError(f"The value {int(value)} is named twice.", "Give each value one name.")
        if name.strip() in {*names.values()} - {""}:
            raise InputError(f"Two values are named {name.strip()}.", "Give each label a name of its own.")
        names[int(value)] = name.strip()
    return names


def names_a_side(names: Iterable[str]) -> bool:
    """Whether a label is named left or right, as a word of its own: mirrored, it would be called by the wrong side."""
    words = (re.findall(r"[^\W\d_]+", name.casefold()) for name in names)
    return any({"left", "right"} & set(each) for each in words)
