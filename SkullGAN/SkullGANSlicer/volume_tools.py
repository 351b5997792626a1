"""What comes before and after whole volumes: calvaria, maps over their surface, media for simulations,
stacks of segments, the ablation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.jobs import Job

from . import inputs, scene, scene_volumes, views
from .results import Run
from .running import Finished, JobRunner
from .volumes import temporaryFolder

CALVARIUM, MAPS, ACOUSTIC = "Calvarium", "Surface maps", "Acoustic export"  # titles of the jobs
STACKS, ABLATION = "Stacking", "Ablation"
SHOWN_SCALAR = "thickness_mm"
SHOWN_COLOURS = "vtkMRMLColorTableNodeFileViridis.txt"  # of those that Slicer brings
MAP_FACTS = {  # of maps.json, and the attribute of the node that tells each
    "library_version": "SkullGAN.libraryVersion",
    "threshold_hu": "SkullGAN.thresholdHU",
    "step_deg": "SkullGAN.stepDegrees",
}


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
            Scalar volume node in HU, where it lies in the head, with a reference to the node of the head; or the job,
            in whose ``result["notes"]`` is what to know of the cut.
        """
        files, out = temporaryFolder("skullgan-volume-"), self.temporary("calvarium").with_suffix(".nrrd")
        arguments = ["volume", "calvarium", *inputs.volumeFiles([volume], Path(files.name)), "--out", out]
        arguments += ["--spacing", str(spacing_mm), *inputs.flags({"bone_only": bone_only})]

        def load(result: dict[str, Any]) -> Any:
            from SkullGANLib.ct.io import read_volume

            name = slicer.mrmlScene.GenerateUniqueName(f"{inputs.sourceName(volume)} calvarium")
            node = scene.showVolume(read_volume(out, labels=True), name=name)
            node.SetAttribute(inputs.KIND_ATTRIBUTE, "calvarium")
            scene_volumes.refer(node, volume)
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
            scalars of its points and a reference to the volume; or the job.

        Raises:
            InputError: a whole head, or a folder of several calvaria.
        """
        files = temporaryFolder("skullgan-volume-")
        out = self.temporary("maps") if out is None else Path(out).expanduser()
        arguments = ["volume", "maps", *inputs.volumeFiles([volume], Path(files.name)), "--out", out]
        arguments += inputs.flags({"overwrite": overwrite})

        def load(result: dict[str, Any]) -> Any:
            if len(result["calvaria"]) > 1:
                raise InputError(f"{volume} holds several volumes; their maps are in {out}.", "Give one file.")
            (name,) = result["calvaria"]
            title = slicer.mrmlScene.GenerateUniqueName(f"{inputs.sourceName(volume)} surface")
            node = showSurface(out / name, name=title)
            scene_volumes.refer(node, volume)
            application = getattr(slicer, "app", None)
            manager = application.layoutManager() if application is not None else None
            if manager is not None:
                manager.resetThreeDViews()  # a scan may lie far from the origin
            return node

        return self._run(MAPS, arguments, load, wait, finished, files)

    def acousticExport(
        self,
        volume: Any,
        out: str | Path,
        *,
        relation: str = "aubry",
        frequency_khz: float = 500.0,
        formats: Sequence[str] = ("nifti",),
        spacing_mm: float | None = None,
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> Path | Job:
        """Write the density, sound speed and attenuation of a head CT, to simulate ultrasound through the skull.

        Args:
            volume: volume node, such as one drawn, or path of a scan.
            out: folder of the maps.
            relation: between HU and the figures of bone: aubry, marsac, schneider, webb-bone or webb-soft.
            frequency_khz: of the ultrasound.
            formats: out of nifti, mat and hdf5; the last two are media for k-Wave.
            spacing_mm: of cubic voxels to resample to; those of the volume if not given.
            overwrite, wait, finished: see ``prepare``.

        Returns:
            The folder, in which ``acoustic.json`` tells units, source and validity.
        """
        out, files = Path(out).expanduser(), temporaryFolder("skullgan-volume-")
        arguments = ["volume", "acoustic", *inputs.volumeFiles([volume], Path(files.name)), "--out", out]
        arguments += ["--relation", relation, "--frequency", str(frequency_khz)]
        arguments += [part for name in formats for part in ("--format", name)]
        arguments += inputs.flags({"spacing": spacing_mm, "overwrite": overwrite})
        return self._run(ACOUSTIC, arguments, lambda result: out, wait, finished, files)

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
        roi: Any = None,
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
            out: folder of the runs and tables.
            roi: see ``trainVolume``.
            dimensions: 2, 3 or both.
            seeds, samples: trainings of each setting, and volumes drawn of each.
            preset, device, settings, wait, finished: see ``trainVolume``.

        Returns:
            The folder; ``ablation.md`` has the tables. Table nodes of the scene have a row for each training.
        """
        out, files = Path(out).expanduser(), temporaryFolder("skullgan-volume-")
        scan, note = inputs.learningArguments(volume, roi, Path(files.name))
        arguments = ["ablation", "--volume", *scan, "--out", out, "--dimensions", str(dimensions)]
        arguments += ["--seeds", str(seeds)]
        arguments += ["--samples", str(samples), "--preset", preset, "--device", device]
        arguments += inputs.settingFlags(settings)

        def load(result: dict[str, Any]) -> Path:
            result["notes"] = [*filter(None, [note]), *result.get("notes", [])]
            showAblation(out, name=f"{inputs.sourceName(volume)} ablation")
            return out

        return self._run(ABLATION, arguments, load, wait, finished, files)


def showSurface(path: Path, *, name: str) -> Any:
    """The surface that ``skullgan volume maps`` has written, as a model node coloured by thickness.

    The colours run from its 5th to its 95th percentile.

    Args:
        path: folder of one calvarium, with ``skull.vtk`` (in LPS, as it says itself) and ``maps.json``.
        name: of the node, and of its folder in the subject hierarchy.

    Raises:
        FormatError: a file cannot be read.
    """
    from SkullGANLib.files import read_document

    document = read_document(path / "maps.json", format="skullgan-maps", version=1, what="folder of maps")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", name)
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelStorageNode")
    storage.SetFileName(str(path / "skull.vtk"))
    read = storage.ReadData(node)
    slicer.mrmlScene.RemoveNode(storage)  # the file may be a temporary one: the surface is saved with the scene
    if not read:
        slicer.mrmlScene.RemoveNode(node)
        raise FormatError(f"{path / 'skull.vtk'} is no surface.", "Make it again.")
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetActiveScalarName(SHOWN_SCALAR)
    if slicer.mrmlScene.GetNodeByID(SHOWN_COLOURS) is not None:
        display.SetAndObserveColorNodeID(SHOWN_COLOURS)
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    thickness = document["summary"][SHOWN_SCALAR]
    display.SetScalarRange(thickness["p5"], thickness["p95"])
    display.SetScalarVisibility(True)
    node.SetAttribute(inputs.KIND_ATTRIBUTE, "surface map")
    node.SetAttribute("SkullGAN.maps", str(path.resolve()))
    for key, attribute in MAP_FACTS.items():
        node.SetAttribute(attribute, str(document[key]))
    scene.putInFolder(node, scene.makeFolder(f"SkullGAN {name}"))
    return node


def showAblation(path: Path, *, name: str) -> list[Any]:
    """Figures that ``skullgan ablation`` has written, as a table node for 3D and one for 2D, a row for each training.

    Args:
        path: folder of the ablation.
        name: of the tables, and of their folder in the subject hierarchy.
    """
    found = {file: json.loads(file.read_text(encoding="utf-8")) for file in sorted(path.glob("ablation-?d.json"))}
    folder, nodes = scene.makeFolder(f"SkullGAN {name}"), []
    for document in found.values():
        runs = [{"setting": setting, **run} for setting, of in document["runs"].items() for run in of]
        columns = {key: _column([run.get(key) for run in runs]) for key in runs[0]}
        nodes.append(scene.showTable(columns, name=f"{name} {document['dimensions']}D", folder=folder))
    return nodes


def _column(values: Sequence[Any]) -> np.ndarray:
    """Of a table; a figure that could not be taken is not a number."""
    return np.array([np.nan if value is None else value for value in values])
