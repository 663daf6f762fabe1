import bz2
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from src.marketing_messaging_service.errors import LandingError
from src.marketing_messaging_service.models import OTHER_KEYS
from src.marketing_messaging_service.staging import lines, packing, spool, stage_file
from src.marketing_messaging_service.staging.columnar import Stager
from src.marketing_messaging_service.staging.encoding import BYTE_ORDER_MARK
from src.marketing_messaging_service.staging.landing_folder import FolderFile
from src.marketing_messaging_service.staging.lines import (
    KEPT_BYTES_OF_LONG_LINE,
    KEPT_BYTES_OF_REFUSED_FILE,
    MAX_LINE_BYTES,
)
from src.marketing_messaging_service.staging.results import EVENT_SCHEMA
from src.marketing_messaging_service.staging.stage import LONGEST_KEY_PATH, MOST_UNKNOWN_KEYS
from src.marketing_messaging_service.staging.zstd_library import zstd
from src.marketing_messaging_service.vocabulary import ReasonCode
from tests.staging.helpers import Staged, landed, line, line_with, path_of, raw_line, rows, stage
from tests.vocabulary.payloads import EVERY_KIND

EVENT = line() + b"\n"


class Example(NamedTuple):
    """A file with one rejected line, followed and preceded by good ones if the file continues after it."""

    raw: bytes
    field_name: str | None = None


EXAMPLES = {
    ReasonCode.INVALID_UTF8: Example(line(user_id='"?"').replace(b"?", b"caf\xe9")),
    ReasonCode.NUL_BYTES: Example(line(user_id='"u\0"')),
    ReasonCode.SEVERAL_OBJECTS: Example(line() + line()),
    ReasonCode.INVALID_JSON: Example(b"user u-1 signed up"),
    ReasonCode.NESTED_TOO_DEEP: Example(line(f', "x": {"[" * 101}{"]" * 101}')),
    ReasonCode.NOT_AN_OBJECT: Example(b"[" + line() + b"]"),
    ReasonCode.DUPLICATE_KEY: Example(line(', "user_id": "u-2"'), "user_id"),
    ReasonCode.MISSING_FIELD: Example(line(event_type=None), "event_type"),
    ReasonCode.WRONG_TYPE: Example(line(user_id="7"), "user_id"),
    ReasonCode.EMPTY_TEXT: Example(line(user_id='""'), "user_id"),
    ReasonCode.TEXT_TOO_LONG: Example(line_with("user_traits.country", '"Deutschland"'), "user_traits.country"),
    ReasonCode.INVALID_UNICODE: Example(line(user_id=r'"\ud800"'), "user_id"),
    ReasonCode.NUL_CHARACTER: Example(line(user_id=r'"id\u0000x"'), "user_id"),
    ReasonCode.INVALID_TIMESTAMP: Example(line(event_timestamp='"2026-06-30T23:59:60Z"'), "event_timestamp"),
    ReasonCode.NAIVE_TIMESTAMP: Example(line(event_timestamp='"2026-11-03T10:00:00"'), "event_timestamp"),
    ReasonCode.TIMESTAMP_OUT_OF_RANGE: Example(line(event_timestamp='"0001-01-01T00:00:00+01:00"'), "event_timestamp"),
    ReasonCode.INVALID_NUMBER: Example(line_with("properties.amount", '"ten"'), "properties.amount"),
    ReasonCode.NUMBER_OUT_OF_RANGE: Example(line_with("properties.amount", "1e400"), "properties.amount"),
    ReasonCode.NOT_A_WHOLE_NUMBER: Example(line_with("properties.attempt_number", "2.5"), "properties.attempt_number"),
    ReasonCode.NEGATIVE_NUMBER: Example(line_with("properties.attempt_number", "-1"), "properties.attempt_number"),
}
EXAMPLES_OF_FILES = {
    ReasonCode.LINE_TOO_LONG: EVENT + b"x" * (MAX_LINE_BYTES + 1) + b"\n" + EVENT,
    ReasonCode.CORRUPT_GZIP: gzip.compress(EVENT)[:-1],
    ReasonCode.CORRUPT_ZSTD: zstd.compress(EVENT)[:-1],
    ReasonCode.BROKEN_OFF: b"[" + line() + b",\n" + line(),
    ReasonCode.ASTRAY: line() + line() + b'age_id": "m-2", "x": [\n' + EVENT + b"]\n",
    ReasonCode.PACKED_TOO_OFTEN: gzip.compress(zstd.compress(gzip.compress(EVENT))),
    ReasonCode.UNKNOWN_PACKING: bz2.compress(EVENT),
    ReasonCode.UTF_16: EVENT.decode().encode("utf-16"),
    ReasonCode.UTF_32: EVENT.decode().encode("utf-32"),
    ReasonCode.NOT_TEXT: hashlib.shake_128(b"noise").digest(100_000),
    ReasonCode.NOT_JSON: b"<?xml version='1.0'?>\n<Error>AccessDenied</Error>\n",
}


EXAMPLES_OF_KINDS = {
    ReasonCode.INVALID_DATE: ("properties.born_date", '"2026-02-29"'),
    ReasonCode.TOO_MANY_DECIMALS: ("properties.price", "19.999"),
    ReasonCode.NUMBER_TOO_SMALL: ("properties.wide", "0"),
}
"""Paths and values of fields that no event of ours has, but one of EVERY_KIND."""


FOUND_ELSEWHERE = {
    ReasonCode.ANONYMOUS_USER,
    ReasonCode.CORRUPT_PARQUET,
    ReasonCode.INVALID_HEADER,
    ReasonCode.INVALID_ROW,
}
"""Reasons that never apply to a line in our own words; test_mapped and the tests of the formats cover them."""

FOUND_BY_LOADING = {ReasonCode.MESSAGE_ID_COLLISION}
"""What only a comparison with the events in the tables can tell."""


def test_every_reason_code_has_an_example_here() -> None:
    assert {*EXAMPLES, *EXAMPLES_OF_FILES, *EXAMPLES_OF_KINDS, *FOUND_ELSEWHERE, *FOUND_BY_LOADING} == set(ReasonCode)


@pytest.mark.parametrize("reason_code", EXAMPLES_OF_KINDS)
def test_a_value_that_only_other_kinds_refuse_is_a_rejected_row_too(reason_code: ReasonCode) -> None:
    path, value = EXAMPLES_OF_KINDS[reason_code]

    chunk = Stager(EVERY_KIND).stage(lines.Chunk(1, [line(), line_with(path, value)]))

    [row] = chunk.rejected.to_pylist()
    assert (row["line_number"], row["reason_code"], row["field_name"]) == (2, reason_code, path)


@pytest.mark.parametrize("reason_code", EXAMPLES)
def test_a_line_that_cannot_become_an_event_is_a_rejected_row_with_its_reason(
    tmp_path: Path, reason_code: ReasonCode
) -> None:
    raw, field_name = EXAMPLES[reason_code]

    staged = stage(tmp_path, EVENT + raw + b"\n\n" + EVENT)

    [row] = staged.rejected
    assert (row["line_number"], row["reason_code"], row["field_name"]) == (2, reason_code, field_name)
    assert raw_line(row) == raw
    assert row["explanation"]
    assert [event["line_number"] for event in staged.events] == [1, 4]
    assert (staged.read_count, staged.blank_count) == (4, 1)


def test_all_reasons_in_one_file_are_one_rejected_row_each(tmp_path: Path) -> None:
    staged = stage(tmp_path, b"".join(example.raw + b"\n" + EVENT for example in EXAMPLES.values()))

    assert staged.reasons == [(2 * position + 1, code) for position, code in enumerate(EXAMPLES)]
    assert [raw_line(row) for row in staged.rejected] == [example.raw for example in EXAMPLES.values()]
    assert len(staged.events) == len(EXAMPLES)


def test_a_line_over_the_limit_is_rejected_with_its_beginning_and_the_file_continues(tmp_path: Path) -> None:
    staged = stage(tmp_path, EXAMPLES_OF_FILES[ReasonCode.LINE_TOO_LONG])

    assert staged.reasons == [(2, "line_too_long")]
    assert raw_line(staged.rejected[0]) == b"x" * KEPT_BYTES_OF_LONG_LINE
    assert [event["line_number"] for event in staged.events] == [1, 3]


def test_a_line_of_ten_megabytes_is_taken(tmp_path: Path) -> None:
    text = json.dumps("x" * (10 << 20))

    staged = stage(tmp_path, EVENT + line(f', "x": {text}', user_id='"u-2"') + b"\n" + EVENT)

    assert staged.user_ids == ["u-1", "u-2", "u-1"]
    assert staged.unknown_keys == {"x": 1}


def test_a_line_of_ten_megabytes_that_is_rejected_is_kept_whole(tmp_path: Path) -> None:
    raw = line(user_id=json.dumps("x" * (10 << 20)))

    staged = stage(tmp_path, EVENT + raw)

    assert staged.reasons == [(2, "text_too_long")]
    assert raw_line(staged.rejected[0]) == raw


class TestAnOddFile:
    def test_an_empty_one_is_staged_as_nothing(self, tmp_path: Path) -> None:
        assert stage(tmp_path, b"") == Staged([], [], read_count=0, blank_count=0, unknown_keys={})

    def test_a_byte_order_mark_is_no_line(self, tmp_path: Path) -> None:
        assert stage(tmp_path, BYTE_ORDER_MARK).read_count == 0

    def test_a_byte_order_mark_before_the_first_line_does_not_matter(self, tmp_path: Path) -> None:
        staged = stage(tmp_path, BYTE_ORDER_MARK + EVENT)

        assert (staged.user_ids, staged.read_count) == (["u-1"], 1)

    @pytest.mark.parametrize("mark", [BYTE_ORDER_MARK, b"\x1e", b"\0" * 4_000])
    def test_a_byte_order_mark_a_record_separator_or_zeros_before_a_line_further_down_do_not_matter(
        self, tmp_path: Path, mark: bytes
    ) -> None:
        staged = stage(tmp_path, EVENT + mark + EVENT + mark + b"broken")

        assert [event["line_number"] for event in staged.events] == [1, 2]
        assert staged.reasons == [(3, "invalid_json")]
        assert raw_line(staged.rejected[0]) == mark + b"broken"

    def test_crlf_line_ends_are_line_ends(self, tmp_path: Path) -> None:
        staged = stage(tmp_path, b"\r\n".join([line(), b"broken", b"", line(), b""]))

        assert [event["line_number"] for event in staged.events] == [1, 4]
        assert raw_line(staged.rejected[0]) == b"broken"
        assert staged.blank_count == 1

    def test_zero_bytes_alone_are_a_blank_line_and_within_a_line_they_reject_it_and_are_kept(
        self, tmp_path: Path
    ) -> None:
        staged = stage(tmp_path, EVENT + b"\0" * 3 + b"\n" + line(user_id='"u\0"') + b"\n" + EVENT + b"\0\0")

        assert staged.reasons == [(3, "nul_bytes")]
        assert "u\\x00" in staged.rejected[0]["raw_line"]
        assert raw_line(staged.rejected[0]) == line(user_id='"u\0"')
        assert (len(staged.events), staged.blank_count, staged.read_count) == (2, 2, 5)

    @pytest.mark.parametrize("size", [1_000, MAX_LINE_BYTES - 50, MAX_LINE_BYTES * 2])
    def test_zero_bytes_before_and_after_a_line_are_no_part_of_it_however_many_they_are(
        self, tmp_path: Path, size: int
    ) -> None:
        staged = stage(tmp_path, EVENT + b"\0" * size + EVENT + line() + b"\0" * size + b"\n" + b"\0" * size)

        assert [event["line_number"] for event in staged.events] == [1, 2, 3]
        assert (staged.rejected, staged.blank_count) == ([], 1)

    def test_a_last_line_without_a_newline_is_a_line(self, tmp_path: Path) -> None:
        assert len(stage(tmp_path, EVENT + line()).events) == 2

    def test_a_last_line_that_breaks_off_is_rejected(self, tmp_path: Path) -> None:
        staged = stage(tmp_path, EVENT + line()[:50])

        assert staged.reasons == [(2, "invalid_json")]
        assert raw_line(staged.rejected[0]) == line()[:50]
        assert len(staged.events) == 1

    def test_blank_lines_are_counted(self, tmp_path: Path) -> None:
        staged = stage(tmp_path, b"\n \n\t\r\n" + EVENT + b"\n\n")

        assert (staged.read_count, staged.blank_count) == (6, 5)
        assert [event["line_number"] for event in staged.events] == [4]

    def test_its_name_need_not_be_utf8(self, tmp_path: Path) -> None:
        assert len(stage(tmp_path, EVENT, b"caf\xe9.jsonl").events) == 1


def others(*users: str) -> list[bytes]:
    """An event of each user."""
    return [line(user_id=f'"{user}"', message_id=f'"{user}"') for user in users]


class TestFilesOfOtherForms:
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"[" + b", ".join(others("a", "b", "c")) + b"]", id="an array on one line"),
            pytest.param(b"[\r\n" + b",\r\n".join(others("a", "b", "c")) + b"\r\n]\r\n", id="an array of lines"),
            pytest.param(
                json.dumps([json.loads(event) for event in others("a", "b", "c")], indent=2).encode(),
                id="printed prettily",
            ),
            pytest.param(
                "\n".join(json.dumps(json.loads(event), indent=2) for event in others("a", "b", "c")).encode(),
                id="objects printed prettily",
            ),
            pytest.param(b"".join(others("a", "b", "c")), id="glued together"),
            pytest.param(b"\r".join(others("a", "b", "c")), id="with CR alone"),
            pytest.param(b",\n".join(others("a", "b", "c")), id="with commas"),
            pytest.param(b"\x1e" + b"\n\x1e".join(others("a", "b", "c")) + b"\n", id="a JSON text sequence"),
        ],
    )
    @pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
    def test_events_are_read_and_counted_in_order(
        self, tmp_path: Path, content: bytes, pack: Callable[[bytes], bytes]
    ) -> None:
        staged = stage(tmp_path, pack(content), "events.json")

        assert [(row["line_number"], row["user_id"]) for row in staged.events] == [(1, "a"), (2, "b"), (3, "c")]
        assert (staged.read_count, staged.rejected) == (3, [])

    def test_an_element_that_is_not_an_event_is_one_rejected_row_on_one_line(self, tmp_path: Path) -> None:
        content = json.dumps([json.loads(line()), {"user_id": "x"}, 7, [], "text", json.loads(line())], indent=1)

        staged = stage(tmp_path, content.encode())

        missing, none = "missing_field", "not_an_object"
        assert staged.reasons == [(2, missing), (3, none), (4, none), (5, none)]
        assert staged.rejected[0]["raw_line"] == '{\t  "user_id": "x"\t }'
        assert [event["line_number"] for event in staged.events] == [1, 6]

    def test_text_with_line_ends_of_other_scripts_is_kept(self, tmp_path: Path) -> None:
        text = "a\u2028b\u0085c"
        event = json.dumps(json.loads(line(user_id=f'"{text}"')), ensure_ascii=False)

        assert stage(tmp_path, event.encode()).user_ids == [text]
        assert stage(tmp_path, f"[{event}]".encode()).user_ids == [text]

    def test_an_export_of_nothing_is_an_empty_file(self, tmp_path: Path) -> None:
        assert stage(tmp_path, b"[\n]\n", "events.json") == Staged([], [], read_count=0, blank_count=0, unknown_keys={})

    def test_an_array_that_breaks_off_gives_what_was_whole_and_says_so(self, tmp_path: Path) -> None:
        whole = b"[" + b",\n".join(others("a", "b", "c"))
        last = others("c")[0]
        for content, users, left in (
            (whole + b",\n", ["a", "b", "c"], b""),
            (whole, ["a", "b"], last),
            (whole[:-2], ["a", "b"], last[:-2]),
        ):
            staged = stage(tmp_path, content)

            assert staged.user_ids == users
            assert staged.reasons == [(len(users) + 1, "broken_off")]
            assert raw_line(staged.rejected[0]) == left

    def test_of_a_file_that_goes_astray_nothing_is_taken_however_late_it_does(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lines, "READ_BYTES", 500)
        monkeypatch.setattr(spool, "MEMORY_BYTES", 1_000)
        good = [line(', "x": 1', user_id='"inside"'), b"[]"] * 50
        content = b"[" + b",".join(good) + b', "y": 1' + b", {" + b"]" + b"oops"

        staged = stage(tmp_path, content, chunk_bytes=500)

        assert staged.events == []
        assert staged.reasons == [(1, "astray")]
        assert staged.rejected[0]["explanation"].startswith("What follows object 100 of the file is not the next one")
        assert (staged.read_count, staged.unknown_keys) == (1, {})

    def test_a_fault_of_the_file_is_one_rejected_row_with_the_beginning_of_the_file(self, tmp_path: Path) -> None:
        noise = hashlib.shake_128(b"noise").digest(3 << 20)

        staged = stage(tmp_path, noise)

        assert staged.reasons == [(1, "not_text")]
        assert raw_line(staged.rejected[0]) == noise[:KEPT_BYTES_OF_REFUSED_FILE]

    @pytest.mark.parametrize("reason_code", EXAMPLES_OF_FILES)
    def test_every_fault_of_a_file_has_its_code_and_is_reported_once(
        self, tmp_path: Path, reason_code: ReasonCode
    ) -> None:
        staged = stage(tmp_path, EXAMPLES_OF_FILES[reason_code])

        [row] = staged.rejected
        assert row["reason_code"] == reason_code
        assert row["explanation"]


class TestAGzipFile:
    @pytest.mark.parametrize("name", ["events.jsonl.gz", "EVENTS.JSONL.GZ", "events.jsonl"])
    def test_it_is_read_like_a_plain_one_whatever_its_name(self, tmp_path: Path, name: str) -> None:
        assert stage(tmp_path, gzip.compress(EVENT * 3), name).user_ids == ["u-1"] * 3

    def test_a_plain_file_named_like_a_packed_one_is_read_for_what_it_is(self, tmp_path: Path) -> None:
        assert stage(tmp_path, EVENT * 3, "events.jsonl.GZ").user_ids == ["u-1"] * 3

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(gzip.compress(EVENT) + gzip.compress(EVENT), id="two members"),
            pytest.param(gzip.compress(EVENT + line()[:9]) + gzip.compress(line()[9:]), id="a line across two members"),
            pytest.param(gzip.compress(EVENT * 2) + b"\0" * 512, id="zeros after it"),
        ],
    )
    def test_members_and_padding_do_not_matter(self, tmp_path: Path, content: bytes) -> None:
        staged = stage(tmp_path, content)

        assert (len(staged.events), staged.read_count) == (2, 2)

    @pytest.mark.parametrize(
        ("content", "rest"),
        [
            pytest.param(gzip.compress(EVENT * 2)[:-9], None, id="it breaks off"),
            pytest.param(gzip.compress(EVENT * 2)[:-8], b"", id="it breaks off before its checksum"),
            pytest.param(
                gzip.compress(EVENT * 2)[:-5] + b"!" + gzip.compress(EVENT * 2)[-4:], b"", id="wrong checksum"
            ),
            pytest.param(gzip.compress(EVENT * 2) + b"garbage", b"", id="garbage after it"),
            pytest.param(gzip.compress(EVENT * 2 + b"half") + b"garbage", b"half", id="garbage after half a line"),
        ],
    )
    def test_a_damaged_one_gives_its_lines_before_the_damage_and_one_rejected_row(
        self, tmp_path: Path, content: bytes, rest: bytes | None
    ) -> None:
        staged = stage(tmp_path, content)

        [row] = staged.rejected
        assert row["reason_code"] == "corrupt_gzip"
        assert row["line_number"] == len(staged.events) + 1
        if rest is not None:
            assert len(staged.events) == 2
            assert raw_line(row) == rest

    def test_damage_in_the_middle_is_reported_once_and_nothing_is_miscounted(self, tmp_path: Path) -> None:
        text = b"".join(line(message_id=f'"{number**9}"') + b"\n" for number in range(500))
        content = bytearray(gzip.compress(text))
        middle = len(content) // 2
        content[middle : middle + 20] = bytes(20)

        staged = stage(tmp_path, bytes(content))

        assert Counter(code for _, code in staged.reasons)["corrupt_gzip"] == 1
        assert staged.reasons[-1] == (staged.read_count, "corrupt_gzip")
        assert len(staged.events) > 200


class TestUnknownKeys:
    def test_they_are_counted_by_path_and_listed_in_order(self, tmp_path: Path) -> None:
        content = b"\n".join([line(', "z": 1, "a": []'), line(properties='{"coupon": NaN}'), line(', "z": "NaN"')])

        assert list(stage(tmp_path, content).unknown_keys.items()) == [("a", 1), ("properties.coupon", 1), ("z", 2)]

    def test_names_beyond_the_most_are_counted_together_and_no_count_is_lost(self, tmp_path: Path) -> None:
        content = b"\n".join(line(f', "k{number}": 1, "often": 1') for number in range(MOST_UNKNOWN_KEYS + 500))

        unknown_keys = stage(tmp_path, content).unknown_keys

        assert len(unknown_keys) == MOST_UNKNOWN_KEYS + 1
        assert unknown_keys[OTHER_KEYS] == 501
        assert unknown_keys["often"] == MOST_UNKNOWN_KEYS + 500
        assert sum(unknown_keys.values()) == 2 * (MOST_UNKNOWN_KEYS + 500)

    def test_a_key_that_is_called_like_the_rest_does_no_harm(self, tmp_path: Path) -> None:
        content = b"\n".join(line(f', "k{number}": 1, "{OTHER_KEYS}": 1') for number in range(MOST_UNKNOWN_KEYS + 5))

        unknown_keys = stage(tmp_path, content).unknown_keys

        assert len(unknown_keys) == MOST_UNKNOWN_KEYS
        assert sum(unknown_keys.values()) == 2 * (MOST_UNKNOWN_KEYS + 5)

    @pytest.mark.parametrize(
        ("key", "told"),
        [
            ("", ""),
            ("a.b", "a.b"),
            ("zoë 🙂", "zoë 🙂"),
            (r"\ud800", "\\ud800"),
            (r"\n", "\n"),
            ("x" * 10_000, "x" * LONGEST_KEY_PATH),
        ],
    )
    def test_a_weird_name_is_reported_as_text_of_bounded_length(self, tmp_path: Path, key: str, told: str) -> None:
        assert stage(tmp_path, line(f', "{key}": 1')).unknown_keys == {told: 1}

    def test_long_names_that_begin_alike_are_one(self, tmp_path: Path) -> None:
        content = b"\n".join(line(f', "{"x" * LONGEST_KEY_PATH}{number}": 1') for number in range(3))

        assert stage(tmp_path, content).unknown_keys == {"x" * LONGEST_KEY_PATH: 3}


class TestChunks:
    LIMITS = ((1, 2), (1, 50), (100, 7), (300, 200), (10_000, 200))
    """Sizes of a chunk and of a read."""

    @pytest.fixture
    def content(self, monkeypatch: pytest.MonkeyPatch) -> bytes:
        """A file in which everything happens that can; lines of over 1,500 bytes are too long in it."""
        monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1_500)
        monkeypatch.setattr(lines, "KEPT_BYTES_OF_LONG_LINE", 20)
        numbered = (line(f', "k{number % 7}": {number}', message_id=f'"m-{number}"') for number in range(40))
        odd = [example.raw for example in EXAMPLES.values()] + [b"", b" \r", b"y" * 1_501, b"y" * 2_000]
        mixed = [raw for number, plain in enumerate(numbered) for raw in (plain, odd[number % len(odd)])]
        return BYTE_ORDER_MARK + b"\n".join(mixed) + b"\r\n" + line()

    @pytest.mark.parametrize("damage", ["none", "gzip", "broken off", "wrong checksum", "zeros in the middle"])
    def test_the_result_does_not_depend_on_how_a_file_is_cut_into_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, damage: str
    ) -> None:
        packed = gzip.compress(content, mtime=0)
        middle = len(packed) // 2
        content = {
            "none": content,
            "gzip": packed,
            "broken off": packed[:middle],
            "wrong checksum": packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:],
            "zeros in the middle": packed[:middle] + bytes(20) + packed[middle + 20 :],
        }[damage]
        monkeypatch.setattr(lines, "READ_BYTES", 1_000)
        monkeypatch.setattr(packing, "PIECE_BYTES", 1_000)
        expected = stage(tmp_path, content)
        assert expected.events
        assert (expected.reasons[-1][1] == "corrupt_gzip") == (damage not in {"none", "gzip"})

        for chunk_bytes, read_bytes in self.LIMITS:
            monkeypatch.setattr(lines, "READ_BYTES", read_bytes)
            monkeypatch.setattr(packing, "PIECE_BYTES", read_bytes)
            assert stage(tmp_path, content, chunk_bytes=chunk_bytes) == expected

    def test_the_result_does_not_depend_on_how_many_lines_one_holds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
    ) -> None:
        monkeypatch.setattr(lines, "READ_BYTES", 1_000)
        monkeypatch.setattr(packing, "PIECE_BYTES", 1_000)
        expected = stage(tmp_path, content)

        for chunk_lines in (1, 2, 3, 50):
            monkeypatch.setattr(lines, "CHUNK_LINES", chunk_lines)
            assert stage(tmp_path, content) == expected

    def test_which_unknown_keys_have_a_count_of_their_own_does_not_depend_on_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("src.marketing_messaging_service.staging.stage.MOST_UNKNOWN_KEYS", 5)
        content = b"\n".join(line(f', "k{number % 9}": 1, "\\ud8{number % 3}0": 1') for number in range(50))
        expected = stage(tmp_path, content)

        monkeypatch.setattr(lines, "READ_BYTES", 200)
        for chunk_bytes in (1, 300, 1_000):
            assert stage(tmp_path, content, chunk_bytes=chunk_bytes) == expected


class TestReading:
    def test_a_file_that_changed_since_it_was_discovered_is_not_taken(self, tmp_path: Path) -> None:
        file = landed(tmp_path, EVENT)
        path_of(file).write_bytes(EVENT * 2)

        with pytest.raises(LandingError, match=r"events\.jsonl changed while it was read; nothing of it was taken"):
            stage_file(file)

    def test_a_file_that_grows_while_it_is_read_is_not_taken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lines, "READ_BYTES", 100)
        file = landed(tmp_path, EVENT * 300)

        def append_once(read: int) -> None:
            if path_of(file).stat().st_size == file.size_bytes:
                path_of(file).write_bytes(EVENT * 301)

        with pytest.raises(LandingError, match="changed while it was read"):
            stage_file(file, on_progress=append_once)

    def test_garbage_after_the_damage_of_a_gzip_file_counts_as_its_content_too(self, tmp_path: Path) -> None:
        file = landed(tmp_path, gzip.compress(EVENT) + b"garbage" * 10)
        path_of(file).write_bytes(gzip.compress(EVENT) + b"garbage" * 11)

        with pytest.raises(LandingError, match="changed while it was read"):
            stage_file(file)

    def test_a_file_that_has_gone_is_an_error_that_says_so(self, tmp_path: Path) -> None:
        file = landed(tmp_path, EVENT)
        path_of(file).unlink()

        with pytest.raises(LandingError, match=r"events\.jsonl cannot be read: No such file or directory\."):
            stage_file(file)

    def test_a_file_that_has_become_a_folder_is_an_error_that_says_so(self, tmp_path: Path) -> None:
        file = replace(landed(tmp_path, EVENT), place=FolderFile(tmp_path))

        with pytest.raises(LandingError, match="cannot be read: it is a folder and not a file"):
            stage_file(file)

    @pytest.mark.parametrize("content", [b"", EVENT * 10, gzip.compress(EVENT * 10), gzip.compress(EVENT) + b"garbage"])
    def test_progress_is_reported_in_bytes_of_the_file(self, tmp_path: Path, content: bytes) -> None:
        told: list[int] = []
        file = landed(tmp_path, content)

        stage_file(file, on_progress=told.append).close()

        assert sum(told) == file.size_bytes == len(content)


class TestStagedRows:
    @pytest.mark.parametrize("memory_bytes", [1, 16 << 20], ids=["on disk", "in memory"])
    def test_they_can_be_read_more_than_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_bytes: int
    ) -> None:
        monkeypatch.setattr(spool, "MEMORY_BYTES", memory_bytes)
        monkeypatch.setattr(lines, "READ_BYTES", 500)
        staged = stage_file(landed(tmp_path, EVENT * 20 + b"x\n" * 20), chunk_bytes=500)

        for _ in range(2):
            events = [row for frame in staged.event_chunks() for row in rows(frame, EVENT_SCHEMA)]
            assert [event["line_number"] for event in events] == list(range(1, 21))
            assert sum(len(frame) for frame in staged.rejected_chunks()) == 20
        staged.close()

    def test_closing_gives_the_disk_space_back(self, tmp_path: Path) -> None:
        staged = stage_file(landed(tmp_path, EVENT))

        staged.close()

        assert staged.rows.event_spool.closed
        assert staged.rows.rejected_spool.closed
