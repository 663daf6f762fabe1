"""Moving a database from SQLite to PostgreSQL and back, row for row, as often as it is cut off."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from src.marketing_messaging_service import moving_databases
from src.marketing_messaging_service.decisions import AUDIT
from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import (
    Base,
    create_database_engine,
    read_transaction,
    url_of,
)
from src.marketing_messaging_service.infrastructure.schema import migrate
from src.marketing_messaging_service.loading import open_run
from src.marketing_messaging_service.models import RunLease
from src.marketing_messaging_service.moving_databases import rows as moving_rows
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from tests.pipeline import Pipeline
from tests.postgresql import Server
from tests.self_check import databases

pytestmark = pytest.mark.slow

WITH_NUL = "UPDATE rejected_rows SET raw_line = 'a' || char(0) || 'b' WHERE id = 1"


@pytest.fixture(scope="module")
def built(migrated_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which runs of every kind left rows, one of them with a NUL; it is only read."""
    path = databases.build(tmp_path_factory.mktemp("built") / "run", migrated_template)
    databases.execute(path, WITH_NUL)
    return path


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions of few rows, so that there are many."""
    monkeypatch.setattr(moving_rows, "ROWS_A_PORTION", 3)


def everything(url: str) -> dict[str, list[tuple[object, ...]]]:
    with read_transaction(create_database_engine(url)) as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in Base.metadata.sorted_tables
            if table is not RunLease.__table__
        }


def test_it_goes_there_and_back_and_nothing_is_another(
    built: Path, few_rows: None, postgresql: Server, tmp_path: Path
) -> None:
    before = built.read_bytes()
    server, back = postgresql.new_database(), url_of(tmp_path / "back.db")
    moved = moving_databases.move(url_of(built), server)
    assert built.read_bytes() == before
    assert check_database(server, (*INVARIANTS, *AUDIT)).broken == ()
    found = everything(server)
    assert found["rejected_rows"][0] != everything(url_of(built))["rejected_rows"][0]
    assert {each.table_name: each.row_count for each in moved}["events"] == len(found["events"]) > 0
    moving_databases.move(server, back)
    assert everything(back) == everything(url_of(built))


def test_the_next_ids_follow_those_that_were_moved(built: Path, postgresql: Server, migrated_template: Path) -> None:
    server = postgresql.new_database()
    moving_databases.move(url_of(built), server)
    copy = built.with_name("copy.db")
    shutil.copyfile(built, copy)
    order = Pipeline(built.parent / "next", migrated_template).options()
    numbers = [open_run(create_database_engine(url), order) for url in (url_of(copy), server)]
    assert numbers[0] == numbers[1]


class CutOffError(Exception):
    """A move that ends in its midst."""


def cut_off_after(count: int) -> Callable[[], None]:
    looks = iter(range(count))

    def look() -> None:
        if next(looks, None) is None:
            raise CutOffError

    return look


def test_what_is_cut_off_continues_where_it_was(built: Path, few_rows: None, postgresql: Server) -> None:
    server = postgresql.new_database()
    told: list[str] = []
    for count in range(12):
        with pytest.raises(CutOffError):
            moving_databases.move(url_of(built), server, info=told.append, look=cut_off_after(count))
        with pytest.raises(DatabaseError, match=r"is being moved here, and has only a part of its rows"):
            migrate(server)
    moving_databases.move(url_of(built), server, info=told.append)
    assert any("after those moved before" in each for each in told)
    whole = postgresql.new_database()
    moving_databases.move(url_of(built), whole)
    assert everything(server) == everything(whole)


def test_a_database_that_holds_rows_is_not_moved_into(built: Path, postgresql: Server) -> None:
    server = postgresql.new_database()
    moving_databases.move(url_of(built), server)
    before = everything(server)
    with pytest.raises(DatabaseError, match=r"holds rows in .* already; nothing was moved\. Let --to name a new"):
        moving_databases.move(url_of(built), server)
    assert everything(server) == before


def test_a_row_that_was_changed_on_the_way_is_found(built: Path, few_rows: None, postgresql: Server) -> None:
    server = postgresql.new_database()
    with pytest.raises(CutOffError):
        moving_databases.move(url_of(built), server, look=cut_off_after(20))
    with create_database_engine(server).begin() as connection:
        connection.exec_driver_sql("UPDATE rulesets SET yaml_text = 'another'")
    with pytest.raises(DatabaseError, match="rulesets is not the same in both databases"):
        moving_databases.move(url_of(built), server)
    with pytest.raises(DatabaseError, match="is being moved"):
        migrate(server)


def test_of_a_database_that_is_not_there_nothing_is_made(postgresql: Server, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="which does not exist"):
        moving_databases.move(url_of(tmp_path / "none.db"), postgresql.new_database())
