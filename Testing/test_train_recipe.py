"""SkullGAN's training step: gates, blurred reals, schedules and learning from each network's own loss."""

import math

import pytest
import torch

from SkullGANLib.models.registry import Batch
from SkullGANLib.models.skullgan import FAMILY, SkullGANNetwork
from SkullGANLib.models.skullgan_recipe import SkullGANRecipe, SkullGANTrainer, gaussian_blur

TINY = SkullGANNetwork(latent=4, generator=(8, 8, 8), tail=(4, 4, 4), discriminator=(4, 8), weight_std="fan_in")


def trainer(**recipe) -> SkullGANTrainer:
    torch.manual_seed(0)
    recipe = SkullGANRecipe(**{"gate": "off", "schedule": "constant", **recipe})
    return SkullGANTrainer(recipe, TINY, FAMILY.build_generator(TINY), FAMILY.build_discriminator(TINY))


def batch(epoch=0.0, first=0, done=0.0, size=8) -> Batch:
    images = torch.linspace(-1, 1, size * 256).view(size, 1, 16, 16)
    return Batch(images, None, 0, first, epoch, done)


def weights(network) -> list[torch.Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def moved(before, network) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_one_step_moves_both_networks_and_reports_its_figures():
    t = trainer()
    before = {name: weights(network) for name, network in t.networks.items()}
    figures = t.step(batch())
    assert all(moved(before[name], network) for name, network in t.networks.items())
    assert figures["held_generator"] == figures["held_discriminator"] == 0
    assert {"loss_generator", "loss_discriminator", "d_real", "d_fake", "learning_rate"} <= set(figures)
    assert all(p.requires_grad for p in t.networks["discriminator"].parameters())


def test_the_losses_are_cross_entropy_with_a_smoothed_real_label():
    t = trainer(blur_fraction=0.0)
    for network in t.networks.values():
        network.eval()
    with torch.no_grad():
        t.networks["discriminator"].main[-1].weight.zero_()
        t.networks["discriminator"].main[-1].bias.fill_(math.log(0.8 / 0.2))  # D says 0.8 of everything
    figures = t.step(batch())
    expected = -(0.9 * math.log(0.8) + 0.1 * math.log(0.2)) - math.log(0.2)
    assert figures["loss_discriminator"] == pytest.approx(expected, rel=1e-5)
    assert figures["d_real"] == pytest.approx(0.8, rel=1e-5)


@pytest.mark.parametrize("gate_loss", [0.0, 100.0])
def test_the_code_gate_updates_only_above_its_loss_and_always_in_the_first_epochs(gate_loss):
    t = trainer(gate="code", gate_loss=gate_loss)
    early, late = t.step(batch(epoch=9.9)), t.step(batch(epoch=10))
    assert early["held_generator"] == early["held_discriminator"] == 0
    assert late["held_generator"] == late["held_discriminator"] == (gate_loss == 100)


def test_a_held_network_keeps_its_weights():
    t = trainer(gate="code", gate_loss=100.0)
    before = {name: weights(network) for name, network in t.networks.items()}
    t.step(batch(epoch=50))
    assert not any(moved(before[name], network) for name, network in t.networks.items())


def test_the_paper_gate_updates_only_where_the_last_loss_was_below():
    t = trainer(gate="paper")
    t.last_loss = {"generator": 1.0, "discriminator": 0.5}
    figures = t.step(batch())
    assert (figures["held_generator"], figures["held_discriminator"]) == (1, 0)
    t.last_loss = {"generator": 0.5, "discriminator": 1.0}
    figures = t.step(batch())
    assert (figures["held_generator"], figures["held_discriminator"]) == (0, 1)


def test_the_paper_gate_lets_both_start():
    figures = trainer(gate="paper").step(batch())
    assert figures["held_generator"] == figures["held_discriminator"] == 0


def test_the_share_of_blurred_reals_rises_from_epoch_15_to_64_for_every_batch_size():
    t = trainer()
    shares = [
        t.step(batch(epoch=epoch, size=size))["blurred_share"] for epoch in (0, 15, 39.5, 64, 900) for size in (4, 16)
    ]
    assert shares == pytest.approx([0, 0, 0, 0, 0.25, 0.25, 0.5, 0.5, 0.5, 0.5])


def test_blurred_reals_are_drawn_anew_and_never_reach_the_generator(monkeypatch):
    t, seen = trainer(), []
    judge = t.networks["discriminator"]
    judge.register_forward_hook(lambda module, given, out: seen.append(given[0].detach().clone()))
    t.step(batch(epoch=100))
    real, fake, blurred, fresh = seen
    assert (len(real), len(fake), len(blurred), len(fresh)) == (8, 4, 4, 8)
    torch.testing.assert_close(blurred, gaussian_blur(real[:4], 3, 0.8))
    assert not any(torch.equal(image, other) for image in fresh for other in fake)  # fresh fakes for the generator


def test_the_released_recipe_puts_them_into_the_fake_batch_and_freezes_them():
    t, seen = trainer(blur_joins_fakes=True, blur_frozen=True, fresh_fakes=False, blur_until_epoch=16), []
    t.networks["discriminator"].register_forward_hook(lambda module, given, out: seen.append(given[0].detach().clone()))
    t.step(batch(epoch=20))
    other = batch(epoch=21)
    other.images.mul_(0.5)
    t.step(other)
    assert [len(images) for images in seen] == [8] * 6
    assert torch.equal(seen[1][4:], seen[4][4:])  # the same blurred images for ever
    assert torch.equal(seen[1], seen[2])  # and in the generator's loss
    _, tensors = t.state()
    assert torch.equal(tensors["frozen_blur"], seen[1][4:])


def test_sigma_falls_with_the_epoch_down_to_its_floor(monkeypatch):
    used = []
    monkeypatch.setattr(
        "SkullGANLib.models.skullgan_recipe.gaussian_blur", lambda images, k, sigma: used.append((k, sigma)) or images
    )
    t = trainer(blur_sigma_epochs=15, blur_sigma_floor=0.8)
    for epoch in (15, 18, 60):
        t.step(batch(epoch=epoch))
    assert used == [(3, pytest.approx(1)), (3, pytest.approx(15 / 18)), (3, pytest.approx(0.8))]


def test_the_blur_is_a_normalised_gaussian():
    image = torch.zeros(1, 1, 9, 9)
    image[..., 4, 4] = 1
    blurred = gaussian_blur(image, 3, 1.0)
    assert blurred.sum().item() == pytest.approx(1)
    assert (blurred[0, 0, 4, 5] / blurred[0, 0, 4, 4]).item() == pytest.approx(math.exp(-0.5))
    assert blurred[0, 0, 4, 6] == 0
    torch.testing.assert_close(gaussian_blur(torch.ones(1, 1, 9, 9), 5, 2.0), torch.ones(1, 1, 9, 9))


def test_the_cosine_schedule_ends_at_a_hundredth():
    t = trainer(schedule="cosine", learning_rate=1e-3)
    rates = [t.step(batch(done=done))["learning_rate"] for done in (0, 0.5, 1)]
    assert rates == pytest.approx([1e-3, 0.505e-3, 1e-5])


def test_the_paper_schedule_halves_the_generator_s_rate_after_a_thousand_steps_without_progress():
    t = trainer(schedule="paper", learning_rate=1e-3)
    for plateau in t.plateaus.values():
        plateau.best, plateau.num_bad_epochs = -1.0, 1000
    t.step(batch())
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in t.optimizers.items()}
    assert rates == pytest.approx({"generator": 0.5e-3, "discriminator": 0.8e-3})


def test_the_state_goes_through_json_values_and_comes_back():
    import json

    t = trainer(schedule="paper")
    fresh = json.loads(json.dumps(t.state()[0], allow_nan=False))
    t.step(batch())
    values, tensors = t.state()
    values = json.loads(json.dumps(values, allow_nan=False))
    other = trainer(schedule="paper")
    other.load_state(values, tensors)
    assert other.state()[0] == t.state()[0]
    other.load_state(fresh, {})
    assert other.plateaus["generator"].best == math.inf


def test_a_loss_that_is_not_finite_stops_before_anything_is_updated():
    t = trainer()
    before = weights(t.networks["discriminator"])
    bad = batch()
    bad.images[0] = math.nan
    with pytest.raises(FloatingPointError, match="discriminator"):
        t.step(bad)
    assert not moved(before, t.networks["discriminator"])


def test_all_that_the_discriminator_sees_is_augmented_and_held_out_images_are_looked_at(monkeypatch):
    t, seen, uses = trainer(blur_fraction=0.5, blur_from_epoch=0, blur_until_epoch=1), [], []

    def halved(images, first, use=0):
        uses.append((use, len(images)))
        return images * 0.5

    t.networks["discriminator"].register_forward_hook(lambda module, given, out: seen.append(given[0].detach().abs()))
    given = batch(epoch=100)
    with_looks = Batch(given.images, None, 0, 0, 100.0, 0.0, augment=halved, held_out=(given.images, None))
    norms = [buffer.clone() for buffer in t.networks["discriminator"].buffers()]
    t._judged_held_out(with_looks)
    assert all(map(torch.equal, norms, t.networks["discriminator"].buffers()))
    uses.clear()
    figures = t.step(with_looks)
    assert sorted(uses) == [(0, 8), (1, 4), (2, 8), (3, 8), (4, 4)]
    assert max(float(images.max()) for images in seen) <= 0.5
    assert figures["d_gap"] == pytest.approx(figures["d_real"] - figures["d_fake"], abs=1e-6)
    assert -1 < figures["d_gap_held_out"] < 1
    assert "d_gap" not in t.step(batch())
