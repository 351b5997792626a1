"""How near runs come to held-out subjects, over time: ``python Testing/benchmarks/compare_models.py --help``.

Each run is a preset, trained on the same data for the same time on this machine (or for the same images), with its own
learning-rate schedule; one that ``--out`` holds already is not repeated. Snapshots along the way are judged by kernel
distance and by the two-sample test: the area under the curve of a classifier that was shown other images of both kinds,
0.5 for images that it cannot tell apart. There are two such judges, on the same features: a linear one, and boosted
trees, which few models escape.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from SkullGANLib.evaluate.kernel import kernel_distance, layout_and_texture
from SkullGANLib.generate.sample import generate_segments
from SkullGANLib.models.card import load_card
from SkullGANLib.models.device import resolve_device
from SkullGANLib.models.folder import Model
from SkullGANLib.models.registry import get_family
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train.estimate import measure_speed
from SkullGANLib.train.options import load_options, parse_setting
from SkullGANLib.train.run import train
from SkullGANLib.train.stats import read_stats

IMAGES = 1000  # drawn from each snapshot


class Keeper:
    """Keeps the averaged generator of every checkpoint of a run; a run itself keeps the latest two and the best."""

    def __init__(self, run: Path) -> None:
        self.run, self.kept = run, run.parent / f"{run.name}-snapshots"
        self.kept.mkdir(parents=True, exist_ok=True)

    def update(self, done: int, total: int, message: str = "", **values: object) -> None:
        for path in (self.run / "checkpoints").glob("[0-9]*/tensors.safetensors"):
            target = self.kept / f"{path.parent.name}.pt"
            if not target.exists():
                tensors = load_file(path)
                names = [name for name in tensors if name.startswith("average/")]
                torch.save({name.removeprefix("average/"): tensors[name].clone() for name in names}, target)

    def cancelled(self) -> bool:
        return False


def held_out(path: Path, part: str, size: int) -> np.ndarray:
    """(n, size, size) float32 HU of good segments of a part, made smaller by means."""
    dataset = SegmentDataset.open(path)
    hu = dataset.hu[dataset.filter(split=part, quality="ok")].astype(np.float32)
    shrink = hu.shape[-1] // size
    return hu.reshape(len(hu), size, shrink, size, shrink).mean((2, 4))


def two_sample_auc(real: list[np.ndarray], drawn: list[np.ndarray]) -> dict[str, float]:
    """AUC on the second sets of features of both classifiers, which were shown the first ones."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    shown, asked = (np.concatenate(pair) for pair in zip(real, drawn, strict=True))
    truth = [np.repeat([0, 1], [len(r), len(d)]) for r, d in zip(real, drawn, strict=True)]
    judges = {
        "auc": make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)),
        "auc_trees": HistGradientBoostingClassifier(random_state=0, max_iter=100),
    }
    return {
        name: float(roc_auc_score(truth[1], judge.fit(shown, truth[0]).predict_proba(asked)[:, 1]))
        for name, judge in judges.items()
    }


def judge(run: Path, data: Path) -> list[dict[str, float]]:
    """Images, seconds, kernel distance and AUC of each snapshot of a run."""
    card, seconds = load_card(run), {line["images"]: line["seconds"] for line in read_stats(run / "stats.jsonl")}
    family = get_family(card.family)
    network = family.network(**card.network)
    real = {
        part: layout_and_texture(card.window.to_unit(held_out(data, part, network.size)))
        for part in ("train", "val", "test")
    }
    pick = np.random.default_rng(0).permutation(len(real["train"]))[:IMAGES]
    rows = []
    for path in sorted((run.parent / f"{run.name}-snapshots").glob("*.pt")):
        generator = family.build_generator(network)
        generator.load_state_dict(torch.load(path, weights_only=True))
        model = Model(card, generator.eval())
        drawn = [generate_segments(model, IMAGES, seed=5, first=first) for first in (0, IMAGES)]
        features = [layout_and_texture(card.window.to_unit(hu)) for hu in drawn]
        images = int(path.stem)
        auc = two_sample_auc([real["train"][pick], real["test"]], features)
        near = min(seconds, key=lambda seen: abs(seen - images))
        rows.append(
            {
                "images": images,
                "seconds": seconds[near] * images / near,
                "kernel_distance": kernel_distance(features[0], real["val"]),
                **auc,
            }
        )
        print(run.name, rows[-1], flush=True)
    floor = kernel_distance(real["test"], real["val"])
    other = two_sample_auc([real["train"][pick], real["test"]], [real["val"][::2], real["val"][1::2]])
    print(run.name, f"real against real: kernel distance {floor:.4f}, {other}", flush=True)
    return [{**row, "floor": floor, "floor_auc": other["auc"]} for row in rows]


def draw(found: dict[str, list[dict[str, float]]], over: str, path: Path) -> None:
    """Both measures of all runs in one picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, name, words in zip(
        axes, ("kernel_distance", "auc"), ("kernel distance", "two-sample AUC (linear)"), strict=True
    ):
        for label, rows in found.items():
            x = [row[over] / (60 if over == "seconds" else 1000) for row in rows]
            axis.plot(x, [max(row[name], 1e-3) for row in rows], marker=".", label=label)
        floor = next(iter(found.values()))[0]["floor" if name == "kernel_distance" else "floor_auc"]
        axis.axhline(floor, color="0.6", linestyle=":", label="real against real")
        axis.set_xlabel("minutes of training" if over == "seconds" else "thousand training images")
        axis.set_ylabel(f"{words} to held-out subjects")
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, judge, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Data set split into train, val and test.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, help="Of training of each; its length in images follows.")
    parser.add_argument("--images", type=int, help="Instead of minutes.")
    parser.add_argument("--snapshots", type=int, default=8)
    parser.add_argument("--over", choices=["seconds", "images"], default="seconds")
    parser.add_argument("runs", nargs="+", metavar="LABEL:PRESET[,KEY=VALUE...]")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "found.json"
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for text in given.runs:
        label, _, rest = text.partition(":")
        if label in found:
            continue
        preset, *settings = re.split(r",(?=[a-z_.]+=)", rest)
        run = given.out / re.sub(r"\W+", "-", label).lower()
        values = {"data": [given.data], "out": run, **dict(parse_setting(setting) for setting in settings)}
        options = load_options(preset, values)
        if (run / "options.json").exists():
            images = json.loads((run / "options.json").read_text(encoding="utf-8"))["options"]["images"]
        else:
            images = given.images or int(60 * given.minutes * measure_speed(options, resolve_device(options.device)))
        every = max(images // given.snapshots, options.batch_size)
        lengths = {"images": images, "checkpoint_images": every, "checkpoint_minutes": 1e6, "sample_images": every}
        print(f"{label}: preset {preset}, {images} images", flush=True)
        keeper = Keeper(run)
        train(load_options(preset, {**values, **lengths}), progress=keeper)
        keeper.update(1, 1)
        found[label] = judge(run, given.data)
        kept.write_text(json.dumps(found, indent=1), encoding="utf-8")
    draw(found, given.over, given.out / "comparison.png")


if __name__ == "__main__":
    main()
