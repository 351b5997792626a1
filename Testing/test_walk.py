"""``skullgan walk``: videos that can be played, of the classes asked for, and what is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from test_labelling import CLASSES, tiny

from SkullGANLib.cli.main import skullgan
from SkullGANLib.generate.classes import draw_between
from SkullGANLib.models.folder import load_model


def walk(folder, out, *more, fails=False):
    words = ["walk", "--model", folder, "--out", out, "--frames", 5, "--device", "cpu", *more]
    result = CliRunner().invoke(skullgan, [*map(str, words)])
    assert result.exit_code == fails, result.output
    return result.output


@pytest.fixture
def folder(tmp_path):
    tiny(tmp_path / "model")
    return tmp_path / "model"


def test_an_animated_png_shows_the_frames_of_the_walk_in_the_window_asked_for(folder, tmp_path):
    said = walk(folder, tmp_path / "walk.png", "--class", CLASSES[0], "--class", CLASSES[2], "--window-hu", 0, 2000)
    assert "5 frames, 0.2 seconds" in said
    hu = draw_between(load_model(folder), [CLASSES[0], CLASSES[2]], 5, device="cpu")
    walk(folder, tmp_path / "more.png", "--class", CLASSES[0], "--class", CLASSES[2], "--hu", tmp_path / "walk.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "walk.npy"), hu)
    with Image.open(tmp_path / "walk.png") as video:
        assert video.n_frames == 5
        for k in range(5):
            video.seek(k)
            shown = np.asarray(video.convert("L").resize((32, 32), Image.Resampling.BOX), float)
            expected = np.clip(hu[k] / 2000 * 255, 0, 255)
            assert np.corrcoef(shown.ravel(), expected.ravel())[0, 1] > 0.95
            assert shown.mean() == pytest.approx(expected.mean(), abs=2)


def test_an_mp4_can_be_played(folder, tmp_path):
    walk(folder, tmp_path / "walk.mp4", "--class", "all", "--per-second", 10)
    video = cv2.VideoCapture(str(tmp_path / "walk.mp4"))
    frames = [frame for ok, frame in iter(video.read, (False, None)) if ok]
    assert len(frames) == 5
    assert video.get(cv2.CAP_PROP_FPS) == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--class", "PET"), "knows no class 'PET'"),
        (("--class", "MR=3"), "passes each class once"),
        (("--window-hu", 5, 5), "shows nothing"),
        (("--out", "walk.gif"), "is no video"),
        (("--hu", "walk.txt"), "is no array"),
    ],
)
def test_what_makes_no_video_is_refused_and_leaves_no_file(folder, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in walk(folder, "walk.png", *words, fails=True)
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_a_video_is_not_overwritten_unasked(folder, tmp_path):
    (tmp_path / "walk.png").write_text("mine")
    assert "is there already" in walk(folder, tmp_path / "walk.png", fails=True)
    assert (tmp_path / "walk.png").read_text() == "mine"
    walk(folder, tmp_path / "walk.png", "--overwrite")
    assert (tmp_path / "walk.png").read_bytes().startswith(b"\x89PNG")
