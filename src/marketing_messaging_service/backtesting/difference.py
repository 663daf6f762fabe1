"""Counts what would be different, with examples."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from src.marketing_messaging_service.backtesting.comparison import KINDS, NO_RULE, SEND, SUPPRESSED, rows

EXAMPLES = 10
"""How many changes of each kind are shown."""

MOST_CHANGED_USERS = 20

MANY_A_WEEK = 3
"""From this many messages a week, users are counted together unless somebody asks for another number."""


@dataclass(frozen=True, slots=True)
class Counts:
    """A number under the rules before, and under those after."""

    before: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class RuleDifference:
    """What a rule sent with one template, and how much of the difference is new, gone or moved in time."""

    rule_name: str
    template_name: str
    sends: Counts
    alerts: Counts
    suppressions: Counts
    new_count: int
    gone_count: int
    moved_count: int


@dataclass(frozen=True, slots=True)
class ReasonDifference:
    """How often a rule was refused for a reason."""

    rule_name: str
    reason: str
    suppressions: Counts


@dataclass(frozen=True, slots=True)
class UserDifference:
    """A user who would get different messages."""

    user_id: str
    sends: Counts
    new_count: int
    gone_count: int
    moved_count: int

    @property
    def change_count(self) -> int:
        """Messages more, less and moved."""
        return self.new_count + self.gone_count + self.moved_count


@dataclass(frozen=True, slots=True)
class Change:
    """A decision that differs."""

    kind: str
    message_id: str
    event_type: str
    event_timestamp: str
    user_id: str
    rule_name: str
    before: str | None
    after: str | None
    template_before: str | None
    template_after: str | None
    at_before: str | None
    at_after: str | None


CHANGE_COLUMNS = tuple(Change.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Stop:
    """How often something stopped a rule."""

    rule_name: str
    by_kind: str
    """rule, limit, block, holdout or expired."""
    by_name: str
    count: int


@dataclass(frozen=True, slots=True)
class Late:
    """What late events of a type changed."""

    event_type: str
    late_count: int
    """Late events."""
    changing_count: int
    """Those of them that changed a decision."""
    change_count: int
    """Decisions that differ because of them."""
    example: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """How two ways of deciding the same history differ."""

    before_name: str
    after_name: str
    since: datetime
    until: datetime
    event_count: int
    sends: Counts
    alerts: Counts
    suppressions: Counts
    rules: tuple[RuleDifference, ...]
    reasons: tuple[ReasonDifference, ...]
    kinds: Mapping[str, int]
    """Numbers of changes by kind, without zeros."""
    days: tuple[tuple[str, Counts], ...]
    """Messages by UTC day."""
    weeks: tuple[tuple[int, Counts], ...]
    """How many users got each number of messages in a week: one per user and week with a message."""
    more_than: int
    crowded_users: Counts
    """Users who got more than a number of messages in a week."""
    user_count: int
    """Users whose messages change."""
    users: tuple[UserDifference, ...]
    """Those who change most."""
    examples: Mapping[str, Sequence[Change]]
    stops_before: tuple[Stop, ...] = ()
    stops_after: tuple[Stop, ...] = ()
    new_warnings: tuple[str, ...] = ()
    gone_warnings: tuple[str, ...] = ()
    late: tuple[Late, ...] | None = None
    """If actual decisions were compared: which late events changed what."""
    unexplained_count: int = 0
    """Changes for which no late event was found."""
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def change_count(self) -> int:
        """How many decisions differ."""
        return sum(self.kinds.values())


# A cross join keeps this order: changes are few, and reading all events in order takes seconds per million.
_CHANGE = """\
SELECT kind, message_id, event_type, event.event_timestamp, change.user_id, rule_name, before, after, template_before,
    template_after, at_before, at_after
FROM change CROSS JOIN history_db.events AS event ON event.id = change.event_id"""


def every_change(connection: sqlite3.Connection) -> Iterator[Change]:
    """Yield every change, in the order of the events."""
    query = f"{_CHANGE} ORDER BY event.event_timestamp, event.id, rule_name"
    return (Change(*row) for row in connection.execute(query))


def examples(connection: sqlite3.Connection) -> dict[str, Sequence[Change]]:
    """Return the first changes of each kind."""
    query = f"{_CHANGE} WHERE kind = ? ORDER BY event.event_timestamp, event.id, rule_name LIMIT {EXAMPLES}"
    found = {kind: [Change(*row) for row in rows(connection, query, kind)] for kind in KINDS}
    return {kind: some for kind, some in found.items() if some}


def stops(connection: sqlite3.Connection, side: str) -> tuple[Stop, ...]:
    """Return what refused which rule, `before` or `after`."""
    query = (
        f"SELECT coalesce(rule_name, '{NO_RULE}'), stopped_by_kind, coalesce(stopped_by_name, ''), "
        f"sum(suppression_count) FROM {side}_stops GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    return tuple(Stop(*row) for row in rows(connection, query))


_OUTCOMES = """\
SELECT 0 AS side, rule_name, template_name, outcome, count(*) AS number FROM before_decision GROUP BY 2, 3, 4
UNION ALL SELECT 1, rule_name, template_name, outcome, count(*) FROM after_decision GROUP BY 2, 3, 4"""

_CHANGED = """\
SELECT rule_name, coalesce(CASE kind WHEN 'gone' THEN template_before ELSE template_after END, template_before),
    sum(kind = 'new'), sum(kind = 'gone'), sum(kind = 'moved' AND after = 'send')
FROM change GROUP BY 1, 2"""


def outcomes(connection: sqlite3.Connection) -> tuple[tuple[RuleDifference, ...], tuple[ReasonDifference, ...]]:
    """Return the decisions by rule and template, and the refusals by rule and reason."""
    counted: dict[tuple[str, str], dict[str, list[int]]] = {}
    reasons: dict[tuple[str, str], list[int]] = {}
    for side, rule_name, template_name, outcome, number in rows(connection, _OUTCOMES):
        of_rule = counted.setdefault((rule_name, template_name), {})
        of_rule.setdefault(outcome.partition(":")[0], [0, 0])[side] += number
        if outcome.startswith(SUPPRESSED):
            reasons.setdefault((rule_name, outcome.removeprefix(SUPPRESSED)), [0, 0])[side] += number
    changed = {(row[0], row[1]): row[2:] for row in rows(connection, _CHANGED)}
    none = [0, 0]
    rules = (
        RuleDifference(
            *names,
            Counts(*found.get(SEND, none)),
            Counts(*found.get("alert", none)),
            Counts(*found.get(SUPPRESSED[:-1], none)),
            *changed.get(names, (0, 0, 0)),
        )
        for names, found in sorted(counted.items())
    )
    return tuple(rules), tuple(ReasonDifference(*names, Counts(*both)) for names, both in sorted(reasons.items()))


def _both(connection: sqlite3.Connection, query: str) -> dict[Any, Counts]:
    """Return a query's keys and numbers for the decisions before and after."""
    before, after = (dict(rows(connection, query.replace("{side}", side))) for side in ("before", "after"))
    return {key: Counts(before.get(key, 0), after.get(key, 0)) for key in sorted({**before, **after})}


_OF_DAY = "SELECT substr(at, 1, 10), count(*) FROM {side}_send WHERE outcome = 'send' GROUP BY 1"

_OF_WEEK = """\
CREATE TEMP TABLE of_week AS
SELECT 'before' AS side, user_id, date(at, 'weekday 0', '-6 days') AS week, count(*) AS number FROM before_send
WHERE outcome = 'send' GROUP BY 2, 3
UNION ALL SELECT 'after', user_id, date(at, 'weekday 0', '-6 days'), count(*) FROM after_send
WHERE outcome = 'send' GROUP BY 2, 3"""


def days(connection: sqlite3.Connection) -> tuple[tuple[str, Counts], ...]:
    """Return the messages of each day."""
    return tuple(_both(connection, _OF_DAY).items())


def weeks(connection: sqlite3.Connection, more_than: int) -> tuple[tuple[tuple[int, Counts], ...], Counts]:
    """Return how often a user got each number of messages in a week from Monday, and how many users got more."""
    connection.execute(_OF_WEEK)
    often = _both(connection, "SELECT number, count(*) FROM of_week WHERE side = '{side}' GROUP BY 1")
    crowded = "SELECT 1, count(DISTINCT user_id) FROM of_week WHERE side = '{side}' AND number > "
    return tuple(often.items()), _both(connection, f"{crowded}{more_than:d}")[1]


_USERS = f"""\
SELECT user_id, sum(kind = 'new'), sum(kind = 'gone'), sum(kind = 'moved' AND after = 'send')
FROM change WHERE '{SEND}' IN (before, after)
GROUP BY user_id"""


def users(connection: sqlite3.Connection) -> tuple[int, tuple[UserDifference, ...]]:
    """Return how many users' messages change, and the users whose messages change most."""
    [(count,)] = rows(connection, f"SELECT count(*) FROM ({_USERS})")
    most = rows(connection, f"{_USERS} ORDER BY sum(1) DESC, user_id LIMIT {MOST_CHANGED_USERS}")
    places = ", ".join("?" * len(most))
    query = f"SELECT user_id, count(*) FROM {{side}}_send WHERE outcome = '{SEND}' AND user_id IN ({places}) GROUP BY 1"
    ids = [row[0] for row in most]
    before, after = (dict(rows(connection, query.format(side=side), *ids)) for side in ("before", "after"))
    return count, tuple(
        UserDifference(row[0], Counts(before.get(row[0], 0), after.get(row[0], 0)), *row[1:]) for row in most
    )


def kinds(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many changes there are of each kind."""
    counts = dict(rows(connection, "SELECT kind, count(*) FROM change GROUP BY kind"))
    return {kind: counts[kind] for kind in KINDS if kind in counts}
