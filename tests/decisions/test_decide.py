"""Deciding as one transaction: what it takes, what it leaves behind, and what it never does twice."""

import hashlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError

from src.marketing_messaging_service.decisions import decide_pending
from src.marketing_messaging_service.decisions.results import RuleOutcome
from src.marketing_messaging_service.errors import LostRowsError, RefusedRowError
from src.marketing_messaging_service.infrastructure.database import write_transaction
from tests.decisions.helpers import column, decisions, event, rule, run, sent, written
from tests.pipeline import AS_OF, Pipeline

ROOT = Path(__file__).parents[2]
EVENING = "2026-03-01T20:00:00Z"

RULES = [rule("ever", mode="once_ever"), rule("alert", channel="internal", template="A")]
EVENTS = [event("a"), event("b", at=EVENING), event("c", "opened"), event("d", user_id="bob")]

DECIDED_TABLES = ("send_requests", "suppressions", "rulesets")


def execute(pipeline: Pipeline, *statements: str) -> None:
    with write_transaction(pipeline.engine) as connection:
        for statement in statements:
            connection.execute(text(statement))


def take(pipeline: Pipeline, *files: list[dict[str, Any]]) -> None:
    """Land and load without deciding."""
    for file in files:
        pipeline.land(file)
    pipeline.take()


def contents(pipeline: Pipeline) -> dict[str, list[tuple[Any, ...]]]:
    """The content of every table that deciding may write to."""
    return {table: pipeline.rows(f"SELECT * FROM {table}") for table in (*DECIDED_TABLES, "loads")}


def test_the_result_counts_events_and_outcomes_by_rule_in_the_order_of_the_file(pipeline):
    take(pipeline, EVENTS[:2], EVENTS[2:])
    result = pipeline.decide({"rules": [*RULES, rule("off", enabled=False), rule("none", on="closed", template="N")]})

    assert result.event_count == 4
    assert result.outcomes == (
        RuleOutcome("ever", "T", "email", send_count=2, suppression_count=1),
        RuleOutcome("alert", "A", "internal", send_count=3, suppression_count=0),
        RuleOutcome("none", "N", "email", send_count=0, suppression_count=0),
    )
    assert result.ruleset_hash == hashlib.sha256(pipeline.rules_path.read_bytes()).hexdigest()


def test_loads_are_marked_decided_with_the_ruleset_and_the_time(pipeline):
    take(pipeline, EVENTS[:2], EVENTS[2:], [EVENTS[0]])
    assert column(pipeline, "SELECT DISTINCT state FROM loads") == ["loaded"]
    pipeline.decide({"rules": RULES})

    assert pipeline.rows("SELECT id, state, ruleset_id, decided_at FROM loads") == [
        (number, "decided", 1, "2026-11-23 10:00:00.000000") for number in (1, 2, 3)
    ]


def test_loads_keep_the_ruleset_that_decided_them(pipeline):
    run(pipeline, RULES, EVENTS[:1])
    run(pipeline, RULES[:1], EVENTS[1:])

    assert pipeline.rows("SELECT id, ruleset_id FROM loads") == [(1, 1), (2, 2)]
    assert pipeline.rows("SELECT event_id, ruleset_id FROM suppressions") == [(2, 2)]


def test_a_ruleset_is_recorded_once_by_its_hash_with_its_text_and_first_use(pipeline):
    run(pipeline, RULES, EVENTS[:1])
    first_text = pipeline.rules_path.read_text(encoding="utf-8")
    run(pipeline, RULES[:1], EVENTS[1:2])
    run(pipeline, RULES, EVENTS[2:])

    rows = pipeline.rows("SELECT id, content_hash, yaml_text, first_used_at FROM rulesets")
    assert [row[0] for row in rows] == [1, 2]
    assert rows[0][1:] == (
        hashlib.sha256(first_text.encode()).hexdigest(),
        first_text,
        "2026-11-23 10:00:00.000000",
    )
    assert column(pipeline, "SELECT ruleset_id FROM loads ORDER BY id") == [1, 1, 2]


def test_an_event_is_decided_once_even_if_the_rules_change(pipeline):
    run(pipeline, [rule("old")], EVENTS)
    before = decisions(pipeline)
    run(pipeline, [rule("new", template="N"), rule("opened", on="opened")])

    assert decisions(pipeline) == before


def test_an_event_delivered_again_is_not_decided_again(pipeline):
    run(pipeline, [rule("r")], [event("a")])
    run(pipeline, [rule("r")], [event("a"), event("a", at=EVENING)])

    assert decisions(pipeline) == [("a", "r", "send")]


def test_an_hour_without_files_decides_nothing_and_writes_nothing(pipeline):
    result = pipeline.decide({"rules": RULES})

    assert result.event_count == 0
    assert [(outcome.send_count, outcome.suppression_count) for outcome in result.outcomes] == [(0, 0), (0, 0)]
    assert contents(pipeline) == {"send_requests": [], "suppressions": [], "rulesets": [], "loads": []}


def test_a_load_that_brought_no_event_is_decided_too(pipeline):
    run(pipeline, RULES, [event("a")])
    take(pipeline, [event("a"), event("a")])
    result = pipeline.decide({"rules": RULES})

    assert result.event_count == 0
    assert column(pipeline, "SELECT state FROM loads") == ["decided", "decided"]


def test_events_that_were_there_before_loads_were_recorded_are_not_decided(pipeline):
    execute(
        pipeline,
        "INSERT INTO events (message_id, user_id, event_type, event_timestamp) "
        "VALUES ('old', 'ana', 'paid', '2026-03-01 11:00:00.000000')",
    )
    take(pipeline, [event("new")])
    execute(
        pipeline,
        "INSERT INTO events (message_id, user_id, event_type, event_timestamp) "
        "VALUES ('by hand', 'ana', 'paid', '2026-03-01 11:00:00.000000')",
    )
    pipeline.decide({"rules": [rule("r")]})

    assert sent(pipeline) == ["new"]


def test_loads_left_undecided_between_decided_ones_are_decided_alone(pipeline):
    run(pipeline, [rule("r")], [event("a")], [event("b")], [event("c")])
    execute(
        pipeline,
        "DELETE FROM send_requests WHERE event_id = 2",
        "UPDATE loads SET state = 'loaded', decided_at = NULL, ruleset_id = NULL WHERE id = 2",
    )
    result = pipeline.decide({"rules": [rule("r", template="U")]})

    assert result.event_count == 1
    assert pipeline.rows("SELECT event_id, template_name FROM send_requests") == [(1, "T"), (2, "U"), (3, "T")]


@pytest.mark.parametrize("table", ["send_requests", "suppressions", "rulesets"])
def test_a_statement_that_fails_leaves_nothing_behind_and_the_next_run_makes_it_good(pipeline, table):
    take(pipeline, EVENTS)
    before = contents(pipeline)
    execute(
        pipeline,
        f"CREATE TRIGGER broken AFTER INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
    )
    with pytest.raises(RefusedRowError, match="the disk is full"):
        pipeline.decide({"rules": RULES})
    assert contents(pipeline) == before

    execute(pipeline, "DROP TRIGGER broken")
    assert pipeline.decide({"rules": RULES}).event_count == 4
    assert len(decisions(pipeline)) == 6


@pytest.mark.parametrize(
    ("table", "when", "row_count"),
    [
        ("send_requests", "INSERT", 5),
        ("suppressions", "INSERT", 1),
        ("rulesets", "INSERT", 1),
        ("ruleset_rules", "INSERT", 2),
        ("loads", "UPDATE", 1),
    ],
)
def test_what_a_trigger_keeps_out_is_a_sentence_and_leaves_nothing_behind(pipeline, table, when, row_count):
    take(pipeline, EVENTS)
    before = contents(pipeline)
    execute(pipeline, f"CREATE TRIGGER quiet BEFORE {when} ON {table} BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(LostRowsError, match=rf"^{row_count} rows? .* the table {table}, and 0 .*DROP TRIGGER"):
        pipeline.decide({"rules": RULES})
    assert contents(pipeline) == before

    execute(pipeline, "DROP TRIGGER quiet")
    pipeline.decide({"rules": RULES})
    assert len(decisions(pipeline)) == 6


def test_a_send_that_a_trigger_takes_away_again_is_a_sentence(pipeline):
    take(pipeline, EVENTS)
    execute(
        pipeline,
        "CREATE TRIGGER quiet AFTER INSERT ON send_requests WHEN NEW.user_id = 'ana' "
        "BEGIN DELETE FROM send_requests WHERE id = NEW.id; END",
    )
    with pytest.raises(LostRowsError, match="were written to the table send_requests"):
        pipeline.decide({"rules": RULES})


def test_a_failure_while_marking_the_loads_leaves_nothing_behind(pipeline):
    take(pipeline, EVENTS)
    before = contents(pipeline)
    execute(pipeline, "CREATE TRIGGER broken AFTER UPDATE ON loads BEGIN SELECT RAISE(ABORT, 'no'); END")

    with pytest.raises(RefusedRowError, match=r"the trigger broken on loads.*\(no\); nothing of this step was kept"):
        pipeline.decide({"rules": RULES})
    assert contents(pipeline) == before


def test_a_time_without_offset_is_refused_and_leaves_nothing_behind(pipeline):
    take(pipeline, EVENTS)
    before = contents(pipeline)
    rules_file = written(pipeline, RULES)

    with pytest.raises(StatementError, match="naive datetime"):
        decide_pending(pipeline.engine, rules_file, decided_at=datetime(2026, 1, 1))  # noqa: DTZ001  what is refused
    assert contents(pipeline) == before


def test_deciding_the_same_events_a_second_time_is_refused_by_the_database(pipeline):
    run(pipeline, [rule("r")], EVENTS)
    execute(pipeline, "UPDATE loads SET state = 'loaded'")
    before = contents(pipeline)

    with pytest.raises(RefusedRowError, match="UNIQUE constraint failed"):
        pipeline.decide({"rules": [rule("r", template="U")]})
    assert contents(pipeline) == before


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("send_requests", "template_name = 'other', dedupe_key = 'other'"),  # same event and rule
        ("send_requests", "event_id = 4, rule_name = 'other'"),  # same user, template and dedupe key
        ("suppressions", "template_name = 'other'"),  # same event and rule
    ],
)
def test_the_database_refuses_a_second_decision_and_a_second_send(pipeline, table, change):
    run(pipeline, RULES, EVENTS)
    columns = column(pipeline, f"SELECT name FROM pragma_table_info('{table}') WHERE name <> 'id'")
    changed = dict(assignment.split(" = ") for assignment in change.split(", "))
    copied = ", ".join(changed.get(name, name) for name in columns)

    with pytest.raises(RefusedRowError, match="UNIQUE constraint failed"):
        execute(pipeline, f"INSERT INTO {table} ({', '.join(columns)}) SELECT {copied} FROM {table} WHERE id = 1")


DECIDE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from src.marketing_messaging_service.decisions import decide_pending, read_rules
from src.marketing_messaging_service.infrastructure.database import create_database_engine

rules_file = read_rules(Path(sys.argv[2]))
engine = create_database_engine(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(decide_pending(engine, rules_file, decided_at=datetime(2026, 11, 23, tzinfo=UTC)).event_count)
"""


@pytest.mark.slow
def test_two_processes_that_decide_at_once_decide_once(pipeline):
    take(pipeline, [event(str(number), user_id=str(number % 40)) for number in range(2000)])
    written(pipeline, RULES)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DECIDE, str(pipeline.engine.url), str(pipeline.rules_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in processes]

    assert sorted(int(output) for output in outputs) == [0, 2000]
    assert column(pipeline, "SELECT count(*) FROM send_requests") == [40 + 2000]
    assert column(pipeline, "SELECT count(*) FROM suppressions") == [1960]
    assert column(pipeline, "SELECT count(*) FROM rulesets") == [1]


def test_the_time_of_deciding_changes_nothing_but_the_columns_that_tell_it(tmp_path, migrated_template):
    left_behind = []
    for number, decided_at in enumerate(
        (AS_OF, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=2))))
    ):
        pipeline = Pipeline(tmp_path / str(number), migrated_template)
        take(pipeline, EVENTS)
        decide_pending(pipeline.engine, written(pipeline, RULES), decided_at=decided_at)
        told = decided_at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        for query in (
            "SELECT decided_at FROM send_requests",
            "SELECT decided_at FROM suppressions",
            "SELECT decided_at FROM loads",
            "SELECT first_used_at FROM rulesets",
        ):
            assert set(column(pipeline, query)) == {told}
        left_behind.append(
            [
                pipeline.rows(f"SELECT {columns} FROM {table}")
                for table, columns in (
                    ("rulesets", "id, content_hash, yaml_text"),
                    (
                        "send_requests",
                        "id, user_id, event_id, template_name, channel, reason, rule_name, ruleset_id, "
                        "event_timestamp, dedupe_key",
                    ),
                    (
                        "suppressions",
                        "id, user_id, event_id, template_name, suppression_reason, rule_name, ruleset_id, "
                        "event_timestamp, blocked_by_send_request_id",
                    ),
                )
            ]
        )
        pipeline.engine.dispose()
    assert left_behind[0][1]
    assert left_behind[0][2]
    assert left_behind == [left_behind[0]] * 3


def test_every_instant_written_has_the_one_format(pipeline):
    run(pipeline, RULES, [*EVENTS, event("old", at="0001-01-01T00:00:00Z"), event("far", at="9999-12-31T23:59:59.5Z")])

    form = "____-__-__ __:__:__.______"
    for table, name in (
        ("send_requests", "decided_at"),
        ("send_requests", "event_timestamp"),
        ("suppressions", "decided_at"),
        ("suppressions", "event_timestamp"),
        ("rulesets", "first_used_at"),
        ("loads", "decided_at"),
    ):
        assert column(pipeline, f"SELECT DISTINCT {name} LIKE '{form}' FROM {table}") == [1]
    assert column(
        pipeline,
        "SELECT d.event_timestamp FROM send_requests d JOIN events e ON e.id = event_id "
        "WHERE d.event_timestamp <> e.event_timestamp",
    ) == []  # fmt: skip


def test_deciding_leaves_no_table_of_its_own(pipeline):
    tables = "SELECT name FROM sqlite_schema"
    before = column(pipeline, tables)
    run(pipeline, RULES, EVENTS)

    assert column(pipeline, tables) == before
