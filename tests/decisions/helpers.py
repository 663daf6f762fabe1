"""Short ways to write events and rules, and to read what was decided."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.decisions import RulesFile, read_rules
from src.marketing_messaging_service.errors import RulesError
from tests.pipeline import Pipeline
from tests.reference import Row

Event = dict[str, Any]
Rule = dict[str, Any]
Condition = dict[str, Any]

NOON = "2026-03-01T12:00:00Z"


def event(message_id: str, event_type: str = "paid", at: str = NOON, user_id: str = "ana", **parts: Any) -> Event:
    """A raw event; `parts` are its properties and user_traits."""
    return {
        "message_id": message_id,
        "user_id": user_id,
        "event_type": event_type,
        "event_timestamp": at,
        **parts,
    }


def rule(
    name: str = "r",
    *conditions: Condition,
    on: str = "paid",
    template: str = "T",
    mode: str = "none",
    channel: str = "email",
    **keys: Any,
) -> Rule:
    """A rule that sends, or on the channel internal alerts."""
    return {
        "name": name,
        "trigger": {"event_type": on},
        "conditions": {"all": list(conditions)},
        "action": {
            "type": "alert" if channel == "internal" else "send",
            "template_name": template,
            "delivery_method": channel,
        },
        "suppression": {"mode": mode},
        **keys,
    }


def prior(event_type: str, hours: float = 24) -> Condition:
    """The condition that another event came before."""
    return {"prior_event": {"event_type": event_type, "hours": hours}}


def run(pipeline: Pipeline, rules: Sequence[Rule], *files: Sequence[Event]) -> None:
    """One run: land the files, take them and decide."""
    pipeline.run(files, {"rules": list(rules)})


def written(pipeline: Pipeline, rules: Sequence[Rule]) -> RulesFile:
    """The rules as read from a file of the pipeline's own."""
    pipeline.rules_path.write_text(json.dumps({"rules": list(rules)}), encoding="utf-8")
    return read_rules(pipeline.rules_path)


def decisions(pipeline: Pipeline) -> list[Row]:
    """All decisions as (message_id, rule, "send" or the mode that suppressed it)."""
    return pipeline.rows(
        "SELECT message_id, rule_name, outcome FROM events JOIN ("
        "SELECT event_id, rule_name, 'send' AS outcome FROM send_requests "
        "UNION ALL SELECT event_id, rule_name, suppression_reason FROM suppressions) ON event_id = events.id"
    )


def sent(pipeline: Pipeline) -> list[str]:
    """The message_ids of the events that got a send or an alert."""
    return [row[0] for row in decisions(pipeline) if row[2] == "send"]


def blockers(pipeline: Pipeline) -> dict[str, str]:
    """For each suppression the send that blocked it, both as "message_id rule"."""
    return dict(
        pipeline.rows(
            "SELECT e.message_id || ' ' || s.rule_name, b.message_id || ' ' || r.rule_name "
            "FROM suppressions s JOIN events e ON e.id = s.event_id "
            "JOIN send_requests r ON r.id = s.blocked_by_send_request_id JOIN events b ON b.id = r.event_id"
        )
    )


def column(pipeline: Pipeline, sql: str) -> list[Any]:
    """The only column of a query."""
    return [value for (value,) in pipeline.rows(sql)]


def refusal(folder: Path, content: str | bytes) -> str:
    """The error when the content of a rules file is refused, without the path."""
    path = folder / "rules.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    with pytest.raises(RulesError) as caught:
        read_rules(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


def with_value(document: Mapping[str, Any], keys: str, value: Any) -> dict[str, Any]:
    """A copy of a document with another value under a dotted path of keys."""
    key, _, rest = keys.partition(".")
    return {**document, key: with_value(document.get(key, {}), rest, value) if rest else value}


def any_of(names: Iterable[str]) -> str:
    """How an error lists the values it expected: 'a', 'b' or 'c'."""
    *first, last = (f"'{name}'" for name in names)
    return f"{', '.join(first)} or {last}"
