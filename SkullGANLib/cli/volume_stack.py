"""``skullgan volume stack``: a patch of the skull vault, drawn slice by slice from a model of segments."""

from __future__ import annotations

from pathlib import Path

import click

from SkullGANLib.cli import common
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress

FORMATS = ("nrrd", "nii.gz", "mha")
MATCHED = 3  # volumes that the walk is matched on; with more it changes little

path = click.Path(path_type=Path)


@click.command(short_help="Draw a patch of the skull vault, slice by slice.")
@click.option(
    "--model",
    "folder",
    required=True,
    type=path,
    help="Model of segments: a folder, a training run, or the name of one that comes along (phantom).",
)
@click.option("--out", required=True, type=path, help="Folder to make.")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1), help="Volumes to draw.")
@click.option("--slices", default=48, show_default=True, type=click.IntRange(2), help="Slices of a volume.")
@click.option("--spacing", "spacing_mm", default=1.0, show_default=True, metavar="MM", help="Between the slices.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The same seed draws the same ones.")
@click.option(
    "--match",
    "dataset",
    type=path,
    metavar="DATASET",
    help="Make neighbouring slices differ as much as those of this data set; as phantoms' if not given.",
)
@click.option("--length", "length_mm", type=float, metavar="MM", help="Distance over which slices stay alike.")
@click.option(
    "--layout",
    type=click.Choice(["curved", "flat"]),
    default="curved",
    show_default=True,
    help="curved: on the surface of a head; flat: the images side by side.",
)
@click.option("--thickness", metavar="A,B", help="Thickness in mm of the first and the last slice.")
@click.option(
    "--condition",
    "conditions",
    multiple=True,
    metavar="NAME=VALUE",
    help="What a model with conditions is asked for: region=temporal, sdr=0.45, or sdr=0.3:0.6 from the first slice to "
    "the last; may be repeated.",
)
@click.option("--radius", "radius_mm", type=float, metavar="MM", help="Lie on a sphere, not on a head phantom.")
@click.option(
    "--outside-hu", default=0.0, show_default=True, help="HU outside the head: 0 background of segments, -1000 air."
)
@click.option("--format", "file_format", type=click.Choice(FORMATS), default="nrrd", show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--overwrite", is_flag=True, help="Replace what is there already.")
@common.command
def stack(
    folder: Path,
    out: Path,
    count: int,
    slices: int,
    spacing_mm: float,
    seed: int,
    dataset: Path | None,
    length_mm: float | None,
    layout: str,
    thickness: str | None,
    conditions: tuple[str, ...],
    radius_mm: float | None,
    outside_hu: float,
    file_format: str,
    device: str,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Draw slices along a smooth walk through what a model of segments can draw, and lay them on a head.

    The folder holds the volumes, volumes.json with the model's hash and the seed, preview.png, and continuity.json,
    .csv and .png: by how much neighbouring slices differ, and with --match against real ones.
    """
    from SkullGANLib.files import check_replaceable, replace_folder
    from SkullGANLib.generate.continuity import match_walk, real_curve
    from SkullGANLib.generate.stack import LENGTH_MM, SMOOTHING_MM, StackOptions, StackPlan
    from SkullGANLib.generate.stack_files import write_stacks
    from SkullGANLib.models.conditions import parse_conditions
    from SkullGANLib.models.folder import load_model, shipped_model
    from SkullGANLib.segments.dataset import SegmentDataset

    check_replaceable(out, overwrite=overwrite, marker="volumes.json")
    if dataset is not None and length_mm is not None:
        raise InputError("--match finds the length that --length gives.", "Give one of the two.")
    asked = parse_conditions([*conditions, *([] if thickness is None else [f"thickness_mm={_ends(thickness)}"])])
    options = StackOptions(slices, spacing_mm, layout, asked, radius_mm, outside_hu, seed, device)
    model = load_model(shipped_model(folder))
    real, smoothing_mm, facts = None, SMOOTHING_MM, {}
    with common.notes() as notes:
        plans = [StackPlan(model, options, number) for number in range(count)]
        if dataset is not None:
            opened = SegmentDataset.open(dataset, verify=True)
            values = plans[0].values
            wanted = {name: str(values[name][0]) for name in ("plane", "region") if name in values}
            real = real_curve(opened, **wanted, progress=progress)
            length_mm, smoothing_mm = match_walk(
                lambda length: [plan.slices(length)[1] for plan in plans[:MATCHED]],
                spacing_mm,
                real,
                smooth=layout == "curved",
                progress=progress,
            )
            facts = {"matched": opened.fingerprint}
        length_mm = LENGTH_MM if length_mm is None else length_mm
        facts |= {"seed": seed, "slices": slices, "spacing_mm": spacing_mm, "layout": layout, "radius_mm": radius_mm}
        facts |= {"length_mm": length_mm, "smoothing_mm": smoothing_mm if layout == "curved" else None}
        drawn = (plan.stack(length_mm, smoothing_mm, progress=progress) for plan in plans)
        with replace_folder(out, marker="volumes.json") as temporary:
            found = write_stacks(drawn, temporary, model, file_format, facts, spacing_mm=spacing_mm, real=real)
    progress.result(volumes=str(out), continuity=found, notes=notes)
    progress.close()
    step = f"slices {found['distance_mm']:g} mm apart differ by {found['step_hu']:.0f} HU"
    click.echo(f"{count} volume{'s' if count > 1 else ''}: {out}")
    click.echo(step if real is None else f"{step}, {found['ratio']:.2f} times as much as real ones")


def _ends(text: str) -> str:
    parts = text.split(",")
    if len(parts) > 2:
        raise InputError(f"--thickness {text} is not understood.", "Give one number, or two with a comma: 4,8.")
    return ":".join(parts)
