"""1. Prepare: CT volumes in, a segment data set out; a preview to look before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from SkullGANLib.jobs import Job

from . import views
from .inputs import KIND_ATTRIBUTE, openDataset
from .logic import PLANES
from .results import PIXEL_MM, Preview
from .section import Section
from .widgets import allow, fillTable
from .words import forPanel, heading

if TYPE_CHECKING:
    from .panel import Panel

SIZE = 128  # of the pieces in pixels
REGIONS = ("temporal", "parietal", "frontal", "occipital")
SHOWN = ("index", "region", "side", "plane", "position_mm", "sdr", "thickness_mm", "quality")


class PrepareSection(Section):
    """Inputs, cutting options, preview and the table of pieces."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._preview: Preview | None = None
        self._folder: Path | None = None  # of the data set that the table shows when it is not a preview
        self._table: Any = {}
        self._spacingMm = 0.0
        ui, bindings = self.ui, panel.bindings
        bindings.nodes(ui.volumesSelector, "volumes")
        bindings.path(ui.scansPathLineEdit, "scansPath")
        bindings.path(ui.datasetPathLineEdit, "datasetPath")
        ui.scansFileButton.clicked.connect(lambda checked=False: panel.browse("scansPath", _("Choose a scan")))
        ui.previewButton.clicked.connect(lambda checked=False: panel.toggle("Preview", self.onPreview))
        ui.prepareButton.clicked.connect(lambda checked=False: panel.toggle("Prepare", self.onPrepare))
        ui.placeButton.clicked.connect(lambda checked=False: panel.attempt(self.onPlace))
        ui.piecesTable.currentCellChanged.connect(lambda row, *_: panel.attempt(lambda: self.onRow(row)))
        self.logic.shown.connect(self.onShown)

    def update(self) -> None:
        why = self._why()
        self.startButton(
            self.ui.previewButton, "Preview", _("Preview"), why or self._whyNoPreview(),
            _("Show skull, cutting squares and pieces; no data set is written."),
        )  # fmt: skip
        self.startButton(
            self.ui.prepareButton, "Prepare", _("Prepare"), why or self._whyNoFolder(),
            _("Cut the volumes and write the data set."),
        )  # fmt: skip
        chosen = self.ui.piecesTable.currentRow() >= 0
        why = "" if chosen else _("Choose a row of the table above: there is one after Preview or Prepare.")
        allow(self.ui.placeButton, why, _("Put the chosen piece back into the scene, where it was cut."))

    def cleanup(self) -> None:
        self.logic.shown.disconnect(self.onShown)

    def forget(self) -> None:
        self._preview = self._folder = None
        self._table = {}
        fillTable(self.ui.piecesTable, {})
        self.ui.prepareLabel.text = ""

    def onPreview(self) -> None:
        sources = self._sources()
        self.logic.preview(sources[0], **self._options(), wait=False)

    def onPrepare(self) -> None:
        parameters = self.parameters
        if self.panel.mayReplace(parameters.datasetPath, "dataset.json"):
            out = parameters.datasetPath
            self.logic.prepare(self._sources(), out, **self._options(), overwrite=True, wait=False)

    def onShown(self, what: str, value: Any) -> None:
        """Results came into the scene, asked for here or in the console."""
        if what == "preview":
            self._preview, self._folder = value, None
            words = _("{kept} of {n} pieces are good enough for a data set.").format(kept=value.kept, n=len(value.hu))
            self.ui.prepareLabel.text = " ".join([words, *map(forPanel, value.notes)])
            self._fill(value.rows, PIXEL_MM)
        elif what == "segments" and value[0].GetAttribute(KIND_ATTRIBUTE) in ("real", "phantom"):
            # the folder and not the data set, whose open file would keep it from being replaced on Windows
            dataset = openDataset(value[0])
            self._preview, self._folder = None, dataset.path
            self.ui.prepareLabel.text = _("{n} segments in the data set.").format(n=len(dataset))
            self._fill(dataset.table, dataset.meta.spacing_mm)

    def onRow(self, row: int) -> None:
        """A row was chosen: show its place."""
        if row >= 0 and "corner_x" in self._table:
            self._showHead()
            values = {name: column[row] for name, column in self._table.items()}
            views.jumpToSegment(values, self._spacingMm, SIZE)
        self.panel.update()

    def onPlace(self) -> None:
        node = self.logic.placeSegment(self.ui.piecesTable.currentRow(), self._preview or self._folder)
        slicer.util.setSliceViewerLayers(foreground=node, foregroundOpacity=0.5)

    def jobFinished(self, job: Job) -> None:
        if job.title == "Prepare" and job.value is not None:
            parameters = self.panel.saved()
            parameters.trainDataPath = parameters.realPath = parameters.classedPath = job.result["dataset"]
            self.ui.prepareLabel.text = " ".join([self.ui.prepareLabel.text, *self.notes(job)])

    def _showHead(self) -> None:
        """Bring the scan that was cut behind everything else, where it is known which."""
        nodes = self._sources() if self.parameters is not None else []
        source = self._preview.source if self._preview is not None else nodes[0] if len(nodes) == 1 else None
        if hasattr(source, "GetID") and slicer.mrmlScene.IsNodePresent(source):
            views.showVolume(source, fit=False)

    def _fill(self, table: dict[str, Any], spacingMm: float) -> None:
        self._table, self._spacingMm = table, spacingMm
        fillTable(self.ui.piecesTable, {heading(name): table[name] for name in SHOWN if name in table})
        self.panel.update()

    def _sources(self) -> list[Any]:
        parameters = self.parameters
        return [parameters.scansPath] if parameters.scansPath else [node for node in parameters.volumes if node]

    def _options(self) -> dict[str, Any]:
        parameters = self.parameters
        return {
            "planes": [name for name in PLANES if getattr(parameters, name)],
            "regions": [name for name in REGIONS if getattr(parameters, name)],
            "interval_mm": round(parameters.intervalMm, 2),
            "mask": parameters.skullMask,
            "head_frame": parameters.headFrame,
            "hu_offset": parameters.huOffset,
        }

    def _why(self) -> str:
        parameters, options = self.parameters, self._options()
        sources = self._sources()
        if not sources:
            return _("Choose a CT volume of the scene, or scans on disk.")
        if not options["planes"] or not options["regions"]:
            return _("Choose at least one plane and one bone.")
        if len(sources) > 1 and (parameters.skullMask or parameters.headFrame):
            return _("A skull mask or a head frame is for a single volume: choose one, or take them away.")
        if parameters.scansPath and parameters.skullMask:
            return _("A skull mask needs its volume in the scene.")
        return ""

    def _whyNoFolder(self) -> str:
        return "" if self.parameters.datasetPath else _("Choose a folder for the data set.")

    def _whyNoPreview(self) -> str:
        return _("A preview is of one volume: choose one.") if len(self._sources()) > 1 else ""
