"""What one DICOM file says of its images, single slices and multi-frame files alike; nothing of the patient is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SkullGANLib.errors import FormatError

DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
SECONDARY_CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"
CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
LOCALIZER_TYPES = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"}
VIEWING_TYPES = {"SCREEN SAVE", "SCREENSHOT", "DOSE", "DOSE_INFO", "VRT", "VOLUME RENDERING", "PROTOCOL", "MIP"}
# Body parts of a head CT in the standard's own codes (PS3.16, annex L); other texts may hold anything.
BODY_PARTS = {"HEAD", "SKULL", "BRAIN", "HEADNECK", "NECK", "FACE", "JAW", "SINUS", "EAR", "IAC", "ORBIT", "CSPINE"}

_TAGS = [
    "ImageType", "SOPClassUID", "Modality", "Manufacturer", "ManufacturerModelName", "ConvolutionKernel", "KVP",
    "SliceThickness", "GantryDetectorTilt", "BodyPartExamined", "SeriesInstanceUID", "SeriesNumber",
    "AcquisitionNumber", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel",
    "NumberOfFrames", "Rows", "Columns", "PixelSpacing", "PixelRepresentation", "RescaleSlope", "RescaleIntercept",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """One image of a DICOM file.

    Attributes:
        file, frame: where its pixels are; frame 0 in a file of one image.
        position_mm: (3,) LPS of the centre of the first pixel, or None.
        axes: (3, 3) unit vectors: along increasing column, along increasing row, and their normal; None if position,
            orientation or pixel spacing is missing.
        distance_mm: position along the normal.
        pixel_spacing_mm: (between rows, between columns).
        padding: stored values (first, last) that mean "outside the field of view", or None.
        acquisition: technical facts for ``Volume.acquisition``.
    """

    file: Path
    frame: int
    series_uid: str
    series_number: int | None
    modality: str
    sop_class: str
    image_type: tuple[str, ...]
    acquisition_number: int
    instance_number: int
    samples: int
    rows: int
    columns: int
    position_mm: np.ndarray | None
    axes: np.ndarray | None
    distance_mm: float
    pixel_spacing_mm: tuple[float, float]
    slope: float
    intercept: float
    padding: tuple[float, float] | None
    acquisition: dict[str, str | float]

    @property
    def group(self) -> tuple:
        """Equal for images that can belong to one volume (orientation is compared apart, with tolerance)."""
        kernel = self.acquisition.get("kernel", "")
        return self.series_uid, self.modality, self.rows, self.columns, self.samples, self.localizer, kernel

    @property
    def order(self) -> tuple[int, int, Path]:
        """The first acquisition sorts first."""
        return self.acquisition_number, self.instance_number, self.file

    @property
    def localizer(self) -> bool:
        """True for a scout view."""
        return not LOCALIZER_TYPES.isdisjoint(self.image_type)

    @property
    def secondary_capture(self) -> bool:
        """True for screenshots, renderings, dose sheets."""
        return self.sop_class.startswith(SECONDARY_CAPTURE_CLASS) or not VIEWING_TYPES.isdisjoint(self.image_type)

    @property
    def derived(self) -> bool:
        """True if computed from other images."""
        return "DERIVED" in self.image_type[:1]

    @property
    def synthetic(self) -> bool:
        """True if this library wrote it."""
        return "SYNTHETIC" in self.image_type


def read_headers(file: Path) -> list[ImageHeader]:
    """The headers of a file's images: one, or one per frame; none if it is not a DICOM image.

    Raises:
        FormatError: when it is DICOM but damaged.
    """
    import pydicom
    from pydicom.config import disable_value_validation
    from pydicom.errors import InvalidDicomError

    try:
        with disable_value_validation():
            dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
            if dataset.file_meta.get("MediaStorageSOPClassUID") == DICOMDIR_CLASS:
                return []
            frames = _frames(dataset)
            return [_header(file, k, facts) for k, facts in enumerate(frames)]
    except InvalidDicomError:
        return []
    except OSError:
        raise
    except Exception as error:  # damaged files fail anywhere in the parser
        raise FormatError(f"{file.name} is damaged.", "Copy it again from its source.") from error


def is_dicom(file: Path) -> bool:
    """True if the file carries the DICOM mark."""
    with open(file, "rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _frames(dataset: Any) -> list[dict[str, Any]]:
    """Facts by keyword for each frame: of the file, overridden by the functional groups of a multi-frame file."""
    common = _values(dataset)
    if common.get("Modality") == "CT" and "Rows" not in common:
        raise FormatError("A CT image without rows.")
    for shared in common.pop("SharedFunctionalGroupsSequence", None) or []:
        common.update(_grouped(shared))
    per_frame = common.pop("PerFrameFunctionalGroupsSequence", None) or []
    if not per_frame:
        # frames without functional groups have no positions: a picture sequence
        several = int(_number(common.get("NumberOfFrames"), 1)) > 1
        return [dict(common, ImagePositionPatient=None) if several else common]
    return [dict(common, **_grouped(groups)) for groups in per_frame]


def _values(dataset: Any) -> dict[str, Any]:
    return {element.keyword: element.value for element in dataset}


def _grouped(groups: Any) -> dict[str, Any]:
    """The values of all first items of a functional group's macros."""
    facts: dict[str, Any] = {}
    for macro in groups:
        if macro.VR == "SQ" and macro.value:
            facts.update(_values(macro.value[0]))
    renamed = {"FrameAcquisitionNumber": "AcquisitionNumber", "FrameType": "ImageType"}
    return {renamed.get(k, k): v for k, v in facts.items()}


def _header(file: Path, frame: int, facts: dict[str, Any]) -> ImageHeader:
    position = _vector(facts.get("ImagePositionPatient"), 3)
    cosines = _vector(facts.get("ImageOrientationPatient"), 6)
    pixel_spacing = _vector(facts.get("PixelSpacing"), 2)
    axes = None
    if position is not None and cosines is not None and pixel_spacing is not None and pixel_spacing.min() > 0:
        axes = _axes(cosines)
    kind = facts.get("ImageType") or ()
    sop_class = str(facts.get("SOPClassUID") or "")
    modality = str(facts.get("Modality") or "").upper()
    return ImageHeader(
        file=file,
        frame=frame,
        series_uid=str(facts.get("SeriesInstanceUID") or ""),
        series_number=_whole(facts.get("SeriesNumber")),
        modality=modality or ("CT" if sop_class in CT_CLASSES else ""),
        sop_class=sop_class,
        image_type=tuple(str(k).upper() for k in ([kind] if isinstance(kind, str) else kind)),
        acquisition_number=_whole(facts.get("AcquisitionNumber")) or 0,
        instance_number=_whole(facts.get("InstanceNumber")) or 0,
        samples=_whole(facts.get("SamplesPerPixel")) or 1,
        rows=_whole(facts.get("Rows")) or 0,
        columns=_whole(facts.get("Columns")) or 0,
        position_mm=position,
        axes=axes,
        distance_mm=0.0 if axes is None else float(position @ axes[2]),
        pixel_spacing_mm=(0.0, 0.0) if pixel_spacing is None else tuple(float(s) for s in pixel_spacing),
        slope=_number(facts.get("RescaleSlope"), 1.0) or 1.0,
        intercept=_number(facts.get("RescaleIntercept"), 0.0),
        padding=_padding(facts),
        acquisition=_acquisition(facts, modality),
    )


def _axes(cosines: np.ndarray) -> np.ndarray | None:
    """Exactly perpendicular unit vectors from the rounded ones of a header."""
    along_columns, along_rows = cosines[:3], cosines[3:]
    if not 0.99 < np.linalg.norm(along_columns) < 1.01 or abs(along_columns @ along_rows) > 0.01:
        return None
    along_columns = along_columns / np.linalg.norm(along_columns)
    along_rows = along_rows - (along_rows @ along_columns) * along_columns
    along_rows = along_rows / np.linalg.norm(along_rows)
    return np.stack([along_columns, along_rows, np.cross(along_columns, along_rows)])


def _acquisition(facts: dict[str, Any], modality: str) -> dict[str, str | float]:
    """Technical facts only: neither descriptions nor dates nor anything of the patient."""
    kernel = facts.get("ConvolutionKernel") or ""
    kernel = kernel if isinstance(kernel, str) else " ".join(str(k) for k in kernel)
    body_part = str(facts.get("BodyPartExamined") or "").upper()
    found: dict[str, str | float | None] = {
        "modality": modality,
        "manufacturer": str(facts.get("Manufacturer") or ""),
        "model": str(facts.get("ManufacturerModelName") or ""),
        "kernel": kernel.strip(),
        "kvp": _number(facts.get("KVP"), None),
        "slice_thickness_mm": _number(facts.get("SliceThickness"), None),
        "gantry_tilt_deg": _number(facts.get("GantryDetectorTilt"), None),
        "body_part": body_part if body_part in BODY_PARTS else "",
        "series_number": _whole(facts.get("SeriesNumber")),
    }
    return {k: v for k, v in found.items() if v is not None and v != ""}


def _padding(facts: dict[str, Any]) -> tuple[float, float] | None:
    signed = facts.get("PixelRepresentation") == 1
    ends = [_stored(facts.get(k), signed) for k in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return None
    return min(ends[0], ends[-1] if ends[1] is not None else ends[0]), max(e for e in ends if e is not None)


def _stored(value: Any, signed: bool) -> float | None:
    """A stored value, whichever of the two number types (or neither) the header gave it."""
    if isinstance(value, bytes) and len(value) == 2:
        return float(int.from_bytes(value, "little", signed=signed))
    number = _number(value, None)
    return number - 65536 if number is not None and signed and number > 32767 else number


def _number(value: Any, default: float | None) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return number if np.isfinite(number) else default


def _whole(value: Any) -> int | None:
    number = _number(value, None)
    return None if number is None else int(number)


def _vector(value: Any, length: int) -> np.ndarray | None:
    try:
        vector = np.array([float(v) for v in value])
    except (TypeError, ValueError):
        return None
    return vector if len(vector) == length and np.isfinite(vector).all() else None
