import numpy as np
import pytest

from SkullGANLib.errors import InputError
from SkullGANLib.segments.privacy import pseudonym
from SkullGANLib.segments.splits import split_by_segment, split_by_subject, subjects_in_several_parts

HALVES = {"train": 0.5, "test": 0.5}


def subjects_of(sizes):
    return np.repeat([f"s-{i:03d}" for i in range(len(sizes))], sizes)


def test_no_subject_stands_on_both_sides():
    subjects = np.random.default_rng(0).permutation(subjects_of(np.random.default_rng(1).integers(20, 300, 38)))
    parts = split_by_subject(subjects, {"train": 0.6, "validate": 0.1, "test": 0.3})
    assert subjects_in_several_parts({"subject": subjects, "split": parts}) == []
    for name, share in (("train", 0.6), ("validate", 0.1), ("test", 0.3)):
        assert abs((parts == name).mean() - share) < 0.005


def test_the_best_possible_halves_are_found():
    # 7 + 5 + 4 = 6 + 5 + 3 + 2: an exact half exists, though taking the largest first misses it.
    parts = split_by_subject(subjects_of([7, 5, 4, 6, 5, 3, 2]), HALVES)
    assert (parts == "train").sum() == 16


def test_small_parts_are_not_left_empty():
    parts = split_by_subject(subjects_of([100, 100, 100]), {"train": 0.9, "validate": 0.05, "test": 0.05})
    assert set(parts) == {"train", "validate", "test"}


def test_the_same_seed_gives_the_same_parts_and_another_seed_others():
    subjects = subjects_of([50] * 20)
    parts = [split_by_subject(subjects, HALVES, seed) for seed in (1, 1, 2)]
    assert np.array_equal(parts[0], parts[1])
    assert not np.array_equal(parts[0], parts[2])


def test_a_single_subject_is_all_training_with_a_warning():
    with pytest.warns(UserWarning, match="One subject only"):
        parts = split_by_subject(subjects_of([9]), HALVES)
    assert set(parts) == {"train"}


def test_the_split_of_the_paper_halves_the_segments_of_each_head():
    subjects = subjects_of([100] * 5)
    parts = split_by_segment(500, HALVES)
    assert (parts == "train").sum() == 250
    assert len(subjects_in_several_parts({"subject": subjects, "split": parts})) == 5


@pytest.mark.parametrize("shares", [{"train": 0.5}, {"train": 1.5, "test": -0.5}, {}])
def test_shares_that_do_not_add_up_are_refused(shares):
    with pytest.raises(InputError, match="add up to 1"):
        split_by_subject(subjects_of([1, 1]), shares)


def test_pseudonyms_depend_on_the_salt_and_nothing_else():
    assert pseudonym("Doe^John", "salt") == pseudonym("Doe^John", "salt")
    assert pseudonym("Doe^John", "salt") != pseudonym("Doe^John", "pepper")
    assert pseudonym("Doe^John", "salt") != pseudonym("Doe^Jane", "salt")
    assert len(pseudonym("Doe^John", "salt")) == 10
