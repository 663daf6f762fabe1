"""How many messages went out and were refused, day by day."""

from src.marketing_messaging_service.models import SendRequest
from src.marketing_messaging_service.views.event_dates import EVENT_DATE
from src.marketing_messaging_service.views.view import View, ViewColumn, passed_on
from src.marketing_messaging_service.vocabulary import DataType

DAILY_MESSAGES = View(
    name="daily_messages",
    sentence="Messages by UTC date, template, channel and outcome; a day is quick when you ask for its event_date.",
    columns=(
        EVENT_DATE,
        passed_on(SendRequest.template_name),
        ViewColumn(
            "channel",
            DataType.TEXT,
            "The way it goes out, such as email or sms; internal for an alert; for a suppression the channel of its "
            "rule, null if the rule was not recorded.",
        ),
        ViewColumn("outcome", DataType.TEXT, "What became of the message: sent, alerted or suppressed."),
        ViewColumn("message_count", DataType.INTEGER, "Rows of send_requests or suppressions."),
        ViewColumn("user_count", DataType.INTEGER, "Distinct users among them."),
    ),
    reads=("send_requests", "suppressions", "ruleset_rules", "event_dates"),
    select="""\
SELECT
    day.event_date,
    send.template_name,
    send.channel,
    CASE send.channel WHEN 'internal' THEN 'alerted' ELSE 'sent' END AS outcome,
    CAST(count(*) AS INTEGER) AS message_count,
    CAST(count(DISTINCT send.user_id) AS INTEGER) AS user_count
FROM event_dates AS day
CROSS JOIN send_requests AS send
    ON send.event_timestamp BETWEEN day.event_date || ' 00:00:00.000000' AND day.event_date || ' 23:59:59.999999'
GROUP BY day.event_date, send.template_name, send.channel
UNION ALL
SELECT
    day.event_date,
    suppression.template_name,
    rule.channel,
    'suppressed',
    CAST(count(*) AS INTEGER),
    CAST(count(DISTINCT suppression.user_id) AS INTEGER)
FROM event_dates AS day
CROSS JOIN suppressions AS suppression
    ON suppression.event_timestamp
        BETWEEN day.event_date || ' 00:00:00.000000' AND day.event_date || ' 23:59:59.999999'
LEFT JOIN ruleset_rules AS rule
    ON rule.ruleset_id = suppression.ruleset_id AND rule.rule_name = suppression.rule_name
GROUP BY day.event_date, suppression.template_name, rule.channel
""",
)
