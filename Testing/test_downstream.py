import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from SkullGANLib.cli.downstream import downstream as command
from SkullGANLib.errors import InputError
from SkullGANLib.evaluate import downstream, segmenter, task_classifier, task_segmenter
from SkullGANLib.evaluate.downstream import ARMS, GAINS, Settings, gain_words, try_tasks
from SkullGANLib.evaluate.downstream_plot import draw_arms
from SkullGANLib.evaluate.downstream_report import report_downstream
from SkullGANLib.evaluate.inputs import prepare_input
from SkullGANLib.evaluate.registry import Figure
from SkullGANLib.evaluate.task_classifier import classify
from SkullGANLib.evaluate.task_segmenter import overlaps, segment
from SkullGANLib.evaluate.tasks import TASKS, area, areas, layers_task, overlap
from SkullGANLib.segments.dataset import SegmentDataset

SIZE = 32
CLASSES = np.array(["CT/skull/dense", "CT/skull/spongy", "CT/skull/dünn"])
LABELS = {1: "outer table", 2: "diploe", 3: "inner table"}


def heads(n, subjects=10):
    return np.array([f"head{i % subjects:02d}" for i in range(n)])


def layered(n, seed):
    """Slabs of three layers at another height each, of three classes of brightness, with their masks."""
    generator = np.random.default_rng(seed)
    hu, masks = np.zeros((n, SIZE, SIZE), np.int16), np.zeros((n, SIZE, SIZE), np.uint8)
    for i in range(n):
        top = generator.integers(4, 12)
        for label, (first, last, value) in enumerate(((0, 3, 1500), (3, 7, 700), (7, 10, 1300)), start=1):
            masks[i, top + first : top + last] = label
            hu[i, top + first : top + last] = value
    noise = generator.normal(0, 40, hu.shape)
    brightness = np.array([1.3, 1.0, 0.7])[np.arange(n) // 10 % 3]
    return ((hu * brightness[:, None, None] + noise) * (masks > 0)).round().astype(np.int16), masks


def dataset(path, n, seed, *, kind="real", labels=LABELS, masks=None, subjects=10, **columns):
    hu, truth = layered(n, seed)
    table = {"subject": heads(n, subjects), **columns} if kind != "synthetic" else columns
    if kind == "real" and subjects > 4:
        table["split"] = np.where(np.isin(table["subject"], ["head00", "head01", "head02"]), "test", "train")
    sets = {"tissues": truth if masks is None else masks(truth)} if masks is not False else {}
    return SegmentDataset.create(path, hu, table, kind=kind, masks=sets, labels={"tissues": labels})


def classes(n):
    return CLASSES[np.arange(n) // 10 % 3]


def given(tmp_path, **synthetic):
    real = dataset(tmp_path / "real", 120, 0, **{"class": classes(120)})
    options = {"asked_class": classes(90), "kind": "synthetic"} | synthetic
    return prepare_input(real, dataset(tmp_path / "synthetic", 90, 1, **options))[0]


def test_area_of_several_classes_is_the_mean_of_each_against_all_others():
    labels = np.array([0, 0, 1, 1, 2, 2])
    scores = np.array([[9, 0, 0], [1, 5, 0], [2, 6, 0], [0, 7, 0], [0, 0, 8], [0, 0, 9]])
    found = {each: score(np.ones(6)) for each, score in areas(labels, scores).items()}
    assert found == {0: 7 / 8, 1: 1.0, 2: 1.0}
    assert area(labels, scores)(np.ones(6)) == pytest.approx((7 / 8 + 2) / 3)
    assert area(labels, scores)(np.array([1, 0, 1, 1, 0, 0])) == 1  # a class that is not drawn does not count


def test_two_classes_have_one_area_whatever_their_numbers():
    scores = np.array([0.1, 0.6, 0.4, 0.9])
    assert area(np.array([3, 3, 7, 7]), scores)(np.ones(4)) == 0.75
    both = np.stack([-scores, scores], axis=1)
    assert area(np.array([3, 3, 7, 7]), both)(np.ones(4)) == 0.75


def test_three_classes_are_learnt_and_their_log_odds_fit_together():
    hu, _ = layered(60, 0)
    labels = np.array([2.0, 5.0, 7.0])[np.arange(60) // 10 % 3]
    asked, _ = layered(30, 1)
    found = classify(hu, labels, asked, steps=60)
    assert found.shape == (30, 3)
    np.testing.assert_array_equal(found.argmax(1), np.arange(30) // 10 % 3)
    np.testing.assert_allclose((1 / (1 + np.exp(-found))).sum(1), 1, atol=1e-5)


def test_two_classes_in_the_class_column_give_the_figures_of_the_same_two_regions(tmp_path, monkeypatch):
    monkeypatch.setattr(task_classifier, "STEPS", 10)
    sets = []
    for kind, asked, n in (("real", "", 120), ("synthetic", "asked_", 90)):
        named = np.where(np.arange(n) // 10 % 3 == 0, "temporal", "parietal")
        sets.append(dataset(tmp_path / kind, n, n, kind=kind, **{f"{asked}region": named, f"{asked}class": named}))
    figures = try_tasks(prepare_input(*sets)[0], [TASKS["region"], TASKS["class"]]).figures
    for name in (*ARMS, *GAINS):
        region, same = figures[f"region_{name}"], figures[f"class_{name}"]
        assert same.value == region.value
        assert same.interval == region.interval


def test_a_class_of_which_a_set_has_too_few_segments_is_left_out_by_name(tmp_path):
    named = np.where(classes(90) == CLASSES[1], "", classes(90))
    result = try_tasks(given(tmp_path, asked_class=named), [TASKS["class"]], Settings(1, 10))
    assert "leaves out, CT/skull/spongy" in result.warnings[0]
    assert result.figures["class_real"].n == 24  # of 36
    assert set(result.figures["class_real"].detail) == {"real", "synthetic", "trainings"}
    one = try_tasks(given(tmp_path / "b", asked_class=np.full(90, CLASSES[0])), [TASKS["class"]])
    assert one.figures == {}
    assert "too few: CT/skull/dünn, CT/skull/spongy" in one.left_out[0]


def test_a_class_that_thinning_the_test_part_loses_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(downstream, "TRIED", 1)
    result = try_tasks(given(tmp_path), [TASKS["class"]], Settings(1, 10))
    assert result.figures == {}
    assert "too few: CT/skull/dünn, CT/skull/spongy" in result.left_out[0]
    monkeypatch.setattr(downstream, "TRIED", 18)
    assert try_tasks(given(tmp_path / "b"), [TASKS["class"]], Settings(1, 10)).figures["class_real"].n == 18


def test_classes_that_the_real_set_does_not_know_are_refused_by_name(tmp_path):
    named = np.where(classes(90) == CLASSES[1], "CT/foot", classes(90))
    result = try_tasks(given(tmp_path, asked_class=named), [TASKS["class"]])
    assert result.figures == {}
    assert "classes that the real training segments lack: CT/foot" in result.left_out[0]


def test_dice_is_known_and_counts_the_segments_that_show_a_label():
    truth, found = np.zeros((3, 8, 8), int), np.zeros((3, 8, 8), int)
    truth[0, :2] = found[0, 1:3] = 1  # half of each in the other
    truth[1, :4] = found[1, :4] = 2
    found[2, 0] = 2  # where there is none
    assert {label: score(np.ones(3)) for label, score in overlaps(truth, found).items()} == {1: 0.5, 2: 0.5}
    assert overlap(truth, found)(np.array([1, 1, 0])) == 0.75
    assert overlap(truth, found)(np.array([1, 0, 0])) == 0.5
    assert np.isnan(overlap(truth, found)(np.zeros(3)))


def test_layers_are_drawn_back_to_their_rows_and_every_step_is_taken(monkeypatch):
    monkeypatch.setattr(segmenter, "CHECK", 1)  # so that waiting for a better one would end most trainings
    hu, masks = layered(24, 0)
    asked, truth = layered(8, 1)
    steps = []
    found = segment(hu, masks, asked, names=LABELS, steps=40, told=lambda step, of: steps.append(step))
    assert found.shape == asked.shape
    assert steps == list(range(40))
    assert overlap(truth, found)(np.ones(8)) > 0.9
    assert task_segmenter._rows([hu, asked], 0) == slice(0, 32)
    high = np.zeros((2, 64, 64))
    high[0, 20], high[1, 30] = 900, 900
    assert task_segmenter._rows([high], 0) == slice(12, 44)  # eight around them, up to a multiple of eight


def test_synthetic_masks_as_good_as_real_ones_score_as_well(tmp_path):
    result = try_tasks(given(tmp_path), [TASKS["layers"]], Settings(1, 30))
    assert list(result.figures) == [f"layers_{name}" for name in (*ARMS, *GAINS)]
    for arm in ("real", "real_and_synthetic", "synthetic"):
        figure = result.figures[f"layers_{arm}"]
        assert figure.value > 0.93, arm
        assert (figure.n, figure.subjects) == (36, 3)
        parts = [figure.detail[f"Dice of {name}"] for name in LABELS.values()]
        assert np.mean(parts) == pytest.approx(figure.value, abs=1e-3)
    sizes = {arm: [result.figures[f"layers_{arm}"].detail[of] for of in ("real", "synthetic")] for arm in ARMS}
    assert list(sizes.values()) == [[84, 0], [8, 0], [8, 76], [84, 84], [0, 84]]


def test_masks_of_garbage_lower_the_dice_and_the_words_say_harm(tmp_path):
    def shifted(masks):
        return np.where(masks > 0, masks % 3 + 1, 0)

    result = try_tasks(given(tmp_path, masks=shifted), [layers_task()], Settings(2, 18))
    figures = result.figures
    assert figures["layers_synthetic"].value < 0.1 < 0.9 < figures["layers_real"].value
    assert figures["layers_gain_over_few"].interval[1] < 0
    assert "synthetic segments do harm here" in " ".join(result.warnings)
    assert "do harm" in gain_words(layers_task(), "gain_over_few", figures["layers_gain_over_few"])


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.01, 0.05), "synthetic segments help."),
        ((-0.05, -0.01), "do harm"),
        ((-0.01, 0.05), "the interval holds 0, so no difference is shown."),
        ((0.0004, 0.05), "(+0.000 to +0.050): the interval holds 0"),
        (None, "no interval: nothing is shown"),
    ],
)
def test_no_sentence_claims_more_than_its_interval(interval, words):
    assert words in gain_words(TASKS["class"], "gain_over_real", Figure(value=0.02, interval=interval))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"masks": False}, "masks of the same label set"),
        ({"masks": np.zeros_like}, "some label"),
        ({"masks": lambda truth: np.where(truth > 0, 9, 0).astype(np.uint8)}, "the real ones lack: label 9"),
        ({"labels": {**LABELS, 2: "fat"}}, "2 stands for diploe in the real set and for fat"),
    ],
)
def test_masks_that_do_not_fit_are_refused_in_words(tmp_path, options, words):
    result = try_tasks(given(tmp_path, **options), [layers_task()])
    assert result.figures == {}
    assert words in result.left_out[0]


def test_a_label_set_is_asked_for_by_name(tmp_path):
    real, synthetic = (dataset(tmp_path / kind, 120, 0, kind=kind) for kind in ("real", "synthetic"))
    real.add_labels("bone", (real.masks > 0).astype(np.uint8), {1: "bone"})
    with pytest.raises(InputError, match="The synthetic set has no label set bone; it has: tissues"):
        report_downstream(real, [synthetic], tmp_path / "out", [layers_task("bone")])
    synthetic.add_labels("bone", (synthetic.masks > 0).astype(np.uint8))
    task, sets = layers_task("bone"), prepare_input(real, synthetic)[0]
    assert task.title == "Segmentation of bone"
    assert task.names(sets) == {1: "bone"}
    np.testing.assert_array_equal(task.targets(sets, sets.training, sets.real), real.masks[sets.real.rows] > 0)


def test_segments_of_tested_subjects_in_the_other_set_are_left_out(tmp_path):
    parts, result = downstream._parts(given(tmp_path, kind="phantom"))
    assert len(parts.synthetic) == 63
    assert "27 synthetic segments are of subjects held out" in result.warnings[0]


def test_training_segments_that_are_all_of_tested_subjects_are_nothing_to_learn_from(tmp_path):
    sets = given(tmp_path)
    sets.training.table["subject"][:] = sets.real.subjects[0]
    parts, result = downstream._parts(sets)
    assert parts is None
    assert "all subjects of the training part are in the test part" in result.left_out[0]


def test_segments_without_a_class_are_left_out_and_counted(tmp_path):
    named = np.where(np.arange(120) % 5 == 4, "", classes(120))
    real = dataset(tmp_path / "real", 120, 0, **{"class": named})
    synthetic = dataset(tmp_path / "synthetic", 90, 1, kind="synthetic", asked_class=classes(90))
    result = try_tasks(prepare_input(real, synthetic)[0], [TASKS["class"]], Settings(1, 10))
    assert "24 real training segments have none" in " ".join(result.warnings)


def test_five_tasks_stand_in_two_rows(tmp_path):
    detail = {"real": 200, "synthetic": 200, "trainings": [0.9, 0.95]}
    figures = {
        f"{task}_{arm}": Figure(value=0.92, interval=(0.9, 0.96), detail=detail) for task in TASKS for arm in ARMS
    }
    figures["class_few"] = Figure(value=None, detail=detail)
    draw_arms(TASKS.values(), figures, ARMS, tmp_path / "five.png")
    del figures["layers_real"]
    draw_arms(TASKS.values(), figures, ARMS, tmp_path / "four.png")
    widths = {}
    for name in ("five", "four"):
        header = (tmp_path / f"{name}.png").read_bytes()[16:24]
        widths[name], height = (int.from_bytes(part, "big") for part in (header[:4], header[4:]))
        assert height > 1000
    assert widths["four"] < widths["five"] < 3000


def run(*arguments):
    return CliRunner().invoke(command, [*map(str, arguments), "--device", "cpu"])


def test_classification_is_tried_on_the_command_line_with_several_sets(tmp_path):
    dataset(tmp_path / "real", 120, 0, **{"class": classes(120)})
    for seed in (1, 2):
        dataset(tmp_path / f"s{seed}", 60, seed, kind="synthetic", asked_class=classes(60))
    sets, out = [tmp_path / name for name in ("real", "s1", "s2")], tmp_path / "out"
    result = run("classify", *sets, "--steps", 20, "--seeds", 2, "--seed", 5, "--out", out)
    assert result.exit_code == 0, result.output
    assert "Classes: AUC on 36 segments of 3 held-out subjects, 0.5 by chance" in result.output
    assert "Note: Each arm is learnt twice only" in result.output
    assert "Left out: The task 'Temporal or parietal bone' is not tried" in result.output
    found = json.loads((out / "downstream.json").read_text(encoding="utf-8"))
    assert found["seeds"] == [5, 6]
    assert {name: each["segments"] for name, each in found["sets"].items()} == {
        "real": 36, "synthetic": 60, "training": 84, "synthetic 2": 60
    }  # fmt: skip
    assert all(len(each["sha256"]) == 64 for each in found["sets"].values())
    assert found["tasks"]["class"]["arms"]["synthetic"]["detail"]["synthetic"] == 84
    rows = list(csv.DictReader((out / "downstream.csv").open(encoding="utf-8")))
    rows = [row for row in rows if row["task"] == "class"]
    assert len(rows) == (len(ARMS) + len(GAINS)) * 3
    assert [row["training"] for row in rows[:3]] == ["5", "6", "mean"]
    assert float(rows[2]["score"]) == pytest.approx(np.mean([float(row["score"]) for row in rows[:2]]), abs=1e-4)
    assert rows[2]["low"] <= rows[2]["high"]
    assert (out / "downstream.png").stat().st_size > 10_000
    again = run("classify", *sets, "--out", out)
    assert again.exit_code == 1
    assert "--overwrite" in again.output or "exists" in again.output


def test_segmentation_is_tried_on_the_command_line(tmp_path):
    dataset(tmp_path / "real", 120, 0)
    dataset(tmp_path / "s", 90, 1, kind="synthetic")
    result = run(
        "segment", tmp_path / "real", tmp_path / "s", "--steps", 12, "--seeds", 1, "--out", tmp_path / "out", "--events"
    )
    assert result.exit_code == 0, result.output
    event = next(json.loads(line[10:]) for line in result.output.splitlines() if '"result"' in line)
    assert event["result"]["table"] == str(tmp_path / "out" / "downstream.csv")
    assert "no interval: nothing is shown" in " ".join(event["result"]["findings"])
    found, real = (
        json.loads((tmp_path / "out" / "downstream.json").read_text(encoding="utf-8")),
        SegmentDataset.open(tmp_path / "real"),
    )
    assert found["label_sets"]["training"] == {"tissues": real.meta.sha256["masks.npy"]}
    assert "Segmentation of layers: Dice on 36 segments of 3 held-out subjects" in result.output


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        (("classify", "--task", "class"), {}, "needs two classes or more"),
        (("classify", "--task", "region"), {}, "temporal and parietal"),
        (("classify", "--task", "density"), {"subjects": 3}, "to hold some out takes 4"),
        (("segment", "--label-set", "bone"), {}, "has no label set bone; it has: tissues"),
        (("classify", "--device", "abacus"), {}, "no device called"),
    ],
)
def test_what_cannot_be_tried_is_refused_with_advice_and_leaves_no_folder(tmp_path, task, options, words):
    dataset(tmp_path / "real", 60, 0, **options)
    dataset(tmp_path / "s", 60, 1, kind="synthetic")
    name, *rest = task
    arguments = [name, tmp_path / "real", tmp_path / "s", "--out", tmp_path / "out", *rest]
    result = CliRunner().invoke(command, list(map(str, arguments)))
    assert result.exit_code == 1
    assert words in result.output
    assert len(result.output.strip().splitlines()) == 2
    assert not (tmp_path / "out").exists()
