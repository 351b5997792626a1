"""What ``skullgan info`` says of models, runs and volumes; scans and data sets are in test_ct_io."""

import json
import shutil

import pytest
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.files import write_json
from SkullGANLib.models.folder import shipped_models


def info(*words, fails=False):
    result = CliRunner().invoke(skullgan, ["info", *map(str, words)])
    assert result.exit_code == fails, result.output
    return result.output


def test_a_shipped_model_is_known_by_its_name_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = info("phantom")
    assert "128 x 128 pixels of 0.45 mm" in text
    assert "region parietal, temporal" in text
    assert "0 to 3000 HU" in text
    assert "96 subjects" in text
    assert "not for diagnosis" in text


def test_a_model_of_label_maps_lists_its_labels_with_their_values():
    text = info(shipped_models()["phantom-labels"])
    assert "1 outer table, 2 diploe, 3 inner table" in text
    facts = json.loads(info(shipped_models()["phantom-labels"], "--json"))
    assert facts["family"] == "patch-cgan"
    assert facts["window_hu"] == [-1024, 2479]


def test_a_run_tells_its_last_figures_and_that_it_has_no_model_yet(tmp_path):
    write_json(tmp_path / "options.json", {"options": {"preset": "recommended-XS", "data": ["segments"]}})
    (tmp_path / "stats.jsonl").write_text('{"images": 64, "seconds": 2}\n{"images": 128, "seconds": 4}\n{"ima')
    text = info(tmp_path)
    assert "Training run" in text
    assert "recommended-XS" in text
    assert "images 128" in text
    assert "No model has been saved yet" in text


def test_a_run_that_still_grows_tells_its_stages_and_is_no_model_yet(tmp_path):
    folder = tmp_path / "stage-016"
    folder.mkdir()
    write_json(folder / "options.json", {"options": {"preset": "style-small", "data": ["segments"]}})
    text = info(tmp_path)
    assert "Training run" in text
    assert "stage-016  no model yet" in text
    shutil.copytree(shipped_models()["phantom-small"], folder / "model")
    assert "images seen" in info(tmp_path)
    result = CliRunner().invoke(skullgan, ["generate", "--model", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "smaller sizes lie inside: stage-016" in result.output


def test_a_folder_of_volumes_tells_its_files_and_the_model_that_drew_them(tmp_path):
    files = [{"file": f"volume-{n:04d}.nrrd", "image": n} for n in range(1, 31)]
    head = {"format": "skullgan-volumes", "version": 1, "model_hash": "abc", "seed": 7}
    write_json(tmp_path / "volumes.json", {**head, "files": files})
    text = info(tmp_path)
    assert "volume-0012.nrrd and 18 more" in text
    assert "model hash abc" in text


@pytest.mark.parametrize("content", ['{"format": "skullgan-model", "version": 9}', "{", '{"format": "skullgan-model"}'])
def test_a_newer_or_damaged_card_is_refused_in_words(tmp_path, content):
    (tmp_path / "model.json").write_text(content)
    output = info(tmp_path, fails=True).splitlines()
    assert str(tmp_path) in output[0]
    assert len(output) == 2  # what is wrong, what to do


def test_nothing_there_is_said_so(tmp_path):
    assert "There is nothing at" in info(tmp_path / "missing", fails=True)
