"""The report as one HTML page that opens offline: every picture is inside it."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from SkullGANLib.evaluate.registry import METRICS, Figure

if TYPE_CHECKING:
    from SkullGANLib.evaluate.report import Report, SetCard

DECIMALS = {"": 3, "mm": 2, "HU": 0, "1/m": 1}
HEADINGS = ("", "real mean", "synthetic mean", "KS", "p", "W1")

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid #ddd; vertical-align: top }
img { max-width: 100%; height: auto } small { color: #666 } code { overflow-wrap: anywhere; font-size: .8rem }
ul.warnings { background: #fff4e0; border-left: 4px solid #d9822b; padding: .7rem 1rem .7rem 2rem }
@media print { body { margin: 0 } h2 { break-after: avoid } img { break-inside: avoid } }
"""


def number_words(value: float | None, unit: str = "") -> str:
    """A number for people, with the digits its unit deserves: "6.52 mm"."""
    if value is None:
        return "-"
    if (isinstance(value, float) and not value.is_integer()) or unit:
        return f"{value:.{DECIMALS.get(unit, 3)}f} {unit}".strip()
    return f"{value:g}"


def interval_words(figure: Figure) -> str:
    """The 95 % interval as "low to high", or nothing."""
    if figure.interval is None:
        return ""
    return " to ".join(number_words(end, figure.unit).removesuffix(figure.unit).strip() for end in figure.interval)


def p_words(p: float) -> str:
    """A p value for people."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def headline_rows(report: Report) -> list[tuple[str, Figure, Figure, Figure, Figure]]:
    """Title and the figures real mean, synthetic mean, KS and W1 of every headline metric that was computed."""
    rows = []
    for name, result in report.metrics.items():
        if name in METRICS and METRICS[name].headline and "ks" in result.figures:
            figures = (result.figures[each] for each in ("real_mean", "synthetic_mean", "ks", "wasserstein"))
            rows.append((result.title, *figures))
    return rows


def report_page(report: Report, folder: Path) -> str:
    """The page.

    Args:
        report: what was found.
        folder: where its pictures lie.

    Returns:
        HTML without any reference to another file or host.
    """
    parts = [
        "<h1>Synthetic compared with real skull segments</h1>",
        _compared(report),
        "<h2>Before you trust the figures</h2>" + _warnings(report.warnings),
        "<h2>At a glance</h2>" + _headline(report),
    ]
    for picture in report.pictures:
        data = base64.b64encode((folder / picture.file).read_bytes()).decode()
        title = escape(picture.title)
        parts.append(f'<h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{data}">')
    parts.append("<h2>Every figure</h2>" + _all_figures(report))
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Synthetic compared with real skull segments</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _compared(report: Report) -> str:
    def row(name: str, card: SetCard) -> list[str]:
        subjects = "not known" if card.subjects is None else str(card.subjects)
        size = "{} x {} px".format(*card.size_px)
        return [name, str(card.segments), subjects, card.kind or "-", card.split, size, f"<code>{card.sha256}</code>"]

    rows = [row("real", report.real), row("synthetic", report.synthetic)]
    table = _table(["", "segments", "subjects", "kind", "part", "size", "SHA-256"], rows)
    return f"{table}<p><small>Pixel {report.spacing_mm:g} mm, seed {report.seed}, version {report.library}.</small></p>"


def _warnings(warnings: list[str]) -> str:
    if not warnings:
        return "<p>Nothing to warn of.</p>"
    return f'<ul class="warnings">{"".join(f"<li>{escape(each)}</li>" for each in warnings)}</ul>'


def _headline(report: Report) -> str:
    rows = [
        [escape(title), *map(_cell, (real, synthetic, ks)), escape(p_words(ks.detail["p"])), _cell(w1)]
        for title, real, synthetic, ks, w1 in headline_rows(report)
    ]
    return _table(HEADINGS, rows) + (
        "<p><small>Below each figure its 95 % bootstrap interval, over subjects where they are known. KS: largest gap "
        "between the two cumulative distributions, 0 to 1, and the p of its test. W1: mean distance by which values "
        "would have to move. The interval of a distance leans upwards, since resampling "
        "moves two sets apart more often than together.</small></p>"
    )


def _all_figures(report: Report) -> str:
    rows = []
    for result in report.metrics.values():
        for name, figure in result.figures.items():
            over = escape(figure.resampled or "-")
            detail = ", ".join(f"{key} {_detail(value)}" for key, value in figure.detail.items())
            rows.append(
                [
                    escape(result.title),
                    escape(name.replace("_", " ")),
                    _cell(figure),
                    str(figure.n),
                    over,
                    escape(detail),
                ]
            )
    return _table(["metric", "figure", "value", "n", "resampled over", ""], rows)


def _detail(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cell(figure: Figure) -> str:
    value, interval = number_words(figure.value, figure.unit), interval_words(figure)
    return value + (f"<br><small>{interval}</small>" if interval else "")


def _table(headings: list[str] | tuple[str, ...], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
