"""Which rules' messages stop which others."""

from src.marketing_messaging_service.models import (
    BLOCKED_REASON,
    EXPIRED_REASON,
    HOLDOUT_REASON,
    LIMIT_REASON,
    Suppression,
)
from src.marketing_messaging_service.views.view import View, ViewColumn, passed_on
from src.marketing_messaging_service.vocabulary import DataType

WHO_STOPS_WHOM = View(
    name="who_stops_whom",
    sentence="How often so far the messages of a rule were refused because of another message, a limit, a block, the "
    "holdout or age.",
    columns=(
        passed_on(Suppression.rule_name),
        ViewColumn(
            "stopped_by_kind",
            DataType.TEXT,
            "What stood in its way: rule (a message had used up the once), limit, block, holdout or expired.",
        ),
        ViewColumn(
            "stopped_by_name",
            DataType.TEXT,
            "The rule of that message, often the same one, or the name of the limit or block; null where it was not "
            "recorded.",
        ),
        ViewColumn(
            "blocking_rule_name",
            DataType.TEXT,
            "The rule of the message in the way, also where a limit counted it; null where no message was.",
        ),
        ViewColumn("suppression_count", DataType.INTEGER, "Rows of suppressions."),
        ViewColumn("user_count", DataType.INTEGER, "Distinct users among them."),
    ),
    reads=("suppressions", "send_requests"),
    select=f"""\
SELECT
    refused.rule_name,
    refused.stopped_by_kind,
    CASE refused.stopped_by_kind
        WHEN 'limit' THEN substr(refused.suppression_reason, {len(LIMIT_REASON) + 1})
        WHEN 'block' THEN substr(refused.suppression_reason, {len(BLOCKED_REASON) + 1})
        WHEN 'rule' THEN blocking.rule_name
        ELSE refused.stopped_by_kind
    END AS stopped_by_name,
    blocking.rule_name AS blocking_rule_name,
    CAST(count(*) AS INTEGER) AS suppression_count,
    CAST(count(DISTINCT refused.user_id) AS INTEGER) AS user_count
FROM (
    SELECT
        rule_name,
        user_id,
        suppression_reason,
        blocked_by_send_request_id,
        CASE
            WHEN suppression_reason LIKE '{LIMIT_REASON}%' THEN 'limit'
            WHEN suppression_reason LIKE '{BLOCKED_REASON}%' THEN 'block'
            WHEN suppression_reason IN ('{HOLDOUT_REASON}', '{EXPIRED_REASON}') THEN suppression_reason
            ELSE 'rule'
        END AS stopped_by_kind
    FROM suppressions
) AS refused
LEFT JOIN send_requests AS blocking ON blocking.id = refused.blocked_by_send_request_id
GROUP BY
    refused.rule_name,
    refused.stopped_by_kind,
    stopped_by_name,
    blocking.rule_name
""",
)
