"""What a radiologist would measure on a skull segment: skull density ratio, thickness, intensity, tables, curvature.

Every figure is taken on 32 columns spread evenly over the image, as in the paper (arXiv 2308.00206, eq. 2-4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve1d

from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress, report

COLUMNS = 32
BONE_THRESHOLD_HU = 300.0
INTENSITY_THRESHOLD_HU = 10.0
CORTEX_MM = 2.0
"""How far below the first bone pixel the peak of the cortical table is looked for."""
TROUGH_RATIO = 0.9
"""A diploe is found where the trough lies below this share of the lower of the two cortical peaks."""
SLOPE_REACH = 3
"""The slope of the mid-line is fitted over this many columns to either side."""
FLAT_RADIUS_MM = 5000.0
"""A larger radius bends a segment by less than a fifth of a pixel over its width: flat, as far as can be measured."""
CHUNK = 256

UNITS = {
    "sdr": "",
    "thickness_mm": "mm",
    "thickness_normal_mm": "mm",
    "intensity_hu": "HU",
    "outer_table_mm": "mm",
    "diploe_mm": "mm",
    "inner_table_mm": "mm",
    "bone_fraction": "",
    "curvature_radius_mm": "mm",
    "top_row": "px",
    "sag_mm": "mm",
    "bone_columns": "",
    "cut_columns": "",
    "diploe_columns": "",
}
"""The figures of :func:`measure_segments` and their units."""


@dataclass(frozen=True)
class ColumnMeasures:
    """What was measured on each column; every array is (N, 32), nan where ``bone`` is False.

    Attributes:
        columns: (32,) column numbers in the image.
        bone: whether the column holds bone.
        outer_row, inner_row: sub-pixel rows of the outer and the inner surface, px; 0 is the centre of the first row.
            Nan also where the image's border cuts the bone off.
        sdr: trough between the cortical peaks over the peak, no unit.
        outer_table_px, diploe_px, inner_table_px: layers in px, nan also where no trough was found.
        bone_fraction: share of the pixels from the first to the last bone pixel that are above the threshold.
    """

    columns: np.ndarray
    bone: np.ndarray
    outer_row: np.ndarray
    inner_row: np.ndarray
    sdr: np.ndarray
    outer_table_px: np.ndarray
    diploe_px: np.ndarray
    inner_table_px: np.ndarray
    bone_fraction: np.ndarray


def measure_segments(
    hu: np.ndarray,
    spacing_mm: float = 0.45,
    *,
    threshold_hu: float = BONE_THRESHOLD_HU,
    edge: str | float = "half_peak",
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Measure every segment.

    A column's bone runs from its first to its last pixel above ``threshold_hu``, gaps included. Columns without bone
    are left out; ``bone_columns`` counts the others. A segment without bone, or without a diploe for the three layers,
    has nan.

    Args:
        hu: (N, H, W) HU of any real type, outer surface up, background 0; may be memory-mapped.
        spacing_mm: pixel size in mm.
        threshold_hu: what counts as bone.
        edge: ``"half_peak"`` puts a surface where the profile crosses half of the cortical peak next to it, which
            undoes the blurred rim of CT; a number puts it where the profile crosses that many HU. Either way by
            linear interpolation between pixels.
        progress: told after every chunk of segments.

    Returns:
        Arrays of length N:

        - ``sdr`` (eq. 2): mean over columns of the trough between the outer and the inner cortical peak over the
          column's maximum; 1 for a column without trough.
        - ``thickness_mm`` (eq. 3): mean vertical thickness, the paper's MT. A slab tilted by a reads 1/cos(a) of its
          thickness.
        - ``thickness_normal_mm``: the same with each column multiplied by the cosine of the mid-line's local slope.
        - ``intensity_hu`` (eq. 4): mean over the pixels above 10 HU.
        - ``outer_table_mm``, ``diploe_mm``, ``inner_table_mm``: vertical, parted at the half level between peak and
          trough.
        - ``bone_fraction``: share of the pixels between the surfaces that are above ``threshold_hu``.
        - ``curvature_radius_mm`` of the outer surface, positive where it bulges outwards; 5000 stands for flat.
        - ``top_row`` px, the highest row of the outer surface, and ``sag_mm``, how far its lowest lies below that.
        - ``bone_columns``, ``cut_columns``, ``diploe_columns`` int, at most 32: columns with bone; of these with bone
          cut off by the upper or lower border of the image, whose thickness is unknown and left out; with a trough.

    Raises:
        InputError: wrong shape, pixels that are not finite (says how many and where), senseless spacing or threshold.
    """
    hu = _checked(hu, spacing_mm, threshold_hu, edge)
    count = len(hu)
    parts = []
    for start in range(0, count, CHUNK):
        chunk = np.asarray(hu[start : start + CHUNK], dtype=np.float32)
        if not np.isfinite(chunk).all():
            refuse_non_finite(hu)
        parts.append(_measure_chunk(chunk, spacing_mm, threshold_hu, edge))
        report(progress, min(start + CHUNK, count), count, "Measuring segments")
    if not parts:
        parts = [_measure_chunk(np.zeros((0, *hu.shape[1:]), np.float32), spacing_mm, threshold_hu, edge)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def measure_columns(
    hu: np.ndarray,
    spacing_mm: float = 0.45,
    *,
    threshold_hu: float = BONE_THRESHOLD_HU,
    edge: str | float = "half_peak",
) -> ColumnMeasures:
    """Measure the 32 columns of every segment; arguments and errors as for :func:`measure_segments`.

    Meant for some hundred segments at a time: it holds several copies of the columns in memory.
    """
    hu = np.asarray(_checked(hu, spacing_mm, threshold_hu, edge), dtype=np.float32)
    refuse_non_finite(hu)
    return _columns(hu, spacing_mm, threshold_hu, edge)


def _measure_chunk(hu: np.ndarray, spacing_mm: float, threshold_hu: float, edge: str | float) -> dict[str, np.ndarray]:
    found = _columns(hu, spacing_mm, threshold_hu, edge)
    thickness_mm = (found.inner_row - found.outer_row) * spacing_mm
    slope = local_slope(found.columns, (found.inner_row + found.outer_row) / 2)
    counted = hu > INTENSITY_THRESHOLD_HU
    top, bottom = _extremes(found.outer_row)
    with np.errstate(invalid="ignore", divide="ignore"):
        intensity = np.where(counted, hu, 0).sum((1, 2), dtype=np.float64) / counted.sum((1, 2))
    return {
        "sdr": _mean(found.sdr),
        "thickness_mm": _mean(thickness_mm),
        "thickness_normal_mm": _mean(thickness_mm / np.sqrt(1 + slope**2)),
        "intensity_hu": intensity,
        "outer_table_mm": _mean(found.outer_table_px) * spacing_mm,
        "diploe_mm": _mean(found.diploe_px) * spacing_mm,
        "inner_table_mm": _mean(found.inner_table_px) * spacing_mm,
        "bone_fraction": _mean(found.bone_fraction),
        "curvature_radius_mm": _radius(found.columns, found.outer_row, FLAT_RADIUS_MM / spacing_mm) * spacing_mm,
        "top_row": top,
        "sag_mm": (bottom - top) * spacing_mm,
        "bone_columns": found.bone.sum(1),
        "cut_columns": (found.bone & np.isnan(found.outer_row + found.inner_row)).sum(1),
        "diploe_columns": np.isfinite(found.diploe_px).sum(1),
    }


def _columns(hu: np.ndarray, spacing_mm: float, threshold_hu: float, edge: str | float) -> ColumnMeasures:
    height, width = hu.shape[1:]
    columns = ((np.arange(COLUMNS) + 0.5) * width / COLUMNS).astype(int)
    # A row of background above and below: an edge found there says that the image's border cuts the bone off.
    profile = np.zeros((len(hu), COLUMNS, height + 2), np.float32)
    profile[:, :, 1:-1] = hu[:, :, columns].transpose(0, 2, 1)
    end = height + 1

    above = profile > threshold_hu
    bone = above.any(-1)
    first, last = above.argmax(-1), end - above[..., ::-1].argmax(-1)
    middle = (first + last) // 2
    upper, lower = _argmax(profile, first, middle), _argmax(profile, middle, last)
    upper_hu, lower_hu = _at(profile, upper), _at(profile, lower)
    trough_hu = _minimum(profile, upper, lower)
    diploe = bone & (trough_hu < TROUGH_RATIO * np.minimum(upper_hu, lower_hu))

    if edge == "half_peak":
        reach = int(np.ceil(CORTEX_MM / spacing_mm))
        outer_start = _argmax(profile, first, np.minimum(first + reach, last))
        inner_start = _argmax(profile, np.maximum(last - reach, first), last)
        outer_level, inner_level = _at(profile, outer_start) / 2, _at(profile, inner_start) / 2
    else:
        inside = profile >= edge
        bone = bone & inside.any(-1)
        outer_start, inner_start = inside.argmax(-1), end - inside[..., ::-1].argmax(-1)
        outer_level = inner_level = np.full(bone.shape, edge, np.float32)

    flipped = profile[..., ::-1]
    outer = end - _falls_below(flipped, end - outer_start, outer_level)
    inner = _falls_below(profile, inner_start, inner_level)
    outer_flank = _falls_below(profile, upper, (upper_hu + trough_hu) / 2)
    inner_flank = end - _falls_below(flipped, end - lower, (lower_hu + trough_hu) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        sdr = trough_hu.astype(np.float64) / np.maximum(upper_hu, lower_hu)

    def known(values: np.ndarray, where: np.ndarray) -> np.ndarray:
        return np.where(where, values, np.nan)

    diploe &= bone
    return ColumnMeasures(
        columns=columns,
        bone=bone,
        outer_row=known(outer - 1, bone & (outer >= 1)),
        inner_row=known(inner - 1, bone & (inner <= height)),
        sdr=known(sdr, bone),
        outer_table_px=known(outer_flank - outer, diploe & (outer >= 1)),
        diploe_px=known(inner_flank - outer_flank, diploe),
        inner_table_px=known(inner - inner_flank, diploe & (inner <= height)),
        bone_fraction=known(above.sum(-1) / np.maximum(last - first + 1, 1), bone),
    )


def local_slope(x: np.ndarray, y: np.ndarray, reach: int = SLOPE_REACH) -> np.ndarray:
    """Slope dy/dx of each row of ``y`` (N, C) over ``x`` (C,), by a straight line through the columns within ``reach``.

    Columns that are nan are left out; a column with no neighbour has slope 0.
    """
    weight = np.isfinite(y).astype(np.float64)
    x = np.broadcast_to(x - np.mean(x), y.shape)
    y = np.where(weight > 0, y, 0)

    def total(values: np.ndarray) -> np.ndarray:
        return convolve1d(values * weight, np.ones(2 * reach + 1), axis=-1, mode="constant")

    n, sum_x, sum_y = total(np.ones_like(y)), total(x), total(y)
    spread = n * total(x * x) - sum_x**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 1e-6, (n * total(x * y) - sum_x * sum_y) / spread, 0.0)


def _radius(x: np.ndarray, y: np.ndarray, limit: float) -> np.ndarray:
    """Signed radius, in px, of the circle A(x^2 + y^2) + B x - y + D = 0 fitted to each row of ``y``.

    In this form a straight line is the ordinary case A = 0, not a singular one.
    """
    weight = np.isfinite(y)
    enough = weight.sum(1) >= 4
    scale = np.ptp(x) / 2
    x = np.broadcast_to((x - x.mean()) / scale, y.shape) * weight
    with np.errstate(invalid="ignore", divide="ignore"):
        y = np.where(weight, (y - _mean(y)[:, None]) / scale, 0)
    terms = np.stack([x * x + y * y, x, weight.astype(np.float64)], axis=-1)
    normal = terms.transpose(0, 2, 1) @ terms + 1e-12 * np.eye(3)
    a, b, d = np.linalg.solve(normal, np.einsum("nck,nc->nk", terms, y)[..., None])[..., 0].T
    with np.errstate(invalid="ignore", divide="ignore"):
        radius = np.sqrt(np.maximum(b**2 + 1 - 4 * a * d, 0)) / (2 * a) * scale
    return np.where(enough, np.where(np.abs(radius) < limit, radius, limit), np.nan)


def _at(profile: np.ndarray, row: np.ndarray) -> np.ndarray:
    return np.take_along_axis(profile, row[..., None], -1)[..., 0]


def _between(profile: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    rows = np.arange(profile.shape[-1], dtype=np.int16)
    return (rows >= low[..., None].astype(np.int16)) & (rows <= high[..., None].astype(np.int16))


def _argmax(profile: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.where(_between(profile, low, high), profile, -np.inf).argmax(-1)


def _minimum(profile: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.where(_between(profile, low, high), profile, np.inf).min(-1)


def _falls_below(profile: np.ndarray, start: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The sub-pixel row at which the profile, followed from ``start``, first falls through ``level``."""
    rows = np.arange(profile.shape[-1], dtype=np.int16)
    outside = ((profile < level[..., None]) & (rows > start[..., None].astype(np.int16))).argmax(-1)
    high, low = _at(profile, np.maximum(outside - 1, 0)), _at(profile, outside)
    with np.errstate(invalid="ignore", divide="ignore"):
        return outside - 1 + (high - level).astype(np.float64) / (high - low)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not nan; nan where there is nothing."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, values, 0).sum(-1, dtype=np.float64) / known.sum(-1)


def _extremes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(values)
    low, high = np.where(known, values, np.inf).min(-1), np.where(known, values, -np.inf).max(-1)
    return np.where(np.isfinite(low), low, np.nan), np.where(np.isfinite(high), high, np.nan)


def _checked(hu: np.ndarray, spacing_mm: float, threshold_hu: float, edge: str | float) -> np.ndarray:
    hu = np.asanyarray(hu)
    if hu.ndim != 3 or min(hu.shape[1:]) < COLUMNS or hu.dtype.kind not in "fiu":
        raise InputError(
            f"Segments must be real numbers of shape (N, height, width) of at least {COLUMNS} pixels each way; "
            f"these are {hu.dtype} of shape {hu.shape}.",
            "Give the HU array of a segment data set.",
        )
    for name, value in (("pixel size", spacing_mm), ("bone threshold", threshold_hu)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"The {name} must be a positive number, not {value}.", "Give it in mm or in HU.")
    if isinstance(edge, str) and edge != "half_peak":
        raise InputError(f"There is no edge rule '{edge}'.", "Use 'half_peak' or a number of HU.")
    if not isinstance(edge, str) and not edge > 0:
        raise InputError(f"The edge must be a positive number of HU, not {edge}.", "Use 'half_peak' or a number of HU.")
    return hu


def refuse_non_finite(hu: np.ndarray) -> None:
    """Raise an InputError that counts the pixels of ``hu`` (N, H, W) that are not finite and names their segments."""
    counts = [(~np.isfinite(hu[start : start + CHUNK])).sum((1, 2)) for start in range(0, len(hu), CHUNK)]
    where = np.flatnonzero(np.concatenate(counts)) if counts else np.empty(0)
    if not len(where):
        return
    more = "" if len(where) <= 10 else ", ..."
    raise InputError(
        f"{sum(int(count.sum()) for count in counts)} pixels are not finite numbers, in {len(where)} segments: "
        f"{', '.join(map(str, where[:10]))}{more}.",
        "Leave these segments out, or look for what went wrong when they were made.",
    )
