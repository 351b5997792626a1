"""The paper's network against its released code: ``python Testing/benchmarks/bench_paper.py [--device cuda]``.

The yardstick is what the released code does, in the same process: float32, eager, channels first, batch statistics
when drawing as well, noise from a random generator with masks by comparison, and a new loader for every blurred batch.
Both sides take turns, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from SkullGANLib.models.device import bfloat16_is_faster, resolve_device
from SkullGANLib.models.registry import Batch
from SkullGANLib.models.skullgan import FAMILY, Generator, SkullGANNetwork
from SkullGANLib.models.skullgan_recipe import SkullGANRecipe, gaussian_blur

RECIPE = {"fresh_fakes": False, "blur_fraction": 0.5, "blur_from_epoch": 0, "blur_until_epoch": 1, "gate": "off"}


class PlainNoise(nn.Module):
    """The noise layer as one would first write it."""

    def forward(self, x: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        peak = x.amax((2, 3), keepdim=True)
        masked = x.clone()
        masked[(x < -peak / 2) | (x > peak / 4)] = 0
        return x + masked * torch.randn_like(x) * x.std((2, 3), keepdim=True)


class Yardstick:
    """Both networks, and the released code's way with them."""

    def __init__(self, generator: Generator, discriminator: nn.Module, batch: int, device: torch.device) -> None:
        self.device = device
        self.generator, self.discriminator = copy.deepcopy(generator).train(), copy.deepcopy(discriminator).train()
        self.generator.noise = nn.ModuleList([PlainNoise(), PlainNoise()])
        self.optimizers = [
            torch.optim.Adam(net.parameters(), 3e-4, (0.5, 0.999)) for net in (self.generator, self.discriminator)
        ]
        self.batch = batch
        self.data = TensorDataset(torch.rand(256, 1, 128, 128) * 2 - 1)

    def draw(self) -> torch.Tensor:
        with torch.no_grad():
            return self._generate(self.batch)

    def step(self) -> None:
        n, (of_g, of_d) = self.batch, self.optimizers
        (real,) = next(iter(DataLoader(self.data, batch_size=n, shuffle=True)))
        (other,) = next(iter(DataLoader(self.data, batch_size=n // 2, shuffle=True)))
        real, other = real.to(self.device), other.to(self.device)
        drawn = self._generate(n - len(other))
        fake = torch.cat([drawn, gaussian_blur(other, 3, 0.8)])
        self.discriminator.zero_grad()
        loss = _bce(self.discriminator(real), 0.9) + _bce(self.discriminator(fake.detach()), 0.0)
        loss.backward()
        of_d.step()
        self.generator.zero_grad()
        _bce(self.discriminator(fake), 1.0).backward()
        of_g.step()

    def _generate(self, count: int) -> torch.Tensor:
        return self.generator((torch.rand(count, 200) * 2 - 1).to(self.device), torch.zeros(count))


class Ours:
    """The same networks as SkullGANLib draws from and trains them, the blurred images in the fake batch likewise."""

    def __init__(
        self,
        generator: Generator,
        discriminator: nn.Module,
        network: SkullGANNetwork,
        batch: int,
        device: torch.device,
    ) -> None:
        self.network, self.batch, self.seen, self.device = network, batch, 0, device
        self.bfloat16 = bfloat16_is_faster(device)
        self.folded = FAMILY.for_drawing(copy.deepcopy(generator).eval(), network, self.bfloat16)
        parts = [copy.deepcopy(net).to(memory_format=torch.channels_last).train() for net in (generator, discriminator)]
        recipe = SkullGANRecipe(**RECIPE, blur_joins_fakes=True)
        self.trainer = FAMILY.trainer(recipe, network, *parts)
        self.images = torch.rand(256, 1, 128, 128, device=device) * 2 - 1

    def draw(self) -> torch.Tensor:
        with torch.no_grad():
            return FAMILY.sample(self.folded, self.network, 0, range(self.batch))

    def step(self) -> None:
        chosen = torch.arange(self.seen, self.seen + self.batch) % len(self.images)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False):
            self.trainer.step(Batch(self.images[chosen], None, 0, self.seen, 100.0, 0.5))
        self.seen += self.batch


def _bce(logits: torch.Tensor, target: float) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each call, the least of ``rounds``, one after the other in turn; a round before is not counted."""
    best = dict.fromkeys(calls, float("inf"))
    for number in range(rounds + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:
                best[name] = min(best[name], time.perf_counter() - began)
    return best


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=["draw", "step"])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    network, device = SkullGANNetwork(), resolve_device(given.device)
    networks = [build(network).to(device) for build in (FAMILY.build_generator, FAMILY.build_discriminator)]
    sides = {
        "released code": Yardstick(*networks, given.batch, device),
        "SkullGANLib": Ours(*networks, network, given.batch, device),
    }
    print(f"{device}, {given.batch} images, {given.threads} threads, bfloat16 {bfloat16_is_faster(device)}")
    for name, what in (("drawing", "draw"), ("training step", "step")):
        if given.only in (None, what):
            found = turns({side: getattr(each, what) for side, each in sides.items()}, given.rounds)
            for side, seconds in found.items():
                print(f"{name:14} {side:14} {seconds:8.2f} s {given.batch / seconds:8.2f} images/s")
            print(f"{name:14} ratio {found['released code'] / found['SkullGANLib']:.2f}", flush=True)


if __name__ == "__main__":
    main()
