"""Which files of a folder are the image and the label map of one patient: the layouts in which such data come."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from SkullGANLib.ct.headers import is_dicom
from SkullGANLib.ct.io import READABLE, suffix
from SkullGANLib.ct.label_names import MM_WHS_LABELS, phantom_names
from SkullGANLib.errors import InputError
from SkullGANLib.words import few

Layout = Literal["mm-whs", "dicom", "pairs"]

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}

_MM_WHS = re.compile(r"(?P<patient>(?P<kind>ct|mr)_(?P<part>train|test)_\d+)_(?P<what>image|label)\.nii(\.gz)?", re.I)
_LABEL_WORDS = {"label", "labels", "lbl", "seg", "segmentation", "segmentations", "gt", "mask", "masks"}
_IMAGE_WORDS = {"image", "images", "img", "imgs", "ct", "scan", "volume", "dicom"}
_SETS = re.compile(r"(images?|labels?|masks?)(tr|ts|va)", re.I)  # imagesTr and labelsTr of nnU-Net and the decathlon
_CHANNEL = "0000"  # that nnU-Net appends to the names of images
_ADVICE = (
    "Give a folder of pairs such as p1_image.nii.gz and p1_label.nii.gz (also -labels, _seg, _gt, _mask; NIfTI, NRRD "
    "or MHA), a folder for each patient with one pair, or {training,testing}/{patient}/{patient}_whs_img.dcm and "
    "_whs_img_gt.dcm."
)


@dataclass(frozen=True)
class Pair:
    """A scan and its label map.

    Attributes:
        image: file, or folder of DICOM slices.
        labels: file.
        patient: what the layout tells patients apart by; never enters a data set.
        split: part of the split that the layout puts the patient in, or empty.
    """

    image: Path
    labels: Path
    patient: str
    split: str = ""


@dataclass
class FoundPairs:
    """What a folder holds.

    Attributes:
        layout: that was recognised.
        pairs: in the order of their names.
        left_out: sentences about files that make no pair.
        names: value to name, where the folder says it.
        phantom: whether ``skullgan phantom`` wrote it.
    """

    layout: Layout
    pairs: list[Pair]
    left_out: list[str] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    phantom: bool = False


def find_pairs(root: str | Path, layout: Layout | None = None) -> FoundPairs:
    """Find the pairs in a folder and the folders below it.

    Args:
        root: the folder.
        layout: ``mm-whs`` (ct_train_1001_image.nii.gz and ct_train_1001_label.nii.gz), ``dicom``
            ({part}/{patient}/{patient}_whs_img.dcm and {patient}_whs_img_gt.dcm), ``pairs`` (any other NIfTI, NRRD or
            MHA; the image may also be a folder of DICOM slices); None recognises it.

    Raises:
        InputError: no such folder, or no pair in it.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise InputError(f"{root} is no folder.", _ADVICE)
    files = files_below(root)
    ways = {"mm-whs": _mm_whs, "dicom": _dicom, "pairs": _by_name}
    for name in [layout] if layout else ways:
        found = ways[name](root, files)
        if found.pairs:
            return found
    if layout:
        raise InputError(f"{root} holds no pair in the layout {layout}.", "Leave --layout out, or check the folder.")
    reasons = " ".join(found.left_out)
    raise InputError(f"{root} holds no pair of an image and a label map. {reasons}".rstrip(), _ADVICE)


def files_below(root: Path) -> list[Path]:
    """Files below a folder that are not hidden, also behind links to folders.

    Warns:
        UserWarning: folders that may not be read.
    """
    found, seen, closed = [], set(), []
    for folder, below, names in os.walk(root, onerror=closed.append, followlinks=True):
        seen.add(os.path.realpath(folder))
        new = [name for name in below if os.path.realpath(os.path.join(folder, name)) not in seen]
        below[:] = sorted(name for name in new if not name.startswith("."))
        found += [Path(folder) / name for name in names if not name.startswith(".")]
    if closed:
        folders = few([os.path.relpath(error.filename, root) for error in closed])
        warnings.warn(f"Folders that may not be read are left out: {folders}.", stacklevel=3)
    return sorted(found)


def _mm_whs(root: Path, files: list[Path]) -> FoundPairs:
    by_patient: dict[str, dict[str, Path]] = {}
    parts, mr = {}, set()
    for file in files:
        if match := _MM_WHS.fullmatch(file.name):
            by_patient.setdefault(match["patient"], {})[match["what"].lower()] = file
            parts[match["patient"]] = PARTS[match["part"].lower()]
            if match["kind"].lower() == "mr":
                mr.add(match["patient"])
    whole = sorted(patient for patient, two in by_patient.items() if len(two) == 2 and patient not in mr)
    alone = sorted(patient for patient, two in by_patient.items() if len(two) == 1 and patient not in mr)
    found = FoundPairs("mm-whs", [Pair(by_patient[p]["image"], by_patient[p]["label"], p, parts[p]) for p in whole])
    found.names = dict(MM_WHS_LABELS)
    if mr:
        found.left_out.append(f"{few(sorted(mr))}: MR, not CT, and left out.")
    if alone:
        found.left_out.append(f"{few(alone)}: without a partner, and left out.")
    return found


def _dicom(root: Path, files: list[Path]) -> FoundPairs:
    dicom = [f for f in files if f.suffix.lower() == ".dcm"]
    images = {f for f in dicom if not f.stem.lower().endswith("_gt")}
    found, partners = FoundPairs("dicom", []), set()
    for labels in (f for f in dicom if f not in images):
        image = labels.with_name(labels.stem[: -len("_gt")] + labels.suffix)
        if image in images:
            folders = labels.parent.relative_to(root).parts
            found.pairs.append(Pair(image, labels, "/".join(folders) or image.stem, _part(folders)))
            partners |= {image, labels}
    named = re.compile(r"_img(_gt)?$", re.I)  # other DICOM beside them is no half of a pair
    alone = [f.name for f in dicom if f not in partners and named.search(f.stem)]
    if alone:
        found.left_out.append(f"{few(alone)}: without a partner, and left out.")
    return found


def _by_name(root: Path, files: list[Path]) -> FoundPairs:
    volumes = [f for f in files if suffix(f) in READABLE] + _dicom_folders(root, files)
    labelled = {f.parent for f in volumes if _LABEL_WORDS & set(_words(f))}
    images: dict[tuple, list[Path]] = {}
    labels: dict[tuple, list[Path]] = {}
    for file in volumes:
        of_labels = file.is_file() and _is_labels(file, root, file.parent in labelled)
        side = labels if of_labels else images
        side.setdefault(_key(file, root), []).append(file)
    both = {
        key: (images[key][0], files[0]) for key, files in labels.items() if len(files) == len(images.get(key, ())) == 1
    }
    rest_images = [f for key, files in images.items() if key not in both for f in files]
    rest_labels = [f for key, files in labels.items() if key not in both for f in files]
    for label in list(rest_labels):  # a folder with one of each, whatever their names
        beside = [f for f in rest_images if label.parent in (f, f.parent)]
        if len(beside) == 1 and sum(f.parent == label.parent for f in rest_labels) == 1:
            both[_key(label, root)] = (beside[0], label)
            rest_images.remove(beside[0])
            rest_labels.remove(label)
    found = FoundPairs("pairs", _with_patients(root, both))
    alone = sorted(str(f.relative_to(root)) for f in [*rest_images, *rest_labels])
    if alone:
        found.left_out.append(f"{few(alone)}: without a partner, and left out.")
    found.names = phantom_names(root)
    found.phantom = bool(found.names)
    return found


def _dicom_folders(root: Path, files: list[Path]) -> list[Path]:
    """Folders of DICOM slices, by their first file that is no volume."""
    first: dict[Path, Path] = {}
    for file in files:
        if suffix(file) not in READABLE:
            first.setdefault(file.parent, file)
    return [folder for folder, file in first.items() if is_dicom(file)]


def _with_patients(root: Path, both: dict[tuple, tuple[Path, Path]]) -> list[Pair]:
    """Pairs in several folders belong to a patient each; else every pair is a patient."""
    pairs = []
    homes = {key: _home(root, *files) for key, files in both.items()}
    several = len(set(homes.values())) > 1
    for key, (image, labels) in sorted(both.items(), key=lambda item: item[1]):
        folders = image.parent.relative_to(root).parts
        patient = homes[key] if several and homes[key] else "/".join(" ".join(words) for words in key)
        pairs.append(Pair(image, labels, patient, _part(folders)))
    return pairs


def _home(root: Path, image: Path, labels: Path) -> str:
    """The patient's folder, where both files lie in one that is not just a part of the split."""
    folders = [name for name in image.parent.relative_to(root).parts if name.lower() not in PARTS]
    return "/".join(folders) if image.parent == labels.parent else ""


def _part(folders: tuple[str, ...]) -> str:
    return next((PARTS[name.lower()] for name in folders if name.lower() in PARTS), "")


def _words(path: Path) -> list[str]:
    name = path.name[: -len(suffix(path))] if suffix(path) in READABLE else path.name
    return [word.lower() for word in re.split(r"[-_. ]+", _SETS.sub(r"\1-\2", name)) if word]


def _is_labels(file: Path, root: Path, among_labels: bool) -> bool:
    """Labels by name, or by the name of a folder, unless a file beside it is the label map by name."""
    if _LABEL_WORDS & set(_words(file)):
        return True
    folders = file.parent.relative_to(root).parts
    return not among_labels and any(_LABEL_WORDS & set(_words(Path(name))) for name in folders)


def _key(file: Path, root: Path) -> tuple[tuple[str, ...], ...]:
    """What the two names of a pair have in common: their words without those for image or label."""
    parts = [*map(Path, file.parent.relative_to(root).parts), file]
    keys = [tuple(w for w in _words(part) if w not in _LABEL_WORDS | _IMAGE_WORDS | {_CHANNEL}) for part in parts]
    return (*(key for key in keys[:-1] if key), keys[-1])


def several_parts(pairs: list[Pair]) -> bool:
    """Whether the layout itself splits the pairs."""
    return len(Counter(pair.split for pair in pairs)) > 1 and all(pair.split for pair in pairs)
