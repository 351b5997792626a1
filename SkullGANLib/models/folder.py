"""The model folder: a card in JSON beside the weights; all it takes to use a model and know its origin."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.files import replace_folder, sha256_of, write_json, write_tensors
from SkullGANLib.models.card import CARD_FILE, ModelCard, load_card, model_folder
from SkullGANLib.models.registry import Family, get_family
from SkullGANLib.models.window import IntensityWindow

GENERATOR_FILE, DISCRIMINATOR_FILE = "generator.safetensors", "discriminator.safetensors"


@dataclass(eq=False)
class Model:
    """A generator ready for use.

    Attributes:
        card: what is known of it.
        generator: in eval mode, on the CPU when loaded.
        discriminator: in eval mode, or None where it was not asked for or is not there.
    """

    card: ModelCard
    generator: torch.nn.Module
    discriminator: torch.nn.Module | None = None

    @property
    def family(self) -> Family:
        """Its entry in the registry."""
        return get_family(self.card.family)

    @property
    def network(self) -> BaseModel:
        """The family's network options."""
        return self.family.network(**self.card.network)

    @property
    def window(self) -> IntensityWindow:
        """The intensity window."""
        return self.card.window

    @property
    def hash(self) -> str:
        """SHA-256 over what decides the images: network, window and weights. Needs a saved or loaded model."""
        parts = [self.card.family, self.card.network, self.window.model_dump(), self.card.sha256.get(GENERATOR_FILE)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save_model(path: str | Path, model: Model, *, dtype: torch.dtype | None = None) -> Path:
    """Write a model folder in one step and fill in the card's hashes; an older model there is replaced.

    Args:
        path: folder to make.
        model: its networks and card.
        dtype: of the weights on disk, such as float16 for half the size; as they are if not given.

    Raises:
        InputError: the folder holds something else.
        ResourceError: the disk is full; the older model stays.
    """
    networks = {GENERATOR_FILE: model.generator, DISCRIMINATOR_FILE: model.discriminator}
    with replace_folder(path, marker=CARD_FILE) as folder:
        for name, network in networks.items():
            if network is not None:
                weights = {key: _stored(value, dtype) for key, value in network.state_dict().items()}
                write_tensors(folder / name, weights)
        model.card.sha256 = {name: sha256_of(folder / name) for name in networks if (folder / name).exists()}
        write_json(folder / CARD_FILE, model.card.model_dump(mode="json"))
    return Path(path)


def _stored(value: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    return value.to(dtype) if dtype is not None and value.is_floating_point() else value


def load_model(path: str | Path, *, discriminator: bool = False, volumes: bool = False) -> Model:
    """Read a model folder, or the ``model`` folder of a training run.

    Args:
        path: model or run folder.
        discriminator: whether to read the discriminator too, where there is one.
        volumes: whether a model is wanted that draws volumes, or one that draws images.

    Raises:
        InputError: a model for the other of these.
        FormatError: no model, of a newer version, of an unknown family, or damaged.
    """
    folder = model_folder(path)
    card = load_card(folder)
    try:
        family = get_family(card.family)
        network = family.network(**card.network)
    except (ValidationError, LookupError) as error:
        raise FormatError(
            f"{folder / CARD_FILE} describes a network that cannot be built.", "Update SkullGAN."
        ) from error
    if family.volumes != volumes:
        kind, command = ("images", "generate") if volumes else ("volumes", "volume generate")
        raise InputError(f"{path} is a model for {kind}.", f"Use skullgan {command}.")
    wanted = {GENERATOR_FILE: family.build_generator}
    if discriminator and DISCRIMINATOR_FILE in card.sha256:
        wanted[DISCRIMINATOR_FILE] = family.build_discriminator
    networks = [_load_network(folder / name, card, build, network) for name, build in wanted.items()]
    return Model(card, *networks)


def shipped_models() -> dict[str, Path]:
    """Name to folder of the models that come with SkullGAN."""
    sources = Path(__file__).resolve().parents[2]  # of the project, or where Slicer keeps scripted modules
    places = (sources / "Resources" / "Models", Path(sys.prefix) / "share" / "SkullGAN" / "Models")
    folders = [folder for place in places if place.is_dir() for folder in sorted(place.iterdir())]
    return {folder.name: folder for folder in reversed(folders) if (folder / CARD_FILE).is_file()}


def shipped_model(path: str | Path) -> Path:
    """``path`` as it is, or where it is just the name of a model that comes with SkullGAN, that model's folder."""
    return Path(path) if Path(path).exists() else shipped_models().get(str(path), Path(path))


def _load_network(path: Path, card: ModelCard, build: Any, network: BaseModel) -> torch.nn.Module:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    advice = "Take a whole copy of the model, or train it again."
    if not path.is_file():
        raise FormatError(f"{path} is missing.", advice)
    if sha256_of(path) != card.sha256.get(path.name):
        raise FormatError(f"{path} is damaged: its hash is not the one in {CARD_FILE}.", advice)
    try:
        with torch.device("meta"):  # neither memory nor time for weights that are overwritten at once
            module = build(network)
        module.load_state_dict(load_file(path), strict=True, assign=True)
    except (SafetensorError, RuntimeError) as error:
        raise FormatError(f"{path} does not hold the weights that {CARD_FILE} describes.", advice) from error
    return module.float().eval().requires_grad_(False)
