-- title: How many messages went out each day?
-- sentence: Sends, alerts and suppressions over 30 days, by the UTC day of the event that earned them, template and channel.
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
    message.event_date AS event_date,
    message.template_name AS template_name,
    message.channel,
    message.outcome AS outcome,
    message.message_count,
    message.user_count,
    NULL AS remark
FROM asked
JOIN daily_messages AS message
    ON message.event_date BETWEEN date(asked.until_date, '-29 days') AND asked.until_date
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, 'Write until_date like 2026-11-23.'
FROM asked
WHERE asked.until_date IS NULL AND trim(:until_date) <> ''
ORDER BY event_date DESC, template_name, outcome;
