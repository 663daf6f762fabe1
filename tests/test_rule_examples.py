"""The example rules files give what docs/rules.md shows, and every rules file that the page shows can be read."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.rules import main
from src.marketing_messaging_service.decisions import conditions, read_rules, rules
from src.marketing_messaging_service.decisions.parts import Part
from src.marketing_messaging_service.decisions.rules_file import parse_rules
from src.marketing_messaging_service.vocabulary import SuppressionMode
from tests.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")

RUNS = {
    "order_reminder": ("2026-11-30T14:00:00Z",),
    "consent_and_limits": ("2026-12-01T00:00:00Z",),
    "trial_that_ends": ("2026-11-15T12:00:00Z", "2026-11-16T12:00:00Z"),
}
"""The examples, and the logical times of the runs by which the page shows them."""

HEADS = ("decision time", "user", "event", "rule", "outcome", "what stood in the way")

# Where something waits, nothing is decided; what waited and did not match leaves no row here.
OUTCOMES = """
SELECT coalesce(send.decision_time, send.event_timestamp), event.id, send.rule_name, send.user_id, event.event_type,
    event.event_timestamp, CASE send.channel WHEN 'internal' THEN 'an alert' ELSE 'sent' END, NULL, NULL
FROM send_requests AS send JOIN events AS event ON event.id = send.event_id
UNION ALL
SELECT coalesce(refused.decision_time, refused.event_timestamp), event.id, refused.rule_name, refused.user_id,
    event.event_type, event.event_timestamp, '`' || refused.suppression_reason || '`',
    CASE WHEN blocker.id IS NULL THEN said.event_type ELSE 'the send of' END,
    coalesce(blocker.decision_time, blocker.event_timestamp, said.event_timestamp)
FROM suppressions AS refused JOIN events AS event ON event.id = refused.event_id
LEFT JOIN send_requests AS blocker ON blocker.id = refused.blocked_by_send_request_id
LEFT JOIN events AS said ON said.id = refused.blocked_by_event_id
UNION ALL
SELECT waiting.decide_at, event.id, waiting.rule_name, event.user_id, event.event_type, event.event_timestamp, 'waits',
    NULL, NULL
FROM waiting_matches AS waiting JOIN events AS event ON event.id = waiting.event_id
"""


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def folder_of(name: str) -> Path:
    return ROOT / "data" / "examples" / name


def raw_events(name: str) -> list[dict[str, Any]]:
    lines = (folder_of(name) / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def rules_of(name: str) -> Any:
    return YAML(typ="safe").load((folder_of(name) / "rules.yaml").read_text(encoding="utf-8"))


def hours_in_which_something_happens(name: str) -> list[datetime]:
    """The runs, of all the hourly ones, that find an event or by which a wait is over, and the last one shown."""
    last = shown_runs(name)[-1]
    times = {
        datetime.fromisoformat(event["event_timestamp"]) + timedelta(hours=hours)
        for event in raw_events(name)
        for hours in [0, *_waits_for(event, rules_of(name)["rules"])]
    }
    after = {time.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1) for time in times}
    return sorted({time for time in after if time < last} | {last})


def _waits_for(event: dict[str, Any], each_rule: Sequence[Any]) -> list[float]:
    waiting = [rule for rule in each_rule if "wait" in rule]
    return [rule["wait"]["hours"] for rule in waiting if rule["trigger"]["event_type"] == event["event_type"]]


def outcome(pipeline: Pipeline) -> Iterator[str]:
    """Yield the rows of the table that the page shows."""
    yield f"| {' | '.join(HEADS)} |"
    yield "|---|---|---|---|---|---|"
    for at, _, rule, user, event_type, event_at, what, how, blocked_at in sorted(pipeline.rows(OUTCOMES), key=_order):
        way = f" {how} {_minute(blocked_at)} |" if how else " |"
        yield f"| {_minute(at)} | {user} | {event_type} {_minute(event_at)} | {rule} | {what} |{way}"


def _order(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(row[:3])


def _minute(instant: str) -> str:
    return instant[:16]


def played(
    name: str, as_ofs: Sequence[datetime], folder: Path, template: Path, *, is_on_time: bool, document: Any = None
) -> Pipeline:
    """Return the database after runs as of these times, each of which finds the events up to then, or the first all."""
    pipeline = Pipeline(folder, template)
    waiting = raw_events(name)
    for as_of in as_ofs:
        come = [e for e in waiting if not is_on_time or datetime.fromisoformat(e["event_timestamp"]) < as_of]
        waiting = [event for event in waiting if event not in come]
        if come:
            pipeline.land(come)
        pipeline.do(pipeline.options(as_of=as_of, max_event_ahead_hours=1), document or rules_of(name))
    assert not waiting
    return pipeline


def shown_runs(name: str) -> list[datetime]:
    return [datetime.fromisoformat(as_of) for as_of in RUNS[name]]


@pytest.mark.parametrize("name", RUNS)
def test_the_page_shows_what_comes_of_an_example(name: str, tmp_path: Path, migrated_template: Path) -> None:
    whole_file = played(name, shown_runs(name), tmp_path, migrated_template, is_on_time=False)
    assert "\n".join(outcome(whole_file)) + "\n" in PAGE


@pytest.mark.parametrize("name", RUNS)
def test_the_page_says_how_to_run_an_example(name: str) -> None:
    commands = "".join(blocks("console"))
    assert f"RULES_PATH=data/examples/{name}/rules.yaml" in commands
    assert f"--landing-path data/examples/{name} " in commands
    for as_of in RUNS[name]:
        assert f"--as-of {as_of}" in commands


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_an_example_comes_to_the_same_hour_by_hour(name: str, tmp_path: Path, migrated_template: Path) -> None:
    hourly = played(name, hours_in_which_something_happens(name), tmp_path, migrated_template, is_on_time=True)
    assert "\n".join(outcome(hourly)) + "\n" in PAGE


@pytest.mark.parametrize("folder", sorted((ROOT / "data" / "examples").iterdir()), ids=lambda folder: folder.name)
def test_every_example_is_among_these(folder: Path) -> None:
    assert folder.name in RUNS
    assert {path.name for path in folder.iterdir()} == {"rules.yaml", "rules.tests.yaml", "events.jsonl"}
    assert f"(../data/examples/{folder.name}/rules.yaml)" in PAGE


def test_the_reminder_that_the_page_writes_down_is_the_example_for_orders_of_any_amount() -> None:
    (text,) = [block for block in blocks("yaml") if "three_emails_a_week" in block and "order_reminder" in block]
    written = parse_rules(text, "docs/rules.md").whole
    (example,) = read_rules(folder_of("order_reminder") / "rules.yaml").whole.rules
    assert isinstance(example.conditions, conditions.AllOf)
    of_20, unpaid = example.conditions.all
    assert str(getattr(of_20, "field", "")) == "properties.amount"
    plain = example.model_copy(update={"conditions": unpaid, "description": written.rules[0].description})
    whole = read_rules(folder_of("order_reminder") / "rules.yaml").whole
    assert whole.model_copy(update={"rules": (plain,)}) == written


def test_the_test_that_the_page_shows_is_one_of_those_that_ship() -> None:
    (written,) = blocks("yaml tests")
    shipped = (ROOT / "data" / "rules.tests.yaml").read_text(encoding="utf-8")
    assert written.removeprefix("tests:\n") in shipped


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_every_rules_file_on_the_page_can_be_read(number: int) -> None:
    assert parse_rules(blocks("yaml")[number], "docs/rules.md").rules


def test_the_page_has_an_example_of_every_key_and_mode() -> None:
    written = "".join(blocks("yaml"))
    parts: tuple[type[Part], ...] = (
        rules.Rules, rules.Rule, rules.Wait, rules.SuppressionPolicy, rules.Block, rules.Sign, rules.Limit,
        rules.Holdout, conditions.Happened, conditions.PriorEventCondition, *conditions.KINDS.values(),
    )  # fmt: skip
    keys = {field.alias or name for part in parts for name, field in part.model_fields.items()}
    assert {key for key in keys if not re.search(rf"\b{key}: ", written) and f"{key}:\n" not in written} == set()
    assert {mode for mode in SuppressionMode if f"mode: {mode}" not in written} == {SuppressionMode.NONE}


def test_without_the_limit_the_fourth_order_is_reminded_of_too(tmp_path: Path, migrated_template: Path) -> None:
    document = {**rules_of("order_reminder"), "limits": []}
    as_ofs = shown_runs("order_reminder")
    pipeline = played("order_reminder", as_ofs, tmp_path, migrated_template, is_on_time=False, document=document)
    reasons = [row.split(" | ")[4] for row in outcome(pipeline) if "| eve |" in row]
    assert reasons == ["sent"] * 5


def test_the_question_why_somebody_got_no_message_is_answered(tmp_path: Path, migrated_template: Path) -> None:
    as_ofs = shown_runs("order_reminder")
    pipeline = played("order_reminder", as_ofs, tmp_path, migrated_template, is_on_time=False)
    (question,) = blocks("sql")
    (answer,) = pipeline.rows(question)
    assert answer == ("limit:three_emails_a_week", "ORDER_REMINDER", "2026-11-23 11:00:00.000000", None)


def test_the_commands_of_the_page_print_what_it_shows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (console,) = (block for block in blocks("console") if "flows.rules" in block)
    shown = []
    for line in console.splitlines():
        if line.startswith("$ .venv/bin/python -m flows.rules "):
            assert main(line.split()[4:]) == 0
            shown += [line, *capsys.readouterr().out.splitlines()]
    assert console.splitlines() == shown
