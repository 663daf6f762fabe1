-- title: Which rule suppressed most on this day, and what blocked it?
-- sentence: Suppressions of one UTC day by rule and reason, with the rule whose earlier send stood in the way.
-- parameter event_date: the day, such as 2026-11-23; left empty, the last day on which anything happened
SELECT rule_name, template_name, suppression_reason, blocked_by_rule_name, suppression_count, user_count
FROM suppressions_by_reason
WHERE event_date = coalesce(nullif(:event_date, ''), (SELECT max(event_date) FROM event_dates))
ORDER BY suppression_count DESC, rule_name;
