-- title: Which messages did this user get in the last 30 days?
-- sentence: Sends only, newest first, counted back from the given UTC date.
-- parameter user_id: the user, such as ada
-- parameter until_date: the last day, such as 2026-11-23; left empty, the last day on which anything happened
SELECT event_timestamp, template_name, channel, rule_name, event_type
FROM user_timeline
WHERE user_id = :user_id
    AND entry_kind = 'send'
    AND event_timestamp >= date(coalesce(nullif(:until_date, ''), (SELECT max(event_date) FROM event_dates)), '-29 days')
    AND event_timestamp < date(coalesce(nullif(:until_date, ''), (SELECT max(event_date) FROM event_dates)), '+1 day')
ORDER BY event_timestamp DESC;
