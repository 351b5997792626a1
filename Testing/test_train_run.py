"""A run resumes exactly, survives being killed, keeps its last good state, and refuses to be another run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from SkullGANLib.cli.train import train as train_command
from SkullGANLib.errors import Cancelled, InputError, ResourceError
from SkullGANLib.models.folder import load_model
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train import checkpoints
from SkullGANLib.train.options import load_options
from SkullGANLib.train.run import images_seen, open_run, train
from SkullGANLib.train.stats import Statistics, read_stats

SMALL = {
    "latent": 4,
    "generator": [8, 8, 8, 8],
    "tail": [4, 4, 4],
    "discriminator": [4, 4, 8],
    "noise": True,
    "batch_size": 4,
    "images": 24,
    "stats_images": 4,
    "sample_images": 12,
    "checkpoint_images": 8,
    "snapshot_images": 8,
    "device": "cpu",
    "precision": "float32",
}


@pytest.fixture
def data(tmp_path):
    hu = np.zeros((10, 32, 32), np.float32)
    hu[:, 3:7] = np.random.default_rng(0).uniform(300, 2000, (10, 4, 32))
    SegmentDataset.create(tmp_path / "data", hu, {"subject": [f"s{k % 3}" for k in range(10)]}, kind="phantom")
    return tmp_path / "data"


def options(data, out, **changes):
    return load_options("compact", {**SMALL, "data": [data], "out": out, **changes})


def model_weights(folder):
    return {name: load_file(folder / "model" / f"{name}.safetensors") for name in ("generator", "discriminator")}


def assert_same(one, other):
    for name in one:
        assert one[name].keys() == other[name].keys()
        assert all((one[name][key] == other[name][key]).all() for key in one[name])


def state_of(checkpoint):
    return json.loads((checkpoint / "state.json").read_text())


class StopAfter:
    def __init__(self, images):
        self.images, self.seen, self.values = images, 0, {}

    def update(self, done, total, message="", **values):
        if message == "Training":
            self.seen, self.values = done, values

    def cancelled(self):
        return self.seen >= self.images


def test_a_run_leaves_options_statistics_pictures_checkpoints_and_a_model(data, tmp_path):
    folder = train(options(data, tmp_path / "run"))
    assert json.loads((folder / "options.json").read_text())["options"]["network"]["latent"] == 4
    lines = read_stats(folder / "stats.jsonl")
    assert [line["images"] for line in lines] == [4, 8, 12, 16, 20, 24]
    assert {"seconds", "loss_generator", "loss_discriminator", "d_real", "d_fake", "held_generator"} <= set(lines[0])
    assert [path.name for path in sorted((folder / "samples").iterdir())] == ["0000000012.png", "0000000024.png"]
    card = load_model(folder).card
    scores = {int(path.name): state_of(path)["score"] for path in (folder / "checkpoints").iterdir()}
    assert card.images_seen == min(scores, key=scores.get)
    assert card.metrics["kernel_distance"] == min(scores.values())
    assert card.training["segments"] == 10
    assert card.training["subjects"] == 3
    assert "no patient" in card.limits
    assert card.window.minimum_hu == 0


@pytest.mark.parametrize(
    "recipe", [{}, {"schedule": "paper", "gate": "code", "gate_from_epoch": 0, "blur_fraction": 0.5}]
)
def test_stopping_and_resuming_gives_the_very_same_weights(data, tmp_path, recipe):
    straight = train(options(data, tmp_path / "straight", **recipe))
    with pytest.raises(Cancelled):
        train(options(data, tmp_path / "stopped", **recipe), progress=StopAfter(12))
    assert images_seen(tmp_path / "stopped") == 12
    assert load_model(tmp_path / "stopped").card.images_seen == 8  # a stop in between does not compete
    resumed = train(options(data, tmp_path / "stopped", **recipe))
    assert_same(model_weights(straight), model_weights(resumed))
    assert_same(*({"all": checkpoints.load_latest(run / "checkpoints")[1]} for run in (straight, resumed)))
    assert [line["images"] for line in read_stats(resumed / "stats.jsonl")] == [4, 8, 12, 16, 20, 24]


def test_a_finished_run_is_left_as_it_is_and_a_longer_one_goes_on(data, tmp_path):
    folder = train(options(data, tmp_path / "run"))
    before = (folder / "model" / "model.json").stat().st_mtime_ns
    train(options(data, folder))
    assert (folder / "model" / "model.json").stat().st_mtime_ns == before
    again = CliRunner().invoke(train_command, _command(data, folder, 24)[4:])
    assert "had finished already: 24 images" in again.output
    train(options(data, folder, images=32))
    assert images_seen(folder) == 32


def test_a_run_killed_between_its_last_checkpoint_and_its_model_makes_the_model_up(data, tmp_path):
    folder = train(options(data, tmp_path / "run"))
    expected = model_weights(folder)
    shutil.rmtree(folder / "model")
    train(options(data, tmp_path / "short", images=4))
    (tmp_path / "short" / "model").rename(folder / "model")  # of an earlier checkpoint
    assert_same(expected, model_weights(train(options(data, folder))))


def test_other_options_on_the_same_folder_are_named(data, tmp_path):
    train(options(data, tmp_path / "run", images=4))
    with pytest.raises(InputError, match=r"recipe\.learning_rate \(0\.001 then, 0\.5 now\)"):
        train(options(data, tmp_path / "run", learning_rate=0.5))
    other = SegmentDataset.open(data).select([0, 1, 2, 3, 4], tmp_path / "other")
    with pytest.raises(InputError, match="another training set"):
        train(options(other.path, tmp_path / "run"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="other files"):
        train(options(data, tmp_path / "mine"))


def test_two_latest_checkpoints_and_the_best_are_kept(tmp_path):
    import torch

    for images, score in ((8, 0.5), (16, 0.1), (24, 0.9), (32, 0.3), (40, 0.4)):
        checkpoints.save_checkpoint(tmp_path, images, {}, {"a": torch.zeros(1)}, score)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [16, 32, 40]
    assert checkpoints.best_checkpoint(tmp_path).name == "0000000016"


@pytest.mark.parametrize("damage", ["truncate", "flip", "state"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(data, tmp_path, damage):
    straight = train(options(data, tmp_path / "straight"))
    with pytest.raises(Cancelled):
        train(options(data, tmp_path / "run"), progress=StopAfter(16))
    newest = tmp_path / "run" / "checkpoints" / "0000000016"
    file = newest / ("state.json" if damage == "state" else "tensors.safetensors")
    content = bytearray(file.read_bytes())
    content[-3] ^= 255
    file.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    with pytest.warns(UserWarning, match="The one before"):
        resumed = train(options(data, tmp_path / "run"))
    assert_same(model_weights(straight), model_weights(resumed))


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    import errno

    import torch

    checkpoints.save_checkpoint(tmp_path, 8, {"a": 1}, {"a": torch.ones(2)}, 0.5)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(ResourceError, match="full"):
        checkpoints.save_checkpoint(tmp_path, 16, {"a": 2}, {"a": torch.ones(2)}, 0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["0000000008"]
    state, tensors, damaged = checkpoints.load_latest(tmp_path)
    assert (state["values"], tensors["a"].tolist(), damaged) == ({"a": 1}, [1, 1], [])


def _command(data, out, images):
    rare = {**SMALL, "stats_images": 100, "sample_images": 10_000, "checkpoint_images": 100}
    settings = [f"--set={key}={json.dumps(value)}" for key, value in rare.items() if key != "images"]
    arguments = [
        "train",
        "--preset",
        "compact",
        "--data",
        str(data),
        "--out",
        str(out),
        "--images",
        str(images),
        *settings,
    ]
    return [sys.executable, "-m", "SkullGANLib", *arguments]


def test_a_run_killed_again_and_again_ends_bit_by_bit_as_one_that_was_left_alone(data, tmp_path):
    alone = subprocess.run(
        _command(data, tmp_path / "alone", 800), capture_output=True, encoding="utf-8", timeout=120, env=_one_thread()
    )
    assert "Training has finished: 800 images" in alone.stdout, alone.stderr
    command, killed_at = _command(data, tmp_path / "run", 800), []
    for goal in (100, 300, 600):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_one_thread())
        for _ in range(3000):
            if images_seen(tmp_path / "run") >= goal or child.poll() is not None:
                break
            time.sleep(0.01)
        child.kill()
        child.wait()
        killed_at.append(images_seen(tmp_path / "run"))
    assert 100 <= killed_at[0] < 800
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, env=_one_thread())
    assert "800 images" in done.stdout, done.stderr
    assert_same(model_weights(tmp_path / "alone"), model_weights(tmp_path / "run"))
    states = [checkpoints.load_latest(tmp_path / name / "checkpoints") for name in ("alone", "run")]
    assert_same({"all": states[0][1]}, {"all": states[1][1]})
    assert states[0][0]["values"] == states[1][0]["values"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for child processes")
def test_ctrl_c_saves_and_ends_with_exit_code_2(data, tmp_path):
    command = _command(data, tmp_path / "run", 100_000)
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=_one_thread()
    )
    for _ in range(1500):
        if images_seen(tmp_path / "run") >= 100 or child.poll() is not None:
            break
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 2, errors
    assert "saved" in errors
    assert load_model(tmp_path / "run").card.images_seen <= images_seen(tmp_path / "run")


def _one_thread():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_a_loss_that_is_not_finite_stops_with_advice_and_the_state_saved(data, tmp_path, monkeypatch):
    from SkullGANLib.models.skullgan_recipe import SkullGANTrainer

    step = SkullGANTrainer.step

    def diverging(self, batch):
        if batch.first >= 12:
            raise FloatingPointError("the generator's loss is nan")
        return step(self, batch)

    monkeypatch.setattr(SkullGANTrainer, "step", diverging)
    with pytest.raises(InputError, match="diverged after 12 images") as caught:
        train(options(data, tmp_path / "run"))
    assert "learning_rate" in caught.value.advice
    assert images_seen(tmp_path / "run") == 12


def test_running_out_of_memory_says_to_lower_the_batch(data, tmp_path, monkeypatch):
    from SkullGANLib.models.skullgan_recipe import SkullGANTrainer

    def exhausted(self, batch):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20 MiB")

    monkeypatch.setattr(SkullGANTrainer, "step", exhausted)
    with pytest.raises(ResourceError, match="--batch-size than 4"):
        train(options(data, tmp_path / "run"))


def test_a_batch_larger_than_the_data_is_refused_with_one_that_fits(data, tmp_path):
    with pytest.raises(InputError, match="batch of 64") as caught:
        train(options(data, tmp_path / "run", batch_size=64))
    assert "--batch-size 8" in caught.value.advice
    assert not (tmp_path / "run").exists()


def test_a_network_of_another_size_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="64 pixels"):
        train(options(data, tmp_path / "run", generator=[8] * 5, discriminator=[4] * 4))


def test_a_run_can_start_from_a_model_and_from_released_weights(data, tmp_path):
    import torch

    first = train(options(data, tmp_path / "first"))
    run = open_run(options(data, tmp_path / "second", init=first))
    start = load_model(first, discriminator=True)
    assert_same(
        {name: net.state_dict() for name, net in run.trainer.networks.items()},
        {"generator": start.generator.state_dict(), "discriminator": start.discriminator.state_dict()},
    )
    torch.save(start.generator.state_dict(), tmp_path / "weights.pth")
    run = open_run(options(data, tmp_path / "third", init=tmp_path / "weights.pth"))
    assert_same({"g": run.trainer.networks["generator"].state_dict()}, {"g": start.generator.state_dict()})
    with pytest.raises(InputError, match="another network") as caught:
        open_run(options(data, tmp_path / "fourth", init=first, latent=5))
    assert "latent=4" in caught.value.advice


class Told(StopAfter):
    """Keeps all that was told."""

    def __init__(self, images):
        super().__init__(images)
        self.updates = []

    def update(self, done, total, message="", **values):
        super().update(done, total, message, **values)
        self.updates.append((message, done, values))


def test_progress_tells_losses_speed_remaining_time_and_new_pictures(data, tmp_path):
    progress = Told(1000)
    folder = train(options(data, tmp_path / "run"), progress=progress)
    training = {done: values for message, done, values in progress.updates if message == "Training"}
    assert sorted(training) == [4, 8, 12, 16, 20, 24]
    told = {"loss_generator", "loss_discriminator", "images_per_second", "remaining_s"}
    assert all(told <= set(values) for values in training.values())
    assert "sample" not in training[8]
    assert training[12]["sample"] == str(folder / "samples" / "0000000012.png")
    assert training[24]["sample"] == str(folder / "samples" / "0000000024.png")
    assert training[24]["remaining_s"] == 0


def test_a_resumed_run_says_from_which_image(data, tmp_path):
    with pytest.raises(Cancelled):
        train(options(data, tmp_path / "run"), progress=StopAfter(12))
    progress = Told(1000)
    train(options(data, tmp_path / "run"), progress=progress)
    assert ("Resuming at image 12 of 24", 1, {"resumed_from": 12}) in progress.updates
    again = Told(1000)
    train(options(data, tmp_path / "run"), progress=again)
    assert not [message for message, *_ in again.updates if message.startswith("Resuming")]


def test_the_command_hands_back_run_model_and_images(data, tmp_path):
    result = CliRunner().invoke(train_command, [*_command(data, tmp_path / "run", 24)[4:], "--events"])
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("@SKULLGAN ")]
    events = [json.loads(line.removeprefix("@SKULLGAN ")) for line in lines]
    run = tmp_path / "run"
    (told,) = [event["result"] for event in events if "result" in event]
    assert told["kernel_distance"] > 0
    assert (told["run"], told["model"], told["images_seen"]) == (str(run), str(run / "model"), 24)
    assert told["model_images"] == load_model(run).card.images_seen


def test_statistics_of_images_that_are_seen_again_are_cut_off(tmp_path):
    path = tmp_path / "stats.jsonl"
    path.write_text('{"images": 4, "seconds": 1.0}\n{"images": 8, "seconds": 2.0}\n{"images": 12, "sec')
    stats = Statistics(path, seen=4)
    stats.add({"loss": 1.0})
    stats.add({"loss": 2.0})
    stats.write(images=8)
    assert read_stats(path) == [{"images": 4, "seconds": 1.0}, {"images": 8, "loss": 1.5}]


def test_a_folder_that_is_being_trained_into_is_refused_to_others(data, tmp_path):
    refused = []

    class Intruder:
        def update(self, done, total, message="", **values):
            if not refused:
                with pytest.raises(InputError, match="Another program is training into") as caught:
                    train(options(data, tmp_path / "run"))
                refused.append(caught.value)

        def cancelled(self):
            return False

    train(options(data, tmp_path / "run"), progress=Intruder())
    assert refused
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "run"]
    train(options(data, tmp_path / "run", images=32))
