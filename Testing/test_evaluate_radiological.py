import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.radiological import measure_columns, measure_segments

SPACING_MM = 0.45


def slab(thickness_mm, tilt_deg=0.0, hu=1500.0, samples=1, size=128):
    """A slab across the image; each pixel is the mean of samples^2 points, so 1 gives hard edges."""
    tilt = np.deg2rad(tilt_deg)
    at = (np.arange(size * samples) + 0.5) / samples - 0.5
    depth_mm = ((at[:, None] - 40.25) * np.cos(tilt) - (at - size / 2 + 0.5) * np.sin(tilt)) * SPACING_MM
    image = np.where(np.abs(depth_mm) < thickness_mm / 2, hu, 0.0)
    return image.reshape(size, samples, size, samples).mean((1, 3))


def profile(*layers, top=10, size=128):
    """The same column all over: ``layers`` of (pixels, hu), from ``top`` down."""
    column = np.zeros(size)
    row = top
    for pixels, hu in layers:
        column[row : row + pixels] = hu
        row += pixels
    return np.repeat(column[:, None], size, axis=1)


def ring(radius_mm, thickness_mm, hu=1500.0, samples=8, size=128):
    """A bowl whose outer surface has ``radius_mm`` and its highest point at row 10."""
    at = ((np.arange(size * samples) + 0.5) / samples - 0.5) * SPACING_MM
    centre = 10 * SPACING_MM + radius_mm
    distance = np.hypot(at[:, None] - centre, at - (size - 1) / 2 * SPACING_MM)
    image = np.where((distance <= radius_mm) & (distance >= radius_mm - thickness_mm), hu, 0.0)
    return image.reshape(size, samples, size, samples).mean((1, 3))


def measure(image, **options):
    return {name: values[0] for name, values in measure_segments(image[None], SPACING_MM, **options).items()}


@pytest.mark.parametrize("hu", [800, 1500, 2000])
@pytest.mark.parametrize("tilt_deg", [0, 0.7, 2, 4, 6, 8, 9.9])
@pytest.mark.parametrize("thickness_mm", [2.25, 3.6, 4.5, 5.4])
@pytest.mark.parametrize("samples", [1, 8], ids=["hard-edged", "anti-aliased"])
def test_a_slab_of_any_tilt_has_its_thickness(samples, thickness_mm, tilt_deg, hu):
    found = measure(slab(thickness_mm, tilt_deg, hu, samples))
    assert found["thickness_mm"] == pytest.approx(thickness_mm, abs=0.1)
    assert found["thickness_normal_mm"] == pytest.approx(thickness_mm, abs=0.1)
    assert found["sdr"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("tilt_deg", [0, 3, 6, 9.9])
@pytest.mark.parametrize("thickness_mm", [6.75, 8.1])
def test_in_a_thick_tilted_slab_the_vertical_is_longer_and_the_normal_exact(thickness_mm, tilt_deg):
    found = measure(slab(thickness_mm, tilt_deg, samples=8))
    assert found["thickness_mm"] == pytest.approx(thickness_mm / np.cos(np.deg2rad(tilt_deg)), abs=0.05)
    assert found["thickness_normal_mm"] == pytest.approx(thickness_mm, abs=0.05)


@pytest.mark.parametrize("sigma_px", [0.6, 1.0, 1.4])
@pytest.mark.parametrize("thickness_mm", [3.6, 6.0])
def test_blur_does_not_thicken_the_bone(thickness_mm, sigma_px):
    blurred = gaussian_filter(slab(thickness_mm, 4, samples=8), sigma_px)
    assert measure(blurred)["thickness_normal_mm"] == pytest.approx(thickness_mm, abs=0.1)


def test_a_fixed_edge_is_interpolated_between_pixels():
    image = profile((1, 400), (8, 1600), (1, 800))
    assert measure(image, edge=600.0)["thickness_mm"] == pytest.approx((8 + 5 / 6 + 1 / 4) * SPACING_MM)


def test_two_tables_give_their_ratio_exactly():
    assert measure(profile((3, 1800), (6, 900), (4, 1600)))["sdr"] == 0.5


def test_neither_the_rim_nor_the_background_enters_the_ratio():
    assert measure(profile((1, 310), (3, 1800), (6, 900), (4, 1600), (1, 350), (3, 60)))["sdr"] == 0.5


def test_a_gap_in_the_bone_belongs_to_the_bone():
    found = measure(profile((3, 1600), (5, 160), (3, 1600)))
    assert found["sdr"] == pytest.approx(0.1)
    assert found["thickness_mm"] == pytest.approx(11 * SPACING_MM)
    assert found["bone_fraction"] == pytest.approx(6 / 11)


def test_layers_have_their_thickness():
    found = measure(profile((3, 1800), (6, 900), (4, 1600)))
    layers = [found[name] / SPACING_MM for name in ("outer_table_mm", "diploe_mm", "inner_table_mm")]
    assert layers == pytest.approx([3, 6, 4])
    assert found["diploe_columns"] == 32


def test_bone_without_a_trough_has_no_layers():
    found = measure(profile((9, 1500)))
    assert np.isnan([found["outer_table_mm"], found["diploe_mm"], found["inner_table_mm"]]).all()
    assert found["diploe_columns"] == 0


def test_the_intensity_of_a_constant_is_that_constant_and_its_thickness_is_unknown():
    found = measure(np.full((128, 128), 1234.0))
    assert found["intensity_hu"] == 1234
    assert found["sdr"] == 1
    assert found["cut_columns"] == 32
    assert np.isnan(found["thickness_mm"])


def test_intensity_counts_pixels_above_10_hu_only():
    assert measure(profile((4, 1000), (4, 10), (4, 2000)))["intensity_hu"] == 1500


def test_a_blank_or_dim_image_has_no_bone():
    for image in (np.zeros((128, 128)), profile((9, 299))):
        found = measure(image)
        assert found["bone_columns"] == 0
        assert np.isnan([found["sdr"], found["thickness_mm"], found["outer_table_mm"]]).all()
    assert np.isnan(measure(np.zeros((128, 128)))["intensity_hu"])


def test_columns_without_bone_are_left_out_and_counted():
    image = slab(4.5, samples=8)
    image[:, 64:] = 0
    found = measure(image)
    assert found["bone_columns"] == 16
    assert found["thickness_mm"] == pytest.approx(4.5, abs=0.1)


@pytest.mark.parametrize("radius_mm", [50, 80, 150, 600])
def test_a_round_surface_has_its_radius_and_the_sign_of_its_bulge(radius_mm):
    near = 0.02 if radius_mm < 500 else 0.1  # over 57 mm the latter sags by two pixels only
    bulging = ring(radius_mm, 6)
    assert measure(bulging)["curvature_radius_mm"] == pytest.approx(radius_mm, rel=near)
    hollow = measure(np.roll(bulging[::-1], -60, axis=0))["curvature_radius_mm"]
    assert hollow == pytest.approx(-(radius_mm - 6), rel=near)


def test_curved_bone_is_measured_along_its_normal():
    found = measure(ring(70, 6))
    assert found["thickness_normal_mm"] == pytest.approx(6, abs=0.1)
    assert found["thickness_mm"] > 6.2
    assert found["top_row"] == pytest.approx(10, abs=0.2)
    assert found["sag_mm"] == pytest.approx(70 - np.sqrt(70**2 - (62.5 * SPACING_MM) ** 2), abs=0.1)


def test_a_flat_surface_has_the_largest_radius_and_no_infinity():
    assert measure(slab(6, 3, samples=8))["curvature_radius_mm"] == 5000
    assert measure(profile((9, 1500)))["curvature_radius_mm"] == 5000


def test_every_segment_is_measured_as_if_alone_whatever_its_type():
    images = np.stack(
        [slab(t, a, samples=4) for t, a in zip(np.linspace(3, 8, 300), np.linspace(0, 9, 300), strict=True)]
    )
    images = images.round().astype(np.int16)
    together = measure_segments(images, SPACING_MM)
    for i in (0, 255, 256, 299):
        alone = measure_segments(images[i : i + 1].astype(np.float64), SPACING_MM)
        for name, values in together.items():
            np.testing.assert_array_equal(values[i], alone[name][0], err_msg=name)


def test_no_segments_give_empty_columns():
    assert all(len(values) == 0 for values in measure_segments(np.zeros((0, 128, 128))).values())


def test_the_columns_of_a_slab_are_every_fourth_pixel():
    found = measure_columns(slab(4.5)[None])
    assert found.columns.tolist() == list(range(2, 128, 4))
    assert found.outer_row.shape == (1, 32)


def test_pixels_that_are_not_finite_are_counted_and_named():
    images = np.repeat(slab(4.5)[None], 600, axis=0)
    images[[3, 300], 5, 5] = np.nan
    images[599, 0, :2] = np.inf
    with pytest.raises(InputError, match=r"4 pixels .* 3 segments: 3, 300, 599"):
        measure_segments(images)


@pytest.mark.parametrize(
    ("hu", "options", "words"),
    [
        (np.zeros((128, 128)), {}, "shape"),
        (np.zeros((2, 16, 16)), {}, "at least 32"),
        (np.zeros((2, 128, 128), complex), {}, "real numbers"),
        (np.zeros((2, 128, 128)), {"spacing_mm": 0}, "pixel size"),
        (np.zeros((2, 128, 128)), {"spacing_mm": np.nan}, "pixel size"),
        (np.zeros((2, 128, 128)), {"threshold_hu": -5}, "threshold"),
        (np.zeros((2, 128, 128)), {"edge": "steepest"}, "steepest"),
        (np.zeros((2, 128, 128)), {"edge": 0}, "edge"),
    ],
)
def test_senseless_input_is_refused_in_words(hu, options, words):
    with pytest.raises(InputError, match=words):
        measure_segments(hu, **options)
