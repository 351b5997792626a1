"""What the values of a label map stand for: in the header of a segmentation of 3D Slicer, or as a user says it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from SkullGANLib.ct.io import read_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import FormatError, InputError, SkullGANError
from SkullGANLib.files import read_json
from SkullGANLib.segments.arrays import label_values

_MOST, _MOST_NAMED = 255, 65535  # in a label map here, and in those of others
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

    A segmentation of 3D Slicer (``.seg.nrrd``) says it, ``skullgan phantom`` beside its files, and the values of MM-WHS
    are like no others.

    Returns:
        Volume of uint8 values, of uint16 ones where a value is beyond 255; and value to name, empty where nothing is
        known.

    Raises:
        InputError: values that are no labels, or segments that overlap.
        FormatError: the file cannot be read.
    """
    names = header_names(Path(path)) or _phantom_names(Path(path))
    volume = read_volume(path, labels=True)
    values = volume.hu
    if not np.array_equal(values, np.rint(values)) or values.min() < 0 or values.max() > _MOST_NAMED:
        raise InputError(
            f"{path} is no label map: its values run from {values.min():g} to {values.max():g}.",
            f"Give whole numbers from 0 to {_MOST_NAMED}, 0 for no label.",
        )
    values = values.astype(np.uint8 if values.max() <= _MOST else np.uint16)
    if not names and values.max() > _MOST and MM_WHS_LABELS.keys() >= set(label_values(values)):
        names = dict(MM_WHS_LABELS)
    return volume.with_array(values), names


def numbered(labels: Volume, names: Mapping[int, str]) -> tuple[Volume, dict[int, str]]:
    """A label map as uint8 and the names of its values: values beyond 255 are numbered anew, from 1 on.

    Args:
        labels: whole numbers.
        names: value to name; an empty name for a value that is no label. Names of values that do not occur are left
            out.

    Raises:
        InputError: more than 255 labels.
    """
    found = label_values(labels.hu)
    dropped = [value for value in found if names.get(value) == ""]
    kept = [value for value in found if value not in dropped]
    if len(kept) > _MOST:
        raise InputError(f"The label map has {len(kept)} labels; {_MOST} can be told apart.", "Join some of them.")
    number = {value: value for value in kept}
    if kept and kept[-1] > _MOST:
        number = {value: k for k, value in enumerate(kept, start=1)}
    table = np.zeros(max(found, default=0) + 1, np.uint8)
    for value, new in number.items():
        table[value] = new
    return labels.with_array(table[labels.hu]), {number[value]: names[value] for value in kept if value in names}


def _phantom_names(path: Path) -> dict[int, str]:
    """Value to name, as ``phantom.json`` beside a file that it lists says."""
    if not (path.parent / PHANTOM_FILE).is_file():
        return {}
    try:
        facts = read_json(path.parent / PHANTOM_FILE)
        listed = {name for group in ("heads", "hearts") for each in facts.get(group, ()) for name in each["files"]}
        if facts.get("format") != "skullgan-phantom" or path.name not in listed:
            return {}
        return {int(value): name.replace("_", " ") for name, value in facts["labels"].items() if value}
    except (SkullGANError, AttributeError, KeyError, TypeError, ValueError):
        return {}  # another program's file


def header_names(path: Path) -> dict[int, str]:
    """Value to name of a ``.seg.nrrd``; empty for other files.

    Raises:
        InputError: segments that overlap, so that a voxel may have several.
        FormatError: a segment whose label value is no whole number.
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
    names = {}
    for number in numbers:
        text, name = facts[f"{number}_LabelValue"].strip(), facts.get(f"{number}_Name", "").strip()
        if not text.isdecimal():
            raise FormatError(
                f"{number} of {path} has the label value {text!r}, which is no whole number.",
                "Write the segmentation again in 3D Slicer, or export it as a label map volume.",
            )
        names[int(text)] = name or f"label {int(text)}"
    return names


def parse_names(text: str) -> dict[int, str]:
    """``1=outer table,2=diploe,3=`` as value to name; an empty name stands for a value that is no label.

    Raises:
        InputError: it does not read like that, or names a value twice.
    """
    names: dict[int, str] = {}
    for part in text.split(","):
        value, equals, name = part.partition("=")
        if not equals or not value.strip().isdecimal() or not 0 < int(value) <= _MOST_NAMED:
            raise InputError(f"{part.strip()!r} does not name a label.", "Write value=name, as in 1=outer table.")
        if int(value) in names:
            raise InputError(f"The value {int(value)} is named twice.", "Give each value one name.")
        names[int(value)] = name.strip()
    return names


def names_a_side(names: Iterable[str]) -> bool:
    """Whether a label is named left or right, as a word of its own: mirrored, it would be called by the wrong side."""
    words = (re.findall(r"[^\W\d_]+", name.casefold()) for name in names)
    return any({"left", "right"} & set(each) for each in words)
