"""What a training would take: parameters, memory and time, found out in seconds before it is started."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from SkullGANLib.errors import ResourceError
from SkullGANLib.models.device import free_memory, memory_advice, resolve_device, uses_bfloat16
from SkullGANLib.models.registry import Batch
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train.data import training_size, whole_multiple
from SkullGANLib.train.ema import AveragedNetwork
from SkullGANLib.train.growing import stages
from SkullGANLib.train.loop import one_step
from SkullGANLib.train.machine import check_batch, placed, set_determinism, with_batch
from SkullGANLib.train.options import TrainOptions

NOMINAL_SEGMENTS = 2414  # of the paper's training set, where none is given
BUDGET_S, MEASURED_S = 5.0, 2.0  # for all steps, and for those of the largest batch
_SMALLEST = 2  # batch statistics need two images


@dataclass(frozen=True)
class Estimate:
    """What a training would take.

    Attributes:
        device: it would run on.
        batch_size: images in a step, found out where the options leave it open.
        parameters: of the generator and of the discriminator.
        flops_per_image: floating-point operations of the generator for one image; a multiplication and its addition
            are two.
        memory_gib: needed on the device, estimated; free_gib: free there now.
        images: to be seen in all, pre-training and smaller sizes included.
        segments: of the training set, or the nominal one.
        images_per_second: measured on the device, without the pauses for pictures and checkpoints; None where it was
            not measured because the training does not fit.
        fits: whether the memory is enough.
        advice: what to do where it is not; else empty.
    """

    device: str
    batch_size: int
    parameters: dict[str, int]
    flops_per_image: int
    memory_gib: float
    free_gib: float
    images: int
    segments: int
    images_per_second: float | None
    fits: bool
    advice: str = ""

    @property
    def seconds(self) -> float | None:
        """The whole training's time; None where it was not measured."""
        return None if self.images_per_second is None else self.images / self.images_per_second


def estimate(options: TrainOptions, progress: Progress | None = None) -> Estimate:
    """Find out what a training would take; nothing is written, and ``options.out`` is not needed.

    Args:
        options: from ``load_options``; without ``data``, a set as large as the paper's is assumed.
        progress: told the steps of the measurement.

    Raises:
        Cancelled: stopped as asked.
        InputError: data or options cannot be used.
        ResourceError: there is no such device.
    """
    device = resolve_device(options.device)
    options = with_batch(options, device)
    family, network = options.known_family, options.network_options
    segments = _segments(options)
    with torch.device("meta"):
        parts = {"generator": family.build_generator(network), "discriminator": family.build_discriminator(network)}
    bfloat16 = uses_bfloat16(options.precision, device)
    need = family.memory(network, options.batch_size, training=True, bfloat16=bfloat16)
    free = free_memory(device)
    speed, advice = None, "" if need <= free else batch_advice(options, free, bfloat16)
    if not advice:
        try:
            speed = measure_speed(options, device, progress)
        except ResourceError as error:
            advice = f"{error.message} {_use(options.batch_size // 2)}"
    return Estimate(
        device=str(device),
        batch_size=options.batch_size,
        parameters={name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        flops_per_image=_flops(options, parts["generator"]),
        memory_gib=need / 2**30,
        free_gib=free / 2**30,
        images=options.total_images(segments) + _pretraining_images(options) + _growing_images(options),
        segments=segments,
        images_per_second=speed,
        fits=not advice,
        advice=advice,
    )


def batch_advice(options: TrainOptions, free: int, bfloat16: bool) -> str:
    """The largest batch, as a power of two, whose training needs no more than ``free`` bytes; in words."""
    family, network = options.known_family, options.network_options
    size = 1 << (options.batch_size - 1).bit_length() - 1
    while size >= _SMALLEST and family.memory(network, size, training=True, bfloat16=bfloat16) > free:
        size //= 2
    return _use(size)


def _use(size: int) -> str:
    if size < _SMALLEST:
        return "Not even a batch of 2 fits: take a smaller preset or another device."
    return f"Use a batch size of {size} (--batch-size {size}), or a smaller preset."


def measure_speed(options: TrainOptions, device: torch.device, progress: Progress | None = None) -> float:
    """Images a second in real training steps on random images, in about 5 s.

    A batch that would take longer is scaled up from smaller ones: the time of a step is taken as a fixed part and one
    for each image. Where a single step of two images takes longer, that one is all there is, and is a lower limit.

    Raises:
        ResourceError: the device has run out of memory.
    """
    steps = _Steps(options, device, progress)
    with memory_advice(""):
        steps.build()
        first = steps.run(_SMALLEST)  # finds its algorithms and takes its memory: slower than all that follow
        cycle = steps.cycle
        small = steps.run(_SMALLEST, cycle) if (1 + cycle) * first < BUDGET_S / 2 else first
        sizes = [size for size in (options.batch_size >> k for k in range(20)) if size > _SMALLEST]
        size = next((size for size in sizes if (2 + cycle) * small * size / _SMALLEST <= steps.left), _SMALLEST)
        if size == _SMALLEST:
            return _SMALLEST / small if options.batch_size > _SMALLEST else options.batch_size / small
        steps.run(size)
        times = [steps.run(size, cycle)]
        while cycle * sum(times) < MEASURED_S and steps.left > cycle * times[-1]:
            times.append(steps.run(size, cycle))
    report(progress, 100, 100, "Measuring the speed")
    step = sum(times) / len(times)
    image = (step - small) / (size - _SMALLEST) if step > small else step / size
    return options.batch_size / (step + image * (options.batch_size - size))


class _Steps:
    """Runs and times single training steps of any batch size."""

    def __init__(self, options: TrainOptions, device: torch.device, progress: Progress | None) -> None:
        self.options, self.device, self.progress = options, device, progress
        self.bfloat16 = uses_bfloat16(options.precision, device)
        looks = options.held_out_every if options.augment else 1
        self.cycle = math.lcm(looks, getattr(options.recipe_options, "penalty_every", 1))  # steps that are not alike

    def build(self) -> None:
        """Make the networks on the device; the clock starts when they are there."""
        family, network = self.options.known_family, self.options.network_options
        set_determinism(self.options.deterministic)
        report(self.progress, 0, 100, "Measuring the speed")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.options.seed)
            networks = family.build_generator(network), family.build_discriminator(network)
        networks = [placed(each, self.options, self.device) for each in networks]
        self.trainer = family.trainer(self.options.recipe_options, network, *networks)
        self.ema = AveragedNetwork(networks[0], self.options.ema_images, self.options.ema_share)
        self.seen, self.steps, self.started = 0, 0, time.monotonic()

    @property
    def left(self) -> float:
        """Seconds left for measuring."""
        return self.started + BUDGET_S - time.monotonic()

    def run(self, size: int, steps: int = 1) -> float:
        """Train on ``size`` random images in each of some steps; returns the seconds that one took on average."""
        side, options = self.options.network_options.size, self.options
        images = torch.rand(size, 1, side, side, device=self.device) * 2 - 1
        labels = None
        if options.known_family.masks:
            slices = options.network_options.slices
            labels = torch.zeros(size, slices, side, side, dtype=torch.uint8, device=self.device)
        began = time.monotonic()
        for _ in range(steps):
            looks = options.augment > 0 and self.steps % options.held_out_every == 0
            held_out = (images, labels) if looks else None
            batch = Batch(images, labels, options.seed, self.seen, 0.0, 0.0, held_out=held_out)
            one_step(self.trainer, self.ema, batch, self.bfloat16)
            self.seen, self.steps = self.seen + size, self.steps + 1
        self._wait()
        done = 100 - 100 * self.left / BUDGET_S
        report(self.progress, int(min(max(done, 0), 99)), 100, "Measuring the speed")
        return (time.monotonic() - began) / steps

    def _wait(self) -> None:
        """A GPU is told its work and goes on by itself; wait until it is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def _segments(options: TrainOptions) -> int:
    if not options.data:
        return NOMINAL_SEGMENTS
    segments = training_size(options.data, options.hold_out, options.seed)
    check_batch(options, segments)
    whole_multiple(SegmentDataset.open(options.data[0]).meta.size, options.network_options.size)
    return segments


def _growing_images(options: TrainOptions) -> int:
    """Of the smaller sizes that a family grows through; they take less time each than those of the last."""
    if not options.known_family.grows or not options.grow_images or options.init is not None:
        return 0
    return options.grow_images * len(stages(options.model_copy(update={"out": Path()}), None))


def _pretraining_images(options: TrainOptions) -> int:
    if not options.pretrain:
        return 0
    if options.pretrain_images is not None:
        return options.pretrain_images
    segments = training_size(options.pretrain, options.hold_out, options.seed)
    return round((options.pretrain_epochs or 0) * segments)


def _flops(options: TrainOptions, generator: torch.nn.Module) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        options.known_family.sample(generator, options.network_options, 0, range(1))
    return counter.get_total_flops()
