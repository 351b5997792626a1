"""Whole volumes for Slicer's Python console and for the panel: learn one CT, draw others, compare them with it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import slicer

from SkullGANLib.jobs import Job

from . import geometry, inputs, scene_volumes, views
from .results import Run
from .running import Finished, JobRunner

TRAINING, GENERATION = "Volume training", "Volume generation"  # titles of the jobs


class Volumes(JobRunner):
    """The part of the logic that is about whole volumes."""

    def trainVolume(
        self,
        volume: Any,
        out: str | Path,
        *,
        roi: Any = None,
        dimensions: int = 3,
        preset: str = "demo",
        device: str = "auto",
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> Run | Job:
        """Learn one CT volume; into the folder of an earlier run of the same volume and options it resumes that run.

        Args:
            volume: scalar volume node, or path of a DICOM folder or file.
            out: folder of the run.
            roi: ROI node around the part of a volume node that is learnt; all of it if not given. Of an ROI that is
                turned against the voxels its bounding box along them is taken, which the job's notes say.
            dimensions: 3, or 2 for slices as channels.
            preset: ``demo`` (minutes on a processor), ``full`` (for a GPU) or ``ct-gan`` (as published).
            device, wait, finished: see ``train``.
            seed: of weights and noise.
            settings: further options, such as ``{"largest": 32}``.

        Raises:
            InputError: no volume, or an ROI with none of its voxels.
        """
        out, files = Path(out).expanduser(), temporaryFolder("skullgan-volume-")
        scan, note = inputs.learningArguments(volume, roi, Path(files.name))
        arguments = ["volume", "train", *scan, "--out", out, "--dimensions", str(dimensions), "--preset", preset]
        arguments += ["--device", device, "--seed", str(seed), *inputs.settingFlags(settings)]

        def load(result: dict[str, Any]) -> Run:
            result["notes"] = [*filter(None, [note]), *result.get("notes", [])]
            return Run(out)

        return self._run(TRAINING, arguments, load, wait, finished, files)

    def generateVolumes(
        self,
        model: str | Path | Run,
        *,
        count: int = 1,
        seed: int = 0,
        enlarged: float | Sequence[float] = 1.0,
        first_scale: int = 0,
        source: Any = None,
        beside: Any = None,
        out: str | Path | None = None,
        device: str = "auto",
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> list[Any] | Job:
        """Draw CT volumes into the scene, where the volume learnt lies in the patient.

        Args:
            model: model folder, or run of ``trainVolume``.
            count: number of volumes.
            seed: the same seed draws the same ones.
            enlarged: size as a multiple of the volume learnt: one number, or one each for slices, rows and columns.
            first_scale: scale that noise enters first; 0 draws freely, from a higher one on only finer detail varies.
            source: volume node or path of a CT whose coarse structure is kept and refined from ``first_scale`` on.
            beside: volume node to compare the first one drawn with, such as the one learnt; see ``compareVolumes``.
            out: folder of the files; a temporary one if not given.
            device, overwrite, wait, finished: see ``train`` and ``prepare``.

        Returns:
            Scalar volume nodes in HU, with bone rendered in 3D (the first one visible) and attributes that say which
            model, seed and options they come from.
        """
        geometry.requireKind(beside, "vtkMRMLScalarVolumeNode", "volume node")
        model = model.model if isinstance(model, Run) else Path(model).expanduser()
        out = self.temporary("volumes") if out is None else Path(out).expanduser()
        sizes = enlarged if isinstance(enlarged, Sequence) else [enlarged]
        arguments = ["volume", "generate", "--model", model, "--out", out, "--count", str(count), "--seed", str(seed)]
        arguments += ["--enlarged", ",".join(map(str, sizes)), "--first-scale", str(first_scale), "--device", device]
        files = temporaryFolder("skullgan-source-")
        if source is not None:
            arguments += ["--source", inputs.volumeFiles([source], Path(files.name))[0]]
        arguments += inputs.flags({"overwrite": overwrite})

        def load(result: dict[str, Any]) -> list[Any]:
            title = slicer.mrmlScene.GenerateUniqueName(f"Synthetic volume {inputs.nameOf(model)}, seed {seed}")
            nodes = scene_volumes.showDrawn(out, name=title)
            for node in nodes:
                scene_volumes.refer(node, source)
            if beside is not None and slicer.mrmlScene.IsNodePresent(beside):
                self.compareVolumes(beside, nodes[0])
            else:
                views.showVolume(nodes[0])
            self.shown("volumes", nodes)
            return nodes

        return self._run(GENERATION, arguments, load, wait, finished, files)

    def compareVolumes(self, volume: Any, drawn: Any) -> None:
        """Show a volume (red view) and one drawn (green view) side by side in the same bone window, with 3D below.

        Both views show the part that ``drawn`` covers, which is the part that was learnt; they are linked.
        """
        for node in (volume, drawn):
            geometry.requireScalars(node)
        scene_volumes.showAlike([volume, drawn])
        views.compareVolumes(volume, drawn)

    def makeRoi(self, volume: Any) -> Any:
        """An ROI node around all of a volume node, to be made smaller by hand and given to ``trainVolume``."""
        return scene_volumes.makeRoi(volume)


def temporaryFolder(prefix: str) -> tempfile.TemporaryDirectory:
    """One that lasts as long as the object, also where a file in it is still open on Windows."""
    return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
