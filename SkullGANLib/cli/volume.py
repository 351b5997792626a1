"""``skullgan volume``: learn one CT volume with a pyramid of GANs, and draw others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from SkullGANLib.cli import common
from SkullGANLib.cli.volume_acoustic import acoustic
from SkullGANLib.cli.volume_calvarium import calvarium, maps
from SkullGANLib.cli.volume_from_labels import FORMATS, from_labels
from SkullGANLib.cli.volume_labels import labels
from SkullGANLib.cli.volume_stack import stack
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress

if TYPE_CHECKING:
    from SkullGANLib.ct.volume import Volume

PRESETS = {
    "full": "up to 140 voxels, for a GPU",
    "demo": "four small scales, minutes on a processor",
    "ct-gan": "as published",
}

path = click.Path(path_type=Path)


@click.group(short_help="Learn one CT volume, and draw others.")
def volume() -> None:
    """Learn one CT volume with a pyramid of GANs, and draw others."""


@volume.command(short_help="Learn a volume; run again to resume.")
@click.argument("scan", type=path)
@click.option("--out", required=True, type=path, help="Run folder; an existing run is resumed.")
@click.option(
    "--dimensions", type=click.Choice(["2", "3"]), default="3", show_default=True, help="2: slices as channels."
)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="full",
    show_default=True,
    help="; ".join(f"{name}: {title}" for name, title in PRESETS.items()) + ".",
)
@click.option("--box", help="Part of the volume: first and last slice, row, column, as in 10,80,40,200,40,200.")
@click.option("--series", help="DICOM series, where a folder holds several.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of weights and noise.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other option, such as projection=0.")
@common.command
def train(
    scan: Path,
    out: Path,
    dimensions: str,
    preset: str,
    box: str | None,
    series: str | None,
    device: str,
    seed: int,
    settings: tuple[str, ...],
    progress: Progress,
) -> None:
    """Learn the CT volume SCAN, scale by scale. The same command again goes on where it stopped."""
    from SkullGANLib.ct.io import read_volume
    from SkullGANLib.train.options import parse_setting
    from SkullGANLib.train.pyramid import train_volume
    from SkullGANLib.train.pyramid_options import pyramid_options
    from SkullGANLib.train.pyramid_volume import network_for, notes_of

    given = {"dimensions": int(dimensions), "device": device, "seed": seed}
    options = pyramid_options({**given, **dict(parse_setting(text) for text in settings)}, preset)
    scanned = read_volume(scan, series=series)
    learnt = scanned if box is None else part(scanned, box)
    notes = [*scanned.notes, *notes_of(learnt, network_for(learnt, options))]
    for note in notes:
        click.echo(f"Note: {note}")
    model = train_volume(learnt, out, options, progress=progress)
    progress.result(model=str(model), notes=notes)
    progress.close()
    click.echo(f"Model: {model}")


@volume.command(short_help="Draw volumes from a model.")
@click.option("--model", "folder", required=True, type=path, help="Run or model folder.")
@click.option("--out", required=True, type=path, help="Folder to make.")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1), help="Volumes to draw.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the noise.")
@click.option(
    "--enlarged", default="1", show_default=True, help="Times the volume learnt: one number, or slice,row,column."
)
@click.option(
    "--first-scale",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Scale that noise enters first: 0 draws freely, from a higher one on only finer detail varies.",
)
@click.option("--source", type=path, help="CT whose coarse structure is kept and refined from --first-scale on.")
@click.option("--format", "file_format", type=click.Choice(FORMATS), default="nrrd", show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--overwrite", is_flag=True, help="Replace what is there already.")
@common.command
def generate(
    folder: Path,
    out: Path,
    count: int,
    seed: int,
    enlarged: str,
    first_scale: int,
    source: Path | None,
    file_format: str,
    device: str,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Draw CT volumes in HU, where the volume learnt lies in the patient.

    The folder holds the volumes, volumes.json with the model's hash and the seed of each, and preview.png.
    """
    from SkullGANLib.ct.io import read_volume
    from SkullGANLib.files import replace_folder
    from SkullGANLib.generate.volumes import draw_volumes, write_volumes
    from SkullGANLib.models.folder import load_model, shipped_model

    if not overwrite and out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} exists already.", "Choose another folder, or add --overwrite.")
    model = load_model(shipped_model(folder), volumes=True)
    drawn = draw_volumes(
        model,
        count,
        seed=seed,
        enlarged=common.numbers(enlarged, float, "--enlarged"),
        first_scale=first_scale,
        source=None if source is None else read_volume(source),
        device=device,
        progress=progress,
    )
    facts = {"seed": seed, "first_scale": first_scale, "source": None if source is None else source.name}
    with replace_folder(out, marker="volumes.json") as temporary:
        write_volumes(drawn, temporary, model, file_format, facts)
    progress.result(volumes=str(out))
    progress.close()
    click.echo(f"{count} volume{'s' if count > 1 else ''}: {out}")


def part(whole: Volume, box: str) -> Volume:
    """The part of a volume that ``--box`` names."""
    try:
        ends = [int(number) for number in box.split(",")]
        return whole.part(tuple(ends[::2]), tuple(ends[1::2]))
    except ValueError as error:
        sizes = " x ".join(map(str, whole.shape))
        raise InputError(
            f"--box {box} does not lie in {sizes} voxels.", "Give first,last of the slices, rows and columns."
        ) from error


for command in (acoustic, calvarium, from_labels, labels, maps, stack):
    volume.add_command(command)
