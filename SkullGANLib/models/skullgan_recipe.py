"""How SkullGAN is trained: one step as mathematics on tensors, with the repairs that the released code needs."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau

from SkullGANLib.errors import InputError
from SkullGANLib.models.device import adam, full_precision
from SkullGANLib.models.draws import FAKES, GENERATOR_STEP, uniform_latents
from SkullGANLib.models.parallel import mean, world
from SkullGANLib.models.registry import Batch

_PLATEAU_FACTORS = {"generator": 0.5, "discriminator": 0.8}
_PLATEAU_PATIENCE = 1000  # iterations


class SkullGANRecipe(BaseModel):
    """Training options; the defaults are the paper's with what its released code needs to work.

    Attributes:
        learning_rate: of Adam, both networks.
        discriminator_rate: factor on the discriminator's learning rate.
        betas: of Adam.
        schedule: ``cosine`` down to a hundredth, ``constant``, or ``paper``: halved (D: times 0.8) after 1,000
            iterations without a better loss, by which the generator's rate is gone at about 15,000 iterations.
        real_label: target for real images, 1 would be unsmoothed.
        gate: when a network is updated. ``code``: while its loss is above ``gate_loss``, always before
            ``gate_from_epoch``. ``paper``: if its last loss was below ``gate_loss``; here the discriminator's is the
            mean of its two halves, since their sum starts at 1.39 and it would never move. ``off``: always.
        gate_loss: the loss that opens or shuts the gate.
        gate_from_epoch: first epoch of the ``code`` gate.
        fresh_fakes: the generator's step draws new latents instead of judging the discriminator step's fakes again.
        blur_fraction: share of blurred real images among the discriminator's fakes, at the end of the ramp.
        blur_from_epoch, blur_until_epoch: the share rises linearly from 0 between these.
        blur_kernel: width of the Gaussian kernel in pixels, odd.
        blur_sigma_epochs, blur_sigma_floor: sigma is ``blur_sigma_epochs`` / epoch pixels, not below the floor.
        blur_joins_fakes: released code: blurred images ride in the fake batch, and so in the generator's loss as well.
        blur_frozen: released code: after the ramp the same blurred images for ever.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(3e-4, gt=0)
    discriminator_rate: float = Field(1.0, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    schedule: Literal["cosine", "paper", "constant"] = "cosine"
    real_label: float = Field(0.9, gt=0, le=1)
    gate: Literal["code", "paper", "off"] = "code"
    gate_loss: float = 0.9
    gate_from_epoch: float = 10
    fresh_fakes: bool = True
    blur_fraction: float = Field(0.5, ge=0, lt=1)
    blur_from_epoch: float = 15
    blur_until_epoch: float = 64
    blur_kernel: int = Field(3, ge=1)
    blur_sigma_epochs: float = 15
    blur_sigma_floor: float = Field(0.8, gt=0)
    blur_joins_fakes: bool = False
    blur_frozen: bool = False


class SkullGANTrainer:
    """Both networks, their Adam optimizers and one step; see ``registry.Trainer``."""

    compilable = ("generator", "discriminator")
    recorded = False

    def __init__(
        self, recipe: SkullGANRecipe, network: BaseModel, generator: torch.nn.Module, discriminator: torch.nn.Module
    ) -> None:
        if recipe.blur_frozen and world() > 1:
            raise InputError(
                "The released code's frozen blurred images are those of one process.",
                "Train in one, or blur_frozen=false.",
            )
        self.recipe = recipe
        self.latent = network.latent
        self.networks = {"generator": generator, "discriminator": discriminator}
        rates = {"generator": recipe.learning_rate, "discriminator": recipe.learning_rate * recipe.discriminator_rate}
        self.base_rates = rates
        self.optimizers = {name: adam(net, rates[name], recipe.betas) for name, net in self.networks.items()}
        self.plateaus = {
            name: ReduceLROnPlateau(optimizer, factor=_PLATEAU_FACTORS[name], patience=_PLATEAU_PATIENCE)
            for name, optimizer in self.optimizers.items()
        }
        self.last_loss = {"generator": 0.0, "discriminator": 0.0}
        self.frozen_blur: torch.Tensor | None = None

    def step(self, batch: Batch) -> dict[str, float]:
        """One update of the discriminator, then one of the generator, each where its gate is open."""
        discriminator = self.networks["discriminator"]
        if self.recipe.schedule == "cosine":
            self._set_rates(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * batch.done)))
        blurred = self._blurred(batch)
        share = len(blurred) / len(batch.images)
        fakes = self._draw(batch, FAKES, len(batch.images) - len(blurred))
        if self.recipe.blur_joins_fakes:
            fakes, blurred, share = torch.cat([fakes, blurred]), blurred[:0], 0.0

        held_out = None if batch.held_out is None else self._judged_held_out(batch)
        real = discriminator(batch.augment(batch.images, batch.first, 0))
        fake = discriminator(batch.augment(fakes.detach(), batch.first, 1))
        loss_real, loss_fake = _bce(real, self.recipe.real_label), _bce(fake, 0.0)
        if len(blurred):  # a batch of its own: batch statistics never mix sets
            loss_fake = (1 - share) * loss_fake + share * _bce(
                discriminator(batch.augment(blurred, batch.first, 4)), 0.0
            )
        loss_d = loss_real + loss_fake
        updated_d = self._update("discriminator", loss_d, batch.epoch)

        if self.recipe.fresh_fakes:
            fakes = self._draw(batch, GENERATOR_STEP, len(batch.images))
        discriminator.requires_grad_(False)
        loss_g = _bce(discriminator(batch.augment(fakes, batch.first, 2)), 1.0)
        updated_g = self._update("generator", loss_g, batch.epoch)
        discriminator.requires_grad_(True)
        judged = {"loss_discriminator": loss_d, "d_real": real.sigmoid().mean(), "d_fake": fake.sigmoid().mean()}
        if held_out is not None:
            judged |= {"d_gap": judged["d_real"] - judged["d_fake"], "d_gap_held_out": held_out - judged["d_fake"]}
        values = mean(torch.stack([value.detach().float() for value in judged.values()])).tolist()
        return {
            "loss_generator": self.last_loss["generator"],
            **dict(zip(judged, values, strict=True)),
            "held_generator": 1.0 - updated_g,
            "held_discriminator": 1.0 - updated_d,
            "blurred_share": self._blur_share(batch.epoch),
            "learning_rate": self.optimizers["generator"].param_groups[0]["lr"],
        }

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Learning rates, plateau counters and last losses; the released code's frozen images."""
        plateaus = {
            name: {"best": plateau.best if math.isfinite(plateau.best) else None, "bad": plateau.num_bad_epochs}
            for name, plateau in self.plateaus.items()
        }
        rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}
        values = {"plateaus": plateaus, "rates": rates, "last_loss": dict(self.last_loss)}
        return values, {} if self.frozen_blur is None else {"frozen_blur": self.frozen_blur}

    def load_state(self, values: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Take back what ``state`` gave."""
        for name, optimizer in self.optimizers.items():
            plateau, saved = self.plateaus[name], values["plateaus"][name]
            plateau.best, plateau.num_bad_epochs = math.inf if saved["best"] is None else saved["best"], saved["bad"]
            optimizer.param_groups[0]["lr"] = values["rates"][name]
        self.last_loss = dict(values["last_loss"])
        self.frozen_blur = tensors.get("frozen_blur")

    def _draw(self, batch: Batch, stream: int, count: int) -> torch.Tensor:
        indices = range(batch.first, batch.first + count)
        z, keys = uniform_latents(batch.seed, stream, indices, self.latent)
        return self.networks["generator"](z.to(batch.images.device), keys)

    def _judged_held_out(self, batch: Batch) -> torch.Tensor:
        """Mean probability of being real, which leaves no trace in the running statistics."""
        discriminator = self.networks["discriminator"]
        before = [buffer.clone() for buffer in discriminator.buffers()]
        with torch.no_grad():
            judged = discriminator(batch.augment(batch.held_out[0], batch.first, 3)).sigmoid().mean()
            for buffer, value in zip(discriminator.buffers(), before, strict=True):
                buffer.copy_(value)
        return judged

    def _blur_share(self, epoch: float) -> float:
        """The share of blurred reals: a linear ramp, clamped; it does not know the batch size."""
        ramp = max(self.recipe.blur_until_epoch - self.recipe.blur_from_epoch, 1e-9)
        return self.recipe.blur_fraction * min(max((epoch - self.recipe.blur_from_epoch) / ramp, 0.0), 1.0)

    def _blurred(self, batch: Batch) -> torch.Tensor:
        recipe = self.recipe
        if self.frozen_blur is not None:
            return self.frozen_blur
        count = round(self._blur_share(batch.epoch) * len(batch.images))
        sigma_px = max(recipe.blur_sigma_floor, recipe.blur_sigma_epochs / max(batch.epoch, 1.0))
        blurred = gaussian_blur(batch.images[:count], recipe.blur_kernel, sigma_px)
        if recipe.blur_frozen and batch.epoch >= recipe.blur_until_epoch:
            self.frozen_blur = blurred
        return blurred

    def _update(self, name: str, loss: torch.Tensor, epoch: float) -> bool:
        """Step ``name``'s optimizer if its gate is open; True if it stepped."""
        recipe, value = self.recipe, mean(loss.detach()).item()
        if not math.isfinite(value):
            raise FloatingPointError(f"the {name}'s loss is {value}")
        gated = value / 2 if name == "discriminator" and recipe.gate == "paper" else value
        open_gate = {
            "off": True,
            "code": epoch < recipe.gate_from_epoch or gated > recipe.gate_loss,
            "paper": self.last_loss[name] < recipe.gate_loss,
        }[recipe.gate]
        self.last_loss[name] = gated
        if open_gate:
            self.optimizers[name].zero_grad(set_to_none=True)
            with full_precision(loss.device):
                loss.backward()
            self.optimizers[name].step()
        if recipe.schedule == "paper":
            self.plateaus[name].step(value)
        return open_gate

    def _set_rates(self, factor: float) -> None:
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = factor * self.base_rates[name]


def gaussian_blur(images: torch.Tensor, kernel_px: int, sigma_px: float) -> torch.Tensor:
    """(n, 1, H, W) images blurred by a Gaussian of odd width ``kernel_px``, mirrored at the border."""
    half = kernel_px // 2
    line = torch.exp(-0.5 * (torch.arange(-half, half + 1, device=images.device, dtype=images.dtype) / sigma_px) ** 2)
    line = line / line.sum()
    padded = F.pad(images, (half, half, half, half), mode="reflect") if len(images) else images
    if not len(images):
        return images
    return F.conv2d(F.conv2d(padded, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1))


def _bce(logits: torch.Tensor, target: float) -> torch.Tensor:
    """Binary cross-entropy of sigmoid(logits), in float32."""
    return F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, target, dtype=torch.float32))
