"""Writing maps of calvaria: figures, a table, pictures from above, and a surface that 3D Slicer loads as a model."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SkullGANLib import __version__
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.plots import COLOURS, new_figure, save_figure
from SkullGANLib.evaluate.surface import STATES, SurfaceMaps
from SkullGANLib.files import replace_folder, write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMAT, VERSION, MARKER = "skullgan-maps", 1, "maps.json"
TABLE_FORMAT, TABLE_MARKER = "skullgan-maps-table", "calvaria.json"
UNITS = {"thickness_mm": "mm", "sdr": "", "mean_hu": "HU"}
TITLES = {"thickness_mm": "Thickness", "sdr": "Skull density ratio", "mean_hu": "Mean of the bone"}
COLOUR_MAPS = {"thickness_mm": "viridis", "sdr": "plasma", "mean_hu": "bone"}
ROUNDED = {"thickness_mm": 1.0, "mean_hu": 100.0}
"""To what the ends of a scale are rounded; that of the SDR always runs from 0 to 1."""
COMPARED = ("thickness_mm", "sdr")
BINS = 50
FIGURES = ("median", "p5", "p95")


def write_maps(maps: SurfaceMaps, folder: str | Path, *, overwrite: bool = True) -> Path:
    """Write ``maps.json``, ``maps.csv``, ``maps.png`` and ``skull.vtk`` into a folder.

    Raises:
        InputError: the folder may not be replaced.
    """
    folder = Path(folder)
    with replace_folder(folder, overwrite=overwrite, marker=MARKER) as temporary:
        _write_all(maps, temporary)
    return folder


def write_all_maps(
    maps: Mapping[str, SurfaceMaps], synthetic: Mapping[str, SurfaceMaps], folder: str | Path, *, overwrite: bool = True
) -> Path:
    """Write a folder for each calvarium, a table of all of them, and histograms of the real and the synthetic ones.

    Args:
        maps: of real calvaria by name.
        synthetic: of synthetic ones; names are unique over both.
        folder: to make or replace: a sub-folder each, ``calvaria.csv``, ``calvaria.json``, ``histograms.png``.
        overwrite: whether a folder of such maps may be replaced.

    Raises:
        InputError: the folder may not be replaced.
    """
    folder, kinds = Path(folder), {"real": maps, "synthetic": synthetic}
    rows = [{"kind": kind, "name": name, **_row(each)} for kind, of in kinds.items() for name, each in of.items()]
    apart = apart_of(maps, synthetic) if maps and synthetic else None
    with replace_folder(folder, overwrite=overwrite, marker=TABLE_MARKER) as temporary:
        for name, each in {**maps, **synthetic}.items():
            (temporary / name).mkdir()
            _write_all(each, temporary / name)
        with (temporary / "calvaria.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        draw_histograms(maps, synthetic, temporary / "histograms.png")
        facts = {"format": TABLE_FORMAT, "version": VERSION, "library_version": __version__}
        write_json(temporary / TABLE_MARKER, {**facts, "apart": apart, "calvaria": rows})
    return folder


def apart_of(maps: Mapping[str, SurfaceMaps], synthetic: Mapping[str, SurfaceMaps]) -> dict[str, float]:
    """How far the distributions of real and synthetic calvaria are apart: 0 for the same, 1 for no overlap.

    The Kolmogorov-Smirnov statistic of thickness and SDR over all directions of all calvaria. Without a p value:
    neighbouring directions tell nearly the same.
    """
    from scipy.stats import ks_2samp

    return {
        name: round(float(ks_2samp(_pooled(maps, name), _pooled(synthetic, name)).statistic), 4) for name in COMPARED
    }


def facts(maps: SurfaceMaps) -> dict[str, Any]:
    """What ``maps.json`` says."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "library_version": __version__,
        "units": UNITS,
        "definitions": {
            "thickness_mm": "along the normal of the outer surface, between the places where HU change most steeply",
            "sdr": "trough between the two cortical peaks over the higher one; rises with the size of voxels",
            "mean_hu": "between both surfaces",
            "bone_share": "of the directions that show bone or a hole; cut ones are left out",
        },
        "step_deg": maps.step_deg,
        "threshold_hu": maps.threshold_hu,
        "voxel_mm": [round(float(mm), 4) for mm in maps.voxel_mm],
        "centre_lps_mm": np.round(maps.centre_mm, 3).tolist(),
        "summary": maps.summary(),
        "notes": list(maps.notes),
    }


def write_vtk(maps: SurfaceMaps, path: str | Path) -> None:
    """The outer surface as legacy VTK poly data (binary), LPS mm, with the maps as point scalars.

    Points are the directions with bone, in their order; its title says ``SPACE=LPS``, which 3D Slicer heeds.

    Raises:
        InputError: too little bone for a surface.
    """
    index = np.cumsum(maps.bone) - 1
    faces = index[maps.triangles[maps.bone[maps.triangles].all(axis=1)]]
    if not len(faces):
        raise InputError("Too little bone was measured for a surface.", "Give a larger part of a calvarium.")
    points, count = maps.points_mm[maps.bone], int(maps.bone.sum())
    with Path(path).open("wb") as file:

        def line(text: str) -> None:
            file.write(f"{text}\n".encode("ascii"))

        def block(values: np.ndarray, kind: str) -> None:
            file.write(np.ascontiguousarray(values, kind).tobytes() + b"\n")

        line("# vtk DataFile Version 3.0")
        line("Outer surface of a calvarium, mm SPACE=LPS")
        line("BINARY")
        line("DATASET POLYDATA")
        line(f"POINTS {count} float")
        block(points, ">f4")
        line(f"POLYGONS {len(faces)} {4 * len(faces)}")
        block(np.concatenate([np.full((len(faces), 1), 3), faces], axis=1), ">i4")
        line(f"POINT_DATA {count}")
        for name, values in maps.values().items():
            line(f"SCALARS {name} float 1")
            line("LOOKUP_TABLE default")
            block(values[maps.bone], ">f4")


def draw_maps(maps: SurfaceMaps, path: str | Path) -> None:
    """The three maps as seen from above, each direction in its true share of the area, the forehead at the top."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(15.5, 6.5)
    for axes, (name, values) in zip(figure.subplots(1, 3), maps.values().items(), strict=True):
        ends = (0.0, 1.0)
        if name in ROUNDED:
            low, high = np.quantile(values[maps.bone], (0.02, 0.98)) / ROUNDED[name]
            ends = (np.floor(low) * ROUNDED[name], np.ceil(high + 1e-6) * ROUNDED[name])
        image = _draw_from_above(axes, maps, values, COLOUR_MAPS[name], ends)
        median = np.median(values[maps.bone])
        words = f"{median:.0f} HU" if name == "mean_hu" else f"{median:.2f} {UNITS[name]}".rstrip()
        axes.set_title(f"{TITLES[name]}: median {words}", fontsize=15, pad=8)
        place = {"location": "bottom", "shrink": 0.8, "aspect": 28, "pad": 0.02}
        bar = figure.colorbar(image, ax=axes, extend="both" if name in ROUNDED else "neither", **place)
        bar.locator = MaxNLocator(6)
        bar.set_label(UNITS[name] or "ratio", fontsize=12)
        bar.ax.tick_params(labelsize=11)
    share = 1 - maps.summary()["bone_share"]
    holes = f"; grey: no bone in {share:.1%} of directions" if share >= 0.0005 else ""
    figure.supxlabel(f"From above, equal areas; rings are 30 degrees apart, white was cut off{holes}", fontsize=12)
    save_figure(figure, Path(path))


def draw_histograms(maps: Mapping[str, SurfaceMaps], synthetic: Mapping[str, SurfaceMaps], path: str | Path) -> None:
    """Thickness and SDR of all directions: a thin line for each calvarium, a filled one for all of a kind."""
    kinds = {kind: of for kind, of in (("real", maps), ("synthetic", synthetic)) if of}
    apart = apart_of(maps, synthetic) if len(kinds) == 2 else {}
    figure = new_figure(12, 4.8)
    for axes, name in zip(figure.subplots(1, 2), COMPARED, strict=True):
        pooled = {kind: _pooled(of, name) for kind, of in kinds.items()}
        ends = np.quantile(np.concatenate(list(pooled.values())), (0.002, 0.998))
        edges = np.linspace(ends[0], max(ends[1], ends[0] + 1e-3), BINS + 1)
        for kind, of in kinds.items():
            label = f"{kind}, {len(of)} calvari{'a' if len(of) > 1 else 'um'}, median {np.median(pooled[kind]):.2f}"
            axes.hist(pooled[kind], edges, density=True, color=COLOURS[kind], alpha=0.45, label=label)
            for each in of.values() if len(of) > 1 else ():
                sample = each.values()[name][each.bone]
                axes.hist(sample, edges, density=True, histtype="step", color=COLOURS[kind], linewidth=0.8)
        unit = f", {UNITS[name]}" if UNITS[name] else ""
        axes.set_title(f"KS {apart[name]:.2f}" if apart else "", fontsize=14)
        axes.set_xlabel(f"{TITLES[name]}{unit}", fontsize=14)
        axes.set_ylabel("density", fontsize=13)
        axes.tick_params(labelsize=12)
        axes.set_ylim(top=1.25 * axes.get_ylim()[1])  # room for the legend
        axes.legend(fontsize=11, loc="upper left")
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, Path(path))


def _write_all(maps: SurfaceMaps, folder: Path) -> None:
    write_json(folder / MARKER, facts(maps))
    _write_csv(maps, folder / "maps.csv")
    write_vtk(maps, folder / "skull.vtk")
    draw_maps(maps, folder / "maps.png")


def _write_csv(maps: SurfaceMaps, path: Path) -> None:
    """One row for each direction; empty where nothing was measured."""
    columns = {
        "azimuth_deg": (maps.azimuth_deg, 2),
        "elevation_deg": (maps.elevation_deg, 2),
        **{f"{axis}_lps_mm": (maps.points_mm[:, i], 2) for i, axis in enumerate("xyz")},
        "thickness_mm": (maps.thickness_mm, 3),
        "sdr": (maps.sdr, 4),
        "mean_hu": (maps.mean_hu, 1),
    }
    texts = [["" if np.isnan(v) else f"{v:.{digits}f}" for v in values] for values, digits in columns.values()]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "state"])
        writer.writerows(zip(*texts, [STATES[code] for code in maps.state], strict=True))


def _row(maps: SurfaceMaps) -> dict[str, Any]:
    """A calvarium as one row of the table."""
    told = maps.summary()
    figures = {f"{name}_{figure}": told[name][figure] for name in UNITS for figure in FIGURES}
    return {**told["directions"], "bone_share": told["bone_share"], **figures, "voxel_mm": round(max(maps.voxel_mm), 4)}


def _pooled(maps: Mapping[str, SurfaceMaps], name: str) -> np.ndarray:
    return np.concatenate([each.values()[name][each.bone] for each in maps.values()])


def _draw_from_above(axes: Axes, maps: SurfaceMaps, values: np.ndarray, colours: str, ends: tuple[float, float]):
    """Azimuthal equal-area projection about the vertex: the forehead at the top, the patient's left to the left."""
    from matplotlib.tri import Triangulation

    reach = _projected(maps.elevation_deg.min())
    radius, azimuth = _projected(maps.elevation_deg), np.deg2rad(maps.azimuth_deg)
    x, y = -radius * np.sin(azimuth), radius * np.cos(azimuth)
    whole = Triangulation(x, y, maps.triangles)
    whole.set_mask(~(maps.state[maps.triangles] != STATES.index("cut")).all(axis=1))
    axes.tripcolor(whole, np.zeros(len(x)), cmap="gray", vmin=-1.6, vmax=1)
    measured = Triangulation(x, y, maps.triangles)
    measured.set_mask(~maps.bone[maps.triangles].all(axis=1))
    image = axes.tripcolor(
        measured, np.nan_to_num(values), cmap=colours, vmin=ends[0], vmax=ends[1], shading="gouraud", rasterized=True
    )
    for elevation in (0, 30, 60):
        axes.add_patch(_ring(_projected(elevation)))
    axes.plot(0, 0, "+", color="black", markersize=9)
    edge = 1.04 * radius[maps.bone].max()
    for letter, at in (("anterior", (0, edge)), ("posterior", (0, -edge)), ("L", (-edge, 0)), ("R", (edge, 0))):
        axes.text(
            *at,
            letter,
            fontsize=13,
            ha={"L": "right", "R": "left"}.get(letter, "center"),
            va={"anterior": "bottom", "posterior": "top"}.get(letter, "center"),
        )
    axes.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
    axes.axis("off")
    return image


def _projected(elevation_deg: np.ndarray | float) -> np.ndarray | float:
    return 2 * np.sin(np.deg2rad(90 - elevation_deg) / 2)


def _ring(radius: float):
    from matplotlib.patches import Circle

    return Circle((0, 0), radius, fill=False, edgecolor="black", linewidth=0.7, alpha=0.45, linestyle=":")
