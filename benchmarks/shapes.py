"""Events in shapes that are meant to hurt."""

import json
from collections.abc import Mapping

from benchmarks.raw_events import RawEvent, Shape, as_json


def unknown_key(event: RawEvent) -> str:
    """A key that nobody told us of."""
    return json.dumps(event | {"app_version": "4.2.1"})


def without_message_id(event: RawEvent) -> str:
    """An old producer, which gives its events no id."""
    return json.dumps({key: value for key, value in event.items() if key != "message_id"})


def amount_as_text(event: RawEvent) -> str:
    """A producer that writes amounts as strings, and on every event."""
    properties = event.get("properties") or {}
    return json.dumps(event | {"properties": properties | {"amount": str(properties.get("amount", 12.5))}})


def nanoseconds(event: RawEvent) -> str:
    """A producer whose clock shows nanoseconds."""
    return json.dumps(event | {"event_timestamp": event["event_timestamp"].replace("Z", "123456Z")})


def key_twice_now_and_then(event: RawEvent) -> str:
    """A key that stands twice on one line in sixteen: the decoder lets it pass, the columnar reader does not."""
    line = json.dumps(event)
    return line[:-1] + ', "user_id": "u-0"}' if event["message_id"][-1] == "0" else line


def bad(event: RawEvent) -> str:
    """A line that is no event."""
    return json.dumps(event | {"event_type": ""})


SHAPES: Mapping[str, Shape] = {
    "a plain file": as_json,
    "an unknown key on every line": unknown_key,
    "no message_id on any line": without_message_id,
    "every amount a string": amount_as_text,
    "nanoseconds in every time": nanoseconds,
    "a key twice, one line in 16": key_twice_now_and_then,
    "every line bad": bad,
}
