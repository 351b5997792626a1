"""What a family of generative models must offer, and the list of those there are.

``train``, ``generate``, ``evaluate`` and the module's panel work with whatever is registered. A family is one file of
this package with an object called ``FAMILY``, or a tuple of them; nothing else has to be told of it. Families
with ``volumes`` learn one CT volume and draw others: ``train.pyramid`` and ``generate.volumes`` work with those.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from SkullGANLib.errors import InputError

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel


class Unchanged:
    """No augmentation; what else there may be is ``train.augment.Augmentation``."""

    def __call__(self, images: torch.Tensor, first: int, stream: int = 0) -> torch.Tensor:
        """Images ``first`` and following, changed by their numbers; ``stream`` keeps the uses within a step apart."""
        numbers = self.numbers(first, len(images), stream)
        return self.applied(images, None if numbers is None else numbers.to(images.device))

    def numbers(self, first: int, count: int, stream: int = 0) -> torch.Tensor | None:
        """Random numbers for some images, on the CPU; None where nothing is to be changed."""
        return None

    def applied(self, images: torch.Tensor, numbers: torch.Tensor | None) -> torch.Tensor:
        """Images changed by such numbers."""
        return images


@dataclass(frozen=True)
class Batch:
    """What one training step gets.

    Attributes:
        images: (B, 1, H, W) float32 in [-1, 1], on the device.
        condition: (B, k) float32 on the device, or None; of a family with masks, (B, slices, H, W) uint8.
        seed: of the run.
        first: images drawn before this batch; with ``seed`` it fixes every random number of the step.
        epoch: ``first`` over the size of the training set.
        done: share of the whole training that lies behind, 0 to 1.
        augment: called with images, ``first`` and a number for each use within the step; what the discriminator sees
            goes through it, real or drawn.
        held_out: as many images of held-out subjects as ``images`` and their condition, now and then. The step then
            tells two figures of one state of the discriminator: ``d_gap`` and ``d_gap_held_out``, by how much it
            judges these images and those more real than drawn ones of the same conditions.
    """

    images: torch.Tensor
    condition: torch.Tensor | None
    seed: int
    first: int
    epoch: float
    done: float
    augment: Unchanged = field(default_factory=Unchanged)
    held_out: tuple[torch.Tensor, torch.Tensor | None] | None = None


class Trainer(Protocol):
    """A family's mathematics of training; the loop brings data, device, EMA, logging, checkpoints and cancelling.

    Attributes:
        networks: name to network, of which ``"generator"`` is the one to sample from.
        optimizers: name to optimizer, whose states a checkpoint keeps.
        compilable: names of the networks that ``torch.compile`` can take.
        recorded: whether one GPU replays its steps (``models.recording``), which leaves compiling little to gain.
    """

    compilable: tuple[str, ...]
    recorded: bool
    networks: dict[str, torch.nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]

    def step(self, batch: Batch) -> dict[str, float]:
        """Train on one batch and return figures worth logging; nothing is updated from a loss that is not finite.

        Raises:
            FloatingPointError: when a loss is not finite.
        """

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What else resuming needs: plain values that JSON can hold, and tensors."""

    def load_state(self, values: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Take back what ``state`` gave."""


class Family(Protocol):
    """A registry entry.

    Attributes:
        name: the word used on the command line and in files.
        title: one line for people.
        network: pydantic model of the network options; has ``size``, the height and width in pixels.
        recipe: pydantic model of the training options.
        trainer: called with (recipe, network, generator, discriminator).
        conditions: columns of a segment table that a sample can be asked for.
        absolute: whether a ``realness`` of 0.5 parts real from generated images.
        volumes: whether it learns and draws volumes; the methods for images are then missing.
        masks: whether it draws from label maps. Its condition is then (n, slices, H, W) uint8 channel numbers, and its
            network has ``labels``, ``neighbours`` and ``slices``, see ``models.patch_cgan``.
        grows: whether it is trained size by size (``train.growing``), and can draw styles towards the middle of their
            class (``truncated``).
        uniform: whether its latents lie evenly in (-1, 1); else they are standard normal.
    """

    volumes: bool
    masks: bool
    grows: bool
    uniform: bool
    name: str
    title: str
    network: type[BaseModel]
    recipe: type[BaseModel]
    trainer: type[Trainer]
    conditions: tuple[str, ...]
    absolute: bool

    def build_generator(self, network: BaseModel) -> torch.nn.Module:
        """A freshly initialised generator."""

    def build_discriminator(self, network: BaseModel) -> torch.nn.Module:
        """A freshly initialised discriminator."""

    def latent(
        self, network: BaseModel, seed: int, indices: Iterable[int], stream: int = 0
    ) -> tuple[torch.Tensor, ...]:
        """What the generator takes, for the images ``indices`` of ``seed``; on the CPU."""

    def sample(
        self,
        generator: torch.nn.Module,
        network: BaseModel,
        seed: int,
        indices: Iterable[int],
        condition: torch.Tensor | None = None,
        stream: int = 0,
    ) -> torch.Tensor:
        """(n, 1, H, W) images in [-1, 1] on the generator's device."""

    def for_drawing(self, generator: torch.nn.Module, network: BaseModel, bfloat16: bool) -> torch.nn.Module:
        """The generator as ``sample`` draws fastest with it; the given one stays as it is."""

    def realness(self, discriminator: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        """(n,) the discriminator's probability that images (n, 1, H, W) in [-1, 1] are real."""

    def feature_maps(self, network: BaseModel) -> tuple[str, ...]:
        """Names of the generator's modules whose outputs serve label synthesis, coarse to fine."""

    def memory(self, network: BaseModel, batch: int, *, training: bool, bfloat16: bool = False) -> int:
        """Estimated bytes of device memory; fitted to ``Testing/benchmarks/bench_memory.py``."""


class _Families(Mapping[str, Family]):
    """Name to family; the files are imported when the first one is asked for, since they import torch."""

    def __init__(self) -> None:
        self._found: dict[str, Family] | None = None

    def _all(self) -> dict[str, Family]:
        if self._found is None:
            import SkullGANLib.models as package

            modules = [
                importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)
            ]
            families = [each for module in modules for each in _families_of(module)]
            self._found = {family.name: family for family in families}
        return self._found

    def __getitem__(self, name: str) -> Family:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _families_of(module: ModuleType) -> tuple[Family, ...]:
    found = getattr(module, "FAMILY", ())
    return found if isinstance(found, tuple) else (found,)


FAMILIES: Mapping[str, Family] = _Families()


def get_family(name: str) -> Family:
    """The family called ``name``.

    Raises:
        InputError: there is none; the advice lists those there are.
    """
    if name not in FAMILIES:
        raise InputError(f"There is no model family called {name!r}.", f"Choose one of: {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def image_family(name: str) -> Family:
    """The family called ``name``, one that learns and draws images.

    Raises:
        InputError: there is none, or it is one for volumes.
    """
    family = get_family(name)
    if family.volumes:
        raise InputError(f"Models of the family {name} are for volumes.", "Use skullgan volume.")
    return family
