"""Tells from its beginning what a file is: lines or documents with events, or something without readable events."""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.packing import recognised, unpacked
from src.marketing_messaging_service.staging.rejection import Rejection
from src.marketing_messaging_service.vocabulary import ReasonCode

BEGINNING_BYTES = 64 << 10
"""How much of a file's text is read to see what the file is."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

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


@dataclass(frozen=True, slots=True)
class Foreign:
    """A kind of file without a text of events, recognised by how it begins."""

    name: str
    reason_code: ReasonCode
    advice: str
    signs: tuple[bytes, ...]
    position: int = 0
    """Where in the file the sign is."""


_UNPACK = "unpack it, and deliver what is inside plain or as gzip or zstd"
_AS_PARQUET = "name it .parquet, or give its source in sources.yaml the format parquet"
_AS_CSV = "name it .csv, or give its source in sources.yaml the format csv, and say which column is what"
_AS_JSON = "deliver the events as JSON text in UTF-8, one object per line"

FOREIGN = (
    Foreign("a ZIP archive", ReasonCode.UNKNOWN_PACKING, _UNPACK, (b"PK\3\4", b"PK\5\6")),
    Foreign(
        "packed with bzip2", ReasonCode.UNKNOWN_PACKING, _UNPACK, tuple(b"BZh%d1AY&SY" % size for size in range(1, 10))
    ),
    Foreign("packed with xz", ReasonCode.UNKNOWN_PACKING, _UNPACK, (b"\xfd7zXZ\0",)),
    Foreign("a 7-Zip archive", ReasonCode.UNKNOWN_PACKING, _UNPACK, (b"7z\xbc\xaf\x27\x1c",)),
    Foreign("packed with LZ4", ReasonCode.UNKNOWN_PACKING, _UNPACK, (b"\x04\x22\x4d\x18",)),
    Foreign("packed with Snappy", ReasonCode.UNKNOWN_PACKING, _UNPACK, (b"\xff\6\0\0sNaPpY",)),
    Foreign("packed with compress", ReasonCode.UNKNOWN_PACKING, _UNPACK, (b"\x1f\x9d", b"\x1f\xa0")),
    Foreign("a RAR archive", ReasonCode.UNKNOWN_PACKING, _UNPACK, (b"Rar!\x1a\7",)),
    Foreign("a tar archive", ReasonCode.UNKNOWN_PACKING, _UNPACK, (b"ustar\0", b"ustar "), 257),
    Foreign("Parquet", ReasonCode.NOT_TEXT, _AS_PARQUET, (b"PAR1",)),
    Foreign("encrypted Parquet", ReasonCode.NOT_TEXT, "deliver it without encryption", (b"PARE",)),
    Foreign("Avro", ReasonCode.NOT_TEXT, _AS_JSON, (b"Obj\1",)),
    Foreign("ORC", ReasonCode.NOT_TEXT, _AS_JSON, (b"ORC",)),
    Foreign("Arrow", ReasonCode.NOT_TEXT, _AS_JSON, (b"ARROW1\0\0",)),
    Foreign("a SQLite database", ReasonCode.NOT_TEXT, _AS_JSON, (b"SQLite format 3\0",)),
    Foreign("an old Office document", ReasonCode.NOT_TEXT, _AS_JSON, (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",)),
    Foreign("a PDF", ReasonCode.NOT_TEXT, _AS_JSON, (b"%PDF-",)),
    Foreign("a PNG picture", ReasonCode.NOT_TEXT, _AS_JSON, (b"\x89PNG\r\n",)),
    Foreign("a JPEG picture", ReasonCode.NOT_TEXT, _AS_JSON, (b"\xff\xd8\xff",)),
    Foreign("a program", ReasonCode.NOT_TEXT, _AS_JSON, (b"\x7fELF", b"MZ\x90\0")),
)
"""Kinds of files that arrive where raw events should, by the bytes that they begin with."""

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

_MARKUP = re.compile(rb"<(?:\?xml|!doctype|html|error)\b", re.IGNORECASE)

_PADDING = re.compile(rb"\0{8,}")
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1b\x1e")
_LEAST_CONTROLS = 8
_ONE_CONTROL_IN = 32
"""Text has next to no control characters; in a packed or encrypted file every tenth byte is one."""

_JSON = json.JSONDecoder()


def after_gap(text: bytes, position: int = 0) -> int:
    """Return where the next JSON text begins, or the length if there is none."""
    gap = _GAP.match(text, position)
    assert gap is not None  # noqa: S101  it also matches nothing
    return gap.end()


def refusal_of(beginning: bytes) -> Rejection | None:
    """Return why the beginning of its text gets a whole file refused, or None if it is not."""
    fault = _fault(beginning)
    return Rejection(fault.reason_code, None, f"The file is {fault.name}; {fault.advice}.") if fault else None


def seeming(packed: Iterator[bytes]) -> tuple[str, Form | None]:
    """Return what a file seems to be, in a word or two, and the form in which it holds events, if any."""
    text, layers = unpacked(Lookahead(packed))
    beginning = text.beginning(BEGINNING_BYTES)
    form = form_of(beginning)
    fault = None if form.holds_events else _fault(beginning)
    is_table = form is Form.OTHER and fault is None and _is_table(beginning)
    name = fault.name if fault else "CSV" if is_table else form.value
    wrapped = f" packed with {' and '.join(layer.name for layer in layers)}" if layers else ""
    return f"{name}{wrapped}", form if form.holds_events else None


def begins_with_json(beginning: bytes) -> bool:
    """Whether a text begins with an object on its own line, or certainly holds objects in another form."""
    start = after_gap(beginning)
    line, _, _ = beginning[start:].partition(b"\n")
    return form_of(beginning).is_documents or isinstance(_decoded(bare(line)), dict)


def refusal_of_table(beginning: bytes) -> Rejection | None:
    """Return why a text is refused if it is a table and shows no JSON; None for any other."""
    is_table = form_of(beginning) is Form.OTHER and _is_table(beginning) and not _has_objects(beginning)
    return Rejection(ReasonCode.NOT_JSON, None, f"The file is a table; {_AS_CSV}.") if is_table else None


def _is_table(beginning: bytes) -> bool:
    """Whether the first two lines have the same number of columns, and more than one."""
    head, _, rest = beginning.partition(b"\n")
    line, line_end, _ = rest.partition(b"\n")
    return bool(line_end) and any(0 < head.count(sign) == line.count(sign) for sign in (b",", b";", b"\t", b"|"))


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a file is refused: what it is, and what to do."""

    reason_code: ReasonCode
    name: str
    advice: str


def _fault(beginning: bytes) -> _Fault | None:
    if beginning in BYTE_ORDER_MARKS:
        return None
    if recognised(beginning):
        return _Fault(ReasonCode.PACKED_TOO_OFTEN, "packed more than twice", _UNPACK)
    known = _foreign(beginning) or _wide_text(beginning)
    if known is not None:
        return known
    if _MARKUP.match(beginning, after_gap(beginning)):
        return _Fault(ReasonCode.NOT_JSON, "XML or HTML, such as the error page of a server", _AS_JSON)
    return _Fault(ReasonCode.NOT_TEXT, "not text", _AS_JSON) if _is_binary(beginning) else None


def _foreign(beginning: bytes) -> _Fault | None:
    for foreign in FOREIGN:
        if beginning.startswith(foreign.signs, foreign.position):
            return _Fault(foreign.reason_code, foreign.name, foreign.advice)
    return None


def _wide_text(beginning: bytes) -> _Fault | None:
    marked = ((code, name) for mark, code, name in _WIDE_MARKS if beginning.startswith(mark))
    unmarked = ((code, name) for pattern, code, name in _WIDE_TEXT if pattern.match(beginning))
    found = next(itertools.chain(marked, unmarked), None)
    if found is None:
        return None
    reason_code, name = found
    return _Fault(reason_code, name, "save it as UTF-8, and deliver it again")


def _is_binary(beginning: bytes) -> bool:
    text = _PADDING.sub(b"", beginning)
    controls = len(text) - len(text.translate(None, _CONTROLS))
    if controls < _LEAST_CONTROLS or controls * _ONE_CONTROL_IN < len(text):
        return False
    return not _has_objects(beginning)


def _has_objects(beginning: bytes) -> bool:
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
