"""The fourth section of the panel: figures, plots, pictures and the page of a report."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from test_module_panel import cells, makeDesk, tip

import slicer_host
from SkullGANLib.cli.evaluate import evaluate
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.registry import Figure, MetricResult
from SkullGANLib.evaluate.report import Report, SetCard

sys.path.append(str(slicer_host.MODULE_FOLDER))
from SkullGANSlicer.results import Run

desk = pytest.fixture(makeDesk)

SUMMARY = """metric,figure,value,unit,p
thickness_mm,real_mean,5.1234,mm,
thickness_mm,synthetic_mean,4.9,mm,
thickness_mm,ks,0.123456,,0.0004
sdr,real_mean,0.61,,
sdr,synthetic_mean,0.59,,
sdr,ks,0.05,,0.42
nearest,median,12,HU,
"""
DISTRIBUTIONS = """figure,unit,center,real,synthetic,control
thickness_mm,mm,4.5,0.25,0.5,0.1
thickness_mm,mm,5.5,0.75,0.5,0.9
sdr,,0.5,1,2,
"""
SEGMENTS = """set,row,sdr,nearest_row,nearest_mse_hu2,nearest_mirrored,tsne_pixels_x,tsne_pixels_y
real,0,0.5,,,,1,2
real,1,0.6,,,,3,4
synthetic,0,,2,400,0,5,6
synthetic,1,0.4,1,2500,1,,
"""
COPIES = """set,row,nearest_row,nearest_mse_hu2,nearest_mirrored,copy,copy_ratio,copy_row,copy_mirrored
synthetic,0,2,400,0,0,0.9,1,1
synthetic,1,1,2500,1,1,0.4,0,0
"""


@pytest.fixture
def report(desk):
    """A report folder, and a child of Evaluate that hands it back."""
    import qt

    folder = desk.folder / "made report"
    folder.mkdir()
    (folder / "summary.csv").write_text(SUMMARY)
    (folder / "distributions.csv").write_text(DISTRIBUTIONS)
    (folder / "segments.csv").write_text(SEGMENTS)
    (folder / "leaks.csv").write_text("set,row\n")
    (folder / "metrics.json").write_text(reported(desk).model_dump_json())
    (folder / "report.html").write_text("<p>")
    image = qt.QImage(40, 30, qt.QImage.Format_RGB32)
    image.fill(qt.QColor("green"))
    assert image.save(str(folder / "violin.png"))
    desk.script("evaluate", f"hand({str(folder)!r})")
    return folder


def reported(desk) -> Report:
    """What the report says of the sets that ``desk.ready()`` makes."""
    cards = {
        kind: SetCard(kind=kind, segments=3, subjects=None, split="all", size_px=(128, 128),
                      sha256=desk.dataset(f"as {kind}", kind).fingerprint)
        for kind in ("real", "synthetic")
    }  # fmt: skip
    auc = {"auc": Figure(value=0.625, interval=(0.5, 0.75))}
    told = MetricResult(title="Told apart", group="separability", highlights=("auc",), aim="0.5", figures=auc)
    return Report(seed=0, spacing_mm=0.45, metrics={"two_sample": told}, left_out=["No control set."], **cards)


def test_a_report_fills_the_tables_and_comes_into_the_scene_in_one_folder(desk, report):
    import slicer

    ui = desk.ready()
    before = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}
    assert not ui.openReportButton.enabled
    job = desk.press(ui.evaluateButton)
    assert job.error is None
    assert cells(ui.highlightsTable) == [
        ["figure", "value", "95 % interval", "real against real", "published", "aim"],
        ["Told apart: AUC", "0.625", "0.500 to 0.750", "", "", "0.5"],
    ]
    assert cells(ui.metricsTable) == [
        ["figure", "real (mean)", "synthetic (mean)", "KS", "p"],
        ["thickness (mm)", "5.123", "4.9", "0.123", "< 0.001"],
        ["SDR", "0.61", "0.59", "0.050", "0.420"],
    ]
    assert job.value["left_out"] == ["No control set."]
    charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert [(chart.GetTitle(), legend(chart)) for chart in charts] == [
        ("Distribution of thickness (mm)", ["Real", "Synthetic", "Control"]),
        ("Distribution of SDR", ["Real", "Synthetic"]),
        ("Map of pixels", ["Real", "Synthetic"]),
    ]
    points = charts[2].GetNthPlotSeriesNode(0)
    assert (points.GetLineStyle(), points.GetMarkerStyle()) == (points.LineStyleNone, points.MarkerStyleCircle)
    assert (points.GetXColumnName(), points.GetYColumnName()) == ("x", "Real")
    assert [points.GetTableNode().GetTable().GetColumnByName("Real").GetValue(i) for i in range(2)] == [2, 4]
    (picture,) = slicer.util.getNodesByClass("vtkMRMLVectorVolumeNode")
    assert (picture.GetName(), picture.GetImageData().GetDimensions()) == ("Distributions", (40, 30, 1))
    assert np.array_equal(slicer.util.arrayFromVolume(picture)[0, 5, 5], [0, 128, 0])

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = hierarchy.GetItemByName("SkullGAN report drawn against real")
    assert folder
    kinds = ("vtkMRMLTableNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLVectorVolumeNode")
    new = [node for kind in kinds for node in slicer.util.getNodesByClass(kind) if node.GetID() not in before]
    tables = {"summary", "segments", "leaks", "nearest neighbours"}
    assert {f"drawn against real {name}" for name in tables} <= {node.GetName() for node in new}
    items = [item for item in map(hierarchy.GetItemByDataNode, new) if item]
    assert len(items) > 5
    assert {hierarchy.GetItemParent(item) for item in items} == {folder}


def legend(chart) -> list[str]:
    return [chart.GetNthPlotSeriesNode(i).GetName() for i in range(chart.GetNumberOfPlotSeriesNodes())]


# nearest neighbours ---------------------------------------------------------------------------------------------------


def shownPair() -> dict[str, str]:
    """What each slice view shows."""
    import slicer

    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    nodes = {
        each.GetLayoutName(): slicer.mrmlScene.GetNodeByID(each.GetBackgroundVolumeID() or "") for each in composites
    }
    return {name: node and node.GetName() for name, node in nodes.items()}


def test_pairs_stand_in_the_order_of_closeness(desk, report):
    ui = desk.ready()
    assert not ui.pairsTable.visible
    desk.press(ui.evaluateButton)
    assert cells(ui.pairsTable) == [
        ["synthetic", "nearest real", "RMSE (HU)"],
        ["0", "2", "20"],
        ["1", "1 mirrored", "50"],
    ]
    (report / "segments.csv").write_text(COPIES)
    desk.parameters.reportPath = str(desk.folder / "again")
    desk.press(ui.evaluateButton)
    assert cells(ui.pairsTable) == [
        ["synthetic", "nearest real", "RMSE (HU)", "distance ratio", "copy"],
        ["1", "0", "", "0.4", "yes"],
        ["0", "2", "20", "0.9", ""],
    ]


def test_a_row_of_pairs_shows_both_segments_and_their_difference_side_by_side(desk, report):
    import slicer

    ui = desk.ready()
    desk.press(ui.evaluateButton)
    ui.pairsTable.setCurrentCell(1, 0)
    assert shownPair() == {"Red": "Synthetic 1", "Green": "Real 1 mirrored", "Yellow": "Synthetic less real"}
    assert slicer.app.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    ui.pairsTable.setCurrentCell(0, 0)
    assert shownPair() == {"Red": "Synthetic 0", "Green": "Real 2", "Yellow": "Synthetic less real"}
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == before
    difference = slicer.util.arrayFromVolume(slicer.util.getNode("Synthetic less real"))
    assert set(np.unique(difference)) == {-2.0, 0.0}
    assert desk.panel.parameters.offeredVolume.GetName() == "head"  # none of them is taken for a scan


def test_a_pair_whose_data_set_is_gone_or_another_one_is_told_in_words(desk, report):
    ui = desk.ready()
    desk.press(ui.evaluateButton)
    (desk.folder / "drawn").rename(desk.folder / "moved")
    ui.pairsTable.setCurrentCell(0, 0)
    text, _ = desk.errors.pop()
    assert text == (
        f"The synthetic segments of this report are no longer at {desk.folder / 'drawn'}.\n\n"
        "Put them back, or evaluate again."
    )
    desk.dataset("drawn", "synthetic", n=2)
    ui.pairsTable.setCurrentCell(1, 0)
    text, _ = desk.errors.pop()
    assert text.startswith(f"The synthetic segments at {desk.folder / 'drawn'} have changed since the report was made.")
    (desk.folder / "drawn" / "dataset.json").write_text("{")
    ui.pairsTable.setCurrentCell(0, 0)
    text, _ = desk.errors.pop()
    assert text.startswith("The synthetic segments cannot be read: ")


def test_pairs_are_forgotten_with_the_scene_and_left_alone_outside_the_module(desk, report):
    import slicer

    ui = desk.ready()
    desk.press(ui.evaluateButton)
    ui.pairsTable.setCurrentCell(0, 0)
    desk.widget.exit()
    ui.pairsTable.setCurrentCell(1, 0)
    assert shownPair()["Red"] == "Synthetic 0"
    desk.widget.enter()
    slicer.mrmlScene.Clear(0)
    assert (ui.pairsTable.rowCount, ui.highlightsTable.rowCount, ui.metricsTable.rowCount) == (0, 0, 0)
    assert not ui.pairsTable.visible
    desk.panel.evaluate.onPair(0)
    assert desk.errors == []


def test_after_closing_the_scene_a_pair_is_shown_in_new_nodes(desk, report):
    import slicer

    ui = desk.ready()
    value = desk.press(ui.evaluateButton).value
    desk.logic.showPair(value)
    slicer.mrmlScene.Clear(0)
    volumes = desk.logic.showPair(value, 1)
    assert [volume.GetName() for volume in volumes] == ["Synthetic 1", "Real 1 mirrored", "Synthetic less real"]
    assert volumes[2].GetDisplayNode().GetColorNode().GetName() == "SkullGAN difference"


def test_a_report_without_nearest_neighbours_shows_none(desk, report):
    ui = desk.ready()
    (report / "segments.csv").write_text("set,row,sdr\nreal,0,0.5\nsynthetic,0,\n")
    value = desk.press(ui.evaluateButton).value
    assert value["pairs"] is None
    assert not ui.pairsTable.visible
    with pytest.raises(InputError, match="no nearest neighbours"):
        desk.logic.showPair(value)


# the rest -------------------------------------------------------------------------------------------------------------


def test_the_page_of_the_report_is_opened(desk, report):
    ui = desk.ready()
    desk.press(ui.evaluateButton)
    assert (ui.openReportButton.enabled, tip(ui.openReportButton)) == (True, "Open report.html.")
    ui.openReportButton.click()
    what, (url,) = slicer_host.shown[-1]
    assert what == "openUrl"
    assert url.toLocalFile() == str(desk.folder / "home" / "report-1" / "report.html")


def test_the_choices_of_the_panel_reach_the_child(desk):
    ui = desk.ready()
    offered = [ui.splitComboBox.itemText(i) for i in range(ui.splitComboBox.count)]
    (split,) = (option for option in evaluate.params if option.name == "split")
    assert offered == list(split.type.choices) == ["auto", "all", "train", "val", "test"]
    assert ui.splitComboBox.currentIndex == 0
    ui.splitComboBox.currentIndex = 4
    ui.reportPathLineEdit.currentPath = str(desk.folder / "out")
    desk.script("evaluate", "sys.exit(2)")
    desk.press(ui.evaluateButton)
    sets = ["--real", str(desk.folder / "real"), "--synthetic", str(desk.folder / "drawn")]
    expected = ["evaluate", *sets, "--out", str(desk.folder / "out"), "--split", "test"]
    assert desk.calls("evaluate") == [[*expected, "--artificial", "auto", "--overwrite"]]
    ui.artificialCheckBox.checked = False
    ui.controlPathLineEdit.currentPath = str(desk.dataset("control", "synthetic").path)
    assert desk.press(ui.evaluateButton).error is None
    expected[5:5] = ["--control", str(desk.folder / "control")]
    assert desk.calls("evaluate")[-1] == [*expected, "--overwrite"]
    ui.controlPathLineEdit.currentPath = str(desk.folder)
    assert tip(ui.evaluateButton) == "The folder of the control data set holds none."


def test_the_discriminator_of_the_chosen_model_is_asked_where_it_has_one(desk):
    ui = desk.ready()
    assert not ui.judgeCheckBox.enabled
    assert tip(ui.judgeCheckBox) == "The model that is chosen in section 3 comes without its discriminator."
    desk.script("evaluate", "sys.exit(2)")
    desk.press(ui.evaluateButton)
    assert "--model" not in desk.calls("evaluate")[-1]
    model = desk.folder / "run" / "model"
    (model / "discriminator.safetensors").touch()
    desk.panel.update()
    for path in (model, model.parent):
        desk.parameters.modelPath = str(path)
        assert ui.judgeCheckBox.enabled
        desk.press(ui.evaluateButton)
        call = desk.calls("evaluate")[-1]
        assert call[call.index("--model") :][:4] == ["--model", str(path), "--device", "auto"]
    ui.judgeCheckBox.checked = False
    desk.press(ui.evaluateButton)
    assert "--model" not in desk.calls("evaluate")[-1]


def test_sets_and_metrics_from_the_console_reach_the_child(desk):
    ui = desk.ready()
    desk.script("evaluate", "sys.exit(2)")
    other, made = desk.dataset("other"), desk.dataset("made", "artificial")
    job = desk.logic.evaluate(
        desk.folder / "real", desk.folder / "drawn", desk.folder / "out", training=other, artificial=made,
        model=Run(desk.folder / "run"), metrics=["sdr", "nearest"], seed=4, wait=False,
    )  # fmt: skip
    desk.idle()
    assert job.error is None
    (call,) = desk.calls("evaluate")
    for name, value in (("training", other.path), ("artificial", made.path), ("model", desk.folder / "run" / "model"),
                        ("seed", 4), ("split", "auto")):  # fmt: skip
        assert call[call.index(f"--{name}") + 1] == str(value)
    assert [call[i + 1] for i, word in enumerate(call) if word == "--metric"] == ["sdr", "nearest"]
    assert ui.evaluateButton.enabled


def test_replacing_a_report_is_asked_first(desk, report):
    ui = desk.ready()
    desk.parameters.reportPath = str(report)
    slicer_host.answers["confirmYesNoDisplay"] = False
    ui.evaluateButton.click()
    assert desk.logic.job is None
    assert slicer_host.shown[-1][1].startswith(f"{report} holds an earlier result.")


def test_evaluating_again_shows_the_new_figures(desk, report):
    ui = desk.ready()
    desk.press(ui.evaluateButton)
    (report / "summary.csv").write_text(SUMMARY.replace("5.1234", "7.5"))
    desk.parameters.reportPath = str(desk.folder / "again")
    desk.press(ui.evaluateButton)
    assert cells(ui.metricsTable)[1][:2] == ["thickness (mm)", "7.5"]
    assert ui.metricsTable.rowCount == 2
