SELECT
    day.event_date,
    substr(event.event_timestamp, 1, 13) || ':00:00.000000' AS hour_starts_at,
    event.event_type,
    CAST(count(*) AS INTEGER) AS event_count
FROM event_dates AS day
CROSS JOIN events AS event
    ON event.event_timestamp BETWEEN day.event_date || ' 00:00:00.000000' AND day.event_date || ' 23:59:59.999999'
GROUP BY day.event_date, substr(event.event_timestamp, 1, 13), event.event_type
