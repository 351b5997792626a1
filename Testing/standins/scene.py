"""The scene as it is when 3D Slicer has started: the application's logic, the modules' logics, the default nodes."""

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
