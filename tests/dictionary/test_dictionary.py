"""Every table, view and column has its sentence, in the file and in the docs, and a name by the law."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine

from src.marketing_messaging_service.dictionary import Entry, entries, refresh_dictionary
from src.marketing_messaging_service.dictionary.entries import TABLE_ORDER
from src.marketing_messaging_service.dictionary.pages import dictionary_page, schema_page
from src.marketing_messaging_service.dictionary.sections import SECTIONS, operators, with_sections
from src.marketing_messaging_service.infrastructure.database import Base
from src.marketing_messaging_service.vocabulary import PAYLOAD, DataType

DOCS = Path(__file__).parents[2] / "docs"

SEED_NAMES = {"event_timestamp", "as_of", "decision_time"}
"""Names that the assignment and the specification of the rule language give."""
PAYLOAD_NAMES = {field.name for field in PAYLOAD.fields}
"""A field of the payload has the name that producers give it."""
COLUMNS = [entry for entry in entries() if entry.column_name is not None]

each_column = pytest.mark.parametrize("column", COLUMNS, ids=lambda entry: f"{entry.table_name}.{entry.column_name}")


def test_every_table_view_and_column_has_one_sentence():
    for entry in entries():
        assert re.fullmatch(r"[A-Z`].*\.", entry.sentence), entry


@each_column
def test_an_instant_says_that_it_is_utc(column: Entry):
    if column.data_type is DataType.TIMESTAMP:
        assert "UTC" in column.sentence


@each_column
def test_a_column_is_named_by_the_law(column: Entry):
    name = column.column_name or ""
    if name in PAYLOAD_NAMES:
        return
    if any(name == seed or name.endswith(f"_{seed}") for seed in SEED_NAMES):
        return
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
    assert name.endswith("_at") == (column.data_type is DataType.TIMESTAMP)
    assert name.endswith("_date") == (column.data_type is DataType.DATE)
    assert name.startswith(("is_", "has_")) == (column.data_type is DataType.BOOLEAN)
    if column.data_type is DataType.INTEGER:
        assert name == "id" or name.endswith(("_id", "_count", "_number", "_position", "_bytes", "_hours"))
    if column.data_type is DataType.NUMBER:
        assert name.endswith(("_seconds", "_percent", "_hours"))


def test_every_table_has_its_place_in_the_order():
    assert set(TABLE_ORDER) == set(Base.metadata.tables)


def test_a_migrated_file_holds_the_dictionary(engine: Engine, tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
        rows = connection.execute("SELECT table_name, column_position, column_name, sentence FROM data_dictionary")
        found = {tuple(row) for row in rows}
        live = {
            (table, column[0])
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
            if table != "alembic_version"
            for column in connection.execute(f"SELECT * FROM {table}").description
        }
    assert found == {(e.table_name, e.column_position, e.column_name, e.sentence) for e in entries()}
    assert live == {(entry.table_name, entry.column_name) for entry in COLUMNS}
    assert not refresh_dictionary(engine)


def test_a_dictionary_that_differs_is_rewritten(engine: Engine, tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
        connection.execute("UPDATE data_dictionary SET sentence = 'Old.' WHERE column_name = 'user_id'")
        connection.commit()
    assert refresh_dictionary(engine)
    assert not refresh_dictionary(engine)


@pytest.mark.parametrize(
    ("name", "page"), [("data-dictionary.md", dictionary_page), ("schema.md", schema_page)], ids=["words", "pictures"]
)
def test_the_page_in_docs_is_what_make_docs_writes(name: str, page):
    assert (DOCS / name).read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("name", SECTIONS)
def test_the_tables_in_a_page_are_what_make_docs_writes(name: str):
    page = (DOCS / name).read_text(encoding="utf-8")
    assert page == with_sections(page, SECTIONS[name])


def test_a_page_that_lost_a_mark_is_not_written_by_halves():
    with pytest.raises(ValueError, match="the page must have these two lines once: <!-- operators"):
        with_sections("# Rules", {"operators": operators})


def test_the_lineage_names_every_table_and_view():
    picture = schema_page().split("flowchart LR")[1]
    assert {entry.table_name for entry in entries()} - {"data_dictionary"} <= set(re.findall(r"\w+", picture))
