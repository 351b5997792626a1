"""The part of a volume in an ROI: which voxels it holds, where they lie, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from scipy.spatial.transform import Rotation
from slicer import util
from test_module_volumes import GIVEN, cornersOf, partInRoi, roiAt, show, under

from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError

TURN = Rotation.from_euler("xyz", (12, -8, 30), degrees=True).as_matrix()


@pytest.fixture
def grid(logic):
    """A volume of (20, 30, 40) voxels of (3, 2, 1) mm whose values tell their place."""
    hu = np.arange(24_000, dtype=np.int16).reshape(20, 30, 40)
    return Volume(hu, (1.0, 2.0, 3.0), (-20.0, 10.0, 5.0))


def test_an_roi_takes_the_voxels_whose_centres_it_holds(grid):

    # LPS x -17.4 to -10.6 are columns 3 to 9, y 15.9 to 24.1 rows 3 to 7, z 10.9 to 20.1 slices 2 to 5
    part, note = partInRoi(grid, roiAt([10.6, -24.1, 10.9], [17.4, -15.9, 20.1]))
    assert note == ""
    assert np.array_equal(part.hu, grid.hu[2:6, 3:8, 3:10])
    assert part.origin_mm == (-17.0, 16.0, 11.0)
    assert part.spacing_mm == grid.spacing_mm
    # beyond the edge of the volume there is nothing to take
    part, _ = partInRoi(grid, roiAt([-500, -24.1, 10.9], [17.4, -15.9, 900]))
    assert np.array_equal(part.hu, grid.hu[2:, 3:8, 3:])


def test_the_corners_of_a_part_are_within_half_a_voxel_of_those_of_its_roi(grid):

    random = np.random.default_rng(3)
    for _ in range(50):
        low = np.array([-15.0, -60.0, 8.0]) + random.uniform(0, 5, 3)
        high = low + random.uniform(8, 20, 3)
        corners = cornersOf(partInRoi(grid, roiAt(low, high))[0])
        away = np.array([corners.min(axis=0) - low, corners.max(axis=0) - high])
        assert (np.abs(away) <= np.array(grid.spacing_mm) / 2 + 1e-6).all()


def test_an_roi_made_around_a_volume_holds_all_of_it_wherever_it_lies(grid, logic):
    from SkullGANSlicer import geometry

    for direction in (np.eye(3), TURN, TURN @ np.diag([1, 1, -1.0]), np.eye(3)[[2, 0, 1]]):
        node = show(Volume(grid.hu, grid.spacing_mm, (7.0, -3.0, 11.0), direction))
        under(node, turn=(20, -10, 5))
        volume, roi = geometry.volumeFromNode(node), logic.makeRoi(node)
        assert roi.GetSize() == pytest.approx((40.0, 60.0, 60.0))
        axes = util.arrayFromVTKMatrix(roi.GetObjectToWorldMatrix())[:3, :3]
        assert np.allclose(axes @ axes.T, np.eye(3))
        assert np.linalg.det(axes) == pytest.approx(1)
        part, note = partInRoi(volume, roi)
        assert (part.shape, note) == (volume.shape, "")
        roi.SetSize(20.0, 29.0, 30.0)  # made smaller about its middle
        part, note = partInRoi(volume, roi)
        assert np.array_equal(part.hu, volume.hu[5:15, 8:22, 10:30])
        assert note == ""


def test_the_transforms_of_volume_and_roi_both_count(grid):
    from SkullGANSlicer import geometry

    node, roi = show(grid), roiAt([10.6, -24.1, 10.9], [17.4, -15.9, 20.1])
    under(node, roi, turn=(30, 20, 10))
    part, note = partInRoi(geometry.volumeFromNode(node), roi)
    assert (part.shape, note) == ((4, 5, 7), "")
    roi.SetAndObserveTransformNodeID(None)
    with pytest.raises(InputError, match='"region" holds no voxel'):
        partInRoi(geometry.volumeFromNode(node), roi)


def test_of_a_turned_roi_the_bounding_box_is_taken_and_that_is_said(grid):

    turn = Rotation.from_euler("z", 45, degrees=True).as_matrix()
    part, note = partInRoi(grid, roiAt([-5.0, -45.0, 20.0], [5.0, -35.0, 40.0], turn))
    assert part.shape == (7, 7, 15)  # 20 mm of 3, and a diagonal of 14.1 mm of 2 and of 1
    assert note == 'The ROI "region" is turned against the voxels: its bounding box of 7 x 7 x 15 of them is taken.'
    part, note = partInRoi(
        grid, roiAt([-5.0, -45.0, 20.0], [5.0, -35.0, 40.0], Rotation.from_euler("z", 1, degrees=True).as_matrix())
    )
    assert note == ""  # less than half a voxel


@pytest.mark.parametrize(("make", "words"), [
    (lambda: roiAt([300, 300, 300], [340, 340, 340]), '"region" holds no voxel of the volume'),
    (lambda: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "new"), '"new" has no size'),
    (lambda: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode"), "is no ROI node"),
])  # fmt: skip
def test_an_roi_that_makes_no_sense_is_refused_in_words(logic, grid, tmp_path, make, words):
    node = show(grid)
    with pytest.raises(InputError, match=words):
        logic.trainVolume(node, tmp_path / "run", roi=make(), **GIVEN)
    assert logic.job is None or not logic.job.running
    assert not (tmp_path / "run").exists()
