"""How the database is opened, and how time is stored in it."""

import signal
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, func, insert, select, text
from sqlalchemy.exc import OperationalError, StatementError

from src.marketing_messaging_service.errors import DatabaseError, LoadError, RefusedRowError
from src.marketing_messaging_service.infrastructure.database import (
    UtcDateTime,
    create_database_engine,
    damage_told,
    interruptible,
    preview_engine,
    read_transaction,
    timestamp_text,
    url_of,
    utc_now,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.dialects.sqlite import dialect
from src.marketing_messaging_service.models import Ruleset
from tests.database_session import create_session

moments = Table("moments", MetaData(), Column("id", Integer, primary_key=True), Column("instant", UtcDateTime))

INDIA = timezone(timedelta(hours=5, minutes=30))


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Engine]:
    """An engine on a file that holds the table `moments` alone."""
    engine = create_database_engine(f"sqlite:///{tmp_path}/scratch.db", create=True)
    moments.metadata.create_all(engine)
    yield engine
    engine.dispose()


def stored(engine: Engine, instant: datetime | None) -> tuple[str | None, datetime | None]:
    """An instant as text in the file and as Python reads it back, once it has been stored."""
    with write_transaction(engine) as connection:
        connection.execute(insert(moments).values(instant=instant))
        text = connection.exec_driver_sql("SELECT instant FROM moments").scalar_one()
        return text, connection.execute(select(moments.c.instant)).scalar_one()


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC), "2026-03-01 12:30:05.000000"),
        (datetime(2026, 3, 1, 12, 30, 5, 123456, tzinfo=UTC), "2026-03-01 12:30:05.123456"),
        (datetime(2026, 3, 1, 2, 0, tzinfo=INDIA), "2026-02-28 20:30:00.000000"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01 00:00:00.000000"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "9999-12-31 23:59:59.999999"),
    ],
)
def test_an_instant_is_stored_as_utc_text_of_one_format_and_comes_back_the_same(scratch, instant, text):
    in_file, read_back = stored(scratch, instant)
    assert in_file == text == timestamp_text(instant)
    assert read_back == instant
    assert read_back.tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "shown"), [("yesterday", "'yesterday'"), ("x" * 99, f"'{'x' * 40}'"), (b"1", "\"b'1'\"")]
)
def test_something_else_in_place_of_an_instant_is_reported_with_what_to_do(scratch, value, shown):
    with write_transaction(scratch) as connection:
        connection.exec_driver_sql("INSERT INTO moments (instant) VALUES (?)", (value,))
    with pytest.raises(DatabaseError) as caught, read_transaction(scratch) as connection:
        connection.execute(select(moments.c.instant)).scalar_one()
    assert str(caught.value).startswith(
        f"The database holds {shown} where a time belongs, and no run writes that. The "
    )


def test_a_missing_instant_stays_missing(scratch):
    assert stored(scratch, None) == (None, None)


def test_a_naive_datetime_is_refused(scratch):
    naive = datetime(2026, 3, 1, 12)  # noqa: DTZ001
    with pytest.raises(
        StatementError, match="a naive datetime cannot be stored: 2026-03-01T12:00:00 has no UTC offset"
    ):
        stored(scratch, naive)
    with pytest.raises(ValueError, match="a naive datetime cannot be stored"):
        timestamp_text(naive)


def test_an_instant_at_another_offset_is_found_by_its_utc(scratch):
    stored(scratch, datetime(2026, 3, 1, 12, tzinfo=UTC))
    same_instant = datetime(2026, 3, 1, 17, 30, tzinfo=INDIA)
    with read_transaction(scratch) as connection:
        found = connection.execute(select(moments.c.id).where(moments.c.instant == same_instant)).all()
    assert len(found) == 1


def test_the_present_is_aware_and_in_utc():
    assert utc_now().tzinfo is UTC


def test_a_connection_checks_foreign_keys_and_waits_for_locks(scratch):
    with read_transaction(scratch) as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 60_000
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA cache_size").scalar_one() == -32 * 1024


def test_foreign_keys_can_be_left_off_for_migrations(tmp_path):
    engine = create_database_engine(f"sqlite:///{tmp_path}/scratch.db", foreign_keys=False, create=True)
    with read_transaction(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 0


def test_a_migrated_file_keeps_its_writes_in_a_wal(engine):
    with read_transaction(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


def test_the_last_connection_to_close_leaves_no_wal_behind(engine, tmp_path):
    with write_transaction(engine) as connection:
        connection.execute(insert(Ruleset).values(content_hash="h", yaml_text=""))
        assert (tmp_path / "test.db-wal").exists()
    assert not (tmp_path / "test.db-wal").exists()


def test_a_write_transaction_holds_the_write_lock_before_its_first_statement(scratch):
    with write_transaction(scratch):
        other = sqlite3.connect(scratch.url.database, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_a_second_writer_waits_for_the_first_and_then_sees_what_it_wrote(engine):
    first_has_begun = threading.Event()
    count = select(func.count()).select_from(Ruleset)

    def second_writer() -> int:
        first_has_begun.wait()
        with write_transaction(engine) as connection:
            seen = connection.execute(count).scalar_one()
            connection.execute(insert(Ruleset).values(content_hash="second", yaml_text=""))
            return seen

    with ThreadPoolExecutor(1) as pool:
        with write_transaction(engine) as connection:
            seen_by_second = pool.submit(second_writer)
            first_has_begun.set()
            connection.execute(insert(Ruleset).values(content_hash="first", yaml_text=""))
            assert not seen_by_second.done()
        assert seen_by_second.result(timeout=30) == 1
    with read_transaction(engine) as connection:
        assert connection.execute(count).scalar_one() == 2


def test_a_reader_does_not_wait_for_a_writer_and_sees_one_snapshot(engine):
    count = select(func.count()).select_from(Ruleset)
    with write_transaction(engine) as writer:
        writer.execute(insert(Ruleset).values(content_hash="h", yaml_text=""))
        with read_transaction(engine) as reader:
            assert reader.execute(count).scalar_one() == 0
            writer.commit()
            assert reader.execute(count).scalar_one() == 0
    with read_transaction(engine) as reader:
        assert reader.execute(count).scalar_one() == 1


def test_a_write_transaction_that_fails_leaves_nothing_not_even_a_table(scratch):
    def fail_half_way() -> None:
        with write_transaction(scratch) as connection:
            connection.execute(insert(moments).values(instant=utc_now()))
            connection.exec_driver_sql("CREATE TABLE half (id INTEGER)")
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    with read_transaction(scratch) as connection:
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all()
        assert tables == ["moments"]
        assert connection.execute(select(func.count()).select_from(moments)).scalar_one() == 0


def test_a_row_that_a_constraint_refuses_is_reported_with_what_to_do(engine):
    ruleset = {"content_hash": "h", "yaml_text": ""}
    with (
        pytest.raises(
            RefusedRowError,
            match=r"refused a row because .* constraints \(UNIQUE constraint failed: rulesets\.content_hash\)",
        ),
        write_transaction(engine) as connection,
    ):
        connection.execute(insert(Ruleset), [ruleset, ruleset])
    with read_transaction(engine) as connection:
        assert connection.execute(select(func.count()).select_from(Ruleset)).scalar_one() == 0


UPSERT = (
    "INSERT INTO events (message_id, user_id, event_type, event_timestamp) VALUES ('m', 'u', 't', '') "
    "ON CONFLICT (message_id) DO NOTHING"
)
SCHEMA_ADVICE = (
    r".* `python -m flows.check` says which, and `python -m flows.check --repair` rebuilds indexes and views"
)


@pytest.mark.parametrize(
    ("dropped", "statement", "fault"),
    [
        ("INDEX uq_events_message_id", UPSERT, "ON CONFLICT clause does not match"),
        ("VIEW event_dates", "SELECT * FROM event_dates", "no such table: event_dates"),
        ("TABLE conflicts", "DELETE FROM conflicts", "no such table: conflicts"),
        ("VIEW event_dates", "SELECT * FROM daily_messages", "no such table: main.event_dates"),
    ],
)
def test_what_the_schema_lacks_is_a_sentence_that_leads_to_the_repair(engine, dropped, statement, fault):
    with write_transaction(engine) as connection:
        connection.exec_driver_sql(f"DROP {dropped}")
    for transaction in (write_transaction, read_transaction):
        with pytest.raises(DatabaseError, match=fault + SCHEMA_ADVICE), transaction(engine) as connection:
            connection.exec_driver_sql(statement)


def test_a_statement_that_is_wrong_in_itself_passes_as_a_defect(engine):
    with pytest.raises(OperationalError, match="syntax error"), write_transaction(engine) as connection:
        connection.exec_driver_sql("SELEKT 1")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE moments SET instant = CAST(x'32FF' AS TEXT)",
        "UPDATE sqlite_master SET sql = CAST(x'FF' AS TEXT) WHERE name = 'moments'",
    ],
    ids=["in a row", "in the schema"],
)
def test_damaged_text_is_reported_as_a_damaged_file(scratch, damage):
    stored(scratch, utc_now())
    with closing(sqlite3.connect(scratch.url.database, isolation_level=None)) as by_hand:
        by_hand.execute("PRAGMA writable_schema=ON")
        by_hand.execute(damage)
    with (
        pytest.raises(DatabaseError, match=r"The file is damaged: put a copy from before back"),
        read_transaction(scratch) as connection,
    ):
        connection.exec_driver_sql("SELECT instant FROM moments").all()


def test_what_nobody_foresaw_is_reported_as_damage_when_the_file_is_damaged(scratch):
    stored(scratch, None)
    with closing(sqlite3.connect(scratch.url.database, isolation_level=None)) as by_hand:
        by_hand.execute("PRAGMA writable_schema=ON")
        by_hand.execute("UPDATE sqlite_master SET sql = replace(sql, 'instant TEXT', 'instant TEXT NOT NULL')")
    told = r"NULL value in moments.instant \(TypeError\('a value is missing'\)\). The file is damaged: put a copy"
    with pytest.raises(DatabaseError, match=told), damage_told(scratch):
        raise TypeError("a value is missing")


@pytest.mark.parametrize("error", [TypeError("a defect"), LoadError("A sentence.")])
def test_what_nobody_foresaw_on_a_sound_file_and_every_sentence_pass_as_they_are(scratch, error):
    with pytest.raises(type(error), match=str(error)), damage_told(scratch):
        raise error


def test_what_nobody_foresaw_without_a_file_passes_as_it_is(tmp_path):
    with pytest.raises(TypeError), damage_told(create_database_engine(f"sqlite:///{tmp_path}/none.db")):
        raise TypeError


def test_a_session_commits_at_its_end(engine):
    with create_session(engine) as session:
        session.add(Ruleset(content_hash="h", yaml_text="rules: []"))
    with create_session(engine) as session:
        assert session.scalars(select(Ruleset.content_hash)).all() == ["h"]


def test_a_session_that_fails_rolls_back(engine):
    def fail_half_way() -> None:
        with create_session(engine) as session:
            session.add(Ruleset(content_hash="h", yaml_text="rules: []"))
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    with create_session(engine) as session:
        assert session.scalars(select(Ruleset)).all() == []


def test_a_session_without_an_engine_is_on_the_configured_database(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/configured.db")
    with create_session(create_database_engine(f"sqlite:///{tmp_path}/configured.db", create=True)) as session:
        session.execute(text("CREATE TABLE configured AS SELECT 1 AS one"))
    with create_session() as session:
        assert session.execute(text("SELECT one FROM configured")).scalar_one() == 1


def test_a_database_that_is_not_there_is_an_error_and_not_a_new_one(tmp_path):
    engine = create_database_engine(url_of(tmp_path / "a %41#?.db"))
    with (
        pytest.raises(DatabaseError, match=r"unable to open database file\. Check that DATABASE_URL names"),
        read_transaction(engine),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_database_whose_name_means_something_in_a_url_is_opened_by_that_name(tmp_path):
    path = tmp_path / "zoë %41#?.db"
    path.touch()
    with write_transaction(create_database_engine(url_of(path))) as connection:
        connection.exec_driver_sql("CREATE TABLE one (id INTEGER)")
    assert path.stat().st_size > 0


def test_a_percent_sign_in_a_url_stands_for_a_character_as_in_every_url(tmp_path):
    path = tmp_path / "a?.db"
    path.touch()
    with write_transaction(create_database_engine(f"sqlite:///{tmp_path}/%61%3F.db")) as connection:
        connection.exec_driver_sql("CREATE TABLE one (id INTEGER)")
    assert path.stat().st_size > 0


class TestAPreview:
    def count(self, engine: Engine) -> int:
        with read_transaction(engine) as connection:
            count: int = connection.execute(text("SELECT count(*) FROM rulesets")).scalar_one()
        return count

    def note(self, connection: Connection, name: str) -> None:
        connection.execute(
            text("INSERT INTO rulesets (content_hash, yaml_text, first_used_at) VALUES (:name, '', '2026-01-01')"),
            {"name": name},
        )

    def test_sees_what_it_did_and_keeps_nothing(self, engine, database_url):
        with preview_engine(database_url) as scratch:
            for name in ("a", "b"):
                with write_transaction(scratch) as connection:
                    self.note(connection, name)
            assert self.count(scratch) == 2
        assert self.count(engine) == 0

    def test_a_transaction_that_fails_takes_back_its_own_part_only(self, engine, database_url):
        with preview_engine(database_url) as scratch:
            with write_transaction(scratch) as connection:
                self.note(connection, "a")
            with suppress(KeyError), write_transaction(scratch) as connection:
                self.note(connection, "b")
                raise KeyError
            assert self.count(scratch) == 1

    def test_that_fails_keeps_nothing_either(self, engine, database_url):
        with suppress(KeyError), preview_engine(database_url) as scratch:
            with write_transaction(scratch) as connection:
                self.note(connection, "a")
            raise KeyError
        assert self.count(engine) == 0

    def test_that_sqlite_itself_rolls_back_keeps_nothing_of_what_follows_and_says_why(self, engine, database_url):
        with preview_engine(database_url) as scratch:
            with write_transaction(scratch) as connection:
                self.note(connection, "a")
            # As an error of the disk does, this ends the whole transaction.
            again = text("INSERT OR ROLLBACK INTO rulesets (content_hash, yaml_text) VALUES ('a', '')")
            with pytest.raises(RefusedRowError), write_transaction(scratch) as connection:
                connection.execute(again)
            with pytest.raises(RefusedRowError, match="first_used_at"), write_transaction(scratch) as connection:
                self.note(connection, "b")
        assert self.count(engine) == 0

    def test_sees_what_was_there_before(self, engine, database_url):
        with write_transaction(engine) as connection:
            self.note(connection, "a")
        with preview_engine(database_url) as scratch:
            assert self.count(scratch) == 1

    def test_holds_the_write_lock_while_readers_go_on(self, engine, database_url, monkeypatch):
        monkeypatch.setattr(dialect, "BUSY_TIMEOUT_SECONDS", 0)
        with preview_engine(database_url):
            assert self.count(engine) == 0
            with pytest.raises(DatabaseError, match="locked"), write_transaction(engine):
                pass


class _CancelledError(BaseException):
    """What a signal raises that cancels a run."""


def test_a_transaction_that_a_signal_interrupts_is_rolled_back_at_once(engine, database_url, monkeypatch):
    def interrupt(*_: object) -> None:
        raise _CancelledError

    monkeypatch.setattr(dialect, "BUSY_TIMEOUT_SECONDS", 0)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with write_transaction(engine) as connection:
            connection.execute(insert(Ruleset).values(content_hash="a", yaml_text="", first_used_at=utc_now()))
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            while True:
                connection.execute(
                    text(
                        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 99999) "
                        "SELECT count(*) FROM n"
                    )
                )
    except _CancelledError:
        # The exception is remembered here, and with it all that its traceback leads to.
        with write_transaction(create_database_engine(database_url)) as connection:
            assert connection.execute(text("SELECT count(*) FROM rulesets")).scalar_one() == 0
    finally:
        signal.signal(signal.SIGALRM, before)


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT sum(i) FROM n"


def insert_and_compute_for_ever(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        connection.execute(insert(moments).values(instant=utc_now()))
        connection.exec_driver_sql(ENDLESS)


def test_a_statement_that_nobody_wants_any_more_ends_and_what_comes_after_it_is_done(scratch):
    looks = iter([False, True, True, True])
    with interruptible(scratch, lambda: next(looks)):
        with pytest.raises(DatabaseError, match="interrupted"):
            insert_and_compute_for_ever(scratch)
        with write_transaction(scratch) as connection:
            long = ENDLESS.replace("FROM n)", "FROM n LIMIT 1000000)")
            assert connection.exec_driver_sql(long).scalar_one() == 1_000_000
            assert connection.execute(select(func.count()).select_from(moments)).scalar_one() == 0


def test_a_statement_of_a_preview_can_be_ended_too(scratch, tmp_path):
    with (
        preview_engine(url_of(tmp_path / "scratch.db")) as preview,
        interruptible(preview, lambda: True),
        pytest.raises(DatabaseError, match="interrupted"),
        write_transaction(preview) as connection,
    ):
        connection.exec_driver_sql(ENDLESS)


def test_the_wait_for_the_write_lock_of_another_program_can_be_ended(scratch):
    looks = iter([False, False, True])
    with closing(sqlite3.connect(scratch.url.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with (
            interruptible(scratch, lambda: next(looks)),
            pytest.raises(DatabaseError, match="database is locked"),
            write_transaction(scratch),
        ):
            pass
    with write_transaction(scratch) as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 60_000


def test_so_can_that_of_a_preview(scratch, tmp_path):
    looks = iter([False, True])
    with closing(sqlite3.connect(scratch.url.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with (
            pytest.raises(DatabaseError, match="database is locked"),
            preview_engine(url_of(tmp_path / "scratch.db"), lambda: next(looks)),
        ):
            pass
