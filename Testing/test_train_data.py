"""The stream of training images: which rows, in which order, mirrored how, in which window."""

import numpy as np
import pytest
import torch

from SkullGANLib.errors import InputError
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train.data import TrainingData
from SkullGANLib.train.ema import AveragedNetwork


def make(path, n=6, *, split=None, quality=None, **facts):
    """Segment k holds the value 100 + k at its left edge and 0 elsewhere."""
    hu = np.zeros((n, 32, 32), np.int16)
    hu[:, :, 0] = 100 + np.arange(n)[:, None]
    table = {"subject": [f"s{k % 2}" for k in range(n)]}
    table |= {"split": split} if split else {}
    table |= {"quality": quality} if quality else {}
    return SegmentDataset.create(path, hu, table, kind="phantom", **facts).path


def values(data, first, count):
    """The segment numbers in a batch, whichever way they are mirrored."""
    hu = data.window.to_hu(data.batch(first, count).numpy())
    return (np.rint(hu.max((1, 2, 3))) - 100).astype(int).tolist()


def test_every_epoch_shows_each_segment_once_in_another_order(tmp_path):
    data = TrainingData([make(tmp_path / "a")], seed=1)
    epochs = [values(data, 6 * k, 6) for k in range(4)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_image_n_is_the_same_however_the_stream_is_cut(tmp_path):
    path = make(tmp_path / "a")
    whole = TrainingData([path], seed=1).batch(0, 20)
    parts = TrainingData([path], seed=1)
    later, earlier = parts.batch(7, 13), parts.batch(0, 7)
    np.testing.assert_array_equal(whole, np.concatenate([earlier, later]))
    assert not np.array_equal(whole, TrainingData([path], seed=2).batch(0, 20))


def test_half_of_the_images_are_mirrored_unless_told_not_to(tmp_path):
    path = make(tmp_path / "a")
    images = TrainingData([path], seed=0).batch(0, 400).numpy()
    mirrored = images[:, 0, 0, -1] > images[:, 0, 0, 0]
    assert 0.4 < mirrored.mean() < 0.6
    plain = TrainingData([path], seed=0, mirror=False).batch(0, 400).numpy()
    assert (plain[:, 0, 0, 0] > plain[:, 0, 0, -1]).all()


def test_only_good_segments_of_the_training_part_take_part(tmp_path):
    parts = ["train", "val", "train", "val", "train", "test"]
    data = TrainingData([make(tmp_path / "a", split=parts, quality=["ok"] * 4 + ["cut off", "ok"])])
    assert sorted(values(data, 0, 2)) == [0, 2]
    assert data.window.maximum_hu == 102
    assert (data.reference(9).max((1, 2)) - 100).tolist() == [1, 3]  # of the part val, not of test
    images, condition = data.held_out(5, 3)
    numbers = [data.held_out(first, 1)[0] for first in range(5, 25)]
    torch.testing.assert_close(torch.cat(numbers[:3]), images)  # however they are asked for
    assert {round(float(data.window.to_hu(each.numpy()).max())) for each in numbers} == {101, 103}
    assert condition is None


def test_a_set_that_is_not_split_is_used_whole(tmp_path):
    data = TrainingData([make(tmp_path / "a"), make(tmp_path / "b", n=3)])
    assert len(data) == 9
    assert data.card["subjects"] == 2
    assert len(data.reference(4)) == 4


def test_without_a_part_val_whole_subjects_are_set_aside_and_the_part_test_is_never_looked_at(tmp_path):
    def data(subjects, split, **facts):
        hu = np.broadcast_to(100 + np.arange(len(subjects), dtype=np.int16)[:, None, None], (len(subjects), 32, 32))
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        table = {"subject": subjects, "split": split}
        return TrainingData([SegmentDataset.create(path, hu, table, kind="phantom").path], **facts)

    subjects = [f"s{k // 2}" for k in range(20)]
    split = ["train"] * 16 + ["test"] * 4
    made = data(subjects, split, hold_out=0.2)
    held_out = set(made.reference(20)[:, 0, 0].astype(int) - 100)
    trained = set(values(made, 0, len(made)))
    assert held_out | trained == set(range(16))
    assert {k // 2 for k in held_out}.isdisjoint({k // 2 for k in trained})
    assert (made.card["held_out_subjects"], made.card["subjects"]) == (2, 6)
    assert made.held_out(0, 2) is not None
    for few in (data(subjects, split), data(subjects[:6], [""] * 6, hold_out=0.2)):  # not asked for; too few to spare
        assert few.held_out(0, 2) is None
        assert few.card["held_out_segments"] == 0


def test_the_window_is_the_global_minimum_and_range_or_the_one_given(tmp_path):
    data = TrainingData([make(tmp_path / "a")])
    assert (data.window.minimum_hu, data.window.range_hu) == (0, 105)
    assert data.batch(0, 6).min() == -1
    given = TrainingData([make(tmp_path / "b")], window_hu=(-100, 300))
    assert (given.window.minimum_hu, given.window.range_hu) == (-100, 400)


def test_the_bone_floor_lies_below_nearly_all_bone_between_10_hu_and_half_of_the_median(tmp_path):
    def data(name, *rows):
        hu = np.zeros((3, 32, 32), np.int16)
        for row, values in rows:
            hu[:, row] = values
        SegmentDataset.create(tmp_path / name, hu, {}, kind="phantom")
        return TrainingData([tmp_path / name])

    ramp = np.linspace(100, 1000, 32)
    found = data("ramp", *((row, ramp) for row in range(5, 15)))
    assert (found.bone_floor_hu, found.one_piece) == (100, True)
    assert data("even", (5, 800)).bone_floor_hu == 400
    assert data("faint", (5, 12)).bone_floor_hu == 10
    assert not data("apart", (5, 800), (7, 800)).one_piece
    hole = np.where(np.isin(np.arange(32), (0, 9)), 0, 800)
    assert not data("with a hole", (5, 800), (6, hole), (7, 800)).one_piece


@pytest.mark.parametrize(("apart", "one_piece"), [(1, True), (2, False)])
def test_one_odd_image_among_many_does_not_say_that_bone_falls_apart(tmp_path, apart, one_piece):
    hu = np.zeros((60, 32, 32), np.int16)
    hu[:, 5] = 800
    hu[:apart, 9] = 800
    SegmentDataset.create(tmp_path / "set", hu, {}, kind="phantom")
    assert TrainingData([tmp_path / "set"]).one_piece == one_piece


def test_the_fingerprint_follows_rows_and_content(tmp_path):
    one = TrainingData([make(tmp_path / "a")]).fingerprint
    assert TrainingData([make(tmp_path / "b")]).fingerprint == one
    assert TrainingData([make(tmp_path / "c", n=5)]).fingerprint != one
    assert TrainingData([make(tmp_path / "d", split=["train"] * 5 + ["test"])]).fingerprint != one


def test_unusable_data_is_refused_in_words(tmp_path):
    with pytest.raises(InputError, match="no training data"):
        TrainingData([])
    with pytest.raises(InputError, match="usable"):
        TrainingData([make(tmp_path / "a", quality=["cut off"] * 6)])
    with pytest.raises(InputError, match="spacing_mm"):
        TrainingData([make(tmp_path / "b"), make(tmp_path / "c", spacing_mm=0.5)])
    SegmentDataset.create(tmp_path / "flat", np.zeros((3, 32, 32), np.int16), {}, kind="phantom")
    with pytest.raises(InputError, match="empty"):
        TrainingData([tmp_path / "flat"])


def test_the_average_forgets_with_its_half_life():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    average = AveragedNetwork(network, half_life_images=10, share=1.0)
    torch.nn.init.ones_(network.weight)
    average.update(network, seen=100, batch_size=10)
    assert average.network.weight.item() == pytest.approx(0.5)
    average.update(network, seen=100, batch_size=20)
    assert average.network.weight.item() == pytest.approx(0.875)
    average.update(network, seen=5, batch_size=5)  # young: the half-life is 5 images
    assert average.network.weight.item() == pytest.approx(0.9375)


def test_settling_measures_the_batch_statistics_of_the_averaged_weights():
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(1))
    average = AveragedNetwork(network, 10, 1.0)
    draws = torch.randn(64, 1, 4, 4) * 3 + 7
    average.settle(lambda net, part: net(draws[list(part)]), images=64, batch_size=16)
    layer = average.network[0]
    assert layer.running_mean.item() == pytest.approx(draws.mean().item(), rel=1e-5)
    assert layer.running_var.item() == pytest.approx(draws.var().item(), rel=0.05)
    assert layer.momentum == 0.1
    assert not layer.training


def test_conditions_are_one_hot_or_standardised_and_a_mirrored_side_is_the_other(tmp_path):
    hu = np.zeros((4, 32, 32), np.int16)
    hu[:, :, 0] = 100 + np.arange(4)[:, None]
    table = {"side": ["left", "left", "right", ""], "sdr": [0.2, 0.4, 0.6, np.nan], "region": ["parietal"] * 4}
    path = SegmentDataset.create(tmp_path / "a", hu, table, kind="phantom").path
    data = TrainingData([path], seed=3, conditions=("region", "side", "sdr"))
    assert list(data.conditions) == ["side", "sdr"]  # the region is the same throughout: nothing to ask for
    assert data.conditions["side"].values == ("left", "right")
    assert data.conditions["sdr"].mean == pytest.approx(0.4)
    images, asked = data.batch(0, 200).numpy(), data.condition(0, 200)
    rows = np.rint(data.window.to_hu(images).max((1, 2, 3)) - 100).astype(int)
    mirrored = images[:, 0, 0, -1] > images[:, 0, 0, 0]
    plain = {0: (1, 0), 1: (1, 0), 2: (0, 1), 3: (0, 0)}
    assert len(set(zip(rows, mirrored, strict=True))) >= 7
    for row, turned, found in zip(rows, mirrored, asked, strict=True):
        assert tuple(found[:2]) == (plain[row][::-1] if turned else plain[row])
        assert found[2] == pytest.approx([-1.2247, 0, 1.2247, 0][row], abs=1e-3)
    np.testing.assert_array_equal(data.drawn_condition(5, range(3, 6)), data.drawn_condition(5, range(6))[3:])


def test_a_mirrored_sagittal_piece_stays_on_its_side(tmp_path):
    hu = np.zeros((2, 32, 32), np.int16)
    hu[:, :, 0] = [[100], [101]]
    table = {"side": ["left", "right"], "plane": ["sagittal", "axial"]}
    data = TrainingData([SegmentDataset.create(tmp_path / "a", hu, table, kind="phantom").path], conditions=("side",))
    images, asked = data.batch(0, 40).numpy(), data.condition(0, 40)
    sagittal = np.rint(data.window.to_hu(images).max((1, 2, 3))) == 100
    mirrored = images[:, 0, 0, -1] > images[:, 0, 0, 0]
    assert set(zip(sagittal, mirrored, map(tuple, asked.tolist()), strict=True)) == {
        (True, False, (1, 0)),
        (True, True, (1, 0)),
        (False, False, (0, 1)),
        (False, True, (1, 0)),
    }


def test_images_are_made_smaller_by_means_over_squares(tmp_path):
    hu = np.random.default_rng(0).integers(0, 1000, (3, 32, 32)).astype(np.int16)
    path = SegmentDataset.create(tmp_path / "a", hu, {}, kind="phantom", spacing_mm=0.5).path
    data = TrainingData([path], size=8, mirror=False, window_hu=(0, 1000))
    assert (data.size, data.spacing_mm) == (8, 2.0)
    means = hu.reshape(3, 8, 4, 8, 4).mean((2, 4))
    found = data.window.to_hu(data.batch(0, 3)[:, 0])
    assert sorted(found.sum((1, 2))) == pytest.approx(sorted(means.sum((1, 2))), rel=1e-5)
    assert data.reference(3).shape == (3, 8, 8)
    with pytest.raises(InputError, match="no whole multiple"):
        TrainingData([path], size=12)
