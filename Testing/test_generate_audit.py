"""The gate: drawn segments are checked against the training set, and copies do not leave unless asked for."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from test_evaluate_memorisation import HELD_OUT, TRAINING, heads

from SkullGANLib.cli import generate as command
from SkullGANLib.errors import InputError
from SkullGANLib.generate.audit import audit_copies, audited, kept_rows
from SkullGANLib.generate.export import write_segments
from SkullGANLib.models.card import ModelCard
from SkullGANLib.models.folder import Model, load_model, save_model
from SkullGANLib.models.skullgan import FAMILY, SkullGANNetwork
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.segments.dataset import SegmentDataset

NETWORK = SkullGANNetwork(latent=4, generator=(8, 4, 4, 4), tail=(4, 4, 4), discriminator=(4, 4, 4))
COPIES = [2, 5]


@pytest.fixture
def training(tmp_path):
    hu, subjects = (np.concatenate(parts) for parts in zip(TRAINING, HELD_OUT, strict=True))
    split = np.repeat(["train", "test"], [len(TRAINING[0]), len(HELD_OUT[0])])
    return SegmentDataset.create(tmp_path / "training", hu, {"subject": subjects, "split": split}, kind="real")


@pytest.fixture
def card(training):
    window = IntensityWindow(minimum_hu=0, range_hu=2000)
    return ModelCard(
        family="skullgan",
        network=NETWORK.model_dump(mode="json"),
        window=window,
        training={"data_sets": [training.fingerprint]},
    )


def drawn():
    """Eight segments as if drawn, two of them copies of training segments."""
    hu = heads(8, 1, 3)[0].astype(np.float32)
    hu[COPIES[0]], hu[COPIES[1]] = TRAINING[0][9], np.roll(TRAINING[0][30][:, ::-1], 2, 1)
    return hu


def test_copies_are_found_and_what_they_were_checked_against_is_told(training, card):
    audit, flagged = audit_copies(drawn(), card, [training], first=100)
    assert np.flatnonzero(flagged).tolist() == COPIES
    assert (audit.checked, audit.flagged, audit.share, audit.images) == (8, 2, 0.25, [102, 105])
    assert audit.interval[0] < 0.25 < audit.interval[1]
    (against,) = audit.against
    assert (against.fingerprint, against.segments, against.subjects) == (training.fingerprint, 60, 10)
    assert against.trained_on
    assert (audit.yardstick, audit.honest, audit.not_checked, audit.notes) == ("held-out subjects", 36, 0, [])
    assert audit.sentence() == "2 of 8 segments are copies of training segments (60 compared)."


def test_segments_of_quality_other_than_ok_were_not_trained_on(tmp_path, card):
    quality = np.where(np.arange(60) == 9, "cut off", "ok")
    made = SegmentDataset.create(
        tmp_path / "set", TRAINING[0], {"subject": TRAINING[1], "quality": quality}, kind="real"
    )
    audit, flagged = audit_copies(drawn(), card, [made])
    assert np.flatnonzero(flagged).tolist() == [COPIES[1]]
    assert (audit.yardstick, audit.against[0].segments) == ("other subjects", 59)


def test_another_set_than_the_models_and_a_set_that_is_missing_are_told(training, card, tmp_path):
    other = SegmentDataset.create(tmp_path / "other", HELD_OUT[0], {"subject": HELD_OUT[1]}, kind="real")
    audit, flagged = audit_copies(drawn(), card, [other])
    assert not flagged.any()
    assert audit.against[0].trained_on is False
    assert "are not what" not in audit.notes[0]
    assert "1 of 1 data sets checked against is not what the model says it was trained on" in audit.notes[0]
    assert "trained on 1 data set that it was not checked against" in audit.notes[1]
    audit, flagged = audit_copies(drawn(), card, [other, training])
    assert np.flatnonzero(flagged).tolist() == COPIES
    assert [each.trained_on for each in audit.against] == [False, True]
    assert audit.not_checked == 0
    audit, _ = audit_copies(drawn(), card.model_copy(update={"training": {}}), [training])
    assert audit.against[0].trained_on is None
    assert audit.notes == ["The model does not say which data set it was trained on."]


def test_that_only_two_heads_were_there_to_measure_by_is_told(tmp_path, card):
    made = SegmentDataset.create(tmp_path / "two", TRAINING[0][:12], {"subject": TRAINING[1][:12]}, kind="real")
    audit, flagged = audit_copies(drawn(), card, [made])
    assert flagged[COPIES[0]]
    assert "measured on 2 subjects only" in audit.notes[-1]


def test_a_larger_data_set_is_shrunk_as_in_training(tmp_path, card):
    large = TRAINING[0].repeat(2, axis=1).repeat(2, axis=2)
    made = SegmentDataset.create(tmp_path / "large", large, {"subject": TRAINING[1]}, kind="real", spacing_mm=0.225)
    assert np.flatnonzero(audit_copies(drawn(), card, [made])[1]).tolist() == COPIES


@pytest.mark.parametrize(
    ("facts", "words"), [({"spacing_mm": 0.6}, "of 0.6 mm"), ({"background_hu": -1000.0}, "background of the model")]
)
def test_a_set_that_does_not_fit_the_model_is_refused(tmp_path, card, facts, words):
    made = SegmentDataset.create(tmp_path / "odd", TRAINING[0], {"subject": TRAINING[1]}, kind="real", **facts)
    with pytest.raises(InputError, match=words):
        audit_copies(drawn(), card, [made])
    with pytest.raises(InputError, match="nothing to check against"):
        audit_copies(drawn(), card, [])


def test_copies_are_refused_left_out_or_marked(training, card):
    audit, flagged = audit_copies(drawn(), card, [training])
    with pytest.raises(InputError, match="Nothing was written") as caught:
        kept_rows(audit, flagged, "refuse")
    assert "2 of 8 segments" in caught.value.message
    assert "--copies drop" in caught.value.advice
    assert kept_rows(audit, flagged, "drop").tolist() == [0, 1, 3, 4, 6, 7]
    assert kept_rows(audit, flagged, "keep").tolist() == list(range(8))
    with pytest.raises(InputError, match="Nothing was written"):
        kept_rows(audit, np.ones(8, bool), "drop")
    clean, none = audit_copies(heads(4, 1, 3)[0], card, [training])
    assert kept_rows(clean, none, "refuse").tolist() == [0, 1, 2, 3]


@pytest.fixture
def model(tmp_path, card):
    return load_model(save_model(tmp_path / "model", Model(card, FAMILY.build_generator(NETWORK))))


def test_the_audit_travels_in_the_data_set_and_images_keep_their_numbers(tmp_path, training, model):
    asked = {"sdr": np.arange(8.0)}
    hu, asked, audit, told = audited(drawn(), asked, model.card, [training], "drop", first=10)
    write_segments(tmp_path / "set", hu, model, seed=1, first=10, conditions=asked, **told)
    made = SegmentDataset.open(tmp_path / "set", verify=True)
    assert made.table["image"].tolist() == [10, 11, 13, 14, 16, 17]
    assert made.table["asked_sdr"].tolist() == [0, 1, 3, 4, 6, 7]
    assert made.meta.extra["audit"] == audit.model_dump(mode="json")
    assert made.meta.extra["audit"]["copies"] == "drop"
    hu, asked, _, told = audited(drawn(), {}, model.card, [training], "keep")
    write_segments(tmp_path / "kept", hu, model, seed=1, conditions=asked, **told)
    assert np.flatnonzero(SegmentDataset.open(tmp_path / "kept").table["copy"]).tolist() == COPIES
    write_segments(tmp_path / "kept.npy", hu, model, seed=1, **told)
    beside = json.loads((tmp_path / "kept.npy.json").read_text(encoding="utf-8"))
    assert np.flatnonzero(beside["copy"]).tolist() == COPIES
    assert beside["audit"]["flagged"] == 2


@pytest.fixture
def call(tmp_path, training, model, monkeypatch):
    """The command with a model that draws copies."""
    monkeypatch.setattr("SkullGANLib.generate.sample.generate_together", lambda *given, **options: drawn())

    def call(*options):
        given = ["--model", tmp_path / "model", "--out", tmp_path / "out", "--count", 8, *options]
        return CliRunner().invoke(command.generate, list(map(str, given)))

    return call


def test_the_command_refuses_copies_and_writes_nothing(call, training, tmp_path):
    result = call("--audit", training.path)
    assert result.exit_code == 1
    assert "2 of 8 segments are copies of training segments" in result.output
    assert not (tmp_path / "out").exists()


def test_the_command_leaves_copies_out_or_marks_them(call, training, tmp_path):
    result = call("--audit", training.path, "--copies", "drop")
    assert result.exit_code == 0, result.output
    assert "6 segments of 64x64 pixels" in result.output
    assert len(SegmentDataset.open(tmp_path / "out")) == 6
    result = call("--audit", training.path, "--copies", "keep", "--overwrite", "--events")
    assert result.exit_code == 0, result.output
    assert SegmentDataset.open(tmp_path / "out").table["copy"].sum() == 2
    lines = [line for line in result.output.splitlines() if '"result"' in line]
    handed = json.loads(lines[0].removeprefix("@SKULLGAN "))["result"]
    assert handed["audit"]["images"] == COPIES
    assert handed["audited"].startswith("2 of 8 segments are copies")


def test_without_an_audit_nothing_is_checked_and_nothing_is_said(call, tmp_path):
    assert call().exit_code == 0
    made = SegmentDataset.open(tmp_path / "out")
    assert "audit" not in made.meta.extra
    assert "copy" not in made.table
    result = call("--copies", "drop", "--overwrite")
    assert result.exit_code == 1
    assert "needs a data set to look for copies of" in result.output
