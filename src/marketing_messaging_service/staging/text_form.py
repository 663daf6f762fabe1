"""Recognises by its beginning the form in which a text holds events: lines, an array, or objects over several lines."""

import json
import re
from enum import Enum
from typing import Any

import msgspec

from src.marketing_messaging_service.staging.encoding import BYTE_ORDER_MARK, BYTE_ORDER_MARKS

BEGINNING_BYTES = 64 << 10
"""How much of a file's text is read to see what the file is."""

_AROUND = b" \t\r\n\0\x1e"
_AROUND_TEXT = _AROUND.decode() + "\ufeff"
"""What may surround a JSON text without being part of it: white space, the zero bytes that a power cut leaves, the
separators of JSON text sequences, and the byte order marks of files that were joined."""
_GAP = re.compile(rb"(?:[%b]|%b)*+" % (_AROUND, BYTE_ORDER_MARK))

WORDS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
"""The words of JSON; like an escape, the end of a text may cut them off."""
LONGEST_ESCAPE = len("\\u0000")


class Form(Enum):
    """The form in which a text holds events; the value is what people call it."""

    NOTHING = "empty"
    LINES = "JSON lines"
    ARRAY = "a JSON array"
    OBJECTS = "JSON objects that are not one per line"
    OTHER = "text"

    @property
    def is_documents(self) -> bool:
        """Whether events are separated by their brackets, not by line ends."""
        return self in (Form.ARRAY, Form.OBJECTS)

    @property
    def holds_events(self) -> bool:
        """Whether this project reads the form."""
        return self.is_documents or self is Form.LINES


_JSON = json.JSONDecoder()


def after_gap(text: bytes, position: int = 0) -> int:
    """Return where the next JSON text begins, or the length if there is none."""
    gap = _GAP.match(text, position)
    assert gap is not None  # noqa: S101  it also matches nothing
    return gap.end()


def begins_with_json(beginning: bytes) -> bool:
    """Whether a text begins with an object on its own line, or certainly holds objects in another form."""
    start = after_gap(beginning)
    line, _, _ = beginning[start:].partition(b"\n")
    return form_of(beginning).is_documents or isinstance(_decoded(bare(line)), dict)


def has_objects(beginning: bytes) -> bool:
    """Whether any line is a JSON object."""
    return any(isinstance(_decoded(bare(line)), dict) for line in beginning.split(b"\n"))


def bare(line: bytes) -> bytes:
    """Return a line without what may surround a JSON text, and without a separating comma."""
    text = line
    while True:
        inner = text.strip(_AROUND).removeprefix(BYTE_ORDER_MARK).removesuffix(BYTE_ORDER_MARK)
        if len(inner) == len(text):
            break
        text = inner
    if text.startswith(b"{") and text.endswith(b","):
        return text[:-1].rstrip(_AROUND)
    if text.startswith(b",") and text.endswith(b"}"):
        return text[1:].lstrip(_AROUND)
    return text


def form_of(beginning: bytes) -> Form:
    """Return the form in which a text holds events, from its beginning; anything but lines only if it is certain.

    It is certain for an array whose first element is followed by a comma or the end, for an object that continues over
    line ends, and for a second object on the line of the first.
    """
    start = after_gap(beginning)
    opening = beginning[start : start + 1]
    if not opening or beginning in BYTE_ORDER_MARKS:
        return Form.NOTHING
    if opening not in b"{[":
        return Form.OTHER
    line, _, _ = beginning[start:].partition(b"\n")
    if isinstance(_decoded(bare(line)), dict):
        return Form.LINES
    text = beginning[start:].decode("utf-8", errors="replace")
    return _form_of_objects(text) if opening == b"{" else _form_of_array(text)


def _form_of_objects(text: str) -> Form:
    end = _end_of_value(text, 0)
    if end is None:
        goes_on = "\n" in text.rstrip() and _goes_on(text, 0)
        return Form.OBJECTS if goes_on else Form.LINES
    following = _start_after_gap(text, end)
    is_glued = text[following : following + 1] == "{" and "\n" not in text[end:following]
    return Form.OBJECTS if is_glued or "\n" in text[:end] else Form.LINES


def _form_of_array(text: str) -> Form:
    first = _start_after_gap(text, 1)
    if text[first : first + 1] not in ("{", "[", "]", ""):
        return Form.OTHER
    whole_end = _end_of_value(text, 0)
    if whole_end is not None and "\n" not in text[:whole_end]:
        # A single line with an array is a line without an event, unless the whole file is like it.
        following = text[_start_after_gap(text, whole_end) :][:1]
        return Form.ARRAY if text[first] != "[" and following in ("", "[") else Form.OTHER
    end = _end_of_value(text, first)
    if end is None:
        return Form.ARRAY if text[first : first + 1] == "]" or _goes_on(text, first) else Form.OTHER
    return Form.ARRAY if text[_start_after_gap(text, end) :][:1] in (",", "]", "") else Form.OTHER


def _end_of_value(text: str, start: int) -> int | None:
    """Return where the JSON value that begins somewhere in a text ends, None if no complete one begins there."""
    try:
        return _JSON.raw_decode(text, start)[1]
    except (json.JSONDecodeError, RecursionError):
        return None


def _goes_on(text: str, start: int) -> bool:
    """Return whether a JSON value that begins somewhere in a text is valid up to the end of the text."""
    try:
        _JSON.raw_decode(text, start)
    except json.JSONDecodeError as error:
        rest = text[error.pos :].strip(_AROUND_TEXT)
        is_cut_escape = error.msg.startswith("Invalid \\") and len(rest) < LONGEST_ESCAPE
        return (
            error.msg.startswith("Unterminated string") or is_cut_escape or any(word.startswith(rest) for word in WORDS)
        )
    except RecursionError:
        pass
    return False


def _start_after_gap(text: str, position: int) -> int:
    while position < len(text) and text[position] in _AROUND_TEXT:
        position += 1
    return position


def _decoded(text: bytes) -> Any:
    """Return the JSON value that a text is, None if it is not one."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
