"""What is loaded but not yet decided, and what it is waiting for."""

from src.marketing_messaging_service.models import Event, SourceFile
from src.marketing_messaging_service.views.view import View, ViewColumn, passed_on
from src.marketing_messaging_service.vocabulary import DataType

WAITING_EVENTS = View(
    name="waiting_events",
    sentence="One row per event that is loaded and not decided yet, and what it waits for.",
    columns=(
        ViewColumn("event_id", DataType.INTEGER, "The event, in events."),
        passed_on(Event.message_id),
        passed_on(Event.user_id),
        passed_on(Event.event_type),
        passed_on(Event.event_timestamp),
        ViewColumn(
            "waits_for",
            DataType.TEXT,
            "What decides it: `its time` (it is in the future, and a run that reaches it decides it), `a backfill` "
            "(it was only loaded) or `the next run` (no run has got to deciding since it was loaded).",
        ),
        passed_on(Event.load_id),
        passed_on(SourceFile.path),
    ),
    reads=("loads", "held_events", "events", "source_files"),
    select="""\
SELECT
    event.id AS event_id,
    event.message_id,
    event.user_id,
    event.event_type,
    event.event_timestamp,
    'the next run' AS waits_for,
    load.id AS load_id,
    file.path
FROM loads AS load
JOIN events AS event
    ON event.id BETWEEN load.first_event_id AND load.last_event_id AND event.load_id = load.id
JOIN source_files AS file ON file.id = load.source_file_id
WHERE load.state = 'loaded'
UNION ALL
SELECT
    event.id,
    event.message_id,
    event.user_id,
    event.event_type,
    event.event_timestamp,
    CASE WHEN held.due_at IS NULL THEN 'a backfill' ELSE 'its time' END,
    event.load_id,
    file.path
FROM held_events AS held
JOIN events AS event ON event.id = held.event_id
LEFT JOIN loads AS load ON load.id = event.load_id
LEFT JOIN source_files AS file ON file.id = load.source_file_id
WHERE held.run_id IS NULL
""",
)
