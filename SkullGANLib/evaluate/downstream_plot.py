"""The picture of downstream use: how well every task is learnt from every arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SkullGANLib.evaluate.plots import COLOURS, new_figure, save_figure
from SkullGANLib.evaluate.registry import Figure
from SkullGANLib.evaluate.tasks import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT, RIGHT, MARGIN = 0.9, 1.005, 0.01
"""The axis begins here or before, so that a hundredth does not look like a gulf."""
COLUMNS = 3
"""At most so many panels stand beside each other."""


def draw_arms(tasks: Iterable[Task], figures: Mapping[str, Figure], arms: Mapping[str, str], path: Path) -> None:
    """Draw a panel for each task: arms one below the other, mean and interval, and a dot for each training.

    Tasks of one measure share their axis, so that panels can be compared.

    Args:
        tasks: those without figures are left out.
        figures: by task and arm, as ``downstream.try_tasks`` gives them.
        arms: name to words.
        path: PNG to write.
    """
    found = {
        task: {arm: figures[f"{task.name}_{arm}"] for arm in arms} for task in tasks if f"{task.name}_real" in figures
    }
    rows = -(-len(found) // COLUMNS)
    columns = -(-len(found) // rows)
    figure = new_figure(4.6 + 4.4 * columns, 4.4 * rows)
    figure.get_layout_engine().set(wspace=0.08, hspace=0.06)
    panels = figure.subplots(rows, columns, squeeze=False)
    for number, axes in enumerate(panels.flat):
        if number >= len(found):
            axes.remove()
            continue
        task = list(found)[number]
        _draw_panel(axes, task, found[task], arms if number % columns == 0 else dict.fromkeys(arms, ""))
    for measure in {task.measure for task in found}:
        alike = [axes for axes, task in zip(panels.flat, found, strict=False) if task.measure == measure]
        left = min(LEFT, *(axes.get_xlim()[0] - MARGIN for axes in alike))
        for axes in alike:
            axes.set_xlim(left, RIGHT)
    save_figure(figure, path)


def _draw_panel(axes: Axes, task: Task, found: dict[str, Figure], words: Mapping[str, str]) -> None:
    if found["real"].value is not None:
        axes.axvline(found["real"].value, color=COLOURS["real"], linewidth=1, linestyle="--")
    for place, each in enumerate(found.values()):
        real, synthetic = each.detail["real"], each.detail["synthetic"]
        left = COLOURS["real" if real else "synthetic"]
        right = COLOURS["synthetic" if synthetic else "real"]
        if each.interval is not None:
            axes.hlines(place, *each.interval, color="0.25", linewidth=2)
        trainings = each.detail["trainings"]
        axes.plot(trainings, np.full(len(trainings), place + 0.25), ".", color="0.55", markersize=6)
        axes.plot(
            np.nan if each.value is None else each.value, place, "o", markersize=12, fillstyle="left",
            markerfacecolor=left, markerfacecoloralt=right, markeredgecolor="black",
        )  # fmt: skip
    axes.set_title(f"{task.title}\n100 % are {found['real'].detail['real']} segments", fontsize=15, pad=10)
    guess = "" if task.chance is None else f" ({task.chance:g} by chance)"
    axes.set_xlabel(f"{task.measure} on held-out subjects{guess}", fontsize=13)
    axes.set_yticks(range(len(found)), list(words.values()), fontsize=14)
    axes.tick_params(axis="x", labelsize=12)
    axes.locator_params(axis="x", nbins=5)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
