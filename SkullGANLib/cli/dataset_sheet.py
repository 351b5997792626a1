"""The contact sheet of a data set, in the order of its segments or a row for each value of a column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from SkullGANLib.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from SkullGANLib.segments.dataset import SegmentDataset

MOST_ROWS = 60


def draw_sheet(
    opened: SegmentDataset,
    output: Path,
    *,
    number: int,
    window_hu: tuple[float, float] | None = None,
    titles: bool = False,
    only: Sequence[str] = (),
    by: str | None = None,
    columns: int = 8,
    scale: int = 1,
) -> int:
    """Draw segments of a data set as a PNG.

    Args:
        opened: the data set.
        output: file to write.
        number: of segments, spread evenly over the set; in rows by a column there are as many as fill each row.
        window_hu: HU shown black and white; None: see ``exchange.usual_window``.
        titles: whether the row, region and side stand above each.
        only: classes to show; none for all.
        by: column whose values have a row each.
        columns: segments in a row.
        scale: whole-number magnification.

    Returns:
        How many are shown.

    Raises:
        InputError: no such column or class, or more than 60 rows.
    """
    import numpy as np

    from SkullGANLib.segments.class_names import classes_of
    from SkullGANLib.segments.exchange import usual_window
    from SkullGANLib.segments.sheet import contact_sheet, titled_rows, write_png

    chosen = np.arange(len(opened))
    if only:
        known = classes_of(opened)
        if unknown := sorted({*only} - {*known.tolist()}):
            raise InputError(f"There is no class {unknown[0]}.", f"See the classes with 'skullgan info {opened.path}'.")
        chosen = opened.filter(**{"class": list(only)})
    groups = _groups(opened, chosen, by) if by else {"": chosen}
    groups = {name: _spread(rows, columns if by else number) for name, rows in groups.items()}
    facts = {"columns": columns, "scale": scale, "window_hu": window_hu or usual_window(opened)}
    sheets = {}
    for name, rows in groups.items():
        captions = [_caption(opened, row) for row in rows] if titles else None
        sheets[name] = contact_sheet(opened.hu[rows], titles=captions, **facts)
    write_png(output, titled_rows(sheets) if by else sheets[""])
    return sum(map(len, groups.values()))


def _groups(opened: SegmentDataset, chosen: np.ndarray, by: str) -> dict[str, np.ndarray]:
    import numpy as np

    from SkullGANLib.segments.class_names import column_of_words

    words = column_of_words(opened, by)[chosen]
    names = np.unique(words)
    if len(names) > MOST_ROWS:
        raise InputError(
            f"The column {by} has {len(names)} values; a sheet has at most {MOST_ROWS} rows.",
            "Choose some classes with --class, or another column.",
        )
    return {f"{name or 'none'}  {(words == name).sum()}": chosen[words == name] for name in names.tolist()}


def _spread(rows: np.ndarray, number: int) -> np.ndarray:
    import numpy as np

    return rows[np.unique(np.linspace(0, len(rows) - 1, max(1, min(number, len(rows)))).astype(int))]


def _caption(opened: SegmentDataset, row: int) -> str:
    return " ".join(filter(None, [str(row), *(opened.table[name][row] for name in ("region", "side"))]))
