"""Smooth walks in the module's logic: the video, and frames that Slicer's own sequences play; with real children."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from slicer import util
from test_labelling import CLASSES, tiny

import slicer_host
from SkullGANLib.errors import SkullGANError
from SkullGANLib.generate.classes import draw_between
from SkullGANLib.models.folder import load_model
from standins.application import Strict


class ToolBar(Strict):
    standsFor = "qMRMLSequenceBrowserToolBar"
    _active = None

    def setActiveBrowserNode(self, node):
        self._active = node


class Sequences(Strict):
    """The module Sequences: its own logic on the scene, and a toolbar that remembers what it was given."""

    standsFor = "qSlicerSequencesModule"

    def __init__(self):
        self._logic, self._bar, self._shown = slicer.vtkSlicerSequencesLogic(), ToolBar(), False
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(slicer.mrmlScene)

    def logic(self):
        return self._logic

    def toolBar(self):
        return self._bar

    def setToolBarVisible(self, visible):
        self._shown = visible


def makeSequences(monkeypatch):
    """3D Slicer's module for one test."""
    slicer_host.start(gui=False)
    module = Sequences()
    monkeypatch.setattr(slicer.modules, "sequences", module, raising=False)
    yield module
    slicer.mrmlScene.Clear(0)
    module.logic().SetMRMLScene(None)


sequences = pytest.fixture(makeSequences)


@pytest.fixture
def model(tmp_path):
    tiny(tmp_path / "model")
    return tmp_path / "model"


def frames(volume, browser) -> np.ndarray:
    """What the volume shows as the browser goes through its items."""
    shown = []
    for number in range(browser.GetNumberOfItems()):
        browser.SetSelectedItemNumber(number)
        shown.append(util.arrayFromVolume(volume)[0].copy())
    return np.stack(shown)


def test_the_frames_of_the_video_are_those_of_the_walk_in_hounsfield_units(logic, sequences, model, tmp_path):
    asked = [CLASSES[0], CLASSES[2]]
    given = {"classes": asked, "frames": 7, "per_second": 12, "seed": 3, "device": "cpu"}
    volume, browser = logic.walk(model, tmp_path / "walk.png", **given)
    true = draw_between(load_model(model), asked, 7, seed=3, device="cpu")
    np.testing.assert_array_equal(frames(volume, browser), np.rint(true))
    assert volume.GetSpacing()[:2] == (0.45, 0.45)
    assert browser.GetPlaybackRateFps() == 12
    assert volume.GetAttribute("SkullGAN.video") == str(tmp_path / "walk.png")
    assert volume.GetAttribute("SkullGAN.kind") == "walk"  # whichever frame it shows


def test_slicer_plays_the_frames_in_one_volume_that_is_shown_first_to_last(logic, sequences, model):
    volume, browser = logic.walk(model, frames=4, device="cpu")
    assert util.getNodesByClass("vtkMRMLScalarVolumeNode") == [volume]
    assert browser.GetSelectedItemNumber() == 0
    (sequence,) = util.getNodesByClass("vtkMRMLSequenceNode")
    assert browser.GetProxyNode(sequence) is volume
    first, window = util.arrayFromVolume(volume).copy(), volume.GetDisplayNode().GetWindow()
    browser.SetPlaybackActive(True)
    browser.SelectNextItem(2)
    assert not np.array_equal(first, util.arrayFromVolume(volume))
    np.testing.assert_array_equal(util.arrayFromVolume(volume), util.arrayFromVolume(sequence.GetNthDataNode(2)))
    assert volume.GetDisplayNode().GetWindow() == window == 2700
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetBackgroundVolumeID() == volume.GetID()
    assert (sequences.toolBar()._active, sequences._shown) == (None, False)  # there is no window to have a toolbar


def test_a_saved_scene_brings_the_frames_back(logic, sequences, model, tmp_path):
    volume, browser = logic.walk(model, frames=3, device="cpu")
    before, scene = frames(volume, browser), slicer.mrmlScene
    sequence = browser.GetMasterSequenceNode()
    for node, name in ((volume, "frame.nrrd"), (sequence, "frames.seq.nrrd")):
        node.AddDefaultStorageNode()
        assert node.GetStorageNode().IsA("vtkMRMLVolumeSequenceStorageNode") == (node is sequence)
        node.GetStorageNode().SetFileName(str(tmp_path / name))
        assert node.GetStorageNode().WriteData(node) == 1
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit() == 1
    scene.Clear(0)
    assert scene.Import() == 1
    browser = scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    volume = browser.GetProxyNode(browser.GetMasterSequenceNode())
    np.testing.assert_array_equal(frames(volume, browser), before)


def test_a_model_that_comes_along_is_known_by_its_name(logic, sequences):
    volume, browser = logic.walk("phantom-small", frames=2, device="cpu")
    assert util.arrayFromVolume(volume).shape == (1, 128, 128)
    assert volume.GetSpacing()[:2] == (0.45, 0.45)
    assert browser.GetNumberOfItems() == 2
    assert volume.GetName() == "Walk phantom-small, seed 0"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"classes": ["PET"]}, "knows no class 'PET'"),
        ({"classes": {"MR": 3}}, "passes each class once"),
        ({"frames": 1}, "not in the range"),
        ({"out": "walk.gif"}, "is no video"),
    ],
)
def test_what_makes_no_walk_is_refused_in_words(logic, sequences, model, given, words):
    with pytest.raises(SkullGANError, match=words):
        logic.walk(model, device="cpu", **given)
    assert util.getNodesByClass("vtkMRMLSequenceBrowserNode") == []


def test_a_file_that_is_there_is_replaced_only_when_asked(logic, sequences, model, tmp_path):
    (tmp_path / "walk.png").write_bytes(b"kept")
    with pytest.raises(SkullGANError, match="is there already"):
        logic.walk(model, tmp_path / "walk.png", frames=2, device="cpu")
    assert (tmp_path / "walk.png").read_bytes() == b"kept"
    logic.walk(model, tmp_path / "walk.png", frames=2, device="cpu", overwrite=True)
