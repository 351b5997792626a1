import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from SkullGANLib.errors import InputError
from SkullGANLib.evaluate.closest import Prepared, find_closest
from SkullGANLib.evaluate.copies import COPY_RATIO, LEAST_YARDSTICK_HU, make_yardstick
from SkullGANLib.evaluate.inputs import prepare_input
from SkullGANLib.evaluate.memorisation import find_copies, memorisation, share_flagged
from SkullGANLib.evaluate.registry import EvaluatedSet
from SkullGANLib.evaluate.report import evaluate_datasets
from SkullGANLib.evaluate.sift import Points, matches
from SkullGANLib.segments.dataset import SegmentDataset


def heads(subjects, each, seed, size=64):
    """(N, size, size) int16 HU and (N,) subjects: bone with texture; slices of one head are alike, not the same."""
    generator = np.random.default_rng(seed)
    row, column = np.mgrid[:size, :size]
    images, names = [], []
    for subject in range(subjects):
        thickness, trough, bend = generator.uniform(9, 16), generator.uniform(0.4, 0.9), generator.uniform(0.002, 0.006)
        table = generator.uniform(1300, 1700)
        texture = gaussian_filter(generator.normal(0, 700, (each, size, size)), (0.7, 1, 1))
        for piece in range(each):
            tilt = generator.normal(0, 0.05)
            top = 8 + bend * (column - size / 2) ** 2 + tilt * (column - size / 2)
            depth = (row - top) / (thickness + 0.2 * piece)
            image = np.where((depth > 0.25) & (depth < 0.75), table * trough + texture[piece], table)
            images.append(gaussian_filter(np.where((depth >= 0) & (depth < 1), image, 0), 0.7))
            names.append(f"head{seed}{subject:02d}")
    return np.round(images).astype(np.int16), np.array(names)


def as_set(name, hu, subjects=None, kind="real"):
    table = {} if subjects is None else {"subject": subjects}
    return EvaluatedSet(name, hu, f"{name}-{len(hu)}", table, kind=kind)


def given_of(tmp_path, hu, subjects, synthetic, *, split=True):
    table = {"subject": subjects, "split": np.where(subjects < "head1", "train", "test") if split else [""] * len(hu)}
    real = SegmentDataset.create(tmp_path / "real", hu, table, kind="real")
    return prepare_input(real, synthetic)[0]


TRAINING, HELD_OUT = heads(10, 6, 0), heads(6, 6, 1)
ANGLES = np.deg2rad(np.arange(0, 360, 45))
PLANTED = {"plain": lambda hu: hu, "noised": lambda hu: hu + np.random.default_rng(5).normal(0, 20, hu.shape)}
PLANTED |= {
    f"shifted {angle:.0f}": lambda hu, a=angle: shift(hu, (0, *(2 * np.round([np.sin(a), np.cos(a)], 3))), order=1)
    for angle in ANGLES
}
PLANTED |= {"rolled": lambda hu: np.roll(hu, (2, -2), (1, 2)), "up": lambda hu: np.roll(hu, -2, 1)}
MIRRORED = {"mirrored": lambda hu: hu[:, :, ::-1], "as it is": lambda hu: hu}


@pytest.fixture(scope="module")
def yardstick():
    training = as_set("training", *TRAINING)
    prepared = Prepared(training.hu)
    return prepared, make_yardstick(training, prepared, as_set("real", *HELD_OUT))


@pytest.mark.parametrize("mirror", MIRRORED)
@pytest.mark.parametrize("how", PLANTED)
def test_a_copy_is_flagged_however_it_is_shifted_mirrored_or_noised(yardstick, how, mirror):
    prepared, stick = yardstick
    source = np.arange(0, 60, 5)
    copies = Prepared(np.ascontiguousarray(MIRRORED[mirror](PLANTED[how](TRAINING[0][source].astype(np.float32)))))
    found = find_closest(copies, prepared)
    np.testing.assert_array_equal(found.index, source)
    assert (found.mirrored == (mirror == "mirrored")).all()
    assert (found.distance_hu / stick.at(copies) < COPY_RATIO).all()


def test_all_at_once_is_still_a_copy(yardstick):
    prepared, stick = yardstick
    hu = np.roll(TRAINING[0][::7, :, ::-1].astype(np.float32), (-1, 2), (1, 2))
    hu += np.random.default_rng(5).normal(0, 20, hu.shape)
    copies = Prepared(np.ascontiguousarray(hu))
    assert (find_closest(copies, prepared).distance_hu / stick.at(copies) < COPY_RATIO).all()


def test_segments_of_other_heads_are_not_flagged(yardstick):
    prepared, stick = yardstick
    others = Prepared(heads(20, 5, 2)[0])
    ratio = find_closest(others, prepared).distance_hu / stick.at(others)
    assert (ratio < COPY_RATIO).mean() <= 0.01
    assert 0.7 < np.median(ratio) < 1.5


def test_the_distance_of_a_plain_copy_is_0_and_of_a_noised_one_its_blurred_noise():
    hu = TRAINING[0][:8].astype(np.float32)
    noised = hu + np.where(hu > 0, np.random.default_rng(1).normal(0, 20, hu.shape), 0).astype(np.float32)
    prepared = Prepared(hu)
    np.testing.assert_allclose(find_closest(prepared, prepared).distance_hu, 0, atol=1e-3)
    expected = 20 / np.sqrt(4 * np.pi)  # white noise after a Gaussian of 1 pixel
    np.testing.assert_allclose(find_closest(Prepared(noised), prepared).distance_hu, expected, atol=1.5)


def test_pairs_that_are_not_allowed_are_not_compared():
    prepared = Prepared(TRAINING[0][:6])
    found = find_closest(prepared, prepared, allowed=lambda rows: rows[:, None] != np.arange(6))
    assert (found.index != np.arange(6)).all()
    assert (found.distance_hu > 0).all()
    nothing = find_closest(prepared, prepared, allowed=lambda rows: np.zeros((len(rows), 6), bool))
    assert (nothing.index == -1).all()
    assert np.isinf(nothing.distance_hu).all()


def test_a_segment_without_bone_is_no_copy_of_one_without_bone():
    empty = Prepared(np.zeros((2, 64, 64), np.int16))
    assert np.isinf(find_closest(empty, empty).distance_hu).all()


def test_segments_too_small_to_tell_are_refused_in_words():
    with pytest.raises(InputError, match="32x32 pixels hold too little detail"):
        Prepared(np.zeros((3, 32, 32), np.int16))


def test_a_head_that_stands_on_both_sides_under_two_names_does_not_spoil_the_yardstick():
    training = as_set("training", *TRAINING)
    hu, names = np.concatenate([HELD_OUT[0], TRAINING[0][:6]]), np.append(HELD_OUT[1], ["another name"] * 6)
    stick = make_yardstick(training, Prepared(training.hu), as_set("real", hu, names))
    assert (stick.closest.distance_hu[-6:] < 1).all()
    assert (stick.at(Prepared(TRAINING[0][:6])) > 1.2 * LEAST_YARDSTICK_HU).all()


def test_the_share_that_is_flagged_has_an_exact_interval_also_where_it_is_none():
    none = share_flagged(np.zeros(100, bool))
    assert none.value == 0
    assert none.interval == pytest.approx((0, 0.0362), abs=1e-4)  # 1 - 0.025^(1/100)
    some = share_flagged(np.arange(100) < 10)
    assert some.value == pytest.approx(0.1)
    assert some.interval == pytest.approx((0.0490, 0.1762), abs=1e-4)


def test_planted_copies_are_warned_of_counted_and_marked(tmp_path):
    synthetic = heads(20, 1, 3)[0].astype(np.float32)
    synthetic[4], synthetic[11] = TRAINING[0][9], np.roll(TRAINING[0][30][:, ::-1], 2, 1)
    hu, subjects = (np.concatenate(parts) for parts in zip(TRAINING, HELD_OUT, strict=True))
    given = given_of(tmp_path, hu, subjects, synthetic)
    found = memorisation(given)
    assert found.figures["copies"].value == pytest.approx(0.1)
    assert found.figures["copies"].detail["yardstick"] == "held-out subjects"
    assert found.figures["held_out_copies"].value == 0
    assert found.figures["ratio"].interval is not None
    columns = found.columns["synthetic"]
    assert np.flatnonzero(columns["copy"]).tolist() == [4, 11]
    assert (columns["copy_row"][4], columns["copy_row"][11]) == (9, 30)
    assert (columns["copy_mirrored"][4], columns["copy_mirrored"][11]) == (0, 1)
    assert columns["copy_ratio"][4] < 0.05
    assert found.warnings[0].startswith("Memorised: 2 of 20 synthetic segments are copies")
    assert "rows 4, 11" in found.warnings[0]
    assert find_copies(given) is find_copies(given)


def test_a_copy_shares_most_of_its_points_of_detail_and_another_head_few(tmp_path):
    synthetic = heads(10, 1, 3, size=128)[0].astype(np.float32)
    (hu, subjects), (held_out, others) = heads(5, 4, 0, size=128), heads(4, 4, 1, size=128)
    synthetic[3] = hu[7]
    given = given_of(tmp_path, np.concatenate([hu, held_out]), np.append(subjects, others), synthetic)
    found = memorisation(given)
    shared, points = (found.columns["synthetic"][name] for name in ("sift_matches", "sift_points"))
    assert shared[3] > 0.8 * points[3] > 10
    assert shared[3] == found.figures["sift_largest"].value > 2 * found.figures["held_out_sift_largest"].value
    assert np.isfinite(found.columns["real"]["sift_matches"]).all()


def test_points_of_an_image_match_themselves_and_nothing_matches_an_empty_one():
    points = Points(np.stack([heads(1, 1, 4, size=128)[0][0], np.zeros((128, 128), np.int16)]))
    assert matches(points.of(0), points.of(0)) >= 0.9 * len(points.of(0))
    assert matches(points.of(0), points.of(1)) == matches(points.of(1), points.of(0)) == 0


def test_many_points_that_fall_to_one_count_once():
    few = np.eye(2, 128, dtype=np.float32)
    many = np.repeat(few[:1], 30, axis=0) + np.random.default_rng(0).normal(0, 0.01, (30, 128)).astype(np.float32)
    assert matches(many, few) == 1


def test_without_a_held_out_part_the_other_subjects_are_the_yardstick(tmp_path):
    synthetic = heads(10, 1, 3)[0].astype(np.float32)
    synthetic[0] = TRAINING[0][3]
    found = memorisation(given_of(tmp_path, *TRAINING, synthetic, split=False))
    assert found.figures["copies"].detail["yardstick"] == "other subjects"
    assert found.columns["synthetic"]["copy"].tolist() == [1] + [0] * 9
    assert found.left_out == []


@pytest.mark.parametrize("subjects", [2, 10])
def test_copies_by_the_measure_of_few_subjects_are_called_so_with_caution(tmp_path, subjects):
    synthetic, n = heads(10, 1, 3)[0].astype(np.float32), 6 * subjects
    synthetic[0] = TRAINING[0][3]
    found = memorisation(given_of(tmp_path, TRAINING[0][:n], TRAINING[1][:n], synthetic, split=False))
    assert found.columns["synthetic"]["copy"][0] == 1
    assert found.warnings[0].startswith("Memorised:")
    assert ("measured on 2 subjects only" in " ".join(found.warnings)) == (subjects == 2)


@pytest.mark.parametrize(("names", "why"), [("one", "of a single subject"), ("unknown", "are not known")])
def test_without_other_subjects_the_ratio_is_left_out_in_words_and_plain_copies_are_still_found(tmp_path, names, why):
    synthetic = heads(10, 1, 3)[0].astype(np.float32)
    synthetic[0] = TRAINING[0][3]
    found = memorisation(given_of(tmp_path, TRAINING[0], np.full(60, names), synthetic, split=False))
    assert "ratio" not in found.figures
    assert why in found.left_out[0]
    assert found.columns["synthetic"]["copy"].tolist() == [1] + [0] * 9


def test_segments_without_bone_spoil_no_figure(tmp_path):
    (hu, subjects), synthetic = (part.copy() for part in TRAINING), heads(20, 1, 3)[0].astype(np.float32)
    hu[::5], synthetic[:12] = 0, 0
    both = np.concatenate([hu, HELD_OUT[0]]), np.append(subjects, HELD_OUT[1])
    found = memorisation(given_of(tmp_path, *both, synthetic))
    assert found.figures["copies"].n == 20
    assert found.figures["ratio"].n == found.figures["distance"].n == 8
    for name, figure in found.figures.items():
        assert figure.value is not None, name
        assert np.isfinite(figure.value), name


def test_small_segments_leave_the_metric_out_in_words(tmp_path):
    hu, subjects = heads(4, 3, 0, size=32)
    found = memorisation(given_of(tmp_path, hu, subjects, hu.astype(np.float32), split=False))
    assert found.figures == {}
    assert "too little detail" in found.left_out[0]


def test_the_report_names_copies_in_the_table_of_segments(tmp_path):
    synthetic = heads(20, 1, 3)[0]
    synthetic[4] = TRAINING[0][9]
    table = {"subject": TRAINING[1]}
    real = SegmentDataset.create(tmp_path / "real", TRAINING[0], table, kind="real")
    evaluate_datasets(real, synthetic, tmp_path / "report", metrics=["memorisation", "nearest"])
    lines = (tmp_path / "report" / "segments.csv").read_text(encoding="utf-8").splitlines()
    names, row = lines[0].split(","), lines[1 + 60 + 4].split(",")
    values = dict(zip(names, row, strict=True))
    assert (values["copy"], values["copy_row"], values["nearest_row"]) == ("1", "9", "9")
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert metrics["memorisation"]["figures"]["copies"]["detail"]["flagged"] == 1


@pytest.mark.slow
def test_of_two_head_phantoms_one_is_no_copy_of_the_other_and_planted_copies_are(upright, filled):
    hu = [np.asarray(each.prepared.hu[each.prepared.kept], np.float32) for each in (upright, filled)]
    training = as_set("training", hu[0], np.full(len(hu[0]), "a"))
    prepared = Prepared(hu[0])
    stick = make_yardstick(training, prepared, as_set("real", hu[1], np.full(len(hu[1]), "b")))
    assert (stick.closest.distance_hu / stick.at(stick.looks) < COPY_RATIO).mean() <= 0.01
    for how in PLANTED.values():
        for mirror in MIRRORED.values():
            copies = Prepared(np.ascontiguousarray(mirror(how(hu[0][::20]))))
            assert (find_closest(copies, prepared).distance_hu / stick.at(copies) < COPY_RATIO).all()
