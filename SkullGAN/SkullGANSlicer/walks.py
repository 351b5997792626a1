"""Smooth walks for Slicer's Python console and for the panel: a video on disk, and its frames to play in the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util

from SkullGANLib.jobs import Job

from . import inputs, scene, views
from .results import Run
from .running import Finished, JobRunner

WALK = "Walk"  # title of the job
KIND, VIDEO_ATTRIBUTE = "walk", "SkullGAN.video"


class Walks(JobRunner):
    """The part of the logic that shows what lies between the images that a model draws."""

    def walk(
        self,
        model: str | Path | Run,
        out: str | Path | None = None,
        *,
        classes: Sequence[str] | str = (),
        frames: int = 120,
        per_second: float = 20.0,
        seed: int = 0,
        window_hu: Sequence[float] | None = None,
        device: str = "auto",
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> tuple[Any, Any] | Job:
        """Draw images along a smooth walk as a video, and put its frames into the scene, to be played there.

        Args:
            model: model folder, run of ``train`` or name of a model that comes along, one that draws segments.
            out: ``.mp4``, or an animated and lossless ``.png``; a temporary ``.mp4`` if not given.
            classes: of a model with classes, those to pass in their order, or one to stay in; ``"all"`` for every one.
            frames: images.
            per_second: how many of them, 0.5 to 60.
            seed: of the walk; where no class is given, also of the one it stays in.
            window_hu: HU shown black and white; the model's window if not given.
            device, overwrite, wait, finished: see ``train`` and ``prepare``.

        Returns:
            Volume node of one slice that shows a frame, and sequence browser node that chooses which one and plays
            them, in HU.

        Raises:
            InputError: a class that the model does not know, or a file that is no video or is there already.
        """
        model = model.model if isinstance(model, Run) else Path(model).expanduser()
        out = self.temporary("walk.mp4") if out is None else Path(out).expanduser()
        arguments = ["walk", "--model", model, *inputs.classFlags(classes), "--frames", str(frames)]
        arguments += ["--per-second", str(per_second), "--seed", str(seed), "--device", device, "--out", out]
        frames_hu = self.temporary("walk.npy")
        arguments += ["--hu", frames_hu]
        if window_hu is not None:
            arguments += ["--window-hu", *(str(value) for value in window_hu)]
        arguments += inputs.flags({"overwrite": overwrite})

        def load(result: dict[str, Any]) -> tuple[Any, Any]:
            hu = np.rint(np.load(frames_hu)).astype(np.int16)
            name = slicer.mrmlScene.GenerateUniqueName(f"Walk {inputs.nameOf(model)}, seed {seed}")
            said = {inputs.KIND_ATTRIBUTE: KIND, VIDEO_ATTRIBUTE: str(out.resolve())}
            spacing_mm = result["spacing_mm"]
            volume, browser = showFrames(hu, spacing_mm, name=name, per_second=per_second, attributes=said)
            views.showVolume(volume)
            views.jumpToSlice(volume, 0)
            showPlayer(browser)
            return volume, browser

        return self._run(WALK, arguments, load, wait, finished)


def showFrames(
    hu: np.ndarray, spacing_mm: float, *, name: str, per_second: float, attributes: Mapping[str, str]
) -> tuple[Any, Any]:
    """Put the frames of a video into the scene.

    Args:
        hu: (n, rows, columns) HU.
        spacing_mm: of the pixels.
        name: of the volume node and of the subject hierarchy folder.
        per_second: frames, when played.
        attributes: of the volume node, with every frame.

    Returns:
        ``vtkMRMLScalarVolumeNode`` of one slice, upright in the axial view, showing the first frame, and
        ``vtkMRMLSequenceBrowserNode``, whose ``SetSelectedItemNumber`` shows another one.
    """
    volume = scene.showSegments(hu[:1], spacing_mm, name=name, folder=scene.makeFolder(f"SkullGAN {name}"))
    for attribute, value in attributes.items():  # before the frames are copies of it, which bring theirs back
        volume.SetAttribute(attribute, value)
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{name} frames")
    sequence.SetIndexName("frame")
    sequence.SetIndexUnit("")
    for number, frame in enumerate(hu):
        slicer.util.updateVolumeFromArray(volume, frame[None])
        sequence.SetDataNodeAtValue(volume, str(number))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} player")
    browser.AddProxyNode(volume, sequence, False)  # the volume shows the frames, with the window it has
    browser.SetPlaybackRateFps(per_second)
    browser.SetSelectedItemNumber(0)
    return volume, browser


def showPlayer(browser: Any) -> None:
    """Let Slicer's toolbar for sequences play these frames; without a main window there is no toolbar."""
    application = getattr(slicer, "app", None)
    if application is not None and slicer.util.mainWindow() is not None:
        slicer.modules.sequences.toolBar().setActiveBrowserNode(browser)
        slicer.modules.sequences.setToolBarVisible(True)
