"""How the recommended model is trained: a relativistic pairing loss with gradient penalties on real and fake images."""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional as F

from SkullGANLib.models.device import adam, full_precision
from SkullGANLib.models.draws import FAKES, GENERATOR_STEP, HELD_OUT_FAKES, normal_latents
from SkullGANLib.models.parallel import mean
from SkullGANLib.models.recording import Recorder
from SkullGANLib.models.registry import Batch, Unchanged


class RelativisticRecipe(BaseModel):
    """Training options; pairs are (at the start, at the end), with half a cosine between.

    Attributes:
        learning_rate: of Adam, both networks.
        beta2: of Adam; beta1 is 0.
        gamma: weight of the gradient penalties R1 and R2.
        penalty_every: steps between two penalties, each weighted as many times; more than 1 saves time on a processor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: tuple[float, float] = (2e-4, 5e-5)
    beta2: tuple[float, float] = (0.9, 0.99)
    gamma: tuple[float, float] = (10.0, 1.0)
    penalty_every: int = Field(1, ge=1)


class RelativisticTrainer:
    """Both networks, their Adam optimizers and one step; see ``registry.Trainer``.

    With D the discriminator, x real and g generated, softplus(t) = log(1 + exp(t)):
    loss of D = softplus(D(g) - D(x)) + gamma / 2 (|grad_x D(x)|^2 + |grad_g D(g)|^2),
    loss of G = softplus(D(x) - D(g)).
    """

    compilable = ("generator",)  # what is differentiated twice does not compile
    recorded = True

    def __init__(
        self, recipe: RelativisticRecipe, network: BaseModel, generator: torch.nn.Module, discriminator: torch.nn.Module
    ) -> None:
        self.recipe, self.latent = recipe, network.latent
        self.networks = {"generator": generator, "discriminator": discriminator}
        self.optimizers = {
            name: adam(net, recipe.learning_rate[0], (0.0, recipe.beta2[0])) for name, net in self.networks.items()
        }
        self.steps = 0
        self.augment, self.run = Unchanged(), Recorder()

    def step(self, batch: Batch) -> dict[str, float]:
        """One update of the discriminator, then one of the generator."""
        self._schedule(batch.done)
        self.augment = batch.augment
        gamma = along(self.recipe.gamma, batch.done)
        with_penalty = self.steps % self.recipe.penalty_every == 0
        weight = torch.tensor(self.recipe.penalty_every * gamma / 2, device=batch.images.device)
        figures = {}
        if batch.held_out is not None:
            inputs = (*batch.held_out, self._latents(batch, HELD_OUT_FAKES), *self._changes(batch, 3, 4))
            figures["d_gap_held_out"] = self.run(self._gap_held_out, *inputs)
        inputs = (batch.images, batch.condition, self._latents(batch, FAKES), *self._changes(batch, 0, 1), weight)
        judged, gradients, real = self.run(self._discriminator_pass, *inputs, with_penalty=with_penalty)
        figures |= judged
        if batch.held_out is not None:
            figures["d_gap"] = judged["d_real"] - judged["d_fake"]
        self._update("discriminator", judged["loss_discriminator"], gradients)

        inputs = (real, batch.condition, self._latents(batch, GENERATOR_STEP), *self._changes(batch, 2))
        loss, gradients = self.run(self._generator_pass, *inputs)
        self._update("generator", loss, gradients)
        self.steps += 1
        figures = {"loss_generator": loss, **figures}
        values = mean(torch.stack([value.float() for value in figures.values()])).tolist()
        return {**dict(zip(figures, values, strict=True)), "gamma": gamma}

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What else resuming needs."""
        return {"steps": self.steps}, {}

    def load_state(self, values: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Take back what ``state`` gave."""
        self.steps = values["steps"]

    def _latents(self, batch: Batch, stream: int) -> torch.Tensor:
        indices = range(batch.first, batch.first + len(batch.images))
        return normal_latents(batch.seed, stream, indices, self.latent).to(batch.images.device)

    def _changes(self, batch: Batch, *uses: int) -> list[torch.Tensor | None]:
        """The augmentation's numbers for each use."""
        numbers = [batch.augment.numbers(batch.first, len(batch.images), use) for use in uses]
        return [None if each is None else each.to(batch.images.device) for each in numbers]

    def _drawn(
        self, latents: torch.Tensor, condition: torch.Tensor | None, change: torch.Tensor | None
    ) -> torch.Tensor:
        """Generated images as the discriminator gets to see them."""
        return self.augment.applied(self.networks["generator"](latents, condition).float(), change)

    def _discriminator_pass(
        self,
        images: torch.Tensor,
        condition: torch.Tensor | None,
        latents: torch.Tensor,
        change_real: torch.Tensor | None,
        change_fake: torch.Tensor | None,
        weight: torch.Tensor,
        *,
        with_penalty: bool,
    ) -> tuple[dict[str, torch.Tensor], list[torch.Tensor], torch.Tensor]:
        """Figures, the gradient of each weight of the discriminator, and the real images as it saw them."""
        discriminator = self.networks["discriminator"]
        real = self.augment.applied(images, change_real).detach().requires_grad_(with_penalty)
        with torch.no_grad():
            fake = self._drawn(latents, condition, change_fake)
        fake.requires_grad_(with_penalty)
        judged_real, judged_fake = discriminator(real, condition), discriminator(fake, condition)
        loss = F.softplus(judged_fake.float() - judged_real.float()).mean()
        figures, total = {"loss_discriminator": loss, "d_real": judged_real.mean(), "d_fake": judged_fake.mean()}, loss
        if with_penalty:
            penalties = [_penalty(*pair) for pair in ((judged_real, real), (judged_fake, fake))]
            total = loss + weight * (penalties[0] + penalties[1])
            figures |= {"r1": penalties[0], "r2": penalties[1]}
        gradients = _gradients(total, discriminator)
        return {name: value.detach() for name, value in figures.items()}, gradients, real.detach()

    def _generator_pass(
        self,
        real: torch.Tensor,
        condition: torch.Tensor | None,
        latents: torch.Tensor,
        change_fake: torch.Tensor | None,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Loss, and the gradient of each weight of the generator."""
        discriminator = self.networks["discriminator"].requires_grad_(False)
        try:
            with torch.no_grad():
                judged_real = discriminator(real, condition)
            judged = discriminator(self._drawn(latents, condition, change_fake), condition)
            loss = F.softplus(judged_real.float() - judged.float()).mean()
            return loss.detach(), _gradients(loss, self.networks["generator"])
        finally:
            discriminator.requires_grad_(True)

    def _gap_held_out(
        self,
        images: torch.Tensor,
        condition: torch.Tensor | None,
        latents: torch.Tensor,
        change_real: torch.Tensor | None,
        change_fake: torch.Tensor | None,
    ) -> torch.Tensor:
        """By how much held-out images are judged more real than drawn ones of the same conditions."""
        discriminator = self.networks["discriminator"]
        with torch.no_grad():
            real, fake = self.augment.applied(images, change_real), self._drawn(latents, condition, change_fake)
            return (discriminator(real, condition) - discriminator(fake, condition)).mean()

    def _schedule(self, done: float) -> None:
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = along(self.recipe.learning_rate, done)
                group["betas"] = (0.0, along(self.recipe.beta2, done))

    def _update(self, name: str, loss: torch.Tensor, gradients: list[torch.Tensor]) -> None:
        value = mean(loss).item()
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss of the {name} is {value}")
        for parameter, gradient in zip(self.networks[name].parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.optimizers[name].step()


def along(ends: tuple[float, float], done: float) -> float:
    """From the first to the second value along half a cosine, ``done`` from 0 to 1."""
    return ends[1] + (ends[0] - ends[1]) * 0.5 * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0)))


def _gradients(loss: torch.Tensor, network: torch.nn.Module) -> list[torch.Tensor]:
    """Of each weight, in the weight's memory order."""
    weights = list(network.parameters())
    with full_precision(loss.device):
        gradients = torch.autograd.grad(loss, weights)
    return [
        gradient if gradient.stride() == weight.stride() else torch.empty_like(weight).copy_(gradient)
        for weight, gradient in zip(weights, gradients, strict=True)
    ]


def _penalty(judged: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Mean squared norm of the logit's gradient at the images (R1 on real, R2 on fake ones; Mescheder et al. 2018)."""
    with full_precision(images.device):
        (gradient,) = torch.autograd.grad(judged.float().sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean()
