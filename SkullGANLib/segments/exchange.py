"""Segments from elsewhere and for elsewhere: NumPy arrays as the paper's code keeps them, stacks, pictures, DICOM."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from SkullGANLib.ct.dicom_write import write_slices
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.files import replace_file, replace_folder, sha256_of
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.arrays import finite_blocks, open_npy, write_npy
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.meta import Kind
from SkullGANLib.segments.sheet import contact_sheet, write_png
from SkullGANLib.segments.table import CopiesChoice, marked_copies

PIXEL_MM, SLICE_MM = 0.45, 3.1  # of the paper: 57.6 mm across 128 pixels, every fifth slice of 0.625 mm
PLAUSIBLE_HU = (-1100, 4000)
BONE_WINDOW_HU, GREY_WINDOW = (0, 2700), (0, 255)
STACK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".nii", ".nii.gz")
_DERIVATION = {
    "real": "Piece of skull cut out of a head CT, resampled and turned; everything but bone is background.",
    "phantom": "Piece of skull cut out of a computed head phantom; no patient was involved.",
    "synthetic": "Drawn from a generative model of skull segments; shows no patient.",
    "artificial": "Drawn from formulas; shows no patient.",
    "pictures": "A picture that is no CT.",
}


def import_array(
    source: str | Path,
    path: str | Path,
    *,
    kind: Kind = "real",
    spacing_mm: float | None = None,
    background_hu: float = 0.0,
    window_hu: tuple[float, float] | None = None,
    table: Mapping[str, Any] | None = None,
    subject: str = "unknown",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SegmentDataset:
    """Make a data set of a ``.npy`` array or of a stack (NRRD, MHA, NIfTI).

    Args:
        source: (N, 1, size, size) or (N, size, size) HU of any real type.
        path: folder to make.
        kind: real, synthetic, artificial or phantom.
        spacing_mm: pixel spacing; if not given, that of a stack, and 0.45 mm for an array.
        background_hu: value of every pixel that is not bone.
        window_hu: (minimum, range) that bring values of -1 to 1 back to HU: (0.5 x + 0.5) range + minimum.
        table: columns of length N.
        subject: pseudonym, where the table gives none.
        overwrite: whether a data set at ``path`` may be replaced.
        progress: told the segments written.

    Warns:
        UserWarning: values outside -1100 to 4000, which may not be HU.

    Raises:
        FormatError: the file cannot be read as such an array.
        InputError: non-finite values, with their number; values of -1 to 1 without ``window_hu``; another shape.
    """
    source = Path(source)
    hu, stack_mm = _read_stack(source) if _is_stack(source) else (_read_npy(source), PIXEL_MM)
    if window_hu is not None:
        minimum, extent = window_hu
        hu = ((0.5 * np.asarray(hu, np.float32) + 0.5) * extent + minimum).astype(np.float32)
    low, high = _extremes(hu)
    if low >= -1 and high <= 1:
        raise InputError(
            f"The values of {source.name} lie between {low:.3g} and {high:.3g}: they are not HU but normalised.",
            "Give the window they were normalised with, minimum and range in HU (the paper's: 0 and 2734.53).",
        )
    if low < PLAUSIBLE_HU[0] or high > PLAUSIBLE_HU[1]:
        message = f"{source.name} holds values from {low:.0f} to {high:.0f}: perhaps these are not Hounsfield units."
        warnings.warn(message, stacklevel=2)
    table = dict(table or {})
    table.setdefault("subject", np.full(len(hu), subject))
    return SegmentDataset.create(
        path,
        hu,
        table,
        kind=kind,
        spacing_mm=stack_mm if spacing_mm is None else spacing_mm,
        background_hu=background_hu,
        sources=[{"sha256": sha256_of(source)}],
        overwrite=overwrite,
        progress=progress,
    )


def export_npy(
    dataset: SegmentDataset, path: str | Path, *, flat: bool = False, progress: Progress | None = None
) -> Path:
    """Write the HU as one ``.npy`` array of float32.

    Args:
        dataset: to be written.
        path: file to make.
        flat: (N, size, size) instead of the paper's (N, 1, size, size).
        progress: told the segments written.
    """
    hu = dataset.hu if flat else dataset.hu[:, None]
    with replace_file(path) as temporary:
        write_npy(temporary, [hu], np.float32, progress=progress)
    return Path(path)


def export_nrrd_stack(dataset: SegmentDataset, path: str | Path, *, slice_mm: float = SLICE_MM) -> Path:
    """Write the HU as one 3-D image, a segment in each slice; the type stays int16 or float32.

    Args:
        dataset: to be written.
        path: ``.nrrd``, ``.mha``, ``.nii`` or ``.nii.gz`` file to make.
        slice_mm: distance between slices. Neighbours in a data set need not be neighbours in the head: the distance
            only makes a viewer show them well.

    Raises:
        InputError: another suffix.
    """
    import SimpleITK as sitk

    if not _is_stack(Path(path)) or str(path).endswith(".nhdr"):
        raise InputError(f"{Path(path).name} has no suffix of a stack.", "Use .nrrd, .mha, .nii or .nii.gz.")
    image = sitk.GetImageFromArray(np.ascontiguousarray(dataset.hu))
    image.SetSpacing((dataset.meta.spacing_mm, dataset.meta.spacing_mm, float(slice_mm)))
    with replace_file(path) as temporary:
        sitk.WriteImage(image, str(temporary), useCompression=True)
    return Path(path)


def export_pictures(
    dataset: SegmentDataset,
    folder: str | Path,
    *,
    window_hu: tuple[float, float] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write each segment as an 8-bit grey PNG, named by its row in the data set: 000000.png, 000001.png, ...

    Args:
        dataset: to be written.
        folder: to make.
        window_hu: HU shown black and white; values beyond are clipped. None: see ``usual_window``.
        overwrite: whether such a folder may be replaced.
        progress: told the pictures written.

    Raises:
        InputError: an empty window, or a folder that may not be replaced.
    """
    window_hu = window_hu or usual_window(dataset)
    with replace_folder(folder, overwrite=overwrite, marker=_picture(0)) as temporary:
        for k, hu in enumerate(dataset.hu):
            write_png(temporary / _picture(k), contact_sheet(hu, window_hu=window_hu, border=0))
            report(progress, k + 1, len(dataset), "Writing pictures")
    return Path(folder)


def export_dicom(
    dataset: SegmentDataset,
    folder: str | Path,
    *,
    slice_mm: float = SLICE_MM,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write each segment as a CT image, outer surface up; those of one subject are one series.

    Values are rounded to whole HU. UIDs are new, there is no date, and the only name is the pseudonym. The images do
    not lie where the bone lay in the head: they follow each other in the order of the data set.

    Args:
        dataset: to be written.
        folder: to make; a file is named by the row in the data set: segment_000000.dcm, ...
        slice_mm: stated distance between neighbouring images of a series.
        overwrite: whether such a folder may be replaced.
        progress: told the images written.

    Raises:
        InputError: HU beyond 16 bits, or a folder that may not be replaced.
    """
    kind, pixel_mm = dataset.meta.kind, dataset.meta.spacing_mm
    facts = {
        "image_type": ("DERIVED", "SECONDARY", "AXIAL", *(() if kind == "real" else ("SYNTHETIC",))),
        "manufacturer": "SkullGAN" if kind == "real" else "SkullGAN (synthetic)",
        "description": f"Skull segments, {kind}",
        "derivation": _DERIVATION[kind] + " Not in patient coordinates; not for diagnosis or treatment.",
    }
    subjects = dataset.table["subject"]
    with replace_folder(folder, overwrite=overwrite, marker=_dicom_name(0)) as temporary:
        for number, subject in enumerate(dict.fromkeys(subjects.tolist()), start=1):
            rows = np.flatnonzero(subjects == subject)
            write_slices(
                dataset.hu[rows],
                np.arange(len(rows))[:, None] * np.array([0.0, 0.0, slice_mm]),
                temporary,
                pixel_spacing_mm=(pixel_mm, pixel_mm),
                slice_thickness_mm=slice_mm,
                kvp=None,
                series_number=number,
                names=[_dicom_name(row) for row in rows],
                subject="SYNTHETIC" if kind in ("synthetic", "artificial") else subject,
                progress=progress,
                **facts,
            )
    return Path(folder)


def without_copies(dataset: SegmentDataset, copies: CopiesChoice = "refuse") -> SegmentDataset:
    """What of a data set may leave the house: all of it, unless some are marked as copies of training segments.

    Args:
        dataset: its column ``copy`` says which are, where an audit has found any.
        copies: ``drop`` leaves them out, in memory; ``keep`` lets them go.

    Raises:
        InputError: there are copies and nothing was said of them, or nothing else is there.
    """
    flagged = marked_copies(dataset.table)
    if copies == "keep" or not flagged.any():
        return dataset
    if copies == "refuse" or flagged.all():
        raise InputError(
            f"{int(flagged.sum())} of {len(dataset)} segments are marked as copies of training segments.",
            "Leave them out (copies: drop), or export them all the same (copies: keep)."
            if copies == "refuse"
            else "Nothing would be left to export.",
        )
    return dataset.select(~flagged)


def usual_window(dataset: SegmentDataset) -> tuple[float, float]:
    """What is shown black and white unless something else is asked for: HU of bone; of pictures, all grey levels."""
    return GREY_WINDOW if dataset.meta.kind == "pictures" else BONE_WINDOW_HU


def refuse_existing(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a file to be written over, before the work.

    Raises:
        InputError: ``path`` is there and may not be replaced, or is a folder.
    """
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder, a file is to be written.", "Choose another name.")
    if Path(path).exists() and not overwrite:
        raise InputError(
            f"{path} exists already.", "Choose another name, or ask for it to be overwritten (--overwrite)."
        )


def _picture(row: int) -> str:
    return f"{row:06d}.png"


def _dicom_name(row: int) -> str:
    return f"segment_{row:06d}.dcm"


def _is_stack(path: Path) -> bool:
    return path.name.lower().endswith(STACK_SUFFIXES)


def _read_npy(path: Path) -> np.ndarray:
    hu = open_npy(path)
    if hu.dtype.kind not in "iuf":
        raise FormatError(f"{path.name} holds {hu.dtype}, not numbers.", "Export HU as float32 or int16.")
    return hu[:, 0] if hu.ndim == 4 and hu.shape[1] == 1 else hu


def _read_stack(path: Path) -> tuple[np.ndarray, float]:
    import SimpleITK as sitk

    if not path.is_file():
        raise FormatError(f"There is no file {path}.", "Check the path.")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise FormatError(f"{path.name} cannot be read as an image.", "Export the stack again.") from error
    x_mm, y_mm = image.GetSpacing()[:2]
    if abs(x_mm - y_mm) > 1e-3 * x_mm:
        raise InputError(f"The pixels of {path.name} are not square ({x_mm} x {y_mm} mm).", "Resample the stack first.")
    return sitk.GetArrayFromImage(image), round(float(x_mm), 6)


def _extremes(hu: np.ndarray) -> tuple[float, float]:
    if hu.size == 0:
        raise InputError("There are no segments in the file.", "Export at least one.")
    lows, highs = zip(*((block.min(), block.max()) for block in finite_blocks([hu], np.float32)), strict=True)
    return float(min(lows)), float(max(highs))
