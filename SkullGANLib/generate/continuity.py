"""How much neighbouring slices differ, in real bone and along a walk, and the walk that is as continuous as real bone.

The step between two slices is the mean absolute difference in HU over all places where either holds bone, with both
rolled out along their outer surface, as they lie in a stack.
"""

from __future__ import annotations

import csv
import math
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.generate.unroll import Unrolled, unroll
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.table import Table

FARTHEST_MM = 10.0
SEGMENTS = 600  # of a data set that are looked at; groups of neighbours stay whole
FEWEST_PAIRS = 8  # at one distance
BONE_HU = 10.0  # as the paper counts bone
LENGTHS_MM = (1.5, 300.0)  # correlation lengths that are tried; the spaces in the diploe are as wide as the shortest
SMOOTHINGS_MM = (0.1, 30.0)
HALVINGS = 9  # of either range, to a percent of the length

STEPS = ("step_hu", "thickness_step_mm")

Curve = dict[str, np.ndarray]
"""``distance_mm`` ascending, and for each ``pairs`` of slices, their ``step_hu`` and ``thickness_step_mm``, and
``within_hu``, the step over the same distance within the slices: bone is about as coarse across slices as within."""


def walk_curve(bone: Unrolled, spacing_mm: float) -> Curve:
    """Steps between the slices of a stack, by their distance."""
    slices = bone.at_depths(_depths(bone))
    rows = []
    for lag in range(1, len(slices)):
        if lag > 1 and lag * spacing_mm > FARTHEST_MM:
            break
        steps = [_step(*pair) for pair in zip(slices[:-lag], slices[lag:], strict=True)]
        thickness = np.abs(bone.thickness_mm[lag:] - bone.thickness_mm[:-lag]).mean()
        within = _within(slices, lag * spacing_mm / bone.step_mm)
        rows.append((lag * spacing_mm, len(steps), np.mean(steps), thickness, within))
    return _as_curve(rows)


def real_curve(dataset: SegmentDataset, *, progress: Progress | None = None, **wanted: str) -> Curve:
    """Steps between segments of one bone on parallel planes of one scan, by the distance of the planes.

    Where the table says at which point of the scan a segment begins, two of them are compared where they show
    neighbouring places; they begin up to some millimetres apart.

    Args:
        dataset: of segments with positions.
        progress: told the pairs compared.
        **wanted: columns of the table to the value that segments must have, such as ``plane``; values that no
            neighbours have are left open.

    Raises:
        InputError: there are too few neighbours.
    """
    for names in (tuple(wanted), ("plane",) if "plane" in wanted else (), ()):
        groups = _groups(dataset, {name: wanted[name] for name in names})
        curve = _of_groups(dataset, groups, progress)
        if len(curve["distance_mm"]):
            return curve
    raise InputError(
        "The data set holds no neighbouring slices of the same bone to compare with.",
        "Give one that skullgan prepare has cut from scans, with positions.",
    )


def compared_at(real: Curve, spacing_mm: float) -> float:
    """The shortest distance of real neighbours that slices of a spacing can be compared with, mm.

    Raises:
        InputError: the slices lie further apart than all of them.
    """
    known = real["distance_mm"]
    if known[-1] < spacing_mm:
        raise InputError(
            f"The slices lie {spacing_mm:g} mm apart, neighbours of the data set at most {known[-1]:g}.",
            "Choose a smaller --spacing.",
        )
    return float(known[known >= spacing_mm * 0.999][0])


def at_distance(curve: Curve, distance_mm: float) -> tuple[float, float]:
    """HU and thickness step at a distance, linear between those of a curve and 0 at no distance."""
    known = np.concatenate([[0], curve["distance_mm"]])
    if not 0 < distance_mm <= known[-1] * 1.001:
        raise InputError(
            f"The slices reach {known[-1]:g} mm, those to compare with lie {distance_mm:g} mm apart.",
            "Ask for more slices, or a larger spacing.",
        )
    return tuple(float(np.interp(distance_mm, known, np.concatenate([[0], curve[name]]))) for name in STEPS)


def match_walk(
    draw: Callable[[float], list[Unrolled]],
    spacing_mm: float,
    real: Curve,
    *,
    smooth: bool = True,
    progress: Progress | None = None,
) -> tuple[float, float]:
    """The walk whose steps over the distance of real neighbours (``compared_at``) are those of real bone.

    Args:
        draw: the bone of some walks of a given correlation length; longer ones differ less from slice to slice.
        spacing_mm: of their slices.
        real: see ``real_curve``.
        smooth: whether the thickness may be smoothed.
        progress: told the lengths tried.

    Returns:
        The correlation length that makes the step in HU the real one, and the smoothing of the thickness, both mm, that
        makes the step in thickness so; 0 where the thickness moves no more than in real bone.

    Warns:
        UserWarning: no length does.
    """
    distance = compared_at(real, spacing_mm)
    wanted_hu, wanted_mm = at_distance(real, distance)
    low, high = (math.log(length) for length in LENGTHS_MM)
    best = (math.inf, 0.0, 0.0)
    for number in range(HALVINGS):
        report(progress, number, HALVINGS, "Matching the walk")
        length = math.exp((low + high) / 2)
        bones = draw(length)
        smoothing = _match_thickness(bones, spacing_mm, distance, wanted_mm) if smooth else 0.0
        curves = [walk_curve(bone.smoothed(smoothing, spacing_mm), spacing_mm) for bone in bones]
        step = float(np.mean([at_distance(curve, distance)[0] for curve in curves]))
        best = min(best, (abs(math.log(max(step, 1e-6) / wanted_hu)), length, smoothing))
        low, high = ((low + high) / 2, high) if step > wanted_hu else (low, (low + high) / 2)
    report(progress, HALVINGS, HALVINGS, "Matching the walk")
    if best[0] > math.log(1.1):
        warnings.warn(
            f"No walk of this model steps by {wanted_hu:.0f} HU over {distance:g} mm as the data set does; the nearest "
            "one is taken. A data set of closer slices tells more (skullgan prepare --interval-mm).",
            stacklevel=2,
        )
    return best[1:]


def write_curves(path: Path, curves: dict[str, Curve]) -> None:
    """Write the curves of some sets as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["set", *next(iter(curves.values()))])
        for name, curve in curves.items():
            for distance, pairs, *steps in zip(*curve.values(), strict=True):
                writer.writerow([name, f"{distance:g}", int(pairs), *(f"{step:.4g}" for step in steps)])


def continuity_picture(path: Path, curves: dict[str, Curve]) -> None:
    """Both steps against the distance, a line for each set."""
    from SkullGANLib.evaluate.plots import COLOURS, new_figure, save_figure

    figure = new_figure(9, 3.8)
    titles = {"step_hu": "HU step (dashed: within slices)", "thickness_step_mm": "thickness step between slices, mm"}
    for axes, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for label, curve in curves.items():
            colour = COLOURS["real" if label == "real" else "synthetic"]
            axes.plot(curve["distance_mm"], curve[name], ".-", color=colour, label=label.rstrip(" 1234567890"))
            if name == "step_hu":
                axes.plot(curve["distance_mm"], curve["within_hu"], "--", color=colour, linewidth=1)
        axes.set(xlabel="distance, mm", ylabel=title, xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.3)
    lines, labels = axes.get_legend_handles_labels()
    axes.legend(*zip(*{label: (line, label) for line, label in zip(lines, labels, strict=True)}.values(), strict=True))
    save_figure(figure, path)


def _match_thickness(bones: list[Unrolled], spacing_mm: float, distance_mm: float, wanted_mm: float) -> float:
    """Smoothing in mm, 0 where the thickness moves little enough as it is."""

    def step(smoothing_mm: float) -> float:
        lags = np.arange(len(bones[0].hu)) * spacing_mm
        found = []
        for bone in bones:
            t = bone.smoothed(smoothing_mm, spacing_mm).thickness_mm
            steps = [0.0, *(np.abs(t[lag:] - t[:-lag]).mean() for lag in range(1, len(t)))]
            found.append(np.interp(distance_mm, lags, steps))
        return float(np.mean(found))

    if step(0.0) <= wanted_mm:
        return 0.0
    low, high = (math.log(end) for end in SMOOTHINGS_MM)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if step(math.exp(middle)) > wanted_mm else (low, middle)
    return math.exp(high)


def _depths(bone: Unrolled) -> np.ndarray:
    return np.arange(-bone.pixel_mm, float(bone.thickness_mm.max()) + 2 * bone.pixel_mm, bone.pixel_mm / 2)


def _step(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference where either holds bone."""
    bone = (one > BONE_HU) | (other > BONE_HU)
    return float(np.abs(one - other)[bone].mean()) if bone.any() else 0.0


def _shared(one: np.ndarray, other: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """What both show of the last axis, where place j + shift of ``one`` is place j of ``other``."""
    m = one.shape[-1]
    return one[..., max(shift, 0) : m + min(shift, 0)], other[..., max(-shift, 0) : m - max(shift, 0)]


def _within(slices: np.ndarray, places: float) -> float:
    """The step between what lies some places apart in the same slices (n, depths, m)."""
    shift = max(1, round(places))
    return float(np.mean([_step(*_shared(each, each, shift)) for each in slices])) if shift < slices.shape[2] else 0.0


def _as_curve(rows: list[tuple[float, int, float, float, float]]) -> Curve:
    columns = np.array(rows, float).reshape(-1, 5).T
    return dict(zip(("distance_mm", "pairs", "step_hu", "thickness_step_mm", "within_hu"), columns, strict=True))


def _groups(dataset: SegmentDataset, wanted: dict[str, str]) -> list[np.ndarray]:
    """Numbers of segments of one bone on parallel planes of one scan, some groups of them, always the same."""
    table = dataset.table
    members = defaultdict(list)
    for i in dataset.filter(quality="ok", **wanted):
        if math.isfinite(table["position_mm"][i]):
            key = (table[name][i] for name in ("subject", "volume", "plane", "region", "side"))
            members[tuple(map(str, key))].append(i)
    groups = [np.array(members[key]) for key in sorted(members)]
    chosen, count = [], 0
    for k in np.random.default_rng(0).permutation(len(groups)):
        if count < SEGMENTS:
            chosen.append(groups[k])
            count += len(groups[k])
    return chosen


def _of_groups(dataset: SegmentDataset, groups: list[np.ndarray], progress: Progress | None) -> Curve:
    found, everything = defaultdict(list), []
    for number, group in enumerate(groups):
        report(progress, number, len(groups), "Measuring real neighbours")
        if len(group) < 2:
            continue
        bone, kept = unroll(dataset.hu[group], dataset.meta.spacing_mm)
        group = group[kept]
        slices, position = bone.at_depths(_depths(bone)), dataset.table["position_mm"][group]
        everything.append((slices, bone.step_mm))
        for a in range(len(group)):
            for b in np.flatnonzero((position > position[a] + 0.01) & (position <= position[a] + FARTHEST_MM)):
                shift = _shift(dataset.table, group[a], group[b], position, bone.step_mm)
                if shift is not None and abs(shift) <= slices.shape[2] // 2:
                    one, other = _shared(bone.thickness_mm[a], bone.thickness_mm[b], shift)
                    steps = _step(*_shared(slices[a], slices[b], shift)), np.abs(one - other).mean()
                    found[round(float(position[b] - position[a]), 2)].append(steps)
    report(progress, len(groups), len(groups), "Measuring real neighbours")
    rows = []
    for distance in sorted(found):
        if len(found[distance]) >= FEWEST_PAIRS:
            within = np.mean([_within(slices, distance / step_mm) for slices, step_mm in everything])
            rows.append((distance, len(found[distance]), *np.mean(found[distance], axis=0), within))
    return _as_curve(rows)


def _shift(table: Table, a: int, b: int, position: np.ndarray, step_mm: float) -> int | None:
    """Steps along the surface by which segment b begins further on than a; None where they may not be neighbours."""
    names = [f"{what}_{axis}" for what in ("corner", "right") for axis in "xyz"]
    if all(name in table for name in names):
        corner_a, right_a, corner_b, right_b = (
            np.array([table[name][i] for name in part]) for i in (a, b) for part in (names[:3], names[3:])
        )
        return round(float((corner_b - corner_a) @ (right_a + right_b) / 2) / step_mm)
    alone = [(position == table["position_mm"][i]).sum() == 1 for i in (a, b)]
    return 0 if all(alone) else None
