"""From data sets and arrays to what metrics are given: the sets of an evaluation, checked against each other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.checks import check_split
from SkullGANLib.evaluate.radiological import refuse_non_finite
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, Judge
from SkullGANLib.progress import Progress
from SkullGANLib.segments.artificial import artificial_segments
from SkullGANLib.segments.dataset import SegmentDataset

DEFAULT_SPACING_MM = 0.45
ARTIFICIAL = 500
"""Segments of either half of an artificial set that is drawn for the occasion."""

Source = SegmentDataset | np.ndarray


def prepare_input(
    real: Source,
    synthetic: Source,
    *,
    training: Source | None = None,
    control: Source | None = None,
    artificial: Source | Literal["auto"] | None = None,
    judge: Judge | None = None,
    split: str = "auto",
    spacing_mm: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[EvaluationInput, list[str], list[str]]:
    """What metrics are given; arguments and errors as in ``report.evaluate_datasets``.

    Returns:
        The input, warnings about how it was chosen, and what is left out for want of a set, as sentences.
    """
    sources = {"real": real, "synthetic": synthetic, "training": training, "control": control}
    if not isinstance(artificial, str):
        sources["artificial"] = artificial
    sources = {name: source for name, source in sources.items() if source is not None}
    sets, chosen_mm, warnings = comparable_sets(sources, split=split, spacing_mm=spacing_mm)
    if training is None and sets["real"].split == "test" and np.isin("train", real.table["split"]):
        sets["training"] = _as_set("training", real, "train")
    given = EvaluationInput(
        sets["real"],
        sets["synthetic"],
        chosen_mm,
        seed,
        training=sets.get("training"),
        control=sets.get("control"),
        judge=judge,
        progress=progress,
    )
    if artificial is not None:
        halves = _drawn(given) if isinstance(artificial, str) else _halves(sets["artificial"])
        given.idealised, given.unrealistic = halves
    drawn_by = synthetic.meta.model_hash if isinstance(synthetic, SegmentDataset) else None
    if judge is not None and judge.model_hash and drawn_by not in (None, judge.model_hash):
        warnings.append("The discriminator asked is not that of the model which drew the synthetic set.")
    if judge is not None and judge.trained_on and given.held_out and given.training.source not in judge.trained_on:
        warnings.append(
            "The model whose discriminator is asked was not trained on the training set given here: what it takes for "
            "real says nothing about how well it knows its own."
        )
    return given, warnings, _missing(given)


def comparable_sets(
    sources: Mapping[str, Source], *, split: str = "auto", spacing_mm: float | None = None
) -> tuple[dict[str, EvaluatedSet], float, list[str]]:
    """Sets that fit each other, of the real one the part to compare with.

    Args:
        sources: name to data set or array; one of them is "real".
        split, spacing_mm: as in ``report.evaluate_datasets``.

    Returns:
        The sets by name, their pixel size in mm, and warnings about what was chosen.

    Raises:
        InputError: another spacing, background or size, pixels that are not finite, no such part.
    """
    real = sources["real"]
    chosen_mm, warnings = _common_spacing(sources, spacing_mm)
    _check_backgrounds(sources)
    parts = dict.fromkeys(sources, "all") | {"real": _part(real, split)}
    training = sources.get("training")
    if isinstance(training, SegmentDataset) and (training.table["split"] == "train").any():
        parts["training"] = "train"  # the rest of it was held out
    sets = {name: _as_set(name, source, parts[name]) for name, source in sources.items()}
    for name, each in sets.items():
        if each.hu.shape[1:] != sets["real"].hu.shape[1:]:
            sizes = ["x".join(map(str, shape)) for shape in (sets["real"].hu.shape[1:], each.hu.shape[1:])]
            raise InputError(
                f"The real segments have {sizes[0]} pixels, the {name} ones {sizes[1]}.", "Both need the same size."
            )
        try:
            refuse_non_finite(each.hu)
        except InputError as error:
            raise InputError(f"The {name} set: {error.message}", error.advice) from error
    if isinstance(real, SegmentDataset):
        warnings += check_split(real.table["subject"], real.table["split"])
    return sets, chosen_mm, warnings


def _missing(given: EvaluationInput) -> list[str]:
    found = []
    if not given.held_out:
        found.append(
            "No part of the real set is marked as training, so nothing here compares training with held-out subjects: "
            "split the data set, or name the training set."
        )
    if given.control is None:
        found.append("No control set was given: segments of a model trained without pre-training (preset control).")
    if given.idealised is None:
        found.append("No artificial set was given: 'auto' draws one with the figures of the real segments.")
    if given.judge is None:
        found.append("No model with a discriminator was given, so what it takes for real is not shown.")
    return found


def _part(real: Source, split: str) -> str:
    if split != "auto":
        return split
    parts = set(real.table["split"].tolist()) if isinstance(real, SegmentDataset) else set()
    return "test" if {"train", "test"} <= parts else "all"


def _common_spacing(sources: Mapping[str, Source], spacing_mm: float | None) -> tuple[float, list[str]]:
    if spacing_mm is not None and not 0 < spacing_mm < np.inf:
        raise InputError(f"No pixel is {spacing_mm:g} mm wide.", "Give the pixel size in mm, such as 0.45.")
    known = {name: source.meta.spacing_mm for name, source in sources.items() if isinstance(source, SegmentDataset)}
    wanted = [*known.values(), *([] if spacing_mm is None else [spacing_mm])]
    if wanted and not np.allclose(wanted, wanted[0], rtol=1e-3):
        spacings = ", ".join(f"{name} {value:g} mm" for name, value in known.items())
        raise InputError(
            f"The pixel spacings differ ({spacings}{'' if spacing_mm is None else f', asked for {spacing_mm:g} mm'}).",
            "Prepare or generate all sets at the same spacing, or bring the finer one to the other's: skullgan dataset "
            "reduce.",
        )
    chosen_mm = float(wanted[0]) if wanted else DEFAULT_SPACING_MM
    unstated = [name for name in sources if name not in known]
    if not unstated or spacing_mm is not None:
        return chosen_mm, []
    which = f"the {unstated[0]} set" if len(unstated) == 1 else f"the sets {', '.join(unstated)}"
    return chosen_mm, [f"The pixel spacing of {which} is not stated; {chosen_mm:g} mm is assumed."]


def _check_backgrounds(sources: Mapping[str, Source]) -> None:
    known = {name: source.meta.background_hu for name, source in sources.items() if isinstance(source, SegmentDataset)}
    if len(set(known.values())) > 1:
        values = ", ".join(f"{name} {value:g} HU" for name, value in known.items())
        raise InputError(f"The backgrounds differ ({values}).", "All sets need the same background.")


def _drawn(given: EvaluationInput) -> tuple[EvaluatedSet, EvaluatedSet]:
    size = given.real.hu.shape[1]
    if given.real.hu.shape[2] != size:
        raise InputError("An artificial set is drawn for square segments only.", "Leave it out.")
    measures = given.feature("measures", given.real)
    hu, table = artificial_segments(
        measures, ARTIFICIAL, ARTIFICIAL, given.seed, size, given.spacing_mm, progress=given.progress
    )
    fingerprint = f"artificial-{given.real.fingerprint}-{given.seed}"
    return _halves(EvaluatedSet("artificial", hu, fingerprint, table, kind="artificial"))


def _halves(artificial: EvaluatedSet) -> tuple[EvaluatedSet, EvaluatedSet]:
    group = artificial.table.get("group", np.empty(0))
    idealised, unrealistic = (np.flatnonzero(group == name) for name in ("idealised", "unrealistic"))
    if not len(idealised) or not len(unrealistic):
        raise InputError(
            "The artificial set does not say which of its segments are idealised and which unrealistic.",
            "Use auto, or a set made with 'skullgan dataset artificial'.",
        )
    return artificial.take(idealised, "idealised"), artificial.take(unrealistic, "unrealistic")


def _as_set(name: str, source: Source, split: str) -> EvaluatedSet:
    if isinstance(source, SegmentDataset):
        labels = {each: source.labels(each) for each in source.label_sets}
        known = {"kind": source.meta.kind, "label_sets": source.label_sets, "labels": labels}
        if split == "all":
            return EvaluatedSet(name, source.hu, source.fingerprint, source.table, **known)
        rows = np.flatnonzero(source.table["split"] == split)
        if not len(rows):
            parts = ", ".join(sorted(set(source.table["split"].tolist()) - {""})) or "none"
            raise InputError(f"The {name} set has no part '{split}' (its parts: {parts}).", "Split it, or use all.")
        table = {column: values[rows] for column, values in source.table.items()}
        fingerprint = f"{source.fingerprint}:{split}"
        return EvaluatedSet(name, source.hu[rows], fingerprint, table, rows, split=split, **known)
    hu = np.asanyarray(source)
    if hu.ndim == 4 and hu.shape[1] == 1:
        hu = hu[:, 0]
    if hu.ndim != 3 or not len(hu):
        raise InputError(
            f"The {name} set has shape {hu.shape}.", "Give at least one segment, as (N, height, width) HU."
        )
    if split != "all":
        raise InputError(f"A plain array has no part '{split}'.", "Give a data set that is split, or use all.")
    digest = hashlib.sha256(f"{hu.dtype.str} {hu.shape}".encode())
    for start in range(0, len(hu), 512):
        digest.update(np.ascontiguousarray(hu[start : start + 512]).data)
    return EvaluatedSet(name, hu, digest.hexdigest())
