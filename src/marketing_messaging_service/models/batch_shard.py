"""A part of a batch."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Float, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime


class BatchShard(Base):
    """A batch's events of some of the users, decided in their own transaction.

    A user's hash determines the shard. What happens to a user's events depends on that user alone.
    """

    __tablename__ = "batch_shards"
    __table_args__ = (
        {
            "comment": "One row per shard of a batch that is decided in several transactions, each for some of the "
            "users."
        },
    )

    batch_id: Mapped[int] = mapped_column(
        ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True, comment="The batch, in batches."
    )
    shard_number: Mapped[int] = mapped_column(
        primary_key=True,
        autoincrement=False,
        comment="Which of the batch's shards it is, from 1: the first 32 bits of the MD5 of the user_id, modulo the "
        "number of shards, plus 1.",
    )
    last_load_id: Mapped[int] = mapped_column(
        comment="The newest load that it could see, by loads.id; later than the batch's where a killed run left it to "
        "the next run."
    )
    decided_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="When it was decided, in UTC by the clock of the machine; null until then."
    )
    decide_seconds: Mapped[float | None] = mapped_column(
        Float, comment="How long its transaction took until just before its commit, in seconds; null until then."
    )
    send_request_count: Mapped[int | None] = mapped_column(
        comment="Sends and alerts that it decided, in send_requests; null until then."
    )
    suppression_count: Mapped[int | None] = mapped_column(
        comment="Messages that it refused, in suppressions; null until then."
    )
