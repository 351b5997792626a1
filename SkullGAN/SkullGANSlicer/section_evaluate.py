"""4. Evaluate: synthetic against real segments; tables, plots and a report."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from .inputs import holdsSegments
from .pairs import FLAG, RATIO
from .reports import HIGHLIGHTS
from .section import Section
from .widgets import allow, fillTable
from .words import forPanel

if TYPE_CHECKING:
    from .panel import Panel

HEADINGS = ("figure", "real (mean)", "synthetic (mean)", "KS", "p")
DISCRIMINATOR = "discriminator.safetensors"


class EvaluateSection(Section):
    """The sets to compare, the report folder, the summary, and the nearest neighbours."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._evaluated: dict[str, Any] = {}
        ui, bindings = self.ui, panel.bindings
        bindings.path(ui.realPathLineEdit, "realPath")
        bindings.path(ui.evaluatedPathLineEdit, "evaluatedPath")
        bindings.path(ui.controlPathLineEdit, "controlPath")
        bindings.path(ui.reportPathLineEdit, "reportPath")
        ui.evaluateButton.clicked.connect(lambda checked=False: panel.toggle("Evaluate", self.onEvaluate))
        ui.openReportButton.clicked.connect(lambda checked=False: panel.attempt(self.onOpen))
        ui.pairsTable.currentCellChanged.connect(lambda row, *_: panel.attempt(lambda: self.onPair(row)))
        self.logic.shown.connect(self.onShown)
        self.forget()

    def update(self) -> None:
        self.startButton(
            self.ui.evaluateButton, "Evaluate", _("Evaluate"), self._why(), _("Compare the two data sets.")
        )
        there = os.path.isfile(self._page())
        allow(
            self.ui.openReportButton,
            "" if there else _("There is no report in the folder yet."),
            _("Open report.html."),
        )
        tip = _("Show which segments the discriminator of that model takes for real.")
        allow(self.ui.judgeCheckBox, self._whyNoJudge(), tip)

    def cleanup(self) -> None:
        self.logic.shown.disconnect(self.onShown)

    def forget(self) -> None:
        self._evaluated = {}
        for table in (self.ui.highlightsTable, self.ui.metricsTable, self.ui.pairsTable):
            fillTable(table, {})
        self.ui.evaluateLabel.text = ""
        self._showTables()

    def onEvaluate(self) -> None:
        parameters = self.parameters
        if self.panel.mayReplace(parameters.reportPath, "metrics.json"):
            asked = parameters.askDiscriminator and not self._whyNoJudge()
            self.logic.evaluate(
                parameters.realPath,
                parameters.evaluatedPath,
                parameters.reportPath,
                control=parameters.controlPath or None,
                artificial="auto" if parameters.artificial else None,
                model=self.panel.generate.modelPath() if asked else None,
                split=parameters.split,
                device=parameters.device,
                overwrite=True,
                wait=False,
            )

    def onShown(self, what: str, value: Any) -> None:
        """A report came into the scene, asked for here or in the console."""
        if what != "report":
            return
        self._evaluated = value
        self.ui.evaluateLabel.text = " ".join(map(forPanel, value["warnings"]))
        for table, headings, rows in (
            (self.ui.highlightsTable, HIGHLIGHTS, value["highlights"]),
            (self.ui.metricsTable, HEADINGS, value["rows"]),
        ):
            fillTable(table, {name: [row[j] for row in rows] for j, name in enumerate(headings)})
        fillTable(self.ui.pairsTable, pairColumns(value["pairs"]))
        self._showTables()

    def onPair(self, row: int) -> None:
        """A row was chosen: show that pair and what lies between."""
        if self.parameters is not None and row >= 0 and self._evaluated.get("pairs") is not None:
            self.logic.showPair(self._evaluated, row)

    def onOpen(self) -> None:
        self.panel.openPath(os.path.join(self.panel.saved().reportPath, "report.html"))

    def _showTables(self) -> None:
        """Tables with nothing in them take no room."""
        self.ui.highlightsTable.visible = bool(self._evaluated.get("highlights"))
        for widget in (self.ui.pairsLabel, self.ui.pairsTable):
            widget.visible = self._evaluated.get("pairs") is not None

    def _page(self) -> str:
        return os.path.join(self.parameters.reportPath, "report.html")

    def _why(self) -> str:
        parameters = self.parameters
        for path, words in ((parameters.realPath, _("real")), (parameters.evaluatedPath, _("synthetic"))):
            if not path:
                return _("Choose the {which} data set.").format(which=words)
            if not holdsSegments(path):
                return _("The folder of the {which} data set holds none.").format(which=words)
        if parameters.controlPath and not holdsSegments(parameters.controlPath):
            return _("The folder of the {which} data set holds none.").format(which=_("control"))
        return "" if parameters.reportPath else _("Choose a folder for the report.")

    def _whyNoJudge(self) -> str:
        """Why there is no discriminator to ask."""
        path = self.panel.generate.modelPath()
        if not path:
            return _("No model is chosen in section 3.")
        if self.panel.generate.scales:
            return _("The model that is chosen in section 3 draws volumes.")
        if not any(os.path.isfile(os.path.join(path, *folder, DISCRIMINATOR)) for folder in ((), ("model",))):
            return _("The model that is chosen in section 3 comes without its discriminator.")
        return self.panel.status.whyNoTorch()


def pairColumns(pairs: Any) -> dict[str, Any]:
    """Nearest neighbours as the panel shows them."""
    if pairs is None:
        return {}
    table = pairs.table
    turned = np.where(table["mirrored"], _(" mirrored"), "")
    real = [f"{row}{words}" for row, words in zip(table["nearest_real"], turned, strict=True)]
    columns = {_("synthetic"): table["synthetic"], _("nearest real"): real, _("RMSE (HU)"): table["rmse_hu"].round()}
    if RATIO in table:
        columns[_("distance ratio")] = table[RATIO]
    if FLAG in table:
        columns[_("copy")] = [_("yes") if flagged else "" for flagged in table[FLAG]]
    return columns
