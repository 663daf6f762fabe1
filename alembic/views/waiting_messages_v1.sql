SELECT
    waiting.event_id,
    event.user_id,
    event.event_type,
    event.event_timestamp,
    waiting.rule_name,
    rule.template_name,
    rule.channel,
    waiting.decide_at,
    CASE
        WHEN rule.rule_name IS NULL THEN 'nothing'
        WHEN reached.as_of IS NULL OR waiting.decide_at >= reached.as_of THEN 'its time'
        WHEN ruleset.yaml_text LIKE '%wait_for_data%' THEN 'the data'
        ELSE 'the next run'
    END AS waits_for
FROM waiting_matches AS waiting
CROSS JOIN events AS event ON event.id = waiting.event_id
CROSS JOIN (SELECT max(batch.id) AS batch_id FROM batches AS batch) AS newest
CROSS JOIN (
    SELECT max(run.as_of) AS as_of FROM runs AS run WHERE run.state = 'completed' AND run.mode = 'load and decide'
) AS reached
LEFT JOIN batches AS last ON last.id = newest.batch_id
LEFT JOIN rulesets AS ruleset ON ruleset.id = last.ruleset_id
LEFT JOIN ruleset_rules AS rule
    ON rule.ruleset_id = last.ruleset_id
    AND rule.rule_name = waiting.rule_name
    AND rule.trigger_event_type = event.event_type
    AND rule.is_enabled
    AND rule.wait_hours IS NOT NULL
