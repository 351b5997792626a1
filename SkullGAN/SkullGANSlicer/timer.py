"""The one place where the logic meets Qt: a function called again and again while Slicer's window is alive."""

from __future__ import annotations

from collections.abc import Callable


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
    return lambda: timer.stop()  # the function keeps the timer alive
