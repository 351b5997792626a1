"""The estimate of a training in the panel: on demand, and before a new training is started."""

from __future__ import annotations

import pytest
from test_module_panel import FITS, makeDesk, tip
from test_module_panel_train import estimates, runs

import slicer_host

desk = pytest.fixture(makeDesk)

OTHERWISE = {"memory_gib": 30.25, "free_gib": 21.7, "fits": False, "images": 6000, "images_per_second": None}
OTHERWISE |= {"seconds": None, "device": "cuda:0", "advice": "Use a smaller batch."}
TIMED = f'wait("timed")\nsay(result={FITS!r})'


@pytest.mark.parametrize(("found", "words"), [
    (FITS, "About 2.0 GiB of memory (21.7 GiB are free); 6,000 images at 50.0 images/s take about 2 min on cuda:0."),
    (OTHERWISE, "<b>About 30.2 GiB of memory (21.7 GiB are free).</b> Use a smaller batch."),
    ({**FITS, "free_gib": None, "seconds": 90_000.0},
     "About 2.0 GiB of memory; 6,000 images at 50.0 images/s take about 25.0 h on cuda:0."),
])  # fmt: skip
def test_an_estimate_tells_memory_time_and_what_to_do(desk, found, words):
    ui = desk.ready()
    desk.script("train", "", estimate=found)
    ui.estimateButton.click()
    assert ui.estimateLabel.text == "Timing a few steps..."
    assert not ui.estimateButton.enabled
    assert tip(ui.estimateButton) == "An estimate is being made."
    desk.until(lambda: ui.estimateButton.enabled)
    assert ui.estimateLabel.text == words
    assert desk.logic.job is None  # it is no job, and its log is nobody's business
    ui.imagesSpinBox.value = 999
    assert ui.estimateLabel.text == ""  # it was for other choices


def test_an_estimate_that_fails_says_why(desk):
    ui = desk.ready()
    failing = 'say(exit_code=1, error="There is no cuda device 7.", advice="Use --device cpu."); sys.exit(1)'
    desk.script("train", failing, estimate=None)
    ui.estimateButton.click()
    desk.until(lambda: ui.estimateButton.enabled)
    assert ui.estimateLabel.text == 'There is no cuda device 7. Use "Device" cpu.'
    assert desk.errors == []
    ui.trainButton.click()
    desk.until(lambda: desk.errors)
    assert desk.errors == [('There is no cuda device 7.\n\nUse "Device" cpu.', "")]
    assert runs(desk) == []


def test_a_new_training_is_estimated_once_and_started_when_it_fits(desk):
    ui = desk.ready()
    ui.estimateButton.click()
    desk.until(lambda: ui.estimateButton.enabled)
    desk.waiting(ui.trainButton, "train")
    assert (len(estimates(desk)), len(runs(desk))) == (1, 1)


def test_while_the_steps_before_a_training_are_timed_the_button_says_so(desk):
    ui = desk.ready()
    desk.script("train", TIMED, estimate=None)
    ui.trainButton.click()
    assert (ui.trainButton.text, ui.trainButton.enabled) == ("Cancel", True)
    assert tip(ui.trainButton) == "Do not start after all; a few steps are being timed."
    desk.until(lambda: len(estimates(desk)) == 1)
    assert desk.logic.job is None
    desk.script("train", 'wait("go")')
    desk.release("timed")
    desk.until(lambda: desk.logic.busy)


def test_a_training_can_be_called_off_while_its_first_steps_are_timed(desk):
    ui = desk.ready()
    desk.script("train", TIMED, estimate=None)
    ui.trainButton.click()
    desk.until(lambda: len(estimates(desk)) == 1)
    ui.trainButton.click()
    assert (ui.trainButton.text, ui.trainButton.enabled, ui.estimateLabel.text) == ("Train", True, "")
    assert not desk.panel.train._estimate.running
    assert (runs(desk), desk.errors) == ([], [])


@pytest.mark.parametrize("agreed", [True, False])
def test_a_training_that_does_not_fit_is_started_only_if_the_user_wants_it(desk, agreed):
    ui = desk.ready()
    desk.script("train", 'wait("go")', estimate=OTHERWISE)
    slicer_host.answers["confirmYesNoDisplay"] = agreed
    ui.trainButton.click()
    desk.until(lambda: slicer_host.shown)
    ((kind, text),) = slicer_host.shown
    assert kind == "confirmYesNoDisplay"
    assert text.startswith("About 30.2 GiB of memory (21.7 GiB are free).\nUse a smaller batch.")
    assert "<" not in text
    assert (desk.logic.job is not None) == agreed
    assert ui.trainButton.enabled
    assert ui.trainButton.text == ("Cancel" if agreed else "Train")


def test_pressing_train_while_an_estimate_is_made_waits_for_that_one(desk):
    ui = desk.ready()
    desk.script("train", TIMED, estimate=None)
    ui.estimateButton.click()
    desk.until(lambda: len(estimates(desk)) == 1)
    ui.trainButton.click()
    desk.script("train", 'wait("go")')
    desk.release("timed")
    desk.until(lambda: desk.logic.busy)
    assert len(estimates(desk)) == 1
    assert ui.estimateLabel.text.startswith("About 2.0 GiB")


def test_a_training_asked_for_starts_although_another_module_is_shown_meanwhile(desk):
    ui = desk.ready()
    desk.script("train", TIMED, estimate=None)
    ui.trainButton.click()
    desk.until(lambda: len(estimates(desk)) == 1)
    desk.widget.parent.exit()
    desk.script("train", 'wait("go")')
    desk.release("timed")
    desk.until(lambda: not desk.panel.train._estimate.running)
    assert desk.logic.busy == "Train is still running." or desk.errors


def test_an_estimate_that_could_not_even_start_leaves_nothing_behind(desk):
    from SkullGANLib.errors import ResourceError

    ui = desk.ready()
    real = desk.logic.estimate

    def full(*arguments, **options):
        raise ResourceError("The disk is full.", "Free some space.")

    desk.logic.estimate = full
    ui.trainButton.click()
    assert desk.errors == [("The disk is full.\n\nFree some space.", "")]
    assert ui.estimateLabel.text != "Timing a few steps..."
    desk.logic.estimate = real
    ui.estimateButton.click()
    desk.until(lambda: ui.estimateButton.enabled)
    assert runs(desk) == []
