"""What is known of each user by now."""

from src.marketing_messaging_service.models import Event
from src.marketing_messaging_service.views.view import View, ViewColumn, field_passed_on, passed_on
from src.marketing_messaging_service.vocabulary import TRAITS, DataType, Field


def _latest(trait: Field) -> str:
    """Return a column of the SELECT that gives the latest value of a trait.

    Each value is written behind the time and id of its event, so that the greatest text is the latest value that is
    not null, for all traits in one pass; 26 characters of time and 19 of id stand before it.
    """
    text = f"substr(max(event.event_timestamp || printf('%019d', event.id) || trait.{trait.name}), 46)"
    if trait.kind.data_type is DataType.TEXT:
        return f"    {text} AS {trait.name},"
    return f"    CAST(\n        {text} AS INTEGER\n    ) AS {trait.name},"


_EACH_LATEST = "\n".join(map(_latest, TRAITS.fields))

LATEST_USER_TRAITS = View(
    name="latest_user_traits",
    sentence="One row a user with any trait: the latest known value of each, by event_timestamp and then event id; a "
    "later event that does not say a value leaves it as it was.",
    columns=(
        passed_on(Event.user_id),
        *map(field_passed_on, TRAITS.fields),
        ViewColumn(
            "last_event_timestamp", DataType.TIMESTAMP, "When the latest event happened that said any of them, in UTC."
        ),
    ),
    reads=("events", "user_traits"),
    select=f"""\
SELECT
    event.user_id,
{_EACH_LATEST}
    max(event.event_timestamp) AS last_event_timestamp
FROM events AS event
CROSS JOIN user_traits AS trait ON trait.event_id = event.id
GROUP BY event.user_id
""",
)
