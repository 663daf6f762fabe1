"""Which rules' messages stop which others."""

from src.marketing_messaging_service.models import Suppression
from src.marketing_messaging_service.views.view import View, ViewColumn, passed_on
from src.marketing_messaging_service.vocabulary import DataType, SuppressionReason

_ONCE = SuppressionReason.ONCE.stopped_by
_NAMED = [each for each in reversed(SuppressionReason) if each.has_name and each.stopped_by != _ONCE]
_WHOLE = [each for each in SuppressionReason if not each.has_name]

_FOLLOWING_NAMES = "\n        ".join(
    f"WHEN '{each.stopped_by}' THEN substr(refused.suppression_reason, {len(each) + 1})" for each in _NAMED
)
_KINDS = "\n            ".join(f"WHEN suppression_reason LIKE '{each}%' THEN '{each.stopped_by}'" for each in _NAMED)
_QUOTED = ", ".join(f"'{each}'" for each in _WHOLE)

WHO_STOPS_WHOM = View(
    name="who_stops_whom",
    sentence="How often so far the messages of a rule were refused because of another message, a limit, a block, the "
    "holdout or age.",
    columns=(
        passed_on(Suppression.rule_name),
        ViewColumn(
            "stopped_by_kind",
            DataType.TEXT,
            "What stood in its way: rule (a message had used up the once), "
            f"{', '.join(each.stopped_by for each in _NAMED + _WHOLE[:-1])} or {_WHOLE[-1].stopped_by}.",
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
        {_FOLLOWING_NAMES}
        WHEN '{_ONCE}' THEN blocking.rule_name
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
            {_KINDS}
            WHEN suppression_reason IN ({_QUOTED}) THEN suppression_reason
            ELSE '{_ONCE}'
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
