"""Arrays of a data set as ``.npy`` files: streamed out with their hash, opened without reading them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.progress import Progress, report

BLOCK_BYTES = 1 << 24
SMALLEST_PX, LARGEST_PX = 32, 512


def label_values(labels: np.ndarray) -> list[int]:
    """The values in (N, rows, columns) uint8 or uint16 but 0, ascending; read a slice at a time."""
    found = np.zeros(np.iinfo(labels.dtype).max + 1, bool)
    for image in labels:
        found[image.ravel()] = True
    return (np.flatnonzero(found[1:]) + 1).tolist()


class _HashedFile:
    """A file that hashes what is written to it; without a file it only hashes."""

    def __init__(self, file: BinaryIO | None) -> None:
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, data) -> int:
        self.digest.update(data)
        return self.file.write(data) if self.file else 0


def write_npy(
    path: Path, parts: Sequence[np.ndarray], dtype: np.dtype | type, *, progress: Progress | None = None
) -> str:
    """Write arrays one after the other as one ``.npy`` file, a block at a time.

    Args:
        path: file to make.
        parts: arrays (n_i, rows, columns), possibly memory-mapped.
        dtype: type to write.
        progress: told the segments written.

    Returns:
        sha256 of the file.

    Raises:
        InputError: NaN or infinity among the values, with their number.
    """
    with open(path, "wb") as file:
        return _write(file, parts, np.dtype(dtype), progress)


def npy_sha256(array: np.ndarray) -> str:
    """SHA-256 of the file ``write_npy`` would make of an array."""
    return _write(None, [array], array.dtype, None)


def _write(file: BinaryIO | None, parts: Sequence[np.ndarray], dtype: np.dtype, progress: Progress | None) -> str:
    n, done = sum(len(part) for part in parts), 0
    hashed = _HashedFile(file)
    descr, shape = np.lib.format.dtype_to_descr(dtype), (n, *parts[0].shape[1:])
    np.lib.format.write_array_header_1_0(hashed, {"descr": descr, "fortran_order": False, "shape": shape})
    for block in finite_blocks(parts, dtype):
        hashed.write(block.data)
        done += len(block)
        report(progress, done, n, "Writing segments")
    return hashed.digest.hexdigest()


def finite_blocks(parts: Iterable[np.ndarray], dtype: np.dtype | type) -> Iterator[np.ndarray]:
    """Arrays in contiguous blocks of some 16 MB of type ``dtype``.

    Raises:
        InputError: at the end, if any block held NaN or infinity, with their number and the first of those images.
    """
    values = done = 0
    found: list[int] = []
    for part in parts:
        step = max(1, BLOCK_BYTES // max(1, part[:1].nbytes))
        for start in range(0, len(part), step):
            with np.errstate(over="ignore", invalid="ignore"):
                block = np.ascontiguousarray(part[start : start + step], dtype)
            if block.dtype.kind == "f":
                bad = ~np.isfinite(block)
                values += int(bad.sum())
                found += (done + np.flatnonzero(bad.any(axis=tuple(range(1, bad.ndim))))).tolist()
            done += len(block)
            yield block
    if values:
        raise InputError(
            f"{values} values in {len(found)} segments are not finite (NaN or infinity): numbers "
            f"{', '.join(map(str, found[:8]))}{', ...' * (len(found) > 8)}.",
            "Leave those segments out or mend them first.",
        )


def block_means(images: np.ndarray, side: int) -> np.ndarray:
    """Means over squares of ``side`` pixels: (..., H, W), both divisible by it, to (..., H / side, W / side)."""
    *rest, height, width = images.shape
    return images.reshape(*rest, height // side, side, width // side, side).mean((-3, -1))


def open_npy(path: Path) -> np.ndarray:
    """Memory-map a ``.npy`` file, read-only.

    Raises:
        FormatError: missing, cut short, longer than its header says, not ``.npy``, or holding Python objects.
    """
    advice = "Take a whole copy of the file or make it again."
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise FormatError(f"{path.name} is missing in {path.parent}.", advice) from error
    except (ValueError, EOFError, SyntaxError, OverflowError) as error:
        raise FormatError(f"{path} is cut short, damaged or not a .npy array.", advice) from error
    if not isinstance(array, np.memmap):
        raise FormatError(f"{path} is not a single .npy array.", advice)
    if array.offset + array.nbytes != path.stat().st_size:
        raise FormatError(f"{path} is longer than its header says.", advice)
    return array


def check_segments(hu: np.ndarray) -> np.ndarray:
    """Raise unless ``hu`` is (N, size, size) numbers with N of at least 1 and size of 32 to 512; gives it back."""
    hu = hu if isinstance(hu, np.ndarray) else np.asarray(hu)
    if hu.dtype.kind not in "iuf":
        raise InputError(f"The segments are {hu.dtype}, not numbers.", "Give HU as int16 or float32.")
    if hu.ndim != 3 or hu.shape[1] != hu.shape[2] or not SMALLEST_PX <= hu.shape[1] <= LARGEST_PX:
        raise InputError(
            f"The segments have shape {hu.shape}.",
            "Give (N, 128, 128); other square sizes from 32 to 512 are possible.",
        )
    if len(hu) == 0:
        raise InputError("There are no segments.", "A data set needs at least one.")
    return hu
