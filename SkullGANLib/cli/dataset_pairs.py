"""``skullgan dataset import-pairs``: scans with label maps, of any organ, as a data set of slices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from SkullGANLib.cli import common
from SkullGANLib.progress import Progress

if TYPE_CHECKING:
    from SkullGANLib.segments.dataset import SegmentDataset

LAYOUTS = {
    "mm-whs": "ct_train_1001_image.nii.gz, ct_train_1001_label.nii.gz",
    "dicom": "training/p1/p1_whs_img.dcm, p1_whs_img_gt.dcm",
    "pairs": "other NIfTI, NRRD or MHA; DICOM folder and label map",
}
KINDS = ("real", "synthetic", "artificial", "phantom")
SHOWN, COLUMNS = 32, 8
SHEET_HU = (-300.0, 700.0)  # soft tissue, contrast and bone apart

path = click.Path(path_type=Path)


@click.command("import-pairs", short_help="Make a data set of scans with label maps.")
@click.argument("root", type=path)
@click.option("--out", required=True, type=path, help="Data set to make.")
@click.option(
    "--layout",
    type=click.Choice(list(LAYOUTS)),
    help="; ".join(f"{name}: {words}" for name, words in LAYOUTS.items()) + ".  [default: recognised]",
)
@click.option(
    "--size",
    default=128,
    show_default=True,
    type=click.IntRange(64, 512),
    help="Rows and columns; models take multiples of 64, patch-whs of 128.",
)
@click.option(
    "--spacing", "spacing_mm", type=float, help="Pixel spacing in mm.  [default: the median field of view fits]"
)
@click.option(
    "--plane",
    default="axial",
    show_default=True,
    type=click.Choice(["axial", "coronal", "sagittal"]),
    help="Of slices.",
)
@click.option(
    "--every",
    "every_mm",
    type=float,
    metavar="MM",
    help="Distance between slices.  [default: the volume's own, at least the pixel spacing]",
)
@click.option(
    "--keep", default="labelled", show_default=True, type=click.Choice(["labelled", "all"]), help="Which slices."
)
@click.option(
    "--centre", default="image", show_default=True, type=click.Choice(["image", "labels"]), help="Middle of the slices."
)
@click.option("--background", "background_hu", default=-1000.0, show_default=True, help="HU beyond the image.")
@click.option("--blank", is_flag=True, help="What has no label becomes background, such as the table under a head.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    metavar="NAME=SHARE",
    help="A part of the split by subject.  [default: the folders' own split, else train=0.7, val=0.15, test=0.15]",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the split.")
@click.option(
    "--label-names",
    multiple=True,
    metavar="VALUE=NAME,...",
    help="As in 1=aorta,2=spine, before what the files say; values without any name are then refused; 3= is no label; "
    "may be repeated.  [default: what the files say, else label 1]",
)
@click.option("--hu-offset", type=float, default=0.0, metavar="HU", help="Added to all values (for example -1024).")
@click.option(
    "--window", "window_hu", type=(float, float), help="HU minimum and range of 8-bit pictures in DICOM files."
)
@click.option("--kind", type=click.Choice(KINDS), help="Of the data set.  [default: real; phantom for phantoms]")
@click.option("--sheet", type=path, help="Also draw slices with their labels beside them (.png).")
@click.option("--overwrite", is_flag=True, help="Replace a data set that is there already.")
@common.command
def import_pairs(
    root: Path,
    out: Path,
    layout: str | None,
    parts: tuple[str, ...],
    seed: int,
    label_names: tuple[str, ...],
    hu_offset: float,
    window_hu: tuple[float, float] | None,
    kind: str | None,
    sheet: Path | None,
    overwrite: bool,
    progress: Progress,
    **cut,
) -> None:
    """Make a data set of the scans and label maps in the folder ROOT: square slices with the label set structures.

    One pair of files for each patient, of any organ: NIfTI, NRRD or MHA by name (image and label, labels, seg, gt or
    mask), MM-WHS, or DICOM. Labels are brought to the image by place; patients get pseudonyms.
    """
    from pydantic import ValidationError

    from SkullGANLib.cli.dataset import part_and_share, summary
    from SkullGANLib.ct.label_names import parse_names
    from SkullGANLib.errors import InputError
    from SkullGANLib.segments.exchange import refuse_existing
    from SkullGANLib.segments.pairs import STRUCTURES, PairOptions
    from SkullGANLib.segments.pairs import import_pairs as import_all
    from SkullGANLib.segments.table import count_values

    try:
        options = PairOptions(**cut)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"--{first['loc'][0].split('_')[0]}: {first['msg']}.", "Give another value.") from error
    if sheet is not None:
        refuse_existing(sheet, overwrite=overwrite)
    with common.notes() as notes:
        made = import_all(
            root,
            out,
            options,
            layout=layout,
            label_names=parse_names(",".join(label_names)) if label_names else None,
            shares=dict(map(part_and_share, parts)) or None,
            seed=seed,
            hu_offset=hu_offset,
            window_hu=window_hu,
            kind=kind,
            overwrite=overwrite,
            progress=progress,
        )
    if sheet is not None:
        draw_sheet(made, sheet)
    progress.result(dataset=str(out), segments=len(made), notes=notes)
    progress.close()
    click.echo(f"Imported {root} into {out}: {summary(made)}.")
    click.echo(f"  structures: {', '.join(f'{value} {name}' for value, name in made.labels(STRUCTURES).items())}")
    click.echo(f"  split: {', '.join(f'{name} {n}' for name, n in count_values(made.table, 'split').items())}")


def draw_sheet(made: SegmentDataset, file: Path) -> None:
    """Slices spread over the set, each with its labels in colour beside it, and what the colours stand for below."""
    import numpy as np

    from SkullGANLib.segments.label_colours import coloured, grey, legend
    from SkullGANLib.segments.pairs import STRUCTURES
    from SkullGANLib.segments.sheet import contact_sheet, write_png

    rows = np.unique(np.linspace(0, len(made) - 1, min(SHOWN, len(made))).round().astype(int))
    tiles = np.stack([grey(made.hu[rows], SHEET_HU), coloured(made.label_sets[STRUCTURES][rows])], 1)
    sheet = contact_sheet(tiles.reshape(-1, *tiles.shape[2:]), columns=COLUMNS)
    write_png(file, np.concatenate([sheet, *legend(made.labels(STRUCTURES), sheet.shape[1])]))
