import cv2
import numpy as np
import pytest

from SkullGANLib.errors import InputError
from SkullGANLib.segments.sheet import contact_sheet, write_png


def test_tiles_lie_in_rows_in_their_order():
    hu = np.stack([np.full((8, 8), value) for value in (0, 1350, 2700)])
    sheet = contact_sheet(hu, columns=2, border=1, window_hu=(0, 2700))
    assert sheet.shape == (19, 19)
    assert (sheet[5, 5], sheet[5, 14], sheet[14, 5]) == (0, 128, 255)
    assert sheet[14, 14] == sheet[0, 0] == 40


def test_values_beyond_the_window_are_clipped_and_nan_is_black():
    hu = np.array([[[-1000.0, 9000.0], [np.nan, 500.0]]])
    tile = contact_sheet(hu, border=0, window_hu=(0, 1000))
    assert tile.tolist() == [[0, 255], [0, 128]]


def test_scaling_repeats_pixels():
    hu = np.array([[[0, 2700], [2700, 0]]])
    assert contact_sheet(hu, scale=3, border=0)[0].tolist() == [0] * 3 + [255] * 3


def test_titles_are_written_above_and_stay_within_their_tile():
    hu = np.zeros((2, 64, 64))
    sheet = contact_sheet(hu, titles=["a", "a title much too wide for its tile"], border=2)
    assert sheet[2:18, 2:66].max() > 150
    assert (sheet[:18, 66:68] == 40).all()
    assert (sheet[:, -2:] == 40).all()
    assert sheet[18:82, 2:66].max() == 0


def test_letters_with_accents_are_written_without_them():
    accented, plain = (contact_sheet(np.zeros((1, 64, 64)), titles=[title]) for title in ("Schläfe é", "Schlafe e"))
    np.testing.assert_array_equal(accented, plain)


def test_colour_tiles_give_a_colour_sheet_that_png_keeps(tmp_path):
    tiles = np.zeros((1, 8, 8, 3), np.uint8)
    tiles[..., 0] = 200
    path = write_png(tmp_path / "ä" / "sheet.png", contact_sheet(tiles, border=0))
    blue_green_red = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    assert blue_green_red[4, 4].tolist() == [0, 0, 200]


def test_a_grey_png_comes_back_exactly(tmp_path):
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = write_png(tmp_path / "a.png", image)
    np.testing.assert_array_equal(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED), image)


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(InputError, match="no segments"):
        contact_sheet(np.zeros((0, 8, 8)))
    with pytest.raises(InputError, match="1 titles for 2"):
        contact_sheet(np.zeros((2, 8, 8)), titles=["a"])
    with pytest.raises(InputError, match="window"):
        contact_sheet(np.zeros((2, 8, 8)), window_hu=(10, 10))
    with pytest.raises(InputError, match="float64"):
        write_png(tmp_path / "a.png", np.zeros((8, 8)))
