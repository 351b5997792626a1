"""DICOM folders: which image series they hold, and a CT series as one volume of Hounsfield units."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from SkullGANLib.ct import checks
from SkullGANLib.ct.headers import ImageHeader, read_headers
from SkullGANLib.ct.pixels import read_slices
from SkullGANLib.ct.stack import plan_grid
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.progress import Progress, report

SAME_ORIENTATION = 1e-3  # cosines; headers round
SAME_POSITION_MM = 0.01


@dataclass
class Series:
    """Images of one series that could be one volume: same orientation, matrix, pixel spacing and kernel.

    Attributes:
        number: what a user calls it by: the scanner's series number if each series has its own, else its place in
            the list (from 1).
        images: headers, sorted along the normal of the slices.
        problem: why it cannot be read as a CT volume; empty if it can.
    """

    images: list[ImageHeader]
    number: int = 0
    problem: str = ""

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return self.images[0].series_uid

    @property
    def modality(self) -> str:
        """CT, MR, ...; '?' if the header does not say."""
        return self.images[0].modality or "?"

    @property
    def n_slices(self) -> int:
        """Images in the series, before duplicates are left out."""
        return len(self.images)

    @property
    def kernel(self) -> str:
        """Reconstruction kernel, or empty."""
        return str(self.images[0].acquisition.get("kernel", ""))

    @property
    def size(self) -> str:
        """Rows and columns, as text."""
        return f"{self.images[0].rows} x {self.images[0].columns}"

    def __str__(self) -> str:
        kernel = f", kernel {self.kernel}" if self.kernel else ""
        images = "1 image" if self.n_slices == 1 else f"{self.n_slices} images"
        problem = f" (not usable: {self.problem})" if self.problem else ""
        return f"{self.number}: {self.modality}, {images} of {self.size}{kernel}{problem}"


@dataclass
class DicomFolder:
    """What a folder holds: its series, and the names of DICOM files too damaged to read."""

    series: list[Series] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def list_series(folder: str | Path, progress: Progress | None = None) -> list[Series]:
    """The image series in a folder and the folders below it, in any order and under any file names.

    Raises:
        InputError: when the folder cannot be read.
    """
    return scan_folder(folder, progress).series


def scan_folder(folder: str | Path, progress: Progress | None = None) -> DicomFolder:
    """Sort the DICOM files below a folder into series; everything else is passed over."""

    def refuse(error: OSError) -> None:
        raise error

    files = [Path(root) / name for root, _, names in os.walk(folder, onerror=refuse) for name in sorted(names)]
    return scan_files(files, progress)


def scan_files(files: Iterable[Path], progress: Progress | None = None) -> DicomFolder:
    """Sort DICOM files into series."""
    files = list(files)
    found = DicomFolder()
    groups: dict[tuple, list[list[ImageHeader]]] = {}
    for done, file in enumerate(files):
        report(progress, done, len(files), "Reading headers")
        try:
            headers = read_headers(file)
        except FormatError:
            found.damaged.append(file.name)
            continue
        for header in headers:
            same = groups.setdefault(header.group, [])
            fitting = (g for g in same if _aligned(g[0], header))
            group = next(fitting, None)
            same.append([header]) if group is None else group.append(header)
    report(progress, len(files), len(files), "Reading headers")
    for group in (g for same in groups.values() for g in same):
        series = Series(sorted(group, key=lambda h: (h.distance_mm, h.acquisition_number, h.instance_number, h.file)))
        series.problem = _problem(series)
        found.series.append(series)
    _number(found.series)
    return found


def choose_series(found: list[Series], wanted: str | None = None) -> Series:
    """The series called ``wanted`` (its number or the beginning of its UID), or the longest usable CT.

    Raises:
        InputError: when there is none, or it is not a CT volume.
    """
    listing = "\n".join(f"  {s}" for s in found)
    if wanted is None:
        usable = [s for s in found if not s.problem]
        if usable:
            return max(usable, key=lambda s: (s.n_slices, not s.images[0].derived, -s.number))
        if len(found) == 1:
            raise InputError(f"The DICOM images cannot be read as a CT volume: {found[0].problem}.", _ADVICE)
        raise InputError(f"None of the {len(found)} DICOM series is a CT volume:\n{listing}", _ADVICE)
    wanted = wanted.strip()
    named = [s for s in found if s.uid.startswith(wanted) or str(s.number) == wanted]
    if wanted.isdigit():
        named = [s for s in found if str(s.number) == wanted]
    if len(named) > 1:  # scouts and other leftovers share the UID of the scan
        named = [s for s in named if not s.problem] or named
    if len(named) != 1:
        many = "No series is" if not named else f"{len(named)} series are"
        raise InputError(f"{many} called '{wanted}'.", f"Choose by number or by more of the UID:\n{listing}")
    if named[0].problem:
        raise InputError(f"Series {named[0].number} cannot be read as a CT volume: {named[0].problem}.", _ADVICE)
    return named[0]


def read_series(series: Series, progress: Progress | None = None) -> Volume:
    """Read a CT series as a volume on a regular grid with perpendicular axes.

    Args:
        series: one of ``list_series`` without a problem.
        progress: reported to once a slice.

    Returns:
        The volume; HU int16 if rescale slope and intercept are whole numbers, else float32. Its notes tell of
        duplicate slices, missing ones, uneven distances, gantry tilt and padding.

    Raises:
        FormatError: when a file is damaged.
        ResourceError: when no decoder for its compression is installed.
        InputError: when the slices cannot be one volume.
    """
    images, notes = _without_duplicates(series.images)
    first = images[0]
    corners = np.array([h.position_mm for h in images])
    offsets = (corners - corners[0]) @ first.axes.T
    main_axis = int(np.abs(first.axes[2]).argmax())
    plan = plan_grid(offsets, first.pixel_spacing_mm, corners[:, main_axis])
    hu, padding = read_slices(images, progress)
    note = checks.clear_padding(hu) or (checks.padding_note(padding) if padding is not None else None)
    hu = plan.fill(hu, progress)
    (top, _), (left, _) = plan.pad_px
    row_mm, column_mm = first.pixel_spacing_mm
    origin = corners[0] - left * column_mm * first.axes[0] - top * row_mm * first.axes[1]
    acquisition = dict(first.acquisition, n_slices=len(images))
    notes += plan.notes + ((note,) if note else ())
    header_tilt = float(acquisition.get("gantry_tilt_deg", 0.0))
    if plan.tilt_deg and abs(header_tilt) < 0.1:
        acquisition["gantry_tilt_deg"] = round(plan.tilt_deg, 2)
    elif abs(header_tilt) >= 1 and not plan.tilt_deg and np.abs(first.axes[2]).max() > 0.9999:
        notes += (
            f"The header names a gantry tilt of {header_tilt:g} degrees, but the slice positions show none: "
            "if it was not corrected before, the head is sheared.",
        )
    if first.derived and not first.synthetic:
        notes += ("The series is marked as derived: it was computed from other images, not directly by the scanner.",)
    return Volume(
        hu=hu,
        spacing_mm=(float(column_mm), float(row_mm), plan.spacing_mm),
        origin_mm=tuple(float(o) for o in origin),
        direction=first.axes.T.copy(),
        acquisition=acquisition,
        notes=notes,
    )


_ADVICE = "Give the folder with all slices of a CT series, as the scanner or the archive exports it."


def _aligned(a: ImageHeader, b: ImageHeader) -> bool:
    if a.axes is None or b.axes is None:
        return a.axes is b.axes
    return np.abs(a.axes - b.axes).max() < SAME_ORIENTATION and np.allclose(a.pixel_spacing_mm, b.pixel_spacing_mm)


def _problem(series: Series) -> str:
    first = series.images[0]
    if first.modality != "CT":
        return f"its modality is {series.modality}, not CT"
    if first.localizer:
        return "it is a scout view (localizer)"
    if first.secondary_capture:
        return "it holds pictures for viewing, not measured values"
    if first.samples != 1:
        return "its images are in colour"
    if first.axes is None:
        return "its headers do not say where the slices lie (position, orientation or pixel spacing missing)"
    spread = series.images[-1].distance_mm - first.distance_mm
    if len(series.images) == 1 or spread < SAME_POSITION_MM:
        return "it is a single slice" if len(series.images) == 1 else "all its images lie at one position"
    return ""


def _number(found: list[Series]) -> None:
    """Sort the series and give each its number."""
    found.sort(key=lambda s: (s.images[0].series_number is None, s.images[0].series_number or 0, s.uid, -s.n_slices))
    own = {s.images[0].series_number for s in found} - {None}
    for place, series in enumerate(found, start=1):
        series.number = series.images[0].series_number if len(own) == len(found) else place


def _without_duplicates(images: list[ImageHeader]) -> tuple[list[ImageHeader], tuple[str, ...]]:
    """Keep the first acquisition where several images lie at one position (they are sorted that way)."""
    kept = images[:1]
    for header in images[1:]:
        if header.distance_mm - kept[-1].distance_mm > SAME_POSITION_MM:
            kept.append(header)
        elif header.order < kept[-1].order:
            kept[-1] = header
    left_out = len(images) - len(kept)
    if not left_out:
        return kept, ()
    image = "image lies" if left_out == 1 else "images lie"
    return kept, (f"{left_out} {image} where another already is; at each position the first acquisition was kept.",)
