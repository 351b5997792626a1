"""A model with conditions is asked in a user's words, and what is not asked is as in its training set."""

import json
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pydantic import BaseModel, ValidationError

from SkullGANLib.cli.main import skullgan
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.generate.sample import generate_segments
from SkullGANLib.models import registry
from SkullGANLib.models.card import Category, ModelCard, Number, load_card
from SkullGANLib.models.conditions import columns, condition_values, encode, parse_conditions
from SkullGANLib.models.draws import uniform_latents
from SkullGANLib.models.folder import Model, load_model, save_model
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.segments.dataset import SegmentDataset

CONDITIONS = {
    "region": Category(values=("temporal", "parietal", "frontal"), share=(0.6, 0.4, 0.0)),
    "sdr": Number(mean=0.6, std=0.1, minimum=0.3, maximum=0.8),
    "thickness_mm": Number(unit="mm", mean=6.0, std=2.0, minimum=3.0, maximum=12.0),
}


class Network(BaseModel):
    size: int = 32


class Generator(torch.nn.Module):
    """Rows 0 to 4 of an image are its five conditions over 10, and row 8 is its latent."""

    def __init__(self, network):
        super().__init__()
        self.size, self.anchor = network.size, torch.nn.Parameter(torch.zeros(1))

    def forward(self, z, condition):
        images = torch.zeros(len(z), 1, self.size, self.size)
        images[:, 0, :5] = condition[:, :, None] / 10
        images[:, 0, 8] = z
        return images + self.anchor


class Family:
    """As little as sampling needs."""

    name, title, network, conditions = "asked", "Asked", Network, ("region", "sdr", "thickness_mm")
    volumes = masks = False

    def build_generator(self, network):
        return Generator(network)

    def sample(self, generator, network, seed, indices, condition=None, stream=0):
        return generator(uniform_latents(seed, stream, indices, 1)[0], condition)

    def for_drawing(self, generator, network, bfloat16):
        return generator

    def memory(self, network, batch, *, training, bfloat16=False):
        return 1000 * batch


@pytest.fixture
def model(tmp_path, monkeypatch) -> Model:
    monkeypatch.setitem(registry.FAMILIES._all(), "asked", Family())
    window = IntensityWindow(minimum_hu=-1000, range_hu=2000)  # HU are 1000 times what the network makes
    card = ModelCard(
        family="asked", network={"size": 32}, window=window, background_hu=-1000, bone_floor_hu=0, conditions=CONDITIONS
    )
    return load_model(save_model(tmp_path / "model", Model(card, Generator(Network()))))


def asked_of(hu):
    """(n, 5) the conditions that stand in the images."""
    return hu[:, :5, 0] / 100


def test_the_card_keeps_conditions_and_their_order(model, tmp_path):
    assert list(load_card(tmp_path / "model").conditions.items()) == list(CONDITIONS.items())
    assert columns(model.card.conditions) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "category", "values": ["a", "b"], "share": [1]},
        {"kind": "category", "values": ["a"], "share": [0]},
        {"kind": "number", "mean": 0, "std": 0, "minimum": 0, "maximum": 1},
        {"kind": "number", "mean": 0, "std": 1, "minimum": 2, "maximum": 1},
        {"kind": "mask"},
    ],
)
def test_a_card_with_impossible_conditions_is_refused(model, tmp_path, wrong):
    file = tmp_path / "model" / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"conditions": {"x": wrong}}))
    with pytest.raises(FormatError, match="damaged"):
        load_card(tmp_path / "model")
    with pytest.raises(ValidationError):
        ModelCard(**json.loads(file.read_text()))


def test_words_become_one_hot_and_numbers_standardised(model):
    values = condition_values(model.card, {"region": "parietal", "sdr": "0.45", "thickness_mm": 10}, 2)
    np.testing.assert_allclose(encode(model.card.conditions, values), [[0, 1, 0, -1.5, 2]] * 2, atol=1e-6)


def test_a_range_is_spread_evenly_over_the_count(model):
    values = condition_values(model.card, {"sdr": "0.3:0.6"}, 4)
    np.testing.assert_allclose(values["sdr"], [0.3, 0.4, 0.5, 0.6])


def test_what_is_not_asked_for_is_as_in_the_training_set(model):
    values = condition_values(model.card, {}, 4000, seed=3)
    shares = [(values["region"] == name).mean() for name in CONDITIONS["region"].values]
    np.testing.assert_allclose(shares, [0.6, 0.4, 0.0], atol=0.03)
    sdr = values["sdr"]
    assert (sdr.min(), sdr.max()) == (pytest.approx(0.3, abs=0.03), pytest.approx(0.8, abs=0.005))
    assert np.median(sdr) == pytest.approx(0.598, abs=0.006)  # of the normal distribution cut off at 0.3 and 0.8
    assert sdr.std() == pytest.approx(0.093, abs=0.004)
    assert abs(np.corrcoef(sdr, values["thickness_mm"])[0, 1]) < 0.05


def test_an_image_is_asked_the_same_in_every_part_and_batch_whatever_else_is_asked(model):
    whole = condition_values(model.card, {}, 6, seed=5)
    part = condition_values(model.card, {"region": "temporal"}, 3, seed=5, first=3)
    np.testing.assert_array_equal(part["sdr"], whole["sdr"][3:])
    hu = generate_segments(model, 6, seed=5)
    np.testing.assert_allclose(asked_of(hu), encode(model.card.conditions, whole), atol=1e-4)
    for size in (1, 4):
        np.testing.assert_array_equal(generate_segments(model, 6, seed=5, batch_size=size), hu)
    assert not np.array_equal(condition_values(model.card, {}, 6, seed=6)["sdr"], whole["sdr"])


@pytest.mark.parametrize(
    ("asked", "words", "advice"),
    [
        ({"regio": "temporal"}, "cannot be asked for 'regio'", "Did you mean region? It takes: region, sdr, thick"),
        ({"region": "jaw"}, "region cannot be 'jaw'", "temporal, parietal, frontal"),
        ({"sdr": "dense"}, "sdr cannot be 'dense'", "the training set has 0.3 to 0.8."),
        ({"thickness_mm": "nan"}, "thickness_mm cannot be 'nan'", "3 to 12 mm"),
        ({"sdr": "0.1:0.2:0.3"}, "cannot be '0.1:0.2:0.3'", "a range such as"),
    ],
)
def test_a_wish_that_cannot_be_met_is_answered_in_words(model, asked, words, advice):
    with pytest.raises(InputError, match=words) as caught:
        condition_values(model.card, asked, 2)
    assert advice in caught.value.advice


def test_a_wish_beyond_the_training_set_is_warned_of(model):
    with pytest.warns(UserWarning, match=r"sdr 0.5:0.9 lies beyond the training set \(0.3 to 0.8\)"):
        values = condition_values(model.card, {"sdr": "0.5:0.9"}, 2)
    np.testing.assert_allclose(values["sdr"], [0.5, 0.9])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        condition_values(model.card, {"sdr": "0.3:0.8"}, 2)


def test_conditions_are_written_as_name_and_value_once():
    assert parse_conditions(["region = temporal", "sdr=0.3:0.6"]) == {"region": "temporal", "sdr": "0.3:0.6"}
    for texts in (["region"], ["=1"], ["region="], ["sdr=1", "sdr=2"]):
        with pytest.raises(InputError):
            parse_conditions(texts)


def test_conditions_of_another_shape_and_of_a_model_without_any_are_refused(model):
    with pytest.raises(InputError, match=r"2 images need \(2, 5\)"):
        generate_segments(model, 2, condition=np.zeros((2, 4)))
    model.card.conditions = {}
    with pytest.raises(InputError, match="takes no conditions"):
        generate_segments(model, 2, condition=np.zeros((2, 5)))
    with pytest.raises(InputError, match="takes no conditions"):
        condition_values(model.card, {"region": "temporal"}, 2)


def generate(tmp_path, out, *words, fails=False):
    arguments = ["generate", "--model", tmp_path / "model", "--out", tmp_path / out, "--device", "cpu", *words]
    result = CliRunner().invoke(skullgan, [*map(str, arguments), "--events"])
    assert result.exit_code == fails, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("@SKULLGAN ")]
    return [json.loads(line.removeprefix("@SKULLGAN ")) for line in lines]


def test_the_command_asks_and_writes_down_what_was_asked(model, tmp_path, monkeypatch):
    monkeypatch.setattr("SkullGANLib.generate.export._measures", lambda hu, *arguments: {})
    words = ["--count", 3, "--seed", 4, "--condition", "region=parietal", "--condition", "sdr=0.4:0.9"]
    events = generate(tmp_path, "set", *words)
    (found,) = [event["result"] for event in events if "result" in event]
    assert (found["out"], found["segments"], found["seed"]) == (str(tmp_path / "set"), 3, 4)
    assert "beyond the training set" in found["notes"][0]
    made = SegmentDataset.open(tmp_path / "set")
    assert made.table["asked_region"].tolist() == ["parietal"] * 3
    np.testing.assert_allclose(made.table["asked_sdr"], [0.4, 0.65, 0.9])
    drawn = condition_values(model.card, {}, 3, seed=4)["thickness_mm"]
    np.testing.assert_array_equal(made.table["asked_thickness_mm"], drawn)
    expected = {"region": np.array(["parietal"] * 3), "sdr": [0.4, 0.65, 0.9], "thickness_mm": drawn}
    np.testing.assert_allclose(asked_of(made.hu), encode(model.card.conditions, expected), atol=1e-3)
    generate(tmp_path, "a.npy", *words)
    kept = json.loads((tmp_path / "a.npy.json").read_text())["conditions"]
    assert kept["thickness_mm"] == drawn.tolist()


def test_the_command_answers_a_wrong_wish_before_drawing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(Family, "sample", lambda *a, **k: pytest.fail("nothing is drawn"))
    (end,) = generate(tmp_path, "set", "--condition", "side=left", fails=True)
    assert end == {
        "exit_code": 1,
        "success": False,
        "error": "The model cannot be asked for 'side'.",
        "advice": "It takes: region, sdr, thickness_mm.",
    }


def test_what_is_not_asked_follows_what_is_as_in_the_training_set():
    conditions = {
        "region": Category(values=("temporal", "parietal"), share=(0.25, 0.75)),
        "sdr": Number(mean=0.5, std=0.1, minimum=0.0, maximum=1.0),
        "thickness_mm": Number(unit="mm", mean=6.0, std=2.0, minimum=0.0, maximum=12.0),
    }
    rng = np.random.default_rng(0)
    parietal = rng.random(200_000) < 0.75
    thickness = 6 + 2 * np.where(parietal, 0.5, -1.5) + rng.normal(0, 0.5, len(parietal))
    sdr = 0.5 + 0.04 * (thickness - 6) / 2 + rng.normal(0, 0.05, len(parietal))
    columns = np.stack([~parietal, parietal, (sdr - 0.5) / 0.1, (thickness - 6) / 2]).astype(float)
    card = ModelCard(
        family="asked",
        network={},
        window=IntensityWindow(minimum_hu=0, range_hu=1),
        conditions=conditions,
        condition_mean=columns.mean(1).tolist(),
        condition_covariance=np.cov(columns).tolist(),
    )
    drawn = condition_values(card, {"region": "temporal"}, 4000, seed=1)
    assert drawn["thickness_mm"].mean() == pytest.approx(3.0, abs=0.05)
    assert drawn["thickness_mm"].std() == pytest.approx(0.5, abs=0.03)
    assert drawn["sdr"].mean() == pytest.approx(0.44, abs=0.01)
    thick = condition_values(card, {"thickness_mm": 8}, 4000, seed=1)
    assert thick["sdr"].mean() == pytest.approx(0.54, abs=0.02)
    with pytest.warns(UserWarning, match="beyond"):
        beyond = condition_values(card, {"thickness_mm": 60}, 4000, seed=1)  # whose SDR is far outside the limits
    assert beyond["sdr"].min() > 0.7
    free = condition_values(card, {}, 4000, seed=1)
    assert np.corrcoef(free["sdr"], free["thickness_mm"])[0, 1] == pytest.approx(
        np.corrcoef(columns[2:])[0, 1], abs=0.05
    )
