"""The pyramid of GANs: its sizes, its losses, training that resumes, and volumes that lie where they should."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from SkullGANLib.cli.volume import volume as command
from SkullGANLib.ct.io import read_volume, write_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import Cancelled, FormatError, InputError
from SkullGANLib.files import sha256_of
from SkullGANLib.generate.volumes import draw_volumes, rebuilt_volume
from SkullGANLib.models import pyramid_losses as losses
from SkullGANLib.models.folder import load_model
from SkullGANLib.models.pyramid import (
    Pyramid,
    PyramidNetwork,
    build_judge,
    build_scale,
    resized,
    scale_shapes,
    warped,
)
from SkullGANLib.train.pyramid import train_volume
from SkullGANLib.train.pyramid_options import PyramidOptions
from SkullGANLib.train.pyramid_volume import network_for, notes_of

OPTIONS = PyramidOptions(smallest=8, largest=18, channels=4, judge_channels=4, iterations=3, device="cpu")


def ball(shape=(20, 18, 16), spacing_mm=(1.0, 1.0, 1.0), **place) -> Volume:
    """A head in small: air, bone, brain."""
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing_mm[::-1], strict=True)]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    outer = 0.45 * min(n * mm for n, mm in zip(shape, spacing_mm[::-1], strict=True))
    hu = np.where(radius < 0.75 * outer, 40, np.where(radius < outer, 900, -1000)).astype(np.int16)
    return Volume(hu, spacing_mm, **place)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run of a ball, and the ball."""
    volume = ball(origin_mm=(10.0, -20.0, 30.0))
    folder = tmp_path_factory.mktemp("pyramid") / "run"
    train_volume(volume, folder, OPTIONS)
    return folder, volume


def count(network: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def test_the_networks_have_the_published_sizes():
    network = PyramidNetwork(shapes=scale_shapes((94, 141, 141), (1, 1, 1)))
    assert network.shapes == ((19, 28, 28), (28, 42, 42), (42, 63, 63), (63, 94, 94), (94, 141, 141))
    assert (count(build_scale(network)), count(build_judge(network))) == (85_057, 21_761)
    flat = scale_shapes((94, 141, 141), (1, 1, 1), dimensions=2)
    assert {shape[0] for shape in flat} == {94}
    assert count(build_scale(PyramidNetwork(dimensions=2, shapes=flat, channels=256))) == pytest.approx(8.9e6, rel=0.03)


def test_scales_keep_the_proportions_in_millimetres_and_none_is_finer_than_the_volume():
    shapes = scale_shapes((30, 256, 256), (5.0, 0.9, 0.9))
    assert shapes[-1] == (92, 141, 141)  # 150 mm to 230 mm
    assert scale_shapes((60, 60, 60), (1, 1, 1))[-1] == (42, 42, 42)
    assert scale_shapes((64, 64, 64), (1, 1, 1))[-1] == (63, 63, 63)
    with pytest.raises(ValueError, match="resolves 20 voxels along its longest side, and the coarsest scale takes 28"):
        scale_shapes((20, 20, 20), (1, 1, 1))
    with pytest.raises(ValueError, match="would have 1 voxels along one side"):
        scale_shapes((5, 128, 128), (1, 1, 1))


def test_a_volume_keeps_its_mean_and_its_ramp_at_other_scales():
    ramp = torch.linspace(0, 1, 40)[None, None, :, None, None].expand(1, 1, 40, 24, 24)
    small = resized(ramp, (20, 12, 12))
    assert small.shape[2:] == (20, 12, 12)
    torch.testing.assert_close(small[0, 0, 3:-3, 5, 5], (ramp[0, 0, ::2, 5, 5] + ramp[0, 0, 1::2, 5, 5])[3:-3] / 2)
    noise = torch.rand(1, 1, 40, 40, 40, generator=torch.Generator().manual_seed(0))
    assert resized(noise, (10, 10, 10)).std() < 0.1 * noise.std() / 2 + 0.02  # averaged, not picked
    torch.testing.assert_close(resized(small, (20, 12, 12)), small)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_pyramid_draws_any_size_and_adds_nothing_where_its_generators_are_silent(dimensions):
    shapes = scale_shapes((12, 16, 16), (1, 1, 1), smallest=8, largest=16, dimensions=dimensions)
    pyramid = Pyramid(PyramidNetwork(dimensions=dimensions, shapes=shapes, channels=4)).eval()
    for generator in pyramid.scales:
        torch.nn.init.zeros_(generator.body[-1].weight)
        torch.nn.init.zeros_(generator.body[-1].bias)
    image = torch.rand(1, 12, 8, 8) if dimensions == 2 else torch.rand(1, 1, 6, 8, 8)
    wider = (1, 12, 20, 14) if dimensions == 2 else (1, 1, 9, 20, 14)
    made = pyramid([torch.zeros(wider)], image, first=1)
    assert made.shape[-2:] == (20, 14)
    torch.testing.assert_close(made, resized(image, tuple(made.shape[-3:])))


def test_losses_of_volumes_that_are_known():
    a, b = torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4)
    b[0, 0, 1, 2, 3] = 1.0
    assert losses.reconstruction_loss(a, b).item() == pytest.approx(1 / 64)
    assert losses.projection_loss(a, b, "mean").item() == pytest.approx(3 * (1 / 16) * (1 / 4) ** 2)
    assert losses.projection_loss(a, b, "max").item() == pytest.approx(3 / 16)
    assert losses.projection_loss(a, b, "first_slice").item() == 0
    assert losses.judge_loss(torch.full((3,), 0.5), torch.full((3,), 0.2)).item() == pytest.approx(0.25 + 0.04)
    assert losses.adversarial_loss(torch.full((3,), 0.4)).item() == pytest.approx(0.25)
    mask = losses.soft_bone(0.65, 0.025)
    assert mask(torch.tensor([0.65, 1.0, 0.0])).tolist() == pytest.approx([0.5, 1.0, 0.0], abs=1e-5)
    assert losses.segmentation_loss(b, b, lambda v: v).item() == pytest.approx(0)
    assert losses.segmentation_loss(a, b, lambda v: v).item() == pytest.approx(1)


def test_the_segmentation_loss_has_a_gradient():
    made = torch.full((1, 1, 3, 3, 3), 0.6, requires_grad=True)
    losses.segmentation_loss(made, torch.ones(1, 1, 3, 3, 3), losses.soft_bone(0.65, 0.025)).backward()
    assert (made.grad < 0).all()  # more bone would be better


def test_a_run_that_was_stopped_ends_as_one_that_was_not(run, tmp_path):
    folder, volume = run

    class StopAfter:
        def __init__(self, steps):
            self.left = steps

        def update(self, done, total, message="", **values):
            self.left -= 1

        def cancelled(self):
            return self.left <= 0

    for steps in (2, 4, 3):
        with pytest.raises(Cancelled):
            train_volume(volume, tmp_path / "run", OPTIONS, progress=StopAfter(steps))
    train_volume(volume, tmp_path / "run", OPTIONS)
    whole, parts = (load_model(each, volumes=True) for each in (folder, tmp_path / "run"))
    assert whole.network == parts.network
    for name, weights in whole.generator.state_dict().items():
        assert torch.equal(weights, parts.generator.state_dict()[name]), name


def test_training_brings_the_rebuilt_volume_nearer(tmp_path):
    volume, errors = ball(), []
    for iterations in (1, 40):
        options = OPTIONS.model_copy(update={"iterations": iterations, "adversarial": 0.1, "largest": 12})
        model = load_model(train_volume(volume, tmp_path / str(iterations), options), volumes=True)
        errors.append(model.card.metrics["reconstruction_mse"])
    assert errors[1] < 0.3 * errors[0]


def test_volumes_lie_where_the_one_learnt_lies(run):
    folder, volume = run
    model = load_model(folder, volumes=True)
    for made in (rebuilt_volume(model), *draw_volumes(model, 1), *draw_volumes(model, 1, enlarged=(1, 1.5, 0.5))):
        size = np.array(made.shape) * made.spacing_mm[::-1]
        corner = made.zyx_to_lps(np.full(3, -0.5))
        np.testing.assert_allclose(corner, volume.zyx_to_lps(np.full(3, -0.5)))
        assert made.hu.min() >= -1000
        assert made.hu.max() <= 1000
    np.testing.assert_allclose(size, np.array(volume.shape) * (1, 1.5, 0.5), rtol=0.05)


def test_seeds_scales_and_sources_decide_what_varies(run):
    folder, volume = run
    model = load_model(folder, volumes=True)
    two = [each.hu for each in draw_volumes(model, 2, seed=5, precision="float32")]
    again = next(draw_volumes(model, 1, seed=5, precision="float32")).hu
    np.testing.assert_array_equal(two[0], again)
    assert not np.array_equal(*two)
    spread = [
        np.std(np.stack([each.hu for each in draw_volumes(model, 3, first_scale=first)]), axis=0).mean()
        for first in (0, len(model.network.shapes) - 1)
    ]
    assert spread[1] < spread[0]
    moved = replace(volume, origin_mm=(0.0, 0.0, 0.0))
    edited = next(draw_volumes(model, 1, first_scale=1, source=moved))
    np.testing.assert_allclose(edited.zyx_to_lps(np.full(3, -0.5)), [-0.5] * 3)


def test_the_command_line_learns_and_draws(tmp_path):
    scan = write_volume(ball(), tmp_path / "ball.nrrd")
    small = ["smallest=8", "largest=12", "channels=4", "judge_channels=4", "iterations=1"]
    settings = [word for setting in small for word in ("--set", setting)]
    words = [
        "train",
        str(scan),
        "--out",
        str(tmp_path / "run"),
        "--box",
        "2,19,0,17,0,15",
        "--device",
        "cpu",
        *settings,
    ]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    assert "2 scales from 8 x" in result.output
    words = ["generate", "--model", str(tmp_path / "run"), "--out", str(tmp_path / "drawn"), "--count", "2"]
    result = CliRunner().invoke(command, [*words, "--first-scale", "1", "--source", str(scan), "--seed", "3"])
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "drawn" / "volumes.json").read_text())
    assert (facts["kind"], facts["seed"], facts["first_scale"]) == ("synthetic", 3, 1)
    assert facts["model_hash"] == load_model(tmp_path / "run", volumes=True).hash
    assert [each["sha256"] for each in facts["files"]] == [
        sha256_of(tmp_path / "drawn" / each["file"]) for each in facts["files"]
    ]
    drawn = read_volume(tmp_path / "drawn" / "volume-0002.nrrd")
    assert drawn.hu.dtype == np.int16
    np.testing.assert_allclose(drawn.zyx_to_lps(np.full(3, -0.5)), [-0.5] * 3, atol=1e-6)
    assert (tmp_path / "drawn" / "preview.png").exists()
    refused = CliRunner().invoke(command, [*words[:5], "--count", "1"])
    assert refused.exit_code == 1
    assert "exists already" in refused.output


def test_a_box_outside_the_volume_and_unknown_options_are_refused(tmp_path):
    scan = write_volume(ball(), tmp_path / "ball.nrrd")
    for words, told in (
        (["--box", "0,99,0,9,0,9"], "does not lie in 20 x 18 x 16 voxels"),
        (["--box", "a"], "does not lie in"),
        (["--set", "projectin=0"], 'Did you mean "projection"?'),
        (["--set", "factor=0.5"], "factor cannot be 0.5"),
    ):
        result = CliRunner().invoke(command, ["train", str(scan), "--out", str(tmp_path / "run"), *words])
        assert result.exit_code == 1
        assert told in result.output


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"n": 0}, "at least one volume"),
        ({"first_scale": 9}, "no scale 9"),
        ({"source": ball()}, "leaves nothing of a given volume"),
        ({"enlarged": (1, 100, 1)}, "cannot be drawn"),
        ({"enlarged": (1, 2, 1), "first_scale": 1}, "at its own size only"),
    ],
)
def test_what_cannot_be_drawn_is_refused(run, asked, words):
    with pytest.raises(InputError, match=words):
        list(draw_volumes(load_model(run[0], volumes=True), **{"n": 1, **asked}))


@pytest.mark.parametrize(
    ("hu", "words"),
    [
        (np.zeros((20, 20, 20)), "All voxels are alike"),
        (np.full((20, 20, 20), np.nan), "hold no number"),
        (np.random.default_rng(0).normal(0, 500, (4, 5, 6)), "of 4 x 5 x 6 voxels resolves 6 voxels"),
    ],
)
def test_volumes_that_cannot_be_learnt_are_refused(tmp_path, hu, words):
    with pytest.raises(InputError, match=words):
        train_volume(Volume(hu.astype(np.float32)), tmp_path / "run", OPTIONS)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_volume_or_of_other_options_is_refused(run, tmp_path):
    folder, volume = run
    with pytest.raises(InputError, match="another sha256"):
        train_volume(volume.with_array(volume.hu[:, ::-1] + np.int16(1)), folder, OPTIONS)
    with pytest.raises(InputError, match="another factor"):
        train_volume(volume, folder, OPTIONS.model_copy(update={"factor": 1.4}))
    with pytest.raises(InputError, match="is a model for volumes"):
        load_model(folder)
    with pytest.raises(FormatError):
        load_model(tmp_path, volumes=True)


def test_thick_slices_are_told_of():
    volume = ball((12, 60, 60), (1.0, 1.0, 5.0))
    notes = notes_of(volume, network_for(volume, PyramidOptions()))
    assert "2 scales from 28 x 28 x 28 to 42 x 42 x 42 voxels" in notes[0]
    assert "slices are 5 mm thick" in notes[1]
    assert math.isclose(float(notes[0].split("finest of ")[1].split(" ")[0]), 60 / 42, abs_tol=0.01)


def test_a_volume_drawn_slab_by_slab_is_that_drawn_at_once(monkeypatch):
    pyramid = Pyramid(PyramidNetwork(shapes=((30, 12, 12),), places=True, channels=4)).eval()
    noise = torch.randn(1, 1, 30, 12, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = pyramid([noise])
        monkeypatch.setattr("SkullGANLib.models.pyramid.SLAB_VOXELS", 7 * 22 * 22)
        calls = []
        pyramid.scales[0].body.register_forward_hook(lambda *_: calls.append(1))
        slabs = pyramid([noise])
    assert len(calls) == 5
    torch.testing.assert_close(slabs, whole)


def test_networks_that_are_told_places_depend_on_them_and_others_do_not():
    for dimensions, shape in ((3, (1, 1, 20, 20, 20)), (2, (1, 20, 24, 24))):
        for places in (True, False):
            network = PyramidNetwork(dimensions=dimensions, shapes=((20, 24, 24),), places=places, judge_channels=4)
            judged = build_judge(network).eval()(torch.zeros(shape)).detach()
            inner = judged[(0, 0, *[slice(8, -8)] * dimensions)]  # beyond the reach of the border
            assert (float(inner.std()) > 1e-6) == places


def test_a_volume_is_deformed_smoothly_and_by_as_much_as_asked():
    extents_mm, index = (20.0, 24.0, 24.0), 5
    axes = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), torch.arange(24.0), indexing="ij")
    ramps = [axis[None, None] for axis in axes]  # what lies where, 1 mm voxels
    assert torch.allclose(warped(ramps[0], extents_mm, 0.0, 1, index), ramps[0], atol=1e-4)
    inner = (0, 0, slice(6, -6), slice(6, -6), slice(6, -6))
    shifts = torch.stack(
        [(warped(ramp, extents_mm, 1.0, 1, number) - ramp)[inner] for number in range(60) for ramp in ramps]
    )
    assert 0.6 < float(shifts.std()) < 1.1  # between the points the shifts of several are meant
    assert float(shifts.diff(dim=1).abs().mean()) < 0.2  # neighbours move together
    again = warped(ramps[1], extents_mm, 1.0, 1, index)
    assert torch.equal(again, warped(ramps[1], extents_mm, 1.0, 1, index))
    assert not torch.equal(again, warped(ramps[1], extents_mm, 1.0, 1, index + 1))
    flat = ramps[1][0]
    torch.testing.assert_close(warped(flat, extents_mm, 1.0, 1, index), again[0])


def test_the_discriminator_sees_the_volume_deformed_where_that_is_asked(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("SkullGANLib.train.pyramid.warped", lambda images, *rest: seen.append(rest) or images)
    train_volume(ball(), tmp_path / "still", OPTIONS)
    assert not seen
    train_volume(ball(), tmp_path / "moved", OPTIONS.model_copy(update={"warp_mm": 2.0}))
    assert len({index for *_rest, index in seen}) == len(seen) == 3 * (3 + 6 + 9)
    assert {deviation for _extents, deviation, *_rest in seen} == {2.0}
