"""Label maps as files: what their values stand for, and drawing CT from them on the command line."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.ct.label_names import MM_WHS_LABELS, header_names, parse_names, read_labels
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.files import sha256_of
from SkullGANLib.generate.translate_files import label_slices, read_label_map, spread_rows
from SkullGANLib.models.card import ModelCard
from SkullGANLib.models.folder import Model, save_model
from SkullGANLib.models.patch_cgan import FAMILY, PatchNetwork
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train.data import whole_multiple

HEART = tuple(MM_WHS_LABELS.values())


def model(labels=("bone", "brain"), **training):
    network = PatchNetwork(
        size=32, labels=labels, neighbours=0, widths=(8, 8), norm="group", noise=1, head=0, patch=16, judge_width=8
    )
    window = IntensityWindow(minimum_hu=-1000, range_hu=3000)
    facts = {"network": network.model_dump(mode="json"), "window": window, "training": training}
    card = ModelCard(family="patch-cgan", spacing_mm=2.0, **facts)
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


def voxels(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def draw(labels, folder, out, *words, fails=False):
    call = ["volume", "from-labels", labels, "--model", folder, "--out", out, "--device", "cpu", *words]
    result = CliRunner().invoke(skullgan, [str(word) for word in call])
    assert result.exit_code == fails, result.output
    return result.output


# what values stand for ------------------------------------------------------------------------------------------------


def test_values_of_the_whole_heart_challenge_are_known_and_numbered_anew(tmp_path, heart):
    path = write(tmp_path / "map.nii.gz", boxes(*MM_WHS_LABELS))
    assert read_labels(path)[0].hu.dtype == np.uint16
    output = draw(path, heart, tmp_path / "ct")
    assert "with the model's numbers: 205 as 5 myocardium, 420 as 3 left atrium" in output
    facts = json.loads((tmp_path / "ct" / "volumes.json").read_text(encoding="utf-8"))
    assert facts["labels"] == {str(value): name for value, name in sorted(MM_WHS_LABELS.items())}
    own = boxes(1, 2, 3, 4, 5, 6, 7, kind=np.uint8)  # as the model numbers them
    draw(write(tmp_path / "own.nrrd", own), heart, tmp_path / "same")
    one, other = (voxels(tmp_path / name / "volume-0001.nrrd") for name in ("ct", "same"))
    assert np.array_equal(one, other)


def test_a_map_of_another_organ_is_refused_by_name_and_by_the_values_of_the_file(tmp_path, saved):
    output = draw(write(tmp_path / "map.nii.gz", boxes(500, 600)), saved, tmp_path / "ct", fails=True)
    assert "does not know the labels left ventricle (500), right ventricle (600); it knows: bone, brain" in output
    assert "Choose a model that was trained with these labels" in output


def test_advice_about_unknown_labels_can_be_followed(tmp_path, heart):
    path = write(tmp_path / "map.nii.gz", boxes(500, 421, 30))
    refused = draw(path, heart, tmp_path / "ct", fails=True)
    assert "label 30 (30), label 421 (421), label 500 (500)" in refused
    output = draw(path, heart, tmp_path / "ct", "--names", "421=", "--names", "30=aorta,500=left ventricle")
    assert "30 as 7 aorta, 500 as 1 left ventricle" in output
    draw(write(tmp_path / "whs.nii.gz", boxes(500, 421)), heart, tmp_path / "whs", "--names", "421=")
    assert json.loads((tmp_path / "whs" / "volumes.json").read_text())["labels"] == {"500": "left ventricle"}


def test_a_file_that_names_nothing_is_drawn_with_a_note_of_what_is_assumed(tmp_path, saved):
    output = draw(write(tmp_path / "map.nrrd", boxes(1, 2)), saved, tmp_path / "ct")
    assert "Note: The file does not name its labels: 1 is taken for bone, 2 is taken for brain." in output
    output = draw(tmp_path / "map.nrrd", saved, tmp_path / "named", "--names", "1=bone,2=brain")
    assert "Note" not in output


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("label 3", "label 7"), {3: "label 3", 7: "label 7", 1: "label 1"}),
        (("bone", "label 3", "brain"), {3: "label 3", 7: "label 7", 1: "bone"}),
    ],
)
def test_labels_without_names_are_those_of_the_same_number(tmp_path, labels, expected):
    path, known = write(tmp_path / "map.nrrd", boxes(*expected)), model(labels)
    unknown = {value: "" for value, name in expected.items() if name not in labels}
    with pytest.raises(InputError, match=", ".join(rf"{expected[value]} \({value}\)" for value in unknown)):
        read_label_map(path, known, {})
    assert read_label_map(path, known, unknown)[1] == expected | unknown


def test_a_phantom_says_what_its_labels_are_beside_its_files_and_of_no_other_file(tmp_path):
    listed = {"format": "skullgan-phantom", "labels": {"skull_bone": 1}, "heads": [{"files": ["own.nrrd"]}]}
    (tmp_path / "phantom.json").write_text(json.dumps(listed))
    assert read_labels(write(tmp_path / "own.nrrd", boxes(1)))[1] == {1: "skull bone"}
    assert read_labels(write(tmp_path / "other.nrrd", boxes(1)))[1] == {}
    (tmp_path / "phantom.json").write_text('{"heads": 3}')
    assert read_labels(tmp_path / "own.nrrd")[1] == {}


def test_a_phantom_of_other_labels_is_refused_by_their_names(tmp_path, saved):
    listed = {"format": "skullgan-phantom", "labels": {"csf": 1, "bone": 2}, "heads": [{"files": ["own.nrrd"]}]}
    (tmp_path / "phantom.json").write_text(json.dumps(listed))
    assert "csf (1)" in draw(write(tmp_path / "own.nrrd", boxes(1, 2)), saved, tmp_path / "ct", fails=True)


def test_a_segment_keeps_its_trimmed_name_and_one_without_is_called_by_its_number(tmp_path):
    facts = {"Segment0_LabelValue": "1", "Segment0_Name": " bone ", "Segment1_LabelValue": "2", "Segment1_Name": " "}
    path = write(tmp_path / "map.seg.nrrd", boxes(1, 2), **facts)
    assert header_names(path) == {1: "bone", 2: "label 2"}


def test_a_label_value_that_is_no_whole_number_is_refused_with_its_segment(tmp_path):
    path = write(tmp_path / "map.seg.nrrd", boxes(1), Segment0_LabelValue="1.5", Segment0_Name="bone")
    with pytest.raises(FormatError, match=r'The segment "bone" of .*map.seg.nrrd has the label value .1.5.'):
        header_names(path)


def test_a_segmentation_that_is_cut_short_is_refused_in_words(tmp_path, saved):
    path = write(tmp_path / "map.seg.nrrd", boxes(1))
    path.write_bytes(path.read_bytes()[:40])
    assert "Error: map.seg.nrrd cannot be read." in draw(path, saved, tmp_path / "ct", fails=True)


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
    assert "Note" not in draw(path, saved, tmp_path / "ct", "--names", "3=")
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
    second, again = (voxels(tmp_path / name) for name in ("ct/volume-0002.nrrd", "again/volume-0001.nrrd"))
    assert (second == again).all()


@pytest.mark.parametrize("shape", [(32, 32), (1, 32, 32)])
def test_a_single_slice_is_drawn_as_it_would_be_in_a_volume(tmp_path, saved, shape):
    draw(write(tmp_path / "map.nrrd", boxes(1, 2, shape=shape)), saved, tmp_path / "ct")
    drawn = voxels(tmp_path / "ct" / "volume-0001.nrrd")
    assert drawn.shape == (1, 32, 32)
    draw(write(tmp_path / "thick.nrrd", boxes(1, 2)), saved, tmp_path / "thick", "--smooth-mm", "0")
    draw(tmp_path / "map.nrrd", saved, tmp_path / "thin", "--smooth-mm", "0")
    one, first = (voxels(tmp_path / name / "volume-0001.nrrd")[0].astype(int) for name in ("thin", "thick"))
    assert np.abs(one - first).max() <= 1
    height, width = cv2.imread(str(tmp_path / "ct" / "preview.png")).shape[:2]
    assert (height, width) == (2 * (240 + 20) + 2 * 20, 240)  # one view each, and a line for each label


def test_a_single_slice_of_another_plane_is_not_drawn_as_lines(tmp_path):
    coronal = save_model(tmp_path / "model", model(plane="coronal"))
    output = draw(write(tmp_path / "map.nrrd", boxes(1, 2, shape=(1, 32, 32))), coronal, tmp_path / "ct", fails=True)
    assert "a single slice that is not coronal" in output
    upright = boxes(1, 2, shape=(1, 32, 32)).transpose(1, 0, 2)
    draw(write(tmp_path / "upright.nrrd", upright), coronal, tmp_path / "ct")
    assert voxels(tmp_path / "ct" / "volume-0001.nrrd").shape == (32, 1, 32)


def test_the_preview_shows_labels_in_the_colours_of_the_models_numbers(tmp_path, saved):
    draw(write(tmp_path / "map.nrrd", boxes(2, 1)), saved, tmp_path / "ct", "--names", "1=brain,2=bone")
    picture = cv2.imread(str(tmp_path / "ct" / "preview.png"))[..., ::-1]
    places = [np.argwhere((picture[:240, :240] == colour).all(-1)) for colour in ((230, 159, 0), (86, 180, 233))]
    assert [len(each) > 500 for each in places] == [True, True]
    assert places[0][:, 0].max() < places[1][:, 0].min()  # bone, the first of the model, lies above the brain


@pytest.fixture
def slices(tmp_path):
    """Sixteen slices of one subject, eight of another."""
    masks = np.ascontiguousarray(np.broadcast_to(boxes(1, 2, shape=(32, 32), kind=np.uint8), (24, 32, 32)))
    table = {"subject": ["a"] * 16 + ["b"] * 8}
    named = {"masks": {"own": masks}, "labels": {"own": {1: "bone", 2: "brain"}}}
    hu = np.zeros(masks.shape, np.int16)
    return SegmentDataset.create(tmp_path / "set", hu, table, kind="real", spacing_mm=2.0, **named)


def test_slices_to_draw_are_spread_over_subjects_and_through_each_head(slices):
    made = slices
    assert spread_rows(made, 2).tolist() == [8, 18]  # the middle of one, a quarter of the other
    assert spread_rows(made, 4).tolist() == [0, 8, 18, 22]
    assert spread_rows(made, 99).tolist() == list(range(24))
    together = [*spread_rows(made, 4), *spread_rows(made, 4, first=4)]
    assert len(set(together)) == 8


def test_a_slice_is_drawn_the_same_however_many_are_asked_for(slices, tmp_path, saved):
    def made(name, *words):
        call = ["generate", "--model", saved, "--labels", slices.path, "--out", tmp_path / name, "--device", "cpu"]
        result = CliRunner().invoke(skullgan, [str(word) for word in [*call, *words]])
        assert result.exit_code == 0, result.output
        return SegmentDataset.open(tmp_path / name), result.output

    few, silent = made("few", "--count", 4)
    every, told = made("every", "--count", 30)
    assert few.table["image"].tolist() == [0, 8, 18, 22]
    np.testing.assert_allclose(few.hu, every.hu[few.table["image"]], atol=1)
    assert "Note: The data set has 24 label maps, so 24 were drawn, not 30." in told
    assert "Note" not in silent


def test_labels_of_a_data_set_that_do_not_occur_do_not_matter_and_others_are_refused(slices, tmp_path):
    facts = {"kind": "real", "spacing_mm": 2.0, "masks": {"own": slices.label_sets["own"]}}
    named = {"own": {1: "bone", 2: "brain", 3: "scalp"}}
    wider = SegmentDataset.create(tmp_path / "wider", slices.hu, slices.table, labels=named, **facts)
    assert label_slices(model(), wider, np.arange(3))[0].max() == 2
    with pytest.raises(InputError, match=r"does not know the labels brain \(2\)") as refused:
        label_slices(model(("bone",)), wider, np.arange(3))
    assert "import-pairs --label-names 2=" in refused.value.advice


# data sets ------------------------------------------------------------------------------------------------------------


def pairs(folder, values, name="p1", ending="nii.gz", **facts):
    hu = np.random.default_rng(len(name)).integers(-50, 900, (4, 64, 64)).astype(np.int16)
    folder.mkdir(exist_ok=True)
    write(folder / f"{name}_image.nii.gz", hu)
    write(folder / f"{name}_label.{ending}", boxes(*values, shape=hu.shape), **facts)
    return folder


def imported(root, out, *words, fails=False):
    call = ["dataset", "import-pairs", root, "--out", out, "--size", "64", *words]
    result = CliRunner().invoke(skullgan, [str(word) for word in call])
    assert result.exit_code == fails, result.output
    return result.output if fails else SegmentDataset.open(out)


def test_what_is_said_to_be_no_label_is_background_in_a_data_set_and_other_names_stay(tmp_path):
    facts = {"Segment0_LabelValue": "1", "Segment0_Name": "bone", "Segment1_LabelValue": "2", "Segment1_Name": "table"}
    root = pairs(tmp_path / "root", (1, 2), ending="seg.nrrd", **facts)
    made = imported(root, tmp_path / "set", "--label-names", "2=")
    assert made.labels("structures") == {1: "bone"}
    assert set(np.unique(made.label_sets["structures"])) == {0, 1}
    refused = imported(root, tmp_path / "none", "--label-names", "1=", "--label-names", "2=", fails=True)
    assert "all its labels are said to be none" in refused
    assert "1 is named twice" in imported(
        root, tmp_path / "x", "--label-names", "1=a", "--label-names", "1=b", fails=True
    )


def test_the_value_of_a_stray_label_can_be_left_out_of_hearts_and_the_numbers_stay(tmp_path):
    root = pairs(tmp_path / "root", (205, 421, 850))
    made = imported(root, tmp_path / "set", "--label-names", "421=")
    assert made.labels("structures") == {5: "myocardium", 6: "pulmonary artery"}
    refused = imported(root, tmp_path / "other", "--label-names", "205=myocardium,850=aorta", fails=True)
    assert "without a name: 421" in refused
    assert "--label-names 421=" in refused


def test_sizes_that_no_network_draws_are_refused_with_the_next_that_it_does(tmp_path):
    with pytest.raises(ValueError, match="a multiple of 128, which the 7 widths halve; the next is 256"):
        PatchNetwork(size=192)
    with pytest.raises(InputError) as refused:
        whole_multiple(96, 256)
    assert "import-pairs --size 256" in refused.value.advice
