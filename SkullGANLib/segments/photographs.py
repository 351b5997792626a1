"""A folder of pictures of anything as a data set to pre-train on; the paper pre-trains on 100,000 faces."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np

from SkullGANLib.errors import FormatError
from SkullGANLib.files import check_replaceable
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.meta import META_FILE

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
SIZE = 128


def import_pictures(
    source: str | Path, path: str | Path, *, overwrite: bool = False, progress: Progress | None = None
) -> SegmentDataset:
    """Make a data set of kind ``pictures``: grey, the largest square about the centre, 128 x 128, values 0 to 255.

    Args:
        source: folder; its sub-folders are searched too.
        path: folder to make.
        overwrite: whether a data set at ``path`` may be replaced.
        progress: told the pictures read.

    Warns:
        UserWarning: files that cannot be read as pictures, which are left out.

    Raises:
        FormatError: there are no pictures.
        InputError: ``path`` may not be replaced.
    """
    check_replaceable(path, overwrite=overwrite, marker=META_FILE)
    files = sorted(file for file in Path(source).rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise FormatError(f"There are no pictures in {source}.", f"Give a folder of {', '.join(SUFFIXES)} files.")
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.resolve().parent, prefix=".pictures-") as folder:
        shape = (len(files), SIZE, SIZE)
        grey = np.lib.format.open_memmap(Path(folder) / "grey.npy", mode="w+", dtype=np.int16, shape=shape)
        kept = 0
        for number, file in enumerate(files, start=1):
            picture = _read(file)
            if picture is not None:
                grey[kept] = centred_square(picture, SIZE)
                kept += 1
            report(progress, number, len(files), "Reading pictures")
        if kept < len(files):
            warnings.warn(f"{len(files) - kept} of {len(files)} files are no pictures and left out.", stacklevel=2)
        if not kept:
            raise FormatError(f"None of the {len(files)} files in {source} can be read.", "Check them in a viewer.")
        table = {"subject": np.full(kept, "pictures")}
        made = SegmentDataset.create(path, grey[:kept], table, kind="pictures", overwrite=overwrite, progress=progress)
        del grey  # Windows deletes no file that is open
    return made


def centred_square(picture: np.ndarray, size: int) -> np.ndarray:
    """The largest square about the centre: (H, W) uint8, uint16, int16 or float32 to (size, size) of the same type."""
    import cv2

    height, width = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)


def _read(file: Path) -> np.ndarray | None:
    """(H, W) uint8, or None for a file that cannot be read."""
    import cv2

    return cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_GRAYSCALE) if file.stat().st_size else None
