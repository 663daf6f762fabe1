import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.marketing_messaging_service.staging.encoding import BYTE_ORDER_MARK
from src.marketing_messaging_service.staging.refused_files import refusal_of
from src.marketing_messaging_service.staging.text_form import BEGINNING_BYTES, Form, bare, form_of
from src.marketing_messaging_service.staging.zstd_library import zstd
from src.marketing_messaging_service.vocabulary import ReasonCode
from tests.staging.helpers import line, stage
from tests.torture.scene import sample_files

OBJECT = '{"a": 1}'


def in_tar(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("events.jsonl")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def in_zip(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("events.jsonl", content)
    return stream.getvalue()


def as_parquet(content: bytes) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"line": [content]}), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("make", "reason_code", "told"),
    [
        (in_zip, ReasonCode.UNKNOWN_PACKING, "The file is a ZIP archive; unpack it, and deliver what is inside"),
        (in_tar, ReasonCode.UNKNOWN_PACKING, "The file is a tar archive; unpack it"),
        (bz2.compress, ReasonCode.UNKNOWN_PACKING, "The file is packed with bzip2; unpack it"),
        (lzma.compress, ReasonCode.UNKNOWN_PACKING, "The file is packed with xz; unpack it"),
        (gzip.compress, ReasonCode.PACKED_TOO_OFTEN, "The file is packed more than twice; unpack it"),
        (as_parquet, ReasonCode.NOT_TEXT, "The file is Parquet; name it .parquet, or give its source"),
    ],
)
def test_a_file_of_another_kind_is_named_with_what_to_do(
    make: Callable[[bytes], bytes], reason_code: ReasonCode, told: str
) -> None:
    rejection = refusal_of(make(line())[:BEGINNING_BYTES])

    assert rejection is not None
    assert rejection.reason_code is reason_code
    assert rejection.explanation.startswith(told)


@pytest.mark.parametrize("text", [line().decode(), "[\n" + line().decode() + "]", "  \r\n" + OBJECT, '{"a": "Zoë"}'])
@pytest.mark.parametrize(
    ("encoding", "mark", "name"),
    [
        (encoding, mark, name)
        for name in ("UTF-16", "UTF-32")
        for end in ("LE", "BE")
        for encoding in (f"{name}-{end}",)
        for mark in ("", "\ufeff")
    ],
)
def test_wide_encodings_are_named_with_and_without_their_mark(text: str, encoding: str, mark: str, name: str) -> None:
    rejection = refusal_of((mark + text).encode(encoding))

    assert rejection is not None
    assert rejection.reason_code is ReasonCode[name.replace("-", "_")]
    assert rejection.explanation == f"The file is {name}; save it as UTF-8, and deliver it again."


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\0\0\xfe\xff"])
def test_the_mark_of_a_wide_encoding_alone_is_an_empty_file(content: bytes) -> None:
    assert refusal_of(content) is None
    assert form_of(content) is Form.NOTHING


@pytest.mark.parametrize(
    "content",
    [b"<?xml version='1.0'?><Error/>", b"\n <!DOCTYPE html>", b"<html lang='en'>", b"<Error><Code>AccessDenied"],
)
def test_a_page_of_a_server_is_named(content: bytes) -> None:
    rejection = refusal_of(content)

    assert rejection is not None
    assert rejection.reason_code is ReasonCode.NOT_JSON


def test_noise_is_no_text_unless_an_event_stands_in_it() -> None:
    noise = bytes(range(256)) * 20
    rejection = refusal_of(noise)

    assert rejection is not None
    assert rejection.reason_code is ReasonCode.NOT_TEXT
    assert refusal_of(noise + b"\n" + line() + b"\n" + noise) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n" * 100,
        b"\0" * 10_000,
        b"\0" * 10_000 + line(),
        line() + b"\n" + b"\0" * 10_000,
        BYTE_ORDER_MARK + line(),
        b"\x1e" + line() + b"\n\x1e" + line(),
        "Привет, мир\n".encode("cp1251") * 100,
        "日本語のテキスト\n".encode("shift-jis") * 100,
        "日本語のテキスト\n".encode("iso2022-jp") * 100,
        b"2026-11-23 10:00 \x1b[31mERROR\x1b[0m disk full\n" * 100,
        b"a\0b\n\0\n",
        b"id,amount\n1,2\n",
    ],
)
def test_text_is_never_refused_as_a_whole_whatever_is_wrong_with_it(content: bytes) -> None:
    assert refusal_of(content) is None


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("", Form.NOTHING),
        (" \n\0\ufeff\x1e\n", Form.NOTHING),
        (OBJECT, Form.LINES),
        (f"{OBJECT}\n[", Form.LINES),
        (f"\n \n{OBJECT}\n{OBJECT}", Form.LINES),
        (f"{OBJECT},\n{OBJECT},\n", Form.LINES),
        (f"\ufeff{OBJECT}\r\n{OBJECT}", Form.LINES),
        (f"{OBJECT} oops\n{OBJECT}", Form.LINES),
        ('{"a": 1,\n' + OBJECT, Form.LINES),
        ('{"a":\n' + OBJECT + "\n" + OBJECT, Form.LINES),
        ('{"a": "torn\n' + OBJECT, Form.LINES),
        ('{"a": 1', Form.LINES),
        ('{"a": 1,\n', Form.LINES),
        ("{", Form.LINES),
        ('{"a": "' + "x" * BEGINNING_BYTES, Form.LINES),
        (OBJECT + OBJECT, Form.OBJECTS),
        (f"{OBJECT} {OBJECT}\n{OBJECT}", Form.OBJECTS),
        (f"{OBJECT}\r{OBJECT}\r", Form.OBJECTS),
        ('{\n"a": 1}', Form.OBJECTS),
        ('{"a": 1,\n "b": {}}\n' + OBJECT, Form.OBJECTS),
        ('{"a": 1,\n "b": [', Form.OBJECTS),
        ('{"a": [' + "1,\n" * BEGINNING_BYTES, Form.OBJECTS),
        (f"[{OBJECT}]", Form.ARRAY),
        (f"[\n{OBJECT}\n]\n", Form.ARRAY),
        (f" \ufeff[ {OBJECT}, {OBJECT}", Form.ARRAY),
        (f"[{OBJECT}]\n[{OBJECT}]\n", Form.ARRAY),
        ("[]", Form.ARRAY),
        ("[\n]\n", Form.ARRAY),
        ("[[\n" + OBJECT + "\n]]", Form.ARRAY),
        ("[\n1,\n" + OBJECT + "\n]", Form.OTHER),
        ('[{"a": "' + "x" * BEGINNING_BYTES, Form.ARRAY),
        ("[" + f"{OBJECT}, " * BEGINNING_BYTES, Form.ARRAY),
        ("[\n", Form.ARRAY),
        ("[1, 2]", Form.OTHER),
        (f"[1, 2]\n{OBJECT}", Form.OTHER),
        (f"[{OBJECT}]\n{OBJECT}", Form.OTHER),
        (f"[]\n{OBJECT}", Form.OTHER),
        ("[2026-11-23 10:00] ERROR\n" + OBJECT, Form.OTHER),
        ("[ERROR]\n" + OBJECT, Form.OTHER),
        ("[" * BEGINNING_BYTES, Form.OTHER),
        ('{"a":' * BEGINNING_BYTES, Form.LINES),
        ("id,amount\n1,2", Form.OTHER),
    ],
)
def test_the_form_of_a_text_is_seen_from_its_beginning(text: str, form: Form) -> None:
    assert form_of(text.encode()[:BEGINNING_BYTES]) is form


objects = st.dictionaries(
    st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=9), st.lists(st.none(), max_size=3))
)


@settings(max_examples=200, deadline=None)
@given(
    first=objects,
    rest=st.lists(objects, min_size=2, max_size=3),
    cut=st.integers(0, 60),
    around=st.sampled_from((b"", b"\0", b" ")),
)
def test_lines_of_which_the_first_is_torn_are_still_lines(
    first: dict[str, Any], rest: list[dict[str, Any]], cut: int, around: bytes
) -> None:
    """Torn anywhere, it costs that line and no other."""
    text = "\n".join([json.dumps(first)[:cut], *(json.dumps(each) for each in rest)])

    assert form_of(around + text.encode()) is Form.LINES


@settings(max_examples=200, deadline=None)
@given(
    inside=st.binary(max_size=20),
    around=st.lists(st.sampled_from((b"\0", b"\x1e", BYTE_ORDER_MARK, b" ", b"\r")), max_size=5),
)
def test_what_stands_around_a_line_is_taken_off_and_nothing_else(inside: bytes, around: list[bytes]) -> None:
    text = b"{" + inside + b"}"

    assert bare(b"".join(around) + text + b"".join(reversed(around))) == text
    assert bare(text + b"," + b"".join(around)) == text
    assert bare(text) == text


def test_the_samples_are_lines() -> None:
    for name, content in sample_files():
        text = gzip.decompress(content) if Path(name).suffix == ".gz" else content
        assert refusal_of(text) is None
        assert form_of(text) is Form.LINES


PARQUET = io.BytesIO()
pq.write_table(
    pa.table(
        {
            "user_id": ["ana"],
            "event_type": ["signup"],
            "event_timestamp": ["2026-11-03T10:00:00Z"],
            "properties.amount": [1.5],
        }
    ),
    PARQUET,
)
EVENTS = {
    "Parquet": PARQUET.getvalue(),
    "CSV": b"user_id;event_type;event_timestamp;properties.amount\nana;signup;2026-11-03T10:00:00Z;1.5\n",
    "JSON lines": b'{"user_id": "ana", "event_type": "signup", "event_timestamp": "2026-11-03T10:00:00Z",'
    b' "properties": {"amount": 1.5}}\n',
    "a JSON array": b'[{"user_id": "ana", "event_type": "signup", "event_timestamp": "2026-11-03T10:00:00Z",\n'
    b' "properties": {"amount": 1.5}}\n]',
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("ending", ["json", "csv", "parquet"])
@pytest.mark.parametrize("kind", EVENTS)
def test_a_file_is_read_for_what_it_is_whatever_it_is_called(
    tmp_path: Path, kind: str, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    found = stage(tmp_path, pack(EVENTS[kind]), f"events.{ending}")

    assert [(event["user_id"], event["amount"]) for event in found.events] == [("ana", 1.5)]
    assert found.rejected == []


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_table_in_other_words_that_is_named_as_something_else_is_refused_once(tmp_path: Path, ending: str) -> None:
    content = b"Customer,Event,When\nana,signup,2026-11-03\nbob,signup,2026-11-03\n"

    found = stage(tmp_path, content, f"events.{ending}")

    assert (found.read_count, found.reasons) == (1, [(1, "not_json")])
    assert "name it .csv" in found.rejected[0]["explanation"]


def test_torn_lines_with_commas_do_not_make_a_table_of_lines(tmp_path: Path) -> None:
    content = b'"x": 1, "y": 2}\n"x": 1, "y": 2}\n' + EVENTS["JSON lines"]

    assert stage(tmp_path, content, "events.jsonl").reasons == [(1, "invalid_json"), (2, "invalid_json")]
