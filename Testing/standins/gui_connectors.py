"""Which widget shows which kind of parameter, as slicer.parameterNodeWrapper of 3D Slicer 5.12.3 has it."""

import enum
import pathlib
import typing

import ctk
import qt
import slicer

from .parameter_node import UNIONS, annotations, unannotatedType
from .parameter_rules import Choice, Decimals, Maximum, Minimum, SingleStep, WithinRange

INT_RANGE = (-(2**31), 2**31 - 1)
FLOAT_RANGE = (float("-inf"), float("inf"))
SLIDERS = (qt.QSlider, ctk.ctkSliderWidget)
REAL = (qt.QDoubleSpinBox, ctk.ctkDoubleSpinBox, ctk.ctkSliderWidget)


class _Connector:
    """A property of a widget and the signal that tells of its change."""

    def __init__(self, widget, signal, read, write):
        self.widget, self.signal, self.read, self.write = widget, signal, read, write

    def connect(self, changed):
        self._changed = changed
        getattr(self.widget, self.signal).connect(changed) if self.signal else None

    def disconnect(self):
        getattr(self.widget, self.signal).disconnect(self._changed) if self.signal else None


def _property(widget, name, signal, toGui=lambda value: value, fromGui=lambda value: value):
    def write(value):
        if getattr(widget, name) != toGui(value):
            setattr(widget, name, toGui(value))

    return _Connector(widget, signal, lambda: fromGui(getattr(widget, name)), write)


def _note(kind, wanted):
    return next((note for note in annotations(kind) if isinstance(note, wanted)), None)


def _number(widget, kind, plain):
    within, low, high = _note(kind, WithinRange), _note(kind, Minimum), _note(kind, Maximum)
    if type(widget) in SLIDERS and within is None and not (low and high):
        raise RuntimeError(f"Cannot have a connection to {type(widget).__name__} where the type is unbounded.")
    limits = INT_RANGE if type(widget) in (qt.QSpinBox, qt.QSlider) else FLOAT_RANGE
    widget.minimum = within.minimum if within else low.minimum if low else limits[0]
    widget.maximum = within.maximum if within else high.maximum if high else limits[1]
    if type(widget) in REAL and (plain is int or _note(kind, Decimals)):
        widget.decimals = 0 if plain is int else _note(kind, Decimals).value
    if _note(kind, SingleStep):
        widget.singleStep = _note(kind, SingleStep).value
    return _property(widget, "value", "valueChanged", plain, plain)


def _combo(widget, values, labels):
    widget.clear()
    for label in labels:
        widget.addItem(label)
    return _property(widget, "currentIndex", "currentIndexChanged", values.index, lambda index: values[index])


def _nodeClasses(plain):
    kinds = typing.get_args(plain) if typing.get_origin(plain) in UNIONS else (plain,)
    kinds = [unannotatedType(kind) for kind in kinds if kind is not type(None)]
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)] if kinds else []


def connector(widget, kind) -> _Connector:
    """The connector of a widget to a parameter of a kind; RuntimeError where 3D Slicer has none."""
    plain, shows = unannotatedType(kind), type(widget)
    if plain is bool and shows in (qt.QCheckBox, qt.QPushButton):
        widget.checkable = True
        return _property(widget, "checked", "toggled")
    if (plain is int and shows in (qt.QSlider, qt.QSpinBox)) or (plain in (int, float) and shows in REAL):
        return _number(widget, kind, plain)
    if shows is qt.QComboBox and plain in (int, float, str, bool):
        if _note(kind, Choice) is None:
            raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
        values = list(_note(kind, Choice).choices)
        return _combo(widget, values, [str(value) for value in values])
    if shows is qt.QComboBox and isinstance(plain, type) and issubclass(plain, enum.Enum):
        label = getattr(plain, "label", lambda value: value.name)
        return _combo(widget, list(plain), [label(value) for value in plain])
    if plain is str and shows in (qt.QLineEdit, qt.QLabel):
        return _property(widget, "text", "textChanged" if shows is qt.QLineEdit else "")
    if plain is str and shows is qt.QTextEdit:
        return _property(widget, "plainText", "textChanged")
    if isinstance(plain, type) and issubclass(plain, pathlib.PurePath) and shows is ctk.ctkPathLineEdit:
        return _property(widget, "currentPath", "currentPathChanged", str, plain)
    if shows is slicer.qMRMLNodeComboBox and (classes := _nodeClasses(plain)):
        widget.nodeTypes = [nodeClass.__name__ for nodeClass in classes]
        return _Connector(widget, "currentNodeChanged", widget.currentNode, widget.setCurrentNode)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{plain}' to widget type '{shows}'.")
