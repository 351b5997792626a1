"""Classes in the module's logic: folders of images, columns of a data set, what a model is asked for; real children."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from test_labelling import CLASSES, tiny

from SkullGANLib.errors import InputError, SkullGANError
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.sheet import write_png


@pytest.fixture
def pictures(tmp_path):
    """Two classes of three pictures of 40 x 40 pixels, of two persons, and one that lies in no class."""
    generator = np.random.default_rng(0)
    for name, level in (("CT/frontal", 100), ("CT/parietal", 200)):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for k in range(3):
            write_png(folder / f"p{k // 2}-{k}.png", generator.integers(level - 20, level, (40, 40)).astype(np.uint8))
    write_png(tmp_path / "pictures" / "loose.png", np.zeros((40, 40), np.uint8))
    return tmp_path / "pictures"


def test_folders_of_images_become_a_data_set_with_classes(logic, pictures, tmp_path):
    job = logic.importClasses(pictures, tmp_path / "set", size=32, subject_pattern=r"p(\d)-", wait=False)
    while job.poll():
        pass
    dataset = job.value
    assert isinstance(dataset, SegmentDataset)
    assert sorted(dataset.table["class"]) == ["CT/frontal"] * 3 + ["CT/parietal"] * 3
    assert len(set(dataset.table["subject"])) == 2
    assert dataset.hu.shape == (6, 32, 32)
    assert (dataset.meta.kind, dataset.meta.spacing_mm) == ("pictures", 0.45)
    assert job.result["classes"] == {"CT/frontal": 3, "CT/parietal": 3}
    assert any("lies in no class" in note for note in job.result["notes"])


def test_window_pixels_subjects_and_further_options_are_kept(logic, pictures, tmp_path):
    rows = [f"{path.relative_to(pictures).as_posix()},s{k}" for k, path in enumerate(sorted(pictures.rglob("*/*.png")))]
    (tmp_path / "who.csv").write_text("\n".join(["file,subject", *rows]), encoding="utf-8")
    given = {"window_hu": (-1000, 2000), "subjects": tmp_path / "who.csv", "options": {"levels": 1}}
    dataset = logic.importClasses(pictures, tmp_path / "set", size=40, spacing_mm=0.9, **given)
    assert set(dataset.table["class"]) == {"CT"}
    assert len(set(dataset.table["subject"])) == 6
    assert (dataset.meta.kind, dataset.meta.spacing_mm) == ("real", 0.9)
    assert dataset.hu.min() >= 80 / 255 * 3000 - 1000 - 1
    with pytest.raises(SkullGANError, match="exists already"):
        logic.importClasses(pictures, tmp_path / "set")
    assert len(logic.importClasses(pictures, tmp_path / "set", overwrite=True)) == 6


def test_one_picture_in_two_classes_is_refused_or_left_out(logic, pictures, tmp_path):
    copy = pictures / "CT" / "parietal" / "again.png"
    copy.write_bytes((pictures / "CT" / "frontal" / "p0-0.png").read_bytes())
    with pytest.raises(SkullGANError, match="two classes"):
        logic.importClasses(pictures, tmp_path / "set", size=32)
    assert len(logic.importClasses(pictures, tmp_path / "set", size=32, duplicates="drop")) == 5


def test_columns_and_tables_make_classes_that_can_be_renamed(logic, tmp_path):
    hu = np.zeros((3, 32, 32), np.int16)
    table = {"region": np.array(["temporal", "parietal", ""]), "side": np.array(["left", "left", "right"])}
    dataset = SegmentDataset.create(tmp_path / "set", hu, table, kind="real")
    assert logic.makeClasses(dataset) == {"temporal/left": 1, "parietal/left": 1, "-": 1}
    with pytest.raises(SkullGANError, match="has classes already"):
        logic.makeClasses(dataset, "side")
    assert logic.makeClasses(tmp_path / "set", "side", overwrite=True) == {"left": 2, "right": 1}
    (tmp_path / "told.csv").write_text("index,class\n0,a\n1,b\n2,b\n", encoding="utf-8")
    assert logic.makeClasses(dataset, table=tmp_path / "told.csv", overwrite=True) == {"b": 2, "a": 1}
    assert logic.makeClasses(dataset, (), names={"a": "spongy"}) == {"b": 2, "spongy": 1}
    assert SegmentDataset.open(tmp_path / "set").table["class"].tolist() == ["spongy", "b", "b"]
    np.save(tmp_path / "array.npy", hu)
    with pytest.raises(InputError, match="is no data set"):
        logic.makeClasses(tmp_path / "array.npy")


@pytest.mark.parametrize(
    ("classes", "asked"),
    [
        (None, []),
        ("all", ["--class", "all"]),
        (["a", "b"], ["--class", "a", "--class", "b"]),
        ({"a": 50, "b=c": 2, "d": None}, ["--class", "a=50", "--class", "b=c=2", "--class", "d"]),
        ({}, []),
    ],
)
def test_classes_are_asked_for_by_name_and_number(module, classes, asked):
    from SkullGANSlicer import inputs

    assert inputs.classFlags(classes) == asked


def test_several_classes_are_drawn_into_the_scene_in_one_go(logic, tmp_path):
    from SkullGANSlicer.scene import tableColumns

    model = tmp_path / "model"
    tiny(model)
    asked = {"MR": 2, "CT/thin": None}
    volume, table = logic.generate(model, count=3, classes=asked, device="cpu")
    assert slicer.util.arrayFromVolume(volume).shape == (5, 32, 32)
    assert tableColumns(table)["asked_class"].tolist() == ["MR"] * 2 + ["CT/thin"] * 3
    _, table = logic.generate(model, count=1, classes="all", device="cpu")
    assert tableColumns(table)["asked_class"].tolist() == list(CLASSES)
    for wrong, words in (({"MRI": 1}, "knows no class 'MRI'"), ({"MR": 0}, "names no number")):
        with pytest.raises(SkullGANError, match=words):
            logic.generate(model, classes=wrong, device="cpu")


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, []),
        ({"centres": 4}, []),  # which say nothing without a truncation
        ({"truncation": 0.7}, ["--truncation", "0.7", "--centres", "1"]),
        ({"truncation": 0, "centres": 4}, ["--truncation", "0", "--centres", "4"]),
        ({"truncation": 1.5}, ["--truncation", "1.5", "--centres", "1"]),  # for the command line to refuse
    ],
)
def test_less_variety_is_asked_for_in_the_words_of_the_command_line(module, given, asked):
    from SkullGANSlicer import inputs

    assert inputs.truncationFlags(**{"truncation": 1.0, "centres": 1} | given) == asked


def test_images_drawn_towards_the_middle_of_their_class_are_more_alike_and_say_so(logic, tmp_path):
    from SkullGANSlicer.inputs import openDataset

    model, spread, told = tmp_path / "model", [], []
    tiny(model)
    for truncation in (1.0, 0.5, 0.0):
        volume, _ = logic.generate(model, count=6, classes=["MR"], truncation=truncation, device="cpu")
        spread.append(slicer.util.arrayFromVolume(volume).std(axis=0).mean())
        told.append(openDataset(volume).meta.extra.get("truncation"))
    assert spread[0] > spread[1] > spread[2]
    assert told == [None, 0.5, 0.0]
    relativistic = tmp_path / "relativistic"
    tiny(relativistic, "skullgan")
    with pytest.raises(SkullGANError, match="cannot be drawn towards the middle"):
        logic.generate(relativistic, truncation=0.5, device="cpu")


def test_a_data_set_is_reduced_to_the_pixels_of_a_small_model(logic, tmp_path):
    generator = np.random.default_rng(0)
    hu = generator.integers(0, 2000, (3, 64, 64)).astype(np.int16)
    given = SegmentDataset.create(tmp_path / "set", hu, {"class": np.array(["a", "b", "b"])}, kind="real")
    made = logic.reduce(given, 32, tmp_path / "small")
    assert (made.path, made.meta.spacing_mm, made.meta.kind) == (tmp_path / "small", 0.9, "real")
    np.testing.assert_array_equal(made.hu, np.rint(hu.reshape(3, 32, 2, 32, 2).mean((2, 4))))
    assert made.table["class"].tolist() == ["a", "b", "b"]
    volume, _ = logic.show(given)
    with pytest.raises(SkullGANError, match="exists already"):
        logic.reduce(volume, 32, tmp_path / "small")
    assert len(logic.reduce(volume, 32, tmp_path / "small", overwrite=True)) == 3
    with pytest.raises(SkullGANError, match="64 pixels cannot be reduced to 48"):
        logic.reduce(given, 48, tmp_path / "other")
