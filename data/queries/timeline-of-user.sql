-- title: What happened to this user, in order?
-- sentence: Every event, send, alert, suppression and wait, with the reason and the send or event that stood in the way. Raw lines that could not become events are in the answer to the question why a user got no message.
-- parameter user_id: the user, such as ada, exactly as the producer writes it
SELECT
    timeline.event_timestamp AS event_timestamp,
    timeline.entry_kind AS entry_kind,
    timeline.event_type,
    timeline.template_name,
    timeline.channel,
    timeline.reason,
    CASE
        WHEN timeline.entry_kind <> 'event' THEN NULL
        WHEN held.event_id IS NOT NULL AND held.run_id IS NULL AND held.due_at IS NOT NULL THEN 'Waits for its time.'
        WHEN held.event_id IS NOT NULL AND held.run_id IS NULL THEN 'Held: waits for a backfill.'
        WHEN held.event_id IS NULL AND load.state = 'loaded' THEN 'Waits for the next run.'
    END AS remark,
    timeline.decision_time,
    timeline.blocked_by_event_timestamp,
    timeline.blocked_by_event_type,
    timeline.failure_reason,
    timeline.attempt_number,
    timeline.event_id AS event_id,
    timeline.entry_position AS entry_position
FROM user_timeline AS timeline
LEFT JOIN events AS event ON event.id = timeline.event_id
LEFT JOIN loads AS load ON load.id = event.load_id
LEFT JOIN held_events AS held ON held.event_id = timeline.event_id
WHERE timeline.user_id = :user_id
UNION ALL
SELECT
    NULL, NULL, NULL, NULL, NULL, NULL,
    'No event of a user with this id has arrived: ids are compared exactly.',
    NULL, NULL, NULL, NULL, NULL, NULL, NULL
WHERE :user_id <> '' AND NOT EXISTS (SELECT 1 FROM user_timeline WHERE user_id = :user_id)
ORDER BY event_timestamp, event_id, entry_position;
