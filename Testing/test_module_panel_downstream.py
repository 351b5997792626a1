"""The group of section 4 that tries what the synthetic segments are good for."""

from __future__ import annotations

import pytest
from test_downstream import classes, dataset
from test_module_panel import boxItems, cells, makeDesk, tip

import slicer_host
from SkullGANLib.evaluate.downstream import ARMS

desk = pytest.fixture(makeDesk)


def opened(desk):
    """The panel with a real and a synthetic set of three classes chosen; gives its widgets."""
    real = dataset(desk.folder / "learnt", 120, 0, **{"class": classes(120)})
    made = dataset(desk.folder / "made", 90, 1, kind="synthetic", asked_class=classes(90))
    ui = desk.open().ui
    ui.evaluateCollapsibleButton.collapsed = ui.downstreamCollapsibleButton.collapsed = False
    ui.realPathLineEdit.currentPath, ui.evaluatedPathLineEdit.currentPath = str(real.path), str(made.path)
    return ui


def options(desk) -> list[str]:
    return desk.calls("downstream")[-1][1:]


def test_a_quick_trial_fills_the_table_and_the_scene(desk):
    import slicer

    ui = opened(desk)
    desk.real.add("downstream")
    assert not ui.openDownstreamButton.enabled
    ui.downstreamTaskComboBox.currentIndex = 4
    assert desk.parameters.downstreamTask == "class"
    ui.downstreamQuickCheckBox.checked = True
    assert not ui.downstreamSeedsSpinBox.enabled
    desk.press(ui.downstreamButton)
    assert desk.errors == []
    heading, *rows = cells(ui.downstreamTable)
    assert heading == ["task", "learnt from", "score", "95 % interval"]
    assert [row[:2] for row in rows] == [["Classes", title] for title in ARMS.values()]
    assert all(row[2].startswith("AUC 0.") or row[2].startswith("AUC 1") for row in rows)
    assert "Classes: 10 % real + 90 % synthetic against 10 % real" in ui.downstreamLabel.text
    assert "Each arm is learnt once only" in ui.downstreamLabel.text
    names = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLPlotChartNode")}
    assert names == {"Classes of made for tasks on learnt"}
    ui.openDownstreamButton.click()
    (_, (url,)) = slicer_host.shown[-1]
    assert url.toLocalFile() == str(desk.folder / "home" / "downstream-1")
    slicer.mrmlScene.Clear(0)
    assert (cells(ui.downstreamTable), ui.downstreamLabel.text, ui.downstreamTable.visible) == ([[]], "", False)


def test_the_choices_of_the_panel_reach_the_child(desk):
    ui = opened(desk)
    desk.script("downstream", "sys.exit(2)")
    desk.press(ui.downstreamButton)
    sets, out = [str(desk.folder / name) for name in ("learnt", "made")], str(desk.folder / "home" / "downstream-1")
    rest = ["--out", out, "--seeds", "3", "--seed", "0", "--device", "auto"]
    assert options(desk) == ["classify", *sets, "--task", "all", *rest, "--overwrite"]
    assert [data for _, data in boxItems(ui.downstreamTaskComboBox)] == [
        "all", "region", "density", "thickness", "class", "segment"
    ]  # fmt: skip
    ui.downstreamTaskComboBox.currentIndex, ui.downstreamSeedsSpinBox.value = 5, 4
    desk.press(ui.downstreamButton)
    assert options(desk)[:5] == ["segment", *sets, "--label-set", "tissues"]
    assert options(desk)[options(desk).index("--seeds") + 1] == "4"
    assert "--steps" not in options(desk)
    ui.downstreamQuickCheckBox.checked = True
    desk.press(ui.downstreamButton)
    assert options(desk)[options(desk).index("--seeds") + 1] == "1"
    assert options(desk)[options(desk).index("--steps") + 1] == "60"


def test_a_trial_says_what_it_lacks_and_can_be_cancelled(desk):
    ui = opened(desk)
    made = ui.evaluatedPathLineEdit.currentPath
    ui.evaluatedPathLineEdit.currentPath = "/nowhere"
    assert tip(ui.downstreamButton) == "Choose the synthetic data set above."
    ui.evaluatedPathLineEdit.currentPath = made
    out = ui.downstreamPathLineEdit.currentPath
    ui.downstreamPathLineEdit.currentPath = ""
    assert tip(ui.downstreamButton) == "Choose a folder for the result."
    ui.downstreamPathLineEdit.currentPath = out
    desk.waiting(ui.downstreamButton, "downstream")
    assert ui.downstreamButton.text == "Cancel"
    assert tip(ui.evaluateButton) == "Downstream trial is still running. Cancel it first."
    ui.downstreamButton.click()
    desk.idle()
    assert (ui.downstreamButton.text, ui.downstreamButton.enabled) == ("Try the task", True)
    assert desk.errors == []


def test_sets_without_label_maps_are_told_in_words(desk):
    ui = opened(desk)
    bare = dataset(desk.folder / "bare", 60, 2, kind="synthetic", masks=False)
    ui.evaluatedPathLineEdit.currentPath = str(bare.path)
    ui.downstreamTaskComboBox.currentIndex = 5
    ui.downstreamButton.click()
    ((text, _),) = desk.errors
    assert text.startswith("The two sets have no label maps in common.")
    assert desk.logic.job is None


def test_replacing_a_result_is_asked_first(desk):
    ui = opened(desk)
    folder = desk.folder / "home" / "downstream-1"
    folder.mkdir(parents=True)
    (folder / "downstream.json").write_text("{}")
    slicer_host.answers["confirmYesNoDisplay"] = False
    ui.downstreamButton.click()
    assert desk.logic.job is None
    assert "holds an earlier result. Replace it?" in slicer_host.shown[-1][1]
