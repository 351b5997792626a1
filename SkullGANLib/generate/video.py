"""Images one after the other as a video: MP4, or an animated PNG that every browser shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SkullGANLib.errors import InputError, ResourceError
from SkullGANLib.files import replace_file

SUFFIXES = (".mp4", ".png")
_LEAST_SIDE = 256  # pixels, so that small images can be seen


def check_video(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written as a video, before anything is drawn.

    Raises:
        InputError: another suffix, or a file that is there already.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is no video.", "Give --out a name that ends in .mp4 or .png.")
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already.", "Add --overwrite, or choose another name.")


def check_array(path: Path, *, overwrite: bool = False) -> None:
    """Refuse a file for the frames themselves that is there already or has another suffix than ``.npy``.

    Raises:
        InputError: so.
    """
    if path.suffix.lower() != ".npy":
        raise InputError(f"{path} is no array.", "Give --hu a name that ends in .npy.")
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already.", "Add --overwrite, or choose another name.")


def write_video(path: str | Path, hu: np.ndarray, *, window_hu: tuple[float, float], per_second: float = 20.0) -> Path:
    """Write images as the frames of a video; small ones are enlarged.

    Args:
        path: ``.mp4`` or ``.png`` (animated, lossless).
        hu: (n, H, W) HU.
        window_hu: HU that become black and white.
        per_second: frames.

    Raises:
        InputError: a window without width.
        ResourceError: this computer's OpenCV writes no MP4, or the disk is full.
    """
    import cv2

    path, (low, high) = Path(path), window_hu
    if not low < high:
        raise InputError(f"The window {low:g} to {high:g} HU shows nothing.", "Give the lower one first.")
    grey = np.clip((np.asarray(hu, np.float32) - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)
    factor = max(1, -(-_LEAST_SIDE // min(grey.shape[1:])))
    grey = [cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) for frame in grey]
    with replace_file(path) as temporary:
        if path.suffix.lower() == ".png":
            _write_png(temporary, grey, per_second)
        else:
            _write_mp4(temporary, grey, per_second)
    return path


def _write_png(path: Path, frames: list[np.ndarray], per_second: float) -> None:
    from PIL import Image  # matplotlib brings it

    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, format="PNG", save_all=True, append_images=others, duration=round(1000 / per_second), loop=0)


def _write_mp4(path: Path, frames: list[np.ndarray], per_second: float) -> None:
    import cv2

    height, width = (side - side % 2 for side in frames[0].shape)  # the format knows even sides only
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), per_second, (width, height))
    try:
        if not writer.isOpened():
            raise ResourceError("This computer's OpenCV writes no MP4.", "Give --out a name that ends in .png.")
        for frame in frames:
            writer.write(cv2.cvtColor(frame[:height, :width], cv2.COLOR_GRAY2BGR))
    finally:
        writer.release()
