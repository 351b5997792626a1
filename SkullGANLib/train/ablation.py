"""The ablation of CT-GAN: which loss does what, over several seeds, with the diversity that its tables leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SkullGANLib.ct.views import at_a_glance, write_views
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.volumes import diversity, rebuilding, single_image_frechet
from SkullGANLib.files import write_json
from SkullGANLib.generate.volumes import draw_scales, draw_volumes, rebuilt_volume
from SkullGANLib.models.folder import Model, load_model
from SkullGANLib.progress import Progress, report
from SkullGANLib.train.pyramid import train_volume
from SkullGANLib.train.pyramid_options import PyramidOptions
from SkullGANLib.train.pyramid_volume import network_for, on_grid, real_scales

SETTINGS: dict[int, dict[str, tuple[str, ...]]] = {
    3: {
        "A": (),
        "B": ("reconstruction",),
        "C": ("reconstruction", "projection"),
        "D": ("reconstruction", "projection", "segmentation"),
    },
    2: {
        "A": ("reconstruction",),
        "B": ("reconstruction", "projection"),
        "C": ("reconstruction", "projection", "segmentation"),
        "D": ("reconstruction", "segmentation"),
    },
}
"""Losses of each setting beside the adversarial one, by dimensions."""
PUBLISHED = {
    3: {
        "A": {"mse": "0.0054", "psnr": "22.639", "ssim": "0.7514"},
        "B": {"mse": "0.0025", "psnr": "25.991", "ssim": "0.8359"},
        "C": {"mse": "0.0024", "psnr": "26.070", "ssim": "0.8427"},
        "D": {"mse": "0.0017", "psnr": "27.925", "ssim": "0.8769"},
    },
    2: {
        "A": {"mse": "0.00011", "psnr": "39.487", "ssim": "0.9878"},
        "B": {"mse": "0.00049", "psnr": "33.094", "ssim": "0.9554"},
        "C": {"mse": "0.00032", "psnr": "34.931", "ssim": "0.9674"},
        "D": {"mse": "0.00006", "psnr": "41.967", "ssim": "0.9956"},
    },
}
"""By CT-GAN: one run of each on one volume, at five scales up to 141 voxels."""
FEWEST_SEEDS = 2
CAVEATS = (
    "The figures of rebuilding say how well one volume is remembered, not how good new ones are: look at diversity and "
    "Frechet distance beside them.",
    "The published rows with segmentation cannot have measured it: in the released code that loss passes through NumPy "
    "and has no gradient. What they gain over the row without it is the spread between two runs. Here the loss is 1 "
    "less the Dice coefficient of soft bone masks, and has one.",
    "The published figures are of another volume, at more scales: compare their order, not their size.",
)


@dataclass(frozen=True)
class Ablation:
    """All runs of an ablation.

    Attributes:
        dimensions: 2 or 3.
        shapes: (slices, rows, columns) of the scales.
        runs: setting to the figures of each seed: ``mse``, ``psnr``, ``ssim`` of the rebuilt volume, ``diversity_hu``
            of samples inside the bone, ``frechet_0`` and so on by scale from coarse to fine.
    """

    dimensions: int
    shapes: tuple[tuple[int, int, int], ...]
    runs: Mapping[str, Sequence[Mapping[str, Any]]]

    def mean(self, setting: str, name: str) -> tuple[float, float] | None:
        """Mean and standard deviation over the seeds; None where the runs have no such figure."""
        values = [run[name] for run in self.runs[setting] if run.get(name) is not None]
        return (float(np.mean(values)), float(np.std(values, ddof=1))) if values else None


def run_ablation(
    volume: Volume,
    out: str | Path,
    options: PyramidOptions,
    *,
    seeds: int = 3,
    samples: int = 6,
    progress: Progress | None = None,
) -> Ablation:
    """Train every setting with every seed, and measure.

    Args:
        volume: CT in HU.
        out: folder of the runs; those that are there already are gone on with, or left where they are finished.
        options: of all trainings; the weights of the losses are those of a setting that has the loss.
        seeds: trainings of each setting.
        samples: volumes drawn from each model.
        progress: told where the trainings stand.

    Raises:
        InputError: fewer than two seeds or samples; what ``train_volume`` raises.
        Cancelled: stopped as asked; what has been trained is kept.
    """
    if seeds < FEWEST_SEEDS or samples < FEWEST_SEEDS:
        raise InputError("A spread needs two seeds and two samples at least.", "Ask for three.")
    out, network = Path(out), network_for(volume, options)
    reals = real_scales(volume, options, network.shapes)
    settings, runs, shown = SETTINGS[options.dimensions], {}, {}
    shown["Volume"] = [at_a_glance(on_grid(volume, options, reals[-1]))]
    for number, (setting, names) in enumerate(settings.items()):
        weights = {name: 0.0 for name in ("reconstruction", "projection", "segmentation") if name not in names}
        runs[setting] = []
        for seed in range(seeds):
            step = _Step(progress, number * seeds + seed, len(settings) * seeds, f"{setting}, seed {seed}")
            changed = options.model_copy(update={**weights, "seed": seed})
            folder = train_volume(volume, out / f"{options.dimensions}d-{setting}-{seed}", changed, progress=step)
            model = load_model(folder, volumes=True)
            runs[setting].append(_measured(model, reals, samples, options))
            if seed == 0:
                made = [rebuilt_volume(model), *draw_volumes(model, 1, device=options.device)]
                shown[f"{setting}: rebuilt, and a sample"] = [at_a_glance(each) for each in made]
    found = Ablation(options.dimensions, network.shapes, runs)
    write_views(out / f"ablation-{options.dimensions}d.png", shown)
    write_json(
        out / f"ablation-{options.dimensions}d.json",
        {
            "dimensions": found.dimensions,
            "shapes": found.shapes,
            "options": options.model_dump(mode="json"),
            "runs": found.runs,
            "published": PUBLISHED[found.dimensions],
        },
    )
    return found


def table_of(found: Ablation) -> list[list[str]]:
    """The published table with its figures beside ours (mean and standard deviation over the seeds), as words."""
    head = ["setting", "losses"]
    for name in ("MSE", "PSNR (dB)", "SSIM"):
        head += [name, "published"]
    head += ["diversity (HU)", *(f"Frechet at {max(shape[3 - found.dimensions :])}" for shape in found.shapes)]
    rows = [head]
    for setting in found.runs:
        names = SETTINGS[found.dimensions][setting]
        row = [setting, " + ".join(["adv", *({"r": "rec", "p": "proj", "s": "seg"}[name[0]] for name in names)])]
        for name, digits in (("mse", "g"), ("psnr", ".2f"), ("ssim", ".3f")):
            row += [_spread(found.mean(setting, name), digits), PUBLISHED[found.dimensions][setting][name]]
        row.append(_spread(found.mean(setting, "diversity_hu"), ".0f"))
        row += [_spread(found.mean(setting, f"frechet_{scale}"), "g") for scale in range(len(found.shapes))]
        rows.append(row)
    return rows


def _spread(found: tuple[float, float] | None, digits: str) -> str:
    if found is None:
        return "-"
    mean, deviation = found
    if digits == "g":
        return f"{mean:.2g} ± {deviation:.1g}"
    return f"{mean:{digits}} ± {deviation:{digits}}"


def _measured(model: Model, reals: Sequence[np.ndarray], samples: int, options: PyramidOptions) -> dict[str, Any]:
    window, device = model.card.window, options.device
    hu = rebuilt_volume(model, device=device).hu
    made = np.clip((hu - window.minimum_hu) / window.range_hu, 0, 1)
    by_scale = list(zip(*draw_scales(model, samples, device=device), strict=True))
    bone = reals[-1] > (options.bone_hu - window.minimum_hu) / window.range_hu
    if not bone.any():  # of so coarse a scale
        bone = reals[-1] > np.quantile(reals[-1], 0.95)
    return {
        "seed": model.card.seed,
        **rebuilding(made, reals[-1]),
        "diversity_hu": diversity(by_scale[-1], bone) * window.range_hu,
        **{
            f"frechet_{scale}": float(np.mean([single_image_frechet(sample, real) for sample in drawn]))
            for scale, (drawn, real) in enumerate(zip(by_scale, reals, strict=True))
        },
    }


class _Step:
    """Progress of one training among all."""

    def __init__(self, progress: Progress | None, number: int, count: int, words: str) -> None:
        self.progress, self.number, self.count, self.words = progress, number, count, words

    def update(self, done: int, total: int, message: str = "", **values: float | str) -> None:
        report(self.progress, self.number * total + done, self.count * total, f"Setting {self.words}", **values)

    def cancelled(self) -> bool:
        return self.progress is not None and self.progress.cancelled()
