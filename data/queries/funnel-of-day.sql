-- title: How many events became messages on this day?
-- sentence: For each rule: events that triggered it, matched it, and were sent, alerted or suppressed, and the share of the triggers that matched.
-- parameter event_date: the day, such as 2026-11-23; left empty, the last day on which anything happened
SELECT
    rule_name,
    triggered_count,
    matched_count,
    sent_count,
    alerted_count,
    suppressed_count,
    round(100.0 * matched_count / nullif(triggered_count, 0), 1) AS matched_percent
FROM rule_funnel
WHERE event_date = coalesce(nullif(:event_date, ''), (SELECT max(event_date) FROM event_dates))
ORDER BY rule_name;
