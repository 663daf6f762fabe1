"""Events in difficult shapes."""

import itertools
import json
from collections.abc import Mapping

from benchmarks.raw_events import RawEvent, Shape, as_json
from benchmarks.rules_files import ONE_TYPE


def unknown_key(event: RawEvent) -> str:
    """An unknown key."""
    return json.dumps(event | {"app_version": "4.2.1"})


def without_message_id(event: RawEvent) -> str:
    """An old producer, which gives its events no id."""
    return json.dumps({key: value for key, value in event.items() if key != "message_id"})


def amount_as_text(event: RawEvent) -> str:
    """A producer that writes amounts as strings, and on every event."""
    properties = event.get("properties") or {}
    return json.dumps(event | {"properties": properties | {"amount": str(properties.get("amount", 12.5))}})


def nanoseconds(event: RawEvent) -> str:
    """A producer that writes nanoseconds."""
    return json.dumps(event | {"event_timestamp": event["event_timestamp"].replace("Z", "123456Z")})


def key_twice_now_and_then(event: RawEvent) -> str:
    """A key that appears twice on one line in sixteen: the decoder lets it pass, the columnar reader does not."""
    line = json.dumps(event)
    return line[:-1] + ', "user_id": "u-0"}' if event["message_id"][-1] == "0" else line


def bad(event: RawEvent) -> str:
    """A line that is not an event."""
    return json.dumps(event | {"event_type": ""})


NEW_TYPES = {
    "order_created": 8,
    "order_paid": 6,
    "cart_left": 5,
    "price_dropped": 4,
    "back_in_stock": 3,
    "parcel_delivered": 3,
    "trial_started": 3,
    "subscription_started": 1,
    "unsubscribed": 1,
    "resubscribed": 1,
}
"""The types that the example files look at, in percent of all events: the largest of them, about consent and limits,
matches as many events as the shipped rules do, so that words are compared and not numbers of matches."""

REPLACED = {"transfer_created": 20, "payment_succeeded": 30, "link_bank_failed": 5}
"""The types that no rule looks at, in percent of all events."""

_NEW_TYPES = tuple(itertools.chain.from_iterable([name] * share for name, share in NEW_TYPES.items()))


def of_every_rules_file(event: RawEvent) -> str:
    """An event that the shipped rules or one of the example files may look at, with its order."""
    chance = int(event["message_id"][:8], 16)
    place = chance % sum(REPLACED.values())
    if event["event_type"] not in REPLACED or place >= len(_NEW_TYPES):
        return json.dumps(event)
    # Each user has few orders, so that a created one is paid now and then.
    order_id = f"{event['user_id']}-{chance // 100 % 2}"
    properties = (event.get("properties") or {}) | {"order_id": order_id}
    return json.dumps(event | {"event_type": _NEW_TYPES[place], "properties": properties})


def of_one_type(event: RawEvent) -> str:
    """A payment that failed, whatever it was."""
    properties = (event.get("properties") or {}) | {"amount": int(event["message_id"][:4], 16)}
    return json.dumps(event | {"event_type": ONE_TYPE, "properties": properties})


SHAPES: Mapping[str, Shape] = {
    "a plain file": as_json,
    "an unknown key on every line": unknown_key,
    "no message_id on any line": without_message_id,
    "every amount a string": amount_as_text,
    "nanoseconds in every time": nanoseconds,
    "a key twice, one line in 16": key_twice_now_and_then,
    "every line bad": bad,
}
