"""``skullgan dataset``: look after segment data sets."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from SkullGANLib.cli import common
from SkullGANLib.cli.dataset_classes import classes, import_classes, reduce_
from SkullGANLib.cli.dataset_pairs import import_pairs
from SkullGANLib.cli.dataset_sheet import draw_sheet
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress

if TYPE_CHECKING:
    from SkullGANLib.segments.dataset import SegmentDataset
    from SkullGANLib.segments.table import CopiesChoice

KINDS = click.Choice(["real", "synthetic", "artificial", "phantom"])
COUNTED = ("subject", "region", "side", "plane", "split", "quality")
MOST_LISTED = 40
PICTURES_IGNORE = {
    "--kind": "kind",
    "--spacing": "spacing_mm",
    "--window": "window_hu",
    "--table": "table_file",
    "--subject": "subject",
}
FORMATS = {"npy": (".npy",), "nrrd": (".nrrd",), "nii": (".nii", ".nii.gz"), "png": (), "dicom": ()}  # and suffixes
EMPTY = "-"  # what the count of a table calls an empty cell

folder = click.Path(path_type=Path)
overwrite = click.option("--overwrite", is_flag=True, help="Replace a data set that is there already.")


@click.group()
def dataset() -> None:
    """Check, audit, merge, split, filter, import and export segment data sets."""


@dataset.command()
@click.argument("path", type=folder)
@common.command
def check(path: Path, progress: Progress) -> None:
    """Verify every file of the data set PATH and count what it holds."""
    from SkullGANLib.segments.dataset import SegmentDataset
    from SkullGANLib.segments.splits import subjects_in_several_parts
    from SkullGANLib.segments.table import CLASS_COLUMNS, count_values

    found = SegmentDataset.open(path, verify=True, progress=progress)
    click.echo(f"{path} is whole: {summary(found)}.")
    for column in (*COUNTED, *(name for name in CLASS_COLUMNS if name in found.table)):
        click.echo(_counts(column, count_values(found.table, column)))
    if found.label_sets:
        click.echo(f"  label sets: {', '.join(found.label_sets)}")
    if leaks := subjects_in_several_parts(found.table):
        names = ", ".join(leaks[:10]) + (" ..." if len(leaks) > 10 else "")
        click.echo(f"Note: {len(leaks)} subjects stand in more than one part of the split: {names}.")


@dataset.command()
@click.argument("path", type=folder)
@click.option("--pairs", type=click.Path(path_type=Path), help="Also write the near-duplicates as a table (.csv).")
@common.command
def audit(path: Path, pairs: Path | None, progress: Progress) -> None:
    """Look for leaks between the parts of the split data set PATH; exit code 1 where something is found.

    No subject may stand in two parts, and no segment in one part have a copy in another, be it shifted, mirrored or
    noised. Neighbouring slices of one head are no leak as long as they stand in one part.
    """
    from SkullGANLib.evaluate.leaks import find_leaks
    from SkullGANLib.evaluate.registry import EvaluatedSet
    from SkullGANLib.segments.dataset import SegmentDataset
    from SkullGANLib.segments.table import write_table

    opened = SegmentDataset.open(path, verify=True, progress=progress)
    whole = EvaluatedSet("real", opened.hu, opened.fingerprint, opened.table, kind=opened.meta.kind)
    found = find_leaks(whole, progress=progress)
    progress.result(dataset=str(path), subjects=found.subjects, near_duplicates=len(found))
    progress.close()
    if pairs is not None:
        write_table(pairs, found.pairs)
    for sentence in filter(None, (found.yardstick.caution, found.doubt)):
        click.echo(f"Note: {sentence}")
    if found:
        raise InputError(" ".join(found.sentences()), "Split by subject, and leave one of each two copies out.")
    parts = ", ".join(f"{name} {count}" for name, count in found.parts.items())
    nothing = "leak" if found.unknown < sum(found.parts.values()) else "copy"
    click.echo(f"No {nothing} between the parts of {path}: {parts}.")


@dataset.command()
@click.argument("path", type=folder)
@common.command
def layers(path: Path, progress: Progress) -> None:
    """Add outer table, diploe and inner table as label maps to the data set PATH; prepare does so by itself."""
    from SkullGANLib.prepare.layers import add_layers
    from SkullGANLib.segments.dataset import SegmentDataset

    opened = SegmentDataset.open(path, verify=True)
    add_layers(opened, progress=progress)
    progress.result(dataset=str(path), segments=len(opened))
    progress.close()
    click.echo(f"The {len(opened)} segments of {path} have label maps of their layers.")


@dataset.command()
@click.argument("inputs", type=folder, nargs=-1, required=True)
@click.argument("output", type=folder)
@click.option("--kind", type=KINDS, help="Kind of the new set; needed where the kinds differ.")
@overwrite
@common.command
def merge(inputs: tuple[Path, ...], output: Path, kind: str | None, overwrite: bool, progress: Progress) -> None:
    """Write the data sets INPUTS as one, OUTPUT, in their order."""
    from SkullGANLib.segments.dataset import SegmentDataset
    from SkullGANLib.segments.merge import merge as merge_datasets

    sets = [SegmentDataset.open(path) for path in inputs]
    merged = merge_datasets(sets, output, kind=kind, overwrite=overwrite, progress=progress)
    progress.result(dataset=str(output), segments=len(merged))
    click.echo(f"Merged {len(sets)} data set{'s' * (len(sets) > 1)} into {output}: {summary(merged)}.")


@dataset.command()
@click.argument("path", type=folder)
@click.option(
    "--part", "parts", multiple=True, metavar="NAME=SHARE", help="A part and its share; default train=0.5, test=0.5."
)
@click.option(
    "--by",
    type=click.Choice(["subject", "paper"]),
    default="subject",
    show_default=True,
    help="Keep each person in one part, or shuffle segments as the paper did.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@common.command
def split(path: Path, parts: tuple[str, ...], by: str, seed: int, progress: Progress) -> None:
    """Write the column split of the data set PATH."""
    from SkullGANLib.segments.dataset import SegmentDataset

    opened = SegmentDataset.open(path)
    with common.notes():
        counts = opened.split(dict(map(part_and_share, parts)) or None, by=by, seed=seed)
    progress.result(dataset=str(path), parts=counts)
    words = ", ".join(f"{name} {count} ({count / len(opened):.1%})" for name, count in counts.items())
    click.echo(f"Split {len(opened)} segments by {'subject' if by == 'subject' else 'segment'}: {words}.")


@dataset.command("filter")
@click.argument("path", type=folder)
@click.argument("output", type=folder)
@click.option("--region", multiple=True, help="temporal, parietal, frontal or occipital; may be repeated, as all here.")
@click.option("--side", multiple=True, help="left or right.")
@click.option("--class", multiple=True, help="As the column class has it, such as temporal/left.")
@click.option("--plane", multiple=True, help="axial, coronal or sagittal.")
@click.option("--split", multiple=True, help="train, test, ...")
@click.option("--quality", multiple=True, help="ok, or what is wrong.")
@click.option("--subject", multiple=True, help="Pseudonym.")
@common.command
def filter_(path: Path, output: Path, progress: Progress, **wanted: tuple[str, ...]) -> None:
    """Write the segments of PATH that fit every option as a new data set OUTPUT."""
    from SkullGANLib.segments.class_names import CLASS, classes_of
    from SkullGANLib.segments.dataset import SegmentDataset
    from SkullGANLib.segments.table import count_values

    opened = SegmentDataset.open(path)
    wanted = {name: list(values) for name, values in wanted.items() if values}
    if CLASS in wanted:
        classes_of(opened)  # or it is said how to make them
    rows = opened.filter(**wanted)
    if len(rows) == 0:
        held = [f"{name}: {', '.join(count_values(opened.table, name))}" for name in wanted]
        raise InputError("No segment fits.", f"{path} has {'; '.join(held)}.")
    chosen = opened.select(rows, output)
    progress.result(dataset=str(output), segments=len(chosen))
    click.echo(f"Kept {len(chosen)} of {len(opened)} segments in {output}: {summary(chosen)}.")


@dataset.command("import")
@click.argument("source", type=folder)
@click.argument("output", type=folder)
@click.option("--kind", type=KINDS, default="real", show_default=True)
@click.option("--spacing", "spacing_mm", type=float, help="Pixel spacing in mm; default that of a stack, or 0.45.")
@click.option("--window", "window_hu", type=(float, float), help="HU minimum and range of values in -1 to 1.")
@click.option("--table", "table_file", type=folder, help="CSV with a row for each segment.")
@click.option("--subject", default="unknown", show_default=True, help="Pseudonym, where the table gives none.")
@overwrite
@common.command
def import_(source: Path, output: Path, table_file: Path | None, progress: Progress, **options) -> None:
    """Make the data set OUTPUT of SOURCE: a .npy array (N,1,128,128) or (N,128,128) in HU, or a stack (.nrrd ...).

    A folder of pictures becomes a data set to pre-train on.
    """
    from SkullGANLib.segments.exchange import import_array
    from SkullGANLib.segments.photographs import import_pictures
    from SkullGANLib.segments.table import read_table

    table = read_table(table_file) if table_file else None
    with common.notes():
        if source.is_dir():
            stated = click.get_current_context().get_parameter_source
            unused = [flag for flag, name in PICTURES_IGNORE.items() if stated(name) != ParameterSource.DEFAULT]
            if unused:
                raise InputError(f"Pictures have no HU: {', '.join(unused)} is of no use.", "Leave it out.")
            made = import_pictures(source, output, overwrite=options["overwrite"], progress=progress)
        else:
            made = import_array(source, output, table=table, progress=progress, **options)
    progress.result(dataset=str(output), segments=len(made))
    click.echo(f"Imported {source.name} into {output}: {summary(made)}.")


@dataset.command()
@click.argument("path", type=folder)
@click.argument("output", type=folder)
@click.option(
    "--format",
    "kind",
    type=click.Choice(list(FORMATS)),
    help="npy, nrrd and nii are files; png and dicom are folders with an image for each segment.  [default: from the "
    "suffix of OUTPUT, where .png is a contact sheet]",
)
@click.option("--flat", is_flag=True, help="For npy: (N,128,128) instead of (N,1,128,128).")
@click.option(
    "--slice-distance", "slice_mm", default=3.1, show_default=True, help="For a stack or dicom: mm between slices."
)
@click.option(
    "--window-hu",
    type=(float, float),
    help="For png: HU shown black and white.  [default: 0 2700; 0 255 for pictures]",
)
@common.copies_option(
    "What to do where segments are marked as copies of training segments: write nothing, leave them out, or write "
    "them too."
)
@click.option("--overwrite", is_flag=True, help="Replace what is there already.")
@common.command
def export(
    path: Path,
    output: Path,
    kind: str | None,
    flat: bool,
    slice_mm: float,
    window_hu: tuple[float, float] | None,
    copies: CopiesChoice,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Write the HU of the data set PATH as OUTPUT: .npy, .nrrd, .mha, .nii.gz, or a folder of pictures or DICOM."""
    from SkullGANLib.segments import exchange
    from SkullGANLib.segments.dataset import SegmentDataset

    wanted = FORMATS.get(kind, ())
    if wanted and not output.name.lower().endswith(wanted):
        raise InputError(f"{output.name} is no name for {kind}.", f"Let it end in {' or '.join(wanted)}.")
    if kind not in ("png", "dicom"):
        exchange.refuse_existing(output, overwrite=overwrite)
    opened = exchange.without_copies(SegmentDataset.open(path, verify=True, progress=progress), copies)
    if kind == "png":
        exchange.export_pictures(opened, output, window_hu=window_hu, overwrite=overwrite, progress=progress)
    elif kind == "dicom":
        exchange.export_dicom(opened, output, slice_mm=slice_mm, overwrite=overwrite, progress=progress)
    elif output.suffix == ".npy":
        exchange.export_npy(opened, output, flat=flat, progress=progress)
    elif output.suffix == ".png":
        draw_sheet(opened, output, number=64, window_hu=window_hu)
    else:
        exchange.export_nrrd_stack(opened, output, slice_mm=slice_mm)
    progress.result(out=str(output), segments=len(opened))
    click.echo(f"Exported {path} to {output}.")


@dataset.command()
@click.argument("output", type=folder)
@click.option("--like", type=folder, help="Data set of real segments whose SDR, thickness and intensity to match.")
@click.option("--idealised", default=500, show_default=True, help="Number of images of the simplest skull.")
@click.option("--unrealistic", default=500, show_default=True, help="Number of images that are plainly no skull.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@overwrite
@common.command
def artificial(
    output: Path, like: Path | None, idealised: int, unrealistic: int, seed: int, overwrite: bool, progress: Progress
) -> None:
    """Make the artificial data set OUTPUT, which fools the radiological metrics without being skulls."""
    from SkullGANLib.segments.artificial import make_artificial_dataset
    from SkullGANLib.segments.dataset import SegmentDataset

    made = make_artificial_dataset(
        output,
        SegmentDataset.open(like) if like else None,
        n_ideal=idealised,
        n_unrealistic=unrealistic,
        seed=seed,
        overwrite=overwrite,
        progress=progress,
    )
    progress.result(dataset=str(output), segments=len(made))
    click.echo(f"Drew {idealised} idealised and {unrealistic} unrealistic segments into {output}: {summary(made)}.")


@dataset.command()
@click.argument("path", type=folder)
@click.argument("output", type=folder)
@click.option("--number", default=64, show_default=True, help="Segments to show, spread evenly over the set.")
@click.option("--columns", default=8, show_default=True)
@click.option("--scale", default=1, show_default=True, help="Whole-number magnification.")
@click.option("--window", "window_hu", type=(float, float), help="HU shown.  [default: 0 2700; 0 255 for pictures]")
@click.option("--titles", is_flag=True, help="Write the row number, region and side above each.")
@click.option("--class", "only", multiple=True, metavar="CLASS", help="Only this class; may be repeated.")
@click.option("--by", metavar="COLUMN", help="A row of segments for each value of a column, such as class.")
@click.option("--overwrite", is_flag=True, help="Replace what is there already.")
@common.command
def sheet(path: Path, output: Path, overwrite: bool, progress: Progress, **options) -> None:
    """Draw segments of the data set PATH as a contact sheet, OUTPUT.png."""
    from SkullGANLib.segments.dataset import SegmentDataset
    from SkullGANLib.segments.exchange import refuse_existing

    refuse_existing(output, overwrite=overwrite)
    shown = draw_sheet(SegmentDataset.open(path), output, **options)
    progress.result(out=str(output), segments=shown)
    click.echo(f"Drew {shown} segments in {output}.")


def _counts(column: str, counts: dict[str, int]) -> str:
    if list(counts) == [EMPTY]:
        return f"  {column}: not given"
    if len(counts) > MOST_LISTED:
        sizes = sorted(counts.values())
        return f"  {column}: {len(counts)} of them, with {sizes[0]} to {sizes[-1]} segments each"
    shown = ", ".join(f"{'none' if value == EMPTY else value}\N{NO-BREAK SPACE}{n}" for value, n in counts.items())
    return textwrap.fill(f"  {column}: {shown}", 100, subsequent_indent="    ").replace("\N{NO-BREAK SPACE}", " ")


def summary(opened: SegmentDataset) -> str:
    """What a data set holds, in a line."""
    counts, meta = opened.meta.counts, opened.meta
    subjects = "1 subject" if counts["subjects"] == 1 else f"{counts['subjects']} subjects"
    shape = f"{meta.size}x{meta.size} pixels of {meta.spacing_mm:g} mm"
    return f"{counts['segments']} {meta.kind} segments of {subjects}, {shape}, {meta.dtype}"


def part_and_share(text: str) -> tuple[str, float]:
    """``train=0.7`` as its two parts.

    Raises:
        InputError: it does not read like that.
    """
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError as error:
        raise InputError(f'"{text}" is not a part and its share.', "Write for example --part train=0.5.") from error


for each in (import_pairs, import_classes, classes, reduce_):
    dataset.add_command(each)
