"""Label synthesis from painted images to a labelled data set: what files say, what is refused, the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from test_labelling import NAMES, NETWORKS, bright, shares, tiny

from SkullGANLib.cli import label as command
from SkullGANLib.cli.main import skullgan
from SkullGANLib.ct.label_names import parse_names
from SkullGANLib.errors import Cancelled, FormatError, InputError
from SkullGANLib.generate.classes import towards_middle
from SkullGANLib.generate.export import write_segments
from SkullGANLib.generate.sample import generate_segments
from SkullGANLib.labelling import ensemble
from SkullGANLib.labelling.annotations import features_of, find_annotations
from SkullGANLib.labelling.features import draw_features
from SkullGANLib.labelling.files import load_labeller
from SkullGANLib.labelling.synthesis import spread_conditions
from SkullGANLib.labelling.training import train_on_painted
from SkullGANLib.models.conditions import encode
from SkullGANLib.segments.dataset import SegmentDataset


@pytest.fixture
def model(tmp_path):
    return tiny(tmp_path / "model")


def run(*arguments):
    return CliRunner().invoke(skullgan, ["label", *map(str, arguments)])


# painted images


@pytest.fixture
def images(model, tmp_path):
    """Images of the tiny model to paint, not yet painted."""
    values = spread_conditions(model.card, {}, 12, seed=3)
    hu = generate_segments(model, 12, seed=3, condition=encode(model.card.conditions, values), precision="float32")
    return SegmentDataset.open(write_segments(tmp_path / "images", hu, model, seed=3, conditions=values))


def test_features_come_from_what_a_set_remembers_in_any_selection(model, images):
    rows = np.array([1, 4, 7])
    np.testing.assert_allclose(features_of(model, images, rows, device="cpu").hu, images.hu[rows], atol=0.05)
    some = images.select([9, 4, 0])
    np.testing.assert_allclose(
        features_of(model, some, np.array([1, 2]), device="cpu").hu, images.hu[[4, 0]], atol=0.05
    )


def test_images_of_another_model_or_changed_ones_are_refused(model, images, tmp_path):
    rows = np.arange(3)
    with pytest.raises(InputError, match="another model drew"):
        features_of(tiny(tmp_path / "other", seed=1), images, rows)
    images.meta.model_hash = None
    with pytest.raises(InputError, match="no model is known"):
        features_of(model, images, rows)
    images.meta.model_hash = model.hash
    images.hu = np.ascontiguousarray(images.hu[:, ::-1])
    with pytest.raises(InputError, match="not those that the model draws"):
        features_of(model, images, rows)
    del images.table["asked_class"]
    with pytest.raises(InputError, match="lacks asked_class"):
        features_of(model, images, rows)


def test_images_without_a_label_are_left_out_unless_they_are_truly_empty(images):
    masks = bright(images.hu)
    masks[[2, 5]] = 0
    images.add_labels("structures", masks, {**NAMES, 7: "never painted"})
    found = find_annotations(images)
    assert (len(found.rows), found.left_out, found.empty) == (10, 2, 0)
    assert found.labels == NAMES
    np.testing.assert_array_equal(found.masks, masks[found.rows])
    found = find_annotations(images, with_empty=True)
    assert (len(found.rows), found.left_out, found.empty) == (12, 0, 2)


def test_a_set_without_paint_or_with_several_label_sets_is_refused(images):
    with pytest.raises(InputError, match="no label maps"):
        find_annotations(images)
    images.add_labels("structures", np.zeros(images.hu.shape, np.uint8))
    with pytest.raises(InputError, match="None of the 12 images is painted"):
        find_annotations(images)
    images.add_labels("other", bright(images.hu), NAMES)
    with pytest.raises(InputError, match="several label sets: other, structures"):
        find_annotations(images)
    assert find_annotations(images, label_set="other").label_set == "other"
    with pytest.raises(InputError, match="no label set wrong"):
        find_annotations(images, label_set="wrong")


def stack(path, masks, **facts):
    image = sitk.GetImageFromArray(masks)
    for key, value in facts.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    return path


def test_masks_of_a_file_have_its_names_and_a_cropped_segmentation_of_slicer_lies_where_it_was_drawn(images, tmp_path):
    masks = np.zeros(images.hu.shape, np.uint8)
    masks[3:6, 10:20, 4:9], masks[4, 12:14, 5:8] = 1, 4
    header = {
        "Segment0_LabelValue": "1",
        "Segment0_Name": "outer",
        "Segment1_LabelValue": "4",
        "Segment1_Name": "inner",
    }
    whole = find_annotations(images, masks=stack(tmp_path / "whole.seg.nrrd", masks, **header))
    assert (whole.labels, whole.label_set, whole.rows.tolist(), whole.left_out) == (NAMES, "structures", [3, 4, 5], 9)
    np.testing.assert_array_equal(whole.masks, masks[3:6])
    header["Segmentation_ReferenceImageExtentOffset"] = "4 10 3"
    part = np.ascontiguousarray(masks[3:6, 10:20, 4:9])
    cropped = find_annotations(images, masks=stack(tmp_path / "part.seg.nrrd", part, **header))
    np.testing.assert_array_equal(cropped.masks, whole.masks)
    plain = stack(tmp_path / "plain.nrrd", masks)
    found = find_annotations(images, masks=plain, names={1: "bone", 4: ""}, label_set="mine")
    assert (found.labels, found.label_set) == ({1: "bone"}, "mine")
    assert not (found.masks == 4).any()
    assert find_annotations(images, masks=plain).labels == {1: "label 1", 4: "label 4"}
    tissues = find_annotations(images, masks=plain, names={1: "outer table", 4: "diploe"})
    assert tissues.label_set == "structures"  # 4 is no diploe in masks.npy


@pytest.mark.parametrize("offset", [None, "0 0 0", "30 10 3"])
def test_masks_of_another_shape_are_refused(images, tmp_path, offset):
    facts = {} if offset is None else {"Segmentation_ReferenceImageExtentOffset": offset}
    path = stack(tmp_path / "part.nrrd", np.ones((3, 10, 5), np.uint8), **facts)
    with pytest.raises(InputError, match=r"shape \(3, 10, 5\)"):
        find_annotations(images, masks=path)


# folders and the command line


def trained(model, images, out, **options):
    images.add_labels("structures", bright(images.hu), NAMES)
    return train_on_painted(model, images, out, heads=2, steps=2, device="cpu", **options)


def test_a_labeller_comes_back_from_its_folder_as_it_was_for_its_own_model_alone(model, images, tmp_path):
    card = trained(model, images, tmp_path / "heads", seed=4)
    assert (card.annotated, card.left_out, card.steps, card.seed, len(card.sha256)) == (12, 0, 2, 4, 2)
    assert card.held_out_dice.keys() == NAMES.keys()
    labeller, same = load_labeller(tmp_path / "heads", model)
    assert same == card
    features = draw_features(model, range(3), seed=0, condition=shares(model.card, 3), device="cpu")
    again, _ = load_labeller(tmp_path / "heads")
    for mine, other in zip(labeller.label(features), again.label(features), strict=True):
        np.testing.assert_array_equal(mine, other)
    with pytest.raises(InputError, match="another model"):
        load_labeller(tmp_path / "heads", tiny(tmp_path / "other", seed=1))


def test_what_is_no_labeller_or_a_damaged_or_newer_one_is_refused(model, images, tmp_path):
    heads = tmp_path / "heads"
    with pytest.raises(FormatError, match="no labeller"):
        load_labeller(heads)
    trained(model, images, heads)
    card = json.loads((heads / "labeller.json").read_text())
    (heads / "labeller.json").write_text(json.dumps(card | {"version": 2}))
    with pytest.raises(FormatError, match="newer"):
        load_labeller(heads)
    (heads / "labeller.json").write_text(json.dumps(card | {"network": {}}))
    with pytest.raises(FormatError, match="damaged"):
        load_labeller(heads)
    (heads / "labeller.json").write_text(json.dumps(card))
    (heads / "head-0.safetensors").write_bytes(b"0")
    with pytest.raises(FormatError, match="hash"):
        load_labeller(heads)


def test_cancelling_leaves_nothing_half(model, images, tmp_path):
    class Stop:
        def update(self, done, total, message="", **values):
            self.message = message

        def cancelled(self):
            return self.message.startswith("Training")

    with pytest.raises(Cancelled):
        trained(model, images, tmp_path / "heads", progress=Stop())
    assert not (tmp_path / "heads").exists()
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize("name", NETWORKS)
def test_the_whole_way_on_the_command_line(tmp_path, name):
    model = tiny(tmp_path / "model", name)
    folder, images, heads, out = (tmp_path / each for each in ("model", "images", "heads", "set"))
    answer = run("images", "--model", folder, "--count", 11, "--seed", 3, "--first", 2, "--out", images)
    assert answer.exit_code == 0, answer.output
    assert "11 images of 32x32 pixels" in answer.output
    drawn = SegmentDataset.open(images, verify=True)
    assert drawn.table["image"].tolist() == list(range(2, 13))
    masks = bright(drawn.hu)
    masks[6] = 0
    path = stack(tmp_path / "painted.nrrd", masks)
    options = ["--model", folder, "--images", images, "--out", heads, "--heads", 2, "--steps", 2, "--device", "cpu"]
    answer = run("train", *options, "--masks", path, "--label-names", "1=outer,4=inner", "--label-set", "mine")
    assert answer.exit_code == 0, answer.output
    assert "2 networks of 2 steps learnt from 10 images" in answer.output
    assert "1 images without a label were left out" in answer.output
    assert (heads / "samples.png").is_file()
    answer = run("train", *options, "--masks", path)
    assert answer.exit_code == 1
    assert "exists already" in answer.output
    options = ["--model", folder, "--labeller", heads, "--count", 18, "--seed", 9, "--out", out, "--device", "cpu"]
    answer = run("generate", *options, "--events")
    assert answer.exit_code == 0, answer.output
    events = [json.loads(line.removeprefix("@SKULLGAN ")) for line in answer.output.splitlines() if line[0] == "@"]
    result = next(event["result"] for event in events if "result" in event)
    assert (result["segments"], result["drawn"], result["dropped"]) == (18, 20, 2)
    made = SegmentDataset.open(out, verify=True)
    assert len(made) == 18
    assert (made.meta.kind, made.meta.model_hash, made.meta.seed) == ("synthetic", model.hash, 9)
    assert made.labels("mine") == NAMES
    assert made.table["uncertainty"].dtype == float
    assert ("asked_class" in made.table) == bool(model.card.conditions)
    facts = made.meta.extra["labeller"]
    assert facts["hash"] == load_labeller(heads)[1].hash
    assert (facts["drawn"], facts["dropped"], facts["annotated"]) == (20, 2, 10)
    condition = shares(model.card, 20, 9)
    hu = generate_segments(model, 20, seed=9, condition=condition, precision="float32", device="cpu")
    np.testing.assert_array_equal(made.hu, hu[made.table["image"]])


def test_info_tells_what_labelling_networks_know(model, images, tmp_path):
    card = trained(model, images, tmp_path / "heads")
    answer = CliRunner().invoke(skullgan, ["info", str(tmp_path / "heads")])
    assert answer.exit_code == 0, answer.output
    assert f"1 outer (Dice {card.held_out_dice[1]:.3f}), 4 inner" in answer.output
    assert "written as structures" in answer.output
    assert f"family style, {model.hash[:12]}" in answer.output
    facts = json.loads(CliRunner().invoke(skullgan, ["info", "--json", str(tmp_path / "heads")]).output)
    assert (facts["kind"], facts["annotated"], facts["hash"]) == ("labeller", 12, card.hash)


def test_labelled_images_are_drawn_towards_the_middle_of_their_class(model, images, tmp_path):
    trained(model, images, tmp_path / "heads")
    options = ["--model", tmp_path / "model", "--labeller", tmp_path / "heads", "--device", "cpu", "--drop", 0]
    words = ["--class", "MR=3", "--truncation", 0.5, "--out", tmp_path / "drawn"]
    assert run("generate", *options, *words).exit_code == 0
    made = SegmentDataset.open(tmp_path / "drawn")
    assert (made.meta.extra["truncation"], made.meta.extra["centres"]) == (0.5, 1)
    condition = encode(model.card.conditions, {"class": np.repeat("MR", 3)})
    nearer = towards_middle(model, 0.5)
    hu = generate_segments(nearer, 3, seed=0, condition=condition, precision="float32", device="cpu")
    np.testing.assert_array_equal(made.hu, hu)


def test_a_name_that_no_label_set_can_have_is_refused_before_training(images, tmp_path):
    path = stack(tmp_path / "painted.nrrd", bright(images.hu))
    with pytest.raises(InputError, match="cannot name a label set"):
        find_annotations(images, masks=path, names=NAMES, label_set="Knochen")
    with pytest.raises(InputError, match="Two values are named bone"):
        parse_names("1=bone,4=bone")


def test_words_of_the_command_line_that_fit_nothing_are_refused(tmp_path):
    tiny(tmp_path / "model")
    common = ["--model", tmp_path / "model", "--out"]
    answer = run("images", *common, tmp_path / "images.nrrd")
    assert (answer.exit_code, "no folder" in answer.output) == (1, True)
    answer = run("images", *common, tmp_path / "images", "--condition", "class=PET")
    assert (answer.exit_code, "class cannot be" in answer.output) == (1, True)
    answer = run("images", "--model", "phantom-labels", "--out", tmp_path / "images")
    assert (answer.exit_code, "label maps" in answer.output) == (1, True)
    assert not (tmp_path / "images").exists()


def test_the_command_line_says_the_librarys_defaults():
    assert (command.HEADS, command.DROP) == (ensemble.HEADS, ensemble.DROP)
    words = next(each for each in command.train.params if each.name == "steps").help
    assert f"{ensemble.STEPS}; on a GPU {ensemble.STEPS_ON_GPU:,}" in words
