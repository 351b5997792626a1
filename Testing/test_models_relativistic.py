"""The relativistic family: sizes of its networks, its filters, its loss and penalties, and what it is asked for."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from SkullGANLib.models.registry import Batch, get_family
from SkullGANLib.models.relativistic import Discriminator, Generator, RelativisticNetwork, resample
from SkullGANLib.models.relativistic_recipe import RelativisticRecipe, RelativisticTrainer, _penalty, along

NANO = (64, 64, 64, 32)
SMALL = RelativisticNetwork(widths=(16, 16, 8), latent=8, embedding=4, condition=3)


def trainer(network: RelativisticNetwork = SMALL, **recipe) -> RelativisticTrainer:
    torch.manual_seed(1)
    return RelativisticTrainer(RelativisticRecipe(**recipe), network, Generator(network), Discriminator(network))


def batch(n: int = 6, first: int = 0, done: float = 0.0) -> Batch:
    images = torch.rand(n, 1, SMALL.size, SMALL.size, generator=torch.Generator().manual_seed(first)) * 2 - 1
    return Batch(images, torch.eye(3).repeat(2, 1)[:n], 0, first, 0.0, done)


@pytest.mark.parametrize(("widths", "size", "millions"), [
    ((384, 384, 384, 192, 96, 48), 128, (4.92, 4.90)),
    ((256, 256, 256, 128, 64, 32), 128, (2.39, 2.37)),
    ((96, 96, 96, 48, 24), 64, (0.47, 0.46)),
    (NANO, 32, (0.24, 0.24)),
])  # fmt: skip
def test_the_networks_have_the_published_sizes(widths, size, millions):
    network = RelativisticNetwork(widths=widths)
    assert network.size == size
    with torch.device("meta"):
        counts = [sum(p.numel() for p in net(network).parameters()) for net in (Generator, Discriminator)]
    assert [round(count / 1e6, 2) for count in counts] == list(millions)


def test_widths_that_groups_do_not_divide_are_refused():
    with pytest.raises(ValidationError, match="group divides"):
        RelativisticNetwork(widths=(20, 20))


def test_a_ramp_stays_a_ramp_when_doubled_and_halving_takes_means():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    assert resample(ramp, 2.0)[0, 0, 0, 2:-2].diff().unique().tolist() == [0.5]
    assert resample(ramp, 0.5)[0, 0, 0].tolist() == [0.5, 2.5, 4.5, 6.5]


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_a_patch_makes_images_larger_and_both_networks_agree_on_their_pixels(patch):
    network = RelativisticNetwork(widths=(16, 16, 8), latent=8, patch=patch)
    assert network.size == 16 * patch
    images = Generator(network)(torch.randn(2, 8))
    assert images.shape == (2, 1, network.size, network.size)
    assert Discriminator(network)(images).shape == (2,)


def test_the_variance_of_fresh_images_is_about_one_and_blocks_start_as_nothing():
    torch.manual_seed(0)
    generator = Generator(RelativisticNetwork(widths=NANO))
    images = generator(torch.randn(64, 64))
    assert 0.2 < images.std().item() < 2
    block = generator.stage1[0]
    x = torch.randn(2, 64, 4, 4)
    torch.testing.assert_close(block(x), x)


def test_the_penalty_is_the_squared_norm_of_the_gradient():
    class Plane(nn.Module):
        def forward(self, images):
            return 3 * images[:, 0, 0, 0] - 4 * images[:, 0, 1, 1]

    images = torch.rand(5, 1, 4, 4, requires_grad=True)
    assert _penalty(Plane()(images), images).item() == pytest.approx(25)


def test_at_the_start_both_losses_are_those_of_a_judge_who_knows_nothing():
    figures = trainer().step(batch())
    assert figures["loss_discriminator"] == pytest.approx(math.log(2), abs=0.05)
    assert figures["loss_generator"] == pytest.approx(math.log(2), abs=0.05)
    assert figures["gamma"] == 10.0


def test_a_step_moves_both_networks_and_their_rates_follow_the_schedule():
    fit = trainer(learning_rate=(1e-2, 1e-3), beta2=(0.9, 0.99))
    before = {name: [p.clone() for p in net.parameters()] for name, net in fit.networks.items()}
    for number, done in enumerate((0.0, 0.5, 1.0)):
        fit.step(batch(first=6 * number, done=done))
    for name, net in fit.networks.items():
        assert all(not torch.equal(old, new) for old, new in zip(before[name], net.parameters(), strict=True)), name
        (group,) = fit.optimizers[name].param_groups
        assert (group["lr"], group["betas"]) == (pytest.approx(1e-3), (0.0, pytest.approx(0.99)))
        assert all(p.requires_grad for p in net.parameters())


def test_the_judge_learns_to_tell_two_plain_sets_apart():
    fit = trainer(learning_rate=(2e-3, 2e-3), gamma=(0.1, 0.1))
    figures = [fit.step(batch(first=6 * number)) for number in range(25)]
    assert figures[-1]["loss_discriminator"] < 0.4


def test_penalties_are_taken_every_so_often_and_remembered_by_a_resumed_run():
    fit = trainer(penalty_every=3)
    taken = [fit.step(batch(first=6 * number)).get("r1", 0) > 0 for number in range(4)]
    assert taken == [True, False, False, True]
    again = trainer(penalty_every=3)
    again.load_state(*fit.state())
    assert [again.step(batch()).get("r1", 0) > 0 for _ in range(3)] == [False, False, True]


def test_a_loss_that_is_not_finite_changes_nothing():
    fit = trainer()
    broken = batch()
    broken.images[0, 0, 0, 0] = float("nan")
    before = [p.clone() for p in fit.networks["discriminator"].parameters()]
    with pytest.raises(FloatingPointError, match="discriminator"):
        fit.step(broken)
    assert all(torch.equal(a, b) for a, b in zip(before, fit.networks["discriminator"].parameters(), strict=True))


def test_what_is_asked_changes_the_image_and_what_is_not_asked_is_the_mean():
    family = get_family("relativistic")
    torch.manual_seed(0)
    generator = family.build_generator(SMALL).eval()
    with torch.no_grad():
        plain = family.sample(generator, SMALL, 7, range(2))
        mean = family.sample(generator, SMALL, 7, range(2), torch.zeros(2, 3))
        asked = family.sample(generator, SMALL, 7, range(2), torch.eye(3)[:2])
        alone = family.sample(generator, SMALL, 7, [1], torch.eye(3)[1:2])
    assert torch.equal(plain, mean)
    assert not torch.allclose(plain, asked)
    torch.testing.assert_close(alone[0], asked[1])


def test_the_schedule_is_half_a_cosine():
    assert [along((10.0, 1.0), done) for done in (0, 0.5, 1, 2)] == pytest.approx([10, 5.5, 1, 1])


class Judge(nn.Module):
    """Rates an image by its mean, and more by what it was asked to be."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images, condition):
        return self.weight * (images.mean((1, 2, 3)) + 10 * condition[:, 2])


class Painter(nn.Module):
    """Every image is as bright as its first condition."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, z, condition):
        return self.weight * condition[:, :1, None, None].expand(-1, 1, 16, 16)


def test_held_out_images_are_compared_with_drawn_ones_of_their_own_conditions_by_the_same_judge():
    fit = RelativisticTrainer(RelativisticRecipe(), SMALL, Painter(), Judge())
    seen, held_out = torch.tensor([[0.2, 0, 0]]).repeat(4, 1), torch.tensor([[0.7, 0, 1.0]]).repeat(4, 1)
    images = torch.full((4, 1, 16, 16), 0.9)
    figures = fit.step(Batch(images, seen, 0, 0, 0.0, 0.0, held_out=(images, held_out)))
    assert figures["d_gap"] == pytest.approx(0.9 - 0.2, abs=1e-5)
    assert figures["d_gap_held_out"] == pytest.approx(0.9 - 0.7, abs=1e-5)  # were the condition not the same: 10 more
    assert "d_gap" not in fit.step(Batch(images, seen, 0, 4, 0.0, 0.0))


def test_in_bfloat16_the_finest_four_stages_compute_low_and_the_rest_and_the_judgement_do_not():
    torch.manual_seed(0)
    network = RelativisticNetwork(widths=(16, 16, 16, 16, 8), latent=8, embedding=4, condition=3)
    for net, inputs in (
        (Generator(network), (torch.randn(2, 8), torch.eye(3)[:2])),
        (Discriminator(network), (torch.rand(2, 1, 64, 64), torch.eye(3)[:2])),
    ):
        coarse, kinds = ("stage0", "stage4")[isinstance(net, Discriminator)], {}
        for name, module in net.named_modules():
            if name.endswith("mix"):
                module.register_forward_hook(lambda m, x, y, name=name, kinds=kinds: kinds.__setitem__(name, y.dtype))
        with torch.autocast("cpu", torch.bfloat16):
            out = net(*inputs)
        assert out.dtype == torch.float32
        assert len(kinds) == 10
        for name, dtype in kinds.items():
            assert dtype == (torch.float32 if name.startswith(coarse) else torch.bfloat16), name
