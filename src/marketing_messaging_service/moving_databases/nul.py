"""Escapes NUL characters in texts that move to a database without them, in a way that can be undone.

A text with a NUL gets `␀0` for it, and `␀␀` for each `␀` (U+2400) that it already had. So does a text that only looks
as if it had been escaped. Every other text moves unchanged.
"""

import re
from typing import Any

MARK = "\u2400"

_MARKED = re.compile(f"{MARK}(.?)", re.DOTALL)
_MEANT = {"0": "\0", MARK: MARK}


def escaped(value: Any) -> Any:
    """Return a value in a form for a database that cannot hold NUL."""
    if not isinstance(value, str) or ("\0" not in value and unescaped(value) == value):
        return value
    return value.replace(MARK, MARK * 2).replace("\0", f"{MARK}0")


def unescaped(value: Any) -> Any:
    """Return a value as it was before `escaped`."""
    if not isinstance(value, str) or MARK not in value:
        return value
    if any(found not in _MEANT for found in _MARKED.findall(value)):
        return value
    return _MARKED.sub(lambda match: _MEANT[match[1]], value)
