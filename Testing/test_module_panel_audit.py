"""Copies of training segments in the panel: what drawn ones are checked against, what is said, what is asked."""

from __future__ import annotations

import numpy as np
import pytest
from test_module_panel import cells, makeDesk

import slicer_host
from SkullGANLib.segments.dataset import SegmentDataset

desk = pytest.fixture(makeDesk)

AUDIT = {"flagged": 1, "checked": 3, "copies": "keep", "notes": ["It says nothing of its training."]}


def made(desk, copies=(), audit=None, name="checked") -> SegmentDataset:
    """A synthetic data set of three segments, some marked as copies."""
    hu = np.zeros((3, 128, 128), np.int16)
    hu[:, 20:30] = 1000 + np.arange(3)[:, None, None]
    table = {"copy": np.isin(np.arange(3), copies).astype(int)} if audit else {}
    extra = {"audit": audit} if audit else {}
    return SegmentDataset.create(desk.folder / name, hu, table, kind="synthetic", extra=extra)


def press(button) -> int:
    """A button of the message box, as a number."""
    import qt

    return getattr(qt.QMessageBox, button)


def test_segments_are_checked_against_the_panels_data_set_where_the_model_was_trained_on_it(desk):
    ui = desk.ready()
    real = desk.folder / "real"
    assert desk.parameters.auditPath == ""  # the model does not say what it was trained on
    fingerprint = SegmentDataset.open(real).fingerprint
    desk.parameters.modelPath = str(desk.model("knows", training={"data_sets": [fingerprint]}))
    assert desk.parameters.auditPath == ui.auditPathLineEdit.currentPath == str(real)
    desk.script("generate", "sys.exit(2)")
    desk.press(ui.generateButton)
    assert desk.calls("generate")[-1][-4:] == ["--audit", str(real), "--copies", "keep"]
    desk.parameters.modelPath = str(desk.folder / "run" / "model")
    assert desk.parameters.auditPath == ""
    desk.press(ui.generateButton)
    assert "--audit" not in desk.calls("generate")[-1]


def test_a_data_set_of_the_users_choice_stays_and_an_emptied_one_stays_empty(desk):
    ui = desk.ready()
    fingerprint = SegmentDataset.open(desk.folder / "real").fingerprint
    other = str(desk.dataset("other").path)
    ui.auditPathLineEdit.currentPath = other
    desk.parameters.modelPath = str(desk.model("knows", training={"data_sets": [fingerprint]}))
    assert desk.parameters.auditPath == other
    ui.auditPathLineEdit.currentPath = ""
    desk.panel.update()
    assert desk.parameters.auditPath == ""


def test_a_folder_without_a_data_set_cannot_be_checked_against(desk):
    ui = desk.ready()
    ui.auditPathLineEdit.currentPath = str(desk.folder / "nowhere")
    assert not ui.generateButton.enabled
    assert "The folder to check against holds no data set." in ui.generateButton.toolTip


def test_the_panel_says_that_nothing_was_checked_and_what_to_do_and_exports_all_the_same(desk):
    ui = desk.ready()
    assert ui.auditLabel.text.startswith("Not checked against training data: choose the data set")
    desk.script("dataset", "")
    desk.press(ui.exportButton)
    assert [kind for kind, *_ in slicer_host.shown] == []


def test_what_the_audit_found_is_said_and_copies_are_marked_in_the_table(desk):
    ui = desk.ready()
    desk.logic.show(made(desk, [1], AUDIT))
    assert ui.auditLabel.text == (
        "Audit: 1 of 3 segments are copies of training segments. It says nothing of its training."
    )
    heading, *rows = cells(ui.segmentsTable)
    assert [row[heading.index("copy")] for row in rows] == ["0", "1", "0"]
    desk.logic.show(made(desk, [], {**AUDIT, "flagged": 0, "notes": []}, "clean"))
    assert ui.auditLabel.text == "Audit: none of 3 segments is a copy of a training segment."
    desk.logic.show(made(desk, [], {**AUDIT, "copies": "drop", "notes": []}, "dropped"))
    assert ui.auditLabel.text.endswith("They were left out.")


@pytest.mark.parametrize(("button", "choice"), [("Yes", "drop"), ("Ok", "drop"), ("No", "keep"), ("Cancel", "")])
def test_before_copies_are_exported_the_user_is_asked_what_to_do(desk, button, choice):
    ui = desk.ready()
    dataset = made(desk, [1], AUDIT)
    desk.logic.show(dataset)
    desk.script("dataset", "")
    slicer_host.answers["messageBox"] = press(button)
    if choice:
        desk.press(ui.exportButton)
        call = desk.calls("dataset")[-1]
        assert call[:3] == ["dataset", "export", str(dataset.path)]
        assert call[call.index("--copies") + 1] == choice
    else:
        ui.exportButton.click()
        assert desk.calls("dataset") == []
    kind, text, *_ = slicer_host.shown[0]
    assert kind == "messageBox"
    assert text.startswith("1 of 3 segments are copies of segments that the model was trained on.")


def test_a_script_says_what_to_do_about_copies(desk):
    desk.ready()
    dataset = made(desk, [1], AUDIT)
    desk.script("dataset", "")
    for said, words in ({}, []), ({"copies": "keep"}, ["--copies", "keep"]):
        desk.logic.export(dataset, desk.folder / "a.npy", **said)
        assert desk.calls("dataset")[-1][4:] == words


def test_a_script_hands_on_data_sets_to_check_against(desk):
    desk.ready()
    desk.script("generate", "sys.exit(2)")
    sets = [desk.folder / "real", desk.dataset("other")]
    desk.logic.generate(desk.folder / "run" / "model", audit=sets, copies="drop", wait=False)
    desk.idle()
    asked = ["--audit", str(sets[0]), "--audit", str(sets[1].path), "--copies", "drop"]
    assert desk.calls("generate")[-1][-6:] == asked
    desk.logic.generate(desk.folder / "run" / "model", audit=sets[0], wait=False)
    desk.idle()
    assert desk.calls("generate")[-1][-2:] == ["--audit", str(sets[0])]
