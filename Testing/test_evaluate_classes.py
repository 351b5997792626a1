"""Class consistency and the fidelity of each class, on classes that anyone can tell apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from SkullGANLib.evaluate import classes as module
from SkullGANLib.evaluate import task_classifier
from SkullGANLib.evaluate.classes import class_fidelity, classes, confusion, confusion_picture, examples_picture
from SkullGANLib.evaluate.registry import EvaluatedSet, EvaluationInput

NAMES = ("ear/left", "ear/right", "nöse")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(task_classifier, "STEPS", 60)


def images(kinds, seed):
    """Bars at a height for each class."""
    rng = np.random.default_rng(seed)
    hu = rng.normal(300, 20, (len(kinds), 32, 32))
    for image, kind in zip(hu, kinds, strict=True):
        image[4 + 8 * kind : 10 + 8 * kind] += 1200
    return hu.astype(np.float32)


def a_set(name, kinds, seed, *, called=None, column="class"):
    table = {column: np.array(NAMES)[kinds if called is None else called]}
    if column == "class":
        table["subject"] = np.array([f"{name}-{k % 6}" for k in range(len(kinds))])
    return EvaluatedSet(name, images(kinds, seed), f"{name}-{seed}", table, kind="real" if seed < 9 else "synthetic")


def given(called=None, drawn=None):
    kinds = np.repeat([0, 1, 2], 15)
    shown = kinds if drawn is None else drawn
    synthetic = a_set("synthetic", shown, 9, called=kinds if called is None else called, column="asked_class")
    return EvaluationInput(a_set("real", kinds, 1), synthetic, 0.45, training=a_set("training", kinds, 2))


def test_confusion_counts_rows_of_what_they_are():
    shares = confusion(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 3)
    assert shares.tolist() == [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]]


def test_a_model_that_does_as_asked_is_as_consistent_as_real_segments():
    result = classes(given())
    assert result.figures["consistency"].value == 1
    assert result.figures["real_consistency"].value == 1
    assert result.figures["real_consistency"].subjects == 6
    assert not result.warnings


def test_a_rare_class_survives_thinning_and_the_matrix_keeps_its_order(monkeypatch):
    monkeypatch.setattr(module, "MOST", 40)
    kinds = np.array([0] * 150 + [1] * 10 + [2] * 150)
    synthetic = a_set("synthetic", kinds, 9, called=kinds, column="asked_class")
    sets = EvaluationInput(a_set("real", kinds, 1), synthetic, 0.45, training=a_set("training", kinds, 2))
    figure = classes(sets).figures["consistency"]
    assert figure.value == 1
    assert figure.n == 36  # 13, 10 and 13
    assert np.array_equal(figure.detail["confusion"], np.eye(3))


def test_a_model_that_mixes_two_classes_up_is_found_out_with_both_in_the_matrix(tmp_path):
    kinds = np.repeat([0, 1, 2], 15)
    mixed = given(drawn=np.where(kinds == 0, 1, kinds))  # what is asked to be the left ear is a right one
    result = classes(mixed)
    figure = result.figures["consistency"]
    assert figure.value == pytest.approx(2 / 3)
    assert figure.detail["confusion"][0] == [0, 1, 0]
    assert "67 %" in result.warnings[0]
    for draw in (confusion_picture, examples_picture):
        draw(mixed, {"classes": result}, tmp_path / "picture.png")
        assert min(cv2.imread(str(tmp_path / "picture.png")).shape[:2]) > 200


def test_fidelity_is_told_for_each_class_and_names_the_worst(monkeypatch):
    kinds = np.repeat([0, 1, 2], 15)
    monkeypatch.setattr("SkullGANLib.evaluate.encoder.STEPS", 10)
    result = class_fidelity(given(drawn=np.where(kinds == 2, 0, kinds)))
    distances = {name: result.figures[f"distance_{name}"].value for name in NAMES}
    assert max(distances, key=distances.get) == "nöse"
    assert result.figures["worst_distance"].detail["class"] == "nöse"
    assert result.figures["distance_ear/left"].detail["recall"] > 0.3
    assert result.figures["worst_distance"].detail["recall"] == 0


def test_sets_without_classes_have_no_figures_and_too_few_are_named():
    plain = EvaluatedSet("synthetic", images([0, 1], 9), "x", {}, kind="synthetic")
    nothing = classes(EvaluationInput(a_set("real", np.array([0, 1]), 1), plain, 0.45))
    assert not nothing.figures
    assert "the synthetic set has no classes, in the column asked_class" in nothing.left_out[0]
    real = EvaluatedSet("real", images([0, 1], 1), "y", {}, kind="real")
    assert not classes(EvaluationInput(real, plain, 0.45)).left_out
    other = a_set("synthetic", np.array([2, 2]), 9)
    said = classes(EvaluationInput(a_set("real", np.array([0, 1]), 1), other, 0.45)).left_out[0]
    assert "real ones are ear/left, ear/right, synthetic ones nöse" in said
    few = classes(EvaluationInput(a_set("real", np.array([0, 1]), 1), a_set("synthetic", np.array([0, 1]), 9), 0.45))
    assert "two classes" in few.left_out[0]
