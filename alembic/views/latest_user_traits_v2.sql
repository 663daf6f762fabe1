SELECT
    event.user_id,
    substr(max(event.event_timestamp || printf('%019d', event.id) || trait.email), 46) AS email,
    substr(max(event.event_timestamp || printf('%019d', event.id) || trait.country), 46) AS country,
    CAST(
        substr(max(event.event_timestamp || printf('%019d', event.id) || trait.marketing_opt_in), 46) AS INTEGER
    ) AS marketing_opt_in,
    substr(max(event.event_timestamp || printf('%019d', event.id) || trait.risk_segment), 46) AS risk_segment,
    max(event.event_timestamp) AS last_event_timestamp
FROM events AS event
CROSS JOIN user_traits AS trait ON trait.event_id = event.id
WHERE event.event_timestamp <= (
    SELECT
        CASE WHEN max(run.latest_event_at) IS NULL THEN '9999-12-31 23:59:59.999999'
        ELSE max(coalesce(run.latest_event_at, run.as_of)) END
    FROM runs AS run
)
GROUP BY event.user_id
