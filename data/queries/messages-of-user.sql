-- title: Which messages did this user get in the last 30 days?
-- sentence: Sends only, newest first, by the UTC time of the event that earned each, counted back from the given day. The other questions about a user show what waits to be decided and what is not sent.
-- parameter user_id: the user, such as ada, exactly as the producer writes it
-- parameter until_date: the last day, such as 2026-11-23; left empty, the last day that a run has reached
WITH asked AS (
    SELECT
        date(
            coalesce(
                nullif(trim(:until_date), ''),
                (
                    SELECT max(event_date) FROM event_dates
                    WHERE event_date <= coalesce((SELECT substr(max(as_of), 1, 10) FROM loads), '9999-12-31')
                )
            )
        ) AS until_date
)
SELECT
    timeline.event_timestamp AS event_timestamp,
    timeline.template_name AS template_name,
    timeline.channel,
    timeline.rule_name,
    timeline.event_type,
    NULL AS remark
FROM user_timeline AS timeline
WHERE timeline.user_id = :user_id
    AND timeline.entry_kind = 'send'
    AND timeline.event_timestamp >= (SELECT date(until_date, '-29 days') FROM asked)
    AND timeline.event_timestamp < (SELECT date(until_date, '+1 day') FROM asked)
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, 'No event of a user with this id has arrived: ids are compared exactly.'
WHERE :user_id <> '' AND NOT EXISTS (SELECT 1 FROM user_timeline WHERE user_id = :user_id)
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, 'Write until_date like 2026-11-23.'
FROM asked
WHERE asked.until_date IS NULL AND trim(:until_date) <> ''
ORDER BY event_timestamp DESC, template_name;
