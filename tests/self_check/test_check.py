"""What a check may be pointed at, and what it does to it: nothing."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, Select, column, false, literal, select, text

from src.marketing_messaging_service.errors import DatabaseError, PipelineError
from src.marketing_messaging_service.infrastructure.database import url_of
from src.marketing_messaging_service.infrastructure.migrations import alembic_config, upgrade_to_head
from src.marketing_messaging_service.infrastructure.schema import VERSIONS
from src.marketing_messaging_service.self_check import INVARIANTS, check_database, fresh_loads
from src.marketing_messaging_service.vocabulary import Invariant
from tests.pipeline import Pipeline
from tests.self_check.databases import EVERYTHING, broken, by_hand, check, event, execute, rows
from tests.strategies import SHIPPED_RULES

SAMPLES = Path(__file__).parents[2] / "data" / "samples"

REVISIONS = sorted(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*_*.py"))


def test_after_runs_of_every_kind_everything_holds(sound: Path) -> None:
    report = check(sound)
    assert report.broken == ()
    assert [finding.invariant for finding in report.findings] == [invariant.name for invariant in EVERYTHING]
    assert report.database == str(sound)
    assert report.revision == REVISIONS[-1]
    assert report.row_counts == {"loads": 6, "events": 21, "rejected_rows": 1, "send_requests": 12, "suppressions": 6}


def test_an_unknown_key_without_a_name_is_a_key_like_any_other(tmp_path: Path, migrated_template: Path) -> None:
    pipeline = Pipeline(tmp_path / "pipeline", migrated_template)
    pipeline.run([[event("m1", "ada", "signup", "10:00", **{"": 1})]], SHIPPED_RULES)
    pipeline.engine.dispose()
    assert rows(pipeline.database_path, "SELECT key_path FROM unknown_keys") == [("",)]
    assert check(pipeline.database_path).broken == ()


def test_a_database_without_a_row_holds(database_url: str) -> None:
    path = Path(database_url.removeprefix("sqlite:///"))
    assert check(path).broken == ()


@pytest.mark.slow
def test_rows_from_before_the_ledger_hold(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    command.upgrade(alembic_config(f"sqlite:///{path}"), "0001")
    execute(
        path,
        "INSERT INTO events (id, user_id, event_type, event_timestamp) "
        "VALUES (1, 'ada', 'signup', '2026-03-01 10:00:00')",
        "INSERT INTO user_traits (event_id, country) VALUES (1, 'NO')",
        "INSERT INTO send_requests (user_id, event_id, template_name, channel, reason) "
        "VALUES ('ada', 1, 'T', 'email', 'rule:welcome'), ('ada', 1, 'T', 'email', 'rule:welcome'), "
        "('ada', NULL, 'T', 'email', 'by hand')",
        "INSERT INTO suppressions (user_id, event_id, template_name, suppression_reason) "
        "VALUES ('ada', 1, 'T', 'once_ever')",
    )
    upgrade_to_head(f"sqlite:///{path}")
    assert check(path).broken == ()


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but SQLite's index of a -wal that holds nothing."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".db-shm"}


def test_nothing_is_written(sound: Path) -> None:
    before = sound.read_bytes(), sound.stat().st_mtime_ns
    check(sound)
    assert (sound.read_bytes(), sound.stat().st_mtime_ns) == before
    assert {path.name: path.stat().st_size for path in sound.parent.iterdir() if path.name != "sound.db-shm"} == {
        "sound.db": len(before[0]),
        "sound.db-wal": 0,
    }


def test_the_next_writer_takes_away_what_sqlite_left_beside_the_file(sound: Path) -> None:
    check(sound)
    execute(sound, "UPDATE source_files SET path = 'renamed'")
    assert list(sound.parent.iterdir()) == [sound]


def test_what_is_still_in_the_wal_is_checked(sound: Path) -> None:
    with by_hand(sound) as writer:
        writer.execute("DELETE FROM rejected_rows")
        assert sound.with_name("sound.db-wal").stat().st_size > 0
        assert set(broken(sound)) == {"rejected_count"}


def test_a_check_beside_a_run_that_has_not_committed_sees_nothing_of_it(sound: Path) -> None:
    with by_hand(sound) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM rejected_rows")
        assert check(sound).broken == ()


def test_all_is_one_snapshot(sound: Path) -> None:
    def meddle(_connection: Connection) -> Iterator[Select[Any]]:
        execute(sound, "DELETE FROM rejected_rows")
        yield select(literal("nothing")).where(false())

    meddling = Invariant("meddling", "Somebody writes in the middle of the check", meddle)
    assert check_database(url_of(sound), (meddling, *INVARIANTS)).broken == ()
    assert set(broken(sound)) == {"rejected_count"}


@pytest.mark.parametrize("name", ["a b.db", "what?mode=rw.db", "50%.db", "50%25.db", "zoë#1.db", "&mode=rwc.db"])
def test_a_file_may_have_any_name(sound: Path, name: str) -> None:
    renamed = sound.rename(sound.with_name(name))
    assert check(renamed).broken == ()


def test_a_relative_path_is_relative_to_the_current_folder(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sound.parent)
    assert check(Path("sound.db")).broken == ()


def finding_or_refusal(path: Path) -> str:
    """The names of what is broken, or the sentence that says why nothing can be checked."""
    try:
        return ", ".join(broken(path))
    except DatabaseError as error:
        return str(error)


@pytest.mark.slow
def test_a_page_that_was_flipped_is_reported_wherever_it_lies(sound: Path) -> None:
    execute(sound, "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")
    ((page_size,),) = rows(sound, "PRAGMA page_size")
    content = sound.read_bytes()
    # Every fifth page: the schema's, tables' and indexes' are among them.
    for start in range(0, len(content), 5 * page_size):
        page = bytes(byte ^ 255 for byte in content[start : start + page_size])
        sound.write_bytes(content[:start] + page + content[start + page_size :])
        assert re.search("sound_file|^The database cannot be used: ", finding_or_refusal(sound)), start


def refusal(path: Path) -> str:
    """The sentence with which a check refuses a file."""
    with pytest.raises(DatabaseError) as raised:
        check(path)
    return str(raised.value)


@pytest.mark.parametrize("name", ["missing.db", "missing/messaging.db"])
def test_a_missing_file_is_a_sentence_and_is_not_created(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert refusal(path) == (
        f"DATABASE_URL names {path}, which does not exist; run the hourly job first, or correct DATABASE_URL."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_a_sentence(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"DATABASE_URL names {tmp_path}, which is not a file; correct DATABASE_URL."


def test_a_path_that_cannot_be_followed_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "loop.db"
    path.symlink_to(path)
    assert refusal(path).startswith(
        f"DATABASE_URL names {path}, which cannot be read (Too many levels of symbolic links)"
    )


def test_a_file_that_is_not_sqlite_is_a_sentence_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "messaging.db"
    path.write_text("user_id,event_type\n" * 100)
    assert refusal(path).startswith("The database cannot be used: file is not a database. Check that DATABASE_URL")
    assert content_of(tmp_path) == {"messaging.db": b"user_id,event_type\n" * 100}


def test_an_empty_file_is_a_database_that_wants_every_migration(tmp_path: Path) -> None:
    path = tmp_path / "messaging.db"
    path.touch()
    assert f"it lacks {', '.join(REVISIONS)}." in refusal(path)
    assert content_of(tmp_path) == {"messaging.db": b""}


def test_somebody_elses_database_is_a_sentence_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "messaging.db"
    execute(path, "CREATE TABLE events (id INTEGER)")
    before = content_of(tmp_path)
    assert "holds tables (events) but no record of this project's migrations" in refusal(path)
    assert content_of(tmp_path) == before


@pytest.mark.parametrize(("revision", "missing"), [(REVISIONS[n], ", ".join(REVISIONS[n + 1 :])) for n in (0, 1)])
def test_an_older_schema_is_a_sentence_that_says_to_migrate(tmp_path: Path, revision: str, missing: str) -> None:
    path = tmp_path / "messaging.db"
    command.upgrade(alembic_config(f"sqlite:///{path}"), revision)
    assert refusal(path) == (
        f"The database's schema is older than this code: it lacks {missing}. Run the hourly job or `alembic upgrade "
        "head`, which migrate it, then check again."
    )
    assert rows(path, "SELECT version_num FROM alembic_version") == [(revision,)]


@pytest.mark.parametrize("versions", ["('9999')", "('0002'), ('0003')"])
def test_a_schema_that_this_code_does_not_know_is_a_sentence_that_says_so(sound: Path, versions: str) -> None:
    execute(sound, "DELETE FROM alembic_version", f"INSERT INTO alembic_version VALUES {versions}")
    assert refusal(sound).startswith("The database's schema is not one this version knows (")
    assert refusal(sound).endswith("Run the newest version of the code, or point DATABASE_URL at another file.")


def test_after_the_sample_run_everything_holds(tmp_path: Path, migrated_template: Path) -> None:
    pipeline = Pipeline(tmp_path / "run", migrated_template)
    for sample in sorted(SAMPLES.glob("*.jsonl*")):
        (pipeline.landing / sample.name).write_bytes(sample.read_bytes())
    pipeline.take()
    pipeline.decide(SHIPPED_RULES)
    pipeline.engine.dispose()
    report = check(pipeline.database_path)
    assert report.broken == ()
    assert report.row_counts["events"] == 180


def test_events_that_have_stopped_coming_in_are_reported_when_asked_for(sound: Path) -> None:
    of_no_backfill = "coalesce(run_id, 0) NOT IN (SELECT id FROM runs WHERE window_start_at IS NOT NULL)"
    (loaded_at,) = rows(sound, f"SELECT max(loaded_at) FROM loads WHERE {of_no_backfill}")[0]
    # What a backfill takes is of another time.
    execute(sound, f"UPDATE loads SET loaded_at = '2999-01-01 00:00:00.000000' WHERE NOT {of_no_backfill}")
    newest = datetime.fromisoformat(loaded_at).replace(tzinfo=UTC)
    assert broken(sound, [fresh_loads(24, newest + timedelta(hours=24))]) == {}
    late = broken(sound, [fresh_loads(24, newest + timedelta(hours=24, microseconds=1))])
    assert late["fresh_loads"].examples == (f"the newest file was loaded at {loaded_at[:16]} UTC",)


def test_what_a_clock_dated_that_was_ahead_is_not_held_for_fresh(sound: Path) -> None:
    (loaded_at,) = rows(sound, "SELECT max(loaded_at) FROM loads WHERE run_id IN (SELECT id FROM runs)")[0]
    newest = datetime.fromisoformat(loaded_at).replace(tzinfo=UTC)
    execute(sound, "UPDATE loads SET loaded_at = '2999-01-01 00:00:00.000000'")
    late = broken(sound, [fresh_loads(24, newest + timedelta(hours=1))])
    assert late["fresh_loads"].examples == ("no file was loaded yet",)


def test_a_database_without_a_load_is_not_fresh(database_url: str) -> None:
    path = Path(database_url.removeprefix("sqlite:///"))
    assert set(broken(path, [fresh_loads(24, datetime.now(UTC))])) == {"fresh_loads"}


def test_a_query_that_takes_long_is_ended_by_whoever_stops_the_check(sound: Path) -> None:
    looks: list[None] = []

    def on_progress() -> None:
        looks.append(None)
        if len(looks) > 3:
            raise PipelineError("Stopped.")

    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT sum(i) AS found FROM n"

    def queries(_connection: Connection) -> Iterator[Select[Any]]:
        yield select(text(endless).columns(column("found")).subquery())

    with pytest.raises(PipelineError, match="Stopped"):
        check_database(url_of(sound), [Invariant("endless", "It ends", queries)], on_progress=on_progress)
