"""Two real scans, where they are at hand: one of an anthropomorphic phantom in a holder, one of a patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.ct.io import read_volume
from SkullGANLib.prepare.run import prepare_volume
from SkullGANLib.prepare.skull import skull_mask
from SkullGANLib.segments.dataset import SegmentDataset

DATA = Path(__file__).parents[2] / "shared" / "data"
NAMES = ("philips-head-phantom-bone-1mm", "picker-head-neck-3mm")
IDENTIFYING = (
    *("PatientName", "PatientID", "PatientBirthDate", "OtherPatientIDs", "AccessionNumber", "InstitutionName"),
    *("ReferringPhysicianName", "StudyInstanceUID", "SeriesInstanceUID", "StudyDate"),
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real scans are not here (../shared/data)"),
]


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def volume(name):
    return read_volume(DATA / name)


@pytest.fixture(scope="module")
def prepared(volume):
    return prepare_volume(volume)


@pytest.fixture(scope="module")
def mask(volume, prepared):
    return skull_mask(volume, prepared.skull)


def test_more_than_100_segments_are_kept_of_both_bones_on_both_sides(prepared):
    assert prepared.kept.sum() > 100
    found = set(zip(prepared.table["region"][prepared.kept], prepared.table["side"][prepared.kept], strict=True))
    assert found == {(r, s) for r in ("temporal", "parietal") for s in ("left", "right")}


def test_the_left_of_the_patient_is_left(prepared):
    """Both lie on their backs, head first, little turned: left is towards positive LPS x."""
    table, middle = prepared.table, prepared.skull.frame.head_to_lps[0, 3]
    x = table["corner_x"] + 28.8 * table["right_x"]
    left = table["side"] == "left"
    assert (x[left] > middle - 15).all()  # the mid-plane of a turned head is not at one x
    assert (x[~left] < middle + 15).all()
    assert x[left].mean() - x[~left].mean() > 60
    assert np.abs(prepared.skull.frame.rotation_deg).max() < 20


def test_bone_is_as_thick_as_bone_is(prepared):
    for region in ("temporal", "parietal"):
        chosen = prepared.kept & (prepared.table["region"] == region)
        assert 3 < prepared.table["thickness_normal_mm"][chosen].mean() < 9


def test_segments_have_the_form_of_segments(prepared):
    kept = prepared.hu[prepared.kept]
    assert kept.min() == 0
    assert ((kept == 0).mean(axis=(1, 2)) > 0.6).all()
    assert (kept > 0).any(axis=1).all()
    assert np.isin(np.argmax((kept > 0).any(axis=2), axis=1), (10, 11, 12)).all()
    assert 500 < kept[kept > 0].mean() < 1500


def test_nothing_inside_or_around_the_head_is_taken_for_the_vault(volume, prepared, mask):
    """Plastic inserts lie in the phantom's cavity; a holder, a table and a neck around the heads."""
    frame, shell = prepared.skull.frame, prepared.skull.shell
    bone = np.argwhere(volume.hu > 300)
    points = frame.from_lps(volume.zyx_to_lps(bone))
    depth = shell.at(shell.outer_mm, points) - np.linalg.norm(points, axis=1)
    above = frame.normalised(points)[:, 2] > 0
    inserts, outside = bone[(depth > 25) & above], bone[(depth < -6) & above]
    assert not mask[tuple(inserts.T)].any()
    assert not mask[tuple(outside.T)].any()
    litres = mask.sum() * np.prod(volume.spacing_mm) / 1e6
    assert 0.1 < litres < 0.5


def test_nothing_of_the_patient_is_in_the_data_set(name, tmp_path):
    import pydicom

    result = CliRunner().invoke(skullgan, ["prepare", str(DATA / name), "--out", str(tmp_path / "set")])
    assert result.exit_code == 0, result.output
    assert len(SegmentDataset.open(tmp_path / "set", verify=True)) > 100
    header = pydicom.dcmread(next(p for p in sorted((DATA / name).iterdir()) if p.is_file()), stop_before_pixels=True)
    words = {str(header.get(k, "")) for k in IDENTIFYING} | set(str(header.get("PatientName", "")).split("^"))
    words = {w for w in words if len(w) > 3}
    assert words
    for file in (tmp_path / "set").rglob("*"):
        assert name not in file.name
        if file.is_file():
            held = file.read_bytes().lower()
            assert not [w for w in words if w.encode().lower() in held]
            assert name.encode() not in held
