"""The one place where the logic meets the application: functions called regularly, and when it ends."""

from __future__ import annotations

from collections.abc import Callable

import slicer

from SkullGANLib import jobs

_atQuit: dict[str, Callable[[], object]] = jobs.__dict__.setdefault("_at_quit_of_slicer", {})


def callEvery(milliseconds: int, function: Callable[[], object]) -> Callable[[], None]:
    """Call ``function`` regularly; what comes back stops it. Without Qt nothing calls it but the caller."""
    try:
        import qt
    except ImportError:
        return lambda: None
    timer = qt.QTimer()
    timer.setInterval(milliseconds)
    timer.timeout.connect(function)
    timer.start()

    def stop() -> None:
        timer.stop()
        timer.timeout.disconnect(function)  # Qt's reference to the function is one that Python cannot see

    return stop


def callAtQuit(name: str, function: Callable[[], object]) -> None:
    """Call ``function`` when Slicer ends; of each name there is one, the last."""
    application = getattr(slicer, "app", None)
    if not _atQuit and hasattr(application, "connect"):
        application.connect("aboutToQuit()", _quit)
    _atQuit[name] = function


def _quit() -> None:
    for function in list(_atQuit.values()):
        function()
