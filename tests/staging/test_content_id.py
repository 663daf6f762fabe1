"""The id of an event without a message_id: frozen, the same whatever is declared, and blind to how it was delivered."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from src.marketing_messaging_service.staging.columnar import Stager
from src.marketing_messaging_service.staging.line_parser import LineParser, ParsedLine
from src.marketing_messaging_service.vocabulary import DELIVERY_KEYS, PAYLOAD
from src.marketing_messaging_service.vocabulary.values import RefusedValueError
from tests.effort import examples
from tests.staging.helpers import line
from tests.staging.outcomes import parse_line, staged
from tests.staging.test_any_payload import events_of
from tests.vocabulary.payloads import payloads


def without_id(extra: str = "", **values: str | None) -> bytes:
    """An ordinary event without a message_id."""
    return line(extra, **({"message_id": None} | values))


def id_of(raw: bytes) -> str:
    message_id: str = parse_line(raw).event["message_id"]
    return message_id.removeprefix("content:")


FROZEN = [
    ("04fb57b1608e4e75", without_id()),
    ("d5c98c426ae7bd2f", without_id(event_timestamp='"2026-11-03T12:00:00.123456789+02:00"')),
    ("1c2c85452abb8187", without_id(user_id='"zo\u00eb \U0001f642"')),
    ("3216a3ed78780d86", without_id(user_id=r'"a\"b\\c\n\u2028"')),
    ("e89ccd487be304c9", without_id(properties='{"amount": 12.5, "attempt_number": 3, "failure_reason": "X"}')),
    (
        "cdcada81d4b3a06e",
        without_id(
            properties='{"amount": "1e1", "attempt_number": "3.0"}',
            user_traits='{"email": "a@b.c", "country": "BR", "marketing_opt_in": true, "risk_segment": ""}',
        ),
    ),
    ("439fb34f1422c698", without_id(properties='{"amount": 1e22, "currency": "EUR"}')),
    ("c4a2a46891453f52", without_id(properties='{"amount": 0.1, "order_id": null, "x": [1, {"b": 2, "a": NaN}]}')),
    ("3ffd8117b19a387a", without_id(properties='{"amount": 1e16}')),
    ("6dad8ec6b1acaae3", without_id(properties='{"amount": 123456789012345678901}')),
    (
        "fa0fc7e873a81776",
        without_id(properties='{"amount": 1e-7, "ref": 17}', user_traits='{"plan": "pro", "since": "2026-01-01"}'),
    ),
    ("b41c5b582a2e35d7", without_id(', "x": 1')),
    ("53fe6eb98904017b", without_id(', "x": "1"')),
    ("2171c5337b181af4", without_id(', "": null, "b": true, "a": false')),
    ("cdd01438368296b9", without_id(r', "\ud800": "\udfff"')),
    ("3160b3bccc18ae55", without_id(', "x": 1e400, "y": -0')),
    ("6899b15216a74a37", without_id(', "x": {"sent_at": 1}')),
    ("b9b8c9324df603fc", without_id(properties='{"sent_at": "2026"}')),
    ("04fb57b1608e4e75", without_id(message_id="null", properties="null", user_traits="{}")),
    ("04fb57b1608e4e75", without_id(properties='{"amount": null}')),
]
"""Events with the beginnings of the ids that the first version made of them, in hexadecimal."""

FORMER = [
    ("7e867536462f7372", without_id(', "sent_at": "2026-11-03T10:00:01Z", "retry": 1')),
    ("f4ecd0c7c9f671bb", without_id(', "sentAt": 1, "receivedAt": "x", "retries": [1], "received_at": null, "x": 2')),
    ("f664949225791819", without_id(properties='{"amount": -0.0}')),
    ("cee705e939ae07f9", without_id(', "sent_at": 3', properties='{"amount": "-0", "attempt_number": 0}')),
    ("3abf5e0b8f75fd02", without_id(', "batch": 7, "sent_at": 3')),
]
"""The same of events that have another id today."""


@pytest.mark.parametrize(("beginning", "raw"), FROZEN)
def test_it_is_what_the_first_version_made(beginning: str, raw: bytes) -> None:
    assert id_of(raw).startswith(beginning)
    assert parse_line(raw).former_ids == ()


@pytest.mark.parametrize(("beginning", "raw"), FORMER)
def test_where_it_is_another_the_first_one_is_still_known(beginning: str, raw: bytes) -> None:
    [former_id] = parse_line(raw).former_ids

    assert not id_of(raw).startswith(beginning)
    assert former_id.startswith(f"content:{beginning}")


def test_all_of_them_come_out_of_the_fast_way_too() -> None:
    lines = [raw for _, raw in (*FROZEN, *FORMER)]

    for some in (lines, *([raw] for raw in lines)):
        events, rejected, *_ = staged(some)
        assert rejected == []
        for event, raw in zip(events, some, strict=True):
            parsed = parse_line(raw)
            assert event["message_id"] == parsed.event["message_id"]
            assert tuple(event["former_ids"] or ()) == parsed.former_ids


@pytest.mark.parametrize("key", DELIVERY_KEYS)
@pytest.mark.parametrize("value", ['"2026-11-03T10:00:01Z"', "1", "null", '{"a": [1]}'])
def test_what_describes_the_delivery_is_no_content(key: str, value: str) -> None:
    assert id_of(without_id(f', "{key}": {value}')) == id_of(without_id())
    assert id_of(without_id(f', "x": 1, "{key}": {value}')) == id_of(without_id(', "x": 1'))


@pytest.mark.parametrize("key", ["Sent_At", "sent", "retry_count", "x"])
def test_every_other_key_at_the_top_is_content(key: str) -> None:
    assert len({id_of(without_id(f', "{key}": {value}')) for value in (1, 2)} | {id_of(without_id())}) == 3


@pytest.mark.parametrize("part", ["properties", "user_traits"])
def test_within_properties_and_traits_every_key_is_content(part: str) -> None:
    assert id_of(without_id(**{part: '{"sent_at": 1}'})) != id_of(without_id(**{part: '{"sent_at": 2}'}))


def test_further_keys_of_deliveries_can_be_named_and_the_id_of_before_is_known() -> None:
    raw = without_id(', "batch": 7, "sent_at": 1, "x": 1')
    parser = LineParser(PAYLOAD, {*DELIVERY_KEYS, "batch"})

    parsed = parser.parse(raw)

    assert parsed.event["message_id"] == parse_line(without_id(', "x": 1')).event["message_id"]
    assert parse_line(raw).event["message_id"] in parsed.former_ids
    assert set(parse_line(raw).former_ids) < set(parsed.former_ids)


@pytest.mark.parametrize("amount", ["-0.0", '"-0"', "-0e5", "0", "0.0", '"0"'])
def test_a_zero_is_one_amount_with_or_without_its_sign(amount: str) -> None:
    assert id_of(without_id(properties=f'{{"amount": {amount}}}')) == id_of(without_id(properties='{"amount": 0}'))


def parsed_by(parser: LineParser, raw: bytes) -> ParsedLine | None:
    try:
        return parser.parse(raw)
    except RefusedValueError:
        return None


@st.composite
def two_payloads_and_a_line(draw: st.DrawFn) -> Any:
    one, other = draw(payloads), draw(payloads)
    raw = draw(events_of(draw(st.sampled_from((one, other, PAYLOAD)))))
    return one, other, raw.replace(b'"message_id": "m-1", ', b"")


@examples(200)
@given(two_payloads_and_a_line())
def test_it_is_the_same_whatever_fields_are_declared(drawn: Any) -> None:
    *declared, raw = drawn
    found = [parsed_by(LineParser(payload), raw) for payload in (PAYLOAD, *declared)]
    ids = {(parsed.event["message_id"], parsed.former_ids) for parsed in found if parsed}
    assume(ids)

    assert len(ids) == 1
    for payload, parsed in zip((PAYLOAD, *declared), found, strict=True):
        events, *_ = staged([raw, raw], stager=Stager(payload))
        assert [event["message_id"] for event in events] == ([parsed.event["message_id"]] * 2 if parsed else [])
