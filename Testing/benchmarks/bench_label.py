"""What label synthesis makes of 20 painted images: ``python Testing/benchmarks/bench_label.py [options]``.

Whoever paints is stood in for by the library's own rule for the layers of a segment (``prepare.layers``), applied to
images that a model draws. Dice of outer table, diploe and inner table

- of the label maps of further images, against that rule: all of them, those that the filter keeps, and those it drops;
- of a network that learns to segment from the labelled images alone, on segments of head phantoms, against the
  phantoms' own formula; beside it the same network learning from as many segments of other phantoms with their
  formula, and the rule itself, which bounds what can be passed on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from bench_layers import SCAN, dice, exact_layers

FIRST_SEED, TRAIN_SEED = 1000, 1100
WINDOW_HU = (0.0, 2700.0)
SHOWN = 24


def phantom_segments(first: int, heads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Segments of head phantoms, their true layers, and the number of the head of each."""
    from SkullGANLib.ct.phantom import HeadPhantom
    from SkullGANLib.prepare.run import prepare_volume

    parts = []
    for seed in range(first, first + heads):
        phantom = HeadPhantom(seed)
        head = phantom.render(**SCAN)
        prepared = prepare_volume(head.volume)
        kept = np.flatnonzero(prepared.kept)
        parts.append((prepared.hu[kept], exact_layers(phantom, head, prepared, kept), np.full(len(kept), seed)))
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def line(name: str, scores: list[float], more: str = "") -> None:
    """Print a row of the table."""
    print(f"{name:<52}" + "".join(f"{score:>14.3f}" for score in scores) + f"   {more}", flush=True)


def picture(path: Path, hu: np.ndarray, rows: dict[str, np.ndarray], names: dict[int, str]) -> None:
    """Write images with several label maps of each beside it."""
    from SkullGANLib.labelling.picture import overlaid
    from SkullGANLib.models.window import IntensityWindow
    from SkullGANLib.segments.label_colours import grey, legend
    from SkullGANLib.segments.sheet import contact_sheet, write_png

    window = IntensityWindow(minimum_hu=WINDOW_HU[0], range_hu=WINDOW_HU[1] - WINDOW_HU[0])
    tiles = np.stack([grey(hu, WINDOW_HU), *(overlaid(hu, masks, window) for masks in rows.values())], 1)
    titles = ["image", *rows] * len(hu)
    sheet = contact_sheet(tiles.reshape(-1, *tiles.shape[2:]), columns=2 * (len(rows) + 1), titles=titles)
    write_png(path, np.concatenate([sheet, *legend(names, sheet.shape[1])]))


def main() -> None:
    """Print the table."""
    from SkullGANLib.evaluate.segmenter import train_segmenter
    from SkullGANLib.labelling.ensemble import DROP, HEADS, train_labeller, usual_steps
    from SkullGANLib.labelling.features import draw_features
    from SkullGANLib.labelling.synthesis import draw_labelled, spread_conditions
    from SkullGANLib.models.conditions import encode
    from SkullGANLib.models.folder import load_model, shipped_model
    from SkullGANLib.prepare.layers import segment_layers
    from SkullGANLib.segments.store import TISSUE_LABELS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="phantom")
    parser.add_argument("--painted", type=int, default=20)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--heads", type=int, default=HEADS)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--test-heads", type=int, default=4, help="head phantoms; 0 leaves the second measure out")
    parser.add_argument("--picture", type=Path, help="also write a picture here (.png)")
    given = parser.parse_args()
    model = load_model(shipped_model(given.model))

    def painted_by_rule(hu: np.ndarray) -> np.ndarray:
        return segment_layers(hu, model.card.spacing_mm)

    values = spread_conditions(model.card, {}, given.painted, seed=1)
    features = draw_features(
        model, range(given.painted), seed=1, condition=encode(model.card.conditions, values), device=given.device
    )
    painted = painted_by_rule(features.hu)
    known = np.array([len(np.unique(each)) == 1 + len(TISSUE_LABELS) for each in painted])
    rows = np.flatnonzero(known)
    steps = given.steps or usual_steps(given.device)
    begin = time.perf_counter()
    labeller, *_ = train_labeller(
        features.take(rows),
        painted[rows],
        TISSUE_LABELS,
        heads=given.heads,
        steps=steps,
        seed=1,
        device=given.device,
    )
    seconds = time.perf_counter() - begin
    print(f"{given.model}: {len(rows)} of {given.painted} images painted; {given.heads} networks of {steps} steps")
    print(f"{'Dice':<52}" + "".join(f"{name:>14}" for name in TISSUE_LABELS.values()))
    unseen = list(labeller.held_out_dice.values()) or [np.nan] * len(TISSUE_LABELS)
    line("painted images, networks that had not seen them", unseen, f"{seconds:.0f} s")

    begin = time.perf_counter()
    found = draw_labelled(model, labeller, given.count, seed=2, drop=DROP, device=given.device)
    rate = (given.count + len(found.dropped)) / (time.perf_counter() - begin)
    # what the filter drops is drawn once more, for what it would have been worth
    everything = draw_labelled(model, labeller, given.count + len(found.dropped), seed=2, drop=0, device=given.device)
    rule = painted_by_rule(everything.hu)
    kept = np.isin(everything.images, found.images)
    line("further images, all", means(everything.masks, rule), f"{rate:.0f} images/s")
    line(f"kept by the filter ({kept.sum()})", means(everything.masks[kept], rule[kept]))
    line(f"dropped by the filter ({(~kept).sum()})", means(everything.masks[~kept], rule[~kept]))
    if given.picture:
        order = np.argsort(-everything.uncertainty)
        some = np.concatenate([order[: SHOWN // 2], order[len(order) // 2 :][: SHOWN // 2]])
        picture(
            given.picture, everything.hu[some], {"rule": rule[some], "found": everything.masks[some]}, TISSUE_LABELS
        )
    if not given.test_heads:
        return
    hu, truth, _ = phantom_segments(FIRST_SEED, given.test_heads)
    other, other_truth, subjects = phantom_segments(TRAIN_SEED, 2 * given.test_heads)
    some = np.random.default_rng(0).permutation(len(other))[: given.count]
    print(f"on {len(hu)} segments of {given.test_heads} head phantoms, against their formula:")
    for name, images, masks, whose in (
        (f"segmenter, {len(found.hu)} labelled images", found.hu, found.masks, None),
        (f"segmenter, {len(some)} segments of other phantoms", other[some], other_truth[some], subjects[some]),
    ):
        begin = time.perf_counter()
        trained = train_segmenter(
            images, masks, TISSUE_LABELS, window_hu=WINDOW_HU, subjects=whose, device=given.device
        )
        line(name, dice(trained.segment(hu), truth), f"{time.perf_counter() - begin:.0f} s")
    line("the rule itself", dice(painted_by_rule(hu), truth))


def means(found: np.ndarray, truth: np.ndarray) -> list[float]:
    """Mean Dice of each layer over the images that show it."""
    from SkullGANLib.evaluate.segmenter import dice as each_dice

    return [float(np.nanmean(values)) for values in each_dice(found, truth, (1, 2, 3)).values()]


if __name__ == "__main__":
    main()
