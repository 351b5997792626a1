"""How a visual Turing test went: who was right how often, beyond guessing or not, and how far readers agree."""

from __future__ import annotations

import csv
import itertools
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from SkullGANLib import __version__
from SkullGANLib.evaluate.bootstrap import Resampling, exact_share, figure_of
from SkullGANLib.evaluate.registry import Figure
from SkullGANLib.evaluate.summary import p_words
from SkullGANLib.evaluate.turing import VERSION, VisualTest
from SkullGANLib.evaluate.turing_answers import SYNTHETIC, Session, sessions
from SkullGANLib.files import replace_file, write_json

FORMAT = "skullgan-turing-result"
RESULT_FILE, TABLE_FILE, PICTURE_FILE = "result.json", "result.csv", "result.png"
GUESSING = 0.5
PUBLISHED = {"accuracy": 0.60, "readers": 4, "source": "arXiv 2308.00206, third version: staff radiologists"}
FEW_READERS = 5
ROUNDING = 1e-9  # of an expected agreement of 1, at which none is left to chance


class ReaderResult(BaseModel):
    """One reader.

    Attributes:
        reader: pseudonym.
        answered: images; the figures are None until all have an answer.
        accuracy: share of right answers, with the exact (Clopper-Pearson) 95 % interval and the two-sided binomial p
            against guessing.
        sensitivity: share of the synthetic images that were called synthetic.
        specificity: share of the real images that were called real.
        seconds: median for an image.
    """

    model_config = ConfigDict(extra="forbid")

    reader: str
    answered: int
    accuracy: Figure | None = None
    sensitivity: Figure | None = None
    specificity: Figure | None = None
    seconds: float | None = None


class TuringResult(BaseModel):
    """The content of ``result.json``.

    Attributes:
        test: its id.
        images: real and synthetic.
        readers: all who have begun.
        pooled: accuracy over the readers who have finished; the interval is resampled over readers and images.
        kappa: agreement of each pair beyond chance (Cohen), by "one, other".
        fleiss_kappa: agreement of more than two readers beyond chance.
        published: what readers of the published model reached.
        warnings: what to know before trusting a figure, as sentences.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal["skullgan-turing-result"] = FORMAT
    version: int = VERSION
    library: str = __version__
    test: str
    images: dict[str, int]
    readers: list[ReaderResult]
    pooled: Figure | None = None
    kappa: dict[str, Figure] = Field(default_factory=dict)
    fleiss_kappa: Figure | None = None
    published: dict[str, Any] = PUBLISHED
    warnings: list[str] = Field(default_factory=list)


def find_result(test: VisualTest, secret: str, *, seed: int = 0) -> TuringResult:
    """Mark the answers of every reader who has finished.

    Args:
        test: with the answers in its folder.
        secret: of its key, see ``turing.read_key``.
        seed: of the bootstrap.
    """
    truth = test.is_synthetic(secret)
    begun = sessions(test)
    finished = [each for each in begun if each.image is None]
    said = np.array([[each.answers[i].said == SYNTHETIC for i in range(len(test))] for each in finished], bool)
    said = said.reshape(len(finished), len(test))
    marked = iter([_mark(each, row, truth) for each, row in zip(finished, said, strict=True)])
    result = TuringResult(
        test=test.id,
        images={"real": test.counts[0], "synthetic": test.counts[1]},
        readers=[
            next(marked) if each.image is None else ReaderResult(reader=each.reader, answered=each.done)
            for each in begun
        ],
        warnings=_warnings(begun, len(test)),
    )
    if not finished:
        return result
    result.pooled = _pooled(said == truth, seed)
    for a, b in itertools.combinations(range(len(finished)), 2):
        pair = f"{finished[a].reader}, {finished[b].reader}"
        result.kappa[pair] = _kappa_figure(_votes(said[[a, b]]), cohen_kappa, said[[a, b]], seed)
    if len(finished) > 2:
        result.fleiss_kappa = _kappa_figure(_votes(said), fleiss_kappa, _votes(said), seed)
    for name, figure in [*result.kappa.items(), ("all readers", result.fleiss_kappa)]:
        if figure is not None and figure.value is None:
            result.warnings.append(f"Every answer of {name} was the same: agreement beyond chance is not defined.")
    return result


def write_result(test: VisualTest, result: TuringResult) -> None:
    """Write ``result.json``, ``result.csv`` and, once a reader has finished, ``result.png`` beside the answers."""
    write_json(test.path / RESULT_FILE, result.model_dump(mode="json"))
    with replace_file(test.path / TABLE_FILE) as path, open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("reader", "figure", "value", "low", "high", "n", "resampled", "p"))
        writer.writerows(result_rows(result))
    (test.path / PICTURE_FILE).unlink(missing_ok=True)
    if result.pooled is not None:
        from SkullGANLib.evaluate.turing_picture import draw_result

        with replace_file(test.path / PICTURE_FILE) as path:
            draw_result(result, path)


def result_rows(result: TuringResult) -> list[tuple[Any, ...]]:
    """The table ``result.csv``: who, which figure, its value, interval and n, what was resampled, and p."""
    named: list[tuple[str, str, Figure | None]] = []
    for each in result.readers:
        named += [(each.reader, name, getattr(each, name)) for name in ("accuracy", "sensitivity", "specificity")]
    named.append(("all", "accuracy", result.pooled))
    named += [(pair, "Cohen kappa", figure) for pair, figure in result.kappa.items()]
    named.append(("all", "Fleiss kappa", result.fleiss_kappa))
    return [
        (who, name, f.value, *(f.interval or ("", "")), f.n, f.resampled or "", f.detail.get("p", ""))
        for who, name, f in named
        if f is not None
    ]


def share_figure(right: int, of: int, *, against_guessing: bool = False) -> Figure:
    """A share with its exact interval and, if asked for, the two-sided binomial p."""
    from scipy.stats import binomtest

    p = {"p": float(binomtest(right, of, GUESSING).pvalue)} if against_guessing else {}
    return exact_share(right, of, detail={"right": right, **p})


def cohen_kappa(said: np.ndarray, weights: np.ndarray) -> float:
    """Agreement of two readers beyond chance (Cohen 1960).

    Args:
        said: (2, n) whole numbers, the category each reader gave each image.
        weights: (n,) how often each image counts.

    Returns:
        1 for full agreement, 0 for that of chance; nan where both gave one and the same category throughout.
    """
    share = weights / weights.sum()
    observed = weights @ (said[0] == said[1]) / weights.sum()
    expected = sum((share @ (said[0] == c)) * (share @ (said[1] == c)) for c in np.unique(said))
    return float((observed - expected) / (1 - expected)) if 1 - expected > ROUNDING else float("nan")


def fleiss_kappa(votes: np.ndarray, weights: np.ndarray) -> float:
    """Agreement of m readers beyond chance (Fleiss 1971).

    Args:
        votes: (n, k) how many of the m readers put each image into each category.
        weights: (n,) how often each image counts.

    Returns:
        As ``cohen_kappa``.
    """
    share, m = weights / weights.sum(), votes[0].sum()
    observed = share @ ((votes**2).sum(1) - m) / (m * (m - 1))
    expected = ((share @ votes / m) ** 2).sum()
    return float((observed - expected) / (1 - expected)) if 1 - expected > ROUNDING else float("nan")


def result_words(result: TuringResult) -> list[str]:
    """The result as lines for people."""
    lines = []
    for each in result.readers:
        if each.accuracy is not None:
            lines.append(
                f"{each.reader}: {_percent(each.accuracy)} right, p {p_words(each.accuracy.detail['p'])} against "
                f"guessing; found {_percent(each.sensitivity)} of the synthetic images, knew "
                f"{_percent(each.specificity)} of the real ones; {each.seconds:.1f} s for an image."
            )
    if result.pooled is not None and len([each for each in result.readers if each.accuracy]) > 1:
        lines.append(f"All readers: {_percent(result.pooled)} right.")
    for pair, figure in result.kappa.items():
        lines.append(f"Agreement of {pair}: Cohen's kappa {_number(figure)}.")
    if result.fleiss_kappa is not None:
        lines.append(f"Agreement of all: Fleiss' kappa {_number(result.fleiss_kappa)}.")
    published = result.published
    lines.append(
        f"Published: {100 * published['accuracy']:.0f} % right, {published['readers']} radiologists; 50 % is guessing."
    )
    return lines


def _mark(session: Session, said: np.ndarray, truth: np.ndarray) -> ReaderResult:
    right = said == truth
    return ReaderResult(
        reader=session.reader,
        answered=session.done,
        accuracy=share_figure(int(right.sum()), len(right), against_guessing=True),
        sensitivity=share_figure(int(right[truth].sum()), int(truth.sum())),
        specificity=share_figure(int(right[~truth].sum()), int((~truth).sum())),
        seconds=float(np.median([each.seconds for each in session.answers.values()])),
    )


def _pooled(right: np.ndarray, seed: int) -> Figure:
    """Accuracy of (readers, images) right answers; readers and images are drawn each by themselves (Owen 2007)."""
    readers, images = (Resampling(n) for n in right.shape)
    if readers.by is None or right.all() or not right.any():  # one reader, or nothing that resampling could vary
        alone = share_figure(int(right.mean(0).round().sum()), right.shape[1])
        return alone.model_copy(update={"n": right.size, "detail": {}})
    found = figure_of(lambda a, b: a @ right @ b / (a.sum() * b.sum()), [readers, images], seed=seed)
    return found.model_copy(update={"n": right.size, "resampled": "readers and images"})


def _votes(said: np.ndarray) -> np.ndarray:
    """(n, 2) how many readers called each image real, and synthetic."""
    return np.stack([(~said).sum(0), said.sum(0)], axis=1)


def _kappa_figure(votes: np.ndarray, kappa: Any, values: np.ndarray, seed: int) -> Figure:
    if (votes.sum(0) == 0).any():
        return Figure(value=None, n=len(votes))
    found = figure_of(lambda weights: kappa(values, weights), [Resampling(len(votes))], seed=seed)
    return found.model_copy(update={"resampled": "images"})


def _warnings(begun: list[Session], images: int) -> list[str]:
    found = [
        f"{each.reader} has answered {each.done} of {images} images and is not counted until all are answered."
        for each in begun
        if each.image is not None
    ]
    finished = len(begun) - len(found)
    if not finished:
        return [*found, "No reader has finished yet, so there is nothing to tell."]
    if finished == 1:
        found.append("One reader has finished: the interval is over images alone, and nothing is said about others.")
    elif finished < FEW_READERS:
        found.append(f"{finished} readers have finished: an interval over so few readers is rough.")
    return found


def _percent(figure: Figure) -> str:
    low, high = (100 * end for end in figure.interval)
    return f"{100 * figure.value:.0f} % ({low:.0f} to {high:.0f})"


def _number(figure: Figure) -> str:
    if figure.value is None:
        return "is not defined"
    value, low, high = (f"{round(number, 2) + 0.0:.2f}" for number in (figure.value, *figure.interval))  # no minus zero
    return f"{value} ({low} to {high})"
