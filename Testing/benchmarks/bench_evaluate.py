"""How long an evaluation takes, metric by metric: ``python Testing/benchmarks/bench_evaluate.py [segments]``.

With so many real, synthetic and training segments each, of 38 heads; 2,414 as in the paper if not said otherwise.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from SkullGANLib.evaluate.distributions import compare
from SkullGANLib.evaluate.nearest import nearest_by_mse
from SkullGANLib.evaluate.radiological import measure_segments
from SkullGANLib.evaluate.report import evaluate_datasets
from SkullGANLib.generate.realness import discriminator_of
from SkullGANLib.segments.dataset import SegmentDataset

SEGMENTS, HEADS = 2414, 38
MODEL = Path(__file__).parents[2] / "Resources" / "Models" / "phantom"
LIMIT_S, LIMIT_ALL_S, LIMIT_GB = 90, 300, 4
"""Expected of two idle cores and 2,414 segments: without the two-sample test, with it, and of memory."""
DEAREST = "two_sample"


def bands(n: int, seed: int) -> np.ndarray:
    """Bowed two-table bands with noise: (n, 128, 128) int16 HU."""
    generator = np.random.default_rng(seed)
    row, column = np.mgrid[:128, :128]
    hu = np.zeros((n, 128, 128), np.int16)
    for image in hu:
        depth = (row - 10 - 0.003 * (column - 64) ** 2) / generator.uniform(8, 20)
        bone = np.where(np.abs(depth - 0.5) < 0.25, generator.uniform(600, 1500), 1700)
        image[...] = np.where((depth >= 0) & (depth < 1), bone + generator.normal(0, 60, bone.shape), 0)
    return hu


def timed(name: str, limit_s: float, function, *args, **options):
    """Run, print processor and wall-clock seconds beside what is expected of one core, and give back the result."""
    processor, wall = time.process_time(), time.perf_counter()
    result = function(*args, **options)
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    print(f"{name:35s} {processor:7.2f} s, {wall:7.2f} s on the clock   (expected below {limit_s:g} s)")
    return result


def heads(folder: Path, n: int, seed: int, kind: str) -> SegmentDataset:
    """A data set of bands, those of one head shifted and brightened alike; synthetic ones were asked for figures."""
    generator = np.random.default_rng(seed)
    hu, head = bands(n, seed), np.arange(n) * HEADS // n
    down, brightness = generator.integers(0, 9, HEADS), generator.uniform(0.85, 1.15, HEADS)
    for image, of in zip(hu, head, strict=True):
        image[...] = np.roll(image * brightness[of], down[of], axis=0)
    side = np.where(np.arange(n) % 2, "left", "right")
    region = np.where(np.arange(n) % 3, "parietal", "temporal")
    table = {"subject": [f"{kind}{seed}-{of:02d}" for of in head], "region": region, "side": side}
    if kind == "synthetic":
        table = {f"asked_{name}": table[name] for name in ("region", "side")}
        table["asked_thickness_mm"] = measure_segments(hu)["thickness_mm"] + generator.normal(0, 0.3, n)
    return SegmentDataset.create(folder / f"{kind}{seed}", hu, table, kind=kind)


class Stopwatch:
    """Notes when each metric begins, from the progress of an evaluation."""

    def __init__(self) -> None:
        self.begun = [("sets", *self._now())]

    def update(self, done: int, total: int, message: str = "", **values: float | str) -> None:
        """Take in what a progress is told."""
        name = values.get("metric", "pictures, files" if message == "Drawing" else None)
        if name is not None and name != self.begun[-1][0]:
            self.begun.append((name, *self._now()))

    def cancelled(self) -> bool:
        """Never."""
        return False

    def seconds(self) -> dict[str, np.ndarray]:
        """What each step took, the last until now: seconds on the clock and of all processors together."""
        ends = [*self.begun[1:], ("end", *self._now())]
        return {begin[0]: np.subtract(end[1:], begin[1:]) for begin, end in zip(self.begun, ends, strict=True)}

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()


def time_metrics(folder: Path, n: int) -> None:
    """A whole report with every metric that takes part by default: seconds, share of the total and memory."""
    made = [(0, "real"), (1, "synthetic"), (2, "real")]
    real, synthetic, training = (heads(folder, n, seed, kind) for seed, kind in made)
    before_gb, watch = memory_gb(), Stopwatch()
    evaluate_datasets(
        real,
        synthetic,
        folder / "report",
        training=training,
        artificial="auto",
        judge=discriminator_of(MODEL, "cpu"),
        progress=watch,
    )
    seconds = watch.seconds()
    total = sum(seconds.values())
    print(f"\n{n} real, synthetic and training segments each, 1000 artificial ones; features count where first needed")
    print(f"{'':25s} {'clock':>10s} {'processors':>12s} {'share':>8s}")
    for name, taken in seconds.items():
        print(f"{name:25s} {taken[0]:8.2f} s {taken[1]:10.2f} s {100 * taken[0] / total[0]:6.1f} %")
    for name, taken, limit_s in (
        ("all", total, LIMIT_ALL_S),
        (f"all but {DEAREST}", total - seconds.get(DEAREST, 0.0), LIMIT_S),
    ):
        print(f"{name:25s} {taken[0]:8.2f} s {taken[1]:10.2f} s   (clock expected below {limit_s} s on two cores)")
    print(f"{'memory at most':25s} {memory_gb():8.2f} GB  (expected below {LIMIT_GB} GB; {before_gb:.2f} GB before)")


def memory_gb() -> float:
    """The most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    """Time the parts, then every metric."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else SEGMENTS
    with tempfile.TemporaryDirectory() as folder:
        time_metrics(Path(folder), n)  # first, while the memory is its own
    scale = n / 5000
    real, synthetic = bands(n, 0), bands(max(n // 5, 10), 1)
    found = timed(f"measure {n} segments", 6 * scale, measure_segments, real)
    other = measure_segments(synthetic)
    subjects = np.arange(n) % HEADS
    timed("compare one figure, 1000 draws", 3, compare, found["sdr"], other["sdr"], real_subjects=subjects)
    timed(f"nearest of {n} for {len(synthetic)}", 20 * scale**2, nearest_by_mse, synthetic, real, mirrored=True)


if __name__ == "__main__":
    main()
