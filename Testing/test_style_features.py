"""A feature network handed in to the family ``style``: what is recorded, refused, and used in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from SkullGANLib.cli.main import skullgan
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.models.features import RecordedFeatures, read_features, save_features
from SkullGANLib.models.folder import load_model
from SkullGANLib.segments.dataset import SegmentDataset

SETTINGS = [
    "network.size=32", "network.base=256", "network.widest=16", "network.style=16", "network.latent=8",
    "network.judged=64", "network.mixed=8",
    "guidance=0", "grow_images=16", "snapshot_images=16", "sample_images=64", "checkpoint_images=16", "augment=0",
    "blur=0",
]  # fmt: skip


class Photographic(nn.Module):
    """Of colour images, with means made at run time and strides of 4 and 8."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.fine = nn.Sequential(nn.Conv2d(3, 6, 5, 4, 2), nn.BatchNorm2d(6), nn.GELU(), nn.Dropout(0.5))
        self.coarse = nn.Conv2d(6, 10, 3, 2, 1)
        self.fine[1].running_mean.fill_(0.1)

    def forward(self, images):
        colour = images.expand(-1, 3, -1, -1) - 0.1 * torch.arange(3, device=images.device)[:, None, None]
        fine = self.fine(colour)
        return fine, self.coarse(fine)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return save_features(Photographic(), tmp_path_factory.mktemp("features") / "photographic")


def test_the_recorded_network_gives_what_the_network_gives_for_any_number_and_size(recorded):
    assert recorded.name == "photographic.pt2"
    network = Photographic().eval()
    given = RecordedFeatures()
    with pytest.raises(InputError, match="not kept with it"):
        given(torch.zeros(1, 1, 64, 64))
    given.give(recorded.read_bytes())
    for shape in ((1, 1, 64, 64), (5, 1, 128, 128)):
        images = torch.randn(shape, requires_grad=True)
        for found, expected in zip(given(images), network(images), strict=True):
            torch.testing.assert_close(found, expected)
        (gradient,) = torch.autograd.grad(given(images)[1].sum(), images)
        (expected,) = torch.autograd.grad(network(images)[1].sum(), images)
        torch.testing.assert_close(gradient, expected)
    assert read_features(recorded.read_bytes(), "It")[1] == ((6, 4), (10, 8))
    assert not given.state_dict()  # nothing to learn, nothing to unpickle from a model


def test_it_works_on_another_device_even_where_it_makes_tensors_by_itself(recorded):
    given = RecordedFeatures()
    given.give(recorded.read_bytes())
    assert [each.device.type for each in given(torch.zeros(2, 1, 64, 64, device="meta"))] == ["meta"] * 2


class Flat(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class AsFine(nn.Module):
    def forward(self, x):
        return [x, 2 * x]


class Choosy(nn.Module):
    def forward(self, x):
        return [x, x[:, :, ::2, ::2]] if x.sum() > 0 else [x]


@pytest.mark.parametrize("network", [Flat(), AsFine(), Choosy(), nn.Conv2d(3, 4, 3)])
def test_what_gives_no_maps_or_cannot_be_recorded_is_refused_and_nothing_is_written(tmp_path, network):
    with pytest.raises(InputError, match=r"gives no maps|cannot record"):
        save_features(network, tmp_path / "features.pt2")
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_kind_is_refused():
    with pytest.raises(FormatError, match=r"photo\.pt2 holds no network"):
        read_features(b"no archive", "photo.pt2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng, n = np.random.default_rng(0), 56
    hu = rng.normal(300, 20, (n, 32, 32))
    hu[:, 10:20] += 1200
    table = {"class": np.array(["a", "b"])[np.arange(n) % 2], "subject": [f"s-{k % 7}" for k in range(n)]}
    folder = tmp_path_factory.mktemp("data") / "set"
    SegmentDataset.create(folder, hu.astype(np.int16), table, kind="real")
    return folder


def run(data, out, *more, images=32, preset="style-small", fails=False):
    sets = [word for text in SETTINGS for word in ("--set", text)] if preset == "style-small" else []
    words = ["train", "--data", data, "--out", out, "--preset", preset, "--images", images, "--batch-size", 8, *more]
    result = CliRunner().invoke(skullgan, [*map(str, words), *sets])
    assert result.exit_code == fails, result.output
    return result.output


def test_training_judges_by_the_network_handed_in_whose_file_is_needed_again(recorded, data, tmp_path):
    copy = tmp_path / "copy.pt2"
    copy.write_bytes(recorded.read_bytes())
    run(data, tmp_path / "once", "--features", recorded)
    run(data, tmp_path / "twice", "--features", copy, images=16)
    run(data, tmp_path / "twice", "--features", recorded)  # the same network, wherever its file lies
    assert "Give the same file with --features" in run(data, tmp_path / "more", "--init", tmp_path / "once", fails=True)
    once, twice = (load_model(tmp_path / name, discriminator=True) for name in ("once", "twice"))
    for one, other in ((once.generator, twice.generator), (once.discriminator, twice.discriminator)):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], value, msg=name)
    assert once.network.handed_in.maps == ((6, 4), (10, 8))
    once.discriminator.features.give(recorded.read_bytes())
    images = torch.rand(3, 1, 64, 64) * 2 - 1
    maps = [mix(x) for x, mix in zip(Photographic().eval()(images), once.discriminator.mix, strict=True)]
    torch.testing.assert_close(once.discriminator.scales(images)[1], once.discriminator.blend[1](maps[1]))
    assert str(tmp_path) not in (tmp_path / "once" / "model" / "model.json").read_text()


def test_impossible_feature_networks_are_refused_before_anything_is_trained(recorded, data, tmp_path):
    out = tmp_path / "run"
    (tmp_path / "photo.pt2").write_text("no archive")
    assert "no feature network" in run(data, out, "--features", tmp_path / "missing.pt2", fails=True)
    assert "holds no network" in run(data, out, "--features", tmp_path / "photo.pt2", fails=True)
    assert "take no feature network" in run(data, out, "--features", recorded, preset="recommended-nano32", fails=True)
    assert not out.exists()
