"""Whatever came, in whatever order: each view says what a plain count over the tables says."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.views import VIEWS
from src.marketing_messaging_service.vocabulary import SuppressionReason
from tests import strategies
from tests.effort import examples
from tests.language_strategies import Document, language_documents
from tests.pipeline import Pipeline, quick_folder
from tests.strategies import RawFile, Told

Row = dict[str, Any]
Counted = Counter[tuple[Any, ...]]


class Tables:
    """The rows of a database, by table and view."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getitem__(self, name: str) -> list[Row]:
        return [dict(row) for row in self._connection.execute(f"SELECT * FROM {name}")]

    def by_id(self, name: str, key: str = "id") -> dict[Any, Row]:
        return {row[key]: row for row in self[name]}


def day(row: Row) -> str:
    return str(row["event_timestamp"])[:10]


def outcome(send: Row) -> str:
    return "alerted" if send["channel"] == "internal" else "sent"


def counted(rows: list[Row], *columns: str) -> Counted:
    return Counter(tuple(row[column] for column in columns) for row in rows)


def summed(rows: list[Row], count: str, *columns: str) -> Counted:
    total: Counted = Counter()
    for row in rows:
        total[tuple(row[column] for column in columns)] += row[count]
    return +total


def check_days(tables: Tables) -> None:
    decided = [*tables["send_requests"], *tables["suppressions"]]
    assert sorted(row["event_date"] for row in tables["event_dates"]) == sorted(
        {day(row) for row in [*tables["events"], *decided]}
    )
    volumes: Counted = Counter((str(row["event_timestamp"])[:13], row["event_type"]) for row in tables["events"])
    assert {
        (row["hour_starts_at"][:13], row["event_type"]): row["event_count"] for row in tables["event_volumes"]
    } == volumes


def check_messages(tables: Tables) -> None:
    rules = {(row["ruleset_id"], row["rule_name"]): row for row in tables["ruleset_rules"]}
    messages: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for send in tables["send_requests"]:
        messages[day(send), send["template_name"], send["channel"], outcome(send)].append(send["user_id"])
    for refused in tables["suppressions"]:
        channel = rules[refused["ruleset_id"], refused["rule_name"]]["channel"]
        messages[day(refused), refused["template_name"], channel, "suppressed"].append(refused["user_id"])
    found = {
        (row["event_date"], row["template_name"], row["channel"], row["outcome"]): (
            row["message_count"],
            row["user_count"],
        )
        for row in tables["daily_messages"]
    }
    assert found == {key: (len(users), len(set(users))) for key, users in messages.items()}


def check_suppressions(tables: Tables) -> None:
    sends, events = tables.by_id("send_requests"), tables.by_id("events")
    refused = [
        row
        | {
            "event_date": day(row),
            "blocked_by_rule_name": blocking and blocking["rule_name"],
            "blocked_by_event_type": said and said["event_type"],
        }
        for row in tables["suppressions"]
        for blocking in [sends.get(row["blocked_by_send_request_id"])]
        for said in [events.get(row["blocked_by_event_id"])]
    ]
    columns = (
        *("event_date", "rule_name", "template_name", "suppression_reason", "blocked_by_rule_name"),
        "blocked_by_event_type",
    )
    assert summed(tables["suppressions_by_reason"], "suppression_count", *columns) == counted(refused, *columns)


def check_stops(tables: Tables) -> None:
    sends = tables.by_id("send_requests")
    refused = []
    for row in tables["suppressions"]:
        kind, _, name = row["suppression_reason"].partition(":")
        blocking = sends.get(row["blocked_by_send_request_id"])
        blocking_rule = blocking and blocking["rule_name"]
        kind = {"blocked": "block", "limit": "limit", "holdout": "holdout", "expired": "expired"}.get(kind, "rule")
        name = name or (blocking_rule if kind == "rule" else kind)
        refused.append(row | {"stopped_by_kind": kind, "stopped_by_name": name, "blocking_rule_name": blocking_rule})
    columns = ("rule_name", "stopped_by_kind", "stopped_by_name", "blocking_rule_name")
    assert summed(tables["who_stops_whom"], "suppression_count", *columns) == counted(refused, *columns)


def rulesets_of_events(tables: Tables) -> Iterator[tuple[Row, int | None]]:
    """Each event with the ruleset that decided it, None where none has."""
    loads, batches = tables.by_id("loads"), tables.by_id("batches")
    held = tables.by_id("held_events", "event_id")
    for event in tables["events"]:
        if event["id"] in held:
            batch = batches.get(held[event["id"]]["batch_id"])
            yield event, batch["ruleset_id"] if batch else None
        else:
            yield event, loads[event["load_id"]]["ruleset_id"]


REASONS: Mapping[str, Callable[[str], bool]] = {
    "once_count": lambda reason: reason.startswith("once_"),
    "blocked_count": lambda reason: reason.startswith("blocked:"),
    "holdout_count": lambda reason: reason == "holdout",
    "limited_count": lambda reason: reason.startswith("limit:"),
    "expired_count": lambda reason: reason == "expired",
}


def test_each_suppression_reason_is_counted_in_one_column_of_the_funnel():
    counts = [
        sum(is_it(f"{each}x" if each.has_name else each) for is_it in REASONS.values()) for each in SuppressionReason
    ]
    assert set(counts) == {1}


def waits_of(tables: Tables) -> list[Row]:
    """What waits, and what has waited for nothing, with its event and a reason."""
    events = tables.by_id("events")
    ended = [row | {"reason": row["outcome"]} for row in tables["ended_waits"] if row["outcome"] != "decided"]
    waiting = [row | {"reason": "waits"} for row in tables["waiting_matches"]]
    return [events[row["event_id"]] | row for row in (*waiting, *ended)]


def check_funnel(tables: Tables) -> None:
    rules = tables["ruleset_rules"]
    triggered: Counted = Counter(
        (day(event), rule["rule_name"])
        for event, ruleset_id in rulesets_of_events(tables)
        for rule in rules
        if rule["is_enabled"] and (rule["ruleset_id"], rule["trigger_event_type"]) == (ruleset_id, event["event_type"])
    )
    sends = [send | {"event_date": day(send)} for send in tables["send_requests"]]
    refused = [row | {"event_date": day(row)} for row in tables["suppressions"]]
    key = ("event_date", "rule_name")
    funnel = tables["rule_funnel"]
    assert summed(funnel, "triggered_count", *key) == triggered
    assert summed(funnel, "sent_count", *key) == counted([send for send in sends if outcome(send) == "sent"], *key)
    assert summed(funnel, "alerted_count", *key) == counted(
        [send for send in sends if outcome(send) == "alerted"], *key
    )
    assert summed(funnel, "suppressed_count", *key) == counted(refused, *key)
    for name, is_of_it in REASONS.items():
        of_reason = [row for row in refused if is_of_it(row["suppression_reason"])]
        assert summed(funnel, name, *key) == counted(of_reason, *key), name
    for name, outcome_of_wait in (
        ("waiting_count", "waits"),
        ("unmatched_count", "no match"),
        ("lapsed_count", "lapsed"),
    ):
        waits = [row | {"event_date": day(row)} for row in waits_of(tables) if row["reason"] == outcome_of_wait]
        assert summed(funnel, name, *key) == counted(waits, *key), name
    for row in funnel:
        assert row["matched_count"] == row["sent_count"] + row["alerted_count"] + row["suppressed_count"]
        assert row["matched_count"] <= row["triggered_count"]


def check_timeline(tables: Tables) -> None:
    columns = (
        *("user_id", "event_timestamp", "entry_kind", "event_id", "rule_name", "template_name"),
        *("reason", "decision_time", "blocked_by_event_id", "blocked_by_event_timestamp", "blocked_by_event_type"),
    )
    events, all_sends = tables.by_id("events"), tables.by_id("send_requests")

    def in_the_way(refused: Row) -> Row:
        said = events.get(refused["blocked_by_event_id"], {})
        send = all_sends.get(refused["blocked_by_send_request_id"], {})
        return {
            "blocked_by_event_timestamp": said.get("event_timestamp") or send.get("event_timestamp"),
            "blocked_by_event_type": said.get("event_type"),
        }

    nothing = dict.fromkeys(columns)
    kinds = {"sent": "send", "alerted": "alert"}
    entries = [
        *(nothing | event | {"entry_kind": "event", "event_id": event["id"]} for event in tables["events"]),
        *(nothing | send | {"entry_kind": kinds[outcome(send)]} for send in tables["send_requests"]),
        *(
            refused | in_the_way(refused) | {"entry_kind": "suppression", "reason": refused["suppression_reason"]}
            for refused in tables["suppressions"]
        ),
        *(nothing | wait | {"entry_kind": "wait", "decision_time": wait["decide_at"]} for wait in waits_of(tables)),
    ]
    assert counted(tables["user_timeline"], *columns) == counted(entries, *columns)


def check_traits(tables: Tables) -> None:
    traits = tables.by_id("user_traits", "event_id")
    names = ("email", "country", "marketing_opt_in", "risk_segment")
    limited = [run["latest_event_at"] for run in tables["runs"] if run["latest_event_at"] is not None]
    reached = max([*limited, *(run["as_of"] for run in tables["runs"] if limited)], default="9999")
    known: dict[str, Row] = {}
    for event in sorted(tables["events"], key=lambda event: (event["event_timestamp"], event["id"])):
        if event["id"] in traits and event["event_timestamp"] <= reached:
            of_user = known.setdefault(event["user_id"], dict.fromkeys(names))
            said = traits[event["id"]]
            of_user |= {name: said[name] for name in names if said[name] is not None}
            of_user["last_event_timestamp"] = event["event_timestamp"]
    found = tables.by_id("latest_user_traits", "user_id")
    assert {
        user: {name: row[name] for name in (*names, "last_event_timestamp")} for user, row in found.items()
    } == known


def check_files(tables: Tables) -> None:
    loads, files = tables.by_id("loads"), tables.by_id("source_files")
    history = tables.by_id("load_history", "load_id")
    assert history.keys() == loads.keys()
    for load_id, load in loads.items():
        shared = load.keys() & history[load_id].keys()
        assert {name: history[load_id][name] for name in shared} == {name: load[name] for name in shared}
        assert history[load_id]["path"] == files[load["source_file_id"]]["path"]
    rejected = counted(tables["rejected_rows"], "load_id", "line_number", "reason_code")
    assert counted(tables["rejected_lines"], "load_id", "line_number", "reason_code") == rejected
    by_reason = summed(tables["rejected_lines_by_reason"], "rejected_count", "load_id", "reason_code")
    assert by_reason == counted(tables["rejected_rows"], "load_id", "reason_code")


def check_waiting(tables: Tables) -> None:
    loads, held = tables.by_id("loads"), tables.by_id("held_events", "event_id")
    waiting = []
    for event in tables["events"]:
        held_event = held.get(event["id"])
        if held_event is None and loads[event["load_id"]]["state"] == "loaded":
            waiting.append((event["id"], "the next run"))
        elif held_event is not None and held_event["batch_id"] is None:
            waiting.append((event["id"], "a backfill" if held_event["due_at"] is None else "its time"))
    assert counted(tables["waiting_events"], "event_id", "waits_for") == Counter(waiting)
    keys = ("event_id", "user_id", "event_type", "event_timestamp", "rule_name", "decide_at")
    waits = [row for row in waits_of(tables) if row["reason"] == "waits"]
    assert counted(tables["waiting_messages"], *keys) == counted(waits, *keys)


@examples(15)
@given(
    files=strategies.event_batches(),
    documents=st.lists(st.one_of(strategies.rules_documents(), language_documents()), min_size=1, max_size=3),
    told=st.lists(strategies.run_orders(), min_size=1, max_size=5),
)
def test_every_view_says_what_the_tables_say(
    migrated_template: Path, files: list[RawFile], documents: list[Document], told: list[Told]
) -> None:
    with quick_folder() as folder:
        pipeline = Pipeline(folder, migrated_template)
        for number, run in enumerate(told):
            for file in files[number :: len(told)]:
                pipeline.land(file)
            pipeline.do(pipeline.told(run), documents[number % len(documents)])
        pipeline.engine.dispose()
        with closing(sqlite3.connect(pipeline.database_path)) as connection:
            connection.row_factory = sqlite3.Row
            tables = Tables(connection)
            for check in (
                check_days,
                check_messages,
                check_suppressions,
                check_stops,
                check_funnel,
                check_timeline,
                check_traits,
                check_files,
                check_waiting,
            ):
                check(tables)


def test_no_view_is_left_out_here() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    assert [view.name for view in VIEWS if f'"{view.name}"' not in here] == []
