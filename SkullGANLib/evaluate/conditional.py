"""How good a CT is that was generated from a label map: beside the real CT of the same map, label by label.

Functions of arrays; a CT may come from any model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.bootstrap import FEW_SUBJECTS
from SkullGANLib.evaluate.conditional_sums import Regions, SubjectSums
from SkullGANLib.evaluate.radiological import refuse_non_finite
from SkullGANLib.evaluate.reconstruction import psnr, ssim
from SkullGANLib.evaluate.registry import Figure
from SkullGANLib.evaluate.segmenter import Labels, Segmenter, check_labels, check_window, dice
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.table import UNKNOWN_SUBJECT

BACKGROUND = 0
FEW_SLICES = 10
"""Of a label; with fewer, its figures say little."""
LOW_CEILING = 0.7
"""Dice of the real CT below which the segmentation is not good enough to judge by."""
CUT_OFF_HU = 1.0
"""Mean error from which on a reader is told that no model of this window can do better."""
CHUNK = 32

Segment = Callable[[np.ndarray], np.ndarray]
Draws = np.ndarray | Sequence[np.ndarray]
_SUMS = ("pixels", "error", "generated", "real", "spread_generated", "spread_real")


@dataclass(frozen=True)
class LabelResult:
    """What was found inside a label, or in the background.

    Attributes:
        name: of the label.
        slices, pixels: in which it is.
        figures: ``mae``: mean absolute difference of generated and real HU. ``mean_generated`` and ``mean_real``, and
            ``bias``: the first less the second. ``sd_generated`` and ``sd_real``: standard deviation of the HU within
            the label of a slice, pooled over slices: texture, and what blurs in from neighbours; ``sd_ratio``: the
            first over the second. ``dice_generated``: of the condition and the segmented generated CT, mean over
            subjects that have the label; ``dice_real``: the same of the real CT, the ceiling; ``dice_gap``: the second
            less the first. ``diversity``: standard deviation of each pixel across draws, mean over pixels.
    """

    name: str
    slices: int
    pixels: int
    figures: dict[str, Figure]


@dataclass(frozen=True)
class ConditionalResult:
    """What ``evaluate_conditional`` found.

    Attributes:
        slices: compared.
        subjects: of the slices; None where they are not known.
        size_px: rows and columns of a slice.
        window_hu: the range of HU over which PSNR and SSIM were taken.
        draws: CTs of each label map behind ``diversity``; 0 for none.
        seed: of the bootstrap.
        overall: ``mae``, ``bias``, ``diversity`` as of a label, over all pixels; ``psnr`` and ``ssim``, mean over
            slices; ``dice_generated``, ``dice_real``, ``dice_gap``, mean over labels.
        labels: value to what was found inside; 0 is the background.
        notes: what the reader must know, as sentences.
        columns: (n,) ``subject``, ``mae_hu``, ``psnr_db`` and ``ssim`` of each slice.
    """

    slices: int
    subjects: int | None
    size_px: tuple[int, int]
    window_hu: tuple[float, float]
    draws: int
    seed: int
    overall: dict[str, Figure]
    labels: dict[int, LabelResult]
    notes: list[str]
    columns: dict[str, np.ndarray] = field(repr=False)


def evaluate_conditional(
    generated: np.ndarray,
    real: np.ndarray,
    masks: np.ndarray,
    subjects: np.ndarray | None,
    labels: Labels,
    *,
    window_hu: tuple[float, float],
    consistent: Segmenter | Segment | None = None,
    draws: Draws | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ConditionalResult:
    """Compare generated slices with the real ones of the same label maps.

    HU are compared as they are. PSNR and SSIM are taken on the window, beyond which HU are cut off. Every interval is
    at the 95 % level, by bootstrap over whole subjects, since the slices of one are alike; there is none for a single
    subject or where subjects are not known.

    Args:
        generated, real: (n, H, W) HU; may be memory-mapped.
        masks: (n, H, W) whole numbers, the conditions: 0 for background, else a label.
        subjects: (n,) pseudonyms; None where they are not known.
        labels: value to name; the name of 0, if given, is that of the background.
        window_hu: lowest and highest HU of the model.
        consistent: a segmenter, or a function of (n, H, W) HU that gives label maps, by which mask consistency is
            measured. It must not have learnt from these subjects, or the ceiling is too high.
        draws: (k, n, H, W) HU, or k arrays (n, H, W): k CTs of each label map that differ in their noise alone. How
            far they lie apart has no counterpart among real CTs, of which there is one for each label map.
        seed: of the bootstrap.
        progress: told the slices.

    Raises:
        InputError: shapes that do not fit, sides of less than 11 pixels, pixels that are not finite, label maps that
            hold no label or one without a name, or a window without width.
    """
    known = check_labels(masks, labels)
    window_hu = check_window(window_hu)
    _check_shapes(generated, real, masks, subjects, draws)
    names = {BACKGROUND: str(labels.get(BACKGROUND, "background")), **known}
    n, notes = len(masks), []
    named = subjects is not None and not UNKNOWN_SUBJECT & {str(each) for each in subjects}
    sums, columns, cut_off = _measure(generated, real, masks, list(names), window_hu, progress)
    present = sums["pixels"] > 0  # (n, values)
    over = SubjectSums(np.asarray(subjects) if named else None, n, seed)
    found: dict[int, dict[str, Figure]] = {}
    for i, value in enumerate(names):
        if present[:, i].any():
            found[value] = _inside({name: each[:, i] for name, each in sums.items()}, over)
    overall = _overall(sums, columns, over)
    if consistent is not None:
        segment = consistent.segment if isinstance(consistent, Segmenter) else consistent
        values = [value for value in found if value != BACKGROUND]
        for name, figures in _consistency(generated, real, masks, values, segment, over, progress).items():
            (overall if name is None else found[name]).update(figures)
    if draws is not None:
        for name, figure in _diversity(draws, masks, list(names), over, progress).items():
            (overall if name is None else found.get(name, {}))["diversity"] = figure
    report(progress, n, n, "Comparing generated with real slices")
    notes += _subject_notes(over.count if named else None)
    notes += _label_notes(names, present, over)
    notes += _ceiling_notes({names[value]: figures.get("dice_real") for value, figures in found.items()})
    notes += _value_notes(columns, cut_off, window_hu, draws)
    results = {
        value: LabelResult(names[value], int(present[:, i].sum()), int(sums["pixels"][:, i].sum()), found[value])
        for i, value in enumerate(names)
        if value in found
    }
    return ConditionalResult(
        slices=n,
        subjects=over.count if named else None,
        size_px=tuple(np.shape(masks)[1:]),
        window_hu=window_hu,
        draws=0 if draws is None else len(draws),
        seed=seed,
        overall=overall,
        labels=results,
        notes=notes,
        columns={"subject": np.asarray(subjects).astype(str) if named else np.full(n, "unknown"), **columns},
    )


def _check_shapes(
    generated: np.ndarray, real: np.ndarray, masks: np.ndarray, subjects: np.ndarray | None, draws: Draws | None
) -> None:
    shape = np.shape(masks)
    given = {"generated slices": np.shape(generated), "real slices": np.shape(real)}
    given |= {f"slices of draw {i}": np.shape(each) for i, each in enumerate(() if draws is None else draws, start=1)}
    for what, each in given.items():
        if each != shape or len(shape) != 3:
            words = f"The {what} are of shape {each}, the masks of shape {shape}."
            raise InputError(words, "Give slices, draws and masks (slices, rows, columns) of one shape.")
    if not len(masks):
        raise InputError("There are no slices to compare.", "Give at least one.")
    if not np.any(masks):
        raise InputError("The masks hold no label at all.", "Choose the label set that the slices were generated from.")
    if subjects is not None and np.shape(subjects) != shape[:1]:
        words = f"The subjects for {shape[0]} slices are of shape {np.shape(subjects)}."
        raise InputError(words, "Give one for each slice.")
    if draws is not None and len(draws) < 2:
        raise InputError("Fewer than two draws of each label map show no diversity.", "Give at least two.")


def _measure(
    generated: np.ndarray,
    real: np.ndarray,
    masks: np.ndarray,
    values: list[int],
    window_hu: tuple[float, float],
    progress: Progress | None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], float]:
    """Sums over the pixels of each value in each slice, (n, values); figures of slices, (n,); the mean HU by which real
    pixels lie beyond the window."""
    n, cut_off = len(masks), 0.0
    sums = {name: np.empty((n, len(values))) for name in _SUMS}
    columns = {name: np.empty(n) for name in ("mae_hu", "psnr_db", "ssim")}
    low, high = window_hu
    for start in range(0, n, CHUNK):
        report(progress, start, n, "Comparing generated with real slices")
        some = slice(start, start + CHUNK)
        pair = [np.asarray(each[some], np.float64) for each in (generated, real)]
        for hu in pair:
            refuse_non_finite(hu)
        regions = Regions(masks[some], values)
        error = np.abs(pair[0] - pair[1])
        sums["pixels"][some], sums["error"][some] = regions.counts, regions.sums(error)
        for name, hu in zip(("generated", "real"), pair, strict=True):
            sums[name][some], sums[f"spread_{name}"][some] = regions.sums(hu), regions.spreads(hu)
        shown = [np.clip((hu - low) / (high - low), 0, 1) for hu in pair]
        columns["mae_hu"][some] = error.mean((1, 2))
        columns["psnr_db"][some], columns["ssim"][some] = psnr(*shown), ssim(*shown)
        cut_off += float(np.abs(pair[1] - pair[1].clip(low, high)).sum())
    return sums, columns, cut_off / np.size(masks)


def _inside(of: dict[str, np.ndarray], over: SubjectSums) -> dict[str, Figure]:
    """Figures of one value from its sums in each slice, (n,)."""
    pixels, shown = of["pixels"], of["pixels"] > 0
    count, spreads = over.sums(pixels), [over.sums(of[f"spread_{which}"]) for which in ("generated", "real")]

    def sd(w: np.ndarray, which: int) -> float:
        return np.sqrt((w @ spreads[which]) / (w @ count))

    return {
        "mae": over.ratio(of["error"], pixels, "HU"),
        "mean_generated": over.ratio(of["generated"], pixels, "HU"),
        "mean_real": over.ratio(of["real"], pixels, "HU"),
        "bias": over.ratio(of["generated"] - of["real"], pixels, "HU"),
        "sd_generated": over.figure(lambda w: sd(w, 0), shown, "HU"),
        "sd_real": over.figure(lambda w: sd(w, 1), shown, "HU"),
        "sd_ratio": over.figure(lambda w: sd(w, 0) / sd(w, 1), shown),
    }


def _overall(sums: dict[str, np.ndarray], columns: dict[str, np.ndarray], over: SubjectSums) -> dict[str, Figure]:
    of = {name: each.sum(1) for name, each in sums.items()}
    finite = np.isfinite(columns["psnr_db"])
    return {
        "mae": over.ratio(of["error"], of["pixels"], "HU"),
        "bias": over.ratio(of["generated"] - of["real"], of["pixels"], "HU"),
        "psnr": over.ratio(np.where(finite, columns["psnr_db"], 0), finite, "dB"),
        "ssim": over.ratio(columns["ssim"], np.ones(len(finite))),
    }


def _consistency(
    generated: np.ndarray,
    real: np.ndarray,
    masks: np.ndarray,
    values: list[int],
    segment: Segment,
    over: SubjectSums,
    progress: Progress | None,
) -> dict[int | None, dict[str, Figure]]:
    """Dice of condition and segmentation by label, and with None their mean over labels."""
    n, parts = len(masks), {}
    for which, hu in (("generated", generated), ("real", real)):
        again = []
        for start in range(0, n, CHUNK):
            report(progress, start, n, f"Segmenting {which} slices")
            again.append(np.asarray(segment(np.asarray(hu[start : start + CHUNK]))))
        parts[which] = dice(np.concatenate(again), masks, values, over.group)
    shown = {value: (np.asarray(masks) == value).any((1, 2)) for value in values}
    has = {value: over.sums(shown[value]) > 0 for value in values}
    of = {which: {value: np.where(has[value], each[value], 0) for value in values} for which, each in parts.items()}

    def mean(w: np.ndarray, which: str, some: list[int]) -> float:
        each = np.array([(w @ of[which][value]) / (w @ has[value]) for value in some])
        return each[np.isfinite(each)].mean() if np.isfinite(each).any() else np.nan

    found = {}
    for name, some in [*((value, [value]) for value in values), (None, values)]:
        statistics = {
            "dice_generated": lambda w, some=some: mean(w, "generated", some),
            "dice_real": lambda w, some=some: mean(w, "real", some),
            "dice_gap": lambda w, some=some: mean(w, "real", some) - mean(w, "generated", some),
        }
        slices = np.any([shown[value] for value in some], axis=0)
        found[name] = {key: over.figure(statistic, slices) for key, statistic in statistics.items()}
    return found


def _diversity(
    draws: Draws, masks: np.ndarray, values: list[int], over: SubjectSums, progress: Progress | None
) -> dict[int | None, Figure]:
    """Standard deviation across draws by value, and with None over all pixels."""
    n = len(masks)
    apart, counts = np.empty((2, n, len(values)))
    for start in range(0, n, CHUNK):
        report(progress, start, n, "Comparing draws")
        some = slice(start, start + CHUNK)
        hu = np.stack([np.asarray(each[some], np.float64) for each in draws])
        refuse_non_finite(hu)
        regions = Regions(masks[some], values)
        apart[some], counts[some] = regions.sums(hu.std(0, ddof=1)), regions.counts
    found: dict[int | None, Figure] = {None: over.ratio(apart.sum(1), counts.sum(1), "HU")}
    for i, value in enumerate(values):
        if counts[:, i].any():
            found[value] = over.ratio(apart[:, i], counts[:, i], "HU")
    return found


def _subject_notes(count: int | None) -> list[str]:
    if count is None:
        return ["The subjects are not known: there is no interval, since neighbouring slices are alike."]
    if count == 1:
        return ["All slices come from one subject: there is no interval, and nothing is said about others."]
    if count < FEW_SUBJECTS:
        return [f"The slices come from {count} subjects only: the intervals are too narrow."]
    return []


def _label_notes(names: dict[int, str], present: np.ndarray, over: SubjectSums) -> list[str]:
    notes, empty = [], int((~present[:, 1:].any(1)).sum())
    if empty:
        notes.append(f"Empty masks, which count as background alone: {empty} of {len(present)}.")
    for (value, name), shown in zip(names.items(), present.T, strict=True):
        count, called = int(shown.sum()), f"{name} ({value})"
        slices = f"{count} slice" if count == 1 else f"{count} slices"
        if not count and value != BACKGROUND:
            notes.append(f"No slice has the label {called}: nothing is said of it.")
        elif count and len(np.unique(over.group[shown])) == 1 < over.count:
            notes.append(f"Only one subject has the label {called}, in {slices}: its figures have no interval.")
        elif 0 < count < FEW_SLICES:
            notes.append(f"The label {called} is in {slices} only: its figures say little.")
    return notes


def _ceiling_notes(ceilings: dict[str, Figure | None]) -> list[str]:
    low = [f"{name} ({each.value:.2f})" for name, each in ceilings.items() if each and each.value < LOW_CEILING]
    if not low:
        return []
    return [
        f"In the real CT itself the segmentation finds little of: {', '.join(low)}. Whether the generated CT follows "
        "its map there, it cannot tell."
    ]


def _value_notes(
    columns: dict[str, np.ndarray], cut_off: float, window_hu: tuple[float, float], draws: Draws | None
) -> list[str]:
    notes, same = [], int(np.isinf(columns["psnr_db"]).sum())
    if cut_off >= CUT_OFF_HU:
        notes.append(
            f"Real pixels lie beyond the window of {window_hu[0]:g} to {window_hu[1]:g} HU, by a mean of {cut_off:.1f} "
            "HU over all: no model that keeps to it has a smaller error. PSNR and SSIM see them cut off."
        )
    if same:
        notes.append(
            f"The same as the real ones within the window: {same} of {len(columns['psnr_db'])} generated slices. An "
            "infinite signal-to-noise ratio is left out of the mean."
        )
    if draws is not None:
        notes.append(
            f"Diversity is over {len(draws)} draws of each label map; there is no such figure of real CTs, of which "
            "there is one for each label map."
        )
    return notes
