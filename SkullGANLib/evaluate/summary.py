"""What a report says first, as words and rows: for its page, the command line and the pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from SkullGANLib.evaluate.registry import GROUPS, Figure, MetricResult

if TYPE_CHECKING:
    from SkullGANLib.evaluate.report import Report

DECIMALS = {"mm": 2, "HU": 0, "1/m": 1, "dB": 1}
HEADINGS = ("", "real mean", "synthetic mean", "KS", "p", "W1")
SPELT = {name: name.upper() for name in ("auc", "hu", "ks", "mse", "psnr", "sd", "sdr", "ssim")}
SPELT |= {"sne": "SNE", "wasserstein": "Wasserstein"}
"""Parts of the names of figures that are no words."""
OTHER_SETS = ("control", "artificial", "idealised", "unrealistic")
FLOOR = "floor"
"""Name of a figure, or beginning of it, that compares real segments with other real ones."""
JUDGED = {
    "called_real": "called real",
    "called_real_batchwise": "called real, batch by batch",
    "auc": "real ones score higher",
}
"""What a discriminator says of each set, and how it is headed; the last where it can call no segment real by itself."""


@dataclass(frozen=True)
class Highlight:
    """A figure that decides.

    Attributes:
        title: of the metric, and of the figure where that has its own.
        figure: with its interval.
        floor: the same between two parts of the real set, where the metric knows it.
        others: the same of the other sets, by name.
        published: by the paper, in words; empty where it gives none.
        aim: in words.
    """

    title: str
    figure: Figure
    floor: Figure | None
    published: str
    aim: str
    others: dict[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's table: one set.

    Attributes:
        name: of the set; "real (held out)" where it was kept from training.
        moments: metric to mean and standard deviation.
        distances: metric to the KS distance from the real set, with the p of its test; empty for the real set.
        verdicts: of the discriminator, by ``JUDGED`` heading.
    """

    name: str
    moments: dict[str, tuple[Figure, Figure]]
    distances: dict[str, Figure]
    verdicts: dict[str, Figure]


def number_words(value: float | None, unit: str = "") -> str:
    """A number for people, with the digits its unit and size deserve: "6.52 mm", "0.504", "49.2", "0.00012"."""
    if value is None:
        return "-"
    if unit in DECIMALS:
        return f"{round(value, DECIMALS[unit]) + 0.0:.{DECIMALS[unit]}f} {unit}"  # no -0
    size = abs(value)
    whole = float(value).is_integer() or size >= 1000
    digits = ".0f" if whole else ".3g" if size >= 10 else ".3f" if size >= 0.01 else ".2g"
    return f"{value:{digits}} {unit}".strip()


def percent_words(value: float | None) -> str:
    """A share for people: "56.5 %"."""
    return "-" if value is None else f"{100 * value:.1f} %"


def interval_words(figure: Figure) -> str:
    """The 95 % interval as "low to high", or nothing."""
    if figure.interval is None:
        return ""
    return " to ".join(number_words(end, figure.unit).removesuffix(figure.unit).strip() for end in figure.interval)


def p_words(p: float) -> str:
    """A p value for people."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def name_words(name: str) -> str:
    """The name of a figure for people: ``synthetic_auc`` is "synthetic AUC"."""
    return " ".join(SPELT.get(part, part) for part in name.split("_"))


def figure_words(figure: Figure) -> str:
    """A figure and its interval: "0.992 (0.987 to 0.996)"."""
    interval = interval_words(figure)
    return number_words(figure.value, figure.unit) + (f" ({interval})" if interval else "")


def published_words(figure: Figure) -> str:
    """What the paper gives for this figure, or nothing."""
    published = figure.detail.get("published")
    return number_words(published, figure.unit) if isinstance(published, (int, float)) else str(published or "")


def headline_rows(report: Report) -> list[tuple[str, Figure, Figure, Figure, Figure]]:
    """Title and the figures real mean, synthetic mean, KS and W1 of every headline metric that was computed."""
    rows = []
    for result in report.metrics.values():
        if result.headline and "ks" in result.figures:
            figures = (result.figures[each] for each in ("real_mean", "synthetic_mean", "ks", "wasserstein"))
            rows.append((result.title, *figures))
    return rows


def highlights(report: Report) -> list[Highlight]:
    """The figures that decide, in the order of the groups."""
    order, rows = list(GROUPS), []
    for result in sorted(report.metrics.values(), key=lambda each: order.index(each.group)):
        for name in result.highlights:
            figure = result.figures.get(name)
            if figure is not None and name != FLOOR:  # which stands beside the others
                title = f"{result.title}: {name_words(name)}"
                others = {each: result.figures.get(f"{each}_{name}") for each in OTHER_SETS}
                others = {each: other for each, other in others.items() if other is not None}
                rows.append(Highlight(title, figure, _floor(result, name), published_words(figure), result.aim, others))
    return rows


def highlight_words(highlight: Highlight) -> str:
    """A highlight in one line."""
    compared = {"floor": highlight.floor, **highlight.others}
    further = {
        **{name: number_words(each.value, each.unit) for name, each in compared.items() if each is not None},
        "published": highlight.published,
        "aim": highlight.aim,
    }
    beside = [f"{key} {words}" for key, words in further.items() if words]
    return "; ".join([f"{highlight.title} {figure_words(highlight.figure)}", *beside])


def paper_metrics(report: Report) -> dict[str, MetricResult]:
    """The radiological figures of the paper's table."""
    return {name: each for name, each in report.metrics.items() if each.headline and "real_sd" in each.figures}


def paper_rows(report: Report) -> list[PaperRow]:
    """The paper's table: a row for each set, training and real first."""
    metrics = paper_metrics(report)
    judged = dict(report.metrics["discriminator"].figures) if "discriminator" in report.metrics else {}
    if judged.get("membership") is not None:  # it tells how often the training segment scores higher
        judged["training_auc"] = _complement(judged["membership"])
    absolute = "synthetic_called_real" in judged
    rows = []
    for name in sorted(["real", "synthetic", *report.others], key=lambda each: each != "training"):
        moments, distances = {}, {}
        for metric, result in metrics.items():
            found = result.figures
            if f"{name}_mean" in found:
                moments[metric] = found[f"{name}_mean"], found[f"{name}_sd"]
            distance = found.get("ks" if name == "synthetic" else f"{name}_ks")
            if distance is not None:
                distances[metric] = distance
        verdicts = {
            heading: judged[f"{name}_{kind}"]
            for kind, heading in JUDGED.items()
            if f"{name}_{kind}" in judged and absolute == kind.startswith("called")
        }
        if moments or verdicts:
            shown = "real (held out)" if name == "real" and "training" in report.others else name
            rows.append(PaperRow(shown, moments, distances, verdicts))
    return rows


def _floor(result: MetricResult, name: str) -> Figure | None:
    names = () if name.endswith(FLOOR) else (f"{FLOOR}_{name}", f"held_out_{name}", FLOOR)
    return next((result.figures[each] for each in names if each in result.figures), None)


def _complement(figure: Figure) -> Figure:
    """One less the figure, and less its interval."""
    interval = None if figure.interval is None else (1 - figure.interval[1], 1 - figure.interval[0])
    return figure.model_copy(update={"value": 1 - figure.value, "interval": interval})
