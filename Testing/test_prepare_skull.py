"""Finding the vault: against the phantom's truth, in any pose, and refusing what is no head."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from conftest import AT_1_MM
from scipy import ndimage

from SkullGANLib.ct.phantom import LABELS
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import Cancelled, InputError
from SkullGANLib.prepare.frame import HeadFrame, fit_head_frame, rigid
from SkullGANLib.prepare.shell import PolarGrid
from SkullGANLib.prepare.skull import find_skull, skull_mask

ELSEWHERE = ("air", "mandible", "teeth", "vertebra", "table", "metal")


def test_the_mask_is_the_vault(trial):
    assert trial.dice(trial.mask) >= 0.97


def test_nothing_but_bone_and_its_border_is_in_the_mask(trial):
    found = {name: int((trial.mask & (trial.labels == code)).sum()) for name, code in LABELS.items()}
    assert {name: found[name] for name in ELSEWHERE} == dict.fromkeys(ELSEWHERE, 0)
    bone = np.isin(trial.labels, [LABELS[n] for n in ("outer_table", "diploe", "inner_table", "suture")])
    bone |= np.isin(trial.labels, [LABELS["skull_base"], LABELS["sinus"]])
    part = ndimage.find_objects(trial.mask.astype(np.uint8))[0]
    distance = ndimage.distance_transform_edt(~bone[part])
    soft = (trial.mask & ~bone)[part]
    assert (soft & (distance > 1.8)).sum() < 0.002 * trial.mask.sum()
    assert (soft & (distance > 3.5)).sum() < 0.0002 * trial.mask.sum()


def test_the_head_frame_is_the_true_one(trial):
    turn_deg, shift_mm = trial.frame_error(trial.prepared.skull.frame)
    assert turn_deg <= 3
    assert shift_mm <= 4


def test_the_size_of_the_head_is_found(trial):
    # The height depends on where the origin is put, which may lie 4 mm off.
    error_mm = np.abs(trial.prepared.skull.frame.half_axes_mm - trial.phantom.parameters.half_axes_mm)
    assert (error_mm <= (2, 2, 4)).all()


def test_both_edges_lie_within_half_a_millimetre_of_the_truth(upright):
    skull = upright.prepared.skull
    surface = skull.shell.grid.directions() * skull.shell.outer_mm[..., None]
    back = np.linalg.inv(upright.head.head_to_lps)
    points = skull.frame.to_lps(surface[skull.shell.trusted])[::37] @ back[:3, :3].T + back[:3, 3]
    points = points[upright.phantom.free(points)]
    error_mm = np.linalg.norm(points, axis=1) - upright.phantom.outer_radius(points)
    assert len(points) > 300
    assert abs(np.median(error_mm)) < 0.3
    assert np.percentile(np.abs(error_mm), 90) < 0.6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "rotation_deg", "metal"),
    [
        (1, (0, 0, 0), False),
        (2, (20, -20, 20), False),
        (3, (-20, 20, 15), True),
        (4, (40, 0, 0), False),
        (6, (0, 35, 0), False),
        (7, (0, 0, 40), True),
        (9, (-35, 30, 30), False),
    ],
)
def test_any_pose_gives_the_same_vault(make_trial, seed, rotation_deg, metal):
    turned = make_trial(seed, rotation_deg=rotation_deg, metal=metal, **AT_1_MM)
    skull = find_skull(turned.volume)
    turn_deg, shift_mm = turned.frame_error(skull.frame)
    assert turned.dice(skull_mask(turned.volume, skull)) >= 0.97
    assert turn_deg <= 3
    assert shift_mm <= 4
    assert skull.notes == ()


@pytest.mark.slow
@pytest.mark.parametrize("yaw_deg", [90, -90])
def test_a_head_on_its_side_is_pointed_out(make_trial, yaw_deg):
    lying = make_trial(2, shape=(130, 130, 130), spacing_mm=(2.0, 2.0, 2.0), rotation_deg=(0, 0, yaw_deg))
    assert "broader than long" in find_skull(lying.volume).notes[0]


def test_a_given_head_frame_is_used_as_it_is(coarse):
    given = coarse.head.head_to_lps.copy()
    given[:3, 3] += (1.5, -2.0, 1.0)
    frame = find_skull(coarse.volume, head_to_lps=given).frame
    assert np.array_equal(frame.head_to_lps, given)
    assert np.allclose(frame.half_axes_mm, coarse.phantom.parameters.half_axes_mm, atol=4)


def test_a_given_mask_replaces_the_edges_of_the_scan(coarse):
    nothing_to_see = coarse.volume.with_array(np.full(coarse.volume.shape, 40, np.int16))
    skull = find_skull(nothing_to_see, mask=coarse.vault | (coarse.labels == LABELS["skull_base"]))
    assert coarse.dice(skull_mask(coarse.volume, skull)) >= 0.94  # at 2 mm, where half a voxel is a sixth of the bone
    assert coarse.frame_error(skull.frame)[0] <= 3


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((100, 120, 120), bool), "empty"),
        (np.ones((3, 4, 5), bool), r"\(3, 4, 5\)"),
        (np.ones((100, 120, 120), bool), "No closed skull vault"),
    ],
    ids=["empty", "of another shape", "everything"],
)
def test_a_mask_that_cannot_be_a_skull_is_refused(coarse, mask, words):
    with pytest.raises(InputError, match=words):
        find_skull(coarse.volume, mask=mask)


def _grid():
    z, y, x = np.mgrid[:120, :160, :160].astype(np.float32) * 1.4
    return z - 84, y - 112, x - 112


@functools.cache
def no_heads():
    z, y, x = _grid()
    ball, tube = np.sqrt(x**2 + y**2 + z**2), np.hypot(x, y)
    box = np.maximum(np.maximum(np.abs(x), np.abs(y)), np.abs(z))
    return {
        "noise": np.random.default_rng(0).normal(0, 600, z.shape),
        "air": np.full(z.shape, -1000),
        "a ball of water": np.where(ball < 80, 0, -1000),
        "a ball of bone": np.where(ball < 80, 1200, -1000),
        "a long bone": np.where((tube > 12) & (tube < 17), 1400, np.where(tube < 50, 40, -1000)),
        "a wide tube": np.where((tube > 72) & (tube < 79), 1200, np.where(tube < 72, 20, -1000)),
        "a solid box": np.where(box < 70, 1000, -1000),
        "a hollow box": np.where((box < 78) & (box > 70), 1000, -1000),
        "a small can": np.where((box < 30) & (box > 27), 1000, -1000),
    }


@pytest.mark.parametrize("name", list(no_heads()))
def test_what_is_no_head_is_refused(name):
    with pytest.raises(InputError, match=r"closed skull vault|size of a head|Too little") as refusal:
        find_skull(Volume(no_heads()[name].astype(np.int16), (1.4, 1.4, 1.4)))
    assert refusal.value.advice


@pytest.mark.parametrize("slices", [1, 6])
def test_a_few_slices_of_a_head_are_refused(coarse, slices):
    with pytest.raises(InputError, match="No closed skull vault"):
        find_skull(Volume(coarse.volume.hu[40 : 40 + slices], coarse.volume.spacing_mm))


def test_it_stops_when_asked(coarse):
    class Stop:
        def update(self, *_, **__):
            pass

        def cancelled(self):
            return True

    with pytest.raises(Cancelled):
        find_skull(coarse.volume, progress=Stop())


def test_a_polar_grid_finds_its_own_directions():
    grid = PolarGrid(3.0)
    row, column, radius = grid.coordinates(grid.directions() * 70)
    assert np.allclose(radius, 70, atol=1e-3)
    assert np.allclose(column, np.arange(grid.shape[1])[None], atol=1e-2)
    turns = (row - np.arange(grid.shape[0])[:, None]) / grid.shape[0]
    assert np.allclose(turns, np.rint(turns), atol=1e-4)


def test_a_map_is_looked_up_for_any_number_of_points_and_around_the_seam():
    grid = PolarGrid(3.0)
    height = grid.directions()[..., 2].astype(np.float32)
    points = np.random.default_rng(0).normal(size=(100_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    row, column, _ = grid.coordinates(points)
    assert np.abs(grid.lookup(height, row, column) - points[:, 2]).max() < 0.03


def test_a_frame_is_fitted_to_points_that_lie_on_the_mean_vault():
    from SkullGANLib.ct.anatomy import vault_radius

    axes = np.array([70.0, 93.0, 76.0])
    directions = PolarGrid(6.0).directions().reshape(-1, 3)
    directions = directions[directions[:, 2] > 0]
    truth = HeadFrame(rigid(np.eye(3), np.array([5.0, -3.0, 8.0])), axes)
    points = truth.to_lps(directions * vault_radius(directions, axes)[:, None])
    found = fit_head_frame(points, HeadFrame(np.eye(4), np.array([72.0, 90.0, 74.0])))
    assert np.abs(found.rotation_deg).max() < 0.5
    assert np.allclose(found.head_to_lps[:3, 3], (5, -3, 8), atol=1)
    with pytest.raises(InputError, match="Too little"):
        fit_head_frame(points[:20], truth)
