"""Write six hours of believable raw events into data/samples/, one file for each hour of arrival.

    python data/generate_samples.py [folder]

A crowd of ordinary users makes the traffic. Between them walk a few named users: each one's story, told in
`tell_the_stories`, shows one thing that the pipeline must get right. `spoil_some_lines` adds the lines that
cannot become events, each with a fault of its own.

Running it again gives the same files; nothing here reads the clock. One file is gzip: what it holds is
always the same, its compressed bytes may differ between builds of zlib. A test compares what it holds.

The totals depend neither on the order in which the files are taken nor on how many runs take them. That is
why a sign-up lies in the same file as every link_bank_success that earns a nudge.
"""

import argparse
import gzip
import hashlib
import io
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SEED = 20261102
HOURS = [datetime(2026, 11, 2, 22, tzinfo=UTC) + timedelta(hours=n) for n in range(6)]  # midnight lies inside
GZIPPED_HOUR = HOURS[4]

COUNTRIES = ["DE", "DE", "FR", "NL", "US", "GB"]
REASONS = ["INSUFFICIENT_FUNDS", "CARD_DECLINED", "CARD_EXPIRED", "BANK_TIMEOUT"]
VISITS = ["look", "link", "fail", "fail", "pay", "pay", "pay", "pay"]  # what a regular comes for, by weight

Json = dict[str, Any]


def at(moment: str, offset: str = "+00:00") -> datetime:
    """A moment of November 2026, written as day, T and time: at("02T22:05:12")."""
    return datetime.fromisoformat(f"2026-11-{moment}{offset}")


def event(
    user_id: str, event_type: str, when: datetime, properties: Json | None = None, traits: Json | None = None
) -> Json:
    """A raw event as the producer builds it; its message_id follows from who, what and when."""
    timestamp = when.isoformat(timespec="milliseconds" if when.microsecond else "seconds")
    digest = hashlib.blake2b(f"{user_id} {event_type} {timestamp}".encode(), digest_size=4).hexdigest()
    return {
        "message_id": f"evt-{digest}",
        "user_id": user_id,
        "event_type": event_type,
        "event_timestamp": timestamp.replace("+00:00", "Z"),
        "properties": properties,
        "user_traits": traits,
    }


def paid(amount: float | str, attempt: int = 1, reason: str | None = None) -> Json:
    """The properties of a payment, which failed if there is a reason."""
    properties: Json = {"amount": amount, "attempt_number": attempt}
    return properties if reason is None else properties | {"failure_reason": reason}


def traits_of(email: str, country: str, opted_in: bool | None = True, risk: str = "low") -> Json:
    """The traits of a user, all four of them."""
    return {"email": email, "country": country, "marketing_opt_in": opted_in, "risk_segment": risk}


def to_line(raw: Json) -> str:
    """Compact JSON, keys in the order above; a key of the event that has no value is left out."""
    return json.dumps({key: value for key, value in raw.items() if value is not None}, separators=(",", ":"))


@dataclass
class Landing:
    """What has arrived: lines with their time of arrival, which decides the file that holds them."""

    arrivals: list[tuple[datetime, str]] = field(default_factory=list)
    moments: dict[tuple[str, datetime], Json] = field(default_factory=dict)

    def deliver(self, raw: Json, arrives: datetime | None = None) -> None:
        """An event arrives: as it happens, unless told otherwise. No user does two things at one instant."""
        happened = datetime.fromisoformat(raw["event_timestamp"])
        if self.moments.setdefault((raw["user_id"], happened), raw)["message_id"] != raw["message_id"]:
            raise ValueError(f"{raw['user_id']} has two events at {happened}")
        self.arrivals.append((arrives or happened, to_line(raw)))

    def write(self, folder: Path) -> None:
        """One file an hour, its lines in order of arrival."""
        folder.mkdir(parents=True, exist_ok=True)
        self.arrivals.sort()
        for hour in HOURS:
            lines = [line for when, line in self.arrivals if hour <= when < hour + timedelta(hours=1)]
            content = "".join(line + "\n" for line in lines).encode()
            path = folder / f"events-{hour:%Y-%m-%dT%H}.jsonl"
            if hour == GZIPPED_HOUR:
                path, content = path.with_suffix(".jsonl.gz"), gzipped(content)
            path.write_bytes(content)
            print(f"{path}: {len(lines)} lines")


def gzipped(content: bytes) -> bytes:
    """Gzip without a time or a file name in its header."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def tell_the_stories(landing: Landing) -> None:
    """The named users, one after the other."""
    tell = landing.deliver

    # ada is welcomed at her first sign-up and nudged at her first bank; the second of each is suppressed,
    # once_ever. Her first sign-up is delivered twice: in hour 22, and again in hour 00 beside her bank.
    ada = traits_of("ada@example.com", "GB")
    signed_up = event("ada", "signup_completed", at("02T22:05:12"), traits=ada)
    tell(signed_up)
    tell(signed_up, arrives=at("03T00:04:48"))
    tell(event("ada", "link_bank_success", at("03T00:06:31"), traits=ada))
    tell(event("ada", "signup_completed", at("03T01:15:44"), traits=ada))
    tell(event("ada", "link_bank_success", at("03T01:40:03"), traits=ada))

    # ben does not want marketing: no message at all.
    ben = traits_of("ben@example.org", "DE", opted_in=False)
    tell(event("ben", "signup_completed", at("02T22:11:30"), traits=ben))
    tell(event("ben", "payment_succeeded", at("02T23:20:08"), paid(18.4)))

    # cleo lacks funds twice on one UTC day (a send, then a suppression) and once on the next (a send).
    cleo = traits_of("cleo@example.com", "FR", risk="medium")
    for moment, attempt in [("02T22:20:41", 1), ("02T23:41:02", 2), ("03T00:32:19", 1)]:
        tell(event("cleo", "payment_failed", at(moment), paid(64.9, attempt, "INSUFFICIENT_FUNDS"), cleo))

    # dan's card is declined four times: an alert to our own people at the third and at the fourth.
    dan = traits_of("dan@example.com", "US", opted_in=False, risk="high")
    for moment, attempt in [("02T22:31:05", 1), ("02T23:02:47", 2), ("03T00:47:10", 3), ("03T02:14:55", 4)]:
        tell(event("dan", "payment_failed", at(moment), paid(420.0, attempt, "CARD_DECLINED"), dan))

    # eve signed up a day before these hours, and it only arrives now. She is welcomed, but her bank comes
    # 24 hours and 50 minutes after that: no nudge.
    eve = traits_of("eve@example.com", "NL")
    tell(event("eve", "signup_completed", at("01T21:50:00"), traits=eve), arrives=at("02T22:00:09"))
    tell(event("eve", "link_bank_success", at("02T22:40:00"), traits=eve))

    # finn fails at 22:48, but the news arrives with hour 01, after midnight. It counts for the day on which
    # it happened, so his failure of the new day is sent as well.
    finn = traits_of("finn@example.com", "DE", opted_in=None)
    late = event("finn", "payment_failed", at("02T22:48:36"), paid(35.5, 1, "INSUFFICIENT_FUNDS"), finn)
    tell(late, arrives=at("03T01:22:10"))
    tell(event("finn", "payment_failed", at("03T01:05:51"), paid(12.0, 1, "INSUFFICIENT_FUNDS"), finn))

    # gia's sign-up is delivered twice, letter for letter: one event, one welcome, no suppression.
    gia = event("gia", "signup_completed", at("02T23:12:27"), traits=traits_of("gia@example.com", "FR"))
    tell(gia)
    tell(gia, arrives=at("03T00:12:30"))

    # hal's payment comes again under the same message_id with another amount: the first one stands.
    hal = event("hal", "payment_succeeded", at("02T23:27:18"), paid(59.9))
    tell(hal)
    tell(hal | {"properties": paid(95.9)}, arrives=at("03T01:27:20"))

    # iris lives in India, and her producer writes amounts as text. Her two failures fall on one day there but
    # on two UTC days: both are sent.
    iris = traits_of("iris@example.com", "IN", risk="medium")
    for moment in ["03T05:15:27", "03T05:50:33"]:
        rupees = paid("1499.50", 1, "INSUFFICIENT_FUNDS") | {"currency": "INR"}
        tell(event("iris", "payment_failed", at(moment, "+05:30"), rupees, iris))

    # kai's old app knows no message_id.
    tell(event("kai", "app_opened", at("03T03:08:15")) | {"message_id": None, "app_version": "1.9.0"})


def spoil_some_lines(landing: Landing) -> None:
    """Eight lines that cannot become events, all from tom's broken client, and two blank ones."""
    tom = traits_of("tom@example.org", "GB")

    def spoil(moment: str, cut: int | None = None, **changes: object) -> None:
        raw = event("tom", "payment_succeeded", at(moment), paid(12.5), tom) | changes
        landing.arrivals.append((at(moment), to_line(raw)[:cut]))

    spoil("02T22:26:40", cut=140)  # the writer died in the middle of the line
    spoil("02T22:52:11", event_timestamp="2026-11-02T22:52:11")  # no offset
    spoil("02T23:17:33", user_id=None)
    spoil("02T23:49:58", properties=paid("twelve"))
    spoil("03T00:21:06", properties={"amount": 12.5, "attempt_number": 2.5})
    spoil("03T01:33:29", user_traits=tom | {"marketing_opt_in": "yes"})
    spoil("03T02:38:44", properties=[{"amount": 12.5}])
    spoil("03T03:29:12", user_traits=tom | {"country": "United Kingdom"})
    landing.arrivals += [(at("02T23:33:00"), ""), (at("03T02:20:00"), "")]


def visit(rng: random.Random, number: int, purpose: str, start: datetime) -> list[Json]:
    """An ordinary user opens the app and does one ordinary thing, all within ten minutes."""
    country, opted_in = COUNTRIES[number % len(COUNTRIES)], number % 4 != 0
    traits = traits_of(f"user-{number}@example.org", country, opted_in)
    amount = rng.randrange(500, 15000) / 100
    steps: list[tuple[str, Json | None, Json | None]] = [("app_opened", None, None)]
    if purpose == "join":
        steps.append(("signup_completed", None, traits))
    if purpose == "link" or (purpose == "join" and number % 3 == 0):
        steps.append(("link_bank_success", None, None))
    if purpose == "fail":  # and try again, with success
        steps.append(("payment_failed", paid(amount, 1, rng.choice(REASONS)), traits))
    if purpose in ("fail", "pay"):
        steps.append(("payment_succeeded", paid(amount, 2 if purpose == "fail" else 1), None))
    events = []
    for event_type, properties, known in steps:
        if properties is not None and country == "US":
            properties["currency"] = "USD"
        events.append(event(f"u-{number}", event_type, start, properties, known))
        start += timedelta(milliseconds=rng.randrange(15_000, 150_000))
    if number % 5 == 0:
        events[0]["app_version"] = "4.2.1"
    return events


def fill_in_the_crowd(landing: Landing, rng: random.Random) -> None:
    """Regulars signed up long ago: no nudge for their banks. Two newcomers an hour sign up, once."""
    for n, hour in enumerate(HOURS):
        regulars = rng.sample(range(1001, 1021), rng.randrange(9, 12))
        visits = [(number, rng.choice(VISITS)) for number in regulars]
        for number, purpose in [*visits, (2001 + 2 * n, "join"), (2002 + 2 * n, "join")]:
            start = hour + timedelta(milliseconds=rng.randrange(50 * 60_000))
            for raw in visit(rng, number, purpose, start):
                landing.deliver(raw)


def main() -> None:
    """Write the samples into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Write the sample events.")
    default = Path(__file__).resolve().parent / "samples"
    parser.add_argument("folder", nargs="?", type=Path, default=default, help="default: data/samples")
    folder: Path = parser.parse_args().folder
    landing = Landing()
    tell_the_stories(landing)
    spoil_some_lines(landing)
    fill_in_the_crowd(landing, random.Random(SEED))
    landing.write(folder)


if __name__ == "__main__":
    main()
