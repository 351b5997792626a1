"""What ``skullgan info`` tells of a model, of the training run around one, of labelling networks and drawn volumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SkullGANLib.files import read_document, read_json
from SkullGANLib.models.card import CARD_FILE, Category, ModelCard, load_card, model_folder
from SkullGANLib.words import few

RUN_FILE, VOLUMES_FILE, LABELLER_FILE = "options.json", "volumes.json", "labeller.json"
_LISTED = 12  # labels or files; the rest is counted


def is_model(path: Path) -> bool:
    """Whether the folder is a model or a training run, which may have no model yet."""
    return (model_folder(path) / CARD_FILE).is_file() or (path / RUN_FILE).is_file() or bool(_stages(path))


def model_facts(path: Path) -> dict[str, Any]:
    """The card of a model without the network's tables of statistics; of a run also how far it is.

    Raises:
        FormatError: a damaged card, or a newer one.
    """
    folder, facts = model_folder(path), {"path": str(path), "kind": "model"}
    if stages := _stages(path):
        facts |= {"kind": "run", "stages": [model_facts(stage) for stage in stages]}
    if (folder / CARD_FILE).is_file():
        facts |= _card_facts(load_card(folder))
    if (path / RUN_FILE).is_file():
        facts |= {"kind": "run", "run": _run_facts(path)}
    return facts


def _stages(path: Path) -> list[Path]:
    """The runs of smaller sizes within a run that grows."""
    return sorted(each.parent for each in path.glob(f"stage-*/{RUN_FILE}"))


def _card_facts(card: ModelCard) -> dict[str, Any]:
    asked = {
        name: list(each.values) if isinstance(each, Category) else [each.minimum, each.maximum, each.unit]
        for name, each in card.conditions.items()
    }
    return {
        "family": card.family,
        "network": card.network | _size(card),
        "spacing_mm": card.spacing_mm,
        "window_hu": [card.window.minimum_hu, card.window.maximum_hu],
        "background_hu": card.background_hu,
        "conditions": asked,
        "images_seen": card.images_seen,
        "seed": card.seed,
        "training": card.training,
        "metrics": card.metrics,
        "intended_use": card.intended_use,
        "limits": card.limits,
        "licence": card.licence,
        "sha256": card.sha256,
    }


def _size(card: ModelCard) -> dict[str, int]:
    """Pixels of the images, where the network's options say it by other numbers."""
    from SkullGANLib.models.registry import get_family

    family = get_family(card.family)
    return {} if family.volumes else {"size": family.network(**card.network).size}


def _run_facts(path: Path) -> dict[str, Any]:
    from SkullGANLib.train.stats import read_stats

    options, lines = read_json(path / RUN_FILE).get("options", {}), read_stats(path / "stats.jsonl")
    return {
        "preset": options.get("preset"),
        "family": options.get("family"),
        "data": options.get("data"),
        "last": lines[-1] if lines else {},
    }


def model_text(facts: Mapping[str, Any]) -> str:
    """The same for people."""
    lines = [f"{'Model' if facts['kind'] == 'model' else 'Training run'} {facts['path']}"]
    if run := facts.get("run"):
        lines += _line("preset", run["preset"]) + _line("data", ", ".join(run["data"] or ()))
        last = {key: value for key, value in run["last"].items() if isinstance(value, (int, float))}
        lines += _line("last line", ", ".join(f"{key} {value:.4g}" for key, value in last.items()))
    lines += _card_lines(facts) if "network" in facts else ["  No model has been saved yet."]
    for stage in facts.get("stages", ()):
        seen = f"{stage['images_seen']:,} images seen" if "images_seen" in stage else "no model yet"
        lines += _line(Path(stage["path"]).name, seen)
    return "\n".join(lines)


def _card_lines(facts: Mapping[str, Any]) -> list[str]:
    network, training, (low, high) = facts["network"], facts["training"], facts["window_hu"]
    volume = training.get("volume")
    size = f"{network['size']} x {network['size']} pixels" if "size" in network else "pixels"
    drawn = f"{size} of {facts['spacing_mm']:g} mm"
    if volume:
        drawn = f"volumes, learnt from one of {' x '.join(str(n) for n in volume['shape'])} voxels"
    counts = (("segments", "segments"), ("subjects", "subjects"))
    data = [f"{training[key]} {word}" for key, word in counts if key in training]
    kinds = [str(kind) for kind in training.get("kinds", ())]
    metrics = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in facts["metrics"].items())
    return [
        *_line("family", facts["family"]),
        *_line("draws", drawn),
        *_line("labels", few([f"{n} {name}" for n, name in enumerate(network.get("labels", ()), 1)], _LISTED)),
        *_line("window", f"{low:g} to {high:g} HU, background {facts['background_hu']:g} HU"),
        *_line("asked for", "; ".join(f"{name} {_range(values)}" for name, values in facts["conditions"].items())),
        *_line("trained", ", ".join([*kinds, *data, f"{facts['images_seen']:,} images seen"])),
        *_line("metrics", metrics),
        *_line("use", facts["intended_use"]),
        *_line("limits", facts["limits"]),
        *_line("licence", facts["licence"]),
    ]


def volumes_facts(path: Path) -> dict[str, Any]:
    """What ``volumes.json`` says of a folder of drawn volumes.

    Raises:
        FormatError: it is damaged, or a newer one.
    """
    from SkullGANLib.generate.volumes import FORMAT, VERSION

    document = read_document(path / VOLUMES_FILE, format=FORMAT, version=VERSION, what="folder of volumes")
    return {"path": str(path), **document}


def volumes_text(facts: Mapping[str, Any]) -> str:
    """The same for people."""
    files = [str(each["file"]) for each in facts["files"]]
    told = ("path", "format", "version", "kind", "files", "notes")
    others = {k: v for k, v in facts.items() if k not in told and isinstance(v, (str, int, float))}
    lines = [line for name, value in others.items() for line in _line(name.replace("_", " "), value)]
    return "\n".join([f"Synthetic volumes {facts['path']}", *_line("files", few(files, _LISTED)), *lines])


def labeller_facts(path: Path) -> dict[str, Any]:
    """What ``labeller.json`` says of labelling networks.

    Raises:
        FormatError: it is damaged, or a newer one.
    """
    from SkullGANLib.labelling.files import read_card

    card = read_card(path)
    return {"path": str(path), "kind": "labeller", **card.model_dump(mode="json"), "hash": card.hash}


def labeller_text(facts: Mapping[str, Any]) -> str:
    """The same for people."""
    dice = {value: each for value, each in facts["held_out_dice"].items() if each is not None}
    labels = [
        f"{value} {name}" + (f" (Dice {dice[value]:.3f})" if value in dice else "")
        for value, name in facts["labels"].items()
    ]
    return "\n".join(
        [
            f"Labelling networks {facts['path']}",
            *_line("networks", f"{len(facts['sha256'])} of {facts['steps']:,} steps"),
            *_line("labels", f"{few(labels, _LISTED)}, written as {facts['label_set']}"),
            *_line("painted", f"{facts['annotated']} images"),
            *_line("model", f"family {facts['family']}, {facts['model_hash'][:12]}"),
        ]
    )


def _range(values: list[Any]) -> str:
    if len(values) == 3 and not isinstance(values[0], str):
        return f"{values[0]:.4g} to {values[1]:.4g} {values[2]}".rstrip()
    return ", ".join(values)


def _line(name: str, value: Any) -> list[str]:
    return [f"  {name:<10} {value}"] if value not in (None, "") else []
