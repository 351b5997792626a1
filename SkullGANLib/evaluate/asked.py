"""Whether a model does what it is asked: figures that samples were asked for against what is measured in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SkullGANLib.evaluate.bootstrap import Resampling, bootstrap
from SkullGANLib.evaluate.distributions import MEASURES
from SkullGANLib.evaluate.plots import COLOURS, new_figure, save_figure
from SkullGANLib.evaluate.radiological import UNITS
from SkullGANLib.evaluate.registry import EvaluationInput, Figure, MetricResult, metric, picture

ASKED = "asked_"  # begins the columns of a synthetic data set that hold what was asked for
LEAST = 3  # segments for a correlation
_ROUNDING = 1e-20  # of squares: less variation than this is none


def asked_and_measured(given: EvaluationInput) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name of a measure to what was asked and what was found, where both are numbers and not all the same."""
    measured, pairs = given.feature("measures", given.synthetic), {}
    for name in MEASURES:
        asked = given.synthetic.table.get(ASKED + name)
        if asked is None or asked.dtype.kind not in "iuf":
            continue
        known = np.isfinite(asked) & np.isfinite(measured[name])
        if known.sum() >= LEAST and np.ptp(asked[known]) > 0:
            pairs[name] = np.asarray(asked[known], float), np.asarray(measured[name][known], float)
    return pairs


def agreement(asked: np.ndarray, found: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlation, mean absolute error and bias, each segment counted ``weights`` times."""
    share = weights / weights.sum()
    a, b = asked - share @ asked, found - share @ found
    spread = np.sqrt((share @ a**2) * (share @ b**2))
    varied = all(share @ v**2 > _ROUNDING * (share @ w**2) for v, w in ((a, asked), (b, found)))
    correlation = share @ (a * b) / spread if varied else np.nan
    return np.array([correlation, share @ np.abs(found - asked), share @ (found - asked)])


@metric("asked", title="Asked for against measured", needs=("measures",), group="conditions")
def asked_metric(given: EvaluationInput) -> MetricResult:
    """Correlation, mean absolute error and bias of each figure that the synthetic segments were asked for."""
    result = MetricResult()
    for name, (asked, found) in asked_and_measured(given).items():
        resampling = Resampling(len(asked))
        values = agreement(asked, found, np.ones(len(asked)))
        intervals = bootstrap(lambda w, a=asked, f=found: agreement(a, f, w), [resampling], seed=given.seed)
        for k, what in enumerate(("correlation", "error", "bias")):
            result.figures[f"{name}_{what}"] = Figure(
                value=float(values[k]) if np.isfinite(values[k]) else None,
                unit="" if what == "correlation" else UNITS[name],
                interval=tuple(map(float, intervals[k])) if np.isfinite(intervals[k]).all() else None,
                n=len(asked),
                resampled=resampling.by,
                seed=given.seed,
            )
    return result


@picture(
    "asked.png",
    title="What the synthetic segments were asked for, and what is in them",
    needs=("asked",),
    group="conditions",
)
def asked_picture(given: EvaluationInput, results: dict[str, MetricResult], path: Path) -> None:
    """A panel for each figure, a dot for each segment, and the line on which asked and measured agree."""
    pairs = asked_and_measured(given)
    figure = new_figure(5.0 * len(pairs), 4.8)
    for axes, (name, (asked, found)) in zip(np.atleast_1d(figure.subplots(1, len(pairs))), pairs.items(), strict=True):
        ends = [min(asked.min(), found.min()), max(asked.max(), found.max())]
        axes.plot(ends, ends, color="0.6", linewidth=1)
        axes.plot(asked, found, ".", color=COLOURS["synthetic"], markersize=4, alpha=0.7)
        correlation = results["asked"].figures[f"{name}_correlation"].value
        unit = f" ({UNITS[name]})" if UNITS[name] else ""
        agreement = "" if correlation is None else f"\nr = {correlation:.2f}"
        axes.set_title(f"{MEASURES[name]}{unit}{agreement}", fontsize=15)
        axes.set_xlabel("asked for", fontsize=13)
        axes.set_ylabel("measured", fontsize=13)
        axes.set_aspect("equal")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
