"""The ablation of the pyramid's losses, and what volumes of one CT are measured by."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from test_pyramid import ball

from SkullGANLib.cli.ablation import ablation as command
from SkullGANLib.ct.io import write_volume
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.volumes import diversity, rebuilding, single_image_frechet
from SkullGANLib.train.ablation import PUBLISHED, SETTINGS, Ablation, run_ablation, table_of
from SkullGANLib.train.pyramid_options import PRESETS, PyramidOptions, pyramid_options

OPTIONS = PyramidOptions(smallest=8, largest=12, channels=4, judge_channels=4, iterations=2, device="cpu")


def test_diversity_is_the_spread_across_samples_inside_the_mask():
    rng = np.random.default_rng(0)
    samples = rng.normal(0.5, 0.1, (400, 4, 5, 6))
    samples[:, :2] = 0.3
    inside = np.zeros((4, 5, 6), bool)
    inside[2:] = True
    assert diversity(samples, inside) == pytest.approx(0.1, rel=0.02)
    assert diversity(samples, ~inside) == pytest.approx(0, abs=1e-12)
    inside[:] = True
    assert diversity(samples, inside) == pytest.approx(0.05, rel=0.02)


def test_the_frechet_distance_of_one_volume_sees_texture_and_not_where_it_lies():
    rng = np.random.default_rng(0)
    volume = rng.normal(0.5, 0.1, (24, 24, 24))
    assert single_image_frechet(volume, volume) == pytest.approx(0, abs=1e-6)
    moved = single_image_frechet(np.roll(volume, 7, 1), volume)
    brighter = single_image_frechet(volume + 0.2, volume)
    assert moved < 0.02 * brighter
    assert brighter == pytest.approx(27 * 0.2**2, rel=1e-6)  # the means alone are apart, by 0.2 in each of 27 voxels
    twice = single_image_frechet(0.5 + 2 * (volume - 0.5), volume)
    assert twice == pytest.approx(27 * 0.1**2, rel=0.03)  # deviations of 0.2 and 0.1, independent


def test_rebuilding_measures_volumes_and_leaves_out_what_small_ones_cannot_tell():
    real = np.random.default_rng(0).random((12, 13, 14))
    figures = rebuilding(real.copy(), real)
    assert (figures["mse"], figures["psnr"], figures["ssim"]) == (0, np.inf, 1)
    figures = rebuilding(np.zeros((12, 12, 12)), np.full((12, 12, 12), 0.1))
    assert figures["mse"] == pytest.approx(0.01)
    assert figures["psnr"] == pytest.approx(20)
    assert "ssim" not in rebuilding(np.zeros((10, 12, 12)), np.zeros((10, 12, 12)))


def test_the_settings_are_those_of_the_published_tables():
    assert [len(SETTINGS[3][letter]) for letter in "ABCD"] == [0, 1, 2, 3]
    assert [len(SETTINGS[2][letter]) for letter in "ABCD"] == [1, 2, 3, 2]
    assert all(SETTINGS[at].keys() == PUBLISHED[at].keys() for at in (2, 3))
    published = pyramid_options({})
    assert (published.reconstruction, published.projection, published.segmentation) == (100, 100, 10)
    assert published.lengths(3) == [1000, 2000, 3000]
    assert pyramid_options({"iterations": [5, 4]}).lengths(3) == [5, 4, 4]
    assert {pyramid_options({}, name).judged for name in PRESETS} == {"mean", "each"}


def test_the_table_gives_mean_and_spread_beside_the_published_figure():
    runs = {"A": [{"mse": 0.01, "psnr": 20.0, "diversity_hu": 10.0, "frechet_0": 1.0}] * 2}
    runs["A"][1] = {**runs["A"][1], "psnr": 22.0}
    head, row = table_of(Ablation(3, ((8, 8, 8),), runs))
    cells = dict(zip(head, row, strict=False))
    assert (cells["PSNR (dB)"], row[head.index("PSNR (dB)") + 1]) == ("21.00 ± 1.41", "22.639")
    assert "Frechet at 8" in table_of(Ablation(2, ((30, 8, 8),), runs))[0]  # slices do not count
    assert (cells["losses"], cells["SSIM"], cells["diversity (HU)"]) == ("adv", "-", "10 ± 0")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("ablation")
    return run_ablation(ball(), out, OPTIONS, seeds=2, samples=2), out


def test_every_setting_is_trained_with_its_losses_alone(done):
    found, out = done
    for letter, names in SETTINGS[3].items():
        options = json.loads((out / f"3d-{letter}-1" / "options.json").read_text())["options"]
        switched = {name for name in ("reconstruction", "projection", "segmentation") if options[name]}
        assert (switched, options["seed"], options["adversarial"]) == (set(names), 1, 1)
        assert [run["seed"] for run in found.runs[letter]] == [0, 1]
        assert all(run["diversity_hu"] > 0 and run["frechet_1"] > 0 for run in found.runs[letter])
    assert found.mean("A", "mse")[1] > 0  # seeds differ
    assert (out / "ablation-3d.png").stat().st_size > 2000


def test_an_ablation_that_is_there_is_read_and_not_trained_again(done, monkeypatch):
    found, out = done
    monkeypatch.setattr("SkullGANLib.train.pyramid._Run._iterate", None)
    assert run_ablation(ball(), out, OPTIONS, seeds=2, samples=2).runs == found.runs
    with pytest.raises(InputError, match="another reconstruction"):
        run_ablation(ball(), out, OPTIONS.model_copy(update={"reconstruction": 5.0}), seeds=2, samples=2)
    with pytest.raises(InputError, match="two seeds"):
        run_ablation(ball(), out, OPTIONS, seeds=1)


def test_the_command_prints_both_tables_and_says_what_the_published_ones_could_not_measure(tmp_path):
    scan, out = write_volume(ball(), tmp_path / "ball.nrrd"), tmp_path / "out"
    sizes = {"smallest": 8, "largest": 8, "channels": 4, "iterations": 1}
    words = ["--volume", str(scan), "--out", str(out), "--seeds", "2", "--samples", "2", "--device", "cpu"]
    for name, value in sizes.items():
        words += ["--set", f"{name}={value}"]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    text = (out / "ablation.md").read_text(encoding="utf-8")
    assert text.strip() in result.output
    assert "| 0.8769" in text
    assert "| 0.00006" in text
    assert "has no gradient" in text
    assert {path.name for path in out.glob("ablation*")} >= {"ablation-2d.json", "ablation-3d.png", "ablation.md"}
