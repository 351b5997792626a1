"""``skullgan prepare``: CT volumes in, a segment data set out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from SkullGANLib.cli.common import command
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.progress import Progress

if TYPE_CHECKING:
    from SkullGANLib.prepare.batch import Job, Outcome
    from SkullGANLib.prepare.run import PreparedVolume, PrepareOptions


@click.command(short_help="Turn skull CT volumes into a segment data set.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the data set.")
@click.option(
    "--preview",
    type=click.Path(path_type=Path),
    help="Folder for the vault and all pieces of one scan, to look at; in place of a data set.",
)
@click.option("--planes", default="axial,coronal,sagittal", show_default=True, help="Comma-separated.")
@click.option("--regions", default="temporal,parietal", show_default=True, help="Also frontal and occipital.")
@click.option("--interval-mm", default=3.1, show_default=True, help="Distance between parallel planes.")
@click.option("--stride-mm", default=57.6, show_default=True, help="Distance between segments on one plane.")
@click.option("--interpolation", type=click.Choice(["linear", "cubic"]), default="cubic", show_default=True)
@click.option("--max-obliquity-deg", default=25.0, show_default=True, help="Largest angle of plane and surface normal.")
@click.option("--min-region-share", default=0.8, show_default=True, help="Least part of a segment inside its region.")
@click.option("--mask", type=click.Path(path_type=Path), help="Skull mask on the scan's grid (one scan only).")
@click.option(
    "--head-frame",
    type=click.Path(path_type=Path),
    help="Head frame instead of the automatic one: a linear transform as Slicer saves it (.tfm, .h5, .mat), "
    "or a text file with the 4x4 matrix from head to LPS mm.",
)
@click.option("--save-mask", type=click.Path(path_type=Path), help="Write the vault that was found (one scan only).")
@click.option("--subject", help="Pseudonym (one scan only); otherwise made from the scan's content.")
@click.option("--subjects", type=click.Path(path_type=Path), help="CSV with columns path and subject.")
@click.option("--series", help="DICOM series: number in the listing of skullgan info, or start of its UID.")
@click.option("--hu-offset", default=0.0, show_default=True, help="Added to every value.")
@click.option("--kind", type=click.Choice(["real", "phantom", "synthetic"]), default="real", show_default=True)
@click.option("--jobs", default=1, show_default=True, help="Volumes at a time; each needs about 1 GB.")
@click.option("--backend", type=click.Choice(["loky", "dask"]), default="loky", show_default=True)
@click.option("--scheduler", help="Address of a running dask scheduler.")
@click.option("--overwrite", is_flag=True, help="Replace a data set, or a preview, in the same folder.")
@command
def prepare(paths: tuple[Path, ...], out: Path | None, preview: Path | None, progress: Progress, **options) -> None:
    """Turn skull CT volumes into a segment data set.

    PATHS are DICOM folders, NRRD, NIfTI or MHA files, or folders that hold several of them. Each segment comes with
    its layers as a label set: 1 outer table, 2 diploe, 3 inner table.
    """
    from SkullGANLib.prepare.batch import Job, find_volumes, prepare_dataset

    if (out is None) == (preview is None):
        raise InputError(
            "It is not clear what to write.", "Give either --out for a data set or --preview for one scan to look at."
        )
    chosen = _how_to_cut(options)
    volumes = find_volumes(list(paths))
    if len(volumes) > 1 and preview is not None:
        raise InputError(f"--preview is for one scan, and {len(volumes)} were found.", "Give one of them.")
    if len(volumes) > 1 and any(options[name] for name in ("mask", "head_frame", "save_mask", "subject")):
        raise InputError(
            f"--mask, --head-frame, --save-mask and --subject are for one scan, and {len(volumes)} were found.",
            "Prepare that scan by itself and merge the data sets.",
        )
    names = _subjects(options["subjects"])
    frame = None if options["head_frame"] is None else read_head_frame(options["head_frame"])
    jobs = [
        Job(
            path,
            subject=options["subject"] or names.get(path.resolve()),
            series=options["series"],
            hu_offset=options["hu_offset"],
            mask=options["mask"],
            head_to_lps=frame,
            save_mask=options["save_mask"],
        )
        for path in volumes
    ]
    if preview is not None:
        _preview(jobs[0], preview, chosen, options["overwrite"], progress)
        return
    dataset, outcomes = prepare_dataset(
        jobs,
        out,
        chosen,
        kind=options["kind"],
        n_jobs=options["jobs"],
        backend=options["backend"],
        scheduler=options["scheduler"],
        overwrite=options["overwrite"],
        progress=progress,
    )
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    progress.result(
        dataset=str(out),
        segments=len(dataset),
        pictures=str(out / "pictures"),
        notes=_notes(outcomes),
        failed=[{"path": str(o.job.path), "error": o.error.message, "advice": o.error.advice} for o in failed],
    )
    progress.close()
    _tell(dataset, outcomes, out)
    if failed:
        reasons = " ".join(f"{outcome.job.path.name}: {outcome.error.message}" for outcome in failed)
        raise InputError(
            f"{len(failed)} of {len(outcomes)} scans are not in the data set. {reasons}",
            "The others are in; prepare these by themselves once they are mended, and merge the data sets.",
        )


def _how_to_cut(options: dict) -> PrepareOptions:
    from pydantic import ValidationError

    from SkullGANLib.prepare.run import PrepareOptions

    fields = {name: options[name] for name in PrepareOptions.model_fields}
    for name in ("planes", "regions"):
        fields[name] = tuple(part.strip() for part in fields[name].split(",") if part.strip())
    try:
        return PrepareOptions(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}.", "See skullgan prepare --help."
        ) from error


def _preview(job: Job, folder: Path, options: PrepareOptions, overwrite: bool, progress: Progress) -> None:
    from SkullGANLib.prepare.preview import write_preview

    if job.save_mask is not None:
        raise InputError("--save-mask goes with a data set.", "The preview holds the vault already, as skull.nrrd.")
    prepared = write_preview(job, folder, options, overwrite=overwrite, progress=progress)
    pieces, kept = len(prepared.hu), int(prepared.kept.sum())
    progress.result(preview=str(folder), pieces=pieces, kept=kept, notes=prepared.notes)
    progress.close()
    _tell_scan(job.path.name, prepared)
    click.echo(f"Look at {folder}: skull.nrrd, candidates.csv, segments.npy, where.png")


def read_head_frame(path: Path):
    """(4, 4) matrix from head frame to LPS mm, from an ITK linear transform file or a text file.

    Raises:
        FormatError: not a transform, or not rigid.
    """
    import numpy as np

    if path.suffix.lower() in (".tfm", ".h5", ".mat", ".hdf5"):
        import SimpleITK as sitk

        try:
            transform = sitk.ReadTransform(str(path))
            origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
            columns = [np.array(transform.TransformPoint(tuple(axis))) - origin for axis in np.eye(3)]
        except RuntimeError as error:
            raise FormatError(f"{path} is not a transform.", "Save the head frame as a linear transform.") from error
        to_head = np.eye(4)
        to_head[:3, :3], to_head[:3, 3] = np.stack(columns, axis=1), origin
        matrix = np.linalg.inv(to_head)  # ITK files hold the way from the world to the transform's own space
    else:
        try:
            matrix = np.loadtxt(path).reshape(4, 4)
        except (ValueError, UnicodeDecodeError) as error:
            raise FormatError(f"{path} does not hold 16 numbers.", "Write the 4x4 matrix row by row.") from error
    if not np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-3) or np.linalg.det(matrix[:3, :3]) < 0:
        raise FormatError(f"The head frame in {path} is not a rigid transform.", "Use rotation and translation only.")
    return matrix


def _subjects(path: Path | None) -> dict[Path, str]:
    import csv

    if path is None:
        return {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"path", "subject"} <= set(rows[0]):
        raise FormatError(f"{path} has no columns path and subject.", "Give a CSV with a header line: path,subject.")
    return {(path.parent / row["path"]).resolve(): row["subject"] for row in rows}


def _notes(outcomes: list[Outcome]) -> list[str]:
    """What the user should read about each scan; the scan is named where there are several."""
    notes = [(o.job.path.name, note) for o in outcomes if o.prepared is not None for note in o.prepared.notes]
    return [note if len(outcomes) == 1 else f"{name}: {note}" for name, note in notes]


def _tell(dataset, outcomes, out: Path) -> None:
    import collections

    for outcome in outcomes:
        if outcome.error is not None:
            click.echo(f"{outcome.job.path.name}: not prepared. {outcome.error}", err=True)
            continue
        _tell_scan(outcome.job.path.name, outcome.prepared)
    for region in sorted(set(dataset.table["region"])):
        rows = dataset.filter(region=region)
        sides = collections.Counter(dataset.table["side"][rows])
        click.echo(f"{region}: {len(rows)} segments ({sides['left']} left, {sides['right']} right)")
    click.echo(f"{len(dataset)} segments in {out}; look at {out / 'pictures'}")


def _tell_scan(name: str, prepared: PreparedVolume) -> None:
    import collections

    kept = int(prepared.kept.sum())
    turn = ", ".join(f"{a:+.0f}" for a in prepared.skull.frame.rotation_deg)
    steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in prepared.seconds.items())
    click.echo(f"{name}: {kept} of {len(prepared.hu)} pieces kept; head turned by {turn} degrees; {steps}")
    for note in prepared.notes:
        click.echo(f"  Note: {note}")
    rejected = collections.Counter(q for q in prepared.table["quality"] if q != "ok")
    for reason, count in rejected.most_common():
        click.echo(f"  {count:4d} rejected: {reason}")
