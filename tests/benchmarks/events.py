"""Raw files to measure with: believable lines from a seed, and the shapes that are meant to hurt."""

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

RawEvent = dict[str, Any]
Shape = Callable[[RawEvent], str | None]
"""Makes a line of an event, or none."""

FIRST_DAY = datetime(2026, 11, 1, tzinfo=UTC)
EVENT_TYPES = ("app_opened", "signup_completed", "link_bank_success", "payment_succeeded", "payment_failed")
SHARES = (25, 15, 15, 20, 25)
REASONS = ("INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS", "CARD_DECLINED", "CARD_EXPIRED")
COUNTRIES = ("DE", "GB", "US", "IN", "FR", "NL")
BAD_LINE_IN = 200
APP_VERSION_IN = 50


def raw_events(count: int, *, seed: int, users: int, first_day: int, days: int = 1) -> Iterator[RawEvent]:
    """Yield the events of some days in their order of arrival, one in a hundred up to three hours late.

    The same arguments give the same events; another seed gives other message ids.
    """
    chance = random.Random(seed)  # noqa: S311
    start = FIRST_DAY + timedelta(days=first_day)
    for number, event_type in enumerate(chance.choices(EVENT_TYPES, SHARES, k=count)):
        happened = start + timedelta(days=days * number / count)
        if chance.random() < 0.01:
            happened -= timedelta(seconds=chance.randrange(3 * 3600))
        event = {
            "message_id": f"evt-{chance.getrandbits(64):016x}",
            "user_id": f"u-{chance.randrange(users)}",
            "event_type": event_type,
            "event_timestamp": happened.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        yield event | _details(event, chance)


def _details(event: RawEvent, chance: random.Random) -> RawEvent:
    """Give what an event of its type carries: payments have properties, most events know their user."""
    details: RawEvent = {}
    event_type = event["event_type"]
    if event_type == "payment_failed":
        details["properties"] = _payment(chance) | {"failure_reason": chance.choice(REASONS)}
    elif event_type == "payment_succeeded":
        details["properties"] = _payment(chance)
    if event_type != "app_opened":
        details["user_traits"] = {
            "email": f"{event['user_id']}@example.com",
            "country": chance.choice(COUNTRIES),
            "marketing_opt_in": chance.choice((True, True, False, None)),
            "risk_segment": chance.choice(("low", "low", "medium", "high")),
        }
    if _chosen(event, APP_VERSION_IN):
        details["app_version"] = "4.2.1"
    return details


def _payment(chance: random.Random) -> RawEvent:
    return {"amount": chance.randrange(500, 50_000) / 100, "attempt_number": chance.choice((1, 1, 1, 2, 2, 3, 4))}


def _chosen(event: RawEvent, one_in: int) -> bool:
    """Whether an event is one of a scattered few, the same ones whenever it is asked."""
    return zlib.crc32(event["message_id"].encode()) % one_in == 0


def _line(event: RawEvent) -> str:
    return json.dumps(event, separators=(",", ":"))


def plain(event: RawEvent) -> str:
    """The ordinary file: one line in two hundred is bad."""
    return bad(event) if _chosen(event, BAD_LINE_IN) else _line(event)


def clean(event: RawEvent) -> str | None:
    """The ordinary file without its bad lines."""
    return None if _chosen(event, BAD_LINE_IN) else _line(event)


def bad(event: RawEvent) -> str:
    """A line that is no event, for one of six reasons."""
    reasons: tuple[Callable[[], str], ...] = (
        lambda: _line(event)[:-9],
        lambda: _line(event | {"event_timestamp": event["event_timestamp"].removesuffix("Z")}),
        lambda: _line({key: value for key, value in event.items() if key != "user_id"}),
        lambda: _line(event | {"properties": {"amount": "twelve"}}),
        lambda: _line(event | {"user_traits": {"marketing_opt_in": "yes"}}),
        lambda: _line(event | {"event_type": ""}),
    )
    return reasons[zlib.adler32(event["message_id"].encode()) % len(reasons)]()


def unknown_key(event: RawEvent) -> str:
    """A key that nobody told us of."""
    return _line(event | {"app_version": "4.2.1"})


def without_message_id(event: RawEvent) -> str:
    """An old producer, which gives its events no id."""
    return _line({key: value for key, value in event.items() if key != "message_id"})


def amount_as_text(event: RawEvent) -> str:
    """A producer that writes amounts as strings, and on every event."""
    properties = event.get("properties") or {}
    return _line(event | {"properties": properties | {"amount": str(properties.get("amount", 12.5))}})


def nanoseconds(event: RawEvent) -> str:
    """A producer whose clock shows nanoseconds."""
    return _line(event | {"event_timestamp": event["event_timestamp"].replace("Z", "123456Z")})


def key_twice_now_and_then(event: RawEvent) -> str:
    """A key that stands twice on one line in a hundred: the decoder lets it pass, the columnar reader does not."""
    line = _line(event)
    return line[:-1] + ',"user_id":"u-0"}' if _chosen(event, 100) else line


def write(path: Path, events: Iterator[RawEvent], shape: Shape, *, extra: str = "") -> int:
    """Write a raw file, compressed if its name says so, and return how many lines have been made of the events.

    `extra` stands after the last line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with gzip.open(path, "wt", compresslevel=6) if path.suffix == ".gz" else path.open("w") as file:
        for event in events:
            line = shape(event)
            if line is not None:
                file.write(line + "\n")
                count += 1
        file.write(extra)
    return count
