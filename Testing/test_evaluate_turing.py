"""The visual Turing test: fair images, answers that are never lost, figures that are known."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import zlib

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from test_evaluate_report import bands, make

from SkullGANLib.cli.turing import turing
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.evaluate import turing as library
from SkullGANLib.evaluate.turing import VisualTest, key_path, make_test, read_key
from SkullGANLib.evaluate.turing_answers import Session, add_answers, check_reader, sessions
from SkullGANLib.evaluate.turing_page import SCRIPT, greys_of
from SkullGANLib.evaluate.turing_result import (
    cohen_kappa,
    find_result,
    fleiss_kappa,
    result_words,
    share_figure,
    write_result,
)

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _one_secret(monkeypatch):
    monkeypatch.setattr(library.secrets, "token_hex", lambda n: SECRET)


@pytest.fixture
def test(tmp_path):
    """Ten images of 48 x 48 pixels."""
    return make_test(bands(20, 0), bands(20, 1), tmp_path / "test", count=10)[0]


def truth(test):
    return test.is_synthetic(read_key(test))


def answer_all(test, reader, right):
    """A reader who is right where ``right`` (n,) says so."""
    session, synthetic = Session(test, reader), truth(test)
    while session.image is not None:
        session.answer("synthetic" if synthetic[session.image] == right[session.image] else "real", 2.5)
    return session


# what readers are given -----------------------------------------------------------------------------------------------


def test_half_of_the_images_come_from_each_set_and_none_twice(tmp_path):
    real, synthetic = bands(30, 0), bands(30, 1).astype(np.float32)
    test, _ = make_test(real, synthetic, tmp_path / "test", count=40, seed=3)
    assert (len(test), test.counts, truth(test).sum()) == (40, (20, 20), 20)
    for each, which in ((real, ~truth(test)), (synthetic, truth(test))):
        distances = np.abs(each[None].astype(int) - test.images[which][:, None].astype(int)).max((2, 3))
        sources = distances.argmin(1)
        assert len(set(sources.tolist())) == 20
        inside = test.images[which] > 0
        errors = np.abs(each[sources].clip(*test.facts["clipped_hu"]) - test.images[which])[inside]
        assert errors.max() <= test.facts["step_hu"] / 2


def test_an_odd_image_comes_from_either_set():
    counts = {library._halves(5, seed) for seed in range(20)}
    assert counts == {(2, 3), (3, 2)}


def test_the_same_seed_draws_the_same_images_and_numbers_them_anew(tmp_path, monkeypatch):
    sets = bands(20, 0), bands(20, 1)
    first, _ = make_test(*sets, tmp_path / "a", count=10, seed=5)
    monkeypatch.setattr(library.secrets, "token_hex", lambda n: SECRET[::-1])
    second, _ = make_test(*sets, tmp_path / "b", count=10, seed=5)
    third, _ = make_test(*sets, tmp_path / "c", count=10, seed=6)

    def content(test):
        return sorted(image.tobytes() for image in test.images)

    assert content(first) == content(second) != content(third)
    assert not np.array_equal(first.images, second.images)


def uneven(n):
    """Segments of one kind, stored as two programs might: in steps of 4 HU, or as noisy floats that end low."""
    images = bands(2 * n, 7).astype(float) + np.random.default_rng(0).normal(0, 30, (2 * n, 48, 48))
    images[bands(2 * n, 7) == 0] = 0
    real, synthetic = images[:n], images[n:]
    noise = np.random.default_rng(1).uniform(0, 9, synthetic.shape)
    return (real / 4).round().astype(np.int16) * 4, np.where(synthetic > 0, synthetic, noise).clip(0, 1550.4)


def traces(images):
    """What gives a program away rather than a picture: one number for each image and trace."""
    whole = np.rint(images).astype(int)
    bone = whole >= 100
    count = np.maximum(bone.sum((1, 2)), 1)
    found = {"number": np.arange(len(images)), "lowest": images.min((1, 2)), "fraction": (images % 1).mean((1, 2))}
    found["floor"] = ((images > 0) & (images < 20)).sum((1, 2))
    for step in (2, 4, 8, 10, 20, 40, 100):
        for rest in range(0, step, max(step // 5, 1)):
            found[f"{rest} of {step}"] = (bone & (whole % step // max(step // 5, 1) == rest)).sum((1, 2)) / count
    found["beyond"] = (images > 1551).sum((1, 2))
    return found


def test_no_trace_of_how_a_set_was_stored_tells_the_two_apart(tmp_path):
    real, synthetic = uneven(150)
    before = traces(np.concatenate([real, synthetic]))
    known = np.repeat([False, True], 150)
    aucs = {name: roc_auc_score(known, values) for name, values in before.items()}
    for name in ("fraction", "floor", "lowest", "2 of 4", "beyond"):
        assert abs(aucs[name] - 0.5) > 0.15, name  # each is a real trap
    test, _ = make_test(real, synthetic, tmp_path / "test", count=300)
    images = np.asarray(test.images, float)
    aucs = {name: roc_auc_score(truth(test), values) for name, values in traces(images).items()}
    assert max(abs(auc - 0.5) for auc in aucs.values()) < 0.1, aucs  # 3 standard deviations of chance
    assert test.facts["step_hu"] == 20  # a multiple of 10 HU and of 4


def test_neither_file_names_nor_sizes_nor_order_tell_them_apart(tmp_path):
    test, _ = make_test(*uneven(100), tmp_path / "test", count=200)
    assert {path.name for path in test.path.iterdir()} == {"turing.json", "images.npy", "test.html"}
    assert test.images.dtype == np.int16
    assert abs(roc_auc_score(truth(test), np.arange(200)) - 0.5) < 0.13
    zipped = [len(zlib.compress(image.tobytes())) for image in greys_of(test)]
    assert abs(roc_auc_score(truth(test), zipped) - 0.5) < 0.13


def test_nothing_in_the_folder_says_what_an_image_is(test):
    facts = json.loads((test.path / "turing.json").read_text(encoding="utf-8"))
    assert not any(isinstance(value, list) and len(value) > 2 for value in facts.values())
    for path in test.path.iterdir():
        assert SECRET.encode() not in path.read_bytes()
    key = json.loads(key_path(test.path).read_text(encoding="utf-8"))
    assert key_path(test.path).parent == test.path.parent
    assert set(key) == {"format", "version", "note", "test", "secret"}  # no plain list to be seen by accident
    assert "readers must not have it" in key["note"]
    assert library._id_of(SECRET) == test.id
    assert test.id not in SECRET


def test_both_kinds_are_clipped_to_the_range_that_they_share_and_what_that_costs_is_said(tmp_path):
    bright = bands(20, 1, brightness=1.6)
    test, notes = make_test(bands(20, 0), bright, tmp_path / "test", count=20)
    low, high = test.facts["clipped_hu"]
    assert (low, test.images.min()) == (0, 0)
    assert high == bands(20, 0).max()
    assert [bool(np.any(test.images[which] >= high - 5)) for which in (truth(test), ~truth(test))] == [True, True]
    assert any("of the bone of the synthetic images is brighter" in note for note in notes)


@pytest.mark.parametrize(
    ("real", "synthetic", "options", "words"),
    [
        (bands(3, 0), bands(20, 1), {"count": 10}, "The real set has 3 segments, too few to draw 5 from"),
        (bands(9, 0), bands(9, 0), {"count": 4}, "Both sets are the same"),
        (bands(9, 0), bands(9, 1) / 1000 - 1, {"count": 4}, "HU between 0 and 2700 in common"),
        (bands(9, 0), bands(9, 1, size=40), {"count": 4}, "pixels"),
        (bands(9, 0), np.where(bands(9, 1) > 0, np.nan, 0), {"count": 4}, "not finite"),
        (bands(9, 0), bands(9, 1), {"count": 1}, "A test of 1 images tells nothing"),
    ],
)
def test_sets_that_make_no_test_are_refused_in_words(tmp_path, real, synthetic, options, words):
    with pytest.raises(InputError, match=words):
        make_test(real, synthetic, tmp_path / "test", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_test_and_a_key_are_never_replaced(test, tmp_path):
    sets = bands(20, 2), bands(20, 3)
    with pytest.raises(InputError, match="exists already; a test is never replaced"):
        make_test(*sets, test.path, count=4)
    shutil.rmtree(test.path)
    with pytest.raises(InputError, match="is the key of an earlier test"):
        make_test(*sets, test.path, count=4)
    with pytest.raises(InputError, match="would lie in the folder that readers are given"):
        make_test(*sets, tmp_path / "new", count=4, key=tmp_path / "new" / "key.json")
    made, _ = make_test(*sets, tmp_path / "new", count=4, key=tmp_path / "safe" / "key.json")
    assert read_key(made, tmp_path / "safe" / "key.json") == SECRET
    assert not key_path(made.path).exists()


def test_only_its_own_key_opens_a_test(test, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"format": "skullgan-turing-key", "version": 1, "secret": SECRET[::-1]}))
    with pytest.raises(FormatError, match="is the key of another test"):
        read_key(test, other)
    with pytest.raises(FormatError, match="is missing"):
        read_key(test, tmp_path / "nowhere.json")


def test_the_test_part_of_a_split_set_is_drawn_from_and_phantoms_are_called_so(tmp_path):
    real = make(tmp_path / "real", bands(40, 0), kind="phantom", subjects=8)
    real.split({"train": 0.5, "test": 0.5})
    synthetic = make(tmp_path / "synthetic", bands(40, 1), kind="synthetic", subjects=0)
    test, notes = make_test(real, synthetic, tmp_path / "test", count=10)
    assert test.facts["sets"]["real"]["split"] == "test"
    assert test.facts["sets"]["real"]["sha256"] == real.fingerprint
    assert any("head phantoms" in note for note in notes)
    assert "CT of head phantoms" in " ".join((test.path / "test.html").read_text(encoding="utf-8").split())


# the page -------------------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_but_itself_and_holds_the_images_in_one_block(test):
    text = (test.path / "test.html").read_text(encoding="utf-8")
    assert re.findall(r"(?:src|href)=\"(?!data:)[^\"]*\"|https?:|@import|url\(", text) == []
    assert "default-src 'none'" in text
    block = base64.b64decode(re.search(r'id="images">([^<]*)<', text)[1])
    assert block == greys_of(test).tobytes()
    facts = json.loads(re.search(r"const test = (\{.*\});", text)[1])
    assert facts.keys() == {"id", "seed", "count", "width", "height"}


def test_the_page_shows_black_and_white_at_the_ends_of_the_window(test):
    greys, hu = greys_of(test), np.asarray(test.images, float)
    rows = greys.shape[1]
    assert not hu[:, rows:].any()  # only what is empty in all of them is cut off
    assert np.abs(greys - hu[:, :rows] * 255 / 2700).max() <= 0.5


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the page's script")
def test_the_page_shows_the_same_order_as_the_library(test):
    functions = re.search(r"function mixed.*?(?=const place)", SCRIPT, re.DOTALL)[0]
    facts = json.dumps({"count": len(test), "seed": test.seed})
    code = f"const test = {facts}; {functions} console.log(JSON.stringify(['a', 'reader-1'].map(orderOf)))"
    answer = subprocess.run(["node", "-e", code], capture_output=True, encoding="utf-8", check=True)
    assert json.loads(answer.stdout) == [test.order("a"), test.order("reader-1")]


# answers --------------------------------------------------------------------------------------------------------------


def test_each_reader_has_an_order_of_its_own_that_stays(test):
    assert test.order("a") != test.order("b")
    assert sorted(test.order("a")) == list(range(10))
    assert test.order("a") == VisualTest.open(test.path).order("a") == [0, 1, 4, 7, 3, 6, 2, 9, 5, 8]


def test_a_session_goes_on_where_it_was_left_and_undoes_the_last_answer(test):
    session = Session(test, "a")
    for _ in range(3):
        session.answer("real", 1.26)
    assert session.undo()
    session = Session(test, "a")
    assert (session.done, session.image) == (2, test.order("a")[2])
    session.answer("synthetic", 0.3)
    assert session.undo()
    assert session.undo()
    again = Session(test, "A ")
    assert [(image, each.said, each.seconds) for image, each in again.answers.items()] == [
        (test.order("a")[0], "real", 1.3)
    ]
    with pytest.raises(InputError):
        again.answer("maybe")


def test_nothing_is_left_to_undo_or_to_answer(test):
    session = Session(test, "a")
    assert not session.undo()
    answer_all(test, "a", np.ones(10, bool))
    with pytest.raises(InputError):
        Session(test, "a").answer("real")


def test_a_killed_program_loses_no_answer_that_was_given(test):
    code = (
        "import os, signal, sys\nfrom SkullGANLib.evaluate.turing import VisualTest\n"
        "from SkullGANLib.evaluate.turing_answers import Session\n"
        f"session = Session(VisualTest.open({str(test.path)!r}), 'a')\n"
        "for _ in range(4): session.answer('real', 1)\nos.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode != 0
    assert Session(test, "a").done == 4


@pytest.mark.parametrize("left", ["", "test,rea", "0123,a,5,rea", "x"])
def test_half_a_line_is_not_an_answer_and_is_in_nobodys_way(test, left):
    path = test.path / "answers-a.csv"
    if left != "test,rea":
        Session(test, "a").answer("real", 1)
    with open(path, "a") as file:
        file.write(left)
    before = 0 if left == "test,rea" else 1
    session = Session(test, "a")
    assert session.done == before
    session.answer("synthetic", 1)
    assert Session(test, "a").done == before + 1
    assert [each.reader for each in sessions(test)] == ["a"]


@pytest.mark.parametrize("name", ["", "Jane Doe", "../a", "12345678", "1970-01-01", "a" * 33, "-a", "a:b"])
def test_a_name_that_is_no_pseudonym_is_refused(name):
    with pytest.raises(InputError, match="is no name for a reader"):
        check_reader(name)


def test_answers_of_the_page_are_added_once_and_only_where_they_belong(test, tmp_path):
    order = test.order("b")
    rows = [f"{test.id},b,{image},{'real' if image % 2 else 'synthetic'},1.5" for image in order]
    saved = tmp_path / "downloaded (1).csv"
    saved.write_bytes("\ufefftest,reader,image,answer,seconds\r\n".encode() + "\r\n".join(rows[:6]).encode())
    session, new = add_answers(test, saved)
    assert (session.reader, new, session.image) == ("b", 6, order[6])
    assert add_answers(test, saved)[1] == 0
    saved.write_text("test,reader,image,answer,seconds\n" + "\n".join(rows) + "\n")
    session, new = add_answers(test, saved)
    assert (new, session.image, Session(test, "b").done) == (4, None, 10)
    spreadsheet = saved.read_text(encoding="utf-8").replace(",", ";").replace("1.5", "1,5")
    saved.write_text(spreadsheet)
    assert add_answers(test, saved)[1] == 0
    saved.write_text(spreadsheet.replace("real", "synthetic"))
    with pytest.raises(InputError, match="other answers already, to 5 of these images"):
        add_answers(test, saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("ID,", "0000,"), "belongs to another test"),
        (lambda text: text.replace("reader,", "who,"), "holds no answers"),
        (lambda text: text + "ID,c,1,real,1\n", "answers of several readers"),
        (lambda text: text + "ID,b,10,real,1\n", "Line 3 of .* is no answer"),
        (lambda text: text + "ID,b,1,yes,1\n", "Line 3 of .* is no answer"),
        (lambda text: text + "ID,b,1,real,nan\n", "Line 3 of .* is no answer"),
        (lambda text: text + "ID,b,1,real,-1\n", "Line 3 of .* is no answer"),
        (lambda text: text + "ID,b,1\n", "Line 3 of .* is no answer"),
        (lambda text: text.splitlines()[0] + "\n", "answers of no reader"),
        (lambda text: "", "holds no answers"),
    ],
)
def test_a_file_that_holds_no_answers_to_this_test_is_refused(test, tmp_path, change, words):
    saved = tmp_path / "saved.csv"
    saved.write_text(change("test,reader,image,answer,seconds\nID,b,0,real,1\n").replace("ID", test.id))
    with pytest.raises(FormatError, match=words):
        add_answers(test, saved)
    assert sessions(test) == []


# the result -----------------------------------------------------------------------------------------------------------


def test_the_figures_of_a_reader_are_those_of_the_binomial(tmp_path):
    test, _ = make_test(bands(20, 0), bands(20, 1), tmp_path / "test", count=20)
    right = np.ones(20, bool)
    right[np.flatnonzero(truth(test))[:4]] = right[np.flatnonzero(~truth(test))[:1]] = False
    answer_all(test, "a", right)
    (found,) = find_result(test, SECRET).readers
    assert (found.accuracy.value, found.sensitivity.value, found.specificity.value) == (0.75, 0.6, 0.9)
    assert found.accuracy.interval == pytest.approx((0.508954, 0.913428), abs=1e-6)  # tables of Clopper and Pearson
    assert found.accuracy.detail["p"] == pytest.approx(2 * 21700 / 2**20)  # sum of 20 over k for k of 15 to 20
    assert (found.seconds, found.answered) == (2.5, 20)


def test_the_interval_of_no_error_is_exact():
    found = share_figure(30, 30, against_guessing=True)
    assert found.interval == pytest.approx((0.025 ** (1 / 30), 1))
    assert found.detail["p"] == pytest.approx(2 / 2**30)


def test_cohens_kappa_of_the_known_table():
    said = np.repeat([[1, 1, 0, 0], [1, 0, 1, 0]], [20, 5, 10, 15], axis=1)
    assert cohen_kappa(said, np.ones(50)) == pytest.approx(0.4)
    weights = np.random.default_rng(0).integers(0, 4, 50).astype(float)
    assert cohen_kappa(said, weights) == pytest.approx(cohen_kappa_score(*said, sample_weight=weights))


def test_fleiss_kappa_of_the_known_table():
    votes = np.array(
        [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
         [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
    )  # fmt: skip
    assert fleiss_kappa(votes, np.ones(10)) == pytest.approx(0.20993, abs=1e-5)
    assert fleiss_kappa(np.repeat(votes, 3, axis=0), np.ones(30)) == pytest.approx(
        fleiss_kappa(votes, np.full(10, 3.0))
    )


def test_readers_who_agree_and_readers_who_do_not(tmp_path):
    test, _ = make_test(bands(40, 0), bands(40, 1), tmp_path / "test", count=40)
    right = np.random.default_rng(0).random(40) < 0.85
    for reader, each in (("a", right), ("b", right), ("c", ~right)):
        answer_all(test, reader, each)
    found = find_result(test, SECRET)
    assert found.kappa["a, b"].value == 1
    assert found.kappa["a, c"].value < -0.9
    assert found.fleiss_kappa.value == pytest.approx(-1 / 3, abs=0.01)
    assert found.pooled.value == pytest.approx((1 + right.mean()) / 3)
    assert found.pooled.resampled == "readers and images"
    alike = find_result(test, SECRET).pooled.interval
    alone = found.readers[0].accuracy.interval
    assert alike[1] - alike[0] > alone[1] - alone[0]  # readers differ more than images


def test_the_same_seed_gives_the_same_interval(test):
    for reader in "ab":
        answer_all(test, reader, np.arange(10) % 3 > 0)
    first, second, other = (find_result(test, SECRET, seed=seed).pooled for seed in (1, 1, 2))
    assert first == second
    assert other.value == first.value


def test_a_reader_who_has_not_finished_is_named_and_not_counted(test):
    Session(test, "b").answer("real", 1)
    assert find_result(test, SECRET).pooled is None
    answer_all(test, "a", np.ones(10, bool))
    found = find_result(test, SECRET)
    assert [(each.reader, each.answered, each.accuracy is None) for each in found.readers] == [
        ("a", 10, False), ("b", 1, True)
    ]  # fmt: skip
    assert "b has answered 1 of 10 images and is not counted until all are answered." in found.warnings
    assert any("One reader has finished" in warning for warning in found.warnings)
    assert found.pooled.interval == found.readers[0].accuracy.interval


def test_agreement_that_cannot_be_told_from_chance_is_said_to_be_undefined(test):
    for reader in "ab":
        session = Session(test, reader)
        while session.image is not None:
            session.answer("real")
    found = find_result(test, SECRET)
    assert found.kappa["a, b"].value is None
    assert any("agreement beyond chance is not defined" in warning for warning in found.warnings)
    write_result(test, found)


def test_readers_who_are_all_right_have_an_interval_all_the_same(test):
    for reader in "abc":
        answer_all(test, reader, np.ones(10, bool))
    assert find_result(test, SECRET).pooled.interval == pytest.approx((0.025**0.1, 1))


def test_the_result_is_written_as_json_csv_and_a_picture_with_the_published_figure_beside(test):
    answer_all(test, "a", np.arange(10) % 4 > 0)
    answer_all(test, "b", np.arange(10) % 3 > 0)
    found = find_result(test, SECRET)
    write_result(test, found)
    written = json.loads((test.path / "result.json").read_text(encoding="utf-8"))
    assert (written["format"], written["published"]["accuracy"], written["published"]["readers"]) == (
        "skullgan-turing-result", 0.6, 4
    )  # fmt: skip
    lines = (test.path / "result.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "reader,figure,value,low,high,n,resampled,p"
    assert [line.split(",")[:2] for line in lines[1:4]] == [
        ["a", "accuracy"], ["a", "sensitivity"], ["a", "specificity"]
    ]  # fmt: skip
    assert (test.path / "result.png").read_bytes()[:4] == b"\x89PNG"
    words = result_words(found)
    assert words[0].startswith("a: 70 % (35 to 93) right, p 0.34 against guessing")
    assert words[-1] == "Published: 60 % right, 4 radiologists; 50 % is guessing."
    assert Session(test, "a").undo()
    assert Session(test, "b").undo()
    write_result(test, find_result(test, SECRET))
    assert not (test.path / "result.png").exists()


# the command ----------------------------------------------------------------------------------------------------------


def run(*arguments, code=0):
    answer = CliRunner().invoke(turing, [str(each) for each in arguments])
    assert answer.exit_code == code, answer.output
    return answer.output


def test_the_command_makes_adds_and_marks(tmp_path, monkeypatch):
    launched = []
    monkeypatch.setattr("webbrowser.open", launched.append)
    real, synthetic = make(tmp_path / "real", bands(9, 0)), make(tmp_path / "drawn", bands(9, 1), kind="synthetic")
    out = tmp_path / "test"
    sets = ("--real", real.path, "--synthetic", synthetic.path)
    said = run(*sets, "--count", 6, "--out", out)  # the short form of make
    assert "3 real and 3 synthetic images" in said
    assert f"Keep {tmp_path / 'test-key.json'} from them." in said
    said = run("--out", out, "--reader", "Reader-1")
    assert launched == [(out / "test.html").as_uri()]
    assert f"{launched[0]}#reader=reader-1" in said
    test = VisualTest.open(out)
    rows = [f"{test.id},reader-1,{image},real,1" for image in range(6)]
    (tmp_path / "saved.csv").write_text("test,reader,image,answer,seconds\n" + "\n".join(rows))
    assert run("add", out, tmp_path / "saved.csv") == "reader-1: 6 new answers, 6 of 6 images in all.\n"
    assert run("result", out).startswith("reader-1: 50 % (12 to 88) right, p 1.00 against guessing")
    assert "a test is never replaced" in run("make", *sets, "--count", 6, "--out", out, code=1)
    assert "A test needs both sets." in run("--out", tmp_path / "other", code=1)
    assert "has answered all 6 images already" in run("--out", out, "--reader", "reader-1")


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom SkullGANLib.cli.main import skullgan\n"
        "skullgan(['turing', 'make', '--help'], standalone_mode=False)\n"
        "print([m for m in ('torch', 'sklearn', 'cv2', 'matplotlib', 'numpy', 'scipy') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_looking_at_images_loads_nothing_heavy(test):
    code = (
        "import sys\nfrom SkullGANLib.evaluate.turing import VisualTest\n"
        "from SkullGANLib.evaluate.turing_answers import Session\n"
        f"Session(VisualTest.open({str(test.path)!r}), 'a').answer('real')\n"
        "print([m for m in ('torch', 'sklearn', 'cv2', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert answer.stdout.splitlines()[-1] == "[]"
