"""What the discriminator of a model takes for real."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import numpy as np
import torch

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.registry import Judge
from SkullGANLib.models.device import resolve_device
from SkullGANLib.models.folder import load_model, shipped_model
from SkullGANLib.models.registry import get_family

_BATCH = 128
_CACHED_BATCH = 16  # whose maps a processor keeps at hand, where the batch changes no result


def discriminator_of(path: str | Path, device: str = "auto") -> Judge:
    """The discriminator of a model as a judge of segments: in eval mode and, with BatchNorm, as in training.

    Args:
        path: model folder, run, or the name of a shipped model.
        device: as for generating.

    Returns:
        Its ``realness`` raises InputError for segments of another size than the model's.

    Raises:
        InputError: the model comes without a discriminator.
        FormatError: no model, or a damaged one.
    """
    model = load_model(shipped_model(path), discriminator=True)
    if model.family.masks:
        raise InputError(
            "The model's discriminator judges images together with their label maps, not alone.",
            "Leave --model out, or compare with label maps: evaluate --labels.",
        )
    if model.discriminator is None:
        raise InputError(f"The model {path} comes without its discriminator.", "Give the run it was trained in.")
    family, where = get_family(model.card.family), resolve_device(device)
    trained_on = tuple(model.card.training.get("data_sets", ()))
    discriminator, size = model.discriminator.to(where).eval(), family.network(**model.card.network).size
    if where.type != "mps":
        discriminator = discriminator.to(memory_format=torch.channels_last)  # twice as fast
    normalised = any(isinstance(module, torch.nn.BatchNorm2d) for module in discriminator.modules())
    batch = _BATCH if normalised or where.type != "cpu" else _CACHED_BATCH

    @torch.inference_mode()
    def judged(hu: np.ndarray, network: torch.nn.Module) -> np.ndarray:
        if hu.shape[1:] != (size, size):
            raise InputError(
                f"The model judges segments of {size}x{size} pixels, these have {'x'.join(map(str, hu.shape[1:]))}.",
                "Leave --model out, or give a model of that size.",
            )
        found, batches = np.empty(len(hu)), -(-len(hu) // batch)
        for first in range(batches):  # neighbours are of one head: each batch takes from all over the set
            part = slice(first, None, batches)
            images = torch.from_numpy(np.ascontiguousarray(hu[part], np.float32)).to(where)
            unit = model.window.to_unit(images[:, None]).clamp(-1, 1)
            found[part] = family.realness(network, unit).double().cpu().numpy()
        return found

    if not normalised:
        return Judge(partial(judged, network=discriminator), family.absolute, None, model.hash, trained_on)
    in_training = copy.deepcopy(discriminator).train()  # a copy, since its running statistics change
    batchwise = partial(judged, network=in_training)
    return Judge(partial(judged, network=discriminator), family.absolute, batchwise, model.hash, trained_on)
