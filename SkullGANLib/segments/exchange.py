"""Segments from elsewhere and for elsewhere: NumPy arrays as the paper's code keeps them, and NRRD stacks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.files import replace_file, sha256_of
from SkullGANLib.progress import Progress
from SkullGANLib.segments.arrays import finite_blocks, open_npy, write_npy
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.meta import Kind

PIXEL_MM, SLICE_MM = 0.45, 3.1  # of the paper: 57.6 mm across 128 pixels, every fifth slice of 0.625 mm
PLAUSIBLE_HU = (-1100, 4000)
STACK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".nii", ".nii.gz")


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
        spacing_mm=spacing_mm or stack_mm,
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
