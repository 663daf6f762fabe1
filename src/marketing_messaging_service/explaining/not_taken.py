"""Finds what names a user but is not an event: rejected lines, redeliveries that lost, and files that no run took."""

import json
import re
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, func, or_, select

from src.marketing_messaging_service import loading, staging
from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.models import Conflict, Event, Load, RejectedRow, RemarkKind, SourceFile
from src.marketing_messaging_service.reporting.tables import counted
from src.marketing_messaging_service.settings import Settings
from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.packing import unpacked
from src.marketing_messaging_service.staging.rejection import DamagedFileError
from src.marketing_messaging_service.staging.results import LandingFile

MOST_NAMED = 5
"""How many lines of one kind are named."""
MOST_LOOKED_AT = 1000
"""How many lines are read to see whether they name this user and not a longer id."""
PIECE_BYTES = 1 << 20
MOST_BYTES = 1 << 26
"""How much of a file, unpacked, is searched for the user."""

_FILES = {
    RemarkKind.UNREADABLE: "no line of it could be read",
    RemarkKind.WAITING: "it is still being written, and waits for the next run",
    RemarkKind.IGNORED: "no pattern of sources.yaml takes files with its ending",
    RemarkKind.PASSED_OVER: "it is passed over, because of its name",
}
"""Why files in landing are not taken, by a run's remarks on them."""


def lines_not_taken(connection: Connection, user_id: str) -> Iterator[str]:
    """Yield, in words, the lines that name a user but did not become an event, as far as they are kept."""
    yield from _rejected(connection, user_id)
    conflicts = (
        select(Event.message_id, Conflict.differing_fields, SourceFile.path)
        .join_from(Conflict, Event, Event.id == Conflict.event_id)
        .join(Load, Load.id == Conflict.load_id)
        .join(SourceFile, SourceFile.id == Load.source_file_id)
        .where(Event.user_id == user_id)
        .order_by(Conflict.load_id.desc())
    )
    for row in connection.execute(conflicts.limit(MOST_NAMED)):
        yield (
            f"A line of {row.path} delivered {row.message_id} again with another {row.differing_fields}; "
            "the event that came first is kept."
        )
    dropped = connection.scalar(select(func.sum(Load.dropped_count)))
    if dropped:
        yield (
            f"{counted(int(dropped), 'line')} of types that sources.yaml leaves out, of any user, were kept nowhere."
        )


def _rejected(connection: Connection, user_id: str) -> Iterator[str]:
    written = {user_id, json.dumps(user_id)[1:-1]}
    # Not part of a longer id.
    names_user = re.compile("|".join(rf"(?<![\w.@-]){re.escape(text)}(?![\w@-])" for text in written))
    lines = (
        select(RejectedRow.line_number, RejectedRow.raw_line, RejectedRow.reason_code, RejectedRow.explanation)
        .add_columns(SourceFile.path, Load.as_of)
        .join(Load, Load.id == RejectedRow.load_id)
        .join(SourceFile, SourceFile.id == Load.source_file_id)
        .where(
            RejectedRow.replayed_load_id.is_(None),
            or_(*(RejectedRow.raw_line.contains(text, autoescape=True) for text in sorted(written))),
        )
        .order_by(RejectedRow.id.desc())
        .limit(MOST_LOOKED_AT)
    )
    found = [row for row in connection.execute(lines) if names_user.search(row.raw_line)]
    for row in found[:MOST_NAMED]:
        yield (
            f"Line {row.line_number} of {row.path} names the user and was rejected by the run of "
            f"{instant_text(row.as_of)}: {row.reason_code}: {row.explanation}"
        )
    if len(found) > MOST_NAMED:
        yield f"{counted(len(found) - MOST_NAMED, 'more line')} that name the user were rejected (rejected_rows)."


def files_not_taken(engine: Engine, settings: Settings, user_id: str) -> Iterator[str]:
    """Yield, in words, the files in landing that no run has taken and that contain the user, or may."""
    try:
        sources = staging.read_sources(settings.own_sources_path)
        found = staging.discover(settings.landing_path, loading.known_files(engine), sources=sources)
    except PipelineError as error:
        yield f"Whether files wait in landing could not be checked: {error}"
        return
    for file in found.new_files:
        names = _names(file, user_id)
        if names is not False:
            whether = "names the user" if names else "may name the user"
            yield f"{file.display_path} in landing {whether}, and no run has taken it yet; the next one will."
    for problem in found.problems:
        yield f"{problem.display_path} in landing was not taken: {problem.explanation}"
    for remark in found.remarks:
        if remark.kind in _FILES:
            why = remark.explanation or _FILES[remark.kind]
            yield f"{remark.subject} in landing {'was' if remark.file_count == 1 else 'were'} not taken: {why}"


def _names(file: LandingFile, user_id: str) -> bool | None:
    """Return whether a user is in a file; None if that cannot be found out."""
    if file.place is None:
        return None
    wanted = {user_id.encode(), json.dumps(user_id)[1:-1].encode()}
    longest = max(map(len, wanted))
    before, size = b"", 0
    try:
        with file.place.open() as stream:
            content, _ = unpacked(Lookahead(iter(lambda: stream.read(PIECE_BYTES), b"")))
            for piece in content:
                # A Parquet file's columns are packed one by one.
                if size > MOST_BYTES or (not size and piece.startswith(b"PAR1")):
                    return None
                if any(text in before + piece for text in wanted):
                    return True
                before, size = piece[-longest:], size + len(piece)
    except (OSError, DamagedFileError):
        return None
    return False
