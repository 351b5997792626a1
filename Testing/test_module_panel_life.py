"""The panel's life: reload, cleanup, the end of Slicer; and the head that Sample Data offers."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest
from test_module_panel import FOUND, makeDesk

import slicer_host
from SkullGANLib.errors import SkullGANError
from SkullGANLib.jobs import JobState

desk = pytest.fixture(makeDesk)


@pytest.fixture(scope="module", autouse=True)
def asLoadedAtFirst():
    """Reloading makes new modules; what other tests have imported must stay what it is."""
    slicer_host.start(gui=True)
    slicer_host.load_module()
    import slicer

    names = [name for name in sys.modules if name == "SkullGAN" or name.split(".")[0] == "SkullGANSlicer"]
    before = {name: (sys.modules[name], dict(vars(sys.modules[name]))) for name in names}
    yield
    slicer_host.reset()
    for name, (module, content) in before.items():
        sys.modules[name] = module
        vars(module).clear()
        vars(module).update(content)
    slicer.modules.SkullGANWidget = None


def observers(scene) -> int:
    """How many observers the scene has."""
    return str(scene).count("vtkObserver (")


def quitters() -> int:
    """How many slots would be called when Slicer ends."""
    import slicer

    return sum(signal == "aboutToQuit()" for signal, _ in slicer.app._slots)


def reload(desk) -> None:
    """Press the developer's Reload."""
    import slicer

    desk.widget.onReload()
    assert slicer.modules.SkullGANWidget is not desk.widget
    desk.take(slicer.modules.SkullGANWidget)


# reload ---------------------------------------------------------------------------------------------------------------


def test_the_order_of_reloading_names_every_file_once_those_first_that_others_import():
    import SkullGANSlicer

    folder, order = Path(SkullGANSlicer.__file__).parent, list(SkullGANSlicer.RELOAD_ORDER)
    assert sorted(order) == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    for position, name in enumerate(order):
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line.startswith("from .")]  # those at file scope
        imported = {word for line in lines for word in re.findall(r"\w+", line.replace("from .", "", 1))}
        assert imported & set(order) <= set(order[:position]), name


def test_reloading_twice_gives_a_panel_that_works(desk):
    desk.ready()
    first = desk.widget
    for _ in range(2):
        reload(desk)
    assert type(desk.widget) is not type(first)
    assert desk.widget.parent.isEntered
    desk.until(lambda: desk.panel.status.found)
    assert desk.parameters.modelPath == str(desk.folder / "run" / "model")
    assert desk.ui.modelPathLineEdit.currentPath == desk.parameters.modelPath
    desk.script("evaluate", "sys.exit(2)")
    assert desk.press(desk.ui.evaluateButton).state is JobState.CANCELLED
    assert len(desk.calls("evaluate")) == 1
    desk.ui.countSpinBox.value = 5
    assert desk.parameters.count == 5


def test_a_running_job_is_found_again_after_a_reload_and_can_be_cancelled(desk):
    desk.ready()
    desk.waiting(desk.ui.generateButton, "generate")
    job = desk.logic.job
    old = desk.ui
    for _ in range(2):
        reload(desk)
    assert desk.logic.job is job
    assert (desk.ui.generateButton.text, desk.ui.generateButton.enabled) == ("Cancel", True)
    assert not desk.ui.evaluateButton.enabled
    desk.ui.generateButton.click()
    desk.idle()
    assert job.state is JobState.CANCELLED
    desk.until(lambda: desk.ui.generateButton.text == "Generate")  # the panel looks a moment later
    assert desk.ui.jobLabel.text == "Generate: cancelled"
    assert old.jobLabel.text == "At work"  # nobody writes into the old panel any more
    assert desk.errors == []


def test_the_results_of_a_job_that_outlives_a_reload_are_shown_in_the_new_panel(desk):
    desk.ready()
    made = desk.dataset("made", "synthetic", n=5).path
    desk.waiting(desk.ui.generateButton, "generate", f"hand({str(made)!r})")
    reload(desk)
    desk.release("go")
    desk.idle()
    assert desk.ui.jobLabel.text == "Generate: done"
    assert desk.ui.segmentsTable.rowCount == 5


def test_an_error_after_a_reload_is_shown_once(desk):
    desk.ready()
    ends = 'say(exit_code=1, error="No luck.", advice="Try again."); sys.exit(1)'
    desk.waiting(desk.ui.evaluateButton, "evaluate", ends)
    for _ in range(2):
        reload(desk)
    desk.release("go")
    desk.idle()
    assert [text for text, _ in desk.errors] == ["No luck.\n\nTry again."]


# cleanup --------------------------------------------------------------------------------------------------------------


def close(desk) -> None:
    """Let the panel go, as at the end of Slicer."""
    import slicer
    from PySide6 import QtCore

    slicer.modules.skullgan._widget = None
    desk.widget.cleanup()
    desk.widget.parent.deleteLater()
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)


def test_cleanup_leaves_no_observers_and_no_hooks(desk):
    node, tags = slicer_host.load_module().SkullGANLogic().getParameterNode().parameterNode, []
    add, remove = node.AddObserver, node.RemoveObserver
    node.AddObserver = lambda *arguments: (tags.append(add(*arguments)), tags[-1])[1]
    node.RemoveObserver = lambda tag: (tags.remove(tag), remove(tag))[1]
    desk.open()
    assert desk.parameters.parameterNode is node
    opened = len(tags)
    for _ in range(3):
        desk.widget.parent.exit()
        assert tags == []
        desk.widget.parent.enter()
    assert len(tags) == opened > 0
    assert len(desk.widget.Observations) == 4  # closing (twice), importing, the parameter node
    logic = desk.logic
    close(desk)
    assert (tags, desk.widget.Observations) == ([], [])
    assert (list(logic.started), list(logic.shown)) == ([], [])


def test_cleanup_may_be_called_twice(desk):
    widget = desk.open()
    close(desk)
    widget.cleanup()


def test_jobs_leave_no_observers_of_the_scene(desk):
    import slicer

    ui = desk.ready()
    desk.script("evaluate", "sys.exit(2)")
    before = observers(slicer.mrmlScene)
    for _ in range(3):
        desk.press(ui.evaluateButton)
    assert observers(slicer.mrmlScene) == before


def test_nothing_calls_into_a_panel_that_was_cleaned_up(desk):
    # two doctors that were asked, an estimate and a job, all still running
    import slicer

    ui = desk.ready()
    desk.script("doctor", f'wait("found")\nsay(result={FOUND!r})')
    ui.refreshButton.click()
    ui.refreshButton.click()
    desk.script("train", 'wait("timed")', estimate=None)
    ui.estimateButton.click()
    desk.waiting(ui.evaluateButton, "evaluate", "sys.exit(1)")
    desk.until(lambda: desk.calls("train"))
    job = desk.logic.job
    close(desk)
    for name in ("found", "timed", "go"):
        desk.release(name)
    desk.until(lambda: not job.running)
    for _ in range(30):
        slicer.app.processEvents()
        time.sleep(0.005)
    slicer_host.checkSlots()
    assert desk.errors == []


def test_cleanup_before_setup_has_come_to_its_end_raises_nothing(desk):
    import slicer

    module = slicer_host.load_module()
    parent = slicer.qSlicerScriptedLoadableModuleWidget()
    widget = module.SkullGANWidget(parent)
    widget.cleanup()


# the end of Slicer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reloads", [0, 2])
def test_the_end_of_slicer_stops_the_running_job(desk, reloads):
    import slicer

    desk.ready()
    desk.waiting(desk.ui.evaluateButton, "evaluate")
    job = desk.logic.job
    for _ in range(reloads):
        reload(desk)
    assert job.running
    assert quitters() == 1
    slicer.app._emit("aboutToQuit()")
    assert job.state is JobState.CANCELLED
    assert desk.errors == []


def test_the_end_of_slicer_does_not_wait_for_a_child_that_does_not_listen(desk):
    import slicer

    from SkullGANLib import jobs

    desk.patch.setattr(jobs, "QUIT_SECONDS", 0.2)
    ui = desk.ready()
    desk.script("evaluate", 'say(value=1, maximum=4, message="At work")\nwait("never", deaf=True)')
    ui.evaluateButton.click()
    desk.until(lambda: ui.jobLabel.text == "At work")
    start = time.monotonic()
    slicer.app._emit("aboutToQuit()")
    assert not desk.logic.job.running
    assert time.monotonic() - start < 3


# sample data ----------------------------------------------------------------------------------------------------------


def source():
    import slicer

    (found,) = slicer.modules.sampleDataSources["SkullGAN"]
    return found


def test_sample_data_offers_a_head_with_a_picture(desk):
    import qt

    slicer_host.load_module()
    offered = source()
    assert offered.sampleName == "SkullGAN phantom head"
    assert os.path.isfile(offered.thumbnailFileName)
    assert not qt.QPixmap(offered.thumbnailFileName).isNull()
    assert offered.checksums is None  # nothing is downloaded


def test_sample_data_makes_a_head(desk):
    import slicer

    desk.real.add("phantom")
    (head,) = source().customDownloader(source())
    assert slicer.mrmlScene.IsNodePresent(head)
    assert head.GetName() == "SkullGAN phantom head"
    values = slicer.util.arrayFromVolume(head)
    assert values.shape == tuple(reversed(head.GetImageData().GetDimensions()))
    assert values.min() < -900
    assert values.max() > 1200
    assert slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0].GetBackgroundVolumeID() == head.GetID()
    widget = desk.open()
    assert list(widget.panel.parameters.volumes) == [head]


def test_a_head_that_cannot_be_made_is_told_in_words(desk):
    slicer_host.setTesting(False)  # in which Slicer shows errors
    desk.script("phantom", 'say(exit_code=1, error="The disk is full.", advice="Free some space."); sys.exit(1)')
    with pytest.raises(SkullGANError):
        source().customDownloader(source())
    ((kind, text),) = slicer_host.shown
    assert kind == "errorDisplay"
    assert text == "The head phantom could not be made.\n\nThe disk is full. Free some space."


def test_a_head_that_fails_with_the_panel_open_is_told_once(desk):
    desk.open()
    slicer_host.setTesting(False)
    desk.script("phantom", 'say(exit_code=1, error="The disk is full.", advice="Free some space."); sys.exit(1)')
    with pytest.raises(SkullGANError):
        source().customDownloader(source())
    assert len([what for what, _ in slicer_host.shown if what == "errorDisplay"]) == 1


def test_the_head_is_offered_once(desk):
    import slicer

    slicer.app._emit("startupCompleted()")
    assert len(slicer.modules.sampleDataSources["SkullGAN"]) == 1
