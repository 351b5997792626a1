"""The head phantom: its truth must be what its voxels show."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.ndimage import map_coordinates

from SkullGANLib.ct import phantom_scanner
from SkullGANLib.ct.anatomy import PARIETAL, TEMPORAL
from SkullGANLib.ct.phantom import LABELS, HeadPhantom, PhantomParameters
from SkullGANLib.ct.phantom_parameters import LIMITS
from SkullGANLib.errors import Cancelled, InputError

VAULT = [LABELS[name] for name in ("outer_table", "diploe", "inner_table", "sinus", "suture")]
COARSE = {"shape": (76, 116, 116), "spacing_mm": (2.0, 2.0, 2.0)}


@pytest.fixture(scope="module")
def phantom():
    return HeadPhantom(3)


@pytest.fixture(scope="module")
def head(phantom):
    return phantom.render(shape=(160, 220, 220), spacing_mm=(0.95, 0.95, 0.95))


@pytest.fixture(scope="module")
def vault_directions(phantom):
    """Directions spread over the vault, a little away from its lower border."""
    directions = np.random.default_rng(0).standard_normal((6000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lower = directions - [0, 0, 0.12]
    return directions[(phantom.region(directions) > 0) & (phantom.region(lower) > 0)]


def voxel_positions(head):
    """(slices, rows, columns, 3) head-frame positions of the voxel centres."""
    volume = head.volume
    _, rows, columns = volume.shape
    across = np.arange(columns)[:, None] * volume.spacing_mm[0] * volume.direction[:, 0]
    down = np.arange(rows)[:, None, None] * volume.spacing_mm[1] * volume.direction[:, 1]
    lps = head.slice_origins_mm[:, None, None] + down + across
    inverse = np.linalg.inv(head.head_to_lps)
    return lps @ inverse[:3, :3].T + inverse[:3, 3]


def assert_vault_labels_follow_the_truth(phantom, head):
    positions = voxel_positions(head).astype(np.float32)
    radius = np.linalg.norm(positions, axis=-1)
    near = np.abs(radius - phantom.outer_radius(positions) + 5) < 15
    depth = phantom.shell.depth(*positions[near].T)
    foot = np.moveaxis(depth.foot, 0, -1)
    thickness = phantom.thickness_mm(foot)
    clear = (np.abs(depth.mm) > 0.01) & (np.abs(depth.mm - thickness) > 0.01)
    bone = (depth.mm > 0) & (depth.mm < thickness) & (phantom.region(foot) > 0)
    labelled = np.isin(head.labels.hu[near], VAULT)
    assert bone.sum() > 5000
    assert labelled[bone & clear].all()
    outside = ~bone & (depth.mm < 0) & (phantom.region(foot) > 0) & clear
    assert not np.isin(head.labels.hu[near][outside], [1, 2, 3]).any()


def test_the_same_seed_makes_the_same_scan():
    first, second = (HeadPhantom(5).render(**COARSE) for _ in range(2))
    assert np.array_equal(first.volume.hu, second.volume.hu)
    assert np.array_equal(first.labels.hu, second.labels.hu)


def test_another_seed_makes_another_head(phantom):
    other = HeadPhantom(4)
    assert other.parameters != phantom.parameters
    assert np.mean(other.render(**COARSE).labels.hu != phantom.render(**COARSE).labels.hu) > 0.02


def test_a_scan_has_hounsfield_units_of_a_head(head):
    hu, labels = head.volume.hu, head.labels.hu
    assert hu.dtype == np.int16
    assert labels.dtype == np.uint8
    means = {name: hu[labels == value].mean() for name, value in LABELS.items() if (labels == value).any()}
    assert means["air"] == pytest.approx(-990, abs=25)
    assert means["brain"] == pytest.approx(31, abs=8)
    assert 1000 < means["outer_table"] < 1800
    assert means["diploe"] < means["inner_table"] < means["outer_table"]
    assert {"brain", "csf", "soft_tissue", "skull_base", "sinus", "suture", "table"} <= set(means)


def test_true_thickness_is_the_thickness_of_the_labels_along_the_normals(phantom, head, vault_directions):
    step_mm = 0.05
    depth = np.arange(-2, 15, step_mm)
    surface = vault_directions * phantom.outer_radius(vault_directions)[:, None]
    points = surface[:, None] - phantom.normals(vault_directions)[:, None] * depth[:, None]
    lps = points @ head.head_to_lps[:3, :3].T + head.head_to_lps[:3, 3]
    index = np.rint(head.labels.lps_to_zyx(lps)).astype(int)
    inside = (index[..., 0] >= 0).all(axis=1)
    found = head.labels.hu[tuple(np.moveaxis(index[inside], -1, 0))]
    measured = np.isin(found, VAULT).sum(axis=1) * step_mm
    true = phantom.thickness_mm(vault_directions)[inside]
    assert inside.sum() > 1500
    assert np.mean(measured - true) == pytest.approx(0, abs=0.1)
    assert np.mean(np.abs(measured - true)) < 0.6  # the nearest voxel is up to half a voxel off at either face
    # From outside to inside the tables come in their order.
    layers = np.where(np.isin(found, [1, 2, 3]), found, 0)
    first = np.take_along_axis(layers, (layers > 0).argmax(axis=1)[:, None], axis=1)
    last = np.take_along_axis(layers[:, ::-1], (layers[:, ::-1] > 0).argmax(axis=1)[:, None], axis=1)
    assert np.mean(first == LABELS["outer_table"]) > 0.97
    assert np.mean(last == LABELS["inner_table"]) > 0.97


def test_where_the_shell_stands_free_no_other_bone_touches_it(phantom, head, vault_directions):
    free = vault_directions[phantom.free(vault_directions)]
    assert 0.6 < len(free) / len(vault_directions) < 0.95
    surface = free * phantom.outer_radius(free)[:, None]
    for depth in (-1.5, phantom.thickness_mm(free)[:, None] + 1.5):
        points = surface - phantom.normals(free) * depth
        index = np.rint(head.labels.lps_to_zyx(points)).astype(int)
        found = head.labels.hu[tuple(index[(index >= 0).all(axis=1)].T)]
        assert np.mean(found == LABELS["skull_base"]) < 0.002


def test_the_layers_add_up_to_the_thickness(phantom, vault_directions):
    layers = phantom.layers(vault_directions)
    assert layers.min() > 0.2
    assert np.allclose(layers.sum(axis=1), phantom.thickness_mm(vault_directions), atol=1e-4)


def test_normals_stand_square_on_the_outer_surface(phantom, vault_directions):
    step = 1e-2
    surface = vault_directions * phantom.outer_radius(vault_directions)[:, None]
    for axis in np.eye(3):
        moved = vault_directions + step * axis
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        along = moved * phantom.outer_radius(moved)[:, None] - surface
        slope = np.einsum("ij,ij->i", along, phantom.normals(vault_directions)) / np.linalg.norm(along, axis=1)
        assert np.abs(slope).mean() < 0.02


@pytest.mark.parametrize(
    "pose", [{}, {"rotation_deg": (8, -5, 12), "translation_mm": (6, -4, 3)}, {"gantry_tilt_deg": 18}]
)
def test_labels_follow_the_pose_and_the_tilt_exactly(phantom, pose):
    assert_vault_labels_follow_the_truth(phantom, phantom.render(**COARSE, **pose))


def test_a_tilted_gantry_shifts_slices_along_the_table(phantom):
    head = phantom.render(shape=(6, 32, 32), spacing_mm=(6, 6, 5), gantry_tilt_deg=20)
    assert np.allclose(np.diff(head.slice_origins_mm, axis=0), [0, 0, 5])
    assert head.volume.spacing_mm[2] == pytest.approx(5 * np.cos(np.radians(20)))
    assert np.allclose(head.volume.direction.T @ head.volume.direction, np.eye(3))


def test_each_spacing_shows_the_same_anatomy(phantom):
    fine = phantom.render(shape=(81, 121, 121), spacing_mm=(1.5, 1.5, 1.5)).labels
    coarse = phantom.render(shape=(41, 61, 61), spacing_mm=(3.0, 3.0, 3.0)).labels
    assert np.allclose(fine.origin_mm, coarse.origin_mm)
    assert np.mean(fine.hu[::2, ::2, ::2] != coarse.hu) < 1e-3


def test_left_is_where_lps_x_is_positive(phantom, head):
    assert phantom.side(np.array([[1, 0, 0], [-1, 0, 0.5]])).tolist() == ["left", "right"]
    assert (head.head_to_lps == np.eye(4)).all()
    assert phantom.region(np.array([[1, 0, -0.1], [0, 0.2, 1]])).tolist() == [TEMPORAL, PARIETAL]


def test_the_two_sides_differ_a_little(phantom, vault_directions):
    mirrored = vault_directions * [-1, 1, 1]
    difference = phantom.outer_radius(vault_directions) - phantom.outer_radius(mirrored)
    assert 0.1 < np.abs(difference).mean() < 4


def test_the_frontal_sinus_holds_air_and_the_great_foramen_the_cord(phantom, head):
    def labels_at(*points):
        scale = phantom.parameters.half_axes_mm / [72, 90, 74]
        index = np.rint(head.labels.lps_to_zyx(np.array(points) * scale)).astype(int)
        return {int(head.labels.hu[tuple(i)]) for i in index}

    assert labels_at((0, 18, -58)) <= {LABELS["brain"], LABELS["csf"]}
    hu, positions = head.volume.hu, voxel_positions(head)
    x, y, z = np.moveaxis(positions, -1, 0)
    forehead = (np.abs(x) < 18) & (y < -74) & (z > -8) & (z < 12)
    assert (hu[forehead & (head.labels.hu == LABELS["sinus"])] < -500).any()
    mastoid = (np.abs(np.abs(x) - 58) < 8) & (np.abs(y - 22) < 8) & (np.abs(z + 46) < 6)
    assert (hu[mastoid] < -400).any()
    assert (hu[mastoid] > 500).any()


def test_density_ratio_of_a_skull_without_texture_is_the_ratio_of_its_hounsfield_units(vault_directions):
    plain = dataclasses.replace(
        PhantomParameters(), texture_contrast=0.0, suture_mm=0.0, sinus_size=0.0, diploe_hu=800.0, thickness_mm=8.0
    )
    phantom = HeadPhantom(1, plain)
    thick = vault_directions[phantom.layers(vault_directions)[:, 1] > 3][:300]
    foot = phantom.shell.at_foot(phantom.shell.depth(*(thick * phantom.outer_radius(thick)[:, None]).T))
    expected = 800 * foot.diploe_factor / (foot.table_factor * max(plain.outer_hu, plain.inner_hu))
    assert np.abs(phantom.sdr(thick, blur_mm=0.05) - expected).mean() < 0.01


def test_density_ratio_measured_in_the_voxels_is_the_true_one(phantom):
    spacing = 0.5
    head = phantom.render(shape=(44, 300, 300), spacing_mm=(spacing,) * 3, noise_hu=0, blur_mm=0.5, table=False)
    directions = np.random.default_rng(1).normal((0, 0, 1), (0.11, 0.11, 0), (300, 3))
    # An edge is averaged over a voxel before the scanner's blur.
    true = phantom.sdr(directions, blur_mm=float(np.hypot(0.5, spacing / np.sqrt(12))))
    thickness = phantom.thickness_mm(directions)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    measured = []
    for surface, normal, mm in zip(
        directions * phantom.outer_radius(directions)[:, None], phantom.normals(directions), thickness, strict=True
    ):
        points = surface - normal * np.arange(0, mm, 0.1)[:, None]
        profile = map_coordinates(head.volume.hu.astype(np.float32), head.volume.lps_to_zyx(points).T, order=1)
        half = len(profile) // 2
        outer, inner = profile[:half].argmax(), half + profile[half:].argmax()
        measured.append(profile[outer : inner + 1].min() / profile.max())
    assert np.mean(measured) == pytest.approx(true.mean(), abs=0.03)
    assert np.corrcoef(measured, true)[0, 1] > 0.9


def check_adults(seeds):
    for seed in seeds:
        truth = HeadPhantom(seed).summary(spacing_deg=10)
        assert 3 < truth["temporal"]["thickness_mm"] < truth["parietal"]["thickness_mm"] < 12, seed
        assert 3 < truth["vault"]["thickness_mm"] < 12, seed
        assert 0.3 < truth["vault"]["sdr"] < 0.9, seed
        yield truth["vault"]["sdr"], truth["vault"]["thickness_mm"]


def test_subjects_stay_in_the_range_of_adults():
    assert len(list(check_adults(range(4)))) == 4


@pytest.mark.slow
def test_forty_subjects_stay_in_the_range_of_adults_and_fill_it():
    sdr, thickness = np.array(list(check_adults(range(40)))).T
    assert np.ptp(sdr) > 0.25
    assert np.ptp(thickness) > 2


def test_sampled_parameters_lie_within_their_limits_and_survive_json():
    for seed in range(200):
        parameters = PhantomParameters.sample(seed)
        assert all(low <= getattr(parameters, name) <= high for name, (low, high) in LIMITS.items())
    assert PhantomParameters.from_dict(json.loads(json.dumps(parameters.as_dict()))).as_dict() == parameters.as_dict()


@pytest.mark.parametrize(("name", "value"), [("thickness_mm", 30), ("diploe_hu", float("nan")), ("suture_mm", -1)])
def test_a_parameter_that_no_head_has_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=name):
        PhantomParameters(**{name: value})


def test_an_unknown_parameter_is_refused_by_name():
    with pytest.raises(InputError, match="colour"):
        PhantomParameters.from_dict({"colour": 1.0})


@pytest.mark.parametrize(
    "wrong", [{"shape": (0, 9, 9)}, {"spacing_mm": (0, 1, 1)}, {"noise_hu": -1}, {"gantry_tilt_deg": 60}]
)
def test_a_scan_that_no_scanner_makes_is_refused(phantom, wrong):
    with pytest.raises(InputError):
        phantom.render(**wrong)


def test_noise_has_the_deviation_asked_for_and_is_correlated():
    image = np.stack([phantom_scanner.noise((256, 256), [1, k]) for k in range(4)])
    assert image.std() == pytest.approx(1, abs=0.03)
    neighbours = np.mean(image[:, :, 1:] * image[:, :, :-1])
    assert 0.2 < neighbours < 0.7


def test_blur_spreads_a_point_as_a_gaussian():
    hu = np.zeros((41, 41, 41), np.float32)
    hu[20, 20, 20] = 1000
    phantom_scanner.blur(hu, (1.5, 2.0, 2.5))
    assert hu.sum() == pytest.approx(1000, rel=1e-3)
    for axis, sigma in ((2, 1.5), (1, 2.0), (0, 2.5)):
        line = hu.sum(axis=tuple({0, 1, 2} - {axis}))
        assert np.sqrt((line * (np.arange(41) - 20) ** 2).sum() / line.sum()) == pytest.approx(sigma, rel=0.03)


def test_table_and_metal_appear_only_when_asked_for(phantom):
    low = {"shape": (30, 64, 64), "spacing_mm": (4.0, 4.0, 6.0)}
    plain = phantom.render(**low, table=False)
    full = phantom.render(**low, table=True, metal=True)
    assert not np.isin(plain.labels.hu, [LABELS["table"], LABELS["metal"]]).any()
    assert (full.labels.hu == LABELS["table"]).any()
    assert (full.labels.hu == LABELS["metal"]).any()
    assert not ((full.labels.hu == LABELS["table"]) & (plain.labels.hu != LABELS["air"])).any()


def test_rendering_stops_when_asked(phantom):
    class Stop:
        def update(self, *args, **values):
            pass

        def cancelled(self):
            return True

    with pytest.raises(Cancelled):
        phantom.render(**COARSE, progress=Stop())


def test_the_command_writes_volumes_labels_truth_and_a_preview(tmp_path):
    import SimpleITK as sitk

    from SkullGANLib.cli.phantom import phantom as command
    from SkullGANLib.ct.io import read_volume

    out = tmp_path / "heads"
    options = ["--subjects", "2", "--seed", "3", "--out", str(out), "--pose", "10"]
    result = CliRunner().invoke(command, [*options, "--spacing", "4", "--shape", "36,60,60"])
    assert result.exit_code == 0, result.output
    facts = json.loads((out / "phantom.json").read_text())
    assert [h["seed"] for h in facts["heads"]] == [3, 4]
    assert facts["heads"][0]["truth"]["parietal"]["thickness_mm"] > 3
    rotation = facts["heads"][0]["rotation_deg"]
    again = HeadPhantom(3).render(shape=(36, 60, 60), spacing_mm=(4, 4, 4), rotation_deg=rotation)
    written = read_volume(out / "subject-001.nrrd")
    assert np.abs(written.hu.astype(int) - again.volume.hu).max() <= 2  # the rotation is written with four decimals
    assert (sitk.GetArrayFromImage(sitk.ReadImage(out / "subject-002-labels.nrrd")) == LABELS["diploe"]).any()
    assert (out / "preview.png").stat().st_size > 1000


def test_the_command_writes_a_tilted_series(tmp_path):
    import pydicom

    from SkullGANLib.cli.phantom import phantom as command

    options = ["--out", str(tmp_path), "--spacing", "4", "--shape", "8,60,60", "--format", "dicom", "--tilt", "15"]
    result = CliRunner().invoke(command, [*options, "--no-labels"])
    assert result.exit_code == 0, result.output
    headers = [pydicom.dcmread(p) for p in sorted((tmp_path / "subject-001").iterdir())]
    steps = np.diff([h.ImagePositionPatient for h in headers], axis=0)
    assert np.allclose(steps, [0, 0, 4], atol=1e-3)
    assert float(headers[0].ImageOrientationPatient[5]) == pytest.approx(np.sin(np.radians(15)), abs=1e-6)


def test_the_command_refuses_a_tilt_that_the_format_cannot_hold(tmp_path):
    from SkullGANLib.cli.phantom import phantom as command

    result = CliRunner().invoke(command, ["--out", str(tmp_path), "--tilt", "15"])
    assert result.exit_code == 1
    assert "--format dicom" in result.output
