"""Scans with label maps, of any organ, as a data set of square slices to learn CT from labels with."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from SkullGANLib.ct.checks import require_finite
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError, SkullGANError
from SkullGANLib.files import check_replaceable
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.meta import META_FILE, Kind
from SkullGANLib.segments.pairs_layouts import FoundPairs, Layout, find_pairs, several_parts
from SkullGANLib.segments.pairs_read import (
    LabelNumbers,
    field_of_view_mm,
    onto_image,
    read_image,
    read_labels_of,
    whole_numbers,
)
from SkullGANLib.segments.splits import split_by_subject
from SkullGANLib.words import few

STRUCTURES = "structures"
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
_NORMAL = {"axial": 2, "coronal": 1, "sagittal": 0}  # the LPS axis across the slices
_KEPT_FACTS = ("modality", "manufacturer", "kernel", "kvp")


class PairOptions(BaseModel):
    """How volumes become slices; every field is also an option of ``skullgan dataset import-pairs``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(128, ge=64, le=512, description="rows and columns of a slice")
    spacing_mm: float | None = Field(None, gt=0.05, le=10, description="pixel spacing")
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    every_mm: float | None = Field(None, gt=0, le=100, description="distance between slices")
    keep: Literal["labelled", "all"] = "labelled"
    centre: Literal["image", "labels"] = "image"
    background_hu: float = Field(-1000.0, ge=-2000, le=4000, description="HU beyond the image")
    blank: bool = Field(False, description="what has no label becomes background, such as the table under a head")


@dataclass(frozen=True, eq=False)
class _Scan:
    """One scan on its way into the set; ``names`` are of the values in ``labels``, ``all_named`` if none lacks one."""

    image: Volume
    labels: Volume
    subject: str
    volume: str
    called: str
    split: str = ""
    names: dict[int, str] = field(default_factory=dict)
    all_named: bool = False


@dataclass(frozen=True, eq=False)
class _Unusable:
    """A scan that could not be read, and why."""

    called: str
    error: SkullGANError


def import_pairs(
    root: str | Path,
    out: str | Path,
    options: PairOptions | None = None,
    *,
    layout: Layout | None = None,
    label_names: Mapping[int, str] | None = None,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    hu_offset: float = 0.0,
    window_hu: tuple[float, float] | None = None,
    kind: Kind | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SegmentDataset:
    """Make a data set of a folder of scans and label maps, a scan at a time.

    Args:
        root: the folder, see ``segments.pairs_layouts.find_pairs``.
        out: data set to make; its label set is ``structures``.
        options: how slices are cut; without a spacing the median field of view fills a slice.
        layout: of the folder; None recognises it.
        label_names: value to name, before what the files say; an empty name for a value that is no label. Where any
            value is named so, one that has no name at all is refused. Two values of one name are one structure.
        shares: part to share of the split by subject; where the layout has a split of its own, that is kept.
        seed: of the split.
        hu_offset: added to all values of the images.
        window_hu: HU minimum and range of 8-bit pictures in DICOM files.
        kind: of the data set; phantom for what ``skullgan phantom`` wrote, else real.
        overwrite: whether a data set at ``out`` may be replaced.
        progress: told the scans done.

    Warns:
        UserWarning: files without a partner and scans that cannot be used, which are left out, with their names.

    Raises:
        InputError: no pair, or none that can be used.
    """
    options = options or PairOptions()
    check_replaceable(out, overwrite=overwrite, marker=META_FILE)
    found = find_pairs(root, layout)
    for sentence in found.left_out:
        warnings.warn(sentence, stacklevel=2)
    if options.spacing_mm is None:
        axes = tuple(axis for axis in range(3) if axis != _NORMAL[options.plane])
        fields = [field_of_view_mm(pair.image, axes) for pair in found.pairs]
        options = _with_spacing(options, [mm for mm in fields if mm])
    return _write(
        _read(found, dict(label_names or {}), hu_offset, window_hu, progress),
        out,
        options,
        LabelNumbers(),
        total=len(found.pairs),
        own_split=several_parts(found.pairs) and shares is None,
        shares=shares,
        seed=seed,
        kind=kind or ("phantom" if found.phantom else "real"),
        overwrite=overwrite,
        progress=progress,
    )


def pairs_from_volumes(
    pairs: Iterable[tuple[Volume, Volume, str]],
    out: str | Path,
    options: PairOptions | None = None,
    *,
    label_names: Mapping[int, str] | None = None,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    kind: Kind = "real",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SegmentDataset:
    """Make a data set of volumes at hand; they are taken one at a time, so a generator needs memory for one only.

    Args:
        pairs: image in HU, label map (0 is no label), and pseudonym of the person.
        out, label_names, shares, seed, kind, overwrite, progress: as for ``import_pairs``.
        options: without a spacing, the median field of view fills a slice; of a generator, that of the first volume.

    Raises:
        InputError: no pair, none that can be used, or a subject that is no pseudonym.
    """
    options = options or PairOptions()
    check_replaceable(out, overwrite=overwrite, marker=META_FILE)
    total = len(pairs) if isinstance(pairs, Sequence) else 0
    if options.spacing_mm is None and total:
        options = _with_spacing(options, [_field_mm(image, options.plane) for image, _, _ in pairs])
    names = dict(label_names or {})
    scans = (
        _Scan(image, labels, subject, _name("v", image), subject, "", names, any(names.values()))
        for image, labels, subject in pairs
    )
    return _write(
        scans, out, options, LabelNumbers(), total=total, own_split=False, shares=shares, seed=seed, kind=kind,
        overwrite=overwrite, progress=progress,
    )  # fmt: skip


def _read(
    found: FoundPairs,
    given: dict[int, str],
    hu_offset: float,
    window_hu: tuple[float, float] | None,
    progress: Progress | None,
) -> Iterator[_Scan | _Unusable]:
    """The scans of a folder; one that cannot be read comes with the reason."""
    subjects: dict[str, str] = {}
    told: dict[str, list[str]] = {}
    for pair in found.pairs:
        try:
            image = read_image(pair.image, hu_offset=hu_offset, window_hu=window_hu, progress=progress)
            labels, in_file = read_labels_of(pair, image)
        except SkullGANError as error:
            yield _Unusable(pair.image.name, error)
            continue
        for note in image.notes:
            told.setdefault(note, []).append(pair.image.name)
        names = {**(in_file or found.names), **given}
        all_named = any(given.values()) or found.layout == "mm-whs"
        subject = subjects.setdefault(pair.patient, _name("s", image))
        yield _Scan(image, labels, subject, _name("v", image), pair.image.name, pair.split, names, all_named)
    for note, of in told.items():
        warnings.warn(f"{few(of)}: {note}", stacklevel=2)


def _write(
    scans: Iterable[_Scan | _Unusable],
    out: str | Path,
    options: PairOptions,
    numbers: LabelNumbers,
    *,
    total: int,
    own_split: bool,
    shares: Mapping[str, float] | None,
    seed: int,
    kind: Kind,
    overwrite: bool,
    progress: Progress | None,
) -> SegmentDataset:
    out = Path(out)
    columns: dict[str, list] = {name: [] for name in ("subject", "volume", "plane", "position_mm", "split")}
    sources, refused = [], []
    with tempfile.TemporaryDirectory(dir=out.resolve().parent, prefix=".pairs-") as folder:
        files = [Path(folder) / name for name in ("hu.raw", "labels.raw")]
        with open(files[0], "wb") as hu_file, open(files[1], "wb") as label_file:
            for done, scan in enumerate(scans):
                report(progress, done, max(total, done + 1), "Cutting slices")
                try:
                    if isinstance(scan, _Unusable):
                        raise scan.error
                    if options.spacing_mm is None:
                        options = _with_spacing(options, [_field_mm(scan.image, options.plane)])
                    at_mm = _cut(scan, options, numbers, hu_file, label_file)
                except SkullGANError as error:
                    refused.append(error)
                    warnings.warn(f"{scan.called} is left out: {error.message.rstrip('.')}.", stacklevel=3)
                    continue
                facts = (scan.subject, scan.volume, options.plane, at_mm, scan.split)
                for name, value in zip(columns, facts, strict=True):
                    columns[name] += value if name == "position_mm" else [value] * len(at_mm)
                sources.append(_source(scan))
        if not sources:
            reason = refused[0] if refused else InputError("there is none", "Give pairs of an image and its labels.")
            raise InputError(f"No pair can be used: {reason.message.rstrip('.')}.", reason.advice)
        report(progress, done + 1, done + 1, "Cutting slices")
        shape = (len(columns["subject"]), options.size, options.size)
        hu, labels = (np.memmap(f, t, "r", shape=shape) for f, t in zip(files, (np.int16, np.uint8), strict=True))
        extra = {"split": {"by": "layout"}}
        if not own_split:
            shares = dict(shares or SHARES)
            columns["split"] = split_by_subject(np.array(columns["subject"]), shares, seed)
            extra = {"split": {"by": "subject", "seed": seed, "fractions": shares}}
        made = SegmentDataset.create(
            out, hu, columns, kind=kind, spacing_mm=options.spacing_mm, background_hu=options.background_hu,
            sources=sources, masks={STRUCTURES: labels}, labels={STRUCTURES: dict(sorted(numbers.names.items()))},
            extra=extra, overwrite=overwrite, progress=progress,
        )  # fmt: skip
        del hu, labels  # Windows deletes no file that is open
    return made


def _cut(
    scan: _Scan, options: PairOptions, numbers: LabelNumbers, hu_file: BinaryIO, label_file: BinaryIO
) -> list[float]:
    """Write the slices of a scan; gives their positions along the normal, LPS mm."""
    require_finite(scan.image.hu)
    labels = onto_image(whole_numbers(scan.labels), scan.image, scan.called)
    labels = labels.with_array(numbers.renumber(labels.hu, scan.names, all_named=scan.all_named))
    image, labels = _upright(scan.image), _upright(labels)
    across = 2 - _NORMAL[options.plane]
    if min(np.delete(image.shape, across)) == 1:
        raise InputError(f"it is a single slice that is not {options.plane}", "Give volumes, or choose its plane.")
    hu, marked = (np.moveaxis(volume.hu, across, 0) for volume in (image, labels))
    along_mm = [mm for axis, mm in enumerate(image.spacing_mm[::-1]) if axis != across]
    own_mm = image.spacing_mm[::-1][across]
    if options.plane != "axial":  # the head is up
        hu, marked = hu[:, ::-1], marked[:, ::-1]
    there = marked.any(axis=0)
    ways = []
    for axis, mm in enumerate(along_mm):
        labelled = np.flatnonzero(there.any(axis=1 - axis))
        ends = labelled[[0, -1]] if options.centre == "labels" else np.array([0, there.shape[axis] - 1])
        ways.append(_Resampling(there.shape[axis], options.size, options.spacing_mm / mm, float(ends.mean())))
    rows, columns = ways
    outside = ~(rows.inside[:, None] & columns.inside)
    kept = np.flatnonzero(marked.any(axis=(1, 2))) if options.keep == "labelled" else np.arange(len(hu))
    step = max((options.every_mm or max(own_mm, options.spacing_mm)) / own_mm, 1)
    chosen = np.unique(np.rint(np.arange(kept[0], kept[-1] + 0.5, step)).astype(int))
    at_mm = []
    for k in chosen:
        labelled = np.where(outside, 0, marked[k][rows.nearest[:, None], columns.nearest])
        if options.keep == "labelled" and not labelled.any():
            continue
        image_hu = rows.weights @ hu[k].astype(np.float32) @ columns.weights.T
        image_hu[(labelled == 0) if options.blank else outside] = options.background_hu
        hu_file.write(np.clip(np.rint(image_hu), -32768, 32767).astype(np.int16).tobytes())
        label_file.write(labelled.astype(np.uint8).tobytes())
        place = np.zeros(3)
        place[across] = k
        at_mm.append(round(float(image.zyx_to_lps(place)[_NORMAL[options.plane]]), 3))
    if not at_mm:
        raise InputError("no slice of it shows a label", "Centre on the labels, or give larger or coarser slices.")
    return at_mm


class _Resampling:
    """From the pixels of one side of an image to those of a slice.

    A tent as wide as the larger of both pixels: linear interpolation where it enlarges, smoothing against aliasing
    where it shrinks.

    Attributes:
        weights: (n_out, n_in) float32.
        nearest: (n_out,) index of the nearest pixel.
        inside: (n_out,) whether that lies within the image.
    """

    def __init__(self, n_in: int, n_out: int, step: float, centre: float) -> None:
        place = centre + (np.arange(n_out) - (n_out - 1) / 2) * step
        self.inside = (place >= -0.5) & (place < n_in - 0.5)
        self.nearest = np.clip(np.floor(place + 0.5).astype(int), 0, n_in - 1)
        tent = np.maximum(1 - np.abs(np.clip(place, 0, n_in - 1)[:, None] - np.arange(n_in)) / max(step, 1), 0)
        self.weights = (tent / tent.sum(axis=1, keepdims=True)).astype(np.float32)


def _upright(volume: Volume) -> Volume:
    """The same voxels with slices from below upwards, rows from front to back, columns from the right to the left."""
    import SimpleITK as sitk

    turned = Volume.from_sitk(sitk.DICOMOrient(volume.to_sitk(), "LPS"))
    return turned.with_array(turned.hu.astype(volume.hu.dtype, copy=False))


def _field_mm(image: Volume, plane: str) -> float:
    """The larger side of the slices of a volume."""
    sides = np.array(image.spacing_mm) * image.shape[::-1]
    turned = np.abs(image.direction)
    return float(max(sides[turned[axis].argmax()] for axis in range(3) if axis != _NORMAL[plane]))


def _with_spacing(options: PairOptions, fields_mm: list[float]) -> PairOptions:
    if not fields_mm:
        raise InputError("No image says how large it is.", "Give --spacing.")
    return PairOptions(**{**options.model_dump(), "spacing_mm": round(float(np.median(fields_mm)) / options.size, 4)})


def _name(kind: str, image: Volume) -> str:
    """A pseudonym made from the content, as ``prepare`` makes it."""
    return f"{kind}-{_digest(image)[:8]}"


def _digest(image: Volume) -> str:
    return hashlib.sha256(np.ascontiguousarray(image.hu).data).hexdigest()


def _source(scan: _Scan) -> dict[str, object]:
    return {
        "subject": scan.subject,
        "sha256": _digest(scan.image),
        "spacing_mm": [round(float(mm), 4) for mm in scan.image.spacing_mm],
        **{name: value for name, value in scan.image.acquisition.items() if name in _KEPT_FACTS},
    }
