import numpy as np
import pytest
from scipy.stats import ks_2samp

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.radiological import measure_segments
from SkullGANLib.segments.artificial import METRICS, artificial_segments, make_artificial_dataset
from SkullGANLib.segments.patterns import IDEALISED, UNREALISTIC


@pytest.fixture(scope="module")
def reference():
    rng, n = np.random.default_rng(1), 700
    thin = rng.random(n) < 0.5
    return {
        "sdr": 0.3 + 0.6 * rng.beta(2.5, 3, n),
        "thickness_mm": np.clip(np.where(thin, rng.normal(4.5, 1.2, n), rng.normal(7.5, 1.8, n)), 3, 12),
        "intensity_hu": np.where(thin, rng.normal(1500, 90, n), rng.normal(1000, 90, n)),
    }


@pytest.fixture(scope="module")
def drawn(reference):
    return artificial_segments(reference, seed=3)


@pytest.mark.parametrize("group", ["idealised", "unrealistic"])
def test_the_radiological_metrics_are_fooled(reference, drawn, group):
    hu, table = drawn
    measured = measure_segments(hu[table["group"] == group])
    for metric in METRICS:
        assert ks_2samp(measured[metric], reference[metric]).pvalue > 0.05, metric


def test_the_table_holds_what_is_measured(drawn):
    hu, table = drawn
    measured = measure_segments(hu)
    for metric in METRICS:
        np.testing.assert_allclose(table[metric], measured[metric], rtol=1e-6)


def test_each_image_has_the_figures_it_was_drawn_for():
    one = {"sdr": np.array([0.42]), "thickness_mm": np.array([6.3]), "intensity_hu": np.array([1234.0])}
    _, table = artificial_segments(one, n_ideal=6, n_unrealistic=18)
    np.testing.assert_allclose(table["sdr"], 0.42, atol=0.005)
    np.testing.assert_allclose(table["thickness_mm"], 6.3, atol=0.05)
    np.testing.assert_allclose(table["intensity_hu"], 1234, atol=12)


@pytest.mark.parametrize(("given", "modes_hu"), [(True, (1000, 1500)), (False, (980, 1323))])
def test_intensity_keeps_its_two_modes(reference, given, modes_hu):
    intensity = artificial_segments(reference if given else None, 100, 100)[1]["intensity_hu"]
    low, between, high = (np.sum(np.abs(intensity - hu) < 60) for hu in (modes_hu[0], np.mean(modes_hu), modes_hu[1]))
    assert between < 0.5 * min(low, high)


def test_the_joint_distribution_is_kept(reference, drawn):
    for pair in (("thickness_mm", "intensity_hu"), ("sdr", "thickness_mm")):
        real, made = (np.corrcoef(*(table[name] for name in pair))[0, 1] for table in (reference, drawn[1]))
        assert abs(real - made) < 0.06


def test_idealised_ones_span_the_image_and_all_are_clean(drawn):
    hu, table = drawn
    assert (hu.dtype, hu.shape) == (np.float32, (1000, 128, 128))
    ideal = hu[table["group"] == "idealised"]
    assert (ideal.max(axis=1) > 300).all()
    assert np.isin(measure_segments(ideal)["top_row"].round(), (9, 10, 11)).all()
    assert hu.min() >= 0
    assert hu.max() < 3100
    assert (hu[:, -1] == 0).all()
    assert (table["group"] == "idealised").sum() == 500
    assert set(table["pattern"]) == {*IDEALISED, *UNREALISTIC}


def test_the_same_seed_gives_the_same_set():
    one, same, other = (artificial_segments(None, 4, 4, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_reference_that_was_never_measured_is_refused(reference):
    with pytest.raises(InputError, match="has been measured"):
        artificial_segments({name: np.full(5, np.nan) for name in METRICS}, 2, 2)
    with pytest.raises(InputError, match="no column sdr"):
        artificial_segments({}, 2, 2)
    with pytest.raises(InputError, match="0 idealised"):
        artificial_segments(reference, 0, 0)


def test_a_real_set_without_figures_is_measured_first(tmp_path, drawn):
    from SkullGANLib.segments.dataset import SegmentDataset

    real = SegmentDataset.create(tmp_path / "real", drawn[0][:40], None, kind="real")
    made = make_artificial_dataset(tmp_path / "set", real, n_ideal=20, n_unrealistic=20)
    assert (made.meta.kind, len(made)) == ("artificial", 40)
    assert ks_2samp(made.table["thickness_mm"], drawn[1]["thickness_mm"][:40]).pvalue > 0.05
