"""The one volume that a pyramid learns, between its own grid and those of the scales."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from SkullGANLib.ct.checks import require_finite
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.models.pyramid import PyramidNetwork, Shape, resized, scale_shapes
from SkullGANLib.train.pyramid_options import PyramidOptions


def unit_volume(volume: Volume, options: PyramidOptions) -> torch.Tensor:
    """(1, 1, slices, rows, columns), or in 2D (1, slices, rows, columns), float32 in 0 to 1.

    Raises:
        InputError: the volume is not finite, or constant within the window.
    """
    require_finite(volume.hu)
    hu = torch.from_numpy(np.ascontiguousarray(volume.hu, np.float32))
    low, high = options.window_hu
    unit = ((hu - low) / (high - low)).clamp(0, 1)
    if float(unit.max() - unit.min()) < 1e-3:
        raise InputError(f"All voxels are alike between {low:g} and {high:g} HU.", "Give a CT, or another window.")
    return unit[None, None] if options.dimensions == 3 else unit[None]


def network_for(volume: Volume, options: PyramidOptions) -> PyramidNetwork:
    """The networks of all scales for a volume.

    Raises:
        InputError: it is too small.
    """
    spacing_mm = volume.spacing_mm[::-1]
    sizes = {"smallest": options.smallest, "largest": options.largest, "factor": options.factor}
    try:
        shapes = scale_shapes(volume.shape, spacing_mm, dimensions=options.dimensions, **sizes)
    except ValueError as error:
        raise InputError(f"The volume of {_words(volume.shape)} voxels {error}.", "Give more of it.") from error
    return PyramidNetwork(
        dimensions=options.dimensions,
        shapes=shapes,
        noise=(1.0,),
        places=options.places,
        channels=options.channels or {2: 256, 3: 32}[options.dimensions],
        judge_channels=options.judge_channels or 16,
    )


def real_scales(volume: Volume, options: PyramidOptions, shapes: Sequence[Shape]) -> list[np.ndarray]:
    """The volume at each scale, (slices, rows, columns) float32 in 0 to 1."""
    unit = unit_volume(volume, options)
    return [as_array(resized(unit, shape), shape) for shape in shapes]


def as_array(unit: torch.Tensor, shape: Shape) -> np.ndarray:
    """A volume as the networks take it as (slices, rows, columns) float32, cut off at 0 and 1."""
    return unit.reshape(shape).clamp(0, 1).cpu().numpy()


def on_grid(volume: Volume, options: PyramidOptions, unit: np.ndarray) -> Volume:
    """HU of what lies in the place of a volume at a scale, given in 0 to 1."""
    low, high = options.window_hu
    spacing_zyx = np.array(volume.extents_mm) / unit.shape
    return Volume(unit * (high - low) + low, tuple(spacing_zyx[::-1].tolist()))


def notes_of(volume: Volume, network: PyramidNetwork) -> list[str]:
    """What happens to the volume, as sentences: to which voxels it is resampled, and where that makes up voxels."""
    finest = [mm / n for mm, n in zip(volume.extents_mm, network.shapes[-1], strict=True)]
    notes = [
        f"{len(network.shapes)} scales from {_words(network.shapes[0])} to {_words(network.shapes[-1])} voxels; the "
        f"finest of {' x '.join(f'{mm:.2f}' for mm in finest)} mm (slice, row, column)."
    ]
    thick = volume.spacing_mm[2] / finest[0]
    if thick > 1.5:
        notes.append(
            f"The slices are {volume.spacing_mm[2]:g} mm thick: detail along them is interpolated, since the finest "
            f"scale has {thick:.1f} voxels for each."
        )
    return notes


def geometry(volume: Volume) -> dict[str, Any]:
    """Shape, place and content hash of a volume, as JSON holds them; nothing of the patient."""
    return {
        "shape": list(volume.shape),
        "spacing_mm": [float(mm) for mm in volume.spacing_mm],
        "origin_mm": [float(mm) for mm in volume.origin_mm],
        "direction": np.asarray(volume.direction, float).tolist(),
        "sha256": hashlib.sha256(np.ascontiguousarray(volume.hu).tobytes()).hexdigest(),
    }


def _words(shape: Shape) -> str:
    return " x ".join(map(str, shape))
