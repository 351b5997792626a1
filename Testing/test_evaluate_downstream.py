import numpy as np
import pytest
from test_evaluate_report import bands, make

from SkullGANLib.evaluate import downstream, task_classifier
from SkullGANLib.evaluate.downstream import ARMS, choose_arms
from SkullGANLib.evaluate.inputs import prepare_input
from SkullGANLib.evaluate.registry import choose_metrics
from SkullGANLib.evaluate.report import evaluate_datasets
from SkullGANLib.evaluate.task_classifier import classify
from SkullGANLib.evaluate.tasks import TASKS, Task, area
from SkullGANLib.segments.dataset import SegmentDataset


def heads(n, subjects=12):
    return np.array([f"head{i % subjects:02d}" for i in range(n)])


def dataset(path, n, seed, *, kind="real", shuffled=False, split=True):
    """Bands of which every third is dark and called temporal, or called so by lot."""
    generator = np.random.default_rng(seed)
    dark = np.arange(n) // 12 % 3 == 0
    hu = bands(n, seed, size=32)
    hu[dark] = hu[dark] // 2
    named = np.where(generator.permutation(dark) if shuffled else dark, "temporal", "parietal")
    table = {"subject": heads(n), "region": named} if kind == "real" else {"asked_region": named}
    if kind == "real" and split:
        table["split"] = np.where(np.isin(heads(n), [f"head{i:02d}" for i in range(4)]), "test", "train")
    return SegmentDataset.create(path, hu, table, kind=kind)


@pytest.fixture
def short(monkeypatch):
    """Short trainings on the task of regions alone."""
    monkeypatch.setattr(task_classifier, "STEPS", 25)
    monkeypatch.setattr(downstream, "TASKS", {"region": TASKS["region"]})


def run(tmp_path, **options):
    real = dataset(tmp_path / "real", 360, 0, **options)
    options.pop("split", None)
    synthetic = dataset(tmp_path / "synthetic", 240, 1, kind="synthetic", **options)
    return downstream.downstream(prepare_input(real, synthetic)[0])


def test_arms_have_the_same_size_and_class_mix():
    real = np.r_[np.ones(60), np.zeros(140), np.full(20, np.nan)]
    synthetic = np.r_[np.zeros(500), np.ones(500)]
    arms = choose_arms(real, synthetic, heads(220, 20), np.random.default_rng(0))
    assert list(arms) == list(ARMS)
    sizes = {arm: tuple(map(len, each)) for arm, each in arms.items()}
    assert sizes["real"] == (200, 0)
    assert sizes["few"] == (20, 0)
    assert sizes["few_filled"] == (20, 180)
    assert sizes["real_and_synthetic"] == (200, 200)
    assert sizes["synthetic"] == (0, 200)
    for rows, others in arms.values():
        assert np.r_[real[rows], synthetic[others]].mean() == 0.3
        assert len(np.unique(rows)) == len(rows)
    assert set(arms["few"][0]) <= set(arms["real"][0])
    assert len(np.unique(heads(220, 20)[arms["few"][0]])) <= 4  # ten per cent of the heads, not of each


def test_a_class_that_synthetic_segments_lack_bounds_every_arm():
    real, subjects = np.r_[np.ones(100), np.zeros(100)], heads(200)
    arms = choose_arms(real, np.r_[np.ones(30), np.zeros(500)], subjects, np.random.default_rng(0))
    assert [len(rows) for rows in arms["real_and_synthetic"]] == [60, 60]
    assert choose_arms(real, np.r_[np.ones(19), np.zeros(500)], subjects, np.random.default_rng(0)) is None
    assert choose_arms(real, np.zeros(500), subjects, np.random.default_rng(0)) is None


def test_real_segments_are_the_same_beside_every_synthetic_set():
    real, subjects = np.r_[np.ones(400), np.zeros(400)], heads(800, 20)
    synthetic = (np.r_[np.ones(many), np.zeros(many)] for many in (300, 499))
    first, other = (choose_arms(real, each, subjects, np.random.default_rng(0)) for each in synthetic)
    for arm in ("real", "few"):
        np.testing.assert_array_equal(first[arm][0], other[arm][0])


def test_the_area_counts_segments_as_often_as_they_are_drawn():
    score = area(np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9]))
    assert score(np.ones(4)) == 0.75
    assert score(np.array([1, 0, 3, 1])) == 1
    assert np.isnan(score(np.array([1, 1, 0, 0])))


def test_the_same_seed_trains_the_same_network_and_the_time_it_takes_is_told(monkeypatch):
    monkeypatch.setattr(task_classifier, "STEPS", 20)
    hu, labels, told = bands(40, 0), np.arange(40) % 2, []
    first = classify(hu, labels, hu[:6], seed=3, told=lambda *step: told.append(step))
    np.testing.assert_array_equal(classify(hu, labels, hu[:6], seed=3), first)
    assert (classify(hu, labels, hu[:6], seed=4) != first).all()
    assert told == [(0, 20), (10, 20)]


def test_classes_that_differ_are_learnt_in_every_arm(tmp_path, short):
    result = run(tmp_path)
    assert list(result.figures) == [f"region_{name}" for name in (*ARMS, "gain_over_few", "gain_over_real")]
    for arm in ARMS:
        figure = result.figures[f"region_{arm}"]
        assert figure.value > 0.97, arm
        assert (figure.n, figure.subjects) == (120, 4)
        assert figure.resampled == "test subjects and trainings"
        assert len(figure.detail["trainings"]) == 3
    assert "say little" in result.warnings[0].replace("says", "say")
    assert run(tmp_path / "again").figures == result.figures


def test_labels_given_by_lot_are_learnt_in_no_arm(tmp_path, short):
    figures = run(tmp_path, shuffled=True).figures
    for arm in ARMS:
        low, high = figures[f"region_{arm}"].interval
        assert low < 0.5 < high, arm
    low, high = figures["region_gain_over_real"].interval
    assert low < 0 < high


def test_synthetic_segments_of_the_wrong_class_do_harm_and_the_report_says_so(tmp_path, short, monkeypatch):
    monkeypatch.setattr(downstream, "HARM", 0.0)
    real, synthetic = dataset(tmp_path / "real", 360, 0), dataset(tmp_path / "s", 240, 1, kind="synthetic")
    swapped = np.where(synthetic.table["asked_region"] == "temporal", "parietal", "temporal")
    given = prepare_input(real, synthetic)[0]
    given.synthetic.table["asked_region"][:] = swapped
    result = downstream.downstream(given)
    assert result.figures["region_synthetic"].value < 0.1
    assert result.figures["region_gain_over_few"].interval[1] < 0
    assert "10 % real + 90 % synthetic does worse than 10 % real" in " ".join(result.warnings)


def test_labels_come_from_the_median_of_the_training_part(tmp_path):
    real, synthetic = dataset(tmp_path / "real", 120, 0), dataset(tmp_path / "s", 60, 1, kind="synthetic")
    given = prepare_input(real, synthetic)[0]
    for name, measure in (("density", "sdr"), ("thickness", "thickness_mm")):
        threshold = np.median(given.feature("measures", given.training)[measure])
        labels = TASKS[name].targets(given, given.training, given.synthetic)
        np.testing.assert_array_equal(labels, given.feature("measures", given.synthetic)[measure] > threshold)
        assert TASKS[name].targets(given, given.training, given.training).mean() == pytest.approx(0.5, abs=0.02)


def test_subjects_are_held_out_where_the_set_is_not_split_and_the_report_says_so(tmp_path, short):
    result = run(tmp_path, split=False)
    assert "flattered" in result.warnings[0]
    assert 2 <= result.figures["region_real"].subjects <= 6


def test_training_segments_of_tested_subjects_are_left_out(tmp_path):
    real, training = dataset(tmp_path / "real", 48, 0, split=False), dataset(tmp_path / "t", 72, 2, split=False)
    given = prepare_input(real, bands(40, 1, size=32), training=training)[0]
    given.real.table["subject"][:] = "other"
    given.real.table["subject"][:24] = "head03"
    parts, result = downstream._parts(given)
    assert "6 training segments" in result.warnings[0]
    assert not np.isin(parts.training.subjects, parts.test.subjects).any()


@pytest.mark.parametrize(("subjects", "words"), [(0, "not known"), (3, "takes 4")])
def test_without_held_out_subjects_nothing_is_tried(tmp_path, subjects, words):
    given = prepare_input(make(tmp_path / "real", bands(40, 0), subjects=subjects), bands(40, 1))[0]
    result = downstream.downstream(given)
    assert result.figures == {}
    assert words in result.left_out[0]


def test_tasks_that_lack_labels_or_segments_are_left_out_in_words(tmp_path):
    real = make(tmp_path / "real", bands(40, 0), subjects=8)
    result = downstream.downstream(prepare_input(real, bands(40, 1))[0])
    assert result.figures == {}
    assert "asked_region" in result.left_out[0]
    assert "20 real and 20 synthetic" in result.left_out[1]


def test_a_task_may_ask_for_masks_and_be_scored_by_their_overlap(tmp_path, monkeypatch):
    def overlap(truth, found):
        dice = 2 * (truth & found).sum((1, 2)) / (truth.sum((1, 2)) + found.sum((1, 2)))
        return lambda weights: float(weights @ dice / weights.sum())

    bone = Task(
        "bone",
        "Bone",
        targets=lambda given, training, of: np.asarray(of.hu) > 0,
        lacking="",
        learn=lambda hu, masks, asked, **options: asked > hu[masks].min() + 400 * (len(hu) < 50),
        score=overlap,
        strata=lambda masks: np.zeros(len(masks)),
        measure="Dice",
    )
    monkeypatch.setattr(downstream, "TASKS", {"bone": bone})
    figures = run(tmp_path).figures
    assert figures["bone_real"].value == pytest.approx(1, abs=0.01)
    assert figures["bone_few"].value < 0.9
    assert figures["bone_gain_over_few"].interval[0] > 0


def test_nothing_is_trained_unless_asked_for(tmp_path, short):
    assert "downstream" not in {entry.name for entry in choose_metrics(None)}
    real, synthetic = dataset(tmp_path / "real", 360, 0), dataset(tmp_path / "s", 240, 1, kind="synthetic")
    written = evaluate_datasets(real, synthetic, tmp_path / "asked", metrics=["downstream"])
    assert list(written.metrics) == ["downstream"]
    assert (tmp_path / "asked" / "downstream.png").stat().st_size > 10_000
