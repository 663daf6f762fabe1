"""A line in a producer's words: brought into a plain one, it comes out as it does when it is looked at closely."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.staging.columnar import Stager
from src.marketing_messaging_service.staging.line_mapping import LineMapping, MappedLine
from src.marketing_messaging_service.staging.lines import Chunk
from src.marketing_messaging_service.staging.mapped import MappedLines
from src.marketing_messaging_service.staging.nearly_plain import InDoubtError
from src.marketing_messaging_service.staging.sources.mapping import SourceMapping
from src.marketing_messaging_service.staging.sources.shipped import SEGMENT
from src.marketing_messaging_service.vocabulary import PAYLOAD, Payload
from tests.effort import examples
from tests.staging.mappings import mappings
from tests.staging.odd_values import UNKNOWN_KEYS, VALUES
from tests.vocabulary.payloads import EVERY_KIND, payloads


def become(lines: list[bytes], mapping: SourceMapping, payload: Payload) -> object:
    """What becomes of lines."""
    stager = Stager(payload)
    found = MappedLines(mapping, payload).sort_lines(Chunk(1, lines))
    dropped_count = found.dropped_count
    chunk = stager.into_tables(found)
    rejected = chunk.rejected.to_pylist()
    return chunk.events.to_pylist(), rejected, chunk.unknown_keys, chunk.blank_count, dropped_count


def assert_alike(lines: list[bytes], mapping: SourceMapping, payload: Payload) -> None:
    def in_doubt(*_: object) -> MappedLine:
        raise InDoubtError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LineMapping, "plain", in_doubt)
        closely = become(lines, mapping, payload)

    assert become(lines, mapping, payload) == closely


_USUAL = {
    "message_id": '"m1"',
    "messageId": '"m2"',
    "user_id": '"ana"',
    "userId": "7",
    "anonymousId": '"a"',
    "event_type": '"signup"',
    "event": '"page"',
    "type": '"identify"',
    "when": '"03.11.2026 11:00"',
    "total": "3",
    "event_timestamp": '"2026-11-03T10:00:00Z"',
    "timestamp": '"2026-11-03T10:00:00+01:00"',
    "x": "1795392000",
}
_values = st.sampled_from((*VALUES, '"ana"', '"signup"', '"Sign up"', "1795392000", '"2026-11-03T10:00:00"', "12.5"))


@st.composite
def objects(draw: st.DrawFn, names: list[str], depth: int = 0) -> str:
    """An object with some of these keys, as JSON text; now and then one of them twice, and with white space."""
    may_stand_twice = not draw(st.integers(0, 9))
    keys = st.sampled_from([*names, *UNKNOWN_KEYS[:4], "x"])
    chosen = draw(st.lists(keys, max_size=5, unique=not may_stand_twice))
    inner = [objects(names, depth + 1) if depth < 1 and key in ("x", "traits") else _values for key in chosen]
    pairs = [(key, draw(values)) for key, values in zip(chosen, inner, strict=True)]
    colon, comma = draw(st.sampled_from(((":", ","), (":", ","), (": ", ", "), (" :", ",\t"))))
    return "{" + comma.join(f'"{key}"{colon}{value}' for key, value in pairs) + "}"


@st.composite
def lines_of(draw: st.DrawFn, payload: Payload) -> bytes:
    fields = [field.name for field in payload.fields]
    pairs = {key: draw(_values) if draw(st.integers(0, 9)) == 0 else value for key, value in _USUAL.items()}
    for key in draw(st.lists(st.sampled_from(list(pairs)), max_size=6)):
        pairs.pop(key, None)
    for key in ("properties", "user_traits", "traits", "context", "ids"):
        if draw(st.booleans()):
            names = [*fields, "traits"] if key == "context" else ["user"] if key == "ids" else fields
            pairs[key] = draw(st.one_of(objects(names), objects(names), _values))
    colon, comma = draw(st.sampled_from(((":", ","), (":", ","), (": ", ", "))))
    written = [f'"{key}"{colon}{value}' for key, value in pairs.items()]
    written += draw(st.sampled_from(([], [], [], ['"userId"' + colon + '"eve"'], ['"é' + '"' + colon + "1"])))
    before, after = draw(st.sampled_from((("", ""), ("", ""), ("", " "), ("\x1e", ","))))
    text = before + "{" + comma.join(written) + "}" + after
    return text.encode("utf-8", "surrogatepass").replace("\xe9f".encode(), b"\xe9")


@st.composite
def payloads_mappings_and_lines(draw: st.DrawFn) -> tuple[Payload, SourceMapping, list[bytes]]:
    payload = draw(st.one_of(payloads, st.sampled_from((EVERY_KIND, PAYLOAD))))
    return payload, draw(mappings(payload)), draw(st.lists(lines_of(payload), min_size=1, max_size=5))


@examples(400)
@given(payloads_mappings_and_lines())
def test_any_lines_of_any_payload_and_mapping_come_out_as_when_they_are_looked_at_closely(
    drawn: tuple[Payload, SourceMapping, list[bytes]],
) -> None:
    payload, mapping, lines = drawn

    assert_alike(lines, mapping, payload)


def call(**values: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Signed Up",
        "userId": "ana",
        "messageId": "m1",
        "timestamp": "2026-11-03T10:00:00Z",
        "context": {"traits": {"country": "FR", "plan": "pro"}, "ip": "::1"},
        "properties": {"amount": 3, "note": 'a "b"'},
        **values,
    }


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_an_ordinary_call_of_segment_is_plain_without_a_close_look(separators: tuple[str, str]) -> None:
    line = json.dumps(call(), separators=separators).encode()

    found = LineMapping(SEGMENT, PAYLOAD).plain(line)

    assert json.loads(found.text)["user_traits"] == {"country": "FR"}
    assert found.unknown_keys == ("properties.note", "user_traits.plan")


@pytest.mark.parametrize("twice", ['"userId":"eve"', '"properties":{}', '"type":"track"'])
def test_a_key_that_stands_twice_is_in_doubt(twice: str) -> None:
    line = json.dumps(call(), separators=(",", ":"))[:-1] + f",{twice}}}"

    with pytest.raises(InDoubtError):
        LineMapping(SEGMENT, PAYLOAD).plain(line.encode())
