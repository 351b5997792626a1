"""The report as one HTML page that opens offline: every picture is inside it, and it runs no script."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from SkullGANLib.evaluate.page_style import STYLE
from SkullGANLib.evaluate.registry import GROUPS, Figure, MetricResult
from SkullGANLib.evaluate.summary import (
    HEADINGS,
    JUDGED,
    PaperRow,
    headline_rows,
    highlights,
    interval_words,
    name_words,
    number_words,
    p_words,
    paper_metrics,
    paper_rows,
    percent_words,
    published_words,
)

if TYPE_CHECKING:
    from SkullGANLib.evaluate.report import Picture, Report, SetCard

TITLE = "Synthetic compared with real skull segments"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""A browser that reads this asks no one for anything, and runs no script."""
LARGE_PX = 640
"""A picture wider than this is not shrunk to the width of a telephone, where its words could not be read."""
SCREEN_PER_M = 96 / 0.0254
"""Pixels of a screen, as browsers count them."""


def report_page(report: Report, folder: Path) -> str:
    """The page.

    Args:
        report: what was found.
        folder: where its pictures lie.

    Returns:
        HTML without any reference to another file or host.
    """
    sections = {
        "What was compared": _compared(report),
        "Before you trust the figures": sentence_list(report.warnings, "warnings", "Nothing to warn of."),
        "What was left out": sentence_list(report.left_out, "left-out", "Nothing was left out."),
        "At a glance": _glance(report),
        "The paper's table": _paper(report),
        **_pictures(report, folder),
        "Every figure": "".join(_every_figure(result) for result in report.metrics.values()),
        "How it was made": _made(report),
    }
    sections = {title: content for title, content in sections.items() if content}
    links = "".join(f'<li><a href="#s{i}">{escape(title)}</a></li>' for i, title in enumerate(sections))
    body = "".join(
        f'<section id="s{i}"><h2>{escape(title)}</h2>{content}</section>'
        for i, (title, content) in enumerate(sections.items())
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{TITLE}</title><style>{STYLE}</style></head>"
        f'<body><header><h1>{TITLE}</h1><nav aria-label="Contents"><ul>{links}</ul></nav></header>'
        f"<main>{body}</main></body></html>\n"
    )


def _cards(report: Report) -> dict[str, SetCard]:
    return {"real": report.real, "synthetic": report.synthetic, **report.others}


def _compared(report: Report) -> str:
    rows = []
    for name, card in _cards(report).items():
        subjects = "not known" if card.subjects is None else str(card.subjects)
        size = "{} x {}".format(*card.size_px)
        rows.append([name, card.kind or "-", card.split, str(card.segments), subjects, size])
    headings = ["set", "kind", "part", "segments", "subjects", "pixels"]
    return html_table("The sets", headings, rows) + f"<p>A pixel is {report.spacing_mm:g} mm wide.</p>"


def sentence_list(sentences: list[str], style: str, nothing: str) -> str:
    """Sentences as a list of a CSS class, or ``nothing`` where there are none."""
    if not sentences:
        return f"<p>{nothing}</p>"
    return f'<ul class="{style}">{"".join(f"<li>{escape(each)}</li>" for each in sentences)}</ul>'


def _glance(report: Report) -> str:
    """What decides first, then how far real and synthetic lie apart."""
    parts = []
    found = highlights(report)
    if found:
        rows = [
            [
                escape(each.title),
                figure_cell(each.figure),
                "-" if each.floor is None else figure_cell(each.floor),
                *(escape(words or "-") for words in (each.published, each.aim)),
            ]
            for each in found
        ]
        parts.append(html_table("What decides", ["", "value", "floor: real against real", "published", "aim"], rows))
    rows = [
        [escape(title), *map(figure_cell, (real, synthetic, ks)), escape(p_words(ks.detail["p"])), figure_cell(w1)]
        for title, real, synthetic, ks, w1 in headline_rows(report)
    ]
    if rows:
        parts.append(html_table("Radiological figures of real and synthetic segments", HEADINGS, rows))
    return "".join(parts) and "".join(parts) + (
        '<p class="note">Below each figure stands its 95 % interval: by bootstrap, over subjects where they are known, '
        "and exact for the share of copies. KS: largest gap between the two cumulative distributions, 0 to 1, and the "
        "p of its test. W1: mean distance by which values would have to move. The intervals of these two lean upwards, "
        "since resampling moves two sets apart more often than together. Frechet and kernel distance, precision, "
        "recall and diversity depend on the encoder, which is learnt from the training segments; their intervals leave "
        "that out, so compare reports only where the encoder is the same (under every figure).</p>"
    )


def _paper(report: Report) -> str:
    rows = paper_rows(report)
    metrics = [*paper_metrics(report)]
    judged = [heading for heading in JUDGED.values() if any(heading in row.verdicts for row in rows)]
    if not metrics and not judged:
        return ""
    notes = ["Mean ± standard deviation; below it the KS distance from the real set and the p of its test."]
    if JUDGED["called_real"] in judged:
        notes.append("Called real: share that the discriminator holds for real with a probability of 0.5 or more.")
        notes += _gaps(report.metrics["discriminator"].figures)
    elif judged:
        notes.append(
            "This discriminator is relativistic: it tells only which of two segments is the more real. The last column "
            "gives how often that is the one of the real set; 0.5: it sees no difference, below: it takes the real "
            "ones for the less real."
        )
    headings = ["set", *(report.metrics[name].title for name in metrics), *judged]
    cells = [_paper_row(row, metrics, judged) for row in rows]
    table = html_table("Radiological figures and discriminator, set by set", headings, cells)
    return f'{table}<p class="note">{" ".join(map(escape, notes))}</p>'


def _gaps(figures: Mapping[str, Figure]) -> list[str]:
    """How much more of its training set than of held-out subjects the discriminator calls real."""
    sentences = []
    for name, way in (("gap", ""), ("gap_batchwise", " batch by batch")):
        gap = figures.get(name)
        if gap is not None and gap.value is not None:
            published = gap.detail.get("published")
            known = "" if published is None else f" (published: {100 * published:.0f})"
            sentences.append(
                f"It calls {100 * gap.value:.0f} points more of its training set real than of held-out "
                f"subjects{way}{known}; that is how far it is over-fitted."
            )
    return sentences


def _paper_row(row: PaperRow, metrics: Sequence[str], judged: Sequence[str]) -> list[str]:
    cells = [escape(row.name)]
    for metric in metrics:
        if metric not in row.moments:
            cells.append("-")
            continue
        mean, sd = row.moments[metric]
        bare = number_words(mean.value, mean.unit).removesuffix(mean.unit).strip()
        text = f'<span class="n">{bare} ± {number_words(sd.value, sd.unit)}</span>'
        distance = row.distances.get(metric)
        if distance is not None:
            p = p_words(distance.detail["p"])
            words = f"KS {number_words(distance.value)}, p {p if p.startswith('<') else f'= {p}'}"
            text += f'<br><small class="n">{escape(words)}</small>'
        cells.append(text)
    for heading in judged:
        figure = row.verdicts.get(heading)
        published = None if figure is None else figure.detail.get("published")
        if figure is None:
            cells.append("-")
        elif heading == JUDGED["auc"]:
            cells.append(figure_cell(figure))
        else:
            known = "" if published is None else f"<br><small>published {percent_words(published)}</small>"
            cells.append(f'<span class="n">{percent_words(figure.value)}</span>{known}')
    return cells


def _pictures(report: Report, folder: Path) -> dict[str, str]:
    """Heading of each group to its pictures."""
    groups = {group: [each for each in report.pictures if each.group == group] for group in GROUPS}
    return {GROUPS[group]: "".join(picture_html(each, folder) for each in found) for group, found in groups.items()}


def picture_html(picture: Picture, folder: Path) -> str:
    """A picture of ``folder`` inside the page, with its title."""
    data = (folder / picture.file).read_bytes()
    width, height = _size(data)
    title, size = escape(picture.title), f'width="{width}" height="{height}"'
    large = ' class="large"' if width > LARGE_PX else ""
    image = f'<img alt="{title}"{large} {size} src="data:image/png;base64,{base64.b64encode(data).decode()}">'
    return f"<figure><figcaption>{title}</figcaption>{_box(title, image)}</figure>"


def _size(png: bytes) -> tuple[int, int]:
    """Width and height on the screen: of a picture that says how fine it was drawn, as it was meant."""
    width, height = struct.unpack(">II", png[16:24])
    at = png.find(b"pHYs", 0, 1024)
    finer = struct.unpack(">I", png[at + 4 : at + 8])[0] / SCREEN_PER_M if at > 0 else 1.0
    return round(width / max(finer, 1)), round(height / max(finer, 1))


def _every_figure(result: MetricResult) -> str:
    rows = []
    for name, figure in result.figures.items():
        detail = {key: value for key, value in figure.detail.items() if key != "published"}
        rows.append(
            [
                escape(name_words(name)),
                figure_cell(figure),
                escape(published_words(figure) or "-"),
                str(figure.n),
                "-" if figure.subjects is None else str(figure.subjects),
                escape(figure.resampled or "-"),
                escape(", ".join(f"{name_words(key)} {_detail(key, value)}" for key, value in detail.items())),
            ]
        )
    headings = ["figure", "value", "published", "segments", "subjects", "resampled over", ""]
    summary = f"{escape(result.title)} <small>{len(rows)} figure{'s' * (len(rows) != 1)}</small>"
    return f"<details><summary>{summary}</summary>{html_table(result.title, headings, rows)}</details>"


def _made(report: Report) -> str:
    times = [[escape(result.title), f"{result.seconds:.1f} s"] for result in report.metrics.values()]
    times.append(["all, with pictures", f"{report.seconds:.1f} s"])
    hashes = [[name, f"<code>{escape(card.sha256)}</code>"] for name, card in _cards(report).items()]
    words = (
        f"Made by SkullGAN {report.library} with seed {report.seed}: the same seed and sets give the same figures on "
        "the same machine, and nearly the same on another."
    )
    return (
        f"<p>{escape(words)}</p>"
        + html_table("Contents of the sets", ["set", "SHA-256"], hashes)
        + html_table("Time that each metric took", ["metric", "time"], times)
    )


def _detail(key: str, value: object) -> str:
    return p_words(value) if key == "p" else f"{value:.3g}" if isinstance(value, float) else str(value)


def figure_cell(figure: Figure) -> str:
    """A figure with its interval, as the HTML of a cell."""
    interval = interval_words(figure)
    value = f'<span class="n">{escape(number_words(figure.value, figure.unit))}</span>'
    return value + (f'<br><small class="n">{escape(interval)}</small>' if interval else "")


def html_table(caption: str, headings: Sequence[str], rows: list[list[str]]) -> str:
    """A table in a box that scrolls where the screen is narrow; cells are HTML, and the first heads its row."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' if heading else "<td></td>" for heading in headings)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    caption = escape(caption)
    table = (
        f"<table><caption><span>{caption}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
    return _box(caption, table)


def _box(label: str, content: str) -> str:
    return f'<div class="box" role="region" tabindex="0" aria-label="{label}">{content}</div>'
