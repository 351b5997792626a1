"""``skullgan volume from-labels``: CT volumes of a label map."""

from __future__ import annotations

from pathlib import Path

import click

from SkullGANLib.cli import common
from SkullGANLib.progress import Progress

path = click.Path(path_type=Path)
FORMATS = ("nrrd", "nii.gz", "mha")


@click.command("from-labels", short_help="Draw CT volumes of a label map.")
@click.argument("labels", type=path)
@click.option("--model", "folder", required=True, type=path, help="Run or model folder of the family patch-cgan.")
@click.option("--out", required=True, type=path, help="Folder to make.")
@click.option(
    "--names",
    multiple=True,
    metavar="VALUE=NAME,...",
    help="What values stand for, as in 1=outer table,2=diploe; 3= is no label; may be repeated.  [default: as the file "
    "says (.seg.nrrd, phantom.json beside it, values of MM-WHS), else the model's labels in their order]",
)
@click.option("--count", default=1, show_default=True, type=click.IntRange(1), help="CT volumes of the same labels.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the first one's noise.")
@click.option(
    "--smooth-mm", default=1.5, show_default=True, type=common.FloatRange(0), help="How far texture goes across slices."
)
@click.option("--format", "file_format", type=click.Choice(FORMATS), default="nrrd", show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--overwrite", is_flag=True, help="Replace what is there already.")
@common.command
def from_labels(
    labels: Path,
    folder: Path,
    out: Path,
    names: tuple[str, ...],
    count: int,
    seed: int,
    smooth_mm: float,
    file_format: str,
    device: str,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Draw CT volumes in HU of a label map (NRRD, NIfTI, MHA, or a segmentation of 3D Slicer), where that lies.

    The folder holds the volumes, volumes.json with the hashes of model and label map and the seed of each, and
    preview.png.
    """
    from SkullGANLib.ct.label_names import parse_names
    from SkullGANLib.files import check_replaceable, replace_folder, sha256_of
    from SkullGANLib.generate.translate import require_masks, translate_volume
    from SkullGANLib.generate.translate_files import read_label_map, write_translated
    from SkullGANLib.models.folder import load_model, shipped_model

    check_replaceable(out, overwrite=overwrite, marker="volumes.json")
    model = load_model(shipped_model(folder))
    require_masks(model)
    labels = labels.expanduser()
    given, known, notes = read_label_map(labels, model, parse_names(",".join(names)) if names else {})
    options = {"smooth_mm": smooth_mm, "device": device, "progress": progress}
    drawn = (translate_volume(model, given, known, seed=seed + k, **options) for k in range(count))
    facts = {
        "seed": seed,
        "smooth_mm": smooth_mm,
        "labels": {str(value): name for value, name in known.items() if name},
        "labels_sha256": sha256_of(labels) if labels.is_file() else None,
    }
    with replace_folder(out, marker="volumes.json") as temporary:
        notes += write_translated(drawn, given, known, temporary, model, file_format, facts)
    for note in notes:
        click.echo(f"Note: {note}")
    progress.result(volumes=str(out), notes=notes)
    progress.close()
    click.echo(f"{count} volume{'s' if count > 1 else ''}: {out}")
