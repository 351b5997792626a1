"""Asked for against measured: known agreement, and silence where nothing was asked."""

import numpy as np
import pytest

from SkullGANLib.evaluate.asked import agreement
from SkullGANLib.evaluate.report import evaluate_datasets
from SkullGANLib.segments.dataset import SegmentDataset


def bars(thickness_px, intensity=1000.0):
    """Level bars of bone from row 10 on."""
    hu = np.zeros((len(thickness_px), 128, 128), np.float32)
    for image, rows in zip(hu, thickness_px, strict=True):
        image[10 : 10 + rows] = intensity
    return hu


def test_agreement_is_correlation_error_and_bias():
    asked = np.array([1.0, 2.0, 3.0, 4.0])
    found = 2 * asked - 1
    assert agreement(asked, found, np.ones(4)) == pytest.approx([1.0, 1.5, 1.5])
    doubled = agreement(asked, found, np.array([2.0, 0.0, 0.0, 2.0]))
    assert doubled == pytest.approx([1.0, 1.5, 1.5])
    noisy = np.array([1.0, 3.0, 2.0, 4.0])
    assert agreement(asked, noisy, np.ones(4))[0] == pytest.approx(np.corrcoef(asked, noisy)[0, 1])


def test_a_set_that_was_asked_for_thickness_is_compared_with_what_it_holds(tmp_path):
    rows = np.arange(8, 28)
    table = {"asked_thickness_mm": rows * 0.45 + 0.2, "asked_region": ["parietal"] * len(rows)}
    asked = SegmentDataset.create(tmp_path / "asked", bars(rows), table, kind="synthetic", model_hash="0", seed=0)
    found = evaluate_datasets(bars(rows[::-1]), asked, tmp_path / "report", spacing_mm=0.45, metrics=["asked"])
    figures = found.metrics["asked"].figures
    assert set(figures) == {"thickness_mm_correlation", "thickness_mm_error", "thickness_mm_bias"}
    assert figures["thickness_mm_correlation"].value == pytest.approx(1, abs=1e-3)
    assert figures["thickness_mm_bias"].value == pytest.approx(-0.2, abs=0.1)
    low, high = figures["thickness_mm_bias"].interval
    assert low <= figures["thickness_mm_bias"].value <= high
    assert (tmp_path / "report" / "asked.png").stat().st_size > 5_000


def test_a_model_that_heeds_nothing_has_no_correlation_and_still_its_picture(tmp_path):
    table = {"asked_thickness_mm": np.linspace(3, 9, 12)}
    asked = SegmentDataset.create(tmp_path / "asked", bars([14] * 12), table, kind="synthetic", model_hash="0", seed=0)
    found = evaluate_datasets(bars([12, 14, 15]), asked, tmp_path / "report", spacing_mm=0.45, metrics=["asked"])
    assert found.metrics["asked"].figures["thickness_mm_correlation"].value is None
    assert (tmp_path / "report" / "asked.png").exists()


def test_a_set_of_which_nothing_was_asked_has_no_such_figures(tmp_path):
    found = evaluate_datasets(bars([9, 12, 15]), bars([10, 11, 12]), tmp_path / "report", spacing_mm=0.45)
    assert "asked" not in found.metrics
    assert not (tmp_path / "report" / "asked.png").exists()
