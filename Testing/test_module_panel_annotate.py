"""Labelled images in the panel: when each step can be taken, and what it starts."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from test_module_panel import makeDesk, tip
from test_module_panel_volumes import options

from SkullGANLib.files import write_json
from SkullGANLib.segments.dataset import SegmentDataset

desk = pytest.fixture(makeDesk)


@pytest.fixture
def ui(desk):
    desk.open()
    desk.parameters.model, desk.parameters.modelPath = "folder", str(desk.model())
    desk.ui.generateCollapsibleButton.collapsed = desk.ui.annotateCollapsibleButton.collapsed = False
    return desk.ui


def images(desk, masks=None):
    hu = np.zeros((3, 64, 64), np.int16)
    hu[:, 20:30] = 1000
    given = {} if masks is None else {"masks": {"painted": masks}, "labels": {"painted": {1: "bone"}}}
    return SegmentDataset.create(desk.folder / "made", hu, None, kind="synthetic", spacing_mm=0.9, **given).path


COPY = "import shutil\nshutil.copytree(%r, arguments[arguments.index('--out') + 1])\n"


def test_each_step_says_what_it_waits_for(desk, ui):
    assert ui.annotateButton.enabled
    assert tip(ui.learnLabelsButton) == "Choose the images that were painted."
    assert "labeller" in tip(ui.generateLabelledButton)
    desk.parameters.paintedLabels = " , "
    assert tip(ui.annotateButton) == "Name what is to be painted."
    desk.parameters.modelPath = str(desk.folder / "nowhere")
    assert not ui.annotateButton.enabled


def test_annotate_puts_images_and_an_empty_segmentation_into_the_choices(desk, ui):
    ui.paintedLabelsLineEdit.text = "bone, air cells"
    desk.parameters.paintedCount, desk.parameters.seed = 3, 7
    desk.script("label", COPY % str(images(desk)))
    desk.press(ui.annotateButton)
    assert desk.errors == []
    (call,) = desk.calls("label")
    assert call[1] == "images"
    assert (options(call)["--count"], options(call)["--seed"]) == ("3", "7")
    segmentation = desk.parameters.paintedSegmentation.GetSegmentation()
    assert [segmentation.GetNthSegment(k).GetName() for k in range(2)] == ["bone", "air cells"]
    assert desk.parameters.paintedVolume.GetImageData().GetDimensions() == (64, 64, 3)
    assert "Segment Editor" in ui.annotateLabel.text
    assert tip(ui.learnLabelsButton).startswith("Learn to label")


def test_labelled_images_are_drawn_with_the_labeller_chosen_and_counted(desk, ui):
    folder = desk.folder / "labeller"
    folder.mkdir()
    write_json(folder / "labeller.json", {})
    desk.parameters.labellerPath, desk.parameters.labelledCount, desk.parameters.seed = str(folder), 3, 7
    masks = np.zeros((3, 64, 64), np.uint8)
    masks[:, 20:30] = 1
    desk.script("label", COPY % str(images(desk, masks)))
    volume, labels, _ = desk.press(ui.generateLabelledButton).value
    given = options(desk.calls("label")[0])
    assert (given["--labeller"], given["--count"], given["--seed"]) == (str(folder), "3", "8")
    segment_id = labels.GetSegmentation().GetSegmentIdBySegmentName("bone")
    shown = slicer.util.arrayFromSegmentBinaryLabelmap(labels, segment_id, volume)
    np.testing.assert_array_equal(shown > 0, masks > 0)
