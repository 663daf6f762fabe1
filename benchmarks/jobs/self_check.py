"""Decides, and then runs the self-check: with few rules and many, many versions, and many late events."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

import flows  # noqa: F401  sets the process up as that of a flow, and imports nothing
from benchmarks.job import not_measured, step
from benchmarks.jobs.ours import RULES_PATH
from src.marketing_messaging_service.decisions import AUDIT, decide_pending, read_rules
from src.marketing_messaging_service.infrastructure.database import create_database_engine, url_of, utc_now
from src.marketing_messaging_service.loading import known_files, load_file
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from src.marketing_messaging_service.staging import discover, stage_file

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
MANY_RULES = 50
FEW_VERSIONS, MANY_VERSIONS = 100, 200
FEW_LATE, MANY_LATE = 5_000, 10_000
TYPES = ("signup_completed", "link_bank_success", "payment_failed", "app_opened", "transfer_created")


def shipped_rules(_raw_file: Path, database: Path) -> None:
    """Decide by the rules that the project ships with, and check."""
    _decide_and_check(database, RULES_PATH)


def many_rules(_raw_file: Path, database: Path) -> None:
    """Decide by fifty rules that all look back, and check."""
    rules = [
        _rule(f"rule_{number}", TYPES[number % 5], TYPES[(number + 1) % 5], hours=1 + number % 30)
        for number in range(MANY_RULES)
    ]
    _decide_and_check(database, _written(database, rules))


def decide_and_check_by(rules_path: Path, database: Path) -> None:
    """Decide by the rules of a file, and check."""
    _decide_and_check(database, rules_path)


def few_versions(_raw_file: Path, database: Path) -> None:
    """Check what many versions of the rules decided, one per run."""
    _check_versions(database, FEW_VERSIONS)


def many_versions(_raw_file: Path, database: Path) -> None:
    """Check what twice as many decided."""
    _check_versions(database, MANY_VERSIONS)


def few_late(_raw_file: Path, database: Path) -> None:
    """Check events of one user that were decided before as many late events came that the rule looks back at."""
    _check_late(database, FEW_LATE)


def many_late(_raw_file: Path, database: Path) -> None:
    """Check twice as many."""
    _check_late(database, MANY_LATE)


def _decide_and_check(database: Path, rules_path: Path) -> None:
    with step("decide"):
        _decide(_engine(database), rules_path)
    _check(database)


def _check_versions(database: Path, count: int) -> None:
    with not_measured():
        engine = _engine(database)
        for number in range(count):
            at = NOON + timedelta(hours=number)
            _take(engine, database, [_event(f"u-{number}", event_type, at) for event_type in TYPES])
            rules = [_rule(event_type, event_type, TYPES[0]) for event_type in TYPES]
            # Each version changes a different rule.
            rules[number % 5]["conditions"]["all"][0]["prior_event"]["hours"] = 1 + number
            _decide(engine, _written(database, rules))
    _check(database)


def _check_late(database: Path, count: int) -> None:
    with not_measured():
        engine = _engine(database)
        rules_path = _written(database, [_rule("looks_back", "link_bank_success", "signup_completed")])
        for event_type, begin in (("link_bank_success", NOON), ("signup_completed", NOON - timedelta(hours=6))):
            events = (_event("one", event_type, begin + timedelta(seconds=number)) for number in range(count))
            _take(engine, database, events)
            _decide(engine, rules_path)
    _check(database)


def _check(database: Path) -> None:
    with step("check"):
        report = check_database(url_of(database), (*INVARIANTS, *AUDIT))
    if report.broken:
        raise AssertionError(f"what is measured does not hold: {report.broken}")


def _decide(engine: Engine, rules_path: Path) -> None:
    decide_pending(engine, read_rules(rules_path), decided_at=utc_now())


def _take(engine: Engine, database: Path, events: Sequence[Mapping[str, Any]] | Iterator[Mapping[str, Any]]) -> None:
    folder = database.parent / "landing"
    folder.mkdir(exist_ok=True)
    path = folder / "events.jsonl"
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="ascii")
    [file] = discover(folder, known_files(engine)).new_files
    with closing(stage_file(file)) as staged:
        load_file(engine, staged, as_of=utc_now())


def _event(user_id: str, event_type: str, at: datetime) -> Mapping[str, Any]:
    return {
        "message_id": f"{user_id} {event_type} {at.isoformat()}",
        "user_id": user_id,
        "event_type": event_type,
        "event_timestamp": at.isoformat(),
    }


def _rule(name: str, event_type: str, prior_type: str, *, hours: int = 24) -> dict[str, Any]:
    return {
        "name": name,
        "trigger": {"event_type": event_type},
        "conditions": {"all": [{"prior_event": {"event_type": prior_type, "hours": hours}}]},
        "action": {"type": "send", "template_name": name.upper(), "delivery_method": "email"},
        "suppression": {"mode": "once_per_calendar_day"},
    }


def _written(database: Path, rules: Sequence[Mapping[str, Any]]) -> Path:
    """Write a rules file as people write one, a rule below the other."""
    path = database.parent / "rules.yaml"
    path.write_text("rules:\n" + "".join(f"  - {json.dumps(rule)}\n" for rule in rules), encoding="ascii")
    return path


def _engine(database: Path) -> Engine:
    return create_database_engine(f"sqlite:///{database}")
