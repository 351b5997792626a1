"""A segmenter learns what it can, says what it cannot, and Dice counts as it is defined."""

import numpy as np
import pytest
import torch

from SkullGANLib.ct.label_names import names_a_side
from SkullGANLib.errors import Cancelled, InputError
from SkullGANLib.evaluate.segmenter import _varied, dice, train_segmenter

LABELS = {3: "soft disc", 7: "hard disc"}
WINDOW = (-1000.0, 2000.0)
HU = {0: -500.0, 3: 50.0, 7: 900.0}


def discs(n, size=48, seed=0, noise_hu=60.0):
    """Two discs on each slice, the second over the first: HU and masks."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    masks = np.zeros((n, size, size), np.uint8)
    for mask in masks:
        for value in LABELS:
            row, column = generator.integers(size // 4, size - size // 4, 2)
            mask[(y - row) ** 2 + (x - column) ** 2 < generator.integers(size // 8, size // 4) ** 2] = value
    hu = np.zeros(masks.shape)
    for value, mean in HU.items():
        hu[masks == value] = mean
    return (hu + generator.normal(0, noise_hu, hu.shape)).astype(np.float32), masks


@pytest.fixture(scope="module")
def trained():
    hu, masks = discs(40)
    return train_segmenter(hu, masks, LABELS, window_hu=WINDOW, seed=1, steps=75)


def test_it_learns_discs_by_their_hu(trained):
    hu, masks = discs(20, seed=9)
    found = trained.segment(hu)
    assert found.dtype == np.uint8
    assert {*np.unique(found)} <= {0, *LABELS}
    for values in dice(found, masks, LABELS).values():
        assert np.nanmean(values) > 0.95
    assert min(trained.held_out_dice.values()) > 0.9


def test_it_finds_the_wrong_masks_wrong(trained):
    hu, masks = discs(20, seed=9)
    right, wrong = (dice(trained.segment(hu), each, LABELS) for each in (masks, masks[::-1]))
    for label in LABELS:
        assert np.nanmean(wrong[label]) < 0.5 < np.nanmean(right[label])


def test_other_sizes_than_it_learnt_from_and_no_slice_at_all_are_segmented(trained):
    hu, masks = discs(4, size=64, seed=3)
    assert np.nanmean(dice(trained.segment(hu), masks, LABELS)[7]) > 0.9
    assert trained.segment(hu[:0]).shape == (0, 64, 64)


def test_the_network_has_about_half_a_million_weights_and_the_random_state_stays():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    hu, masks = discs(4, size=16)
    network = train_segmenter(hu, masks, LABELS, window_hu=WINDOW, steps=1).network
    assert 400_000 < sum(each.numel() for each in network.parameters()) < 600_000
    assert torch.equal(before, torch.get_rng_state())


def test_the_same_seed_gives_the_same_network_and_another_seed_another():
    hu, masks = discs(10, size=16)
    first, again, other = (
        train_segmenter(hu, masks, LABELS, window_hu=WINDOW, steps=3, seed=seed).network.last.weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_ends_when_held_out_slices_gain_no_more():
    generator = np.random.default_rng(0)
    hu, masks = generator.normal(0, 300, (12, 16, 16)), generator.integers(0, 2, (12, 16, 16), np.uint8)

    class Counted:
        done = 0

        def update(self, done, total, message="", **values):
            self.done = done

        def cancelled(self):
            return False

    counted = Counted()
    train_segmenter(hu, masks, {1: "noise"}, window_hu=WINDOW, steps=1000, progress=counted)
    assert counted.done < 900


def test_it_stops_when_asked():
    class Stop:
        def update(self, *_, **__):
            pass

        def cancelled(self):
            return True

    hu, masks = discs(4, size=16)
    with pytest.raises(Cancelled):
        train_segmenter(hu, masks, LABELS, window_hu=WINDOW, progress=Stop())


def test_of_large_slices_windows_are_shown_from_all_over():
    truth = torch.arange(160 * 144).reshape(1, 160, 144).repeat(200, 1, 1)
    moved, channels = _varied(truth[:, None] / 1000.0, truth, (0.0, 1e-6), False, torch.Generator().manual_seed(0))
    assert moved.shape == (200, 1, 128, 128)
    assert {0, 143, 159 * 144, 160 * 144 - 1} <= {*channels.unique().tolist()}


@pytest.mark.parametrize("mirror", [True, False])
def test_slices_and_their_masks_move_alike_and_are_mirrored_only_where_sides_do_not_matter(mirror):
    truth = torch.zeros(40, 16, 16, dtype=torch.uint8)
    truth[:, 4:9, 4:6] = 1
    truth[:, 4:9, 8:12] = 2
    images = truth[:, None] / 1000.0
    moved, channels = _varied(images, truth, (0.0, 1e-6), mirror, torch.Generator().manual_seed(0))
    assert torch.equal((1000 * moved[:, 0]).round().long(), channels)  # contrast changes 2 by a tenth at most
    column = torch.arange(16)
    first, second = (((channels == value) * column).sum((1, 2)) / (channels == value).sum((1, 2)) for value in (1, 2))
    assert bool((first > second).any()) == mirror
    assert len({*first.tolist()}) > 2


def test_labels_named_left_or_right_are_not_mirrored(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "SkullGANLib.evaluate.segmenter._varied", lambda *given: asked.append(given[3]) or _varied(*given)
    )
    hu, masks = discs(4, size=16)
    for name in ("left ventricle", "Right_atrium", "bright spot"):
        train_segmenter(hu, masks, {3: name, 7: "aorta"}, window_hu=WINDOW, steps=1)
    assert asked == [False, False, True]


@pytest.mark.parametrize("name", ["left ventricle", "RIGHT_ATRIUM", "atrium (left)", "kidney-Right", "left2"])
def test_a_side_is_a_word_of_its_own_however_it_is_set_apart(name):
    assert names_a_side(["aorta", name])


def test_words_that_hold_a_side_name_none():
    assert not names_a_side(["bright spot", "cleft", "leftover", "outright", "LV", ""])
    assert not names_a_side([])


def test_dice_has_known_values():
    masks = np.array([[[1, 1, 0, 2]], [[0, 0, 0, 2]]])
    truth = np.array([[[1, 0, 0, 0]], [[0, 0, 0, 2]]])
    found = dice(masks, truth, [1, 2, 3])
    np.testing.assert_allclose(found[1], [2 / 3, np.nan])  # in neither map: nothing to say
    np.testing.assert_allclose(found[2], [0, 1])  # in one of them only: nothing agrees
    assert np.isnan(found[3]).all()


def test_dice_of_a_subject_counts_its_pixels_together():
    masks = np.array([[[1, 1, 1, 1]], [[1, 0, 0, 0]], [[1, 1, 0, 0]]])
    truth = np.array([[[1, 1, 0, 0]], [[0, 1, 0, 0]], [[1, 1, 0, 0]]])
    found = dice(masks, truth, {1: "bone"}, np.array(["b", "b", "a"]))[1]
    np.testing.assert_allclose(found, [1, 2 * 2 / (5 + 3)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hu": np.zeros((4, 20, 16))}, "multiples of 8"),
        ({"hu": np.zeros((4, 16))}, "multiples of 8"),
        ({"masks": np.ones((4, 16, 24), np.uint8)}, "one mask for each"),
        ({"masks": np.full((4, 16, 16), 2, np.uint8)}, "without a name: 2"),
        ({"masks": np.ones((4, 16, 16))}, "whole numbers"),
        ({"labels": {}}, "from 1 to 255"),
        ({"labels": {0: "air"}}, "from 1 to 255"),
        ({"labels": {300: "bone"}}, "from 1 to 255"),
        ({"window_hu": (100, 100)}, "window"),
        ({"window_hu": (0, np.nan)}, "window"),
        ({"hu": np.full((4, 16, 16), np.nan)}, "not finite"),
        ({"hu": np.zeros((1, 16, 16)), "masks": np.ones((1, 16, 16), np.uint8)}, "at least two"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(change, words):
    given = {"hu": np.zeros((4, 16, 16)), "masks": np.ones((4, 16, 16), np.uint8), "labels": {1: "bone"}}
    given = {**given, "window_hu": WINDOW, **change}
    with pytest.raises(InputError, match=words):
        train_segmenter(given.pop("hu"), given.pop("masks"), given.pop("labels"), **given)


def test_a_label_that_no_slice_shows_does_no_harm():
    hu, masks = discs(8, size=16)
    found = train_segmenter(hu, masks, {**LABELS, 9: "never"}, window_hu=WINDOW, steps=2)
    assert np.isnan(found.held_out_dice[9])


def test_masks_of_other_shapes_are_refused_by_dice():
    with pytest.raises(InputError, match="do not fit"):
        dice(np.zeros((2, 4, 4), int), np.zeros((2, 4, 5), int), [1])
    with pytest.raises(InputError, match="3,"):
        dice(np.zeros((2, 4, 4), int), np.zeros((2, 4, 4), int), [1], np.zeros(3))


def test_whole_subjects_are_held_out():
    from SkullGANLib.evaluate.segmenter import _parts

    subjects = np.repeat(["a", "b", "c", "d"], 5)
    learnt, held_out = _parts((20, 16, 16), subjects, 0)
    assert len(held_out)
    assert not {*subjects[learnt]} & {*subjects[held_out]}
    for n in (2, 3, 10):
        learnt, held_out = _parts((n, 16, 16), None, 0)
        assert len(learnt)
        assert len(held_out)
        assert not {*learnt} & {*held_out}
