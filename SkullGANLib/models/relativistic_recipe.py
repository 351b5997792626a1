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
from SkullGANLib.models.registry import Batch


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

    def __init__(
        self, recipe: RelativisticRecipe, network: BaseModel, generator: torch.nn.Module, discriminator: torch.nn.Module
    ) -> None:
        self.recipe, self.latent = recipe, network.latent
        self.networks = {"generator": generator, "discriminator": discriminator}
        self.optimizers = {
            name: adam(net, recipe.learning_rate[0], (0.0, recipe.beta2[0])) for name, net in self.networks.items()
        }
        self.steps = 0

    def step(self, batch: Batch) -> dict[str, float]:
        """One update of the discriminator, then one of the generator."""
        discriminator, condition = self.networks["discriminator"], batch.condition
        self._schedule(batch.done)
        gamma = along(self.recipe.gamma, batch.done)
        with_penalty = self.steps % self.recipe.penalty_every == 0
        real = batch.augment(batch.images, batch.first, 0).detach().requires_grad_(with_penalty)
        with torch.no_grad():
            fake = self._draw(batch, FAKES, 1)
        fake.requires_grad_(with_penalty)
        judged_real, judged_fake = discriminator(real, condition), discriminator(fake, condition)
        loss = F.softplus(judged_fake.float() - judged_real.float()).mean()
        figures = {"loss_discriminator": loss, "d_real": judged_real.mean(), "d_fake": judged_fake.mean()}
        if batch.held_out is not None:
            figures |= {"d_gap": figures["d_real"] - figures["d_fake"], "d_gap_held_out": self._gap_held_out(batch)}
        total, penalties = loss, (loss.new_zeros(()), loss.new_zeros(()))
        if with_penalty:
            penalties = tuple(_penalty(*pair) for pair in ((judged_real, real), (judged_fake, fake)))
            total = loss + self.recipe.penalty_every * gamma / 2 * (penalties[0] + penalties[1])
        self._update("discriminator", total)
        if with_penalty:
            figures |= {"r1": penalties[0], "r2": penalties[1]}

        discriminator.requires_grad_(False)
        try:
            with torch.no_grad():
                judged_real = discriminator(real.detach(), condition)
            judged = discriminator(self._draw(batch, GENERATOR_STEP, 2), condition)
            generator_loss = F.softplus(judged_real.float() - judged.float()).mean()
            self._update("generator", generator_loss)
        finally:
            discriminator.requires_grad_(True)
        self.steps += 1
        figures = {"loss_generator": generator_loss, **figures}
        values = mean(torch.stack([value.detach().float() for value in figures.values()])).tolist()
        return {**dict(zip(figures, values, strict=True)), "gamma": gamma}

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What else resuming needs."""
        return {"steps": self.steps}, {}

    def load_state(self, values: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Take back what ``state`` gave."""
        self.steps = values["steps"]

    def _draw(self, batch: Batch, stream: int, use: int) -> torch.Tensor:
        """As many images as the batch has, as the discriminator gets to see them."""
        indices = range(batch.first, batch.first + len(batch.images))
        z = normal_latents(batch.seed, stream, indices, self.latent).to(batch.images.device)
        condition = batch.held_out[1] if stream == HELD_OUT_FAKES else batch.condition
        return batch.augment(self.networks["generator"](z, condition).float(), batch.first, use)

    def _gap_held_out(self, batch: Batch) -> torch.Tensor:
        """By how much held-out images are judged more real than drawn ones of the same conditions."""
        images, condition = batch.held_out
        discriminator = self.networks["discriminator"]
        with torch.no_grad():
            fake, real = self._draw(batch, HELD_OUT_FAKES, 4), batch.augment(images, batch.first, 3)
            return (discriminator(real, condition) - discriminator(fake, condition)).mean()

    def _schedule(self, done: float) -> None:
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = along(self.recipe.learning_rate, done)
                group["betas"] = (0.0, along(self.recipe.beta2, done))

    def _update(self, name: str, loss: torch.Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        with full_precision(loss.device):
            loss.backward()
        value = mean(loss.detach()).item()  # waits for a GPU, so only now that it has all its work
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss of the {name} is {value}")
        optimizer.step()


def along(ends: tuple[float, float], done: float) -> float:
    """From the first to the second value along half a cosine, ``done`` from 0 to 1."""
    return ends[1] + (ends[0] - ends[1]) * 0.5 * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0)))


def _penalty(judged: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Mean squared norm of the logit's gradient at the images (R1 on real, R2 on fake ones; Mescheder et al. 2018)."""
    with full_precision(images.device):
        (gradient,) = torch.autograd.grad(judged.float().sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean()
