"""Compares the decisions of two databases, by event and rule; in SQL over both at once."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from src.marketing_messaging_service.backtesting.schedule import Span
from src.marketing_messaging_service.infrastructure.database import foreseeable_errors, timestamp_text
from src.marketing_messaging_service.models import ALERT_CHANNEL
from src.marketing_messaging_service.views.who_stops_whom import WHO_STOPS_WHOM

SEND, ALERT, SUPPRESSED = "send", "alert", "suppressed:"

STEPS_BETWEEN_LOOKS = 1_000_000
"""How many steps of SQLite's machine between checks whether a comparison is still wanted."""

NEW, GONE, MOVED, OTHERWISE = "new", "gone", "moved", "otherwise"
NEWLY_REFUSED, OTHER_REASON, NO_LONGER_REFUSED, ALERTED = "newly_refused", "other_reason", "no_longer_refused", "alert"

KINDS = {
    NEW: "one more message",
    GONE: "one message fewer",
    MOVED: "the message at another time",
    OTHERWISE: "another message or channel",
    NEWLY_REFUSED: "refused now, no match before",
    OTHER_REASON: "refused for another reason",
    NO_LONGER_REFUSED: "refused before, no match now",
    ALERTED: "an alert added or gone",
}
"""The kinds of change, each with its words."""


@contextmanager
def compared(
    before: Path, after: Path, history: Path, span: Span, is_over: Callable[[], bool], *, only: str = ""
) -> Iterator[sqlite3.Connection]:
    """Yield a connection with the table `change` and views such as `before_decision` and `after_stops`.

    `only` is a condition on the decisions, of the alias `decided`. A long statement ends soon after `is_over`.
    """
    with foreseeable_errors(), closing(sqlite3.connect("", uri=True, isolation_level=None)) as connection:
        connection.set_progress_handler(is_over, STEPS_BETWEEN_LOOKS)
        # A large one is sorted in files.
        connection.execute("PRAGMA cache_size=-16384")
        for name, path in (("before", before), ("after", after), ("history", history)):
            connection.execute(f"ATTACH DATABASE ? AS {name}_db", (f"{path.as_uri()}?mode=ro",))
        for name in ("before", "after"):
            for view in _views(name, span, only):
                connection.execute(view)
        connection.execute(_DIFFERING)
        connection.execute(_CHANGES)
        connection.execute(_PAIRS)
        yield connection


def _views(name: str, span: Span, only: str) -> Iterator[str]:
    """Yield what makes the views of the sends, refusals and all decisions of a database within a span."""
    # A view cannot have parameters; instants are text that we made.
    condition = f"{_AT} >= '{timestamp_text(span.since)}' AND {_AT} < '{timestamp_text(span.until)}'"
    condition += f" AND {only}" if only else ""
    for kind, (table, channel, outcome) in _PARTS.items():
        yield (
            f"CREATE TEMP VIEW {name}_{kind} AS SELECT event_id, {_RULE} AS rule_name, user_id, template_name, "
            f"{channel} AS channel, {outcome} AS outcome, {_AT} AS at FROM {name}_db.{table} AS decided "
            f"WHERE {condition}"
        )
    yield f"CREATE TEMP VIEW {name}_decision AS SELECT * FROM {name}_send UNION ALL SELECT * FROM {name}_refusal"
    yield (
        f"CREATE TEMP VIEW {name}_stops AS WITH "
        f"suppressions AS (SELECT * FROM {name}_db.suppressions AS decided WHERE {condition}), "
        f"send_requests AS (SELECT * FROM {name}_db.send_requests) {WHO_STOPS_WHOM.select}"
    )


_AT = "coalesce(decided.decision_time, decided.event_timestamp)"

NO_RULE = "(rule not recorded)"
"""Stands in for the rule of a decision made before decisions recorded theirs."""

_RULE = f"coalesce(rule_name, '{NO_RULE}')"

_PARTS = {
    "send": ("send_requests", "channel", f"CASE channel WHEN '{ALERT_CHANNEL}' THEN '{ALERT}' ELSE '{SEND}' END"),
    "refusal": ("suppressions", "''", f"'{SUPPRESSED}' || suppression_reason"),
}
"""The table, channel and outcome of each kind of decision."""


def _differing(side: int, own: str, other: str) -> Iterator[str]:
    """Yield the queries for the decisions of one database that the other does not have in the same form."""
    for kind, (table, *_) in _PARTS.items():
        differs = (
            "decided.channel <> own.channel"
            if kind == "send"
            else (f"'{SUPPRESSED}' || decided.suppression_reason <> own.outcome")
        )
        # Both have an index on event and rule, so nothing has to be sorted.
        yield (
            f"SELECT {side} AS side, own.* FROM {own}_{kind} AS own LEFT JOIN {other}_db.{table} AS decided "
            "ON decided.event_id = own.event_id AND decided.rule_name = own.rule_name WHERE decided.id IS NULL "
            f"OR decided.template_name <> own.template_name OR {_AT} <> own.at OR {differs}"
        )


_DIFFERING = "CREATE TEMP TABLE differing AS " + " UNION ALL ".join(
    (*_differing(0, "before", "after"), *_differing(1, "after", "before"))
)


def _side(column: str, side: int) -> str:
    return f"max(CASE side WHEN {side} THEN {column} END)"


_BEFORE, _AFTER = _side("outcome", 0), _side("outcome", 1)

_CHANGES = f"""\
CREATE TEMP TABLE change AS
SELECT
    event_id, rule_name, user_id, {_BEFORE} AS before, {_AFTER} AS after,
    {_side("template_name", 0)} AS template_before, {_side("template_name", 1)} AS template_after,
    {_side("at", 0)} AS at_before, {_side("at", 1)} AS at_after,
    CASE
        WHEN {_BEFORE} = '{SEND}' AND {_AFTER} = '{SEND}' THEN CASE
            WHEN {_side("at", 0)} <> {_side("at", 1)} THEN '{MOVED}' ELSE '{OTHERWISE}' END
        WHEN {_AFTER} = '{SEND}' THEN '{NEW}'
        WHEN {_BEFORE} = '{SEND}' THEN '{GONE}'
        WHEN '{ALERT}' IN ({_BEFORE}, {_AFTER}) THEN '{ALERTED}'
        WHEN {_BEFORE} IS NULL THEN '{NEWLY_REFUSED}'
        WHEN {_AFTER} IS NULL THEN '{NO_LONGER_REFUSED}'
        ELSE '{OTHER_REASON}'
    END AS kind
FROM differing GROUP BY event_id, rule_name
"""

_TEMPLATE = f"CASE kind WHEN '{NEW}' THEN template_after ELSE template_before END"

_PAIRS = f"""\
WITH numbered AS (
    SELECT
        rowid AS id, user_id, rule_name, {_TEMPLATE} AS template, kind,
        row_number() OVER (
            PARTITION BY user_id, rule_name, kind, {_TEMPLATE} ORDER BY coalesce(at_after, at_before), event_id
        ) AS place
    FROM change WHERE kind IN ('{NEW}', '{GONE}')
)
UPDATE change SET kind = '{MOVED}' WHERE rowid IN (
    SELECT one.id FROM numbered AS one JOIN numbered AS other
        USING (user_id, rule_name, template, place) WHERE one.kind <> other.kind
)
"""
"""A message that is gone, and a new one of the same rule and template for the same user, count as moved in time."""


def rows(connection: sqlite3.Connection, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with foreseeable_errors():
        return connection.execute(query, values).fetchall()
