"""`slicer.app` and what hangs on it: layout, modules, files. Plain objects with no names but the real ones."""

import os
import shutil
import tempfile

import slicer

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

    def __init__(self):
        self._slots = []

    def connect(self, signal, function) -> bool:
        if signal not in self._signals:
            raise AttributeError(f"{self.standsFor} has no signal {signal}")
        self._slots.append((signal, function))
        return True

    def disconnect(self, signal, function) -> bool:
        before = len(self._slots)
        self._slots = [slot for slot in self._slots if slot != (signal, function)]
        return len(self._slots) < before

    def _emit(self, signal, *args):
        for known, function in list(self._slots):
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
    _layouts = None

    def layoutLogic(self):
        if self._layouts is None:
            self._layouts = slicer.vtkMRMLLayoutLogic()
            self._layouts.SetMRMLScene(slicer.mrmlScene)
        return self._layouts

    def setLayout(self, layout):
        if not self.layoutLogic().GetLayoutNode().IsLayoutDescription(layout):
            raise RuntimeError(f"There is no layout {layout}; 3D Slicer would show the conventional one")
        self.layout = layout

    def sliceViewNames(self):
        return ("Red", "Green", "Yellow")

    def sliceWidget(self, name):
        widgets = [SliceWidget(logic) for logic in self.mrmlSliceLogics()]
        return next((widget for widget in widgets if widget.mrmlSliceNode().GetLayoutName() == name), None)

    def mrmlSliceLogics(self):
        return slicer.app.applicationLogic().GetSliceLogics()

    def mrmlScene(self):
        return slicer.mrmlScene

    def resetSliceViews(self):
        for logic in self.mrmlSliceLogics():
            logic.FitSliceToBackground()

    def resetThreeDViews(self):
        pass


class Module(Strict):
    """A module as in `slicer.modules`; a scripted one takes what its Python class sets on its parent."""

    standsFor = "qSlicerScriptedLoadableModule"
    title, path, categories, dependencies, contributors, index = "", "", (), (), (), -1
    helpText, acknowledgementText, icon, hidden, associatedNodeTypes = "", "", None, False, ()

    def __init__(self, name, logic=None, path=""):
        self._name, self._logic, self._widget, self.path = name, logic, None, path

    @property
    def name(self):
        return self._name

    def logic(self):
        return self._logic

    def widgetRepresentation(self):
        return self._widget


class Modules(Strict):
    standsFor = "slicer.modules"
    __setattr__ = object.__setattr__


class ModuleManager(Emitter):
    standsFor = "qSlicerModuleManager"
    _signals = ("moduleLoaded(QString)", "moduleAboutToBeUnloaded(QString)")

    def modulesNames(self):
        return tuple(module.name for module in vars(slicer.modules).values() if isinstance(module, Module))

    def module(self, name):
        return vars(slicer.modules).get(name.lower())


class IOManager(Strict):
    """Volumes are read and nodes written by slicer-core's own logic and storage nodes; dialogs are recorded."""

    standsFor = "qSlicerIOManager"

    def openAddDataDialog(self):
        return bool(shown.append(("openAddDataDialog", "")))

    openAddVolumeDialog = openLoadSceneDialog = openAddDataDialog

    def fileType(self, filename):
        return "VolumeFile"

    def fileWriterFileType(self, node):
        return "NodeFile"

    def loadNodes(self, fileType, properties, loaded=None, messages=None):
        path = _text(properties["fileName"])
        if fileType != "VolumeFile":
            raise NotImplementedError(f"The stand-in does not read {fileType}")
        name = properties.get("name") or os.path.basename(path).split(".")[0]
        node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, int(properties.get("labelmap", False)))
        loaded.AddItem(node) if loaded is not None and node else None
        return node is not None

    def saveNodes(self, fileType, properties, messages=None):
        path = _text(properties["fileName"])
        if fileType == "SceneFile":
            bundle = path.endswith(".mrb")
            return slicer.mrmlScene.WriteToMRB(path, None) if bundle else slicer.mrmlScene.Commit(path) == 1
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode(path)
        node.GetStorageNode().SetFileName(path)
        return node.GetStorageNode().WriteData(node) == 1


def _text(path):
    if not isinstance(path, str):
        raise TypeError(f"Qt takes no {type(path).__name__} for a file name: use str({path!r})")
    return path


class Application(Emitter):
    standsFor = "qSlicerApplication"
    _signals = ("startupCompleted()", "mrmlSceneChanged(vtkMRMLScene*)", "aboutToQuit()", "lastWindowClosed()")
    majorVersion, minorVersion, revision, repositoryRevision = 5, 12, "34000", "34000"
    applicationVersion, applicationName, mainApplicationName, releaseType = "5.12.3", "Slicer", "Slicer", "Stable"
    platform, arch, os, isInstalled = "linux-amd64", "amd64", "linux", True
    documentationBaseUrl, documentationVersion = "https://slicer.readthedocs.io/en/5.12/", "5.12"
    temporaryPath, defaultScenePath, slicerHome, cachePath, extensionsInstallPath = "", "", "", "", ""

    def __init__(self):
        super().__init__()
        self._qt, self._mainWindow, self._testing, self._logic = None, None, True, None
        self._io, self._moduleManager, self._layout = IOManager(), ModuleManager(), LayoutManager()
        self._folder = tempfile.mkdtemp(prefix="Slicer-")
        for name in ("temporaryPath", "defaultScenePath", "slicerHome", "cachePath", "extensionsInstallPath"):
            setattr(self, name, os.path.join(self._folder, name))
            os.mkdir(getattr(self, name))

    def _remove(self):
        shutil.rmtree(self._folder, ignore_errors=True)

    def _gui(self):
        if self._qt is None:
            raise RuntimeError("The host was started without a GUI")
        return self._qt

    def testingEnabled(self):
        return self._testing

    def mrmlScene(self):
        return slicer.mrmlScene

    def applicationLogic(self):
        return self._logic

    def layoutManager(self):
        return self._layout if self._qt else None  # none either with --no-main-window

    def moduleManager(self):
        return self._moduleManager

    def coreIOManager(self):
        return self._io

    ioManager = coreIOManager

    def moduleLogic(self, name):
        return self._moduleManager.module(name).logic()

    def translate(self, context, text):
        return text

    def processEvents(self):
        self._qt.QApplication.processEvents() if self._qt else None

    def topLevelWidgets(self):
        return (self._mainWindow,) if self._qt else ()

    def clipboard(self):
        return self._gui().QApplication.clipboard()

    def settings(self):
        return self._gui().QSettings()

    userSettings = revisionUserSettings = settings

    def setOverrideCursor(self, cursor):
        self._gui().QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self):
        self._gui().QApplication.restoreOverrideCursor()

    def startupEnvironment(self):
        return self._gui().QProcessEnvironment.systemEnvironment()

    def palette(self):
        return self._gui().QApplication.palette()

    def pauseRender(self):
        pass

    resumeRender = pauseRender
