"""Slices that are missing, unevenly spaced or scanned with a tilted gantry come back as a true volume that says so."""

from __future__ import annotations

import numpy as np
import pytest
from test_ct_dicom import change, head, ramp, said

from SkullGANLib.ct.dicom_write import write_series, write_slices
from SkullGANLib.ct.io import read_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError

AXIAL = np.array([(1.0, 0, 0), (0, 1, 0)])


def ball(points_mm: np.ndarray, centre_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    """A ball of 40 HU in air, its edge as wide as a voxel."""
    inside = np.clip(radius_mm - np.linalg.norm(points_mm - centre_mm, axis=-1) + 0.5, 0, 1)
    return (-1000 + 1040 * inside).astype(np.float32)


def measure_ball(volume: Volume) -> tuple[np.ndarray, float, np.ndarray]:
    """LPS centre, radius from the volume, and half extents along the array's axes."""
    share = np.clip((volume.hu + 1000.0) / 1040, 0, 1)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in share.shape), indexing="ij"), -1)
    centre = volume.zyx_to_lps((index * share[..., None]).sum((0, 1, 2)) / share.sum())
    voxel = np.prod(volume.spacing_mm)
    radius = (share.sum() * voxel * 3 / (4 * np.pi)) ** (1 / 3)
    spread = [
        np.sqrt(5 * np.average((i - np.average(i, weights=share)) ** 2, weights=share))
        for i in np.moveaxis(index, -1, 0)
    ]
    return centre, float(radius), np.array(spread) * volume.spacing_mm[::-1]


def test_missing_slices_are_named_and_filled_linearly(tmp_path):
    volume = ramp(origin_mm=(0, 0, 100.0))
    kept = [k * 2.0 for k in range(12) if k not in (3, 7, 8)]
    back = read_volume(write_series(volume, tmp_path, slice_positions_mm=kept))
    np.testing.assert_array_equal(back.hu, volume.hu)
    assert back.spacing_mm[2] == pytest.approx(2.0)
    assert said(back, "3 slices are missing", "1 between 104.0 and 108.0 mm", "2 between 112.0 and 118.0 mm")


def test_uneven_distances_are_resampled_to_the_median_and_said(tmp_path):
    volume = ramp(20)
    positions = np.cumsum([0, 2, 2, 2.3, 1.7, 2, 2.4, 2, 1.6, 2, 2, 2.2, 1.8, 2])
    back = read_volume(write_series(volume, tmp_path, slice_positions_mm=positions))
    assert back.spacing_mm[2] == pytest.approx(2.0)
    truth = volume.hu[: len(back.hu), 8, 8]
    np.testing.assert_allclose(back.hu[:, 8, 8], truth, atol=1)
    assert said(back, "distance between slices varies", "1.6", "2.4", "2 mm")


def test_a_coarser_zone_is_a_change_of_distance_and_no_loss(tmp_path):
    positions = [*range(0, 10, 1), *range(10, 31, 2)]
    volume = ramp(16)
    back = read_volume(write_series(volume, tmp_path, slice_positions_mm=positions))
    assert said(back, "varies from 1 to 2 mm")
    assert not said(back, "missing")
    np.testing.assert_allclose(back.hu[:, 8, 8], np.arange(31) * 20 - 300, atol=1)


def test_positions_rounded_in_the_header_are_no_unevenness(tmp_path):
    volume = head(40, spacing_mm=(0.5, 0.5, 0.625))
    back = read_volume(write_series(volume, tmp_path, slice_positions_mm=np.round(np.arange(40) * 0.625, 2)))
    assert not said(back, "distance")
    np.testing.assert_allclose(back.spacing_mm[2], 0.625, atol=1e-3)
    assert back.shape == volume.shape


def test_a_gap_too_wide_to_bridge_is_refused_with_its_place(tmp_path):
    volume = ramp(60)
    write_series(volume, tmp_path, slice_positions_mm=[*range(0, 40, 2), *range(80, 110, 2)])
    with pytest.raises(InputError, match=r"gap of 42 mm between 38\.0 and 80\.0"):
        read_volume(tmp_path)


@pytest.mark.parametrize("tilt_deg", [-22.0, 7.5, 20.0])
@pytest.mark.parametrize("tilted_frame", [False, True])
def test_a_ball_scanned_with_tilted_gantry_comes_back_round_and_in_place(tmp_path, tilt_deg, tilted_frame):
    """The ball is computed at each pixel of the tilted series, so nothing but reading is tested."""
    tilt = np.radians(tilt_deg)
    if tilted_frame:  # a scanner's headers: the images lean, the table moves along z
        directions = np.array([(1, 0, 0), (0, np.cos(tilt), np.sin(tilt))])
        table = np.array([0, 0, 1.0])
    else:  # the same seen from the gantry
        directions, table = AXIAL, np.array([0, np.sin(tilt), np.cos(tilt)])
    start, pixel_mm, step_mm, n = np.array([-30.0, -35.0, 100.0]), (0.9, 0.8), 1.5, 44
    positions = start + np.arange(n)[:, None] * step_mm * table
    rows, columns = np.meshgrid(np.arange(80) * pixel_mm[0], np.arange(72) * pixel_mm[1], indexing="ij")
    within = rows[..., None] * directions[1] + columns[..., None] * directions[0]
    points = positions[:, None, None] + within
    centre, radius = points[n // 2, 38, 40] + 0.3, 17.0
    write_slices(
        ball(points, centre, radius), positions, tmp_path, directions=directions, pixel_spacing_mm=pixel_mm,
        gantry_tilt_deg=tilt_deg, plain_names=True,
    )  # fmt: skip
    back = read_volume(tmp_path)
    assert said(back, "gantry", f"{abs(tilt_deg):.1f} degrees")
    np.testing.assert_allclose(back.direction.T @ back.direction, np.eye(3), atol=1e-9)
    assert back.spacing_mm[2] == pytest.approx(step_mm * np.cos(tilt), abs=1e-4)
    assert back.hu.min() >= -1024
    assert back.hu.max() <= 40  # the cubic adds no rim of values that nobody measured
    found, found_radius, half_extents = measure_ball(back)
    np.testing.assert_allclose(found, centre, atol=0.1)
    assert found_radius == pytest.approx(radius, abs=0.1)
    np.testing.assert_allclose(half_extents, radius, atol=0.3)


@pytest.mark.parametrize("along", [(0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0)])
def test_tilt_with_uneven_and_missing_slices_keeps_the_ball_round(tmp_path, along):
    """Along any side of the image: the reader must not assume which way a scanner leans."""
    tilt, n = np.radians(15), 50
    distance = np.delete(np.arange(n) + np.random.default_rng(0).uniform(-0.2, 0.2, n), [12, 30])
    table = np.tan(tilt) * np.array(along) + (0, 0, 1)
    positions = np.array([-30.0, -35.0, 0]) - 25 * (table - (0, 0, 1)) + distance[:, None] * table
    rows, columns = np.meshgrid(np.arange(70.0), np.arange(60.0), indexing="ij")
    points = positions[:, None, None] + np.stack([columns, rows, 0 * rows], -1)
    centre = np.array([0.4, 0.2, 24.3])
    back = read_volume(write_slices(ball(points, centre, 18), positions, tmp_path))
    assert said(back, "gantry", "15.0 degrees")
    assert said(back, "missing")
    found, radius, half_extents = measure_ball(back)
    np.testing.assert_allclose(found, centre, atol=0.15)
    np.testing.assert_allclose([radius, *half_extents], 18, atol=0.3)


def test_a_written_tilted_series_shows_the_volume_it_was_made_from(tmp_path):
    grid = np.stack(np.meshgrid(np.arange(40.0), np.arange(60.0), np.arange(60.0), indexing="ij")[::-1], -1)
    volume = Volume(ball(grid, np.array([28.0, 31, 19]), 15).astype(np.int16))
    back = read_volume(write_series(volume, tmp_path, gantry_tilt_deg=18))
    centre, radius, half_extents = measure_ball(back)
    np.testing.assert_allclose(centre, (28, 31, 19), atol=0.1)
    np.testing.assert_allclose([radius, *half_extents], 15, atol=0.3)


def test_a_tilt_in_the_header_that_the_positions_deny_is_mentioned(tmp_path):
    write_series(head(), tmp_path)
    change(tmp_path, GantryDetectorTilt="17.5")
    assert said(read_volume(tmp_path), "17.5 degrees", "sheared")
