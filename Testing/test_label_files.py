"""Label maps as files: what their values stand for, and drawing CT from them on the command line."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.ct.label_names import MM_WHS_LABELS, header_names, numbered, parse_names, read_labels
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.files import sha256_of
from SkullGANLib.generate.translate_files import read_label_map, spread_rows
from SkullGANLib.models.card import ModelCard
from SkullGANLib.models.folder import Model, save_model
from SkullGANLib.models.patch_cgan import FAMILY, PatchNetwork
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.segments.dataset import SegmentDataset

HEART = tuple(MM_WHS_LABELS.values())


def model(labels=("bone", "brain")):
    network = PatchNetwork(
        size=32, labels=labels, neighbours=0, widths=(8, 8), norm="group", noise=1, head=0, patch=16, judge_width=8
    )
    window = IntensityWindow(minimum_hu=-1000, range_hu=3000)
    card = ModelCard(family="patch-cgan", network=network.model_dump(mode="json"), window=window, spacing_mm=2.0)
    return Model(card, FAMILY.build_generator(network).eval())


@pytest.fixture
def saved(tmp_path):
    return save_model(tmp_path / "model", model())


@pytest.fixture
def heart(tmp_path):
    return save_model(tmp_path / "heart", model(HEART))


def write(path, values, **facts):
    values = np.asarray(values)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((2.0,) * values.ndim)
    for key, value in facts.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    return path


def boxes(*values, kind=np.uint16, shape=(4, 32, 32)):
    made = np.zeros(shape, kind)
    for k, value in enumerate(values):
        made[..., 4 * k : 4 * k + 4, 4:20] = value
    return made


def draw(labels, folder, out, *words, fails=False):
    call = ["volume", "from-labels", labels, "--model", folder, "--out", out, "--device", "cpu", *words]
    result = CliRunner().invoke(skullgan, [str(word) for word in call])
    assert result.exit_code == fails, result.output
    return result.output


# what values stand for ------------------------------------------------------------------------------------------------


def test_values_of_the_whole_heart_challenge_are_known_and_numbered_anew(tmp_path, heart):
    path = write(tmp_path / "map.nii.gz", boxes(*MM_WHS_LABELS))
    labels, names = read_labels(path)
    assert labels.hu.dtype == np.uint16
    assert names == MM_WHS_LABELS
    small, renamed = numbered(labels, names)
    assert small.hu.dtype == np.uint8
    for value, name in MM_WHS_LABELS.items():
        number = {word: k for k, word in renamed.items()}[name]
        assert ((small.hu == number) == (labels.hu == value)).all()
    output = draw(path, heart, tmp_path / "ct")
    assert "new numbers: 1 myocardium, 2 left atrium" in output
    facts = json.loads((tmp_path / "ct" / "volumes.json").read_text(encoding="utf-8"))
    assert set(facts["labels"].values()) == set(HEART)


def test_a_map_of_another_organ_is_refused_by_name(tmp_path, saved):
    output = draw(write(tmp_path / "map.nii.gz", boxes(500, 600)), saved, tmp_path / "ct", fails=True)
    assert "does not know the labels left ventricle (1), right ventricle (2)" in output


def test_a_file_that_names_nothing_is_drawn_with_a_note_of_what_is_assumed(tmp_path, saved):
    output = draw(write(tmp_path / "map.nrrd", boxes(1, 2)), saved, tmp_path / "ct")
    assert "does not say what its labels are: 1 is taken for bone, 2 is taken for brain." in output


def test_labels_without_names_are_those_of_the_same_number(tmp_path):
    numbers = model(("label 3", "label 7"))
    _, names, _ = read_label_map(write(tmp_path / "map.nrrd", boxes(3, 7)), numbers, {})
    assert names == {3: "label 3", 7: "label 7"}


def test_a_phantom_says_what_its_labels_are_beside_its_files_and_of_no_other_file(tmp_path):
    listed = {"format": "skullgan-phantom", "labels": {"skull_bone": 1}, "heads": [{"files": ["own.nrrd"]}]}
    (tmp_path / "phantom.json").write_text(json.dumps(listed))
    assert read_labels(write(tmp_path / "own.nrrd", boxes(1)))[1] == {1: "skull bone"}
    assert read_labels(write(tmp_path / "other.nrrd", boxes(1)))[1] == {}
    (tmp_path / "phantom.json").write_text('{"heads": 3}')
    assert read_labels(tmp_path / "own.nrrd")[1] == {}


def test_a_segment_keeps_its_trimmed_name_and_one_without_is_called_by_its_number(tmp_path):
    facts = {"Segment0_LabelValue": "1", "Segment0_Name": " bone ", "Segment1_LabelValue": "2", "Segment1_Name": " "}
    path = write(tmp_path / "map.seg.nrrd", boxes(1, 2), **facts)
    assert header_names(path) == {1: "bone", 2: "label 2"}


def test_a_label_value_that_is_no_whole_number_is_refused_with_its_segment(tmp_path):
    path = write(tmp_path / "map.seg.nrrd", boxes(1), Segment0_LabelValue="1.5", Segment0_Name="bone")
    with pytest.raises(FormatError, match=r"Segment0 of .* has the label value '1.5'"):
        header_names(path)


@pytest.mark.parametrize(("text", "names"), [("1=bone,2=", {1: "bone", 2: ""}), ("500 = aorta ", {500: "aorta"})])
def test_names_are_read_as_said(text, names):
    assert parse_names(text) == names


def test_a_value_that_is_named_twice_is_refused():
    with pytest.raises(InputError, match="1 is named twice"):
        parse_names("1=bone,1=brain")


def test_a_value_can_be_said_to_be_no_label_and_unused_segments_do_not_matter(tmp_path, saved):
    facts = {f"Segment{k}_LabelValue": str(k + 1) for k in range(4)}
    facts |= {f"Segment{k}_Name": name for k, name in enumerate(("bone", "brain", "scalp", "table"))}
    path = write(tmp_path / "map.seg.nrrd", boxes(1, 2, 3), **facts)  # the table is not drawn
    refused = draw(path, saved, tmp_path / "ct", fails=True)
    assert "scalp (3)" in refused
    assert "table" not in refused
    assert "--names 3=" in refused
    draw(path, saved, tmp_path / "ct", "--names", "3=")
    drawn = json.loads((tmp_path / "ct" / "volumes.json").read_text(encoding="utf-8"))
    assert drawn["labels"] == {"1": "bone", "2": "brain"}


# drawing --------------------------------------------------------------------------------------------------------------


def test_the_folder_says_what_it_takes_to_draw_a_volume_again(tmp_path, saved):
    path = write(tmp_path / "map.nrrd", boxes(1, 2))
    draw(path, saved, tmp_path / "ct", "--count", "2", "--seed", "5")
    facts = json.loads((tmp_path / "ct" / "volumes.json").read_text(encoding="utf-8"))
    assert facts["labels_sha256"] == sha256_of(path)
    assert [each["seed"] for each in facts["files"]] == [5, 6]
    draw(path, saved, tmp_path / "again", "--seed", str(facts["files"][1]["seed"]))
    second, again = (sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))) for name in
                     ("ct/volume-0002.nrrd", "again/volume-0001.nrrd"))  # fmt: skip
    assert (second == again).all()


@pytest.mark.parametrize("shape", [(32, 32), (1, 32, 32)])
def test_a_single_slice_is_drawn(tmp_path, saved, shape):
    draw(write(tmp_path / "map.nrrd", boxes(1, 2, shape=shape)), saved, tmp_path / "ct")
    drawn = sitk.ReadImage(str(tmp_path / "ct" / "volume-0001.nrrd"))
    assert drawn.GetSize() == (32, 32, 1)


def test_the_preview_shows_labels_in_their_colours(tmp_path, saved):
    draw(write(tmp_path / "map.nrrd", boxes(1, 2)), saved, tmp_path / "ct")
    picture = cv2.imread(str(tmp_path / "ct" / "preview.png"))[..., ::-1].reshape(-1, 3)
    for colour in ((230, 159, 0), (86, 180, 233)):
        assert (picture == colour).all(1).sum() > 500


def test_slices_to_draw_are_spread_over_subjects_and_through_each_head(tmp_path):
    hu = np.zeros((24, 32, 32), np.int16)
    table = {"subject": ["a"] * 16 + ["b"] * 8}
    made = SegmentDataset.create(tmp_path / "set", hu, table, kind="real")
    assert spread_rows(made, 4).tolist() == [0, 8, 16, 20]
    assert spread_rows(made, 99).tolist() == list(range(24))
    together = [*spread_rows(made, 4), *spread_rows(made, 4, first=4)]
    assert len(set(together)) == 8
