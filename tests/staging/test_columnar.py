import itertools
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from src.marketing_messaging_service.staging import columnar
from src.marketing_messaging_service.staging.columnar import LONG_STREAK
from src.marketing_messaging_service.staging.line_parser import MOST_LEVELS
from src.marketing_messaging_service.staging.lines import Chunk
from src.marketing_messaging_service.staging.rejection import Rejection
from src.marketing_messaging_service.staging.results import EVENT_SCHEMA, REJECTED_SCHEMA
from src.marketing_messaging_service.vocabulary import PAYLOAD, ReasonCode
from tests.effort import examples
from tests.staging.helpers import PLAIN, line, line_with
from tests.staging.odd_values import UNKNOWN_KEYS, VALUES
from tests.staging.outcomes import STAGER, Outcome, looked_at_closely, staged


class TestTables:
    def test_events_are_a_table_of_the_schema(self) -> None:
        chunk = STAGER.stage(Chunk(7, [line(), line_with("properties.amount", '"3"')]))

        assert chunk.events.schema == EVENT_SCHEMA
        assert chunk.events["line_number"].to_pylist() == [7, 8]

    def test_rejected_lines_are_a_table_of_the_schema(self) -> None:
        chunk = STAGER.stage(Chunk(7, [b"x", line(), b"y"]))

        assert chunk.rejected.schema == REJECTED_SCHEMA
        assert chunk.rejected["line_number"].to_pylist() == [7, 9]

    @pytest.mark.parametrize("lines", [[], [b""], [b"", b" ", b"\t\r", b"\x0b\x0c"]])
    def test_a_chunk_without_events_gives_empty_tables_of_the_same_schemas(self, lines: list[bytes]) -> None:
        chunk = STAGER.stage(Chunk(1, lines))

        assert (chunk.events.schema, chunk.rejected.schema) == (EVENT_SCHEMA, REJECTED_SCHEMA)
        assert (len(chunk.events), len(chunk.rejected), chunk.blank_count) == (0, 0, len(lines))

    def test_a_whole_event_is_one_row_of_plain_values(self) -> None:
        raw = line(
            user_id='"001"',
            event_timestamp='"2026-11-03T10:00:00.000001+02:00"',
            properties='{"amount": 12.5, "attempt_number": 3, "failure_reason": "CARD_EXPIRED"}',
            user_traits='{"email": "a@b.c", "country": "BR", "marketing_opt_in": false, "risk_segment": "low"}',
        )

        [event], *_ = staged([raw], first_line_number=5)

        assert event == dict.fromkeys(EVENT_SCHEMA.names) | {
            "line_number": 5,
            "message_id": "m-1",
            "user_id": "001",
            "event_type": "payment_failed",
            "event_timestamp": datetime(2026, 11, 3, 8, 0, 0, 1, tzinfo=UTC),
            "amount": 12.5,
            "attempt_number": 3,
            "failure_reason": "CARD_EXPIRED",
            "email": "a@b.c",
            "country": "BR",
            "marketing_opt_in": False,
            "risk_segment": "low",
        }

    def test_what_is_absent_is_null_in_its_column(self) -> None:
        [event], *_ = staged([line()])

        assert {event[name] for name, _ in PAYLOAD.staged_columns} == {None}

    def test_the_fault_of_a_chunk_is_the_rejected_line_after_its_last(self) -> None:
        fault = Rejection(ReasonCode.CORRUPT_GZIP, None, "It breaks off.")

        chunk = STAGER.stage(Chunk(3, [line(), b"x"], fault, b"rest"))

        found = [(row["line_number"], row["raw_line"], row["reason_code"]) for row in chunk.rejected.to_pylist()]
        assert found == [(4, "x", "invalid_json"), (5, "rest", "corrupt_gzip")]


class TestRawLine:
    @pytest.mark.parametrize(
        ("raw", "text", "exact"),
        [
            (b"caf\xc3\xa9 \xf0\x9f\x99\x82", "café 🙂", None),
            (b"a\tb\x1b[31m\x7f\r", "a\tb\x1b[31m\x7f\r", None),
            (b"\\xff", "\\xff", None),
            (b"caf\xe9", "caf\\xe9", b"caf\xe9"),
            (b"a\0b", "a\\x00b", b"a\0b"),
            (b"\xed\xa0\x80", "\\xed\\xa0\\x80", b"\xed\xa0\x80"),
        ],
    )
    def test_it_is_readable_text_with_the_exact_bytes_where_the_text_is_not_exact(
        self, raw: bytes, text: str, exact: bytes | None
    ) -> None:
        [row] = STAGER.stage(Chunk(1, [raw])).rejected.to_pylist()

        assert (row["raw_line"], row["raw_bytes"]) == (text, exact)

    def test_it_is_the_line_as_it_came_also_when_only_the_columnar_reader_refused_it(self) -> None:
        raw = line(', "user_id": "u-1"').replace(b", ", b" ,  ")

        _, [(_, found, reason_code, *_)], *_ = staged([raw])

        assert (found, reason_code) == (raw, "duplicate_key")


class TestUnknownKeys:
    def test_they_are_counted_by_path_over_all_events(self) -> None:
        lines = [
            line(', "x": 1'),
            line(', "x": NaN', properties='{"x": 1}'),
            line(user_traits='{"x": {"y": 1}}'),
            line(),
        ]

        _, _, unknown_keys, _ = staged(lines)

        assert unknown_keys == {"x": 2, "properties.x": 1, "user_traits.x": 1}

    def test_those_of_rejected_lines_are_not_counted(self) -> None:
        lines = [line(', "x": 1', user_id="7"), line(', "x": 1, "user_id": "u"'), line(', "x": 1')]

        _, _, unknown_keys, _ = staged(lines)

        assert unknown_keys == {"x": 1}

    def test_those_of_a_line_brought_into_plain_form_survive_a_neighbour_that_is_refused(self) -> None:
        lines = [line(', "x": 1', properties='{"amount": "3"}'), line(', "user_id": "again"')]

        _, _, unknown_keys, _ = staged(lines)

        assert unknown_keys == {"x": 1}

    def test_a_name_that_is_not_a_text_is_counted_too(self) -> None:
        _, _, unknown_keys, _ = staged([line(r', "\ud800": 1')])

        assert unknown_keys == {"\ud800": 1}


REFUSED_BY_COLUMNS = (
    line(', "user_id": "again"'),
    line_with("event_timestamp", '"0001-01-01T00:00:00+00:01"'),
    line_with("event_timestamp", '"2026-11-03T10:00:00.123456789z"'),
    line_with("properties.attempt_number", "3.0"),
    line_with("properties.amount", "1e-400"),
    line(r', "x": "\ud800"'),
)


class TestAGroupThatTheColumnarReaderRefuses:
    @pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 130, 1_000])
    @pytest.mark.parametrize("odd", REFUSED_BY_COLUMNS)
    def test_every_other_line_of_it_comes_out_in_its_place(self, size: int, odd: bytes) -> None:
        lines = [line(message_id=f'"m-{number}"') for number in range(size)]
        lines[size // 3] = odd

        assert staged(lines) == looked_at_closely(lines)

    def test_all_of_it_may_be_odd(self) -> None:
        lines = list(REFUSED_BY_COLUMNS) * 30

        assert staged(lines) == looked_at_closely(lines)


@pytest.mark.parametrize("length", [1, LONG_STREAK - 1, LONG_STREAK, LONG_STREAK + 1, 3 * LONG_STREAK])
@pytest.mark.parametrize(
    "odd", [line(', "x": 1'), line(', "x"'), b" ", line_with("properties.amount", '"3"'), line(message_id="null")]
)
def test_lines_come_out_in_their_order_however_many_odd_ones_follow_each_other(length: int, odd: bytes) -> None:
    plain = [line(message_id=f'"m-{number}"') for number in range(3)]
    lines = [*plain, *[odd] * length, *plain, odd, *plain, *[odd] * length]

    assert staged(lines) == looked_at_closely(lines)


def test_an_event_nested_to_the_last_level_is_judged_alike_from_any_depth_of_the_stack() -> None:
    def far_down(levels: int, raw: bytes) -> Outcome:
        return staged([raw]) if levels == 0 else far_down(levels - 1, raw)

    for levels in (MOST_LEVELS - 1, MOST_LEVELS, 300, 2 * sys.getrecursionlimit()):
        raw = line(f', "x": {"[" * levels}{"]" * levels}')

        assert far_down(500, raw) == staged([raw]) == looked_at_closely([raw])


# ---- Any lines at all ----

LEVELS = {
    "": tuple(PLAIN.items()),
    "properties": (("amount", "12.5"), ("attempt_number", "3"), ("failure_reason", '"CARD_EXPIRED"')),
    "user_traits": (("email", '"a@b.c"'), ("country", '"BR"'), ("marketing_opt_in", "true"), ("risk_segment", '"low"')),
}
PLACES = [
    *((level, key) for level, pairs in LEVELS.items() for key, _ in (*pairs, *((key, "") for key in UNKNOWN_KEYS))),
    *(("", "properties"), ("", "user_traits")),
]
"""Where a value can be: the level, and the key there."""


def written(levels: Mapping[str, Sequence[tuple[str, str]]]) -> bytes:
    """An event of these keys and values, written as they are."""
    objects = {level: ", ".join(f'"{key}": {value}' for key, value in pairs) for level, pairs in levels.items()}
    nested = ", ".join(f'"{level}": {{{text}}}' for level, text in objects.items() if level)
    return f"{{{objects['']}, {nested}}}".encode().replace("\xe9".encode(), b"\xe9")


def with_value(level: str, key: str, value: str) -> bytes:
    """An ordinary event in which one key has another value, or which has one key more."""
    if (level, key) == ("", "properties") or (level, key) == ("", "user_traits"):
        return written(
            {"": (*LEVELS[""], (key, value)), **{name: LEVELS[name] for name in LEVELS if name not in {"", key}}}
        )
    others = tuple(pair for pair in LEVELS[level] if pair[0] != key)
    return written({**LEVELS, level: (*others, (key, value))})


def test_every_odd_value_in_every_place_is_judged_as_when_looked_at_closely() -> None:
    lines = [with_value(level, key, value) for (level, key), value in itertools.product(PLACES, VALUES)]

    assert staged(lines) == looked_at_closely(lines)
    for start in range(0, len(lines), 10):
        assert staged(lines[start : start + 10]) == looked_at_closely(lines[start : start + 10])


ODD_BYTES = (
    *(
        b"\0",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\r",
        b" ",
        b'"',
        b"\\",
        b",",
        b":",
        b"0",
        b"e",
        b"-",
    ),
    *(b"{", b"}", b"[", b"]", b"\x1f", b"\x85", b"null", b"NaN", b"\\ud800", b"\\u0000", b'"x":1,', b'"user_id":"u",'),
)

_values = st.one_of(
    st.sampled_from(VALUES), st.floats().map(str), st.floats().map('"{}"'.format), st.integers().map(str)
)


@st.composite
def changed_events(draw: st.DrawFn) -> bytes:
    """An ordinary event with up to three changes: values replaced, keys left out, repeated or added."""
    levels = {level: list(pairs) for level, pairs in LEVELS.items()}
    for level, key in draw(st.lists(st.sampled_from(PLACES), max_size=3)):
        pairs = levels[level]
        position = next((position for position, pair in enumerate(pairs) if pair[0] == key), None)
        change = draw(st.sampled_from(("replace", "replace", "replace", "drop", "repeat")))
        if position is not None and change != "repeat":
            del pairs[position]
        if change != "drop":
            pairs.insert(draw(st.integers(0, len(pairs))), (key, draw(_values)))
    return written(levels)


@st.composite
def damaged_events(draw: st.DrawFn) -> bytes:
    """An event with a few of its bytes replaced, left out or put in."""
    raw = draw(st.one_of(st.just(written(LEVELS)), changed_events()))
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        start = draw(st.integers(0, len(raw)))
        end = draw(st.sampled_from((start, start, start + 1, start + 2, len(raw))))
        raw = raw[:start] + draw(st.sampled_from(ODD_BYTES)) + raw[end:]
    return raw


raw_lines = st.one_of(
    changed_events(),
    changed_events(),
    changed_events(),
    damaged_events(),
    st.sampled_from((b"", b" ", b"\r", b"\x0b", b"\0", b"[]", b"null", b"{}", b"{", b"[" * 2_000, b'{"a":' * 2_000)),
)


@examples(600)
@given(lines=st.lists(raw_lines, max_size=12), smallest_half=st.sampled_from((1, 2, 64)), first_line_number=st.just(1))
@example(lines=[line(f', "x": {"[" * 99}{"]" * 99}')] * 2, smallest_half=1, first_line_number=10**12)
def test_any_lines_come_out_together_as_each_does_when_looked_at_closely(
    lines: list[bytes], smallest_half: int, first_line_number: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columnar, "SMALLEST_HALF", smallest_half)

        together = staged(lines, first_line_number)

    events, rejected, _, blank_count = together
    assert together == looked_at_closely(lines, first_line_number)
    assert len(events) + len(rejected) + blank_count == len(lines)


@examples(40)
@given(lines=st.lists(changed_events(), min_size=1, max_size=6), repetitions=st.integers(20, 60))
def test_many_lines_come_out_together_as_each_does_when_looked_at_closely(lines: list[bytes], repetitions: int) -> None:
    many = list(itertools.chain.from_iterable([lines] * repetitions))

    assert staged(many) == looked_at_closely(many)
