"""Draw CT from label maps: slice by slice, several for one map, and volumes that hang together between slices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from SkullGANLib.ct.label_names import HIGHEST_VALUE
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.generate.sample import fitting_batch
from SkullGANLib.models.device import memory_advice, resolve_device, uses_bfloat16
from SkullGANLib.models.draws import SAMPLE
from SkullGANLib.models.folder import Model
from SkullGANLib.models.window import exported_hu
from SkullGANLib.progress import Progress, report
from SkullGANLib.segments.arrays import label_values
from SkullGANLib.words import few

if TYPE_CHECKING:
    import SimpleITK as sitk

SMOOTH_MM = 1.5  # of the noise across slices
_LONGEST = 32  # slices on each side that noise is mixed of
_CODES = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}  # columns, rows and slices as ``segments.pairs`` cuts


def channels_of(model: Model, names: Mapping[int, str], *, option: str = "--names") -> np.ndarray:
    """(65536,) uint8: the model's channel of each value of a label map.

    Args:
        model: of a family that draws from label maps.
        names: value to the name of what it stands for; a value without a name, or with an empty one, is no label.
        option: of the command line that names values, for the advice.

    Raises:
        InputError: a model that takes no label maps, or a name that it does not know.
    """
    require_masks(model)
    known = {name.casefold(): k for k, name in enumerate(model.network.labels, start=1)}
    named = {value: name for value, name in names.items() if value and name}
    unknown = [value for value, name in named.items() if name.casefold() not in known]
    if unknown:
        if len(unknown) < len(named):
            words = "Name the labels like these, or leave them out (in 3D Slicer, hide their segments)"
            advice = f"{words}: {option} {','.join(f'{value}=' for value in unknown)}"
        else:
            advice = f"Choose a model that was trained with these labels, or name them like the model's: {option}."
        raise InputError(
            f"The model does not know the labels {few([f'{named[value]} ({value})' for value in unknown])}; it knows: "
            f"{', '.join(model.network.labels)}.",
            advice,
        )
    table = np.zeros(HIGHEST_VALUE + 1, np.uint8)
    for value, name in named.items():
        table[value] = known[name.casefold()]
    return table


def require_masks(model: Model) -> None:
    """Refuse a model that does not draw from label maps.

    Raises:
        InputError: it does not.
    """
    if not model.family.masks:
        raise InputError(
            f"Models of the family {model.card.family} draw without label maps.",
            "Leave the label maps out, or choose a model of the family patch-cgan.",
        )


def translate_slices(
    model: Model,
    labels: np.ndarray,
    *,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    noise_px: float = 0.0,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> np.ndarray:
    """CT slices of label maps; slice i of a seed has the same noise on every device and in every batch.

    Args:
        model: from ``load_model``, of a family that draws from label maps.
        labels: (n, H, W) uint8 of the model's channels (``channels_of``), one slice after the other where the model
            has neighbours; or (n, slices, H, W) with each slice between its own. Any H and W.
        seed, numbers: of the noise, and its number for each slice; 0, 1, ... if not given.
        noise_px: standard deviation, in slices, of the Gaussian by which the noise of slices that follow each other
            is mixed, so that texture goes on from one to the next; 0 for noise of its own in each.
        batch_size, device, precision: see ``generate_segments``.
        progress: told the slices drawn.

    Returns:
        (n, H, W) float32 HU, within the model's window.

    Raises:
        InputError: a model without label maps, or labels of another shape.
        ResourceError: not enough memory.
    """
    require_masks(model)
    network, card = model.network, model.card
    labels = np.asarray(labels)
    if labels.ndim == 3:
        labels = with_neighbours(labels, network.neighbours)
    if labels.ndim != 4 or labels.shape[1] != network.slices or not labels.size:
        raise InputError(
            f"The label maps have shape {labels.shape}; the model takes (n, {network.slices}, rows, columns).",
            "Give slices with their neighbours.",
        )
    if labels.max() >= network.channels:
        raise InputError(f"There is no label {labels.max()}; the model has {len(network.labels)}.", "Check the labels.")
    n, _, rows, columns = labels.shape
    margins = [(-length) % network.multiple for length in (rows, columns)]
    tall = [(margin // 2, margin - margin // 2) for margin in margins]
    where = resolve_device(device)
    shrink = rows * columns / network.size**2
    size = min(batch_size or max(1, int(fitting_batch(model, where) / max(shrink, 1))), n)
    numbers = np.arange(n) if numbers is None else np.asarray(numbers)
    offsets, shares = _mixture(noise_px)
    hu = np.empty((n, rows, columns), np.float32)
    bfloat16 = uses_bfloat16(precision, where)
    with memory_advice(f"Use a smaller --batch-size than {size}."), torch.no_grad():
        generator = model.family.for_drawing(model.generator.to(where).eval(), network, bfloat16)
        for start in range(0, n, size):
            report(progress, start, n, "Generating")
            own = np.pad(labels[start : start + size], ((0, 0), (0, 0), *tall))
            middle = _LONGEST + numbers[start : start + size]  # none is below 0 with what is mixed in
            keys = {i: None for k in middle for i in (k + offsets).tolist()}
            (found,) = model.family.latent(network, seed, keys, SAMPLE)
            table = dict(zip(keys, found, strict=True))
            mixed = torch.stack([torch.stack([table[i] for i in (k + offsets).tolist()]) for k in middle])
            images = generator(torch.from_numpy(own).to(where), mixed, torch.tensor(shares))
            images = images[..., tall[0][0] : tall[0][0] + rows, tall[1][0] : tall[1][0] + columns]
            hu[start : start + size] = exported_hu(images, model.window, card.background_hu, 0.0)
    if card.training.get("blank_background"):
        hu[labels[:, network.neighbours] == 0] = card.background_hu
    report(progress, n, n, "Generating")
    return hu


def with_neighbours(labels: np.ndarray, neighbours: int, step: int = 1) -> np.ndarray:
    """(n, H, W) slices that follow each other to (n, 2 * neighbours + 1, H, W): each between those ``step`` away.

    The outermost slice stands in for those beyond it.
    """
    near = np.arange(-neighbours, neighbours + 1) * step
    return labels[np.clip(np.arange(len(labels))[:, None] + near, 0, len(labels) - 1)]


def translate_volume(
    model: Model,
    labels: Volume,
    names: Mapping[int, str],
    *,
    seed: int = 0,
    smooth_mm: float = SMOOTH_MM,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Volume:
    """A CT volume of a label map, on the label map's own grid; its notes say what a user should know.

    Labels are turned and resampled to slices as the model was trained on, and what is drawn is resampled back.

    Args:
        model: from ``load_model``, of a family that draws from label maps.
        labels: label map, uint8 or uint16, any orientation and spacing; a single slice has to lie in the model's plane.
        names: value to the name of what it stands for, empty for no label; a value without one is called "label 3".
        seed: of the noise; another one gives another CT of the same labels.
        smooth_mm: standard deviation of the Gaussian by which noise is mixed across slices.
        device, precision: see ``generate_segments``.
        progress: told the slices drawn.

    Raises:
        InputError: labels that the model does not know, or none at all; a single slice of another plane.
        ResourceError: not enough memory.
    """
    import SimpleITK as sitk

    present = label_values(labels.hu)
    table = channels_of(model, {value: names.get(value, f"label {value}") for value in present})
    if not table[present].any():
        raise InputError("The label map is empty.", "Draw or choose some labels first.")
    image = labels.with_array(table[labels.hu]).to_sitk()
    card, notes = model.card, []
    plane = card.training.get("plane", "")
    plane = plane if plane in _CODES else "axial"
    turned = sitk.DICOMOrient(image, _CODES[plane])
    if min(turned.GetSize()[:2]) == 1:
        raise InputError(
            f"The label map is a single slice that is not {plane}, as the model's are.",
            "Give a volume, or a slice of that plane.",
        )
    grid = _grid(turned, card.spacing_mm)
    slices = sitk.GetArrayFromImage(_resampled(turned, grid, sitk.sitkNearestNeighbor, 0))
    apart = turned.GetSpacing()[2]
    step = max(1, round((card.training.get("slice_mm") or apart) / apart))
    own = min(turned.GetSpacing()[:2])
    if own < 0.7 * card.spacing_mm:
        notes.append(
            f"The model draws pixels of {card.spacing_mm:g} mm; those of the label map, of {own:.3g} mm, are filled in "
            "between."
        )
    hu = translate_slices(
        model,
        with_neighbours(slices, model.network.neighbours, step),
        seed=seed,
        noise_px=smooth_mm / apart,
        device=device,
        precision=precision,
        progress=progress,
    )
    drawn = sitk.GetImageFromArray(hu)
    drawn.CopyInformation(grid)
    back = _resampled(drawn, image, sitk.sitkLinear, card.background_hu)
    return replace(labels, hu=sitk.GetArrayFromImage(back).astype(np.float32), notes=tuple(notes))


def _mixture(sigma: float) -> tuple[np.ndarray, list[float]]:
    """Numbers of slices around one, and the share of the noise of each; the squares of the shares add up to 1."""
    reach = min(math.ceil(2.5 * sigma), _LONGEST)
    offsets = np.arange(-reach, reach + 1)
    shares = np.exp(-0.5 * (offsets / max(sigma, 1e-6)) ** 2)
    return offsets, (shares / np.linalg.norm(shares)).tolist()


def _grid(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """An image over the same field, its pixels within slices of the model's spacing."""
    import SimpleITK as sitk

    old, size = image.GetSpacing(), image.GetSize()
    count = [max(1, math.ceil(size[k] * old[k] / spacing_mm - 1e-6)) for k in (0, 1)]
    shift = [(spacing_mm - old[k]) / 2 + (size[k] * old[k] - count[k] * spacing_mm) / 2 for k in (0, 1)]
    direction = np.array(image.GetDirection()).reshape(3, 3)
    grid = sitk.Image(*count, size[2], sitk.sitkUInt8)
    grid.SetSpacing((spacing_mm, spacing_mm, old[2]))
    grid.SetOrigin((np.array(image.GetOrigin()) + direction @ np.array([*shift, 0.0])).tolist())
    grid.SetDirection(image.GetDirection())
    return grid


def _resampled(image: sitk.Image, grid: sitk.Image, kind: int, default: float) -> sitk.Image:
    import SimpleITK as sitk

    return sitk.Resample(image, grid, sitk.Transform(), kind, default)
