"""Train a pyramid of GANs on one CT volume, scale by scale; run again to resume, bit by bit on a processor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from SkullGANLib import __version__
from SkullGANLib.ct.views import at_a_glance, write_views
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import Cancelled, InputError
from SkullGANLib.files import read_document, write_json
from SkullGANLib.generate.volumes import draw_volumes, rebuilt_volume
from SkullGANLib.models import pyramid_losses as losses
from SkullGANLib.models.card import ModelCard
from SkullGANLib.models.device import adam, full_precision, memory_advice, resolve_device, uses_bfloat16
from SkullGANLib.models.draws import PYRAMID
from SkullGANLib.models.folder import Model, save_model
from SkullGANLib.models.pyramid import (
    Pyramid,
    PyramidNetwork,
    build_judge,
    fixed_noise,
    normals,
    rebuilt,
    resized,
    warped,
)
from SkullGANLib.models.window import IntensityWindow
from SkullGANLib.progress import Progress, report
from SkullGANLib.train.checkpoints import (
    Tensors,
    below,
    load_latest,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from SkullGANLib.train.folder import alone
from SkullGANLib.train.pyramid_options import PyramidOptions
from SkullGANLib.train.pyramid_volume import as_array, geometry, network_for, on_grid, unit_volume
from SkullGANLib.train.stats import Statistics

STATS_ITERATIONS, SAMPLES = 10, 3
FORMAT, VERSION, OPTIONS_FILE = "skullgan-volume-run", 1, "options.json"
MEMORY_ORDER = {2: torch.channels_last, 3: torch.channels_last_3d}  # which convolutions like best
_UNJUDGED = 1e30


def train_volume(
    volume: Volume,
    out: str | Path,
    options: PyramidOptions | None = None,
    *,
    segment: Callable[[torch.Tensor], torch.Tensor] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Learn one volume.

    Args:
        volume: CT in HU, or a box of one.
        out: run folder; where it holds a run of the same volume and options, that goes on.
        options: see there.
        segment: torch module that takes volumes in 0 to 1 and gives a mask in 0 to 1, in place of the soft bone mask.
        progress: told the iterations.

    Returns:
        The model folder.

    Raises:
        InputError: a volume that is too small, constant or not finite; a folder of another run; a loss that is not
            finite.
        Cancelled: stopped as asked; the state is saved.
        ResourceError: out of memory, or no such device.
    """
    options, out = options or PyramidOptions(), Path(out)
    with alone(out), memory_advice("Train on a smaller box of the volume, or with a lower largest."):
        _Run(volume, out, options, segment, progress).train()
    return out / "model"


@dataclass
class _Scale:
    """What one scale is trained with."""

    number: int
    real: torch.Tensor
    fixed: torch.Tensor  # noise from which the volume is rebuilt
    below_rebuilt: torch.Tensor | None
    optimizers: dict[str, torch.optim.Optimizer]


class _Run:
    def __init__(
        self,
        volume: Volume,
        out: Path,
        options: PyramidOptions,
        segment: Callable | None,
        progress: Progress | None,
    ) -> None:
        self.volume, self.out, self.options, self.progress = volume, out, options, progress
        self.device = resolve_device(options.device)
        self.whole = unit_volume(volume, options).to(self.device)
        network = network_for(volume, options)
        self.noise = list(network.noise)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.pyramid, self.judge = (
                each.to(self.device, memory_format=MEMORY_ORDER[options.dimensions])
                for each in (Pyramid(network), build_judge(network))
            )
        self.segment = segment or losses.soft_bone(*_bone_mask(options))
        self.bfloat16 = uses_bfloat16(options.precision, self.device)
        self.lengths = options.lengths(len(network.shapes))
        self.total = sum(self.lengths)

    @property
    def network(self) -> PyramidNetwork:
        """As trained so far: the noise of the scales that there are."""
        return self.pyramid.network.model_copy(update={"noise": tuple(self.noise)})

    def train(self) -> None:
        """All scales, from where the folder stands."""
        self._open_folder()
        found = load_latest(self.out / "checkpoints")
        first, start, tensors = 0, 0, None
        self.stats = Statistics(self.out / "stats.jsonl", 0 if found is None else found[0]["images"])
        if found is not None:
            values, tensors = found[0]["values"], found[1]
            first, start, self.noise = values["scale"], values["iteration"], list(values["noise"])
            self.pyramid.load_state_dict(below(tensors, "pyramid/"))
        for number in range(first, len(self.lengths)):
            scale = self._scale(number, fresh=tensors is None)
            if tensors is not None:
                self.judge.load_state_dict(below(tensors, "judge/weights/"))
                for name, optimizer in scale.optimizers.items():
                    restore_optimizer(name, optimizer, tensors)
            self._train_scale(scale, start)
            start, tensors = 0, None

    def _scale(self, number: int, *, fresh: bool) -> _Scale:
        """Scale ``number`` ready to be trained; it begins with the weights of the one below."""
        generator = self.pyramid.scales[number]
        if number and fresh:
            generator.load_state_dict(self.pyramid.scales[number - 1].state_dict())
        self.pyramid.eval().requires_grad_(False)
        shape = self.network.shapes[number]
        real, fixed = resized(self.whole, shape), fixed_noise(self.network, self.options.seed, number).to(self.device)
        below_rebuilt = resized(self._rebuilt(number), shape) if number else None
        if len(self.noise) == number:
            self.noise.append(float((below_rebuilt - real).square().mean().sqrt()))
        generator.train().requires_grad_(True)
        rate, betas = self.options.learning_rate, self.options.betas
        networks = {"generator": generator, "judge": self.judge.train()}
        optimizers = {name: adam(net, rate, betas) for name, net in networks.items()}
        return _Scale(number, real, fixed, below_rebuilt, optimizers)

    def _train_scale(self, scale: _Scale, start: int) -> None:
        length, before = self.lengths[scale.number], sum(self.lengths[: scale.number])
        started = lap = saved = time.monotonic()
        message = f"Training scale {scale.number + 1} of {len(self.lengths)}"
        for iteration in range(start, length):
            figures = self._iterate(scale, iteration, decayed=iteration >= 0.8 * length)
            self.stats.add(figures)
            done = iteration + 1
            if done % STATS_ITERATIONS == 0 or done == length:
                now = time.monotonic()
                self.stats.seconds, lap = self.stats.seconds + now - lap, now
                self.stats.write(images=before + done, seconds=self.stats.seconds, scale=scale.number + 1)
            left = self._remaining_s(scale.number, done, (time.monotonic() - started) / (done - start))
            try:
                report(self.progress, before + done, self.total, message, remaining_s=left, **_rounded(figures))
            except Cancelled:
                self._save(scale, done)
                raise
            if done < length and time.monotonic() - saved > 60 * self.options.checkpoint_minutes:
                self._save(scale, done)
                saved = time.monotonic()
        self._save(scale, length)
        self._write_samples(scale, self._write_model(scale))

    def _remaining_s(self, number: int, done: int, pace_s: float) -> int:
        """Seconds left, if an iteration takes as long for each voxel at every scale."""
        voxels = [math.prod(shape) for shape in self.network.shapes]
        left = [*self.lengths]
        left[number] -= done
        work = sum(n * size for n, size in zip(left[number:], voxels[number:], strict=True))
        return math.ceil(pace_s * work / voxels[number])

    def _write_samples(self, scale: _Scale, model: Model) -> None:
        """The volume at this scale, rebuilt, and two samples."""
        real = as_array(scale.real, self.network.shapes[scale.number])
        shown = {"Volume at this scale": on_grid(self.volume, self.options, real), "Rebuilt": rebuilt_volume(model)}
        drawn = enumerate(draw_volumes(model, SAMPLES, seed=self.options.seed, device="cpu"), 1)
        shown |= {f"Sample {number}": volume for number, volume in drawn}
        path = self.out / "samples" / f"scale-{scale.number + 1}.png"
        write_views(path, {words: [at_a_glance(volume)] for words, volume in shown.items()})
        done = sum(self.lengths[: scale.number + 1])
        report(self.progress, done, self.total, "Training", sample=str(path))

    def _iterate(self, scale: _Scale, iteration: int, *, decayed: bool) -> dict[str, float]:
        options = self.options
        for optimizer in scale.optimizers.values():
            optimizer.param_groups[0]["lr"] = options.learning_rate * (0.1 if decayed else 1.0)
        with torch.no_grad(), self._low():
            noises = [self._drawn(number, iteration, 0) for number in range(scale.number)]
            under = resized(self.pyramid(noises), self.network.shapes[scale.number]) if noises else None
        figures = {}
        self.judge.requires_grad_(False)
        for step in range(options.generator_steps):
            scale.optimizers["generator"].zero_grad(set_to_none=True)
            if options.adversarial:
                with self._low():
                    fake = self.pyramid.refined(scale.number, self._drawn(scale.number, iteration, 1 + step), under)
                    loss = options.adversarial * losses.adversarial_loss(self.judge(fake), options.judged)
                figures["adversarial"] = self._descend(loss)
            if options.reconstruction or options.projection or options.segmentation:
                with self._low():
                    made = self.pyramid.refined(scale.number, scale.fixed, scale.below_rebuilt)
                loss = self._faithful(made, scale.real, figures)
                self._descend(loss)
            scale.optimizers["generator"].step()
        self.judge.requires_grad_(True)
        for step in range(options.discriminator_steps if options.adversarial else 0):
            use = 1 + options.generator_steps + step
            noise, real = self._drawn(scale.number, iteration, use), self._seen(scale, iteration, use)
            with torch.no_grad(), self._low():
                fake = self.pyramid.refined(scale.number, noise, under)
            scale.optimizers["judge"].zero_grad(set_to_none=True)
            with self._low():
                loss = losses.judge_loss(self.judge(real), self.judge(fake), options.judged)
            figures["judge"] = self._descend(loss)
            scale.optimizers["judge"].step()
        return figures

    def _faithful(self, made: torch.Tensor, real: torch.Tensor, figures: dict[str, float]) -> torch.Tensor:
        """The weighted losses of a reconstruction."""
        options, total = self.options, made.new_zeros(())
        parts = {
            "reconstruction": (options.reconstruction, lambda: losses.reconstruction_loss(made, real)),
            "projection": (options.projection, lambda: losses.projection_loss(made, real, options.projected)),
            "segmentation": (options.segmentation, lambda: losses.segmentation_loss(made, real, self.segment)),
        }
        for name, (weight, call) in parts.items():
            if weight:
                loss = call()
                figures[name] = float(loss.detach())
                total = total + weight * loss
        return total

    def _descend(self, loss: torch.Tensor) -> float:
        value = float(loss.detach())
        if not np.isfinite(value):
            raise InputError(
                "Training has diverged: a loss is no number.", "Start again with a lower learning_rate, or in float32."
            )
        with full_precision(loss.device):
            loss.backward()
        return value

    def _low(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False)

    def _seen(self, scale: _Scale, iteration: int, use: int) -> torch.Tensor:
        """The volume at this scale as the discriminator sees it this time."""
        if not self.options.warp_mm:
            return scale.real
        index = (scale.number << 40) + (iteration << 8) + use
        return warped(scale.real, self.volume.extents_mm, self.options.warp_mm, self.options.seed, index)

    def _drawn(self, number: int, iteration: int, use: int) -> torch.Tensor:
        index = (number << 40) + (iteration << 8) + use
        return self.noise[number] * self._normals(index, number)

    def _normals(self, index: int, number: int) -> torch.Tensor:
        shape = self.network.shapes[number]
        return normals(self.options.seed, PYRAMID, index, self.network, shape).to(self.device)

    def _rebuilt(self, count: int) -> torch.Tensor:
        """The volume as the first ``count`` scales rebuild it."""
        with torch.no_grad(), self._low():
            return rebuilt(self.pyramid, self.options.seed, count)

    def _save(self, scale: _Scale, done: int) -> None:
        tensors: Tensors = {f"pyramid/{key}": value for key, value in self.pyramid.state_dict().items()}
        tensors |= {f"judge/weights/{key}": value for key, value in self.judge.state_dict().items()}
        for name, optimizer in scale.optimizers.items():
            tensors |= optimizer_tensors(name, optimizer)
        values = {"scale": scale.number, "iteration": done, "noise": self.noise}
        steps = sum(self.lengths[: scale.number]) + done
        save_checkpoint(self.out / "checkpoints", steps, values, tensors, _UNJUDGED)

    def _write_model(self, scale: _Scale) -> Model:
        """The scales trained so far, as a model that can be drawn from."""
        count = scale.number + 1
        network = self.network.model_copy(update={"shapes": self.network.shapes[:count]})
        pyramid = Pyramid(network)
        pyramid.load_state_dict({k: v for k, v in self.pyramid.state_dict().items() if int(k.split(".")[1]) < count})
        low, high = self.options.window_hu
        card = ModelCard(
            family=f"pyramid{network.dimensions}d",
            network=network.model_dump(mode="json"),
            window=IntensityWindow(minimum_hu=low, range_hu=high - low),
            spacing_mm=self.volume.extents_mm[2] / network.shapes[-1][2],
            background_hu=low,
            training={"volume": geometry(self.volume), "options": self.options.model_dump(mode="json")},
            seed=self.options.seed,
            metrics={"reconstruction_mse": self._error(scale, count)},
            intended_use="Research: synthetic CT volumes for method development. Not for diagnosis or treatment.",
            limits="Learnt from one volume: what it draws are variations of that person, not of people.",
        )
        model = Model(card, pyramid.eval(), self.judge)
        save_model(self.out / "model", model)
        return model

    def _error(self, scale: _Scale, count: int) -> float:
        self.pyramid.scales[scale.number].eval()
        return float((self._rebuilt(count).clamp(0, 1) - scale.real).square().mean())

    def _open_folder(self) -> None:
        path = self.out / OPTIONS_FILE
        wanted = {"options": self.options.model_dump(mode="json"), "volume": geometry(self.volume)}
        if path.exists():
            held = read_document(path, format=FORMAT, version=VERSION, what="run")
            free = {"device", "checkpoint_minutes"}
            for part in ("options", "volume"):
                a, b = ({k: v for k, v in each[part].items() if k not in free} for each in (held, wanted))
                if a != b:
                    other = sorted(key for key in {*a, *b} if a.get(key) != b.get(key))
                    raise InputError(
                        f"{self.out} holds a training with another {' and '.join(other)}.", "Choose another folder."
                    )
            return
        if self.out.is_dir() and any(self.out.iterdir()):
            raise InputError(f"{self.out} holds something else.", "Choose an empty folder.")
        (self.out / "checkpoints").mkdir(parents=True, exist_ok=True)
        write_json(path, {"format": FORMAT, "version": VERSION, "library_version": __version__, **wanted})


def _bone_mask(options: PyramidOptions) -> tuple[float, float]:
    """Threshold and width of the soft bone mask in parts of the window."""
    low, high = options.window_hu
    return (options.bone_hu - low) / (high - low), options.bone_width_hu / (high - low)


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.3g}") for name, value in figures.items()}
