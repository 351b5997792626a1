"""Where a training starts: fresh, from a model, after pre-training on pictures or phantoms; and its batch."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.generate.sample import generate_segments
from SkullGANLib.models.card import Category
from SkullGANLib.models.conditions import condition_values
from SkullGANLib.models.folder import load_model
from SkullGANLib.models.relativistic import FAMILY
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.photographs import import_pictures
from SkullGANLib.train.estimate import estimate
from SkullGANLib.train.options import load_options
from SkullGANLib.train.run import images_seen, open_run, train

SMALL = {
    "widths": [16, 16, 8, 8],
    "latent": 8,
    "embedding": 8,
    "batch_size": 4,
    "images": 16,
    "pretrain_images": 12,
    "sample_images": 1000,
    "checkpoint_images": 8,
    "snapshot_images": 8,
    "device": "cpu",
    "precision": "float32",
}


def make(path, n=12, seed=0, bright=2000, thickness=(3, 9), sides=("left", "right"), **facts):
    rng = np.random.default_rng(seed)
    hu = np.zeros((n, 32, 32), np.float32)
    hu[:, 3:7] = rng.uniform(300, bright, (n, 4, 32))
    table = {
        "subject": [f"s{k % 3}" for k in range(n)],
        "side": list(sides) * (n // len(sides)),
        "sdr": rng.uniform(0.3, 0.7, n),
        "thickness_mm": rng.uniform(*thickness, n),
    }
    return SegmentDataset.create(path, hu, table, kind="phantom", **facts).path


@pytest.fixture
def data(tmp_path):
    return make(tmp_path / "data")


def options(data, out, **changes):
    return load_options("recommended-nano32", {**SMALL, "data": [data], "out": out, **changes})


def test_fine_tuning_keeps_window_and_conditions_of_the_model_it_starts_from(data, tmp_path):
    first = train(options(data, tmp_path / "first"))
    other = make(tmp_path / "other", seed=1, bright=1000)
    run = open_run(options(other, tmp_path / "second", init=first))
    card = load_model(first).card
    assert run.data.window == card.window
    assert meaning(run.data.conditions) == meaning(card.conditions)
    fresh = open_run(options(other, tmp_path / "third"))
    assert meaning(run.data.conditions) != meaning(fresh.data.conditions)


def meaning(conditions):
    """What the network takes a condition for."""
    return {
        name: each.values if isinstance(each, Category) else (each.mean, each.std) for name, each in conditions.items()
    }


def test_a_fine_tuned_model_draws_what_is_not_asked_from_its_own_training_set(data, tmp_path):
    first = train(options(data, tmp_path / "first"))
    thick = make(tmp_path / "thick", seed=1, n=40, thickness=(12, 15), sides=["left", "left", "left", "right"])
    with pytest.warns(UserWarning, match="no side but left, right: middle"):
        open_run(options(make(tmp_path / "odd", sides=["left", "middle"]), tmp_path / "odd-run", init=first))
    card = load_model(train(options(thick, tmp_path / "second", init=first))).card
    assert card.conditions["side"].share == (0.75, 0.25)
    values = condition_values(card, {}, 200)
    assert 12 <= values["thickness_mm"].min() < 12.5 < 14.5 < values["thickness_mm"].max() <= 15
    equal = make(tmp_path / "equal", thickness=(15, 15))
    card = load_model(train(options(equal, tmp_path / "third", init=first))).card
    assert condition_values(card, {}, 9)["thickness_mm"] == pytest.approx(15)
    assert (values["side"] == "left").mean() == pytest.approx(0.75, abs=0.1)


def test_pre_training_on_pictures_moves_every_network(data, tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (8, 32, 32)).astype(np.int16)
    faces = SegmentDataset.create(tmp_path / "faces", grey, {}, kind="pictures").path
    folder = train(options(data, tmp_path / "run", pretrain=[faces]))
    fresh = open_run(options(data, tmp_path / "fresh")).trainer.networks
    learnt = load_model(folder / "pretraining", discriminator=True)
    for name, network in (("generator", learnt.generator), ("discriminator", learnt.discriminator)):
        before = fresh[name].state_dict()
        assert not torch.equal(before["stage1.1.mix.weight"], network.state_dict()["stage1.1.mix.weight"])
    realness = FAMILY.realness(learnt.discriminator, torch.rand(4, 1, 32, 32) * 2 - 1)
    assert len(set(realness.tolist())) > 1  # it judges without conditions, too


def test_the_name_of_a_model_that_comes_along_is_enough(data, tmp_path, monkeypatch):
    first = train(options(data, tmp_path / "first"))
    monkeypatch.setattr("SkullGANLib.models.folder.shipped_models", lambda: {"ours": first / "model"})
    assert open_run(options(data, tmp_path / "second", init="ours")).data.window == load_model(first).card.window


def test_pre_training_on_phantoms_comes_first_and_is_where_the_training_starts(data, tmp_path):
    phantoms = make(tmp_path / "phantoms", seed=2, bright=1500)
    folder = train(options(data, tmp_path / "run", pretrain=[phantoms]))
    before, after = load_model(folder / "pretraining").card, load_model(folder).card
    assert (images_seen(folder / "pretraining"), images_seen(folder)) == (12, 16)
    assert before.window == after.window  # of the data proper
    assert meaning(before.conditions) == meaning(after.conditions)
    alone = train(options(data, tmp_path / "alone"))
    weights = [load_model(each).generator.state_dict()["last.weight"] for each in (folder, alone)]
    assert not (weights[0] == weights[1]).all()
    train(options(data, tmp_path / "run", pretrain=[phantoms], images=20))  # the same command resumes
    assert (images_seen(folder / "pretraining"), images_seen(folder)) == (12, 20)


def test_pre_training_on_pictures_keeps_their_grey_values_out_of_the_model(data, tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (8, 32, 32)).astype(np.int16)
    SegmentDataset.create(tmp_path / "faces", grey, {}, kind="pictures")
    folder = train(options(data, tmp_path / "run", pretrain=[tmp_path / "faces"]))
    assert load_model(folder / "pretraining").card.window.maximum_hu <= 255
    assert load_model(folder).card.window.maximum_hu > 1500


def test_what_hinders_the_training_proper_is_said_before_the_pre_training(data, tmp_path):
    phantoms = make(tmp_path / "phantoms", n=64, seed=2)
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "letter.txt").write_text("not to be touched")
    with pytest.raises(InputError, match="other files"):
        train(options(data, tmp_path / "papers", pretrain=[phantoms]))
    with pytest.raises(InputError, match="batch of 32 is larger than the training set of 12"):
        train(options(data, tmp_path / "run", pretrain=[phantoms], batch_size=32))
    train(options(data, tmp_path / "plain"))
    with pytest.raises(InputError, match="without pre-training"):
        train(options(data, tmp_path / "plain", pretrain=[phantoms], images=32))
    assert not list(tmp_path.glob("*/pretraining"))


def test_pre_training_from_a_model_keeps_what_it_knows(data, tmp_path):
    first = train(options(data, tmp_path / "first"))
    other = make(tmp_path / "other", seed=5, bright=900, thickness=(8, 20))
    run = train(options(other, tmp_path / "deep" / "second", init=first, pretrain=[other]))
    before, after = load_model(first).card, load_model(run).card
    assert meaning(before.conditions) == meaning(after.conditions)
    assert before.window == after.window


def test_subjects_held_out_do_not_fill_a_batch(tmp_path):
    hu = SegmentDataset.open(make(tmp_path / "any", n=16)).hu
    table = {"subject": [f"s{k // 4}" for k in range(16)]}
    data = SegmentDataset.create(tmp_path / "data", np.array(hu), table, kind="phantom").path
    run = open_run(options(data, tmp_path / "run", batch_size="auto"))
    assert (len(run.data), run.options.batch_size) == (12, 8)
    with pytest.raises(InputError, match="training set of 12"):
        estimate(options(data, None, batch_size=16))
    with pytest.raises(InputError, match="training set of 12"):
        train(options(data, tmp_path / "other", batch_size=16, pretrain=[data]))
    assert not (tmp_path / "other" / "pretraining").exists()


def test_a_refused_network_leaves_no_run_behind(data, tmp_path):
    first = train(options(data, tmp_path / "first"))
    with pytest.raises(InputError, match="another network"):
        open_run(options(data, tmp_path / "second", init=first, widths=[16, 16, 16, 8]))
    assert not (tmp_path / "second").exists()


def test_a_model_that_cannot_be_asked_for_anything_stays_so(data, tmp_path):
    plain = SegmentDataset.create(tmp_path / "plain", SegmentDataset.open(data).hu, {}, kind="phantom").path
    first = train(options(plain, tmp_path / "first"))
    assert load_model(train(options(data, tmp_path / "second", init=first))).card.conditions == {}


def test_the_control_model_is_never_pre_trained(data, tmp_path):
    small = {"generator": [8] * 4, "tail": [4] * 3, "discriminator": [4] * 3, "epochs": 1, "batch_size": 4}
    with pytest.raises(InputError, match="control has no pre-training"):
        train(load_options("control", {**small, "data": [data], "out": tmp_path / "run", "pretrain": [data]}))
    assert load_options("paper").pretrain_epochs == 10
    kept = load_options("paper").model_dump(exclude={"preset", "pretrain_epochs"})
    assert load_options("control").model_dump(exclude={"preset", "pretrain_epochs"}) == kept


def test_pictures_become_grey_squares_and_others_are_left_out(tmp_path):
    folder = tmp_path / "faces" / "inner"
    folder.mkdir(parents=True)
    wide = np.zeros((150, 300, 3), np.uint8)
    wide[:, 75:225] = (255, 255, 255)  # the square about the centre
    cv2.imwrite(str(folder / "wide.png"), wide)
    cv2.imwrite(str(tmp_path / "faces" / "small.jpg"), np.full((40, 30, 3), 90, np.uint8))
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "folder.png").mkdir()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "note.txt").write_text("not looked at")
    with pytest.warns(UserWarning, match="2 of 4 files"):
        made = import_pictures(tmp_path / "faces", tmp_path / "set")
    assert (made.meta.kind, made.hu.shape, made.hu.dtype) == ("pictures", (2, 128, 128), np.int16)
    assert made.hu[0].min() == 255
    assert abs(int(made.hu[1].mean()) - 90) <= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces", "set"]
    with pytest.raises(FormatError, match="no pictures"):
        import_pictures(tmp_path / "set", tmp_path / "again")
    words = ["dataset", "import", str(tmp_path / "faces"), str(tmp_path / "deeper" / "cli")]
    refused = CliRunner().invoke(skullgan, [*words, "--spacing", "0.5"])
    assert refused.exit_code == 1
    assert "--spacing is of no use" in refused.output
    again = CliRunner().invoke(skullgan, words)
    assert again.exit_code == 0, again.output
    assert SegmentDataset.open(tmp_path / "deeper" / "cli").meta.kind == "pictures"


@pytest.mark.parametrize(("free", "expected"), [(10**12, 8), (0, 2)])
def test_an_automatic_batch_is_as_large_as_data_and_memory_allow(data, tmp_path, monkeypatch, free, expected):
    monkeypatch.setattr("SkullGANLib.train.machine.free_memory", lambda device: free)
    run = open_run(options(data, tmp_path / "run", batch_size="auto"))
    assert run.options.batch_size == expected
    monkeypatch.setattr("SkullGANLib.train.machine.free_memory", lambda device: 10**9)  # a resumed run keeps its own
    assert open_run(options(data, tmp_path / "run", batch_size="auto")).options.batch_size == expected


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch compiles for a processor with its C++ compiler")
def test_compiled_networks_train_to_nearly_the_same_images(data, tmp_path):
    runs = [train(options(data, tmp_path / mode, compile=mode)) for mode in ("off", "on")]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    plain, compiled = (generate_segments(load_model(run), 8, bone_floor_hu=0) for run in runs)
    assert np.abs(compiled - plain).mean() < 0.1 * plain.std()  # Adam makes much of rounding at first


def test_statistics_go_to_tensorboard_too(data, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra tracking is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = train(options(data, tmp_path / "run", tensorboard=True, stats_images=4))
    found = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [event.step for event in found.Scalars("loss_generator")] == [4, 8, 12, 16]


def test_without_tensorboard_it_is_said_how_to_get_it(data, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(Exception, match=r"SkullGANLib\[tracking\]"):
        train(options(data, tmp_path / "run", tensorboard=True))


def test_the_command_takes_auto_and_a_number_for_the_batch(data):
    words = ["train", "--preset", "recommended-nano32", "--data", str(data), "--dry-run", "--device", "cpu"]
    for text, expected in (("auto", 8), ("4", 4)):
        result = CliRunner().invoke(skullgan, [*words, "--batch-size", text, "--events"])
        assert result.exit_code == 0, result.output
        assert f"batch size {expected}:" in result.output
    assert CliRunner().invoke(skullgan, [*words, "--batch-size", "many"]).exit_code == 1


def test_options_say_what_a_run_was_started_with(data, tmp_path):
    folder = train(options(data, tmp_path / "run", batch_size="auto"))
    written = json.loads((folder / "options.json").read_text())["options"]
    assert written["batch_size"] == 8
    assert written["network"]["condition"] == 4


def test_the_command_says_at_once_and_once_what_is_to_be_noted(data, tmp_path):
    small = [f"--set={name}={json.dumps(value)}" for name, value in SMALL.items()]
    words = ["train", "--preset", "recommended-nano32", "--data", str(data), "--out", str(tmp_path / "run"), *small]
    result = CliRunner().invoke(skullgan, [*words, "--events"])
    assert result.exit_code == 0, result.output
    assert result.output.count("Note: No subject can be held out") == 1
    assert result.output.index("Note: No subject") < result.output.index("Training has finished")
    events = [json.loads(line[10:]) for line in result.output.splitlines() if line.startswith("@SKULLGAN ")]
    (found,) = [event["result"] for event in events if "result" in event]
    assert len(found["notes"]) == 1
