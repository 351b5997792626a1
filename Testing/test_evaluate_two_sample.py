"""The two-sample test: blind to what means nothing, 0.5 for one distribution, near 1 for what is no skull."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from test_evaluate_encoder import porous_bands
from test_evaluate_fidelity import set_of

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate import registry
from SkullGANLib.evaluate.classifier import common_window, train_classifier
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput
from SkullGANLib.segments.artificial import artificial_segments

registry.load_metrics()
SIZE = 32


def bands(n, seed, size=SIZE):
    return porous_bands(n, seed, size)[0].round()


def judged(given):
    return registry.compute(registry.METRICS["two_sample"], given)


@pytest.fixture(scope="module")
def halves():
    """Real, training and synthetic segments of one distribution, with the artificial set of their figures."""
    hu, drawn = bands(900, 0), artificial_segments(None, 60, 60, size=SIZE)[0]
    return EvaluationInput(
        set_of("real", hu[:300], 15),
        set_of("synthetic", hu[300:600]),
        0.45,
        training=set_of("training", hu[600:], 15),
        control=set_of("control", 0.9 * bands(60, 1)),
        idealised=EvaluatedSet("idealised", drawn[:60], "i", kind="artificial"),
        unrealistic=EvaluatedSet("unrealistic", drawn[60:], "u", kind="artificial"),
    )


@pytest.fixture(scope="module")
def found(halves):
    return judged(halves)


def test_two_halves_of_one_distribution_are_not_told_apart(found):
    for name in ("auc", "floor"):
        low, high = found.figures[name].interval
        assert low < 0.5 < high, name
        assert 0.35 < found.figures[name].value < 0.65


def test_the_artificial_set_is_caught(found):
    assert found.figures["artificial_auc"].value > 0.99
    assert not found.warnings


def test_what_differs_in_its_grain_alone_is_caught():
    """Same shapes and the same spread of HU, but noise that hangs together, which no mean would see."""
    rng, hu = np.random.default_rng(3), bands(800, 5)
    noise = rng.normal(0, 100, (2, *hu[:400].shape))
    noise[1] = gaussian_filter(noise[1], (0, 0.8, 0.8))
    noise[1] *= noise[0].std() / noise[1].std()
    fine, coarse = (
        np.where(part > 0, part + each, 0).round() for part, each in zip((hu[:400], hu[400:]), noise, strict=True)
    )
    given = EvaluationInput(
        set_of("real", fine[:200], 10), set_of("synthetic", coarse), 0.45, training=set_of("training", fine[200:], 10)
    )
    figure = judged(given).figures["auc"]
    assert figure.value > 0.95
    assert figure.detail["accuracy"] > 0.85


def test_figures_say_what_was_shown_and_asked(found):
    figure = found.figures["auc"]
    assert figure.n == 300 + 120
    assert figure.detail["shown"] <= 2 * 0.6 * 300
    assert 0.35 < figure.detail["accuracy"] < 0.65
    assert (figure.subjects, figure.resampled) == (15, "subjects and segments")
    score = found.columns["synthetic"]["two_sample_score"]
    assert np.isfinite(score).sum() == 120
    assert np.isfinite(found.columns["real"]["two_sample_score"]).all()


def test_the_same_seed_gives_the_same_figures_and_leaves_torch_alone():
    given = EvaluationInput(set_of("real", bands(60, 0), 6), set_of("synthetic", bands(60, 1)), 0.45)
    state = torch.random.get_rng_state()
    first, again = judged(given), judged(given)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.figures["auc"].model_dump() == again.figures["auc"].model_dump()


def parted(real, other):
    return [tuple(np.asarray(each)[part] for each in (real, other)) for part in np.split(np.arange(300), [150, 180])]


def auc(scores):
    return (scores[1][:, None] > scores[0]).mean()


def test_number_format_and_intensity_window_do_not_give_a_set_away():
    rng = np.random.default_rng(0)
    real, other = bands(300, 3).astype(np.int16), bands(300, 4)
    fractions = other + rng.uniform(-0.45, 0.45, other.shape)
    clipped = fractions.clip(0, np.quantile(other.max((1, 2)), 0.3))
    assert auc(train_classifier(*parted(real, fractions))) == pytest.approx(0.5, abs=0.12)
    assert auc(train_classifier(*parted(real, clipped))) == pytest.approx(0.5, abs=0.12)
    assert auc(train_classifier(*parted(real, other + (other > 0) * rng.normal(0, 100, other.shape)))) > 0.95


def test_the_window_is_what_both_sets_share_and_rows_of_background_are_left_away():
    one, other = np.zeros((2, 64, 32)), np.zeros((2, 64, 32))
    one[0, 20], one[1, 21], other[0, 22], other[1, 25] = 100, 900, -50, 700
    assert common_window([one, other]) == (0, 700, slice(12, 34))
    assert common_window([one + 5000, other])[:2] == (-50, 5900)
    assert common_window([np.ones((1, 32, 32)), np.ones((1, 32, 32))])[2] == slice(None)


def test_heads_stand_on_one_side_only(halves, monkeypatch):
    from SkullGANLib.evaluate import two_sample

    asked = []
    train = two_sample.train_classifier

    def seen(shown, checked, asked_about, **options):
        asked.append([shown[0], checked[0], asked_about[0]])
        return train(shown, checked, asked_about, **options)

    monkeypatch.setattr(two_sample, "train_classifier", seen)
    hu = bands(90, 8)
    marked = hu + np.arange(90)[:, None, None] % 9
    judged(EvaluationInput(set_of("real", marked, 9), halves.synthetic, 0.45))
    heads = [set(part[:, -1, 0].tolist()) for part in asked[0]]
    assert all(heads)
    assert len(set.union(*heads)) == sum(map(len, heads))


def test_an_area_below_one_half_is_no_triumph(halves, monkeypatch):
    from SkullGANLib.evaluate import two_sample

    def misled(shown, checked, asked, **_):
        return tuple(np.linspace(low, low + 1, len(each)) for low, each in zip((0.5, -0.5), asked, strict=True))

    monkeypatch.setattr(two_sample, "train_classifier", misled)
    result = judged(EvaluationInput(halves.real, halves.synthetic, 0.45))
    assert result.figures["auc"].interval[1] < 0.5
    assert any("an AUC below 0.5 is no better than 0.5" in sentence for sentence in result.warnings)


def test_one_real_head_cannot_be_tested_and_that_is_said(halves):
    result = judged(EvaluationInput(set_of("real", bands(60, 2), 1), halves.synthetic, 0.45))
    assert not result.figures
    assert any("comes from one subject" in sentence for sentence in result.left_out)


def test_two_real_heads_give_a_figure_without_an_interval(halves):
    result = judged(EvaluationInput(set_of("real", bands(60, 2), 2), halves.synthetic, 0.45))
    assert result.figures["auc"].interval is None
    assert any("no interval" in sentence for sentence in result.left_out)
    assert any("without its floor" in sentence for sentence in result.left_out)
    assert any("so few real heads (1)" in sentence for sentence in result.warnings)


def test_unknown_heads_are_warned_of(halves):
    result = judged(EvaluationInput(set_of("real", bands(60, 2)), halves.synthetic, 0.45))
    assert result.figures["auc"].resampled == "segments and segments"
    assert any("subjects are not known" in sentence for sentence in result.warnings)


def test_too_few_segments_are_left_out_in_words(halves):
    few = EvaluatedSet("synthetic", halves.synthetic.hu[:12], "few")
    result = judged(EvaluationInput(halves.real, few, 0.45))
    assert not result.figures
    assert any(sentence.startswith("Two-sample test of the synthetic set: a part") for sentence in result.left_out)


def test_a_classifier_that_misses_the_artificial_set_is_warned_of(halves):
    same = EvaluatedSet("idealised", bands(60, 9), "same", kind="artificial")
    given = EvaluationInput(halves.real, halves.synthetic, 0.45, idealised=same)
    assert any("even the artificial set" in sentence for sentence in judged(given).warnings)


def test_small_images_are_refused(halves):
    tiny = EvaluatedSet("real", halves.real.hu[:, :20, :20], "tiny")
    with pytest.raises(InputError, match="20 x 20 pixels are too small"):
        judged(EvaluationInput(tiny, tiny, 0.45))


def test_pixels_that_are_not_finite_are_refused(halves):
    hu = halves.synthetic.hu.copy()
    hu[:, 3, 3] = np.inf
    with pytest.raises(InputError, match="not finite"):
        judged(EvaluationInput(halves.real, set_of("synthetic", hu), 0.45))


@pytest.mark.slow
def test_at_full_size_the_artificial_set_is_caught_and_one_distribution_is_not():
    hu, drawn = bands(900, 0, 128), artificial_segments(None, 200, 200)[0]
    result = judged(
        EvaluationInput(
            set_of("real", hu[:300], 15),
            set_of("synthetic", hu[300:600]),
            0.45,
            training=set_of("training", hu[600:], 15),
            idealised=EvaluatedSet("idealised", drawn[:200], "i", kind="artificial"),
            unrealistic=EvaluatedSet("unrealistic", drawn[200:], "u", kind="artificial"),
        )
    )
    assert result.figures["artificial_auc"].interval[0] > 0.99
    for name in ("auc", "floor"):
        low, high = result.figures[name].interval
        assert low < 0.5 < high, name
