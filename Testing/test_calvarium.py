"""Calvaria: cut out of a head where it lies, and measured all over, against shells and heads of known thickness."""

from __future__ import annotations

import csv
import json

import matplotlib.image
import numpy as np
import pytest
import vtk
from click.testing import CliRunner
from conftest import VAULT
from scipy import ndimage
from scipy.spatial.transform import Rotation
from vtk.util.numpy_support import vtk_to_numpy

from SkullGANLib.cli.main import skullgan
from SkullGANLib.ct.io import read_volume, write_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.surface import BONE, CUT, HOLE, surface_maps
from SkullGANLib.evaluate.surface_files import write_maps
from SkullGANLib.prepare.calvarium import AIR_HU, SOFT_HU, crop_calvarium, cut_frame

RADIUS, BLUR_MM = 40.0, 0.5
UPRIGHT = np.eye(3)
TURNED = Rotation.from_euler("xyz", (12, -9, 20), degrees=True).as_matrix()


def solid(inside, half_mm, spacing_mm=(1.0, 1.0, 1.0), direction=UPRIGHT, centre_mm=(0, 0, 0), around=40) -> Volume:
    """A volume about a centre; ``inside`` gives HU of (..., 3) mm in the volume's axes, nan where nothing is.

    Each voxel shows the mean over 8 points in it, blurred as by a scanner.
    """
    spacing, direction = np.array(spacing_mm), np.asarray(direction, float)
    count = (2 * np.array(half_mm) / spacing).astype(int)
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(count, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    grid, total = np.stack([x, y, z], -1), 0.0
    for shift in np.ndindex(2, 2, 2):
        hu = inside(grid + (np.array(shift) / 2 - 0.25) * spacing)
        total = total + np.where(np.isnan(hu), around, hu)
    hu = np.rint(ndimage.gaussian_filter(total / 8, BLUR_MM / spacing[::-1])).astype(np.int16)
    origin = np.array(centre_mm) - direction @ ((count - 1) / 2 * spacing)
    return Volume(hu, tuple(spacing_mm), tuple(origin.tolist()), direction, {"modality": "CT"})


def ball(thickness_mm: float, aside_mm: float = 0.0, hu: float = 1500.0):
    """A hollow ball; its hollow may lie aside, towards positive x."""

    def inside(points: np.ndarray) -> np.ndarray:
        hollow = np.linalg.norm(points - (aside_mm, 0, 0), axis=-1) < RADIUS - thickness_mm
        return np.where((np.linalg.norm(points, axis=-1) < RADIUS) & ~hollow, hu, np.nan)

    return inside


BOX = (RADIUS + 8,) * 3


@pytest.mark.parametrize("around", [40, -1000])
@pytest.mark.parametrize("thickness_mm", [3.0, 6.5])
def test_a_hollow_ball_is_as_thick_as_it_is_in_tissue_and_in_air(thickness_mm, around):
    found = surface_maps(solid(ball(thickness_mm), BOX, around=around), step_deg=3)
    assert (found.state == BONE).all()
    error_mm = found.thickness_mm - thickness_mm
    assert abs(error_mm.mean()) < 0.05
    assert np.percentile(np.abs(error_mm), 95) < 0.2
    assert np.abs(np.linalg.norm(found.points_mm, axis=1) - RADIUS).max() < 0.3
    assert np.sum(found.normals * found.directions, axis=1).min() > np.cos(np.deg2rad(5))
    assert found.sdr.min() > 0.85  # no diploe


def test_an_ellipsoid_is_measured_along_its_normals_not_along_the_rays():
    outer, inner = np.array([45.0, 66.0, 40.0]), np.array([40.0, 61.0, 32.0])

    def inside(points):
        within = [np.sum((points / axes) ** 2, axis=-1) < 1 for axes in (outer, inner)]
        return np.where(within[0] & ~within[1], 1400.0, np.nan)

    found = surface_maps(solid(inside, outer + 8))
    assert (found.state == BONE).all()
    # From the outer surface along the true normal there, to the inner ellipsoid: the root of a quadratic.
    at = found.points_mm / np.sqrt(np.sum((found.points_mm / outer) ** 2, axis=1, keepdims=True))
    normal = at / outer**2
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    a, b, c = (np.sum(p * q / inner**2, axis=1) for p, q in ((normal, normal), (normal, at), (at, at)))
    truth = (b - np.sqrt(b**2 - a * (c - 1))) / a
    error_mm = found.thickness_mm - truth
    assert abs(error_mm.mean()) < 0.05
    assert np.percentile(np.abs(error_mm), 95) < 0.2
    along_rays = truth / np.sum(normal * found.directions, axis=1)
    assert np.abs(along_rays - truth).max() > 0.5  # which the test could tell


@pytest.mark.parametrize(
    ("spacing_mm", "direction"),
    [
        ((0.8, 1.1, 1.4), TURNED),
        ((1.3, 0.9, 0.9), TURNED @ np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]])),  # sagittal slices from left to right
    ],
)
def test_place_and_side_are_right_for_any_voxels_direction_and_origin(spacing_mm, direction):
    """The hollow lies 3 mm aside, to the patient's left: the wall is thin there."""
    left_axis = int(np.argmax(np.abs(direction[0])))
    left = direction[:, left_axis] * np.sign(direction[0, left_axis])

    def inside(points):
        shell = ball(6.0, 3.0)
        along = np.sign(direction[0, left_axis]) * points[..., left_axis]
        return shell(np.stack([along, *(points[..., i] for i in range(3) if i != left_axis)], -1))

    centre = np.array([31.0, -120.0, 812.0])
    found = surface_maps(solid(inside, BOX, spacing_mm, direction=direction, centre_mm=centre))
    assert np.linalg.norm(found.centre_mm - centre) < 1
    assert (found.state == BONE).mean() > 0.99
    outward = (found.points_mm - centre)[found.bone] / RADIUS
    assert np.abs(np.linalg.norm(outward, axis=1) - 1).max() < 0.02
    s = outward @ left
    truth = RADIUS - 3.0 * s - np.sqrt((RADIUS - 6) ** 2 - 9 * (1 - s**2))
    error_mm = found.thickness_mm[found.bone] - truth
    assert abs(error_mm.mean()) < 0.06
    assert np.percentile(np.abs(error_mm), 95) < 0.35
    near = np.abs(found.elevation_deg) < 20
    for azimuth, expected in ((90, 3.0), (-90, 9.0)):
        there = near & (np.abs(found.azimuth_deg - azimuth) < 10)
        assert np.median(found.thickness_mm[there]) == pytest.approx(expected, abs=0.3)


def test_the_density_ratio_of_three_layers_is_that_of_trough_and_peak():
    def inside(points):
        depth = RADIUS - np.linalg.norm(points, axis=-1)
        return np.select([depth < 0, depth < 3, depth < 7, depth < 10], [np.nan, 1600.0, 640.0, 1500.0], np.nan)

    found = surface_maps(solid(inside, BOX, (0.8, 0.8, 0.8)), step_deg=4)
    assert np.median(found.sdr) == pytest.approx(640 / 1600, abs=0.04)
    assert np.median(found.thickness_mm) == pytest.approx(10, abs=0.1)
    assert np.median(found.mean_hu) == pytest.approx((3 * 1600 + 4 * 640 + 3 * 1500) / 10, rel=0.06)


def test_holes_are_told_from_bone_that_the_border_cuts_off():
    def inside(points):
        aside = np.arccos(points[..., 2] / np.maximum(np.linalg.norm(points, axis=-1), 1e-6))
        return np.where(aside < np.deg2rad(20), np.nan, ball(5.0)(points))

    whole = solid(inside, BOX)
    found = surface_maps(whole)
    lid = found.elevation_deg > 70
    assert (found.state[found.elevation_deg > 74] == HOLE).all()
    assert (found.state[found.elevation_deg < 66] == BONE).all()
    assert not (found.state == CUT).any()
    assert np.isnan(found.thickness_mm[found.state == HOLE]).all()
    assert found.summary()["bone_share"] == pytest.approx(1 - lid.mean(), abs=0.01)
    assert not found.notes

    slices, rows, columns = whole.shape
    part = surface_maps(whole.part((slices // 2, 0, 0), (slices - 1, rows - 1, columns - 13)))  # 5 mm into the left
    x = part.directions[:, 0] * RADIUS
    assert (part.state[(x > RADIUS - 4) & (part.elevation_deg > 5)] == CUT).all()
    assert (part.state[part.elevation_deg < -3] == CUT).all()
    assert (part.state[part.elevation_deg > 74] == HOLE).all()
    assert (part.state[(x < 0.6 * RADIUS) & (part.elevation_deg > 5) & (part.elevation_deg < 66)] == BONE).all()


def test_half_a_skull_is_told_of():
    def inside(points):
        return np.where(points[..., 0] > 0, ball(5.0)(points), np.nan)

    half = solid(inside, BOX, (1.5, 1.5, 1.5))
    assert any("no whole calvarium" in note for note in surface_maps(half, step_deg=5).notes)


def test_loose_pieces_and_what_lies_in_a_hole_are_no_skull():
    volume = solid(ball(5.0), BOX)
    clean = surface_maps(volume)
    volume.hu[45:51, 2:5, 45:51] = 1500  # beside the ball, in front
    volume.hu[42:54, 42:54, 42:54] = 1500  # within it
    again = surface_maps(volume)
    np.testing.assert_array_equal(again.state, clean.state)
    np.testing.assert_allclose(again.thickness_mm, clean.thickness_mm, atol=0.02)


def test_directions_are_evenly_spread_and_their_triangles_face_outwards():
    found = surface_maps(solid(ball(5.0), BOX, (1.5, 1.5, 1.5)), step_deg=5)
    corners = found.directions[found.triangles]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert np.sum(area * corners.mean(axis=1), axis=1).min() > 0
    sizes = np.linalg.norm(area, axis=1) / 2
    assert np.std(sizes) / np.mean(sizes) < 0.15
    gap = np.deg2rad(found.step_deg)
    assert sizes.mean() == pytest.approx(gap**2 / 2, rel=0.05)


@pytest.fixture(scope="module")
def cut(upright):
    """The calvarium of a phantom at 1 mm, and its maps."""
    cropped = crop_calvarium(upright.volume, spacing_mm=1.0, skull=upright.prepared.skull)
    return cropped, surface_maps(cropped)


def test_a_head_is_as_thick_and_dense_as_its_truth(upright, cut):
    _, found = cut
    assert found.summary()["bone_share"] == 1.0
    back = np.linalg.inv(upright.head.head_to_lps)
    points = found.points_mm[found.bone] @ back[:3, :3].T + back[:3, 3]
    free = upright.phantom.free(points)
    points = points[free]
    assert free.mean() > 0.99
    thickness, truth = found.thickness_mm[found.bone][free], upright.phantom.thickness_mm(points)
    assert abs(np.mean(thickness - truth)) < 0.12
    assert np.percentile(np.abs(thickness - truth), 95) < 0.4
    assert np.corrcoef(thickness, truth)[0, 1] > 0.98
    assert abs(np.median(np.linalg.norm(points, axis=1) - upright.phantom.outer_radius(points))) < 0.1
    some = slice(None, None, 15)
    sdr, true_sdr = found.sdr[found.bone][free][some], upright.phantom.sdr(points[some])
    assert np.corrcoef(sdr, true_sdr)[0, 1] > 0.94
    assert np.median(sdr) == pytest.approx(np.median(true_sdr), abs=0.03)


def test_the_crop_stands_upright_on_the_cut_and_holds_all_bone_above_it(upright, cut):
    cropped, _ = cut
    frame = upright.prepared.skull.frame
    standing = cut_frame(frame)
    np.testing.assert_allclose(cropped.direction, standing[:3, :3], atol=1e-12)
    assert cropped.spacing_mm == (1.0, 1.0, 1.0)
    # The lower faces of the lowest voxels lie in the plane; forehead and inion do.
    inion = frame.to_lps(np.array([0, 1, -0.28]) * frame.half_axes_mm)
    heights = (np.array([inion, standing[:3, 3], cropped.origin_mm]) - standing[:3, 3]) @ standing[:3, 2]
    assert heights == pytest.approx([0, 0, 0.5], abs=1e-6)
    z = (upright.volume.zyx_to_lps(np.argwhere(upright.vault)) - standing[:3, 3]) @ standing[:3, 2]
    bone = upright.volume.zyx_to_lps(np.argwhere(upright.vault)[z > 1])
    index = cropped.lps_to_zyx(bone)
    assert ((index > 5) & (index < np.array(cropped.shape) - 6))[:, 1:].all()
    assert (index[:, 0] < cropped.shape[0] - 6).all()


def test_the_crop_keeps_hu_and_place_of_a_marker(upright):
    marked = upright.volume.with_array(upright.volume.hu.copy())
    at = upright.volume.lps_to_zyx(upright.head.head_to_lps[:3, 3] + (21.0, -14.0, 40.0)).round().astype(int)
    marked.hu[tuple(slice(i - 2, i + 3) for i in at)] = 3000
    cropped = crop_calvarium(marked, spacing_mm=1.0, skull=upright.prepared.skull)
    bright = np.argwhere(cropped.hu > 2200)
    middle = cropped.zyx_to_lps(bright.mean(axis=0))
    assert np.linalg.norm(middle - upright.volume.zyx_to_lps(at)) < 0.3
    assert len(bright) == pytest.approx(5**3, rel=0.25)
    assert cropped.hu[tuple(bright.mean(axis=0).round().astype(int))] == pytest.approx(3000, rel=0.02)


def test_table_and_holder_become_air_and_with_bone_only_brain_and_scalp_one_value(upright, cut):
    cropped, maps = cut
    table = np.argwhere(upright.labels == 13)
    index = cropped.lps_to_zyx(upright.volume.zyx_to_lps(table)).round().astype(int)
    index = index[((index >= 0) & (index < cropped.shape)).all(axis=1)]
    assert len(index) > 50  # the holder reaches into the box
    assert (cropped.hu[tuple(index.T)] < -700).mean() > 0.95

    alone = crop_calvarium(upright.volume, spacing_mm=1.0, skull=upright.prepared.skull, bone_only=True)
    labels = np.argwhere(upright.labels == 4)[::101]
    index = alone.lps_to_zyx(upright.volume.zyx_to_lps(labels)).round().astype(int)
    index = index[((index >= 0) & (index < alone.shape)).all(axis=1)]
    assert (alone.hu[tuple(index.T)] == SOFT_HU).mean() > 0.95
    assert np.isin(alone.hu, (SOFT_HU, AIR_HU)).mean() > 0.8
    again = surface_maps(alone)
    both = maps.bone & again.bone
    assert both.sum() > 0.99 * maps.bone.sum()
    assert np.percentile(np.abs(again.thickness_mm - maps.thickness_mm)[both], 95) < 0.1
    vault = np.argwhere(np.isin(upright.labels, VAULT))[::101]
    index = alone.lps_to_zyx(upright.volume.zyx_to_lps(vault)).round().astype(int)
    index = index[((index >= 0) & (index < alone.shape)).all(axis=1)]
    np.testing.assert_array_equal(*(np.maximum(v.hu[tuple(index.T)], SOFT_HU) for v in (alone, cropped)))


def test_the_surface_is_read_by_vtk_with_its_maps_in_lps(cut, tmp_path):
    _, found = cut
    folder = write_maps(found, tmp_path / "maps")
    reader = vtk.vtkPolyDataReader()
    reader.SetFileName(str(folder / "skull.vtk"))
    reader.ReadAllScalarsOn()
    reader.Update()
    mesh = reader.GetOutput()
    assert "SPACE=LPS" in reader.GetHeader()
    np.testing.assert_allclose(vtk_to_numpy(mesh.GetPoints().GetData()), found.points_mm[found.bone], atol=1e-4)
    for name, values in found.values().items():
        read = vtk_to_numpy(mesh.GetPointData().GetArray(name))
        np.testing.assert_allclose(read, values[found.bone], rtol=1e-6)
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(mesh)
    normals.ConsistencyOff()
    normals.SplittingOff()
    normals.Update()
    outward = vtk_to_numpy(normals.GetOutput().GetPointData().GetNormals())
    assert np.sum(outward * found.normals[found.bone], axis=1).min() > 0.5
    assert mesh.GetNumberOfPolys() > 1.8 * mesh.GetNumberOfPoints()

    told = json.loads((folder / "maps.json").read_text())
    assert told["summary"]["thickness_mm"]["median"] == pytest.approx(np.nanmedian(found.thickness_mm), abs=1e-3)
    assert told["units"] == {"thickness_mm": "mm", "sdr": "", "mean_hu": "HU"}
    rows = list(csv.DictReader((folder / "maps.csv").open()))
    assert len(rows) == len(found.directions)
    k = int(np.flatnonzero(found.bone)[123])
    assert float(rows[k]["thickness_mm"]) == pytest.approx(found.thickness_mm[k], abs=1e-3)
    assert [float(rows[k][f"{a}_lps_mm"]) for a in "xyz"] == pytest.approx(found.points_mm[k], abs=0.01)
    k = int(np.flatnonzero(~found.bone)[0])
    assert (rows[k]["thickness_mm"], rows[k]["state"]) == ("", "cut")


def test_the_picture_shows_the_left_to_the_left_and_the_forehead_above(tmp_path):
    """A ball thin on the left and, in another picture, thin in front: there its colour is that of thin bone."""
    for axis in (0, 1):

        def inside(points, axis=axis):
            return ball(6.0, 2.5 if axis == 0 else -2.5)(np.roll(points, -axis, axis=-1))

        found = surface_maps(solid(inside, BOX, (1.5, 1.5, 1.5)), step_deg=5)
        picture = matplotlib.image.imread(write_maps(found, tmp_path / str(axis)) / "maps.png")[..., :3]
        panel = picture[100:780, 60 : picture.shape[1] // 3 - 40]
        yellow = (panel[..., 0] > 0.7) & (panel[..., 1] > 0.7) & (panel[..., 2] < 0.4)
        violet = (panel[..., 2] > panel[..., 1] + 0.1) & (panel[..., 0] < 0.4)
        thin, thick = (np.argwhere(mask).mean(axis=0) for mask in (violet, yellow))
        first, other = (1, 0) if axis == 0 else (0, 1)
        assert thin[first] + 100 < thick[first]
        assert abs(thin[other] - thick[other]) < 60


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(skullgan, ["volume", *map(str, words)])
    return result.exit_code, result.output


def test_the_commands_crop_a_head_and_map_real_and_synthetic_calvaria(coarse, tmp_path):
    scan = write_volume(coarse.volume, tmp_path / "head.nrrd")
    out = tmp_path / "calvarium.nrrd"
    code, text = run("calvarium", scan, "--out", out, "--spacing", 2, "--bone-only")
    assert code == 0, text
    cropped = read_volume(out)
    assert cropped.spacing_mm == pytest.approx((2, 2, 2))
    assert f"{cropped.shape[2]} x {cropped.shape[1]} x {cropped.shape[0]} voxels" in text
    assert "exists already" in run("calvarium", scan, "--out", out)[1]

    made = tmp_path / "made"
    thicker = np.where(cropped.hu > 300, cropped.hu + 200, cropped.hu).astype(np.int16)
    write_volume(cropped.with_array(thicker), made / "calvarium.nrrd")
    maps = tmp_path / "maps"
    code, text = run("maps", out, "--synthetic", made, "--out", maps, "--step", 4)
    assert code == 0, text
    folders = {"calvarium", "calvarium-2"}
    assert {path.name for path in maps.iterdir()} == folders | {"calvaria.csv", "calvaria.json", "histograms.png"}
    for name in folders:
        assert {p.name for p in (maps / name).iterdir()} == {"maps.json", "maps.csv", "maps.png", "skull.vtk"}
    rows = {row["name"]: row for row in csv.DictReader((maps / "calvaria.csv").open())}
    assert [(row["kind"], name) for name, row in rows.items()] == [("real", "calvarium"), ("synthetic", "calvarium-2")]
    hu = [float(row["mean_hu_median"]) for row in rows.values()]
    assert hu[0] + 150 < hu[1] < hu[0] + 250
    apart = json.loads((maps / "calvaria.json").read_text())["apart"]
    assert 0 < apart["sdr"] < 1
    code, text = run("maps", out, "--out", maps, "--overwrite")
    assert code == 0, text
    assert json.loads((maps / "calvaria.json").read_text())["apart"] is None
    assert not (maps / "calvarium-2").exists()


def test_what_is_no_calvarium_is_refused_in_words(coarse, tmp_path):
    scan = write_volume(coarse.volume, tmp_path / "head.nrrd")
    write_volume(coarse.volume.with_array(np.minimum(coarse.volume.hu, 200)), tmp_path / "soft.nrrd")
    mr = np.abs(np.random.default_rng(0).normal(300, 200, (20, 20, 20))).astype(np.float32)
    write_volume(Volume(mr), tmp_path / "mr.nrrd")
    write_volume(Volume(np.full((20, 20, 20), -1000, np.int16)), tmp_path / "empty.nrrd")
    cap = crop_calvarium(coarse.volume, spacing_mm=2.0, skull=coarse.prepared.skull)
    for name, words in (("soft", "no bone in this volume"), ("mr", "does not look like CT"), ("empty", "no bone")):
        code, text = run("maps", tmp_path / f"{name}.nrrd", "--out", tmp_path / "out")
        assert (code, words in text) == (1, True), text
    for name, words in (("soft", "No closed skull"), ("mr", "does not look like CT"), ("empty", "No closed skull")):
        code, text = run("calvarium", tmp_path / f"{name}.nrrd", "--out", tmp_path / "out.nrrd")
        assert (code, words in text) == (1, True), text
    code, text = run("maps", "--out", tmp_path / "out")
    assert (code, "No volume was given" in text) == (1, True)
    code, text = run("calvarium", scan, "--out", tmp_path / "out.png")
    assert (code, "cannot be written" in text) == (1, True)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.nrrd").exists()
    tall = Volume(np.pad(cap.hu, ((60, 0), (0, 0), (0, 0)), constant_values=900), cap.spacing_mm)
    with pytest.raises(InputError, match="mm high, which is more than a calvarium"):
        surface_maps(tall)
    with pytest.raises(InputError, match="Voxels of 9 mm"):
        crop_calvarium(coarse.volume, spacing_mm=9)
    with pytest.raises(InputError, match=r"Directions 0\.1 degrees apart"):
        surface_maps(cap, step_deg=0.1)
    holes = cap.hu.astype(np.float32)
    holes[3, 4, 5] = np.nan
    with pytest.raises(InputError, match="hold no number"):
        surface_maps(cap.with_array(holes))
    speck = np.full((60, 60, 60), -1000, np.int16)
    speck[30, 30, 30] = 1500
    with pytest.raises(InputError, match="No bone surrounds"):
        surface_maps(Volume(speck))
    solid_bone = Volume(np.full((40, 40, 40), 1500, np.int16), acquisition={"modality": "CT"})
    with pytest.raises(InputError, match="cut off by its border"):
        surface_maps(solid_bone)
