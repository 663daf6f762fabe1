-- title: How many events became messages on this day?
-- sentence: For each rule, the events of the UTC day that triggered and matched it; how many were sent, alerted or suppressed, each reason in its own column; how many wait, or waited in vain; and the share of the triggers that matched. Events of the day that no run has decided yet are counted separately.
-- parameter event_date: the day, such as 2026-11-23; left empty, the last day that a run has reached
WITH asked AS (
    SELECT
        date(
            coalesce(
                nullif(trim(:event_date), ''),
                (
                    SELECT max(event_date) FROM event_dates
                    WHERE event_date <= coalesce((SELECT substr(max(as_of), 1, 10) FROM loads), '9999-12-31')
                )
            )
        ) AS event_date
),
waiting AS (
    SELECT count(*) AS event_count
    FROM asked
    CROSS JOIN events AS event
        ON event.event_timestamp BETWEEN asked.event_date || ' 00:00:00.000000' AND asked.event_date || ' 23:59:59.999999'
    LEFT JOIN loads AS load ON load.id = event.load_id
    LEFT JOIN held_events AS held ON held.event_id = event.id
    WHERE CASE WHEN held.event_id IS NULL THEN load.state = 'loaded' ELSE held.run_id IS NULL END
)
SELECT
    asked.event_date,
    funnel.rule_name AS rule_name,
    funnel.triggered_count,
    funnel.matched_count,
    funnel.sent_count,
    funnel.alerted_count,
    funnel.suppressed_count,
    funnel.once_count,
    funnel.blocked_count,
    funnel.holdout_count,
    funnel.limited_count,
    funnel.expired_count,
    funnel.waiting_count,
    funnel.unmatched_count,
    funnel.lapsed_count,
    round(100.0 * funnel.matched_count / nullif(funnel.triggered_count, 0), 1) AS matched_percent,
    NULL AS remark
FROM asked
JOIN rule_funnel AS funnel ON funnel.event_date = asked.event_date
UNION ALL
SELECT
    asked.event_date, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    waiting.event_count || ' events of the day wait to be decided.'
FROM asked, waiting
WHERE waiting.event_count > 0
UNION ALL
SELECT
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    'Write event_date like 2026-11-23.'
FROM asked
WHERE asked.event_date IS NULL AND trim(:event_date) <> ''
ORDER BY remark, rule_name;
