"""From a volume to segments: what they look like, what is measured on them, and what is turned down and why."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import AT_1_MM
from pydantic import ValidationError
from scipy import ndimage

from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.radiological import measure_segments
from SkullGANLib.prepare import quality
from SkullGANLib.prepare.run import PrepareOptions, prepare_volume


def test_a_segment_is_128_pixels_of_int16_on_a_background_of_exactly_0(trial):
    prepared = trial.prepared
    assert prepared.hu.dtype == np.int16
    assert prepared.hu.shape == (len(prepared.placements), 128, 128)
    assert prepared.hu.min() == 0
    kept = prepared.hu[prepared.kept]
    assert len(kept) > 150
    assert ((kept == 0).mean(axis=(1, 2)) >= 0.6).all()


def test_kept_bone_spans_all_columns_from_row_10_or_11_down_in_one_piece(trial):
    for image in trial.prepared.hu[trial.prepared.kept]:
        bone = image > 0
        assert bone.any(axis=0).all()
        assert np.argmax(bone.any(axis=1)) in (10, 11)
        assert ndimage.label(bone)[1] == 1


def test_kept_bone_lies_level(trial):
    column = np.arange(128)
    for image in trial.prepared.hu[trial.prepared.kept]:
        outer = np.argmax(image > 0, axis=0)
        assert np.rad2deg(np.arctan(abs(np.polyfit(column, outer, 1)[0]))) < 5


def test_bone_has_the_values_of_bone(trial):
    kept = trial.prepared.hu[trial.prepared.kept]
    assert 600 < kept[kept > 0].mean() < 1500
    assert kept.max() < 3000


def test_thickness_is_the_true_one(trial):
    table, kept = trial.prepared.table, trial.prepared.kept
    along = trial.along(trial.prepared)
    error_mm = table["thickness_normal_mm"][kept] - trial.phantom.thickness_mm(along).mean(axis=1)
    assert abs(error_mm.mean()) <= 0.3
    free = trial.phantom.free(along).all(axis=1)  # elsewhere ridges of the base stand on the bone
    assert free.sum() > 150
    assert np.abs(error_mm[free]).max() < 1.2


def test_the_density_ratio_is_the_true_one(trial):
    chosen = np.flatnonzero(trial.prepared.kept)[::4]
    truth = trial.phantom.sdr(trial.along(trial.prepared, 16)[::4].reshape(-1, 3)).mean()
    assert trial.prepared.table["sdr"][chosen].mean() == pytest.approx(truth, abs=0.05)


def test_the_table_repeats_what_is_measured_on_the_segments(upright):
    figures = measure_segments(upright.prepared.hu)
    for name in ("sdr", "thickness_mm", "intensity_hu"):
        assert np.allclose(upright.prepared.table[name], figures[name], atol=1e-3, equal_nan=True)


def test_a_segment_holds_the_values_of_the_scan_at_the_place_the_table_names(coarse):
    prepared = prepare_volume(coarse.volume, PrepareOptions(interpolation="linear"))
    table, row, column = prepared.table, *np.mgrid[:128, :128]
    for i in range(0, len(prepared.hu), 9):
        lps = np.stack(
            [
                table[f"corner_{a}"][i] + 0.45 * (column * table[f"right_{a}"][i] + row * table[f"down_{a}"][i])
                for a in "xyz"
            ],
            axis=-1,
        )
        zyx = np.moveaxis(coarse.volume.lps_to_zyx(lps), -1, 0)
        expected = ndimage.map_coordinates(coarse.volume.hu, zyx, order=1, output=np.float32, mode="nearest")
        bone = prepared.hu[i] > 0
        assert np.abs(prepared.hu[i][bone] - expected[bone]).max() <= 3


@pytest.mark.parametrize(
    ("order", "flips"),
    [pytest.param((2, 1, 0), (), marks=pytest.mark.slow), ((1, 0, 2), (0, 1, 2))],
    ids=["sagittal", "coronal, flipped"],
)
def test_slice_order_and_flipped_axes_change_nothing(coarse, order, flips):
    straight, stored = coarse.prepared, prepare_volume(_stored_otherwise(coarse.volume, order, flips))
    assert len(stored.hu) == len(straight.hu)
    # A piece may move by a step of its arc where rounding decides between two places.
    corners = [np.stack([p.table[f"corner_{a}"] for a in "xyz"], axis=1) for p in (straight, stored)]
    near = np.abs(corners[0] - corners[1]).max(axis=1) < 0.05
    assert near.mean() > 0.97
    assert np.abs(corners[0] - corners[1]).max() < 2
    assert (straight.table["quality"] == stored.table["quality"]).mean() > 0.98
    assert np.abs(straight.hu[near].astype(int) - stored.hu[near])[straight.hu[near] > 0].mean() < 3


def _stored_otherwise(volume: Volume, order: tuple[int, ...], flips: tuple[int, ...]) -> Volume:
    """The same scan with its array axes in another order and some of them reversed."""
    hu, axes = volume.hu.transpose(order), [2 - o for o in order][::-1]
    spacing, direction = np.array(volume.spacing_mm)[axes], volume.direction[:, axes].copy()
    origin = np.array(volume.origin_mm)
    for axis in flips:
        hu, k = np.flip(hu, axis), 2 - axis
        origin = origin + direction[:, k] * spacing[k] * (hu.shape[axis] - 1)
        direction[:, k] *= -1
    return Volume(np.ascontiguousarray(hu), tuple(spacing), tuple(origin), direction)


@pytest.fixture(scope="module")
def damaged(upright):
    """Holes of 4 and 8 mm and a bubble in the left parietal bone, a metal ball in the right one; where they are, mm.

    The holes are drilled along the normal and filled with soft tissue.
    """
    hu = upright.volume.hu.copy()
    z, y, x = np.indices(hu.shape, dtype=np.float32)
    index_to_lps = upright.volume.index_to_lps.astype(np.float32)
    lps = np.stack([x, y, z], -1) @ index_to_lps[:3, :3].T + index_to_lps[:3, 3]  # upright: LPS is the head frame
    places = {}
    for name, direction, radius_mm, depth_mm, value in (
        ("hole", (0.8, 0.35, 0.6), 2, 6, 40),
        ("burr hole", (0.15, -0.1, 1), 4, 6, 40),
        ("bubble", (0.55, 0.5, 0.65), 2.5, 4, -900),
        ("metal", (-0.8, 0.1, 0.6), 2.5, 3, 8000),
    ):
        unit = np.array(direction) / np.linalg.norm(direction)
        surface = unit * float(upright.phantom.outer_radius(unit[None])[0])
        normal = upright.phantom.normals(unit[None])[0]
        places[name] = surface
        along = (lps - surface) @ normal
        beside = np.linalg.norm(lps - surface - along[..., None] * normal, axis=-1)
        drilled = (beside < radius_mm) & (np.abs(along + depth_mm) < 9)
        ball = np.hypot(beside, along + depth_mm) < radius_mm
        hu[drilled if "hole" in name else ball] = value
    return prepare_volume(upright.volume.with_array(hu)), places


def _through(prepared, place_mm: np.ndarray, within_mm: float) -> set[str]:
    """Quality of the pieces that pass a place well inside their width, but for those cut obliquely."""
    found = set()
    for placement, name in zip(prepared.placements, prepared.table["quality"], strict=True):
        points = prepared.skull.frame.to_lps(placement.points()[:60, 12:-12].astype(float))
        if np.linalg.norm(points - place_mm, axis=-1).min() < within_mm:
            found.add(str(name))
    return found - {"cut obliquely"}


@pytest.mark.parametrize(("name", "radius_mm"), [("hole", 1.5), ("burr hole", 3)])
def test_nothing_that_crosses_a_drilled_hole_is_kept(damaged, upright, name, radius_mm):
    prepared, places = damaged
    assert "ok" in _through(upright.prepared, places[name], radius_mm)
    assert _through(prepared, places[name], radius_mm) <= {"suture or hole", "air cells or a gap", "edges unclear"}


def test_air_in_the_bone_is_not_kept(damaged):
    prepared, places = damaged
    assert _through(prepared, places["bubble"], 1.5) == {"air cells or a gap"}


def test_metal_in_the_bone_is_not_kept(damaged):
    prepared, places = damaged
    assert _through(prepared, places["metal"], 1.5) == {"metal"}


def test_the_rest_of_a_damaged_skull_is_kept(damaged, upright):
    assert damaged[0].kept.sum() > 0.8 * upright.prepared.kept.sum()


def test_oblique_cuts_are_not_kept_unless_asked_for(coarse):
    angle, names = coarse.prepared.table["obliquity_deg"], coarse.prepared.table["quality"]
    assert (names[angle > 25] != "ok").all()
    assert "cut obliquely" in names
    assert angle[coarse.prepared.kept].max() <= 25
    free = prepare_volume(coarse.volume, PrepareOptions(planes=("sagittal",), max_obliquity_deg=60))
    assert free.table["obliquity_deg"][free.kept].max() > 25


@pytest.mark.parametrize(
    ("cut", "fewest"),
    [
        (np.s_[:-20], 60),  # the vertex
        (np.s_[45:], 60),  # all below the ear canals
        pytest.param(np.s_[:, :, 30:], 40, marks=pytest.mark.slow),  # the right side
    ],
    ids=["vertex", "base", "right side"],
)
def test_a_scan_that_ends_inside_the_head_gives_what_it_shows(coarse, cut, fewest):
    first = [s.start or 0 for s in (cut if isinstance(cut, tuple) else (cut,))] + [0, 0]
    volume = coarse.volume
    origin = volume.zyx_to_lps(np.array(first[:3]))
    part = Volume(np.ascontiguousarray(volume.hu[cut]), volume.spacing_mm, tuple(origin), volume.direction)
    prepared = prepare_volume(part)
    assert prepared.kept.sum() >= fewest
    assert "outside the field of view" in prepared.table["quality"]
    assert coarse.frame_error(prepared.skull.frame)[0] <= 4
    for place, kept in zip(prepared.placements, prepared.kept, strict=True):
        if kept:
            edge = part.lps_to_zyx(prepared.skull.frame.to_lps(place.points()[12:20, ::16]))
            assert (edge > -1.5).all()
            assert (edge < np.array(part.shape) + 0.5).all()
    along = coarse.along(prepared)
    truth_mm = coarse.phantom.thickness_mm(along).mean(axis=1)
    assert np.mean(prepared.table["thickness_normal_mm"][prepared.kept] - truth_mm) == pytest.approx(0, abs=0.5)


@pytest.mark.slow
def test_a_wall_of_known_thickness_is_measured_so(capsule):
    prepared = prepare_volume(capsule(6.0, 1.2), head_to_lps=np.eye(4))
    assert prepared.kept.sum() > 100
    shell = prepared.skull.shell
    x, y, z = np.moveaxis(shell.grid.directions(), -1, 0)
    square = shell.trusted & (np.abs(y) < 0.1) & (z > 0.3)  # there rays and normals are the same
    for values, truth_mm in ((shell.outer_mm, 75), (shell.inner_mm, 69)):
        error_mm = (values * np.hypot(x, z))[square] - truth_mm
        assert abs(error_mm.mean()) < 0.1
        assert np.abs(error_mm).max() < 0.4  # a third of a voxel
    straight = prepared.kept & (prepared.table["obliquity_deg"] < 8)
    # Half of the peak on a mask that ends at the edge reads up to half a pixel short where bone has no tables.
    assert prepared.table["thickness_normal_mm"][straight].mean() == pytest.approx(6.0, abs=0.3)
    assert prepared.table["thickness_normal_mm"][straight].std() < 0.15


@pytest.mark.slow
def test_a_paper_thin_wall_is_not_kept(capsule):
    prepared = prepare_volume(capsule(1.1, 1.0, wall_hu=2500.0), head_to_lps=np.eye(4))
    assert not prepared.kept.any()
    assert "too thin" in prepared.table["quality"]
    assert "No segment could be kept" in prepared.notes[-1]


def test_slices_of_3_mm_serve_and_are_remarked_on(make_trial):
    thick = make_trial(4, shape=(56, 200, 190), spacing_mm=(1.0, 1.0, 3.0), table=False)
    assert any("2 mm" in note for note in thick.prepared.notes)
    assert thick.prepared.kept.sum() > 100
    assert thick.frame_error(thick.prepared.skull.frame)[0] <= 3
    table, kept = thick.prepared.table, thick.prepared.kept
    truth_mm = thick.phantom.thickness_mm(thick.along(thick.prepared)).mean(axis=1)
    assert np.mean(table["thickness_normal_mm"][kept] - truth_mm) == pytest.approx(0, abs=0.6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "scan",
    [
        {"shape": (256, 400, 400), "spacing_mm": (0.5, 0.5, 0.625)},
        {"shape": (120, 200, 300), "spacing_mm": (0.7, 1.1, 1.5)},
    ],
    ids=["fine", "anisotropic"],
)
def test_any_usual_sampling_gives_the_true_thickness(make_trial, scan):
    trial = make_trial(6, **scan)
    table, kept = trial.prepared.table, trial.prepared.kept
    along = trial.along(trial.prepared)
    assert trial.dice(trial.mask) >= 0.97
    assert kept.sum() > 120
    assert np.mean(table["thickness_normal_mm"][kept] - trial.phantom.thickness_mm(along).mean(axis=1)) < 0.3


@pytest.mark.slow
def test_a_scan_of_1_mm_without_a_table_gives_the_same_as_with_one(make_trial, upright):
    bare = make_trial(2, table=False, **AT_1_MM)
    assert bare.prepared.kept.sum() == pytest.approx(upright.prepared.kept.sum(), abs=5)
    assert bare.dice(bare.mask) == pytest.approx(upright.dice(upright.mask), abs=0.002)


def test_the_subject_is_named_after_the_content_unless_given(coarse):
    named = prepare_volume(coarse.volume, PrepareOptions(planes=("axial",), regions=("parietal",)), subject="anna")
    content = coarse.prepared.source["sha256"]
    assert set(named.table["subject"]) == {"anna"}
    assert set(coarse.prepared.table["subject"]) == {f"s-{content[:8]}"}
    assert set(named.table["volume"]) == set(coarse.prepared.table["volume"]) == {f"v-{content[:8]}"}


def test_values_that_are_no_numbers_are_refused(coarse):
    hu = coarse.volume.hu.astype(np.float32)
    hu[50, 60, 20:22] = np.nan
    with pytest.raises(InputError, match=r"2 of .* no number"):
        prepare_volume(coarse.volume.with_array(hu))


def test_an_unknown_region_or_plane_is_refused():
    for fields in ({"regions": ("jaw",)}, {"planes": ("oblique",)}, {"interval_mm": 0}, {"min_region_share": 0.4}):
        with pytest.raises(ValidationError):
            PrepareOptions(**fields)


def bowed(thickness_px=14, sag=0.003):
    """HU and mask of a plain bowed bone."""
    row, column = np.mgrid[:128, :128]
    depth = row - 11 - sag * (column - 64) ** 2
    mask = (depth >= 0) & (depth < thickness_px)
    return np.where(mask, 1200.0, 0.0), mask


def judged(hu, mask, **other):
    facts = {"shown": np.ones_like(mask), "trusted_share": 1.0, "obliquity_deg": 5.0, "thickness_mm": 6.0} | other
    return quality.judge(
        hu, mask, facts["shown"], facts["trusted_share"], facts["obliquity_deg"], 25.0, facts["thickness_mm"]
    )


def _hole():
    hu, mask = bowed()
    hu[:, 60:66] = np.where(mask[:, 60:66], 300, 0)
    return hu, mask


def _gap():
    hu, mask = bowed()
    mask[:, 60:64] = False
    return hu, mask


def _with(value, part):
    hu, mask = bowed()
    hu[part] = value
    return hu, mask


def _hidden():
    _, mask = bowed()
    shown = np.ones_like(mask)
    shown[:, :20] = False
    return shown


def _jagged():
    _, mask = bowed()
    mask[:, 64:] = np.roll(mask[:, 64:], 6, axis=0)
    return np.where(mask, 1200.0, 0.0), mask


@pytest.mark.parametrize(
    ("piece", "other", "verdict"),
    [
        (bowed(), {}, "ok"),
        (_hole(), {}, "suture or hole"),
        (_gap(), {}, "does not span the width"),
        (_with(-500, np.s_[16:20, 40:46]), {}, "air cells or a gap"),
        (_with(3500, np.s_[16:18, 40:42]), {}, "metal"),
        (_with(3500, np.s_[16:17, 40:41]), {}, "ok"),  # a single voxel is noise
        (bowed(sag=0.02), {}, "too curved"),
        (bowed(), {"shown": _hidden()}, "outside the field of view"),
        (bowed(), {"obliquity_deg": 26.0}, "cut obliquely"),
        (bowed(), {"thickness_mm": 1.4}, "too thin"),
        (bowed(), {"thickness_mm": np.nan}, "too thin"),
        (bowed(), {"trusted_share": 0.8}, "edges unclear"),
        (_jagged(), {}, "edges unclear"),
    ],
)
def test_each_reason_is_given_for_what_it_says(piece, other, verdict):
    assert judged(*piece, **other) == verdict


def test_only_the_largest_piece_of_bone_is_kept():
    _, mask = bowed()
    other = mask.copy()
    other[100:110, 50:60] = True
    assert np.array_equal(quality.largest_piece(other), mask)
    assert np.array_equal(quality.largest_piece(mask), mask)
