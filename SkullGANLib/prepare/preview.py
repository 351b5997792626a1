"""What a preparation would find in one scan: written for a viewer, without a data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from SkullGANLib.files import replace_folder, write_json
from SkullGANLib.prepare.batch import CANDIDATES, Job, run_job
from SkullGANLib.prepare.cut import PIXEL_MM
from SkullGANLib.prepare.run import PreparedVolume, PrepareOptions
from SkullGANLib.progress import Progress
from SkullGANLib.segments.sheet import write_png
from SkullGANLib.segments.table import complete_table, write_table

PREVIEW_FILE, SKULL_FILE, PIECES_FILE, WHERE_FILE = "preview.json", "skull.nrrd", "segments.npy", "where.png"
FORMAT, VERSION = "skullgan-preview", 1


def write_preview(
    job: Job,
    folder: Path,
    options: PrepareOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PreparedVolume:
    """Prepare one volume and write what was found, in one step.

    The folder holds ``skull.nrrd`` (uint8 mask of the vault on the scan's grid), ``candidates.csv`` (every piece
    considered, with its place in LPS mm and the reason against it), ``segments.npy`` ((n, 128, 128) int16 HU of those
    pieces, in the same order), ``where.png`` (their places on the head) and ``preview.json`` (options, head frame,
    notes).

    Args:
        job: the volume.
        folder: to make.
        options: how to cut.
        overwrite: whether an earlier preview at ``folder`` may be replaced.
        progress: told the steps.

    Raises:
        InputError: no skull, nothing to cut, or a folder that may not be replaced.
        FormatError: the scan cannot be read.
    """
    options = options or PrepareOptions()
    with replace_folder(folder, overwrite=overwrite, marker=PREVIEW_FILE) as temporary:
        outcome = run_job(dataclasses.replace(job, save_mask=temporary / SKULL_FILE), options, progress)
        if outcome.error is not None:
            raise outcome.error
        prepared = outcome.prepared
        write_table(temporary / CANDIDATES, complete_table(prepared.table, len(prepared.hu)))
        np.save(temporary / PIECES_FILE, prepared.hu)
        write_png(temporary / WHERE_FILE, outcome.picture)
        facts = {
            "format": FORMAT,
            "version": VERSION,
            "pieces": len(prepared.hu),
            "kept": int(prepared.kept.sum()),
            "spacing_mm": PIXEL_MM,
            "head_to_lps": prepared.skull.frame.head_to_lps,
            "notes": prepared.notes,
            "options": options.model_dump(mode="json"),
        }
        write_json(temporary / PREVIEW_FILE, facts)
    return prepared
