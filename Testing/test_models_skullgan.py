"""SkullGAN's networks are the paper's, layer by layer, and an image depends on its own seed alone."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from SkullGANLib.models.draws import keyed_normals, uniform_latents
from SkullGANLib.models.skullgan import FAMILY, Discriminator, Doubling, Generator, NoiseLayer, SkullGANNetwork
from SkullGANLib.models.window import AUTHORS_WINDOW, IntensityWindow

TINY = SkullGANNetwork(latent=8, generator=(16, 8, 8, 8), tail=(4, 4, 4), discriminator=(4, 8, 8), weight_std="fan_in")


def _on_meta(build, network=None):
    with torch.device("meta"):
        return build(network or SkullGANNetwork())


def test_the_paper_s_networks_have_exactly_the_published_numbers_of_parameters():
    assert sum(p.numel() for p in _on_meta(FAMILY.build_generator).parameters()) == 192_002_304
    assert sum(p.numel() for p in _on_meta(FAMILY.build_discriminator).parameters()) == 11_164_353


def test_the_generator_s_tensors_have_the_released_names_and_shapes():
    shapes = {name: tuple(value.shape) for name, value in _on_meta(Generator).state_dict().items()}
    assert len(shapes) == 38
    assert shapes["main1.0.weight"] == (200, 4096, 4, 4)
    assert shapes["main1.1.running_var"] == (4096,)
    assert shapes["main5.1.num_batches_tracked"] == ()
    assert shapes["main6.0.weight"] == (256, 128, 4, 4)
    assert shapes["conv1.weight"] == (64, 128, 3, 3)
    assert shapes["conv3.bias"] == (16,)
    assert shapes["conv4.weight"] == (1, 16, 3, 3)
    assert not {"main6.1.weight", "conv4.bias", "main1.0.bias"} & set(shapes)


def test_the_discriminator_s_tensors_have_the_released_names():
    names = set(_on_meta(Discriminator).state_dict())
    assert len(names) == 32
    convolutions = {f"main.{n}.{what}" for n in (0, 2, 5, 8, 11, 14) for what in ("weight", "bias")}
    norms = {f"main.{n}.running_mean" for n in (3, 6, 9, 12)}
    assert convolutions | norms <= names


def test_images_have_the_size_that_the_number_of_stages_gives():
    generator, discriminator = FAMILY.build_generator(TINY), FAMILY.build_discriminator(TINY)
    images = FAMILY.sample(generator, TINY, seed=0, indices=range(3))
    assert images.shape == (3, 1, TINY.size, TINY.size) == (3, 1, 32, 32)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (3,)
    realness = FAMILY.realness(discriminator, images)
    assert ((realness > 0) & (realness < 1)).all()


def test_widths_that_do_not_belong_together_are_refused():
    with pytest.raises(ValidationError, match="one entry more"):
        SkullGANNetwork(generator=(8, 8), discriminator=(8, 8))
    with pytest.raises(ValidationError, match="weight_std"):
        SkullGANNetwork(weight_std=0.0)


def test_initial_weights_follow_the_paper():
    wide = SkullGANNetwork(latent=64, generator=(64, 64, 64), tail=(16, 16, 16), discriminator=(64, 64))
    generator = FAMILY.build_generator(wide)
    assert generator.main2[0].weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert generator.main1[1].weight.mean().item() == pytest.approx(1, abs=0.01)
    assert generator.main1[1].weight.std().item() == pytest.approx(0.01, rel=0.4)
    assert (generator.main1[1].bias == 0).all()


def test_the_noise_layer_touches_only_entries_between_minus_half_and_a_quarter_of_the_maximum():
    x = torch.linspace(-1, 1, 256).view(1, 1, 16, 16)
    changed = NoiseLayer(0)(x, torch.tensor([5])) != x
    between = (x >= -0.5) & (x <= 0.25)
    assert not changed[~between].any()
    assert changed[between].float().mean() > 0.98  # a value of about 0 can stay


def test_the_noise_is_the_entry_times_the_standard_deviation_of_its_map():
    x = torch.full((1, 1, 64, 64), 0.2)
    x[..., ::2] = 1.0
    noise = (NoiseLayer(0)(x, torch.tensor([5])) - x)[..., 1::2]
    assert noise.std().item() == pytest.approx(0.2 * x.std().item(), rel=0.05)
    assert abs(noise.mean().item()) < 0.005


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_without_gradients_the_noise_is_the_same(order):
    x = torch.randn(3, 8, 16, 16).to(memory_format=order)
    x[1, 2] = -1.0  # a map without a positive entry
    before, keys, layer = x.clone(), torch.tensor([5, 6, 7]), NoiseLayer(0)
    with torch.no_grad():
        alone = layer(x, keys)
    torch.testing.assert_close(alone, layer(x, keys))
    assert torch.equal(x, before)


def test_a_constant_map_has_no_noise_and_a_finite_slope():
    x = torch.full((1, 2, 8, 8), 0.0, requires_grad=True)
    out = NoiseLayer(0)(x, torch.tensor([1]))
    out.sum().backward()
    assert torch.equal(out, x)
    assert torch.isfinite(x.grad).all()


def test_an_image_is_the_same_in_every_batch():
    generator = FAMILY.build_generator(TINY).eval()
    with torch.no_grad():
        together = FAMILY.sample(generator, TINY, seed=3, indices=range(6))
        alone = FAMILY.sample(generator, TINY, seed=3, indices=[4])
    torch.testing.assert_close(together[4:5], alone, atol=1e-5, rtol=0)


def test_latents_depend_on_seed_and_image_and_nothing_else():
    z, keys = uniform_latents(7, 0, range(10), 200)
    again, keys_again = uniform_latents(7, 0, [9, 2], 200)
    assert torch.equal(again, z[[9, 2]])
    assert torch.equal(keys_again, keys[[9, 2]])
    assert not torch.equal(uniform_latents(8, 0, [0], 200)[0], z[:1])
    assert not torch.equal(uniform_latents(7, 1, [0], 200)[0], z[:1])
    assert z.min() >= -1
    assert z.max() < 1
    assert z.std().item() == pytest.approx(3**-0.5, rel=0.03)


def test_the_latent_of_an_image_never_changes_between_versions():
    z, keys = uniform_latents(1, 0, [2], 3)
    np.testing.assert_allclose(z[0], [-0.10192108, 0.5032202, 0.49636316], atol=1e-6)
    assert keys.tolist() == [2049147096]


def test_keyed_noise_is_standard_normal_and_uncorrelated():
    noise = keyed_normals(torch.tensor([20_011, 7]), 0, (8, 64, 64), torch.device("cpu"))
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.var().item() == pytest.approx(1, abs=0.02)
    assert (noise**4).mean().item() == pytest.approx(3, abs=0.15)
    pairs = {
        "neighbours": (noise[..., 1:], noise[..., :-1]),
        "channels": (noise[:, 1:], noise[:, :-1]),
        "halves": (noise[:, :4], noise[:, 4:]),
        "images": (noise[0], noise[1]),
        "layers": (noise, keyed_normals(torch.tensor([20_011, 7]), 1, (8, 64, 64), torch.device("cpu"))),
    }
    for name, (a, b) in pairs.items():
        assert abs((a * b).mean().item()) < 0.02, name


def test_the_window_maps_both_ways_and_the_authors_is_theirs():
    window = IntensityWindow(minimum_hu=-100, range_hu=2000)
    np.testing.assert_allclose(window.to_unit(np.array([-100.0, 900, 1900])), [-1, 0, 1])
    np.testing.assert_allclose(window.to_hu(window.to_unit(np.array([123.0]))), [123])
    assert AUTHORS_WINDOW.to_hu(1.0) == pytest.approx(2734.53)
    with pytest.raises(ValidationError):
        IntensityWindow(minimum_hu=0, range_hu=0)


def test_feature_maps_name_modules_of_the_generator():
    generator = FAMILY.build_generator(TINY)
    for name in FAMILY.feature_maps(TINY):
        assert generator.get_submodule(name) is not None


def test_the_noise_is_the_same_in_bfloat16_but_for_rounding_and_for_every_length_of_the_table():
    keys, cpu = torch.tensor([5, 2**31 - 1]), torch.device("cpu")
    exact = keyed_normals(keys, 0, (8, 64, 64), cpu)
    rounded = keyed_normals(keys, 0, (8, 64, 64), cpu, torch.bfloat16).float()
    torch.testing.assert_close(rounded, exact, atol=0.03, rtol=0.02)
    large = keyed_normals(keys[:1], 0, (3, 1024, 1024), cpu)  # its table is longer
    flat = large.permute(0, 2, 3, 1).flatten()[: exact[0].numel()]
    torch.testing.assert_close(flat, exact[:1].permute(0, 2, 3, 1).flatten())


@pytest.mark.parametrize("bias", [False, True])
def test_a_small_map_is_doubled_as_torch_does_it_and_so_are_its_gradients(bias):
    torch.manual_seed(0)
    ours = Doubling(6, 5, 4, 2, 1, bias=bias).to(memory_format=torch.channels_last)
    x = torch.randn(3, 6, 4, 8, requires_grad=True)
    found = ours(x)
    expected = torch.nn.functional.conv_transpose2d(x, ours.weight, ours.bias, 2, 1)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    for a, b in zip(
        torch.autograd.grad(found, (x, *ours.parameters()), weight),
        torch.autograd.grad(expected, (x, *ours.parameters()), weight),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def trained_like(noise: bool) -> tuple[Generator, SkullGANNetwork]:
    """A generator whose batch statistics fit its weights and whose images use the range."""
    network = SkullGANNetwork(
        latent=16, generator=(64, 64, 32, 32), tail=(16, 16, 8), discriminator=(4, 8, 8), noise=noise,
        weight_std="fan_in",
    )  # fmt: skip
    torch.manual_seed(3)
    generator = FAMILY.build_generator(network)
    generator.conv4.weight.data.mul_(6)
    with torch.no_grad():
        for start in range(0, 640, 64):
            FAMILY.sample(generator.train(), network, 1, range(start, start + 64))
    return generator.eval(), network


def test_the_folded_generator_draws_the_same_images():
    generator, network = trained_like(noise=True)
    with torch.no_grad():
        expected = FAMILY.sample(generator, network, 0, range(4))
        folded = FAMILY.for_drawing(generator, network, bfloat16=False)
        torch.testing.assert_close(FAMILY.sample(folded, network, 0, range(4)), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(FAMILY.sample(generator, network, 0, range(4)), expected, atol=0, rtol=0)
    assert all(p.requires_grad for p in generator.parameters())


def test_in_bfloat16_images_stay_within_a_few_hu_and_statistics_with_noise_within_a_hundredth():
    half_range_hu = 2734.53 / 2
    generator, network = trained_like(noise=False)
    with torch.no_grad():
        expected = FAMILY.sample(generator, network, 0, range(16))
        found = FAMILY.sample(FAMILY.for_drawing(generator, network, bfloat16=True), network, 0, range(16))
    assert expected.std() > 0.1
    error_hu = (found - expected).abs() * half_range_hu
    assert error_hu.square().mean().sqrt() < 10
    generator, network = trained_like(noise=True)
    with torch.no_grad():
        expected = FAMILY.sample(generator, network, 0, range(64))
        found = FAMILY.sample(FAMILY.for_drawing(generator, network, bfloat16=True), network, 0, range(64))
    assert found.std().item() == pytest.approx(expected.std().item(), rel=0.01)
    assert (found.mean() - expected.mean()).abs().item() < 0.01 * expected.std().item()
