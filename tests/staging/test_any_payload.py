"""Whatever fields are declared, a line comes out of the fast way as it does of the close look."""

from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.staging import columnar
from src.marketing_messaging_service.staging.columnar import Stager
from src.marketing_messaging_service.vocabulary import Payload
from tests.effort import examples
from tests.staging.helpers import line, line_with
from tests.staging.odd_values import UNKNOWN_KEYS, VALUES
from tests.staging.outcomes import looked_at_closely, staged
from tests.vocabulary.payloads import EVERY_KIND, payloads

DATES_AND_MONEY = (
    *('"2026-11-23"', '"2026-02-29"', '"0001-01-01"', '"0000-01-01"', '"9999-12-31"', '"2026-11-2"', '"20261123"'),
    *("19.99", '"19.99"', "19.990", "19.999", "1e2", '"1E2"', '"+3"', "-0", "-0.00", '".5"', '"5."', '" 3"', "0e99999"),
    *("9999999999999999.99", "10000000000000000", "1e16", "1e15", "-1e16", "99999999999999999.99", "1e-2", "1e-3"),
    *(
        "999999999999999999",
        "1000000000000000000",
        "0.000000000000000001",
        "0.1",
        "1.5e0",
        '"0x1"',
        '"-9e1"',
        "-3",
        "-4",
    ),
    *("1" + "0" * 17, "1" + "0" * 18, "0." + "0" * 17 + "1", "0." + "0" * 40, "-9223372036854775808", "1e0", "0e-9"),
)


@cache
def stager_of(payload: Payload) -> Stager:
    return Stager(payload)


def with_values(parts: dict[str, dict[str, str]], more: str = "") -> bytes:
    """An ordinary event with these values, as JSON text, in the objects of its payload."""
    written = {
        key: "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"
        for key, values in parts.items()
    }
    return line(more, **written).replace("\xe9".encode(), b"\xe9")


_values = st.one_of(
    st.sampled_from((*VALUES, *DATES_AND_MONEY)),
    st.floats().map(str),
    st.floats().map('"{}"'.format),
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.decimals(-1000, 1000, places=2).map('"{}"'.format),
    st.dates().map('"{}"'.format),
    st.datetimes(timezones=st.just(UTC)).map(lambda instant: f'"{instant.isoformat()}"'),
)


@st.composite
def events_of(draw: st.DrawFn, payload: Payload) -> bytes:
    """An event with values of any kind for any of its fields, and sometimes a key that is unknown or appears twice."""
    parts: dict[str, dict[str, str]] = {}
    for part in payload.parts:
        names = [*(field.name for field in part.fields), *UNKNOWN_KEYS[:3]]
        chosen = draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
        parts[part.key] = {name: draw(_values) for name in chosen}
    more = draw(st.sampled_from(("", "", "", ', "x": 1', ', "user_id": "again"', ', "properties": null')))
    return with_values(parts, more)


@st.composite
def payloads_and_lines(draw: st.DrawFn) -> tuple[Payload, list[bytes]]:
    payload = draw(payloads)
    return payload, draw(st.lists(events_of(payload), min_size=1, max_size=8))


@examples(300)
@given(payloads_and_lines(), st.sampled_from((1, 2, 64)))
def test_any_lines_of_any_payload_come_out_together_as_each_does_when_looked_at_closely(
    drawn: tuple[Payload, list[bytes]], smallest_half: int
) -> None:
    payload, lines = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columnar, "SMALLEST_HALF", smallest_half)

        assert staged(lines, stager=Stager(payload)) == looked_at_closely(lines, payload=payload)


@pytest.mark.parametrize("field", EVERY_KIND.fields, ids=str)
def test_every_odd_value_of_every_kind_is_judged_as_when_looked_at_closely(field) -> None:
    lines = [line_with(field.path, value).replace("\xe9".encode(), b"\xe9") for value in (*VALUES, *DATES_AND_MONEY)]

    for some in (lines, *([each] for each in lines)):
        assert staged(some, stager=stager_of(EVERY_KIND)) == looked_at_closely(some, payload=EVERY_KIND)


def test_a_value_of_each_kind_is_taken_exactly() -> None:
    values = {
        "words": ('"zoë 🙂"', "zoë 🙂"),
        "count": ("-9223372036854775808", -(2**63)),
        "wide": ('"3.0"', 3),
        "score": ("-1.5", -1.5),
        "said": ("false", False),
        "seen_at": ('"2026-11-03T12:00:00.1234567+02:00"', datetime(2026, 11, 3, 10, 0, 0, 123456, UTC)),
        "born_date": ('"2024-02-29"', date(2024, 2, 29)),
        "price": ("9999999999999999.99", Decimal("9999999999999999.99")),
        "fee": ('"1e2"', Decimal(100)),
    }
    raw = with_values({part.key: {name: text for name, (text, _) in values.items()} for part in EVERY_KIND.parts})

    [event], rejected, *_ = staged([raw], stager=stager_of(EVERY_KIND))

    assert rejected == []
    for field in EVERY_KIND.fields:
        assert event[field.staged_name] == values.get(field.name, (None, None))[1]


@pytest.mark.parametrize(
    ("path", "text", "reason_code"),
    [
        ("properties.born_date", '"2026-02-29"', "invalid_date"),
        ("properties.born_date", '"2026-11-03T00:00:00Z"', "invalid_date"),
        ("properties.born_date", "20261103", "wrong_type"),
        ("properties.price", "19.999", "too_many_decimals"),
        ("properties.price", '"0.001"', "too_many_decimals"),
        ("properties.price", "1e-41", "too_many_decimals"),
        ("properties.price", '"-1.5E-41"', "too_many_decimals"),
        ("properties.price", "12945634487908637e-679", "too_many_decimals"),
        ("properties.price", "1e16", "number_out_of_range"),
        ("properties.price", '"NaN"', "invalid_number"),
        ("properties.price", "true", "wrong_type"),
        ("properties.fee", "-1", "negative_number"),
        ("properties.wide", "0", "number_too_small"),
        ("properties.score", "-2.5", "number_too_small"),
        ("properties.score", '"1"', "wrong_type"),
        ("properties.count", "-9223372036854775809", "number_out_of_range"),
        ("properties.count", '"1"', "wrong_type"),
        ("user_traits.seen_at", '"2026-11-03T00:00:00"', "naive_timestamp"),
        ("user_traits.seen_at", '"0001-01-01T00:00:00+01:00"', "timestamp_out_of_range"),
        ("user_traits.seen_at", "5", "wrong_type"),
        ("user_traits.words", '"123456789"', "text_too_long"),
    ],
)
def test_a_value_that_its_kind_does_not_take_is_rejected_by_name(path: str, text: str, reason_code: str) -> None:
    _, [(_, _, found, field_name, explanation)], *_ = staged([line_with(path, text)], stager=stager_of(EVERY_KIND))

    assert (found, field_name) == (reason_code, path)
    assert explanation.isascii()


def test_no_field_at_all_may_be_declared() -> None:
    nothing = Payload(())

    assert staged([line(), line(', "x": 1')], stager=Stager(nothing)) == looked_at_closely(
        [line(), line(', "x": 1')], payload=nothing
    )
