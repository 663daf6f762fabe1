"""Keeps lines with another event's message_id: each is kept whole, once, among the rejected rows."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, select

from src.marketing_messaging_service.infrastructure.bulk import bulk_insert
from src.marketing_messaging_service.infrastructure.column_types import WHOLE_NUMBER
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.infrastructure.several_writers import writers_of
from src.marketing_messaging_service.loading.conflicts import Collision, standing_events
from src.marketing_messaging_service.models import RejectedRow
from src.marketing_messaging_service.staging.results import RawLine, StagedFile
from src.marketing_messaging_service.vocabulary import ReasonCode

LINES_AT_ONCE = 1_000

_kept = Table(
    "kept_collisions",
    MetaData(),
    Column("event_id", WHOLE_NUMBER, primary_key=True, autoincrement=False),
    Column("raw_line", String, primary_key=True),
    prefixes=["TEMPORARY"],
    sqlite_with_rowid=False,
)
"""What is kept already, by the stored event; a line is compared as it came."""


class CollisionKeeper:
    """Keeps lines with another event's message_id, unless they are kept already."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._has_begun = False

    def keep(self, load_id: int, staged: StagedFile, collisions: Iterable[Collision]) -> int:
        """Keep lines of a file, given in their order, and return how many were not kept before.

        Raises LandingError when the file is no longer the one that was staged.
        """
        if not self._has_begun:
            self._begin()
        asked: list[Collision] = []

        def numbers() -> Iterator[int]:
            for collision in collisions:
                asked.append(collision)
                yield collision.line_number

        count = 0
        # To the end of the file: only there is it clear whether the file has changed.
        lines = staged.raw_lines(numbers())
        while some := list(islice(lines, LINES_AT_ONCE)):
            count += self._keep(load_id, list(zip(asked, some, strict=True)))
            asked.clear()
        return count

    def end(self) -> None:
        """Release what was needed to find out what is kept already."""
        # A preview's loads share one connection.
        if self._has_begun:
            _kept.drop(self._connection, checkfirst=False)

    def _begin(self) -> None:
        self._has_begun = True
        if several := writers_of(self._connection):
            # Otherwise two runs that load at the same time would keep a line twice.
            several.take_turns(self._connection, "keep collisions")
        _kept.create(self._connection, checkfirst=False)
        earlier = (
            select(RejectedRow.event_id, RejectedRow.raw_line)
            .where(RejectedRow.event_id.in_(standing_events()))
            # A line that is there twice was kept before this was checked, or by hand.
            .distinct()
        )
        self._connection.execute(insert(_kept).from_select(["event_id", "raw_line"], earlier))

    def _keep(self, load_id: int, lines: Sequence[tuple[Collision, RawLine]]) -> int:
        keep = dialect_named(self._connection.dialect.name).insert_ignoring(_kept)
        new = []
        for collision, line in lines:
            kept = {"event_id": collision.event_id, "raw_line": line.text}
            if self._connection.execute(keep, kept).rowcount:
                new.append((collision, line))
        bulk_insert(
            self._connection,
            insert(RejectedRow),
            {
                "load_id": [load_id] * len(new),
                "line_number": [line.number for _, line in new],
                "raw_line": [line.text for _, line in new],
                "raw_bytes": [line.exact_bytes for _, line in new],
                "reason_code": [ReasonCode.MESSAGE_ID_COLLISION.value] * len(new),
                "field_name": ["message_id"] * len(new),
                "explanation": [_explanation(collision) for collision, _ in new],
                "event_id": [collision.event_id for collision, _ in new],
            },
        )
        return len(new)


def _explanation(collision: Collision) -> str:
    return (
        f"Another event already has the message_id (events.id {collision.event_id}); the line differs in "
        f"{collision.differing_fields}."
    )
