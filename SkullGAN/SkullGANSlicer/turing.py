"""The visual test for Slicer's Python console and for the panel: make it, take it, mark it; what the red view shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util

from SkullGANLib.jobs import Job

from . import inputs, plots, reports, scene, views
from .running import Finished, JobRunner

if TYPE_CHECKING:
    from SkullGANLib.evaluate.turing_answers import Session

MAKE, MARK = "Visual test", "Visual test result"  # titles of the jobs
IMAGE_NAME = "Visual test"
RED, ONE_UP = "Red", slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView


class VisualTests(JobRunner):
    """The part of the logic that is about visual tests."""

    def makeTest(
        self,
        real: Any,
        synthetic: Any,
        out: str | Path,
        *,
        count: int = 100,
        seed: int = 0,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> Path | Job:
        """Draw and shuffle images of two sets and write the folder of a visual test.

        Args:
            real, synthetic: data set, its folder, a ``.npy`` array or a volume node of segments. Of a real set that is
                split the test part is used.
            out: folder; a test that is there already is never replaced. The key, which readers must not have, is
                written beside it.
            count: images, half of them from each set.
            seed: of the draw.
            wait, finished: see ``prepare``.

        Returns:
            The folder; ``test.html`` in it is the test for readers without Slicer.
        """
        out = Path(out).expanduser()
        folders = [inputs.datasetFolder(each, self.temporary) for each in (real, synthetic)]
        arguments = ["turing", "make", "--real", folders[0], "--synthetic", folders[1], "--out", out]
        arguments += ["--count", str(count), "--seed", str(seed)]
        return self._run(MAKE, arguments, lambda result: out, wait, finished)

    def takeTest(self, test: str | Path, reader: str) -> Session:
        """One reader's way through a test: ``image`` to be shown, ``answer("real")``, ``undo()``; see ``Session``.

        Each answer is on disk at once; the next call goes on at the first image without one.
        """
        from SkullGANLib.evaluate.turing import VisualTest
        from SkullGANLib.evaluate.turing_answers import Session

        return Session(VisualTest.open(Path(test).expanduser()), reader)

    def markTest(
        self,
        test: str | Path,
        *,
        key: str | Path | None = None,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> dict[str, Any] | Job:
        """Mark the answers of all readers; files in the folder of the test, table, plot and picture in the scene.

        Args:
            test: folder.
            key: file of the key; beside the folder if not given.
            wait, finished: see ``prepare``.

        Returns:
            ``words`` and ``warnings`` to sentences, and once a reader has finished ``table``, ``plot`` and ``picture``
            to nodes.
        """
        test = Path(test).expanduser()
        arguments = ["turing", "result", test, *inputs.flags({"key": key})]

        def load(result: dict[str, Any]) -> dict[str, Any]:
            shown = {"words": result.get("words", []), "warnings": result.get("warnings", []), **showResult(test)}
            self.shown("visual test", shown)
            return shown

        return self._run(MARK, arguments, load, wait, finished)


class ShownImage:
    """The image that a reader sees: one node of the scene, used again for each, alone in the red view."""

    def __init__(self) -> None:
        self._node: Any = None
        self._before: Any = None  # what the red view and the layout showed

    @property
    def visible(self) -> bool:
        """Whether the image is in the scene and the red view shows it."""
        composite = _red()
        return (
            self._node is not None
            and bool(slicer.mrmlScene.IsNodePresent(self._node))
            and (composite is None or composite.GetBackgroundVolumeID() == self._node.GetID())
        )

    def show(self, hu: np.ndarray, spacing_mm: float) -> None:
        """Show (H, W) HU in the fixed window; neither node nor view says anything else of it."""
        composite = _red()
        if self._node is None or not slicer.mrmlScene.IsNodePresent(self._node):
            self._before = self._before or _layers(composite)
            self._node = scene.showSegments(np.asarray(hu), spacing_mm, name=IMAGE_NAME)
            self._node.SetAttribute(inputs.KIND_ATTRIBUTE, "visual test")
            self._node.GetDisplayNode().SetInterpolate(True)
            for node in (self._node, self._node.GetDisplayNode()):
                node.SetSaveWithScene(False)  # where the test stands is in its folder
            manager = slicer.app.layoutManager()
            if manager is not None:
                manager.setLayout(ONE_UP)
        else:
            slicer.util.updateVolumeFromArray(self._node, np.asarray(hu)[None])
        self._node.GetDisplayNode().SetWindowLevelMinMax(*scene.BONE_HU)
        if composite is not None:
            composite.SetBackgroundVolumeID(self._node.GetID())
            composite.SetForegroundVolumeID(None)
            composite.SetLabelVolumeID(None)
        views.jumpToSlice(self._node, 0, fit=True)

    def remove(self) -> None:
        """Take the image out of the scene and give layout and red view back what they showed before."""
        if self._before is None or slicer.mrmlScene.IsClosing():  # then it is called again after that
            return
        node, before, self._node, self._before = self._node, self._before, None, None
        if slicer.mrmlScene.IsNodePresent(node):
            slicer.mrmlScene.RemoveNode(node)
        composite = _red()
        if composite is not None:
            still = [volume if volume and slicer.mrmlScene.GetNodeByID(volume) else None for volume in before[1:]]
            composite.SetBackgroundVolumeID(still[0])
            composite.SetForegroundVolumeID(still[1])
            composite.SetLabelVolumeID(still[2])
        manager = slicer.app.layoutManager()
        if manager is not None and manager.layout == ONE_UP:
            manager.setLayout(before[0])


def showResult(test: Path) -> dict[str, Any]:
    """The result of a test as nodes: ``table``, ``plot``, ``picture``; nothing before a reader has finished."""
    picture = test / "result.png"
    if not picture.is_file():
        return {}
    folder = scene.makeFolder(f"SkullGAN visual test {test.name}")
    columns = reports.readColumns(test / "result.csv")
    return {
        "table": scene.showTable(columns, name=f"{test.name} result", folder=folder),
        "plot": _plot(columns, test.name, folder),
        "picture": scene.showPicture(picture, name=f"{test.name} picture", folder=folder),
    }


def _plot(columns: dict[str, np.ndarray], name: str, folder: int) -> Any:
    """A bar for the accuracy of each reader, and the line of guessing."""
    rows = columns["figure"] == "accuracy"
    values = {"reader": columns["reader"][rows], "right answers": columns["value"][rows]}
    values["guessing"] = np.full(int(rows.sum()), 0.5)
    return plots.showBars(values, name=f"{name} accuracy", yTitle="share of right answers", folder=folder)


def _red() -> Any:
    """What the red view shows; None without views."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return next((node for node in nodes if node.GetLayoutName() == RED), None)


def _layers(composite: Any) -> tuple[Any, ...]:
    """Layout, and the volumes in the background, foreground and label layer of the red view."""
    manager = slicer.app.layoutManager()
    layout = None if manager is None else manager.layout
    if composite is None:
        return layout, None, None, None
    return (
        layout,
        composite.GetBackgroundVolumeID(),
        composite.GetForegroundVolumeID(),
        composite.GetLabelVolumeID(),
    )
