import math

import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from test_evaluate_report import bands, make

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.inputs import prepare_input
from SkullGANLib.evaluate.reconstruction import mse, on_unit_range, psnr, reconstruction, ssim
from SkullGANLib.segments.dataset import SegmentDataset


def pair(shape, seed=0, noise=0.1):
    generator = np.random.default_rng(seed)
    first = generator.uniform(size=shape).cumsum(-1) / shape[-1]
    return first, np.clip(first + generator.normal(0, noise, shape), 0, 1)


def reference(first, second):
    return structural_similarity(
        first, second, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


@pytest.mark.parametrize("shape", [(128, 128), (11, 11), (40, 63), (12, 17, 21), (30, 20, 11)])
def test_the_figures_agree_with_scikit_image_in_two_and_three_dimensions(shape):
    first, second = pair(shape)
    volume = len(shape) == 3
    assert mse(first, second, volume=volume) == pytest.approx(mean_squared_error(first, second), abs=1e-12)
    expected = peak_signal_noise_ratio(first, second, data_range=1.0)
    assert psnr(first, second, volume=volume) == pytest.approx(expected, abs=1e-9)
    assert ssim(first, second, volume=volume) == pytest.approx(reference(first, second), abs=1e-9)


def test_single_precision_is_good_enough():
    first, second = (each.astype(np.float32) for each in pair((64, 64)))
    assert ssim(first, second) == pytest.approx(reference(first, second), abs=1e-6)


@pytest.mark.parametrize("shape", [(70, 20, 24), (3, 12, 20, 24)])
def test_a_batch_gives_what_each_image_gives_alone(shape):
    first, second = pair(shape)
    volume = len(shape) == 4
    for function in (mse, psnr, ssim):
        found = function(first, second, volume=volume)
        assert found.shape == shape[:1]
        for i in (0, 1, shape[0] - 1):
            assert found[i] == pytest.approx(function(first[i], second[i], volume=volume), rel=1e-12)


def test_a_stack_of_slices_is_no_volume():
    first, second = pair((16, 20, 24))
    assert ssim(first, second).shape == (16,)
    assert abs(ssim(first, second).mean() - ssim(first, second, volume=True)) > 1e-3


def test_known_differences_give_known_figures():
    half = np.full((20, 20), 0.5)
    assert mse(half, half + 0.1) == pytest.approx(0.01)
    assert psnr(half, half + 0.1) == pytest.approx(20)
    assert ssim(half, half + 0.1) == pytest.approx((2 * 0.5 * 0.6 + 1e-4) / (0.5**2 + 0.6**2 + 1e-4))


def test_the_same_image_has_similarity_one_and_no_noise():
    image = pair((32, 32))[0]
    assert ssim(image, image) == 1
    assert mse(image, image) == 0
    assert psnr(image, image) == math.inf


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (np.zeros((20, 20)), np.zeros((20, 21)), "cannot be compared"),
        (np.zeros(20), np.zeros(20), "cannot be compared"),
        (np.zeros((10, 40)), np.zeros((10, 40)), "too small"),
        (np.zeros((0, 20, 20)), np.zeros((0, 20, 20)), "too small"),
        (np.full((20, 20), np.nan), np.zeros((20, 20)), "400 pixels of the first images are not finite"),
        (np.zeros((20, 20)), np.full((20, 20), 1.5), "second images hold values from 1.5"),
    ],
)
def test_images_that_cannot_be_compared_are_refused_in_words(first, second, words):
    with pytest.raises(InputError, match=words):
        ssim(first, second)


def given_of(tmp_path, synthetic, real_rows, real=None):
    real = make(tmp_path / "real", bands(40, 0)) if real is None else real
    table = None if real_rows is None else {"real_row": real_rows}
    return prepare_input(real, SegmentDataset.create(tmp_path / "s", synthetic, table, kind="synthetic"))[0]


def test_segments_that_name_their_real_ones_are_compared_with_them(tmp_path):
    rows = np.array([7, 30, 12, 25])
    synthetic = bands(40, 0)[rows] + 30  # 30 of 3000 HU, but where that is cut off
    result = reconstruction(given_of(tmp_path, synthetic, rows))
    assert result.figures["mse"].value == pytest.approx(1e-4)
    assert result.figures["psnr"].value == pytest.approx(40)
    assert result.figures["psnr"].unit == "dB"
    alone = [reference(on_unit_range(bands(40, 0)[row]), on_unit_range(bands(40, 0)[row] + 30)) for row in rows]
    assert result.figures["ssim"].value == pytest.approx(np.mean(alone))
    assert result.figures["ssim"].n == 4
    assert result.figures["ssim"].resampled == "subjects"
    assert result.columns["synthetic"]["reconstruction_mse"] == pytest.approx(np.full(4, 1e-4))
    assert result.left_out == []


def test_exact_copies_and_missing_counterparts_are_told_in_words(tmp_path):
    synthetic = bands(40, 0)[:3]
    synthetic[2] += 30
    result = reconstruction(given_of(tmp_path, synthetic, np.array([0, -1, 2])))
    assert result.figures["ssim"].n == 2
    assert result.figures["psnr"].n == 1
    assert "1 of 2 reconstructions are the same" in result.warnings[0]
    assert "1 synthetic segments have no counterpart" in result.left_out[0]
    only = reconstruction(given_of(tmp_path / "only", bands(40, 0)[:1], np.array([0])))
    assert only.figures["psnr"].value is None
    assert only.figures["ssim"].value == 1


def test_rows_are_those_of_the_whole_data_set_where_a_part_is_compared(tmp_path):
    real = make(tmp_path / "real", bands(40, 0))
    real.split(by="subject", seed=1)
    rows = np.flatnonzero(real.table["split"] == "test")[::-1]
    given = given_of(tmp_path, np.array(real.hu[rows]) + 30, rows, real)
    assert given.real.split == "test"
    assert reconstruction(given).figures["mse"].value == pytest.approx(1e-4)


def test_other_synthetic_sets_have_no_such_figures(tmp_path):
    result = reconstruction(given_of(tmp_path, bands(5, 1), None))
    assert (result.figures, result.warnings, result.left_out) == ({}, [], [])
    with pytest.raises(InputError, match="real_row of the synthetic set holds text"):
        reconstruction(given_of(tmp_path / "text", bands(2, 1), np.array(["a", "b"])))


def test_the_window_maps_bone_to_the_unit_range():
    np.testing.assert_allclose(on_unit_range(np.array([-1000, 0, 1500, 3000, 4000])), [0, 0, 0.5, 1, 1])
