import csv
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from SkullGANLib.cli.evaluate import evaluate
from SkullGANLib.errors import Cancelled, FormatError, InputError
from SkullGANLib.evaluate import registry
from SkullGANLib.evaluate.checks import check_split
from SkullGANLib.evaluate.inputs import prepare_input
from SkullGANLib.evaluate.plots import histograms
from SkullGANLib.evaluate.report import evaluate_datasets, read_report
from SkullGANLib.segments.dataset import SegmentDataset

FILES = {
    "metrics.json",
    "summary.csv",
    "segments.csv",
    "distributions.csv",
    "violin.png",
    "nearest.png",
    "montage.png",
    "report.html",
}


def bands(n, seed, size=48, brightness=1.0):
    """Bowed bands of two tables and a diploe, each with its own thickness, density and tilt."""
    generator = np.random.default_rng(seed)
    row, column = np.mgrid[:size, :size]
    images = np.zeros((n, size, size))
    for image in images:
        thickness, trough = generator.uniform(8, 14), generator.uniform(0.4, 0.9)
        top = 6 + 0.005 * (column - size / 2) ** 2 + generator.normal(0, 0.02) * (column - size / 2)
        depth = (row - top) / thickness
        table = 1500 * brightness + generator.normal(0, 100)
        image[(depth >= 0) & (depth < 1)] = table * trough
        image[((depth >= 0) & (depth < 0.3)) | ((depth >= 0.7) & (depth < 1))] = table
    return images.round().astype(np.int16)


def make(path, hu, *, kind="real", subjects=12, spacing_mm=0.45):
    names = np.array([f"head{i % subjects:02d}" for i in range(len(hu))]) if subjects else None
    table = {"subject": names} if subjects else None
    return SegmentDataset.create(path, hu, table, kind=kind, spacing_mm=spacing_mm, overwrite=True)


@pytest.fixture
def real(tmp_path):
    return make(tmp_path / "real", bands(60, 0))


@pytest.fixture
def synthetic(tmp_path):
    return make(tmp_path / "synthetic", bands(45, 1).astype(np.float32), kind="synthetic", subjects=0)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The real set, the report folder and the report, made once for the tests that only read them."""
    folder = tmp_path_factory.mktemp("evaluated")
    real = make(folder / "real", bands(60, 0))
    synthetic = make(folder / "synthetic", bands(45, 1).astype(np.float32), kind="synthetic", subjects=0)
    return real, folder / "report", evaluate_datasets(real, synthetic, folder / "report", seed=3)


def test_a_report_is_a_whole_folder_that_reads_back(evaluated):
    real, folder, written = evaluated
    assert {path.name for path in folder.iterdir()} == FILES | {each.file for each in written.pictures}
    again = read_report(folder)
    assert again.model_dump() == written.model_dump()
    assert (again.format, again.version, again.seed) == ("skullgan-report", 1, 3)
    assert again.real.sha256 == real.fingerprint
    assert (again.real.segments, again.real.subjects, again.synthetic.subjects) == (60, 12, None)


def test_every_figure_says_its_number_seed_and_what_was_resampled(evaluated):
    metrics = json.loads((evaluated[1] / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert list(metrics)[:3] == ["sdr", "thickness_mm", "intensity_hu"]
    for name in list(metrics)[:3]:
        figures = metrics[name]["figures"]
        assert all(figure["seed"] == 3 for figure in figures.values())
        assert figures["real_mean"]["n"] == 60
        assert figures["real_mean"]["subjects"] == 12
        assert figures["real_mean"]["resampled"] == "subjects"
        assert figures["synthetic_mean"]["resampled"] == "segments"
        assert figures["ks"]["resampled"] == "real subjects, synthetic segments"
        low, high = figures["real_mean"]["interval"]
        assert low < figures["real_mean"]["value"] < high


def test_the_tables_hold_every_figure_and_every_segment(evaluated):
    _, folder, written = evaluated
    with open(folder / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(result.figures) for result in written.metrics.values())
    by_name = {(row["metric"], row["figure"]): row for row in rows}
    assert float(by_name["sdr", "ks"]["p"]) == written.metrics["sdr"].figures["ks"].detail["p"]
    with open(folder / "segments.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["set"] for row in rows] == ["real"] * 60 + ["synthetic"] * 45
    assert rows[13]["subject"] == "head01"
    mean = np.mean([float(row["thickness_mm"]) for row in rows[:60]])
    assert mean == pytest.approx(written.metrics["thickness_mm"].figures["real_mean"].value)
    assert rows[0]["nearest_row"] == ""
    assert 0 <= int(rows[60]["nearest_row"]) < 60


def test_the_histograms_of_both_sets_lie_on_common_bins(evaluated):
    with open(evaluated[1] / "distributions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["figure", "unit", "center", "real", "synthetic"]
    figures = list(dict.fromkeys(row["figure"] for row in rows))
    assert figures[:3] == ["sdr", "thickness_mm", "intensity_hu"]
    assert "curvature_per_m" in figures
    metrics = evaluated[2].metrics
    for name in figures:
        of = [row for row in rows if row["figure"] == name]
        assert {row["unit"] for row in of} == {metrics[name].unit}
        center = np.array([float(row["center"]) for row in of])
        width = np.diff(center)
        np.testing.assert_allclose(width, width[0])
        for each in ("real", "synthetic"):
            share = np.array([float(row[each]) for row in of]) * width[0]
            assert 0.95 <= share.sum() <= 1 + 1e-9
            mean = metrics[name].figures[f"{each}_mean"].value
            assert (share * center).sum() / share.sum() == pytest.approx(mean, abs=2 * width[0])


def test_histograms_count_what_was_measured():
    values = {"real": np.r_[np.arange(100.0), np.nan], "synthetic": np.full(10, 50.0)}
    columns = {each: {"thickness_mm": found} for each, found in values.items()}
    table = histograms({"thickness_mm": registry.MetricResult(name="thickness_mm", unit="mm", columns=columns)})
    width = table["center"][1] - table["center"][0]
    assert width == pytest.approx(98.01 / 40)
    np.testing.assert_allclose(table["real"].sum() * width, 0.98)
    assert table["synthetic"].max() * width == pytest.approx(1)
    assert table["center"][table["synthetic"].argmax()] == pytest.approx(50, abs=width / 2)
    same = {each: {"sdr": np.full(3, 0.5)} for each in values}
    table = histograms({"sdr": registry.MetricResult(name="sdr", columns=same)})
    np.testing.assert_allclose(table["center"].mean(), 0.5)
    assert histograms({})["figure"].size == 0


def test_the_page_needs_no_other_file_and_no_network(evaluated):
    page = (evaluated[1] / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(evaluated[2].pictures) >= 3
    rest = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?:|<script|<link|url\(|src=\"[^\"]", rest)
    assert "Skull density ratio" in page


def test_the_same_seed_writes_the_same_bytes(evaluated, synthetic, tmp_path):
    evaluate_datasets(evaluated[0], synthetic, tmp_path / "again", seed=3)
    for file in FILES - {"metrics.json", "report.html"}:
        assert (evaluated[1] / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file
    reports = [
        re.sub(r'"seconds": [\d.e-]+', "", (f / "metrics.json").read_text(encoding="utf-8"))
        for f in (evaluated[1], tmp_path / "again")
    ]
    assert reports[0] == reports[1]


def test_a_planted_mirrored_copy_is_found_and_warned_of(real, tmp_path):
    hu = bands(45, 1)
    hu[17] = real.hu[33][:, ::-1]
    synthetic = make(tmp_path / "synthetic", hu, kind="synthetic", subjects=0)
    written = evaluate_datasets(real, synthetic, tmp_path / "report", metrics=["nearest"])
    smallest = written.metrics["nearest"].figures["smallest"]
    assert smallest.value == 0
    assert smallest.detail == {"synthetic_row": 17, "real_row": 33}
    assert any(warning.startswith("1 of 45 synthetic segments differ") for warning in written.warnings)
    assert {path.name for path in (tmp_path / "report").iterdir()} == FILES - {"violin.png"}


def test_the_test_part_is_compared_and_copies_are_looked_for_in_the_training_part(real, synthetic, tmp_path):
    real.split(by="subject", seed=1)
    given, warnings, _ = prepare_input(real, synthetic, split="test")
    assert set(given.real.table["split"]) == {"test"}
    assert set(given.training.table["split"]) == {"train"}
    assert len(given.real) + len(given.training) == 60
    assert warnings == []
    written = evaluate_datasets(real, synthetic, tmp_path / "report", split="test", metrics=["sdr", "nearest"])
    assert written.real.split == "test"
    part = real.table["split"]
    with open(tmp_path / "report" / "segments.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(part[int(row["row"])] == "test" for row in rows if row["set"] == "real")
    assert all(part[int(row["nearest_row"])] == "train" for row in rows if row["set"] == "synthetic")


def warnings_of(real, synthetic, tmp_path, **options):
    return " ".join(evaluate_datasets(real, synthetic, tmp_path / "w", metrics=["sdr"], **options).warnings)


def test_small_or_leaking_sets_are_warned_of_in_words(real, synthetic, tmp_path):
    few = make(tmp_path / "few", bands(20, 0), subjects=3)
    assert "3 subjects only" in warnings_of(few, synthetic, tmp_path)
    one = make(tmp_path / "one", bands(20, 0), subjects=1)
    assert "one subject: there is no interval" in warnings_of(one, synthetic, tmp_path, overwrite=True)
    nobody = make(tmp_path / "nobody", bands(20, 0), subjects=0)
    assert "subjects of the real set are not known" in warnings_of(nobody, synthetic, tmp_path, overwrite=True)
    assert "20 segments only" in warnings_of(nobody, synthetic, tmp_path, overwrite=True)
    assert "12 subjects stand in both sets" in warnings_of(
        real, make(tmp_path / "other", bands(40, 5)), tmp_path, overwrite=True
    )
    assert "Both sets are the same" in warnings_of(real, real, tmp_path, overwrite=True)


def test_splits_that_flatter_are_warned_of(real, synthetic, tmp_path):
    real.split(by="paper")
    found = warnings_of(real, synthetic, tmp_path, split="train")
    assert "is the training part" in found
    assert "Subject leak: 12 subjects" in found
    assert "holds the training part too" in warnings_of(real, synthetic, tmp_path, split="all", overwrite=True)
    assert check_split(np.array(["a", "a", "b"]), np.array(["train", "train", "test"])) == []


def test_odd_segments_are_counted_in_words(real, tmp_path):
    hu = bands(40, 1)
    hu[3], hu[4] = 0, 1500
    hu[5, :, :24] = 0
    found = warnings_of(real, make(tmp_path / "odd", hu, kind="synthetic", subjects=0), tmp_path)
    assert "1 of 40 synthetic segments hold no bone" in found
    assert "cuts bone off" not in found
    assert "1 of 40 synthetic segments do not span the width" in found
    assert "1 of 40 synthetic segments touch the top or bottom" in found


def test_values_cut_off_by_a_window_are_warned_of(real, tmp_path):
    loud = make(tmp_path / "loud", bands(40, 1).astype(np.float32) * 1000, kind="synthetic", subjects=0)
    assert "and no bone does: are these values HU?" in warnings_of(real, loud, tmp_path / "loud-report")
    cut = make(tmp_path / "cut", np.minimum(bands(40, 1), 1400), kind="synthetic", subjects=0)
    assert "of the synthetic set sit at its largest value, 1400 HU" in warnings_of(real, cut, tmp_path)


@pytest.mark.parametrize(
    ("synthetic", "options", "words"),
    [
        (np.zeros((0, 48, 48)), {}, "at least one"),
        (np.zeros((48, 48)), {}, "at least one"),
        (bands(5, 0, size=64), {}, "48x48 pixels, the synthetic ones 64x64"),
        (np.zeros((5, 48, 48)), {}, "0 of 5 synthetic segments"),
        (np.full((5, 48, 48), np.nan), {}, "synthetic set: 11520 pixels are not finite"),
        (bands(5, 0), {"spacing_mm": 0.6}, "spacings differ"),
        (bands(5, 0), {"spacing_mm": 0.0}, "No pixel is 0 mm wide"),
        (bands(5, 0), {"spacing_mm": float("nan")}, "No pixel is nan mm wide"),
        (bands(5, 0), {"split": "test"}, "no part 'test'"),
        (bands(5, 0), {"metrics": ["sdrr"]}, "nearest is 'sdr'"),
    ],
)
def test_sets_that_cannot_be_compared_leave_no_report(real, tmp_path, synthetic, options, words):
    with pytest.raises(InputError) as caught:
        evaluate_datasets(real, synthetic, tmp_path / "report", **options)
    assert words in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_data_sets_of_different_spacing_are_refused(real, tmp_path):
    other = make(tmp_path / "coarse", bands(20, 1), kind="synthetic", spacing_mm=0.6)
    with pytest.raises(InputError, match=r"real 0.45 mm, synthetic 0.6 mm"):
        evaluate_datasets(real, other, tmp_path / "report")


def test_a_report_is_replaced_only_when_asked_and_other_folders_never(real, synthetic, tmp_path):
    evaluate_datasets(real, synthetic, tmp_path / "report", metrics=["sdr"])
    with pytest.raises(InputError, match="exists already"):
        evaluate_datasets(real, synthetic, tmp_path / "report", metrics=["sdr"])
    evaluate_datasets(real, synthetic, tmp_path / "report", metrics=["sdr"], overwrite=True)
    with pytest.raises(InputError, match="holds other files"):
        evaluate_datasets(real, synthetic, tmp_path / "real", metrics=["sdr"], overwrite=True)


def test_a_newer_or_foreign_report_is_refused(tmp_path):
    for content, words in (
        ({"format": "skullgan-report", "version": 99}, "version 99"),
        ([], "not of a SkullGAN report"),
    ):
        (tmp_path / "metrics.json").write_text(json.dumps(content))
        with pytest.raises(FormatError, match=words):
            read_report(tmp_path)


def test_a_new_metric_shares_the_measurements_and_stands_in_the_report(real, synthetic, tmp_path, monkeypatch):
    registry.load_metrics()
    monkeypatch.setattr(registry, "METRICS", dict(registry.METRICS))
    measured = []
    known = registry.FEATURES["measures"]

    def counted(given, of):
        measured.append(of.name)
        return known.function(given, of)

    monkeypatch.setitem(registry.FEATURES, "measures", registry.Registered("measures", counted))

    @registry.metric("count", title="Segments", needs=("measures",))
    def count(given):
        total = sum(len(given.feature("measures", each)["sdr"]) for each in given.sets)
        return registry.MetricResult(figures={"all": registry.Figure(value=total)}, warnings=["Counted."])

    written = evaluate_datasets(real, synthetic, tmp_path / "report", metrics=["sdr", "count"])
    assert written.metrics["count"].figures["all"].value == 105
    assert written.metrics["count"].title == "Segments"
    assert "Counted." in written.warnings
    assert measured == ["real", "synthetic"]


def test_a_stop_leaves_no_folder(real, synthetic, tmp_path):
    class Stop:
        def update(self, done, total, message="", **values):
            self.seen = done

        def cancelled(self):
            return True

    with pytest.raises(Cancelled):
        evaluate_datasets(real, synthetic, tmp_path / "report", progress=Stop())
    assert {path.name for path in tmp_path.iterdir()} == {"real", "synthetic"}


def test_the_command_prints_the_headline_table_and_where_the_pictures_are(real, synthetic, tmp_path):
    out = str(tmp_path / "report")
    options = ["--real", str(real.path), "--synthetic", str(synthetic.path), "--out", out, "--metric", "thickness_mm"]
    result = CliRunner().invoke(evaluate, options)
    assert result.exit_code == 0, result.output
    assert re.search(r"Mean thickness +\d\.\d\d mm +\d\.\d\d mm +0\.\d{3} +\S+ +\d\.\d\d mm", result.output)
    assert out in result.output


def test_the_command_hands_back_where_the_report_is(real, synthetic, tmp_path):
    out = tmp_path / "report"
    arguments = ["--real", real.path, "--synthetic", synthetic.path, "--out", out, "--metric", "sdr", "--events"]
    result = CliRunner().invoke(evaluate, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("@SKULLGAN ")]
    events = [json.loads(line.removeprefix("@SKULLGAN ")) for line in lines]
    (found,) = [event["result"] for event in events if "result" in event]
    assert found == {
        "report": str(out),
        "page": str(out / "report.html"),
        "summary": str(out / "summary.csv"),
        "warnings": read_report(out).warnings,
    }
    assert found["warnings"]
    with open(out / "distributions.csv", encoding="utf-8") as file:
        assert {row["figure"] for row in csv.DictReader(file)} == {"sdr"}


def test_the_command_takes_arrays_of_the_released_layout(real, tmp_path):
    np.save(tmp_path / "synthetic.npy", bands(30, 1)[:, None].astype(np.float64))
    options = ["--real", str(real.path), "--synthetic", str(tmp_path / "synthetic.npy"), "--metric", "sdr"]
    result = CliRunner().invoke(evaluate, [*options, "--out", str(tmp_path / "report")])
    assert result.exit_code == 0, result.output
    assert "spacing of the synthetic set is not stated; 0.45 mm is assumed" in result.output


def test_the_command_fails_in_two_lines(real, tmp_path):
    options = ["--real", str(real.path), "--synthetic", str(tmp_path / "none"), "--out", str(tmp_path / "report")]
    result = CliRunner().invoke(evaluate, options)
    assert result.exit_code == 1
    assert "There is no data set at" in result.output
    assert "Traceback" not in result.output
