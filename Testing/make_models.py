"""Make the small models that come with SkullGAN from head phantoms alone: ``python Testing/make_models.py WORK``.

Hours on two cores. What is in ``Resources/Models`` came out of these steps; ``--pack`` repeats the last one only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from SkullGANLib.models.folder import load_model, save_model

TARGET = Path(__file__).resolve().parents[1] / "Resources" / "Models"
HEADS, SEEDS, PER_SET = 120, 1000, 10
SETTINGS = ["snapshot_images=1000", "checkpoint_images=5000"]
MODELS = {
    "phantom": ("recommended-XS", ["images=120000", "ema_images=20000", *SETTINGS]),
    "phantom-small": ("demo", ["images=60000", "ema_images=5000", "augment=0.5", *SETTINGS]),
}
LABELS = "phantom-labels"
SLICES = {"--subjects": 32, "--seed": 3000, "--spacing": "1.9,1.9,2.5", "--shape": "72,128,128", "--pose": 8}
WINDOW_HU = (0, 3000)  # real bone reaches further than the phantoms'
INTENDED_USE = (
    "Trying SkullGAN out before any training of one's own, and as the start of a fine-tuning. "
    "Research only; not for diagnosis or treatment."
)
LIMITS = (
    "Trained on parametric head phantoms alone: no patient was involved, and nothing that the phantom's formula does "
    "not hold is in the images. For trying out and pre-training; figures from them say nothing about patients."
)


def run(*words: object) -> None:
    """One command of ``skullgan``."""
    subprocess.run([sys.executable, "-m", "SkullGANLib", *map(str, words)], check=True)


def make_data(work: Path) -> Path:
    """Segments of 120 heads in random poses, split by subject."""
    sets = []
    for first in range(SEEDS, SEEDS + HEADS, PER_SET):
        scans, segments = work / f"heads-{first}", work / f"segments-{first}"
        run("phantom", "--subjects", PER_SET, "--seed", first, "--pose", 10, "--no-labels", "--out", scans)
        run("prepare", scans, "--kind", "phantom", "--out", segments)
        sets.append(segments)
    run("dataset", "merge", *sets, work / "all")
    parts = [word for part in ("train=0.8", "val=0.1", "test=0.1") for word in ("--part", part)]
    run("dataset", "split", work / "all", *parts)
    return work / "all"


def train(work: Path, data: Path) -> None:
    """Both runs."""
    for name, (preset, settings) in MODELS.items():
        options = [word for setting in settings for word in ("--set", setting)]
        run("train", "--data", data, "--preset", preset, "--window-hu", *WINDOW_HU, "--out", work / name, *options)


def train_labels(work: Path) -> None:
    """The run from label maps of whole heads."""
    heads, slices = work / "label-heads", work / "label-slices"
    run("phantom", "--layers", *(word for pair in SLICES.items() for word in pair), "--out", heads)
    run("dataset", "import-pairs", heads, "--out", slices, "--size", 128, "--spacing", 1.9, "--blank")
    run("train", "--data", slices, "--preset", "patch-small", "--out", work / LABELS)


def pack(work: Path) -> None:
    """The best snapshot of each run, in float16, with what it is for on its card."""
    for name in [*MODELS, LABELS]:
        model = load_model(work / name, discriminator=True)
        model.card.intended_use, model.card.limits = INTENDED_USE, LIMITS
        model.card.licence = "Apache-2.0, as SkullGAN."
        save_model(TARGET / name, model, dtype=torch.float16)
        print(TARGET / name, sum(file.stat().st_size for file in (TARGET / name).iterdir()), "bytes")


def main() -> None:
    """Make the data, train, pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--pack", action="store_true", help="The runs are in WORK already.")
    given = parser.parse_args()
    if not given.pack:
        train(given.work, make_data(given.work))
        train_labels(given.work)
    pack(given.work)


if __name__ == "__main__":
    main()
