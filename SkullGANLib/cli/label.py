"""``skullgan label``: images with label maps from a few painted ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from SkullGANLib.cli import common
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress

path = click.Path(path_type=Path)
HEADS, DROP = 5, 0.1


def _options(function: Callable) -> Callable:
    """What all three commands can be told."""
    for option in reversed(
        (
            click.option(
                "--model",
                "folder",
                required=True,
                type=path,
                help="Model folder, training run, or the name of a model that comes along (phantom).",
            ),
            click.option("--out", required=True, type=path, help="Folder to make."),
            click.option(
                "--seed",
                default=0,
                show_default=True,
                type=click.IntRange(0, 2**63 - 1),
                help="The same seed gives the same images and networks.",
            ),
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps."),
            click.option("--overwrite", is_flag=True, help="Replace such a folder that is there already."),
        )
    ):
        function = option(function)
    return function


def _first(function: Callable) -> Callable:
    words = "Number of the first image."
    return click.option("--first", default=0, show_default=True, type=click.IntRange(0), help=words)(function)


def _conditions(words: str) -> Callable:
    return click.option("--condition", "conditions", multiple=True, metavar="NAME=VALUE", help=words)


@click.group(short_help="Paint labels in a few images, and get as many labelled images as you like.")
def label() -> None:
    """Paint labels in a few images that a model drew, and get as many labelled images as you like.

    The model's own features say where in other images the same is to be seen: draw 20 to 60 images, paint them in
    Slicer's Segment Editor, train labelling networks on them, draw labelled images. Those whose labels the networks
    disagree on are left out.
    """


@label.command(short_help="Draw images to paint.")
@_options
@click.option("--count", default=20, show_default=True, type=click.IntRange(1), help="Number of images.")
@_first
@_conditions("What all images are asked for, see skullgan generate.  [default: spread over classes and other words]")
@common.command
def images(
    folder: Path,
    out: Path,
    seed: int,
    device: str,
    overwrite: bool,
    count: int,
    first: int,
    conditions: tuple[str, ...],
    progress: Progress,
) -> None:
    """Draw images to paint, as a data set that remembers how they were drawn."""
    from SkullGANLib.files import check_replaceable
    from SkullGANLib.generate.export import write_segments
    from SkullGANLib.generate.sample import generate_segments
    from SkullGANLib.labelling.features import require_latents
    from SkullGANLib.labelling.synthesis import spread_conditions
    from SkullGANLib.models.conditions import encode, parse_conditions
    from SkullGANLib.models.folder import load_model, shipped_model
    from SkullGANLib.segments.meta import META_FILE

    _require_folder(out)
    check_replaceable(out, overwrite=overwrite, marker=META_FILE)
    model = load_model(shipped_model(folder))
    require_latents(model)
    with common.notes() as notes:
        values = spread_conditions(model.card, parse_conditions(conditions), count, seed=seed, first=first)
    hu = generate_segments(
        model,
        count,
        seed=seed,
        first=first,
        condition=encode(model.card.conditions, values) if values else None,
        precision="float32",
        device=device,
        progress=progress,
    )
    made = write_segments(
        out, hu, model, seed=seed, first=first, conditions=values, overwrite=overwrite, progress=progress
    )
    progress.result(out=str(made), segments=count, seed=seed, notes=notes)
    progress.close()
    click.echo(f"{count} images of {hu.shape[1]}x{hu.shape[2]} pixels to paint: {made}")
    click.echo(
        f"As a stack for 3D Slicer: skullgan dataset export {made} images.nrrd. Save the segmentation that you paint "
        "on it as .seg.nrrd, and give it to 'skullgan label train' with --masks."
    )


@label.command(short_help="Train labelling networks on painted images.")
@_options
@click.option("--images", "painted", required=True, type=path, help="Data set that 'skullgan label images' wrote.")
@click.option(
    "--masks",
    type=path,
    help="What was painted: .seg.nrrd, NRRD, NIfTI or MHA, an image in each slice.  [default: label set of the images]",
)
@click.option("--label-set", help="Which one of the data set; or what the one of --masks is to be called.")
@click.option("--label-names", metavar="VALUE=NAME,...", help="As in 1=lesion,2=vessel, where --masks does not say it.")
@click.option("--with-empty", is_flag=True, help="Images without a label show none; else they count as not painted.")
@click.option("--heads", default=HEADS, show_default=True, type=click.IntRange(1, 100), help="Labelling networks.")
@click.option("--steps", type=click.IntRange(1), help="Of each network.  [default: 150; on a GPU 5,000]")
@common.command
def train(
    folder: Path,
    out: Path,
    seed: int,
    device: str,
    overwrite: bool,
    painted: Path,
    masks: Path | None,
    label_set: str | None,
    label_names: str | None,
    with_empty: bool,
    heads: int,
    steps: int | None,
    progress: Progress,
) -> None:
    """Train several labelling networks on painted images; of 10 or more, each network leaves a fifth out."""
    from SkullGANLib.ct.label_names import parse_names
    from SkullGANLib.files import check_replaceable
    from SkullGANLib.labelling.files import CARD_FILE, PICTURE_FILE
    from SkullGANLib.labelling.training import train_on_painted
    from SkullGANLib.models.folder import load_model, shipped_model
    from SkullGANLib.segments.dataset import SegmentDataset

    check_replaceable(out, overwrite=overwrite, marker=CARD_FILE)
    if label_names is not None and masks is None:
        raise InputError("--label-names names the values of --masks.", "Give --masks, too, or leave it out.")
    model = load_model(shipped_model(folder))
    card = train_on_painted(
        model,
        SegmentDataset.open(painted, verify=True),
        out,
        masks=masks,
        names=parse_names(label_names) if label_names else None,
        label_set=label_set,
        with_empty=with_empty,
        heads=heads,
        steps=steps,
        seed=seed,
        device=device,
        overwrite=overwrite,
        progress=progress,
    )
    dice = {card.labels[value]: each for value, each in card.held_out_dice.items()}
    progress.result(out=str(out), painted=card.annotated, empty=card.empty, left_out=card.left_out, held_out_dice=dice)
    progress.close()
    empty = f", {card.empty} of them without a label" if card.empty else ""
    click.echo(f"{heads} networks of {card.steps} steps learnt from {card.annotated} images{empty}: {out}")
    if card.left_out:
        click.echo(f"{card.left_out} images without a label were left out (--with-empty takes them for truly empty).")
    known = ", ".join(f"{name} {each:.3f}" for name, each in dice.items() if each is not None)
    click.echo(f"Dice over images that a network had not seen: {known or 'not measured, which takes 10 images'}.")
    click.echo(f"See for yourself: {out / PICTURE_FILE}")


@label.command(short_help="Draw images with their labels.")
@_options
@click.option("--labeller", required=True, type=path, help="Folder that 'skullgan label train' wrote.")
@click.option("--count", default=200, show_default=True, type=click.IntRange(1), help="Images that remain.")
@_first
@click.option(
    "--drop",
    default=DROP,
    show_default=True,
    type=common.FloatRange(0, 0.9),
    help="Share of the images drawn that is left out, the most uncertain ones.",
)
@_conditions("See skullgan generate; may be repeated.  [default: as in the training set]")
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME[=COUNT]",
    help="For a model with classes: --count of this class, or as many as said; may be repeated; all for every one.",
)
@common.truncation_options
@common.command
def generate(
    folder: Path,
    out: Path,
    seed: int,
    device: str,
    overwrite: bool,
    labeller: Path,
    count: int,
    first: int,
    drop: float,
    conditions: tuple[str, ...],
    classes: tuple[str, ...],
    truncation: float,
    centres: int,
    progress: Progress,
) -> None:
    """Draw images with label maps, as a data set with the column uncertainty."""
    from SkullGANLib.files import check_replaceable
    from SkullGANLib.generate.classes import classes_asked, towards_middle
    from SkullGANLib.labelling.files import load_labeller, write_labelled
    from SkullGANLib.labelling.synthesis import draw_labelled
    from SkullGANLib.models.conditions import parse_conditions
    from SkullGANLib.models.folder import load_model, shipped_model
    from SkullGANLib.segments.meta import META_FILE

    _require_folder(out)
    check_replaceable(out, overwrite=overwrite, marker=META_FILE)
    model = load_model(shipped_model(folder))
    networks, card = load_labeller(labeller, model)
    asked = parse_conditions(conditions)
    words = classes_asked(model.card, classes, count, asked) if classes else None
    facts = {"truncation": truncation, "centres": centres} if truncation < 1 else {}
    drawing = towards_middle(model, truncation, centres) if facts else model
    with common.notes() as notes:
        found = draw_labelled(
            drawing, networks, count, seed=seed, first=first, asked=asked, classes=words, drop=drop, device=device,
            progress=progress,
        )  # fmt: skip
    made = write_labelled(
        out, found, model, card, seed=seed, first=first, facts=facts, overwrite=overwrite, progress=progress
    )
    dropped = len(found.dropped)
    empty = int((~found.masks.any((1, 2))).sum())
    progress.result(
        out=str(out), segments=len(made), drawn=len(made) + dropped, dropped=dropped, empty=empty, notes=notes
    )
    progress.close()
    click.echo(f"{len(made)} images of {len(made) + dropped} drawn, with their labels: {out}")
    if dropped:
        click.echo(
            f"The {dropped} most uncertain were left out: mean uncertainty {found.dropped.mean():.4f}, of those kept "
            f"{found.uncertainty.mean():.4f} nats."
        )
    if empty:
        click.echo(f"{empty} of the images kept show no label.")


def _require_folder(out: Path) -> None:
    if out.suffix.lower() in (".nrrd", ".nii", ".gz", ".mha", ".png", ".jpg", ".npy", ".csv", ".zip"):
        raise InputError(f"{out} is no folder: images go with their table.", "Give --out a folder.")
