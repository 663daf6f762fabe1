"""How many events happened, hour by hour."""

from src.marketing_messaging_service.models import Event
from src.marketing_messaging_service.views.event_dates import EVENT_DATE
from src.marketing_messaging_service.views.view import View, ViewColumn, passed_on
from src.marketing_messaging_service.vocabulary import DataType

EVENT_VOLUMES = View(
    name="event_volumes",
    sentence="Events by UTC hour and type; a day is quick when you ask for its event_date.",
    columns=(
        EVENT_DATE,
        ViewColumn("hour_starts_at", DataType.TIMESTAMP, "The start of the hour in which they happened, in UTC."),
        passed_on(Event.event_type),
        ViewColumn("event_count", DataType.INTEGER, "Rows of events; an event delivered twice is one."),
    ),
    reads=("events", "event_dates"),
    select="""\
SELECT
    day.event_date,
    substr(event.event_timestamp, 1, 13) || ':00:00.000000' AS hour_starts_at,
    event.event_type,
    CAST(count(*) AS INTEGER) AS event_count
FROM event_dates AS day
CROSS JOIN events AS event
    ON event.event_timestamp BETWEEN day.event_date || ' 00:00:00.000000' AND day.event_date || ' 23:59:59.999999'
GROUP BY day.event_date, substr(event.event_timestamp, 1, 13), event.event_type
""",
)
