"""The encoder: the same bits from the same seed, kept on disk, and features that see what spoils a skull segment."""

import hashlib
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from scipy.ndimage import gaussian_filter

from SkullGANLib.errors import Cancelled, InputError
from SkullGANLib.evaluate import encoder as module
from SkullGANLib.evaluate.encoder import encoder_of, train_encoder, vicreg_loss
from SkullGANLib.evaluate.fidelity import frechet_distance
from SkullGANLib.evaluate.kernel import polynomial_kernel_distance
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput
from SkullGANLib.files import cache_folder


def porous_bands(n, seed, size=48):
    """Bowed bands of two tables and a porous diploe between them; the mask of the diploe comes with them."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:size, :size]
    hu, diploe = np.zeros((n, size, size), np.float32), np.zeros((n, size, size), bool)
    for image, inside in zip(hu, diploe, strict=True):
        thickness = rng.uniform(0.2, 0.35) * size
        depth = (row - 5 - 0.2 * (column - size / 2) ** 2 / size) / thickness
        pores = gaussian_filter(rng.normal(0, 1, (size, size)), 1.2)
        table = rng.normal(1600, 120)
        image[(depth >= 0) & (depth < 1)] = table
        inside[:] = (depth >= 0.25) & (depth < 0.75)
        image[inside] = (table * rng.uniform(0.5, 0.7) + 500 * pores)[inside]
        image += (image > 0) * rng.normal(0, 15, (size, size))
    return hu, diploe


@pytest.fixture(scope="module")
def trained():
    return train_encoder(porous_bands(400, 0)[0])


def given_for(hu, seed=0, fingerprint="of the set"):
    each = EvaluatedSet("real", hu, fingerprint)
    return EvaluationInput(each, EvaluatedSet("synthetic", hu, "of the other"), 0.45, seed)


def test_the_same_seed_and_set_give_the_same_bits_and_leave_torch_alone():
    hu = porous_bands(30, 1)[0]
    state = torch.random.get_rng_state()
    first, again = train_encoder(hu, seed=3), train_encoder(hu, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.hash == again.hash
    np.testing.assert_array_equal(first(hu), again(hu))
    assert train_encoder(hu, seed=4).hash != first.hash
    assert train_encoder(hu[::-1], seed=3).hash != first.hash


def test_features_are_standardised_on_the_training_segments(trained):
    found = trained(porous_bands(400, 0)[0])
    assert found.shape == (400, 144)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-3)
    assert found.std(0).max() == pytest.approx(1, abs=1e-3)
    assert np.median(found.std(0)) == pytest.approx(1, abs=1e-3)


def test_the_features_of_a_segment_depend_on_no_other(trained):
    hu = porous_bands(140, 5)[0]
    np.testing.assert_allclose(trained(hu)[133], trained(hu[133:134])[0], atol=1e-4)


@pytest.mark.parametrize("size", [32, 45, 64])
def test_any_size_from_32_on_works_and_so_does_a_single_segment(size):
    hu = porous_bands(3, 0, size)[0]
    assert np.isfinite(train_encoder(hu)(hu)).all()
    assert np.isfinite(train_encoder(hu[:1])(hu)).all()


def test_smaller_segments_are_refused_in_words():
    with pytest.raises(InputError, match="24 x 24 pixels are too small"):
        encoder_of(given_for(np.zeros((5, 24, 24))))


def test_what_spoils_a_segment_moves_it_away_the_more_the_worse(trained):
    real, diploe = porous_bands(300, 10)
    bone, other = real > 0, trained(porous_bands(300, 11)[0])
    rng = np.random.default_rng(0)
    white = rng.normal(0, 1, real.shape)

    def scrambled(share):
        """The diploe's texture gives way to one of the same spectrum and of random phase: no pores, no tables."""
        smooth = np.stack([gaussian_filter(each, 3) for each in real])
        texture = np.where(diploe, real - smooth, 0)
        phase = np.exp(1j * np.angle(np.fft.fft2(white)))
        grain = np.fft.ifft2(np.abs(np.fft.fft2(texture)) * phase).real
        grain *= texture[diploe].std() / grain[diploe].std()
        return np.where(diploe, smooth + np.sqrt(1 - share**2) * texture + share * grain, real)

    spoilt = {
        "blur": [np.stack([gaussian_filter(each, s) for each in real]) for s in (0.4, 0.8, 1.6)],
        "noise": [real + bone * s * white for s in (100, 150, 200)],
        "shift": [real + bone * s for s in (60, 120, 240)],
        "texture": [scrambled(s) for s in (0.6, 0.8, 1)],
    }
    for distance in (frechet_distance, polynomial_kernel_distance):
        floor = distance(trained(real), other)
        for name, versions in spoilt.items():
            found = [floor, *(distance(trained(hu), other) for hu in versions)]
            assert np.all(np.diff(found) > 0), (distance.__name__, name, found)
            assert found[-1] > 2 * max(floor, 0.01), (distance.__name__, name, found)


def test_the_loss_of_two_equal_whitened_views_is_nothing():
    views = torch.linalg.qr(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)))[0]
    views = views - views.mean(0)
    views = torch.linalg.qr(views)[0] * (63**0.5)
    assert float(vicreg_loss(views, views)) == pytest.approx(0, abs=1e-6)
    assert float(vicreg_loss(views, views.roll(1, 0))) > 10
    assert float(vicreg_loss(0 * views, 0 * views)) == pytest.approx(25 * 0.99)


def test_weights_are_kept_on_disk_and_read_back(tmp_path, monkeypatch):
    monkeypatch.setenv("SKULLGAN_CACHE", str(tmp_path / "cache"))
    hu = porous_bands(20, 2)[0]
    first = encoder_of(given_for(hu))
    assert len(list((tmp_path / "cache").iterdir())) == 1
    monkeypatch.setattr(module, "train_encoder", lambda *_, **__: pytest.fail("trained again"))
    again = encoder_of(given_for(hu))
    assert again.hash == first.hash
    np.testing.assert_array_equal(again(hu), first(hu))
    for other in (given_for(hu, seed=1), given_for(hu, fingerprint="of a third")):
        with pytest.raises(pytest.fail.Exception):
            encoder_of(other)


@pytest.mark.parametrize("damage", [lambda b: b[:-7], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""])
def test_a_damaged_file_is_replaced(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("SKULLGAN_CACHE", str(tmp_path))
    hu = porous_bands(20, 2)[0]
    first = encoder_of(given_for(hu))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert encoder_of(given_for(hu)).hash == first.hash
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SKULLGAN_CACHE", str(tmp_path / "file"))
    assert encoder_of(given_for(porous_bands(10, 2)[0])).hash


def test_so_is_one_that_refuses_a_file(tmp_path, monkeypatch):
    """safetensors has an error of its own for what the disk says."""

    def refused(*_):
        raise safetensors.SafetensorError("Error while serializing: I/O error: Permission denied (os error 13)")

    monkeypatch.setenv("SKULLGAN_CACHE", str(tmp_path))
    monkeypatch.setattr(safetensors.torch, "save_file", refused)
    assert encoder_of(given_for(porous_bands(10, 2)[0])).hash
    assert not list(tmp_path.iterdir())


def test_the_weights_of_another_network_are_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("SKULLGAN_CACHE", str(tmp_path))
    hu = porous_bands(20, 2)[0]
    first = encoder_of(given_for(hu))
    (path,) = tmp_path.iterdir()
    for change in (
        lambda weight: weight.bfloat16(),
        lambda weight: torch.cat([weight, weight]) if weight.ndim else weight,
    ):
        other = {name: change(weight) for name, weight in first.weights.items()}
        digest = hashlib.sha256()
        for name in sorted(other):
            digest.update(name.encode())
            digest.update(other[name].view(torch.uint8).numpy().tobytes() if other[name].ndim else b"")
        safetensors.torch.save_file(other, path, {"sha256": digest.hexdigest()})
        assert encoder_of(given_for(hu)).hash == first.hash


@pytest.mark.parametrize("fill", [0, 1200])
def test_training_segments_that_are_all_alike_give_features_of_moderate_size(fill):
    hu = np.full((12, 48, 48), fill, np.float32)
    assert np.abs(train_encoder(hu)(porous_bands(20, 1)[0])).max() < 100


def test_training_can_be_stopped():
    class Stop:
        def update(self, done, total, message="", **values):
            pass

        def cancelled(self):
            return True

    with pytest.raises(Cancelled):
        train_encoder(porous_bands(10, 0)[0], progress=Stop())


def test_without_a_home_the_cache_is_a_temporary_folder(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("SKULLGAN_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder().is_relative_to(tempfile.gettempdir())


@pytest.mark.parametrize(
    ("platform", "variable", "end"),
    [
        ("linux", "XDG_CACHE_HOME", "skullgan"),
        ("win32", "LOCALAPPDATA", "SkullGAN/Cache"),
        ("darwin", None, "Library/Caches/SkullGAN"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_such_things(monkeypatch, tmp_path, platform, variable, end):
    monkeypatch.delenv("SKULLGAN_CACHE")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder().is_relative_to(tmp_path) or variable
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
    assert cache_folder() == tmp_path / end
