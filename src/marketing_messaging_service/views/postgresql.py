"""The views in PostgreSQL's words.

The view texts handle times as text, as SQLite stores them; the few phrases in which they do so are replaced here by
instants. What a view means is declared once, beside its SQLite text.
"""

import re
from collections.abc import Mapping

from src.marketing_messaging_service.views import VIEWS
from src.marketing_messaging_service.views.latest_user_traits import LATEST_USER_TRAITS
from src.marketing_messaging_service.vocabulary import TRAITS, Field

_DAY = r"day\.event_date"

_TURNS: tuple[tuple[str, str], ...] = (
    # A day: from its first instant to just before the next day's.
    (
        rf"([\w.]+)\s+BETWEEN {_DAY} \|\| ' 00:00:00\.000000' AND {_DAY} \|\| ' 23:59:59\.999999'",
        r"\1 >= CAST(day.event_date AS timestamp) AND \1 < CAST(day.event_date AS timestamp) + interval '1 day'",
    ),
    (rf"{_DAY} \|\| ' 00:00:00\.000000'", "CAST(day.event_date AS timestamp)"),
    (
        rf"<= {_DAY} \|\| ' 23:59:59\.999999'",
        "< CAST(day.event_date AS timestamp) + interval '1 day'",
    ),
    (
        r"> dates\.event_date \|\| ' 23:59:59\.999999'",
        ">= CAST(dates.event_date AS timestamp) + interval '1 day'",
    ),
    (r"substr\(min\(happened_at\), 1, 10\)", "to_char(min(happened_at), 'YYYY-MM-DD')"),
    (
        r"substr\(event\.event_timestamp, 1, 13\) \|\| ':00:00\.000000'",
        "date_trunc('hour', event.event_timestamp)",
    ),
    (r"substr\(event\.event_timestamp, 1, 13\)", "date_trunc('hour', event.event_timestamp)"),
    (
        r"round\(\(julianday\(([\w.]+)\) - julianday\(([\w.]+)\)\) \* 86400, 3\)",
        r"round(extract(epoch FROM \1 - \2), 3)",
    ),
    # Before version 16 what is in a FROM must have a name.
    (r"(SELECT min\(event_timestamp\) FROM suppressions(?:\s+WHERE [^\n]*)?\s+\))", r"\1 AS firsts"),
    (r"AS REAL\)", "AS double precision)"),
    (r"AS INTEGER\)", "AS bigint)"),
    # It fixes SQLite's join order.
    (r"CROSS JOIN (?!\()(\w+ AS \w+)(\s+)ON", r"JOIN \1\2ON"),
    # A value shared by all rows of a group.
    (
        r"GROUP BY rejected\.load_id, rejected\.reason_code\n",
        "GROUP BY rejected.load_id, file.path, rejected.reason_code, load.loaded_at\n",
    ),
)


def _own_words(select: str) -> str:
    for sqlites, own in _TURNS:
        select = re.sub(sqlites, own, select)
    return select


def _with_typed_nulls(select: str) -> str:
    """Return a UNION in which each bare NULL of the first part has the type of that column in the others."""
    first, *others = select.split("UNION ALL")
    first = re.sub(r"NULL AS (decision_time|blocked_by_event_timestamp)", r"CAST(NULL AS timestamp) AS \1", first)
    first = re.sub(r"(?<=\n)(\s+)NULL AS (\w+),", r"\1CAST(NULL AS text) AS \2,", first)
    return "UNION ALL".join([first, *others])


def _latest(trait: Field) -> str:
    order = "event.event_timestamp DESC, event.id DESC"
    shown = trait.kind.shown(f"trait.{trait.name}", trait)
    return f"(array_agg({shown} ORDER BY {order}) FILTER (WHERE trait.{trait.name} IS NOT NULL))[1] AS {trait.name},"


_LATEST_USER_TRAITS = (
    "SELECT\n    event.user_id,\n    "
    + "\n    ".join(map(_latest, TRAITS.fields))
    + """
    max(event.event_timestamp) AS last_event_timestamp
FROM events AS event
JOIN user_traits AS trait ON trait.event_id = event.id
WHERE event.event_timestamp <= (
    SELECT
        CASE WHEN max(run.latest_event_at) IS NULL THEN CAST('9999-12-31 23:59:59.999999' AS timestamp)
        ELSE max(coalesce(run.latest_event_at, run.as_of)) END
    FROM runs AS run
)
GROUP BY event.user_id
"""
)


def _text(name: str, select: str) -> str:
    if name == LATEST_USER_TRAITS.name:
        return _LATEST_USER_TRAITS
    return _with_typed_nulls(_own_words(select)) if name == "user_timeline" else _own_words(select)


SELECTS: Mapping[str, str] = {
    view.name: _text(view.name, view.select)
    # Those that other views read come first.
    for view in sorted(VIEWS, key=lambda view: any(other.name in view.reads for other in VIEWS))
}
"""The SELECT of each view, by name, in an order in which each reads only those before it."""
