"""The fourth section of the panel: figures, plots, pictures and the page of a report."""

from __future__ import annotations

import numpy as np
import pytest
from test_module_panel import cells, makeDesk, tip

import slicer_host

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
DISTRIBUTIONS = """figure,unit,center,real,synthetic
thickness_mm,mm,4.5,0.25,0.5
thickness_mm,mm,5.5,0.75,0.5
sdr,,0.5,1,2
"""


@pytest.fixture
def report(desk):
    """A report folder, and a child of Evaluate that hands it back."""
    import qt

    folder = desk.folder / "made report"
    folder.mkdir()
    (folder / "summary.csv").write_text(SUMMARY)
    (folder / "distributions.csv").write_text(DISTRIBUTIONS)
    (folder / "segments.csv").write_text("set,index,sdr\nreal,0,0.5\nsynthetic,0,\n")
    (folder / "metrics.json").write_text("{}")
    (folder / "report.html").write_text("<p>")
    image = qt.QImage(40, 30, qt.QImage.Format_RGB32)
    image.fill(qt.QColor("green"))
    assert image.save(str(folder / "violin.png"))
    desk.script("evaluate", f"hand({str(folder)!r})")
    return folder


def test_a_report_fills_the_table_and_comes_into_the_scene_in_one_folder(desk, report):
    import slicer

    ui = desk.ready()
    before = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}
    assert not ui.openReportButton.enabled
    job = desk.press(ui.evaluateButton)
    assert job.error is None
    assert cells(ui.metricsTable) == [
        ["figure", "real (mean)", "synthetic (mean)", "KS", "p"],
        ["thickness (mm)", "5.123", "4.9", "0.123", "< 0.001"],
        ["SDR", "0.61", "0.59", "0.050", "0.420"],
    ]
    charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert [chart.GetTitle() for chart in charts] == [
        "Distribution of thickness (mm)", "Distribution of SDR"
    ]  # fmt: skip
    assert [charts[0].GetNthPlotSeriesNode(i).GetName() for i in range(2)] == ["Real", "Synthetic"]
    (picture,) = slicer.util.getNodesByClass("vtkMRMLVectorVolumeNode")
    assert (picture.GetName(), picture.GetImageData().GetDimensions()) == ("Distributions", (40, 30, 1))
    assert np.array_equal(slicer.util.arrayFromVolume(picture)[0, 5, 5], [0, 128, 0])

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = hierarchy.GetItemByName("SkullGAN report drawn against real")
    assert folder
    kinds = ("vtkMRMLTableNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLVectorVolumeNode")
    new = [node for kind in kinds for node in slicer.util.getNodesByClass(kind) if node.GetID() not in before]
    items = [item for item in map(hierarchy.GetItemByDataNode, new) if item]
    assert len(items) > 5
    assert {hierarchy.GetItemParent(item) for item in items} == {folder}


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
    assert [ui.splitComboBox.itemText(i) for i in range(ui.splitComboBox.count)] == ["all", "train", "test"]
    ui.splitComboBox.currentIndex = 2
    ui.reportPathLineEdit.currentPath = str(desk.folder / "out")
    desk.script("evaluate", "sys.exit(2)")
    desk.press(ui.evaluateButton)
    sets = ["--real", str(desk.folder / "real"), "--synthetic", str(desk.folder / "drawn")]
    expected = ["evaluate", *sets, "--out", str(desk.folder / "out"), "--split", "test", "--overwrite"]
    assert desk.calls("evaluate") == [expected]


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
