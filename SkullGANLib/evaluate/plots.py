"""The pictures of the report: violins, examples with their nearest real segment, real beside synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SkullGANLib.evaluate.distributions import HEADLINE, MEASURES
from SkullGANLib.evaluate.nearest import Nearest, find_nearest, matched
from SkullGANLib.evaluate.radiological import INTENSITY_THRESHOLD_HU
from SkullGANLib.evaluate.registry import EvaluationInput, MetricResult, picture
from SkullGANLib.evaluate.summary import p_words
from SkullGANLib.segments.sheet import captioned, contact_sheet, write_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

COLOURS = {
    "real": "#3b6ea8",
    "synthetic": "#d9822b",
    "training": "#7fa8d1",
    "control": "#8a6fb0",
    "idealised": "#5f9e6e",
    "unrealistic": "#b34a4a",
}
"""Of the sets, in the order in which they are drawn."""
WAYS = {"": "with its running statistics", "_batchwise": "with the statistics of each batch"}
"""How a discriminator may be asked: end of the names of what it says, and the words for it."""
WINDOW_HU = (0.0, 2700.0)
DIFFERENCE_HU = 1000.0
DPI = 150
MARGIN_ROWS = 8
MANY_SETS = 4
"""From so many sets on, their names need more room than there is below their violins."""
BINS, OUTSIDE = 40, 0.005  # of a histogram, and the share of each set left outside at either end


@picture("violin.png", title="How the sets are distributed", needs=HEADLINE, group="distributions")
def violin_picture(given: EvaluationInput, results: dict[str, MetricResult], path: Path) -> None:
    """Three panels, a violin for each set, with quartiles (lines) and mean (dot)."""
    sets = len(results[HEADLINE[0]].columns)
    figure = new_figure(3 * max(3.5, 1.6 + 0.45 * sets), 4.5 if sets < MANY_SETS else 5)
    for axes, name in zip(figure.subplots(1, len(HEADLINE)), HEADLINE, strict=True):
        result = results[name]
        values = {each: result.columns[each][name] for each in COLOURS if each in result.columns}
        ks, p = result.figures["ks"], p_words(result.figures["ks"].detail["p"])
        unit = f" ({result.unit})" if result.unit else ""
        test = f"KS {ks.value:.2f}, p {p if p.startswith('<') else f'= {p}'}"
        draw_violins(axes, values, f"{MEASURES[name]}{unit}\n{test}")
    figure.supxlabel("Dot: mean; line: median; bar: from the lower to the upper quartile", fontsize=12)
    save_figure(figure, path)


@picture(
    "discriminator.png",
    title="What the model's discriminator takes for real",
    needs=("discriminator",),
    group="separability",
)
def discriminator_picture(given: EvaluationInput, results: dict[str, MetricResult], path: Path) -> None:
    """A violin of each set's scores, and where 0.5 parts real from generated, the shares called real."""
    result = results["discriminator"]
    ways = [way for way in WAYS if f"realness{way}" in result.columns["real"]]
    figure = new_figure(max(4.0, 1.1 + 0.95 * len(result.columns)) * len(ways), 4.8)
    for axes, way in zip(np.atleast_1d(figure.subplots(1, len(ways))), ways, strict=True):
        values = {each: result.columns[each][f"realness{way}"] for each in COLOURS if each in result.columns}
        draw_violins(axes, values, WAYS[way] if len(ways) > 1 else "")
        axes.set_ylabel("score, higher for real", fontsize=13)
        called = {each: result.figures.get(f"{each}_called_real{way}") for each in values}
        if not any(called.values()):
            axes.set_title("Compares images with each other:\nno score parts real from generated", fontsize=13, pad=10)
            continue
        axes.axhline(0.5, color="black", linewidth=1, linestyle="--")
        axes.set_ylim(-0.03, 1.34)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
        for position, share in enumerate(called.values()):
            published = share.detail.get("published")
            words = f"{100 * share.value:.0f} %" + (
                "" if published is None else f"\npublished\n{100 * published:.0f} %"
            )
            axes.text(position, 1.32, words, ha="center", va="top", fontsize=11)
    save_figure(figure, path)


def draw_violins(axes: Axes, values: dict[str, np.ndarray], title: str) -> None:
    """Draw one violin for each entry of ``values``; what is not finite is left out."""
    for position, (name, sample) in enumerate(values.items()):
        sample = sample[np.isfinite(sample)]
        low, median, high = np.quantile(sample, [0.25, 0.5, 0.75])
        colour = COLOURS.get(name, "#666666")
        if np.ptp(sample) > 0:
            body = axes.violinplot(sample, [position], widths=0.85, showextrema=False, points=200)["bodies"][0]
            body.set(facecolor=colour, edgecolor="black", alpha=0.75, linewidth=0.8)
        axes.vlines(position, low, high, color="black", linewidth=5)
        axes.hlines(median, position - 0.16, position + 0.16, color="black", linewidth=2)
        axes.plot(position, sample.mean(), "o", markersize=7, markerfacecolor="white", markeredgecolor="black")
    axes.set_title(title, fontsize=16, pad=10)
    many = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if len(values) >= MANY_SETS else {}
    axes.set_xticks(range(len(values)), list(values), fontsize=13 if many else 15, **many)
    axes.tick_params(axis="y", labelsize=13)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.locator_params(axis="y", nbins=5)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def histograms(results: dict[str, MetricResult]) -> dict[str, np.ndarray]:
    """The radiological figures of all sets as histograms on common bins, for a viewer that draws its own plots.

    Args:
        results: of the metrics, with their columns.

    Returns:
        The table ``distributions.csv``: ``figure``, its ``unit``, ``center`` of a bin, and for each set its density
        there, in 1/unit: times the width of a bin, the share of all segments that were measured. It is nan where the
        figure was not measured in that set. Bins leave out 0.5 % at either end, beyond which single odd segments lie.
    """
    sets = dict.fromkeys(each for name in MEASURES if name in results for each in results[name].columns)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("figure", "unit", "center", *sets)}
    for name in MEASURES:
        if name not in results or not results[name].columns:
            continue
        samples = {each: found[name][np.isfinite(found[name])] for each, found in results[name].columns.items()}
        edges = _edges(list(samples.values()))
        rows["figure"].append(np.full(BINS, name))
        rows["unit"].append(np.full(BINS, results[name].unit))
        rows["center"].append((edges[1:] + edges[:-1]) / 2)
        for each in sets:
            sample = samples.get(each, np.empty(0))
            counts = np.histogram(sample, edges)[0] if len(sample) else np.full(BINS, np.nan)
            rows[each].append(counts / (max(len(sample), 1) * np.diff(edges)))
    return {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in rows.items()}


def _edges(samples: list[np.ndarray]) -> np.ndarray:
    ends = [np.quantile(sample, [OUTSIDE, 1 - OUTSIDE]) for sample in samples]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


@picture(
    "nearest.png", title="Synthetic segments and their nearest real ones", needs=("nearest",), group="memorisation"
)
def nearest_picture(given: EvaluationInput, results: dict[str, MetricResult], path: Path, *, rows: int = 4) -> None:
    """The closest pairs and some drawn at random: synthetic, nearest real, difference in HU."""
    found = find_nearest(given)
    closeness, found = closest_pairs(given, results, found)
    order = np.argsort(closeness, kind="stable")
    rows = min(rows, len(order))
    random = np.random.default_rng(given.seed).choice(len(order), rows, replace=False)
    by_ratio = closeness is not found.mse_hu2
    chosen = np.concatenate([order[:rows], random])
    pairs = Nearest(found.index[chosen], found.mse_hu2[chosen], found.mirrored[chosen])
    synthetic, nearest = np.asarray(given.synthetic.hu[chosen], np.float32), matched(given.training.hu, pairs)
    apart_hu = np.sqrt(((synthetic - nearest).astype(np.float64) ** 2).mean((1, 2)))
    images = np.stack([synthetic, nearest, synthetic - nearest], axis=1)[:, :, : _last_row(synthetic, nearest)]

    figure = new_figure(13.5, rows * (4.2 * images.shape[2] / images.shape[3] / 2 + 0.25) + 1.5)
    for half, title, part in zip(
        figure.subfigures(1, 2, wspace=0.03), ("The closest", "Drawn at random"), (0, rows), strict=True
    ):
        half.suptitle(title, fontsize=16)
        grid = half.subplots(rows, 3, squeeze=False)
        for i, axes in enumerate(grid, start=part):
            titles = (
                f"synthetic {given.synthetic.rows[chosen[i]]}",
                f"{given.training.name} {given.training.rows[pairs.index[i]]}"
                + (", mirrored" if pairs.mirrored[i] else ""),
                f"{apart_hu[i]:.0f} HU apart" + (f", ratio {closeness[chosen[i]]:.2f}" if by_ratio else ""),
            )
            bone, _, difference = (_show(*each) for each in zip(axes, images[i], titles, (0, 0, 1), strict=True))
        _colour_bar(half, bone, grid[:, :2], "HU")
        _colour_bar(half, difference, grid[:, 2:], "synthetic less real, HU")
    save_figure(figure, path)


def closest_pairs(
    given: EvaluationInput, results: dict[str, MetricResult], found: Nearest
) -> tuple[np.ndarray, Nearest]:
    """Which pairs are closest, and what each is a pair of.

    Returns:
        (M,) the closest are the smallest: of the ratios of the memorisation metric where it was computed, else of the
        distances. And the pairs: a segment that is called a copy with the one it copies.
    """
    columns = results["memorisation"].columns["synthetic"] if "memorisation" in results else {}
    if "copy_ratio" not in columns:
        return found.mse_hu2, found
    copied = (columns["copy"] == 1) & (columns["copy_row"] >= 0)
    source = np.searchsorted(given.training.rows, np.maximum(columns["copy_row"], 0))
    index = np.where(copied, source, found.index)
    return columns["copy_ratio"], Nearest(
        index, found.mse_hu2, np.where(copied, columns["copy_mirrored"] == 1, found.mirrored)
    )


@picture("montage.png", title="Real (left) beside synthetic (right), drawn at random", group="fidelity")
def montage_picture(
    given: EvaluationInput, results: dict[str, MetricResult], path: Path, *, columns: int = 4, rows: int = 4
) -> None:
    """A sheet of real segments to the left, of synthetic ones to the right."""
    generator = np.random.default_rng(given.seed)
    count = min(columns * rows, *map(len, given.sets))
    sheets = []
    for each in given.sets:
        chosen = np.sort(generator.choice(len(each), count, replace=False))
        titles = [f"{each.name} {row}" for row in each.rows[chosen]]
        sheets.append(contact_sheet(np.asarray(each.hu[chosen]), columns=columns, titles=titles, window_hu=WINDOW_HU))
    gap = np.full((sheets[0].shape[0], 12), 255, np.uint8)
    width_mm = given.spacing_mm * given.real.hu.shape[2]
    scale = f"{WINDOW_HU[0]:g} to {WINDOW_HU[1]:g} HU, black to white; each is {width_mm:.1f} mm wide"
    write_png(path, captioned(np.concatenate([sheets[0], gap, sheets[1]], axis=1), scale))


def new_figure(width_in: float, height_in: float) -> Figure:
    """A white figure that draws into files alone, whatever the program that it is drawn in shows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, the same bytes each time."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


def _last_row(*segments: np.ndarray) -> int:
    """Where to cut off the empty lower part of what is shown."""
    rows = np.flatnonzero((np.concatenate(segments) > INTENSITY_THRESHOLD_HU).any((0, 2)))
    return int(rows.max(initial=0)) + MARGIN_ROWS


def _show(axes: Axes, image: np.ndarray, title: str, is_difference: bool) -> AxesImage:
    axes.set_title(title, fontsize=12)
    axes.set_xticks([])
    axes.set_yticks([])
    low, high = (-DIFFERENCE_HU, DIFFERENCE_HU) if is_difference else WINDOW_HU
    colours = "RdBu_r" if is_difference else "gray"
    return axes.imshow(image, cmap=colours, vmin=low, vmax=high, interpolation="nearest")


def _colour_bar(figure: Figure, image: AxesImage, axes: np.ndarray, label: str) -> None:
    bar = figure.colorbar(image, ax=list(axes.flat), location="bottom", shrink=0.8, aspect=30, pad=0.02)
    bar.set_label(label, fontsize=12)
    bar.ax.tick_params(labelsize=11)
