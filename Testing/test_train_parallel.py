"""Several processes train as one with the joint batch, and draw the same images; two on this machine's CPU show it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from SkullGANLib.errors import InputError
from SkullGANLib.generate.sample import generate_together
from SkullGANLib.models import parallel
from SkullGANLib.models.folder import load_model
from SkullGANLib.models.registry import Batch, get_family
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train.options import load_options
from SkullGANLib.train.run import train

BATCH = 8
FAMILIES = {
    "skullgan": {
        "preset": "compact",
        "latent": 4,
        "generator": [8, 8, 8, 8],
        "tail": [4, 4, 4],
        "discriminator": [4, 4, 8],
        "noise": True,
    },
    "relativistic": {"preset": "recommended-nano32", "widths": [16, 16, 8, 8], "latent": 8, "penalty_every": 1},
    "style": {"preset": "style-small", "size": 32, "base": 128, "widest": 8, "style": 8, "latent": 4, "mixed": 4},
}


def gradients(family: str) -> list[torch.Tensor]:
    """Gradients of both networks at the first two steps, as the optimizers get them."""
    torch.set_num_threads(1)
    values = dict(FAMILIES[family])
    options = load_options(values.pop("preset"), values)
    torch.manual_seed(0)
    network, entry = options.network_options, get_family(family)
    networks = entry.build_generator(network), entry.build_discriminator(network)
    trainer, seen = entry.trainer(options.recipe_options, network, *networks), []
    for optimizer in trainer.optimizers.values():
        parallel.average_gradients(optimizer)
        optimizer.register_step_pre_hook(lambda o, *_: seen.extend(p.grad.clone() for p in o.param_groups[0]["params"]))
    images = torch.rand(BATCH, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mine = parallel.share(BATCH)
    trainer.step(Batch(images[mine.start : mine.stop], None, 0, mine.start, 0.0, 0.0))
    return seen


def _process(rank: int, port: int, family: str, path: str) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with parallel.process_group():
        torch.save(gradients(family), f"{path}/{rank}.pt")
        torch.manual_seed(rank)
        network = torch.nn.BatchNorm1d(3)
        network.running_mean.normal_()
        parallel.copy_from_first(network)
        torch.save(network.state_dict(), f"{path}/copied-{rank}.pt")
    threads = [name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")]
    assert not [name for name in threads if "gloo" in name], "cut off at the end of Python, they may abort it"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_two_processes_are_those_of_one_with_the_joint_batch(family, tmp_path):
    mp.spawn(_process, (free_port(), family, str(tmp_path)), nprocs=2)
    joint = gradients(family)
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len(one) == len(joint) > 10
    scale = max(float(gradient.abs().max()) for gradient in joint)
    for a, b, expected in zip(one, other, joint, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, expected, rtol=1e-3, atol=1e-5 * scale)


def torchrun(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    words = [str(word) for word in (*command, "-m", "SkullGANLib", *arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, capture_output=True, encoding="utf-8", timeout=240, env=env)


def test_a_network_is_copied_from_the_first_process(tmp_path):
    mp.spawn(_process, (free_port(), "skullgan", str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"copied-{rank}.pt") for rank in range(2))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0)
    assert first["running_mean"].any()


def test_two_processes_train_one_model_and_draw_the_same_images_as_one(tmp_path):
    hu = np.zeros((20, 32, 32), np.float32)
    hu[:, 3:7] = np.random.default_rng(0).uniform(300, 2000, (20, 4, 32))
    table = {"subject": [f"s{k % 4}" for k in range(20)], "split": ["train"] * 16 + ["val"] * 4}
    data = SegmentDataset.create(tmp_path / "data", hu, table, kind="phantom").path
    values = {**FAMILIES["relativistic"], "images": 32, "batch_size": BATCH, "snapshot_images": 8, "device": "cpu"}
    values |= {"precision": "float32", "checkpoint_images": 16}
    preset = values.pop("preset")
    settings = [f"--set={name}={str(value).replace(chr(39), chr(34))}" for name, value in values.items()]
    done = torchrun("train", "--data", data, "--preset", preset, "--out", tmp_path / "two", *settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Training has finished: 32 images") == 1
    one = train(load_options(preset, {**values, "data": [data], "out": tmp_path / "one"}))
    alone, together = (load_model(folder).generator.state_dict() for folder in (one, tmp_path / "two"))
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=0, atol=2e-3, msg=name)
    drawn = torchrun("generate", "--model", one, "--count", "5", "--seed", "3", "--out", tmp_path / "two.npy")
    assert drawn.returncode == 0, drawn.stderr
    words = ["generate", "--model", str(one), "--count", "5", "--seed", "3", "--out", str(tmp_path / "one.npy")]
    subprocess.run([sys.executable, "-m", "SkullGANLib", *words], check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "two.npy"), np.load(tmp_path / "one.npy"), atol=0.5)


def test_what_needs_one_process_is_refused_in_several(monkeypatch):
    monkeypatch.setattr("SkullGANLib.models.skullgan_recipe.world", lambda: 2)
    monkeypatch.setattr("SkullGANLib.generate.sample.world", lambda: 2)
    released = get_family("skullgan").recipe(blur_frozen=True)
    with pytest.raises(InputError, match="one process"):
        get_family("skullgan").trainer(released, None, None, None)
    with pytest.raises(InputError, match="whole batch"):
        generate_together(None, 4, batch_statistics=True)


def test_parts_cover_everything_once(monkeypatch):
    monkeypatch.setattr(parallel, "world", lambda: 3)
    parts = []
    for rank in range(3):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        parts += list(parallel.share(10))
    assert parts == list(range(10))
