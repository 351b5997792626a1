"""The pictures of a report: what is drawn, and that its words can be read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_evaluate_report import bands

from SkullGANLib.evaluate import plots, registry
from SkullGANLib.evaluate.inputs import prepare_input
from SkullGANLib.evaluate.nearest import find_nearest
from SkullGANLib.evaluate.registry import Figure, MetricResult

SIX = ["real", "synthetic", "training", "control", "idealised", "unrealistic"]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that pictures save, laid out."""
    figures = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: (figure.canvas.draw(), figures.append(figure)))
    return figures


def overlaps(texts) -> list[tuple[str, str]]:
    """Pairs of texts that stand on each other, by their corners: texts may be turned."""
    boxes = []
    for text in texts:
        turned, text_angle = text.get_window_extent(), text.get_rotation()
        if text_angle:  # what it would be, lying
            text.set_rotation(0)
            height = text.get_window_extent().height
            text.set_rotation(text_angle)
            boxes.append((text.get_text(), turned.x1 - height, turned.x1))  # its end, where it would meet the next
        else:
            boxes.append((text.get_text(), turned.x0, turned.x1))
    boxes.sort(key=lambda box: box[1])
    return [(a[0], b[0]) for a, b in itertools.pairwise(boxes) if a[2] > b[1]]


def results(names, judged=("",), absolute=True) -> dict[str, MetricResult]:
    generator, found = np.random.default_rng(0), {}
    for metric in ("sdr", "thickness_mm", "intensity_hu"):
        columns = {name: {metric: generator.normal(size=50)} for name in names}
        found[metric] = MetricResult(name=metric, columns=columns, figures={"ks": Figure(value=0.1, detail={"p": 0.2})})
    columns = {name: {f"realness{way}": generator.random(50) for way in judged} for name in names}
    figures = {f"{name}_called_real{way}": Figure(value=0.5, detail={"published": 0.56}) for name in names
               for way in judged} if absolute else {}  # fmt: skip
    found["discriminator"] = MetricResult(name="discriminator", columns=columns, figures=figures)
    return found


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_the_names_of_sets_below_their_violins_do_not_run_into_each_other(drawn, tmp_path, count):
    plots.violin_picture(None, results(SIX[:count]), tmp_path)
    assert drawn[0].get_supxlabel().startswith("Dot: mean; line: median")
    for axes in drawn[0].axes:
        labels = axes.get_xticklabels()
        assert [label.get_text() for label in labels] == SIX[:count]
        assert overlaps(labels) == []
        assert min(label.get_fontsize() for label in labels) >= 13


@pytest.mark.parametrize("judged", [("",), ("", "_batchwise")])
def test_what_the_discriminator_calls_real_stands_with_the_published_share_and_the_threshold(drawn, tmp_path, judged):
    plots.discriminator_picture(None, results(SIX, judged), tmp_path)
    panels = drawn[0].axes
    assert len(panels) == len(judged)
    for axes in panels:
        assert [text.get_text() for text in axes.texts] == ["50 %\npublished\n56 %"] * 6
        assert overlaps(axes.texts) == []
        highest = max(body.get_paths()[0].vertices[:, 1].max() for body in axes.collections)
        words = axes.transData.inverted().transform(axes.texts[0].get_window_extent())
        assert words[0, 1] > highest
        assert any(set(line.get_ydata()) == {0.5} for line in axes.lines)


def test_a_relativistic_discriminator_has_no_threshold(drawn, tmp_path):
    plots.discriminator_picture(None, results(SIX[:2], absolute=False), tmp_path)
    assert len(drawn[0].axes[0].texts) == 0
    assert not any(set(line.get_ydata()) == {0.5} for line in drawn[0].axes[0].lines)
    assert "no score parts real from generated" in drawn[0].axes[0].get_title()


def test_the_closest_pairs_are_those_of_the_smallest_ratio_and_a_copy_stands_beside_what_it_copies(drawn, tmp_path):
    given, _, _ = prepare_input(bands(12, 0), bands(6, 1))
    found, rows = find_nearest(given), np.arange(6)
    distance, pairs = plots.closest_pairs(given, {}, found)
    np.testing.assert_array_equal(distance, found.mse_hu2)
    assert pairs is found

    copy = rows == 4
    columns = {"copy": copy.astype(int), "copy_ratio": np.where(copy, 0.1, 1.0 + rows), "copy_row": np.full(6, 11),
               "copy_mirrored": np.ones(6, int)}  # fmt: skip
    copies = {"memorisation": MetricResult(columns={"synthetic": columns})}
    ratio, pairs = plots.closest_pairs(given, copies, found)
    assert ratio.argmin() == 4
    assert (pairs.index[4], pairs.mirrored[4]) == (11, True)
    np.testing.assert_array_equal(pairs.index[~copy], found.index[~copy])
    plots.nearest_picture(given, copies, tmp_path)
    titles = [axes.get_title() for axes in drawn[0].axes[:2]]
    apart = given.synthetic.hu[4].astype(float) - given.training.hu[11][:, ::-1]
    assert titles == ["synthetic 4", "real 11, mirrored"]
    assert drawn[0].axes[2].get_title() == f"{np.sqrt((apart**2).mean()):.0f} HU apart, ratio 0.10"

    plots.nearest_picture(given, {}, tmp_path)
    assert drawn[1].axes[2].get_title().endswith("HU apart")  # nothing was compared with held-out segments


def test_a_group_that_the_page_does_not_know_is_refused():
    with pytest.raises(ValueError, match="is no group of the report"):
        registry.metric("x", title="X", group="fidelty")
