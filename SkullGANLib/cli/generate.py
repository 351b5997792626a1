"""``skullgan generate``: draw synthetic segments from a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from SkullGANLib.cli import common
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress

if TYPE_CHECKING:
    from SkullGANLib.models.folder import Model
    from SkullGANLib.segments.table import CopiesChoice


@click.command(short_help="Draw synthetic segments from a model.")
@click.option(
    "--model",
    "folder",
    type=click.Path(path_type=Path),
    help="Model folder, training run, or the name of a model that comes along (phantom).",
)
@click.option("--from", "released", type=click.Path(path_type=Path), help="Released weights (.pth) instead of a model.")
@click.option("--window-hu", nargs=2, type=float, help="HU that -1 and 1 of --from stand for, where it is not known.")
@click.option(
    "--out",
    default="synthetic",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Data set folder, .npy, .nrrd or .png.",
)
@click.option("--count", default=100, show_default=True, type=click.IntRange(1), help="Number of segments.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1), help="The same seed draws the same ones."
)
@click.option("--first", default=0, show_default=True, type=click.IntRange(0), help="Number of the first segment.")
@click.option(
    "--condition",
    "conditions",
    multiple=True,
    metavar="NAME=VALUE",
    help="What a model with conditions is asked for: region=temporal, sdr=0.45, or sdr=0.3:0.6 spread evenly; may be "
    "repeated.  [default: as in the training set]",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME[=COUNT]",
    help="For a model with classes: draw --count of this class, or as many as said; may be repeated; all for every "
    "one.  [default: as in the training set]",
)
@common.truncation_options
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="DATASET",
    help="For a model of label maps: data set whose label maps are drawn, --count of them, spread over its subjects.",
)
@click.option("--batch-size", type=click.IntRange(1), help="Drawn at once.  [default: as memory allows]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option(
    "--precision",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "float32", "bfloat16"]),
    help="auto: bfloat16 where that is faster; a few HU away from float32.",
)
@click.option("--slice-mm", default=3.1, show_default=True, help="Stated distance between the slices of a stack.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Also write a contact sheet (.png).")
@click.option(
    "--audit",
    "against",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DATASET",
    help="Look for copies of segments of the data set that the model was trained on; may be repeated.",
)
@common.copies_option("What --audit does about copies: write nothing, leave them out, or mark them in a column.")
@click.option("--batch-statistics", is_flag=True, help="As the released code: each image depends on its batch.")
@click.option("--overwrite", is_flag=True, help="Replace what is there already.")
@common.command
def generate(
    folder: Path | None,
    released: Path | None,
    window_hu: tuple[float, float] | None,
    out: Path,
    count: int,
    seed: int,
    first: int,
    conditions: tuple[str, ...],
    classes: tuple[str, ...],
    truncation: float,
    centres: int,
    labels: Path | None,
    batch_size: int | None,
    device: str,
    precision: str,
    slice_mm: float,
    sheet: Path | None,
    against: tuple[Path, ...],
    copies: CopiesChoice,
    batch_statistics: bool,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Draw synthetic segments. The suffix of --out decides the format; without one it becomes a data set.

    Segment number i of a seed is the same one on every device and for every batch size. Under torchrun each process
    draws its part of them.
    """
    from SkullGANLib.generate.classes import CLASS, classes_asked, towards_middle
    from SkullGANLib.generate.export import check_target, write_segments, write_sheet
    from SkullGANLib.generate.sample import check_count, generate_together
    from SkullGANLib.models.conditions import condition_values, encode, parse_conditions
    from SkullGANLib.segments.dataset import SegmentDataset

    check_target(out, overwrite=overwrite)
    sets = [SegmentDataset.open(path, verify=True) for path in against]
    if copies != "refuse" and not sets:
        raise InputError(
            "--copies needs a data set to look for copies of.", "Give the one of the training with --audit."
        )
    model = _open(folder, released, window_hu)
    if labels is not None:
        _translate(model, labels, out, count, seed, first, device, overwrite, progress)
        return
    asked = parse_conditions(conditions)
    words = classes_asked(model.card, classes, count, asked) if classes else None
    count = count if words is None else len(words)
    check_count(model, count)
    with common.notes() as notes:
        values = condition_values(model.card, asked, count, seed=seed, first=first)
    if words is not None:
        values[CLASS] = words
    if truncation < 1:
        model = towards_middle(model, truncation, centres)
    hu = generate_together(
        model,
        count,
        seed=seed,
        batch_size=batch_size,
        device=device,
        progress=progress,
        first=first,
        condition=encode(model.card.conditions, values) if values else None,
        batch_statistics=batch_statistics,
        precision=precision,
    )
    if hu is None:  # one of several processes, whose part the first one writes
        return
    options = {"seed": seed, "first": first, "slice_mm": slice_mm, "overwrite": overwrite}
    audit = None
    if sets:
        from SkullGANLib.generate.audit import audited

        hu, values, audit, found = audited(hu, values, model.card, sets, copies, first=first, progress=progress)
        options |= found
        notes += audit.notes
    if truncation < 1:
        options["facts"] = {**options.get("facts", {}), "truncation": truncation, "centres": centres}
    path = write_segments(out, hu, model, conditions=values, **options, progress=progress)
    picture = None if sheet is None else write_sheet(sheet, hu, model)
    told = {} if audit is None else {"audit": audit.model_dump(mode="json"), "audited": audit.sentence()}
    progress.result(out=str(path), segments=len(hu), seed=seed, notes=notes, **told)
    progress.close()
    for line in [] if audit is None else [audit.sentence(), *(f"Note: {note}" for note in audit.notes)]:
        click.echo(line)
    for name, (copied, of) in ({} if audit is None else audit.classes).items():
        click.echo(f"  {name}: {copied} of {of}")
    click.echo(f"{len(hu)} segments of {hu.shape[1]}x{hu.shape[2]} pixels: {path}")
    if picture is not None:
        click.echo(f"Picture: {picture}")


def _translate(
    model: Model,
    labels: Path,
    out: Path,
    count: int,
    seed: int,
    first: int,
    device: str,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Draw a slice for each of some label maps of a data set."""
    from SkullGANLib.generate.translate import require_masks
    from SkullGANLib.generate.translate_files import spread_rows, translate_dataset
    from SkullGANLib.segments.dataset import SegmentDataset

    require_masks(model)
    if out.suffix:
        raise InputError(f"{out} is no folder: slices go with their label maps.", "Give --out a folder.")
    source = SegmentDataset.open(labels, verify=True)
    rows = spread_rows(source, count, first)
    if not len(rows):
        raise InputError(
            f"The data set has {len(source)} label maps, none of them is number {first}.", "Lower --first."
        )
    made = translate_dataset(
        model, source, out, rows=rows, seed=seed, device=device, overwrite=overwrite, progress=progress
    )
    few = len(made) < count
    notes = [f"The data set has {len(source)} label maps, so {len(made)} were drawn, not {count}."] if few else []
    progress.result(out=str(made.path), segments=len(made), seed=seed, notes=notes)
    progress.close()
    for note in notes:
        click.echo(f"Note: {note}")
    click.echo(f"{len(made)} slices of {made.hu.shape[1]}x{made.hu.shape[2]} pixels with their labels: {made.path}")


def _open(folder: Path | None, released: Path | None, window_hu: tuple[float, float] | None) -> Model:
    if (folder is None) == (released is None):
        raise InputError("It is not clear which model to draw from.", "Give either --model or --from.")
    if folder is not None:
        from SkullGANLib.models.folder import load_model, shipped_model

        return load_model(shipped_model(folder))
    from SkullGANLib.models.released import load_released

    return load_released(released, window_hu=window_hu)
