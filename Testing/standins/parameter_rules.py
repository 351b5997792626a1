"""The annotations of a parameter node's fields, with the messages of 3D Slicer 5.12.3."""

from dataclasses import dataclass, field


@dataclass
class Default:
    """The value at first."""

    first: object = None
    generator: object = field(default=None, kw_only=True)

    @property
    def value(self):
        return self.generator() if self.generator else self.first


@dataclass
class Decimals:
    """Decimals that the widget shows."""

    value: int


@dataclass
class SingleStep:
    """Step of the widget."""

    value: float


class Validator:
    """Holds values against a rule; ValueError where they break it."""

    def validate(self, value):
        raise NotImplementedError


class NotNone(Validator):
    def validate(self, value):
        if value is None:
            raise ValueError("Value must not be None")


@dataclass
class WithinRange(Validator):
    minimum: float
    maximum: float

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclass
class Minimum(Validator):
    minimum: float

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"Value must be greater than {self.minimum}, is {value}")


@dataclass
class Maximum(Validator):
    maximum: float

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"Value must be greater than {self.maximum}, is {value}")


@dataclass
class Choice(Validator):
    choices: list

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")
