"""Numbers and names as a person reads them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

UNITS = ("mm", "HU", "deg")  # that names of columns end in


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


def withoutDashes(text: str) -> str:
    """A message of the command line for people who have none: ``--head-frame`` is the "head frame"."""
    return re.sub(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)", lambda match: f'"{_spoken(match[1])}"', text)


def _spoken(option: str) -> str:
    return {"out": "folder", "images": "length", "set": "options"}.get(option, option.replace("-", " "))
