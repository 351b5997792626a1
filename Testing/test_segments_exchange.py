import numpy as np
import pytest
import SimpleITK as sitk

from SkullGANLib.ct.dicom import list_series, read_series
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.exchange import export_dicom, export_npy, export_nrrd_stack, export_pictures, import_array

HU = np.random.default_rng(0).integers(0, 2700, (3, 32, 32)).astype(np.float32)


def saved(tmp_path, array):
    np.save(tmp_path / "in.npy", array)
    return tmp_path / "in.npy"


@pytest.mark.parametrize("shape", [(3, 1, 32, 32), (3, 32, 32)])
def test_both_shapes_of_npy_are_read(tmp_path, shape):
    made = import_array(saved(tmp_path, HU.reshape(shape).astype(np.float64)), tmp_path / "set", subject="s-1")
    np.testing.assert_array_equal(made.hu, HU)
    assert made.hu.dtype == np.float32
    assert made.meta.spacing_mm == 0.45
    assert made.table["subject"].tolist() == ["s-1"] * 3
    assert list(made.meta.sources[0]) == ["sha256"]


def test_what_is_exported_can_be_imported(tmp_path):
    made = SegmentDataset.create(tmp_path / "set", HU.astype(np.int16), None, kind="real", spacing_mm=0.5)
    assert np.load(export_npy(made, tmp_path / "a.npy")).shape == (3, 1, 32, 32)
    flat = np.load(export_npy(made, tmp_path / "b.npy", flat=True))
    assert (flat.shape, flat.dtype) == ((3, 32, 32), np.float32)
    back = import_array(export_nrrd_stack(made, tmp_path / "ä.nrrd"), tmp_path / "back")
    np.testing.assert_array_equal(back.hu, made.hu)
    assert (back.hu.dtype, back.meta.spacing_mm) == (np.int16, 0.5)


def test_the_stack_has_the_spacing_of_pixels_and_slices(tmp_path):
    made = SegmentDataset.create(tmp_path / "set", HU, None, kind="real")
    image = sitk.ReadImage(str(export_nrrd_stack(made, tmp_path / "s.nrrd", slice_mm=2)))
    assert image.GetSpacing() == pytest.approx((0.45, 0.45, 2))
    assert image.GetSize() == (32, 32, 3)


def test_normalised_values_are_refused_and_read_with_their_window(tmp_path):
    unit = HU / 2700 * 2 - 1
    with pytest.raises(InputError, match="normalised"):
        import_array(saved(tmp_path, unit), tmp_path / "set")
    made = import_array(tmp_path / "in.npy", tmp_path / "set", window_hu=(0, 2700))
    np.testing.assert_allclose(made.hu, HU, atol=1e-3)


def test_values_beyond_hu_are_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="perhaps these are not Hounsfield"):
        import_array(saved(tmp_path, HU + 5000), tmp_path / "set")


def test_non_finite_values_are_counted(tmp_path):
    hu = HU.copy()
    hu[1, 0, :5] = np.nan
    with pytest.raises(InputError, match="5 values in 1 segments"):
        import_array(saved(tmp_path, hu), tmp_path / "set")


@pytest.mark.parametrize("name", ["missing.npy", "missing.nrrd", "text.npy", "text.nrrd"])
def test_files_that_are_no_arrays_are_refused(tmp_path, name):
    if name.startswith("text"):
        (tmp_path / name).write_text("not an array")
    with pytest.raises(FormatError):
        import_array(tmp_path / name, tmp_path / "set")


def test_stacks_have_a_known_suffix(tmp_path):
    made = SegmentDataset.create(tmp_path / "set", HU, None, kind="real")
    with pytest.raises(InputError, match="suffix"):
        export_nrrd_stack(made, tmp_path / "s.txt")


def dicom_files(folder):
    import pydicom

    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def test_dicom_holds_the_same_hu_upright_with_a_series_for_each_subject(tmp_path):
    hu = np.arange(5 * 32 * 32, dtype=np.int16).reshape(5, 32, 32)
    subjects = ["s-1", "s-2", "s-1", "s-2", "s-1"]
    made = SegmentDataset.create(tmp_path / "set", hu, {"subject": subjects}, kind="real", spacing_mm=0.4)
    folder = export_dicom(made, tmp_path / "dicom", slice_mm=2)
    assert [path.name for path in sorted(folder.iterdir())] == [f"segment_{k:06d}.dcm" for k in range(5)]
    for series, rows in zip(list_series(folder), ([0, 2, 4], [1, 3]), strict=True):
        volume = read_series(series)
        np.testing.assert_array_equal(volume.hu, hu[rows])
        assert volume.spacing_mm == pytest.approx((0.4, 0.4, 2))
        np.testing.assert_array_equal(volume.direction, np.eye(3))  # rows run to the back: the first is on top
    files = dicom_files(folder)
    assert [str(file.PatientID) for file in files] == subjects
    assert len({file.SOPInstanceUID for file in files}) == 5
    assert len({file.StudyInstanceUID for file in files}) == len({file.SeriesInstanceUID for file in files}) == 2


@pytest.mark.parametrize("kind", ["real", "phantom", "synthetic", "artificial"])
def test_dicom_says_what_it_is_and_nothing_of_a_patient(tmp_path, kind):
    made = SegmentDataset.create(tmp_path / "set", HU + 0.4, {"subject": ["s-1"] * 3}, kind=kind)
    files = dicom_files(export_dicom(made, tmp_path / "dicom"))
    first = files[0]
    assert list(first.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"] + ([] if kind == "real" else ["SYNTHETIC"])
    assert first.SOPClassUID.name == "CT Image Storage"
    assert "synthetic" not in (first.Manufacturer + first.SeriesDescription).lower() or kind != "real"
    assert first.PatientID == ("SYNTHETIC" if kind in ("synthetic", "artificial") else "s-1")
    assert "not for diagnosis" in first.DerivationDescription
    assert ("no patient" in first.DerivationDescription) == (kind != "real")
    for name in ("PatientBirthDate", "PatientSex", "StudyDate", "AccessionNumber", "ReferringPhysicianName", "KVP"):
        assert not first[name].value
    np.testing.assert_array_equal(first.pixel_array * first.RescaleSlope + first.RescaleIntercept, HU[0])


def test_pictures_show_the_window_and_are_named_by_their_row(tmp_path):
    import cv2

    hu = np.zeros((2, 32, 32), np.int16)
    hu[:, 0], hu[:, 1], hu[1, 2] = 1000, 3000, 550
    made = SegmentDataset.create(tmp_path / "set", hu, None, kind="real")
    folder = export_pictures(made, tmp_path / "png", window_hu=(100, 1000))
    assert [path.name for path in sorted(folder.iterdir())] == ["000000.png", "000001.png"]
    picture = cv2.imread(str(folder / "000001.png"), cv2.IMREAD_UNCHANGED)
    assert (picture.shape, picture.dtype) == ((32, 32), np.uint8)
    assert picture[:4, 5].tolist() == [255, 255, 128, 0]


@pytest.mark.parametrize("export", [export_pictures, export_dicom])
def test_a_folder_is_replaced_only_when_asked_and_only_by_its_like(tmp_path, export):
    made = SegmentDataset.create(tmp_path / "set", HU, None, kind="real")
    export(made, tmp_path / "out")
    with pytest.raises(InputError, match="exists already"):
        export(made, tmp_path / "out")
    export(made.select([1]), tmp_path / "out", overwrite=True)
    assert len(list((tmp_path / "out").iterdir())) == 1
    with pytest.raises(InputError, match="other files"):
        export(made, tmp_path / "set", overwrite=True)
