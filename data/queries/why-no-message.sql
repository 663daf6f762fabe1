-- title: Why did this user get no message?
-- sentence: Every event of the user that a rule looks at, what came of it and why; and raw lines of the user that could not become events. If nothing is found, it says what may be wrong with the question. A line too broken to name its user is not included.
-- parameter user_id: the user, such as ada, exactly as the producer writes it
-- parameter rule_name: the rule, such as welcome_email, or the template that it sends; left empty, every rule
WITH asked AS (
    SELECT :user_id AS user_id, nullif(trim(:rule_name), '') AS name
),
rule_trigger AS (
    SELECT DISTINCT rule.rule_name, rule.trigger_event_type
    FROM asked
    JOIN ruleset_rules AS rule ON asked.name IS NULL OR asked.name IN (rule.rule_name, rule.template_name)
),
own_event AS (
    SELECT
        event.id AS event_id,
        event.event_timestamp,
        event.event_type,
        load.loaded_at,
        CASE
            WHEN load.id IS NULL THEN 'not recorded'
            WHEN held.event_id IS NOT NULL AND held.run_id IS NULL AND held.due_at IS NOT NULL THEN 'waits for its time'
            WHEN held.event_id IS NOT NULL AND held.run_id IS NULL THEN 'held'
            WHEN held.event_id IS NULL AND load.state = 'loaded' THEN 'waits'
            ELSE 'decided'
        END AS state,
        coalesce(batch.decided_at, load.decided_at) AS decided_at,
        CASE WHEN held.event_id IS NULL THEN load.ruleset_id ELSE batch.ruleset_id END AS ruleset_id,
        coalesce(CASE WHEN held.event_id IS NULL THEN load.batch_id ELSE held.batch_id END, 0) AS batch_id
    FROM asked
    JOIN events AS event ON event.user_id = asked.user_id
    LEFT JOIN loads AS load ON load.id = event.load_id
    LEFT JOIN held_events AS held ON held.event_id = event.id
    LEFT JOIN batches AS batch ON batch.id = held.batch_id
),
last_again AS (
    SELECT event.event_id, named.rule_name, max(batch.id) AS batch_id
    FROM batch_rules AS named
    JOIN batches AS batch ON batch.id = named.batch_id
    JOIN runs AS run ON run.id = batch.run_id
    JOIN own_event AS event
        ON event.state = 'decided' AND event.batch_id < batch.id
        AND event.event_timestamp >= run.window_start_at AND event.event_timestamp < run.window_end_at
        AND (batch.latest_event_at IS NULL OR event.event_timestamp <= batch.latest_event_at)
    GROUP BY event.event_id, named.rule_name
),
looked_at AS (
    SELECT
        event.event_id,
        event.event_timestamp,
        event.event_type,
        event.loaded_at,
        event.state,
        coalesce(send.decided_at, suppression.decided_at, again.decided_at, event.decided_at) AS decided_at,
        again.id IS NOT NULL AS is_asked_again,
        former.id IS NOT NULL AS had_expired,
        rule_trigger.rule_name,
        rule.rule_position,
        rule.is_enabled,
        rule.trigger_event_type,
        rule.condition_text,
        rule.exclusive_group,
        send.channel AS sent_channel,
        suppression.suppression_reason,
        blocking.event_timestamp AS blocked_by_event_timestamp,
        blocking.rule_name AS blocked_by_rule_name,
        said.event_type || ' at ' || said.event_timestamp AS blocked_by_event,
        wait.decide_at AS waits_until,
        ended.outcome AS wait_outcome,
        (
            SELECT earlier.rule_name
            FROM ruleset_rules AS earlier
            WHERE earlier.ruleset_id = rule.ruleset_id
                AND earlier.exclusive_group = rule.exclusive_group
                AND earlier.rule_name <> rule.rule_name
                AND (earlier.rule_position < rule.rule_position OR again.id IS NOT NULL)
                AND (
                    EXISTS (
                        SELECT 1 FROM send_requests AS other
                        WHERE other.event_id = event.event_id AND other.rule_name = earlier.rule_name
                    )
                    OR EXISTS (
                        SELECT 1 FROM suppressions AS other
                        WHERE other.event_id = event.event_id AND other.rule_name = earlier.rule_name
                    )
                )
        ) AS earlier_rule_name,
        (
            SELECT decider.rule_name
            FROM (
                SELECT rule_name, ruleset_id FROM send_requests WHERE event_id = event.event_id
                UNION ALL
                SELECT rule_name, ruleset_id FROM suppressions WHERE event_id = event.event_id
            ) AS decider
            JOIN ruleset_rules AS then_rule
                ON then_rule.ruleset_id = decider.ruleset_id AND then_rule.rule_name = decider.rule_name
            WHERE again.id IS NOT NULL
                AND decider.rule_name <> rule.rule_name
                AND then_rule.exclusive_group = rule.exclusive_group
        ) AS then_rule_name
    FROM own_event AS event
    JOIN rule_trigger ON rule_trigger.trigger_event_type = event.event_type
    LEFT JOIN last_again ON last_again.event_id = event.event_id AND last_again.rule_name = rule_trigger.rule_name
    LEFT JOIN batches AS again ON again.id = last_again.batch_id
    LEFT JOIN ruleset_rules AS rule
        ON rule.ruleset_id = coalesce(again.ruleset_id, event.ruleset_id)
        AND rule.rule_name = rule_trigger.rule_name
    LEFT JOIN send_requests AS send ON send.event_id = event.event_id AND send.rule_name = rule_trigger.rule_name
    LEFT JOIN suppressions AS suppression
        ON suppression.event_id = event.event_id AND suppression.rule_name = rule_trigger.rule_name
    LEFT JOIN former_suppressions AS former
        ON former.event_id = event.event_id AND former.rule_name = rule_trigger.rule_name
    LEFT JOIN send_requests AS blocking ON blocking.id = suppression.blocked_by_send_request_id
    LEFT JOIN events AS said ON said.id = suppression.blocked_by_event_id
    LEFT JOIN waiting_matches AS wait
        ON wait.event_id = event.event_id AND wait.rule_name = rule_trigger.rule_name
    LEFT JOIN ended_waits AS ended
        ON ended.event_id = event.event_id AND ended.rule_name = rule_trigger.rule_name
),
judged AS (
    SELECT
        event_id,
        event_timestamp,
        event_type,
        loaded_at,
        decided_at,
        rule_name,
        trigger_event_type,
        condition_text,
        exclusive_group,
        coalesce(earlier_rule_name, then_rule_name) AS earlier_rule_name,
        is_asked_again,
        had_expired,
        blocked_by_event_timestamp,
        blocked_by_rule_name,
        blocked_by_event,
        waits_until,
        substr(suppression_reason, instr(suppression_reason, ':') + 1) AS reason_name,
        CASE
            WHEN sent_channel = 'internal' THEN 'alerted'
            WHEN sent_channel IS NOT NULL THEN 'sent'
            WHEN suppression_reason IS NOT NULL THEN 'suppressed: ' || suppression_reason
            WHEN waits_until IS NOT NULL THEN 'waits for the rule'
            WHEN wait_outcome = 'lapsed' THEN 'lapsed'
            WHEN wait_outcome = 'no match' THEN 'a condition of the rule did not hold'
            WHEN state <> 'decided' THEN state
            WHEN rule_position IS NULL THEN 'no such rule then'
            WHEN NOT is_enabled THEN 'rule switched off'
            WHEN trigger_event_type <> event_type THEN 'other event type then'
            WHEN coalesce(earlier_rule_name, then_rule_name) IS NOT NULL THEN 'another rule decided'
            WHEN is_asked_again AND exclusive_group IS NOT NULL
                THEN 'another rule of the group matched, or a condition did not hold'
            WHEN condition_text <> '' THEN 'a condition of the rule did not hold'
            ELSE 'cannot be told'
        END AS outcome
    FROM looked_at
),
rejected_line AS (
    SELECT
        rejected.path,
        rejected.line_number,
        rejected.explanation,
        rejected.loaded_at,
        rejected.replayed_at,
        CASE WHEN json_valid(rejected.raw_line) THEN json_extract(rejected.raw_line, '$.event_type') END AS event_type,
        CASE
            WHEN json_valid(rejected.raw_line) THEN json_extract(rejected.raw_line, '$.event_timestamp')
        END AS event_timestamp
    FROM asked
    JOIN rejected_lines AS rejected
        ON CASE
            WHEN json_valid(rejected.raw_line)
                THEN CAST(json_extract(rejected.raw_line, '$.user_id') AS TEXT) = asked.user_id
            ELSE instr(rejected.raw_line, json_quote(asked.user_id)) > 0
        END
    WHERE NOT json_valid(rejected.raw_line)
        OR json_extract(rejected.raw_line, '$.event_type') IS NULL
        OR json_extract(rejected.raw_line, '$.event_type') IN (SELECT trigger_event_type FROM rule_trigger)
)
SELECT
    judged.event_timestamp AS event_timestamp,
    judged.event_type AS event_type,
    judged.rule_name AS rule_name,
    judged.outcome AS outcome,
    CASE judged.outcome
        WHEN 'sent'
            THEN CASE
                WHEN judged.had_expired
                    THEN 'The message was decided by a backfill with decide_again; at first its event was too old.'
                ELSE 'The message was decided.'
            END
        WHEN 'alerted' THEN 'The rule alerts our own people; it sends the user nothing.'
        WHEN 'suppressed: expired' THEN 'It was too late: the event was older than the run allowed, or the rule''s time was over.'
        WHEN 'suppressed: once_ever' THEN 'The user had been sent this template before, which is sent once ever.'
        WHEN 'suppressed: once_per_calendar_day' THEN 'The user had been sent this template on that UTC day.'
        WHEN 'waits' THEN 'It was loaded, and the next run decides it.'
        WHEN 'waits for its time' THEN 'It lies in the future, and the first run that reaches its time decides it.'
        WHEN 'held' THEN 'It was loaded only, and waits for a backfill whose window it lies in.'
        WHEN 'not recorded' THEN 'The event is from before loads were recorded; what was decided then is not known.'
        WHEN 'no such rule then' THEN 'The version of rules.yaml that decided the event had no rule of this name.'
        WHEN 'rule switched off' THEN 'The rule was switched off in the version of rules.yaml that decided the event.'
        WHEN 'other event type then'
            THEN 'The rule looked at ' || judged.trigger_event_type || ' in the version that decided the event.'
        WHEN 'another rule decided'
            THEN 'The rule ' || judged.earlier_rule_name || CASE
                WHEN judged.is_asked_again
                    THEN ' of the exclusive group ' || judged.exclusive_group || ' had decided on the event before.'
                ELSE ', which comes before it in the exclusive group ' || judged.exclusive_group
                    || ', decided on the event.'
            END
        WHEN 'another rule of the group matched, or a condition did not hold'
            THEN 'When the rule decided again, a rule before it in the exclusive group ' || judged.exclusive_group
                || ' matched as well' || CASE judged.condition_text
                    WHEN '' THEN '.'
                    ELSE ', or not all of this held: ' || judged.condition_text || '.'
                END
        WHEN 'a condition of the rule did not hold'
            THEN 'Not all of this held when the event was decided' || CASE
                    WHEN judged.is_asked_again THEN ' again' ELSE ''
                END || ', and what arrived later does not count: ' || judged.condition_text || '.'
        WHEN 'waits for the rule'
            THEN 'The rule waits: the first run whose as_of is after ' || judged.waits_until || ' decides.'
        WHEN 'lapsed' THEN 'When the wait was over, no rule of this name with a wait looked at such events any more.'
        WHEN 'suppressed: holdout' THEN 'The user is in the holdout, which gets no messages.'
        WHEN 'suppressed: once_per_calendar_week' THEN 'The user had been sent this template in that week.'
        WHEN 'suppressed: once_per_calendar_month' THEN 'The user had been sent this template in that month.'
        WHEN 'suppressed: once_per_hours' THEN 'The user had been sent this template too short a time before or after.'
        WHEN 'suppressed: blocked:' || judged.reason_name
            THEN 'The block ' || judged.reason_name || ' held the user back' || coalesce(
                ', because of the event ' || judged.blocked_by_event, ''
            ) || '.'
        WHEN 'suppressed: limit:' || judged.reason_name
            THEN 'The limit ' || judged.reason_name || ' was full; the earliest send that counted is named beside.'
        ELSE 'The rule asks for nothing but the type of the event, and there is no decision: run the self-check.'
    END AS explanation,
    judged.blocked_by_event_timestamp,
    judged.blocked_by_rule_name,
    judged.loaded_at,
    judged.decided_at,
    trait.marketing_opt_in,
    trait.country,
    trait.risk_segment,
    property.failure_reason,
    property.attempt_number,
    property.amount,
    judged.event_id AS event_id
FROM judged
LEFT JOIN user_traits AS trait ON trait.event_id = judged.event_id
LEFT JOIN event_properties AS property ON property.event_id = judged.event_id
UNION ALL
SELECT
    rejected_line.event_timestamp,
    rejected_line.event_type,
    NULL,
    CASE WHEN rejected_line.replayed_at IS NULL THEN 'rejected' ELSE 'rejected, then replayed' END,
    'Line ' || rejected_line.line_number || ' of ' || rejected_line.path || ' did not become an event: '
        || rejected_line.explanation || CASE
            WHEN rejected_line.replayed_at IS NULL THEN ''
            ELSE ' A replay took it at ' || substr(rejected_line.replayed_at, 1, 16)
                || ' UTC; what came of its event stands with the events.'
        END,
    NULL, NULL, rejected_line.loaded_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM rejected_line
UNION ALL
SELECT
    NULL, NULL, asked.name, 'unknown rule',
    'No run has decided by a rule or template of this name. Rules used so far: ' || coalesce(
        (SELECT group_concat(used.rule_name, ', ') FROM (SELECT DISTINCT rule_name FROM ruleset_rules) AS used),
        'none'
    ) || '.',
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM asked
WHERE asked.name IS NOT NULL AND NOT EXISTS (SELECT 1 FROM rule_trigger)
UNION ALL
SELECT
    NULL, NULL, asked.name, 'unknown user',
    'No event of a user with this id has arrived'
        || coalesce(
            '; there is one of ' || (
                SELECT group_concat(alike.user_id, ', ')
                FROM (
                    SELECT DISTINCT event.user_id FROM events AS event
                    WHERE lower(trim(event.user_id)) = lower(trim(asked.user_id))
                ) AS alike
            ),
            ''
        )
        || '.',
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM asked
WHERE asked.user_id <> ''
    AND NOT EXISTS (SELECT 1 FROM own_event)
    AND NOT EXISTS (SELECT 1 FROM rejected_line)
UNION ALL
SELECT
    NULL, NULL, asked.name, 'no such event',
    'None of the ' || (SELECT count(*) FROM own_event) || ' events of this user is of a type that '
        || CASE WHEN asked.name IS NULL THEN 'any rule looks at.' ELSE 'the rule looks at: ' || (
            SELECT group_concat(wanted.trigger_event_type, ', ')
            FROM (SELECT DISTINCT trigger_event_type FROM rule_trigger) AS wanted
        ) || '.' END,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM asked
WHERE EXISTS (SELECT 1 FROM own_event)
    AND NOT EXISTS (SELECT 1 FROM judged)
    AND (asked.name IS NULL OR EXISTS (SELECT 1 FROM rule_trigger))
ORDER BY event_timestamp, event_id, rule_name;
