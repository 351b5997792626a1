"""Trials of downstream use for Slicer's Python console and for the panel: is a synthetic set of use to learn a task?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SkullGANLib.errors import InputError
from SkullGANLib.jobs import Job

from . import inputs, plots, scene
from .running import Finished, JobRunner

TRIAL = "Downstream trial"  # title of the job
SEGMENT = "segment"


class DownstreamTrials(JobRunner):
    """The part of the logic that learns tasks from real and synthetic segments."""

    def tryTask(
        self,
        real: Any,
        synthetic: Any,
        out: str | Path | None = None,
        *,
        task: str | Sequence[str] = "all",
        label_set: str | None = None,
        seeds: int = 3,
        steps: int | None = None,
        seed: int = 0,
        device: str = "auto",
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> dict[str, Any] | Job:
        """Learn a task from real segments, from synthetic ones and from both; try it on held-out subjects.

        Args:
            real: data set, its folder or a volume node of segments; its part ``test`` is tried on, or some of its
                subjects where it is not split.
            synthetic: data set, its folder, a ``.npy`` array or a volume node of segments, or several of these.
            out: folder of the result; a temporary one if not given.
            task: what is classified, out of region, density, thickness and class; ``all`` for those that the sets
                allow; ``segment`` for label maps, which both sets need.
            label_set: label maps to segment; the ones that both sets have if not given.
            seeds: trainings of each mix of segments.
            steps: of each training; as many as the task takes if not given.
            seed: of the first training.
            device, overwrite, wait, finished: see ``prepare`` and ``train``.

        Returns:
            ``folder``, ``table`` to the table node with all scores, ``charts`` and ``picture`` to nodes, ``rows`` to
            (task, learnt from, score, 95 % interval) in words, ``findings`` to what synthetic segments add,
            ``warnings`` to sentences to read before trusting a score, ``left_out`` to what was not tried, and why.

        Raises:
            InputError: no synthetic set, an unknown task, or no label maps that both sets have.
        """
        from SkullGANLib.cli.downstream import CLASSIFICATION

        sets = synthetic if isinstance(synthetic, (list, tuple)) else [synthetic]
        tasks = [task] if isinstance(task, str) else list(task)
        if not sets:
            raise InputError("There is no synthetic set.", "Give one.")
        if unknown := [name for name in tasks if name not in (*CLASSIFICATION, "all", SEGMENT)]:
            known = ", ".join([*CLASSIFICATION, "all"])
            raise InputError(f"There is no task {unknown[0]}.", f"Choose {known} or {SEGMENT}.")
        if SEGMENT in tasks and (len(tasks) > 1 or len(sets) > 1):
            raise InputError("Segmenting is tried by itself, with one synthetic set.", "Try the others apart.")
        out = self.temporary("downstream") if out is None else Path(out).expanduser()
        folders = [inputs.datasetFolder(each, self.temporary) for each in (real, *sets)]
        if SEGMENT in tasks:
            arguments = ["downstream", "segment", *folders, "--label-set", label_set or commonLabelSet(*folders)]
        else:
            arguments = ["downstream", "classify", *folders]
            arguments += [part for name in tasks for part in ("--task", name)]
        arguments += ["--out", out, "--seeds", str(seeds), "--seed", str(seed), "--device", device]
        arguments += inputs.flags({"steps": steps, "overwrite": overwrite})

        def load(result: dict[str, Any]) -> dict[str, Any]:
            name = f"{inputs.nameOf(folders[1])} for tasks on {inputs.nameOf(folders[0])}"
            tried = showTrial(out, name=slicer.mrmlScene.GenerateUniqueName(name))
            self.shown("downstream", tried)
            return tried

        return self._run(TRIAL, arguments, load, wait, finished)


def commonLabelSet(real: Path, synthetic: Path) -> str:
    """The label maps that two data sets have in common.

    Raises:
        InputError: none or several.
    """
    from SkullGANLib.segments.dataset import SegmentDataset
    from SkullGANLib.segments.store import TISSUES

    known = [SegmentDataset.open(path).label_sets if path.is_dir() else {} for path in (real, synthetic)]
    common = [name for name in known[0] if name in known[1]]
    if not common:
        raise InputError(
            "The two sets have no label maps in common.",
            "Segmenting takes a real and a synthetic data set with label maps of the same kind.",
        )
    if len(common) > 1 and TISSUES not in common:
        raise InputError(f"The two sets have several label maps: {', '.join(common)}.", "Say which, as label_set.")
    return TISSUES if TISSUES in common else common[0]


def showTrial(folder: Path, *, name: str) -> dict[str, Any]:
    """Put the result of a trial into the scene.

    Args:
        folder: written by ``skullgan downstream``.
        name: of the subject hierarchy folder, and of the table.

    Returns:
        See ``DownstreamTrials.tryTask``.
    """
    from SkullGANLib.evaluate.downstream import ARMS
    from SkullGANLib.evaluate.downstream_report import PICTURE_FILE, RESULT_FILE, TABLE_FILE, DownstreamResult
    from SkullGANLib.evaluate.summary import interval_words, number_words
    from SkullGANLib.files import read_json

    from .reports import readColumns

    result = DownstreamResult.model_validate(read_json(folder / RESULT_FILE))
    item, rows, charts = scene.makeFolder(f"SkullGAN {name}"), [], []
    for task in result.tasks.values():
        arms, figures = [ARMS[arm] for arm in task.arms], list(task.arms.values())
        for arm, figure in zip(arms, figures, strict=True):
            rows.append((task.title, arm, f"{task.measure} {number_words(figure.value)}", interval_words(figure)))
        ends = np.array([figure.interval or (np.nan, np.nan) for figure in figures], float)
        columns = {
            "learnt from": np.array(arms),
            task.measure: np.array([figure.value for figure in figures]),
            "lower end of 95 %": ends[:, 0],
            "upper end of 95 %": ends[:, 1],
        }
        charts.append(plots.showBars(columns, name=f"{task.title} of {name}", yTitle=task.measure, folder=item))
    return {
        "folder": folder,
        "table": scene.showTable(readColumns(folder / TABLE_FILE), name=f"{name} scores", folder=item),
        "charts": charts,
        "picture": scene.showPicture(folder / PICTURE_FILE, name=f"{name} picture", folder=item),
        "rows": rows,
        "findings": [sentence for task in result.tasks.values() for sentence in task.findings],
        "warnings": result.warnings,
        "left_out": result.left_out,
    }
