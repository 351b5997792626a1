"""Many volumes, one data set: read, prepare in parallel processes or on a cluster, write once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from SkullGANLib.ct.io import READABLE, read_volume, suffix, write_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError, ResourceError, SkullGANError
from SkullGANLib.files import check_replaceable
from SkullGANLib.prepare.run import PreparedVolume, PrepareOptions, prepare_volume
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.meta import META_FILE
from SkullGANLib.segments.sheet import write_png
from SkullGANLib.segments.table import complete_table, select_rows, stack_tables, write_table

PICTURES, CANDIDATES = "pictures", "candidates.csv"


@dataclass(frozen=True)
class Job:
    """One volume to prepare.

    Attributes:
        path: DICOM folder or volume file.
        subject: pseudonym; None makes one from the content.
        series: DICOM series, as ``ct.io.read_volume`` takes it.
        hu_offset: added to every value.
        mask: file with a skull mask on the volume's grid.
        head_to_lps: head frame in place of the automatic one.
        save_mask: where to write the vault as a label volume.
    """

    path: Path
    subject: str | None = None
    series: str | None = None
    hu_offset: float = 0.0
    mask: Path | None = None
    head_to_lps: np.ndarray | None = None
    save_mask: Path | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of one job: a preparation with the picture of its places, or an error in words."""

    job: Job
    prepared: PreparedVolume | None = None
    picture: np.ndarray | None = None
    error: SkullGANError | None = None


def find_volumes(paths: Sequence[Path]) -> list[Path]:
    """The scans behind paths: a file, a folder of DICOM images, or a folder of such files and folders.

    Label maps that stand beside their volume (``*-labels.*``, ``*.seg.*``) are passed over.

    Raises:
        InputError: a path that does not exist, or nothing to read in a folder.
    """
    found = []
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f"{path} does not exist.", "Check the path.")
        inside = _volumes_in(path)
        if not inside:
            raise InputError(f"No CT volume was found in {path}.", "Give DICOM folders or NRRD, NIfTI or MHA files.")
        found += inside
    return found


def _volumes_in(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    entries = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    files = [p for p in entries if p.is_file() and suffix(p) in READABLE and not _is_label_map(p)]
    if files:
        return files
    if any(p.is_file() for p in entries) and not any(p.is_dir() for p in entries):
        return [path]
    return [v for p in entries if p.is_dir() for v in _volumes_in(p)] or ([path] if entries else [])


def _is_label_map(path: Path) -> bool:
    return "-labels." in path.name or ".seg." in path.name


def run_job(job: Job, options: PrepareOptions, progress: Progress | None = None) -> Outcome:
    """Read and prepare one volume; an error a user can act on is returned, not raised, so that others go on."""
    from SkullGANLib.prepare.pictures import where_picture
    from SkullGANLib.prepare.skull import skull_mask

    suspicions: list[str] = []
    try:
        volume = read_volume(job.path, series=job.series, hu_offset=job.hu_offset, progress=progress)
        suspicions = [note for note in volume.notes if "--hu-offset" in note]
        mask = None if job.mask is None else _read_mask(job.mask, volume)
        prepared = prepare_volume(
            volume, options, mask=mask, head_to_lps=job.head_to_lps, subject=job.subject, progress=progress
        )
        if job.save_mask is not None:
            labels = volume.with_array(skull_mask(volume, prepared.skull).astype(np.uint8))
            write_volume(labels, job.save_mask)
        return Outcome(job, prepared, where_picture(volume, prepared))
    except SkullGANError as error:
        return Outcome(job, error=type(error)(error.message, " ".join([*suspicions, error.advice])))


def _read_mask(path: Path, volume: Volume) -> np.ndarray:
    mask = read_volume(path, labels=True)
    if mask.shape != volume.shape or not np.allclose(mask.index_to_lps, volume.index_to_lps, atol=0.05):
        raise InputError(
            f"The mask {path.name} does not lie on the scan's grid ({mask.shape} against {volume.shape} voxels).",
            "Resample the mask to the scan's geometry first.",
        )
    return mask.hu > 0


def prepare_dataset(
    jobs: Sequence[Job],
    out: Path,
    options: PrepareOptions | None = None,
    *,
    kind: Literal["real", "phantom", "synthetic"] = "real",
    n_jobs: int = 1,
    backend: Literal["loky", "dask"] = "loky",
    scheduler: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[SegmentDataset, list[Outcome]]:
    """Prepare volumes and write their segments as one data set.

    Each segment gets its layers as the label set ``tissues``. Beside the data set's own files the folder gets
    ``candidates.csv`` (every piece considered, with the reason against it) and ``pictures/`` (kept and rejected ones,
    places on each head).

    Args:
        jobs: the volumes.
        out: folder of the data set.
        options: how to cut.
        kind: real scans, phantoms, or volumes that a model drew.
        n_jobs: volumes at a time, each in a process of its own.
        backend: processes on this machine (loky), or a dask cluster.
        scheduler: address of a running dask scheduler; None starts a cluster on this machine.
        overwrite: whether a data set at ``out`` may be replaced.
        progress: told the volumes done, or the steps of a single one.

    Returns:
        The data set and one outcome for each job.

    Raises:
        InputError: nothing could be kept from any volume.
    """
    options = options or PrepareOptions()
    check_replaceable(out, overwrite=overwrite, marker=META_FILE)
    outcomes = _once_each(_run_all(jobs, options, n_jobs, backend, scheduler, progress))
    done = [o for o in outcomes if o.prepared is not None]
    if not done:
        if len(outcomes) == 1:
            raise outcomes[0].error
        raise InputError(
            f"None of the {len(outcomes)} volumes could be prepared; the first said: {outcomes[0].error.message}",
            outcomes[0].error.advice,
        )
    hu = np.concatenate([o.prepared.hu for o in done])
    table = stack_tables([complete_table(o.prepared.table, len(o.prepared.hu)) for o in done])
    keep = table["quality"] == "ok"
    if not keep.any():
        reasons = sorted(set(table["quality"]), key=list(table["quality"]).count, reverse=True)
        raise InputError(
            f"{len(keep)} pieces were cut and none could be kept; most: {', '.join(reasons[:3])}.",
            "Look at the scan, or allow more with --max-obliquity-deg or other regions.",
        )
    dataset = SegmentDataset.create(
        out,
        hu[keep],
        select_rows(table, np.flatnonzero(keep)),
        kind=kind,
        sources=[o.prepared.source for o in done],
        masks=np.concatenate([o.prepared.masks for o in done])[keep],
        extra={"prepare": options.model_dump(mode="json")},
        overwrite=overwrite,
    )
    _write_pictures(out, hu, table, done)
    return dataset, outcomes


def _once_each(outcomes: list[Outcome]) -> list[Outcome]:
    """The same outcomes, but a scan that stands twice among the jobs counts once."""
    first: dict[object, Outcome] = {}
    checked = []
    for outcome in outcomes:
        if outcome.prepared is not None:
            same = first.setdefault(outcome.prepared.source["sha256"], outcome)
            if same is not outcome:
                error = InputError(f"It holds the same values as {same.job.path.name}.", "Give each scan once.")
                outcome = Outcome(outcome.job, error=error)
        checked.append(outcome)
    return checked


def _run_all(jobs, options, n_jobs, backend, scheduler, progress) -> list[Outcome]:
    if len(jobs) == 1 and backend == "loky":
        return [run_job(jobs[0], options, progress)]
    import joblib

    with _backend(backend, n_jobs, scheduler) as workers:
        parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
        outcomes = []
        report(progress, 0, len(jobs), "Preparing volumes")
        for outcome in parallel(joblib.delayed(run_job)(job, options) for job in jobs):
            outcomes.append(outcome)
            report(progress, len(outcomes), len(jobs), "Preparing volumes")
    return outcomes


@contextmanager
def _backend(backend: str, n_jobs: int, scheduler: str | None):
    """Set joblib's backend; yields the number of workers."""
    import joblib

    if backend == "loky":
        with (
            joblib.parallel_config("loky", inner_max_num_threads=1 if n_jobs > 1 else None)
            if n_jobs > 1
            else nullcontext()
        ):
            yield n_jobs
        return
    try:
        from dask.distributed import Client, LocalCluster
    except ImportError as error:
        raise ResourceError("dask is not installed.", "Install it with: pip install 'SkullGANLib[cluster]'") from error
    cluster = None if scheduler else LocalCluster(n_workers=n_jobs, threads_per_worker=1, dashboard_address=None)
    try:
        with Client(scheduler or cluster), joblib.parallel_config("dask"):
            yield -1
    except OSError as error:
        raise ResourceError(f"The dask scheduler {scheduler} does not answer.", "Check its address.") from error
    finally:
        if cluster is not None:
            cluster.close()


def _write_pictures(out: Path, hu: np.ndarray, table: dict[str, np.ndarray], done: list[Outcome]) -> None:
    from SkullGANLib.prepare.pictures import write_sheets

    write_table(out / CANDIDATES, table)
    folder = out / PICTURES
    folder.mkdir(exist_ok=True)
    write_sheets(folder, hu, table)
    for outcome in done:
        write_png(folder / f"where-{outcome.prepared.table['volume'][0]}.png", outcome.picture)
