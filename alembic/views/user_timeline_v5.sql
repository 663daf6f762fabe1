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
    property.amount,
    property.attempt_number,
    property.failure_reason,
    property.order_id,
    property.currency,
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
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
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
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
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
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    suppression.event_id,
    CAST(1 AS INTEGER)
FROM suppressions AS suppression
LEFT JOIN events AS event ON event.id = suppression.event_id
LEFT JOIN send_requests AS blocking ON blocking.id = suppression.blocked_by_send_request_id
LEFT JOIN events AS said ON said.id = suppression.blocked_by_event_id
UNION ALL
SELECT
    event.user_id,
    event.event_timestamp,
    'wait',
    event.event_type,
    NULL,
    NULL,
    wait.rule_name,
    'waits',
    wait.decide_at,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    event.id,
    CAST(1 AS INTEGER)
FROM events AS event
JOIN waiting_matches AS wait ON wait.event_id = event.id
UNION ALL
SELECT
    event.user_id,
    event.event_timestamp,
    'wait',
    event.event_type,
    NULL,
    NULL,
    wait.rule_name,
    wait.outcome,
    wait.decide_at,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    event.id,
    CAST(1 AS INTEGER)
FROM events AS event
JOIN ended_waits AS wait ON wait.event_id = event.id AND wait.outcome <> 'decided'
