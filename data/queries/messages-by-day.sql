-- title: How many messages went out each day?
-- sentence: Sends, alerts and suppressions by UTC day, template and channel over 30 days.
-- parameter until_date: the last day; left empty, the last day on which anything happened
SELECT event_date, template_name, channel, outcome, message_count, user_count
FROM daily_messages
WHERE event_date BETWEEN date(coalesce(nullif(:until_date, ''), (SELECT max(event_date) FROM event_dates)), '-29 days')
    AND coalesce(nullif(:until_date, ''), (SELECT max(event_date) FROM event_dates))
ORDER BY event_date DESC, template_name, outcome;
