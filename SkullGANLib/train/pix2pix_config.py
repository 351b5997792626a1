"""The configuration file of the original patch-based conditional GAN, as options of this library."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from SkullGANLib.errors import FormatError, InputError

PRESET = "patch-whs"
_FEWEST_STEPS = 500  # between two checkpoints
_IGNORED = {
    "NAME": "the run is called by its folder",
    "INPUT_NAME": "the data set says which labels there are",
    "TARGET_NAME": "the data set says which images there are",
    "CONDITION_NAME": "the discriminator sees the labels that the generator sees",
    "INPUT_TRANS": "labels have a channel each, not a grey value",
    "CONDITION_TRANS": "labels have a channel each, not a grey value",
    "TARGET_TRANS": "images are HU within a window, not 8-bit greys",
    "LABELS": "the data set says which labels there are",
    "VAL_INTERVAL": "held-out slices are looked at with every checkpoint",
}


def read_config(path: str | Path) -> tuple[dict[str, Any], list[str]]:
    """Options from a configuration such as the original's ``whs.json``.

    Args:
        path: a JSON or TOML file with the original's keys.

    Returns:
        Values for ``train.options.load_options`` with the preset ``patch-whs``, and a sentence for each key that says
        what became of it.

    Raises:
        FormatError: the file is neither JSON nor TOML, or no table of keys.
        InputError: a key that the original does not know, or a value that cannot be.
    """
    path = Path(path)
    content = _read(path)
    unknown = [key for key in content if key not in _KEYS and key not in _IGNORED]
    if unknown:
        raise InputError(
            f"{path} has keys that the original does not know: {', '.join(unknown)}.",
            f"Known are: {', '.join([*_KEYS, *_IGNORED])}.",
        )
    values: dict[str, Any] = {}
    told = []
    for key, value in content.items():
        if key in _IGNORED:
            told.append(f"{key} is not taken over: {_IGNORED[key]}.")
            continue
        try:
            found, words = _KEYS[key](value, content)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise InputError(f"{key} cannot be {value!r} in {path}.", "Compare with the original's file.") from error
        values |= found
        told.append(f"{key} = {json.dumps(value)}: {words or _words(found)}.")
    rates = [values.pop(f"rate_{name}", default) for name, default in (("g", 1.3e-4), ("d", 1.5e-4))]
    decays = [values.pop(f"decay_{name}", 0.0) for name in ("g", "d")]
    return values | {"recipe.learning_rate": rates, "recipe.decay": decays}, told


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"There is no file {path}.", "Check the path.")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".toml":
            from SkullGANLib.train.options import toml

            content = toml().loads(text)
        else:
            content = json.loads(text)
    except ValueError as error:  # the errors of both libraries, and of other text, are of this kind
        raise FormatError(f"{path} is neither JSON nor TOML in UTF-8: {error}.", "Mend that place.") from error
    if not isinstance(content, dict):
        raise FormatError(f"{path} holds no table of keys.", "Give a file like the original's whs.json.")
    return content


def _words(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in found.items())


def _plain(name: str, convert: Callable[[Any], Any], words: str = "") -> Callable:
    return lambda value, content: ({name: convert(value)}, words)


def _images(name: str) -> Callable:
    """Intervals and lengths are steps there, images here."""
    return lambda value, content: ({name: int(value) * int(content.get("BATCH_SIZE", 8))}, "")


def _checkpoints(value: Any, content: dict[str, Any]) -> tuple[dict[str, Any], str]:
    steps = max(int(value), _FEWEST_STEPS)
    found = {"checkpoint_images": steps * int(content.get("BATCH_SIZE", 8))}
    return found, f"{_words(found)}; a checkpoint holds all it takes to resume, so at least {_FEWEST_STEPS} steps"


def _resolution(value: Any, content: dict[str, Any]) -> tuple[dict[str, Any], str]:
    rows, columns = value
    if rows != columns:
        raise ValueError("not square")
    size, widths = int(rows), [64, 128, 256, 512, 512, 512, 512]
    first = int(content.get("FIRST_LAYERS_FILTERS", 64))
    while len(widths) > 1 and size // 2 ** len(widths) < 2:
        widths.pop()
    widths = [width * first // 64 for width in widths]
    found = {"network.size": size, "network.widths": widths, "network.judge_width": first}
    return found, f"{_words(found)}; training data of another size are refused"


def _first_layers(value: Any, content: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if "IMAGE_RES" in content:  # which says the widths of both networks
        return {"network.judge_width": int(value)}, ""
    from SkullGANLib.models.patch_cgan import PatchNetwork

    size = PatchNetwork().size
    return _resolution([size, size], content)[0], ""


def _choice(name: str) -> Callable:
    def convert(value: Any, content: dict[str, Any]) -> tuple[dict[str, Any], str]:
        if not isinstance(value, bool):
            raise TypeError("neither true nor false")
        return {name: value}, ""

    return convert


def _channels(value: Any, content: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if int(value) != 1:
        raise ValueError("CT has one channel")
    return {}, "as here"


def _activation(value: Any, content: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if value not in ("sigmoid", "tanh"):
        raise ValueError("no such end")
    return {}, "the output is bounded by the window, as here"


def _reconstruction(value: Any, content: dict[str, Any]) -> tuple[dict[str, Any], str]:
    return {"recipe.weighting": {"basic": "none", "weighted": "labels"}[value]}, ""


def _augmented(value: Any, content: dict[str, Any]) -> tuple[dict[str, Any], str]:
    return {}, "images and labels are always moved alike, as far as the ranges say"


def _shift(value: Any, content: dict[str, Any]) -> tuple[dict[str, Any], str]:
    names = ("AUG_WIDTH_SHIFT_RANGE_RATIO", "AUG_HEIGHT_SHIFT_RANGE_RATIO")
    return {"recipe.shift": max(float(content.get(name, 0)) for name in names)}, ""


_KEYS: dict[str, Callable[[Any, dict[str, Any]], tuple[dict[str, Any], str]]] = {
    "LEARNING_RATE_G": _plain("rate_g", float, "recipe.learning_rate, the first"),
    "LEARNING_RATE_D": _plain("rate_d", float, "recipe.learning_rate, the second"),
    "LR_EXP_DECAY_FACTOR_G": _plain("decay_g", float, "recipe.decay, the first"),
    "LR_EXP_DECAY_FACTOR_D": _plain("decay_d", float, "recipe.decay, the second"),
    "MAX_ITER": _images("images"),
    "BATCH_SIZE": _plain("batch_size", int),
    "PATCH_SIZE": _plain("network.patch", int),
    "LOG_INTERVAL": _images("stats_images"),
    "SAVE_MODEL_INTERVAL": _checkpoints,
    "IMAGE_RES": _resolution,
    "CHANNELS": _channels,
    "FIRST_LAYERS_FILTERS": _first_layers,
    "ADAM_B1": lambda value, content: ({"recipe.betas": [float(value), 0.999]}, ""),
    "LOSS_WEIGHT_DISC": _plain("recipe.adversarial_weight", float),
    "LOSS_WEIGHT_GEN": _plain("recipe.reconstruction", float),
    "GEN_OUTPUT_ACT": _activation,
    "AUG_TARGET": _augmented,
    "AUG_INPUT": _augmented,
    "AUG_ROTATION_RANGE_DEGREES": _plain("recipe.rotation_deg", float),
    "AUG_WIDTH_SHIFT_RANGE_RATIO": _shift,
    "AUG_HEIGHT_SHIFT_RANGE_RATIO": _shift,
    "AUG_SHEAR_RANGE_ANGLE": _plain("recipe.shear_deg", float),
    "AUG_ZOOM_RANGE_RATIO": _plain("recipe.zoom", float),
    "SKIP_CONNECTIONS_GENERATOR": _choice("network.skips"),
    "CONDITIONAL_DISCRIMINATOR": _choice("network.judge_sees_labels"),
    "RECON_LOSS": _reconstruction,
}
