"""The authors' released weights, and others saved by their code: plain state dictionaries in ``.pth`` files."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from itertools import count, takewhile
from pathlib import Path

import torch

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.files import sha256_of
from SkullGANLib.models.card import ModelCard
from SkullGANLib.models.folder import GENERATOR_FILE, Model
from SkullGANLib.models.skullgan import FAMILY, SkullGANNetwork
from SkullGANLib.models.window import AUTHORS_WINDOW, IntensityWindow

AUTHORS_FILES = ("netG_SkullGAN.pth", "Generator.pth")
_PARTNERS = (("netG", "netD"), ("Generator", "Discriminator"))


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dictionary without running anything in the file; ``module.`` is stripped as a prefix only.

    Raises:
        FormatError: no such file, damaged, or one that holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"There is no file {path}.", "Check the path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise FormatError(
            f"{path.name} is damaged or holds more than tensors, so it is not opened.",
            "Save it again as a plain state dictionary: torch.save(network.state_dict(), path).",
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise FormatError(f"{path.name} is not a state dictionary.", "Save network.state_dict(), not the network.")
    return {name.removeprefix("module."): value for name, value in content.items()}


def load_released(path: str | Path, *, window_hu: tuple[float, float] | None = None) -> Model:
    """A model from the released generator file; the discriminator beside it is taken along where its name tells.

    Args:
        path: ``netG_SkullGAN.pth``, ``Generator.pth`` or another state dictionary of the same network at any width.
        window_hu: minimum and maximum HU of the training data, which these files do not hold. Known for the authors'
            file names: 0 and 2734.53.

    Raises:
        FormatError: not a SkullGAN generator.
        InputError: the window is not known.
    """
    path = Path(path)
    window = _window(path, window_hu)
    weights = read_state_dict(path)
    other = next((path.with_name(path.name.replace(g, d)) for g, d in _PARTNERS if g in path.name), None)
    judge = read_state_dict(other) if other is not None and other != path and other.is_file() else None
    network = network_from_shapes(weights, judge)
    generator = _filled(FAMILY.build_generator, network, weights, path)
    discriminator = None if judge is None else _filled(FAMILY.build_discriminator, network, judge, other)
    card = ModelCard(
        family=FAMILY.name,
        network=network.model_dump(mode="json"),
        window=window,
        training={"source": path.name},
        licence="As its authors state.",
        sha256={GENERATOR_FILE: sha256_of(path)},
    )
    return Model(card, generator, discriminator)


def network_from_shapes(
    generator: Mapping[str, torch.Tensor], discriminator: Mapping[str, torch.Tensor] | None = None
) -> SkullGANNetwork:
    """Latent length and widths as the shapes of the weights tell them.

    Raises:
        FormatError: the names or shapes are not SkullGAN's.
    """
    try:
        stages = list(takewhile(lambda k: f"main{k}.0.weight" in generator, count(1)))
        widths = tuple(generator[f"main{k}.0.weight"].shape[1] for k in stages)
        tail = tuple(generator[f"conv{k}.weight"].shape[0] for k in (1, 2, 3))
        judge = tuple(64 * 2**k for k in range(len(widths) - 1))
        if discriminator is not None:
            judge = tuple(discriminator[f"main.{n}.weight"].shape[0] for n in (0, *range(2, 3 * len(widths) - 4, 3)))
        latent = generator["main1.0.weight"].shape[0]
        return SkullGANNetwork(latent=latent, generator=widths, tail=tail, discriminator=judge)
    except (KeyError, IndexError, ValueError) as error:
        raise FormatError(
            f"These are not SkullGAN's weights ({error}).", "Give netG_SkullGAN.pth or the like."
        ) from error


def _window(path: Path, window_hu: tuple[float, float] | None) -> IntensityWindow:
    if window_hu is not None:
        low, high = window_hu
        if not high > low:
            raise InputError(f"The window {low} to {high} HU is empty.", "Give the minimum first, then the maximum.")
        return IntensityWindow(minimum_hu=low, range_hu=high - low)
    if path.name in AUTHORS_FILES:
        return AUTHORS_WINDOW
    raise InputError(
        f"{path.name} does not say which HU its -1 and 1 stand for.",
        "Give the minimum and maximum HU of its training data with --window-hu.",
    )


def _filled(build, network: SkullGANNetwork, weights: Mapping[str, torch.Tensor], path: Path) -> torch.nn.Module:
    with torch.device("meta"):
        module = build(network)
    try:
        module.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        raise FormatError(f"{path.name} does not fit SkullGAN's network: {error}.", "Give another file.") from error
    return module.float().eval().requires_grad_(False)
