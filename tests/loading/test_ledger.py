"""What the ledger answers: which files are taken, and how much waits to be decided."""

from dataclasses import replace

from sqlalchemy import update

from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.loading import known_files, undecided_event_count
from src.marketing_messaging_service.models import Load, LoadState
from src.marketing_messaging_service.staging import discover
from tests.loading.raw_files import raw


def test_a_fresh_database_knows_no_file(engine):
    assert known_files(engine) == KnownFiles()


def test_a_loaded_file_is_known_to_discovery_where_it_lies(engine, landing, load):
    load("a.jsonl", raw("m1"))
    discovery = discover(landing, known_files(engine))
    assert (discovery.new_files, discovery.known_count) == ((), 1)


def test_a_file_that_looks_as_it_did_is_known_without_its_content(engine, landing, load):
    load("a.jsonl", raw("m1"))
    [file] = known_files(engine).files
    assert discover(landing, KnownFiles((replace(file, content_hash=""),))).known_count == 1


def test_a_loaded_file_is_known_to_discovery_under_another_name(engine, landing, load):
    load("a.jsonl", raw("m1"))
    (landing / "a.jsonl").rename(landing / "b.jsonl")
    discovery = discover(landing, known_files(engine))
    assert (discovery.new_files, discovery.known_count) == ((), 1)


def test_a_file_written_again_with_other_content_is_new(engine, landing, load):
    load("a.jsonl", raw("m1"))
    (landing / "a.jsonl").write_text("{}\n", encoding="utf-8")
    assert [file.display_path for file in discover(landing, known_files(engine)).new_files] == ["a.jsonl"]


def test_events_wait_for_their_decision_until_their_load_is_decided(engine, load):
    assert undecided_event_count(engine) == 0
    load("a.jsonl", raw("m1"), raw("m2"), raw("m1"), "{")
    load("b.jsonl", raw("m2"), raw("m3"))
    assert undecided_event_count(engine) == 3
    with write_transaction(engine) as connection:
        connection.execute(update(Load).where(Load.id == 1).values(state=LoadState.DECIDED))
    assert undecided_event_count(engine) == 1
