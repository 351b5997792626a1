"""The part of section 3 that says which classes are drawn, how many images of each, and how much they vary."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from .section import Section
from .widgets import ROW_PIXELS, allow

if TYPE_CHECKING:
    from .panel import Panel

NAME, NUMBER = 0, 1  # columns of the table
FULL = 100  # per cent of the variety


class ClassesSection(Section):
    """A table of the classes of the model that is chosen: a check box and a number for each.

    The parameter ``classes`` is JSON, name of a class to number of images, 0 for as many as the count says. It keeps
    the classes of other models too, so that what was checked is checked again when a model is chosen again.
    """

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._shown: tuple = ()
        self.ui.classesTable.cellChanged.connect(self.onCell)
        self.ui.allClassesButton.clicked.connect(lambda checked=False: self._check(True))
        self.ui.noClassesButton.clicked.connect(lambda checked=False: self._check(False))
        self.ui.classesWidget.visible = False

    def update(self) -> None:
        names, parameters = self.panel.generate.classes, self.parameters
        self.ui.classesWidget.visible = bool(names)
        if self._shown != (names, parameters.classes, parameters.count):
            self._show(names)
        whole = _("Images keep all their variety: choose less than 100 % first.") if parameters.variety == FULL else ""
        tip = _("How many middles each class has; images go to the nearest, so that more kinds of them remain.")
        allow(self.ui.centresSpinBox, whole, tip)

    def asked(self) -> dict[str, int | None]:
        """The classes that are checked, in the order of the model, with their numbers; None for the count."""
        saved = savedClasses(self.parameters.classes)
        return {name: saved[name] or None for name in self.panel.generate.classes if name in saved}

    def truncation(self) -> dict[str, Any]:
        """How far images are drawn towards the middles of their classes, as ``generate`` takes it."""
        parameters = self.parameters
        if not self.panel.generate.classes or parameters.variety == FULL:
            return {}
        return {"truncation": parameters.variety / FULL, "centres": parameters.centres}

    def onCell(self, row: int, column: int) -> None:
        """A class was checked, or given a number, which checks it."""
        if self.parameters is None:  # the scene is being closed
            return
        names, table, saved = self.panel.generate.classes, self.ui.classesTable, savedClasses(self.parameters.classes)
        name, text = names[row], table.item(row, NUMBER).text().strip()
        if column == NUMBER and text.isdecimal() and int(text) > 0:
            saved[name] = int(text)
        elif column == NUMBER and name in saved:
            saved[name] = 0
        elif column == NAME and table.item(row, NAME).checkState() == qt.Qt.Checked:
            saved.setdefault(name, 0)
        elif column == NAME:
            saved.pop(name, None)
        self._store(saved)

    def _check(self, checked: bool) -> None:
        """Check all classes or none; numbers stay with those that are checked already."""
        if self.parameters is None:
            return
        saved = savedClasses(self.parameters.classes)
        for name in self.panel.generate.classes:
            if checked:
                saved.setdefault(name, 0)
            else:
                saved.pop(name, None)
        self._store(saved)

    def _store(self, saved: dict[str, int]) -> None:
        self.parameters.classes = json.dumps(saved)
        self._show(self.panel.generate.classes)  # also what was typed and makes no number

    def _show(self, names: tuple[str, ...]) -> None:
        table, parameters, asked = self.ui.classesTable, self.parameters, self.asked()
        blocked = table.blockSignals(True)
        if self._shown[:1] != (names,):
            fillClasses(table, names)
        for row, name in enumerate(names):
            number = (asked[name] or parameters.count) if name in asked else ""
            table.item(row, NAME).setCheckState(qt.Qt.Checked if name in asked else qt.Qt.Unchecked)
            table.item(row, NUMBER).setText(str(number))
        table.blockSignals(blocked)
        self._shown = (names, parameters.classes, parameters.count)
        total = sum(number or parameters.count for number in asked.values())
        words = _("{n} segments of {k} classes.") if len(asked) > 1 else _("{n} segments of one class.")
        none = _("No class is checked: they come as often as in the training set.")
        self.ui.classesLabel.text = words.format(n=total, k=len(asked)) if asked else none


def fillClasses(table: qt.QTableWidget, names: tuple[str, ...]) -> None:
    """Rows of a table for these classes, unchecked and without a number."""
    table.clear()
    table.setColumnCount(2)
    table.setRowCount(len(names))
    table.setHorizontalHeaderLabels([_("class"), _("number")])
    for row, name in enumerate(names):
        item = qt.QTableWidgetItem(name)
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
        item.setCheckState(qt.Qt.Unchecked)
        table.setItem(row, NAME, item)
        table.setItem(row, NUMBER, qt.QTableWidgetItem(""))
    table.resizeColumnsToContents()
    table.verticalHeader().setDefaultSectionSize(ROW_PIXELS)
    table.verticalHeader().hide()


def savedClasses(text: str) -> dict[str, int]:
    """The parameter ``classes`` as name to number; what makes no sense in it is passed over."""
    try:
        saved = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(saved, dict):
        return {}
    return {name: n for name, n in saved.items() if isinstance(n, int) and not isinstance(n, bool) and n >= 0}
