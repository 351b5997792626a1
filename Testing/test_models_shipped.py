"""The models that come along: small, honest about their origin, and obedient."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.ct.io import read_volume
from SkullGANLib.ct.phantom import HeadPhantom
from SkullGANLib.evaluate.radiological import measure_segments
from SkullGANLib.generate.sample import generate_segments
from SkullGANLib.models.conditions import condition_values, encode
from SkullGANLib.models.folder import load_model, shipped_model, shipped_models
from SkullGANLib.prepare.layers import true_head_labels
from SkullGANLib.prepare.layers_files import write_labels
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train.options import load_options
from SkullGANLib.train.run import open_run

NAMES, LABELS = ["phantom", "phantom-small"], "phantom-labels"


def test_there_are_three_and_together_they_are_small():
    assert sorted(shipped_models()) == sorted([*NAMES, LABELS])
    sizes = [file.stat().st_size for folder in shipped_models().values() for file in folder.iterdir()]
    assert sum(sizes) < 12e6


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_that_no_patient_was_involved_and_what_can_be_asked(name):
    model = load_model(shipped_model(name), discriminator=True)
    assert model.card.training["kinds"] == ["phantom"]
    assert model.card.training["subjects"] == 96
    assert "no patient" in model.card.limits
    assert "Not for diagnosis" in model.card.intended_use or "not for diagnosis" in model.card.intended_use
    assert set(model.card.conditions) == {"plane", "region", "side", "sdr", "thickness_mm", "intensity_hu"}
    assert model.network.size == 128
    assert model.card.spacing_mm == 0.45
    assert {p.dtype for p in model.generator.parameters()} == {torch.float32}
    assert model.discriminator is not None


@pytest.mark.parametrize(("name", "least"), [("phantom", 0.9), ("phantom-small", 0.8)])
def test_density_ratio_and_thickness_are_as_asked(name, least):
    model = load_model(shipped_model(name))
    values = condition_values(model.card, {}, 300, seed=4)
    hu = generate_segments(model, 300, 4, condition=encode(model.card.conditions, values), device="cpu")
    found = measure_segments(hu, model.card.spacing_mm)
    for measure in ("sdr", "thickness_mm"):
        known = np.isfinite(found[measure])
        assert known.mean() > 0.98
        assert np.corrcoef(values[measure][known], found[measure][known])[0, 1] > least, measure


def test_the_command_needs_its_name_alone(tmp_path):
    words = ["generate", "--model", "phantom", "--count", "48", "--condition", "sdr=0.45"]
    words += ["--condition", "thickness_mm=6", "--out", str(tmp_path / "set"), "--device", "cpu"]
    done = CliRunner().invoke(skullgan, words)
    assert done.exit_code == 0, done.output
    drawn = SegmentDataset.open(tmp_path / "set")
    assert len(drawn) == 48
    assert drawn.table["thickness_mm"].mean() == pytest.approx(6, abs=0.4)
    assert drawn.table["sdr"].mean() == pytest.approx(0.45, abs=0.05)
    assert (drawn.table["asked_thickness_mm"] == 6).all()


def test_the_demo_and_the_default_preset_start_from_them(tmp_path):
    hu = np.zeros((20, 128, 128), np.int16)
    hu[:, 10:20] = np.random.default_rng(0).integers(300, 2000, (20, 10, 128))
    data = SegmentDataset.create(tmp_path / "data", hu, {"subject": ["s"] * 20}, kind="phantom").path
    for preset, name in (("recommended-XS", "phantom"), ("demo", "phantom-small")):
        options = load_options(preset, {"data": [data], "out": tmp_path / name, "init": name, "device": "cpu"})
        assert open_run(options).data.window == load_model(shipped_model(name)).card.window


def test_the_one_of_label_maps_draws_the_head_of_a_phantom_it_has_not_seen(tmp_path):
    head = HeadPhantom(7).render(shape=(40, 96, 96), spacing_mm=(2.5, 2.5, 3.0), table=False)
    labels = true_head_labels(head)
    path = write_labels(labels, tmp_path / "layers.seg.nrrd")
    words = ["volume", "from-labels", str(path), "--model", LABELS, "--out", str(tmp_path / "ct"), "--device", "cpu"]
    done = CliRunner().invoke(skullgan, words)
    assert done.exit_code == 0, done.output
    card = load_model(shipped_model(LABELS)).card
    assert card.training["kinds"] == ["phantom"]
    assert "no patient" in card.limits
    drawn = read_volume(tmp_path / "ct" / "volume-0001.nrrd", labels=True).hu
    for value, bias in ((1, 250), (2, 250), (3, 250), (4, 40), (5, 80)):
        inside = labels.hu == value
        assert drawn[inside].mean() == pytest.approx(head.volume.hu[inside].mean(), abs=bias), value
    assert (drawn[labels.hu == 0] < -900).mean() > 0.95
