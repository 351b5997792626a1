"""How true the preparation is, against the head phantom: ``python Testing/benchmarks/bench_accuracy.py``."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from SkullGANLib.ct.anatomy import REGIONS
from SkullGANLib.ct.phantom import LABELS, HeadPhantom, PhantomHead
from SkullGANLib.prepare.cut import TOP_ROW
from SkullGANLib.prepare.run import PreparedVolume, PrepareOptions, prepare_volume
from SkullGANLib.prepare.skull import skull_mask

FINE = {"shape": (280, 480, 440), "spacing_mm": (0.5, 0.5, 0.625)}
COARSE = {"shape": (210, 280, 280), "spacing_mm": (1.0, 1.0, 1.0)}
SCANS = (
    (1, (0, 0, 0), COARSE),
    (2, (20, -20, 20), COARSE),
    (3, (-20, 20, -20), COARSE),
    (4, (20, 20, -20), COARSE),
    (5, (15, -10, 12), FINE),
    (6, (-18, 5, -10), FINE),
)
HEADINGS = (
    "seed",
    "turned by, deg",
    "voxel, mm",
    "Dice",
    "frame, deg",
    "origin, mm",
    "kept",
    "thickness",
    "SDR",
    "region",
    "side",
)


def dice(head: PhantomHead, prepared: PreparedVolume) -> float:
    """Overlap of the vault found with the true one; skull base and sinuses count for neither."""
    labels = head.labels.hu
    truth = np.isin(labels, [LABELS[n] for n in ("outer_table", "diploe", "inner_table", "suture")])
    ignored = np.isin(labels, [LABELS["skull_base"], LABELS["sinus"]])
    found = skull_mask(head.volume, prepared.skull) & ~ignored
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def places(head: PhantomHead, prepared: PreparedVolume, i: int) -> np.ndarray:
    """(16, 3) points along the outer edge of piece i in the phantom's own frame."""
    line = prepared.placements[i].points()[round(TOP_ROW) + 2, ::8].astype(float)
    return (prepared.skull.frame.to_lps(line) - head.head_to_lps[:3, 3]) @ head.head_to_lps[:3, :3]


def measure(seed: int, rotation_deg: tuple[float, float, float], scan: dict) -> tuple:
    """One row of the table."""
    phantom = HeadPhantom(seed)
    head = phantom.render(rotation_deg=rotation_deg, **scan)
    prepared = prepare_volume(head.volume, PrepareOptions())
    off = np.linalg.inv(head.head_to_lps) @ prepared.skull.frame.head_to_lps
    kept = np.flatnonzero(prepared.kept)
    points = {i: places(head, prepared, i) for i in kept}
    true_mm = np.mean([phantom.thickness_mm(p).mean() for p in points.values()])
    some = kept[::6]
    true_sdr = np.mean([phantom.sdr(points[i]).mean() for i in some])
    named = [prepared.placements[i] for i in kept]
    region = [(phantom.region(points[i]) == REGIONS.index(p.region)).mean() for i, p in zip(kept, named, strict=True)]
    side = [(phantom.side(points[i]) == p.side).mean() for i, p in zip(kept, named, strict=True)]
    return (
        seed,
        " ".join(map(str, rotation_deg)),
        "x".join(f"{s:g}" for s in scan["spacing_mm"]),
        f"{dice(head, prepared):.3f}",
        f"{np.rad2deg(Rotation.from_matrix(off[:3, :3]).magnitude()):.1f}",
        f"{np.linalg.norm(off[:3, 3]):.1f}",
        f"{len(kept)} of {len(prepared.hu)}",
        f"{np.mean(prepared.table['thickness_normal_mm'][kept]):.2f} ({true_mm:.2f})",
        f"{np.mean(prepared.table['sdr'][some]):.3f} ({true_sdr:.3f})",
        f"{(np.array(region) < 0.5).sum()} wrong",
        f"{(np.array(side) < 0.5).sum()} wrong",
    )


def main() -> None:
    """Print the table; the truth stands in brackets."""
    print("| " + " | ".join(HEADINGS) + " |")
    print("|" + "---|" * len(HEADINGS))
    for seed, rotation_deg, scan in SCANS:
        print("| " + " | ".join(map(str, measure(seed, rotation_deg, scan))) + " |", flush=True)


if __name__ == "__main__":
    main()
