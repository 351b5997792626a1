"""Label synthesis: features belong to images to the bit, networks learn labels, the filter drops what is uncertain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.segmenter import dice
from SkullGANLib.generate.classes import classes_asked
from SkullGANLib.generate.sample import generate_segments
from SkullGANLib.labelling import ensemble
from SkullGANLib.labelling.ensemble import Labeller, image_uncertainty, jensen_shannon, most_certain, train_labeller
from SkullGANLib.labelling.features import draw_features, require_latents
from SkullGANLib.labelling.head import HeadNetwork, LabelHead
from SkullGANLib.labelling.synthesis import draw_labelled, spread_conditions
from SkullGANLib.models.card import Category, ModelCard
from SkullGANLib.models.conditions import condition_values, encode
from SkullGANLib.models.folder import Model, load_model, save_model, shipped_model
from SkullGANLib.models.registry import get_family
from SkullGANLib.models.window import IntensityWindow

NETWORKS = {
    "skullgan": {"latent": 8, "generator": (16, 8, 8, 8), "tail": (4, 4, 4), "discriminator": (4, 8, 8),
                 "weight_std": "fan_in"},
    "relativistic": {"latent": 8, "embedding": 8, "condition": 3, "widths": (16, 16, 8), "group": 8, "patch": 2},
    "style": {"size": 32, "condition": 3, "latent": 8, "style": 16, "base": 256, "widest": 16, "stem_layers": 5,
              "head_layers": 1, "judged": 32, "mixed": 8, "features": (8, 8), "description": 24},
}  # fmt: skip
MAPS = {
    "skullgan": ((16, 4), (8, 8), (8, 16), (8, 32), (4, 32), (1, 32)),
    "relativistic": ((16, 4), (16, 8), (8, 16), (1, 32)),
    "style": ((16, 4), (16, 8), (16, 16), (8, 32), (1, 32)),
}
CLASSES = ("CT/thick", "CT/thin", "MR")
NAMES = {1: "outer", 4: "inner"}


def tiny(folder, name="style", seed=0) -> Model:
    """An untrained model of 32 pixels on disk."""
    family = get_family(name)
    network = family.network(**NETWORKS[name])
    torch.manual_seed(seed)
    conditions = {"class": Category(values=CLASSES, share=(1, 1, 1))} if NETWORKS[name].get("condition") else {}
    card = ModelCard(
        family=name,
        network=network.model_dump(mode="json"),
        window=IntensityWindow(minimum_hu=0, range_hu=2000),
        conditions=conditions,
    )
    generator = family.build_generator(network)
    with torch.no_grad():  # what starts at 0 would hide what it does
        for weights in generator.parameters():
            weights.add_(0.05 * torch.randn_like(weights))
    return load_model(save_model(folder, Model(card, generator)))


def shares(card, n, seed=0):
    values = condition_values(card, {}, n, seed=seed)
    return encode(card.conditions, values) if values else None


def bright(hu):
    """Labels 1 and 4: the pixels above the median of each image, and the brightest tenth."""
    ranks = hu.reshape(len(hu), -1).argsort(1).argsort(1).reshape(hu.shape) / hu[0].size
    return np.select([ranks >= 0.9, ranks >= 0.5], [4, 1], 0).astype(np.uint8)


@pytest.fixture(scope="module")
def small():
    return load_model(shipped_model("phantom-small"))


@pytest.fixture(scope="module")
def painted(small):
    """Features of twelve images of a shipped model, and bone above and below 1,100 HU in them."""
    features = draw_features(small, range(12), seed=1, condition=shares(small.card, 12, 1), device="cpu")
    return features, np.select([features.hu > 1100, features.hu > 0], [1, 4], 0).astype(np.uint8)


@pytest.fixture
def model(tmp_path):
    return tiny(tmp_path / "model")


# features


@pytest.mark.parametrize("name", NETWORKS)
def test_images_with_features_are_those_of_generate_to_the_bit(tmp_path, name):
    model = tiny(tmp_path / "model", name)
    condition = shares(model.card, 7, 3)
    options = {"seed": 3, "condition": condition, "device": "cpu"}
    found = draw_features(model, range(7), **options)
    np.testing.assert_array_equal(found.hu, generate_segments(model, 7, precision="float32", **options))
    assert np.ptp(found.hu) > 0
    assert found.shapes == MAPS[name]
    np.testing.assert_allclose(model.window.to_hu(found.maps[-1][:, 0]), found.hu, atol=0.01)
    again = draw_features(model, [5, 2], seed=3, condition=None if condition is None else condition[[5, 2]])
    for some, each in zip(again.maps, found.maps, strict=True):
        torch.testing.assert_close(some, each[[5, 2]], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_are_what_the_modules_gave_and_nothing_changed_them_afterwards(tmp_path, name):
    model = tiny(tmp_path / "model", name)
    family, taken = model.family, []
    condition = shares(model.card, 4)
    found = draw_features(model, range(4), seed=0, condition=condition, device="cpu")
    generator = family.for_drawing(model.generator, model.network, False)
    for each in family.feature_maps(model.network):
        generator.get_submodule(each).register_forward_hook(lambda module, given, output: taken.append(output.clone()))
    with torch.no_grad():
        family.sample(generator, model.network, 0, range(4), None if condition is None else torch.from_numpy(condition))
    for mine, own in zip(found.maps, taken, strict=False):
        torch.testing.assert_close(mine, own)


@pytest.mark.parametrize(("family", "words"), [("patch-cgan", "label maps"), ("pyramid3d", "volumes")])
def test_families_without_latents_for_images_are_refused_in_words(family, words):
    card = ModelCard(family=family, network={}, window=IntensityWindow(minimum_hu=0, range_hu=1))
    with pytest.raises(InputError, match=words):
        require_latents(Model(card, torch.nn.Identity()))


def test_conditions_of_another_shape_and_impossible_numbers_are_refused(model):
    with pytest.raises(InputError, match=r"need \(2, 3\)"):
        draw_features(model, range(2), seed=0)
    with pytest.raises(InputError, match="at least one image"):
        draw_features(model, [], seed=0)


def test_the_image_joins_the_finest_third_of_the_maps():
    maps = tuple((8, 4 * 2**k) for k in range(8))
    assert HeadNetwork(maps=(*maps, (1, 512)), classes=2).groups == ((0, 1, 2), (3, 4, 5), (6, 7, 8))
    assert HeadNetwork(maps=((8, 4), (1, 8)), classes=2).groups == ((0,), (1,))


def test_a_network_without_conditions_normalises_plainly_and_one_with_them_obeys_them():
    torch.manual_seed(0)
    maps = [torch.randn(2, 8, 4, 4), torch.randn(2, 8, 8, 8), torch.randn(2, 1, 16, 16)]
    shapes = tuple((each.shape[1], each.shape[2]) for each in maps)
    plain = LabelHead(HeadNetwork(maps=shapes, classes=3)).eval()
    assert plain(maps, torch.empty(2, 0)).shape == (2, 3, 16, 16)
    head = LabelHead(HeadNetwork(maps=shapes, classes=3, condition=2)).eval()
    one, other = torch.eye(2), torch.eye(2).flip(0)
    torch.testing.assert_close(head(maps, one), head(maps, other))  # until it has learnt something
    torch.nn.init.normal_(head.norm.shift.weight)
    assert (head(maps, one) - head(maps, other)).abs().max() > 0.1


# uncertainty


def test_networks_that_agree_diverge_by_0_and_two_that_contradict_each_other_by_the_logarithm_of_2():
    same = torch.tensor([0.2, 0.5, 0.3])[None, None, :, None, None].expand(4, 1, 3, 2, 2)
    assert jensen_shannon(same).abs().max() < 1e-6
    apart = torch.eye(3)[:2][:, None, :, None, None]
    torch.testing.assert_close(jensen_shannon(apart), torch.full((1, 1, 1), np.log(2), dtype=torch.float32))
    all_apart = torch.eye(3)[:, None, :, None, None]
    torch.testing.assert_close(jensen_shannon(all_apart), torch.full((1, 1, 1), np.log(3), dtype=torch.float32))
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.1, 0.3, 0.6])
    found = jensen_shannon(torch.stack([p, q])[:, None, :, None, None]).item()
    assert found == pytest.approx(jensenshannon(p, q) ** 2, abs=1e-6)


def test_the_uncertainty_of_an_image_is_the_mean_over_its_labelled_pixels():
    divergence = torch.tensor([[[0.1, 0.3], [0.5, 0.0]]]).expand(3, 2, 2)
    labelled = torch.tensor([[[1, 1], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]]).bool()
    any_label = torch.tensor([[[1, 1], [1, 1]], [[0, 0], [1, 1]], [[0, 0], [0, 0]]]).bool()
    found = image_uncertainty(divergence, labelled, any_label)
    np.testing.assert_allclose(found, [0.2, 0.25, 0.0], atol=1e-6)


def test_the_most_certain_are_those_that_remain_in_their_order():
    np.testing.assert_array_equal(most_certain(np.array([0.3, 0.1, 0.9, 0.2]), 3), [0, 1, 3])
    np.testing.assert_array_equal(most_certain(np.array([0.5, 0.5, 0.5]), 2), [0, 1])


class ByBrightness(Labeller):
    """Calls an image the more uncertain, the brighter it is."""

    def __init__(self) -> None:
        super().__init__((), {1: "bone"})

    def label(self, features):
        return bright(features.hu), features.hu, features.hu.mean((1, 2))


def test_the_filter_drops_exactly_the_most_uncertain(model):
    everything = draw_labelled(model, ByBrightness(), 20, seed=5, first=3, drop=0, device="cpu")
    assert len(everything.dropped) == 0
    np.testing.assert_array_equal(everything.images, np.arange(3, 23))
    found = draw_labelled(model, ByBrightness(), 15, seed=5, first=3, drop=0.25, device="cpu")
    kept = np.isin(everything.images, found.images)
    assert kept.sum() == len(found.hu) == 15
    assert everything.uncertainty[kept].max() <= everything.uncertainty[~kept].min()
    np.testing.assert_array_equal(np.sort(found.dropped), np.sort(everything.uncertainty[~kept]))
    for mine, whole in ((found.hu, everything.hu), (found.masks, everything.masks)):
        np.testing.assert_array_equal(mine, whole[kept])
    np.testing.assert_array_equal(found.conditions["class"], everything.conditions["class"][kept])


def test_of_each_class_as_many_remain_as_were_asked_for(model):
    words = classes_asked(model.card, ["MR=4", "CT/thin"], 8)
    found = draw_labelled(model, ByBrightness(), len(words), classes=words, drop=0.5, device="cpu")
    assert found.conditions["class"].tolist() == ["MR"] * 4 + ["CT/thin"] * 8
    assert len(found.dropped) == 12
    assert (found.images[:4] < 8).all()  # MR came first


@pytest.mark.parametrize(("count", "drop"), [(0, 0.1), (5, 0.95), (5, -0.1)])
def test_impossible_numbers_are_refused(model, count, drop):
    with pytest.raises(InputError):
        draw_labelled(model, ByBrightness(), count, drop=drop)


def test_images_to_paint_are_spread_over_all_words_and_obey_what_is_asked(small):
    found = spread_conditions(small.card, {}, 24, seed=1)
    words = [*zip(*(found[name] for name in ("plane", "region", "side")), strict=True)]
    assert all(words.count(each) == 2 for each in set(words))
    assert len(set(words)) == 12
    low, high = small.card.conditions["sdr"].minimum, small.card.conditions["sdr"].maximum
    assert low <= found["sdr"].min() < found["sdr"].max() <= high
    asked = spread_conditions(small.card, {"region": "temporal", "sdr": "0.3:0.5"}, 5, seed=1, first=2)
    assert set(asked["region"]) == {"temporal"}
    np.testing.assert_allclose(asked["sdr"], np.linspace(0.3, 0.5, 5))
    assert len(set(asked["plane"])) == 3
    with pytest.raises(InputError, match="side"):
        spread_conditions(small.card, {"sid": "left"}, 5)


# learning


def test_networks_learn_a_label_that_can_be_told_by_eye_within_seconds(small, painted):
    features, names = painted[0], {4: "bone"}
    masks = np.where(features.hu > 0, np.uint8(4), np.uint8(0))
    labeller, found, unseen = train_labeller(
        features, masks, names, heads=2, steps=30, widths=(16, 16, 16), device="cpu"
    )
    assert labeller.labels == names
    assert labeller.held_out_dice[4] > 0.9
    assert (found == 4).any()
    assert 4 <= unseen.sum() <= 6  # two fifths of twelve
    others = draw_features(small, range(12, 18), seed=1, condition=shares(small.card, 18, 1)[12:], device="cpu")
    truth = np.where(others.hu > 0, 4, 0)
    masks, divergence, uncertainty = labeller.label(others)
    assert np.mean(dice(masks, truth, names)[4]) > 0.95
    assert set(np.unique(masks)) == {0, 4}
    assert divergence.shape == truth.shape
    for each, mask, value in zip(divergence, masks, uncertainty, strict=True):
        assert value == pytest.approx(each[mask > 0].mean(), rel=1e-4)


def test_the_same_seed_gives_the_same_networks_which_differ_and_torch_is_left_alone(painted):
    features, masks = painted
    options = {"heads": 2, "steps": 3, "widths": (8, 8, 8), "device": "cpu"}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    (one, *_), (two, *_) = (train_labeller(features, masks, NAMES, seed=4, **options) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for mine, other in zip(one.heads, two.heads, strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(mine.state_dict().values(), other.state_dict().values(), strict=True)
        )
    assert not torch.equal(one.heads[0].last.weight, one.heads[1].last.weight)


def test_every_image_is_held_out_once_by_five_networks(painted, monkeypatch):
    features, masks = painted
    learnt = []

    def head(network, features, truth, rows, *rest):
        learnt.append(rows)
        return LabelHead(network).eval()

    monkeypatch.setattr(ensemble, "_train_head", head)
    labeller, *_ = train_labeller(features, masks, NAMES, heads=5, steps=1, widths=(8, 8, 8), device="cpu")
    held_out = np.concatenate([np.setdiff1d(np.arange(12), rows) for rows in learnt])
    assert sorted(held_out) == list(range(12))
    assert labeller.held_out_dice.keys() == NAMES.keys()
    learnt.clear()
    few = features.take(np.arange(9))
    labeller, *_ = train_labeller(few, masks[:9], NAMES, heads=2, steps=1, widths=(8, 8, 8), device="cpu")
    assert [len(rows) for rows in learnt] == [9, 9]
    assert labeller.held_out_dice == {}


def test_masks_that_are_empty_of_another_shape_or_without_a_name_are_refused(painted):
    features, masks = painted
    with pytest.raises(InputError, match="painted"):
        train_labeller(features, np.zeros_like(masks), NAMES)
    with pytest.raises(InputError, match="shape"):
        train_labeller(features, masks[:, :64], NAMES)
    with pytest.raises(InputError, match="without a name: 4"):
        train_labeller(features, masks, {1: "bone"})
