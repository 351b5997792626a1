"""Writing acoustic maps for simulation: NIfTI for most programs, MAT or HDF5 for k-Wave, and a picture of them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from SkullGANLib import __version__
from SkullGANLib.ct.acoustic import DB_PER_NP, MATERIALS, RELATIONS, AcousticMaps
from SkullGANLib.ct.acoustic_tissues import BONE, BONE_HU
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError, ResourceError
from SkullGANLib.files import replace_folder, sha256_of, write_json

FORMAT, VERSION, MARKER = "skullgan-acoustic", 1, "acoustic.json"
FORMATS = ("nifti", "mat", "hdf5")
MAT_BYTES = 2**31 - 2**20  # of one variable in a MAT file of version 5, less its headers
BELOW_TOP_MM = 60.0
MARGIN_MM = 25.0
ENDS = (("R", "L"), ("A", "P"), ("I", "S"))
AXES = "x, y, z are column, row and slice of the CT: element (i, j, k) counts along x, y, z"


def write_acoustic(
    maps: AcousticMaps,
    folder: str | Path,
    formats: Collection[str] = ("nifti",),
    *,
    source: Volume | None = None,
    overwrite: bool = True,
) -> Path:
    """Write maps into a folder, with ``acoustic.json`` saying what they are and ``preview.png``.

    Args:
        maps: to write.
        folder: to make or replace.
        formats: "nifti": density.nii.gz, sound_speed.nii.gz and attenuation.nii.gz (dB/cm at the frequency), lying
            where the CT lies; "mat": medium.mat (MAT version 5) with ``medium`` and ``kgrid`` as k-Wave takes them, SI
            units; "hdf5": medium.h5 with the same, stored as (z, y, x) so that MATLAB reads (x, y, z).
        source: the CT before resampling, by default ``maps.volume``; only its hash and geometry are written.
        overwrite: whether a folder of such maps may be replaced.

    Returns:
        The folder.

    Raises:
        InputError: an unknown format, or the folder may not be replaced.
        ResourceError: a format needs a package that is missing or cannot hold so large a grid.
    """
    check_formats(formats, maps.density.size)
    folder, source = Path(folder), source or maps.volume
    with replace_folder(folder, overwrite=overwrite, marker=MARKER) as temporary:
        if "nifti" in formats:
            _write_nifti(maps, temporary)
        if "mat" in formats:
            _write_mat(maps, temporary / "medium.mat")
        if "hdf5" in formats:
            _write_hdf5(maps, temporary / "medium.h5")
        hashes = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
        write_json(temporary / MARKER, {**facts(maps, source), "sha256": hashes})
        draw_preview(maps, temporary / "preview.png")
    return folder


def check_formats(formats: Collection[str], voxels: int = 0) -> None:
    """Raise what ``write_acoustic`` would raise about the formats of maps with so many voxels."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InputError(f"There is no format '{', '.join(unknown)}'.", f"Choose of {', '.join(FORMATS)}.")
    if "hdf5" in formats:
        try:
            import h5py  # noqa: F401
        except ImportError as error:
            raise ResourceError(
                "HDF5 files need the package h5py, which is not installed.",
                "Write --format mat, which k-Wave reads too, or install it: pip install h5py.",
            ) from error
    if "mat" in formats and 3 * 4 * voxels > MAT_BYTES:
        raise ResourceError(
            f"A MAT file cannot hold three maps of {voxels / 1e6:.0f} million voxels.",
            "Use a coarser --spacing, crop the CT, or write --format hdf5.",
        )


def facts(maps: AcousticMaps, source: Volume) -> dict[str, Any]:
    """What ``acoustic.json`` says: units, relation, materials, grid and the CT that they come from; no name of it."""
    relation, grid, f = RELATIONS[maps.relation], maps.volume, maps.frequency_mhz
    bone = maps.materials == BONE
    return {
        "format": FORMAT,
        "version": VERSION,
        "library_version": __version__,
        "relation": maps.relation,
        "citations": list(relation.citations),
        "valid_for": relation.valid_for,
        "frequency_mhz": f,
        "units": {
            "density": "kg/m3",
            "sound_speed": "m/s",
            "attenuation": f"dB/cm at {f:g} MHz",
            "alpha_coeff": f"dB/(MHz^{maps.alpha_power:g} cm)",
        },
        "attenuation_to_np_m": 100 / DB_PER_NP,
        "attenuation_to_alpha_coeff": f**-maps.alpha_power,
        "alpha_power": maps.alpha_power,
        "bone": {
            "from_hu": BONE_HU,
            "cortical_hu": round(maps.cortical_hu, 1),
            "volume_ml": round(float(bone.sum() * np.prod(grid.spacing_mm) / 1000), 1),
            **{name: _range(values[bone]) for name, values in _named(maps).items()},
        },
        "other_materials": {name: asdict(each) for name, each in MATERIALS.items()},
        "grid": {
            "shape_xyz": list(grid.shape[::-1]),
            "spacing_mm": [round(float(mm), 6) for mm in grid.spacing_mm],
            "axes": AXES,
            "index_to_lps_mm": grid.index_to_lps.tolist(),
            "index_to_ras_mm": _ras(grid).tolist(),
            "points_per_wavelength": round(maps.points_per_wavelength, 2),
        },
        "source": {
            "sha256": hashlib.sha256(np.ascontiguousarray(source.hu).data).hexdigest(),
            "shape_xyz": list(source.shape[::-1]),
            "spacing_mm": [round(float(mm), 6) for mm in source.spacing_mm],
            **{k: v for k, v in source.acquisition.items() if k in ("modality", "manufacturer", "kernel", "kvp")},
        },
        "notes": list(maps.notes),
    }


def _named(maps: AcousticMaps) -> dict[str, np.ndarray]:
    return {"density": maps.density, "sound_speed": maps.sound_speed, "attenuation": maps.attenuation_db_cm}


def _range(values: np.ndarray) -> dict[str, float]:
    levels = np.quantile(values, (0.01, 0.5, 0.99))
    return dict(zip(("p1", "median", "p99"), np.round(levels, 3).tolist(), strict=True))


def _ras(grid: Volume) -> np.ndarray:
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.index_to_lps


def _write_nifti(maps: AcousticMaps, folder: Path) -> None:
    import SimpleITK as sitk

    units = {"density": "kg/m3", "sound_speed": "m/s", "attenuation": f"dB/cm at {maps.frequency_mhz:g} MHz"}
    for name, values in _named(maps).items():
        image = maps.volume.with_array(values).to_sitk()
        words = f"{name.replace('_', ' ')} in {units[name]}, relation {maps.relation}"
        image.SetMetaData("ITK_FileNotes", words[:79])  # becomes the header's descrip; NIfTI has no field for the unit
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"), useCompression=True, compressionLevel=1)


def _medium(maps: AcousticMaps) -> dict[str, dict[str, Any]]:
    """The variables of a medium file; arrays (slice, row, column)."""
    relation, grid = RELATIONS[maps.relation], maps.volume
    medium = {"density": maps.density, "sound_speed": maps.sound_speed, "alpha_coeff": maps.alpha}
    medium["alpha_power"] = maps.alpha_power
    if maps.alpha_power == 1:
        medium["alpha_mode"] = "no_dispersion"  # k-Wave refuses a power of 1 with its dispersion term
    sizes = {f"N{axis}": float(n) for axis, n in zip("xyz", grid.shape[::-1], strict=True)}
    steps = {f"d{axis}": float(mm) / 1000 for axis, mm in zip("xyz", grid.spacing_mm, strict=True)}
    return {
        "medium": medium,
        "kgrid": {**sizes, **steps},
        "units": {
            "density": "kg/m3",
            "sound_speed": "m/s",
            "alpha_coeff": f"dB/(MHz^{maps.alpha_power:g} cm)",
            "dx": "m",
            "frequency": "Hz",
            "affine": "mm",
        },
        "geometry": {
            "axes": AXES,
            "affine": "times (i, j, k, 1), with i, j, k from 0 (MATLAB: subtract 1 from each)",
            "index_to_lps_mm": grid.index_to_lps,
            "index_to_ras_mm": _ras(grid),
        },
        "origin": {
            "description": f"Acoustic medium of a head CT for {maps.frequency_mhz:g} MHz, SkullGANLib {__version__}",
            "relation": maps.relation,
            "citations": " | ".join(relation.citations),
            "valid_for": relation.valid_for,
            "frequency": maps.frequency_mhz * 1e6,
        },
    }


def _write_mat(maps: AcousticMaps, path: Path) -> None:
    from scipy.io import savemat

    content = _medium(maps)
    content["medium"] = {
        name: value.transpose(2, 1, 0) if isinstance(value, np.ndarray) else value
        for name, value in content["medium"].items()
    }
    savemat(path, content, do_compression=True)


def _write_hdf5(maps: AcousticMaps, path: Path) -> None:
    import h5py

    units = {"density": "kg/m3", "sound_speed": "m/s", "alpha_coeff": f"dB/(MHz^{maps.alpha_power:g} cm)"}
    with h5py.File(path, "w") as file:
        for group, values in _medium(maps).items():
            for name, value in values.items():
                is_map = isinstance(value, np.ndarray) and value.ndim == 3
                packing = {"compression": "gzip", "compression_opts": 1, "chunks": True} if is_map else {}
                data = file.create_dataset(f"{group}/{name}", data=value, **packing)
                if is_map:
                    data.attrs["unit"] = units[name]
                    data.attrs["axes"] = "z, y, x"


def draw_preview(maps: AcousticMaps, path: str | Path) -> None:
    """Draw the three maps in an axial slice 60 mm below the top of the bone, as a radiologist looks at it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grid = maps.volume
    axes, flips = _anatomical(grid)
    spacing_mm = [grid.spacing_mm[axis] for axis in axes]

    def anatomical(values: np.ndarray) -> np.ndarray:
        return values.transpose(2, 1, 0).transpose(axes)[flips]

    bone = anatomical(maps.materials == BONE)
    levels = np.count_nonzero(bone, axis=(0, 1))
    top = int(np.flatnonzero(levels >= 0.05 * levels.max())[-1])
    at = max(top - round(BELOW_TOP_MM / spacing_mm[2]), int(np.flatnonzero(levels)[0]))
    box = tuple(_box(bone[:, :, at].any(axis=1 - i), MARGIN_MM / spacing_mm[i]) for i in (0, 1))
    width, height = ((box[i].stop - box[i].start) * spacing_mm[i] for i in (0, 1))
    figure = Figure(figsize=(13.5, 13.5 / 3 * height / width + 1.4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"Relation {maps.relation}: axial slice {(top - at) * spacing_mm[2]:.0f} mm below the top of the skull",
        fontsize=16,
    )
    units = ("Density, kg/m³", "Sound speed, m/s", f"Attenuation at {1000 * maps.frequency_mhz:g} kHz, dB/cm")
    colours = ("gray", "viridis", "magma")
    starts = (MATERIALS["water"].density, MATERIALS["water"].sound_speed, 0.0)
    panels = figure.subplots(1, 3)
    for panel, values, unit, colour, low in zip(panels, _named(maps).values(), units, colours, starts, strict=True):
        high = max(float(np.quantile(anatomical(values)[bone], 0.999)), low + 1e-6)
        section = anatomical(values)[:, :, at][box].T
        image = panel.imshow(
            section, colour, vmin=low, vmax=high, extent=(0, width, height, 0), interpolation="nearest"
        )
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_title(unit, fontsize=15)
        for words, x, y in (("R", 0.02, 0.5), ("L", 0.98, 0.5), ("A", 0.5, 0.98), ("P", 0.5, 0.02)):
            sides = {"ha": "left" if x < 0.1 else "right" if x > 0.9 else "center"}
            sides["va"] = "bottom" if y < 0.1 else "top" if y > 0.9 else "center"
            panel.text(x, y, words, transform=panel.transAxes, color="white", fontsize=13, **sides)
        panel.plot([0.06 * width, 0.06 * width + 50], [0.94 * height] * 2, color="white", linewidth=3)
        panel.text(0.06 * width + 25, 0.93 * height, "50 mm", color="white", fontsize=11, ha="center", va="bottom")
        bar = figure.colorbar(image, ax=panel, location="bottom", shrink=0.9, aspect=30, extend="both")
        bar.ax.tick_params(labelsize=12)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _box(found: np.ndarray, margin: float) -> slice:
    """Where ``found`` begins and ends, and a margin."""
    inside = np.flatnonzero(found)
    return slice(max(int(inside[0] - margin), 0), min(int(inside[-1] + margin) + 1, len(found)))


def _anatomical(grid: Volume) -> tuple[tuple[int, int, int], tuple[slice, ...]]:
    """Which index axis runs most along each of left, back and up, and how to turn those that run the other way."""
    along = np.asarray(grid.direction)
    axes = max(
        itertools.permutations(range(3)), key=lambda order: np.prod([abs(along[i, a]) for i, a in enumerate(order)])
    )
    return axes, tuple(slice(None, None, 1 if along[i, a] > 0 else -1) for i, a in enumerate(axes))
