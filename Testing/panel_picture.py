"""Draw the module's panel with real results in it, reached through its own buttons.

``python Testing/panel_picture.py --screenshot panel.png``: a head phantom is previewed and prepared, a model trained
for about a minute, 64 segments generated and evaluated.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import slicer_host

MINUTES = 10


def main() -> None:
    """Press the buttons one after the other and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--screenshot", type=Path, required=True)
    parser.add_argument("--images", type=int, default=3000, help="length of the training")
    parser.add_argument("--width", type=int, default=520)
    options = parser.parse_args()
    slicer_host.start(gui=True)
    slicer_host.load_module("SkullGAN")
    with tempfile.TemporaryDirectory() as folder:
        widget = fill(Path(folder) / "SkullGAN", options.images)
        sections = ("prepare", "train", "generate", "evaluate")
        for name in sections:
            getattr(widget.ui, f"{name}CollapsibleButton").collapsed = False
        slicer_host.screenshot(widget, options.screenshot, width=options.width)
    slicer_host.checkSlots()


def fill(folder: Path, images: int):
    """A panel in which every step was done by its button; gives the widget."""
    import slicer

    from SkullGANSlicer import panel

    panel.home = lambda: str(folder)
    widget = slicer_host.open_panel()
    until(lambda: widget.panel.status.found)
    widget.logic.phantom()
    widget.panel.setDefaults(widget.panel.parameters)
    parameters, ui = widget.panel.parameters, widget.ui
    press(widget, ui.previewButton)
    press(widget, ui.prepareButton)
    parameters.preset, parameters.images = "demo", images
    parameters.init = next(str(path) for path in widget.panel.generate.shipped() if path.name == "phantom-small")
    ui.estimateButton.click()
    until(lambda: ui.estimateButton.enabled)
    press(widget, ui.trainButton)
    press(widget, ui.generateButton)
    press(widget, ui.evaluateButton)
    for table, row in ((ui.piecesTable, 5), (ui.segmentsTable, 3)):
        table.setCurrentCell(row, 0)
    slicer.app.processEvents()
    return widget


def press(widget, button) -> None:
    """Click a start button and wait until its job has ended well."""
    if not button.enabled:
        raise RuntimeError(f"{button.objectName} is disabled: {button.toolTip}")
    button.click()
    slicer_host.checkSlots()
    until(lambda: not widget.logic.busy)
    job = widget.logic.job
    if job.error is not None:
        raise job.error
    print(f"{job.title}: {job.state.value}")


def until(condition) -> None:
    """Let Slicer's events run until something has come true."""
    import slicer

    end = time.monotonic() + 60 * MINUTES
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"Nothing came of it in {MINUTES} minutes.")
        slicer.app.processEvents()
        time.sleep(0.02)


if __name__ == "__main__":
    main()
