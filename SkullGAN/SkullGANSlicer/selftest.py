"""What the module's own test runs inside Slicer, and the project's suite outside of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SkullGANLib import needed
from SkullGANLib.errors import InputError, SkullGANError


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
        preview = logic.preview(head, planes=("axial",))
        assert preview.kept > 0
        assert preview.tableNode.GetNumberOfRows() == len(preview.hu)
        dataset = logic.prepare([head], folder / "segments", planes=("axial",))
        assert len(dataset) == preview.kept
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
