"""What is known of each user by now."""

from src.marketing_messaging_service.models import Event, UserTraits
from src.marketing_messaging_service.views.view import DataType, View, ViewColumn, passed_on

# Each value is written behind the time and id of its event, so that the greatest text is the latest value that is
# not null, for all four in one pass; 26 characters of time and 19 of id stand before it.
LATEST_USER_TRAITS = View(
    name="latest_user_traits",
    sentence="One row a user with any trait: the latest known value of each, by event_timestamp and then event id; a "
    "later event that does not say a value leaves it as it was.",
    columns=(
        passed_on(Event.user_id),
        passed_on(UserTraits.email),
        passed_on(UserTraits.country),
        passed_on(UserTraits.marketing_opt_in),
        passed_on(UserTraits.risk_segment),
        ViewColumn(
            "last_event_timestamp", DataType.TIMESTAMP, "When the latest event happened that said any of them, in UTC."
        ),
    ),
    reads=("events", "user_traits"),
    select="""\
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
GROUP BY event.user_id
""",
)
