"""What a pyramid of GANs is trained with: the recipe of CT-GAN, and the one that draws whole heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from SkullGANLib.errors import InputError
from SkullGANLib.models import pyramid_losses as losses
from SkullGANLib.train.options import checked

_RECOMMENDED = {
    "smallest": 14,
    "places": True,
    "judged": "each",
    "warp_mm": 3.0,
    "reconstruction": 10.0,
    "projection": 10.0,
    "segmentation": 1.0,
    "window_hu": (-1000.0, 2000.0),
}
PRESETS: dict[str, dict[str, Any]] = {
    "full": {**_RECOMMENDED, "iterations": (2000, 1500, 1500, 2000)},
    "demo": {**_RECOMMENDED, "largest": 48, "iterations": (800, 400, 200, 100)},
    "ct-gan": {},
}


class PyramidOptions(BaseModel):
    """Everything that decides the training; the defaults are those of CT-GAN.

    Attributes:
        dimensions: 3 for convolutions in space, 2 for the slices as channels.
        smallest, largest, factor: of the scales, see ``models.pyramid.scale_shapes``.
        places: see ``models.pyramid.PyramidNetwork``.
        channels, judge_channels: of the networks; 32 and 16 in 3D, 256 and 16 in 2D if not given.
        iterations: at the coarsest scale, of which the next takes twice, the one after three times as many, and so on;
            or those of each scale, the last of which counts for all that follow.
        generator_steps, discriminator_steps: in an iteration.
        learning_rate, betas: of Adam; the rate falls to a tenth for the last fifth of each scale.
        judged: whether the mean score of a volume shall be that of a real one, or the score of each neighbourhood.
        warp_mm: the discriminator sees the volume smoothly deformed, each time anew and by so much (one standard
            deviation), so that shapes vary in what is drawn, too; 0 for the volume as it is.
        adversarial, reconstruction, projection, segmentation: weights of the losses; 0 switches one off.
        projected: how volumes are projected for the projection loss.
        bone_hu, bone_width_hu: threshold of the soft bone mask of the segmentation loss, and how soft it is.
        window_hu: HU that become 0 and 1; what is beyond is clipped.
        precision: of the convolutions; auto is bfloat16 where the device has units for it.
        device, seed: see ``train.options.TrainOptions``.
        checkpoint_minutes: a checkpoint is written at least this often, and at the end of each scale.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimensions: Literal[2, 3] = 3
    smallest: int = Field(28, ge=8)
    largest: int = Field(140, ge=8)
    factor: float = Field(1.5, gt=1)
    places: bool = False
    channels: int | None = Field(None, ge=1)
    judge_channels: int | None = Field(None, ge=1)
    iterations: PositiveInt | tuple[PositiveInt, ...] = 1000
    generator_steps: int = Field(3, ge=1)
    discriminator_steps: int = Field(3, ge=1)
    learning_rate: float = Field(5e-4, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    judged: losses.Judged = "mean"
    warp_mm: float = Field(0.0, ge=0)
    adversarial: float = Field(1.0, ge=0)
    reconstruction: float = Field(100.0, ge=0)
    projection: float = Field(100.0, ge=0)
    segmentation: float = Field(10.0, ge=0)
    projected: losses.Projection = "mean"
    bone_hu: float = 300.0
    bone_width_hu: float = Field(50.0, gt=0)
    window_hu: tuple[float, float] = (-1000.0, 1000.0)
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    device: str = "auto"
    seed: int = Field(0, ge=0)
    checkpoint_minutes: float = Field(10, gt=0)

    def lengths(self, scales: int) -> list[int]:
        """Iterations at each of so many scales."""
        if isinstance(self.iterations, int):
            return [self.iterations * (scale + 1) for scale in range(scales)]
        return [self.iterations[min(scale, len(self.iterations) - 1)] for scale in range(scales)]


def pyramid_options(values: Mapping[str, Any], preset: str = "ct-gan") -> PyramidOptions:
    """Options from a preset and plain values, which go before it.

    Raises:
        InputError: an unknown name or an impossible value.
    """
    if preset not in PRESETS:
        raise InputError(f"There is no preset called {preset!r}.", f"Choose one of: {', '.join(PRESETS)}.")
    return checked(PyramidOptions, {**PRESETS[preset], **values}, "")
