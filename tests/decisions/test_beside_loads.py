"""Deciding while other runs load: every event is decided once, whenever its load was committed."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from src.marketing_messaging_service.decisions import AUDIT
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    read_transaction,
)
from src.marketing_messaging_service.infrastructure.several_writers import create_engine_beside_others
from src.marketing_messaging_service.models import Batch, Load, LoadState
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from tests.pipeline import Pipeline
from tests.postgresql import Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

USERS = 20


def signup(number: int) -> dict[str, Any]:
    return {
        "message_id": f"m{number}",
        "user_id": f"u{number % USERS}",
        "event_type": "signup_completed" if number < USERS else "link_bank_success",
        "event_timestamp": f"2026-11-22T10:{number % 60:02}:00Z",
    }


RULES: Mapping[str, Any] = {
    "rules": [
        {
            "name": "nudge",
            "trigger": {"event_type": "link_bank_success"},
            "conditions": {"prior_event": {"event_type": "signup_completed", "hours": 24}},
            "action": {"type": "send", "template_name": "NUDGE", "delivery_method": "sms"},
            "suppression": {"mode": "once_ever"},
        },
        {
            "name": "welcome",
            "trigger": {"event_type": "signup_completed"},
            "action": {"type": "send", "template_name": "WELCOME", "delivery_method": "email"},
            "suppression": {"mode": "once_ever"},
        },
    ]
}


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path, postgresql: Server, postgresql_template: str) -> Pipeline:
    pipeline = Pipeline(tmp_path / "pipeline", migrated_template, postgresql.new_database(postgresql_template))
    pipeline.engine = create_engine_beside_others(pipeline.database_url)
    return pipeline


def waiting_loads(pipeline: Pipeline) -> int:
    with read_transaction(pipeline.engine) as connection:
        return len(connection.execute(select(Load.id).where(Load.state == LoadState.LOADED)).all())


def test_a_load_that_is_committed_while_a_batch_decides_waits_for_the_next_one(pipeline: Pipeline) -> None:
    pipeline.land([signup(number) for number in range(USERS)])
    pipeline.take()
    # Of users who have signed up, so that each earns a message when it is decided, and none when it is only marked.
    pipeline.land([signup(number) for number in range(USERS, 2 * USERS)])
    with ThreadPoolExecutor(1) as pool:
        # In the way of the decider when it has matched, and before it marks.
        with held_table(pipeline, "send_requests"):
            deciding = pool.submit(pipeline.decide, RULES)
            wait_for(pipeline, "INSERT INTO send_requests%")
            pipeline.take()
        assert deciding.result(30).event_count == USERS
    assert waiting_loads(pipeline) == 1
    assert pipeline.decide(RULES).event_count == USERS
    assert waiting_loads(pipeline) == 0
    assert len(pipeline.send_requests()) == 2 * USERS
    report = check_database(pipeline.database_url, (*INVARIANTS, *AUDIT))
    assert report.broken == ()


def test_a_load_under_way_when_a_batch_begins_is_decided_by_it(pipeline: Pipeline) -> None:
    pipeline.land([signup(number) for number in range(USERS)])
    with ThreadPoolExecutor(2) as pool:
        with held_table(pipeline, "events"):
            loading = pool.submit(pipeline.take)
            wait_for(pipeline, "INSERT INTO %events%")
            deciding = pool.submit(pipeline.decide, RULES)
            wait_for(pipeline, "SELECT pg_advisory_lock%")
        assert len(loading.result(30)) == 1
        assert deciding.result(30).event_count == USERS
    with read_transaction(pipeline.engine) as connection:
        assert connection.execute(select(Batch.last_load_id)).scalars().all() == [1]


def test_batches_that_are_decided_at_once_decide_each_event_once(pipeline: Pipeline) -> None:
    pipeline.land([signup(number) for number in range(2 * USERS)])
    pipeline.take()
    with ThreadPoolExecutor(3) as pool:
        decided = [each.event_count for each in pool.map(pipeline.decide, [RULES] * 3)]
    assert sorted(decided) == [0, 0, 2 * USERS]
    assert len(pipeline.send_requests()) == 2 * USERS


@contextmanager
def held_table(pipeline: Pipeline, name: str) -> Iterator[None]:
    """Block all writes to a table for a while."""
    with create_database_engine(pipeline.database_url).connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute(f"BEGIN; LOCK TABLE {name} IN SHARE MODE")
        yield
        driver.execute("ROLLBACK")


def wait_for(pipeline: Pipeline, statement: str) -> None:
    """Wait until a session of the database waits for a lock in some statement."""
    ticks = threading.Event()
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
    for _ in range(300):
        with read_transaction(pipeline.engine) as connection:
            if connection.exec_driver_sql(f"{asked}AND query LIKE '{statement.replace('%', '%%')}'").scalar_one():
                return
        ticks.wait(0.05)
    raise AssertionError(statement)
