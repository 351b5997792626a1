"""What the panel says when something goes wrong, and what becomes of the log."""

from __future__ import annotations

import pytest
from test_module_panel import makeDesk

import slicer_host
from SkullGANLib.jobs import JobState

desk = pytest.fixture(makeDesk)

FAILS = """
for i in range(100):
    print(f"line {i}", flush=True)
say(exit_code=1, success=False, error="No skull was found.", advice="Give a head in HU, or use --hu-offset.")
sys.exit(1)
"""


def test_an_error_of_the_child_is_shown_in_two_lines_with_the_end_of_the_log_folded_away(desk):
    ui = desk.ready()
    desk.script("prepare", FAILS)
    job = desk.press(ui.previewButton)
    assert job.state is JobState.FAILED
    ((text, details),) = desk.errors
    assert text == 'No skull was found.\n\nGive a head in HU, or use "HU offset".'  # there is no command line here
    assert details.splitlines() == [f"line {i}" for i in range(60, 100)]
    assert ui.jobLabel.text == "Preview: failed"
    assert ui.previewButton.enabled
    assert ui.logText.plainText.splitlines() == [f"line {i}" for i in range(100)]


def test_a_child_that_crashes_is_told_with_its_last_words(desk):
    ui = desk.ready()
    desk.script("evaluate", "print('CUDA is upset', flush=True); os._exit(70)")
    desk.press(ui.evaluateButton)
    ((text, details),) = desk.errors
    words, advice = text.split("\n\n")
    assert words == "Evaluate: the child process ended with exit code 70. Its last words: CUDA is upset"
    assert advice == "The log says more."
    assert details == "CUDA is upset"


def test_a_result_that_is_not_there_is_told_in_words(desk):
    ui = desk.ready()
    desk.script("generate", "say(result={})")  # writes nothing
    job = desk.press(ui.generateButton)
    assert job.state is JobState.FAILED
    ((text, _),) = desk.errors
    assert text.startswith("There is no data set at ")
    assert ui.generateButton.enabled


def test_an_unexpected_error_is_shown_with_its_traceback(desk):
    ui = desk.ready()
    desk.patch.setattr(desk.logic, "preview", lambda *_, **__: {}["nothing"], raising=False)
    ui.previewButton.click()
    ((text, details),) = desk.errors
    assert text == "Something unexpected happened: KeyError: 'nothing'"
    assert details.startswith("Traceback")
    assert "test_module_panel_errors.py" in details
    assert ui.previewButton.enabled
    slicer_host.checkSlots()


def test_an_input_that_the_module_itself_refuses_is_shown_in_two_lines(desk):
    import slicer

    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    ui = desk.open().ui
    ui.previewButton.click()
    ((text, details),) = desk.errors
    assert text.split("\n\n")[0] == '"empty" holds no image.'
    assert details == ""
    assert desk.logic.job is None


def test_a_partly_failed_preparation_shows_both_what_came_and_what_did_not(desk):
    ui = desk.ready()
    source = desk.dataset("made").path
    ends = 'say(exit_code=1, error="1 of 2 scans is not in the data set.", advice="The others are in."); sys.exit(1)'
    desk.script("prepare", f"hand({str(source)!r}, segments=3)\n{ends}")
    desk.press(ui.prepareButton)
    assert desk.errors == [("1 of 2 scans is not in the data set.\n\nThe others are in.", "")]
    assert ui.piecesTable.rowCount == 3
    assert desk.parameters.trainDataPath == desk.parameters.datasetPath


def test_the_newest_line_of_a_long_log_is_in_view(desk):
    ui = desk.ready()
    ui.logCollapsibleButton.collapsed = False
    desk.script("prepare", "for i in range(150): print('line', i)\nsys.stdout.flush()\nsys.exit(2)")
    desk.press(ui.previewButton)
    bar = ui.logText.verticalScrollBar()
    assert bar.value == bar.maximum > 0


def test_bytes_that_are_no_utf8_do_not_stop_the_log(desk):
    ui = desk.ready()
    desk.script("prepare", r'sys.stdout.buffer.write(b"caf\xe9 \xff\r50 %\rdone\n"); sys.stdout.flush(); sys.exit(3)')
    desk.press(ui.previewButton)
    assert ui.logText.plainText == "caf\ufffd \ufffd\n50 %\ndone"


def test_the_log_grows_while_the_job_runs(desk):
    from SkullGANSlicer import section_job

    desk.patch.setattr(section_job, "LOG_SECONDS", 0.0)
    ui = desk.ready()
    desk.script("prepare", 'print("first"); say(value=1, maximum=2); wait("go"); print("second"); sys.exit(2)')
    ui.previewButton.click()
    desk.until(lambda: ui.logText.plainText == "first")
    desk.release("go")
    desk.idle()
    assert ui.logText.plainText == "first\nsecond"


def test_log_lines_are_shown_while_a_child_prints_nothing_else(desk):
    from SkullGANSlicer import section_job

    desk.patch.setattr(section_job, "LOG_SECONDS", 0.0)
    ui = desk.ready()
    desk.script("prepare", 'print("loading", flush=True); wait("go")')
    ui.previewButton.click()
    desk.until(lambda: list(desk.logic.job.log) == ["loading"])
    desk.until(lambda: ui.logText.plainText == "loading", seconds=2)


def test_a_new_job_empties_the_log_of_the_one_before(desk):
    ui = desk.ready()
    desk.script("prepare", 'print("old"); sys.exit(2)')
    desk.press(ui.previewButton)
    assert ui.logText.plainText == "old"
    desk.waiting(ui.previewButton, "prepare")
    assert "old" not in ui.logText.plainText


def test_the_log_is_copied_and_saved_whole(desk):
    import slicer

    ui = desk.ready()
    desk.script("prepare", 'for i in range(3000): print("line", i)\nsys.stdout.flush()\nsys.exit(2)')
    desk.press(ui.previewButton)
    assert ui.logText.plainText.count("\n") == 199
    ui.copyLogButton.click()
    copied = slicer.app.clipboard().text().splitlines()
    assert (len(copied), copied[-1]) == (2000, "line 2999")
    path = desk.folder / "log.txt"
    slicer_host.answers["getSaveFileName"] = str(path)
    ui.saveLogButton.click()
    assert path.read_text(encoding="utf-8").splitlines() == [f"line {i}" for i in range(3000)]
    slicer_host.answers["getSaveFileName"] = ""  # the dialog was closed
    ui.saveLogButton.click()
    assert desk.errors == []


def test_a_log_that_cannot_be_saved_is_told_in_words(desk):
    ui = desk.ready()
    desk.script("prepare", "sys.exit(2)")
    desk.press(ui.previewButton)
    slicer_host.answers["getSaveFileName"] = str(desk.folder / "nowhere" / "log.txt")
    ui.saveLogButton.click()
    ((text, _),) = desk.errors
    assert "unexpected" not in text


def test_an_export_folder_that_cannot_be_made_is_told_in_words(desk):
    ui = desk.ready()
    (desk.folder / "file").write_text("")
    desk.parameters.exportPath = str(desk.folder / "file")
    ui.exportButton.click()
    ((text, _),) = desk.errors
    assert "unexpected" not in text
