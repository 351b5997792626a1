"""Volumes as pictures: the bone seen from outside, and several at a glance."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from SkullGANLib.ct.render import rendered
from SkullGANLib.ct.views import HEIGHT, at_a_glance, three_views, write_views
from SkullGANLib.ct.volume import Volume


def blocks(shape, spacing_mm=(1.0, 1.0, 1.0), direction=None, **solid):
    """Air, with a block of bone between the corners given in voxels."""
    hu = np.full(shape, -1000, np.int16)
    for low, high in solid.values():
        hu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 1000
    return Volume(hu, spacing_mm, direction=np.eye(3) if direction is None else direction)


def test_a_ball_is_a_disc_of_its_radius_lit_from_the_viewers_side():
    z, y, x = np.indices((60, 60, 30)) - np.array([29.5, 29.5, 14.5])[:, None, None, None]
    distance = np.sqrt(z**2 + y**2 + (2 * x) ** 2)
    volume = Volume(np.clip(1000 - 500 * (distance - 20), -1000, 1000).astype(np.float32), (2.0, 1.0, 1.0))
    view = rendered(volume, threshold_hu=0, size=120)
    pixel_mm = 0.8 * np.linalg.norm([60, 60, 60]) / 119
    assert np.sqrt((view > 0).sum() / np.pi) * pixel_mm == pytest.approx(22, abs=0.6)  # 0 HU lies at 22 mm
    rows, columns = np.nonzero(view)
    assert abs(rows.mean() - 59.5) < 1
    assert abs(columns.mean() - 59.5) < 1
    assert view[60, 60] > 1.3 * view[60, columns[rows == 60].min() + 2]  # the rim looks aside


@pytest.mark.parametrize(("azimuth", "column"), [(0, "right"), (180, "left")])
def test_the_patients_left_lies_where_it_does_for_who_looks(azimuth, column):
    volume = blocks((40, 40, 40), left=((10, 10, 28), (20, 30, 38)))  # columns run to the patient's left, slices up
    view = rendered(volume, azimuth_deg=azimuth, elevation_deg=0, size=80)
    rows, columns = np.nonzero(view)
    assert (columns.mean() > 40) == (column == "right")
    assert rows.mean() > 40  # below the middle


def test_a_volume_stored_the_other_way_round_looks_the_same():
    volume = blocks((40, 44, 48), part=((5, 6, 7), (18, 20, 30)))
    flipped = Volume(
        np.ascontiguousarray(volume.hu[:, ::-1, ::-1]), (1.0, 1.0, 1.0), direction=np.diag([-1.0, -1.0, 1.0])
    )
    assert np.abs(rendered(volume, size=60).astype(int) - rendered(flipped, size=60)).max() <= 2


def test_nothing_of_bone_leaves_the_picture_black():
    assert not rendered(blocks((20, 20, 20)), size=40).any()


def test_rows_of_views_are_written_with_their_captions(tmp_path):
    volume = blocks((20, 30, 40), part=((5, 5, 5), (15, 25, 35)))
    image = at_a_glance(volume)
    assert image.shape == (HEIGHT, three_views(volume).shape[1] + HEIGHT)
    path = write_views(tmp_path / "views.png", {"one": [image], "two": [image, image]})
    written = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert written.shape[1] == 2 * image.shape[1]
    assert np.array_equal(written[:HEIGHT, : image.shape[1]], image)
