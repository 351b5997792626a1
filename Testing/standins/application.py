"""`slicer.app` and what hangs on it: layout, modules, files. Plain objects that know no other names than the real ones."""

import os
import shutil
import tempfile

import slicer
import vtk

from .records import shown


class Strict:
    """An object that, like a C++ one, takes no attributes beyond those it has."""

    standsFor = ""

    def __setattr__(self, name, value):
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"'{name}' does not exist on {self.standsFor}")
        object.__setattr__(self, name, value)

    def __getattr__(self, name):
        raise AttributeError(f"{self.standsFor} has no attribute named '{name}'")


class Emitter(Strict):
    """A strict object with signals, given by name."""

    _signals: tuple[str, ...] = ()

    def connect(self, signal, function) -> bool:
        if signal not in self._signals:
            raise AttributeError(f"{self.standsFor} has no signal {signal}")
        self.__dict__.setdefault("_slots", []).append((signal, function))
        return True

    def disconnect(self, signal, function) -> bool:
        slots = self.__dict__.setdefault("_slots", [])
        known = (signal, function) in slots
        slots.remove((signal, function)) if known else None
        return known

    def _emit(self, signal, *args):
        for known, function in list(self.__dict__.get("_slots", [])):
            function(*args) if known == signal else None


class SliceWidget(Strict):
    standsFor = "qMRMLSliceWidget"

    def __init__(self, logic):
        self._logic = logic

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self):
        self._logic.FitSliceToBackground()


class LayoutManager(Strict):
    standsFor = "qSlicerLayoutManager"
    layout, threeDViewCount, tableViewCount, plotViewCount = 3, 1, 1, 1

    def __init__(self, logics):
        self._logics = logics

    def setLayout(self, layout):
        self.layout = layout

    def sliceViewNames(self):
        return ("Red", "Green", "Yellow")

    def sliceWidget(self, name):
        logics = [self._logics.GetItemAsObject(i) for i in range(self._logics.GetNumberOfItems())]
        return next((SliceWidget(logic) for logic in logics if logic.GetSliceNode().GetLayoutName() == name), None)

    def mrmlSliceLogics(self):
        return self._logics

    def mrmlScene(self):
        return slicer.mrmlScene

    def resetSliceViews(self):
        for name in self.sliceViewNames():
            self.sliceWidget(name).fitSliceToBackground()

    def resetThreeDViews(self):
        pass

    def pauseRender(self):
        pass

    def resumeRender(self):
        pass


class Module(Strict):
    """A module as in `slicer.modules`; a scripted one takes what its Python class sets on its parent."""

    standsFor = "qSlicerAbstractCoreModule"
    title, path, categories, dependencies, contributors = "", "", (), (), ()
    helpText, acknowledgementText, icon, hidden, index, associatedNodeTypes = "", "", None, False, -1, ()

    def __init__(self, name, logic=None, path=""):
        self._name, self._logic, self._widget, self.path = name, logic, None, path

    @property
    def name(self):
        return self._name

    def logic(self):
        return self._logic

    def mrmlScene(self):
        return slicer.mrmlScene

    def widgetRepresentation(self):
        return self._widget


class Modules(Strict):
    """`slicer.modules`."""

    standsFor = "slicer.modules"

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)


class FactoryManager(Strict):
    standsFor = "qSlicerModuleFactoryManager"

    def loadedModuleNames(self):
        return slicer.app.moduleManager().modulesNames()


class ModuleManager(Emitter):
    standsFor = "qSlicerModuleManager"
    _signals = ("moduleLoaded(QString)", "moduleAboutToBeUnloaded(QString)")

    def modulesNames(self):
        return tuple(m.name for m in vars(slicer.modules).values() if isinstance(m, Module))

    def module(self, name):
        return getattr(slicer.modules, name.lower(), None)

    def factoryManager(self):
        return FactoryManager()


class IOManager(Strict):
    """Files of volumes, by the same storage nodes that the real one uses; scenes as .mrml."""

    standsFor = "qSlicerIOManager"

    def openAddDataDialog(self):
        return bool(shown.append(("openAddDataDialog", "")))

    def openAddVolumeDialog(self):
        return bool(shown.append(("openAddVolumeDialog", "")))

    def openLoadSceneDialog(self):
        return bool(shown.append(("openLoadSceneDialog", "")))

    def fileType(self, filename):
        return "VolumeFile"

    def fileWriterFileType(self, node):
        return "NodeFile"

    def loadNodes(self, fileType, properties, loaded=None, messages=None):
        path = _text(properties["fileName"])
        if fileType != "VolumeFile":
            raise NotImplementedError(f"The stand-in does not read {fileType}")
        name = properties.get("name") or os.path.basename(path).split(".")[0]
        node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, 1 if properties.get("labelmap") else 0)
        loaded.AddItem(node) if loaded is not None and node else None
        return node is not None

    def saveNodes(self, fileType, properties, messages=None):
        path = _text(properties["fileName"])
        if fileType == "SceneFile":
            if path.endswith(".mrb"):
                return slicer.mrmlScene.WriteToMRB(path, None)
            return slicer.mrmlScene.Commit(path) == 1
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode(path)
        node.GetStorageNode().SetFileName(path)
        return node.GetStorageNode().WriteData(node) == 1

    def extractKnownExtension(self, filename, node):
        storage = node.CreateDefaultStorageNode()
        storage.UnRegister(None)
        return storage.GetSupportedFileExtension(_text(filename), False, True)

    def fileWriterExtensions(self, node):
        storage = node.CreateDefaultStorageNode()
        storage.UnRegister(None)
        types = storage.GetSupportedFileWriteTypes() if hasattr(storage, "GetSupportedFileWriteTypes") else vtk.vtkStringArray()
        return tuple(types.GetValue(i) for i in range(types.GetNumberOfValues()))

    def exportNodes(self, nodeIDs, fileNames, properties, hardenTransform, messages=None):
        for nodeID, path in zip(nodeIDs, fileNames, strict=True):
            node = slicer.mrmlScene.GetNodeByID(nodeID)
            storage = node.CreateDefaultStorageNode()
            storage.UnRegister(None)
            storage.SetScene(slicer.mrmlScene)
            storage.SetFileName(_text(path))
            if not storage.WriteData(node):
                return False
        return True


def _text(path):
    if not isinstance(path, str):
        raise TypeError(f"Qt takes no {type(path).__name__} for a file name: use str({path!r})")
    return path


class Application(Emitter):
    standsFor = "qSlicerApplication"
    _signals = ("startupCompleted()", "mrmlSceneChanged(vtkMRMLScene*)", "aboutToQuit()", "renderPaused(bool)")
    majorVersion, minorVersion, revision, repositoryRevision = 5, 12, "34000", "34000"
    applicationVersion, applicationName, mainApplicationName, releaseType = "5.12.3", "Slicer", "Slicer", "Stable"
    platform, arch, os, isInstalled = "linux-amd64", "amd64", "linux", True
    documentationBaseUrl, documentationVersion = "https://slicer.readthedocs.io/en/5.12/", "5.12"
    temporaryPath, defaultScenePath, slicerHome, cachePath, extensionsInstallPath = "", "", "", "", ""

    def __init__(self):
        folder = tempfile.mkdtemp(prefix="Slicer-")
        self._qt, self._testing, self._io = None, True, IOManager()
        self._moduleManager, self._logic, self._layout, self._mainWindow = ModuleManager(), None, None, None
        for name in ("temporaryPath", "defaultScenePath", "slicerHome", "cachePath", "extensionsInstallPath"):
            path = os.path.join(folder, name)
            os.mkdir(path)
            setattr(self, name, path)
        self._folder = folder

    def _remove(self):
        shutil.rmtree(self._folder, ignore_errors=True)

    def _gui(self):
        if self._qt is None:
            raise AttributeError("The host was started without a GUI")
        return self._qt

    def testingEnabled(self):
        return self._testing

    def mrmlScene(self):
        return slicer.mrmlScene

    def applicationLogic(self):
        return self._logic

    def layoutManager(self):
        return self._layout if self._qt else None

    def moduleManager(self):
        return self._moduleManager

    def coreIOManager(self):
        return self._io

    def ioManager(self):
        return self._io

    def moduleLogic(self, name):
        return self._moduleManager.module(name).logic()

    def moduleDocumentationUrl(self, name):
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def translate(self, context, text):
        return text

    def processEvents(self):
        if self._qt:
            self._qt.QApplication.processEvents()

    def pauseRender(self):
        pass

    def resumeRender(self):
        pass

    def setRenderPaused(self, pause):
        pass

    def clipboard(self):
        return self._gui().QApplication.clipboard()

    def settings(self):
        return self._gui().QSettings()

    userSettings = revisionUserSettings = settings

    def setOverrideCursor(self, cursor):
        self._gui().QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self):
        self._gui().QApplication.restoreOverrideCursor()

    def topLevelWidgets(self):
        return (self._mainWindow,) if self._qt else ()

    def startupEnvironment(self):
        return self._gui().QProcessEnvironment.systemEnvironment()

    def palette(self):
        return self._gui().QApplication.palette()

    def commandOptions(self):
        return None

    def pythonConsole(self):
        return None

    def restart(self):
        raise SystemExit("restart")


def scene():
    """A scene with the application's logic and the nodes that are there when 3D Slicer has started."""
    slicer.mrmlScene = slicer.vtkMRMLScene()
    app = slicer.app
    app._logic = slicer.vtkSlicerApplicationLogic()
    app._logic.SetMRMLScene(slicer.mrmlScene)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(slicer.mrmlScene)
    app._logic.SetSliceLogics(vtk.vtkCollection())
    app._layout = LayoutManager(app._logic.GetSliceLogics())
    for name, logic in MODULES.items():
        module = Module(name, getattr(slicer, logic)() if logic else None)
        if logic:
            module.logic().SetMRMLApplicationLogic(app._logic)
            module.logic().SetMRMLScene(slicer.mrmlScene)
            app._logic.SetModuleLogic(name, module.logic())
        setattr(slicer.modules, name.lower(), module)
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSliceNode")
        node.UnRegister(None)
        node.SetName(name)
        node.SetSingletonTag(name)
        node.SetLayoutName(name)
        node.SetOrientation(orientation)
        slicer.mrmlScene.AddNode(node)
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(app._logic)
        app._logic.GetSliceLogics().AddItem(logic)
        logic.SetMRMLScene(slicer.mrmlScene)
        logic.SetSliceNode(node)
    view = slicer.vtkMRMLViewNode()
    view.SetSingletonTag("1")
    view.SetLayoutName("1")
    slicer.mrmlScene.AddNode(view)
    slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, _inHierarchy)
    slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, _hierarchy)
    _hierarchy()


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
    "Data": None,
    "SampleData": None,
    "DICOM": None,
}
SHOWN_IN_HIERARCHY = ("Volume", "Segmentation", "Model", "Table", "PlotChart", "PlotSeries", "Transform", "Markups", "Text")


def _hierarchy(caller=None, event=None):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _inHierarchy(caller, event, node):
    """In Slicer the subject hierarchy's plug-ins, which are Qt's, make an item for each node that a user deals with."""
    if node.GetHideFromEditors() or not any(node.IsA(f"vtkMRML{kind}Node") for kind in SHOWN_IN_HIERARCHY):
        return
    hierarchy = _hierarchy()
    if not hierarchy.GetItemByDataNode(node):
        hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

