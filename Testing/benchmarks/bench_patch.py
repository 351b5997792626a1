"""How fast the patch-based conditional GAN draws and trains.

``python Testing/benchmarks/bench_patch.py``: slices a second of the small preset at 256 pixels, and the training step
of the published network against the same one written as its Keras original does it: float32, no memory order of its
own, the generator run once more for the discriminator, both of that one's updates apart. Rounds of both alternate.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from SkullGANLib.generate.translate import translate_slices
from SkullGANLib.models.card import ModelCard
from SkullGANLib.models.device import resolve_device, uses_bfloat16
from SkullGANLib.models.folder import Model
from SkullGANLib.models.patch_cgan import FAMILY, PatchNetwork
from SkullGANLib.models.registry import Batch
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.train.ema import AveragedNetwork
from SkullGANLib.train.loop import one_step
from SkullGANLib.train.options import load_options


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=48)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = resolve_device(options.device)
    kind = "bfloat16" if uses_bfloat16("auto", device) else "float32"
    print(f"{device}, {torch.get_num_threads()} threads, auto precision is {kind}")
    draw(options.size, options.slices, options.rounds, device)
    train(options.size, options.batch, options.rounds, device)


def draw(size: int, slices: int, rounds: int, device: torch.device) -> None:
    """Slices a second of ``patch-small`` at this size."""
    network = load_options("patch-small", {"network.size": size}).network_options
    network = network.model_copy(update={"labels": tuple(f"label {k}" for k in range(6))})
    window = IntensityWindow(minimum_hu=-1000, range_hu=3000)
    card = ModelCard(family="patch-cgan", network=network.model_dump(mode="json"), window=window)
    model = Model(card, FAMILY.build_generator(network).eval())
    labels = np.random.default_rng(0).integers(0, 7, (slices, size, size)).astype(np.uint8)
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        translate_slices(model, labels, noise_px=1.0, device=str(device))
        times.append(time.perf_counter() - began)
    print(f"patch-small, {size} px: {slices / statistics.median(times[1:]):.1f} slices/s")


def train(size: int, batch: int, rounds: int, device: torch.device) -> None:
    """Seconds of a step of the published network, ours and as the original writes it."""
    options = load_options("patch-whs", {"network.size": size, "network.skips": True, "precision": "auto"})
    network, recipe = options.network_options, options.recipe_options
    images = torch.rand(batch, 1, size, size, device=device) * 2 - 1
    labels = torch.zeros(batch, 1, size, size, dtype=torch.uint8, device=device)
    torch.manual_seed(0)
    ours = [
        part.to(device, memory_format=torch.channels_last).train()
        for part in (FAMILY.build_generator(network), FAMILY.build_discriminator(network))
    ]
    trainer, ema = FAMILY.trainer(recipe, network, *ours), AveragedNetwork(ours[0], 1e4, 0.05)
    plain = _Plain(network, device)
    bfloat16, times = uses_bfloat16("auto", device), {"plain": [], "ours": []}
    for k in range(rounds + 1):
        for name in times:
            began = time.perf_counter()
            if name == "ours":
                one_step(trainer, ema, Batch(images, labels, 0, k * batch, 0.0, 0.0), bfloat16)
            else:
                plain.step(images, labels)
            if device.type == "cuda":
                torch.cuda.synchronize()
            if k:
                times[name].append(time.perf_counter() - began)
    plain_s, ours_s = (statistics.median(each) for each in times.values())
    print(f"step of {batch} images of {size} px: as the original writes it {plain_s:.2f} s, here {ours_s:.2f} s")
    print(f"ratio {plain_s / ours_s:.2f}; images/s {batch / plain_s:.2f} and {batch / ours_s:.2f}")


class _Plain:
    """The original's step: predict, train the discriminator on real and on drawn images, train the two in a row."""

    def __init__(self, network: PatchNetwork, device: torch.device) -> None:
        self.generator = FAMILY.build_generator(network).to(device).train()
        self.judge = FAMILY.build_discriminator(network).to(device).train()
        self.optimizers = [
            torch.optim.Adam(net.parameters(), lr, (0.5, 0.999), foreach=False, fused=False)
            for net, lr in ((self.generator, 1.3e-4), (self.judge, 1.5e-4))
        ]

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        keys = torch.zeros(len(images), dtype=torch.int64)
        with torch.no_grad():
            drawn = self.generator(labels, keys)
        for shown, target in ((images, 1.0), (drawn, 0.0)):
            self._update(1, self._scored(shown, labels, target))
        drawn = self.generator(labels, keys)
        self.judge.requires_grad_(False)
        self._update(0, self._scored(drawn, labels, 1.0) + 100 * F.l1_loss(drawn, images))
        self.judge.requires_grad_(True)

    def _scored(self, images: torch.Tensor, labels: torch.Tensor, target: float) -> torch.Tensor:
        scores = self.judge(images, labels)
        return nn.functional.mse_loss(scores, torch.full_like(scores, target))

    def _update(self, which: int, loss: torch.Tensor) -> None:
        self.optimizers[which].zero_grad()
        loss.backward()
        self.optimizers[which].step()


if __name__ == "__main__":
    main()
