"""A rules file that enables nothing decides nothing: the events wait for one that does."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import Window
from tests.decisions.helpers import event, rule, sent
from tests.pipeline import AS_OF, Pipeline

NO_RULES: tuple[dict[str, Any], ...] = ({"rules": []}, {"rules": [rule(enabled=False)]})
DAY = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Pipeline:
    return Pipeline(tmp_path / "run", migrated_template)


@pytest.mark.parametrize("rules", NO_RULES, ids=["empty", "all off"])
def test_events_wait_until_a_rule_is_enabled(pipeline, rules):
    pipeline.land([event("a"), event("b")])
    pipeline.do(pipeline.options(), rules)
    result = pipeline.decide(rules)
    assert (result.event_count, result.waiting_count, result.outcomes) == (0, 2, ())
    assert pipeline.rows("SELECT state FROM loads") == [("loaded",)]
    assert pipeline.rows("SELECT decided_count, ruleset_id FROM runs") == [(None, None)]
    assert pipeline.rows("SELECT id FROM batches UNION ALL SELECT id FROM rulesets") == []
    pipeline.do(pipeline.options(), {"rules": [rule()]})
    assert sent(pipeline) == ["a", "b"]


def test_nothing_waits_where_nothing_is_new(pipeline):
    assert pipeline.decide({"rules": []}).waiting_count == 0


def test_what_a_backfill_asks_for_waits_too_and_what_waits_for_its_time_keeps_doing_so(pipeline):
    pipeline.land([event("held"), event("later", at="2026-03-01T20:00:00Z")])
    pipeline.do(pipeline.options(DAY, RunMode.LOAD_ONLY), {"rules": []})
    early = pipeline.options(DAY, as_of=datetime(2026, 3, 1, 12, tzinfo=UTC), max_event_ahead_hours=1)
    pipeline.do(early, {"rules": []})
    assert {row[1] for row in pipeline.waiting()} == {"a backfill"}
    pipeline.do(early, {"rules": [rule()]})
    pipeline.do(pipeline.options(as_of=AS_OF + timedelta(days=1), max_event_ahead_hours=1), {"rules": []})
    assert sent(pipeline) == ["held"]
    assert [row[1] for row in pipeline.waiting()] == ["its time"]
