"""t-SNE maps of all sets by radiological figures and by pixels, as in the paper, and how mixed the sets are on them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

from SkullGANLib.evaluate.bootstrap import FEW_SUBJECTS, figure_of, resampling_of
from SkullGANLib.evaluate.distributions import HEADLINE
from SkullGANLib.evaluate.plots import COLOURS, new_figure, save_figure
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, Figure, MetricResult, metric, picture, spread
from SkullGANLib.progress import report

MOST, LEAST = 1000, 30
"""Segments of each set on the maps; a set with fewer than the second is left out."""
COMPONENTS = 50
PERPLEXITY, ITERATIONS, ANGLE = 30, 500, 0.6
NEIGHBOURS = 10
MAPS = {
    "measures": "By skull density ratio, thickness and intensity",
    "pixels": f"By pixels ({COMPONENTS} principal components)",
}
"""Name to title of the maps."""


def embed(vectors: np.ndarray, *, components: int | None = None, seed: int = 0) -> tuple[np.ndarray, float]:
    """A t-SNE map (van der Maaten and Hinton 2008), the same for the same seed; vectors all alike lie on one spot.

    Args:
        vectors: (n, d) finite numbers.
        components: reduce to so many principal components first; None to leave as they are.
        seed: of both steps.

    Returns:
        (n, 2) float32 places on the map, and the share of the variance that the principal components keep.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    kept = 1.0
    if not np.ptp(vectors, axis=0).any():
        return np.zeros((len(vectors), 2), np.float32), kept
    with threadpool_limits(1, user_api="openmp"):  # sums in a fixed order: the map amplifies the last digit
        if components is not None and components < min(vectors.shape):
            reducer = PCA(components, svd_solver="randomized", iterated_power=2, random_state=seed)
            vectors = reducer.fit_transform(vectors)
            kept = float(reducer.explained_variance_ratio_.sum())
        perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
        drawer = TSNE(perplexity=perplexity, init="pca", max_iter=ITERATIONS, angle=ANGLE, random_state=seed)
        return drawer.fit_transform(vectors), kept


def nearest_places(
    first: np.ndarray, second: np.ndarray, second_subjects: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """The nearest points of each point of the second set, among both sets; those of the same subject do not count.

    Args:
        first, second: (n, 2) and (m, 2) places, at least 10 in the first.
        second_subjects: (m,) pseudonyms, or None where each point stands for itself.

    Returns:
        (m, 10) numbers of the nearest points, those of the second set following on those of the first; and the share
        of the second set among them where the two sets lie mixed.
    """
    from scipy.spatial.distance import cdist

    own = np.arange(len(second)) if second_subjects is None else second_subjects
    related = np.concatenate([np.zeros((len(second), len(first)), bool), own[:, None] == own], axis=1)
    distance = np.where(related, np.inf, cdist(second, np.concatenate([first, second])))
    nearest = np.argpartition(distance, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    strangers = len(second) - related.sum(1)
    return nearest, float((strangers / (len(first) + strangers)).mean())


@metric("tsne", title="t-SNE maps", needs=("measures",), group="separability")
def tsne(given: EvaluationInput) -> MetricResult:
    """Two maps of all sets, and the share of its own kind among the neighbours of each set: 0.5 where it lies mixed.

    Neighbours are counted among as many real segments and segments of that set, from the latter: those of one real head
    lie together by nature. Training segments against real ones show what to expect of real heads.
    """
    shown, result = _shown(given)
    if not {"real", "synthetic"} <= set(shown):
        return result
    sets = {name: given.every_set[name].take(rows) for name, rows in shown.items()}
    ends = np.cumsum([len(rows) for rows in shown.values()])[:-1]
    jobs: dict[str, Callable] = {
        "measures": lambda: embed(_measures(given, shown), seed=given.seed),
        "pixels": lambda: embed(_pixels(sets), components=COMPONENTS, seed=given.seed),
    }
    with ThreadPoolExecutor(len(jobs)) as pool:
        working = {name: pool.submit(job) for name, job in jobs.items()}
        while wait(working.values(), timeout=0.5).not_done:
            done = sum(each.done() for each in working.values())
            report(given.progress, done, len(jobs), "Drawing t-SNE maps")
    result.columns |= {name: {} for name in sets}
    counted = [name for name, each in sets.items() if name != "real" and _many(each, result)]
    for which, job in working.items():
        places, kept = job.result()
        by_set = dict(zip(sets, np.split(places, ends), strict=True))
        detail = {"variance_kept": kept} if which == "pixels" else {}
        for name, found in by_set.items():
            columns = np.full((2, len(given.every_set[name])), np.nan)
            columns[:, shown[name]] = found.T
            result.columns[name] |= {f"tsne_{which}_{axis}": column for axis, column in zip("xy", columns, strict=True)}
            if name in counted:
                pair = sets["real"], sets[name]
                result.figures[f"{which}_{name}_same_set"] = _figure(pair, (by_set["real"], found), given.seed, detail)
    return result


def _shown(given: EvaluationInput) -> tuple[dict[str, np.ndarray], MetricResult]:
    """Rows of each set that stand on the maps, and in words which sets do not."""
    shown, result = {}, MetricResult()
    for name, each in given.every_set.items():
        measured = given.feature("measures", each)
        known = np.flatnonzero(np.isfinite([measured[figure] for figure in HEADLINE]).all(0))
        if len(known) >= LEAST:
            shown[name] = known[spread(len(known), MOST)]
        else:
            result.left_out.append(
                f"The {name} set is on no t-SNE map: {len(known)} of its segments could be measured, and it takes "
                f"{LEAST}."
            )
    return shown, result


def _many(each: EvaluatedSet, result: MetricResult) -> bool:
    """Whether a set is of many subjects or of none; if not, its neighbours tell of heads, and the result says so."""
    count = FEW_SUBJECTS if each.subjects is None else len(np.unique(each.subjects))
    if count < FEW_SUBJECTS:
        result.left_out.append(
            f"How far the {each.name} set keeps to itself on the t-SNE maps is not counted: it comes from {count} "
            f"subjects, and it takes {FEW_SUBJECTS}."
        )
    return count >= FEW_SUBJECTS


def _measures(given: EvaluationInput, shown: dict[str, np.ndarray]) -> np.ndarray:
    """(n, 3) float32 figures of all that is shown, in units of the spread of the real ones."""
    values = {
        name: np.stack([given.feature("measures", given.every_set[name])[figure][rows] for figure in HEADLINE], 1)
        for name, rows in shown.items()
    }
    centre, scale = values["real"].mean(0), values["real"].std(0)
    return ((np.concatenate(list(values.values())) - centre) / np.where(scale > 0, scale, 1)).astype(np.float32)


def _pixels(sets: dict[str, EvaluatedSet]) -> np.ndarray:
    """(n, height x width) float32, in 1000 HU."""
    return np.concatenate([np.asarray(each.hu, np.float32).reshape(len(each), -1) / 1000 for each in sets.values()])


def _figure(
    sets: tuple[EvaluatedSet, EvaluatedSet], places: tuple[np.ndarray, np.ndarray], seed: int, detail: dict
) -> Figure:
    """How far the second set keeps to itself beside as many of the first; the map itself is not drawn anew."""
    count = min(map(len, sets))
    chosen = [spread(len(each), count) for each in sets]
    sets = tuple(each.take(rows) for each, rows in zip(sets, chosen, strict=True))
    subjects = sets[1].subjects
    nearest, chance = nearest_places(*(each[rows] for each, rows in zip(places, chosen, strict=True)), subjects)
    same = nearest >= count

    def share(first: np.ndarray, second: np.ndarray) -> float:
        weights = np.concatenate([first, second])[nearest]
        return float(second @ (weights * same).sum(1) / (second @ weights.sum(1)))

    return figure_of(
        share,
        [resampling_of(each) for each in sets],
        seed=seed,
        detail={"mixed": chance, "neighbours": NEIGHBOURS} | detail,
    )


@picture(
    "tsne.png",
    title=f"t-SNE maps of the radiological figures, and of the pixels after reduction to {COMPONENTS} principal "
    "components",
    needs=("tsne",),
    group="separability",
)
def tsne_picture(given: EvaluationInput, results: dict[str, MetricResult], path: Path) -> None:
    """A panel for each map, a point for each segment, in random order so that no set lies over another."""
    result = results["tsne"]
    names = [name for name in COLOURS if name in result.columns]
    colours = np.concatenate([np.full(len(given.every_set[name]), COLOURS[name]) for name in names])
    figure = new_figure(13.5, 7.8)
    figure.suptitle(
        "What lies together is alike; how far groups are apart or how large they are means nothing", fontsize=12
    )
    for axes, (which, title) in zip(figure.subplots(1, len(MAPS)), MAPS.items(), strict=True):
        x, y = (np.concatenate([result.columns[name][f"tsne_{which}_{axis}"] for name in names]) for axis in "xy")
        order = np.random.default_rng(given.seed).permutation(np.flatnonzero(np.isfinite(x)))
        axes.scatter(x[order], y[order], s=11, c=colours[order], alpha=0.75, linewidths=0)
        found = result.figures.get(f"{which}_synthetic_same_set")
        axes.set_title(title, fontsize=16, pad=10)
        if found is not None:
            axes.set_xlabel(
                f"Neighbours of synthetic ones: {100 * found.value:.0f} % synthetic "
                f"({100 * found.detail['mixed']:.0f} % if mixed with real)",
                fontsize=13,
                labelpad=8,
            )
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xticks([])
        axes.set_yticks([])
    counts = {name: np.isfinite(result.columns[name]["tsne_pixels_x"]).sum() for name in names}
    marks = [axes.plot([], [], "o", color=COLOURS[name], markersize=9)[0] for name in names]
    labels = [f"{name} ({count})" for name, count in counts.items()]
    figure.legend(marks, labels, loc="outside lower center", ncols=min(len(names), 3), fontsize=13, frameon=False)
    save_figure(figure, path)
