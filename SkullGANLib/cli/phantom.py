"""``skullgan phantom``: CT of heads or hearts made from a formula, with ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from SkullGANLib.cli.common import command, numbers
from SkullGANLib.errors import InputError
from SkullGANLib.progress import report

if TYPE_CHECKING:
    from SkullGANLib.ct.volume import Volume

FORMATS = ("nrrd", "nii.gz", "mha", "dicom")
ORGANS = ("head", "heart")
PREVIEW_HU = {"head": (-200.0, 2000.0), "heart": (-250.0, 600.0)}
NOISE_HU = {"head": 25.0, "heart": 18.0}
BLUR_MM = {"head": 0.45, "heart": 0.6}


@click.command(short_help="Make parametric CT with ground truth.")
@click.option("--organ", default="head", show_default=True, type=click.Choice(ORGANS), help="What to make.")
@click.option("--subjects", default=1, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed of the first subject.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
@click.option("--spacing", default="0.9", show_default=True, help="Voxel size in mm: one number, or x,y,z.")
@click.option("--shape", default="160,256,256", show_default=True, help="Slices, rows, columns.")
@click.option("--pose", default=0.0, show_default=True, help="Largest random turn about each axis, degrees.")
@click.option("--tilt", default=0.0, show_default=True, help="Gantry tilt, degrees (head as DICOM only).")
@click.option("--noise", type=float, help="Standard deviation of the noise, HU.  [default: 25; heart: 18]")
@click.option("--blur", type=float, help="Sigma of the scanner's point spread, mm.  [default: 0.45; heart: 0.6]")
@click.option("--table/--no-table", default=True, show_default=True, help="Head holder and table.")
@click.option("--metal", is_flag=True, help="Dental fillings with streaks.")
@click.option("--format", "file_format", default="nrrd", show_default=True, type=click.Choice(FORMATS))
@click.option("--labels/--no-labels", default=True, show_default=True, help="Write what each voxel is, too.")
@click.option(
    "--layers",
    is_flag=True,
    help="Label maps as skullgan volume labels makes them of a head: outer table, diploe, inner table, brain, scalp, "
    "other bone.",
)
@command
def phantom(
    organ: str,
    subjects: int,
    seed: int,
    out: Path,
    spacing: str,
    shape: str,
    pose: float,
    tilt: float,
    noise: float | None,
    blur: float | None,
    table: bool,
    metal: bool,
    file_format: str,
    labels: bool,
    layers: bool,
    progress,
) -> None:
    """Make CT from a formula: heads (skull tables, diploe, sutures, face, brain, table), or hearts with contrast.

    Writes a volume and a label map for each subject, phantom.json with every parameter and pose, of heads also the
    true thickness and skull density ratio by region, and preview.png.
    """
    import numpy as np

    from SkullGANLib.ct.views import three_views, write_views
    from SkullGANLib.files import write_json

    if tilt and file_format != "dicom":
        raise InputError("Only DICOM can hold a tilted gantry.", "Add --format dicom or leave out --tilt.")
    if organ == "heart" and (file_format == "dicom" or metal):
        raise InputError("Hearts come without --metal and not as DICOM.", "Leave it out, or make heads.")
    if organ == "heart" and layers:
        raise InputError("Hearts have no layers of a skull.", "Leave --layers out, or make heads.")
    scan = {
        "shape": numbers(shape, int, "--shape"),
        "spacing_mm": numbers(spacing, float, "--spacing"),
        "blur_mm": BLUR_MM[organ] if blur is None else blur,
        "noise_hu": NOISE_HU[organ] if noise is None else noise,
    }
    if organ == "head":
        scan.update(table=table, gantry_tilt_deg=tilt, metal=metal)
    out.mkdir(parents=True, exist_ok=True)
    facts = {
        "format": "skullgan-phantom",
        "version": 1,
        "organ": organ,
        "labels": _labels(organ, layers),
        f"{organ}s": [],
    }
    previews = {}
    for number in range(subjects):
        name = f"subject-{number + 1:03d}"
        report(progress, number, subjects, f"Making {organ}s")
        own_seed = seed + number
        rotation = np.random.default_rng([own_seed, 6]).uniform(-pose, pose, 3) if pose else np.zeros(3)
        turned = {"rotation_deg": tuple(float(r) for r in rotation)}
        made, about = (_head if organ == "head" else _heart)(own_seed, scan | turned)
        origins = made.slice_origins_mm if organ == "head" else None
        files = [_write(made.volume, origins, out, name, file_format, tilt)]
        if labels and not tilt:
            label_format = "nrrd" if file_format == "dicom" else file_format  # no CT series of labels
            kept = made.labels
            if layers:
                from SkullGANLib.prepare.layers import true_head_labels

                kept = true_head_labels(made)
            files.append(_write(kept, origins, out, f"{name}-labels", label_format, tilt))
        fact = {"subject": name, "seed": own_seed, "files": files, "parameters": made.parameters.as_dict()}
        facts[f"{organ}s"].append({**fact, "rotation_deg": np.round(rotation, 4).tolist(), **about})
        if number < 8:
            previews[name] = [three_views(made.volume, PREVIEW_HU[organ])]
        write_json(out / "phantom.json", facts)
    report(progress, subjects, subjects, f"Making {organ}s")
    write_views(out / "preview.png", previews)
    click.echo(f"Wrote {subjects} {organ}{'s' if subjects > 1 else ''} to {out}.")
    if labels and tilt:
        click.echo("Without label maps: no file holds them for slices of a tilted gantry.")
    for head in facts.get("heads", ()):
        truth = head["truth"]["vault"]
        click.echo(f"  {head['subject']}: vault {truth['thickness_mm']:.1f} mm thick, SDR {truth['sdr']:.2f}")
    for heart in facts.get("hearts", ()):
        words = ", ".join(f"{structure} {ml:.0f}" for structure, ml in heart["truth"]["volume_ml"].items())
        click.echo(f"  {heart['subject']}: ml in the field of view: {words}")


def _labels(organ: str, layers: bool) -> dict[str, int]:
    """Name to value."""
    if layers:
        from SkullGANLib.prepare.layers import HEAD_LABELS

        return {name: value for value, name in HEAD_LABELS.items() if value}
    if organ == "head":
        from SkullGANLib.ct.phantom import LABELS

        return LABELS
    from SkullGANLib.ct.heart import HEART_LABELS

    return {name: value for value, name in HEART_LABELS.items()}


def _head(seed: int, scan: dict):
    import numpy as np

    from SkullGANLib.ct.phantom import HeadPhantom

    made = HeadPhantom(seed)
    head = made.render(**scan)
    about = {
        "head_to_lps": np.round(head.head_to_lps, 6).tolist(),
        "truth": made.summary(blur_mm=scan["blur_mm"]),
    }
    return head, about


def _heart(seed: int, scan: dict):
    import numpy as np

    from SkullGANLib.ct.heart import HEART_LABELS, HeartPhantom

    heart = HeartPhantom(seed).render(**scan)
    voxels = np.bincount(heart.labels.hu.ravel(), minlength=len(HEART_LABELS) + 1)
    voxel_ml = np.prod(heart.labels.spacing_mm) / 1000
    volumes = {name: round(float(voxels[value] * voxel_ml), 2) for value, name in HEART_LABELS.items()}
    return heart, {"chest_to_lps": np.round(heart.chest_to_lps, 6).tolist(), "truth": {"volume_ml": volumes}}


def _write(volume: Volume, origins_mm, out: Path, name: str, file_format: str, tilt: float) -> str:
    if file_format != "dicom":
        from SkullGANLib.ct.io import write_volume

        return write_volume(volume, out / f"{name}.{file_format}").name
    from SkullGANLib.ct.dicom_write import write_slices

    spacing = volume.spacing_mm
    folder = write_slices(
        volume.hu,
        origins_mm,
        out / name,
        directions=volume.direction.T[:2],
        pixel_spacing_mm=(spacing[1], spacing[0]),
        slice_thickness_mm=spacing[2],
        gantry_tilt_deg=tilt,
        kernel="BONE",
    )
    return folder.name
