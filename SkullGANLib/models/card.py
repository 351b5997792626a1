"""The card of a model: everything known of it but its weights. Reading one needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from SkullGANLib import __version__
from SkullGANLib.errors import FormatError
from SkullGANLib.files import read_document, restore_interrupted
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.words import fault

CARD_FILE = "model.json"
SPACING_TOLERANCE = 0.02
"""By which the pixels of images and label maps may differ from a model's."""
FORMAT, VERSION = "skullgan-model", 1


class Category(BaseModel):
    """A condition that is one of several words, such as the region.

    Attributes:
        values: the words, in the order of the network's one-hot columns.
        share: how often each occurred in the training set, at least one of them above 0.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["category"] = "category"
    values: tuple[str, ...] = Field(min_length=1)
    share: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]

    @model_validator(mode="after")
    def _one_share_each(self) -> Category:
        if len(self.share) != len(self.values) or len(set(self.values)) < len(self.values) or sum(self.share) <= 0:
            raise ValueError("values must differ, with one share each, not all 0")
        return self


class Number(BaseModel):
    """A condition that is a number, such as the thickness; the network sees (number - mean) / std.

    Attributes:
        unit: of the number; empty for a ratio.
        mean, std: over the training set for which the network was first built.
        minimum, maximum: smallest and largest value of the training set.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["number"] = "number"
    unit: str = ""
    mean: float = Field(allow_inf_nan=False)
    std: float = Field(gt=0, allow_inf_nan=False)
    minimum: float = Field(allow_inf_nan=False)
    maximum: float = Field(allow_inf_nan=False)

    @model_validator(mode="after")
    def _ascending(self) -> Number:
        if not self.minimum <= self.maximum:
            raise ValueError("minimum must not exceed maximum")
        return self


Condition = Annotated[Category | Number, Field(discriminator="kind")]


class ModelCard(BaseModel):
    """The content of ``model.json``.

    Attributes:
        family: name in the registry.
        network: the family's network options.
        window: HU that the network's -1 and 1 stand for.
        spacing_mm: pixel spacing of the images.
        background_hu: value of pixels that are not bone.
        bone_floor_hu: pixels less than this above the background become background, which no network quite reaches.
            From the training set: what all but 1 % of its bone pixels exceed, but no more than half of their median;
            else 10 HU, below which the paper counts no pixel as bone.
        one_piece: the bone of nearly every training image hangs together, without holes, so in drawn ones only the
            largest piece is kept, with all that it encloses.
        conditions: what a sample can be asked for, with the statistics of each, in the order of the network's columns.
        condition_mean, condition_covariance: of the network's condition columns over the training set, the latter row
            by row; empty for a model whose conditions count as independent.
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
    one_piece: bool = False
    conditions: dict[str, Condition] = {}
    condition_mean: tuple[float, ...] = ()
    condition_covariance: tuple[tuple[float, ...], ...] = ()
    training: dict[str, Any] = {}
    images_seen: int = 0
    seed: int | None = None
    metrics: dict[str, float] = {}
    intended_use: str = "Research: synthetic skull CT segments for method development. Not for diagnosis or treatment."
    limits: str = "Images are as varied as the training set and no more; check a sample before use."
    licence: str = "That of the training data."
    sha256: dict[str, str] = {}


def model_folder(path: str | Path) -> Path:
    """The folder of the model at ``path``: that folder itself, or the ``model`` in a training run."""
    folder = Path(path)
    inner = folder / "model"
    for path in (folder, inner):
        restore_interrupted(path)
    return inner if not (folder / CARD_FILE).is_file() and inner.is_dir() else folder


def load_card(path: str | Path) -> ModelCard:
    """Read the card of a model folder, or of the ``model`` folder of a training run.

    Raises:
        FormatError: no model, of a newer version, or damaged.
    """
    folder = model_folder(path)
    if not (folder / CARD_FILE).is_file():
        stages = sorted(each.parent.parent.name for each in Path(path).glob(f"*/model/{CARD_FILE}"))
        inside = f"Models of smaller sizes lie inside: {', '.join(stages)}." if stages else ""
        raise FormatError(
            f"{folder} is no model: it has no {CARD_FILE}.", inside or "Give a model folder or a training run."
        )
    content = read_document(folder / CARD_FILE, format=FORMAT, version=VERSION, what="model")
    try:
        return ModelCard(**content)
    except (ValidationError, TypeError) as error:
        raise FormatError(
            f"{folder / CARD_FILE} is damaged: {fault(error)}.", "Take a whole copy of the model."
        ) from error
