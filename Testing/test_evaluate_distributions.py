import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance
from sklearn.metrics import roc_auc_score

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.bootstrap import Comparison, Resampling, bootstrap, weighted_moments
from SkullGANLib.evaluate.distributions import compare


def repeated(values, counts):
    return np.repeat(values, np.asarray(counts, int))


def test_weighted_distances_are_those_of_scipy_on_the_repeated_values():
    generator = np.random.default_rng(1)
    for _ in range(20):
        first, second = generator.normal(0, 1, 40).round(1), generator.normal(0.3, 1.5, 55).round(1)
        weights = generator.integers(0, 4, 40).astype(float), generator.integers(0, 4, 55).astype(float)
        one, other = repeated(first, weights[0]), repeated(second, weights[1])
        ks, w1 = Comparison(first, second).distances(*weights)
        assert ks == pytest.approx(ks_2samp(one, other).statistic, abs=1e-12)
        truth = np.repeat([0, 1], [len(one), len(other)])
        area = Comparison(first, second).auc(*weights)
        assert area == pytest.approx(roc_auc_score(truth, np.concatenate([one, other])), abs=1e-12)
        assert w1 == pytest.approx(wasserstein_distance(one, other), abs=1e-12)


@pytest.mark.parametrize("counts", [[1, 1, 1, 1], [1, 2, 0, 2], [0, 3, 1, 0], [5, 1, 1, 1]])
def test_weighted_moments_are_those_of_the_repeated_values(counts):
    values = np.array([1.0, 2.0, 4.0, 9.0])
    sample = repeated(values, counts)
    expected = [sample.mean(), sample.std(ddof=1), np.median(sample)]
    assert weighted_moments(values, np.array(counts, float)) == pytest.approx(expected)


def test_one_sample_against_itself_lies_nowhere_apart():
    values = np.random.default_rng(0).normal(size=50)
    found = compare(values, values, unit="mm").figures
    assert found["ks"].value == found["wasserstein"].value == found["difference"].value == 0
    assert found["ks"].detail["p"] == 1


def test_a_shift_is_found_by_every_distance_in_its_unit():
    values = np.random.default_rng(0).normal(6, 1, 400)
    found = compare(values, values + 3, unit="mm").figures
    assert found["difference"].value == pytest.approx(3)
    assert found["wasserstein"].value == pytest.approx(3)
    assert found["wasserstein"].unit == "mm"
    assert found["ks"].unit == ""
    assert found["ks"].detail["p"] < 1e-10
    assert found["real_sd"].value == pytest.approx(values.std(ddof=1))
    low, high = found["difference"].interval
    assert low < 3 < high


def test_two_halves_of_one_distribution_are_not_told_apart():
    values = np.random.default_rng(3).normal(0.5, 0.1, 1000)
    found = compare(values[:500], values[500:]).figures
    assert found["ks"].detail["p"] > 0.05
    low, high = found["difference"].interval
    assert low < 0 < high


def test_the_interval_of_a_distance_holds_it_though_resampled_samples_are_further_apart():
    rng = np.random.default_rng(3)
    subjects = np.repeat(np.arange(12), 20)
    real, synthetic = rng.normal(0, 1, 240) + rng.normal(0, 0.5, 12)[subjects], rng.normal(0.1, 1, 240)
    figures = compare(real, synthetic, real_subjects=subjects).figures
    for name in ("ks", "wasserstein"):
        low, high = figures[name].interval
        assert 0 <= low <= figures[name].value <= high


def test_whole_subjects_are_drawn():
    resampling = Resampling(6, np.array(["a", "a", "b", "b", "b", "c"]))
    for _ in range(20):
        drawn = resampling.draw(np.random.default_rng(_))
        assert len(set(drawn[:2])) == len(set(drawn[2:5])) == 1
        assert drawn[0] + drawn[2] + drawn[5] == 3
    assert (resampling.by, resampling.subjects) == ("subjects", 3)


def test_the_interval_covers_the_truth_when_subjects_differ_and_segments_alone_would_not():
    generator = np.random.default_rng(0)
    covered = {"subjects": 0, "segments": 0}
    trials, heads, each = 100, 30, 10
    subjects = np.repeat(np.arange(heads), each)
    for trial in range(trials):
        values = generator.normal(0, 1, heads)[subjects] + generator.normal(0, 0.3, heads * each)
        for name, known in (("subjects", subjects), ("segments", None)):
            draws = Resampling(len(values), known)
            ((low, high),) = bootstrap(
                lambda weights, values=values: np.array([weights @ values / weights.sum()]),
                [draws],
                seed=trial,
                repeats=200,
            )
            covered[name] += low < 0 < high
    # Over 1,000 trials the shares are 0.93 and 0.47; four standard deviations of 100 trials are 0.10 and 0.20.
    assert covered["subjects"] >= 83
    assert covered["segments"] <= 67


def test_one_subject_gives_no_interval():
    values = np.random.default_rng(0).normal(size=20)
    found = compare(values, values + 1, real_subjects=np.full(20, "a")).figures
    for name in ("real_mean", "ks", "wasserstein", "difference"):
        assert found[name].interval is None
        assert found[name].resampled is None
    assert found["synthetic_mean"].interval is not None
    assert found["synthetic_mean"].resampled == "segments"


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    values = np.random.default_rng(0).normal(size=40)
    intervals = [compare(values, values + 1, seed=seed).figures["ks"].interval for seed in (5, 5, 6)]
    assert intervals[0] == intervals[1] != intervals[2]


def test_values_that_could_not_be_measured_are_left_out_and_not_counted():
    values = np.array([1.0, np.nan, 2.0, 3.0, np.nan])
    found = compare(values, values[[0, 2, 3]], real_subjects=np.array(list("abacb"))).figures
    assert found["real_mean"].value == 2
    assert found["real_mean"].n == 3
    assert found["real_mean"].subjects == 2
    assert found["ks"].value == 0


def test_a_set_without_values_is_refused_by_name():
    with pytest.raises(InputError, match="0 of 3 synthetic"):
        compare(np.arange(3.0), np.full(3, np.nan))
