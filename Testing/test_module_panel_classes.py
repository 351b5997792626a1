"""The table of section 3 that says which classes are drawn, and how many images of each."""

from __future__ import annotations

import json

import pytest
from test_module_panel import cells, makeDesk, tip
from test_module_panel_generate import CONDITIONS, rows

import slicer_host

desk = pytest.fixture(makeDesk)

NAMES = ["parietal/left", "temporal/left", "x=3"]
CLASSES = {"class": {"kind": "category", "values": NAMES, "share": [0.5, 0.3, 0.2]}}


def opened(desk, **facts):
    """The panel with a model of three classes chosen; gives its widgets."""
    ui = desk.ready()
    ui.generateCollapsibleButton.collapsed = False
    desk.parameters.modelPath = str(desk.model("with classes", conditions=CLASSES | facts))
    desk.script("generate", "sys.exit(2)")
    return ui


def check(ui, row: int, checked: bool = True) -> None:
    """What a click into the check box of a row does."""
    import qt

    ui.classesTable.item(row, 0).setCheckState(qt.Qt.Checked if checked else qt.Qt.Unchecked)


def checked(ui) -> list[str]:
    import qt

    items = [ui.classesTable.item(row, 0) for row in range(ui.classesTable.rowCount)]
    return [item.text() for item in items if item.checkState() == qt.Qt.Checked]


def asked(desk) -> list[str]:
    """The classes that the newest child of Generate was asked for."""
    desk.press(desk.ui.generateButton)
    call = desk.calls("generate")[-1]
    return [call[i + 1] for i, word in enumerate(call) if word == "--class"]


def test_only_a_model_with_classes_has_a_table_of_them(desk):
    ui = opened(desk, **CONDITIONS)
    assert ui.classesWidget.visible
    assert cells(ui.classesTable) == [["class", "number"], *([name, ""] for name in NAMES)]
    assert list(rows(desk)) == ["region:", "thickness (mm):", "SDR:"]  # and no second place to ask for a class
    desk.parameters.modelPath = str(desk.model("without", conditions=CONDITIONS))
    assert not ui.classesWidget.visible
    numbers = {"class": CONDITIONS["sdr"]}  # a condition of that name which is no class
    desk.parameters.modelPath = str(desk.model("of numbers", conditions=numbers))
    assert not ui.classesWidget.visible
    assert list(rows(desk)) == ["class:"]


def test_without_a_checked_class_none_is_asked_for(desk):
    ui = opened(desk)
    assert checked(ui) == []
    assert ui.classesLabel.text == "No class is checked: they come as often as in the training set."
    assert asked(desk) == []


def test_several_classes_are_drawn_at_once_each_with_its_number(desk):
    ui = opened(desk)
    ui.countSpinBox.value = 20
    check(ui, 2)
    check(ui, 0)
    assert cells(ui.classesTable)[1:] == [["parietal/left", "20"], ["temporal/left", ""], ["x=3", "20"]]
    assert ui.classesLabel.text == "40 segments of 2 classes."
    ui.classesTable.item(1, 1).setText("50")  # a number checks its class
    assert checked(ui) == NAMES
    assert ui.classesLabel.text == "90 segments of 3 classes."
    assert asked(desk) == ["parietal/left", "temporal/left=50", "x=3"]
    ui.countSpinBox.value = 30
    assert [row[1] for row in cells(ui.classesTable)[1:]] == ["30", "50", "30"]
    check(ui, 2, False)
    check(ui, 0, False)
    assert ui.classesLabel.text == "50 segments of one class."
    assert asked(desk) == ["temporal/left=50"]


@pytest.mark.parametrize("text", ["", "0", "-5", "many", "2.5"])
def test_what_is_no_number_stands_for_the_count(desk, text):
    ui = opened(desk)
    ui.classesTable.item(0, 1).setText("50")
    ui.classesTable.item(0, 1).setText(text)
    assert cells(ui.classesTable)[1] == ["parietal/left", "64"]
    ui.classesTable.item(1, 1).setText(text)  # not checked
    assert cells(ui.classesTable)[2] == ["temporal/left", ""]
    assert asked(desk) == ["parietal/left"]


def test_all_classes_are_checked_and_unchecked_with_one_button_each(desk):
    ui = opened(desk)
    ui.classesTable.item(0, 1).setText("50")
    ui.allClassesButton.click()
    assert checked(ui) == NAMES
    assert asked(desk) == ["parietal/left=50", "temporal/left", "x=3"]
    ui.noClassesButton.click()
    assert checked(ui) == []
    assert json.loads(desk.parameters.classes) == {}


def test_what_was_checked_is_checked_again_when_the_model_is_chosen_again(desk):
    ui = opened(desk)
    first = desk.parameters.modelPath
    ui.classesTable.item(0, 1).setText("50")
    check(ui, 1)
    other = {"class": {**CLASSES["class"], "values": ["heart", "temporal/left", "vessel"]}}
    desk.parameters.modelPath = str(desk.model("other", conditions=other))
    assert checked(ui) == ["temporal/left"]  # which that model knows, too
    check(ui, 2)
    assert asked(desk) == ["temporal/left", "vessel"]
    desk.parameters.modelPath = first
    assert checked(ui) == ["parietal/left", "temporal/left"]
    assert asked(desk) == ["parietal/left=50", "temporal/left"]


@pytest.mark.parametrize("text", ["", "no json", "null", '["x=3"]', '{"x=3": -1, "temporal/left": "2", "y": 4}'])
def test_classes_of_a_scene_that_make_no_sense_are_passed_over(desk, text):
    ui = opened(desk)
    desk.parameters.classes = text
    assert checked(ui) == []
    assert asked(desk) == []


def test_a_saved_scene_brings_the_classes_back(desk):
    import slicer

    ui, scene = opened(desk), slicer.mrmlScene
    ui.classesTable.item(1, 1).setText("7")
    scene.SetURL(str(desk.folder / "scene.mrml"))
    assert scene.Commit() == 1
    scene.Clear(0)
    assert desk.parameters.classes == "{}"
    scene.Import()
    assert checked(ui) == ["temporal/left"]
    assert cells(ui.classesTable)[2] == ["temporal/left", "7"]


def test_whatever_is_touched_while_the_scene_is_being_closed_nothing_is_raised(desk):
    import slicer

    ui, scene = opened(desk), slicer.mrmlScene

    def touch(caller, event):
        check(ui, 0)
        ui.allClassesButton.click()
        ui.classesTable.item(1, 1).setText("5")

    tag = scene.AddObserver(scene.StartCloseEvent, touch, -1.0)
    scene.Clear(0)
    scene.RemoveObserver(tag)
    slicer_host.checkSlots()
    assert desk.parameters.classes == "{}"


def test_classes_drawn_are_told_in_the_table(desk):
    ui = opened(desk)
    made = desk.dataset("made", "synthetic", asked_class=["temporal/left", "x=3", "x=3"]).path
    desk.script("generate", f"hand({str(made)!r}, segments=3)")
    ui.allClassesButton.click()
    asked(desk)
    heading, *values = cells(ui.segmentsTable)
    assert [row[heading.index("asked class")] for row in values] == ["temporal/left", "x=3", "x=3"]


def test_labelled_images_are_drawn_of_the_checked_classes_too(desk):
    ui = opened(desk)
    (desk.folder / "home" / "labeller-1").mkdir(parents=True)
    (desk.folder / "home" / "labeller-1" / "labeller.json").write_text("{}")
    ui.classesTable.item(0, 1).setText("5")
    check(ui, 1)
    desk.script("label", "sys.exit(2)")
    desk.press(ui.generateLabelledButton)
    call = desk.calls("label")[-1]
    assert [call[i + 1] for i, word in enumerate(call) if word == "--class"] == ["parietal/left=5", "temporal/left"]


def variety(desk, button, command: str) -> dict[str, str]:
    """What the newest child was told of the variety of the images."""
    desk.script(command, "sys.exit(2)")
    desk.press(button)
    call = desk.calls(command)[-1]
    return {word: call[i + 1] for i, word in enumerate(call) if word in ("--truncation", "--centres")}


def test_less_variety_is_asked_for_of_segments_and_of_labelled_images(desk):
    ui = opened(desk)
    (desk.folder / "home" / "labeller-1").mkdir(parents=True)
    (desk.folder / "home" / "labeller-1" / "labeller.json").write_text("{}")
    buttons = {"generate": ui.generateButton, "label": ui.generateLabelledButton}
    assert (ui.varietySpinBox.value, ui.varietySpinBox.suffix) == (100, " %")
    assert (ui.centresSpinBox.value, ui.centresSpinBox.enabled) == (1, False)
    assert tip(ui.centresSpinBox) == "Images keep all their variety: choose less than 100 % first."
    assert [variety(desk, button, command) for command, button in buttons.items()] == [{}, {}]
    ui.varietySpinBox.value = 70
    assert ui.centresSpinBox.enabled
    assert tip(ui.centresSpinBox).startswith("How many middles each class has")
    ui.centresSpinBox.value = 3
    told = {"--truncation": "0.7", "--centres": "3"}
    assert [variety(desk, button, command) for command, button in buttons.items()] == [told, told]
    ui.varietySpinBox.value = 0
    assert variety(desk, ui.generateButton, "generate") == {"--truncation": "0.0", "--centres": "3"}


def test_of_a_model_without_classes_no_variety_is_asked_for(desk):
    ui = opened(desk)
    ui.varietySpinBox.value = 70
    desk.parameters.modelPath = str(desk.model("without", conditions=CONDITIONS))
    assert not ui.varietySpinBox.visible
    assert variety(desk, ui.generateButton, "generate") == {}
