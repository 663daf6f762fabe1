"""The ledger: what became of each raw file."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime, utc_now
from src.marketing_messaging_service.models.ruleset import Ruleset
from src.marketing_messaging_service.models.source_file import SourceFile


class LoadState(StrEnum):
    """How far a load has come: its events are in the tables, or also decided."""

    LOADED = "loaded"
    DECIDED = "decided"


class Load(Base):
    """One file's transaction into the tables, with counts of its lines that add up.

    read = inserted + duplicate + rejected + blank, and conflict is the part of duplicate whose content
    differed from the event that stands. Its events lie between `first_event_id` and `last_event_id`
    (null when it brought none). `as_of` is the logical time of the run that loaded it; `decided_at` and
    `ruleset_id` tell when its events were decided, and by which version of the rules.
    """

    __tablename__ = "loads"
    __table_args__ = (
        UniqueConstraint("source_file_id"),
        CheckConstraint("state IN ('loaded', 'decided')", name="state"),
        CheckConstraint(
            "read_count = inserted_count + duplicate_count + rejected_count + blank_count", name="counts_add_up"
        ),
        CheckConstraint("conflict_count BETWEEN 0 AND duplicate_count", name="conflicts_are_duplicates"),
        # Finding what is still to be decided must not read the years that are done.
        Index("ix_loads_undecided", "id", sqlite_where=text("state = 'loaded'")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source_file_id: Mapped[int] = mapped_column(ForeignKey("source_files.id"))
    as_of: Mapped[datetime] = mapped_column(UtcDateTime)
    flow_run_id: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    read_count: Mapped[int]
    inserted_count: Mapped[int]
    duplicate_count: Mapped[int]
    conflict_count: Mapped[int]
    rejected_count: Mapped[int]
    blank_count: Mapped[int]
    first_event_id: Mapped[int | None]
    last_event_id: Mapped[int | None]
    loaded_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ruleset_id: Mapped[int | None] = mapped_column(ForeignKey("rulesets.id"))

    source_file: Mapped[SourceFile] = relationship()
    ruleset: Mapped[Ruleset | None] = relationship()
