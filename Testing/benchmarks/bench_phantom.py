"""Time and memory of the head phantom: ``python Testing/benchmarks/bench_phantom.py``."""

from __future__ import annotations

import resource
import time

from SkullGANLib.ct.phantom import HeadPhantom

SCANS = {
    "256x256x160, 0.9 mm": {"shape": (160, 256, 256), "spacing_mm": (0.9, 0.9, 0.9)},
    "512x512x140, 0.45x0.45x1 mm": {"shape": (140, 512, 512), "spacing_mm": (0.45, 0.45, 1.0)},
}


def main() -> None:
    """Print seconds and the largest memory so far for each kind of scan."""
    begin = time.perf_counter()
    phantom = HeadPhantom(1)
    print(f"{'subject':<30} {time.perf_counter() - begin:6.2f} s")
    for name, scan in SCANS.items():
        begin = time.perf_counter()
        phantom.render(**scan)
        seconds = time.perf_counter() - begin
        gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{name:<30} {seconds:6.2f} s   {gib:.2f} GiB")


if __name__ == "__main__":
    main()
