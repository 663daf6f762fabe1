"""What was refused, and what stood in its way."""

from src.marketing_messaging_service.models import Suppression
from src.marketing_messaging_service.views.event_dates import EVENT_DATE
from src.marketing_messaging_service.views.view import View, ViewColumn, passed_on
from src.marketing_messaging_service.vocabulary import REASONS_SENTENCE, DataType

SUPPRESSIONS_BY_REASON = View(
    name="suppressions_by_reason",
    sentence="Suppressions by UTC date, rule, reason and what stood in the way; a day is quick when you ask "
    "for its event_date.",
    columns=(
        EVENT_DATE,
        passed_on(Suppression.rule_name),
        passed_on(Suppression.template_name),
        ViewColumn("suppression_reason", DataType.TEXT, REASONS_SENTENCE),
        ViewColumn(
            "blocked_by_rule_name",
            DataType.TEXT,
            "The rule of the send that had used up the once or the limit; often the same rule, another one if rules "
            "share a template or a limit.",
        ),
        ViewColumn(
            "blocked_by_event_type",
            DataType.TEXT,
            "The type of the event that blocks the user; null where no event stood in the way.",
        ),
        ViewColumn("suppression_count", DataType.INTEGER, "Rows of suppressions."),
        ViewColumn("user_count", DataType.INTEGER, "Distinct users among them."),
    ),
    reads=("suppressions", "send_requests", "events", "event_dates"),
    select="""\
SELECT
    day.event_date,
    suppression.rule_name,
    suppression.template_name,
    suppression.suppression_reason,
    blocking.rule_name AS blocked_by_rule_name,
    said.event_type AS blocked_by_event_type,
    CAST(count(*) AS INTEGER) AS suppression_count,
    CAST(count(DISTINCT suppression.user_id) AS INTEGER) AS user_count
FROM event_dates AS day
CROSS JOIN suppressions AS suppression
    ON suppression.event_timestamp
        BETWEEN day.event_date || ' 00:00:00.000000' AND day.event_date || ' 23:59:59.999999'
LEFT JOIN send_requests AS blocking ON blocking.id = suppression.blocked_by_send_request_id
LEFT JOIN events AS said ON said.id = suppression.blocked_by_event_id
GROUP BY
    day.event_date,
    suppression.rule_name,
    suppression.template_name,
    suppression.suppression_reason,
    blocking.rule_name,
    said.event_type
""",
)
