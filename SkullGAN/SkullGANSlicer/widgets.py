"""Small things that every section of the panel does with widgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import qt

from .words import cellText

ROW_PIXELS = 22
SHOWN_ROWS = 2_000  # a table widget of more is slow, and nobody scrolls through it; the table node has all


class Bindings:
    """Two-way bindings that Slicer's parameter node wrapper does not offer: paths as text, choices made at run time,
    and lists of nodes."""

    def __init__(self, parameters: Callable[[], Any]) -> None:
        """``parameters`` gives the parameter node, or None while there is none."""
        self._parameters = parameters
        self._refresh: list[Callable[[Any], None]] = []
        self._writing = False

    def path(self, widget: Any, name: str) -> None:
        """Bind a ctkPathLineEdit to a text parameter."""
        widget.currentPathChanged.connect(lambda path: self._store(name, path))
        # an emptied line is no valid path, of which the signal above says nothing
        widget.validInputChanged.connect(lambda valid: self._store(name, widget.currentPath) if not valid else None)

        def show(value: str) -> None:
            if widget.currentPath != value:
                widget.currentPath = value

        self._refresh.append(lambda parameters: show(getattr(parameters, name)))

    def choice(self, widget: Any, name: str) -> None:
        """Bind a QComboBox whose items carry text as data to a text parameter."""
        widget.connect("currentIndexChanged(int)", lambda index: self._store(name, widget.itemData(index)))

        def show(value: str) -> None:
            index = widget.findData(value)
            if index >= 0 and index != widget.currentIndex:
                widget.currentIndex = index

        self._refresh.append(lambda parameters: show(getattr(parameters, name)))

    def nodes(self, widget: Any, name: str) -> None:
        """Bind a qMRMLCheckableNodeComboBox to a list of nodes."""
        widget.checkedNodesChanged.connect(lambda: self._store(name, list(widget.checkedNodes())))

        def show(nodes: Sequence[Any]) -> None:
            wanted = {node.GetID() for node in nodes if node is not None}
            for index in range(widget.nodeCount()):
                node = widget.nodeFromIndex(index)
                checked = node.GetID() in wanted
                if checked != (widget.checkState(node) == qt.Qt.Checked):
                    widget.setCheckState(node, qt.Qt.Checked if checked else qt.Qt.Unchecked)

        self._refresh.append(lambda parameters: show(getattr(parameters, name)))

    def refresh(self) -> None:
        """Bring all widgets to the values of the parameter node."""
        parameters = self._parameters()
        if parameters is None or self._writing:
            return
        self._writing = True
        try:
            for refresh in self._refresh:
                refresh(parameters)
        finally:
            self._writing = False

    def _store(self, name: str, value: Any) -> None:
        parameters = self._parameters()
        if parameters is not None and not self._writing and value is not None:
            setattr(parameters, name, value)


def allow(button: Any, why: str, tip: str) -> None:
    """Enable a button, or disable it and say why in its tooltip."""
    button.enabled = not why
    button.toolTip = why or tip


def fillChoices(widget: Any, items: Sequence[tuple[str, str]], value: str) -> None:
    """Give a QComboBox items of (text, data), and one for ``value`` where it is not among them: what a job is given is
    what is shown."""
    if value and value not in (data for _text, data in items):
        items = [*items, (value, value)]
    if [(widget.itemText(i), widget.itemData(i)) for i in range(widget.count)] == list(items):
        return
    blocked = widget.blockSignals(True)
    widget.clear()
    for text, data in items:
        widget.addItem(text, data)
    widget.currentIndex = max(widget.findData(value), 0)
    widget.blockSignals(blocked)


def showPicture(label: Any, path: str, width: int) -> bool:
    """Show a picture in a QLabel, no wider than ``width`` pixels; False where it cannot be read."""
    pixmap = qt.QPixmap(path)
    if pixmap.isNull():
        return False
    label.setPixmap(pixmap.scaledToWidth(min(width, pixmap.width())))
    return True


def fillTable(widget: Any, columns: Mapping[str, np.ndarray | Sequence[Any]]) -> None:
    """Show columns of equal length in a QTableWidget."""
    names = list(columns)
    rows = min(len(next(iter(columns.values()), ())), SHOWN_ROWS)
    blocked = widget.blockSignals(True)
    widget.clear()
    widget.setRowCount(rows)
    widget.setColumnCount(len(names))
    widget.setHorizontalHeaderLabels(names)
    for j, name in enumerate(names):
        for i in range(rows):
            widget.setItem(i, j, qt.QTableWidgetItem(cellText(columns[name][i])))
    widget.resizeColumnsToContents()
    widget.verticalHeader().setDefaultSectionSize(ROW_PIXELS)
    widget.setCurrentCell(-1, -1)  # clearing keeps it, and a click on it would say nothing
    widget.verticalHeader().hide()  # it would count from 1, and segments count from 0
    widget.blockSignals(blocked)
