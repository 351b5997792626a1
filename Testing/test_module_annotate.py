"""The circle of labelled images in the module's logic: annotate, learn, generate; real MRML, real child processes."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from slicer import util

from SkullGANLib.errors import InputError, SkullGANError
from SkullGANLib.segments.dataset import SegmentDataset

BONE_HU = 300


def painted(volume, segmentation):
    """Paint all bone as the first label, but for the last image, and its brightest part as the second."""
    hu = util.arrayFromVolume(volume)
    for name, low in (("bone", BONE_HU), ("cortex", 1600)):
        mask = (hu > low).astype(np.uint8)
        mask[-1] = 0
        segment_id = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
        util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment_id, volume)
    return hu


@pytest.fixture
def drawn(logic, tmp_path):
    return logic.annotate("phantom-small", ["bone", "cortex"], count=4, out=tmp_path / "images")


def test_images_to_paint_come_with_an_empty_segment_for_each_label(drawn, tmp_path):
    volume, segmentation = drawn
    assert util.arrayFromVolume(volume).shape == (4, 128, 128)
    found = segmentation.GetSegmentation()
    assert [found.GetNthSegment(k).GetName() for k in range(found.GetNumberOfSegments())] == ["bone", "cortex"]
    assert SegmentDataset.open(tmp_path / "images").meta.kind == "synthetic"
    reference = segmentation.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())
    assert reference is volume


def test_the_whole_circle_leads_from_painted_to_labelled_images_in_the_scene(logic, drawn, tmp_path):
    volume, segmentation = drawn
    hu = painted(volume, segmentation)
    labeller = logic.learnLabels(
        "phantom-small", volume, segmentation, tmp_path / "labeller", heads=2, steps=60, device="cpu"
    )
    images, labels, table = logic.generateLabelled(
        "phantom-small", labeller, count=9, seed=5, out=tmp_path / "labelled", device="cpu"
    )
    made = SegmentDataset.open(tmp_path / "labelled")
    (name,) = made.label_sets
    assert made.labels(name) == {1: "bone", 2: "cortex"}
    assert "uncertainty" in made.table
    shown = util.arrayFromVolume(images)
    assert shown.shape == (9, 128, 128)
    bone = util.arrayFromSegmentBinaryLabelmap(
        labels, labels.GetSegmentation().GetSegmentIdBySegmentName("bone"), images
    )
    cortex = util.arrayFromSegmentBinaryLabelmap(
        labels, labels.GetSegmentation().GetSegmentIdBySegmentName("cortex"), images
    )
    either, truth = (bone | cortex) > 0, shown > BONE_HU  # what any label covers is what was bone, slice by slice
    assert 2 * (either & truth).sum() / (either.sum() + truth.sum()) > 0.9
    assert table.GetNumberOfColumns() > 3
    assert hu.shape == (4, 128, 128)


def test_labels_without_a_name_or_named_twice_are_refused(logic):
    for labels in ([], [" "], ["bone", "bone"]):
        with pytest.raises(InputError, match="names that differ"):
            logic.annotate("phantom-small", labels)


def test_nothing_painted_is_refused_and_so_are_images_of_elsewhere(logic, drawn, tmp_path):
    volume, segmentation = drawn
    with pytest.raises(InputError, match="empty"):
        logic.learnLabels("phantom-small", volume, segmentation, tmp_path / "labeller")
    painted(volume, segmentation)
    with pytest.raises(SkullGANError, match="model"):
        logic.learnLabels("phantom", volume, segmentation, tmp_path / "labeller", steps=1, heads=1)
    assert not (tmp_path / "labeller").exists()
