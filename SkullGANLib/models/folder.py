"""The model folder: a card in JSON beside the weights; all it takes to use a model and know its origin."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from SkullGANLib import __version__
from SkullGANLib.errors import FormatError
from SkullGANLib.files import read_json, replace_folder, restore_interrupted, sha256_of, write_json
from SkullGANLib.models.registry import Family, get_family
from SkullGANLib.models.window import IntensityWindow

CARD_FILE, GENERATOR_FILE, DISCRIMINATOR_FILE = "model.json", "generator.safetensors", "discriminator.safetensors"
FORMAT, VERSION = "skullgan-model", 1


class ModelCard(BaseModel):
    """The content of ``model.json``.

    Attributes:
        family: name in the registry.
        network: the family's network options.
        window: HU that the network's -1 and 1 stand for.
        spacing_mm: pixel spacing of the images.
        background_hu: value of pixels that are not bone.
        bone_floor_hu: pixels less than this above the background become background, which a tanh never quite reaches.
            From the training set: half of what all but 1 % of its bone pixels exceed; else 10 HU, below which the
            paper counts no pixel as bone.
        conditions: what a sample can be asked for, with the statistics of each.
        training: fingerprints, kinds and counts of the training sets.
        images_seen: real images drawn in training, repeats counted.
        seed: of the training.
        metrics: figures measured on this snapshot.
        intended_use, limits, licence: for whoever is handed the folder.
        sha256: hash of each weight file.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    format: Literal["skullgan-model"] = FORMAT
    version: Literal[1] = VERSION
    library_version: str = __version__
    family: str
    network: dict[str, Any]
    window: IntensityWindow
    spacing_mm: float = Field(0.45, gt=0)
    background_hu: float = 0.0
    bone_floor_hu: float = Field(10.0, ge=0)
    conditions: dict[str, Any] = {}
    training: dict[str, Any] = {}
    images_seen: int = 0
    seed: int | None = None
    metrics: dict[str, float] = {}
    intended_use: str = "Research: synthetic skull CT segments for method development. Not for diagnosis or treatment."
    limits: str = "Images are as varied as the training set and no more; check a sample before use."
    licence: str = "That of the training data."
    sha256: dict[str, str] = {}


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


def save_model(path: str | Path, model: Model) -> Path:
    """Write a model folder in one step and fill in the card's hashes; an older model there is replaced.

    Raises:
        InputError: the folder holds something else.
        ResourceError: the disk is full; the older model stays.
    """
    from safetensors.torch import save_file

    networks = {GENERATOR_FILE: model.generator, DISCRIMINATOR_FILE: model.discriminator}
    with replace_folder(path, marker=CARD_FILE) as folder:
        for name, network in networks.items():
            if network is not None:
                save_file({key: value.cpu().contiguous() for key, value in network.state_dict().items()}, folder / name)
        model.card.sha256 = {name: sha256_of(folder / name) for name in networks if (folder / name).exists()}
        write_json(folder / CARD_FILE, model.card.model_dump(mode="json"))
    return Path(path)


def load_model(path: str | Path, *, discriminator: bool = False) -> Model:
    """Read a model folder, or the ``model`` folder of a training run.

    Args:
        path: model or run folder.
        discriminator: whether to read the discriminator too, where there is one.

    Raises:
        FormatError: no model, of a newer version, of an unknown family, or damaged.
    """
    folder = _model_folder(Path(path))
    card = _read_card(folder)
    try:
        family = get_family(card.family)
        network = family.network(**card.network)
    except (ValidationError, LookupError) as error:
        raise FormatError(
            f"{folder / CARD_FILE} describes a network that cannot be built.", "Update SkullGAN."
        ) from error
    wanted = {GENERATOR_FILE: family.build_generator}
    if discriminator and DISCRIMINATOR_FILE in card.sha256:
        wanted[DISCRIMINATOR_FILE] = family.build_discriminator
    networks = [_load_network(folder / name, card, build, network) for name, build in wanted.items()]
    return Model(card, *networks)


def load_card(path: str | Path) -> ModelCard:
    """The card alone; takes and raises what ``load_model`` does."""
    return _read_card(_model_folder(Path(path)))


def _model_folder(folder: Path) -> Path:
    """The folder itself, or the ``model`` in a run."""
    inner = folder / "model"
    for path in (folder, inner):
        restore_interrupted(path)
    return inner if not (folder / CARD_FILE).is_file() and inner.is_dir() else folder


def _read_card(folder: Path) -> ModelCard:
    if not (folder / CARD_FILE).is_file():
        raise FormatError(f"{folder} is no model: it has no {CARD_FILE}.", "Give a model folder or a training run.")
    content = read_json(folder / CARD_FILE)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FormatError(f"{folder / CARD_FILE} is not the card of a SkullGAN model.", "Give another folder.")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise FormatError(
            f"{folder} was written by a newer SkullGAN (model version {version}; this one reads {VERSION}).",
            "Update SkullGAN.",
        )
    try:
        return ModelCard(**content)
    except (ValidationError, TypeError) as error:
        raise FormatError(f"{folder / CARD_FILE} is damaged: {error}.", "Take a whole copy of the model.") from error


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
    return module.eval().requires_grad_(False)
