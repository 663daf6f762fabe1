"""What a payload column may declare besides its type, length and comment."""

from dataclasses import dataclass
from typing import Any

_KEY = "taken"


@dataclass(frozen=True, slots=True)
class Taken:
    """How a value is taken from a raw event."""

    least: int | None = None
    """The smallest valid number, None for no limit but the type's."""
    from_text: bool = False
    """Whether the text of a number is accepted as the number."""


def taken(*, least: int | None = None, from_text: bool = False) -> dict[Any, Any]:
    """Return the `info` of a payload column that says how its values are taken from raw events."""
    return {_KEY: Taken(least, from_text)}


def taken_by(info: dict[Any, Any]) -> Taken:
    """Return what the `info` of a payload column says; by default, the plain way."""
    said: Taken = info.get(_KEY, Taken())
    return said
