"""Charts: what is drawn, and how a live one fares."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

import slicer_host
from SkullGANLib.errors import InputError

sys.path.append(str(slicer_host.MODULE_FOLDER))
from SkullGANSlicer import plots, scene


@pytest.fixture(autouse=True)
def host():
    slicer_host.start(gui=False)
    slicer_host.reset()


def drawn(chart):
    """Name of each line to its (x, y)."""
    lines = {}
    for index in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(index)
        table = series.GetTableNode().GetTable()
        columns = (table.GetColumnByName(name) for name in (series.GetXColumnName(), series.GetYColumnName()))
        lines[series.GetName()] = tuple(vtk_to_numpy(column).copy() for column in columns)
    return lines


def test_lines_are_drawn_in_their_own_colours():
    x, series = np.array([1.0, 2, 4]), {"Real": np.array([3.0, 4, 5]), "Synthetic": np.array([1, 2, 2])}
    chart = plots.showLines(x, series, name="SDR", xTitle="sdr", yTitle="density")
    lines = drawn(chart)
    for name, values in series.items():
        np.testing.assert_array_equal(lines[name], (x, values))
    first, second = (chart.GetNthPlotSeriesNode(i) for i in range(2))
    assert first.GetColor() != second.GetColor()
    for line in (first, second):
        assert line.GetPlotType() == line.PlotTypeScatter
        assert line.GetMarkerStyle() == line.MarkerStyleNone
        assert line.GetLineStyle() == line.LineStyleSolid
    assert chart.GetLegendVisibility()
    assert (chart.GetTitle(), chart.GetXAxisTitle(), chart.GetYAxisTitle()) == ("SDR", "sdr", "density")
    with pytest.raises(InputError, match="nothing to draw"):
        plots.showLines(x, {}, name="none", xTitle="x", yTitle="y")
    with pytest.raises(InputError, match="different lengths"):
        plots.showLines(x, {"short": x[:2]}, name="short", xTitle="x", yTitle="y")


def test_a_line_may_be_called_as_the_axis():
    chart = plots.showLines(np.arange(2), {"sdr": np.arange(2) * 5}, name="SDR", xTitle="sdr", yTitle="density")
    np.testing.assert_array_equal(drawn(chart)["sdr"], ([0, 1], [0, 5]))


def test_a_live_plot_grows_and_lines_may_join_later():
    plot = plots.LivePlot("Training", "images", "loss")
    assert plot.chart is None
    plot.append(100, generator=2.0)
    plot.append(200, generator=1.5, discriminator=0.5)
    plot.append(300, discriminator=0.25)
    lines = drawn(plot.chart)
    np.testing.assert_array_equal(lines["generator"], ([100, 200, 300], [2.0, 1.5, np.nan]))
    np.testing.assert_array_equal(lines["discriminator"], ([100, 200, 300], [np.nan, 0.5, 0.25]))
    table = plot.chart.GetNthPlotSeriesNode(0).GetTableNode()
    heard = []
    table.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: heard.append(1))
    plot.append(400, generator=1.0)
    assert heard
    assert table.GetColumnTitle("x") == "images"


def test_a_live_plot_survives_a_closed_scene_and_a_deleted_chart():
    folder = scene.makeFolder("run")
    plot = plots.LivePlot("Training", "images", "loss", folder)
    plot.append(1, loss=3.0)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(plot.chart)) == folder
    slicer.mrmlScene.Clear(0)
    assert plot.chart is None
    plot.append(2, loss=2.0)
    np.testing.assert_array_equal(drawn(plot.chart)["loss"], ([1, 2], [3, 2]))
    slicer.mrmlScene.RemoveNode(plot.chart.GetNthPlotSeriesNode(0).GetTableNode())
    plot.append(3, loss=1.0)
    np.testing.assert_array_equal(drawn(plot.chart)["loss"], ([1, 2, 3], [3, 2, 1]))
    for kind, count in {"vtkMRMLPlotChartNode": 1, "vtkMRMLPlotSeriesNode": 1, "vtkMRMLTableNode": 1}.items():
        assert slicer.mrmlScene.GetNumberOfNodesByClass(kind) == count


def test_a_row_of_a_long_live_plot_is_cheap():
    plot = plots.LivePlot("Training", "images", "loss")
    for x in range(5000):
        plot.append(x, generator=1.0, discriminator=2.0)
    start = time.perf_counter()
    for x in range(100):
        plot.append(x, generator=1.0, discriminator=2.0)
    assert (time.perf_counter() - start) / 100 < 5e-3
    assert len(drawn(plot.chart)["generator"][0]) == 5100
