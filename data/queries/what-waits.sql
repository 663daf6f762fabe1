-- title: Which events wait to be decided, and for what?
-- sentence: Events that are loaded and not decided yet, by what they wait for, file and type: the next run, a backfill (they were loaded only), or their time (they are in the future).
SELECT
    waits_for AS waits_for,
    path AS path,
    event_type AS event_type,
    count(*) AS event_count,
    min(event_timestamp) AS first_event_timestamp,
    max(event_timestamp) AS last_event_timestamp,
    NULL AS remark
FROM waiting_events
GROUP BY waits_for, path, event_type
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, 'Nothing waits.'
WHERE NOT EXISTS (SELECT 1 FROM waiting_events)
ORDER BY event_count DESC, path, event_type
LIMIT 1000;
