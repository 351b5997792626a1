"""The second section of the panel: choices, what a running training shows, resuming."""

from __future__ import annotations

import json

import pytest
from test_module_panel import FOUND, boxItems, makeDesk, tip

import slicer_host

desk = pytest.fixture(makeDesk)


def runs(desk) -> list[list[str]]:
    """Arguments of every training, without the estimates."""
    return [call for call in desk.calls("train") if "--dry-run" not in call]


def estimates(desk) -> list[list[str]]:
    return [call for call in desk.calls("train") if "--dry-run" in call]


def options(call) -> dict[str, str]:
    return dict(zip(call[1::2], call[2::2], strict=False))


# choices --------------------------------------------------------------------------------------------------------------


def test_families_presets_and_devices_are_those_that_the_doctor_found(desk):
    ui = desk.open().ui
    assert boxItems(ui.familyComboBox) == [("Recommended", "relativistic"), ("Another one", "other")]
    assert boxItems(ui.presetComboBox) == [("recommended-XS: for one GPU", "recommended-XS"), ("paper", "paper")]
    assert boxItems(ui.deviceComboBox) == [
        ("automatic", "auto"),
        ("cpu: x86_64, 20.4 GiB free", "cpu"),
        ("cuda:0: NVIDIA RTX 4090, 21.7 GiB free", "cuda:0"),
    ]
    assert boxItems(ui.initComboBox) == [("fresh weights", ""), ("a folder or file", "folder")]
    assert not ui.initPathLineEdit.enabled
    ui.initComboBox.currentIndex = 1
    assert ui.initPathLineEdit.enabled


def test_another_family_brings_its_own_presets(desk):
    ui = desk.open().ui
    ui.familyComboBox.currentIndex = 1
    assert boxItems(ui.presetComboBox) == [("deep: with conditions", "deep")]
    assert ui.presetComboBox.currentIndex == 0
    assert desk.parameters.preset == "deep"
    ui.familyComboBox.currentIndex = 0
    assert desk.parameters.preset == ui.presetComboBox.itemData(ui.presetComboBox.currentIndex) == "recommended-XS"


def test_choices_of_a_saved_scene_wait_for_the_doctor(desk):
    desk.script("doctor", f'wait("go")\nsay(result={FOUND!r})')
    ui = desk.open(answered=False).ui
    desk.parameters.device, desk.parameters.preset = "cuda:0", "paper"
    desk.release("go")
    desk.until(lambda: desk.panel.status.found)
    assert (desk.parameters.device, desk.parameters.preset) == ("cuda:0", "paper")
    assert ui.deviceComboBox.itemData(ui.deviceComboBox.currentIndex) == "cuda:0"
    assert ui.presetComboBox.itemData(ui.presetComboBox.currentIndex) == "paper"


def test_a_device_that_this_machine_has_not_is_shown_as_what_will_be_asked_for(desk):
    ui = desk.ready()
    desk.parameters.device = "cuda:3"
    assert boxItems(ui.deviceComboBox)[ui.deviceComboBox.currentIndex] == ("cuda:3", "cuda:3")
    ui.estimateButton.click()
    desk.until(lambda: ui.estimateButton.enabled)
    assert options(estimates(desk)[0])["--device"] == "cuda:3"
    ui.deviceComboBox.currentIndex = 0
    assert desk.parameters.device == "auto"
    assert [data for _, data in boxItems(ui.deviceComboBox)] == ["auto", "cpu", "cuda:0"]


def test_the_choices_of_the_panel_reach_the_child(desk):
    ui = desk.ready()
    ui.presetComboBox.currentIndex, ui.deviceComboBox.currentIndex, ui.initComboBox.currentIndex = 1, 2, 1
    ui.imagesSpinBox.value = 12_000
    ui.initPathLineEdit.currentPath = str(desk.folder)
    ui.pretrainPathLineEdit.currentPath = desk.parameters.trainDataPath
    ui.settingsLineEdit.text = "batch_size=auto  gamma=[5.0, 0.5]"
    desk.script("train", "sys.exit(2)")
    ui.trainButton.click()
    desk.until(lambda: runs(desk))
    desk.idle()
    (call,) = runs(desk)
    expected = {"--data": "real", "--pretrain": "real", "--out": "new run"}
    expected = {name: str(desk.folder / path) for name, path in expected.items()} | {"--init": str(desk.folder)}
    expected |= {"--preset": "paper", "--device": "cuda:0", "--images": "12000", "--set": "gamma=[5.0, 0.5]"}
    assert options(call) == expected
    assert "batch_size=auto" in call
    ui.imagesSpinBox.value, ui.initComboBox.currentIndex = 0, 0
    ui.pretrainPathLineEdit.currentPath = ui.settingsLineEdit.text = ""
    assert ui.imagesSpinBox.text == "as the preset"
    ui.trainButton.click()
    desk.until(lambda: len(runs(desk)) == 2)
    assert not {"--images", "--init", "--pretrain", "--set"} & set(runs(desk)[1])


def test_pre_training_on_a_folder_that_is_no_data_set_is_refused_with_the_reason(desk):
    ui = desk.ready()
    desk.parameters.pretrainPath = str(desk.folder)
    assert not ui.trainButton.enabled
    assert "Pre-train on" in ui.trainButton.toolTip


# the training ---------------------------------------------------------------------------------------------------------


def picture(desk, name: str, colour: str) -> str:
    """A PNG of 600 x 300 pixels of one colour."""
    import qt

    image = qt.QImage(600, 300, qt.QImage.Format_RGB32)
    image.fill(qt.QColor(colour))
    assert image.save(str(desk.folder / name))
    return str(desk.folder / name)


def training(desk, *events: dict, then: str = 'wait("go")') -> None:
    """Start a training whose child tells these events; a run is in the folder, so that nothing is estimated before."""
    (desk.folder / "new run").mkdir(exist_ok=True)
    (desk.folder / "new run" / "options.json").write_text("{}")
    desk.script("train", "\n".join(f"say(**{event!r})" for event in events) + f"\n{then}")
    desk.panel.update()
    assert desk.ui.trainButton.text == "Resume"
    assert tip(desk.ui.trainButton) == "Go on with the run in the folder."
    desk.ui.trainButton.click()


def test_a_run_that_has_finished_or_is_of_another_preset_does_not_go_on(desk):
    ui = desk.ready()
    run = desk.folder / "new run"
    (run / "checkpoints" / "0000006000").mkdir(parents=True)
    facts = {"options": {"preset": desk.parameters.preset, "images": 6000}}
    (run / "options.json").write_text(json.dumps(facts))
    desk.panel.update()
    assert (ui.trainButton.text, ui.trainButton.enabled) == ("Resume", False)
    assert "has finished: raise Length" in tip(ui.trainButton)
    desk.parameters.images = 8000
    assert ui.trainButton.enabled
    facts["options"]["preset"] = "paper"
    (run / "options.json").write_text(json.dumps(facts))
    desk.panel.update()
    assert not ui.trainButton.enabled
    assert "a run of the preset paper" in tip(ui.trainButton)


STEPS = [
    {"value": 64, "maximum": 6000, "message": "Training", "loss_generator": 1.5, "images_per_second": 47.6},
    {"value": 3000, "maximum": 6000, "message": "Training", "loss_generator": 1.25, "images_per_second": 50.0,
     "remaining_s": 60},
]  # fmt: skip


def losses():
    """x and generator loss of the only loss plot."""
    import slicer

    from SkullGANSlicer import scene

    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    columns = scene.tableColumns(chart.GetNthPlotSeriesNode(0).GetTableNode())
    return list(columns["x"]), list(columns["loss generator"])


def test_a_running_training_shows_bar_speed_losses_and_samples(desk):
    import slicer

    ui = desk.ready()
    ui.trainCollapsibleButton.collapsed = False
    STEPS[1]["sample"] = picture(desk, "sample.png", "red")
    training(desk, *STEPS)
    desk.until(lambda: ui.jobProgressBar.value == 3000)
    assert ui.jobProgressBar.maximum == 6000
    assert ui.jobLabel.text == "Training, 60 s left"
    assert ui.speedLabel.text == "3,000 of 6,000 images, 50 images/s, 60 s left"
    assert losses() == ([64, 3000], [1.5, 1.25])
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert chart.GetName() == "SkullGAN losses"
    (folder,) = [name for name in hierarchy() if name == "SkullGAN training"] or [""]
    assert folder == "SkullGAN training"
    shown = ui.sampleLabel.pixmap.toImage()
    assert (shown.width(), shown.height()) == (420, 210)
    assert shown.pixelColor(200, 100).name() == "#ff0000"


def hierarchy() -> list[str]:
    """Names of all items of the subject hierarchy."""
    import slicer
    import vtk

    node = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    items = vtk.vtkIdList()
    node.GetItemChildren(node.GetSceneItemID(), items, True)
    return [node.GetItemName(items.GetId(i)) for i in range(items.GetNumberOfIds())]


def test_the_plot_comes_into_view_once_so_that_the_user_may_leave_it(desk):
    from SkullGANSlicer import section_train

    ui, brought = desk.ready(), []
    desk.patch.setattr(section_train, "showPlot", brought.append)
    training(desk, *STEPS)
    desk.until(lambda: ui.jobProgressBar.value == 3000)
    assert len(brought) == 1


def test_losses_are_not_plotted_where_they_are_not_wanted(desk):
    import slicer

    ui = desk.ready()
    ui.plotCheckBox.checked = False
    training(desk, *STEPS)
    desk.until(lambda: ui.jobProgressBar.value == 3000)
    assert slicer.util.getNodesByClass("vtkMRMLPlotChartNode") == []


def test_no_loss_is_missed_while_another_module_is_shown(desk):
    ui = desk.ready()
    training(desk, STEPS[0], then=f'wait("on")\nsay(**{STEPS[1]!r})\nwait("go")')
    desk.until(lambda: ui.jobProgressBar.value == 64)
    desk.widget.parent.exit()
    desk.release("on")
    desk.until(lambda: ui.jobProgressBar.value == 3000)
    desk.widget.parent.enter()
    assert losses() == ([64, 3000], [1.5, 1.25])


def test_a_training_goes_on_when_the_scene_is_closed_and_its_plot_is_made_anew(desk):
    import slicer

    ui = desk.ready()
    run = str(desk.folder / "new run")
    model = desk.model("trained/model").parent
    ends = f"say(**{STEPS[1]!r})\nwait('go')\nhand({str(model)!r})"
    training(desk, STEPS[0], then=f'wait("on")\n{ends}')
    desk.until(lambda: ui.jobProgressBar.value == 64)
    slicer.mrmlScene.Clear(0)
    assert ui.jobLabel.text == "Training"
    desk.release("on")
    desk.until(lambda: ui.jobProgressBar.value == 3000)
    assert losses() == ([64, 3000], [1.5, 1.25])
    desk.release("go")
    desk.idle()
    assert desk.parameters.model == f"{run}/model"
    assert desk.errors == []


@pytest.mark.parametrize("shown", [True, False])
def test_the_trained_model_is_offered_and_chosen_to_generate_with(desk, shown):
    ui = desk.ready()
    run, model = desk.folder / "new run", desk.model("trained/model").parent
    samples = run / "samples"
    samples.mkdir(parents=True)
    picture(desk, "new run/samples/0006000.png", "blue")
    training(desk, then=f'wait("go")\nhand({str(model)!r})')
    if not shown:
        desk.widget.parent.exit()
    desk.release("go")
    desk.idle()
    if not shown:
        desk.widget.parent.enter()
    assert ui.jobLabel.text == "Train: done"
    assert ui.sampleLabel.pixmap.toImage().pixelColor(200, 100).name() == "#0000ff"
    assert ("new run, trained here", str(run / "model")) in boxItems(ui.modelComboBox)
    assert desk.parameters.model == str(run / "model")
    assert ui.modelLabel.text.startswith("128 x 128 pixels of 0.45 mm, 6,000 images seen.")


def test_a_cancelled_training_can_be_resumed_and_its_model_used(desk):
    ui = desk.ready()
    run, model = desk.folder / "new run", desk.model("trained/model").parent
    training(desk, then=f'wait("go", deaf=True)\nhand({str(model)!r})\nsys.exit(2)')
    ui.trainButton.click()
    desk.release("go")
    desk.idle()
    assert ui.jobLabel.text == "Train: cancelled; what was finished is saved"
    assert (ui.trainButton.text, ui.trainButton.enabled) == ("Resume", True)
    assert ("new run, trained here", str(run / "model")) in boxItems(ui.modelComboBox)
    assert desk.errors == []


def test_the_folder_of_the_run_is_opened(desk):
    ui = desk.ready()
    (desk.folder / "new run").mkdir()
    desk.panel.update()
    ui.openRunButton.click()
    ((what, (url,)),) = slicer_host.shown
    assert (what, url.toLocalFile()) == ("openUrl", str(desk.folder / "new run"))
