"""The kernel distance and its features: known answers, no bias, and what each part of the features sees."""

import numpy as np
import pytest

from SkullGANLib.evaluate.kernel import kernel_distance, layout_and_texture


def test_the_features_of_a_checkerboard_are_its_mean_and_its_roughness_at_the_finest_scale():
    board = np.indices((64, 64)).sum(0) % 2 * 2.0 - 1
    features = layout_and_texture(np.stack([board, np.full((64, 64), 0.5)]))
    assert features.shape == (2, 256 + 2 * 64)
    assert np.abs(features[0, :256]).max() == 0
    assert features[0, 256:320] == pytest.approx(1)
    assert np.abs(features[0, 320:]).max() == 0
    assert features[1, :256] == pytest.approx(0.5)
    assert np.abs(features[1, 256:]).max() == 0


def test_small_images_are_described_by_their_pixels():
    images = np.random.default_rng(0).random((3, 8, 8), np.float32)
    np.testing.assert_array_equal(layout_and_texture(images), images.reshape(3, 64))


@pytest.mark.parametrize(("size", "scales"), [(128, 3), (192, 2), (320, 2), (48, 0)])
def test_sizes_that_cells_divide_are_described_down_to_the_scale_where_these_are_whole(size, scales):
    features = layout_and_texture(np.full((2, size, size), 0.5))
    assert features.shape == (2, 256 + 64 * scales)
    assert features[:, :256] == pytest.approx(0.5)


def test_odd_sizes_are_refused():
    with pytest.raises(ValueError, match="multiple of 16"):
        layout_and_texture(np.zeros((2, 40, 40)))


def test_the_distance_is_the_unbiased_estimate_of_its_definition():
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.3, 1, (25, 7)), rng.normal(0, 1, (30, 7))
    a, b = ((part - y.mean(0)) / y.std(0) for part in (x, y))
    kernel = lambda u, v: (u @ v / 7 + 1) ** 3  # noqa: E731
    within_a = np.mean([kernel(a[i], a[j]) for i in range(25) for j in range(25) if i != j])
    within_b = np.mean([kernel(b[i], b[j]) for i in range(30) for j in range(30) if i != j])
    across = np.mean([kernel(u, v) for u in a for v in b])
    assert kernel_distance(x, y) == pytest.approx(within_a + within_b - 2 * across)


def test_it_is_about_0_for_one_distribution_and_grows_with_the_difference():
    rng = np.random.default_rng(0)
    draws = [layout_and_texture(rng.normal(0, 0.3, (200, 32, 32))) for _ in range(2)]
    shifted = [layout_and_texture(rng.normal(shift, 0.3, (200, 32, 32))) for shift in (0.05, 0.15)]
    near = abs(kernel_distance(*draws))
    assert near < 0.02 < kernel_distance(shifted[0], draws[1]) < kernel_distance(shifted[1], draws[1])


def test_blurred_images_are_told_from_sharp_ones_of_the_same_layout():
    rng = np.random.default_rng(0)
    sharp = rng.normal(0, 0.3, (200, 32, 32))
    blurred = (sharp + np.roll(sharp, 1, 2)) / 2 + rng.normal(0, 0.01, sharp.shape)
    assert kernel_distance(layout_and_texture(blurred), layout_and_texture(sharp)) > 0.5


def test_pixels_that_never_vary_do_not_rule():
    rng = np.random.default_rng(0)
    real, drawn = rng.normal(0, 1, (2, 300, 20))
    real[:, 10:] = 0
    drawn[:, 10:] = rng.normal(0, 1e-3, (300, 10))
    assert abs(kernel_distance(drawn, real)) < 0.05
