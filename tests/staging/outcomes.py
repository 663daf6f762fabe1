"""What becomes of lines when they are staged together, and what the close look says of each of them."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from src.marketing_messaging_service.staging.columnar import Stager, stager_for
from src.marketing_messaging_service.staging.line_parser import LineParser, ParsedLine
from src.marketing_messaging_service.staging.lines import Chunk
from src.marketing_messaging_service.staging.text_form import bare
from src.marketing_messaging_service.vocabulary import PAYLOAD, Payload
from src.marketing_messaging_service.vocabulary.values import RefusedValueError
from tests.staging.helpers import Row, raw_line

STAGER = stager_for(frozenset())
"""For producers whose deliveries have no keys of their own."""

parse_line = LineParser(PAYLOAD).parse
"""Looks closely at a line that holds an event of the payload that the models declare."""

Outcome = tuple[list[Row], list[tuple[int, bytes, str, str | None, str]], Counter[str], int]
"""Events, rejected lines, unknown keys, number of blank lines."""


def staged(lines: Sequence[bytes], first_line_number: int = 1, stager: Stager = STAGER) -> Outcome:
    """What becomes of lines when they are staged together."""
    chunk = stager.stage(Chunk(first_line_number, list(lines)))
    rejected = [
        (row["line_number"], raw_line(row), row["reason_code"], row["field_name"], row["explanation"])
        for row in chunk.rejected.to_pylist()
    ]
    return chunk.events.to_pylist(), rejected, chunk.unknown_keys, chunk.blank_count


def looked_at_closely(lines: Sequence[bytes], first_line_number: int = 1, payload: Payload = PAYLOAD) -> Outcome:
    """What the line parser says of each line that is not blank."""
    parser = LineParser(payload)
    events, rejected, unknown_keys, blank_count = [], [], Counter[str](), 0
    for number, raw in enumerate(lines, first_line_number):
        if not raw.strip() or not bare(raw):
            blank_count += 1
            continue
        try:
            parsed = parser.parse(raw)
        except RefusedValueError as error:
            rejected.append((number, raw, error.reason_code.value, error.field_name, error.explanation))
        else:
            events.append(event_row(number, parsed, payload))
            unknown_keys.update(parsed.unknown_keys)
    return events, rejected, unknown_keys, blank_count


def event_row(number: int, parsed: ParsedLine, payload: Payload) -> Row:
    """The row of a table of staged events that a parsed line is."""
    row: Row = {"line_number": number}
    row |= {name: parsed.event[name] for name in ("message_id", "user_id", "event_type")}
    row["former_ids"] = list(parsed.former_ids) or None
    row["left_out"] = [each._asdict() for each in parsed.left_out] or None
    row["event_timestamp"] = datetime.fromisoformat(parsed.event["event_timestamp"])
    for part in payload.parts:
        row |= {field.staged_name: parsed.event[part.key].get(field.name) for field in part.fields}
    return row
