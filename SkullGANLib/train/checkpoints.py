"""Checkpoints: everything needed to resume, as safetensors and JSON, whole or not there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from SkullGANLib.errors import FormatError
from SkullGANLib.files import read_document, read_json, replace_folder, sha256_of, write_json, write_tensors

FORMAT, VERSION = "skullgan-checkpoint", 1
STATE_FILE, TENSORS_FILE = "state.json", "tensors.safetensors"
KEPT = 2  # latest ones, besides the best

Tensors = dict[str, torch.Tensor]


def save_checkpoint(folder: Path, images: int, values: dict[str, Any], tensors: Tensors, score: float) -> Path:
    """Write the checkpoint of ``images`` seen, then remove all but the latest two and the one of the lowest score.

    Args:
        folder: of the run's checkpoints.
        images: seen so far; names the checkpoint.
        values: plain values that JSON can hold.
        tensors: by name.
        score: how far the snapshot is from the real images.

    Raises:
        ResourceError: the disk is full; the older checkpoints stay.
    """
    path = folder / f"{images:010d}"
    with replace_folder(path) as temporary:
        write_tensors(temporary / TENSORS_FILE, tensors)
        state = {"format": FORMAT, "version": VERSION, "images": images, "score": score, "values": values}
        state["sha256"] = sha256_of(temporary / TENSORS_FILE)
        write_json(temporary / STATE_FILE, state)
    _prune(folder)
    return path


def load_latest(folder: Path) -> tuple[dict[str, Any], Tensors, list[str]] | None:
    """The newest checkpoint that is whole.

    Returns:
        Its state (``images``, ``score``, ``values``), its tensors on the CPU, and a sentence for each damaged one that
        was passed over and removed; None where there are no checkpoints.

    Raises:
        FormatError: there are some, but none is whole.
    """
    paths, damaged = sorted(_all(folder), reverse=True), []
    for path in paths:
        try:
            state, tensors = load_checkpoint(path)
        except FormatError as error:
            damaged.append(error.message)
            continue
        for broken in paths[: len(damaged)]:
            shutil.rmtree(broken, ignore_errors=True)
        return state, tensors, damaged
    if damaged:
        raise FormatError(f"No checkpoint in {folder} is whole: {damaged[0]}", "Start again in another folder.")
    return None


def load_checkpoint(path: Path) -> tuple[dict[str, Any], Tensors]:
    """State and tensors of one checkpoint, on the CPU.

    Raises:
        FormatError: it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state = read_document(path / STATE_FILE, format=FORMAT, version=VERSION, what="checkpoint")
    try:
        if sha256_of(path / TENSORS_FILE) != state["sha256"]:
            raise FormatError(f"{path} is damaged.", "An older one may be whole.")
        return state, load_file(path / TENSORS_FILE)
    except (OSError, KeyError, SafetensorError) as error:
        raise FormatError(f"{path} is damaged ({error}).", "An older one may be whole.") from error


def optimizer_tensors(name: str, optimizer: torch.optim.Optimizer) -> Tensors:
    """The state of an optimizer, under ``name``."""
    states = optimizer.state_dict()["state"].items()
    return {f"{name}/optimizer/{number}/{key}": value for number, state in states for key, value in state.items()}


def restore_optimizer(name: str, optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Take back what ``optimizer_tensors`` gave."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states: dict[int, Tensors] = {}
    for key, value in below(tensors, f"{name}/optimizer/").items():
        number, _, what = key.partition("/")
        like = parameters[int(number)]
        if value.shape == like.shape:  # a fused Adam takes moments to lie in memory as their weights do
            value = torch.empty_like(like, device="cpu", requires_grad=False).copy_(value)
        states.setdefault(int(number), {})[what] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def below(tensors: Tensors, prefix: str) -> Tensors:
    """Those whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the lowest score; of several that were not judged the newest."""
    paths = sorted(_all(folder), reverse=True)
    return min(paths, key=_score) if paths else None


def _prune(folder: Path) -> None:
    paths = sorted(_all(folder))
    kept = {*paths[-KEPT:], best_checkpoint(folder)}
    for path in paths:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _score(path: Path) -> float:
    try:
        return float(read_json(path / STATE_FILE)["score"])
    except (FormatError, KeyError, TypeError, ValueError):
        return float("inf")


def _all(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.is_dir() and path.name.isdecimal()]
