-- title: Which users hit the daily cap most?
-- sentence: Users by how many messages the mode once_per_calendar_day has refused them.
-- parameter since_date: the first day that counts; left empty, all of history
SELECT
    user_id,
    count(*) AS suppression_count,
    count(DISTINCT date(event_timestamp)) AS day_count,
    max(event_timestamp) AS last_event_timestamp
FROM suppressions
WHERE suppression_reason = 'once_per_calendar_day' AND event_timestamp >= coalesce(:since_date, '')
GROUP BY user_id
ORDER BY suppression_count DESC, user_id
LIMIT 100;
