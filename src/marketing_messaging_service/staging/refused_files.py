"""Refuses, by how it begins, a file that holds no readable events, with what it is and what to do."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from src.marketing_messaging_service.staging.encoding import BYTE_ORDER_MARKS, wide_encoding
from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.packing import recognised, unpacked
from src.marketing_messaging_service.staging.rejection import Rejection
from src.marketing_messaging_service.staging.text_form import BEGINNING_BYTES, Form, after_gap, form_of, has_objects
from src.marketing_messaging_service.vocabulary import ReasonCode


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

_MARKUP = re.compile(rb"<(?:\?xml|!doctype|html|error)\b", re.IGNORECASE)

_PADDING = re.compile(rb"\0{8,}")
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1b\x1e")
_LEAST_CONTROLS = 8
_ONE_CONTROL_IN = 32
"""Text has next to no control characters; in a packed or encrypted file every tenth byte is one."""


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


def refusal_of_table(beginning: bytes) -> Rejection | None:
    """Return why a text is refused if it is a table and shows no JSON; None for any other."""
    is_table = form_of(beginning) is Form.OTHER and _is_table(beginning) and not has_objects(beginning)
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
    foreign = _foreign(beginning)
    if foreign is not None:
        return foreign
    if (wide := wide_encoding(beginning)) is not None:
        return _Fault(*wide, "save it as UTF-8, and deliver it again")
    if _MARKUP.match(beginning, after_gap(beginning)):
        return _Fault(ReasonCode.NOT_JSON, "XML or HTML, such as the error page of a server", _AS_JSON)
    return _Fault(ReasonCode.NOT_TEXT, "not text", _AS_JSON) if _is_binary(beginning) else None


def _foreign(beginning: bytes) -> _Fault | None:
    for foreign in FOREIGN:
        if beginning.startswith(foreign.signs, foreign.position):
            return _Fault(foreign.reason_code, foreign.name, foreign.advice)
    return None


def _is_binary(beginning: bytes) -> bool:
    text = _PADDING.sub(b"", beginning)
    controls = len(text) - len(text.translate(None, _CONTROLS))
    if controls < _LEAST_CONTROLS or controls * _ONE_CONTROL_IN < len(text):
        return False
    return not has_objects(beginning)
