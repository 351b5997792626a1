"""What the Slicer module costs: loading, building the panel, and moving arrays into and out of the scene.

Run with ``python Testing/benchmarks/bench_module.py``; MRML is slicer-core's, Qt is PySide6 without a screen.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def timed(name: str, function, unit: float = 1e3):
    """Print how long a call takes, in ms, and give its result."""
    start = time.perf_counter()
    result = function()
    print(f"{name:<66} {(time.perf_counter() - start) * unit:9.2f} ms")
    return result


def main() -> None:
    """Time each step once."""
    import slicer_host

    slicer_host.start(gui=True)
    import slicer

    timed("module file loaded", lambda: slicer_host.load_module("SkullGAN"))
    timed("panel built and entered", slicer_host.open_panel)
    from SkullGANSlicer import geometry, plots, scene

    node = slicer.util.addVolumeFromArray(np.zeros((140, 512, 512), np.int16), name="head")
    volume = timed("512x512x140 int16 volume, node to library", lambda: geometry.volumeFromNode(node))
    shared = np.shares_memory(volume.hu, slicer.util.arrayFromVolume(node))
    print(f"{'  without a second copy':<66} {'yes' if shared else 'no':>9}")
    hu = np.zeros((10_000, 128, 128), np.int16)
    timed("10,000 segments into the scene", lambda: scene.showSegments(hu, 0.45, name="segments"))
    table = {f"column {i}": np.arange(10_000.0) for i in range(10)}
    timed("their table of 10 columns", lambda: scene.showTable(table, name="table"))
    plot = plots.LivePlot("losses", "images", "loss")
    timed("5,000 rows of a live plot, one by one", lambda: [plot.append(i, a=1.0, b=2.0) for i in range(5_000)])


if __name__ == "__main__":
    main()
