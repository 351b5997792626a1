"""Data sets for Slicer's Python console and for the panel: shown, divided, exported, put back in the head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SkullGANLib.errors import InputError
from SkullGANLib.jobs import Job

from . import inputs, scene
from .inputs import openDataset
from .results import PIXEL_MM, Preview
from .running import Finished, JobRunner

if TYPE_CHECKING:
    from SkullGANLib.segments.dataset import SegmentDataset

REDUCTION = "Reduction"  # title of the job
PLACED_MM = 1.0  # thickness of a segment sent back into the head, so that a slice view that is a little off shows it


class DataSets(JobRunner):
    """The part of the logic that is about data sets that are there."""

    def show(self, dataset: Any, *, name: str = "") -> tuple[Any, Any]:
        """Put a data set into the scene: (volume node with a segment in each slice, table node)."""
        dataset = openDataset(dataset)
        name = slicer.mrmlScene.GenerateUniqueName(name or dataset.path.name)
        folder = scene.makeFolder(f"SkullGAN {name}")
        spacing_mm = dataset.meta.spacing_mm
        volume = scene.showSegments(np.asarray(dataset.hu), spacing_mm, name=name, folder=folder)
        table = scene.showTable(inputs.readable(dataset.table), name=f"{name} table", folder=folder)
        for node in (volume, table):
            node.SetAttribute(inputs.DATASET_ATTRIBUTE, str(dataset.path.resolve()))
            node.SetAttribute(inputs.KIND_ATTRIBUTE, dataset.meta.kind)
        self.shown("segments", (volume, table))
        return volume, table

    def split(self, data: Any, *, by: str = "subject", seed: int = 0, wait: bool = True) -> SegmentDataset | Job:
        """Divide a data set into parts for training and testing; by subject, no head is on both sides.

        Args:
            data: data set or its folder, on disk.
            by: ``subject``, or ``paper`` for segments drawn at random, as the paper has it.
            seed: of the draw.
            wait: see ``train``.
        """
        folder = inputs.datasetFolder(data, self.temporary)
        arguments = ["dataset", "split", folder, "--by", by, "--seed", str(seed)]
        return self._run("Split", arguments, lambda result: openDataset(folder), wait, None)

    def reduce(
        self,
        data: Any,
        size: int,
        out: str | Path,
        *,
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> SegmentDataset | Job:
        """Write a data set with fewer, larger pixels: what images of a small model are compared with.

        Args:
            data: data set, its folder, or a volume node of segments.
            size: height and width in pixels, of which those of ``data`` are a whole multiple; 32 or more.
            out: folder of the data set to make.
            overwrite, wait, finished: see ``prepare``.

        Raises:
            InputError: no segments, no whole multiple, or a folder that may not be replaced.
        """
        out, folder = Path(out).expanduser(), inputs.datasetFolder(data, self.temporary)
        arguments = ["dataset", "reduce", folder, out, "--size", str(size), *inputs.flags({"overwrite": overwrite})]
        return self._run(REDUCTION, arguments, lambda result: openDataset(out), wait, finished)

    def export(
        self,
        data: Any,
        out: str | Path,
        *,
        format: str | None = None,
        copies: str = "refuse",
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> Path | Job:
        """Write segments for other programs.

        Args:
            data: data set, its folder, or a volume node of segments.
            out: file or folder.
            format: npy, nrrd, nii, png or dicom; from the suffix of ``out`` if not given.
            copies: what to do about segments marked as copies of training segments: ``refuse``, ``drop`` or ``keep``.
            overwrite, wait, finished: see ``prepare``.
        """
        out = Path(out).expanduser()
        folder = inputs.datasetFolder(data, self.temporary)
        arguments = ["dataset", "export", folder, out]
        said = None if copies == "refuse" else copies
        arguments += inputs.flags({"format": format, "copies": said, "overwrite": overwrite})
        return self._run("Export", arguments, lambda result: out, wait, finished)

    def placeSegment(self, row: int, dataset: Any, *, thickness_mm: float = PLACED_MM) -> Any:
        """A segment back where it came from in the head, as an oblique one-slice volume node.

        Args:
            row: of the data set or preview.
            dataset: data set, its folder, a node shown from one, or a ``Preview``.
            thickness_mm: of the slice.
        """
        if isinstance(dataset, Preview):
            table, hu, spacing_mm = dataset.rows, dataset.hu, PIXEL_MM
        else:
            dataset = openDataset(dataset)
            table, hu, spacing_mm = dataset.table, dataset.hu, dataset.meta.spacing_mm
        if not isinstance(row, (int, np.integer)) or not 0 <= row < len(hu):
            raise InputError(f"There is no segment {row} among {len(hu)}.", "Segments count from 0.")
        values = {name: column[row] for name, column in table.items()}
        name = f"Segment {row} {values.get('region', '')} {values.get('side', '')}".strip()
        node = scene.placeSegment(
            np.asarray(hu[row]), values, spacing_mm=spacing_mm, thickness_mm=thickness_mm, name=name
        )
        node.SetAttribute(inputs.KIND_ATTRIBUTE, "placed")
        return node
