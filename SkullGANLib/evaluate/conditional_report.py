"""What was found of CT generated from label maps, as a folder: JSON, CSV, pictures and one HTML page."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SkullGANLib import __version__
from SkullGANLib.evaluate.conditional import BACKGROUND, ConditionalResult
from SkullGANLib.evaluate.page import POLICY, figure_cell, html_table, picture_html, sentence_list
from SkullGANLib.evaluate.page_style import STYLE
from SkullGANLib.evaluate.plots import COLOURS, MARGIN_ROWS, new_figure, save_figure
from SkullGANLib.evaluate.registry import Figure
from SkullGANLib.evaluate.report import Picture
from SkullGANLib.evaluate.summary import name_words
from SkullGANLib.files import replace_folder, write_json
from SkullGANLib.segments.label_colours import LABEL_COLOURS
from SkullGANLib.segments.table import write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMAT, VERSION, MARKER = "skullgan-conditional", 1, "conditional.json"
TITLE = "CT generated from label maps, compared with real CT"
PICTURES = {
    "labels.png": "How far generated CT is from real CT, label by label",
    "examples.png": "From the best slice (top) to the worst: condition, generated, real and their difference",
}
EXAMPLES, WIDTH_IN = 5, 12.4
FAINT = 0.05
"""Of the window; what is darker looks black."""
DIFFERENCE_QUANTILE, DIFFERENCE_STEP_HU = 0.99, 50.0
"""The scale of the difference ends where so many of the pixels shown lie below, rounded up to such steps."""
DEFINITIONS = {
    "MAE": "mean absolute difference of generated and real HU",
    "bias": "mean of the generated HU less that of the real ones",
    "SD": "standard deviation of the HU within a label of a slice, pooled over slices: its texture, and what blurs in "
    "from its neighbours",
    "SD ratio": "that of the generated over that of the real slices: 1 is right, less is too smooth, more too rough",
    "Dice generated": "agreement of the condition with what a segmentation finds in the generated CT: mean over the "
    "subjects that have the label, all slices of a subject together",
    "Dice real": "the same of the real CT, by the same segmentation: the ceiling",
    "Dice gap": "the ceiling less the Dice of the generated CT",
    "diversity": "standard deviation of each pixel across CTs that were drawn from one label map, mean over pixels; "
    "there is no such figure of real CTs",
    "PSNR, SSIM": "mean over slices, on the window; SSIM with a Gaussian of sigma 1.5 pixels",
}
COLUMNS = ("mae", "bias", "sd_real", "sd_generated", "sd_ratio", "dice_generated", "dice_real", "dice_gap", "diversity")


def write_conditional_report(
    result: ConditionalResult,
    out: str | Path,
    generated: np.ndarray,
    real: np.ndarray,
    masks: np.ndarray,
    *,
    facts: Mapping[str, Any] | None = None,
    overwrite: bool = True,
) -> Path:
    """Write ``conditional.json``, ``conditional.csv`` (figures), ``slices.csv``, two pictures and ``report.html``.

    Args:
        result: of ``evaluate_conditional``.
        out: folder to make or replace, in one step.
        generated, real, masks: (n, H, W) what was compared.
        facts: what the reader should know of its origin, such as the model, its hash and the part of the data set.
        overwrite: whether such a report at ``out`` may be replaced.

    Raises:
        InputError: the folder may not be replaced.
    """
    out, facts = Path(out), dict(facts or {})
    with replace_folder(out, overwrite=overwrite, marker=MARKER) as folder:
        write_json(folder / MARKER, content_of(result, facts))
        _write_figures(result, folder / "conditional.csv")
        write_table(folder / "slices.csv", {"index": np.arange(result.slices), **result.columns})
        draw_labels(result, folder / "labels.png")
        draw_examples(result, generated, real, masks, folder / "examples.png")
        (folder / "report.html").write_text(_page(result, facts, folder), encoding="utf-8")
    return out


def content_of(result: ConditionalResult, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What ``conditional.json`` says."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "library": __version__,
        "facts": dict(facts),
        "slices": result.slices,
        "subjects": result.subjects,
        "size_px": list(result.size_px),
        "window_hu": list(result.window_hu),
        "draws": result.draws,
        "seed": result.seed,
        "overall": _plain(result.overall),
        "labels": [
            {"value": value, "name": of.name, "slices": of.slices, "pixels": of.pixels, "figures": _plain(of.figures)}
            for value, of in result.labels.items()
        ],
        "notes": result.notes,
        "definitions": DEFINITIONS,
    }


def draw_labels(result: ConditionalResult, path: Path) -> None:
    """Bars of error, bias, texture and Dice for each label, with intervals; what belongs to the real CT beside them."""
    names = {value: of.name for value, of in result.labels.items()}
    panels = [("mae", "Mean absolute error (HU)"), ("bias", "Bias: generated less real (HU)")]
    panels.append(("sd", "Texture: SD within a label (HU)"))
    if "dice_generated" in result.overall:
        panels.append(("dice", "Dice with the condition"))
    if "diversity" in result.overall:
        panels.append(("diversity", f"Diversity over {result.draws} draws (HU)"))
    across = 2 if len(panels) == 4 else 3
    down = -(-len(panels) // across)
    figure = new_figure(1.8 + 3.6 * across, 0.8 + down * (0.9 + 0.5 * len(names)))
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (kind, title) in zip(grid.flat, panels, strict=False):
        paired = kind in ("sd", "dice")
        for place, (value, of) in enumerate(result.labels.items()):
            if paired:
                _bar(axes, place - 0.2, 0.38, of.figures.get(f"{kind}_generated"), COLOURS["synthetic"])
                _bar(axes, place + 0.2, 0.38, of.figures.get(f"{kind}_real"), COLOURS["real"])
            else:
                _bar(axes, place, 0.62, of.figures.get(kind), COLOURS["synthetic"])
            if kind == "dice" and value == BACKGROUND:
                axes.text(0.02, place, "not measured", va="center", fontsize=11, color="0.45")
        axes.set_title(title, fontsize=14, pad=9)
        axes.tick_params(labelsize=12)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if kind == "dice":
            axes.set_xlim(0, 1)
        if kind == "bias":
            axes.axvline(0, color="0.2", linewidth=1)
    grid[0, 0].set_yticks(range(len(names)), list(names.values()), fontsize=13)
    grid[0, 0].set_ylim(len(names) - 0.4, -0.6)
    handles = [_patch(COLOURS["synthetic"], "generated CT"), _patch(COLOURS["real"], "real CT (of Dice: the ceiling)")]
    words = "" if result.subjects in (None, 1) else f"   Lines: 95 % intervals over {result.subjects} subjects"
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2, fontsize=12, frameon=False, title=words, title_fontsize=11
    )
    save_figure(figure, path)


def draw_examples(
    result: ConditionalResult, generated: np.ndarray, real: np.ndarray, masks: np.ndarray, path: Path
) -> None:
    """Slices from the best to the worst, of as many subjects as there are: condition, generated, real, difference."""
    from matplotlib.colors import ListedColormap, to_hex

    chosen = choose_examples(result, masks)
    given = np.stack([np.asarray(each[chosen], np.float32) for each in (generated, real)])
    rows = _rows_in_use(given, result.window_hu)
    given, shown = given[:, :, rows], np.asarray(masks[chosen])[:, rows]
    difference = given[0] - given[1]
    top = np.quantile(np.abs(difference), DIFFERENCE_QUANTILE) / DIFFERENCE_STEP_HU
    end = DIFFERENCE_STEP_HU * max(1.0, float(np.ceil(top)))
    colours = {value: to_hex(LABEL_COLOURS[(value - 1) % len(LABEL_COLOURS)] / 255) for value in result.labels if value}
    place = np.zeros(256, int)
    place[[*colours]] = np.arange(1, len(colours) + 1)
    paint = {"cmap": ListedColormap(["black", *colours.values()]), "vmin": -0.5, "vmax": len(colours) + 0.5}
    grey = {"cmap": "gray", "vmin": result.window_hu[0], "vmax": result.window_hu[1]}
    apart = {"cmap": "RdBu_r", "vmin": -end, "vmax": end}

    height = 3.0 * shown.shape[1] / shown.shape[2] + 0.3
    figure = new_figure(WIDTH_IN, len(chosen) * height + 1.8)
    cells = figure.add_gridspec(len(chosen) + 1, 4, height_ratios=[*[height] * len(chosen), 0.14])
    for i, row in enumerate(chosen):
        columns = result.columns
        words = f"slice {row}, {columns['subject'][row]}"
        titles = (words, "", "", f"MAE {columns['mae_hu'][row]:.0f} HU, SSIM {columns['ssim'][row]:.3f}")
        images = (place[shown[i]], given[0][i], given[1][i], difference[i])
        grid = [figure.add_subplot(cells[i, k]) for k in range(4)]
        drawn = []
        for axes, image, style, text in zip(grid, images, (paint, grey, grey, apart), titles, strict=True):
            drawn.append(axes.imshow(image, interpolation="nearest", **style))
            axes.set_title(text, fontsize=11, pad=4)
            axes.set_xticks([])
            axes.set_yticks([])
        if i == 0:
            for axes, title in zip(grid, ("condition", "generated", "real", "generated less real"), strict=True):
                axes.annotate(
                    title, (0.5, 1), (0, 24), xycoords="axes fraction", textcoords="offset points", ha="center",
                    fontsize=15,
                )  # fmt: skip
    for image, some in ((drawn[1], slice(1, 3)), (drawn[3], 3)):  # in a row of their own: none takes room of an image
        room = figure.add_subplot(cells[-1, some])
        room.set_axis_off()
        bar = figure.colorbar(image, cax=room.inset_axes((0.1, 0, 0.8, 1)), orientation="horizontal")
        bar.set_label("HU", fontsize=12)
        bar.ax.tick_params(labelsize=11)
    handles = [_patch(colour, result.labels[value].name) for value, colour in colours.items()]
    lines = -(-sum(0.75 + 0.085 * len(handle.get_label()) for handle in handles) // WIDTH_IN)  # so wide at this size
    figure.legend(
        handles=handles, loc="outside lower center", ncols=-int(-len(handles) // lines), fontsize=12, frameon=False
    )
    save_figure(figure, path)


def choose_examples(result: ConditionalResult, masks: np.ndarray) -> np.ndarray:
    """Rows of up to five slices with labels, evenly from the smallest to the largest error, of different subjects.

    Nobody picks them: each is, of the subjects shown least so far, the slice next in rank.
    """
    rows = np.flatnonzero(np.asarray(masks).any((1, 2)))
    ranked = rows[np.argsort(result.columns["mae_hu"][rows], kind="stable")]
    subjects, chosen = result.columns["subject"][ranked], []
    targets, middle = np.linspace(0, len(ranked) - 1, min(EXAMPLES, len(ranked))), (len(ranked) - 1) / 2
    for target in sorted(targets, key=lambda target: -abs(target - middle)):  # the best and the worst before others
        used = [int((subjects[chosen] == subject).sum()) for subject in subjects]
        free = [i for i in range(len(ranked)) if i not in chosen]
        chosen.append(min(free, key=lambda i, used=used, target=target: (used[i], abs(i - target))))
    return ranked[np.sort(chosen)]


def _rows_in_use(hu: np.ndarray, window_hu: tuple[float, float]) -> slice:
    """Without the rows at the top and the bottom that are as good as black in every image (..., H, W)."""
    low, high = window_hu
    used = np.flatnonzero((hu > low + FAINT * (high - low)).any((0, 1, 3)))
    return slice(max(used[0] - MARGIN_ROWS, 0), used[-1] + MARGIN_ROWS + 1) if len(used) else slice(None)


def _bar(axes: Axes, place: float, width: float, figure: Figure | None, colour: str) -> None:
    if figure is None or figure.value is None:
        return
    axes.barh(place, figure.value, width, color=colour)
    if figure.interval is not None:
        axes.hlines(place, *figure.interval, color="black", linewidth=2)
    if figure.value == 0:
        axes.annotate("0", (0, place), (3, 0), textcoords="offset points", va="center", fontsize=10, color=colour)


def _patch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, label=label)


def _plain(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: figure.model_dump(mode="json") for name, figure in figures.items()}


def _write_figures(result: ConditionalResult, path: Path) -> None:
    groups = [("", "all", result.overall), *((value, of.name, of.figures) for value, of in result.labels.items())]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["value", "label", "figure", "number", "unit", "low", "high", "slices", "subjects"])
        for value, label, figures in groups:
            for name, figure in figures.items():
                row = [value, label, name, figure.value, figure.unit, *(figure.interval or ("", ""))]
                writer.writerow([*row, figure.n, figure.subjects])


def _title(name: str) -> str:
    return name_words(name).replace("mae", "MAE").replace("dice", "Dice")


def _page(result: ConditionalResult, facts: Mapping[str, Any], folder: Path) -> str:
    low, high = result.window_hu
    compared = {
        "slices": result.slices,
        "subjects": "not known" if result.subjects is None else result.subjects,
        "pixels": "{} x {}".format(*result.size_px),
        "window": f"{low:g} to {high:g} HU",
        "draws of each label map": result.draws or "none",
        **facts,
    }
    names = [name for name in COLUMNS if any(name in of.figures for of in result.labels.values())]
    overall = [[_title(name), figure_cell(figure)] for name, figure in result.overall.items()]
    labels = [
        [
            escape(of.name),
            str(of.slices),
            *(figure_cell(of.figures[name]) if name in of.figures else "-" for name in names),
        ]
        for of in result.labels.values()
    ]
    sections = {
        "What was compared": html_table(
            "Slices", ["", ""], [[escape(str(a)), escape(str(b))] for a, b in compared.items()]
        ),
        "Before you trust the figures": sentence_list(result.notes, "warnings", "Nothing to warn of."),
        "Over all": html_table("Every slice", ["figure", "value"], overall),
        "Label by label": html_table("Inside each label", ["label", "slices", *map(_title, names)], labels),
        "Pictures": "".join(picture_html(Picture(file=file, title=title), folder) for file, title in PICTURES.items()),
        "What the figures mean": html_table(
            "Definitions", ["", ""], [[escape(a), escape(b)] for a, b in DEFINITIONS.items()]
        )
        + '<p class="note">Below each figure stands its 95 % interval, by bootstrap over subjects.</p>',
    }
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections.items())
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{TITLE}</title><style>{STYLE}</style></head>"
        f"<body><header><h1>{TITLE}</h1></header><main>{body}</main></body></html>\n"
    )
