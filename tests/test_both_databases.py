"""The same raw files leave the same rows in SQLite and in PostgreSQL, ids included."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, Table, select

from src.marketing_messaging_service.decisions import AUDIT
from src.marketing_messaging_service.infrastructure.database import Base, read_transaction
from src.marketing_messaging_service.models import Event, SendRequest
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from tests import strategies
from tests.effort import examples
from tests.language_strategies import language_documents
from tests.pipeline import Pipeline, quick_folder
from tests.postgresql import Server
from tests.strategies import RawFile, RulesDocument

OF_THE_CLOCK = frozenset(
    {
        "created_at",
        "decide_seconds",
        "decided_at",
        "file_signature",
        "first_loaded_at",
        "first_used_at",
        "load_seconds",
        "loaded_at",
        "read_at",
        "taken_at",
    }
)
"""Columns that say when something was done, or for how long."""


def rows(engine: Engine, table: Table, others: frozenset[str] = frozenset()) -> list[tuple[object, ...]]:
    columns = [column for column in table.columns if column.name not in OF_THE_CLOCK | others]
    with read_transaction(engine) as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(*table.primary_key))]


@pytest.mark.slow
@examples(15)
@given(
    files=strategies.event_batches(),
    documents=st.lists(strategies.rules_documents() | language_documents(is_dense=True), min_size=1, max_size=3),
    files_a_run=st.integers(1, 3),
)
def test_the_same_files_leave_the_same_rows_in_which_everything_holds(
    migrated_template: Path,
    postgresql: Server,
    postgresql_template: str,
    files: list[RawFile],
    documents: list[RulesDocument],
    files_a_run: int,
) -> None:
    with quick_folder() as folder:
        pipelines = [
            Pipeline(folder / "sqlite", migrated_template),
            Pipeline(folder / "postgresql", migrated_template, postgresql.new_database(postgresql_template)),
        ]
        for pipeline in pipelines:
            for number, start in enumerate(range(0, len(files), files_a_run)):
                pipeline.run(files[start : start + files_a_run], documents[number % len(documents)])
        for table in Base.metadata.sorted_tables:
            left, right = (rows(pipeline.engine, table) for pipeline in pipelines)
            assert left == right, table.name
        for pipeline in pipelines:
            pipeline.engine.dispose()
            assert check_database(pipeline.database_url, (*INVARIANTS, *AUDIT)).broken == ()
        postgresql.drop(pipelines[1].database_url)


@pytest.mark.parametrize("field", ["properties.amount", "properties.attempt_number"])
@pytest.mark.parametrize("value", [3, 2**31, 2**53])
def test_a_rule_compares_with_whole_numbers_beyond_32_bits(
    migrated_template: Path, tmp_path: Path, url_of_each: str, field: str, value: int
) -> None:
    pipeline = Pipeline(tmp_path / "pipeline", migrated_template, url_of_each)
    events = [
        {
            "message_id": str(number),
            "user_id": "u",
            "event_type": "payment_failed",
            "event_timestamp": "2026-11-22T10:00:00Z",
            "properties": {field.partition(".")[2]: number},
        }
        for number in (value - 1, value)
    ]
    rule = {
        "name": "many",
        "trigger": {"event_type": "payment_failed"},
        "conditions": {"all": [{"field": field, "operator": "gte", "value": value}]},
        "action": {"type": "alert", "template_name": "MANY", "delivery_method": "internal"},
    }
    pipeline.run([events], {"rules": [rule]})
    with read_transaction(pipeline.engine) as connection:
        sent = select(Event.message_id).join(SendRequest, SendRequest.event_id == Event.id)
        assert list(connection.execute(sent).scalars()) == [str(value)]


def test_a_nul_is_kept_out_of_every_table(migrated_template: Path, tmp_path: Path, url_of_each: str) -> None:
    pipeline = Pipeline(tmp_path / "pipeline", migrated_template, url_of_each)
    good = {"user_id": "u", "event_type": "t", "event_timestamp": "2026-11-22T10:00:00Z"}
    lines = [
        json.dumps(good | {"message_id": "good"}).encode(),
        json.dumps(good | {"message_id": "a\0"}).encode(),
        json.dumps(good | {"user_id": "u\0"}).encode(),
        json.dumps(good | {"event_type": "\0"}).encode(),
        json.dumps(good | {"message_id": "key", "a\0b": 1}).encode(),
        json.dumps(good | {"message_id": "deep", "properties": {"failure_reason": "x\0"}}).encode(),
        b'{"user_id": "\0"}',
        b"\0",
    ]
    pipeline.land_bytes(b"\n".join(lines) + b"\n")
    (result,) = pipeline.take()
    texts = [
        (table.name, value)
        for table in Base.metadata.sorted_tables
        for row in rows(pipeline.engine, table)
        for value in row
        if isinstance(value, str) and "\0" in value
    ]
    assert texts == []
    assert (result.inserted_count, result.rejected_count) == (2, 5)
