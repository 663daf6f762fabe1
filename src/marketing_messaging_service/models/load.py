"""The ledger: what became of each raw file."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ColumnElement, Float, ForeignKey, Index, String, and_, or_, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now
from src.marketing_messaging_service.infrastructure.indexes import partial
from src.marketing_messaging_service.models.batch import Batch
from src.marketing_messaging_service.models.ruleset import Ruleset
from src.marketing_messaging_service.models.run import Run
from src.marketing_messaging_service.models.source_file import SourceFile


class LoadState(StrEnum):
    """How far a load has come: its events wait for the next run, are held for a backfill, or are decided."""

    LOADED = "loaded"
    HELD = "held"
    DECIDED = "decided"


WHOLE_FILE_SQL = (
    "outside_count = 0 AND (rejected_count = 0 OR inserted_count > 0 OR duplicate_count > 0 OR collision_count > 0 "
    "OR dropped_count > 0)"
)
"""The condition of `takes_whole_file`, as text for an index."""


class Load(Base):
    """One file's transaction into the tables, with counts of its lines that add up.

    read = inserted + duplicate + collision + rejected + blank + dropped + outside, and conflict is the part of
    duplicate whose time differed from the stored event's. Only a backfill leaves lines outside (its window); a file is
    taken completely by a load that leaves none and could read at least one of them. Its events are from
    `first_event_id` to `last_event_id` (null if it brought none). `as_of` is the logical time of the run that loaded
    it; `decided_at` and `ruleset_id` say when its events were decided, and by which version of the rules; for held
    events, `held_events` says so.
    """

    __tablename__ = "loads"
    __table_args__ = (
        CheckConstraint("state IN ('loaded', 'held', 'decided')", name="state"),
        CheckConstraint(
            "read_count = inserted_count + duplicate_count + collision_count + rejected_count + blank_count "
            "+ dropped_count + outside_count",
            name="counts_add_up",
        ),
        CheckConstraint("conflict_count BETWEEN 0 AND duplicate_count", name="conflicts_are_duplicates"),
        Index(None, "source_file_id"),
        # A file is taken completely once, by any run; one of which no line could be read is not taken.
        Index("uq_loads_whole_file", "source_file_id", unique=True, **partial(text(WHOLE_FILE_SQL))),
        Index(None, "run_id"),
        # Answers "what did that batch decide".
        Index(None, "batch_id"),
        # Finding what is still to be decided must not read the years that are done.
        Index("ix_loads_undecided", "id", **partial(text("state = 'loaded'"))),
        {"comment": "One row per raw file taken: its line counts, which add up, and how far it has come."},
    )

    id: Mapped[int] = mapped_column(primary_key=True, comment="Number of the load, given by the database in order.")
    source_file_id: Mapped[int] = mapped_column(
        ForeignKey("source_files.id"),
        comment="The file it took, in source_files. A file has one load that took it to the end; before that, others "
        "may have taken only a backfill's window, or found no line that they could read.",
    )
    run_id: Mapped[int | None] = mapped_column(
        ForeignKey("runs.id"), comment="The run that loaded it, in runs; null on loads from before runs were recorded."
    )
    as_of: Mapped[datetime] = mapped_column(
        UtcDateTime,
        comment="Logical time of the run that loaded it, in UTC; the scheduled start unless somebody gave another.",
    )
    flow_run_id: Mapped[str | None] = mapped_column(
        String(64),
        comment="The Prefect run that loaded it, by its id in the Prefect UI; null when the loader ran without "
        "Prefect.",
    )
    state: Mapped[str] = mapped_column(
        String(16),
        comment="How far the load has come: loaded (its events wait for the next run), held (they wait for a backfill, "
        "see held_events) or decided (except those in the future, see held_events).",
    )
    read_count: Mapped[int] = mapped_column(
        comment="Lines read from the file: inserted + duplicate + collision + rejected + blank + dropped + outside."
    )
    inserted_count: Mapped[int] = mapped_column(comment="Lines that became events.")
    duplicate_count: Mapped[int] = mapped_column(
        comment="Lines whose message_id was already known, from this file or an earlier one; or that an earlier load "
        "of the same file, or of a shorter version of it, rejected; or that repeat a collision that is already kept."
    )
    conflict_count: Mapped[int] = mapped_column(
        comment="How many of the duplicates name another time than the event already stored, in conflicts."
    )
    collision_count: Mapped[int] = mapped_column(
        server_default=text("0"),
        default=0,
        comment="Lines with the message_id of another event, kept in rejected_rows; 0 on loads from before they were "
        "distinguished from duplicates.",
    )
    rejected_count: Mapped[int] = mapped_column(comment="Lines that could not become events, in rejected_rows.")
    blank_count: Mapped[int] = mapped_column(comment="Empty lines.")
    dropped_count: Mapped[int] = mapped_column(
        server_default=text("0"),
        default=0,
        comment="Lines with events of types that the file's mapping in sources.yaml leaves out; not kept.",
    )
    outside_count: Mapped[int] = mapped_column(
        server_default=text("0"),
        default=0,
        comment="Lines whose event is outside the window of a backfill, left for the run that takes the rest; 0 for a "
        "whole file.",
    )
    first_event_id: Mapped[int | None] = mapped_column(
        comment="Smallest events.id of the load; null when it inserted none."
    )
    last_event_id: Mapped[int | None] = mapped_column(
        comment="Largest events.id of the load; null when it inserted none."
    )
    loaded_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utc_now, comment="When its transaction began, in UTC by the clock of the machine."
    )
    load_seconds: Mapped[float | None] = mapped_column(
        Float,
        comment="How long its transaction took until just before its commit, in seconds; null on loads from before "
        "it was recorded.",
    )
    decided_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="When its events were decided, in UTC by the clock of the machine; null while they wait."
    )
    ruleset_id: Mapped[int | None] = mapped_column(
        ForeignKey("rulesets.id"),
        comment="The version of rules.yaml that decided its events, in rulesets; null while they wait, and where they "
        "were held.",
    )

    batch_id: Mapped[int | None] = mapped_column(
        ForeignKey("batches.id"),
        comment="The batch that decided its events, in batches; null while they wait, and where they were held.",
    )

    source_file: Mapped[SourceFile] = relationship()
    run: Mapped[Run | None] = relationship()
    ruleset: Mapped[Ruleset | None] = relationship()
    batch: Mapped[Batch | None] = relationship()


READ_COUNTS = (Load.inserted_count, Load.duplicate_count, Load.collision_count, Load.dropped_count)
"""The counts of lines that could be read."""


def takes_whole_file() -> ColumnElement[bool]:
    """Return whether a load took its file completely; one that could not read any line did not."""
    has_read_one = or_(Load.rejected_count == 0, *(count > 0 for count in READ_COUNTS))
    return and_(Load.outside_count == 0, has_read_one)
