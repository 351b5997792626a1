"""Parameters of whole volumes and their widgets, both ways; what a saved scene brings back."""

from __future__ import annotations

import pytest
import slicer
from test_module_panel import makeDesk

desk = pytest.fixture(makeDesk)


VALUES = {  # parameters of this part of the panel: something of their own
    "volumeDimensions": "2",
    "volumePreset": "full",
    "volumeSettings": "largest=64",
    "volumeRunPath": "/saved/run",
    "volumeCount": 5,
    "sizeFactor": 1.7,
    "firstScale": 2,
    "volumesPath": "/saved/volumes",
}
NODES = {
    "learntVolume": ("learntVolumeSelector", "vtkMRMLScalarVolumeNode"),
    "learntRoi": ("learntRoiSelector", "vtkMRMLMarkupsROINode"),
    "sourceVolume": ("sourceSelector", "vtkMRMLScalarVolumeNode"),
    "toolVolume": ("toolVolumeSelector", "vtkMRMLScalarVolumeNode"),
}


def test_the_choices_are_saved_with_the_scene_and_shown_again(desk):
    desk.open()
    scene = slicer.mrmlScene
    for name, value in VALUES.items():
        setattr(desk.parameters, name, value)
    for name, (_, kind) in NODES.items():
        setattr(desk.parameters, name, scene.AddNewNodeByClass(kind, f"saved {name}"))
    scene.SetURL(str(desk.folder / "scene.mrml"))
    assert scene.Commit() == 1
    scene.Clear(0)
    assert desk.parameters.volumeCount == 1
    assert desk.parameters.learntVolume is None
    scene.Connect()
    ui = desk.ui
    assert {name: getattr(desk.parameters, name) for name in VALUES} == VALUES
    assert (ui.volumeCountSpinBox.value, ui.sizeFactorSpinBox.value, ui.firstScaleSpinBox.value) == (5, 1.7, 2)
    assert (ui.dimensionsComboBox.currentIndex, ui.volumePresetComboBox.currentIndex) == (1, 1)
    assert ui.volumeSettingsLineEdit.text == "largest=64"
    assert (ui.volumeRunPathLineEdit.currentPath, ui.volumesPathLineEdit.currentPath) == (
        "/saved/run", "/saved/volumes",
    )  # fmt: skip
    for name, (widget, _) in NODES.items():
        assert getattr(ui, widget).currentNode().GetName() == f"saved {name}"


def test_widgets_and_parameters_follow_each_other(desk):
    ui = desk.open().ui
    ui.dimensionsComboBox.currentIndex, ui.volumePresetComboBox.currentIndex = 1, 2
    assert (desk.parameters.volumeDimensions, desk.parameters.volumePreset) == ("2", "ct-gan")
    ui.volumeRunPathLineEdit.currentPath = "/some/where"
    assert desk.parameters.volumeRunPath == "/some/where"
    ui.sizeFactorSpinBox.value = 2.5
    assert desk.parameters.sizeFactor == 2.5
    desk.parameters.volumesPath = "/else/where"
    assert ui.volumesPathLineEdit.currentPath == "/else/where"


def test_the_first_volume_of_the_scene_is_proposed_and_folders_too(desk):
    head = desk.head()
    desk.open()
    assert desk.parameters.learntVolume is head
    assert desk.parameters.volumeRunPath == str(desk.folder / "home" / "volume-run-1")
    assert desk.parameters.volumesPath == str(desk.folder / "home" / "volumes-1")
