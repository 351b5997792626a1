"""What a training would take is told before it starts: counted exactly, measured briefly, and refused in words."""

import json
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.errors import Cancelled, InputError
from SkullGANLib.models.skullgan_recipe import SkullGANTrainer
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train import estimate as module
from SkullGANLib.train.estimate import NOMINAL_SEGMENTS, batch_advice, estimate, measure_speed
from SkullGANLib.train.options import load_options

TINY = {
    "latent": 4,
    "generator": [8, 6, 4, 4],
    "tail": [3, 3, 3],
    "discriminator": [4, 4, 8],
    "batch_size": 8,
    "images": 100,
    "device": "cpu",
    "precision": "float32",
}


def options(**changes):
    return load_options("compact", TINY | changes)


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    monkeypatch.setattr(module, "BUDGET_S", 0.5)
    monkeypatch.setattr(module, "MEASURED_S", 0.1)


def test_operations_and_parameters_are_counted_by_hand():
    found = estimate(options())
    up = [4 * 8 * 16, 8 * 6 * 16 * 4**2, 6 * 4 * 16 * 8**2, 4 * 4 * 16 * 16**2]  # multiplications at each input pixel
    flat = [9 * 4 * 3 * 32**2, 9 * 3 * 3 * 32**2, 9 * 3 * 3 * 32**2, 9 * 3 * 32**2]
    assert found.flops_per_image == 2 * sum(up + flat)
    weights = [16 * a * b for a, b in ((4, 8), (8, 6), (6, 4), (4, 4))]
    norms = 2 * (8 + 6 + 4)
    tail = 9 * (4 * 3 + 3 * 3 + 3 * 3 + 3) + 3 + 3 + 3
    assert found.parameters["generator"] == sum(weights) + norms + tail


def test_a_length_in_epochs_needs_a_training_set_or_takes_the_paper_s(tmp_path):
    assert estimate(options(epochs=2)).images == 2 * NOMINAL_SEGMENTS
    hu = np.zeros((10, 32, 32), np.float32)
    hu[:, 3:7] = 1000
    table = {"quality": ["ok"] * 9 + ["joined by other bone"], "subject": ["s-1"] * 10}
    SegmentDataset.create(tmp_path / "set", hu, table, kind="phantom")
    found = estimate(options(epochs=2, data=[tmp_path / "set"]))
    assert (found.segments, found.images) == (9, 18)
    assert found.seconds == pytest.approx(18 / found.images_per_second)
    with pytest.raises(InputError, match="batch of 16"):
        estimate(options(batch_size=16, data=[tmp_path / "set"]))


def test_pre_training_and_the_looks_at_held_out_subjects_take_their_time_too(tmp_path):
    hu = np.zeros((12, 32, 32), np.float32)
    hu[:, 3:7] = 1000
    path = SegmentDataset.create(tmp_path / "set", hu, {}, kind="phantom").path
    small = {"widths": [16, 16, 8, 8], "batch_size": 4, "device": "cpu", "data": [path]}
    chosen = load_options("recommended-nano32", {**small, "images": 40, "pretrain": [path], "pretrain_epochs": 5})
    assert estimate(chosen).images == 40 + 60
    steps = module._Steps(chosen, torch.device("cpu"), None)
    assert steps.cycle == 4
    steps.build()
    looks = []
    steps.trainer.step = lambda batch, step=steps.trainer.step: looks.append(batch.held_out is not None) or step(batch)
    steps.run(4, 8)
    assert looks == [True, False, False, False] * 2


def test_what_does_not_fit_is_said_with_the_batch_that_does(monkeypatch):
    chosen = options(batch_size=64)
    memory = chosen.known_family.memory
    free = memory(chosen.network_options, 20, training=True)
    monkeypatch.setattr(module, "free_memory", lambda device: free)
    monkeypatch.setattr(module, "measure_speed", lambda *a: pytest.fail("what does not fit is not tried"))
    found = estimate(chosen)
    assert (found.fits, found.images_per_second, found.seconds) == (False, None, None)
    assert "--batch-size 16" in found.advice
    assert found.memory_gib > found.free_gib
    assert "batch size of 32 " in batch_advice(chosen, 10**12, False)
    assert "Not even a batch of 2" in batch_advice(chosen, 1000, False)


def test_running_out_of_memory_while_measuring_is_told_in_words(monkeypatch):
    def exhausted(self, batch):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20 MiB")

    monkeypatch.setattr(SkullGANTrainer, "step", exhausted)
    found = estimate(options(batch_size=64))
    assert not found.fits
    assert found.advice.startswith("The device has run out of memory. Use a batch size of")


class Clock:
    """Steps that take ``fixed + image * size`` seconds of a clock that only they move; the first takes ``more``."""

    cycle = 1

    def __init__(self, fixed: float, image: float, more: float = 0.0) -> None:
        self.fixed, self.image, self.more, self.now, self.sizes = fixed, image, more, 0.0, []

    def __call__(self, *arguments):
        return self

    def build(self):
        pass

    @property
    def left(self):
        return 5.0 - self.now

    def run(self, size, steps=1):
        seconds = self.fixed + self.image * size + (0 if self.sizes else self.more)
        self.sizes.append(size)
        self.now += seconds * steps
        return seconds


@pytest.mark.parametrize(
    ("clock", "sizes", "speed"),
    [
        (Clock(0.01, 0.01, more=0.5), {2, 64}, 64 / 0.65),
        (Clock(0.1, 0.1), {2, 8}, 64 / 6.5),
        (Clock(3.0, 0.5), {2}, 2 / 4.0),
    ],
    ids=["the whole batch", "scaled up from a smaller one", "no time for more than one step"],
)
def test_the_speed_of_a_batch_follows_from_the_steps_that_there_is_time_for(monkeypatch, clock, sizes, speed):
    monkeypatch.setattr(module, "BUDGET_S", 5.0)
    monkeypatch.setattr(module, "MEASURED_S", 2.0)
    monkeypatch.setattr(module, "_Steps", clock)
    assert measure_speed(options(batch_size=64), None) == pytest.approx(speed)
    assert set(clock.sizes) == sizes
    assert clock.now < 5.5


def test_measuring_takes_as_long_as_it_may_and_stops_when_asked():
    class Stop:
        def update(self, done, total, message="", **values):
            self.message = message

        def cancelled(self):
            return True

    began = time.monotonic()
    assert estimate(options()).images_per_second > 1
    assert time.monotonic() - began < 5
    with pytest.raises(Cancelled):
        estimate(options(), Stop())


def test_the_command_hands_back_what_was_found():
    settings = [f"--set={name}={json.dumps(value)}" for name, value in TINY.items()]
    result = CliRunner().invoke(skullgan, ["train", "--preset", "compact", "--dry-run", "--events", *settings])
    assert result.exit_code == 0, result.output
    events = [json.loads(line[10:]) for line in result.output.splitlines() if line.startswith("@SKULLGAN ")]
    (found,) = [event["result"] for event in events if "result" in event]
    assert set(found) == {
        *("device", "batch_size", "parameters", "flops_per_image", "memory_gib", "free_gib", "images", "segments"),
        *("images_per_second", "seconds", "fits", "advice"),
    }
    assert (found["device"], found["images"], found["fits"], found["advice"]) == ("cpu", 100, True, "")
    assert events[-1] == {"exit_code": 0, "success": True}
    assert "Time for 100 images: about" in result.output
