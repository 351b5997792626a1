"""DICOM series with known content come back where they were, whatever their scanner did to the slices."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from SkullGANLib.ct.dicom import list_series
from SkullGANLib.ct.dicom_write import write_series, write_slices
from SkullGANLib.ct.io import read_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import FormatError, InputError, ResourceError

REAL = Path(__file__).parents[2] / "shared" / "data"


def head(slices=12, rows=20, columns=24, seed=0, **geometry) -> Volume:
    """Random tissue in air."""
    hu = np.full((slices, rows, columns), -1000, np.int16)
    hu[:, 4:-4, 4:-4] = np.random.default_rng(seed).integers(-100, 1900, (slices, rows - 8, columns - 8))
    geometry.setdefault("spacing_mm", (0.5, 0.6, 1.25))
    return Volume(hu, origin_mm=(-10.0, 5.5, 30.0), **geometry)


def ramp(slices=12, **geometry) -> Volume:
    """HU that rise by 40 per slice, so that interpolated slices have known values."""
    hu = np.broadcast_to(np.arange(slices)[:, None, None] * 40 - 300, (slices, 16, 16)).astype(np.int16)
    return Volume(hu.copy(), spacing_mm=(1.0, 1.0, 2.0), **geometry)


def said(volume: Volume, *words: str) -> bool:
    return any(all(w in note for w in words) for note in volume.notes)


def change(folder: Path, **values) -> None:
    """Overwrite header values in all files."""
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        for keyword, value in values.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(file)


def test_a_series_in_any_order_without_endings_comes_back_exactly(tmp_path):
    volume = head()
    write_series(volume, tmp_path / "a" / "b", plain_names=True, kernel="H60", slice_thickness_mm=5.0)
    (tmp_path / "a" / "readme.txt").write_text("not DICOM")
    names = [f.name for f in (tmp_path / "a" / "b").iterdir()]
    assert all("." not in name for name in names)
    back = read_volume(tmp_path)
    assert back.hu.dtype == np.int16
    np.testing.assert_array_equal(back.hu, volume.hu)
    np.testing.assert_allclose(back.spacing_mm, volume.spacing_mm, atol=1e-9)
    np.testing.assert_allclose(back.origin_mm, volume.origin_mm, atol=1e-9)
    np.testing.assert_allclose(back.direction, np.eye(3), atol=1e-9)
    assert back.acquisition["kernel"] == "H60"
    assert back.acquisition["slice_thickness_mm"] == 5.0
    assert back.notes == ()


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_slices_in_any_plane_come_back_where_they_were(tmp_path, axes):
    direction = np.eye(3)[:, axes]
    direction[:, 2] = np.cross(direction[:, 0], direction[:, 1])
    volume = head(direction=direction)
    write_series(volume, tmp_path, plain_names=True)
    back = read_volume(tmp_path)
    np.testing.assert_array_equal(back.hu, volume.hu)
    np.testing.assert_allclose(back.index_to_lps, volume.index_to_lps, atol=1e-6)


def test_slices_written_from_head_to_feet_are_turned_not_mirrored(tmp_path):
    volume = head()
    positions = np.array(volume.origin_mm) - np.arange(12)[:, None] * (0, 0, 1.25)
    write_slices(volume.hu, positions, tmp_path, pixel_spacing_mm=(0.6, 0.5))
    back = read_volume(tmp_path)
    np.testing.assert_array_equal(back.hu, volume.hu[::-1])
    assert back.origin_mm[2] == pytest.approx(30 - 11 * 1.25)
    assert np.linalg.det(back.direction) == pytest.approx(1)


def test_series_are_listed_and_the_longest_ct_is_read_unless_another_is_chosen(tmp_path):
    short, long_one = head(6, seed=1), head(9, seed=2)
    write_series(short, tmp_path / "a", series_number=203, series_uid="1.2.3.77", kernel="B")
    write_series(long_one, tmp_path / "b", series_number=204, series_uid="1.2.3.88")
    write_series(head(20), tmp_path / "c", series_number=205, modality="MR")
    write_series(head(30), tmp_path / "d", series_number=1, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    listed = list_series(tmp_path)
    assert [s.number for s in listed] == [1, 203, 204, 205]
    assert [bool(s.problem) for s in listed] == [True, False, False, True]
    default = read_volume(tmp_path)
    np.testing.assert_array_equal(default.hu, long_one.hu)
    assert said(default, "2 CT series", "204", "--series: 203")
    for wanted in ("203", "1.2.3.7"):
        np.testing.assert_array_equal(read_volume(tmp_path, series=wanted).hu, short.hu)
    with pytest.raises(InputError, match="modality is MR"):
        read_volume(tmp_path, series="205")
    with pytest.raises(InputError, match="No series is called '9'"):
        read_volume(tmp_path, series="9")
    with pytest.raises(InputError, match="2 series are called"):
        read_volume(tmp_path, series="1.2.3")


def test_a_scout_within_the_series_is_set_apart(tmp_path):
    volume = head()
    write_series(volume, tmp_path / "scan", series_uid="1.2.3.4")
    scout = head(2, 40, 40, direction=np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]))
    write_series(scout, tmp_path / "scout", series_uid="1.2.3.4", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    listed = list_series(tmp_path)
    assert sorted((s.n_slices, bool(s.problem)) for s in listed) == [(2, True), (12, False)]
    assert len({s.number for s in listed}) == 2
    np.testing.assert_array_equal(read_volume(tmp_path, series="1.2.3.4").hu, volume.hu)


def test_two_kernels_under_one_series_are_two_series(tmp_path):
    write_series(head(seed=1), tmp_path / "a", series_uid="1.2.3.4", kernel="SOFT")
    write_series(head(seed=2), tmp_path / "b", series_uid="1.2.3.4", kernel="BONE")
    assert sorted(s.kernel for s in list_series(tmp_path)) == ["BONE", "SOFT"]


def test_where_two_acquisitions_overlap_the_first_is_kept_and_it_is_said(tmp_path):
    first, second = head(seed=1), head(seed=2)
    write_series(second, tmp_path / "a", series_uid="1.2.3.4", acquisition_number=2)
    write_series(first, tmp_path / "b", series_uid="1.2.3.4", acquisition_number=1)
    back = read_volume(tmp_path)
    np.testing.assert_array_equal(back.hu, first.hu)
    assert said(back, "12 images lie where another already is")


@pytest.mark.parametrize("named_in_header", [True, False])
def test_padding_outside_the_field_of_view_becomes_air(tmp_path, named_in_header):
    volume = head(20, 40, 40)
    padded = volume.hu.copy()
    padded[:, :3, :3] = -2000
    padded[5, 20, 20] = -1500  # a streak beside metal, not padding
    if named_in_header:  # too few to tell without the header
        padded[1:, :3, :3] = -1000
    write_series(volume.with_array(padded), tmp_path, padding_value=-976 if named_in_header else None)
    back = read_volume(tmp_path)
    np.testing.assert_array_equal(back.hu, np.where(padded == -2000, -1024, padded))
    assert said(back, "Outside the field of view", "-2000")


def test_a_padding_value_that_tissue_has_too_is_left_alone(tmp_path):
    volume = head()
    write_series(volume, tmp_path, padding_value=int(volume.hu[3, 9, 9]) + 1024)
    np.testing.assert_array_equal(read_volume(tmp_path).hu, volume.hu)


def test_each_slice_is_rescaled_by_its_own_slope_and_fractions_survive(tmp_path):
    volume = head(4)
    write_series(volume, tmp_path / "a", series_uid="1.2.3.4", slope=0.5, slice_positions_mm=[0, 1.25])
    write_series(volume, tmp_path / "b", series_uid="1.2.3.4", slope=1, intercept=0, slice_positions_mm=[2.5, 3.75])
    back = read_volume(tmp_path)
    assert back.hu.dtype == np.float32
    np.testing.assert_array_equal(back.hu, volume.hu)
    change(tmp_path / "a", RescaleSlope="0.25")
    np.testing.assert_allclose(read_volume(tmp_path).hu[0], (volume.hu[0] + 1024.0) / 2 - 1024)


def test_lossless_jpeg_as_archives_send_it_is_unpacked(tmp_path):
    volume = head()
    write_series(volume, tmp_path / "plain")
    (tmp_path / "packed").mkdir()
    for file in (tmp_path / "plain").iterdir():
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(file))
        reader.SetImageIO("GDCMImageIO")
        reader.LoadPrivateTagsOn()
        image = sitk.Cast(reader.Execute(), sitk.sitkInt16)
        for key in reader.GetMetaDataKeys():
            image.SetMetaData(key, reader.GetMetaData(key))
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(tmp_path / "packed" / file.name))
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.Execute(image)
    packed = pydicom.dcmread(next((tmp_path / "packed").iterdir()))
    assert packed.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    np.testing.assert_array_equal(read_volume(tmp_path / "packed").hu, volume.hu)


def test_compression_that_cannot_be_unpacked_is_named(tmp_path):
    from pydicom.encaps import encapsulate

    write_series(head(), tmp_path)
    for file in tmp_path.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.80"
        dataset.PixelData = encapsulate([b"nonsense"])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(file)
    with pytest.raises(ResourceError, match="JPEG-LS Lossless") as caught:
        read_volume(tmp_path)
    assert "uncompressed" in caught.value.advice


def multiframe(path: Path, volume: Volume, with_groups=True) -> None:
    """An enhanced CT file."""
    write_series(volume, path.parent / "single", slice_positions_mm=[0])
    dataset = pydicom.dcmread(next((path.parent / "single").iterdir()))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        del dataset[keyword]
    dataset.NumberOfFrames = len(volume.hu)
    dataset.PixelData = (volume.hu + 1024).astype("<i2").tobytes()

    def group(**values) -> Sequence:
        item = Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        return Sequence([item])

    shared = Dataset()
    shared.PixelMeasuresSequence = group(PixelSpacing=[0.6, 0.5], SliceThickness="9")
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.PixelValueTransformationSequence = group(RescaleSlope="1", RescaleIntercept="-1024")
    shared.CTReconstructionSequence = group(ConvolutionKernel="FC30")
    frames = []
    for k in range(len(volume.hu)):
        frame = Dataset()
        frame.PlanePositionSequence = group(ImagePositionPatient=[-10, 5.5, 30 + 1.25 * k])
        frames.append(frame)
    if with_groups:
        dataset.SharedFunctionalGroupsSequence = Sequence([shared])
        dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.save_as(path)


def test_an_enhanced_multi_frame_file_is_read(tmp_path):
    volume = head()
    multiframe(tmp_path / "enhanced.dcm", volume)
    back = read_volume(tmp_path / "enhanced.dcm")
    np.testing.assert_array_equal(back.hu, volume.hu)
    np.testing.assert_allclose(back.index_to_lps, volume.index_to_lps)
    assert back.acquisition["kernel"] == "FC30"


def test_a_multi_frame_file_without_positions_is_refused(tmp_path):
    multiframe(tmp_path / "picture.dcm", head(), with_groups=False)
    with pytest.raises(InputError, match="where the slices lie"):
        read_volume(tmp_path / "picture.dcm")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"Modality": "MR"}, "modality is MR"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"ImagePositionPatient": None}, "where the slices lie"),
        ({"ImageOrientationPatient": None}, "where the slices lie"),
        ({"ImagePositionPatient": [0, 0, 0]}, "one position"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "pictures for viewing"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "scout"),
    ],
)
def test_what_is_no_ct_volume_is_refused_with_the_reason(tmp_path, values, words):
    write_series(head(3), tmp_path)
    change(tmp_path, **values)
    with pytest.raises(InputError, match=words) as caught:
        read_volume(tmp_path)
    assert caught.value.advice


def test_a_single_slice_is_refused_as_folder_and_as_file(tmp_path):
    write_series(head(), tmp_path, slice_positions_mm=[0])
    for path in (tmp_path, next(tmp_path.iterdir())):
        with pytest.raises(InputError, match="single slice"):
            read_volume(path)


def test_a_truncated_slice_is_named(tmp_path):
    write_series(head(), tmp_path)
    bad = tmp_path / "slice_0005.dcm"
    bad.write_bytes(bad.read_bytes()[:-200])
    with pytest.raises(FormatError, match=r"slice_0005\.dcm"):
        read_volume(tmp_path)


def test_a_slice_cut_within_its_header_is_left_out_and_said(tmp_path):
    volume = ramp()
    write_series(volume, tmp_path)
    bad = tmp_path / "slice_0005.dcm"
    bad.write_bytes(bad.read_bytes()[:420])
    back = read_volume(tmp_path)
    assert said(back, "damaged", "slice_0005.dcm")
    assert said(back, "1 slice is missing: 1 between 6.0 and 10.0 mm")
    np.testing.assert_array_equal(back.hu, volume.hu)


def test_nothing_of_the_patient_leaves_the_header(tmp_path):
    write_series(head(), tmp_path)
    secret = dict.fromkeys(
        ("PatientName", "PatientID", "SeriesDescription", "ProtocolName", "InstitutionName"), "SECRET"
    )
    change(tmp_path, **secret, StudyDate="20200102", BodyPartExamined="SECRET", PatientComments="SECRET")
    back = read_volume(tmp_path)
    assert "SECRET" not in repr(back.acquisition) + repr(back.notes)
    assert "20200102" not in repr(back.acquisition)
    assert set(back.acquisition) <= {
        "modality", "manufacturer", "model", "kernel", "kvp", "slice_thickness_mm", "gantry_tilt_deg", "body_part",
        "n_slices", "series_number",
    }  # fmt: skip


def test_a_written_series_is_marked_synthetic_and_names_nobody(tmp_path):
    write_series(head(3), tmp_path)
    dataset = pydicom.dcmread(next(tmp_path.iterdir()))
    assert list(dataset.ImageType)[:2] == ["DERIVED", "SECONDARY"]
    assert "SYNTHETIC" in dataset.ImageType
    assert dataset.PatientID == "SYNTHETIC"
    assert dataset.StudyDate == dataset.PatientBirthDate == ""
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert generate_uid(None)[:4] == dataset.SeriesInstanceUID[:4] == "2.25"


def test_simpleitk_sees_the_same_volume_in_a_written_series(tmp_path):
    volume = head()
    write_series(volume, tmp_path)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    other = Volume.from_sitk(reader.Execute())
    np.testing.assert_array_equal(other.hu, volume.hu)
    np.testing.assert_allclose(other.index_to_lps, volume.index_to_lps, atol=1e-6)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real scans in ../shared/data are missing")
@pytest.mark.parametrize(
    ("name", "shape", "spacing", "kernel"),
    [
        ("philips-head-phantom-bone-1mm", (140, 512, 512), (0.4512, 0.4512, 1.0), "YA"),
        ("picker-head-neck-3mm", (90, 511, 511), (1.0, 1.0, 3.0), None),
    ],
)
def test_real_scans_are_read_as_simpleitk_reads_them(name, shape, spacing, kernel):
    start = time.perf_counter()
    volume = read_volume(REAL / name)
    assert time.perf_counter() - start < 5  # 0.7 s when the machine is free
    assert volume.shape == shape
    assert volume.hu.dtype == np.int16
    np.testing.assert_allclose(volume.spacing_mm, spacing, atol=1e-3)
    assert volume.acquisition.get("kernel") == kernel
    assert said(volume, "kernel is not known") == (kernel is None)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(os.fspath(REAL / name)))
    other = Volume.from_sitk(reader.Execute())
    np.testing.assert_array_equal(volume.hu, other.hu)
    np.testing.assert_allclose(volume.index_to_lps, other.index_to_lps, atol=1e-4)
