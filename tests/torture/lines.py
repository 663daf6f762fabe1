"""Raw lines as no producer should write them: real ones with something done to them."""

import random
from collections.abc import Callable, Iterator, Sequence

from tests.torture.scene import sample_files

Line = bytes
Mutation = Callable[[bytearray, random.Random], None]

TOKENS: Sequence[bytes] = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\udfff\\ud800",
    b"\0",
    b"\r",
    b"\x1b[2J",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    "\u2028".encode(),
    "ﷺ".encode(),
    b"null",
    b"true",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0.0",
    b"1e-400",
    b"9007199254740993",
    b"9223372036854775808",
    b"0" * 400,
    b"9" * 5_000,
    b"{" * 200,
    b"[" * 2_000,
    b'{"a":' * 40,
    b'"user_id":"twice",',
    b'"event_timestamp":"2026-02-30T10:00:00Z"',
    b'"2026-11-03T10:00:00.123456789+14:59"',
    b'"0000-01-01T00:00:00Z"',
    b'"9999-12-31T23:59:60Z"',
    b"'); DROP TABLE events;--",
    b"../../../../etc/passwd",
    b"=cmd|' /C calc'!A0",
    b"%s%n{0}",
    b" " * 300,
)
"""What is put into lines."""

VALUES: Sequence[bytes] = (b"null", b"true", b"[]", b"{}", b'""', b"-1", b"1.5", b"1e5", b'"3"', b'"3.0"', b'{"a":[1]}')
"""What takes the place of the value of a key."""


def _flip(line: bytearray, chance: random.Random) -> None:
    line[chance.randrange(len(line))] ^= 1 << chance.randrange(8)


def _insert(line: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(line) + 1)
    line[place:place] = chance.choice(TOKENS)


def _cut_out(line: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(line))
    del line[place : place + chance.randrange(1, 30)]


def _break_off(line: bytearray, chance: random.Random) -> None:
    del line[chance.randrange(len(line)) :]


def _double(line: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(line))
    line[place:place] = line[place : place + chance.randrange(1, 60)]


def _change_value(line: bytearray, chance: random.Random) -> None:
    colons = [place for place, byte in enumerate(line) if byte == ord(":")]
    if colons:
        place = chance.choice(colons) + 1
        end = min((found for found in (line.find(b",", place), line.find(b"}", place)) if found > 0), default=len(line))
        line[place:end] = chance.choice((*VALUES, *TOKENS))


def _rename_key(line: bytearray, chance: random.Random) -> None:
    place = line.find(b'"', chance.randrange(len(line))) + 1
    line[place : place + 4] = chance.randbytes(4) if chance.random() < 0.3 else b"KEY%d" % chance.randrange(10_000)


MUTATIONS: Sequence[Mutation] = (
    _flip,
    _insert,
    _cut_out,
    _break_off,
    _double,
    _change_value,
    _change_value,
    _rename_key,
)


def hostile_lines(count: int, chance: random.Random) -> Iterator[Line]:
    """Yield lines without a line end within: sample lines, most of them changed in one place or in several."""
    originals = [line for name, content in sample_files() if name.endswith(".jsonl") for line in content.splitlines()]
    for _ in range(count):
        line = bytearray(chance.choice(originals))
        for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
            if line:
                chance.choice(MUTATIONS)(line, chance)
        yield bytes(line).replace(b"\n", b" ")
