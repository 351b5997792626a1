"""Images per second, trained and drawn: ``python Testing/benchmarks/bench_train.py [PRESET[:BATCH] ...]``.

On a GPU, ``--peak`` (bfloat16 TFLOP/s of the card: 989 for an H100 or H200) adds the fraction of it that is reached.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from SkullGANLib.generate.sample import generate_segments
from SkullGANLib.models.card import ModelCard
from SkullGANLib.models.device import bfloat16_is_faster, resolve_device
from SkullGANLib.models.folder import Model
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.train.estimate import _Steps
from SkullGANLib.train.machine import compile_networks
from SkullGANLib.train.options import TrainOptions, load_options, parse_setting

PRESETS = ("recommended-nano32", "recommended-tiny64", "recommended-XS", "compact", "demo")
# Passes of a step in units of a forward pass, of the generator and of the discriminator; a backward pass counts two,
# one where only the images' gradient is needed, and a penalty four for each of its two batches.
PASSES = {"skullgan": (4.0, 8.0), "relativistic": (4.0, 9.0)}
PENALTY_PASSES = 8.0


def flops_per_image(options: TrainOptions) -> tuple[float, float]:
    """Of drawing, and of a training step: a multiplication and its addition are two."""
    family, network = options.known_family, options.network_options
    with torch.device("meta"):
        generator, discriminator = family.build_generator(network), family.build_discriminator(network)
    parts = []
    with torch.no_grad():
        for call in (
            lambda: family.sample(generator, network, 0, range(1)),
            lambda: discriminator(torch.empty(1, 1, network.size, network.size, device="meta")),
        ):
            with FlopCounterMode(display=False) as counter:
                call()
            parts.append(counter.get_total_flops())
    of_generator, of_discriminator = PASSES[family.name]
    if hasattr(options.recipe_options, "penalty_every"):
        of_discriminator += PENALTY_PASSES / options.recipe_options.penalty_every
    return parts[0], of_generator * parts[0] + of_discriminator * parts[1]


def training_rate(options: TrainOptions, device: torch.device, seconds: float) -> float:
    """Images a second of whole training steps; data and pictures left out."""
    steps = _Steps(options, device, None)
    steps.build()
    compile_networks(steps.trainer, options, device, options.total_images(20_000))
    for _ in range(8):
        steps.run(options.batch_size)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds or count % 4:
        count += 1
        steps.run(options.batch_size)
    return count * options.batch_size / (time.perf_counter() - began)


def drawing_rate(options: TrainOptions, device: torch.device, images: int) -> float:
    """Images a second of ``generate_segments``, into memory and in HU."""
    family, network = options.known_family, options.network_options
    card = ModelCard(
        family=family.name,
        network=network.model_dump(mode="json"),
        window=IntensityWindow(minimum_hu=0, range_hu=2700),
    )
    model = Model(card, family.build_generator(network).eval())
    generate_segments(model, min(images, 256), device=str(device))
    began = time.perf_counter()
    generate_segments(model, images, device=str(device))
    return images / (time.perf_counter() - began)


def main() -> None:
    """Print one line for each preset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=PRESETS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float, default=10, help="Of training for each.")
    parser.add_argument("--images", type=int, default=256, help="To draw for each.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="Of the training.")
    parser.add_argument("--peak", type=float, help="TFLOP/s of the device in bfloat16.")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = resolve_device(given.device)
    print(f"{device}, {given.threads} threads, torch {torch.__version__}, bfloat16 {bfloat16_is_faster(device)}")
    for text in given.presets:
        preset, _, batch = text.partition(":")
        settings = dict(parse_setting(each) for each in given.set)
        options = load_options(preset, settings | ({"batch_size": int(batch)} if batch else {}))
        drawn, trained = flops_per_image(options)
        draw = drawing_rate(options, device, given.images)
        train = training_rate(options, device, given.seconds)
        line = f"{preset:20} batch {options.batch_size:3}  training {train:9.1f} images/s  drawing {draw:9.1f} images/s"
        line += f"  {train * trained / 1e12:7.3f} and {draw * drawn / 1e12:7.3f} TFLOP/s"
        if given.peak:
            shares = (rate * flops / given.peak / 1e12 for rate, flops in ((train, trained), (draw, drawn)))
            line += "  {:.1%} and {:.1%} of the peak".format(*shares)
        print(line, flush=True)


if __name__ == "__main__":
    main()
