"""Slices of a walk move as they are told, lie on a head where they should, and step as real neighbours do."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from SkullGANLib.cli.volume import volume as command
from SkullGANLib.ct.io import read_volume
from SkullGANLib.errors import InputError
from SkullGANLib.files import sha256_of
from SkullGANLib.generate.continuity import at_distance, compared_at, match_walk, real_curve, walk_curve
from SkullGANLib.generate.patch import Patch, curved_volume
from SkullGANLib.generate.stack import StackOptions, StackPlan, rolled_out
from SkullGANLib.generate.unroll import unroll
from SkullGANLib.generate.walk import draw_walk, key_weights, mixed, walk_values
from SkullGANLib.models.card import Category, ModelCard, Number
from SkullGANLib.models.folder import Model, save_model
from SkullGANLib.models.relativistic import RelativisticNetwork
from SkullGANLib.models.skullgan import FAMILY as SKULLGAN
from SkullGANLib.models.skullgan import SkullGANNetwork
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.prepare.cut import find_placements
from SkullGANLib.prepare.frame import HeadFrame
from SkullGANLib.prepare.shell import PolarGrid, Shell
from SkullGANLib.prepare.skull import Skull
from SkullGANLib.segments.dataset import SegmentDataset

PIXEL_MM = 0.45
SIZE = 128
TINY = SkullGANNetwork(latent=8, generator=(16, 8, 8, 8), tail=(4, 4, 4), discriminator=(4, 8, 8), weight_std="fan_in")


def arc(thickness_mm=6.0, hu=1000.0, radius_mm=70.0, top_row=10.5, size=SIZE, pixel_mm=PIXEL_MM) -> np.ndarray:
    """A segment of a disc: bone between two circles about one centre; ``hu`` is a number or depends on depth in mm."""
    rows, columns = np.mgrid[:size, :size] * pixel_mm
    centre_x, centre_y = (size - 1) / 2 * pixel_mm, top_row * pixel_mm + radius_mm
    depth = radius_mm - np.hypot(rows - centre_y, columns - centre_x)
    cover = np.clip(0.5 + depth / pixel_mm, 0, 1) * np.clip(0.5 + (thickness_mm - depth) / pixel_mm, 0, 1)
    return (cover * (hu(depth) if callable(hu) else hu)).astype(np.float32)


class Arcs(nn.Module):
    """In place of a generator: an arc of the thickness asked for; the HU of its halves follow the latent."""

    def __init__(self, grain_hu: float = 0.0) -> None:
        super().__init__()
        self.grain_hu = grain_hu

    def forward(self, z: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        stripes = 1 + self.grain_hu / 1000 * np.sin(np.arange(SIZE) * 2 * np.pi / 4)
        images = []
        for latent, asked in zip(z.numpy(), condition.numpy(), strict=True):
            hu = 1000 + 60 * np.where(np.arange(SIZE) < SIZE // 2, latent[0], latent[1])
            images.append(arc(6 + asked[-1], 1.0) * hu * stripes)
        return torch.from_numpy(np.stack(images)[:, None].astype(np.float32)) / 1500 - 1


def stub(**given) -> Model:
    conditions = {
        "plane": Category(values=("axial", "coronal", "sagittal"), share=(1, 1, 1)),
        "region": Category(values=("parietal", "temporal"), share=(1, 0)),
        "side": Category(values=("left", "right"), share=(1, 0)),
        "thickness_mm": Number(unit="mm", mean=6, std=1, minimum=3, maximum=10),
    }
    card = ModelCard(
        family="relativistic",
        network=RelativisticNetwork(condition=8).model_dump(mode="json"),
        window=IntensityWindow(minimum_hu=0, range_hu=3000),
        conditions=conditions,
    )
    return Model(card, Arcs(**given))


@pytest.fixture
def noisy() -> Model:
    """A tiny SkullGAN with noise layers."""
    torch.manual_seed(0)
    window = IntensityWindow(minimum_hu=0, range_hu=2000)
    card = ModelCard(family="skullgan", network=TINY.model_dump(mode="json"), window=window, bone_floor_hu=0)
    return Model(card, SKULLGAN.build_generator(TINY).eval())


def along_ray(volume, direction, reach_mm=(60.0, 95.0)):
    """Distances from the origin at which a ray enters and leaves bone, at half of its HU."""
    from scipy.ndimage import map_coordinates

    steps = np.arange(*reach_mm, 0.02)
    zyx = volume.lps_to_zyx(steps[:, None] * np.asarray(direction))
    values = map_coordinates(volume.hu, zyx.T, order=1, mode="nearest")
    bone = steps[values > 0.5 * values.max()]
    return bone.min(), bone.max()


def test_latents_on_the_way_keep_their_distribution_and_the_correlation_asked_for():
    keys, weights = key_weights(np.array([0.0, 0.37, 1.0, 2.0, 9.0]))
    np.testing.assert_allclose((weights**2).sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(weights[0] @ weights[1:].T, np.exp(-(np.array([0.37, 1, 2, 9]) ** 2) / 2), atol=0.02)
    drawn = np.random.default_rng(0).uniform(-1, 1, (len(keys), 40_000)).astype(np.float32)
    between = mixed(drawn, weights, uniform=True)
    assert np.abs(between).max() <= 1
    for share in (0.1, 0.25, 0.5, 0.75):
        np.testing.assert_allclose(np.quantile(between, share, axis=1), 2 * share - 1, atol=0.02)


def test_a_slice_depends_on_its_position_alone(noisy):
    positions = np.array([0.0, 0.5, 7.0, 100.0])
    together = draw_walk(noisy, positions, 2.0, seed=3)
    for position, image in zip(positions, together, strict=True):
        np.testing.assert_allclose(draw_walk(noisy, np.array([position]), 2.0, seed=3)[0], image, atol=0.1)
    assert np.abs(draw_walk(noisy, positions, 2.0, seed=4) - together).mean() > 1
    assert np.abs(draw_walk(noisy, positions, 2.0, seed=3, number=1) - together).mean() > 1
    near, far = np.abs(together[1] - together[0]).mean(), np.abs(together[3] - together[0]).mean()
    assert near < 0.7 * far


def test_noise_inside_a_generator_moves_with_the_walk_and_stays_as_strong(noisy):
    network = noisy.network
    z = torch.zeros(1, network.latent)

    def spread(images):
        return (images - images.mean(0)).std()

    drawn = noisy.family.for_drawing(noisy.generator, network, False)
    usual = np.concatenate([noisy.window.to_hu(drawn(z, torch.tensor([key]))).numpy()[0] for key in range(40)])

    class Still(type(noisy.family)):
        def latent(self, *args):
            latents, keys = super().latent(*args)
            return torch.zeros_like(latents), keys

    positions = np.arange(40) * 50.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "family", property(lambda self: Still()))
        moving = draw_walk(noisy, positions, 2.0)
        beside = draw_walk(noisy, positions + 0.2, 2.0)
    assert spread(moving) == pytest.approx(spread(usual), rel=0.15)
    assert np.abs(moving - beside).mean() < 0.3 * np.abs(moving[1:] - moving[:-1]).mean()


def test_conditions_are_one_bones_and_what_is_given_runs_from_end_to_end():
    card = stub().card
    values = walk_values(card, {"thickness_mm": "4:8"}, 5, seed=2)
    np.testing.assert_allclose(values["thickness_mm"], [4, 5, 6, 7, 8])
    assert values["plane"].tolist() == ["axial"] * 5
    drawn = walk_values(card, {"plane": "coronal"}, 5, seed=2)
    assert len(set(drawn["thickness_mm"])) == 1
    assert drawn["plane"].tolist() == ["coronal"] * 5
    assert walk_values(card, {}, 5, seed=2, number=1)["thickness_mm"][0] != drawn["thickness_mm"][0]


@pytest.mark.parametrize("radius_mm", [55.0, 75.0, 400.0])
def test_a_disc_rolls_out_to_its_thickness_and_its_layers(radius_mm):
    image = arc(7.0, lambda depth: 1000 + 50 * depth, radius_mm)
    bone, kept = unroll(image[None], PIXEL_MM)
    assert kept.tolist() == [0]
    np.testing.assert_allclose(bone.thickness_mm, 7.0, atol=PIXEL_MM / 2)
    middle = bone.hu[0, 16:49]
    wanted = 1000 + 50 * np.linspace(0, 7, bone.hu.shape[1])[16:49, None]
    np.testing.assert_allclose(middle, np.broadcast_to(wanted, middle.shape), atol=15)
    at_depth = bone.at_depths(np.array([-2.0, 3.5, 9.0]))[0]
    assert at_depth[0].max() == at_depth[2].max() == 0
    np.testing.assert_allclose(at_depth[1], 1175, atol=15)


def test_a_place_keeps_its_distance_along_the_surface():
    image, marked = arc(8.0), 20.0  # mm from the middle, along the arc
    rows, columns = np.mgrid[:SIZE, :SIZE] * PIXEL_MM
    angle = np.arctan2(columns - (SIZE - 1) / 2 * PIXEL_MM, 10.5 * PIXEL_MM + 70 - rows)
    image[np.abs(angle * 70 - marked) < 0.6] *= 2
    bone, _ = unroll(image[None], PIXEL_MM)
    place = bone.hu[0, 32].argmax() * bone.step_mm - (bone.hu.shape[2] - 1) / 2 * bone.step_mm
    assert place == pytest.approx(marked, abs=0.7)


def test_slices_without_bone_are_left_to_their_neighbours_or_refused():
    hu = np.stack([arc(5.0), np.zeros((SIZE, SIZE), np.float32), arc(7.0), arc(7.0)])
    with pytest.warns(UserWarning, match="1 of 4"):
        bone = rolled_out(hu, PIXEL_MM)
    np.testing.assert_allclose(bone.thickness_mm.mean(1), [5, 5, 7, 7], atol=0.2)
    with pytest.raises(InputError, match="Only 1 of 4"):
        rolled_out(hu * np.array([1, 0, 0, 0])[:, None, None], PIXEL_MM)


def sphere_patch(radius_mm=80.0, outward=(0.6, 0.0, 0.8), size_mm=(40.0, 58.0)) -> Patch:
    return Patch.around(
        lambda at: np.full(at.shape[:-1], radius_mm), np.array(outward), np.array([0.0, 1.0, 0.0]), size_mm
    )


def test_places_on_a_sphere_are_found_again():
    patch = sphere_patch()
    for along, across, depth in ((0, 0, 0), (15, -20, 3), (-18, 25, 9), (5, 5, -1)):
        theta, phi = along / 80, across / 80
        point = patch.directions(np.array([theta]), np.array([phi])) * (80 - depth)
        np.testing.assert_allclose(np.concatenate(patch.coordinates(point)), [along, across, depth], atol=0.02)


def test_discs_of_any_curvature_make_a_shell_of_the_right_radius_and_thickness():
    bone = rolled_out(np.stack([arc(6.0, radius_mm=60.0 + 5 * (k % 5)) for k in range(20)]), PIXEL_MM)
    patch = sphere_patch()
    volume = curved_volume(bone, 2.0, patch)
    assert volume.spacing_mm == (PIXEL_MM,) * 3
    for theta in np.linspace(-17, 17, 7) / 80:
        for phi in np.linspace(-25, 25, 7) / 80:
            inner, outer = along_ray(volume, patch.directions(np.array([theta]), np.array([phi]))[0])
            assert outer == pytest.approx(80, abs=PIXEL_MM / 2)
            assert outer - inner == pytest.approx(6, abs=PIXEL_MM / 2)
    points = np.random.default_rng(0).uniform([-17, -26, 1], [17, 26, 5], (2000, 3))
    inside = patch.directions(points[:, 0] / 80, points[:, 1] / 80) * (80 - points[:, 2:])
    zyx = volume.lps_to_zyx(inside).round().astype(int)
    assert volume.hu[tuple(zyx.T)].min() > 900, "there are holes"


def test_growing_thickness_lies_where_the_slices_do():
    options = StackOptions(slices=24, spacing_mm=2.0, asked={"thickness_mm": "4:9"}, radius_mm=85.0)
    plan = StackPlan(stub(), options)
    stack = plan.stack(50.0, 0.0)
    wanted = np.linspace(4, 9, 24)
    np.testing.assert_allclose(stack.bone.thickness_mm.mean(1), wanted, atol=PIXEL_MM / 2)
    for k in (2, 8, 12, 17, 21):
        inner, outer = along_ray(stack.volume, plan.patch.middles(plan.positions_mm[k : k + 1])[0])
        assert outer - inner == pytest.approx(wanted[k], abs=PIXEL_MM / 2)
    assert plan.positions_mm[0] == -23
    assert stack.volume.zyx_to_lps(np.array(stack.volume.shape) / 2)[0] > 20, "left is +x"


def test_columns_run_as_in_prepared_segments():
    grid = PolarGrid(3.0)
    outer, everywhere = np.full(grid.shape, 80.0, np.float32), np.ones(grid.shape, bool)
    skull = Skull(HeadFrame(np.eye(4), np.full(3, 80.0)), Shell(grid, outer, outer - 6, everywhere, everywhere))
    placements = find_placements(skull, interval_mm=10.0)
    for plane in ("axial", "coronal", "sagittal"):
        places = [p for p in placements if (p.plane, p.region, p.side) == (plane, "parietal", "left")]
        patch = StackPlan(stub(), StackOptions(asked={"plane": plane, "side": "left"}, radius_mm=80.0)).patch
        towards = np.mean([place.right @ patch.across for place in places])
        assert towards > 0.6, plane


def test_on_a_head_the_outer_surface_is_that_of_the_phantom_and_air_lies_beyond():
    plan = StackPlan(stub(), StackOptions(slices=12, spacing_mm=3.0, outside_hu=-1000.0, seed=4))
    stack = plan.stack(5.0)
    for middle in plan.patch.middles(plan.positions_mm[2:-2:3]):
        _, outer = along_ray(stack.volume.with_array(np.maximum(stack.volume.hu, 0)), middle)
        assert outer == pytest.approx(float(plan.patch.radius(middle[None])[0]), abs=PIXEL_MM / 2)
        beyond = stack.volume.lps_to_zyx(middle * (outer + 1.5)).round().astype(int)
        assert stack.volume.hu[tuple(beyond)] == -1000
    asked = stack.values["thickness_mm"]
    assert 0.02 < np.ptp(asked) / asked.mean() < 0.6, "thickness varies as over a head"


def test_a_flat_stack_is_the_images_side_by_side_on_the_surface():
    plan = StackPlan(stub(), StackOptions(slices=5, spacing_mm=1.5, layout="flat", radius_mm=80.0))
    hu, _ = plan.slices(4.0)
    volume = plan.stack(4.0).volume
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.spacing_mm == (PIXEL_MM, PIXEL_MM, 1.5)
    assert np.linalg.det(volume.direction) == pytest.approx(1)
    top = volume.zyx_to_lps(np.array([2, 10.5, 63.5]))
    np.testing.assert_allclose(top, plan.patch.outward * 80, atol=1e-6)


def test_what_all_slices_share_is_taken_out():
    plan = StackPlan(stub(grain_hu=80.0), StackOptions(slices=8, asked={"thickness_mm": "6"}, radius_mm=80.0))
    clean = StackPlan(stub(), plan.options)
    level = 32
    assert plan.grain[level].std() > 30
    assert np.abs(plan.slices(3.0)[1].hu[:, level] - clean.slices(3.0)[1].hu[:, level])[:, 10:-10].std() < 6


def neighbours(path, hu, positions_mm, **columns) -> SegmentDataset:
    n = len(hu)
    table = {"subject": ["a"] * n, "volume": ["v"] * n, "plane": ["axial"] * n, "region": ["parietal"] * n}
    table |= {"side": ["left"] * n, "position_mm": positions_mm, **columns}
    return SegmentDataset.create(path, hu, table, kind="real", spacing_mm=PIXEL_MM)


def test_the_step_of_real_neighbours_is_measured_by_their_distance(tmp_path):
    heights = 1000.0 + 40 * np.arange(20)
    dataset = neighbours(tmp_path / "set", np.stack([arc(6.0, hu) for hu in heights]), np.arange(20) * 3.1)
    curve = real_curve(dataset, plane="axial", region="parietal")
    np.testing.assert_allclose(curve["distance_mm"], [3.1, 6.2, 9.3])
    np.testing.assert_allclose(curve["step_hu"], [38, 76, 114], rtol=0.06)  # the covered rim makes it a little less
    assert curve["thickness_step_mm"].max() < 0.05
    assert curve["pairs"].tolist() == [19, 18, 17]
    assert at_distance(curve, 1.55)[0] == pytest.approx(curve["step_hu"][0] / 2)
    assert compared_at(curve, 4.0) == pytest.approx(6.2)
    with pytest.raises(InputError, match="apart"):
        compared_at(curve, 11.0)


def test_neighbours_are_compared_where_they_show_the_same_place(tmp_path):
    rng = np.random.default_rng(1)
    bars = rng.normal(0, 150, SIZE + 200).repeat(2)
    starts = rng.integers(0, 30, 20)
    flat = np.zeros((20, SIZE, SIZE), np.float32)
    for image, start in zip(flat, starts, strict=True):
        image[12:26] = 1200 + bars[start : start + SIZE]
    begin = {"corner_x": starts * PIXEL_MM, "corner_y": np.zeros(20), "corner_z": np.arange(20.0)}
    right = {"right_x": np.ones(20), "right_y": np.zeros(20), "right_z": np.zeros(20)}
    placed = real_curve(neighbours(tmp_path / "placed", flat, np.arange(20.0), **begin, **right))
    unplaced = real_curve(neighbours(tmp_path / "unplaced", flat, np.arange(20.0)))
    assert placed["step_hu"][0] < 0.15 * unplaced["step_hu"][0]


def test_a_set_without_neighbours_is_refused(tmp_path):
    dataset = neighbours(tmp_path / "set", np.stack([arc()] * 3), np.array([0.0, 50.0, np.nan]))
    with pytest.raises(InputError, match="no neighbouring slices"):
        real_curve(dataset)


def test_a_walk_is_matched_to_real_neighbours(tmp_path):
    model, true_mm = stub(), 9.0
    options = StackOptions(slices=40, spacing_mm=1.5, asked={"thickness_mm": "6"}, radius_mm=85.0)
    plan = StackPlan(model, options)
    positions = np.arange(120) * 3.0
    values = walk_values(model.card, options.asked, 120)
    hu = draw_walk(model, positions, true_mm, values=values, seed=11)
    real = real_curve(neighbours(tmp_path / "set", hu, positions))
    length, smoothing = match_walk(lambda mm: [plan.slices(mm)[1]], 1.5, real)
    step, _ = at_distance(walk_curve(plan.slices(length)[1].smoothed(smoothing, 1.5), 1.5), 3.0)
    assert step == pytest.approx(at_distance(real, 3.0)[0], rel=0.1)
    assert length == pytest.approx(true_mm, rel=0.4)
    with pytest.warns(UserWarning, match="No walk of this model"):
        match_walk(lambda mm: [plan.slices(mm)[1]], 1.5, {**real, "step_hu": real["step_hu"] + 900})


def run(*arguments):
    return CliRunner().invoke(command, ["stack", *map(str, arguments)])


def test_the_command_leaves_volumes_their_origin_and_their_continuity(tmp_path):
    hu = np.stack([arc(6.0, 1000 + 100 * (k % 2)) for k in range(12)])
    neighbours(tmp_path / "set", hu, np.arange(12) * 1.5)
    arguments = ("--model", "phantom-small", "--slices", 4, "--spacing", 1.5, "--seed", 5, "--radius", 80)
    matched = ("--match", tmp_path / "set")
    for name, more in (("one", ()), ("two", ("--length", 2.5, "--count", 2)), ("matched", matched)):
        result = run(*arguments, *more, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "matched" / "volumes.json").read_text())
    assert (document["kind"], document["seed"], document["layout"]) == ("synthetic", 5, "curved")
    assert len(document["matched"]) == len(document["model_hash"]) == 64
    first = read_volume(tmp_path / "one" / "volume-0001.nrrd")
    assert first.hu.dtype == np.int16
    assert first.hu.max() > 800
    one, two, other = (
        sha256_of(tmp_path / name) for name in ("one/volume-0001.nrrd", "two/volume-0001.nrrd", "two/volume-0002.nrrd")
    )
    assert one == two != other
    told = json.loads((tmp_path / "matched" / "continuity.json").read_text())
    assert told["distance_mm"] == 1.5
    assert told["ratio"] == pytest.approx(told["step_hu"] / told["real"]["step_hu"], rel=0.01)
    lines = (tmp_path / "matched" / "continuity.csv").read_text().splitlines()
    assert lines[0] == "set,distance_mm,pairs,step_hu,thickness_step_mm,within_hu"
    assert {line.split(",")[0] for line in lines[1:]} == {"real", "volume 1"}
    assert (tmp_path / "matched" / "preview.png").stat().st_size > 5000
    assert run(*arguments, "--out", tmp_path / "one").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--condition", "region=temporal", "--condition", "plane=sagittal"), "lies flat"),
        (("--thickness", "1,2,3"), "not understood"),
        (("--thickness", "nan"), "cannot be"),
        (("--length", "0"), "correlation length"),
        (("--length", "nan"), "correlation length"),
        (("--spacing", "nan"), "make no volume"),
        (("--slices", "400"), "reaches round the head"),
        (("--radius", "5"), "not that of a head"),
        (("--match", ".", "--length", "2"), "--match finds"),
        (("--match", "nowhere"), "no data set"),
        (("--condition", "side=top"), "cannot be"),
    ],
)
def test_bad_input_is_one_line_of_what_and_one_of_what_to_do(tmp_path, arguments, words):
    result = run("--model", "phantom-small", "--radius", 80, "--slices", 4, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 1, result.output
    assert words in result.output
    assert len([line for line in result.output.splitlines() if line.startswith("Error")]) == 1
    assert not (tmp_path / "out").exists()


def test_a_model_without_conditions_draws_too_and_cannot_be_asked(tmp_path, noisy):
    save_model(tmp_path / "model", copy.deepcopy(noisy))
    result = run("--model", tmp_path / "model", "--thickness", "4,6", "--out", tmp_path / "out")
    assert "takes no conditions" in result.output
    result = run("--model", tmp_path / "model", "--radius", 80, "--out", tmp_path / "out")
    assert "bone" in result.output, "an untrained network draws none"
