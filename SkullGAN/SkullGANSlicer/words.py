"""Numbers and names as a person reads them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

UNITS = ("mm", "HU", "deg")  # that names of columns end in
LABELS = {  # of the panel, by the options of the command line that ask for the same
    "audit": "Check against",
    "by": "Class columns",
    "centres": "Middles of a class",
    "config": "Preset",
    "data": "Data set",
    "device": "Device",
    "head-frame": "Head frame",
    "hu-offset": "HU offset",
    "images": "Length",
    "init": "Start from",
    "interval-mm": "Interval",
    "mask": "Skull mask",
    "model": "Model",
    "out": "folder",
    "planes": "Planes",
    "preset": "Preset",
    "pretrain": "Pre-train on",
    "real": "Real data set",
    "regions": "Regions",
    "seeds": "Trainings of each",
    "set": "Further options",
    "spacing": "Pixel size",
    "split": "Part of it",
    "subject-pattern": "Subject pattern",
    "subjects": "Table of subjects",
    "synthetic": "Synthetic data set",
    "truncation": "Variety",
    "window-hu": "Black and white",
}
PHRASES = (  # patterns in messages of the command line, and what the panel has instead
    (r",? or (?:ask for it to be overwritten \(--overwrite\)|add --overwrite)|Add --overwrite, or ", ""),
    (r"ask for them to be overwritten \(--overwrite\)", "replace them"),
    (r"Ask for them to be overwritten \(--overwrite\)", "Replace them"),
    (r" \(--duplicates drop leaves them out\)", ""),
    (r" \(--duplicates drop\)", ', see "Leave out images that lie in several classes"'),
    (r"--duplicates drop", '"Leave out images that lie in several classes"'),
    (r" with --copies drop, or mark them with keep", ""),
    (r": --(?:label-)?names [^\s.]*", ""),
    (r", or name them like the model's: --(?:label-)?names", ", or call its segments as the model's labels"),
    (r"\(--device cpu\)", '("Device" cpu)'),
    (r" \(--batch-size \d+\)", ' ("Further options")'),
    (r"--set (\S+?)(?=[,.]?(?:\s|$))", r'\1 in "Further options"'),
    (r"a smaller --batch-size than (\d+)", r'a batch_size below \1 in "Further options"'),
    (r"--batch-size (\d+)", r'batch_size=\1 in "Further options"'),
    (r"skullgan generate --labels|--labels DATASET, or volume from-labels", '"Generate CT from segmentation"'),
    (r"skullgan dataset classes PATH --by [\w,]+", '"Make classes" in section 1'),
    (r"'?skullgan label images'?", '"Annotate"'),
    (r"'?skullgan label train'?", '"Learn"'),
    (r"'?skullgan dataset reduce'?", '"Reduce pixels" in section 4'),
    (r"Give --out a name that ends", "Give the file a name that ends"),
    (r"'?skullgan dataset export'?", '"Export"'),
    (r"(?:(?:skullgan )?dataset )?import-pairs --size (\d+)", r'"Make data set of slices" with slices of \1 pixels'),
    (r"skullgan volume calvarium", '"Cut out calvarium" in section 3'),
    (r"skullgan prepare --interval-mm", '"Interval" in section 1'),
    (r"'?\bskullgan prepare(?: --help)?\b'?", '"Prepare"'),
    (r"'?\bskullgan evaluate\b'?", '"Evaluate"'),
)


def cellText(value: Any) -> str:
    """A value as a person reads it; nothing for NaN."""
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else f"{value:.4g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def spoken(name: str, unit: str = "") -> str:
    """The name of a column in words, with its unit: ``thickness_mm`` and ``mm`` are "thickness (mm)"."""
    if name == "sdr":
        return "SDR"
    words = name.removesuffix(f"_{unit.lower().replace('1/', 'per_')}") if unit else name
    return words.replace("_", " ") + (f" ({unit})" if unit else "")


def heading(name: str) -> str:
    """The name of a table's column as its heading."""
    unit = next((unit for unit in UNITS if name.endswith(f"_{unit.lower()}")), "")
    return spoken(name, unit)


def forPanel(text: str) -> str:
    """A message of the command line for people who have the panel: what it asks for is called as the panel calls it.

    ``--head-frame`` is the "Head frame", ``skullgan prepare`` is "Prepare"; options that the panel lacks are named
    without their dashes, and commands that it lacks are left as they are.
    """
    for pattern, words in PHRASES:
        text = re.sub(pattern, words, text)
    return re.sub(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)", lambda match: f'"{_spoken(match[1])}"', text)


def _spoken(option: str) -> str:
    return LABELS.get(option, option.replace("-", " "))
