"""A synthetic segment, its nearest real one and their difference, taken from the pixels of real slice logics."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import slicer
from test_module_views import grey, picture

import slicer_host
from SkullGANLib.errors import InputError
from SkullGANLib.segments.dataset import SegmentDataset

sys.path.append(str(slicer_host.MODULE_FOLDER))
from SkullGANSlicer import pairs, views

SIZE = 32


@pytest.fixture
def slices():
    """The logics of the red, green and yellow slice views, by name."""
    return slicer_host.sliceLogics()


@pytest.fixture
def found(tmp_path):
    """Two pairs; the first was matched in the mirror, and differs by +500, 0 and -500 HU from the top down."""
    real = np.zeros((3, SIZE, SIZE), np.int16)
    real[2, 8:20] = 1000
    real[2, :, : SIZE // 2] += 300
    synthetic = np.zeros((2, SIZE, SIZE), np.float32)
    synthetic[1] = real[2, :, ::-1]
    synthetic[1, 8:12] += 500
    synthetic[1, 16:20] -= 500
    sets = {"synthetic": synthetic, "training": real}
    kinds = {"synthetic": "synthetic", "training": "real"}
    made = {name: SegmentDataset.create(tmp_path / name, hu, None, kind=kinds[name]) for name, hu in sets.items()}
    table = {"synthetic": np.array([1, 0]), "nearest_real": np.array([2, 0]), "rmse_hu": np.array([9.0, 10.0])}
    table["mirrored"] = np.array([True, False])
    paths = {name: dataset.path for name, dataset in made.items()}
    return pairs.Pairs(table, paths, {name: dataset.fingerprint for name, dataset in made.items()}, 0.45)


def seen(logic) -> np.ndarray:
    """(SIZE, SIZE, 3) colours at the middles of the segment's pixels."""
    node, shown = logic.GetSliceNode(), picture(logic)
    pixel = 0.45 / node.GetXYToRAS().GetElement(1, 1)
    at = (np.arange(SIZE) - (SIZE - 1) / 2) * pixel
    rows, columns = (np.round(middle + at).astype(int) for middle in (99.5, 149.5))
    return shown[np.ix_(rows, columns)][..., :3].astype(int)


def test_a_pair_stands_upright_in_three_views_with_the_real_one_turned_as_it_was_matched(slices, found):
    synthetic, real, difference = found.show(0)
    for node in (synthetic, real):
        grey(node)
    hu = slicer.util.arrayFromVolume
    np.testing.assert_array_equal(hu(synthetic)[0] - hu(real)[0], hu(difference)[0])
    assert set(np.unique(hu(difference))) == {-500, 0, 500}
    np.testing.assert_allclose(seen(slices["Red"])[..., 0], np.clip(hu(synthetic)[0], 0, 2700) / 2700 * 255, atol=2)
    np.testing.assert_allclose(seen(slices["Green"])[..., 0], hu(real)[0] / 2700 * 255, atol=2)


def test_the_difference_is_red_where_the_synthetic_one_is_denser_blue_where_the_real_one_is(slices, found):
    found.show(0)
    red, green, blue = np.moveaxis(seen(slices["Yellow"]), 2, 0)
    for channel in (red, green, blue):
        assert channel[:8].min() >= 250
        assert channel[12:16].min() >= 250
    assert (red[8:12] > blue[8:12] + 50).all()
    assert (blue[16:20] > red[16:20] + 50).all()


def test_views_are_not_moved_to_another_layout_if_these_three_stand_in_a_row(slices, found):
    manager, layouts = slicer.app.layoutManager(), slicer.vtkMRMLLayoutNode
    if manager is None:
        slicer_host.start(gui=True)
        manager = slicer.app.layoutManager()
    manager.setLayout(layouts.SlicerLayoutThreeOverThreeView)
    found.show(0)
    assert manager.layout == layouts.SlicerLayoutThreeOverThreeView
    manager.setLayout(layouts.SlicerLayoutOneUp3DView)
    found.show(0)
    assert manager.layout == views.SIDE_BY_SIDE[0]
    logic = slicer.vtkMRMLLayoutLogic()
    scene = slicer.vtkMRMLScene()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    logic.SetMRMLScene(scene)
    for layout in views.SIDE_BY_SIDE:  # as Slicer itself describes them
        words = logic.GetLayoutNode().GetLayoutDescription(layout)
        row = next(part for part in words.split('<layout type="horizontal">')[1:] if '"Red"' in part)
        assert [row.index(f'singletontag="{name}"') for name in views.LAYOUT_NAMES] == sorted(
            row.index(f'singletontag="{name}"') for name in views.LAYOUT_NAMES
        )


def test_a_pair_that_is_not_there_is_refused(slices, found):
    with pytest.raises(InputError, match="no pair 2"):
        found.show(2)
    with pytest.raises(InputError, match="no pair -1"):
        found.show(-1)


def test_arrays_without_a_data_set_are_shown_too(slices, found, tmp_path):
    hu = np.array(SegmentDataset.open(found.sets["training"]).hu)
    np.save(tmp_path / "real.npy", hu[:, None])
    array = pairs.Pairs(found.table, {**found.sets, "training": tmp_path / "real.npy"}, found.hashes, 0.45)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(array.show(0)[1])[0], hu[2, :, ::-1])
    np.save(tmp_path / "real.npy", hu[:2])
    with pytest.raises(InputError, match="have changed since"):
        array.show(0)


def test_nearest_neighbours_are_ordered_by_distance_where_no_ratio_was_computed():
    columns = {
        "set": np.array(["real", "synthetic", "synthetic"]),
        "row": np.array([0.0, 7, 8]),
        "nearest_row": np.array([np.nan, 3, 4]),
        "nearest_mse_hu2": np.array([np.nan, 100, 25]),
        "nearest_mirrored": np.array([np.nan, 0, 1]),
    }
    table = pairs.nearestPairs(columns)
    assert {name: column.tolist() for name, column in table.items()} == {
        "synthetic": [8, 7], "nearest_real": [4, 3], "rmse_hu": [5, 10], "mirrored": [True, False],
    }  # fmt: skip
    assert pairs.nearestPairs({"set": columns["set"]}) == {}


def test_a_copy_stands_beside_what_it_copies_even_if_another_one_is_nearer_pixel_by_pixel():
    columns = {
        "set": np.array(["synthetic"] * 3),
        "row": np.array([0.0, 1, 2]),
        "nearest_row": np.array([3.0, 4, 5]),
        "nearest_mse_hu2": np.array([100.0, 25, 16]),
        "nearest_mirrored": np.zeros(3),
        "copy": np.array([0.0, 1, 1]),
        "copy_ratio": np.array([0.9, 0.3, 0.2]),
        "copy_row": np.array([8.0, 9, 5]),
        "copy_mirrored": np.array([1.0, 1, 0]),
    }
    table = pairs.nearestPairs(columns)
    assert table["synthetic"].tolist() == [2, 1, 0]
    assert table["nearest_real"].tolist() == [5, 9, 3]
    assert table["mirrored"].tolist() == [False, True, False]
    assert table["copy"].tolist() == [True, True, False]
    np.testing.assert_array_equal(table["rmse_hu"], [4, np.nan, 10])
