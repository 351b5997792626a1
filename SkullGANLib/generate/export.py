"""Write generated segments as a data set, an array, a stack of slices or a picture; the suffix of the path decides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SkullGANLib.errors import InputError
from SkullGANLib.files import write_json
from SkullGANLib.models.folder import Model
from SkullGANLib.progress import Progress
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.exchange import SLICE_MM, STACK_SUFFIXES, export_npy, export_nrrd_stack
from SkullGANLib.segments.sheet import contact_sheet, write_png

if TYPE_CHECKING:
    from collections.abc import Mapping

SHEET_IMAGES = 64  # more make a picture that nobody looks at


def write_segments(
    path: str | Path,
    hu: np.ndarray,
    model: Model,
    *,
    seed: int,
    first: int = 0,
    conditions: Mapping[str, np.ndarray] | None = None,
    images: np.ndarray | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
    facts: Mapping[str, Any] | None = None,
    slice_mm: float = SLICE_MM,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write segments drawn from ``model``.

    A folder becomes a data set of kind ``synthetic`` with its measures. ``.npy`` is float32 (N, 1, size, size), the
    layout of the released code; ``.nrrd``, ``.mha`` and ``.nii`` hold one segment in each slice; each of these gets a
    ``.json`` beside it that says which model and seed it is from. ``.png`` is a contact sheet of the first 64.

    Args:
        path: to write.
        hu: (N, size, size) float32 HU from ``generate_segments``.
        model: they were drawn from.
        seed, first: they were drawn with.
        conditions: name to the (N,) values that the images were asked for; columns ``asked_...`` of a data set, else in
            the ``.json``.
        images: (N,) number of each image, where some were left out; from ``first`` on if not given.
        columns: further (N,) columns of a data set, else in the ``.json``.
        facts: further facts, such as of an audit, for ``extra`` of a data set, else for the ``.json``.
        slice_mm: stated distance between the slices of a stack; neighbouring slices are no neighbours in any head.
        overwrite: whether what is there may be replaced.
        progress: told the segments written.

    Raises:
        InputError: an unknown suffix, or something is there already.
        ResourceError: the disk is full.
    """
    path = check_target(path, overwrite=overwrite)
    suffix = path.suffix.lower()
    if suffix == ".png":
        return write_sheet(path, hu, model)
    origin = provenance(model, seed=seed, first=first) | dict(facts or {})
    if not suffix:
        SegmentDataset.create(
            path,
            hu,
            {
                **_measures(hu, model.card.spacing_mm, progress),
                "subject": np.full(len(hu), "synthetic"),
                "image": first + np.arange(len(hu)) if images is None else images,
                **{f"asked_{name}": values for name, values in (conditions or {}).items()},
                **(columns or {}),
            },
            kind="synthetic",
            spacing_mm=model.card.spacing_mm,
            background_hu=model.card.background_hu,
            model_hash=model.hash,
            seed=seed,
            extra=origin,
            overwrite=overwrite,
            progress=progress,
        )
        return path
    if conditions:
        origin["conditions"] = {name: values.tolist() for name, values in conditions.items()}
    if images is not None:
        origin["images"] = images.tolist()
    origin |= {name: values.tolist() for name, values in (columns or {}).items()}
    loose = _in_memory(hu, model)
    if suffix == ".npy":
        export_npy(loose, path, progress=progress)
    else:
        export_nrrd_stack(loose, path, slice_mm=slice_mm)
        origin["slice_mm"] = slice_mm
    write_json(path.with_name(path.name + ".json"), origin)
    return path


def check_target(path: str | Path, *, overwrite: bool = False) -> Path:
    """Refuse a path that ``write_segments`` would refuse, before anything is drawn.

    Raises:
        InputError: an unknown suffix, or something is there already.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix and suffix not in (".npy", ".png", ".gz", *STACK_SUFFIXES):
        raise InputError(
            f"Segments cannot be written as {path.suffix}.", "Use a folder, .npy, .nrrd, .mha, .nii or .png."
        )
    if path.exists() and not overwrite:
        raise InputError(
            f"{path} exists already.", "Choose another name, or ask for it to be overwritten (--overwrite)."
        )
    return path


def write_sheet(path: str | Path, hu: np.ndarray, model: Model) -> Path:
    """A contact sheet of the first segments, in the model's intensity window."""
    window = model.window
    return write_png(path, contact_sheet(hu[:SHEET_IMAGES], window_hu=(window.minimum_hu, window.maximum_hu)))


def provenance(model: Model, *, seed: int, first: int = 0) -> dict:
    """What must travel with generated segments: the model's hash and card, the seed and the first image's number."""
    card = model.card.model_dump(mode="json", exclude={"sha256", "metrics"})
    return {"model_hash": model.hash, "seed": seed, "first": first, "spacing_mm": model.card.spacing_mm, "model": card}


def _measures(hu: np.ndarray, spacing_mm: float, progress: Progress | None) -> Mapping[str, np.ndarray]:
    from SkullGANLib.evaluate.radiological import measure_segments

    found = measure_segments(hu, spacing_mm, progress=progress)
    return {name: found[name] for name in ("sdr", "thickness_mm", "intensity_hu")}


def _in_memory(hu: np.ndarray, model: Model) -> SegmentDataset:
    from SkullGANLib.segments.meta import DatasetMeta

    meta = DatasetMeta(
        kind="synthetic",
        spacing_mm=model.card.spacing_mm,
        background_hu=model.card.background_hu,
        size=hu.shape[1],
        dtype="float32",
        counts={"segments": len(hu)},
        sha256={},
    )
    return SegmentDataset(None, meta, hu, {}, {})
