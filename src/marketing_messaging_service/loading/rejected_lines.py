"""Lines of rejected_rows that are not events yet: chooses and reads them for a replay, and marks those it takes."""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, bindparam, case, func, insert, select, update
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.earlier_runs import KeptLine, KeptLines
from src.marketing_messaging_service.errors import ParameterError
from src.marketing_messaging_service.infrastructure.database import read_transaction, write_transaction
from src.marketing_messaging_service.infrastructure.written_rows import refuse_lost_rows
from src.marketing_messaging_service.loading.ledger import MOST_PARAMETERS
from src.marketing_messaging_service.loading.results import RejectedLine, RejectedLines
from src.marketing_messaging_service.models import Event, Load, RejectedRow, ReplayCount, ReplayOutcome, SourceFile
from src.marketing_messaging_service.run_options import EditedLine, ReplayChoice
from src.marketing_messaging_service.staging.results import LandingFile
from src.marketing_messaging_service.vocabulary import ReasonCode

LINES_AT_ONCE = 2_000
"""How many rejected lines are read at once."""

BYTES_AT_ONCE = 8 << 20
"""How much text they have together, give or take a line."""

NO_SIGNATURE = "replayed"
"""Stands in for the signature that the file system gives other files."""


@dataclass(slots=True)
class _File:
    """A file with rejected lines that are to be read again."""

    source_file_id: int
    path: str
    modified_at: datetime
    line_counts: Counter[ReasonCode] = field(default_factory=Counter)
    size_bytes: int = 0
    has_header: bool = False
    """Whether it is a CSV whose rows are kept with its header."""
    load_ids: list[int] = field(default_factory=list)
    """The loads that rejected them, in order."""
    row_ids: list[int] = field(default_factory=list)
    """The lines' ids, if they are asked for one by one."""


@dataclass(slots=True)
class _Chosen:
    """What a choice covers."""

    files: dict[int, _File] = field(default_factory=dict)
    in_part_counts: Counter[ReasonCode] = field(default_factory=Counter)
    taken_before_counts: Counter[ReasonCode] = field(default_factory=Counter)

    def add(self, row: Row[Any], line_count: int, size_bytes: int) -> _File | None:
        """Count lines of one load and reason, and return their file; None if too little of them is kept."""
        reason_code = ReasonCode.of(row.reason_code)
        if reason_code.is_kept_in_part:
            self.in_part_counts[reason_code] += line_count
            return None
        file = self.files.setdefault(row.source_file_id, _File(row.source_file_id, row.path, row.modified_at))
        file.line_counts[reason_code] += line_count
        file.size_bytes += size_bytes
        file.has_header |= row.header_count > 0
        if row.load_id not in file.load_ids[-1:]:
            file.load_ids.append(row.load_id)
        return file


_home = aliased(SourceFile, name="home")
"""The file that was delivered, also for lines that a replay has rejected for another reason."""

_OF_FILE = (
    RejectedRow.load_id,
    RejectedRow.reason_code,
    _home.id.label("source_file_id"),
    _home.path,
    _home.modified_at,
)


def choose_rejected_lines(engine: Engine, choice: ReplayChoice) -> RejectedLines:
    """Return which rejected lines a replay is to read again.

    Raises ParameterError when one of those that were edited is not there, or cannot be replayed.
    """
    with read_transaction(engine) as connection:
        chosen = _chosen(connection, choice)
    files = chosen.files.values()
    return RejectedLines(
        tuple(_landing_file(engine, each, choice) for each in files), chosen.in_part_counts, chosen.taken_before_counts
    )


def count_kept_in_part(connection: Connection, choice: ReplayChoice) -> int:
    """Return how many lines of a choice are kept only in part, so that they can be neither exported nor replayed."""
    return _chosen(connection, choice).in_part_counts.total()


def exported_lines(connection: Connection, choice: ReplayChoice) -> Iterator[RejectedLine]:
    """Yield the rejected lines of a choice as they are exported, file by file."""
    for file in _chosen(connection, choice).files.values():
        for row in _rows(connection, file, choice):
            yield RejectedLine(
                row_id=row.id,
                path=file.path,
                line_number=row.line_number,
                reason_code=row.reason_code,
                field_name=row.field_name,
                explanation=row.explanation,
                rejected_at=row.loaded_at,
                header_line=row.header_line,
                raw_line=row.raw_line,
            )


def mark_replayed(connection: Connection, load_id: int, row_ids: Sequence[int]) -> None:
    """Record the load that took rejected lines. Raises LostRowsError when not all of them were waiting for one."""
    marked = (
        update(RejectedRow)
        .where(RejectedRow.id == bindparam("row_id"), RejectedRow.replayed_load_id.is_(None))
        .values(replayed_load_id=load_id)
    )
    connection.execute(marked, [{"row_id": row_id} for row_id in row_ids])
    standing = select(func.count()).where(RejectedRow.replayed_load_id == load_id)
    counts = (len(row_ids), connection.execute(standing).scalar_one())
    refuse_lost_rows(connection, {RejectedRow.__tablename__: counts})


def note_replay(
    engine: Engine,
    run_id: int,
    chosen: RejectedLines,
    still_rejected: Mapping[tuple[ReasonCode, ReasonCode], int],
    without_source: Mapping[ReasonCode, int],
) -> None:
    """Record the fates of the lines that a replay was to read again."""
    counts: Counter[tuple[str, str]] = Counter()
    for outcome, by_reason in (
        (ReplayOutcome.KEPT_IN_PART, chosen.in_part_counts),
        (ReplayOutcome.TAKEN_BEFORE, chosen.taken_before_counts),
        (ReplayOutcome.NO_SOURCE, without_source),
    ):
        counts.update({(code.value, outcome.value): count for code, count in by_reason.items()})
    counts.update({(code.value, today.value): count for (code, today), count in still_rejected.items()})
    read: Counter[str] = Counter()
    for file in chosen.files:
        read.update({code.value: count for code, count in file.kept.line_counts.items()} if file.kept else {})
    with write_transaction(engine) as connection:
        for reason, count in connection.execute(_taken_by_reason(run_id)):
            counts[reason, ReplayOutcome.TAKEN.value] = count
        for reason, count in read.items():
            before = counts[reason, ReplayOutcome.TAKEN_BEFORE.value]
            # Reasons whose lines are read have none that are kept only in part.
            known = sum(each for (other, _), each in counts.items() if other == reason) - before
            counts[reason, ReplayOutcome.FAILED.value] = count - known
        rows = [
            {"run_id": run_id, "reason_code": code, "outcome": outcome, "line_count": count}
            for (code, outcome), count in sorted(counts.items())
            if count
        ]
        # An empty list would insert one row of defaults.
        if rows:
            standing = connection.execute(insert(ReplayCount), rows).rowcount
            refuse_lost_rows(connection, {ReplayCount.__tablename__: (len(rows), standing)})


def _taken_by_reason(run_id: int) -> Any:
    return (
        select(RejectedRow.reason_code, func.count())
        .join(Load, Load.id == RejectedRow.replayed_load_id)
        .where(Load.run_id == run_id)
        .group_by(RejectedRow.reason_code)
    )


def _chosen(connection: Connection, choice: ReplayChoice) -> _Chosen:
    if choice.edited is not None:
        return _edited(connection, choice.edited, choice.edited_path)
    chosen = _Chosen()
    lines = (
        _of_files(
            *_OF_FILE,
            func.count().label("line_count"),
            func.count(RejectedRow.header_line).label("header_count"),
            func.sum(func.length(RejectedRow.raw_line)).label("size_bytes"),
        )
        .where(*_conditions(choice))
        .group_by(RejectedRow.load_id, RejectedRow.reason_code, _home.id)
        .order_by(RejectedRow.load_id, RejectedRow.reason_code)
    )
    for row in connection.execute(lines):
        if not choice.path or _fits(row.path, choice.path):
            chosen.add(row, row.line_count, row.size_bytes)
    return chosen


def _edited(connection: Connection, edited: Mapping[int, EditedLine], edited_path: str) -> _Chosen:
    chosen = _Chosen()
    wanted = sorted(edited)
    is_row = case((RejectedRow.header_line.is_not(None), 1), else_=0)
    found: set[int] = set()
    for start in range(0, len(wanted), MOST_PARAMETERS):
        some = wanted[start : start + MOST_PARAMETERS]
        lines = (
            _of_files(*_OF_FILE, RejectedRow.id, RejectedRow.replayed_load_id, is_row.label("header_count"))
            .where(RejectedRow.id.in_(some))
            .order_by(RejectedRow.id)
        )
        for row in connection.execute(lines):
            found.add(row.id)
            if row.replayed_load_id is not None:
                chosen.taken_before_counts[ReasonCode.of(row.reason_code)] += 1
            elif (file := chosen.add(row, 1, len(edited[row.id].line))) is None:
                raise ParameterError(
                    f"{edited_path}, line {edited[row.id].number}: the rejected line {row.id} is kept only in part "
                    f"({row.reason_code}) and cannot be replayed; remove it from the edited file, and deliver its raw "
                    "file again. Nothing was taken."
                )
            else:
                file.row_ids.append(row.id)
    missing = [row_id for row_id in wanted if row_id not in found]
    if missing:
        more = f", nor with {len(missing) - 1:,} other ids of the file" if len(missing) > 1 else ""
        raise ParameterError(
            f"{edited_path}, line {edited[missing[0]].number}: there is no rejected line with the id {missing[0]} in "
            f"rejected_rows{more}; write the ids as they were exported. Nothing was taken."
        )
    return chosen


def _of_files(*columns: Any) -> Any:
    return (
        select(*columns)
        .select_from(RejectedRow)
        .join(Load, Load.id == RejectedRow.load_id)
        .join(SourceFile, SourceFile.id == Load.source_file_id)
        .join(_home, _home.id == func.coalesce(SourceFile.replayed_file_id, SourceFile.id))
    )


def _conditions(choice: ReplayChoice) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions on the lines of a choice, except for their file's path."""
    yield RejectedRow.replayed_load_id.is_(None)
    if choice.reason_code is not None:
        yield RejectedRow.reason_code == choice.reason_code.value
    if choice.since is not None:
        yield Load.loaded_at >= choice.since


def _fits(path: str, pattern: str) -> bool:
    """Whether a path is the one asked for, or fits a pattern of paths or names."""
    return path == pattern or fnmatchcase(path, pattern) or fnmatchcase(path.rpartition("/")[2], pattern)


def _landing_file(engine: Engine, file: _File, choice: ReplayChoice) -> LandingFile:
    return LandingFile(
        place=None,
        display_path=file.path,
        # The lines taken are the content, and which ones are is known only after reading.
        content_hash="",
        size_bytes=file.size_bytes,
        modified_at=file.modified_at,
        file_signature=NO_SIGNATURE,
        kept=KeptLines(
            file.source_file_id, file.line_counts, file.has_header, partial(_kept_lines, engine, file, choice)
        ),
    )


def _kept_lines(engine: Engine, file: _File, choice: ReplayChoice) -> Generator[Sequence[KeptLine]]:
    """Yield the rejected lines of a file, many at once."""
    edited = choice.edited or {}
    some: list[KeptLine] = []
    size_bytes = 0
    with read_transaction(engine) as connection:
        for row in _rows(connection, file, choice):
            kept = _kept_line(row, edited.get(row.id))
            some.append(kept)
            size_bytes += len(kept.line)
            if len(some) >= LINES_AT_ONCE or size_bytes >= BYTES_AT_ONCE:
                yield some
                some, size_bytes = [], 0
    if some:
        yield some


def _rows(connection: Connection, file: _File, choice: ReplayChoice) -> Iterator[Row[Any]]:
    """Yield what is known about the rejected lines of a file, in order."""
    lines = (
        select(RejectedRow.__table__, Event.message_id, Load.loaded_at)
        .join_from(RejectedRow, Load, Load.id == RejectedRow.load_id)
        .outerjoin(Event, Event.id == RejectedRow.event_id)
        .order_by(RejectedRow.load_id, RejectedRow.line_number)
        .execution_options(yield_per=LINES_AT_ONCE // 10)
    )
    in_part = [code.value for code in ReasonCode if code.is_kept_in_part]
    for start in range(0, len(file.row_ids), MOST_PARAMETERS):
        some = file.row_ids[start : start + MOST_PARAMETERS]
        yield from connection.execute(lines.where(RejectedRow.id.in_(some)))
    for load_id in () if choice.edited is not None else file.load_ids:
        of_load = lines.where(RejectedRow.load_id == load_id, *_conditions(choice))
        yield from connection.execute(of_load.where(RejectedRow.reason_code.not_in(in_part)))


def _kept_line(row: Row[Any], edited: EditedLine | None) -> KeptLine:
    as_kept: bytes = row.raw_line.encode() if row.raw_bytes is None else row.raw_bytes
    # What is not UTF-8 is exported as text that only looks like it.
    is_unchanged = edited is None or edited.line == row.raw_line.encode()
    line = as_kept if edited is None or is_unchanged else edited.line
    is_row = row.header_line is not None and not line.lstrip().startswith(b"{")
    return KeptLine(
        row_id=row.id,
        line=line,
        reason_code=ReasonCode.of(row.reason_code),
        header_line=row.header_line.encode() if is_row else None,
        other_message_id=row.message_id,
    )
