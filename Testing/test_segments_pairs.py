"""Scans with label maps become slices: every layout, every place and every number with a known answer."""

import json
import warnings
import weakref
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.ct.dicom_write import write_series
from SkullGANLib.ct.heart import HEART_LABELS, HeartPhantom
from SkullGANLib.ct.io import write_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.pairs import PairOptions, import_pairs, pairs_from_volumes
from SkullGANLib.segments.pairs_layouts import MM_WHS_LABELS, find_pairs

N, SLICES = 96, 12
PLAIN = PairOptions(size=96, spacing_mm=1.0)


def scan(seed=0, value=1, spacing_mm=(1.0, 1.0, 2.0)):
    """Water in air with a ramp, 10 HU per mm to the left and 1 HU per mm to the back, and a labelled box."""
    hu = np.full((SLICES, N, N), -1000, np.int16)
    y, x = np.mgrid[:N, :N]
    hu[:, 8:-8, 8:-8] = (10 * x + y)[8:-8, 8:-8] - 500 + seed
    labels = np.zeros(hu.shape, np.uint16)
    labels[3:9, 30:50, 20:40] = value
    geometry = {"spacing_mm": spacing_mm, "origin_mm": (-40.0, -30.0, 100.0)}
    return Volume(hu, **geometry), Volume(labels, **geometry)


def write(volume, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(volume.to_sitk(), str(path))


def write_pair(folder, image, labels, seed=0, value=1):
    ct, marked = scan(seed, value)
    write(ct, folder / image)
    write(marked, folder / labels)


def quietly(*arguments, function=import_pairs, **options):
    """Import without minding what is warned of, such as that one subject cannot be split."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


def cut(pair, path, options, **more):
    return quietly([(*pair, "s-1")], path, options, function=pairs_from_volumes, **more)


# Slices


def test_slices_show_hu_and_labels_at_their_place(tmp_path):
    ct, marked = scan()
    with pytest.warns(UserWarning, match="One subject only"):
        made = pairs_from_volumes([(ct, marked, "s-1")], tmp_path / "set", PLAIN, label_names={1: "box"})
    np.testing.assert_array_equal(made.hu, ct.hu[3:9])
    np.testing.assert_array_equal(made.label_sets["structures"], marked.hu[3:9])
    np.testing.assert_allclose(made.table["position_mm"], 100 + 2 * np.arange(3, 9))
    assert made.labels("structures") == {1: "box"}
    assert set(made.table["plane"]) == {"axial"}
    assert set(made.table["split"]) == {"train"}
    assert made.meta.background_hu == -1000


@pytest.mark.parametrize("orientation", ["RPI", "SAL", "PIR"])
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_volume_stored_in_another_order_gives_the_same_slices(tmp_path, orientation, plane):
    ct, marked = scan(spacing_mm=(1.0, 1.0, 8.0))
    turned = [
        Volume.from_sitk(sitk.DICOMOrient(volume.with_array(volume.hu.astype(np.int16)).to_sitk(), orientation))
        for volume in (ct, marked)
    ]
    options = PairOptions(size=96, spacing_mm=1.0, plane=plane)
    one, other = cut((ct, marked), tmp_path / "one", options), cut(turned, tmp_path / "other", options)
    np.testing.assert_array_equal(one.hu, other.hu)
    np.testing.assert_array_equal(one.label_sets["structures"], other.label_sets["structures"])
    np.testing.assert_allclose(one.table["position_mm"], other.table["position_mm"])


def test_coronal_and_sagittal_slices_stand_upright(tmp_path):
    ct, marked = scan(spacing_mm=(1.0, 1.0, 8.0))
    marked.hu[7:9] = np.where(marked.hu[7:9], 2, 0)  # the upper third of the box
    coronal, sagittal = (
        cut((ct, marked), tmp_path / plane, PLAIN.model_copy(update={"plane": plane}))
        for plane in ("coronal", "sagittal")
    )
    for made, first, columns in ((coronal, -30 + 30, (20, 40)), (sagittal, -40 + 20, (30, 50))):
        assert made.table["position_mm"].tolist() == list(range(first, first + 20))
        shown = made.label_sets["structures"][0]
        rows = [np.flatnonzero((shown == value).any(axis=1)) for value in (1, 2)]
        assert rows[1].max() < rows[0].min()  # upper part above
        assert len(rows[1]) == 16
        assert len(rows[0]) == 32
        assert np.flatnonzero(shown.any(axis=0)).tolist() == list(range(*columns))
    assert coronal.hu[0, 48, 21] - coronal.hu[0, 48, 20] == 10  # to the left
    assert sagittal.hu[0, 48, 31] - sagittal.hu[0, 48, 30] == 1  # to the back


def test_shrinking_smooths_hu_and_keeps_labels_whole(tmp_path):
    ct, marked = scan()
    y, x = np.mgrid[:N, :N]
    ct.hu[:] = np.where((x + y) % 2, 200, -200)  # a pattern finer than the new pixels
    made = pairs_from_volumes(
        [(ct, marked, s) for s in ("s-1", "s-2", "s-3")], tmp_path / "set", PairOptions(size=64, spacing_mm=1.5)
    )
    assert np.abs(made.hu[:, 4:-4, 4:-4]).max() < 25
    assert set(np.unique(made.label_sets["structures"])) == {0, 1}
    assert np.count_nonzero(made.label_sets["structures"][0]) == pytest.approx(400 / 2.25, rel=0.08)


def test_a_ramp_stays_where_it_is_when_resampled(tmp_path):
    ct, marked = scan()
    options = PairOptions(size=64, spacing_mm=1.25)
    made = cut((ct, marked), tmp_path / "set", options)
    place = (N - 1) / 2 + (np.arange(64) - 31.5) * 1.25
    y, x = np.meshgrid(place, place, indexing="ij")
    expected = 10 * x + y - 500
    np.testing.assert_allclose(made.hu[0, 10:-10, 10:-10], expected[10:-10, 10:-10], atol=1)


def test_beyond_the_image_is_background(tmp_path):
    ct, marked = scan()
    ct.hu[:] = 40
    options = PairOptions(size=128, spacing_mm=1.0, background_hu=-900)
    made = cut((ct, marked), tmp_path / "set", options)
    inside = np.zeros((128, 128), bool)
    inside[16:112, 16:112] = True
    assert (made.hu[:, inside] == 40).all()
    assert (made.hu[:, ~inside] == -900).all()


def test_slices_can_be_centred_on_the_labels_taken_rarely_or_all(tmp_path):
    ct, marked = scan()
    made = cut((ct, marked), tmp_path / "set", PairOptions(size=64, spacing_mm=1, centre="labels", every_mm=4))
    every = cut((ct, marked), tmp_path / "all", PLAIN.model_copy(update={"keep": "all"}))
    np.testing.assert_allclose(made.table["position_mm"], [106, 110, 114])
    shown = made.label_sets["structures"][0]
    assert [np.flatnonzero(shown.any(axis=a))[[0, -1]].tolist() for a in (1, 0)] == [[22, 41], [22, 41]]
    assert len(every) == SLICES


def test_without_a_spacing_the_median_field_of_view_fills_a_slice(tmp_path):
    pairs = [(*scan(seed, spacing_mm=(mm, mm, 2.0)), f"s-{seed}") for seed, mm in enumerate((1.0, 2.0, 4.0))]
    assert pairs_from_volumes(pairs, tmp_path / "set", PairOptions(size=64)).meta.spacing_mm == 3.0
    for image, labels, name in pairs:
        write(image, tmp_path / "root" / f"{name}_image.nii.gz")
        write(labels, tmp_path / "root" / f"{name}_label.nii.gz")
    made = quietly(tmp_path / "root", tmp_path / "files", PairOptions(size=64))
    assert made.meta.spacing_mm == 3.0
    assert np.diff(made.table["position_mm"]).max() <= 4.0  # every second slice of 2 mm is nearest to 3 mm


# Labels


def test_labels_on_another_grid_are_brought_to_the_image_by_place(tmp_path):
    ct, marked = scan()
    part = marked.part((2, 24, 10), (9, 60, 50))
    with pytest.warns(UserWarning, match="another grid"):
        made = pairs_from_volumes([(ct, part, "s-1")], tmp_path / "set", PLAIN)
    np.testing.assert_array_equal(made.label_sets["structures"], marked.hu[3:9])
    beside = replace(marked, origin_mm=(500.0, 0.0, 0.0))
    with pytest.warns(UserWarning, match="left out"), pytest.raises(InputError, match="do not overlap"):
        pairs_from_volumes([(ct, beside, "s-1")], tmp_path / "none", PLAIN)
    inside = part.with_array(part.hu > 0)  # bool, and of another grid
    with pytest.warns(UserWarning, match="s-2 is left out"):
        named = pairs_from_volumes(
            [(ct, inside, "s-1"), (ct, beside.with_array(2 * beside.hu), "s-2")], tmp_path / "bool", PLAIN
        )
    np.testing.assert_array_equal(named.label_sets["structures"], marked.hu[3:9])
    assert named.labels("structures") == {1: "label 1"}  # and none of the scan that was left out
    half = replace(marked, origin_mm=(-40.0, -30.0, 100.0 + 2 * 6))
    with pytest.warns(UserWarning, match="50% of the labelled volume lies outside"):
        pairs_from_volumes([(ct, half, "s-1")], tmp_path / "half", PLAIN)


@pytest.mark.parametrize(
    ("values", "words"),
    [(0, "label map is empty"), (0.5, "no whole numbers"), (-1, "no whole numbers"), (np.nan, "no whole numbers")],
)
def test_what_is_no_label_map_is_named_and_left_out(tmp_path, values, words):
    ct, marked = scan()
    bad = marked.with_array(np.where(marked.hu > 0, values, 0).astype(np.float32))
    with pytest.warns(UserWarning, match=f"s-2 is left out: .*{words}"):
        made = pairs_from_volumes([(ct, marked, "s-1"), (ct, bad, "s-2")], tmp_path / "set", PLAIN)
    assert set(made.table["subject"]) == {"s-1"}


def test_what_has_no_label_can_be_made_background(tmp_path):
    ct, marked = scan()
    with pytest.warns(UserWarning, match="One patient|one patient|subject"):
        made = pairs_from_volumes([(ct, marked, "s-1")], tmp_path / "set", PLAIN.model_copy(update={"blank": True}))
    labels = made.label_sets["structures"]
    assert (made.hu[labels == 0] == -1000).all()
    assert (made.hu[labels > 0] > -1000).any()


def test_a_value_without_a_name_is_refused_where_names_are_given(tmp_path):
    ct, marked = scan(value=9)
    with pytest.raises(InputError, match="without a name: 9"):
        cut((ct, marked), tmp_path / "set", PLAIN, label_names={1: "aorta"})
    made = cut((ct, marked), tmp_path / "set", PLAIN)
    assert made.labels("structures") == {9: "label 9"}


def test_a_structure_has_one_number_whatever_its_value_in_each_file(tmp_path):
    root = tmp_path / "root"
    for seed, value, names in ((0, 1, {1: "liver"}), (1, 2, {1: "spleen", 2: "liver"}), (2, 1, {1: "spleen"})):
        ct, marked = scan(seed, value)
        write(ct, root / f"p{seed}.nrrd")
        image = marked.to_sitk()
        for k, (number, name) in enumerate(names.items()):
            image.SetMetaData(f"Segment{k}_LabelValue", str(number))
            image.SetMetaData(f"Segment{k}_Name", name)
            image.SetMetaData(f"Segment{k}_Layer", "0")
        sitk.WriteImage(image, str(root / f"p{seed}.seg.nrrd"))
    made = quietly(root, tmp_path / "set", PLAIN)
    assert made.labels("structures") == {1: "liver", 2: "spleen"}
    shown = made.label_sets["structures"].max(axis=(1, 2))
    assert shown.tolist() == [1] * 6 + [1] * 6 + [2] * 6


# Layouts


def test_mm_whs_is_recognised_and_numbered_by_name(tmp_path):
    for k, value in enumerate(MM_WHS_LABELS):
        write_pair(tmp_path / "ct_train", f"ct_train_100{k}_image.nii.gz", f"ct_train_100{k}_label.nii.gz", k, value)
    write_pair(tmp_path / "mr", "mr_train_1001_image.nii.gz", "mr_train_1001_label.nii.gz")
    write(scan(50)[0], tmp_path / "ct_test" / "ct_test_2001_image.nii.gz")
    write_pair(tmp_path, "ct_train_1099_image.nii.gz", "ct_train_1099_label.nii.gz", 60, 421)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made = import_pairs(tmp_path, tmp_path / "set", PLAIN)
    words = " ".join(str(warning.message) for warning in told)
    assert "mr_train_1001: MR" in words
    assert "ct_test_2001: without a partner" in words
    assert "ct_train_1099_image.nii.gz is left out: its labels hold values without a name: 421" in words
    assert made.labels("structures") == HEART_LABELS
    shown = made.label_sets["structures"].max(axis=(1, 2))[::6]
    assert [HEART_LABELS[number] for number in shown] == list(MM_WHS_LABELS.values())
    assert set(made.table["split"]) == {"train", "val", "test"}  # the challenge's labels are of its part train only


def test_values_of_mm_whs_are_known_under_any_file_name(tmp_path):
    for k, value in enumerate((205, 850)):
        write_pair(tmp_path / "root", f"a{k}_image.nii.gz", f"a{k}_label.nii.gz", k, value)
    made = quietly(tmp_path / "root", tmp_path / "set", PLAIN)
    assert (
        made.label_sets["structures"].max(axis=(1, 2)).tolist() == [6] * 6 + [6] * 6
        or made.labels("structures")[6] == "pulmonary artery"
    )


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("p{}_image.nii.gz", "p{}_label.nii.gz"),
        ("p{}.nrrd", "p{}-labels.nrrd"),
        ("p{}.nii.gz", "p{}_seg.nii.gz"),
        ("CT-p{}.mha", "gt-p{}.mha"),
        ("p{}/ct.nrrd", "p{}/segmentation.nrrd"),
        ("p{}/whatever.nii.gz", "p{}/a-mask-of-it.nii.gz"),
        ("imagesTr/p{}_0000.nii.gz", "labelsTr/p{}.nii.gz"),
        ("images/p{}.nii.gz", "masks/p{}.nii.gz"),
    ],
)
def test_pairs_are_found_by_name(tmp_path, image, labels):
    for k in (1, 2):
        write_pair(tmp_path, image.format(k), labels.format(k), k)
    found = find_pairs(tmp_path)
    there = [(str(pair.image.relative_to(tmp_path)), str(pair.labels.relative_to(tmp_path))) for pair in found.pairs]
    assert there == [(image.format(k), labels.format(k)) for k in (1, 2)]
    assert len({pair.patient for pair in found.pairs}) == 2
    assert not found.left_out


def test_pairs_are_found_behind_links_which_may_lead_back(tmp_path):
    write_pair(tmp_path / "elsewhere", "p1_image.nrrd", "p1_label.nrrd")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "root")
    assert len(find_pairs(tmp_path / "root").pairs) == 1


def test_two_scans_in_a_patients_folder_are_one_subject_and_folders_of_parts_a_split(tmp_path):
    root = tmp_path / "root"
    for part, patient, phase in (("train", "a", 1), ("train", "a", 2), ("test", "b", 3)):
        write_pair(root / part / patient, f"phase{phase}_image.nrrd", f"phase{phase}_label.nrrd", phase)
    made = quietly(root, tmp_path / "set", PLAIN)
    subjects = made.table["subject"]
    assert len(np.unique(subjects)) == 2
    assert len(np.unique(made.table["volume"])) == 3
    assert set(made.table["split"][subjects == subjects[0]]) == {"test"}  # in the order of names
    assert set(made.table["split"][subjects != subjects[0]]) == {"train"}


def test_a_file_without_partner_is_named(tmp_path):
    write_pair(tmp_path / "root", "p1_image.nii.gz", "p1_label.nii.gz")
    write(scan(5)[0], tmp_path / "root" / "p2_image.nii.gz")
    with pytest.warns(UserWarning, match=r"p2_image.nii.gz: without a partner"):
        import_pairs(tmp_path / "root", tmp_path / "set", PLAIN)
    with pytest.raises(InputError, match="no pair"):
        find_pairs(tmp_path / "set")
    with pytest.raises(InputError, match="no folder"):
        find_pairs(tmp_path / "nothing")
    with pytest.raises(InputError, match="layout mm-whs"):
        find_pairs(tmp_path / "root", "mm-whs")


def write_dicom(path, array, *, intercept=0, modality="CT", position=(0.0, 0.0, 0.0)):
    """One slice, (rows, columns), as a scanner or a converter writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.asarray(array).astype(np.int16)[None])
    image.SetSpacing((1.0, 1.0, 1.0))
    for tag, value in {
        "0008|0060": modality,
        "0010|0010": "Doe^John",
        "0028|1052": str(intercept),
        "0028|1053": "1",
        "0020|0032": "\\".join(map(str, position)),
        "0020|0037": "1\\0\\0\\0\\1\\0",
    }.items():
        image.SetMetaData(tag, value)
    sitk.WriteImage(image, str(path))


def dicom_layout(root, **options):
    ct, marked = scan()
    for part, patients in (("training", "ab"), ("validation", "c"), ("testing", "d")):
        for k, patient in enumerate(patients):
            folder = root / part / f"p{patient}"
            write_dicom(folder / f"p{patient}_whs_img.dcm", ct.hu[5] + ord(patient), position=(0, 0, k), **options)
            write_dicom(folder / f"p{patient}_whs_img_gt.dcm", marked.hu[5], modality="OT")
    return ct.hu[5], marked.hu[5]


def test_single_slices_of_dicom_keep_hu_labels_and_the_split_of_their_folders(tmp_path):
    hu, labels = dicom_layout(tmp_path / "root", intercept=-1024)
    made = quietly(tmp_path / "root", tmp_path / "set", PLAIN)
    assert made.table["split"].tolist() == ["test", "train", "train", "val"]
    for shown, letter in zip(made.hu, "dabc", strict=True):
        np.testing.assert_array_equal(shown, hu + ord(letter))
    np.testing.assert_array_equal(made.label_sets["structures"], np.broadcast_to(labels, made.hu.shape))
    files = b"".join(file.read_bytes() for file in (tmp_path / "set").iterdir())
    assert b"Doe" not in files
    assert made.meta.extra["split"] == {"by": "layout"}
    by_share = quietly(tmp_path / "root", tmp_path / "shares", PLAIN, shares={"train": 0.5, "test": 0.5})
    assert sorted(by_share.table["split"]) == ["test"] * 2 + ["train"] * 2


def test_a_multi_frame_file_keeps_its_spacing(tmp_path):
    folder = tmp_path / "root" / "training" / "p"
    ct, marked = scan(spacing_mm=(1.5, 1.5, 3.0))
    image = ct.to_sitk()
    image.SetMetaData("0008|0060", "CT")
    write(marked, folder / "p_whs_img_gt.dcm")
    sitk.WriteImage(image, str(folder / "p_whs_img.dcm"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made = import_pairs(tmp_path / "root", tmp_path / "set", PairOptions(size=96))
    assert made.meta.spacing_mm == 1.5
    np.testing.assert_array_equal(made.hu, ct.hu[3:9])
    np.testing.assert_array_equal(made.label_sets["structures"], marked.hu[3:9])
    np.testing.assert_allclose(made.table["position_mm"], 100 + 3.0 * np.arange(3, 9))
    assert [str(warning.message) for warning in told] == ["One subject only: all in train."]


@pytest.mark.parametrize(
    ("slices", "labels"),
    [("p{}", "p{}-labels.nrrd"), ("p{}/series", "p{}/segmentation.nrrd"), ("p{}", "p{}/mask.nii.gz")],
)
def test_an_image_can_be_a_folder_of_dicom_slices(tmp_path, slices, labels):
    root = tmp_path / "root"
    for k in (1, 2):
        ct, marked = scan(k)
        write_series(ct, root / slices.format(k))
        write(marked, root / labels.format(k))
    found = find_pairs(root)
    assert [pair.image for pair in found.pairs] == [root / slices.format(k) for k in (1, 2)]
    made = quietly(root, tmp_path / "set", PairOptions(size=96))
    assert made.meta.spacing_mm == 1.0
    assert made.meta.counts == {"segments": 12, "subjects": 2}
    np.testing.assert_array_equal(made.hu[:6], scan(1)[0].hu[3:9])
    np.testing.assert_array_equal(made.label_sets["structures"][6:], scan(2)[1].hu[3:9])


def test_pictures_of_8_bits_need_a_window(tmp_path):
    ct, marked = scan()
    grey = np.clip((ct.hu[5].astype(float) + 200) / 1000 * 255, 0, 255).round()
    write_dicom(tmp_path / "root" / "training" / "p" / "p_whs_img.dcm", grey)
    write_dicom(tmp_path / "root" / "training" / "p" / "p_whs_img_gt.dcm", marked.hu[5])
    with pytest.raises(InputError, match="0 to 255 of a picture"):
        quietly(tmp_path / "root", tmp_path / "set", PLAIN)
    made = quietly(tmp_path / "root", tmp_path / "set", PLAIN, window_hu=(-200, 1000))
    np.testing.assert_allclose(made.hu[0], np.clip(ct.hu[5], -200, 800), atol=3)


def test_mr_is_named_and_left_out(tmp_path):
    root = tmp_path / "root"
    write_pair(root, "p1_image.nii.gz", "p1_label.nii.gz")
    mr, marked = scan()
    write(mr.with_array((mr.hu.astype(np.int32) + 1000).clip(0, 400).astype(np.int16)), root / "p2_image.nii.gz")
    write(marked, root / "p2_label.nii.gz")
    with pytest.warns(UserWarning, match="p2_image.nii.gz is left out: This does not look like CT"):
        assert len(import_pairs(root, tmp_path / "set", PLAIN)) == 6
    dicom_layout(tmp_path / "mr", modality="MR")
    with pytest.raises(InputError, match="modality is MR"):
        quietly(tmp_path / "mr", tmp_path / "set2", PLAIN)


def test_a_damaged_file_is_named_and_the_others_stay(tmp_path):
    root = tmp_path / "root"
    for k in (1, 2):
        write_pair(root, f"p{k}_image.nii.gz", f"p{k}_label.nii.gz", k)
    file = root / "p1_label.nii.gz"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.warns(UserWarning, match="p1_image.nii.gz is left out: p1_label.nii.gz cannot be read"):
        assert len(import_pairs(root, tmp_path / "set", PLAIN)) == 6


# The set


def test_no_name_of_a_patient_enters_the_set(tmp_path):
    for k, name in enumerate(("Doe_John_19500101", "Roe_Jane_19600202")):
        write_pair(tmp_path / "root" / name, "ct.nii.gz", "label.nii.gz", k)
    made = quietly(tmp_path / "root", tmp_path / "set", PLAIN)
    assert all(name.startswith("s-") for name in made.table["subject"])
    files = b"".join(file.read_bytes() for file in (tmp_path / "set").iterdir())
    assert b"Doe" not in files
    assert b"Jane" not in files
    assert b"root" not in files
    ct, marked = scan()
    with pytest.raises(InputError, match="pseudonym"):
        quietly([(ct, marked, "Doe John")], tmp_path / "named", PLAIN, function=pairs_from_volumes)
    assert not (tmp_path / "named").exists()


def test_volumes_are_taken_one_at_a_time(tmp_path):
    alive, most = [], []

    def volumes():
        for k in range(5):
            ct, marked = scan(k)
            alive.append(weakref.ref(ct.hu))
            most.append(sum(there() is not None for there in alive))
            yield ct, marked, f"s-{k}"

    made = pairs_from_volumes(volumes(), tmp_path / "set", PLAIN)
    assert len(np.unique(made.table["subject"])) == 5
    assert max(most) <= 2


def test_the_phantoms_of_the_project_come_in_as_they_are(tmp_path):
    root = tmp_path / "hearts"
    for k in (1, 2):
        heart = HeartPhantom(k).render((30, 64, 64), (4.0, 4.0, 1.2))
        write_volume(heart.volume, root / f"subject-00{k}.nrrd")
        write_volume(heart.labels, root / f"subject-00{k}-labels.nrrd")
    names = {name: value for value, name in HEART_LABELS.items()}
    (root / "phantom.json").write_text(json.dumps({"format": "skullgan-phantom", "version": 1, "labels": names}))
    sheet = tmp_path / "sheet.png"
    command = [
        "dataset",
        "import-pairs",
        str(root),
        "--out",
        str(tmp_path / "set"),
        "--size",
        "64",
        "--sheet",
        str(sheet),
    ]
    result = CliRunner().invoke(skullgan, [*command, "--every", "3"])
    assert result.exit_code == 0, result.output
    assert "phantom segments of 2 subjects" in result.output
    assert "7 aorta" in result.output
    made = SegmentDataset.open(tmp_path / "set", verify=True)
    assert made.meta.spacing_mm == 4.0
    assert made.meta.kind == "phantom"
    present = set(np.unique(made.label_sets["structures"])) - {0}
    assert made.labels("structures") == {value: HEART_LABELS[value] for value in present}
    blood = made.hu[made.label_sets["structures"] == 1]
    assert 250 < np.median(blood) < 500
    colours = sitk.GetArrayFromImage(sitk.ReadImage(str(sheet)))
    assert colours.shape[2] == 3
    assert (colours.max(axis=2).astype(int) - colours.min(axis=2) > 100).mean() > 0.02  # labels in colour
    again = CliRunner().invoke(skullgan, command)
    assert again.exit_code == 1
    assert "exists already" in again.output


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("--spacing", "-1", "--spacing"), ("--label-names", "aorta", "name a label"), ("--part", "train=0.2", "add up")],
)
def test_the_command_says_what_is_wrong_with_an_option(tmp_path, option, value, words):
    write_pair(tmp_path / "root", "p1_image.nii.gz", "p1_label.nii.gz")
    command = ["dataset", "import-pairs", str(tmp_path / "root"), "--out", str(tmp_path / "set"), option, value]
    result = CliRunner().invoke(skullgan, command)
    assert result.exit_code == 1
    assert words in result.output
    assert not (tmp_path / "set").exists()
