"""What users hand to the logic (nodes, paths, data sets) as what the command line takes (paths, options)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SkullGANLib.errors import InputError

from . import geometry, segmentations
from .results import Run

if TYPE_CHECKING:
    from SkullGANLib.models.card import ModelCard
    from SkullGANLib.segments.dataset import SegmentDataset

DATASET_ATTRIBUTE = "SkullGAN.dataSet"
KIND_ATTRIBUTE = "SkullGAN.kind"
PHANTOM_HEAD, SYNTHETIC_VOLUME = "phantom head", "synthetic volume"  # kinds of volumes, by that attribute
Classes = Mapping[str, int | None] | Sequence[str] | str | None
DATASET_KINDS = ("real", "phantom", "synthetic", "artificial", "pictures")


def volumeFiles(sources: Sequence[Any], folder: Path) -> list[Path]:
    """Paths of the scans; nodes are written to ``folder`` under names that say nothing of the patient."""
    from SkullGANLib.ct.io import write_volume

    paths = []
    for number, source in enumerate(sources, start=1):
        if isinstance(source, (str, Path)):
            paths.append(Path(source).expanduser())
        else:
            volume = geometry.volumeFromNode(source)
            paths.append(write_volume(volume, folder / f"volume-{number}.nrrd"))
    return paths


def learningArguments(source: Any, roi: Any, folder: Path) -> tuple[list[Any], str]:
    """Scan and box for ``skullgan volume train``, and a sentence about the box; a node is written to ``folder``."""
    if roi is None:
        return volumeFiles([source], folder), ""
    if isinstance(source, (str, Path)):
        raise InputError("An ROI needs its volume in the scene.", "Load the scan first.")
    box, note = geometry.boxInRoi(geometry.volumeFromNode(source), roi)
    return [*volumeFiles([source], folder), "--box", ",".join(map(str, box.T.ravel()))], note


def cuttingArguments(
    sources: Sequence[Any],
    folder: Path,
    planes: Sequence[str],
    regions: Sequence[str],
    interval_mm: float,
    mask: Any,
    head_frame: Any,
) -> list[Any]:
    """Options of ``skullgan prepare``; a mask and a head frame are written to ``folder``."""
    planes, regions = ([names] if isinstance(names, str) else names for names in (planes, regions))
    if not planes or not regions:
        raise InputError("No plane or no region was given.", "Give at least one of each.")
    arguments = ["--planes", ",".join(planes), "--regions", ",".join(regions), "--interval-mm", str(interval_mm)]
    if (mask is not None or head_frame is not None) and len(sources) > 1:
        raise InputError("A skull mask and a head frame are for one volume.", "Prepare that volume by itself.")
    if mask is not None:
        if isinstance(sources[0], (str, Path)):
            raise InputError("A skull mask needs its volume in the scene.", "Load the scan first.")
        from SkullGANLib.ct.io import write_volume

        labels = segmentations.labelsFromSegmentation(mask, sources[0])
        volume = geometry.volumeFromNode(sources[0])
        arguments += ["--mask", write_volume(volume.with_array(labels), folder / "mask.nrrd")]
    if head_frame is not None:
        path = folder / "head-frame.txt"
        np.savetxt(path, geometry.headFrameFromTransform(head_frame))
        arguments += ["--head-frame", path]
    return arguments


def trainingArguments(
    data: Any,
    temporary: Callable[[str], Path],
    *,
    preset: str | Path,
    device: str,
    init: Any,
    pretrain: Any,
    settings: Mapping[str, Any] | None,
    **numbers: int | str | None,
) -> list[Any]:
    """Options of ``skullgan train``; ``temporary`` names a folder for a set that was never on disk."""
    arguments = []
    for option, given in (("--data", data), ("--pretrain", pretrain)):
        sets = given if isinstance(given, (list, tuple)) else [given] if given is not None else []
        arguments += [part for one in sets for part in (option, datasetFolder(one, temporary))]
    init = init.path if isinstance(init, Run) else init
    arguments += ["--preset", preset, "--device", device]
    arguments += flags({**numbers, "init": init})
    return arguments + settingFlags(settings)


def settingFlags(settings: Mapping[str, Any] | None) -> list[str]:
    """Further options of a training."""
    settings = {key: list(v) if isinstance(v, tuple) else v for key, v in (settings or {}).items()}
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


def datasetFolder(data: Any, temporary: Callable[[str], Path]) -> Path:
    """The folder (or ``.npy``) of a data set, path or node; of a node whose array is not that of a folder, a new one.

    Raises:
        InputError: not of segments.
        FormatError: the files behind a node have changed.
    """
    if isinstance(data, (str, Path)):
        return Path(data).expanduser()
    if hasattr(data, "hu") and hasattr(data, "path"):
        return data.path
    if not hasattr(data, "GetAttribute"):
        raise InputError(f"{data!r} holds no segments.", "Give a data set, its folder, or a volume node of segments.")
    if not data.IsA("vtkMRMLScalarVolumeNode") or data.GetAttribute(KIND_ATTRIBUTE) not in DATASET_KINDS:
        raise InputError(
            f"{data.GetName()} holds no segments of SkullGAN.",
            "Choose a volume that Prepare or Generate has made, or the folder of a data set.",
        )
    from SkullGANLib.segments.dataset import SegmentDataset

    hu, table = slicer.util.arrayFromVolume(data), {}
    known = data.GetAttribute(DATASET_ATTRIBUTE)
    if known and (Path(known) / "dataset.json").is_file():
        dataset = SegmentDataset.open(Path(known), verify=True)
        if np.array_equal(dataset.hu, hu):
            return dataset.path
        table = dataset.table if len(dataset) == len(hu) else {}  # edited in the scene since
    path, spacing_mm = temporary("segments"), float(data.GetSpacing()[0])
    SegmentDataset.create(path, hu, table, kind=data.GetAttribute(KIND_ATTRIBUTE), spacing_mm=spacing_mm)
    return path


def auditArguments(audit: Any, copies: str, temporary: Callable[[str], Path]) -> list[Any]:
    """Options of ``skullgan generate`` for the data sets to look for copies of."""
    sets = audit if isinstance(audit, (list, tuple)) else [] if audit is None else [audit]
    arguments = [part for one in sets for part in ("--audit", datasetFolder(one, temporary))]
    return arguments + (["--copies", copies] if copies != "refuse" else [])


def holdsSegments(path: str) -> bool:
    """Whether a path is a data set or an array."""
    return os.path.isfile(os.path.join(path, "dataset.json")) or path.endswith(".npy")


def openDataset(data: Any) -> SegmentDataset:
    """A data set from itself, its folder, or a node that was shown from one.

    Raises:
        InputError: the node was not shown from a data set.
        FormatError: the folder holds none.
    """
    from SkullGANLib.segments.dataset import SegmentDataset

    if hasattr(data, "GetAttribute"):
        folder = data.GetAttribute(DATASET_ATTRIBUTE)
        if not folder:
            raise InputError(f"{data.GetName()} was not shown from a data set.", "Give the data set's folder.")
        data = folder
    if isinstance(data, (str, Path)):
        return SegmentDataset.open(Path(data).expanduser(), verify=True)
    if not isinstance(data, SegmentDataset):
        raise InputError(f"{data!r} is no data set.", "Give a data set, its folder, or a node shown from one.")
    return data


def readable(table: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns a person reads; those with nothing in them, and the places in mm, stay on disk."""
    return {
        name: column
        for name, column in table.items()
        if name[-2:] not in ("_x", "_y", "_z") and not _isEmpty(np.asarray(column))
    }


def _isEmpty(column: np.ndarray) -> bool:
    return bool(
        (column == "").all() if column.dtype.kind in "UO" else column.dtype.kind == "f" and np.isnan(column).all()
    )


def flags(options: Mapping[str, Any]) -> list[str]:
    """Options of the command line; those that are None or False are left out."""
    arguments = []
    for name, value in options.items():
        if value is not None and value is not False:
            arguments += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return arguments


def conditionFlags(conditions: Mapping[str, Any] | None) -> list[str]:
    """Conditions as options of ``skullgan generate``; a pair is a range."""
    words = []
    for name, value in (conditions or {}).items():
        text = f"{value[0]}:{value[1]}" if isinstance(value, (list, tuple)) else str(value)
        words += ["--condition", f"{name}={text}"]
    return words


def classFlags(classes: Classes) -> list[str]:
    """Classes to draw as options of ``skullgan generate``; those with the number None follow the count."""
    asked = [classes] if isinstance(classes, str) else classes or ()
    numbers = asked if isinstance(asked, Mapping) else dict.fromkeys(asked)
    return [
        part for name, number in numbers.items() for part in ("--class", name if number is None else f"{name}={number}")
    ]


def truncationFlags(truncation: float, centres: int) -> list[str]:
    """How far images are drawn towards the middles of their classes, as options of ``skullgan generate``."""
    return flags({"truncation": truncation, "centres": centres}) if truncation != 1 else []


def imageSize(card: ModelCard) -> int:
    """Height and width in pixels of what a model of segments draws; where its card does not say, its stages do."""
    network = card.network
    stages = network.get("widths") or network.get("generator") or ()
    if "size" in network or not stages:
        return network.get("size", 128)
    return 4 * 2 ** (len(stages) - 1) * network.get("patch", 1)


def nameOf(path: Path) -> str:
    """A name for people: of the folder that was made for it."""
    return path.parent.name if path.name == "model" else path.stem


def sourceName(source: Any) -> str:
    """Of a node, or of the file or folder of a scan."""
    return source.GetName() if hasattr(source, "GetName") else Path(source).name.partition(".")[0]
