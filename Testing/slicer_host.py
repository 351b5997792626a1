"""A small host in which the module's panel and logic run without 3D Slicer.

MRML is slicer-core's own; Qt is PySide6 without a screen, made to behave like PythonQt; the rest are strict stand-ins.

    python Testing/slicer_host.py --screenshot panel.png
"""

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
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
REPOSITORY = Path(__file__).resolve().parent.parent
MODULE_FOLDER = REPOSITORY / "SkullGAN"
if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

from standins.records import answers, installed, installs, shown, slotErrors  # noqa: E402

_started: dict[str, object] = {}
ANSWERS = {
    "infoDisplay": None,
    "warningDisplay": None,
    "errorDisplay": None,
    "confirmOkCancelDisplay": True,
    "confirmYesNoDisplay": True,
    "confirmRetryCloseDisplay": False,
    "messageBox": 0x400,  # qt.QMessageBox.Ok
    "delayDisplay": None,
}


def start(gui: bool = True) -> None:
    """Give this process `slicer`, `qt`, `ctk` as in 3D Slicer; without a GUI, `import qt` and `import ctk` fail.

    A second call changes nothing but whether there is a GUI.
    """
    if not _started:
        _install()
    slicer = _started["slicer"]
    if gui and "qt" not in _started:
        _installQt()
    for name in ("qt", "ctk"):
        if gui:
            sys.modules[name] = _started[name]
        else:
            sys.modules[name] = None  # makes the import fail
    slicer.app._qt = _started["qt"] if gui else None


def _install() -> None:
    import slicer
    import slicer.util

    from standins import application, modules

    for name, leaked in list(vars(slicer).items()):  # slicer-core shows the content of slicer.util as slicer's
        if not name.startswith(("_", "vtk")) and name != "util" and vars(slicer.util).get(name) is leaked:
            delattr(slicer, name)
    _started.update(slicer=slicer, application=application)
    slicer.app, slicer.modules = application.Application(), application.Modules()
    atexit.register(slicer.app._remove)
    application.scene()
    for name, module in modules.pythonModules().items():
        sys.modules[name] = module
        if name.startswith("slicer."):
            setattr(slicer, name.removeprefix("slicer."), module)
    from standins import parameter_node

    sys.modules["slicer.parameterNodeWrapper"] = slicer.parameterNodeWrapper = parameter_node
    for name in ANSWERS:
        setattr(slicer.util, name, _recorded(name, getattr(slicer.util, name)))
    slicer.util.tempDirectory = tempDirectory


def _recorded(name, real):
    @functools.wraps(real)
    def display(*args, **kwargs):
        text = next(iter(inspect.signature(real).bind(*args, **kwargs).arguments.values()))
        logging.info("%s: %s", name, text)
        shown.append((name, text))
        return answers.get(name, ANSWERS[name])

    return display


def tempDirectory(key="__SlicerTemp__", tempDir=None, includeDateTime=True):
    return tempfile.mkdtemp(prefix=key, dir=tempDir or _started["slicer"].app.temporaryPath)


def _installQt() -> None:
    from PySide6 import QtCore, QtGui, QtWidgets

    if sys.version_info < (3, 12):  # PySide6 6.12 drops a reference to None with each call of a slot, till Python stops
        for constant in (None, True, False):
            ctypes.c_ssize_t.from_address(id(constant)).value += 1 << 30
    slicer = _started["slicer"]
    _started["application instance"] = app = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
    QtCore.qInstallMessageHandler(lambda kind, where, text: None if "propagateSizeHints" in text else print(text, file=sys.stderr))
    app.setStyle("Fusion")
    app.setApplicationName("Slicer")
    app.setOrganizationName("SlicerTests")
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
    for scope in (QtCore.QSettings.UserScope, QtCore.QSettings.SystemScope):
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, scope, slicer.app.temporaryPath)
    if "DejaVu Sans" not in QtGui.QFontDatabase.families():
        import matplotlib

        for font in Path(matplotlib.get_data_path(), "fonts", "ttf").glob("DejaVuSans*.ttf"):
            QtGui.QFontDatabase.addApplicationFont(str(font))
    app.setFont(QtGui.QFont("DejaVu Sans", 9))

    from standins import ctk_widgets, mrml_widgets, properties, qt_module, ui_loader

    _started["qt"], _started["ctk"] = qt_module.QtModule("qt"), ctk_widgets.CtkModule("ctk")
    _started["qt"].QUiLoader = ui_loader.QUiLoader
    for name, widget in mrml_widgets.WIDGETS.items():
        setattr(slicer, name, properties.standIn(widget))
    _started["main window"] = window = mrml_widgets.qSlicerMainWindow()
    slicer.app._mainWindow = properties.wrap(window)


def reset() -> None:
    """A fresh scene, no settings, no answers, nothing recorded: what a test starts from."""
    slicer = _started["slicer"]
    for remembered in (shown, answers, slotErrors, installs, installed):
        remembered.clear()
    slicer.app._testing = True
    if "SkullGAN" in sys.modules and (widget := slicer.modules.skullgan.widgetRepresentation()):
        widget.self().cleanup()
        widget.deleteLater()
        slicer.modules.skullgan._widget = None
    slicer.mrmlScene.Clear(0)
    if slicer.app._qt:
        slicer.app.settings().clear()
        slicer.app.processEvents()


def load_module(name: str = "SkullGAN"):
    """Import the module as 3D Slicer does at its start, and register it in `slicer.modules`; gives the Python module."""
    slicer, application = _started["slicer"], _started["application"]
    if str(MODULE_FOLDER) not in sys.path:
        sys.path.insert(0, str(MODULE_FOLDER))
    module = importlib.import_module(name)
    if not hasattr(slicer.modules, name.lower()):
        registered = application.Module(name, path=str(MODULE_FOLDER / f"{name}.py"))
        setattr(slicer.modules, name.lower(), registered)
        registered._python = getattr(module, name)(registered)
        slicer.app._emit("startupCompleted()")
    return module


def open_panel(name: str = "SkullGAN"):
    """Build the panel and enter it as if the user had selected the module; gives the widget's Python object."""
    import qt

    from standins import mrml_widgets, properties

    slicer, module = _started["slicer"], load_module(name)
    parent = mrml_widgets.qSlicerScriptedLoadableModuleWidget()
    registered = getattr(slicer.modules, name.lower())
    registered._widget = properties.wrap(parent)
    registered._widget.setLayout(qt.QVBoxLayout())
    registered._widget.setMRMLScene(slicer.mrmlScene)
    parent._make(getattr(module, name + "Widget"))
    parent.show()
    parent.enter()
    return parent.self()


def checkSlots() -> None:
    """Raise the first error that a slot has raised since the last reset."""
    if slotErrors:
        raise slotErrors[0]


def screenshot(widget, path: str | Path, width: int = 480) -> None:
    """Write a PNG of the panel, as high as it needs to be."""
    panel = widget.parent._qt
    panel.resize(width, 100)
    for _ in range(3):
        panel.resize(width, max(panel.sizeHint().height(), panel.layout().heightForWidth(width)))
        _started["application instance"].processEvents()
    if not panel.grab().save(str(path)):
        raise OSError(f"{path} could not be written")


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
