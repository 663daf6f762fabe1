"""The right to write, held by one run at a time."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime


class RunLease(Base):
    """Who holds the right to write, and until when; no row while nobody does."""

    __tablename__ = "run_leases"
    __table_args__ = (
        CheckConstraint("lease_position = 1", name="only_one"),
        {"comment": "At most one row: the run that is at work on the file, renewed while it lives."},
    )

    lease_position: Mapped[int] = mapped_column(primary_key=True, comment="Always 1, so that there is one lease.")
    holder_id: Mapped[str] = mapped_column(
        String(64),
        comment="The holder's own id, new for each run; it begins with that of its machine.",
    )
    holder_name: Mapped[str] = mapped_column(Text, comment="The holder as people know it, such as the run's name.")
    flow_run_id: Mapped[str | None] = mapped_column(
        String(64), comment="The Prefect run, by its id in the Prefect UI; null when it runs without Prefect."
    )
    host_name: Mapped[str] = mapped_column(Text, comment="The machine that the holder runs on.")
    process_number: Mapped[int] = mapped_column(comment="The holder's process on that machine.")
    acquired_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="Since when it is held, in UTC.")
    renewed_at: Mapped[datetime] = mapped_column(
        UtcDateTime, comment="When the holder last gave a sign of life, in UTC by its machine's clock."
    )
    expires_at: Mapped[datetime] = mapped_column(
        UtcDateTime, comment="When another run may take the lease unless it is renewed first, in UTC."
    )
