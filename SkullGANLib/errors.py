"""Errors for the person at the screen: what was wrong with what they gave, and what to do about it."""

from __future__ import annotations


class SkullGANError(Exception):
    """Base of every error a user can act on.

    Args:
        message: one sentence saying what was wrong.
        advice: one sentence saying what to do; may be empty.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message, advice)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()


class InputError(SkullGANError):
    """The data or the options given cannot be used."""


class FormatError(SkullGANError):
    """A file or folder is not what its name says, or is damaged."""


class ResourceError(SkullGANError):
    """Memory, disk, device or a package is missing."""


class Cancelled(Exception):  # noqa: N818 - a stop asked for is not an error
    """The user asked to stop; whatever could be saved has been saved."""
