"""``skullgan volume calvarium`` and ``maps``: the skull cap of a head CT, and thickness and SDR all over one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from SkullGANLib.cli import common
from SkullGANLib.errors import InputError, SkullGANError
from SkullGANLib.progress import Progress, report

if TYPE_CHECKING:
    from SkullGANLib.evaluate.surface import SurfaceMaps

path = click.Path(path_type=Path)


@click.command(short_help="Cut the calvarium out of a head CT.")
@click.argument("scan", type=path)
@click.option("--out", required=True, type=path, help="File to write: .nrrd, .nii.gz or .mha.")
@click.option("--spacing", "spacing_mm", default=1.5, show_default=True, metavar="MM", help="Of the cubic voxels.")
@click.option("--bone-only", is_flag=True, help="Make scalp and brain uniform, so that bone alone is left to learn.")
@click.option("--series", help="DICOM series, where a folder holds several.")
@click.option("--hu-offset", type=float, default=0.0, metavar="HU", help="Added to all values (for example -1024).")
@click.option("--mask", type=path, help="Skull mask on the scan's grid, in place of the automatic one.")
@click.option("--head-frame", type=path, help="Transform from head frame to LPS mm, in place of the automatic one.")
@click.option("--overwrite", is_flag=True, help="Replace what is there already.")
@common.command
def calvarium(
    scan: Path,
    out: Path,
    spacing_mm: float,
    bone_only: bool,
    series: str | None,
    hu_offset: float,
    mask: Path | None,
    head_frame: Path | None,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Cut the calvarium out of the head CT SCAN, as a volume that ``skullgan volume train`` learns.

    The cut goes from a finger's breadth above the glabella to the inion. Table, head holder and face become air; HU
    and place in the patient stay.
    """
    from SkullGANLib.cli.prepare import read_head_frame
    from SkullGANLib.ct.io import WRITABLE, read_volume, suffix, write_volume
    from SkullGANLib.prepare.calvarium import crop_calvarium
    from SkullGANLib.prepare.skull import find_skull

    if suffix(out) not in WRITABLE:
        raise InputError(f"Volumes cannot be written as '{out.name}'.", f"Use one of {', '.join(WRITABLE)}.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already.", "Choose another name, or add --overwrite.")
    scanned = read_volume(scan, series=series, hu_offset=hu_offset, progress=progress)
    given = None if mask is None else read_volume(mask, labels=True).hu > 0
    frame = None if head_frame is None else read_head_frame(head_frame)
    skull = find_skull(scanned, mask=given, head_to_lps=frame, progress=progress)
    cropped = crop_calvarium(scanned, spacing_mm=spacing_mm, bone_only=bone_only, skull=skull, progress=progress)
    write_volume(cropped, out)
    progress.result(calvarium=str(out), notes=list(cropped.notes))
    progress.close()
    for note in cropped.notes:
        click.echo(f"Note: {note}")
    voxels = " x ".join(map(str, cropped.shape[::-1]))
    click.echo(f"Calvarium: {out}, {voxels} voxels of {spacing_mm:g} mm")


@click.command(short_help="Map thickness, SDR and HU over calvaria.")
@click.argument("volumes", type=path, nargs=-1)
@click.option("--synthetic", type=path, multiple=True, help="Generated calvaria, or a folder of them; can be repeated.")
@click.option("--out", required=True, type=path, help="Folder to make.")
@click.option("--step", "step_deg", default=2.0, show_default=True, metavar="DEG", help="Between directions.")
@click.option("--threshold", default=300.0, show_default=True, metavar="HU", help="What counts as bone.")
@click.option("--overwrite", is_flag=True, help="Replace what is there already.")
@common.command
def maps(
    volumes: tuple[Path, ...],
    synthetic: tuple[Path, ...],
    out: Path,
    step_deg: float,
    threshold: float,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Map thickness, skull density ratio and HU over the surface of calvaria, VOLUMES real and synthetic ones.

    Each gets a folder with maps.json, maps.csv, maps.png and skull.vtk, the outer surface with the maps as scalars,
    which 3D Slicer loads as a model; calvaria.csv and histograms.png hold all of them. Compare volumes of equal
    voxels: in coarse ones bone looks thicker and its SDR higher.
    """
    from SkullGANLib.ct.io import read_volume
    from SkullGANLib.evaluate.surface import surface_maps
    from SkullGANLib.evaluate.surface_files import TABLE_MARKER, write_all_maps
    from SkullGANLib.files import check_replaceable

    real, made = _volumes(volumes), _volumes(synthetic)
    if not real and not made:
        raise InputError("No volume was given.", "Name the CT of a calvarium, or --synthetic ones.")
    check_replaceable(out, overwrite=overwrite, marker=TABLE_MARKER)
    names = _names([*real, *made])
    found: list[SurfaceMaps] = []
    for file, name in zip([*real, *made], names, strict=True):
        report(progress, len(found), len(names), "Mapping calvaria")
        try:
            found.append(surface_maps(read_volume(file), step_deg=step_deg, threshold_hu=threshold))
        except SkullGANError as error:
            raise type(error)(f"{name}: {error.message}", error.advice) from error
    report(progress, len(found), len(names), "Mapping calvaria")
    named = dict(zip(names, found, strict=True))
    kinds = [{name: named[name] for name in part} for part in (names[: len(real)], names[len(real) :])]
    write_all_maps(*kinds, out, overwrite=overwrite)
    progress.result(maps=str(out), calvaria={name: each.summary() for name, each in named.items()})
    progress.close()
    for name, each in named.items():
        told = each.summary()
        thickness, sdr = told["thickness_mm"], told["sdr"]
        click.echo(
            f"{name}: thickness {thickness['median']:.2f} mm ({thickness['p5']:.2f} to {thickness['p95']:.2f}), "
            f"SDR {sdr['median']:.2f} ({sdr['p5']:.2f} to {sdr['p95']:.2f}), {told['mean_hu']['median']:.0f} HU; "
            f"bone in {told['bone_share']:.1%} of directions"
        )
        for note in each.notes:
            click.echo(f"Note: {note}")
    if len({round(max(each.voxel_mm), 2) for each in found}) > 1:
        click.echo("Note: The voxels of these volumes differ in size: compare only those of equal size.")
    click.echo(f"Maps: {out}")


def _volumes(given: tuple[Path, ...]) -> list[Path]:
    """Files and folders; a folder that holds volume files stands for all of these."""
    from SkullGANLib.ct.io import READABLE, suffix

    found = []
    for each in given:
        files = sorted(f for f in each.iterdir() if suffix(f) in READABLE) if each.is_dir() else []
        found += files or [each]
    return found


def _names(files: list[Path]) -> list[str]:
    """A folder's name for each file, no two alike."""
    from SkullGANLib.ct.io import suffix

    names: list[str] = []
    for file in files:
        stem = file.name if file.is_dir() else file.name[: len(file.name) - len(suffix(file))]
        tried = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(files) + 1))
        names.append(next(name for name in tried if name not in names))
    return names
