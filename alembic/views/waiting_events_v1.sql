SELECT
    event.id AS event_id,
    event.message_id,
    event.user_id,
    event.event_type,
    event.event_timestamp,
    'the next run' AS waits_for,
    load.id AS load_id,
    file.path
FROM loads AS load
JOIN events AS event
    ON event.id BETWEEN load.first_event_id AND load.last_event_id AND event.load_id = load.id
JOIN source_files AS file ON file.id = load.source_file_id
WHERE load.state = 'loaded'
UNION ALL
SELECT
    event.id,
    event.message_id,
    event.user_id,
    event.event_type,
    event.event_timestamp,
    CASE WHEN held.due_at IS NULL THEN 'a backfill' ELSE 'its time' END,
    event.load_id,
    file.path
FROM held_events AS held
JOIN events AS event ON event.id = held.event_id
LEFT JOIN loads AS load ON load.id = event.load_id
LEFT JOIN source_files AS file ON file.id = load.source_file_id
WHERE held.run_id IS NULL
