"""The training loop. It knows data, averaging, figures, checkpoints and stopping; a family brings the rest."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from SkullGANLib.errors import Cancelled, InputError
from SkullGANLib.models.card import ModelCard
from SkullGANLib.models.draws import CALIBRATION, SAMPLE
from SkullGANLib.models.folder import Model, save_model
from SkullGANLib.models.registry import Batch, Trainer
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.sheet import contact_sheet, write_png
from SkullGANLib.train.checkpoints import Tensors, save_checkpoint
from SkullGANLib.train.data import TrainingData
from SkullGANLib.train.ema import AveragedNetwork
from SkullGANLib.train.options import TrainOptions
from SkullGANLib.train.stats import Statistics, pixel_kernel_distance

SHEET_IMAGES = 32
SAMPLE_TOLD_S = 1.0
_NO_SCORE = 1e30  # of a snapshot whose images are not finite; JSON has no infinity


@dataclass
class Run:
    """What the loop works with; ``seen`` counts real images drawn, repeats included."""

    folder: Path
    options: TrainOptions
    device: torch.device
    bfloat16: bool
    data: TrainingData
    trainer: Trainer
    ema: AveragedNetwork
    stats: Statistics
    seen: int
    total: int


@dataclass(frozen=True)
class _Sample:
    """The newest picture and when it was written; told for a second, since not every update gets through."""

    path: Path | None = None
    written: float = 0.0

    def shown(self) -> dict[str, str]:
        return {"sample": str(self.path)} if self.path and time.monotonic() - self.written < SAMPLE_TOLD_S else {}


def train_loop(run: Run, progress: Progress | None = None) -> None:
    """Train until ``run.total`` images are seen; the state is saved at intervals, at the end and when stopped.

    Raises:
        Cancelled: the user has asked to stop; the state is saved.
        InputError: a loss is no longer finite; the last good state is saved.
    """
    options, size = run.options, run.options.batch_size
    started, before = time.monotonic(), run.seen
    last_stats = last_save = started
    saved_at, sample = -1, _Sample()
    while run.seen < run.total:
        try:
            figures = one_step(run.trainer, run.ema, _next_batch(run), run.bfloat16)
        except FloatingPointError as error:
            raise _diverged(run, error) from error
        run.seen += size
        run.stats.add(figures)

        def due(interval: int) -> bool:
            return run.seen >= run.total or run.seen // interval > (run.seen - size) // interval

        now = time.monotonic()
        if due(options.stats_images):
            run.stats.seconds += now - last_stats
            last_stats, rate = now, (run.seen - before) / (now - started)
            run.stats.write(
                images=run.seen, epoch=run.seen / len(run.data), seconds=run.stats.seconds, images_per_s=rate
            )
        if due(options.sample_images):
            sample = _Sample(write_samples(run), time.monotonic())
        if due(options.checkpoint_images) or now - last_save > 60 * options.checkpoint_minutes:
            save(run)
            last_save, saved_at = now, run.seen
        try:
            values = _shown(run, figures, before, started) | sample.shown()
            report(progress, min(run.seen, run.total), run.total, "Training", **values)
        except Cancelled:
            if saved_at != run.seen:
                save(run)
            raise


def one_step(trainer: Trainer, ema: AveragedNetwork, batch: Batch, bfloat16: bool) -> dict[str, float]:
    """Train on one batch and take the generator into its average; returns the figures of the step.

    Raises:
        FloatingPointError: a loss is not finite; nothing was updated from it.
    """
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=False):
        figures = trainer.step(batch)
    size = len(batch.images)
    ema.update(trainer.networks["generator"], batch.first + size, size)
    return figures


def write_samples(run: Run) -> Path:
    """Draw the same latents with the averaged generator as a picture in ``samples``."""
    _settle(run)
    hu = run.data.window.to_hu(_draw(run, run.ema.network, range(SHEET_IMAGES)))
    window = run.data.window
    sheet = contact_sheet(hu, window_hu=(window.minimum_hu, window.maximum_hu))
    return write_png(run.folder / "samples" / f"{run.seen:010d}.png", sheet)


def save(run: Run) -> None:
    """Write a checkpoint, and the averaged generator as the run's model."""
    _settle(run)
    images = np.concatenate([_draw(run, run.ema.network, part) for part in _parts(run, run.options.snapshot_images)])
    real = run.data.window.to_unit(run.data.reference(run.options.snapshot_images))
    score = pixel_kernel_distance(images, real) if np.isfinite(images).all() else _NO_SCORE
    values, tensors = collect_state(run)
    save_checkpoint(run.folder / "checkpoints", run.seen, values, tensors, score)
    networks = {"generator": run.ema.network, "discriminator": run.trainer.networks.get("discriminator")}
    save_model(run.folder / "model", Model(_card(run, score), **networks))


def collect_state(run: Run) -> tuple[dict, Tensors]:
    """Everything that resuming needs, as plain values and named tensors."""
    values, own = run.trainer.state()
    tensors = {f"trainer/{name}": value for name, value in own.items()}
    tensors |= {f"average/{name}": value for name, value in run.ema.network.state_dict().items()}
    for name, network in run.trainer.networks.items():
        tensors |= {f"{name}/weights/{key}": value for key, value in network.state_dict().items()}
    for name, optimizer in run.trainer.optimizers.items():
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}/optimizer/{number}/{key}": value for key, value in state.items()}
    return {"trainer": values}, tensors


def restore_state(run: Run, values: dict, tensors: Tensors) -> None:
    """Take back what ``collect_state`` gave."""
    run.ema.network.load_state_dict(_below(tensors, "average/"))
    for name, network in run.trainer.networks.items():
        network.load_state_dict(_below(tensors, f"{name}/weights/"))
    for name, optimizer in run.trainer.optimizers.items():
        states: dict[int, Tensors] = {}
        for key, value in _below(tensors, f"{name}/optimizer/").items():
            number, _, what = key.partition("/")
            states.setdefault(int(number), {})[what] = value
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    own = {key: value.to(run.device) for key, value in _below(tensors, "trainer/").items()}
    run.trainer.load_state(values["trainer"], own)


def _next_batch(run: Run) -> Batch:
    images = torch.from_numpy(run.data.batch(run.seen, run.options.batch_size)).to(run.device)
    done = min(run.seen / run.total, 1.0)
    condition = None
    if run.data.conditions:
        condition = torch.from_numpy(run.data.condition(run.seen, run.options.batch_size)).to(run.device)
    return Batch(images, condition, run.options.seed, run.seen, run.seen / len(run.data), done)


def _draw(run: Run, network: nn.Module, indices: range, stream: int = SAMPLE) -> np.ndarray:
    family, seed = run.options.known_family, run.options.seed
    condition = torch.from_numpy(run.data.drawn_condition(seed, indices)) if run.data.conditions else None
    with torch.no_grad():
        images = family.sample(network, run.options.network_options, seed, indices, condition, stream)
    return images[:, 0].float().cpu().numpy()


def _settle(run: Run) -> None:
    size = min(run.options.batch_size, run.options.snapshot_images)
    run.ema.settle(lambda net, part: _draw(run, net, part, CALIBRATION), run.options.snapshot_images, size)


def _parts(run: Run, images: int) -> list[range]:
    size = run.options.batch_size
    return [range(start, min(start + size, images)) for start in range(0, images, size)]


def _card(run: Run, score: float) -> ModelCard:
    phantom = run.data.card["kinds"] == ["phantom"]
    facts = {}
    if phantom:
        facts["limits"] = (
            "Trained on parametric phantoms only: no patient was involved. For trying out and pre-training."
        )
        facts["licence"] = "That of SkullGANLib."
    return ModelCard(
        family=run.options.family,
        network=run.options.network_options.model_dump(mode="json"),
        window=run.data.window,
        spacing_mm=run.data.spacing_mm,
        background_hu=run.data.background_hu,
        bone_floor_hu=run.data.bone_floor_hu,
        conditions=run.data.conditions,
        training=run.data.card,
        images_seen=run.seen,
        seed=run.options.seed,
        metrics={"pixel_kernel_distance": score},
        **facts,
    )


def _shown(run: Run, figures: dict[str, float], before: int, started: float) -> dict[str, float | str]:
    rate = (run.seen - before) / max(time.monotonic() - started, 1e-9)
    remaining_s = math.ceil(max(run.total - run.seen, 0) / rate)
    losses = {name: round(value, 3) for name, value in figures.items() if name.startswith("loss")}
    return {**losses, "images_per_second": round(rate, 1), "remaining_s": remaining_s}


def _diverged(run: Run, error: FloatingPointError) -> InputError:
    networks = run.trainer.networks.values()
    if all(torch.isfinite(value).all() for network in networks for value in network.state_dict().values()):
        save(run)
    return InputError(
        f"Training has diverged after {run.seen} images: {error}.",
        "Start a new run with a lower recipe.learning_rate or precision=float32; this one's last good state is saved.",
    )


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
