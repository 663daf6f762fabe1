-- title: Which messages wait for their time, and when are they decided?
-- sentence: Matches of rules with wait, by rule, by the UTC day on which their wait is over, and by what they wait for: their time, the data (wait_for_data), the next run, or nothing, where no rule will decide them any more and they will lapse.
SELECT
    rule_name,
    waits_for,
    substr(decide_at, 1, 10) AS decide_date,
    count(*) AS message_count,
    count(DISTINCT user_id) AS user_count,
    min(decide_at) AS first_decide_at,
    max(decide_at) AS last_decide_at,
    NULL AS remark
FROM waiting_messages
GROUP BY rule_name, waits_for, substr(decide_at, 1, 10)
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'No message waits.'
WHERE NOT EXISTS (SELECT 1 FROM waiting_messages)
ORDER BY rule_name, decide_date, waits_for
LIMIT 1000;
