"""What is published is of one moment, whole, and typed."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import event

from src.marketing_messaging_service.dictionary import entries
from src.marketing_messaging_service.errors import DatabaseError
from src.marketing_messaging_service.infrastructure.database import url_of
from src.marketing_messaging_service.published_copies import parquet, publish
from tests.pipeline import Pipeline
from tests.views.synthetic import fill

NAMES = {entry.table_name for entry in entries()}


@contextmanager
def silent(_label: str, _total: int | None) -> Iterator[Any]:
    yield lambda _: None


@pytest.fixture
def live(migrated_template: Path, tmp_path: Path) -> Path:
    """A live database of 600 events, with rows that are still in its -wal."""
    path = tmp_path / "messaging.db"
    shutil.copyfile(migrated_template, path)
    with closing(sqlite3.connect(path)) as connection:
        fill(connection, 600)
    return path


def count(path: Path, table: str = "events") -> int:
    with closing(sqlite3.connect(path)) as connection:
        row: tuple[int] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return row[0]


def test_it_is_a_copy_and_a_parquet_file_of_each_table_and_view(live, tmp_path):
    files = publish(url_of(live), tmp_path / "out", silent)
    assert {file.path.name for file in files} == {"messaging.db", *(f"{name}.parquet" for name in NAMES)}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {file.path.name for file in files}
    for file in files:
        assert file.size_bytes == file.path.stat().st_size
        if file.row_count is not None:
            assert pq.read_metadata(file.path).num_rows == file.row_count == count(live, file.path.stem)


def test_the_copy_holds_what_is_still_in_the_wal_and_needs_no_file_beside_it(live, tmp_path):
    with closing(sqlite3.connect(live)) as writer:
        writer.execute("DELETE FROM suppressions WHERE id > 10")
        writer.commit()
        assert live.with_name("messaging.db-wal").stat().st_size > 0
        publish(url_of(live), tmp_path / "out", silent)
    copy = tmp_path / "out" / "messaging.db"
    assert count(copy, "suppressions") == 10
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_folder_may_have_any_name(live, tmp_path):
    publish(url_of(live), tmp_path / "100 %41#?", silent)
    assert count(tmp_path / "100 %41#?" / "messaging.db") == 600


def test_types_are_kept_and_each_column_carries_its_sentence(live, tmp_path):
    publish(url_of(live), tmp_path / "out", silent)
    events = pq.read_table(tmp_path / "out" / "events.parquet")
    assert events.schema.field("event_timestamp").type == pa.timestamp("us", tz="UTC")
    assert events.schema.field("id").type == pa.int64()
    assert b"UTC" in events.schema.field("event_timestamp").metadata[b"comment"]
    assert events["event_timestamp"][0].as_py() == datetime(2026, 11, 1, 1, 12, tzinfo=UTC)
    assert pq.read_schema(tmp_path / "out" / "ruleset_rules.parquet").field("is_enabled").type == pa.bool_()
    assert pq.read_schema(tmp_path / "out" / "rule_funnel.parquet").field("event_date").type == pa.date32()
    assert pq.read_schema(tmp_path / "out" / "load_history.parquet").field("decision_wait_seconds").type == pa.float64()


def test_rows_are_written_in_chunks(live, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_AT_ONCE", 250)
    publish(url_of(live), tmp_path / "out", silent)
    assert pq.ParquetFile(tmp_path / "out" / "events.parquet").num_row_groups == 3


def test_everything_is_of_one_moment_though_a_writer_continues(live, tmp_path):
    @contextmanager
    def delete_meanwhile(label: str, _total: int | None) -> Iterator[Any]:
        if label == "Writing events.parquet":
            with closing(sqlite3.connect(live)) as writer:
                writer.execute("DELETE FROM suppressions")
                writer.commit()
        yield lambda _: None

    files = publish(url_of(live), tmp_path / "out", delete_meanwhile)
    (suppressions,) = (file for file in files if file.path.name == "suppressions.parquet")
    assert count(live, "suppressions") == 0
    assert suppressions.row_count == count(tmp_path / "out" / "messaging.db", "suppressions") == 100


def test_what_was_published_before_stays_whole_when_a_later_one_is_stopped(live, tmp_path):
    publish(url_of(live), tmp_path / "out", silent)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    @contextmanager
    def stop(label: str, _total: int | None) -> Iterator[Any]:
        if label.startswith("Writing send"):
            raise KeyboardInterrupt
        yield lambda _: None

    with closing(sqlite3.connect(live)) as writer:
        writer.execute("DELETE FROM suppressions")
        writer.commit()
    with pytest.raises(KeyboardInterrupt):
        publish(url_of(live), tmp_path / "out", stop)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_progress_that_raises_ends_the_copy_with_its_own_error(live, tmp_path):
    @contextmanager
    def stop(_label: str, _total: int | None) -> Iterator[Any]:
        def raise_it(_: int) -> None:
            raise DatabaseError("asked to stop")

        yield raise_it

    with pytest.raises(DatabaseError, match="asked to stop"):
        publish(url_of(live), tmp_path / "out", stop)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_database_that_is_not_there_is_an_error_that_says_so(tmp_path):
    with pytest.raises(DatabaseError, match=r"There is no database at .* to publish; run the hourly job first"):
        publish(url_of(tmp_path / "none.db"), tmp_path / "out", silent)


def test_a_view_that_is_gone_is_a_sentence_and_what_was_published_before_stays(live, tmp_path):
    publish(url_of(live), tmp_path / "out", silent)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    with closing(sqlite3.connect(live)) as connection:
        connection.execute("DROP VIEW event_dates")
    with pytest.raises(DatabaseError, match=r"no such table: .*event_dates\. .* --repair` rebuilds"):
        publish(url_of(live), tmp_path / "out", silent)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_an_index_that_needs_another_programs_function_is_not_in_the_way(live, tmp_path):
    with closing(sqlite3.connect(live)) as other_program:
        other_program.create_function("distance", 1, len, deterministic=True)
        other_program.execute("CREATE INDEX far ON events (distance(user_id))")
        other_program.execute("CREATE VIEW far_view AS SELECT distance(user_id) FROM events")
        publish(url_of(live), tmp_path / "out", silent)
    copy = tmp_path / "out" / "messaging.db"
    assert count(copy) == 600
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"messaging.db", *(f"{n}.parquet" for n in NAMES)}
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'far%' ORDER BY name").fetchall() == [
            ("far",),
            ("far_view",),
        ]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", ["user_timeline.parquet", "messaging.db", ".events.parquet.partial"])
def test_a_folder_in_the_way_of_one_file_is_reported_before_anything_is_written(live, tmp_path, name):
    out = tmp_path / "out"
    publish(url_of(live), out, silent)
    (out / name).unlink(missing_ok=True)
    (out / name).mkdir()
    before = contents(out)
    with closing(sqlite3.connect(live)) as writer, writer:
        writer.execute("DELETE FROM suppressions")
    with pytest.raises(
        DatabaseError, match=rf"{name} is a folder, but a file is to be published there; nothing was written"
    ):
        publish(url_of(live), out, silent)
    assert contents(out) == before


@pytest.mark.parametrize("is_linkable", [True, False], ids=["by a second name", "where files have one name only"])
@pytest.mark.parametrize("is_first", [True, False], ids=["the first publication", "a later one"])
def test_when_one_file_cannot_be_put_in_place_those_before_it_are_taken_back(
    live, tmp_path, monkeypatch, is_first, is_linkable
):
    out = tmp_path / "out"
    if not is_first:
        publish(url_of(live), out, silent)
        with closing(sqlite3.connect(live)) as writer, writer:
            writer.execute("DELETE FROM suppressions")
    before = contents(out) if out.exists() else {}
    replace = Path.replace

    def refuse_one(path: Path, target: Path) -> Path:
        if path.name == ".runs.parquet.partial":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return replace(path, target)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(Path, "replace", refuse_one)
    if not is_linkable:
        monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(DatabaseError, match=r"cannot be written to \(Operation not permitted\); what was published"):
        publish(url_of(live), out, silent)
    assert {path.name for path in out.iterdir()} == set(before)
    assert contents(out) == before


def test_what_a_reader_left_beside_the_copy_goes_with_it_and_does_not_come_back_into_the_next_one(live, tmp_path):
    out = tmp_path / "out"
    publish(url_of(live), out, silent)
    with closing(sqlite3.connect(out / "messaging.db", isolation_level=None)) as reader:
        reader.execute("PRAGMA journal_mode=WAL")
        reader.execute("DELETE FROM suppressions")
        assert (out / "messaging.db-wal").stat().st_size > 0
        publish(url_of(live), out, silent)
    assert not (out / "messaging.db-wal").exists()
    assert count(out / "messaging.db", "suppressions") == 100


def test_what_a_killed_publication_left_is_cleared_away(live, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in (".events.parquet.previous", ".events.parquet.partial", ".messaging.db.partial"):
        (out / name).write_text("half")
    publish(url_of(live), out, silent)
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_value_of_another_kind_than_its_column_is_reported_with_its_row(live, tmp_path):
    with closing(sqlite3.connect(live)) as writer, writer:
        writer.execute("UPDATE user_traits SET marketing_opt_in = 'much' WHERE id = 2")
    told = r"user_traits\.marketing_opt_in holds something that is not a bool, in the row whose id is 2; nothing was"
    with pytest.raises(DatabaseError, match=told):
        publish(url_of(live), tmp_path / "out", silent)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_database_is_reported_and_what_was_published_before_stays(live, tmp_path):
    publish(url_of(live), tmp_path / "out", silent)
    before = contents(tmp_path / "out")
    content = bytearray(live.read_bytes())
    content[4096 * 3 :] = bytes(len(content) - 4096 * 3)
    live.write_bytes(content)
    with pytest.raises(DatabaseError, match="The file is damaged: put a copy from before"):
        publish(url_of(live), tmp_path / "out", silent)
    assert contents(tmp_path / "out") == before


def test_a_folder_that_is_a_file_is_an_error_that_says_so(live, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(DatabaseError, match=r"PUBLISH_PATH names .*out, which cannot be written to"):
        publish(url_of(live), tmp_path / "out", silent)


RULES = {
    "rules": [
        {
            "name": "r",
            "trigger": {"event_type": "t"},
            "action": {"type": "send", "template_name": "T", "delivery_method": "sms"},
        }
    ]
}


def raw(number: int) -> dict[str, Any]:
    return {
        "message_id": f"m{number}",
        "user_id": "u",
        "event_type": "t",
        "event_timestamp": f"2026-11-01T10:00:{number:02}Z",
    }


class TestReadingWhileARunWrites:
    @pytest.fixture
    def pipeline(self, migrated_template: Path, tmp_path: Path) -> Pipeline:
        """A pipeline that has taken and decided two events."""
        pipeline = Pipeline(tmp_path / "pipeline", migrated_template)
        pipeline.run([[raw(1), raw(2)]], RULES)
        return pipeline

    def test_a_reader_in_the_middle_of_a_load_sees_the_state_before_it(self, pipeline):
        seen: list[tuple[int, ...]] = []

        @event.listens_for(pipeline.engine, "before_cursor_execute")
        def look(_connection: Any, cursor: sqlite3.Cursor, statement: str, *_: Any) -> None:
            # The counts of a load come last; later the decision marks it.
            if statement.startswith("UPDATE loads") and not seen:
                (in_transaction,) = cursor.connection.execute("SELECT count(*) FROM events").fetchone()
                with closing(sqlite3.connect(f"{pipeline.database_path.as_uri()}?mode=ro", uri=True)) as reader:
                    query = "SELECT (SELECT count(*) FROM events), (SELECT sum(inserted_count) FROM loads)"
                    seen.append((in_transaction, *reader.execute(query).fetchone()))

        pipeline.run([[raw(3)]], RULES)
        assert seen == [(3, 2, 2)]
        assert count(pipeline.database_path) == 3

    def test_a_reader_that_stays_open_stops_no_run_and_keeps_its_snapshot(self, pipeline):
        with closing(sqlite3.connect(f"{pipeline.database_path.as_uri()}?mode=ro", uri=True)) as reader:
            reader.execute("BEGIN")
            before = reader.execute("SELECT count(*) FROM user_timeline").fetchone()
            pipeline.run([[raw(3)]], RULES)
            assert reader.execute("SELECT count(*) FROM user_timeline").fetchone() == before == (4,)
            reader.execute("COMMIT")
            assert reader.execute("SELECT count(*) FROM user_timeline").fetchone() == (6,)
