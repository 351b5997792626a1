"""CTK's widgets: properties, signals, slots and invokable methods as in its headers, nothing else.

Public C++ functions that are neither (`setRange` of `ctkSliderWidget`) are not seen by PythonQt, so they are not here.
"""

import pathlib
import types

from PySide6 import QtCore, QtWidgets

from .properties import Signal, prop, standIn
from .qt_module import dialog

Qt = QtCore.Qt


def row(widget, *parts, horizontal=True):
    """Lay out the parts of a widget without margins."""
    layout = (QtWidgets.QHBoxLayout if horizontal else QtWidgets.QVBoxLayout)(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)


class _Collapsing:
    """Hides what is in a widget while it is collapsed, and remembers what would be visible otherwise."""

    _collapsed = False

    def _collapse(self, collapsed: bool) -> None:
        if collapsed != self._collapsed:
            self._collapsed = collapsed
            if collapsed:
                self._inside = {}
                self._hideInside()
            else:
                for child, visible in self._inside.items():
                    child.setVisible(visible)
            self.updateGeometry()

    def _hideInside(self) -> None:
        """Hide what is in there, also what was put in since it was collapsed."""
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget) and not child.isHidden():
                self._inside[child] = True
                child.hide()

    def _keepVisibility(self, child, visible: bool) -> bool:
        if self._collapsed:
            self._inside[child] = visible
        return self._collapsed


class ctkCollapsibleButton(_Collapsing, QtWidgets.QAbstractButton):
    _slicer = True
    contentsCollapsed = Signal("contentsCollapsed(bool)")
    collapsed = QtCore.Property(bool, lambda self: not self.isChecked(), lambda self, on: self.setChecked(not on))
    collapsedHeight = prop(int, 6)
    flat = prop(bool, False)
    contentsLineWidth = prop(int, 1)
    contentsMidLineWidth = prop(int, 0)

    def __init__(self, *textAndParent):
        super().__init__(*[arg for arg in textAndParent if isinstance(arg, QtWidgets.QWidget)])
        for text in [arg for arg in textAndParent if isinstance(arg, str)]:
            self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, self._head(), 0, 0)
        self.toggled.connect(self._onToggled)

    def _onToggled(self, checked):
        self._collapse(not checked)
        self.contentsCollapsed.emit(not checked)

    def event(self, event):
        if event.type() == QtCore.QEvent.LayoutRequest and self._collapsed:
            self._hideInside()
        return super().event(event)

    def _head(self):
        return self.fontMetrics().height() + 8

    def sizeHint(self):
        inside = self.layout().sizeHint() if self.layout() and not self._collapsed else QtCore.QSize()
        return QtCore.QSize(max(inside.width(), 60), max(inside.height(), self._head()))

    minimumSizeHint = sizeHint

    def paintEvent(self, event):
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), self._head())
        painter.fillRect(option.rect, self.palette().button().color().darker(108))
        option.rect = QtCore.QRect(6, 0, 12, self._head())
        style = QtWidgets.QStyle
        painter.drawPrimitive(style.PE_IndicatorArrowRight if self._collapsed else style.PE_IndicatorArrowDown, option)
        painter.drawText(QtCore.QRect(24, 0, self.width(), self._head()), Qt.AlignVCenter, self.text())


class ctkCollapsibleGroupBox(_Collapsing, QtWidgets.QGroupBox):
    _slicer = True
    collapsed = QtCore.Property(bool, lambda self: not self.isChecked(), lambda self, on: self.setChecked(not on))
    collapsedHeight = prop(int, 14)

    def __init__(self, *titleAndParent):
        super().__init__(*titleAndParent)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda checked: self._collapse(not checked))


class ctkPathLineEdit(QtWidgets.QWidget):
    _slicer = True
    ENUMS = types.MappingProxyType(
        {"Dirs": 1, "Files": 2, "Drives": 4, "NoSymLinks": 8, "AllEntries": 7, "Readable": 16, "Writable": 32}
        | {"Executable": 64, "Hidden": 256, "NoDotAndDotDot": 4096, "NoDot": 8192, "NoDotDot": 16384}
        | {"ShowDirsOnly": 1, "DontResolveSymlinks": 2, "DontConfirmOverwrite": 4, "DontUseSheet": 8}
        | {"DontUseNativeDialog": 16, "ReadOnly": 32, "HideNameFilterDetails": 64}
        | {"AdjustToContents": 0, "AdjustToContentsOnFirstShow": 1, "AdjustToMinimumContentsLength": 2}
    )
    currentPathChanged = Signal("currentPathChanged(QString)")
    validInputChanged = Signal("validInputChanged(bool)")
    label = prop(str, "")
    filters = prop(int, 7, "_check")
    options = prop(int, 0)
    settingKey = prop(str, "")
    showBrowseButton = prop(bool, True, "_show")
    showHistoryButton = prop(bool, True)
    sizeAdjustPolicy = prop(int, 2)
    minimumContentsLength = prop(int, 0)
    nameFilters = prop("QStringList", [])

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._box = QtWidgets.QComboBox(self, editable=True)
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._button = QtWidgets.QToolButton(self, text="...")
        row(self, self._box, self._button)
        self._valid = False
        self._box.editTextChanged.connect(self._changed)
        self._button.clicked.connect(lambda: self.browse())

    def _changed(self, path):
        self._check()
        self.currentPathChanged.emit(path)

    def _check(self):
        path = pathlib.Path(self._box.currentText())
        valid = self._box.currentText() != "" and bool(
            (self.filters & 1 and path.is_dir()) or (self.filters & 2 and path.is_file())
        )
        if valid != self._valid:
            self._valid = valid
            self.validInputChanged.emit(valid)

    def _show(self):
        self._button.setVisible(self.showBrowseButton)

    def _setPath(self, path):
        self._box.setEditText(path)

    currentPath = QtCore.Property(str, lambda self: self._box.currentText(), _setPath)

    def setCurrentPath(self, path: str) -> None:
        self._box.setEditText(path)

    def browse(self) -> None:
        path = dialog("ctkPathLineEdit.browse", "")(self._box.currentText())
        if path:
            self._box.setEditText(path)

    def retrieveHistory(self) -> None:
        key = f"qMRMLWidget/{self.settingKey}"
        if self.settingKey:
            self._box.addItems([str(path) for path in QtCore.QSettings().value(key, [], list)])

    def addCurrentPathToHistory(self) -> None:
        if self._box.findText(self._box.currentText()) < 0:
            self._box.addItem(self._box.currentText())
        if self.settingKey:
            paths = [self._box.itemText(i) for i in range(self._box.count())]
            QtCore.QSettings().setValue(f"qMRMLWidget/{self.settingKey}", paths)

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._box


def _ofPart(part: str, **names):
    """Properties that are a part's own."""

    def one(kind, name):
        get = lambda self: getattr(self, part).property(name)  # noqa: E731
        return QtCore.Property(kind, get, lambda self, value: getattr(self, part).setProperty(name, value))

    return {name: one(kind, name) for name, kind in names.items()}


class ctkDoubleSpinBox(QtWidgets.QWidget):
    _slicer = True
    valueChanged = Signal("valueChanged(double)")
    editingFinished = Signal("editingFinished()")
    decimalsChanged = Signal("decimalsChanged(int)")
    locals().update(_ofPart("_box", value=float, minimum=float, maximum=float, singleStep=float, decimals=int))
    locals().update(_ofPart("_box", prefix=str, suffix=str, readOnly=bool, frame=bool, alignment=int, cleanText=str))

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._box = QtWidgets.QDoubleSpinBox(self)
        row(self, self._box)
        self._box.valueChanged.connect(self.valueChanged.emit)
        self._box.editingFinished.connect(self.editingFinished.emit)

    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    setValueIfDifferent = setValueAlways = setValue

    def setDecimals(self, decimals: int) -> None:
        self._box.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)

    def setReadOnly(self, readOnly: bool) -> None:
        self._box.setReadOnly(readOnly)

    def stepUp(self) -> None:
        self._box.stepUp()

    def stepDown(self) -> None:
        self._box.stepDown()


STEPS = 1000  # of the bar of a slider


class ctkSliderWidget(QtWidgets.QWidget):
    _slicer = True
    ENUMS = types.MappingProxyType({"NoSynchronize": 0, "SynchronizeWidth": 1, "SynchronizeDecimals": 2})
    valueChanged = Signal("valueChanged(double)")
    valueIsChanging = Signal("valueIsChanging(double)")
    decimalsChanged = Signal("decimalsChanged(int)")
    minimum = prop(float, 0.0, "_limit")
    maximum = prop(float, 99.0, "_limit")
    pageStep = prop(float, 10.0)
    tickInterval = prop(float, 0.0)
    tracking = prop(bool, True)
    spinBoxVisible = prop(bool, True, "_limit")
    popupSlider = prop(bool, False)
    synchronizeSiblings = prop(int, 3)
    invertedAppearance = prop(bool, False)
    invertedControls = prop(bool, False)
    locals().update(_ofPart("_box", singleStep=float, decimals=int, prefix=str, suffix=str))

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._value = 0.0
        self._box = QtWidgets.QDoubleSpinBox(self)
        self._bar = QtWidgets.QSlider(Qt.Horizontal, self, maximum=STEPS)
        row(self, self._bar, self._box)
        self._limit()
        self._box.valueChanged.connect(self._set)
        self._bar.sliderMoved.connect(lambda step: self._box.setValue(self._at(step)))

    def _at(self, step):
        return self.minimum + step * (self.maximum - self.minimum) / STEPS

    def _limit(self):
        self._box.setRange(self.minimum, self.maximum)
        self._box.setVisible(self.spinBoxVisible)
        self._set(self._value)

    def _set(self, value):
        value, before = min(max(value, self.minimum), self.maximum), self._value
        self._value = value
        for part, shown in ((self._box, value), (self._bar, self._step(value))):
            part.blockSignals(True)
            part.setValue(shown)
            part.blockSignals(False)
        if value != before:
            self.valueChanged.emit(value)

    def _step(self, value):
        return round(STEPS * (value - self.minimum) / (self.maximum - self.minimum or 1.0))

    value = QtCore.Property(float, lambda self: self._value, _set)

    def setValue(self, value: float) -> None:
        self._set(value)

    def reset(self) -> None:
        self._set(0.0)

    def setDecimals(self, decimals: int) -> None:
        self._box.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)

    def setSpinBoxVisible(self, visible: bool) -> None:
        self._box.setVisible(visible)


class ctkRangeWidget(QtWidgets.QWidget):
    _slicer = True
    minimumValueChanged = Signal("minimumValueChanged(double)")
    maximumValueChanged = Signal("maximumValueChanged(double)")
    valuesChanged = Signal("valuesChanged(double,double)")
    rangeChanged = Signal("rangeChanged(double,double)")
    minimum = prop(float, 0.0, "_limit")
    maximum = prop(float, 99.0, "_limit")
    tickInterval = prop(float, 0.0)
    tracking = prop(bool, True)
    symmetricMoves = prop(bool, False)
    autoSpinBoxWidth = prop(bool, True)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._values = (0.0, 99.0)
        self._boxes = QtWidgets.QDoubleSpinBox(self), QtWidgets.QDoubleSpinBox(self)
        row(self, *self._boxes)
        self._limit()
        self._boxes[0].valueChanged.connect(lambda value: self._set(value, max(value, self._values[1])))
        self._boxes[1].valueChanged.connect(lambda value: self._set(min(value, self._values[0]), value))

    def _limit(self):
        for box in self._boxes:
            box.setRange(self.minimum, self.maximum)
        self._set(*self._values)
        self.rangeChanged.emit(self.minimum, self.maximum)

    def _set(self, low, high):
        before = self._values
        self._values = tuple(min(max(value, self.minimum), self.maximum) for value in sorted((low, high)))
        for box, value in zip(self._boxes, self._values, strict=True):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)
        if before[0] != self._values[0]:
            self.minimumValueChanged.emit(self._values[0])
        if before[1] != self._values[1]:
            self.maximumValueChanged.emit(self._values[1])
        if before != self._values:
            self.valuesChanged.emit(*self._values)

    def _both(name, kind):  # noqa: N805
        def put(self, value):
            for box in self._boxes:
                box.setProperty(name, value)

        return QtCore.Property(kind, lambda self: self._boxes[0].property(name), put)

    decimals, singleStep = _both("decimals", int), _both("singleStep", float)
    prefix, suffix = _both("prefix", str), _both("suffix", str)
    minimumValue = QtCore.Property(
        float, lambda self: self._values[0], lambda self, value: self._set(value, max(value, self._values[1]))
    )
    maximumValue = QtCore.Property(
        float, lambda self: self._values[1], lambda self, value: self._set(min(value, self._values[0]), value)
    )

    def setMinimumValue(self, value: float) -> None:
        self.minimumValue = value

    def setMaximumValue(self, value: float) -> None:
        self.maximumValue = value

    def setValues(self, low: float, high: float) -> None:
        self._set(low, high)

    def setRange(self, low: float, high: float) -> None:
        self.minimum, self.maximum = low, high

    def setDecimals(self, decimals: int) -> None:
        self.decimals = decimals


class ctkCheckableComboBox(QtWidgets.QComboBox):
    _slicer = True
    checkedIndexesChanged = Signal("checkedIndexesChanged()")

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._changing = False
        self.model().dataChanged.connect(self._changed)
        self.model().rowsInserted.connect(self._inserted)
        self.model().rowsRemoved.connect(lambda *where: self.update())

    def _inserted(self, parent, first, last):
        for index in range(first, last + 1):
            item = self.model().item(index)
            item.setCheckable(True)
            item.setCheckState(Qt.Unchecked)

    def _changed(self, first, last, roles):
        if not roles or Qt.CheckStateRole in roles:
            self.update()
            self.checkedIndexesChanged.emit()

    def checkableModel(self):
        return self.model()

    def checkedIndexes(self):
        states = [(self.model().index(i, 0), self.model().item(i)) for i in range(self.count())]
        return [index for index, item in states if item.isCheckable() and item.checkState() == Qt.Checked]

    def allChecked(self) -> bool:
        return self.count() > 0 and len(self.checkedIndexes()) == self.count()

    def noneChecked(self) -> bool:
        return not self.checkedIndexes()

    def checkState(self, index: object) -> Qt.CheckState:
        return self.model().itemFromIndex(_plain(index)).checkState()

    def setCheckState(self, index: object, state: int) -> None:
        self.model().itemFromIndex(_plain(index)).setCheckState(Qt.CheckState(state))

    def paintEvent(self, event):
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = ", ".join(index.data() for index in self.checkedIndexes()) or "None"
        painter.drawComplexControl(QtWidgets.QStyle.CC_ComboBox, option)
        painter.drawControl(QtWidgets.QStyle.CE_ComboBoxLabel, option)


def _plain(index):
    return getattr(index, "_qt", index)


WIDGETS = {name: item for name, item in list(globals().items()) if name.startswith("ctk") and isinstance(item, type)}


class ctkMessageBox(QtWidgets.QMessageBox):
    _slicer = True
    dontShowAgainVisible = prop(bool, False)
    dontShowAgain = prop(bool, False)
    dontShowAgainSettingsKey = prop(str, "")


class CtkModule(types.ModuleType):
    """The module `ctk`."""

    def __getattr__(self, name):
        found = {"ctkMessageBox": ctkMessageBox, **WIDGETS}.get(name)
        if found is None:
            raise AttributeError(f"module 'ctk' has no attribute '{name}' among the stand-ins")
        return standIn(found)
