"""Which layer of the skull each pixel of a segment lies in: outer table, diploe, inner table; the same of a head."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.radiological import refuse_non_finite
from SkullGANLib.prepare.cut import PIXEL_MM
from SkullGANLib.prepare.layers_head import HEAD_LABELS, head_labels, true_head_labels
from SkullGANLib.prepare.layers_tables import DEPTHS_MM, MIDDLE, layer_of, table_ends
from SkullGANLib.prepare.quality import largest_piece
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.arrays import check_segments
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.store import TISSUES

__all__ = ["HEAD_LABELS", "add_layers", "head_labels", "segment_layers", "true_head_labels"]

FAINT_HU = 50.0  # a network's background scatters about 0; the edge of real bone shows more
FULL_SHARE = 0.75  # of an image; bone of a segment fills less than 0.4
BLUR_MM = 0.6  # of a scan of 1 mm voxels
EDGE_SIGMA_MM, PROFILE_SIGMA_MM, END_SIGMA_MM = 0.7, 3.6, 7.0  # along the bone
CHUNK = 128


def segment_layers(hu: np.ndarray, spacing_mm: float = PIXEL_MM, *, progress: Progress | None = None) -> np.ndarray:
    """Label outer table, diploe and inner table of skull segments.

    Bone is every pixel above 0 HU where the background is exactly 0, as ``prepare`` writes it; in an image whose
    background scatters about 0, as a network draws it, every pixel above 50 HU and what these enclose from above and
    below. Bone too uniform to show a diploe, as a thin temporal squama, is halved between the tables.

    Args:
        hu: (N, size, size) HU, outer surface up, background 0.
        spacing_mm: pixel size.
        progress: told the segments done.

    Returns:
        (N, size, size) uint8: 0 background, 1 outer table, 2 diploe, 3 inner table.

    Raises:
        InputError: not segments, values that are not finite, or images that are bone nearly all over.
    """
    hu = check_segments(hu)
    if not (np.isfinite(spacing_mm) and 0.05 <= spacing_mm <= 5):
        raise InputError(f"Pixels of {spacing_mm} mm are no segment's.", "Give the pixel size in mm.")
    masks = np.empty(hu.shape, np.uint8)
    for start in range(0, len(hu), CHUNK):
        part = np.asarray(hu[start : start + CHUNK], np.float32)
        if not np.isfinite(part).all():
            refuse_non_finite(hu)
        masks[start : start + CHUNK] = _layers(part, spacing_mm)
        report(progress, min(start + CHUNK, len(hu)), len(hu), "Telling the layers apart")
    if (masks > 0).mean() > FULL_SHARE:
        raise InputError(
            "These images are no skull segments: nearly all of each is above 0 HU.",
            "Give segments of bone alone, background 0, as skullgan prepare makes them.",
        )
    return masks


def add_layers(dataset: SegmentDataset, *, progress: Progress | None = None) -> None:
    """Add the label set ``tissues`` to a data set, or make it anew; the set on disk is replaced in one step.

    Raises:
        InputError: segments that ``segment_layers`` refuses, or a selection that lives in memory only.
    """
    hu = dataset.hu
    if dataset.meta.background_hu:
        hu = np.where(hu == dataset.meta.background_hu, 0, hu)
    masks = segment_layers(hu, dataset.meta.spacing_mm, progress=progress)
    dataset.add_labels(TISSUES, masks, progress=progress)


def _layers(hu: np.ndarray, spacing_mm: float) -> np.ndarray:
    bone = _bone(hu)
    piece = np.stack([largest_piece(image) for image in bone])
    height = hu.shape[1]
    known = piece.any(axis=1).astype(np.float32)
    outer, inner = piece.argmax(axis=1) - 0.5, height - 0.5 - piece[:, ::-1].argmax(axis=1)
    outer, inner = (_along(edge, known, EDGE_SIGMA_MM / spacing_mm) for edge in (outer, inner))
    slope = np.gradient((outer + inner) / 2, axis=1)
    pixel_mm = spacing_mm / np.sqrt(1 + slope**2)  # square to the bone, of a step down a column
    thickness_mm = (inner - outer) * pixel_mm
    columns, weight = hu.swapaxes(1, 2), known[..., None]
    depth_px = DEPTHS_MM / pixel_mm[..., None]
    rows = (outer[..., None] + depth_px, inner[..., None] - depth_px)
    rows += (outer[..., None] + MIDDLE * (inner - outer)[..., None],)
    profiles = (_along(_values_at(columns, at), weight, PROFILE_SIGMA_MM / spacing_mm) for at in rows)
    ends = table_ends(*profiles, thickness_mm, lambda v, w: _along(v, w * known, END_SIGMA_MM / spacing_mm), BLUR_MM)
    row = np.arange(height, dtype=np.float32)[:, None]
    below, above = (row - outer[:, None]) * pixel_mm[:, None], (inner[:, None] - row) * pixel_mm[:, None]
    return np.where(bone, layer_of(below, above, *(end[:, None] for end in ends)), np.uint8(0))


def _bone(hu: np.ndarray) -> np.ndarray:
    """(n, rows, columns) bool, see ``segment_layers``."""
    clean = (hu == 0).mean(axis=(1, 2), keepdims=True) > 0.3
    bone = np.where(clean, hu > 0, hu > FAINT_HU)
    enclosed = np.logical_or.accumulate(bone, axis=1) & np.logical_or.accumulate(bone[:, ::-1], axis=1)[:, ::-1]
    return bone | (enclosed & (hu > 0) & ~clean)


def _values_at(columns: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Values of (n, columns, rows) at rows (n, columns, k), linear between pixels."""
    row = np.clip(row, 0, columns.shape[2] - 1.001)
    low = row.astype(np.int32)
    share = (row - low).astype(np.float32)
    here, there = (np.take_along_axis(columns, at, 2) for at in (low, low + 1))
    return here + share * (there - here)


def _along(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Weighted Gaussian mean over neighbouring columns (axis 1); what is far from all weight keeps a faint mean."""
    weight = weight + np.float32(1e-6)
    blurred = gaussian_filter1d(values * weight, sigma, axis=1, mode="nearest", output=np.float32)
    return blurred / gaussian_filter1d(weight, sigma, axis=1, mode="nearest", output=np.float32)
