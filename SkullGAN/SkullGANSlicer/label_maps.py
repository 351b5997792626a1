"""From label maps to CT for Slicer's Python console and for the panel: segmentations in, CT volumes out."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SkullGANLib.errors import InputError
from SkullGANLib.jobs import Job

from . import geometry, inputs, scene, scene_volumes, segmentations, views
from .results import Run
from .running import Finished, JobRunner
from .volumes import temporaryFolder

if TYPE_CHECKING:
    from SkullGANLib.ct.volume import Volume
    from SkullGANLib.segments.dataset import SegmentDataset

TRANSLATION, LAYERS, PAIRS = "CT from labels", "Layers of the head", "Import of pairs"  # titles of the jobs
COMPARISON = "Comparison of labels"


class LabelMaps(JobRunner):
    """The part of the logic that goes from segmentations to CT."""

    def generateFromLabels(
        self,
        model: str | Path | Run,
        segmentation: Any,
        *,
        volume: Any = None,
        count: int = 1,
        seed: int = 0,
        smooth_mm: float = 1.5,
        names: Mapping[str, str] | None = None,
        out: str | Path | None = None,
        device: str = "auto",
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> list[Any] | Job:
        """Draw CT volumes of the visible segments of a segmentation into the scene, where they lie.

        Args:
            model: model folder, run of ``train`` or name of a model that comes along; of the family patch-cgan.
            segmentation: segmentation node, whose segments are called as the model's labels; or a label map file.
            volume: volume node on whose grid to draw, and beside which the first CT is shown; that on which the
                segmentation was drawn if not given.
            count: CT volumes of the same labels.
            seed: of the first one's noise; the same seed gives the same CT.
            smooth_mm: how far texture goes across slices.
            names: name of a segment to the label of the model it stands for, where they are called differently; an
                empty one leaves the segment out. In a file that does not name its labels their values are the names:
                ``{"1": "outer table", "2": ""}``.
            out: folder of the files; a temporary one if not given.
            device, overwrite, wait, finished: see ``train`` and ``prepare``.

        Returns:
            Scalar volume nodes in HU, with bone rendered in 3D and a reference to the segmentation; or the job.

        Raises:
            InputError: no segmentation, no visible segment, or all of them empty or outside of the volume.
        """
        geometry.requireKind(volume, "vtkMRMLScalarVolumeNode", "volume node")
        model = model.model if isinstance(model, Run) else model
        out = self.temporary("from-labels") if out is None else Path(out).expanduser()
        files = temporaryFolder("skullgan-labels-")
        if isinstance(segmentation, (str, Path)):
            file = Path(segmentation).expanduser()
            file = _renamed(file, names, Path(files.name)) if names else file
        else:
            if volume is None and segmentation is not None:
                geometry.requireKind(segmentation, "vtkMRMLSegmentationNode", "segmentation node")
                role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
                volume = segmentation.GetNodeReference(role)
            file = _write(*segmentations.labelMapFromSegmentation(segmentation, volume), names, Path(files.name))
        arguments = ["volume", "from-labels", file]
        arguments += ["--model", model, "--out", out, "--count", str(count), "--seed", str(seed)]
        arguments += ["--smooth-mm", str(smooth_mm), "--device", device, *inputs.flags({"overwrite": overwrite})]

        def load(result: dict[str, Any]) -> list[Any]:
            title = slicer.mrmlScene.GenerateUniqueName(f"CT from labels {inputs.nameOf(Path(model))}, seed {seed}")
            nodes = scene_volumes.showDrawn(out, name=title)
            for node in nodes:
                scene_volumes.refer(node, segmentation)
            if volume is not None and slicer.mrmlScene.IsNodePresent(volume):
                scene_volumes.showAlike([volume, nodes[0]])
                views.compareVolumes(volume, nodes[0])
            else:
                views.showVolume(nodes[0])
            self.shown("volumes", nodes)
            return nodes

        return self._run(TRANSLATION, arguments, load, wait, finished, files)

    def evaluateLabels(
        self,
        model: str | Path | Run,
        data: Any,
        out: str | Path,
        *,
        training: Any = None,
        split: str = "auto",
        seed: int = 0,
        device: str = "auto",
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> Any:
        """Draw CT from the label maps of a data set, and compare it label by label with the images they belong to.

        Args:
            model: see ``generateFromLabels``.
            data: data set with label maps, or its folder.
            out: folder of the report.
            training: data set that the segmenter behind mask consistency learns from; of ``data`` the part train.
            split: part of ``data``: auto, all, train, val or test.
            seed: of the noise and of the bootstrap.
            device, overwrite, wait, finished: see ``train`` and ``prepare``.

        Returns:
            Table node with a row for each figure of each label; or the job.
        """
        model = model.model if isinstance(model, Run) else model
        out = Path(out).expanduser()
        arguments = ["evaluate", "--labels", inputs.datasetFolder(data, self.temporary), "--model", model, "--out", out]
        arguments += ["--split", split, "--seed", str(seed), "--device", device]
        training = None if training is None else inputs.datasetFolder(training, self.temporary)
        arguments += inputs.flags({"training": training, "overwrite": overwrite})

        def load(result: dict[str, Any]) -> Any:
            with (out / "conditional.csv").open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            words, numbers = ("label", "figure", "unit"), ("number", "low", "high", "slices")
            columns: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in words}
            columns |= {name: np.array([float(row[name] or "nan") for row in rows]) for name in numbers}
            title = slicer.mrmlScene.GenerateUniqueName(f"Labels of {inputs.nameOf(Path(model))}")
            return scene.showTable(columns, name=title, folder=scene.makeFolder(f"SkullGAN {title}"))

        return self._run(COMPARISON, arguments, load, wait, finished)

    def headLabels(self, volume: Any, *, wait: bool = True, finished: Finished | None = None) -> Any:
        """Segment a head CT into the layers of its skull, brain, scalp and other bone, to be edited and drawn anew.

        Args:
            volume: volume node, or path of a scan.
            wait, finished: see ``train``.

        Returns:
            Segmentation node, drawn on the grid of the volume; or the job.

        Raises:
            InputError: no volume, or one below a transform that bends space, where its layers could not be edited.
        """
        if hasattr(volume, "GetParentTransformNode"):
            geometry.requireStraight(volume, "Harden the transform first (module Transforms).")
        files, out = temporaryFolder("skullgan-volume-"), self.temporary("layers").with_suffix(".seg.nrrd")
        arguments = ["volume", "labels", *inputs.volumeFiles([volume], Path(files.name)), "--out", out]

        def load(result: dict[str, Any]) -> Any:
            from SkullGANLib.ct.label_names import read_labels

            labels, names = read_labels(out)
            title = slicer.mrmlScene.GenerateUniqueName(f"{inputs.sourceName(volume)} layers")
            node = scene.showLabels(labels, names, name=title)
            node.SetAttribute(inputs.KIND_ATTRIBUTE, "layers")
            if hasattr(volume, "GetID") and slicer.mrmlScene.IsNodePresent(volume) and geometry.isStraight(volume):
                node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
            return node

        return self._run(LAYERS, arguments, load, wait, finished, files)

    def importPairs(
        self,
        pairs: Sequence[tuple[Any, Any]],
        out: str | Path,
        *,
        names: Mapping[str, str] | None = None,
        size: int = 128,
        plane: str = "axial",
        spacing_mm: float | None = None,
        kind: str | None = None,
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> SegmentDataset | Job:
        """Make a data set of slices and label maps out of volumes and their segmentations, to train from labels on.

        Args:
            pairs: volume node and segmentation node of each patient.
            out: folder of the data set.
            names: see ``generateFromLabels``.
            size: pixels along a side of a slice, 64 to 512.
            plane: axial, coronal or sagittal.
            spacing_mm: of the pixels; so that the volumes fit if not given.
            kind: of the data set: real, synthetic, artificial or phantom; as the attributes of the volumes say, and
                real where they say nothing, if not given.
            overwrite, wait, finished: see ``prepare``.

        Raises:
            InputError: no pair, one without a volume or a visible segment, or volumes of several kinds.
        """
        from SkullGANLib.ct.io import write_volume
        from SkullGANLib.segments.dataset import SegmentDataset

        if not pairs:
            raise InputError("There is no pair.", "Give a volume and a segmentation.")
        for volume, _ in pairs:
            geometry.requireScalars(volume)
        kind = kind or scene_volumes.commonKind([volume for volume, _ in pairs])
        out, files = Path(out).expanduser(), temporaryFolder("skullgan-pairs-")
        for number, (volume, segmentation) in enumerate(pairs, start=1):
            labels, found = segmentations.labelMapFromSegmentation(segmentation, volume)
            folder = Path(files.name) / f"patient-{number:03d}"
            folder.mkdir()
            write_volume(geometry.volumeFromNode(volume), folder / "image.nrrd")
            _write(labels, found, names, folder)
        arguments = ["dataset", "import-pairs", files.name, "--out", out, "--size", str(size), "--plane", plane]
        arguments += ["--kind", kind]
        arguments += inputs.flags({"spacing": spacing_mm, "overwrite": overwrite})
        return self._run(PAIRS, arguments, lambda result: SegmentDataset.open(out), wait, finished, files)


def _renamed(file: Path, names: Mapping[str, str], folder: Path) -> Path:
    """The label map of a file with other names, written to ``folder``."""
    from SkullGANLib.ct.label_names import read_labels, whole_heart_names

    labels, found = read_labels(file)
    values = [int(value) for value in np.unique(labels.hu) if value]
    found = found or whole_heart_names(values) or {value: str(value) for value in values}
    return _write(labels, found, {str(name): label for name, label in names.items()}, folder)


def _write(labels: Volume, found: Mapping[int, str], names: Mapping[str, str] | None, folder: Path) -> Path:
    """A label map as the file of a segmentation, whose header says what its values stand for."""
    from SkullGANLib.prepare.layers_files import write_labels

    told = {value: (names or {}).get(name, name) for value, name in found.items()}
    dropped = [value for value, name in told.items() if not name.strip()]
    labels = labels.with_array(np.where(np.isin(labels.hu, dropped), np.uint8(0), labels.hu))
    return write_labels(labels, folder / "label.seg.nrrd", told)
