"""The group of section 3 that makes a video of a smooth walk and plays it in Slicer."""

from __future__ import annotations

from pathlib import Path

import pytest
import slicer
from test_labelling import CLASSES, tiny
from test_module_panel import makeDesk, tip
from test_module_panel_classes import check, opened
from test_module_panel_volumes import options
from test_module_walk import makeSequences

import slicer_host

desk = pytest.fixture(makeDesk)
sequences = pytest.fixture(makeSequences)

TIP = "Draw the images of the walk, write them as a video, and play them in the scene."


def asked(desk) -> list[str]:
    """The classes that the newest walk passes."""
    call = desk.calls("walk")[-1]
    return [call[i + 1] for i, word in enumerate(call) if word == "--class"]


def test_a_video_is_made_by_the_button_and_played_by_the_toolbar(sequences, desk):
    tiny(desk.folder / "model")
    ui = desk.open().ui
    desk.real.add("walk")
    desk.parameters.model, desk.parameters.modelPath = "folder", str(desk.folder / "model")
    desk.parameters.device = "cpu"
    ui.generateCollapsibleButton.collapsed = ui.walkCollapsibleButton.collapsed = False
    ui.walkFramesSpinBox.value, ui.walkPerSecondSpinBox.value = 4, 10
    check(ui, 0)
    check(ui, 2)
    assert ui.walkWayLabel.text == f"From {CLASSES[0]} to {CLASSES[2]}."
    path = desk.folder / "walk.png"
    slicer_host.answers["getSaveFileName"] = str(path)
    volume, browser = desk.press(ui.walkButton).value
    browser.SetSelectedItemNumber(3)
    from SkullGANSlicer.panel import isHead

    assert not isHead(volume)  # which a new scene would offer to cut
    assert desk.errors == []
    assert path.is_file()
    assert (browser.GetNumberOfItems(), browser.GetPlaybackRateFps()) == (4, 10)
    assert (sequences.toolBar()._active, sequences._shown) == (browser, True)
    assert ui.walkLabel.text == f"The video is {path}. The toolbar Sequence browser plays its frames here."
    slicer.mrmlScene.Clear(0)
    assert ui.walkLabel.text == ""


def test_the_choices_of_the_panel_reach_the_child(desk):
    ui = opened(desk)
    desk.script("walk", "sys.exit(2)")
    slicer_host.answers["getSaveFileName"] = str(desk.folder / "walk.mp4")
    assert ui.walkWayLabel.text == "No class is checked above: it stays in one, drawn by the seed."
    desk.press(ui.walkButton)
    (_, (_window, caption, offered, kinds)) = next(each for each in slicer_host.shown if each[0] == "getSaveFileName")
    assert (caption, kinds) == ("Save the video", "Video (*.mp4);;Animated picture (*.png)")
    assert Path(offered) == desk.folder / "home" / "walk.mp4"
    given = options(desk.calls("walk")[-1])
    assert (given["--model"], given["--out"]) == (desk.parameters.modelPath, str(desk.folder / "walk.mp4"))
    assert (given["--frames"], given["--per-second"], given["--seed"]) == ("120", "20", "0")
    assert "--overwrite" in desk.calls("walk")[-1]  # the dialog has asked
    assert asked(desk) == []
    ui.seedSpinBox.value = 7
    ui.classesTable.item(2, 1).setText("50")  # a number says nothing here
    assert ui.walkWayLabel.text == "Stays in x=3."
    check(ui, 1)
    assert ui.walkWayLabel.text == "From temporal/left to x=3."
    desk.press(ui.walkButton)
    assert asked(desk) == ["temporal/left", "x=3"]
    many = {"class": {"kind": "category", "values": list("abcdefgh"), "share": [1] * 8}}
    desk.parameters.modelPath = str(desk.model("of many", conditions=many))
    ui.allClassesButton.click()
    assert ui.walkWayLabel.text == "From a through 6 classes to h."
    assert options(desk.calls("walk")[-1])["--seed"] == "7"


def test_a_name_without_a_suffix_is_that_of_an_mp4_which_the_dialog_has_not_asked_about(desk):
    ui = opened(desk)
    desk.script("walk", "sys.exit(2)")
    slicer_host.answers["getSaveFileName"] = str(desk.folder / "walk")
    desk.press(ui.walkButton)
    assert options(desk.calls("walk")[-1])["--out"] == str(desk.folder / "walk.mp4")
    assert "--overwrite" not in desk.calls("walk")[-1]


def test_a_dialog_that_is_closed_starts_nothing(desk):
    ui = opened(desk)
    slicer_host.answers["getSaveFileName"] = ""
    ui.walkButton.click()
    assert desk.logic.job is None
    assert (ui.walkButton.text, tip(ui.walkButton)) == ("Make video...", TIP)


def test_the_button_says_what_it_lacks_and_cancels_what_it_started(desk):
    ui = opened(desk)
    chosen = desk.parameters.modelPath
    for name, words in (
        ("nowhere", "There is no model in the folder that was chosen."),
        ("weights.pth", "Released weights have no card to tell what they draw: choose a model folder."),
    ):
        (desk.folder / "weights.pth").touch()
        desk.parameters.modelPath = str(desk.folder / name)
        assert (ui.walkButton.enabled, tip(ui.walkButton)) == (False, words)
    desk.parameters.modelPath = str(desk.model("without"))
    assert (ui.walkButton.enabled, ui.walkWayLabel.text) == (True, "From one image to another.")
    desk.parameters.modelPath = chosen
    slicer_host.answers["getSaveFileName"] = str(desk.folder / "walk.mp4")
    desk.waiting(ui.walkButton, "walk")
    assert ui.walkButton.text == "Cancel"
    assert tip(ui.generateButton) == "Walk is still running. Cancel it first."
    ui.walkButton.click()
    desk.idle()
    assert (ui.walkButton.text, ui.walkLabel.text, ui.jobLabel.text) == ("Make video...", "", "Walk: cancelled")
    assert desk.errors == []


def test_a_scene_closed_meanwhile_takes_no_frames(desk):
    ui = opened(desk)
    slicer_host.answers["getSaveFileName"] = str(desk.folder / "walk.mp4")
    desk.waiting(ui.walkButton, "walk", "say(result={'out': option('--out')})")
    slicer.mrmlScene.Clear(0)
    desk.release("go")
    desk.idle()
    assert desk.errors == []
    assert slicer.util.getNodesByClass("vtkMRMLSequenceNode") == []
    assert ui.walkLabel.text.startswith("The video is ")


def test_what_is_wrong_with_the_file_is_told_in_words_of_the_panel(desk):
    ui = opened(desk)
    desk.real.add("walk")
    slicer_host.answers["getSaveFileName"] = str(desk.folder / "walk.gif")
    desk.press(ui.walkButton)
    ((text, _),) = desk.errors
    assert text == f"{desk.folder / 'walk.gif'} is no video.\n\nGive the file a name that ends in .mp4 or .png."
