"""What the evaluation promises, on segments prepared from head phantoms at their full size."""

import numpy as np
import pytest

from SkullGANLib.evaluate.closest import Prepared, find_closest
from SkullGANLib.evaluate.copies import COPY_RATIO, make_yardstick
from SkullGANLib.evaluate.inputs import prepare_input
from SkullGANLib.evaluate.registry import EvaluationInput, compute, load_metrics
from SkullGANLib.segments.dataset import SegmentDataset

PER_HEAD = 40
METRICS = load_metrics()


@pytest.fixture(scope="module")
def given(upright, filled, make_trial, tmp_path_factory) -> EvaluationInput:
    """Three heads to train on, three held out, one more in place of synthetic ones, and an artificial set."""
    more = [make_trial(seed, shape=(160, 225, 190), spacing_mm=(1.0, 1.0, 1.0)) for seed in (50, 51, 53, 54, 55)]
    heads = [_kept(each.prepared) for each in (upright, filled, *more)]
    folder = tmp_path_factory.mktemp("claims")
    table = {
        "subject": np.repeat([f"head-{i}" for i in range(6)], PER_HEAD),
        "split": np.repeat(["train", "test"], 3 * PER_HEAD),
    }
    real = SegmentDataset.create(folder / "real", np.concatenate(heads[:6]), table, kind="phantom")
    synthetic = SegmentDataset.create(folder / "synthetic", heads[6], {}, kind="synthetic")
    return prepare_input(real, synthetic, artificial="auto")[0]


def _kept(prepared) -> np.ndarray:
    hu = prepared.hu[prepared.kept]
    return hu[np.linspace(0, len(hu) - 1, PER_HEAD).astype(int)]


def test_the_artificial_set_passes_the_radiological_metrics_and_is_caught_by_the_two_sample_test(given):
    """The central claim of the paper (arXiv 2308.00206)."""
    for name in ("sdr", "thickness_mm", "intensity_hu"):
        figures = compute(METRICS[name], given).figures
        for half in ("idealised", "unrealistic"):
            assert figures[f"{half}_ks"].detail["p"] > 0.05, (name, half)
    caught = compute(METRICS["two_sample"], given)
    assert caught.figures["artificial_auc"].value > 0.99
    assert not any("even the artificial set" in sentence for sentence in caught.warnings)


def test_planted_copies_are_flagged_and_segments_of_other_heads_are_not(given):
    prepared = Prepared(given.training.hu)
    stick = make_yardstick(given.training, prepared, given.real)
    hu = np.asarray(given.training.hu[::3], np.float32)
    noise = np.random.default_rng(5).normal(0, 20, hu.shape).astype(np.float32)
    for planted in (hu, np.roll(hu, (2, -2), (1, 2)), hu[:, :, ::-1], hu + noise):
        copies = Prepared(np.ascontiguousarray(planted))
        found = find_closest(copies, prepared)
        np.testing.assert_array_equal(found.index, np.arange(0, len(given.training), 3))
        assert (found.distance_hu / stick.at(copies) < COPY_RATIO).all()
    honest = Prepared(given.synthetic.hu)
    assert not (find_closest(honest, prepared).distance_hu / stick.at(honest) < COPY_RATIO).any()
