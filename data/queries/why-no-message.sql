-- title: Why did this user get no welcome e-mail?
-- sentence: Every event of the user that a rule looks at, and what came of it: sent, suppressed and by which earlier send, or not matched. No row means that no such event has arrived.
-- parameter user_id: the user, such as ada
-- parameter rule_name: the rule; left empty, welcome_email
SELECT
    event.event_timestamp,
    event.event_type,
    CASE
        WHEN send.id IS NOT NULL THEN 'sent'
        WHEN suppression.id IS NOT NULL THEN 'suppressed: ' || suppression.suppression_reason
        WHEN load.state = 'loaded' THEN 'waits to be decided by the next run'
        WHEN rule.rule_name IS NULL THEN 'the rule was not in force'
        ELSE 'a condition of the rule did not hold'
    END AS outcome,
    blocking.event_timestamp AS blocked_by_event_timestamp,
    trait.marketing_opt_in,
    trait.country,
    trait.risk_segment,
    property.failure_reason,
    property.attempt_number,
    rule.description AS rule_description
FROM events AS event
LEFT JOIN loads AS load ON load.id = event.load_id
LEFT JOIN ruleset_rules AS rule
    ON rule.ruleset_id = load.ruleset_id
    AND rule.rule_name = coalesce(nullif(:rule_name, ''), 'welcome_email')
    AND rule.is_enabled
LEFT JOIN send_requests AS send
    ON send.event_id = event.id AND send.rule_name = coalesce(nullif(:rule_name, ''), 'welcome_email')
LEFT JOIN suppressions AS suppression
    ON suppression.event_id = event.id AND suppression.rule_name = coalesce(nullif(:rule_name, ''), 'welcome_email')
LEFT JOIN send_requests AS blocking ON blocking.id = suppression.blocked_by_send_request_id
LEFT JOIN user_traits AS trait ON trait.event_id = event.id
LEFT JOIN event_properties AS property ON property.event_id = event.id
WHERE event.user_id = :user_id
    AND event.event_type IN (
        SELECT trigger_event_type FROM ruleset_rules
        WHERE rule_name = coalesce(nullif(:rule_name, ''), 'welcome_email')
    )
ORDER BY event.event_timestamp, event.id;
