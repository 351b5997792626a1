"""The visual test in the panel: made, taken one image at a time, paused, continued and marked."""

from __future__ import annotations

import numpy as np
import pytest
from test_module_panel import makeDesk, tip

import slicer_host

desk = pytest.fixture(makeDesk)
ANSWERS = ("turingRealButton", "turingSyntheticButton", "turingUndoButton")
BEFORE, ONE_UP = 3, 6  # layouts


@pytest.fixture
def made(desk):
    """A test of four images, which the child of the panel hands back; gives its folder."""
    from SkullGANLib.evaluate.turing import make_test

    hu = np.zeros((12, 128, 128), np.int16)
    for number, image in enumerate(hu):
        image[20 + number : 40] = 900
    test, _ = make_test(hu[::2], hu[1::2], desk.folder / "made test", count=4, seed=1)
    copy = f'shutil.copytree({str(test.path)!r}, option("--out"))'
    desk.script("turing", f'{copy}\nsay(result={{"test": option("--out"), "notes": ["Mind this."]}})')
    return test.path


def started(desk):
    """The panel with a test running for reader-1; gives the widgets."""
    import slicer

    slicer.app.layoutManager().setLayout(BEFORE)
    ui = desk.ready()
    ui.turingReaderLineEdit.text = "Reader-1"
    desk.press(ui.turingButton)
    return ui


def shownImage() -> np.ndarray:
    """The pixels of the one node that the red view shows."""
    import slicer

    composite = next(c for c in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode") if c.GetLayoutName() == "Red")
    node = slicer.mrmlScene.GetNodeByID(composite.GetBackgroundVolumeID())
    assert node.GetName() == "Visual test"
    return slicer.util.arrayFromVolume(node)[0]


def nodesOfTests() -> list:
    import slicer

    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in nodes if node.GetAttribute("SkullGAN.kind") == "visual test"]


def shortcut(desk, key: str):
    import qt

    wanted = qt.QKeySequence(key).toString()
    return next(each for each in desk.panel.turing._shortcuts if each.key.toString() == wanted)


def session(desk):
    """The same test as the console sees it."""
    return desk.logic.takeTest(desk.parameters.turingPath, "reader-1")


# start ----------------------------------------------------------------------------------------------------------------


def test_the_sets_of_evaluate_are_taken_unless_others_are_named(desk, made):
    started(desk)
    folder, out = desk.folder, desk.parameters.turingPath
    assert out == str(folder / "home" / "visual-test-1")
    sets = ["--real", str(folder / "real"), "--synthetic", str(folder / "drawn")]
    assert desk.calls("turing") == [["turing", "make", *sets, "--out", out, "--count", "100", "--seed", "0"]]
    desk.ui.turingButton.click()
    other = desk.dataset("other").path
    desk.parameters.turingRealPath, desk.parameters.turingPath = str(other), str(folder / "second")
    desk.parameters.turingCount = 4
    desk.press(desk.ui.turingButton)
    expected = ["turing", "make", "--real", str(other), *sets[2:], "--out", str(folder / "second"), "--count", "4"]
    assert desk.calls("turing")[1] == [*expected, "--seed", "0"]


def test_what_is_missing_is_said(desk):
    ui = desk.ready()
    assert (ui.turingButton.enabled, tip(ui.turingButton)) == (False, "Give the reader a pseudonym.")
    desk.parameters.turingReader = "a"
    assert ui.turingButton.enabled
    desk.parameters.realPath = ""
    assert tip(ui.turingButton) == "Choose the real data set."
    desk.parameters.realPath = str(desk.folder)
    assert tip(ui.turingButton) == "The folder of the real data set holds none."
    desk.parameters.turingPath = ""
    assert tip(ui.turingButton) == "Choose a folder for the test."
    assert (ui.turingResultButton.enabled, tip(ui.turingResultButton)) == (False, "There is no test in the folder.")
    for name in ANSWERS:
        assert (getattr(ui, name).enabled, tip(getattr(ui, name))) == (False, "Start or continue a test first.")


def test_a_name_that_is_no_pseudonym_is_refused_in_words(desk, made):
    ui = desk.ready()
    desk.parameters.turingPath, desk.parameters.turingReader = str(made), "Dr. Jane Doe"
    ui.turingButton.click()
    assert desk.errors[0][0].startswith('"Dr. Jane Doe" is no name for a reader.')
    assert desk.panel.turing._session is None


# taking the test ------------------------------------------------------------------------------------------------------


def test_one_image_at_a_time_in_the_red_view_and_one_node_for_all(desk, made):
    import slicer

    ui = started(desk)
    assert ui.turingLabel.text == "reader-1: image 1 of 4\nMind this."
    assert slicer.app.layoutManager().layout == ONE_UP
    (node,) = nodesOfTests()
    seen = []
    for number in range(4):
        taken = session(desk)
        assert np.array_equal(shownImage(), taken.test.images[taken.image])
        assert ui.turingLabel.text.startswith(f"reader-1: image {number + 1} of 4")
        assert nodesOfTests() == [node]
        display = node.GetDisplayNode()
        assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 2700)
        seen.append(taken.image)
        display.SetWindowLevelMinMax(100, 200)  # a reader who plays with the window
        (ui.turingRealButton if number % 2 else ui.turingSyntheticButton).click()
    assert sorted(seen) == [0, 1, 2, 3]
    assert ui.turingLabel.text == "reader-1: all 4 images answered."
    assert [each.said for each in session(desk).answers.values()] == ["synthetic", "real", "synthetic", "real"]
    assert nodesOfTests() == []
    assert slicer.app.layoutManager().layout == BEFORE


def test_the_view_shows_again_what_it_showed_before(desk, made):
    import slicer

    ui = desk.ready()
    composite = next(c for c in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode") if c.GetLayoutName() == "Red")
    before, other = composite.GetBackgroundVolumeID(), desk.head("other")
    composite.SetForegroundVolumeID(other.GetID())
    ui.turingReaderLineEdit.text = "reader-1"
    desk.press(ui.turingButton)
    assert composite.GetBackgroundVolumeID() == nodesOfTests()[0].GetID()
    assert composite.GetForegroundVolumeID() is None
    ui.turingButton.click()
    assert (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()) == (before, other.GetID())


def test_keys_answer_while_a_test_runs_and_only_then(desk, made):
    ui = desk.ready()
    assert not any(each.enabled for each in desk.panel.turing._shortcuts)
    shortcut(desk, "R").activated.emit()
    ui.turingReaderLineEdit.text = "reader-1"
    desk.press(ui.turingButton)
    assert all(each.enabled and not each.autoRepeat for each in desk.panel.turing._shortcuts)
    for key in ("R", "Right", "U", "S", "Left"):
        shortcut(desk, key).activated.emit()
    assert [each.said for each in session(desk).answers.values()] == ["real", "synthetic", "real"]
    ui.turingButton.click()
    assert not any(each.enabled for each in desk.panel.turing._shortcuts)
    assert not ui.turingRealButton.enabled


def test_the_last_answer_can_be_taken_back(desk, made):
    ui = started(desk)
    assert (ui.turingUndoButton.enabled, tip(ui.turingUndoButton)) == (False, "Nothing is answered yet.")
    first = shownImage().copy()
    ui.turingRealButton.click()
    assert not np.array_equal(shownImage(), first)
    ui.turingUndoButton.click()
    assert np.array_equal(shownImage(), first)
    assert session(desk).done == 0


def test_nothing_can_be_changed_while_a_test_runs(desk, made):
    ui = started(desk)
    names = ("turingReaderLineEdit", "turingCountSpinBox", "turingPathLineEdit", "turingRealPathLineEdit")
    assert [getattr(ui, name).enabled for name in names] == [False] * 4  # nor do keys go there
    ui.turingButton.click()
    assert [getattr(ui, name).enabled for name in names] == [True] * 4


def test_pausing_and_continuing_goes_on_at_the_same_image(desk, made):
    ui = started(desk)
    ui.turingRealButton.click()
    image = shownImage().copy()
    assert ui.turingButton.text == "Pause"
    ui.turingButton.click()
    assert (ui.turingButton.text, ui.turingLabel.text) == ("Continue", "reader-1: paused, 1 of 4 images answered.")
    ui.turingButton.click()
    assert np.array_equal(shownImage(), image)
    ui.turingButton.click()
    desk.parameters.turingReader = "reader-2"
    assert ui.turingButton.text == "Start"


def test_an_answer_that_cannot_be_written_is_not_counted(desk, made):
    ui = started(desk)
    image = shownImage().copy()
    path = session(desk)._path
    path.mkdir()  # as good as a full disk
    ui.turingRealButton.click()
    assert desk.errors
    assert ui.turingLabel.text.startswith("reader-1: image 1 of 4")
    assert np.array_equal(shownImage(), image)
    path.rmdir()
    ui.turingRealButton.click()
    assert session(desk).done == 1


def test_the_image_says_nothing_of_what_it_is(desk, made):
    ui = started(desk)
    (node,) = nodesOfTests()
    before = (node.GetName(), node.GetImageData().GetDimensions(), node.GetImageData().GetScalarType())
    words = str(node) + str(node.GetDisplayNode())
    assert "real" not in words.lower().replace("realtime", "")
    assert "synthetic" not in words.lower()
    ui.turingRealButton.click()
    assert before == (node.GetName(), node.GetImageData().GetDimensions(), node.GetImageData().GetScalarType())


# what happens around it -----------------------------------------------------------------------------------------------


def test_another_module_can_be_opened_and_the_test_continued(desk, made):
    ui = started(desk)
    ui.turingRealButton.click()
    desk.widget.parent.exit()
    assert not any(each.enabled for each in desk.panel.turing._shortcuts)
    assert nodesOfTests() == []
    ui.turingRealButton.click()  # nobody listens
    desk.widget.parent.enter()
    assert (ui.turingButton.text, session(desk).done) == ("Continue", 1)
    ui.turingButton.click()
    assert ui.turingLabel.text.startswith("reader-1: image 2 of 4")


def test_closing_the_scene_keeps_the_answers_and_the_place(desk, made):
    import slicer

    ui = started(desk)
    ui.turingRealButton.click()
    path = desk.parameters.turingPath
    slicer.mrmlScene.Clear(0)
    assert slicer.app.layoutManager().layout == BEFORE
    assert nodesOfTests() == []
    assert (desk.parameters.turingPath, desk.parameters.turingReader) == (path, "reader-1")
    assert (ui.turingButton.text, session(desk).done) == ("Continue", 1)
    ui.turingButton.click()
    assert ui.turingLabel.text.startswith("reader-1: image 2 of 4")
    assert len(nodesOfTests()) == 1


def test_saving_the_scene_during_a_test_leaves_the_image_out_and_the_test_running(desk, made):
    import slicer

    ui = started(desk)
    ui.turingRealButton.click()
    path = desk.folder / "scene.mrml"
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Commit(str(path))
    assert 'Volume" name="Visual test"' not in path.read_text(encoding="utf-8")
    ui.turingSyntheticButton.click()
    assert session(desk).done == 2
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.Import()
    assert nodesOfTests() == []
    assert (ui.turingButton.text, desk.parameters.turingReader) == ("Continue", "Reader-1")
    ui.turingButton.click()
    assert ui.turingLabel.text.startswith("reader-1: image 3 of 4")


def test_an_image_that_was_deleted_or_covered_comes_back(desk, made):
    import slicer

    ui = started(desk)
    image = shownImage().copy()
    slicer.mrmlScene.RemoveNode(nodesOfTests()[0])
    desk.panel.update()
    assert np.array_equal(shownImage(), image)
    desk.logic.show(str(desk.folder / "drawn"))  # shows itself in all views
    assert np.array_equal(shownImage(), image)
    ui.turingRealButton.click()
    assert session(desk).done == 1


def test_a_reload_lets_the_keys_go(desk, made):
    started(desk)
    keys = list(desk.panel.turing._shortcuts)
    assert keys
    desk.widget.cleanup()
    import slicer

    slicer.app.processEvents()
    assert desk.panel.turing._shortcuts == []
    assert nodesOfTests() == []


# the result -----------------------------------------------------------------------------------------------------------


def test_the_result_comes_into_the_scene_as_table_plot_and_picture(desk, made):
    import slicer

    ui = started(desk)
    (desk.folder / "made test-key.json").rename(desk.folder / "home" / "visual-test-1-key.json")
    assert tip(ui.turingResultButton) == "Pause the test first."
    for _ in range(4):
        ui.turingRealButton.click()
    desk.real.add("turing")
    desk.press(ui.turingResultButton)
    assert desk.errors == []
    assert ui.turingLabel.text.startswith("reader-1: 50 % (7 to 93) right, p 1.00 against guessing")
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    kinds = [chart.GetNthPlotSeriesNode(i).GetPlotTypeAsString(chart.GetNthPlotSeriesNode(i).GetPlotType())
             for i in range(2)]  # fmt: skip
    assert kinds == ["Bar", "Line"]
    table = slicer.mrmlScene.GetFirstNodeByName("visual-test-1 result").GetTable()
    rows = [[table.GetValue(i, j).ToString() for j in range(3)] for i in range(table.GetNumberOfRows())]
    assert ["reader-1", "accuracy", "0.5"] in rows
    (picture,) = slicer.util.getNodesByClass("vtkMRMLVectorVolumeNode")
    assert picture.GetName() == "visual-test-1 picture"


def test_before_a_reader_has_finished_there_are_words_alone(desk, made):
    ui = started(desk)
    (desk.folder / "made test-key.json").rename(desk.folder / "home" / "visual-test-1-key.json")
    ui.turingRealButton.click()
    ui.turingButton.click()
    desk.real.add("turing")
    desk.press(ui.turingResultButton)
    assert "reader-1 has answered 1 of 4 images and is not counted until all are answered." in ui.turingLabel.text
    assert set(desk.logic.job.value) == {"words", "warnings"}


def test_without_the_key_the_answers_cannot_be_marked(desk, made):
    ui = started(desk)
    ui.turingRealButton.click()
    ui.turingButton.click()
    desk.real.add("turing")
    desk.press(ui.turingResultButton)
    assert "visual-test-1-key.json is missing" in desk.errors[0][0]
    assert slicer_host.slotErrors == []
