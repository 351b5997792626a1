"""Lines on charts: a finished set of them, and one that grows while something runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer
import vtk

from SkullGANLib.errors import InputError

from .scene import COLOURS, lockedTable, putInFolder, showTable

POINT_SIZE = 5.0


def showLines(
    x: np.ndarray, series: Mapping[str, np.ndarray], *, name: str, xTitle: str, yTitle: str, folder: int = 0
) -> Any:
    """Lines on one chart.

    Args:
        x: (n,) numbers.
        series: name in the legend to (n,) numbers; NaN leaves a gap.
        name: title of the chart, and name of the nodes.
        xTitle: what x is, with its unit.
        yTitle: what the lines are, with their unit.
        folder: made by ``makeFolder``.

    Returns:
        ``vtkMRMLPlotChartNode``, with a series node for each line and one table node.

    Raises:
        InputError: no line, or lines of another length than x.
    """
    if not series:
        raise InputError(f'There is nothing to draw on "{name}".', "Give at least one line.")
    xName = xTitle if xTitle not in series else f"{xTitle} (x)"
    columns = {xName: np.asarray(x, float)} | {key: np.asarray(values, float) for key, values in series.items()}
    table = showTable(columns, name=f"{name} table", folder=folder)
    chart = _chart(name, xTitle, yTitle, folder)
    for line in series:
        _addLine(chart, table, xName, line, folder)
    return chart


def showBars(columns: Mapping[str, np.ndarray], *, name: str, yTitle: str, folder: int = 0) -> Any:
    """Shares as bars, and lines to hold them against.

    Args:
        columns: the words below the bars, then the heights of the bars, then of each line, all of length n, 0 to 1.
        name: title of the chart, and name of the nodes.
        yTitle: what the bars are.
        folder: made by ``makeFolder``.

    Returns:
        ``vtkMRMLPlotChartNode``, with a series node for the bars and for each line, and one table node.
    """
    table = showTable(columns, name=f"{name} table", folder=folder)
    chart = _chart(name, "", yTitle, folder)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0, 1)
    words, bars, *_lines = columns
    for column in list(columns)[1:]:
        series = _addLine(chart, table, "", column, folder)
        series.SetLabelColumnName(words)
        series.SetPlotType(series.PlotTypeBar if column == bars else series.PlotTypeLine)
    return chart


def showPoints(series: Mapping[str, tuple[np.ndarray, np.ndarray]], *, name: str, folder: int = 0) -> Any:
    """Points on one chart, a colour for each group; the axes have no unit.

    Args:
        series: name in the legend to (n,) x and (n,) y.
        name: title of the chart, and name of the nodes.
        folder: made by ``makeFolder``.

    Returns:
        ``vtkMRMLPlotChartNode``, with a series node and a table node for each group.
    """
    chart = _chart(name, "", "", folder)
    for group, (x, y) in series.items():
        table = showTable({"x": x, group: y}, name=f"{name} {group} table", folder=folder)
        points = _addLine(chart, table, "x", group, folder)
        points.SetLineStyle(points.LineStyleNone)
        points.SetMarkerStyle(points.MarkerStyleCircle)
        points.SetMarkerSize(POINT_SIZE)
    return chart


class LivePlot:
    """A chart that grows by a row at a time; if the scene is closed meanwhile, the next row makes it anew, whole.

    Args:
        name: title of the chart, and name of the nodes.
        xTitle: what x is, with its unit.
        yTitle: what the lines are, with their unit.
        folder: made by ``makeFolder``; forgotten once the scene was closed.
    """

    def __init__(self, name: str, xTitle: str, yTitle: str, folder: int = 0) -> None:
        self._name, self._xTitle, self._yTitle, self._folder = name, xTitle, yTitle, folder
        self._rows = vtk.vtkTable()  # outlives the nodes that show it
        self._rows.AddColumn(_numbers("x", 0))  # no line can be called so
        self._chart = self._table = None

    @property
    def chart(self) -> Any:
        """The ``vtkMRMLPlotChartNode``; None before the first row, and from the closing of the scene to the next."""
        return self._chart if _present(self._chart) and _present(self._table) else None

    def append(self, x: float, **values: float) -> None:
        """Add a row.

        Args:
            x: where.
            values: name in the legend to number. A line may begin later than others; it has a gap
                where it leaves out a row.
        """
        if self.chart is None:
            self._show()
        for line in values:
            if self._rows.GetColumnByName(line) is None:
                self._rows.AddColumn(_numbers(line, self._rows.GetNumberOfRows()))
                _addLine(self._chart, self._table, "x", line, self._folder)
        for index in range(self._rows.GetNumberOfColumns()):
            column = self._rows.GetColumn(index)
            column.InsertNextValue(float(values.get(column.GetName(), np.nan) if index else x))
            column.Modified()
        self._rows.Modified()

    def _show(self) -> None:
        """New nodes around the rows that there are; of the old ones some may be left."""
        if self._chart is not None:
            self._folder = 0
            leftover = [self._table, self._chart]
            if _present(self._chart):
                leftover += [
                    self._chart.GetNthPlotSeriesNode(i) for i in range(self._chart.GetNumberOfPlotSeriesNodes())
                ]
            for node in filter(_present, leftover):
                slicer.mrmlScene.RemoveNode(node)
        self._table = lockedTable(self._rows, f"{self._name} table", self._folder)
        self._table.SetColumnTitle("x", self._xTitle)
        self._chart = _chart(self._name, self._xTitle, self._yTitle, self._folder)
        for index in range(1, self._rows.GetNumberOfColumns()):
            _addLine(self._chart, self._table, "x", self._rows.GetColumnName(index), self._folder)


def _chart(name: str, xTitle: str, yTitle: str, folder: int) -> Any:
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", name)
    chart.SetTitle(name)
    chart.SetXAxisTitle(xTitle)
    chart.SetYAxisTitle(yTitle)
    chart.SetLegendVisibility(True)
    putInFolder(chart, folder)
    return chart


def _addLine(chart: Any, table: Any, xName: str, line: str, folder: int) -> Any:
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", line)
    series.SetName(line)  # the legend shows it: not made unique by the scene
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(xName)
    series.SetYColumnName(line)
    series.SetPlotType(series.PlotTypeScatter)  # Slicer's line type has no x of its own
    series.SetMarkerStyle(series.MarkerStyleNone)
    series.SetLineStyle(series.LineStyleSolid)
    series.SetLineWidth(2)
    series.SetColor(*COLOURS[chart.GetNumberOfPlotSeriesNodes() % len(COLOURS)])
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    putInFolder(series, folder)
    return series


def _numbers(name: str, rows: int) -> vtk.vtkDoubleArray:
    """A column that holds no number in any of its rows yet."""
    column = vtk.vtkDoubleArray()
    column.SetName(name)
    column.SetNumberOfValues(rows)
    column.Fill(np.nan)
    return column


def _present(node: Any) -> bool:
    return node is not None and bool(slicer.mrmlScene.IsNodePresent(node))
