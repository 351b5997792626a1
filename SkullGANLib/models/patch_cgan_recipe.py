"""How the patch-based conditional GAN is trained: one step as mathematics on tensors."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional as F

from SkullGANLib.models.device import adam, full_precision
from SkullGANLib.models.draws import AUGMENT, FAKES, image_rng, uniform_latents
from SkullGANLib.models.parallel import mean
from SkullGANLib.models.registry import Batch

_SIGMAS = (0.484, 0.342)  # of the weights around the labels, rows and columns, as shares of the size
_JITTER_STREAM = 5


class PatchRecipe(BaseModel):
    """Training options; the defaults are those of the original.

    Attributes:
        learning_rate: of Adam, generator and discriminator.
        decay: of the rates; after n steps they are ``exp(-decay * n)`` times as high.
        betas: of Adam.
        adversarial: ``lsgan``, squared distances of the scores from 1 and 0, or ``hinge``.
        adversarial_weight: of the discriminator's scores in the generator's loss.
        reconstruction: weight of the mean absolute error, as a share of the intensity window.
        weighting: ``none``, or ``labels``: errors count fully inside labels and less, the farther they are from the
            centre of these.
        blur_px: images are compared after a Gaussian blur of this standard deviation. With 0, as in the original, every
            pixel shall be right, which no noise can be: the image becomes the mean of all that could be.
        rotation_deg, shift, shear_deg, zoom: the largest of each, images and labels alike, drawn anew for every image;
            shift and zoom as shares of the size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: tuple[float, float] = (1.3e-4, 1.5e-4)
    decay: tuple[float, float] = (0.0, 0.0)
    betas: tuple[float, float] = (0.5, 0.999)
    adversarial: Literal["lsgan", "hinge"] = "lsgan"
    adversarial_weight: float = Field(1.0, ge=0)
    reconstruction: float = Field(100.0, ge=0)
    weighting: Literal["none", "labels"] = "none"
    blur_px: float = Field(0.0, ge=0)
    rotation_deg: float = Field(0.0, ge=0)
    shift: float = Field(0.0, ge=0, lt=1)
    shear_deg: float = Field(0.0, ge=0, lt=90)
    zoom: float = Field(0.0, ge=0, lt=1)

    @property
    def moves(self) -> bool:
        """Whether images are moved."""
        return max(self.rotation_deg, self.shift, self.shear_deg, self.zoom) > 0


class PatchTrainer:
    """Both networks, their Adam optimizers and one step; see ``registry.Trainer``."""

    compilable = ("generator", "discriminator")
    recorded = False

    def __init__(
        self, recipe: PatchRecipe, network: BaseModel, generator: torch.nn.Module, discriminator: torch.nn.Module
    ) -> None:
        self.recipe, self.network = recipe, network
        self.networks = {"generator": generator, "discriminator": discriminator}
        self.optimizers = {
            name: adam(net, rate, recipe.betas)
            for (name, net), rate in zip(self.networks.items(), recipe.learning_rate, strict=True)
        }
        self.steps = 0

    def step(self, batch: Batch) -> dict[str, float]:
        """One update of the discriminator, on real and on drawn images, then one of the generator."""
        recipe, (generator, discriminator) = self.recipe, self.networks.values()
        for optimizer, rate, decay in zip(self.optimizers.values(), recipe.learning_rate, recipe.decay, strict=True):
            optimizer.param_groups[0]["lr"] = rate * math.exp(-decay * self.steps)
        images, labels = batch.images.clamp(-1, 1), batch.condition
        if recipe.moves:
            images, labels = moved(images, labels, self._moves(batch))
        keys = uniform_latents(batch.seed, FAKES, range(batch.first, batch.first + len(images)), 1)[1]
        drawn = generator(labels, keys)

        real, fake = discriminator(images, labels).float(), discriminator(drawn.detach(), labels).float()
        loss_d = self._judged(real, fake)
        self._update("discriminator", loss_d)

        discriminator.requires_grad_(False)
        scores = discriminator(drawn, labels).float()
        adversarial = -scores.mean() if recipe.adversarial == "hinge" else _distance(scores, 1.0)
        error = self._error(drawn, images, labels)
        loss_g = recipe.adversarial_weight * adversarial + recipe.reconstruction * error
        self._update("generator", loss_g)
        discriminator.requires_grad_(True)
        self.steps += 1
        told = {
            "loss_generator": adversarial,
            "loss_reconstruction": error,
            "loss_discriminator": loss_d,
            "d_real": real.mean(),
            "d_fake": fake.mean(),
        }
        values = mean(torch.stack([value.detach().float() for value in told.values()])).tolist()
        rate = self.optimizers["generator"].param_groups[0]["lr"]
        return {**dict(zip(told, values, strict=True)), "learning_rate": rate}

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Steps done."""
        return {"steps": self.steps}, {}

    def load_state(self, values: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Take back what ``state`` gave."""
        self.steps = values["steps"]

    def _judged(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        if self.recipe.adversarial == "hinge":
            return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
        return (_distance(real, 1.0) + _distance(fake, 0.0)) / 2

    def _error(self, drawn: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean absolute error as a share of the window."""
        difference = drawn - images
        if self.recipe.blur_px:
            difference = blurred(difference, self.recipe.blur_px)
        error = difference.abs() / 2
        if self.recipe.weighting == "labels":
            error = error * weights_around(labels[:, self.network.neighbours] > 0)[:, None]
        return error.mean()

    def _update(self, name: str, loss: torch.Tensor) -> None:
        value = mean(loss.detach()).item()
        if not math.isfinite(value):
            raise FloatingPointError(f"the {name}'s loss is {value}")
        self.optimizers[name].zero_grad(set_to_none=True)
        with full_precision(loss.device):
            loss.backward()
        self.optimizers[name].step()

    def _moves(self, batch: Batch) -> torch.Tensor:
        """(B, 2, 3) affine matrices of the images of a batch; they depend on seed and image alone."""
        recipe = self.recipe
        limits = [math.radians(recipe.rotation_deg), recipe.shift, recipe.shift, math.radians(recipe.shear_deg)]
        limits = np.array([*limits, recipe.zoom])
        rows = []
        for n in range(batch.first, batch.first + len(batch.images)):
            draws = image_rng(batch.seed, AUGMENT + _JITTER_STREAM, n).random(5) * 2 - 1
            angle, down, right, shear, zoom = limits * draws
            cos, sin, scale = math.cos(angle), math.sin(angle), 1 / (1 + zoom)
            turn = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, math.tan(shear)], [0, 1]]) * scale
            rows.append(np.c_[turn, [2 * right, 2 * down]])
        return torch.from_numpy(np.stack(rows).astype(np.float32)).to(batch.images.device)


def moved(images: torch.Tensor, labels: torch.Tensor, matrices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and their labels moved alike: between pixels images are interpolated, labels are those of the nearest.

    Args:
        images: (B, 1, H, W) in [-1, 1]; what comes in from beyond the border is -1.
        labels: (B, S, H, W) uint8; what comes in is 0.
        matrices: (B, 2, 3) from the place of an output pixel to that of an input one, in [-1, 1] across the image.
    """
    with full_precision(images.device):
        grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        above = F.grid_sample(images.float() + 1, grid, mode="bilinear", align_corners=False) - 1
        numbers = F.grid_sample(labels.float(), grid, mode="nearest", align_corners=False)
    return above, numbers.round().to(torch.uint8)


def blurred(images: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """(B, 1, H, W) float images after a Gaussian blur; beyond the border is 0."""
    half = max(1, math.ceil(3 * sigma_px))
    line = torch.exp(-0.5 * (torch.arange(-half, half + 1, device=images.device) / sigma_px) ** 2)
    line = (line / line.sum()).to(images.dtype)
    rows = F.conv2d(images, line.view(1, 1, 1, -1), padding=(0, half))
    return F.conv2d(rows, line.view(1, 1, -1, 1), padding=(half, 0))


def weights_around(labelled: torch.Tensor) -> torch.Tensor:
    """How much errors count: 1 inside labels, and a Gaussian about their centre elsewhere.

    Args:
        labelled: (B, H, W) bool.

    Returns:
        (B, H, W) float32; 1 throughout for an image without labels.
    """
    height, width = labelled.shape[1:]
    rows = torch.linspace(0, 1, height, device=labelled.device)[:, None].expand(height, width)
    columns = torch.linspace(0, 1, width, device=labelled.device)[None].expand(height, width)
    inside = labelled.float()
    count = inside.sum((1, 2)).clamp(min=1)
    centres = [(inside * line).sum((1, 2)) / count for line in (rows, columns)]
    distance = sum(
        ((line - centre[:, None, None]) / sigma) ** 2
        for line, centre, sigma in zip((rows, columns), centres, _SIGMAS, strict=True)
    )
    weights = torch.exp(-0.5 * distance)
    return torch.where(labelled | ~labelled.any(1).any(1)[:, None, None], torch.ones_like(weights), weights)


def _distance(scores: torch.Tensor, target: float) -> torch.Tensor:
    return F.mse_loss(scores, torch.full_like(scores, target))
