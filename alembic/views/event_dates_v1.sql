WITH RECURSIVE dates(event_date) AS (
    SELECT substr(min(happened_at), 1, 10)
    FROM (
        SELECT min(event_timestamp) AS happened_at FROM events
        UNION ALL
        SELECT min(event_timestamp) FROM send_requests
        UNION ALL
        SELECT min(event_timestamp) FROM suppressions
    )
    UNION ALL
    SELECT (
        SELECT substr(min(happened_at), 1, 10)
        FROM (
            SELECT min(event_timestamp) AS happened_at FROM events
            WHERE event_timestamp > dates.event_date || ' 23:59:59.999999'
            UNION ALL
            SELECT min(event_timestamp) FROM send_requests
            WHERE event_timestamp > dates.event_date || ' 23:59:59.999999'
            UNION ALL
            SELECT min(event_timestamp) FROM suppressions
            WHERE event_timestamp > dates.event_date || ' 23:59:59.999999'
        )
    )
    FROM dates
    WHERE dates.event_date IS NOT NULL
)
SELECT event_date
FROM dates
WHERE event_date IS NOT NULL
