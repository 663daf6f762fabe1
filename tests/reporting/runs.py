"""Tiny reports, and runs recorded in a database as the flows record them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from sqlalchemy import Connection, insert, text

from src.marketing_messaging_service.infrastructure.database import read_transaction, write_transaction
from src.marketing_messaging_service.models import RemarkKind, Run, RunMode, RunRemark, RunState
from src.marketing_messaging_service.reporting import RunReport, read_run_report
from src.marketing_messaging_service.reporting.run_report import (
    KeyReport,
    LeftFiles,
    LineCounts,
    LoadReport,
    ReasonReport,
    RejectedExample,
    RuleReport,
)
from tests.pipeline import Pipeline

SHIPPED_RULES: dict[str, Any] = YAML(typ="safe").load(
    (Path(__file__).parents[2] / "data" / "rules.yaml").read_text(encoding="utf-8")
)

AS_OF = datetime(2026, 11, 23, 10, tzinfo=UTC)

WAITING = LeftFiles(RemarkKind.WAITING, "x.jsonl", "")
NOTES = LeftFiles(RemarkKind.IGNORED, "notes.txt", "text")

LOAD = LoadReport(
    load_id=1,
    path="a.jsonl",
    lines=LineCounts(read=10, inserted=5, duplicate=2, conflict=1, rejected=2, blank=1),
    load_seconds=0.25,
)
NAIVE = ReasonReport(
    "naive_timestamp",
    2,
    (
        RejectedExample("a.jsonl", 3, "event_timestamp", "event_timestamp has no UTC offset.", '{"user_id": "ada"}'),
        RejectedExample("a.jsonl", 7, "event_timestamp", "event_timestamp has no UTC offset.", '{"user_id": "bo"}'),
    ),
)
WELCOME = RuleReport(
    rule_name="welcome_email",
    description="Welcome a user",
    trigger_event_type="signup_completed",
    condition_text="user_traits.marketing_opt_in is true",
    exclusive_group=None,
    template_name="WELCOME_EMAIL",
    channel="email",
    suppression_mode="once_ever",
    sent_count=3,
    suppressed=(("once_ever", 1),),
)
ALERT = RuleReport(
    rule_name="high_risk_alert",
    description="Alert our own people",
    trigger_event_type="payment_failed",
    condition_text="properties.attempt_number is at least 3",
    exclusive_group=None,
    template_name="HIGH_RISK_ALERT",
    channel="internal",
    suppression_mode="none",
    alerted_count=1,
)


def run_report(**changes: Any) -> RunReport:
    """A report of one small load and two rules, with some of it changed."""
    values: dict[str, Any] = {
        "run_id": 17,
        "flow_name": "hourly",
        "mode": RunMode.LOAD_AND_DECIDE,
        "state": RunState.COMPLETED,
        "database": "sqlite:///./messaging.db",
        "source": "data/landing",
        "as_of": AS_OF,
        "started_at": AS_OF + timedelta(minutes=5),
        "ended_at": AS_OF + timedelta(minutes=5, seconds=3),
        "came_in_since": AS_OF - timedelta(minutes=55),
        "known_file_count": 4,
        "outside_file_count": 0,
        "loads": (LOAD,),
        "reasons": (NAIVE,),
        "unknown_keys": (KeyReport("properties.coupon", 3),),
        "decided_count": 5,
        "decide_seconds": 0.5,
        "ruleset_hash": "6171eadc3372" + "0" * 52,
        "rules": (WELCOME, ALERT),
    }
    return RunReport(**{**values, **changes})


NOTHING: Mapping[str, Any] = {"loads": (), "reasons": (), "unknown_keys": (), "decided_count": 0, "rules": ()}
"""What a report of an empty hour has instead."""


def add_run(connection: Connection, **values: Any) -> int:
    """Record a run, and return its id."""
    defaults = {
        "flow_name": "hourly",
        "mode": RunMode.LOAD_AND_DECIDE,
        "as_of": AS_OF,
        "source": "data/landing",
        "max_rejected_percent": 50.0,
        "started_at": AS_OF + timedelta(minutes=5),
        "ended_at": AS_OF + timedelta(minutes=6),
        "state": RunState.COMPLETED,
        "known_file_count": 0,
        "outside_file_count": 0,
    }
    run_id: int = connection.execute(insert(Run).values({**defaults, **values}).returning(Run.id)).scalar_one()
    return run_id


def add_remarks(connection: Connection, run_id: int, remarks: Sequence[tuple[str, str, str]]) -> None:
    """Record remarks of a run, each of them kind, subject and explanation."""
    for position, (kind, subject, explanation) in enumerate(remarks, start=1):
        connection.execute(
            insert(RunRemark).values(
                run_id=run_id, remark_position=position, kind=kind, subject=subject, explanation=explanation
            )
        )


def run_pipeline(pipeline: Pipeline, rules: Mapping[str, Any], **values: Any) -> int:
    """Take and decide everything that has landed as one run, and return its id."""
    with write_transaction(pipeline.engine) as connection:
        run_id = add_run(connection, **values)
    pipeline.take()
    decision = pipeline.decide(rules)
    with write_transaction(pipeline.engine) as connection:
        for table in ("loads", "send_requests", "suppressions"):
            connection.execute(text(f"UPDATE {table} SET run_id = :run_id WHERE run_id IS NULL"), {"run_id": run_id})
        connection.execute(
            text(
                "UPDATE runs SET decided_count = :decided_count, ruleset_id = (SELECT max(ruleset_id) FROM loads "
                "WHERE run_id = :run_id) WHERE id = :run_id"
            ),
            {"decided_count": decision.event_count, "run_id": run_id},
        )
    return run_id


def hold(connection: Connection, run_id: int) -> None:
    """Make all loads those of a run that holds their events for a backfill."""
    connection.execute(text("UPDATE loads SET state = 'held', run_id = :run_id"), {"run_id": run_id})
    connection.execute(text("INSERT INTO held_events (event_id, run_id) SELECT id, NULL FROM events"))


def read(pipeline: Pipeline, run_id: int) -> RunReport:
    """Read the report of a run from the pipeline's database."""
    with read_transaction(pipeline.engine) as connection:
        return read_run_report(connection, run_id)
