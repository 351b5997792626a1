"""The four verbs for Slicer's Python console and for the panel: nodes in, child processes, nodes out. No Qt."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.jobs import Job

from . import inputs, scene, scene_volumes, views
from .annotations import Annotations
from .class_folders import ClassFolders
from .downstream import DownstreamTrials
from .inputs import openDataset
from .label_maps import LabelMaps
from .results import PIXEL_MM, Preview, Run
from .running import Finished
from .turing import VisualTests
from .volume_tools import VolumeTools
from .volumes import Volumes
from .walks import Walks

if TYPE_CHECKING:
    from SkullGANLib.segments.dataset import SegmentDataset

PLANES, REGIONS = ("axial", "coronal", "sagittal"), ("temporal", "parietal")
PREPARED_KINDS = ("real", "phantom", "synthetic")  # of data sets that are cut out of volumes


class Logic(Annotations, ClassFolders, DownstreamTrials, VisualTests, Volumes, VolumeTools, LabelMaps, Walks):
    """What the module can do, without its panel.

    Long work runs in a child process, one job at a time. With ``wait=True`` (the default) a call returns the result or
    raises ``SkullGANError``; with ``wait=False`` it returns a ``Job`` with ``progress``, ``cancel()``, the hook
    ``finished`` and, once done, ``value``. Keyword arguments have the names of the command line's options.
    """

    # prepare ----------------------------------------------------------------------------------------------------------

    def prepare(
        self,
        volumes: Any,
        out: str | Path,
        *,
        planes: Sequence[str] = PLANES,
        regions: Sequence[str] = REGIONS,
        interval_mm: float = 3.1,
        mask: Any = None,
        head_frame: Any = None,
        hu_offset: float = 0.0,
        subject: str | None = None,
        kind: str | None = None,
        overwrite: bool = False,
        options: Mapping[str, Any] | None = None,
        show: bool = True,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> SegmentDataset | Job:
        """Cut CT volumes into skull segments and write them as a data set.

        Args:
            volumes: scalar volume node, path of a DICOM folder or file, or a sequence of these.
            out: folder of the data set.
            planes: out of axial, coronal, sagittal.
            regions: out of temporal, parietal, frontal, occipital.
            interval_mm: distance between parallel planes.
            mask: segmentation node that holds the skull, for a single volume node.
            head_frame: linear transform node whose own frame is the head frame, for a single volume.
            hu_offset: added to every value, for scans stored with a constant on top.
            subject: pseudonym, for a single volume; otherwise made from the values.
            kind: of the data set, real, phantom or synthetic; as the volumes say (attributes of nodes,
                ``phantom.json`` beside files), and real where they say nothing, if not given.
            overwrite: replace a data set in the same folder.
            options: further options of ``skullgan prepare``, such as ``{"stride_mm": 30}``.
            show: put the segments and their table into the scene.
            wait, finished: see the class.

        Returns:
            The data set; its table holds the place of each segment in LPS mm of the world.
        """
        sources = volumes if isinstance(volumes, (list, tuple)) else [volumes]
        if not sources:
            raise InputError("No volume was given.", "Give a scalar volume node, or a folder of scans.")
        files = tempfile.TemporaryDirectory(prefix="skullgan-volumes-", ignore_cleanup_errors=True)
        arguments = ["prepare", *inputs.volumeFiles(sources, Path(files.name)), "--out", Path(out).expanduser()]
        arguments += inputs.cuttingArguments(sources, Path(files.name), planes, regions, interval_mm, mask, head_frame)
        arguments += ["--hu-offset", str(hu_offset)]
        kind = kind or (options or {}).get("kind")
        if kind not in (None, *PREPARED_KINDS):
            raise InputError(f"Volumes cannot be prepared as {kind}.", f"Say {' or '.join(PREPARED_KINDS)}.")
        kind = kind or scene_volumes.commonKind(sources)
        kind = kind if kind in PREPARED_KINDS else None
        arguments += inputs.flags({**(options or {}), "subject": subject, "kind": kind, "overwrite": overwrite})

        def load(result: dict[str, Any]) -> SegmentDataset:
            dataset = openDataset(out)
            if show:
                self.show(dataset, name=Path(out).name)
            return dataset

        return self._run("Prepare", arguments, load, wait, finished, files)

    def preview(
        self,
        volume: Any,
        *,
        planes: Sequence[str] = PLANES,
        regions: Sequence[str] = REGIONS,
        interval_mm: float = 3.1,
        mask: Any = None,
        head_frame: Any = None,
        hu_offset: float = 0.0,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> Preview | Job:
        """Show what ``prepare`` would do with one volume: skull, cutting squares and pieces; no data set is written."""
        files = tempfile.TemporaryDirectory(prefix="skullgan-preview-", ignore_cleanup_errors=True)
        out = Path(files.name) / "preview"
        arguments = ["prepare", *inputs.volumeFiles([volume], Path(files.name)), "--preview", out]
        arguments += inputs.cuttingArguments([volume], Path(files.name), planes, regions, interval_mm, mask, head_frame)
        arguments += ["--hu-offset", str(hu_offset)]

        def load(result: dict[str, Any]) -> Preview:
            from SkullGANLib.ct.io import read_volume
            from SkullGANLib.segments.table import read_table

            rows = read_table(out / "candidates.csv")
            labels = read_volume(out / "skull.nrrd", labels=True)
            hu = np.load(out / "segments.npy")
            name = volume.GetName() if hasattr(volume, "GetName") else Path(volume).name
            folder = scene.makeFolder(f"SkullGAN preview of {name}")
            preview = Preview(
                volume,
                scene.showLabels(labels, {1: "Skull vault"}, name=f"{name} skull", folder=folder),
                scene.showPieces(
                    rows, name=f"{name} cutting squares", spacing_mm=PIXEL_MM, size=hu.shape[1], folder=folder
                ),
                scene.showTable(rows, name=f"{name} pieces", folder=folder),
                rows,
                hu,
                int((rows["quality"] == "ok").sum()),
                tuple(result.get("notes", ())),
            )
            self.shown("preview", preview)
            return preview

        return self._run("Preview", arguments, load, wait, finished, files)

    # train ------------------------------------------------------------------------------------------------------------

    def train(
        self,
        data: Any,
        out: str | Path,
        *,
        preset: str | Path = "recommended-XS",
        images: int | None = None,
        batch_size: int | str | None = None,
        device: str = "auto",
        seed: int | None = None,
        init: str | Path | None = None,
        pretrain: Any = None,
        settings: Mapping[str, Any] | None = None,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> Run | Job:
        """Train a model; into the folder of an earlier run with the same options it resumes that run.

        Args:
            data: data set, its folder, or a sequence of these.
            out: folder of the run.
            preset: name, or a TOML file like a preset.
            images: length of the training in images; the preset's if not given.
            batch_size, seed: the preset's if not given; a batch of ``"auto"`` is as large as memory allows, up to 64.
            device: auto, cpu, cuda, cuda:1 or mps.
            init: model, run, released ``.pth`` or ``"phantom"``, whose weights training starts from.
            pretrain: data set or sets to train on first, such as phantoms or imported pictures.
            settings: further options, such as ``{"recipe.gate": "off"}``.
            wait, finished: see the class.
        """
        out = Path(out).expanduser()
        arguments = inputs.trainingArguments(
            data, self.temporary, preset=preset, device=device, init=init, pretrain=pretrain, settings=settings,
            images=images, batch_size=batch_size, seed=seed,
        )  # fmt: skip
        return self._run("Train", ["train", *arguments, "--out", out], lambda result: Run(out), wait, finished)

    def estimate(
        self,
        data: Any,
        *,
        preset: str | Path = "recommended-XS",
        images: int | None = None,
        batch_size: int | str | None = None,
        device: str = "auto",
        seed: int | None = None,
        init: str | Path | None = None,
        pretrain: Any = None,
        settings: Mapping[str, Any] | None = None,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> dict[str, Any] | Job:
        """What a training would need: parameters, memory_gib, free_gib, fits, images_per_second and seconds.

        A few steps are timed on the device. It is no job: it may run beside one, and is better not."""
        arguments = inputs.trainingArguments(
            data, self.temporary, preset=preset, device=device, init=init, pretrain=pretrain, settings=settings,
            images=images, batch_size=batch_size, seed=seed,
        )  # fmt: skip
        return self._query("Estimate", ["train", *arguments, "--dry-run"], wait, finished)

    # generate ---------------------------------------------------------------------------------------------------------

    def generate(
        self,
        model: str | Path | Run,
        *,
        count: int = 64,
        seed: int = 0,
        out: str | Path | None = None,
        conditions: Mapping[str, Any] | None = None,
        classes: inputs.Classes = None,
        truncation: float = 1.0,
        centres: int = 1,
        device: str = "auto",
        precision: str = "auto",
        audit: Any = None,
        copies: str = "refuse",
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> tuple[Any, Any] | Job:
        """Draw synthetic segments into the scene.

        Args:
            model: model folder, run, released weights (``.pth``), or ``"phantom"``, which comes along.
            count: number of segments; of each class, where ``classes`` says no other.
            seed: the same seed draws the same ones.
            out: folder of the data set; a temporary one if not given.
            precision: float32, bfloat16 (faster, and a few HU off), or auto, which is what the device is built for.
            conditions: what to ask for, such as ``{"region": "temporal", "sdr": 0.45}``; a pair is a range.
            classes: of a model with classes, which to draw: names, ``"all"``, or a mapping of names to numbers of
                segments such as ``{"temporal/left": 50, "parietal/left": 20}``, None for the count; as often as in
                the training set if not given.
            truncation: of a model with classes, how much variety its images keep: 1 for all, less to draw them towards
                the middle of their class, 0 for that middle alone.
            centres: middles of a class, where ``truncation`` is below 1; each image goes to the nearest.
            audit: data set that the model was trained on, or a sequence of these, to look for copies of its segments.
            copies: what to do about them: ``refuse``, ``drop``, or ``keep``, which marks them in the column ``copy``.
            device, overwrite, wait, finished: see ``prepare`` and ``train``.

        Returns:
            Volume node with a segment in each slice, and table node with a row for each.
        """
        model = model.model if isinstance(model, Run) else Path(model).expanduser()
        out = self.temporary("synthetic") if out is None else Path(out).expanduser()
        source = "--from" if model.suffix in (".pth", ".pt") else "--model"
        arguments = ["generate", source, model, "--out", out, "--count", str(count), "--seed", str(seed)]
        arguments += [
            "--device",
            device,
            "--precision",
            precision,
            *inputs.conditionFlags(conditions),
            *inputs.classFlags(classes),
            *inputs.truncationFlags(truncation, centres),
            *inputs.flags({"overwrite": overwrite}),
            *inputs.auditArguments(audit, copies, self.temporary),
        ]

        def load(result: dict[str, Any]) -> tuple[Any, Any]:
            return self.show(openDataset(out), name=f"Synthetic {inputs.nameOf(model)}, seed {seed}")

        return self._run("Generate", arguments, load, wait, finished)

    # evaluate ---------------------------------------------------------------------------------------------------------

    def evaluate(
        self,
        real: Any,
        synthetic: Any,
        out: str | Path | None = None,
        *,
        training: Any = None,
        control: Any = None,
        artificial: Any = None,
        model: str | Path | Run | None = None,
        split: str = "auto",
        metrics: Sequence[str] | None = None,
        seed: int = 0,
        device: str = "auto",
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> dict[str, Any] | Job:
        """Compare a synthetic with a real set; a report folder on disk, tables and plots in the scene.

        Args:
            real, synthetic: data set, its folder, a ``.npy`` array or a volume node of segments.
            out: report folder; a temporary one if not given.
            training: real segments that the model was trained on, where they are no part of ``real``.
            control: segments of a model without pre-training.
            artificial: set that fools the radiological figures; ``"auto"`` draws one.
            model: model, run, or name of one that comes along, whose discriminator is to judge the sets.
            split: part of the real set to compare with: all, train, val, test, or auto: test where it is split.
            metrics: names; all that take part by default if not given.
            seed: of the bootstrap and of the examples shown.
            device, overwrite, wait, finished: see ``prepare`` and ``train``.

        Returns:
            ``summary`` and ``segments`` to their table nodes, ``tables``, ``plots`` and ``pictures`` to lists of nodes,
            ``highlights`` to the figures that decide and ``rows`` to the distributions, both in words, ``pairs`` to the
            nearest neighbours for ``showPair``, ``report`` to the path of ``report.html``, ``warnings`` to sentences to
            read before trusting a figure, ``left_out`` to what was not computed, and why.
        """
        out = self.temporary("report") if out is None else Path(out).expanduser()
        given = {"real": real, "synthetic": synthetic, "training": training, "control": control}
        if not isinstance(artificial, str) or artificial != "auto":
            given["artificial"] = artificial
        sets = {name: inputs.datasetFolder(one, self.temporary) for name, one in given.items() if one is not None}
        arguments: list[Any] = ["evaluate"]
        for name, folder in sets.items():
            arguments += [f"--{name}", folder]
        arguments += ["--out", out, "--split", split]
        if "artificial" not in sets and artificial is not None:
            arguments += ["--artificial", "auto"]
        if model is not None:
            arguments += ["--model", model.model if isinstance(model, Run) else model, "--device", device]
        for name in metrics or ():
            arguments += ["--metric", name]
        arguments += inputs.flags({"seed": seed or None, "overwrite": overwrite})

        def load(result: dict[str, Any]) -> dict[str, Any]:
            from .reports import showReport

            name = f"{inputs.nameOf(sets['synthetic'])} against {inputs.nameOf(sets['real'])}"
            seen = {"synthetic": sets["synthetic"], "training": sets.get("training", sets["real"])}
            tables = showReport(out, name=name, sets={which: path.resolve() for which, path in seen.items()})
            tables["warnings"] = result.get("warnings", [])
            self.shown("report", tables)
            return tables

        return self._run("Evaluate", arguments, load, wait, finished)

    def showPair(self, evaluated: Mapping[str, Any], position: int = 0) -> tuple[Any, Any, Any]:
        """A synthetic segment, the nearest real one and their difference, side by side in the slice views.

        Args:
            evaluated: what ``evaluate`` has returned.
            position: in the order of closeness; 0 is the closest pair.

        Returns:
            Three volume nodes, the same ones for every pair.
        """
        if evaluated.get("pairs") is None:
            raise InputError("The report holds no nearest neighbours.", "Evaluate with the metric nearest.")
        return evaluated["pairs"].show(position)

    # the machine ------------------------------------------------------------------------------------------------------

    def doctor(self, *, wait: bool = True, finished: Finished | None = None) -> dict[str, Any] | Job:
        """Devices, memory, versions, families and presets, as a child process sees them."""
        return self._query("Doctor", ["doctor"], wait, finished)

    def phantom(self, out: str | Path | None = None, *, seed: int = 1, wait: bool = True) -> Any:
        """A head phantom in the scene, made on this machine: a scalar volume node in HU."""
        out = self.temporary("phantom") if out is None else Path(out).expanduser()
        arguments = ["phantom", "--out", out, "--seed", str(seed), "--no-labels"]

        def load(result: dict[str, Any]) -> Any:
            from SkullGANLib.ct.io import read_volume

            path = next(out.glob("subject-*.nrrd"))
            node = scene.showVolume(read_volume(path), name="SkullGAN phantom head")
            node.SetAttribute(inputs.KIND_ATTRIBUTE, inputs.PHANTOM_HEAD)
            views.showVolume(node)
            return node

        return self._run("Phantom", arguments, load, wait, None)
