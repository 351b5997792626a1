"""How fast the class-conditional family ``style`` draws and trains, size by size.

``python Testing/benchmarks/bench_style.py``: images a second that a preset draws, and that a training step takes in at
each size that it grows through.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from SkullGANLib.generate.sample import generate_segments
from SkullGANLib.models.card import Category, ModelCard
from SkullGANLib.models.device import resolve_device, uses_bfloat16
from SkullGANLib.models.folder import Model
from SkullGANLib.models.registry import Batch
from SkullGANLib.models.style import FAMILY, StyleNetwork
from SkullGANLib.models.style_layers import FIRST
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.train.ema import AveragedNetwork
from SkullGANLib.train.loop import one_step
from SkullGANLib.train.options import load_options
from SkullGANLib.train.run import placed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="style-small")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    device = resolve_device(asked.device)
    bfloat16 = uses_bfloat16("auto", device)
    kind = "bfloat16" if bfloat16 else "float32"
    print(f"{device}, {torch.get_num_threads()} threads, auto precision is {kind}; {asked.preset}")
    options = load_options(asked.preset)
    whole = options.network_options.model_copy(update={"condition": asked.classes})
    print(f"drawing, {whole.size} px: {_drawing(whole, asked.images, asked.rounds, device):.0f} images/s")
    size = FIRST
    while size <= whole.size:
        frozen = size // 2 if size > FIRST else 0
        network = whole.model_copy(update={"size": size, "frozen": frozen})
        speed = _training(network, options, asked.steps, asked.rounds, device, bfloat16)
        print(f"training step, {size} px: {speed:.0f} images/s")
        size *= 2


def _drawing(network: StyleNetwork, images: int, rounds: int, device: torch.device) -> float:
    names = tuple(f"class {k}" for k in range(network.condition))
    window = IntensityWindow(minimum_hu=0, range_hu=2500)
    card = ModelCard(
        family="style", network=network.model_dump(mode="json"), window=window, bone_floor_hu=0,
        conditions={"class": Category(values=names, share=(1,) * len(names))},
    )  # fmt: skip
    model = Model(card, FAMILY.build_generator(network).eval())
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        generate_segments(model, images, device=str(device))
        times.append(time.perf_counter() - began)
    return images / statistics.median(times[1:])


def _training(network, options, steps: int, rounds: int, device: torch.device, bfloat16: bool) -> float:
    batch = options.batch_size
    networks = [
        placed(build(network), options, device) for build in (FAMILY.build_generator, FAMILY.build_discriminator)
    ]
    trainer = FAMILY.trainer(options.recipe_options, network, *networks)
    ema = AveragedNetwork(networks[0], options.ema_images, options.ema_share)
    images = torch.rand(batch, 1, network.size, network.size, device=device) * 2 - 1
    condition = torch.eye(network.condition, device=device)[torch.arange(batch) % network.condition]
    times = []
    for turn in range(rounds + 1):
        began = time.perf_counter()
        for step in range(steps):
            first = (turn * steps + step) * batch
            one_step(trainer, ema, Batch(images, condition, 0, first, 0.0, 0.5), bfloat16)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return steps * batch / statistics.median(times[1:])


if __name__ == "__main__":
    main()
