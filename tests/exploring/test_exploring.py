"""The questions people ask, answered on the sample events, and what Datasette knows."""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.decisions import decide_pending, read_rules
from src.marketing_messaging_service.dictionary import entries
from src.marketing_messaging_service.errors import PipelineError
from src.marketing_messaging_service.exploring import datasette_metadata, read_queries
from src.marketing_messaging_service.exploring.__main__ import OPTIONS
from src.marketing_messaging_service.exploring.metadata import FACETS, LABELS
from src.marketing_messaging_service.exploring.query_files import QUERIES_PATH
from tests.pipeline import AS_OF, Pipeline

DATA = Path(__file__).parents[2] / "data"

QUERIES = {query.name: query for query in read_queries()}


@pytest.fixture(scope="module")
def samples(migrated_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """The database that the sample events end in, opened read-only."""
    pipeline = Pipeline(tmp_path_factory.mktemp("samples"), migrated_template)
    shutil.copytree(DATA / "samples", pipeline.landing, dirs_exist_ok=True)
    pipeline.take()
    decide_pending(pipeline.engine, read_rules(DATA / "rules.yaml"), decided_at=AS_OF)
    with closing(sqlite3.connect(f"{pipeline.database_path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def answer(connection: sqlite3.Connection, name: str, **given: Any) -> list[dict[str, Any]]:
    """The rows of a query; a parameter that is not given is empty, as in Datasette."""
    parameters = dict.fromkeys(QUERIES[name].parameters, "") | given
    return [dict(row) for row in connection.execute((QUERIES_PATH / f"{name}.sql").read_text(), parameters)]


def test_there_are_at_least_ten_questions_in_plain_words():
    assert len(QUERIES) >= 10
    for query in QUERIES.values():
        assert query.title.endswith("?")
        assert query.sentence.endswith(".")
        assert "*" not in query.sql.replace("count(*)", "").replace("100.0 *", "")


@pytest.mark.parametrize("value", ["", None], ids=["empty", "null"])
@pytest.mark.parametrize("name", QUERIES)
def test_every_query_runs_with_nothing_given(samples, name: str, value: str | None):
    rows = answer(samples, name, **dict.fromkeys(QUERIES[name].parameters, value))
    assert bool(rows) == ("user_id" not in QUERIES[name].parameters)


def test_why_a_user_got_no_welcome_email(samples):
    assert [row["outcome"] for row in answer(samples, "why-no-message", user_id="ada", rule_name="welcome_email")] == [
        "sent",
        "suppressed: once_ever",
    ]
    refused = samples.execute(
        "SELECT e.user_id FROM events e JOIN user_traits t ON t.event_id = e.id "
        "WHERE e.event_type = 'signup_completed' AND t.marketing_opt_in = 0"
    ).fetchone()["user_id"]
    (row,) = answer(samples, "why-no-message", user_id=refused, rule_name="welcome_email")
    assert (row["outcome"], row["marketing_opt_in"]) == ("a condition of the rule did not hold", 0)


def test_which_messages_a_user_got(samples):
    templates = [row["template_name"] for row in answer(samples, "messages-of-user", user_id="ada")]
    assert templates == ["BANK_LINK_NUDGE_SMS", "WELCOME_EMAIL"]
    assert answer(samples, "messages-of-user", user_id="ada", until_date="2027-01-01") == []


def test_a_timeline_holds_every_row_of_the_user_and_puts_a_decision_behind_its_event(samples):
    rows = answer(samples, "timeline-of-user", user_id="ada")
    kinds = [row["entry_kind"] for row in rows]
    assert kinds[0] == "event"
    assert (kinds.count("send"), kinds.count("suppression")) == (2, 2)
    assert rows == sorted(rows, key=lambda row: row["event_timestamp"])
    assert all(row["blocked_by_event_timestamp"] for row in rows if row["entry_kind"] == "suppression")


def test_what_a_load_rejected(samples):
    for load in samples.execute("SELECT id, rejected_count + collision_count AS kept_count FROM loads"):
        assert len(answer(samples, "rejected-by-load", load_id=str(load["id"]))) == load["kept_count"]


def test_which_rule_suppressed_most_on_a_day(samples):
    rows = answer(samples, "most-suppressing-rule", event_date="2026-11-02")
    assert [(row["rule_name"], row["blocked_by_rule_name"], row["suppression_count"]) for row in rows] == [
        ("insufficient_funds_email", "insufficient_funds_email", 2)
    ]


def test_which_users_hit_the_daily_cap(samples):
    assert [row["user_id"] for row in answer(samples, "users-at-daily-cap")] == ["cleo", "u-1006"]
    assert answer(samples, "users-at-daily-cap", since_date="2026-11-03") == []


def test_messages_by_day_and_the_funnel_agree_with_the_run(samples):
    outcomes: dict[str, int] = {}
    for row in answer(samples, "messages-by-day"):
        outcomes[row["outcome"]] = outcomes.get(row["outcome"], 0) + row["message_count"]
    assert outcomes == {"sent": 25, "alerted": 2, "suppressed": 4}
    days = [row["event_date"] for row in samples.execute("SELECT event_date FROM event_dates")]
    funnels = [row for day in days for row in answer(samples, "funnel-of-day", event_date=day)]
    assert sum(row["matched_count"] for row in funnels) == 31
    assert all(row["triggered_count"] >= row["matched_count"] for row in funnels)


def test_loads_with_trouble_and_unknown_keys_are_those_of_the_run(samples):
    assert sum(row["rejected_count"] for row in answer(samples, "loads-with-trouble")) == 8
    assert [(row["key_path"], row["occurrence_count"]) for row in answer(samples, "unknown-keys")] == [
        ("app_version", 10),
    ]


def test_a_head_that_does_not_name_its_parameters_is_an_error(tmp_path):
    (tmp_path / "x.sql").write_text("-- title: Who?\n-- sentence: This.\nSELECT :user_id")
    with pytest.raises(PipelineError, match="must begin with"):
        read_queries(tmp_path)


def test_datasette_knows_every_table_view_column_and_question():
    told = datasette_metadata("messaging")["databases"]["messaging"]
    described = {
        (table, column) for table, part in told["tables"].items() for column in (None, *part.get("columns", ()))
    }
    assert described - {("alembic_version", None)} == {(entry.table_name, entry.column_name) for entry in entries()}
    assert told["queries"].keys() == QUERIES.keys()


def test_facets_and_labels_are_columns():
    columns = {(entry.table_name, entry.column_name) for entry in entries()}
    assert {(table, name) for table, names in FACETS.items() for name in names} <= columns
    assert set(LABELS.items()) <= columns


def test_datasette_listens_to_this_machine_alone_and_reads_the_live_file():
    assert OPTIONS[OPTIONS.index("--host") + 1] == "127.0.0.1"
    assert not {"--immutable", "-i", "--nolock"} & set(OPTIONS)


def test_a_query_file_has_a_name_that_goes_into_an_address():
    assert all(re.fullmatch(r"[a-z-]+", name) for name in QUERIES)
