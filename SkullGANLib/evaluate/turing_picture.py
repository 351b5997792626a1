"""The picture of a visual Turing test's result."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SkullGANLib.evaluate.plots import COLOURS, new_figure, save_figure
from SkullGANLib.evaluate.turing_result import GUESSING, TuringResult

COLOUR, PUBLISHED_COLOUR = COLOURS["real"], COLOURS["synthetic"]


def draw_result(result: TuringResult, path: Path) -> None:
    """The accuracy of each finished reader and of all, with intervals, the line of guessing and the published one."""
    shown = [(each.reader, each.accuracy) for each in result.readers if each.accuracy is not None]
    if len(shown) > 1:
        shown.append(("all readers", result.pooled))
    figure = new_figure(9.0, 2.2 + 0.55 * len(shown))
    axes = figure.subplots()
    axes.axvline(GUESSING, color="0.35", linewidth=1.5, linestyle="--", label="guessing (50 %)")
    published = result.published
    axes.axvline(
        published["accuracy"],
        color=PUBLISHED_COLOUR,
        linewidth=1.5,
        linestyle=":",
        label=f"published ({100 * published['accuracy']:.0f} %, {published['readers']} radiologists)",
    )
    for position, (name, accuracy) in enumerate(shown):
        axes.plot(accuracy.interval, [position, position], color=COLOUR, linewidth=2.5, solid_capstyle="butt")
        marker = "D" if name == "all readers" else "o"
        axes.plot(accuracy.value, position, marker, color=COLOUR, markersize=9, markeredgecolor="white")
        axes.annotate(
            f"{100 * accuracy.value:.0f} %", (accuracy.value, position), (0, 8), textcoords="offset points",
            ha="center", fontsize=12, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip
    axes.set_yticks(range(len(shown)), [name for name, _ in shown], fontsize=13)
    axes.set_ylim(len(shown) - 0.4, -0.75)
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{tick} %" for tick in range(0, 101, 20)], fontsize=12)
    axes.set_xlabel("right answers, with 95 % interval", fontsize=13)
    axes.set_title(f"Real or synthetic? {sum(result.images.values())} images", fontsize=15)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=12, frameon=False)
    save_figure(figure, path)
