"""What users hand to the logic (nodes, paths, data sets) as what the command line takes (paths, options)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SkullGANLib.errors import InputError

from . import geometry
from .results import Run

if TYPE_CHECKING:
    from SkullGANLib.segments.dataset import SegmentDataset

DATASET_ATTRIBUTE = "SkullGAN.dataSet"
KIND_ATTRIBUTE = "SkullGAN.kind"


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
    arguments = ["--planes", ",".join(planes), "--regions", ",".join(regions), "--interval-mm", str(interval_mm)]
    if (mask is not None or head_frame is not None) and len(sources) > 1:
        raise InputError("A skull mask and a head frame are for one volume.", "Prepare that volume by itself.")
    if mask is not None:
        if isinstance(sources[0], (str, Path)):
            raise InputError("A skull mask needs its volume in the scene.", "Load the scan first.")
        from SkullGANLib.ct.io import write_volume

        labels = geometry.labelsFromSegmentation(mask, sources[0])
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
    settings: Mapping[str, Any] | None,
    **numbers: int | None,
) -> list[Any]:
    """Options of ``skullgan train``; ``temporary`` names a folder for a set that was never on disk."""
    sets = data if isinstance(data, (list, tuple)) else [data]
    arguments = [part for one in sets for part in ("--data", datasetFolder(one, temporary))]
    init = init.path if isinstance(init, Run) else init
    arguments += ["--preset", preset, "--device", device]
    arguments += flags({**numbers, "init": init})
    return arguments + [part for key, value in (settings or {}).items() for part in ("--set", f"{key}={value}")]


def datasetFolder(data: Any, temporary: Callable[[str], Path]) -> Path:
    """The folder (or ``.npy``) behind a data set, path or node; an array that was never on disk is written."""
    if isinstance(data, (str, Path)):
        return Path(data).expanduser()
    if not hasattr(data, "GetAttribute"):
        return data.path
    known = data.GetAttribute(DATASET_ATTRIBUTE)
    if known and (Path(known) / "dataset.json").is_file():
        return Path(known)
    if not data.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f"{data.GetName()} holds no segments.", "Choose a volume of segments, or a data set folder.")
    from SkullGANLib.segments.dataset import SegmentDataset

    hu = slicer.util.arrayFromVolume(data)
    path = temporary("segments")
    SegmentDataset.create(path, hu, {}, kind=data.GetAttribute(KIND_ATTRIBUTE) or "synthetic",
                          spacing_mm=float(data.GetSpacing()[0]))  # fmt: skip
    return path


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
    return SegmentDataset.open(Path(data).expanduser()) if isinstance(data, (str, Path)) else data


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


def nameOf(path: Path) -> str:
    """A name for people: of the folder that was made for it."""
    return path.parent.name if path.name == "model" else path.stem
