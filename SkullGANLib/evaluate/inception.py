"""Frechet distance on Inception features, for those who have torchvision and its weights; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SkullGANLib.evaluate.convolutions import HIGHEST_HU, HU_PER_UNIT, as_input
from SkullGANLib.evaluate.fidelity_metrics import frechet_result
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput, MetricResult, feature, metric
from SkullGANLib.progress import report

WEIGHTS = "inception_v3_google-0cc3c7bd.pth"
SIDE = 299
BATCH = 32
NOTE = "torchvision's weights, 299 px; FIDs made with other weights or another resampling differ"


def weights_at() -> Path:
    """Where torch keeps torchvision's weights of Inception v3."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS


@metric("frechet_inception", title="Frechet distance, Inception", group="fidelity", default=False)
def frechet_inception(given: EvaluationInput) -> MetricResult:
    """The same as ``frechet`` on the 2048 features of a network that has learnt from photographs."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):  # the latter where it was built for another torch
        return MetricResult(left_out=["The Frechet distance on Inception features needs a torchvision that works."])
    if not weights_at().is_file():
        return MetricResult(
            left_out=[f"The Frechet distance on Inception features needs {WEIGHTS} in {weights_at().parent}."]
        )
    result = frechet_result(given, lambda given, of: given.feature("inception", of), {"features": NOTE}, repeats=0)
    if result.figures:
        result.left_out.append("The Frechet distance on Inception features has no interval: it would take hours.")
    return result


@feature("inception")
def inception(given: EvaluationInput, of: EvaluatedSet) -> np.ndarray:
    """(n, 2048) float32 features of the last pooling of Inception v3."""
    import torch
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, init_weights=False)
    network.load_state_dict(torch.load(weights_at(), weights_only=True))
    network.fc = torch.nn.Identity()
    network.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(of), BATCH):
            report(given.progress, start, len(of), "Describing segments with Inception")
            grey = as_input(of.hu[start : start + BATCH]) * (HU_PER_UNIT / HIGHEST_HU)
            grey = torch.nn.functional.interpolate(grey, (SIDE, SIDE), mode="bilinear", align_corners=False)
            parts.append(network(2 * grey.expand(-1, 3, -1, -1) - 1))
    return torch.cat(parts).numpy()
