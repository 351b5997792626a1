"""A small host in which the module's panel and logic run without 3D Slicer.

MRML is slicer-core's own; Qt is PySide6 without a screen, made to behave like PythonQt; the rest are strict stand-ins.

    python Testing/slicer_host.py --screenshot panel.png
"""

from __future__ import annotations

import argparse
import atexit
import ctypes
import functools
import importlib
import inspect
import logging
import os
import sys
import tempfile
import types
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

from standins.records import answers, installed, installs, shown, slotErrors

MODULE_FOLDER = Path(__file__).resolve().parent.parent / "SkullGAN"
TESTING_ANSWERS = {  # what slicer.util's functions return while slicer.app.testingEnabled()
    "infoDisplay": None,
    "warningDisplay": None,
    "errorDisplay": None,
    "delayDisplay": None,
    "confirmOkCancelDisplay": True,
    "confirmYesNoDisplay": True,
    "confirmRetryCloseDisplay": False,
    "messageBox": 0x400,  # qt.QMessageBox.Ok
}
_host = types.SimpleNamespace(slicer=None, qt=None, ctk=None)


def start(gui: bool = True) -> None:
    """Give this process `slicer`, `qt`, `ctk` as in 3D Slicer; without a GUI, `import qt` and `import ctk` fail.

    A second call changes nothing but whether there is a GUI.
    """
    if _host.slicer is None:
        _installSlicer()
    if gui and _host.qt is None:
        _installQt()
    _offer("qt", _host.qt if gui else None)
    _offer("ctk", _host.ctk if gui else None)
    _host.slicer.app._qt = _host.qt if gui else None


def reset() -> None:
    """A fresh scene, no panel, no settings, no answers, nothing recorded: what a test starts from."""
    slicer = _host.slicer
    for module in vars(slicer.modules).values():
        if getattr(module, "widgetRepresentation", None) and (parent := module.widgetRepresentation()):
            parent.self().cleanup()
            parent.deleteLater()
            module._widget = None
    _host.scene.clear()
    if slicer.app._qt:
        from PySide6 import QtCore

        from standins import ui_loader

        ui_loader.clear()
        slicer.app.settings().clear()
        slicer.app.processEvents()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
    for remembered in (shown, answers, slotErrors, installs, installed):
        remembered.clear()
    setTesting(True)
    setPackaging(True)
    setPyTorchUtils(False)


def sliceLogics() -> dict:
    """The logics of the red, green and yellow slice views of a fresh scene, by name, each of 300 x 200 pixels."""
    import slicer

    start(gui=False)
    reset()
    collection = slicer.app.applicationLogic().GetSliceLogics()
    made = {logic.GetSliceNode().GetLayoutName(): logic for logic in map(collection.GetItemAsObject, range(3))}
    for logic in made.values():
        logic.GetSliceNode().SetDimensions(300, 200, 1)
    return made


def setTesting(enabled: bool) -> None:
    """What `slicer.app.testingEnabled()` says. Dialogs are recorded and answered either way."""
    _host.slicer.app._testing = enabled


def setPackaging(present: bool) -> None:
    """Whether there is `slicer.packaging`, which 3D Slicer 5.10 has not."""
    _offer("slicer.packaging", _host.packaging if present else None)
    vars(_host.slicer).pop("packaging", None)
    if present:
        _host.slicer.packaging = _host.packaging


def setPyTorchUtils(present: bool) -> None:
    """Whether the PyTorch extension is there; it installs nothing and gives answers["installTorch"]."""
    _offer("PyTorchUtils", _host.PyTorchUtils if present else None)


def _offer(name: str, module: types.ModuleType | None) -> None:
    """Let `import` find a module, or not."""
    sys.modules.pop(name, None)
    if module is not None:
        sys.modules[name] = module


def load_module(name: str = "SkullGAN") -> types.ModuleType:
    """Import the module as 3D Slicer does at its start and register it in `slicer.modules`; gives the Python module."""
    slicer = _host.slicer
    if str(MODULE_FOLDER) not in sys.path:
        sys.path.insert(0, str(MODULE_FOLDER))
    module = importlib.import_module(name)
    if not hasattr(slicer.modules, name.lower()):
        registered = _host.application.Module(name, path=str(MODULE_FOLDER / f"{name}.py"))
        setattr(slicer.modules, name.lower(), registered)
        registered._python = getattr(module, name)(registered)
        slicer.app._emit("startupCompleted()")
    return module


def open_panel(name: str = "SkullGAN"):
    """Build the panel and enter it as if the user had selected the module; gives the widget's Python object."""
    import qt

    module = load_module(name)
    parent = _host.slicer.qSlicerScriptedLoadableModuleWidget()
    parent.setLayout(qt.QVBoxLayout())
    parent.setMRMLScene(_host.slicer.mrmlScene)
    getattr(_host.slicer.modules, name.lower())._widget = parent
    parent._qt._make(getattr(module, name + "Widget"))
    parent.show()
    parent.enter()
    return parent.self()


def checkSlots() -> None:
    """Raise the first error that a slot has raised since the last reset."""
    if slotErrors:
        raise slotErrors[0]


def screenshot(widget, path: str | Path, width: int = 480) -> None:
    """Write a PNG of a panel, as high as it needs to be."""
    panel = widget.parent._qt
    for _ in range(3):  # texts that wrap change the height
        panel.resize(width, max(panel.sizeHint().height(), panel.layout().totalHeightForWidth(width)))
        _host.slicer.app.processEvents()
    if not panel.grab().save(str(path)):
        raise OSError(f"{path} could not be written")


def _installSlicer() -> None:
    import slicer
    import slicer.util

    from standins import application, modules, parameter_node, scene

    for name, leaked in list(vars(slicer).items()):  # slicer-core shows what is in slicer.util as slicer's own
        if not name.startswith(("_", "vtk")) and name != "util" and vars(slicer.util).get(name) is leaked:
            delattr(slicer, name)
    _host.slicer, _host.application, _host.scene = slicer, application, scene
    slicer.app, slicer.modules = application.Application(), application.Modules()
    atexit.register(slicer.app._remove)
    scene.fill()
    for name, module in {**modules.pythonModules(), "slicer.parameterNodeWrapper": parameter_node}.items():
        sys.modules[name] = module
        if name.startswith("slicer."):
            setattr(slicer, name.removeprefix("slicer."), module)
    _host.packaging, _host.PyTorchUtils = slicer.packaging, sys.modules.pop("PyTorchUtils")
    for name in TESTING_ANSWERS:
        setattr(slicer.util, name, _recorded(name, getattr(slicer.util, name)))
    slicer.util.pip_install, slicer.util.pip_uninstall = modules.pip_install, modules.pip_uninstall
    slicer.util.tempDirectory = _tempDirectory
    slicer.util.tryWithErrorDisplay = _tryWithErrorDisplay(slicer.util.tryWithErrorDisplay)


def _recorded(name, real):
    @functools.wraps(real)
    def display(*args, **kwargs):
        text = next(iter(inspect.signature(real).bind(*args, **kwargs).arguments.values()))
        logging.info("%s: %s", name, text)
        shown.append((name, text))
        return answers.get(name, TESTING_ANSWERS[name])

    return display


def _tempDirectory(key="__SlicerTemp__", tempDir=None, includeDateTime=True):
    return tempfile.mkdtemp(prefix=key, dir=tempDir or _host.slicer.app.temporaryPath)


def _tryWithErrorDisplay(real):
    @contextmanager
    def tryWithErrorDisplay(message=None, show=True, waitCursor=False):
        with real(message, show, waitCursor and _host.slicer.app._qt is not None):
            yield

    return tryWithErrorDisplay


def _installQt() -> None:
    from PySide6 import QtCore, QtGui, QtWidgets

    if sys.version_info < (3, 12):  # PySide6 6.12 drops a reference to None with each call of a slot, till Python stops
        for constant in (None, True, False):
            ctypes.c_ssize_t.from_address(id(constant)).value += 1 << 30
    slicer = _host.slicer
    QtCore.qInstallMessageHandler(_message)
    _host.instance = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
    _host.instance.setStyle("Fusion")
    _host.instance.setApplicationName("Slicer")
    _host.instance.setOrganizationName("SlicerTests")
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
    for scope in (QtCore.QSettings.UserScope, QtCore.QSettings.SystemScope):
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, scope, slicer.app.temporaryPath)
    if "DejaVu Sans" not in QtGui.QFontDatabase.families():
        import matplotlib

        for font in Path(matplotlib.get_data_path(), "fonts", "ttf").glob("DejaVuSans*.ttf"):
            QtGui.QFontDatabase.addApplicationFont(str(font))
    _host.instance.setFont(QtGui.QFont("DejaVu Sans", 9))

    from standins import ctk_widgets, mrml_widgets, properties, qt_module, ui_loader

    _host.qt, _host.ctk = qt_module.QtModule("qt"), ctk_widgets.CtkModule("ctk")
    _host.qt.QUiLoader = ui_loader.QUiLoader
    for name, widget in mrml_widgets.WIDGETS.items():
        setattr(slicer, name, properties.standIn(widget))
    slicer.app._mainWindow = slicer.qSlicerMainWindow()


def _message(kind, context, text) -> None:
    if "propagateSizeHints" not in text:  # said for each window without a screen
        print(text, file=sys.stderr)


def main(arguments=None) -> None:
    """Open the panel and write a picture of it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--screenshot", type=Path, required=True)
    options = parser.parse_args(arguments)
    start(gui=True)
    screenshot(open_panel(), options.screenshot)
    checkSlots()


if __name__ == "__main__":
    main()
