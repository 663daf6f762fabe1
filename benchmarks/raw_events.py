"""Makes raw files to measure with: believable events from a seed, with the trouble that real files have."""

import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

FIRST_DAY = datetime(2026, 11, 1, tzinfo=UTC)

EVENTS_A_USER = 5
USER_SKEW = 1.0
"""Sigma of the lognormal weights of users: the busiest tenth of them makes about two fifths of the events."""

EVENT_TYPES = {
    "app_opened": 0.10,
    "signup_completed": 0.08,
    "link_bank_success": 0.07,
    "link_bank_failed": 0.05,
    "transfer_created": 0.20,
    "payment_succeeded": 0.30,
    "payment_failed": 0.20,
}
WITHOUT_PROPERTIES = ("app_opened", "signup_completed", "link_bank_success")
FAILED = ("payment_failed", "link_bank_failed")
REASONS = ("INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS", "CARD_DECLINED", "CARD_EXPIRED", "BANK_UNAVAILABLE")
COUNTRIES = ("DE", "GB", "US", "IN", "FR", "NL", "BR", "SE")
SEGMENTS = ("low", "low", "low", "medium", "high")

TRAITS_SHARE = 0.81
UNKNOWN_KEY_SHARE = 0.06
"""The share of these among the properties."""
LATE_SHARE = 0.01
DUPLICATE_SHARE = 0.01
CONFLICT_SHARE = 0.1
"""The share among the duplicates that say something different."""
MALFORMED_SHARE = 0.005

BLOCK = 50_000
"""How many events are made at once."""


RawEvent = dict[str, Any]
Shape = Callable[[RawEvent], str]
"""Makes a line of an event."""


def as_json(event: RawEvent) -> str:
    """Write an event as its producer does."""
    return json.dumps(event)


@dataclass(frozen=True, slots=True)
class RawFile:
    """A raw file, alone in its folder as in its own landing."""

    path: Path
    line_count: int
    event_count: int
    """Lines that are events nobody has delivered before."""


def write_raw_file(
    path: Path,
    line_count: int,
    *,
    seed: int,
    day: int = 0,
    user_count: int | None = None,
    malformed: bool = True,
    shape: Shape = as_json,
) -> RawFile:
    """Write a file of JSON lines, one day's events in their order of arrival.

    The same arguments give the same bytes; other seeds give other message ids. Without `malformed`, the lines that
    cannot be read are left out and the others stay as they are.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written = events = 0
    with path.open("w", encoding="ascii") as file:
        users = user_count or line_count // EVENTS_A_USER
        for line, is_event, is_malformed in _lines(line_count, seed, day, users, shape):
            if malformed or not is_malformed:
                file.write(line)
                file.write("\n")
                written += 1
                events += is_event
    return RawFile(path, written, events)


def cut_into_files(raw_file: RawFile, folder: Path, file_count: int, *, seed: int) -> None:
    """Write the lines of a raw file into a number of files, of random sizes, oldest first.

    None has more than twice what it would have if all were equal; the last one has the rest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    most = 2 * raw_file.line_count // file_count - 1
    sizes = chance.integers(1, most, file_count, endpoint=True)
    with raw_file.path.open("rb") as lines:
        for number, size in enumerate(sizes.tolist()):
            content = b"".join(itertools.islice(lines, size if number < file_count - 1 else None))
            path = folder / f"{number:06}.jsonl"
            path.write_bytes(content)
            age = FIRST_DAY.timestamp() + number
            os.utime(path, (age, age))


def _lines(line_count: int, seed: int, day: int, user_count: int, shape: Shape) -> Iterator[tuple[str, bool, bool]]:
    """Yield lines, with whether each is a new event and whether it is malformed."""
    chance = np.random.default_rng([seed, day])
    weights = np.cumsum(chance.lognormal(sigma=USER_SKEW, size=max(user_count, 1)))
    for first in range(0, line_count, BLOCK):
        size = min(BLOCK, line_count - first)
        start = FIRST_DAY + timedelta(days=day + first / line_count)
        length = timedelta(days=size / line_count)
        events = _events(size, chance, weights, start, length)
        # The first delivery is in the same block, so that most files have both deliveries.
        again = chance.random(size) < DUPLICATE_SHARE
        earlier = (chance.random(size) * np.arange(size)).astype(int)
        bad = chance.random(size) < MALFORMED_SHARE
        differs = chance.random(size) < CONFLICT_SHARE
        sources = np.arange(size)
        for index in range(size):
            event = events[index]
            if bad[index]:
                yield _malformed(event, index), False, True
                continue
            if again[index] and not (bad[earlier[index]] or sources[earlier[index]] != earlier[index]):
                source = sources[index] = int(earlier[index])
                if source != index:
                    event = events[source]
                    if differs[index]:
                        event = event | {"event_timestamp": event["event_timestamp"][:-4] + "999Z"}
            yield shape(event), bool(sources[index] == index), False


def _events(
    size: int, chance: np.random.Generator, weights: np.ndarray[Any, Any], start: datetime, length: timedelta
) -> list[RawEvent]:
    """Make events in columns, then row by row what JSON needs."""
    ids = [f"{high:016x}{low:016x}" for high, low in chance.integers(0, 2**63, (size, 2)).tolist()]
    users = np.searchsorted(weights, chance.random(size) * weights[-1]).tolist()
    types = chance.choice(list(EVENT_TYPES), size, p=list(EVENT_TYPES.values())).tolist()
    seconds = np.sort(chance.random(size)) * length.total_seconds()
    seconds -= np.where(chance.random(size) < LATE_SHARE, chance.random(size) * 3 * 3600, 0)
    milliseconds = (seconds * 1000).astype("int64").astype("timedelta64[ms]")
    times = np.datetime_as_string(np.datetime64(start.replace(tzinfo=None), "ms") + milliseconds).tolist()
    amounts = np.round(chance.lognormal(4, 1, size), 2).tolist()
    attempts = chance.choice([1, 1, 1, 1, 2, 2, 3, 4], size).tolist()
    reasons = chance.choice(REASONS, size).tolist()
    unknown = (chance.random(size) < UNKNOWN_KEY_SHARE).tolist()
    traits = (chance.random(size) < TRAITS_SHARE).tolist()
    opted_in = chance.choice([True, True, False], size).tolist()
    countries = chance.choice(COUNTRIES, size).tolist()
    segments = chance.choice(SEGMENTS, size).tolist()
    events = []
    for index in range(size):
        event: RawEvent = {
            "message_id": ids[index],
            "user_id": f"user-{users[index]:07d}",
            "event_type": types[index],
            "event_timestamp": f"{times[index]}Z",
        }
        if types[index] not in WITHOUT_PROPERTIES:
            properties = {"amount": amounts[index], "attempt_number": attempts[index]}
            if types[index] in FAILED:
                properties["failure_reason"] = reasons[index]
            if unknown[index]:
                properties["coupon"] = "EUR"
            event["properties"] = properties
        if traits[index]:
            event["user_traits"] = {
                "email": f"user-{users[index]:07d}@example.com",
                "country": countries[index],
                "marketing_opt_in": opted_in[index],
                "risk_segment": segments[index],
            }
        events.append(event)
    return events


def _malformed(event: RawEvent, index: int) -> str:
    """Return a line that is no event, for one of five reasons."""
    match index % 5:
        case 0:
            return json.dumps(event)[:-9]
        case 1:
            return json.dumps(event | {"event_timestamp": event["event_timestamp"].removesuffix("Z")})
        case 2:
            return json.dumps({key: value for key, value in event.items() if key != "user_id"})
        case 3:
            return json.dumps(event | {"properties": {"amount": "twelve"}})
        case _:
            return json.dumps(event | {"event_type": ""})
