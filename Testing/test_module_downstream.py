"""Trials of downstream use in the module's logic: real MRML, real child processes."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from test_downstream import classes, dataset

from SkullGANLib.errors import InputError, SkullGANError
from SkullGANLib.evaluate.downstream import ARMS


@pytest.fixture
def sets(tmp_path):
    """A real set with layers and three classes, and a synthetic one."""
    real = dataset(tmp_path / "real", 120, 0, **{"class": classes(120)})
    return real, dataset(tmp_path / "made", 90, 1, kind="synthetic", asked_class=classes(90))


def test_scores_of_classes_come_into_the_scene_as_table_chart_and_picture(logic, sets, tmp_path):
    from SkullGANSlicer.scene import tableColumns

    given = {"task": "class", "seeds": 2, "steps": 20, "seed": 5, "device": "cpu"}
    found = logic.tryTask(*sets, tmp_path / "out", **given)
    assert (found["folder"] / "downstream.json").is_file()
    scores = tableColumns(found["table"])
    assert set(scores["training"]) == {"5", "6", "mean"}
    means = dict(zip(*(scores[name][scores["training"] == "mean"] for name in ("arm", "score")), strict=True))
    assert [row[:2] for row in found["rows"]] == [("Classes", title) for title in ARMS.values()]
    assert found["rows"][0][2] == f"AUC {means['real']:.3f}"
    (chart,) = found["charts"]
    bars, *ends = (chart.GetNthPlotSeriesNode(k) for k in range(chart.GetNumberOfPlotSeriesNodes()))
    drawn = tableColumns(bars.GetTableNode())
    assert drawn["AUC"].tolist() == pytest.approx([means[arm] for arm in ARMS])
    assert bars.GetPlotType() == bars.PlotTypeBar
    assert [line.GetName() for line in ends] == ["lower end of 95 %", "upper end of 95 %"]
    assert (drawn["lower end of 95 %"] <= drawn["AUC"]).all()
    assert slicer.util.arrayFromVolume(found["picture"]).size > 10_000
    assert any("learnt twice only" in warning for warning in found["warnings"])
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    assert hierarchy.GetItemByName("SkullGAN made for tasks on real")


def test_nodes_of_segments_are_segmented_by_the_label_maps_that_both_have(logic, sets):
    (real, _), (made, _) = (logic.show(each) for each in sets)
    found = logic.tryTask(real, made, task="segment", seeds=1, steps=4, device="cpu")
    assert {row[0] for row in found["rows"]} == {"Segmentation of layers"}
    assert found["rows"][0][3] == ""  # no interval of one training
    assert np.isnan(found["charts"][0].GetNthPlotSeriesNode(1).GetTableNode().GetTable().GetColumn(2).GetValue(0))
    assert "nothing is shown" in " ".join(found["findings"])


def test_what_cannot_be_tried_is_refused_in_words_before_anything_starts(logic, sets, tmp_path):
    before, bare = logic.job, dataset(tmp_path / "bare", 60, 2, kind="synthetic", masks=False)
    for synthetic, task, words in (
        ([], "all", "There is no synthetic set"),
        (sets[1], "sex", "There is no task sex"),
        (sets[1], ["segment", "class"], "tried by itself"),
        (bare, "segment", "no label maps in common"),
    ):
        with pytest.raises(InputError, match=words):
            logic.tryTask(sets[0], synthetic, task=task)
    assert logic.job is before
    with pytest.raises(SkullGANError, match="needs two classes or more"):
        logic.tryTask(dataset(tmp_path / "plain", 60, 0), bare, task="class", steps=2, device="cpu")
