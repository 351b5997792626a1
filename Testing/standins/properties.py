"""Qt as PythonQt shows it to Python, over PySide6: properties are attributes, names that do not exist are errors.

One mechanism, Qt's own meta-object, serves all classes; what it cannot know is listed in `HOOKS`.
"""

import enum
import inspect
import numbers
import os
import sys
import traceback
import types
import weakref

import shiboken6
from PySide6 import QtCore

from .records import slotErrors
from .values import EnumValue, assign


def wrap(value):
    """What PythonQt returns for a value of PySide6: stand-ins for Qt's objects, tuples for lists, ints for enums."""
    if isinstance(value, enum.Enum):
        return EnumValue(value)
    if isinstance(value, (list, tuple)):
        return tuple(wrap(item) for item in value)
    if isinstance(value, dict):
        return {key: wrap(item) for key, item in value.items()}
    if isinstance(value, shiboken6.Object):
        known = _wrapped.get(_key(value))
        return known if known is not None and known._qt is value else standIn(type(value))._around(value)
    return value


def unwrap(value):
    """What PySide6 takes for a value of the caller's; TypeError for what PythonQt does not turn into a Qt type."""
    if isinstance(value, StandIn):
        return value._alive()
    if isinstance(value, StandInType):
        return value._qtClass
    if isinstance(value, EnumValue):
        return value.member
    if isinstance(value, (list, tuple)):
        return [unwrap(item) for item in value]
    if isinstance(value, dict):
        return {key: unwrap(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        raise TypeError(f"{type(value).__name__} is not converted to a string for Qt: use str({value!r})")
    if isinstance(value, (types.FunctionType, types.MethodType)):
        return Slot(value)
    return value


def _key(qtObject) -> int:
    return shiboken6.getCppPointer(qtObject)[0] if shiboken6.isValid(qtObject) else id(qtObject)


HOOKS: dict = {}  # method, or (class, method) -> what to do in its place; filled by qt_module
_wrapped: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


class Slot:
    """A Python function called by Qt: gets as many arguments as it takes; what it raises goes to `slotErrors`."""

    def __init__(self, function, count: int | None = None):
        self.function, self.count = function, count
        code = getattr(function, "__code__", None)
        if code is not None and not code.co_flags & inspect.CO_VARARGS:
            takes = code.co_argcount - (inspect.ismethod(function))
            self.count = takes if count is None else min(takes, count)

    def __call__(self, *args):
        args = [wrap(value) for value in args]
        try:
            self.function(*(args if self.count is None else args[: self.count]))
        except BaseException as error:
            slotErrors.append(error)
            traceback.print_exc(file=sys.stderr)


class Signal:
    """A signal declared in Python, `qt.Signal(int)` or of a stand-in widget, by the arguments or by C++ signatures."""

    def __init__(self, *signatures):
        self.signatures = [s for s in signatures if isinstance(s, str)]

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, owner, ownerClass=None):
        return self if owner is None else PythonSignal(owner, self)


class PythonSignal:
    """A signal of one object."""

    def __init__(self, owner, signal, overload: int = 0):
        self.owner, self.overload = owner, overload
        self.slots = owner.__dict__.setdefault(f"_slots of {signal.name}", [])

    def connect(self, function, arguments: int | None = None) -> bool:
        self.slots.append((function, Slot(function, arguments), self.overload))
        return True

    def disconnect(self, function=None) -> bool:
        before = len(self.slots)
        self.slots[:] = [slot for slot in self.slots if function is not None and slot[0] != function]
        return len(self.slots) < before

    def emit(self, *args) -> None:
        blocked = getattr(unwrap(self.owner), "signalsBlocked", lambda: False)
        for _, slot, overload in [] if blocked() else list(self.slots):
            slot(*([args[0] is not None] if overload else args))  # the second one of a node box says if there is a node

    __call__ = emit


class QtSignal(PythonSignal):
    """A signal of Qt's own."""

    def __init__(self, owner, name: str, signature: str = ""):
        self.owner, self.name = owner, name
        meta = owner.metaObject()
        methods = [meta.method(i) for i in range(meta.methodCount())]
        ours = [m for m in methods if m.methodType() == QtCore.QMetaMethod.Signal and bytes(m.name()).decode() == name]
        self.signature = signature or bytes(ours[0].methodSignature()).decode()
        self.slots = owner.__dict__.setdefault(f"_slots of {self.signature}", [])

    def connect(self, function, arguments: int | None = None) -> bool:
        slot = Slot(function, arguments)

        def adapter(*args):  # PySide6 would give an object as many arguments as its __call__ names
            slot(*args)

        self.slots.append((function, adapter, arguments))
        return bool(QtCore.QObject.connect(self.owner, QtCore.SIGNAL(self.signature), adapter))

    def disconnect(self, function=None) -> bool:
        gone = [slot for slot in self.slots if function is None or slot[0] == function]
        for slot in gone:
            self.slots.remove(slot)
            QtCore.QObject.disconnect(self.owner, QtCore.SIGNAL(self.signature), slot[1])
        return bool(gone)

    def emit(self, *args) -> None:
        getattr(self.owner, self.name).emit(*[unwrap(value) for value in args])

    __call__ = emit


def signal(owner, name: str):
    """The signal of that name, or with that C++ signature, of an object; AttributeError if there is none."""
    bare, _, arguments = name.partition("(")
    declared = inspect.getattr_static(type(owner), bare, None)
    if isinstance(declared, Signal):
        known = [s.replace(" ", "") for s in declared.signatures]
        if arguments and known and _normal(name) not in known:
            raise AttributeError(f"{type(owner).__name__} has no signal {name}, only {', '.join(known)}")
        return PythonSignal(owner, declared, known.index(_normal(name)) if arguments and known else 0)
    qtObject = unwrap(owner)
    if qtObject is not owner:
        return signal(qtObject, name)
    index = owner.metaObject().indexOfSignal(_normal(name)) if arguments else 0
    if index < 0 or type(declared) is not QtCore.Signal:
        raise AttributeError(f"{type(owner).__name__} has no signal {name}")
    return QtSignal(owner, bare, _normal(name) if arguments else "")


def _normal(signature: str) -> str:
    return QtCore.QMetaObject.normalizedSignature(signature).data().decode()


class StandInType(type):
    """Class of the stand-ins' classes: gives the enumerations and the static functions of the Qt class."""

    def __getattr__(cls, name):
        if name.startswith("_") or cls._qtClass is None:
            raise AttributeError(name)
        if name in getattr(cls._qtClass, "ENUMS", {}):
            return cls._qtClass.ENUMS[name]
        member = getattr(cls._qtClass, name, None)
        if isinstance(member, enum.Enum):
            return EnumValue(member)
        if isinstance(member, enum.EnumMeta):
            return lambda value: EnumValue(member(value))
        if (cls.standsFor, name) in HOOKS:
            return Method(None, name, HOOKS[cls.standsFor, name])
        if isinstance(member, int) or inspect.isclass(member):
            return member if isinstance(member, int) else standIn(member)
        if callable(member):
            return Method(None, name, member)
        raise AttributeError(f"{cls.standsFor} has no attribute named '{name}'")


class Method:
    """A method of a Qt object: takes and gives what PythonQt would."""

    def __init__(self, owner, name, function):
        self.owner, self.__name__, self.function = owner, name, function

    def __call__(self, *args):
        _check(self.function, args)
        plain = [unwrap(value) for value in args]
        try:
            return wrap(self.function(*plain))
        except (TypeError, NotImplementedError) as error:
            if inspect.isbuiltin(self.function):  # errors of slots do not come here, so the arguments were wrong
                raise ValueError(f"Called {self.__name__} with wrong arguments: {args}") from error
            raise

    def __eq__(self, other):
        return isinstance(other, Method) and (self.owner, self.__name__) == (other.owner, other.__name__)

    __hash__ = object.__hash__


def _check(function, args) -> None:
    """Hold arguments against the annotations of a stand-in's own method: ValueError where PythonQt finds no match."""
    if not isinstance(function, types.MethodType):
        return
    try:
        bound = inspect.signature(function).bind(*args)
    except TypeError as error:
        raise ValueError(f"Called {function.__name__} with wrong arguments: {args}") from error
    for name, value in bound.arguments.items():
        wanted = function.__annotations__.get(name)
        wanted = numbers.Real if wanted is float else wanted
        if wanted is not None and not isinstance(value, wanted):
            raise ValueError(f"Called {function.__name__} with wrong arguments: {args}: {name} is {wanted}")


class StandIn(metaclass=StandInType):
    """Stands for an object of a Qt class; `standsFor` is the name of the class in 3D Slicer."""

    _qtClass: type | None = None
    standsFor = ""

    def __init__(self, *args):
        _check(types.MethodType(self._qtClass.__init__, self), args) if "_slicer" in vars(self._qtClass) else None
        try:
            self._hold(self._qtClass(*[unwrap(value) for value in args]))
        except TypeError as error:
            raise ValueError(f"Could not find matching overload for given arguments: {args}") from error

    def _hold(self, qtObject):
        object.__setattr__(self, "_qt", qtObject)
        if isinstance(qtObject, QtCore.QObject):
            _wrapped[_key(qtObject)] = self

    @classmethod
    def _around(cls, qtObject):
        self = cls.__new__(cls)
        self._hold(qtObject)
        return self

    def _alive(self):
        if not shiboken6.isValid(self._qt):
            raise ValueError(f"Trying to use a destroyed {self.standsFor} object")
        return self._qt

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        qtObject = self._alive()
        found = _property(qtObject, name)
        if found is not None:
            return wrap(qtObject.property(found.name()))
        if (self.standsFor, name) in HOOKS or name in HOOKS:
            hook = HOOKS.get((self.standsFor, name)) or HOOKS[name]
            if hasattr(qtObject, name):
                return Method(self, name, types.MethodType(hook, qtObject))
        declared = inspect.getattr_static(type(qtObject), name, None)
        if type(declared) in (Signal, QtCore.Signal):
            return signal(qtObject, name)
        if declared is None or isinstance(declared, QtCore.Property):
            raise AttributeError(f"{self.standsFor} has no attribute named '{name}'")
        member = getattr(qtObject, name)
        return Method(self, name, member) if callable(member) else wrap(member)

    def __setattr__(self, name, value):
        qtObject = self._alive()
        found = _property(qtObject, name)
        if found is not None:
            assign(qtObject, found, value, value if isinstance(value, os.PathLike) else unwrap(value))
        elif type(self)._qtClass is not None and "_qtClass" not in vars(type(self)):
            object.__setattr__(self, name, value)  # a Python class derived from a Qt class has attributes of its own
        elif inspect.getattr_static(type(qtObject), name, None) is not None:
            raise AttributeError(f"Slot '{name}' can not be overwritten on {self.standsFor} object")
        else:
            raise AttributeError(
                f"'{name}' does not exist on {self.standsFor} and creating new attributes on C++ objects is not allowed"
            )

    def __eq__(self, other):
        return isinstance(other, StandIn) and (self._qt is other._qt or self._qt == other._qt)

    def __hash__(self):
        return hash(self._qt) if isinstance(self._qt, QtCore.QObject) else object.__hash__(self)

    def __bool__(self):
        return shiboken6.isValid(self._qt)

    def __repr__(self):
        return f"{self.standsFor} ({self._qt!r})"

    def connect(self, name, *receiver) -> bool:
        """`connect("clicked(bool)", function)` or `connect("toggled(bool)", widget, "setVisible(bool)")`."""
        arguments = len([a for a in name.partition("(")[2].rstrip(")").split(",") if a])
        return signal(self, name).connect(_receiver(*receiver), arguments)

    def disconnect(self, name, *receiver) -> bool:
        return signal(self, name).disconnect(_receiver(*receiver))

    def className(self) -> str:
        return self._alive().metaObject().className()

    def findChildren(self, kind, name=None) -> tuple:
        found = self._alive().findChildren(QtCore.QObject if isinstance(kind, str) else unwrap(kind), name)
        return wrap([child for child in found if not isinstance(kind, str) or child.inherits(kind)])

    def findChild(self, kind, name=None):
        return next(iter(self.findChildren(kind, name)), None)


def _receiver(target, slot=None):
    return target if slot is None else getattr(target, slot.partition("(")[0])


def _property(qtObject, name):
    if not isinstance(qtObject, QtCore.QObject) or (name == "singleShot" and isinstance(qtObject, QtCore.QTimer)):
        return None  # PythonQt keeps singleShot for the static function
    index = qtObject.metaObject().indexOfProperty("objectName" if name == "name" else name)
    return qtObject.metaObject().property(index) if index >= 0 else None


_standIns: dict[type, type] = {}


def standIn(qtClass: type) -> type:
    """The class that stands for a class of PySide6, or for a widget of CTK or MRML written here on top of it."""
    if qtClass not in _standIns:
        known = getattr(qtClass, "_slicer", False) or qtClass.__module__.startswith("PySide6")
        bases = [
            base for base in qtClass.__mro__[1:] if base.__module__.startswith("PySide6") or hasattr(base, "_slicer")
        ]
        if not known:
            _standIns[qtClass] = standIn(bases[0])
        else:
            base = standIn(bases[0]) if bases else StandIn
            members = {"_qtClass": qtClass, "standsFor": qtClass.__name__, "__module__": _module(qtClass)}
            _standIns[qtClass] = StandInType(qtClass.__name__, (base,), members)
    return _standIns[qtClass]


def _module(qtClass) -> str:
    """Where PythonQt has the class: all of Qt's widgets are in its QtGui."""
    library = qtClass.__module__.rsplit(".", 1)[-1]
    names = {"QtWidgets": "QtGui", "ctk_widgets": "CTKWidgets", "mrml_widgets": "qMRMLWidgets"}
    return f"PythonQt.{names.get(library, library)}"
