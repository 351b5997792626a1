"""How well the layers of the skull are told apart: ``python Testing/benchmarks/bench_layers.py [heads]``.

Phantom heads of 1 mm voxels, seeds from 1000 on. Dice of outer table, diploe and inner table

- on the kept segments (0.45 mm), against the phantom's own formula at the centre of each pixel;
- of the phantom's label map cut to the same segments with nearest interpolation, against the same: what 1 mm voxels
  allow;
- of the head label map, against the phantom's label map; and the same where both see vault, which leaves out where
  the surfaces lie;
- of the phantom's label map rendered half a voxel aside, against itself: what 1 mm voxels allow there.
"""

from __future__ import annotations

import sys
import time

import numpy as np

FIRST_SEED, HEADS = 1000, 8
SCAN = {"shape": (200, 240, 240), "spacing_mm": (1.0, 1.0, 1.0)}
ROWS = ("segments", "truth cut to segments", "head", "head, within the vault", "truth half a voxel aside")


def dice(found: np.ndarray, truth: np.ndarray) -> list[float]:
    """Dice coefficient of each of the three layers."""
    return [2 * ((found == v) & (truth == v)).sum() / ((found == v).sum() + (truth == v).sum()) for v in (1, 2, 3)]


def exact_layers(phantom, head, prepared, kept: np.ndarray) -> np.ndarray:
    """(n, 128, 128) layers by the phantom's formula; what lies beyond a surface counts to the table next to it."""
    back = np.linalg.inv(head.head_to_lps)
    layers = np.zeros((len(kept), 128, 128), np.uint8)
    for truth, i in zip(layers, kept, strict=True):
        bone = prepared.hu[i] > 0
        points = prepared.skull.frame.to_lps(prepared.placements[i].points()[bone].astype(float))
        depth = phantom.shell.depth(*(points @ back[:3, :3].T + back[:3, 3]).T.astype(np.float32))
        foot = phantom.shell.at_foot(depth)
        inner = depth.mm > foot.thickness_mm - foot.inner_mm
        truth[bone] = np.where(depth.mm < foot.outer_mm, 1, np.where(inner, 3, 2))
    return layers


def cut_labels(labels, prepared, kept: np.ndarray) -> np.ndarray:
    """(n, 128, 128) values of a label map where the segments lie, nearest voxel."""
    cut = np.empty((len(kept), 128, 128), np.uint8)
    for part, i in zip(cut, kept, strict=True):
        index = np.rint(prepared.skull.frame.to_index(labels, prepared.placements[i].points())).astype(int)
        index = np.clip(index, 0, np.array(labels.shape) - 1)
        part[:] = labels.hu[tuple(np.moveaxis(index, -1, 0))]
    return cut


def measure(seed: int) -> tuple[dict[str, list[float]], float, float]:
    """Dice by row, segments a second, and seconds for the head label map."""
    from SkullGANLib.ct.phantom import HeadPhantom
    from SkullGANLib.prepare.layers import head_labels, segment_layers, true_head_labels
    from SkullGANLib.prepare.run import prepare_volume

    phantom = HeadPhantom(seed)
    head, aside = phantom.render(**SCAN), phantom.render(**SCAN, translation_mm=(0.5, 0.5, 0.5), noise_hu=0, blur_mm=0)
    prepared = prepare_volume(head.volume)
    kept = np.flatnonzero(prepared.kept)
    begin = time.perf_counter()
    masks = segment_layers(prepared.hu[kept])
    rate = len(kept) / (time.perf_counter() - begin)
    exact, truth = exact_layers(phantom, head, prepared, kept), true_head_labels(head)
    begin = time.perf_counter()
    labels = head_labels(head.volume, skull=prepared.skull).hu
    seconds = time.perf_counter() - begin
    both = np.isin(labels, (1, 2, 3)) & np.isin(truth.hu, (1, 2, 3))
    scores = (
        dice(masks, exact),
        dice(cut_labels(truth, prepared, kept) * (exact > 0), exact),
        dice(labels, truth.hu),
        dice(labels[both], truth.hu[both]),
        dice(true_head_labels(aside).hu, truth.hu),
    )
    return dict(zip(ROWS, scores, strict=True)), rate, seconds


def main() -> None:
    """Print mean and range over the heads for each layer."""
    heads = int(sys.argv[1]) if len(sys.argv) > 1 else HEADS
    found = [measure(FIRST_SEED + number) for number in range(heads)]
    print(f"{'Dice, mean (range) of ' + str(heads) + ' heads':<28}{'outer table':>22}{'diploe':>22}{'inner table':>22}")
    for row in ROWS:
        values = np.array([scores[row] for scores, _, _ in found])
        cells = (f"{v.mean():.3f} ({v.min():.3f}-{v.max():.3f})" for v in values.T)
        print(f"{row:<28}" + "".join(f"{cell:>22}" for cell in cells))
    print(f"{np.mean([f[1] for f in found]):.0f} segments/s; head label map {np.mean([f[2] for f in found]):.1f} s")


if __name__ == "__main__":
    main()
