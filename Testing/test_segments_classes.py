"""Folders of images as classes: their values, names and persons, and what is refused, left out or said."""

import csv
import json
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.segments.class_names import class_name
from SkullGANLib.segments.classes import import_classes
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.exchange import export_dicom

RNG = np.random.default_rng(0)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    done, code = cv2.imencode(path.suffix, image)
    assert done
    path.write_bytes(code.tobytes())
    return image


def grey(*shape, dtype=np.uint8, high=256):
    return RNG.integers(0, high, shape or (32, 32)).astype(dtype)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "images"


@pytest.fixture
def importing(root, tmp_path):
    """Import the folder; gives the data set and all that was said."""

    def run(**options):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", UserWarning)
            made = import_classes(root, tmp_path / "set", **{"size": 32, "overwrite": True, **options})
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
        return made, " ".join(str(each.message) for each in told)

    return run


def fill(root, classes=("a", "b"), n=2, dtype=np.uint8):
    return [write(root / name / f"{k}.png", grey(dtype=dtype)) for name in classes for k in range(n)]


def test_a_class_is_called_by_its_folders_and_grey_levels_stay_as_they_are(root, importing):
    images = fill(root, ("CT/skull/temporal left", "CT/Schädel", "MR/頭"))
    made, _ = importing()
    assert made.table["class"].tolist() == ["CT/Schädel"] * 2 + ["CT/skull/temporal left"] * 2 + ["MR/頭"] * 2
    np.testing.assert_array_equal(made.hu, np.array(images)[[2, 3, 0, 1, 4, 5]])
    assert (made.meta.kind, made.hu.dtype, made.meta.background_hu) == ("pictures", np.int16, 0)
    opened = SegmentDataset.open(made.path, verify=True)
    assert opened.table["class"].tolist() == made.table["class"].tolist()


def test_classes_of_numbers_stay_words(root, importing):
    fill(root, ("0", "10"))
    assert importing()[0].table["class"].tolist() == ["0", "0", "10", "10"]


def test_more_bits_are_taken_as_they_are_plus_the_offset_and_it_is_said(root, importing):
    images = np.array(fill(root, dtype=np.uint16)) * 8
    for name, image in zip(("a/0", "a/1", "b/0", "b/1"), images, strict=True):
        write(root / f"{name}.png", image)
    made, told = importing(hu_offset=-1024)
    np.testing.assert_array_equal(made.hu, images.astype(int) - 1024)
    assert (made.meta.kind, made.hu.dtype) == ("real", np.int16)
    assert f"plus -1024, from {int(images.min()) - 1024} to {int(images.max()) - 1024}." in told


def test_values_beyond_16_bits_or_between_whole_numbers_make_the_set_float(root, importing):
    low = fill(root, ("a",), dtype=np.uint16)
    high = write(root / "b" / "0.png", grey(dtype=np.uint16, high=65536))
    half = write(root / "b" / "1.tif", (grey() / 7).astype(np.float32))
    made, told = importing()
    assert made.hu.dtype == np.float32
    np.testing.assert_array_equal(made.hu, np.array([*low, high, half], np.float32))
    assert "perhaps no HU" in told


def test_a_window_says_which_hu_black_and_white_stand_for(root, importing):
    image = np.zeros((32, 32), np.uint8)
    image[0, 1:3] = 51, 255
    for name in ("a/0", "a/1"):
        write(root / f"{name}.png", image)
        image = image.T
    made, _ = importing(window_hu=(-1000, 1550))
    assert made.hu[0, 0, :3].tolist() == [-1000, -490, 1550]
    assert (made.meta.kind, made.meta.background_hu) == ("real", -1000)


def test_grey_levels_and_other_values_need_a_window_to_be_one_set(root, importing):
    fill(root, ("a",))
    fill(root, ("b",), dtype=np.uint16)
    with pytest.raises(InputError, match=r"a/0\.png holds grey levels of 0 to 255, b/0\.png other values"):
        importing()
    assert len(importing(window_hu=(0, 1000))[0]) == 4


@pytest.fixture
def scanned(tmp_path, root):
    """CT of two patients in two classes; their HU."""
    hu = RNG.integers(-1000, 2000, (4, 40, 40)).astype(np.int16)
    made = SegmentDataset.create(tmp_path / "scans", hu, {"subject": ["one", "one", "two", "two"]}, kind="phantom")
    export_dicom(made, tmp_path / "dicom")
    for k in range(4):
        file = tmp_path / "dicom" / f"segment_{k:06d}.dcm"
        header = pydicom.dcmread(file)
        header.PatientID = f"PID-{k % 2}"  # in both classes
        (root / "ab"[k // 2]).mkdir(parents=True, exist_ok=True)
        header.save_as(root / "ab"[k // 2] / f"I{k}")
    return hu


def test_ct_in_dicom_comes_in_hu_with_its_spacing_and_without_its_patients(root, importing, scanned):
    made, told = importing(size=40)
    np.testing.assert_array_equal(made.hu, scanned)
    subjects = made.table["subject"]
    assert subjects[0] == subjects[2] != subjects[1] == subjects[3]
    assert (made.meta.spacing_mm, made.meta.background_hu, made.meta.kind) == (0.45, -1000, "real")
    assert "subject" not in told
    for file in made.path.iterdir():
        assert b"PID" not in file.read_bytes()
    made, _ = importing(size=32)
    assert made.meta.spacing_mm == pytest.approx(0.45 * 40 / 32, abs=1e-4)


def test_slices_without_a_patient_are_told_apart_by_their_series_and_it_is_said(root, importing, scanned):
    for file in root.rglob("I*"):
        header = pydicom.dcmread(file)
        header.PatientID = ""
        header.save_as(file)
    made, told = importing(size=40)
    subjects = made.table["subject"]
    assert subjects[0] == subjects[1] != subjects[2] == subjects[3]
    assert "2 files or series count as a subject each" in told


def test_dicom_that_is_no_ct_keeps_its_values_and_pictures_in_dicom_are_grey_levels(root, importing, scanned):
    for file in root.rglob("I*"):
        header = pydicom.dcmread(file)
        header.Modality = "MR"
        header.save_as(file)
    made, told = importing(size=40)
    np.testing.assert_array_equal(made.hu, scanned)
    assert "4 images are DICOM but no CT" in told
    for k, file in enumerate(sorted(root.rglob("I*"))):
        header = pydicom.dcmread(file)
        header.Modality, header.RescaleIntercept = "US", 0
        header.PixelData = (scanned[k] % 256).astype(np.int16).tobytes()
        header.save_as(file)
    made, _ = importing(size=40)
    np.testing.assert_array_equal(made.hu, scanned % 256)
    assert made.meta.kind == "pictures"


@pytest.mark.parametrize("modality", ["CT", "DX"])
def test_low_values_that_a_file_shows_white_are_turned_round_unless_they_are_hu(root, importing, scanned, modality):
    for k, file in enumerate(sorted(root.rglob("I*"))):
        header = pydicom.dcmread(file)
        header.PhotometricInterpretation = "MONOCHROME1" if k < 2 else "MONOCHROME2"
        header.Modality = modality
        if modality == "DX":
            header.RescaleIntercept = 0
            header.PixelData = (scanned[k] % 256).astype(np.int16).tobytes()
        header.save_as(file)
    made, told = importing(size=40)
    expected = scanned if modality == "CT" else np.concatenate([255 - scanned[:2] % 256, scanned[2:] % 256])
    np.testing.assert_array_equal(made.hu, expected)
    assert ("2 images show low values white" in told) == (modality == "DX")


def test_hu_and_values_that_are_none_are_no_set(root, importing, scanned):
    header = pydicom.dcmread(root / "b" / "I3")
    header.Modality = "MR"
    header.save_as(root / "b" / "I3")
    with pytest.raises(InputError, match="no common scale"):
        importing(size=40)


def test_a_folder_that_may_not_be_read_is_named(root, importing, monkeypatch):
    fill(root)
    scan = os.scandir

    def closed(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    made, told = importing()
    assert set(made.table["class"]) == {"a"}
    assert "Folders that may not be read are left out: b." in told


def test_colour_becomes_grey_and_it_is_said(root, importing):
    image = fill(root)[0]
    write(root / "a" / "0.png", np.dstack([image] * 3))
    write(root / "a" / "1.png", np.dstack([np.full_like(image, level) for level in (10, 50, 100)]))  # blue, green, red
    made, told = importing()
    np.testing.assert_array_equal(made.hu[0], image)
    assert (made.hu[1] == round(0.114 * 10 + 0.587 * 50 + 0.299 * 100)).all()
    assert "2 images were in colour and became grey (1 with channels that differ)." in told


def test_the_middle_is_kept_and_brought_to_one_size(root, importing):
    large = np.zeros((64, 96), np.uint8)
    large[:, 16:80] = np.kron(grey(16, 16) // 2 * 2, np.ones((4, 4)))  # the middle square
    write(root / "a" / "0.png", large)
    write(root / "a" / "1.jpg", np.full((20, 30), 90, np.uint8))
    made, told = importing()
    np.testing.assert_array_equal(made.hu[0], large[::2, 16:80:2])
    assert abs(made.hu[1] - 90).max() <= 1
    assert "2 images were not square" in told
    assert "Images 20 to 64 pixels across became 32" in told


def test_the_pages_of_a_tiff_are_images_of_one_subject(root, importing):
    pages = [grey(), grey()]
    (root / "a").mkdir(parents=True)
    (root / "a" / "two.tif").write_bytes(cv2.imencodemulti(".tif", pages)[1].tobytes())
    made, told = importing()
    np.testing.assert_array_equal(made.hu, pages)
    assert len(set(made.table["subject"])) == 1
    assert "1 file or series counts as a subject" in told


def test_one_image_in_two_classes_is_refused_or_left_out_everywhere(root, importing):
    images = fill(root)
    write(root / "b" / "again.tif", np.dstack([images[0]] * 3))
    with pytest.raises(InputError, match=r"1 image lies in several classes: a/0.png = b/again.tif\.") as refused:
        importing()
    assert "--duplicates drop" in refused.value.advice
    made, told = importing(duplicates="drop")
    np.testing.assert_array_equal(made.hu, images[1:])
    assert "2 images whose copies lie in other classes are left out" in told
    assert "Classes of fewer than 2 images: a (1)." in told


def test_copies_within_a_class_are_one_subject_and_one_image_where_asked(root, importing):
    images = fill(root)
    write(root / "a" / "again.png", images[1])
    made, told = importing()
    assert len(made) == 5
    assert made.table["subject"][1] == made.table["subject"][2]
    assert "1 image is a copy of another of the class, such as a/again.png: kept" in told
    np.testing.assert_array_equal(importing(duplicates="drop")[0].hu, images)


def test_what_cannot_be_read_is_left_out_and_named(root, importing):
    images = fill(root)
    (root / "a" / "broken.png").write_bytes(b"no picture")
    (root / "a" / "empty.jpg").write_bytes(b"")
    (root / "b" / "text.dcm").write_text("no scan")
    (root / "b" / "note.txt").write_text("not looked at")
    (root / "b" / "._0.png").write_bytes(b"of a Mac")
    write(root / "c" / "nan.tif", np.full((32, 32), np.nan, np.float32))
    write(root / "loose.png", grey())
    made, told = importing()
    np.testing.assert_array_equal(made.hu, images)
    assert "4 files cannot be read and are left out: a/broken.png (" in told
    assert "1 image lies in no class and is left out: loose.png." in told
    assert "Classes of fewer than 2 images: c (0)." in told


def test_commas_and_control_characters_become_spaces_and_it_is_said(root, importing):
    fill(root, ("a,b\tc",))
    made, told = importing()
    assert set(made.table["class"]) == {"a b c"}
    assert "is called a b c" in told
    assert class_name(["Scha\u0308del", " x\ny "]) == "Schädel/x y"
    fill(root, ("a b c",))
    with pytest.raises(InputError, match="would be one class, a b c"):
        importing()


def table(path, *rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def test_subjects_and_parts_come_from_a_table(root, importing, tmp_path):
    fill(root, ("a", "ä/b"), n=1)
    listed = [("file", "subject", "split"), ("ä\\b\\0.png", "s-2", "test"), ("a/0.png", "s-1", "train")]
    made, told = importing(subjects=table(tmp_path / "who.csv", *listed, ("gone.png", "s-3", "")))
    assert made.table["subject"].tolist() == ["s-1", "s-2"]
    assert made.table["split"].tolist() == ["train", "test"]
    assert "1 row of who.csv names no image here: gone.png" in told
    assert "by image" not in told
    with pytest.raises(InputError, match=r"names no subject of 1 image: a/0\.png"):
        importing(subjects=table(tmp_path / "who.csv", *listed[:2]))
    with pytest.raises(InputError, match="does not look like a pseudonym"):
        importing(subjects=table(tmp_path / "who.csv", listed[0], ("a/0.png", "19700101", ""), listed[1]))
    with pytest.raises(InputError, match="twice"):
        importing(subjects=table(tmp_path / "who.csv", *listed, listed[1]))
    with pytest.raises(FormatError, match="no column file"):
        importing(subjects=table(tmp_path / "who.csv", ("name", "subject"), ("a/0.png", "s-1")))


def test_a_pattern_tells_persons_apart_without_naming_them(root, importing):
    for k, name in enumerate(("a/p01_1", "a/p01_2", "a/p02_1", "b/p01_3", "b/other")):
        write(root / f"{name}.png", np.full((32, 32), k, np.uint8))
    made, told = importing(subject_pattern=r"p(\d+)_")
    other, first, again, second, third = made.table["subject"][[3, 0, 1, 2, 4]]  # b/other sorts before b/p01
    assert first == again == third
    assert len({first, second, other}) == 3
    assert all(name.startswith("s-") and "p0" not in name for name in made.table["subject"])
    assert "does not fit 1 image: b/other.png" in told
    assert "1 file or series counts as a subject" in told
    assert (
        importing(subject_pattern=r"(?P<subject>p\d+)")[0].table["subject"].tolist() == made.table["subject"].tolist()
    )
    for pattern, words in (("(", "no regular expression"), ("patient", "fits no path")):
        with pytest.raises(InputError, match=words):
            importing(subject_pattern=pattern)


def test_folders_of_a_split_are_no_classes_and_deeper_folders_may_only_sort(root, importing):
    fill(root, ("train/a/one", "test/a/two", "validation/b/three"))
    made, _ = importing()
    assert set(made.table["class"]) == {"a/one", "a/two", "b/three"}
    made, _ = importing(levels=1)
    assert made.table["class"].tolist() == ["a"] * 4 + ["b"] * 2
    assert made.table["split"].tolist() == ["test"] * 2 + ["train"] * 2 + ["val"] * 2


def test_a_person_in_two_parts_of_a_split_is_noticed(root, importing):
    fill(root, ("train/a/patient1", "test/a/patient1", "test/a/patient2"))
    made, told = importing(levels=1, subject_pattern=r"patient\d")
    assert f"1 subjects stand in several parts of the split: {made.table['subject'][0]}" in told


def test_no_folder_of_classes_is_refused_with_what_is_wanted(root, importing, tmp_path):
    for words in ("There is no folder", "no images"):
        with pytest.raises(InputError, match=words):
            importing()
        root.mkdir(exist_ok=True)
    file = root / "a.png"
    write(file, grey())
    with pytest.raises(InputError, match="not in a folder for each class"):
        importing()
    with pytest.raises(InputError, match="is a file"):
        import_classes(file, tmp_path / "set")
    (root / "a").mkdir()
    (root / "a" / "b.png").write_bytes(b"")
    with pytest.raises(FormatError, match="None of the 1 files"):
        importing()
    with pytest.raises(InputError, match="20 pixels"):
        importing(size=20)
    with pytest.raises(InputError, match="window is empty"):
        importing(window_hu=(10, 10))


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    regions, sides = ["temporal"] * 4 + ["parietal"] * 4, ["left", "right"] * 3 + ["", "left"]
    columns = {"subject": np.repeat(["s-1", "s-2"], 4), "region": regions, "side": sides}
    SegmentDataset.create("set", RNG.integers(0, 2700, (8, 32, 32)).astype(np.int16), columns, kind="real")

    def run(*words, fails=False):
        result = CliRunner().invoke(skullgan, words if words[0] == "info" else ["dataset", *words])
        assert result.exit_code == fails, result.output
        return result.output

    return run


def held():
    return SegmentDataset.open("set", verify=True).table["class"].tolist()


def test_classes_are_made_of_columns_in_place_and_counted(call):
    fingerprint = SegmentDataset.open("set").meta.sha256["segments.npy"]
    output = call("classes", "set", "--by", "region,side")
    assert "temporal/left  2" in output
    assert "without a class  1" in output
    assert held() == ["temporal/left", "temporal/right"] * 2 + ["parietal/left", "parietal/right", "", "parietal/left"]
    assert SegmentDataset.open("set").meta.sha256["segments.npy"] == fingerprint
    assert "has classes already" in call("classes", "set", "--by", "region", fails=True)
    call("classes", "set", "--by", "region", "--overwrite", "--rename", "temporal=Schläfe")
    assert held() == ["Schläfe"] * 4 + ["parietal"] * 4
    call("classes", "set", "--rename", "parietal=Schläfe")
    assert set(held()) == {"Schläfe"}


def test_classes_are_read_from_a_table(call, tmp_path):
    table(tmp_path / "a.csv", ("index", "class"), *((k, "" if k == 3 else k % 2) for k in range(8)))
    call("classes", "set", "--from", "a.csv")
    assert held() == ["0", "1", "0", "", "0", "1", "0", "1"]
    call("filter", "set", "ones", "--class", "1")
    assert len(SegmentDataset.open("ones")) == 3
    table(tmp_path / "b.csv", ("index", "class"), (0, "x"))
    assert "1 rows for 8 segments" in call("classes", "set", "--from", "b.csv", "--overwrite", fails=True)
    Path("c.csv").write_text("index;class\n0;x\n")
    assert "separated by commas" in call("classes", "set", "--from", "c.csv", "--overwrite", fails=True)


def test_a_set_without_classes_names_the_columns_that_it_has(call):
    assert "--by region,side" in call("filter", "set", "some", "--class", "x", fails=True)
    made = SegmentDataset.open("set")
    SegmentDataset.create("drawn", made.hu, {"asked_class": np.repeat(["a", "b"], 4)}, kind="synthetic")
    assert "--by asked_class" in call("filter", "drawn", "some", "--class", "a", fails=True)
    call("classes", "drawn", "--by", "asked_class")
    call("filter", "drawn", "some", "--class", "a")
    assert len(SegmentDataset.open("some")) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--by", "regoin"], 'mean "region"'),
        (["--by", "sdr"], "holds numbers"),
        (["--by", "plane"], "No segment has plane"),
        (["--rename", "a=b"], "has no classes"),
        (["--by", "region", "--rename", "temporel=b"], "mean temporal"),
        (["--by", "region", "--rename", "temporal"], "does not rename"),
        ([], "--by, --from or --rename"),
        (["--by", "region", "--from", "a.csv"], "not both"),
        (["--by", "region,region"], "each column once"),
        (["--by", "region", "--rename", "temporal=a", "--rename", "temporal=b"], "two names"),
    ],
)
def test_classes_that_cannot_be_made_are_refused(call, words, said):
    assert said in call("classes", "set", *words, fails=True)
    assert "class" not in SegmentDataset.open("set").table


def test_classes_are_counted_chosen_and_drawn(call, tmp_path):
    assert "class" not in call("check", "set")
    assert "--by region,side" in call("filter", "set", "none", "--class", "temporal", fails=True)
    call("classes", "set", "--by", "region")
    assert "class: parietal 4, temporal 4" in call("check", "set")
    assert json.loads(call("info", "set", "--json"))["counts"]["class"] == {"parietal": 4, "temporal": 4}
    call("filter", "set", "chosen", "--class", "temporal", "--side", "left")
    assert len(SegmentDataset.open("chosen")) == 2
    assert "temporal" in call("filter", "set", "none", "--class", "frontal", fails=True)
    assert "Drew 6 segments" in call("sheet", "set", "rows.png", "--by", "class", "--columns", "3")
    one = cv2.imread(str(tmp_path / "rows.png"), cv2.IMREAD_UNCHANGED)
    assert one.shape == (2 * (20 + 2 + 34), 2 + 3 * 34)  # title, border, tile
    assert "Drew 4 segments" in call("sheet", "set", "some.png", "--class", "temporal")
    assert "no class frontal" in call("sheet", "set", "none.png", "--class", "frontal", fails=True)


def test_the_command_imports_and_shows_pictures_in_their_own_window(call, tmp_path):
    fill(tmp_path / "images")
    output = call("import-classes", "images", "made", "--size", "32")
    assert "4 pictures segments of 4 subjects" in output
    assert "  b  2" in output
    assert "a split is then by image" in output
    call("sheet", "made", "sheet.png", "--columns", "2")
    sheet = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(sheet[2:34, 2:34], SegmentDataset.open("made").hu[0])
    call("export", "made", "pictures", "--format", "png")
    first = cv2.imread(str(tmp_path / "pictures" / "000000.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(first, SegmentDataset.open("made").hu[0])
