"""``skullgan info``: what a scan, a data set, a model or a folder of volumes holds, and what is odd about it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from SkullGANLib.cli import common, info_model

if TYPE_CHECKING:
    from SkullGANLib.ct.volume import Volume

LPS_NAMES = (("right", "left"), ("front", "back"), ("feet", "head"))
ACQUISITION_NAMES = {
    "kvp": "tube voltage (kV)",
    "slice_thickness_mm": "slice thickness (mm)",
    "gantry_tilt_deg": "gantry tilt (degrees)",
    "n_slices": "slices in the series",
}


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--series", metavar="NUMBER|UID", help="DICOM series: its number, or the beginning of its UID.")
@click.option("--hu-offset", type=float, default=0.0, metavar="HU", help="Added to all values (for example -1024).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common.command
def info(path: Path, series: str | None, hu_offset: float, as_json: bool, progress) -> None:
    """Show what a CT scan (DICOM folder, NRRD, NIfTI, MHA), a segment data set, a model or a folder of volumes holds.

    A model is its folder, a training run, or just the name of one that comes with SkullGAN; labelling networks and
    painted images are folders, too.
    """
    if described := _described(path):
        facts, text = described
        click.echo(json.dumps(facts, indent=2, default=str) if as_json else text(facts))
        return
    from SkullGANLib.ct.io import read_volume

    # the list comes first: it helps most when nothing in it can be read
    listed = _list(path, progress)
    if listed and not as_json:
        click.echo("Series:\n" + "\n".join(f"  {line['text']}" for line in listed))
    volume = read_volume(path, series=series, hu_offset=hu_offset, progress=progress)
    facts = _volume_facts(volume, path)
    if as_json:
        lines = [{k: v for k, v in line.items() if k != "text"} for line in listed]
        click.echo(json.dumps(dict(facts, series=lines), indent=2))
    else:
        click.echo(_volume_text(facts))


def _described(path: Path) -> tuple[dict[str, Any], Callable[[dict[str, Any]], str]] | None:
    """The facts of a folder of this library and how they are put into words; None for anything else."""
    if (path / "dataset.json").is_file():
        return _dataset_facts(path), _dataset_text
    if (path / info_model.VOLUMES_FILE).is_file():
        return info_model.volumes_facts(path), info_model.volumes_text
    if (path / info_model.LABELLER_FILE).is_file():
        return info_model.labeller_facts(path), info_model.labeller_text
    if not path.exists():
        from SkullGANLib.models.folder import shipped_model

        path = shipped_model(path)
    return (info_model.model_facts(path), info_model.model_text) if info_model.is_model(path) else None


def _list(path: Path, progress: Any) -> list[dict[str, Any]]:
    if not path.is_dir():
        return []
    from SkullGANLib.ct.dicom import list_series

    try:
        found = list_series(path, progress)
    except PermissionError:  # reading says it in better words
        return []
    return [
        {"number": s.number, "uid": s.uid, "modality": s.modality, "images": s.n_slices, "matrix": s.size,
         "kernel": s.kernel, "problem": s.problem, "text": str(s)}
        for s in found
    ]  # fmt: skip


def _volume_facts(volume: Volume, path: Path) -> dict[str, Any]:
    import numpy as np

    slices, rows, columns = volume.shape
    sample = volume.hu[:, ::2, ::2]
    low, median, high = (float(v) for v in np.percentile(sample, [0.1, 50, 99.9]))
    return {
        "path": str(path),
        "kind": "volume",
        "size": {"columns": columns, "rows": rows, "slices": slices},
        "spacing_mm": [round(float(s), 6) for s in volume.spacing_mm],
        "origin_lps_mm": [round(float(o), 4) for o in volume.origin_mm],
        "direction": np.round(volume.direction, 6).tolist(),
        "extent_mm": [round(n * float(s), 1) for n, s in zip((columns, rows, slices), volume.spacing_mm, strict=True)],
        "slices_run": _runs(volume.direction[:, 2]),
        "dtype": str(volume.hu.dtype),
        "hu": {"minimum": float(volume.hu.min()), "p0.1": low, "median": median, "p99.9": high,
               "maximum": float(volume.hu.max())},
        "acquisition": dict(volume.acquisition),
        "notes": list(volume.notes),
    }  # fmt: skip


def _runs(axis) -> str:
    """Where an index axis runs, in words."""
    main = int(abs(axis).argmax())
    ends = LPS_NAMES[main] if axis[main] > 0 else LPS_NAMES[main][::-1]
    oblique = "" if abs(axis[main]) > 0.9999 else ", oblique"
    return f"from {ends[0]} to {ends[1]}{oblique}"


def _volume_text(facts: dict[str, Any]) -> str:
    size, hu = facts["size"], facts["hu"]
    lines = [
        f"CT volume {facts['path']}",
        f"  size       {size['columns']} x {size['rows']} pixels, {size['slices']} slices {facts['slices_run']}",
        f"  spacing    {_times(facts['spacing_mm'])} mm",
        f"  extent     {_times(facts['extent_mm'])} mm",
        f"  HU         {hu['minimum']:g} to {hu['maximum']:g}, median {hu['median']:g} ({facts['dtype']})",
    ]
    for name, value in facts["acquisition"].items():
        shown = f"{value:g}" if isinstance(value, (int, float)) else value
        lines.append(f"  {ACQUISITION_NAMES.get(name, name.replace('_', ' '))}: {shown}")
    return "\n".join(lines + _bullets("Please note:", facts["notes"]))


def _bullets(title: str, notes: list[str]) -> list[str]:
    return [title, *(f"  - {note}" for note in notes)] if notes else []


def _times(values: list[float]) -> str:
    return " x ".join(f"{v:.4g}" for v in values)


def _dataset_facts(path: Path) -> dict[str, Any]:
    from SkullGANLib.segments.dataset import SegmentDataset
    from SkullGANLib.segments.table import CLASS_COLUMNS

    dataset = SegmentDataset.open(path)
    table = dataset.table
    counts = {}
    for column in ("region", "side", "plane", "split", *CLASS_COLUMNS):
        values = [str(v) for v in table.get(column, [])]
        counts[column] = dict(sorted(Counter(v for v in values if v).items()))
    return {
        "path": str(path),
        "kind": dataset.meta.kind,
        "segments": len(dataset),
        "subjects": len(set(map(str, table.get("subject", [])))),
        "spacing_mm": dataset.meta.spacing_mm,
        "dtype": str(dataset.hu.dtype),
        "size": dataset.meta.size,
        "masks": dataset.masks is not None,
        "label_sets": {name: dataset.labels(name) for name in sorted(dataset.label_sets)},
        "counts": counts,
    }


def _dataset_text(facts: dict[str, Any]) -> str:
    size, sets = facts["size"], facts["label_sets"]
    labels = [f"{name}: {', '.join(f'{v} {word}' for v, word in each.items())}" for name, each in sets.items()]
    lines = [
        f"Segment data set {facts['path']}",
        f"  kind       {facts['kind']}",
        f"  segments   {facts['segments']} of {size} x {size} pixels, {facts['spacing_mm']:g} mm ({facts['dtype']})",
        f"  subjects   {facts['subjects']}",
        f"  label maps {'; '.join(labels) or 'none'}",
    ]
    for column, counts in facts["counts"].items():
        if counts:
            lines.append(f"  {column:<10} " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    return "\n".join(lines)
