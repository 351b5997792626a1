"""Numbers and lists as words of a sentence."""

from __future__ import annotations

from collections.abc import Sequence


def few(names: Sequence[object], shown: int = 5) -> str:
    """The first names of many, with commas, and how many more there are."""
    rest = len(names) - shown
    return ", ".join(map(str, names[:shown])) + (f" and {rest} more" if rest > 0 else "")


def fault(error: Exception) -> str:
    """What is wrong: of pydantic the first fault and its place, of other errors what they say."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def counted(n: int, one: str, several: str) -> str:
    """A number with the words that fit it."""
    return f"{n} {one if n == 1 else several}"
