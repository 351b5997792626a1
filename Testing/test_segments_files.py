import errno
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from SkullGANLib import files
from SkullGANLib.errors import FormatError, InputError, ResourceError
from SkullGANLib.segments.dataset import SegmentDataset

# Replaces a data set for ever, its segments all holding the number of the round. argv: path, whether to exchange.
WRITER = """
import sys, itertools, time, numpy as np
from SkullGANLib import files
from SkullGANLib.segments.dataset import SegmentDataset
if sys.argv[2] == "two-steps":
    files._exchange = lambda one, other: False
print("ready", flush=True)
for i in itertools.count(1):
    hu = np.full((6, 32, 32), i % 1000, np.int16)
    SegmentDataset.create(sys.argv[1], hu, {"round": np.full(6, i % 1000)}, kind="phantom", overwrite=True)
    time.sleep(float(sys.argv[3]))
"""


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def dead_process_id():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize("how", ["exchange", "two-steps"])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_set_whole(tmp_path, how):
    path = tmp_path / "set"
    SegmentDataset.create(path, np.zeros((6, 32, 32), np.int16), {"round": np.zeros(6, int)}, kind="phantom")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    rounds, rng = set(), np.random.default_rng(0)
    for _ in range(10):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), how, "0"], stdout=subprocess.PIPE, env=environment
        )
        child.stdout.readline()
        time.sleep(rng.uniform(0.005, 0.12))
        child.kill()
        child.wait()
        child.stdout.close()
        found = SegmentDataset.open(path, verify=True)
        assert len(np.unique(found.hu)) == 1
        assert found.hu[0, 0, 0] == found.table["round"][0]
        rounds.add(int(found.hu[0, 0, 0]))
    assert len(rounds) > 1
    with files.replace_folder(path, marker="dataset.json") as folder:
        (folder / "dataset.json").write_text("{}")
    assert names_in(tmp_path) == ["set"]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize(("step", "left"), [(1, "old"), (2, "new"), (3, "new")])
def test_where_folders_cannot_be_exchanged_a_kill_after_each_step_leaves_a_whole_one(tmp_path, step, left):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("old")
    code = f"""
import os, signal
from pathlib import Path
from SkullGANLib import files
files._exchange = lambda one, other: False
rename, calls = Path.rename, []
def rename_and_die(*paths):
    rename(*paths)
    calls.append(paths)
    if len(calls) == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
Path.rename = rename_and_die
with files.replace_folder("out") as folder:
    (folder / "a").write_text("new")
"""
    child = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert child.returncode == -9
    files.restore_interrupted(tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == left
    with files.replace_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("newest")
    assert names_in(tmp_path) == ["out"]


def test_a_reader_never_sees_half_a_set_while_another_process_replaces_it(tmp_path):
    path = tmp_path / "set"
    SegmentDataset.create(path, np.zeros((6, 32, 32), np.int16), {"round": np.zeros(6, int)}, kind="phantom")
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path), "exchange", "0.02"], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        seen, end = set(), time.monotonic() + 2
        while time.monotonic() < end:
            found = SegmentDataset.open(path)
            assert np.all(found.hu == found.table["round"][:, None, None])
            seen.add(int(found.hu[0, 0, 0]))
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert len(seen) > 5


def test_a_folder_moved_aside_by_a_killed_process_is_put_back(tmp_path):
    path = tmp_path / "set"
    SegmentDataset.create(path, np.zeros((1, 32, 32), np.int16), None, kind="phantom")
    path.rename(tmp_path / ".set.replaced")
    assert len(SegmentDataset.open(path)) == 1


def test_an_error_inside_the_block_leaves_the_old_folder_and_no_temporary(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), files.replace_folder(tmp_path / "out") as folder:
        (folder / "a").write_text(str(1 / 0))
    assert (tmp_path / "out" / "a").read_text() == "old"
    assert names_in(tmp_path) == ["out"]


def test_a_full_disk_is_said_in_words_and_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "set"
    old = SegmentDataset.create(path, np.ones((4, 32, 32), np.int16), None, kind="phantom")

    written = []

    def write_until_full(file, data):
        written.append(file.file.write(data))
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("SkullGANLib.segments.arrays._HashedFile.write", write_until_full)
    with pytest.raises(ResourceError, match="disk is full"):
        old.append(np.ones((4, 32, 32), np.int16), None)
    monkeypatch.undo()
    assert names_in(tmp_path) == ["set"]
    assert len(SegmentDataset.open(path, verify=True)) == 4


def test_left_overs_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path):
    dead = tmp_path / f".out.writing-{files._node()}-{dead_process_id()}-00000000"
    alive = tmp_path / f".out.writing-{files._node()}-{os.getpid()}-00000000"
    elsewhere = tmp_path / f".out.writing-another_machine-{os.getpid()}-00000000"
    for folder in (dead, alive, elsewhere):
        folder.mkdir()
    with files.replace_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("a")
    assert not dead.exists()
    assert alive.exists()
    assert elsewhere.exists()


def test_a_folder_of_other_files_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("two years of work")
    with (
        pytest.raises(InputError, match=r"no dataset\.json"),
        files.replace_folder(tmp_path, marker="dataset.json"),
    ):
        pass
    assert names_in(tmp_path) == ["thesis.txt"]


def test_an_existing_folder_is_kept_unless_asked(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("old")
    with pytest.raises(InputError, match="exists already"), files.replace_folder(tmp_path / "out", overwrite=False):
        pass


def test_json_with_nan_is_refused_and_the_old_file_stays(tmp_path):
    files.write_json(tmp_path / "ä.json", {"mean": np.float32(1.5), "rows": np.arange(2)})
    with pytest.raises(InputError, match="cannot hold"):
        files.write_json(tmp_path / "ä.json", {"mean": float("nan")})
    assert files.read_json(tmp_path / "ä.json") == {"mean": 1.5, "rows": [0, 1]}
    assert names_in(tmp_path) == ["ä.json"]


def test_damaged_json_is_said_in_words(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(FormatError, match="not readable JSON"):
        files.read_json(tmp_path / "a.json")


def test_sha256_is_the_known_one(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256_of(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223b00361a396177a9c")


def test_a_library_that_runs_out_of_space_in_its_own_words_is_understood(tmp_path):
    with pytest.raises(ResourceError, match="disk is full"), files.replace_folder(tmp_path / "set"):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    with pytest.raises(RuntimeError, match="something else"), files.replace_folder(tmp_path / "set"):
        raise RuntimeError("something else")
    assert list(tmp_path.iterdir()) == []
