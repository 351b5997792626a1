"""The one way into and out of files for CT volumes: DICOM in; NRRD, NIfTI and MHA in and out."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from SkullGANLib.ct import checks, dicom
from SkullGANLib.ct.headers import is_dicom
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import FormatError, InputError, ResourceError
from SkullGANLib.files import replace_file
from SkullGANLib.progress import Progress

READABLE = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
WRITABLE = (".nrrd", ".nii", ".nii.gz", ".mha")
_KINDS = "a folder of DICOM slices, or a .nrrd, .nii, .nii.gz or .mha file"


def read_volume(
    path: str | Path,
    *,
    series: str | None = None,
    hu_offset: float = 0.0,
    labels: bool = False,
    progress: Progress | None = None,
) -> Volume:
    """Read a head CT.

    Args:
        path: a folder of DICOM slices (searched with all folders below), one multi-frame DICOM file, a NRRD, NIfTI or
            MHA file, or a folder that holds one of these.
        series: number or beginning of the UID of a DICOM series; default is the longest CT.
        hu_offset: added to all values, for files whose values were shifted (by 1024, as a rule).
        labels: the file is a label map: keep its values and type, do not look for Hounsfield units; a single slice
            will do.
        progress: reported to while headers and slices are read.

    Returns:
        The volume, HU int16 where the values allow it without loss, else float32; ``notes`` say what is odd about it.

    Raises:
        InputError: when the path holds no CT volume.
        FormatError: when a file is damaged or not what its name says.
        ResourceError: when a decoder is missing.
    """
    path = Path(path).expanduser()
    try:
        if not path.exists():
            raise InputError(f"There is nothing at {path}.", f"Check the path; give {_KINDS}.")
        volume = _read(path, series, progress, fewest=1 if labels else 2)
    except PermissionError as error:
        raise InputError(
            f"{error.filename or path} may not be read by this user.", "Ask its owner for leave to read it, or copy it."
        ) from error
    if labels:
        return volume
    checks.require_finite(volume.hu)
    hu, notes = _offset(volume.hu, hu_offset), list(volume.notes)
    padding = checks.clear_padding(hu)
    notes += [padding] if padding else []
    volume = replace(volume, hu=hu)
    notes += checks.value_notes(hu, known_ct="modality" in volume.acquisition)
    return replace(volume, notes=(*notes, *checks.scan_notes(volume)))


def write_volume(volume: Volume, path: str | Path) -> Path:
    """Write a volume with its geometry; int16, uint8 and float32 stay what they are.

    Args:
        volume: HU or labels.
        path: ends in .nrrd, .nii, .nii.gz or .mha; an existing file is replaced once the new one is complete.

    Returns:
        The path.

    Raises:
        InputError: when the ending is none of these.
        ResourceError: when the file cannot be written.
    """
    import SimpleITK as sitk

    path = Path(path).expanduser()
    ending = suffix(path)
    if ending not in WRITABLE:
        raise InputError(f"Volumes cannot be written as '{path.name}'.", f"Use one of {', '.join(WRITABLE)}.")
    try:
        with replace_file(path) as part:
            sitk.WriteImage(volume.to_sitk(), str(part), useCompression=ending != ".nii", compressionLevel=1)
    except RuntimeError as error:
        raise ResourceError(
            f"{path} could not be written: {_last_line(error)}", "Check that the folder may be written and has room."
        ) from error
    return path


def suffix(path: Path) -> str:
    """The ending of a file name in small letters, with '.nii.gz' as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else os.path.splitext(name)[1]


def _read(path: Path, series: str | None, progress: Progress | None, fewest: int) -> Volume:
    if path.name.upper() == "DICOMDIR" and path.is_file():
        path = path.parent
    if path.is_dir():
        return _read_folder(path, series, progress, fewest)
    if suffix(path) in READABLE:
        return _read_file(path, fewest)
    if is_dicom(path):
        return _read_dicom(dicom.scan_files([path]), path, series, progress)
    if suffix(path) in (".dcm", ".ima", ".dicom"):
        raise FormatError(f"{path.name} is not DICOM, whatever its name says.", f"Give {_KINDS}.")
    raise InputError(f"{path.name} is not a medical image.", f"Give {_KINDS}.")


def _read_folder(folder: Path, series: str | None, progress: Progress | None, fewest: int) -> Volume:
    found = dicom.scan_folder(folder, progress)
    if found.series or found.damaged:
        return _read_dicom(found, folder, series, progress)
    files = sorted(f for f in folder.iterdir() if f.is_file() and suffix(f) in READABLE)
    if len(files) == 1:
        return _read_file(files[0], fewest)
    if files:
        names = ", ".join(f.name for f in files[:8]) + (", ..." if len(files) > 8 else "")
        raise InputError(f"{folder} holds {len(files)} volumes: {names}.", "Name the one you mean.")
    if not any(folder.iterdir()):
        raise InputError(f"{folder} is empty.", f"Give {_KINDS}.")
    raise InputError(f"{folder} holds no medical image.", f"Give {_KINDS}.")


def _read_dicom(found: dicom.DicomFolder, path: Path, series: str | None, progress: Progress | None) -> Volume:
    notes = []
    if found.damaged:
        count, names = len(found.damaged), ", ".join(found.damaged[:5]) + (", ..." if len(found.damaged) > 5 else "")
        if not found.series:
            raise FormatError(f"All DICOM files of {path} are damaged: {names}.", "Copy them again from their source.")
        files = "1 damaged file was" if count == 1 else f"{count} damaged files were"
        notes.append(f"{files} left out: {names}.")
    chosen = dicom.choose_series(found.series, series)
    others = [s for s in found.series if not s.problem and s is not chosen]
    if others and series is None:
        notes.append(
            f"There are {len(others) + 1} CT series here; number {chosen.number} ({chosen.n_slices} slices) was read. "
            f"Choose another with --series: {', '.join(str(s.number) for s in others)}."
        )
    volume = dicom.read_series(chosen, progress)
    return replace(volume, notes=(*notes, *volume.notes))


def _read_file(path: Path, fewest: int) -> Volume:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with open(path, "rb"):
            pass
        reader.ReadImageInformation()
        size, components = reader.GetSize(), reader.GetNumberOfComponents()
        if components > 1:
            raise InputError(
                f"{path.name} holds {components} values in each voxel (a colour image, vectors or a sequence).",
                "Give a volume with one value, in Hounsfield units, per voxel.",
            )
        if len(size) > 3 and max(size[3:]) > 1:
            shape = " x ".join(str(s) for s in size)
            raise InputError(f"{path.name} has {len(size)} dimensions ({shape}).", "Give a single volume of it.")
        if len(size) < 2 or min((*size, 1)[:3]) < fewest:
            raise InputError(f"{path.name} is a single slice.", "Give a volume of several slices.")
        if suffix(path).startswith(".nii"):
            _require_length(path, int(np.prod(size)) * sitk.Image(1, 1, reader.GetPixelID()).GetSizeOfPixelComponent())
        image = reader.Execute()
    except (RuntimeError, EOFError, zlib.error) as error:
        reason = _last_line(error)
        if "No such file" in reason:  # ITK's last word on a MetaImage that ends too early
            reason = "its data end too early"
        raise FormatError(
            f"{path.name} cannot be read: {reason}",
            "The file is damaged or not what its name says; write or copy it again.",
        ) from error
    while image.GetDimension() > 3:
        image = image[..., 0]
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image)
    volume = Volume.from_sitk(image)
    return replace(volume, hu=_compact(volume.hu))


def _require_length(path: Path, length: int) -> None:
    """Notice a NIfTI file that was cut short: SimpleITK fills the rest with zeros, or whatever is in memory."""
    found = path.stat().st_size
    with open(path, "rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    if packed:
        with gzip.open(path) as stream:
            found = sum(len(block) for block in iter(lambda: stream.read(1 << 22), b""))
    if found < length:
        raise RuntimeError(f"it ends after {found} bytes, {length} are needed")


def _compact(values: np.ndarray) -> np.ndarray:
    """The same values as uint8 or int16 if whole numbers in its range came as integers, else as float32."""
    if values.dtype in (np.uint8, np.int16, np.float32):
        return values
    if np.issubdtype(values.dtype, np.integer) and values.min() >= -32768 and values.max() <= 32767:
        return values.astype(np.int16)
    return values.astype(np.float32)


def _offset(values: np.ndarray, hu_offset: float) -> np.ndarray:
    if values.dtype != np.float32 and float(hu_offset).is_integer():
        low, high = int(values.min()) + int(hu_offset), int(values.max()) + int(hu_offset)
        if low >= -32768 and high <= 32767:
            return values.astype(np.int16) + np.int16(hu_offset)
    return values.astype(np.float32) + np.float32(hu_offset)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
