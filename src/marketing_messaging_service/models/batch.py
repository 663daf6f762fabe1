"""What decided events together: a transaction, or several side by side."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Float, ForeignKey, UniqueConstraint, text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime
from src.marketing_messaging_service.models.ruleset import Ruleset
from src.marketing_messaging_service.models.run import Run


class Batch(Base):
    """What events were decided by: the run, its logical time, its limits and the version of the rules.

    The loads and held events that it decided name it, and a decision belongs to the batch of the run that it names,
    because a run has at most one batch. Its rules are the enabled ones of its ruleset. Batches from before batches were
    recorded were reconstructed from the tables; what is unknown about them is null.
    """

    __tablename__ = "batches"
    __table_args__ = (
        UniqueConstraint("run_id"),
        {"comment": "One row per time that events were decided: by which run, as of when and within which limits."},
    )

    id: Mapped[int] = mapped_column(primary_key=True, comment="Number of the batch, given by the database in order.")
    run_id: Mapped[int | None] = mapped_column(
        ForeignKey("runs.id"),
        comment="The run that decided, in runs; a run has at most one batch; null on batches from before runs were "
        "recorded.",
    )
    as_of: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="Logical time of the run that decided, in UTC; null on batches from before runs were recorded.",
    )
    oldest_event_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="The run's age limit, in UTC: older events earned no message, unless another run had loaded them: "
        "then that run's limit holds; null without a limit.",
    )
    latest_event_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="The run's limit on future events, in UTC: later events were not decided and wait for their time, in "
        "held_events; null on batches from before there was such a limit.",
    )
    ruleset_id: Mapped[int] = mapped_column(
        ForeignKey("rulesets.id"),
        comment="The version of rules.yaml that decided, in rulesets; its rules are in ruleset_rules.",
    )
    event_count: Mapped[int] = mapped_column(comment="Events decided, whether or not a rule matched them.")
    held_count: Mapped[int] = mapped_column(comment="How many of the events decided had waited in held_events.")
    ahead_count: Mapped[int] = mapped_column(
        server_default=text("0"),
        default=0,
        comment="Events that the batch left undecided because they were after its latest_event_at; none of them is "
        "among the events decided.",
    )
    again_count: Mapped[int] = mapped_column(
        server_default=text("0"),
        default=0,
        comment="Decisions on events that earlier batches had decided, by the batch's rules in batch_rules; "
        "these events are not among the events decided.",
    )
    decided_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="When the batch was decided, in UTC by the clock of the machine, as on its decisions; null where it is "
        "not known, on batches from before batches were recorded.",
    )
    decide_seconds: Mapped[float | None] = mapped_column(
        Float,
        comment="How long the transaction took until just before its commit, in seconds; null on batches from before "
        "it was recorded.",
    )
    last_load_id: Mapped[int | None] = mapped_column(
        comment="The newest load that the batch could see, by loads.id, 0 for none, where other runs were loading at "
        "the same time: it saw every load up to that one and none after it. Null where its run was alone and saw all "
        "that it and the runs before it had loaded.",
    )
    shard_count: Mapped[int] = mapped_column(
        server_default=text("1"),
        default=1,
        comment="How many shards decided it, each for some of the users, in batch_shards; 1 for a batch decided in "
        "one transaction, which has no row there.",
    )
    is_complete: Mapped[bool] = mapped_column(
        server_default=true(),
        default=True,
        comment="Whether all of it is decided. If not, its loads and held events name it and wait; the "
        "next run decides the missing shards.",
    )

    run: Mapped[Run | None] = relationship()
    ruleset: Mapped[Ruleset] = relationship()
