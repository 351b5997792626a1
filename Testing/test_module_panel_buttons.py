"""Start buttons of the panel: every reason against them, what they are while a job runs, and how a job is cancelled."""

from __future__ import annotations

import pytest
from test_module_panel import makeDesk, tip

from SkullGANLib.errors import Cancelled
from SkullGANLib.jobs import JobState

desk = pytest.fixture(makeDesk)

JOBS = {  # title: button, command of the child
    "Preview": ("previewButton", "prepare"),
    "Prepare": ("prepareButton", "prepare"),
    "Train": ("trainButton", "train"),
    "Generate": ("generateButton", "generate"),
    "Export": ("exportButton", "dataset"),
    "Evaluate": ("evaluateButton", "evaluate"),
}
TIPS = {
    "previewButton": "Show skull, cutting squares and pieces; no data set is written.",
    "prepareButton": "Cut the volumes and write the data set.",
    "trainButton": "Start the training.",
    "estimateButton": "Time a few steps on the device and say what the training needs.",
    "generateButton": "Draw the segments into the scene.",
    "exportButton": "Write the segments of the table for other programs.",
    "evaluateButton": "Compare the two data sets.",
}


def say(desk, name):
    """What a button says: (whether it is enabled, its tooltip)."""
    button = getattr(desk.ui, name)
    return button.enabled, tip(button)


def test_with_all_that_is_needed_every_start_button_is_enabled_and_says_what_it_does(desk):
    desk.ready()
    assert {name: say(desk, name) for name in TIPS} == {name: (True, words) for name, words in TIPS.items()}
    texts = {name: getattr(desk.ui, name).text for name in TIPS}
    assert texts == {name: name.removesuffix("Button").capitalize() for name in TIPS}


def test_prepare_and_preview_say_what_they_lack(desk):
    import slicer

    desk.open()
    both, parameters = ("previewButton", "prepareButton"), desk.parameters

    def expect(words, names=both):
        assert {name: say(desk, name) for name in names} == dict.fromkeys(names, (False, words))

    expect("Choose a CT volume of the scene, or scans on disk.")
    first, second = desk.head("first"), desk.head("second")
    parameters.volumes = [first]
    parameters.axial = parameters.coronal = parameters.sagittal = False
    expect("Choose at least one plane and one bone.")
    parameters.axial, parameters.temporal, parameters.parietal = True, False, False
    expect("Choose at least one plane and one bone.")
    parameters.frontal = True
    assert say(desk, "previewButton")[0]
    assert say(desk, "prepareButton")[0]
    parameters.volumes = [first, second]
    assert say(desk, "prepareButton")[0]
    expect("A preview is of one volume: choose one.", ["previewButton"])
    for name, kind in (("skullMask", "vtkMRMLSegmentationNode"), ("headFrame", "vtkMRMLLinearTransformNode")):
        setattr(parameters, name, slicer.mrmlScene.AddNewNodeByClass(kind))
        expect("A skull mask or a head frame is for a single volume: choose one, or take them away.")
        setattr(parameters, name, None)
    parameters.skullMask = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    parameters.scansPath = str(desk.folder)
    expect("A skull mask needs its volume in the scene.")
    parameters.skullMask = None
    parameters.datasetPath = ""
    expect("Choose a folder for the data set.", ["prepareButton"])


def test_a_preview_needs_no_folder_for_a_data_set(desk):
    desk.ready()
    desk.parameters.datasetPath = ""
    assert say(desk, "previewButton") == (True, TIPS["previewButton"])


def test_train_and_estimate_say_what_they_lack(desk):
    desk.open()
    both, parameters = ("trainButton", "estimateButton"), desk.parameters

    def expect(words, names=both):
        assert {name: say(desk, name) for name in names} == dict.fromkeys(names, (False, words))

    expect("Choose the data set to learn from.")
    parameters.trainDataPath = str(desk.folder)
    expect("The folder under Data set holds no segment data set.")
    parameters.trainDataPath = str(desk.dataset("real").path)
    parameters.init = "folder"
    expect("Choose the model to start from.")
    parameters.initPath = str(desk.folder / "nowhere")
    expect("Choose the model to start from.")
    parameters.initPath = str(desk.folder)
    assert say(desk, "trainButton")[0]
    parameters.runPath = ""
    expect("Choose a folder for the run.", ["trainButton"])


def test_an_estimate_needs_no_folder_for_the_run(desk):
    desk.ready()
    desk.parameters.runPath = ""
    assert say(desk, "estimateButton") == (True, TIPS["estimateButton"])


def test_generate_says_what_it_lacks(desk):
    desk.open()
    parameters = desk.parameters
    assert say(desk, "generateButton") == (False, "Choose a model: train one, or give a folder.")
    parameters.modelPath = str(desk.folder)
    assert say(desk, "generateButton") == (False, "There is no model in the folder that was chosen.")
    model = desk.model("broken")
    whole = (model / "model.json").read_text(encoding="utf-8")
    (model / "model.json").write_text("{}", encoding="utf-8")
    parameters.modelPath = str(model)
    assert not desk.ui.generateButton.enabled
    assert "not of a SkullGAN model" in tip(desk.ui.generateButton)
    (desk.folder / "whole").mkdir()
    (desk.folder / "whole" / "model.json").write_text(whole, encoding="utf-8")
    parameters.modelPath = str(desk.folder / "whole")
    assert say(desk, "generateButton")[0]
    parameters.syntheticPath = ""
    assert say(desk, "generateButton") == (False, "Choose a folder for the synthetic data set.")


def test_export_says_what_it_lacks(desk):
    desk.open()
    assert say(desk, "exportButton") == (False, "Generate segments first.")
    desk.logic.show(desk.dataset("synthetic", "synthetic"))
    desk.panel.update()
    desk.parameters.exportPath = ""
    assert say(desk, "exportButton") == (False, "Choose a folder for the export.")
    desk.parameters.exportPath = str(desk.folder)
    assert say(desk, "exportButton")[0]


def test_segments_shown_from_the_console_can_be_exported_at_once(desk):
    desk.open()
    desk.logic.show(desk.dataset("synthetic", "synthetic"))
    assert desk.ui.segmentsTable.rowCount == 3
    assert say(desk, "exportButton") == (True, TIPS["exportButton"])


def test_evaluate_says_what_it_lacks(desk):
    desk.open()
    parameters, array = desk.parameters, desk.folder / "array.npy"
    for name, which in (("realPath", "real"), ("evaluatedPath", "synthetic")):
        assert say(desk, "evaluateButton") == (False, f"Choose the {which} data set.")
        setattr(parameters, name, str(desk.folder))
        assert say(desk, "evaluateButton") == (False, f"The folder of the {which} data set holds none.")
        setattr(parameters, name, str(array))  # an array will do
    assert say(desk, "evaluateButton")[0]
    parameters.reportPath = ""
    assert say(desk, "evaluateButton") == (False, "Choose a folder for the report.")


def test_buttons_that_show_something_are_disabled_until_it_is_there(desk):
    desk.open()
    for name in ("copyLogButton", "saveLogButton"):
        assert say(desk, name) == (False, "There is no log before the first job.")
    assert say(desk, "placeButton")[1].startswith("Choose a row of the table above")
    assert not desk.ui.placeButton.enabled
    assert say(desk, "openRunButton") == (False, "The run folder does not exist yet.")
    assert say(desk, "openReportButton") == (False, "There is no report in the folder yet.")
    for path in (desk.parameters.runPath, desk.parameters.reportPath):
        (desk.folder / path).mkdir(parents=True)
    (desk.folder / desk.parameters.reportPath / "report.html").write_text("<p>")
    desk.panel.update()
    assert say(desk, "openRunButton") == (True, "Show the run's folder.")
    assert say(desk, "openReportButton") == (True, "Open report.html.")


@pytest.mark.parametrize("title", JOBS)
def test_the_button_of_the_running_job_cancels_it_and_the_others_name_it(desk, title):
    ui, (name, command) = desk.ready(), JOBS[title]
    button = getattr(ui, name)
    desk.script(command, 'say(value=1, maximum=4, message="At work")\nwait("saved", deaf=True)\nsys.exit(2)')
    button.click()
    desk.until(lambda: ui.jobLabel.text == "At work")
    assert (ui.jobProgressBar.value, ui.jobProgressBar.maximum) == (1, 4)
    assert (button.text, *say(desk, name)) == ("Cancel", True, "Save the work in hand and stop.")
    others = {other: say(desk, other) for other in TIPS if other != name}
    assert others == dict.fromkeys(others, (False, f"{title} is still running. Cancel it first."))
    button.click()
    assert (button.text, *say(desk, name)) == ("Cancelling...", False, "The work in hand is being saved.")
    desk.release("saved")
    desk.idle()
    assert desk.logic.job.state is JobState.CANCELLED
    saved = "; what was finished is saved" if title == "Train" else ""  # the others leave nothing half done
    assert ui.jobLabel.text == f"{title}: cancelled{saved}"
    assert (ui.jobProgressBar.value, ui.jobProgressBar.maximum) == (0, 1)
    assert button.text == title
    assert {other: say(desk, other) for other in TIPS} == {other: (True, words) for other, words in TIPS.items()}
    assert desk.errors == []
    assert len([call for call in desk.calls(command) if "--dry-run" not in call]) == 1


def test_a_job_that_nobody_can_cancel_here_is_not_said_to_be_cancellable(desk):
    ui = desk.ready()
    desk.script("phantom", 'say(value=1, maximum=4, message="At work")\nwait("go")')
    seen = []

    def look(job):
        seen.append((say(desk, "previewButton"), [name for name in TIPS if getattr(ui, name).text == "Cancel"]))
        job.cancel()

    def watch(job):
        job.progressed.connect(look)

    desk.logic.started.connect(watch)
    with pytest.raises(Cancelled):
        desk.logic.phantom()
    desk.logic.started.remove(watch)
    ((enabled, words), cancels) = seen[0]
    assert not enabled
    assert words.startswith("Phantom is still running.")
    assert ("Cancel" in words) == bool(cancels)
