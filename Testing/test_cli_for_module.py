"""What the module in 3D Slicer relies on: what is told without torch, and what commands hand back as events."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from SkullGANLib import needed
from SkullGANLib.cli import doctor
from SkullGANLib.cli.main import skullgan
from SkullGANLib.ct.io import read_volume, write_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.segments.table import read_table
from SkullGANLib.train.options import preset_names

ROOT = Path(__file__).resolve().parents[1]
FAST = ["--planes", "coronal", "--regions", "parietal", "--interpolation", "linear"]


def events(*words: object, fails: bool = False) -> list[dict]:
    """Run a command with --events and read what it prints for a calling program."""
    result = CliRunner().invoke(skullgan, [*map(str, words), "--events"])
    assert result.exit_code == fails, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("@SKULLGAN ")]
    return [json.loads(line.removeprefix("@SKULLGAN ")) for line in lines]


def result_of(*words: object, fails: bool = False) -> dict:
    """The one result event of a command."""
    (found,) = [event["result"] for event in events(*words, fails=fails) if "result" in event]
    return found


def test_what_slicer_s_own_process_reads_needs_no_torch():
    code = (
        "import sys\nfrom SkullGANLib import needed\n"
        "assert not {'numpy', 'pydantic'} & set(sys.modules), 'needed imports packages'\n"
        "from SkullGANLib.segments.dataset import SegmentDataset\nfrom SkullGANLib.segments.table import read_table\n"
        "from SkullGANLib.ct.volume import Volume\nfrom SkullGANLib.ct.io import write_volume\n"
        "from SkullGANLib.models.card import load_card\nfrom SkullGANLib.models.window import IntensityWindow\n"
        "from SkullGANLib.train.options import preset_names, preset_summaries\npreset_summaries()\n"
        "print([m for m in ('torch', 'sklearn', 'cv2', 'matplotlib') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert (answer.stdout.strip(), answer.stderr) == ("[]", "")


def test_what_is_needed_is_what_the_project_declares():
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert list(needed.NEEDED) == project["project"]["dependencies"]


@pytest.fixture
def installed(monkeypatch):
    """Pretend that these packages are installed, in these versions."""
    found = {needed.name_of(each): "999" for each in needed.NEEDED}

    def version(name):
        if name not in found:
            raise importlib.metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    return found


def test_missing_names_what_is_absent_or_too_old(installed):
    assert needed.missing() == []
    del installed["joblib"]
    installed |= {"pydantic": "2.5.9", "tqdm": "4.66", "matplotlib": "3.10.0rc1", "safetensors": None}
    assert needed.missing() == ["safetensors>=0.4", "pydantic>=2.6", "joblib>=1.3"]


def test_torch_is_asked_for_by_itself(installed):
    del installed["torch"]
    assert needed.missing() == []
    assert needed.torch_version() is None
    installed["torch"] = "2.13.0+cpu"
    assert needed.torch_version() == "2.13.0+cpu"
    assert needed.is_met(needed.TORCH)
    installed["torch"] = "2.3.1"
    assert not needed.is_met(needed.TORCH)


def test_any_build_of_opencv_will_do_and_an_old_one_is_renewed_as_what_it_is(installed):
    del installed["opencv-python-headless"]
    assert needed.missing() == ["opencv-python-headless>=4.8"]
    installed["opencv-contrib-python"] = "4.10.0.84"
    assert needed.missing() == []
    assert needed.versions()["opencv-python-headless"] == "4.10.0.84"
    installed["opencv-contrib-python"] = "4.7.0"
    assert needed.missing() == ["opencv-contrib-python>=4.8"]


def test_what_slicer_bundles_is_frozen_and_never_asked_for(installed):
    installed |= {"numpy": "1.20", "SimpleITK": "2.5.0.dev3+g1", "requests": "2.32"}
    assert needed.missing(in_slicer=True) == []
    assert needed.missing() == ["numpy>=1.26"]
    assert {"numpy==1.20", "SimpleITK==2.5.0.dev3+g1", "requests==2.32"} <= set(needed.frozen())
    assert not [line for line in needed.frozen() if line.startswith(("torch", "matplotlib", "certifi"))]


def test_doctor_lists_families_presets_and_free_memory():
    found = doctor.examine()
    conditions = {family["name"]: family["conditions"] for family in found["families"]}
    assert conditions["skullgan"] == []
    assert "sdr" in conditions["relativistic"]
    presets = {preset["name"]: preset for preset in found["presets"]}
    assert sorted(presets) == preset_names()
    assert presets["paper"]["epochs"] == 1000
    assert (presets["demo"]["images"], presets["demo"]["batch_size"]) == (6000, 16)
    assert all(preset["title"] and preset["family"] in conditions for preset in presets.values())
    assert all(0 < device["free_gib"] <= device["total_gib"] for device in found["devices"])


def test_doctor_tells_without_torch_what_it_can(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = doctor.examine()
    assert (found["families"], found["torch"]) == ([], None)
    assert len(found["presets"]) == len(preset_names())
    assert "torch cannot be imported" in found["problems"][0]["what"]


@pytest.fixture(scope="module")
def scan(tmp_path_factory, coarse):
    folder = tmp_path_factory.mktemp("scan")
    write_volume(coarse.volume, folder / "head.nrrd")
    return folder / "head.nrrd"


def test_a_preview_holds_what_prepare_would_find(scan, tmp_path):
    found = result_of("prepare", scan, "--preview", tmp_path / "preview", *FAST)
    made = result_of("prepare", scan, "--out", tmp_path / "set", "--save-mask", tmp_path / "mask.nrrd", *FAST)
    folder = tmp_path / "preview"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.nrrd", "preview", "set"]
    assert (found["preview"], found["kept"]) == (str(folder), made["segments"])
    assert made["notes"] == found["notes"] != []
    table, pieces = read_table(folder / "candidates.csv"), np.load(folder / "segments.npy")
    expected = read_table(tmp_path / "set" / "candidates.csv")
    assert all(np.array_equal(table[name], expected[name]) for name in ("quality", "corner_x", "right_y", "down_z"))
    assert (pieces.dtype, pieces.shape) == (np.int16, (found["pieces"], 128, 128))
    np.testing.assert_array_equal(pieces[table["quality"] == "ok"], np.load(tmp_path / "set" / "segments.npy"))
    skull = sitk.ReadImage(str(folder / "skull.nrrd"))
    assert skull.GetPixelID() == sitk.sitkUInt8
    mask, volume = read_volume(folder / "skull.nrrd", labels=True), read_volume(scan)
    np.testing.assert_array_equal(mask.hu, read_volume(tmp_path / "mask.nrrd", labels=True).hu)
    np.testing.assert_allclose(mask.index_to_lps, volume.index_to_lps, atol=1e-6)
    assert (folder / "where.png").read_bytes() == next((tmp_path / "set" / "pictures").glob("where-*")).read_bytes()


def test_a_preview_is_of_one_scan_and_in_place_of_a_data_set(scan, tmp_path):
    both = ["--preview", tmp_path / "p", "--out", tmp_path / "o"]
    for words in (both, []):
        (end,) = events("prepare", scan, *words, fails=True)
        assert "Give either --out" in end["advice"]
    (tmp_path / "two").mkdir()
    for name in ("a.nrrd", "b.nrrd"):
        (tmp_path / "two" / name).write_bytes(scan.read_bytes())
    (end,) = events("prepare", tmp_path / "two", "--preview", tmp_path / "p", fails=True)
    assert end["error"] == "--preview is for one scan, and 2 were found."
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "letter.txt").write_text("dear")
    end = events("prepare", scan, "--preview", tmp_path / "p", "--overwrite", *FAST, fails=True)[-1]
    assert "other files" in end["error"]
    assert not (tmp_path / "o").exists()


def test_prepare_hands_back_which_scans_failed_and_why(scan, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "a.nrrd").write_bytes(scan.read_bytes())
    write_volume(Volume(np.full((20, 20, 20), -1000, np.int16), (2.0, 2.0, 2.0)), folder / "b.nrrd")
    found = result_of("prepare", folder, "--out", tmp_path / "set", *FAST, fails=True)
    assert found["segments"] > 0
    assert [failed["path"] for failed in found["failed"]] == [str(folder / "b.nrrd")]
    assert "skull" in found["failed"][0]["error"]
    assert found["failed"][0]["advice"]
    assert found["notes"]
    assert all(note.startswith("a.nrrd: ") for note in found["notes"])


def test_with_debug_the_traceback_goes_to_stderr_beside_the_events(tmp_path):
    words = [sys.executable, "-m", "SkullGANLib", "dataset", "check", str(tmp_path / "nowhere"), "--events"]
    plain, debug = (
        subprocess.run([*words, *more], capture_output=True, encoding="utf-8") for more in ([], ["--debug"])
    )
    assert plain.stdout == debug.stdout
    assert json.loads(plain.stdout.removeprefix("@SKULLGAN "))["exit_code"] == plain.returncode == debug.returncode == 1
    assert "Traceback" not in plain.stderr
    assert debug.stderr.startswith("Traceback")
    assert debug.stderr.endswith(plain.stderr)
