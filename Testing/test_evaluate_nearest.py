import numpy as np
import pytest

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.nearest import Nearest, difference_maps, nearest_by_mse


@pytest.fixture
def references():
    return np.random.default_rng(0).uniform(0, 2700, (50, 32, 32)).round()


@pytest.fixture
def queries():
    return np.random.default_rng(1).uniform(0, 2700, (23, 32, 32)).round()


def test_a_planted_copy_is_found_with_error_zero(references, queries):
    queries[4] = references[37]
    found = nearest_by_mse(queries, references)
    assert found.index[4] == 37
    assert found.mse_hu2[4] == 0
    assert (np.delete(found.mse_hu2, 4) > 0).all()


@pytest.mark.parametrize("chunk", [1, 7, 512])
def test_the_nearest_is_that_of_all_pairs_whatever_the_chunk(references, queries, chunk):
    every = ((queries[:, None] - references[None]) ** 2).mean((2, 3))
    found = nearest_by_mse(queries, references.astype(np.int16), chunk=chunk)
    np.testing.assert_array_equal(found.index, every.argmin(1))
    np.testing.assert_allclose(found.mse_hu2, every.min(1), rtol=1e-12)


def test_a_mirrored_copy_is_found_only_when_asked_for(references, queries):
    queries[2] = references[9][:, ::-1]
    found = nearest_by_mse(queries, references, mirrored=True)
    assert (found.index[2], found.mse_hu2[2], found.mirrored[2]) == (9, 0, True)
    assert nearest_by_mse(queries, references).mse_hu2[2] > 0


def test_of_equal_references_the_first_wins_and_the_unmirrored(references, queries):
    references[[40, 12, 30]] = references[5] + references[5][:, ::-1]
    queries[0] = references[12]
    found = nearest_by_mse(queries, references, mirrored=True, chunk=10)
    assert (found.index[0], found.mirrored[0]) == (12, False)


def test_nearly_equal_references_are_told_apart(references, queries):
    references[8], references[20] = queries[3], queries[3]
    references[8, 0, 0] += 1
    assert nearest_by_mse(queries, references).index[3] == 20


def test_a_difference_map_is_the_query_less_its_reference_as_it_was_matched(references, queries):
    queries[0] = references[9][:, ::-1] + 100
    found = Nearest(np.array([9, 3]), np.zeros(2), np.array([True, False]))
    maps = difference_maps(queries[:2], references, found)
    assert (maps[0] == 100).all()
    np.testing.assert_array_equal(maps[1], (queries[1] - references[3]).astype(np.float32))


def test_no_queries_have_no_neighbours(references):
    assert len(nearest_by_mse(references[:0], references).index) == 0


def test_sets_that_cannot_be_compared_are_refused(references, queries):
    with pytest.raises(InputError, match="cannot be compared"):
        nearest_by_mse(queries[:, :, :31], references)
    with pytest.raises(InputError, match="at least one"):
        nearest_by_mse(queries, references[:0])
    references[7, 3, 3] = np.nan
    with pytest.raises(InputError, match="1 segments: 7"):
        nearest_by_mse(queries, references)
