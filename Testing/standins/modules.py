"""What slicer-core lacks of Slicer's Python packages: base classes, translation, packaging, sample data."""

import importlib
import logging
import os
import types
import unittest

import slicer

from .records import answers, installed, installs


def tr(text):
    return text


def translate(context, text):
    return text


class ScriptedLoadableModule:
    """Stands for the class of that name in slicer.ScriptedLoadableModule."""

    def __init__(self, parent):
        self.parent, self.moduleName = parent, type(self).__name__
        parent.title, parent.categories, parent.dependencies = "", [], []
        parent.contributors, parent.helpText, parent.acknowledgementText = [], "", ""
        slicer.selfTests = getattr(slicer, "selfTests", {})
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename):
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        return f"<p>{docPage or self.moduleName}</p>"

    def runTest(self, msec=100, **kwargs):
        test = getattr(importlib.import_module(self.__module__), self.moduleName + "Test")()
        test.messageDelay = msec
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """Stands for the class of that name in slicer.ScriptedLoadableModule."""

    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        if parent is None:
            import qt

            parent = slicer.qMRMLWidget()
            parent.setLayout(qt.QVBoxLayout())
            parent.setMRMLScene(slicer.mrmlScene)
            self.parent, self.layout = parent, parent.layout()
            self.setup()
            parent.show()
        self.parent, self.layout = parent, parent.layout()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename):
        return os.path.join(os.path.dirname(slicer.util.modulePath(self.moduleName)), "Resources", filename)

    def cleanup(self):
        pass

    def setup(self):
        pass

    def onReload(self):
        slicer.util.reloadScriptedModule(self.moduleName)

    def _onModuleAboutToBeUnloaded(self, moduleName):
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    """Stands for the class of that name in slicer.ScriptedLoadableModule."""

    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node:
                node.SetAttribute("ModuleName", self.moduleName)  # closing the scene takes it away
                return node
        else:
            for node in self.getAllParameterNodes():
                return node
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self):
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Stands for the class of that name in slicer.ScriptedLoadableModule."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.moduleTestNames = [name for name in dir(self) if "test" in name and callable(getattr(self, name))]
        self.enableScreenshots, self.screenshotScaleFactor = False, 1.0

    def delayDisplay(self, message, requestedDelay=None, msec=None):
        slicer.util.delayDisplay(message, getattr(self, "messageDelay", msec or requestedDelay or 100))

    def takeScreenshot(self, name, description, type=-1):
        self.delayDisplay(description)

    def runTest(self):
        if not self.moduleTestNames:
            logging.warning("No test is defined in %s", type(self).__name__)
            return
        self.setUpClass()
        for name in self.moduleTestNames:
            self.setUp()
            getattr(self, name)()
            self.tearDown()
        self.tearDownClass()


# slicer.packaging of 5.12; nothing is ever installed


def _to_requirements(requirements):
    from packaging.requirements import InvalidRequirement, Requirement

    if isinstance(requirements, str):
        try:
            return [Requirement(requirements)]
        except InvalidRequirement:
            return [Requirement(one) for one in requirements.split()]
    if isinstance(requirements, Requirement):
        return [requirements]
    if isinstance(requirements, list):
        return [Requirement(one) if isinstance(one, str) else one for one in requirements]
    raise TypeError(f"Expected str, Requirement, or list, got {type(requirements).__name__}")


def load_requirements(path):
    with open(path) as file:
        lines = [line.strip() for line in file]
    return [one for line in lines if line and line[0] not in "#-" for one in _to_requirements(line)]


def pip_check(req, _seen=None):
    from importlib.metadata import PackageNotFoundError, version

    def here(one):
        if one.name in installed or (one.marker is not None and not one.marker.evaluate()):
            return True
        try:
            return version(one.name) in one.specifier
        except PackageNotFoundError:
            return False

    return all(here(one) for one in _to_requirements(req))


def pip_ensure(
    requirements,
    constraints=None,
    skip_packages=None,
    prompt_install=True,
    prompt_restart=True,
    requester=None,
    skip_in_testing=True,
    show_progress=True,
):
    installs.append(("pip_ensure", requirements))
    missing = [one for one in _to_requirements(requirements) if not pip_check(one)]
    if not missing or (skip_in_testing and slicer.app.testingEnabled()):
        return
    if prompt_install and not slicer.util.confirmOkCancelDisplay(f"{len(missing)} packages", requester):
        raise RuntimeError("User declined package installation")
    pip_install([str(one) for one in missing])


def pip_install(
    requirements,
    constraints=None,
    no_deps_requirements=None,
    skip_packages=None,
    blocking=True,
    show_progress=True,
    requester=None,
    parent=None,
    logCallback=None,
    completedCallback=None,
):
    installs.append(("pip_install", requirements))


def pip_uninstall(requirements, blocking=True, logCallback=None, completedCallback=None):
    installs.append(("pip_uninstall", requirements))


class SampleDataLogic:
    """Stands for SampleData.SampleDataLogic: keeps what is registered where the real one does."""

    @staticmethod
    def registerCustomSampleDataCategory(category, title):
        _kept("sampleDataSourceCategories").setdefault(category, {})["title"] = title

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFiles=None,
        loadFileProperties={},  # noqa: B006
        checksums=None,
        loadFileType=None,
    ):
        source = types.SimpleNamespace(**locals())
        counts = {len([uris] if isinstance(uris, str) else uris), *(
            len(names) for names in (fileNames, nodeNames) if isinstance(names, list)
        )}  # fmt: skip
        if len(counts) > 1:
            raise ValueError("All fields of sample data source must have the same length")
        sources = _kept("sampleDataSources").setdefault(category, [])
        sources.append(source) if source not in sources else None


def _kept(name):
    if name not in vars(slicer.modules):
        setattr(slicer.modules, name, {})
    return vars(slicer.modules)[name]


class PyTorchUtilsLogic:
    """Stands for the logic of the PyTorch extension: installs nothing, gives answers["installTorch"]."""

    @staticmethod
    def torchInstalled():
        return "torch" in installed

    def installTorch(
        self,
        askConfirmation=False,
        forceComputationBackend=None,
        torchVersionRequirement=None,
        torchvisionVersionRequirement=None,
    ):
        installs.append(("installTorch", torchVersionRequirement))
        return answers.get("installTorch")

    def uninstallTorch(self, askConfirmation=False, forceComputationBackend=None):
        installs.append(("uninstallTorch", None))


def _module(name, **members):
    module = types.ModuleType(name)
    vars(module).update(members)
    return module


def pythonModules() -> dict[str, types.ModuleType]:
    """The modules to be found by `import`, by name."""
    bases = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    functions = (_to_requirements, load_requirements, pip_check, pip_ensure, pip_install, pip_uninstall)
    names = [base.__name__ for base in bases]
    return {
        "slicer.i18n": _module("slicer.i18n", tr=tr, translate=translate),
        "slicer.ScriptedLoadableModule": _module(
            "slicer.ScriptedLoadableModule", __all__=names, **{base.__name__: base for base in bases}
        ),
        "slicer.packaging": _module("slicer.packaging", **{function.__name__: function for function in functions}),
        "PyTorchUtils": _module("PyTorchUtils", PyTorchUtilsLogic=PyTorchUtilsLogic),
        "SampleData": _module("SampleData", SampleDataLogic=SampleDataLogic),
    }
