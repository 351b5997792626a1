"""Draw CT volumes from a pyramid: of the same size or another, free or held to a given volume at some scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SkullGANLib import __version__
from SkullGANLib.ct.io import write_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.files import sha256_of, write_json
from SkullGANLib.models.device import memory_advice, resolve_device, uses_bfloat16
from SkullGANLib.models.draws import PYRAMID_SAMPLE
from SkullGANLib.models.folder import Model
from SkullGANLib.models.pyramid import Pyramid, PyramidNetwork, Shape, normals, rebuilt, resized
from SkullGANLib.progress import Progress, report

FORMAT, VERSION = "skullgan-volumes", 1
PREVIEWED = 3


def draw_volumes(
    model: Model,
    n: int,
    *,
    seed: int = 0,
    enlarged: tuple[float, float, float] = (1.0, 1.0, 1.0),
    first_scale: int = 0,
    source: Volume | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Iterator[Volume]:
    """Volumes drawn one after the other; volume i of a seed is always the same.

    Args:
        model: of a pyramid, from ``load_model(..., volumes=True)``.
        n: how many.
        seed: of the noise.
        enlarged: size along (slice, row, column), as multiples of the volume learnt; voxels stay as large.
        first_scale: scale that noise enters first; 0 draws freely. From a higher one on only finer detail varies, on
            top of ``source`` or, without one, of the learnt volume as the pyramid rebuilds it.
        source: CT that is brought to the scale below ``first_scale`` and refined from there: its coarse structure
            stays, its detail becomes that of the volume learnt (harmonising, editing).
        device, precision: see ``generate.sample.generate_segments``.
        progress: told the volumes drawn.

    Yields:
        HU on the grid of the finest scale, float32, where the volume learnt, or ``source``, lies in the patient.

    Raises:
        InputError: no such scale, an impossible number, a source at the coarsest scale.
        ResourceError: out of memory.
    """
    network: PyramidNetwork = model.network
    _check(n, seed, enlarged, first_scale, source, network)
    where = resolve_device(device)
    low = uses_bfloat16(precision, where)
    pyramid = model.generator.to(where).eval()
    shapes = [_enlarged(shape, enlarged) for shape in network.shapes]
    for i in range(n):
        report(progress, i, n, "Generating")
        with (
            memory_advice("Draw a smaller volume."),
            torch.no_grad(),
            torch.autocast(where.type, torch.bfloat16, enabled=low),
        ):
            image = _below(pyramid, model, first_scale, source, shapes, where)
            noises = [
                _noise(network, seed, i, scale, shapes[scale], where) for scale in range(first_scale, len(shapes))
            ]
            image = pyramid(noises, image, first=first_scale)
        yield _as_volume(image, model, source, enlarged)
    report(progress, n, n, "Generating")


def draw_scales(model: Model, n: int, *, seed: int = 0, device: str = "auto") -> Iterator[list[np.ndarray]]:
    """What each scale makes on the way to the volumes of ``draw_volumes``, coarse to fine, float32 in 0 to 1."""
    network: PyramidNetwork = model.network
    where = resolve_device(device)
    pyramid = model.generator.to(where).eval()
    for i in range(n):
        image, scales = None, []
        with torch.no_grad():
            for scale, shape in enumerate(network.shapes):
                image = pyramid.refined(scale, _noise(network, seed, i, scale, shape, where), image)
                scales.append(image.float().clamp(0, 1).reshape(shape).cpu().numpy())
        yield scales


def write_volumes(
    volumes: Iterable[Volume], folder: Path, model: Model, file_format: str, facts: Mapping[str, Any]
) -> None:
    """Write volumes as they are drawn, ``volumes.json`` with their origin, and the first at a glance, ``preview.png``.

    Args:
        volumes: drawn from ``model``.
        folder: to write to.
        model: that they were drawn from.
        file_format: ending of the files, such as ``nrrd``.
        facts: how they were drawn.
    """
    from SkullGANLib.ct.views import at_a_glance, write_views

    shown, files = {"Volume learnt, as rebuilt": [at_a_glance(rebuilt_volume(model))]}, []
    for number, volume in enumerate(volumes):
        files.append(write_numbered(volume, folder, number, file_format))
        if number < PREVIEWED:
            shown[f"Volume {number + 1}"] = [at_a_glance(volume)]
    write_origin(folder, model, facts, files)
    write_views(folder / "preview.png", shown)


def write_numbered(volume: Volume, folder: Path, number: int, file_format: str) -> dict[str, Any]:
    """Write a drawn volume in whole HU; returns its entry for ``volumes.json``."""
    rounded = volume.with_array(np.rint(volume.hu).astype(np.int16))
    path = write_volume(rounded, folder / f"volume-{number + 1:04d}.{file_format}")
    return {"file": path.name, "image": number, "sha256": sha256_of(path)}


def write_origin(folder: Path, model: Model, facts: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> None:
    """Write ``volumes.json``: what the volumes were drawn from, and how."""
    origin = {"kind": "synthetic", "family": model.card.family, "model_hash": model.hash, **facts}
    document = {"format": FORMAT, "version": VERSION, "library_version": __version__, **origin, "files": files}
    write_json(folder / "volumes.json", document)


def rebuilt_volume(model: Model, *, device: str = "auto") -> Volume:
    """The volume learnt, as the pyramid rebuilds it from its fixed noise."""
    pyramid = model.generator.to(resolve_device(device)).eval()
    with torch.no_grad():
        image = rebuilt(pyramid, model.card.seed, len(pyramid.scales))
    return _as_volume(image, model, None, (1.0, 1.0, 1.0))


def _check(
    n: int, seed: int, enlarged: tuple, first_scale: int, source: Volume | None, network: PyramidNetwork
) -> None:
    if n < 1 or seed < 0:
        raise InputError("Seeds count from 0, and at least one volume is needed.", "Correct them.")
    scales = len(network.shapes)
    if not 0 <= first_scale < scales:
        raise InputError(f"There is no scale {first_scale}: the model has 0 to {scales - 1}.", "Choose one of these.")
    if source is not None and not first_scale:
        raise InputError("Noise at the coarsest scale leaves nothing of a given volume.", "Begin at scale 1 or higher.")
    if not all(0.2 <= factor <= 10 for factor in enlarged) or (network.dimensions == 2 and enlarged[0] != 1):
        raise InputError(
            f"A size of {' x '.join(f'{factor:g}' for factor in enlarged)} times the volume learnt cannot be drawn.",
            "Use 0.2 to 10, and with slices as channels leave their number.",
        )
    if first_scale and source is None and any(factor != 1 for factor in enlarged):
        raise InputError("Detail of the volume learnt can be varied at its own size only.", "Begin at scale 0.")


def _noise(network: PyramidNetwork, seed: int, i: int, scale: int, shape: Shape, device: torch.device) -> torch.Tensor:
    return network.noise[scale] * normals(seed, PYRAMID_SAMPLE, (i << 8) + scale, network, shape).to(device)


def _enlarged(shape: Shape, factors: tuple[float, float, float]) -> Shape:
    return tuple(max(1, round(n * factor)) for n, factor in zip(shape, factors, strict=True))


def _below(
    pyramid: Pyramid, model: Model, first_scale: int, source: Volume | None, shapes: list[Shape], device: torch.device
) -> torch.Tensor | None:
    """What the first scale that takes noise builds on."""
    if not first_scale:
        return None
    network, window = model.network, model.window
    if source is None:
        return rebuilt(pyramid, model.card.seed, first_scale)
    hu = torch.from_numpy(np.ascontiguousarray(source.hu, np.float32)).to(device)
    unit = ((hu - window.minimum_hu) / window.range_hu).clamp(0, 1)[None]
    return resized(unit if network.dimensions == 2 else unit[None], shapes[first_scale - 1])


def _as_volume(image: torch.Tensor, model: Model, source: Volume | None, enlarged: tuple) -> Volume:
    """HU with the voxels of the finest scale, from the corner on where the volume learnt or the source begins."""
    window, learnt = model.card.window, model.card.training["volume"]
    hu = (image.float().clamp(0, 1) * window.range_hu + window.minimum_hu).reshape(image.shape[-3:]).cpu().numpy()
    if source is None:
        old = Volume(
            np.empty(learnt["shape"], np.int8),
            tuple(learnt["spacing_mm"]),
            tuple(learnt["origin_mm"]),
            np.array(learnt["direction"]),
        )
    else:
        old = source
    extents = np.array(old.extents_mm) * (np.array(enlarged) if source is None else 1.0)
    spacing_zyx = extents / np.array(hu.shape)
    corner = -0.5 + 0.5 * spacing_zyx / np.array(old.spacing_mm[::-1])  # of the old grid, where the first voxel lies
    return Volume(hu, tuple(spacing_zyx[::-1].tolist()), tuple(old.zyx_to_lps(corner).tolist()), old.direction)
