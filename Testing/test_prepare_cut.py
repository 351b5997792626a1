"""Where segments are placed: level, of one bone and side, at the stated distances, on the bone's outer edge."""

from __future__ import annotations

import numpy as np
import pytest

from SkullGANLib.ct.anatomy import REGIONS
from SkullGANLib.prepare.cut import PIXEL_MM, PLANES, SIZE, find_placements

NORMALS = {"axial": (0, 0, 1), "coronal": (0, 1, 0), "sagittal": (1, 0, 0)}


@pytest.fixture(scope="module")
def skull(upright):
    return upright.prepared.skull


@pytest.fixture(scope="module")
def places(upright):
    return upright.prepared.placements


def test_every_segment_lies_in_its_plane(places):
    for place in places:
        points = place.points()
        assert points.shape == (SIZE, SIZE, 3)
        assert np.allclose(points @ np.array(NORMALS[place.plane]), place.position_mm, atol=1e-3)


def test_pixels_are_0_45_mm_squares(places):
    for place in places:
        points = place.points().astype(float)
        assert np.linalg.norm(points[0, 1] - points[0, 0]) == pytest.approx(0.45, abs=1e-4)
        assert np.linalg.norm(points[1, 0] - points[0, 0]) == pytest.approx(0.45, abs=1e-4)
        assert abs(place.right @ place.down) < 1e-6


def test_planes_are_3_1_mm_apart_and_all_directions_are_used(places):
    for plane in PLANES:
        positions = np.unique([p.position_mm for p in places if p.plane == plane])
        assert len(positions) > 10
        assert np.allclose(positions / 3.1, np.rint(positions / 3.1), atol=1e-6)


def test_the_outer_surface_is_up_and_the_outer_edge_lies_in_the_picture(skull, places):
    for place in places:
        points = place.points()
        assert (points[0, 64] - points[127, 64]) @ points[10, 64] > 0
        above = np.linalg.norm(points, axis=-1) > skull.shell.at(skull.shell.outer_mm, points)
        assert above[:10].all()


def test_regions_and_sides_are_the_true_ones(trial):
    table, kept = trial.prepared.table, trial.prepared.kept
    along = trial.along(trial.prepared)
    region = np.array([REGIONS.index(r) for r in table["region"][kept]])[:, None]
    side = table["side"][kept][:, None]
    assert ((trial.phantom.region(along) == region).mean(axis=1) > 0.5).mean() >= 0.99
    assert ((trial.phantom.side(along) == side).mean(axis=1) > 0.5).all()


def test_left_is_where_lps_says(upright):
    table = upright.prepared.table
    middle = [
        table[f"corner_{a}"] + 64 * PIXEL_MM * table[f"right_{a}"] + 20 * PIXEL_MM * table[f"down_{a}"] for a in "xyz"
    ]
    left = table["side"] == "left"
    assert (middle[0][left] > 0).all()
    assert (middle[0][~left] < 0).all()
    assert 0.4 < left.mean() < 0.6


def test_each_region_can_be_asked_for(skull):
    for region in REGIONS[1:]:
        found = find_placements(skull, regions=(region,))
        assert {p.region for p in found} == {region}
        assert {p.side for p in found} == {"left", "right"}
        assert min(p.region_share for p in found) >= 0.7


def test_one_plane_can_be_asked_for(skull):
    assert {p.plane for p in find_placements(skull, planes=("sagittal",))} == {"sagittal"}


def test_a_wider_interval_gives_fewer_segments_and_a_shorter_stride_more(skull, places):
    assert len(find_placements(skull, interval_mm=6.2)) == pytest.approx(len(places) / 2, rel=0.1)
    assert len(find_placements(skull, stride_mm=20)) > 1.3 * len(places)


def test_a_stricter_share_of_the_region_gives_only_such_segments(skull, places):
    strict = find_placements(skull, min_region_share=1.0)
    assert 0 < len(strict) < len(places)
    assert min(p.region_share for p in strict) > 0.999


def test_segments_of_one_bone_on_one_plane_do_not_overlap(places):
    groups = {}
    for place in places:
        groups.setdefault((place.plane, place.position_mm, place.region, place.side), []).append(place)
    several = [g for g in groups.values() if len(g) > 1]
    assert several
    middles = [[p.points()[12, 64] for p in group] for group in several]
    apart = [np.linalg.norm(a - b) for group in middles for i, a in enumerate(group) for b in group[:i]]
    assert min(apart) > 0.85 * SIZE * PIXEL_MM  # the chord of an arc of one width


def test_obliquity_is_the_angle_between_plane_and_bone(upright, places):
    for place in places[::15]:
        line = place.points()[12, ::8].astype(float)
        back = np.linalg.inv(upright.head.head_to_lps)
        true_frame = upright.prepared.skull.frame.to_lps(line) @ back[:3, :3].T + back[:3, 3]
        normal = upright.phantom.normals(true_frame)
        angle = np.rad2deg(np.arcsin(np.abs(normal @ np.array(NORMALS[place.plane])))).mean()
        assert place.obliquity_deg == pytest.approx(angle, abs=5)


def test_a_ring_around_the_capsule_lies_level(capsule):
    from SkullGANLib.prepare.skull import find_skull

    found = find_placements(find_skull(capsule(6.0, 1.5), head_to_lps=np.eye(4)), planes=("coronal",))
    near = [p for p in found if abs(p.position_mm) < 12]
    assert near
    for place in near:
        middle = place.points()[12, 63:65].mean(axis=0)
        outward = middle * (1, 0, 1) / np.linalg.norm(middle * (1, 0, 1))
        assert -place.down @ outward > 0.999  # a circle's piece lies level when its middle normal points up
        assert place.obliquity_deg < 2
        top = place.points()[10:12, 63:65].mean(axis=(0, 1)) * (1, 0, 1)
        assert np.linalg.norm(top) == pytest.approx(75, abs=0.5)
