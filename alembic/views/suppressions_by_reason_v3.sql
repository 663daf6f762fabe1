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
