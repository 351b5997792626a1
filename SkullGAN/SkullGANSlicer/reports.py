"""A report folder in the scene: tables as table nodes, distributions and maps as plots, pictures as pictures."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import plots, scene
from .pairs import Pairs, nearestPairs
from .words import spoken

TITLES = {"violin": "Distributions", "montage": "Samples", "nearest": "Nearest real segments", "tsne": "Maps"}
HIGHLIGHTS = ("figure", "value", "95 % interval", "real against real", "published", "aim")
MAP = "tsne_"  # begins the columns of a map, of which "_x" and "_y" are the ends


def showReport(folder: Path, *, name: str, sets: Mapping[str, Path]) -> dict[str, Any]:
    """Put a report into the scene.

    Args:
        folder: written by ``skullgan evaluate``.
        name: of the subject hierarchy folder.
        sets: folder or ``.npy`` of the ``synthetic`` segments, and of the ``training`` ones that copies were looked
            for in.

    Returns:
        ``summary`` and ``segments`` to table nodes, ``tables`` to all table nodes, ``plots`` and ``pictures`` to lists
        of nodes, ``report`` to the path of ``report.html``, ``rows`` to what the panel shows of the distributions:
        (figure, real, synthetic, KS, p), ``highlights`` to what decides: (figure, value, interval, real against real,
        published, aim), ``pairs`` to the nearest neighbours, None where they were not computed.
    """
    from SkullGANLib.evaluate.report import read_report

    report = read_report(folder)
    item = scene.makeFolder(f"SkullGAN report {name}")
    columns = {path.stem: readColumns(path) for path in sorted(folder.glob("*.csv"))}
    titles = {picture.file: picture.title for picture in report.pictures}
    tables = {
        stem: scene.showTable(found, name=f"{name} {stem}", folder=item)
        for stem, found in columns.items()
        if stem != "distributions"  # which the plots show
    }
    found = nearestPairs(columns["segments"])
    if found:
        tables["nearest"] = scene.showTable(found, name=f"{name} nearest neighbours", folder=item)
    cards = {"synthetic": report.synthetic, "training": report.others.get("training", report.real)}
    hashes = {which: card.sha256 for which, card in cards.items()}
    return {
        "report": folder / "report.html",
        "summary": tables["summary"],
        "segments": tables["segments"],
        "tables": list(tables.values()),
        "plots": _showDistributions(columns.get("distributions", {}), item) + _showMaps(columns["segments"], item),
        "pictures": [
            scene.showPicture(path, name=TITLES.get(path.stem, titles.get(path.name, path.stem)), folder=item)
            for path in sorted(folder.glob("*.png"))
        ],
        "rows": summaryRows(columns["summary"]),
        "highlights": highlightRows(report),
        "left_out": report.left_out,
        "pairs": Pairs(found, dict(sets), hashes, report.spacing_mm) if found else None,
    }


def highlightRows(report: Any) -> list[tuple[str, ...]]:
    """One line of words for each figure that decides; see ``HIGHLIGHTS``."""
    from SkullGANLib.evaluate.summary import highlights, interval_words, number_words

    rows = []
    for each in highlights(report):
        floor = "" if each.floor is None else number_words(each.floor.value, each.floor.unit)
        value = number_words(each.figure.value, each.figure.unit)
        rows.append((each.title, value, interval_words(each.figure), floor, each.published, each.aim))
    return rows


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


def _showDistributions(table: Mapping[str, np.ndarray], item: int) -> list[Any]:
    """A chart for each figure, with a line for each set in which it was measured."""
    charts = []
    for figure in dict.fromkeys(table.get("figure", ())):
        rows = table["figure"] == figure
        unit = str(table["unit"][rows][0])
        lines = {
            name.capitalize(): column[rows]
            for name, column in table.items()
            if name not in ("figure", "unit", "center") and np.isfinite(column[rows]).any()
        }
        title = spoken(str(figure), unit)
        chart = plots.showLines(
            table["center"][rows], lines, name=f"Distribution of {title}", xTitle=title, yTitle="density", folder=item
        )
        charts.append(chart)
    return charts


def _showMaps(segments: Mapping[str, np.ndarray], item: int) -> list[Any]:
    """A chart for each map that a metric has laid out, with the points of each set."""
    charts = []
    for name in [name[:-2] for name in segments if name.startswith(MAP) and name.endswith("_x")]:
        x, y = segments[f"{name}_x"], segments[f"{name}_y"]
        series = {}
        for each in dict.fromkeys(segments["set"]):
            rows = (segments["set"] == each) & np.isfinite(x) & np.isfinite(y)
            if rows.any():
                series[str(each).capitalize()] = x[rows], y[rows]
        if series:
            charts.append(plots.showPoints(series, name=f"Map of {name.removeprefix(MAP)}", folder=item))
    return charts


def readColumns(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV file; numbers where every cell is one or empty (NaN), text otherwise."""
    with open(path, newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    columns = {}
    for name, cells in zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True):
        try:
            columns[name] = np.array([float(cell) if cell else np.nan for cell in cells])
        except ValueError:
            columns[name] = np.array(cells)
    return columns
