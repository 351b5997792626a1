"""A synthetic segment, the real one nearest to it, and what lies between them, side by side in the slice views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util

from SkullGANLib.errors import InputError, SkullGANError

from . import scene, views
from .inputs import KIND_ATTRIBUTE

ROLES = ("synthetic", "nearest real", "difference")
ROLE_ATTRIBUTE = "SkullGAN.pair"
DIFFERENCE_HU = (-1000.0, 1000.0)
BLUE, RED = (0.10, 0.35, 0.65), (0.70, 0.09, 0.17)
SHADES = 255  # odd: the middle one is white
RATIO, FLAG = "distance_ratio", "copy"


@dataclass(frozen=True)
class Pairs:
    """Nearest neighbours as a report has them.

    Attributes:
        table: columns of length n, the closest pair first: ``synthetic`` and ``nearest_real`` (rows of the data sets),
            ``rmse_hu``, ``mirrored``, and where copies were looked for ``distance_ratio`` and ``copy``. A segment that
            is called a copy stands beside the one it copies; its ``rmse_hu`` is NaN where another is nearer by pixels.
        sets: folder or ``.npy`` of the synthetic and of the training segments.
        hashes: content hash of each, as the report has them.
        spacing_mm: of their pixels.
    """

    table: dict[str, np.ndarray]
    sets: dict[str, Path]
    hashes: dict[str, str]
    spacing_mm: float

    def __len__(self) -> int:
        return len(self.table["synthetic"])

    def show(self, position: int, folder: int = 0) -> tuple[Any, Any, Any]:
        """Show a pair in three slice views: synthetic, nearest real (mirrored if it was matched so), difference.

        Args:
            position: in the table.
            folder: of the subject hierarchy, for nodes that are new.

        Returns:
            The three volume nodes, the same ones for every pair.

        Raises:
            InputError: no such pair, or the data sets have moved or changed since the report was made.
        """
        if not 0 <= position < len(self):
            raise InputError(f"There is no pair {position}.", f"The report has {len(self)}; the first is 0.")
        synthetic, real = (int(self.table[name][position]) for name in ("synthetic", "nearest_real"))
        one, other = self._segment("synthetic", synthetic), self._segment("training", real)
        mirrored = bool(self.table["mirrored"][position])
        other = other[:, ::-1] if mirrored else other
        if one.shape != other.shape:
            raise InputError("The two segments differ in size.", "Evaluate again.")
        names = (f"Synthetic {synthetic}", f"Real {real}{' mirrored' if mirrored else ''}", "Synthetic less real")
        volumes = [
            self._volume(role, hu, name, folder)
            for role, hu, name in zip(ROLES, (one, other, one - other), names, strict=True)
        ]
        display = volumes[2].GetDisplayNode()
        display.SetAndObserveColorNodeID(differenceColours().GetID())
        display.SetWindowLevelMinMax(*DIFFERENCE_HU)
        views.showSideBySide(volumes)
        return tuple(volumes)

    def _segment(self, name: str, row: int) -> np.ndarray:
        """(rows, columns) float32 HU of a segment on disk."""
        from SkullGANLib.segments.arrays import open_npy
        from SkullGANLib.segments.dataset import SegmentDataset

        path, which = self.sets[name], "real" if name == "training" else name
        if not path.exists():
            raise InputError(
                f"The {which} segments of this report are no longer at {path}.", "Put them back, or evaluate again."
            )
        try:
            array = path.is_file()
            dataset = None if array else SegmentDataset.open(path)
            hu = open_npy(path) if array else dataset.hu
        except SkullGANError as error:
            raise InputError(f"The {which} segments cannot be read: {error.message}", error.advice) from error
        if row >= len(hu) or (dataset is not None and dataset.fingerprint != self.hashes[name]):
            raise InputError(
                f"The {which} segments at {path} have changed since the report was made.", "Evaluate again."
            )
        segment = np.asarray(hu[row], np.float32)
        return segment[0] if segment.ndim == 3 else segment

    def _volume(self, role: str, hu: np.ndarray, name: str, folder: int) -> Any:
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        node = next((node for node in nodes if node.GetAttribute(ROLE_ATTRIBUTE) == role), None)
        hu = np.ascontiguousarray(hu, np.float32)
        if node is None:
            node = scene.showSegments(hu, self.spacing_mm, name=name, folder=folder)
            node.SetAttribute(ROLE_ATTRIBUTE, role)
            node.SetAttribute(KIND_ATTRIBUTE, "pair")
        else:
            slicer.util.updateVolumeFromArray(node, hu[None])
            node.SetSpacing(self.spacing_mm, self.spacing_mm, node.GetSpacing()[2])
        node.SetName(name)
        return node


def nearestPairs(segments: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The table of ``Pairs`` from the columns of ``segments.csv``; empty where nearest neighbours were not computed."""
    if "nearest_row" not in segments:
        return {}
    rows = np.flatnonzero((segments["set"] == "synthetic") & np.isfinite(segments["nearest_row"]))
    table = {
        "synthetic": segments["row"][rows].astype(int),
        "nearest_real": segments["nearest_row"][rows].astype(int),
        "rmse_hu": np.sqrt(segments["nearest_mse_hu2"][rows]),
        "mirrored": segments["nearest_mirrored"][rows] == 1,
    }
    if "copy_ratio" in segments:
        copied = segments["copy"][rows] == 1
        source, turned = segments["copy_row"][rows], segments["copy_mirrored"][rows] == 1
        other = copied & ((source != table["nearest_real"]) | (turned != table["mirrored"]))
        table["nearest_real"] = np.where(other, source, table["nearest_real"]).astype(int)
        table["mirrored"] = np.where(other, turned, table["mirrored"])
        table["rmse_hu"] = np.where(other, np.nan, table["rmse_hu"])
        table |= {RATIO: segments["copy_ratio"][rows], FLAG: copied}
    order = np.argsort(table.get(RATIO, table["rmse_hu"]), kind="stable")
    return {name: column[order] for name, column in table.items()}


def differenceColours() -> Any:
    """The colour table of difference maps, from blue over white to red; one for the whole scene."""
    colours = {}
    for way in np.linspace(-1, 1, SHADES):
        end = np.array(RED if way > 0 else BLUE)
        colours[f"{way * DIFFERENCE_HU[1]:+.0f} HU"] = 1 - abs(way) * (1 - end)
    return scene.colourTable("SkullGAN difference", colours)
