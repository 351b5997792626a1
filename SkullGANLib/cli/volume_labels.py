"""``skullgan volume labels``: the layers of the skull, brain, scalp and other bone of a head CT as a label map."""

from __future__ import annotations

from pathlib import Path

import click

from SkullGANLib.cli import common
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress

path = click.Path(path_type=Path)


@click.command(short_help="Label skull layers, brain and scalp of a head CT.")
@click.argument("scan", type=path)
@click.option(
    "--out",
    required=True,
    type=path,
    help="File to write: .nrrd, .nii.gz or .mha; .seg.nrrd for a segmentation that 3D Slicer opens.",
)
@click.option("--series", help="DICOM series, where a folder holds several.")
@click.option("--hu-offset", type=float, default=0.0, metavar="HU", help="Added to all values (for example -1024).")
@click.option("--mask", type=path, help="Skull mask on the scan's grid, in place of the automatic one.")
@click.option("--head-frame", type=path, help="Transform from head frame to LPS mm, in place of the automatic one.")
@click.option("--overwrite", is_flag=True, help="Replace what is there already.")
@common.command
def labels(
    scan: Path,
    out: Path,
    series: str | None,
    hu_offset: float,
    mask: Path | None,
    head_frame: Path | None,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Label the head CT SCAN, voxel by voxel, and write the label map with the scan's geometry.

    0 air, 1 outer table, 2 diploe, 3 inner table of the vault, 4 brain, 5 scalp (all soft tissue outside the skull),
    6 other bone (skull base, face, mandible, teeth, vertebrae).
    """
    from SkullGANLib.cli.prepare import read_head_frame
    from SkullGANLib.ct.io import WRITABLE, read_volume, suffix
    from SkullGANLib.prepare.layers import head_labels
    from SkullGANLib.prepare.layers_files import label_volumes_ml, write_labels
    from SkullGANLib.prepare.skull import find_skull

    if suffix(out) not in WRITABLE:
        raise InputError(f"Volumes cannot be written as '{out.name}'.", f"Use one of {', '.join(WRITABLE)}.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already.", "Choose another name, or add --overwrite.")
    scanned = read_volume(scan, series=series, hu_offset=hu_offset, progress=progress)
    given = None if mask is None else read_volume(mask, labels=True).hu > 0
    frame = None if head_frame is None else read_head_frame(head_frame)
    skull = find_skull(scanned, mask=given, head_to_lps=frame, progress=progress)
    found = head_labels(scanned, skull=skull, progress=progress)
    write_labels(found, out)
    volumes_ml, notes = label_volumes_ml(found), [*scanned.notes, *found.notes]
    progress.result(labels=str(out), volumes_ml=volumes_ml, notes=notes)
    progress.close()
    for note in notes:
        click.echo(f"Note: {note}")
    for name, ml in volumes_ml.items():
        click.echo(f"{name:<12}{ml:9.1f} ml")
    click.echo(f"Labels: {out}")
