"""One run at a time on one database, whatever kind it is."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import StaticPool, make_url

from src.marketing_messaging_service.errors import DatabaseError, LeaseLostError, RunInProgressError
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    shown_database,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_of
from src.marketing_messaging_service.infrastructure.dialects.postgresql import dialect as postgresql_dialect
from src.marketing_messaging_service.infrastructure.dialects.postgresql import sessions
from src.marketing_messaging_service.infrastructure.run_lease import read_holder, run_lease
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
from tests.postgresql import Server

REPOSITORY = Path(__file__).resolve().parents[2]

HOLD_UNTIL_KILLED = """
import sys
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
with run_lock(sys.argv[1], 0, lambda: None):
    print("held", flush=True)
    sys.stdin.read()
"""


def not_expected_to_wait() -> None:
    """Fail: the lock was expected to be free."""
    pytest.fail("the lock was not free")


def test_it_is_free_again_at_the_end_and_after_a_failure(url_of_each: str) -> None:
    with pytest.raises(KeyError), run_lock(url_of_each, 0, not_expected_to_wait):
        raise KeyError
    for _ in range(2):
        with run_lock(url_of_each, 0, not_expected_to_wait):
            pass


def test_a_second_run_waits_for_its_turn(url_of_each: str) -> None:
    second_waits = threading.Event()

    def second_run() -> str:
        with run_lock(url_of_each, 30, second_waits.set):
            return "had its turn"

    with ThreadPoolExecutor(1) as pool:
        with run_lock(url_of_each, 0, not_expected_to_wait):
            second = pool.submit(second_run)
            assert second_waits.wait(timeout=30)
            assert not second.done()
        assert second.result(timeout=30) == "had its turn"


def test_a_second_run_gives_up_with_a_sentence_that_names_the_database(url_of_each: str) -> None:
    waited: list[str] = []
    with (
        run_lock(url_of_each, 0, not_expected_to_wait),
        pytest.raises(RunInProgressError) as caught,
        run_lock(url_of_each, 0.1, lambda: waited.append("waited")),
    ):
        pass
    assert str(caught.value) == (
        f"Another run is at work on {shown_database(url_of_each)} and did not end within 0.1 s; nothing was done. "
        "What it leaves pending is taken by the next run."
    )
    assert waited == ["waited"]


def test_the_lock_of_a_killed_process_is_free_at_once(url_of_each: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_UNTIL_KILLED, url_of_each],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunInProgressError), run_lock(url_of_each, 0, lambda: None):
            pass
        holder.kill()
    with run_lock(url_of_each, 5, lambda: None):
        pass


def test_runs_on_two_databases_of_one_server_do_not_wait_for_each_other(postgresql: Server) -> None:
    with (
        run_lock(postgresql.new_database(), 0, not_expected_to_wait),
        run_lock(postgresql.new_database(), 0, not_expected_to_wait),
    ):
        pass


def test_a_lock_that_cannot_be_asked_for_is_a_sentence(postgresql: Server) -> None:
    with (
        pytest.raises(DatabaseError, match='database "nothing" does not exist'),
        run_lock(postgresql.url_of("nothing"), 0, not_expected_to_wait),
    ):
        pass


def test_a_run_whose_connection_breaks_writes_nothing_beside_the_run_that_took_its_place(
    postgresql: Server, postgresql_template: str
) -> None:
    url = postgresql.new_database(postgresql_template)
    engines = [create_database_engine(url) for _ in range(2)]
    with ExitStack() as first, ExitStack() as second:
        for engine, held in zip(engines, (first, second), strict=True):
            held.enter_context(run_lock(url, 0, not_expected_to_wait))
            lease = run_lease(engine, "hourly", flow_run_id=None, lease_seconds=3600, wait=lambda _: False)
            held.enter_context(lease)
            postgresql.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        with (
            pytest.raises(LeaseLostError, match="the connection with which this one held the database broke"),
            write_transaction(engines[0]),
        ):
            pass
    assert read_holder(engines[0]) is None


def test_a_pooler_that_shares_one_session_among_many_is_refused(
    postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.new_database()
    # What such a pooler does, without one: every caller gets the same session.
    engine = sessions.engine_of(make_url(url), poolclass=StaticPool)
    monkeypatch.setattr(postgresql_dialect, "engine_of", lambda *_, **__: engine)
    with (
        pytest.raises(DatabaseError, match=r"a pooler .* Let DATABASE_URL name the server itself"),
        dialect_of(url).run_lock(url, 0, not_expected_to_wait),
    ):
        pass
    engine.dispose()
