"""The family ``style``: its layers, its growth, what is frozen, its classes and its one step of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

from SkullGANLib.cli.main import skullgan
from SkullGANLib.errors import InputError
from SkullGANLib.generate.classes import classes_asked, draw_between, towards_middle
from SkullGANLib.models.card import Category, ModelCard
from SkullGANLib.models.folder import Model, load_model
from SkullGANLib.models.registry import Batch, get_family
from SkullGANLib.models.style import Generator, StyleNetwork
from SkullGANLib.models.style_judge import Discriminator
from SkullGANLib.models.style_layers import Layer, Noise
from SkullGANLib.models.style_recipe import StyleRecipe, StyleTrainer, blurred
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train.data import TrainingData
from SkullGANLib.train.growing import grown, last_stage, stages
from SkullGANLib.train.options import load_options

FAMILY = get_family("style")
TINY = StyleNetwork(
    size=32, condition=3, latent=8, style=16, base=256, widest=16, stem_layers=5, head_layers=1, judged=32, mixed=8,
    features=(8, 8), description=24,
)  # fmt: skip


def seeded(network=TINY):
    torch.manual_seed(1)
    return Generator(network), Discriminator(network)


def set_noise(module, strength):
    for each in module.modules():
        if isinstance(each, Noise):
            torch.nn.init.constant_(each.strength, strength)


def drawn(generator, network=TINY, n=4, classes=(0, 1, 2, 0), seed=0):
    condition = torch.eye(3)[list(classes)] if network.condition else None
    with torch.no_grad():
        return FAMILY.sample(generator, network, seed, range(n), condition)


def test_the_full_size_has_the_seeds_layers_and_lengths():
    full = StyleNetwork()
    assert (full.latent, full.style, full.size) == (64, 512, 512)
    assert sum(full.layers(size) for size in (4, 8, 16)) == 7
    assert {full.layers(size) for size in (32, 64, 128, 256, 512)} == {4}
    assert [full.channels(size) for size in (16, 64, 128, 512)] == [256, 256, 128, 32]


@pytest.mark.parametrize(("size", "beyond"), [(8, "constant"), (16, "constant"), (32, "replicate")])
def test_a_layer_is_a_convolution_with_weights_of_its_own_for_each_image(size, beyond):
    torch.manual_seed(0)
    layer, x, style = Layer(4, 6, 5, 0), torch.randn(2, 4, size, size), torch.randn(2, 5)
    set_noise(layer, 0.0)
    for k in range(2):  # modulate, demodulate, convolve: equations 1 and 3 of StyleGAN2
        weight = layer.weight / 6 * layer.modulation(style[k])[None, :, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected = (
            F.leaky_relu(F.conv2d(F.pad(x[k : k + 1], (1, 1, 1, 1), mode=beyond), weight), 0.2) * (2 / 1.04) ** 0.5
        )
        found = layer(x[k : k + 1], style[k : k + 1], torch.tensor([k]))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_an_image_is_the_same_in_every_batch_and_its_noise_its_own():
    generator, _ = seeded()
    set_noise(generator, 0.5)
    whole = drawn(generator)
    with torch.no_grad():
        alone = FAMILY.sample(generator, TINY, 0, [2], torch.eye(3)[[2]])
    torch.testing.assert_close(whole[2:3], alone, rtol=1e-4, atol=1e-4)
    other = drawn(generator, classes=(1, 1, 2, 0))
    assert not torch.allclose(whole[0], other[0])


def test_noise_is_learnt_for_each_map_and_begins_with_some_since_from_none_nothing_is_learnt():
    torch.manual_seed(0)
    layer, x, style = Layer(4, 6, 5, 0), torch.zeros(64, 4, 16, 16), torch.zeros(64, 5)
    assert layer.noise.strength.abs().min() > 0
    smooth, rough = (layer.noise.strength.abs().flatten().topk(1, largest=k).indices.item() for k in (False, True))
    maps = layer(x, style, torch.arange(64)).std((0, 2, 3))
    assert maps[rough] > 3 * maps[smooth]

    def learnt(start):
        set_noise(layer, start)
        rough = layer(x, style, torch.arange(64)).diff(dim=3).square().mean((0, 2, 3)).sum()  # of either sign
        return torch.autograd.grad(rough, layer.noise.strength)[0].abs()

    assert learnt(0.1).min() > 0.1
    assert learnt(0.0).max() < 1e-6


def test_what_has_grown_draws_at_first_just_what_the_smaller_one_drew_enlarged():
    small = TINY.model_copy(update={"size": 16})
    generator, judge = seeded(small)
    larger, larger_judge = seeded(TINY.model_copy(update={"frozen": 16}))
    grown(larger, larger_judge, model(generator, judge, small))
    enlarged = F.interpolate(drawn(generator, small), scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(drawn(larger), enlarged)
    learning = {name for name, parameter in larger.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in learning} == {"block32", "image32"}


def model(generator, discriminator, network, classes=("a", "b/c", "d=e")):
    conditions = {"class": Category(values=classes, share=(1, 1, 1))} if network.condition else {}
    window = IntensityWindow(minimum_hu=0, range_hu=2000)
    card = ModelCard(family="style", network=network.model_dump(), window=window, conditions=conditions, seed=0)
    return Model(card, generator.eval(), discriminator)


def batch(n=6, first=0, done=0.0, held_out=False):
    images = torch.rand(n, 1, 32, 32, generator=torch.Generator().manual_seed(first)) * 2 - 1
    condition = torch.eye(3).repeat(2, 1)[:n]
    return Batch(images, condition, 0, first, 0.0, done, held_out=(images, condition) if held_out else None)


def test_the_classifier_sees_as_many_pixels_as_it_has_learnt_from():
    _, small = seeded()
    _, large = seeded(TINY.model_copy(update={"size": 128}))
    large.classifier.load_state_dict(small.classifier.state_dict())
    images = torch.rand(3, 1, 32, 32) * 2 - 1
    enlarged = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(large.class_logits(enlarged), small.class_logits(images))


def test_a_step_moves_generator_and_heads_but_nothing_that_is_frozen():
    generator, discriminator = seeded()
    trainer = StyleTrainer(StyleRecipe(), TINY, generator, discriminator.train())
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    drawn_before = drawn(generator)
    figures = trainer.step(batch(held_out=True))
    assert {"loss_generator", "loss_discriminator", "loss_class", "d_gap", "d_gap_held_out"} <= set(figures)
    changed = {
        name.split(".")[0] for name, value in discriminator.state_dict().items() if (value != before[name]).any()
    }
    assert changed == {"heads"}
    assert not torch.allclose(drawn(generator), drawn_before)


def test_the_loss_of_the_discriminator_is_the_hinge_of_all_logits():
    generator, discriminator = seeded()
    trainer = StyleTrainer(StyleRecipe(blur=0), TINY, generator, discriminator.eval())
    given = batch()
    with torch.no_grad():
        fake = trainer._drawn(given, 1, given.condition)
        real, other = discriminator.logits(given.images, given.condition), discriminator.logits(fake, given.condition)
    figures = trainer.step(given)
    assert figures["loss_discriminator"] == pytest.approx(
        float(F.relu(1 - real).mean() + F.relu(1 + other).mean()), 1e-4
    )


def test_the_blur_keeps_the_mean_and_fades():
    image = torch.zeros(1, 1, 33, 33)
    image[0, 0, 16, 16] = 1
    soft = blurred(image, 2.0)
    assert float(soft.sum()) == pytest.approx(1, abs=1e-5)
    row = soft[0, 0].sum(0)
    assert float((row * (torch.arange(33) - 16.0) ** 2).sum()) == pytest.approx(4, rel=0.05)
    trainer = StyleTrainer(StyleRecipe(blur=2, blur_share=0.2), TINY, *seeded())
    assert [trainer._sigma(done) for done in (0.0, 0.1, 0.2, 1.0)] == [1.0, 0.5, 0.0, 0.0]  # at 32 pixels


def test_truncation_draws_styles_to_the_middle_of_their_class():
    generator, judge = seeded()
    set_noise(generator, 0.0)  # which truncation leaves as it is
    whole = model(generator, judge, TINY)
    middle = towards_middle(whole, 0.0)
    images = drawn(middle.generator, classes=(0, 0, 1, 1))
    torch.testing.assert_close(images[0], images[1], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(images[0], images[2], atol=1e-3)
    several = drawn(towards_middle(whole, 0.0, 8).generator, n=32, classes=(0,) * 32)
    assert 1 < len(torch.unique((several[:, 0, 8, 8] * 1e4).round())) <= 8
    half = drawn(towards_middle(whole, 0.5).generator)
    assert half.std(0).mean() < drawn(generator).std(0).mean()


@pytest.mark.parametrize(("texts", "expected"), [
    (["a"], ["a", "a"]),
    (["b/c=1", "a=3"], ["b/c", "a", "a", "a"]),
    (["d=e"], ["d=e", "d=e"]),
    (["d=e=1"], ["d=e"]),
    (["all=1"], ["a", "b/c", "d=e"]),
])  # fmt: skip
def test_classes_are_asked_for_by_name_and_number(texts, expected):
    card = model(*seeded(), TINY).card
    assert classes_asked(card, texts, 2).tolist() == expected


@pytest.mark.parametrize(("texts", "words"), [
    (["bc"], "Did you mean b/c"),
    (["a", "a=3"], "asked for twice"),
    (["a=0"], "number of images"),
    (["a=many"], "number of images"),
])  # fmt: skip
def test_impossible_classes_are_refused_in_words(texts, words):
    with pytest.raises(InputError) as refused:
        classes_asked(model(*seeded(), TINY).card, texts, 2)
    assert words in f"{refused.value.message} {refused.value.advice}"


def test_a_walk_between_classes_begins_in_the_one_and_ends_in_the_other_without_a_jump():
    generator, judge = seeded()
    frames = draw_between(model(generator, judge, TINY), ["a", "b/c"], 40, device="cpu")
    steps = np.abs(np.diff(frames, axis=0)).mean((1, 2))
    assert frames.shape == (40, 32, 32)
    assert steps.max() < 0.5 * np.abs(frames[-1] - frames[0]).mean()


@pytest.fixture(scope="module")
def classed(tmp_path_factory):
    """Three classes that anyone can tell apart: bars at three heights; the third is rare."""
    rng, n = np.random.default_rng(0), 70
    kinds = np.array([0] * 30 + [1] * 30 + [2] * 10)
    hu = rng.normal(300, 20, (n, 32, 32))
    for k, kind in enumerate(kinds):
        hu[k, 6 + 8 * kind : 12 + 8 * kind] += 1200
    table = {
        "class": np.array(["head/top", "head/middle", "head/low"])[kinds],
        "subject": [f"s-{k % 7}" for k in range(n)],
    }
    folder = tmp_path_factory.mktemp("classed") / "set"
    SegmentDataset.create(folder, hu.astype(np.int16), table, kind="real")
    return folder


SETTINGS = [
    "network.size=32", "network.base=256", "network.widest=16", "network.style=16", "network.latent=8",
    "network.judged=32", "network.mixed=8",
    "grow_images=32", "snapshot_images=16", "sample_images=64", "checkpoint_images=32", "augment=0",
]  # fmt: skip


def train(data, out, *, images=64, fails=False, more=()):
    sets = [word for text in (*SETTINGS, *more) for word in ("--set", text)]
    words = ["train", "--data", data, "--out", out, "--preset", "style-small", "--images", images, "--batch-size", 8]
    result = CliRunner().invoke(skullgan, [*map(str, words), *sets])
    assert result.exit_code == fails, result.output
    return result.output


def test_a_run_grows_and_each_size_is_a_model_that_draws_each_class(classed, tmp_path):
    run = tmp_path / "run"
    train(classed, run)
    stem, whole = load_model(run / "stage-016"), load_model(run)
    assert (stem.network.size, whole.network.size, whole.network.frozen) == (16, 32, 16)
    assert whole.card.conditions["class"].values == ("head/low", "head/middle", "head/top")
    for name, value in stem.generator.state_dict().items():  # the EMA of what no longer learns
        torch.testing.assert_close(whole.generator.state_dict()[name], value, msg=name)
    words = ["generate", "--model", run, "--class", "head/low=3", "--class", "head/top", "--count", 2]
    result = CliRunner().invoke(skullgan, [*map(str, words), "--truncation", "0.7", "--out", str(tmp_path / "drawn")])
    assert result.exit_code == 0, result.output
    made = SegmentDataset.open(tmp_path / "drawn")
    assert made.table["asked_class"].tolist() == ["head/low"] * 3 + ["head/top"] * 2
    assert made.meta.extra["truncation"] == 0.7


def test_copies_are_counted_class_by_class(tmp_path):
    from SkullGANLib.generate.audit import audited

    rng = np.random.default_rng(1)
    hu = rng.normal(300, 300, (70, 64, 64)).astype(np.float32)
    table = {"subject": [f"s-{k % 7}" for k in range(70)]}
    data = SegmentDataset.create(tmp_path / "set", hu, table, kind="real", spacing_mm=0.9)
    hu = hu[:20].copy()
    hu[10:] = rng.permutation(hu[10:].ravel()).reshape(10, 64, 64)
    words = np.repeat(["head/low", "head/top"], 10)
    card = ModelCard(
        family="style", network=TINY.model_dump(), window=IntensityWindow(minimum_hu=0, range_hu=2000), spacing_mm=0.9,
        conditions={"class": Category(values=("head/low", "head/top"), share=(1, 1))},
    )  # fmt: skip
    _, _, audit, _ = audited(hu, {"class": words}, card, [data], "keep")
    assert audit.classes == {"head/low": (10, 10), "head/top": (0, 10)}


def test_the_same_command_goes_on_and_ends_as_a_run_that_was_not_stopped(classed, tmp_path):
    train(classed, tmp_path / "once", more=["blur=0"])  # which follows the length of the training
    train(classed, tmp_path / "twice", images=32, more=["blur=0"])
    train(classed, tmp_path / "twice", more=["blur=0"])
    ends = [load_model(tmp_path / name).generator.state_dict() for name in ("once", "twice")]
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, msg=name)


@pytest.fixture(scope="module")
def small_run(classed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "run"
    train(classed, folder, images=32, more=["network.size=16"])
    return folder


def test_a_finished_run_can_grow_by_another_size(small_run, classed, tmp_path):
    train(classed, tmp_path / "large", images=32, more=[f"init={small_run}"])
    assert load_model(tmp_path / "large").network.frozen == 16
    assert not list((tmp_path / "large").glob("stage-*"))


@pytest.mark.parametrize("other", ["stem_layers=6", "head_layers=3", "widest=12", "judged=64"])
def test_what_has_learnt_with_other_layers_does_not_grow(small_run, classed, tmp_path, other):
    more = [f"init={small_run}", f"network.{other}", "grow_images=16"]
    said = train(classed, tmp_path / "large", images=16, fails=True, more=more)
    assert "holds another network" in said
    assert f"network.{other.split('=')[0]}=" in said  # as it is to be
    assert not (tmp_path / "large").exists()


def test_what_grows_by_several_sizes_at_once_freezes_only_what_has_learnt(small_run, tmp_path):
    values = {"data": [tmp_path], "out": tmp_path / "run", "init": small_run, "grow_images": None}
    options = load_options("style-small", values)
    assert stages(options, load_model(small_run)) == []
    assert last_stage(options, small_run, 16).network_options.frozen == 16


def test_rare_classes_are_known_when_features_and_classes_are_learnt(classed):
    data = TrainingData([classed], conditions=["class"])
    hu, classes = data.training_images(30, 16)
    assert hu.shape == (30, 16, 16)
    assert classes.sum(0).tolist() == [10, 10, 10]  # 30, 30 and 10 there are
    assert data.training_images(1000, 32)[0].shape == (70, 32, 32)
    assert data.training_images(1000, 20)[0].shape == (70, 32, 32)


def test_a_description_of_another_length_is_refused(classed, tmp_path):
    assert "144 features" in train(classed, tmp_path / "run", fails=True, more=["network.description=100"])


def test_images_without_a_class_and_sets_without_classes_are_said(classed, tmp_path):
    some = SegmentDataset.open(classed)
    names = np.where(np.arange(70) % 7 == 0, "", some.table["class"])
    SegmentDataset.create(tmp_path / "set", np.asarray(some.hu), {"class": names}, kind="real")
    with pytest.warns(UserWarning, match="10 of 70 training segments have no class"):
        TrainingData([tmp_path / "set"], conditions=["class"])
    SegmentDataset.create(tmp_path / "plain", np.asarray(some.hu), {}, kind="real")
    assert "have no classes" in train(tmp_path / "plain", tmp_path / "run", images=8, more=["network.size=16"])


def test_a_size_that_does_not_fit_is_refused_by_the_size_of_the_model(classed, tmp_path):
    said = train(classed, tmp_path / "run", fails=True, more=["network.size=64"])
    assert "makes images of 64 pixels, of which the data's 32" in said


def test_another_training_set_is_refused_in_words(small_run, classed, tmp_path):
    some = SegmentDataset.open(classed)
    table = {"class": some.table["class"], "subject": some.table["subject"]}
    SegmentDataset.create(tmp_path / "set", np.asarray(some.hu)[:, ::-1], table, kind="real")
    said = train(tmp_path / "set", small_run, images=32, fails=True, more=["network.size=16"])
    assert "other options: another training set." in said


def test_rare_classes_are_drawn_more_often_and_nothing_is_mirrored_to_a_side_without_name(classed):
    def shares(balance):
        data = TrainingData([classed], conditions=("class",), balance=balance)
        return data.condition(0, 700).mean(0).tolist()  # ten epochs; low, middle, top

    assert shares(0) == pytest.approx([1 / 7, 3 / 7, 3 / 7], abs=1e-6)
    assert shares(1) == pytest.approx([1 / 3] * 3, abs=0.02)


@pytest.mark.parametrize(("names", "mirrored"), [
    (("ear/left", "ear/right"), True), (("ear/left", "nose"), False), (("cleft", "nose"), True)
])  # fmt: skip
def test_mirroring_turns_a_class_into_that_of_the_other_side_or_is_left(tmp_path, names, mirrored):
    hu = np.zeros((8, 32, 32), np.int16)
    hu[:, :, :16] = 1000
    table = {"class": np.repeat(names, 4), "plane": ["axial"] * 8}
    SegmentDataset.create(tmp_path / "set", hu, table, kind="real")
    data = TrainingData([tmp_path / "set"], conditions=("class",))
    assert data.mirror is mirrored
    images, condition = data.batch(0, 64), data.condition(0, 64)
    turned = images[:, 0, 0, 0] < 0
    assert bool(turned.any()) is mirrored
    own = np.array([data.conditions["class"].values.index(names[0])])
    first = np.isin(condition.argmax(1).numpy(), own)
    assert 0 < first.sum() < 64
    if names[1] == "ear/right":
        order = [data._place(k) for k in range(64)]
        was_left = np.array([number < 4 for number, _ in order])
        assert (first == np.where(turned, ~was_left, was_left)).all()
