"""The convolution that is differentiated twice against torch's own, and calls that a GPU would replay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from SkullGANLib.models import relativistic
from SkullGANLib.models.convolution import TwiceDifferentiable
from SkullGANLib.models.recording import Recorder
from SkullGANLib.models.relativistic import Discriminator, RelativisticNetwork
from SkullGANLib.models.relativistic_recipe import _penalty

NETWORK = RelativisticNetwork(widths=(16, 32, 16), latent=8, embedding=4, condition=3)


def layers(kernel: int, groups: int, *, bias: bool) -> tuple[nn.Conv2d, nn.Conv2d]:
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, kernel, padding=kernel // 2, groups=groups, bias=bias).double()
    ours = TwiceDifferentiable(4, 6, kernel, padding=kernel // 2, groups=groups, bias=bias).double()
    ours.load_state_dict(plain.state_dict())
    return plain, ours


@pytest.mark.parametrize(("kernel", "groups"), [(1, 1), (3, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_both_derivatives_are_torchs_own(kernel, groups, bias):
    found = []
    for layer in layers(kernel, groups, bias=bias):
        x = torch.randn(3, 4, 6, 7, dtype=torch.double, generator=torch.Generator().manual_seed(1), requires_grad=True)
        out = layer(x).tanh()  # so that the second derivative is not nothing
        (slope,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        loss = out.sum() + slope.square().sum()
        found.append([out, slope, *torch.autograd.grad(loss, [x, *layer.parameters()])])
    for plain, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


def test_a_pass_that_keeps_its_graph_gives_the_slope_at_the_input_alone():
    _, layer = layers(3, 1, bias=True)
    x = torch.randn(1, 4, 5, 5, dtype=torch.double, requires_grad=True)
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(layer(x).sum(), layer.weight, create_graph=True)


@pytest.fixture
def discriminators(monkeypatch):
    """The discriminator of plain convolutions and ours, of the same weights."""
    torch.manual_seed(3)
    ours = Discriminator(NETWORK)
    with torch.no_grad():
        for weight in ours.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    monkeypatch.setattr(relativistic, "TwiceDifferentiable", nn.Conv2d)
    plain = Discriminator(NETWORK)
    plain.load_state_dict(ours.state_dict())
    return plain, ours


def penalised(network, *, bfloat16=False):
    network.zero_grad()
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(2), requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        judged = network(images, torch.eye(3)[[0, 1, 2, 0]])
        loss = judged.mean() + 5 * _penalty(judged, images)
    loss.backward()
    return [weight.grad.clone() for weight in network.parameters()]


def test_the_penalised_discriminator_has_the_gradients_of_one_of_plain_convolutions(discriminators):
    for expected, gradient in zip(*map(penalised, discriminators), strict=True):
        assert (gradient - expected).norm() <= 1e-4 * expected.norm() + 1e-7


def test_in_bfloat16_its_gradients_are_no_farther_from_the_true_ones(discriminators):
    true = torch.cat([gradient.flatten() for gradient in penalised(discriminators[0])])
    errors = []
    for network in discriminators:  # how torch rounds in between differs from processor to processor
        found = torch.cat([gradient.flatten() for gradient in penalised(network, bfloat16=True)])
        errors.append(float((found - true).norm() / true.norm()))
    assert errors[1] <= 1.1 * errors[0] + 1e-3
    assert errors[1] < 0.1


def test_maps_stay_channels_last_forward_and_backward():
    network = Discriminator(NETWORK).to(memory_format=torch.channels_last)
    orders = []

    def note(_module: nn.Module, _inputs: object, out: torch.Tensor) -> None:
        orders.append(out.is_contiguous(memory_format=torch.channels_last))
        out.register_hook(lambda slope: orders.append(slope.is_contiguous(memory_format=torch.channels_last)))

    for stage in range(network.stages):
        network.get_submodule(f"stage{stage}").register_forward_hook(note)
    network(torch.rand(2, 1, 16, 16), torch.eye(3)[:2]).sum().backward()
    assert orders == [True] * 2 * network.stages


def test_without_a_gpu_calls_are_made_directly():
    run, calls = Recorder(), []

    def double(x: torch.Tensor, nothing: None, *, twice: bool) -> torch.Tensor:
        calls.append(twice)
        return 2 * x if twice else x

    assert run(double, torch.ones(2), None, twice=True).tolist() == [2, 2]
    assert calls == [True]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only a GPU replays recordings")
def test_a_gpu_replays_with_the_numbers_given():
    run, calls = Recorder(), []

    def double(x: torch.Tensor, nothing: None, *, twice: bool) -> torch.Tensor:
        calls.append(twice)
        return 2 * x if twice else x + 1

    for number in range(5):
        for twice in (True, False):
            value = float(run(double, torch.full((2,), float(number), device="cuda"), None, twice=twice)[0])
            assert value == (2 * number if twice else number + 1)
    assert len(calls) == 2 * 4  # three times to warm up and once to record, for each choice
