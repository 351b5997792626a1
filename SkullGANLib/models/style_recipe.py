"""How the family ``style`` is trained: hinge loss on projected features, blurred at first, guided by a classifier."""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional as F

from SkullGANLib.models.draws import FAKES, GENERATOR_STEP, HELD_OUT_FAKES, normal_latents_and_keys
from SkullGANLib.models.parallel import mean
from SkullGANLib.models.registry import Batch


class StyleRecipe(BaseModel):
    """Training options.

    Attributes:
        learning_rate: of Adam, of generator and discriminator.
        beta2: of Adam; beta1 is 0.
        blur: standard deviation of the blur through which the discriminator sees all images at first, in pixels of an
            image of 64.
        blur_share: share of the training over which the blur fades.
        guidance: weight of the classifier's cross-entropy in the generator's loss; 0 for none.
        guided_from: pixels from which on the classifier guides; it knows little of smaller images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: tuple[float, float] = (2e-3, 2e-4)
    beta2: float = Field(0.99, ge=0, lt=1)
    blur: float = Field(2.0, ge=0)
    blur_share: float = Field(0.2, ge=0, le=1)
    guidance: float = Field(0.5, ge=0)
    guided_from: int = Field(32, ge=16)


class StyleTrainer:
    """Both networks, their Adam optimizers and one step; see ``registry.Trainer``.

    With D the logits of all heads, x real and g generated images of class c:
    loss of D = relu(1 - D(x, c)) + relu(1 + D(g, c)), loss of G = -D(g, c) + guidance * cross-entropy(C(g), c).
    """

    compilable: tuple[str, ...] = ()
    recorded = False

    def __init__(
        self, recipe: StyleRecipe, network: BaseModel, generator: torch.nn.Module, discriminator: torch.nn.Module
    ) -> None:
        self.recipe, self.network = recipe, network
        self.networks = {"generator": generator, "discriminator": discriminator}
        self.learning = {name: [p for p in net.parameters() if p.requires_grad] for name, net in self.networks.items()}
        self.optimizers = {
            name: torch.optim.Adam(weights, lr=rate, betas=(0.0, recipe.beta2))
            for (name, weights), rate in zip(self.learning.items(), recipe.learning_rate, strict=True)
        }

    def step(self, batch: Batch) -> dict[str, float]:
        """One update of the discriminator, then one of the generator."""
        discriminator = self.networks["discriminator"]
        sigma = self._sigma(batch.done)

        def shown(images: torch.Tensor, use: int) -> torch.Tensor:
            return blurred(batch.augment(images, batch.first, use), sigma)

        figures: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            fake = self._drawn(batch, FAKES, batch.condition).float()
        judged_real = discriminator.logits(shown(batch.images, 0), batch.condition)
        judged_fake = discriminator.logits(shown(fake, 1), batch.condition)
        loss = F.relu(1 - judged_real).mean() + F.relu(1 + judged_fake).mean()
        figures |= {"loss_discriminator": loss, "d_real": judged_real.mean(), "d_fake": judged_fake.mean()}
        if batch.held_out is not None:
            figures["d_gap"] = judged_real.mean() - judged_fake.mean()
            figures["d_gap_held_out"] = self._gap_held_out(batch, sigma)
        self._update("discriminator", loss)

        fake = self._drawn(batch, GENERATOR_STEP, batch.condition).float()
        loss = -discriminator.logits(shown(fake, 2), batch.condition).mean()
        figures["loss_generator"] = loss
        if self._guided and batch.condition is not None:
            asked = discriminator.class_logits(fake)
            guided = F.cross_entropy(asked, batch.condition.float())
            figures["loss_class"] = guided
            loss = loss + self.recipe.guidance * guided
        self._update("generator", loss)
        values = mean(torch.stack([value.detach().float() for value in figures.values()])).tolist()
        return {**dict(zip(figures, values, strict=True)), "blur": sigma}

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Nothing else is needed to resume."""
        return {}, {}

    def load_state(self, values: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Take back what ``state`` gave."""

    @property
    def _guided(self) -> bool:
        return self.recipe.guidance > 0 and self.network.condition > 1 and self.network.size >= self.recipe.guided_from

    def _sigma(self, done: float) -> float:
        if not self.recipe.blur_share:
            return 0.0
        left = max(0.0, 1 - done / self.recipe.blur_share)
        return round(self.recipe.blur * left * self.network.size / 64, 2)

    def _drawn(self, batch: Batch, stream: int, condition: torch.Tensor | None) -> torch.Tensor:
        indices = range(batch.first, batch.first + len(batch.images))
        z, keys = normal_latents_and_keys(batch.seed, stream, indices, self.network.latent)
        return self.networks["generator"](z.to(batch.images.device), keys, condition)

    @torch.no_grad()
    def _gap_held_out(self, batch: Batch, sigma: float) -> torch.Tensor:
        """By how much held-out images are judged more real than drawn ones of the same classes."""
        images, condition = batch.held_out
        drawn = self._drawn(batch, HELD_OUT_FAKES, condition).float()
        discriminator = self.networks["discriminator"]
        real, fake = (blurred(batch.augment(x, batch.first, use), sigma) for x, use in ((images, 3), (drawn, 4)))
        return discriminator(real, condition).mean() - discriminator(fake, condition).mean()

    def _update(self, name: str, loss: torch.Tensor) -> None:
        value = mean(loss.detach().float()).item()
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss of the {name} is {value}")
        gradients = torch.autograd.grad(loss, self.learning[name], allow_unused=True)
        for parameter, gradient in zip(self.learning[name], gradients, strict=True):
            parameter.grad = gradient
        self.optimizers[name].step()


def blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """(B, 1, H, W) through a Gaussian of ``sigma`` pixels, the border repeated."""
    if sigma < 0.1:
        return images
    reach = min(math.ceil(3 * sigma), images.shape[-1] // 2)
    place = torch.arange(-reach, reach + 1, device=images.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (place / sigma) ** 2)
    weights = (weights / weights.sum()).to(images.dtype)
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, weights[None, None, :, None]), weights[None, None, None, :])
