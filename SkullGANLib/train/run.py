"""A training run: its folder, its start and its resumption."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from SkullGANLib import __version__
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.files import read_document, write_json
from SkullGANLib.models.card import load_card
from SkullGANLib.models.conditions import columns
from SkullGANLib.models.device import bfloat16_is_faster, memory_advice, resolve_device
from SkullGANLib.models.folder import Model, load_model
from SkullGANLib.progress import Progress, report
from SkullGANLib.train.checkpoints import load_latest
from SkullGANLib.train.data import TrainingData
from SkullGANLib.train.ema import AveragedNetwork
from SkullGANLib.train.loop import Run, restore_state, save, train_loop
from SkullGANLib.train.options import MAY_CHANGE, TrainOptions
from SkullGANLib.train.stats import Statistics

FORMAT, VERSION = "skullgan-run", 1
OPTIONS_FILE = "options.json"


def train(options: TrainOptions, *, progress: Progress | None = None) -> Path:
    """Train a model, or go on with a run that was stopped: the same options on the same folder resume it.

    Args:
        options: from ``load_options``; ``data`` and ``out`` are needed.
        progress: told the image from which a run resumes; then images seen, losses, ``images_per_second``,
            ``remaining_s`` and, for a second after each was written, the path of a ``sample``.

    Returns:
        The run folder: ``options.json``, ``stats.jsonl``, ``samples``, ``checkpoints`` and ``model``.

    Raises:
        Cancelled: stopped as asked; the state is saved.
        InputError: data or options cannot be used, the folder holds a run of other options, or training diverged.
        FormatError: data, initial weights or all checkpoints are damaged.
        ResourceError: memory, disk or device is missing.
    """
    with (
        memory_advice(
            f"Use a smaller --batch-size than {options.batch_size}, or a narrower network (--preset compact)."
        ),
        _alone(options.out),
    ):
        run = open_run(options, progress)
        if 0 < run.seen < run.total:
            report(progress, 1, 1, f"Resuming at image {run.seen} of {run.total}", resumed_from=run.seen)
        train_loop(run, progress)
    return run.folder


@contextmanager
def _alone(folder: Path | None) -> Iterator[None]:
    """Keep other programs from training into the same folder; a crash ends that too."""
    if folder is None or not folder.parent.is_dir():  # refused later, in words
        yield
        return
    from filelock import FileLock, Timeout

    path = folder.parent / f".{folder.name}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"Another program is training into {folder}.", "Wait for it, cancel it, or choose another --out."
        ) from error
    try:
        yield
    finally:
        lock.release()
        path.unlink(missing_ok=True)


def open_run(options: TrainOptions, progress: Progress | None = None) -> Run:
    """Check everything, make or find the run folder, and bring the run to where it stands."""
    if options.out is None:
        raise InputError("The run has no folder.", "Give one with --out.")
    device = resolve_device(options.device)
    data = TrainingData(
        options.data,
        seed=options.seed,
        mirror=options.mirror,
        window_hu=options.window_hu,
        size=options.network_options.size,
        conditions=options.known_family.conditions,
        progress=progress,
    )
    check_batch(options, len(data))
    options = with_conditions(options, columns(data.conditions))
    folder = _open_folder(options, data)
    set_determinism(options.deterministic)
    generator, discriminator = (network.to(device).train() for network in _initial_networks(options))
    recipe, network = options.recipe_options, options.network_options
    trainer = options.known_family.trainer(recipe, network, generator, discriminator)
    ema = AveragedNetwork(generator, options.ema_images, options.ema_share)
    found = load_latest(folder / "checkpoints")
    seen = 0 if found is None else found[0]["images"]
    stats = Statistics(folder / "stats.jsonl", seen)
    total, bfloat16 = options.total_images(len(data)), uses_bfloat16(options, device)
    run = Run(folder, options, device, bfloat16, data, trainer, ema, stats, seen, total)
    if found is not None:
        state, tensors, damaged = found
        for sentence in damaged:
            warnings.warn(f"{sentence} The one before it is used.", stacklevel=2)
        restore_state(run, state["values"], tensors)
        if not _model_is_of(folder, seen):  # killed between checkpoint and model
            save(run)
    return run


def images_seen(folder: Path) -> int:
    """Images seen by the run in ``folder`` according to its newest checkpoint; 0 where there is none."""
    return max((int(path.name) for path in (folder / "checkpoints").glob("*") if path.name.isdecimal()), default=0)


def _model_is_of(folder: Path, seen: int) -> bool:
    try:
        return load_card(folder / "model").images_seen == seen
    except FormatError:
        return False


def with_conditions(options: TrainOptions, count: int) -> TrainOptions:
    """The options with a network that takes ``count`` columns of conditions, where its family takes any."""
    if not options.known_family.conditions:
        return options
    values = options.model_dump()
    return TrainOptions(**{**values, "network": {**values["network"], "condition": count}})


def check_batch(options: TrainOptions, segments: int) -> None:
    """Refuse a training set that is smaller than one batch.

    Raises:
        InputError: it is.
    """
    if options.batch_size > segments:
        raise InputError(
            f"The batch of {options.batch_size} is larger than the training set of {segments} segments.",
            f"Use --batch-size {max(2, 2 ** (segments.bit_length() - 1))} or less, or more data.",
        )


def uses_bfloat16(options: TrainOptions, device: torch.device) -> bool:
    """Whether the training steps compute in bfloat16 on ``device``."""
    return options.precision == "bfloat16" or (options.precision == "auto" and bfloat16_is_faster(device))


def set_determinism(deterministic: bool) -> None:
    """Make torch repeat itself bit by bit, or let it look for what is fastest."""
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not deterministic


def _open_folder(options: TrainOptions, data: TrainingData) -> Path:
    folder = options.out
    values = options.resolved() | {"training_set": data.fingerprint}
    if (folder / OPTIONS_FILE).exists():
        _refuse_other_options(folder, values)
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} holds other files and is no training run.", "Choose another --out.")
    for name in ("samples", "checkpoints"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(
        folder / OPTIONS_FILE, {"format": FORMAT, "version": VERSION, "library_version": __version__, "options": values}
    )
    return folder


def _refuse_other_options(folder: Path, values: dict) -> None:
    content = read_document(folder / OPTIONS_FILE, format=FORMAT, version=VERSION, what="run")
    old, new = _flat(content["options"]), _flat(values)
    free = {*MAY_CHANGE, "data", "init", "preset"}  # the training set is known by its fingerprint
    different = [key for key in new if key not in free and old.get(key, new[key]) != new[key]]
    if different:
        words = ", ".join(f"{key} ({old[key]} then, {new[key]} now)" for key in different[:4])
        raise InputError(
            f"The run in {folder} was started with other options: {words}.",
            "Choose another --out, or the same options to resume.",
        )


def _initial_networks(options: TrainOptions) -> tuple[nn.Module, nn.Module]:
    family, network = options.known_family, options.network_options
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        generator, discriminator = family.build_generator(network), family.build_discriminator(network)
    if options.init is not None:
        model = _read_initial(options)
        old, new = (values.model_dump(exclude={"weight_std"}) for values in (model.network, network))
        if model.discriminator is None:
            old.pop("discriminator", None)
        different = [key for key in old if old[key] != new[key]]
        if model.card.family != options.family or different:
            words = ", ".join(
                f"network.{key}={list(old[key]) if isinstance(old[key], tuple) else old[key]}" for key in different
            )
            raise InputError(
                f"{options.init} holds another network than the options describe.",
                f"Train with its preset, or with --set {words}." if words else f"Use --set family={model.card.family}.",
            )
        generator.load_state_dict(model.generator.state_dict())
        if model.discriminator is not None:
            discriminator.load_state_dict(model.discriminator.state_dict())
    return generator, discriminator


def _read_initial(options: TrainOptions) -> Model:
    if options.init.suffix in (".pth", ".pt"):
        from SkullGANLib.models.released import load_released

        return load_released(options.init, window_hu=(0, 1))  # training takes the window of its own data
    return load_model(options.init, discriminator=True)


def _flat(values: dict) -> dict:
    nested = {f"{group}.{key}": value for group in ("network", "recipe") for key, value in values[group].items()}
    return {key: value for key, value in values.items() if key not in ("network", "recipe")} | nested
