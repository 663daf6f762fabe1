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
