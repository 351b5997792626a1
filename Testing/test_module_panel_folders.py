"""The group of section 1 that imports folders of images, and makes classes of the columns of a data set."""

from __future__ import annotations

import numpy as np
import pytest
from test_module_panel import cells, makeDesk, tip

import slicer_host
from SkullGANLib.segments.sheet import write_png

desk = pytest.fixture(makeDesk)

TOLD = {"segments": 5, "classes": {"skull/left": 3, "skull/right": 2}, "notes": ["See --subject-pattern."]}


def opened(desk):
    """The panel with a folder of two classes chosen; gives its widgets."""
    for name in ("left", "right"):
        (desk.folder / "pictures" / "skull" / name).mkdir(parents=True)
        for k in range(2):
            picture = np.full((40, 40), 100 + 10 * k + 50 * (name == "left"), np.uint8)
            write_png(desk.folder / "pictures" / "skull" / name / f"{k}.png", picture)
    ui = desk.open().ui
    ui.prepareCollapsibleButton.collapsed = ui.foldersCollapsibleButton.collapsed = False
    ui.classFoldersPathLineEdit.currentPath = str(desk.folder / "pictures")
    return ui


def test_folders_are_imported_by_the_button_and_chosen_for_what_comes_next(desk):
    ui = opened(desk)
    desk.real.add("dataset")
    ui.classSizeSpinBox.value = 32
    desk.press(ui.importClassesButton)
    assert desk.errors == []
    folder = str(desk.folder / "home" / "classes-1")
    assert cells(ui.classCountsTable) == [["class", "images"], ["skull/left", "2"], ["skull/right", "2"]]
    assert ui.foldersLabel.text.startswith(f"4 images of 2 classes in {folder}.")
    assert '"Table of subjects" or "Subject pattern"' in ui.foldersLabel.text  # nothing says who is shown
    parameters = desk.parameters
    assert parameters.trainDataPath == parameters.realPath == parameters.classedPath == folder


def test_the_choices_of_the_panel_reach_the_child(desk):
    ui = opened(desk)
    desk.script("dataset", "sys.exit(2)")
    desk.press(ui.importClassesButton)
    source, out = str(desk.folder / "pictures"), str(desk.folder / "home" / "classes-1")
    assert desk.calls("dataset")[-1] == ["dataset", "import-classes", source, out, "--size", "128", "--overwrite"]
    ui.classSizeSpinBox.value, ui.classSpacingSpinBox.value = 256, 0.9
    ui.windowCheckBox.checked, ui.blackSpinBox.value, ui.whiteSpinBox.value = True, -500, 1500
    ui.subjectPatternLineEdit.text = r" p(\d+)"
    ui.dropDuplicatesCheckBox.checked = True
    desk.press(ui.importClassesButton)
    expected = ["--size", "256", "--window-hu", "-500", "1500", "--spacing", "0.9", "--subject-pattern", r"p(\d+)"]
    assert desk.calls("dataset")[-1][4:] == [*expected, "--duplicates", "drop", "--overwrite"]
    ui.subjectPatternLineEdit.text = ""
    ui.subjectsPathLineEdit.currentPath = "/some/who.csv"
    desk.press(ui.importClassesButton)
    call = desk.calls("dataset")[-1]
    assert call[call.index("--subjects") + 1] == "/some/who.csv"


def test_import_says_what_it_lacks(desk):
    ui = opened(desk)
    assert (ui.importClassesButton.enabled, tip(ui.importClassesButton)) == (True, "Make the data set.")
    assert (ui.blackSpinBox.enabled, ui.whiteSpinBox.enabled) == (False, False)
    ui.subjectPatternLineEdit.text, ui.subjectsPathLineEdit.currentPath = "x", "/who.csv"
    assert tip(ui.importClassesButton) == "Subjects come from a table or from file names, not from both."
    ui.subjectPatternLineEdit.text = " "
    ui.windowCheckBox.checked = True
    assert (ui.blackSpinBox.enabled, ui.whiteSpinBox.enabled) == (True, True)
    assert ui.importClassesButton.enabled
    ui.whiteSpinBox.value = -1000
    assert tip(ui.importClassesButton) == "White stands for more HU than black."
    ui.windowCheckBox.checked = False
    ui.classSetPathLineEdit.currentPath = ""
    assert tip(ui.importClassesButton) == "Choose a folder for the data set."
    ui.classFoldersPathLineEdit.currentPath = "/nowhere"
    assert tip(ui.importClassesButton) == "Choose the folder with a folder of images for each class."
    assert not ui.importClassesButton.enabled


def test_pattern_and_columns_follow_their_parameters(desk):
    ui = opened(desk)
    for widget, name in ((ui.subjectPatternLineEdit, "subjectPattern"), (ui.classColumnsLineEdit, "classColumns")):
        assert widget.text == getattr(desk.parameters, name)
        widget.text = "typed"
        assert getattr(desk.parameters, name) == "typed"
        setattr(desk.parameters, name, "set")
        assert widget.text == "set"


def test_replacing_a_data_set_is_asked_first(desk):
    ui = opened(desk)
    ui.classSetPathLineEdit.currentPath = str(desk.dataset("there").path)
    slicer_host.answers["confirmYesNoDisplay"] = False
    ui.importClassesButton.click()
    assert desk.logic.job is None
    assert "holds a data set of 3 real segments. Replace it?" in slicer_host.shown[-1][1]


def test_an_import_can_be_cancelled_and_a_second_one_forgets_what_the_first_told(desk):
    ui = opened(desk)
    folder = str(desk.dataset("made").path)
    desk.script("dataset", f"say(result={TOLD | {'dataset': folder}!r})")
    ui.classSetPathLineEdit.currentPath = folder
    desk.press(ui.importClassesButton)
    assert ui.foldersLabel.text == f'5 images of 2 classes in {folder}. See "Subject pattern".'
    assert ui.classCountsTable.visible
    desk.waiting(ui.importClassesButton, "dataset")
    assert (ui.foldersLabel.text, ui.classCountsTable.visible) == ("", False)
    assert ui.importClassesButton.text == "Cancel"
    ui.importClassesButton.click()
    desk.idle()
    assert ui.importClassesButton.text == "Import"
    assert desk.errors == []


def test_columns_of_a_data_set_become_classes_and_replacing_some_is_asked_first(desk):
    from SkullGANLib.segments.dataset import SegmentDataset

    ui = opened(desk)
    assert tip(ui.makeClassesButton) == "Choose the data set that is to get classes."
    desk.real.add("dataset")
    dataset = desk.dataset("set", side=np.array(["left", "right", ""]))
    ui.classedPathLineEdit.currentPath = str(dataset.path)
    ui.classColumnsLineEdit.text = " , "
    assert tip(ui.makeClassesButton) == "Name the columns that make a class."
    ui.classColumnsLineEdit.text = "region,side"
    desk.press(ui.makeClassesButton)
    assert desk.errors == []
    assert SegmentDataset.open(dataset.path).table["class"].tolist() == ["temporal/left", "temporal/right", ""]
    rows = cells(ui.classCountsTable)[1:]
    assert sorted(rows) == [["temporal/left", "1"], ["temporal/right", "1"], ["without a class", "1"]]
    assert ui.foldersLabel.text == f"3 images of 2 classes in {dataset.path}."
    assert desk.parameters.trainDataPath == str(dataset.path)
    slicer_host.answers["confirmYesNoDisplay"] = False
    before = desk.logic.job
    ui.makeClassesButton.click()
    assert desk.logic.job is before
    assert slicer_host.shown[-1][1] == f"{dataset.path} has classes. Replace them?"
    slicer_host.answers["confirmYesNoDisplay"] = True
    ui.classColumnsLineEdit.text = "plane"
    desk.press(ui.makeClassesButton)
    assert set(SegmentDataset.open(dataset.path).table["class"]) == {"axial"}


def test_a_column_that_is_not_there_is_told_in_words(desk):
    ui = opened(desk)
    desk.real.add("dataset")
    ui.classedPathLineEdit.currentPath = str(desk.dataset("set").path)
    ui.classColumnsLineEdit.text = "regoin"
    desk.press(ui.makeClassesButton)
    ((text, _),) = desk.errors
    assert text == 'There is no column "regoin".\n\nDid you mean "region"?'


def test_a_data_set_just_prepared_is_offered_for_classes_and_a_closed_scene_empties_the_table(desk):
    import slicer

    desk.head()
    ui = opened(desk)
    made = desk.dataset("made").path
    desk.script("prepare", f"hand({str(made)!r})")
    desk.press(ui.prepareButton)
    assert desk.parameters.classedPath == desk.parameters.trainDataPath
    desk.script("dataset", f"say(result={TOLD | {'dataset': str(made)}!r})")
    desk.press(ui.makeClassesButton)
    assert ui.classCountsTable.visible
    slicer.mrmlScene.Clear(0)
    assert (cells(ui.classCountsTable), ui.foldersLabel.text) == ([[]], "")
    assert not ui.classCountsTable.visible
