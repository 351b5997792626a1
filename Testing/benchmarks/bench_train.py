"""Images per second of one core, trained and drawn: ``python Testing/benchmarks/bench_train.py [preset ...]``."""

from __future__ import annotations

import sys
import time

import torch

from SkullGANLib.models.device import bfloat16_is_faster
from SkullGANLib.models.registry import Batch
from SkullGANLib.train.options import load_options

WARM_UP, STEPS = 2, 12


def training_rate(preset: str, *, bfloat16: bool) -> float:
    """Images per processor second of whole training steps, data and averaging left out."""
    options = load_options(preset)
    family, network = options.known_family, options.network_options
    generator, discriminator = family.build_generator(network), family.build_discriminator(network)
    trainer = family.trainer(options.recipe_options, network, generator, discriminator)
    images = torch.rand(options.batch_size, 1, network.size, network.size) * 2 - 1
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            started = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16, cache_enabled=False):
            trainer.step(Batch(images, None, 0, step * options.batch_size, 0.0, 0.0))
    return STEPS * options.batch_size / (time.process_time() - started)


def generation_rate(preset: str, batch_size: int = 16) -> float:
    """Images per processor second of drawing in float32."""
    options = load_options(preset)
    family, network = options.known_family, options.network_options
    generator = family.build_generator(network).eval()
    with torch.no_grad():
        family.sample(generator, network, 0, range(batch_size))
        started = time.process_time()
        for step in range(STEPS):
            family.sample(generator, network, 0, range(step * batch_size, (step + 1) * batch_size))
    return STEPS * batch_size / (time.process_time() - started)


def main() -> None:
    """Print one line for each preset."""
    torch.set_num_threads(1)
    fast = bfloat16_is_faster(torch.device("cpu"))
    for preset in sys.argv[1:] or ("compact", "demo"):
        full, drawing = training_rate(preset, bfloat16=False), generation_rate(preset)
        half = f", {training_rate(preset, bfloat16=True):.1f} in bfloat16" if fast else ""
        print(f"{preset}: training {full:.1f} images/s of one core in float32{half}; generation {drawing:.1f} images/s")


if __name__ == "__main__":
    main()
