"""What the module's own test runs inside Slicer, and the project's suite outside of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SkullGANLib import needed
from SkullGANLib.errors import InputError, SkullGANError

from . import scene_volumes


def fromPhantomToReport(logic: Any, *, images: int = 256, count: int = 16) -> None:
    """A head phantom is prepared, a small model trained, segments generated and evaluated, and one put back.

    Args:
        logic: a ``SkullGANLogic``.
        images: length of the training.
        count: segments to generate.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        head = logic.phantom(folder / "heads")
        assert head.IsA("vtkMRMLScalarVolumeNode")
        assert head.GetImageData() is not None
        assert scene_volumes.datasetKind(head) == "phantom"
        preview = logic.preview(head, planes=("axial",))
        assert preview.kept > 0
        assert preview.tableNode.GetNumberOfRows() == len(preview.hu)
        dataset = logic.prepare([head], folder / "segments", planes=("axial",))
        assert len(dataset) == preview.kept
        assert dataset.meta.kind == "phantom"
        assert set(dataset.table["region"]) == {"temporal", "parietal"}
        placed = logic.placeSegment(0, dataset)
        assert np.array_equal(slicer.util.arrayFromVolume(placed)[0], dataset.hu[0])
        if needed.torch_version() is None:
            return  # what follows needs it
        run = logic.train(dataset, folder / "run", preset="demo", init="phantom-small", images=images, device="cpu")
        assert (run.model / "model.json").is_file()
        assert run.samples
        volume, table = logic.generate(run, count=count, seed=7, device="cpu")
        assert slicer.util.arrayFromVolume(volume).shape == (count, 128, 128)
        assert np.allclose(volume.GetSpacing()[:2], dataset.meta.spacing_mm)
        assert table.GetNumberOfRows() == count
        found = logic.evaluate(dataset, volume, folder / "report")
        assert found["report"].is_file()
        assert found["summary"].GetNumberOfRows() > 10
        exported = logic.export(volume, folder / "segments.nrrd")
        assert exported.is_file()


def fromVolumeToVolumes(logic: Any) -> None:
    """A small pyramid learns the part of a volume in an ROI, and what it draws lies there, beside the volume.

    Args:
        logic: a ``SkullGANLogic``.
    """
    if needed.torch_version() is None:
        return
    random = np.random.default_rng(1)
    hu = random.integers(-1000, 1000, (24, 26, 28)).astype(np.int16)
    node = slicer.util.addVolumeFromArray(hu, name="Noise")
    node.SetSpacing(2.0, 2.0, 3.0)
    node.SetOrigin(-20.0, 30.0, 10.0)
    roi = logic.makeRoi(node)
    roi.SetSize(40.0, 40.0, 48.0)
    settings = {"smallest": 8, "largest": 12, "iterations": 1, "channels": 4, "window_hu": (-1000, 1000)}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        run = logic.trainVolume(node, Path(name) / "run", roi=roi, settings=settings, device="cpu")
        assert (run.model / "model.json").is_file()
        (drawn,) = logic.generateVolumes(run, beside=node, device="cpu")
    assert drawn.GetNumberOfDisplayNodes() == 2  # slices, and bone in 3D
    wanted, found = np.zeros(6), np.zeros(6)
    roi.GetRASBounds(wanted)
    drawn.GetRASBounds(found)
    assert np.abs(wanted - found).max() <= 1.5, (wanted, found)  # half a slice
    values = slicer.util.arrayFromVolume(drawn)
    assert values.min() >= -1000
    assert values.max() <= 1000
    assert values.std() > 0


def errorsAreInWords(logic: Any) -> None:
    """Wrong input is refused in words that say what to do."""
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    flat = slicer.util.addVolumeFromArray(np.full((40, 64, 64), 40, np.int16), name="Flat")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for volumes, kind in (([], InputError), ([empty], InputError), ([flat], SkullGANError)):
            refused = None
            try:
                logic.prepare(volumes, folder / "out")
            except kind as error:
                refused = error
            assert refused is not None, f"{volumes} should have been refused."
            assert refused.message
            assert refused.advice
        assert not (folder / "out").exists()
