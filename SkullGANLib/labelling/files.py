"""The folder of a labeller, the painted images it learns from, and the labelled data sets it makes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from SkullGANLib import __version__
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.evaluate.radiological import measure_segments
from SkullGANLib.files import read_document, replace_folder, restore_interrupted, sha256_of, write_json, write_tensors
from SkullGANLib.generate.export import provenance
from SkullGANLib.labelling.ensemble import Labeller
from SkullGANLib.labelling.head import HeadNetwork, LabelHead
from SkullGANLib.labelling.synthesis import Labelled
from SkullGANLib.models.folder import Model
from SkullGANLib.progress import Progress
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.sheet import write_png

CARD_FILE, PICTURE_FILE = "labeller.json", "samples.png"
FORMAT, VERSION = "skullgan-labeller", 1
_MEASURES = ("sdr", "thickness_mm", "intensity_hu")


class LabellerCard(BaseModel):
    """The content of ``labeller.json``.

    Attributes:
        model_hash, family: of the model whose images the labeller knows.
        network: see ``HeadNetwork``.
        label_set: name of the label set that it writes.
        labels: value to name.
        annotated: images it learnt from; of these ``empty`` have no label and are said to have none.
        left_out: images that nobody had painted.
        held_out_dice: label to mean Dice over images that a network had not seen; null where none shows it.
        steps, seed: of the training.
        sha256: hash of each weight file.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    format: Literal["skullgan-labeller"] = FORMAT
    version: Literal[1] = VERSION
    library_version: str = __version__
    model_hash: str
    family: str
    network: HeadNetwork
    label_set: str
    labels: dict[int, str] = Field(min_length=1)
    annotated: int
    empty: int = 0
    left_out: int = 0
    held_out_dice: dict[int, float | None] = {}
    steps: int
    seed: int
    sha256: dict[str, str] = Field(min_length=1)

    @property
    def hash(self) -> str:
        """SHA-256 over what decides the labels: the networks, their weights, and what the labels are called."""
        parts = [self.network.model_dump(mode="json"), {str(k): v for k, v in self.labels.items()}, self.sha256]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save_labeller(
    path: str | Path,
    labeller: Labeller,
    *,
    picture: np.ndarray | None = None,
    overwrite: bool = False,
    **facts: Any,
) -> LabellerCard:
    """Write the folder of a labeller in one step.

    Args:
        path: folder to make.
        labeller: from ``train_labeller``.
        picture: ``samples.png``, from ``labelling.picture.draw_samples``.
        overwrite: whether a labeller at ``path`` may be replaced.
        **facts: further fields of ``LabellerCard``.

    Raises:
        InputError: the folder holds something else, or may not be replaced.
        ResourceError: the disk is full.
    """
    with replace_folder(path, overwrite=overwrite, marker=CARD_FILE) as folder:
        hashes = {}
        for number, head in enumerate(labeller.heads):
            name = f"head-{number}.safetensors"
            write_tensors(folder / name, head.state_dict())
            hashes[name] = sha256_of(folder / name)
        known = {k: v if np.isfinite(v) else None for k, v in labeller.held_out_dice.items()}
        card = LabellerCard(
            network=labeller.heads[0].network,
            labels=labeller.labels,
            held_out_dice=known,
            sha256=hashes,
            **facts,
        )
        if picture is not None:
            write_png(folder / PICTURE_FILE, picture)
        write_json(folder / CARD_FILE, card.model_dump(mode="json"))
    return card


def read_card(path: str | Path) -> LabellerCard:
    """What is known of the labeller in a folder.

    Raises:
        FormatError: no labeller, of a newer version, or damaged.
    """
    folder = Path(path)
    restore_interrupted(folder)
    if not (folder / CARD_FILE).is_file():
        raise FormatError(
            f"{folder} is no labeller: it has no {CARD_FILE}.", "Give a folder that skullgan label train wrote."
        )
    content = read_document(folder / CARD_FILE, format=FORMAT, version=VERSION, what="labeller")
    try:
        return LabellerCard(**content)
    except (ValidationError, TypeError) as error:
        raise FormatError(f"{folder / CARD_FILE} is damaged.", "Take a whole copy of the labeller.") from error


def load_labeller(path: str | Path, model: Model | None = None) -> tuple[Labeller, LabellerCard]:
    """Read the folder of a labeller.

    Args:
        path: of the folder.
        model: that it is to be used with, if that is known.

    Raises:
        FormatError: no labeller, of a newer version, or damaged.
        InputError: it belongs to another model.
    """
    import torch

    folder, card = Path(path), read_card(path)
    if model is not None and card.model_hash != model.hash:
        raise InputError(
            f"The labeller {folder} belongs to another model: its networks know the features of that one alone.",
            "Give the model that drew the painted images, or train a labeller for this one.",
        )
    heads = []
    for name, expected in card.sha256.items():
        with torch.device("meta"):
            head = LabelHead(card.network)
        head.load_state_dict(_weights(folder / name, expected), strict=True, assign=True)
        heads.append(head.eval().requires_grad_(False))
    dice = {value: float("nan") if each is None else each for value, each in card.held_out_dice.items()}
    return Labeller(tuple(heads), card.labels, dice), card


def write_labelled(
    path: str | Path,
    found: Labelled,
    model: Model,
    card: LabellerCard,
    *,
    seed: int,
    first: int = 0,
    facts: Mapping[str, Any] = MappingProxyType({}),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SegmentDataset:
    """Write labelled images as a data set of kind ``synthetic``; its column ``uncertainty`` is in nats.

    Args:
        path: folder to make.
        found: from ``draw_labelled``.
        model: that drew the images.
        card: of the labeller.
        seed, first: that the images were drawn with.
        facts: on how they were drawn, besides.
        overwrite: whether a data set at ``path`` may be replaced.
        progress: told the segments written.

    Raises:
        InputError: the folder may not be replaced.
        ResourceError: the disk is full.
    """
    measures = measure_segments(found.hu, model.card.spacing_mm, progress=progress)
    table = {
        **{name: measures[name] for name in _MEASURES},
        "subject": np.full(len(found.hu), "synthetic"),
        "image": found.images,
        **{f"asked_{name}": values for name, values in found.conditions.items()},
        "uncertainty": found.uncertainty.astype(float),
    }
    labeller = {
        "hash": card.hash,
        "networks": len(card.sha256),
        "annotated": card.annotated,
        "held_out_dice": {card.labels[value]: each for value, each in card.held_out_dice.items()},
        "drawn": len(found.hu) + len(found.dropped),
        "dropped": len(found.dropped),
        "mean_uncertainty": _mean(found.uncertainty),
        "mean_uncertainty_dropped": _mean(found.dropped),
    }
    return SegmentDataset.create(
        path,
        found.hu,
        table,
        kind="synthetic",
        spacing_mm=model.card.spacing_mm,
        background_hu=model.card.background_hu,
        masks={card.label_set: found.masks},
        labels={card.label_set: card.labels},
        model_hash=model.hash,
        seed=seed,
        extra=provenance(model, seed=seed, first=first) | facts | {"labeller": labeller},
        overwrite=overwrite,
        progress=progress,
    )


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _weights(path: Path, expected: str) -> Mapping[str, Any]:
    from safetensors.torch import load_file

    advice = "Take a whole copy of the labeller, or train it again."
    if not path.is_file():
        raise FormatError(f"{path} is missing.", advice)
    if sha256_of(path) != expected:
        raise FormatError(f"{path} is damaged: its hash is not the one in {CARD_FILE}.", advice)
    return load_file(path)
