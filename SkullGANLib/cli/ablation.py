"""``skullgan ablation``: the tables of CT-GAN on a volume of your own."""

from __future__ import annotations

from pathlib import Path

import click

from SkullGANLib.cli import common
from SkullGANLib.cli.volume import PRESETS, part
from SkullGANLib.progress import Progress

path = click.Path(path_type=Path)


@click.command(short_help="Measure what each loss of the pyramid of GANs does, on one CT volume.")
@click.option("--volume", "scan", required=True, type=path, help="CT volume to learn.")
@click.option("--out", required=True, type=path, help="Folder of the runs and tables; called again, it goes on.")
@click.option("--dimensions", type=click.Choice(["2", "3", "both"]), default="both", show_default=True)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(2), help="Trainings of each setting.")
@click.option("--samples", default=6, show_default=True, type=click.IntRange(2), help="Volumes drawn from each model.")
@click.option("--preset", type=click.Choice(list(PRESETS)), default="ct-gan", show_default=True)
@click.option("--box", help="Part of the volume: first and last slice, row, column, as in 10,80,40,200,40,200.")
@click.option("--series", help="DICOM series, where a folder holds several.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other option, such as largest=63.")
@common.command
def ablation(
    scan: Path,
    out: Path,
    dimensions: str,
    seeds: int,
    samples: int,
    preset: str,
    box: str | None,
    series: str | None,
    device: str,
    settings: tuple[str, ...],
    progress: Progress,
) -> None:
    """Train the settings A to D of CT-GAN's ablation in 2D and 3D over several seeds, and set them beside its tables.

    The folder holds every run, ablation-3d.json and .png (the volume, and of each setting the rebuilt volume and two
    samples) and ablation.md with the tables.
    """
    from SkullGANLib.ct.io import read_volume
    from SkullGANLib.train.ablation import CAVEATS, run_ablation, table_of
    from SkullGANLib.train.options import parse_setting
    from SkullGANLib.train.pyramid_options import pyramid_options

    scanned = read_volume(scan, series=series)
    learnt = scanned if box is None else part(scanned, box)
    asked = [3, 2] if dimensions == "both" else [int(dimensions)]
    given = dict(parse_setting(text) for text in settings)
    choices = [pyramid_options({**given, "dimensions": each, "device": device}, preset) for each in asked]
    text = []
    for options in choices:
        found = run_ablation(learnt, out, options, seeds=seeds, samples=samples, progress=progress)
        scales = ", ".join("x".join(map(str, shape)) for shape in found.shapes)
        title = f"{options.dimensions}D, {seeds} seeds (mean ± standard deviation), scales {scales}"
        text += [f"## {title}", "", *_markdown(table_of(found)), ""]
    text += [f"- {caveat}" for caveat in CAVEATS]
    (out / "ablation.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    progress.result(ablation=str(out))
    progress.close()
    click.echo("\n".join(text))
    click.echo(f"Ablation: {out}")


def _markdown(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
