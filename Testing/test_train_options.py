"""Options come from presets and overrides, and a mistake in either is named."""

import pytest

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.models.skullgan import SkullGANNetwork
from SkullGANLib.models.skullgan_recipe import SkullGANRecipe
from SkullGANLib.train.options import load_options, parse_setting, preset_names


def test_every_preset_loads_and_makes_128_pixels():
    assert {"paper", "released", "compact", "demo"} <= set(preset_names())
    for name in ("paper", "released", "compact", "demo"):
        options = load_options(name)
        assert options.network_options.size == 128
        assert options.preset == name


def test_the_paper_preset_is_the_paper():
    options = load_options("paper")
    assert options.network_options == SkullGANNetwork()
    assert options.recipe_options == SkullGANRecipe()
    assert (options.batch_size, options.epochs, options.precision) == (64, 1000, "auto")
    recipe = options.recipe_options
    assert (recipe.learning_rate, recipe.betas, recipe.real_label) == (3e-4, (0.5, 0.999), 0.9)
    assert options.total_images(2414) == 2_414_000


def test_the_released_preset_differs_where_the_code_does():
    options = load_options("released")
    recipe = options.recipe_options
    assert (options.batch_size, options.seed, options.mirror) == (16, 111, False)
    assert (recipe.schedule, recipe.fresh_fakes, recipe.blur_joins_fakes, recipe.blur_frozen) == (
        "paper",
        False,
        True,
        True,
    )
    assert options.network_options == SkullGANNetwork()


def test_overrides_reach_their_group_and_short_names_are_enough():
    options = load_options("paper", {"gate": "off", "recipe.learning_rate": 1e-4, "latent": 10, "batch_size": 8})
    assert options.recipe_options.gate == "off"
    assert options.recipe_options.learning_rate == 1e-4
    assert options.network_options.latent == 10
    assert options.batch_size == 8


def test_a_length_in_images_replaces_one_in_epochs():
    options = load_options("paper", {"images": 500})
    assert options.total_images(100) == 500
    assert load_options("demo", {"epochs": 2}).total_images(100) == 200


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("lerning_rate", "recipe.learning_rate"),
        ("recipe.gaet", "recipe.gate"),
        ("batchsize", "batch_size"),
        ("network.latnet", "network.latent"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(key, near):
    with pytest.raises(InputError, match="no option") as caught:
        load_options("compact", {key: 1})
    assert near in caught.value.advice


def test_an_unknown_key_in_a_file_is_named_too(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("images = 10\n[recipe]\nlearning_rat = 1.0\n")
    with pytest.raises(InputError, match="learning_rat") as caught:
        load_options(file)
    assert "recipe.learning_rate" in caught.value.advice
    file.write_text("images = = 10")
    with pytest.raises(FormatError, match="not TOML"):
        load_options(file)


def test_impossible_values_and_presets_are_refused_in_words():
    with pytest.raises(InputError, match=r"^The option batch_size cannot be 1: "):
        load_options("compact", {"batch_size": 1})
    with pytest.raises(InputError, match=r"recipe\.gate"):
        load_options("compact", {"gate": "ajar"})
    with pytest.raises(InputError, match="batch_size"):
        load_options("compact", {"batch_size": 0})
    with pytest.raises(InputError, match="no preset") as caught:
        load_options("papper")
    assert "paper" in caught.value.advice
    with pytest.raises(InputError, match="length"):
        load_options("compact", {"images": None})


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=1e-3", 1e-3), ("a=off", "off"), ("a=[1, 2]", [1, 2]), ("a=true", True), ("a=x=y", "x=y"), ("a = 3", 3)],
)
def test_settings_are_read_as_toml_or_words(text, value):
    assert parse_setting(text) == ("a", value)


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(InputError, match="key=value"):
        parse_setting("gate")
