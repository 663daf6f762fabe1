-- title: What happened to this user, in order?
-- sentence: Every event, send, alert and suppression, with the reason and the send that stood in the way.
-- parameter user_id: the user, such as ada
SELECT
    event_timestamp,
    entry_kind,
    event_type,
    template_name,
    channel,
    reason,
    blocked_by_event_timestamp,
    failure_reason,
    attempt_number
FROM user_timeline
WHERE user_id = :user_id
ORDER BY event_timestamp, event_id, entry_position;
