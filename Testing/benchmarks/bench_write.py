"""Writing segments against the bare disk: ``python Testing/benchmarks/bench_write.py [--segments N] [--folder DIR]``.

The same bytes are written as one file with plain writes and as a data set, each until the disk says that it has them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from SkullGANLib.segments.dataset import SegmentDataset

BLOCK = 256


def settled(path: Path) -> None:
    """Wait until everything below ``path`` is on the disk."""
    for file in [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


def main() -> None:
    """Print seconds and MB/s of both, and of the data set's parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    some = np.random.default_rng(0).normal(800, 300, (BLOCK, 128, 128)).astype(np.float32)
    hu = np.lib.stride_tricks.as_strided(some, (given.segments, 128, 128), (0, *some.strides[1:]))
    size_mb = hu.size * 4 / 1e6
    work = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        for _ in range(2):
            began = time.perf_counter()
            with (work / "bare").open("wb") as file:
                for start in range(0, given.segments, BLOCK):
                    file.write(some[: min(BLOCK, given.segments - start)])
            settled(work / "bare")
            bare = time.perf_counter() - began
            (work / "bare").unlink()
            began = time.perf_counter()
            table = {"subject": np.full(given.segments, "synthetic")}
            SegmentDataset.create(work / "set", hu, table, kind="synthetic", model_hash="0", seed=0)
            settled(work / "set")
            ours = time.perf_counter() - began
            shutil.rmtree(work / "set")
            print(f"{size_mb:.0f} MB: bare {bare:.1f} s ({size_mb / bare:.0f} MB/s), data set {ours:.1f} s", end=" ")
            print(f"({size_mb / ours:.0f} MB/s), ratio {ours / bare:.2f}", flush=True)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
