"""Labelled images from a few painted ones, for Slicer's Python console and for the panel: annotate, learn, generate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.jobs import Job

from . import geometry, inputs, scene, segmentations
from .datasets import DataSets
from .inputs import openDataset
from .results import Run
from .running import Finished
from .volumes import temporaryFolder

ANNOTATION, LEARNING, LABELLED = "Images to annotate", "Learning of labels", "Labelled images"  # titles of the jobs
LAYERS_OF_BONE = ("outer table", "diploe", "inner table")


class Annotations(DataSets):
    """The part of the logic that makes labelled images of a model, from some that a user has painted."""

    def annotate(
        self,
        model: str | Path | Run,
        labels: Sequence[str] = LAYERS_OF_BONE,
        *,
        count: int = 20,
        seed: int = 0,
        out: str | Path | None = None,
        device: str = "auto",
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> tuple[Any, Any] | Job:
        """Draw images to paint, and make a segmentation with an empty segment for each label.

        Args:
            model: model folder, run of ``train`` or name of a model that comes along, one that draws from latents.
            labels: names of what is to be painted.
            count: images; 20 to 60 are enough.
            seed: of the images.
            out: folder of the data set; a temporary one if not given.
            device, overwrite, wait, finished: see ``train`` and ``prepare``.

        Returns:
            Volume node with an image in each slice and segmentation node on its grid, ready for the Segment Editor; or
            the job.

        Raises:
            InputError: no label, one without a name, or one named twice.
        """
        names = [str(label).strip() for label in labels]
        if not names or not all(names) or len(set(names)) < len(names):
            raise InputError("Labels need names that differ.", "Name each thing to paint once.")
        model = model.model if isinstance(model, Run) else model
        out = self.temporary("to-annotate") if out is None else Path(out).expanduser()
        arguments = ["label", "images", "--model", model, "--count", str(count), "--seed", str(seed), "--out", out]
        arguments += ["--device", device, *inputs.flags({"overwrite": overwrite})]

        def load(result: dict[str, Any]) -> tuple[Any, Any]:
            volume, _ = self.show(openDataset(out), name=f"To annotate {inputs.nameOf(Path(model))}, seed {seed}")
            return volume, scene.emptySegmentation(volume, names, name=f"{volume.GetName()} labels")

        return self._run(ANNOTATION, arguments, load, wait, finished)

    def learnLabels(
        self,
        model: str | Path | Run,
        volume: Any,
        segmentation: Any,
        out: str | Path,
        *,
        heads: int = 5,
        steps: int | None = None,
        seed: int = 0,
        device: str = "auto",
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> Path | Job:
        """Learn to label what a model draws, from the images that were painted.

        Args:
            model: that drew the images.
            volume: volume node of ``annotate``; images without a painted pixel are left out.
            segmentation: segmentation node painted on it.
            out: folder of the labeller.
            heads: networks that have to agree.
            steps: of the training of each.
            seed: of the training.
            device, overwrite, wait, finished: see ``train`` and ``prepare``.

        Returns:
            The folder of the labeller; or the job.

        Raises:
            InputError: images that are not of ``annotate``, or nothing painted.
        """
        from SkullGANLib.prepare.layers_files import write_labels

        model = model.model if isinstance(model, Run) else model
        geometry.requireScalars(volume)
        images = inputs.datasetFolder(volume, self.temporary)
        labels, names = segmentations.labelMapFromSegmentation(segmentation, volume)
        out, files = Path(out).expanduser(), temporaryFolder("skullgan-painted-")
        painted = write_labels(labels, Path(files.name) / "painted.seg.nrrd", names)
        arguments = ["label", "train", "--model", model, "--images", images, "--masks", painted, "--out", out]
        arguments += ["--heads", str(heads), "--seed", str(seed), "--device", device]
        arguments += inputs.flags({"steps": steps, "overwrite": overwrite})
        return self._run(LEARNING, arguments, lambda result: out, wait, finished, files)

    def generateLabelled(
        self,
        model: str | Path | Run,
        labeller: str | Path,
        *,
        count: int = 200,
        seed: int = 1,
        drop: float = 0.1,
        conditions: Mapping[str, Any] | None = None,
        classes: inputs.Classes = None,
        truncation: float = 1.0,
        centres: int = 1,
        out: str | Path | None = None,
        device: str = "auto",
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> tuple[Any, Any, Any] | Job:
        """Draw images with their label maps into the scene; those that the labeller is least sure of are left out.

        Args:
            model: see ``learnLabels``.
            labeller: folder that ``learnLabels`` has written.
            count: images that remain; of each class, where ``classes`` says no other.
            seed: of the images; another one than that of the painted ones.
            drop: share of the images drawn that is left out, the most uncertain first.
            conditions, classes, truncation, centres: see ``generate``.
            out: folder of the data set; a temporary one if not given.
            device, overwrite, wait, finished: see ``train`` and ``prepare``.

        Returns:
            Volume node with an image in each slice, segmentation node on its grid, and table node with the uncertainty
            of each; or the job.
        """
        model = model.model if isinstance(model, Run) else model
        out = self.temporary("labelled") if out is None else Path(out).expanduser()
        arguments = ["label", "generate", "--model", model, "--labeller", Path(labeller).expanduser(), "--out", out]
        arguments += ["--count", str(count), "--seed", str(seed), "--drop", str(drop), "--device", device]
        arguments += [
            *inputs.conditionFlags(conditions),
            *inputs.classFlags(classes),
            *inputs.truncationFlags(truncation, centres),
            *inputs.flags({"overwrite": overwrite}),
        ]

        def load(result: dict[str, Any]) -> tuple[Any, Any, Any]:
            dataset = openDataset(out)
            volume, table = self.show(dataset, name=f"Labelled {inputs.nameOf(Path(model))}, seed {seed}")
            (name,) = dataset.label_sets
            labels = geometry.volumeFromNode(volume).with_array(np.asarray(dataset.label_sets[name]))
            title = f"{volume.GetName()} labels"
            shown = scene.showLabels(labels, dataset.labels(name), name=title, surfaces=False)
            return volume, shown, table

        return self._run(LABELLED, arguments, load, wait, finished)
