import json
import sys
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest

from src.marketing_messaging_service.staging.content_id import CONTENT_ID_PREFIX
from src.marketing_messaging_service.staging.line_parser import MAX_LENGTHS, MOST_LEVELS, ParsedLine
from src.marketing_messaging_service.vocabulary import PAYLOAD, ReasonCode
from src.marketing_messaging_service.vocabulary.values import LARGEST_INTEGER, RefusedValueError, read_instant
from tests.staging.helpers import line, line_with
from tests.staging.outcomes import parse_line

LENGTHS = {**MAX_LENGTHS, **{field.path: field.length for field in PAYLOAD.fields if field.length}}
OPTIONAL_TEXTS = tuple(field.path for field in PAYLOAD.fields if field.length)
REQUIRED_TEXTS = ("user_id", "event_type")


def rejection(raw: bytes) -> RefusedValueError:
    with pytest.raises(RefusedValueError) as caught:
        parse_line(raw)
    return caught.value


def reason(raw: bytes) -> tuple[ReasonCode, str | None]:
    found = rejection(raw)
    return found.reason_code, found.field_name


def value_at(path: str, parsed: ParsedLine) -> Any:
    value: Any = parsed.event
    for name in path.split("."):
        value = value.get(name)
    return value


def value_of(path: str, text: str) -> Any:
    """The value that an event has at a path with this JSON text."""
    return value_at(path, parse_line(line_with(path, text)))


def reason_of(path: str, text: str) -> ReasonCode:
    """Why an event is rejected that has this JSON text at a path; the reason names that path."""
    reason_code, field_name = reason(line_with(path, text))
    assert field_name == path
    return reason_code


def test_an_event_is_all_its_known_keys_in_their_types() -> None:
    raw = line(
        properties='{"amount": 12.5, "attempt_number": 3, "failure_reason": "CARD_EXPIRED"}',
        user_traits='{"email": "ana@example.com", "country": "BR", "marketing_opt_in": true, "risk_segment": "low"}',
    )

    assert parse_line(raw) == ParsedLine(
        {
            "message_id": "m-1",
            "user_id": "u-1",
            "event_type": "payment_failed",
            "event_timestamp": "2026-11-03T10:00:00.000000+00:00",
            "properties": {"amount": 12.5, "attempt_number": 3, "failure_reason": "CARD_EXPIRED"},
            "user_traits": {
                "email": "ana@example.com",
                "country": "BR",
                "marketing_opt_in": True,
                "risk_segment": "low",
            },
        },
        unknown_keys=(),
    )


class TestText:
    @pytest.mark.parametrize("path", [*REQUIRED_TEXTS, "message_id", *OPTIONAL_TEXTS])
    @pytest.mark.parametrize("text", ["001", " u ", "O'Brien", "zoë 🙂", "null", "3", "\u202e", "\ufeff"])
    def test_it_is_kept_as_it_is(self, path: str, text: str) -> None:
        assert value_of(path, json.dumps(text)) == text
        assert value_of(path, json.dumps(text, ensure_ascii=False).replace("\0", "\\u0000")) == text

    @pytest.mark.parametrize("path", LENGTHS)
    def test_it_may_be_as_long_as_its_column_in_characters(self, path: str) -> None:
        longest = "🙂" * LENGTHS[path]

        assert value_of(path, f'"{longest}"') == longest
        assert reason_of(path, f'"{longest}x"') is ReasonCode.TEXT_TOO_LONG

    def test_lengths_are_those_of_the_columns(self) -> None:
        lengths = {path.rpartition(".")[2]: length for path, length in LENGTHS.items()}

        assert (
            lengths.items()
            >= {
                "message_id": 255,
                "user_id": 64,
                "event_type": 64,
                "failure_reason": 64,
                "email": 256,
                "country": 8,
                "risk_segment": 32,
            }.items()
        )

    @pytest.mark.parametrize("path", LENGTHS)
    @pytest.mark.parametrize(
        "text", ["1", "1.5", "true", "false", "[]", '["a"]', "{}", '{"a": "b"}', "NaN", "12" * 300]
    )
    def test_another_type_is_rejected(self, path: str, text: str) -> None:
        assert reason_of(path, text) is ReasonCode.WRONG_TYPE

    @pytest.mark.parametrize("path", LENGTHS)
    @pytest.mark.parametrize("text", [r'"\ud800"', r'"a\udfffb"', r'"\udc00\ud800"'])
    def test_half_of_a_surrogate_pair_is_rejected(self, path: str, text: str) -> None:
        assert reason_of(path, text) is ReasonCode.INVALID_UNICODE

    def test_a_whole_surrogate_pair_is_one_character(self) -> None:
        assert value_of("user_id", r'"\ud83d\ude42"') == "🙂"

    @pytest.mark.parametrize("path", REQUIRED_TEXTS)
    def test_it_is_required_where_it_says_who_or_what(self, path: str) -> None:
        assert reason(line("", **{path: None})) == (ReasonCode.MISSING_FIELD, path)
        assert reason_of(path, "null") is ReasonCode.MISSING_FIELD
        assert reason_of(path, '""') is ReasonCode.EMPTY_TEXT

    def test_an_empty_message_id_is_rejected(self) -> None:
        assert reason_of("message_id", '""') is ReasonCode.EMPTY_TEXT

    @pytest.mark.parametrize("path", OPTIONAL_TEXTS)
    def test_it_may_be_empty_or_null_where_it_is_optional(self, path: str) -> None:
        assert value_of(path, '""') == ""
        assert value_of(path, "null") is None


class TestTimestamp:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2026-11-03T10:15:00Z", "2026-11-03T10:15:00.000000"),
            ("2026-11-03T10:15:00.5Z", "2026-11-03T10:15:00.500000"),
            ("2026-11-03T10:15:00.000001Z", "2026-11-03T10:15:00.000001"),
            ("2026-11-03T10:15:00.123456789Z", "2026-11-03T10:15:00.123456"),
            ("2026-11-03T23:59:59.999999999Z", "2026-11-03T23:59:59.999999"),
            ("2026-11-03T10:15:00." + "9" * 500 + "Z", "2026-11-03T10:15:00.999999"),
            ("2026-11-03T10:15:00,25Z", "2026-11-03T10:15:00.250000"),
            ("2026-11-03t10:15:00z", "2026-11-03T10:15:00.000000"),
            ("2026-11-03 10:15:00Z", "2026-11-03T10:15:00.000000"),
            ("2026-11-03T10:15Z", "2026-11-03T10:15:00.000000"),
            ("20261103T101500Z", "2026-11-03T10:15:00.000000"),
            ("20261103T1015+0230", "2026-11-03T07:45:00.000000"),
            ("2026-11-03T10:15:00+02:00", "2026-11-03T08:15:00.000000"),
            ("2026-11-03T10:15:00-0330", "2026-11-03T13:45:00.000000"),
            ("2026-11-03T10:15:00+02", "2026-11-03T08:15:00.000000"),
            ("2026-11-03T10:15:00-00:00", "2026-11-03T10:15:00.000000"),
            ("2026-11-03T00:15:00+23:59", "2026-11-02T00:16:00.000000"),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000"),
            ("0001-01-01T00:00:00-00:01", "0001-01-01T00:01:00.000000"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999"),
            ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.999999"),
        ],
    )
    def test_an_instant_is_turned_to_utc_with_its_microseconds(self, text: str, expected: str) -> None:
        assert value_of("event_timestamp", f'"{text}"') == f"{expected}+00:00"

    @pytest.mark.parametrize(
        ("text", "reason_code"),
        [
            ("2026-11-03T10:15:00", ReasonCode.NAIVE_TIMESTAMP),
            ("2026-11-03 10:15", ReasonCode.NAIVE_TIMESTAMP),
            ("0001-01-01T00:00:00+00:01", ReasonCode.TIMESTAMP_OUT_OF_RANGE),
            ("9999-12-31T23:59:59-00:01", ReasonCode.TIMESTAMP_OUT_OF_RANGE),
            ("2026-06-30T23:59:60Z", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-03T24:00:00Z", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-03T10:60:00Z", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-03T10:15:61Z", ReasonCode.INVALID_TIMESTAMP),
            ("2026-02-29T10:15:00Z", ReasonCode.INVALID_TIMESTAMP),
            ("2026-13-01T10:15:00Z", ReasonCode.INVALID_TIMESTAMP),
            ("0000-01-01T00:00:00Z", ReasonCode.INVALID_TIMESTAMP),
            ("10000-01-01T00:00:00Z", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-03T10:15:00+24:00", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-03T10:15:00+02:60", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-03T10:15:00+0299", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-03T10:15:00+02:00:30", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-03T10:15:00.Z", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-03T10:15:00 Z", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-03T10:15:00Z\\n", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-03T10Z", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-03", ReasonCode.INVALID_TIMESTAMP),
            ("2026-W45-2T10:15:00Z", ReasonCode.INVALID_TIMESTAMP),
            ("2026-11-0٣T10:15:00Z", ReasonCode.INVALID_TIMESTAMP),
            ("\\ud800", ReasonCode.INVALID_TIMESTAMP),
            ("1793701200", ReasonCode.INVALID_TIMESTAMP),
            ("yesterday", ReasonCode.INVALID_TIMESTAMP),
            ("", ReasonCode.INVALID_TIMESTAMP),
        ],
    )
    def test_what_names_no_instant_that_can_be_stored_is_rejected(self, text: str, reason_code: ReasonCode) -> None:
        assert reason_of("event_timestamp", f'"{text}"') is reason_code

    @pytest.mark.parametrize("text", ["1793701200", "1793701200.5", "true", "[]", "{}", "NaN"])
    def test_another_type_is_rejected(self, text: str) -> None:
        assert reason_of("event_timestamp", text) is ReasonCode.WRONG_TYPE

    def test_it_is_required(self) -> None:
        assert reason(line(event_timestamp=None)) == (ReasonCode.MISSING_FIELD, "event_timestamp")
        assert reason_of("event_timestamp", "null") is ReasonCode.MISSING_FIELD

    def test_the_sentence_says_what_was_found_and_what_was_expected(self) -> None:
        assert rejection(line_with("event_timestamp", '"2026-11-03T10:15"')).explanation == (
            "'2026-11-03T10:15' has no UTC offset, so the instant is unknown; expected a Z or an offset like +02:00."
        )

    def test_a_text_can_be_asked_alone(self) -> None:
        assert read_instant("2026-11-03T10:15:00+02:00", "event_timestamp") == datetime(2026, 11, 3, 8, 15, tzinfo=UTC)


class TestAmount:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("9.99", 9.99),
            ("-5.25", -5.25),
            ("3", 3.0),
            ("1e3", 1000.0),
            ("0", 0.0),
            ("1234567890123456789", 1.2345678901234568e18),
            ("12345678901234567890", 1.2345678901234567e19),
            ("9007199254740993", 9007199254740992.0),
            ("1.7976931348623157e308", sys.float_info.max),
            ("1e-400", 0.0),
            ("1e-99999999999999999999", 0.0),
            ("0." + "3" * 500, 1 / 3),
            ("1" + "0" * 300 + "." + "0" * 300, 1e300),
            ('"9.99"', 9.99),
            ('"+3"', 3.0),
            ('".5"', 0.5),
            ('"5."', 5.0),
            ('"007"', 7.0),
            ('"1E3"', 1000.0),
            ("null", None),
        ],
    )
    def test_a_number_or_the_text_of_one_is_the_nearest_double(self, text: str, expected: float | None) -> None:
        assert value_of("properties.amount", text) == expected

    @pytest.mark.parametrize(
        "text",
        [
            *("NaN", "Infinity", "-Infinity"),
            *("1e309", "-1e309", "1" * 400, "1e99999999999999999999", '"1e400"', '"-1e99999999999999999999"'),
        ],
    )
    def test_a_number_that_is_not_finite_as_a_double_is_rejected(self, text: str) -> None:
        assert reason_of("properties.amount", text) is ReasonCode.NUMBER_OUT_OF_RANGE

    @pytest.mark.parametrize(
        "text",
        ["", " ", "ten", "1_000", "٣", " 3", "3 ", "0x10", "1,5", "1e", "--1", "NaN", "inf", "3\\n", "\\ud800", "."],
    )
    def test_a_text_that_is_not_a_number_is_rejected(self, text: str) -> None:
        assert reason_of("properties.amount", f'"{text}"') is ReasonCode.INVALID_NUMBER

    @pytest.mark.parametrize("text", ["true", "false", "[]", "[1]", "{}"])
    def test_another_type_is_rejected(self, text: str) -> None:
        assert reason_of("properties.amount", text) is ReasonCode.WRONG_TYPE


class TestAttemptNumber:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("0", 0),
            ("-0", 0),
            ("3", 3),
            ("3.0", 3),
            ("30e-1", 3),
            ("1e2", 100),
            ('"3"', 3),
            ('"3.0"', 3),
            ('"003"', 3),
            ('"+3"', 3),
            ("1234567890123456789", 1234567890123456789),
            (str(LARGEST_INTEGER), LARGEST_INTEGER),
            (f'"{LARGEST_INTEGER}"', LARGEST_INTEGER),
            ("3." + "0" * 500, 3),
            ("null", None),
        ],
    )
    def test_a_whole_number_is_taken_exactly_however_it_is_written(self, text: str, expected: int | None) -> None:
        assert value_of("properties.attempt_number", text) == expected

    @pytest.mark.parametrize(
        ("text", "reason_code"),
        [
            ("2.5", ReasonCode.NOT_A_WHOLE_NUMBER),
            ('"2.5"', ReasonCode.NOT_A_WHOLE_NUMBER),
            ("1e-400", ReasonCode.NOT_A_WHOLE_NUMBER),
            ("9223372036854775806.5", ReasonCode.NOT_A_WHOLE_NUMBER),
            ("-1", ReasonCode.NEGATIVE_NUMBER),
            ('"-1"', ReasonCode.NEGATIVE_NUMBER),
            ("-0.5", ReasonCode.NEGATIVE_NUMBER),
            (str(LARGEST_INTEGER + 1), ReasonCode.NUMBER_OUT_OF_RANGE),
            ("12345678901234567890", ReasonCode.NUMBER_OUT_OF_RANGE),
            ("9" * 5000, ReasonCode.NUMBER_OUT_OF_RANGE),
            ("1e400", ReasonCode.NUMBER_OUT_OF_RANGE),
            ("1e999999", ReasonCode.NUMBER_OUT_OF_RANGE),
            ("1e99999999999999999999", ReasonCode.NUMBER_OUT_OF_RANGE),
            ('"1e99999999999999999999"', ReasonCode.NUMBER_OUT_OF_RANGE),
            ("NaN", ReasonCode.NUMBER_OUT_OF_RANGE),
            ("-Infinity", ReasonCode.NUMBER_OUT_OF_RANGE),
            ("true", ReasonCode.WRONG_TYPE),
            ("{}", ReasonCode.WRONG_TYPE),
            ("[3]", ReasonCode.WRONG_TYPE),
            ('""', ReasonCode.INVALID_NUMBER),
            ('"1_000"', ReasonCode.INVALID_NUMBER),
            ('"٣"', ReasonCode.INVALID_NUMBER),
            ('" 3"', ReasonCode.INVALID_NUMBER),
            ('"0x10"', ReasonCode.INVALID_NUMBER),
            ('"NaN"', ReasonCode.INVALID_NUMBER),
            ('"three"', ReasonCode.INVALID_NUMBER),
        ],
    )
    def test_anything_else_is_rejected(self, text: str, reason_code: ReasonCode) -> None:
        assert reason_of("properties.attempt_number", text) is reason_code


class TestOptIn:
    @pytest.mark.parametrize(("text", "expected"), [("true", True), ("false", False), ("null", None)])
    def test_it_is_true_false_or_null(self, text: str, expected: bool | None) -> None:
        assert value_of("user_traits.marketing_opt_in", text) is expected

    @pytest.mark.parametrize("text", ['"true"', '"false"', '""', "1", "0", "1.0", "NaN", "[]", "{}"])
    def test_anything_else_is_rejected(self, text: str) -> None:
        assert reason_of("user_traits.marketing_opt_in", text) is ReasonCode.WRONG_TYPE


@pytest.mark.parametrize("name", ["properties", "user_traits"])
class TestNestedObject:
    @pytest.mark.parametrize("text", [None, "null", "{}"])
    def test_it_may_be_absent_null_or_empty(self, name: str, text: str | None) -> None:
        event = parse_line(line("", **{name: text})).event

        assert (event["properties"], event["user_traits"]) == ({}, {})

    @pytest.mark.parametrize("text", ["[]", "[{}]", '"{}"', '""', "1", "0", "true", "false", "NaN"])
    def test_anything_else_is_rejected(self, name: str, text: str) -> None:
        assert reason_of(name, text) is ReasonCode.WRONG_TYPE


class TestDuplicateKeys:
    @pytest.mark.parametrize(
        ("raw", "field_name"),
        [
            (line(', "user_id": "u-1"'), "user_id"),
            (line(', "user_id": "other"'), "user_id"),
            (line(r', "user\u005fid": "u-1"'), "user_id"),
            (line(', "message_id": null'), "message_id"),
            (line(', "properties": null, "properties": {}'), "properties"),
            (line(properties='{"amount": 1, "amount": 1}'), "properties.amount"),
            (line(properties='{"amount": null, "x": 0, "amount": 1}'), "properties.amount"),
            (line(user_traits='{"email": "a", "email": "b"}'), "user_traits.email"),
            (line(', "user_id": "u", "event_type": "e"'), "event_type"),
        ],
    )
    def test_a_known_key_may_stand_only_once(self, raw: bytes, field_name: str) -> None:
        assert reason(raw) == (ReasonCode.DUPLICATE_KEY, field_name)

    @pytest.mark.parametrize(
        ("raw", "unknown_keys"),
        [
            (line(', "x": 1, "x": 2'), ("x",)),
            (line(properties='{"x": 1, "x": 2}'), ("properties.x",)),
            (line(', "x": {"user_id": 1, "user_id": 2}'), ("x",)),
            (line(', "USER_ID": "u"'), ("USER_ID",)),
        ],
    )
    def test_an_unknown_key_may_stand_many_times_and_is_one_key(
        self, raw: bytes, unknown_keys: tuple[str, ...]
    ) -> None:
        assert parse_line(raw).unknown_keys == unknown_keys


class TestUnknownKeys:
    @pytest.mark.parametrize(
        "text",
        [
            *("null", "1", "NaN", "-Infinity", "1e99999999999999999999", "9" * 5000, r'"\ud800"', r'"\u0000"', '""'),
            *("[]", "{}", "[NaN, [1, {}]]", '{"a": {"a": 1, "a": 2}}', '{"": {"": []}}'),
        ],
    )
    def test_they_may_hold_anything(self, text: str) -> None:
        for path in ("x", "properties.x", "user_traits.x"):
            assert parse_line(line_with(path, text)).unknown_keys == (path,)

    def test_they_are_reported_by_path(self) -> None:
        raw = line(', "": 0, "amount": 1', properties='{"email": 1, "a.b": 2}', user_traits='{"amount": 1}')

        assert sorted(parse_line(raw).unknown_keys) == [
            *("", "amount", "properties.a.b", "properties.email", "user_traits.amount")
        ]

    def test_two_places_of_one_path_are_two_keys(self) -> None:
        assert parse_line(line(', "properties.x": 1', properties='{"x": 1}')).unknown_keys == ("properties.x",) * 2


class TestWhatIsNoEvent:
    @pytest.mark.parametrize(
        ("raw", "kind"),
        [
            (b"[]", "an array"),
            (b"[" + line() + b"]", "an array"),
            (b"null", "null"),
            (b"true", "true"),
            (b"3", "the number '3'"),
            (b"NaN", "NaN"),
            (b'"text"', "the string 'text'"),
        ],
    )
    def test_json_that_is_not_an_object_is_rejected(self, raw: bytes, kind: str) -> None:
        assert reason(raw) == (ReasonCode.NOT_AN_OBJECT, None)
        assert kind.strip("'") in rejection(raw).explanation

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"user_id=1",
            b"{",
            line()[:-1],
            line()[:40],
            line() + b" x",
            b"[" + line() + b",",
            line() + b"]",
            line(", "),
            line(", 'x': 1"),
            line(", x: 1"),
            line(', "x": 01'),
            line(', "x": +1'),
            line(', "x": .5'),
            line(', "x": nan'),
            line(', "x": undefined'),
            line(', "x": "\t"'),
            line(', "x": "\x1f"'),
            line(', "x": "\\x41"'),
            b"// comment",
        ],
    )
    def test_what_is_no_json_is_rejected(self, raw: bytes) -> None:
        assert reason(raw) == (ReasonCode.INVALID_JSON, None)

    @pytest.mark.parametrize("raw", [line(', "x": "\0"'), line(user_id='"u\0"'), line()[:40] + b"\0" * 500 + line()])
    def test_a_zero_byte_within_is_named(self, raw: bytes) -> None:
        place = raw.index(b"\0") + 1

        assert rejection(raw).reason_code is ReasonCode.NUL_BYTES
        assert f"Character {place} of the line is a zero byte" in rejection(raw).explanation

    @pytest.mark.parametrize("between", [b"", b" ", b"\r", b",", b", ", b"\x1e", b"\xef\xbb\xbf"])
    def test_a_second_object_is_named(self, between: bytes) -> None:
        first = line(user_id='"zo\xeb"', event_type='"\U0001f642"')
        raw = first + between + line() + line()

        assert rejection(raw).reason_code is ReasonCode.SEVERAL_OBJECTS
        place = len(first.decode()) + 1 + len(between) - len(between.lstrip())
        assert f"the second from character {place} on; put a line end between them" in rejection(raw).explanation

    @pytest.mark.parametrize(
        "raw",
        [
            line() + b"\0",
            b"\0" * 4_000 + line() + b"\0" * 4_000,
            b"\xef\xbb\xbf" + line(),
            b"\x1e" + line(),
            b" \x1e\xef\xbb\xbf\0\xef\xbb\xbf" + line() + b" \xef\xbb\xbf\0 ",
            line() + b",",
            line() + b" , \r",
            b", " + line(),
        ],
    )
    def test_what_may_stand_around_an_event_does_not_matter(self, raw: bytes) -> None:
        assert parse_line(raw) == parse_line(line())

    @pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"caf\xe9"])
    @pytest.mark.parametrize("where", [line(user_id='"?"'), line(', "x": "?"'), line(', "x": {"?": 1}'), b"?", b"[?"])
    def test_what_is_no_utf8_is_rejected_wherever_it_is(self, text: bytes, where: bytes) -> None:
        assert reason(where.replace(b"?", text)) == (ReasonCode.INVALID_UTF8, None)

    def test_utf16_is_rejected(self) -> None:
        assert reason(line().decode().encode("utf-16")) == (ReasonCode.INVALID_UTF8, None)

    @pytest.mark.parametrize(
        "raw", [b" " + line() + b"\t \r", line().replace(b" ", b""), line().replace(b" ", b"\t\r ")]
    )
    def test_white_space_around_the_parts_of_an_event_does_not_matter(self, raw: bytes) -> None:
        assert parse_line(raw) == parse_line(line())


def nested(levels: int, opening: str = "[", closing: str = "]", inside: str = "") -> str:
    return opening * levels + inside + closing * levels


class TestDepth:
    @pytest.mark.parametrize(
        "extra", ['"x": {}', '"user_id": {}', '"properties": {}', '"properties": {{"amount": {}}}']
    )
    @pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 1_000, 100_000])
    def test_json_nested_too_deeply_is_rejected_wherever_it_is(self, extra: str, levels: int) -> None:
        for value in (nested(levels), nested(levels, '{"a":', "}", "1"), "[" * levels, '{"a":[' * levels):
            assert reason(line(", " + extra.format(value))) == (ReasonCode.NESTED_TOO_DEEP, None)

    @pytest.mark.parametrize("raw", [b"[" * 1_000_000, b'{"a":' * 1_000_000])
    def test_a_bomb_alone_on_a_line_is_rejected(self, raw: bytes) -> None:
        assert reason(raw) == (ReasonCode.NESTED_TOO_DEEP, None)

    def test_an_unknown_key_may_hold_all_the_levels_that_are_left(self) -> None:
        assert parse_line(line(f', "x": {nested(MOST_LEVELS - 1)}')).unknown_keys == ("x",)
        assert reason(line(f', "x": {nested(MOST_LEVELS)}')) == (ReasonCode.NESTED_TOO_DEEP, None)

    def test_a_bomb_is_reported_in_little_memory(self) -> None:
        bomb = b'{"a":' * 200_000
        tracemalloc.start()
        assert reason(bomb) == (ReasonCode.NESTED_TOO_DEEP, None)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3 * len(bomb)

    def test_many_brackets_that_are_not_nested_are_no_depth(self) -> None:
        shallow = json.dumps([[], {}] * 1_000)
        in_text = json.dumps("[" * 1_000 + '"' + "{" * 1_000 + "\\")

        assert parse_line(line(f', "x": {shallow}, "y": {in_text}')).unknown_keys == ("x", "y")
        assert parse_line(line(f", {in_text}: 1")).unknown_keys

    def test_the_answer_does_not_depend_on_the_depth_of_the_callers_stack(self) -> None:
        def far_down(levels: int, raw: bytes) -> ParsedLine:
            return parse_line(raw) if levels == 0 else far_down(levels - 1, raw)

        deep = line(f', "x": {nested(MOST_LEVELS - 1)}', message_id=None)

        assert far_down(500, deep) == parse_line(deep)


class TestContentId:
    WRITTEN_DIFFERENTLY = (
        line(message_id=None, properties='{"attempt_number": 3, "amount": 10}', user_traits='{"country": "BR"}'),
        line(message_id="null", properties='{"amount": 10.0, "attempt_number": 3}', user_traits='{"country": "BR"}'),
        line(message_id=None, properties='{"amount": "1e1", "attempt_number": "3"}', user_traits='{"country": "BR"}'),
        line(
            message_id=None,
            event_timestamp='"20261103T120000.0+02"',
            properties='{"attempt_number": 3.0, "amount": 10, "failure_reason": null}',
            user_traits='{"country": "\\u0042R", "email": null}',
        ),
        b'{"user_traits":{"country":"BR"},"properties":{"amount":10,"attempt_number":3},'
        b'"event_timestamp":"2026-11-03T10:00:00Z","event_type":"payment_failed","user_id":"u-1"}',
    )

    @pytest.mark.parametrize("raw", WRITTEN_DIFFERENTLY)
    def test_the_same_content_has_the_same_id_however_it_is_written(self, raw: bytes) -> None:
        assert parse_line(raw).event["message_id"] == parse_line(self.WRITTEN_DIFFERENTLY[0]).event["message_id"]

    def test_unknown_keys_are_content_whose_order_does_not_matter(self) -> None:
        one = line(', "x": {"a": 1, "b": [NaN]}, "y": "\\u0041"', message_id=None)
        other = line(', "y": "A",\t"x": {"b":[NaN],"a":1}', message_id=None)

        assert parse_line(one).event["message_id"] == parse_line(other).event["message_id"]

    def test_properties_that_are_absent_null_or_empty_are_the_same_content(self) -> None:
        ids = {
            parse_line(line(message_id=None, properties=properties)).event["message_id"]
            for properties in (None, "null", "{}", '{"amount": null}')
        }

        assert len(ids) == 1

    def test_other_content_has_another_id(self) -> None:
        contents = [
            line(message_id=None),
            line(message_id=None, user_id='"u-2"'),
            line(message_id=None, user_id='"payment_failed"', event_type='"u-1"'),
            line(message_id=None, event_type='"signup_completed"'),
            line(message_id=None, event_timestamp='"2026-11-03T10:00:00.000001Z"'),
            line(message_id=None, properties='{"amount": 3}'),
            line(message_id=None, properties='{"attempt_number": 3}'),
            line(message_id=None, properties='{"failure_reason": "3"}'),
            line(message_id=None, properties='{"failure_reason": ""}'),
            line(message_id=None, properties='{"amount": 0}'),
            line(message_id=None, user_traits='{"email": "3"}'),
            line(message_id=None, user_traits='{"country": "3"}'),
            line(message_id=None, user_traits='{"marketing_opt_in": true}'),
            line(message_id=None, user_traits='{"marketing_opt_in": false}'),
            *(
                line(f', "x": {value}', message_id=None)
                for value in (
                    *(
                        "null",
                        "true",
                        "3",
                        "4",
                        '"3"',
                        '"number 3"',
                        '"Decimal(3)"',
                        "[3]",
                        '["3"]',
                        '[0, "3"]',
                        "[0, 3]",
                    ),
                    *('{"number": "3"}', '[[0, "3"]]', "NaN", "Infinity", '"NaN"', '"word NaN"', "[]", "{}", "[[]]"),
                    *("1" * 500, "2" * 500, "1e99999999999999999999", "2e99999999999999999999"),
                    *(r'"\ud800"', r'"\\ud800"', r'"\udc00"'),
                )
            ),
            line(', "y": 3', message_id=None),
            line(message_id=None, properties='{"x": 3}'),
            line(message_id=None, user_traits='{"x": 3}'),
            line(', "properties.x": 3', message_id=None),
        ]

        ids = {parse_line(content).event["message_id"] for content in contents}

        assert len(ids) == len(contents)

    def test_it_says_that_it_is_made_of_the_content(self) -> None:
        message_id = parse_line(line(message_id=None)).event["message_id"]

        assert message_id.startswith(CONTENT_ID_PREFIX)
        assert len(message_id) == len(CONTENT_ID_PREFIX) + 64

    def test_it_never_changes_between_releases(self) -> None:
        """An id that changed would take every event without one a second time."""
        raw = line(', "x": 1', message_id=None, properties='{"amount": 12.5}')

        assert parse_line(raw).event["message_id"] == (
            "content:fc1aa883b4bcc6d1f9c5b443ebd825ecfab4b265d22f03eb7e599834d3e3e4ba"
        )

    def test_an_id_of_the_producers_own_is_kept(self) -> None:
        assert parse_line(line(message_id='"content:mine"')).event["message_id"] == "content:mine"


class TestExplanation:
    @pytest.mark.parametrize(
        ("raw", "explanation"),
        [
            (line(user_id=None), "user_id is required and is absent."),
            (line(user_id="null"), "user_id is required and is null."),
            (line(event_timestamp="null"), "event_timestamp is required and is null."),
            (line(user_id="7"), "user_id must be a string, found the number '7'."),
            (
                line_with("properties.attempt_number", '"2.5"'),
                "properties.attempt_number is '2.5'; it must be a whole number.",
            ),
            (line_with("properties.amount", "[]"), "properties.amount must be a number, found an array."),
            (line()[:-1], "Not JSON: Expecting ',' delimiter (character 114 of the line)."),
        ],
    )
    def test_it_is_one_sentence_that_a_person_can_act_on(self, raw: bytes, explanation: str) -> None:
        assert rejection(raw).explanation == explanation

    @pytest.mark.parametrize(
        ("missing", "beside", "named"),
        [
            ("user_id", '"userId": "ada"', "userId"),
            ("user_id", '"User_Id": "ada"', "User_Id"),
            ("user_id", '"user": "ada", "USER-ID": "ada"', "USER-ID"),
            ("event_type", '"type": null, "event": "signup_completed"', "event"),
            ("event_timestamp", '"Timestamp": "2026-11-23T09:00:00Z"', "Timestamp"),
        ],
    )
    def test_it_names_a_key_that_must_be_meant_by_the_missing_one(self, missing: str, beside: str, named: str) -> None:
        raw = line(f", {beside}", **{missing: None})

        assert rejection(raw).explanation == (
            f"{missing} is required and is absent; {named} is there: write it as {missing}, "
            "or say in sources.yaml that it is meant (docs/sources.md)."
        )

    @pytest.mark.parametrize("beside", ['"userId": null', '"user_idea": "x"', '"users": ["ada"]'])
    def test_it_names_no_key_that_says_nothing_or_something_else(self, beside: str) -> None:
        assert rejection(line(f", {beside}", user_id=None)).explanation == "user_id is required and is absent."

    def test_it_shows_no_long_text_and_nothing_a_terminal_would_act_on(self) -> None:
        for text in ("9" * 10_000, '"' + "x" * 10_000 + '"', r'"\u001b[31mred"', '"\u202e"', r'"\ud800"'):
            explanation = rejection(line_with("properties.amount", text)).explanation

            assert len(explanation) < 200
            assert explanation.isascii()
            assert explanation.isprintable()
