"""The part of section 4 that brings data sets of different pixels together, which Evaluate cannot compare."""

from __future__ import annotations

import numpy as np
import pytest
from test_module_panel import makeDesk, tip

import slicer_host
from SkullGANLib.segments.dataset import SegmentDataset

desk = pytest.fixture(makeDesk)


def made(desk, name: str, size: int, spacing_mm: float, kind: str = "real") -> str:
    """Folder of a data set of flat bone."""
    hu = np.zeros((12, size, size), np.int16)
    hu[:, size // 4 : size // 2] = np.arange(1000, 2200, 100)[:, None, None]
    return str(SegmentDataset.create(desk.folder / name, hu, None, kind=kind, spacing_mm=spacing_mm).path)


def opened(desk, real=(64, 0.45), synthetic=(32, 0.9)):
    """The panel with a real and a synthetic set; gives its widgets."""
    ui = desk.open().ui
    ui.evaluateCollapsibleButton.collapsed = False
    desk.parameters.realPath = made(desk, "real", *real)
    desk.parameters.evaluatedPath = made(desk, "drawn", *synthetic, "synthetic")
    return ui


def test_what_evaluate_says_of_pixels_that_differ_leads_to_the_button_that_helps(desk):
    ui = opened(desk)
    desk.real |= {"evaluate", "dataset"}
    desk.press(ui.evaluateButton)
    ((text, _),) = desk.errors
    assert text.startswith("The pixel spacings differ (real 0.45 mm, synthetic 0.9 mm).")
    assert text.endswith('bring the finer one to the other\'s: "Reduce pixels" in section 4.')
    assert ui.reduceButton.visible
    desk.errors.clear()
    desk.press(ui.reduceButton)
    small = str(desk.folder / "real-32px")
    assert (desk.errors, desk.parameters.realPath, ui.realPathLineEdit.currentPath) == ([], small, small)
    reduced = SegmentDataset.open(small)
    assert (reduced.meta.size, reduced.meta.spacing_mm, len(reduced)) == (32, 0.9, 12)
    assert not ui.reduceButton.visible
    ui.artificialCheckBox.checked = False
    desk.press(ui.evaluateButton)
    assert desk.errors == []


def test_button_and_sentence_are_there_only_where_the_pixels_differ(desk):
    ui = opened(desk)
    shown = (ui.reduceButton, ui.pixelsLabel)
    assert [widget.visible for widget in shown] == [True, True]
    assert ui.pixelsLabel.text == "The pixels differ: 0.45 mm in the real data set, 0.9 mm in the synthetic one."
    words = "Write the finer data set with 32 x 32 pixels into a folder beside it, and compare that one."
    assert (ui.reduceButton.enabled, tip(ui.reduceButton)) == (True, words)
    for path in ("", "/nowhere", str(desk.folder / "array.npy"), desk.parameters.evaluatedPath):
        desk.parameters.realPath = path
        assert [widget.visible for widget in shown] == [False, False]


def test_a_damaged_data_set_has_no_pixels(desk):
    ui = opened(desk)
    (desk.folder / "real" / "dataset.json").write_text('{"spacing_mm": 0, "size": 64}')
    desk.panel.update()
    assert not ui.reduceButton.visible
    (desk.folder / "real" / "dataset.json").write_text("[]")
    desk.panel.update()
    assert not ui.reduceButton.visible


@pytest.mark.parametrize(
    ("real", "synthetic"), [((64, 0.45), (40, 0.7)), ((64, 0.45), (32, 1.8)), ((63, 0.3), (32, 0.6))]
)
def test_pixels_that_do_not_fit_into_each_other_are_told_to_be_made_anew(desk, real, synthetic):
    ui = opened(desk, real, synthetic)
    words = "One pixel is no whole multiple of the other: make one of the data sets anew."
    assert (ui.reduceButton.visible, ui.reduceButton.enabled, tip(ui.reduceButton)) == (True, False, words)


def test_the_finer_set_is_reduced_whichever_it_is_and_replacing_one_is_asked_first(desk):
    ui = opened(desk, (32, 0.9), (64, 0.45))
    out = made(desk, "drawn-32px", 32, 0.9)
    slicer_host.answers["confirmYesNoDisplay"] = False
    ui.reduceButton.click()
    assert desk.logic.job is None
    assert slicer_host.shown[-1][1] == f"{out} holds a data set of 12 real segments. Replace it?"
    slicer_host.answers["confirmYesNoDisplay"] = True
    desk.script("dataset", f"say(result={{'dataset': {out!r}, 'segments': 12}})")
    source = desk.parameters.evaluatedPath
    desk.press(ui.reduceButton)
    assert desk.calls("dataset")[-1] == ["dataset", "reduce", source, out, "--size", "32", "--overwrite"]
    assert desk.parameters.evaluatedPath == out
    assert desk.parameters.realPath == str(desk.folder / "real")


def test_another_set_chosen_meanwhile_stays_and_a_reduction_can_be_cancelled(desk):
    ui = opened(desk)
    out, other = made(desk, "real-32px", 32, 0.9), made(desk, "other", 64, 0.45)
    desk.waiting(ui.reduceButton, "dataset", f"say(result={{'dataset': {out!r}, 'segments': 12}})")
    assert ui.reduceButton.text == "Cancel"
    desk.parameters.realPath = other
    desk.release("go")
    desk.idle()
    assert desk.parameters.realPath == other
    (desk.folder / "child" / "go").unlink()
    desk.waiting(ui.reduceButton, "dataset")
    ui.reduceButton.click()
    desk.idle()
    assert (ui.reduceButton.text, desk.parameters.realPath, desk.errors) == ("Reduce pixels", other, [])


def test_a_reduction_in_the_console_chooses_nothing_here(desk):
    opened(desk)
    desk.real.add("dataset")
    desk.parameters.evaluatedPath, before = "", desk.parameters.realPath
    desk.logic.reduce(before, 32, desk.folder / "elsewhere")
    assert (desk.parameters.realPath, desk.parameters.evaluatedPath) == (before, "")
