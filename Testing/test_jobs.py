"""Real child processes: success, errors, cancelling, killing, crashes, odd bytes and floods of log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from SkullGANLib import jobs
from SkullGANLib.errors import Cancelled, InputError, SkullGANError
from SkullGANLib.jobs import Job, JobState, parse_event

WAIT = 30


def child(code: str, **options) -> Job:
    """A job that runs Python code in place of the library."""
    return Job([], title="Trial", command=[sys.executable, "-c", code], **options)


def saying(*events: str, end: str = "") -> str:
    return "\n".join(f"print('@SKULLGAN ' + {event!r}, flush=True)" for event in events) + "\n" + end


def alive(pid: int) -> bool:
    """Whether a process exists and is not a mere entry that nobody has collected yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_success_hands_back_result_and_value_and_calls_the_hooks_once():
    job = child(saying('{"value": 3, "maximum": 4, "message": "Half way", "loss": 0.5}', '{"result": {"out": "x"}}'),
                load=lambda result: result["out"] * 2)  # fmt: skip
    seen, ended = [], []
    job.progressed.connect(lambda j: seen.append((j.progress.value, j.progress.maximum, j.progress.message)))
    job.finished.connect(ended.append)
    assert job.wait(WAIT) == "xx"
    job.poll()
    assert (job.state, seen, ended) == (JobState.DONE, [(3, 4, "Half way")], [job])
    assert job.progress.values == {"loss": 0.5}


def test_an_error_of_the_command_comes_back_in_its_two_lines():
    end = "import sys; print('traceback of it', file=sys.stderr); sys.exit(1)"
    job = child(saying('{"exit_code": 1, "error": "No skull.", "advice": "Give a head."}', end=end))
    with pytest.raises(SkullGANError) as caught:
        job.wait(WAIT)
    assert (caught.value.message, caught.value.advice) == ("No skull.", "Give a head.")
    assert job.log_text() == "traceback of it"


def test_the_real_command_line_reports_through_events(tmp_path):
    with pytest.raises(SkullGANError, match="does not exist"):
        Job(["prepare", tmp_path / "nothing.nrrd", "--out", tmp_path / "out"]).wait(WAIT)


def test_the_real_command_line_stops_at_the_sentinel_with_exit_code_2(tmp_path):
    job = Job(["phantom", "--out", tmp_path / "heads", "--subjects", "50"])
    while not job.progress.message and job.poll():
        time.sleep(0.02)
    job.cancel()
    assert job.cancelling
    with pytest.raises(Cancelled):
        job.wait(WAIT)
    assert job.state is JobState.CANCELLED
    assert job._process.returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="process groups of POSIX")
def test_a_child_that_ignores_cancel_is_ended_with_everything_it_started():
    code = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
print('@SKULLGAN {"message": "started", "grandchild": %d}' % grandchild.pid, flush=True)
time.sleep(60)
"""
    job = child(code, cancel_seconds=0.2)
    while "grandchild" not in job.progress.values:
        assert job.poll()
        time.sleep(0.02)
    grandchild = job.progress.values["grandchild"]
    assert alive(grandchild)
    job._asked_at = time.monotonic() - jobs.TERMINATE_SECONDS - 1  # as if that much time had passed
    with pytest.raises(Cancelled):
        job.wait(WAIT)
    end = time.monotonic() + 5
    while alive(grandchild) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(grandchild)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_child_killed_from_outside_is_named_so():
    job = child("import os, signal; print('working', flush=True); os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(SkullGANError, match=r"ended from outside.*memory"):
        job.wait(WAIT)
    assert job.state is JobState.FAILED


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_crash_names_the_signal_and_keeps_the_last_words():
    job = child("import os, signal; print('reached the end', flush=True); os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(SkullGANError, match=f"signal {int(signal.SIGSEGV)}.*reached the end"):
        job.wait(WAIT)


def test_a_value_that_the_command_line_refuses_is_told_in_its_words(tmp_path):
    with pytest.raises(SkullGANError, match=r"^Invalid value for '--count': 0 is not in the range x>=1"):
        Job(["generate", "--model", tmp_path, "--out", tmp_path / "out", "--count", "0"]).wait(WAIT)


def test_an_exception_of_python_shows_its_last_line():
    with pytest.raises(SkullGANError, match=r"exit code 1.*ValueError: odd"):
        child("raise ValueError('odd')").wait(WAIT)


def test_bytes_that_are_no_text_and_carriage_returns_do_no_harm():
    code = r"""
import sys
out = sys.stdout.buffer
out.write(b'caf\xe9 \xff\xfe 10%\r20%\r\n' + 'größer'.encode() + b'\n')
out.write(b'30%|###  | @SKULLGAN {"value": 1, "maximum": 2, "message": "m"}\n')
out.write(b'@SKULLGAN {"value": broken\nlast words')
"""
    job = child(code)
    job.wait(WAIT)
    assert list(job.log) == ["caf\ufffd \ufffd\ufffd 10%", "20%", "größer", '@SKULLGAN {"value": broken', "last words"]
    assert job.progress.value == 1


def test_ten_megabytes_of_log_are_read_quickly_and_kept_within_bounds(tmp_path):
    job = child("line = 'x' * 99\nfor i in range(100_000): print(i, line)")
    start = time.perf_counter()
    job.wait(WAIT)
    assert time.perf_counter() - start < 10
    assert len(job.log) == jobs.LOG_LINES
    assert job.log[-1].startswith("99999 ")
    saved = job.save_log(tmp_path / "log.txt")
    assert saved.stat().st_size > 10e6
    assert saved.read_bytes().startswith(b"0 x")


def test_a_result_that_cannot_be_loaded_is_a_failure_in_words():
    def load(result):
        raise InputError("No room.", "Make some.")

    job = child("pass", load=load)
    with pytest.raises(SkullGANError, match="No room"):
        job.wait(WAIT)
    job = child("pass", load=lambda result: 1 / 0)
    with pytest.raises(SkullGANError, match=r"could not be loaded.*ZeroDivisionError"):
        job.wait(WAIT)


def test_what_was_done_in_part_is_loaded_and_the_error_told():
    end = "import sys; sys.exit(1)"
    job = child(saying('{"result": {"dataset": "x"}}', '{"exit_code": 1, "error": "1 of 2 failed."}', end=end),
                load=lambda result: result["dataset"])  # fmt: skip
    with pytest.raises(SkullGANError, match="1 of 2 failed"):
        job.wait(WAIT)
    assert (job.state, job.value) == (JobState.FAILED, "x")


def test_the_own_environment_stays_as_it_is_and_the_child_finds_the_library(tmp_path):
    before = dict(os.environ)
    job = Job([], command=[sys.executable, "-c", "import os; print(os.environ['EXTRA'], os.environ['PYTHONPATH'])"],
              environment={"EXTRA": "ü"})  # fmt: skip
    job.wait(WAIT)
    assert dict(os.environ) == before
    assert job.log[0].startswith("ü ")
    answer = subprocess.run(
        [sys.executable, "-c", "import SkullGANLib; print(SkullGANLib.__file__)"],
        cwd=tmp_path, env=jobs.child_environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout.strip() == os.path.join(os.path.dirname(jobs.__file__), "__init__.py")


def test_waiting_gives_up_at_its_timeout_and_calls_tick():
    ticks = []
    job = child("import time; time.sleep(30)")
    with pytest.raises(TimeoutError, match="still running"):
        job.wait(0.3, tick=lambda: ticks.append(1))
    assert ticks
    job.kill()
    assert job.state is JobState.CANCELLED


def test_a_program_that_does_not_exist_says_so():
    with pytest.raises(SkullGANError, match="could not be started"):
        Job([], title="Trial", command=["/no/such/program"])


@pytest.mark.parametrize("line", ["", "words", "@SKULLGAN", "@SKULLGAN {", "@SKULLGAN [1]", '@SKULLGAN "x"'])
def test_lines_that_are_no_events(line):
    assert parse_event(line) is None


def test_importing_the_job_runner_needs_the_standard_library_only():
    code = (
        "import sys; before = set(sys.modules); import SkullGANLib.jobs\n"
        "print([m for m in set(sys.modules) - before if m.partition('.')[0] not in sys.stdlib_module_names "
        "and not m.startswith('SkullGANLib')])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
