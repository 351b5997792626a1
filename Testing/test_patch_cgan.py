"""The patch-based conditional GAN: published sizes, labels and images that stay together, CT that follows labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from SkullGANLib.cli.main import skullgan
from SkullGANLib.ct.io import read_volume, write_volume
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.generate.realness import discriminator_of
from SkullGANLib.generate.sample import generate_segments
from SkullGANLib.generate.stack import StackOptions, StackPlan
from SkullGANLib.generate.translate import channels_of, translate_slices, translate_volume, with_neighbours
from SkullGANLib.generate.translate_files import spread_rows
from SkullGANLib.models.folder import load_model
from SkullGANLib.models.patch_cgan import FAMILY, Discriminator, Generator, PatchNetwork, one_hot
from SkullGANLib.models.patch_cgan_recipe import moved, weights_around
from SkullGANLib.models.registry import Batch
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train.checkpoints import load_latest
from SkullGANLib.train.labelled import LabelledData
from SkullGANLib.train.options import load_options
from SkullGANLib.train.pix2pix_config import read_config
from SkullGANLib.train.run import train

HU = np.array([-1000.0, 800.0, 100.0])  # of air, ring and core
NAMES = {3: "ring", 5: "core"}
TINY = {
    "network.size": 32,
    "network.widths": [8, 16, 16],
    "network.head": 8,
    "network.noise": 1,
    "network.judge_width": 8,
    "network.patch": 4,
    "recipe.blur_px": 0.0,
    "recipe.reconstruction": 50.0,
    "recipe.decay": [0.0, 0.0],
    "recipe.rotation_deg": 0.0,
    "recipe.zoom": 0.0,
    "batch_size": 8,
    "recipe.learning_rate": [2e-3, 2e-4],
    "images": 2400,
    "sample_images": 1200,
    "checkpoint_images": 1200,
    "snapshot_images": 16,
    "ema_images": 100,
    "device": "cpu",
    "precision": "float32",
    "window_hu": [-1000, 1000],
}


def rings(n: int, seed: int = 0, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """(n, size, size) HU and the values of the labels: a core in a ring, each somewhere else and of another size."""
    rng = np.random.default_rng(seed)
    centres, radii = rng.uniform(0.4 * size, 0.6 * size, (n, 2, 1, 1)), rng.uniform(0.2 * size, 0.35 * size, (n, 1, 1))
    away = np.hypot(np.arange(size)[:, None] - centres[:, 0], np.arange(size) - centres[:, 1])
    channels = (away < radii).astype(int) + (away < radii - 3)
    hu = HU[channels] + rng.normal(0, 20, channels.shape)
    return hu.astype(np.float32), np.array([0, 3, 5], np.uint8)[channels]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    hu, masks = rings(48)
    table = {
        "subject": [f"s{k // 8}" for k in range(48)],
        "volume": [f"v{k // 8}" for k in range(48)],
        "plane": ["axial"] * 48,
        "position_mm": [2.0 * (k % 8) for k in range(48)],
        "split": ["train"] * 32 + ["val"] * 8 + ["test"] * 8,
    }
    folder = tmp_path_factory.mktemp("rings") / "data"
    given = {"kind": "phantom", "spacing_mm": 2.0, "background_hu": -1000.0}
    return SegmentDataset.create(folder, hu, table, masks={"rings": masks}, labels={"rings": NAMES}, **given)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("rings") / "run"
    return train(load_options("patch-small", {**TINY, "data": [data.path], "out": out}))


@pytest.fixture(scope="module")
def model(run):
    return load_model(run)


# the network ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("skips", "expected"), [(True, 55.8), (False, 44.7)])
def test_the_networks_have_the_published_sizes(skips, expected):
    network = PatchNetwork(skips=skips)
    count = [sum(p.numel() for p in part(network).parameters()) / 1e6 for part in (Generator, Discriminator)]
    assert count == [pytest.approx(expected, abs=0.06), pytest.approx(2.77, abs=0.006)]
    scores = Discriminator(network)(torch.zeros(1, 1, 256, 256), torch.zeros(1, 1, 256, 256, dtype=torch.uint8))
    assert scores.shape == (1, 1, 16, 16)


def test_the_scores_look_at_patches_of_94_pixels():
    network = PatchNetwork(judge_width=4)
    judge = Discriminator(network).eval()
    image = torch.zeros(1, 1, 256, 256, requires_grad=True)
    judge(image, torch.zeros(1, 1, 256, 256, dtype=torch.uint8))[0, 0, 8, 8].backward()
    rows = torch.nonzero(image.grad[0, 0].abs().sum(1))
    assert int(rows.max() - rows.min()) + 1 == 94


def test_a_label_has_a_channel_of_its_own_in_each_slice():
    labels = torch.tensor([[[[0, 1], [2, 1]], [[2, 2], [0, 0]]]], dtype=torch.uint8)
    found = one_hot(labels, 3, torch.float32)
    assert found.shape == (1, 6, 2, 2)
    assert found[0, :3].argmax(0).tolist() == [[0, 1], [2, 1]]
    assert found[0, 3:].argmax(0).tolist() == [[2, 2], [0, 0]]
    assert torch.equal(found.sum(1), torch.full((1, 2, 2), 2.0))


@pytest.mark.parametrize("values", [{"size": 96}, {"patch": 12}, {"labels": ("a", "a")}, {"size": 1024}])
def test_networks_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError, match=r"size|patch|labels"):
        PatchNetwork(**{"size": 256, **values})


# training -------------------------------------------------------------------------------------------------------------


def test_images_and_labels_are_moved_alike():
    labels = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    labels[:, :, 20:36, 10:30] = 2
    images = (labels > 0).float() * 2 - 1
    angle = np.radians(20)
    matrix = torch.tensor([[np.cos(angle), -np.sin(angle), 0.1], [np.sin(angle), np.cos(angle), -0.2]])
    there, numbers = moved(images, labels, matrix.float().expand(2, 2, 3))
    assert set(numbers.unique().tolist()) == {0, 2}
    assert ((there > 0) == (numbers > 0)).float().mean() > 0.99
    shifted = torch.nonzero(numbers[0, 0]).float().mean(0) - torch.nonzero(labels[0, 0]).float().mean(0)
    assert shifted.norm() > 3
    assert there[0, 0, 0, -1] == -1


def test_errors_count_fully_inside_labels_and_less_farther_from_their_centre():
    labelled = torch.zeros(2, 65, 65, dtype=torch.bool)
    labelled[0, 30:35, 30:35] = True
    weights = weights_around(labelled)
    assert torch.equal(weights[0][labelled[0]], torch.ones(25))
    assert weights[0, 0, 32] == pytest.approx(np.exp(-0.5 * (0.5 / 0.484) ** 2), rel=1e-4)
    assert weights[0, 32, 0] == pytest.approx(np.exp(-0.5 * (0.5 / 0.342) ** 2), rel=1e-4)
    assert torch.equal(weights[1], torch.ones(65, 65))  # nothing to be centred on


def test_hinge_weights_and_dropout_train_and_dropped_channels_depend_on_the_key_alone():
    options = load_options(
        "patch-small", {**TINY, "network.dropout": 0.5, "network.noise": 0, "recipe.decay": [0.1, 0]}
    )
    network = options.network_options.model_copy(update={"labels": ("ring", "core")})
    recipe = options.recipe_options.model_copy(update={"adversarial": "hinge", "weighting": "labels", "zoom": 0.1})
    torch.manual_seed(0)
    generator, judge = FAMILY.build_generator(network), FAMILY.build_discriminator(network)
    trainer = FAMILY.trainer(recipe, network, generator, judge)
    hu, masks = rings(8)
    labels = torch.from_numpy(with_neighbours(np.searchsorted([0, 3, 5], masks).astype(np.uint8), 1))
    images = torch.from_numpy(hu[:, None] / 1000)
    kernels = [p for p in (*generator.parameters(), *judge.parameters()) if p.dim() > 1]
    before = [p.detach().clone() for p in kernels]
    figures = [trainer.step(Batch(images, labels, 0, 8 * k, 0.0, 0.0)) for k in range(2)]
    assert figures[1]["learning_rate"] == pytest.approx(2e-3 * np.exp(-0.1))
    assert all(not torch.equal(one, other) for one, other in zip(before, kernels, strict=True))
    generator.eval()
    with torch.no_grad():
        one, again, other = (generator(labels[:1], torch.tensor([key])) for key in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_slices_come_with_their_neighbours_and_mirrored_with_their_image(data):
    stream = LabelledData([data.path], neighbours=1, window_hu=(-1000, 1000), mirror=True)
    assert (stream.labels, stream.slice_mm, len(stream)) == (("ring", "core"), 2.0, 32)
    images, labels = stream.batch(0, 32), stream.condition(0, 32)
    assert labels.shape == (32, 3, 32, 32)
    expected = torch.from_numpy(HU[labels[:, 1].numpy()] / 1000)
    assert (images[:, 0] - expected).abs().mean() < 0.03  # each image is that of its labels
    order = [stream._place(k) for k in range(32)]
    for number, mirrored in order[:12]:
        k = order.index((number, mirrored))
        near = [max(number - 1, number // 8 * 8), number, min(number + 1, number // 8 * 8 + 7)]
        own = np.searchsorted([0, 3, 5], data.label_sets["rings"][near])
        assert np.array_equal(labels[k].numpy(), own[..., ::-1] if mirrored else own)


def test_nothing_is_mirrored_where_a_label_has_a_side(data, tmp_path):
    given = {"kind": "phantom", "spacing_mm": 2.0, "background_hu": -1000.0}
    names = {"rings": {3: "Left ventricle", 5: "core"}}
    masks = {"rings": data.label_sets["rings"]}
    sided = SegmentDataset.create(tmp_path / "sided", data.hu, None, masks=masks, labels=names, **given)
    turned = [
        any(stream._place(k)[1] for k in range(48))
        for stream in (LabelledData([path], mirror=True) for path in (sided.path, data.path))
    ]
    assert turned == [False, True]


def test_what_samples_are_judged_with_are_the_labels_of_the_reference(data):
    stream = LabelledData([data.path], window_hu=(-1000, 1000))
    hu, labels = stream.reference(5), stream.drawn_condition(0, range(8 + 5))
    assert np.abs(hu - HU[labels[:5, 0]]).mean() < 30
    assert np.array_equal(labels[8:], labels[:5])  # of eight held-out slices: again from the start


def test_training_follows_the_labels_and_leaves_pictures(run, model, data):
    rows = data.filter(split="test")
    labels = np.searchsorted([0, 3, 5], data.label_sets["rings"][rows]).astype(np.uint8)
    drawn = translate_slices(model, with_neighbours(labels, 1), seed=1, device="cpu")
    assert np.abs(drawn - data.hu[rows]).mean() < 100
    means = [drawn[labels == k].mean() for k in range(3)]
    assert means == pytest.approx(HU, abs=120)
    names = sorted(path.name for path in (run / "samples").glob("*.png"))
    assert names == ["0000001200.png", "0000002400.png", "strip.png"]
    last = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])
    assert last["mae_hu"] < 120
    assert model.card.training["label_set"] == "rings"
    assert model.card.network["labels"] == ["ring", "core"]


def test_a_run_that_was_stopped_ends_as_one_that_was_not(data, tmp_path):
    short = TINY | {"images": 64, "sample_images": 64, "checkpoint_images": 32, "data": [data.path]}
    short |= {"recipe.rotation_deg": 10.0, "recipe.decay": [1e-2, 1e-2]}
    train(load_options("patch-small", {**short, "images": 32, "out": tmp_path / "a"}))
    resumed = train(load_options("patch-small", {**short, "out": tmp_path / "a"}))
    whole = train(load_options("patch-small", {**short, "out": tmp_path / "b"}))
    one, other = (load_latest(each / "checkpoints")[1] for each in (resumed, whole))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_data_without_label_maps_or_with_unknown_labels_are_refused(data, model, run, tmp_path):
    hu, masks = rings(8)
    given = {"kind": "phantom", "spacing_mm": 2.0, "background_hu": -1000.0}
    plain = SegmentDataset.create(tmp_path / "plain", hu, None, **given)
    with pytest.raises(InputError, match="no label maps"):
        train(load_options("patch-small", {**TINY, "data": [plain.path], "out": tmp_path / "x"}))
    other = SegmentDataset.create(tmp_path / "other", hu, None, masks={"rings": masks}, **given)
    options = {**TINY, "data": [other.path], "out": tmp_path / "y", "init": run}
    with pytest.raises(InputError, match="does not know the labels label 3, label 5; it knows: ring, core"):
        train(load_options("patch-small", options))
    two = SegmentDataset.create(tmp_path / "two", hu, None, masks={"rings": masks, "tissues": masks}, **given)
    with pytest.raises(InputError, match="several label sets: rings, tissues"):
        train(load_options("patch-small", {**TINY, "data": [two.path], "out": tmp_path / "z"}))


# drawing --------------------------------------------------------------------------------------------------------------


def test_a_slice_is_the_same_one_in_every_batch_and_another_for_another_seed(model):
    _, masks = rings(5, seed=3)
    labels = np.searchsorted([0, 3, 5], masks).astype(np.uint8)
    whole = translate_slices(model, labels, seed=2, noise_px=1.0, device="cpu")
    parts = translate_slices(model, labels, seed=2, noise_px=1.0, batch_size=2, device="cpu")
    np.testing.assert_allclose(whole, parts, atol=0.01)
    assert np.abs(whole - translate_slices(model, labels, seed=3, noise_px=1.0, device="cpu")).max() > 1


def test_any_size_is_drawn_and_is_what_the_labels_say(model):
    _, masks = rings(1, seed=4, size=50)
    labels = np.searchsorted([0, 3, 5], masks).astype(np.uint8)[:, :44]
    drawn = translate_slices(model, labels, device="cpu")
    assert drawn.shape == (1, 44, 50)
    assert drawn[labels == 1].mean() > 500 > 400 > drawn[labels == 2].mean()


def test_noise_that_is_mixed_across_slices_makes_neighbours_alike(model):
    _, masks = rings(1, seed=5)
    labels = np.repeat(np.searchsorted([0, 3, 5], masks).astype(np.uint8), 12, 0)
    own, mixed = (translate_slices(model, labels, noise_px=px, device="cpu") for px in (0.0, 2.0))
    steps = [np.abs(np.diff(hu, axis=0)).mean() for hu in (own, mixed)]
    assert steps[1] < 0.6 * steps[0]
    assert mixed.std(0).mean() == pytest.approx(own.std(0).mean(), rel=0.5)  # as different all the same


@pytest.mark.parametrize("order", ["LPS", "RAI", "ASL"])
def test_a_volume_lies_where_its_labels_lie_however_they_are_stored(model, order):
    import SimpleITK as sitk

    _, masks = rings(6, seed=6)
    masks[:, :16, :16] = 0  # another shape in each direction
    labels = Volume(masks, (2.0, 2.0, 3.0), (-31.0, 12.0, 5.0))
    straight = translate_volume(model, labels, NAMES, device="cpu")
    turned = Volume.from_sitk(sitk.DICOMOrient(labels.to_sitk(), order))
    made = translate_volume(model, turned, NAMES, device="cpu")
    assert (made.spacing_mm, made.origin_mm) == (turned.spacing_mm, turned.origin_mm)
    assert np.array_equal(made.direction, turned.direction)
    back = sitk.GetArrayFromImage(sitk.DICOMOrient(made.to_sitk(), "LPS"))
    np.testing.assert_allclose(back, straight.hu, atol=1.0)


def test_labels_of_other_pixels_are_resampled_and_that_is_said(model):
    masks = rings(2, seed=7)[1].repeat(2, 1).repeat(2, 2)
    made = translate_volume(model, Volume(masks, (1.0, 1.0, 2.0)), NAMES, device="cpu")
    assert made.shape == masks.shape
    assert made.notes == ("The model draws pixels of 2 mm; those of the label map, of 1 mm, are filled in between.",)
    assert made.hu[masks == 3].mean() > 400 > made.hu[masks == 5].mean() > -200


def test_labels_that_are_none_are_refused_in_words(model):
    empty = Volume(np.zeros((2, 32, 32), np.uint8))
    with pytest.raises(InputError, match="label map is empty"):
        translate_volume(model, empty, NAMES, device="cpu")
    with pytest.raises(InputError, match=r"does not know the labels bone \(3\); it knows: ring, core"):
        channels_of(model, {3: "bone", 5: "Core"})
    odd = Volume(np.full((2, 32, 32), 9, np.uint8))
    with pytest.raises(InputError, match=r"label 9 \(9\)"):
        translate_volume(model, odd, NAMES, device="cpu")
    with pytest.raises(InputError, match="draws CT from label maps"):
        generate_segments(model, 2)
    with pytest.raises(InputError, match=r"the model takes \(n, 3, rows, columns\)"):
        translate_slices(model, np.zeros((2, 5, 32, 32), np.uint8))


def test_what_works_on_segments_alone_refuses_the_model_in_words(run, model):
    with pytest.raises(InputError, match="together with their label maps"):
        discriminator_of(run, "cpu")
    with pytest.raises(InputError, match="from label maps, not segments"):
        StackPlan(model, StackOptions(12, 1.0))


def test_memory_grows_with_the_batch_and_training_needs_more():
    network = PatchNetwork(size=128, widths=(32, 64, 128))
    needs = [FAMILY.memory(network, batch, training=training) for training in (False, True) for batch in (1, 8)]
    assert needs[0] < needs[1] < needs[3]
    assert needs[0] < needs[2] < needs[3]


# the commands ---------------------------------------------------------------------------------------------------------


def test_the_commands_draw_a_data_set_and_a_volume(run, data, tmp_path):
    from click.testing import CliRunner

    words = ["generate", "--model", run, "--labels", data.path, "--count", 4, "--first", 2, "--out", tmp_path / "set"]
    done = CliRunner().invoke(skullgan, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    made = SegmentDataset.open(tmp_path / "set", verify=True)
    assert (made.meta.kind, made.labels("rings"), len(made)) == ("synthetic", NAMES, 4)
    assert np.array_equal(made.label_sets["rings"], data.label_sets["rings"][spread_rows(data, 4, 2)])
    assert np.abs(made.hu - data.hu[spread_rows(data, 4, 2)]).mean() < 120

    _, masks = rings(3, seed=8)
    path = write_volume(Volume(masks, (2.0, 2.0, 2.0), (1.0, 2.0, 3.0)), tmp_path / "labels.nrrd")
    words = ["volume", "from-labels", path, "--model", run, "--names", "3=ring,5=core", "--count", 2]
    done = CliRunner().invoke(skullgan, [str(word) for word in [*words, "--out", tmp_path / "ct"]])
    assert done.exit_code == 0, done.output
    one, two = (read_volume(tmp_path / "ct" / f"volume-000{k}.nrrd") for k in (1, 2))
    assert one.origin_mm == (1.0, 2.0, 3.0)
    assert one.hu[masks == 3].mean() > 500 > one.hu[masks == 5].mean()
    assert (one.hu != two.hu).any()
    assert json.loads((tmp_path / "ct" / "volumes.json").read_text())["labels"] == {"3": "ring", "5": "core"}
    assert (tmp_path / "ct" / "preview.png").is_file()


WHS = {
    "NAME": "WHS", "LEARNING_RATE_G": 0.00013, "LEARNING_RATE_D": 0.00015, "LR_EXP_DECAY_FACTOR_G": 0.0,
    "LR_EXP_DECAY_FACTOR_D": 1e-5, "MAX_ITER": 100000, "BATCH_SIZE": 8, "PATCH_SIZE": 16, "VAL_INTERVAL": 100,
    "SAVE_MODEL_INTERVAL": 1000, "IMAGE_RES": [256, 256], "CHANNELS": 1, "FIRST_LAYERS_FILTERS": 64, "ADAM_B1": 0.5,
    "LOSS_WEIGHT_DISC": 1, "LOSS_WEIGHT_GEN": 100, "LABELS": [0, 1, 2], "AUG_ROTATION_RANGE_DEGREES": 5,
    "AUG_WIDTH_SHIFT_RANGE_RATIO": 0.1, "SKIP_CONNECTIONS_GENERATOR": False, "CONDITIONAL_DISCRIMINATOR": True,
    "RECON_LOSS": "weighted",
}  # fmt: skip


def test_the_original_s_configuration_is_read_and_every_key_is_told_of(tmp_path):
    path = tmp_path / "whs.json"
    path.write_text(json.dumps(WHS))
    values, told = read_config(path)
    options = load_options("patch-whs", values)
    assert (options.images, options.batch_size, options.checkpoint_images) == (800_000, 8, 8000)
    assert options.network_options == PatchNetwork(skips=False)
    recipe = options.recipe_options
    assert (recipe.learning_rate, recipe.decay, recipe.betas) == ((1.3e-4, 1.5e-4), (0.0, 1e-5), (0.5, 0.999))
    assert (recipe.weighting, recipe.rotation_deg, recipe.shift, recipe.reconstruction) == ("labels", 5.0, 0.1, 100.0)
    assert [sentence.split()[0] for sentence in told] == list(WHS)
    assert sum("is not taken over" in sentence for sentence in told) == 3

    path.write_text(json.dumps(WHS | {"IMAGE_RES": [128, 128], "FIRST_LAYERS_FILTERS": 32}))
    network = load_options("patch-whs", read_config(path)[0]).network_options
    assert (network.size, network.widths) == (128, (32, 64, 128, 256, 256, 256))


@pytest.mark.parametrize(
    ("change", "words", "error"),
    [
        ({"BATCHSIZE": 8}, "does not know: BATCHSIZE", InputError),
        ({"IMAGE_RES": [256, 128]}, "IMAGE_RES cannot be", InputError),
        ({"RECON_LOSS": "l2"}, "RECON_LOSS cannot be 'l2'", InputError),
        (None, "neither JSON nor TOML", FormatError),
    ],
)
def test_a_configuration_that_cannot_be_honoured_is_refused(tmp_path, change, words, error):
    path = tmp_path / "whs.json"
    path.write_text("{" if change is None else json.dumps(WHS | change))
    with pytest.raises(error, match=words):
        read_config(path)
