"""Values of Qt's enumerations and properties: which ones PythonQt takes, and no more than those."""

import enum
import itertools
import numbers
import operator

from PySide6 import QtCore

PROPERTY_HOOKS: dict = {}  # property -> how to set it; filled by qt_module
_count = itertools.count()


class EnumValue(int):
    """A value of a Qt enumeration: an int, as in PythonQt, that still knows what it was."""

    def __new__(cls, member):
        self = int.__new__(cls, member.value)
        self.member = member
        return self

    def _combine(self, other, combine):
        if isinstance(other, EnumValue) and isinstance(self.member, enum.Flag):
            return EnumValue(combine(self.member, other.member))
        return combine(int(self), int(other))

    def __or__(self, other):
        return self._combine(other, operator.or_)

    def __and__(self, other):
        return self._combine(other, operator.and_)


_TAKES = {"QString": str, "bool": bool, "double": numbers.Real, "float": numbers.Real, "QStringList": (list, tuple)}


def assign(qtObject, found, value, plain) -> None:
    """Set a property to a value, which is `plain` for PySide6; AttributeError where it does not fit."""
    name, kind = found.name(), found.typeName()
    if not found.isWritable():
        raise AttributeError(f"Property '{name}' of {type(qtObject).__name__} object is not writable")
    if found.isEnumType() or found.isFlagType():
        fits = isinstance(value, int) and not isinstance(value, bool)
        plain = int(value) if fits else value
    elif kind in ("int", "uint", "qlonglong"):  # a float without fraction is taken: nothing gets lost
        fits = isinstance(value, numbers.Real) and not isinstance(value, bool) and value == int(value)
        plain = int(value) if fits else value
    elif kind in _TAKES:
        fits = isinstance(value, _TAKES[kind]) and (kind == "bool" or not isinstance(value, bool))
        fits = fits and (kind != "QStringList" or all(isinstance(item, str) for item in value))
        plain = float(plain) if fits and kind in ("double", "float") else plain
    else:
        fits = kind == "QVariant" or type(plain).__name__ == kind.rstrip("*")
    if fits and name in PROPERTY_HOOKS:
        PROPERTY_HOOKS[name](qtObject, plain)
    elif not fits or not qtObject.setProperty(name, plain):
        raise AttributeError(
            f"Property '{name}' of type '{kind}' does not accept an object of type {type(value).__name__} ({value!r})"
        )


def prop(kind, default, changed: str = ""):
    """A Q_PROPERTY of a stand-in widget that keeps its value and then calls the widget's method `changed`."""
    key = f"value {next(_count)}"

    def get(self):
        return self.__dict__.get(key, default)

    def put(self, value):
        self.__dict__[key] = value
        getattr(self, changed)() if changed else None

    return QtCore.Property(kind, get, put)
