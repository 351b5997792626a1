"""The heart phantom: structures as anatomy has them, with the sizes and HU that its parameters say."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import ndimage

from SkullGANLib.ct.heart import HEART_LABELS, HeartParameters, HeartPhantom
from SkullGANLib.errors import InputError

VALUE = {name: value for value, name in HEART_LABELS.items()}
SCAN = {"shape": (144, 92, 92), "spacing_mm": (2.5, 2.5, 1.2), "blur_mm": 0.0, "noise_hu": 0.0}
VOXEL_ML = 2.5 * 2.5 * 1.2 / 1000
SEEDS = (2, 6)
COARSE = {"shape": (20, 40, 40), "spacing_mm": (6.0, 6.0, 1.2)}


@pytest.fixture(scope="module")
def hearts():
    return [HeartPhantom(seed).render(**SCAN) for seed in SEEDS]


def positions(heart, name):
    """(n, 3) LPS of the voxels of a structure."""
    return heart.labels.zyx_to_lps(np.argwhere(heart.labels.hu == VALUE[name]))


def touch(heart, one, other):
    near = ndimage.binary_dilation(heart.labels.hu == VALUE[one], iterations=2)
    return np.count_nonzero(near & (heart.labels.hu == VALUE[other])) > 8


def test_each_structure_is_there_in_one_piece(hearts):
    for heart in hearts:
        for value, name in HEART_LABELS.items():
            pieces, count = ndimage.label(heart.labels.hu == value, np.ones((3, 3, 3)))
            largest = np.bincount(pieces.ravel())[1:].max()
            assert largest > 3000, name
            assert largest >= (pieces > 0).sum() - 3, f"{name} is in {count} pieces"


def test_blood_flows_as_anatomy_has_it(hearts):
    for heart in hearts:
        for one, other in (
            ("left atrium", "left ventricle"),
            ("left ventricle", "aorta"),
            ("right atrium", "right ventricle"),
            ("right ventricle", "pulmonary artery"),
            ("left ventricle", "myocardium"),
        ):
            assert touch(heart, one, other), (one, other)
        for one, other in (("left ventricle", "pulmonary artery"), ("right atrium", "left ventricle")):
            assert not touch(heart, one, other), (one, other)


def test_structures_lie_where_they_lie_in_a_chest(hearts):
    for heart in hearts:
        x, y, z = (
            {name: positions(heart, name)[:, axis].mean() for name in VALUE} for axis in range(3)
        )  # to the left, to the back, up
        assert y["left atrium"] == max(y.values())
        assert y["right ventricle"] == min(y[name] for name in VALUE if name != "pulmonary artery")
        assert x["right atrium"] == min(x.values())
        assert x["left ventricle"] > x["right ventricle"]
        assert min(z["aorta"], z["pulmonary artery"]) > z["left atrium"] > z["left ventricle"]


def test_the_left_ventricle_has_the_volume_and_wall_of_its_parameters(hearts):
    for heart in hearts:
        p = heart.parameters

        def cut_ellipsoid(half, radius, p=p):
            """Volume beyond the valve plane, which lies 0.3 of the cavity's length before the middle, ml."""
            start = -0.3 * p.lv_length_mm
            full = (half - start) - (half**3 - start**3) / (3 * half**2)
            return np.pi * radius**2 * full * p.scale**3 / 1000

        cavity = np.count_nonzero(heart.labels.hu == VALUE["left ventricle"]) * VOXEL_ML
        muscle = np.count_nonzero(heart.labels.hu == VALUE["myocardium"]) * VOXEL_ML
        expected = cut_ellipsoid(0.7 * p.lv_length_mm, p.lv_radius_mm)
        outer = cut_ellipsoid(0.7 * p.lv_length_mm + 0.75 * p.wall_mm, p.lv_radius_mm + p.wall_mm)
        assert cavity == pytest.approx(expected, rel=0.02)
        assert muscle == pytest.approx(outer - expected, rel=0.06)  # the rim at the valves is rounded off


def test_hu_are_those_of_the_parameters(hearts):
    for heart in hearts:
        p, hu = heart.parameters, heart.volume.hu

        def median(name, heart=heart, hu=hu):
            inside = ndimage.binary_erosion(heart.labels.hu == VALUE[name], iterations=2)
            return np.median(hu[inside])

        assert median("left ventricle") == pytest.approx(p.left_hu, rel=0.03)
        assert median("aorta") == pytest.approx(1.03 * p.left_hu, rel=0.03)
        assert median("right ventricle") == pytest.approx(max(p.right_share * p.left_hu, 130), rel=0.06)
        assert median("myocardium") == pytest.approx(p.myocardium_hu, abs=6)
        lung = hu[(hu < -600) & (hu > -990)]
        assert np.median(lung) == pytest.approx(p.lung_hu, abs=30)
        assert len(lung) > 0.15 * hu.size
        assert np.count_nonzero(np.abs(hu + 100) < 3) > 1000  # fat
        assert np.percentile(hu, 99.9) > 350  # bone and contrast


def test_the_same_seed_makes_the_same_heart_and_another_seed_another():
    one, again, other = (HeartPhantom(seed).render(**COARSE) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.volume.hu, again.volume.hu)
    np.testing.assert_array_equal(one.labels.hu, again.labels.hu)
    assert other.parameters != one.parameters
    assert np.mean(other.labels.hu != one.labels.hu) > 0.02


def test_a_turned_chest_shows_the_turned_heart(hearts):
    straight = hearts[0]
    turned = HeartPhantom(SEEDS[0]).render(**SCAN, rotation_deg=(0, 0, 20), translation_mm=(5, -8, 6))
    moved = positions(straight, "left ventricle").mean(0) @ turned.chest_to_lps[:3, :3].T + turned.chest_to_lps[:3, 3]
    assert np.linalg.norm(moved - positions(turned, "left ventricle").mean(0)) < 0.3


def test_thick_slices_show_the_mean_of_thin_ones_and_labels_of_their_middle():
    phantom = HeartPhantom(7)
    plain = {"blur_mm": 0, "noise_hu": 0}
    for layers in (2, 3):
        thin = phantom.render((10 * layers, 40, 40), (4, 4, 1.2), **plain)
        thick = phantom.render((10, 40, 40), (4, 4, 1.2 * layers), **plain)
        mean = thin.volume.hu.reshape(10, layers, 40, 40).mean(1)
        assert np.mean(np.abs(thick.volume.hu - mean) > 1) < 1e-3
        finer = phantom.render((30, 40, 40), (4, 4, 0.4 * layers), **plain)
        np.testing.assert_array_equal(thick.labels.hu, finer.labels.hu[1::3])


def test_what_no_scanner_or_adult_has_is_refused():
    phantom = HeartPhantom(1)
    with pytest.raises(InputError, match="empty"):
        phantom.render((0, 10, 10))
    with pytest.raises(InputError, match="no scanner"):
        phantom.render((4, 10, 10), (0.01, 1, 1))
    with pytest.raises(InputError, match="out of range"):
        phantom.render((4, 10, 10), noise_hu=-1)
    with pytest.raises(InputError, match="wall_mm"):
        HeartParameters(**{**phantom.parameters.as_dict(), "wall_mm": 50})


def test_the_command_writes_hearts_with_labels_and_truth(tmp_path):
    from SkullGANLib.cli.phantom import phantom as command
    from SkullGANLib.ct.io import read_volume

    options = ["--organ", "heart", "--out", str(tmp_path / "hearts"), "--spacing", "6,6,1.2", "--shape", "20,40,40"]
    result = CliRunner().invoke(command, [*options, "--subjects", "2", "--seed", "8", "--format", "nii.gz"])
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "hearts" / "phantom.json").read_text())
    assert facts["organ"] == "heart"
    assert facts["labels"] == VALUE
    assert [heart["seed"] for heart in facts["hearts"]] == [8, 9]
    labels = read_volume(tmp_path / "hearts" / "subject-002-labels.nii.gz", labels=True)
    counted = np.count_nonzero(labels.hu == VALUE["aorta"]) * 0.0432
    assert facts["hearts"][1]["truth"]["volume_ml"]["aorta"] == pytest.approx(counted, abs=0.01)
    again = HeartPhantom(9).render(**COARSE)
    np.testing.assert_array_equal(read_volume(tmp_path / "hearts" / "subject-002.nii.gz").hu, again.volume.hu)
    refused = CliRunner().invoke(command, [*options, "--format", "dicom"])
    assert refused.exit_code == 1
    assert "not as DICOM" in refused.output
