"""A training run: its folder, its start and its resumption."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from SkullGANLib import __version__
from SkullGANLib.errors import InputError
from SkullGANLib.files import read_document, write_json
from SkullGANLib.models.card import SPACING_TOLERANCE, Condition
from SkullGANLib.models.conditions import columns
from SkullGANLib.models.device import memory_advice, resolve_device, uses_bfloat16
from SkullGANLib.models.folder import Model, load_model, shipped_model
from SkullGANLib.models.parallel import average_gradients, local_device, process_group, rank, wait
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train import growing
from SkullGANLib.train.augment import Augmentation
from SkullGANLib.train.checkpoints import load_latest
from SkullGANLib.train.data import TrainingData, whole_multiple
from SkullGANLib.train.ema import AveragedNetwork
from SkullGANLib.train.folder import FORMAT, OPTIONS_FILE, VERSION, alone
from SkullGANLib.train.labelled import LabelledData
from SkullGANLib.train.loop import Run, train_loop
from SkullGANLib.train.machine import check_batch, compile_networks, placed, set_determinism, with_batch
from SkullGANLib.train.options import MAY_CHANGE, TrainOptions, preset_summaries
from SkullGANLib.train.snapshots import mend_model, restore_state
from SkullGANLib.train.stats import Statistics

PRETRAINING = "pretraining"


def train(options: TrainOptions, *, progress: Progress | None = None) -> Path:
    """Train a model, or go on with a run that was stopped: the same options on the same folder resume it.

    With ``options.pretrain`` a run on those sets, in the folder's ``pretraining``, comes first. Called in each of the
    processes that ``torchrun`` has started, they train one model together.

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
    with process_group(), nullcontext() if options.out is None or rank() else alone(options.out):
        if rank():
            progress = None
        if options.pretrain:
            options = _pretrained(options, progress)
        if options.known_family.grows:
            options = _grown(options, progress)
        _train(options, progress)
    return options.out


def _train(options: TrainOptions, progress: Progress | None, conditions: Mapping[str, Condition] | None = None) -> None:
    options = with_batch(options, local_device(resolve_device(options.device)))
    with memory_advice(f"Use a smaller --batch-size than {options.batch_size}, or a smaller preset."):
        run = open_run(options, progress, conditions)
        if 0 < run.seen < run.total:
            report(progress, 1, 1, f"Resuming at image {run.seen} of {run.total}", resumed_from=run.seen)
        try:
            train_loop(run, progress)
        finally:
            run.stats.close()


def _grown(options: TrainOptions, progress: Progress | None) -> TrainOptions:
    """Train the smaller sizes, each on what the one before has learnt; what remains is the training of the last."""
    if options.out is None:
        raise InputError("The run has no folder.", "Give one with --out.")
    if options.pretrain:
        raise InputError(
            f"Models of the family {options.family} are not pre-trained in the same run.",
            "Train on the first set alone, then start from that run with --init.",
        )
    _refuse_other_files(options.out)
    for path in options.data:
        whole_multiple(SegmentDataset.open(path).meta.size, options.network_options.size)
    initial = None if options.init is None else _read_initial(options)
    smaller = growing.stages(options, initial)
    for stage in smaller:
        report(progress, 0, 1, f"Growing: {stage.network_options.size} of {options.network_options.size} pixels")
        _train(stage, progress)
    if smaller:
        return growing.last_stage(options, smaller[-1].out, smaller[-1].network_options.size)
    if initial is not None and initial.network.size < options.network_options.size:
        return growing.last_stage(options, options.init, initial.network.size)
    return options


def _pretrained(options: TrainOptions, progress: Progress | None) -> TrainOptions:
    """Train on the sets that come first and start from the outcome; what hinders the other training is said before."""
    if options.out is None:
        raise InputError("The run has no folder.", "Give one with --out.")
    if options.known_family.masks:
        raise InputError(
            f"Models of the family {options.family} are not pre-trained in the same run.",
            "Train on the first set alone, then start from that run with --init.",
        )
    if options.pretrain_images is None and options.pretrain_epochs is None:
        raise InputError(
            f"The preset {options.preset} has no pre-training.", "Leave --pretrain out, or set pretrain_epochs."
        )
    first = options.out / PRETRAINING
    if (options.out / OPTIONS_FILE).exists() and not first.exists():
        raise InputError(
            f"The run in {options.out} was started without pre-training.",
            "Leave --pretrain out, or choose another --out.",
        )
    _refuse_other_files(options.out)
    network = options.network_options
    initial = None if options.init is None else _read_initial(options)
    data = TrainingData(
        options.data,
        seed=options.seed,
        window_hu=options.window_hu or _window_of(initial),
        size=network.size,
        conditions=_known(None, initial, options),
        hold_out=options.hold_out,
        progress=progress,
    )
    if options.batch_size != "auto":
        check_batch(options, len(data))
    if rank() == 0:
        options.out.mkdir(parents=True, exist_ok=True)
    wait()
    window = data.window.minimum_hu, data.window.maximum_hu
    pictures = any(SegmentDataset.open(path).meta.kind == "pictures" for path in options.pretrain)
    changes = {
        "data": options.pretrain,
        "out": first,
        "images": options.pretrain_images,
        "epochs": options.pretrain_epochs,
        "pretrain": (),
        "window_hu": None if pictures else window,
    }
    _train(options.model_copy(update=changes), progress, data.conditions)
    return options.model_copy(update={"init": changes["out"], "pretrain": (), "window_hu": window})


def open_run(
    options: TrainOptions, progress: Progress | None = None, conditions: Mapping[str, Condition] | None = None
) -> Run:
    """Check everything, make or find the run folder, and bring the run to where it stands.

    Args:
        options: see ``train``.
        progress: told the segments read.
        conditions: that the model shall know, in place of those of the data.
    """
    if options.out is None:
        raise InputError("The run has no folder.", "Give one with --out.")
    device = local_device(resolve_device(options.device))
    options = with_batch(options, device)
    initial = None if options.init is None else _read_initial(options)
    given = {
        "seed": options.seed,
        "mirror": options.mirror,
        "window_hu": options.window_hu or _window_of(initial),
        "size": options.network_options.size,
        "hold_out": options.hold_out,
        "device": device,
        "progress": progress,
    }
    if options.known_family.masks:
        known = () if initial is None else initial.network.labels
        neighbours = options.network_options.neighbours
        data = LabelledData(options.data, label_set=options.label_set, labels=known, neighbours=neighbours, **given)
        options = options.with_network(labels=data.labels)
    else:
        known = _known(conditions, initial, options)
        data = TrainingData(options.data, conditions=known, balance=options.balance, **given)
        if options.known_family.conditions:
            options = options.with_network(condition=columns(data.conditions))
    if options.known_family.grows:
        options = growing.with_features(options, initial)
        if not data.conditions:
            warnings.warn(
                "The data have no classes, so the model will have none; 'skullgan dataset classes' makes some.",
                stacklevel=2,
            )
    elif options.features is not None:
        raise InputError(
            f"Models of the family {options.family} take no feature network.",
            "Leave --features out, or train a style-*.",
        )
    _note_spacing(options, initial, data)
    if options.augment and not data.card["held_out_segments"]:
        warnings.warn(
            "No subject can be held out: augmentation stays off, and snapshots are judged by the training images. "
            "Four subjects, or a part val of the data set, would do.",
            stacklevel=2,
        )
    check_batch(options, len(data))
    set_determinism(options.deterministic)
    networks = _initial_networks(options, initial)
    if options.known_family.grows and initial is None and not images_seen(options.out):
        growing.prepare(*networks, options, data, progress)
    generator, discriminator = (placed(network, options, device) for network in networks)
    recipe, network = options.recipe_options, options.network_options
    trainer = options.known_family.trainer(recipe, network, generator, discriminator)
    for optimizer in trainer.optimizers.values():
        average_gradients(optimizer)
    ema = AveragedNetwork(generator, options.ema_images, options.ema_share)
    folder = _open_folder(options, data)
    found = load_latest(folder / "checkpoints")
    seen = 0 if found is None else found[0]["images"]
    stats = Statistics(folder / "stats.jsonl", seen, tensorboard=options.tensorboard, silent=rank() > 0)
    total, bfloat16 = options.total_images(len(data)), uses_bfloat16(options.precision, device)
    background = float(data.window.to_unit(data.background_hu))
    augment = Augmentation(
        options.seed,
        limit=options.augment,
        target=options.augment_target,
        ramp_images=options.augment_images,
        background=background,
    )
    run = Run(folder, options, device, bfloat16, data, augment, trainer, ema, stats, seen, total)
    if found is not None:
        state, tensors, damaged = found
        for sentence in damaged:
            warnings.warn(f"{sentence} The one before it is used.", stacklevel=2)
        restore_state(run, state["values"], tensors)
        mend_model(run)
    compile_networks(trainer, options, device, total)
    wait()
    return run


def images_seen(folder: Path) -> int:
    """Images seen by the run in ``folder`` according to its newest checkpoint; 0 where there is none."""
    return max((int(path.name) for path in (folder / "checkpoints").glob("*") if path.name.isdecimal()), default=0)


def _open_folder(options: TrainOptions, data: TrainingData) -> Path:
    if rank():
        wait()
        return options.out
    folder = options.out
    values = options.resolved() | {"training_set": data.fingerprint}
    if (folder / OPTIONS_FILE).exists():
        _refuse_other_options(folder, values)
    _refuse_other_files(folder)
    for name in ("samples", "checkpoints"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(
        folder / OPTIONS_FILE, {"format": FORMAT, "version": VERSION, "library_version": __version__, "options": values}
    )
    wait()
    return folder


def _refuse_other_files(folder: Path) -> None:
    if (folder / OPTIONS_FILE).exists() or not folder.exists():
        return
    if not folder.is_dir() or any(not path.name.startswith((PRETRAINING, growing.STAGE)) for path in folder.iterdir()):
        raise InputError(f"{folder} holds other files and is no training run.", "Choose another --out.")


def _refuse_other_options(folder: Path, values: dict) -> None:
    content = read_document(folder / OPTIONS_FILE, format=FORMAT, version=VERSION, what="run")
    old, new = _flat(content["options"]), _flat(values)
    free = {*MAY_CHANGE, "data", "init", "features", "preset"}  # the training set is known by its fingerprint
    different = [key for key in new if key not in free and old.get(key, new[key]) != new[key]]
    if different:
        words = ", ".join(
            "another training set" if key == "training_set" else f"{key} ({old[key]} then, {new[key]} now)"
            for key in different[:4]
        )
        raise InputError(
            f"The run in {folder} was started with other options: {words}.",
            "Choose another --out, or the same options to resume.",
        )


def _initial_networks(options: TrainOptions, model: Model | None) -> tuple[nn.Module, nn.Module]:
    family, network = options.known_family, options.network_options
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        generator, discriminator = family.build_generator(network), family.build_discriminator(network)
    if options.features is not None:
        discriminator.features.give(options.features.read_bytes())
    if model is not None:
        grows = family.grows and model.network.size < network.size
        free = {"weight_std", "frozen"} | ({"size"} if grows else set())
        old, new = (values.model_dump(exclude=free) for values in (model.network, network))
        if model.discriminator is None:
            old.pop("discriminator", None)
        different = [key for key in old if key not in new or old[key] != new[key]]
        if different:
            words = ", ".join(
                f"network.{key}={list(old[key]) if isinstance(old[key], tuple) else old[key]}" for key in different
            )
            raise InputError(
                f"{options.init} holds another network than the options describe.",
                f"Train with its preset, or with --set {words}.",
            )
        if grows:
            growing.grown(generator, discriminator, model)
            return generator, discriminator
        generator.load_state_dict(model.generator.state_dict())
        if model.discriminator is not None:
            discriminator.load_state_dict(model.discriminator.state_dict())
    return generator, discriminator


def _note_spacing(options: TrainOptions, model: Model | None, data: TrainingData) -> None:
    """Say so where what a model has learnt is of other pixels: it begins with structures of the wrong size."""
    if model is None or model.card.family == "skullgan":  # released weights do not tell, and pictures have no size
        return
    if abs(data.spacing_mm / model.card.spacing_mm - 1) > SPACING_TOLERANCE and not options.known_family.grows:
        warnings.warn(
            f"{options.init} has learnt pixels of {model.card.spacing_mm:g} mm, the training data have "
            f"{data.spacing_mm:g} mm: what it draws is of another size at first.",
            stacklevel=3,
        )


def _window_of(model: Model | None) -> tuple[float, float] | None:
    """Fine-tuning keeps the window of the model that it starts from, where that is known."""
    if model is None or model.card.training.get("source") or "pictures" in model.card.training.get("kinds", ()):
        return None
    return model.window.minimum_hu, model.window.maximum_hu


def _known(
    conditions: Mapping[str, Condition] | None, model: Model | None, options: TrainOptions
) -> Mapping[str, Condition] | Sequence[str]:
    """What the model shall know: as told, as the model that it starts from, or what the data have of the family's."""
    if conditions is None and model is not None and model.card.family == options.family:
        return model.card.conditions
    return options.known_family.conditions if conditions is None else conditions


def _read_initial(options: TrainOptions) -> Model:
    if options.init.suffix in (".pth", ".pt"):
        from SkullGANLib.models.released import load_released

        return load_released(options.init, window_hu=(0, 1))  # training takes the window of its own data
    model = load_model(shipped_model(options.init), discriminator=True)
    if model.card.family != options.family:
        presets = [each["name"] for each in preset_summaries() if each["family"] == model.card.family]
        raise InputError(
            f"{options.init} is a model of the family {model.card.family}, the options are of {options.family}.",
            f"Train with one of its presets: {', '.join(presets)}.",
        )
    return model


def _flat(values: dict) -> dict:
    nested = {f"{group}.{key}": value for group in ("network", "recipe") for key, value in values[group].items()}
    return {key: value for key, value in values.items() if key not in ("network", "recipe")} | nested
