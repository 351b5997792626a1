import csv
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from test_evaluate_memorisation import heads

from SkullGANLib.cli.dataset import dataset as command
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.inputs import prepare_input
from SkullGANLib.evaluate.leaks import find_leaks, leaks
from SkullGANLib.evaluate.registry import EvaluatedSet
from SkullGANLib.segments.dataset import SegmentDataset

HU, SUBJECTS = heads(12, 5, 0)
SPLIT = np.repeat(["train", "test", "val"], [35, 15, 10])


def as_set(hu=HU, subjects=SUBJECTS, split=SPLIT):
    return EvaluatedSet("real", hu, "whole", {"subject": subjects, "split": split}, kind="real")


def planted(where=40, source=7):
    """A segment of the test part that is one of the training part: mirrored, shifted and noised."""
    hu = HU.copy()
    noise = np.random.default_rng(3).normal(0, 20, hu.shape[1:])
    hu[where] = np.round(np.roll(HU[source][:, ::-1], (1, -2), (0, 1)) + noise)
    return hu


def test_a_set_that_is_split_by_subject_has_no_leak_though_slices_of_one_head_are_alike():
    found = find_leaks(as_set())
    assert not found
    assert found.parts == {"test": 15, "train": 35, "val": 10}
    assert found.sentences() == []


def test_a_planted_near_duplicate_is_listed_with_both_rows():
    found = find_leaks(as_set(planted()))
    assert found.subjects == []
    assert len(found) == 1
    pair = {name: column[0] for name, column in found.pairs.items()}
    assert (pair["part"], pair["row"], pair["other_part"], pair["other_row"]) == ("test", 40, "train", 7)
    assert (pair["subject"], pair["other_subject"], pair["mirrored"]) == (SUBJECTS[40], SUBJECTS[7], 1)
    assert pair["ratio"] < 0.5
    assert found.sentences()[0].startswith("Near-duplicates: 1 segment has a copy in another part")


def test_a_head_under_two_names_in_two_parts_is_found_segment_by_segment():
    hu = HU.copy()
    hu[40:45] = HU[10:15]
    found = find_leaks(as_set(hu))
    assert found.subjects == []
    assert sorted(found.pairs["row"]) == [40, 41, 42, 43, 44]
    assert sorted(found.pairs["other_row"]) == [10, 11, 12, 13, 14]


def test_a_planted_subject_leak_is_found():
    names = SUBJECTS.copy()
    names[40] = SUBJECTS[0]
    found = find_leaks(as_set(subjects=names))
    assert found.subjects == [SUBJECTS[0]]
    assert "1 subject stands in more than one part" in found.sentences()[0]
    assert len(found) == 0


def test_a_duplicate_inside_one_part_is_no_leak():
    hu = HU.copy()
    hu[20] = hu[3]
    assert not find_leaks(as_set(hu))


def test_segments_without_a_part_do_not_count_and_unknown_subjects_are_nobody():
    split = SPLIT.copy()
    split[40] = ""
    assert not find_leaks(as_set(planted(), split=split))
    found = find_leaks(as_set(planted(), np.full(60, "unknown")))
    assert found.subjects == []
    assert found.yardstick.kind == "none"


@pytest.mark.parametrize(("split", "words"), [("train", "one part only"), ("", "no parts")])
def test_a_set_without_two_parts_has_nothing_to_leak(split, words):
    with pytest.raises(InputError, match=words):
        find_leaks(as_set(split=np.full(60, split)))


def make(tmp_path, hu=HU, subjects=SUBJECTS):
    return SegmentDataset.create(tmp_path / "set", hu, {"subject": subjects, "split": SPLIT}, kind="real")


def test_the_metric_compares_training_with_held_out(tmp_path):
    found = leaks(prepare_input(make(tmp_path, planted()), HU[:5])[0])
    assert found.figures["subjects"].value == 0
    assert found.figures["near_duplicates"].value == pytest.approx(1 / 15)
    assert found.figures["near_duplicates"].detail["flagged"] == 1
    assert any(warning.startswith("Near-duplicates: 1 segment") for warning in found.warnings)
    assert np.flatnonzero(found.columns["real"]["duplicate_row"] >= 0).tolist() == [5]
    assert found.columns["real"]["duplicate_row"][5] == 7


def test_the_metric_finds_a_subject_on_both_sides(tmp_path):
    names = SUBJECTS.copy()
    names[40] = SUBJECTS[0]
    made = make(tmp_path, subjects=names)
    given, warnings, _ = prepare_input(made, HU[:5])
    found = leaks(given)
    assert found.figures["subjects"].value == 1
    assert sum(each.startswith("Subject leak: 1 subject") for each in warnings + found.warnings) == 1
    elsewhere = EvaluatedSet("training", HU[:35], "elsewhere", {"subject": SUBJECTS[:35]})
    found = leaks(replace(given, training=elsewhere))
    assert found.warnings[0].startswith("Subject leak: 1 subject stands in more than one part")


@pytest.mark.parametrize(("unknown", "leak"), [(60, False), (3, True)])
def test_subjects_that_are_not_known_are_no_proof_that_nothing_leaks(tmp_path, unknown, leak):
    names = SUBJECTS.copy()
    names[:unknown] = "unknown"
    names[40] = names[4]
    made = make(tmp_path, subjects=names)
    given, warnings, _ = prepare_input(made, HU[:5])
    found = leaks(given)
    assert found.left_out[0].startswith(f"The subjects of {min(unknown, 50)} of 50 segments are not known")
    assert ("subjects" in found.figures) == leak
    result = CliRunner().invoke(command, ["audit", str(made.path)])
    assert f"The subjects of {unknown} of 60 segments are not known" in result.output
    assert ("No copy between the parts" in result.output) == (not leak)
    assert result.exit_code == leak == sum("Subject leak" in each for each in warnings)


def test_without_a_held_out_part_the_metric_has_nothing_to_say():
    assert leaks(prepare_input(HU, HU[:5])[0]).figures == {}


def test_the_command_says_that_nothing_leaks(tmp_path):
    result = CliRunner().invoke(command, ["audit", str(make(tmp_path).path)])
    assert result.exit_code == 0, result.output
    assert "No leak between the parts" in result.output
    assert "test 15, train 35, val 10" in result.output


def test_the_command_fails_on_a_leak_and_writes_the_pairs(tmp_path):
    names = SUBJECTS.copy()
    names[50] = SUBJECTS[0]
    made, pairs = make(tmp_path, planted(), names), tmp_path / "pairs.csv"
    result = CliRunner().invoke(command, ["audit", str(made.path), "--pairs", str(pairs)])
    assert result.exit_code == 1
    assert "Subject leak: 1 subject" in result.output
    assert "Near-duplicates: 1 segment" in result.output
    assert "rows 40 and 7" in result.output
    assert "Traceback" not in result.output
    with open(pairs, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["row"], row["other_row"], row["part"], row["other_part"]) for row in rows] == [
        ("40", "7", "test", "train")
    ]
