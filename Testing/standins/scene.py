"""The scene as it is when 3D Slicer has started: the application's logic, the modules' logics, the default nodes."""

import os

import slicer
import vtk

from .application import Module

MODULES = {
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Models": "vtkSlicerModelsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
}
SLICES = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
PRESETS = """<MRML version="Slicer4">
<VolumeProperty name="CT-Bone" id="vtkMRMLVolumePropertyNode1" scalarOpacity="8 -3024 0 -16 0 641 0.7 3071 0.7"
 gradientOpacity="4 0 1 255 1" colorTransfer="12 -3024 0 0 0 641 0.9 0.8 0.6 3071 1 1 1" shade="1" interpolation="1"/>
</MRML>"""  # one of the presets in 3D Slicer's share folder, in rounder numbers
IN_HIERARCHY = ("Volume", "Segmentation", "Model", "Table", "PlotChart", "PlotSeries", "Transform", "Markups", "Text")


def fill() -> None:
    """Make `slicer.mrmlScene` and all that works on it."""
    scene = slicer.mrmlScene = slicer.vtkMRMLScene()
    logic = slicer.app._logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    logic.SetSliceLogics(vtk.vtkCollection())
    for name, className in MODULES.items():
        module = Module(name, getattr(slicer, className)())
        module.logic().SetMRMLApplicationLogic(logic)
        module.logic().SetMRMLScene(scene)
        logic.SetModuleLogic(name, module.logic())
        setattr(slicer.modules, name.lower(), module)
    _sharePresets(slicer.modules.volumerendering.logic())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    for name, orientation in SLICES.items():
        node = _view("vtkMRMLSliceNode", name)
        node.SetOrientation(orientation)
        view = slicer.vtkMRMLSliceLogic()
        view.SetMRMLApplicationLogic(logic)
        logic.GetSliceLogics().AddItem(view)
        view.SetMRMLScene(scene)
        view.SetSliceNode(node)
    _view("vtkMRMLViewNode", "1")
    scene.AddObserver(scene.NodeAddedEvent, _toHierarchy)
    scene.AddObserver(scene.EndCloseEvent, _hierarchy)
    _hierarchy()


def clear() -> None:
    """Close the scene and turn the slice views back."""
    slicer.mrmlScene.Clear(0)
    for name, orientation in SLICES.items():
        slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}").SetOrientation(orientation)


def _sharePresets(logic):
    folder = os.path.join(slicer.app.slicerHome, "VolumeRendering")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "presets.xml"), "w") as file:
        file.write(PRESETS)
    logic.SetModuleShareDirectory(folder)


def _view(className, name):
    node = slicer.mrmlScene.CreateNodeByClass(className)
    node.UnRegister(None)
    node.SetName(name)
    node.SetSingletonTag(name)
    node.SetLayoutName(name)
    return slicer.mrmlScene.AddNode(node)


def _hierarchy(caller=None, event=None):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _toHierarchy(caller, event, node):
    """In Slicer the subject hierarchy's plug-ins, which are Qt's, make an item for each node that a user deals with."""
    if not node.GetHideFromEditors() and any(node.IsA(f"vtkMRML{kind}Node") for kind in IN_HIERARCHY):
        hierarchy = _hierarchy()
        if not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
