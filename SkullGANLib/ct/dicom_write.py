"""CT images as DICOM series: for the phantom, for segments, and to test reading against scans whose truth is known.

A series carries new UIDs, no patient and no dates, and is marked as synthetic unless it is said where it comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from SkullGANLib.ct.checks import AIR_HU
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress, report

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"


def write_series(
    volume: Volume,
    folder: str | Path,
    *,
    slice_positions_mm: Sequence[float] | None = None,
    gantry_tilt_deg: float = 0.0,
    progress: Progress | None = None,
    **options,
) -> Path:
    """Write a volume as a scanner would have sampled it.

    Args:
        volume: the head, HU.
        folder: made if missing.
        slice_positions_mm: where slices are taken, in mm along the slice axis from the volume's first slice; uneven or
            with slices left out as you like. Default: the volume's own slices, exactly.
        gantry_tilt_deg: the table moves at this angle to the slices' normal, so that each slice's frame is shifted
            along its rows' axis (not at the middle of the scan); what it shows is sampled there, air beyond the volume.
        options: see ``write_slices``.

    Returns:
        The folder.
    """
    from scipy import ndimage

    if slice_positions_mm is None:
        slice_positions_mm = np.arange(volume.shape[0]) * volume.spacing_mm[2]
    along_mm = np.asarray(slice_positions_mm, float)
    shift_mm = np.tan(np.radians(gantry_tilt_deg)) * (along_mm - along_mm.mean())
    axes = np.asarray(volume.direction).T
    positions = np.asarray(volume.origin_mm) + along_mm[:, None] * axes[2] + shift_mm[:, None] * axes[1]
    slices = np.empty((len(along_mm), *volume.shape[1:]), np.float32)
    for k, (along, shift) in enumerate(
        zip(along_mm / volume.spacing_mm[2], shift_mm / volume.spacing_mm[1], strict=True)
    ):
        below = int(np.clip(np.floor(along + 1e-6), 0, volume.shape[0] - 1))
        part = min(max(along - below, 0.0), 1.0) if below + 1 < volume.shape[0] else 0.0
        image = volume.hu[below].astype(np.float32)
        if part > 1e-6:
            image = (1 - part) * image + part * volume.hu[below + 1]
        slices[k] = image if shift == 0 else ndimage.shift(image, (-shift, 0), order=1, cval=AIR_HU)
    row_mm, column_mm = volume.spacing_mm[1], volume.spacing_mm[0]
    options.setdefault("slice_thickness_mm", volume.spacing_mm[2])
    return write_slices(
        slices, positions, folder, directions=axes[:2], pixel_spacing_mm=(row_mm, column_mm),
        gantry_tilt_deg=gantry_tilt_deg, progress=progress, **options,
    )  # fmt: skip


def write_slices(
    hu: np.ndarray,
    positions_mm: np.ndarray,
    folder: str | Path,
    *,
    directions: np.ndarray = ((1, 0, 0), (0, 1, 0)),
    pixel_spacing_mm: tuple[float, float] = (1.0, 1.0),
    slice_thickness_mm: float = 1.0,
    gantry_tilt_deg: float = 0.0,
    kernel: str = "",
    kvp: float | None = 120.0,
    slope: float = 1.0,
    intercept: float = -1024.0,
    padding_value: int | None = None,
    modality: str = "CT",
    image_type: Sequence[str] = ("DERIVED", "SECONDARY", "AXIAL", "SYNTHETIC"),
    series_number: int = 1,
    acquisition_number: int = 1,
    series_uid: str | None = None,
    plain_names: bool = False,
    seed: int = 0,
    names: Sequence[str] | None = None,
    subject: str = "SYNTHETIC",
    manufacturer: str = "SkullGAN (synthetic)",
    description: str = "Synthetic, no patient",
    derivation: str = "",
    progress: Progress | None = None,
) -> Path:
    """Write images at given places as one CT series, explicit VR little endian.

    Args:
        hu: (n, rows, columns) HU.
        positions_mm: (n, 3) LPS of the centre of each image's first pixel.
        folder: made if missing.
        directions: (2, 3) unit vectors along which columns and rows increase.
        pixel_spacing_mm: (between rows, between columns).
        slice_thickness_mm, gantry_tilt_deg, kernel, kvp: header values; kernel may be empty, kvp None.
        slope, intercept: HU = slope * stored + intercept.
        padding_value: PixelPaddingValue for the header, in stored values.
        modality: 'CT' makes CT Image Storage; anything else is for tests of what must be refused.
        image_type: values of ImageType.
        series_number, acquisition_number: header values.
        series_uid: to write further images into a series; default is a new one.
        plain_names: names without ending, in shuffled order (as scanners export) instead of slice_0001.dcm.
        seed: of the shuffling.
        names: of the files, in place of both.
        subject: pseudonym, as PatientID and PatientName.
        manufacturer, description, derivation: header values; derivation says how the images came about.

    Returns:
        The folder.

    Raises:
        InputError: when HU do not fit into 16 bits with this slope and intercept.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = np.rint((np.asarray(hu, np.float32) - intercept) / slope)
    if stored.min() < -32768 or stored.max() > 32767:
        raise InputError(
            f"Values from {stored.min():g} to {stored.max():g} do not fit into 16 bits.",
            "Choose another slope or intercept.",
        )
    names = names or [f"slice_{k + 1:04d}.dcm" for k in range(len(stored))]
    if plain_names:
        names = [f"I{k}" for k in np.random.default_rng(seed).permutation(len(stored)) * 10 + 10]
    series_uid, study_uid, frame_uid = series_uid or generate_uid(None), generate_uid(None), generate_uid(None)
    for k, (image, position) in enumerate(zip(stored.astype(np.int16), positions_mm, strict=True)):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CT_IMAGE_STORAGE if modality == "CT" else MR_IMAGE_STORAGE
        meta.MediaStorageSOPInstanceUID = generate_uid(None)
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / names[k]
        dataset = FileDataset(str(path), {}, b"\0" * 128, meta, is_implicit_VR=False, is_little_endian=True)
        dataset.ImageType = list(image_type)
        dataset.SOPClassUID = meta.MediaStorageSOPClassUID
        dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
        dataset.Modality = modality
        dataset.Manufacturer, dataset.SeriesDescription = manufacturer, description
        if derivation:
            dataset.DerivationDescription = derivation
        dataset.PatientName = dataset.PatientID = subject
        dataset.PatientBirthDate = dataset.PatientSex = ""
        dataset.BodyPartExamined = "HEAD"
        dataset.SliceThickness, dataset.KVP = _ds(slice_thickness_mm), "" if kvp is None else _ds(kvp)
        dataset.GantryDetectorTilt = _ds(gantry_tilt_deg)
        if kernel:
            dataset.ConvolutionKernel = kernel
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study_uid, series_uid
        dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = frame_uid, ""
        dataset.StudyID, dataset.SeriesNumber = "", series_number
        dataset.AcquisitionNumber, dataset.InstanceNumber = acquisition_number, k + 1
        dataset.ImagePositionPatient = [_ds(p) for p in position]
        dataset.ImageOrientationPatient = [_ds(d) for d in np.asarray(directions, float).ravel()]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = image.shape
        dataset.PixelSpacing = [_ds(s) for s in pixel_spacing_mm]
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = _ds(intercept), _ds(slope), "HU"
        if padding_value is not None:
            dataset.PixelPaddingValue = padding_value
        dataset.PixelData = image.astype("<i2").tobytes()
        dataset.save_as(path)
        report(progress, k + 1, len(stored), "Writing slices")
    return folder


def _ds(value: float) -> str:
    """A number in the 16 characters that DICOM's decimal string allows."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value))
