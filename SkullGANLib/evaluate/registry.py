"""What an evaluation is given, what a metric returns, and the lists of metrics, features and pictures known by name.

A metric is a registered function of arrays, tables and cached features; it knows no model and no path.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress
from SkullGANLib.segments.table import UNKNOWN_SUBJECT

MODULES = (
    "distributions",
    "asked",
    "discriminator",
    "two_sample",
    "nearest",
    "memorisation",
    "leaks",
    "encoder",
    "fidelity_metrics",
    "classes",
    "inception",
    "plots",
    "embedding",
    "reconstruction",
    "downstream",
)
"""Files of this package that register metrics, features or pictures, in the order of the report."""
GROUPS = {
    "distributions": "Distributions",
    "separability": "Separability",
    "memorisation": "Memorisation and privacy",
    "fidelity": "Fidelity and diversity",
    "conditions": "What was asked for",
    "use": "Use",
    "other": "Further figures",
}
"""Groups of metrics and pictures and their headings, in the order in which the page shows them."""
DRAWN = ("synthetic", "artificial")
"""Kinds of data set whose segments are independent draws, of no subject."""


@dataclass(frozen=True)
class EvaluatedSet:
    """One of the sets of segments that are compared.

    Attributes:
        name: "real", "synthetic", "training", "control", "idealised" or "unrealistic", as in the report.
        hu: (N, H, W) HU; may be memory-mapped.
        fingerprint: content hash, under which features are cached.
        table: columns of length N, as in ``segments.table``; may be empty.
        rows: (N,) row of each segment in the data set it comes from.
        kind: what the data set says it is; empty if it says nothing.
        split: which part of the data set was taken.
        label_sets: name to label maps of all of that data set, (its length, H, W) whole numbers; see ``masks``.
        labels: name of a label set to what its values stand for.
    """

    name: str
    hu: np.ndarray
    fingerprint: str
    table: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    kind: str = ""
    split: str = "all"
    label_sets: Mapping[str, np.ndarray] = field(default_factory=dict)
    labels: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.rows):
            object.__setattr__(self, "rows", np.arange(len(self.hu)))

    def __len__(self) -> int:
        return len(self.hu)

    @property
    def subjects(self) -> np.ndarray | None:
        """(N,) pseudonyms, or None unless every segment is of a known subject."""
        subjects = self.table.get("subject")
        if self.kind in DRAWN or subjects is None or not len(subjects) or UNKNOWN_SUBJECT & set(subjects.tolist()):
            return None
        return subjects

    @property
    def source(self) -> str:
        """Content hash of the data set that the segments come from, of whatever part."""
        return self.fingerprint.partition(":")[0]

    def masks(self, name: str) -> np.ndarray:
        """(N, H, W) label maps of these segments, of the label set called ``name``."""
        return np.asarray(self.label_sets[name][self.rows])

    def take(self, rows: np.ndarray, name: str | None = None) -> EvaluatedSet:
        """The segments at ``rows`` (positions in this set, ascending), as a set of their own."""
        rows = np.asarray(rows, np.int64)
        digest = hashlib.sha256(rows.tobytes()).hexdigest()[:16]
        return replace(
            self,
            name=name or self.name,
            hu=self.hu[rows],
            fingerprint=f"{self.fingerprint}:{digest}",
            table={column: values[rows] for column, values in self.table.items()},
            rows=self.rows[rows],
        )

    def at_most(self, n: int) -> EvaluatedSet:
        """The whole set, or ``n`` of its segments, evenly spread: for what would take too long on all."""
        return self if len(self) <= n else self.take(spread(len(self), n))


@dataclass(frozen=True)
class Judge:
    """A discriminator as an evaluation sees it.

    Attributes:
        realness: (n, H, W) HU of one set to (n,) probabilities of being real.
        absolute: whether 0.5 parts real from generated; a relativistic discriminator knows only what is more real.
        batchwise: the same with the statistics of each batch, as in training, where the network has BatchNorm. Its
            running statistics are a blend of real and generated images, which moves all scores to one side.
        model_hash: of the generator that it was trained against.
        trained_on: content hashes of the data sets it was trained on; empty where they are not known.
    """

    realness: Callable[[np.ndarray], np.ndarray]
    absolute: bool = True
    batchwise: Callable[[np.ndarray], np.ndarray] | None = None
    model_hash: str = ""
    trained_on: tuple[str, ...] = ()


@dataclass
class EvaluationInput:
    """Everything a metric may look at.

    Attributes:
        real, synthetic: the two sets; ``real`` is held out of training where ``training`` is another set.
        spacing_mm: pixel size of all sets.
        seed: of every random draw.
        training: the real segments that a model may have been trained on, where the data set marks them; else ``real``.
        control: of a model trained without pre-training, as the paper's control; or None.
        idealised, unrealistic: the halves of the paper's artificial set; or None.
        judge: the discriminator of the model at hand, or None.
        progress: for features and metrics that take more than a second.
        cache: features by (content hash of the set, name and version of the extractor).
    """

    real: EvaluatedSet
    synthetic: EvaluatedSet
    spacing_mm: float
    seed: int = 0
    training: EvaluatedSet | None = None
    control: EvaluatedSet | None = None
    idealised: EvaluatedSet | None = None
    unrealistic: EvaluatedSet | None = None
    judge: Judge | None = None
    progress: Progress | None = None
    cache: dict[tuple[str, str], Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.training is None:
            self.training = self.real

    @property
    def sets(self) -> tuple[EvaluatedSet, EvaluatedSet]:
        """Real, then synthetic."""
        return self.real, self.synthetic

    @property
    def held_out(self) -> bool:
        """Whether ``real`` was kept from the training, as far as the data set tells."""
        return self.training is not self.real

    @property
    def every_set(self) -> dict[str, EvaluatedSet]:
        """Name to set of all that there are: real, synthetic, then training (where it is another set than real),
        control, idealised, unrealistic."""
        others = (self.training if self.held_out else None, self.control, self.idealised, self.unrealistic)
        return {each.name: each for each in (*self.sets, *others) if each is not None}

    def feature(self, name: str, of: EvaluatedSet) -> Any:
        """The feature called ``name`` of a set, computed on first use and kept for every other metric."""
        extractor = FEATURES[name]
        key = (of.fingerprint, f"{name}:{extractor.version}:{self.spacing_mm}")
        if key not in self.cache:
            self.cache[key] = extractor.function(self, of)
        return self.cache[key]


def spread(count: int, most: int) -> np.ndarray:
    """At most ``most`` positions of ``count``, evenly spread, ascending: for what would take too long on all."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(np.int64)


class Figure(BaseModel):
    """One number with what is needed to trust it.

    Attributes:
        value: the number; None where it cannot be known, as where it would not be finite.
        unit: empty for a ratio.
        interval: 95 % bootstrap interval, low and high; None where there is none.
        n: segments behind it.
        subjects: subjects behind it, of all sets that name them; None where none does.
        resampled: what the interval was resampled over: "subjects", "segments", or both sets' where they differ.
        seed: of the resampling.
        detail: further numbers, such as the p of a test.
    """

    model_config = ConfigDict(extra="forbid")

    value: float | None
    unit: str = ""
    interval: tuple[float, float] | None = None
    n: int = 0
    subjects: int | None = None
    resampled: str | None = None
    seed: int = 0
    detail: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _finite(self) -> Figure:
        """JSON holds no other numbers, and one figure of many must not cost the report."""
        if self.value is not None and not math.isfinite(self.value):
            self.value = None
        if self.value is None or not all(map(math.isfinite, self.interval or ())):
            self.interval = None
        return self


class MetricResult(BaseModel):
    """What a metric returns.

    Attributes:
        name, title, unit, group, headline, highlights, aim: as registered.
        figures: by name, each with its own interval.
        warnings: whole sentences for the reader.
        left_out: whole sentences: what of this metric was not computed, and why.
        seconds: it took, features that it was the first to need included.
        columns: values for each segment, by set and column name, for ``segments.csv``; not part of the JSON.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    name: str = ""
    title: str = ""
    unit: str = ""
    group: str = "other"
    headline: bool = False
    highlights: tuple[str, ...] = ()
    aim: str = ""
    figures: dict[str, Figure] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    left_out: list[str] = Field(default_factory=list)
    seconds: float = 0.0
    columns: dict[str, dict[str, np.ndarray]] = Field(default_factory=dict, exclude=True)


@dataclass(frozen=True)
class Registered:
    """An entry of one of the lists below.

    Attributes:
        name: how it is called for.
        function: what it does; its signature is given at the decorator.
        title: for the reader.
        unit: of a metric.
        needs: names of the features it uses; they are computed before it for the real and the synthetic set, once.
        version: of a feature's extractor, part of its cache key: raise it when its numbers change.
        headline: whether a metric belongs in the first table of the report.
        default: whether it takes part when no metrics are named.
        group: of a metric or picture: under which of ``GROUPS`` the page shows it.
        highlights: names of the figures of a metric that decide, for the first table of the report.
        aim: of a metric: in words, where its highlights should be.
    """

    name: str
    function: Callable
    title: str = ""
    unit: str = ""
    needs: tuple[str, ...] = ()
    version: str = "1"
    headline: bool = False
    default: bool = True
    group: str = "other"
    highlights: tuple[str, ...] = ()
    aim: str = ""

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise ValueError(f"'{self.group}' is no group of the report: {', '.join(GROUPS)}.")


METRICS: dict[str, Registered] = {}
FEATURES: dict[str, Registered] = {}
PICTURES: dict[str, Registered] = {}


def metric(
    name: str,
    *,
    title: str,
    unit: str = "",
    needs: tuple[str, ...] = (),
    headline: bool = False,
    default: bool = True,
    group: str = "other",
    highlights: tuple[str, ...] = (),
    aim: str = "",
) -> Callable[[Callable], Callable]:
    """Register ``function(given: EvaluationInput) -> MetricResult`` under ``name``."""
    entry = Registered(name, len, title, unit, needs, "1", headline, default, group, highlights, aim)
    return _register(METRICS, entry)


def feature(name: str, *, version: str = "1") -> Callable[[Callable], Callable]:
    """Register ``function(given: EvaluationInput, of: EvaluatedSet) -> Any`` as an extractor that metrics may need."""
    return _register(FEATURES, Registered(name, len, version=version))


def picture(
    name: str, *, title: str, needs: tuple[str, ...] = (), group: str = "other"
) -> Callable[[Callable], Callable]:
    """Register ``function(given: EvaluationInput, results: dict[str, MetricResult], path: Path) -> None``.

    It writes a PNG at ``path``. ``needs`` names metrics here: without their results there is no picture.
    """
    return _register(PICTURES, Registered(name, len, title, needs=needs, group=group))


def in_order(entries: Mapping[str, Registered]) -> list[Registered]:
    """Entries in the order of the report, whichever of the files was imported first."""
    place = {f"SkullGANLib.evaluate.{module}": i for i, module in enumerate(MODULES)}
    return sorted(entries.values(), key=lambda entry: place.get(entry.function.__module__, len(place)))


def load_metrics() -> dict[str, Registered]:
    """Every registered metric by name, in the order of the report."""
    for module in MODULES:
        importlib.import_module(f"SkullGANLib.evaluate.{module}")
    return {entry.name: entry for entry in in_order(METRICS)}


def choose_metrics(names: list[str] | tuple[str, ...] | None) -> list[Registered]:
    """The metrics called ``names``, or those that take part by default.

    Raises:
        InputError: an unknown name; says which known one is nearest.
    """
    known = load_metrics()
    if names is None:
        return [entry for entry in known.values() if entry.default]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)
            raise InputError(
                f"There is no metric '{name}'; the nearest is '{near[0]}'.", f"Choose from: {', '.join(known)}."
            )
    return [known[name] for name in dict.fromkeys(names)]


def compute(entry: Registered, given: EvaluationInput) -> MetricResult:
    """Run one metric and put its name, title, unit and duration on the result."""
    start = time.perf_counter()
    for name in entry.needs:
        for each in given.sets:
            given.feature(name, each)
    result = entry.function(given)
    known = {key: getattr(entry, key) for key in ("name", "title", "unit", "group", "headline", "highlights", "aim")}
    return result.model_copy(update=known | {"seconds": time.perf_counter() - start})


def _register(where: dict[str, Registered], entry: Registered) -> Callable[[Callable], Callable]:
    def add(function: Callable) -> Callable:
        known = where.get(entry.name)
        if known is not None and known.function.__qualname__ != function.__qualname__:
            raise ValueError(f"'{entry.name}' is registered twice.")
        where[entry.name] = replace(entry, function=function)
        return function

    return add
