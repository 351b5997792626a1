import numpy as np
import pytest
import SimpleITK as sitk

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.exchange import export_npy, export_nrrd_stack, import_array

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
