"""CT made from label maps: known differences give known figures, and what cannot be known is said."""

import csv
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate import conditional_report, conditional_sums
from SkullGANLib.evaluate.conditional import evaluate_conditional
from SkullGANLib.evaluate.conditional_report import choose_examples, write_conditional_report
from SkullGANLib.evaluate.conditional_sums import SubjectSums

LABELS = {1: "bone", 2: "brain", 5: "scalp"}
WINDOW = (-1000.0, 2000.0)
MEANS = np.array([-1000.0, 1200, 40, 0, 0, 20])


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch):
    """A tenth of the bootstrap draws: what is asked here does not depend on them."""
    whole = conditional_sums.figure_of
    monkeypatch.setattr(conditional_sums, "figure_of", lambda *given, **named: whole(*given, repeats=100, **named))


def heads(n=12, size=24, subjects=4, noise_hu=30.0, seed=0):
    """Real slices, masks and subjects; masks are squares in squares."""
    generator = np.random.default_rng(seed)
    masks = np.zeros((n, size, size), np.uint8)
    for mask in masks:
        top, left = generator.integers(1, 4, 2)
        for inset, value in enumerate((5, 1, 2)):
            mask[top + 2 * inset : 20 - 2 * inset, left + 2 * inset : 20 - 2 * inset] = value
    real = np.rint(MEANS[masks] + generator.normal(0, noise_hu, masks.shape))
    return real, masks, np.array([f"head-{i % subjects}" for i in range(n)])


def by_threshold(hu):
    """A segmentation that knows bone, brain and scalp by their HU."""
    return np.select([hu > 600, hu > 30, hu > -500], [1, 2, 5], 0).astype(np.uint8)


def evaluate(generated, real, masks, subjects, **more):
    return evaluate_conditional(generated, real, masks, subjects, LABELS, window_hu=WINDOW, **more)


def test_a_perfect_generation_has_no_error_and_an_infinite_signal_to_noise_ratio_that_is_left_out():
    real, masks, subjects = heads(noise_hu=3)
    found = evaluate(real.copy(), real, masks, subjects, consistent=by_threshold)
    assert found.overall["mae"].value == found.overall["bias"].value == 0
    assert found.overall["ssim"].value == pytest.approx(1)
    assert found.overall["psnr"].value is None
    assert found.overall["psnr"].n == 0
    assert any(
        "The same as the real ones within the window: 12 of 12 generated slices." in note for note in found.notes
    )
    assert found.overall["dice_gap"].value == 0
    for value in (1, 2, 5):
        figures = found.labels[value].figures
        assert figures["mae"].value == 0
        assert figures["sd_ratio"].value == pytest.approx(1)
        assert figures["dice_generated"].value == figures["dice_real"].value > 0.99
    assert found.labels[1].figures["dice_generated"].value == 1


def test_slices_that_are_not_the_same_keep_their_signal_to_noise_ratio():
    real, masks, subjects = heads()
    generated = real.clip(*WINDOW)
    generated[:4] = np.where(generated[:4] > 500, generated[:4] - 300, generated[:4] + 300)  # a tenth of the window
    found = evaluate(generated, real.clip(*WINDOW), masks, subjects)
    assert found.overall["psnr"].value == pytest.approx(20)
    assert found.overall["psnr"].n == 4


def test_an_offset_in_one_label_is_found_there_and_nowhere_else():
    real, masks, subjects = heads()
    generated = real + 50.0 * (masks == 2)
    found = evaluate(generated, real, masks, subjects)
    for value, of in found.labels.items():
        wanted = 50 if value == 2 else 0
        assert of.figures["mae"].value == of.figures["bias"].value == wanted
        assert of.figures["bias"].interval == (wanted, wanted)
        assert of.figures["sd_ratio"].value == pytest.approx(1)
    share = (masks == 2).mean()
    assert found.overall["mae"].value == found.overall["bias"].value == pytest.approx(50 * share)
    lower = evaluate(real - 50.0 * (masks == 2), real, masks, subjects).labels[2].figures
    assert (lower["mae"].value, lower["bias"].value) == (50, -50)


def test_texture_is_the_spread_within_a_slice_and_not_between_slices():
    real, masks, subjects = heads(noise_hu=20)
    generator = np.random.default_rng(1)
    levels = 300.0 * np.arange(len(real))[:, None, None]  # each slice is lighter than the one before
    generated = MEANS[masks] + levels + generator.normal(0, 5, masks.shape)
    figures = evaluate(generated, real, masks, subjects).labels[1].figures
    assert figures["sd_generated"].value == pytest.approx(5, rel=0.1)
    assert figures["sd_real"].value == pytest.approx(20, rel=0.1)
    assert figures["sd_ratio"].value == pytest.approx(0.25, rel=0.1)
    assert figures["mean_real"].value == pytest.approx(real[masks == 1].mean())


def test_similarity_is_that_of_the_window():
    real, masks, subjects = heads(n=3)
    generated = real + np.random.default_rng(2).normal(0, 100, real.shape)
    found = evaluate(generated, real, masks, subjects)
    for i in range(3):
        first, second = ((each[i].clip(*WINDOW) + 1000) / 3000 for each in (generated, real))
        wanted = structural_similarity(
            first, second, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert found.columns["ssim"][i] == pytest.approx(wanted)
        assert found.columns["psnr_db"][i] == pytest.approx(-10 * np.log10(((first - second) ** 2).mean()))
    assert found.overall["ssim"].value == pytest.approx(found.columns["ssim"].mean())
    assert found.overall["mae"].value == pytest.approx(np.abs(generated - real).mean())


def test_hu_beyond_the_window_count_in_full_and_are_told():
    real, masks, subjects = heads(noise_hu=0)
    real[masks == 1] = 3000
    found = evaluate(real.clip(*WINDOW), real, masks, subjects)
    assert found.labels[1].figures["mae"].value == 1000
    assert found.overall["psnr"].value is None
    lost = 1000 * (masks == 1).mean()
    assert any(f"by a mean of {lost:.1f} HU" in note for note in found.notes)


def test_ct_of_other_masks_is_not_consistent_while_the_ceiling_stays():
    real, masks, subjects = heads(noise_hu=3)
    generated = np.roll(real, 12, axis=2)
    found = evaluate(generated, real, masks, subjects, consistent=by_threshold)
    for value in LABELS:
        figures = found.labels[value].figures
        assert figures["dice_generated"].value < 0.5
        assert figures["dice_real"].value > 0.99
        assert figures["dice_gap"].value == pytest.approx(figures["dice_real"].value - figures["dice_generated"].value)
    mean = np.mean([found.labels[value].figures["dice_generated"].value for value in LABELS])
    assert found.overall["dice_generated"].value == pytest.approx(mean)
    assert "dice_generated" not in found.labels[0].figures


def test_a_segmentation_that_fails_on_the_real_ct_is_told_and_one_that_does_not_is_not():
    real, masks, subjects = heads(noise_hu=3)
    blind = evaluate(real, real, masks, subjects, consistent=lambda hu: np.where(hu > 600, 1, 0)).notes
    (note,) = (note for note in blind if "finds little" in note)
    assert "brain (0.00), scalp (0.00)" in note
    assert "bone" not in note
    seeing = evaluate(real, real, masks, subjects, consistent=by_threshold).notes
    assert not any("finds little" in note for note in seeing)


def test_dice_is_a_mean_over_the_subjects_that_have_the_label():
    masks = np.zeros((3, 16, 16), np.uint8)
    masks[0, :4], masks[1, :8], masks[2, :, :2] = 1, 1, 2  # the third subject has no bone
    real = MEANS[masks]
    generated = real.copy()
    generated[0] = -1000.0
    found = evaluate(generated, real, masks, np.array(["a", "b", "c"]), consistent=by_threshold)
    assert found.labels[1].figures["dice_generated"].value == 0.5
    assert found.labels[1].figures["dice_generated"].subjects == 2
    assert found.labels[1].figures["dice_real"].value == 1
    assert found.labels[2].figures["dice_generated"].interval is None  # of one subject


def test_diversity_is_the_spread_of_each_pixel_over_the_draws():
    real, masks, subjects = heads()
    spread = np.select([masks == 1, masks == 2], [100.0, 10.0], 0.0)
    draws = np.stack([real - spread, real, real + spread])  # standard deviation: spread
    found = evaluate(real + 1, real, masks, subjects, draws=draws)
    assert [found.labels[value].figures["diversity"].value for value in (0, 1, 2, 5)] == pytest.approx([0, 100, 10, 0])
    assert found.overall["diversity"].value == pytest.approx(spread.mean())
    assert found.draws == 3
    assert any("no such figure of real CTs" in note for note in found.notes)
    assert "diversity" not in evaluate(real + 1, real, masks, subjects).overall


def test_intervals_cover_the_truth_and_are_of_subjects_not_of_slices(monkeypatch):
    monkeypatch.undo()
    generator = np.random.default_rng(0)
    trials, covered, wide = 60, 0, []
    for _ in range(trials):
        of_subject = generator.normal(50, 10, 30)
        subjects = np.repeat(np.arange(30), 8)
        values = of_subject[subjects] + generator.normal(0, 1, 240)
        low, high = SubjectSums(subjects, 240, 0).ratio(values, np.ones(240)).interval
        covered += low <= 50 <= high
        wide.append(high - low)
    assert 0.85 <= covered / trials <= 1
    assert np.mean(wide) == pytest.approx(2 * 1.96 * 10 / np.sqrt(30), rel=0.15)


def test_one_subject_or_unknown_ones_leave_no_interval():
    real, masks, _ = heads()
    for subjects, words, count in (
        (np.full(12, "head"), "one subject", 1),
        (np.full(12, "unknown"), "not known", None),
        (None, "not known", None),
    ):
        found = evaluate(real + 5, real, masks, subjects, consistent=by_threshold)
        figures = [*found.overall.values(), *(f for of in found.labels.values() for f in of.figures.values())]
        assert {figure.interval for figure in figures} == {None}
        assert {figure.subjects for figure in figures} == {count}
        assert found.subjects == count
        assert any(words in note for note in found.notes)


def test_few_subjects_absent_and_rare_labels_and_empty_masks_are_told():
    real, masks, subjects = heads(n=24)
    masks[masks == 5] = 0
    masks[1:4][masks[1:4] == 2] = 5
    masks[:, 0, 0] = 0
    masks[8] = 0
    masks[7, 12, 12] = 9
    labels = {**LABELS, 9: "stone", 11: "tooth", 0: "air"}
    found = evaluate_conditional(real + 1, real, masks, subjects, labels, window_hu=WINDOW)
    told = " ".join(found.notes)
    assert "4 subjects only" in told
    assert "No slice has the label tooth (11)" in told
    assert "scalp (5) is in 3 slices only" in told
    assert "Only one subject has the label stone (9)" in told
    assert "Empty masks, which count as background alone: 1 of 24." in told
    assert "stone (9), in 1 slice: its" in told
    assert 11 not in found.labels
    assert found.labels[0].name == "air"
    assert found.labels[9].figures["mae"].interval is None
    assert found.labels[9].pixels == 1
    assert found.labels[9].figures["sd_ratio"].value is None  # one pixel has no spread
    assert "brain" not in told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"generated": np.zeros((12, 24, 25))}, "generated slices are of shape"),
        ({"real": np.zeros((11, 24, 24))}, "real slices are of shape"),
        ({"generated": np.full((12, 24, 24), np.nan)}, "not finite"),
        ({"real": np.full((12, 24, 24), np.inf)}, "not finite"),
        ({"masks": np.zeros((12, 24, 24), np.uint8)}, "no label at all"),
        ({"masks": np.full((12, 24, 24), 3, np.uint8)}, "without a name: 3"),
        ({"masks": np.ones((12, 24, 24))}, "whole numbers"),
        ({"subjects": np.array(["a"])}, "subjects for 12 slices"),
        ({"labels": {}}, "from 1 to 255"),
        ({"window_hu": (5, -5)}, "window"),
        ({"draws": np.zeros((1, 12, 24, 24))}, "no diversity"),
        ({"draws": np.zeros((3, 11, 24, 24))}, "slices of draw 1 are of shape"),
        ({"draws": np.full((2, 12, 24, 24), np.nan)}, "not finite"),
        ({"consistent": lambda hu: np.zeros((len(hu), 3, 3), int)}, "do not fit"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, words):
    real, masks, subjects = heads()
    given = {"generated": real, "real": real, "masks": masks, "subjects": subjects, "labels": LABELS}
    with pytest.raises(InputError, match=words) as caught:
        evaluate_conditional(**{**given, "window_hu": WINDOW, **change})
    assert caught.value.advice


def test_no_slices_and_slices_that_are_too_small_are_refused():
    none = np.zeros((0, 24, 24))
    with pytest.raises(InputError, match="no slices"):
        evaluate(none, none, none.astype(np.uint8), None)
    small = np.zeros((2, 8, 8))
    with pytest.raises(InputError, match="too small"):
        evaluate(small, small, np.ones((2, 8, 8), np.uint8), None)


def test_examples_go_from_the_best_to_the_worst_slice_and_over_the_subjects():
    real, masks, subjects = heads(n=20, subjects=5)
    masks[0] = 0
    found = evaluate(real + np.arange(20)[:, None, None] + 1, real, masks, subjects)
    chosen = choose_examples(found, masks)
    assert len(chosen) == len({*subjects[chosen]}) == 5
    assert (np.diff(found.columns["mae_hu"][chosen]) > 0).all()
    assert (chosen[0], chosen[-1]) == (1, 19)
    few = choose_examples(replace(found, columns={k: v[:3] for k, v in found.columns.items()}), masks[:3])
    assert few.tolist() == [1, 2]


@pytest.mark.parametrize(("shape", "n"), [((24, 24), 1), ((24, 24), 6), ((16, 64), 1), ((48, 24), 2)])
def test_the_images_of_an_example_stand_side_by_side_below_their_headings(monkeypatch, tmp_path, shape, n):
    drawn = []
    monkeypatch.setattr(conditional_report, "save_figure", lambda figure, path: drawn.append(figure))
    names = dict(enumerate(["left ventricle blood cavity", "left atrium", "a", "b", "c", "d", "pulmonary artery"], 1))
    masks = np.tile(np.arange(shape[1], dtype=np.uint8) % 8, (n, shape[0], 1))
    real = 100.0 * masks
    found = evaluate_conditional(real + 1, real, masks, np.array([f"s{i}" for i in range(n)]), names, window_hu=WINDOW)
    conditional_report.draw_examples(found, real + 1, real, masks, tmp_path / "examples.png")
    (figure,) = drawn
    figure.draw_without_rendering()
    images = [axes for axes in figure.axes if axes.images]
    assert len(images) == 4 * min(n, 5)
    boxes = [axes.get_window_extent() for axes in images]
    for i in range(0, len(boxes), 4):
        row = boxes[i : i + 4]
        assert np.ptp([box.y0 for box in row]) < 1
        assert np.ptp([box.width for box in row]) < 1
        assert all(one.x1 < other.x0 < one.x1 + 0.1 * one.width for one, other in itertools.pairwise(row))
    headings = [text.get_window_extent() for axes in images[:4] for text in axes.texts]
    assert len(headings) == 4
    assert np.ptp([box.y0 for box in headings]) < 1
    for box in [*headings, figure.legends[0].get_window_extent()]:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_the_report_holds_every_figure_and_opens_offline(tmp_path):
    real, masks, subjects = heads()
    generated = real + 7
    labels = {**LABELS, 5: "scalp <&>"}
    found = evaluate_conditional(
        generated, real, masks, subjects, labels, window_hu=WINDOW, consistent=by_threshold, draws=[real, generated]
    )
    out = write_conditional_report(found, tmp_path / "report", generated, real, masks, facts={"model": "a <b>"})
    content = json.loads((out / "conditional.json").read_text())
    assert content["overall"]["mae"]["value"] == 7
    assert [each["value"] for each in content["labels"]] == [0, 1, 2, 5]
    with (out / "conditional.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.overall) + sum(len(of.figures) for of in found.labels.values())
    (bias,) = (row for row in rows if row["label"] == "bone" and row["figure"] == "bias")
    assert (float(bias["number"]), float(bias["low"]), bias["unit"]) == (7, 7, "HU")
    with (out / "slices.csv").open() as file:
        assert [float(row["mae_hu"]) for row in csv.DictReader(file)] == [7.0] * 12
    page = (out / "report.html").read_text()
    assert "a &lt;b&gt;" in page
    assert "scalp &lt;&amp;&gt;" in page
    assert page.count("data:image/png;base64,") == 2
    assert "http://" not in page
    assert "https://" not in page
    for name in ("labels.png", "examples.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_a_report_replaces_a_report_but_no_other_folder(tmp_path):
    real, masks, subjects = heads(n=1)
    found = evaluate(real, real, masks, subjects)
    for _ in range(2):
        write_conditional_report(found, tmp_path / "report", real, real, masks)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError):
        write_conditional_report(found, tmp_path / "other", real, real, masks)
    with pytest.raises(InputError):
        write_conditional_report(found, tmp_path / "report", real, real, masks, overwrite=False)
