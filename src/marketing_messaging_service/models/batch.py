"""What decided events at one time: a transaction, or several side by side."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Float, ForeignKey, UniqueConstraint, text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from src.marketing_messaging_service.infrastructure.database import Base, UtcDateTime
from src.marketing_messaging_service.models.ruleset import Ruleset
from src.marketing_messaging_service.models.run import Run


class Batch(Base):
    """By what events were decided: the run, its logical time, its limits and the version of the rules.

    The loads and held events that it decided name it, and a decision belongs to the batch of the run that it names,
    because a run has one batch at most. Its rules are the enabled ones of its ruleset. On batches from before batches
    were recorded, which were put together of what the tables knew, what is not known is null.
    """

    __tablename__ = "batches"
    __table_args__ = (
        UniqueConstraint("run_id"),
        {"comment": "One row a time that events were decided: by which run, as of when, within which limits."},
    )

    id: Mapped[int] = mapped_column(primary_key=True, comment="Number of the batch, given by the database in order.")
    run_id: Mapped[int | None] = mapped_column(
        ForeignKey("runs.id"),
        comment="The run that decided, in runs, which has one batch at most; null on batches from before runs were "
        "recorded.",
    )
    as_of: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="Logical time of the run that decided, in UTC; null on batches from before runs were recorded.",
    )
    oldest_event_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="The run's limit of age, in UTC: events before it earned no message, unless another run had loaded "
        "them, whose own limit holds; null without a limit.",
    )
    latest_event_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="The run's limit on the future, in UTC: events after it were not decided and wait for their time, in "
        "held_events; null on batches from before there was such a limit.",
    )
    ruleset_id: Mapped[int] = mapped_column(
        ForeignKey("rulesets.id"),
        comment="The version of rules.yaml that decided, in rulesets; its enabled rules stand in ruleset_rules.",
    )
    event_count: Mapped[int] = mapped_column(comment="Events decided, whether or not a rule matched them.")
    held_count: Mapped[int] = mapped_column(comment="The part of the events decided that had waited in held_events.")
    ahead_count: Mapped[int] = mapped_column(
        server_default=text("0"),
        default=0,
        comment="Events that the batch left undecided because they lay after its latest_event_at; none of them is "
        "among the events decided.",
    )
    again_count: Mapped[int] = mapped_column(
        server_default=text("0"),
        default=0,
        comment="Decisions on events that earlier batches had decided, by the rules that the batch has in batch_rules; "
        "these events are not among the events decided.",
    )
    decided_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime,
        comment="When the batch was decided, in UTC by the clock of the machine, as on its decisions; null on batches "
        "from before batches were recorded of which nothing says it.",
    )
    decide_seconds: Mapped[float | None] = mapped_column(
        Float,
        comment="How long the transaction took until just before its commit, in seconds; null on batches from before "
        "it was recorded.",
    )
    last_load_id: Mapped[int | None] = mapped_column(
        comment="The newest load that the batch could see, by loads.id, 0 for none, where other runs were loading "
        "meanwhile: it saw every load up to that one and none behind it. Null where its run was alone, which saw what "
        "it, and the runs before it, had loaded.",
    )
    shard_count: Mapped[int] = mapped_column(
        server_default=text("1"),
        default=1,
        comment="How many shards decided it, each the events of a part of the users, in batch_shards; 1 for a batch of "
        "one transaction, which has no row there.",
    )
    is_complete: Mapped[bool] = mapped_column(
        server_default=true(),
        default=True,
        comment="Whether all of it is decided. Of a batch that is not, its loads and held events name it and wait; the "
        "next run decides the shards that are missing.",
    )

    run: Mapped[Run | None] = relationship()
    ruleset: Mapped[Ruleset] = relationship()
