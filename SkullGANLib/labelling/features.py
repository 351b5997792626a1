"""What a generator computes on its way to an image: one vector of features for each pixel, the same for every call.

The maps are taken where the family names them (``Family.feature_maps``) and belong to the image to the bit: they come
from the very pass that draws it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from SkullGANLib.errors import InputError, ResourceError
from SkullGANLib.generate.sample import fitting_batch
from SkullGANLib.models.conditions import columns
from SkullGANLib.models.device import free_memory, memory_advice, resolve_device
from SkullGANLib.models.folder import Model
from SkullGANLib.models.window import exported_hu
from SkullGANLib.progress import Progress, report

_MEMORY_SHARE = 0.25  # of what is free: batches and all of them lie there at once for a while
_PIXELS_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Features:
    """Images and how they came about.

    Attributes:
        hu: (n, size, size) float32 HU, as ``generate.sample.generate_segments`` draws them.
        maps: (n, channels, h, w) float32 each, coarse to fine; the last is ``hu`` itself in [-1, 1], since that is what
            is painted, and the features of a generator that ends in patches are coarser than its pixels.
        condition: (n, k) float32 that they were asked for; k is 0 for a model without conditions.
    """

    hu: np.ndarray
    maps: tuple[torch.Tensor, ...]
    condition: torch.Tensor

    def __len__(self) -> int:
        return len(self.hu)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Channels and side of each map."""
        return tuple((each.shape[1], each.shape[2]) for each in self.maps)

    def take(self, rows: np.ndarray, device: torch.device | None = None) -> Features:
        """Some of the images, on ``device``, or where they are."""
        maps = tuple(each[rows].to(device or each.device) for each in self.maps)
        return Features(self.hu[rows], maps, self.condition[rows].to(maps[0].device))


def require_latents(model: Model) -> None:
    """Refuse a model whose images are not drawn from random numbers alone.

    Raises:
        InputError: it draws volumes, or images of label maps.
    """
    family = model.card.family
    if model.family.volumes:
        raise InputError(
            f"Models of the family {family} draw volumes.", "Choose one that draws images, such as relativistic."
        )
    if model.family.masks:
        raise InputError(
            f"Models of the family {family} draw from label maps: their images are labelled already.",
            "Use skullgan generate --labels, or choose a model that draws from random numbers, such as relativistic.",
        )


def draw_features(
    model: Model,
    numbers: Sequence[int],
    *,
    seed: int,
    condition: np.ndarray | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Features:
    """Images of a seed with their feature maps, all in memory at once, on the CPU.

    Args:
        model: of a family that draws images from latents.
        numbers: of the images.
        seed: of the latents.
        condition: (n, k) from ``models.conditions.encode``, for a model with conditions.
        device: auto, cpu, cuda, cuda:N or mps.
        batch_size: images drawn at once; as memory allows if not given.
        progress: told the images drawn.

    Raises:
        InputError: a model of another sort, no number, or conditions that are not the model's.
        ResourceError: not enough memory.
    """
    parts = list(
        feature_batches(
            model,
            numbers,
            seed=seed,
            condition=condition,
            device=device,
            batch_size=batch_size,
            keep=True,
            progress=progress,
        )
    )
    return Features(
        np.concatenate([part.hu for part in parts]),
        tuple(torch.cat(maps) for maps in zip(*(part.maps for part in parts), strict=True)),
        torch.cat([part.condition for part in parts]),
    )


def feature_batches(
    model: Model,
    numbers: Sequence[int],
    *,
    seed: int,
    condition: np.ndarray | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    keep: bool = False,
    progress: Progress | None = None,
) -> Iterator[Features]:
    """As ``draw_features``, some images at a time, their maps on the device they were drawn on.

    Args:
        keep: bring the maps to the CPU, and refuse more of them than half of its free memory holds.
    """
    require_latents(model)
    numbers = [int(number) for number in numbers]
    if not numbers or min(numbers) < 0 or seed < 0:
        raise InputError("Numbers of images and seeds count from 0, and at least one image is needed.", "Correct them.")
    wanted = columns(model.card.conditions)
    condition = np.zeros((len(numbers), 0), np.float32) if condition is None else np.asarray(condition, np.float32)
    if condition.shape != (len(numbers), wanted):
        raise InputError(
            f"The conditions have the shape {condition.shape}, {len(numbers)} images need {(len(numbers), wanted)}.",
            "Make them with models.conditions.encode.",
        )
    where = resolve_device(device)
    most = max(1, _PIXELS_AT_ONCE // model.network.size**2)
    size = min(batch_size or min(fitting_batch(model, where), most), len(numbers))
    with memory_advice("Draw on the processor (--device cpu)."):
        generator = model.family.for_drawing(model.generator.to(where).eval(), model.network, False)
    for start in range(0, len(numbers), size):
        report(progress, start, len(numbers), "Drawing images")
        part = slice(start, start + size)
        with memory_advice(f"Draw fewer than {size} images at once, or on the processor (--device cpu)."):
            found = _draw(model, generator, numbers[part], seed, torch.as_tensor(condition[part], device=where))
        if keep:
            if start == 0:
                _require_room(found.maps, len(numbers))
            found = found.take(np.arange(len(found)), torch.device("cpu"))
        yield found
    report(progress, len(numbers), len(numbers), "Drawing images")


@torch.no_grad()
def _draw(
    model: Model, generator: torch.nn.Module, numbers: Sequence[int], seed: int, condition: torch.Tensor
) -> Features:
    card, names = model.card, model.family.feature_maps(model.network)
    found: dict[str, torch.Tensor] = {}
    hooks = [generator.get_submodule(name).register_forward_hook(_keeps(found, name)) for name in names]
    try:
        images = model.family.sample(generator, model.network, seed, numbers, condition if condition.shape[1] else None)
    finally:
        for hook in hooks:
            hook.remove()
    hu = exported_hu(images, card.window, card.background_hu, card.bone_floor_hu, one_piece=card.one_piece)
    shown = torch.from_numpy(card.window.to_unit(hu))[:, None].to(images.device)
    return Features(hu, (*(found[name].float() for name in names), shown), condition)


def _keeps(found: dict[str, torch.Tensor], name: str):
    def hook(module: torch.nn.Module, given: object, output: torch.Tensor) -> None:
        found[name] = output

    return hook


def _require_room(maps: Sequence[torch.Tensor], count: int) -> None:
    needed = sum(each[0].numel() * each.element_size() for each in maps) * count
    if needed > _MEMORY_SHARE * free_memory(torch.device("cpu")):
        raise ResourceError(
            f"The feature maps of {count} images take {needed / 2**30:.1f} GiB, more than there is room for.",
            "Give fewer images.",
        )
