"""Generated segments are HU in the model's window, the same for every batch, and say where they are from."""

import json
import os

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from SkullGANLib.cli.generate import generate
from SkullGANLib.cli.train import train
from SkullGANLib.errors import Cancelled, InputError
from SkullGANLib.generate.export import write_segments
from SkullGANLib.generate.sample import fitting_batch, generate_segments
from SkullGANLib.models.card import ModelCard
from SkullGANLib.models.folder import Model, load_model, save_model
from SkullGANLib.models.skullgan import FAMILY, SkullGANNetwork
from SkullGANLib.models.window import IntensityWindow, exported_hu
from SkullGANLib.segments.dataset import SegmentDataset

TINY = SkullGANNetwork(latent=8, generator=(16, 8, 8, 8), tail=(4, 4, 4), discriminator=(4, 8, 8), weight_std="fan_in")


@pytest.fixture
def model(tmp_path) -> Model:
    torch.manual_seed(0)
    window = IntensityWindow(minimum_hu=0, range_hu=2000)
    card = ModelCard(family="skullgan", network=TINY.model_dump(mode="json"), window=window, spacing_mm=0.4)
    return load_model(save_model(tmp_path / "model", Model(card, FAMILY.build_generator(TINY))))


def test_segments_are_float32_hu_inside_the_window_with_the_background_exactly_0(model):
    hu = generate_segments(model, 5, seed=1)
    assert hu.shape == (5, 32, 32)
    assert hu.dtype == np.float32
    assert hu.max() <= 2000
    raw = generate_segments(model, 5, seed=1, bone_floor_hu=0)
    model.card.window = IntensityWindow(minimum_hu=-1000, range_hu=2000)
    shifted = generate_segments(model, 5, seed=1)
    assert (shifted[raw - 1000 < 10] == 0).all()
    np.testing.assert_allclose(shifted[raw - 1000 >= 10], raw[raw - 1000 >= 10] - 1000, atol=1e-2)


def test_the_floor_of_the_card_decides_what_is_background(model):
    raw = generate_segments(model, 5, seed=1, bone_floor_hu=0)
    model.card.bone_floor_hu = float(np.median(raw))
    hu = generate_segments(model, 5, seed=1)
    assert (hu == 0).mean() == pytest.approx(0.5, abs=0.01)
    assert hu[hu > 0].min() >= np.median(raw)


def test_an_image_is_the_same_for_every_batch_size_and_start(model):
    whole = generate_segments(model, 7, seed=2)
    for size in (1, 3, 7):
        np.testing.assert_allclose(generate_segments(model, 7, seed=2, batch_size=size), whole, atol=0.1)
    np.testing.assert_allclose(generate_segments(model, 3, seed=2, first=4), whole[4:], atol=0.1)
    assert np.abs(generate_segments(model, 7, seed=3) - whole).max() > 1


def test_batch_statistics_make_an_image_depend_on_its_batch_and_leave_the_model_alone(model):
    before = {name: value.clone() for name, value in model.generator.state_dict().items()}
    options = {"seed": 2, "batch_statistics": True}
    alone, together = generate_segments(model, 2, **options), generate_segments(model, 6, **options)
    assert np.abs(alone - together[:2]).max() > 1
    assert all(torch.equal(value, before[name]) for name, value in model.generator.state_dict().items())


def test_impossible_wishes_are_refused(model):
    with pytest.raises(InputError):
        generate_segments(model, 0)
    with pytest.raises(InputError, match="float32"):
        generate_segments(model, 1, batch_statistics=True, precision="bfloat16")
    with pytest.raises(InputError, match="no conditions"):
        generate_segments(model, 1, condition=np.zeros((1, 3)))


def test_the_batch_follows_the_free_memory(model, monkeypatch):
    sizes = []
    for gib in (0.0001, 0.001, 100):
        monkeypatch.setattr("SkullGANLib.generate.sample.free_memory", lambda device, gib=gib: int(gib * 2**30))
        sizes.append(fitting_batch(model, torch.device("cpu")))
    assert sizes[0] >= 1
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] == 16


def test_generation_stops_when_asked(model):
    class Stop:
        def update(self, *args, **values):
            pass

        def cancelled(self):
            return True

    with pytest.raises(Cancelled):
        generate_segments(model, 4, progress=Stop())


def test_a_data_set_says_which_model_and_seed_it_is_from(model, tmp_path):
    hu = generate_segments(model, 4, seed=9, first=2)
    path = write_segments(tmp_path / "set", hu, model, seed=9, first=2)
    dataset = SegmentDataset.open(path, verify=True)
    assert dataset.meta.kind == "synthetic"
    assert (dataset.meta.model_hash, dataset.meta.seed, dataset.meta.spacing_mm) == (model.hash, 9, 0.4)
    assert dataset.meta.extra["model"]["intended_use"].startswith("Research")
    np.testing.assert_array_equal(dataset.hu, hu)
    np.testing.assert_array_equal(dataset.table["image"], [2, 3, 4, 5])
    assert {"sdr", "thickness_mm", "intensity_hu"} <= set(dataset.table)
    with pytest.raises(InputError, match="exists already"):
        write_segments(path, hu, model, seed=9)


def test_an_array_a_stack_and_a_picture_hold_the_same_segments(model, tmp_path):
    import cv2
    import SimpleITK as sitk

    hu = generate_segments(model, 4, seed=9)
    np.testing.assert_array_equal(np.load(write_segments(tmp_path / "a.npy", hu, model, seed=9))[:, 0], hu)
    stack = sitk.ReadImage(str(write_segments(tmp_path / "a.nrrd", hu, model, seed=9, slice_mm=3.0)))
    np.testing.assert_allclose(stack.GetSpacing(), (0.4, 0.4, 3.0))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(stack), hu)
    for name in ("a.npy.json", "a.nrrd.json"):
        origin = json.loads((tmp_path / name).read_text())
        assert (origin["model_hash"], origin["seed"]) == (model.hash, 9)
    picture = cv2.imread(str(write_segments(tmp_path / "a.png", hu, model, seed=9)), cv2.IMREAD_GRAYSCALE)
    assert picture.shape[1] > 4 * 32
    with pytest.raises(InputError, match=r"\.tif"):
        write_segments(tmp_path / "a.tif", hu, model, seed=9)


def test_the_command_draws_from_a_model_and_from_released_weights(model, tmp_path):
    arguments = ["--count", "3", "--seed", "5", "--device", "cpu"]
    result = _invoke(
        generate, "--model", tmp_path / "model", "--out", tmp_path / "set", "--sheet", tmp_path / "s.png", *arguments
    )
    assert result.exit_code == 0, result.output
    assert "3 segments of 32x32 pixels" in result.output
    assert (tmp_path / "s.png").is_file()
    torch.save(model.generator.state_dict(), tmp_path / "w.pth")
    refused = _invoke(generate, "--from", tmp_path / "w.pth", "--out", tmp_path / "b.npy", *arguments)
    assert refused.exit_code == 1
    assert "--window-hu" in refused.output
    window = ["--window-hu", "0", "2000"]
    result = _invoke(generate, "--from", tmp_path / "w.pth", *window, "--out", tmp_path / "b.npy", *arguments)
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(np.load(tmp_path / "b.npy")[:, 0], SegmentDataset.open(tmp_path / "set").hu, atol=0.1)


def test_more_segments_than_memory_holds_are_refused_before_their_conditions_are_drawn(model, tmp_path, monkeypatch):
    from SkullGANLib.models import conditions

    monkeypatch.setattr(conditions, "condition_values", lambda *_, **__: pytest.fail("drawn"))
    result = _invoke(generate, "--model", tmp_path / "model", "--count", 10**9, "--out", tmp_path / "set")
    assert result.exit_code == 1
    assert "1000000000 images do not fit into memory" in result.output
    assert "Draw them in parts" in result.output


def test_the_command_refuses_before_drawing(tmp_path):
    result = _invoke(generate, "--out", tmp_path / "a.npy")
    assert result.exit_code == 1
    assert "--model or --from" in result.output
    (tmp_path / "a.npy").touch()
    assert "exists already" in _invoke(generate, "--model", tmp_path, "--out", tmp_path / "a.npy").output


def test_a_dry_run_shows_options_parameters_memory_and_time(monkeypatch):
    monkeypatch.setattr("SkullGANLib.train.estimate.measure_speed", lambda *arguments: 100.0)
    monkeypatch.setattr("SkullGANLib.train.estimate.free_memory", lambda device: 80 * 2**30)
    result = _invoke(train, "--preset", "paper", "--dry-run", "--set", "gate=off")
    assert result.exit_code == 0, result.output
    assert "Generator: 192,002,304 parameters" in result.output
    assert '"gate": "off"' in result.output
    assert "free on cpu: 80.0 GiB" in result.output or "free on cuda:0: 80.0 GiB" in result.output
    assert (
        "Time for 2414000 images (1000 epochs of the paper's 2414 segments, as no --data was given): about 7 hours"
        in (result.output)
    )


def _invoke(command, *arguments):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_what_does_not_hang_together_is_left_out_where_the_training_set_had_no_such_thing():
    window, unit = IntensityWindow(minimum_hu=0, range_hu=1000), torch.full((2, 1, 16, 16), -1.2)
    unit[:, 0, 4:6] = 0.5
    unit[0, 0, 6, 3] = unit[0, 0, 7, 4] = 0.2  # hang on, over a corner
    unit[0, 0, 12, 2:5] = 1.4  # does not
    unit[1, 0, 10, 1] = -0.95  # below the floor
    plain = exported_hu(unit, window, 0, 100)
    assert (plain > 0).sum((1, 2)).tolist() == [32 + 2 + 3, 32]
    assert plain.max() == 1000
    whole = exported_hu(unit, window, 0, 100, one_piece=True)
    assert (whole > 0).sum((1, 2)).tolist() == [32 + 2, 32]
    assert whole[0, 7, 4] == pytest.approx(600)
    assert (exported_hu(unit, window, 0, 0, one_piece=True) > 0).sum() == 32 + 2 + 3 + 32 + 1
    assert not exported_hu(torch.full((1, 1, 8, 8), -1.0), window, 0, 100, one_piece=True).any()


def test_dark_pixels_inside_the_bone_stay_as_drawn_and_those_open_to_the_outside_do_not():
    window, unit = IntensityWindow(minimum_hu=0, range_hu=1000), torch.full((1, 1, 16, 16), -1.0)
    unit[0, 0, 4:12] = 0.6
    unit[0, 0, 6, 3:6] = unit[0, 0, 7, 6] = -0.9  # two pixels meet at a corner, walled in by bone
    unit[0, 0, 9, 9] = unit[0, 0, 8, 10] = -1.4
    unit[0, 0, 10:12, 2] = -0.9  # a notch in the lower edge
    unit[0, 0, 8, 14:] = -0.9  # cut through by the right side of the image
    unit[0, 0, 14, 15] = 0.9  # a speck at that side
    drawn = exported_hu(unit, window, 0, 100, one_piece=True)[0]
    assert drawn[6, 3:6].tolist() == pytest.approx([50] * 3)
    assert drawn[7, 6] == pytest.approx(50)
    assert drawn[9, 9] == drawn[8, 10] == drawn[10, 2] == drawn[11, 2] == 0
    assert drawn[8, 14:].tolist() == pytest.approx([50] * 2)
    assert (drawn > 0).sum() == 8 * 16 - 2 - 2
    assert (exported_hu(unit, window, 0, 100)[0] > 0).sum() == 8 * 16 - 6 - 2 - 2 + 1
