"""``skullgan dataset import-classes`` and ``dataset classes``: images of several classes, and classes of segments."""

from __future__ import annotations

import itertools
from pathlib import Path

import click

from SkullGANLib.cli import common
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress

KINDS = click.Choice(["real", "synthetic", "artificial", "phantom", "pictures"])

SHOWN = 40  # classes; the rest is counted
path_ = click.Path(path_type=Path)


@click.command("import-classes", short_help="Make a data set of a folder of images for each class.")
@click.argument("source", type=path_)
@click.argument("output", type=path_)
@click.option("--size", default=128, show_default=True, type=click.IntRange(32, 512), help="Rows and columns.")
@click.option("--levels", type=click.IntRange(1), help="How many folders make a class.  [default: all]")
@click.option("--window-hu", type=(float, float), help="HU that black and white of 8-bit images stand for.")
@click.option(
    "--hu-offset",
    type=float,
    default=0.0,
    metavar="HU",
    help="Added to the values of pictures of more than 8 bits (for example -1024).",
)
@click.option(
    "--spacing", "spacing_mm", type=float, help="Of pixels in OUTPUT, in mm.  [default: as DICOM says, else 0.45]"
)
@click.option(
    "--background", "background_hu", type=float, help="HU beyond tissue.  [default: -1000 with CT in DICOM, else black]"
)
@click.option("--kind", type=KINDS, help="Of the data set.  [default: pictures for grey levels, else real]")
@click.option(
    "--subjects", type=path_, help="CSV with the columns file (path below SOURCE), subject, and split if any."
)
@click.option(
    "--subject-pattern",
    metavar="REGEX",
    help="Finds in a file's path what tells persons apart, as in 'patient(\\d+)'.  [default: the patient in DICOM, "
    "else each file]",
)
@click.option(
    "--duplicates",
    type=click.Choice(["refuse", "drop"]),
    default="refuse",
    show_default=True,
    help="Images of the same pixels in two classes: stop, or leave them all out, and copies within a class but one.",
)
@click.option("--overwrite", is_flag=True, help="Replace a data set that is there already.")
@common.command
def import_classes(source: Path, output: Path, progress: Progress, **options) -> None:
    """Make the data set OUTPUT of the images in SOURCE, with the column class: the folders an image lies in.

    PNG, JPEG, TIFF or DICOM, as SOURCE/CT/skull/temporal/1.png. They become grey squares of one size: CT in DICOM in
    HU, 8 bits as 0 to 255 unless --window-hu is given, more bits as they are.
    """
    from SkullGANLib.cli.dataset import summary
    from SkullGANLib.segments.class_names import CLASS
    from SkullGANLib.segments.classes import import_classes as import_all
    from SkullGANLib.segments.table import count_values

    with common.notes() as notes:
        made = import_all(source, output, progress=progress, **options)
    counts = count_values(made.table, CLASS)
    progress.result(dataset=str(output), segments=len(made), classes=counts, notes=notes)
    progress.close()
    click.echo(f"Imported {source} into {output}: {summary(made)}.")
    click.echo(_listed(counts))


@click.command("reduce")
@click.argument("path", type=path_)
@click.argument("output", type=path_)
@click.option("--size", required=True, type=click.IntRange(1), help="Rows and columns, a whole part of those of PATH.")
@click.option("--overwrite", is_flag=True, help="Replace what is there already.")
@common.command
def reduce_(path: Path, output: Path, size: int, overwrite: bool, progress: Progress) -> None:
    """Write the data set PATH with fewer, larger pixels as OUTPUT: what images of a small model are compared with."""
    from SkullGANLib.cli.dataset import summary
    from SkullGANLib.segments.dataset import SegmentDataset
    from SkullGANLib.segments.reduce import reduce

    made = reduce(SegmentDataset.open(path), output, size, overwrite=overwrite, progress=progress)
    progress.result(dataset=str(output), segments=len(made))
    progress.close()
    click.echo(f"Reduced {path} to {output}: {summary(made)}.")


@click.command()
@click.argument("path", type=path_)
@click.option("--by", metavar="COLUMN,...", help="Columns that make a class: region,side gives temporal/left.")
@click.option("--from", "table", type=path_, help="CSV with the columns index and class, a row for each segment.")
@click.option("--rename", multiple=True, metavar="OLD=NEW", help="Another name for a class; may be repeated.")
@click.option("--overwrite", is_flag=True, help="Replace classes that are there already.")
@common.command
def classes(
    path: Path, by: str | None, table: Path | None, rename: tuple[str, ...], overwrite: bool, progress: Progress
) -> None:
    """Write the column class of the data set PATH: made of other columns, read from a table, or renamed."""
    from SkullGANLib.segments import class_names
    from SkullGANLib.segments.dataset import SegmentDataset

    if by is not None and table is not None:
        raise InputError("Classes are made of columns or read from a table.", "Give --by or --from, not both.")
    if not (by or table or rename):
        raise InputError("Nothing says what the classes are.", "Give --by, --from or --rename.")
    opened, names = SegmentDataset.open(path), class_names.parse_renaming(rename)
    if by:
        columns = [name.strip() for name in by.split(",")]
        counts = class_names.classes_by(opened, columns, names, overwrite=overwrite)
    elif table:
        counts = class_names.classes_from(opened, table, names, overwrite=overwrite)
    else:
        counts = class_names.rename_classes(opened, names)
    progress.result(dataset=str(path), classes=counts)
    click.echo(f"The {len(opened)} segments of {path} have classes.")
    click.echo(_listed(counts))


def _listed(counts: dict[str, int]) -> str:
    shown = dict(itertools.islice(counts.items(), SHOWN))
    lines = [f"  {'without a class' if name == '-' else name}  {n}" for name, n in shown.items()]
    if len(counts) > SHOWN:
        lines.append(f"  and {len(counts) - SHOWN} more classes")
    return "\n".join(lines)
