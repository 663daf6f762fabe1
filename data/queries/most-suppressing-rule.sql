-- title: Which rule suppressed most on this day, and what blocked it?
-- sentence: Suppressions of one UTC day by rule and reason, with what stood in the way: the rule of the earlier send, or the type of the event that blocks the users; empty where the message had expired or the user is in the holdout.
-- parameter event_date: the day, such as 2026-11-23; left empty, the last day that a run has reached
WITH asked AS (
    SELECT
        date(
            coalesce(
                nullif(trim(:event_date), ''),
                (
                    SELECT max(event_date) FROM event_dates
                    WHERE event_date <= coalesce((SELECT substr(max(as_of), 1, 10) FROM loads), '9999-12-31')
                )
            )
        ) AS event_date
)
SELECT
    asked.event_date,
    suppressed.rule_name AS rule_name,
    suppressed.template_name,
    suppressed.suppression_reason,
    suppressed.blocked_by_rule_name,
    suppressed.blocked_by_event_type,
    suppressed.suppression_count AS suppression_count,
    suppressed.user_count,
    NULL AS remark
FROM asked
JOIN suppressions_by_reason AS suppressed ON suppressed.event_date = asked.event_date
UNION ALL
SELECT
    asked.event_date, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    CASE WHEN asked.event_date IS NULL THEN 'Write event_date like 2026-11-23.' ELSE 'Nothing was suppressed on this day.' END
FROM asked
WHERE NOT EXISTS (SELECT 1 FROM suppressions_by_reason WHERE event_date = asked.event_date)
    AND (asked.event_date IS NOT NULL OR trim(:event_date) <> '')
ORDER BY suppression_count DESC, rule_name;
