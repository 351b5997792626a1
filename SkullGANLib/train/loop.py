"""The training loop. It brings data, device, averaging, figures, checkpoints and stopping; a family brings the rest."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from SkullGANLib.errors import Cancelled, InputError
from SkullGANLib.models.parallel import first_says, rank, world
from SkullGANLib.models.registry import Batch, Trainer
from SkullGANLib.progress import Progress, report
from SkullGANLib.train.augment import Augmentation
from SkullGANLib.train.data import TrainingData
from SkullGANLib.train.ema import AveragedNetwork
from SkullGANLib.train.options import TrainOptions
from SkullGANLib.train.stats import Statistics

SAMPLE_TOLD_S = 1.0


@dataclass
class Run:
    """What the loop works with; ``seen`` counts real images drawn, repeats and all processes included."""

    folder: Path
    options: TrainOptions
    device: torch.device
    bfloat16: bool
    data: TrainingData
    augment: Augmentation
    trainer: Trainer
    ema: AveragedNetwork
    stats: Statistics
    seen: int
    total: int


def train_loop(run: Run, progress: Progress | None = None) -> None:
    """Train until ``run.total`` images are seen; the state is saved at intervals, at the end and when stopped.

    Raises:
        Cancelled: the user has asked to stop; the state is saved.
        InputError: a loss is no longer finite; the last good state is saved.
    """
    from SkullGANLib.train.snapshots import save, write_samples

    options, clock, sample = run.options, _Clock(run), _Sample()
    while run.seen < run.total:
        try:
            figures = one_step(run.trainer, run.ema, _next_batch(run), run.bfloat16)
        except FloatingPointError as error:
            raise _diverged(run, error) from error
        before, run.seen = run.seen, run.seen + options.batch_size

        def due(interval: int, before: int = before) -> bool:
            return run.seen >= run.total or run.seen // interval > before // interval

        run.stats.add(figures | _observed(run, figures))
        if due(options.sample_images):
            sample = _Sample(write_samples(run), time.monotonic())
        stop = _told(run, progress, clock, figures, sample)
        stop, overdue = first_says(stop, clock.since_save_s > 60 * options.checkpoint_minutes)
        scored = due(options.checkpoint_images)
        if scored or overdue or stop:
            save(run, scored=scored)
            clock.saved()
        if due(options.stats_images):
            clock.lap(run.stats)
            run.stats.write(
                images=run.seen, epoch=run.seen / len(run.data), seconds=run.stats.seconds, images_per_s=clock.rate
            )
        if stop:
            raise Cancelled


def one_step(trainer: Trainer, ema: AveragedNetwork, batch: Batch, bfloat16: bool) -> dict[str, float]:
    """Train on this process's part of a batch and take the generator into its average; returns the step's figures.

    Raises:
        FloatingPointError: a loss is not finite; nothing was updated from it.
    """
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=False):
        figures = trainer.step(batch)
    part = len(batch.images)
    ema.update(trainer.networks["generator"], batch.first + part * (world() - rank()), part * world())
    return figures


def _next_batch(run: Run) -> Batch:
    """The part of the next batch that is this process's."""
    count = run.options.batch_size // world()
    first, step = run.seen + rank() * count, run.seen // run.options.batch_size
    looks = run.options.augment > 0 and step % run.options.held_out_every == 0
    return Batch(
        images=run.data.batch(first, count),
        condition=run.data.condition(first, count) if run.data.conditioned else None,
        seed=run.options.seed,
        first=first,
        epoch=run.seen / len(run.data),
        done=min(run.seen / run.total, 1.0),
        augment=run.augment,
        held_out=run.data.held_out(first, count) if looks else None,
    )


def _observed(run: Run, figures: dict[str, float]) -> dict[str, float]:
    """Adapt the augmentation to what the discriminator thought of held-out subjects."""
    if run.options.augment == 0:
        return {}
    run.augment.observe(figures.get("d_gap"), figures.get("d_gap_held_out"), run.options.batch_size)
    overfit = {} if math.isnan(run.augment.overfit) else {"overfit": run.augment.overfit}
    return {"augmented": run.augment.probability, **overfit}


@dataclass(frozen=True)
class _Sample:
    """The newest picture and when it was written; told for a second, since not every update gets through."""

    path: Path | None = None
    written: float = 0.0

    def shown(self) -> dict[str, str]:
        return {"sample": str(self.path)} if self.path and time.monotonic() - self.written < SAMPLE_TOLD_S else {}


class _Clock:
    """Times the run: seconds since the last line of statistics and the last checkpoint, and images a second."""

    def __init__(self, run: Run) -> None:
        self._run, self._before = run, run.seen
        self._started = self._lap = self._save = time.monotonic()

    @property
    def rate(self) -> float:
        return (self._run.seen - self._before) / max(time.monotonic() - self._started, 1e-9)

    @property
    def since_save_s(self) -> float:
        return time.monotonic() - self._save

    def lap(self, stats: Statistics) -> None:
        now = time.monotonic()
        stats.seconds += now - self._lap
        self._lap = now

    def saved(self) -> None:
        self._save = time.monotonic()


def _told(run: Run, progress: Progress | None, clock: _Clock, figures: dict[str, float], sample: _Sample) -> bool:
    """Tell where the run stands; True if the user wants it to stop."""
    remaining_s = math.ceil(max(run.total - run.seen, 0) / clock.rate)
    losses = {name: round(value, 3) for name, value in figures.items() if name.startswith("loss")}
    values = {**losses, "images_per_second": round(clock.rate, 1), "remaining_s": remaining_s, **sample.shown()}
    try:
        report(progress, min(run.seen, run.total), run.total, "Training", **values)
    except Cancelled:
        return True
    return False


def _diverged(run: Run, error: FloatingPointError) -> InputError:
    from SkullGANLib.train.snapshots import save

    networks = run.trainer.networks.values()
    saved = (run.folder / "checkpoints" / f"{run.seen:010d}").exists()  # better than one with half a step more
    if not saved and all(
        torch.isfinite(value).all() for network in networks for value in network.state_dict().values()
    ):
        save(run, scored=False)
    return InputError(
        f"Training has diverged after {run.seen} images: {error}.",
        "Start a new run with a lower recipe.learning_rate or precision=float32; this one's last good state is saved.",
    )
