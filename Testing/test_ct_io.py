"""Volume files keep every value and every millimetre; what is no head CT is refused with advice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from scipy.spatial.transform import Rotation

from SkullGANLib.cli.main import skullgan
from SkullGANLib.ct.dicom_write import write_series
from SkullGANLib.ct.io import read_volume, write_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import FormatError, InputError, ResourceError

ENDINGS = [".nrrd", ".nii", ".nii.gz", ".mha"]


def head(shape=(10, 48, 40), dtype=np.int16, **geometry) -> Volume:
    """A ball of brain in a shell of bone, in air."""
    _, y, x = np.indices(shape)
    radius = np.hypot((y - shape[1] / 2) / shape[1], (x - shape[2] / 2) / shape[2])
    hu = np.full(shape, -1000.0) + np.random.default_rng(0).normal(0, 8, shape)
    hu[radius < 0.4] += 2400
    hu[radius < 0.34] -= 1360
    return Volume(hu.round().astype(dtype), **geometry)


def said(volume: Volume, *words: str) -> bool:
    return any(all(w in note for w in words) for note in volume.notes)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_file_gives_back_what_was_written(tmp_path, ending, dtype):
    direction = Rotation.from_euler("xyz", (10, -20, 35), degrees=True).as_matrix()
    volume = head(
        dtype=dtype, spacing_mm=(0.451171875, 0.5, 0.625), origin_mm=(-115.5, -1.85, 94.21), direction=direction
    )
    if dtype == np.float32:
        volume = volume.with_array(volume.hu + np.float32(0.37))
    path = write_volume(volume, tmp_path / "new folder" / f"head{ending}")
    back = read_volume(path)
    assert back.hu.dtype == dtype
    np.testing.assert_array_equal(back.hu, volume.hu)
    np.testing.assert_allclose(back.spacing_mm, volume.spacing_mm, atol=1e-5)
    np.testing.assert_allclose(back.origin_mm, volume.origin_mm, atol=1e-5)
    np.testing.assert_allclose(back.direction, volume.direction, atol=1e-5)
    assert [f.name for f in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_left_handed_volume_stays_left_handed(tmp_path, ending):
    volume = head(direction=np.diag([1.0, 1.0, -1.0]))
    back = read_volume(write_volume(volume, tmp_path / f"head{ending}"))
    np.testing.assert_array_equal(back.hu, volume.hu)
    np.testing.assert_allclose(back.index_to_lps, volume.index_to_lps, atol=1e-5)


def test_label_maps_keep_their_values_and_type(tmp_path):
    labels = Volume((head().hu > 300).astype(np.uint8))
    back = read_volume(write_volume(labels, tmp_path / "labels.nrrd"), labels=True)
    assert back.hu.dtype == np.uint8
    np.testing.assert_array_equal(back.hu, labels.hu)
    with pytest.raises(InputError, match="does not look like CT"):
        read_volume(tmp_path / "labels.nrrd")


@pytest.mark.parametrize("pixel_type", [sitk.sitkInt32, sitk.sitkFloat64])
def test_other_number_types_become_int16_or_float32_without_loss(tmp_path, pixel_type):
    volume = head()
    sitk.WriteImage(sitk.Cast(volume.to_sitk(), pixel_type), str(tmp_path / "head.nrrd"))
    back = read_volume(tmp_path / "head.nrrd")
    assert back.hu.dtype == (np.int16 if pixel_type == sitk.sitkInt32 else np.float32)
    np.testing.assert_array_equal(back.hu, volume.hu)


def test_a_file_that_exists_is_kept_when_writing_fails(tmp_path, monkeypatch):
    path = write_volume(head(), tmp_path / "head.nrrd")
    before = path.read_bytes()

    def fail(image, name, **options):
        Path(name).write_bytes(b"half")
        raise RuntimeError("disk full")

    monkeypatch.setattr(sitk, "WriteImage", fail)
    with pytest.raises(ResourceError, match="disk full"):
        write_volume(head(), path)
    assert path.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["head.nrrd"]


@pytest.mark.parametrize("name", ["head.png", "head", "head.nrrd.zip"])
def test_an_unknown_ending_is_not_written(tmp_path, name):
    with pytest.raises(InputError, match="cannot be written"):
        write_volume(head(), tmp_path / name)


def test_values_shifted_by_1024_are_noticed_and_the_offset_offered_is_right(tmp_path):
    volume = head()
    volume = volume.with_array(np.maximum(volume.hu, -1024))
    shifted = volume.with_array(volume.hu + np.int16(1024))
    path = write_volume(shifted, tmp_path / "head.nii.gz")
    assert said(read_volume(path), "shifted by 1024", "--hu-offset -1024")
    back = read_volume(path, hu_offset=-1024)
    assert not said(back, "shifted")
    assert back.hu.dtype == np.int16
    np.testing.assert_array_equal(back.hu, volume.hu)


def test_values_shifted_down_are_noticed_too(tmp_path):
    volume = head()
    path = write_volume(volume.with_array(volume.hu - np.int16(1024)), tmp_path / "head.nrrd")
    assert said(read_volume(path), "shifted by -1024", "--hu-offset 1024")
    assert not said(read_volume(path, hu_offset=1024), "shifted")


def test_right_hounsfield_units_raise_no_doubt(tmp_path):
    notes = read_volume(write_volume(head(), tmp_path / "head.nrrd")).notes
    assert len(notes) == 1
    assert "kernel is not known" in notes[0]


def test_clipped_values_and_coarse_voxels_are_said(tmp_path):
    volume = head(spacing_mm=(0.5, 0.5, 5.0))
    clipped = volume.hu.copy()
    clipped[:, 2:5, 2:5] = 3071
    back = read_volume(write_volume(volume.with_array(clipped), tmp_path / "head.mha"))
    assert said(back, "end at 3071 HU", "90 voxels")
    assert said(back, "coarse", "0.5 x 0.5 x 5 mm")


def test_a_crop_within_the_head_is_read_with_a_note(tmp_path):
    values = np.random.default_rng(0).normal(40, 30, (8, 20, 20)).round().astype(np.int16)
    values[:, 5:9] = 1500
    assert said(read_volume(write_volume(Volume(values), tmp_path / "crop.nrrd")), "no air")


def mr_like(rng) -> np.ndarray:
    values = np.abs(rng.normal(0, 12, (8, 40, 40)))
    values[:, 8:32, 8:32] = rng.uniform(200, 2400, (8, 24, 24))
    return values.astype(np.int16)


@pytest.mark.parametrize(
    "make",
    [
        mr_like,
        lambda rng: rng.integers(0, 256, (8, 40, 40)).astype(np.uint8),
        lambda rng: rng.uniform(0, 1, (8, 40, 40)).astype(np.float32),
        lambda rng: rng.uniform(-1, 1, (8, 40, 40)).astype(np.float32),
        lambda rng: np.zeros((8, 40, 40), np.int16),
    ],
    ids=["MR", "bytes", "0 to 1", "-1 to 1", "zeros"],
)
def test_values_that_are_no_hounsfield_units_are_refused(tmp_path, make):
    path = write_volume(Volume(make(np.random.default_rng(0))), tmp_path / "image.nrrd")
    with pytest.raises(InputError, match="does not look like CT in Hounsfield units") as caught:
        read_volume(path)
    assert "--hu-offset" in caught.value.advice


def test_values_that_are_no_numbers_are_counted(tmp_path):
    volume = head(dtype=np.float32)
    volume.hu[3, 4, :3] = np.nan, np.inf, -np.inf
    with pytest.raises(InputError, match="3 of 19200 voxels"):
        read_volume(write_volume(volume, tmp_path / "head.nrrd"))


def test_padding_in_a_file_becomes_air(tmp_path):
    volume = head()
    volume.hu[:, :4, :4] = -3024
    back = read_volume(write_volume(volume, tmp_path / "head.nrrd"))
    assert np.all(back.hu[:, :4, :4] == -1024)
    assert said(back, "-3024")


def test_four_dimensions_are_refused_but_a_single_time_point_is_not(tmp_path):
    image = head().to_sitk()
    sitk.WriteImage(sitk.JoinSeries([image, image]), str(tmp_path / "two.nii.gz"))
    with pytest.raises(InputError, match=r"4 dimensions \(40 x 48 x 10 x 2\)"):
        read_volume(tmp_path / "two.nii.gz")
    sitk.WriteImage(sitk.JoinSeries([image]), str(tmp_path / "one.nrrd"))
    np.testing.assert_array_equal(read_volume(tmp_path / "one.nrrd").hu, head().hu)


def test_colour_and_flat_images_are_refused(tmp_path):
    image = head().to_sitk()
    sitk.WriteImage(sitk.Compose(image, image, image), str(tmp_path / "colour.nrrd"))
    with pytest.raises(InputError, match="3 values in each voxel"):
        read_volume(tmp_path / "colour.nrrd")
    sitk.WriteImage(image[:, :, 0], str(tmp_path / "flat.nrrd"))
    sitk.WriteImage(image[:, :, :1], str(tmp_path / "slice.mha"))
    for name in ("flat.nrrd", "slice.mha"):
        with pytest.raises(InputError, match="single slice"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize("name", ["head.nrrd", "head.nii", "head.nii.gz", "head.mha"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.0])
def test_a_truncated_file_is_refused_not_filled_with_anything(tmp_path, name, kept):
    path = write_volume(head(), tmp_path / name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises((FormatError, InputError)) as caught:
        read_volume(path)
    assert name in caught.value.message
    assert caught.value.advice


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("scan.dcm", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(500), FormatError, "is not DICOM"),
        ("photo.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(500), InputError, "not a medical image"),
        ("notes.txt", b"hello", InputError, "not a medical image"),
        ("notes.nrrd", b"hello", FormatError, "cannot be read"),
        ("notes.nii.gz", b"hello", FormatError, "cannot be read"),
        ("empty", b"", InputError, "not a medical image"),
    ],
)
def test_what_is_no_medical_image_is_refused(tmp_path, name, content, error, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=words) as caught:
        read_volume(tmp_path / name)
    assert caught.value.advice


def test_a_folder_without_images_is_refused_and_says_why(tmp_path):
    with pytest.raises(InputError, match="is empty"):
        read_volume(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="holds no medical image"):
        read_volume(tmp_path)
    with pytest.raises(InputError, match="There is nothing at"):
        read_volume(tmp_path / "missing")


def test_a_folder_with_one_volume_is_that_volume_and_with_several_they_are_named(tmp_path):
    volume = head()
    write_volume(volume, tmp_path / "a.nrrd")
    np.testing.assert_array_equal(read_volume(tmp_path).hu, volume.hu)
    write_volume(volume, tmp_path / "b.nii.gz")
    with pytest.raises(InputError, match=r"2 volumes: a\.nrrd, b\.nii\.gz"):
        read_volume(tmp_path)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs users of a Unix system")
def test_what_may_not_be_read_is_said(tmp_path):
    path = write_volume(head(), tmp_path / "locked" / "head.nrrd")
    (path.parent / "scan").mkdir()
    for locked in (path, path.parent / "scan"):
        locked.chmod(0)
    root = os.geteuid() == 0
    for folder in (tmp_path, *tmp_path.parents):  # let the other user come as far as the lock
        if root and folder.stat().st_uid == 0 and str(folder).count("/") > 1:
            folder.chmod(folder.stat().st_mode | 0o011)
    if root:
        os.seteuid(65534)
    try:
        for locked in (path, path.parent / "scan"):
            with pytest.raises(InputError, match="may not be read"):
                read_volume(locked)
    finally:
        if root:
            os.seteuid(0)
        path.chmod(0o600)
        (path.parent / "scan").chmod(0o700)


def run(*arguments: object):
    return CliRunner().invoke(skullgan, ["info", *map(str, arguments)])


def test_info_prints_geometry_and_notes_in_words(tmp_path):
    write_volume(head(spacing_mm=(0.5, 0.5, 4.0)), tmp_path / "head.nrrd")
    shown = run(tmp_path / "head.nrrd")
    assert shown.exit_code == 0
    assert "40 x 48 pixels, 10 slices from feet to head" in shown.stdout
    assert "0.5 x 0.5 x 4 mm" in shown.stdout
    assert "coarse" in shown.stdout


def test_info_lists_series_chooses_one_and_speaks_json(tmp_path):
    write_series(head(), tmp_path / "a", series_number=4, kernel="BONE")
    write_series(head((6, 48, 40)), tmp_path / "b", series_number=7, kernel="SOFT")
    shown = run(tmp_path)
    assert "4: CT, 10 images of 48 x 40, kernel BONE" in shown.stdout
    assert "7: CT, 6 images of 48 x 40, kernel SOFT" in shown.stdout
    facts = json.loads(run(tmp_path, "--series", 7, "--hu-offset", 100, "--json").stdout)
    assert facts["size"] == {"columns": 40, "rows": 48, "slices": 6}
    assert facts["acquisition"]["kernel"] == "SOFT"
    assert [s["number"] for s in facts["series"]] == [4, 7]
    plain = json.loads(run(tmp_path, "--series", 7, "--json").stdout)
    assert facts["hu"]["median"] == plain["hu"]["median"] + 100


def test_info_lists_the_series_even_when_none_can_be_read(tmp_path):
    write_series(head(), tmp_path, modality="MR")
    shown = run(tmp_path)
    assert shown.exit_code == 1
    assert "1: MR, 10 images" in shown.stdout
    assert "Error: " in shown.stderr
    assert "modality is MR" in shown.stderr


def test_info_tells_what_a_segment_data_set_holds(tmp_path):
    from SkullGANLib.segments.dataset import SegmentDataset

    table = {
        "subject": np.array(["p1", "p1", "p2"]),
        "region": np.array(["parietal", "frontal", "parietal"]),
        "side": np.array(["left", "right", "right"]),
        "plane": np.array(["axial", "axial", "coronal"]),
    }
    hu = np.zeros((3, 128, 128), np.int16)
    hu[:, 10:30] = 1200
    SegmentDataset.create(tmp_path / "set", hu, table, kind="real")
    shown = run(tmp_path / "set")
    assert shown.exit_code == 0, shown.output
    assert "kind       real" in shown.stdout
    assert "segments   3 of 128 x 128" in shown.stdout
    assert "subjects   2" in shown.stdout
    assert "frontal 1, parietal 2" in shown.stdout
    facts = json.loads(run(tmp_path / "set", "--json").stdout)
    assert facts["counts"]["plane"] == {"axial": 2, "coronal": 1}
