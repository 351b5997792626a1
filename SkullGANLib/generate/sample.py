"""Draw segments from a model: image i of a seed is the same one on every device and for every batch size."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from SkullGANLib.errors import InputError, ResourceError
from SkullGANLib.models.conditions import columns, condition_values, encode
from SkullGANLib.models.device import free_memory, memory_advice, resolve_device, uses_bfloat16
from SkullGANLib.models.folder import Model
from SkullGANLib.models.parallel import gather, local_device, process_group, rank, share, world
from SkullGANLib.models.window import exported_hu
from SkullGANLib.progress import Progress, report

_MEMORY_SHARE = 0.5  # of what is free
_LARGEST_BATCH = {"cpu": 16, "cuda": 256, "mps": 64}  # larger ones bring no speed


def generate_together(
    model: Model,
    n: int,
    *,
    first: int = 0,
    condition: np.ndarray | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> np.ndarray | None:
    """As ``generate_segments``, each of the processes that ``torchrun`` has started drawing its part.

    Returns:
        The same (n, size, size) as one process draws, in the first process; None in the others.
    """
    with process_group():
        if options.get("batch_statistics") and world() > 1:
            raise InputError("Batch statistics need the whole batch in one process.", "Draw without torchrun.")
        part = share(n)
        mine = None if condition is None else condition[part.start : part.stop]
        size = model.network.size
        hu = np.empty((0, size, size), np.float32)
        if len(part):
            report_to = None if rank() else progress
            hu = generate_segments(
                model, len(part), first=first + part.start, condition=mine, progress=report_to, **options
            )
        return gather(hu, n)


def generate_segments(
    model: Model,
    n: int,
    seed: int = 0,
    batch_size: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    *,
    first: int = 0,
    condition: np.ndarray | None = None,
    batch_statistics: bool = False,
    precision: str = "auto",
    bone_floor_hu: float | None = None,
) -> np.ndarray:
    """Synthetic segments in HU, clamped to the model's intensity window, background exactly as in the training data.

    Args:
        model: from ``load_model``.
        n: how many.
        seed: of the latents; the same seed gives the same images.
        batch_size: images drawn at once; as memory allows if not given.
        device: auto, cpu, cuda, cuda:N or mps.
        progress: told the images drawn.
        first: number of the first image; 0 to n - 1 and n to 2n - 1 are two halves of one set.
        condition: (n, k) what each image is asked to be, from ``conditions.encode``; if not given, a model with
            conditions is asked for what the training set held.
        batch_statistics: the released code's behaviour: BatchNorm uses each batch's own statistics, so that an image
            depends on the others in its batch.
        precision: float32, bfloat16, or auto: bfloat16 where the device has units for it, several times as fast and a
            few HU away from float32, unless ``batch_statistics``.
        bone_floor_hu: pixels less than this above the background become background; the card's if not given, and with 0
            every pixel stays.

    Returns:
        (n, size, size) float32 HU.

    Raises:
        InputError: an impossible number, or conditions that are not the model's.
        ResourceError: not enough memory.
    """
    if model.family.masks:
        raise InputError("The model draws CT from label maps.", "Give some: --labels DATASET, or volume from-labels.")
    if n < 1 or first < 0 or seed < 0 or (batch_size is not None and batch_size < 1):
        raise InputError("Numbers of images and seeds count from 0, and at least one image is needed.", "Correct them.")
    if batch_statistics and precision == "bfloat16":
        raise InputError("Batch statistics are computed in float32.", "Leave one of the two options out.")
    check_count(model, n)
    condition = _checked(condition, model, n, seed, first)
    where, network = local_device(resolve_device(device)), model.network
    size = min(batch_size or fitting_batch(model, where), n)
    floor_hu = model.card.bone_floor_hu if bone_floor_hu is None else bone_floor_hu
    hu = np.empty((n, network.size, network.size), np.float32)
    bfloat16 = uses_bfloat16(precision, where)
    with memory_advice(f"Use a smaller --batch-size than {size}."), torch.no_grad():
        generator = model.generator.to(where).eval()
        if batch_statistics:  # a copy, since the running statistics change in train mode
            generator = copy.deepcopy(generator).train()
        else:
            generator = model.family.for_drawing(generator, network, bfloat16)
        for start in range(0, n, size):
            report(progress, start, n, "Generating")
            part = slice(start, min(start + size, n))
            asked = None if condition is None else torch.as_tensor(condition[part], device=where)
            indices = range(first + part.start, first + part.stop)
            images = model.family.sample(generator, network, seed, indices, asked)
            hu[part] = exported_hu(
                images, model.window, model.card.background_hu, floor_hu, one_piece=model.card.one_piece
            )
    report(progress, n, n, "Generating")
    return hu


def check_count(model: Model, n: int) -> None:
    """Refuse more segments than memory can hold, before any is drawn.

    Raises:
        ResourceError: there are too many.
    """
    if 4 * n * model.network.size**2 > free_memory(torch.device("cpu")):
        raise ResourceError(f"{n} images do not fit into memory.", "Draw them in parts, with --first.")


def _checked(condition: np.ndarray | None, model: Model, n: int, seed: int, first: int) -> np.ndarray | None:
    wanted = columns(model.card.conditions)
    if condition is None:
        values = condition_values(model.card, {}, n, seed=seed, first=first)
        return encode(model.card.conditions, values) if wanted else None
    if not wanted:
        raise InputError(f"This model, of the family {model.card.family}, takes no conditions.", "Leave them out.")
    if np.shape(condition) != (n, wanted):
        raise InputError(
            f"The conditions have the shape {np.shape(condition)}, {n} images need ({n}, {wanted}).",
            "Make them with generate.conditions.",
        )
    return np.asarray(condition, np.float32)


def fitting_batch(model: Model, device: torch.device) -> int:
    """The batch size that about half of the free memory holds, between 1 and where larger ones bring no speed."""
    need = [model.family.memory(model.network, batch, training=False) for batch in (1, 2)]
    images = int((_MEMORY_SHARE * free_memory(device) - need[0]) / (need[1] - need[0])) + 1
    return max(1, min(images, _LARGEST_BATCH[device.type]))
