"""The third section of the panel: models, what they can be asked for, the segments drawn, their export."""

from __future__ import annotations

import json

import numpy as np
import pytest
import vtk
from test_module_panel import boxItems, cells, makeDesk

import slicer_host

desk = pytest.fixture(makeDesk)

CONDITIONS = {
    "region": {"kind": "category", "values": ["temporal", "parietal"], "share": [2, 1]},
    "thickness_mm": {"kind": "number", "unit": "mm", "mean": 5, "std": 1, "minimum": 2.5, "maximum": 9.0},
    "sdr": {"kind": "number", "mean": 0.6, "std": 0.1, "minimum": 0.3, "maximum": 0.8},
}


def drawn(desk, **columns) -> None:
    """Let the child of Generate hand back a synthetic data set."""
    made = desk.dataset("made", "synthetic", **columns).path
    desk.script("generate", f"hand({str(made)!r}, segments=3, notes=['As asked.'])")


def rows(desk) -> dict:
    """What can be asked for: the words beside each widget, and the widget."""
    import qt

    boxes = desk.ui.conditionsWidget.layout()
    form = boxes.itemAt(boxes.count() - 1).widget().layout()  # one that is to be deleted may still be there
    roles, found = (qt.QFormLayout.LabelRole, qt.QFormLayout.FieldRole), {}
    for i in range(form.rowCount()):
        label, field = (form.itemAt(i, role).widget() for role in roles)
        found[label.text] = field
    return found


def asked(desk) -> list[str]:
    """What the newest child of Generate was asked for."""
    call = desk.calls("generate")[-1]
    return [call[i + 1] for i, word in enumerate(call) if word == "--condition"]


def test_models_beside_the_run_are_offered_and_the_card_is_told(desk):
    desk.model("home/run/model", images_seen=123_456, training={"subjects": 38}, limits="Adults only.")
    ui = desk.open().ui
    path = str(desk.folder / "home" / "run" / "model")
    assert boxItems(ui.modelComboBox) == [("run, trained here", path), ("a folder or file", "folder")]
    assert desk.parameters.model == path
    assert ui.modelLabel.text == (
        "128 x 128 pixels of 0.45 mm, 123,456 images seen. Subjects it has learnt from: 38. Adults only."
    )
    assert not ui.modelPathLineEdit.enabled
    ui.modelComboBox.currentIndex = 1
    assert ui.modelPathLineEdit.enabled
    assert ui.modelLabel.text == ""
    ui.modelPathLineEdit.currentPath = str(desk.folder / "weights.pth")
    assert ui.modelLabel.text == "Released weights; their window is asked for where it is not known."


def test_models_that_came_with_the_extension_come_first(desk, monkeypatch):
    from SkullGANSlicer.section_generate import GenerateSection

    desk.model("module/Resources/Models/small")
    desk.model("home/run/model")
    widget = desk.open()
    monkeypatch.setattr(GenerateSection, "shipped", desk.shipped)
    assert [path.name for path in widget.panel.generate.shipped()] == ["phantom", "phantom-labels", "phantom-small"]
    widget.panel.moduleFolder = desk.folder / "module"
    widget.panel.update()
    texts = [text for text, _ in boxItems(desk.ui.modelComboBox)]
    assert texts == ["small, comes with the extension", "run, trained here", "a folder or file"]
    assert [text for text, _ in boxItems(desk.ui.initComboBox)] == ["fresh weights", "small", "a folder or file"]


def test_a_model_without_conditions_asks_for_none(desk):
    ui = desk.ready()
    ui.generateCollapsibleButton.collapsed = False
    assert not ui.conditionsWidget.visible
    assert rows(desk) == {}


def test_another_model_brings_its_own_conditions_in_place_of_the_old_ones(desk):
    ui = desk.ready()
    ui.generateCollapsibleButton.collapsed = False
    for name in ("one", "two"):
        desk.parameters.modelPath = str(desk.model(name, conditions=CONDITIONS))
    boxes = ui.conditionsWidget.layout()
    desk.until(lambda: not boxes.itemAt(boxes.count() - 1).widget()._qt.isHidden(), seconds=5)
    shown = [not boxes.itemAt(k).widget()._qt.isHidden() for k in range(boxes.count())]
    assert shown == [False] * (len(shown) - 1) + [True]


def test_what_a_model_can_be_asked_for_has_a_widget_each(desk):
    ui = desk.ready()
    ui.generateCollapsibleButton.collapsed = False
    desk.parameters.modelPath = str(desk.model("conditional", conditions=CONDITIONS))
    assert ui.conditionsWidget.visible
    found = rows(desk)
    assert list(found) == ["region:", "thickness (mm):", "SDR:"]
    assert boxItems(found["region:"]) == [("any", ""), ("temporal", "temporal"), ("parietal", "parietal")]
    thickness = found["thickness (mm):"]
    assert (thickness.minimum, thickness.maximum) == (2.5, 9.0)
    assert (thickness.minimumValue, thickness.maximumValue) == (2.5, 9.0)
    desk.parameters.modelPath = str(desk.folder / "run" / "model")
    assert not ui.conditionsWidget.visible


def test_only_what_was_asked_for_reaches_the_child(desk):
    ui = desk.ready()
    desk.parameters.modelPath = str(desk.model("conditional", conditions=CONDITIONS))
    desk.script("generate", "sys.exit(2)")
    desk.press(ui.generateButton)
    assert asked(desk) == []
    found = rows(desk)
    found["region:"].currentIndex = 2
    found["thickness (mm):"].maximumValue = 4.5
    desk.press(ui.generateButton)
    assert asked(desk) == ["region=parietal", "thickness_mm=2.5:4.5"]
    assert json.loads(desk.parameters.conditions) == {"region": "parietal", "thickness_mm": [2.5, 4.5]}
    found["region:"].currentIndex = 0
    found["thickness (mm):"].maximumValue = 9.0
    found["SDR:"].setValues(0.5, 0.5)
    desk.press(ui.generateButton)
    assert asked(desk) == ["sdr=0.5:0.5"]


def test_what_was_asked_of_one_model_does_not_upset_another(desk):
    ui = desk.ready()
    other = {
        "region": CONDITIONS["sdr"],
        "sdr": CONDITIONS["region"],
        "thickness_mm": {**CONDITIONS["thickness_mm"], "minimum": 5.0},
    }
    desk.parameters.modelPath = str(desk.model("conditional", conditions=CONDITIONS))
    found = rows(desk)
    found["region:"].currentIndex = 1
    found["thickness (mm):"].maximumValue = 4.5
    found["SDR:"].minimumValue = 0.4
    desk.parameters.modelPath = str(desk.model("other", conditions=other))
    assert list(rows(desk)) == ["region:", "SDR:", "thickness (mm):"]
    slicer_host.checkSlots()
    desk.script("generate", "sys.exit(2)")
    desk.press(ui.generateButton)
    assert desk.errors == []


@pytest.mark.parametrize("text", ["", "no json", "null", '["region"]', '{"region": "occipital", "sdr": 3}'])
def test_conditions_of_a_scene_that_make_no_sense_are_passed_over(desk, text):
    ui = desk.ready()
    desk.parameters.conditions = text
    desk.parameters.modelPath = str(desk.model("conditional", conditions=CONDITIONS))
    assert list(rows(desk)) == ["region:", "thickness (mm):", "SDR:"]
    assert ui.generateButton.enabled


def test_a_fine_range_can_be_set_in_steps_that_show(desk):
    desk.ready()
    fine = {"sdr": {**CONDITIONS["sdr"], "minimum": 0.3127, "maximum": 0.8}}
    desk.parameters.modelPath = str(desk.model("conditional", conditions=fine))
    widget = rows(desk)["SDR:"]
    assert widget.singleStep >= 10**-widget.decimals
    assert widget.decimals >= 3


def test_a_number_that_is_always_the_same_can_be_asked_for_all_the_same(desk):
    ui = desk.ready()
    same = {"thickness_mm": {**CONDITIONS["thickness_mm"], "minimum": 5.0, "maximum": 5.0}}
    desk.parameters.modelPath = str(desk.model("same", conditions=same))
    assert list(rows(desk)) == ["thickness (mm):"]
    desk.script("generate", "sys.exit(2)")
    desk.press(ui.generateButton)
    assert asked(desk) == []


def test_count_seed_device_and_folder_reach_the_child(desk):
    ui = desk.ready()
    ui.countSpinBox.value, ui.seedSpinBox.value, ui.deviceComboBox.currentIndex = 17, 42, 1
    ui.syntheticPathLineEdit.currentPath = str(desk.folder / "out")
    desk.script("generate", "sys.exit(2)")
    desk.press(ui.generateButton)
    model = str(desk.folder / "run" / "model")
    expected = ["--model", model, "--out", str(desk.folder / "out"), "--count", "17", "--seed", "42", "--device", "cpu"]
    assert desk.calls("generate")[0] == ["generate", *expected, "--precision", "auto", "--overwrite"]
    desk.parameters.modelPath = str(desk.folder / "weights.pth")
    desk.press(ui.generateButton)
    assert desk.calls("generate")[1][1:3] == ["--from", str(desk.folder / "weights.pth")]


def test_the_segments_drawn_are_listed_and_a_row_shows_its_segment(desk):
    import slicer

    ui = desk.ready()
    drawn(desk, sdr=[0.25, 0.5, 0.75], thickness_mm=[4.0, 5.0, np.nan], asked_region=["temporal"] * 3)
    desk.press(ui.generateButton)
    heading, *values = cells(ui.segmentsTable)
    assert heading[:3] == ["index", "SDR", "thickness (mm)"]
    assert "asked region" in heading
    assert [row[:3] for row in values] == [["0", "0.25", "4"], ["1", "0.5", "5"], ["2", "0.75", ""]]
    assert ui.modelLabel.text.endswith("As asked.")
    assert desk.parameters.evaluatedPath == desk.parameters.syntheticPath
    volume, _ = desk.logic.job.value
    assert volume.GetName() == "Synthetic run, seed 0"
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    assert composite.GetBackgroundVolumeID() == volume.GetID()
    red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    offsets, toIjk = [], vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(toIjk)
    for row in (0, 2, 1):
        ui.segmentsTable.setCurrentCell(row, 1)
        middle = [red.GetSliceToRAS().GetElement(i, 3) for i in range(4)]
        offsets.append(toIjk.MultiplyPoint(middle)[2])
    assert offsets == pytest.approx([0, 2, 1], abs=0.01)


def test_replacing_synthetic_segments_is_asked_first(desk):
    ui = desk.ready()
    desk.parameters.syntheticPath = str(desk.folder / "drawn")
    slicer_host.answers["confirmYesNoDisplay"] = False
    ui.generateButton.click()
    assert desk.logic.job is None
    slicer_host.answers["confirmYesNoDisplay"] = True
    desk.script("generate", "sys.exit(2)")
    desk.press(ui.generateButton)
    assert "--overwrite" in desk.calls("generate")[0]


TARGETS = {
    "nrrd": "nrrd-segments.nrrd",
    "nii": "nii-segments.nii.gz",
    "npy": "npy-segments.npy",
    "png": "png-segments",
    "dicom": "dicom-segments",
}


def test_the_segments_are_exported_in_the_chosen_format_under_a_name_that_says_so(desk):
    ui = desk.ready()
    desk.script("dataset", 'open(arguments[3], "w").close()')
    ui.exportPathLineEdit.currentPath = str(desk.folder / "new" / "export")
    assert [ui.formatComboBox.itemText(i) for i in range(ui.formatComboBox.count)] == list(TARGETS)
    for index, (format, name) in enumerate(TARGETS.items()):
        ui.formatComboBox.currentIndex = index
        desk.press(ui.exportButton)
        target = str(desk.folder / "new" / "export" / name)
        source = str(desk.folder / "drawn")
        assert desk.calls("dataset")[-1] == ["dataset", "export", source, target, "--format", format, "--overwrite"]
    slicer_host.answers["confirmYesNoDisplay"] = False  # the last one is there already
    before = desk.logic.job
    ui.exportButton.click()
    assert desk.logic.job is before
    assert "holds an earlier result" in slicer_host.shown[-1][1]


def test_after_an_export_the_panel_says_where_it_is(desk):
    ui = desk.ready()
    desk.script("dataset", "")
    desk.press(ui.exportButton)
    path = desk.folder / "home" / "export-1" / "nrrd-segments.nrrd"
    assert ui.jobLabel.text == f"Exported to {path}"


@pytest.mark.parametrize(
    ("family", "network", "size"),
    [
        ("style", {"size": 64}, 64),
        ("relativistic", {"widths": [96, 96, 96, 48, 24]}, 64),
        ("relativistic", {"widths": [64, 64, 64, 48], "patch": 4}, 128),
        ("skullgan", {"generator": [64, 32, 16, 8]}, 32),
        ("unknown", {}, 128),
    ],
)
def test_the_pixels_of_a_model_are_told_whatever_its_card_says_of_them(desk, family, network, size):
    desk.model("home/run/model", family=family, network=network)
    assert desk.open().ui.modelLabel.text.startswith(f"{size} x {size} pixels of 0.45 mm")
