"""What ``dataset.json`` says of a segment data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.files import read_document
from SkullGANLib.words import fault

META_FILE = "dataset.json"
FORMAT, VERSION = "skullgan-dataset", 1

Kind = Literal["real", "synthetic", "artificial", "phantom", "pictures"]
_ORIGIN = ("kind", "spacing_mm", "background_hu", "sources", "labels", "model_hash", "seed", "extra")


class DatasetMeta(BaseModel):
    """The content of ``dataset.json``.

    Attributes:
        kind: real, synthetic, artificial or phantom.
        spacing_mm: pixel spacing.
        background_hu: value of every pixel that is not bone.
        size: rows and columns of a segment.
        dtype: int16 or float32.
        counts: number of ``segments`` and ``subjects``.
        sources: pseudonyms or dictionaries of facts, never of a patient.
        labels: label set to what its values stand for; 0 is the background.
        model_hash: of the generator, for synthetic sets.
        seed: the set was drawn with.
        extra: further facts.
        sha256: file name to hash.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    format: Literal["skullgan-dataset"] = FORMAT
    version: Literal[1] = VERSION
    kind: Kind
    spacing_mm: float = Field(gt=0, le=10, allow_inf_nan=False)
    background_hu: float = Field(default=0.0, allow_inf_nan=False)
    size: int = Field(ge=1)
    dtype: Literal["int16", "float32"]
    counts: dict[str, int]
    sources: list[str | dict[str, Any]] = []
    labels: dict[str, dict[Annotated[int, Field(ge=0, le=255)], str]] = {}
    model_hash: str | None = None
    seed: int | None = None
    extra: dict[str, Any] = {}
    sha256: dict[str, str]

    def origin(self) -> dict[str, Any]:
        """What is known of the origin, as the arguments of ``SegmentDataset.create``."""
        return {name: getattr(self, name) for name in _ORIGIN}


def build_meta(**facts: Any) -> DatasetMeta:
    """A ``DatasetMeta`` from what a caller gave.

    Raises:
        InputError: a fact is missing or not possible.
    """
    try:
        return DatasetMeta(**facts)
    except ValidationError as error:
        raise InputError(f"The facts of the data set do not hold: {fault(error)}.", "Correct that one.") from error


def parse_meta(folder: Path) -> DatasetMeta:
    """Read and check ``dataset.json``.

    Raises:
        FormatError: missing, not of this format, of a newer version, or incomplete.
    """
    if not (folder / META_FILE).is_file():
        raise FormatError(f"{folder} is no segment data set: it has no {META_FILE}.", "Choose another folder.")
    content = read_document(folder / META_FILE, format=FORMAT, version=VERSION, what="data set")
    try:
        return DatasetMeta(**content)
    except (ValidationError, TypeError) as error:
        raise FormatError(
            f"{folder / META_FILE} is damaged: {fault(error)}.", "Take a whole copy of the data set."
        ) from error
