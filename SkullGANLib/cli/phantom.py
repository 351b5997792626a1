"""``skullgan phantom``: head CT made from a formula, with ground truth."""

from __future__ import annotations

from pathlib import Path

import click

from SkullGANLib.cli.common import command, numbers
from SkullGANLib.errors import InputError
from SkullGANLib.progress import report

FORMATS = ("nrrd", "nii.gz", "mha", "dicom")
PREVIEW_HU = (-200.0, 2000.0)


@click.command(short_help="Make parametric head CT with ground truth.")
@click.option("--subjects", default=1, show_default=True, type=click.IntRange(1), help="How many heads.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed of the first head.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
@click.option("--spacing", default="0.9", show_default=True, help="Voxel size in mm: one number, or x,y,z.")
@click.option("--shape", default="160,256,256", show_default=True, help="Slices, rows, columns.")
@click.option("--pose", default=0.0, show_default=True, help="Largest random turn of a head about each axis, degrees.")
@click.option("--tilt", default=0.0, show_default=True, help="Gantry tilt, degrees (DICOM only).")
@click.option("--noise", default=25.0, show_default=True, help="Standard deviation of the noise, HU.")
@click.option("--blur", default=0.45, show_default=True, help="Sigma of the scanner's point spread, mm.")
@click.option("--table/--no-table", default=True, show_default=True, help="Head holder and table.")
@click.option("--metal", is_flag=True, help="Dental fillings with streaks.")
@click.option("--format", "file_format", default="nrrd", show_default=True, type=click.Choice(FORMATS))
@click.option("--labels/--no-labels", default=True, show_default=True, help="Write what each voxel is, too.")
@command
def phantom(
    subjects: int,
    seed: int,
    out: Path,
    spacing: str,
    shape: str,
    pose: float,
    tilt: float,
    noise: float,
    blur: float,
    table: bool,
    metal: bool,
    file_format: str,
    labels: bool,
    progress,
) -> None:
    """Make head CT from a formula: skull tables, diploe, sutures, face, brain, table, blur and noise.

    Writes a volume and a label map for each head, phantom.json with every parameter, pose and the true thickness and
    skull density ratio by region, and preview.png.
    """
    import numpy as np

    from SkullGANLib.ct.phantom import LABELS, HeadPhantom
    from SkullGANLib.ct.views import three_views, write_views
    from SkullGANLib.files import write_json

    if tilt and file_format != "dicom":
        raise InputError("Only DICOM can hold a tilted gantry.", "Add --format dicom or leave out --tilt.")
    spacing_mm, voxels = numbers(spacing, float, "--spacing"), numbers(shape, int, "--shape")
    out.mkdir(parents=True, exist_ok=True)
    facts = {"format": "skullgan-phantom", "version": 1, "labels": LABELS, "heads": []}
    previews = {}
    for number in range(subjects):
        name = f"subject-{number + 1:03d}"
        report(progress, number, subjects, "Making heads")
        head_seed = seed + number
        rotation = np.random.default_rng([head_seed, 6]).uniform(-pose, pose, 3) if pose else np.zeros(3)
        made = HeadPhantom(head_seed)
        head = made.render(
            shape=voxels,
            spacing_mm=spacing_mm,
            rotation_deg=tuple(float(r) for r in rotation),
            table=table,
            blur_mm=blur,
            noise_hu=noise,
            gantry_tilt_deg=tilt,
            metal=metal,
        )
        files = [_write(head, head.volume, out, name, file_format, tilt)]
        if labels and not tilt:
            label_format = "nrrd" if file_format == "dicom" else file_format  # no CT series of labels
            files.append(_write(head, head.labels, out, f"{name}-labels", label_format, tilt))
        facts["heads"].append(
            {
                "subject": name,
                "seed": head_seed,
                "files": files,
                "parameters": made.parameters.as_dict(),
                "rotation_deg": [round(float(r), 4) for r in rotation],
                "head_to_lps": np.round(head.head_to_lps, 6).tolist(),
                "truth": made.summary(blur_mm=blur),
            }
        )
        if number < 8:
            previews[name] = [three_views(head.volume, PREVIEW_HU)]
        write_json(out / "phantom.json", facts)
    report(progress, subjects, subjects, "Making heads")
    write_views(out / "preview.png", previews)
    click.echo(f"Wrote {subjects} head{'s' if subjects > 1 else ''} to {out}.")
    if labels and tilt:
        click.echo("Without label maps: no file holds them for slices of a tilted gantry.")
    for head in facts["heads"]:
        truth = head["truth"]["vault"]
        click.echo(f"  {head['subject']}: vault {truth['thickness_mm']:.1f} mm thick, SDR {truth['sdr']:.2f}")


def _write(head, volume, out: Path, name: str, file_format: str, tilt: float) -> str:
    if file_format != "dicom":
        from SkullGANLib.ct.io import write_volume

        return write_volume(volume, out / f"{name}.{file_format}").name
    from SkullGANLib.ct.dicom_write import write_slices

    spacing = volume.spacing_mm
    folder = write_slices(
        volume.hu,
        head.slice_origins_mm,
        out / name,
        directions=volume.direction.T[:2],
        pixel_spacing_mm=(spacing[1], spacing[0]),
        slice_thickness_mm=spacing[2],
        gantry_tilt_deg=tilt,
        kernel="BONE",
    )
    return folder.name
