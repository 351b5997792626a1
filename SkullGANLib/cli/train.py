"""``skullgan train``: train a generative model on a segment data set; run again to resume."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from SkullGANLib.cli import common
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress

if TYPE_CHECKING:
    from SkullGANLib.train.options import TrainOptions


@click.command(short_help="Train a generative model on a segment data set; run again to resume.")
@click.option(
    "--data", multiple=True, type=click.Path(path_type=Path), help="Segment data set; may be given several times."
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; an existing run is resumed.")
@click.option(
    "--preset",
    default="recommended-XS",
    show_default=True,
    help="recommended-M, -S, -XS, -tiny64 or -nano32, paper, control, released, compact, demo; from label maps "
    "patch-small, -medium or -whs; of classes style-small, -medium or -full; or a TOML file.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Configuration of the original patch-based conditional GAN (whs.json) in place of a preset.",
)
@click.option("--images", type=int, help="Length of the training in images.")
@click.option("--epochs", type=float, help="Length of the training in passes over the data.")
@click.option("--batch-size", help="Images in a step, or auto: as many as memory allows, 64 at most.")
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps.  [default: auto]")
@click.option("--seed", type=click.IntRange(0), help="Seed of weights, data order, latents and noise.")
@click.option(
    "--init", type=click.Path(path_type=Path), help="Model folder, run, released .pth or phantom to start from."
)
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    help="Feature network of one's own for the discriminator of style-*, from models.features.save_features.",
)
@click.option(
    "--pretrain",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Data set to train on first, such as phantoms or imported pictures; may be given several times.",
)
@click.option("--tensorboard", is_flag=True, default=None, help="Write the statistics for TensorBoard, too.")
@click.option("--window-hu", nargs=2, type=float, help="HU that become -1 and 1.  [default: those of the data]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other option, such as gate=off.")
@click.option("--dry-run", is_flag=True, help="Show options, parameters, memory and time, and stop.")
@common.command
def train(
    data: tuple[Path, ...],
    out: Path | None,
    preset: str,
    config: Path | None,
    settings: tuple[str, ...],
    dry_run: bool,
    progress: Progress,
    **given: object,
) -> None:
    """Train a generative model. The same command again goes on where it stopped; Ctrl-C stops and saves.

    The run folder holds options.json, stats.jsonl, samples, checkpoints and the best model so far, ready for generate.
    On several GPUs: torchrun --nproc-per-node 4 -m SkullGANLib train ...
    """
    from SkullGANLib.train.options import load_options, parse_setting

    if given["images"] is not None and given["epochs"] is not None:
        raise InputError("Both --images and --epochs give the length of the training.", "Give one of them.")
    overrides = {key: value for key, value in given.items() if value not in (None, ())}
    overrides |= {key: [path.resolve() for path in overrides[key]] for key in ("pretrain",) if key in overrides}
    overrides |= dict(parse_setting(text) for text in settings)
    if config is not None:
        from SkullGANLib.train.pix2pix_config import PRESET, read_config

        if click.get_current_context().get_parameter_source("preset") is click.core.ParameterSource.COMMANDLINE:
            raise InputError("Both --config and --preset say what to train.", "Give one of them.")
        values, told = read_config(config)
        for sentence in told:
            click.echo(sentence)
        preset, overrides = PRESET, {**values, **overrides}
    options = load_options(preset, {**overrides, "data": [path.resolve() for path in data], "out": out})
    if dry_run:
        _show(options, progress)
        return
    from SkullGANLib.models.card import load_card
    from SkullGANLib.train import run

    before = run.images_seen(out) if out else 0
    with common.notes() as notes:
        folder = run.train(options, progress=progress)
    seen, card = run.images_seen(folder), load_card(folder / "model")
    facts = {"images_seen": seen, "model_images": card.images_seen, **card.metrics}
    progress.result(run=str(folder), model=str(folder / "model"), notes=notes, **facts)
    progress.close()
    done = "This run had finished already" if before >= seen else "Training has finished"
    click.echo(f"{done}: {seen} images seen.")
    if card.images_seen < seen:
        click.echo(f"The model is the snapshot at {card.images_seen} images: none came nearer to the real segments.")
    if card.training.get("subjects") == 1:
        click.echo("Note: the training set is of one subject only; the model knows no other.")
    click.echo(f"Model: {folder / 'model'}")
    click.echo(f"Pictures: {folder / 'samples'}")


def _show(options: TrainOptions, progress: Progress) -> None:
    import dataclasses
    import json

    from SkullGANLib.train.estimate import estimate

    click.echo(json.dumps(options.resolved(), indent=2))
    found = estimate(options, progress)
    progress.result(**dataclasses.asdict(found), seconds=found.seconds)
    progress.close()
    for name, number in found.parameters.items():
        click.echo(f"{name.capitalize()}: {number:,} parameters")
    click.echo(f"Drawing one image: {found.flops_per_image / 1e9:.2f} GFLOP")
    click.echo(
        f"Memory for training at batch size {found.batch_size}: about {found.memory_gib:.1f} GiB; "
        f"free on {found.device}: {found.free_gib:.1f} GiB"
    )
    if not found.fits:
        click.echo(f"This does not fit. {found.advice}")
        return
    length = f"{found.images} images"
    if not options.data and options.images is None:
        length += f" ({options.epochs:g} epochs of the paper's {found.segments} segments, as no --data was given)"
    length += " of pre-training and training" if options.pretrain else ""
    click.echo(f"Speed on {found.device}: about {found.images_per_second:.3g} images/s")
    click.echo(f"Time for {length}: about {_duration(found.seconds)}")


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
