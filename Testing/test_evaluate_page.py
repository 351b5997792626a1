"""The page of a report: what stands where, and how a browser shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from test_evaluate_report import bands, make

from SkullGANLib.evaluate.page import LARGE_PX, POLICY, report_page
from SkullGANLib.evaluate.registry import Figure, Judge, MetricResult, choose_metrics
from SkullGANLib.evaluate.report import Picture, Report, SetCard, evaluate_datasets
from SkullGANLib.evaluate.summary import highlight_words, highlights, name_words, number_words, paper_rows
from SkullGANLib.segments.dataset import SegmentDataset

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="there is no Chromium here (on Debian: apt-get install chromium): no browser shows the page",
)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--disable-dev-shm-usage",
    "--virtual-time-budget=10000", "--enable-logging=stderr", "--v=0",
]  # fmt: skip
PROBE = """
<script>
var refused = [];
addEventListener("securitypolicyviolation", e => refused.push(e.blockedURI));
addEventListener("load", () => setTimeout(() => parent.postMessage(JSON.stringify({
  refused, width: innerWidth, needed: document.documentElement.scrollWidth,
  images: [...document.images].map(i => [i.naturalWidth, +i.getAttribute("width"), i.clientWidth]),
  asked: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
  outside: [...document.querySelectorAll("h1, h2, p, li, summary, figcaption")]
    .filter(e => e.getBoundingClientRect().right > innerWidth).map(e => e.textContent),
  smallest: Math.min(...[...document.querySelectorAll("td, th, p, li, small")]
    .map(e => parseFloat(getComputedStyle(e).fontSize))),
}), "*"), 50));
</script>
"""
FRAME = """<!DOCTYPE html><meta charset="utf-8"><iframe src="page.html" style="width:{}px;height:900px"></iframe>
<script>addEventListener("message", e => {{ document.body.textContent = "FOUND" + e.data + "END"; }});</script>"""


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A report of all six sets with two ways to ask a discriminator, and its folder."""
    folder = tmp_path_factory.mktemp("page")
    make(folder / "real", bands(120, 0), subjects=24).split(by="subject", seed=1)
    hu = np.concatenate([bands(20, 3), bands(20, 4)])
    group = np.repeat(["idealised", "unrealistic"], 20)
    artificial = SegmentDataset.create(folder / "artificial", hu, {"group": group}, kind="artificial", spacing_mm=0.45)
    report = evaluate_datasets(
        SegmentDataset.open(folder / "real"),
        make(folder / "synthetic", bands(45, 1), kind="synthetic", subjects=0),
        folder / "report",
        control=make(folder / "control", bands(40, 2, brightness=0.6), kind="synthetic", subjects=0),
        artificial=artificial,
        judge=Judge(brightness, batchwise=lambda hu: 1 - brightness(hu)),
        metrics=["sdr", "thickness_mm", "intensity_hu", "outer_table_mm", "discriminator", "nearest"],
    )
    return report, folder / "report"


def brightness(hu):
    return 1 / (1 + np.exp(-(np.asarray(hu, float).max((1, 2)) - 1500) / 50))


@pytest.fixture
def browse(tmp_path):
    """Shows a page in a frame of some width; gives what its probe found and what the console said."""

    def show(page: str, width: int) -> tuple[dict, list[str]]:
        probed = page.replace(POLICY, f"{POLICY}; script-src 'unsafe-inline'").replace("<head>", "<head>" + PROBE, 1)
        (tmp_path / "page.html").write_text(probed, encoding="utf-8")
        (tmp_path / "frame.html").write_text(FRAME.format(width), encoding="utf-8")
        answer = run(tmp_path, f"--window-size={width + 100},1000", "--dump-dom", str(tmp_path / "frame.html"))
        found = json.loads(re.search("FOUND(.*)END", answer.stdout, re.DOTALL).group(1).replace("&amp;", "&"))
        return found, [line for line in answer.stderr.splitlines() if "CONSOLE" in line]

    return show


def run(folder, *options):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *options]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=60)


def content(folder) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """The words of a section, tags as spaces."""
    found = re.search(rf"<h2>{escape(title)}</h2>(.*?)</section>", page, re.DOTALL).group(1)
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found)))


# in the browser -------------------------------------------------------------------------------------------------------


@needs_chromium
@pytest.mark.parametrize("width", [400, 1600])
def test_a_browser_shows_the_whole_page_without_scrolling_sideways_or_asking_anyone(everything, browse, width):
    found, said = browse(content(everything[1]), width)
    assert said == []
    assert (found["refused"], found["asked"]) == ([], [])
    assert found["width"] == width
    assert found["needed"] <= width
    assert found["outside"] == []
    assert found["smallest"] >= 12
    assert len(found["images"]) == len(everything[0].pictures) >= 4
    for natural, meant, shown in found["images"]:
        assert natural > 0
        assert shown >= (700 if width == 400 and meant > LARGE_PX else min(meant, 350 if width == 400 else 1000))


@needs_chromium
def test_the_browser_would_have_told_of_a_lost_picture_a_wide_table_and_a_request(browse):
    broken = (
        f"<head><meta http-equiv='Content-Security-Policy' content=\"{POLICY}\"></head><body>"
        "<img src='data:image/png;base64,AAAA'><p style='width:3000px'>wide</p>"
        "<img src='https://example.invalid/a.png'></body>"
    )
    found, said = browse(broken, 400)
    assert found["needed"] > 400
    assert found["outside"] == ["wide"]
    assert [image[0] for image in found["images"]] == [0, 0]
    assert found["refused"] == ["https://example.invalid/a.png"]
    assert said


@needs_chromium
def test_every_figure_is_open_on_paper(everything, tmp_path):
    def pages(text: str) -> int:
        (tmp_path / "page.html").write_text(text, encoding="utf-8")
        run(tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}", str(tmp_path / "page.html"))
        return len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "page.pdf").read_bytes()))

    page = content(everything[1])
    opened = pages(page)
    assert opened == pages(page.replace("<details>", "<details open>"))
    assert opened > pages(page.replace("details-content", "nothing"))


# what stands in it ----------------------------------------------------------------------------------------------------


def test_the_page_says_first_what_was_compared_then_what_to_beware_of(everything):
    titles = [unescape(title) for title in re.findall("<h2>(.*?)</h2>", content(everything[1]))]
    assert titles == [
        "What was compared",
        "Before you trust the figures",
        "What was left out",
        "At a glance",
        "The paper's table",
        "Distributions",
        "Separability",
        "Memorisation and privacy",
        "Fidelity and diversity",
        "Every figure",
        "How it was made",
    ]


def test_every_set_every_hash_and_every_time_is_told(everything):
    report, folder = everything
    page = content(folder)
    compared, made = section(page, "What was compared"), section(page, "How it was made")
    for name, card in {"real": report.real, "synthetic": report.synthetic, **report.others}.items():
        assert f" {name} {card.kind} {card.split} {card.segments} " in compared
        assert card.sha256 in made
    assert "seed 0" in made
    assert f"all, with pictures {report.seconds:.1f} s" in made
    for result in report.metrics.values():
        assert f"{result.title} {result.seconds:.1f} s" in made


def test_the_papers_table_has_a_row_for_each_set_with_the_published_share_beside(everything):
    report, folder = everything
    rows = {row.name: row for row in paper_rows(report)}
    assert list(rows) == ["training", "real (held out)", "synthetic", "control", "idealised", "unrealistic"]
    figures = report.metrics["thickness_mm"].figures
    assert rows["synthetic"].moments["thickness_mm"] == (figures["synthetic_mean"], figures["synthetic_sd"])
    assert rows["synthetic"].distances["thickness_mm"] == figures["ks"]
    assert rows["control"].distances["thickness_mm"] == figures["control_ks"]
    assert rows["real (held out)"].distances == {}
    words = section(content(folder), "The paper's table")
    mean, sd = figures["control_mean"].value, figures["control_sd"].value
    assert f"{mean:.2f} ± {sd:.2f} mm" in words
    for published in ("97.1 %", "56.5 %", "55.9 %", "0.0 %"):
        assert f"published {published}" in words
    called = report.metrics["discriminator"].figures["control_called_real"].value
    assert f" {100 * called:.1f} % published 0.0 % " in words
    assert "called real, batch by batch" in words
    assert "(published: 41)" in words


def test_a_relativistic_discriminator_is_shown_by_who_scores_higher():
    auc, member = Figure(value=0.3, interval=(0.2, 0.4)), Figure(value=0.9, interval=(0.8, 0.95))
    judged = MetricResult(name="discriminator", title="D", figures={"synthetic_auc": auc, "membership": member})
    report = bare(discriminator=judged)
    training, synthetic = (row.verdicts["real ones score higher"] for row in paper_rows(report))
    assert synthetic == auc
    assert training.value == pytest.approx(0.1)
    assert training.interval == pytest.approx((0.05, 0.2))
    words = section(report_page(report, None), "The paper's table")
    assert "relativistic" in words
    assert " 0.300 0.200 to 0.400 " in words


def test_what_decides_comes_first_in_the_order_of_the_groups_with_floor_and_published():
    distance = {"distance": Figure(value=49.234, detail={"published": 49}), "floor": Figure(value=3.0)}
    copies = {"copies": Figure(value=0.02), "held_out_copies": Figure(value=0.01)}
    report = bare(
        frechet=MetricResult(title="Frechet", group="fidelity", highlights=("distance", "floor"),
                             figures=distance, aim="low"),
        copies=MetricResult(title="Copies", group="memorisation", highlights=("copies",), figures=copies),
        dull=MetricResult(title="Dull", group="fidelity", figures={"x": Figure(value=1)}),
        two_sample=MetricResult(title="Told apart", group="separability", highlights=("auc", "gone"),
                                figures={"auc": Figure(value=0.5, interval=(0.4, 0.6)),
                                         "control_auc": Figure(value=0.9)}, aim="0.5"),
    )  # fmt: skip
    assert [(each.title, each.published, each.aim) for each in highlights(report)] == [
        ("Told apart: AUC", "", "0.5"),
        ("Copies: copies", "", ""),
        ("Frechet: distance", "49", "low"),
    ]
    words = section(report_page(report, None), "At a glance")
    assert "Told apart: AUC 0.500 0.400 to 0.600 - - 0.5" in words
    assert "Copies: copies 0.020 0.010 - -" in words
    assert "Frechet: distance 49.2 3 49 low" in words
    assert "Dull" not in words
    assert [highlight_words(each) for each in highlights(report)] == [
        "Told apart: AUC 0.500 (0.400 to 0.600); control 0.900; aim 0.5",
        "Copies: copies 0.020; floor 0.010",
        "Frechet: distance 49.2; floor 3; published 49; aim low",
    ]


def test_pictures_stand_under_the_heading_of_their_group(everything):
    report, folder = everything
    page = content(folder)
    groups = {picture.file: picture.group for picture in report.pictures}
    assert groups["discriminator.png"] == "separability"
    assert groups["nearest.png"] == "memorisation"
    for picture in report.pictures:
        assert page.count(f'alt="{escape(picture.title)}"') == 1
    assert "What the model's discriminator takes for real" in section(page, "Separability")
    assert len(page) < 5_000_000


def test_words_from_outside_cannot_become_markup(tmp_path):
    report = bare(x=MetricResult(title="<b>t</b>", figures={"a_<i>": Figure(value=1, detail={"<u>": "<s>"})}))
    report.warnings.append("<script>alert(1)</script>")
    report.left_out.append("<em>no</em>")
    page = report_page(report, tmp_path)
    assert not re.search(r"<(script|b|i|u|s|em)>", page)


class Outline(HTMLParser):
    """What a screen reader goes by."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.levels, self.wrong, self.caption = [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "table":
            self.caption = False
        if tag == "caption":
            self.caption = True
        if (
            (tag == "th" and given.get("scope") not in ("col", "row"))
            or (tag == "img" and not given.get("alt"))
            or (tag == "thead" and not self.caption)
            or (tag == "div" and not {"role", "tabindex", "aria-label"} <= set(given))
        ):
            self.wrong.append(self.get_starttag_text()[:80])


def test_a_screen_reader_finds_headings_captions_and_the_words_for_pictures(everything):
    outline = Outline(content(everything[1]))
    assert outline.wrong == []
    assert outline.levels[0] == 1
    assert set(outline.levels[1:]) == {2}


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(None, "", "-"), (0, "", "0"), (1.0, "", "1"), (0.5039, "", "0.504"), (49.234, "", "49.2"), (12345.6, "", "12346"),
     (0.000123, "", "0.00012"), (-0.0451, "", "-0.045"), (6.4567, "mm", "6.46 mm"), (1087.6, "HU", "1088 HU"),
     (34.56, "dB", "34.6 dB"), (12.3, "s", "12.3 s")],
)  # fmt: skip
def test_numbers_have_the_digits_they_deserve(value, unit, words):
    assert number_words(value, unit) == words


def test_names_of_figures_are_read_out():
    assert name_words("synthetic_auc") == "synthetic AUC"
    assert name_words("unrealistic_ks") == "unrealistic KS"


def test_every_metric_stands_in_a_group_of_the_page():
    assert {entry.name for entry in choose_metrics(None) if entry.group == "other"} == set()


def bare(**metrics: MetricResult) -> Report:
    """A report without pictures."""
    card = SetCard(kind="real", segments=2, subjects=None, split="all", size_px=(8, 8), sha256="ab")
    pictures: list[Picture] = []
    return Report(
        seed=0, spacing_mm=0.45, real=card, synthetic=card, others={"training": card}, metrics=metrics,
        pictures=pictures,
    )  # fmt: skip
