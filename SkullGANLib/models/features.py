"""Feature networks of one's own for the discriminator of the family ``style``, kept in files of ``torch.export``.

Such a file holds a network's graph and weights; the code that it was made with is not needed to use it.
"""

from __future__ import annotations

import copy
import io
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram, export, load, save
from torch.export.passes import move_to_device_pass

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.files import replace_file

SUFFIX = ".pt2"
_PIXELS = 64  # of the images that networks are tried with
_ADVICE = "Make one with SkullGANLib.models.features.save_features."


def save_features(network: nn.Module, path: str | Path) -> Path:
    """Keep a network for ``train --features PATH``.

    Args:
        network: takes (n, 1, H, W) images in [-1, 1], any number of any size from 64 x 64 pixels on, and gives two or
            more maps (n, channels, h, w), each coarser than the one before. One that has learnt from colour images
            repeats the channel by itself. It is kept in eval mode and stays as it is.
        path: file to write; its name gets the ending ``.pt2``.

    Returns:
        The file.

    Raises:
        InputError: ``torch.export`` cannot record the network, or it gives something else.
        ResourceError: the disk is full.
    """
    frozen = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    any_size = ({0: Dim.DYNAMIC, 2: Dim.AUTO, 3: Dim.AUTO},)
    try:
        program = export(frozen, (torch.zeros(2, 1, _PIXELS, _PIXELS),), dynamic_shapes=any_size)
    except Exception as error:  # whatever the network's own code may raise
        said = str(error).strip().splitlines()
        raise InputError(
            f"torch.export cannot record the network ({said[0] if said else type(error).__name__}).",
            "It is called with (n, 1, H, W) images; torch's documentation tells what can be recorded.",
        ) from error
    content = io.BytesIO()
    save(program, content)
    read_features(content.getvalue(), "The network")
    path = Path(path).with_suffix(SUFFIX)
    with replace_file(path) as temporary:
        temporary.write_bytes(content.getvalue())
    return path


def read_features(content: bytes, what: str) -> tuple[ExportedProgram, tuple[tuple[int, int], ...]]:
    """A recorded network, with channels and stride of each of its maps.

    Args:
        content: of a file that ``save_features`` wrote. Torch unpickles it, so that it can run any program: take only
            files of people whom you trust.
        what: names it in errors.

    Raises:
        FormatError: it is no recorded network, or of another version of torch.
        InputError: the network gives no such maps.
    """
    try:
        if not zipfile.is_zipfile(io.BytesIO(content)):  # torch would write pages of its own about it
            raise ValueError("it is no archive")
        with torch.device("cpu"), torch.no_grad():
            program = load(io.BytesIO(content))
            maps = program.module()(torch.zeros(2, 1, _PIXELS, _PIXELS))
    except Exception as error:  # torch raises errors of every kind
        raise FormatError(f"{what} holds no network that torch {torch.__version__} can use.", _ADVICE) from error
    maps = list(maps) if isinstance(maps, list | tuple) else [maps]
    sizes = [each.shape[2] if isinstance(each, torch.Tensor) and each.ndim == 4 else 0 for each in maps]
    if len(maps) < 2 or min(sizes) < 1 or any(fine <= coarse for fine, coarse in pairwise(sizes)):
        raise InputError(
            f"{what} gives no maps (n, channels, h, w), two or more, each coarser than the one before.",
            "A feature network returns a list of them.",
        )
    return program, tuple((each.shape[1], round(_PIXELS / size)) for each, size in zip(maps, sizes, strict=True))


class RecordedFeatures(nn.Module):
    """A recorded network, frozen. It has no state: models are kept without it, since reading it runs what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self._program: ExportedProgram | None = None
        self._used: tuple[torch.device, Any] | None = None

    def give(self, content: bytes) -> None:
        """Use the network of a file that ``save_features`` wrote; see ``read_features``."""
        self._program, self._used = read_features(content, "The file")[0], None

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(n, 1, H, W) in [-1, 1] to the maps, fine to coarse.

        Raises:
            InputError: no network was given.
        """
        if self._program is None:
            raise InputError(
                "The model's discriminator looks through a feature network that was handed in and is not kept with it.",
                "Do without the discriminator; in training, give the network with --features.",
            )
        if self._used is None or self._used[0] != images.device:
            moved = move_to_device_pass(self._program, images.device)
            self._used = images.device, moved.module().requires_grad_(False)
        return list(self._used[1](images))
