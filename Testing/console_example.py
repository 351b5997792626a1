"""The example of the README for Slicer's Python console, run outside Slicer on its real MRML.

``python Testing/console_example.py --volume SCAN --out FOLDER`` with a DICOM folder or a volume file; without a scan a
head phantom is made. In Slicer only the middle part is needed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import slicer_host


def main() -> None:
    """Prepare, train, generate, evaluate; print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--volume", type=Path, help="CT of a head")
    parser.add_argument("--out", type=Path, help="folder for what is made")
    parser.add_argument("--preset", default="recommended-XS")
    parser.add_argument("--init", default="phantom", help="model to start from")
    parser.add_argument("--images", type=int, default=2000, help="length of the training")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp(prefix="skullgan-example-"))

    slicer_host.start(gui=False)
    module = slicer_host.load_module("SkullGAN")
    start = time.perf_counter()

    # what a user writes in Slicer's Python console
    logic = module.SkullGANLogic()
    ctNode = logic.phantom() if options.volume is None else load(options.volume)
    dataset = logic.prepare([ctNode], out / "skulls", planes=("axial", "coronal", "sagittal"), overwrite=True)
    run = logic.train(dataset, out / "run", preset=options.preset, init=options.init, images=options.images)
    volume, table = logic.generate(run.model, count=64, seed=7)
    tables = logic.evaluate(dataset, volume, out / "report", overwrite=True)
    placed = logic.placeSegment(0, dataset)

    print(f"{ctNode.GetName()}: {len(dataset)} segments in {dataset.path}")
    print(f"{run.statistics()[-1]['images']} images seen; model in {run.model}")
    print(f"{volume.GetName()}: {volume.GetImageData().GetDimensions()}, table of {table.GetNumberOfRows()} rows")
    print(f"{placed.GetName()} lies at {[round(x, 1) for x in placed.GetOrigin()]} (RAS mm)")
    for row in tables["rows"]:
        print("  ".join(cell.ljust(22) for cell in row))
    print(f"Report: {tables['report']}; {time.perf_counter() - start:.0f} s in all")


def load(path: Path):
    """The scan as a node; in Slicer: ``slicer.util.loadVolume`` or the DICOM module."""
    from SkullGANLib.ct.io import read_volume
    from SkullGANSlicer import scene

    return scene.showVolume(read_volume(path), name="CT")


if __name__ == "__main__":
    main()
