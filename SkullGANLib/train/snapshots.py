"""What a run writes down: pictures, checkpoints with all it takes to resume, and its best snapshot as the model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from SkullGANLib.errors import FormatError
from SkullGANLib.evaluate.kernel import kernel_distance, layout_and_texture
from SkullGANLib.models.card import ModelCard, load_card
from SkullGANLib.models.draws import CALIBRATION, SAMPLE
from SkullGANLib.models.folder import Model, save_model
from SkullGANLib.models.parallel import rank, wait
from SkullGANLib.models.window import exported_hu
from SkullGANLib.segments.sheet import contact_sheet, write_png
from SkullGANLib.train import pair_pictures
from SkullGANLib.train.checkpoints import (
    Tensors,
    below,
    best_checkpoint,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from SkullGANLib.train.loop import Run

SHEET_IMAGES = 32
_NO_SCORE = 1e30  # of a snapshot that was not judged, or whose images are not finite; JSON has no infinity


def write_samples(run: Run) -> Path:
    """Draw the same latents with the averaged generator as a picture in ``samples``."""
    _settle(run)
    path = run.folder / "samples" / f"{run.seen:010d}.png"
    window = run.data.window
    if rank() == 0 and run.data.paired:
        real = run.data.reference(pair_pictures.SHOWN)
        labels = run.data.drawn_condition(run.options.seed, range(len(real)))
        hu = _blanked(run, _exported(run, _draw(run, run.ema.network, range(len(real)))), range(len(real)))
        middle, shown = labels.shape[1] // 2, (window.minimum_hu, window.maximum_hu)
        pair_pictures.write_pairs(path.parent, run.seen, labels[:, middle], hu, real, shown)
    elif rank() == 0:
        hu = _exported(run, _draw(run, run.ema.network, range(SHEET_IMAGES)))
        write_png(path, contact_sheet(hu, window_hu=(window.minimum_hu, window.maximum_hu)))
    return path


def save(run: Run, *, scored: bool) -> None:
    """Write a checkpoint, and where it is the best so far, its averaged generator as the run's model.

    Args:
        run: to be saved.
        scored: judge the snapshot by its kernel distance to held-out subjects. Only snapshots at set intervals are, so
            that a run that was stopped in between ends as one that was not.
    """
    _settle(run)
    values, tensors = collect_state(run)
    if rank() == 0:
        score = _score(run) if scored else _NO_SCORE
        saved = save_checkpoint(run.folder / "checkpoints", run.seen, values, tensors, score)
        if best_checkpoint(run.folder / "checkpoints") == saved:
            _write_model(run, run.seen, score, run.ema.network, run.trainer.networks.get("discriminator"))
    wait()


def mend_model(run: Run) -> None:
    """Make the model that of the best checkpoint, where a run was killed between writing the one and the other."""
    best = best_checkpoint(run.folder / "checkpoints")
    if rank() or best is None or _model_images(run.folder) == int(best.name):
        return
    state, tensors = load_checkpoint(best)
    networks = {"generator": run.ema.network, "discriminator": run.trainer.networks.get("discriminator")}
    prefixes = {"generator": "average/", "discriminator": "discriminator/weights/"}
    copies = {}
    for name, network in networks.items():
        if network is not None:
            copies[name] = getattr(run.options.known_family, f"build_{name}")(run.options.network_options)
            copies[name].load_state_dict(below(tensors, prefixes[name]))
    _write_model(run, state["images"], state["score"], copies["generator"], copies.get("discriminator"))


def collect_state(run: Run) -> tuple[dict, Tensors]:
    """Everything that resuming needs, as plain values and named tensors."""
    values, own = run.trainer.state()
    tensors = {f"trainer/{name}": value for name, value in own.items()}
    tensors |= {f"average/{name}": value for name, value in run.ema.network.state_dict().items()}
    for name, network in run.trainer.networks.items():
        tensors |= {f"{name}/weights/{key}": value for key, value in network.state_dict().items()}
    for name, optimizer in run.trainer.optimizers.items():
        tensors |= optimizer_tensors(name, optimizer)
    return {"trainer": values, "augment": run.augment.state()}, tensors


def restore_state(run: Run, values: dict, tensors: Tensors) -> None:
    """Take back what ``collect_state`` gave."""
    run.ema.network.load_state_dict(below(tensors, "average/"))
    for name, network in run.trainer.networks.items():
        network.load_state_dict(below(tensors, f"{name}/weights/"))
    for name, optimizer in run.trainer.optimizers.items():
        restore_optimizer(name, optimizer, tensors)
    own = {key: value.to(run.device) for key, value in below(tensors, "trainer/").items()}
    run.trainer.load_state(values["trainer"], own)
    run.augment.load_state(values["augment"])


def _draw(run: Run, network: nn.Module, indices: range, stream: int = SAMPLE) -> torch.Tensor:
    family, seed = run.options.known_family, run.options.seed
    condition = torch.from_numpy(run.data.drawn_condition(seed, indices)) if run.data.conditioned else None
    with torch.no_grad(), torch.autocast(run.device.type, torch.bfloat16, enabled=run.bfloat16):
        return family.sample(network, run.options.network_options, seed, indices, condition, stream)


def _exported(run: Run, images: torch.Tensor) -> np.ndarray:
    data = run.data
    return exported_hu(images, data.window, data.background_hu, data.bone_floor_hu, one_piece=data.one_piece)


def _blanked(run: Run, hu: np.ndarray, indices: range) -> np.ndarray:
    """As the model will draw: the background where nothing has a label, if all training data are so."""
    if run.data.card.get("blank_background"):
        labels = run.data.drawn_condition(run.options.seed, indices)
        hu[labels[:, labels.shape[1] // 2] == 0] = run.data.background_hu
    return hu


def _settle(run: Run) -> None:
    size = min(run.options.batch_size, run.options.snapshot_images)
    run.ema.settle(lambda net, part: _draw(run, net, part, CALIBRATION), run.options.snapshot_images, size)


def _score(run: Run) -> float:
    size, n = run.options.batch_size, run.options.snapshot_images
    parts = [range(start, min(start + size, n)) for start in range(0, n, size)]
    drawn = np.concatenate([_blanked(run, _exported(run, _draw(run, run.ema.network, p)), p) for p in parts])
    if not np.isfinite(drawn).all():
        return _NO_SCORE
    real = run.data.reference(n)
    score = kernel_distance(*(layout_and_texture(run.data.window.to_unit(hu)) for hu in (drawn, real)))
    run.stats.add({"kernel_distance": score})
    if run.data.paired:
        run.stats.add({"mae_hu": float(np.abs(drawn[: len(real)] - real).mean())})
    return score


def _write_model(run: Run, images: int, score: float, generator: nn.Module, discriminator: nn.Module | None) -> None:
    save_model(run.folder / "model", Model(_card(run, images, score), generator, discriminator))


def _model_images(folder: Path) -> int:
    try:
        return load_card(folder / "model").images_seen
    except FormatError:
        return -1


def _card(run: Run, images: int, score: float) -> ModelCard:
    facts = {}
    if run.data.card["kinds"] == ["phantom"]:
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
        one_piece=run.data.one_piece,
        conditions=run.data.conditions,
        condition_mean=run.data.condition_mean,
        condition_covariance=run.data.condition_covariance,
        training=run.data.card,
        images_seen=images,
        seed=run.options.seed,
        metrics={"kernel_distance": score} if score < _NO_SCORE and math.isfinite(score) else {},
        **facts,
    )
