"""The six sets of the paper side by side, and what the model's discriminator makes of each."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from test_evaluate_report import bands, make

from SkullGANLib.cli.evaluate import evaluate
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.checks import check_origin
from SkullGANLib.evaluate.inputs import prepare_input
from SkullGANLib.evaluate.registry import Judge, spread
from SkullGANLib.evaluate.report import evaluate_datasets, read_report
from SkullGANLib.generate.realness import discriminator_of
from SkullGANLib.models.card import ModelCard
from SkullGANLib.models.folder import Model, load_model, save_model
from SkullGANLib.models.registry import get_family
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.segments.artificial import make_artificial_dataset
from SkullGANLib.segments.dataset import SegmentDataset

SIX = ["real", "synthetic", "training", "control", "idealised", "unrealistic"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    real = make(folder / "real", bands(120, 0), subjects=24)
    real.split(by="subject", seed=1)
    synthetic = make(folder / "synthetic", bands(45, 1).astype(np.float32), kind="synthetic", subjects=0)
    control = make(folder / "control", bands(40, 2, brightness=0.6), kind="synthetic", subjects=0)
    return {"real": SegmentDataset.open(real.path), "synthetic": synthetic, "control": control}


def likes_it_bright(hu):
    """A stand-in for a discriminator."""
    return 1 / (1 + np.exp(-(hu.max((1, 2)) - 1500.0) / 50))


def tosses_a_coin(hu):
    return np.random.default_rng(len(hu)).random(len(hu))


def test_all_six_sets_are_compared_with_the_held_out_part(sets, tmp_path):
    judge = Judge(likes_it_bright)
    written = evaluate_datasets(**sets, artificial="auto", judge=judge, metrics=["sdr", "discriminator"], out=tmp_path)
    assert [written.real.split, written.others["training"].split] == ["test", "train"]
    assert ["real", "synthetic", *written.others] == SIX
    assert written.others["training"].sha256 == written.real.sha256 == sets["real"].fingerprint
    figures = written.metrics["sdr"].figures
    for name in SIX[2:]:
        assert figures[f"{name}_ks"].resampled == f"real subjects, {name} " + (
            "subjects" if name == "training" else "segments"
        )
        assert figures[f"{name}_mean"].n == written.others[name].segments
    assert written.left_out == []
    assert written.metrics["sdr"].seconds > 0
    assert "published" in written.metrics["discriminator"].figures["unrealistic_called_real"].detail


def test_the_artificial_set_has_the_radiological_figures_of_the_real_one(sets):
    given, _, _ = prepare_input(sets["real"], sets["synthetic"], artificial="auto", split="train")
    from SkullGANLib.evaluate.registry import compute, load_metrics

    for name in ("sdr", "thickness_mm", "intensity_hu"):
        figures = compute(load_metrics()[name], given).figures
        for half in ("idealised", "unrealistic"):
            assert figures[f"{half}_ks"].detail["p"] > 0.05, (name, half)


def test_what_is_not_given_is_said_to_be_left_out(sets, tmp_path):
    alone = evaluate_datasets(sets["control"], sets["synthetic"], tmp_path, metrics=["sdr"])
    words = " ".join(alone.left_out)
    for part in ("marked as training", "No control set", "No artificial set", "No model with a discriminator"):
        assert part in words
    assert read_report(tmp_path).left_out == alone.left_out


def test_a_training_set_of_its_own_and_an_artificial_set_on_disk_are_taken(sets, tmp_path):
    other = make(tmp_path / "other", bands(30, 5), subjects=6)
    made = make_artificial_dataset(tmp_path / "artificial", sets["real"], n_ideal=12, n_unrealistic=9)
    given, _, _ = prepare_input(sets["real"], sets["synthetic"], training=other, artificial=made, split="test")
    assert given.held_out
    assert given.training.fingerprint == other.fingerprint
    assert (len(given.idealised), len(given.unrealistic)) == (12, 9)
    assert set(given.unrealistic.table["group"]) == {"unrealistic"}
    with pytest.raises(InputError, match="which of its segments are idealised"):
        prepare_input(sets["real"], sets["synthetic"], artificial=other)


def test_of_a_training_set_that_is_split_its_held_out_part_is_no_training(sets):
    given, _, _ = prepare_input(sets["real"], sets["synthetic"], training=sets["real"])
    assert given.training.split == "train"
    assert not set(given.training.rows.tolist()) & set(given.real.rows.tolist())


def test_a_discriminator_of_another_model_is_told_of(sets, tmp_path):
    drawn = SegmentDataset.create(tmp_path / "drawn", bands(20, 4), {}, kind="synthetic", model_hash="of this")
    words = "not that of the model which drew the synthetic set"
    for model, told in (("of this", False), ("of another", True), ("", False)):
        _, warnings, _ = prepare_input(sets["real"], drawn, judge=Judge(likes_it_bright, model_hash=model))
        assert any(words in warning for warning in warnings) == told


def test_a_discriminator_trained_on_other_data_is_told_of(sets):
    own = (sets["real"].fingerprint,)
    for trained_on, told in ((own, False), (("of another set",), True), ((), False)):
        judge = Judge(likes_it_bright, trained_on=trained_on)
        _, warnings, _ = prepare_input(sets["real"], sets["synthetic"], judge=judge)
        assert any("was not trained on the training set given" in warning for warning in warnings) == told


def test_a_training_set_of_another_kind_is_told_of(sets, tmp_path):
    phantoms = make(tmp_path / "phantoms", bands(30, 5), kind="phantom", subjects=6)
    for training, told in ((phantoms, True), (None, False)):
        given, _, _ = prepare_input(sets["real"], sets["synthetic"], training=training)
        assert (
            any("training set is of kind phantom, the real set of kind real" in s for s in check_origin(given)) == told
        )


def test_a_negative_seed_is_refused_before_anything_is_done():
    result = CliRunner().invoke(evaluate, ["--real", "a", "--synthetic", "b", "--seed", "-5", "--out", "c"])
    assert result.exit_code != 0
    assert "-5 is not in the range" in result.output


def test_sets_of_another_size_or_background_are_refused(sets, tmp_path):
    small = make(tmp_path / "small", bands(10, 1, size=64), kind="synthetic")
    with pytest.raises(InputError, match="control ones 64x64"):
        prepare_input(sets["real"], sets["synthetic"], control=small)
    air = SegmentDataset.create(tmp_path / "air", bands(10, 1) - 1000, {}, kind="synthetic", background_hu=-1000)
    with pytest.raises(InputError, match="backgrounds differ"):
        prepare_input(sets["real"], air)


def test_a_discriminator_that_knows_its_training_set_is_called_over_fitted(sets, tmp_path):
    given, _, _ = prepare_input(sets["real"], sets["synthetic"])
    seen = {image.tobytes() for image in np.asarray(given.training.hu)}

    def by_heart(hu):
        return np.array([0.9 if image.tobytes() in seen else 0.4 for image in hu])

    options = {"metrics": ["discriminator"], "overwrite": True}
    written = evaluate_datasets(**sets, judge=Judge(by_heart), out=tmp_path / "report", **options)
    figures = written.metrics["discriminator"].figures
    assert figures["training_called_real"].value == 1
    assert figures["real_called_real"].value == 0
    assert (figures["gap"].value, figures["membership"].value) == (1, 1)
    assert any(warning.startswith("Over-fitted discriminator: it calls 100 points") for warning in written.warnings)
    honest = evaluate_datasets(**sets, judge=Judge(tosses_a_coin), out=tmp_path / "report", **options)
    low, high = honest.metrics["discriminator"].figures["membership"].interval
    assert low < 0.5 < high
    assert not any("discriminator" in warning for warning in honest.warnings)


def test_a_discriminator_that_gives_no_number_is_left_out_in_words(sets, tmp_path):
    def broken(hu):
        scores = likes_it_bright(hu)
        scores[1] = np.nan
        return scores

    written = evaluate_datasets(**sets, judge=Judge(broken), metrics=["sdr", "discriminator"], out=tmp_path)
    assert "discriminator" not in written.metrics
    assert any("it gives no number for 1 of" in sentence for sentence in written.left_out)


def test_a_relativistic_discriminator_is_asked_for_order_alone(sets, tmp_path):
    judge = Judge(likes_it_bright, absolute=False)
    figures = evaluate_datasets(**sets, judge=judge, metrics=["discriminator"], out=tmp_path).metrics["discriminator"]
    assert {"membership", "synthetic_auc", "control_auc"} == set(figures.figures)
    assert figures.figures["control_auc"].value > 0.9


def test_a_discriminator_with_batchnorm_is_asked_in_both_modes_and_stays_as_it_was(tmp_path):
    options = {"network": {"latent": 8, "generator": (8, 8, 8, 8), "tail": (4, 4, 4), "discriminator": (4, 8, 8)}}
    family = get_family("skullgan")
    network = family.network(**options["network"])
    window = IntensityWindow(minimum_hu=0, range_hu=2000)
    card = ModelCard(family="skullgan", network=network.model_dump(), window=window)
    save_model(tmp_path / "model", Model(card, family.build_generator(network), family.build_discriminator(network)))
    judge, hu = discriminator_of(tmp_path / "model", "cpu"), bands(130, 3, size=network.size)
    assert judge.model_hash == load_model(tmp_path / "model").hash
    first = judge.realness(hu)
    assert not np.allclose(judge.batchwise(hu), first)
    np.testing.assert_array_equal(judge.realness(hu), first)
    assert judge.absolute
    with pytest.raises(InputError, match=f"judges segments of {network.size}x{network.size} pixels"):
        judge.realness(bands(3, 0, size=48))


def test_segments_are_spread_evenly_where_not_all_are_shown():
    assert spread(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert spread(101, 3).tolist() == [0, 50, 100]
    assert len(set(spread(2414, 1000))) == 1000


def test_the_command_takes_all_sets_and_a_model(tmp_path):
    hu = np.zeros((8, 128, 128), np.int16)
    hu[:, 10:25] = np.random.default_rng(0).integers(600, 1800, (8, 15, 128))
    real, drawn = make(tmp_path / "real", hu, subjects=4), make(tmp_path / "drawn", hu[::-1], kind="synthetic")
    arguments = ["--real", real.path, "--synthetic", drawn.path, "--control", drawn.path, "--model", "phantom-small"]
    arguments += ["--metric", "discriminator", "--out", tmp_path / "report", "--split", "all"]
    result = CliRunner().invoke(evaluate, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "Left out: No artificial set was given" in result.output
    figures = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))["metrics"][
        "discriminator"
    ]["figures"]
    assert set(figures) == {"synthetic_auc", "control_auc"}
