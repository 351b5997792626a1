"""`slicer.parameterNodeWrapper`: typed fields kept in a vtkMRMLScriptedModuleNode, and their widgets.

Own code that behaves as 3D Slicer 5.12.3 does; how values are written into the node is this file's own business.
"""

import ast
import collections.abc
import enum
import pathlib
import types
import typing
from dataclasses import dataclass

import slicer
import vtk

from .parameter_rules import Choice, Decimals, Default, Maximum, Minimum, NotNone, SingleStep, Validator, WithinRange

__all__ = ["Choice", "Decimals", "Default", "Maximum", "Minimum", "NotNone", "SingleStep", "WithinRange"]
__all__ += ["SlicerParameterNamePropertyName", "Validator", "isParameterNodeWrapper", "parameterNodeWrapper"]
SlicerParameterNamePropertyName = "SlicerParameterName"
UNIONS = (typing.Union, types.UnionType)


@dataclass
class Plain:
    """A value that is written as a text."""

    kind: type

    def default(self):
        return self.kind()

    def check(self, value):
        if value is None:
            raise ValueError("Value must not be None")
        allowed = (int, float) if self.kind is float else self.kind
        if not isinstance(value, allowed):
            raise TypeError(f"Value must be of type '{allowed}', is type '{type(value)}' value '{value}'")

    def write(self, node, name, value):
        node.SetParameter(name, str(value))

    def read(self, node, name):
        text = node.GetParameter(name)
        return text == "True" if self.kind is bool else self.kind(text)

    def remove(self, node, name):
        node.UnsetParameter(name)


class Enumeration(Plain):
    def default(self):
        return next(iter(self.kind))

    def write(self, node, name, value):
        node.SetParameter(name, value.name)

    def read(self, node, name):
        return self.kind[node.GetParameter(name)]


class Reference(Plain):
    """A node, or none."""

    def default(self):
        return None

    def check(self, value):
        super().check(value) if value is not None else None

    def write(self, node, name, value):
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node, name):
        return node.GetNodeReference(name)

    def remove(self, node, name):
        super().remove(node, name)
        node.RemoveNodeReferenceIDs(name)


class Optional(Plain):
    """A value of the inner kind, or None."""

    def default(self):
        return None

    def check(self, value):
        self.kind.check(value) if value is not None else None

    def write(self, node, name, value):
        self.kind.remove(node, f"{name}.0")
        if value is not None:
            self.kind.write(node, f"{name}.0", value)
        node.SetParameter(name, str(value is not None))

    def read(self, node, name):
        return self.kind.read(node, f"{name}.0") if node.GetParameter(name) == "True" else None


class List(Plain):
    """Values of the inner kind, each under a name of its own, so that nodes in it are references."""

    def default(self):
        return []

    def check(self, values):
        for value in values:
            self.kind.check(value)

    def write(self, node, name, values):
        for index in range(int(node.GetParameter(name) or 0)):
            self.kind.remove(node, f"{name}.{index}")
        for index, value in enumerate(values):
            self.kind.write(node, f"{name}.{index}", value)
        node.SetParameter(name, str(len(values)))

    def read(self, node, name):
        values = [self.kind.read(node, f"{name}.{index}") for index in range(int(node.GetParameter(name)))]
        return ObservedList(values, self, node, name)


class Dict(Plain):
    """Keys and values of two inner kinds, which are plain ones."""

    def default(self):
        return {}

    def check(self, values):
        for key, value in values.items():
            self.kind[0].check(key)
            self.kind[1].check(value)

    def write(self, node, name, values):
        node.SetParameter(name, repr(dict(values)))

    def read(self, node, name):
        return ObservedDict(ast.literal_eval(node.GetParameter(name)), self, node, name)


class Observed:
    """A container that is written back whenever it is changed."""

    def __init__(self, values, kind, node, name):
        self._values, self._kind, self._node, self._name = values, kind, node, name

    def __len__(self):
        return len(self._values)

    def __getitem__(self, key):
        return self._values[key]

    def __setitem__(self, key, value):
        self._change("__setitem__", key, value)

    def __delitem__(self, key):
        self._change("__delitem__", key)

    def _change(self, how, *args):
        values = self._values.copy()
        getattr(values, how)(*args)
        self._kind.check(values)
        with slicer.util.NodeModify(self._node):
            self._kind.write(self._node, self._name, values)
        self._values = values

    def __eq__(self, other):
        return self._values == (other._values if isinstance(other, Observed) else other)

    def __repr__(self):
        return f"{type(self).__name__}({self._values})"


class ObservedList(Observed, collections.abc.MutableSequence):
    def insert(self, index, value):
        self._change("insert", index, value)


class ObservedDict(Observed, collections.abc.MutableMapping):
    def __iter__(self):
        return iter(self._values)

    def get(self, key):  # Slicer's takes no default
        return self._values.get(key)


def annotations(kind) -> tuple:
    return typing.get_args(kind)[1:] if typing.get_origin(kind) is typing.Annotated else ()


def unannotatedType(kind):
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


def writer(kind) -> Plain:
    """How values of a kind are kept."""
    kind = unannotatedType(kind)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in UNIONS and len(inner) == 2 and inner[1] is type(None):
        return Optional(writer(inner[0]))
    if origin is list:
        return List(writer(inner[0]))
    if origin is dict and all(one in (bool, int, float, str) for one in inner):
        return Dict((Plain(inner[0]), Plain(inner[1])))
    if isinstance(kind, type):
        if issubclass(kind, enum.Enum):
            return Enumeration(kind)
        if issubclass(kind, slicer.vtkMRMLNode):
            return Reference(kind)
        if kind in (bool, int, float, str) or issubclass(kind, pathlib.PurePath):
            return Plain(kind)
    raise Exception(f"Unable to create serializer for type: {kind}")


class Field:
    """A field of a wrapper: a Python property over the parameter node."""

    def __init__(self, name, kind, default):
        self.name, self.kind, self.writer = name, kind, writer(kind)
        notes = [note() if isinstance(note, type) else note for note in annotations(kind)]
        self.validators = [note for note in notes if isinstance(note, Validator)]
        self.default = default or Default(self.writer.default())

    def __get__(self, wrapper, owner=None):
        if wrapper is None:
            return self
        if not wrapper.parameterNode.HasParameter(self.name):
            self.__set__(wrapper, self.default.value)
        return self.writer.read(wrapper.parameterNode, self.name)

    def __set__(self, wrapper, value):
        self.writer.check(value)
        for validator in self.validators:
            validator.validate(value)
        with slicer.util.NodeModify(wrapper.parameterNode):
            self.writer.write(wrapper.parameterNode, self.name, value)


class Wrapper:
    """What the decorator adds to a class."""

    _is_parameter_node_wrapper = True

    def __init__(self, parameterNode, prefix=None):
        self.parameterNode = parameterNode
        self._connected, self._updating, self._nextTag = {}, False, 0
        for name in self.allParameters:
            getattr(self, name)

    def getValue(self, name):
        return getattr(self, self._field(name).name)

    def setValue(self, name, value):
        setattr(self, self._field(name).name, value)

    def default(self, name):
        return self._field(name).default

    def isCached(self, name):
        return self._field(name) is not None

    @classmethod
    def dataType(cls, name):
        return cls._field(name).kind

    @classmethod
    def _field(cls, name):
        if name not in cls.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return cls.allParameters[name]

    def connectGui(self, gui) -> int:
        import qt

        widgets = gui.findChildren(qt.QWidget) if hasattr(gui, "isWidgetType") else vars(gui).values()
        named = {widget.property(SlicerParameterNamePropertyName): widget for widget in widgets}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping) -> int:
        from .gui_connectors import connector

        connectors = {name: connector(widget, self.dataType(name)) for name, widget in mapping.items()}
        for name, one in connectors.items():
            one.write(self.getValue(name))
            one.connect(self._listener(name, one))
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._toGui())
        tag, self._nextTag = self._nextTag, self._nextTag + 1
        self._connected[tag] = (connectors, observer)
        return tag

    def disconnectGui(self, tag):
        connectors, observer = self._connected.pop(tag, ({}, None))
        for one in connectors.values():
            one.disconnect()
        if observer is not None:
            self.RemoveObserver(observer)

    def _listener(self, name, one):
        def changed():
            with slicer.util.NodeModify(self):
                if not self._updating:
                    self.setValue(name, one.read())

        return changed

    def _toGui(self):
        if self._updating:
            return
        self._updating = True
        try:
            for connectors, _ in list(self._connected.values()):
                for name, one in connectors.items():
                    one.write(self.getValue(name))
        finally:
            self._updating = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified):
        return self.parameterNode.EndModify(wasModified)

    def Modified(self):
        return self.parameterNode.Modified()

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        return self.parameterNode.RemoveObserver(tag)


def parameterNodeWrapper(classtype=None):
    """Class decorator: the annotated fields become values of the parameter node that an object is made around."""
    if classtype is None:
        return parameterNodeWrapper
    fields = {}
    for name, kind in typing.get_type_hints(classtype, include_extras=True).items():
        notes = [note for note in annotations(kind) if isinstance(note, Default)]
        default = Default(getattr(classtype, name)) if hasattr(classtype, name) else next(iter(notes), None)
        fields[name] = Field(name, kind, default)
    added = {name: one for name, one in vars(Wrapper).items() if name == "__init__" or not name.startswith("__")}
    for name in fields.keys() & (added.keys() | {"allParameters"}):
        raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
    for name, member in (added | fields | {"allParameters": fields}).items():
        setattr(classtype, name, member)
    return classtype


def isParameterNodeWrapper(classOrObject) -> bool:
    return getattr(classOrObject, "_is_parameter_node_wrapper", False)
