"""Synthetic skull CT in 3D Slicer: prepare, train, generate, evaluate. Thin; the work is done by SkullGANLib."""

import importlib
import logging
import os
import sys
import unittest
from typing import Annotated

import slicer
import vtk
from slicer import (
    vtkMRMLLinearTransformNode,
    vtkMRMLMarkupsROINode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from SkullGANSlicer.logic import Logic

MODULE_FOLDER = os.path.dirname(os.path.realpath(__file__))


class SkullGAN(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("SkullGAN")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = ["Segmentations", "Volumes", "Tables", "Plots", "Markups", "Sequences"]
        parent.contributors = ["The SkullGAN developers"]
        parent.helpText = _(
            "Cut segments of skull bone out of head CT, train generative models on them on this computer, generate "
            "synthetic segments and evaluate them. Nothing leaves this computer. "
            'See <a href="{url}">the documentation</a>.'
        ).format(url="https://github.com/SkullGAN/SkullGAN#in-3d-slicer")
        parent.acknowledgementText = _(
            "After: Naftchi-Ardebili et al., SkullGAN: Synthetic Skull CT Generation with Generative Adversarial "
            "Networks, arXiv:2308.00206."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer a head phantom in the Sample Data module; it is made on this computer when asked for."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SkullGAN",
        sampleName="SkullGAN phantom head",
        uris="",  # nothing is downloaded, but Slicer counts them
        fileNames="SkullGANPhantomHead.nrrd",
        nodeNames="SkullGAN phantom head",
        thumbnailFileName=os.path.join(MODULE_FOLDER, "Resources", "Icons", "SkullGANPhantomHead.png"),
        customDownloader=makePhantom,
    )


def makePhantom(source=None):
    """A head phantom in the scene; what Sample Data calls."""
    with slicer.util.tryWithErrorDisplay(_("The head phantom could not be made."), waitCursor=True):
        return [SkullGANLogic().phantom()]


@parameterNodeWrapper
class SkullGANParameterNode:
    """All that a user chooses in the panel; saved with the scene.

    Paths are text, empty while nothing is chosen. ``init`` and ``model`` are folders, or ``folder`` for the path beside
    them; ``init`` is empty for fresh weights. ``conditions`` and ``classes`` are JSON.
    """

    defaultsSet: bool = False
    offeredVolume: vtkMRMLScalarVolumeNode
    volumes: list[vtkMRMLScalarVolumeNode]
    scansPath: str = ""
    skullMask: vtkMRMLSegmentationNode
    headFrame: vtkMRMLLinearTransformNode
    axial: bool = True
    coronal: bool = True
    sagittal: bool = True
    temporal: bool = True
    parietal: bool = True
    frontal: bool = False
    occipital: bool = False
    intervalMm: Annotated[float, WithinRange(0.5, 20)] = 3.1
    huOffset: Annotated[int, WithinRange(-4096, 4096)] = 0
    datasetPath: str = ""

    labelledVolume: vtkMRMLScalarVolumeNode
    labelledSegmentation: vtkMRMLSegmentationNode
    sliceSize: Annotated[int, WithinRange(64, 512)] = 128
    labelledPath: str = ""

    classFoldersPath: str = ""
    classSize: Annotated[int, WithinRange(32, 512)] = 128
    classSpacingMm: Annotated[float, WithinRange(0, 10)] = 0.0
    subjectsPath: str = ""
    subjectPattern: str = ""
    classWindow: bool = False
    blackHu: Annotated[int, WithinRange(-32768, 32767)] = -1000
    whiteHu: Annotated[int, WithinRange(-32768, 32767)] = 2000
    dropDuplicates: bool = False
    classSetPath: str = ""
    classedPath: str = ""
    classColumns: str = "region, side"

    trainDataPath: str = ""
    family: str = "relativistic"
    preset: str = "recommended-XS"
    init: str = ""
    initPath: str = ""
    pretrainPath: str = ""
    trainSettings: str = ""
    device: str = "auto"
    images: Annotated[int, WithinRange(0, 100_000_000)] = 0
    runPath: str = ""
    showLosses: bool = True

    learntVolume: vtkMRMLScalarVolumeNode
    learntRoi: vtkMRMLMarkupsROINode
    volumeDimensions: str = "3"
    volumePreset: str = "demo"
    volumeSettings: str = ""
    volumeRunPath: str = ""

    model: str = ""
    modelPath: str = ""
    conditions: str = "{}"
    classes: str = "{}"
    variety: Annotated[int, WithinRange(0, 100)] = 100
    centres: Annotated[int, WithinRange(1, 256)] = 1
    count: Annotated[int, WithinRange(1, 100_000)] = 64
    seed: Annotated[int, WithinRange(0, 2_147_483_647)] = 0
    auditPath: str = ""
    syntheticPath: str = ""
    exportFormat: Annotated[str, Choice(["nrrd", "nii", "npy", "png", "dicom"])] = "nrrd"
    exportPath: str = ""

    volumeCount: Annotated[int, WithinRange(1, 1000)] = 1
    sizeFactor: Annotated[float, WithinRange(0.2, 10)] = 1.0
    firstScale: Annotated[int, WithinRange(0, 20)] = 0
    sourceVolume: vtkMRMLScalarVolumeNode
    volumesPath: str = ""
    toolVolume: vtkMRMLScalarVolumeNode

    drawnSegmentation: vtkMRMLSegmentationNode
    gridVolume: vtkMRMLScalarVolumeNode
    fromLabelsCount: Annotated[int, WithinRange(1, 100)] = 1
    fromLabelsPath: str = ""

    paintedLabels: str = "outer table, diploe, inner table"
    paintedCount: Annotated[int, WithinRange(2, 500)] = 20
    paintedVolume: vtkMRMLScalarVolumeNode
    paintedSegmentation: vtkMRMLSegmentationNode
    labellerPath: str = ""
    labelledCount: Annotated[int, WithinRange(1, 100_000)] = 200
    labelledSetPath: str = ""

    walkFrames: Annotated[int, WithinRange(2, 1000)] = 120
    walkPerSecond: Annotated[int, WithinRange(1, 60)] = 20

    realPath: str = ""
    split: Annotated[str, Choice(["auto", "all", "train", "val", "test"])] = "auto"
    evaluatedPath: str = ""
    controlPath: str = ""
    artificial: bool = True
    askDiscriminator: bool = True
    reportPath: str = ""

    downstreamTask: str = "all"
    downstreamSeeds: Annotated[int, WithinRange(1, 20)] = 3
    downstreamQuick: bool = False
    downstreamPath: str = ""

    turingRealPath: str = ""
    turingSyntheticPath: str = ""
    turingCount: Annotated[int, WithinRange(2, 1000)] = 100
    turingReader: str = ""
    turingPath: str = ""


class SkullGANWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel's life in Slicer: set-up, scene events, reload. What it does is in ``SkullGANSlicer.panel``."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SkullGAN.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SkullGANLogic()
        from SkullGANSlicer.panel import Panel

        self.panel = Panel(self.ui, self.logic, MODULE_FOLDER)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.initializeParameterNode()

    def cleanup(self):
        self.setParameterNode(None)
        self.removeObservers()
        if self.panel is not None:
            self.panel.cleanup()

    def enter(self):
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self):
        self.setParameterNode(None)

    def onSceneStartClose(self, caller=None, event=None):
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None):
        self.panel.forgetResults()
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller=None, event=None):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self.panel.setDefaults(parameterNode)
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        if self.panel is not None:
            self.panel.setParameters(parameterNode)

    def onParametersModified(self, caller=None, event=None):
        self.panel.update()

    def onReload(self):
        """Reload the files beside this one too, those first that others import."""
        from SkullGANSlicer import RELOAD_ORDER

        for name in RELOAD_ORDER:
            module = sys.modules.get(f"SkullGANSlicer.{name}")
            if module is not None:
                importlib.reload(module)
        ScriptedLoadableModuleWidget.onReload(self)


class SkullGANLogic(Logic, ScriptedLoadableModuleLogic):
    """Everything a script can do; see ``SkullGANSlicer.logic.Logic``."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        Logic.__init__(self)

    def getParameterNode(self):
        return SkullGANParameterNode(super().getParameterNode())


class SkullGANTest(ScriptedLoadableModuleTest):
    """The logic from a head phantom to an evaluated model, inside Slicer."""

    def setUp(self):
        from SkullGANLib import needed

        missing = needed.missing(in_slicer=True)
        if missing:
            self.skipTest("Python packages are missing: " + ", ".join(missing))
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Both tests; without the packages that the library needs there is nothing to test."""
        try:
            for test in (self.test_fromPhantomToReport, self.test_fromVolumeToVolumes, self.test_errorsAreInWords):
                self.setUp()
                test()
        except unittest.SkipTest as reason:
            logging.warning("SkullGAN is not tested. %s", reason)

    def test_fromPhantomToReport(self):
        from SkullGANSlicer import selftest

        self.delayDisplay("From a head phantom to a report; this takes a minute or two")
        selftest.fromPhantomToReport(SkullGANLogic())
        self.delayDisplay("Test passed")

    def test_fromVolumeToVolumes(self):
        from SkullGANSlicer import selftest

        self.delayDisplay("From a volume to others")
        selftest.fromVolumeToVolumes(SkullGANLogic())
        self.delayDisplay("Test passed")

    def test_errorsAreInWords(self):
        from SkullGANSlicer import selftest

        selftest.errorsAreInWords(SkullGANLogic())
        logging.info("Errors are in words")
