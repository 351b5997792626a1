"""From one CT volume to its segments: find the skull, place, sample once, measure, judge."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from SkullGANLib.ct.checks import require_finite
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.radiological import measure_segments
from SkullGANLib.prepare import quality
from SkullGANLib.prepare.cut import PIXEL_MM, PLANES, SIZE, Placement, find_placements
from SkullGANLib.prepare.layers import segment_layers
from SkullGANLib.prepare.skull import Skull, find_skull
from SkullGANLib.progress import Progress, report

OUTSIDE_HU = -5000.0
BLURRED_MM = 2.0
KEPT_FIGURES = ("sdr", "thickness_mm", "thickness_normal_mm", "intensity_hu")


class PrepareOptions(BaseModel):
    """How segments are cut; every field is also an option of ``skullgan prepare``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    planes: tuple[Literal["axial", "coronal", "sagittal"], ...] = tuple(PLANES)
    regions: tuple[Literal["temporal", "parietal", "frontal", "occipital"], ...] = ("temporal", "parietal")
    interval_mm: float = Field(3.1, gt=0.1, description="distance between parallel planes")
    stride_mm: float = Field(SIZE * PIXEL_MM, gt=1, description="distance between segments on one plane")
    interpolation: Literal["linear", "cubic"] = "cubic"
    max_obliquity_deg: float = Field(25.0, gt=0, le=90, description="largest angle between plane and surface normal")
    min_region_share: float = Field(0.8, gt=0.5, le=1, description="least part of a segment inside its region")


@dataclass(frozen=True, eq=False)
class PreparedVolume:
    """All candidates of one volume.

    Attributes:
        skull: the vault that was found.
        placements: where each candidate lies.
        hu: (n, 128, 128) int16 HU, background exactly 0.
        masks: (n, 128, 128) uint8: 0 background, 1 outer table, 2 diploe, 3 inner table.
        table: columns of length n, as a segment data set takes them; ``quality`` says ok or why not.
        source: facts of the volume for ``dataset.json``.
        notes: sentences a user should read.
        seconds: step to time taken.
    """

    skull: Skull
    placements: list[Placement]
    hu: np.ndarray
    masks: np.ndarray
    table: dict[str, np.ndarray]
    source: dict[str, object]
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def kept(self) -> np.ndarray:
        """(n,) bool: the candidates of quality ok."""
        return self.table["quality"] == quality.OK


def prepare_volume(
    volume: Volume,
    options: PrepareOptions | None = None,
    *,
    mask: np.ndarray | None = None,
    head_to_lps: np.ndarray | None = None,
    subject: str | None = None,
    progress: Progress | None = None,
) -> PreparedVolume:
    """Cut all segments out of one head CT.

    Args:
        volume: HU.
        options: how to cut.
        mask: (slice, row, column) bool skull mask, in place of the automatic one.
        head_to_lps: (4, 4) rigid head frame, in place of the automatic one.
        subject: pseudonym; by default it is made from the volume's content.
        progress: told the steps.

    Raises:
        InputError: no skull, nothing to cut, or values that are no numbers.
    """
    require_finite(volume.hu)
    options = options or PrepareOptions()
    clock = _Clock()
    digest = hashlib.sha256(np.ascontiguousarray(volume.hu).data).hexdigest()
    skull = find_skull(volume, mask=mask, head_to_lps=head_to_lps, progress=progress)
    clock.lap("skull and head frame")
    report(progress, 0, 3, "Cutting segments")
    placements = find_placements(
        skull,
        planes=options.planes,
        regions=options.regions,
        interval_mm=options.interval_mm,
        stride_mm=options.stride_mm,
        min_region_share=options.min_region_share,
    )
    if not placements:
        raise InputError(
            "The vault that was found is too small for a single segment.",
            "Check that the scan shows the temporal and parietal bones, or ask for other regions.",
        )
    clock.lap("planes and places")
    report(progress, 1, 3, "Cutting segments")
    raw, bone, shown, trusted = _sample(volume, skull, placements, options.interpolation)
    hu = np.where(bone, np.clip(np.rint(raw), 0, 32767), 0).astype(np.int16)
    clock.lap("sampling")
    report(progress, 2, 3, "Cutting segments")
    figures = measure_segments(hu, PIXEL_MM)
    names = [
        quality.judge(
            raw[i],
            bone[i],
            shown[i],
            trusted[i],
            p.obliquity_deg,
            options.max_obliquity_deg,
            figures["thickness_normal_mm"][i],
        )
        for i, p in enumerate(placements)
    ]
    subject = subject or f"s-{digest[:8]}"
    table = _table(placements, skull, subject, f"v-{digest[:8]}", figures, names)
    clock.lap("measuring and judging")
    masks = segment_layers(hu, PIXEL_MM)
    clock.lap("layers")
    report(progress, 3, 3, "Cutting segments")
    source = {
        "subject": subject,
        "sha256": digest,
        "spacing_mm": [round(float(s), 4) for s in volume.spacing_mm],
        **{k: v for k, v in volume.acquisition.items() if k in ("modality", "manufacturer", "kernel", "kvp")},
    }
    notes = volume.notes + skull.notes + _remarks(volume, names)
    return PreparedVolume(skull, placements, hu, masks, table, source, notes, clock.seconds)


def _sample(
    volume: Volume, skull: Skull, placements: list[Placement], interpolation: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Original HU, bone mask, field of view and trusted share at the pixels of every placement."""
    shape = (len(placements), SIZE, SIZE)
    raw = np.full(shape, OUTSIDE_HU, np.float32)
    bone, shown = np.zeros(shape, bool), np.zeros(shape, bool)
    trusted = np.zeros(len(placements))
    order, source, shift = 1, volume.hu, np.zeros(3)
    if interpolation == "cubic":
        order, (source, shift) = 3, _spline(volume, skull)
    limit = np.array(volume.shape) - 0.5
    trust = skull.shell.trusted.astype(np.float32)

    def one(i: int) -> None:
        points = placements[i].points()
        piece = quality.largest_piece(skull.shell.contains(points))
        index = skull.frame.to_index(volume, points[piece])
        shown[i][piece] = ((index > -0.5) & (index < limit)).all(axis=1)
        raw[i][piece] = ndimage.map_coordinates(
            source, (index - shift).T, output=np.float32, order=order, mode="nearest", prefilter=False
        )
        bone[i] = piece
        trusted[i] = (skull.shell.at(trust, points[piece][None]) > 0.5).mean() if piece.any() else 0.0

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(len(placements))))
    return raw, bone, shown, trusted


def _spline(volume: Volume, skull: Skull) -> tuple[np.ndarray, np.ndarray]:
    """Cubic spline coefficients of the part of the volume around the vault, and the index of its first voxel."""
    shell = skull.shell
    surface = shell.grid.directions()[shell.covered] * shell.outer_mm[shell.covered][:, None]
    index = skull.frame.to_index(volume, surface)
    low = np.maximum(np.floor(index.min(0)).astype(int) - 8, 0)
    high = np.minimum(np.ceil(index.max(0)).astype(int) + 8, volume.shape)
    part = volume.hu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return ndimage.spline_filter(part.astype(np.float32), order=3, output=np.float32, mode="nearest"), low


def _table(
    placements: list[Placement],
    skull: Skull,
    subject: str,
    volume_name: str,
    figures: dict[str, np.ndarray],
    verdicts: list[str],
) -> dict[str, np.ndarray]:
    """The columns of the segment table; positions are LPS mm, so that a viewer can go there."""
    rotation = skull.frame.head_to_lps[:3, :3]
    corner = skull.frame.to_lps(np.array([p.corner_mm for p in placements]))
    right = np.array([p.right for p in placements]) @ rotation.T
    down = np.array([p.down for p in placements]) @ rotation.T
    n = len(placements)
    table = {
        "subject": np.full(n, subject),
        "volume": np.full(n, volume_name),
        **{
            k: np.array([getattr(p, k) for p in placements])
            for k in ("plane", "region", "side", "position_mm", "rotation_deg", "obliquity_deg", "region_share")
        },
        **{k: figures[k] for k in KEPT_FIGURES},
        "quality": np.array(verdicts),
    }
    for name, vectors in (("corner", corner), ("right", right), ("down", down)):
        for axis, values in zip("xyz", vectors.T, strict=True):
            table[f"{name}_{axis}"] = np.round(values, 5)
    return {
        k: np.round(v, 4) if v.dtype.kind == "f" and "_" in k and k[-2:] not in ("_x", "_y", "_z") else v
        for k, v in table.items()
    }


def _remarks(volume: Volume, verdicts: list[str]) -> tuple[str, ...]:
    """What the user should know about how well this scan serves."""
    remarks = []
    kept = verdicts.count(quality.OK)
    if kept == 0:
        commonest = max(set(verdicts), key=verdicts.count)
        remarks.append(f"No segment could be kept; the commonest reason was: {commonest}.")
    if max(volume.spacing_mm) > BLURRED_MM:
        remarks.append(
            f"Voxels over {BLURRED_MM:g} mm blur the tables and the diploe; SDR from this scan is not to be trusted."
        )
    return tuple(remarks)


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now
