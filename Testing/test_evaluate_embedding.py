import numpy as np
import pytest
from test_evaluate_report import bands, make

from SkullGANLib.errors import Cancelled
from SkullGANLib.evaluate import embedding
from SkullGANLib.evaluate.embedding import embed, nearest_places, tsne
from SkullGANLib.evaluate.inputs import prepare_input
from SkullGANLib.evaluate.report import evaluate_datasets


def apart(n, seed):
    return np.random.default_rng(seed).normal(size=(n, 2))


def given_of(tmp_path, real, synthetic, subjects=12):
    real = make(tmp_path / "real", real, subjects=subjects)
    return prepare_input(real, make(tmp_path / "synthetic", synthetic, kind="synthetic", subjects=0))[0]


def share_of_own(first, second, subjects=None):
    nearest, mixed = nearest_places(first, second, subjects)
    return (nearest >= len(first)).mean(), mixed


def test_neighbours_are_all_of_the_same_set_where_sets_lie_apart_and_by_chance_where_they_lie_mixed():
    assert share_of_own(apart(40, 0), apart(60, 1) + 100) == (1, pytest.approx(59 / 99))
    found, mixed = share_of_own(apart(500, 0), apart(500, 1))
    assert found == pytest.approx(mixed, abs=0.02)
    assert mixed == pytest.approx(499 / 999)


def test_segments_of_the_same_head_are_no_neighbours():
    heads, places = np.repeat(np.arange(20), 30), apart(20, 0).repeat(30, 0)
    assert share_of_own(apart(600, 1), places)[0] == 1  # each lies on 29 others of its head
    found, mixed = share_of_own(apart(600, 1), places, heads)
    assert found < 0.7
    assert mixed == pytest.approx(570 / 1170)


def test_heads_that_lie_apart_from_each_other_and_from_drawn_segments_do_not_count_as_mixed(tmp_path):
    two_heads = np.concatenate([bands(40, 0, brightness=2.5), bands(40, 1, brightness=0.4)])
    given = given_of(tmp_path, two_heads, bands(80, 2), subjects=0)
    given.real.table["subject"] = np.repeat(["head00", "head01"], 40)
    found = tsne(given).figures
    assert found["measures_synthetic_same_set"].value > 0.65
    assert found["pixels_synthetic_same_set"].value > 0.9


def test_a_map_parts_clusters_and_is_the_same_for_the_same_seed():
    vectors = np.random.default_rng(0).normal(size=(90, 200)).astype(np.float32)
    vectors[45:, :20] += 4
    places, kept = embed(vectors, components=10, seed=1)
    assert places.shape == (90, 2)
    assert 0.3 < kept < 0.7
    assert share_of_own(places[:45], places[45:])[0] > 0.95
    np.testing.assert_array_equal(embed(vectors, components=10, seed=1)[0], places)
    assert embed(vectors[:, :3])[1] == 1
    assert not embed(np.ones((50, 3), np.float32))[0].any()


def test_two_halves_of_one_set_are_mixed_on_both_maps(tmp_path):
    hu = bands(240, 0)
    found = tsne(given_of(tmp_path, hu[:120], hu[120:])).figures
    for which in ("measures", "pixels"):
        figure = found[f"{which}_synthetic_same_set"]
        assert figure.interval[0] < figure.detail["mixed"] < figure.interval[1]
        assert figure.n == 240
        assert figure.subjects == 12
    assert 0.5 < found["pixels_synthetic_same_set"].detail["variance_kept"] <= 1


def test_sets_that_differ_lie_apart_on_both_maps(tmp_path):
    found = tsne(given_of(tmp_path, bands(100, 0), bands(80, 1, brightness=1.6))).figures
    assert found["measures_synthetic_same_set"].interval[0] > 0.9
    assert found["pixels_synthetic_same_set"].interval[0] > 0.9


def test_only_some_of_a_large_set_stand_on_the_maps_and_only_those_have_places(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "MOST", 40)
    hu = bands(60, 0)
    hu[5] = 0  # no bone, no figures, no place
    result = tsne(given_of(tmp_path, hu, bands(50, 1)))
    for name, n in (("real", 60), ("synthetic", 50)):
        places = np.stack(list(result.columns[name].values()))
        assert places.shape == (4, n)
        assert (np.isfinite(places).sum(1) == 40).all()
    assert np.isnan(result.columns["real"]["tsne_pixels_x"][5])


def test_too_few_segments_are_on_no_map_and_the_report_says_so(tmp_path):
    given = given_of(tmp_path, bands(60, 0), bands(20, 1))
    result = tsne(given)
    assert result.figures == {}
    assert result.left_out == [
        "The synthetic set is on no t-SNE map: 20 of its segments could be measured, and it takes 30."
    ]
    given.synthetic, given.training = given.training, given.synthetic.take(np.arange(10), "training")
    assert "The training set is on no t-SNE map" in tsne(given).left_out[0]


def test_neighbours_of_few_heads_are_not_counted_and_the_report_says_so(tmp_path):
    real, training = make(tmp_path / "real", bands(60, 0)), make(tmp_path / "training", bands(60, 2), subjects=3)
    result = tsne(prepare_input(real, bands(60, 1), training=training)[0])
    assert list(result.figures) == ["measures_synthetic_same_set", "pixels_synthetic_same_set"]
    assert (
        "training set keeps to itself on the t-SNE maps is not counted: it comes from 3 subjects" in result.left_out[0]
    )


def test_the_report_shows_both_maps(tmp_path):
    real, synthetic = make(tmp_path / "real", bands(40, 0)), bands(35, 1)
    written = evaluate_datasets(real, synthetic, tmp_path / "report", metrics=["tsne"])
    assert (tmp_path / "report" / "tsne.png").stat().st_size > 10_000
    assert "50 principal components" in next(each.title for each in written.pictures if each.file == "tsne.png")
    heading = (tmp_path / "report" / "segments.csv").read_text(encoding="utf-8").splitlines()[0]
    assert heading.endswith("tsne_measures_x,tsne_measures_y,tsne_pixels_x,tsne_pixels_y")


def test_drawing_the_maps_can_be_stopped(tmp_path):
    class Stop:
        def update(self, done, total, message="", **values):
            self.message = message

        def cancelled(self):
            return self.message == "Drawing t-SNE maps"

    given = given_of(tmp_path, bands(400, 0), bands(400, 1))
    given.progress = Stop()
    with pytest.raises(Cancelled):
        tsne(given)
