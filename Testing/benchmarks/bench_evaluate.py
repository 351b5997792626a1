"""How long an evaluation takes, step by step: ``python Testing/benchmarks/bench_evaluate.py [segments]``."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from SkullGANLib.evaluate.distributions import compare
from SkullGANLib.evaluate.nearest import nearest_by_mse
from SkullGANLib.evaluate.radiological import measure_segments
from SkullGANLib.evaluate.report import evaluate_datasets


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


def main() -> None:
    """Time the parts, then the whole."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    scale = n / 5000
    real, synthetic = bands(n, 0), bands(max(n // 5, 10), 1)
    found = timed(f"measure {n} segments", 6 * scale, measure_segments, real)
    other = measure_segments(synthetic)
    subjects = np.arange(n) % 38
    timed("compare one figure, 1000 draws", 3, compare, found["sdr"], other["sdr"], real_subjects=subjects)
    timed(f"nearest of {n} for {len(synthetic)}", 20 * scale**2, nearest_by_mse, synthetic, real, mirrored=True)
    with tempfile.TemporaryDirectory() as folder:
        timed("whole report", 60 * max(scale, 0.2), evaluate_datasets, real, synthetic, Path(folder, "report"))


if __name__ == "__main__":
    main()
