"""What must be true of values that follow from others, so that a change by hand is noticed."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Connection,
    Select,
    SQLColumnExpression,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    text,
)
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.infrastructure.database import Base
from src.marketing_messaging_service.infrastructure.sql_text import EpochSeconds, Fits, SecondPart, row_told, told
from src.marketing_messaging_service.models import (
    OTHER_KEYS,
    Batch,
    Conflict,
    Event,
    HeldEvent,
    Load,
    RejectedRow,
    Ruleset,
    SendRequest,
    SourceFile,
    Suppression,
    UnknownKey,
)
from src.marketing_messaging_service.vocabulary import PAYLOAD, Invariant, ReasonCode

KEY_PATH_LENGTH = 255
"""The length at which the path of an unknown key is cut."""

CALENDAR = (-62_135_596_800, 253_402_300_799)
"""The first second of year 1 and the last of year 9999; a modification time beyond them is recorded as one of them."""

SIGNATURE_PATTERN = "[0-9]*:[0-9-]*:[0-9-]*:[0-9]*"
"""The signature of a file on a disk: size, time of change in nanoseconds, time of its entry's change, inode."""

OF_A_PART = "part:"
"""How the content hash begins for a file that was partly taken by a version before loads could cover a part."""


def _checks_that_do_not_hold(_connection: Connection) -> Iterator[Select[Any]]:
    # SQLite does not check them in a file that is opened read-only. Those of loads are the ledger's own invariants.
    for table in Base.metadata.sorted_tables:
        if table is Load.__table__:
            continue
        for constraint in table.constraints:
            if isinstance(constraint, CheckConstraint):
                place = told(row_told(table), f": {constraint.name}")
                yield select(place).select_from(table).where(text(f"NOT ({constraint.sqltext})"))


def _files_unlike_their_signature(_connection: Connection) -> Iterator[Select[Any]]:
    signature = SourceFile.file_signature
    # On a server, reading a number from any other signature would be an error.
    on_disk = Fits(signature, SIGNATURE_PATTERN)
    change = case((on_disk, SecondPart(signature)), else_=literal("0"))
    changed_at = cast(change, BigInteger) / 1_000_000_000
    seconds = EpochSeconds(SourceFile.modified_at)
    hexadecimal = and_(func.length(SourceFile.content_hash) == 64, not_(Fits(SourceFile.content_hash, "*[^0-9a-f]*")))
    facts = ("size_bytes ", SourceFile.size_bytes, ", modified_at ", SourceFile.modified_at, ", ", signature)
    yield select(told("source_files.id ", SourceFile.id, ": ", *facts)).where(
        or_(
            SourceFile.path == "",
            not_(or_(hexadecimal, SourceFile.content_hash.startswith(OF_A_PART))),
            and_(
                on_disk,
                or_(
                    not_(signature.startswith(told(SourceFile.size_bytes, ":"))),
                    # A second is rounded here and there.
                    and_(func.abs(changed_at - seconds) > 1, changed_at.between(*CALENDAR)),
                ),
            ),
        )
    )


def _files_not_taken_with_their_load(_connection: Connection) -> Iterator[Select[Any]]:
    first = select(Load.source_file_id, func.min(Load.id).label("id")).group_by(Load.source_file_id).subquery("first")
    yield (
        select(told("source_files.id ", SourceFile.id, ": taken_at ", SourceFile.taken_at, ", loads.id ", Load.id))
        .select_from(SourceFile)
        .join(first, first.c.source_file_id == SourceFile.id)
        .join(Load, Load.id == first.c.id)
        .where(SourceFile.taken_at != Load.loaded_at)
    )


def _events_unlike_their_load(_connection: Connection) -> Iterator[Select[Any]]:
    yield (
        select(told("events.id ", Event.id, " of loads.id ", Load.id, ": created_at ", Event.created_at))
        .select_from(Event)
        .join(Load, Load.id == Event.load_id)
        .where(Event.created_at != Load.loaded_at)
    )
    for column in (Load.first_event_id, Load.last_event_id):
        there = exists().where(Event.id == column, Event.load_id == Load.id)
        yield select(told("loads.id ", Load.id, f": {column.key} ", column, " is no event of it")).where(
            column.is_not(None), not_(there)
        )


def _wrong_lines(_connection: Connection) -> Iterator[Select[Any]]:
    for table in (RejectedRow, Conflict):
        place = told(f"{table.__tablename__} of loads.id ", Load.id, ": line ", table.line_number)
        yield (
            select(place + told(" of ", Load.read_count))
            .select_from(table)
            .join(Load, Load.id == table.load_id)
            .where(not_(table.line_number.between(1, Load.read_count)))
        )
    yield (
        select(
            told("rejected_rows of loads.id ", RejectedRow.load_id, ": line ", RejectedRow.line_number, " conflicts")
        ).join(Conflict, and_(Conflict.load_id == RejectedRow.load_id, Conflict.line_number == RejectedRow.line_number))
    )
    yield _unknown_differences()
    codes = [code.value for code in ReasonCode]
    yield select(told("rejected_rows.id ", RejectedRow.id, ": reason_code ", RejectedRow.reason_code)).where(
        RejectedRow.reason_code.not_in(codes)
    )


def _unknown_differences() -> Select[Any]:
    """The conflicts that differ in something that is not a column of an event, or in nothing."""
    event = (Event.user_id, Event.event_type, Event.event_timestamp)
    names = [*(column.key for column in event), *(field.staged_name for field in PAYLOAD.fields)]
    # The longest first, because one name may be a part of another.
    rest: SQLColumnExpression[str] = Conflict.differing_fields
    for name in sorted(names, key=len, reverse=True):
        rest = func.replace(rest, name, "")
    return select(
        told(
            "conflicts of loads.id ", Conflict.load_id, ": line ", Conflict.line_number, ": ", Conflict.differing_fields
        )
    ).where(or_(Conflict.differing_fields == "", func.trim(rest, ", ") != ""))


def _wrong_unknown_keys(_connection: Connection) -> Iterator[Select[Any]]:
    earlier = aliased(Load, name="earlier")
    is_later = exists().where(earlier.source_file_id == Load.source_file_id, earlier.id < Load.id)
    lines = Load.read_count - Load.blank_count
    facts = (UnknownKey.key_path, ", ", UnknownKey.occurrence_count, " of ", lines, " lines")
    # A name that was cut short, or written as its character numbers, may count two keys of one line.
    has_one_name = and_(
        UnknownKey.key_path != OTHER_KEYS,
        func.length(UnknownKey.key_path) < KEY_PATH_LENGTH,
        not_(UnknownKey.key_path.contains("\\")),
    )
    yield (
        select(told("unknown_keys of loads.id ", Load.id, ": ", *facts))
        .select_from(UnknownKey)
        .join(Load, Load.id == UnknownKey.load_id)
        .where(
            or_(
                UnknownKey.occurrence_count < 1,
                and_(UnknownKey.occurrence_count > lines, has_one_name),
                # Facts about the whole file are recorded with its first load.
                is_later,
            )
        )
    )


def _wrong_reasons(_connection: Connection) -> Iterator[Select[Any]]:
    yield select(told("send_requests.id ", SendRequest.id, ": ", SendRequest.reason)).where(
        SendRequest.reason != literal("rule:") + SendRequest.rule_name
    )


def _not_decided_with_their_load(_connection: Connection) -> Iterator[Select[Any]]:
    for table in (SendRequest, Suppression):
        place = told(
            f"{table.__tablename__}.id ", table.id, " of loads.id ", Load.id, ": decided_at ", table.decided_at
        )
        yield (
            select(place)
            .select_from(table)
            .join(Event, Event.id == table.event_id)
            .join(Load, Load.id == Event.load_id)
            .outerjoin(HeldEvent, HeldEvent.event_id == Event.id)
            # Those that name their run are compared with its batch.
            .where(table.run_id.is_(None), HeldEvent.event_id.is_(None), table.decided_at != Load.decided_at)
        )
    own = Batch.ruleset_id == Ruleset.id
    of_first_use = exists().where(own, or_(Batch.decided_at.is_(None), Batch.decided_at == Ruleset.first_used_at))
    yield select(told("rulesets.id ", Ruleset.id, ": first_used_at ", Ruleset.first_used_at)).where(
        exists().where(own), not_(of_first_use)
    )


DERIVED_INVARIANTS = (
    Invariant(
        "checks_hold",
        "Every CHECK constraint of the tables holds",
        _checks_that_do_not_hold,
    ),
    Invariant(
        "file_as_signed",
        "Every raw file has the size and time of its signature, and was taken when its first load was",
        lambda connection: (
            *_files_unlike_their_signature(connection),
            *_files_not_taken_with_their_load(connection),
        ),
    ),
    Invariant(
        "event_of_the_load",
        "Every event was written when its load was; the first and last event of a load are its own",
        _events_unlike_their_load,
    ),
    Invariant(
        "lines_of_the_load",
        "Every rejected or conflicting line is one of its load, never both, with a known reason or difference",
        _wrong_lines,
    ),
    Invariant(
        "unknown_keys",
        "No unknown key was in more lines than its load has, and only a file's first load records them",
        _wrong_unknown_keys,
    ),
    Invariant(
        "reason_of_the_rule",
        "The reason of every send names its rule",
        _wrong_reasons,
    ),
    Invariant(
        "decided_in_time",
        "Every decision was made when its load was decided, and every ruleset first used by one of its batches",
        _not_decided_with_their_load,
    ),
)
