"""The project's own promises: what ships is listed, what is listed exists, and nothing heavy is loaded for nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "SkullGANLib"
HEAVY = ("torch", "sklearn", "cv2", "matplotlib")


def _listed(name: str) -> set[str]:
    text = (LIBRARY / "CMakeLists.txt").read_text(encoding="utf-8")
    return set(re.search(rf"set\({name}\s+(.*?)\)", text, re.DOTALL).group(1).split())


def test_the_build_list_names_every_file_of_the_library_and_no_other():
    assert _listed("SkullGANLib_SCRIPTS") == {str(p.relative_to(LIBRARY).as_posix()) for p in LIBRARY.rglob("*.py")}
    assert _listed("SkullGANLib_RESOURCES") == {str(p.relative_to(LIBRARY).as_posix()) for p in LIBRARY.rglob("*.toml")}


def test_the_three_extension_descriptions_agree():
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    lines = (ROOT / "SkullGAN.s4ext").read_text(encoding="utf-8").splitlines()
    old = dict(line.split(" ", 1) for line in lines)
    new = json.loads((ROOT / "SkullGAN.json").read_text(encoding="utf-8"))
    said = dict(re.findall(r'set\(EXTENSION_(\w+) "(.*)"\)', cmake))
    assert old["description"] == said["DESCRIPTION"]
    assert old["homepage"] == said["HOMEPAGE"]
    assert old["depends"] == said["DEPENDS"] == " ".join(new["build_dependencies"])
    assert old["iconurl"] == said["ICONURL"]
    assert old["screenshoturls"] == said["SCREENSHOTURLS"]
    assert (old["scmurl"], old["scmrevision"], old["category"]) == (
        new["scm_url"],
        new["scm_revision"],
        new["category"],
    )
    for url in (said["ICONURL"], *said["SCREENSHOTURLS"].split()):
        assert (ROOT / url.split("/main/")[1]).is_file(), url


def test_every_picture_of_the_readme_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert pictures
    assert [p for p in pictures if not (ROOT / p).is_file()] == []


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["prepare", "--help"], ["generate", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys\nfrom SkullGANLib.cli.main import skullgan\n"
        f"skullgan({arguments!r}, standalone_mode=False)\n"
        f"print([m for m in {(*HEAVY, 'numpy', 'scipy', 'SimpleITK')!r} if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_reading_preparing_and_storing_load_no_torch():
    code = (
        "import sys\nimport SkullGANLib.ct.io, SkullGANLib.ct.phantom, SkullGANLib.prepare.batch, "
        "SkullGANLib.segments.dataset, SkullGANLib.evaluate.radiological\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_doctor_ends_with_what_to_do_or_that_all_is_well():
    answer = subprocess.run(
        [sys.executable, "-m", "SkullGANLib", "doctor", "--events"], capture_output=True, encoding="utf-8", check=True
    )
    events = [
        json.loads(line.removeprefix("@SKULLGAN "))
        for line in answer.stdout.splitlines()
        if line.startswith("@SKULLGAN ")
    ]
    found = events[0]["result"]
    assert found["devices"][0]["name"] == "cpu"
    assert found["torch"]
    assert events[-1] == {"exit_code": 0, "success": True}
    assert all(problem["mend"] for problem in found["problems"])


def test_an_unknown_path_is_one_line_of_what_and_one_of_what_to_do(tmp_path):
    answer = subprocess.run(
        [sys.executable, "-m", "SkullGANLib", "prepare", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")],
        capture_output=True,
        encoding="utf-8",
    )
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[0].startswith("Error: ")
    assert len(answer.stderr.splitlines()) == 2
    assert "Traceback" not in answer.stderr
