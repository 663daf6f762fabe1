"""What happened to a user, in order."""

from src.marketing_messaging_service.models import Event, SendRequest, Suppression
from src.marketing_messaging_service.views.view import View, ViewColumn, field_passed_on, passed_on
from src.marketing_messaging_service.vocabulary import PROPERTIES, DataType, Field


def _shown(field: Field) -> str:
    column = f"property.{field.name}"
    shown = field.kind.shown(column, field)
    return f"{column}," if shown == column else f"{shown} AS {field.name},"


_EACH_PROPERTY = "\n    ".join(map(_shown, PROPERTIES.fields))
_NO_PROPERTY = "\n    ".join("NULL," for _ in PROPERTIES.fields)


def _waits(joined: str, reason: str) -> str:
    return f"""\
UNION ALL
SELECT
    event.user_id,
    event.event_timestamp,
    'wait',
    event.event_type,
    NULL,
    NULL,
    wait.rule_name,
    {reason},
    wait.decide_at,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    {_NO_PROPERTY}
    event.id,
    CAST(1 AS INTEGER)
FROM events AS event
JOIN {joined}
"""


USER_TIMELINE = View(
    name="user_timeline",
    sentence="One row per event, send, alert, suppression or wait of a user; ask for one user_id, and sort by "
    "event_timestamp, event_id and entry_position.",
    columns=(
        passed_on(Event.user_id),
        passed_on(Event.event_timestamp),
        ViewColumn("entry_kind", DataType.TEXT, "What the row is: event, send, alert, suppression or wait."),
        passed_on(Event.event_type),
        ViewColumn(
            "template_name",
            DataType.TEXT,
            "The message owed or refused, from action.template_name of the rule; null for an event.",
        ),
        ViewColumn(
            "channel",
            DataType.TEXT,
            "The way a send goes out, such as email or sms; internal for an alert; null for the others.",
        ),
        passed_on(Suppression.rule_name),
        ViewColumn(
            "reason",
            DataType.TEXT,
            "Why a row is there: `rule:` and the rule's name for a send or alert, the suppression_reason for a "
            "suppression, for a wait `waits`, `no match` or `lapsed`; null for an event.",
        ),
        ViewColumn(
            "decision_time",
            DataType.TIMESTAMP,
            "When the wait of a rule is or was over, in UTC; null where it decides at once, and for an event.",
        ),
        ViewColumn(
            "blocked_by_event_timestamp",
            DataType.TIMESTAMP,
            "When the event happened that was behind a suppression, in UTC: the event of the send in the way, or the "
            "one that blocks the user; null for the others.",
        ),
        ViewColumn(
            "blocked_by_event_type",
            DataType.TEXT,
            "The type of the event that blocks the user; null where no event stood in the way.",
        ),
        ViewColumn(
            "blocked_by_rule_name",
            DataType.TEXT,
            "The rule of the send that caused a suppression; null for the others.",
        ),
        passed_on(Suppression.blocked_by_send_request_id),
        passed_on(Suppression.blocked_by_event_id),
        *map(field_passed_on, PROPERTIES.fields),
        passed_on(SendRequest.event_id),
        ViewColumn(
            "entry_position",
            DataType.INTEGER,
            "Position among the rows of one event: 0 for the event itself, 1 for what came of it.",
        ),
    ),
    reads=("events", "event_properties", "send_requests", "suppressions", "waiting_matches", "ended_waits"),
    select=f"""\
SELECT
    event.user_id,
    event.event_timestamp,
    'event' AS entry_kind,
    event.event_type,
    NULL AS template_name,
    NULL AS channel,
    NULL AS rule_name,
    NULL AS reason,
    NULL AS decision_time,
    NULL AS blocked_by_event_timestamp,
    NULL AS blocked_by_event_type,
    NULL AS blocked_by_rule_name,
    CAST(NULL AS INTEGER) AS blocked_by_send_request_id,
    CAST(NULL AS INTEGER) AS blocked_by_event_id,
    {_EACH_PROPERTY}
    event.id AS event_id,
    CAST(0 AS INTEGER) AS entry_position
FROM events AS event
LEFT JOIN event_properties AS property ON property.event_id = event.id
UNION ALL
SELECT
    event.user_id,
    event.event_timestamp,
    CASE send.channel WHEN 'internal' THEN 'alert' ELSE 'send' END,
    event.event_type,
    send.template_name,
    send.channel,
    send.rule_name,
    send.reason,
    send.decision_time,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    {_NO_PROPERTY}
    event.id,
    CAST(1 AS INTEGER)
FROM events AS event
JOIN send_requests AS send ON send.event_id = event.id
UNION ALL
SELECT
    send.user_id,
    send.event_timestamp,
    CASE send.channel WHEN 'internal' THEN 'alert' ELSE 'send' END,
    NULL,
    send.template_name,
    send.channel,
    send.rule_name,
    send.reason,
    send.decision_time,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    {_NO_PROPERTY}
    NULL,
    CAST(1 AS INTEGER)
FROM send_requests AS send
WHERE send.event_id IS NULL
UNION ALL
SELECT
    suppression.user_id,
    suppression.event_timestamp,
    'suppression',
    event.event_type,
    suppression.template_name,
    NULL,
    suppression.rule_name,
    suppression.suppression_reason,
    suppression.decision_time,
    coalesce(blocking.event_timestamp, said.event_timestamp),
    said.event_type,
    blocking.rule_name,
    suppression.blocked_by_send_request_id,
    suppression.blocked_by_event_id,
    {_NO_PROPERTY}
    suppression.event_id,
    CAST(1 AS INTEGER)
FROM suppressions AS suppression
LEFT JOIN events AS event ON event.id = suppression.event_id
LEFT JOIN send_requests AS blocking ON blocking.id = suppression.blocked_by_send_request_id
LEFT JOIN events AS said ON said.id = suppression.blocked_by_event_id
{_waits("waiting_matches AS wait ON wait.event_id = event.id", "'waits'")}\
{_waits("ended_waits AS wait ON wait.event_id = event.id AND wait.outcome <> 'decided'", "wait.outcome")}\
""",
)
