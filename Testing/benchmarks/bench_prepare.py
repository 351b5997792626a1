"""Time and memory of preparing a CT: ``python Testing/benchmarks/bench_prepare.py [scan ...]``.

Without an argument a phantom of 512 x 512 x 140 voxels is prepared; each path given is prepared as well.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

INTERPOLATIONS = ("linear", "cubic")


def phantom(folder: Path) -> Path:
    """Write the scan that all machines are compared with."""
    from SkullGANLib.ct.io import write_volume
    from SkullGANLib.ct.phantom import HeadPhantom

    head = HeadPhantom(1).render(shape=(140, 512, 512), spacing_mm=(0.45, 0.45, 1.0))
    return write_volume(head.volume, folder / "phantom.nii")


def measure(path: Path, interpolation: str, results) -> None:
    """Prepare one scan in a process of its own, so that its peak of memory is its own."""
    from SkullGANLib.ct.io import read_volume
    from SkullGANLib.prepare.pictures import where_picture, write_sheets
    from SkullGANLib.prepare.run import PrepareOptions, prepare_volume

    begin = time.perf_counter()
    volume = read_volume(path)
    seconds = {"read": time.perf_counter() - begin}
    processor = time.process_time()
    prepared = prepare_volume(volume, PrepareOptions(interpolation=interpolation))
    processor = time.process_time() - processor
    seconds |= prepared.seconds
    begin = time.perf_counter()
    where_picture(volume, prepared)
    with tempfile.TemporaryDirectory() as folder:
        write_sheets(Path(folder), prepared.hu, prepared.table)
    seconds["pictures"] = time.perf_counter() - begin
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    kept = int(prepared.kept.sum())
    results.put((seconds, processor, gib, f"{kept} of {len(prepared.hu)} pieces kept"))


def main() -> None:
    """Print a table of seconds for each scan and interpolation."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for path in [phantom(Path(folder)), *map(Path, sys.argv[1:])]:
            columns = []
            for interpolation in INTERPOLATIONS:
                results = context.Queue()
                process = context.Process(target=measure, args=(path, interpolation, results))
                process.start()
                columns.append(results.get())
                process.join()
            print(f"\n{path.name:<28}" + "".join(f"{name:>12}" for name in INTERPOLATIONS))
            for step in columns[0][0]:
                print(f"  {step:<26}" + "".join(f"{c[0][step]:10.2f} s" for c in columns))
            print(f"  {'sum':<26}" + "".join(f"{sum(c[0].values()):10.2f} s" for c in columns))
            print(f"  {'processor time, preparing':<26}" + "".join(f"{c[1]:10.2f} s" for c in columns))
            print(f"  {'peak memory':<26}" + "".join(f"{c[2]:8.2f} GiB" for c in columns))
            print(f"  {columns[-1][3]}")


if __name__ == "__main__":
    main()
