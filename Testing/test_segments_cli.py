import json

import numpy as np
import pytest
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.segments.dataset import SegmentDataset

HU = np.random.default_rng(0).integers(0, 2700, (8, 32, 32)).astype(np.int16)


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = {"subject": np.repeat(["s-1", "s-2"], 4), "region": ["temporal", "parietal"] * 4}
    SegmentDataset.create("set", HU, table, kind="real")

    def run(*words, fails=False):
        result = CliRunner().invoke(skullgan, ["dataset", *words])
        assert result.exit_code == fails, result.output
        return result.output

    return run


def test_check_counts_what_the_set_holds(call):
    output = call("check", "set")
    assert "8 real segments of 2 subjects" in output
    assert "subject: s-1 4, s-2 4" in output
    assert "region: parietal 4, temporal 4" in output
    assert "plane: not given" in output


def test_check_fails_on_a_damaged_set(call, tmp_path):
    with open(tmp_path / "set" / "segments.csv", "a") as file:
        file.write(" ")
    assert "Error:" in call("check", "set", fails=True)


def test_check_notes_subjects_in_both_parts(call):
    call("split", "set", "--by", "paper")
    assert "2 subjects stand in more than one part" in call("check", "set")
    call("split", "set")
    assert "more than one part" not in call("check", "set")


def test_split_says_how_many_went_where(call):
    assert "train 4 (50.0%), test 4 (50.0%)" in call("split", "set")
    assert "add up to 1" in call("split", "set", "--part", "train=0.4", fails=True)


def test_filter_writes_what_fits_or_says_what_there_is(call):
    call("filter", "set", "temporal", "--region", "temporal", "--subject", "s-2")
    np.testing.assert_array_equal(SegmentDataset.open("temporal").hu, HU[[4, 6]])
    assert "parietal, temporal" in call("filter", "set", "none", "--region", "frontal", fails=True)


def test_export_import_and_merge_go_round(call):
    call("export", "set", "a.npy")
    call("import", "a.npy", "back", "--table", "set/segments.csv")
    call("export", "set", "a.nrrd")
    call("import", "a.nrrd", "stack", "--subject", "s-9")
    assert "24 real segments of 3 subjects" in call("merge", "set", "back", "stack", "all")
    np.testing.assert_array_equal(SegmentDataset.open("all", verify=True).hu, np.concatenate([HU] * 3))


def test_an_existing_set_is_replaced_only_when_asked(call):
    assert "exists already" in call("artificial", "set", "--idealised", "2", "--unrealistic", "2", fails=True)
    call("artificial", "set", "--idealised", "2", "--unrealistic", "2", "--overwrite")
    assert SegmentDataset.open("set").meta.kind == "artificial"


def test_sheets_are_drawn(call, tmp_path):
    assert "Drew 4 segments" in call("sheet", "set", "sheet.png", "--number", "4", "--titles")
    call("export", "set", "other.png")
    assert (tmp_path / "sheet.png").read_bytes()[:4] == (tmp_path / "other.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("output", "words", "made"),
    [
        ("a.npy", [], "a.npy"),
        ("b.nii.gz", ["--format", "nii"], "b.nii.gz"),
        ("c", ["--format", "png", "--window-hu", "0", "1000"], "c/000007.png"),
        ("d", ["--format", "dicom"], "d/segment_000007.dcm"),
        ("e.png", [], "e.png"),
    ],
)
def test_export_replaces_what_is_there_only_when_asked(call, tmp_path, output, words, made):
    call("export", "set", output, *words)
    first = (tmp_path / made).stat().st_mtime_ns
    assert "exists already" in call("export", "set", output, *words, fails=True)
    assert (tmp_path / made).stat().st_mtime_ns == first
    call("export", "set", output, *words, "--overwrite")
    assert (tmp_path / made).stat().st_mtime_ns > first


def test_copies_of_training_segments_are_exported_only_when_asked(call):
    made = SegmentDataset.open("set").select(np.arange(4))
    for name, marks in (("some", [0, 1, 0, 0]), ("all", [1, 1, 1, 1])):
        SegmentDataset.create(name, made.hu, {**made.table, "copy": np.array(marks)}, kind="synthetic")
    assert "1 of 4 segments are marked as copies" in call("export", "some", "a.npy", fails=True)
    call("export", "some", "a.npy", "--copies", "drop")
    np.testing.assert_array_equal(np.load("a.npy")[:, 0], made.hu[[0, 2, 3]])
    call("export", "some", "a.npy", "--copies", "keep", "--overwrite")
    assert len(np.load("a.npy")) == 4
    assert "Nothing would be left" in call("export", "all", "b.npy", "--copies", "drop", fails=True)


def test_export_says_which_name_a_format_needs_and_never_writes_over_a_folder(call):
    assert "end in .nii or .nii.gz" in call("export", "set", "a.nrrd", "--format", "nii", fails=True)
    assert "is a folder" in call("sheet", "set", "set", "--overwrite", fails=True)
    call("sheet", "set", "a.png")
    assert "exists already" in call("sheet", "set", "a.png", fails=True)
    call("sheet", "set", "a.png", "--overwrite")


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["export", "set", "a.npy"], {"out": "a.npy", "segments": 8}),
        (["split", "set"], {"dataset": "set", "parts": {"train": 4, "test": 4}}),
        (["filter", "set", "temporal", "--region", "temporal"], {"dataset": "temporal", "segments": 4}),
        (["sheet", "set", "a.png", "--number", "3"], {"out": "a.png", "segments": 3}),
    ],
)
def test_what_was_made_is_handed_back(call, words, made):
    lines = [line for line in call(*words, "--events").splitlines() if line.startswith("@SKULLGAN ")]
    events = [json.loads(line.removeprefix("@SKULLGAN ")) for line in lines]
    assert [event["result"] for event in events if "result" in event] == [made]
    assert events[-1] == {"exit_code": 0, "success": True}
