"""CT as the medium of an ultrasound simulation: the relations' known values, what is bone, files in units and place."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from itertools import pairwise

import matplotlib.image
import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from scipy.io import loadmat
from scipy.spatial.transform import Rotation

from SkullGANLib.cli import volume_acoustic
from SkullGANLib.cli.main import skullgan
from SkullGANLib.ct.acoustic import MATERIALS, RELATIONS, acoustic_maps, schneider_density
from SkullGANLib.ct.acoustic_files import FORMATS, write_acoustic
from SkullGANLib.ct.acoustic_tissues import AIR, BONE, TISSUE, WATER, isotropic
from SkullGANLib.ct.io import write_volume
from SkullGANLib.ct.phantom import LABELS, HeadPhantom
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError, ResourceError

SHAPE, SPACING_MM = (40, 60, 56), (3.0, 3.5, 4.0)  # slices, rows, columns; along x, y, z
SOLID = (12, 30, 5)  # slice, row, column of the densest bone, in the wall to the right


def head(shape=SHAPE, spacing_mm=SPACING_MM, **facts) -> Volume:
    """Scalp, a skull 12 mm thick of 1000 HU with one solid place, a frontal sinus, brain, and a table below."""
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing_mm[::-1], strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt((x / 75) ** 2 + (y / 90) ** 2 + (z / 70) ** 2)
    hu = np.full(shape, -1000, np.int16)
    hu[radius < 1] = 40
    hu[(radius < 0.93) & (radius > 0.78)] = 1000
    hu[(np.abs(x) < 15) & (y < -35) & (y > -65) & (np.abs(z) < 15)] = -900
    hu[y > 97] = 100  # the table, 7 mm behind the head
    hu[tuple(slice(i - 1, i + 2) for i in SOLID)] = 1000
    hu[SOLID] = 1800
    facts.setdefault("acquisition", {"modality": "CT", "kvp": 120.0})
    return Volume(hu, spacing_mm, **facts)


@pytest.fixture(scope="module")
def maps():
    return acoustic_maps(head(origin_mm=(-80.0, 11.5, 7.0)), "aubry", cortical_hu=2000)


def bone_values(name: str, hu: float, cortical_hu: float = 2000.0) -> tuple[float, float, float]:
    law, hu = RELATIONS[name], np.array([hu])
    return tuple(float(of(hu, cortical_hu)[0]) for of in (law.density, law.sound_speed, law.attenuation))


@pytest.mark.parametrize(
    ("name", "hu", "expected"),
    [
        ("aubry", 0, (1000, 1500, 8.0)),
        ("aubry", 2000, (2200, 3100, 0.2)),
        ("aubry", 1500, (1900, 2700, 0.2 + 7.8 / 2)),  # a quarter is pores, and attenuation goes with their root
        ("marsac", 0, (1000, 1500, 8.0)),
        ("marsac", 2000, (2700, 3000, 0.2)),
        ("schneider", 1000, (0.6625371 * 2000 + 348.8555, 2398.57, 13.3)),
        ("webb-bone", 1000, (0.6625371 * 2000 + 348.8555, 2070.0, 5.2493 * 8.685889)),
        ("webb-soft", 1000, (0.6625371 * 2000 + 348.8555, 2220.0, 3.9672 * 8.685889)),
    ],
)
def test_relations_give_the_published_values(name, hu, expected):
    assert bone_values(name, hu) == pytest.approx(expected, rel=1e-4)


def test_density_goes_through_the_tissues_that_schneider_measured():
    measured = {2376: 1920, 1903: 1610, 1609: 1420, 1260: 1180, 1055: 1060, 930: 950, 259: 260}  # HU + 1000 to kg/m3
    found = schneider_density(np.array(list(measured)) - 1000)
    assert found == pytest.approx(list(measured.values()), rel=0.012)
    assert schneider_density(np.array([-70.001, 98.001, 260.001])) == pytest.approx(
        schneider_density(np.array([-69.999, 98.01, 260.0])), rel=1e-4
    )


@pytest.mark.parametrize("name", RELATIONS)
def test_denser_bone_is_heavier_and_faster_and_never_attenuates_more(name):
    series = [bone_values(name, hu) for hu in range(300, 2001, 100)]
    assert all(b[0] > a[0] and b[1] > a[1] and b[2] <= a[2] for a, b in pairwise(series))
    assert all(1100 < rho < 2750 and 1500 < c < 3300 for rho, c, _ in series)
    assert bone_values(name, 5000)[0] > 0  # metal is held at solid bone by the maps
    assert all(text.strip() and any(year in text for year in ("1996", "2003", "2012", "2017", "2018", "2021"))
               for text in RELATIONS[name].citations)  # fmt: skip
    assert RELATIONS[name].valid_for.endswith(".")


def test_bone_follows_the_relation_and_all_else_is_constant(maps):
    assert np.unique(maps.materials).tolist() == [WATER, TISSUE, BONE]
    middle, wall = tuple(n // 2 for n in SHAPE), tuple(np.argwhere(maps.volume.hu == 1000)[0])
    assert (maps.density[middle], maps.sound_speed[middle]) == (1045, 1550)
    assert (maps.density[0, 0, 0], maps.sound_speed[0, 0, 0]) == (1000, 1500)
    assert (maps.density[wall], maps.sound_speed[wall]) == (1600, 2300)
    assert maps.density[SOLID] == pytest.approx(1000 + 1200 * 0.9)
    assert maps.density.max() == maps.density[SOLID]
    assert (maps.materials == BONE).sum() == (maps.volume.hu >= 300).sum()
    assert {each.dtype for each in (maps.density, maps.sound_speed, maps.alpha)} == {np.dtype(np.float32)}


def test_attenuation_is_right_at_the_frequency_in_each_material_and_unit(maps):
    middle, wall = tuple(n // 2 for n in SHAPE), tuple(np.argwhere(maps.volume.hu == 1000)[0])
    assert maps.attenuation_db_cm[middle] == pytest.approx(0.59 * 0.5**1.2, rel=1e-5)
    assert maps.attenuation_db_cm[0, 0, 0] == pytest.approx(2.17e-3 * 0.25, rel=1e-5)
    assert maps.attenuation_db_cm[wall] == pytest.approx(0.5 * (0.2 + 7.8 * np.sqrt(0.5)), rel=1e-5)
    assert maps.attenuation_np_m[wall] == pytest.approx(maps.attenuation_db_cm[wall] * 100 / 8.685889, rel=1e-5)
    quadrupled = acoustic_maps(head(), "webb-bone", frequency_mhz=2.0).attenuation_db_cm[wall]
    assert quadrupled / acoustic_maps(head(), "webb-bone").attenuation_db_cm[wall] == pytest.approx(4**1.3, rel=1e-5)


def test_the_table_and_the_sinus_become_water_tissue_or_air_as_asked(maps):
    table, sinus = (20, -1, 28), tuple(np.argwhere(maps.volume.hu == -900).mean(0).astype(int))
    assert maps.volume.hu[table] == 100
    assert (maps.materials[table], maps.materials[sinus]) == (WATER, WATER)
    touching = head()
    touching.hu[:, 55:57] = np.where(touching.hu[:, 55:57] < 0, 100, touching.hu[:, 55:57])  # a sheet of 7 mm
    held = acoustic_maps(touching).materials
    assert (held[20, 55, 0], held[20, 56, 50], held[20, 55, 28]) == (WATER, WATER, TISSUE)
    filled = acoustic_maps(head(), outside="tissue")
    assert np.unique(filled.materials).tolist() == [TISSUE, BONE]
    aired = acoustic_maps(head(), keep_air=True)
    assert (aired.materials == AIR).sum() == (maps.volume.hu == -900).sum()
    assert (aired.density[sinus], aired.sound_speed[sinus]) == pytest.approx((1.16, 343))
    assert aired.points_per_wavelength == maps.points_per_wavelength  # those of water
    assert "Air is kept" in " ".join(aired.notes)


def test_a_head_is_told_from_its_table_and_its_vault_from_its_brain():
    rendered = HeadPhantom(4).render(shape=(100, 120, 120), spacing_mm=(2.0, 2.0, 2.0))
    found, truth = acoustic_maps(rendered.volume), rendered.labels.hu

    def share(material: int, *names: str) -> float:
        return float((found.materials[np.isin(truth, [LABELS[name] for name in names])] == material).mean())

    assert share(BONE, "outer_table", "diploe", "inner_table") > 0.98
    assert share(TISSUE, "brain") > 0.98
    assert share(WATER, "table") > 0.98
    outer, diploe = (np.median(found.sound_speed[truth == LABELS[name]]) for name in ("outer_table", "diploe"))
    assert 2000 < diploe < outer < 3100


def test_pores_of_bone_are_bone_and_specks_of_noise_are_not():
    volume = head(spacing_mm=(1.2, 1.4, 1.6))
    volume.hu[tuple(slice(i - 2, i + 3) for i in (20, 30, 8))] = 1000
    volume.hu[20, 30, 8] = 30  # marrow within bone
    volume.hu[20, 30, 28] = 900  # one voxel of noise, 2.7 mm3, in the brain
    volume.hu[25:29, 28:32, 26:30] = 900  # a calcification of 170 mm3
    found = acoustic_maps(volume, cortical_hu=2000)
    assert (found.materials[20, 30, 8], found.materials[20, 30, 28]) == (BONE, TISSUE)
    assert found.density[20, 30, 8] == pytest.approx(1018)
    assert (found.materials[25:29, 28:32, 26:30] == BONE).all()


def test_hu_are_scaled_to_the_densest_bone_of_the_scan_and_metal_does_not_count():
    volume = head()
    volume.hu[SOLID] = 3071
    assert acoustic_maps(volume).cortical_hu == 1000
    assert "densest bone has only 1000 HU" in " ".join(acoustic_maps(volume).notes)
    volume.hu[volume.hu == 1000] = 2600
    found = acoustic_maps(volume)
    assert (found.cortical_hu, found.density.max(), found.sound_speed.max()) == (2000, 2200, 3100)
    assert "densest bone" not in " ".join(found.notes)


def test_resampling_keeps_place_extent_and_amount_of_bone():
    volume = head(origin_mm=(-80.0, 11.5, 7.0), direction=Rotation.from_euler("xyz", (5, -8, 20), True).as_matrix())
    fine = isotropic(volume, 2.0)
    assert fine.spacing_mm == (2.0, 2.0, 2.0)
    assert fine.shape == (80, 105, 84)
    centres = [v.zyx_to_lps((np.array(v.shape) - 1) / 2) for v in (volume, fine)]
    np.testing.assert_allclose(*centres, atol=1e-4)
    ml = [(v.hu > 500).sum() * np.prod(v.spacing_mm) for v in (volume, fine, isotropic(volume, 5.0))]
    assert ml[1:] == pytest.approx([ml[0]] * 2, rel=0.06)
    ramp = replace(volume, hu=np.broadcast_to(np.arange(SHAPE[2], dtype=np.float32), SHAPE).copy())
    at = isotropic(ramp, 2.0)
    index = ramp.lps_to_zyx(at.zyx_to_lps(np.array([40, 50, 41])))
    assert at.hu[40, 50, 41] == pytest.approx(index[2], abs=1e-3)


@pytest.mark.parametrize(
    ("frequency_mhz", "spacing_mm", "warned", "points"), [(0.5, 0.5, None, 6.0), (0.5, 1.0, "0.5 mm", 3.0)]
)
def test_few_points_per_wavelength_are_told_with_the_spacing_that_is_needed(frequency_mhz, spacing_mm, warned, points):
    hu = np.full((40, 40, 40), -1000, np.int16)
    hu[5:35, 5:35, 5:35] = 40
    hu[10:30, 10:30, 10:30] = 1500
    found = acoustic_maps(Volume(hu, (spacing_mm,) * 3), frequency_mhz=frequency_mhz)
    assert found.points_per_wavelength == pytest.approx(points)
    told = [note for note in found.notes if "shortest wavelength" in note]
    assert (f"use a spacing of {warned}" in told[0]) if warned else told == []


def test_a_scan_that_the_relation_does_not_hold_for_is_told():
    other = head(acquisition={"modality": "CT", "kvp": 80.0})
    assert "holds for 120 kV, and the scan was made at 80 kV" in " ".join(acoustic_maps(other, "webb-bone").notes)
    assert "80 kV" not in " ".join(acoustic_maps(other, "aubry").notes)
    assert "not cubes (3 x 3.5 x 4 mm)" in " ".join(acoustic_maps(other).notes)


def test_nifti_keeps_values_and_place_and_names_its_units(maps, tmp_path):
    folder = write_acoustic(maps, tmp_path / "out", FORMATS[:1])
    for name, values in (("density", maps.density), ("sound_speed", maps.sound_speed)):
        image = sitk.ReadImage(str(folder / f"{name}.nii.gz"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), values)
        assert image.GetSpacing() == pytest.approx(SPACING_MM)
        assert image.GetOrigin() == pytest.approx((-80.0, 11.5, 7.0), abs=1e-4)
        unit = {"density": "kg/m3", "sound_speed": "m/s"}[name]
        assert image.GetMetaData("ITK_FileNotes").startswith(f"{name.replace('_', ' ')} in {unit}")
    image = sitk.ReadImage(str(folder / "attenuation.nii.gz"))
    assert "dB/cm at 0.5 MHz" in image.GetMetaData("ITK_FileNotes")
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), 0.5 * maps.alpha, rtol=1e-6)


def test_the_description_says_relation_units_bone_grid_and_source_but_no_name(maps, tmp_path):
    told = json.loads((write_acoustic(maps, tmp_path / "out") / "acoustic.json").read_text())
    assert (told["format"], told["relation"], told["alpha_power"]) == ("skullgan-acoustic", "aubry", 1.0)
    assert "doi:10.1121/1.1529663" in told["citations"][0]
    assert told["units"]["attenuation"] == "dB/cm at 0.5 MHz"
    assert told["attenuation_to_np_m"] == pytest.approx(11.5129, rel=1e-5)
    assert told["attenuation_to_alpha_coeff"] == 2.0
    assert told["bone"]["density"]["median"] == 1600
    assert told["other_materials"]["water"]["sound_speed"] == MATERIALS["water"].sound_speed == 1500
    assert told["grid"]["shape_xyz"] == list(SHAPE[::-1])
    assert np.array(told["grid"]["index_to_ras_mm"])[:3, 3].tolist() == [80.0, -11.5, 7.0]
    assert len(told["source"]["sha256"]) == 64
    assert set(told["sha256"]) == {"density.nii.gz", "sound_speed.nii.gz", "attenuation.nii.gz"}


def test_mat_has_x_y_z_as_the_ct_has_columns_rows_slices_in_metres(maps, tmp_path):
    path = write_acoustic(maps, tmp_path / "out", ["mat"]) / "medium.mat"
    content = loadmat(path, squeeze_me=True, struct_as_record=False)
    medium, grid = content["medium"], content["kgrid"]
    assert medium._fieldnames == ["density", "sound_speed", "alpha_coeff", "alpha_power", "alpha_mode"]
    assert (grid.Nx, grid.Ny, grid.Nz) == medium.density.shape == SHAPE[::-1]
    assert (grid.dx, grid.dy, grid.dz) == pytest.approx((0.003, 0.0035, 0.004))
    assert np.unravel_index(medium.density.argmax(), medium.density.shape) == SOLID[::-1]
    np.testing.assert_array_equal(medium.sound_speed, maps.sound_speed.transpose(2, 1, 0))
    assert (medium.alpha_power, medium.alpha_mode) == (1, "no_dispersion")
    assert content["units"].alpha_coeff == "dB/(MHz^1 cm)"
    assert "column, row and slice" in content["geometry"].axes
    lps = content["geometry"].index_to_lps_mm @ [*SOLID[::-1], 1]
    assert lps[:3] == pytest.approx(maps.volume.zyx_to_lps(np.array(SOLID)))
    assert content["geometry"].index_to_ras_mm @ [*SOLID[::-1], 1] == pytest.approx([-lps[0], -lps[1], lps[2], 1])
    assert content["origin"].frequency == 500_000


def test_only_a_power_of_one_needs_k_wave_without_dispersion(tmp_path):
    folder = write_acoustic(acoustic_maps(head(), "webb-bone"), tmp_path / "out", ["mat"])
    medium = loadmat(folder / "medium.mat", squeeze_me=True, struct_as_record=False)["medium"]
    assert medium.alpha_power == 1.3
    assert "alpha_mode" not in medium._fieldnames


@pytest.mark.skipif(importlib.util.find_spec("h5py") is None, reason="h5py is not installed")
def test_hdf5_holds_the_same_turned_for_matlab(maps, tmp_path):
    import h5py

    with h5py.File(write_acoustic(maps, tmp_path / "out", ["hdf5"]) / "medium.h5") as file:
        np.testing.assert_array_equal(file["medium/density"][:], maps.density)
        assert file["medium/density"].attrs["unit"] == "kg/m3"
        assert file["kgrid/dz"][()] == pytest.approx(0.004)
        assert file["units/sound_speed"].asstr()[()] == "m/s"


def test_hdf5_without_its_package_and_mat_too_large_are_refused(maps, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ResourceError, match=r"need the package h5py.*--format mat"):
        write_acoustic(maps, tmp_path / "out", ["hdf5"])
    huge = replace(maps, density=np.broadcast_to(np.float32(0), (600, 600, 600)))
    with pytest.raises(ResourceError, match="cannot hold three maps of 216 million voxels"):
        write_acoustic(huge, tmp_path / "out", ["mat"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("turned", [False, True])
def test_the_preview_shows_the_patient_upright_whatever_the_order_of_the_axes(tmp_path, turned):
    volume = head((40, 50, 50), (4.0, 4.0, 4.0), origin_mm=(-98.0, -98.0, -78.0))
    volume.hu[:, :25, :25][volume.hu[:, :25, :25] == 1000] = 1800  # bone of the right front is dense
    if turned:  # stored from left to right, from back to front, and slices from right to left
        hu = np.ascontiguousarray(volume.hu[::-1, ::-1, :].transpose(2, 0, 1))
        volume = replace(
            volume,
            hu=hu,
            origin_mm=(-98.0, 98.0, 78.0),
            direction=np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
        )
    write_acoustic(acoustic_maps(volume, cortical_hu=2000), tmp_path / "out")
    picture = matplotlib.image.imread(tmp_path / "out" / "preview.png")[:, :, :3]
    density = picture[100:-90, 10 : picture.shape[1] // 3 - 10].min(axis=2)
    white = [[int((part > 0.99).sum()) for part in np.array_split(half, 2, 1)] for half in np.array_split(density, 2)]
    (front_right, front_left), (back_right, back_left) = white
    assert front_right > 5_000
    assert front_right > 5 * max(front_left, back_right, back_left)  # there are letters and the scale bar


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"relation": "aubrey"}, "Did you mean aubry"),
        ({"frequency_mhz": 500.0}, "A frequency of 500 MHz"),
        ({"spacing_mm": 0.01}, "A spacing of 0.01 mm"),
        ({"cortical_hu": 100.0}, "cortical bone of 100 HU"),
        ({"outside": "oil"}, "cannot be 'oil'"),
    ],
)
def test_odd_options_are_refused_in_words(change, words):
    with pytest.raises(InputError, match=words):
        acoustic_maps(head(), **change)


def test_what_is_no_ct_of_a_head_is_refused_in_words():
    with pytest.raises(InputError, match="no bone in this volume"):
        acoustic_maps(head().with_array(np.minimum(head().hu, 200)))
    with pytest.raises(InputError, match="several slices"):
        acoustic_maps(Volume(np.zeros((1, 128, 128), np.int16)))
    holes = head().hu.astype(np.float32)
    holes[3, 4, 5] = np.nan
    with pytest.raises(InputError, match="1 of 134400 voxels hold no number"):
        acoustic_maps(head().with_array(holes))
    mr = Volume(np.abs(np.random.default_rng(0).normal(300, 200, (20, 20, 20))).astype(np.float32))
    with pytest.raises(InputError, match="does not look like CT"):
        acoustic_maps(mr)
    with pytest.raises(ResourceError, match="million voxels"):
        acoustic_maps(head(), spacing_mm=0.1)


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(skullgan, ["volume", "acoustic", *map(str, words)])
    return result.exit_code, result.output


def test_the_command_writes_all_and_offers_every_relation(tmp_path):
    scan = write_volume(head(), tmp_path / "scan.nrrd")
    out = tmp_path / "out"
    code, text = run(scan, "--out", out, "--relation", "schneider", "--frequency", 250, "--spacing", 3,
                     "--format", "nifti", "--format", "mat")  # fmt: skip
    assert code == 0, text
    assert {path.name for path in out.iterdir()} == {
        "acoustic.json", "attenuation.nii.gz", "density.nii.gz", "medium.mat", "preview.png", "sound_speed.nii.gz"
    }  # fmt: skip
    told = json.loads((out / "acoustic.json").read_text())
    assert (told["frequency_mhz"], told["grid"]["spacing_mm"]) == (0.25, [3.0, 3.0, 3.0])
    assert told["source"]["spacing_mm"] == list(SPACING_MM)
    assert "Note: At 250 kHz the shortest wavelength covers 2.0 voxels" in text
    assert "attenuation: median 3.325" in text
    assert "Valid for: HU as they are" in text
    assert (tuple(RELATIONS), FORMATS) == (volume_acoustic.RELATIONS, volume_acoustic.FORMATS)
    code, text = run(scan, "--out", out)
    assert (code, "exists already" in text) == (1, True)
    code, text = run(scan, "--out", out, "--overwrite")
    assert code == 0, text
    assert not (out / "medium.mat").exists()


def test_the_command_tells_what_is_wrong_and_what_to_do(tmp_path):
    scan = write_volume(head(), tmp_path / "scan.nrrd")
    empty = write_volume(head().with_array(np.minimum(head().hu, 200)), tmp_path / "soft.nrrd")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    for words, what, todo in (
        ([empty, "--out", tmp_path / "a"], "Error: There is no bone", "Give a CT of a head"),
        (
            [scan, "--out", tmp_path / "a", "--frequency", 0.5],
            "Error: A frequency of 0.0005 MHz",
            "Give 0.02 to 20 MHz",
        ),
        ([scan, "--out", tmp_path / "mine", "--overwrite"], "Error: ", "Choose another name"),
        ([tmp_path / "none.nrrd", "--out", tmp_path / "a"], "Error: There is nothing at", "Check the path"),
    ):
        code, text = run(*words)
        assert code == 1
        assert what in text
        assert todo in text
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"
    assert not (tmp_path / "a").exists()
