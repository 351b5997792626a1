"""Pixels of DICOM files, unpacked and rescaled to Hounsfield units."""

from __future__ import annotations

import numpy as np

from SkullGANLib.ct import checks
from SkullGANLib.ct.headers import ImageHeader
from SkullGANLib.errors import FormatError, ResourceError
from SkullGANLib.progress import Progress, report


def read_slices(images: list[ImageHeader], progress: Progress | None = None) -> tuple[np.ndarray, float | None]:
    """Read images of one size.

    Args:
        images: in the order wanted.
        progress: reported to once a slice.

    Returns:
        (n, rows, columns) HU, int16 where rescaling keeps whole numbers, else float32; and the HU that padding outside
        the field of view had (now air), or None.

    Raises:
        FormatError: when a file is damaged.
        ResourceError: when its compression cannot be unpacked.
    """
    whole = all(float(h.slope).is_integer() and float(h.intercept).is_integer() for h in images)
    hu = np.empty((len(images), images[0].rows, images[0].columns), np.int16 if whole else np.float32)
    padding, open_file, frames = None, None, np.empty(0)
    for k, header in enumerate(images):
        if header.file != open_file:
            open_file, frames = header.file, _decode(header)
        image, padded = _to_hu(frames[header.frame], header)
        padding = padding if padded is None else padded
        if hu.dtype == np.int16 and (image.min() < -32768 or image.max() > 32767):
            hu = hu.astype(np.float32)
        hu[k] = image
        report(progress, k + 1, len(images), "Reading slices")
    return hu, padding


def _to_hu(stored: np.ndarray, header: ImageHeader) -> tuple[np.ndarray, float | None]:
    """Rescale stored values, with padding outside the field of view set to air."""
    whole = float(header.slope).is_integer() and float(header.intercept).is_integer()
    kind = np.int32 if whole else np.float64
    image = stored.astype(kind) * kind(header.slope) + kind(header.intercept)
    if header.padding is None:
        return image, None
    low, high = (p * header.slope + header.intercept for p in header.padding)
    if checks.AIR_HU <= low <= 4000:  # some headers declare a value that tissue has too
        return image, None
    outside = (image >= low) & (image <= high)
    image[outside] = checks.AIR_HU
    return image, low if outside.any() else None


def _decode(header: ImageHeader) -> np.ndarray:
    """Stored values of all frames of a file: (frames, rows, columns)."""
    import pydicom

    dataset = pydicom.dcmread(header.file)
    try:
        pixels = dataset.pixel_array
    except Exception as error:  # pydicom and its plug-ins raise whatever they like on damaged data
        syntax = dataset.file_meta.TransferSyntaxUID
        if not syntax.is_encapsulated:
            raise FormatError(
                f"The slice {header.file.name} is damaged: {error}",
                "Copy the series again from its source; or take the file away, and the slice is filled in and named.",
            ) from error
        pixels = _decode_with_simpleitk(header, str(syntax.name))
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.shape[1:] != (header.rows, header.columns):
        raise FormatError(
            f"The slice {header.file.name} is damaged: its image has not the size that its header says.",
            "Copy the series again from its source.",
        )
    return pixels


def _decode_with_simpleitk(header: ImageHeader, syntax: str) -> np.ndarray:
    """Decode what pydicom alone cannot (lossless JPEG, the common form in archives)."""
    import SimpleITK as sitk

    try:
        image = sitk.GetArrayFromImage(sitk.ReadImage(str(header.file), imageIO="GDCMImageIO"))
    except RuntimeError as error:
        raise ResourceError(
            f"The slice {header.file.name} is compressed as {syntax} and cannot be unpacked; "
            "either it is damaged or the decoder is missing.",
            "Export the series uncompressed (Explicit VR Little Endian), or install a decoder: "
            "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg.",
        ) from error
    return (image - header.intercept) / header.slope  # SimpleITK has rescaled already
