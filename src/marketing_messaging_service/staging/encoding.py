"""The encodings in which a file of text arrives: UTF-8 with or without its mark, and UTF-16 or UTF-32 in its place."""

import itertools
import re

from src.marketing_messaging_service.vocabulary import ReasonCode

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_WIDE_MARKS = (
    # The longer ones first: the mark of UTF-32 begins with that of UTF-16.
    (b"\xff\xfe\0\0", ReasonCode.UTF_32, "UTF-32"),
    (b"\0\0\xfe\xff", ReasonCode.UTF_32, "UTF-32"),
    (b"\xff\xfe", ReasonCode.UTF_16, "UTF-16"),
    (b"\xfe\xff", ReasonCode.UTF_16, "UTF-16"),
)
BYTE_ORDER_MARKS = frozenset({BYTE_ORDER_MARK, *(mark for mark, _, _ in _WIDE_MARKS)})
"""The whole content of a file into which a program wrote only the mark of its encoding."""
_ASCII = rb"[\t\n\r -~]"
_WIDE_TEXT = (
    # Without a mark: several ASCII characters in a row, each with the zeros of its encoding.
    (re.compile(rb"(?:%b\0\0\0){4}" % _ASCII), ReasonCode.UTF_32, "UTF-32"),
    (re.compile(rb"(?:\0\0\0%b){4}" % _ASCII), ReasonCode.UTF_32, "UTF-32"),
    (re.compile(rb"(?:%b\0){4}" % _ASCII), ReasonCode.UTF_16, "UTF-16"),
    (re.compile(rb"(?:\0%b){4}" % _ASCII), ReasonCode.UTF_16, "UTF-16"),
)


def wide_encoding(beginning: bytes) -> tuple[ReasonCode, str] | None:
    """Return the reason code and the name of the encoding in which a text begins, or None for UTF-8 and all others."""
    marked = ((code, name) for mark, code, name in _WIDE_MARKS if beginning.startswith(mark))
    unmarked = ((code, name) for pattern, code, name in _WIDE_TEXT if pattern.match(beginning))
    return next(itertools.chain(marked, unmarked), None)
