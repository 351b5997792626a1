"""How a training fits the machine: the batch that memory holds, where networks lie, what is compiled."""

from __future__ import annotations

import importlib.util
import math

import torch
from torch import nn

from SkullGANLib.errors import InputError
from SkullGANLib.files import read_document
from SkullGANLib.models.device import free_memory, uses_bfloat16
from SkullGANLib.models.parallel import first_says, world
from SkullGANLib.models.registry import Trainer
from SkullGANLib.train.data import training_size
from SkullGANLib.train.folder import FORMAT, OPTIONS_FILE, VERSION
from SkullGANLib.train.options import TrainOptions

LARGEST_AUTOMATIC = 64  # batch; that of the paper
_MEMORY_SHARE = 0.8  # of what is free, that an automatic batch may take
_REPAID_IMAGES = 200_000  # a shorter training ends before compiling has repaid itself


def with_batch(options: TrainOptions, device: torch.device) -> TrainOptions:
    """The options with a number for the batch size ``auto``: that with which the run in the folder was started, else
    the largest power of two for each process, ``LARGEST_AUTOMATIC`` over all, that the data fill and memory holds.
    """
    if options.batch_size != "auto":
        return options
    path = None if options.out is None else options.out / OPTIONS_FILE
    if path is not None and path.exists():
        size = read_document(path, format=FORMAT, version=VERSION, what="run")["options"]["batch_size"]
        return options.model_copy(update={"batch_size": first_says(int(size))[0]})
    segments = training_size(options.data, options.hold_out, options.seed) if options.data else LARGEST_AUTOMATIC
    family, network = options.known_family, options.network_options
    free, bfloat16 = _MEMORY_SHARE * free_memory(device), uses_bfloat16(options.precision, device)

    def fits(size: int) -> bool:
        return size <= segments and family.memory(network, size // world(), training=True, bfloat16=bfloat16) <= free

    size = world() * 2 ** int(math.log2(max(LARGEST_AUTOMATIC // world(), 1)))
    while size > 2 * world() and not fits(size):
        size //= 2
    (size,) = first_says(size)  # each process finds other memory free
    return options.model_copy(update={"batch_size": size})


def check_batch(options: TrainOptions, segments: int) -> None:
    """Refuse a training set that is smaller than one batch.

    Raises:
        InputError: it is.
    """
    if options.batch_size % world():
        raise InputError(
            f"The batch of {options.batch_size} does not divide among {world()} processes.",
            f"Use --batch-size {max(options.batch_size // world(), 2) * world()}.",
        )
    if options.batch_size > segments:
        raise InputError(
            f"The batch of {options.batch_size} is larger than the training set of {segments} segments.",
            f"Use --batch-size {max(2, 2 ** (segments.bit_length() - 1))} or less, or more data.",
        )


def compile_networks(trainer: Trainer, options: TrainOptions, device: torch.device, images: int) -> None:
    """Have torch compile the networks that can be, where that is asked for or repays itself."""
    replayed = trainer.recorded and world() == 1
    repaid = device.type == "cuda" and images >= _REPAID_IMAGES and not replayed
    if options.compile == "off" or (options.compile == "auto" and not repaid):
        return
    if options.compile == "auto" and importlib.util.find_spec("triton") is None:
        return
    for name in trainer.compilable:
        trainer.networks[name].compile()


def set_determinism(deterministic: bool) -> None:
    """Make torch repeat itself bit by bit, or let it look for what is fastest."""
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not deterministic


def placed(network: nn.Module, options: TrainOptions, device: torch.device) -> nn.Module:
    """The network on its device, in train mode and in the memory order asked for."""
    last = options.channels_last == "on" or (options.channels_last == "auto" and device.type != "mps")
    return network.to(device, memory_format=torch.channels_last if last else torch.contiguous_format).train()
