"""For every reason code, what it advises leads to the events, and to the messages that they earn."""

import gzip
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from src.marketing_messaging_service.staging import lines
from src.marketing_messaging_service.staging.sources.file import parse_sources
from src.marketing_messaging_service.staging.zstd_library import zstd
from src.marketing_messaging_service.vocabulary import ReasonCode
from tests.pipeline import Pipeline
from tests.self_check.databases import rule
from tests.vocabulary.test_adding_a_field import MENDED_VALUES

RULES = {"rules": [rule("welcome", "signup")]}

SOURCES = """
sources:
  - {files: "*.segment.jsonl", mapping: segment}
  - {files: "*.csv", format: csv}
  - {files: "*.parquet", format: parquet}
  - {files: "*.jsonl"}
"""


def line(user: str, **changed: str | None) -> bytes:
    """A sign-up of a user, a key of which may be given as JSON text, or as None to leave it out."""
    keys = {
        "message_id": f'"of {user}"',
        "user_id": f'"{user}"',
        "event_type": '"signup"',
        "event_timestamp": '"2026-11-23T09:00:00Z"',
    }
    pairs = [f'"{key}": {value}' for key, value in (keys | changed).items() if value is not None]
    return f"{{{', '.join(pairs)}}}".encode()


def printed(*texts: bytes) -> bytes:
    """Objects as an array over several lines."""
    return json.dumps([json.loads(text) for text in texts], indent=1).encode()


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("events.jsonl", content)
    return buffer.getvalue()


def segment(user: str, **changed: str) -> bytes:
    """A sign-up of a user in the words of Segment, whose keys of its own may be given."""
    keys = {"type": "track", "event": "signup", "messageId": f"of {user}", "timestamp": "2026-11-23T09:00:00Z"}
    return json.dumps(keys | changed).encode()


def table(
    *users: str, header: str = "message_id,user_id,event_type,event_timestamp,city", city: str = "Paris"
) -> bytes:
    """Sign-ups of users as CSV."""
    rows = [f"of {user},{user},signup,2026-11-23T09:00:00Z,{city}" for user in users]
    return "\n".join([header, *rows, ""]).encode()


def parquet(*texts: bytes) -> bytes:
    """Objects as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([json.loads(text) for text in texts]), buffer)
    return buffer.getvalue()


def packed(content: bytes, times: int) -> bytes:
    return content if times == 0 else gzip.compress(packed(content, times - 1))


@dataclass(frozen=True)
class Trouble:
    """A file as it came, and as it is once somebody has done what the reason code says."""

    content: bytes
    mended: Sequence[bytes]
    """One for each way to do it."""
    alone: Sequence[bytes] = ()
    """The line that was wrong, mended and by itself, where the code is one of a line."""
    ending: str = ".jsonl"
    """How the names of the files end."""


@cache
def troubles(place: str) -> dict[ReasonCode, Trouble]:
    """A file for every reason code; Ana's event is always right, and Eve's is the one that there is trouble with."""
    ana, eve = f"ana {place}", f"eve {place}"
    right, owed = line(ana), line(eve)
    plain = right + b"\n" + owed + b"\n"

    def of_a_file(content: bytes, *mended: bytes) -> Trouble:
        return Trouble(content, mended or (plain,))

    def of_a_line(wrong: bytes, *mended: bytes) -> Trouble:
        alone = [each + b"\n" for each in mended or (owed,)]
        return Trouble(right + b"\n" + wrong + b"\n", [right + b"\n" + each for each in alone], alone)

    def of_a_table(content: bytes, mended: bytes) -> Trouble:
        return Trouble(content, (mended,), ending=".csv")

    def with_properties(text: str) -> bytes:
        return line(eve, properties=f"{{{text}}}")

    return {
        ReasonCode.CORRUPT_GZIP: of_a_file(gzip.compress(plain)[:-12], gzip.compress(plain), plain),
        ReasonCode.CORRUPT_ZSTD: of_a_file(zstd.compress(plain)[:-6], zstd.compress(plain), plain),
        ReasonCode.BROKEN_OFF: of_a_file(printed(right, owed)[:-20], printed(right, owed)),
        ReasonCode.ASTRAY: of_a_file(printed(right, owed) + b"\nThe end", printed(right, owed)),
        ReasonCode.PACKED_TOO_OFTEN: of_a_file(packed(plain, 3), *(packed(plain, times) for times in range(3))),
        ReasonCode.UNKNOWN_PACKING: of_a_file(zipped(plain), plain, gzip.compress(plain), zstd.compress(plain)),
        ReasonCode.UTF_16: of_a_file(plain.decode().encode("utf-16")),
        ReasonCode.UTF_32: of_a_file(plain.decode().encode("utf-32")),
        ReasonCode.NOT_TEXT: of_a_file(b"Obj\1" + bytes(range(256)) + plain),
        ReasonCode.NOT_JSON: of_a_file(f"<?xml version='1.0'?><Error>No access to {place}</Error>".encode()),
        ReasonCode.LINE_TOO_LONG: of_a_line(owed + b" " * LONGEST_LINE + right, owed + b"\n" + right, owed),
        ReasonCode.INVALID_UTF8: of_a_line(line(eve, name='"Ève"').decode().encode("latin-1"), line(eve, name='"Ève"')),
        ReasonCode.NUL_BYTES: of_a_line(owed.replace(b'"signup"', b'\0\0"signup"')),
        ReasonCode.SEVERAL_OBJECTS: of_a_line(owed + right, owed + b"\n" + right),
        ReasonCode.INVALID_JSON: of_a_line(owed[:-8]),
        ReasonCode.NESTED_TOO_DEEP: of_a_line(line(eve, more="[" * 200 + "]" * 200)),
        ReasonCode.NOT_AN_OBJECT: of_a_line(b"[" + owed + b"]"),
        ReasonCode.DUPLICATE_KEY: of_a_line(owed[:-1] + b', "user_id": "kim"}'),
        ReasonCode.MISSING_FIELD: of_a_line(line(eve, user_id=None)),
        ReasonCode.WRONG_TYPE: of_a_line(line(eve, user_traits='{"marketing_opt_in": "yes"}')),
        ReasonCode.EMPTY_TEXT: of_a_line(line(eve, message_id='""'), owed, line(eve, message_id=None)),
        ReasonCode.TEXT_TOO_LONG: of_a_line(with_properties(f'"currency": "{"x" * 9}"')),
        ReasonCode.INVALID_UNICODE: of_a_line(line(eve, message_id=rf'"of {eve}\ud83d"')),
        ReasonCode.NUL_CHARACTER: of_a_line(line(eve, message_id=rf'"of {eve}\u0000"')),
        ReasonCode.INVALID_TIMESTAMP: of_a_line(line(eve, event_timestamp='"2026-11-31T09:00:00Z"')),
        ReasonCode.NAIVE_TIMESTAMP: of_a_line(line(eve, event_timestamp='"2026-11-23T09:00:00"')),
        ReasonCode.TIMESTAMP_OUT_OF_RANGE: of_a_line(line(eve, event_timestamp='"9999-12-31T23:00:00-12:00"')),
        ReasonCode.INVALID_NUMBER: of_a_line(with_properties('"amount": "12,5"'), with_properties('"amount": "12.5"')),
        ReasonCode.NUMBER_OUT_OF_RANGE: of_a_line(with_properties('"amount": NaN'), with_properties('"amount": null')),
        ReasonCode.NOT_A_WHOLE_NUMBER: of_a_line(with_properties('"attempt_number": 1.5')),
        ReasonCode.NEGATIVE_NUMBER: of_a_line(with_properties('"attempt_number": -1')),
        ReasonCode.CORRUPT_PARQUET: Trouble(
            parquet(right, owed)[:-20], (parquet(right, owed), plain), ending=".parquet"
        ),
        ReasonCode.INVALID_HEADER: of_a_table(
            table(ana, eve, header="message_id,user_id,event_type,event_timestamp,"), table(ana, eve)
        ),
        ReasonCode.INVALID_ROW: of_a_table(
            table(ana) + table(eve, city="Nice, France").partition(b"\n")[2],
            table(ana) + table(eve, city='"Nice, France"').partition(b"\n")[2],
        ),
        ReasonCode.ANONYMOUS_USER: Trouble(
            segment(ana, userId=ana) + b"\n" + segment(eve, anonymousId="a1") + b"\n",
            (segment(ana, userId=ana) + b"\n" + segment(eve, userId=eve, anonymousId="a1"),),
            (segment(eve, userId=eve, anonymousId="a1"),),
            ending=".segment.jsonl",
        ),
        ReasonCode.MESSAGE_ID_COLLISION: of_a_line(
            line(eve, message_id=f'"of {ana}"'), owed, line(eve, message_id=None), line(eve, message_id="null")
        ),
    }


LONGEST_LINE = 1_000


def ways(trouble: Trouble) -> Iterator[dict[str, bytes | None]]:
    """What somebody may do to the folder of a file, by name; None removes one."""
    name, other_name = f"events{trouble.ending}", f"again{trouble.ending}"
    for mended in trouble.mended:
        yield {name: mended}
        yield {other_name: mended}
        yield {other_name: mended, name: None}
    for alone in trouble.alone:
        yield {other_name: alone}


PLACES = {f"{code} {number}": code for code, trouble in troubles("").items() for number, _ in enumerate(ways(trouble))}
"""Folders in landing, one for each way to mend each trouble."""

State = dict[str, list[tuple[str, str]]]


def state_of(pipeline: Pipeline) -> State:
    """The users of events and messages, with the kind of row, and the codes of rejected lines, by the folder."""
    rows: State = {place: [] for place in PLACES}
    for table in ("events", "send_requests"):
        for (user,) in pipeline.rows(f"SELECT user_id FROM {table}"):
            name, _, place = str(user).partition(" ")
            rows[place].append((table, name))
    for path, code in pipeline.rows(
        "SELECT path, reason_code FROM rejected_rows JOIN loads ON loads.id = load_id "
        "JOIN source_files ON source_files.id = source_file_id"
    ):
        rows[str(path).partition("/")[0]].append(("rejected_rows", str(code)))
    return rows


@dataclass(frozen=True)
class Tried:
    """What the tables hold before and after every advice was followed, and what another run then takes."""

    before: State
    after: State
    taken_later: Sequence[object]


@pytest.fixture(scope="module")
def tried(migrated_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    pipeline = Pipeline(tmp_path_factory.mktemp("advice"), migrated_template)
    pipeline.sources = parse_sources(SOURCES, "sources.yaml")
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(lines, "MAX_LINE_BYTES", LONGEST_LINE)
        # A line's length is checked where it exceeds what is read at once.
        patches.setattr(lines, "READ_BYTES", 64)
        for place, code in PLACES.items():
            (pipeline.landing / place).mkdir()
            trouble = troubles(place)[code]
            (pipeline.landing / place / f"events{trouble.ending}").write_bytes(trouble.content)
        pipeline.do(pipeline.options(), RULES)
        before = state_of(pipeline)
        for place, code in PLACES.items():
            way = list(ways(troubles(place)[code]))[int(place.split()[1])]
            for name, content in way.items():
                path = pipeline.landing / place / name
                path.unlink() if content is None else path.write_bytes(content)
        pipeline.do(pipeline.options(), RULES)
        return Tried(before, state_of(pipeline), pipeline.do(pipeline.options(), RULES))


def test_every_reason_code_is_followed_here_or_where_a_field_is_added() -> None:
    followed = [*troubles(""), *MENDED_VALUES]
    assert sorted(followed) == sorted(ReasonCode)


@pytest.mark.parametrize("place", PLACES)
def test_what_it_advises_leads_to_the_events_and_their_messages(place: str, tried: Tried) -> None:
    assert [row for row in tried.before[place] if row[0] == "rejected_rows"] == [("rejected_rows", PLACES[place])]
    assert ("events", "eve") not in tried.before[place]

    assert sorted(tried.after[place]) == [
        ("events", "ana"),
        ("events", "eve"),
        ("rejected_rows", PLACES[place]),
        ("send_requests", "ana"),
        ("send_requests", "eve"),
    ]


def test_nothing_is_left_to_be_taken_then(tried: Tried) -> None:
    assert tried.taken_later == []
