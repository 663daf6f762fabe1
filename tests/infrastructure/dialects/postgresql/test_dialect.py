import threading

import pytest
from sqlalchemy import Connection, insert, select, text

from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    preview_engine,
    read_transaction,
    tell_planner,
    utc_now,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.models import Ruleset
from tests.postgresql import Server


def note(connection: Connection, name: str) -> None:
    connection.execute(insert(Ruleset).values(content_hash=name, yaml_text="", first_used_at=utc_now()))


def fail_after_noting(connection: Connection, name: str) -> None:
    note(connection, name)
    raise ZeroDivisionError


def names(url: str) -> list[str]:
    with read_transaction(create_database_engine(url)) as connection:
        return list(connection.execute(select(Ruleset.content_hash).order_by(Ruleset.content_hash)).scalars())


def test_what_is_committed_stands_and_an_error_takes_a_transaction_back(url_of_each: str) -> None:
    engine = create_database_engine(url_of_each)
    with write_transaction(engine) as connection:
        note(connection, "a")
    with pytest.raises(ZeroDivisionError), write_transaction(engine) as connection:
        fail_after_noting(connection, "b")
    assert names(url_of_each) == ["a"]


def test_text_is_ordered_by_code_point(url_of_each: str) -> None:
    with write_transaction(create_database_engine(url_of_each)) as connection:
        for name in ("a", "B", "é", "_", "ab", "A"):
            note(connection, name)
    assert names(url_of_each) == sorted(["a", "B", "é", "_", "ab", "A"])


def test_a_preview_sees_what_it_wrote_and_keeps_nothing(url_of_each: str) -> None:
    with preview_engine(url_of_each) as scratch:
        with write_transaction(scratch) as connection:
            note(connection, "a")
        with pytest.raises(ZeroDivisionError), write_transaction(scratch) as connection:
            fail_after_noting(connection, "b")
        with read_transaction(scratch) as connection:
            assert list(connection.execute(select(Ruleset.content_hash)).scalars()) == ["a"]
    assert names(url_of_each) == []


def test_a_writer_waits_for_another_one_and_sees_what_it_wrote(url_of_each: str) -> None:
    seen: list[str] = []

    def write_too() -> None:
        with write_transaction(create_database_engine(url_of_each)) as connection:
            seen.extend(connection.execute(select(Ruleset.content_hash)).scalars())
            note(connection, "b")

    other = threading.Thread(target=write_too)
    with write_transaction(create_database_engine(url_of_each)) as connection:
        note(connection, "a")
        other.start()
        other.join(0.3)
        assert other.is_alive()
    other.join()
    assert seen == ["a"]
    assert names(url_of_each) == ["a", "b"]


@pytest.mark.parametrize(("stood", "known"), [(0, 1_001), (10_000, -1)])
def test_the_planner_hears_of_rows_that_are_a_large_part_of_a_table(
    postgresql: Server, postgresql_template: str, stood: int, known: int
) -> None:
    url = postgresql.new_database(postgresql_template)
    with write_transaction(create_database_engine(url)) as connection:
        values = [{"content_hash": str(number), "yaml_text": "", "first_used_at": utc_now()} for number in range(1_001)]
        connection.execute(insert(Ruleset), values)
        tell_planner(connection, [Ruleset], added=len(values), stood=stood)
        rows = text("SELECT reltuples FROM pg_class WHERE relname = 'rulesets'")
        assert connection.execute(rows).scalar_one() == known
    postgresql.drop(url)


def test_a_time_that_the_database_writes_is_in_utc(postgresql: Server, postgresql_template: str) -> None:
    url = postgresql.new_database(postgresql_template)
    with write_transaction(create_database_engine(url)) as connection:
        zone = connection.execute(text("SELECT current_setting('timezone')")).scalar_one()
    assert zone == "UTC"


def test_a_database_that_orders_text_otherwise_is_refused(postgresql: Server) -> None:
    # Its own catalogue is changed, and that taken back, because not every server knows another collation.
    with create_database_engine(postgresql.new_database()).connect() as connection:
        connection.exec_driver_sql(
            "UPDATE pg_database SET datcollate = 'en_US.UTF-8' WHERE datname = current_database()"
        )
        with pytest.raises(DatabaseError, match=r"by the collation en_US.UTF-8, .* --template template0 --locale C"):
            dialect_named("postgresql").prepare_migration(connection)
        connection.rollback()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql+psycopg://postgres:s3cret@/nothing?host=/nowhere", "does not answer"),
        ("postgresql+psycopg://postgres:s3cret@127.0.0.1:1/nothing", "does not answer"),
    ],
)
def test_a_server_that_does_not_answer_is_reported_without_the_password(url: str, sentence: str) -> None:
    pytest.importorskip("psycopg", reason="there is no PostgreSQL driver to test with")
    with pytest.raises(DatabaseError, match=sentence) as caught, read_transaction(create_database_engine(url)):
        pass
    assert "s3cret" not in str(caught.value)
    assert caught.value.may_pass


def test_a_database_that_is_not_there_is_named(postgresql: Server) -> None:
    with (
        pytest.raises(DatabaseError, match='database "nothing" does not exist'),
        read_transaction(create_database_engine(postgresql.url_of("nothing"))),
    ):
        pass


def test_a_table_that_is_not_there_is_no_defect(postgresql: Server) -> None:
    url = postgresql.new_database()
    with (
        pytest.raises(DatabaseError, match=r"flows\.check"),
        write_transaction(create_database_engine(url)) as connection,
    ):
        note(connection, "a")
