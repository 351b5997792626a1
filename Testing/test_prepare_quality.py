"""What tells a suture and hanging bone from sound bone, on pieces drawn for it; the other reasons: test_prepare_run."""

from __future__ import annotations

import numpy as np
import pytest

from SkullGANLib.prepare.quality import OK, has_hole, judge

TOP, THICK = 12, 14


@pytest.fixture
def piece():
    """A level band of two tables and a diploe, as sampled and as a mask."""
    mask = np.zeros((128, 128), bool)
    mask[TOP : TOP + THICK] = True
    hu = np.full((128, 128), 40.0)
    hu[mask] = 700
    hu[TOP : TOP + 3] = hu[TOP + THICK - 3 : TOP + THICK] = 1700
    return hu, mask


def _verdict(hu, mask):
    return judge(hu, mask, np.ones_like(mask), 1.0, 5.0, 25.0, 6.0)


def test_a_sound_piece_is_kept(piece):
    assert _verdict(*piece) == OK


@pytest.mark.parametrize("slant", [0, 0.4, 0.7])
def test_a_suture_is_found_however_it_slants(piece, slant):
    hu, mask = piece
    for row in range(TOP, TOP + THICK):
        column = 60 + round(slant * (row - TOP))
        hu[row, column : column + 3] = 300
    assert has_hole(hu, mask)
    assert _verdict(hu, mask) == "suture or hole"


def test_a_dark_marrow_space_is_no_hole(piece):
    hu, mask = piece
    hu[TOP + 4 : TOP + THICK - 4, 50:62] = 200
    assert _verdict(hu, mask) == OK


def test_a_groove_in_one_table_alone_is_no_hole(piece):
    hu, mask = piece
    hu[TOP + THICK - 3 : TOP + THICK, 70:73] = 500
    assert _verdict(hu, mask) == OK


def test_bone_of_the_base_that_hangs_on_is_seen(piece):
    hu, mask = piece
    mask[TOP : TOP + 2 * THICK + 4, 100:108] = True
    hu[mask & (hu < 100)] = 1500
    assert _verdict(hu, mask) == "joined by other bone"
