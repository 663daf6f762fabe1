"""No word of the rule language reads all of history: each by itself, whatever the database knows of its tables."""

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.decisions import decide_pending, read_rules
from src.marketing_messaging_service.infrastructure.database import create_database_engine
from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import RunOptions
from tests.decisions.helpers import rule
from tests.decisions.test_query_plans import (
    BATCH,
    DECIDED_AT,
    explained,
    large_history,
    small_history,
    with_statistics,
)

__all__ = ["large_history", "small_history"]

FAILED = {"on": "payment_failed"}
SIGNUP = "signup_completed"
OPT_IN = {"field": "latest_traits.marketing_opt_in", "operator": "equals", "value": True}
AMOUNT = {"field": "properties.amount", "operator": "gt", "value": 3}


def happened(**keys: Any) -> dict[str, Any]:
    return {"happened": {"event_type": SIGNUP, **keys}}


def once(mode: str, **keys: Any) -> dict[str, Any]:
    return {"rules": [{**rule("r", on="payment_failed"), "suppression": {"mode": mode, **keys}}]}


WAITING = {"rules": [rule("r", {"not": happened(since_trigger=True)}, wait={"hours": 1}, **FAILED)]}

PARTS: dict[str, dict[str, Any]] = {
    "happened": {"rules": [rule("r", happened(), **FAILED)]},
    "happened so often": {"rules": [rule("r", happened(at_least=3, within_hours=24), **FAILED)]},
    "happened often": {"rules": [rule("r", happened(at_least=30), **FAILED)]},
    "happened where": {"rules": [rule("r", happened(where=[AMOUNT]), **FAILED)]},
    "happened with the same": {"rules": [rule("r", happened(same=["properties.amount"]), **FAILED)]},
    "not": {"rules": [rule("r", {"not": {"any": [happened(at_most=0), AMOUNT]}}, **FAILED)]},
    "latest_traits": {"rules": [rule("r", OPT_IN, **FAILED)]},
    "wait": WAITING,
    "wait_for_data": {"wait_for_data": True, **WAITING},
    "per": once("once_ever", per=["properties.amount"]),
    "hours": once("once_per_hours", hours=24),
    "week": once("once_per_calendar_week"),
    "day of a zone": {"timezone": "Europe/Paris", **once("once_per_calendar_day")},
    "block from": {
        "blocks": [{"name": "b", "from": {"event_type": SIGNUP, "where": [AMOUNT]}, "until": {"event_type": "type 7"}}],
        **once("none"),
    },
    "block while": {"blocks": [{"name": "b", "while": OPT_IN}], **once("none")},
    "holdout": {"holdout": {"percent": 50, "salt": "s"}, **once("none")},
    "limit": {"limits": [{"name": "l", "at_most": 1, "hours": 24}], **once("none")},
    "limit of templates": {
        "limits": [{"name": "l", "at_most": 1, "calendar": "month", "templates": ["T"]}],
        **once("none"),
    },
    "expiry": {"rules": [rule("r", expires_after_hours=1, **FAILED)]},
}

GROWS = (
    "events|event_properties|user_traits|prior|other|send_requests|blocking|suppressions|waiting_matches|ended_waits"
)

ONCE = {
    # How far the data have come is read from the end of the index on time.
    "SCAN events USING INDEX ix_events_event_timestamp_event_type",
    # Waiting matches are counted once per version of the rules, and those due once per run where there are hardly any.
    "SCAN waiting_matches",
    "SCAN waiting_matches USING INDEX sqlite_autoindex_waiting_matches_1",
}


def scans(lines: Iterable[str]) -> set[str]:
    """The lines that read a table that grows with the history from end to end, or build an index of it."""
    found = {line.replace("COVERING ", "") for line in lines}
    return {line for line in found if re.match(rf"SCAN ({GROWS})\b", line) or "AUTOMATIC" in line} - ONCE


@pytest.mark.parametrize(
    "statistics",
    ["none", pytest.param("current", marks=pytest.mark.slow), pytest.param("stale", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("part", PARTS)
def test_no_part_of_the_language_scans_history(
    tmp_path: Path, large_history: Path, small_history: Path, part: str, statistics: str
) -> None:
    path = with_statistics(large_history, tmp_path / "history.db", statistics, small_history)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE loads SET as_of = '2026-11-23 09:00:00.000000'")
    engine = create_database_engine(f"sqlite:///{path}", foreign_keys=False)
    rules_path = tmp_path / "rules.yaml"
    rules_path.write_text(str(PARTS[part]), encoding="utf-8")
    lines = explained(engine)
    options = RunOptions("hourly", RunMode.LOAD_AND_DECIDE, DECIDED_AT, tmp_path, None, 0)
    result = decide_pending(engine, read_rules(rules_path), decided_at=DECIDED_AT, options=options)
    assert result.event_count == BATCH
    assert scans(lines) == set()
