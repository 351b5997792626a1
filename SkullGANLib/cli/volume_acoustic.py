"""``skullgan volume acoustic``: a head CT as the medium of an ultrasound simulation."""

from __future__ import annotations

from pathlib import Path

import click

from SkullGANLib.cli import common
from SkullGANLib.progress import Progress

RELATIONS = ("aubry", "marsac", "schneider", "webb-bone", "webb-soft")
FORMATS = ("nifti", "mat", "hdf5")

path = click.Path(path_type=Path)


@click.command(short_help="Turn a head CT into density, sound speed and attenuation.")
@click.argument("scan", type=path)
@click.option("--out", required=True, type=path, help="Folder to make.")
@click.option(
    "--relation",
    type=click.Choice(RELATIONS),
    default="aubry",
    show_default=True,
    help="aubry, marsac: scaled to the scan's densest bone; schneider: HU as they are; webb: GE, 120 kV, by kernel.",
)
@click.option("--frequency", default=500.0, show_default=True, help="Of the ultrasound, kHz.")
@click.option("--spacing", type=float, metavar="MM", help="Resample to cubic voxels; by default the scan's.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    default=("nifti",),
    show_default=True,
    help="Several can be given. mat and hdf5: a medium for k-Wave.",
)
@click.option(
    "--outside",
    type=click.Choice(["water", "tissue"]),
    default="water",
    show_default=True,
    help="What becomes of everything around the head and of air in it.",
)
@click.option("--keep-air", is_flag=True, help="Leave the air cavities of the head as air.")
@click.option("--cortical-hu", type=float, metavar="HU", help="Of solid cortical bone; by default the scan's densest.")
@click.option("--series", help="DICOM series, where a folder holds several.")
@click.option("--hu-offset", type=float, default=0.0, metavar="HU", help="Added to all values (for example -1024).")
@click.option("--overwrite", is_flag=True, help="Replace what is there already.")
@common.command
def acoustic(
    scan: Path,
    out: Path,
    relation: str,
    frequency: float,
    spacing: float | None,
    formats: tuple[str, ...],
    outside: str,
    keep_air: bool,
    cortical_hu: float | None,
    series: str | None,
    hu_offset: float,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Map the head CT SCAN to density, sound speed and attenuation, to simulate ultrasound through the skull.

    The folder holds the maps, acoustic.json with their units, source and validity, and preview.png.
    """
    from SkullGANLib.ct.acoustic import acoustic_maps
    from SkullGANLib.ct.acoustic_files import MARKER, check_formats, facts, write_acoustic
    from SkullGANLib.ct.io import read_volume
    from SkullGANLib.files import check_replaceable

    check_formats(formats)
    check_replaceable(out, overwrite=overwrite, marker=MARKER)
    scanned = read_volume(scan, series=series, hu_offset=hu_offset, progress=progress)
    maps = acoustic_maps(
        scanned,
        relation,
        frequency_mhz=frequency / 1000,
        spacing_mm=spacing,
        outside=outside,
        keep_air=keep_air,
        cortical_hu=cortical_hu,
        progress=progress,
    )
    write_acoustic(maps, out, formats, source=scanned, overwrite=overwrite)
    progress.result(acoustic=str(out))
    progress.close()
    for note in (*scanned.notes, *maps.notes):
        click.echo(f"Note: {note}")
    told = facts(maps, scanned)
    click.echo(
        f"Bone: {told['bone']['volume_ml']:g} ml; {told['bone']['cortical_hu']:.0f} HU count as solid cortical bone."
    )
    for name in ("density", "sound_speed", "attenuation"):
        part = told["bone"][name]
        click.echo(
            f"  {name.replace('_', ' ')}: median {part['median']:.4g}, 1 to 99 % {part['p1']:.4g} to {part['p99']:.4g} "
            f"{told['units'][name]}"
        )
    grid = " x ".join(map(str, told["grid"]["shape_xyz"]))
    click.echo(f"Grid: {grid} voxels, {told['grid']['points_per_wavelength']:g} in the shortest wavelength.")
    click.echo(f"Valid for: {told['valid_for']}")
    click.echo(f"Maps: {out}")
