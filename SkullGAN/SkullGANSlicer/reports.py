"""A report folder in the scene: tables as table nodes, distributions as plots, pictures as pictures."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from . import plots, scene
from .words import spoken

TITLES = {"violin": "Distributions", "montage": "Samples", "nearest": "Nearest real segments"}


def showReport(folder: Path, *, name: str) -> dict[str, Any]:
    """Put a report into the scene.

    Args:
        folder: written by ``skullgan evaluate``.
        name: of the subject hierarchy folder.

    Returns:
        ``summary`` and ``segments`` to table nodes, ``plots`` and ``pictures`` to lists of nodes, ``report`` to the
        path of ``report.html``, ``rows`` to what the panel shows: (figure, real, synthetic, KS, p).
    """
    item = scene.makeFolder(f"SkullGAN report {name}")
    summary = readColumns(folder / "summary.csv")
    shown = {
        "report": folder / "report.html",
        "summary": scene.showTable(summary, name=f"{name} summary", folder=item),
        "segments": scene.showTable(readColumns(folder / "segments.csv"), name=f"{name} segments", folder=item),
        "plots": _showDistributions(folder / "distributions.csv", item),
        "pictures": [
            scene.showPicture(path, name=TITLES.get(path.stem, path.stem), folder=item)
            for path in sorted(folder.glob("*.png"))
        ],
        "rows": summaryRows(summary),
    }
    return shown


def summaryRows(summary: dict[str, np.ndarray]) -> list[tuple[str, str, str, str, str]]:
    """One line of words for each metric: name with unit, mean of real and synthetic, KS statistic, its p."""
    figures: dict[str, dict[str, tuple[float, float]]] = {}
    units: dict[str, str] = {}
    for metric, figure, value, unit, p in zip(
        *(summary[k] for k in ("metric", "figure", "value", "unit", "p")), strict=True
    ):
        figures.setdefault(str(metric), {})[str(figure)] = (float(value), float(p))
        units[str(metric)] = units.get(str(metric)) or str(unit)
    rows = []
    for metric, found in figures.items():
        if {"real_mean", "synthetic_mean", "ks"} <= set(found):
            ks, p = found["ks"]
            values = (f"{found[key][0]:.4g}" for key in ("real_mean", "synthetic_mean"))
            rows.append((spoken(metric, units[metric]), *values, f"{ks:.3f}", "< 0.001" if p < 0.001 else f"{p:.3f}"))
    return rows


def _showDistributions(path: Path, item: int) -> list[Any]:
    if not path.is_file():
        return []
    table = readColumns(path)
    charts = []
    for figure in dict.fromkeys(table["figure"]):
        rows = table["figure"] == figure
        unit = str(table["unit"][rows][0])
        lines = {name: table[name.lower()][rows] for name in ("Real", "Synthetic")}
        title = spoken(str(figure), unit)
        chart = plots.showLines(
            table["center"][rows], lines, name=f"Distribution of {title}", xTitle=title, yTitle="density", folder=item
        )
        charts.append(chart)
    return charts


def readColumns(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV file; numbers where every cell is one or empty (NaN), text otherwise."""
    with open(path, newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    columns = {}
    for name, cells in zip(names, zip(*rows, strict=True), strict=True):
        try:
            columns[name] = np.array([float(cell) if cell else np.nan for cell in cells])
        except ValueError:
            columns[name] = np.array(cells)
    return columns
