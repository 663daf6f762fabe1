"""The lease in the database: one holder, renewed while it lives, taken from the dead, and a guard of transactions."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from src.marketing_messaging_service.errors import DatabaseError, LeaseLostError, LostRowsError, RunInProgressError
from src.marketing_messaging_service.infrastructure import run_lease as leases
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    read_transaction,
    timestamp_text,
    utc_now,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.run_lease import Holder, read_holder, run_lease

NOTE = text("INSERT INTO rulesets (content_hash, yaml_text, first_used_at) VALUES (:note, '', '2026-01-01')")


def lease(engine: Engine, *, seconds: float = 60, wait: Callable[[Holder], bool] = lambda _: False) -> Any:
    return run_lease(engine, "hourly", flow_run_id=None, lease_seconds=seconds, wait=wait)


def held_elsewhere(engine: Engine, *, until: timedelta, clock_ahead: timedelta = timedelta(0)) -> None:
    """Enter a lease of another machine, or renew it."""
    now = utc_now() + clock_ahead
    with write_transaction(engine) as connection:
        connection.execute(
            text("REPLACE INTO run_leases VALUES (1, 'theirs', 'backfill', NULL, 'elsewhere', 1, :now, :now, :until)"),
            {"now": timestamp_text(now), "until": timestamp_text(now + until)},
        )


def left_by_a_killed_run(engine: Engine) -> None:
    """Have the lease of a run of this machine that did not give it back."""
    with lease(engine, seconds=3600), read_transaction(engine) as connection:
        row = connection.execute(text("SELECT * FROM run_leases")).one()
    with write_transaction(engine) as connection:
        connection.exec_driver_sql("INSERT INTO run_leases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", tuple(row))


def notes(engine: Engine) -> int:
    with read_transaction(engine) as connection:
        count: int = connection.execute(text("SELECT count(*) FROM rulesets")).scalar_one()
    return count


def test_it_says_who_is_at_work_and_since_when_and_is_gone_at_the_end(engine):
    with lease(engine):
        holder = read_holder(engine)
        assert holder is not None
        assert str(holder) == f"hourly, at work since {holder.acquired_at:%Y-%m-%d %H:%M:%S} UTC"
    assert read_holder(engine) is None


def test_it_is_given_back_when_the_run_fails(engine):
    with pytest.raises(KeyError), lease(engine):
        raise KeyError
    assert read_holder(engine) is None


def test_while_another_machine_holds_it_a_run_waits_and_then_says_who_is_at_work(engine):
    held_elsewhere(engine, until=timedelta(hours=1))
    waited: list[str] = []

    def wait(holder: Holder) -> bool:
        waited.append(holder.holder_name)
        return len(waited) < 3

    with (
        pytest.raises(RunInProgressError, match="Another run is at work: backfill, at work since "),
        lease(engine, wait=wait),
    ):
        pass
    assert waited == ["backfill"] * 3
    assert read_holder(engine) is not None


def test_one_of_another_machine_that_was_not_renewed_in_time_is_taken(engine):
    held_elsewhere(engine, until=timedelta(seconds=0.2))

    def wait(_: Holder) -> bool:
        time.sleep(0.1)
        return True

    with lease(engine, wait=wait):
        holder = read_holder(engine)
        assert holder is not None
        assert holder.holder_name == "hourly"


YEAR = timedelta(days=365)


@pytest.mark.parametrize(
    ("until", "clock_ahead"),
    [(timedelta(seconds=0.3), YEAR), (timedelta(seconds=0.3), timedelta(hours=3)), (timedelta(seconds=0.3), -YEAR)],
)
def test_one_of_a_machine_whose_clock_is_wrong_is_taken_when_it_is_not_renewed_for_as_long_as_it_lasts(
    engine, until, clock_ahead
):
    held_elsewhere(engine, until=until, clock_ahead=clock_ahead)
    began = time.monotonic()

    def wait(_: Holder) -> bool:
        time.sleep(0.05)
        return time.monotonic() - began < 30

    with lease(engine, seconds=0.3, wait=wait):
        holder = read_holder(engine)
        assert holder is not None
        assert holder.holder_name == "hourly"


def test_one_of_a_machine_whose_clock_is_ahead_is_not_taken_while_it_is_renewed(engine):
    waited = 0

    def renew_and_wait(_: Holder) -> bool:
        nonlocal waited
        waited += 1
        held_elsewhere(engine, until=timedelta(seconds=0.2), clock_ahead=YEAR)
        time.sleep(0.05)
        return waited < 12

    held_elsewhere(engine, until=timedelta(seconds=0.2), clock_ahead=YEAR)
    with pytest.raises(RunInProgressError), lease(engine, seconds=0.2, wait=renew_and_wait):
        pass
    assert waited == 12


def test_one_of_a_machine_whose_clock_is_ahead_says_so_and_what_to_do(engine):
    held_elsewhere(engine, until=timedelta(seconds=60), clock_ahead=YEAR + timedelta(seconds=1))
    with pytest.raises(RunInProgressError) as caught, lease(engine):
        pass
    since = utc_now() + YEAR
    assert str(caught.value).startswith(f"Another run is at work: backfill, at work since {since:%Y-}")
    assert str(caught.value).endswith(
        " UTC by the clock of the machine elsewhere, which is 365 days ahead of this one's (correct the wrong clock; "
        "if nothing is at work there, a run that may wait for more than 60 s, see RUN_LOCK_TIMEOUT_SECONDS, takes "
        "over)."
    )


@pytest.mark.parametrize(
    ("until", "length"),
    [(timedelta(days=4), "3 days"), (timedelta(days=1, hours=3), "3 hours"), (timedelta(days=1, minutes=90), "90 min")],
)
def test_one_that_is_to_last_longer_than_any_does_is_of_a_clock_that_is_ahead(engine, until, length):
    held_elsewhere(engine, until=until + timedelta(seconds=5))
    with pytest.raises(RunInProgressError, match=f"which is {length}.* ahead of this one's"), lease(engine):
        pass


def test_one_of_this_machine_is_taken_at_once_because_its_holder_let_go_of_the_lock_file(engine):
    killed = lease(engine)
    killed.__enter__()
    with lease(create_database_engine(str(engine.url))):
        pass


def test_a_disk_in_trouble_is_reported_and_not_taken_for_another_run(engine):
    failed = lease(engine)
    failed.__enter__()
    other = create_database_engine(str(engine.url))

    @event.listens_for(other, "connect")
    def refuse_writing(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only=ON")

    with pytest.raises(DatabaseError, match="attempt to write a readonly database"), lease(other):
        pass


def test_one_that_a_trigger_keeps_out_is_a_sentence_and_no_other_run(engine):
    with write_transaction(engine) as connection:
        connection.execute(text("CREATE TRIGGER quiet BEFORE INSERT ON run_leases BEGIN SELECT RAISE(IGNORE); END"))
    with pytest.raises(LostRowsError, match=r"the table run_leases, and 0 .* The trigger quiet"), lease(engine):
        pass


def test_it_is_renewed_while_the_run_does_nothing(engine):
    with lease(engine, seconds=0.4):
        first = read_holder(engine)
        time.sleep(0.5)
        second = read_holder(engine)
    assert first is not None
    assert second is not None
    assert second.expires_at > first.expires_at


def test_a_transaction_renews_it_before_its_commit(engine):
    with lease(engine):
        first = read_holder(engine)
        with write_transaction(engine) as connection:
            connection.execute(NOTE, {"note": "a"})
        second = read_holder(engine)
    assert first is not None
    assert second is not None
    assert second.expires_at > first.expires_at
    assert notes(engine) == 1


def test_a_run_that_has_lost_it_commits_nothing_more(engine):
    other = create_database_engine(str(engine.url))
    with lease(engine):
        with write_transaction(other) as connection:
            connection.execute(text("UPDATE run_leases SET holder_id = 'theirs'"))
        with (
            pytest.raises(LeaseLostError, match="Another run took over, because this one sent no heartbeat for"),
            write_transaction(engine) as connection,
        ):
            connection.execute(NOTE, {"note": "a"})
    assert notes(other) == 0
    assert read_holder(other) is not None


def test_reading_needs_no_lease(engine):
    with lease(engine):
        with write_transaction(create_database_engine(str(engine.url))) as connection:
            connection.execute(text("DELETE FROM run_leases"))
        assert notes(engine) == 0


def test_a_database_from_before_leases_has_no_holder(tmp_path):
    engine = create_database_engine(f"sqlite:///{tmp_path}/new.db", create=True)
    assert read_holder(engine) is None


def test_one_that_a_killed_run_of_this_machine_left_is_taken_at_once(engine):
    left_by_a_killed_run(engine)
    with lease(engine):
        assert read_holder(engine) is not None


@pytest.mark.parametrize("change", ["holder_id = 'b' || substr(holder_id, 2)", "holder_id = 'of an older version'"])
def test_one_of_another_machine_of_the_same_name_is_not_taken(engine, monkeypatch, tmp_path, change):
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("a")  # its letters begin with another one than b
    monkeypatch.setattr(leases, "_BOOT_ID", boot_id)
    left_by_a_killed_run(engine)
    with write_transaction(engine) as connection:
        connection.exec_driver_sql(f"UPDATE run_leases SET {change}")
    with pytest.raises(RunInProgressError), lease(engine):
        pass


def test_one_from_before_this_machine_was_restarted_is_not_taken_for_one_of_now(engine, monkeypatch, tmp_path):
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("first start")
    monkeypatch.setattr(leases, "_BOOT_ID", boot_id)
    left_by_a_killed_run(engine)
    boot_id.write_text("second start")
    with pytest.raises(RunInProgressError), lease(engine):
        pass


def test_a_system_without_such_a_name_still_knows_its_own(engine, monkeypatch, tmp_path):
    monkeypatch.setattr(leases, "_BOOT_ID", tmp_path / "none")
    left_by_a_killed_run(engine)
    with lease(engine):
        assert read_holder(engine) is not None
