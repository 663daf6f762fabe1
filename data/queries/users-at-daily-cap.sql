-- title: Which users hit the daily cap most?
-- sentence: The hundred users to whom the mode once_per_calendar_day has refused the most messages.
-- parameter since_date: the first day that counts, such as 2026-11-23; left empty, all of history
WITH asked AS (
    SELECT CASE WHEN trim(coalesce(:since_date, '')) = '' THEN '' ELSE date(trim(:since_date)) END AS since_date
)
SELECT
    refused.user_id AS user_id,
    count(*) AS suppression_count,
    count(DISTINCT date(refused.event_timestamp)) AS day_count,
    max(refused.event_timestamp) AS last_event_timestamp,
    NULL AS remark
FROM asked
JOIN suppressions AS refused
    ON refused.suppression_reason = 'once_per_calendar_day' AND refused.event_timestamp >= asked.since_date
GROUP BY refused.user_id
UNION ALL
SELECT NULL, NULL, NULL, NULL, 'Write since_date like 2026-11-23.'
FROM asked
WHERE asked.since_date IS NULL
ORDER BY suppression_count DESC, user_id
LIMIT 100;
