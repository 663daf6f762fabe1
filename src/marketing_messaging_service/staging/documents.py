"""Finds JSON documents that only their brackets separate: arrays, and objects that are not one per line."""

import re
from dataclasses import dataclass

from src.marketing_messaging_service.staging.encoding import BYTE_ORDER_MARK
from src.marketing_messaging_service.staging.text_form import after_gap

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_INSIDE = re.compile(rb'(?:[^"{}\[\]]++|%b)*+' % _STRING, re.DOTALL)
"""What is between the brackets of a document."""
_BETWEEN = re.compile(rb'(?:[^"{}\[\],]++|%b)*+' % _STRING, re.DOTALL)
"""What is outside them, up to the comma before the next one."""
_REST_OF_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)

_ELEMENT = re.compile(rb"\{.*\}|\[.*\]|%b|[-+.0-9eE]++|true|false|null" % _STRING, re.DOTALL)
"""What an element of an array looks like from outside, its brackets being known to be as many as they should be."""

_QUOTE, _COMMA, _OBJECT, _ARRAY, _ARRAY_END = b'",{[]'
_OPENING = b"{["

_TO_TABS = bytes.maketrans(b"\r\n", b"\t\t")
"""A tab is white space where a line end is, and as forbidden as one within a string: a document means the same with it,
and is one line."""


def on_one_line(text: bytes) -> bytes:
    """Return a document of several lines as one line with the same meaning."""
    return text.translate(_TO_TABS)


@dataclass(frozen=True, slots=True)
class Document:
    """One document, put on one line."""

    text: bytes
    """All of it, or its beginning when it is too long."""
    length: int


class DocumentScanner:
    """Finds where documents begin and end in text that comes in pieces.

    A text is a row of objects or of arrays. A document is an object, or an element of an array, whatever that is: what
    is in it is for others to judge. Between documents stand white space, commas and the brackets of the arrays. Where
    anything else stands there the text has gone astray, and nothing more is found in it: what looked like an object may
    be a part of another one whose beginning is missing.
    """

    def __init__(self, most_bytes: int, kept_bytes: int) -> None:
        """A document that has over `most_bytes` is given with its first `kept_bytes` alone."""
        self.is_in_array = False
        """Whether an array was opened and not closed again."""
        self.is_astray = False
        """Whether something stood where only a document may stand."""
        self._is_of_arrays = False
        """Whether the text began with an array."""
        self._has_begun = False
        self._most_bytes = most_bytes
        self._kept_bytes = kept_bytes
        self._text = b""
        """The present document so far, or what has come of the text before the next one."""
        self._position = 0
        """How far `_text` was looked through."""
        self._is_in_document = False
        self._is_in_string = False
        self._depth = 0
        self._kept = b""
        self._let_go = 0
        """How many bytes of the present document were let go because it is too long; `_kept` holds its beginning."""

    def feed(self, piece: bytes) -> list[Document]:
        """Take the next piece of text, and return the documents that it completes."""
        text, position, start = self._text + piece, self._position, 0
        found: list[Document] = []
        while not self.is_astray:
            if not self._is_in_document:
                start = position = self._next_document(text, position)
                if len(text) - position < len(BYTE_ORDER_MARK) and BYTE_ORDER_MARK.startswith(text[position:]):
                    break
                if not self.is_in_array and (self._is_of_arrays or text[position] != _OBJECT):
                    self.is_astray = True
                    break
                self._is_in_document = True
                self._is_in_string = False
                self._depth = 0
                self._kept, self._let_go = b"", 0
            position, is_whole = self._end_of_document(text, position)
            if not is_whole:
                # When a text has gone astray, the whole document is kept; it may begin before the fault.
                break
            document = self._document(text[start:position])
            is_whole = document.length <= self._most_bytes
            if is_whole and self.is_in_array and not _ELEMENT.fullmatch(document.text):
                self.is_astray = True
                break
            found.append(document)
            self._is_in_document = False
        if self.is_astray:
            self._text = text[start:][: self._kept_bytes]
            return found
        self._text, self._position = text[start:], position - start
        if self._let_go + self._position > self._most_bytes:
            self._let_go_of_present()
        return found

    def rest(self) -> Document | None:
        """Return what there is of a document whose end has not come when the text ends, or of what went astray."""
        return self._document(self._text) if self._text or self._let_go else None

    @property
    def is_broken_off(self) -> bool:
        """Whether a bracket would be missing if the text ended here."""
        return not self.is_astray and (self.is_in_array or self._is_in_document)

    def _next_document(self, text: bytes, position: int) -> int:
        """Return where the next document begins, or the end of the text, keeping track of arrays on the way."""
        while (position := after_gap(text, position)) < len(text):
            sign = text[position]
            if not self._has_begun:
                self._has_begun, self._is_of_arrays = True, sign == _ARRAY
            if sign == _ARRAY and self._is_of_arrays and not self.is_in_array:
                self.is_in_array = True
            elif sign == _ARRAY_END and self.is_in_array:
                self.is_in_array = False
            elif sign != _COMMA:
                break
            position += 1
        return position

    def _end_of_document(self, text: bytes, position: int) -> tuple[int, bool]:
        """Return how far the present document was looked through, and whether that is its end."""
        while True:
            if self._is_in_string:
                position = _matched(_REST_OF_STRING, text, position)
                # It stops before a final backslash.
                if text[position : position + 1] != b'"':
                    return position, False
                self._is_in_string = False
                position += 1
            position = _matched(_INSIDE if self._depth else _BETWEEN, text, position)
            if position == len(text):
                return position, False
            sign = text[position]
            if not self._depth and sign in (_COMMA, _ARRAY_END):
                return position, True
            position += 1
            if sign == _QUOTE:
                self._is_in_string = True
            elif sign in _OPENING:
                self._depth += 1
            elif self._depth:
                self._depth -= 1
                if not self._depth and not self.is_in_array:
                    return position, True
            else:
                # A closing bracket without an opening one.
                self.is_astray = True
                return position, False

    def _document(self, text: bytes) -> Document:
        length = self._let_go + len(text)
        if length > self._most_bytes:
            text = (self._kept or text)[: self._kept_bytes]
        return Document(on_one_line(text.rstrip()), length)

    def _let_go_of_present(self) -> None:
        self._kept = self._kept or self._text[: self._kept_bytes]
        self._let_go += self._position
        self._text, self._position = self._text[self._position :], 0


def _matched(pattern: re.Pattern[bytes], text: bytes, position: int) -> int:
    """Return the end of what a pattern that also matches nothing matches from a position on."""
    match = pattern.match(text, position)
    assert match is not None  # noqa: S101  it also matches nothing
    return match.end()
