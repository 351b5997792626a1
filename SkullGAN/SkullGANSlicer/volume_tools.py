"""What comes before and after whole volumes: calvaria, maps over their surface, stacks of segments, the ablation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import slicer

from SkullGANLib.errors import FormatError
from SkullGANLib.jobs import Job

from . import inputs, scene, scene_volumes, views
from .results import Run
from .running import Finished, JobRunner
from .volumes import temporaryFolder

CALVARIUM, MAPS, STACKS, ABLATION = "Calvarium", "Surface maps", "Stacks", "Ablation"  # titles of the jobs
SHOWN_SCALAR = "thickness_mm"


class VolumeTools(JobRunner):
    """The part of the logic that works on volumes or makes them of segments."""

    def cropCalvarium(
        self,
        volume: Any,
        *,
        bone_only: bool = False,
        spacing_mm: float = 1.5,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> Any:
        """Cut the calvarium out of a head CT, for ``trainVolume`` and ``surfaceMaps``.

        Args:
            volume: volume node, or path of a scan.
            bone_only: make brain and scalp alike, so that bone alone is learnt.
            spacing_mm: of the cubic voxels.
            wait, finished: see ``train``.

        Returns:
            Scalar volume node in HU, where it lies in the head; or the job.
        """
        files, out = temporaryFolder("skullgan-volume-"), self.temporary("calvarium").with_suffix(".nrrd")
        arguments = ["volume", "calvarium", *inputs.volumeFiles([volume], Path(files.name)), "--out", out]
        arguments += ["--spacing", str(spacing_mm), *inputs.flags({"bone_only": bone_only})]

        def load(result: dict[str, Any]) -> Any:
            from SkullGANLib.ct.io import read_volume

            name = slicer.mrmlScene.GenerateUniqueName(f"{_nameOf(volume)} calvarium")
            node = scene.showVolume(read_volume(out, labels=True), name=name)
            node.SetAttribute(inputs.KIND_ATTRIBUTE, "calvarium")
            views.showVolume(node)
            return node

        return self._run(CALVARIUM, arguments, load, wait, finished, files)

    def surfaceMaps(
        self,
        volume: Any,
        out: str | Path | None = None,
        *,
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> Any:
        """Map thickness, skull density ratio and HU over the surface of a calvarium, real or drawn.

        Args:
            volume: volume node of a calvarium (see ``cropCalvarium``), or its path.
            out: folder of the maps (``maps.png``, ``maps.csv``, ``maps.json``); a temporary one if not given.
            overwrite, wait, finished: see ``prepare``.

        Returns:
            Model node of the outer surface, coloured by ``thickness_mm``, with ``sdr`` and ``mean_hu`` as further
            scalars of its points; or the job.
        """
        files = temporaryFolder("skullgan-volume-")
        out = self.temporary("maps") if out is None else Path(out).expanduser()
        arguments = ["volume", "maps", *inputs.volumeFiles([volume], Path(files.name)), "--out", out]
        arguments += inputs.flags({"overwrite": overwrite})

        def load(result: dict[str, Any]) -> Any:
            (name,) = result["calvaria"]
            title = slicer.mrmlScene.GenerateUniqueName(f"{_nameOf(volume)} surface")
            return showSurface(out / name / "skull.vtk", result["calvaria"][name][SHOWN_SCALAR], name=title)

        return self._run(MAPS, arguments, load, wait, finished, files)

    def stackVolumes(
        self,
        model: str | Path | Run,
        *,
        count: int = 1,
        slices: int = 48,
        spacing_mm: float = 1.0,
        seed: int = 0,
        match: str | Path | None = None,
        out: str | Path | None = None,
        device: str = "auto",
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> list[Any] | Job:
        """Walk a segment model along a head, and assemble its slices to patches of calvarium.

        Args:
            model: name of a model that comes along, model folder, or run of ``train``.
            count: number of volumes.
            slices, spacing_mm: in each, and how far apart.
            seed: the same seed draws the same ones.
            match: data set of real segments whose neighbours the slices shall differ like.
            out: folder of the files (``continuity.png`` and more); a temporary one if not given.
            device, overwrite, wait, finished: see ``train`` and ``prepare``.

        Returns:
            Scalar volume nodes in HU.
        """
        model = model.model if isinstance(model, Run) else model
        out = self.temporary("stacks") if out is None else Path(out).expanduser()
        arguments = ["volume", "stack", "--model", str(model), "--out", out, "--count", str(count)]
        arguments += ["--slices", str(slices), "--spacing", str(spacing_mm), "--seed", str(seed), "--device", device]
        arguments += inputs.flags({"match": match, "overwrite": overwrite})

        def load(result: dict[str, Any]) -> list[Any]:
            title = slicer.mrmlScene.GenerateUniqueName(f"Synthetic patch {inputs.nameOf(Path(model))}, seed {seed}")
            nodes = scene_volumes.showDrawn(out, name=title)
            views.showVolume(nodes[0])
            self.shown("volumes", nodes)
            return nodes

        return self._run(STACKS, arguments, load, wait, finished)

    def ablation(
        self,
        volume: Any,
        out: str | Path,
        *,
        dimensions: str = "both",
        seeds: int = 3,
        samples: int = 6,
        preset: str = "ct-gan",
        device: str = "auto",
        settings: Mapping[str, Any] | None = None,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> Path | Job:
        """Train the settings A to D of CT-GAN's tables on a volume; called again on the folder it goes on.

        Args:
            volume: volume node, or path of a scan.
            out: folder of the runs and tables; ``ablation.md`` has the tables.
            dimensions: 2, 3 or both.
            seeds, samples: trainings of each setting, and volumes drawn of each.
            preset, device, settings, wait, finished: see ``trainVolume``.
        """
        out, files = Path(out).expanduser(), temporaryFolder("skullgan-volume-")
        (scan,) = inputs.volumeFiles([volume], Path(files.name))
        arguments = ["ablation", "--volume", scan, "--out", out, "--dimensions", str(dimensions), "--seeds", str(seeds)]
        arguments += ["--samples", str(samples), "--preset", preset, "--device", device]
        arguments += inputs.settingFlags(settings)
        return self._run(ABLATION, arguments, lambda result: out, wait, finished, files)


def showSurface(path: Path, range_: Mapping[str, float], *, name: str) -> Any:
    """The surface that ``skullgan volume maps`` has written, as a model node coloured by thickness.

    Args:
        path: of ``skull.vtk``, in LPS.
        range_: summary of the thickness, whose ``p5`` and ``p95`` are the ends of the colours.
        name: of the node.

    Raises:
        FormatError: the file cannot be read.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", name)
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelStorageNode")
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        slicer.mrmlScene.RemoveNode(storage)
        slicer.mrmlScene.RemoveNode(node)
        raise FormatError(f"{path} is no surface.", "Make it again.")
    node.SetAndObserveStorageNodeID(storage.GetID())
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetActiveScalarName(SHOWN_SCALAR)
    colors = slicer.mrmlScene.GetFirstNodeByName("Viridis")
    if colors is not None:
        display.SetAndObserveColorNodeID(colors.GetID())
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    display.SetScalarRange(range_["p5"], range_["p95"])
    display.SetScalarVisibility(True)
    node.SetAttribute(inputs.KIND_ATTRIBUTE, "surface map")
    node.SetAttribute("SkullGAN.maps", str(path.parent.resolve()))
    return node


def _nameOf(source: Any) -> str:
    """Of a node, or of the file or folder of a scan."""
    return source.GetName() if hasattr(source, "GetName") else Path(source).name.partition(".")[0]
