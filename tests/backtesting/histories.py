"""Small pasts for backtests: events that hourly runs load on time, and the rules that they decide by."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from src.marketing_messaging_service.backtesting import Difference, NamedRules, Question, backtest
from src.marketing_messaging_service.backtesting.difference import Change
from src.marketing_messaging_service.backtesting.schedule import run_of
from src.marketing_messaging_service.decisions.rules_file import RulesFile, parse_rules
from tests.pipeline import Pipeline

Raw = Mapping[str, Any]


def rules_file(document: Mapping[str, Any]) -> RulesFile:
    return parse_rules(json.dumps(document, ensure_ascii=False), "a test")


def rule(name: str = "mail", **others: Any) -> dict[str, Any]:
    """A rule that by default mails about every failed payment."""
    return {
        "name": name,
        "trigger": {"event_type": "payment_failed"},
        "action": {"type": "send", "template_name": name.upper(), "delivery_method": "email"},
        "suppression": {"mode": "once_per_calendar_day"},
        **others,
    }


def event(message_id: str, at: str, user_id: str = "ada", event_type: str = "payment_failed", **parts: Any) -> Raw:
    return {
        "message_id": message_id,
        "user_id": user_id,
        "event_type": event_type,
        "event_timestamp": f"2026-11-{at}:00Z",
        **parts,
    }


def by_run(events: Iterable[Raw]) -> dict[datetime, list[Raw]]:
    """The events by the hourly run that loads them on time."""
    found: dict[datetime, list[Raw]] = defaultdict(list)
    for raw in events:
        found[run_of(datetime.fromisoformat(raw["event_timestamp"].replace("Z", "+00:00")))].append(raw)
    return dict(sorted(found.items()))


def lived(pipeline: Pipeline, events: Iterable[Raw], document: Mapping[str, Any]) -> None:
    """Load and decide events as hourly runs do that have each of them on time."""
    for as_of, some in by_run(events).items():
        pipeline.land(some)
        pipeline.do(pipeline.options(as_of=as_of), document)


def compared(
    database_url: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, **window: Any
) -> tuple[Difference, Sequence[Change]]:
    """What a backtest says of two documents, or of what was decided, and every change."""
    question = Question(
        None if before is None else NamedRules("the old rules", rules_file(before)),
        None if after is None else NamedRules("the new rules", rules_file(after)),
        **window,
    )
    with backtest(database_url, question) as found:
        return found.difference, list(found.changes())


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-{text}:00").replace(tzinfo=UTC)


def fingerprint(path: Path) -> str:
    """Every row of a database, as text."""
    import sqlite3  # noqa: PLC0415  for this alone

    connection = sqlite3.connect(path)
    try:
        return "\n".join(connection.iterdump())
    finally:
        connection.close()


HOUR = timedelta(hours=1)
