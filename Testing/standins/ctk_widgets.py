"""CTK's widgets: properties, signals, slots and invokable methods as in its headers, nothing else.

Public C++ functions that are neither (`setRange` of `ctkSliderWidget`) are not seen by PythonQt, so they are not here.
"""

import fnmatch
import types

from PySide6 import QtCore, QtGui, QtWidgets

from .properties import Signal, standIn
from .qt_module import dialog
from .values import prop

Qt = QtCore.Qt
QWidget = QtWidgets.QWidget


def row(widget, *parts):
    """Lay out the parts of a widget without margins."""
    layout = QtWidgets.QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)


def set_quietly(part, value):
    """Set the value of a part without its signals."""
    part.blockSignals(True)
    part.setValue(value)
    part.blockSignals(False)


def of_part(part: str, **names):
    """Properties that are a part's own."""

    def one(kind, name):
        def get(self):
            return getattr(self, part).property(name)

        return QtCore.Property(kind, get, lambda self, value: getattr(self, part).setProperty(name, value))

    return {name: one(kind, name) for name, kind in names.items()}


class Collapsing:
    """Hides what is in a widget while it is collapsed, and remembers what would be visible otherwise."""

    _collapsed = False

    def _collapse(self, collapsed):
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        if collapsed:
            self._inside = {}
            self._hideInside()
        else:
            for child, visible in self._inside.items():
                child.setVisible(visible)
        self.updateGeometry()

    def _hideInside(self):
        """Hide also what was put in since it was collapsed."""
        for child in self.children():
            if isinstance(child, QWidget) and not child.isHidden():
                self._inside[child] = True
                child.hide()

    def _keepVisibility(self, child, visible) -> bool:
        if self._collapsed:
            self._inside[child] = visible
        return self._collapsed


class ctkCollapsibleButton(Collapsing, QtWidgets.QAbstractButton):
    _slicer = True
    contentsCollapsed = Signal("contentsCollapsed(bool)")
    collapsed = QtCore.Property(bool, lambda self: not self.isChecked(), lambda self, on: self.setChecked(not on))
    collapsedHeight = prop(int, 6)
    flat = prop(bool, False)

    def __init__(self, *textAndParent):
        super().__init__(*[arg for arg in textAndParent if isinstance(arg, QWidget)])
        self.setText("".join(arg for arg in textAndParent if isinstance(arg, str)))
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, self._head(), 0, 0)
        self.toggled.connect(self._onToggled)

    def _onToggled(self, checked):
        self._collapse(not checked)
        self.contentsCollapsed.emit(not checked)

    def _head(self):
        return self.fontMetrics().height() + 8

    def event(self, event):
        if event.type() == QtCore.QEvent.LayoutRequest and self._collapsed:
            self._hideInside()
        return super().event(event)

    def sizeHint(self):
        return self._size("totalSizeHint")

    def minimumSizeHint(self):
        return self._size("totalMinimumSize")

    def _size(self, ask):
        inside = getattr(self.layout(), ask)() if self.layout() and not self._collapsed else QtCore.QSize()
        return inside.expandedTo(QtCore.QSize(60, self._head()))

    def paintEvent(self, event):
        painter, style = QtWidgets.QStylePainter(self), QtWidgets.QStyle
        painter.fillRect(0, 0, self.width(), self._head(), self.palette().color(QtGui.QPalette.Button).darker(108))
        painter.drawText(QtCore.QRect(24, 0, self.width(), self._head()), Qt.AlignVCenter, self.text())
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(6, 0, 12, self._head())
        painter.drawPrimitive(style.PE_IndicatorArrowRight if self._collapsed else style.PE_IndicatorArrowDown, option)


class ctkCollapsibleGroupBox(Collapsing, QtWidgets.QGroupBox):
    _slicer = True
    collapsed = QtCore.Property(bool, lambda self: not self.isChecked(), lambda self, on: self.setChecked(not on))
    collapsedHeight = prop(int, 14)

    def __init__(self, *titleAndParent):
        super().__init__(*titleAndParent)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda checked: self._collapse(not checked))


class ctkPathLineEdit(QWidget):
    _slicer = True
    ENUMS = types.MappingProxyType(
        {"Dirs": 1, "Files": 2, "Drives": 4, "NoSymLinks": 8, "AllEntries": 7, "Readable": 16, "Writable": 32}
        | {"Executable": 64, "Hidden": 256, "NoDotAndDotDot": 4096, "NoDot": 8192, "NoDotDot": 16384}
        | {"AdjustToContents": 0, "AdjustToContentsOnFirstShow": 1, "AdjustToMinimumContentsLength": 2}
    )
    currentPathChanged = Signal("currentPathChanged(QString)")
    validInputChanged = Signal("validInputChanged(bool)")
    label = prop(str, "")
    filters = prop(int, 7)
    nameFilters = prop("QStringList", [])
    settingKey = prop(str, "")
    showBrowseButton = prop(bool, True, "_show")
    showHistoryButton = prop(bool, True)
    sizeAdjustPolicy = prop(int, 2)
    minimumContentsLength = prop(int, 0)
    currentPath = QtCore.Property(
        str, lambda self: self._box.currentText(), lambda self, path: self._box.setEditText(path)
    )

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._valid, self._box, self._button = False, QtWidgets.QComboBox(self, editable=True), QtWidgets.QToolButton()
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._button.setText("...")
        row(self, self._box, self._button)
        self._box.editTextChanged.connect(lambda path: self._check())
        self._button.clicked.connect(lambda: self.browse())

    def _check(self):
        """As the real one: without name filters any text is valid, and nothing is said of a path that is not."""
        text = self._box.currentText()
        valid = text != "" and (not self.nameFilters or any(fnmatch.fnmatch(text, f) for f in self.nameFilters))
        if valid:
            self.currentPathChanged.emit(text)
        if valid != self._valid:
            self._valid = valid
            self.validInputChanged.emit(valid)

    def _show(self):
        self._button.setVisible(self.showBrowseButton)

    def setCurrentPath(self, path: str) -> None:
        self._box.setEditText(path)

    def browse(self) -> None:
        path = dialog("ctkPathLineEdit.browse", "")(self._box.currentText())
        self._box.setEditText(path) if path else None

    def retrieveHistory(self) -> None:
        pass

    def addCurrentPathToHistory(self) -> None:
        if self._box.findText(self._box.currentText()) < 0:
            self._box.addItem(self._box.currentText())

    def comboBox(self):
        return self._box


class ctkDoubleSpinBox(QWidget):
    _slicer = True
    valueChanged = Signal("valueChanged(double)")
    editingFinished = Signal("editingFinished()")
    locals().update(of_part("_box", value=float, minimum=float, maximum=float, singleStep=float, decimals=int))
    locals().update(of_part("_box", prefix=str, suffix=str, readOnly=bool, cleanText=str))

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._box = QtWidgets.QDoubleSpinBox(self)
        row(self, self._box)
        self._box.valueChanged.connect(self.valueChanged.emit)
        self._box.editingFinished.connect(self.editingFinished.emit)

    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    def setDecimals(self, decimals: int) -> None:
        self._box.setDecimals(decimals)


class ctkSliderWidget(QWidget):
    _slicer = True
    valueChanged = Signal("valueChanged(double)")
    valueIsChanging = Signal("valueIsChanging(double)")
    decimalsChanged = Signal("decimalsChanged(int)")
    minimum = prop(float, 0.0, "_limit")
    maximum = prop(float, 99.0, "_limit")
    pageStep = prop(float, 10.0)
    tracking = prop(bool, True)
    spinBoxVisible = prop(bool, True, "_limit")
    locals().update(of_part("_box", singleStep=float, decimals=int, prefix=str, suffix=str))
    value = QtCore.Property(float, lambda self: self._value, lambda self, value: self._set(value))
    STEPS = 1000  # of the bar

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._value, self._box = 0.0, QtWidgets.QDoubleSpinBox(self)
        self._bar = QtWidgets.QSlider(Qt.Horizontal, self, maximum=self.STEPS)
        row(self, self._bar, self._box)
        self._limit()
        self._box.valueChanged.connect(self._set)
        self._bar.sliderMoved.connect(lambda step: self._set(self.minimum + step * self._range() / self.STEPS))

    def _range(self):
        return self.maximum - self.minimum or 1.0

    def _limit(self):
        self._box.setRange(self.minimum, self.maximum)
        self._box.setVisible(self.spinBoxVisible)
        self._set(self._value)

    def _set(self, value):
        before, self._value = self._value, min(max(value, self.minimum), self.maximum)
        set_quietly(self._box, self._value)
        set_quietly(self._bar, round(self.STEPS * (self._value - self.minimum) / self._range()))
        if self._value != before:
            self.valueChanged.emit(self._value)

    def setValue(self, value: float) -> None:
        self._set(value)

    def setDecimals(self, decimals: int) -> None:
        self._box.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)


class ctkRangeWidget(QWidget):
    _slicer = True
    minimumValueChanged = Signal("minimumValueChanged(double)")
    maximumValueChanged = Signal("maximumValueChanged(double)")
    valuesChanged = Signal("valuesChanged(double,double)")
    minimum = prop(float, 0.0, "_limit")
    maximum = prop(float, 99.0, "_limit")
    singleStep = prop(float, 1.0, "_limit")
    decimals = prop(int, 2, "_limit")
    suffix = prop(str, "", "_limit")
    minimumValue = QtCore.Property(float, lambda self: self._values[0], lambda self, low: self.setMinimumValue(low))
    maximumValue = QtCore.Property(float, lambda self: self._values[1], lambda self, high: self.setMaximumValue(high))

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._values, self._boxes = (0.0, 99.0), (QtWidgets.QDoubleSpinBox(self), QtWidgets.QDoubleSpinBox(self))
        row(self, *self._boxes)
        self._limit()
        self._boxes[0].valueChanged.connect(lambda low: self.setMinimumValue(low))
        self._boxes[1].valueChanged.connect(lambda high: self.setMaximumValue(high))

    def _limit(self):
        for box in self._boxes:
            box.blockSignals(True)
            box.setDecimals(self.decimals)
            box.setSingleStep(self.singleStep)
            box.setSuffix(self.suffix)
            box.setRange(self.minimum, self.maximum)
            box.blockSignals(False)
        self.setValues(*self._values)

    def setMinimumValue(self, low: float) -> None:
        self.setValues(low, max(low, self._values[1]))

    def setMaximumValue(self, high: float) -> None:
        self.setValues(min(high, self._values[0]), high)

    def setValues(self, low: float, high: float) -> None:
        before = self._values
        inside = (min(max(value, self.minimum), self.maximum) for value in sorted((low, high)))
        self._values = tuple(round(value, self.decimals) for value in inside)  # as its spin boxes show them
        signals = (self.minimumValueChanged, self.maximumValueChanged)
        for box, was, value, signal in zip(self._boxes, before, self._values, signals, strict=True):
            set_quietly(box, value)
            signal.emit(value) if value != was else None
        if before != self._values:
            self.valuesChanged.emit(*self._values)

    def setRange(self, low: float, high: float) -> None:
        self.minimum, self.maximum = low, high


class ctkCheckableComboBox(QtWidgets.QComboBox):
    _slicer = True
    checkedIndexesChanged = Signal("checkedIndexesChanged()")

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.model().dataChanged.connect(self._changed)
        self.model().rowsInserted.connect(self._inserted)

    def _inserted(self, parent, first, last):
        for index in range(first, last + 1):
            self.model().item(index).setCheckable(True)
            self.model().item(index).setCheckState(Qt.Unchecked)

    def _changed(self, first, last, roles):
        if Qt.CheckStateRole in roles:
            self.update()
            self.checkedIndexesChanged.emit()

    def checkableModel(self):
        return self.model()

    def checkedIndexes(self):
        indexes = [self.model().index(i, 0) for i in range(self.count())]
        return [index for index in indexes if self.checkState(index) == Qt.Checked]

    def allChecked(self):
        return self.count() > 0 and len(self.checkedIndexes()) == self.count()

    def noneChecked(self):
        return not self.checkedIndexes()

    def checkState(self, index):
        return self.model().itemFromIndex(index).checkState()

    def setCheckState(self, index, state: int) -> None:
        self.model().itemFromIndex(index).setCheckState(Qt.CheckState(state))

    def paintEvent(self, event):
        painter, option = QtWidgets.QStylePainter(self), QtWidgets.QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = ", ".join(index.data() for index in self.checkedIndexes()) or "None"
        painter.drawComplexControl(QtWidgets.QStyle.CC_ComboBox, option)
        painter.drawControl(QtWidgets.QStyle.CE_ComboBoxLabel, option)


WIDGETS = {name: item for name, item in list(globals().items()) if name.startswith("ctk")}


class CtkModule(types.ModuleType):
    """The module `ctk`."""

    def __getattr__(self, name):
        if name not in WIDGETS:
            raise AttributeError(f"module 'ctk' has no attribute '{name}' among the stand-ins")
        return standIn(WIDGETS[name])
