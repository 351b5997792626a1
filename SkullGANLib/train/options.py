"""What a training run is told: presets in TOML, overridden key by key, every key known and checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.models.registry import Family, image_family

MAY_CHANGE = (
    "images",
    "epochs",
    "device",
    "out",
    "stats_images",
    "sample_images",
    "checkpoint_images",
    "checkpoint_minutes",
    "tensorboard",
)
_GROUPS = ("network", "recipe")


class TrainOptions(BaseModel):
    """Everything that decides a training run.

    Attributes:
        data: segment data sets, used as one.
        out: run folder; the same options on the same folder resume it.
        preset: what the other values started from.
        family: of models, see ``models.registry``.
        network: the family's network options.
        recipe: the family's training options.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: of the training steps; auto is bfloat16 where the device has units for it. Weights stay float32.
        channels_last: memory order of images and maps; auto is on for CPUs and CUDA.
        compile: networks by torch.compile; auto is on for CUDA where the training is long enough to repay it and its
            steps are not replayed from recordings.
        deterministic: make a GPU repeat itself bit by bit, at some cost; a CPU always does.
        seed: of weights, data order, latents and noise.
        batch_size: images in a step, over all processes; ``auto`` is the largest power of two up to 64 that fits.
        images, epochs: length of the training; one of them.
        mirror: show each image mirrored left to right half of the time.
        init: model folder, run folder, name of a model that comes along, or released ``.pth`` whose weights training
            starts from.
        features: file with a feature network of one's own for the discriminator of a family that grows, as
            ``models.features.save_features`` writes it; the library trains one if not given.
        pretrain: data sets to train on first, for ``pretrain_images`` or ``pretrain_epochs``; the networks that come of
            it are where the training proper starts.
        grow_images: images to train each smaller size on first, from 16 pixels up, where the family grows; none if not
            given.
        balance: how far classes with few images are drawn more often, 0 for not at all to 1 for all alike.
        label_set: of data with several, the one that a family that draws from label maps is trained on.
        window_hu: minimum and maximum HU that become -1 and 1; those of the training data if not given.
        augment: highest probability of each augmentation of what the discriminator sees; 0 for none.
        augment_target, augment_images: see ``train.augment``.
        hold_out: share of the training subjects that judge snapshots and steer the augmentation instead of being
            trained on, where the data have no part ``val``.
        held_out_every: steps between two looks of the discriminator at held-out subjects.
        ema_images, ema_share: half-life of the averaged weights in images, and its limit as a share of those seen.
        stats_images, sample_images, checkpoint_images: images between lines of statistics, pictures and checkpoints.
        checkpoint_minutes: a checkpoint is written at least this often.
        snapshot_images: images drawn to settle batch statistics of the averaged weights and to judge a checkpoint.
        tensorboard: write the statistics for TensorBoard, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: tuple[Path, ...] = ()
    out: Path | None = None
    preset: str = "compact"
    family: str = "skullgan"
    network: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    device: str = "auto"
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    channels_last: Literal["auto", "on", "off"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    deterministic: bool = False
    seed: int = Field(0, ge=0)
    batch_size: Annotated[int, Field(ge=2)] | Literal["auto"] = 64
    images: int | None = Field(None, ge=1)
    epochs: float | None = Field(None, gt=0)
    mirror: bool = True
    init: Path | None = None
    features: Path | None = None
    pretrain: tuple[Path, ...] = ()
    pretrain_images: int | None = Field(None, ge=1)
    pretrain_epochs: float | None = Field(None, gt=0)
    grow_images: int | None = Field(None, ge=1)
    balance: float = Field(0.0, ge=0, le=1)
    label_set: str | None = None
    window_hu: tuple[float, float] | None = None
    augment: float = Field(0.0, ge=0, le=1)
    augment_target: float = 0.5
    augment_images: float = Field(100_000, gt=0)
    hold_out: float = Field(0.0, ge=0, lt=1)
    held_out_every: int = Field(4, ge=1)
    ema_images: float = Field(20_000, ge=0)
    ema_share: float = Field(0.05, gt=0)
    stats_images: int = Field(1_000, ge=1)
    sample_images: int = Field(20_000, ge=1)
    checkpoint_images: int = Field(50_000, ge=1)
    checkpoint_minutes: float = Field(10, gt=0)
    snapshot_images: int = Field(256, ge=2)
    tensorboard: bool = False

    @property
    def known_family(self) -> Family:
        """The family's entry in the registry."""
        return image_family(self.family)

    @cached_property
    def network_options(self) -> BaseModel:
        """``network``, completed and checked by the family."""
        return checked(self.known_family.network, self.network, "network.")

    @cached_property
    def recipe_options(self) -> BaseModel:
        """``recipe``, completed and checked by the family."""
        return checked(self.known_family.recipe, self.recipe, "recipe.")

    def with_network(self, **changes: Any) -> TrainOptions:
        """The options with another network, such as one that takes so many columns of conditions."""
        values = self.model_dump()
        return TrainOptions(**{**values, "network": {**values["network"], **changes}})

    def total_images(self, training_set: int) -> int:
        """Images to draw in all, for a training set of that many segments."""
        return self.images if self.images is not None else round((self.epochs or 0) * training_set)

    def resolved(self) -> dict[str, Any]:
        """All values as JSON holds them, those of the family included."""
        values = self.model_dump(mode="json")
        values["network"] = self.network_options.model_dump(mode="json")
        values["recipe"] = self.recipe_options.model_dump(mode="json")
        return values


def preset_names() -> list[str]:
    """The presets that come with the library."""
    files = resources.files("SkullGANLib.presets").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def preset_summaries() -> list[dict[str, Any]]:
    """Of each preset that comes with the library: ``name``, ``title`` (one line), ``family``, ``batch_size`` and the
    length of its training, ``images`` or ``epochs``. Needs no torch.
    """
    wanted = ("title", "family", "batch_size", "images", "epochs")
    presets = {name: _read_preset(name) for name in preset_names()}
    return [{"name": name, **{k: values[k] for k in wanted if k in values}} for name, values in presets.items()]


def load_options(preset: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainOptions:
    """Options from a preset and what overrides it.

    Args:
        preset: name of a preset, or path of a TOML file like one.
        overrides: key to value; keys of a group are written ``recipe.gate``, or ``gate`` where that is unmistakable.

    Raises:
        InputError: no such preset; an unknown key (the advice names the nearest known one) or an impossible value.
        FormatError: the file is not TOML.
    """
    values = {"preset": str(preset), **_read_preset(preset)}
    values.pop("title", None)  # for people
    family = image_family((overrides or {}).get("family", values.get("family", "skullgan")))
    known = [name for name in TrainOptions.model_fields if name not in _GROUPS]
    known += [f"{group}.{name}" for group in _GROUPS for name in getattr(family, group).model_fields]
    groups = {group: dict(values.pop(group, {})) for group in _GROUPS}
    for key, value in (overrides or {}).items():
        group, _, name = _full_key(key, known).rpartition(".")
        (groups[group] if group else values)[name] = value
        start, _, unit = name.rpartition("_")
        if unit in ("images", "epochs") and start in ("", "pretrain"):  # one length replaces the other
            other = "epochs" if unit == "images" else "images"
            values[f"{start}_{other}" if start else other] = None
    options = checked(TrainOptions, {**values, **groups}, "", known)
    _ = options.network_options, options.recipe_options
    if (options.images is None) == (options.epochs is None):
        raise InputError("The length of the training is not clear.", "Give either images or epochs.")
    return options


def parse_setting(text: str) -> tuple[str, Any]:
    """``key=value`` of the command line as key and value; the value is read as TOML, else taken as a word.

    Raises:
        InputError: there is no ``=``.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{text!r} is no setting.", "Write it as key=value, such as gate=off.")
    try:
        return key.strip(), toml().loads(f"value = {value}")["value"]
    except toml().TOMLDecodeError:
        return key.strip(), value.strip()


def _read_preset(preset: str | Path) -> dict[str, Any]:
    path = Path(preset)
    if path.suffix == ".toml":
        if not path.is_file():
            raise InputError(f"There is no file {path}.", "Check the path.")
        text = path.read_text(encoding="utf-8")
    else:
        names = preset_names()
        if str(preset) not in names:
            raise InputError(f"There is no preset called {str(preset)!r}.", f"Choose one of: {', '.join(names)}.")
        text = resources.files("SkullGANLib.presets").joinpath(f"{preset}.toml").read_text(encoding="utf-8")
    try:
        return toml().loads(text)
    except toml().TOMLDecodeError as error:
        raise FormatError(f"{preset} is not TOML: {error}.", "Mend that line.") from error


def _full_key(key: str, known: list[str]) -> str:
    if key in known:
        return key
    meant = [name for name in known if name.rpartition(".")[2] == key]
    if len(meant) == 1:
        return meant[0]
    raise _unknown(key, known)


def _unknown(key: str, known: list[str]) -> InputError:
    short = {name.rpartition(".")[2]: name for name in known}
    near = difflib.get_close_matches(key.rpartition(".")[2], short, n=1, cutoff=0.4)
    advice = f'Did you mean "{short[near[0]]}"?' if near else f"Known are: {', '.join(known)}."
    return InputError(f"There is no option called {key!r}.", advice)


def checked(model: type[BaseModel], values: Mapping[str, Any], prefix: str, known: list[str] | None = None) -> Any:
    """Options from plain values.

    Args:
        model: of the options.
        values: by name.
        prefix: set before the names in what is said.
        known: all names there are, where these are not those of ``model``.

    Raises:
        InputError: an unknown name, with the nearest known one, or an impossible value.
    """
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        place = [part for part in first["loc"] if part not in ("constrained-int", "literal['auto']")]  # not the type's
        key = prefix + ".".join(map(str, place))
        if first["type"] == "extra_forbidden":
            raise _unknown(key, known or [prefix + name for name in model.model_fields]) from error
        raise InputError(
            f"The option {key.rstrip('.')} cannot be {first['input']!r}: {first['msg']}.", "Change it."
        ) from error


def toml() -> Any:
    """The standard library's reader of TOML, or the one it was made from."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    return tomllib
