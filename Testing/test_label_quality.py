"""A model compared with label maps: what cannot be is refused before anything is drawn, what it means is noted."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate import conditional_sums, segmenter
from SkullGANLib.generate import label_quality
from SkullGANLib.generate.label_quality import compare_with_labels
from SkullGANLib.models.card import ModelCard
from SkullGANLib.models.folder import Model, load_model, save_model
from SkullGANLib.models.patch_cgan import FAMILY, PatchNetwork
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.segments.dataset import SegmentDataset

NETWORK = PatchNetwork(size=32, labels=("ring", "core"), widths=(8, 8), norm="group", noise=1, head=4, patch=4)
HU = np.array([-1000, 800, 100], np.int16)
SPACING_MM = 2.0


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    """What is asked here does not depend on how long the segmenter learns or how often is drawn anew."""
    monkeypatch.setattr(segmenter, "train_segmenter", partial(segmenter.train_segmenter, steps=2))
    whole = conditional_sums.figure_of
    monkeypatch.setattr(conditional_sums, "figure_of", lambda *given, **named: whole(*given, repeats=20, **named))


@pytest.fixture
def undrawn(monkeypatch):
    """Drawing is a failure of the test."""
    monkeypatch.setattr(label_quality, "translate_slices", lambda *given, **named: pytest.fail("drew already"))


@pytest.fixture
def slices(tmp_path):
    """Makes a data set of squares in squares: two slices of each subject, in the part that stands for it."""

    def make(name="data", parts=("train", "train", "val", "test"), *, size=32, names=None, first=0, **given):
        masks = np.zeros((2 * len(parts), size, size), np.uint8)
        for k, mask in enumerate(masks):
            mask[4 + k : 24, 6:26] = 1
            mask[9 + k : 19, 11:21] = 2
        table = {
            "subject": np.repeat([f"s{first + k}" for k in range(len(parts))], 2),
            "position_mm": np.tile([0.0, 3.0], len(parts)),
            "split": np.repeat(parts, 2),
        }
        facts = {"kind": "real", "spacing_mm": SPACING_MM, "background_hu": -1000.0} | given
        names = {1: "ring", 2: "core"} if names is None else names
        masks = np.where(np.isin(masks, [*names]), masks, 0)
        hu = HU[masks] + np.random.default_rng(0).integers(-9, 9, masks.shape, np.int16)
        return SegmentDataset.create(
            tmp_path / name, hu, table, masks={"rings": masks}, labels={"rings": names}, **facts
        )

    return make


@pytest.fixture
def model(tmp_path):
    """An untrained model, which says of each data set given that it was trained with it."""

    def make(*data_sets):
        card = ModelCard(
            family="patch-cgan",
            network=NETWORK.model_dump(mode="json"),
            window=IntensityWindow(minimum_hu=-1000, range_hu=2000),
            spacing_mm=SPACING_MM,
            background_hu=-1000.0,
            training={"label_set": "rings", "data_sets": [each.fingerprint for each in data_sets]},
        )
        return load_model(save_model(tmp_path / "model", Model(card, FAMILY.build_generator(NETWORK))))

    return make


def told(found):
    return " ".join(found.notes)


def test_one_subject_is_compared_without_mask_consistency_and_that_is_noted(model, slices, tmp_path):
    given = slices(parts=("train",))
    found = compare_with_labels(model(), given, tmp_path / "report", draws=1, device="cpu")
    assert "Mask consistency was not measured." in told(found)
    assert "no slices of other subjects to learn from. Give others with --training." in told(found)
    assert "dice_generated" not in found.overall
    content = json.loads((tmp_path / "report" / "conditional.json").read_text())
    assert content["notes"] == found.notes
    with_others = compare_with_labels(
        model(), given, tmp_path / "other", training=slices("others", ("", ""), first=7), draws=1, device="cpu"
    )
    assert "dice_generated" in with_others.overall
    assert "was not measured" not in told(with_others)


def test_the_command_compares_with_the_training_part_itself(model, slices, tmp_path):
    data = slices()
    model(data)
    words = ["evaluate", "--labels", data.path, "--model", tmp_path / "model", "--out", tmp_path / "report"]
    done = CliRunner().invoke(skullgan, [str(word) for word in [*words, "--split", "train", "--device", "cpu"]])
    assert done.exit_code == 0, done.output
    assert "Give others with --training." in done.output
    assert "4 of 4 slices are not of its part test" in done.output


def test_slices_that_the_model_has_seen_are_told_and_those_of_the_test_part_are_not(model, slices, tmp_path):
    data = slices()
    compare = partial(compare_with_labels, draws=1, device="cpu", overwrite=True, out=tmp_path / "report")
    assert "6 of 8 slices are not of its part test" in told(compare(model(data), data, split="all"))
    assert "2 of 2 slices are not of its part test" in told(compare(model(data), data, split="val"))
    assert "trained with this data set" not in told(compare(model(data), data))
    assert "trained with this data set" not in told(compare(model(), data, split="all"))


def test_what_is_not_real_ct_is_told_and_so_is_that_copies_are_not_looked_for(model, slices, tmp_path):
    compare = partial(compare_with_labels, model(), draws=1, device="cpu", overwrite=True, out=tmp_path / "report")
    real, phantoms, drawn = (compare(slices(kind, kind=kind)) for kind in ("real", "phantom", "synthetic"))
    assert "nothing is said of real CT" not in told(real)
    assert "What is called real here are phantoms: nothing is said of real CT." in told(phantoms)
    assert "What is called real here are images that a model drew" in told(drawn)
    assert "no sign of a copy" in told(real)


@pytest.mark.parametrize(
    ("others", "words", "advice"),
    [
        ({"spacing_mm": 2.1}, "have pixels of 2.1 mm, those to compare of 2 mm", "Import them with pixels of 2 mm"),
        ({"names": {1: "ring"}}, "do not know core", "the same labels"),
        ({"names": {1: "ring", 2: "bone"}}, r"does not know the labels bone \(2\)", "Name the labels"),
        ({"size": 36}, "cannot be segmented", "multiples of 8"),
        ({"first": 3, "parts": ("",)}, "no slices of other subjects", "Give others"),
    ],
)
def test_slices_that_would_mislead_the_segmenter_are_refused_before_drawing(
    model, slices, tmp_path, undrawn, others, words, advice
):
    training = slices("training", **{"first": 7, **others})
    with pytest.raises(InputError, match=words) as caught:
        compare_with_labels(model(), slices(), tmp_path / "report", training=training)
    assert advice in caught.value.advice


def test_pixels_that_differ_by_less_than_the_model_minds_teach_the_segmenter(model, slices, tmp_path):
    training = slices("training", first=7, spacing_mm=2.03)
    found = compare_with_labels(model(), slices(), tmp_path / "report", training=training, draws=1, device="cpu")
    assert "dice_real" in found.overall


def test_folders_slices_and_parts_that_will_not_do_are_refused_before_drawing(model, slices, tmp_path, undrawn):
    compare = partial(compare_with_labels, model(), out=tmp_path / "report")
    with pytest.raises(InputError, match="no usable slices in its part val"):
        compare(slices("unsplit", ("",)), split="val")
    with pytest.raises(InputError, match="have no label"):
        compare(slices("empty", names={}))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        compare(slices())
