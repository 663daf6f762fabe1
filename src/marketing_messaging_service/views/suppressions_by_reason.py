"""What was refused, and what stood in its way."""

from src.marketing_messaging_service.models import Suppression
from src.marketing_messaging_service.views.event_dates import EVENT_DATE
from src.marketing_messaging_service.views.view import View, ViewColumn, passed_on
from src.marketing_messaging_service.vocabulary import DataType

SUPPRESSIONS_BY_REASON = View(
    name="suppressions_by_reason",
    sentence="Suppressions by UTC date, rule, reason and the rule whose send blocked them; a day is quick when you ask "
    "for its event_date.",
    columns=(
        EVENT_DATE,
        passed_on(Suppression.rule_name),
        passed_on(Suppression.template_name),
        passed_on(Suppression.suppression_reason),
        ViewColumn(
            "blocked_by_rule_name",
            DataType.TEXT,
            "The rule of the send that had used up the once; often the same rule, another one where rules share a "
            "template.",
        ),
        ViewColumn("suppression_count", DataType.INTEGER, "Rows of suppressions."),
        ViewColumn("user_count", DataType.INTEGER, "Different users among them."),
    ),
    reads=("suppressions", "send_requests", "event_dates"),
    select="""\
SELECT
    day.event_date,
    suppression.rule_name,
    suppression.template_name,
    suppression.suppression_reason,
    blocking.rule_name AS blocked_by_rule_name,
    CAST(count(*) AS INTEGER) AS suppression_count,
    CAST(count(DISTINCT suppression.user_id) AS INTEGER) AS user_count
FROM event_dates AS day
CROSS JOIN suppressions AS suppression
    ON suppression.event_timestamp
        BETWEEN day.event_date || ' 00:00:00.000000' AND day.event_date || ' 23:59:59.999999'
LEFT JOIN send_requests AS blocking ON blocking.id = suppression.blocked_by_send_request_id
GROUP BY
    day.event_date,
    suppression.rule_name,
    suppression.template_name,
    suppression.suppression_reason,
    blocking.rule_name
""",
)
