"""Fidelity and diversity: agreement with other implementations, with definitions written out, and known answers."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from test_evaluate_encoder import porous_bands
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate import registry
from SkullGANLib.evaluate.fidelity import (
    Neighbourhoods,
    density_coverage,
    distances,
    frechet_distance,
    frechet_of_weights,
    precision_recall,
)
from SkullGANLib.evaluate.kernel import KernelComparison, PairMean, polynomial_kernel_distance, subset_deviation
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput

registry.load_metrics()
METRICS = ("frechet", "kernel", "precision_recall", "diversity")


def clouds(n=80, m=70, d=6, shift=0.4, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(0, 1, (d, d))
    return rng.normal(0, 1, (n, d)) @ mix, rng.normal(shift, 1.2, (m, d)) @ mix


class Features(torch.nn.Module):
    """Takes features for images, so that torchmetrics compares them as they are."""

    num_features = 6

    def forward(self, features):
        return features


def by_torchmetrics(metric, x, y):
    metric.set_dtype(torch.float64)
    for features, real in ((x, True), (y, False)):
        metric.update(torch.from_numpy(features), real=real)
    return metric.compute()


def test_the_frechet_distance_agrees_with_torchmetrics_and_scipy():
    x, y = clouds()
    other = by_torchmetrics(FrechetInceptionDistance(feature=Features()), x, y)
    assert frechet_distance(x, y) == pytest.approx(float(other), rel=1e-6)
    a, b = np.cov(x.T), np.cov(y.T)
    by_definition = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(x, y) == pytest.approx(by_definition, rel=1e-9)


def test_the_kernel_distance_agrees_with_torchmetrics():
    x, y = clouds(m=80)
    other, _ = by_torchmetrics(KernelInceptionDistance(feature=Features(), subsets=1, subset_size=80), x, y)
    assert polynomial_kernel_distance(x, y) == pytest.approx(float(other), rel=1e-5)


def test_known_frechet_distances():
    x, _ = clouds()
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(x, x + 2) == pytest.approx(4 * 6)
    centred = x - x.mean(0)
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * np.trace(np.cov(x.T)))
    assert frechet_distance(x[:3], x[:3] + 1) == pytest.approx(6), "fewer segments than features"


def test_weights_count_as_copies_do():
    x, y = clouds(20, 15)
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 3, 20), rng.integers(0, 3, 15)
    copies = np.repeat(x, a, 0), np.repeat(y, b, 0)
    assert frechet_of_weights(x, y, a, b) == pytest.approx(frechet_distance(*copies))
    found = KernelComparison(x, y).distance(a.astype(float), b.astype(float))
    within = [
        PairMean(np.repeat(np.repeat(k, w, 0), w, 1), np.repeat(np.arange(len(w)), w))
        for k, w in (((x @ x.T / 6 + 1) ** 3, a), ((y @ y.T / 6 + 1) ** 3, b))
    ]
    across = ((copies[0] @ copies[1].T / 6 + 1) ** 3).mean()
    assert found == pytest.approx(
        sum(each.mean(np.ones(w.sum())) for each, w in zip(within, (a, b), strict=True)) - 2 * across
    )


def test_pairs_of_one_subject_are_left_out():
    rng = np.random.default_rng(0)
    pairs, subjects = rng.normal(size=(12, 12)), np.array(list("caabdbacbbda"))
    weights = {"a": 2.0, "b": 1.0, "c": 3.0, "d": 0.0}
    w = np.array([weights[s] for s in subjects])
    total = [
        (w[i] * w[j] * pairs[i, j], w[i] * w[j]) for i in range(12) for j in range(12) if subjects[i] != subjects[j]
    ]
    expected = sum(t for t, _ in total) / sum(c for _, c in total)
    assert PairMean(pairs, subjects).mean(w) == pytest.approx(expected)
    alone = (pairs.sum() - np.trace(pairs)) / (12 * 11)
    for too_few in (np.full(12, "a"), np.resize(["a", "b", "c"], 12)):
        assert PairMean(pairs).mean(np.ones(12)) == PairMean(pairs, too_few).mean(np.ones(12))
    assert PairMean(pairs).mean(np.ones(12)) == pytest.approx(alone)
    assert np.isnan(PairMean(pairs, subjects).mean((subjects == "b").astype(float)))


def test_few_heads_of_one_population_are_at_no_distance_on_average():
    def heads(rng, count=6, each=20):
        return (rng.normal(0, 1, (count, 1, 3)) + rng.normal(0, 0.3, (count, each, 3))).reshape(-1, 3)

    rng, subjects = np.random.default_rng(0), np.repeat(np.arange(6), 20)
    found = [polynomial_kernel_distance(heads(rng), heads(rng), subjects, subjects) for _ in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 300**0.5
    plain = [polynomial_kernel_distance(heads(rng), heads(rng)) for _ in range(50)]
    assert np.mean(plain) > 0.5


def test_precision_recall_density_and_coverage_are_what_their_papers_define():
    real, synthetic = clouds(40, 30, 3)
    k = 5
    dist = lambda a, b: np.sqrt(((a - b) ** 2).sum())  # noqa: E731

    def reach(points, i):
        return sorted(dist(points[i], other) for j, other in enumerate(points) if j != i)[k - 1]

    of_real, of_synthetic = ([reach(p, i) for i in range(len(p))] for p in (real, synthetic))
    near_real = np.array([[dist(r, s) <= of_real[i] for s in synthetic] for i, r in enumerate(real)])
    near_synthetic = np.array([[dist(r, s) <= of_synthetic[j] for j, s in enumerate(synthetic)] for r in real])
    expected = near_real.any(0).mean(), near_synthetic.any(1).mean()
    assert precision_recall(real, synthetic, k) == pytest.approx(expected)
    assert 0 < expected[0] < 1
    assert density_coverage(real, synthetic, k) == pytest.approx((near_real.sum() / (k * 30), near_real.any(1).mean()))


def test_known_precision_and_recall():
    x, _ = clouds(60)
    assert precision_recall(x, x) == (1, 1)
    assert density_coverage(x, x)[1] == 1
    assert precision_recall(x, x + 1000) == (0, 0)
    assert density_coverage(x, x + 1000) == (0, 0)
    few_modes = x[:6].repeat(10, 0) + np.random.default_rng(0).normal(0, 1e-3, (60, 6))
    assert precision_recall(x, few_modes)[0] == 1
    assert precision_recall(x, few_modes)[1] < 0.3
    with pytest.raises(InputError, match="too few for 5 neighbours"):
        Neighbourhoods(x[:5], x)


def test_distances_of_far_away_clouds_keep_their_digits():
    x, y = clouds(10, 8)
    np.testing.assert_allclose(distances(x + 1e5, y + 1e5), distances(x, y), rtol=1e-6)
    assert np.diag(distances(x, x)).max() == 0


def test_the_deviation_over_subsets_shrinks_with_their_size():
    x, y = clouds(400, 400)
    assert subset_deviation(x, y) < subset_deviation(x[:60], y[:60])
    assert np.isnan(subset_deviation(x[:3], y[:3]))


def set_of(name, hu, subjects=None, **columns):
    table = {key: np.array(value) for key, value in columns.items()}
    if subjects:
        table["subject"] = np.array([f"{name}{i % subjects:02d}" for i in range(len(hu))])
    return EvaluatedSet(name, hu, f"{name}{len(hu)}{hu.sum()}", table)


@pytest.fixture(scope="module")
def halves():
    """Real, synthetic and training segments of one distribution, and two sets that are none of it."""
    hu = porous_bands(360, 20)[0]
    flat = np.where(porous_bands(80, 21)[0] > 0, 1200, 0).astype(np.float32)
    return EvaluationInput(
        set_of("real", hu[:120], 12),
        set_of("synthetic", hu[120:200]),
        0.45,
        training=set_of("training", hu[200:], 16),
        control=set_of("control", flat[:60]),
        idealised=set_of("idealised", flat),
    )


def results_of(given, names=METRICS):
    return {name: registry.compute(registry.METRICS[name], given) for name in names}


@pytest.fixture(scope="module")
def found(halves):
    return results_of(halves)


def test_two_halves_of_one_distribution_are_as_far_apart_as_the_floor(found):
    low, high = found["kernel"].figures["distance"].interval
    assert low < 0 < high
    for name in ("frechet", "kernel"):
        low, high = found[name].figures["above_floor"].interval
        assert low < 0 < high
        assert found[name].figures["control_distance"].interval[0] > found[name].figures["distance"].interval[1]
        assert found[name].figures["control_distance"].value > 5 * abs(found[name].figures["floor"].value)
    shares = found["precision_recall"].figures
    assert shares["precision"].value > 0.9
    assert shares["recall"].value > 0.9
    assert shares["control_precision"].value < 0.3
    low, high = found["diversity"].figures["distance_ratio"].interval
    assert low < 1 < high
    assert {figure.detail["encoder"] for result in found.values() for figure in result.figures.values()} == {
        found["kernel"].figures["floor"].detail["encoder"]
    }
    for result in found.values():
        for name, figure in result.figures.items():
            assert figure.value is not None, name
            assert figure.interval is not None, name
            if name != "above_floor":
                assert figure.interval[0] <= figure.value <= figure.interval[1], name


def test_the_floor_has_as_many_segments_as_the_figure(found):
    figures = found["frechet"].figures
    assert (figures["distance"].detail["synthetic"], figures["floor"].detail["training"]) == (80, 80)
    assert "another scale" in figures["distance"].detail["published"]


def test_a_smaller_set_has_a_floor_of_its_size_beside_it(found):
    """The control set has 60 segments, synthetic, idealised and training set 80."""
    figures = found["frechet"].figures
    assert "floor_at_this_size" not in figures["idealised_distance"].detail
    assert figures["control_distance"].detail["floor_at_this_size"] > figures["floor"].value
    shares = found["precision_recall"].figures
    assert 0.5 < shares["control_recall"].detail["floor_at_this_size"] <= 1


def test_a_frechet_distance_of_few_segments_is_warned_of(found):
    assert any("of 80 segments, fewer than the encoder has features (144)" in s for s in found["frechet"].warnings)


def test_a_handful_of_training_segments_teaches_no_encoder(halves):
    few = set_of("training", halves.training.hu[:5], 5)
    for result in results_of(EvaluationInput(halves.real, halves.synthetic, 0.45, training=few)).values():
        assert not result.figures.keys() - {"modes"}
        assert any("the training set has 5" in sentence for sentence in result.left_out)


def test_the_same_seed_gives_the_same_figures(halves, found):
    first, second = found["kernel"].figures, results_of(replace(halves), ["kernel"])["kernel"].figures
    assert {n: f.model_dump() for n, f in first.items()} == {n: f.model_dump() for n, f in second.items()}


def test_without_a_training_part_there_is_no_floor_and_that_is_said(halves):
    given = EvaluationInput(halves.real, halves.synthetic, 0.45)
    for result in results_of(given).values():
        assert not [name for name in result.figures if "floor" in name or name == "above_floor"]
        assert any("without their floor" in sentence for sentence in result.left_out)


def test_one_subject_has_figures_but_no_interval(halves):
    given = EvaluationInput(set_of("real", halves.real.hu, 1), halves.synthetic, 0.45)
    for result in results_of(given).values():
        for name, figure in result.figures.items():
            assert figure.value is not None
            assert figure.interval is None or name == "modes"


def test_two_heads_give_no_distance_below_0_and_a_warning(halves):
    hu = np.where(np.arange(120)[:, None, None] % 2, 1.2, 0.8) * halves.real.hu
    result = results_of(EvaluationInput(set_of("real", hu, 2), halves.synthetic, 0.45), ["kernel"])["kernel"]
    figure = result.figures["distance"]
    assert figure.value > 0
    assert figure.interval[1] > 0
    assert figure.value == pytest.approx(figure.detail["with_pairs_of_one_head"])
    assert any("fewer than 4 real heads is too high" in sentence for sentence in result.warnings)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_too_few_segments_are_left_out_in_words(halves, count):
    given = EvaluationInput(halves.real, set_of("synthetic", halves.synthetic.hu[:count]), 0.45)
    found = results_of(given)
    words = f"it takes 10 segments, and the synthetic set has {count}"
    assert any(words in sentence for sentence in found["precision_recall"].left_out)
    assert not found["precision_recall"].figures
    for result in found.values():
        assert all(np.isfinite(figure.value) for figure in result.figures.values())


def test_segments_that_are_all_alike_are_told_of_and_give_no_nan(halves):
    alike = set_of("synthetic", halves.synthetic.hu[:1].repeat(20, 0))
    for given in (EvaluationInput(halves.real, alike, 0.45), EvaluationInput(alike, halves.synthetic, 0.45)):
        for result in results_of(given).values():
            assert any("look the same to the encoder" in sentence for sentence in result.warnings)
            for figure in result.figures.values():
                assert figure.value is None or np.isfinite(figure.value)
    assert (
        results_of(EvaluationInput(alike, halves.synthetic, 0.45))["diversity"].figures["distance_ratio"].value is None
    )


def test_pixels_that_are_not_finite_are_refused(halves):
    hu = halves.synthetic.hu.copy()
    hu[3] = np.nan
    with pytest.raises(InputError, match="synthetic set: 2304 pixels are not finite"):
        results_of(EvaluationInput(halves.real, set_of("synthetic", hu), 0.45), ["kernel"])


def test_modes_that_are_missing_are_named(halves):
    real = set_of("real", halves.real.hu, 6, region=["frontal", "parietal"] * 60, side=["left"] * 60 + ["right"] * 60)
    asked = {"asked_region": ["frontal"] * 20, "asked_side": ["left", "right"] * 10}
    synthetic = set_of("synthetic", halves.synthetic.hu[:20], **asked, region=[""] * 20, side=[""] * 20)
    figure = results_of(EvaluationInput(real, synthetic, 0.45), ["diversity"])["diversity"].figures["modes"]
    assert figure.value == 0.5
    assert figure.detail == {"modes": 4, "missing": "parietal left, parietal right"}
    assert figure.interval == (0.5, 0.5)
    plain = results_of(EvaluationInput(real, halves.synthetic, 0.45), ["diversity"])["diversity"]
    assert "modes" not in plain.figures
    assert any("Modes covered" in sentence for sentence in plain.left_out)


def test_inception_features_are_taken_only_where_they_are(halves, monkeypatch, tmp_path):
    from SkullGANLib.evaluate import inception

    monkeypatch.setitem(sys.modules, "torchvision", None)
    result = results_of(halves, ["frechet_inception"])["frechet_inception"]
    assert result.left_out == ["The Frechet distance on Inception features needs a torchvision that works."]
    monkeypatch.setitem(sys.modules, "torchvision", torch)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    result = results_of(halves, ["frechet_inception"])["frechet_inception"]
    assert inception.WEIGHTS in result.left_out[0]
    assert not result.figures
    assert "frechet_inception" not in {entry.name for entry in registry.choose_metrics(None)}


def test_with_inception_features_there_are_figures_without_intervals(halves, monkeypatch, tmp_path):
    from SkullGANLib.evaluate import inception

    monkeypatch.setitem(sys.modules, "torchvision", torch)
    (tmp_path / "weights").touch()
    monkeypatch.setattr(inception, "weights_at", lambda: tmp_path / "weights")
    wide = registry.Registered("inception", lambda given, of: given.feature("encoded", of)[:, :8])
    monkeypatch.setitem(registry.FEATURES, "inception", wide)
    result = results_of(halves, ["frechet_inception"])["frechet_inception"]
    assert set(result.figures) == {"distance", "floor", "control_distance", "idealised_distance", "above_floor"}
    assert all(figure.interval is None and figure.value is not None for figure in result.figures.values())
    assert any("no interval" in sentence for sentence in result.left_out)
