"""What a run with a window or a limit of age decides: held events, interrupted backfills, expired matches."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.decisions import decide_pending, read_rules
from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import RunOptions, Window
from tests.pipeline import AS_OF, Pipeline

DAY = datetime(2026, 11, 20, tzinfo=UTC)
WHOLE_DAY = Window(DAY, DAY + timedelta(days=1))
MORNING = Window(DAY, DAY + timedelta(hours=12))
NEVER = 0

HOURS_TO_NOON = int((AS_OF - MORNING.end).total_seconds() // 3600)
"""A limit of age by which events before noon of the day are too old."""


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Pipeline:
    return Pipeline(tmp_path / "run", migrated_template)


def event(name: str, hour: int, event_type: str = "signup", user_id: str = "ada") -> dict[str, Any]:
    return {
        "message_id": name,
        "user_id": user_id,
        "event_type": event_type,
        "event_timestamp": (DAY + timedelta(hours=hour)).isoformat(),
    }


def rule(mode: str = "none", *, alert: bool = False, event_type: str = "signup", **keys: Any) -> dict[str, Any]:
    kind = {"type": "alert", "delivery_method": "internal"} if alert else {"type": "send", "delivery_method": "email"}
    return {
        "name": f"on_{event_type}_{mode}" + ("_alert" if alert else ""),
        "trigger": {"event_type": event_type},
        "action": {"template_name": "T"} | kind,
        "suppression": {"mode": mode},
        **keys,
    }


def rules(*each: Mapping[str, Any]) -> dict[str, Any]:
    return {"rules": list(each)}


def outcomes(pipeline: Pipeline) -> list[tuple[str, str]]:
    """Each event by its message_id, and whether it was sent or why it was refused, in the order of decision."""
    return [
        (str(row[0]), str(row[1]))
        for row in pipeline.rows(
            "SELECT message_id, 'sent' FROM send_requests JOIN events e ON e.id = event_id UNION ALL "
            "SELECT message_id, suppression_reason FROM suppressions JOIN events e ON e.id = event_id"
        )
    ]


def backfill(pipeline: Pipeline, document: Mapping[str, Any], window: Window = WHOLE_DAY, **told: Any) -> None:
    pipeline.do(pipeline.options(window, **told), document)


def land(pipeline: Pipeline, *events: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    pipeline.land(events)
    return events


def test_an_event_at_the_limit_is_sent_and_one_before_it_has_expired(pipeline):
    land(pipeline, event("old", 11, user_id="bob"), event("noon", 12))
    backfill(pipeline, rules(rule()), max_event_age_hours=HOURS_TO_NOON)
    assert outcomes(pipeline) == [("noon", "sent"), ("old", "expired")]


def test_what_has_expired_uses_up_no_once(pipeline):
    land(pipeline, event("old", 11), event("young", 13))
    backfill(pipeline, rules(rule("once_ever")), max_event_age_hours=HOURS_TO_NOON)
    assert outcomes(pipeline) == [("old", "expired"), ("young", "sent")]


def test_what_would_not_have_gone_out_anyway_keeps_its_reason_and_the_send_that_blocked_it(pipeline):
    land(pipeline, event("first", 13))
    backfill(pipeline, rules(rule("once_ever")), max_event_age_hours=HOURS_TO_NOON)
    land(pipeline, event("late", 11))
    backfill(pipeline, rules(rule("once_ever")), max_event_age_hours=HOURS_TO_NOON)
    assert outcomes(pipeline) == [("first", "sent"), ("late", "once_ever")]
    assert pipeline.rows("SELECT blocked_by_send_request_id FROM suppressions") == [(1,)]


def test_an_alert_never_expires(pipeline):
    land(pipeline, event("old", 1))
    backfill(pipeline, rules(rule(alert=True)), max_event_age_hours=HOURS_TO_NOON)
    assert outcomes(pipeline) == [("old", "sent")]


def test_an_expired_event_is_history_for_younger_ones(pipeline):
    land(pipeline, event("old", 11), event("young", 13, "link"))
    prior = {"prior_event": {"event_type": "signup", "hours": 24}}
    nudge = rule(event_type="link", conditions={"all": [prior]})
    backfill(pipeline, rules(rule(), nudge), max_event_age_hours=HOURS_TO_NOON)
    assert outcomes(pipeline) == [("old", "expired"), ("young", "sent")]


def test_of_an_exclusive_group_the_first_rule_decides_also_when_it_has_expired(pipeline):
    land(pipeline, event("old", 1))
    first, second = rule("once_ever", exclusive_group="g"), rule(exclusive_group="g")
    backfill(pipeline, rules(first, second), max_event_age_hours=HOURS_TO_NOON)
    assert pipeline.rows("SELECT rule_name FROM suppressions") == [("on_signup_once_ever",)]


def test_a_backfill_that_was_cut_off_is_finished_by_the_next_hourly_run_within_its_own_limit(pipeline):
    land(pipeline, event("old", 11, user_id="bob"), event("young", 13))
    # What a killed backfill leaves: its load, not decided.
    pipeline.do(pipeline.options(WHOLE_DAY, max_event_age_hours=HOURS_TO_NOON), {"rules": []})
    pipeline.execute("UPDATE loads SET state = 'loaded', ruleset_id = NULL, decided_at = NULL")
    pipeline.do(pipeline.options(), rules(rule()))
    assert outcomes(pipeline) == [("old", "expired"), ("young", "sent")]


def test_a_backfill_decides_nothing_that_the_hourly_run_left(pipeline):
    land(pipeline, event("hourly", 1))
    pipeline.take()
    land(pipeline, event("backfilled", 2, user_id="bob"))
    backfill(pipeline, rules(rule()), max_event_age_hours=HOURS_TO_NOON)
    assert outcomes(pipeline) == [("backfilled", "expired")]
    pipeline.do(pipeline.options(), rules(rule()))
    assert outcomes(pipeline) == [("backfilled", "expired"), ("hourly", "sent")]


def test_a_held_event_is_decided_by_the_limit_of_the_run_that_asks_for_it(pipeline):
    land(pipeline, event("old", 11))
    backfill(pipeline, rules(), mode=RunMode.LOAD_ONLY, max_event_age_hours=HOURS_TO_NOON)
    backfill(pipeline, rules(rule()), max_event_age_hours=NEVER)
    assert outcomes(pipeline) == [("old", "sent")]


def test_a_held_load_is_decided_when_the_last_of_its_events_is(pipeline):
    land(pipeline, event("early", 1), event("late", 13))
    backfill(pipeline, rules(), mode=RunMode.LOAD_ONLY)
    states = []
    for window in (MORNING, WHOLE_DAY):
        backfill(pipeline, rules(rule()), window)
        states += pipeline.rows("SELECT state FROM loads")
    assert states == [("held",), ("decided",)]
    assert outcomes(pipeline) == [("early", "sent"), ("late", "sent")]
    assert pipeline.rows("SELECT event_id, run_id FROM held_events") == [(1, 2), (2, 3)]


def test_every_decision_names_the_run_that_made_it_and_the_run_what_it_decided(pipeline):
    land(pipeline, event("a", 1), event("b", 2))
    pipeline.do(pipeline.options(), rules(rule("once_ever")))
    assert pipeline.rows("SELECT run_id FROM send_requests UNION ALL SELECT run_id FROM suppressions") == [(1,), (1,)]
    assert pipeline.rows("SELECT decided_count, ruleset_id FROM runs") == [(2, 1)]


def test_a_window_without_a_run_is_an_error(pipeline):
    pipeline.rules_path.write_text("rules: []")
    options = RunOptions("backfill", RunMode.LOAD_AND_DECIDE, AS_OF, pipeline.landing, WHOLE_DAY)
    with pytest.raises(ValueError, match="held events are marked by the run that decides them"):
        decide_pending(pipeline.engine, read_rules(pipeline.rules_path), decided_at=AS_OF, options=options)
