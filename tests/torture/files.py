"""Whole raw files as no producer should write them: other forms than lines, packed, with something done to them."""

import gzip
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from src.marketing_messaging_service.staging.zstd_library import zstd

Event = dict[str, Any]

LAYOUTS: Sequence[Callable[[list[Event]], str]] = (
    lambda events: "\n".join(map(json.dumps, events)),
    json.dumps,
    lambda events: json.dumps(events, indent=1),
    lambda events: "[\n" + ",\n".join(map(json.dumps, events)) + "\n]\n",
    lambda events: "\n".join(json.dumps([event]) for event in events),
    lambda events: "\n".join(json.dumps(event, indent=2) for event in events),
    lambda events: "".join(map(json.dumps, events)),
    lambda events: "\r".join(map(json.dumps, events)),
    lambda events: ",\r\n".join(map(json.dumps, events)),
    lambda events: "".join(f"\x1e{json.dumps(event)}\n" for event in events),
    lambda events: json.dumps({"batch": events, "sent_at": "2026-11-03T10:00:00Z"}),
    lambda events: json.dumps({"batch": events}, indent=1),
)
"""How events are laid out in a file."""

ENCODINGS = ("utf-8",) * 20 + ("utf-8-sig", "utf-16", "utf-16-be", "utf-32")

PACKERS: Sequence[Callable[[bytes], bytes]] = (gzip.compress, zstd.compress)

SIGNS = (*(bytes([sign]) for sign in b'[]{},\n"\\\x1e'), b"\r\n", b"\0" * 9, b"\xef\xbb\xbf", b"null", b"x\n")

DECOY = "nobody"
"""The user of the events that are nested in other events, and do not count."""


def odd_file(chance: Random) -> bytes:
    """Return the content of a file of a few events, each with an event of DECOY within it."""
    events = [_event(number) for number in range(chance.choice((0, 1, 2, 3, 9)))]
    content = chance.choice(LAYOUTS)(events).encode(chance.choice(ENCODINGS))
    content = _changed(content, chance, chance.choice((0, 0, 1, 2)))
    for _ in range(chance.choice((0, 0, 0, 1, 2, 3))):
        content = chance.choice(PACKERS)(content)
        # What is damaged within what is packed can come out as any text; that it breaks off cannot.
        content = content[: chance.choice((len(content),) * 4 + (chance.randrange(len(content)),))]
    return content


def _event(number: int) -> Event:
    event = {"event_type": "payment_failed", "event_timestamp": "2026-11-03T10:00:00Z"}
    return {
        "message_id": f"m-{number}",
        "user_id": f"user-{number}",
        **event,
        "properties": {"amount": 12.5, "note": 'a "quoted" [word], {or} two'},
        "context": [{"user_id": DECOY, **event}, []],
    }


def _changed(content: bytes, chance: Random, times: int) -> bytes:
    for _ in range(times):
        place = chance.randrange(len(content) + 1)
        match chance.randrange(4):
            case 0:
                content = content[:place]
            case 1:
                content = content[:place] + content[place + chance.randrange(1, 20) :]
            case 2:
                content = content[:place] + chance.choice(SIGNS) + content[place:]
            case _:
                content = content[place:] + content[:place]
    return content
