"""4. Evaluate: synthetic against real segments; tables, plots and a report."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from .section import Section
from .widgets import allow, fillTable

if TYPE_CHECKING:
    from .panel import Panel

HEADINGS = ("figure", "real (mean)", "synthetic (mean)", "KS", "p")


class EvaluateSection(Section):
    """Two data sets, the report folder and the summary."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        ui, bindings = self.ui, panel.bindings
        for widget, name in ((ui.realPathLineEdit, "realPath"), (ui.evaluatedPathLineEdit, "evaluatedPath"),
                             (ui.reportPathLineEdit, "reportPath")):  # fmt: skip
            bindings.path(widget, name)
        ui.evaluateButton.clicked.connect(lambda checked=False: panel.toggle("Evaluate", self.onEvaluate))
        ui.openReportButton.clicked.connect(lambda checked=False: panel.attempt(self.onOpen))
        self.logic.shown.connect(self.onShown)

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

    def cleanup(self) -> None:
        self.logic.shown.disconnect(self.onShown)

    def forget(self) -> None:
        fillTable(self.ui.metricsTable, {})
        self.ui.evaluateLabel.text = ""

    def onEvaluate(self) -> None:
        parameters = self.parameters
        if self.panel.mayReplace(parameters.reportPath, "metrics.json"):
            self.logic.evaluate(
                parameters.realPath,
                parameters.evaluatedPath,
                parameters.reportPath,
                split=parameters.split,
                overwrite=True,
                wait=False,
            )

    def onShown(self, what: str, value: Any) -> None:
        """A report came into the scene, asked for here or in the console."""
        if what == "report":
            self.ui.evaluateLabel.text = " ".join(value["warnings"])
            rows = value["rows"]
            fillTable(self.ui.metricsTable, {name: [row[j] for row in rows] for j, name in enumerate(HEADINGS)})

    def onOpen(self) -> None:
        self.panel.openPath(os.path.join(self.panel.saved().reportPath, "report.html"))

    def _page(self) -> str:
        return os.path.join(self.parameters.reportPath, "report.html")

    def _why(self) -> str:
        parameters = self.parameters
        for path, words in ((parameters.realPath, _("real")), (parameters.evaluatedPath, _("synthetic"))):
            if not path:
                return _("Choose the {which} data set.").format(which=words)
            if not os.path.isfile(os.path.join(path, "dataset.json")) and not path.endswith(".npy"):
                return _("The folder of the {which} data set holds none.").format(which=words)
        return "" if parameters.reportPath else _("Choose a folder for the report.")
