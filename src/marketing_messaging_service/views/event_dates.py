"""The days on which something happened."""

from src.marketing_messaging_service.views.view import View, ViewColumn
from src.marketing_messaging_service.vocabulary import DataType

EVENT_DATE = ViewColumn("event_date", DataType.DATE, "The UTC date of event_timestamp, as text of the form 2026-11-23.")

# Jumps from day to day by the indexes on event_timestamp. The views that count by day join to it, because a condition
# only on substr(event_timestamp, 1, 10) would read all of history for one day.
EVENT_DATES = View(
    name="event_dates",
    sentence="One row per UTC date on which an event, a send or a suppression happened.",
    columns=(EVENT_DATE,),
    reads=("events", "send_requests", "suppressions"),
    select="""\
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
""",
)
